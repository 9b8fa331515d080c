/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV (RFC 4180), one row a record: fields between delimiters, in quotes where they hold a
 * delimiter, a line end or a quote (which is doubled). Pure; any thread; allocates nothing.
 */
#include <errno.h>
#include <string.h>

#include "parse_inside.h"
#include "text.h"

#define COLUMNS_MOST 1000000

/* ---- at the door -------------------------------------------------------------------------- */

/* "3": the third column, 2. */
static int column_by_number(const struct mr_parse_spec *spec, const char *text, uint32_t *out)
{
	size_t bytes = strspn(text, "0123456789");
	uint32_t number = 0;

	if (bytes == 0 || bytes > 7 || text[bytes] != '\0')
		return -EINVAL;
	for (size_t i = 0; i < bytes; i++)
		number = number * 10 + (uint32_t)(text[i] - '0');
	if (number == 0 || number > COLUMNS_MOST || (spec->name_count && number > spec->name_count))
		return -EINVAL;
	*out = number - 1;
	return 0;
}

static int find_column(const struct mr_parse_spec *spec, const char *text, uint32_t *out)
{
	for (uint32_t i = 0; i < spec->name_count; i++) {
		if (strcmp(spec->names[i], text) == 0) {
			*out = i;
			return 0;
		}
	}
	return column_by_number(spec, text, out);
}

static int check_names(const struct mr_parse_spec *spec, struct mr_error *err)
{
	if (spec->name_count > MR_PARSE_COLUMNS_MAX)
		return mr_error_set(err, -EINVAL, "csv: %u columns, at most %d have names",
				    spec->name_count, MR_PARSE_COLUMNS_MAX);
	for (uint32_t i = 0; i < spec->name_count; i++) {
		if (!memchr(spec->names[i], '\0', sizeof(spec->names[i])))
			return mr_error_set(err, -EINVAL, "csv: the name of column %u is too long",
					    i + 1);
		for (uint32_t j = 0; j < i; j++) {
			if (strcmp(spec->names[i], spec->names[j]) == 0)
				return mr_error_set(err, -EINVAL, "csv: column '%s' is named twice",
						    spec->names[i]);
		}
	}
	return 0;
}

int mr_parse_csv_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		      struct mr_error *err)
{
	const char *const texts[MR_WANTS] = {spec->key, spec->time, spec->value};
	char delimiter = spec->delimiter ? spec->delimiter : ',';
	int r = check_names(spec, err);

	if (r < 0)
		return r;
	if (delimiter == '"' || delimiter == '\n' || delimiter == '\r' ||
	    (unsigned char)delimiter >= 0x80)
		return mr_error_set(err, -EINVAL,
				    "csv: a quote, a line end or a byte beyond ASCII cannot be the "
				    "delimiter");
	parser->delimiter = delimiter;
	parser->columns = spec->name_count;
	for (int want = 0; want < MR_WANTS; want++) {
		if (!parser->wanted[want] ||
		    find_column(spec, texts[want], &parser->column[want]) == 0)
			continue;
		mr_error_set(err, -EINVAL, "%s: there is no column '%s'", mr_parse_want_names[want],
			     texts[want]);
		return mr_error_hint(err, "write the name of a column, or its number from 1 on");
	}
	return 0;
}

/* ---- a row ---------------------------------------------------------------------------------- */

struct row {
	const char *end;
	char delimiter;
};

/* The top bits of bytes that are 'byte'; behind the first one also others may be named. */
static inline uint64_t bytes_equal(uint64_t eight, uint64_t byte)
{
	uint64_t other = eight ^ MR_TEXT_EACH(byte);

	return (other - MR_TEXT_EACH(1)) & ~other & MR_TEXT_TOPS;
}

/* The end of a field without quotes: its delimiter, a line end, a quote that is out of place. */
static const char *skip_plain(const struct row *row, const char *at)
{
	while (at < row->end) {
		uint64_t eight = mr_text_load(at, row->end);
		unsigned count = mr_text_first(bytes_equal(eight, (unsigned char)row->delimiter) |
					       bytes_equal(eight, '"') | bytes_equal(eight, '\n') |
					       bytes_equal(eight, '\r'));

		at += count;
		if (count < 8)
			break;
	}
	return at < row->end ? at : row->end;
}

/* From behind the opening quote to the closing one; NULL: there is none. */
static const char *skip_quoted(const struct row *row, const char *at, bool *escaped)
{
	for (;;) {
		at = memchr(at, '"', (size_t)(row->end - at));
		if (!at || at + 1 == row->end || at[1] != '"')
			return at;
		*escaped = true;
		at += 2;
	}
}

/* The row's end: nothing, or one line end. */
static bool at_end(const struct row *row, const char *at)
{
	size_t left = (size_t)(row->end - at);

	return left == 0 || (left == 1 && *at == '\n') ||
	       (left == 2 && at[0] == '\r' && at[1] == '\n');
}

/* One field: *field without its quotes. Behind it; NULL: a quote is open. */
static const char *take_field(const struct row *row, const char *at, struct mr_found *field)
{
	const char *end;

	field->kind = MR_FOUND_WORD;
	field->escaped = false;
	field->text = at;
	if (at < row->end && *at == '"') {
		field->text = at + 1;
		end = skip_quoted(row, at + 1, &field->escaped);
		field->bytes = end ? (uint32_t)(end - field->text) : 0;
		return end ? end + 1 : NULL;
	}
	end = skip_plain(row, at);
	field->bytes = (uint32_t)(end - at);
	return end;
}

enum mr_parse_reason mr_parse_csv(const struct mr_parser *parser, const char *text, size_t bytes,
				  struct mr_found *found, const char **where)
{
	struct row row = {text + bytes, parser->delimiter};
	struct mr_found field = {.kind = MR_FOUND_NOTHING};
	const char *at = text;

	for (uint32_t column = 0;; column++) {
		const char *end = take_field(&row, at, &field);

		for (int want = 0; want < MR_WANTS; want++) {
			if (parser->wanted[want] && parser->column[want] == column)
				found[want] = field;
		}
		*where = end ? end : at;
		if (!end)
			return MR_PARSE_MALFORMED;
		if (at_end(&row, end))
			return parser->columns && column + 1 != parser->columns ? MR_PARSE_MALFORMED
										: MR_PARSE_OK;
		if (*end != row.delimiter)
			return MR_PARSE_MALFORMED;
		at = end + 1;
	}
}

/* Doubled quotes are single ones. */
size_t mr_parse_csv_unescape(const char *text, size_t bytes, char *out, size_t most)
{
	size_t written = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (written == most)
			return most + 1;
		out[written++] = text[i];
		i += text[i] == '"';
	}
	return written;
}
