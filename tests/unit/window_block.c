/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a block of windows beside its results: equal histories are equal bytes, results
 * do not drift, damaged bytes are refused, what is full says so, and what makes no sense is no
 * plan. MR_WINDOW_PUSHES=100000000 in the environment makes the test of drift that long.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "window.h"
#include "window_parts.h"
#include "window_plan.h"

static const double weights[] = {4, 3, 2, 1};

static const struct mr_window_spec all_kinds[] = {
	{.fn = MR_WINDOW_WEIGHTED_AVERAGE, .count = 4, .weights = weights, .weight_count = 4},
	{.fn = MR_WINDOW_MAX, .count = 9},
	{.fn = MR_WINDOW_MAX, .count = 29},
	{.fn = MR_WINDOW_MIN, .extent = MR_WINDOW_BY_TIME, .span_ms = 300},
	{.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_BY_TIME, .span_ms = 100},
	{.fn = MR_WINDOW_MEAN, .count = 7},
	{.fn = MR_WINDOW_SUM, .extent = MR_WINDOW_TUMBLING, .span_ms = 50},
	{.fn = MR_WINDOW_STDDEV, .extent = MR_WINDOW_BY_TIME, .span_ms = 300},
	{.fn = MR_WINDOW_MEDIAN, .count = 6},
	{.fn = MR_WINDOW_MAD, .extent = MR_WINDOW_TUMBLING, .span_ms = 80},
	{.fn = MR_WINDOW_EWMA, .count = 12, .parameter = 0.2},
	{.fn = MR_WINDOW_SLOPE, .count = 10},
};

static uint64_t random_bits(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 20;
}

static struct mr_window_plan *plan_of(const struct mr_window_spec *specs, uint32_t count)
{
	struct mr_window_plan *plan = NULL;
	struct mr_error err = {0};

	cr_assert_eq(mr_window_plan_new(specs, count, &plan, &err), 0, "%s", err.what);
	return plan;
}

/* Filled with 'dirt' first: all of a block is written. */
static void *block_of(const struct mr_window_plan *plan, uint32_t capacity, int dirt)
{
	size_t bytes = mr_window_block_bytes(plan, capacity);
	void *block = malloc(bytes);

	memset(block, dirt, bytes);
	mr_window_block_init(plan, block, capacity);
	return block;
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

Test(window_block, equal_histories_are_equal_bytes)
{
	struct mr_window_plan *plan = plan_of(all_kinds, mr_array_count(all_kinds));
	size_t bytes = mr_window_block_bytes(plan, 400);
	void *one = block_of(plan, 400, 0);
	void *other = block_of(plan, 400, 0xff);
	uint64_t seed = 3;
	int64_t time_ms = 0;

	cr_assert_eq(memcmp(one, other, bytes), 0);
	for (uint32_t i = 0; i < 150000; i++) {
		double value = (double)random_bits(&seed) * 1e-6;
		int64_t at;
		void *moved;

		time_ms += random_bits(&seed) % 8;
		at = random_bits(&seed) % 10 ? time_ms : time_ms - 30;
		cr_assert_eq(mr_window_block_push(plan, one, at, value), 0);
		cr_assert_eq(mr_window_block_push(plan, other, at, value), 0);
		if (random_bits(&seed) % 50 == 0) {
			mr_window_block_shed(plan, one);
			mr_window_block_shed(plan, other);
		}
		if (i % 1000)
			continue;
		cr_assert_eq(memcmp(one, other, bytes), 0, "after %u", i);
		cr_assert(mr_window_block_check(plan, one, bytes));
		moved = malloc(bytes);
		memcpy(moved, other, bytes);
		free(other);
		other = moved;
	}
	free(one);
	free(other);
	mr_window_plan_free(plan);
}

/* Growing moves samples to other slots; what windows say stays the same to the last bit. */
/* Where windows keep nothing but samples a push is short: it says what the long one does. */
Test(window_block, keeps_the_same_samples_with_and_without_parts)
{
	static const double some[] = {0.1, 0.7, 0.2, 0.9, 0.3, 0.4};
	static const struct mr_window_spec specs[] = {
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE, .count = 6, .weights = some, .weight_count = 6},
		{.fn = MR_WINDOW_MAX, .count = 16},
		{.fn = MR_WINDOW_MIN, .count = 5},
		{.fn = MR_WINDOW_SUM, .count = 16},
	};
	struct mr_window_plan *bare = plan_of(specs, 3);
	struct mr_window_plan *full = plan_of(specs, 4);
	void *one = block_of(bare, 16, 0);
	void *other = block_of(full, 16, 0);
	uint64_t seed = 5;
	int64_t time_ms = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		double value = (double)random_bits(&seed) * 1e-6;
		double ours[3], theirs[4];
		int64_t at;

		time_ms += random_bits(&seed) % 3;
		at = time_ms - (random_bits(&seed) % 5 ? 0 : (int64_t)(random_bits(&seed) % 4));
		cr_assert_eq(mr_window_block_push(bare, one, at, value), 0);
		cr_assert_eq(mr_window_block_push(full, other, at, value), 0);
		mr_window_block_results(bare, one, ours);
		mr_window_block_results(full, other, theirs);
		cr_assert_eq(memcmp(ours, theirs, sizeof(ours)), 0, "after %u", i);
		cr_assert_eq(mr_window_block_samples(one), mr_window_block_samples(other));
		for (uint32_t back = 0; back < mr_window_block_samples(one); back++) {
			int64_t times[2];
			double values[2];

			cr_assert(mr_window_block_sample(bare, one, back, &times[0], &values[0]));
			cr_assert(mr_window_block_sample(full, other, back, &times[1], &values[1]));
			cr_assert_eq(times[0], times[1], "%u back after %u", back, i);
			cr_assert_eq(values[0], values[1]);
		}
		if (i % 64 == 0)
			cr_assert(
				mr_window_block_check(bare, one, mr_window_block_bytes(bare, 16)));
	}
	free(one);
	free(other);
	mr_window_plan_free(bare);
	mr_window_plan_free(full);
}

Test(window_block, grown_ones_say_the_same)
{
	struct mr_window_plan *plan = plan_of(all_kinds, mr_array_count(all_kinds));
	void *large = block_of(plan, 2000, 0);
	void *grows = block_of(plan, mr_window_plan_capacity(plan), 0);
	double results[2][mr_array_count(all_kinds)];
	uint64_t seed = 5;
	uint32_t grown = 0;

	for (uint32_t i = 0; i < 3000; i++) {
		double value = (double)random_bits(&seed) * 1e-6;
		uint32_t capacity = mr_window_block_capacity(grows);

		cr_assert_eq(mr_window_block_push(plan, large, i, value), 0);
		if (mr_window_block_push(plan, grows, i, value) == -ENOSPC) {
			void *larger = malloc(mr_window_block_bytes(plan, capacity + 7));

			mr_window_block_grow(plan, grows, larger, capacity + 7);
			free(grows);
			grows = larger;
			grown++;
			cr_assert_eq(mr_window_block_push(plan, grows, i, value), 0);
		}
		mr_window_block_results(plan, large, results[0]);
		mr_window_block_results(plan, grows, results[1]);
		cr_assert_eq(memcmp(results[0], results[1], sizeof(results[0])), 0, "after %u", i);
	}
	cr_assert_gt(grown, 10);
	free(large);
	free(grows);
	mr_window_plan_free(plan);
}

/* No single changed byte may make a block that is accepted go wrong; many are refused (those of
 * values make others). */
Test(window_block, damaged_ones_are_refused)
{
	struct mr_window_plan *plan = plan_of(all_kinds, mr_array_count(all_kinds));
	size_t bytes = mr_window_block_bytes(plan, 320);
	uint8_t *block = block_of(plan, 320, 0);
	uint8_t *damaged = malloc(bytes);
	double results[mr_array_count(all_kinds)];
	uint32_t refused = 0;

	for (uint32_t i = 0; i < 1000; i++)
		cr_assert_eq(mr_window_block_push(plan, block, i, i % 37), 0);
	cr_assert(mr_window_block_check(plan, block, bytes));
	cr_assert_not(mr_window_block_check(plan, block, bytes - 8));
	cr_assert_not(mr_window_block_check(plan, block, 8));
	for (size_t at = 0; at < bytes; at++) {
		memcpy(damaged, block, bytes);
		damaged[at] ^= 0x91;
		if (!mr_window_block_check(plan, damaged, bytes)) {
			refused++;
			continue;
		}
		mr_window_block_results(plan, damaged, results);
		for (uint32_t i = 0; i < 400; i++)
			(void)mr_window_block_push(plan, damaged, 1000 + i, i); /* or it is full */
		cr_assert(mr_window_block_check(plan, damaged, bytes));
	}
	cr_assert_gt(refused, bytes / 4, "%u of %zu", refused, bytes);
	free(block);
	free(damaged);
	mr_window_plan_free(plan);
}

/* ---- drift --------------------------------------------------------------------------------------
 */

#define DRIFT_KEPT 2048u

static const struct mr_window_spec drifting[] = {
	{.fn = MR_WINDOW_SUM, .count = 1000},
	{.fn = MR_WINDOW_MEAN, .count = 16},
	{.fn = MR_WINDOW_SUM, .extent = MR_WINDOW_BY_TIME, .span_ms = 900},
	{.fn = MR_WINDOW_STDDEV, .count = 100},
	{.fn = MR_WINDOW_EWMA, .count = 500, .parameter = 0.01},
	{.fn = MR_WINDOW_SLOPE, .count = 64},
	{.fn = MR_WINDOW_MAX, .count = 1000},
};

struct past {
	double values[DRIFT_KEPT];
	int64_t times[DRIFT_KEPT];
};

/* Against another block that has only ever seen the last samples. */
static void compare_with_fresh(const struct mr_window_plan *plan, const void *block,
			       const struct past *past, uint64_t pushes)
{
	void *fresh = block_of(plan, DRIFT_KEPT, 0);
	double expected[mr_array_count(drifting)];
	double found[mr_array_count(drifting)];
	double absolute = 0;

	for (uint64_t i = pushes - DRIFT_KEPT; i < pushes; i++) {
		cr_assert_eq(mr_window_block_push(plan, fresh, past->times[i % DRIFT_KEPT],
						  past->values[i % DRIFT_KEPT]),
			     0);
		if (i + 16 >= pushes) /* of the shortest: so the bound holds for all */
			absolute += fabs(past->values[i % DRIFT_KEPT]);
	}
	mr_window_block_results(plan, block, found);
	mr_window_block_results(plan, fresh, expected);
	for (uint32_t i = 0; i < mr_array_count(drifting); i++)
		cr_assert(fabs(found[i] - expected[i]) <= 1e-9 * absolute, "%s: %.17g, not %.17g",
			  mr_window_functions[drifting[i].fn].name, found[i], expected[i]);
	free(fresh);
}

/* Sums that lose a little at each push would be wrong by now; every so often a value comes that is
 * 1e15 times the others, after which a plain sum is wrong at once. */
Test(window_block, results_do_not_drift, .timeout = 3600)
{
	const char *asked = getenv("MR_WINDOW_PUSHES");
	uint64_t pushes = asked ? strtoull(asked, NULL, 10) : 2000000;
	struct mr_window_plan *plan = plan_of(drifting, mr_array_count(drifting));
	void *block = block_of(plan, DRIFT_KEPT, 0);
	static struct past past;
	uint64_t seed = 11;
	double level = 0;

	for (uint64_t i = 0; i < pushes; i++) {
		double value;

		level += (double)(random_bits(&seed) % 2001) * 1e-3 - 1;
		value = 10 + level * 0.01 + (double)(random_bits(&seed) % 1000) * 1e-5;
		if (i % 40000 == 7)
			value = 1e16 + 1e15 * (double)(random_bits(&seed) % 9);
		past.values[i % DRIFT_KEPT] = value;
		past.times[i % DRIFT_KEPT] = (int64_t)i;
		cr_assert_eq(mr_window_block_push(plan, block, (int64_t)i, value), 0);
		if (i % (pushes / 8) == pushes / 8 - 1)
			compare_with_fresh(plan, block, &past, i + 1);
	}
	free(block);
	mr_window_plan_free(plan);
}

/* ---- room ---------------------------------------------------------------------------------------
 */

/* Above 65,536 samples a queue's slots are wider. Values fall, so that all stay in it. */
Test(window_block, large_ones_work)
{
	static const struct mr_window_spec specs[] = {
		{.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_BY_TIME, .span_ms = 100000},
		{.fn = MR_WINDOW_MIN, .count = 50000},
		{.fn = MR_WINDOW_MEDIAN, .extent = MR_WINDOW_TUMBLING, .span_ms = 3000},
	};
	struct mr_window_plan *plan = plan_of(specs, mr_array_count(specs));
	void *block = block_of(plan, 100000, 0);
	double results[mr_array_count(specs)];

	for (int64_t i = 0; i < 250000; i++) {
		cr_assert_eq(mr_window_block_push(plan, block, i, (double)-i), 0);
		mr_window_block_results(plan, block, results);
		cr_assert_eq(results[0], i < 100000 ? 0 : 99999 - (double)i);
		cr_assert_eq(results[1], (double)-i);
		if (i >= 3000)
			cr_assert_eq(results[2], -((double)(i / 3000 * 3000) - 1500.5));
	}
	cr_assert(mr_window_block_check(plan, block, mr_window_block_bytes(plan, 100000)));
	free(block);
	mr_window_plan_free(plan);
}

Test(window_block, a_full_one_says_so_until_it_sheds)
{
	static const struct mr_window_spec specs[] = {
		{.fn = MR_WINDOW_SUM, .extent = MR_WINDOW_BY_TIME, .span_ms = 1000},
		{.fn = MR_WINDOW_COUNT, .extent = MR_WINDOW_BY_TIME, .span_ms = 1000},
	};
	struct mr_window_plan *plan = plan_of(specs, 2);
	uint32_t capacity = mr_window_plan_capacity(plan);
	void *block = block_of(plan, capacity, 0);
	double results[2];

	for (uint32_t i = 0; i < capacity; i++)
		cr_assert_eq(mr_window_block_push(plan, block, i, 1), 0);
	for (uint32_t i = 0; i < 100; i++) {
		cr_assert_eq(mr_window_block_push(plan, block, 500, 1), -ENOSPC);
		cr_assert_eq(mr_window_block_push(plan, block, 2, 1), -ENOSPC, "late");
		mr_window_block_shed(plan, block);
		cr_assert_eq(mr_window_block_push(plan, block, 500, 1), 0);
		mr_window_block_results(plan, block, results);
		cr_assert_eq(results[0], capacity);
		cr_assert_eq(results[1], capacity);
	}
	cr_assert_eq(mr_window_block_push(plan, block, 1500, 1), 0, "all others are out of it");
	cr_assert_eq(mr_window_block_samples(block), 1);
	mr_window_block_shed(plan, block);
	mr_window_block_shed(plan, block);
	mr_window_block_results(plan, block, results);
	cr_assert(isnan(results[0]));
	cr_assert_eq(results[1], 0);
	free(block);
	mr_window_plan_free(plan);
}

/* ---- with too little ----------------------------------------------------------------------------
 */

/* What each function gives without a sample, and with one. */
Test(window_block, few_samples_give_what_the_documents_say)
{
	static const double none = NAN;
	double result;

	for (uint32_t fn = 0; fn < MR_WINDOW_FUNCTIONS; fn++) {
		bool one_will_do = false;
		struct mr_window_spec spec = {.fn = fn,
					      .count = 8,
					      .parameter = 0.5,
					      .weights = weights,
					      .weight_count = 4};
		struct mr_window_plan *plan;
		void *block;

		if (fn == MR_WINDOW_INTERPOLATE || fn == MR_WINDOW_EXTRAPOLATE)
			spec.parameter = none;
		plan = plan_of(&spec, 1);
		block = block_of(plan, mr_window_plan_capacity(plan), 0);
		mr_window_block_results(plan, block, &result);
		cr_assert(fn == MR_WINDOW_COUNT ? result == 0 : isnan(result), "%s",
			  mr_window_functions[fn].name);
		cr_assert_eq(mr_window_block_push(plan, block, 1000, -7.5), 0);
		mr_window_block_results(plan, block, &result);
		switch (fn) {
		case MR_WINDOW_INTERPOLATE:
		case MR_WINDOW_EXTRAPOLATE:
		case MR_WINDOW_STDDEV:
		case MR_WINDOW_DELTA:
		case MR_WINDOW_RATE:
		case MR_WINDOW_SLOPE:
		case MR_WINDOW_ZSCORE:
			break;
		default:
			one_will_do = true;
		}
		if (!one_will_do)
			cr_assert(isnan(result), "%s", mr_window_functions[fn].name);
		else
			cr_assert_eq(result,
				     fn == MR_WINDOW_COUNT ? 1
				     : fn == MR_WINDOW_MAD ? 0
							   : -7.5,
				     "%s", mr_window_functions[fn].name);
		free(block);
		mr_window_plan_free(plan);
	}
}

/* Else equal windows could say different things, by which zero came first. */
Test(window_block, zero_has_one_sign)
{
	static const struct mr_window_spec specs[] = {{.fn = MR_WINDOW_LAST, .count = 2},
						      {.fn = MR_WINDOW_MAX, .count = 2}};
	struct mr_window_plan *plan = plan_of(specs, 2);
	void *block = block_of(plan, mr_window_plan_capacity(plan), 0);
	double results[2];

	cr_assert_eq(mr_window_block_push(plan, block, 1, -0.0), 0);
	mr_window_block_results(plan, block, results);
	cr_assert_eq(signbit(results[0]), 0);
	cr_assert_eq(signbit(results[1]), 0);
	free(block);
	mr_window_plan_free(plan);
}

/* ---- what is no plan ----------------------------------------------------------------------------
 */

Test(window_block, what_makes_no_sense_is_no_plan)
{
	static const double zero_sum[] = {1, -1};
	static const double infinite[] = {1, INFINITY};
	static const struct mr_window_spec wrong[] = {
		{.fn = MR_WINDOW_FUNCTIONS, .count = 4},
		{.fn = MR_WINDOW_MAX, .count = 0},
		{.fn = MR_WINDOW_MAX, .count = MR_WINDOW_COUNT_MAX + 1},
		{.fn = MR_WINDOW_STDDEV, .count = 1},
		{.fn = MR_WINDOW_MAX, .extent = 3, .count = 4},
		{.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_BY_TIME, .span_ms = 0},
		{.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_TUMBLING, .span_ms = -5},
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE, .extent = MR_WINDOW_BY_TIME, .span_ms = 5},
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE,
		 .count = 1,
		 .weights = weights,
		 .weight_count = 2},
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE, .count = 4, .weights = weights},
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE,
		 .count = 4,
		 .weights = zero_sum,
		 .weight_count = 2},
		{.fn = MR_WINDOW_WEIGHTED_AVERAGE,
		 .count = 4,
		 .weights = infinite,
		 .weight_count = 2},
		{.fn = MR_WINDOW_QUANTILE, .count = 4, .parameter = 1.5},
		{.fn = MR_WINDOW_QUANTILE, .count = 4, .parameter = NAN},
		{.fn = MR_WINDOW_EWMA, .count = 4, .parameter = 0},
		{.fn = MR_WINDOW_INTERPOLATE, .count = 4, .parameter = INFINITY},
	};
	struct mr_window_spec many[MR_WINDOWS_MAX + 1] = {{.fn = MR_WINDOW_MAX, .count = 1}};
	struct mr_window_plan *plan = NULL;
	struct mr_error err;

	for (uint32_t i = 0; i < mr_array_count(wrong); i++) {
		struct mr_window_spec specs[2] = {{.fn = MR_WINDOW_MAX, .count = 1}, wrong[i]};

		err = (struct mr_error){0};
		cr_assert_eq(mr_window_plan_new(specs, 2, &plan, &err), -EINVAL, "%u", i);
		cr_assert_not_null(strstr(err.what, "window 1"), "%s", err.what);
	}
	cr_assert_eq(mr_window_plan_new(many, MR_WINDOWS_MAX + 1, &plan, &err), -EINVAL);
	cr_assert_null(plan);
	mr_window_plan_free(NULL);
}

Test(window_block, functions_are_found_by_their_names)
{
	enum mr_window_fn fn;

	for (uint32_t i = 0; i < MR_WINDOW_FUNCTIONS; i++) {
		const char *name = mr_window_functions[i].name;

		cr_assert_eq(mr_window_function_find(name, strlen(name), &fn), 0);
		cr_assert_eq(fn, i);
		cr_assert_eq(mr_window_function_find(name, strlen(name) - 1, &fn), -ENOENT);
	}
	cr_assert_eq(mr_window_function_find("", 0, &fn), -ENOENT);
}

/* ---- made anew ----------------------------------------------------------------------------------
 */

static double result_of(const struct mr_window_plan *plan, const void *block)
{
	double results[MR_WINDOWS_MAX];

	mr_window_block_results(plan, block, results);
	return results[0];
}

/* Of a stream's values 'from' ... 'to' - 1 alone. */
static double ewma_of(const struct mr_window_plan *plan, const double *values, uint32_t from,
		      uint32_t to)
{
	void *block = block_of(plan, 64, 0);
	double result;

	for (uint32_t i = from; i < to; i++)
		cr_assert_eq(mr_window_block_push(plan, block, i, values[i]), 0);
	result = result_of(plan, block);
	free(block);
	return result;
}

/* Roundings gather until then; what is made anew is what its samples alone give, to the last bit.
 */
Test(window_block, parts_are_made_anew_after_so_many_pushes)
{
	static const struct mr_window_spec spec = {
		.fn = MR_WINDOW_EWMA, .count = 50, .parameter = 0.05};
	struct mr_window_plan *plan = plan_of(&spec, 1);
	void *block = block_of(plan, 64, 0);
	double *values = calloc(MR_WINDOW_ANEW_PUSHES, sizeof(*values));
	uint32_t rounded = 0;
	uint64_t seed = 11;

	for (uint32_t i = 0; i < MR_WINDOW_ANEW_PUSHES; i++) {
		values[i] = (double)random_bits(&seed) * 1e-6;
		cr_assert_eq(mr_window_block_push(plan, block, i, values[i]), 0);
		if (i > MR_WINDOW_ANEW_PUSHES - 50 && i < MR_WINDOW_ANEW_PUSHES - 1)
			rounded += result_of(plan, block) != ewma_of(plan, values, i - 49, i + 1);
	}
	cr_assert_gt(rounded, 0, "this stream says nothing: it has no roundings");
	cr_assert_eq(result_of(plan, block),
		     ewma_of(plan, values, MR_WINDOW_ANEW_PUSHES - 50, MR_WINDOW_ANEW_PUSHES));
	free(values);
	free(block);
	mr_window_plan_free(plan);
}

/* All but the newest left: nothing of their weights stays behind. */
Test(window_block, an_ewma_of_one_sample_behind_a_gap_is_that_sample)
{
	static const struct mr_window_spec spec = {.fn = MR_WINDOW_EWMA,
						   .extent = MR_WINDOW_BY_TIME,
						   .span_ms = 10000,
						   .parameter = 0.003};
	struct mr_window_plan *plan = plan_of(&spec, 1);
	uint64_t seed = 5;

	for (uint32_t round = 0; round < 20; round++) {
		void *block = block_of(plan, 1024, 0);
		double value = 1000.1 + round; /* far greater than what leaves: no sum shrinks */

		for (uint32_t i = 0; i < 900; i++)
			cr_assert_eq(mr_window_block_push(plan, block, i * 10,
							  (double)random_bits(&seed) * 0x1p-64),
				     0);
		cr_assert_eq(mr_window_block_push(plan, block, 10000000, value), 0);
		cr_assert_eq(result_of(plan, block), value, "%.17g, not %.17g",
			     result_of(plan, block), value);
		free(block);
	}
	mr_window_plan_free(plan);
}

/* The sum of raw bits of 1 and 4 is that of 2 and 2: a forged block passed. */
Test(window_block, sorted_values_are_those_of_the_samples_for_certain)
{
	static const double values[] = {1, 4};
	static const int64_t times[] = {0, 1};
	static const struct mr_window_ring ring = {values, times, 2, 0};
	static const double good[] = {1, 4}, forged[] = {2, 2}, descending[] = {4, 1};

	cr_expect(mr_window_order_valid(good, &ring, 2));
	cr_expect_not(mr_window_order_valid(forged, &ring, 2));
	cr_expect_not(mr_window_order_valid(descending, &ring, 2));
	cr_expect(mr_window_order_valid(good + 1, &ring, 1)); /* the newest */
	cr_expect_not(mr_window_order_valid(good, &ring, 1));
}
