/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a host that lost its disk or a log (R7): it acts on no register that is older
 * than what its owner has, and on none that a crash would take back. Else it would see itself out
 * of sync in what is long past, and be in sync with an empty log by what is true.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "coord_rig.h"

Test(coord_static, an_incarnation_is_of_one_disk)
{
	uint8_t a[16] = {1, 2, 3, 4, 5}, b[16] = {1, 2, 3, 4, 6}, ones[16];
	uint8_t zero[16] = {0};

	cr_expect_gt(mr_incarnation(a, 2), mr_incarnation(a, 1), "it rises");
	cr_expect_neq(mr_incarnation(a, 1), mr_incarnation(b, 1), "an empty disk counts from 1");
	cr_expect_neq(mr_incarnation(zero, 1), 0, "that is none");
	for (size_t i = 0; i < 16; i++)
		ones[i] = 0xff;
	cr_expect_leq(mr_incarnation(ones, 1), (uint64_t)INT64_MAX, "people are told it");
}

/*
 * It led, lost its disk, and hears of an old register that names a life of it. Were that this one,
 * it would take the register for handed to it, and lead what is elsewhere by now.
 */
Test(coord_static, a_new_disk_is_no_earlier_life, .init = coords_setup, .fini = coords_teardown)
{
	const uint8_t first[16] = {1}, second[16] = {2};

	coords_crash(0);
	coords_hosts[0].incarnation = mr_incarnation(first, 1) - 1; /* a start adds one */
	coords_start(0);
	coords_join(0, 1);
	coords_join(0, 2);
	coords_settle();
	coords_claim(0);
	coords_crash(2);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(1));
	coords_settle();
	coords_crash(0);
	free(coords_hosts[0].disk);
	coords_hosts[0].disk = NULL;
	coords_hosts[0].incarnation = mr_incarnation(second, 1) - 1;
	coords_start(0);
	coords_create(0, COORDS_ALL, 0);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[0].kind, MR_COORD_NOTHING, "host 2 may know more");
	cr_expect_eq(coords_not_heard(0), COORDS_NODE(2));
}

static void wipe(uint32_t n)
{
	coords_crash(n);
	free(coords_hosts[n].disk);
	coords_hosts[n].disk = NULL;
	coords_start(n);
	coords_create(n, COORDS_ALL, 0);
}

/*
 * While the register by configuration is on its way to the new disk, what is true is heard. When
 * the first one is durable it is known to be old: nobody led in it, so R7 would end there.
 */
static void waits_until_what_it_heard_is_durable(bool all)
{
	coords_claim(0);
	wipe(1);
	coords_join(0, 1);
	if (all)
		coords_join(1, 2);
	while (coords_deliver())
		;
	cr_assert(coords_save_done(1));
	coords_take_events(1);
	cr_expect_eq(coords_known(1).version, 1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "version 1 is long past");
	coords_settle();
	cr_expect_eq(coords_hosts[1].states, 1);
	cr_expect_eq(coords_hosts[1].state.version, 2);
}

Test(coord_static, a_new_disk_waits_until_the_owners_word_is_durable, .init = coords_setup,
     .fini = coords_teardown)
{
	waits_until_what_it_heard_is_durable(false);
}

Test(coord_static, a_new_disk_waits_until_all_words_are_durable, .init = coords_setup,
     .fini = coords_teardown)
{
	waits_until_what_it_heard_is_durable(true);
}

/* The owner was held back itself when it was first heard, and what it said was confirmed. */
Test(coord_static, a_new_disk_hears_when_its_owner_may_write, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	wipe(1);
	coords_crash(0);
	coords_start(0);
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_known(1).version, 2);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING);
	coords_join(0, 2);
	coords_pass(1000);
	cr_expect_eq(coords_hosts[1].state.version, 2);
}

/* R7: it left the ISR, came back, and died before it heard of that; then its log was lost. */
Test(coord_static, who_lost_its_log_does_not_believe_its_own_register, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	coords_cut(0, 1);
	coords_cut(1, 2);
	coords_shrink(0, COORDS_ALL);
	coords_settle();
	coords_crash(1);
	cr_assert_eq(coords_open_host(1), 0);
	mr_coord_static_doubt(coords_hosts[1].coord, &coords_key);
	cr_assert_eq(coords_hosts[1].coord->operations->watch(coords_hosts[1].coord, &coords_key,
							      &coords_err),
		     0);
	coords_settle();
	cr_expect_eq(coords_known(1).isr, COORDS_NODE(0) | COORDS_NODE(2));
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "it may be in sync again");
	coords_join(1, 2);
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING, "host 2 does not own it");
	coords_join(0, 1);
	coords_settle();
	cr_expect_eq(coords_hosts[1].states, 1);
	cr_expect_eq(coords_hosts[1].state.isr, COORDS_ALL);
	mr_coord_static_doubt(coords_hosts[1].coord, &coords_key); /* too late: it was heard */
	cr_assert_eq(coords_hosts[1].coord->operations->read(coords_hosts[1].coord, &coords_key,
							     &coords_err),
		     0);
	coords_settle();
	cr_expect_eq(coords_hosts[1].states, 2);
}

/* What came of a proposal is acted upon; a crash must not take it back. */
Test(coord_static, hears_an_outcome_when_it_is_durable_here, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	while (coords_deliver())
		;
	cr_assert(coords_save_done(0));
	while (coords_deliver())
		;
	coords_take_events(1);
	cr_expect_eq(coords_known(0).version, 3);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING);
	coords_settle();
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_ACCEPTED);
	cr_expect_eq(coords_hosts[1].state.version, 3);
}

/* The owner is about to take host 1 in again: what is durable says that it is out. */
Test(coord_static, does_not_refuse_by_what_is_about_to_pass, .init = coords_setup,
     .fini = coords_teardown)
{
	coords_claim(0);
	coords_shrink(0, COORDS_NODE(0) | COORDS_NODE(2));
	coords_settle();
	coords_shrink(0, COORDS_ALL);
	coords_shrink(1, COORDS_NODE(0) | COORDS_NODE(2));
	while (coords_deliver())
		;
	coords_take_events(1);
	cr_expect_eq(coords_hosts[1].kind, MR_COORD_NOTHING);
	coords_settle();
	cr_expect_eq(coords_hosts[1].state.version, 4);
	cr_expect_eq(coords_hosts[1].state.isr, COORDS_ALL);
}
