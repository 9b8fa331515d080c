/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of parcels that come from segments: the reader is asked for the right bytes of the
 * right directory, once at a time for a partition and a peer; what it reads arrives as batches, in
 * its place among the partition's parcels; what it cannot read comes back with the reason; and an
 * answer that nobody waits for any more harms nothing.
 *
 * The reader is the test itself: these are its functions instead of catchup.c's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "feed_proxy.h"
#include "feed_rig.h"
#include "replica/catchup.h"

/* ---- the reader ---- */

struct mr_catchup {
	struct mr_mailbox *asked;    /* the feed's thread sends */
	struct mr_mailbox *answered; /* the test sends */
};

static struct mr_catchup reader;
static char disk; /* only its address counts */
static _Atomic uint32_t requests_alive;

int mr_catchup_start(const struct mr_place_entry *place, struct mr_io *io,
		     uint64_t bytes_per_second, struct mr_catchup **out, struct mr_error *err)
{
	cr_assert_eq((void *)io, (void *)&disk);
	*out = &reader;
	cr_assert_eq(mr_mailbox_open(64, MR_MAILBOX_BELL_IF_ASLEEP, &reader.asked, err), 0);
	return mr_mailbox_open(64, MR_MAILBOX_BELL_IF_ASLEEP, &reader.answered, err);
}

void mr_catchup_stop(struct mr_catchup *catchup)
{
	if (!catchup)
		return;
	mr_mailbox_close(catchup->asked);
	mr_mailbox_close(catchup->answered);
}

struct mr_catchup_request *mr_catchup_request_new(void)
{
	requests_alive++;
	return calloc(1, sizeof(struct mr_catchup_request));
}

void mr_catchup_request_free(struct mr_catchup_request *request)
{
	if (!request)
		return;
	requests_alive--;
	free(request->bytes);
	free(request);
}

void mr_catchup_send(struct mr_catchup *catchup, struct mr_catchup_request *request)
{
	mr_mailbox_send(catchup->asked, request);
}

struct mr_catchup_request *mr_catchup_take(struct mr_catchup *catchup)
{
	return mr_mailbox_receive(catchup->answered);
}

int mr_catchup_fd(const struct mr_catchup *catchup)
{
	return mr_mailbox_fd(catchup->answered);
}

bool mr_catchup_sleep(struct mr_catchup *catchup)
{
	return mr_mailbox_sleep(catchup->answered);
}

void mr_catchup_wake(struct mr_catchup *catchup)
{
	mr_mailbox_wake(catchup->answered);
}

/* ---- what the test does with it ---- */

static struct rig *a, *b;
static struct rig_proxy *proxy;

static void begin(void)
{
	struct rig_tuning tuning = {.io = (struct mr_io *)(void *)&disk};

	b = rig_start(1, NULL);
	proxy = rig_proxy_start(rig_port(b));
	tuning.ports[1] = proxy->port;
	a = rig_start(0, &tuning);
	rig_route(b, 1, 0);
	rig_route(b, 1, 1);
	rig_meet(a, b);
}

static void end(void)
{
	rig_stop(a);
	rig_proxy_stop(proxy);
	rig_stop(b);
	cr_assert_eq(requests_alive, 0);
}

static struct mr_catchup_request *next_request(void)
{
	struct mr_catchup_request *request = NULL;

	rig_wait(request || (request = mr_mailbox_receive(reader.asked)));
	return request;
}

static bool is_asked(void)
{
	for (uint32_t i = 0; i < 20; i++)
		rig_turn();
	return mr_mailbox_receive(reader.asked) != NULL;
}

static void answer(struct mr_catchup_request *request, uint64_t base, uint32_t batches,
		   uint32_t value_bytes)
{
	size_t room = batches * (value_bytes + 256u);

	free(request->bytes);
	request->bytes = malloc(room);
	request->byte_count = 0;
	for (uint32_t i = 0; i < batches; i++)
		request->byte_count += rig_encode_batch(base + i, value_bytes,
							request->bytes + request->byte_count,
							room - request->byte_count);
	request->base_offset = base;
	request->end_offset = base + batches;
	request->record_count = batches;
	request->status = 0;
	mr_mailbox_send(reader.answered, request);
}

static void fail(struct mr_catchup_request *request, int status)
{
	request->status = status;
	mr_mailbox_send(reader.answered, request);
}

Test(feed_catch_up, what_is_read_arrives)
{
	struct mr_catchup_request *request;
	const struct mr_feed_item *item;

	begin();
	rig_send_catch_up(a, 1, 1, 0, 103, 50000, 200);
	request = next_request();
	cr_assert_str_eq(request->directory, "topics/01262d343b424950575e656c737a8188/0");
	cr_assert_eq(request->offset, 103);
	cr_assert_eq(request->bytes_max, 50000);
	cr_assert_eq(request->limit_offset, 200);
	answer(request, 100, 10, 500); /* whole batches: it may begin before */
	item = &rig_expect(b)->item;
	cr_assert_eq(item->entry.kind, MR_FEED_BATCHES);
	cr_assert_eq(item->entry.offset, 100);
	cr_assert_eq(item->entry.end_offset, 110);
	cr_assert_eq(item->entry.session, RIG_SESSION);
	rig_check_batches(item);
	rig_parcels_back(a, 1, 0);
	cr_assert_eq(a->last_entry.offset, 100);
	cr_assert_eq(a->last_entry.end_offset, 110);
	cr_assert_eq(a->last_entry.bytes, item->entry.bytes);
	end();
}

Test(feed_catch_up, what_cannot_be_read_comes_back)
{
	static const int reasons[] = {-ERANGE, -ENODATA, -EBADMSG, -EIO};

	begin();
	for (uint32_t i = 0; i < 4; i++) {
		rig_send_catch_up(a, 1, 1, 0, 7, 1000, 0);
		fail(next_request(), reasons[i]);
		rig_parcels_back(a, i + 1, reasons[i]);
	}
	cr_assert_eq(b->arrival_count, 0);
	rig_send_catch_up(a, 1, 1, 0, 7, 1000, 0); /* and the next is as good as any */
	answer(next_request(), 7, 1, 100);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 7);
	rig_parcels_back(a, 5, 0);
	end();
}

/* One at a time, and in its place: nothing of its partition overtakes it, all of others does. */
Test(feed_catch_up, keeps_its_place)
{
	struct mr_catchup_request *request;

	begin();
	rig_send_flushed(a, 1, 1, 0, 1);
	rig_send_catch_up(a, 1, 1, 0, 2, 1000, 0);
	rig_send_flushed(a, 1, 1, 0, 3);
	rig_send_catch_up(a, 1, 1, 0, 4, 1000, 0);
	rig_send_batches(a, 1, 1, 0, 5, 1, 100);
	rig_send_flushed(a, 1, 1, 1, 100);
	request = next_request();
	cr_assert_eq(request->offset, 2);
	rig_wait(b->arrival_count == 2);
	cr_assert_not(is_asked());
	cr_assert_eq(b->arrival_count, 2, "1, and that of the other partition");
	answer(request, 2, 1, 100);
	request = next_request();
	cr_assert_eq(request->offset, 4);
	answer(request, 4, 1, 300000);
	rig_wait(b->arrival_count == 6);
	for (uint32_t i = 0, next = 1; i < 6; i++) {
		if (b->arrivals[i].owner == rig_owner(1, 1))
			continue;
		cr_assert_eq(b->arrivals[i].item.entry.offset, next++);
		if (b->arrivals[i].item.batches)
			rig_check_batches(&b->arrivals[i].item);
	}
	rig_parcels_back(a, 6, 0);
	end();
}

/* Its memory is not read into again while the kernel does not have it all. */
Test(feed_catch_up, does_not_read_over_what_is_being_sent)
{
	begin();
	proxy->held = true;
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	rig_send_catch_up(a, 1, 1, 0, 4, 1000, 0);
	answer(next_request(), 0, 4, 4000000); /* more than sockets hold */
	cr_assert_not(is_asked());
	cr_assert_eq(a->back, 0);
	proxy->held = false;
	rig_check_batches(&rig_expect(b)->item);
	answer(next_request(), 4, 1, 100);
	rig_check_batches(&rig_expect(b)->item);
	rig_parcels_back(a, 2, 0);
	end();
}

Test(feed_catch_up, an_answer_after_the_end)
{
	struct mr_catchup_request *request;

	begin();
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	request = next_request();
	rig_proxy_cut(proxy);
	rig_parcels_back(a, 1, -ENOTCONN); /* it does not wait for the disk */
	rig_meet(a, b);
	rig_send_catch_up(a, 1, 1, 0, 5, 1000, 0); /* on the new connection */
	answer(next_request(), 5, 1, 100);
	answer(request, 0, 1, 100);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 5);
	rig_parcels_back(a, 2, 0);
	rig_wait(requests_alive == 1);
	cr_assert_eq(b->arrival_count, 1);
	end();
}

Test(feed_catch_up, an_unroute_while_it_reads)
{
	struct mr_catchup_request *request;

	begin();
	rig_route(a, 1, 0);
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	rig_send_flushed(a, 1, 1, 0, 9);
	request = next_request();
	rig_unroute(a, 1, 0);
	rig_parcels_back(a, 2, -ENOTCONN);
	answer(request, 0, 1, 100);
	rig_wait(requests_alive == 0);
	rig_send_flushed(a, 1, 1, 0, 10); /* the same partition, again */
	cr_assert_eq(rig_expect(b)->item.entry.offset, 10);
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	answer(next_request(), 0, 1, 100);
	cr_assert_eq(rig_expect(b)->item.entry.offset, 0);
	end();
}

Test(feed_catch_up, a_stop_while_it_reads)
{
	begin();
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	(void)next_request();
	rig_send_catch_up(a, 1, 1, 1, 0, 1000, 0);
	fail(next_request(), -EIO);
	end();
}

Test(feed_catch_up, without_a_reader_it_comes_back)
{
	b = rig_start(1, NULL);
	a = rig_start(0, NULL);
	rig_meet(a, b);
	rig_send_catch_up(a, 1, 1, 0, 0, 1000, 0);
	rig_parcels_back(a, 1, -EIO);
	rig_stop(a);
	rig_stop(b);
}
