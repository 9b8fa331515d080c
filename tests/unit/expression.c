/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a condition's truth is that of its grammar and of three-valued logic, for missing
 * numbers and infinities too; windows that conditions make are in the scope once; "for" is what it
 * says; logarithm and exponential agree with the C library's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "expression.h"
#include "expression_parts.h"

static struct mr_window_spec specs[MR_WINDOWS_MAX];
static char names[MR_WINDOWS_MAX][64];
static struct mr_expression_scope scope;
static struct mr_error err;

/* Windows of the rule: avg = 88, next = 91, gone: missing, big: infinite. Before: 80, 82, 7, 8. */
static const double results[MR_WINDOWS_MAX] = {88, 91, NAN, INFINITY, 5, 6, 7};
static const double previous[MR_WINDOWS_MAX] = {80, 82, 7, 8, 9, 10, 11};
static const struct mr_expression_input input = {
	.value = 90,
	.time_s = 1000.5,
	.results = results,
	.previous_value = 85,
	.previous_time_s = 999,
	.previous_results = previous,
};

static void add_window(const char *name, struct mr_window_spec spec)
{
	snprintf(names[scope.count], sizeof(names[0]), "%s", name);
	specs[scope.count++] = spec;
}

static void set_up(void)
{
	static const double weights[] = {1};

	scope = (struct mr_expression_scope){.specs = specs, .names = names};
	add_window("avg", (struct mr_window_spec){.fn = MR_WINDOW_WEIGHTED_AVERAGE,
						  .count = 16,
						  .parameter = NAN,
						  .weights = weights,
						  .weight_count = 1});
	add_window("next", (struct mr_window_spec){
				   .fn = MR_WINDOW_INTERPOLATE, .count = 8, .parameter = NAN});
	add_window("gone", (struct mr_window_spec){.fn = MR_WINDOW_MAX,
						   .extent = MR_WINDOW_BY_TIME,
						   .span_ms = 60000,
						   .parameter = NAN});
	add_window("big",
		   (struct mr_window_spec){.fn = MR_WINDOW_SUM, .count = 4, .parameter = NAN});
}

TestSuite(expression, .init = set_up);

static struct mr_expression *compile(const char *text)
{
	struct mr_expression *expression = NULL;

	cr_assert_eq(mr_expression_compile(text, &scope, &expression, &err), 0, "%s: %s", text,
		     err.what);
	return expression;
}

static enum mr_truth truth_of(const char *text)
{
	struct mr_expression *expression = compile(text);
	enum mr_truth truth = mr_expression_run(expression, &input);

	mr_expression_free(expression);
	return truth;
}

struct row {
	const char *text;
	enum mr_truth truth;
};

static void expect_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(truth_of(rows[i].text), rows[i].truth, "%s", rows[i].text);
}

Test(expression, compares)
{
	static const struct row rows[] = {
		{"value > 89", MR_TRUE},       {"value > 90", MR_FALSE},
		{"value >= 90", MR_TRUE},      {"value >= 90.5", MR_FALSE},
		{"value < 91", MR_TRUE},       {"value < 90", MR_FALSE},
		{"value <= 90", MR_TRUE},      {"value <= 89", MR_FALSE},
		{"value == 90", MR_TRUE},      {"value == 89", MR_FALSE},
		{"value != 89", MR_TRUE},      {"value != 90", MR_FALSE},
		{"avg > 85", MR_TRUE},	       {"next < avg", MR_FALSE},
		{"time > 1000", MR_TRUE},      {"time > 1001", MR_FALSE},
		{"90 == value", MR_TRUE},      {"value>89", MR_TRUE},
		{"  value\t> \n89 ", MR_TRUE}, {"value > 8.95e1", MR_TRUE},
		{"value > 895E-1", MR_TRUE},   {"value > 1e+2", MR_FALSE},
		{"0 == -0", MR_TRUE},
	};

	expect_rows(rows, mr_array_count(rows));
}

Test(expression, calculates)
{
	static const struct row rows[] = {
		{"1 + 2 * 3 == 7", MR_TRUE},
		{"(1 + 2) * 3 == 9", MR_TRUE},
		{"10 - 4 - 3 == 3", MR_TRUE},
		{"24 / 4 / 3 == 2", MR_TRUE},
		{"24 / (4 / 2) == 12", MR_TRUE},
		{"2 - -3 == 5", MR_TRUE},
		{"-value == 0 - 90", MR_TRUE},
		{"-(value + 1) == -91", MR_TRUE},
		{"-2 * -3 == 6", MR_TRUE},
		{"abs(value - next) == 1", MR_TRUE},
		{"abs(-3.5) == 3.5", MR_TRUE},
		{"sqrt(value + 10) == 10", MR_TRUE},
		{"log(1) == 0", MR_TRUE},
		{"exp(0) == 1", MR_TRUE},
		{"min(3, 1, 2) == 1", MR_TRUE},
		{"max(3, 1, 2) == 3", MR_TRUE},
		{"max(value, avg) == value", MR_TRUE},
		{"min(value, avg) == avg", MR_TRUE},
		{"max(min(1, 2), min(3, 4), 2) == 3", MR_TRUE},
		{"abs(value - next) > 4 * 0.25", MR_FALSE},
		{"5m == 300", MR_TRUE},
		{"5min == 300", MR_TRUE},
		{"250ms == 0.25", MR_TRUE},
		{"1h == 60m", MR_TRUE},
		{"1d == 24h", MR_TRUE},
		{"90s == 90", MR_TRUE},
		{"time - previous(time) < 2s", MR_TRUE},
		{"value - previous(value) == 5", MR_TRUE},
		{"previous(avg) == 80 and previous(next) == 82", MR_TRUE},
		{"previous(gone) == 7", MR_TRUE},
		{"(avg - previous(avg)) / previous(avg) == 0.1", MR_TRUE},
	};

	expect_rows(rows, mr_array_count(rows));
}

Test(expression, binds_not_before_and_before_or)
{
	static const struct row rows[] = {
		{"1 > 0 or 1 > 0 and 1 < 0", MR_TRUE}, {"(1 > 0 or 1 > 0) and 1 < 0", MR_FALSE},
		{"not 1 < 0 and 1 > 0", MR_TRUE},      {"not (1 < 0 or 1 > 0)", MR_FALSE},
		{"not 1 > 0 or 1 > 0", MR_TRUE},       {"1 > 0 and 2 > 0 and 3 < 0", MR_FALSE},
		{"1 < 0 or 2 < 0 or 3 > 0", MR_TRUE},  {"((value > 89))", MR_TRUE},
		{"(value) > (89)", MR_TRUE},	       {"((1 > 0) and (2 + 1) > 2)", MR_TRUE},
	};

	expect_rows(rows, mr_array_count(rows));
}

/* t, f and u in the texts stand for a true, a false and an unknown comparison. */
Test(expression, has_three_values)
{
	static const struct row rows[] = {
		{"t and t", MR_TRUE},	    {"t and f", MR_FALSE},	{"t and u", MR_UNKNOWN},
		{"f and t", MR_FALSE},	    {"f and f", MR_FALSE},	{"f and u", MR_FALSE},
		{"u and t", MR_UNKNOWN},    {"u and f", MR_FALSE},	{"u and u", MR_UNKNOWN},
		{"t or t", MR_TRUE},	    {"t or f", MR_TRUE},	{"t or u", MR_TRUE},
		{"f or t", MR_TRUE},	    {"f or f", MR_FALSE},	{"f or u", MR_UNKNOWN},
		{"u or t", MR_TRUE},	    {"u or f", MR_UNKNOWN},	{"u or u", MR_UNKNOWN},
		{"not t", MR_FALSE},	    {"not f", MR_TRUE},		{"not u", MR_UNKNOWN},
		{"not (u and f)", MR_TRUE}, {"not (u or t)", MR_FALSE},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		char text[128] = "";

		for (const char *at = rows[i].text; *at; at++) {
			bool alone = (at == rows[i].text || strchr(" (", at[-1])) &&
				     (!at[1] || strchr(" )", at[1]));
			char one[2] = {*at, '\0'};
			const char *part = !alone	? one
					   : *at == 't' ? "1 > 0"
					   : *at == 'f' ? "1 < 0"
					   : *at == 'u' ? "gone > 0"
							: one;

			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", part);
		}
		cr_assert_eq(truth_of(text), rows[i].truth, "%s", text);
	}
}

Test(expression, does_not_know_what_is_missing)
{
	static const struct row rows[] = {
		{"gone > 0", MR_UNKNOWN},
		{"gone < 0", MR_UNKNOWN},
		{"gone >= 0", MR_UNKNOWN},
		{"gone <= 0", MR_UNKNOWN},
		{"gone == gone", MR_UNKNOWN},
		{"gone != gone", MR_UNKNOWN},
		{"gone + 1 > 0", MR_UNKNOWN},
		{"0 * gone == 0", MR_UNKNOWN},
		{"abs(gone) > 0", MR_UNKNOWN},
		{"min(value, gone) < 100", MR_UNKNOWN},
		{"min(gone, value) < 100", MR_UNKNOWN},
		{"max(value, gone) > 0", MR_UNKNOWN},
		{"max(gone, value) > 0", MR_UNKNOWN},
		/* no result */
		{"value / 0 > 1", MR_UNKNOWN},
		{"value / (avg - avg) > 1", MR_UNKNOWN},
		{"0 / 0 == 0", MR_UNKNOWN},
		{"sqrt(-1) > 0", MR_UNKNOWN},
		{"sqrt(-0) == 0", MR_TRUE},
		{"log(0) < 0", MR_UNKNOWN},
		{"log(-1) < 0", MR_UNKNOWN},
		{"exp(gone) > 0", MR_UNKNOWN},
		/* too great is known to be great */
		{"big > 1e308", MR_TRUE},
		{"big < 0", MR_FALSE},
		{"-big < -1e308", MR_TRUE},
		{"exp(1000) > 1e308", MR_TRUE},
		{"exp(-1000) == 0", MR_TRUE},
		{"log(big) > 1e308", MR_TRUE},
		{"1e308 * 10 > 1e308", MR_TRUE},
		{"big - big == 0", MR_UNKNOWN},
		{"0 * big == 0", MR_UNKNOWN},
		{"big == big", MR_TRUE},
	};

	expect_rows(rows, mr_array_count(rows));
}

Test(expression, knows_no_record_before_the_first)
{
	struct mr_expression_input first = input;
	struct mr_expression *expression = compile("previous(avg) > 0 or previous(value) > 0");

	cr_assert(mr_expression_needs_previous(expression));
	cr_assert_eq(mr_expression_run(expression, &first), MR_TRUE);
	first.previous_results = NULL;
	first.previous_value = NAN;
	first.previous_time_s = NAN;
	cr_assert_eq(mr_expression_run(expression, &first), MR_UNKNOWN);
	mr_expression_free(expression);
	expression = compile("avg > 0");
	cr_assert(!mr_expression_needs_previous(expression));
	mr_expression_free(expression);
	expression = compile("time > previous(time)");
	cr_assert_eq(mr_expression_run(expression, &first), MR_UNKNOWN);
	mr_expression_free(expression);
}

/* Condition, name and spec of the one window that it makes. */
Test(expression, makes_windows)
{
	static const struct {
		const char *text;
		const char *name;
		struct mr_window_spec spec;
	} rows[] = {
		{"stddev(32) > 0", "stddev(32)", {.fn = MR_WINDOW_STDDEV, .count = 32}},
		{"mean( 60s ) > 0",
		 "mean(60s)",
		 {.fn = MR_WINDOW_MEAN, .extent = MR_WINDOW_BY_TIME, .span_ms = 60000}},
		{"quantile(0.9,128) > 0",
		 "quantile(0.9, 128)",
		 {.fn = MR_WINDOW_QUANTILE, .count = 128, .parameter = 0.9}},
		{"ewma(0.25 , 5m) > 0",
		 "ewma(0.25, 5m)",
		 {.fn = MR_WINDOW_EWMA,
		  .extent = MR_WINDOW_BY_TIME,
		  .span_ms = 300000,
		  .parameter = 0.25}},
		{"max(16) > 0", "max(16)", {.fn = MR_WINDOW_MAX, .count = 16}},
		{"min(65536) > 0", "min(65536)", {.fn = MR_WINDOW_MIN, .count = 65536}},
		{"max(250ms) > 0",
		 "max(250ms)",
		 {.fn = MR_WINDOW_MAX, .extent = MR_WINDOW_BY_TIME, .span_ms = 250}},
		{"interpolate(4) > 0", "interpolate(4)", {.fn = MR_WINDOW_INTERPOLATE, .count = 4}},
		{"extrapolate(5s, 16) > 0",
		 "extrapolate(5s, 16)",
		 {.fn = MR_WINDOW_EXTRAPOLATE, .count = 16, .parameter = 5000}},
		{"interpolate(-2s, 1m) > 0",
		 "interpolate(-2s, 1m)",
		 {.fn = MR_WINDOW_INTERPOLATE,
		  .extent = MR_WINDOW_BY_TIME,
		  .span_ms = 60000,
		  .parameter = -2000}},
		{"interpolate(1m) > 0",
		 "interpolate(1m)",
		 {.fn = MR_WINDOW_INTERPOLATE, .extent = MR_WINDOW_BY_TIME, .span_ms = 60000}},
		{"max(stddev(9), 1) > 0", "stddev(9)", {.fn = MR_WINDOW_STDDEV, .count = 9}},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		const struct mr_window_spec *spec = &specs[4];

		set_up();
		mr_expression_free(compile(rows[i].text));
		cr_assert_eq(scope.count, 5, "%s", rows[i].text);
		cr_assert_str_eq(names[4], rows[i].name);
		cr_assert_eq(spec->fn, rows[i].spec.fn, "%s", rows[i].text);
		cr_assert_eq(spec->extent, rows[i].spec.extent, "%s", rows[i].text);
		cr_assert_eq(spec->count, rows[i].spec.count, "%s", rows[i].text);
		cr_assert_eq(spec->span_ms, rows[i].spec.span_ms, "%s", rows[i].text);
		cr_assert_null(spec->weights);
		if (rows[i].spec.parameter != 0)
			cr_assert_eq(spec->parameter, rows[i].spec.parameter, "%s", rows[i].text);
		else
			cr_assert(isnan(spec->parameter), "%s", rows[i].text);
	}
}

Test(expression, makes_each_window_once)
{
	mr_expression_free(compile("abs(value - next) > 4 * stddev(32) and stddev(32) > 1"));
	cr_assert_eq(scope.count, 5);
	mr_expression_free(compile("stddev( 32 ) > 2 or mean(60s) > 1 or mean(1m) > 2"));
	cr_assert_eq(scope.count, 6, "a minute is sixty seconds");
	mr_expression_free(compile("sum(4) > 0 and max(60s) > 0 and interpolate(8) > 0"));
	cr_assert_eq(scope.count, 6, "the rule's own windows are the same");
	mr_expression_free(
		compile("interpolate(1s, 8) > 0 and quantile(0.5, 8) > quantile(0.6, 8)"));
	cr_assert_eq(scope.count, 9);
	mr_expression_free(compile("sum(5) > 0 or sum(4s) > 0"));
	cr_assert_eq(scope.count, 11);
}

/* Results of made windows are looked up by their place. */
Test(expression, looks_up_made_windows)
{
	cr_assert_eq(truth_of("stddev(32) == 5 and mean(60s) == 6 and median(3) == 7"), MR_TRUE);
}

Test(expression, has_a_scope_of_32_windows)
{
	struct mr_expression *expression;

	for (uint32_t i = scope.count; i < MR_WINDOWS_MAX; i++) {
		char text[32];

		snprintf(text, sizeof(text), "mean(%u) > 0", i);
		mr_expression_free(compile(text));
	}
	cr_assert_eq(scope.count, MR_WINDOWS_MAX);
	mr_expression_free(compile("mean(31) > 0 and sum(4) > 0"));
	cr_assert_eq(mr_expression_compile("mean(32) > 0", &scope, &expression, &err), -EINVAL);
	cr_assert_str_eq(err.what, "column 1: more than 32 windows, the rule's own included");
}

Test(expression, leaves_the_scope_alone_when_it_refuses)
{
	struct mr_expression *expression;

	cr_assert_eq(mr_expression_compile("mean(32) > mean(33) +", &scope, &expression, &err),
		     -EINVAL);
	cr_assert_eq(scope.count, 4);
}

Test(expression, reads_for)
{
	static const struct {
		const char *text;
		uint32_t count;
		int64_t ms;
	} rows[] = {
		{"avg > 90", 1, 0},
		{"avg > 90 for 3", 3, 0},
		{"avg > 90 for 1", 1, 0},
		{"avg > 90 for 1000000000", 1000000000, 0},
		{"avg > 90 for 10s", 1, 10000},
		{"avg > 90 for 250ms", 1, 250},
		{"avg > 90 for 5m", 1, 300000},
		{"avg > 90 for 2h", 1, 7200000},
		{"avg > 90 and value > 1 for 7d", 1, 604800000},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		struct mr_expression *expression = compile(rows[i].text);

		cr_assert_eq(mr_expression_for_count(expression), rows[i].count, "%s",
			     rows[i].text);
		cr_assert_eq(mr_expression_for_ms(expression), rows[i].ms, "%s", rows[i].text);
		mr_expression_free(expression);
	}
}

Test(expression, knows_what_is_constant)
{
	static const struct row rows[] = {
		{"1 > 0", MR_TRUE},
		{"not (2 * 3 < sqrt(2))", MR_TRUE},
		{"60s == 1m for 3", MR_TRUE},
		{"value > 0", MR_FALSE},
		{"1 > 0 or avg > 1", MR_FALSE},
		{"previous(value) > 0", MR_FALSE},
		{"mean(3) > 0", MR_FALSE},
		{"time > 0", MR_FALSE},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		struct mr_expression *expression = compile(rows[i].text);

		cr_assert_eq(mr_expression_is_constant(expression), rows[i].truth == MR_TRUE, "%s",
			     rows[i].text);
		mr_expression_free(expression);
	}
}

/* Against trying it out: what is said to be implied holds for every number. */
Test(expression, implication_holds_for_every_number)
{
	static const char *const signs[] = {"<", "<=", ">", ">=", "==", "!="};
	uint32_t implied = 0;

	for (size_t i = 0; i < 6 * 3 * 6 * 3; i++) {
		struct mr_expression *a, *b;
		char text[64];
		bool holds = true;

		snprintf(text, sizeof(text), "value %s %zu", signs[i % 6], i / 6 % 3);
		a = compile(text);
		snprintf(text, sizeof(text), "value %s %zu", signs[i / 18 % 6], i / 108);
		b = compile(text);
		for (double x = -1; x <= 3; x += 0.5) {
			struct mr_expression_input one = {.value = x};

			if (mr_expression_run(a, &one) == MR_TRUE &&
			    mr_expression_run(b, &one) != MR_TRUE)
				holds = false;
		}
		if (mr_expression_implies(a, b)) {
			cr_assert(holds, "%zu", i);
			implied++;
		} else if (strcmp(signs[i / 18 % 6], "!=") != 0) {
			cr_assert(!holds, "%zu", i); /* "!=" is not looked at */
		}
		mr_expression_free(a);
		mr_expression_free(b);
	}
	cr_assert_gt(implied, 50);
}

Test(expression, implication_wants_the_same_expression)
{
	static const struct {
		const char *a, *b;
		bool implied;
	} rows[] = {
		{"avg > 90 for 3", "avg > 90", true},
		{"avg > 90", "avg > 85", true},
		{"avg > 90", "next > 85", false},
		{"avg + 1 > 90", "avg + 1 > 85", true},
		{"avg + 1 > 90", "avg + 2 > 85", false},
		{"avg > 90", "avg < 85", false},
		{"avg > 90", "avg > 85 and value > 1", false},
		{"avg > 90 or value > 1", "avg > 90 or value > 0", false},
		{"value > avg", "value > next", false},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		struct mr_expression *a = compile(rows[i].a);
		struct mr_expression *b = compile(rows[i].b);

		cr_assert_eq(mr_expression_implies(a, b), rows[i].implied, "%s | %s", rows[i].a,
			     rows[i].b);
		mr_expression_free(a);
		mr_expression_free(b);
	}
}

/* The distance in units of the last place. */
static double places(double got, double wanted)
{
	double unit = nextafter(fabs(wanted), INFINITY) - fabs(wanted);

	return fabs(got - wanted) / unit;
}

Test(expression, logarithm_is_that_of_the_c_library)
{
	for (double x = 0x1p-1070; x < DBL_MAX / 1.5; x *= 1.37)
		cr_assert_leq(places(mr_expression_log(x), log(x)), 2, "%a: %a %a", x,
			      mr_expression_log(x), log(x));
	for (double x = 0.5; x < 2; x += 0x1.23p-12)
		cr_assert_leq(places(mr_expression_log(x), log(x)), 2, "%a: %a %a", x,
			      mr_expression_log(x), log(x));
	cr_assert_eq(mr_expression_log(1), 0);
	cr_assert(isnan(mr_expression_log(NAN)));
}

Test(expression, exponential_is_that_of_the_c_library)
{
	for (double x = -707; x < 709.7; x += 0.173)
		cr_assert_leq(places(mr_expression_exp(x), exp(x)), 3, "%a: %a %a", x,
			      mr_expression_exp(x), exp(x));
	for (double x = -745; x < -707; x += 0.31) /* below the normal numbers */
		cr_assert_float_eq(mr_expression_exp(x), exp(x), 0x1p-1073);
	cr_assert_eq(mr_expression_exp(709.9), INFINITY);
	cr_assert_eq(mr_expression_exp(-800), 0);
	cr_assert_eq(mr_expression_exp(INFINITY), INFINITY);
	cr_assert_eq(mr_expression_exp(-INFINITY), 0);
}
