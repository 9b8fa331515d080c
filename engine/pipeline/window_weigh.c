/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that weigh each sample by its age. Pure.
 *
 *	weighted_average = sum(w[k] v[k]) / sum(w[k])	unit of the value; k = 0 is the newest
 *	ewma             = the same with w[k] = (1 - alpha)^k
 *
 * The weighted average needs one sample for each weight. With fewer it is taken over those there
 *are if no weight is negative (so it is an average from the first sample on); else it is NaN until
 *all are there, as weights that were fitted mean nothing in part. NaN too where the weights sum to
 *zero. Values and weights are finite; what leaves the range of doubles on the way is an infinity or
 *NaN.
 *
 * Products are summed in four chains, by age modulo 4, whatever slots the samples lie in: the
 *result depends on the samples and their order alone.
 */
#include <math.h>

#include "window_parts.h"

#define LOSS_ALLOWED 0x1p-7
#define SCALE_HUGE   0x1p-128

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

/* ---- exponential weights ------------------------------------------------------------------------
 */

static double power(double base, uint32_t exponent)
{
	double found = 1;

	for (; exponent > 0; exponent /= 2) {
		if (exponent % 2)
			found *= base;
		base *= base;
	}
	return found;
}

static void ewma_join(struct mr_window_ewma *ewma, double value, double keep)
{
	ewma->sum = ewma->sum * keep + value * ewma->scale;
	ewma->weights = ewma->weights * keep + 1;
	ewma->absolute = ewma->absolute * keep + fabs(value * ewma->scale);
	ewma->peak *= keep;
	if (ewma->absolute > ewma->peak)
		ewma->peak = ewma->absolute;
}

bool mr_window_ewma_step(struct mr_window_ewma *ewma, const struct mr_window_ring *ring,
			 const struct mr_window_step *step, double alpha)
{
	for (uint32_t i = 1; i <= step->leave; i++) {
		double weight = power(1 - alpha, step->before - i);
		double leaving = mr_window_value(ring, step->before - i) * ewma->scale * weight;

		ewma->sum -= leaving;
		ewma->weights -= weight;
		ewma->absolute -= fabs(leaving);
	}
	if (step->joins)
		ewma_join(ewma, step->value, 1 - alpha);
	return !(ewma->absolute >= ewma->peak * LOSS_ALLOWED && ewma->absolute < INFINITY) ||
	       step->after < step->before * LOSS_ALLOWED;
}

static void ewma_all(struct mr_window_ewma *ewma, const struct mr_window_ring *ring, uint32_t count,
		     double alpha, double scale)
{
	*ewma = (struct mr_window_ewma){.scale = scale};
	for (uint32_t age = count; age > 0; age--)
		ewma_join(ewma, mr_window_value(ring, age - 1), 1 - alpha);
	ewma->peak = ewma->absolute;
}

void mr_window_ewma_anew(struct mr_window_ewma *ewma, const struct mr_window_ring *ring,
			 uint32_t count, double alpha)
{
	ewma_all(ewma, ring, count, alpha, 1);
	if (!(ewma->absolute < INFINITY))
		ewma_all(ewma, ring, count, alpha, SCALE_HUGE);
}

double mr_window_ewma_value(const struct mr_window_ewma *ewma)
{
	return ewma->sum / ewma->weights / ewma->scale;
}
