/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane into one partition without an engine around it, for counting what the path of a record
 * costs: the real lane, drain, log and tail; the disk swallows every write at once. All in the
 * calling thread (the producer's half may go to another). Aborts when anything fails.
 */
#ifndef MR_TEST_DRAIN_RIG_H
#define MR_TEST_DRAIN_RIG_H

#include "base/io.h"
#include "worker_state.h"

#define MR_TEST_DRAIN_WRITES 16

/* A queue whose writes are complete when they are handed over. */
struct mr_test_sink {
	struct mr_io_queue queue; /* first: the door knows only this */
	void *users[MR_TEST_DRAIN_WRITES];
	uint32_t count;
};

struct mr_test_drain {
	struct mr_lane_writer writer;
	struct mr_worker_lane *lane;
	struct mr_worker_partition *partition;
	struct mr_io *files;		    /* in memory: only the segment's header is ever there */
	struct mr_io_operations operations; /* of 'files', with the sink for its queues */
	struct mr_test_sink sink;
	struct mr_segment *active;
	_Atomic uint64_t counters[MR_PARTITION_COUNTERS];
	int client_fd, engine_fd;
};

/* The segment must hold all that will ever be appended: nothing rolls. */
void mr_test_drain_init(struct mr_test_drain *rig, uint32_t lane_bytes, uint64_t tail_bytes,
			uint32_t group_bytes, uint64_t segment_bytes);
void mr_test_drain_deinit(struct mr_test_drain *rig);

/* The worker's half of a turn: closes and "writes" a group that is due, counts it as flushed. */
void mr_test_drain_settle(struct mr_test_drain *rig, bool force);

#endif
