/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw records: numbers and texts at fixed places, as a program's struct lies in memory. Pure; any
 * thread; allocates nothing.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "parse_inside.h"

/* ---- "NAME: TYPE @ OFFSET" ------------------------------------------------------------------- */

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

/* Up to 7 digits; NULL: there are none, or more. */
static const char *read_count(const char *at, uint32_t *out)
{
	size_t digits = strspn(at, "0123456789");

	if (digits == 0 || digits > 7)
		return NULL;
	*out = 0;
	for (size_t i = 0; i < digits; i++)
		*out = *out * 10 + (uint32_t)(at[i] - '0');
	return at + digits;
}

static bool has_size(char type, uint32_t bytes)
{
	if (type == 't')
		return bytes >= 1 && bytes <= MR_PARSE_KEY_MAX;
	if (type == 'f')
		return bytes == 4 || bytes == 8;
	return (type == 'i' || type == 'u') &&
	       (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8);
}

/* "i16", "f64", "text:12": behind it, or NULL. */
static const char *read_type(const char *at, struct mr_parse_raw_field *out)
{
	bool text = strncmp(at, "text:", 5) == 0;
	uint32_t count = 0;

	out->type = *at;
	at = *at ? read_count(text ? at + 5 : at + 1, &count) : NULL;
	if (!at || (!text && (out->type == 't' || count % 8 != 0)))
		return NULL;
	out->bytes = text ? count : count / 8;
	return has_size(out->type, out->bytes) ? at : NULL;
}

/* All of it; false: something is wrong, and *at is where. */
static bool read_field(const char **at, struct mr_parse_raw_field *out)
{
	const char *name = skip_blanks(*at);
	size_t bytes = strcspn(name, ": \t@");
	const char *next;

	*at = name;
	if (bytes == 0 || bytes >= sizeof(out->name))
		return false;
	memcpy(out->name, name, bytes);
	*at = skip_blanks(name + bytes);
	if (**at != ':')
		return false;
	*at = skip_blanks(*at + 1);
	next = read_type(*at, out);
	if (!next)
		return false;
	*at = skip_blanks(next);
	if (**at != '@')
		return false;
	*at = skip_blanks(*at + 1);
	next = read_count(*at, &out->at);
	if (!next || out->at > MR_PARSE_RAW_MAX - out->bytes)
		return false;
	*at = skip_blanks(next);
	return **at == '\0';
}

int mr_parse_raw_field_read(const char *text, bool big_endian, struct mr_parse_raw_field *out,
			    struct mr_error *err)
{
	struct mr_parse_raw_field field = {.big_endian = big_endian};
	const char *at = text;

	if (!read_field(&at, &field)) {
		mr_error_set(err, -EINVAL, "raw field '%s': wrong from '%s' on", text, at);
		return mr_error_hint(err, "write NAME: TYPE @ OFFSET; types are i8, i16, i32, i64, "
					  "u8, u16, u32, u64, f32, f64 and text:BYTES");
	}
	*out = field;
	return 0;
}

/* ---- at the door ---------------------------------------------------------------------------- */

static int check_field(const struct mr_parse_spec *spec, uint32_t index, struct mr_error *err)
{
	const struct mr_parse_raw_field *field = &spec->fields[index];

	if (!memchr(field->name, '\0', sizeof(field->name)) || !field->name[0])
		return mr_error_set(err, -EINVAL, "raw: field %u has no name", index + 1);
	if (!has_size(field->type, field->bytes) || field->at > MR_PARSE_RAW_MAX - field->bytes)
		return mr_error_set(err, -EINVAL, "raw: field '%s' has no such size or place",
				    field->name);
	for (uint32_t i = 0; i < index; i++) {
		if (strcmp(spec->fields[i].name, field->name) == 0)
			return mr_error_set(err, -EINVAL, "raw: field '%s' is named twice",
					    field->name);
	}
	return 0;
}

static int find_field(const struct mr_parse_spec *spec, const char *name, uint32_t *out)
{
	for (uint32_t i = 0; i < spec->name_count; i++) {
		if (strcmp(spec->fields[i].name, name) == 0) {
			*out = i;
			return 0;
		}
	}
	return -EINVAL;
}

int mr_parse_raw_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		      struct mr_error *err)
{
	const char *const texts[MR_WANTS] = {spec->key, spec->time, spec->value};
	uint32_t index;

	if (spec->name_count == 0 || spec->name_count > MR_PARSE_COLUMNS_MAX)
		return mr_error_set(err, -EINVAL, "raw: %u fields, from 1 to %d are possible",
				    spec->name_count, MR_PARSE_COLUMNS_MAX);
	for (uint32_t i = 0; i < spec->name_count; i++) {
		const struct mr_parse_raw_field *field = &spec->fields[i];
		int r = check_field(spec, i, err);

		if (r < 0)
			return r;
		if (field->at + field->bytes > parser->columns)
			parser->columns = field->at + field->bytes;
	}
	for (int want = 0; want < MR_WANTS; want++) {
		if (!parser->wanted[want])
			continue;
		if (find_field(spec, texts[want], &index) < 0)
			return mr_error_set(err, -EINVAL, "%s: there is no raw field '%s'",
					    mr_parse_want_names[want], texts[want]);
		parser->fields[want] = spec->fields[index];
	}
	parser->bare = !parser->wanted[MR_WANT_KEY] && !parser->wanted[MR_WANT_TIME] &&
		       parser->fields[MR_WANT_VALUE].type == 'f';
	return 0;
}

/* ---- a record -------------------------------------------------------------------------------- */

static uint64_t load(const struct mr_parse_raw_field *field, const char *text)
{
	const unsigned char *at = (const unsigned char *)text + field->at;
	uint64_t word = 0;

	if (field->bytes == sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		return field->big_endian ? be64toh(word) : le64toh(word);
	}
	for (uint32_t i = 0; i < field->bytes; i++)
		word = word << 8 | at[field->big_endian ? i : field->bytes - 1 - i];
	return word;
}

static double real_of(uint64_t word, uint32_t bytes)
{
	uint32_t narrow = (uint32_t)word;
	double wide;
	float single;

	if (bytes == 4) {
		memcpy(&single, &narrow, sizeof(single));
		return (double)single;
	}
	memcpy(&wide, &word, sizeof(wide));
	return wide;
}

static void find_field_value(const struct mr_parse_raw_field *field, const char *text,
			     struct mr_found *out)
{
	unsigned shift = 64 - 8 * field->bytes;
	const char *zero;
	uint64_t word;

	out->text = text + field->at;
	out->bytes = field->bytes;
	out->escaped = false;
	if (field->type == 't') {
		zero = memchr(out->text, '\0', field->bytes);
		out->kind = MR_FOUND_WORD;
		out->bytes = zero ? (uint32_t)(zero - out->text) : field->bytes;
		return;
	}
	word = load(field, text);
	if (field->type == 'f') {
		out->kind = MR_FOUND_REAL;
		out->real = real_of(word, field->bytes);
		return;
	}
	out->kind = MR_FOUND_INTEGER;
	out->decimal = (struct mr_decimal){0};
	if (field->type == 'i' && (int64_t)(word << shift) < 0) {
		out->decimal.negative = true;
		word = -(word | (shift ? ~UINT64_C(0) << (64 - shift) : 0));
	}
	out->decimal.digits = word;
}

enum mr_parse_reason mr_parse_raw_bare(const struct mr_parser *parser,
				       const struct mr_message *message, struct mr_parsed *out)
{
	const struct mr_parse_raw_field *field = &parser->fields[MR_WANT_VALUE];

	if ((uint32_t)message->value_bytes < parser->columns) {
		out->where = (uint32_t)message->value_bytes;
		return MR_PARSE_MALFORMED;
	}
	if (!mr_parse_own_key(message, out))
		return MR_PARSE_NO_KEY;
	out->value = mr_parse_or_missing(real_of(load(field, message->value), field->bytes));
	return MR_PARSE_OK;
}

enum mr_parse_reason mr_parse_raw(const struct mr_parser *parser, const char *text, size_t bytes,
				  struct mr_found *found, const char **where)
{
	*where = text + bytes;
	if (bytes < parser->columns)
		return MR_PARSE_MALFORMED;
	for (int want = 0; want < MR_WANTS; want++) {
		if (parser->wanted[want])
			find_field_value(&parser->fields[want], text, &found[want]);
	}
	return MR_PARSE_OK;
}
