/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of windows: every function over every extent says what a naive computation over
 * all samples says, on random streams with equal times, gaps, late samples, huge and tiny values,
 * while blocks grow, shed, move and are written down and read back; and equal histories are equal
 * bytes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "naive_windows.h"
#include "window.h"
#include "window_plan.h"

#define SAMPLES_MAX 3000

/* ---- one stream through a block and the naive model ---------------------------------------------
 */

struct rig {
	struct mr_window_plan *plan;
	struct mr_window_spec specs[MR_WINDOWS_MAX];
	uint32_t count;
	void *block;
	size_t bytes;
	struct naive_windows naive;
	uint64_t seed;
};

static uint64_t next(struct rig *rig)
{
	rig->seed ^= rig->seed << 13;
	rig->seed ^= rig->seed >> 7;
	rig->seed ^= rig->seed << 17;
	return rig->seed;
}

static uint32_t below(struct rig *rig, uint32_t bound)
{
	return (uint32_t)(next(rig) >> 33) % bound;
}

static void rig_begin(struct rig *rig)
{
	struct mr_error err = {0};
	uint32_t capacity;

	cr_assert_eq(mr_window_plan_new(rig->specs, rig->count, &rig->plan, &err), 0, "%s",
		     err.what);
	capacity = mr_window_plan_capacity(rig->plan);
	rig->bytes = mr_window_block_bytes(rig->plan, capacity);
	cr_assert_eq(rig->bytes % 8, 0);
	rig->block = malloc(rig->bytes);
	mr_window_block_init(rig->plan, rig->block, capacity);
	naive_windows_begin(&rig->naive, rig->specs, rig->count, SAMPLES_MAX);
}

static void rig_end(struct rig *rig)
{
	naive_windows_end(&rig->naive);
	mr_window_plan_free(rig->plan);
	free(rig->block);
}

static void rig_grow(struct rig *rig)
{
	uint32_t capacity = mr_window_block_capacity(rig->block) * 2;
	size_t bytes = mr_window_block_bytes(rig->plan, capacity);
	void *larger = malloc(bytes);

	memset(larger, 0x5a, bytes);
	mr_window_block_grow(rig->plan, rig->block, larger, capacity);
	free(rig->block);
	rig->block = larger;
	rig->bytes = bytes;
}

/* Written down, and read back elsewhere. */
static void rig_move(struct rig *rig)
{
	void *elsewhere = malloc(rig->bytes);

	memcpy(elsewhere, rig->block, rig->bytes);
	cr_assert(mr_window_block_check(rig->plan, elsewhere, rig->bytes));
	memset(rig->block, 0xa5, rig->bytes);
	free(rig->block);
	rig->block = elsewhere;
}

static void rig_push(struct rig *rig, int64_t time_ms, double value)
{
	void *before = malloc(rig->bytes);
	int r;

	memcpy(before, rig->block, rig->bytes);
	r = mr_window_block_push(rig->plan, rig->block, time_ms, value);
	if (r == -ENOSPC) {
		cr_assert_eq(memcmp(before, rig->block, rig->bytes), 0, "unchanged");
		rig_grow(rig);
		r = mr_window_block_push(rig->plan, rig->block, time_ms, value);
	}
	free(before);
	cr_assert_eq(r, 0);
	naive_windows_push(&rig->naive, time_ms, value);
}

static void rig_shed(struct rig *rig)
{
	mr_window_block_shed(rig->plan, rig->block);
	naive_windows_shed(&rig->naive);
}

static void check_samples(struct rig *rig)
{
	uint32_t kept = naive_windows_kept(&rig->naive);
	int64_t time_ms;
	double value;

	cr_assert_eq(mr_window_block_samples(rig->block), kept, "%u samples, expected %u",
		     mr_window_block_samples(rig->block), kept);
	for (uint32_t back = 0; back < kept; back++) {
		const struct naive_sample *sample = naive_windows_sample(&rig->naive, back);

		cr_assert(mr_window_block_sample(rig->plan, rig->block, back, &time_ms, &value));
		cr_assert_eq(time_ms, sample->time_ms);
		cr_assert_eq(value, sample->value);
	}
	cr_assert_not(mr_window_block_sample(rig->plan, rig->block, kept, &time_ms, &value));
}

static void rig_check(struct rig *rig)
{
	double results[MR_WINDOWS_MAX];

	mr_window_block_results(rig->plan, rig->block, results);
	for (uint32_t i = 0; i < rig->count; i++) {
		const struct mr_window_spec *spec = &rig->specs[i];
		struct naive_result expected = naive_windows_result(&rig->naive, i);

		cr_assert(naive_result_matches(&expected, results[i]),
			  "%s, extent %d, %u samples or %lld ms: %.17g, expected %.17Lg +- %Lg, "
			  "after %u pushes",
			  mr_window_functions[spec->fn].name, (int)spec->extent, spec->count,
			  (long long)spec->span_ms, results[i], expected.value, expected.tolerance,
			  rig->naive.pushes);
		cr_assert_eq(mr_window_block_reach(rig->plan, rig->block, i),
			     naive_windows_reach(&rig->naive, i));
	}
}

/* ---- random streams -----------------------------------------------------------------------------
 */

enum times { TIMES_STEADY, TIMES_EQUAL, TIMES_LATE, TIMES_GAPS, TIMES_WILD, TIMES_KINDS };
enum values { VALUES_SMALL, VALUES_LEVEL, VALUES_WILD, VALUES_FEW, VALUES_STEPS, VALUES_KINDS };

static int64_t draw_time(struct rig *rig, enum times kind, int64_t newest)
{
	switch (kind) {
	case TIMES_STEADY:
		return newest + 10;
	case TIMES_EQUAL:
		return newest + (below(rig, 3) == 0 ? 5 : 0);
	case TIMES_LATE:
		return below(rig, 4) ? newest + below(rig, 20) : newest - below(rig, 400);
	case TIMES_GAPS:
		return newest + (below(rig, 20) ? below(rig, 15) : below(rig, 100000));
	default:
		return below(rig, 30) ? newest + below(rig, 30)
				      : (int64_t)next(rig) / (4 + below(rig, 1000000));
	}
}

static double draw_value(struct rig *rig, enum values kind)
{
	double unit = (double)(next(rig) >> 11) * 0x1p-53 - 0.5;

	switch (kind) {
	case VALUES_SMALL:
		return unit * 100;
	case VALUES_LEVEL:
		return 1e9 + unit * 1e-3;
	case VALUES_WILD:
		return ldexp(unit, (int)below(rig, 2030) - 1010);
	case VALUES_FEW:
		return (double)below(rig, 4) - 1;
	default:
		return ldexp(1 + unit * 1e-6, (int)(rig->naive.pushes / 40 * 37 % 130));
	}
}

static const double some_weights[] = {5, 4, 3, 2, 1, 0, 7, 0.5, 16, 0.125};
static const double fitted_weights[] = {1.9, -1.2, 0.4, -0.3};

static void draw_spec(struct rig *rig, struct mr_window_spec *spec)
{
	static const double ahead[] = {NAN, 0, 25, 1000, -3, -40, -500};

	*spec = (struct mr_window_spec){.fn = below(rig, MR_WINDOW_FUNCTIONS)};
	spec->extent = below(rig, 3);
	if (!mr_window_functions[spec->fn].by_time)
		spec->extent = MR_WINDOW_BY_COUNT;
	spec->count = 2 + below(rig, below(rig, 3) ? 12 : 150);
	spec->span_ms = 1 + below(rig, below(rig, 3) ? 200 : 2000);
	if (spec->fn == MR_WINDOW_QUANTILE)
		spec->parameter = below(rig, 5) * 0.25;
	else if (spec->fn == MR_WINDOW_EWMA)
		spec->parameter = below(rig, 4) ? (1 + below(rig, 10)) * 0.1 : 1e-3;
	else
		spec->parameter = ahead[below(rig, 7)];
	if (spec->fn == MR_WINDOW_WEIGHTED_AVERAGE && below(rig, 8)) {
		bool fitted = below(rig, 2);

		spec->weights = fitted ? fitted_weights : some_weights;
		spec->weight_count = 1 + below(rig, fitted ? 4 : 10);
		if (spec->count < spec->weight_count)
			spec->count = spec->weight_count;
	}
}

static void stream(uint64_t seed, enum times times, enum values values, uint32_t pushes)
{
	struct rig rig = {.seed = seed * 0x9e3779b97f4a7c15 + 1};
	int64_t newest = below(&rig, 2) ? 1700000000000 : -500;

	rig.count = 1 + below(&rig, 12);
	for (uint32_t i = 0; i < rig.count; i++)
		draw_spec(&rig, &rig.specs[i]);
	rig_begin(&rig);
	rig_check(&rig);
	for (uint32_t i = 0; i < pushes; i++) {
		int64_t time_ms = draw_time(&rig, times, newest);

		rig_push(&rig, time_ms, draw_value(&rig, values));
		if (time_ms > newest)
			newest = time_ms;
		rig_check(&rig);
		if (below(&rig, 40) == 0)
			rig_shed(&rig);
		if (below(&rig, 60) == 0)
			rig_move(&rig);
		if (below(&rig, 300) == 0)
			rig_grow(&rig);
		if (below(&rig, 20) == 0)
			check_samples(&rig);
	}
	rig_end(&rig);
}

static void streams(enum times times)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		for (int values = 0; values < VALUES_KINDS; values++)
			stream(seed * VALUES_KINDS + values, times, values, 400);
}

Test(window, says_what_a_naive_computation_says_at_steady_times)
{
	streams(TIMES_STEADY);
}

Test(window, says_what_a_naive_computation_says_at_equal_times)
{
	streams(TIMES_EQUAL);
}

Test(window, says_what_a_naive_computation_says_of_late_samples)
{
	streams(TIMES_LATE);
}

Test(window, says_what_a_naive_computation_says_across_gaps)
{
	streams(TIMES_GAPS);
}

Test(window, says_what_a_naive_computation_says_at_wild_times)
{
	streams(TIMES_WILD);
}

/* ---- indices that wrap --------------------------------------------------------------------------
 */

/* As after nearly 2^32 pushes: the same slots, the indices of the queues shortly before 0. */
static void rig_age(struct rig *rig)
{
	struct mr_window_layout layout;

	mr_window_plan_layout(rig->plan, mr_window_block_capacity(rig->block), &layout);
	for (uint32_t which = 0; which < 2; which++) {
		const struct mr_window_queue_place *place = &rig->plan->queues[which];
		uint32_t *state = (uint32_t *)((char *)rig->block + place->at);
		uint32_t slots = layout.queue_masks[which] + 1;
		uint32_t shift;

		cr_assert_gt(place->count, 0);
		shift = (state[0] / slots + 1) * slots;
		for (uint32_t i = 0; i <= place->count; i++)
			state[i] -= shift;
		cr_assert_gt(state[0], UINT32_MAX - slots);
	}
	cr_assert(mr_window_block_check(rig->plan, rig->block, rig->bytes));
}

static void age_and_go_on(enum values values, uint64_t seed)
{
	struct rig rig = {
		.seed = seed,
		.count = 6,
		.specs = {{.fn = MR_WINDOW_MAX, .count = 17},
			  {.fn = MR_WINDOW_MAX, .count = 40},
			  {.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_BY_TIME, .span_ms = 200},
			  {.fn = MR_WINDOW_MIN, .count = 33},
			  {.fn = MR_WINDOW_MIN, .extent = MR_WINDOW_BY_TIME, .span_ms = 90},
			  {.fn = MR_WINDOW_MIN, .extent = MR_WINDOW_BY_TIME, .span_ms = 500}},
	};
	int64_t time_ms = 0;

	rig_begin(&rig);
	for (uint32_t i = 0; i < 800; i++) {
		if (i == 200)
			rig_age(&rig);
		/* falling now and then: then the queues are as long as they get */
		time_ms += below(&rig, 50) ? 10 : 1 + below(&rig, 700);
		rig_push(&rig, time_ms, i / 100 % 2 ? -(double)i : draw_value(&rig, values));
		rig_check(&rig);
		cr_assert(mr_window_block_check(rig.plan, rig.block, rig.bytes));
	}
	rig_end(&rig);
}

Test(window, queues_go_on_where_their_indices_wrap)
{
	for (int values = 0; values < VALUES_KINDS; values++)
		for (uint64_t seed = 1; seed <= 20; seed++)
			age_and_go_on(values, seed * 0x9e3779b97f4a7c15 + 1);
}
