/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: fields of structs are read in either byte order, and none beyond the record. */
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

static struct mr_parse_spec spec_of(bool big_endian, const char *const *fields)
{
	struct mr_parse_spec spec = {.format = MR_PARSE_RAW};

	for (; *fields; fields++) {
		cr_assert_eq(mr_parse_raw_field_read(*fields, big_endian,
						     &spec.fields[spec.name_count], NULL),
			     0, "%s", *fields);
		spec.name_count++;
	}
	return spec;
}

static enum mr_parse_reason parse_message(const struct mr_parse_spec *spec,
					  const struct mr_message *message)
{
	enum mr_parse_reason reason;
	struct mr_parser *parser;

	cr_assert_eq(mr_parser_new(spec, &parser, NULL), 0);
	reason = mr_parser_parse(parser, message, &parsed);
	if (reason == MR_PARSE_OK) {
		memcpy(key, parsed.key, (size_t)parsed.key_bytes);
		key[parsed.key_bytes] = '\0';
	}
	mr_parser_free(parser);
	return reason;
}

/* The record's memory ends with it. */
static enum mr_parse_reason parse(const struct mr_parse_spec *spec, const void *bytes, size_t count)
{
	char *copy = malloc(count ? count : 1);
	struct mr_message message = {.key = "own",
				     .key_bytes = 3,
				     .timestamp_ms = 1234,
				     .value = copy,
				     .value_bytes = (int32_t)count};
	enum mr_parse_reason reason;

	mr_assert(copy);
	memcpy(copy, bytes, count);
	reason = parse_message(spec, &message);
	cr_assert_leq(parsed.where, count);
	free(copy);
	return reason;
}

static double value_of(const char *field, bool big_endian, const void *bytes, size_t count)
{
	struct mr_parse_spec spec = spec_of(big_endian, (const char *const[]){field, NULL});

	snprintf(spec.value, sizeof(spec.value), "v");
	cr_assert_eq(parse(&spec, bytes, count), MR_PARSE_OK, "%s", field);
	return parsed.value;
}

Test(parse_raw, a_struct_as_it_lies_in_memory)
{
	struct {
		char id[12];
		uint32_t flags;
		int64_t time_ns;
		double temp;
	} record = {"press-9", 7, INT64_C(1465839830100400200), 83.25};
	struct mr_parse_spec spec =
		spec_of(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__,
			(const char *const[]){"id: text:12 @ 0", "flags:u32@12", " ts : i64 @ 16 ",
					      "temp: f64 @ 24", NULL});

	snprintf(spec.key, sizeof(spec.key), "id");
	snprintf(spec.time, sizeof(spec.time), "ts");
	snprintf(spec.value, sizeof(spec.value), "temp");
	cr_assert_eq(parse(&spec, &record, sizeof(record)), MR_PARSE_OK);
	cr_assert_str_eq(key, "press-9");
	cr_assert_eq(parsed.time_ms, INT64_C(1465839830100));
	cr_assert_eq(parsed.value, 83.25);
	memset(record.id, 'x', sizeof(record.id));
	cr_assert_eq(parse(&spec, &record, sizeof(record)), MR_PARSE_OK);
	cr_assert_str_eq(key, "xxxxxxxxxxxx");
	record.id[0] = '\0';
	cr_assert_eq(parse(&spec, &record, sizeof(record)), MR_PARSE_NO_KEY);
	cr_assert_eq(parse(&spec, &record, sizeof(record) - 1), MR_PARSE_MALFORMED);
	cr_assert_eq(parsed.where, sizeof(record) - 1);
	snprintf(spec.key, sizeof(spec.key), "flags");
	cr_assert_eq(parse(&spec, &record, sizeof(record)), MR_PARSE_OK);
	cr_assert_str_eq(key, "7");
	record.time_ns = INT64_MIN;
	cr_assert_eq(parse(&spec, &record, sizeof(record)), MR_PARSE_BAD_TIME);
	cr_assert_eq(parsed.where, 16);
}

Test(parse_raw, every_type_in_both_byte_orders)
{
	static const unsigned char bytes[] = {0x00, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	cr_assert_eq(value_of("v: u8 @ 1", false, bytes, 9), 254);
	cr_assert_eq(value_of("v: i8 @ 1", false, bytes, 9), -2);
	cr_assert_eq(value_of("v: u16 @ 0", false, bytes, 9), 0xfe00);
	cr_assert_eq(value_of("v: u16 @ 0", true, bytes, 9), 0x00fe);
	cr_assert_eq(value_of("v: i16 @ 0", false, bytes, 9), -512);
	cr_assert_eq(value_of("v: i16 @ 0", true, bytes, 9), 254);
	cr_assert_eq(value_of("v: i32 @ 1", false, bytes, 9), -2);
	cr_assert_eq(value_of("v: i32 @ 1", true, bytes, 9), -16777217);
	cr_assert_eq(value_of("v: u32 @ 1", false, bytes, 9), 4294967294.0);
	cr_assert_eq(value_of("v: i64 @ 1", false, bytes, 9), -2);
	cr_assert_eq(value_of("v: u64 @ 1", false, bytes, 9), 18446744073709551614.0);
	cr_assert_eq(value_of("v: i64 @ 0", true, bytes, 9), (double)INT64_C(0x00feffffffffffff));
	cr_assert_eq(value_of("v: f32 @ 0", true, "\x3f\xc0\x00\x00", 4), 1.5);
	cr_assert_eq(value_of("v: f32 @ 0", false, "\x00\x00\xc0\x3f", 4), 1.5);
	cr_assert_eq(value_of("v: f64 @ 0", true, "\x3f\xf8\0\0\0\0\0\0", 8), 1.5);
	cr_assert_eq(value_of("v: text:4 @ 1", false, "x1.5\0", 5), 1.5);
	cr_assert(isnan(value_of("v: f64 @ 0", true, "\x7f\xf8\0\0\0\0\0\0", 8)));
	cr_assert(isnan(value_of("v: f64 @ 0", true, "\x7f\xf0\0\0\0\0\0\0", 8)));
	cr_assert_eq(value_of("v: i64 @ 0", true, "\x80\0\0\0\0\0\0\0", 8), -9223372036854775808.0);
}

/* A real number alone is read on a shorter way: a parser that looks for the time, too, must say the
 * same of it. */
static void expect_as_with_time(const char *field, bool big_endian, struct mr_message message)
{
	struct mr_parse_spec alone = spec_of(big_endian, (const char *const[]){field, NULL});
	struct mr_parse_spec more =
		spec_of(big_endian, (const char *const[]){field, "t: i16 @ 0", NULL});
	enum mr_parse_reason reason;
	struct mr_parsed expected;

	snprintf(alone.value, sizeof(alone.value), "v");
	more.time_unit = MR_PARSE_TIME_MS;
	snprintf(more.value, sizeof(more.value), "v");
	snprintf(more.time, sizeof(more.time), "t");
	reason = parse_message(&more, &message);
	expected = parsed;
	cr_assert_eq(parse_message(&alone, &message), reason);
	cr_assert_eq(parsed.where, expected.where);
	cr_assert_eq(parsed.key_bytes, expected.key_bytes);
	if (expected.key_bytes > 0) /* of none, where it lies says nothing */
		cr_assert_eq(parsed.key, expected.key);
	cr_assert_not(parsed.scratched);
	cr_assert_eq(parsed.time_ms, message.timestamp_ms);
	cr_assert(memcmp(&parsed.value, &expected.value, sizeof(double)) == 0);
}

Test(parse_raw, a_number_alone_is_as_one_among_others)
{
	static const char *const fields[] = {"v: f64 @ 2", "v: f32 @ 2"};
	static char long_key[MR_PARSE_KEY_MAX + 1];
	static const char *const values[] = {
		"\0\0\x3f\xf8\0\0\0\0\xf8\x3f", "\0\0\x7f\xf8\0\0\0\0\xf8\x7f",
		"\0\0\xff\xf0\0\0\0\0\x80\xff", "\0\0\x80\0\0\0\0\0\0\x80"};

	for (uint32_t i = 0; i < 4 * mr_array_count(values); i++) {
		struct mr_message message = {.key = "own",
					     .key_bytes = 3,
					     .timestamp_ms = -77,
					     .value = values[i / 4],
					     .value_bytes = 10};
		const char *field = fields[i % 2];
		bool big_endian = i / 2 % 2;

		for (message.value_bytes = -1; message.value_bytes <= 10; message.value_bytes++)
			expect_as_with_time(field, big_endian, message);
		message.value_bytes = 10;
		message.key = long_key;
		message.key_bytes = MR_PARSE_KEY_MAX;
		expect_as_with_time(field, big_endian, message);
		message.key_bytes++;
		expect_as_with_time(field, big_endian, message);
		message.key = NULL;
		message.key_bytes = 0;
		expect_as_with_time(field, big_endian, message);
		message.key_bytes = -1;
		expect_as_with_time(field, big_endian, message);
		message.value = NULL;
		message.value_bytes = 0;
		expect_as_with_time(field, big_endian, message);
	}
}

static const char *key_in(const char *field, const void *bytes, size_t count)
{
	struct mr_parse_spec spec = spec_of(true, (const char *const[]){field, "v: u8 @ 0", NULL});

	snprintf(spec.key, sizeof(spec.key), "k");
	snprintf(spec.value, sizeof(spec.value), "v");
	return parse(&spec, bytes, count) == MR_PARSE_OK ? key : NULL;
}

Test(parse_raw, number_keys_are_their_shortest_text)
{
	static const unsigned char ones[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	cr_assert_str_eq(key_in("k: u64 @ 0", ones, 8), "18446744073709551615");
	cr_assert_str_eq(key_in("k: i64 @ 0", ones, 8), "-1");
	cr_assert_str_eq(key_in("k: i64 @ 0", "\x80\0\0\0\0\0\0\0", 8), "-9223372036854775808");
	cr_assert_str_eq(key_in("k: f64 @ 0", "\x3f\xf8\0\0\0\0\0\0", 8), "1.5");
	cr_assert_null(key_in("k: f64 @ 0", ones, 8), "NaN is no key");
}

static int64_t time_in(const char *field, const void *bytes, size_t count)
{
	struct mr_parse_spec spec = spec_of(true, (const char *const[]){field, "v: u8 @ 0", NULL});
	enum mr_parse_reason reason;

	spec.time_unit = MR_PARSE_TIME_S;
	snprintf(spec.time, sizeof(spec.time), "t");
	snprintf(spec.value, sizeof(spec.value), "v");
	reason = parse(&spec, bytes, count);
	cr_assert(reason == MR_PARSE_OK || reason == MR_PARSE_BAD_TIME);
	return reason == MR_PARSE_OK ? parsed.time_ms : INT64_MIN;
}

Test(parse_raw, times)
{
	cr_assert_eq(time_in("t: u32 @ 0", "\0\0\1\0", 4), 256000);
	cr_assert_eq(time_in("t: f64 @ 0", "\x3f\xf8\0\0\0\0\0\0", 8), 1500);
	cr_assert_eq(time_in("t: f64 @ 0", "\xff\xf8\0\0\0\0\0\0", 8), INT64_MIN, "NaN");
	cr_assert_eq(time_in("t: u64 @ 0", "\xff\xff\xff\xff\xff\xff\xff\xff", 8), INT64_MIN);
	cr_assert_eq(time_in("t: text:20 @ 0", "2014-02-14T14:27:00Z", 20), INT64_C(1392388020000));
}

Test(parse_raw, fields_are_read_as_they_are_written)
{
	struct mr_parse_raw_field field;
	struct mr_error err;

	cr_assert_eq(mr_parse_raw_field_read("id: text:16 @ 0", false, &field, &err), 0);
	cr_assert_str_eq(field.name, "id");
	cr_assert_eq(field.type, 't');
	cr_assert_eq(field.bytes, 16);
	cr_assert_eq(field.at, 0);
	cr_assert_not(field.big_endian);
	cr_assert_eq(mr_parse_raw_field_read("temp: f64 @ 1048568", true, &field, &err), 0);
	cr_assert_eq(field.type, 'f');
	cr_assert_eq(field.bytes, 8);
	cr_assert_eq(field.at, 1048568);
	cr_assert(field.big_endian);
}

Test(parse_raw, fields_that_make_no_sense_are_refused)
{
	static const char *const wrong[] = {"",
					    "temp",
					    "temp:",
					    "temp: f64",
					    "temp: f64 @",
					    "temp: f64 @ x",
					    "temp f64 @ 0",
					    ": f64 @ 0",
					    "temp: f16 @ 0",
					    "temp: i12 @ 0",
					    "temp: i128 @ 0",
					    "temp: x64 @ 0",
					    "temp: f64 @ -1",
					    "temp: f64 @ 8 9",
					    "temp: text @ 0",
					    "temp: text:0 @ 0",
					    "temp: text:1025 @ 0",
					    "temp: t8 @ 0",
					    "temp: f64 @ 1048569",
					    "temp: f64 @ 12345678",
					    "temp: f64 @ 99999999999",
					    "temp: f @ 0",
					    "temp: @ 0",
					    "a_name_of_thirty_two_characters_: f64 @ 0"};
	struct mr_parse_raw_field field = {.name = "before"};
	struct mr_error err;

	for (size_t i = 0; i < mr_array_count(wrong); i++) {
		cr_assert_eq(mr_parse_raw_field_read(wrong[i], false, &field, &err), -EINVAL, "%s",
			     wrong[i]);
		cr_assert(strstr(err.what, "raw field"));
		cr_assert(strstr(err.hint, "NAME: TYPE @ OFFSET"));
	}
	cr_assert_str_eq(field.name, "before", "and nothing is changed");
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

Test(parse_raw, layouts_are_checked_at_the_door)
{
	struct mr_parse_spec good =
		spec_of(false, (const char *const[]){"a: u8 @ 0", "b: f64 @ 8", NULL});
	struct mr_parse_spec spec;

	snprintf(good.value, sizeof(good.value), "b");
	cr_assert_eq(opens(&good), 0);
	spec = good;
	snprintf(spec.key, sizeof(spec.key), "c");
	cr_assert_eq(opens(&spec), -EINVAL, "no such field");
	spec = good;
	snprintf(spec.fields[1].name, sizeof(spec.fields[1].name), "a");
	cr_assert_eq(opens(&spec), -EINVAL, "twice");
	spec = good;
	spec.fields[0].bytes = 3;
	cr_assert_eq(opens(&spec), -EINVAL, "no such size");
	spec.fields[0].bytes = 1;
	spec.fields[0].at = UINT32_MAX;
	cr_assert_eq(opens(&spec), -EINVAL, "no such place");
	spec.fields[0].at = MR_PARSE_RAW_MAX - 1;
	cr_assert_eq(opens(&spec), 0);
	spec.fields[0].type = 'x';
	cr_assert_eq(opens(&spec), -EINVAL, "no such type");
	spec = good;
	memset(spec.fields[0].name, 'x', sizeof(spec.fields[0].name));
	cr_assert_eq(opens(&spec), -EINVAL, "not ended");
	spec = good;
	spec.name_count = 0;
	cr_assert_eq(opens(&spec), -EINVAL);
	spec.name_count = MR_PARSE_COLUMNS_MAX + 1;
	cr_assert_eq(opens(&spec), -EINVAL);
}
