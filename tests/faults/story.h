/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One short life of an engine whose disk fails at a planned moment: it starts, two producers fill
 * partition after partition over segments that roll, a group commits, a reader reads back,
 * retention lets go; it stops, and starts once more on a good disk, which must hold all that was
 * acknowledged. A story is told by a process of its own, since each may end in a crash.
 */
#ifndef MR_FAULTS_STORY_H
#define MR_FAULTS_STORY_H

#include "engine_rig.h"

enum story_end {
	STORY_STRUCK = 0,  /* the fault struck, and all that must hold held */
	STORY_BROKEN = 1,  /* something did not hold; it was said on standard error */
	STORY_SPARED = 77, /* the fault never struck: the sweep is over */
};

/* Tells it with the plan's fault armed from the engine's first operation on. */
enum story_end story_tell(const char *backend, const struct mr_io_fault_plan *plan);
/*
 * The disk is full for a while: producers wait, readers go on, then all goes on; with 'stop' in the
 * next engine, which gets the waiting lanes back.
 */
enum story_end story_full_disk(const char *backend, enum mr_io_fault_kind kind, bool stop);
/* The Nth allocation of a start fails. */
enum story_end story_no_memory(const char *backend, uint64_t nth);
/* The same of a host that has peers: the feed, its threads and the coordinator. */
enum story_end story_no_memory_with_peers(const char *backend, uint64_t nth);
/* The Nth pwrite of the process writes half of its bytes, or says EAGAIN: nobody notices. */
enum story_end story_short_write(const char *backend, uint64_t nth, int error);

#endif
