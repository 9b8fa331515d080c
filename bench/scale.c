/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What more lanes and more partitions bring or cost: the total of N producer processes relative to
 * that of one. Where producers share a core nothing can be gained, and the switches between them
 * cost even programs that do nothing but count; so the limit is what the same number of counting
 * processes reach on the same cores, relative to one of them, in the same run.
 *
 * Runs on the thread of the question; owns one engine at a time.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "now.h"
#include "steady.h"
#include "trend.h"

#define VALUE_BYTES    100
#define LANE_BYTES     (1u << 20)
#define BURST	       32
#define STEPS	       4
#define PRODUCERS_MAX  8
#define SAMPLE_SECONDS 1.0
#define COUNT_SHARE    0.3 /* of a sample's seconds: counting needs less */
#define COUNT_STEP     1000u
#define NS_PER_SECOND  1e9

/* The same load by 1, 2, 4, ... producers. */
struct scale {
	const struct kind *kind;
	const struct mr_steady_engine *at; /* with topics of 1, 2, 4 partitions: p1, p2, p4 */
	bool partitions;		   /* each producer into a partition of its own */
	double seconds;
	uint32_t steps; /* 1, 2, 4, 8: how many of them */
};

/* What is published to, and what is said of it. */
struct kind {
	const char *name, *config, *progress;
	enum mr_acks acks;
	const struct mr_bench_figure *lanes, *partitions;
	uint32_t lane_figures, partition_figures;
};

/* The places of a sample: totals of 1, 2, 4, 8; then those relative to 1. */
#define TOTAL(step)    (step)
#define RELATIVE(step) (STEPS + (step))

static const uint32_t producers[STEPS] = {1, 2, 4, 8};

static void put_relative(struct mr_bench_sample *sample, uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++)
		sample->values[RELATIVE(i)] =
			mr_trend_share(sample->values[TOTAL(i)], sample->values[TOTAL(0)]);
}

/* ---- the load ------------------------------------------------------------- */

static int load_by(struct mr_bench_run *run, const struct scale *scale, uint32_t count,
		   double *rate, double *disturbed, struct mr_error *err)
{
	struct mr_bench_load loads[PRODUCERS_MAX];
	struct mr_bench_load_result results[PRODUCERS_MAX];
	uint64_t cores = scale->at->cores;
	char topic[16];
	int r;

	snprintf(topic, sizeof(topic), "p%u", scale->partitions ? count : 1);
	for (uint32_t i = 0; i < count; i++) {
		loads[i] = (struct mr_bench_load){
			.topic = topic,
			.partition = scale->partitions ? (int32_t)i : 0,
			.acks = scale->kind->acks,
			.value_bytes = VALUE_BYTES,
			.burst = BURST,
			.seconds = scale->seconds,
			.lane_bytes = LANE_BYTES,
			.core = mr_steady_load_core(run, scale->at->engine, i),
		};
		if (loads[i].core >= 0 && loads[i].core < 64)
			cores |= UINT64_C(1) << loads[i].core;
	}
	r = mr_bench_load_run(run, scale->at->engine, loads, count, results, err);
	if (r < 0)
		return r;
	*rate = mr_steady_undisturbed_rate(run, results, count, cores, disturbed);
	mr_bench_load_free(results, count);
	return 0;
}

static int take_ours(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	const struct scale *scale = arg;
	double disturbed;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < scale->steps; i++) {
		r = load_by(run, scale, producers[i], &sample->values[TOTAL(i)], &disturbed, err);
		if (r == 0)
			sample->disturbed += disturbed / scale->steps;
	}
	put_relative(sample, scale->steps);
	return r;
}

/* ---- the limit: processes that count -------------------------------------- */

/* Between a counting process and the one that waits for it; each its own line. */
struct counting {
	_Alignas(64) atomic_bool stop;
	struct {
		/* W: the child's, at its end; read after it was waited for */
		_Alignas(64) uint64_t steps;
	} of[PRODUCERS_MAX];
};

static void count_until_stopped(struct counting *counting, uint32_t number, int core)
{
	uint64_t steps = 0;
	cpu_set_t set;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* the stop flag ends it, too */
	CPU_ZERO(&set);
	if (core >= 0) {
		CPU_SET((size_t)core, &set);
		(void)sched_setaffinity(0, sizeof(set), &set); /* as the load's processes */
	}
	/* relaxed: nothing but the flag itself is passed on */
	while (!atomic_load_explicit(&counting->stop, memory_order_relaxed))
		for (uint32_t i = 0; i < COUNT_STEP; i++)
			__asm__ __volatile__("incq %0" : "+r"(steps) : : "cc");
	counting->of[number].steps = steps;
	_exit(0);
}

static void wait_for_all(const pid_t *children, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		while (waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
			;
}

static int count_by(struct mr_bench_run *run, const struct scale *scale, struct counting *counting,
		    uint32_t count, double *rate, struct mr_error *err)
{
	double seconds = scale->seconds * COUNT_SHARE;
	struct timespec pause = {(time_t)seconds,
				 (long)((seconds - (double)(time_t)seconds) * 1e9)};
	uint64_t began_ns = mr_bench_now_ns(), steps = 0;
	pid_t children[PRODUCERS_MAX];
	uint32_t started;

	memset(counting, 0, sizeof(*counting));
	for (started = 0; started < count; started++) {
		int core = mr_steady_load_core(run, scale->at->engine, started);

		children[started] = fork();
		if (children[started] == 0)
			count_until_stopped(counting, started, core);
		if (children[started] < 0)
			break;
	}
	(void)nanosleep(&pause, NULL); /* a shorter sample is a sample */
	atomic_store_explicit(&counting->stop, true, memory_order_relaxed); /* relaxed: as above */
	wait_for_all(children, started);
	if (started < count)
		return mr_error_set(err, -EAGAIN, "cannot start a process that counts");
	for (uint32_t i = 0; i < count; i++)
		steps += counting->of[i].steps;
	*rate = (double)steps * NS_PER_SECOND / (double)(mr_bench_now_ns() - began_ns);
	return 0;
}

static int take_limit(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	const struct scale *scale = arg;
	struct counting *counting = mmap(NULL, sizeof(*counting), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r = 0;

	if (counting == MAP_FAILED)
		return mr_error_set(err, -ENOMEM, "no memory for the processes that count");
	for (uint32_t i = 0; r == 0 && i < scale->steps; i++)
		r = count_by(run, scale, counting, producers[i], &sample->values[TOTAL(i)], err);
	put_relative(sample, scale->steps);
	(void)munmap(counting, sizeof(*counting)); /* it is only memory */
	return r;
}

/* ---- the question --------------------------------------------------------- */

#define COUNTING "as many counting processes"
#define AGAINST_ONE(title, step, sense, bar)                                                       \
	{                                                                                          \
		title, "ratio", COUNTING, RELATIVE(step), RELATIVE(step), sense, bar               \
	}
#define TOTAL_OF(title, step)                                                                      \
	{                                                                                          \
		title, "records/s", NULL, TOTAL(step), 0, MR_BENCH_REPORT, 0                       \
	}

static const struct mr_bench_figure durable_lanes[] = {
	TOTAL_OF("1 lane, acks committed", 0),
	TOTAL_OF("8 lanes, acks committed", 3),
	AGAINST_ONE("2 lanes against 1, acks committed", 1, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("4 lanes against 1, acks committed", 2, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("8 lanes against 1, acks committed", 3, MR_BENCH_AT_LEAST, 0.9),
};

static const struct mr_bench_figure memory_lanes[] = {
	TOTAL_OF("1 lane, in memory", 0),
	TOTAL_OF("8 lanes, in memory", 3),
	AGAINST_ONE("2 lanes against 1, in memory", 1, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("4 lanes against 1, in memory", 2, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("8 lanes against 1, in memory", 3, MR_BENCH_AT_LEAST, 0.9),
};

static const struct mr_bench_figure durable_partitions[] = {
	TOTAL_OF("1 partition, acks committed", 0),
	TOTAL_OF("4 partitions, acks committed", 2),
	AGAINST_ONE("2 partitions against 1, acks committed", 1, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("4 partitions against 1, acks committed", 2, MR_BENCH_AT_LEAST, 0.9),
};

static const struct mr_bench_figure memory_partitions[] = {
	TOTAL_OF("1 partition, in memory", 0),
	TOTAL_OF("4 partitions, in memory", 2),
	AGAINST_ONE("2 partitions against 1, in memory", 1, MR_BENCH_AT_LEAST, 0.9),
	AGAINST_ONE("4 partitions against 1, in memory", 2, MR_BENCH_AT_LEAST, 0.9),
};

/* One for each count of partitions; lanes share p1. */
#define TOPICS(storage)                                                                            \
	"topics:\n"                                                                                \
	"  - {name: p1, partitions: 1" storage "}\n"                                               \
	"  - {name: p2, partitions: 2" storage "}\n"                                               \
	"  - {name: p4, partitions: 4" storage "}\n"

static const struct kind kinds[] = {
	{
		.name = "durable",
		.config = MR_STEADY_CONFIG TOPICS(""),
		.progress = "acks committed",
		.acks = MR_ACKS_COMMITTED,
		.lanes = durable_lanes,
		.partitions = durable_partitions,
		.lane_figures = mr_array_count(durable_lanes),
		.partition_figures = mr_array_count(durable_partitions),
	},
	{
		.name = "memory",
		.config = TOPICS(", storage: memory"),
		.progress = "topics in memory",
		.acks = MR_ACKS_MEMORY,
		.lanes = memory_lanes,
		.partitions = memory_partitions,
		.lane_figures = mr_array_count(memory_lanes),
		.partition_figures = mr_array_count(memory_partitions),
	},
};

static int measure(struct mr_bench_run *run, const struct mr_steady_engine *at, void *arg,
		   struct mr_error *err)
{
	struct scale *scale = arg;
	const struct kind *kind = scale->kind;
	const struct mr_bench_measure ours = {take_ours, scale}, limit = {take_limit, scale};
	int r;

	scale->at = at;
	scale->steps = STEPS;
	mr_bench_progress(run, "%s: 1, 2, 4, 8 lanes", kind->progress);
	r = mr_bench_pairs(run, 0, &ours, &limit, kind->lanes, kind->lane_figures, err);
	if (r < 0)
		return r;
	scale->partitions = true;
	scale->steps = STEPS - 1;
	mr_bench_progress(run, "%s: 1, 2, 4 partitions", kind->progress);
	return mr_bench_pairs(run, 0, &ours, &limit, kind->partitions, kind->partition_figures,
			      err);
}

int mr_bench_scale(struct mr_bench_run *run, struct mr_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < mr_array_count(kinds); i++) {
		const struct mr_bench_engine_options options = {.name = kinds[i].name,
								.config = kinds[i].config};
		struct scale scale = {
			.kind = &kinds[i],
			.seconds = mr_bench_seconds(run, SAMPLE_SECONDS),
		};

		r = mr_steady_with_engine(run, &options, measure, &scale, err);
	}
	return r;
}
