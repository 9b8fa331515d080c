/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: one owner writes a register, and nothing is told that is not durable; what a host
 * led before a start it does not lead again unseen; a hand-over loses nothing, a take-over wins
 * against all that was written unseen.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coord_rig.h"

/* ---- the beginning --------------------------------------------------------------------------- */

Test(coord_static, begins_alike_everywhere, .init = coords_setup, .fini = coords_teardown)
{
	coords_all_agree();
	cr_expect_eq(coords_known(1).version, 1);
	cr_expect_eq(coords_known(1).leader, 0);
	cr_expect_eq(coords_known(1).isr, COORDS_ALL);
	cr_expect_eq(coords_known(1).leader_epoch, 0);
	for (uint32_t n = 0; n < COORDS; n++) {
		cr_expect_eq(coords_hosts[n].kind, MR_COORD_STATE);
		cr_expect_eq(coords_hosts[n].state.version, 1);
	}
	coords_create(0, COORDS_ALL, 0); /* again */
	coords_settle();
	coords_all_agree();
}

Test(coord_static, leads_alone_at_once_without_other_replicas, .fini = coords_teardown)
{
	coords_start(0);
	coords_create(0, COORDS_NODE(0), 0);
	cr_expect_eq(coords_hosts[0].coord->operations->next(coords_hosts[0].coord).kind,
		     MR_COORD_NOTHING, "not durable yet");
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_crash(0);
	coords_start(0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].state.version, 2);
	cr_expect_eq(coords_hosts[0].state.leader_epoch, 64);
}

/* A host that lost its disk must not take a topic for new that others have worked with. */
Test(coord_static, holds_back_a_new_one_until_others_have_it, .fini = coords_teardown)
{
	coords_start(0);
	coords_create(0, COORDS_ALL, 0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	cr_expect_eq(coords_not_heard(0), COORDS_NODE(1) | COORDS_NODE(2));
	coords_start(1);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_not_heard(0), COORDS_NODE(2));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_start(2);
	coords_join(0, 2);
	coords_settle();
	cr_expect_eq(coords_not_heard(0), 0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
}

/*
 * R7: what it made of the topic by itself is never handed out where others know more, in whatever
 * order disk and notices come: it would look as if nobody had ever led.
 */
Test(coord_static, never_hands_out_its_own_first_version_after_a_loss, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	for (int order = 0; order < 2; order++) {
		coords_crash(1);
		free(coords_hosts[1].disk);
		coords_hosts[1].disk = NULL;
		coords_hosts[1].disk_bytes = 0;
		coords_start(1);
		coords_create(1, COORDS_ALL, 0);
		if (order)
			while (coords_save_done(1))
				;
		coords_join(1, 0);
		coords_join(1, 2);
		while (coords_deliver()) /* all of it before anything newer is durable */
			;
		coords_take_events(1);
		coords_settle();
		cr_expect_gt(coords_hosts[1].first_version, 1, "order %d", order);
		cr_expect_eq(coords_hosts[1].state.version, 2);
	}
}

/* The claim that was not accepted, with fewer members: against what the replica knows still. */
static void claim_again(uint32_t n, uint64_t isr)
{
	struct mr_coord_proposal proposal = coords_proposal_of(n);

	proposal.wanted.version--;
	proposal.wanted.isr = isr;
	coords_propose(n, &proposal);
	coords_settle();
}

Test(coord_static, leads_what_was_just_created, .fini = coords_teardown)
{
	coords_start(0);
	coords_create(0, COORDS_ALL, 0);
	mr_coord_static_release(coords_hosts[0].coord, &coords_key);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING, "nobody else has it");
	coords_pass(1100);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_UNKNOWN);
	claim_again(0, COORDS_NODE(0));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_crash(0);
	coords_start(0);
	mr_coord_static_release(coords_hosts[0].coord, &coords_key); /* it is not new any more */
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
}

/* The notice of the topic is later than that of the register. */
Test(coord_static, takes_a_register_before_its_topic, .fini = coords_teardown)
{
	coords_start(0);
	coords_start(1);
	coords_join(0, 1);
	coords_create(0, 3, 0);
	coords_settle();
	coords_claim(0);
	cr_expect_eq(coords_known(1).version, 2);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "nobody looks at it yet");
	coords_create(1, 3, 0);
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.version, 2, "not begun anew");
	coords_crash(1);
	coords_start(1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.version, 2, "and kept");
	mr_coord_static_forget(coords_hosts[1].coord, &coords_key);
	cr_expect_eq(mr_coord_static_known(coords_hosts[1].coord, &coords_key,
					   &coords_hosts[1].state, &coords_chance),
		     -ENOENT);
	coords_settle();
	coords_crash(1);
	cr_assert_eq(coords_open_host(1), 0);
	cr_expect_eq(mr_coord_static_known(coords_hosts[1].coord, &coords_key,
					   &coords_hosts[1].state, &coords_chance),
		     -ENOENT);
}

/* ---- compare and set ------------------------------------------------------------------------- */

Test(coord_static, tells_nobody_before_it_is_durable, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_shrink(0, COORDS_NODE(0));
	coords_take_events(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING, "answered before it is durable");
	while (coords_deliver())
		;
	cr_expect_eq(coords_known(0).version, 2);
	cr_expect_eq(coords_known(1).version, 2, "told before it is durable");
	coords_crash(0);
	coords_start(0);
	cr_expect_eq(coords_known(0).isr, COORDS_ALL, "as if it had never been");
}

Test(coord_static, is_changed_by_its_next_version_only, .init = coords_setup,
     .fini = coords_teardown)
{
	struct mr_coord_proposal proposal;

	coords_claim(0);
	proposal = coords_proposal_of(0);
	proposal.wanted.version++;
	coords_propose(0, &proposal);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_REFUSED);
	proposal.wanted.version -= 2;
	coords_propose(0, &proposal);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_REFUSED);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
	cr_expect_eq(coords_hosts[2].state.isr, COORDS_NODE(0) | COORDS_NODE(1));
}

/* R3: a follower that came back from a crash is not taken in for what it flushed before it. */
Test(coord_static, guards_the_incarnation_of_a_follower, .init = coords_setup,
     .fini = coords_teardown)
{
	struct mr_coord_proposal proposal;

	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0));
	coords_settle();
	proposal = coords_proposal_of(0);
	proposal.wanted.isr |= COORDS_NODE(1);
	proposal.guard = 1;
	proposal.guard_incarnation = coords_hosts[1].incarnation;
	coords_crash(1);
	coords_start(1);
	coords_join(0, 1);
	coords_propose(0, &proposal);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_REFUSED);
	cr_expect_eq(coords_known(0).version, 3);
	proposal.guard_incarnation = coords_hosts[1].incarnation;
	coords_propose(0, &proposal);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
}

Test(coord_static, asks_the_owner_for_others, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2)); /* R7: host 1 leaves */
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
	cr_expect_eq(coords_known(0).isr, COORDS_NODE(0) | COORDS_NODE(2));
	coords_shrink(1, COORDS_NODE(0)); /* not its own */
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_REFUSED);
	cr_expect_eq(coords_known(0).isr, COORDS_NODE(0) | COORDS_NODE(2));
}

Test(coord_static, says_that_nobody_knows, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	coords_lose_percent = 100;
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING);
	coords_pass(1100);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_UNKNOWN, "no answer");
	coords_lose_percent = 0;
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	coords_cut(0, 1);
	coords_take_events(1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_UNKNOWN, "the connection ended");
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	coords_take_events(1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_UNKNOWN, "there is none");
	coords_join(0, 1);
	coords_settle();
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_ACCEPTED);
}

/* R7 of the leader itself: the next one of those in sync asks the one before. */
Test(coord_static, a_leader_that_gives_up_stays_the_owner, .init = coords_setup,
     .fini = coords_teardown)
{
	struct mr_coord_proposal proposal;

	coords_claim(0);
	proposal = coords_proposal_of(0);
	proposal.wanted.isr &= ~COORDS_NODE(0);
	proposal.wanted.leader = MR_NODE_NONE;
	coords_propose(0, &proposal);
	coords_settle();
	coords_all_agree();
	cr_expect_eq(coords_known(2).leader, MR_NODE_NONE);
	proposal = coords_proposal_of(0); /* it is out of it */
	proposal.wanted.leader = 0;
	coords_claim(2);
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
	coords_claim(1);
	cr_expect_neq(coords_hosts[1].kind, MR_COORD_ACCEPTED, "one of them");
	cr_expect_eq(coords_known(0).leader, 2);
	coords_shrink(2, COORDS_NODE(2));
	coords_settle();
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_ACCEPTED, "host 2 owns it now");
	coords_all_agree();
}

Test(coord_static, saves_again_after_a_failure, .init = coords_setup, .fini = coords_teardown)
{
	coords_hosts[0].fails = 2;
	coords_claim(0);
	cr_expect_neq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_pass(2000);
	cr_expect_eq(coords_hosts[0].fails, 0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_shrink(0, COORDS_NODE(0));
	free(coords_hosts[0].saving);
	coords_hosts[0].saving = NULL;
	mr_coord_static_saved(coords_hosts[0].coord, -EIO);
	coords_take_events(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_pass(1000);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
}

/* ---- accepted when the members have it --------------------------------------------------------
 */

/* Else with the owner's disk it would be lost what it has acted upon. */
Test(coord_static, a_change_waits_for_all_who_stay, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 1);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_expect_eq(coords_known(0).version, 3, "it is on its disk");
	cr_expect_eq(coords_known(2).version, 3, "and with a host that does not count");
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_pass(1100);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_UNKNOWN);
	coords_hosts[0].states = 0;
	cr_assert_eq(coords_hosts[0].coord->operations->read(coords_hosts[0].coord, &coords_key,
							     &coords_err),
		     0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].states, 0, "nor read");
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
	cr_expect_eq(coords_hosts[0].state.version, 3);
}

/* min_insync_replicas 2 of 3: one is taken out, and who stays dies before it has confirmed. */
Test(coord_static, says_whom_a_change_waits_for, .init = coords_setup, .fini = coords_teardown)
{
	const struct coords_host *owner = &coords_hosts[0];

	coords_claim(0);
	cr_expect_eq(mr_coord_static_unconfirmed(owner->coord, &coords_key), 0);
	coords_cut(0, 1);
	coords_cut(1, 2);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_expect_eq(mr_coord_static_unconfirmed(owner->coord, &coords_key), 0, "it is early");
	cr_expect_eq(coords_promote(0, 1, false, 2), -EAGAIN);
	cr_expect_str_eq(coords_err.what, "the register is being changed: say it again");
	coords_pass(1100);
	cr_expect_eq(coords_promote(0, 1, false, 2), -EAGAIN);
	cr_expect_str_eq(coords_err.what, "who is in sync was changed, and that is not written "
					  "down yet by b");
	cr_expect_eq(mr_coord_static_unconfirmed(owner->coord, &coords_key), COORDS_NODE(1));
	cr_expect_eq(mr_coord_static_unconfirmed(coords_hosts[2].coord, &coords_key), 0,
		     "who only hears of it waits for nobody");
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_pass(1100);
	cr_expect_eq(mr_coord_static_unconfirmed(owner->coord, &coords_key), COORDS_NODE(1),
		     "the same again waits on");
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(mr_coord_static_unconfirmed(owner->coord, &coords_key), 0);
	coords_all_agree();
}

Test(coord_static, a_change_does_not_wait_for_whom_it_removes, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 2);
	coords_cut(1, 2);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_cut(0, 1);
	coords_shrink(0, COORDS_NODE(0));
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED, "its own disk is all that counts");
}

/* Who was to stay is gone as well: less takes the place of what waits for it. */
Test(coord_static, fewer_members_take_the_place_of_what_waits, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 1);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_pass(1100);
	claim_again(0, COORDS_NODE(0) | COORDS_NODE(1));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING, "the same waits on");
	cr_expect_eq(coords_known(0).version, 3, "and is not written twice");
	coords_pass(1100);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_UNKNOWN);
	claim_again(0, COORDS_NODE(0));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(coords_hosts[0].state.version, 4);
	cr_expect_eq(coords_hosts[0].state.isr, COORDS_NODE(0));
	coords_join(0, 1);
	coords_settle();
	coords_all_agree();
}

/* R7: host 1 has left, and acts on it. Host 0 does not know that yet. */
Test(coord_static, who_left_does_not_come_in_by_what_takes_the_place, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 2);
	coords_cut(1, 2);
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.isr, COORDS_NODE(0) | COORDS_NODE(2));
	claim_again(0, COORDS_NODE(0) | COORDS_NODE(1));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_UNKNOWN);
	claim_again(0, COORDS_NODE(0));
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
}

Test(coord_static, what_waits_is_waited_for_after_a_start, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 1);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	coords_crash(0);
	coords_start(0);
	coords_join(0, 2);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[0].state.version, 3);
	cr_expect_eq(coords_hosts[0].state.isr, COORDS_NODE(0) | COORDS_NODE(1));
	coords_all_agree();
}

/* The one before wrote it; who leads by it needs the word of the others. */
Test(coord_static, who_asked_to_lead_waits_for_the_others, .init = coords_setup,
     .fini = coords_teardown)
{
	struct mr_coord_proposal proposal;

	coords_claim(0);
	proposal = coords_proposal_of(0);
	proposal.wanted.isr &= ~COORDS_NODE(0);
	proposal.wanted.leader = MR_NODE_NONE;
	coords_propose(0, &proposal);
	coords_settle();
	coords_cut(1, 2);
	coords_cut(0, 1);
	coords_claim(2);
	cr_expect_eq(coords_known(2).leader, 2, "it is written");
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_NOTHING, "host 1 is in sync");
	coords_join(1, 2);
	coords_settle();
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(coords_hosts[2].state.leader, 2);
}

/* What is heard before its topic is made is in memory only. */
Test(coord_static, a_member_without_the_topic_confirms_nothing, .fini = coords_teardown)
{
	coords_start(0);
	coords_start(1);
	coords_join(0, 1);
	coords_create(0, 3, 0);
	coords_settle();
	coords_claim(0);
	coords_pass(600);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_create(1, 3, 0);
	coords_pass(600);
	cr_expect_eq(coords_hosts[0].state.version, 2);
	cr_expect_eq(coords_known(1).version, 2);
}

Test(coord_static, hands_over_when_all_in_sync_can_know, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 2);
	cr_expect_eq(coords_promote(0, 1, false, 1), -EHOSTUNREACH);
	cr_expect_str_eq(coords_err.what, "host c is in sync and cannot be reached by the leader");
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_assert_eq(coords_promote(0, 1, false, 1), 0, "%s", coords_err.what);
	coords_settle();
	coords_claim(1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_ACCEPTED);
}

/* ---- starts ---------------------------------------------------------------------------------- */

Test(coord_static, does_not_lead_unseen_after_a_start, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_crash(0);
	coords_start(0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING, "not even to itself");
	cr_expect_eq(coords_not_heard(0), COORDS_NODE(1) | COORDS_NODE(2));
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_UNKNOWN);
	coords_join(0, 2);
	coords_settle();
	coords_shrink(2, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	coords_pass(1100);
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_UNKNOWN, "nor for others");
	cr_expect_eq(coords_not_heard(0), COORDS_NODE(1));
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_not_heard(0), 0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(coords_known(1).leader_epoch, 128);
}

Test(coord_static, a_follower_does_not_wait, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	coords_crash(1);
	coords_start(1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_STATE);
	cr_expect_eq(coords_hosts[1].state.leader, 0);
}

/* R7: what a third host remembers from long ago would let it out of an ISR that it is in. */
Test(coord_static, a_new_disk_believes_the_owner_only, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	coords_crash(2); /* it remembers that host 1 was out */
	coords_shrink(0, COORDS_ALL);
	coords_settle();
	coords_crash(1);
	free(coords_hosts[1].disk);
	coords_hosts[1].disk = NULL;
	coords_start(1);
	coords_create(1, COORDS_ALL, 0);
	coords_start(2);
	coords_join(1, 2);
	coords_settle();
	cr_expect_eq(coords_known(1).version, 3);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "not from host 2");
	coords_crash(1);
	coords_start(1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "nor after one more start");
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_STATE);
	cr_expect_eq(coords_hosts[1].state.version, 4);
	cr_expect_eq(coords_hosts[1].state.isr, COORDS_ALL);
}

/* ---- a person's word ------------------------------------------------------------------------- */

static void hand_over_at(uint32_t at)
{
	coords_claim(0);
	cr_assert_eq(coords_promote(at, 2, false, 2), 0, "%s", coords_err.what);
	cr_expect_eq(coords_hosts[at].promoted, 1, "not yet");
	coords_settle();
	cr_expect_eq(coords_hosts[at].promoted, 0, "%s", coords_hosts[at].sentence);
	coords_all_agree();
	cr_expect_eq(coords_known(0).leader, 2);
	cr_expect_eq(coords_known(0).leader_incarnation, 0, "to be claimed");
	cr_expect_eq(coords_known(0).version, 3);
	cr_expect_eq(coords_known(0).leader_epoch, 64, "still");
	cr_expect_eq(coords_hosts[2].state.version, 3);
	coords_claim(2);
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_REFUSED, "not its any more");
}

Test(coord_static, hands_over, .init = coords_setup, .fini = coords_teardown)
{
	const struct mr_coord_promoted *rows;
	uint32_t count;

	hand_over_at(0);
	rows = mr_coord_static_promoted(coords_hosts[0].coord, &count);
	cr_assert_eq(count, 1);
	cr_expect_eq(rows[0].from, 0);
	cr_expect_eq(rows[0].to, 2);
	cr_expect(!rows[0].taken_over);
	cr_expect_eq(rows[0].version, 3);
	cr_expect_eq(rows[0].wall_ms, 1700000000123);
}

Test(coord_static, hands_over_from_anywhere, .init = coords_setup, .fini = coords_teardown)
{
	hand_over_at(1);
}

Test(coord_static, hands_over_to_who_asks, .init = coords_setup, .fini = coords_teardown)
{
	hand_over_at(2);
}

Test(coord_static, hands_over_to_who_is_in_sync_only, .init = coords_setup, .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	cr_expect_eq(coords_promote(0, 2, true, 1), -EPERM, "not even with a loss: it need not be");
	cr_expect_str_eq(coords_err.what, "host c is not in sync; in sync: a, b");
	cr_assert_eq(coords_promote(1, 2, false, 1), 0);
	coords_settle();
	cr_expect_eq(coords_hosts[1].promoted, -EPERM);
	cr_expect_str_eq(coords_hosts[1].sentence, "host c is not in sync; in sync: a, b");
	cr_expect_eq(coords_promote(0, 0, false, 1), -EALREADY);
	cr_expect_eq(coords_promote(0, 5, false, 1), -EINVAL);
	coords_cut(0, 1);
	cr_expect_eq(coords_promote(0, 1, false, 1), -EHOSTUNREACH, "it could not go on");
	coords_all_agree();
}

static void nobody_is_in_sync(void)
{
	struct mr_coord_proposal proposal;

	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0));
	coords_settle();
	proposal = coords_proposal_of(0);
	proposal.wanted.isr = 0; /* R7 */
	proposal.wanted.leader = MR_NODE_NONE;
	coords_propose(0, &proposal);
	coords_settle();
	cr_assert_eq(coords_known(2).isr, 0);
}

/* R7 took the last one out: there is no other way on. */
Test(coord_static, where_nobody_is_in_sync_a_person_chooses, .init = coords_setup,
     .fini = coords_teardown)
{
	const struct mr_coord_promoted *rows;
	uint32_t count;

	nobody_is_in_sync();
	cr_expect_eq(coords_promote(0, 2, false, 1), -EPERM);
	cr_expect_not_null(strstr(coords_err.what, "no host is in sync any more"));
	cr_expect_not_null(strstr(coords_err.why, "not on host c would be lost"));
	cr_assert_eq(coords_promote(1, 2, true, 1), 0);
	coords_settle();
	cr_expect_eq(coords_hosts[1].promoted, -EPERM);
	cr_expect_not_null(strstr(coords_hosts[1].sentence, "one is chosen at host a"));
	cr_assert_eq(coords_promote(0, 2, true, 1), 0, "%s", coords_err.what);
	coords_settle();
	cr_expect_eq(coords_hosts[0].promoted, 0);
	coords_all_agree();
	cr_expect_eq(coords_known(1).leader, 2);
	cr_expect_eq(coords_known(1).isr, COORDS_NODE(2));
	cr_expect_eq(coords_known(1).leader_epoch, 64 + MR_COORD_TAKEOVER_EPOCH);
	coords_claim(2);
	cr_expect_eq(coords_hosts[2].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
	rows = mr_coord_static_promoted(coords_hosts[0].coord, &count);
	cr_assert_eq(count, 1);
	cr_expect(rows[0].taken_over, "noted for ever as what it is");
}

Test(coord_static, where_nobody_is_in_sync_a_person_chooses_the_owner, .init = coords_setup,
     .fini = coords_teardown)
{
	nobody_is_in_sync();
	cr_assert_eq(coords_promote(0, 0, true, 1), 0, "%s", coords_err.what);
	coords_settle();
	cr_expect_eq(coords_known(0).isr, COORDS_NODE(0));
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	coords_all_agree();
}

/* It died before it could tell, and comes back. */
Test(coord_static, finishes_a_hand_over_after_a_crash, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_lose_percent = 100;
	cr_assert_eq(coords_promote(0, 1, false, 1), 0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].promoted, 0);
	coords_crash(0);
	coords_lose_percent = 0;
	coords_start(0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].state.leader, 1, "it follows; nothing is held back");
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_known(1).leader, 1);
	cr_expect_eq(coords_hosts[1].state.version, 3,
		     "host 1 never stopped hearing of the others");
}

/* What was handed to its earlier life may have been taken from it since. */
Test(coord_static, is_not_handed_what_was_for_an_earlier_life, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_lose_percent = 100;
	cr_assert_eq(coords_promote(0, 1, false, 1), 0);
	coords_settle();
	coords_crash(1);
	coords_lose_percent = 0;
	coords_start(1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.leader, 0);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_known(1).leader, 1);
	cr_expect_eq(coords_not_heard(1), COORDS_NODE(2));
	cr_expect_eq(coords_hosts[1].state.leader, 0, "held back");
	coords_join(1, 2);
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.leader, 1);
}

Test(coord_static, takes_over_by_a_persons_word_only, .init = coords_setup, .fini = coords_teardown)
{
	const struct mr_coord_promoted *rows;
	uint32_t count;

	coords_claim(0);
	coords_crash(0);
	cr_expect_eq(coords_promote(1, 2, true, 1), -EHOSTUNREACH);
	cr_expect_str_eq(coords_err.hint, "to take over from it ask at host c itself");
	cr_expect_eq(coords_promote(1, 1, false, 1), -EPERM);
	cr_expect_str_eq(
		coords_err.what,
		"the leader, host a, cannot be reached; in sync were a, b, c, by version 2");
	cr_expect_str_eq(coords_err.why,
			 "host b was in sync when the leader was last heard; what "
			 "the leader committed alone since cannot be known, and would be "
			 "lost");
	cr_expect_not_null(strstr(coords_err.hint, "--accept-loss --old-leader-is-stopped"),
			   "all that has to be said");
	cr_expect_eq(coords_promote(1, 1, false, 2), -EPERM);
	cr_expect_not_null(strstr(coords_err.why, "on other hosts without it cannot be known"));
	cr_expect_eq(coords_promote(1, 1, false, 3), -EPERM);
	cr_expect_not_null(strstr(coords_err.why, "nothing of it would be lost"));
	cr_assert_eq(coords_promote(1, 1, true, 1), 0, "%s", coords_err.what);
	coords_settle();
	cr_expect_eq(coords_hosts[1].promoted, 0);
	cr_expect_eq(coords_known(1).version, 2 + MR_COORD_TAKEOVER);
	cr_expect_eq(coords_known(1).leader, 1);
	cr_expect_eq(coords_known(1).leader_epoch, 64 + MR_COORD_TAKEOVER_EPOCH,
		     "above what was unseen");
	cr_expect_eq(coords_known(1).isr, COORDS_NODE(1), "nobody else is known to have it");
	cr_expect_eq(coords_hosts[2].state.leader, 1);
	coords_claim(1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_ACCEPTED);
	coords_start(0); /* it is told before it leads anything */
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[0].state.leader, 1);
	coords_crash(1); /* and it is noted for ever */
	coords_start(1);
	rows = mr_coord_static_promoted(coords_hosts[1].coord, &count);
	cr_assert_eq(count, 1);
	cr_expect(rows[0].taken_over);
	cr_expect_eq(rows[0].isr, COORDS_ALL);
	cr_expect_eq(rows[0].from, 0);
	cr_expect_eq(rows[0].version, 2 + MR_COORD_TAKEOVER);
	cr_expect_eq(rows[0].min_insync_replicas, 1);
}

Test(coord_static, says_that_who_is_out_of_sync_lacks_records, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	coords_crash(0);
	cr_expect_eq(coords_promote(1, 1, false, 2), -EPERM);
	cr_expect_not_null(strstr(coords_err.why, "host b is not in sync"));
}

/* Whatever the old leader wrote unseen, it is less. */
Test(coord_static, a_take_over_wins_against_what_was_unseen, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_cut(0, 1);
	coords_cut(0, 2);
	for (int i = 0; i < 20; i++) {
		coords_shrink(0, COORDS_NODE(0));
		coords_settle();
		cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	}
	cr_assert_eq(coords_promote(1, 1, true, 1), 0);
	coords_settle();
	coords_claim(1);
	coords_join(0, 1);
	coords_join(0, 2);
	coords_settle();
	coords_all_agree();
	cr_expect_eq(coords_known(0).leader, 1);
	cr_expect_eq(coords_hosts[0].state.leader, 1, "it is told");
	coords_shrink(0, COORDS_NODE(0));
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_REFUSED);
}

/* Two people at once, each on a side, against the rule: in the end there is one. */
static void promoted_on_both_sides(bool claimed)
{
	coords_claim(0);
	coords_crash(0);
	coords_cut(1, 2);
	cr_assert_eq(coords_promote(1, 1, true, 1), 0);
	cr_assert_eq(coords_promote(2, 2, true, 1), 0);
	coords_settle();
	if (claimed) {
		coords_claim(1);
		coords_claim(2);
	}
	coords_join(1, 2);
	coords_settle();
	cr_expect_eq(memcmp(&(struct mr_coord_state[]){coords_known(1)},
			    &(struct mr_coord_state[]){coords_known(2)},
			    sizeof(struct mr_coord_state)),
		     0);
	cr_expect_eq(coords_hosts[1].state.leader, coords_hosts[2].state.leader);
	cr_expect_eq(coords_hosts[1].state.version, coords_hosts[2].state.version);
	cr_expect_eq(coords_hosts[1].state.leader, 2, "the greater epoch or number");
	coords_start(0);
	coords_join(0, 1);
	coords_join(0, 2);
	coords_settle();
	coords_all_agree();
	cr_expect_eq(coords_hosts[0].state.leader, 2);
}

Test(coord_static, two_take_overs_come_to_one, .init = coords_setup, .fini = coords_teardown)
{
	promoted_on_both_sides(false);
}

Test(coord_static, two_claimed_take_overs_come_to_one, .init = coords_setup,
     .fini = coords_teardown)
{
	promoted_on_both_sides(true);
}

/* The one with the disk that nobody else can tell of, by its person's word. */
Test(coord_static, a_held_back_leader_goes_on_by_a_persons_word, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_crash(0);
	coords_crash(1);
	coords_crash(2);
	coords_start(0);
	coords_settle();
	cr_expect_eq(coords_promote(0, 0, false, 1), -EPERM);
	cr_expect_str_eq(coords_err.what,
			 "this host led before its start, and has not heard of b, c since, which "
			 "may lead now");
	cr_assert_eq(coords_promote(0, 0, true, 1), 0);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_STATE);
	coords_claim(0);
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(coords_known(0).isr, COORDS_NODE(0));
}

Test(coord_static, a_promotion_without_an_answer_ends, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_lose_percent = 100;
	cr_assert_eq(coords_promote(1, 1, false, 1), 0);
	cr_expect_eq(coords_promote(1, 1, false, 1), -EBUSY);
	coords_hosts[1].promoted = 1;
	coords_pass(5100);
	cr_expect_eq(coords_hosts[1].promoted, -EINPROGRESS);
}

/* Nobody waits for whom no answer can come from, and it is no success that is not known. */
Test(coord_static, a_promotion_ends_with_the_connection, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_lose_percent = 100;
	cr_assert_eq(coords_promote(1, 2, false, 1), 0);
	coords_cut(1, 2);
	cr_expect_eq(coords_hosts[1].promoted, 1, "the leader is still there");
	coords_cut(0, 1);
	cr_expect_eq(coords_hosts[1].promoted, -ECONNRESET);
	cr_expect_str_eq(coords_hosts[1].sentence,
			 "the connection with the leader, host a, broke before it answered: it "
			 "may have been carried out");
	coords_lose_percent = 0;
	coords_join(0, 1);
	coords_join(1, 2);
	cr_assert_eq(coords_promote(1, 2, false, 1), 0);
	coords_settle();
	cr_expect_eq(coords_hosts[1].promoted, 0, "said again: %s", coords_hosts[1].sentence);
}

/* The answer is lost, and the register says it. */
static void sees_it_done(bool by_time)
{
	coords_setup();
	coords_claim(0);
	cr_assert_eq(coords_promote(1, 2, false, 1), 0);
	cr_assert(coords_deliver(), "asked");
	coords_lose_percent = 100;
	cr_assert(coords_save_done(0), "written, and told to nobody");
	coords_lose_percent = 0;
	coords_pass(1000);
	cr_assert_eq(coords_known(1).leader, 2);
	if (by_time)
		coords_pass(5100);
	else
		coords_cut(0, 1);
	cr_expect_eq(coords_hosts[1].promoted, 0, "%s", coords_hosts[1].sentence);
	coords_teardown();
}

Test(coord_static, a_promotion_that_is_seen_to_be_done_is_done)
{
	sees_it_done(false);
}

Test(coord_static, a_promotion_is_seen_to_be_done_in_time)
{
	sees_it_done(true);
}

/* ---- lost notices ---------------------------------------------------------------------------- */

Test(coord_static, all_is_told_in_the_end, .fini = coords_teardown)
{
	for (coords_chance = 1; coords_chance < 40; coords_chance++) {
		uint64_t seed = coords_chance;

		coords_lose_percent = 40;
		coords_setup();
		coords_pass(30000);
		coords_claim(0);
		coords_pass(10000);
		coords_all_agree();
		for (int i = 0; i < 3; i++) {
			coords_shrink(0, i % 2 ? COORDS_ALL : COORDS_NODE(0) | COORDS_NODE(1));
			coords_pass(8000);
			coords_all_agree();
		}
		cr_assert_eq(coords_known(2).version, 5, "%llu",
			     (unsigned long long)coords_known(2).version);
		coords_teardown();
		memset(coords_hosts, 0, sizeof(coords_hosts));
		coords_chance = seed;
	}
}

/* Who waits for events sleeps on it. */
Test(coord_static, its_descriptor_says_when_there_is_something, .init = coords_setup,
     .fini = coords_teardown)
{
	struct pollfd at = {.fd = coords_hosts[0].coord->operations->fd(coords_hosts[0].coord),
			    .events = POLLIN};

	cr_expect_eq(poll(&at, 1, 0), 0);
	cr_assert_eq(coords_hosts[0].coord->operations->read(coords_hosts[0].coord, &coords_key,
							     &coords_err),
		     0);
	cr_expect_eq(poll(&at, 1, 0), 1);
	coords_take_events(0);
	cr_expect_eq(poll(&at, 1, 0), 0);
	cr_expect_eq(coords_hosts[0].coord->operations->read(coords_hosts[0].coord,
							     &(struct mr_coord_key){.partition = 1},
							     &coords_err),
		     -ENOENT);
}
