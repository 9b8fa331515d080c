/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the scanner takes what JSON is, finds what paths lead to, and says where and why
 * it refuses the rest; jansson, which was written by others, takes, refuses and finds the same.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "parse.h"

#define OWN_KEY	 "own"
#define OWN_TIME 1234
#define MISSING	 NULL

static struct mr_parser *new_parser(const char *key, const char *time, const char *value)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_JSON};
	struct mr_parser *parser = NULL;
	struct mr_error err;

	snprintf(spec.key, sizeof(spec.key), "%s", key);
	snprintf(spec.time, sizeof(spec.time), "%s", time);
	snprintf(spec.value, sizeof(spec.value), "%s", value);
	cr_assert_eq(mr_parser_new(&spec, &parser, &err), 0, "%s %s %s", key, time, value);
	return parser;
}

/* A record whose memory ends with it, so that a sanitizer sees a read behind it. */
struct record {
	struct mr_message message;
	char *copy;
};

static struct record new_record(const void *value, size_t bytes)
{
	struct record record = {.copy = malloc(bytes ? bytes : 1)};

	mr_assert(record.copy);
	memcpy(record.copy, value, bytes);
	record.message = (struct mr_message){.key = OWN_KEY,
					     .key_bytes = 3,
					     .timestamp_ms = OWN_TIME,
					     .value = record.copy,
					     .value_bytes = (int32_t)bytes};
	return record;
}

static enum mr_parse_reason parse(struct mr_parser *parser, const char *text, struct mr_parsed *out,
				  char key[MR_PARSE_KEY_MAX + 1])
{
	struct record record = new_record(text, strlen(text));
	enum mr_parse_reason reason = mr_parser_parse(parser, &record.message, out);

	if (reason == MR_PARSE_OK) {
		cr_assert_leq(out->key_bytes, MR_PARSE_KEY_MAX);
		memcpy(key, out->key, (size_t)out->key_bytes);
		key[out->key_bytes] = '\0';
	} else {
		cr_assert_leq(out->where, strlen(text));
	}
	free(record.copy);
	return reason;
}

/* The value that a path finds; a reason as -1, -2, ... below -1e300. */
#define REASON(reason) (-1e300 * (1 + (reason)))

static double value_at(const char *path, const char *text)
{
	struct mr_parser *parser = new_parser("", "", path);
	char key[MR_PARSE_KEY_MAX + 1];
	struct mr_parsed out;
	enum mr_parse_reason reason = parse(parser, text, &out, key);

	mr_parser_free(parser);
	if (reason != MR_PARSE_OK)
		return REASON(reason);
	cr_assert_str_eq(key, OWN_KEY);
	cr_assert_eq(out.time_ms, OWN_TIME);
	return out.value;
}

Test(parse_json, finds_key_time_and_value)
{
	struct mr_parser *parser = new_parser("$.machine", "$.ts", "$.temp");
	char key[MR_PARSE_KEY_MAX + 1];
	struct mr_parsed out;

	cr_assert_eq(parse(parser,
			   "{\"machine\":\"press-9\",\"ts\":1700000000123,\"temp\":83.25,"
			   "\"pressure\":101.3,\"rpm\":1500,\"state\":\"run\"}",
			   &out, key),
		     MR_PARSE_OK);
	cr_assert_str_eq(key, "press-9");
	cr_assert_eq(out.time_ms, INT64_C(1700000000123));
	cr_assert_eq(out.value, 83.25);
	mr_parser_free(parser);
}

Test(parse_json, follows_paths)
{
	static const char text[] =
		" { \"a\" : 1 , \"b\":{\"a\":2,\"list\":[3, [4,5], {\"x\":6}],\"e\":{}},\"\":7,"
		"\"long name of a field\":8,\"long name of a fielt\":9,\"c.d\":10,\"[0]\":11}\r\n";

	cr_assert_eq(value_at("$.a", text), 1);
	cr_assert_eq(value_at("$.b.a", text), 2);
	cr_assert_eq(value_at("$.b.list[0]", text), 3);
	cr_assert_eq(value_at("$.b.list[1][1]", text), 5);
	cr_assert_eq(value_at("$.b.list[2].x", text), 6);
	cr_assert_eq(value_at("$[\"b\"]['a']", text), 2);
	cr_assert_eq(value_at("$.long name of a field", text), 8);
	cr_assert_eq(value_at("$.long name of a fielt", text), 9);
	cr_assert_eq(value_at("$[\"c.d\"]", text), 10);
	cr_assert_eq(value_at("$[\"[0]\"]", text), 11);
	cr_assert(isnan(value_at("$.b.list[3]", text)));
	cr_assert(isnan(value_at("$.b[0]", text)), "an object has no places");
	cr_assert(isnan(value_at("$.b.list.x", text)), "an array has no names");
	cr_assert(isnan(value_at("$.a.a", text)));
	cr_assert(isnan(value_at("$.list", text)));
	cr_assert(isnan(value_at("$.long name of a fiel", text)));
	cr_assert(isnan(value_at("$.aa", text)));
	cr_assert_eq(value_at("$", "23.5"), 23.5);
	cr_assert_eq(value_at("$[1]", "[1,2]"), 2);
}

Test(parse_json, of_equal_names_the_last_counts)
{
	cr_assert_eq(value_at("$.a", "{\"a\":1,\"a\":2}"), 2);
	cr_assert_eq(value_at("$.a.b", "{\"a\":{\"b\":1},\"a\":{\"b\":2}}"), 2);
	cr_assert(isnan(value_at("$.a.b", "{\"a\":{\"b\":1},\"a\":{\"c\":2}}")));
	cr_assert(isnan(value_at("$.a.b", "{\"a\":{\"b\":1},\"a\":2}")));
	cr_assert(isnan(value_at("$.a", "{\"a\":1,\"a\":null}")));
	cr_assert_eq(value_at("$.a", "{\"a\":1,\"\\u0061\":2}"), 2);
	cr_assert_eq(value_at("$.a[0]", "{\"a\":[[]],\"a\":[5]}"), 5);
}

Test(parse_json, values_are_numbers_truths_or_missing)
{
	cr_assert_eq(value_at("$.a", "{\"a\":-1.5e2}"), -150);
	cr_assert_eq(value_at("$.a", "{\"a\":true}"), 1);
	cr_assert_eq(value_at("$.a", "{\"a\":false}"), 0);
	cr_assert(isnan(value_at("$.a", "{\"a\":null}")));
	cr_assert(isnan(value_at("$.a", "{}")));
	cr_assert(isnan(value_at("$.a", "{\"a\":1e999}")), "an infinity is no value");
	cr_assert(isnan(value_at("$.a", "[]")));
	cr_assert_eq(value_at("$.a", "{\"a\":\"1\"}"), REASON(MR_PARSE_NOT_NUMBER));
	cr_assert_eq(value_at("$.a", "{\"a\":[1]}"), REASON(MR_PARSE_NOT_NUMBER));
	cr_assert_eq(value_at("$.a", "{\"a\":{}}"), REASON(MR_PARSE_NOT_NUMBER));
}

static const char *key_of(const char *text)
{
	static char key[MR_PARSE_KEY_MAX + 1];
	struct mr_parser *parser = new_parser("$.k", "", "$.v");
	struct mr_parsed out;
	enum mr_parse_reason reason = parse(parser, text, &out, key);

	mr_parser_free(parser);
	cr_assert(reason == MR_PARSE_OK || reason == MR_PARSE_NO_KEY);
	return reason == MR_PARSE_OK ? key : MISSING;
}

Test(parse_json, keys_are_texts_or_numbers)
{
	char text[MR_PARSE_KEY_MAX + 32];
	char expected[MR_PARSE_KEY_MAX + 1];

	cr_assert_str_eq(key_of("{\"k\":\"press\"}"), "press");
	cr_assert_str_eq(key_of("{\"k\":\"\"}"), "");
	cr_assert_str_eq(key_of("{\"k\":\"a\\n\\\"\\\\\\/\\b\\f\\r\\t\"}"), "a\n\"\\/\b\f\r\t");
	cr_assert_str_eq(key_of("{\"k\":\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"}"),
			 "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	cr_assert_str_eq(key_of("{\"k\":\"\xc3\xa9\"}"), "\xc3\xa9");
	cr_assert_str_eq(key_of("{\"k\":1.50e0}"), "1.50e0", "as it is written");
	cr_assert_eq(key_of("{\"k\":null}"), MISSING);
	cr_assert_eq(key_of("{\"k\":true}"), MISSING);
	cr_assert_eq(key_of("{\"k\":[]}"), MISSING);
	cr_assert_eq(key_of("{}"), MISSING, "and not the record's own");
	for (int more = 0; more <= 1; more++) {
		for (int escaped = 0; escaped <= 1; escaped++) {
			memset(expected, 'x', MR_PARSE_KEY_MAX);
			expected[MR_PARSE_KEY_MAX] = '\0';
			snprintf(text, sizeof(text), "{\"k\":\"%s%s%s\"}", escaped ? "\\u0078" : "",
				 expected + escaped, more ? "x" : "");
			if (more)
				cr_assert_eq(key_of(text), MISSING);
			else
				cr_assert_str_eq(key_of(text), expected);
		}
	}
}

static int64_t time_in(enum mr_parse_time_unit unit, const char *time)
{
	struct mr_parse_spec spec = {
		.format = MR_PARSE_JSON, .time_unit = unit, .time = "$.t", .value = "$.v"};
	char text[128], key[MR_PARSE_KEY_MAX + 1];
	struct mr_parser *parser;
	struct mr_parsed out;
	enum mr_parse_reason reason;

	snprintf(text, sizeof(text), "{\"t\":%s}", time);
	cr_assert_eq(mr_parser_new(&spec, &parser, NULL), 0);
	reason = parse(parser, text, &out, key);
	mr_parser_free(parser);
	cr_assert(reason == MR_PARSE_OK || reason == MR_PARSE_BAD_TIME);
	if (reason == MR_PARSE_BAD_TIME)
		cr_assert_eq(out.where, *time == '"' ? 6 : 5);
	return reason == MR_PARSE_OK ? out.time_ms : INT64_MIN;
}

Test(parse_json, times_have_units)
{
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "1700000000"), INT64_C(1700000000000));
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "1700000000.1239"), INT64_C(1700000000123));
	cr_assert_eq(time_in(MR_PARSE_TIME_MS, "5"), 5);
	cr_assert_eq(time_in(MR_PARSE_TIME_US, "1700000000123999"), INT64_C(1700000000123));
	cr_assert_eq(time_in(MR_PARSE_TIME_NS, "1465839830100999999"), INT64_C(1465839830100));
	cr_assert_eq(time_in(MR_PARSE_TIME_NS, "-1"), -1, "down, also before 1970");
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "-0.5"), -500);
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "1.7e9"), INT64_C(1700000000000));
}

Test(parse_json, auto_tells_units_by_size)
{
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "0"), 0);
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "1700000000"), INT64_C(1700000000000));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "99999999999"), INT64_C(99999999999000));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "100000000000"), INT64_C(100000000000));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "99999999999999"), INT64_C(99999999999999));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "100000000000000"), INT64_C(100000000000));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "99999999999999999"), INT64_C(99999999999999));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "100000000000000000"), INT64_C(100000000000));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "1465839830100400200"), INT64_C(1465839830100));
	cr_assert_eq(time_in(MR_PARSE_TIME_AUTO, "-1700000000"), INT64_C(-1700000000000));
}

Test(parse_json, times_are_dates_too)
{
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "\"2014-02-14 14:27:00\""), INT64_C(1392388020000));
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "\"2014-02-14T14:27:00.5Z\""),
		     INT64_C(1392388020500));
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "\"2014-02-14T14:27:00+01:00\""),
		     INT64_C(1392384420000));
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "\"1950-01-03\""), INT64_C(-630979200000));
}

Test(parse_json, what_is_no_time_is_refused)
{
	static const char *const texts[] = {
		"null",
		"true",
		"[]",
		"{}",
		"\"\"",
		"\"1700000000\"",
		"\"2014-13-14 14:27:00\"",
		"\"2014-02-29\"",
		"\"soon\"",
		"\"2014\\u002d02-14\"",
		"253402300800", /* the year 10000 */
		"-62167219201",
		"1e300",
		"-1e999",
	};

	for (size_t i = 0; i < mr_array_count(texts); i++)
		cr_assert_eq(time_in(MR_PARSE_TIME_S, texts[i]), INT64_MIN, "%s", texts[i]);
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "253402300799"), INT64_C(253402300799000));
	cr_assert_eq(time_in(MR_PARSE_TIME_S, "-62167219200"), INT64_C(-62167219200000));
}

Test(parse_json, an_absent_time_is_no_time)
{
	struct mr_parser *parser = new_parser("", "$.t", "$.v");
	char key[MR_PARSE_KEY_MAX + 1];
	struct mr_parsed out;

	cr_assert_eq(parse(parser, "{\"v\":1}", &out, key), MR_PARSE_BAD_TIME);
	cr_assert_eq(out.where, 0);
	mr_parser_free(parser);
}

Test(parse_json, reasons_say_where)
{
	static const struct {
		const char *text;
		enum mr_parse_reason reason;
		uint32_t where;
	} cases[] = {
		{"", MR_PARSE_MALFORMED, 0},
		{"  ", MR_PARSE_MALFORMED, 2},
		{"{\"v\":1", MR_PARSE_MALFORMED, 6},
		{"{\"v\":1]", MR_PARSE_MALFORMED, 6},
		{"{\"v\":1}}", MR_PARSE_MALFORMED, 7},
		{"{\"v\":1,}", MR_PARSE_MALFORMED, 7},
		{"{,}", MR_PARSE_MALFORMED, 1},
		{"{\"v\" 1}", MR_PARSE_MALFORMED, 5},
		{"{\"v\":01}", MR_PARSE_MALFORMED, 5},
		{"{\"a\nb\":1}", MR_PARSE_MALFORMED, 3},
		{"{\"a\":\"\\x\"}", MR_PARSE_MALFORMED, 6},
		{"{\"a\":\"\xff\"}", MR_PARSE_MALFORMED, 6},
		{"{\"k\":1,\"v\":\"1\"}", MR_PARSE_NOT_NUMBER, 12},
		{"{\"k\":1,\"v\":[1]}", MR_PARSE_NOT_NUMBER, 11},
		{"{\"v\":1,\"k\":true}", MR_PARSE_NO_KEY, 11},
		{"{\"v\":1}", MR_PARSE_NO_KEY, 0},
	};
	struct mr_parser *parser = new_parser("$.k", "", "$.v");
	char key[MR_PARSE_KEY_MAX + 1];
	struct mr_parsed out;

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		cr_assert_eq(parse(parser, cases[i].text, &out, key), cases[i].reason, "%s",
			     cases[i].text);
		cr_assert_eq(out.where, cases[i].where, "%s: at %u", cases[i].text, out.where);
	}
	mr_parser_free(parser);
}

Test(parse_json, a_record_without_value_or_key)
{
	struct mr_message message = {.key_bytes = MR_NULL_BYTES, .value_bytes = MR_NULL_BYTES};
	struct mr_parser *parser = new_parser("", "", "$.v");
	static char long_key[MR_PARSE_KEY_MAX + 1];
	struct mr_parsed out;

	cr_assert_eq(mr_parser_parse(parser, &message, &out), MR_PARSE_NULL);
	message.value_bytes = 0;
	cr_assert_eq(mr_parser_parse(parser, &message, &out), MR_PARSE_MALFORMED);
	message.value = "{}";
	message.value_bytes = 2;
	cr_assert_eq(mr_parser_parse(parser, &message, &out), MR_PARSE_NO_KEY);
	message.key = long_key;
	message.key_bytes = MR_PARSE_KEY_MAX + 1;
	cr_assert_eq(mr_parser_parse(parser, &message, &out), MR_PARSE_NO_KEY);
	message.key_bytes = MR_PARSE_KEY_MAX;
	cr_assert_eq(mr_parser_parse(parser, &message, &out), MR_PARSE_OK);
	mr_parser_free(parser);
}

/* [[[...5...]]], 'depth' deep. */
static double nested(int depth, char open, const char *path)
{
	char text[1024];
	size_t at = 0;

	for (int i = 0; i < depth; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s",
				       open == '[' ? "[" : "{\"a\":");
	text[at++] = '5';
	memset(text + at, open == '[' ? ']' : '}', (size_t)depth);
	text[at + (size_t)depth] = '\0';
	return value_at(path, text);
}

Test(parse_json, depth_is_bounded)
{
	char path[MR_PARSE_PATH_MAX] = "$";

	for (int i = 0; i < 32; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), ".a");
	cr_assert_eq(nested(32, '{', path), 5);
	cr_assert(isnan(nested(33, '[', path)));
	cr_assert(isnan(nested(MR_PARSE_DEPTH_MAX, '[', "$.a")));
	cr_assert(isnan(nested(MR_PARSE_DEPTH_MAX, '{', "$.b")));
	cr_assert_eq(nested(MR_PARSE_DEPTH_MAX + 1, '[', "$.a"), REASON(MR_PARSE_TOO_DEEP));
	cr_assert_eq(nested(MR_PARSE_DEPTH_MAX + 1, '{', "$.a"), REASON(MR_PARSE_TOO_DEEP));
}

Test(parse_json, paths_are_refused_at_the_door)
{
	static const char *const paths[] = {
		"a",	   ".a",  "$a",	    "$.",      "$..a",	  "$.a.",  "$[",    "$[]",
		"$[x]",	   "$[1", "$[\"a]", "$[\"\"]", "$['a\"]", "$[-1]", "$[1]a", "$[1234567890]",
		"$[\"a\"", " $.a"};
	struct mr_parse_spec spec = {.format = MR_PARSE_JSON};
	struct mr_parser *parser = NULL;
	struct mr_error err;

	for (size_t i = 0; i < mr_array_count(paths); i++) {
		snprintf(spec.value, sizeof(spec.value), "%s", paths[i]);
		cr_assert_eq(mr_parser_new(&spec, &parser, &err), -EINVAL, "%s", paths[i]);
		cr_assert(strstr(err.what, "value: "));
		cr_assert(strstr(err.hint, "$.name"));
	}
	spec.value[0] = '\0';
	cr_assert_eq(mr_parser_new(&spec, &parser, &err), -EINVAL, "a value must be named");
	memset(spec.value, 'a', sizeof(spec.value));
	cr_assert_eq(mr_parser_new(&spec, &parser, &err), -EINVAL, "not ended");
	memcpy(spec.value, "$", 2);
	for (int i = 0; i < 33; i++)
		memcpy(spec.value + 1 + 2 * i, ".a", 3);
	cr_assert_eq(mr_parser_new(&spec, &parser, &err), -EINVAL, "too many steps");
	cr_assert_null(parser);
}

/* ---- against jansson ------------------------------------------------------------------------ */

#define ALIKE (JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

/* Same verdict, and for $.a, $.b.c and $.l[1] the same value. */
static void compare(struct mr_parser *const parsers[3], const char *text, size_t bytes)
{
	json_error_t error;
	/* It does not see every zero byte that stands between two tokens. */
	json_t *root = memchr(text, '\0', bytes) ? NULL : json_loadb(text, bytes, ALIKE, &error);
	struct record record = new_record(text, bytes);

	if (!root && !memchr(text, '\0', bytes) &&
	    (json_error_code(&error) == json_error_null_byte_in_key ||
	     json_error_code(&error) == json_error_numeric_overflow)) {
		free(record.copy); /* limits of jansson, not of JSON */
		return;
	}
	for (int i = 0; i < 3; i++) {
		const json_t *found = i == 0   ? json_object_get(root, "a")
				      : i == 1 ? json_object_get(json_object_get(root, "b"), "c")
					       : json_array_get(json_object_get(root, "l"), 1);
		struct mr_parsed out;
		enum mr_parse_reason reason = mr_parser_parse(parsers[i], &record.message, &out);

		cr_assert_eq(!root, reason == MR_PARSE_MALFORMED, "%d for '%.*s': %s", reason,
			     (int)bytes, text, root ? "fine" : "malformed");
		if (!root || reason == MR_PARSE_NOT_NUMBER) {
			cr_assert(!root || json_is_string(found) || json_is_array(found) ||
				  json_is_object(found));
			continue;
		}
		if (json_is_number(found))
			cr_assert_eq(out.value, json_number_value(found), "'%.*s'", (int)bytes,
				     text);
		else if (json_is_boolean(found))
			cr_assert_eq(out.value, json_is_true(found));
		else
			cr_assert(isnan(out.value) && (!found || json_is_null(found)));
	}
	json_decref(root);
	free(record.copy);
}

/* Every byte at every place, every cut, every byte left out, every pair of neighbours swapped. */
static void compare_around(struct mr_parser *const parsers[3], const char *text)
{
	size_t bytes = strlen(text);
	char copy[256];

	mr_assert(bytes < sizeof(copy));
	compare(parsers, text, bytes);
	for (size_t at = 0; at < bytes; at++) {
		compare(parsers, text, at);
		for (int byte = 0; byte < 256; byte++) {
			memcpy(copy, text, bytes);
			copy[at] = (char)byte;
			compare(parsers, copy, bytes);
		}
		memcpy(copy, text, at);
		memcpy(copy + at, text + at + 1, bytes - at - 1);
		compare(parsers, copy, bytes - 1);
		memcpy(copy, text, bytes);
		if (at + 1 < bytes) {
			copy[at] = text[at + 1];
			copy[at + 1] = text[at];
			compare(parsers, copy, bytes);
		}
	}
}

static const char *const corpus[] = {
	"{\"a\":1,\"b\":{\"c\":-2.5e-3},\"l\":[0,true,null]}",
	"{\"a\":true,\"b\":{\"c\":false,\"d\":[{\"c\":1}]},\"l\":[[1],{\"a\":2},\"x\"]}",
	"{\"machine\":\"press-9\",\"ts\":1700000000123,\"a\":83.25,\"state\":\"run\"}",
	" { \"a\" : [ ] , \"b\" : { } , \"l\" : [ 1 , 12345678901234567890 ] } \n",
	"{\"\\u0061\":\"\\ud83d\\ude00\\n\",\"b\":{\"\\\"\":1},\"l\":\"\xc3\xa9\xe2\x82\xac\"}",
	"[\"\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf\xc2\x80\"]",
	"[\"\\uD834\\uDD1E\\/\\b\\f\\r\\t\\\\ \x7f\",-0,0.5,1E5,2e+7,-3.25e-07]",
	"{\"a\":1,\"a\":2,\"b\":{\"c\":1},\"b\":{},\"l\":[1,2],\"l\":[1,3.5]}",
	"\"a text alone\"",
	"null",
	"-12.75",
};

Test(parse_json, jansson_says_the_same)
{
	struct mr_parser *parsers[3] = {
		new_parser("", "", "$.a"),
		new_parser("", "", "$.b.c"),
		new_parser("", "", "$.l[1]"),
	};

	for (size_t i = 0; i < mr_array_count(corpus); i++)
		compare_around(parsers, corpus[i]);
	for (int i = 0; i < 3; i++)
		mr_parser_free(parsers[i]);
}
