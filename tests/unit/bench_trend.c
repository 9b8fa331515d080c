/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: growth is seen, noise and single strays are not taken for it. */
#include <criterion/criterion.h>
#include <math.h>

#include "trend.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void near(double found, double expected, const char *what)
{
	cr_assert(fabs(found - expected) <= 1e-9 * (1 + fabs(expected)), "%s: %g, expected %g",
		  what, found, expected);
}

Test(bench_trend, median_needs_no_order_and_leaves_the_array_alone)
{
	double values[] = {5, 1, 4, 2, 3};

	near(mr_trend_median(values, 5), 3, "odd");
	near(mr_trend_median(values, 4), 3, "even: the mean of 2 and 4");
	near(mr_trend_median(values, 1), 5, "one");
	near(mr_trend_median(values, 0), 0, "none");
	near(values[0], 5, "untouched");
	near(values[4], 3, "untouched");
}

Test(bench_trend, thirds_do_not_overlap)
{
	double values[] = {1, 2, 3, 100, 100, 100, 7, 8, 9};
	double first, last;

	mr_trend_thirds(values, COUNT(values), &first, &last);
	near(first, 2, "first third");
	near(last, 8, "last third");
	mr_trend_thirds(values, 2, &first, &last);
	near(first, 1, "of two");
	near(last, 2, "of two");
	mr_trend_thirds(values, 1, &first, &last);
	near(first, last, "of one");
	mr_trend_thirds(values, 0, &first, &last);
	near(first, 0, "of none");
	near(last, 0, "of none");
}

Test(bench_trend, one_stray_in_a_third_is_no_growth)
{
	double values[90];

	for (uint32_t i = 0; i < 90; i++)
		values[i] = 10;
	values[89] = 1e9;
	values[3] = 0;
	near(mr_trend_growth(values, 90), 1, "growth");
}

Test(bench_trend, a_leak_is_growth)
{
	double xs[90], values[90];

	for (uint32_t i = 0; i < 90; i++) {
		xs[i] = 10.0 * i;
		values[i] = 1000 + 0.5 * xs[i] + (i % 2 ? 3 : -3);
	}
	cr_assert_gt(mr_trend_growth(values, 90), 1.2);
	cr_assert(fabs(mr_trend_slope(xs, values, 90) - 0.5) < 0.01);
}

Test(bench_trend, what_was_nothing_and_is_something_grew_beyond_measure)
{
	double nothing[] = {0, 0, 0}, some[] = {0, 0, 4};

	near(mr_trend_growth(nothing, 3), 1, "nothing");
	cr_assert(isinf(mr_trend_growth(some, 3)));
}

Test(bench_trend, slope_of_a_line_is_the_lines)
{
	double xs[] = {0, 1, 5, 7}, ys[] = {3, 1, -7, -11}, same[] = {2, 2, 2, 2};

	near(mr_trend_slope(xs, ys, 4), -2, "a line");
	near(mr_trend_slope(xs, same, 4), 0, "level");
	near(mr_trend_slope(same, ys, 4), 0, "one single x");
	near(mr_trend_slope(xs, ys, 1), 0, "one point");
	near(mr_trend_slope(xs, ys, 0), 0, "none");
}

Test(bench_trend, share_of_nothing_is_nothing)
{
	near(mr_trend_share(1, 4), 0.25, "a quarter");
	near(mr_trend_share(1, 0), 0, "of nothing");
}
