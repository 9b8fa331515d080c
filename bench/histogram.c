/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of latencies (histogram.h). Bucket 'b' of the first 4096 holds the value b alone;
 *from there on each doubling has 2048 buckets, each twice as wide as those of the doubling before:
 *
 *	value	0 .. 4095   4096 .. 8191   8192 .. 16383   ...
 *	width	    1            2               4
 */
#include "histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define SUB_BITS     11
#define SUB	     (UINT64_C(1) << SUB_BITS) /* buckets a doubling */
#define VALUE_BITS   42			       /* 2^42 ns is 73 minutes */
#define VALUE_MAX    ((UINT64_C(1) << VALUE_BITS) - 1)
#define BUCKETS	     ((VALUE_BITS - SUB_BITS + 1) * SUB)
#define CURVE_POINTS 64
#define CURVE_NINES  4.0 /* to the percentile 99.99 */

struct mr_histogram {
	uint64_t count, max;
	uint64_t buckets[BUCKETS];
};

struct mr_histogram *mr_histogram_new(void)
{
	return calloc(1, sizeof(struct mr_histogram));
}

void mr_histogram_free(struct mr_histogram *histogram)
{
	free(histogram);
}

void mr_histogram_reset(struct mr_histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

static uint64_t bucket_of(uint64_t value)
{
	uint32_t shift;

	if (value > VALUE_MAX)
		value = VALUE_MAX;
	if (value < SUB)
		return value;
	shift = 63 - SUB_BITS - (uint32_t)__builtin_clzll(value);
	return shift * SUB + (value >> shift);
}

/* The largest value that falls into a bucket. */
static uint64_t upper_end(uint64_t bucket)
{
	uint64_t shift = bucket < 2 * SUB ? 0 : bucket / SUB - 1;

	return ((bucket - shift * SUB + 1) << shift) - 1;
}

void mr_histogram_add(struct mr_histogram *histogram, uint64_t value_ns, uint64_t count)
{
	if (count == 0)
		return;
	histogram->buckets[bucket_of(value_ns)] += count;
	histogram->count += count;
	if (value_ns > histogram->max)
		histogram->max = value_ns;
}

void mr_histogram_merge(struct mr_histogram *into, const struct mr_histogram *from)
{
	for (uint64_t i = 0; i < BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
}

uint64_t mr_histogram_count(const struct mr_histogram *histogram)
{
	return histogram->count;
}

uint64_t mr_histogram_max(const struct mr_histogram *histogram)
{
	return histogram->max;
}

/* How many values the percentile covers: 0.9999 of 10,000 are 9,999, whatever the last bit says. */
static uint64_t covered(const struct mr_histogram *histogram, double share)
{
	double wanted = share * (double)histogram->count;
	uint64_t whole = (uint64_t)ceil(wanted - wanted * 1e-12);

	if (whole < 1)
		whole = 1;
	return whole < histogram->count ? whole : histogram->count;
}

uint64_t mr_histogram_percentile(const struct mr_histogram *histogram, double share)
{
	uint64_t wanted, seen = 0, end;

	if (histogram->count == 0)
		return 0;
	wanted = covered(histogram, share);
	for (uint64_t i = 0; i < BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen < wanted)
			continue;
		end = upper_end(i);
		/* The last bucket also holds what is too large for it. */
		return end < histogram->max && i + 1 < BUCKETS ? end : histogram->max;
	}
	return histogram->max;
}

uint32_t mr_histogram_curve(const struct mr_histogram *histogram, double *xs, double *values_us,
			    uint32_t max)
{
	mr_assert(max >= CURVE_POINTS);
	if (histogram->count == 0)
		return 0;
	for (uint32_t i = 0; i < CURVE_POINTS; i++) {
		xs[i] = pow(10.0, CURVE_NINES * i / (CURVE_POINTS - 1));
		values_us[i] = (double)mr_histogram_percentile(histogram, 1.0 - 1.0 / xs[i]) / 1e3;
	}
	return CURVE_POINTS;
}
