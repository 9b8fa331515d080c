/* SPDX-License-Identifier: Apache-2.0 */
/* Whether samples taken one after another grow. Pure functions over arrays. */
#ifndef MR_BENCH_TREND_H
#define MR_BENCH_TREND_H

#include <stdbool.h>
#include <stdint.h>

/* Of a copy; the mean of the two in the middle where the count is even; 0 when there are none. */
double mr_trend_median(const double *values, uint32_t count);

/*
 * The medians of the first and the last third of the samples: one stray sample moves neither. Fewer
 * than three samples: the first and the last. None: zeros.
 */
void mr_trend_thirds(const double *values, uint32_t count, double *first, double *last);

/* Growth as a ratio, last third to first; 1 where the first is zero and the last as well. */
double mr_trend_growth(const double *values, uint32_t count);

/* Least squares: change of y for each 1 of x. 0 for fewer than two samples or one single x. */
double mr_trend_slope(const double *xs, const double *ys, uint32_t count);

/* 'part' of 'whole', 0 where there is no whole. */
double mr_trend_share(double part, double whole);

#endif
