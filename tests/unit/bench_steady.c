/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: every acknowledged record counts once, those of the warm-up do not, and neither
 * does padding; what was acknowledged in a disturbed window counts as little as its time does.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "jitter.h"
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
	near(mr_steady_undisturbed_rate(&run, &result, 1, 0, &disturbed), 1e5, "windows");
	cr_assert_eq(disturbed, 0);
}

/* 7.5 ms into a window: a part of a window at the end is as long as it is. */
Test(bench_steady, the_last_window_may_be_short)
{
	struct mr_bench_load_result result = steady_load(SECOND_NS, 3);
	double disturbed;

	result.event_count = 847;
	result.ended_ns = events[846].at_ns;
	near(mr_steady_undisturbed_rate(&run, &result, 1, 0, &disturbed), 3000, "windows");
}

Test(bench_steady, the_warm_up_does_not_count)
{
	struct mr_bench_load_result result = steady_load(SECOND_NS, 10);
	double disturbed;

	events[99].acknowledged += 1000000; /* a burst in the warm-up */
	for (uint32_t i = 100; i < EVENTS; i++)
		events[i].acknowledged += 1000000;
	result.began_ns = events[99].at_ns + 1;
	near(mr_steady_undisturbed_rate(&run, &result, 1, 0, &disturbed),
	     9000 * 1e9 / (double)(result.ended_ns - result.began_ns), "windows");
}

/* 1,000 ms in windows of 20; what came in the disturbed ones was twice as much, or nothing. */
Test(bench_steady, disturbed_windows_do_not_count)
{
	const uint32_t cores[] = {0, 1};
	struct mr_bench_load_result result = steady_load(5 * SECOND_NS, 100);
	double disturbed;

	run.jitter = mr_jitter_new(cores, 2);
	mr_jitter_note(run.jitter, 1, result.began_ns + 85000000, result.began_ns + 121000000);
	for (uint32_t i = 80; i < EVENTS; i++)
		events[i].acknowledged += 5000; /* in the first of the three that it reaches */
	near(mr_steady_undisturbed_rate(&run, &result, 1, 3, &disturbed), 1e5, "windows");
	near(disturbed, 3 * 0.02, "share");
	near(mr_steady_undisturbed_rate(&run, &result, 1, 1, &disturbed), 1.05e5, "core 1 is none");
	cr_assert_eq(disturbed, 0);
	mr_jitter_note(run.jitter, 0, result.began_ns, result.ended_ns);
	near(mr_steady_undisturbed_rate(&run, &result, 1, 1, &disturbed), 1.05e5, "all of them");
	cr_assert_eq(disturbed, 1);
	mr_jitter_free(run.jitter);
	run.jitter = NULL;
}

/* The second ends 100 ms earlier, began 50 ms later: 850 ms are common. */
Test(bench_steady, loads_add_up_while_all_publish)
{
	struct mr_bench_load_result results[] = {steady_load(SECOND_NS, 7),
						 steady_load(SECOND_NS, 7)};
	double disturbed;

	near(mr_steady_undisturbed_rate(&run, results, 2, 0, &disturbed), 14000, "both");
	results[1].began_ns += 50000000;
	results[1].ended_ns -= 100000000;
	near(mr_steady_undisturbed_rate(&run, results, 2, 0, &disturbed), 14000, "common");
	cr_assert_eq(disturbed, 0);
	results[1].ended_ns = results[1].began_ns = results[0].ended_ns;
	near(mr_steady_undisturbed_rate(&run, results, 2, 0, &disturbed), 0, "no common time");
	cr_assert_eq(disturbed, 1);
}

Test(bench_steady, nothing_is_no_rate)
{
	struct mr_bench_load_result nothing = {.began_ns = 5, .ended_ns = 5};
	double disturbed;

	near(mr_steady_rate(&nothing), 0, "whole");
	near(mr_steady_undisturbed_rate(&run, &nothing, 1, 0, &disturbed), 0, "windows");
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
