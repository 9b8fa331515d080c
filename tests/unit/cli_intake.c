/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a good line becomes the record it says, a bad one is refused with its reason. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "intake.h"
#include "json_field.h"
#include "keep.h"

static struct mr_intake *open_intake(enum mr_intake_format format, const char *key,
				     const char *time)
{
	struct mr_intake_options options = {format, key, time};
	struct mr_intake *intake = NULL;

	cr_assert_eq(mr_intake_open(&options, &intake, NULL), 0);
	return intake;
}

/* Takes a line; its record must have this key and time ('key' NULL: none). */
static void good(struct mr_intake *intake, const char *line, const char *key, int64_t time_ms)
{
	struct mr_record record;
	struct mr_error err = {0};

	cr_assert_eq(mr_intake_line(intake, line, strlen(line), &record, &err), 1, "'%s': %s", line,
		     err.what);
	cr_assert_eq(record.value, line, "the value is the line itself");
	cr_assert_eq(record.header_count, 0);
	cr_assert_eq(record.timestamp_ms, time_ms, "'%s' has time %ld", line,
		     (long)record.timestamp_ms);
	if (!key) {
		cr_assert_eq(record.key_bytes, MR_NULL_BYTES);
		return;
	}
	cr_assert_eq(record.key_bytes, (int32_t)strlen(key), "'%.*s'", record.key_bytes,
		     (const char *)record.key);
	cr_assert_eq(memcmp(record.key, key, strlen(key)), 0);
}

static void bad(struct mr_intake *intake, const char *line, const char *reason)
{
	struct mr_record record;
	struct mr_error err = {0};
	int r = mr_intake_line(intake, line, strlen(line), &record, &err);

	cr_assert_eq(r, -EBADMSG, "'%s' gave %d", line, r);
	cr_assert(strstr(err.what, reason), "'%s': said '%s'", line, err.what);
}

static void nothing(struct mr_intake *intake, const char *line)
{
	struct mr_record record;

	cr_assert_eq(mr_intake_line(intake, line, strlen(line), &record, NULL), 0, "'%s'", line);
}

Test(intake, formats_have_names)
{
	enum mr_intake_format format;

	cr_assert_eq(mr_intake_format_parse("csv", &format), 0);
	cr_assert_eq(format, MR_INTAKE_CSV);
	cr_assert_eq(mr_intake_format_parse("JSON", &format), -EINVAL);
}

Test(intake, raw_takes_any_bytes)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_RAW, NULL, NULL);
	struct mr_record record;

	good(intake, "a line", NULL, MR_TIMESTAMP_NOW);
	good(intake, "", NULL, MR_TIMESTAMP_NOW);
	cr_assert_eq(mr_intake_line(intake, "a\0b\xff\r", 5, &record, NULL), 1);
	cr_assert_eq(record.value_bytes, 5, "zero bytes and CR are kept");
	mr_intake_close(intake);
}

Test(intake, raw_has_no_fields)
{
	struct mr_intake_options options = {MR_INTAKE_RAW, "id", NULL};
	struct mr_intake *intake = NULL;
	struct mr_error err;

	cr_assert_eq(mr_intake_open(&options, &intake, &err), -EINVAL);
	cr_assert_null(intake);
	cr_assert(strstr(err.hint, "json"));
}

Test(intake, json_without_fields_takes_every_value)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, NULL, NULL);

	good(intake, "{\"a\":1}", NULL, MR_TIMESTAMP_NOW);
	good(intake, "[1,2]", NULL, MR_TIMESTAMP_NOW);
	good(intake, "\"text\"", NULL, MR_TIMESTAMP_NOW);
	good(intake, "null", NULL, MR_TIMESTAMP_NOW);
	nothing(intake, "");
	nothing(intake, " \t");
	bad(intake, "{\"a\":1", "no JSON");
	bad(intake, "{\"a\":1} x", "no JSON");
	bad(intake, "{\"a\":1}{\"a\":2}", "no JSON");
	bad(intake, "{a:1}", "no JSON");
	bad(intake, "\"\xff\"", "no JSON");
	mr_intake_close(intake);
}

Test(intake, json_strips_a_carriage_return)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, NULL, NULL);
	struct mr_record record;

	cr_assert_eq(mr_intake_line(intake, "{}\r", 3, &record, NULL), 1);
	cr_assert_eq(record.value_bytes, 2);
	nothing(intake, "\r");
	mr_intake_close(intake);
}

Test(intake, json_keys_are_text_or_numbers)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, "id", NULL);

	good(intake, "{\"id\":\"a\"}", "a", MR_TIMESTAMP_NOW);
	good(intake, "{\"id\":\"\"}", "", MR_TIMESTAMP_NOW);
	good(intake, "{\"id\":\"gr\\u00fcn\"}", "grün", MR_TIMESTAMP_NOW);
	good(intake, "{\"id\":17}", "17", MR_TIMESTAMP_NOW);
	good(intake, "{\"id\":-9223372036854775808}", "-9223372036854775808", MR_TIMESTAMP_NOW);
	good(intake, "{\"id\":0.1}", "0.1", MR_TIMESTAMP_NOW);
	bad(intake, "{\"id\":null}", "'id' is null");
	bad(intake, "{\"ID\":1}", "no field 'id'");
	bad(intake, "{\"id\":true}", "no text and no number");
	bad(intake, "{\"id\":{}}", "no text and no number");
	bad(intake, "[1]", "no field 'id'");
	bad(intake, "7", "no field 'id'");
	mr_intake_close(intake);
}

Test(intake, json_key_with_a_zero_byte_is_whole)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, "id", NULL);
	static const char line[] = "{\"id\":\"a\\u0000b\"}";
	struct mr_record record;

	cr_assert_eq(mr_intake_line(intake, line, strlen(line), &record, NULL), 1);
	cr_assert_eq(record.key_bytes, 3);
	cr_assert_eq(memcmp(record.key, "a\0b", 3), 0);
	mr_intake_close(intake);
}

Test(intake, json_times_are_numbers_or_dates)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, NULL, "at");

	good(intake, "{\"at\":1700000000}", NULL, INT64_C(1700000000000));
	good(intake, "{\"at\":1700000000.5}", NULL, INT64_C(1700000000500));
	good(intake, "{\"at\":1700000000123}", NULL, INT64_C(1700000000123));
	good(intake, "{\"at\":\"1700000000\"}", NULL, INT64_C(1700000000000));
	good(intake, "{\"at\":\"2015-07-10 14:24:00\"}", NULL, INT64_C(1436538240000));
	bad(intake, "{\"at\":\"soon\"}", "'at' is no time: 'soon'");
	bad(intake, "{\"at\":-1}", "out of range");
	bad(intake, "{\"at\":\"1969-12-31\"}", "out of range");
	bad(intake, "{\"at\":[]}", "no text and no number");
	bad(intake, "{}", "no field 'at'");
	mr_intake_close(intake);
}

Test(intake, json_paths_have_dots)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_JSON, "s.id.0", "s.at");

	good(intake, "{\"s\":{\"id\":[\"k\"],\"at\":1}}", "k", 1000);
	bad(intake, "{\"s\":{\"id\":[],\"at\":1}}", "no field 's.id.0'");
	bad(intake, "{\"s\":1}", "no field");
	mr_intake_close(intake);
}

Test(json_field, finds_members_places_and_names_with_dots)
{
	static const char text[] =
		"{\"a\":{\"b\":[10,{\"c\":11}]},\"d.e\":12,\"f\":{\"g.h\":13},\"\":14,\"n\":null}";
	static const struct {
		const char *path;
		int value; /* 0: there is none */
	} rows[] = {
		{"a.b.0", 10},	{"a.b.1.c", 11}, {"d.e", 12},
		{"f.g.h", 13},	{"", 14},	 {"a.b.2", 0},
		{"a.b.-1", 0},	{"a.b.x", 0},	 {"a..b", 0},
		{"a.b.0.x", 0}, {".a", 0},	 {"n", 0},
		{"x", 0},	{"a.b.", 0},	 {"a.b.99999999999999999999", 0},
	};
	json_t *root = json_loads(text, 0, NULL);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const json_t *found = NULL;
		int r = mr_json_find(root, rows[i].path, &found, NULL);

		cr_assert_eq(r, rows[i].value ? 0 : -EBADMSG, "'%s'", rows[i].path);
		if (rows[i].value)
			cr_assert_eq(json_integer_value(found), rows[i].value, "'%s'",
				     rows[i].path);
	}
	json_decref(root);
}

Test(intake, csv_takes_rows_by_the_names_of_the_first)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, "value", "timestamp");

	nothing(intake, "timestamp,value");
	good(intake, "2015-07-10 14:24:00,564", "564", INT64_C(1436538240000));
	good(intake, "0,\"a,\"\"b\"\"\nc\"", "a,\"b\"\nc", 0);
	good(intake, "1,", "", 1000);
	good(intake, "1, x ", " x ", 1000);
	nothing(intake, "");
	bad(intake, "1", "1 fields, the first row has 2");
	bad(intake, "1,2,3", "3 fields, the first row has 2");
	bad(intake, "x,2", "'timestamp' is no time: 'x'");
	bad(intake, ",2", "'timestamp' is no time: ''");
	mr_intake_close(intake);
}

Test(intake, csv_goes_on_after_a_bad_quote)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, "a", NULL);

	nothing(intake, "a,b");
	bad(intake, "5\",x", "double quote");
	good(intake, "1,2", "1", MR_TIMESTAMP_NOW);
	bad(intake, "\"x\"y,2", "double quote");
	bad(intake, "\"open,2", "double quote");
	good(intake, "\"q\",2", "q", MR_TIMESTAMP_NOW);
	mr_intake_close(intake);
}

Test(intake, csv_without_the_field_cannot_begin)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, "id", "when");
	struct mr_record record;
	struct mr_error err;

	cr_assert_eq(mr_intake_line(intake, "id,at", 5, &record, &err), -EINVAL);
	cr_assert(strstr(err.what, "'when'"));
	cr_assert(strstr(err.why, "id,at"));
	cr_assert_eq(mr_intake_line(intake, "a\"b", 3, &record, &err), -EINVAL);
	mr_intake_close(intake);
}

Test(intake, csv_knows_the_mark_that_spreadsheets_write)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, "id", NULL);

	nothing(intake, "\xef\xbb\xbfid,v\r");
	good(intake, "7,8", "7", MR_TIMESTAMP_NOW);
	mr_intake_close(intake);
}

Test(intake, csv_that_names_a_field_twice_cannot_begin)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, "a", NULL);
	struct mr_record record;
	struct mr_error err;

	cr_assert_eq(mr_intake_line(intake, "a,\"a\"", 5, &record, &err), -EINVAL);
	cr_assert(strstr(err.what, "'a' twice"), "%s", err.what);
	mr_intake_close(intake);
	intake = open_intake(MR_INTAKE_CSV, "b", NULL);
	nothing(intake, "a,b,a");
	good(intake, "1,2,3", "2", MR_TIMESTAMP_NOW);
	mr_intake_close(intake);
}

Test(intake, a_long_time_field_is_no_time)
{
	struct mr_intake *intake = open_intake(MR_INTAKE_CSV, NULL, "at");
	char line[512];

	nothing(intake, "at");
	memset(line, '1', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	bad(intake, line, "no time");
	mr_intake_close(intake);
}

/* Keys stay good until they are forgotten, over many pages, and pages are used again. */
Test(keep, copies_stay_until_they_are_forgotten)
{
	struct mr_keep keep = {0};
	const char *copies[3000];
	char text[64];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3000; i++) {
			snprintf(text, sizeof(text), "key number %d of round %d", i, round);
			copies[i] = mr_keep_copy(&keep, text, strlen(text) + 1);
			cr_assert_not_null(copies[i]);
		}
		for (int i = 0; i < 3000; i++) {
			snprintf(text, sizeof(text), "key number %d of round %d", i, round);
			cr_assert_str_eq(copies[i], text);
		}
		mr_keep_forget(&keep);
	}
	mr_keep_deinit(&keep);
}

Test(keep, takes_large_and_empty_texts)
{
	static char large[200000];
	struct mr_keep keep = {0};
	const char *small = mr_keep_copy(&keep, "small", 6);
	const char *copy;

	memset(large, 'l', sizeof(large));
	copy = mr_keep_copy(&keep, large, sizeof(large));
	cr_assert_not_null(mr_keep_copy(&keep, NULL, 0));
	cr_assert_eq(memcmp(copy, large, sizeof(large)), 0);
	cr_assert_str_eq(small, "small");
	mr_keep_forget(&keep);
	cr_assert_not_null(mr_keep_copy(&keep, large, sizeof(large)));
	mr_keep_deinit(&keep);
}
