/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane of the engine's own: whatever inside the engine publishes records (groups' commits; later
 * the gateway and pipelines) comes in by the same door as everybody. Opened and closed on the
 * control thread; written by one thread.
 */
#ifndef MR_OWN_LANE_H
#define MR_OWN_LANE_H

#include <stdbool.h>

#include "lane.h"

struct mr_control;
struct mr_hosted;

/* 'handle' is NULL until it is open. All zero but the bells at first (mr_own_lane_init). */
struct mr_own_lane {
	struct mr_lane_writer writer; /* of the writing thread */
	void *handle;		      /* the control thread's */
	int bell_to_worker;
	int bell_to_writer; /* rung when a writer that waits has news */
	bool closing;
};

int mr_own_lane_init(struct mr_own_lane *lane, struct mr_error *err);
/* As a client's, without the socket. The partition is 'hosted'. */
int mr_own_lane_open(struct mr_control *control, struct mr_hosted *hosted, enum mr_acks acks,
		     uint32_t lane_bytes, struct mr_own_lane *lane, struct mr_error *err);
/* The writing thread: makes visible what was reserved (mr_lane_reserve) and rings if need be. */
void mr_own_lane_publish(struct mr_own_lane *lane);
/* Asks the worker to empty it and let go; the memory stays until mr_own_lane_deinit(). */
void mr_own_lane_close(struct mr_control *control, struct mr_own_lane *lane);
/* The worker, whose bells these are, let go: it can be opened again. */
void mr_own_lane_closed(struct mr_own_lane *lane, int bells);
/* The worker let go, or it was never open. */
void mr_own_lane_deinit(struct mr_own_lane *lane);

#endif
