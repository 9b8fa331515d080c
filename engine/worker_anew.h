/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state that one replica hands to another that begins anew (replica/protocol.h), as a worker
 * has it: whole, in memory that the control thread makes and takes back, so that the worker never
 * does. A part of struct mr_worker_replica; runs on the partition's worker.
 *
 *	leader	 MR_ACTION_KEEP_STATE ──► MR_WORKER_KEEP_STATE, back with what the checkpoint says;
 *		 its pieces are sent from where it lies, until MR_ACTION_DROP_STATE
 *	follower a piece came ──► MR_WORKER_STATE_ROOM for the whole, if there is none; that piece
 *		 is dropped, and asked for again. With the last one it goes to the control thread,
 *		 in MR_WORKER_TRUNCATE
 */
#ifndef MR_WORKER_ANEW_H
#define MR_WORKER_ANEW_H

#include "worker.h"

struct mr_worker_replica;

struct mr_worker_anew {
	/* each with its memory, which is the control thread's while it is out */
	struct mr_worker_message kept, coming;
	bool kept_out, coming_out;
	bool keep_due, drop_due;
	uint32_t room_due;     /* bytes; 0: none is to be asked for */
	uint32_t coming_bytes; /* of what is being gathered */
};

void mr_worker_anew_init(struct mr_worker_anew *anew, void *owner);
void mr_worker_anew_deinit(struct mr_worker_anew *anew); /* nothing is out */
static inline bool mr_worker_anew_settled(const struct mr_worker_anew *anew)
{
	return !anew->kept_out && !anew->coming_out;
}
/* The two actions. */
void mr_worker_anew_keep(struct mr_worker_anew *anew);
void mr_worker_anew_drop(struct mr_worker_anew *anew);
/* Once a turn, after the actions: what is to be asked of the control thread. */
void mr_worker_anew_turn(struct mr_worker *worker, struct mr_worker_replica *replica);
/* The piece that parcel->entry stands for. */
void mr_worker_anew_add_piece(struct mr_worker_anew *anew, struct mr_feed_parcel *parcel);
/* A piece came. */
void mr_worker_anew_arrived(struct mr_worker_replica *replica, uint32_t node,
			    const struct mr_feed_item *item);
/* All of it came: it goes with 'message'. */
void mr_worker_anew_hand_over(struct mr_worker_anew *anew, struct mr_worker_message *message);
/* MR_WORKER_KEEP_STATE, MR_WORKER_STATE_ROOM; or MR_WORKER_TRUNCATE, whose state is none. */
void mr_worker_anew_returned(struct mr_worker_replica *replica, struct mr_worker_message *message);

#endif
