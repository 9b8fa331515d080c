/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of lanes on a host that does not lead (pair_rig.h): their records are in the
 * leader's log once and in order, whatever connection breaks and whoever leads; they are answered
 * when they came back and are as safe as the lane asks; what the leader cannot take closes that
 * lane only; nobody sends more than the leader has room for.
 */
#include "io_fake.h"
#include "log/replay.h"
#include "pair_rig.h"

/* In the log of 'node' are records 0 to count - 1 of the producer, each once, in order. */
static void check_once(uint32_t node, int64_t producer_id, uint64_t count)
{
	static struct pair_batch batches[8192];
	uint32_t found = pair_batches_of(node, batches, 8192), i;
	uint64_t next = 0, offset = 0;

	for (i = 0; i < found; i++) {
		const struct mr_batch_header *header = &batches[i].header;

		cr_assert_eq(header->base_offset, offset);
		offset += (uint64_t)header->record_count;
		cr_assert_eq(mr_batch_check_crc(batches[i].bytes, header), 0);
		if (header->producer_id != producer_id)
			continue;
		cr_assert_eq((uint64_t)header->base_sequence, next,
			     "producer %lld has %d, not %llu", (long long)producer_id,
			     header->base_sequence, (unsigned long long)next);
		next += (uint64_t)header->record_count;
	}
	cr_assert_eq(next, count);
}

struct counted {
	int64_t producer_id;
	uint64_t next;
};

static int count_batch(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	struct counted *counted = arg;

	if (header->producer_id != counted->producer_id)
		return 0;
	cr_assert_eq((uint64_t)header->base_sequence, counted->next,
		     "producer %lld has %d, not %llu", (long long)header->producer_id,
		     header->base_sequence, (unsigned long long)counted->next);
	counted->next += (uint64_t)header->record_count;
	return 0;
}

/* As check_once(), of a log that was cut, so that its tail has only the end; it stands still. */
static void check_segments_once(uint32_t node, int64_t producer_id, uint64_t count)
{
	struct counted counted = {.producer_id = producer_id};
	struct mr_replay_options replay = {.batch = count_batch, .arg = &counted};
	struct mr_error err;

	pair_await(pair_page(node)->flushed_offset == pair_page(node)->appended_offset);
	replay.end_offset = pair_page(node)->flushed_offset;
	cr_assert_geq(mr_log_replay(pair.hosts[node].files, &replay, &err), 0, "%s", err.what);
	cr_assert_eq(counted.next, count);
}

/* A record's value begins with its number, so that it is known where it went. */
static void check_values(uint32_t node, int64_t producer_id)
{
	static struct pair_batch batches[8192];
	uint32_t found = pair_batches_of(node, batches, 8192), i;
	struct mr_batch_reader reader;
	struct mr_message message;

	for (i = 0; i < found; i++) {
		int32_t number = batches[i].header.base_sequence;

		if (batches[i].header.producer_id != producer_id)
			continue;
		pair_read_batch(&reader, &batches[i]);
		while (mr_batch_next(&reader, &message) > 0) {
			number++; /* as pair_publish() counts */
			cr_assert_eq(*(const char *)message.value, 'a' + number % 26);
		}
		cr_assert_eq(number,
			     batches[i].header.base_sequence + batches[i].header.record_count);
	}
}

Test(worker_forward, records_of_a_host_that_follows_are_committed, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct mr_receipt receipts[64];
	struct pair_client here, there;
	uint64_t next = 0;
	uint32_t count;

	pair_open_client(&here, 0, 1, MR_ACKS_COMMITTED);
	pair_open_client(&there, 1, 2, MR_ACKS_COMMITTED);
	for (int round = 0; round < 20; round++) {
		pair_publish(&here, 3, 100);
		pair_publish(&there, 7, 100);
		pair_await(pair_acknowledged(&there) == there.writer.number);
		count = mr_lane_receipts(&there.writer, receipts, 64);
		for (uint32_t i = 0; i < count; i++) {
			cr_assert_eq(receipts[i].first, next);
			cr_assert_lt(receipts[i].base_offset, pair_page(1)->committed_offset);
			next += receipts[i].count;
		}
	}
	cr_assert_eq(next, 140);
	pair_await(pair_acknowledged(&here) == 60);
	pair_await(pair_page(1)->committed_offset == 200);
	pair_check_equal();
	for (uint32_t node = 0; node < 2; node++) {
		check_once(node, 1, 60);
		check_once(node, 2, 140);
		check_values(node, 2);
	}
	pair_close_client(&here);
	pair_close_client(&there);
}

/* None of them is answered before it is as safe as its level says. */
Test(worker_forward, each_level_is_answered_when_it_is_due, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client memory, disk, committed;

	pair_open_client(&memory, 1, 1, MR_ACKS_MEMORY);
	pair_open_client(&disk, 1, 2, MR_ACKS_DISK);
	pair_open_client(&committed, 1, 3, MR_ACKS_COMMITTED);
	pair.batches_below = 0; /* nothing comes back */
	mr_io_fake_allow(pair.hosts[1].io, 0);
	pair_publish(&memory, 5, 50);
	pair_publish(&disk, 6, 50);
	pair_publish(&committed, 7, 50);
	pair_await(pair_page(0)->flushed_offset == 18);
	pair_pass_ms(20);
	cr_assert_eq(pair_acknowledged(&memory), 0);
	pair.batches_below = PAIR_NEVER;
	pair_await(pair_acknowledged(&memory) == 5);
	pair_pass_ms(20);
	cr_assert_eq(pair_acknowledged(&disk), 0);
	pair.hold_flushed = true;
	mr_io_fake_allow(pair.hosts[1].io, MR_IO_FAKE_ALL);
	pair_await(pair_acknowledged(&disk) == 6);
	pair_pass_ms(20);
	cr_assert_eq(pair_acknowledged(&committed), 0);
	pair.hold_flushed = false;
	pair_await(pair_acknowledged(&committed) == 7);
	pair_check_equal();
	pair_close_client(&memory);
	pair_close_client(&disk);
	pair_close_client(&committed);
}

/* The leader has the first ten; what comes after the break is a batch of twenty. */
Test(worker_forward, what_the_leader_has_in_part_is_taken_in_part, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;

	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	pair.batches_below = 0;
	pair_publish(&client, 10, 100);
	pair_await(pair_page(0)->flushed_offset == 10);
	pair_link_down();
	pair_publish(&client, 10, 100);
	pair_pass_ms(10);
	pair_link_up();
	pair_await(pair_page(0)->flushed_offset == 20);
	cr_assert_eq(pair_acknowledged(&client), 0);
	pair.batches_below = PAIR_NEVER;
	pair_await(pair_acknowledged(&client) == 20);
	check_once(0, 2, 20);
	check_values(0, 2);
	cr_assert_geq(pair.hosts[0].counters[MR_COUNT_DUPLICATES], 10);
	pair_await(pair.hosts[0].deliveries_out == 0); /* nothing of it waits any more */
	pair_check_equal();
	pair_close_client(&client);
}

Test(worker_forward, exactly_once_over_connections_that_break, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client clients[3];

	for (int i = 0; i < 3; i++)
		pair_open_client(&clients[i], 1, 1 + i, MR_ACKS_COMMITTED);
	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < 3; i++)
			pair_publish(&clients[i], 1 + (uint32_t)(round + i) % 9, 200);
		if (round % 3 == 0) {
			pair_pass_ms(round % 7);
			pair_link_down();
			pair_pass_ms(round % 2);
			pair_link_up();
		}
	}
	for (int i = 0; i < 3; i++) {
		pair_await(pair_acknowledged(&clients[i]) == clients[i].writer.number);
		check_once(0, 1 + i, clients[i].writer.number);
		check_once(1, 1 + i, clients[i].writer.number);
		check_values(1, 1 + i);
	}
	pair_check_equal();
	for (int i = 0; i < 3; i++)
		pair_close_client(&clients[i]);
}

/* What was on its way to a leader that is no more is in the lane, and this host leads now. */
Test(worker_forward, what_never_arrived_is_taken_by_the_next_leader, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;

	pair_open_client(&client, 1, 2, MR_ACKS_COMMITTED);
	pair.hold_forward = true;
	pair_publish(&client, 5, 100);
	pair_await(pair.hosts[1].part->replica->forwarder.sent_bytes > 0);
	pair_pass_ms(20);
	cr_assert_eq(pair_page(0)->appended_offset, 0);
	pair_link_down(); /* and so it is lost */
	pair_elect(1);
	pair_await(pair_page(1)->flushed_offset == 5);
	pair.hold_forward = false;
	pair_link_up();
	pair_await(pair_acknowledged(&client) == 5);
	check_once(1, 2, 5);
	pair_close_client(&client);
}

/* Lanes on both hosts, and each leads in turn, with breaks between. */
Test(worker_forward, exactly_once_across_every_change_of_leader, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client clients[4];

	for (uint32_t i = 0; i < 4; i++)
		pair_open_client(&clients[i], i % 2, 1 + i, MR_ACKS_COMMITTED);
	/* both logs begin alike: who shares no epoch with the next leader begins anew (R7) */
	pair_publish(&clients[0], 1, 300);
	pair_await(pair_page(1)->committed_offset == 1);
	for (uint32_t round = 0; round < 12; round++) {
		for (uint32_t i = 0; i < 4; i++)
			pair_publish(&clients[i], 1 + (round + i) % 5, 300);
		pair_pass_ms((int)round % 5);
		if (round % 4 == 3) {
			pair_link_down();
			for (uint32_t i = 0; i < 4; i++)
				pair_publish(&clients[i], 2, 300);
			pair_pass_ms(3);
		}
		pair_elect(round % 2 ? 0 : 1);
		if (round % 4 == 3)
			pair_link_up();
		pair_await(!pair.hosts[0].old && !pair.hosts[1].old);
	}
	for (uint32_t i = 0; i < 4; i++)
		pair_await(pair_acknowledged(&clients[i]) == clients[i].writer.number);
	pair_await(pair_page(0)->committed_offset == pair_page(1)->committed_offset);
	pair_await(pair_page(0)->appended_offset == pair_page(1)->appended_offset);
	pair_check_equal();
	for (uint32_t i = 0; i < 4; i++)
		check_segments_once(i / 2, 1 + i, clients[i].writer.number);
	for (uint32_t i = 0; i < 4; i++)
		pair_close_client(&clients[i]);
}

/* ---- what is refused ------------------------------------------------------------------------ */

Test(worker_forward, a_gap_closes_its_own_lane, .init = pair_begin_as_usual, .fini = pair_end)
{
	struct pair_client first, again, other;
	char text[248];

	pair_open_client(&first, 1, 4, MR_ACKS_COMMITTED);
	pair_open_client(&other, 1, 5, MR_ACKS_COMMITTED);
	pair_publish(&first, 5, 30);
	pair_await(pair_acknowledged(&first) == 5);
	pair_close_client(&first);
	pair_open_client_at(&again, 1, 4, MR_ACKS_COMMITTED, 12, true);
	pair_publish(&again, 3, 30);
	pair_publish(&other, 3, 30);
	pair_await(mr_lane_reason(&again.writer, text) == MR_LANE_GAP);
	cr_assert_not_null(strstr(text, "7 records are missing"), "%s", text);
	pair_await(pair_acknowledged(&other) == 3);
	cr_assert_eq(pair_acknowledged(&again), 12);
	cr_assert_eq(pair_reason(&other), MR_LANE_OPEN);
	check_once(0, 4, 5);
	pair_close_client(&again);
	pair_close_client(&other);
}

/* A weak lane is told what it lost, and goes on under a new producer epoch. */
Test(worker_forward, a_weak_lane_that_lost_records_goes_on, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client first, again;

	pair_open_client(&first, 1, 4, MR_ACKS_MEMORY);
	pair_publish(&first, 5, 30);
	pair_await(pair_acknowledged(&first) == 5);
	pair_close_client(&first);
	pair_open_client_at(&again, 1, 4, MR_ACKS_MEMORY, 12, true);
	pair_publish(&again, 3, 30);
	pair_await(pair_acknowledged(&again) == 15);
	cr_assert_eq(again.writer.engine->lost, 7);
	cr_assert_eq(pair_reason(&again), MR_LANE_OPEN);
	cr_assert_eq(pair_page(0)->appended_offset, 8);
	pair_close_client(&again);
}

/* Handed back with frames that the log has: they are not taken again. */
Test(worker_forward, a_weak_lane_that_is_handed_back_doubles_nothing, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client first, again;

	pair_open_client(&first, 1, 4, MR_ACKS_DISK);
	pair_publish(&first, 5, 30);
	pair_await(pair_acknowledged(&first) == 5);
	pair_close_client(&first);
	pair_open_client_at(&again, 1, 4, MR_ACKS_DISK, 0, true);
	pair_publish(&again, 8, 30);
	pair_await(pair_acknowledged(&again) == 8);
	cr_assert_eq(pair_page(0)->appended_offset, 8);
	check_once(0, 4, 8);
	cr_assert_eq(again.writer.engine->lost, 0);
	pair_close_client(&again);
}

/* ---- bounds --------------------------------------------------------------------------------- */

/* The leader's disk stands still: what is on its way to it is bounded, the rest waits in lanes. */
Test(worker_forward, no_more_is_sent_than_the_leader_takes, .fini = pair_end)
{
	struct pair_client client;
	uint64_t sent;

	pair_defaults();
	pair.compression = MR_CONFIG_COMPRESSION_NONE; /* it is bytes that count here */
	pair.tail_bytes = 128u << 10;
	pair_begin();
	pair_open_client(&client, 1, 1, MR_ACKS_COMMITTED);
	mr_io_fake_allow(pair.hosts[0].io, 0);
	for (int i = 0; i < 14; i++)
		pair_publish(&client, 1, 15000);
	pair_await(pair.hosts[0].counters[MR_COUNT_TAIL_FULL] > 0);
	pair_pass_ms(50);
	sent = pair.hosts[1].part->replica->forwarder.sent_bytes;
	cr_assert_leq(sent, 2 * MR_FEED_FORWARD_CREDIT + (256u << 10));
	cr_assert_lt(pair_page(0)->appended_offset, 14);
	mr_io_fake_allow(pair.hosts[0].io, MR_IO_FAKE_ALL);
	for (int i = 0; i < 36; i++)
		pair_publish(&client, 1, 15000);
	pair_await(pair_acknowledged(&client) == 50);
	pair_await(pair.hosts[0].deliveries_out == 0);
	cr_assert_gt(pair.hosts[1].part->replica->forwarder.credit_bytes, MR_FEED_FORWARD_CREDIT);
	pair_close_client(&client);
}

/* Both sleep; a record that is published on the follower wakes all that it needs. */
Test(worker_forward, a_lane_wakes_its_host_though_that_does_not_lead, .init = pair_begin_as_usual,
     .fini = pair_end)
{
	struct pair_client client;
	uint64_t began, longest = 0;

	pair_open_client(&client, 1, 1, MR_ACKS_COMMITTED);
	for (uint64_t i = 1; i <= 20; i++) {
		pair_pass_ms(20);
		began = mr_clock_monotonic_ns(&mr_clock_system);
		pair_publish(&client, 1, 100);
		pair_await(pair_acknowledged(&client) == i);
		began = mr_clock_monotonic_ns(&mr_clock_system) - began;
		longest = began > longest ? began : longest;
	}
	cr_assert_lt(longest, PAIR_MS(5000)); /* it does not wait for any time-out of a second */
	pair_close_client(&client);
}
