/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of the sorted values of a reach. Pure.
 *
 *	quantile = s[i] + (p - i) (s[i + 1] - s[i]), p = q (n - 1), i = floor(p)
 *						(type 7 of R. Hyndman, Y. Fan, Sample quantiles in
 *						statistical packages, 1996)
 *	median   = quantile at 0.5: the middle value, or the mean of the two
 *	mad      = median of |v - median|	(raw: not scaled to a normal distribution's stddev)
 *
 * All in the unit of the value, from the first sample on. Values are finite; of none: NaN. A mad
 * beyond the range of doubles is an infinity.
 *
 * The values are kept sorted: a push finds its place in O(log n) and moves those between what
 * leaves and what joins, which is O(n) at the speed of memmove.
 */
#include <math.h>
#include <string.h>

#include "window_parts.h"

#define LEAVE_ONE_BY_ONE 32

/* The first that is not less. */
static uint32_t place_of(const double *sorted, uint32_t count, double value)
{
	uint32_t low = 0;

	while (count > 0) {
		uint32_t half = count / 2;

		if (sorted[low + half] < value) {
			low += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return low;
}

static void move(double *sorted, uint32_t to, uint32_t from, uint32_t count)
{
	memmove(sorted + to, sorted + from, count * sizeof(*sorted));
}

/* 'value' is one of them. If it is not, as in a damaged block, another one goes. */
static uint32_t place_leaving(const double *sorted, uint32_t count, double value)
{
	uint32_t at = place_of(sorted, count, value);

	return at < count ? at : count - 1;
}

static void leave(double *sorted, uint32_t count, double value)
{
	uint32_t at = place_leaving(sorted, count, value);

	move(sorted, at, at + 1, count - at - 1);
}

static void join(double *sorted, uint32_t count, double value)
{
	uint32_t at = place_of(sorted, count, value);

	move(sorted, at + 1, at, count - at);
	sorted[at] = value;
}

/* One leaves and one joins: only what lies between them moves. */
static void replace(double *sorted, uint32_t count, double old, double value)
{
	uint32_t from = place_leaving(sorted, count, old);
	uint32_t to = place_of(sorted, count, value);

	if (to > from) {
		to--;
		move(sorted, from, from + 1, to - from);
	} else {
		move(sorted, to + 1, to, from - to);
	}
	sorted[to] = value;
}

static void sift(double *heap, uint32_t at, uint32_t count)
{
	for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
		double value = heap[at];

		if (child + 1 < count && heap[child + 1] > heap[child])
			child++;
		if (heap[child] <= value)
			return;
		heap[at] = heap[child];
		heap[child] = value;
		at = child;
	}
}

/* A heap's sort, in place: after a gap, when much leaves at once. */
static void sort(double *values, uint32_t count)
{
	for (uint32_t at = count / 2; at > 0; at--)
		sift(values, at - 1, count);
	for (uint32_t left = count; left > 1; left--) {
		double greatest = values[0];

		values[0] = values[left - 1];
		values[left - 1] = greatest;
		sift(values, 0, left - 1);
	}
}

void mr_window_order_step(double *sorted, const struct mr_window_ring *ring,
			  const struct mr_window_step *step)
{
	uint32_t count = step->before;

	if (step->joins && step->leave == 1) {
		replace(sorted, count, mr_window_value(ring, count - 1), step->value);
		return;
	}
	if (step->leave > LEAVE_ONE_BY_ONE) {
		count -= step->leave;
		for (uint32_t age = 0; age < count; age++)
			sorted[age] = mr_window_value(ring, age);
		sort(sorted, count);
	}
	for (; count > step->before - step->leave; count--)
		leave(sorted, count, mr_window_value(ring, count - 1));
	if (step->joins)
		join(sorted, count, step->value);
}

double mr_window_order_quantile(const double *sorted, uint32_t count, double quantile)
{
	double place = quantile * (count - 1);
	uint32_t low = (uint32_t)place;

	if (low + 1 >= count)
		return sorted[count - 1];
	return mr_window_between(sorted[low], sorted[low + 1], place - low);
}

/* Deviations grow to both sides of the median: the lesser is taken until half of all are. */
double mr_window_order_mad(const double *sorted, uint32_t count)
{
	double median = mr_window_order_quantile(sorted, count, 0.5);
	uint32_t high = place_of(sorted, count, median);
	uint32_t low = high;
	double last = 0;
	double before = 0;

	for (uint32_t taken = 0; taken <= count / 2; taken++) {
		before = last;
		if (low == 0 || (high < count && sorted[high] - median <= median - sorted[low - 1]))
			last = sorted[high++] - median;
		else
			last = median - sorted[--low];
	}
	return count % 2 ? last : mr_window_between(before, last, 0.5);
}

/* splitmix64's finaliser: sums of raw bits are the same for values that make up for each other. */
static uint64_t mixed_bits(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
	return bits ^ bits >> 31;
}

bool mr_window_order_valid(const double *sorted, const struct mr_window_ring *ring, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i > 0 && !(sorted[i - 1] <= sorted[i]))
			return false;
		sum += mixed_bits(sorted[i]) - mixed_bits(mr_window_value(ring, i));
	}
	return sum == 0;
}
