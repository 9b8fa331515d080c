/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth over a long run, from few and noisy samples: medians of thirds say whether, the line
 * through all of them says how fast. Runs on any thread, owns nothing.
 */
#include "trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	const double *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

double mr_trend_median(const double *values, uint32_t count)
{
	double *sorted = count ? malloc(count * sizeof(*sorted)) : NULL;
	double median;

	if (!sorted)
		return 0;
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
	free(sorted);
	return median;
}

void mr_trend_thirds(const double *values, uint32_t count, double *first, double *last)
{
	uint32_t third = count < 3 ? 1 : count / 3;

	*first = *last = 0;
	if (!count)
		return;
	*first = mr_trend_median(values, third);
	*last = mr_trend_median(values + count - third, third);
}

double mr_trend_growth(const double *values, uint32_t count)
{
	double first, last;

	mr_trend_thirds(values, count, &first, &last);
	if (first > 0)
		return last / first;
	return last > 0 ? INFINITY : 1;
}

double mr_trend_slope(const double *xs, const double *ys, uint32_t count)
{
	double mean_x = 0, mean_y = 0, above = 0, below = 0;

	for (uint32_t i = 0; i < count; i++) {
		mean_x += xs[i] / count;
		mean_y += ys[i] / count;
	}
	for (uint32_t i = 0; i < count; i++) {
		above += (xs[i] - mean_x) * (ys[i] - mean_y);
		below += (xs[i] - mean_x) * (xs[i] - mean_x);
	}
	return below > 0 ? above / below : 0;
}

double mr_trend_share(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}
