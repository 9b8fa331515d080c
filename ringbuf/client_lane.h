/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a producing thread and the connection's thread share of a lane: the memfds to hand back, and
 * a place where the second leaves the next engine's page for the first, which takes it at its next
 * call.
 */
#ifndef MR_CLIENT_LANE_H
#define MR_CLIENT_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conversation.h"

#define MR_LANE_NONE UINT64_MAX /* no engine has it under any name */

/* The next engine's side of a lane. Descriptors belong to whoever has the struct. */
struct mr_lane_swap {
	int engine_fd;
	int bell_to_worker;
	int bell_to_client;
	uint64_t lost;	     /* at all hand-backs, as the engine said */
	uint64_t hand_backs; /* of the lane so far */
};

/*
 * 'client_fd', 'engine_fd' and 'hand_backs' belong to the connection's thread once the lane is
 * added; 'next', 'lane', 'generation', 'references' and 'removed' to the connection's lock.
 */
struct mr_client_lane {
	struct mr_client_lane *next;
	uint64_t lane;	     /* the engine's name for it */
	uint64_t generation; /* of the engine that has it */
	uint32_t references;
	bool removed;
	int client_fd;
	int engine_fd;
	uint64_t hand_backs;
	_Atomic(struct mr_lane_swap *) swap;
	_Atomic uint64_t published; /* by the producing thread, for the engine's report */
	_Atomic uint32_t news;	    /* 1: look at 'swap' and 'failed' (W13: after them) */
	_Atomic int failed; /* negative errno, after 'error': no engine will take it again */
	struct mr_error error;
};

struct mr_client_lane *mr_client_lane_new(void);
void mr_client_lane_free(struct mr_client_lane *lane); /* takes NULL */

void mr_lane_swap_free(struct mr_lane_swap *swap); /* takes NULL */

/* The lane is lost for good; the producing thread finds out at its next call. Connection's thread.
 */
void mr_client_lane_fail(struct mr_client_lane *lane, const struct mr_error *error);

/* What the producing thread finds: the newest engine's page, which it now owns, or NULL. Clears the
 * news. */
struct mr_lane_swap *mr_client_lane_take(struct mr_client_lane *lane);

static inline bool mr_client_lane_news(const struct mr_client_lane *lane)
{
	/* R13: pairs with W13. */
	return atomic_load_explicit(&lane->news, memory_order_acquire) != 0;
}

/*
 * Hands the lane back to the engine at the other end. Connection's thread. 0: the engine has it
 * under 'lane_id', or will never (then it has failed, or was closed by the engine before; *lane_id
 * is MR_LANE_NONE). Else the conversation is over.
 */
int mr_client_lane_hand_back(struct mr_client_lane *lane, struct mr_conversation *conversation,
			     uint64_t deadline, uint64_t *lane_id);

#endif
