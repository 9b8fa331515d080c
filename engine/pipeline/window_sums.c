/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sum and mean of a reach, in time that does not grow with it. Pure.
 *
 *	sum  = v[0] + ... + v[n - 1]	unit of the value
 *	mean = sum / n			unit of the value
 *
 * Values are finite. A sum beyond the range of doubles is an infinity, and comes back when the
 * values do; a mean is always finite. Of no samples: NaN.
 *
 * What leaves is subtracted, and the roundings of all additions are summed as well (A. Neumaier,
 * Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, 1974). The error then is
 * about 2^-106 of the greatest sum of absolute values that was in the window since the sum was made
 * anew. So when values that are 2^30 times what remains have left it is made anew: that costs as
 * many additions as samples came after those values, so that it stays O(1) for each sample; a chain
 * of ever smaller values can have 70 such steps in all of a double's range. The block makes it
 * anew at fixed intervals, too.
 */
#include <math.h>

#include "window_parts.h"

#define LOSS_ALLOWED 0x1p-30
#define SCALE_HUGE   0x1p-128

bool mr_window_sum_step(struct mr_window_sum *sum, const struct mr_window_ring *ring,
			const struct mr_window_step *step)
{
	double scaled = step->joins ? step->value * sum->scale : 0;

	for (uint32_t i = 1; i <= step->leave; i++) {
		double leaving = mr_window_value(ring, step->before - i) * sum->scale;

		mr_window_pair_add(&sum->sum, -leaving);
		sum->absolute -= fabs(leaving);
	}
	mr_window_pair_add(&sum->sum, scaled);
	sum->absolute += fabs(scaled);
	if (sum->absolute > sum->peak)
		sum->peak = sum->absolute;
	/* Also if either is no number any more. */
	return !(sum->absolute >= sum->peak * LOSS_ALLOWED && sum->absolute < INFINITY);
}

static void add_all(struct mr_window_sum *sum, const struct mr_window_ring *ring, uint32_t count,
		    double scale)
{
	*sum = (struct mr_window_sum){.scale = scale};
	for (uint32_t age = count; age > 0; age--) {
		double scaled = mr_window_value(ring, age - 1) * scale;

		mr_window_pair_add(&sum->sum, scaled);
		sum->absolute += fabs(scaled);
	}
	sum->peak = sum->absolute;
}

void mr_window_sum_anew(struct mr_window_sum *sum, const struct mr_window_ring *ring,
			uint32_t count)
{
	add_all(sum, ring, count, 1);
	if (!(sum->absolute < INFINITY))
		add_all(sum, ring, count, SCALE_HUGE);
}

double mr_window_sum_total(const struct mr_window_sum *sum)
{
	return mr_window_pair_total(&sum->sum) / sum->scale;
}

double mr_window_sum_mean(const struct mr_window_sum *sum, uint32_t count)
{
	return mr_window_pair_total(&sum->sum) / count / sum->scale;
}
