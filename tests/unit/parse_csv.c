/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a row is read as RFC 4180 has it, quotes and all, and what is no single row is
 * refused. Here is also what CSV shares with records that are one number: how a word becomes one.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "parse.h"

/* What came out of a record whose memory ends with it. */
struct outcome {
	enum mr_parse_reason reason;
	struct mr_parsed parsed;
	char key[MR_PARSE_KEY_MAX + 1];
};

static struct outcome parse_bytes(const struct mr_parse_spec *spec, const void *bytes, size_t count)
{
	struct outcome outcome;
	struct mr_parser *parser;
	char *copy = malloc(count ? count : 1);
	struct mr_message message = {.key = "own",
				     .key_bytes = 3,
				     .timestamp_ms = 1234,
				     .value = copy,
				     .value_bytes = (int32_t)count};

	mr_assert(copy);
	memcpy(copy, bytes, count);
	cr_assert_eq(mr_parser_new(spec, &parser, NULL), 0);
	outcome.reason = mr_parser_parse(parser, &message, &outcome.parsed);
	if (outcome.reason == MR_PARSE_OK) {
		memcpy(outcome.key, outcome.parsed.key, (size_t)outcome.parsed.key_bytes);
		outcome.key[outcome.parsed.key_bytes] = '\0';
	}
	cr_assert_leq(outcome.parsed.where, count);
	mr_parser_free(parser);
	free(copy);
	return outcome;
}

static struct outcome parse(const struct mr_parse_spec *spec, const char *text)
{
	return parse_bytes(spec, text, strlen(text));
}

static const struct mr_parse_spec named = {
	.format = MR_PARSE_CSV,
	.key = "machine",
	.time = "ts",
	.value = "temp",
	.name_count = 4,
	.names = {"ts", "machine", "temp", "note"},
};
static const struct mr_parse_spec second = {.format = MR_PARSE_CSV, .value = "2"};

Test(parse_csv, columns_by_name)
{
	struct outcome got = parse(&named, "2014-02-14 14:27:00,press-9,83.25,fine\r\n");

	cr_assert_eq(got.reason, MR_PARSE_OK);
	cr_assert_str_eq(got.key, "press-9");
	cr_assert_eq(got.parsed.time_ms, INT64_C(1392388020000));
	cr_assert_eq(got.parsed.value, 83.25);
	got = parse(&named, "1700000000.5,9,-1,\"a,b\"");
	cr_assert_str_eq(got.key, "9");
	cr_assert_eq(got.parsed.time_ms, INT64_C(1700000000500));
	cr_assert_eq(got.parsed.value, -1);
}

Test(parse_csv, columns_by_number)
{
	struct mr_parse_spec spec = second;

	cr_assert_eq(parse(&spec, "1,2,3").parsed.value, 2);
	cr_assert_eq(parse(&spec, "1,2").parsed.value, 2);
	cr_assert_str_eq(parse(&spec, "1,2").key, "own");
	cr_assert_eq(parse(&spec, "1,2").parsed.time_ms, 1234);
	cr_assert(isnan(parse(&spec, "1").parsed.value), "there is no second");
	spec.delimiter = ';';
	cr_assert_eq(parse(&spec, "1,5;2.5;3").parsed.value, 2.5);
	spec.delimiter = '\t';
	cr_assert_eq(parse(&spec, "a\t7\tb").parsed.value, 7);
	snprintf(spec.key, sizeof(spec.key), "3");
	cr_assert_eq(parse(&spec, "a\t7").reason, MR_PARSE_NO_KEY);
	cr_assert_eq(parse(&spec, "a\t7\t").reason, MR_PARSE_NO_KEY, "nothing is no key");
	snprintf(spec.time, sizeof(spec.time), "1");
	cr_assert_eq(parse(&spec, "a\t7\tk").reason, MR_PARSE_BAD_TIME);
	cr_assert_eq(parse(&spec, "\t7\tk").reason, MR_PARSE_BAD_TIME);
	cr_assert_eq(parse(&spec, "5\tx\tk").reason, MR_PARSE_NOT_NUMBER);
	cr_assert_eq(parse(&spec, "5\tx\tk").parsed.where, 2);
}

Test(parse_csv, quotes)
{
	struct mr_parse_spec spec = second;

	snprintf(spec.key, sizeof(spec.key), "1");
	cr_assert_str_eq(parse(&spec, "\"a,b\",1").key, "a,b");
	cr_assert_str_eq(parse(&spec, "\"a\"\"b\"\"\",1").key, "a\"b\"");
	cr_assert_str_eq(parse(&spec, "\"\"\"\",1").key, "\"");
	cr_assert_str_eq(parse(&spec, "\"line\r\nend\",1").key, "line\r\nend");
	cr_assert_eq(parse(&spec, "\"a\",\"1.5\"").parsed.value, 1.5);
	cr_assert_eq(parse(&spec, "\"a\",\"1.5\"\n").parsed.value, 1.5);
	cr_assert_eq(parse(&spec, "\"a\",\"1\"\"5\"").reason, MR_PARSE_NOT_NUMBER);
	cr_assert_eq(parse(&spec, "\"\",1").reason, MR_PARSE_NO_KEY);
	cr_assert(isnan(parse(&spec, "a,\"\"").parsed.value));
}

Test(parse_csv, what_is_no_row_is_refused)
{
	static const struct {
		const char *text;
		uint32_t where;
	} cases[] = {
		{"\"a,1", 0},	  {"1,\"a", 2},	     {"a\"b,1", 1}, {"\"a\"b,1", 3},
		{"1,2\n3,4", 3},  {"1,2\r", 3},	     {"1\r,2", 1},  {"1,2\n\n", 3},
		{"1,2\r\n\r", 3}, {"1,\"2\" ,3", 5}, {"\n1,2", 0},  {"12345678901\r2", 11},
	};

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		struct outcome got = parse(&second, cases[i].text);

		cr_assert_eq(got.reason, MR_PARSE_MALFORMED, "%s", cases[i].text);
		cr_assert_eq(got.parsed.where, cases[i].where, "%s: %u", cases[i].text,
			     got.parsed.where);
	}
	cr_assert_eq(parse(&named, "1,2,3").reason, MR_PARSE_MALFORMED, "a column is missing");
	cr_assert_eq(parse(&named, "1,2,3,4,5").reason, MR_PARSE_MALFORMED, "one too many");
	cr_assert_eq(parse(&named, "1,2,3,4").reason, MR_PARSE_OK);
	cr_assert_eq(parse(&named, "").reason, MR_PARSE_MALFORMED);
}

Test(parse_csv, keys_have_a_greatest_length)
{
	struct mr_parse_spec spec = second;
	char text[MR_PARSE_KEY_MAX + 16];

	snprintf(spec.key, sizeof(spec.key), "1");
	memset(text, 'x', sizeof(text));
	memcpy(text + MR_PARSE_KEY_MAX, ",1", 3);
	cr_assert_eq(parse(&spec, text).reason, MR_PARSE_OK);
	memcpy(text + MR_PARSE_KEY_MAX, "x,1", 4);
	cr_assert_eq(parse(&spec, text).reason, MR_PARSE_NO_KEY);
	text[0] = '"';
	memcpy(text + MR_PARSE_KEY_MAX - 1, "\"\"\",1", 6);
	cr_assert_eq(parse(&spec, text).reason, MR_PARSE_OK);
	memcpy(text + MR_PARSE_KEY_MAX - 1, "xx\"\"\",1", 8);
	cr_assert_eq(parse(&spec, text).reason, MR_PARSE_NO_KEY);
}

static int opens(const struct mr_parse_spec *spec)
{
	struct mr_parser *parser = NULL;
	struct mr_error err = {.code = 0};
	int r = mr_parser_new(spec, &parser, &err);

	cr_assert_eq(r == 0, parser != NULL);
	cr_assert_eq(err.code, r);
	mr_parser_free(parser);
	return r;
}

Test(parse_csv, columns_are_checked_at_the_door)
{
	static const char *const wrong[] = {"", "0", "5", "-1", "x", "1x", "12345678", "$.ts"};
	struct mr_parse_spec spec = named;

	for (size_t i = 0; i < mr_array_count(wrong); i++) {
		snprintf(spec.value, sizeof(spec.value), "%s", wrong[i]);
		cr_assert_eq(opens(&spec), -EINVAL, "%s", wrong[i]);
	}
	snprintf(spec.value, sizeof(spec.value), "4");
	cr_assert_eq(opens(&spec), 0);
	spec.delimiter = '"';
	cr_assert_eq(opens(&spec), -EINVAL);
	spec.delimiter = '\n';
	cr_assert_eq(opens(&spec), -EINVAL);
	spec.delimiter = ';';
	cr_assert_eq(opens(&spec), 0);
	spec.name_count = MR_PARSE_COLUMNS_MAX + 1;
	cr_assert_eq(opens(&spec), -EINVAL);
	spec = named;
	snprintf(spec.names[3], sizeof(spec.names[3]), "ts");
	cr_assert_eq(opens(&spec), -EINVAL, "twice");
	spec = named;
	memset(spec.names[3], 'x', sizeof(spec.names[3]));
	cr_assert_eq(opens(&spec), -EINVAL, "not ended");
	spec.format = (enum mr_parse_format)77;
	cr_assert_eq(opens(&spec), -EINVAL);
}

/* ---- one number ----------------------------------------------------------------------------- */

static const struct mr_parse_spec number = {.format = MR_PARSE_NUMBER};

Test(parse_number, words_that_are_numbers)
{
	static const struct {
		const char *text;
		double value;
	} cases[] = {
		{"23.5", 23.5}, {" 23.5\r\n", 23.5}, {"\t-1e3 ", -1000}, {"+1", 1},
		{"007", 7},	{".5", 0.5},	     {"5.", 5},		 {"true", 1},
		{"FALSE", 0},	{"True", 1},	     {"1e308", 1e308},
	};
	static const char *const missing[] = {"",	  "  ",	  "nan",   "NaN",
					      "-nan",	  "inf",  "-Inf",  "+infinity",
					      "INFINITY", "null", "1e999", "-1e999"};

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		struct outcome got = parse(&number, cases[i].text);

		cr_assert_eq(got.reason, MR_PARSE_OK, "'%s'", cases[i].text);
		cr_assert_eq(got.parsed.value, cases[i].value, "'%s'", cases[i].text);
		cr_assert_str_eq(got.key, "own");
	}
	for (size_t i = 0; i < mr_array_count(missing); i++) {
		struct outcome got = parse(&number, missing[i]);

		cr_assert_eq(got.reason, MR_PARSE_OK, "'%s'", missing[i]);
		cr_assert(isnan(got.parsed.value), "'%s'", missing[i]);
	}
}

Test(parse_number, words_that_are_none)
{
	static const char *const texts[] = {"x",    "1 2",   "1,5", "0x10",  "--1",   "1e", "-",
					    "nano", "truth", "+",   "\"1\"", "1\xff", "{}"};
	struct mr_parse_spec spec = number;

	for (size_t i = 0; i < mr_array_count(texts); i++)
		cr_assert_eq(parse(&number, texts[i]).reason, MR_PARSE_NOT_NUMBER, "'%s'",
			     texts[i]);
	cr_assert_eq(parse_bytes(&number, "1\0", 2).reason, MR_PARSE_NOT_NUMBER);
	snprintf(spec.key, sizeof(spec.key), "$.a");
	cr_assert_eq(opens(&spec), -EINVAL, "it has no fields");
}
