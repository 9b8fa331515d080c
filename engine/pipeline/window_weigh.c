/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that weigh each sample by its age. Pure.
 *
 *	weighted_average = sum(w[k] v[k]) / sum(w[k])	unit of the value; k = 0 is the newest
 *
 * It needs one sample for each weight. With fewer it is taken over those there are if no weight is
 * negative (so it is an average from the first sample on); else it is NaN until all are there, as
 * weights that were fitted mean nothing in part. NaN too where the weights sum to zero. Values and
 * weights are finite; what leaves the range of doubles on the way is an infinity or NaN.
 *
 * Products are summed in four chains, by age modulo 4, whatever slots the samples lie in: the
 *result depends on the samples and their order alone.
 */
#include <math.h>

#include "window_parts.h"

static double dot(const struct mr_window_ring *ring, uint32_t count, const double *weights)
{
	double chains[4] = {0};
	uint32_t age = 0;

	for (; age + 4 <= count; age += 4)
		for (uint32_t i = 0; i < 4; i++)
			chains[i] += weights[age + i] * mr_window_value(ring, age + i);
	for (uint32_t i = 0; age + i < count; i++)
		chains[i] += weights[age + i] * mr_window_value(ring, age + i);
	return (chains[0] + chains[1]) + (chains[2] + chains[3]);
}

/* Of the first 'count' weights, 0 if one of the first 'all' is negative. */
static double part_of_weights(const double *weights, uint32_t count, uint32_t all)
{
	double sum = 0;

	for (uint32_t k = 0; k < all; k++) {
		if (weights[k] < 0)
			return 0;
		if (k < count)
			sum += weights[k];
	}
	return sum;
}

double mr_window_weigh(const struct mr_window_ring *ring, uint32_t count,
		       const struct mr_window_weights *weights)
{
	double sum = weights->sum;

	if (!weights->list || count == 0)
		return NAN;
	if (count < weights->count)
		sum = part_of_weights(weights->list, count, weights->count);
	else
		count = weights->count;
	return sum == 0 ? NAN : dot(ring, count, weights->list) / sum;
}
