/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An mr_io around another one that makes the Nth operation fail. For sweeps: plan N = 1, 2, 3 ...
 * until a run passes with mr_io_fault_hits() still 0. Any thread may use it; the plan and the
 * counters are under a lock.
 */
#ifndef MR_TEST_IO_FAULT_H
#define MR_TEST_IO_FAULT_H

#include "io.h"

/* Every operation that can fail. Of reap and wait only completions do, as queued writes. */
enum mr_io_fault_kind {
	MR_IO_FAULT_OPEN,
	MR_IO_FAULT_LOCK,
	MR_IO_FAULT_SIZE,
	MR_IO_FAULT_ALLOCATE,
	MR_IO_FAULT_TRUNCATE,
	MR_IO_FAULT_READ,
	MR_IO_FAULT_WRITE,
	MR_IO_FAULT_SYNC,
	MR_IO_FAULT_READ_FD,
	MR_IO_FAULT_RENAME,
	MR_IO_FAULT_REMOVE,
	MR_IO_FAULT_MAKE_DIRECTORY,
	MR_IO_FAULT_SYNC_DIRECTORY,
	MR_IO_FAULT_LIST,
	MR_IO_FAULT_SPACE,
	MR_IO_FAULT_QUEUE_OPEN,
	MR_IO_FAULT_QUEUE_WRITE,
	MR_IO_FAULT_KIND_COUNT,
	MR_IO_FAULT_ANY = MR_IO_FAULT_KIND_COUNT,
};

enum mr_io_fault_how {
	MR_IO_FAULT_BEFORE, /* nothing happens but the error */
	MR_IO_FAULT_AFTER,  /* it happens, and then the error is told */
	MR_IO_FAULT_SHORT,  /* of a write the first half happens, then the error; else as BEFORE */
};

struct mr_io_fault_plan {
	enum mr_io_fault_kind kind; /* which operations are counted; ANY: all */
	uint64_t nth;		    /* 1 is the next one; 0 plans nothing */
	/*
	 * Negative. -EAGAIN on a queued write is told at once, as by a full queue; every other
	 * error of one comes as its completion.
	 */
	int error;
	enum mr_io_fault_how how;
	bool from_then_on; /* the later ones of the kind too */
};

/* Wraps 'inner', which is borrowed and must be closed after it; aborts without memory. */
struct mr_io *mr_io_fault_new(struct mr_io *inner);

/* Replaces the plan and begins to count for it; hits are 0 again, the counters of all kinds go on.
 */
void mr_io_fault_set(struct mr_io *io, const struct mr_io_fault_plan *plan);

/* From now on the plan is for paths in which 'words' stand; "": for all, as at first. */
void mr_io_fault_only(struct mr_io *io, const char *words);

/* Operations that were made to fail since the plan was set. */
uint64_t mr_io_fault_hits(struct mr_io *io);
/* Operations seen of a kind, or of all, since the wrapper was made. */
uint64_t mr_io_fault_seen(struct mr_io *io, enum mr_io_fault_kind kind);
/*
 * What the last of them was, and on which path; MR_IO_FAULT_ANY: none since the plan was set.
 * 'path' has room for MR_IO_PATH_BYTES.
 */
enum mr_io_fault_kind mr_io_fault_struck(struct mr_io *io, char *path);
/* "queue_write", for messages. */
const char *mr_io_fault_kind_name(enum mr_io_fault_kind kind);

#endif
