/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: every acknowledged record counts once, those of the warm-up do not, and neither
 * does padding. */
#include <criterion/criterion.h>
#include <math.h>

#include "run.h"
#include "steady.h"

#define SECOND_NS 1000000000ull
#define EVENTS	  1000

/* Without a probe no window is disturbed. */
static struct mr_bench_run run;
static struct mr_bench_event events[EVENTS];

/* An event each millisecond from 'from_ns' on, 'each' records more in every one. */
static struct mr_bench_load_result steady_load(uint64_t from_ns, uint64_t each)
{
	struct mr_bench_load_result result = {
		.began_ns = from_ns,
		.events = events,
		.event_count = EVENTS,
	};

	for (uint32_t i = 0; i < EVENTS; i++)
		events[i] = (struct mr_bench_event){
			.at_ns = from_ns + (i + 1) * 1000000ull,
			.acknowledged = (i + 1) * each,
		};
	result.ended_ns = events[EVENTS - 1].at_ns;
	result.acknowledged = events[EVENTS - 1].acknowledged;
	return result;
}

static void near(double found, double expected, const char *what)
{
	cr_assert(fabs(found - expected) <= 1e-9 * expected, "%s: %g, expected %g", what, found,
		  expected);
}

Test(bench_steady, every_record_counts_once)
{
	struct mr_bench_load_result result = steady_load(5 * SECOND_NS, 100);
	double disturbed = 1;

	near(mr_steady_rate(&result), 1e5, "whole");
	near(mr_steady_undisturbed_rate(&run, &result, 0, &disturbed), 1e5, "windows");
	cr_assert_eq(disturbed, 0);
}

/* 7.5 ms into a window: a part of a window at the end is as long as it is. */
Test(bench_steady, the_last_window_may_be_short)
{
	struct mr_bench_load_result result = steady_load(SECOND_NS, 3);
	double disturbed;

	result.event_count = 847;
	result.ended_ns = events[846].at_ns;
	near(mr_steady_undisturbed_rate(&run, &result, 0, &disturbed), 3000, "windows");
}

Test(bench_steady, the_warm_up_does_not_count)
{
	struct mr_bench_load_result result = steady_load(SECOND_NS, 10);
	double disturbed;

	events[99].acknowledged += 1000000; /* a burst in the warm-up */
	for (uint32_t i = 100; i < EVENTS; i++)
		events[i].acknowledged += 1000000;
	result.began_ns = events[99].at_ns + 1;
	near(mr_steady_undisturbed_rate(&run, &result, 0, &disturbed),
	     9000 * 1e9 / (double)(result.ended_ns - result.began_ns), "windows");
}

Test(bench_steady, nothing_is_no_rate)
{
	struct mr_bench_load_result nothing = {.began_ns = 5, .ended_ns = 5};
	double disturbed;

	near(mr_steady_rate(&nothing), 0, "whole");
	near(mr_steady_undisturbed_rate(&run, &nothing, 0, &disturbed), 0, "windows");
	cr_assert_eq(disturbed, 1);
}

Test(bench_steady, padding_is_no_log)
{
	struct mr_steady_counts before = {.groups = 5, .batch_bytes = 1000, .written_bytes = 20480};
	struct mr_steady_counts after = {.groups = 7, .batch_bytes = 1500, .written_bytes = 28672};
	struct mr_steady_counts added = mr_steady_between(&before, &after);

	cr_assert_eq(added.written_bytes, 8192);
	cr_assert_eq(mr_steady_log_bytes(&added), 500 + 2 * 64);
}
