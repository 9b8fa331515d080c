/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a figure is the median of its pairs' ratios; each pair is of neighbours, by
 * turns; a bar is met or not as its sense says; the JSON says all of it and is one; the table fits.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jitter.h"
#include "run.h"

static struct mr_bench_run run;

static void begin(void)
{
	memset(&run, 0, sizeof(run));
	run.question = "test";
	run.machine.interrupt_core = -1;
}

static void end(void)
{
	mr_bench_figures_free(&run);
}

TestSuite(bench_figures, .init = begin, .fini = end);

/* Hands out numbers in order, and notes who was asked. */
struct script {
	const double *values; /* two a sample */
	double disturbed;
	uint32_t taken;
	char mark;
	int fail_at; /* sample that fails; -1: none */
};

static char order[64];

static int take(struct mr_bench_run *of, void *arg, struct mr_bench_sample *sample,
		struct mr_error *err)
{
	struct script *script = arg;
	size_t at = strlen(order);

	order[at] = script->mark;
	order[at + 1] = '\0';
	if ((int)script->taken == script->fail_at)
		return mr_error_set(err, -EIO, "sample %u failed", script->taken);
	sample->values[0] = script->values[2 * script->taken];
	sample->values[1] = script->values[2 * script->taken + 1];
	sample->disturbed = script->disturbed;
	script->taken++;
	return 0;
}

static const double ours_values[] = {90, 1, 100, 2, 50, 3, 80, 4, 300, 5};
static const double limit_values[] = {100, 10, 100, 10, 100, 10, 100, 10, 200, 10};
/* ratios of the first: 0.9 1.0 0.5 0.8 1.5, their median 0.9; of the second 0.1 .. 0.5 */

static struct script ours = {.values = ours_values, .mark = 'o', .fail_at = -1};
static struct script limit = {.values = limit_values, .mark = 'l', .fail_at = -1};

static const struct mr_bench_figure figures[] = {
	{.name = "first",
	 .unit = "records/s",
	 .limit_name = "a ring",
	 .sense = MR_BENCH_AT_LEAST,
	 .bar = 0.9},
	{.name = "second",
	 .unit = "us",
	 .limit_name = "a write",
	 .value = 1,
	 .limit = 1,
	 .sense = MR_BENCH_AT_MOST,
	 .bar = 0.29},
	{.name = "third", .unit = "us", .value = 1},
};

static void take_pairs(void)
{
	struct mr_bench_measure a = {take, &ours}, b = {take, &limit};
	struct mr_error err;

	cr_assert_eq(mr_bench_pairs(&run, 0, &a, &b, figures, 3, &err), 0);
	cr_assert_eq(run.row_count, 3);
}

Test(bench_figures, medians)
{
	const double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};

	cr_assert_eq(mr_bench_median(odd, 3), 2);
	cr_assert_eq(mr_bench_median(even, 4), 2.5);
	cr_assert_eq(mr_bench_median(one, 1), 7);
	cr_assert_eq(odd[0], 3, "the values stay where they are");
	cr_assert(isnan(mr_bench_median(odd, 0)));
}

/* A limit that was not found makes no ratio, and four others do not make up for it. */
Test(bench_figures, a_pair_without_a_limit_leaves_no_median)
{
	static const double a[] = {10, 0, 10, 0, 10, 0, 10, 0, 10, 0};
	struct script x = {.values = a, .mark = 'x', .fail_at = -1};
	struct mr_bench_measure ours_of = {take, &x}, limit_of = {take, &x};
	struct mr_error err;

	for (int at = 0; at < 5; at++) {
		double b[10], five[5] = {1, 1, 1, 1, 1};
		struct script y = {.values = b, .mark = 'y', .fail_at = -1};

		memcpy(b, a, sizeof(b));
		b[2 * at] = 0;
		five[at] = NAN;
		cr_assert(isnan(mr_bench_median(five, 5)));
		order[0] = '\0';
		x.taken = 0;
		limit_of.arg = &y;
		cr_assert_eq(mr_bench_pairs(&run, 0, &ours_of, &limit_of, figures, 1, &err), 0);
		cr_assert(isnan(run.rows[at].ratio));
		cr_assert_eq(mr_bench_judge(&run.rows[at]), MR_BENCH_NOT_MET);
	}
}

Test(bench_figures, pairs_are_taken_by_turns)
{
	take_pairs();
	cr_assert_str_eq(order, "loollooll"
				"o");
}

/* Not the ratio of the medians: those are 90 and 100, too, but pair by pair it is another 0.9. */
Test(bench_figures, a_figure_is_the_median_of_its_pairs_ratios)
{
	const struct mr_bench_row *row;

	take_pairs();
	row = &run.rows[0];
	cr_assert_float_eq(row->ratio, 0.9, 1e-12);
	cr_assert_float_eq(row->ratio_min, 0.5, 1e-12);
	cr_assert_float_eq(row->ratio_max, 1.5, 1e-12);
	cr_assert_eq(row->value, 90);
	cr_assert_eq(row->limit, 100);
	cr_assert_eq(row->pair_count, 5);
	cr_assert_float_eq(run.rows[1].ratio, 0.3, 1e-12);
	cr_assert_eq(run.rows[2].value, 3);
	cr_assert(isnan(run.rows[2].ratio));
	cr_assert(isnan(run.rows[2].limit));
}

/* ours 10, 40, 30 over limits 10, 20, 60: ratios 1, 2, 0.5. Medians' ratio would be 1.5. */
Test(bench_figures, medians_are_not_divided)
{
	static const double a[] = {10, 0, 40, 0, 30, 0}, b[] = {10, 0, 20, 0, 60, 0};
	struct script x = {.values = a, .mark = 'x', .fail_at = -1};
	struct script y = {.values = b, .mark = 'y', .fail_at = -1};
	struct mr_bench_measure mx = {take, &x}, my = {take, &y};
	struct mr_error err;

	cr_assert_eq(mr_bench_pairs(&run, 3, &mx, &my, figures, 1, &err), 0);
	cr_assert_float_eq(run.rows[0].ratio, 1.0, 1e-12);
}

Test(bench_figures, bars_are_met_by_their_sense)
{
	struct mr_bench_row row = {.limit_name = "x", .ratio = 1.0, .value = 50, .bar = 1.0};

	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_REPORTED);
	row.sense = MR_BENCH_AT_LEAST;
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_MET);
	row.ratio = 0.999;
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_NOT_MET);
	row.sense = MR_BENCH_AT_MOST;
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_MET);
	row.ratio = 1.001;
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_NOT_MET);
	row.ratio = NAN; /* the limit could not be measured */
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_NOT_MET);
	row.sense = MR_BENCH_AT_LEAST;
	cr_assert_eq(mr_bench_judge(&row), MR_BENCH_NOT_MET);
}

Test(bench_figures, without_a_limit_the_value_is_judged)
{
	struct mr_bench_figure figure = {
		.name = "memory", .unit = "bytes", .sense = MR_BENCH_AT_MOST, .bar = 100};

	mr_bench_add(&run, &figure, 100, 0);
	mr_bench_add(&run, &figure, 101, 0);
	cr_assert_eq(mr_bench_judge(&run.rows[0]), MR_BENCH_MET);
	cr_assert_eq(mr_bench_judge(&run.rows[1]), MR_BENCH_NOT_MET);
}

Test(bench_figures, the_share_disturbed_is_that_of_both_samples)
{
	ours.disturbed = 0.2;
	limit.disturbed = 0.4;
	take_pairs();
	cr_assert_float_eq(run.rows[0].disturbed, 0.3, 1e-9);
	cr_assert_float_eq(run.rows[2].disturbed, 0.2, 1e-9, "it has no limit");
}

Test(bench_figures, a_sample_that_fails_ends_the_pairs)
{
	struct mr_bench_measure a = {take, &ours}, b = {take, &limit};
	struct mr_error err;

	limit.fail_at = 2;
	cr_assert_eq(mr_bench_pairs(&run, 0, &a, &b, figures, 3, &err), -EIO);
	cr_assert_str_eq(err.what, "sample 2 failed");
	cr_assert_eq(run.row_count, 0, "half a figure is none");
}

Test(bench_figures, ours_alone)
{
	struct mr_bench_measure a = {take, &ours}, none = {NULL, NULL};
	struct mr_error err;

	cr_assert_eq(mr_bench_pairs(&run, 3, &a, &none, &figures[2], 1, &err), 0);
	cr_assert_str_eq(order, "ooo");
	cr_assert_eq(run.rows[0].value, 2);
	cr_assert_eq(run.rows[0].pair_count, 3);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* Written and read again, as a program would. */
static json_t *written(void)
{
	json_t *document = mr_bench_json(&run);
	char *text = json_dumps(document, JSON_COMPACT);
	json_error_t trouble;
	json_t *read;

	cr_assert_not_null(document);
	cr_assert_not_null(text);
	read = json_loads(text, 0, &trouble);
	cr_assert_not_null(read, "%s", trouble.text);
	json_decref(document);
	free(text);
	return read;
}

Test(bench_figures, json_says_all_of_a_figure)
{
	static const char *const keys[] = {"name",  "unit",	 "value",     "limit", "limit_name",
					   "ratio", "ratio_min", "ratio_max", "bar",   "sense",
					   "met",   "disturbed", "note",      "pairs"};
	json_t *document, *figure, *pair;

	take_pairs();
	mr_bench_note(&run, "lower it with %s", "retention");
	document = written();
	cr_assert_eq(json_array_size(json_object_get(document, "figures")), 3);
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			cr_assert_not_null(
				json_object_get(
					json_array_get(json_object_get(document, "figures"), i),
					keys[k]),
				"%s of %zu", keys[k], i);
	figure = json_array_get(json_object_get(document, "figures"), 0);
	cr_assert_str_eq(json_string_value(json_object_get(figure, "sense")), "at least");
	cr_assert(json_is_true(json_object_get(figure, "met")));
	cr_assert_float_eq(json_real_value(json_object_get(figure, "ratio")), 0.9, 1e-9);
	cr_assert(json_is_null(json_object_get(figure, "note")));
	pair = json_array_get(json_object_get(figure, "pairs"), 4);
	cr_assert_eq(json_real_value(json_object_get(pair, "ours")), 300);
	cr_assert_eq(json_real_value(json_object_get(pair, "limit")), 200);
	figure = json_array_get(json_object_get(document, "figures"), 1);
	cr_assert(json_is_false(json_object_get(figure, "met")));
	figure = json_array_get(json_object_get(document, "figures"), 2);
	cr_assert(json_is_null(json_object_get(figure, "met")));
	cr_assert(json_is_null(json_object_get(figure, "bar")));
	cr_assert(json_is_null(json_object_get(figure, "limit")), "not a number is null");
	cr_assert_str_eq(json_string_value(json_object_get(figure, "note")),
			 "lower it with retention");
	json_decref(document);
}

Test(bench_figures, json_of_nothing_is_whole)
{
	json_t *document = written();

	cr_assert_str_eq(json_string_value(json_object_get(document, "question")), "test");
	cr_assert(json_is_object(json_object_get(document, "machine")));
	cr_assert(json_is_null(json_object_get(document, "jitter")));
	cr_assert_eq(json_array_size(json_object_get(document, "figures")), 0);
	cr_assert_eq(json_array_size(json_object_get(document, "series")), 0);
	json_decref(document);
}

Test(bench_figures, json_has_the_curves_points)
{
	double xs[] = {1, 10, 100}, ys[] = {5, NAN, 7};
	struct mr_bench_series series = {
		.plot = "ack latency",
		.name = "1,000/s",
		.x = "percentile",
		.y = "us",
		.log_x = true,
		.xs = xs,
		.ys = ys,
		.count = 3,
	};
	json_t *document, *curve, *points;
	struct mr_error err;

	cr_assert_eq(mr_bench_series(&run, &series, &err), 0);
	ys[0] = 99; /* they were copied */
	document = written();
	curve = json_array_get(json_object_get(document, "series"), 0);
	cr_assert_str_eq(json_string_value(json_object_get(curve, "plot")), "ack latency");
	cr_assert(json_is_true(json_object_get(curve, "log_x")));
	cr_assert(json_is_false(json_object_get(curve, "log_y")));
	points = json_object_get(curve, "points");
	cr_assert_eq(json_array_size(points), 3);
	cr_assert_eq(json_real_value(json_array_get(json_array_get(points, 0), 1)), 5);
	cr_assert(json_is_null(json_array_get(json_array_get(points, 1), 1)));
	json_decref(document);
}

Test(bench_figures, json_tells_of_jitter_by_core)
{
	const uint32_t cores[] = {0, 3};
	json_t *document, *jitter, *core;

	run.jitter = mr_jitter_new(cores, 2);
	for (uint64_t i = 0; i < 98; i++)
		mr_jitter_note(run.jitter, 3, i * 500000, i * 500000 + 5000);
	mr_jitter_note(run.jitter, 3, 98 * 500000, 98 * 500000 + 1200000); /* 3 moments */
	document = written();
	jitter = json_object_get(document, "jitter");
	core = json_array_get(json_object_get(jitter, "cores"), 1);
	cr_assert_eq(json_integer_value(json_object_get(core, "core")), 3);
	cr_assert_eq(json_integer_value(json_object_get(core, "gaps")), 1);
	cr_assert_float_eq(json_real_value(json_object_get(core, "lost")), 3.0 / 101, 1e-9);
	cr_assert_float_eq(json_real_value(json_object_get(core, "longest_us")), 1200, 1e-9);
	core = json_array_get(json_object_get(jitter, "cores"), 0);
	cr_assert_eq(json_real_value(json_object_get(core, "lost")), 0);
	json_decref(document);
	mr_jitter_free(run.jitter);
}

/* ---- the table ----------------------------------------------------------------------------- */

static char *table(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	mr_bench_table(&run, out);
	fclose(out);
	return text;
}

Test(bench_figures, the_table_says_what_is_met_and_what_was_disturbed)
{
	char *text;

	ours.disturbed = limit.disturbed = 0.12;
	take_pairs();
	text = table();
	cr_assert_not_null(strstr(text, " met\n"));
	cr_assert_not_null(strstr(text, " NOT MET\n"));
	cr_assert_not_null(strstr(text, " reported\n"));
	cr_assert_not_null(strstr(text, "disturbed 12 %"));
	cr_assert_not_null(strstr(text, "limit: a ring"));
	cr_assert_not_null(strstr(text, ">=0.9"));
	cr_assert_not_null(strstr(text, "0.50..1.50"));
	free(text);
}

Test(bench_figures, a_share_of_a_core_is_in_per_cent)
{
	struct mr_bench_figure figure = {
		.name = "idle", .unit = "cores", .sense = MR_BENCH_AT_MOST, .bar = 0.01};
	char *text;

	mr_bench_add(&run, &figure, 0.00033, 0);
	text = table();
	cr_assert_not_null(strstr(text, " 0.033 % "));
	cr_assert_not_null(strstr(text, "<=1 % "));
	free(text);
}

/* "8738 records" has no room: then it is the number, not half a word. */
Test(bench_figures, a_unit_is_whole_or_not_there)
{
	static const double values[] = {7, 8738, 123456, 0.001234, 1e15};
	struct mr_bench_figure figure = {
		.name = "many", .unit = "records", .sense = MR_BENCH_AT_MOST, .bar = 1234};
	char *text;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		mr_bench_add(&run, &figure, values[i], 0);
	memcpy(run.rows[1].limit_name, "x", 2);
	run.rows[1].limit = 1.5;
	text = table();
	for (char *at = text; (at = strstr(at, " rec")); at += 4)
		cr_assert_eq(strncmp(at, " records ", 9), 0, "%.20s", at);
	cr_assert_not_null(strstr(text, " 7 records "));
	cr_assert_not_null(strstr(text, " 8738 "));
	cr_assert_not_null(strstr(text, " <=1234 "));
	free(text);
}

Test(bench_figures, a_probe_without_priority_is_said)
{
	const uint32_t cores[] = {0};
	char *text;

	run.jitter = mr_jitter_new(cores, 1); /* no probe was started */
	text = table();
	cr_assert_not_null(strstr(text, "the probe had no real-time priority"));
	free(text);
	mr_jitter_free(run.jitter);
}

Test(bench_figures, the_table_fits_into_100_columns)
{
	static const char *const units[] = {
		"records/s", "bytes/s", "us",	 "ns",		 "ms",	   "s",
		"bytes",     "cores",	"ratio", "instructions", "records"};
	static const double sizes[] = {0, 0.000123, 1, 999.9, 123456, 9.87e9, 1e15, -5, NAN};
	char name[MR_BENCH_NAME_BYTES], *text;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct mr_bench_figure figure = {.name = s % 2 ? name : "short",
							 .unit = units[u],
							 .sense = MR_BENCH_AT_MOST,
							 .bar = 24 << 20};

			mr_bench_add(&run, &figure, sizes[s], 1.0);
			mr_bench_note(&run, "%s %s %s %s", name, units[u], name, "end");
			memcpy(run.rows[run.row_count - 1].limit_name, name, sizeof(name));
		}
	text = table();
	for (char *line = text, *stop; (stop = strchr(line, '\n')); line = stop + 1)
		cr_assert_leq(stop - line, 100, "%.*s", (int)(stop - line), line);
	free(text);
}
