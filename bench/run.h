/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of one question, from inside: what the framework's own files share. Questions use
 * bench.h only. Owned by the process that runs the question; one thread.
 */
#ifndef MR_BENCH_RUN_H
#define MR_BENCH_RUN_H

#include <jansson.h>
#include <limits.h>
#include <sched.h>

#include "bench.h"
#include "machine.h"

#define MR_BENCH_UNIT_BYTES 24
#define MR_BENCH_NOTE_BYTES 512

struct mr_jitter;

/* One pair of samples, as far as one figure looks at it. 'limit' and 'ratio' are NaN without a
 * limit. */
struct mr_bench_pair {
	double ours, limit, ratio;
	double disturbed; /* share of the windows of both */
};

/* A figure and what was measured for it. */
struct mr_bench_row {
	char name[MR_BENCH_NAME_BYTES];
	char unit[MR_BENCH_UNIT_BYTES];
	char limit_name[MR_BENCH_NAME_BYTES]; /* empty: no limit */
	char note[MR_BENCH_NOTE_BYTES];
	enum mr_bench_sense sense;
	double bar;
	uint32_t pair_count; /* at least 1 */
	struct mr_bench_pair *pairs;
	/* medians over the pairs; NaN where there is no limit */
	double value, limit, ratio, ratio_min, ratio_max;
	double disturbed; /* mean over the pairs */
};

struct mr_bench_curve {
	char *plot, *name, *x, *y;
	bool log_x, log_y;
	double *xs, *ys;
	uint32_t count;
};

struct mr_bench_run {
	const char *question;
	double seconds; /* 0: the question's own */
	char data[PATH_MAX + 32];
	uint32_t cores[CPU_SETSIZE];
	uint32_t core_count;
	FILE *progress; /* NULL: nobody watches */
	struct mr_bench_machine machine;
	struct mr_jitter *jitter; /* NULL: there is none */
	struct mr_bench_row *rows;
	uint32_t row_count;
	struct mr_bench_curve *curves;
	uint32_t curve_count;
	bool no_memory; /* a figure was lost: the run has failed */
};

/* figures.c */
void mr_bench_figures_free(struct mr_bench_run *run);
/* NaN of none, and where one is NaN; 'values' stay as they are. */
double mr_bench_median(const double *values, uint32_t count);
enum mr_bench_verdict {
	MR_BENCH_REPORTED,
	MR_BENCH_MET,
	MR_BENCH_NOT_MET,
};
enum mr_bench_verdict mr_bench_judge(const struct mr_bench_row *row);

/* figures_table.c: at most 100 columns. */
void mr_bench_table(const struct mr_bench_run *run, FILE *out);
/* figures_json.c: the caller owns it; NULL: no memory. */
json_t *mr_bench_json(const struct mr_bench_run *run);

#endif
