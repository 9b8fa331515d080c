/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records through an engine in memory: a topic with storage memory, so that nothing waits for a
 * disk. Keys and all checks are as for any producer. The load is a process of its own on the core
 * that the worker leaves free; the path in miniature has the same two cores.
 */
#include "lane_memory.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "limit.h"
#include "miniature.h"
#include "now.h"
#include "steady.h"
#include "windows.h"

#define TOPIC "memory"
#define CONFIG                                                                                     \
	"lanes_per_user: 2048\ntopics:\n  - name: " TOPIC                                          \
	"\n    storage: memory\n    tail_bytes: 64 MiB\n"
#define SECONDS	       1.0
#define CURVE_SECONDS  0.5
#define KEY_BYTES      8
#define BURST	       32
#define LANES	       1000u
#define LANE_BYTES     (64u << 10) /* of each of the many */
#define VALUE_BYTES    100
#define TRIP_BYTES     32
#define WARM_UP_TRIPS  1000u
#define PATIENCE_NS    10000000000u
#define PATIENCE_POLLS 200000000u /* no clock is read while a record is on its way */

/*
 * Aeron 1.53's IPC, messages/s from an exclusive publication to a subscriber that only counts them,
 * as measured by its own samples on the two-core reference machine (EPYC "Turin", one producer and
 * one consumer core). Another machine's ratio to it says little.
 */
#define AERON_32_B  9.3e6
#define AERON_256_B 5.03e6

struct memory {
	struct mr_bench_engine *engine;
	int load_core, worker_core;
	uint64_t cores; /* of both, as bits */
	uint32_t value_bytes;
	uint32_t burst; /* records a publish */
	bool consume;
	double seconds;
};

/* ---- lane to batch to tail ------------------------------------------------ */

/* [0]: median, [1]: p90 of windows, records/s; of records acknowledged, or read back */
static int take_engine(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	const struct memory *memory = arg;
	struct mr_bench_load load = {
		.topic = TOPIC,
		.partition = 0,
		.acks = MR_ACKS_MEMORY,
		.key_bytes = KEY_BYTES,
		.value_bytes = memory->value_bytes,
		.burst = memory->burst,
		.seconds = memory->seconds,
		.warm_up_seconds = 0.1 * memory->seconds,
		.core = memory->load_core,
		.consume = memory->consume,
		.spin = true,
	};
	struct mr_bench_load_result result;
	int r = mr_bench_load_run(run, memory->engine, &load, 1, &result, err);

	if (r < 0)
		return r;
	mr_bench_load_rate(run, &result, MR_WINDOW_NS, memory->cores, &sample->values[0],
			   &sample->values[1], &sample->disturbed);
	mr_bench_load_free(&result, 1);
	return 0;
}

static struct mr_miniature miniature_of(const struct memory *memory)
{
	return (struct mr_miniature){
		.producer_core = memory->load_core,
		.worker_core = memory->worker_core,
		.value_bytes = memory->value_bytes,
		.burst = memory->burst,
		.seconds = memory->seconds,
	};
}

static int measure_path(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	static const struct {
		uint32_t value_bytes, burst;
		struct mr_bench_figure figure;
	} rows[] = {
		{32,
		 BURST,
		 {"lane to batch to tail, 32 B, 32 per publish", "records/s", "path in miniature",
		  0, 0, MR_BENCH_AT_LEAST, 0.7}},
		{100,
		 BURST,
		 {"lane to batch to tail, 100 B, 32 per publish", "records/s", "path in miniature",
		  0, 0, MR_BENCH_AT_LEAST, 0.7}},
		{256,
		 BURST,
		 {"lane to batch to tail, 256 B, 32 per publish", "records/s", "path in miniature",
		  0, 0, MR_BENCH_AT_LEAST, 0.7}},
		{32,
		 1,
		 {"lane to batch to tail, 32 B, 1 per publish", "records/s", "path in miniature", 0,
		  0, MR_BENCH_REPORT, 0}},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(*rows); i++) {
		struct mr_bench_measure ours = {.take = take_engine, .arg = memory};
		struct mr_miniature miniature;
		struct mr_bench_measure limit = {.take = mr_miniature_rate, .arg = &miniature};

		memory->value_bytes = rows[i].value_bytes;
		memory->burst = rows[i].burst;
		miniature = miniature_of(memory);
		mr_bench_progress(run, "%s", rows[i].figure.name);
		r = mr_bench_pairs(run, 0, &ours, &limit, &rows[i].figure, 1, err);
	}
	memory->burst = BURST;
	return r;
}

static int measure_consumed(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	static const struct {
		uint32_t value_bytes;
		double aeron, times;
		const char *name;
	} rows[] = {
		{32, AERON_32_B, 2, "and read back by the producer's thread, 32 B"},
		{256, AERON_256_B, 1.5, "and read back by the producer's thread, 256 B"},
	};
	int r = 0;

	memory->consume = true;
	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(*rows); i++) {
		struct mr_bench_measure ours = {.take = take_engine, .arg = memory};
		struct mr_bench_figure figure = {
			.name = rows[i].name,
			.unit = "records/s",
			.sense = MR_BENCH_AT_LEAST,
			.bar = rows[i].times * rows[i].aeron,
		};

		memory->value_bytes = rows[i].value_bytes;
		mr_bench_progress(run, "%s", rows[i].name);
		r = mr_bench_pairs(run, 0, &ours, NULL, &figure, 1, err);
		if (r == 0)
			mr_bench_note(run,
				      "the bar is %.1f times what Aeron 1.53 moves by IPC on the "
				      "two-core reference machine, %.2f M/s",
				      rows[i].times, rows[i].aeron / 1e6);
	}
	memory->consume = false;
	return r;
}

/* ---- throughput against record size --------------------------------------- */

static int add_curve(struct mr_bench_run *run, const char *name, const double *xs, const double *ys,
		     uint32_t count, struct mr_error *err)
{
	struct mr_bench_series series = {
		.plot = "throughput in memory against record size",
		.name = name,
		.x = "bytes of a value",
		.y = "records/s",
		.log_x = true,
		.log_y = true,
		.xs = xs,
		.ys = ys,
		.count = count,
	};

	return mr_bench_series(run, &series, err);
}

static int measure_curve(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	static const uint32_t sizes[] = {32, 64, 100, 256, 512, 1024, 2048, 4096};
	enum { SIZES = sizeof(sizes) / sizeof(*sizes) };
	double xs[SIZES], ours[SIZES], limit[SIZES];
	struct mr_bench_sample sample;
	int r = 0;

	memory->seconds = mr_bench_seconds(run, CURVE_SECONDS);
	for (uint32_t i = 0; r == 0 && i < SIZES; i++) {
		struct mr_miniature miniature;

		memory->value_bytes = sizes[i];
		mr_bench_progress(run, "throughput with values of %u B", sizes[i]);
		xs[i] = sizes[i];
		r = take_engine(run, memory, &sample, err);
		ours[i] = sample.values[0];
		if (r < 0)
			break;
		miniature = miniature_of(memory);
		r = mr_miniature_rate(run, &miniature, &sample, err);
		limit[i] = sample.values[0];
	}
	if (r == 0)
		r = add_curve(run, "lane to batch to tail", xs, ours, SIZES, err);
	return r < 0 ? r : add_curve(run, "path in miniature", xs, limit, SIZES, err);
}

/* ---- in this process: many lanes, and there and back ----------------------- */

/* What this process has open at the engine; all of it NULL: nothing. */
struct client {
	struct mr_connection *connection;
	struct mr_producer **producers;
	uint32_t lanes;
	struct mr_consumer *consumer;
};

static void client_close(struct client *client)
{
	for (uint32_t i = 0; i < client->lanes; i++)
		(void)mr_producer_close(client->producers[i], 0); /* all of it is acknowledged */
	mr_consumer_close(client->consumer);
	mr_disconnect(client->connection);
	free(client->producers);
}

static int client_open(const struct memory *memory, uint32_t lanes, uint32_t lane_bytes,
		       struct client *client, struct mr_error *err)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = TOPIC,
		.acks = MR_ACKS_MEMORY,
		.lane_bytes = lane_bytes,
	};
	int r = 0;

	client->connection = mr_bench_engine_connect(memory->engine, err);
	if (!client->connection)
		return err->code;
	client->producers = calloc(lanes, sizeof(struct mr_producer *));
	if (!client->producers)
		return mr_error_set(err, -ENOMEM, "no memory for %u lanes", lanes);
	while (r == 0 && client->lanes < lanes) {
		r = mr_producer_open(client->connection, &options,
				     &client->producers[client->lanes], err);
		client->lanes += r == 0;
	}
	return r;
}

/* On the load's core; 'before' is where the thread may run afterwards. */
static int move_to(const struct memory *memory, cpu_set_t *before, struct mr_error *err)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)memory->load_core, &cpus);
	if (sched_getaffinity(0, sizeof(*before), before) < 0 ||
	    sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return mr_error_set(err, -errno, "cannot run on core %d", memory->load_core);
	return 0;
}

static struct mr_record record_of(uint32_t value_bytes)
{
	static const uint8_t value[VALUE_BYTES] = "x";

	return (struct mr_record){
		.key_bytes = MR_NULL_BYTES,
		.value = value,
		.value_bytes = (int32_t)value_bytes,
		.timestamp_ms = MR_TIMESTAMP_NOW,
	};
}

/* A record into every lane, then all are waited for: so no drain of a lane finds two. */
static int one_round(const struct client *client, uint64_t number, struct mr_error *err)
{
	struct mr_record record = record_of(VALUE_BYTES);
	struct mr_producer_state state = {.size = sizeof(state)};
	uint64_t until_ns = mr_bench_now_ns() + PATIENCE_NS;

	for (uint32_t i = 0; i < client->lanes; i++) {
		int r = mr_producer_put(client->producers[i], &record);

		if (r < 0)
			return mr_error_set(err, r, "lane %u of %u took no record", i,
					    client->lanes);
	}
	for (uint32_t i = 0; i < client->lanes;) {
		if (mr_producer_state(client->producers[i], &state) == 0 &&
		    state.acknowledged == number)
			i++;
		else if (mr_bench_now_ns() > until_ns)
			return mr_error_set(err, -ETIMEDOUT, "lane %u was not answered", i);
	}
	return 0;
}

/* [0]: records/s, [1]: bytes in the tail per record, [2]: records a batch */
static int take_many(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	const struct memory *memory = arg;
	struct mr_steady_counts before, after, counts;
	struct client client = {0};
	uint64_t began_ns, until_ns, now_ns, rounds = 0;
	cpu_set_t cpus;
	int r = client_open(memory, LANES, LANE_BYTES, &client, err);

	if (r == 0)
		r = move_to(memory, &cpus, err);
	if (r < 0) {
		client_close(&client);
		return r;
	}
	mr_steady_read(memory->engine, &before);
	began_ns = now_ns = mr_bench_now_ns();
	until_ns = began_ns + (uint64_t)(memory->seconds * 1e9);
	while (r == 0 && now_ns < until_ns) {
		r = one_round(&client, ++rounds, err);
		now_ns = mr_bench_now_ns();
	}
	mr_steady_read(memory->engine, &after);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus); /* was so */
	counts = mr_steady_between(&before, &after);
	if (r == 0 && (!counts.records || !counts.batches))
		r = mr_error_set(err, -ENODATA, "the engine counted no records");
	if (r == 0) {
		sample->values[0] = (double)rounds * LANES * 1e9 / (double)(now_ns - began_ns);
		sample->values[1] = (double)counts.batch_bytes / (double)counts.records;
		sample->values[2] = (double)counts.records / (double)counts.batches;
		sample->disturbed = mr_windows_disturbed(run, memory->cores, began_ns, now_ns);
	}
	client_close(&client);
	return r;
}

static int measure_many(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	static const struct mr_bench_figure figures[] = {
		{"1,000 lanes, a record of 100 B in each drain", "records/s", NULL, 0, 0,
		 MR_BENCH_REPORT, 0},
		{"1,000 lanes, bytes in the tail per record", "bytes", NULL, 1, 0, MR_BENCH_REPORT,
		 0},
		{"1,000 lanes, records per batch", "records", NULL, 2, 0, MR_BENCH_REPORT, 0},
	};
	struct mr_bench_measure ours = {.take = take_many, .arg = memory};
	int r;

	mr_bench_progress(run, "%s", figures[0].name);
	r = mr_bench_pairs(run, 0, &ours, NULL, figures, 3, err);
	if (r == 0)
		mr_bench_note(run, "a drain makes a batch, and a batch has a header of 61 bytes; "
				   "records that wait together share one");
	return r;
}

/* There: published. And back: read out of the tail by the same thread. */
static int one_trip(const struct client *client, const struct mr_record *record, uint64_t *took_ns,
		    struct mr_error *err)
{
	const struct mr_message *messages;
	uint64_t began_ns = mr_bench_now_ns();
	int count = 0, r = mr_producer_put(client->producers[0], record);
	uint32_t polls = 0;

	while (r == 0 && count == 0) {
		count = mr_consumer_poll_in_place(client->consumer, 0, &messages);
		if (++polls == PATIENCE_POLLS)
			return mr_error_set(err, -ETIMEDOUT, "a record did not come back");
	}
	if (r == 0 && count > 0)
		r = mr_consumer_release(client->consumer);
	*took_ns = mr_bench_now_ns() - began_ns;
	if (r < 0 || count < 0)
		return mr_error_set(err, r < 0 ? r : count, "a record was lost on its way");
	return 0;
}

static int trips(const struct client *client, double seconds, struct mr_histogram *times,
		 struct mr_error *err)
{
	struct mr_record record = record_of(TRIP_BYTES);
	uint64_t until_ns = mr_bench_now_ns() + (uint64_t)(seconds * 1e9), number = 0, took_ns = 0;
	int r = 0;

	while (r == 0 && mr_bench_now_ns() < until_ns) {
		r = one_trip(client, &record, &took_ns, err);
		if (r == 0 && ++number > WARM_UP_TRIPS)
			mr_histogram_add(times, took_ns, 1);
	}
	return r;
}

static int open_consumer(struct client *client, struct mr_error *err)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = TOPIC,
		.from = MR_FROM_LATEST,
		.view = MR_VIEW_APPENDED,
	};

	return mr_consumer_open(client->connection, &options, &client->consumer, err);
}

/* [0]: p50 ns, [1]: p99 ns */
static int take_trips(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	const struct memory *memory = arg;
	struct mr_histogram *times = mr_histogram_new();
	struct client client = {0};
	uint64_t began_ns = mr_bench_now_ns();
	cpu_set_t cpus;
	int r = times ? client_open(memory, 1, 0, &client, err)
		      : mr_error_set(err, -ENOMEM, "no memory for a histogram");

	if (r == 0)
		r = open_consumer(&client, err);
	if (r == 0)
		r = move_to(memory, &cpus, err);
	if (r == 0) {
		r = trips(&client, memory->seconds, times, err);
		(void)sched_setaffinity(0, sizeof(cpus), &cpus); /* was so */
	}
	if (r == 0) {
		sample->values[0] = (double)mr_histogram_percentile(times, 0.5);
		sample->values[1] = (double)mr_histogram_percentile(times, 0.99);
		sample->disturbed =
			mr_windows_disturbed(run, memory->cores, began_ns, mr_bench_now_ns());
	}
	client_close(&client);
	mr_histogram_free(times);
	return r;
}

static int measure_trips(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	static const struct mr_bench_figure figures[] = {
		{"there and back through the engine, 32 B, p50", "ns", "two rte_rings", 0, 0,
		 MR_BENCH_AT_MOST, 2.0},
		{"there and back through the engine, 32 B, p99", "ns", "two rte_rings", 1, 1,
		 MR_BENCH_REPORT, 0},
	};
	struct mr_limit rings = {
		.here = memory->load_core,
		.there = memory->worker_core,
		.bytes = TRIP_BYTES,
		.seconds = memory->seconds,
	};
	struct mr_bench_measure ours = {.take = take_trips, .arg = memory};
	struct mr_bench_measure limit = {.take = mr_limit_rte_ring, .arg = &rings};

	mr_bench_progress(run, "%s", figures[0].name);
	return mr_bench_pairs(run, 0, &ours, &limit, figures, 2, err);
}

/* ---- all of it -------------------------------------------------------------- */

/* A thousand lanes have thousands of descriptors: as many as may be, here and in the engine. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* a lane that cannot be opened says why */
	}
}

static int measure_all(struct mr_bench_run *run, struct memory *memory, struct mr_error *err)
{
	int r = measure_path(run, memory, err);

	if (r == 0)
		r = measure_consumed(run, memory, err);
	if (r == 0)
		r = measure_many(run, memory, err);
	if (r == 0)
		r = measure_trips(run, memory, err);
	return r < 0 ? r : measure_curve(run, memory, err);
}

int mr_lane_memory(struct mr_bench_run *run, struct mr_error *err)
{
	struct mr_bench_engine_options options = {.name = "memory", .config = CONFIG};
	struct memory memory = {.seconds = mr_bench_seconds(run, SECONDS)};
	struct mr_error trouble;
	int r, stopped;

	allow_descriptors();
	r = mr_bench_engine_start(run, &options, &memory.engine, err);
	if (r < 0)
		return r;
	memory.load_core = mr_steady_load_core(run, memory.engine, 0);
	memory.worker_core = mr_steady_worker_core(memory.engine);
	memory.cores = mr_steady_cores(run, memory.engine);
	if (memory.worker_core < 0)
		r = mr_error_set(err, -ENOTSUP, "the engine's worker has no core of its own here");
	if (r == 0)
		r = measure_all(run, &memory, err);
	stopped = mr_bench_engine_stop(memory.engine, r < 0 ? &trouble : err);
	return r < 0 ? r : stopped;
}
