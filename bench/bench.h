/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every question of `millrace bench` is built from. A question measures Millrace and, in the
 * same run and in turn with it, the limit that the machine sets: limit, ours, limit, ours, ... at
 * least five pairs. What counts is the median of the pairs' ratios; a figure without a limit is
 * reported, not judged.
 *
 * A question is one file of this folder and one row in questions.c. It runs in the process of
 * `millrace bench`, which holds the jitter probe; load runs in child processes (load.h), engines in
 * theirs (engine_process.h).
 */
#ifndef MR_BENCH_BENCH_H
#define MR_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

#define MR_BENCH_PAIRS	    5 /* the least there are, unless a sample takes very long */
#define MR_BENCH_VALUES_MAX 16
#define MR_BENCH_NAME_BYTES 96

struct mr_bench_run; /* one run of one question; owned by mr_bench_main() */

/* ---- what a question is told -------------------------------------------- */

/* Directory for engines' data, rings and raw files: on the disk that is asked about, empty at the
 * start, removed at the end. */
const char *mr_bench_data(const struct mr_bench_run *run);
/* Seconds that one sample may take: --seconds, else 'otherwise'. */
double mr_bench_seconds(const struct mr_bench_run *run, double otherwise);
/* Cores this process may use, ascending; the load gets the first of them that no worker has. */
uint32_t mr_bench_cores(const struct mr_bench_run *run, uint32_t cores[], uint32_t max);
/* Where the disk's interrupts go; -1: not known. */
int mr_bench_interrupt_core(const struct mr_bench_run *run);
/* One line on stderr, for who watches; nothing when nobody does. */
void mr_bench_progress(struct mr_bench_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- figures ------------------------------------------------------------- */

enum mr_bench_sense {
	MR_BENCH_REPORT = 0, /* no bar */
	MR_BENCH_AT_LEAST,
	MR_BENCH_AT_MOST,
};

/* One measurement: up to MR_BENCH_VALUES_MAX numbers, in the order that the question's figures
 * name them. 'disturbed': share of its windows that the jitter probe threw out, 0 .. 1. */
struct mr_bench_sample {
	double values[MR_BENCH_VALUES_MAX];
	double disturbed;
};

/* Takes one sample. 'arg' is the pair's. */
struct mr_bench_measure {
	int (*take)(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);
	void *arg;
};

struct mr_bench_figure {
	const char *name;	/* "lane, 32 frames of 64 B per publish" */
	const char *unit;	/* "records/s", "us", "ns", "bytes", "cores", "ratio" */
	const char *limit_name; /* "SPSC byte ring"; NULL: there is no limit */
	uint32_t value;		/* index into the sample of 'ours' */
	uint32_t limit;		/* index into the sample of the limit */
	enum mr_bench_sense sense;
	double bar; /* for the ratio; for the value itself where there is no limit */
};

/*
 * Takes 'pairs' pairs (0: MR_BENCH_PAIRS), the limit's sample first in the odd and second in the
 * even ones, and adds a figure for each row. 'limit.take' may be NULL: ours alone, 'pairs' times.
 */
int mr_bench_pairs(struct mr_bench_run *run, uint32_t pairs, const struct mr_bench_measure *ours,
		   const struct mr_bench_measure *limit, const struct mr_bench_figure *figures,
		   uint32_t figure_count, struct mr_error *err);

/* A figure measured once, without a limit. */
void mr_bench_add(struct mr_bench_run *run, const struct mr_bench_figure *figure, double value,
		  double disturbed);

/* A sentence that belongs to the last figure: how a user changes it, why it is what it is. */
void mr_bench_note(struct mr_bench_run *run, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * A curve for the plots. 'x' and 'y' are copied. In --json under "series": {name, x, y, points}.
 */
struct mr_bench_series {
	const char *plot;  /* curves of one plot share this: "ack latency" */
	const char *name;  /* of the curve: "10,000 records/s" */
	const char *x, *y; /* axis labels with units: "percentile", "us" */
	bool log_x, log_y;
	const double *xs, *ys;
	uint32_t count;
};
int mr_bench_series(struct mr_bench_run *run, const struct mr_bench_series *series,
		    struct mr_error *err);

/* ---- jitter -------------------------------------------------------------- */

/*
 * The probe: a thread per core, SCHED_FIFO where that is allowed, that wakes every half
 * millisecond and notes how late. It runs as long as the question does. A gap is a stretch of at
 * least MR_BENCH_GAP_NS in which a core did not run it: time that the hypervisor, or the kernel,
 * took from whatever ran there.
 */
#define MR_BENCH_GAP_NS 1000000u

/* Whether a gap on one of the cores of 'mask' (bit = core; 0: any) lies in [from, to),
 * CLOCK_MONOTONIC. */
bool mr_bench_disturbed(const struct mr_bench_run *run, uint64_t mask, uint64_t from_ns,
			uint64_t to_ns);

/* Without the probe, for what measures the same: the probe's own turns would be time taken away. */
void mr_bench_probe_pause(struct mr_bench_run *run);
int mr_bench_probe_resume(struct mr_bench_run *run, struct mr_error *err);

/* ---- questions ----------------------------------------------------------- */

struct mr_bench_question {
	const char *name;    /* "ack" */
	const char *asks;    /* one line for --help */
	const char *details; /* what is measured against what; for `millrace bench NAME --help` */
	bool long_running;   /* left out of `all`; the first Ctrl-C reaches it as SIGINT */
	int (*run)(struct mr_bench_run *run, struct mr_error *err);
	uint64_t free_bytes; /* of the disk that must be free at its start; 0: little */
};

extern const struct mr_bench_question mr_bench_questions[];
extern const size_t mr_bench_question_count;

/* By its name; NULL: there is none. */
const struct mr_bench_question *mr_bench_find(const char *name);

int mr_bench_limits(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_lane(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_ingest(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_ack(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_consume(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_recover(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_idle(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_scale(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_replica(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_knowledge(struct mr_bench_run *run, struct mr_error *err);
int mr_bench_soak(struct mr_bench_run *run, struct mr_error *err);

struct mr_bench_options {
	const char *question; /* a name, or "all" */
	const char *data;     /* parent of the run's directory; NULL: the current one */
	double seconds;	      /* of a sample; 0: each question's own */
	bool json;	      /* to 'out', one document a question; else a table */
	FILE *out, *progress; /* progress NULL: nobody watches */
	const char *save;     /* a directory: each question's JSON goes into it, too; or NULL */
};

/* Runs what is asked; 0, also with bars not met: a measurement is not a test. */
int mr_bench_main(const struct mr_bench_options *options, struct mr_error *err);

#endif
