/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast one consumer reads: from a tail in memory, and from segments that nobody has in memory
 * against raw sequential reads of the same files. Runs on the thread of the question, which is the
 * consumer, on a core that no worker has; owns an engine at a time.
 *
 * The consumer is what a user would run: it takes each message, checks that no offset is missing
 * and reads the first and the last byte of each value. What was published at full rate lies in
 * large batches; behind a producer of RATE_SMALL records/s it lies in small ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "logs.h"
#include "now.h"
#include "trend.h"
#include "windows.h"

#define VALUE_BYTES   100
#define LANE_BYTES    (4u << 20)
#define BAR_TAIL      40e6
#define BAR_SEGMENTS  0.8
#define RATE_SMALL    1e6
#define FILL_SECONDS  1.0
#define SMALL_SECONDS 3.0
#define FILE_SECONDS  2.5 /* of publishing, so that some segments are complete */
#define SAMPLE	      1.0
#define POLL_MS	      1000
#define PATIENCE_NS   UINT64_C(30000000000)
#define SEGMENT_PAIRS 9

struct reading {
	struct mr_bench_engine *engine;
	struct mr_connection *connection;
	struct mr_consumer *consumer;
	struct mr_bench_logs logs;
	uint64_t first, end; /* offsets to be read */
	uint64_t bytes;	     /* of the files that hold them */
	uint64_t cores;	     /* that a gap on disturbs: ours */
	uint64_t touched;    /* what was read is used, or the compiler would leave it out */
	int core;
	bool in_place;
	struct mr_windows windows; /* of a sample: records read */
	uint64_t read;
};

/* ---- one pass ------------------------------------------------------------ */

static int take(struct reading *reading, const struct mr_message *messages, int count,
		uint64_t *next, struct mr_error *err)
{
	uint64_t touched = 0;

	for (int i = 0; i < count; i++) {
		const uint8_t *value = messages[i].value;

		if (messages[i].offset != *next || messages[i].value_bytes != VALUE_BYTES)
			return mr_error_set(err, -EBADMSG,
					    "offset %llu with a value of %d bytes was read, "
					    "expected offset %llu with %d",
					    (unsigned long long)messages[i].offset,
					    messages[i].value_bytes, (unsigned long long)*next,
					    VALUE_BYTES);
		touched += value[0] + value[VALUE_BYTES - 1];
		(*next)++;
	}
	reading->touched += touched;
	return 0;
}

static int poll_once(struct reading *reading, uint64_t *next, struct mr_error *err)
{
	const struct mr_message *messages;
	int count, r;

	count = reading->in_place ? mr_consumer_poll_in_place(reading->consumer, POLL_MS, &messages)
				  : mr_consumer_poll(reading->consumer, POLL_MS, &messages);
	if (count < 0) {
		mr_consumer_error(reading->consumer, err);
		return count;
	}
	r = take(reading, messages, count, next, err);
	if (r == 0 && reading->in_place && mr_consumer_release(reading->consumer) < 0)
		r = mr_error_set(err, -EOVERFLOW, "the records were overwritten while being read");
	return r;
}

/* Reads [first, end) once. */
static int read_all(struct reading *reading, struct mr_error *err)
{
	uint64_t next = reading->first, began_ns = mr_bench_now_ns(), now_ns = began_ns;
	int r = mr_consumer_seek(reading->consumer, 0, next);

	if (r < 0)
		return mr_error_set(err, r, "cannot seek to offset %llu", (unsigned long long)next);
	while (r == 0 && next < reading->end) {
		uint64_t before = next;

		r = poll_once(reading, &next, err);
		now_ns = mr_bench_now_ns();
		reading->read += next - before;
		mr_windows_look(&reading->windows, now_ns, reading->read);
		if (r == 0 && now_ns - began_ns > PATIENCE_NS)
			r = mr_error_set(err, -ETIMEDOUT, "reading came to no end");
	}
	mr_windows_cut(&reading->windows, now_ns, reading->read);
	return r;
}

/* Passes, one at least, until 'seconds' are over. On success the caller frees the windows. */
static int read_for(struct reading *reading, double seconds, struct mr_error *err)
{
	uint64_t until_ns = mr_bench_now_ns() + (uint64_t)(seconds * 1e9);
	int r = mr_windows_init(&reading->windows, seconds + PATIENCE_NS / 1e9, err);

	if (r < 0)
		return r;
	reading->read = 0;
	mr_windows_begin(&reading->windows, mr_bench_now_ns(), 0);
	do
		r = read_all(reading, err);
	while (r == 0 && mr_bench_now_ns() < until_ns);
	if (r < 0)
		mr_windows_deinit(&reading->windows);
	return r;
}

/* ---- from the tail ------------------------------------------------------- */

/* [0]: records/s, the median of windows */
static int sample_tail(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	struct reading *reading = arg;
	double p90;
	int r = read_for(reading, mr_bench_seconds(run, SAMPLE), err);

	if (r < 0)
		return r;
	r = mr_windows_judge(&reading->windows, run, reading->cores, &sample->values[0], &p90,
			     &sample->disturbed, err);
	mr_windows_deinit(&reading->windows);
	return r;
}

/* What the topic has, from its oldest record on. */
static int find_range(struct reading *reading, struct mr_error *err)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	const struct mr_message *messages;
	int count = mr_consumer_poll(reading->consumer, POLL_MS, &messages);

	if (count > 0) {
		reading->first = messages[0].offset;
		if (mr_consumer_position(reading->consumer, 0, &position) == 0) {
			reading->end = position.offset + position.lag;
			return 0;
		}
	}
	if (count < 0)
		mr_consumer_error(reading->consumer, err);
	return mr_error_set(err, -ENODATA, "there is nothing to be read");
}

static int open_consumer(struct reading *reading, const char *topic, struct mr_error *err)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = topic,
		.from = MR_FROM_EARLIEST,
	};
	int r;

	reading->connection = mr_bench_engine_connect(reading->engine, err);
	if (!reading->connection)
		return err->code;
	r = mr_consumer_open(reading->connection, &options, &reading->consumer, err);
	return r < 0 ? r : find_range(reading, err);
}

static int publish(struct mr_bench_run *run, struct reading *reading, const char *topic,
		   enum mr_acks acks, double rate, double seconds, struct mr_error *err)
{
	struct mr_bench_load load = {
		.topic = topic,
		.acks = acks,
		.value_bytes = VALUE_BYTES,
		.lane_bytes = LANE_BYTES,
		.rate = rate,
		.seconds = seconds,
		.core = reading->core,
	};
	struct mr_bench_load_result result;
	int r = mr_bench_load_run(run, reading->engine, &load, 1, &result, err);

	if (r == 0)
		mr_bench_load_free(&result, 1);
	return r;
}

static int start(struct mr_bench_run *run, struct reading *reading, const char *name,
		 const char *config, struct mr_error *err)
{
	struct mr_bench_engine_options options = {.name = name, .config = config};
	int r = mr_bench_pin(run, -1, err); /* the engine inherits it */

	if (r == 0)
		r = mr_bench_engine_start(run, &options, &reading->engine, err);
	if (r < 0)
		return r;
	reading->core = mr_bench_free_core(run, mr_bench_engine_worker_cores(reading->engine));
	reading->cores = reading->core >= 0 ? UINT64_C(1) << reading->core : 0;
	return mr_bench_pin(run, reading->core, err);
}

static void close_consumer(struct reading *reading)
{
	mr_consumer_close(reading->consumer);
	mr_disconnect(reading->connection);
	reading->consumer = NULL;
	reading->connection = NULL;
}

static int from_tail(struct mr_bench_run *run, struct reading *reading, const char *topic,
		     double rate, double seconds, bool judged, struct mr_error *err)
{
	struct mr_bench_measure ours = {sample_tail, reading};
	struct mr_bench_measure none = {0};
	const char *how = rate > 0 ? ", behind 1,000,000 records/s" : "";
	int r = publish(run, reading, topic, MR_ACKS_MEMORY, rate, seconds, err);

	if (r == 0)
		r = open_consumer(reading, topic, err);
	for (int in_place = 1; r == 0 && in_place >= 0; in_place--) {
		char name[MR_BENCH_NAME_BYTES];
		struct mr_bench_figure figure = {
			.name = name,
			.unit = "records/s",
			.sense = judged ? MR_BENCH_AT_LEAST : MR_BENCH_REPORT,
			.bar = judged ? BAR_TAIL : 0,
		};

		reading->in_place = in_place;
		snprintf(name, sizeof(name), "consume from the tail, 100 B, %s%s",
			 in_place ? "in place" : "copied", how);
		mr_bench_progress(run, "%s", name);
		r = mr_bench_pairs(run, 0, &ours, &none, &figure, 1, err);
	}
	close_consumer(reading);
	return r;
}

/* The producer's thread reads each record back. [0]: records/s, the median of windows */
static int sample_live(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	const struct reading *reading = arg;
	struct mr_bench_load load = {
		.topic = "live",
		.acks = MR_ACKS_MEMORY,
		.value_bytes = VALUE_BYTES,
		.lane_bytes = LANE_BYTES,
		.seconds = mr_bench_seconds(run, SAMPLE),
		.warm_up_seconds = 0.2,
		.core = reading->core,
		.consume = true,
	};
	struct mr_bench_load_result result;
	uint64_t cores = reading->cores;
	double p90;
	int r = mr_bench_load_run(run, reading->engine, &load, 1, &result, err);

	if (r < 0)
		return r;
	cores |= mr_bench_engine_worker_cores(reading->engine);
	mr_bench_load_rate(run, &result, MR_WINDOW_NS, cores, &sample->values[0], &p90,
			   &sample->disturbed);
	mr_bench_load_free(&result, 1);
	return 0;
}

static int live(struct mr_bench_run *run, struct reading *reading, struct mr_error *err)
{
	const struct mr_bench_figure figure = {
		.name = "publish and consume each record, 100 B, one thread",
		.unit = "records/s",
	};
	struct mr_bench_measure ours = {sample_live, reading};

	mr_bench_progress(run, "%s", figure.name);
	return mr_bench_pairs(run, 0, &ours, NULL, &figure, 1, err);
}

static int tail_figures(struct mr_bench_run *run, struct reading *reading, struct mr_error *err)
{
	static const char config[] = "topics:\n"
				     "  - {name: tail, storage: memory, tail_bytes: 256 MiB}\n"
				     "  - {name: small, storage: memory, tail_bytes: 256 MiB}\n"
				     "  - {name: live, storage: memory, tail_bytes: 16 MiB}\n";
	int r = start(run, reading, "consume-tail", config, err);

	if (r == 0)
		r = from_tail(run, reading, "tail", 0, FILL_SECONDS, true, err);
	if (r == 0)
		r = from_tail(run, reading, "small", RATE_SMALL, SMALL_SECONDS, false, err);
	if (r == 0)
		r = live(run, reading, err);
	if (r < 0)
		mr_bench_engine_kill(reading->engine);
	else
		r = mr_bench_engine_stop(reading->engine, err);
	return r;
}

/* ---- from segments ------------------------------------------------------- */

/* [0]: bytes of files/s, [1]: records/s */
static int sample_segments(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			   struct mr_error *err)
{
	struct reading *reading = arg;
	int r;

	mr_bench_logs_drop(&reading->logs);
	r = read_for(reading, 0, err);
	if (r < 0)
		return r;
	r = mr_windows_total(&reading->windows, run, reading->cores, &sample->values[1],
			     &sample->disturbed, err);
	sample->values[0] = sample->values[1] * (double)reading->bytes /
			    (double)(reading->end - reading->first);
	mr_windows_deinit(&reading->windows);
	return r;
}

static int sample_raw(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct reading *reading = arg;

	return mr_bench_logs_read(run, &reading->logs, reading->logs.count - 1, reading->core,
				  sample, err);
}

/* All but the last one are whole; of them the tail, 16 MiB, has the end at most. */
static int choose_segments(struct reading *reading, struct mr_error *err)
{
	struct mr_bench_logs *logs = &reading->logs;
	int r = mr_bench_logs_find(mr_bench_engine_directory(reading->engine), logs, err);

	if (r < 0)
		return r;
	if (logs->count < 2)
		return mr_error_set(err, -ENODATA, "too little was written for one whole segment");
	reading->first = logs->files[0].base_offset;
	reading->end = logs->files[logs->count - 1].base_offset;
	reading->bytes = mr_bench_logs_bytes(logs, logs->count - 1);
	return 0;
}

static int segment_figures(struct mr_bench_run *run, struct reading *reading, struct mr_error *err)
{
	static const char config[] = "first_segment_bytes: 256 MiB\nsegment_bytes: 256 MiB\n";
	const struct mr_bench_figure figures[] = {
		{"consume from segments, 100 B", "bytes/s", "raw sequential reads", 0, 0,
		 MR_BENCH_AT_LEAST, BAR_SEGMENTS},
		{"consume from segments, 100 B, strictly", "bytes/s",
		 "raw sequential reads into huge pages", 0, 1, MR_BENCH_REPORT, 0},
		{"consume from segments, 100 B, copied", "records/s", NULL, 1, 0, MR_BENCH_REPORT,
		 0},
	};
	struct mr_bench_measure ours = {sample_segments, reading}, raw = {sample_raw, reading};
	int r = start(run, reading, "consume-segments", config, err);

	reading->in_place = false;
	if (r == 0)
		r = publish(run, reading, "segments", MR_ACKS_COMMITTED, 0, FILE_SECONDS, err);
	if (r == 0)
		r = open_consumer(reading, "segments", err);
	if (r == 0)
		r = choose_segments(reading, err);
	mr_bench_progress(run, "consume from segments, not in memory");
	if (r == 0)
		r = mr_bench_pairs(run, SEGMENT_PAIRS, &ours, &raw, figures, 3, err);
	if (r == 0)
		mr_bench_note(run,
			      "each pass reads %llu MiB of files that are not in the page "
			      "cache; a disk that answers in bursts makes the pairs differ",
			      (unsigned long long)(reading->bytes >> 20));
	close_consumer(reading);
	if (r < 0)
		mr_bench_engine_kill(reading->engine);
	else
		r = mr_bench_engine_stop(reading->engine, err);
	return r;
}

int mr_bench_consume(struct mr_bench_run *run, struct mr_error *err)
{
	struct reading *reading = calloc(1, sizeof(*reading));
	int r;

	if (!reading)
		return mr_error_set(err, -ENOMEM, "no memory for what is read");
	r = tail_figures(run, reading, err);
	reading->engine = NULL;
	if (r == 0)
		r = segment_figures(run, reading, err);
	free(reading);
	return r;
}
