/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record costs a pipeline in instructions, stage by stage. Run under valgrind
 * --tool=callgrind by pipeline.py, which reads the counts. One thread, the real code: records come
 * out of a tail in place, outputs go into a lane. Windows are full before anything is counted.
 *
 *	read	records out of the tail, as messages
 *	parse	mr_parser_parse() alone
 *	feed	mr_pipeline_feed() with a sink that does nothing: parse, key, clean, windows, render
 *	path	read, feed and put into a lane: all that the thread does for a record
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "check.h"
#include "drain_rig.h"
#include "parse.h"
#include "pipeline.h"
#include "rule.h"
#include "source.h"

#define LANE_BYTES    (1u << 20)
#define TAIL_BYTES    (8u << 20)
#define GROUP_BYTES   (256u << 10)
#define SEGMENT_BYTES (256u << 20)
#define RECORDS	      512u /* of a round */
#define ROUNDS	      8u   /* the script takes the least */
#define KEYS	      16u  /* each has 17 samples and more before the first round */
#define WARM_ROUNDS   2u

#define WINDOWS                                                                                    \
	"windows: {a: {fn: weighted_average, last: 16, weights: linear}, m: {fn: max, last: "      \
	"16}}\n"
#define ENDS "output: {topic: out, format: packed}\n"
#define RAW  "parse: {format: raw, fields: [\"v: f64 @ 0\"]}\nvalue: v\n"
#define JSON "parse: json\ntime: $.ts\nvalue: $.temp\n"

static uint32_t make_raw(uint64_t i, char *value)
{
	double numbers[2] = {(double)(i * 7919 % 10007) / 100, 0};

	memcpy(value, numbers, sizeof(numbers));
	return sizeof(numbers);
}

static uint32_t make_json(uint64_t i, char *value)
{
	return (uint32_t)snprintf(
		value, 128,
		"{\"ts\":%" PRIu64 ",\"site\":\"hall 3\",\"temp\":%" PRIu64 ".%02" PRIu64
		",\"unit\":\"C\",\"rpm\":%" PRIu64 ",\"ok\":true,\"line\":\"north\"}",
		UINT64_C(1700000000000) + i, 20 + i % 80, i * 37 % 100, 1000 + i % 997);
}

static const struct shape {
	const char *name;
	const char *rule;
	uint32_t (*make)(uint64_t i, char *value);
} shapes[] = {
	{"packed", "pipeline: p\ninput: in\n" RAW WINDOWS ENDS, make_raw},
	{"json", "pipeline: p\ninput: in\n" JSON WINDOWS ENDS, make_json},
};

static struct mr_test_drain input, output;
static struct mr_source source;
static struct mr_reading reading = {.appended = true};
static struct mr_parser *parser;
static struct mr_pipeline *pipeline;
static uint64_t published;

/* ---- what is counted ------------------------------------------------------------------------ */

static void begin_count(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

/* The dump's description becomes "STAGE SHAPE 0 0 RECORDS"; without a dump it was to warm up. */
static void end_count(const char *stage, size_t shape, bool counted)
{
	char text[80];

	CALLGRIND_TOGGLE_COLLECT;
	if (!counted)
		return;
	snprintf(text, sizeof(text), "%s %zu 0 0 %u", stage, shape, RECORDS);
	CALLGRIND_DUMP_STATS_AT(text);
}

static void swallow(void *arg, const struct mr_pipeline_record *record)
{
	(void)arg;
	(void)record;
}

static void put(void *arg, const struct mr_pipeline_record *record)
{
	struct mr_lane_writer *writer = arg;
	struct mr_record made = {
		.key = record->key,
		.key_bytes = record->key_bytes,
		.value_bytes = (int32_t)record->value_bytes,
		.timestamp_ms = record->timestamp_ms,
	};
	void *payload;
	int r = mr_lane_reserve(writer, &made, 0, &payload);

	mr_assert(r == 0);
	memcpy(payload, record->value, record->value_bytes);
}

static __attribute__((noinline)) void parse_all(void)
{
	struct mr_parsed parsed;

	for (uint32_t i = 0; i < reading.message_count; i++)
		mr_assert(mr_parser_parse(parser, &reading.messages[i], &parsed) == MR_PARSE_OK);
}

static __attribute__((noinline)) void feed_all(const struct mr_pipeline_sink *sink)
{
	int r = mr_pipeline_feed(pipeline, reading.messages, reading.message_count, sink);

	mr_assert(r == 0);
}

static __attribute__((noinline)) void read_all(void)
{
	struct mr_error err;
	int r = mr_source_read(&source, &reading, true, 0, &err);

	mr_assert(r > 0);
	mr_assert(reading.message_count == RECORDS);
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void drain(struct mr_test_drain *rig)
{
	struct mr_lane_drain drained = mr_worker_drain(rig->partition, rig->lane, &mr_clock_system);

	mr_assert(drained.frames == RECORDS);
	mr_test_drain_settle(rig, true);
}

static void publish_input(const struct shape *shape)
{
	char key[16], value[128];

	for (uint32_t i = 0; i < RECORDS; i++, published++) {
		struct mr_record record = {
			.key = key,
			.key_bytes = snprintf(key, sizeof(key), "k%06u",
					      (uint32_t)(published * 7919 % KEYS)),
			.value_bytes = (int32_t)shape->make(published, value),
			.timestamp_ms = INT64_C(1700000000000) + (int64_t)published,
		};
		void *payload;
		int r = mr_lane_reserve(&input.writer, &record, 0, &payload);

		mr_assert(r == 0);
		memcpy(payload, value, (size_t)record.value_bytes);
	}
	mr_lane_publish(&input.writer);
	drain(&input);
}

static void run_round(size_t index, bool counted)
{
	const struct mr_pipeline_sink nothing = {.put = swallow};
	const struct mr_pipeline_sink lane = {.put = put, .arg = &output.writer};
	uint64_t from = input.partition->state.log_end;

	publish_input(&shapes[index]);
	mr_source_seek(&source, from);
	begin_count();
	read_all();
	end_count("read", index, counted);
	begin_count();
	parse_all();
	end_count("parse", index, counted);
	begin_count();
	feed_all(&nothing);
	end_count("feed", index, counted);
	mr_assert(mr_source_release(&source) == 0);
	publish_input(&shapes[index]); /* again the same would be late */
	begin_count();
	read_all();
	feed_all(&lane);
	mr_lane_publish(&output.writer);
	end_count("path", index, counted);
	mr_assert(mr_source_release(&source) == 0);
	drain(&output);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void run_shape(size_t index)
{
	const char *text = shapes[index].rule;
	struct mr_program *program;
	struct mr_rule *rule;
	struct mr_error err = {0};
	int r = mr_rule_read(text, strlen(text), "rule", &rule, &err);

	if (r < 0)
		fprintf(stderr, "%s\n", err.what);
	mr_assert(r == 0);
	r = mr_program_new(rule, &program, &err);
	mr_assert(r == 0);
	r = mr_pipeline_new(program, 0, &pipeline, &err);
	mr_assert(r == 0);
	r = mr_parser_new(&rule->parse, &parser, &err);
	mr_assert(r == 0);
	for (uint32_t i = 0; i < WARM_ROUNDS + ROUNDS; i++)
		run_round(index, i >= WARM_ROUNDS);
	mr_parser_free(parser);
	mr_pipeline_free(pipeline);
	mr_program_free(program);
	mr_rule_free(rule);
}

int main(void)
{
	struct mr_error err;
	int r;

	mr_test_drain_init(&input, LANE_BYTES, TAIL_BYTES, GROUP_BYTES, SEGMENT_BYTES);
	mr_test_drain_init(&output, LANE_BYTES, TAIL_BYTES, GROUP_BYTES, SEGMENT_BYTES);
	mr_source_init(&source, 0);
	r = mr_tail_view_open(input.partition->tail.fd, TAIL_BYTES, &source.view, &err);
	mr_assert(r == 0);
	source.viewed = true;
	CALLGRIND_START_INSTRUMENTATION;
	for (size_t i = 0; i < mr_array_count(shapes); i++)
		run_shape(i);
	mr_source_close(&source);
	free(reading.messages);
	free(reading.copy);
	mr_test_drain_deinit(&input);
	mr_test_drain_deinit(&output);
	return 0;
}
