/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline costs a record, and how long an alert takes. Runs on the thread of the question,
 * which publishes and reads; owns one engine.
 *
 * CPU is that of the pipeline's thread (its name begins with "p:") from the rule's adding until all
 * that was stored before is answered: reading, checking, parsing, cleaning, windows and writing of
 * the output, which is packed and kept in memory. Checkpoints fall into it as they do.
 *
 * By stage: this thread reads the same records again and again (stages.h), each time with a stage
 * more; a stage is the difference to the one that it is more than. What the engine's thread takes
 * beyond the last is putting, checkpoints, and two threads' sharing of lines.
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
#include "stages.h"

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
	const char *parse; /* of the rule: how a record is read */
	const char *rule;  /* the rest, but for pipeline, input and output */
	const struct stages *stages;
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
		 "pipeline: bench\ninput: %s\n%s\n%s\noutput: {topic: %s.knowledge, format: "
		 "packed, storage: %s}\n",
		 bench->input, bench->parse, bench->rule, bench->input,
		 in_memory ? "memory" : "log");
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

#define WINDOWS                                                                                    \
	"windows: {a: {fn: weighted_average, last: 16, weights: linear}, m: {fn: max, last: "      \
	"16}}\n"
#define ALL_DROPPED "clean: {range: [1e300, 1e301]}"
#define ALL_CLEANED                                                                                \
	"clean: {range: [-1e300, 1e300], drop: [missing, duplicate, unchanged], max_late: 5s, "    \
	"spike: 1e9mad}"
#define ONE_COMPARISON "alert: [{name: n, when: \"a > 1000\"}]"
/* Each one more takes four operations: two numbers, the comparison, the 'or'. */
#define MORE_OPERATIONS 16
#define FIVE_COMPARISONS                                                                           \
	"alert: [{name: n, when: \"a > 1000 or m > 1001 or value > 1002 or a > 1003 or m > 1004"   \
	"\"}]"
#define OFTEN "alert: [{name: n, when: \"value > 50\"}]"

#define NOTHING_LESS (-1)

enum { ENGINE = MR_BENCH_STAGE_FEED + 1 }; /* beside enum mr_bench_stage_cut: the engine's thread */

struct stage {
	const char *name;
	int cut;
	const char *rule;
	const char *format;
	int than;    /* the stage that it is more than */
	double each; /* how often a record has what is told; 0: as often as it has alerts */
};

struct stages {
	const struct stage *list;
	uint32_t count;
};

static const struct stage number_stages[] = {
	{"read", MR_BENCH_STAGE_READ, "", "packed", NOTHING_LESS, 1},
	{"parse", MR_BENCH_STAGE_PARSE, "", "packed", 0, 1},
	{"look the key up", MR_BENCH_STAGE_FEED, ALL_DROPPED, "packed", 1, 1},
	{"keep, render", MR_BENCH_STAGE_FEED, "", "packed", 2, 1},
	{"windows", MR_BENCH_STAGE_FEED, WINDOWS, "packed", 3, 1},
	{"put, checkpoints", ENGINE, "", "packed", 4, 1},
	{"more for all cleaning", MR_BENCH_STAGE_FEED, WINDOWS ALL_CLEANED, "packed", 4, 1},
	{"more for JSON out", MR_BENCH_STAGE_FEED, WINDOWS, "json", 4, 1},
	{"more for a condition", MR_BENCH_STAGE_FEED, WINDOWS ONE_COMPARISON, "packed", 4, 1},
	{"more for each operation", MR_BENCH_STAGE_FEED, WINDOWS FIVE_COMPARISONS, "packed", 8,
	 MORE_OPERATIONS},
	{"more for an alert's line", MR_BENCH_STAGE_FEED, WINDOWS OFTEN, "packed", 8, 0},
};

static const struct stage text_stages[] = {
	{"read", MR_BENCH_STAGE_READ, "", "packed", NOTHING_LESS, 1},
	{"parse", MR_BENCH_STAGE_PARSE, "", "packed", 0, 1},
	{"key, windows, render", MR_BENCH_STAGE_FEED, WINDOWS, "packed", 1, 1},
	{"put, checkpoints", ENGINE, "", "packed", 2, 1},
};

static int time_stage(struct mr_bench_run *run, struct bench *bench, const struct stage *stage,
		      struct mr_bench_stage_cost *cost, struct mr_error *err)
{
	const struct mr_bench_stage_input input = {.connection = bench->connection,
						   .topic = bench->input,
						   .records = bench->records,
						   .parse = bench->parse};
	struct mr_bench_sample sample;
	int r;

	if (stage->cut != ENGINE)
		return mr_bench_stage_time(&input, (enum mr_bench_stage_cut)stage->cut, stage->rule,
					   stage->format, cost, err);
	r = sample_cpu(run, bench, &sample, err);
	cost->ns = sample.values[0];
	cost->alerts = 0;
	return r;
}

/* [i]: ns of stage i */
static int sample_stages(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			 struct mr_error *err)
{
	struct bench *bench = arg;
	struct mr_bench_stage_cost costs[MR_BENCH_VALUES_MAX];
	int r = 0;

	sample->disturbed = 0;
	for (uint32_t i = 0; i < bench->stages->count && r == 0; i++) {
		const struct stage *stage = &bench->stages->list[i];
		double less = stage->than == NOTHING_LESS ? 0 : costs[stage->than].ns;

		r = time_stage(run, bench, stage, &costs[i], err);
		sample->values[i] =
			(costs[i].ns - less) / (stage->each > 0 ? stage->each : costs[i].alerts);
	}
	return r;
}

static int measure_stages(struct bench *bench, struct mr_error *err)
{
	struct mr_bench_measure ours = {sample_stages, bench};
	struct mr_bench_figure figures[MR_BENCH_VALUES_MAX];
	char names[MR_BENCH_VALUES_MAX][MR_BENCH_NAME_BYTES];
	uint32_t count = bench->stages->count;

	mr_assert(count <= MR_BENCH_VALUES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		snprintf(names[i], sizeof(names[i]), "%s: %s", bench->input,
			 bench->stages->list[i].name);
		figures[i] = (struct mr_bench_figure){.name = names[i], .unit = "ns", .value = i};
	}
	mr_bench_progress(bench->run, "%s, by stage", bench->input);
	return mr_bench_pairs(bench->run, PAIRS, &ours, NULL, figures, count, err);
}

/* ---- the cases ----------------------------------------------------------------------------------
 */

struct cpu_case {
	const char *input;
	const char *name;
	const char *parse;
	const char *rule;
	uint32_t (*make)(uint64_t i, char *value);
	uint32_t keys;
	uint32_t records;
	double bar; /* 0: none */
	struct stages stages;
};

#define RAW "parse: {format: raw, fields: [\"v: f64 @ 0\"]}\nvalue: v\n"

static const struct cpu_case cases[] = {
	{"numbers",
	 "pipeline CPU, packed numbers, 100,000 keys",
	 RAW,
	 WINDOWS,
	 make_numbers,
	 MANY_KEYS,
	 RECORDS,
	 BAR_NUMBERS,
	 {number_stages, mr_array_count(number_stages)}},
	{"texts",
	 "pipeline CPU, JSON of 100 B, two fields",
	 "parse: json\ntime: $.ts\nvalue: $.temp\n",
	 WINDOWS,
	 make_json,
	 MANY_KEYS,
	 RECORDS,
	 BAR_JSON,
	 {text_stages, mr_array_count(text_stages)}},
	{"k4",
	 "max, min, sum, mean of the last 4",
	 RAW,
	 "windows: {a: {fn: max, last: 4}, b: {fn: min, last: 4}, c: {fn: sum, last: 4}, "
	 "d: {fn: mean, last: 4}}",
	 make_numbers,
	 SOME_KEYS,
	 FEW_RECORDS,
	 0,
	 {0}},
	{"k64",
	 "max, min, sum, mean of the last 64",
	 RAW,
	 "windows: {a: {fn: max, last: 64}, b: {fn: min, last: 64}, c: {fn: sum, last: 64}, "
	 "d: {fn: mean, last: 64}}",
	 make_numbers,
	 SOME_KEYS,
	 FEW_RECORDS,
	 0,
	 {0}},
	{"k4096",
	 "max, min, sum, mean of the last 4,096",
	 RAW,
	 "windows: {a: {fn: max, last: 4096}, b: {fn: min, last: 4096}, "
	 "c: {fn: sum, last: 4096}, d: {fn: mean, last: 4096}}",
	 make_numbers,
	 64,
	 FEW_RECORDS,
	 0,
	 {0}},
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
	bench->parse = one->parse;
	bench->rule = one->rule;
	bench->stages = &one->stages;
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
	if (r == 0 && one->stages.count > 0)
		r = measure_stages(bench, err);
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
	bench->parse = RAW;
	bench->rule = "alert: [{name: high, when: \"value > 10\", clear: \"value < 5\"}]";
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
