/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's threads against each other, for ThreadSanitizer: two producers and a consumer, each
 * on a thread of its own over one connection, while the engine dies and comes back, often with
 * records in no log. Exit 0: every record is read once, in its producer's order.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_engine.h"
#include "millrace.h"

#define PRODUCERS 2
#define RECORDS	  20000u
#define RESTARTS  12

struct value {
	uint32_t producer;
	uint32_t number;
};

static struct fake_log fake_log;
static struct fake_knobs knobs;
static struct mr_connection *connection;
static _Atomic uint32_t published;

static void die(const char *what, const struct mr_error *err)
{
	fprintf(stderr, "client: %s: %s %s\n", what, err ? err->what : "", err ? err->why : "");
	exit(1);
}

static void put(struct mr_producer *producer, uint32_t id, uint32_t number)
{
	struct value value = {.producer = id, .number = number};
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES, .value = &value, .value_bytes = sizeof(value)};
	struct mr_error err;
	int r;

	do
		r = mr_producer_put(producer, &record);
	while (r == -EAGAIN);
	if (r < 0) {
		mr_producer_error(producer, &err);
		die("put", &err);
	}
	published++;
}

static void *produce(void *arg)
{
	struct mr_producer_options options = {.size = sizeof(options),
					      .topic = "demo",
					      .lane_bytes = 1 << 14,
					      .full_wait_ms = 1000};
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_producer *producer;
	struct mr_receipt receipts[64];
	struct mr_error err;

	if (mr_producer_open(connection, &options, &producer, &err) < 0)
		die("open a producer", &err);
	for (uint32_t i = 0; i < RECORDS; i++) {
		put(producer, *(uint32_t *)arg, i);
		if (i % 64 == 0)
			(void)mr_producer_receipts(producer, receipts,
						   64); /* other tests look into them */
		if (i % 1000 == 0 && mr_producer_state(producer, &state) < 0)
			die("state", NULL);
	}
	if (mr_producer_close(producer, 20000) < 0)
		die("close", NULL);
	return NULL;
}

static void *consume(void *arg)
{
	struct mr_consumer_options options = {.size = sizeof(options), .topic = "demo"};
	uint32_t next[PRODUCERS] = {0};
	const struct mr_message *messages;
	struct mr_consumer *consumer;
	struct mr_error err;
	uint64_t offset = 0;

	if (mr_consumer_open(connection, &options, &consumer, &err) < 0)
		die("open a consumer", &err);
	while (offset < PRODUCERS * RECORDS) {
		int count = mr_consumer_poll(consumer, 20000, &messages);

		if (count <= 0) {
			mr_consumer_error(consumer, &err);
			die("poll", &err);
		}
		for (int i = 0; i < count; i++) {
			struct value value;

			memcpy(&value, messages[i].value, sizeof(value));
			if (messages[i].offset != offset++ || value.producer >= PRODUCERS ||
			    value.number != next[value.producer]++)
				die("a record was lost, repeated or moved", NULL);
		}
	}
	mr_consumer_close(consumer);
	return arg;
}

int main(void)
{
	struct mr_connect_options options = {.size = sizeof(options)};
	char path[] = "/tmp/mr-threads-XXXXXX";
	pthread_t producers[PRODUCERS], consumer;
	uint32_t ids[PRODUCERS];
	struct fake_engine *engine;
	struct mr_error err;

	close(mkstemp(path));
	options.socket_path = path;
	fake_log_init(&fake_log, 1, 1 << 18, 1 << 20);
	engine = fake_engine_start(&fake_log, &knobs, path);
	if (mr_connect(&options, &connection, &err) < 0)
		die("connect", &err);
	pthread_create(&consumer, NULL, consume, NULL);
	for (uint32_t i = 0; i < PRODUCERS; i++) {
		ids[i] = i;
		pthread_create(&producers[i], NULL, produce, &ids[i]);
	}
	for (int i = 0; i < RESTARTS; i++) {
		while (published < (uint32_t)i * PRODUCERS * RECORDS / (RESTARTS + 2))
			usleep(1000);
		knobs.hold_flush = i % 3 != 0;
		usleep(2000);
		fake_engine_kill(engine);
		knobs.hold_flush = false;
		usleep(i % 2 ? 0 : 15000);
		engine = fake_engine_start(&fake_log, &knobs, path);
	}
	for (uint32_t i = 0; i < PRODUCERS; i++)
		pthread_join(producers[i], NULL);
	pthread_join(consumer, NULL);
	mr_disconnect(connection);
	fake_engine_kill(engine);
	fake_log_free(&fake_log);
	unlink(path);
	printf("client: %u records through %d engines\n", PRODUCERS * RECORDS, RESTARTS + 1);
	return 0;
}
