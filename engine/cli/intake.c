/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a line of text to a record. Owned by one thread. Keys are copied into pages that are kept
 * and used again, so that a record costs no allocation of ours; JSON is jansson's, CSV libcsv's.
 */
#include "intake.h"

#include <csv.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "json_field.h"
#include "keep.h"
#include "time_text.h"

#define NO_FIELD SIZE_MAX

/* The CSV half: what libcsv's callbacks find in one row. */
struct row {
	size_t field_count; /* of this row so far */
	size_t fields_due;  /* as the first row has them; 0: not seen yet */
	size_t key_index;   /* NO_FIELD: not asked for, or not found in the first row */
	size_t time_index;
	const char *key; /* kept copies of this row's fields */
	size_t key_bytes;
	char time[64];
	size_t time_bytes; /* of the whole field, even if it is too long for 'time' */
	bool no_memory;
	const char *twice; /* a name that is asked for, and that two fields of the first row have */
};

struct mr_intake {
	struct mr_intake_options options;
	struct mr_keep keep; /* of the keys */
	struct csv_parser csv;
	struct row row;
};

int mr_intake_format_parse(const char *text, enum mr_intake_format *format)
{
	static const char *const names[] = {
		[MR_INTAKE_RAW] = "raw", [MR_INTAKE_JSON] = "json", [MR_INTAKE_CSV] = "csv"};

	for (size_t i = 0; i < mr_array_count(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*format = (enum mr_intake_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Rows come without their line break; any that is in them belongs to a field. */
static int is_row_end(unsigned char character)
{
	return character == '\n';
}

/* A blank beside a value belongs to the value. */
static int is_no_blank(unsigned char character)
{
	return 0;
}

static int start_csv(struct csv_parser *csv, struct mr_error *err)
{
	if (csv_init(csv, CSV_STRICT | CSV_STRICT_FINI) != 0)
		return mr_error_set(err, -ENOMEM, "no memory to read CSV");
	csv_set_space_func(csv, is_no_blank);
	csv_set_term_func(csv, is_row_end);
	return 0;
}

int mr_intake_open(const struct mr_intake_options *options, struct mr_intake **out,
		   struct mr_error *err)
{
	struct mr_intake *intake;
	int r;

	if (options->format == MR_INTAKE_RAW && (options->key_field || options->time_field)) {
		mr_error_set(err, -EINVAL, "a raw line has no fields");
		return mr_error_hint(err,
				     "use --format json or --format csv with --key and --time");
	}
	intake = calloc(1, sizeof(*intake));
	if (!intake)
		return mr_error_set(err, -ENOMEM, "no memory to read lines");
	intake->options = *options;
	r = start_csv(&intake->csv, err);
	if (r < 0) {
		free(intake);
		return r;
	}
	*out = intake;
	return 0;
}

void mr_intake_close(struct mr_intake *intake)
{
	if (!intake)
		return;
	csv_free(&intake->csv);
	mr_keep_deinit(&intake->keep);
	free(intake);
}

void mr_intake_forget(struct mr_intake *intake)
{
	mr_keep_forget(&intake->keep);
}

static int refuse_time(const char *field, const char *text, size_t bytes, int code,
		       struct mr_error *err)
{
	int shown = bytes > 60 ? 60 : (int)bytes;

	if (code == -ERANGE)
		return mr_error_set(err, -EBADMSG, "time field '%s' is out of range: '%.*s'", field,
				    shown, text);
	mr_error_set(err, -EBADMSG, "time field '%s' is no time: '%.*s'", field, shown, text);
	mr_error_hint(err, "times are seconds or milliseconds since 1970, or ISO 8601 (UTC)");
	return -EBADMSG;
}

static int set_key(struct mr_intake *intake, const char *text, size_t bytes,
		   struct mr_record *record, struct mr_error *err)
{
	const char *kept;

	if (bytes > INT32_MAX)
		return mr_error_set(err, -EBADMSG, "a key of %zu bytes is too large", bytes);
	kept = mr_keep_copy(&intake->keep, text, bytes);
	if (!kept)
		return mr_error_set(err, -ENOMEM, "no memory for a key of %zu bytes", bytes);
	record->key = kept;
	record->key_bytes = (int32_t)bytes;
	return 0;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static int json_key(struct mr_intake *intake, const json_t *line, struct mr_record *record,
		    struct mr_error *err)
{
	const char *field = intake->options.key_field;
	char number[MR_JSON_NUMBER_BYTES];
	const json_t *value;
	int r;

	if (!field)
		return 0;
	r = mr_json_find(line, field, &value, err);
	if (r < 0)
		return r;
	if (json_is_string(value))
		return set_key(intake, json_string_value(value), json_string_length(value), record,
			       err);
	if (mr_json_number_text(value, number) < 0)
		return mr_error_set(err, -EBADMSG, "key field '%s' is no text and no number",
				    field);
	return set_key(intake, number, strlen(number), record, err);
}

static int json_time(struct mr_intake *intake, const json_t *line, struct mr_record *record,
		     struct mr_error *err)
{
	const char *field = intake->options.time_field;
	char number[MR_JSON_NUMBER_BYTES];
	const json_t *value;
	int r;

	if (!field)
		return 0;
	r = mr_json_find(line, field, &value, err);
	if (r < 0)
		return r;
	if (json_is_string(value)) {
		const char *text = json_string_value(value);
		size_t bytes = json_string_length(value);

		r = mr_time_parse(text, bytes, &record->timestamp_ms);
		return r < 0 ? refuse_time(field, text, bytes, r, err) : 0;
	}
	if (mr_json_number_text(value, number) < 0)
		return mr_error_set(err, -EBADMSG, "time field '%s' is no text and no number",
				    field);
	r = mr_time_of_number(json_number_value(value), &record->timestamp_ms);
	return r < 0 ? refuse_time(field, number, strlen(number), r, err) : 0;
}

static bool is_blank(const char *line, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (!strchr(" \t\r", line[i]) || !line[i])
			return false;
	}
	return true;
}

static int json_line(struct mr_intake *intake, const char *line, size_t bytes,
		     struct mr_record *record, struct mr_error *err)
{
	json_error_t problem;
	json_t *value;
	int r;

	if (is_blank(line, bytes))
		return 0;
	value = json_loadb(line, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
	if (!value)
		return mr_error_set(err, -EBADMSG, "no JSON: %s (column %d)", problem.text,
				    problem.column);
	r = json_key(intake, value, record, err);
	if (r == 0)
		r = json_time(intake, value, record, err);
	json_decref(value);
	return r < 0 ? r : 1;
}

/* ---- CSV ----------------------------------------------------------------------------------- */

/* Where the field of that name is; one of two cannot be meant. */
static void note_name(struct row *row, const char *name, const void *text, size_t bytes,
		      size_t *index)
{
	if (!name || bytes != strlen(name) || memcmp(text, name, bytes) != 0)
		return;
	if (*index != NO_FIELD)
		row->twice = name;
	*index = row->field_count;
}

/* libcsv's callback: the fields of the first row say where key and time are. */
static void name_field(void *text, size_t bytes, void *arg)
{
	struct mr_intake *intake = arg;
	struct row *row = &intake->row;

	note_name(row, intake->options.key_field, text, bytes, &row->key_index);
	note_name(row, intake->options.time_field, text, bytes, &row->time_index);
	row->field_count++;
}

static void take_field(void *text, size_t bytes, void *arg)
{
	struct mr_intake *intake = arg;
	struct row *row = &intake->row;

	if (row->field_count == row->key_index) {
		row->key = mr_keep_copy(&intake->keep, text, bytes);
		row->key_bytes = bytes;
		row->no_memory = !row->key;
	}
	if (row->field_count == row->time_index) {
		if (bytes > 0)
			memcpy(row->time, text,
			       bytes < sizeof(row->time) ? bytes : sizeof(row->time));
		row->time_bytes = bytes;
	}
	row->field_count++;
}

static int parse_row(struct mr_intake *intake, const char *line, size_t bytes,
		     void (*each)(void *, size_t, void *), struct mr_error *err)
{
	int problem;
	int r;

	intake->row.field_count = 0;
	if (csv_parse(&intake->csv, line, bytes, each, NULL, intake) == bytes &&
	    csv_fini(&intake->csv, each, NULL, intake) == 0)
		return 0;
	problem = csv_error(&intake->csv);
	csv_free(&intake->csv);
	r = start_csv(&intake->csv, err);
	if (r < 0)
		return r;
	if (problem == CSV_ENOMEM)
		return mr_error_set(err, -ENOMEM, "no memory for a row of %zu bytes", bytes);
	return mr_error_set(err, -EBADMSG, "no CSV: a double quote stands in the wrong place");
}

/* Without a good first row no other can be read: -EINVAL, which no --skip-bad skips. */
static int first_row(struct mr_intake *intake, const char *line, size_t bytes, struct mr_error *err)
{
	struct row *row = &intake->row;
	const char *missing = NULL;
	int r;

	if (bytes >= 3 &&
	    memcmp(line, "\xef\xbb\xbf", 3) == 0) { /* UTF-8's mark, as Excel writes it */
		line += 3;
		bytes -= 3;
	}
	row->key_index = row->time_index = NO_FIELD;
	row->twice = NULL;
	r = parse_row(intake, line, bytes, name_field, err);
	if (r < 0)
		return mr_error_set(err, -EINVAL, "the first row is no CSV");
	if (intake->options.key_field && row->key_index == NO_FIELD)
		missing = intake->options.key_field;
	if (intake->options.time_field && row->time_index == NO_FIELD)
		missing = intake->options.time_field;
	if (missing) {
		mr_error_set(err, -EINVAL, "the first row names no field '%s'", missing);
		return mr_error_why(err, "it is: %.*s", bytes > 120 ? 120 : (int)bytes, line);
	}
	if (row->twice) {
		mr_error_set(err, -EINVAL, "the first row names field '%s' twice", row->twice);
		return mr_error_why(err, "it is: %.*s", bytes > 120 ? 120 : (int)bytes, line);
	}
	row->fields_due = row->field_count;
	return 0;
}

static int csv_line(struct mr_intake *intake, const char *line, size_t bytes,
		    struct mr_record *record, struct mr_error *err)
{
	struct row *row = &intake->row;
	int r;

	if (bytes == 0)
		return 0;
	if (row->fields_due == 0)
		return first_row(intake, line, bytes, err);
	row->no_memory = false;
	r = parse_row(intake, line, bytes, take_field, err);
	if (r < 0)
		return r;
	if (row->no_memory)
		return mr_error_set(err, -ENOMEM, "no memory for a key");
	if (row->field_count != row->fields_due)
		return mr_error_set(err, -EBADMSG, "%zu fields, the first row has %zu",
				    row->field_count, row->fields_due);
	if (intake->options.key_field) {
		record->key = row->key;
		record->key_bytes = (int32_t)row->key_bytes;
	}
	if (!intake->options.time_field)
		return 1;
	r = mr_time_parse(row->time, row->time_bytes, &record->timestamp_ms);
	if (r < 0)
		return refuse_time(intake->options.time_field, row->time, row->time_bytes, r, err);
	return 1;
}

/* ---- all formats --------------------------------------------------------------------------- */

int mr_intake_line(struct mr_intake *intake, const char *line, size_t bytes,
		   struct mr_record *record, struct mr_error *err)
{
	/* Files from elsewhere end their lines in CR LF; a raw line is kept as it is. */
	if (intake->options.format != MR_INTAKE_RAW && bytes > 0 && line[bytes - 1] == '\r')
		bytes--;
	*record = (struct mr_record){
		.value = line,
		.value_bytes = (int32_t)bytes,
		.key_bytes = MR_NULL_BYTES,
		.timestamp_ms = MR_TIMESTAMP_NOW,
	};
	switch (intake->options.format) {
	case MR_INTAKE_JSON:
		return json_line(intake, line, bytes, record, err);
	case MR_INTAKE_CSV:
		return csv_line(intake, line, bytes, record, err);
	case MR_INTAKE_RAW:
		break;
	}
	return 1;
}
