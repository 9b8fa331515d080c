/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights of a weighted average, found in past data: the K of them that forecast the next value
 *best in the least squares, and whether that is worth anything.
 *
 * The forecast is d(t + 1) = sum(w_k d(t - k)), k = 0 .. K - 1, with sum(w_k) = 1, as a weighted
 * average has it. The constraint is built in: with w_0 = 1 - sum of the others,
 *	d(t + 1) - d(t) = sum(w_k (d(t - k) - d(t))), k = 1 .. K - 1,
 * an ordinary least-squares problem in differences, which is also better conditioned for values
 * far from zero. It is solved by singular values (LAPACK's DGELSD). Where the columns are nearly
 * dependent (condition above 1e8), a ridge is added: Tikhonov's, alpha = (1e-4 x the largest
 * singular value)^2 (A. N. Tikhonov 1963; A. E. Hoerl, R. W. Kennard 1970).
 *
 * The weights come from the first three quarters of the values; how good they are is told by the
 * last quarter, beside the forecasts that need no fitting.
 */
#ifndef MR_FIT_H
#define MR_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MR_FIT_WEIGHTS_MAX 512
#define MR_FIT_CELLS_MAX   (UINT64_C(32) << 20) /* of the matrix; older values are left out */

enum mr_fit_forecast {
	MR_FIT_FITTED,
	MR_FIT_LAST,   /* d(t + 1) = d(t) */
	MR_FIT_MEAN,   /* of the last K */
	MR_FIT_LINEAR, /* the least-squares line through the last K, one step on */
	MR_FIT_FORECASTS,
};
extern const char *const mr_fit_forecast_names[MR_FIT_FORECASTS];

struct mr_fit_error {
	double rms;	 /* root of the mean of squared errors */
	double absolute; /* mean of absolute errors */
};

struct mr_fit {
	double weights[MR_FIT_WEIGHTS_MAX]; /* newest first; their sum is 1 */
	uint32_t count;
	uint64_t trained;			      /* forecasts in the first part */
	uint64_t tested;			      /* in the part held back */
	uint64_t left_out;			      /* oldest values that were too many */
	double condition;			      /* largest by smallest singular value */
	double ridge;				      /* alpha; 0: none */
	struct mr_fit_error errors[MR_FIT_FORECASTS]; /* on the part held back */
	enum mr_fit_forecast best;		      /* by rms */
};

/*
 * 'values' in time order. -EINVAL: 'weights' is not in 2 .. MR_FIT_WEIGHTS_MAX; -ENODATA: fewer
 * values than 8 times the weights, or all of them equal; -ENOMEM.
 */
int mr_fit(const double *values, uint64_t count, uint32_t weights, struct mr_fit *out,
	   struct mr_error *err);

#endif
