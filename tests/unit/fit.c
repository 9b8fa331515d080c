/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: where past values follow a rule that weights can say, those weights are found;
 * the errors are those of the part that was held back; and nothing is called a win that is none.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "fit.h"

#define MANY 20000

static double values[MANY];
static struct mr_fit fit;
static struct mr_error err;
static uint64_t state = 42;

/* Uniform in -0.5 .. 0.5. */
static double noise(void)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (double)(state >> 11) / 9007199254740992.0 - 0.5;
}

Test(fit, finds_the_weights_of_a_wave_around_a_level)
{
	const double c = cos(0.3);

	/* 1 and e^(+-0.3i) are the roots of x^3 = (1 + 2c) x^2 - (1 + 2c) x + 1 */
	for (int i = 0; i < 1000; i++)
		values[i] = 1e6 + 40 * sin(0.3 * i + 1);
	cr_assert_eq(mr_fit(values, 1000, 3, &fit, &err), 0, "%s", err.what);
	cr_assert_float_eq(fit.weights[0], 1 + 2 * c, 1e-6);
	cr_assert_float_eq(fit.weights[1], -1 - 2 * c, 1e-6);
	cr_assert_float_eq(fit.weights[2], 1, 1e-6);
	cr_assert_eq(fit.ridge, 0);
	cr_assert_eq(fit.best, MR_FIT_FITTED);
	cr_assert_lt(fit.errors[MR_FIT_FITTED].rms, 1e-4);
	cr_assert_gt(fit.errors[MR_FIT_LAST].rms, 5);
	cr_assert_eq(fit.trained, 747);
	cr_assert_eq(fit.tested, 250);
}

Test(fit, finds_what_noise_hides)
{
	static const double true_weights[] = {0.5, 0.3, 0.2};

	for (int i = 0; i < 3; i++)
		values[i] = 10;
	for (int i = 3; i < MANY; i++)
		values[i] = true_weights[0] * values[i - 1] + true_weights[1] * values[i - 2] +
			    true_weights[2] * values[i - 3] + noise();
	cr_assert_eq(mr_fit(values, MANY, 3, &fit, &err), 0);
	for (int k = 0; k < 3; k++)
		cr_assert_float_eq(fit.weights[k], true_weights[k], 0.03, "%d: %f", k,
				   fit.weights[k]);
	/* what is left is the noise: uniform, so 1 / sqrt(12) */
	cr_assert_float_eq(fit.errors[MR_FIT_FITTED].rms, 0.2887, 0.01);
	cr_assert_float_eq(fit.errors[MR_FIT_FITTED].absolute, 0.25, 0.01);
	cr_assert_eq(fit.best, MR_FIT_FITTED);
}

Test(fit, weights_add_up_to_one)
{
	for (int i = 0; i < 4000; i++)
		values[i] = 1000 * noise();
	cr_assert_eq(mr_fit(values, 4000, 64, &fit, &err), 0);
	double sum = 0;

	for (uint32_t k = 0; k < fit.count; k++)
		sum += fit.weights[k];
	cr_assert_float_eq(sum, 1, 1e-12);
}

Test(fit, says_when_it_does_not_win)
{
	/* what was learnt is wrong afterwards: waves, then a walk */
	for (int i = 0; i < 3000; i++)
		values[i] = 40 * sin(0.3 * i);
	for (int i = 3000; i < 4000; i++)
		values[i] = values[i - 1] + noise();
	cr_assert_eq(mr_fit(values, 4000, 3, &fit, &err), 0);
	cr_assert_neq(fit.best, MR_FIT_FITTED);
	cr_assert_lt(fit.errors[fit.best].rms, fit.errors[MR_FIT_FITTED].rms);
}

Test(fit, a_line_is_forecast_by_the_line)
{
	for (int i = 0; i < 400; i++)
		values[i] = 3 * i + 7 + 1e-3 * noise();
	cr_assert_eq(mr_fit(values, 400, 4, &fit, &err), 0);
	cr_assert_lt(fit.errors[MR_FIT_LINEAR].rms, 2e-3);
	cr_assert_float_eq(fit.errors[MR_FIT_LAST].rms, 3, 1e-3);
	cr_assert_float_eq(fit.errors[MR_FIT_MEAN].rms, 7.5, 1e-2);
}

Test(fit, dependent_values_get_a_ridge_and_small_weights)
{
	/* a period of 4: differences repeat, columns depend on each other */
	for (int i = 0; i < 4000; i++)
		values[i] = (double)((i % 4) * (i % 4));
	cr_assert_eq(mr_fit(values, 4000, 32, &fit, &err), 0, "%s", err.what);
	cr_assert_gt(fit.ridge, 0);
	cr_assert_gt(fit.condition, 1e8);
	for (uint32_t k = 0; k < fit.count; k++)
		cr_assert_lt(fabs(fit.weights[k]), 2, "%u: %f", k, fit.weights[k]);
	cr_assert_lt(fit.errors[MR_FIT_FITTED].rms, 1e-3);
}

Test(fit, refuses_what_cannot_be_fitted)
{
	for (int i = 0; i < 1000; i++)
		values[i] = 5;
	cr_assert_eq(mr_fit(values, 1000, 4, &fit, &err), -ENODATA);
	cr_assert(strstr(err.what, "never change"), "%s", err.what);
	cr_assert_eq(mr_fit(values, 31, 4, &fit, &err), -ENODATA);
	cr_assert(strstr(err.what, "31 values are too few to fit 4 weights: at least 32"), "%s",
		  err.what);
	cr_assert_eq(mr_fit(values, 1000, 1, &fit, &err), -EINVAL);
	cr_assert_eq(mr_fit(values, 1000, 513, &fit, &err), -EINVAL);
}
