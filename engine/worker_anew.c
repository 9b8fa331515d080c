/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See worker_anew.h. What is asked of the control thread is noted first and sent at the end of a
 * turn, one message a direction at a time: a state that is to be dropped is held until none of its
 * pieces is with the feed, and another is asked for only then.
 */
#include "worker_anew.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "worker_replica.h"

void mr_worker_anew_init(struct mr_worker_anew *anew, void *owner)
{
	anew->kept.owner = owner;
	anew->coming.owner = owner;
}

void mr_worker_anew_deinit(struct mr_worker_anew *anew)
{
	free(anew->kept.state);
	free(anew->coming.state);
}

static void tell(struct mr_worker *worker, struct mr_worker_replica *replica,
		 struct mr_worker_message *message, enum mr_worker_message_kind kind,
		 uint32_t bytes)
{
	message->kind = kind;
	message->status = 0;
	message->partition = replica->partition;
	message->state_bytes = bytes;
	mr_worker_tell(worker, message);
}

/* ---- the leader ------------------------------------------------------------------------------ */

void mr_worker_anew_keep(struct mr_worker_anew *anew)
{
	anew->keep_due = true;
}

void mr_worker_anew_drop(struct mr_worker_anew *anew)
{
	anew->drop_due = true;
}

static bool is_being_sent(const struct mr_worker_replica *replica)
{
	uint32_t i, j;

	for (i = 0; i < replica->link_count; i++)
		for (j = 0; j < MR_REPLICA_ENTRIES; j++)
			if (replica->links[i].entries[j].out &&
			    replica->links[i].entries[j].parcel.entry.kind == MR_FEED_STATE)
				return true;
	return false;
}

static void keep_turn(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	struct mr_worker_anew *anew = &replica->anew;

	if (anew->kept_out)
		return;
	if (anew->drop_due && !is_being_sent(replica)) {
		anew->drop_due = false;
		anew->kept_out = true;
		tell(worker, replica, &anew->kept, MR_WORKER_STATE_ROOM, 0);
	} else if (anew->keep_due && !anew->drop_due) {
		anew->keep_due = false;
		anew->kept_out = true;
		tell(worker, replica, &anew->kept, MR_WORKER_KEEP_STATE, 0);
	}
}

void mr_worker_anew_add_piece(struct mr_worker_anew *anew, struct mr_feed_parcel *parcel)
{
	const struct mr_feed_entry *entry = &parcel->entry;

	mr_assert(!anew->kept_out && !anew->drop_due);
	mr_assert(entry->at <= anew->kept.state_bytes);
	mr_assert(entry->bytes <= anew->kept.state_bytes - entry->at);
	parcel->pieces[0] = (struct iovec){anew->kept.state + entry->at, entry->bytes};
	parcel->piece_count = 1;
}

/* ---- the follower ---------------------------------------------------------------------------- */

/* It is one of those that this host waits for. */
static bool is_wanted(const struct mr_replica *machine, uint32_t node,
		      const struct mr_feed_entry *entry)
{
	return machine->role == MR_ROLE_FOLLOWER && machine->step == MR_FOLLOW_STATE &&
	       machine->known.leader == (int32_t)node &&
	       machine->known.leader_epoch == entry->leader_epoch &&
	       machine->session == entry->session;
}

void mr_worker_anew_arrived(struct mr_worker_replica *replica, uint32_t node,
			    const struct mr_feed_item *item)
{
	struct mr_worker_anew *anew = &replica->anew;
	const struct mr_feed_entry *entry = &item->entry;
	uint32_t room = anew->coming_out ? 0 : anew->coming.state_bytes;

	if (is_wanted(&replica->machine, node, entry) && entry->total_bytes > room) {
		anew->room_due = entry->total_bytes;
		return;
	}
	if (mr_replica_take_state(&replica->machine, node, entry) != MR_TAKE_APPEND)
		return;
	mr_assert(entry->total_bytes <= room); /* nothing else is taken */
	memcpy(anew->coming.state + entry->at, item->batches, entry->bytes);
	anew->coming_bytes = entry->total_bytes;
}

void mr_worker_anew_hand_over(struct mr_worker_anew *anew, struct mr_worker_message *message)
{
	mr_assert(!anew->coming_out && anew->coming.state);
	message->state = anew->coming.state;
	message->state_bytes = anew->coming_bytes;
	anew->coming.state = NULL;
	anew->coming.state_bytes = 0;
}

static void room_turn(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	struct mr_worker_anew *anew = &replica->anew;
	enum mr_follow_step step = replica->machine.step;
	bool gathers = replica->machine.role == MR_ROLE_FOLLOWER &&
		       (step == MR_FOLLOW_STATE || step == MR_FOLLOW_TRUNCATE);

	if (!gathers)
		anew->room_due = 0;
	if (anew->coming_out || (anew->room_due == 0 && (gathers || !anew->coming.state)))
		return;
	anew->coming_out = true;
	tell(worker, replica, &anew->coming, MR_WORKER_STATE_ROOM, anew->room_due);
	anew->room_due = 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

void mr_worker_anew_turn(struct mr_worker *worker, struct mr_worker_replica *replica)
{
	keep_turn(worker, replica);
	room_turn(worker, replica);
}

void mr_worker_anew_returned(struct mr_worker_replica *replica, struct mr_worker_message *message)
{
	struct mr_worker_anew *anew = &replica->anew;

	if (message == &anew->coming) {
		anew->coming_out = false;
	} else if (message == &anew->kept) {
		anew->kept_out = false;
		if (message->kind == MR_WORKER_KEEP_STATE)
			mr_replica_keeps_state(&replica->machine, message->offset,
					       message->state_bytes);
	} else {
		mr_replica_not_truncated(&replica->machine);
	}
}
