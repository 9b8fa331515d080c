/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of connections and producers: what was published is acknowledged once and in
 * order, also across engines; nobody waits longer than was said; the wrong thread and a child of
 * the process are told so.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "deadline.h"
#include "fake_engine.h"
#include "millrace.h"

/* A machine that stands still so long is no fault: what must not wait would wait for longer. */
#define STALL_MS 1000u

static struct fake_log fake_log;
static struct fake_knobs knobs;
static struct fake_engine *engine;
static struct mr_connection *connection;
static struct mr_error err;
static char path[64];

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void connect_to_engine(void)
{
	struct mr_connect_options options = {
		.size = sizeof(options), .socket_path = path, .timeout_ms = 2000};

	cr_assert_eq(mr_connect(&options, &connection, &err), 0, "%s", err.what);
}

static void begin(uint32_t partitions)
{
	char directory[] = "/tmp/mr-client-XXXXXX";

	cr_assert(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/sock", directory);
	fake_log_init(&fake_log, partitions, 1 << 18, 1 << 20);
	engine = fake_engine_start(&fake_log, &knobs, path);
	connect_to_engine();
}

static void end(void)
{
	mr_disconnect(connection);
	if (engine)
		fake_engine_kill(engine);
	fake_log_free(&fake_log);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void restart(void)
{
	fake_engine_kill(engine);
	engine = fake_engine_start(&fake_log, &knobs, path);
}

static struct mr_producer *open_producer(int32_t partition, uint32_t lane_bytes,
					 uint32_t full_wait_ms)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = "demo",
		.partition = partition,
		.lane_bytes = lane_bytes,
		.full_wait_ms = full_wait_ms,
	};
	struct mr_producer *producer;

	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), 0, "%s", err.what);
	return producer;
}

static struct mr_record text_record(const char *text)
{
	return (struct mr_record){
		.key_bytes = MR_NULL_BYTES,
		.value = text,
		.value_bytes = (int32_t)strlen(text),
		.timestamp_ms = 1000,
	};
}

static struct mr_producer_state state_of(struct mr_producer *producer)
{
	struct mr_producer_state state = {.size = sizeof(state)};

	cr_assert_eq(mr_producer_state(producer, &state), 0);
	return state;
}

/* ---- connecting --------------------------------------------------------------------------------
 */

Test(producer, no_engine_is_named_with_the_place)
{
	struct mr_connect_options options = {.size = sizeof(options),
					     .socket_path = "/tmp/mr-nobody-is-here.sock"};

	cr_assert_eq(mr_connect(&options, &connection, &err), -ENOENT);
	cr_assert(strstr(err.what, "/tmp/mr-nobody-is-here.sock"));
	cr_assert_str_not_empty(err.why);
	cr_assert_str_not_empty(err.hint);
	options.size = sizeof(options) + 8;
	cr_assert_eq(mr_connect(&options, &connection, &err), -EINVAL);
}

Test(producer, a_dead_engine_refuses_and_a_silent_one_is_given_up)
{
	struct mr_connect_options options = {
		.size = sizeof(options), .socket_path = path, .timeout_ms = 100};
	uint64_t before;

	begin(1);
	mr_disconnect(connection);
	knobs.mute = true;
	before = now_ms();
	cr_assert_eq(mr_connect(&options, &connection, &err), -ETIMEDOUT);
	cr_assert_lt(now_ms() - before, STALL_MS + 200);
	fake_engine_kill(engine);
	engine = NULL;
	cr_assert_eq(mr_connect(&options, &connection, &err), -ECONNREFUSED);
	connection = NULL;
	end();
}

Test(producer, hello_and_the_administrators_answer_come_whole)
{
	struct mr_hello_reply hello;
	char *reply;

	begin(1);
	mr_connection_engine(connection, &hello);
	cr_assert_str_eq(hello.engine_version, "fake");
	cr_assert_eq(mr_connection_admin(connection, "{\"do\": 1}]", &reply, &err), 0);
	cr_assert_str_eq(reply, "[{\"do\": 1}]");
	free(reply);
	end();
}

/* A topic of hundreds of partitions was called a failure, and was there a moment later. */
Test(producer, an_engine_at_work_is_waited_for)
{
	struct mr_connect_options options = {
		.size = sizeof(options), .socket_path = path, .timeout_ms = 1000};
	struct mr_open_topic ask = {.name = "demo"};
	struct mr_packet packet;
	uint64_t before;
	char *reply;

	begin(1);
	mr_disconnect(connection);
	cr_assert_eq(mr_connect(&options, &connection, &err), 0, "%s", err.what);
	knobs.signs = 50; /* 1500 ms */
	before = now_ms();
	cr_assert_eq(mr_connection_admin(connection, "1]", &reply, &err), 0, "%s", err.what);
	cr_assert_geq(now_ms() - before, 1400);
	free(reply);
	cr_assert_eq(mr_connection_call(connection, MR_MESSAGE_OPEN_TOPIC, &ask, sizeof(ask), NULL,
					0, &packet, &err),
		     0, "%s", err.what);
	/* a caller who says how long he waits waits no longer */
	before = now_ms();
	cr_assert_eq(mr_connection_ask(connection, MR_MESSAGE_OPEN_TOPIC, &ask, sizeof(ask),
				       sizeof(struct mr_topic_reply), 0, mr_deadline_after(100),
				       &packet, &err),
		     -ETIMEDOUT);
	cr_assert_lt(now_ms() - before, STALL_MS + 300);
	/* and who works no more is given up */
	knobs.signs = 0;
	knobs.mute = true;
	cr_assert_eq(mr_connection_admin(connection, "1]", &reply, &err), -ETIMEDOUT);
	end();
}

Test(producer, disconnecting_takes_nothing)
{
	mr_disconnect(NULL);
	cr_assert_eq(mr_producer_close(NULL, 0), 0);
	mr_consumer_close(NULL);
}

/* ---- publishing --------------------------------------------------------------------------------
 */

Test(producer, what_is_put_is_acknowledged_with_its_offsets)
{
	struct mr_record record = text_record("hello");
	struct mr_receipt receipts[16];
	struct mr_producer *producer;
	uint64_t next = 0;
	int count;

	begin(1);
	producer = open_producer(0, 0, 0);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(mr_producer_put(producer, &record), 0);
	cr_assert_eq(mr_producer_flush(producer, 2000), 0);
	cr_assert_eq(state_of(producer).published, 10);
	cr_assert_eq(state_of(producer).acknowledged, 10);
	cr_assert_eq(state_of(producer).lost, 0);
	while ((count = mr_producer_receipts(producer, receipts, 16)) > 0)
		for (int i = 0; i < count; i++) {
			cr_assert_eq(receipts[i].first, next);
			cr_assert_eq(receipts[i].base_offset, next);
			cr_assert_eq(receipts[i].partition, 0);
			next += receipts[i].count;
		}
	cr_assert_eq(next, 10);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 10);
	end();
}

Test(producer, many_are_taken_as_far_as_they_fit)
{
	static char value[1000];
	struct mr_record records[100];
	struct mr_producer *producer;
	int taken;

	begin(1);
	producer = open_producer(0, 16384, 0);
	for (int i = 0; i < 100; i++)
		records[i] =
			(struct mr_record){.key_bytes = -1, .value = value, .value_bytes = 1000};
	cr_assert_eq(mr_producer_put_many(producer, records, 0), 0);
	knobs.hold_drain = true;
	taken = mr_producer_put_many(producer, records, 100);
	cr_assert_eq(taken, 15); /* 1,032 bytes each; the ring keeps one slot free */
	cr_assert_eq(mr_producer_put_many(producer, records, 100), -EAGAIN);
	cr_assert_eq(state_of(producer).full, 2);
	mr_producer_error(producer, &err);
	cr_assert_eq(err.code, -EAGAIN);
	cr_assert(strstr(err.why, "15 records"));
	cr_assert_str_not_empty(err.hint);
	knobs.hold_drain = false;
	cr_assert_eq(mr_producer_flush(producer, 2000), 0);
	cr_assert_eq(mr_producer_put_many(producer, records, 3), 3);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 18);
	end();
}

Test(producer, what_is_reserved_does_not_exist_until_it_is_published)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;
	void *value;

	begin(1);
	producer = open_producer(0, 0, 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(mr_producer_reserve(producer, "k", 1, 5, 1, &value), 0);
		memcpy(value, "12345", 5);
	}
	cr_assert_eq(mr_producer_put(producer, &record), -EINVAL, "it would publish the others");
	cr_assert_eq(state_of(producer).published, 0);
	cr_assert_eq(mr_producer_abandon(producer), 3);
	cr_assert_eq(mr_producer_abandon(producer), 0);
	cr_assert_eq(mr_producer_publish(producer), 0);
	cr_assert_eq(mr_producer_reserve(producer, NULL, -1, 1, 1, &value), 0);
	memcpy(value, "y", 1);
	cr_assert_eq(mr_producer_publish(producer), 1);
	cr_assert_eq(mr_producer_reserve(producer, NULL, -1, 1, 1, &value), 0);
	cr_assert_eq(mr_producer_close(producer, 2000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 1);
	end();
}

Test(producer, nonsense_is_refused_with_a_sentence)
{
	struct mr_header header = {.name = NULL, .name_bytes = 3};
	struct mr_record bad[] = {
		{.key_bytes = -2},
		{.key_bytes = -1, .value_bytes = -2},
		{.key_bytes = 4},
		{.key_bytes = -1, .value_bytes = 4},
		{.key_bytes = -1, .value_bytes = -1, .reserved = 1},
		{.key_bytes = -1, .value_bytes = -1, .header_count = 1},
		{.key_bytes = -1, .value_bytes = -1, .header_count = 1, .headers = &header},
		{.key_bytes = -1, .value_bytes = -1, .header_count = 70000, .headers = &header},
	};
	struct mr_record huge = {.key_bytes = -1, .value = path, .value_bytes = 1 << 20};
	struct mr_producer *producer;
	void *value;

	begin(1);
	producer = open_producer(0, 0, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(mr_producer_put(producer, &bad[i]), -EINVAL, "record %zu", i);
		mr_producer_error(producer, &err);
		cr_assert_str_not_empty(err.what);
	}
	cr_assert_eq(mr_producer_put(producer, &huge), -EMSGSIZE);
	mr_producer_error(producer, &err);
	cr_assert(strstr(err.what, "8192"), "%s", err.what);
	cr_assert_eq(mr_producer_reserve(producer, NULL, -1, UINT32_MAX, 0, &value), -EMSGSIZE);
	cr_assert_eq(mr_producer_reserve(producer, NULL, 5, 1, 0, &value), -EINVAL);
	cr_assert_eq(state_of(producer).published, 0);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

Test(producer, options_are_checked)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = "demo"};
	struct mr_producer *producer;

	begin(2);
	cr_assert_eq(mr_producer_open(connection, NULL, &producer, &err), -EINVAL);
	options.partition = 2;
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), -ERANGE);
	cr_assert(strstr(err.what, "it has 2"));
	options.partition = -2;
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), -ERANGE);
	options.partition = 0;
	options.acks = 9;
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), -EINVAL);
	options.acks = 0;
	options.topic = "";
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), -EINVAL);
	options.topic = "demo";
	knobs.topic_gone = true;
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), -ENOENT);
	cr_assert_str_eq(err.hint, "ask somebody else", "the engine's own words arrive");
	end();
}

Test(producer, keys_go_where_kafka_puts_them_and_others_go_round)
{
	struct mr_producer *producer;
	struct mr_receipt receipts[64];
	uint64_t by_key[3] = {0}, counts[3] = {0};
	int got = 0;
	char key[8];

	begin(3);
	producer = open_producer(MR_PARTITION_BY_KEY, 0, 0);
	for (int i = 0; i < 60; i++) {
		struct mr_record record = text_record("v");

		record.key = key;
		record.key_bytes = snprintf(key, sizeof(key), "key%d", i);
		by_key[mr_partition_of_key(key, (size_t)record.key_bytes, 3)]++;
		cr_assert_eq(mr_producer_put(producer, &record), 0);
	}
	for (int i = 0; i < 6; i++) { /* two rounds of four records each */
		struct mr_record run[4] = {text_record("a"), text_record("b"), text_record("c"),
					   text_record("d")};

		cr_assert_eq(mr_producer_put_many(producer, run, 4), 4);
	}
	cr_assert_eq(mr_producer_flush(producer, 2000), 0);
	for (int r; (r = mr_producer_receipts(producer, receipts, 64)) > 0;)
		for (int i = 0; i < r; i++, got++)
			counts[receipts[i].partition] += receipts[i].count;
	for (int p = 0; p < 3; p++) {
		cr_assert_eq(fake_log.partitions[p].offset, by_key[p] + 8);
		cr_assert_eq(counts[p], by_key[p] + 8);
	}
	cr_assert_eq(state_of(producer).published, 84);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

Test(producer, a_flush_ends_when_it_was_told)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;
	uint64_t before;

	begin(1);
	producer = open_producer(0, 0, 0);
	knobs.hold_flush = true;
	cr_assert_eq(mr_producer_flush(producer, 0), 0, "nothing was published");
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	before = now_ms();
	cr_assert_eq(mr_producer_flush(producer, 120), -ETIMEDOUT);
	cr_assert_geq(now_ms() - before, 119);
	cr_assert_leq(now_ms() - before, STALL_MS + 160);
	mr_producer_error(producer, &err);
	cr_assert(strstr(err.what, "1 records"));
	before = now_ms();
	cr_assert_eq(mr_producer_close(producer, 50), -ETIMEDOUT);
	cr_assert_leq(now_ms() - before, STALL_MS + 120);
	end();
}

Test(producer, a_full_lane_is_waited_for_as_long_as_was_said)
{
	static char value[1000];
	struct mr_record record = {.key_bytes = -1, .value = value, .value_bytes = 1000};
	struct mr_producer *producer;
	uint64_t before;

	begin(1);
	producer = open_producer(0, 4096, 150);
	knobs.hold_drain = true;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(mr_producer_put(producer, &record), 0);
	before = now_ms();
	cr_assert_eq(mr_producer_put(producer, &record), -EAGAIN);
	cr_assert_geq(now_ms() - before, 149);
	cr_assert_leq(now_ms() - before, STALL_MS + 200);
	knobs.hold_drain = false;
	for (int i = 0; i < 500; i++)
		cr_assert_eq(mr_producer_put(producer, &record), 0);
	cr_assert_eq(mr_producer_close(producer, 2000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 503);
	end();
}

Test(producer, waiting_for_what_only_we_reserved_is_not_begun)
{
	struct mr_producer *producer;
	uint64_t before = now_ms();
	void *value;
	int r = 0;

	begin(1);
	producer = open_producer(0, 4096, 5000);
	while (r == 0)
		r = mr_producer_reserve(producer, NULL, -1, 1000, 0, &value);
	cr_assert_eq(r, -EAGAIN);
	cr_assert_lt(now_ms() - before, STALL_MS + 1000);
	cr_assert_eq(mr_producer_publish(producer), 3);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

Test(producer, a_sleeping_worker_is_rung_and_rings_back)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;
	uint64_t before;

	begin(1);
	producer = open_producer(0, 0, 0);
	knobs.idle_ms = 3000;
	usleep(20000);
	before = now_ms();
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(mr_producer_put(producer, &record), 0);
		cr_assert_eq(mr_producer_flush(producer, 4000), 0);
	}
	cr_assert_lt(now_ms() - before, 900, "20 round trips took %" PRIu64 " ms",
		     now_ms() - before);
	cr_assert_gt(knobs.rings, 0);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	knobs.idle_ms = 1;
	end();
}

/* ---- the engine comes and goes -----------------------------------------------------------------
 */

Test(producer, what_was_published_before_a_restart_is_there_once_after_it)
{
	struct mr_producer *producer;
	struct mr_receipt receipts[300];
	uint64_t covered = 0;
	char text[16];
	int count;

	begin(1);
	producer = open_producer(0, 0, 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++) {
			struct mr_record record;

			snprintf(text, sizeof(text), "%d", round * 100 + i);
			record = text_record(text);
			cr_assert_eq(mr_producer_put(producer, &record), 0);
			knobs.hold_flush = i >= 50; /* half of them are in no log when it dies */
		}
		usleep(round % 2 ? 3000 : 40000);
		fake_engine_kill(engine);
		for (int i = 0; i < 20; i++) {
			struct mr_record record = text_record("without an engine");

			cr_assert_eq(mr_producer_put(producer, &record), 0);
		}
		knobs.hold_flush = false;
		engine = fake_engine_start(&fake_log, &knobs, path);
	}
	cr_assert_eq(mr_producer_flush(producer, 3000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 600);
	cr_assert_eq(state_of(producer).acknowledged, 600);
	cr_assert_geq(state_of(producer).hand_backs, 1,
		      "some engines died before they had the lane");
	cr_assert_leq(state_of(producer).hand_backs, 5);
	cr_assert_eq(state_of(producer).lost, 0);
	while ((count = mr_producer_receipts(producer, receipts, 300)) > 0)
		for (int i = 0; i < count; i++) {
			cr_assert_eq(receipts[i].first, covered);
			cr_assert(receipts[i].base_offset == covered ||
				  receipts[i].base_offset == MR_OFFSET_UNKNOWN);
			covered += receipts[i].count;
		}
	cr_assert_eq(covered, 600);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

struct restarter {
	pthread_t thread;
	uint32_t after_ms;
};

static void *restart_later(void *arg)
{
	struct restarter *restarter = arg;

	usleep(restarter->after_ms * 1000);
	fake_engine_kill(engine);
	usleep(30000);
	knobs.hold_drain = knobs.hold_flush = false;
	engine = fake_engine_start(&fake_log, &knobs, path);
	return NULL;
}

Test(producer, a_flush_and_a_full_wait_notice_the_next_engine)
{
	static char value[1000];
	struct mr_record record = {.key_bytes = -1, .value = value, .value_bytes = 1000};
	struct restarter restarter = {.after_ms = 50};
	struct mr_producer *producer;
	uint64_t before;

	begin(1);
	producer = open_producer(0, 4096, 5000);
	for (int round = 0; round < 2; round++) {
		knobs.hold_drain = true;
		for (int i = 0; i < 3; i++)
			cr_assert_eq(mr_producer_put(producer, &record), 0);
		before = now_ms();
		pthread_create(&restarter.thread, NULL, restart_later, &restarter);
		if (round == 0)
			cr_assert_eq(mr_producer_flush(producer, 5000), 0);
		else
			cr_assert_eq(mr_producer_put(producer, &record), 0);
		cr_assert_lt(now_ms() - before, STALL_MS + 600);
		pthread_join(restarter.thread, NULL);
		cr_assert_eq(mr_producer_flush(producer, 5000), 0);
	}
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	cr_assert_eq(fake_log.partitions[0].offset, 7);
	end();
}

Test(producer, weaker_lanes_are_told_what_they_lost)
{
	struct mr_producer_options options = {
		.size = sizeof(options), .topic = "demo", .acks = MR_ACKS_MEMORY};
	struct mr_record record = text_record("x");
	struct mr_producer *producer;

	begin(1);
	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), 0);
	for (int i = 1; i <= 2; i++) {
		restart();
		while (state_of(producer).hand_backs < (uint64_t)i)
			usleep(1000);
		cr_assert_eq(state_of(producer).lost, 3u * (uint32_t)i);
	}
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

Test(producer, a_refused_hand_back_poisons_with_the_engines_words)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;
	int r = 0;

	begin(1);
	producer = open_producer(0, 0, 0);
	knobs.hold_drain = true;
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	knobs.refuse = -EKEYREJECTED;
	restart();
	cr_assert_eq(mr_producer_flush(producer, 5000), -EPIPE);
	mr_producer_error(producer, &err);
	cr_assert_eq(err.code, -EPIPE);
	cr_assert(strstr(err.what, "the lane's seal is broken"), "%s", err.what);
	r = mr_producer_put(producer, &record);
	cr_assert_eq(r, -EPIPE);
	cr_assert_eq(state_of(producer).published, 1);
	cr_assert_eq(mr_producer_close(producer, 100), -EPIPE);
	knobs.hold_drain = false;
	producer = open_producer(0, 0, 0);
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	cr_assert_eq(mr_producer_close(producer, 1000), 0);
	end();
}

Test(producer, another_data_directory_takes_no_lanes)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;

	begin(1);
	producer = open_producer(0, 0, 0);
	knobs.hold_drain = true;
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	fake_engine_kill(engine);
	fake_log.log_id[0] ^= 1;
	engine = fake_engine_start(&fake_log, &knobs, path);
	cr_assert_eq(mr_producer_flush(producer, 5000), -EPIPE);
	mr_producer_error(producer, &err);
	cr_assert(strstr(err.what, "another data directory"), "%s", err.what);
	cr_assert_eq(mr_producer_close(producer, 100), -EPIPE);
	end();
}

Test(producer, the_engines_reason_for_closing_a_lane_is_told)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer;

	begin(1);
	producer = open_producer(0, 0, 0);
	knobs.hold_drain = true;
	usleep(20000);
	cr_assert_eq(mr_producer_put(producer, &record), 0);
	mr_lane_poison(&engine->lanes[0].reader, MR_LANE_TOPIC_DELETED, "topic 'demo' was deleted");
	cr_assert_eq(mr_producer_put(producer, &record), -EPIPE);
	mr_producer_error(producer, &err);
	cr_assert_str_eq(err.why, "topic 'demo' was deleted");
	cr_assert_eq(mr_producer_flush(producer, 1000), -EPIPE);
	/* nobody asks the next engine to take a closed lane: the reason stands */
	knobs.refuse = -EIO;
	restart();
	usleep(100000);
	cr_assert_eq(mr_producer_put(producer, &record), -EPIPE);
	mr_producer_error(producer, &err);
	cr_assert_str_eq(err.why, "topic 'demo' was deleted");
	cr_assert_eq(mr_producer_close(producer, 100), -EPIPE);
	end();
}

Test(producer, calls_without_an_engine_say_so_and_end)
{
	struct mr_record record = text_record("x");
	struct mr_producer *producer, *other;
	struct mr_producer_options options = {.size = sizeof(options), .topic = "demo"};
	struct mr_packet reply;
	uint64_t before;

	begin(1);
	producer = open_producer(0, 0, 0);
	fake_engine_kill(engine);
	engine = NULL;
	cr_assert_eq(mr_producer_put(producer, &record), 0, "the lane still has room");
	before = now_ms();
	cr_assert_eq(mr_producer_flush(producer, 100), -ETIMEDOUT);
	cr_assert_lt(now_ms() - before, STALL_MS + 150);
	mr_producer_error(producer, &err);
	cr_assert_str_eq(err.why, "there is no engine at the moment");
	cr_assert_eq(mr_connection_call(connection, MR_MESSAGE_OPEN_TOPIC, NULL, 0, NULL, 0, &reply,
					&err),
		     -EPIPE);
	cr_assert(strstr(err.what, path));
	before = now_ms();
	cr_assert_eq(mr_producer_open(connection, &options, &other, &err), -EPIPE);
	cr_assert_leq(now_ms() - before, STALL_MS + 2200,
		      "opening waits for an engine, but not for ever");
	before = now_ms();
	cr_assert_eq(mr_producer_close(producer, 0), -ETIMEDOUT);
	cr_assert_lt(now_ms() - before, STALL_MS + 60);
	before = now_ms();
	end();
	cr_assert_lt(now_ms() - before, STALL_MS + 100,
		     "the connection's thread leaves its back-off at once");
}

/* ---- threads and forks -------------------------------------------------------------------------
 */

struct handles {
	struct mr_producer *producer;
	struct mr_consumer *consumer;
	bool adopt;
	int results[16];
	int count;
};

static void *use_handles(void *arg)
{
	struct handles *h = arg;
	struct mr_record record = text_record("x");
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_consumer_position position = {.size = sizeof(position)};
	const struct mr_message *messages;
	struct mr_receipt receipt;
	void *value;

	if (h->adopt) {
		h->results[h->count++] = mr_producer_adopt(h->producer);
		h->results[h->count++] = mr_consumer_adopt(h->consumer);
	}
	h->results[h->count++] = mr_producer_put(h->producer, &record);
	h->results[h->count++] = mr_producer_state(h->producer, &state);
	if (h->adopt)
		return NULL;
	h->results[h->count++] = mr_producer_put_many(h->producer, &record, 1);
	h->results[h->count++] = mr_producer_reserve(h->producer, NULL, -1, 1, 0, &value);
	h->results[h->count++] = mr_producer_publish(h->producer);
	h->results[h->count++] = mr_producer_abandon(h->producer);
	h->results[h->count++] = mr_producer_receipts(h->producer, &receipt, 1);
	h->results[h->count++] = mr_producer_flush(h->producer, 1000);
	h->results[h->count++] = mr_producer_close(h->producer, 1000);
	h->results[h->count++] = mr_consumer_poll(h->consumer, 1000, &messages);
	h->results[h->count++] = mr_consumer_poll_in_place(h->consumer, 1000, &messages);
	h->results[h->count++] = mr_consumer_release(h->consumer);
	h->results[h->count++] = mr_consumer_seek(h->consumer, 0, 0);
	h->results[h->count++] = mr_consumer_commit(h->consumer, 1000);
	h->results[h->count++] = mr_consumer_position(h->consumer, 0, &position);
	h->results[h->count++] = mr_consumer_partition_count(h->consumer);
	return NULL;
}

static void open_both(struct handles *h)
{
	struct mr_consumer_options options = {.size = sizeof(options), .topic = "demo"};

	memset(h, 0, sizeof(*h));
	h->producer = open_producer(0, 0, 0);
	cr_assert_eq(mr_consumer_open(connection, &options, &h->consumer, &err), 0, "%s", err.what);
}

Test(producer, another_thread_is_refused_until_it_adopts)
{
	struct handles h;
	pthread_t thread;

	begin(1);
	open_both(&h);
	pthread_create(&thread, NULL, use_handles, &h);
	pthread_join(thread, NULL);
	cr_assert_eq(h.count, 16);
	for (int i = 0; i < h.count; i++)
		cr_assert_eq(h.results[i], -EPERM, "call %d gave %d", i, h.results[i]);
	h.adopt = true;
	h.count = 0;
	pthread_create(&thread, NULL, use_handles, &h);
	pthread_join(thread, NULL);
	for (int i = 0; i < h.count; i++)
		cr_assert_eq(h.results[i], 0);
	mr_producer_error(h.producer, &err);
	cr_assert_eq(err.code, -EPERM, "it belongs to the other thread now");
	cr_assert_eq(mr_producer_adopt(h.producer), 0);
	cr_assert_eq(mr_consumer_adopt(h.consumer), 0);
	cr_assert_eq(mr_producer_close(h.producer, 1000), 0);
	mr_consumer_close(h.consumer);
	end();
}

/* Exit code 0: all went as it must in a child. */
static int use_in_child(struct handles *h)
{
	struct mr_packet reply;

	use_handles(h);
	for (int i = 0; i < h->count; i++)
		if (h->results[i] != -EPERM)
			return 1;
	if (mr_producer_adopt(h->producer) != -EPERM || mr_consumer_adopt(h->consumer) != -EPERM)
		return 2;
	if (mr_connection_call(connection, MR_MESSAGE_HELLO, NULL, 0, NULL, 0, &reply, NULL) !=
	    -EPERM)
		return 3;
	mr_consumer_close(h->consumer);
	mr_disconnect(connection);
	connect_to_engine(); /* a child connects anew */
	open_both(h);
	use_handles(h);
	return h->results[0] == 0 ? 0 : 4;
}

Test(producer, a_child_is_refused_and_does_no_harm)
{
	struct mr_record record = text_record("x");
	struct handles h;
	int status;
	pid_t child;

	begin(1);
	open_both(&h);
	child = fork();
	if (child == 0)
		_exit(use_in_child(&h));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(mr_producer_put(h.producer, &record), 0, "the parent goes on");
	cr_assert_eq(mr_producer_close(h.producer, 1000), 0);
	mr_consumer_close(h.consumer);
	end();
}
