/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of one step of the replication protocol, where the simulator (tests/sim) does not
 * come or says too little: what retention took from the leader, what a peer may not say, what is
 * said when.
 */
#include <criterion/criterion.h>

#include "protocol.h"

#define MS(n)	 ((uint64_t)(n)*1000000u)
#define LEADER	 1
#define OTHER	 2
#define ALL	 7u
#define SENDABLE ALL

static struct mr_partition partition;
static struct mr_replica replica;

/* This is node 0, with a log from 'log_start' to 'log_end', or one that does not count. */
static void begin_with(uint64_t log_start, uint64_t log_end, bool lost_data)
{
	struct mr_replica_options options = {
		.self = 0,
		.incarnation = 5,
		.replicas = ALL,
		.min_insync_replicas = 2,
		.window_bytes = 1000,
		.lag_max_ns = MS(1000),
		.ask_again_ns = MS(200),
		.heartbeat_ns = MS(50),
		.quiet_ns = MS(1000),
		.lost_data = lost_data,
		.state_bytes_max = 10 * MR_FEED_STATE_PIECE_MAX,
	};

	cr_assert_eq(mr_partition_init(&partition, 8, 2, NULL), 0);
	mr_replica_init(&replica, &options, &partition, log_start, log_end, MS(1));
}

static void begin(uint64_t log_start, uint64_t log_end)
{
	begin_with(log_start, log_end, false);
}

static void end(void)
{
	mr_partition_deinit(&partition);
}

static void note_epoch(int32_t leader_epoch, uint64_t offset)
{
	cr_assert_eq(mr_epochs_note(&partition.epochs, leader_epoch, offset), 0);
}

static void tell_state(enum mr_coord_event_kind kind, uint64_t version, int32_t leader,
		       int32_t leader_epoch, uint64_t isr)
{
	struct mr_coord_event event = {
		.kind = kind,
		.state = {.version = version,
			  .leader = leader,
			  .leader_epoch = leader_epoch,
			  .leader_incarnation = 5,
			  .isr = isr},
	};

	mr_replica_coordinated(&replica, &event);
}

static struct mr_replica_action next(enum mr_action_kind kind)
{
	struct mr_replica_action action = mr_replica_next(&replica, SENDABLE);

	cr_assert_eq(action.kind, kind, "action %d, expected %d", action.kind, kind);
	return action;
}

static struct mr_feed_entry next_said(uint32_t node, enum mr_feed_kind kind)
{
	struct mr_replica_action action = next(MR_ACTION_SEND);

	cr_assert_eq(action.node, node);
	cr_assert_eq(action.entry.kind, kind, "says %d, expected %d", action.entry.kind, kind);
	return action.entry;
}

/* A follower of LEADER in epoch 65 that has just asked. */
static struct mr_feed_entry follow_and_ask(void)
{
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL);
	mr_replica_connected(&replica, LEADER, 9, false);
	return next_said(LEADER, MR_FEED_ASK);
}

static void answer(const struct mr_feed_entry *ask, int32_t last_epoch, uint64_t offset,
		   uint64_t log_start)
{
	struct mr_feed_entry entry = {
		.kind = MR_FEED_ANSWER,
		.leader_epoch = 65,
		.session = ask->session,
		.last_epoch = last_epoch,
		.offset = offset,
		.log_start = log_start,
	};

	mr_replica_received(&replica, LEADER, &entry);
}

/* Leads epoch 64 with a log of 'log_end', as the register says after its own proposal. */
static void lead(void)
{
	struct mr_replica_action action;

	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, MR_NODE_NONE, 0, ALL);
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.leader, 0);
	cr_assert_eq(action.proposal.wanted.leader_epoch, 64, "of node 0: 0 mod 64, and above 0");
	cr_assert_not(mr_replica_leads(&replica), "not before the answer");
	tell_state(MR_COORD_ACCEPTED, 4, 0, 64, ALL);
	cr_assert(mr_replica_leads(&replica));
}

static void receive(uint32_t node, enum mr_feed_kind kind, uint32_t session, uint64_t offset)
{
	struct mr_feed_entry entry = {.kind = kind,
				      .leader_epoch = 64,
				      .session = session,
				      .last_epoch = MR_EPOCH_NONE,
				      .offset = offset,
				      .credit_bytes = 1000};

	mr_replica_received(&replica, node, &entry);
}

static void let_fetch_on(bool watched, uint64_t incarnation, uint32_t session, uint64_t offset)
{
	mr_replica_connected(&replica, LEADER, incarnation, watched);
	receive(LEADER, MR_FEED_ASK, session, offset);
	(void)next_said(LEADER, MR_FEED_ANSWER);
	receive(LEADER, MR_FEED_FETCH, session, offset);
}

/* A follower in a life of its own agrees with us up to 'offset', under 'session'. */
static void let_fetch(uint64_t incarnation, uint32_t session, uint64_t offset)
{
	let_fetch_on(false, incarnation, session, offset);
}

/* ---- following ----------------------------------------------------------- */

Test(protocol, agrees_and_fetches_from_its_end)
{
	struct mr_feed_entry entry;

	begin(0, 40);
	note_epoch(2, 0);
	entry = follow_and_ask();
	cr_assert_eq(entry.last_epoch, 2);
	cr_assert_eq(entry.offset, 40);
	answer(&entry, 2, 90, 0);
	entry = next_said(LEADER, MR_FEED_FETCH);
	cr_assert_eq(entry.offset, 40);
	cr_assert_eq(entry.credit_bytes, 1000);
	(void)next(MR_ACTION_NOTHING);
	end();
}

/* KIP-279: epoch 4 is unknown to the leader, which goes on with 2; and 3 is here, too. */
Test(protocol, cuts_where_the_greatest_common_epoch_ends_and_asks_again)
{
	struct mr_feed_entry entry;
	struct mr_replica_action action;

	begin(0, 40);
	note_epoch(2, 0);
	note_epoch(3, 10);
	note_epoch(4, 30);
	entry = follow_and_ask();
	answer(&entry, 2, 25, 0);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert_eq(action.offset, 10, "our epoch 2 ends there, before the leader's does");
	cr_assert_not(action.reset);
	(void)next(MR_ACTION_NOTHING);
	mr_epochs_truncate(&partition.epochs, 10);
	mr_replica_truncated(&replica, 0, 10);
	entry = next_said(LEADER, MR_FEED_ASK);
	cr_assert_eq(entry.last_epoch, 2);
	cr_assert_eq(entry.offset, 10);
	end();
}

/* Of the leader's state as of 'offset', whose log begins at 'log_start'. */
static enum mr_take give_piece(uint32_t session, uint64_t offset, uint64_t log_start, uint32_t at,
			       uint32_t bytes, uint32_t total_bytes)
{
	struct mr_feed_entry entry = {
		.kind = MR_FEED_STATE,
		.leader_epoch = 65,
		.session = session,
		.offset = offset,
		.log_start = log_start,
		.at = at,
		.bytes = bytes,
		.total_bytes = total_bytes,
	};

	return mr_replica_take_state(&replica, LEADER, &entry);
}

/* A follower out of the ISR that has asked for the first piece; its log ended at 40. */
static uint32_t ask_for_state(void)
{
	struct mr_feed_entry entry;

	begin(0, 40);
	note_epoch(2, 0);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL & ~1u);
	mr_replica_connected(&replica, LEADER, 9, false);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 40, 50);
	entry = next_said(LEADER, MR_FEED_ASK_STATE);
	cr_assert_eq(entry.at, 0);
	return entry.session;
}

Test(protocol, a_log_that_ended_before_the_leaders_begins_is_begun_anew)
{
	struct mr_replica_action action;
	struct mr_feed_entry entry;
	uint32_t session = ask_for_state();

	cr_assert_eq(give_piece(session, 70, 50, 0, 100, 250), MR_TAKE_APPEND);
	entry = next_said(LEADER, MR_FEED_ASK_STATE);
	cr_assert_eq(entry.at, 100);
	cr_assert_eq(entry.offset, 70);
	(void)next(MR_ACTION_NOTHING);
	cr_assert_eq(give_piece(session, 70, 51, 100, 150, 250), MR_TAKE_APPEND);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset);
	cr_assert(action.state);
	cr_assert_eq(action.offset, 51, "as the leader said last");
	(void)next(MR_ACTION_NOTHING);
	mr_epochs_truncate(&partition.epochs, 0);
	note_epoch(4, 45); /* as the state says */
	mr_replica_truncated(&replica, 51, 51);
	entry = next_said(LEADER, MR_FEED_ASK);
	cr_assert_eq(entry.last_epoch, 4);
	cr_assert_eq(entry.offset, 51);
	answer(&entry, 4, 90, 51);
	cr_assert_eq(next_said(LEADER, MR_FEED_FETCH).offset, 51);
	end();
}

/* Lost, doubled, late, of another state: the pieces are those of one state, in order, once. */
Test(protocol, pieces_of_a_state_come_in_order_and_of_one_state)
{
	uint32_t session = ask_for_state();

	cr_assert_eq(give_piece(session + 1, 70, 50, 0, 100, 250), MR_TAKE_DROP, "session");
	cr_assert_eq(give_piece(session, 70, 50, 100, 100, 250), MR_TAKE_DROP, "not the first");
	cr_assert_eq(give_piece(session, 70, 50, 0, 100, 250), MR_TAKE_APPEND);
	cr_assert_eq(give_piece(session, 70, 50, 200, 50, 250), MR_TAKE_DROP, "a gap");
	cr_assert_eq(give_piece(session, 71, 50, 100, 100, 250), MR_TAKE_DROP, "another");
	cr_assert_eq(give_piece(session, 70, 50, 100, 100, 251), MR_TAKE_DROP, "another");
	(void)next_said(LEADER, MR_FEED_ASK_STATE);
	(void)next(MR_ACTION_NOTHING);
	mr_replica_time(&replica, MS(300));
	cr_assert_eq(next_said(LEADER, MR_FEED_ASK_STATE).at, 100, "it was lost: once more");
	cr_assert_eq(give_piece(session, 70, 50, 100, 100, 250), MR_TAKE_APPEND);
	cr_assert_eq(give_piece(session, 70, 50, 100, 100, 250), MR_TAKE_DROP, "doubled");
	cr_assert_eq(give_piece(session, 80, 50, 0, 100, 300), MR_TAKE_APPEND, "a newer one");
	cr_assert_eq(next_said(LEADER, MR_FEED_ASK_STATE).at, 100);
	cr_assert_eq(give_piece(session, 70, 50, 200, 50, 250), MR_TAKE_DROP, "the older one");
	cr_assert_eq(replica.refused, 0);
	end();
}

Test(protocol, a_state_that_cannot_be_is_refused)
{
	uint32_t session = ask_for_state(), most = 10 * MR_FEED_STATE_PIECE_MAX;

	cr_assert_eq(give_piece(session, 70, 50, 0, 0, 250), MR_TAKE_DROP);
	cr_assert_eq(give_piece(session, 70, 50, 0, 100, most + 1), MR_TAKE_DROP, "no room");
	cr_assert_eq(give_piece(session, 70, 50, 0, 251, 250), MR_TAKE_DROP);
	cr_assert_eq(give_piece(session, 70, 50, 251, 1, 250), MR_TAKE_DROP);
	cr_assert_eq(give_piece(session, 49, 50, 0, 100, 250), MR_TAKE_DROP,
		     "records between the two would be known to nobody");
	cr_assert_eq(replica.refused, 5);
	cr_assert_eq(give_piece(session, 50, 50, 0, 1, 1), MR_TAKE_APPEND);
	cr_assert(next(MR_ACTION_TRUNCATE).state);
	mr_replica_not_truncated(&replica);
	cr_assert_eq(next_said(LEADER, MR_FEED_ASK).offset, 40, "all is as it was");
	end();
}

/* A person gave up what was committed here, and the log's beginning is gone. */
Test(protocol, a_log_that_cannot_be_cut_is_begun_anew)
{
	struct mr_replica_action action;
	struct mr_feed_entry entry;

	begin(20, 40);
	note_epoch(2, 20);
	note_epoch(5, 35);
	mr_partition_follow_watermark(&partition, 30);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL & ~1u);
	mr_replica_connected(&replica, LEADER, 9, false);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 35, 10);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert_eq(action.offset, 35);
	cr_assert_not(action.reset);
	mr_replica_not_truncated(&replica);
	cr_assert_eq(replica.refused, 0);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 25, 10);
	cr_assert_eq(replica.refused, 1, "what consumers have read is not cut for that");
	answer(&entry, 2, 35, 10);
	cr_assert_eq(next_said(LEADER, MR_FEED_ASK_STATE).session, entry.session, "asked before");
	cr_assert_eq(give_piece(entry.session, 29, 12, 0, 100, 100), MR_TAKE_DROP, "too early");
	cr_assert_eq(give_piece(entry.session, 70, 12, 0, 100, 100), MR_TAKE_APPEND);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset);
	cr_assert(action.state);
	cr_assert_eq(action.offset, 30, "not before what consumers have read");
	mr_epochs_truncate(&partition.epochs, 30);
	mr_replica_truncated(&replica, 30, 30);
	cr_assert_eq(partition.high_watermark, 30);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 35, 12);
	(void)next_said(LEADER, MR_FEED_FETCH);
	end();
}

/* Of all that the leader has nothing is here, and nobody has read any of it in this life. */
static void check_nothing_in_common(int32_t last_epoch, uint64_t agreed)
{
	struct mr_replica_action action;
	struct mr_feed_entry entry;

	begin(20, 40);
	note_epoch(2, 20);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL & ~1u);
	mr_replica_connected(&replica, LEADER, 9, false);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, last_epoch, agreed, 10);
	cr_assert_eq(replica.refused, 0);
	(void)next_said(LEADER, MR_FEED_ASK_STATE);
	cr_assert_eq(give_piece(entry.session, 14, 10, 0, 100, 100), MR_TAKE_APPEND);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset);
	cr_assert_eq(action.offset, 10);
	mr_epochs_truncate(&partition.epochs, 0);
	mr_replica_truncated(&replica, 10, 10);
	(void)next_said(LEADER, MR_FEED_ASK);
	end();
}

Test(protocol, a_log_whose_oldest_record_was_given_up_is_begun_anew)
{
	check_nothing_in_common(2, 15);
	check_nothing_in_common(MR_EPOCH_NONE, 15);
}

Test(protocol, nor_is_it_where_the_next_leader_has_all_of_it)
{
	struct mr_feed_entry entry;

	begin(20, 40);
	note_epoch(2, 20);
	entry = follow_and_ask();
	answer(&entry, 2, 35, 10);
	(void)next(MR_ACTION_TRUNCATE);
	mr_replica_not_truncated(&replica);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 50, 10);
	(void)next_said(LEADER, MR_FEED_FETCH);
	cr_assert_not(replica.uncuttable, "another one may cut it again");
	end();
}

/* While it begins anew a replica is less than it was: who is in sync has to be more than that. */
Test(protocol, who_begins_anew_leaves_the_isr_first)
{
	struct mr_replica_action action;
	struct mr_feed_entry entry;

	begin(0, 40);
	note_epoch(2, 0);
	entry = follow_and_ask();
	answer(&entry, 2, 40, 50);
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.isr, ALL & ~1u);
	cr_assert_eq(action.proposal.wanted.leader, LEADER);
	(void)next(MR_ACTION_NOTHING);
	tell_state(MR_COORD_ACCEPTED, 4, LEADER, 65, ALL & ~1u);
	mr_replica_time(&replica, MS(300));
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 40, 50);
	(void)next_said(LEADER, MR_FEED_ASK_STATE);
	end();
}

/* Retention took the leader's older epochs: what is here of them is known to nobody. */
Test(protocol, records_of_epochs_that_the_leader_forgot_are_not_kept)
{
	struct mr_feed_entry entry;
	struct mr_replica_action action;

	begin(0, 60);
	note_epoch(2, 0);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL & ~1u);
	mr_replica_connected(&replica, LEADER, 9, false);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, MR_EPOCH_NONE, 50, 50);
	(void)next_said(LEADER, MR_FEED_ASK_STATE);
	cr_assert_eq(give_piece(entry.session, 60, 50, 0, 8, 8), MR_TAKE_APPEND);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset, "the records below 50 may be others than the leader had there");
	cr_assert_eq(action.offset, 50);
	mr_epochs_truncate(&partition.epochs, 0);
	mr_replica_truncated(&replica, 50, 50);
	entry = next_said(LEADER, MR_FEED_ASK);
	cr_assert_eq(entry.last_epoch, MR_EPOCH_NONE);
	answer(&entry, MR_EPOCH_NONE, 90, 50);
	entry = next_said(LEADER, MR_FEED_FETCH);
	cr_assert_eq(entry.offset, 50);
	end();
}

/* I4: consumers may have read it. */
Test(protocol, what_is_committed_is_not_cut)
{
	struct mr_feed_entry entry;

	begin(0, 40);
	note_epoch(2, 0);
	entry = follow_and_ask();
	cr_assert(mr_partition_follow_watermark(&partition, 30));
	answer(&entry, 2, 29, 0);
	(void)next(MR_ACTION_NOTHING);
	cr_assert_eq(replica.refused, 1);
	answer(&entry, 2, 30, 0);
	cr_assert_eq(next(MR_ACTION_TRUNCATE).offset, 30);
	end();
}

Test(protocol, batches_come_in_order_and_of_this_agreement_only)
{
	struct mr_feed_entry entry, batch = {.kind = MR_FEED_BATCHES, .leader_epoch = 65};

	begin(0, 40);
	note_epoch(2, 0);
	entry = follow_and_ask();
	batch.session = entry.session;
	batch.offset = 40;
	batch.end_offset = 45;
	cr_assert_eq(mr_replica_take(&replica, LEADER, &batch), MR_TAKE_DROP, "not agreed yet");
	answer(&entry, 2, 90, 0);
	(void)next_said(LEADER, MR_FEED_FETCH);
	cr_assert_eq(mr_replica_take(&replica, OTHER, &batch), MR_TAKE_DROP, "not the leader");
	batch.session--;
	cr_assert_eq(mr_replica_take(&replica, LEADER, &batch), MR_TAKE_DROP);
	batch.session++;
	batch.offset = 41;
	cr_assert_eq(mr_replica_take(&replica, LEADER, &batch), MR_TAKE_DROP, "a gap");
	batch.offset = 39;
	cr_assert_eq(mr_replica_take(&replica, LEADER, &batch), MR_TAKE_DROP, "there already");
	batch.offset = 40;
	cr_assert_eq(mr_replica_take(&replica, LEADER, &batch), MR_TAKE_APPEND);
	end();
}

/* What never comes is asked for anew, and a leader that is silent, too. */
Test(protocol, a_gap_that_stays_begins_a_new_agreement)
{
	struct mr_feed_entry entry, word = {.kind = MR_FEED_WATERMARK, .leader_epoch = 65};
	uint32_t session;

	begin(0, 40);
	note_epoch(2, 0);
	entry = follow_and_ask();
	answer(&entry, 2, 90, 0);
	(void)next_said(LEADER, MR_FEED_FETCH);
	session = entry.session;
	word.session = session;
	word.offset = 50;
	mr_replica_received(&replica, LEADER, &word);
	mr_replica_time(&replica, MS(150));
	mr_replica_received(&replica, LEADER, &word);
	cr_assert_eq(replica.session, session);
	mr_replica_time(&replica, MS(250));
	mr_replica_received(&replica, LEADER, &word);
	entry = next_said(LEADER, MR_FEED_ASK);
	cr_assert_eq(entry.session, session + 1);
	end();
}

/* ---- leading ------------------------------------------------------------- */

/* R2: the register may say so of an earlier life, or of a claim whose answer never came. */
Test(protocol, an_earlier_claim_is_not_taken_up)
{
	struct mr_replica_action action;

	begin(0, 40);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, 0, 64, ALL);
	cr_assert_not(mr_replica_leads(&replica));
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.leader_epoch, 128, "the next one");
	cr_assert_eq(action.proposal.wanted.version, 4);
	end();
}

Test(protocol, who_is_not_in_sync_does_not_claim)
{
	begin(0, 40);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, MR_NODE_NONE, 0, ALL & ~1u);
	(void)next(MR_ACTION_NOTHING);
	end();
}

/* R7 before R2. */
Test(protocol, who_lost_its_data_leaves_first)
{
	struct mr_replica_action action;

	begin_with(0, 0, true);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, 0, 64, ALL);
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.isr, ALL & ~1u);
	cr_assert_eq(action.proposal.wanted.leader, MR_NODE_NONE);
	end();
}

/* R7: then it begins anew, also where it looks as if it could go on: nobody vouches for that. */
Test(protocol, who_lost_its_data_begins_anew)
{
	struct mr_replica_action action;
	struct mr_feed_entry entry;

	begin_with(0, 0, true);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL & ~1u);
	mr_replica_connected(&replica, LEADER, 9, false);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, MR_EPOCH_NONE, 90, 0);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset);
	cr_assert_not(action.state, "the leader's log has everything");
	cr_assert_eq(action.offset, 0);
	mr_replica_truncated(&replica, 0, 0);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, MR_EPOCH_NONE, 90, 0);
	(void)next_said(LEADER, MR_FEED_FETCH);
	end();
}

/* I8: a damaged replica is one that lost its data, unless nobody else has any. */
Test(protocol, a_damaged_replica_leaves_if_others_are_in_sync)
{
	struct mr_replica_action action;

	begin_with(0, 40, true);
	replica.options.damaged = true;
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, 0, 64, 1u);
	(void)next(MR_ACTION_NOTHING);
	tell_state(MR_COORD_STATE, 5, 0, 64, 3u);
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.isr, 2u);
	cr_assert_eq(action.proposal.wanted.leader, MR_NODE_NONE);
	end();
}

/* A person's word is all that can make something of a log that nobody vouches for. */
static void choose(bool damaged, uint64_t isr_before)
{
	begin_with(0, 40, true);
	replica.options.damaged = damaged;
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, isr_before ? LEADER : MR_NODE_NONE, 64, isr_before);
	(void)next(MR_ACTION_NOTHING);
	tell_state(MR_COORD_STATE, 9, 0, 1024, 1u);
}

Test(protocol, who_is_chosen_leads_with_what_it_has)
{
	choose(false, 0);
	cr_assert_gt(next(MR_ACTION_PROPOSE).proposal.wanted.leader_epoch, 1024);
	cr_assert_eq(partition.log_end, 40, "nothing goes");
	end();
	choose(false, 1u << LEADER); /* the others were taken over from */
	(void)next(MR_ACTION_PROPOSE);
	end();
	choose(true, 0);
	(void)next(MR_ACTION_NOTHING);
	cr_assert(replica.void_log, "a damaged log is cut first");
	end();
}

/* A new partition: each of its hosts holds nothing, and says so on its disk before it counts. */
Test(protocol, where_nobody_ever_led_there_is_nothing_to_lose)
{
	struct mr_replica_action action;

	begin_with(0, 0, true);
	(void)next(MR_ACTION_READ);
	(void)next(MR_ACTION_NOTHING);
	tell_state(MR_COORD_STATE, 1, MR_NODE_NONE, 0, ALL);
	action = next(MR_ACTION_TRUNCATE);
	cr_assert(action.reset);
	cr_assert_eq(action.offset, 0);
	(void)next(MR_ACTION_NOTHING);
	mr_replica_truncated(&replica, 0, 0);
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.leader, 0);
	cr_assert_eq(action.proposal.wanted.isr, ALL);
	end();
}

/* ---- a state for others -------------------------------------------------- */

static void ask_piece(uint32_t session, uint64_t offset, uint32_t at)
{
	struct mr_feed_entry entry = {.kind = MR_FEED_ASK_STATE,
				      .leader_epoch = 64,
				      .session = session,
				      .offset = offset,
				      .at = at};

	mr_replica_received(&replica, LEADER, &entry);
}

/* Leads a log from 20 to 40, and LEADER has asked for its state. */
static void be_asked_for_state(void)
{
	begin(20, 40);
	lead();
	mr_replica_connected(&replica, LEADER, 9, false);
	receive(LEADER, MR_FEED_ASK, 7, 0);
	(void)next_said(LEADER, MR_FEED_ANSWER);
	ask_piece(6, 0, 0);
	cr_assert_eq(replica.refused, 1, "of another agreement");
	(void)next(MR_ACTION_NOTHING);
	ask_piece(7, 0, 0);
	(void)next(MR_ACTION_KEEP_STATE);
	(void)next(MR_ACTION_NOTHING);
}

Test(protocol, a_state_goes_out_in_pieces_as_it_is_asked_for)
{
	const uint32_t piece = MR_FEED_STATE_PIECE_MAX;
	struct mr_feed_entry entry;

	be_asked_for_state();
	mr_replica_keeps_state(&replica, 30, piece + 5);
	entry = next_said(LEADER, MR_FEED_STATE);
	cr_assert_eq(entry.session, 7);
	cr_assert_eq(entry.offset, 30);
	cr_assert_eq(entry.log_start, 20);
	cr_assert_eq(entry.at, 0);
	cr_assert_eq(entry.bytes, piece);
	cr_assert_eq(entry.total_bytes, piece + 5);
	(void)next(MR_ACTION_NOTHING);
	ask_piece(7, 30, piece);
	entry = next_said(LEADER, MR_FEED_STATE);
	cr_assert_eq(entry.at, piece);
	cr_assert_eq(entry.bytes, 5);
	ask_piece(7, 29, piece);
	cr_assert_eq(next_said(LEADER, MR_FEED_STATE).at, 0, "its pieces are of another");
	ask_piece(7, 30, piece + 5);
	cr_assert_eq(next_said(LEADER, MR_FEED_STATE).at, 0, "there is no such piece");
	mr_replica_time(&replica, MS(900));
	(void)next(MR_ACTION_NOTHING);
	mr_replica_time(&replica, MS(1100));
	(void)next(MR_ACTION_DROP_STATE);
	(void)next(MR_ACTION_NOTHING);
	end();
}

/* Between the two would be records that neither the state nor the log knows (I6). */
Test(protocol, a_state_from_before_the_log_start_is_not_sent)
{
	be_asked_for_state();
	mr_replica_keeps_state(&replica, 30, 5);
	partition.log_start = 31;
	(void)next(MR_ACTION_DROP_STATE);
	(void)next(MR_ACTION_KEEP_STATE);
	mr_replica_keeps_state(&replica, 35, 5);
	cr_assert_eq(next_said(LEADER, MR_FEED_STATE).log_start, 31);
	end();
}

Test(protocol, no_state_now_is_no_answer)
{
	be_asked_for_state();
	mr_replica_keeps_state(&replica, 0, 0);
	(void)next(MR_ACTION_NOTHING);
	ask_piece(7, 0, 0);
	(void)next(MR_ACTION_KEEP_STATE);
	tell_state(MR_COORD_STATE, 5, LEADER, 65, ALL);
	mr_replica_keeps_state(&replica, 30, 5);
	(void)next(MR_ACTION_DROP_STATE);
	cr_assert_eq(next_said(LEADER, MR_FEED_ASK).leader_epoch, 65, "it follows now");
	end();
}

Test(protocol, a_follower_cannot_have_flushed_what_was_not_sent)
{
	begin(0, 40);
	lead();
	let_fetch(9, 7, 10);
	cr_assert_eq(partition.replica_flushed[LEADER], 10);
	receive(LEADER, MR_FEED_FLUSHED, 7, 40);
	cr_assert_eq(partition.replica_flushed[LEADER], 10, "nothing was sent yet");
	cr_assert_eq(replica.refused, 1);
	receive(OTHER, MR_FEED_FETCH, 7, 41);
	cr_assert_eq(replica.refused, 2, "it never asked");
	end();
}

/* KIP-903: one that lost its disk came back into the ISR with what it had flushed before. */
Test(protocol, what_was_flushed_in_an_earlier_life_does_not_count)
{
	begin(0, 40);
	lead();
	let_fetch(9, 7, 40);
	cr_assert_eq(partition.replica_flushed[LEADER], 40);
	mr_replica_disconnected(&replica, LEADER);
	cr_assert_eq(partition.replica_flushed[LEADER], 40, "what it has on its disk it has");
	let_fetch(10, 1, 3);
	cr_assert_eq(partition.replica_flushed[LEADER], 3, "it is another disk");
	end();
}

/* Retention may be faster than a follower: it is let go, and asks anew. */
Test(protocol, what_is_not_kept_is_not_sent)
{
	uint64_t offset;

	begin(0, 40);
	lead();
	let_fetch(9, 7, 10);
	cr_assert_eq(mr_replica_sendable(&replica, LEADER, &offset), 1000);
	cr_assert_eq(offset, 10);
	partition.log_start = 20;
	cr_assert_eq(mr_replica_sendable(&replica, LEADER, &offset), 0);
	mr_replica_time(&replica, MS(60));
	cr_assert_not(replica.peers[LEADER].fetching);
	receive(LEADER, MR_FEED_FETCH, 7, 10);
	cr_assert_eq(next_said(LEADER, MR_FEED_ANSWER).log_start, 20, "and told what is kept");
	end();
}

/* R6: not the message decides, but the register. */
Test(protocol, a_newer_epoch_is_looked_up_and_an_older_one_told)
{
	struct mr_feed_entry entry = {.kind = MR_FEED_ASK, .leader_epoch = 65, .session = 1};

	begin(0, 40);
	lead();
	mr_replica_connected(&replica, LEADER, 9, false);
	mr_replica_time(&replica, MS(300));
	mr_replica_received(&replica, LEADER, &entry);
	(void)next(MR_ACTION_READ);
	cr_assert(mr_replica_leads(&replica), "nobody says so yet who knows");
	entry.leader_epoch = 63;
	mr_replica_received(&replica, LEADER, &entry);
	cr_assert_eq(next_said(LEADER, MR_FEED_STALE).leader_epoch, 64);
	end();
}

/* ---- how far is committed ------------------------------------------------ */

/* This node leads; LEADER and OTHER have all 40 records, and were told that. */
static void lead_both(void)
{
	begin(0, 40);
	lead();
	let_fetch(9, 7, 40);
	(void)next_said(LEADER, MR_FEED_WATERMARK);
	mr_replica_connected(&replica, OTHER, 9, false);
	receive(OTHER, MR_FEED_ASK, 8, 40);
	(void)next_said(OTHER, MR_FEED_ANSWER);
	receive(OTHER, MR_FEED_FETCH, 8, 40);
	cr_assert_eq(next_said(LEADER, MR_FEED_WATERMARK).high_watermark, 40);
	(void)next_said(OTHER, MR_FEED_WATERMARK);
	(void)next(MR_ACTION_NOTHING);
	cr_assert_not(mr_replica_untold(&replica));
}

/* One more record, to one of them. Returns the high watermark that went with it. */
static uint64_t send_one(uint32_t node)
{
	struct mr_feed_entry entry;
	uint64_t offset;

	cr_assert_gt(mr_replica_sendable(&replica, node, &offset), 0);
	mr_replica_describe(&replica, node, &entry);
	entry.offset = offset;
	entry.end_offset = offset + 1;
	entry.bytes = 10;
	mr_replica_sent(&replica, node, &entry);
	return entry.high_watermark;
}

Test(protocol, batches_tell_what_is_committed_if_the_message_is_put_off)
{
	lead_both();
	partition.high_watermark = 41;
	partition.log_end = 42;
	mr_replica_put_off(&replica, true);
	(void)next(MR_ACTION_NOTHING);
	cr_assert(mr_replica_untold(&replica));
	cr_assert_eq(send_one(LEADER), 41);
	cr_assert(mr_replica_untold(&replica), "the other one was not told");
	cr_assert_eq(send_one(OTHER), 41);
	cr_assert_not(mr_replica_untold(&replica));
	mr_replica_put_off(&replica, false);
	(void)next(MR_ACTION_NOTHING);
	end();
}

Test(protocol, what_was_put_off_is_told_to_those_who_were_not)
{
	lead_both();
	partition.high_watermark = 41;
	partition.log_end = 42;
	mr_replica_put_off(&replica, true);
	(void)next(MR_ACTION_NOTHING);
	cr_assert_eq(send_one(LEADER), 41);
	mr_replica_put_off(&replica, false);
	cr_assert_eq(next_said(OTHER, MR_FEED_WATERMARK).high_watermark, 41);
	(void)next(MR_ACTION_NOTHING);
	cr_assert_not(mr_replica_untold(&replica));
	end();
}

/* Who forgets to end it costs a heartbeat, no more; and who asks is answered. */
Test(protocol, what_is_due_anyway_is_not_put_off)
{
	lead_both();
	partition.high_watermark = 41;
	mr_replica_put_off(&replica, true);
	(void)next(MR_ACTION_NOTHING);
	receive(OTHER, MR_FEED_FETCH, 8, 40);
	cr_assert_eq(next_said(OTHER, MR_FEED_WATERMARK).high_watermark, 41);
	(void)next(MR_ACTION_NOTHING);
	mr_replica_time(&replica, MS(52));
	cr_assert_eq(next_said(LEADER, MR_FEED_WATERMARK).high_watermark, 41);
	cr_assert_eq(next_said(OTHER, MR_FEED_WATERMARK).high_watermark, 41);
	cr_assert_not(mr_replica_untold(&replica));
	end();
}

Test(protocol, who_does_not_take_batches_is_not_waited_for)
{
	lead_both();
	partition.high_watermark = 41;
	mr_replica_disconnected(&replica, OTHER);
	cr_assert(mr_replica_untold(&replica));
	mr_replica_disconnected(&replica, LEADER);
	cr_assert_not(mr_replica_untold(&replica));
	end();
}

/* ---- who leads ----------------------------------------------------------- */

/* The session with the coordinator may be over: whoever is elected now must be alone. */
Test(protocol, who_resigns_does_not_lead_that_epoch_again)
{
	struct mr_replica_action action;

	begin(0, 40);
	lead();
	tell_state(MR_COORD_RESIGN, 0, 0, 0, 0);
	cr_assert_not(mr_replica_leads(&replica));
	(void)next(MR_ACTION_NOTHING);
	tell_state(MR_COORD_STATE, 4, 0, 64, ALL);
	cr_assert_not(mr_replica_leads(&replica));
	mr_replica_time(&replica, MS(300));
	action = next(MR_ACTION_PROPOSE);
	cr_assert_eq(action.proposal.wanted.leader_epoch, 128);
	end();
}

/* ---- what is said again -------------------------------------------------- */

/* Times from 'from_ms' to 'to_ms', a look each 10 ms, at which this node says 'kind' to LEADER. */
static uint32_t count_said(uint64_t from_ms, uint64_t to_ms, enum mr_feed_kind kind)
{
	uint32_t count = 0;

	for (uint64_t ms = from_ms; ms < to_ms; ms += 10) {
		struct mr_replica_action action;

		mr_replica_time(&replica, MS(ms));
		action = mr_replica_next(&replica, SENDABLE);
		count += action.kind == MR_ACTION_SEND && action.entry.kind == kind;
	}
	return count;
}

static void lead_one_follower(bool watched)
{
	begin(0, 40);
	(void)mr_partition_flushed(&partition, 40);
	lead();
	let_fetch_on(watched, 9, 1, 40);
	receive(LEADER, MR_FEED_FLUSHED, 1, 40);
	(void)next_said(LEADER, MR_FEED_WATERMARK);
	(void)next(MR_ACTION_NOTHING);
}

/* Thousands of idle partitions cost next to nothing; a follower that lacks something is told. */
Test(protocol, a_leader_says_seldom_again_what_is_known)
{
	lead_one_follower(true);
	cr_assert(mr_replica_is_quiet(&replica));
	cr_assert_eq(count_said(10, 900, MR_FEED_WATERMARK), 0);
	cr_assert_eq(count_said(900, 4900, MR_FEED_WATERMARK), 4, "once in each round");
	(void)mr_partition_append(&partition, -1, 0, 0, 1, 1);
	cr_assert_not(mr_replica_is_quiet(&replica), "it lacks a record");
	cr_assert_geq(count_said(4900, 5500, MR_FEED_WATERMARK), 10, "each 50 ms");
	end();
}

Test(protocol, a_leader_says_it_often_where_silence_is_taken_for_its_end)
{
	lead_one_follower(false);
	cr_assert_not(mr_replica_is_quiet(&replica));
	cr_assert_geq(count_said(10, 910, MR_FEED_WATERMARK), 17, "each 50 ms");
	end();
}

static struct mr_feed_entry watermark(uint32_t session, uint64_t offset)
{
	return (struct mr_feed_entry){.kind = MR_FEED_WATERMARK,
				      .leader_epoch = 65,
				      .session = session,
				      .offset = offset,
				      .high_watermark = offset};
}

/* It fetches from 40 on, has told that it flushed 40, and has heard of it at 1 ms. */
static uint32_t follow_at_40(bool watched)
{
	struct mr_feed_entry entry;

	begin(0, 40);
	note_epoch(2, 0);
	(void)mr_partition_flushed(&partition, 40);
	(void)next(MR_ACTION_READ);
	tell_state(MR_COORD_STATE, 3, LEADER, 65, ALL);
	mr_replica_connected(&replica, LEADER, 9, watched);
	entry = next_said(LEADER, MR_FEED_ASK);
	answer(&entry, 2, 40, 0);
	(void)next_said(LEADER, MR_FEED_FETCH);
	entry = watermark(entry.session, 40);
	mr_replica_received(&replica, LEADER, &entry);
	return entry.session;
}

Test(protocol, a_follower_says_seldom_again_what_is_known)
{
	struct mr_feed_entry heard;
	uint32_t session = follow_at_40(true);

	heard = watermark(session, 40);
	cr_assert(mr_replica_is_quiet(&replica));
	cr_assert_eq(count_said(10, 1000, MR_FEED_FLUSHED), 0);
	cr_assert_eq(count_said(1000, 1100, MR_FEED_FLUSHED), 1, "a new round");
	mr_replica_received(&replica, LEADER, &heard);
	cr_assert_eq(count_said(1100, 2200, MR_FEED_FLUSHED), 1);
	cr_assert_eq(count_said(2200, 2290, MR_FEED_ASK), 0, "nothing was heard for 1.2 s");
	cr_assert_eq(count_said(2290, 2400, MR_FEED_ASK), 1, "it has let go of this agreement");
	end();
}

Test(protocol, a_follower_of_an_older_engine_expects_to_hear_of_it)
{
	(void)follow_at_40(false);
	cr_assert_not(mr_replica_is_quiet(&replica));
	cr_assert_eq(count_said(10, 190, MR_FEED_ASK), 0);
	cr_assert_eq(count_said(190, 300, MR_FEED_ASK), 1);
	end();
}
