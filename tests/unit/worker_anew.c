/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a worker whose log is of no use any more, as its leader's begins behind it
 * (pair_rig.h): it gets the leader's state piece by piece, begins anew with it, and knows of
 * producers that the log says nothing of. Whatever happens meanwhile, neither holds more than one
 * state, nor one that nobody wants.
 */
#include <errno.h>

#include "pair_rig.h"

#define BEFORE	  20 /* records that both have */
#define LOG_START 40
#define ALL	  60
#define PADDING	  (600u << 10) /* so that there are three pieces */

/* One producer has records before the leader's log start only, the other before and behind it. */
static void fall_behind(void)
{
	struct pair_client quiet, other;

	pair_defaults();
	pair.lag_max_ns = PAIR_MS(1000);
	pair.state_padding = PADDING;
	pair_begin();
	pair_open_client(&quiet, 0, 1, MR_ACKS_COMMITTED);
	pair_open_client(&other, 0, 2, MR_ACKS_COMMITTED);
	pair_publish(&quiet, BEFORE / 2, 100);
	pair_publish(&other, BEFORE / 2, 100);
	pair_await(pair_page(1)->committed_offset == BEFORE);
	pair_link_down();
	pair_publish(&quiet, 5, 100); /* goes on alone */
	pair_await(pair_acknowledged(&quiet) == BEFORE / 2 + 5);
	pair_publish(&other, 15, 100);
	pair_await(pair_page(0)->committed_offset == LOG_START);
	for (int i = 0; i < ALL - LOG_START; i++)
		pair_publish(&other, 1, 100);
	pair_await(pair_page(0)->committed_offset == ALL);
	cr_assert_eq(pair.reg.isr, 1);
	pair_take_snapshot(0);
	pair_raise_log_start(0, LOG_START);
	pair_close_client(&quiet);
	pair_close_client(&other);
}

static void check_begun_anew(void)
{
	pair_await(pair_page(1)->committed_offset == ALL);
	pair_await(pair.reg.isr == PAIR_BOTH);
	cr_assert_eq(pair.hosts[1].cuts, 1);
	cr_assert_eq(pair_page(1)->log_start_offset, LOG_START);
	pair_take_snapshot(1);
	cr_assert_eq(pair.hosts[1].entry.offset, ALL);
	cr_assert_eq(pair.hosts[1].entry.log_start, LOG_START);
	cr_assert(pair_entry_has(1, 1, BEFORE / 2 + 5 - 1), "of it the log says nothing");
	cr_assert(pair_entry_has(1, 2, BEFORE / 2 + 15 + ALL - LOG_START - 1));
}

Test(worker_anew, who_was_away_too_long_begins_anew_with_its_leaders_state, .init = fall_behind,
     .fini = pair_end)
{
	pair_link_up();
	check_begun_anew();
	cr_assert_eq(pair.hosts[0].states_kept, 1);
	cr_assert_eq(pair.hosts[1].rooms, 1);
	pair_await(pair.hosts[0].states_dropped == 1); /* nobody asks any more */
}

/* It is thrown away, asked for again, and then right. */
/* It would vouch for what is about to begin anew, at the next start. */
Test(worker_anew, a_log_that_is_void_is_in_no_checkpoint, .fini = pair_end)
{
	pair_defaults();
	pair.lost_data = 2;
	pair.reg = (struct mr_coord_state){
		.version = 5, .isr = 1, .leader = MR_NODE_NONE, .leader_epoch = 64};
	pair_begin_apart();
	cr_assert_eq(pair_ask_snapshot(1), -ECANCELED);
	pair_link_up();
	pair_await(pair.reg.isr == PAIR_BOTH);
	cr_assert_eq(pair.hosts[1].cuts, 1);
	pair_take_snapshot(1);
}

Test(worker_anew, a_state_that_is_none_changes_nothing, .init = fall_behind, .fini = pair_end)
{
	pair.damaged_states = 2; /* for the first there is no room yet */
	pair_link_up();
	pair_await(pair_view(1)->refused == 1);
	cr_assert_eq(pair.hosts[1].cuts, 0);
	cr_assert_eq(pair_page(1)->committed_offset, BEFORE);
	check_begun_anew();
	cr_assert_eq(pair.hosts[0].states_kept, 1);
}

Test(worker_anew, a_leader_that_has_none_is_asked_again, .init = fall_behind, .fini = pair_end)
{
	pair.hosts[0].has_entry = false;
	pair_link_up();
	pair_pass_ms(500);
	cr_assert_eq(pair.hosts[1].cuts, 0);
	pair.hosts[0].has_entry = true;
	check_begun_anew();
}

Test(worker_anew, connections_that_break_cost_pieces_only, .init = fall_behind, .fini = pair_end)
{
	for (int i = 0; i < 20; i++) {
		pair_link_up();
		pair_pass_ms(5 + 10 * i);
		pair_link_down();
		pair_pass_ms(2);
	}
	pair_link_up();
	check_begun_anew();
	cr_assert_leq(pair.hosts[0].states_kept, 2);
}

/* It leaves in the midst, with what it had gathered. */
Test(worker_anew, a_partition_may_leave_at_any_moment, .init = fall_behind, .fini = pair_end)
{
	pair_link_up();
	pair_await(pair.hosts[1].rooms == 1);
	pair_ask_removal(&pair.hosts[1], -ESHUTDOWN);
	pair_ask_removal(&pair.hosts[0], -ESHUTDOWN);
	pair_await(pair.hosts[0].removed == 1 && pair.hosts[1].removed == 1);
}
