/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line protocol of InfluxDB, one line a record:
 *
 *	measurement[,tag=value ...] field=value[,field=value ...] [time]
 *
 * In measurements, names and tags a backslash takes the meaning from a comma, a blank and (but for
 * measurements) an equals sign; elsewhere it is itself. Field values are numbers (1.5), integers
 * (3i, 3u), truths (t, T, true, True, TRUE and the same of false) or texts in quotes, in which
 * it takes the meaning from a quote and a backslash. Pure; any thread; allocates nothing.
 */
#include <errno.h>
#include <string.h>

#include "parse_inside.h"

/* Reading stops at 'end'. */
struct line {
	const struct mr_parser *parser;
	struct mr_found *found;
	const char *at;
	const char *end;
};

/* A piece of text as it is written. */
struct piece {
	const char *text;
	size_t bytes;
	bool escaped;
};

int mr_parse_line_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		       struct mr_error *err)
{
	const char *const texts[MR_WANTS] = {spec->key, spec->time, spec->value};

	(void)err; /* any text can be a name */
	for (int want = 0; want < MR_WANTS; want++)
		memcpy(parser->names[want], texts[want], MR_PARSE_PATH_MAX);
	return 0;
}

/* What a backslash in front of takes the meaning from, outside of quotes. */
static bool is_escapable(char byte)
{
	return byte == ',' || byte == ' ' || byte == '=';
}

size_t mr_parse_line_unescape(const char *text, size_t bytes, bool quoted, char *out, size_t most)
{
	size_t written = 0;

	for (size_t i = 0; i < bytes; i++) {
		bool next = text[i] == '\\' && i + 1 < bytes;

		if (next && (quoted ? text[i + 1] == '"' || text[i + 1] == '\\'
				    : is_escapable(text[i + 1])))
			i++;
		if (written == most)
			return most + 1;
		out[written++] = text[i];
	}
	return written;
}

static bool is_named(const char *name, const struct piece *piece)
{
	char plain[MR_PARSE_PATH_MAX];
	size_t bytes = piece->bytes;
	const char *text = piece->text;

	if (piece->escaped) {
		bytes = mr_parse_line_unescape(text, bytes, false, plain, sizeof(plain));
		text = plain;
	}
	return strnlen(name, MR_PARSE_PATH_MAX) == bytes && memcmp(name, text, bytes) == 0;
}

/* Who asked for this name gets it; what came later counts. */
static void offer(const struct line *line, const struct piece *name, const struct mr_found *one)
{
	for (int want = 0; want < MR_WANTS; want++) {
		if (line->parser->wanted[want] && is_named(line->parser->names[want], name))
			line->found[want] = *one;
	}
}

/* A tag or a field cannot be called as these are: the words mean something else. */
static bool is_reserved(const struct piece *name)
{
	return is_named("measurement", name) || is_named("time", name);
}

/* Up to the first of 'ends' that no backslash stands before; at least one byte. */
static bool take_piece(struct line *line, const char *ends, struct piece *piece)
{
	*piece = (struct piece){.text = line->at};
	while (line->at < line->end && *line->at != '\n' && !strchr(ends, *line->at)) {
		bool pair =
			*line->at == '\\' && line->at + 1 < line->end && is_escapable(line->at[1]);

		piece->escaped = piece->escaped || pair;
		line->at += 1 + pair;
	}
	piece->bytes = (size_t)(line->at - piece->text);
	/* strchr() finds the zero that ends 'ends': a zero byte in the text ends a piece, too. */
	return piece->bytes > 0;
}

static bool take(struct line *line, char wanted)
{
	if (line->at == line->end || *line->at != wanted)
		return false;
	line->at++;
	return true;
}

static struct mr_found found_in(const struct piece *piece, enum mr_found_kind kind)
{
	return (struct mr_found){.kind = kind,
				 .escaped = piece->escaped,
				 .text = piece->text,
				 .bytes = (uint32_t)piece->bytes};
}

static bool take_head(struct line *line)
{
	static const struct piece measurement = {"measurement", 11, false};
	struct piece name, text;
	struct mr_found one;

	if (line->at < line->end && *line->at == '#')
		return false; /* a comment is no record */
	if (!take_piece(line, ", ", &text))
		return false;
	one = found_in(&text, MR_FOUND_WORD);
	offer(line, &measurement, &one);
	while (take(line, ',')) {
		if (!take_piece(line, ",= ", &name) || !take(line, '=') ||
		    !take_piece(line, ",= ", &text))
			return false;
		one = found_in(&text, MR_FOUND_WORD);
		if (!is_reserved(&name))
			offer(line, &name, &one);
	}
	return true;
}

static bool take_quoted(struct line *line, struct mr_found *out)
{
	struct piece piece = {.text = ++line->at};

	for (; line->at < line->end && *line->at != '"'; line->at++) {
		if (*line->at == '\\' && line->at + 1 < line->end &&
		    (line->at[1] == '"' || line->at[1] == '\\')) {
			piece.escaped = true;
			line->at++;
		}
	}
	piece.bytes = (size_t)(line->at - piece.text);
	*out = found_in(&piece, MR_FOUND_TEXT);
	return take(line, '"');
}

static bool take_truth(struct line *line, struct mr_found *out)
{
	static const char *const words[] = {"t", "T", "true",  "True",	"TRUE",
					    "f", "F", "false", "False", "FALSE"};
	struct piece piece;
	size_t count = sizeof(words) / sizeof(words[0]);

	if (!take_piece(line, ", \r", &piece))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strlen(words[i]) == piece.bytes &&
		    memcmp(words[i], piece.text, piece.bytes) == 0) {
			*out = found_in(&piece, MR_FOUND_TRUTH);
			out->truth = i < count / 2;
			return true;
		}
	}
	line->at = piece.text;
	return false;
}

/* "1.5", "3i", "3u": the last two are whole. */
static bool take_number(struct line *line, struct mr_found *out)
{
	struct piece piece = {.text = line->at};

	piece.bytes = mr_decimal_read(line->at, (size_t)(line->end - line->at), MR_DECIMAL_LOOSE,
				      &out->decimal);
	if (piece.bytes == 0)
		return false;
	out->kind = MR_FOUND_NUMBER;
	out->escaped = false;
	out->text = piece.text;
	out->bytes = (uint32_t)piece.bytes;
	if (line->at + piece.bytes < line->end &&
	    (line->at[piece.bytes] == 'i' || line->at[piece.bytes] == 'u')) {
		if (memchr(piece.text, '.', piece.bytes) || memchr(piece.text, 'e', piece.bytes) ||
		    memchr(piece.text, 'E', piece.bytes) ||
		    (*piece.text == '-' && piece.text[piece.bytes] == 'u'))
			return false;
		line->at++;
	}
	line->at += piece.bytes;
	return true;
}

static bool take_field(struct line *line)
{
	struct mr_found one = {.kind = MR_FOUND_NOTHING};
	struct piece name;
	bool taken;

	if (!take_piece(line, ",= ", &name) || !take(line, '=') || line->at == line->end)
		return false;
	if (*line->at == '"')
		taken = take_quoted(line, &one);
	else if (strchr("+-.0123456789", *line->at))
		taken = take_number(line, &one);
	else
		taken = take_truth(line, &one);
	if (taken && !is_reserved(&name))
		offer(line, &name, &one);
	return taken;
}

static void skip_blanks(struct line *line)
{
	while (line->at < line->end && *line->at == ' ')
		line->at++;
}

/* A whole number, to the line's end. */
static bool take_time(struct line *line)
{
	static const struct piece time = {"time", 4, false};
	struct mr_found one = {.kind = MR_FOUND_NUMBER, .text = line->at};

	one.bytes = (uint32_t)mr_decimal_read(line->at, (size_t)(line->end - line->at),
					      MR_DECIMAL_JSON, &one.decimal);
	if (one.bytes == 0 || memchr(one.text, '.', one.bytes) ||
	    memchr(one.text, 'e', one.bytes) || memchr(one.text, 'E', one.bytes))
		return false;
	line->at += one.bytes;
	offer(line, &time, &one);
	return true;
}

static bool take_line(struct line *line)
{
	if (!take_head(line) || !take(line, ' '))
		return false;
	skip_blanks(line);
	if (!take_field(line))
		return false;
	while (take(line, ',')) {
		if (!take_field(line))
			return false;
	}
	if (take(line, ' ')) {
		skip_blanks(line);
		if (line->at < line->end && *line->at != '\n' && *line->at != '\r' &&
		    !take_time(line))
			return false;
		skip_blanks(line);
	}
	(void)take(line, '\r');
	(void)take(line, '\n');
	return line->at == line->end;
}

enum mr_parse_reason mr_parse_line(const struct mr_parser *parser, const char *text, size_t bytes,
				   struct mr_found *found, const char **where)
{
	struct line line = {parser, found, text, text + bytes};
	bool whole = take_line(&line);

	*where = line.at;
	return whole ? MR_PARSE_OK : MR_PARSE_MALFORMED;
}
