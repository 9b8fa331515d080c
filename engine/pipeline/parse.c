/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to key, time and value: what the formats found becomes what it means, or a reason why it
 * means nothing. Pure; one thread a parser.
 */
#include "parse.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "parse_inside.h"
#include "time_text.h"

#define TIME_MS_MIN INT64_C(-62167219200000) /* the first of the year 0 */
#define TIME_MS_MAX INT64_C(253402300799999) /* the last of the year 9999 */

const char *const mr_parse_reason_names[MR_PARSE_REASONS] = {
	"ok", "null", "malformed", "no key", "bad time", "not a number", "too deep"};
const char *const mr_parse_want_names[MR_WANTS] = {"key", "time", "value"};

/* ---- at the door -------------------------------------------------------------------------- */

static int open_number(const struct mr_parse_spec *spec, struct mr_error *err)
{
	if (!spec->key[0] && !spec->time[0] && !spec->value[0])
		return 0;
	return mr_error_set(err, -EINVAL,
			    "a record that is one number has no '%s': key and time are its own",
			    spec->key[0]    ? spec->key
			    : spec->time[0] ? spec->time
					    : spec->value);
}

static int open_format(const struct mr_parse_spec *spec, struct mr_parser *parser,
		       struct mr_error *err)
{
	switch (spec->format) {
	case MR_PARSE_JSON:
		return mr_parse_json_open(spec, parser, err);
	case MR_PARSE_CSV:
		return mr_parse_csv_open(spec, parser, err);
	case MR_PARSE_LINE_PROTOCOL:
		return mr_parse_line_open(spec, parser, err);
	case MR_PARSE_RAW:
		return mr_parse_raw_open(spec, parser, err);
	case MR_PARSE_NUMBER:
		return open_number(spec, err);
	default:
		return mr_error_set(err, -EINVAL, "there is no format %d", (int)spec->format);
	}
}

static int check_texts(const struct mr_parse_spec *spec, struct mr_error *err)
{
	const char *const texts[MR_WANTS] = {spec->key, spec->time, spec->value};

	for (int want = 0; want < MR_WANTS; want++) {
		if (!memchr(texts[want], '\0', MR_PARSE_PATH_MAX))
			return mr_error_set(err, -EINVAL, "%s: at most %d bytes",
					    mr_parse_want_names[want], MR_PARSE_PATH_MAX - 1);
	}
	if (!spec->value[0] && spec->format != MR_PARSE_NUMBER)
		return mr_error_set(err, -EINVAL, "value: which field is the value is not said");
	return 0;
}

int mr_parser_new(const struct mr_parse_spec *spec, struct mr_parser **out, struct mr_error *err)
{
	int r = check_texts(spec, err);
	struct mr_parser *parser;

	if (r < 0)
		return r;
	parser = calloc(1, sizeof(*parser));
	if (!parser)
		return mr_error_set(err, -ENOMEM, "no memory for a parser");
	parser->format = spec->format;
	parser->time_unit = spec->time_unit;
	parser->wanted[MR_WANT_KEY] = spec->key[0];
	parser->wanted[MR_WANT_TIME] = spec->time[0];
	parser->wanted[MR_WANT_VALUE] = true;
	r = open_format(spec, parser, err);
	if (r < 0) {
		mr_parser_free(parser);
		return r;
	}
	*out = parser;
	return 0;
}

void mr_parser_free(struct mr_parser *parser)
{
	free(parser);
}

/* ---- key ----------------------------------------------------------------------------------- */

static size_t unescape(const struct mr_parser *parser, const struct mr_found *found, char *out)
{
	switch (parser->format) {
	case MR_PARSE_JSON:
		return mr_parse_json_unescape(found->text, found->bytes, out, MR_PARSE_KEY_MAX);
	case MR_PARSE_CSV:
		return mr_parse_csv_unescape(found->text, found->bytes, out, MR_PARSE_KEY_MAX);
	case MR_PARSE_LINE_PROTOCOL:
		return mr_parse_line_unescape(found->text, found->bytes,
					      found->kind == MR_FOUND_TEXT, out, MR_PARSE_KEY_MAX);
	default: /* NUMBER has no key, RAW no escapes */
		return MR_PARSE_KEY_MAX + 1;
	}
}

static size_t write_integer(char *at, const struct mr_decimal *decimal)
{
	if (!decimal->negative && decimal->digits > INT64_MAX)
		return (size_t)snprintf(at, MR_NUMBER_TEXT_MAX, "%" PRIu64, decimal->digits);
	return mr_number_write_integer(
		at, (int64_t)(decimal->negative ? -decimal->digits : decimal->digits));
}

static bool set_key_bytes(struct mr_parsed *out, size_t bytes)
{
	out->key_bytes = (int32_t)bytes;
	return bytes <= MR_PARSE_KEY_MAX;
}

static bool set_key(struct mr_parser *parser, const struct mr_found *found, struct mr_parsed *out)
{
	size_t bytes = found->bytes;

	out->key = found->text;
	switch (found->kind) {
	case MR_FOUND_WORD:
		if (bytes == 0)
			return false;
		break;
	case MR_FOUND_TEXT:
	case MR_FOUND_NUMBER:
		break;
	case MR_FOUND_INTEGER:
		bytes = write_integer(parser->scratch, &found->decimal);
		out->key = parser->scratch;
		break;
	case MR_FOUND_REAL:
		if (!isfinite(found->real))
			return false;
		bytes = mr_number_write(parser->scratch, found->real);
		out->key = parser->scratch;
		break;
	default:
		return false;
	}
	if (found->escaped) {
		bytes = unescape(parser, found, parser->scratch);
		out->key = parser->scratch;
	}
	out->scratched = out->key == parser->scratch;
	return set_key_bytes(out, bytes);
}

/* ---- time ---------------------------------------------------------------------------------- */

static bool time_of_decimal(const struct mr_parser *parser, const struct mr_decimal *decimal,
			    int64_t *out)
{
	static const int places[] = {
		[MR_PARSE_TIME_S] = 3,
		[MR_PARSE_TIME_MS] = 0,
		[MR_PARSE_TIME_US] = -3,
		[MR_PARSE_TIME_NS] = -6,
	};
	enum mr_parse_time_unit unit = parser->time_unit;

	if (unit == MR_PARSE_TIME_AUTO) {
		int64_t size;

		if (!mr_decimal_scaled(decimal, 0, &size))
			return false;
		size = size < 0 ? -size : size;
		unit = size < INT64_C(100000000000)	    ? MR_PARSE_TIME_S
		       : size < INT64_C(100000000000000)    ? MR_PARSE_TIME_MS
		       : size < INT64_C(100000000000000000) ? MR_PARSE_TIME_US
							    : MR_PARSE_TIME_NS;
	}
	return mr_decimal_scaled(decimal, places[unit], out);
}

static void trim(const char **text, size_t *bytes)
{
	while (*bytes > 0 && memchr(" \t\r\n", **text, 4)) {
		(*text)++;
		(*bytes)--;
	}
	while (*bytes > 0 && memchr(" \t\r\n", (*text)[*bytes - 1], 4))
		(*bytes)--;
}

/* A date, or where that is possible a number. */
static bool time_of_text(const struct mr_parser *parser, const struct mr_found *found, int64_t *out)
{
	const char *text = found->text;
	size_t bytes = found->bytes;
	struct mr_decimal decimal;

	if (found->escaped)
		return false; /* no time needs it */
	if (found->kind == MR_FOUND_WORD)
		trim(&text, &bytes);
	if (found->kind == MR_FOUND_WORD && bytes > 0 &&
	    mr_decimal_read(text, bytes, MR_DECIMAL_LOOSE, &decimal) == bytes)
		return time_of_decimal(parser, &decimal, out);
	return mr_time_of_date(text, bytes, out) == 0;
}

static bool time_of_real(const struct mr_parser *parser, double real, int64_t *out)
{
	char text[MR_NUMBER_TEXT_MAX];
	size_t bytes = mr_number_write(text, real);
	struct mr_decimal decimal;

	return mr_decimal_read(text, bytes, MR_DECIMAL_JSON, &decimal) == bytes &&
	       time_of_decimal(parser, &decimal, out);
}

static bool set_time(const struct mr_parser *parser, const struct mr_found *found,
		     struct mr_parsed *out)
{
	bool known = false;

	switch (found->kind) {
	case MR_FOUND_NUMBER:
	case MR_FOUND_INTEGER:
		known = time_of_decimal(parser, &found->decimal, &out->time_ms);
		break;
	case MR_FOUND_REAL:
		known = time_of_real(parser, found->real, &out->time_ms);
		break;
	case MR_FOUND_TEXT:
	case MR_FOUND_WORD:
		known = time_of_text(parser, found, &out->time_ms);
		break;
	default:
		break;
	}
	return known && out->time_ms >= TIME_MS_MIN && out->time_ms <= TIME_MS_MAX;
}

/* ---- value --------------------------------------------------------------------------------- */

static bool is_word(const char *text, size_t bytes, const char *word)
{
	return bytes == strlen(word) && strncasecmp(text, word, bytes) == 0;
}

static bool value_of_word(const struct mr_found *found, double *out)
{
	const char *text = found->text;
	size_t bytes = found->bytes;
	struct mr_decimal decimal;

	if (found->escaped)
		return false;
	trim(&text, &bytes);
	*out = (double)NAN;
	if (bytes == 0)
		return true;
	if (mr_decimal_read(text, bytes, MR_DECIMAL_LOOSE, &decimal) == bytes) {
		*out = mr_decimal_value(&decimal);
		return true;
	}
	if (is_word(text, bytes, "true") || is_word(text, bytes, "false")) {
		*out = bytes == 4;
		return true;
	}
	if (*text == '-' || *text == '+') {
		text++;
		bytes--;
	}
	return is_word(text, bytes, "nan") || is_word(text, bytes, "inf") ||
	       is_word(text, bytes, "infinity") || is_word(text, bytes, "null");
}

static bool set_value(const struct mr_found *found, struct mr_parsed *out)
{
	bool known = true;

	switch (found->kind) {
	case MR_FOUND_NOTHING:
	case MR_FOUND_NULL:
		out->value = (double)NAN;
		break;
	case MR_FOUND_TRUTH:
		out->value = found->truth;
		break;
	case MR_FOUND_NUMBER:
	case MR_FOUND_INTEGER:
		out->value = mr_decimal_value(&found->decimal);
		break;
	case MR_FOUND_REAL:
		out->value = found->real;
		break;
	case MR_FOUND_WORD:
		known = value_of_word(found, &out->value);
		break;
	default:
		known = false;
		break;
	}
	out->value = mr_parse_or_missing(out->value);
	return known;
}

/* ---- a record ------------------------------------------------------------------------------ */

static enum mr_parse_reason find(const struct mr_parser *parser, const char *text, size_t bytes,
				 struct mr_found *found, const char **where)
{
	switch (parser->format) {
	case MR_PARSE_JSON:
		return mr_parse_json(parser, text, bytes, found, where);
	case MR_PARSE_CSV:
		return mr_parse_csv(parser, text, bytes, found, where);
	case MR_PARSE_LINE_PROTOCOL:
		return mr_parse_line(parser, text, bytes, found, where);
	case MR_PARSE_RAW:
		return mr_parse_raw(parser, text, bytes, found, where);
	default: /* NUMBER: there is no other */
		found[MR_WANT_VALUE].kind = MR_FOUND_WORD;
		found[MR_WANT_VALUE].escaped = false;
		found[MR_WANT_VALUE].text = text;
		found[MR_WANT_VALUE].bytes = (uint32_t)bytes;
		return MR_PARSE_OK;
	}
}

static uint32_t place_of(const struct mr_found *found, const char *text)
{
	return found->kind == MR_FOUND_NOTHING ? 0 : (uint32_t)(found->text - text);
}

/* Of any format, and a record that has a value. Apart, so that a bare one needs none of its room.
 */
static __attribute__((noinline)) enum mr_parse_reason
parse_any(struct mr_parser *parser, const struct mr_message *message, struct mr_parsed *out)
{
	const char *text = message->value ? message->value : "";
	struct mr_found found[MR_WANTS];
	enum mr_parse_reason reason;
	const char *where = text;

	for (int want = 0; want < MR_WANTS; want++)
		found[want].kind = MR_FOUND_NOTHING;
	reason = find(parser, text, (size_t)message->value_bytes, found, &where);
	if (reason != MR_PARSE_OK) {
		out->where = (uint32_t)(where - text);
		return reason;
	}
	if (parser->wanted[MR_WANT_KEY] ? !set_key(parser, &found[MR_WANT_KEY], out)
					: !mr_parse_own_key(message, out)) {
		out->where = place_of(&found[MR_WANT_KEY], text);
		return MR_PARSE_NO_KEY;
	}
	if (parser->wanted[MR_WANT_TIME] && !set_time(parser, &found[MR_WANT_TIME], out)) {
		out->where = place_of(&found[MR_WANT_TIME], text);
		return MR_PARSE_BAD_TIME;
	}
	if (!set_value(&found[MR_WANT_VALUE], out)) {
		out->where = place_of(&found[MR_WANT_VALUE], text);
		return MR_PARSE_NOT_NUMBER;
	}
	return MR_PARSE_OK;
}

enum mr_parse_reason mr_parser_parse(struct mr_parser *parser, const struct mr_message *message,
				     struct mr_parsed *out)
{
	*out = (struct mr_parsed){.time_ms = message->timestamp_ms, .value = (double)NAN};
	if (message->value_bytes < 0)
		return MR_PARSE_NULL;
	return parser->bare ? mr_parse_raw_bare(parser, message, out)
			    : parse_any(parser, message, out);
}
