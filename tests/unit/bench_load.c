/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: every record counts, with the time since it was due; windows that a gap reaches
 * into are left out, and their share is said; with nothing undisturbed, all of them count.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jitter.h"
#include "load.h"
#include "run.h"

#define MS    UINT64_C(1000000)
#define START (1000 * MS)
#define CORES 3u /* cores 0 and 1, as a mask */

static struct mr_bench_run run;
static struct mr_histogram *histogram;
static double disturbed, median, p90;

static void begin(void)
{
	const uint32_t cores[] = {0, 1};

	memset(&run, 0, sizeof(run));
	run.jitter = mr_jitter_new(cores, 2);
	histogram = mr_histogram_new();
}

static void end(void)
{
	mr_jitter_free(run.jitter);
	mr_histogram_free(histogram);
}

TestSuite(bench_load, .init = begin, .fini = end);

/* 1,000 records/s from START on, for 'ms' milliseconds; each acknowledged 'late_us' after it was
 * due, one event each. The caller frees the events. */
static struct mr_bench_load_result one_by_one(uint32_t ms, uint64_t late_us)
{
	struct mr_bench_load_result result = {
		.began_ns = START,
		.ended_ns = START + ms * MS,
		.due_ns = START,
		.rate = 1000,
		.published = ms,
		.acknowledged = ms,
		.events = calloc(ms, sizeof(*result.events)),
		.event_count = ms,
	};

	for (uint32_t i = 0; i < ms; i++)
		result.events[i] = (struct mr_bench_event){.at_ns = START + i * MS + late_us * 1000,
							   .acknowledged = i + 1};
	return result;
}

/* A gap on a core, 'ms' after START, for two milliseconds. */
static void gap(uint32_t core, uint64_t ms)
{
	mr_jitter_note(run.jitter, core, START + ms * MS, START + (ms + 2) * MS);
}

/* ---- gaps ---------------------------------------------------------------------------------- */

Test(bench_load, a_gap_disturbs_what_it_touches)
{
	gap(1, 10); /* from 10 to 12 */
	gap(1, 50);
	cr_assert(mr_bench_disturbed(&run, 0, START + 10 * MS, START + 12 * MS));
	cr_assert(mr_bench_disturbed(&run, 0, START + 9 * MS, START + 10 * MS + 1));
	cr_assert(mr_bench_disturbed(&run, 0, START + 12 * MS - 1, START + 13 * MS));
	cr_assert(mr_bench_disturbed(&run, 0, START + 11 * MS, START + 11 * MS + 1), "inside");
	cr_assert(mr_bench_disturbed(&run, 0, START, START + 100 * MS), "around");
	cr_assert(mr_bench_disturbed(&run, 0, START + 20 * MS, START + 51 * MS), "the second");
	cr_assert_not(mr_bench_disturbed(&run, 0, START, START + 10 * MS), "before");
	cr_assert_not(mr_bench_disturbed(&run, 0, START + 12 * MS, START + 50 * MS), "between");
	cr_assert_not(mr_bench_disturbed(&run, 0, START + 52 * MS, START + 99 * MS), "after");
}

Test(bench_load, only_the_cores_asked_about_count)
{
	gap(1, 10);
	cr_assert(mr_bench_disturbed(&run, 2, START, START + 20 * MS));
	cr_assert(mr_bench_disturbed(&run, 3, START, START + 20 * MS));
	cr_assert_not(mr_bench_disturbed(&run, 1, START, START + 20 * MS));
}

/* A millisecond is a gap, less is not. */
Test(bench_load, short_delays_are_no_gaps)
{
	mr_jitter_note(run.jitter, 0, START, START + MR_BENCH_GAP_NS - 1);
	cr_assert_not(mr_bench_disturbed(&run, 0, 0, START + 100 * MS));
	mr_jitter_note(run.jitter, 0, START + 5 * MS, START + 5 * MS + MR_BENCH_GAP_NS);
	cr_assert(mr_bench_disturbed(&run, 0, 0, START + 100 * MS));
}

Test(bench_load, without_a_probe_nothing_is_disturbed)
{
	struct mr_bench_run blind = {.question = "x"};

	cr_assert_not(mr_bench_disturbed(&blind, 0, 0, UINT64_MAX));
}

/* ---- latencies ----------------------------------------------------------------------------- */

Test(bench_load, latency_counts_from_when_a_record_was_due)
{
	struct mr_bench_load_result result = one_by_one(100, 250);

	mr_bench_load_latency(&run, &result, 10 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 100);
	cr_assert_eq(mr_histogram_max(histogram), 250000);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.0), 250000);
	cr_assert_eq(disturbed, 0);
	free(result.events);
}

/* One event for ten records: the first waited longest, and each one counts. */
Test(bench_load, a_late_event_is_late_for_every_record_of_it)
{
	struct mr_bench_event events[] = {{START + 10 * MS, 10}, {START + 20 * MS, 20}};
	struct mr_bench_load_result result = {.began_ns = START,
					      .ended_ns = START + 20 * MS,
					      .due_ns = START,
					      .rate = 1000,
					      .events = events,
					      .event_count = 2};

	mr_bench_load_latency(&run, &result, 5 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 20);
	cr_assert_eq(mr_histogram_max(histogram), 10 * MS);
	cr_assert_geq(mr_histogram_percentile(histogram, 0.1), 1 * MS);
	cr_assert_lt(mr_histogram_percentile(histogram, 0.1), 1 * MS + MS / 1000);
	cr_assert_geq(mr_histogram_percentile(histogram, 0.5), 5 * MS);
	cr_assert_lt(mr_histogram_percentile(histogram, 0.5), 5 * MS + MS / 100);
}

/* What was due in the last window and came after its end is not forgotten. */
Test(bench_load, what_comes_after_the_end_counts)
{
	struct mr_bench_load_result result = one_by_one(10, 90000);

	mr_bench_load_latency(&run, &result, MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 10);
	cr_assert_eq(mr_histogram_max(histogram), 90 * MS);
	free(result.events);
}

Test(bench_load, the_warm_up_does_not_count)
{
	struct mr_bench_load_result result = one_by_one(100, 100);

	result.began_ns += 40 * MS;
	result.events[3].at_ns += 500000; /* slow, in the warm-up */
	mr_bench_load_latency(&run, &result, 10 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 60);
	cr_assert_eq(mr_histogram_max(histogram), 100000);
	free(result.events);
}

Test(bench_load, records_due_in_disturbed_windows_are_left_out)
{
	struct mr_bench_load_result result = one_by_one(100, 100);

	gap(0, 34);			   /* window 3 of ten */
	gap(1, 69);			   /* to 71: windows 6 and 7 */
	result.events[35].at_ns += 400000; /* because of the gap */
	mr_bench_load_latency(&run, &result, 10 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 70);
	cr_assert_eq(mr_histogram_max(histogram), 100000);
	cr_assert_float_eq(disturbed, 0.3, 1e-9);
	free(result.events);
}

/* Due 1 ms before the gap, answered in it; due 2 ms behind it, behind a backlog. */
Test(bench_load, records_due_near_a_gap_are_left_out)
{
	struct mr_bench_load_result result = one_by_one(100, 100);

	gap(0, 31); /* window 3, and near window 2 */
	gap(0, 66); /* to 68: window 6, and near window 7 */
	result.events[29].at_ns += 3 * MS;
	result.events[70].at_ns += 3 * MS;
	mr_bench_load_latency(&run, &result, 10 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 60);
	cr_assert_eq(mr_histogram_max(histogram), 100000);
	cr_assert_float_eq(disturbed, 0.4, 1e-9);
	free(result.events);
}

Test(bench_load, a_load_shorter_than_a_window_is_one)
{
	struct mr_bench_load_result result = one_by_one(30, 100);

	mr_bench_load_latency(&run, &result, 100 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 30);
	cr_assert_eq(disturbed, 0);
	gap(0, 20);
	mr_bench_load_latency(&run, &result, 100 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(disturbed, 1);
	free(result.events);
}

Test(bench_load, with_every_window_disturbed_all_count)
{
	struct mr_bench_load_result result = one_by_one(20, 100);

	mr_jitter_note(run.jitter, 0, START - MS, START + 30 * MS);
	mr_bench_load_latency(&run, &result, 5 * MS, CORES, histogram, &disturbed);
	cr_assert_eq(mr_histogram_count(histogram), 20);
	cr_assert_eq(disturbed, 1);
	free(result.events);
}

/* ---- rates --------------------------------------------------------------------------------- */

Test(bench_load, a_steady_rate_is_found)
{
	struct mr_bench_load_result result = one_by_one(1000, 0);

	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_float_eq(median, 1000, 1);
	cr_assert_float_eq(p90, 1000, 1);
	cr_assert_eq(disturbed, 0);
	free(result.events);
}

/* Events every 4 ms, windows of 10: a step that falls into one or the other window would make
 * 800 and 1,200 of it. */
Test(bench_load, steps_between_events_are_lines)
{
	struct mr_bench_load_result result = one_by_one(1000, 0);

	for (uint32_t i = 0; i < 250; i++)
		result.events[i] = (struct mr_bench_event){START + 4 * (i + 1) * MS, 4 * (i + 1)};
	result.event_count = 250;
	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_float_eq(median, 1000, 1e-6);
	cr_assert_float_eq(p90, 1000, 1e-6);
	free(result.events);
}

/* 100 windows: 80 at 1,000/s, 20 at 3,000/s. */
Test(bench_load, the_median_and_the_90th_percentile_of_windows)
{
	struct mr_bench_event events[101];
	struct mr_bench_load_result result = {.began_ns = START,
					      .ended_ns = START + 1000 * MS,
					      .events = events,
					      .event_count = 101};
	uint64_t so_far = 0;

	events[0] = (struct mr_bench_event){START, 0};
	for (uint32_t i = 0; i < 100; i++) {
		so_far += i % 5 == 0 ? 30 : 10;
		events[i + 1] = (struct mr_bench_event){START + (i + 1) * 10 * MS, so_far};
	}
	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_float_eq(median, 1000, 1e-6);
	cr_assert_float_eq(p90, 3000, 1e-6);
}

Test(bench_load, disturbed_windows_have_no_rate)
{
	struct mr_bench_load_result result = one_by_one(100, 0);

	for (uint32_t i = 50; i < 60; i++)
		result.events[i].acknowledged = 50; /* nothing came through */
	for (uint32_t i = 60; i < 100; i++)
		result.events[i].acknowledged = 60 + (i - 60) + 1;
	gap(0, 55);
	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_float_eq(disturbed, 0.1, 1e-9);
	cr_assert_float_eq(median, 1000, 101);
	gap(1, 80);
	mr_bench_load_rate(&run, &result, 10 * MS, 1, &median, &p90, &disturbed);
	cr_assert_float_eq(disturbed, 0.1, 1e-9, "core 1 was not asked about");
	free(result.events);
}

Test(bench_load, with_every_window_disturbed_the_rate_is_of_all)
{
	struct mr_bench_load_result result = one_by_one(50, 0);

	mr_jitter_note(run.jitter, 1, START - MS, START + 60 * MS);
	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_eq(disturbed, 1);
	cr_assert_float_eq(median, 1000, 1);
	free(result.events);
}

Test(bench_load, the_rate_of_nothing_is_no_number)
{
	struct mr_bench_load_result result = {.began_ns = START, .ended_ns = START + 5 * MS};

	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert(isnan(median), "not one whole window");
	result.ended_ns = START + 20 * MS;
	mr_bench_load_rate(&run, &result, 10 * MS, CORES, &median, &p90, &disturbed);
	cr_assert_eq(median, 0, "two windows, no event");
}
