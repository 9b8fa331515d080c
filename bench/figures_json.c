/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a question found, for programs. One document; a number that there is not is null.
 */
#include "run.h"

#include <math.h>

#include "jitter.h"

static json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text(const char *words)
{
	return words[0] ? json_string(words) : json_null();
}

static json_t *numbers(const double *values, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(array, number(values[i]));
	return array;
}

static json_t *pairs_of(const struct mr_bench_row *row)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < row->pair_count; i++)
		json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:o}", "ours",
						       number(row->pairs[i].ours), "limit",
						       number(row->pairs[i].limit), "ratio",
						       number(row->pairs[i].ratio), "disturbed",
						       number(row->pairs[i].disturbed)));
	return array;
}

static json_t *met_of(const struct mr_bench_row *row)
{
	enum mr_bench_verdict verdict = mr_bench_judge(row);

	return verdict == MR_BENCH_REPORTED ? json_null() : json_boolean(verdict == MR_BENCH_MET);
}

static json_t *figure_of(const struct mr_bench_row *row)
{
	static const char *const senses[] = {"report", "at least", "at most"};
	bool judged = row->sense != MR_BENCH_REPORT;

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o}",
			 "name", row->name, "unit", row->unit, "value", number(row->value), "limit",
			 number(row->limit), "limit_name", text(row->limit_name), "ratio",
			 number(row->ratio), "ratio_min", number(row->ratio_min), "ratio_max",
			 number(row->ratio_max), "bar", judged ? number(row->bar) : json_null(),
			 "sense", senses[row->sense], "met", met_of(row), "disturbed",
			 number(row->disturbed), "note", text(row->note), "pairs", pairs_of(row));
}

/* "points" are [x, y] in their order. */
static json_t *series_of(const struct mr_bench_curve *curve)
{
	json_t *points = json_array();

	for (uint32_t i = 0; i < curve->count; i++) {
		double point[] = {curve->xs[i], curve->ys[i]};

		json_array_append_new(points, numbers(point, 2));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:o}", "plot", curve->plot, "name",
			 curve->name, "x", curve->x, "y", curve->y, "log_x", curve->log_x, "log_y",
			 curve->log_y, "points", points);
}

json_t *mr_bench_json(const struct mr_bench_run *run)
{
	json_t *figures = json_array(), *series = json_array();

	for (uint32_t i = 0; i < run->row_count; i++)
		json_array_append_new(figures, figure_of(&run->rows[i]));
	for (uint32_t i = 0; i < run->curve_count; i++)
		json_array_append_new(series, series_of(&run->curves[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "question", run->question, "machine",
			 mr_bench_machine_json(&run->machine), "jitter",
			 run->jitter ? mr_jitter_json(run->jitter) : json_null(), "figures",
			 figures, "series", series);
}
