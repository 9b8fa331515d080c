/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one or two samples, by their event time. Pure; finding a time takes O(log n).
 *
 *	interpolate	unit of the value. At a time within those of the samples: on the straight
 *line between the last sample at or before it and the first one after it (piecewise linear). After
 *the newest: on the line through the newest and the last sample of an earlier time. Before the
 *oldest: NaN. Without a time it is t + 1, which is the newest time and the mean interval between
 *two samples of the window delta		v[0] - v[n - 1], unit of the value rate
 *(v[0] - v[n - 1]) / (t[0] - t[n - 1]), unit a second
 *
 * Values are finite. NaN: delta and rate of fewer than two samples, rate if no time passes; beyond
 * the newest, and t + 1, likewise. At the time of several samples: the one pushed last. What is
 * beyond the range of doubles is an infinity.
 */
#include <math.h>

#include "window_parts.h"

double mr_window_interval(const struct mr_window_ring *ring, uint32_t count)
{
	double span;

	if (count < 2)
		return NAN;
	span = mr_window_apart(mr_window_time(ring, 0), mr_window_time(ring, count - 1));
	return span > 0 ? span / (count - 1) : NAN;
}

/* The least age whose time is at most the newest + 'ahead_ms'; 'count': there is none. */
static uint32_t find(const struct mr_window_ring *ring, uint32_t count, double ahead_ms)
{
	int64_t newest = mr_window_time(ring, 0);
	uint32_t low = 0;
	uint32_t high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (mr_window_apart(mr_window_time(ring, middle), newest) > ahead_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* On the line through the samples of these ages. */
static double on_line(const struct mr_window_ring *ring, uint32_t older, uint32_t newer,
		      double ahead_ms)
{
	int64_t from = mr_window_time(ring, older);
	double passed = mr_window_apart(mr_window_time(ring, 0), from) + ahead_ms;

	return mr_window_between(mr_window_value(ring, older), mr_window_value(ring, newer),
				 passed / mr_window_apart(mr_window_time(ring, newer), from));
}

double mr_window_line_at(const struct mr_window_ring *ring, uint32_t count, double ahead_ms)
{
	uint32_t older;

	if (isnan(ahead_ms))
		ahead_ms = mr_window_interval(ring, count);
	if (isnan(ahead_ms))
		return NAN;
	if (ahead_ms == 0)
		return mr_window_value(ring, 0);
	/* Times are whole milliseconds. */
	older = find(ring, count, ahead_ms > 0 ? -1 : ahead_ms);
	if (older == count)
		return NAN;
	return on_line(ring, older, ahead_ms > 0 ? 0 : older - 1, ahead_ms);
}

double mr_window_delta(const struct mr_window_ring *ring, uint32_t count)
{
	return count < 2 ? NAN : mr_window_value(ring, 0) - mr_window_value(ring, count - 1);
}

double mr_window_rate(const struct mr_window_ring *ring, uint32_t count)
{
	double span;

	if (count < 2)
		return NAN;
	span = mr_window_apart(mr_window_time(ring, 0), mr_window_time(ring, count - 1));
	return span > 0 ? mr_window_delta(ring, count) / (span / 1000) : NAN;
}
