/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a condition that makes no sense is refused with its column, what was found, what
 * was expected, and the nearest word; whatever its length and depth.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "expression.h"

static struct mr_window_spec specs[MR_WINDOWS_MAX];
static char names[MR_WINDOWS_MAX][64];
static struct mr_expression_scope scope;
static struct mr_error err;

static void set_up(void)
{
	scope = (struct mr_expression_scope){.specs = specs, .names = names, .count = 1};
	specs[0] = (struct mr_window_spec){.fn = MR_WINDOW_MEAN, .count = 16};
	snprintf(names[0], sizeof(names[0]), "average");
}

TestSuite(expression_refusals, .init = set_up);

static int compile(const char *text)
{
	struct mr_expression *expression = NULL;
	int r = mr_expression_compile(text, &scope, &expression, &err);

	mr_expression_free(expression);
	return r;
}

/* In the order of the columns at which parsing stops. */
static const struct {
	const char *text;
	const char *what;
	const char *hint; /* NULL: none */
} refusals[] = {
	/* nothing, or the end too early */
	{"", "column 1: found the end, expected a number, a name, a function or '('", NULL},
	{"   ", "column 4: found the end, expected a number, a name, a function or '('", NULL},
	{"value >", "column 8: found the end, expected a number, a name, a function or '('", NULL},
	{"value > 1 and", "column 14: found the end, expected a number, a name, a function or '('",
	 NULL},
	{"not", "column 4: found the end, expected a number, a name, a function or '('", NULL},
	{"(value > 1", "column 11: found the end, expected ')'", NULL},
	{"abs(value", "column 10: found the end, expected ')'", NULL},
	{"abs(value, 1) > 0", "column 10: found ',', expected ')'", NULL},
	/* something behind the end */
	{"value > 1)", "column 10: found ')', expected an operator or the end", NULL},
	{"value > 1 value", "column 11: found 'value', expected an operator or the end", NULL},
	{"value > 1 for 3 for 3", "column 17: found 'for', expected an operator or the end", NULL},
	{"value 1", "column 7: found '1', expected an operator or the end", NULL},
	/* names */
	{"valeu > 1", "column 1: there is no name 'valeu'", "did you mean 'value'?"},
	{"1 < averge", "column 5: there is no name 'averge'", "did you mean 'average'?"},
	{"Value > 1", "column 1: there is no name 'Value'", "did you mean 'value'?"},
	{"temperature > 1", "column 1: there is no name 'temperature'",
	 "names are value, time, and those of the rule's windows"},
	{"value > 1 AND value < 2", "column 11: found 'AND', expected an operator or the end",
	 NULL},
	{"sttdev(3) > 1", "column 1: there is no function 'sttdev'", "did you mean 'stddev'?"},
	{"velocity(3) > 1", "column 1: there is no function 'velocity'",
	 "docs/RULES.md lists the functions"},
	{"average(3) > 1", "column 1: there is no function 'average'",
	 "docs/RULES.md lists the functions"},
	{"stddev > 1", "column 1: 'stddev' is a function, expected '(' behind it", NULL},
	{"abs > 1", "column 1: 'abs' is a function, expected '(' behind it", NULL},
	/* symbols of other languages */
	{"value = 1", "column 7: found '=', expected an operator or the end", "did you mean '=='?"},
	{"value <> 1", "column 7: found '<>', expected an operator or the end",
	 "did you mean '!='?"},
	{"value > 1 && value < 2", "column 11: found '&&', expected an operator or the end",
	 "did you mean 'and'?"},
	{"value > 1 || value < 2", "column 11: found '||', expected an operator or the end",
	 "did you mean 'or'?"},
	{"!(value > 1)", "column 1: found '!', expected a number, a name, a function or '('",
	 "did you mean 'not'?"},
	{"value % 2 == 0", "column 7: found '%', expected an operator or the end", NULL},
	{"value \xe2\x89\xa5 2", "column 7: found '\xe2\x89\xa5', expected an operator or the end",
	 NULL},
	{"\xc3\xa4 > 2", "column 1: found '\xc3\xa4', expected a number, a name, a function or '('",
	 NULL},
	{"1 > 2 \x1b[2J", "column 7: found the byte 0x1b, expected an operator or the end", NULL},
	{".5 > value", "column 1: found '.', expected a number, a name, a function or '('", NULL},
	{"+1 > value", "column 1: found '+', expected a number, a name, a function or '('", NULL},
	{"--1 > value", "column 2: found '-', expected a number, a name, a function or '('", NULL},
	{"not not 1 > 2", "column 5: found 'not', expected a number, a name, a function or '('",
	 NULL},
	/* numbers and times */
	{"value > 3x", "column 9: '3x' is no number and no time",
	 "write a time as a whole number with ms, s, m, h or d, as in 90s"},
	{"value > 0x10", "column 9: '0x10' is no number and no time",
	 "write a time as a whole number with ms, s, m, h or d, as in 90s"},
	{"value > 1.5s", "column 9: '1.5s' is no number and no time",
	 "write a time as a whole number with ms, s, m, h or d, as in 90s"},
	{"value > 99999999d", "column 9: '99999999d' is no number and no time",
	 "write a time as a whole number with ms, s, m, h or d, as in 90s"},
	{"value > 5 s", "column 11: found 's', expected an operator or the end", NULL},
	/* numbers and conditions */
	{"value", "column 1: found a number, expected a condition", "compare it, as in '... > 0'"},
	{"value + 1", "column 1: found a number, expected a condition",
	 "compare it, as in '... > 0'"},
	{"value > 1 and average", "column 15: found a number, expected a condition",
	 "compare it, as in '... > 0'"},
	{"average or value > 1", "column 1: found a number, expected a condition",
	 "compare it, as in '... > 0'"},
	{"not value", "column 5: found a number, expected a condition",
	 "compare it, as in '... > 0'"},
	{"(value > 1) + 1 > 2", "column 1: found a condition, expected a number", NULL},
	{"1 + (value > 1) > 2", "column 5: found a condition, expected a number", NULL},
	{"2 * (value > 1) > 2", "column 5: found a condition, expected a number", NULL},
	{"-(value > 1) > 2", "column 1: found a condition, expected a number", NULL},
	{"abs((value > 1)) > 2", "column 5: found a condition, expected a number", NULL},
	{"min(value, (1 > 2)) > 2", "column 12: found a condition, expected a number", NULL},
	{"(value > 1) == (value > 2)", "column 1: found a condition, expected a number", NULL},
	{"0 < value < 9", "column 11: comparisons do not chain",
	 "join two with 'and', as in '0 < value and value < 9'"},
	{"abs(value > 1) > 0", "column 11: found '>', expected ')'", NULL},
	/* windows */
	{"stddev() > 0",
	 "column 8: found ')', expected how many values stddev looks at, as 16 or 60s", NULL},
	{"stddev(value) > 0",
	 "column 8: found 'value', expected how many values stddev looks at, as 16 or 60s", NULL},
	{"stddev(0) > 0", "column 8: stddev of 0 values, expected 1 to 65536", NULL},
	{"stddev(65537) > 0", "column 8: stddev of 65537 values, expected 1 to 65536", NULL},
	{"stddev(2.5) > 0", "column 8: stddev of 2.5 values, expected 1 to 65536", NULL},
	{"stddev(0s) > 0",
	 "column 8: found '0s', expected how many values stddev looks at, as 16 or 60s", NULL},
	{"stddev(3, 4) > 0", "column 9: found ',', expected ')'", NULL},
	{"quantile(32) > 0",
	 "column 10: found '32', expected quantile(quantile, how many): a "
	 "number from 0 to 1 first",
	 NULL},
	{"quantile(0.5) > 0",
	 "column 13: found ')', expected quantile(quantile, how many): a "
	 "number from 0 to 1 first",
	 NULL},
	{"ewma(60s, 3) > 0",
	 "column 6: found '60s', expected ewma(alpha, how many): a number from 0 to 1 first", NULL},
	{"quantile(0.5, 0) > 0", "column 15: quantile of 0 values, expected 1 to 65536", NULL},
	{"interpolate(-5s) > 0", "column 13: found '-', expected a time and ','", NULL},
	{"interpolate(5, 8) > 0", "column 14: found ',', expected ')'", NULL},
	{"weighted_average(16) > 0", "column 1: weighted_average needs weights",
	 "give it a name in 'windows', and say that"},
	{"max(value) > 0", "column 1: max of one number",
	 "give it more, as max(value, 0), or say of how many values, as max(16) or max(60s)"},
	{"max(1 2) > 0", "column 7: found '2', expected ','", NULL},
	{"max(1, 2 3) > 0", "column 10: found '3', expected ',' or ')'", NULL},
	{"quantile(0.500000000000000000000000000000000000000000000000000, 3) > 0",
	 "column 1: a window is written with more than 62 letters", NULL},
	/* the record before */
	{"previous() > 0", "column 10: found ')', expected value, time or a window's name", NULL},
	{"previous(1) > 0", "column 10: found '1', expected value, time or a window's name", NULL},
	{"previous(valu) > 0", "column 10: there is no name 'valu'", "did you mean 'value'?"},
	{"previous(previous(value)) > 0",
	 "column 10: found 'previous', expected value, time or a window's name",
	 "previous() goes one record back: give what lies further back a window, as in 'last: 3'"},
	{"previous(value + 1) > 0", "column 16: found '+', expected ')'",
	 "previous() takes one name; give a window one in 'windows'"},
	/* for */
	{"value > 1 for",
	 "column 14: found the end, expected how many records or how long, as "
	 "'for 3' or 'for 10s'",
	 NULL},
	{"value > 1 for 0",
	 "column 15: found '0', expected how many records or how long, as 'for "
	 "3' or 'for 10s'",
	 NULL},
	{"value > 1 for 0s",
	 "column 15: found '0s', expected how many records or how long, as "
	 "'for 3' or 'for 10s'",
	 NULL},
	{"value > 1 for 1.5",
	 "column 15: found '1.5', expected how many records or how long, as "
	 "'for 3' or 'for 10s'",
	 NULL},
	{"value > 1 for 1000000001",
	 "column 15: found '1000000001', expected how many records or "
	 "how long, as 'for 3' or 'for 10s'",
	 NULL},
	{"value > 1 for -3",
	 "column 15: found '-', expected how many records or how long, as "
	 "'for 3' or 'for 10s'",
	 NULL},
	{"value > 1 for 3 and value < 2", "column 17: found 'and', expected an operator or the end",
	 NULL},
	{"(value > 1 for 3)", "column 12: found 'for', expected ')'", NULL},
};

Test(expression_refusals, say_where_and_what)
{
	for (size_t i = 0; i < mr_array_count(refusals); i++) {
		set_up();
		err = (struct mr_error){.code = 0};
		cr_assert_eq(compile(refusals[i].text), -EINVAL, "taken: %s", refusals[i].text);
		cr_assert_eq(err.code, -EINVAL);
		cr_assert_str_eq(err.what, refusals[i].what);
		cr_assert_str_eq(err.hint, refusals[i].hint ? refusals[i].hint : "", "%s",
				 refusals[i].text);
		cr_assert_eq(scope.count, 1);
	}
}

/* 'before' and 'after' so many times around 'middle'. */
static char *nested(const char *before, const char *middle, const char *after, size_t times)
{
	size_t bytes = times * (strlen(before) + strlen(after)) + strlen(middle) + 1;
	char *text = malloc(bytes);
	size_t used = 0;

	for (size_t i = 0; i < times; i++)
		used += (size_t)snprintf(text + used, bytes - used, "%s", before);
	used += (size_t)snprintf(text + used, bytes - used, "%s", middle);
	for (size_t i = 0; i < times; i++)
		used += (size_t)snprintf(text + used, bytes - used, "%s", after);
	return text;
}

static void expect_nested(const char *before, const char *middle, const char *after, size_t times,
			  const char *what)
{
	char *text = nested(before, middle, after, times);
	int r = compile(text);

	cr_assert_eq(r, what ? -EINVAL : 0, "%s: %s", text, err.what);
	if (what)
		cr_assert_neq(strstr(err.what, what), NULL, "%s", err.what);
	free(text);
}

Test(expression_refusals, bound_depth_and_length)
{
	expect_nested("(", "value > 1", ")", 32, NULL);
	expect_nested("(", "value > 1", ")", 33, "column 34: too deeply nested");
	expect_nested("(", "value > 1", ")", 100000, "too deeply nested");
	expect_nested("abs(", "value", ") > 1", 33, "too deeply nested");
	expect_nested("not (", "value > 1", ")", 32, NULL);
	expect_nested("not (", "value > 1", ")", 33, "too deeply nested");
	expect_nested("1 + (", "value", ")", 31, "expected a condition");
	expect_nested("0 < (", "value > 1", ")", 30, "expected a number");
	expect_nested("0 < (", "value > 1", ")", 31, "too deeply nested");
	expect_nested("max(1, ", "value", ")", 31, "expected a condition");
	expect_nested("max(1, ", "value", ")", 32, "too deeply nested");
	expect_nested("value > 1 and ", "value > 1", "", 62, NULL);
	expect_nested("value > 1 and ", "value > 1", "", 63, NULL);
	expect_nested("value > 1 and ", "value > 1", "", 64, "more than 256 operations");
	expect_nested("value > 1 or (", "value > 1", ")", 31, NULL);
	expect_nested("", "1 > 0", " or 1 > 0", 100000, "more than 256 operations");
}

Test(expression_refusals, show_long_words_short)
{
	char text[4096];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_eq(compile(text), -EINVAL);
	cr_assert_str_eq(err.what, "column 1: there is no name "
				   "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'");
	memset(text, '7', sizeof(text) - 1);
	cr_assert_eq(compile(text), -EINVAL);
	cr_assert_str_eq(err.what, "column 1: found '7777777777777777777777777777777777777777...', "
				   "expected a number, a name, a function or '('");
}

Test(expression_refusals, need_no_error_to_fill)
{
	struct mr_expression *expression = NULL;

	for (size_t i = 0; i < mr_array_count(refusals); i++)
		cr_assert_eq(mr_expression_compile(refusals[i].text, &scope, &expression, NULL),
			     -EINVAL);
	cr_assert_null(expression);
}

Test(expression_refusals, of_names)
{
	static const struct {
		const char *name;
		const char *what; /* NULL: taken */
	} rows[] = {
		{"avg", NULL},
		{"_", NULL},
		{"Peak_2", NULL},
		{"abcdefghijklmnopqrstuvwxyz_1234", NULL},
		{"abcdefghijklmnopqrstuvwxyz_12345",
		 "'abcdefghijklmnopqrstuvwxyz_12345' is no name, expected 1 to 31 of a-z A-Z 0-9 "
		 "_"},
		{"", "'' is no name, expected 1 to 31 of a-z A-Z 0-9 _"},
		{"2nd", "'2nd' is no name, expected 1 to 31 of a-z A-Z 0-9 _"},
		{"a-b", "'a-b' is no name, expected 1 to 31 of a-z A-Z 0-9 _"},
		{"a b", "'a b' is no name, expected 1 to 31 of a-z A-Z 0-9 _"},
		{"value", "'value' means something in conditions already"},
		{"time", "'time' means something in conditions already"},
		{"previous", "'previous' means something in conditions already"},
		{"sqrt", "'sqrt' means something in conditions already"},
		{"stddev", "'stddev' means something in conditions already"},
		{"max", "'max' means something in conditions already"},
		{"and", "'and' means something in conditions already"},
		{"for", "'for' means something in conditions already"},
	};

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		cr_assert_eq(mr_expression_check_name(rows[i].name, &err),
			     rows[i].what ? -EINVAL : 0, "%s", rows[i].name);
		if (rows[i].what)
			cr_assert_str_eq(err.what, rows[i].what);
	}
}
