/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a load's events say: rates over windows, latencies of records (load.h). Pure, but for what
 * the jitter probe knows; one thread.
 *
 *	began                                                     ended
 *	  |-- window --|-- window --|-- disturbed --|-- window --|--|
 *
 * Only whole windows count.
 */
#include "load.h"

#include <math.h>
#include <stdlib.h>

#define NEAR 4 /* a quarter of a window: a gap nearer than that disturbs its latencies */

/* ---- windows ------------------------------------------------------------------------------- */

struct windows {
	uint64_t from_ns, length_ns; /* where the first begins; how long each is */
	uint64_t count;
	bool *disturbed; /* by window; NULL: none is (or memory ran out) */
	uint64_t disturbed_count;
};

/* A gap up to 'near_ns' before or behind a window disturbs it as well. */
static void look_at_windows(const struct mr_bench_run *run, uint64_t from_ns, uint64_t to_ns,
			    uint64_t window_ns, uint64_t near_ns, uint64_t mask,
			    struct windows *out)
{
	*out = (struct windows){.from_ns = from_ns, .length_ns = window_ns};
	if (to_ns > from_ns)
		out->count = (to_ns - from_ns) / window_ns;
	out->disturbed = calloc(out->count + 1, sizeof(*out->disturbed));
	for (uint64_t i = 0; out->disturbed && i < out->count; i++) {
		uint64_t at_ns = from_ns + i * window_ns;

		out->disturbed[i] =
			mr_bench_disturbed(run, mask, at_ns - near_ns, at_ns + window_ns + near_ns);
		out->disturbed_count += out->disturbed[i];
	}
}

/* With every window disturbed there is nothing better than all of them. */
static bool counts(const struct windows *windows, uint64_t window)
{
	return !windows->disturbed || !windows->disturbed[window] ||
	       windows->disturbed_count == windows->count;
}

static double share_disturbed(const struct windows *windows)
{
	return windows->count ? (double)windows->disturbed_count / (double)windows->count : 0;
}

/* ---- rates --------------------------------------------------------------------------------- */

/*
 * Records acknowledged at 'at_ns', on the straight line between the events around it: events come
 * at most every quarter of a millisecond, and a step there would be a part of a window. 'cursor'
 * begins at 0 and moves on; moments must rise.
 */
static double acknowledged_at(const struct mr_bench_load_result *result, uint32_t *cursor,
			      uint64_t at_ns)
{
	const struct mr_bench_event *events = result->events, *before, *after;

	while (*cursor < result->event_count && events[*cursor].at_ns <= at_ns)
		(*cursor)++;
	if (*cursor == 0)
		return 0;
	before = &events[*cursor - 1];
	if (*cursor == result->event_count)
		return (double)before->acknowledged;
	after = &events[*cursor];
	return (double)before->acknowledged + (double)(after->acknowledged - before->acknowledged) *
						      (double)(at_ns - before->at_ns) /
						      (double)(after->at_ns - before->at_ns);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The smallest value that 'share' of all do not exceed; the median of an even number lies between
 * two. */
static double percentile(const double *sorted, uint64_t count, double share)
{
	double at = share * (double)(count - 1);
	uint64_t low = (uint64_t)at;

	if (low + 1 >= count)
		return sorted[count - 1];
	return sorted[low] + (sorted[low + 1] - sorted[low]) * (at - (double)low);
}

void mr_bench_load_rate(const struct mr_bench_run *run, const struct mr_bench_load_result *result,
			uint64_t window_ns, uint64_t mask, double *median, double *p90,
			double *disturbed)
{
	struct windows windows;
	uint64_t kept = 0;
	uint32_t cursor = 0;
	double *rates, before;

	look_at_windows(run, result->began_ns, result->ended_ns, window_ns, 0, mask, &windows);
	rates = calloc(windows.count + 1, sizeof(*rates));
	before = acknowledged_at(result, &cursor, result->began_ns);
	for (uint64_t i = 0; rates && i < windows.count; i++) {
		uint64_t end_ns = windows.from_ns + (i + 1) * window_ns;
		double after = acknowledged_at(result, &cursor, end_ns);

		if (counts(&windows, i))
			rates[kept++] = (after - before) * 1e9 / (double)window_ns;
		before = after;
	}
	if (kept > 0)
		qsort(rates, kept, sizeof(*rates), compare);
	*median = kept ? percentile(rates, kept, 0.5) : NAN;
	*p90 = kept ? percentile(rates, kept, 0.9) : NAN;
	*disturbed = share_disturbed(&windows);
	free(rates);
	free(windows.disturbed);
}

/* ---- latencies ----------------------------------------------------------------------------- */

void mr_bench_load_latency(const struct mr_bench_run *run,
			   const struct mr_bench_load_result *result, uint64_t window_ns,
			   uint64_t mask, struct mr_histogram *histogram, double *disturbed)
{
	uint64_t length_ns = result->ended_ns - result->began_ns, record = 0;
	struct windows windows;

	if (window_ns > length_ns && length_ns > 0)
		window_ns = length_ns; /* too short for one: then all of it is one */
	/* what is due just before a gap is answered in it, and behind it a backlog waits */
	look_at_windows(run, result->began_ns, result->ended_ns, window_ns, window_ns / NEAR, mask,
			&windows);
	for (uint32_t i = 0; i < result->event_count; i++) {
		const struct mr_bench_event *event = &result->events[i];

		for (; record < event->acknowledged; record++) {
			uint64_t due_ns =
				result->due_ns + (uint64_t)((double)record * 1e9 / result->rate);
			uint64_t window;

			if (due_ns < result->began_ns)
				continue;
			window = (due_ns - result->began_ns) / window_ns;
			if (window < windows.count && counts(&windows, window))
				mr_histogram_add(histogram,
						 event->at_ns > due_ns ? event->at_ns - due_ns : 0,
						 1);
		}
	}
	*disturbed = share_disturbed(&windows);
	free(windows.disturbed);
}
