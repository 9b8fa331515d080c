/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the two halves of a load: load.c, which starts the children and gathers, and
 * load_child.c, which is a child. What they share is memory that both map.
 */
#ifndef MR_BENCH_LOAD_CHILD_H
#define MR_BENCH_LOAD_CHILD_H

#include <stdatomic.h>

#include "load.h"

enum mr_bench_load_stage {
	MR_BENCH_LOAD_STARTING = 0,
	MR_BENCH_LOAD_READY, /* its lanes are open; it waits for 'due_ns' */
	MR_BENCH_LOAD_DONE,
	MR_BENCH_LOAD_FAILED, /* 'err' says why */
};

/* One child's. Written by the child, but for 'due_ns', which the parent sets once all are ready.
 * What stands behind 'stage' is read when it says DONE or FAILED. */
struct mr_bench_load_shared {
	_Atomic uint64_t due_ns; /* of the first record; 0: not yet known */
	_Atomic int stage;
	struct mr_error err;
	uint64_t published, acknowledged, consumed;
	uint64_t publishing_ended_ns;
	uint64_t cpu_ns;
	uint32_t event_count, event_room;
	struct mr_bench_event events[];
};

/* Is the load, in the process that was made for it. 'socket' is the engine's. */
void mr_bench_load_child(const struct mr_bench_load *load, const char *socket,
			 struct mr_bench_load_shared *shared);

#endif
