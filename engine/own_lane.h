/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane of the engine's own: whatever inside the engine publishes records (groups' commits,
 * pipelines; later the gateway) comes in by the same door as everybody. Opened and closed on the
 * control thread; written by one thread.
 */
#ifndef MR_OWN_LANE_H
#define MR_OWN_LANE_H

#include <stdbool.h>

#include "lane.h"

struct mr_control;
struct mr_hosted;

struct mr_own_lane;

/* What becomes of it, on the control thread. */
struct mr_own_lane_events {
	/* The worker has it. 'next': the sequence that its log expects of the producer next, or
	 * MR_OFFSET_UNKNOWN. May be NULL. */
	void (*added)(struct mr_own_lane *lane, uint64_t next);
	/* The worker takes no more, and says why on the lane; it is to be closed. */
	void (*poisoned)(struct mr_own_lane *lane);
	/* The worker let go: mr_own_lane_closed(). 'bells': the worker's. */
	void (*closed)(struct mr_own_lane *lane, int bells);
};

/* 'handle' is NULL until it is open. All zero but the bells at first (mr_own_lane_init). */
struct mr_own_lane {
	struct mr_lane_writer writer; /* of the writing thread */
	void *handle;		      /* the control thread's */
	const struct mr_own_lane_events *events;
	void *owner;
	int bell_to_worker;
	int bell_to_writer; /* rung when a writer that waits has news */
	bool closing;
};

struct mr_own_lane_options {
	enum mr_acks acks;
	uint32_t lane_bytes;
	int64_t producer_id; /* a fixed one, which may have written before; -1: a new one */
	uint64_t number;     /* of its first frame */
};

/* 'events' are borrowed for the lane's life. */
int mr_own_lane_init(struct mr_own_lane *lane, const struct mr_own_lane_events *events, void *owner,
		     struct mr_error *err);
/* As a client's, without the socket. The partition is 'hosted'. */
int mr_own_lane_open(struct mr_control *control, struct mr_hosted *hosted,
		     const struct mr_own_lane_options *options, struct mr_own_lane *lane,
		     struct mr_error *err);
/* The writing thread: makes visible what was reserved (mr_lane_reserve) and rings if need be. */
void mr_own_lane_publish(struct mr_own_lane *lane);
/* Asks the worker to empty it and let go; the memory stays until mr_own_lane_deinit(). */
void mr_own_lane_close(struct mr_control *control, struct mr_own_lane *lane);
/* The worker, whose bells these are, let go: it can be opened again. */
void mr_own_lane_closed(struct mr_own_lane *lane, int bells);
/* The worker let go, or it was never open. */
void mr_own_lane_deinit(struct mr_own_lane *lane);

#endif
