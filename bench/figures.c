/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures: pairs of samples, their medians, and the judgement. Runs in the question's process, one
 * thread; owns the run's rows and curves.
 *
 * A pair is one sample of ours and one of the limit, taken one after the other, so that what the
 * machine does to one it most likely does to the other. Each pair gives a ratio; the figure is the
 * median of the ratios, not the ratio of the medians, and its spread is theirs.
 */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* They have no place in an order: with one of them there is no median. */
static bool any_nan(const double *values, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (isnan(values[i]))
			return true;
	return false;
}

double mr_bench_median(const double *values, uint32_t count)
{
	double *sorted, median;

	if (count == 0 || any_nan(values, count))
		return NAN;
	sorted = malloc(count * sizeof(*sorted));
	if (!sorted)
		return NAN;
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	median = sorted[count / 2];
	if (count % 2 == 0)
		median = (median + sorted[count / 2 - 1]) / 2;
	free(sorted);
	return median;
}

/* The median of one member of the pairs. */
static double median_of(const struct mr_bench_row *row, size_t member)
{
	double values[row->pair_count];

	for (uint32_t i = 0; i < row->pair_count; i++)
		memcpy(&values[i], (const char *)&row->pairs[i] + member, sizeof(values[i]));
	return mr_bench_median(values, row->pair_count);
}

enum mr_bench_verdict mr_bench_judge(const struct mr_bench_row *row)
{
	double judged = row->limit_name[0] ? row->ratio : row->value;

	switch (row->sense) {
	case MR_BENCH_AT_LEAST:
		return judged >= row->bar ? MR_BENCH_MET : MR_BENCH_NOT_MET;
	case MR_BENCH_AT_MOST:
		return judged <= row->bar ? MR_BENCH_MET : MR_BENCH_NOT_MET;
	case MR_BENCH_REPORT:
		break;
	}
	return MR_BENCH_REPORTED;
}

/* A row with room for 'pairs'; NULL: no memory, and the run knows. */
static struct mr_bench_row *add_row(struct mr_bench_run *run, const struct mr_bench_figure *figure,
				    uint32_t pairs)
{
	struct mr_bench_pair *room = calloc(pairs, sizeof(*room));
	struct mr_bench_row *rows =
		room ? reallocarray(run->rows, run->row_count + 1, sizeof(*rows)) : NULL;
	struct mr_bench_row *row;

	if (!rows) {
		free(room);
		run->no_memory = true;
		return NULL;
	}
	run->rows = rows;
	row = &rows[run->row_count++];
	memset(row, 0, sizeof(*row));
	snprintf(row->name, sizeof(row->name), "%s", figure->name);
	snprintf(row->unit, sizeof(row->unit), "%s", figure->unit);
	snprintf(row->limit_name, sizeof(row->limit_name), "%s",
		 figure->limit_name ? figure->limit_name : "");
	row->sense = figure->sense;
	row->bar = figure->bar;
	row->pairs = room;
	row->pair_count = pairs;
	return row;
}

static void summarize(struct mr_bench_row *row)
{
	row->value = median_of(row, offsetof(struct mr_bench_pair, ours));
	row->limit = median_of(row, offsetof(struct mr_bench_pair, limit));
	row->ratio = median_of(row, offsetof(struct mr_bench_pair, ratio));
	row->ratio_min = row->ratio_max = row->pairs[0].ratio;
	row->disturbed = 0;
	for (uint32_t i = 0; i < row->pair_count; i++) {
		row->ratio_min = fmin(row->ratio_min, row->pairs[i].ratio);
		row->ratio_max = fmax(row->ratio_max, row->pairs[i].ratio);
		row->disturbed += row->pairs[i].disturbed / row->pair_count;
	}
}

/* All pairs' samples, one behind the other: ours[i], limits[i]. */
struct samples {
	struct mr_bench_sample *ours, *limits;
	bool limited;
};

static int take(struct mr_bench_run *run, const struct mr_bench_measure *measure,
		struct mr_bench_sample *sample, struct mr_error *err)
{
	memset(sample, 0, sizeof(*sample));
	return measure->take(run, measure->arg, sample, err);
}

static int take_pair(struct mr_bench_run *run, uint32_t number, const struct mr_bench_measure *ours,
		     const struct mr_bench_measure *limit, struct samples *samples,
		     struct mr_error *err)
{
	bool limit_first = number % 2 == 0;
	int r = 0;

	if (samples->limited && limit_first)
		r = take(run, limit, &samples->limits[number], err);
	if (r == 0)
		r = take(run, ours, &samples->ours[number], err);
	if (r == 0 && samples->limited && !limit_first)
		r = take(run, limit, &samples->limits[number], err);
	return r;
}

static void add_figure(struct mr_bench_run *run, const struct mr_bench_figure *figure,
		       const struct samples *samples, uint32_t pairs)
{
	struct mr_bench_row *row = add_row(run, figure, pairs);
	bool limited = samples->limited && figure->limit_name;

	mr_assert(figure->value < MR_BENCH_VALUES_MAX);
	mr_assert(figure->limit < MR_BENCH_VALUES_MAX);
	mr_assert(samples->limited || !figure->limit_name);
	for (uint32_t i = 0; row && i < pairs; i++) {
		struct mr_bench_pair *pair = &row->pairs[i];

		pair->ours = samples->ours[i].values[figure->value];
		pair->limit = limited ? samples->limits[i].values[figure->limit] : NAN;
		pair->ratio = pair->limit > 0 ? pair->ours / pair->limit : NAN;
		pair->disturbed = samples->ours[i].disturbed;
		if (limited)
			pair->disturbed = (pair->disturbed + samples->limits[i].disturbed) / 2;
	}
	if (row)
		summarize(row);
}

int mr_bench_pairs(struct mr_bench_run *run, uint32_t pairs, const struct mr_bench_measure *ours,
		   const struct mr_bench_measure *limit, const struct mr_bench_figure *figures,
		   uint32_t figure_count, struct mr_error *err)
{
	struct samples samples = {.limited = limit && limit->take};
	int r = 0;

	if (pairs == 0)
		pairs = MR_BENCH_PAIRS;
	samples.ours = calloc(pairs, sizeof(*samples.ours));
	samples.limits = calloc(pairs, sizeof(*samples.limits));
	if (!samples.ours || !samples.limits)
		r = mr_error_set(err, -ENOMEM, "no memory for %u pairs of samples", pairs);
	for (uint32_t i = 0; r == 0 && i < pairs; i++) {
		mr_bench_progress(run, "%s: pair %u of %u", figures[0].name, i + 1, pairs);
		r = take_pair(run, i, ours, limit, &samples, err);
	}
	for (uint32_t i = 0; r == 0 && i < figure_count; i++)
		add_figure(run, &figures[i], &samples, pairs);
	free(samples.ours);
	free(samples.limits);
	return r;
}

void mr_bench_add(struct mr_bench_run *run, const struct mr_bench_figure *figure, double value,
		  double disturbed)
{
	struct mr_bench_row *row;

	mr_assert(!figure->limit_name);
	row = add_row(run, figure, 1);
	if (!row)
		return;
	row->pairs[0] = (struct mr_bench_pair){
		.ours = value, .limit = NAN, .ratio = NAN, .disturbed = disturbed};
	summarize(row);
}

void mr_bench_note(struct mr_bench_run *run, const char *format, ...)
{
	struct mr_bench_row *row;
	va_list args;

	if (run->row_count == 0)
		return;
	row = &run->rows[run->row_count - 1];
	va_start(args, format);
	vsnprintf(row->note, sizeof(row->note), format, args);
	va_end(args);
}

static double *copy_of(const double *values, uint32_t count)
{
	double *copy = calloc(count ? count : 1, sizeof(*copy));

	if (copy && count)
		memcpy(copy, values, count * sizeof(*copy));
	return copy;
}

static void free_curve(struct mr_bench_curve *curve)
{
	free(curve->plot);
	free(curve->name);
	free(curve->x);
	free(curve->y);
	free(curve->xs);
	free(curve->ys);
}

int mr_bench_series(struct mr_bench_run *run, const struct mr_bench_series *series,
		    struct mr_error *err)
{
	struct mr_bench_curve *curves =
		reallocarray(run->curves, run->curve_count + 1, sizeof(*curves));
	struct mr_bench_curve curve = {
		.plot = strdup(series->plot),
		.name = strdup(series->name),
		.x = strdup(series->x),
		.y = strdup(series->y),
		.log_x = series->log_x,
		.log_y = series->log_y,
		.xs = copy_of(series->xs, series->count),
		.ys = copy_of(series->ys, series->count),
		.count = series->count,
	};

	if (curves)
		run->curves = curves;
	if (!curves || !curve.plot || !curve.name || !curve.x || !curve.y || !curve.xs ||
	    !curve.ys) {
		free_curve(&curve);
		return mr_error_set(err, -ENOMEM, "no memory for the curve '%s'", series->name);
	}
	run->curves[run->curve_count++] = curve;
	return 0;
}

void mr_bench_figures_free(struct mr_bench_run *run)
{
	for (uint32_t i = 0; i < run->row_count; i++)
		free(run->rows[i].pairs);
	for (uint32_t i = 0; i < run->curve_count; i++)
		free_curve(&run->curves[i]);
	free(run->rows);
	free(run->curves);
	run->rows = NULL;
	run->curves = NULL;
	run->row_count = run->curve_count = 0;
}
