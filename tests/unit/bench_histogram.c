/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a percentile is no further than 1/2048 above the value that sorting would give,
 * and never below it; the maximum is exact; nothing that was added is lost.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "histogram.h"

#define HOUR_NS UINT64_C(3600000000000)
#define VALUES	20000u

static struct mr_histogram *histogram;

static void make(void)
{
	histogram = mr_histogram_new();
	cr_assert_not_null(histogram);
}

static void drop(void)
{
	mr_histogram_free(histogram);
}

TestSuite(bench_histogram, .init = make, .fini = drop);

/* A generator of the test's own: the same numbers each time. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void check_close(uint64_t found, uint64_t exact)
{
	cr_assert_geq(found, exact);
	cr_assert_leq(found - exact, exact / 2048, "%lu for %lu", (unsigned long)found,
		      (unsigned long)exact);
}

Test(bench_histogram, empty_is_zero)
{
	double xs[64], ys[64];

	cr_assert_eq(mr_histogram_count(histogram), 0);
	cr_assert_eq(mr_histogram_max(histogram), 0);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.5), 0);
	cr_assert_eq(mr_histogram_curve(histogram, xs, ys, 64), 0);
}

Test(bench_histogram, one_value_is_every_percentile)
{
	for (uint64_t value = 0; value < HOUR_NS; value = value * 3 / 2 + 1) {
		mr_histogram_reset(histogram);
		mr_histogram_add(histogram, value, 1);
		cr_assert_eq(mr_histogram_percentile(histogram, 0.0), value);
		cr_assert_eq(mr_histogram_percentile(histogram, 0.5), value);
		cr_assert_eq(mr_histogram_percentile(histogram, 1.0), value);
	}
}

/* Each bucket's ends, one after the other: the buckets leave no gap and do not overlap. */
Test(bench_histogram, values_around_each_doubling_keep_their_order)
{
	for (uint32_t bits = 1; bits < 41; bits++) {
		uint64_t at = UINT64_C(1) << bits;
		uint64_t values[] = {at - 1, at, at + 1};

		mr_histogram_reset(histogram);
		for (int i = 0; i < 3; i++)
			mr_histogram_add(histogram, values[i], 1);
		mr_histogram_add(histogram, HOUR_NS, 1); /* so that no end is cut to the maximum */
		for (int i = 0; i < 3; i++)
			check_close(mr_histogram_percentile(histogram, (i + 1) / 4.0), values[i]);
	}
}

Test(bench_histogram, percentiles_are_those_of_the_sorted_values)
{
	static const double shares[] = {0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0};
	uint64_t *values = calloc(VALUES, sizeof(*values));
	uint64_t state = 88172645463325252u;

	for (uint32_t i = 0; i < VALUES; i++) {
		values[i] = next(&state) >> (24 + next(&state) % 30);
		mr_histogram_add(histogram, values[i], 1);
	}
	qsort(values, VALUES, sizeof(*values), compare);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		uint32_t covered = (uint32_t)(shares[i] * VALUES + 0.5);

		check_close(mr_histogram_percentile(histogram, shares[i]), values[covered - 1]);
	}
	cr_assert_eq(mr_histogram_max(histogram), values[VALUES - 1]);
	cr_assert_eq(mr_histogram_count(histogram), VALUES);
	free(values);
}

/* 0.07 x 100 is a bit more than 7 in binary: it must not reach for the 8th. */
Test(bench_histogram, a_percentile_does_not_round_up_to_the_next)
{
	mr_histogram_add(histogram, 100, 7);
	mr_histogram_add(histogram, 5000000, 93);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.07), 100);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.0701), 5000000);
	mr_histogram_reset(histogram);
	mr_histogram_add(histogram, 100, 9999);
	mr_histogram_add(histogram, 5000000, 1);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.9999), 100);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.99991), 5000000);
	cr_assert_eq(mr_histogram_percentile(histogram, 1.0), 5000000);
}

Test(bench_histogram, counts_and_merges_add_up)
{
	struct mr_histogram *other = mr_histogram_new();

	mr_histogram_add(histogram, 10, 7);
	mr_histogram_add(histogram, 99, 0);
	mr_histogram_add(other, 1000, 3);
	mr_histogram_merge(histogram, other);
	cr_assert_eq(mr_histogram_count(histogram), 10);
	cr_assert_eq(mr_histogram_max(histogram), 1000);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.7), 10);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.71), 1000);
	cr_assert_eq(mr_histogram_count(other), 3);
	mr_histogram_free(other);
}

/* Longer than an hour is kept as the longest there is, and the maximum tells. */
Test(bench_histogram, what_is_too_large_is_not_lost)
{
	mr_histogram_add(histogram, UINT64_MAX, 1);
	mr_histogram_add(histogram, 1, 1);
	cr_assert_eq(mr_histogram_count(histogram), 2);
	cr_assert_eq(mr_histogram_percentile(histogram, 1.0), UINT64_MAX);
	cr_assert_eq(mr_histogram_percentile(histogram, 0.5), 1);
}

Test(bench_histogram, the_curve_rises_to_the_9999th_of_10000)
{
	double xs[80], ys[80];
	uint32_t count;

	for (uint64_t i = 1; i <= 10000; i++)
		mr_histogram_add(histogram, i * 1000, 1);
	count = mr_histogram_curve(histogram, xs, ys, 80);
	cr_assert_geq(count, 32);
	cr_assert_leq(count, 80);
	cr_assert_float_eq(xs[0], 1.0, 1e-9);
	cr_assert_float_eq(xs[count - 1], 10000.0, 1e-3);
	for (uint32_t i = 1; i < count; i++) {
		cr_assert_gt(xs[i], xs[i - 1]);
		cr_assert_geq(ys[i], ys[i - 1]);
	}
	cr_assert_float_eq(ys[count - 1], 9999.0, 9999.0 / 2000);
}
