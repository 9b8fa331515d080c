/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named 64-bit counters in a file that outlives the process: one writer each, readable by any other
 * program while the engine runs, hangs, or after it crashed. The file is mapped by the engine for
 * writing, by readers for reading.
 *
 *	[ header page | entries: name, kind | values, cache lines of eight per owner ]
 *
 * The owner is what stands before the last dot of the name.
 *
 * Names are "millrace.partition.3f2a.0.appended_records" style: words, dots, no spaces. A counter
 * only rises; a gauge is set. Reading never disturbs a writer.
 */
#ifndef MR_COUNTERS_H
#define MR_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "millrace.h"
#include "millrace/format.h"

enum mr_counter_kind {
	MR_COUNTER_FREE = 0,
	MR_COUNTER_RISING = 1,
	MR_COUNTER_GAUGE = 2,
};

struct mr_counters; /* the writing side; owned by the control thread, values by their writers */

/*
 * 'fd' (taken, even when it fails) is an open file that is made big enough and begun anew; old
 * content goes. A program that reads it meanwhile is not disturbed. All its blocks are allocated.
 */
int mr_counters_create(int fd, struct mr_counters **out, struct mr_error *err);
void mr_counters_close(struct mr_counters *counters);

/*
 * A new value, 0, under a name, or NULL when all MR_COUNTERS_MAX are in use or the name is too long
 * (the caller then counts into its own spare value; a missing counter is never fatal). What is not
 * a letter, digit, dot, underscore or hyphen becomes an underscore. Called by the control thread;
 * the value is then written by one thread only.
 */
_Atomic uint64_t *mr_counters_add(struct mr_counters *counters, enum mr_counter_kind kind,
				  const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void mr_counters_remove(struct mr_counters *counters, _Atomic uint64_t *value);

/* One writer, so no locked instruction. */
static inline void mr_counter_add(_Atomic uint64_t *value, uint64_t n)
{
	/* relaxed: a lone number, ordered with nothing */
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void mr_counter_set(_Atomic uint64_t *value, uint64_t n)
{
	atomic_store_explicit(value, n, memory_order_relaxed); /* relaxed: as above */
}

/*
 * Reading from outside: calls 'each' for every counter in use; a negative result of it ends the
 * reading and is returned. -EBADMSG for a file that is none. One whose writer died while it wrote
 * the name is left out.
 */
int mr_counters_read(const char *path,
		     int (*each)(const char *name, enum mr_counter_kind kind, uint64_t value,
				 void *arg),
		     void *arg, struct mr_error *err);

#endif
