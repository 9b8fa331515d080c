/* SPDX-License-Identifier: Apache-2.0 */
/* See feed_rig.h. Everything here happens on the test's thread; all feeds are in one table. */
#include "feed_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "check.h"
#include "clock.h"
#include "feed_proxy.h"

#define RIGS_MAX 8

struct rig_parcel {
	struct mr_feed_parcel parcel; /* first */
	struct rig_parcel *next;
	uint8_t *bytes;
	uint64_t base;
	bool out;
};

static struct rig *rigs[RIGS_MAX];
static uint16_t ports[RIG_NODES];
static const char *const names[RIG_NODES] = {"a", "b", "c"};

uint64_t rig_now_ms(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system) / 1000000;
}

/* ---- starting ---- */

static int start(uint32_t node, const struct rig_tuning *tuning, struct mr_feed **out,
		 struct mr_error *err)
{
	static const struct mr_place_entry nowhere; /* pins nothing */
	struct mr_feed_peer_options peers[RIG_NODES];
	char addresses[RIG_NODES][32];
	struct mr_feed_options options = {
		.place = &nowhere,
		.clock = &mr_clock_system,
		.io = tuning->io,
		.node = node,
		.name = tuning->name ? tuning->name : names[node],
		.listen = tuning->address ? tuning->address : "127.0.0.1:0",
		.trust = tuning->trust,
		.cluster_id = {0xc0, tuning->cluster},
		.log_id = {0xd0 + (uint8_t)node, tuning->log},
		.incarnation = tuning->incarnation ? tuning->incarnation : 10 + node,
		.peers = peers,
		.worker_count = tuning->workers ? tuning->workers : 1,
		.version_max = tuning->version_max,
		.patience_ns = tuning->patience_ms * 1000000,
	};

	for (uint32_t i = 0; i < RIG_NODES; i++) {
		uint16_t port = tuning->ports[i] ? tuning->ports[i] : ports[i];

		snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", port ? port : 1u);
		if (i != node && !(tuning->strangers >> i & 1))
			peers[options.peer_count++] = (struct mr_feed_peer_options){
				.node = i,
				.name = names[i],
				.address = addresses[i],
				.bytes_per_second = tuning->bytes_per_second};
	}
	return mr_feed_start(&options, out, err);
}

int rig_try(uint32_t node, const struct rig_tuning *tuning, struct mr_error *err)
{
	struct mr_feed *feed;
	int r = start(node, tuning, &feed, err);

	if (r == 0)
		mr_feed_stop(feed);
	return r;
}

struct rig *rig_start(uint32_t node, const struct rig_tuning *tuning)
{
	static const struct rig_tuning usual;
	struct rig *rig = calloc(1, sizeof(*rig));
	struct mr_error err;
	uint32_t i = 0;

	tuning = tuning ? tuning : &usual;
	rig->node = node;
	rig->workers = tuning->workers ? tuning->workers : 1;
	cr_assert_eq(start(node, tuning, &rig->feed, &err), 0, "%s", err.what);
	ports[node] = mr_feed_listens_at(rig->feed);
	cr_assert_neq(ports[node], 0);
	while (rigs[i])
		i++;
	rigs[i] = rig;
	return rig;
}

uint16_t rig_port(const struct rig *rig)
{
	return mr_feed_listens_at(rig->feed);
}

static void free_parcels(struct rig *rig)
{
	while (rig->parcels) {
		struct rig_parcel *next = rig->parcels->next;

		free(rig->parcels->bytes);
		free(rig->parcels);
		rig->parcels = next;
	}
}

void rig_stop(struct rig *rig)
{
	mr_feed_stop(rig->feed);
	for (uint32_t i = 0; i < RIGS_MAX; i++)
		if (rigs[i] == rig)
			rigs[i] = NULL;
	for (uint32_t i = 0; i < rig->arrival_count; i++)
		free((void *)rig->arrivals[i].item.batches);
	for (uint32_t i = 0; i < rig->event_count; i++)
		free(rig->events[i].text);
	free_parcels(rig);
	free(rig->arrivals);
	free(rig->events);
	free(rig);
}

/* ---- taking what comes ---- */

static void note_arrival(struct rig *rig, uint32_t worker, const struct mr_feed_delivery *delivery,
			 const struct mr_feed_arrival *arrival)
{
	struct rig_arrival *noted;

	if (rig->arrival_count == rig->arrival_room) {
		rig->arrival_room = rig->arrival_room ? rig->arrival_room * 2 : 64;
		rig->arrivals = realloc(rig->arrivals, rig->arrival_room * sizeof(*rig->arrivals));
	}
	noted = &rig->arrivals[rig->arrival_count++];
	*noted = (struct rig_arrival){.node = delivery->node,
				      .worker = worker,
				      .connection = delivery->connection,
				      .owner = arrival->owner,
				      .item = arrival->item};
	if (arrival->item.batches) {
		uint8_t *copy = malloc(arrival->item.entry.bytes);

		memcpy(copy, arrival->item.batches, arrival->item.entry.bytes);
		noted->item.batches = copy;
	}
}

static void note_news(struct rig *rig, uint32_t worker, const struct mr_feed_delivery *delivery)
{
	struct rig_news *news = &rig->news[worker][rig->news_count[worker]];

	mr_assert(rig->news_count[worker] < mr_array_count(rig->news[worker]));
	rig->news_count[worker]++;
	*news = (struct rig_news){.what = delivery->what,
				  .node = delivery->node,
				  .connection = delivery->connection,
				  .incarnation = delivery->incarnation,
				  .capabilities = delivery->capabilities,
				  .arrivals = rig->arrival_count};
	if (worker == 0)
		rig->connection[delivery->node] =
			delivery->what == MR_DELIVERY_CONNECTED ? delivery->connection : 0;
}

static void take_delivery(struct rig *rig, uint32_t worker, struct mr_feed_delivery *delivery)
{
	if (delivery->what != MR_DELIVERY_ARRIVALS) {
		note_news(rig, worker, delivery);
		mr_feed_port_return(mr_feed_port(rig->feed, worker), delivery);
		return;
	}
	rig->deliveries++;
	cr_assert_gt(delivery->count, 0);
	for (uint32_t i = 0; i < delivery->count; i++)
		note_arrival(rig, worker, delivery, &delivery->arrivals[i]);
	if (rig->keeps) {
		delivery->mail.next = rig->kept;
		rig->kept = &delivery->mail;
		rig->kept_count++;
		return;
	}
	mr_feed_port_return(mr_feed_port(rig->feed, worker), delivery);
}

void rig_give_back(struct rig *rig, uint32_t count)
{
	for (; count && rig->kept; count--) {
		struct mr_feed_mail *mail = rig->kept;

		rig->kept = mail->next;
		rig->kept_count--;
		mr_feed_port_return(mr_feed_port(rig->feed, 0), (struct mr_feed_delivery *)mail);
	}
}

static void take_parcel(struct rig *rig, struct rig_parcel *parcel)
{
	cr_assert(parcel->out, "a parcel came back twice");
	parcel->out = false;
	rig->out--;
	rig->back++;
	rig->failed += parcel->parcel.status != 0;
	rig->last_status = parcel->parcel.status;
	rig->last_entry = parcel->parcel.entry;
	if (parcel->bytes) /* whoever still reads it is found out */
		memset(parcel->bytes, 0xdd, parcel->parcel.entry.bytes);
	if (!parcel->parcel.catch_up) {
		free(parcel->bytes);
		parcel->bytes = NULL;
	}
}

static void note_event(struct rig *rig, const struct mr_feed_event *event)
{
	if (rig->event_count == rig->event_room) {
		rig->event_room = rig->event_room ? rig->event_room * 2 : 64;
		rig->events = realloc(rig->events, rig->event_room * sizeof(*rig->events));
	}
	rig->events[rig->event_count++] = *event;
}

static void take_all(struct rig *rig)
{
	for (uint32_t worker = 0; worker < rig->workers; worker++) {
		struct mr_feed_port *port = mr_feed_port(rig->feed, worker);
		struct mr_feed_mail *mail;

		while ((mail = mr_feed_port_receive(port)))
			if (mail->kind == MR_MAIL_PARCEL)
				take_parcel(rig, (struct rig_parcel *)(void *)mail);
			else
				take_delivery(rig, worker, (struct mr_feed_delivery *)(void *)mail);
	}
	while (!rig->deaf) {
		struct mr_feed_event event = mr_feed_take(rig->feed);

		if (event.kind == MR_FEED_EVENT_NOTHING)
			break;
		note_event(rig, &event);
	}
}

void rig_turn(void)
{
	for (uint32_t i = 0; i < RIGS_MAX; i++)
		if (rigs[i])
			take_all(rigs[i]);
	rig_proxies_turn();
	(void)poll(NULL, 0, 1);
}

/* ---- what a test says ---- */

void rig_topic_id(uint8_t topic, uint8_t id[16])
{
	for (uint32_t i = 0; i < 16; i++)
		id[i] = (uint8_t)(topic * 31 + i * 7);
	id[0] = topic;
}

static uint32_t count_connected(const struct rig *rig, uint32_t node)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < rig->event_count; i++)
		count += rig->events[i].kind == MR_FEED_EVENT_CONNECTED &&
			 rig->events[i].node == node;
	return count;
}

void rig_meet(struct rig *a, struct rig *b)
{
	rig_wait(a->connection[b->node] && b->connection[a->node]);
	rig_wait(count_connected(a, b->node) > a->met[b->node] &&
		 count_connected(b, a->node) > b->met[a->node]);
	a->met[b->node]++;
	b->met[a->node]++;
}

void *rig_owner(uint8_t topic, int32_t partition)
{
	return (void *)(uintptr_t)((uint32_t)topic << 16 | (uint32_t)partition | 1u << 30);
}

void rig_route_to(struct rig *rig, uint8_t topic, int32_t partition, uint32_t worker)
{
	uint8_t id[16];

	rig_topic_id(topic, id);
	cr_assert_eq(mr_feed_route(rig->feed, id, partition, worker, rig_owner(topic, partition)),
		     0);
}

void rig_route(struct rig *rig, uint8_t topic, int32_t partition)
{
	rig_route_to(rig, topic, partition, 0);
}

void rig_unroute(struct rig *rig, uint8_t topic, int32_t partition)
{
	const struct mr_feed_event *event;
	uint8_t id[16];

	rig_topic_id(topic, id);
	cr_assert_eq(mr_feed_unroute(rig->feed, id, partition), 0);
	event = rig_event(rig, MR_FEED_EVENT_UNROUTED);
	cr_assert_arr_eq(event->topic_id, id, 16);
	cr_assert_eq(event->partition, partition);
}

static struct rig_parcel *make_parcel(struct rig *rig, uint32_t node, uint8_t topic,
				      int32_t partition)
{
	struct rig_parcel *made = calloc(1, sizeof(*made));

	made->parcel.node = node;
	made->parcel.connection = rig->connection[node];
	made->parcel.partition = partition;
	made->parcel.owner = made;
	made->parcel.entry.leader_epoch = 5;
	made->parcel.entry.session = RIG_SESSION;
	rig_topic_id(topic, made->parcel.topic_id);
	made->next = rig->parcels;
	rig->parcels = made;
	return made;
}

static void send_parcel(struct rig *rig, struct rig_parcel *parcel)
{
	parcel->out = true;
	rig->out++;
	mr_feed_port_send(mr_feed_port(rig->feed, 0), &parcel->parcel);
}

void rig_send_flushed(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		      uint64_t offset)
{
	struct rig_parcel *parcel = make_parcel(rig, node, topic, partition);

	parcel->parcel.entry.kind = MR_FEED_FLUSHED;
	parcel->parcel.entry.offset = offset;
	send_parcel(rig, parcel);
}

uint32_t rig_encode_batch(uint64_t offset, uint32_t value_bytes, uint8_t *bytes, size_t room)
{
	struct mr_test_batch batch = {.base_offset = offset,
				      .leader_epoch = 5,
				      .producer_id = 9,
				      .records = 1,
				      .value_bytes = value_bytes};

	return mr_test_batch_encode(&batch, bytes, (uint32_t)room);
}

void rig_send_batches(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		      uint64_t base, uint32_t batches, uint32_t value_bytes)
{
	struct rig_parcel *parcel = make_parcel(rig, node, topic, partition);
	struct mr_feed_entry *entry = &parcel->parcel.entry;
	size_t room = batches * (value_bytes + 256u);

	cr_assert_leq(batches, MR_PARCEL_PIECES);
	parcel->bytes = malloc(room);
	for (uint32_t i = 0; i < batches; i++) {
		uint8_t *at = parcel->bytes + entry->bytes;
		uint32_t bytes = rig_encode_batch(base + i, value_bytes, at, room - entry->bytes);

		parcel->parcel.pieces[i] = (struct iovec){at, bytes};
		entry->bytes += bytes;
	}
	entry->kind = MR_FEED_BATCHES;
	entry->offset = base;
	entry->end_offset = base + batches;
	parcel->parcel.piece_count = batches;
	send_parcel(rig, parcel);
}

void rig_send_catch_up(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		       uint64_t from, uint32_t bytes, uint64_t limit)
{
	struct rig_parcel *parcel = make_parcel(rig, node, topic, partition);

	parcel->parcel.entry.kind = MR_FEED_BATCHES;
	parcel->parcel.entry.offset = from;
	parcel->parcel.entry.end_offset = limit;
	parcel->parcel.entry.bytes = bytes;
	parcel->parcel.catch_up = true;
	send_parcel(rig, parcel);
}

void rig_parcels_back(struct rig *rig, uint32_t count, int status)
{
	rig_wait(rig->back == count && rig->out == 0);
	cr_assert_eq(rig->last_status, status);
}

const struct rig_arrival *rig_expect(struct rig *rig)
{
	rig_wait(rig->expected < rig->arrival_count);
	return &rig->arrivals[rig->expected++];
}

void rig_check_batches(const struct mr_feed_item *item)
{
	const uint8_t *at = item->batches, *end = at + item->entry.bytes;
	uint64_t offset = item->entry.offset;

	while (at < end) {
		struct mr_batch_header header;
		uint8_t *wanted;

		cr_assert_eq(mr_batch_decode_header(at, (size_t)(end - at), &header), 0);
		cr_assert_eq(header.base_offset, offset++);
		wanted = malloc(header.total_bytes + 256);
		for (uint32_t less = 0; less < 256; less++) /* the value is all but the rest */
			if (header.total_bytes > less &&
			    rig_encode_batch(offset - 1, header.total_bytes - less, wanted,
					     header.total_bytes + 256) == header.total_bytes)
				break;
		cr_assert_arr_eq(at, wanted, header.total_bytes);
		free(wanted);
		at += header.total_bytes;
	}
	cr_assert_eq(offset, item->entry.end_offset);
}

const struct mr_feed_event *rig_event(struct rig *rig, enum mr_feed_event_kind kind)
{
	for (;;) {
		rig_wait(rig->event_looked < rig->event_count);
		if (rig->events[rig->event_looked++].kind == kind)
			return &rig->events[rig->event_looked - 1];
	}
}

struct mr_feed_peer_status rig_status(struct rig *rig, uint32_t node)
{
	struct mr_feed_peer_status status[RIG_NODES];
	uint32_t count = mr_feed_peers(rig->feed, status, RIG_NODES);

	for (uint32_t i = 0; i < count; i++)
		if (status[i].node == node)
			return status[i];
	cr_assert_fail("no peer %u", node);
	return status[0];
}
