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

#define SHORT	     32 /* samples: fewer are faster looked for one by one than in runs */
#define LOSS_ALLOWED 0x1p-7
#define SCALE_HUGE   0x1p-128

/* Of samples that lie one before the other: 'newest' has the first weight. */
static void add_run(double *chains, const double *newest, uint32_t count, const double *weights)
{
	double a = chains[0], b = chains[1], c = chains[2], d = chains[3];

	for (uint32_t i = 0; i < count; i += 4, newest -= 4) {
		a += weights[i] * newest[0];
		b += weights[i + 1] * newest[-1];
		c += weights[i + 2] * newest[-2];
		d += weights[i + 3] * newest[-3];
	}
	chains[0] = a;
	chains[1] = b;
	chains[2] = c;
	chains[3] = d;
}

/* Of any samples, without a branch that depends on where they lie. */
static inline void add_each(double *chains, const struct mr_window_ring *ring, uint32_t age,
			    uint32_t count, const double *weights)
{
	double a = chains[0], b = chains[1], c = chains[2], d = chains[3];
	uint32_t i = 0;

	for (; i + 4 <= count; i += 4) {
		a += weights[i] * mr_window_value(ring, age + i);
		b += weights[i + 1] * mr_window_value(ring, age + i + 1);
		c += weights[i + 2] * mr_window_value(ring, age + i + 2);
		d += weights[i + 3] * mr_window_value(ring, age + i + 3);
	}
	if (i < count)
		a += weights[i] * mr_window_value(ring, age + i);
	if (i + 1 < count)
		b += weights[i + 1] * mr_window_value(ring, age + i + 1);
	if (i + 2 < count)
		c += weights[i + 2] * mr_window_value(ring, age + i + 2);
	chains[0] = a;
	chains[1] = b;
	chains[2] = c;
	chains[3] = d;
}

/* The same where the ring has a power of two of slots. Slots count down one by one so that no
 * compiler makes vectors of them: that took twice as long. */
static double dot_masked(const struct mr_window_ring *ring, uint32_t count, const double *weights)
{
	const double *values = ring->values;
	uint32_t mask = ring->capacity - 1, slot = ring->head - 1;
	double a = 0, b = 0, c = 0, d = 0;

	for (; count >= 4; count -= 4, weights += 4) {
		a += weights[0] * values[slot-- & mask];
		b += weights[1] * values[slot-- & mask];
		c += weights[2] * values[slot-- & mask];
		d += weights[3] * values[slot-- & mask];
	}
	if (count > 0)
		a += weights[0] * values[slot-- & mask];
	if (count > 1)
		b += weights[1] * values[slot-- & mask];
	if (count > 2)
		c += weights[2] * values[slot & mask];
	return (a + b) + (c + d);
}

static __attribute__((noinline)) double dot_any(const struct mr_window_ring *ring, uint32_t count,
						const double *weights)
{
	double chains[4] = {0};
	uint32_t age = 0;

	while (count > SHORT && count - age >= 4) {
		uint32_t slot = mr_window_slot(ring, age);
		uint32_t run = slot + 1 < count - age ? slot + 1 : count - age;

		run &= ~3u;
		if (run > 0)
			add_run(chains, ring->values + slot, run, weights + age);
		else
			add_each(chains, ring, age, 4, weights + age); /* across slot 0 */
		age += run > 0 ? run : 4;
	}
	add_each(chains, ring, age, count - age, weights + age);
	return (chains[0] + chains[1]) + (chains[2] + chains[3]);
}

static inline double dot(const struct mr_window_ring *ring, uint32_t count, const double *weights)
{
	if (count <= SHORT && (ring->capacity & (ring->capacity - 1)) == 0)
		return dot_masked(ring, count, weights);
	return dot_any(ring, count, weights);
}

double mr_window_weigh(const struct mr_window_ring *ring, uint32_t count,
		       const struct mr_window_weights *weights)
{
	double sum = weights->sum;

	if (!weights->list || count == 0)
		return NAN;
	if (count < weights->count)
		sum = weights->sums[count];
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
