/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as text. Owned by one thread.
 */
#include "output.h"

#include <csv.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "time_text.h"

int mr_output_format_parse(const char *text, enum mr_output_format *format)
{
	static const char *const names[] = {
		[MR_OUTPUT_RAW] = "raw",
		[MR_OUTPUT_JSON] = "json",
		[MR_OUTPUT_CSV] = "csv",
		[MR_OUTPUT_TABLE] = "table",
	};

	for (size_t i = 0; i < mr_array_count(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*format = (enum mr_output_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

void mr_output_begin(FILE *out, enum mr_output_format format)
{
	if (format == MR_OUTPUT_CSV)
		fprintf(out, "partition,offset,timestamp,key,value\r\n");
	if (format == MR_OUTPUT_TABLE)
		fprintf(out, "%16s  %-24s  %-24s  %s\n", "partition:offset", "time", "key",
			"value");
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static json_t *base64(const uint8_t *bytes, size_t count)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t text_bytes = (count + 2) / 3 * 4;
	char *text = malloc(text_bytes + 1);
	json_t *json;

	if (!text)
		return NULL;
	for (size_t i = 0, at = 0; i < count; i += 3, at += 4) {
		uint32_t three = (uint32_t)bytes[i] << 16 |
				 (uint32_t)(i + 1 < count ? bytes[i + 1] : 0) << 8 |
				 (i + 2 < count ? bytes[i + 2] : 0);

		text[at] = digits[three >> 18];
		text[at + 1] = digits[three >> 12 & 63];
		text[at + 2] = i + 1 < count ? digits[three >> 6 & 63] : '=';
		text[at + 3] = i + 2 < count ? digits[three & 63] : '=';
	}
	json = json_stringn(text, text_bytes);
	free(text);
	return json;
}

/* Sets 'name' to the text, or NAME_base64 where the bytes are no UTF-8. */
static int put_bytes(json_t *object, const char *name, const void *bytes, int32_t count)
{
	char other[32];
	json_t *text;

	if (count == MR_NULL_BYTES)
		return json_object_set_new(object, name, json_null());
	text = json_stringn(count ? bytes : "", (size_t)count);
	if (text)
		return json_object_set_new(object, name, text);
	snprintf(other, sizeof(other), "%s_base64", name);
	return json_object_set_new(object, other, base64(bytes, (size_t)count));
}

static int put_headers(json_t *object, const struct mr_message *message)
{
	json_t *list = json_array();
	int r = json_object_set_new(object, "headers", list);

	for (uint32_t i = 0; i < message->header_count && r == 0; i++) {
		struct mr_header header;
		json_t *entry = json_object();

		r = json_array_append_new(list, entry);
		if (r < 0)
			break;
		if (mr_message_header(message, i, &header) < 0)
			return -EBADMSG;
		r = put_bytes(entry, "name", header.name, header.name_bytes) |
		    put_bytes(entry, "value", header.value, header.value_bytes);
	}
	return r < 0 ? -ENOMEM : 0;
}

static int write_json(FILE *out, const struct mr_message *message)
{
	json_t *object = json_pack("{s:i, s:I, s:I}", "partition", message->partition, "offset",
				   (json_int_t)message->offset, "timestamp_ms",
				   (json_int_t)message->timestamp_ms);
	int r;

	if (!object)
		return -ENOMEM;
	r = put_bytes(object, "key", message->key, message->key_bytes) |
	    put_bytes(object, "value", message->value, message->value_bytes);
	r = r < 0 ? -ENOMEM : 0;
	if (r == 0 && message->header_count > 0)
		r = put_headers(object, message);
	if (r == 0 && json_dumpf(object, out, JSON_COMPACT) == 0)
		putc('\n', out);
	json_decref(object);
	return r;
}

/* ---- CSV and the table --------------------------------------------------------------------- */

static void write_csv_field(FILE *out, const void *bytes, int32_t count)
{
	if (count == MR_NULL_BYTES)
		return;
	if (count == 0)
		fputs("\"\"", out);
	else
		csv_fwrite(out, bytes, (size_t)count);
}

static void write_csv(FILE *out, const struct mr_message *message)
{
	char time[MR_TIME_TEXT_BYTES];

	mr_time_format(message->timestamp_ms, time);
	fprintf(out, "%" PRId32 ",%" PRIu64 ",%s,", message->partition, message->offset, time);
	write_csv_field(out, message->key, message->key_bytes);
	putc(',', out);
	write_csv_field(out, message->value, message->value_bytes);
	fputs("\r\n", out);
}

/* Text that may hold anything; returns how many columns it took, bytes of UTF-8 taken for columns.
 */
static int write_harmless(FILE *out, const char *text, int32_t count)
{
	if (count == MR_NULL_BYTES)
		return fprintf(out, "-");
	for (int32_t i = 0; i < count; i++) {
		unsigned char c = (unsigned char)text[i];

		putc(c < 0x20 || c == 0x7f ? '?' : c, out);
	}
	return count;
}

static void write_table(FILE *out, const struct mr_message *message)
{
	char place[40];
	char time[MR_TIME_TEXT_BYTES];
	int columns;

	snprintf(place, sizeof(place), "%" PRId32 ":%" PRIu64, message->partition, message->offset);
	mr_time_format(message->timestamp_ms, time);
	fprintf(out, "%16s  %-24s  ", place, time);
	columns = write_harmless(out, message->key, message->key_bytes);
	fprintf(out, "%*s", columns < 24 ? 26 - columns : 2, "");
	(void)write_harmless(out, message->value, message->value_bytes); /* the last column */
	putc('\n', out);
}

int mr_output_record(FILE *out, enum mr_output_format format, const struct mr_message *message)
{
	switch (format) {
	case MR_OUTPUT_JSON:
		return write_json(out, message);
	case MR_OUTPUT_CSV:
		write_csv(out, message);
		return 0;
	case MR_OUTPUT_TABLE:
		write_table(out, message);
		return 0;
	case MR_OUTPUT_RAW:
		break;
	}
	if (message->value_bytes > 0)
		fwrite(message->value, 1, (size_t)message->value_bytes, out);
	putc('\n', out);
	return 0;
}
