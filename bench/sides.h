/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes on two cores for one measurement: 'there' in a child, 'here' in the caller, which
 * is pinned meanwhile, with a piece of zeroed memory that both see. The child ends with the caller,
 * and is killed where it does not end by itself.
 */
#ifndef MR_BENCH_SIDES_H
#define MR_BENCH_SIDES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* What the shared memory begins with. */
struct mr_sides_page {
	_Alignas(64) _Atomic uint32_t ready; /* there: it may begin */
	_Alignas(64) _Atomic uint32_t stop;  /* here: it is over */
};

struct mr_sides {
	size_t shared_bytes; /* of a struct that begins with the page */
	int here_core, there_core;
	/* 0 or a negative errno; both get the shared memory and 'arg'. 'there' has no way to say
	 * more. It must look at 'stop' in every loop that waits. */
	int (*here)(void *shared, void *arg, struct mr_error *err);
	int (*there)(void *shared, void *arg);
	void *arg;
};

/* Runs both; returns when both have ended. */
int mr_sides_run(const struct mr_sides *sides, struct mr_error *err);

/* There: set up, it may begin. */
void mr_sides_say_ready(struct mr_sides_page *page);
/* Here: waits for it, at most 10 s; -ETIMEDOUT with a sentence. */
int mr_sides_wait_ready(struct mr_sides_page *page, struct mr_error *err);

/* For loops that spin: whether to go on. Here there is no other end to a child that died. */
static inline bool mr_sides_goes_on(struct mr_sides_page *page, uint32_t *spins)
{
	/* relaxed: it orders nothing */
	return !atomic_load_explicit(&page->stop, memory_order_relaxed) && ++*spins < UINT32_MAX;
}

#endif
