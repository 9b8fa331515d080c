/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stddev and zscore of a reach, and its least-squares line, in time that does not grow with it.
 * Pure.
 *
 *	mean    = sum(v) / n
 *	stddev  = sqrt(sum((v - mean)^2) / (n - 1))		unit of the value; of a sample
 *	zscore  = (v[0] - mean) / stddev			no unit; v[0] is one of the n
 *	slope   = sum((t - mean(t)) (v - mean)) / sum((t - mean(t))^2)	unit a second
 *	line at = mean + slope (t - mean(t))			unit of the value
 *
 * Values are finite. NaN: all of fewer than two samples; zscore where all values are equal; slope
 * and line where all times are. Equal values have stddev 0. What is beyond the range of doubles is
 * an infinity.
 *
 * Kept are sums of y = v - c, y^2, x = t - o, x^2 and x y, all scaled by a power of two and summed
 * with their roundings (window_parts.h); sum((v - mean)^2) = sum(y^2) - sum(y)^2 / n. That formula
 * is known for what it loses if c is far from the mean (T. Chan, G. Golub, R. LeVeque, Algorithms
 * for computing the sample variance, 1983): so c, which is the mean when the part is made anew, is
 * chosen again when less than 2^-10 of sum(y^2) would be left, unless it could be no nearer. What
 * leaves takes away the very number that it had added, as c is the same. And the part is made anew
 * when values have left that were so far out that the sums lose digits (window_sums.c), or when the
 * scale does not fit. Each of these takes values that come and go first, so that it costs O(1) for
 * each sample.
 */
#include <math.h>

#include "window_parts.h"

#define LOSS_ALLOWED   0x1p-30
#define CENTRE_ALLOWED (1 - 0x1p-10)
#define SQUARES_LEAST  0x1p-900
#define SQUARES_MOST   0x1p900

/* ---- values -------------------------------------------------------------------------------------
 */

static double y_of(const struct mr_window_spread *spread, double value)
{
	return value * spread->scale - spread->centre;
}

static void add_y(struct mr_window_spread *spread, double y)
{
	mr_window_pair_add(&spread->y, y);
	mr_window_pair_add(&spread->yy, y * y);
}

static void take_y(struct mr_window_spread *spread, double y)
{
	mr_window_pair_add(&spread->y, -y);
	mr_window_pair_add(&spread->yy, -(y * y));
}

/* Once all that joins and leaves has: is what is left good? 'y' is what joined, or 0. */
static bool spread_stale(struct mr_window_spread *spread, uint32_t count, double y)
{
	double sum = mr_window_pair_total(&spread->y);
	double squares = mr_window_pair_total(&spread->yy);

	if (squares > spread->peak)
		spread->peak = squares;
	if (!(squares >= spread->peak * LOSS_ALLOWED && squares < SQUARES_MOST))
		return true; /* also if it is no number */
	if (y != 0 && squares < SQUARES_LEAST)
		return true;
	return sum * sum > count * squares * CENTRE_ALLOWED &&
	       spread->centre + sum / count != spread->centre;
}

bool mr_window_spread_step(struct mr_window_spread *spread, const struct mr_window_ring *ring,
			   const struct mr_window_step *step)
{
	double y = step->joins ? y_of(spread, step->value) : 0;

	for (uint32_t i = 1; i <= step->leave; i++)
		take_y(spread, y_of(spread, mr_window_value(ring, step->before - i)));
	if (step->joins)
		add_y(spread, y);
	return spread_stale(spread, step->after, y);
}

/* 1 / a power of two near half the range of the values, which are then about -1 ... 1. */
static double scale_for(double low, double high)
{
	double half = high * 0.5 - low * 0.5;
	int exponent;

	if (half == 0)
		half = high - low;
	if (half == 0)
		return 1;
	(void)frexp(half, &exponent); /* exact, and only the exponent is wanted */
	return ldexp(1, exponent < -1023 ? 1023 : -exponent);
}

static void choose_centre(struct mr_window_spread *spread, const struct mr_window_ring *ring,
			  uint32_t count)
{
	double low = mr_window_value(ring, 0);
	double high = low;
	double sum = 0;

	for (uint32_t age = 1; age < count; age++) {
		double value = mr_window_value(ring, age);

		low = value < low ? value : low;
		high = value > high ? value : high;
	}
	spread->scale = scale_for(low, high);
	low *= spread->scale;
	for (uint32_t age = count; age > 0; age--)
		sum += mr_window_value(ring, age - 1) * spread->scale - low;
	spread->centre = low + sum / count;
}

void mr_window_spread_anew(struct mr_window_spread *spread, const struct mr_window_ring *ring,
			   uint32_t count)
{
	*spread = (struct mr_window_spread){.scale = 1};
	if (count == 0)
		return;
	choose_centre(spread, ring, count);
	for (uint32_t age = count; age > 0; age--)
		add_y(spread, y_of(spread, mr_window_value(ring, age - 1)));
	spread->peak = mr_window_pair_total(&spread->yy);
}

/* sum((v - mean)^2), scaled. */
static double deviations(const struct mr_window_spread *spread, uint32_t count)
{
	double sum = mr_window_pair_total(&spread->y);
	double found = mr_window_pair_total(&spread->yy) - sum * sum / count;

	return found > 0 ? found : 0;
}

double mr_window_spread_stddev(const struct mr_window_spread *spread, uint32_t count)
{
	if (count < 2)
		return NAN;
	return sqrt(deviations(spread, count) / (count - 1)) / spread->scale;
}

double mr_window_spread_zscore(const struct mr_window_spread *spread, uint32_t count, double value)
{
	double found = deviations(spread, count);

	if (count < 2 || found == 0)
		return NAN;
	return (y_of(spread, value) - mr_window_pair_total(&spread->y) / count) /
	       sqrt(found / (count - 1));
}

/* ---- values over time ---------------------------------------------------------------------------
 */

static void add_point(struct mr_window_fit *fit, double x, double y)
{
	add_y(&fit->spread, y);
	mr_window_pair_add(&fit->x, x);
	mr_window_pair_add(&fit->xx, x * x);
	mr_window_pair_add(&fit->xy, x * y);
}

static void take_point(struct mr_window_fit *fit, double x, double y)
{
	take_y(&fit->spread, y);
	mr_window_pair_add(&fit->x, -x);
	mr_window_pair_add(&fit->xx, -(x * x));
	mr_window_pair_add(&fit->xy, -(x * y));
}

static bool times_stale(struct mr_window_fit *fit, uint32_t count)
{
	double sum = mr_window_pair_total(&fit->x);
	double squares = mr_window_pair_total(&fit->xx);

	if (squares > fit->peak)
		fit->peak = squares;
	if (!(squares >= fit->peak * LOSS_ALLOWED))
		return true;
	return sum * sum > count * squares * CENTRE_ALLOWED && fabs(sum) >= count;
}

bool mr_window_fit_step(struct mr_window_fit *fit, const struct mr_window_ring *ring,
			const struct mr_window_step *step)
{
	double y = 0;
	bool stale;

	for (uint32_t i = 1; i <= step->leave; i++)
		take_point(fit,
			   mr_window_apart(mr_window_time(ring, step->before - i), fit->origin),
			   y_of(&fit->spread, mr_window_value(ring, step->before - i)));
	if (step->joins) {
		y = y_of(&fit->spread, step->value);
		add_point(fit, mr_window_apart(step->time_ms, fit->origin), y);
	}
	stale = spread_stale(&fit->spread, step->after, y);
	return times_stale(fit, step->after) || stale;
}

void mr_window_fit_anew(struct mr_window_fit *fit, const struct mr_window_ring *ring,
			uint32_t count)
{
	double sum = 0;
	int64_t oldest;

	*fit = (struct mr_window_fit){.spread.scale = 1};
	if (count == 0)
		return;
	choose_centre(&fit->spread, ring, count);
	oldest = mr_window_time(ring, count - 1);
	for (uint32_t age = count; age > 0; age--)
		sum += mr_window_apart(mr_window_time(ring, age - 1), oldest);
	fit->origin = (int64_t)((uint64_t)oldest + (uint64_t)(sum / count));
	for (uint32_t age = count; age > 0; age--)
		add_point(fit, mr_window_apart(mr_window_time(ring, age - 1), fit->origin),
			  y_of(&fit->spread, mr_window_value(ring, age - 1)));
	fit->spread.peak = mr_window_pair_total(&fit->spread.yy);
	fit->peak = mr_window_pair_total(&fit->xx);
}

/* Scaled, and a millisecond. */
static double steepness(const struct mr_window_fit *fit, uint32_t count)
{
	double x = mr_window_pair_total(&fit->x);
	double y = mr_window_pair_total(&fit->spread.y);

	return (mr_window_pair_total(&fit->xy) - x * y / count) /
	       (mr_window_pair_total(&fit->xx) - x * x / count);
}

double mr_window_fit_slope(const struct mr_window_fit *fit, const struct mr_window_ring *ring,
			   uint32_t count)
{
	if (count < 2 || mr_window_time(ring, 0) == mr_window_time(ring, count - 1))
		return NAN;
	return steepness(fit, count) * 1000 / fit->spread.scale;
}

double mr_window_fit_at(const struct mr_window_fit *fit, const struct mr_window_ring *ring,
			uint32_t count, double ahead_ms)
{
	double interval = mr_window_interval(ring, count);
	double x;

	if (isnan(interval))
		return NAN;
	x = mr_window_apart(mr_window_time(ring, 0), fit->origin) -
	    mr_window_pair_total(&fit->x) / count + (isnan(ahead_ms) ? interval : ahead_ms);
	return (fit->spread.centre + mr_window_pair_total(&fit->spread.y) / count +
		steepness(fit, count) * x) /
	       fit->spread.scale;
}
