/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HDR-style histogram of latencies: log-linear buckets, 2048 a doubling, so that any value from 1
 * ns to an hour is kept within 1/2048 = 0.05 %. Adding is a shift and an add; memory is fixed.
 * Source: Gil Tene, HdrHistogram (the bucket scheme; nothing of its code). One thread.
 */
#ifndef MR_BENCH_HISTOGRAM_H
#define MR_BENCH_HISTOGRAM_H

#include <stdint.h>

struct mr_histogram;

struct mr_histogram *mr_histogram_new(void); /* NULL: no memory */
void mr_histogram_free(struct mr_histogram *histogram);
void mr_histogram_reset(struct mr_histogram *histogram);
void mr_histogram_add(struct mr_histogram *histogram, uint64_t value_ns, uint64_t count);
void mr_histogram_merge(struct mr_histogram *into, const struct mr_histogram *from);
uint64_t mr_histogram_count(const struct mr_histogram *histogram);
uint64_t mr_histogram_max(const struct mr_histogram *histogram); /* exact; 0 when empty */
/* Smallest value that at least 'share' (0 .. 1) of all do not exceed, as the bucket's upper end. */
uint64_t mr_histogram_percentile(const struct mr_histogram *histogram, double share);

/* Points for a percentile plot, from 0 to 0.9999 (x: 1 / (1 - share), for a log axis). Returns how
 * many were written; max is at least 64. */
uint32_t mr_histogram_curve(const struct mr_histogram *histogram, double *xs, double *values_us,
			    uint32_t max);

#endif
