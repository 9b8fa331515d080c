/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a record's text says all of it, and a reader can take it apart again. */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "output.h"

#define TIME_MS	  INT64_C(1795305600123)
#define TIME_TEXT "2026-11-22T00:00:00.123Z"

/* What a message looks like in a format; the caller frees. */
static char *text_of(enum mr_output_format format, const struct mr_message *message)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	mr_output_begin(out, format);
	cr_assert_eq(mr_output_record(out, format, message), 0);
	fclose(out);
	return text;
}

static struct mr_message message_of(const char *key, const char *value)
{
	return (struct mr_message){
		.offset = 42,
		.timestamp_ms = TIME_MS,
		.partition = 3,
		.key = key,
		.key_bytes = key ? (int32_t)strlen(key) : MR_NULL_BYTES,
		.value = value,
		.value_bytes = value ? (int32_t)strlen(value) : MR_NULL_BYTES,
	};
}

static void expect(enum mr_output_format format, const struct mr_message *message,
		   const char *expected)
{
	char *text = text_of(format, message);

	cr_assert_str_eq(text, expected);
	free(text);
}

Test(output, formats_have_names)
{
	enum mr_output_format format;

	cr_assert_eq(mr_output_format_parse("table", &format), 0);
	cr_assert_eq(format, MR_OUTPUT_TABLE);
	cr_assert_eq(mr_output_format_parse("xml", &format), -EINVAL);
}

Test(output, raw_is_the_value_and_a_break)
{
	struct mr_message message = message_of("k", "v");

	expect(MR_OUTPUT_RAW, &message, "v\n");
	message = message_of(NULL, NULL);
	expect(MR_OUTPUT_RAW, &message, "\n");
}

Test(output, raw_keeps_zero_bytes)
{
	struct mr_message message = message_of(NULL, "abc");
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	message.value = "a\0c";
	cr_assert_eq(mr_output_record(out, MR_OUTPUT_RAW, &message), 0);
	fclose(out);
	cr_assert_eq(bytes, 4);
	cr_assert_eq(memcmp(text, "a\0c\n", 4), 0);
	free(text);
}

Test(output, json_says_everything)
{
	struct mr_message message = message_of("k\"", "{\"a\":1}");

	expect(MR_OUTPUT_JSON, &message,
	       "{\"partition\":3,\"offset\":42,\"timestamp_ms\":1795305600123,"
	       "\"key\":\"k\\\"\",\"value\":\"{\\\"a\\\":1}\"}\n");
}

Test(output, json_tells_null_from_empty)
{
	struct mr_message message = message_of(NULL, "");
	char *text = text_of(MR_OUTPUT_JSON, &message);

	cr_assert(strstr(text, "\"key\":null,\"value\":\"\""), "%s", text);
	free(text);
}

Test(output, json_puts_what_is_no_text_in_base64)
{
	static const struct {
		const char *bytes;
		int32_t count;
		const char *base64;
	} rows[] = {
		{"\xff", 1, "/w=="},	     {"\xff\xfe", 2, "//4="},
		{"\xff\xfe\xfd", 3, "//79"}, {"\xc3(abc", 5, "wyhhYmM="},
		{"\xed\xa0\x80", 3, "7aCA"}, /* half a surrogate pair */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mr_message message = message_of(NULL, "");
		json_t *json;
		char *text;

		message.value = rows[i].bytes;
		message.value_bytes = rows[i].count;
		text = text_of(MR_OUTPUT_JSON, &message);
		json = json_loads(text, 0, NULL);
		cr_assert_null(json_object_get(json, "value"));
		cr_assert_str_eq(json_string_value(json_object_get(json, "value_base64")),
				 rows[i].base64);
		json_decref(json);
		free(text);
	}
}

Test(output, json_has_headers_in_order)
{
	const struct mr_header headers[] = {
		{"trace", 5, "1", 1}, {"trace", 5, NULL, MR_NULL_BYTES}, {"", 0, "\xff", 1}};
	struct mr_message message = message_of("k", "v");
	char bytes[64];
	char *text;

	message.headers = bytes;
	message.header_bytes = (uint32_t)mr_headers_encode(headers, 3, bytes);
	message.header_count = 3;
	text = text_of(MR_OUTPUT_JSON, &message);
	cr_assert(strstr(text, "\"headers\":[{\"name\":\"trace\",\"value\":\"1\"},"
			       "{\"name\":\"trace\",\"value\":null},"
			       "{\"name\":\"\",\"value_base64\":\"/w==\"}]"),
		  "%s", text);
	free(text);
}

Test(output, json_refuses_headers_that_cannot_be_read)
{
	struct mr_message message = message_of("k", "v");
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	message.headers = "\x7f";
	message.header_bytes = 1;
	message.header_count = 1;
	cr_assert_eq(mr_output_record(out, MR_OUTPUT_JSON, &message), -EBADMSG);
	fclose(out);
	cr_assert_eq(bytes, 0, "nothing half");
	free(text);
}

Test(output, csv_quotes_by_rfc_4180)
{
	struct mr_message message = message_of("a,b", "say \"x\"\r\ny");

	expect(MR_OUTPUT_CSV, &message,
	       "partition,offset,timestamp,key,value\r\n"
	       "3,42," TIME_TEXT ",\"a,b\",\"say \"\"x\"\"\r\ny\"\r\n");
	message = message_of(NULL, "");
	expect(MR_OUTPUT_CSV, &message,
	       "partition,offset,timestamp,key,value\r\n3,42," TIME_TEXT ",,\"\"\r\n");
}

Test(output, the_table_shows_no_control_characters)
{
	struct mr_message message = message_of("k\x1b[31m", "a\tb\nc\x7f");
	char *text = text_of(MR_OUTPUT_TABLE, &message);
	char *line = strchr(text, '\n') + 1;

	cr_assert(strstr(line, "k?[31m"), "%s", text);
	cr_assert(strstr(line, "a?b?c?\n"), "%s", text);
	cr_assert(strstr(line, "3:42  " TIME_TEXT), "%s", text);
	cr_assert_null(strchr(line, '\x1b'));
	free(text);
}

Test(output, the_table_keeps_its_columns)
{
	struct mr_message message = message_of("key", "VALUE");
	char *text = text_of(MR_OUTPUT_TABLE, &message);
	char *line = strchr(text, '\n') + 1;

	cr_assert_eq(strstr(text, "value") - text, strstr(line, "VALUE") - line, "%s", text);
	cr_assert_eq(strstr(text, "  key") - text, strstr(line, "  key") - line, "%s", text);
	free(text);
	message = message_of(NULL, "VALUE");
	text = text_of(MR_OUTPUT_TABLE, &message);
	line = strchr(text, '\n') + 1;
	cr_assert_eq(strstr(text, "value") - text, strstr(line, "VALUE") - line, "%s", text);
	free(text);
}
