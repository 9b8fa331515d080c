/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of two workers that keep the same partition (pair_rig.h): nothing is committed
 * before both have flushed it; the follower's log is the leader's, byte for byte; what a leader
 * that is no more had alone is cut away under its lanes, and the lanes go on; a replica that lags,
 * stalls or goes holds up nobody for longer than its parcels are out.
 */
#include "io_fake.h"
#include "pair_rig.h"

/* ---- what must hold ------------------------------------------------------------------------- */

Test(worker_replica, nothing_is_committed_before_both_have_it, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client committed, disk;

	pair.hold_flushed = true;
	pair_open_client(&committed, 0, 1, MR_ACKS_COMMITTED);
	pair_open_client(&disk, 0, 2, MR_ACKS_DISK);
	pair_publish(&committed, 10, 50);
	pair_publish(&disk, 5, 50);
	pair_await(pair_page(1)->flushed_offset == 15 && pair_page(0)->flushed_offset == 15);
	pair_await(pair_acknowledged(&disk) == 5);
	pair_pass_ms(50);
	cr_assert_eq(pair_acknowledged(&committed), 0);
	cr_assert_eq(pair_page(0)->committed_offset, 0);
	cr_assert_eq(pair_page(1)->committed_offset, 0);
	pair.hold_flushed = false;
	pair_await(pair_acknowledged(&committed) == 10);
	pair_await(pair_page(0)->committed_offset == 15 && pair_page(1)->committed_offset == 15);
	cr_assert_eq(pair_page(0)->committed, pair_page(0)->flushed);
	cr_assert_eq(pair_page(1)->committed, pair_page(1)->flushed);
	pair_check_equal();
	pair_close_client(&committed);
	pair_close_client(&disk);
}

Test(worker_replica, a_follower_has_the_same_bytes, .init = pair_begin_as_usual, .fini = pair_end)
{
	struct pair_client clients[3];

	for (int i = 0; i < 3; i++)
		pair_open_client(&clients[i], 0, 1 + i, MR_ACKS_COMMITTED);
	for (int round = 0; round < 40; round++)
		for (int i = 0; i < 3; i++)
			pair_publish(&clients[i], 1 + (uint32_t)(round * 7 + i) % 13,
				     20 + (uint32_t)(round * 131) % 2000);
	for (int i = 0; i < 3; i++)
		pair_await(pair_acknowledged(&clients[i]) == clients[i].writer.number);
	pair_await(pair_page(1)->committed_offset == pair_page(0)->appended_offset);
	pair_check_equal();
	cr_assert_eq(pair.hosts[1].counters[MR_COUNT_RECORDS],
		     pair.hosts[0].counters[MR_COUNT_RECORDS]);
	cr_assert_eq(pair.hosts[0].catch_ups, 0);
	for (int i = 0; i < 3; i++)
		pair_close_client(&clients[i]);
}

/* The leader's group holds three batches; the follower has flushed one of them. */
Test(worker_replica, the_high_watermark_may_stand_inside_a_group, .fini = pair_end)
{
	static struct pair_batch batches[64];
	const struct pair_batch *next;
	struct pair_client client;
	uint32_t count, inside = 0;

	pair_defaults();
	pair.window_bytes = 40000; /* of batches of 16000 bytes one or two */
	pair_begin();
	pair.batches_below = 0;
	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	mr_io_fake_allow(pair.hosts[0].io, 0);
	for (uint64_t i = 1; i <= 4; i++) {
		pair_publish(&client, 1, 15000);
		pair_await(pair_page(0)->appended_offset == i);
	}
	mr_io_fake_allow(pair.hosts[0].io, MR_IO_FAKE_ALL);
	pair_await(pair_page(0)->flushed_offset == 4);
	cr_assert_eq(pair_page(0)->committed_offset, 0);
	pair.batches_below = 1;
	for (uint64_t below = 1; below <= 4; below++) {
		pair.batches_below = below;
		pair_pass_ms(30);
		if (pair_page(1)->flushed_offset == 0)
			continue; /* two batches came in one parcel */
		pair_await(pair_page(0)->committed_offset == pair_page(1)->flushed_offset);
		count = pair_batches_of(0, batches, 64);
		cr_assert_eq(count, 4);
		if (pair_page(0)->committed_offset == 4)
			break;
		/* behind that batch, and before the next one: there is a group's end between them,
		   or nothing */
		next = &batches[pair_page(0)->committed_offset];
		cr_assert_geq(pair_page(0)->committed, next[-1].end_position);
		cr_assert_leq(pair_page(0)->committed,
			      next->end_position - next->header.total_bytes);
		inside += next[-1].end_position == next->end_position - next->header.total_bytes;
	}
	cr_assert_gt(inside, 0);
	pair_await(pair_acknowledged(&client) == 4);
	cr_assert_eq(pair_page(0)->committed, pair_page(0)->flushed);
	pair_check_equal();
	pair_close_client(&client);
}

Test(worker_replica, a_connection_that_breaks_costs_nothing, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;

	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	for (int round = 0; round < 5; round++) {
		pair_publish(&client, 20, 300);
		pair_pass_ms(round);
		pair_link_down();
		pair_publish(&client, 20, 300);
		pair_pass_ms(5);
		pair_link_up();
	}
	pair_await(pair_acknowledged(&client) == client.writer.number);
	pair_await(pair_page(1)->committed_offset == pair_page(0)->appended_offset);
	pair_check_equal();
	cr_assert_eq(pair.hosts[0].counters[MR_COUNT_RECORDS], 200);
	pair_close_client(&client);
}

/* The follower was away while far more than a tail was written: it comes back by the segments. */
Test(worker_replica, who_is_further_behind_than_the_tail_catches_up, .fini = pair_end)
{
	struct pair_client client;
	uint64_t number;

	pair_defaults();
	pair.tail_bytes = 128u << 10;
	pair.lag_max_ns = PAIR_MS(100);
	pair_begin();
	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair_publish(&client, 5, 100);
	pair_await(pair_acknowledged(&client) == 5);
	pair_link_down();
	for (int i = 0; i < 50; i++) {
		pair_publish(&client, 10, 1000); /* goes on alone */
		number = client.writer.number;
		pair_await(pair_acknowledged(&client) == number);
	}
	cr_assert_eq(pair.reg.isr, 1);
	cr_assert_gt(pair_page(0)->reclaimed_offset, 5);
	pair_await(pair_page(0)->flushed_offset == pair_page(0)->appended_offset);
	pair_link_up();
	pair_await(pair_page(1)->committed_offset == 505);
	cr_assert_gt(pair.hosts[0].catch_ups, 0);
	pair_await(pair.reg.isr == PAIR_BOTH);
	pair_check_equal();
	pair_publish(&client, 5, 100);
	pair_await(pair_acknowledged(&client) == 510);
	pair_await(pair_page(1)->committed_offset == 510);
	pair_close_client(&client);
}

/* Its disk stands still: what came waits in order, and nothing is lost or taken twice. */
Test(worker_replica, batches_wait_where_the_log_has_no_room, .fini = pair_end)
{
	struct pair_client client;

	pair_defaults();
	pair.tail_bytes = 128u << 10;
	pair_begin();
	pair_open_client(&client, 0, 1, MR_ACKS_MEMORY);
	mr_io_fake_allow(pair.hosts[1].io, 0);
	for (int i = 0; i < 40; i++) {
		pair_publish(&client, 10, 1000);
		pair_await(pair_acknowledged(&client) == client.writer.number);
	}
	pair_await(pair.hosts[1].deliveries_out > 0 &&
		   pair.hosts[1].counters[MR_COUNT_TAIL_FULL] > 0);
	pair_pass_ms(50);
	cr_assert_lt(pair_page(1)->appended_offset, 400);
	cr_assert_gt(pair.hosts[1].deliveries_out, 0);
	mr_io_fake_allow(pair.hosts[1].io, MR_IO_FAKE_ALL);
	pair_await(pair_page(1)->committed_offset == 400);
	pair_check_equal();
	pair_await(pair.hosts[1].deliveries_out == 0);
	pair_close_client(&client);
}

/* What is with the feed is not written over; when it is back, the log goes on. */
Test(worker_replica, a_parcel_holds_the_tail_only_while_it_is_out, .fini = pair_end)
{
	const struct mr_worker_partition *part;
	struct pair_client client;

	pair_defaults();
	pair.tail_bytes = 128u << 10;
	pair_begin();
	part = pair.hosts[0].part;
	pair_open_client(&client, 0, 1, MR_ACKS_MEMORY);
	pair.hold_parcels = true;
	pair_publish(&client, 1, 1000);
	pair_await(pair.hosts[0].parcels_held > 0);
	cr_assert_neq(part->tail.holds[1].position, MR_TAIL_NO_HOLD);
	for (int i = 0; i < 60; i++)
		pair_publish(&client, 3, 1000);
	pair_await(pair.hosts[0].counters[MR_COUNT_TAIL_FULL] > 0);
	cr_assert_leq(pair_page(0)->reclaimed, part->tail.holds[1].position);
	cr_assert_lt(pair_page(0)->appended_offset, 181);
	pair.hold_parcels = false;
	pair_give_parcels_back(&pair.hosts[0]);
	pair_await(pair_page(0)->appended_offset == 181);
	pair_await(pair_page(1)->committed_offset == 181);
	pair_await(part->tail.holds[1].position == MR_TAIL_NO_HOLD);
	pair_check_equal();
	pair_close_client(&client);
}

Test(worker_replica, a_partition_leaves_when_its_parcels_are_back, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;

	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair.hold_parcels = true;
	pair_publish(&client, 10, 100);
	pair_await(pair.hosts[0].parcels_held > 0);
	pair.batches_below = 0;
	pair_ask_removal(&pair.hosts[0], -ENOENT);
	pair_await(pair.hosts[0].poisoned == 1);
	pair_close_client(&client); /* though nothing of it will ever be committed */
	pair_pass_ms(50);
	cr_assert_eq(pair.hosts[0].removed, 0);
	pair_give_parcels_back(&pair.hosts[0]);
	pair_await(pair.hosts[0].removed == 1);
}

/* ---- changes of leader ---------------------------------------------------------------------- */

/*
 * A leader that is cut off took records that nobody else has. Another leads, and writes others at
 * the same offsets. The first one comes back: its log is cut, its lanes stay, and when it leads
 * once more what its producers were not answered is in the log once, behind.
 */
Test(worker_replica, a_log_is_cut_under_its_lanes, .init = pair_begin_as_usual, .fini = pair_end)
{
	const struct mr_tail_page *before;
	struct mr_receipt receipts[8];
	struct pair_client kept, weak, other;
	int count;

	pair_open_client(&kept, 0, 1, MR_ACKS_COMMITTED);
	pair_open_client(&weak, 0, 2, MR_ACKS_MEMORY);
	pair_open_client(&other, 1, 3, MR_ACKS_COMMITTED);
	pair_publish(&kept, 10, 100);
	pair_publish(&weak, 10, 100);
	pair_await(pair_acknowledged(&kept) == 10 && pair_page(1)->committed_offset == 20);
	pair_link_down();
	pair_publish(&kept, 7, 100);
	pair_publish(&weak, 5, 100);
	pair_await(pair_acknowledged(&weak) == 15 && pair_page(0)->flushed_offset == 32);
	pair_publish(&other, 3, 200); /* a host that does not lead takes nothing */
	pair_pass_ms(20);
	cr_assert_eq(pair_page(1)->appended_offset, 20);
	pair_elect(1);
	pair_await(pair_page(1)->flushed_offset == 23);
	before = pair_page(0);
	cr_assert_eq(before->closed, 0);
	pair_link_up();
	pair_await(pair.hosts[0].cuts == 1 && !pair.hosts[0].old);
	pair_await(pair_acknowledged(&other) == 3);
	pair_await(pair_page(0)->committed_offset == 23);
	pair_check_equal();
	cr_assert_eq(pair_reason(&kept), MR_LANE_OPEN);
	cr_assert_eq(pair_acknowledged(&kept), 10);
	cr_assert_eq(pair.hosts[0].poisoned, 0);

	pair_elect(0);
	pair_await(pair_acknowledged(&kept) == 17);
	pair_publish(&weak, 2, 100);
	pair_await(pair_acknowledged(&weak) == 17);
	pair_await(pair_page(1)->committed_offset == 23 + 7 + 2);
	pair_check_equal();
	cr_assert_eq(weak.writer.engine->lost, 5);
	count = (int)mr_lane_receipts(&kept.writer, receipts, 8);
	cr_assert_gt(count, 0);
	cr_assert_geq(receipts[count - 1].base_offset, 23);
	pair_publish(&kept, 3, 100);
	pair_await(pair_acknowledged(&kept) == 20);
	pair_close_client(&kept);
	pair_close_client(&weak);
	pair_close_client(&other);
}

/* What both had, but nobody was told, is known again by its sequence numbers. */
Test(worker_replica, what_the_next_leader_has_is_not_taken_twice, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;

	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair.hold_flushed = true;
	pair_publish(&client, 10, 100);
	pair_await(pair_page(1)->flushed_offset == 10);
	cr_assert_eq(pair_acknowledged(&client), 0);
	pair_elect(1);
	pair.hold_flushed = false;
	pair_await(pair_page(0)->committed_offset == 10);
	cr_assert_eq(pair.hosts[0].cuts, 0);
	cr_assert_eq(pair.hosts[1].cuts, 0);
	pair_elect(0);
	pair_await(pair_acknowledged(&client) == 10);
	pair_publish(&client, 1, 100);
	pair_await(pair_acknowledged(&client) == 11);
	pair_await(pair_page(1)->committed_offset == 11);
	cr_assert_eq(pair.hosts[0].counters[MR_COUNT_RECORDS], 11);
	cr_assert_eq(pair.hosts[0].counters[MR_COUNT_DUPLICATES], 10);
	pair_check_equal();
	pair_close_client(&client);
}

/* ---- sleeping ------------------------------------------------------------------------------- */

/* No heartbeat comes in a test's time. */
static void begin_without_heartbeat(enum mr_config_idle idle)
{
	pair_defaults();
	pair.idle = idle;
	pair.heartbeat_ns = PAIR_MS(60000);
	pair_begin();
}

/* And no record: it is told before the worker sleeps. */
static void tells_before_it_sleeps(enum mr_config_idle idle, enum mr_acks acks)
{
	struct pair_client client;

	begin_without_heartbeat(idle);
	pair_open_client(&client, 0, 1, acks);
	for (uint64_t number = 1; number <= 200; number++) {
		pair_publish(&client, 1, 100);
		pair_await(pair_acknowledged(&client) == number);
		if (number % 3 == 0) /* else the next batch may say it */
			pair_await(pair_page(1)->committed_offset == number);
	}
	pair_await(pair_page(1)->committed_offset == 200);
	pair_check_equal();
	pair_close_client(&client);
	pair_end();
}

Test(worker_replica, who_parks_at_once_tells_before)
{
	tells_before_it_sleeps(MR_CONFIG_IDLE_PARK, MR_ACKS_COMMITTED);
}

Test(worker_replica, who_spins_a_while_tells_before_it_parks)
{
	tells_before_it_sleeps(MR_CONFIG_IDLE_ADAPTIVE, MR_ACKS_COMMITTED);
}

Test(worker_replica, who_never_sleeps_tells_soon)
{
	tells_before_it_sleeps(MR_CONFIG_IDLE_SPIN, MR_ACKS_COMMITTED);
}

Test(worker_replica, what_nobody_waits_for_is_told_at_once)
{
	tells_before_it_sleeps(MR_CONFIG_IDLE_PARK, MR_ACKS_DISK);
}

/* Nothing comes that would end the sleep: who slept before it told would park again and again. */
Test(worker_replica, what_was_put_off_does_not_sleep_with_the_worker, .fini = pair_end)
{
	struct pair_client client;
	uint64_t parks;

	pair_defaults();
	pair.heartbeat_ns = PAIR_MS(60000);
	pair_begin();
	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair.hold_flushed = true;
	pair_publish(&client, 1, 100);
	pair_await(pair_page(0)->flushed_offset == 1 && pair_page(1)->flushed_offset == 1);
	parks = pair.hosts[0].worker_counters[MR_COUNT_PARKS];
	pair.hold_flushed = false;
	pair_await(pair_page(1)->committed_offset == 1);
	cr_assert_leq(pair.hosts[0].worker_counters[MR_COUNT_PARKS] - parks, 4);
	pair_close_client(&client);
}

/* Its disk stands still, and nothing ends the worker's sleep: it is told all the same. */
Test(worker_replica, who_waits_for_its_disk_tells_before, .fini = pair_end)
{
	struct pair_client client;

	begin_without_heartbeat(MR_CONFIG_IDLE_ADAPTIVE);
	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair.hold_flushed = true;
	pair_publish(&client, 1, 100);
	pair_await(pair_page(0)->flushed_offset == 1 && pair_page(1)->flushed_offset == 1);
	mr_io_fake_allow(pair.hosts[0].io, 0);
	pair_publish(&client, 1, 100);
	pair_await(pair_page(1)->flushed_offset == 2);
	cr_assert_eq(pair_page(1)->committed_offset, 0);
	pair.hold_flushed = false;
	pair_await(pair_acknowledged(&client) == 1);
	pair_await(pair_page(1)->committed_offset == 1);
	mr_io_fake_allow(pair.hosts[0].io, MR_IO_FAKE_ALL);
	pair_await(pair_acknowledged(&client) == 2 && pair_page(1)->committed_offset == 2);
	pair_close_client(&client);
}

/* Nothing happens: it says where it is now and then, and sleeps. */
Test(worker_replica, who_has_nothing_to_do_sleeps, .init = pair_begin_as_usual, .fini = pair_end)
{
	uint64_t turns[2], took;
	struct pair_client client;

	pair_open_client(&client, 0, 1, MR_ACKS_COMMITTED);
	pair_publish(&client, 1, 100);
	pair_await(pair_acknowledged(&client) == 1);
	pair_pass_ms(100);
	for (int i = 0; i < 2; i++)
		turns[i] = pair.hosts[i].worker_counters[MR_COUNT_TURNS];
	took = mr_clock_monotonic_ns(&mr_clock_system);
	pair_pass_ms(1000);
	took = mr_clock_monotonic_ns(&mr_clock_system) - took;
	for (int i = 0; i < 2; i++) {
		turns[i] = pair.hosts[i].worker_counters[MR_COUNT_TURNS] - turns[i];
		cr_assert_lt(turns[i], 600 * took / PAIR_MS(1000), "host %d: %llu", i,
			     (unsigned long long)turns[i]);
	}
	pair_close_client(&client);
}
