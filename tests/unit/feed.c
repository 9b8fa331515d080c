/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the feed: parcels of one partition arrive whole and in order, or come back;
 * what gathers while one message is under way is the next one; workers hear of a connection before
 * what came on it and of its end after; notices keep their order; and neither a slow peer nor a
 * slow worker makes the feed take more than its share.
 *
 * Two or three feeds in this process, on ports of the loopback that the kernel chose. The test is
 * their workers and their control threads. Who may connect at all: feed_refusals.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed_proxy.h"
#include "feed_rig.h"

#define MILLION 1000000u

/* ---- parcels ---- */

Test(feed, a_parcel_arrives_and_comes_back)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	const struct rig_arrival *arrival;

	rig_route(b, 7, 3);
	rig_meet(a, b);
	rig_send_flushed(a, 1, 7, 3, 1234);
	arrival = rig_expect(b);
	cr_assert_eq(arrival->item.entry.kind, MR_FEED_FLUSHED);
	cr_assert_eq(arrival->item.entry.offset, 1234);
	cr_assert_eq(arrival->item.entry.session, RIG_SESSION);
	cr_assert_eq(arrival->owner, rig_owner(7, 3));
	cr_assert_eq(arrival->node, 0);
	cr_assert_eq(arrival->connection, b->connection[0]);
	rig_parcels_back(a, 1, 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed, both_ways)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	const struct mr_feed_item *item;

	rig_route(a, 7, 0);
	rig_route(b, 7, 0);
	rig_meet(a, b);
	rig_send_flushed(b, 0, 7, 0, 5);
	cr_assert_eq(rig_expect(a)->item.entry.offset, 5);
	rig_send_batches(a, 1, 7, 0, 100, 3, 1000);
	item = &rig_expect(b)->item;
	cr_assert_eq(item->entry.kind, MR_FEED_BATCHES);
	cr_assert_eq(item->entry.offset, 100);
	cr_assert_eq(item->entry.end_offset, 103);
	rig_check_batches(item);
	rig_parcels_back(a, 1, 0);
	rig_parcels_back(b, 1, 0);
	rig_stop(b);
	rig_stop(a);
}

/* Batches larger than a message's usual bound, than the staging area, than a socket's buffer. */
Test(feed, sizes_of_all_kinds_arrive_whole)
{
	static const uint32_t sizes[] = {8, 1000, 65000, 65536, 66000, MILLION, 5 * MILLION};
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	uint64_t offset = 0;

	rig_route(b, 1, 0);
	rig_meet(a, b);
	for (uint32_t i = 0; i < 7; i++) {
		rig_send_batches(a, 1, 1, 0, offset, 2, sizes[i]);
		offset += 2;
	}
	for (uint32_t i = 0; i < 7; i++) {
		const struct mr_feed_item *item = &rig_expect(b)->item;

		cr_assert_eq(item->entry.offset, 2 * i);
		cr_assert_geq(item->entry.bytes, 2 * sizes[i]);
		rig_check_batches(item);
	}
	rig_parcels_back(a, 7, 0);
	cr_assert_eq(rig_status(a, 1).sent_records, 14);
	cr_assert_eq(rig_status(b, 0).received_records, 14);
	cr_assert_eq(rig_status(a, 1).sent_batch_bytes, rig_status(b, 0).received_batch_bytes);
	cr_assert_eq(rig_status(b, 0).received_plain_bytes, rig_status(b, 0).received_batch_bytes);
	cr_assert_eq(rig_status(a, 1).sent_bytes, rig_status(b, 0).received_bytes);
	cr_assert_eq(rig_status(a, 1).sent_messages, rig_status(b, 0).received_messages);
	rig_stop(a);
	rig_stop(b);
}

/* Entries without batches, too, keep their place behind the batches of their partition. */
Test(feed, parcels_of_a_partition_stay_in_order)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	uint64_t next[4] = {0};
	uint32_t total = 0;

	for (int32_t p = 0; p < 4; p++)
		rig_route(b, 1, p);
	rig_meet(a, b);
	for (uint32_t i = 0; i < 400; i++, total++) {
		int32_t p = (int32_t)(i * 7 % 4);

		if (i % 3)
			rig_send_flushed(a, 1, 1, p, i);
		else
			rig_send_batches(a, 1, 1, p, i, 1, i % 5 ? 100 : 300000);
	}
	for (uint32_t i = 0; i < total; i++) {
		const struct rig_arrival *arrival = rig_expect(b);
		uint32_t p = (uint32_t)(uintptr_t)arrival->owner & 3;

		cr_assert_geq(arrival->item.entry.offset, next[p], "partition %u", p);
		next[p] = arrival->item.entry.offset + 1;
	}
	rig_parcels_back(a, total, 0);
	rig_stop(a);
	rig_stop(b);
}

/* The feed is kept busy by one long message; all that comes meanwhile is the next one or two. */
Test(feed, what_gathers_goes_out_together)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint64_t messages;

	a = rig_start(0, &tuning);
	rig_route(b, 1, 0);
	rig_route(b, 1, 1);
	rig_meet(a, b);
	rig_wait(rig_status(a, 1).sent_messages == 1); /* its hello */
	proxy->held = true;
	rig_send_batches(a, 1, 1, 0, 0, 4, 4 * MILLION); /* more than sockets hold */
	for (uint32_t i = 0; i < 100; i++)
		rig_turn();
	cr_assert_eq(a->back, 0);
	for (uint32_t i = 0; i < 1000; i++)
		rig_send_flushed(a, 1, 1, 1, i);
	for (uint32_t i = 0; i < 100; i++)
		rig_turn();
	proxy->held = false;
	rig_parcels_back(a, 1001, 0);
	rig_wait(b->arrival_count == 1001);
	messages = rig_status(a, 1).sent_messages;
	cr_assert_eq(messages, 3, "%lu messages", messages);
	cr_assert_eq(b->deliveries, 2);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

/*
 * An entry of another partition waits for the message of batches that is under way, and for those
 * in its own at most: a message has up to 4 MiB of them, two parcels here.
 */
Test(feed, entries_do_not_wait_for_all_batches)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint32_t before = 0;

	a = rig_start(0, &tuning);
	for (int32_t p = 0; p < 9; p++)
		rig_route(b, 1, p);
	rig_meet(a, b);
	proxy->held = true;
	for (uint64_t i = 0; i < 3; i++)
		for (int32_t p = 0; p < 8; p++)
			rig_send_batches(a, 1, 1, p, i, 1, 2 * MILLION);
	rig_send_flushed(a, 1, 1, 8, 1);
	for (uint32_t i = 0; i < 100; i++)
		rig_turn();
	proxy->held = false;
	while (rig_expect(b)->item.entry.kind == MR_FEED_BATCHES)
		before++;
	cr_assert_leq(before, 4, "%u parcels of batches came first", before);
	/* And they took turns: each partition has one before any has two. */
	rig_wait(b->arrival_count == 25);
	for (uint32_t i = 0, seen = 0; i < 9; i++) {
		const struct rig_arrival *arrival = &b->arrivals[i];
		uint32_t bit = 1u << ((uintptr_t)arrival->owner & 15);

		cr_assert_eq(seen & bit, 0);
		seen |= bit;
	}
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed, every_worker_gets_what_is_its_own)
{
	struct rig_tuning tuning = {.workers = 3};
	struct rig *b = rig_start(1, &tuning), *a = rig_start(0, NULL);

	for (int32_t p = 0; p < 30; p++)
		rig_route_to(b, 1, p, (uint32_t)p % 3);
	rig_meet(a, b);
	for (int32_t p = 0; p < 30; p++)
		rig_send_flushed(a, 1, 1, p, (uint64_t)p);
	rig_wait(b->arrival_count == 30);
	for (uint32_t i = 0; i < 30; i++) {
		cr_assert_eq(b->arrivals[i].owner,
			     rig_owner(1, (int32_t)b->arrivals[i].item.entry.offset));
		cr_assert_eq(b->arrivals[i].worker, b->arrivals[i].item.entry.offset % 3);
	}
	for (uint32_t worker = 0; worker < 3; worker++) {
		rig_wait(b->news_count[worker] == 1);
		cr_assert_eq(b->news[worker][0].what, MR_DELIVERY_CONNECTED);
		cr_assert_eq(b->news[worker][0].connection, b->connection[0]);
	}
	rig_stop(a);
	rig_stop(b);
}

Test(feed, what_has_no_route_is_dropped)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);

	rig_route(b, 1, 1);
	rig_meet(a, b);
	rig_send_flushed(a, 1, 1, 0, 1);
	rig_send_flushed(a, 1, 2, 1, 2);
	rig_send_flushed(a, 1, 1, 1, 3);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 3);
	rig_parcels_back(a, 3, 0);
	rig_route(b, 1, 0); /* a route that comes later does not need the channel opened again */
	rig_send_flushed(a, 1, 1, 0, 4);
	rig_wait(b->arrival_count >= 1);
	rig_send_flushed(a, 1, 1, 0, 5);
	rig_parcels_back(a, 5, 0);
	do
		rig_wait(b->expected < b->arrival_count);
	while (rig_expect(b)->item.entry.offset != 5);
	cr_assert_eq(b->arrival_count, b->expected);
	rig_stop(a);
	rig_stop(b);
}

Test(feed, three_hosts)
{
	struct rig *c = rig_start(2, NULL), *b = rig_start(1, NULL), *a = rig_start(0, NULL);

	rig_route(a, 1, 0);
	rig_route(b, 1, 0);
	rig_route(c, 1, 0);
	rig_wait(a->connection[1] && a->connection[2] && b->connection[0] && b->connection[2] &&
		 c->connection[0] && c->connection[1]);
	rig_send_flushed(a, 1, 1, 0, 10);
	rig_send_flushed(a, 2, 1, 0, 20);
	rig_send_flushed(b, 2, 1, 0, 21);
	rig_send_flushed(c, 0, 1, 0, 2);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 10);
	cr_assert_eq(rig_expect(a)->item.entry.offset, 2);
	rig_wait(c->arrival_count == 2);
	for (uint32_t i = 0; i < 2; i++)
		cr_assert_eq(c->arrivals[i].item.entry.offset, 20 + c->arrivals[i].node);
	rig_stop(b);
	rig_wait(!a->connection[1] && !c->connection[1]);
	cr_assert(a->connection[2]);
	rig_stop(a);
	rig_stop(c);
}

/* ---- a connection's end ---- */

Test(feed, parcels_of_another_connection_are_not_sent)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);

	rig_send_flushed(a, 1, 1, 0, 1); /* nobody is there */
	rig_parcels_back(a, 1, -ENOTCONN);
	rig_send_flushed(a, 2, 1, 0, 1);
	rig_parcels_back(a, 2, -ENOTCONN);
	rig_route(b, 1, 0);
	rig_meet(a, b);
	a->connection[1]++;
	rig_send_flushed(a, 1, 1, 0, 1);
	rig_parcels_back(a, 3, -ENOTCONN);
	a->connection[1]--;
	rig_send_flushed(a, 1, 1, 0, 2);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 2);
	rig_stop(a);
	rig_stop(b);
}

Test(feed, comes_back_after_a_cut)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint64_t before = 0;

	a = rig_start(0, &tuning);
	rig_route(b, 1, 0);
	for (uint32_t i = 0; i < 4; i++) {
		rig_meet(a, b);
		cr_assert_gt(a->connection[1], before, "never the same number twice");
		before = a->connection[1];
		rig_send_flushed(a, 1, 1, 0, i);
		cr_assert_eq(rig_expect(b)->item.entry.offset, i);
		rig_proxy_cut(proxy);
		cr_assert_not_null(rig_event(a, MR_FEED_EVENT_DISCONNECTED)->text);
		cr_assert_not_null(rig_event(b, MR_FEED_EVENT_DISCONNECTED)->text);
	}
	rig_meet(a, b);
	/* Workers heard it in that order, with the arrivals between. */
	cr_assert_eq(b->news_count[0], 9);
	for (uint32_t i = 0; i < 9; i++) {
		cr_assert_eq(b->news[0][i].what,
			     i % 2 ? MR_DELIVERY_DISCONNECTED : MR_DELIVERY_CONNECTED);
		cr_assert_eq(b->news[0][i].arrivals, (i + 1) / 2);
		cr_assert_eq(b->news[0][i].connection, b->news[0][i / 2 * 2].connection);
	}
	cr_assert_eq(b->news[0][0].incarnation, 10);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

/* Ever more seldom, but not for ever. */
Test(feed, tries_again_with_growing_pauses)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint64_t until_ms = rig_now_ms() + 2000;

	proxy->refuses = true;
	a = rig_start(0, &tuning);
	while (rig_now_ms() < until_ms)
		rig_turn();
	cr_assert_geq(proxy->count, 3);
	cr_assert_leq(proxy->count, 12, "%u times in two seconds", proxy->count);
	cr_assert_gt(strlen(rig_status(a, 1).last_error), 0);
	cr_assert_not(rig_status(a, 1).connected);
	proxy->refuses = false;
	rig_meet(a, b);
	cr_assert(rig_status(a, 1).connected);
	cr_assert_str_eq(rig_status(a, 1).security, "plain");
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed, a_cut_gives_all_parcels_back)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint32_t out;

	a = rig_start(0, &tuning);
	rig_meet(a, b);
	proxy->held = true;
	for (int32_t p = 0; p < 20; p++) {
		rig_send_batches(a, 1, 1, p, 0, 2, MILLION);
		rig_send_flushed(a, 1, 1, p, 9);
	}
	for (uint32_t i = 0; i < 50; i++)
		rig_turn();
	out = a->out;
	cr_assert_gt(out, 20);
	rig_proxy_cut(proxy);
	rig_parcels_back(a, 40, -ENOTCONN);
	cr_assert_eq(a->failed, out, "also those whose message was under way");
	proxy->held = false;
	rig_wait(a->connection[1] && b->connection[0]);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

/* A partition that goes must not wait for a peer that takes nothing. */
Test(feed, an_unroute_gives_parcels_back_at_once)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint32_t out;

	a = rig_start(0, &tuning);
	rig_route(b, 1, 0);
	rig_route(b, 1, 1);
	rig_route(a, 1, 0);
	rig_meet(a, b);
	proxy->held = true;
	rig_send_batches(a, 1, 1, 0, 0, 4, 4 * MILLION); /* under way */
	for (uint32_t i = 0; i < 50; i++)
		rig_turn();
	rig_send_batches(a, 1, 1, 0, 4, 1, MILLION); /* waiting */
	rig_send_batches(a, 1, 1, 1, 0, 1, MILLION); /* of another partition */
	for (uint32_t i = 0; i < 50; i++)
		rig_turn();
	out = a->out;
	cr_assert_eq(out, 3);
	rig_unroute(a, 1, 0);
	rig_wait(a->back == 2);
	cr_assert_eq(a->out, 1);
	proxy->held = false;
	/* The message that was under way arrives whole, from the feed's copy of it. */
	rig_check_batches(&rig_expect(b)->item);
	cr_assert_eq(b->arrivals[0].item.entry.end_offset, 4);
	cr_assert_eq(rig_expect(b)->owner, rig_owner(1, 1));
	rig_parcels_back(a, 3, 0);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed, nothing_comes_behind_unrouted)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);

	rig_route(b, 1, 0);
	rig_meet(a, b);
	for (uint32_t round = 0; round < 20; round++) {
		uint32_t seen;

		for (uint32_t i = 0; i < 50; i++)
			rig_send_flushed(a, 1, 1, 0, i);
		if (round % 2)
			rig_turn();
		rig_unroute(b, 1, 0);
		rig_turn(); /* all that was put into the port before it */
		seen = b->arrival_count;
		rig_send_flushed(a, 1, 1, 0, 50);
		for (uint32_t i = 0; i < 20; i++)
			rig_turn();
		cr_assert_eq(b->arrival_count, seen);
		rig_parcels_back(a, 51 * (round + 1), 0);
		rig_route(b, 1, 0);
	}
	rig_stop(a);
	rig_stop(b);
}

Test(feed, stops_with_parcels_out)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	uint64_t began_ms;

	a = rig_start(0, &tuning);
	rig_meet(a, b);
	proxy->held = true;
	for (int32_t p = 0; p < 10; p++)
		rig_send_batches(a, 1, 1, p, 0, 2, MILLION);
	for (uint32_t i = 0; i < 20; i++)
		rig_turn();
	cr_assert_gt(a->out, 0);
	began_ms = rig_now_ms();
	rig_stop(a); /* its peer takes nothing, not even the goodbye */
	cr_assert_lt(rig_now_ms() - began_ms, 5000);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed, says_goodbye)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	const struct mr_feed_event *event;

	rig_meet(a, b);
	rig_stop(b);
	event = rig_event(a, MR_FEED_EVENT_DISCONNECTED);
	cr_assert_not_null(strstr(event->text, "'b' stops"), "%s", event->text);
	cr_assert_not_null(strstr(rig_status(a, 1).last_error, "'b'"));
	rig_stop(a);
}

/* ---- bounds ---- */

/* What the workers do not give back is not followed by more than the share and one message. */
Test(feed, a_slow_worker_holds_its_peer_back)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	uint32_t seen;

	for (int32_t p = 0; p < 60; p++)
		rig_route(b, 1, p);
	rig_meet(a, b);
	b->keeps = true;
	for (int32_t p = 0; p < 60; p++)
		rig_send_batches(a, 1, 1, p, 0, 1, MILLION);
	rig_wait(b->arrival_count > 8);
	for (uint32_t i = 0; i < 300; i++)
		rig_turn();
	seen = b->arrival_count;
	cr_assert_leq(seen, 16 + 2 * 5, "%u million bytes are out", seen);
	cr_assert_gt(a->out, 0, "the sender feels it");
	b->keeps = false;
	rig_give_back(b, UINT32_MAX);
	rig_wait(b->arrival_count == 60);
	rig_parcels_back(a, 60, 0);
	rig_stop(a);
	rig_stop(b);
}

/* Deliveries that were kept over a connection's end are good still, and count still. */
Test(feed, deliveries_outlive_their_connection)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};

	a = rig_start(0, &tuning);
	rig_route(b, 1, 0);
	rig_meet(a, b);
	b->keeps = true;
	for (uint32_t i = 0; i < 6; i++)
		rig_send_batches(a, 1, 1, 0, i, 1, 3 * MILLION);
	rig_wait(b->kept_count > 2);
	rig_proxy_cut(proxy);
	rig_wait(!b->connection[0]);
	rig_wait(a->out == 0);
	rig_wait(a->connection[1] && b->connection[0]);
	for (struct mr_feed_mail *mail = b->kept; mail; mail = mail->next) {
		const struct mr_feed_delivery *kept = (struct mr_feed_delivery *)mail;

		rig_check_batches(&kept->arrivals[0].item);
	}
	b->keeps = false;
	rig_give_back(b, UINT32_MAX);
	rig_send_flushed(a, 1, 1, 0, 99);
	rig_wait(b->arrivals[b->arrival_count - 1].item.entry.offset == 99);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}

Test(feed, a_quota_bounds_batches_and_nothing_else)
{
	struct rig_tuning tuning = {.bytes_per_second = MILLION};
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, &tuning);
	uint64_t began_ms, took_ms;

	for (int32_t p = 0; p < 12; p++)
		rig_route(b, 1, p);
	rig_meet(a, b);
	began_ms = rig_now_ms();
	for (int32_t p = 0; p < 11; p++)
		rig_send_batches(a, 1, 1, p, 0, 1, 150000);
	rig_send_flushed(a, 1, 1, 11, 1);
	while (rig_expect(b)->item.entry.kind != MR_FEED_FLUSHED)
		;
	cr_assert_leq(b->expected, 3, "the entry overtook batches that have to wait");
	rig_wait(b->arrival_count == 12);
	took_ms = rig_now_ms() - began_ms;
	cr_assert_geq(took_ms, 1200, "1.65 million bytes took %lu ms", took_ms);
	rig_parcels_back(a, 12, 0);
	rig_stop(a);
	rig_stop(b);
}

/* ---- notices ---- */

Test(feed, notices_keep_their_order)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	char text[32];

	cr_assert_eq(mr_feed_notify(a->feed, 1, "x", 1), -ENOTCONN);
	rig_route(b, 1, 0);
	rig_meet(a, b);
	for (uint32_t i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "{\"n\": %u}", i);
		cr_assert_eq(mr_feed_notify(a->feed, i % 2 ? 1 : MR_NODE_NONE, text, strlen(text)),
			     0);
		rig_send_flushed(a, 1, 1, 0, i);
	}
	for (uint32_t i = 0; i < 3000; i++) {
		const struct mr_feed_event *event = rig_event(b, MR_FEED_EVENT_NOTICE);

		snprintf(text, sizeof(text), "{\"n\": %u}", i);
		cr_assert_str_eq(event->text, text);
		cr_assert_eq(event->bytes, strlen(text));
		cr_assert_eq(event->node, 0);
	}
	rig_parcels_back(a, 3000, 0);
	rig_stop(a);
	rig_stop(b);
}

Test(feed, notices_have_a_length)
{
	struct rig *c = rig_start(2, NULL), *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	char *text = malloc(MR_FEED_NOTICE_MAX + 1);
	const struct mr_feed_event *event;

	memset(text, 't', MR_FEED_NOTICE_MAX + 1);
	rig_meet(a, b);
	rig_meet(a, c);
	cr_assert_eq(mr_feed_notify(a->feed, 1, text, MR_FEED_NOTICE_MAX + 1), -EMSGSIZE);
	cr_assert_eq(mr_feed_notify(a->feed, 1, text, 0), -EMSGSIZE);
	cr_assert_eq(mr_feed_notify(a->feed, MR_NODE_NONE, text, MR_FEED_NOTICE_MAX), 0);
	event = rig_event(b, MR_FEED_EVENT_NOTICE);
	cr_assert_eq(event->bytes, MR_FEED_NOTICE_MAX);
	cr_assert_eq(strlen(event->text), MR_FEED_NOTICE_MAX);
	event = rig_event(c, MR_FEED_EVENT_NOTICE);
	cr_assert_eq(event->bytes, MR_FEED_NOTICE_MAX);
	free(text);
	rig_stop(a);
	rig_stop(b);
	rig_stop(c);
}

/* Control that takes nothing holds the peer back; then all of it comes, in order. */
Test(feed, a_deaf_control_thread_loses_no_notice)
{
	struct rig *b = rig_start(1, NULL), *a = rig_start(0, NULL);
	char *text = malloc(MILLION);

	memset(text, 't', MILLION);
	rig_meet(a, b);
	b->deaf = true;
	for (uint32_t i = 0; i < 30; i++) {
		text[0] = (char)('A' + i);
		cr_assert_eq(mr_feed_notify(a->feed, 1, text, MILLION), 0);
	}
	for (uint32_t i = 0; i < 200; i++)
		rig_turn();
	cr_assert_leq(rig_status(b, 0).received_bytes, 16 * MILLION);
	b->deaf = false;
	for (uint32_t i = 0; i < 30; i++)
		cr_assert_eq(rig_event(b, MR_FEED_EVENT_NOTICE)->text[0], 'A' + (char)i);
	free(text);
	rig_stop(a);
	rig_stop(b);
}

/* Who leaves them unread is disconnected, not served out of ever more memory. */
Test(feed, notices_that_nobody_reads_are_bounded)
{
	struct rig *b = rig_start(1, NULL), *a;
	struct rig_proxy *proxy = rig_proxy_start(rig_port(b));
	struct rig_tuning tuning = {.ports = {0, proxy->port}};
	char *text = malloc(MILLION);
	const struct mr_feed_event *event;

	memset(text, 't', MILLION);
	a = rig_start(0, &tuning);
	rig_meet(a, b);
	proxy->held = true;
	for (uint32_t i = 0; i < 100; i++)
		(void)mr_feed_notify(a->feed, 1, text, MILLION);
	event = rig_event(a, MR_FEED_EVENT_DISCONNECTED);
	cr_assert_not_null(strstr(event->text, "notices"), "%s", event->text);
	free(text);
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
}
