/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine costs that has nothing to do: CPU time and memory with lanes open, and how long it
 * takes until a parked worker has acknowledged a record, against a futex wake between two cores.
 * Runs on the thread of the question, which holds the lanes; owns one engine.
 *
 * Memory is what is resident of the engine, from its mappings, without tails, lanes and the code of
 * shared libraries. A lane's own memory is all that the same sum grows by with it, and its pages,
 * without the two maps of its slots.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine_process.h"
#include "limit.h"
#include "logs.h"
#include "now.h"
#include "resident.h"
#include "trend.h"

#define TOPICS	     10
#define LANES	     100
#define LANE_BYTES   (64u << 10)
#define BAR_CORES    0.01
#define BAR_WAKE     1.5
#define BAR_ENGINE   (24.0 * 1048576)
#define BAR_LANE     (16.0 * 1024)
#define IDLE_SECONDS 5.0
#define WAKE_SECONDS 2.0
#define WAKES_MAX    4096
#define BETWEEN_NS   3000000 /* many times what a worker spins before it parks */
#define ANSWER_NS    UINT64_C(1000000000)
#define SETTLE_NS    500000000
#define PARKED_SHARE 0.9

struct idle {
	struct mr_bench_engine *engine;
	struct mr_connection *connection;
	struct mr_producer *producers[LANES];
	uint32_t lanes;
	struct mr_producer *waker;
	double times_ns[WAKES_MAX];
};

static void pause_ns(long ns)
{
	struct timespec time = {.tv_nsec = ns};

	(void)nanosleep(&time, NULL); /* a shorter pause only disturbs the sample */
}

/* ---- memory -------------------------------------------------------------- */

static bool is_own(const struct mr_mapping *mapping, void *arg)
{
	bool library = strstr(mapping->path, ".so") && !mapping->writable;

	return !library && !strstr(mapping->path, "millrace-tail") &&
	       !strstr(mapping->path, "millrace-lane");
}

static bool is_own_or_of_a_lane(const struct mr_mapping *mapping, void *arg)
{
	if (strstr(mapping->path, "millrace-lane"))
		return mapping->bytes != LANE_BYTES; /* the slots are */
	return is_own(mapping, arg);
}

static int resident(const struct idle *idle, bool (*counts)(const struct mr_mapping *, void *),
		    uint64_t *bytes, struct mr_error *err)
{
	char path[64];
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)mr_bench_engine_pid(idle->engine));
	smaps = fopen(path, "re");
	if (!smaps)
		return mr_error_set(err, -errno, "cannot read '%s'", path);
	*bytes = mr_resident_sum(smaps, counts, NULL);
	fclose(smaps);
	return 0;
}

/* ---- lanes --------------------------------------------------------------- */

static int open_producer(struct idle *idle, const char *topic, enum mr_acks acks,
			 struct mr_producer **out, struct mr_error *err)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = topic,
		.acks = acks,
		.lane_bytes = LANE_BYTES,
	};

	return mr_producer_open(idle->connection, &options, out, err);
}

static int open_lanes(struct idle *idle, uint32_t until, struct mr_error *err)
{
	char topic[32];
	int r = 0;

	for (; r == 0 && idle->lanes < until; idle->lanes += r == 0) {
		snprintf(topic, sizeof(topic), "idle-%u", idle->lanes % TOPICS);
		r = open_producer(idle, topic, MR_ACKS_COMMITTED, &idle->producers[idle->lanes],
				  err);
	}
	return r;
}

static void close_lanes(struct idle *idle)
{
	while (idle->lanes > 0)
		(void)mr_producer_close(idle->producers[--idle->lanes], 1000); /* empty */
	if (idle->waker)
		(void)mr_producer_close(idle->waker, 1000); /* all was acknowledged */
	mr_disconnect(idle->connection);
}

/* ---- CPU ----------------------------------------------------------------- */

/* [0]: cores */
static int sample_cpu(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct idle *idle = arg;
	uint64_t cpu_ns = mr_bench_engine_cpu_ns(idle->engine, "");
	uint64_t began_ns = mr_bench_now_ns();
	double seconds = mr_bench_seconds(run, IDLE_SECONDS);
	struct timespec time = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};

	(void)nanosleep(&time, NULL); /* what it took is measured */
	sample->values[0] = (double)(mr_bench_engine_cpu_ns(idle->engine, "") - cpu_ns) /
			    (double)(mr_bench_now_ns() - began_ns);
	return 0;
}

/* ---- waking -------------------------------------------------------------- */

static int wake_once(struct idle *idle, const struct mr_record *record, double *ns,
		     struct mr_error *err)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	uint64_t began_ns = mr_bench_now_ns(), now_ns;
	int r = mr_producer_put(idle->waker, record);

	do {
		if (r == 0)
			r = mr_producer_state(idle->waker, &state);
		now_ns = mr_bench_now_ns();
	} while (r == 0 && state.acknowledged < state.published && now_ns - began_ns < ANSWER_NS);
	if (r < 0)
		return mr_error_set(err, r, "cannot publish to wake a worker");
	if (state.acknowledged < state.published)
		return mr_error_set(err, -ETIMEDOUT, "a parked worker did not answer in 1 s");
	*ns = (double)(now_ns - began_ns);
	return 0;
}

/* [0]: p50 ns, [1]: share of the records before which the worker had parked */
static int sample_wake(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	struct idle *idle = arg;
	const struct mr_record record = {
		.key_bytes = MR_NULL_BYTES,
		.value = "wake",
		.value_bytes = 4,
		.timestamp_ms = MR_TIMESTAMP_NOW,
	};
	uint64_t parks = mr_bench_engine_counter(idle->engine, "parks");
	uint64_t until_ns =
		mr_bench_now_ns() + (uint64_t)(mr_bench_seconds(run, WAKE_SECONDS) * 1e9);
	uint32_t count = 0;

	while (count < WAKES_MAX && mr_bench_now_ns() < until_ns) {
		int r;

		pause_ns(BETWEEN_NS);
		r = wake_once(idle, &record, &idle->times_ns[count++], err);
		if (r < 0)
			return r;
	}
	parks = mr_bench_engine_counter(idle->engine, "parks") - parks;
	sample->values[0] = mr_trend_median(idle->times_ns, count);
	sample->values[1] = count ? (double)parks / count : 0;
	if (sample->values[1] < PARKED_SHARE)
		return mr_error_set(err, -EBUSY,
				    "the worker parked %llu times before %u records: it was not "
				    "asleep",
				    (unsigned long long)parks, count);
	return 0;
}

static int wake_figures(struct mr_bench_run *run, struct idle *idle, struct mr_error *err)
{
	const struct mr_bench_figure figure = {"publish to a parked worker, acknowledged",
					       "ns",
					       "futex wake after as long a sleep",
					       0,
					       0,
					       MR_BENCH_AT_MOST,
					       BAR_WAKE};
	struct mr_limit limit;
	struct mr_bench_measure ours = {sample_wake, idle}, futex = {mr_limit_futex_wake, &limit};
	uint64_t workers = mr_bench_engine_worker_cores(idle->engine);
	int free_core = mr_bench_free_core(run, workers);
	int r = mr_limit_init(run, &limit, WAKE_SECONDS, err);

	limit.asleep_ns = BETWEEN_NS;
	if (workers && free_core >= 0) { /* the same sleeper's core, and the same waker's */
		limit.here = free_core;
		limit.there = __builtin_ctzll(workers);
	}
	if (r == 0)
		r = open_producer(idle, "wake", MR_ACKS_MEMORY, &idle->waker, err);
	if (r == 0 && limit.there < 0) {
		mr_bench_progress(run, "one core: no wake-up between two");
		return 0;
	}
	if (r == 0)
		r = mr_bench_pin(run, free_core, err);
	mr_bench_progress(run, "waking a parked worker");
	if (r == 0)
		r = mr_bench_pairs(run, 0, &ours, &futex, &figure, 1, err);
	return r;
}

/* ---- the question -------------------------------------------------------- */

static int engine_figure(struct mr_bench_run *run, struct idle *idle, struct mr_error *err)
{
	const struct mr_bench_figure figure = {
		.name = "memory of an engine with 10 topics, without tails and lanes",
		.unit = "bytes",
		.sense = MR_BENCH_AT_MOST,
		.bar = BAR_ENGINE,
	};
	uint64_t bytes = 0;
	int r = open_lanes(idle, TOPICS, err);

	pause_ns(SETTLE_NS);
	if (r == 0)
		r = resident(idle, is_own, &bytes, err);
	if (r < 0)
		return r;
	mr_bench_add(run, &figure, (double)bytes, 0);
	mr_bench_note(run,
		      "RssAnon is %ld KiB of it, and the counters, which are a file, 1 "
		      "MiB at most",
		      mr_bench_engine_status_kib(idle->engine, "RssAnon"));
	return 0;
}

static int lane_figure(struct mr_bench_run *run, struct idle *idle, struct mr_error *err)
{
	const struct mr_bench_figure figure = {
		.name = "memory of a lane, without its slots",
		.unit = "bytes",
		.sense = MR_BENCH_AT_MOST,
		.bar = BAR_LANE,
	};
	uint32_t before_lanes = idle->lanes;
	uint64_t before = 0, after = 0;
	int r = resident(idle, is_own_or_of_a_lane, &before, err);

	if (r == 0)
		r = open_lanes(idle, LANES, err);
	pause_ns(SETTLE_NS);
	if (r == 0)
		r = resident(idle, is_own_or_of_a_lane, &after, err);
	if (r < 0)
		return r;
	mr_bench_add(run, &figure,
		     after > before ? (double)(after - before) / (LANES - before_lanes) : 0, 0);
	return 0;
}

static int ask(struct mr_bench_run *run, struct idle *idle, struct mr_error *err)
{
	const struct mr_bench_figure cpu = {
		.name = "CPU of an idle engine, 100 lanes, 10 topics",
		.unit = "cores",
		.sense = MR_BENCH_AT_MOST,
		.bar = BAR_CORES,
	};
	struct mr_bench_measure ours = {sample_cpu, idle}, none = {0};
	int r;

	idle->connection = mr_bench_engine_connect(idle->engine, err);
	if (!idle->connection)
		return err->code;
	r = engine_figure(run, idle, err);
	if (r == 0)
		r = lane_figure(run, idle, err);
	mr_bench_progress(run, "an idle engine");
	if (r == 0)
		r = mr_bench_pairs(run, 0, &ours, &none, &cpu, 1, err);
	return r < 0 ? r : wake_figures(run, idle, err);
}

int mr_bench_idle(struct mr_bench_run *run, struct mr_error *err)
{
	struct mr_bench_engine_options options = {
		.name = "idle",
		.config = "topics:\n  - {name: wake, storage: memory, tail_bytes: 16 MiB}\n",
	};
	struct idle *idle = calloc(1, sizeof(*idle));
	int r;

	if (!idle)
		return mr_error_set(err, -ENOMEM, "no memory for lanes");
	r = mr_bench_engine_start(run, &options, &idle->engine, err);
	if (r == 0) {
		r = ask(run, idle, err);
		close_lanes(idle);
		if (r < 0)
			mr_bench_engine_kill(idle->engine);
		else
			r = mr_bench_engine_stop(idle->engine, err);
	}
	free(idle);
	return r;
}
