/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: lines are read as InfluxDB documents them, escapes and suffixes and all. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "parse.h"

static char key[MR_PARSE_KEY_MAX + 1];
static struct mr_parsed parsed;

/* The record's memory ends with it. */
static enum mr_parse_reason parse(const char *key_name, const char *time_name,
				  const char *value_name, const char *text)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_LINE_PROTOCOL};
	size_t bytes = strlen(text);
	char *copy = malloc(bytes ? bytes : 1);
	struct mr_message message = {.key = "own",
				     .key_bytes = 3,
				     .timestamp_ms = 1234,
				     .value = copy,
				     .value_bytes = (int32_t)bytes};
	enum mr_parse_reason reason;
	struct mr_parser *parser;

	mr_assert(copy);
	memcpy(copy, text, bytes);
	snprintf(spec.key, sizeof(spec.key), "%s", key_name);
	snprintf(spec.time, sizeof(spec.time), "%s", time_name);
	snprintf(spec.value, sizeof(spec.value), "%s", value_name);
	cr_assert_eq(mr_parser_new(&spec, &parser, NULL), 0);
	reason = mr_parser_parse(parser, &message, &parsed);
	if (reason == MR_PARSE_OK) {
		memcpy(key, parsed.key, (size_t)parsed.key_bytes);
		key[parsed.key_bytes] = '\0';
	}
	cr_assert_leq(parsed.where, bytes);
	mr_parser_free(parser);
	free(copy);
	return reason;
}

static double value_of(const char *name, const char *text)
{
	cr_assert_eq(parse("", "", name, text), MR_PARSE_OK, "%s", text);
	cr_assert_str_eq(key, "own");
	cr_assert_eq(parsed.time_ms, 1234);
	return parsed.value;
}

static const char *key_of(const char *name, const char *text)
{
	return parse(name, "", "f", text) == MR_PARSE_OK ? key : NULL;
}

Test(parse_line, a_whole_line)
{
	static const char line[] =
		"weather,location=us-midwest,season=summer temperature=82.5,humidity=71i "
		"1465839830100400200\n";

	cr_assert_eq(parse("location", "time", "temperature", line), MR_PARSE_OK);
	cr_assert_str_eq(key, "us-midwest");
	cr_assert_eq(parsed.time_ms, INT64_C(1465839830100));
	cr_assert_eq(parsed.value, 82.5);
	cr_assert_eq(parse("measurement", "", "humidity", line), MR_PARSE_OK);
	cr_assert_str_eq(key, "weather");
	cr_assert_eq(parsed.time_ms, 1234);
	cr_assert_eq(parsed.value, 71);
}

Test(parse_line, values_have_types)
{
	cr_assert_eq(value_of("f", "m f=1"), 1);
	cr_assert_eq(value_of("f", "m f=-1.5e2"), -150);
	cr_assert_eq(value_of("f", "m f=1.e+78"), 1e78);
	cr_assert_eq(value_of("f", "m f=-12i"), -12);
	cr_assert_eq(value_of("f", "m f=12u"), 12);
	cr_assert_eq(value_of("f", "m f=18446744073709551615u"), 18446744073709551615.0);
	for (const char *const *word =
		     (const char *const[]){"t", "T", "true", "True", "TRUE", NULL};
	     *word; word++) {
		char line[32];

		snprintf(line, sizeof(line), "m f=%s,g=1", *word);
		cr_assert_eq(value_of("f", line), 1);
	}
	cr_assert_eq(value_of("f", "m f=F"), 0);
	cr_assert_eq(value_of("f", "m f=false\r\n"), 0);
	cr_assert(isnan(value_of("f", "m g=1")), "an absent field is missing");
	cr_assert_eq(value_of("tag", "m,tag=5 f=1"), 5, "a tag may say a number");
	cr_assert_eq(parse("", "", "f", "m f=\"1\""), MR_PARSE_NOT_NUMBER);
	cr_assert_eq(parsed.where, 5);
	cr_assert_eq(parse("", "", "tag", "m,tag=x f=1"), MR_PARSE_NOT_NUMBER);
}

Test(parse_line, escapes)
{
	cr_assert_str_eq(key_of("measurement", "a\\,b\\ c=d f=1"), "a,b c=d");
	cr_assert_str_eq(key_of("tag", "m,tag=a\\,b\\=c\\ d f=1"), "a,b=c d");
	cr_assert_str_eq(key_of("t g", "m,t\\ g=x f=1"), "x");
	cr_assert_str_eq(key_of("tag", "m,tag=C:\\dir\\ x f=1"), "C:\\dir x");
	cr_assert_str_eq(key_of("tag", "m,tag=C:\\dir f=1"), "C:\\dir");
	cr_assert_str_eq(key_of("s", "m s=\"a \\\"b\\\" \\\\ \\n,=\",f=1"), "a \"b\" \\ \\n,=");
	cr_assert_str_eq(key_of("s", "m s=\"two\nlines\",f=1"), "two\nlines");
	cr_assert_str_eq(key_of("s", "m s=\"\",f=1"), "");
	cr_assert_eq(value_of("a=b", "m a\\=b=3"), 3);
}

Test(parse_line, keys)
{
	cr_assert_str_eq(key_of("id", "m id=12i,f=1"), "12", "without its suffix");
	cr_assert_str_eq(key_of("id", "m id=1.50,f=1"), "1.50");
	cr_assert_null(key_of("id", "m id=true,f=1"));
	cr_assert_null(key_of("id", "m f=1"));
	cr_assert_str_eq(key_of("x", "m,x=tag x=\"field\",f=1"), "field",
			 "the field hides the tag");
	cr_assert_str_eq(key_of("x", "m x=\"a\",x=\"b\",f=1"), "b", "the last counts");
	cr_assert_str_eq(key_of("measurement", "m,measurement=x f=1"), "m");
}

Test(parse_line, times)
{
	cr_assert_eq(parse("", "time", "f", "m f=1"), MR_PARSE_BAD_TIME);
	cr_assert_eq(parse("", "time", "f", "m f=1 "), MR_PARSE_BAD_TIME);
	cr_assert_eq(parse("", "time", "f", "m,time=5 f=1,time=5"), MR_PARSE_BAD_TIME);
	cr_assert_eq(parse("", "time", "f", "m f=1   1700000000  \r\n"), MR_PARSE_OK);
	cr_assert_eq(parsed.time_ms, INT64_C(1700000000000));
	cr_assert_eq(parse("", "time", "f", "m f=1 -1700000000"), MR_PARSE_OK);
	cr_assert_eq(parsed.time_ms, INT64_C(-1700000000000));
	cr_assert_eq(parse("", "at", "f", "m f=1,at=\"2014-02-14T14:27:00Z\" 5"), MR_PARSE_OK);
	cr_assert_eq(parsed.time_ms, INT64_C(1392388020000));
}

Test(parse_line, what_is_no_line_is_refused)
{
	static const struct {
		const char *text;
		uint32_t where;
	} cases[] = {
		{"", 0},
		{" f=1", 0},
		{"# comment", 0},
		{"m", 1},
		{"m ", 2},
		{"m,tag f=1", 5},
		{"m,=x f=1", 2},
		{"m,tag= f=1", 6},
		{"m f", 3},
		{"m f=", 4},
		{"m f=x", 4},
		{"m f=1,", 6},
		{"m f=1x", 5},
		{"m f=\"x", 6},
		{"m f=1.5i", 4},
		{"m f=-1u", 4},
		{"m f=1 1.5", 6},
		{"m f=1 5 x", 8},
		{"m f=1\nm f=2", 6},
		{"m f=1 1e5", 6},
		{"m f=1 5\n\n", 8},
		{"m =1", 2},
		{"m f=tru", 4},
		{"m\nf=1", 1},
		{"m f=1,\xff", 7},
		{"m,t=a,f=1", 9},
	};

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		cr_assert_eq(parse("", "", "f", cases[i].text), MR_PARSE_MALFORMED, "%s",
			     cases[i].text);
		cr_assert_eq(parsed.where, cases[i].where, "%s: %u", cases[i].text, parsed.where);
	}
}

Test(parse_line, names_beyond_any_path_are_skipped)
{
	char line[600];
	size_t at = 2;

	memcpy(line, "m ", 2);
	memset(line + at, 'x', 400);
	memcpy(line + at + 100, "\\ ", 2);
	snprintf(line + at + 400, 100, "=2,f=1");
	cr_assert_eq(value_of("f", line), 1);
}
