/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of consumers: each record comes once and in order, whether from the tail, from
 * files, across the two, or across engines; what was overwritten while it was read in place counts
 * for nothing; and damage is told, never handed out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "fake_engine.h"
#include "millrace.h"

/* A machine that stands still so long is no fault: what must not wait would wait for longer. */
#define STALL_MS 1000u

#define TAIL_BYTES    (1u << 18)
#define SEGMENT_BYTES (1u << 18)

static struct fake_log fake_log;
/* The same tests again of a topic with compression (meson.build). */
#ifndef MR_COMPRESSION
#define MR_COMPRESSION MR_CONFIG_COMPRESSION_NONE
#endif
#define COPIED (MR_COMPRESSION != MR_CONFIG_COMPRESSION_NONE) /* in place, too */
static struct fake_knobs knobs = {.compression = MR_COMPRESSION};
static struct fake_engine *engine;
static struct mr_connection *connection;
static struct mr_producer *producer;
static struct mr_error err;
static uint64_t put_count; /* records published so far: each value begins with its number */
static char path[64];

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void begin(uint32_t partitions)
{
	struct mr_connect_options options = {
		.size = sizeof(options), .socket_path = path, .timeout_ms = 2000};
	struct mr_producer_options produce = {.size = sizeof(produce), .topic = "demo"};
	char directory[] = "/tmp/mr-client-XXXXXX";

	cr_assert(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/sock", directory);
	fake_log_init(&fake_log, partitions, TAIL_BYTES, SEGMENT_BYTES);
	engine = fake_engine_start(&fake_log, &knobs, path);
	cr_assert_eq(mr_connect(&options, &connection, &err), 0, "%s", err.what);
	cr_assert_eq(mr_producer_open(connection, &produce, &producer, &err), 0, "%s", err.what);
}

static void end(struct mr_consumer *consumer)
{
	mr_consumer_close(consumer);
	mr_producer_close(producer, 0);
	mr_disconnect(connection);
	if (engine)
		fake_engine_kill(engine);
	fake_log_free(&fake_log);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static struct mr_consumer *open_from(enum mr_from from, int64_t value, enum mr_view view)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = "demo",
		.from = from,
		.from_value = value,
		.view = view,
		.group = from == MR_FROM_COMMITTED ? "readers" : NULL,
	};
	struct mr_consumer *consumer;

	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), 0, "%s", err.what);
	return consumer;
}

/* A quarter of it is worth compressing, so that tails and files fill nearly as they would. */
static uint8_t byte_of(uint64_t number, uint32_t at)
{
	uint64_t noise = (number * 4099 + at) * UINT64_C(0x9e3779b97f4a7c15);

	return at % 64 < 48 ? (uint8_t)(noise >> 56) : (uint8_t)number;
}

/* Publishes 'count' records of 'bytes' bytes into partition 0; time is the record's number. */
static void put(uint32_t count, uint32_t bytes)
{
	static uint8_t value[4096];

	for (uint32_t i = 0; i < count; i++) {
		struct mr_record record = {
			.key = "key",
			.key_bytes = 3,
			.value = value,
			.value_bytes = (int32_t)bytes,
			.timestamp_ms = (int64_t)put_count,
		};
		int r;

		for (uint32_t at = 0; at < bytes; at++)
			value[at] = byte_of(put_count, at);
		memcpy(value, &put_count, sizeof(put_count));
		while ((r = mr_producer_put(producer, &record)) == -EAGAIN)
			cr_assert_eq(mr_producer_flush(producer, 2000), 0);
		cr_assert_eq(r, 0);
		put_count++;
	}
}

static void put_all(uint32_t count, uint32_t bytes)
{
	put(count, bytes);
	cr_assert_eq(mr_producer_flush(producer, 3000), 0);
}

static bool is_right(const struct mr_message *message)
{
	uint64_t number;

	if (message->value_bytes < (int32_t)sizeof(number) || message->key_bytes != 3)
		return false;
	memcpy(&number, message->value, sizeof(number));
	for (int i = sizeof(number); i < message->value_bytes; i++)
		if (((const uint8_t *)message->value)[i] != byte_of(number, (uint32_t)i))
			return false;
	return number == message->offset && memcmp(message->key, "key", 3) == 0 &&
	       message->timestamp_ms == (int64_t)number && message->leader_epoch == 7;
}

/* Reads until 'end', all of it dense from 'next' on. Returns how often poll was called. */
static int read_to(struct mr_consumer *consumer, uint64_t next, uint64_t to)
{
	const struct mr_message *messages;
	int polls = 0;

	while (next < to) {
		int count = mr_consumer_poll(consumer, 3000, &messages);

		mr_consumer_error(consumer, &err);
		cr_assert_gt(count, 0, "at %" PRIu64 ": %d %s", next, count, err.what);
		for (int i = 0; i < count; i++, next++) {
			cr_assert_eq(messages[i].offset, next);
			cr_assert(is_right(&messages[i]), "offset %" PRIu64, next);
		}
		polls++;
	}
	cr_assert_eq(next, to);
	return polls;
}

static struct mr_consumer_position position_of(struct mr_consumer *consumer)
{
	struct mr_consumer_position position = {.size = sizeof(position)};

	cr_assert_eq(mr_consumer_position(consumer, 0, &position), 0);
	return position;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

Test(consumer, records_come_once_in_order_out_of_the_tail)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	uint64_t before;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	before = now_ms();
	cr_assert_eq(mr_consumer_poll(consumer, 0, &messages), 0);
	cr_assert_eq(mr_consumer_poll(consumer, 130, &messages), 0);
	cr_assert_geq(now_ms() - before, 129);
	cr_assert_leq(now_ms() - before, STALL_MS + 180);
	for (int round = 0; round < 20; round++) {
		put_all(10, 100);
		read_to(consumer, (uint64_t)round * 10, (uint64_t)(round + 1) * 10);
	}
	cr_assert_eq(position_of(consumer).offset, 200);
	cr_assert_eq(position_of(consumer).lag, 0);
	put_all(7, 100);
	cr_assert_eq(position_of(consumer).lag, 7);
	cr_assert_eq(position_of(consumer).overtaken, 0);
	cr_assert_eq(mr_consumer_poll(consumer, 0, &messages), 7, "one poll takes all there is");
	end(consumer);
}

Test(consumer, nulls_headers_and_sizes_arrive_as_they_were_put)
{
	struct mr_header headers[2] = {
		{.name = "trace", .name_bytes = 5, .value = "abc", .value_bytes = 3},
		{.name = "none", .name_bytes = 4, .value_bytes = MR_NULL_BYTES},
	};
	struct mr_record records[3] = {
		{.key_bytes = -1, .value_bytes = -1, .timestamp_ms = 5},
		{.key = "", .value = "", .timestamp_ms = MR_TIMESTAMP_NOW},
		{.key = "k",
		 .key_bytes = 1,
		 .value = "v",
		 .value_bytes = 1,
		 .headers = headers,
		 .header_count = 2},
	};
	const struct mr_message *m;
	struct mr_consumer *consumer;
	struct mr_header header;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_producer_put_many(producer, records, 3), 3);
	cr_assert_eq(mr_consumer_poll(consumer, 2000, &m), 3);
	cr_assert_eq(m[0].key_bytes, MR_NULL_BYTES);
	cr_assert_eq(m[0].value_bytes, MR_NULL_BYTES);
	cr_assert_eq(m[0].timestamp_ms, 5);
	cr_assert_eq(m[1].key_bytes, 0);
	cr_assert_eq(m[1].value_bytes, 0);
	cr_assert_lt(llabs((long long)m[1].timestamp_ms - (long long)time(NULL) * 1000), 10000);
	cr_assert_eq(m[2].header_count, 2);
	cr_assert_eq(mr_message_header(&m[2], 0, &header), 0);
	cr_assert_arr_eq(header.name, "trace", 5);
	cr_assert_arr_eq(header.value, "abc", 3);
	cr_assert_eq(mr_message_header(&m[2], 1, &header), 0);
	cr_assert_eq(header.value_bytes, MR_NULL_BYTES);
	cr_assert_eq(mr_message_header(&m[2], 2, &header), -ENOENT);
	end(consumer);
}

Test(consumer, an_open_group_is_read_while_it_grows)
{
	struct mr_consumer *consumer;

	begin(1);
	knobs.keep_open = true;
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	for (uint64_t at = 0; at < 600; at += 20) {
		put_all(20, 500);
		read_to(consumer, at, at + 20);
		if (at % 100 == 0) { /* others begin in the middle of it */
			struct mr_connect_options options = {.size = sizeof(options),
							     .socket_path = path};
			struct mr_connection *own = connection;
			struct mr_consumer *late;

			cr_assert_eq(mr_connect(&options, &connection, &err), 0);
			late = open_from(MR_FROM_OFFSET, (int64_t)at + 7, MR_VIEW_COMMITTED);
			read_to(late, at + 7, at + 20);
			mr_consumer_close(late);
			mr_disconnect(connection);
			connection = own;
		}
	}
	end(consumer);
}

Test(consumer, what_the_tail_lost_comes_from_the_files_and_then_from_the_tail)
{
	struct mr_consumer *consumer;
	uint64_t overtaken;

	begin(1);
	put_all(6000, 400); /* 2.4 MB through a tail of 256 KiB, over several segments */
	cr_assert_gt(fake_log.partitions[0].segment_count, 4);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_to(consumer, 0, 6000);
	cr_assert_eq(position_of(consumer).overtaken, 0, "it was never in the tail before");
	put_all(100, 400);
	read_to(consumer, 6000, 6100);
	put_all(6000, 400); /* now the tail passes it, with compression, too */
	read_to(consumer, 6100, 12100);
	overtaken = position_of(consumer).overtaken;
	/* once more where the engine makes room just as it is back in the tail */
	cr_assert(overtaken == 1 || overtaken == 2, "%" PRIu64, overtaken);
	end(consumer);
}

Test(consumer, any_offset_can_be_sought_in_files_and_tail)
{
	struct mr_consumer *consumer;
	uint64_t seed = 12345;

	begin(1);
	put_all(3000, 300);
	consumer = open_from(MR_FROM_LATEST, 0, MR_VIEW_COMMITTED);
	for (int i = 0; i < 60; i++) {
		uint64_t offset;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		offset = (seed >> 33) % 3000;
		cr_assert_eq(mr_consumer_seek(consumer, 0, offset), 0);
		cr_assert_eq(position_of(consumer).offset, offset);
		cr_assert_eq(position_of(consumer).lag, 3000 - offset);
		read_to(consumer, offset, 3000);
	}
	cr_assert_eq(mr_consumer_seek(consumer, 5, 0), -ERANGE);
	end(consumer);
}

struct writer {
	pthread_t thread;
	uint32_t count;
	uint32_t bytes;
};

static void *write_on(void *arg)
{
	struct writer *writer = arg;

	cr_assert_eq(mr_producer_adopt(producer), 0);
	put(writer->count, writer->bytes);
	return NULL;
}

/* Poll sleeps now and then, so that the tail overtakes it at places nobody chose. */
Test(consumer, a_slow_reader_of_a_fast_log_misses_and_repeats_nothing, .timeout = 60)
{
	struct writer writer = {.count = 30000, .bytes = 200};
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	uint64_t next = 0;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	pthread_create(&writer.thread, NULL, write_on, &writer);
	for (int polls = 0; next < writer.count; polls++) {
		int count = mr_consumer_poll(consumer, 3000, &messages);

		mr_consumer_error(consumer, &err);
		cr_assert_gt(count, 0, "at %" PRIu64 ": %d %s", next, count, err.what);
		for (int i = 0; i < count; i++, next++) {
			cr_assert_eq(messages[i].offset, next);
			cr_assert(is_right(&messages[i]));
		}
		if (polls % 8 == 0)
			usleep(20000);
	}
	pthread_join(writer.thread, NULL);
	cr_assert_gt(position_of(consumer).overtaken, 0);
	cr_assert_eq(mr_producer_adopt(producer), 0);
	end(consumer);
}

Test(consumer, a_sleeping_consumer_is_rung)
{
	struct writer writer = {.count = 20, .bytes = 8};
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	uint64_t before = now_ms();
	uint64_t next = 0;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	pthread_create(&writer.thread, NULL, write_on, &writer);
	while (next < 20) {
		int count = mr_consumer_poll(consumer, MR_WAIT_FOR_EVER, &messages);

		cr_assert_gt(count, 0);
		next += (uint64_t)count;
	}
	cr_assert_lt(now_ms() - before, STALL_MS + 1000);
	pthread_join(writer.thread, NULL);
	cr_assert_eq(mr_producer_adopt(producer), 0);
	end(consumer);
}

/* ---- in place ----------------------------------------------------------------------------------
 */

Test(consumer, views_in_place_hold_when_released_in_time)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	uint64_t next = 0;

	begin(1);
	put_all(500, 200);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_release(consumer), 0, "nothing is out");
	while (next < 500) {
		int count = mr_consumer_poll_in_place(consumer, 1000, &messages);

		cr_assert_gt(count, 0);
		for (int i = 0; i < count; i++, next++)
			cr_assert(is_right(&messages[i]) && messages[i].offset == next);
		cr_assert_eq(mr_consumer_release(consumer), 0);
	}
	end(consumer);
}

Test(consumer, what_is_overwritten_in_place_comes_again_from_the_files)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	int count;

	if (COPIED)
		cr_skip_test("of what is compressed there is a copy");
	begin(1);
	put_all(100, 200);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	count = mr_consumer_poll_in_place(consumer, 1000, &messages);
	cr_assert_gt(count, 0);
	cr_assert_eq(messages[0].offset, 0);
	put_all(3000, 200); /* twice the tail */
	cr_assert_eq(mr_consumer_release(consumer), -EOVERFLOW);
	mr_consumer_error(consumer, &err);
	cr_assert_str_not_empty(err.why);
	cr_assert_str_not_empty(err.hint);
	cr_assert_eq(position_of(consumer).offset, 0);
	cr_assert_eq(position_of(consumer).overtaken, 1);
	count = mr_consumer_poll_in_place(consumer, 1000, &messages);
	cr_assert_gt(count, 0);
	cr_assert_eq(messages[0].offset, 0);
	cr_assert(is_right(&messages[0]));
	put_all(3000, 200);
	cr_assert_eq(mr_consumer_release(consumer), 0, "a file is not overwritten");
	read_to(consumer, (uint64_t)count, 6100);
	end(consumer);
}

Test(consumer, polling_on_without_release_repeats_what_was_overwritten)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;

	if (COPIED)
		cr_skip_test("of what is compressed there is a copy");
	begin(1);
	put_all(100, 200);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_gt(mr_consumer_poll_in_place(consumer, 1000, &messages), 0);
	put_all(3000, 200);
	read_to(consumer, 0, 3100);
	end(consumer);
}

/* What is expanded lies with the consumer: the tail may go on meanwhile. */
Test(consumer, compressed_records_in_place_stay_as_they_are)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	int count;

	if (!COPIED)
		cr_skip_test("nothing is compressed");
	begin(1);
	put_all(100, 200);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	count = mr_consumer_poll_in_place(consumer, 1000, &messages);
	cr_assert_gt(count, 0);
	put_all(3000, 200); /* twice the tail */
	for (int i = 0; i < count; i++)
		cr_assert(is_right(&messages[i]) && messages[i].offset == (uint64_t)i);
	cr_assert_eq(mr_consumer_release(consumer), 0);
	read_to(consumer, (uint64_t)count, 3100);
	end(consumer);
}

/* ---- where to begin ----------------------------------------------------------------------------
 */

Test(consumer, latest_begins_with_the_next_record)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;

	begin(1);
	put_all(50, 100);
	consumer = open_from(MR_FROM_LATEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_poll(consumer, 20, &messages), 0);
	put_all(5, 100);
	read_to(consumer, 50, 55);
	end(consumer);
}

Test(consumer, a_time_begins_at_the_first_record_not_older)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;

	begin(1);
	put_all(3000, 200);
	consumer = open_from(MR_FROM_TIME, 2990, MR_VIEW_COMMITTED); /* the index names 2985 */
	read_to(consumer, 2990, 3000);
	mr_consumer_close(consumer);
	consumer = open_from(MR_FROM_TIME, 17, MR_VIEW_COMMITTED);
	read_to(consumer, 17, 3000);
	mr_consumer_close(consumer);
	consumer = open_from(MR_FROM_TIME, 1000000, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_poll(consumer, 20, &messages), 0);
	put_count = 1000000; /* offsets and times part: what comes is old enough now */
	cr_assert_eq(position_of(consumer).offset, 3000);
	put(1, 8);
	cr_assert_eq(mr_consumer_poll(consumer, 1000, &messages), 1);
	cr_assert_eq(messages[0].offset, 3000);
	end(consumer);
}

Test(consumer, offsets_that_are_not_there_are_named)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = "demo", .from = MR_FROM_OFFSET};
	struct mr_consumer *consumer, *other;
	const struct mr_message *messages;

	begin(1);
	put_all(3000, 200);
	fake_log.partitions[0].log_start = 100;
	mr_tail_publish_log_start(&engine->tails[0], 100);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_to(consumer, 100, 3000);
	options.from_value = 99;
	cr_assert_eq(mr_consumer_open(connection, &options, &other, &err), -ERANGE);
	cr_assert(strstr(err.what, "100 to 3000"), "%s", err.what);
	options.from_value = 3001;
	cr_assert_eq(mr_consumer_open(connection, &options, &other, &err), -ERANGE);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(mr_consumer_seek(consumer, 0, i ? 3001 : 99), 0);
		cr_assert_eq(mr_consumer_poll(consumer, 100, &messages), -ERANGE);
		mr_consumer_error(consumer, &err);
		cr_assert_eq(err.code, -ERANGE);
		cr_assert(strstr(err.what, i ? "3001" : "99"));
	}
	cr_assert_eq(mr_consumer_seek(consumer, 0, 2998), 0);
	read_to(consumer, 2998, 3000);
	end(consumer);
}

Test(consumer, options_are_checked)
{
	struct mr_consumer_options options = {.size = sizeof(options), .topic = "demo"};
	int32_t partitions[3] = {0, 1, 0};
	struct mr_consumer *consumer;

	begin(2);
	cr_assert_eq(mr_consumer_open(connection, NULL, &consumer, &err), -EINVAL);
	options.topic = "other";
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -ENOENT);
	options.topic = "demo";
	options.partitions = partitions;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -EINVAL);
	options.partition_count = 3;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -ERANGE);
	partitions[1] = 0;
	options.partition_count = 2;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -EINVAL);
	partitions[1] = 2;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -ERANGE);
	options.partitions = NULL;
	options.from = MR_FROM_COMMITTED;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -EINVAL);
	options.from = MR_FROM_OFFSET;
	options.from_value = -1;
	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), -EINVAL);
	end(NULL);
}

Test(consumer, all_partitions_get_their_share)
{
	struct mr_producer_options options = {
		.size = sizeof(options), .topic = "demo", .partition = MR_PARTITION_BY_KEY};
	struct mr_record record = {.key_bytes = -1, .value = "x", .value_bytes = 1};
	uint64_t next[3] = {0}, total = 0;
	const struct mr_message *m;
	struct mr_consumer *consumer;
	struct mr_producer *all;

	begin(3);
	cr_assert_eq(mr_producer_open(connection, &options, &all, &err), 0);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_partition_count(consumer), 3);
	for (int i = 0; i < 300; i++)
		cr_assert_eq(mr_producer_put(all, &record), 0);
	while (total < 300) {
		int count = mr_consumer_poll(consumer, 2000, &m);

		cr_assert_gt(count, 0);
		for (int i = 0; i < count; i++, total++) {
			cr_assert_eq(m[i].partition, m[0].partition);
			cr_assert_eq(m[i].offset, next[m[i].partition]++);
		}
	}
	for (int p = 0; p < 3; p++)
		cr_assert_eq(next[p], 100);
	cr_assert_eq(mr_producer_close(all, 1000), 0);
	end(consumer);
}

/* ---- committed, appended, committed offsets ----------------------------------------------------
 */

Test(consumer, only_the_appended_view_sees_what_is_not_flushed)
{
	struct mr_consumer *committed, *appended;
	const struct mr_message *messages;
	struct mr_connection *own;
	struct mr_connect_options options = {.size = sizeof(options), .socket_path = path};

	begin(1);
	put_all(10, 100);
	committed = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	own = connection;
	cr_assert_eq(mr_connect(&options, &connection, &err), 0);
	appended = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_APPENDED);
	knobs.hold_flush = true;
	put(10, 100);
	read_to(appended, 0, 20);
	read_to(committed, 0, 10);
	cr_assert_eq(mr_consumer_poll(committed, 50, &messages), 0);
	cr_assert_eq(position_of(committed).lag, 0, "of its own view");
	/* the engine dies, the appended ones with it; others take their offsets */
	fake_engine_kill(engine);
	knobs.hold_flush = false;
	engine = fake_engine_start(&fake_log, &knobs, path);
	cr_assert_eq(mr_producer_flush(producer, 2000), 0);
	read_to(committed, 10, 20);
	mr_consumer_close(appended);
	mr_disconnect(connection);
	connection = own;
	end(committed);
}

Test(consumer, committed_offsets_are_found_again)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	int count;

	begin(1);
	put_all(100, 100);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_commit(consumer, 1000), -EINVAL, "it has no group");
	mr_consumer_close(consumer);
	consumer = open_from(MR_FROM_COMMITTED, 0, MR_VIEW_COMMITTED);
	count = mr_consumer_poll(consumer, 1000, &messages);
	cr_assert_gt(count, 0);
	cr_assert_eq(messages[0].offset, 0, "the group has none yet");
	cr_assert_eq(mr_consumer_seek(consumer, 0, 42), 0);
	count = mr_consumer_poll_in_place(consumer, 1000, &messages);
	cr_assert_gt(count, 0);
	cr_assert_eq(mr_consumer_commit(consumer, 1000), COPIED ? 0 : -EBUSY);
	cr_assert_eq(mr_consumer_release(consumer), 0);
	cr_assert_eq(mr_consumer_commit(consumer, 1000), 0);
	cr_assert_eq(fake_log.partitions[0].group_committed, 42u + (unsigned)count);
	mr_consumer_close(consumer);
	consumer = open_from(MR_FROM_COMMITTED, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(position_of(consumer).offset, 42u + (unsigned)count);
	fake_engine_kill(engine);
	engine = NULL;
	cr_assert_eq(mr_consumer_seek(consumer, 0, 7), 0);
	cr_assert_eq(mr_consumer_commit(consumer, 60), -ETIMEDOUT);
	mr_consumer_error(consumer, &err);
	cr_assert(strstr(err.what, "offset 7"), "%s", err.what);
	end(consumer);
}

/* ---- the engine comes and goes -----------------------------------------------------------------
 */

Test(consumer, reading_goes_on_with_the_next_engine)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	for (uint64_t round = 0; round < 4; round++) {
		put_all(300, 300);
		read_to(consumer, round * 400, round * 400 + (round % 2 ? 300 : 0));
		fake_engine_kill(engine);
		if (round % 2 == 0) /* what the dead one's memory holds is still read */
			read_to(consumer, round * 400, round * 400 + 300);
		cr_assert_eq(mr_consumer_poll(consumer, 20, &messages), 0);
		engine = fake_engine_start(&fake_log, &knobs, path);
		put_all(100, 300);
		read_to(consumer, round * 400 + 300, round * 400 + 400);
	}
	end(consumer);
}

Test(consumer, a_tail_given_up_is_attached_anew)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;

	begin(1);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	put_all(10, 100);
	mr_tail_publish_closed(&engine->tails[0]);
	/* the fake gives the same tail again: it stays closed, and each poll attaches once more */
	read_to(consumer, 0, 10);
	knobs.topic_gone = true;
	cr_assert_eq(mr_consumer_poll(consumer, 1000, &messages), -EPIPE);
	mr_consumer_error(consumer, &err);
	cr_assert_eq(err.code, -EPIPE);
	cr_assert(strstr(err.what, "is gone"), "%s", err.what);
	end(consumer);
}

Test(consumer, a_silent_engine_costs_no_more_than_was_said)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	uint64_t before;

	begin(1);
	put_all(4000, 300);
	consumer = open_from(MR_FROM_LATEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(mr_consumer_seek(consumer, 0, 5), 0);
	knobs.mute = true;
	before = now_ms();
	cr_assert_eq(mr_consumer_poll(consumer, 100, &messages), 0, "it must ask for a file");
	cr_assert_leq(now_ms() - before, STALL_MS + 400);
	knobs.mute = false;
	read_to(consumer, 5, 4000); /* the late answer is not taken for the new one */
	end(consumer);
}

/* ---- damage ------------------------------------------------------------------------------------
 */

static void flip(uint32_t segment, uint64_t at)
{
	int fd = fake_log.partitions[0].segments[segment].fd;
	uint8_t byte;

	cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x10;
	cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

/* Every byte of a group that means something, one at a time: header, batch header, records. */
Test(consumer, a_flipped_bit_in_a_file_is_told_and_never_handed_out, .timeout = 60)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	struct fake_group *group;
	uint64_t at;

	begin(1);
	for (int i = 0; i < 50; i++)
		put_all(1, 16);
	put_all(3000, 300);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	read_to(consumer, 0, 3050);
	group = &fake_log.partitions[0].groups[10];
	for (uint64_t byte = 0; byte < 64 + 61 + 20; byte++) {
		int count = 0;

		at = group->position + byte;
		flip(0, at);
		cr_assert_eq(mr_consumer_seek(consumer, 0, group->offset), 0);
		count = mr_consumer_poll(consumer, 1000, &messages);
		if (count > 0) /* the index begins one group early, which is whole */
			count = messages[0].offset == group->offset ? 1 : -EBADMSG;
		cr_assert_eq(count, -EBADMSG, "byte %" PRIu64 " of the group: %d", byte, count);
		mr_consumer_error(consumer, &err);
		cr_assert_str_not_empty(err.what);
		flip(0, at);
	}
	cr_assert_eq(mr_consumer_seek(consumer, 0, group->offset), 0);
	read_to(consumer, group->offset, 3050);
	end(consumer);
}

Test(consumer, a_file_cut_short_is_told)
{
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	int count;

	begin(1);
	put_all(4000, 300);
	consumer = open_from(MR_FROM_EARLIEST, 0, MR_VIEW_COMMITTED);
	cr_assert_eq(ftruncate(fake_log.partitions[0].segments[0].fd, 4096), 0);
	while ((count = mr_consumer_poll(consumer, 500, &messages)) > 0)
		;
	cr_assert_eq(count, -EBADMSG);
	mr_consumer_error(consumer, &err);
	cr_assert(strstr(err.what, "damaged at offset 0"), "%s", err.what);
	end(consumer);
}
