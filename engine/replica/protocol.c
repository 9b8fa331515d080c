/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replication protocol of one partition on one host (reliability.md R1 to R7), as protocol.h
 * tells it. Runs on the partition's worker, or in the simulator; owns nothing but its struct, and
 * drives the partition and the epoch table that it was given.
 *
 * In order: the register and our claims on it; the leader; the follower; what to do next. What one
 * replica hands to another that begins anew is in protocol_state.c, how often one says again what
 * the other knows in protocol_quiet.c.
 */
#include "protocol.h"

#include <string.h>

#include "check.h"
#include "protocol_parts.h"

#define EPOCHS_A_ROUND 64 /* node i takes only epochs that are i mod 64 (R2) */

static uint32_t count_of(uint64_t nodes)
{
	return (uint32_t)__builtin_popcountll(nodes);
}

bool mr_replica_leads(const struct mr_replica *replica)
{
	return replica->role == MR_ROLE_LEADER;
}

/* ---- roles ------------------------------------------------------------------------------- */

/* What recovery found; nobody leads yet, so nothing of it is known to be committed. */
static void begin_log(struct mr_replica *replica, uint64_t log_start, uint64_t log_end)
{
	struct mr_partition *partition = replica->partition;
	int32_t leader_epoch = partition->leader_epoch > replica->known.leader_epoch
				       ? partition->leader_epoch
				       : replica->known.leader_epoch;

	partition->self = replica->options.self;
	partition->min_insync_replicas = replica->options.min_insync_replicas;
	partition->leads = false;
	mr_partition_start(partition, log_start, log_end, leader_epoch);
}

/* A new agreement with the leader begins; one that was under way is void. */
void mr_replica_begin_asking(struct mr_replica *replica)
{
	replica->session++;
	replica->step = replica->truncating ? MR_FOLLOW_TRUNCATE : MR_FOLLOW_ASK;
	replica->said_ns = 0;
	replica->fetch_heard = false;
	replica->taken_bytes = 0;
	replica->told_flushed = 0;
	replica->told_credit = 0;
	replica->leader_watermark = 0; /* of a log that may part from ours */
	replica->behind_ns = 0;
	replica->coming_got = 0;
}

static void lead(struct mr_replica *replica)
{
	uint32_t i;

	replica->role = MR_ROLE_LEADER;
	replica->leader_gone = false;
	replica->elections++;
	for (i = 0; i < MR_NODES_MAX; i++) {
		struct mr_replica_peer *peer = &replica->peers[i];

		*peer = (struct mr_replica_peer){
			.connected = peer->connected,
			.watched = peer->watched,
			.incarnation = peer->incarnation,
			.mark_offset = replica->partition->log_end,
			.mark_ns = replica->now_ns,
			.caught_up_ns = replica->now_ns,
		};
	}
	(void)mr_partition_lead(replica->partition, replica->known.leader_epoch,
				replica->known.isr); /* the host looks at the high watermark */
}

static void follow(struct mr_replica *replica)
{
	replica->role = MR_ROLE_FOLLOWER;
	replica->leader_gone = false;
	replica->leader_log_start = 0;
	mr_replica_begin_asking(replica);
	mr_partition_follow(replica->partition, replica->known.leader_epoch);
}

static void step_down(struct mr_replica *replica)
{
	replica->role = MR_ROLE_NONE;
	mr_partition_follow(replica->partition, replica->partition->leader_epoch);
}

/* ---- the register ------------------------------------------------------------------------ */

static bool ever_led(const struct mr_replica *replica)
{
	return replica->known.leader_epoch > 0;
}

/* Whether the register says that this engine leads, by an election that it proposed itself (R2). */
static bool won(const struct mr_replica *replica)
{
	return replica->known.leader == (int32_t)replica->options.self &&
	       replica->known.leader_incarnation == replica->options.incarnation &&
	       replica->known.leader_epoch == replica->claimed_epoch && replica->claimed_epoch > 0;
}

static void take_role(struct mr_replica *replica, int32_t epoch_before)
{
	bool same = replica->known.leader_epoch == epoch_before;

	if (won(replica) && !replica->resigned) {
		if (replica->role == MR_ROLE_LEADER && same)
			(void)mr_partition_set_isr(replica->partition, replica->known.isr, 0);
		else
			lead(replica);
		return;
	}
	if (replica->known.leader == MR_NODE_NONE ||
	    replica->known.leader == (int32_t)replica->options.self) {
		/* mine by an earlier life, or by a claim I let go of: nobody leads */
		step_down(replica);
		replica->leader_gone = true;
		return;
	}
	if (replica->role != MR_ROLE_FOLLOWER || !same)
		follow(replica);
}

/*
 * Who holds nothing that counts was seen to be out of the ISR, and is all of it now, though it
 * never joined (R3): a person chose it, and gave up what it does not have. What is here counts.
 */
static bool is_chosen(const struct mr_replica *replica, const struct mr_coord_state *state)
{
	return replica->void_log && !replica->options.damaged && replica->known.version > 0 &&
	       !is_member(replica) && state->leader == (int32_t)replica->options.self &&
	       state->isr == bit(replica->options.self);
}

static void learn(struct mr_replica *replica, const struct mr_coord_state *state)
{
	int32_t epoch_before = replica->known.leader_epoch;

	if (state->version <= replica->known.version)
		return;
	if (is_chosen(replica, state))
		replica->void_log = false;
	replica->known = *state;
	replica->proposing = MR_PROPOSING_NOTHING;
	replica->proposed_isr = 0;
	if (mr_coord_counts_nothing_of(state, replica->options.self))
		replica->options.lost_data = false;
	take_role(replica, epoch_before);
}

static void resign(struct mr_replica *replica)
{
	replica->resigned = true;
	replica->claimed_epoch = 0;
	if (replica->role == MR_ROLE_LEADER) {
		step_down(replica);
		replica->leader_gone = true;
	}
}

void mr_replica_coordinated(struct mr_replica *replica, const struct mr_coord_event *event)
{
	switch (event->kind) {
	case MR_COORD_NOTHING:
		break;
	case MR_COORD_STATE:
		replica->read_due = false;
		replica->resigned = false;
		learn(replica, &event->state);
		break;
	case MR_COORD_ACCEPTED:
		learn(replica, &event->state);
		break;
	case MR_COORD_REFUSED:
		/* the register stands where it was: a guard refused. What was lost on the way
		   before may be carried out yet, so what was proposed counts until the version
		   moves */
		if (event->state.version == replica->known.version)
			replica->proposing = MR_PROPOSING_NOTHING;
		learn(replica, &event->state);
		break;
	case MR_COORD_UNKNOWN:
		if (replica->proposing == MR_PROPOSING)
			replica->proposing = MR_PROPOSING_AGAIN;
		replica->read_due = true;
		break;
	case MR_COORD_LEADER_GONE:
		learn(replica, &event->state);
		if (event->state.leader_epoch == replica->known.leader_epoch &&
		    replica->role != MR_ROLE_LEADER)
			replica->leader_gone = true;
		break;
	case MR_COORD_RESIGN:
		resign(replica);
		break;
	}
}

/* ---- proposals --------------------------------------------------------------------------- */

static struct mr_coord_proposal next_state(const struct mr_replica *replica)
{
	struct mr_coord_proposal proposal = {.wanted = replica->known, .guard = MR_NODE_NONE};

	proposal.wanted.version++;
	return proposal;
}

/* R7: nothing is answered and nobody is elected before this host is out of the ISR. */
static bool want_out(const struct mr_replica *replica, struct mr_coord_proposal *out)
{
	if (!replica->options.lost_data || !is_member(replica))
		return false;
	if (replica->options.damaged && replica->known.isr == bit(replica->options.self))
		return false;
	*out = next_state(replica);
	out->wanted.isr &= ~bit(replica->options.self);
	if (out->wanted.leader == (int32_t)replica->options.self)
		out->wanted.leader = MR_NODE_NONE;
	return true;
}

static int32_t next_epoch(const struct mr_replica *replica)
{
	return (replica->known.leader_epoch / EPOCHS_A_ROUND + 1) * EPOCHS_A_ROUND +
	       (int32_t)replica->options.self;
}

/* R2: a member of the ISR of this very version, under an epoch that nobody had. */
static bool want_election(struct mr_replica *replica, struct mr_coord_proposal *out)
{
	if (replica->role == MR_ROLE_LEADER || !replica->leader_gone || replica->resigned ||
	    replica->options.lost_data || replica->void_log || replica->truncating ||
	    !is_member(replica))
		return false;
	*out = next_state(replica);
	replica->claimed_epoch = next_epoch(replica);
	out->wanted.leader = (int32_t)replica->options.self;
	out->wanted.leader_incarnation = replica->options.incarnation;
	out->wanted.leader_epoch = replica->claimed_epoch;
	return true;
}

/* Members that did not keep up go, all at once, if enough stay (R2: never below the minimum). */
static bool want_shrink(const struct mr_replica *replica, struct mr_coord_proposal *out)
{
	uint64_t late = 0, left;

	for (left = replica->known.isr & ~bit(replica->options.self); left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		if (passed(replica, replica->peers[i].caught_up_ns, replica->options.lag_max_ns))
			late |= bit(i);
	}
	*out = next_state(replica);
	out->wanted.isr &= ~late;
	return late && count_of(out->wanted.isr) >= replica->options.min_insync_replicas;
}

/* R3: on stable storage there is all that was ever committed, and all that this leader began with.
 */
static bool has_caught_up(const struct mr_replica *replica, uint32_t node)
{
	const struct mr_partition *partition = replica->partition;
	uint64_t flushed = partition->replica_flushed[node];

	return replica->peers[node].fetching && flushed >= partition->high_watermark &&
	       flushed >= partition->epoch_start &&
	       !passed(replica, replica->peers[node].caught_up_ns, replica->options.lag_max_ns);
}

static bool want_expansion(const struct mr_replica *replica, struct mr_coord_proposal *out)
{
	uint64_t left = replica->options.replicas & ~replica->known.isr;

	for (; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		if (!has_caught_up(replica, i))
			continue;
		*out = next_state(replica);
		out->wanted.isr |= bit(i);
		out->guard = (int32_t)i;
		out->guard_incarnation = replica->peers[i].incarnation;
		return true;
	}
	return false;
}

/* Members that may be waited for in vain: as leader the late ones, else those that are not there.
 */
static uint64_t missing(const struct mr_replica *replica)
{
	uint64_t left = replica->proposal.wanted.isr & ~bit(replica->options.self), nodes = 0;

	for (; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		const struct mr_replica_peer *peer = &replica->peers[i];

		if (replica->role == MR_ROLE_LEADER
			    ? passed(replica, peer->caught_up_ns, replica->options.lag_max_ns)
			    : !peer->connected)
			nodes |= bit(i);
	}
	return nodes;
}

/*
 * A proposal that nobody answers may wait for a member that is gone: what takes its place has
 * fewer. As leader, or where this host led before, which nobody else can claim. One of them at most
 * is carried out, or one after the other, and R4 counts on all.
 */
static bool want_fewer(const struct mr_replica *replica, struct mr_coord_proposal *out)
{
	const struct mr_coord_proposal *last = &replica->proposal;
	uint64_t isr = replica->known.isr & last->wanted.isr & ~missing(replica);

	if (replica->known.leader != (int32_t)replica->options.self ||
	    last->wanted.leader != replica->known.leader || isr == last->wanted.isr ||
	    count_of(isr) < replica->options.min_insync_replicas)
		return false;
	if (replica->role != MR_ROLE_LEADER &&
	    !passed(replica, replica->first_ns, replica->options.lag_max_ns))
		return false;
	*out = *last;
	out->guard = MR_NODE_NONE;
	out->wanted.isr = isr;
	return true;
}

/*
 * After a lost answer the same is proposed again, or less: it is carried out at most once, and
 * whatever comes back says where the register stands.
 */
static bool want_proposal(struct mr_replica *replica, struct mr_coord_proposal *out)
{
	if (replica->known.version == 0 || replica->proposing == MR_PROPOSING)
		return false;
	if (replica->proposing == MR_PROPOSING_AGAIN) {
		if (!want_fewer(replica, out))
			*out = replica->proposal;
		return passed(replica, replica->proposed_ns, replica->options.ask_again_ns);
	}
	if (replica->proposed_ns &&
	    replica->proposal.wanted.version == replica->known.version + 1 &&
	    !passed(replica, replica->proposed_ns, replica->options.ask_again_ns))
		return false; /* refused a moment ago */
	if (want_out(replica, out) || want_election(replica, out))
		return true;
	if (replica->role != MR_ROLE_LEADER)
		return false;
	if (replica->proposed_isr & ~replica->known.isr) { /* refused: let the version say so */
		*out = next_state(replica);
		return true;
	}
	return want_shrink(replica, out) || want_expansion(replica, out);
}

static void note_proposal(struct mr_replica *replica, const struct mr_coord_proposal *proposal)
{
	uint64_t before = replica->known.isr;

	if (replica->proposing == MR_PROPOSING_NOTHING && replica->role == MR_ROLE_LEADER) {
		replica->shrinks += (before & ~proposal->wanted.isr) != 0;
		replica->expansions += (proposal->wanted.isr & ~before) != 0;
	}
	if (replica->proposing == MR_PROPOSING_NOTHING)
		replica->first_ns = replica->now_ns;
	replica->proposing = MR_PROPOSING;
	replica->proposal = *proposal;
	replica->proposed_ns = replica->now_ns;
	replica->proposed_isr |= proposal->wanted.isr;
	if (replica->role == MR_ROLE_LEADER) /* R4: from now on it may be true */
		(void)mr_partition_set_isr(replica->partition, replica->known.isr,
					   replica->proposed_isr);
}

/* ---- the leader -------------------------------------------------------------------------- */

/* In time, if it has flushed by now what was the log's end then. */
static void note_progress(struct mr_replica *replica, uint32_t node)
{
	struct mr_replica_peer *peer = &replica->peers[node];
	uint64_t flushed = replica->partition->replica_flushed[node];

	if (!peer->fetching)
		return;
	if (flushed >= peer->mark_offset) {
		peer->caught_up_ns = peer->mark_ns;
		peer->mark_offset = replica->partition->log_end;
		peer->mark_ns = replica->now_ns;
	}
	if (flushed >= replica->partition->log_end)
		peer->caught_up_ns = replica->now_ns;
}

static void receive_ask(struct mr_replica_peer *peer, const struct mr_feed_entry *entry)
{
	if ((int32_t)(entry->session - peer->session) < 0 ||
	    (entry->session == peer->session && peer->fetching))
		return; /* an old one, or one that was doubled on the way */
	peer->fetching = false;
	peer->answer_due = true;
	peer->state_due = false;
	peer->session = entry->session;
	peer->asked_epoch = entry->last_epoch;
}

static void receive_fetch(struct mr_replica *replica, uint32_t node,
			  const struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (entry->session != peer->session || entry->offset > replica->partition->log_end) {
		replica->refused++;
		return;
	}
	if (entry->offset < replica->partition->log_start) { /* retention was faster */
		peer->answer_due = true;
		return;
	}
	peer->watermark_due = true; /* also says that FETCH was heard */
	if (peer->fetching)
		return;
	peer->fetching = true;
	peer->answer_due = false;
	peer->sent_offset = entry->offset;
	peer->sent_bytes = 0;
	peer->credit_bytes = entry->credit_bytes;
	peer->told_watermark = 0;
	(void)mr_partition_replica_begins(replica->partition, node, entry->offset);
	peer->mark_offset = replica->partition->log_end;
	peer->mark_ns = replica->now_ns;
	note_progress(replica, node);
}

static void receive_flushed(struct mr_replica *replica, uint32_t node,
			    const struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (!peer->fetching || entry->session != peer->session ||
	    entry->offset > peer->sent_offset) { /* it cannot have what was not sent */
		replica->refused++;
		return;
	}
	if (entry->credit_bytes > peer->credit_bytes)
		peer->credit_bytes = entry->credit_bytes;
	(void)mr_partition_replica_flushed(replica->partition, node, entry->offset);
	note_progress(replica, node);
}

uint64_t mr_replica_sendable(const struct mr_replica *replica, uint32_t node, uint64_t *offset)
{
	const struct mr_replica_peer *peer = &replica->peers[node];

	if (replica->role != MR_ROLE_LEADER || !peer->fetching ||
	    peer->sent_offset >= replica->partition->log_end ||
	    peer->sent_offset < replica->partition->log_start ||
	    peer->sent_bytes >= peer->credit_bytes)
		return 0;
	*offset = peer->sent_offset;
	return peer->credit_bytes - peer->sent_bytes;
}

void mr_replica_describe(const struct mr_replica *replica, uint32_t node,
			 struct mr_feed_entry *entry)
{
	*entry = (struct mr_feed_entry){
		.kind = MR_FEED_BATCHES,
		.leader_epoch = replica->known.leader_epoch,
		.session = replica->peers[node].session,
		.high_watermark = replica->partition->high_watermark,
	};
}

static void note_told(struct mr_replica *replica, struct mr_replica_peer *peer)
{
	peer->watermark_due = false;
	peer->told_watermark = replica->partition->high_watermark;
	peer->told_ns = replica->now_ns;
}

void mr_replica_sent(struct mr_replica *replica, uint32_t node, const struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	mr_assert(entry->offset == peer->sent_offset);
	mr_assert(entry->end_offset <= replica->partition->log_end);
	peer->sent_offset = entry->end_offset;
	peer->sent_bytes += entry->bytes;
	note_told(replica, peer);
}

/*
 * A follower whose last epoch this log does not know, nor any before it, has nothing that is known
 * to be ours: it goes on from our log start. One without records may go on from anywhere.
 */
static struct mr_feed_entry answer(const struct mr_replica *replica,
				   const struct mr_replica_peer *peer)
{
	const struct mr_partition *partition = replica->partition;
	struct mr_epoch_end end = {MR_EPOCH_NONE, partition->log_end};

	if (peer->asked_epoch != MR_EPOCH_NONE) {
		end = mr_epochs_end(&replica->partition->epochs, peer->asked_epoch,
				    partition->log_end);
		if (end.leader_epoch == MR_EPOCH_NONE)
			end.end_offset = partition->log_start;
	}
	return (struct mr_feed_entry){
		.kind = MR_FEED_ANSWER,
		.leader_epoch = replica->known.leader_epoch,
		.session = peer->session,
		.last_epoch = end.leader_epoch,
		.offset = end.end_offset,
		.log_start = partition->log_start,
	};
}

/* ---- the follower ------------------------------------------------------------------------ */

void mr_replica_truncate_to(struct mr_replica *replica, uint64_t offset, bool reset, bool state)
{
	replica->step = MR_FOLLOW_TRUNCATE;
	replica->truncate_offset = offset;
	replica->truncate_reset = reset;
	replica->truncate_state = state;
}

/*
 * Nothing here is known to be the leader's: its log begins behind our end, or all of its epochs are
 * newer than ours, and it forgot the older ones; or there is nothing here that counts.
 */
static bool parted_before(const struct mr_replica *replica, const struct mr_feed_entry *entry)
{
	return replica->void_log || replica->partition->log_end < entry->log_start ||
	       (entry->last_epoch == MR_EPOCH_NONE &&
		mr_epochs_last(&replica->partition->epochs) != MR_EPOCH_NONE);
}

/* Where the greatest epoch that both logs have ends in the shorter one. */
static uint64_t common_end(const struct mr_partition *partition, const struct mr_feed_entry *entry)
{
	struct mr_epoch_end own = {MR_EPOCH_NONE, partition->log_end};

	if (entry->last_epoch != MR_EPOCH_NONE)
		own = mr_epochs_end(&partition->epochs, entry->last_epoch, partition->log_end);
	return own.end_offset < entry->offset ? own.end_offset : entry->offset;
}

/*
 * R5. Both logs agree up to their common end. If that was our last epoch and our log ends no later,
 * all of it agrees; else it is cut there, and asked again with what is last then.
 */
static void receive_answer(struct mr_replica *replica, const struct mr_feed_entry *entry)
{
	const struct mr_partition *partition = replica->partition;
	bool parted = parted_before(replica, entry);
	uint64_t agreed = parted ? entry->log_start : common_end(partition, entry);

	if (replica->step == MR_FOLLOW_TRUNCATE || replica->step == MR_FOLLOW_STATE ||
	    replica->fetch_heard)
		return;
	if (entry->last_epoch > mr_epochs_last(&partition->epochs)) {
		replica->refused++; /* not asked for */
		return;
	}
	if (agreed < partition->high_watermark && !replica->void_log) {
		if (mr_replica_was_read(replica)) {
			replica->refused++; /* I4: what consumers may have read is not cut away */
			return;
		}
		replica->uncuttable = true; /* even its oldest record was given up */
	}
	replica->leader_log_start = entry->log_start;
	if (parted || (replica->uncuttable && agreed < partition->log_end)) {
		mr_replica_begin_anew(replica, entry->log_start);
		return;
	}
	if (agreed < partition->log_end) {
		mr_replica_truncate_to(replica, agreed, false, false);
		return;
	}
	replica->uncuttable = false;
	replica->step = MR_FOLLOW_FETCH;
	replica->said_ns = 0;
}

void mr_replica_not_truncated(struct mr_replica *replica)
{
	mr_assert(replica->truncating);
	replica->truncating = false;
	if (replica->truncate_state)
		replica->refused++;
	else
		replica->uncuttable = true;
	if (replica->role == MR_ROLE_FOLLOWER)
		mr_replica_begin_asking(replica);
}

void mr_replica_truncated(struct mr_replica *replica, uint64_t log_start, uint64_t log_end)
{
	mr_assert(replica->truncating);
	begin_log(replica, log_start, log_end);
	(void)mr_partition_follow_watermark(replica->partition, replica->shown);
	replica->truncating = false;
	replica->void_log = false;
	replica->options.damaged = false;
	replica->uncuttable = false;
	replica->truncations++;
	if (replica->role == MR_ROLE_FOLLOWER)
		mr_replica_begin_asking(replica);
}

static void hear_watermark(struct mr_replica *replica, uint64_t offset)
{
	if (offset > replica->leader_watermark)
		replica->leader_watermark = offset;
	(void)mr_partition_follow_watermark(replica->partition,
					    replica->leader_watermark); /* the host looks at it */
}

/* The leader has sent what did not come: after a while it is taken for lost. */
static void note_behind(struct mr_replica *replica, uint64_t sent_offset)
{
	if (sent_offset <= replica->partition->log_end) {
		replica->behind_ns = 0;
		return;
	}
	if (!replica->behind_ns)
		replica->behind_ns = replica->now_ns;
	else if (passed(replica, replica->behind_ns, replica->options.ask_again_ns))
		mr_replica_begin_asking(replica);
}

static void note_heard(struct mr_replica *replica)
{
	replica->fetch_heard = true;
	replica->heard_ns = replica->now_ns;
}

static void receive_watermark(struct mr_replica *replica, const struct mr_feed_entry *entry)
{
	if (replica->step != MR_FOLLOW_FETCH)
		return;
	note_heard(replica);
	if (entry->log_start > replica->leader_log_start)
		replica->leader_log_start = entry->log_start;
	hear_watermark(replica, entry->high_watermark);
	note_behind(replica, entry->offset);
}

enum mr_take mr_replica_take(struct mr_replica *replica, uint32_t node,
			     const struct mr_feed_entry *entry)
{
	if (entry->leader_epoch != replica->known.leader_epoch) {
		mr_replica_received(replica, node, entry); /* says so, to whoever is behind */
		return MR_TAKE_DROP;
	}
	if (replica->role != MR_ROLE_FOLLOWER || replica->known.leader != (int32_t)node ||
	    replica->step != MR_FOLLOW_FETCH || entry->session != replica->session ||
	    entry->offset < replica->partition->log_end)
		return MR_TAKE_DROP;
	note_heard(replica);
	note_behind(replica, entry->offset);
	return entry->offset == replica->partition->log_end ? MR_TAKE_APPEND : MR_TAKE_DROP;
}

void mr_replica_took(struct mr_replica *replica, const struct mr_feed_entry *entry)
{
	mr_assert(replica->partition->log_end == entry->end_offset);
	replica->taken_bytes += entry->bytes;
	replica->behind_ns = 0;
	hear_watermark(replica, entry->high_watermark);
}

bool mr_replica_flushed(struct mr_replica *replica)
{
	uint64_t before = replica->partition->high_watermark;

	if (replica->role == MR_ROLE_FOLLOWER)
		hear_watermark(replica, 0);
	return replica->partition->high_watermark > before;
}

static uint64_t credit(const struct mr_replica *replica)
{
	return replica->taken_bytes + replica->options.window_bytes;
}

static struct mr_feed_entry follower_entry(const struct mr_replica *replica, enum mr_feed_kind kind)
{
	return (struct mr_feed_entry){
		.kind = kind,
		.leader_epoch = replica->known.leader_epoch,
		.session = replica->session,
		.offset = replica->partition->log_end,
	};
}

/* What the follower has to say to its leader now, if anything. */
static bool follower_says(struct mr_replica *replica, struct mr_feed_entry *entry)
{
	bool again = !replica->said_ns ||
		     passed(replica, replica->said_ns, replica->options.ask_again_ns);
	uint64_t flushed = replica->partition->flushed;

	if (replica->options.lost_data)
		return false;
	if (replica->step == MR_FOLLOW_ASK && again) {
		*entry = follower_entry(replica, MR_FEED_ASK);
		entry->last_epoch = mr_epochs_last(&replica->partition->epochs);
		replica->said_ns = replica->now_ns;
		return true;
	}
	if (replica->step == MR_FOLLOW_STATE && again) {
		*entry = follower_entry(replica, MR_FEED_ASK_STATE);
		entry->offset = replica->coming_got ? replica->coming_offset : 0;
		entry->at = replica->coming_got;
		replica->said_ns = replica->now_ns;
		return true;
	}
	if (replica->step != MR_FOLLOW_FETCH)
		return false;
	if (!replica->fetch_heard) {
		/* R5: all that we agree on is on stable storage first */
		if (!again || flushed < replica->partition->log_end)
			return false;
		*entry = follower_entry(replica, MR_FEED_FETCH);
	} else if (flushed > replica->told_flushed || mr_replica_flushed_due(replica) ||
		   credit(replica) - replica->told_credit >= replica->options.window_bytes / 2) {
		*entry = follower_entry(replica, MR_FEED_FLUSHED);
		entry->offset = flushed;
	} else {
		return false;
	}
	entry->credit_bytes = credit(replica);
	replica->said_ns = replica->now_ns;
	replica->told_flushed = flushed;
	replica->told_credit = entry->credit_bytes;
	return true;
}

/* ---- from the others --------------------------------------------------------------------- */

void mr_replica_connected(struct mr_replica *replica, uint32_t node, uint64_t incarnation,
			  bool watched)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	mr_assert(node < MR_NODES_MAX);
	peer->connected = true;
	peer->watched = watched && replica->options.quiet_ns;
	peer->fetching = false;
	peer->answer_due = false;
	peer->watermark_due = false;
	peer->state_due = false;
	peer->stale_epoch = 0;
	peer->session = 0;
	peer->incarnation = incarnation;
	if (replica->role == MR_ROLE_FOLLOWER && replica->known.leader == (int32_t)node)
		mr_replica_begin_asking(replica);
}

void mr_replica_disconnected(struct mr_replica *replica, uint32_t node)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	mr_assert(node < MR_NODES_MAX);
	peer->connected = false;
	peer->fetching = false;
	peer->answer_due = false;
	if (replica->role == MR_ROLE_FOLLOWER && replica->known.leader == (int32_t)node)
		mr_replica_begin_asking(replica);
}

static void receive_as_leader(struct mr_replica *replica, uint32_t node,
			      const struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (!holds(replica->options.replicas, node)) {
		replica->refused++;
		return;
	}
	switch (entry->kind) {
	case MR_FEED_ASK:
		receive_ask(peer, entry);
		break;
	case MR_FEED_FETCH:
		receive_fetch(replica, node, entry);
		break;
	case MR_FEED_FLUSHED:
		receive_flushed(replica, node, entry);
		break;
	case MR_FEED_ASK_STATE:
		mr_replica_asked_for_state(replica, node, entry);
		break;
	default:
		replica->refused++; /* only a leader says that */
	}
}

static void receive_as_follower(struct mr_replica *replica, uint32_t node,
				const struct mr_feed_entry *entry)
{
	if (replica->known.leader != (int32_t)node || entry->session != replica->session)
		return; /* of an agreement before */
	if (entry->kind == MR_FEED_ANSWER)
		receive_answer(replica, entry);
	else if (entry->kind == MR_FEED_WATERMARK)
		receive_watermark(replica, entry);
	else
		replica->refused++;
}

void mr_replica_received(struct mr_replica *replica, uint32_t node,
			 const struct mr_feed_entry *entry)
{
	mr_assert(node < MR_NODES_MAX);
	if (entry->leader_epoch > replica->known.leader_epoch) {
		replica->read_due = true; /* R6: the register decides, not the message */
		return;
	}
	if (entry->kind == MR_FEED_STALE)
		return; /* it was stale itself */
	if (entry->leader_epoch < replica->known.leader_epoch) {
		replica->peers[node].stale_epoch = replica->known.leader_epoch;
		return;
	}
	if (replica->role == MR_ROLE_LEADER)
		receive_as_leader(replica, node, entry);
	else if (replica->role == MR_ROLE_FOLLOWER)
		receive_as_follower(replica, node, entry);
}

/* ---- what to do -------------------------------------------------------------------------- */

static bool leader_says(struct mr_replica *replica, uint32_t node, struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (peer->answer_due) {
		*entry = answer(replica, peer);
		peer->answer_due = false;
		return true;
	}
	if (mr_replica_says_state(replica, node, entry))
		return true;
	if (!peer->fetching ||
	    !(peer->watermark_due || (!replica->put_off && mr_replica_peer_untold(replica, peer)) ||
	      mr_replica_heartbeat_due(replica, node)))
		return false;
	*entry = (struct mr_feed_entry){
		.kind = MR_FEED_WATERMARK,
		.leader_epoch = replica->known.leader_epoch,
		.session = peer->session,
		.offset = peer->sent_offset,
		.high_watermark = replica->partition->high_watermark,
		.log_start = replica->partition->log_start,
	};
	note_told(replica, peer);
	return true;
}

static bool says(struct mr_replica *replica, uint32_t node, struct mr_feed_entry *entry)
{
	struct mr_replica_peer *peer = &replica->peers[node];

	if (peer->stale_epoch) {
		*entry = (struct mr_feed_entry){.kind = MR_FEED_STALE,
						.leader_epoch = peer->stale_epoch};
		peer->stale_epoch = 0;
		return true;
	}
	if (replica->role == MR_ROLE_LEADER)
		return leader_says(replica, node, entry);
	return replica->role == MR_ROLE_FOLLOWER && replica->known.leader == (int32_t)node &&
	       follower_says(replica, entry);
}

static bool wants_to_read(struct mr_replica *replica)
{
	if (!replica->read_due ||
	    (replica->read_ns && !passed(replica, replica->read_ns, replica->options.ask_again_ns)))
		return false;
	replica->read_ns = replica->now_ns;
	return true;
}

/*
 * Never beside an election that may be won: a leader's epoch begins at its log's end. Where nobody
 * ever led, who holds nothing begins at 0: then somebody vouches for that.
 */
static bool wants_truncation(struct mr_replica *replica)
{
	if (replica->truncating || replica->proposing != MR_PROPOSING_NOTHING)
		return false;
	if (replica->void_log && replica->known.version > 0 && !ever_led(replica)) {
		mr_replica_truncate_to(replica, 0, true, false);
		return true;
	}
	return replica->role == MR_ROLE_FOLLOWER && replica->step == MR_FOLLOW_TRUNCATE;
}

struct mr_replica_action mr_replica_next(struct mr_replica *replica, uint64_t sendable)
{
	struct mr_replica_action action = {.kind = MR_ACTION_NOTHING};
	uint64_t left;

	if (wants_to_read(replica)) {
		action.kind = MR_ACTION_READ;
		return action;
	}
	if (want_proposal(replica, &action.proposal)) {
		action.kind = MR_ACTION_PROPOSE;
		note_proposal(replica, &action.proposal);
		return action;
	}
	action.kind = mr_replica_about_state(replica);
	if (action.kind != MR_ACTION_NOTHING)
		return action;
	if (wants_truncation(replica)) {
		action.kind = MR_ACTION_TRUNCATE;
		action.offset = replica->truncate_offset;
		action.reset = replica->truncate_reset;
		action.state = replica->truncate_state;
		replica->shown = replica->partition->high_watermark;
		replica->truncating = true;
		return action;
	}
	left = sendable & replica->options.replicas & ~bit(replica->options.self);
	for (; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		if (!replica->peers[i].connected || !says(replica, i, &action.entry))
			continue;
		action.kind = MR_ACTION_SEND;
		action.node = i;
		return action;
	}
	return action;
}

/* ---- beginning and time ------------------------------------------------------------------ */

void mr_replica_init(struct mr_replica *replica, const struct mr_replica_options *options,
		     struct mr_partition *partition, uint64_t log_start, uint64_t log_end,
		     uint64_t now_ns)
{
	mr_assert(options->self < MR_NODES_MAX);
	mr_assert(holds(options->replicas, options->self));
	mr_assert(options->min_insync_replicas >= 1);
	*replica = (struct mr_replica){
		.options = *options,
		.partition = partition,
		.now_ns = now_ns,
		.known = {.leader = MR_NODE_NONE},
		.read_due = true,
		.void_log = options->lost_data,
	};
	begin_log(replica, log_start, log_end);
}

void mr_replica_time(struct mr_replica *replica, uint64_t now_ns)
{
	uint64_t left = replica->options.replicas & ~bit(replica->options.self);

	mr_assert(now_ns >= replica->now_ns);
	replica->now_ns = now_ns;
	if (replica->role == MR_ROLE_FOLLOWER && replica->step == MR_FOLLOW_FETCH &&
	    replica->fetch_heard &&
	    passed(replica, replica->heard_ns, mr_replica_silence_max_ns(replica)))
		mr_replica_begin_asking(replica);
	if (replica->role != MR_ROLE_LEADER)
		return;
	for (; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		/* retention was faster: it hears nothing more, and asks anew */
		if (replica->peers[i].sent_offset < replica->partition->log_start)
			replica->peers[i].fetching = false;
		note_progress(replica, i);
	}
}
