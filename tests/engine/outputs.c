/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline in a whole engine, whose output finds no room on the disk: its input is never held up,
 * `rule list` says what it waits for, nothing is lost or said twice, and it goes on by itself when
 * there is room, also where the engine was started again meanwhile.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "engine_rig.h"

#define OUTPUT	    "t.knowledge"
#define RECORDS	    20000u /* more than an output without another segment has room for */
#define A_STEP	    1000u
#define PATIENCE_MS 20000
#define RULE                                                                                       \
	"pipeline: p\\ninput: t\\nparse: json\\nvalue: $.v\\n"                                     \
	"windows:\\n  avg: {fn: mean, last: 4}\\noutput: " OUTPUT "\\n"
#define WAITS "\"waits_for\":{\"topic\":\"" OUTPUT "\",\"what\":\"room\""

static struct mr_test_engine rig;
static struct mr_connection *connection;

static void ask(const char *request)
{
	struct mr_error err;
	char *reply = mr_test_engine_ask(connection, request, &err);

	cr_assert(reply != NULL, "%s: %s", request, err.what);
	free(reply);
}

static bool list_says(const char *words)
{
	char *reply = mr_test_engine_ask(connection, "{\"do\":\"rule.list\"}", NULL);
	bool said = reply && strstr(reply, words);

	free(reply);
	return said;
}

static void await_list(const char *words)
{
	int tries;

	for (tries = 0; tries < PATIENCE_MS / 10 && !list_says(words); tries++)
		(void)poll(NULL, 0, 10);
	cr_assert(list_says(words), "it never says %s", words);
}

static void start(void)
{
	struct mr_error err;

	cr_assert_eq(mr_test_engine_start(&rig, &err), 0, "%s", err.what);
	connection = mr_test_engine_connect(&rig);
}

static void stop(void)
{
	mr_disconnect(connection);
	cr_assert_eq(mr_test_engine_stop(&rig), 0);
}

static void setup(void)
{
	mr_test_engine_init(&rig, "posix");
	start();
	ask("{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":1}");
	ask("{\"do\":\"rule.add\",\"text\":\"" RULE "\"}");
}

static void teardown(void)
{
	stop();
	mr_test_engine_deinit(&rig);
}

/* From now on: of one topic's files. */
static void fill_disk_of(const char *topic)
{
	const struct mr_io_fault_plan plan = {
		.kind = MR_IO_FAULT_ALLOCATE, .nth = 1, .error = -ENOSPC, .from_then_on = true};
	char request[128], within[64], *reply;
	json_t *json;
	const char *id;

	snprintf(request, sizeof(request), "{\"do\":\"topic.describe\",\"name\":\"%s\"}", topic);
	reply = mr_test_engine_ask(connection, request, NULL);
	json = reply ? json_loads(reply, 0, NULL) : NULL;
	id = json_string_value(json_object_get(json, "id"));
	cr_assert(id != NULL, "%s", reply);
	snprintf(within, sizeof(within), "topics/%.32s/", id);
	mr_io_fault_only(rig.fault, within);
	mr_io_fault_set(rig.fault, &plan);
	json_decref(json);
	free(reply);
}

static void make_room(void)
{
	static const struct mr_io_fault_plan none;

	mr_io_fault_set(rig.fault, &none);
}

/* All of it is acknowledged: whatever a pipeline does, that is no matter of its input. */
static void publish(uint32_t from, uint32_t count)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = "t"};
	struct mr_producer *producer;
	struct mr_error err;
	char value[32];

	cr_assert_eq(mr_producer_open(connection, &options, &producer, &err), 0, "%s", err.what);
	for (uint32_t i = from; i < from + count; i++) {
		struct mr_record record = {.key = "k", .key_bytes = 1, .value = value};
		int r;

		record.value_bytes = snprintf(value, sizeof(value), "{\"v\":%u}", i);
		for (int waited = 0; (r = mr_producer_put(producer, &record)) == -EAGAIN;
		     waited++) {
			cr_assert_lt(waited, PATIENCE_MS, "the input is held up");
			(void)poll(NULL, 0, 1);
		}
		cr_assert_eq(r, 0);
	}
	cr_assert_eq(mr_producer_flush(producer, PATIENCE_MS), 0, "the input is held up");
	(void)mr_producer_close(producer, PATIENCE_MS); /* flush has told */
}

/* One answer for each record, in order. */
static void read_answers(uint32_t count)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = OUTPUT, .from = MR_FROM_EARLIEST};
	struct mr_consumer *consumer;
	const struct mr_message *messages;
	struct mr_error err;
	uint32_t seen = 0;

	cr_assert_eq(mr_consumer_open(connection, &options, &consumer, &err), 0, "%s", err.what);
	while (seen < count) {
		int r = mr_consumer_poll(consumer, PATIENCE_MS, &messages);

		cr_assert_gt(r, 0, "%u of %u", seen, count);
		for (int i = 0; i < r; i++, seen++) {
			json_t *json = json_loadb(messages[i].value,
						  (size_t)messages[i].value_bytes, 0, NULL);

			cr_assert_eq(json_integer_value(json_object_get(json, "offset")), seen);
			cr_assert_eq(json_number_value(json_object_get(json, "value")), seen);
			json_decref(json);
		}
	}
	cr_expect_eq(mr_consumer_poll(consumer, 100, &messages), 0, "more than was asked");
	mr_consumer_close(consumer);
}

static void await_answers(uint32_t count)
{
	cr_assert(
		mr_test_engine_await(connection, OUTPUT, 0, "high_watermark", count, PATIENCE_MS));
	await_list("\"waits_for\":null");
	await_list("\"lag\":0");
	read_answers(count);
}

Test(outputs, a_full_disk_holds_up_nobody_but_the_pipeline, .init = setup, .fini = teardown)
{
	uint32_t count;

	publish(0, A_STEP);
	await_answers(A_STEP);
	fill_disk_of(OUTPUT);
	publish(A_STEP, RECORDS);
	count = A_STEP + RECORDS;
	await_list(WAITS);
	await_list("\"why\":\"there is no space on the disk for its next segment: that takes ");
	publish(count, RECORDS); /* and goes on taking more */
	count += RECORDS;
	cr_expect_gt(mr_io_fault_hits(rig.fault), 0);
	make_room();
	await_answers(count);
}

Test(outputs, an_engine_is_started_again_while_the_disk_is_full, .init = setup, .fini = teardown)
{
	fill_disk_of(OUTPUT);
	publish(0, RECORDS);
	await_list(WAITS);
	stop();
	start();
	publish(RECORDS, A_STEP);
	await_list(WAITS);
	make_room();
	await_answers(RECORDS + A_STEP);
}
