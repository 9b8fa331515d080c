/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on an engine: producers (and consumers) in processes of their own, started together. Open
 * loop: record i of a producer is due at began + i / rate, whether or not the one before is
 * through, and its latency counts from then, so that a stall is not hidden (coordinated omission).
 *
 * A child notes each change of what is acknowledged as an event {when, how many so far} in memory
 * that it shares with the parent; all that is reported is computed from these events, so every
 * record counts, and windows that the jitter probe calls disturbed can be left out afterwards.
 */
#ifndef MR_BENCH_LOAD_H
#define MR_BENCH_LOAD_H

#include "bench.h"
#include "engine_process.h"
#include "histogram.h"

struct mr_bench_load {
	const char *topic;
	int32_t partition; /* -1: by key, else this one */
	enum mr_acks acks;
	uint32_t key_bytes; /* 0: no key */
	uint32_t value_bytes;
	uint32_t burst;		/* records a publish, at most; 0: 32 */
	double rate;		/* records/s; 0: as many as go in */
	double seconds;		/* of publishing; what is out then is waited for, at most 10 s */
	double warm_up_seconds; /* at the start, not counted */
	uint32_t lanes;		/* producers in this one thread, in turn; 0: 1 */
	uint32_t lane_bytes;	/* 0: the engine's default */
	int core;		/* -1: not pinned */
	bool consume; /* the same thread reads each record back from the tail (appended view) */
	bool spin;    /* while nothing is due: spin. Else yield */
};

struct mr_bench_event {
	uint64_t at_ns;	       /* CLOCK_MONOTONIC */
	uint64_t acknowledged; /* records, of all lanes of this child, or consumed where 'consume'
				  is */
};

struct mr_bench_load_result {
	uint64_t began_ns, ended_ns;		    /* after the warm-up; of publishing */
	uint64_t published, acknowledged, consumed; /* in all, with the warm-up */
	double rate; /* as asked: for due times. Record i of the events is due at
			due_ns + i / rate */
	uint64_t due_ns;
	uint64_t cpu_ns;	       /* of the child's thread */
	struct mr_bench_event *events; /* owned; freed by mr_bench_load_free() */
	uint32_t event_count;
};

/* Runs 'count' loads side by side against 'engine' and waits for all. */
int mr_bench_load_run(struct mr_bench_run *run, const struct mr_bench_engine *engine,
		      const struct mr_bench_load *loads, uint32_t count,
		      struct mr_bench_load_result *results, struct mr_error *err);
void mr_bench_load_free(struct mr_bench_load_result *results, uint32_t count);

/*
 * Records/s over windows of 'window_ns' that no gap on the cores of 'mask' disturbed: median, and
 * the 90th percentile of windows. *disturbed: the share left out. With every window disturbed: of
 * all of them, and *disturbed is 1.
 */
void mr_bench_load_rate(const struct mr_bench_run *run, const struct mr_bench_load_result *result,
			uint64_t window_ns, uint64_t mask, double *median, double *p90,
			double *disturbed);

/* Adds the latency, due to acknowledged, of every record due in undisturbed windows of 'window_ns'.
 * Only for loads with a rate. A load shorter than a window is one window. A gap within a quarter of
 * a window of one disturbs it, too: what is due just before a gap is answered in it, and behind it
 * a backlog waits. */
void mr_bench_load_latency(const struct mr_bench_run *run,
			   const struct mr_bench_load_result *result, uint64_t window_ns,
			   uint64_t mask, struct mr_histogram *histogram, double *disturbed);

#endif
