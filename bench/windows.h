/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short windows of a measurement, each with its rate, so that those in which the machine was
 * elsewhere can be left out afterwards. Owned by the measuring thread.
 */
#ifndef MR_BENCH_WINDOWS_H
#define MR_BENCH_WINDOWS_H

#include "bench.h"

#define MR_WINDOW_NS 2000000u

struct mr_window {
	uint64_t from_ns, to_ns;
	double rate; /* of what was counted, a second */
};

struct mr_windows {
	struct mr_window *rows; /* owned */
	uint32_t count, max;
	uint64_t from_ns, from_amount; /* of the one under way */
};

/* Room for windows of 'seconds'. */
int mr_windows_init(struct mr_windows *windows, double seconds, struct mr_error *err);
void mr_windows_deinit(struct mr_windows *windows);

/* The first window begins now; 'amount' is what was counted so far. */
void mr_windows_begin(struct mr_windows *windows, uint64_t now_ns, uint64_t amount);

/* Ends the window under way and begins the next. */
static inline void mr_windows_cut(struct mr_windows *windows, uint64_t now_ns, uint64_t amount)
{
	struct mr_window *row = &windows->rows[windows->count];

	if (now_ns == windows->from_ns || windows->count == windows->max)
		return;
	row->from_ns = windows->from_ns;
	row->to_ns = now_ns;
	row->rate =
		(double)(amount - windows->from_amount) * 1e9 / (double)(now_ns - windows->from_ns);
	windows->count++;
	windows->from_ns = now_ns;
	windows->from_amount = amount;
}

/* The same where the window is MR_WINDOW_NS long, or more. */
static inline void mr_windows_look(struct mr_windows *windows, uint64_t now_ns, uint64_t amount)
{
	if (now_ns - windows->from_ns >= MR_WINDOW_NS)
		mr_windows_cut(windows, now_ns, amount);
}

/*
 * Median and 90th percentile of the rates of undisturbed windows, and the share of disturbed ones;
 * with all of them disturbed: of all, and the share is 1. 'run' may be NULL: none is. The order of
 * the windows is lost. -ETIME: there is none.
 */
int mr_windows_judge(struct mr_windows *windows, const struct mr_bench_run *run, uint64_t mask,
		     double *median, double *p90, double *disturbed, struct mr_error *err);

/*
 * What was counted in all undisturbed windows by the time that they took, stalls and all: for what
 * comes in bursts, where a median of windows would hide them. With all of them disturbed as above;
 * the share is of time.
 */
int mr_windows_total(const struct mr_windows *windows, const struct mr_bench_run *run,
		     uint64_t mask, double *rate, double *disturbed, struct mr_error *err);

/* Share of [from, to) in windows that were disturbed; for what is not measured in windows. */
double mr_windows_disturbed(const struct mr_bench_run *run, uint64_t mask, uint64_t from_ns,
			    uint64_t to_ns);

#endif
