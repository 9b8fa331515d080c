/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least squares over past values (fit.h).
 */
#include "fit.h"

#include <errno.h>
#include <inttypes.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONDITION_MOST 1e8
#define RIDGE_ROOT     1e-4 /* of the largest singular value */
#define VALUES_LEAST   8    /* for each weight */
#define TESTED_SHARE   4    /* one in so many is held back */

const char *const mr_fit_forecast_names[MR_FIT_FORECASTS] = {"fitted", "last value", "mean",
							     "linear"};

/* ---- the matrix --------------------------------------------------------------------------------
 */

/* Column-major, 'rows' and then 'unknowns' more for the ridge. */
struct problem {
	double *matrix;
	double *right;	  /* and, when solved, the solution */
	double *singular; /* of the matrix */
	int rows;	  /* of data */
	int unknowns;
};

static void free_problem(struct problem *problem)
{
	free(problem->matrix);
	free(problem->right);
	free(problem->singular);
}

static int make_problem(int rows, int unknowns, struct problem *out)
{
	size_t all = (size_t)rows + (size_t)unknowns;

	*out = (struct problem){.rows = rows, .unknowns = unknowns};
	out->matrix = calloc(all * (size_t)unknowns, sizeof(double));
	out->right = calloc(all, sizeof(double));
	out->singular = calloc((size_t)unknowns, sizeof(double));
	if (out->matrix && out->right && out->singular)
		return 0;
	free_problem(out);
	return -ENOMEM;
}

/* A row for each value that has enough before it; 'ridge' is the root of alpha. */
static void fill(struct problem *problem, const double *values, double ridge)
{
	size_t stride = (size_t)problem->rows + (size_t)problem->unknowns;

	memset(problem->matrix, 0, stride * (size_t)problem->unknowns * sizeof(double));
	memset(problem->right, 0, stride * sizeof(double));
	for (int row = 0; row < problem->rows; row++) {
		const double *newest = values + problem->unknowns + row;

		problem->right[row] = newest[1] - newest[0];
		for (int k = 1; k <= problem->unknowns; k++)
			problem->matrix[(size_t)(k - 1) * stride + (size_t)row] =
				newest[-k] - newest[0];
	}
	for (int k = 0; k < problem->unknowns; k++)
		problem->matrix[(size_t)k * stride + (size_t)(problem->rows + k)] = ridge;
}

static int solve(struct problem *problem)
{
	int all = problem->rows + problem->unknowns;
	lapack_int rank;

	return LAPACKE_dgelsd(LAPACK_COL_MAJOR, all, problem->unknowns, 1, problem->matrix, all,
			      problem->right, all, problem->singular, -1, &rank) == 0
		       ? 0
		       : -EDOM;
}

/* ---- how good it is ----------------------------------------------------------------------------
 */

static double fitted(const struct mr_fit *fit, const double *newest)
{
	double sum = 0;

	for (uint32_t k = 0; k < fit->count; k++)
		sum += fit->weights[k] * newest[-(int64_t)k];
	return sum;
}

static double mean(uint32_t count, const double *newest)
{
	double sum = 0;

	for (uint32_t k = 0; k < count; k++)
		sum += newest[-(int64_t)k];
	return sum / count;
}

/* Through the values at -K + 1 .. 0, at 1. */
static double linear(uint32_t count, const double *newest)
{
	double middle = -(double)(count - 1) / 2;
	double average = mean(count, newest);
	double over = 0, under = 0;

	for (uint32_t k = 0; k < count; k++) {
		double x = -(double)k - middle;

		over += x * (newest[-(int64_t)k] - average);
		under += x * x;
	}
	return average + over / under * (1 - middle);
}

static void add_error(struct mr_fit_error *error, double forecast, double actual)
{
	error->rms += (forecast - actual) * (forecast - actual);
	error->absolute += fabs(forecast - actual);
}

static void test(const double *values, uint64_t from, uint64_t count, struct mr_fit *fit)
{
	for (uint64_t i = from; i < count; i++) {
		const double *newest = values + i - 1;

		add_error(&fit->errors[MR_FIT_FITTED], fitted(fit, newest), values[i]);
		add_error(&fit->errors[MR_FIT_LAST], newest[0], values[i]);
		add_error(&fit->errors[MR_FIT_MEAN], mean(fit->count, newest), values[i]);
		add_error(&fit->errors[MR_FIT_LINEAR], linear(fit->count, newest), values[i]);
	}
	fit->tested = count - from;
	for (int i = 0; i < MR_FIT_FORECASTS; i++) {
		fit->errors[i].rms = sqrt(fit->errors[i].rms / (double)fit->tested);
		fit->errors[i].absolute /= (double)fit->tested;
		if (fit->errors[i].rms < fit->errors[fit->best].rms)
			fit->best = (enum mr_fit_forecast)i;
	}
}

/* ---- the fit -----------------------------------------------------------------------------------
 */

static void set_condition(const struct problem *problem, struct mr_fit *fit)
{
	double least = problem->singular[problem->unknowns - 1];

	fit->condition = least > 0 ? problem->singular[0] / least : INFINITY;
}

/* Solves it, a second time with a ridge where that is called for. */
static int find_weights(const double *values, struct problem *problem, struct mr_fit *fit)
{
	double rest = 1;
	int r;

	fill(problem, values, 0);
	r = solve(problem);
	if (r < 0)
		return r;
	set_condition(problem, fit);
	if (!(problem->singular[0] > 0))
		return -ENODATA;
	if (!(fit->condition <= CONDITION_MOST)) {
		double root = RIDGE_ROOT * problem->singular[0];

		fit->ridge = root * root;
		fill(problem, values, root);
		r = solve(problem);
		if (r < 0)
			return r;
	}
	for (int k = 1; k <= problem->unknowns; k++) {
		fit->weights[k] = problem->right[k - 1];
		rest -= fit->weights[k];
	}
	fit->weights[0] = rest;
	return 0;
}

int mr_fit(const double *values, uint64_t count, uint32_t weights, struct mr_fit *out,
	   struct mr_error *err)
{
	struct problem problem;
	uint64_t most, trained;
	int r;

	memset(out, 0, sizeof(*out));
	if (weights < 2 || weights > MR_FIT_WEIGHTS_MAX)
		return mr_error_set(err, -EINVAL,
				    "%" PRIu32 " weights cannot be fitted: expected 2 to %d",
				    weights, MR_FIT_WEIGHTS_MAX);
	if (count < (uint64_t)VALUES_LEAST * weights)
		return mr_error_set(err, -ENODATA,
				    "%" PRIu64 " values are too few to fit %" PRIu32
				    " weights: at least %" PRIu64 " are needed",
				    count, weights, (uint64_t)VALUES_LEAST * weights);
	most = MR_FIT_CELLS_MAX / weights;
	if (count > most) {
		out->left_out = count - most;
		values += out->left_out;
		count = most;
	}
	out->count = weights;
	trained = count - count / TESTED_SHARE; /* values; each needs 'weights' before it */
	out->trained = trained - weights;
	r = make_problem((int)out->trained, (int)weights - 1, &problem);
	if (r < 0)
		return mr_error_set(err, r, "no memory to fit %" PRIu32 " weights", weights);
	r = find_weights(values, &problem, out);
	free_problem(&problem);
	if (r == -ENODATA)
		return mr_error_set(err, r, "the values never change: there is nothing to fit");
	if (r < 0)
		return mr_error_set(err, r, "the weights could not be found: LAPACK gave up");
	test(values, trained, count, out);
	return 0;
}
