/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the first check that fails names the verdict; the state of a key is the same
 * bytes after the same values; a long random stream is judged as a naive reference judges it.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clean.h"

#define NEVER INT64_MAX

static const struct mr_clean_spec all = {
	.low = -40,
	.high = 200,
	.max_late_ms = 5000,
	.drop_duplicate = true,
	.drop_unchanged = true,
	.spike_mads = 6,
	.spike_floor = 0.5,
};
static const struct mr_clean_spec none = {
	.low = (double)NAN, .high = (double)NAN, .max_late_ms = NEVER};

/* A key's state with bytes behind it that must stay as they are. */
struct state {
	const struct mr_clean_spec *spec;
	_Alignas(8) char block[1024];
};

static void init(struct state *state, const struct mr_clean_spec *spec)
{
	size_t bytes = mr_clean_block_bytes(spec);

	state->spec = spec;
	memset(state->block, 0xa5, sizeof(state->block));
	mr_assert(bytes % 8 == 0 && bytes < sizeof(state->block));
	mr_clean_block_init(spec, state->block);
}

static enum mr_clean_verdict check(struct state *state, int64_t time_ms, double value)
{
	size_t bytes = mr_clean_block_bytes(state->spec);
	enum mr_clean_verdict verdict = mr_clean_check(state->spec, state->block, time_ms, value);

	cr_assert(mr_clean_block_valid(state->spec, state->block));
	if (!mr_clean_asks(state->spec))
		cr_assert_eq(verdict, mr_clean_missing(value));
	for (size_t i = bytes; i < sizeof(state->block); i++)
		cr_assert_eq((unsigned char)state->block[i], 0xa5);
	return verdict;
}

Test(clean, nothing_asked_nothing_dropped)
{
	struct state state;

	init(&state, &none);
	cr_assert_eq(mr_clean_block_bytes(&none), 24);
	cr_assert_eq(check(&state, 10, 1e300), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 10, 1e300), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, INT64_MIN, -1e300), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, INT64_MAX, 0), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, INT64_MIN, 0), MR_CLEAN_KEEP);
}

Test(clean, each_thing_asked_is_asking)
{
	struct mr_clean_spec specs[] = {none, none, none, none, none, none};

	specs[0].low = -1e300;
	specs[1].high = 1e300;
	specs[2].max_late_ms = NEVER - 1;
	specs[3].drop_duplicate = true;
	specs[4].drop_unchanged = true;
	specs[5].spike_mads = 1e-300;
	cr_assert_not(mr_clean_asks(&none));
	for (uint32_t i = 0; i < mr_array_count(specs); i++)
		cr_assert(mr_clean_asks(&specs[i]), "%u", i);
}

Test(clean, missing_always)
{
	struct state state;

	init(&state, &none);
	cr_assert_eq(check(&state, 0, (double)NAN), MR_CLEAN_MISSING);
	cr_assert_eq(check(&state, 0, (double)INFINITY), MR_CLEAN_MISSING);
	cr_assert_eq(check(&state, 0, -(double)INFINITY), MR_CLEAN_MISSING);
}

Test(clean, range_takes_its_ends_in)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.low = -40;
	init(&state, &spec);
	cr_assert_eq(check(&state, 0, -40), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 0, -40.0001), MR_CLEAN_RANGE);
	cr_assert_eq(check(&state, 0, 1e300), MR_CLEAN_KEEP, "no bound above");
	spec.high = 200;
	cr_assert_eq(check(&state, 0, 200), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 0, 200.0001), MR_CLEAN_RANGE);
}

Test(clean, late_is_by_the_newest_that_was_in_range)
{
	struct state state;

	init(&state, &all);
	cr_assert_eq(check(&state, 10000, 1), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 99000, 1000), MR_CLEAN_RANGE);
	cr_assert_eq(check(&state, 99000, (double)NAN), MR_CLEAN_MISSING);
	cr_assert_eq(check(&state, 5000, 2), MR_CLEAN_KEEP, "the range's time did not count");
	cr_assert_eq(check(&state, 4999, 3), MR_CLEAN_LATE);
	cr_assert_eq(check(&state, 20000, 2), MR_CLEAN_UNCHANGED);
	cr_assert_eq(check(&state, 14999, 3), MR_CLEAN_LATE, "the time of the unchanged counts");
	cr_assert_eq(check(&state, 15000, 3), MR_CLEAN_KEEP);
}

Test(clean, distances_beyond_64_bits_are_late)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.max_late_ms = INT64_MAX - 1;
	init(&state, &spec);
	cr_assert_eq(check(&state, INT64_MAX, 1), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, INT64_MIN, 1), MR_CLEAN_LATE);
	cr_assert_eq(check(&state, 0, 1), MR_CLEAN_LATE);
	cr_assert_eq(check(&state, 1, 1), MR_CLEAN_KEEP);
	spec.max_late_ms = 0;
	cr_assert_eq(check(&state, INT64_MAX - 1, 1), MR_CLEAN_LATE);
	cr_assert_eq(check(&state, INT64_MAX, 1), MR_CLEAN_KEEP);
}

Test(clean, duplicates_have_time_and_value_of_one_of_eight)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.drop_duplicate = true;
	init(&state, &spec);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(check(&state, i, i), MR_CLEAN_KEEP);
	for (int i = 0; i < 8; i++) {
		cr_assert_eq(check(&state, i, i), MR_CLEAN_DUPLICATE);
		cr_assert_eq(check(&state, 0, 0), MR_CLEAN_DUPLICATE, "said often is said once");
	}
	cr_assert_eq(check(&state, 8, 0), MR_CLEAN_KEEP, "another time");
	cr_assert_eq(check(&state, 1, 1), MR_CLEAN_DUPLICATE);
	cr_assert_eq(check(&state, 0, 0), MR_CLEAN_KEEP, "nine values ago");
	cr_assert_eq(check(&state, 8, 1), MR_CLEAN_KEEP, "another value");
}

Test(clean, unchanged_is_by_the_last_kept)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.drop_unchanged = true;
	spec.high = 100;
	init(&state, &spec);
	cr_assert_eq(check(&state, 0, 0), MR_CLEAN_KEEP, "there was none");
	cr_assert_eq(check(&state, 1, 0), MR_CLEAN_UNCHANGED);
	cr_assert_eq(check(&state, 2, -0.0), MR_CLEAN_UNCHANGED);
	cr_assert_eq(check(&state, 3, 500), MR_CLEAN_RANGE);
	cr_assert_eq(check(&state, 4, 0), MR_CLEAN_UNCHANGED);
	cr_assert_eq(check(&state, 5, 1), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 6, 0), MR_CLEAN_KEEP);
}

/* Median 10, MAD 1: what lies more than 6 away is a spike. */
Test(clean, spikes_are_far_from_the_median)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.spike_mads = 6;
	init(&state, &spec);
	cr_assert_eq(check(&state, 0, 1e9), MR_CLEAN_KEEP, "seven are too few to know");
	init(&state, &spec);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(check(&state, i, i % 2 ? 9 : 11), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 8, 16), MR_CLEAN_KEEP, "six, not more");
	init(&state, &spec);
	for (int i = 0; i < 8; i++)
		(void)check(&state, i, i % 2 ? 9 : 11);
	cr_assert_eq(check(&state, 8, 16.001), MR_CLEAN_SPIKE);
	cr_assert_eq(check(&state, 9, -1), MR_CLEAN_KEEP, "now median 11, MAD 2");
	cr_assert_eq(check(&state, 9, -8), MR_CLEAN_SPIKE);
	cr_assert_eq(check(&state, 10, 10), MR_CLEAN_KEEP);
}

Test(clean, the_seventh_is_kept_and_the_ninth_judged)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.spike_mads = 6;
	init(&state, &spec);
	for (int i = 0; i < 7; i++)
		cr_assert_eq(check(&state, i, 10), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 7, 1e6), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 8, 10.001), MR_CLEAN_SPIKE, "MAD is 0, and there is no floor");
	spec.spike_floor = 1;
	cr_assert_eq(check(&state, 9, 16), MR_CLEAN_KEEP, "with a floor it is noise");
}

Test(clean, a_new_level_is_believed_when_it_makes_up_half)
{
	struct mr_clean_spec spec = none;
	struct state state;

	spec.spike_mads = 6;
	init(&state, &spec);
	for (int i = 0; i < 32; i++)
		cr_assert_eq(check(&state, i, 0), MR_CLEAN_KEEP);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(check(&state, 32 + i, 10), MR_CLEAN_SPIKE, "%d", i);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(check(&state, 48 + i, 10), MR_CLEAN_KEEP, "%d", i);
	cr_assert_eq(check(&state, 64, 0), MR_CLEAN_SPIKE);
}

Test(clean, the_first_check_that_fails_names_the_verdict)
{
	struct state state;

	init(&state, &all);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(check(&state, 10000 + i, i % 2), MR_CLEAN_KEEP);
	cr_assert_eq(check(&state, 0, 1000), MR_CLEAN_RANGE, "late, too");
	cr_assert_eq(check(&state, 0, 150), MR_CLEAN_LATE, "a spike, too");
	cr_assert_eq(check(&state, 10007, 1), MR_CLEAN_DUPLICATE, "unchanged, too");
	cr_assert_eq(check(&state, 10008, 150), MR_CLEAN_SPIKE);
	cr_assert_eq(check(&state, 10008, 150), MR_CLEAN_DUPLICATE, "a spike, too");
	cr_assert_eq(check(&state, 10009, 1), MR_CLEAN_UNCHANGED);
	for (int i = 0; i < MR_CLEAN_VERDICTS; i++)
		cr_assert_not_null(mr_clean_verdict_names[i]);
}

/* ---- against a reference that keeps everything ---------------------------------------------- */

#define STEPS 20000

struct past {
	double values[STEPS];
	uint32_t count;
};

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median_of(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return count % 2 ? values[count / 2] : values[count / 2 - 1] / 2 + values[count / 2] / 2;
}

static bool spikes(const struct mr_clean_spec *spec, const struct past *past, double value)
{
	uint32_t count = past->count < 32 ? past->count : 32;
	double values[32], centre, mad;

	if (count < 8)
		return false;
	memcpy(values, past->values + past->count - count, count * sizeof(double));
	centre = median_of(values, count);
	for (uint32_t i = 0; i < count; i++)
		values[i] = fabs(values[i] - centre);
	mad = median_of(values, count);
	return fabs(value - centre) >
	       spec->spike_mads * (mad > spec->spike_floor ? mad : spec->spike_floor);
}

static uint64_t seed = 88172645463325252;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Steps, noise, repeats, outliers, numbers of any size. */
static double next_value(double before)
{
	switch (next_random() % 16) {
	case 0:
		return before;
	case 1:
		return (double)(int64_t)next_random();
	case 2:
		return (double)(next_random() % 5);
	case 3:
		return next_random() % 2 ? 1.7e308 : -1.7e308;
	default:
		return (double)(next_random() % 1000) / 10 + (double)(next_random() % 3 == 0);
	}
}

static void run_reference(double floor, uint32_t mads)
{
	static struct past past;
	struct mr_clean_spec spec = none;
	struct state state;
	double last = (double)NAN, value = 0;
	uint32_t verdicts[MR_CLEAN_VERDICTS] = {0};

	spec.spike_mads = mads;
	spec.spike_floor = floor;
	spec.drop_unchanged = true;
	init(&state, &spec);
	past.count = 0;
	for (int i = 0; i < STEPS; i++) {
		enum mr_clean_verdict expected;

		value = next_value(value);
		expected = spikes(&spec, &past, value) ? MR_CLEAN_SPIKE
			   : value == last	       ? MR_CLEAN_UNCHANGED
						       : MR_CLEAN_KEEP;
		cr_assert_eq(check(&state, i, value), expected, "step %d, %a", i, value);
		if (expected != MR_CLEAN_UNCHANGED)
			past.values[past.count++] = value;
		if (expected == MR_CLEAN_KEEP)
			last = value;
		verdicts[expected]++;
	}
	cr_assert_gt(verdicts[MR_CLEAN_KEEP], STEPS / 20);
	cr_assert_gt(verdicts[MR_CLEAN_SPIKE], STEPS / 20);
	cr_assert_gt(verdicts[MR_CLEAN_UNCHANGED], 10);
}

Test(clean, a_naive_reference_says_the_same)
{
	run_reference(0, 6);
	run_reference(0, 1);
	run_reference(5, 3);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

Test(clean, equal_histories_are_equal_bytes)
{
	static struct state one, other;

	init(&one, &all);
	memset(&other, 0x5a, sizeof(other));
	other.spec = &all;
	mr_clean_block_init(&all, other.block);
	for (int i = 0; i < 1000; i++) {
		int64_t time_ms = 1000 * i - (int64_t)(next_random() % 8000);
		double value = next_value(50);

		cr_assert_eq(mr_clean_check(&all, one.block, time_ms, value),
			     mr_clean_check(&all, other.block, time_ms, value));
		cr_assert_eq(memcmp(one.block, other.block, mr_clean_block_bytes(&all)), 0);
	}
}

/* Any bytes are refused, or can be worked with: the sanitizers watch. */
Test(clean, a_block_out_of_a_file_is_checked)
{
	const struct mr_clean_spec *specs[] = {&all, &none};
	struct state state, spoilt;
	uint32_t refused = 0, taken = 0;

	for (size_t which = 0; which < mr_array_count(specs); which++) {
		size_t bytes = mr_clean_block_bytes(specs[which]);

		init(&state, specs[which]);
		for (int i = 0; i < 50; i++)
			(void)check(&state, i, next_value(1));
		for (size_t at = 0; at < bytes * 8; at++) {
			spoilt = state;
			spoilt.block[at / 8] ^= (char)(1u << at % 8);
			if (!mr_clean_block_valid(specs[which], spoilt.block)) {
				refused++;
				continue;
			}
			taken++;
			for (int i = 0; i < 40; i++)
				(void)mr_clean_check(specs[which], spoilt.block, 60 + i,
						     next_value(1));
		}
	}
	cr_assert_gt(refused, 300);
	cr_assert_gt(taken, 300);
}
