/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one record costs in instructions, stage by stage. Run under valgrind --tool=callgrind by
 * instructions.py, which reads the counts: each stage is counted alone and dumped under its name.
 * One thread does the producer's, the worker's and the consumer's part in turn, through the real
 * code; the disk swallows what it gets. Run by itself it only does the work, which proves nothing.
 *
 *	put	the producer's call: mr_producer_put_many() and all below it
 *	lane	the part of it that a lane does: reserve, copy the value, publish
 *	drain	the worker's: lane to batch to tail, checks and checksums, the answer
 *	close	the worker's: the group is closed, handed over, counted as flushed
 *	place	the consumer's: records out of the tail in place, as messages
 *	copy	the same with a copy
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "check.h"
#include "drain_rig.h"
#include "fake_engine.h"
#include "source.h"

#define LANE_BYTES    (1u << 20)
#define TAIL_BYTES    (8u << 20)
#define GROUP_BYTES   (256u << 10)
#define SEGMENT_BYTES (256u << 20)
#define RECORDS	      512u /* published before a drain where much is waiting */
#define SLEEP_MS      1000 /* of the engine, where no bell wakes it */
#define PATIENCE_MS   20000
#define PUBLISH_MAX   32u
#define ROUNDS	      8u /* the script takes the least */

/* One line of the table. */
struct shape {
	int32_t value_bytes;
	int32_t key_bytes; /* MR_NULL_BYTES: none */
	uint32_t publish;  /* records made visible at a time */
	uint32_t waiting;  /* records in the lane when it is drained */
};

static const struct shape shapes[] = {
	{32, MR_NULL_BYTES, 32, RECORDS},  {32, 16, 32, RECORDS},  {32, MR_NULL_BYTES, 1, 1},
	{100, MR_NULL_BYTES, 32, RECORDS}, {100, 16, 32, RECORDS}, {100, MR_NULL_BYTES, 1, 1},
	{256, MR_NULL_BYTES, 32, RECORDS}, {256, 16, 32, RECORDS}, {256, MR_NULL_BYTES, 1, 1},
};

static struct mr_test_drain rig;
static struct mr_source source;
static struct mr_reading reading = {.appended = true};

static void begin_count(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

/* The dump's description becomes "STAGE VALUE KEY PUBLISH RECORDS". */
static void end_count(const char *stage, const struct shape *shape, uint32_t records)
{
	char text[80];

	CALLGRIND_TOGGLE_COLLECT;
	snprintf(text, sizeof(text), "%s %d %d %u %u", stage, shape->value_bytes, shape->key_bytes,
		 shape->publish, records);
	CALLGRIND_DUMP_STATS_AT(text);
}

/* ---- the stages -------------------------------------------------------------------------- */

static __attribute__((noinline)) void fill_lane(const struct shape *shape, const char *value,
						const char *key)
{
	struct mr_record record = {
		.key = key,
		.key_bytes = shape->key_bytes,
		.value_bytes = shape->value_bytes,
		.timestamp_ms = 1700000000000,
	};
	void *payload;
	int r;

	for (uint32_t i = 0; i < shape->waiting; i++) {
		r = mr_lane_reserve(&rig.writer, &record, 0, &payload);
		mr_assert(r == 0);
		memcpy(payload, value, (size_t)shape->value_bytes);
		if ((i + 1) % shape->publish == 0)
			(void)mr_lane_publish(&rig.writer); /* as many as were reserved */
	}
}

static __attribute__((noinline)) void drain_lane(const struct shape *shape)
{
	struct mr_lane_drain drain = mr_worker_drain(rig.partition, rig.lane, &mr_clock_system);

	mr_assert(drain.frames == shape->waiting);
}

/* Reads all that is appended; returns the records. */
static __attribute__((noinline)) uint32_t read_tail(bool in_place)
{
	struct mr_error err;
	uint32_t count = 0;

	while (mr_source_read(&source, &reading, in_place, 0, &err) > 0) {
		count += reading.message_count;
		mr_assert(mr_source_release(&source) == 0);
		if (!mr_source_has_news(&source, &reading))
			break;
	}
	return count;
}

/* ---- a producer, and an engine that takes what it puts ----------------------------------- */

static struct {
	struct fake_log log;
	struct fake_knobs knobs;
	struct fake_engine *engine;
	struct mr_connection *connection;
	struct mr_producer *producer;
	char path[64];
} client;

static void open_producer(void)
{
	struct mr_connect_options connect = {
		.size = sizeof(connect), .socket_path = client.path, .timeout_ms = 20000};
	struct mr_producer_options options = {
		.size = sizeof(options), .topic = "demo", .lane_bytes = LANE_BYTES};
	char directory[] = "/tmp/mr-count-XXXXXX";
	int r;

	mr_assert(mkdtemp(directory) != NULL);
	snprintf(client.path, sizeof(client.path), "%s/sock", directory);
	fake_log_init(&client.log, 1, TAIL_BYTES, TAIL_BYTES);
	atomic_store(&client.knobs.idle_ms, SLEEP_MS);
	client.engine = fake_engine_start(&client.log, &client.knobs, client.path);
	r = mr_connect(&connect, &client.connection, NULL);
	mr_assert(r == 0);
	r = mr_producer_open(client.connection, &options, &client.producer, NULL);
	mr_assert(r == 0);
}

static void close_producer(void)
{
	(void)mr_producer_close(client.producer, 1000); /* flushed */
	mr_disconnect(client.connection);
	fake_engine_kill(client.engine);
	fake_log_free(&client.log);
	(void)unlink(client.path);
	*strrchr(client.path, '/') = '\0';
	(void)rmdir(client.path);
}

static __attribute__((noinline)) void put_records(const struct mr_record *records, uint32_t each,
						  uint32_t count)
{
	for (uint32_t i = 0; i < count; i += each) {
		int taken = mr_producer_put_many(client.producer, records, each);

		mr_assert(taken == (int)each);
	}
}

/* So that the first publish always has to ring, and is not counted without it once in a while. */
static void await_sleep(void)
{
	const struct mr_lane_engine_page *page = client.engine->lanes[0].engine;

	for (int ms = 0; ms < PATIENCE_MS && !atomic_load(&page->asleep); ms++)
		(void)poll(NULL, 0, 1);
	mr_assert(atomic_load(&page->asleep));
}

static void count_put(const struct shape *shape, const char *value, const char *key)
{
	struct mr_record records[PUBLISH_MAX];
	int r;

	for (uint32_t i = 0; i < shape->publish; i++)
		records[i] = (struct mr_record){
			.key = key,
			.key_bytes = shape->key_bytes,
			.value = value,
			.value_bytes = shape->value_bytes,
			.timestamp_ms = 1700000000000,
		};
	await_sleep();
	begin_count();
	put_records(records, shape->publish, shape->waiting);
	end_count("put", shape, shape->waiting);
	r = mr_producer_flush(client.producer, 20000);
	mr_assert(r == 0);
}

/* ---- one shape --------------------------------------------------------------------------- */

static void count_lane(const struct shape *shape, const char *value, const char *key)
{
	begin_count();
	fill_lane(shape, value, key);
	end_count("lane", shape, shape->waiting);
}

static void count_drain(const struct shape *shape)
{
	begin_count();
	drain_lane(shape);
	end_count("drain", shape, shape->waiting);
}

static void count_close(const struct shape *shape)
{
	begin_count();
	mr_test_drain_settle(&rig, true);
	end_count("close", shape, shape->waiting);
}

/* The first time is not counted: whether an array grows in place or moves depends on the heap. */
static void count_read(const struct shape *shape, bool in_place, uint64_t from, uint32_t records)
{
	uint32_t count;

	mr_source_seek(&source, from);
	(void)read_tail(in_place);
	mr_source_seek(&source, from);
	begin_count();
	count = read_tail(in_place);
	end_count(in_place ? "place" : "copy", shape, records);
	mr_assert(count == records);
}

static void run_shape(const struct shape *shape)
{
	static char value[256], key[16];
	uint64_t from = rig.partition->state.log_end;
	uint32_t records = 0;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		count_put(shape, value, key);
		count_lane(shape, value, key);
		count_drain(shape);
		count_close(shape);
		records += shape->waiting;
	}
	count_read(shape, true, from, records);
	count_read(shape, false, from, records);
}

int main(void)
{
	struct mr_error err;
	int r;

	mr_test_drain_init(&rig, LANE_BYTES, TAIL_BYTES, GROUP_BYTES, SEGMENT_BYTES);
	open_producer();
	mr_source_init(&source, 0);
	r = mr_tail_view_open(rig.partition->tail.fd, TAIL_BYTES, &source.view, &err);
	mr_assert(r == 0);
	source.viewed = true;
	CALLGRIND_START_INSTRUMENTATION;
	for (size_t i = 0; i < mr_array_count(shapes); i++)
		run_shape(&shapes[i]);
	mr_source_close(&source);
	free(reading.messages);
	free(reading.copy);
	close_producer();
	mr_test_drain_deinit(&rig);
	return 0;
}
