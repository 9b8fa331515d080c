/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log says no longer, from a leader to a follower that begins anew (protocol.h): producers'
 * last sequences and older leader epochs, as they stand in the leader's checkpoint. A part of the
 * protocol's machine: runs where that does, owns nothing but its struct.
 *
 * The follower asks for one piece after another, so nothing is on its way that nobody waits for. A
 * piece of another state than the one that it has pieces of is only taken if it is the first.
 */
#include "check.h"
#include "protocol_parts.h"

/* ---- the leader ------------------------------------------------------------------------------ */

void mr_replica_asked_for_state(struct mr_replica *replica, uint32_t node,
				const struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (entry->session != peer->session || peer->fetching) {
		replica->refused++;
		return;
	}
	peer->state_due = true;
	peer->state_at = entry->at;
	peer->state_offset = entry->offset;
	replica->kept_ns = replica->now_ns;
}

/*
 * It must be of an offset that is still kept: who begins at our log start would know nothing of
 * producers whose records stood between.
 */
static bool keeps_state(const struct mr_replica *replica)
{
	return replica->kept_bytes > 0 && replica->kept_offset >= replica->partition->log_start;
}

void mr_replica_keeps_state(struct mr_replica *replica, uint64_t offset, uint32_t bytes)
{
	mr_assert(replica->keeping);
	replica->keeping = false;
	replica->kept_offset = offset;
	replica->kept_bytes = bytes;
	replica->kept_ns = replica->now_ns;
	for (uint32_t i = 0; i < MR_NODES_MAX && !keeps_state(replica); i++)
		replica->peers[i].state_due = false; /* it asks again, by and by */
}

static bool wants_state(const struct mr_replica *replica)
{
	for (uint32_t i = 0; i < MR_NODES_MAX; i++)
		if (replica->peers[i].connected && replica->peers[i].state_due)
			return true;
	return false;
}

/* The piece that is asked for; the first one where it is of another state than the peer has of. */
static struct mr_feed_entry state_piece(const struct mr_replica *replica,
					const struct mr_replica_peer *peer)
{
	bool goes_on =
		peer->state_offset == replica->kept_offset && peer->state_at < replica->kept_bytes;
	struct mr_feed_entry entry = {
		.kind = MR_FEED_STATE,
		.leader_epoch = replica->known.leader_epoch,
		.session = peer->session,
		.offset = replica->kept_offset,
		.log_start = replica->partition->log_start,
		.at = goes_on ? peer->state_at : 0,
		.total_bytes = replica->kept_bytes,
	};

	entry.bytes = replica->kept_bytes - entry.at;
	if (entry.bytes > MR_FEED_STATE_PIECE_MAX)
		entry.bytes = MR_FEED_STATE_PIECE_MAX;
	return entry;
}

bool mr_replica_says_state(struct mr_replica *replica, uint32_t node, struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (!peer->state_due || !keeps_state(replica))
		return false;
	*entry = state_piece(replica, peer);
	peer->state_due = false;
	return true;
}

/* The state that is kept for others: for as long as somebody asks for it, and it is good. */
enum mr_action_kind mr_replica_about_state(struct mr_replica *replica)
{
	bool leads = replica->role == MR_ROLE_LEADER;

	if (replica->keeping)
		return MR_ACTION_NOTHING;
	if (replica->kept_bytes > 0 &&
	    (!leads || !keeps_state(replica) ||
	     passed(replica, replica->kept_ns, replica->options.lag_max_ns))) {
		replica->kept_bytes = 0;
		return MR_ACTION_DROP_STATE;
	}
	if (!leads || replica->kept_bytes > 0 || !wants_state(replica))
		return MR_ACTION_NOTHING;
	replica->keeping = true;
	return MR_ACTION_KEEP_STATE;
}

/* ---- the follower ---------------------------------------------------------------------------- */

/*
 * Where a log of which nothing can stay begins: at the leader's log start. One that is only not to
 * be cut agrees with the leader's as far as consumers have read in this life, if they read
 * anything, and does not go back there.
 */
static uint64_t beginning(const struct mr_replica *replica, uint64_t log_start)
{
	uint64_t shown = replica->partition->high_watermark;

	return replica->uncuttable && mr_replica_was_read(replica) && shown > log_start ? shown
											: log_start;
}

/*
 * There, with the leader's state, unless its log has everything. First out of the ISR, as one that
 * lost its data (R7): while it begins anew it is less than it was.
 */
void mr_replica_begin_anew(struct mr_replica *replica, uint64_t log_start)
{
	if (is_member(replica)) {
		replica->options.lost_data = true;
	} else if (beginning(replica, log_start) == 0) {
		mr_replica_truncate_to(replica, 0, true, false);
	} else {
		replica->step = MR_FOLLOW_STATE;
		replica->coming_got = 0;
		replica->said_ns = 0;
	}
}

static uint32_t state_bytes_max(const struct mr_replica *replica)
{
	return replica->options.state_bytes_max ? replica->options.state_bytes_max
						: MR_FEED_STATE_BYTES_MAX;
}

enum mr_take mr_replica_take_state(struct mr_replica *replica, uint32_t node,
				   const struct mr_feed_entry *entry)
{
	uint64_t begin = beginning(replica, entry->log_start);

	if (entry->leader_epoch != replica->known.leader_epoch) {
		mr_replica_received(replica, node, entry);
		return MR_TAKE_DROP;
	}
	if (replica->role != MR_ROLE_FOLLOWER || replica->known.leader != (int32_t)node ||
	    replica->step != MR_FOLLOW_STATE || entry->session != replica->session)
		return MR_TAKE_DROP;
	if (entry->bytes == 0 || entry->total_bytes > state_bytes_max(replica) ||
	    entry->at > entry->total_bytes || entry->bytes > entry->total_bytes - entry->at ||
	    begin > entry->offset ||
	    (begin < replica->partition->high_watermark && !replica->void_log &&
	     !replica->uncuttable)) {
		replica->refused++;
		return MR_TAKE_DROP;
	}
	if (entry->at == 0) {
		replica->coming_offset = entry->offset;
		replica->coming_bytes = entry->total_bytes;
		replica->coming_got = 0;
	}
	if (entry->at != replica->coming_got || entry->offset != replica->coming_offset ||
	    entry->total_bytes != replica->coming_bytes)
		return MR_TAKE_DROP; /* it came before, or is of another one */
	replica->coming_got += entry->bytes;
	replica->said_ns = 0;
	if (replica->coming_got == replica->coming_bytes)
		mr_replica_truncate_to(replica, begin, true, true);
	return MR_TAKE_APPEND;
}
