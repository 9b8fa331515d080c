/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two feeds with their threads, workers' threads and control threads, for ThreadSanitizer: parcels
 * of batches and of entries both ways, notices, routes that come and go, and a look at the figures
 * all the while. Exit 0: everything arrived once, whole and in order.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "replica/feed.h"

#define WORKERS		2u
#define PARCELS		4000u /* of each worker */
#define FLYING		8u    /* of them at a time */
#define NOTICES		500u
#define ROUNDS		2u
#define BATCH_BYTES_MAX 4096u

struct side;

struct worker {
	struct side *side;
	struct mr_feed_port *port;
	uint32_t number;
	uint64_t connection;
	struct mr_feed_parcel parcels[FLYING];
	uint8_t bytes[FLYING][BATCH_BYTES_MAX];
	bool out[FLYING];
	uint64_t sent, back, heard;
	pthread_t thread;
};

struct side {
	uint32_t node;
	struct mr_feed *feed;
	struct worker workers[WORKERS];
	uint32_t notices_sent, notices_heard, unrouted;
	bool connected;
	pthread_t control;
};

static struct side sides[2];
static _Atomic uint32_t done; /* threads; each goes on until all are */

static void die(const char *what)
{
	fprintf(stderr, "feed: %s\n", what);
	exit(1);
}

static void check(bool good, const char *what)
{
	if (!good)
		die(what);
}

/* ---- workers ---- */

static void fill(struct worker *worker, uint32_t i)
{
	struct mr_feed_parcel *parcel = &worker->parcels[i];
	struct mr_test_batch batch = {.base_offset = worker->sent,
				      .leader_epoch = 1,
				      .producer_id = 1,
				      .records = 1,
				      .value_bytes = 8 + (uint32_t)(worker->sent % 3000)};

	*parcel = (struct mr_feed_parcel){
		.node = !worker->side->node,
		.connection = worker->connection,
		.topic_id = {(uint8_t)worker->number},
		.entry = {.leader_epoch = 1, .session = 1, .offset = worker->sent}};
	if (worker->sent % 2) {
		parcel->entry.kind = MR_FEED_FLUSHED;
	} else {
		parcel->entry.kind = MR_FEED_BATCHES;
		parcel->entry.end_offset = worker->sent + 1;
		parcel->entry.bytes =
			mr_test_batch_encode(&batch, worker->bytes[i], BATCH_BYTES_MAX);
		parcel->piece_count = 1;
		parcel->pieces[0] = (struct iovec){worker->bytes[i], parcel->entry.bytes};
	}
	worker->sent++;
}

static void send_some(struct worker *worker)
{
	for (uint32_t i = 0; i < FLYING; i++)
		if (!worker->out[i] && worker->connection && worker->sent < PARCELS) {
			fill(worker, i);
			worker->out[i] = true;
			mr_feed_port_send(worker->port, &worker->parcels[i]);
		}
}

static bool is_whole(const struct mr_feed_item *item)
{
	struct mr_batch_header header;

	return mr_batch_decode_header(item->batches, item->entry.bytes, &header) == 0 &&
	       mr_batch_check_crc(item->batches, &header) == 0;
}

static void take_arrivals(struct worker *worker, const struct mr_feed_delivery *delivery)
{
	for (uint32_t i = 0; i < delivery->count; i++) {
		const struct mr_feed_item *item = &delivery->arrivals[i].item;

		check(delivery->arrivals[i].owner == worker, "a delivery at the wrong worker");
		check(item->entry.offset == worker->heard, "a parcel was lost, doubled or moved");
		check((item->batches != NULL) == (worker->heard % 2 == 0), "of the wrong kind");
		check(!item->batches || is_whole(item), "batches were changed");
		worker->heard++;
	}
}

static void take(struct worker *worker, struct mr_feed_mail *mail)
{
	struct mr_feed_delivery *delivery = (struct mr_feed_delivery *)(void *)mail;

	if (mail->kind == MR_MAIL_PARCEL) {
		struct mr_feed_parcel *parcel = (struct mr_feed_parcel *)(void *)mail;

		check(parcel->status == 0, "a parcel was not sent");
		worker->out[parcel - worker->parcels] = false;
		memset(worker->bytes[parcel - worker->parcels], 0xdd, BATCH_BYTES_MAX);
		worker->back++;
		return;
	}
	if (delivery->what == MR_DELIVERY_CONNECTED)
		worker->connection = delivery->connection;
	check(delivery->what != MR_DELIVERY_DISCONNECTED || done >= 2 * (WORKERS + 1),
	      "the connection ended");
	if (delivery->what == MR_DELIVERY_ARRIVALS)
		take_arrivals(worker, delivery);
	mr_feed_port_return(worker->port, delivery);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	bool counted = false;
	uint32_t looks = 0;

	while (done < 2 * (WORKERS + 1)) {
		struct pollfd bell = {.fd = mr_feed_port_fd(worker->port), .events = POLLIN};
		struct mr_feed_mail *mail;

		while ((mail = mr_feed_port_receive(worker->port)))
			take(worker, mail);
		send_some(worker);
		if (!counted && worker->back == PARCELS && worker->heard == PARCELS) {
			counted = true;
			done++;
		}
		if (mr_feed_port_sleep(worker->port, looks++ % 2))
			(void)poll(&bell, 1, 10);
		mr_feed_port_wake(worker->port);
	}
	return NULL;
}

/* ---- control ---- */

static void say(struct side *side)
{
	char text[32];
	int count = snprintf(text, sizeof(text), "%u", side->notices_sent);
	static const uint8_t elsewhere[16] = {0xee};

	if (mr_feed_notify(side->feed, MR_NODE_NONE, text, (size_t)count) < 0)
		return;
	side->notices_sent++;
	if (side->notices_sent % 10 == 0) {
		check(mr_feed_route(side->feed, elsewhere, 0, 0, side) == 0, "route");
		check(mr_feed_unroute(side->feed, elsewhere, 0) == 0, "unroute");
	}
}

static bool hear(struct side *side)
{
	struct mr_feed_event event = mr_feed_take(side->feed);

	if (event.kind == MR_FEED_EVENT_CONNECTED)
		side->connected = true;
	if (event.kind == MR_FEED_EVENT_UNROUTED)
		side->unrouted++;
	if (event.kind == MR_FEED_EVENT_NOTICE)
		check(strtoul(event.text, NULL, 10) == side->notices_heard++,
		      "a notice was lost, doubled or moved");
	free(event.text);
	return event.kind != MR_FEED_EVENT_NOTHING;
}

static void *control(void *arg)
{
	struct side *side = arg;
	bool counted = false;

	while (done < 2 * (WORKERS + 1)) {
		struct pollfd bell = {.fd = mr_feed_fd(side->feed), .events = POLLIN};
		struct mr_feed_peer_status status[1];

		while (hear(side))
			;
		if (side->connected && side->notices_sent < NOTICES)
			say(side);
		check(mr_feed_peers(side->feed, status, 1) == 1, "peers");
		if (!counted && side->notices_heard == NOTICES && side->notices_sent == NOTICES &&
		    side->unrouted == NOTICES / 10) {
			counted = true;
			done++;
		}
		if (mr_feed_sleep(side->feed))
			(void)poll(&bell, 1, side->notices_sent < NOTICES ? 1 : 10);
		mr_feed_wake(side->feed);
	}
	return NULL;
}

/* ---- both ---- */

static void start(uint32_t node, uint64_t incarnation)
{
	static const struct mr_place_entry nowhere;
	static const char *const names[] = {"a", "b"};
	struct side *side = &sides[node];
	char address[32];
	struct mr_feed_peer_options peer = {
		.node = !node, .name = names[!node], .address = address};
	struct mr_feed_options options = {.place = &nowhere,
					  .clock = &mr_clock_system,
					  .node = node,
					  .name = names[node],
					  .listen = "127.0.0.1:0",
					  .incarnation = incarnation,
					  .peers = &peer,
					  .peer_count = 1,
					  .worker_count = WORKERS};
	struct mr_error err;

	*side = (struct side){.node = node};
	snprintf(address, sizeof(address), "127.0.0.1:%u",
		 node ? 1u : mr_feed_listens_at(sides[1].feed));
	if (mr_feed_start(&options, &side->feed, &err) < 0)
		die(err.what);
	for (uint32_t i = 0; i < WORKERS; i++) {
		uint8_t topic_id[16] = {(uint8_t)i};

		side->workers[i] = (struct worker){
			.side = side, .port = mr_feed_port(side->feed, i), .number = i};
		check(mr_feed_route(side->feed, topic_id, 0, i, &side->workers[i]) == 0, "route");
	}
}

static void run(struct side *side)
{
	for (uint32_t i = 0; i < WORKERS; i++)
		pthread_create(&side->workers[i].thread, NULL, work, &side->workers[i]);
	pthread_create(&side->control, NULL, control, side);
}

static void join(struct side *side)
{
	for (uint32_t i = 0; i < WORKERS; i++)
		pthread_join(side->workers[i].thread, NULL);
	pthread_join(side->control, NULL);
}

int main(void)
{
	for (uint32_t round = 0; round < ROUNDS; round++) {
		done = 0;
		start(1, 1 + round);
		start(0, 1 + round);
		run(&sides[0]);
		run(&sides[1]);
		join(&sides[0]);
		join(&sides[1]);
		mr_feed_stop(sides[round % 2].feed);
		mr_feed_stop(sides[!(round % 2)].feed);
	}
	printf("feed: %u parcels and %u notices both ways\n", ROUNDS * WORKERS * PARCELS,
	       ROUNDS * NOTICES);
	return 0;
}
