/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline costs a record, and how long an alert takes. Runs on the thread of the question,
 * which publishes and reads; owns one engine.
 *
 * CPU is that of the pipeline's thread (its name begins with "p:") from the rule's adding until all
 * that was stored before is answered: reading, checking, parsing, cleaning, windows and writing of
 * the output, which is packed and kept in memory. Checkpoints fall into it as they do.
 *
 * By stage: this thread reads the same records again with the later stages cut off, each time one
 * less: reading alone, with parsing, with all of the pipeline's core and a sink that does nothing.
 * A stage is the difference to the one before; what the engine's thread took beyond the last is
 * putting, checkpoints, and two threads' sharing of lines.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "connection.h"
#include "engine_process.h"
#include "histogram.h"
#include "now.h"
#include "pipeline.h"

#define BAR_NUMBERS   125.0
#define BAR_JSON      500.0
#define RECORDS	      4000000u
#define FEW_RECORDS   400000u
#define MANY_KEYS     100000u
#define SOME_KEYS     1000u
#define PAIRS	      3
#define TRIALS	      400
#define PATIENCE_NS   UINT64_C(120000000000)
#define LOOK_NS	      20000000L
#define POLL_MS	      5000
#define PUBLISH_BURST 256u

struct bench {
	struct mr_bench_run *run;
	struct mr_bench_engine *engine;
	struct mr_connection *connection;
	/* of the present case */
	const char *input;
	const char *rule; /* all but pipeline, input and output */
	uint64_t records;
	double key_bytes; /* of state, as the last sample saw it */
};

/* ---- asking ------------------------------------------------------------------------------------
 */

/* The answer, owned by the caller; NULL with a sentence. Takes the request. */
static json_t *ask(struct bench *bench, json_t *request, struct mr_error *err)
{
	char *text = json_dumps(request, JSON_COMPACT), *reply = NULL;
	json_t *answer = NULL;
	json_error_t problem;

	json_decref(request);
	if (!text)
		mr_error_set(err, -ENOMEM, "no memory for a request");
	else if (mr_connection_admin(bench->connection, text, &reply, err) == 0)
		answer = json_loads(reply, 0, &problem);
	if (text && reply && !answer)
		mr_error_set(err, -EPROTO, "the engine's answer is no JSON: %s", problem.text);
	free(text);
	free(reply);
	return answer;
}

static int tell(struct bench *bench, json_t *request, struct mr_error *err)
{
	json_t *answer = ask(bench, request, err);

	json_decref(answer);
	return answer ? 0 : err->code;
}

static int make_topic(struct bench *bench, const char *name, bool in_memory, struct mr_error *err)
{
	return tell(bench,
		    json_pack("{s:s, s:s, s:i, s:s}", "do", "topic.create", "name", name,
			      "partitions", 1, "storage", in_memory ? "memory" : "disk"),
		    err);
}

static int add_rule(struct bench *bench, bool in_memory, const char *from, struct mr_error *err)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "pipeline: bench\ninput: %s\n%s\noutput: {topic: %s.knowledge, format: packed, "
		 "storage: %s}\n",
		 bench->input, bench->rule, bench->input, in_memory ? "memory" : "log");
	return tell(bench,
		    json_pack("{s:s, s:s, s:s, s:s}", "do", "rule.add", "text", text, "file",
			      "bench", "from", from),
		    err);
}

static int remove_rule(struct bench *bench, struct mr_error *err)
{
	return tell(bench, json_pack("{s:s, s:s}", "do", "rule.remove", "name", "bench"), err);
}

static json_int_t number(const json_t *row, const char *name)
{
	return json_integer_value(json_object_get(row, name));
}

/* 1: it has answered all; 0: not yet. */
static int look(struct bench *bench, uint64_t records, struct mr_error *err)
{
	json_t *answer = ask(bench, json_pack("{s:s}", "do", "rule.list"), err);
	const json_t *row = json_array_get(json_object_get(answer, "pipelines"), 0);
	const json_t *part = json_array_get(json_object_get(row, "partitions"), 0);
	json_int_t keys = number(part, "keys");
	int done = (uint64_t)number(part, "records") >= records;

	if (!answer)
		return err->code;
	bench->key_bytes = keys ? (double)number(part, "bytes") / (double)keys : 0;
	json_decref(answer);
	return done;
}

static int wait_for(struct bench *bench, uint64_t records, struct mr_error *err)
{
	uint64_t until = mr_bench_now_ns() + PATIENCE_NS;
	struct timespec rest = {.tv_nsec = LOOK_NS};
	int r;

	while ((r = look(bench, records, err)) == 0) {
		if (mr_bench_now_ns() > until)
			return mr_error_set(err, -ETIMEDOUT,
					    "the pipeline did not answer %" PRIu64 " records",
					    records);
		(void)nanosleep(&rest, NULL);
	}
	return r < 0 ? r : 0;
}

/* ---- input -------------------------------------------------------------------------------------
 */

/* Two little-endian doubles: the value, and what fills. */
static uint32_t make_numbers(uint64_t i, char *value)
{
	double numbers[2] = {(double)(i * 7919 % 10007) / 100, 0};

	memcpy(value, numbers, sizeof(numbers));
	return sizeof(numbers);
}

/* Flat, some 100 bytes, of which two fields are used. */
static uint32_t make_json(uint64_t i, char *value)
{
	return (uint32_t)snprintf(
		value, 128,
		"{\"ts\":%" PRIu64 ",\"site\":\"hall 3\",\"temp\":%" PRIu64 ".%02" PRIu64
		",\"unit\":\"C\",\"rpm\":%" PRIu64 ",\"ok\":true,\"line\":\"north\"}",
		UINT64_C(1700000000000) + i, 20 + i % 80, i * 37 % 100, 1000 + i % 997);
}

static int fill(struct bench *bench, uint32_t keys, uint32_t (*make)(uint64_t i, char *value),
		struct mr_error *err)
{
	struct mr_producer_options options = {.size = sizeof(options),
					      .topic = bench->input,
					      .partition = 0,
					      .lane_bytes = 4u << 20,
					      .full_wait_ms = POLL_MS};
	struct mr_producer *producer;
	int r = mr_producer_open(bench->connection, &options, &producer, err);

	for (uint64_t i = 0; r == 0 && i < bench->records; i++) {
		char key[16], value[128];
		struct mr_record record = {
			.key = key,
			.key_bytes =
				snprintf(key, sizeof(key), "k%06u", (uint32_t)(i * 7919 % keys)),
			.value = value,
			.value_bytes = (int32_t)make(i, value),
			.timestamp_ms = INT64_C(1700000000000) + (int64_t)i,
		};

		r = mr_producer_put(producer, &record);
		if (r < 0)
			mr_producer_error(producer, err);
	}
	if (r == 0 || err->code)
		r = mr_producer_close(producer, POLL_MS) < 0 && r == 0
			    ? mr_error_set(err, -ETIMEDOUT, "records were not acknowledged")
			    : r;
	return r;
}

/* ---- CPU a record ------------------------------------------------------------------------------
 */

/* [0]: ns of CPU a record */
static int sample_cpu(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct bench *bench = arg;
	int r = add_rule(bench, true, "earliest", err);

	if (r == 0)
		r = wait_for(bench, bench->records, err);
	sample->values[0] =
		(double)mr_bench_engine_cpu_ns(bench->engine, "p:") / (double)bench->records;
	sample->disturbed = 0; /* time that others took is none of the thread's */
	if (r == 0)
		r = remove_rule(bench, err);
	return r;
}

/* ---- by stage -----------------------------------------------------------------------------------
 */

enum cut { READ, PARSE, CORE, CUTS };
static const char *const cut_names[CUTS] = {"read", "parse", "key, clean, windows, render"};

struct core {
	struct mr_rule *rule;
	struct mr_program *program;
	struct mr_pipeline *pipeline;
	struct mr_parser *parser;
};

static void close_core(struct core *core)
{
	mr_parser_free(core->parser);
	mr_pipeline_free(core->pipeline);
	mr_program_free(core->program);
	mr_rule_free(core->rule);
}

/* close_core() in any case. */
static int open_core(const struct bench *bench, struct core *core, struct mr_error *err)
{
	char text[2048];
	int r;

	snprintf(text, sizeof(text),
		 "pipeline: bench\ninput: %s\n%s\noutput: {topic: o, format: "
		 "packed}\n",
		 bench->input, bench->rule);
	*core = (struct core){0};
	r = mr_rule_read(text, strlen(text), "bench", &core->rule, err);
	if (r == 0)
		r = mr_program_new(core->rule, &core->program, err);
	if (r == 0)
		r = mr_pipeline_new(core->program, 0, &core->pipeline, err);
	if (r == 0)
		r = mr_parser_new(&core->rule->parse, &core->parser, err);
	return r;
}

static void swallow(void *arg, const struct mr_pipeline_record *record)
{
}

static int work_up_to(const struct core *core, enum cut cut, const struct mr_message *messages,
		      uint32_t count)
{
	const struct mr_pipeline_sink sink = {.put = swallow};
	struct mr_parsed parsed;

	for (uint32_t i = 0; cut == PARSE && i < count; i++)
		(void)mr_parser_parse(core->parser, &messages[i], &parsed); /* its time counts */
	return cut == CORE ? mr_pipeline_feed(core->pipeline, messages, count, &sink) : 0;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Nanoseconds of this thread's CPU a record, in '*ns'. */
static int time_cut(struct bench *bench, const struct core *core, enum cut cut, double *ns,
		    struct mr_error *err)
{
	struct mr_consumer_options from = {
		.size = sizeof(from), .topic = bench->input, .from = MR_FROM_EARLIEST};
	const struct mr_message *messages;
	struct mr_consumer *consumer;
	uint64_t began, done = 0;
	int r = mr_consumer_open(bench->connection, &from, &consumer, err);

	if (r < 0)
		return r;
	began = own_cpu_ns();
	while (r >= 0 && done < bench->records) {
		r = mr_consumer_poll(consumer, POLL_MS, &messages);
		if (r < 0)
			mr_consumer_error(consumer, err);
		else if (r == 0)
			r = mr_error_set(err, -ETIMEDOUT, "stored records do not come");
		if (r < 0)
			break;
		done += (uint64_t)r;
		r = work_up_to(core, cut, messages, (uint32_t)r);
		if (r < 0)
			mr_error_set(err, r, "no memory for keys");
	}
	*ns = (double)(own_cpu_ns() - began) / (double)bench->records;
	mr_consumer_close(consumer);
	return r < 0 ? r : 0;
}

static int measure_stages(struct bench *bench, const char *name, struct mr_error *err)
{
	struct mr_bench_figure figure = {.unit = "ns"};
	char text[MR_BENCH_NAME_BYTES];
	double before = 0, now = 0;
	struct core core;
	int r = open_core(bench, &core, err);

	figure.name = text;
	for (int cut = 0; r == 0 && cut < CUTS; cut++) {
		r = time_cut(bench, &core, (enum cut)cut, &now, err);
		snprintf(text, sizeof(text), "%s: %s", name, cut_names[cut]);
		if (r == 0)
			mr_bench_add(bench->run, &figure, now - before, 0);
		before = now;
	}
	close_core(&core);
	return r;
}

struct cpu_case {
	const char *input;
	const char *name;
	const char *rule;
	uint32_t (*make)(uint64_t i, char *value);
	uint32_t keys;
	uint32_t records;
	double bar; /* 0: none */
};

#define RAW "parse: {format: raw, fields: [\"v: f64 @ 0\"]}\nvalue: v\n"

static const struct cpu_case cases[] = {
	{"numbers", "pipeline CPU, packed numbers, 100,000 keys",
	 RAW "windows: {a: {fn: weighted_average, last: 16, weights: linear}, "
	     "m: {fn: max, last: 16}}",
	 make_numbers, MANY_KEYS, RECORDS, BAR_NUMBERS},
	{"texts", "pipeline CPU, JSON of 100 B, two fields",
	 "parse: json\ntime: $.ts\nvalue: $.temp\n"
	 "windows: {a: {fn: weighted_average, last: 16, weights: linear}, "
	 "m: {fn: max, last: 16}}",
	 make_json, MANY_KEYS, RECORDS, BAR_JSON},
	{"k4", "max, min, sum, mean of the last 4",
	 RAW "windows: {a: {fn: max, last: 4}, b: {fn: min, last: 4}, c: {fn: sum, last: 4}, "
	     "d: {fn: mean, last: 4}}",
	 make_numbers, SOME_KEYS, FEW_RECORDS, 0},
	{"k64", "max, min, sum, mean of the last 64",
	 RAW "windows: {a: {fn: max, last: 64}, b: {fn: min, last: 64}, c: {fn: sum, last: 64}, "
	     "d: {fn: mean, last: 64}}",
	 make_numbers, SOME_KEYS, FEW_RECORDS, 0},
	{"k4096", "max, min, sum, mean of the last 4,096",
	 RAW "windows: {a: {fn: max, last: 4096}, b: {fn: min, last: 4096}, "
	     "c: {fn: sum, last: 4096}, d: {fn: mean, last: 4096}}",
	 make_numbers, 64, FEW_RECORDS, 0},
};

static int measure_cpu(struct bench *bench, const struct cpu_case *one, struct mr_error *err)
{
	const struct mr_bench_figure figure = {
		.name = one->name,
		.unit = "ns",
		.sense = one->bar > 0 ? MR_BENCH_AT_MOST : MR_BENCH_REPORT,
		.bar = one->bar,
	};
	struct mr_bench_measure ours = {sample_cpu, bench};
	int r;

	bench->input = one->input;
	bench->rule = one->rule;
	bench->records = one->records;
	mr_bench_progress(bench->run, "%s", one->name);
	r = make_topic(bench, one->input, false, err);
	if (r == 0)
		r = fill(bench, one->keys, one->make, err);
	if (r == 0)
		r = mr_bench_pairs(bench->run, PAIRS, &ours, NULL, &figure, 1, err);
	if (r == 0)
		mr_bench_note(bench->run, "%.0f bytes of state a key, %u keys", bench->key_bytes,
			      one->keys);
	if (r == 0 && one->bar > 0)
		r = measure_stages(bench, one->input, err);
	return r;
}

/* ---- alerts ------------------------------------------------------------------------------------
 */

static int publish_and_wait(struct mr_producer *producer, struct mr_consumer *consumer, uint32_t i,
			    uint64_t *took_ns, struct mr_error *err)
{
	double value[2] = {i % 2 ? 0 : 20, 0};
	struct mr_record record = {.key = "k",
				   .key_bytes = 1,
				   .value = value,
				   .value_bytes = sizeof(value),
				   .timestamp_ms = MR_TIMESTAMP_NOW};
	const struct mr_message *messages;
	uint64_t began = mr_bench_now_ns();
	int r = mr_producer_put(producer, &record);

	if (r < 0) {
		mr_producer_error(producer, err);
		return r;
	}
	r = mr_consumer_poll(consumer, POLL_MS, &messages);
	*took_ns = mr_bench_now_ns() - began;
	if (r < 0)
		mr_consumer_error(consumer, err);
	return r == 0 ? mr_error_set(err, -ETIMEDOUT, "no alert came") : r < 0 ? r : 0;
}

static int time_alerts(struct bench *bench, struct mr_producer *producer,
		       struct mr_consumer *consumer, const char *how, struct mr_error *err)
{
	struct mr_bench_figure figure = {.unit = "us"};
	char name[MR_BENCH_NAME_BYTES];
	struct mr_histogram *histogram = mr_histogram_new();
	uint64_t took_ns = 0;
	int r = histogram ? 0 : mr_error_set(err, -ENOMEM, "no memory for a histogram");

	for (uint32_t i = 0; i < TRIALS && r == 0; i++) {
		r = publish_and_wait(producer, consumer, i, &took_ns, err);
		if (r == 0)
			mr_histogram_add(histogram, took_ns, 1);
	}
	figure.name = name;
	for (int percentile = 50; r == 0 && percentile <= 99; percentile += 49) {
		snprintf(name, sizeof(name), "publish to alert readable, acks %s, p%d", how,
			 percentile);
		mr_bench_add(bench->run, &figure,
			     (double)mr_histogram_percentile(histogram, percentile / 100.0) / 1000,
			     0);
	}
	mr_histogram_free(histogram);
	return r;
}

static int measure_alerts(struct bench *bench, const char *input, bool in_memory,
			  struct mr_error *err)
{
	char alerts[64];
	struct mr_producer_options to = {.size = sizeof(to),
					 .topic = input,
					 .partition = 0,
					 .acks = in_memory ? MR_ACKS_MEMORY : MR_ACKS_COMMITTED};
	struct mr_consumer_options from = {.size = sizeof(from), .topic = alerts};
	struct mr_producer *producer = NULL;
	struct mr_consumer *consumer = NULL;
	int r;

	bench->input = input;
	bench->rule = RAW "alert: [{name: high, when: \"value > 10\", clear: \"value < 5\"}]";
	snprintf(alerts, sizeof(alerts), "%s.alerts", input);
	mr_bench_progress(bench->run, "publish to alert readable, %s", input);
	r = make_topic(bench, input, in_memory, err);
	if (r == 0)
		r = add_rule(bench, in_memory, "latest", err);
	if (r == 0)
		r = mr_producer_open(bench->connection, &to, &producer, err);
	if (r == 0)
		r = mr_consumer_open(bench->connection, &from, &consumer, err);
	if (r == 0)
		r = time_alerts(bench, producer, consumer, in_memory ? "memory" : "committed", err);
	mr_consumer_close(consumer);
	(void)mr_producer_close(producer,
				POLL_MS); /* every record was answered, or r says why not */
	if (r == 0)
		r = remove_rule(bench, err);
	return r;
}

/* ---- the question ------------------------------------------------------------------------------
 */

static int run_all(struct bench *bench, struct mr_error *err)
{
	int r = 0;

	for (size_t i = 0; i < mr_array_count(cases) && r == 0; i++)
		r = measure_cpu(bench, &cases[i], err);
	if (r == 0)
		r = measure_alerts(bench, "fast", true, err);
	if (r == 0)
		r = measure_alerts(bench, "safe", false, err);
	return r;
}

int mr_bench_knowledge(struct mr_bench_run *run, struct mr_error *err)
{
	struct mr_bench_engine_options options = {.name = "knowledge"};
	struct bench bench = {.run = run};
	int r = mr_bench_engine_start(run, &options, &bench.engine, err);

	if (r < 0)
		return r;
	bench.connection = mr_bench_engine_connect(bench.engine, err);
	r = bench.connection ? run_all(&bench, err) : err->code;
	mr_disconnect(bench.connection);
	if (r < 0)
		mr_bench_engine_kill(bench.engine);
	else
		r = mr_bench_engine_stop(bench.engine, err);
	return r;
}
