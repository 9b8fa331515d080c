/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between parse.c and the formats: what a format finds in a record, before it means anything. A
 * format sets only what it finds; everything was NOTHING before.
 */
#ifndef MR_PARSE_INSIDE_H
#define MR_PARSE_INSIDE_H

#include <math.h>

#include "error.h"
#include "number.h"
#include "parse.h"

enum mr_parse_want {
	MR_WANT_KEY,
	MR_WANT_TIME,
	MR_WANT_VALUE,
	MR_WANTS,
};
extern const char *const mr_parse_want_names[MR_WANTS];

enum mr_found_kind {
	MR_FOUND_NOTHING,
	MR_FOUND_NULL,
	MR_FOUND_TRUTH,	  /* true or false */
	MR_FOUND_NUMBER,  /* 'decimal' */
	MR_FOUND_INTEGER, /* 'decimal', of a raw record: there is no text */
	MR_FOUND_REAL,	  /* 'real', of a raw record */
	MR_FOUND_TEXT,	  /* surely a text */
	MR_FOUND_WORD,	  /* a text that may say a number */
	MR_FOUND_OTHER,	  /* an array or an object */
};

struct mr_found {
	enum mr_found_kind kind;
	bool truth;
	bool escaped;	  /* TEXT, WORD: not to be read before the format has unescaped it */
	uint32_t bytes;	  /* of the text as it is written, without quotes */
	const char *text; /* in the record; of any kind: where it was found */
	struct mr_decimal decimal;
	double real;
};

#define MR_JSON_STEPS_MAX 32

/*
 * What to look for at each depth, of all three paths side by side. A step by index, a path that
 * ended before, and one that is not wanted have names of MR_JSON_NO_NAME bytes.
 */
#define MR_JSON_NO_NAME UINT32_MAX

struct mr_json_paths {
	uint32_t counts[MR_WANTS]; /* of steps */
	struct mr_json_step {
		uint64_t first[MR_WANTS]; /* 8 bytes of the name, as text.h loads them */
		uint32_t bytes[MR_WANTS]; /* of the name */
		uint32_t index[MR_WANTS]; /* MR_JSON_NO_NAME: it is a name */
		uint8_t at[MR_WANTS];	  /* of the name in 'names' */
	} steps[MR_JSON_STEPS_MAX + 1];
	char names[MR_WANTS][MR_PARSE_PATH_MAX];
};

/* Of one thread. */
struct mr_parser {
	enum mr_parse_format format;
	enum mr_parse_time_unit time_unit;
	bool wanted[MR_WANTS];
	bool bare; /* RAW: of a real number alone, with the record's own key and time */
	char delimiter;
	uint32_t columns;	   /* CSV: of a row; 0: any. RAW: bytes of a record, at least */
	uint32_t column[MR_WANTS]; /* CSV: from 0 on. RAW: the field */
	struct mr_json_paths json;
	char names[MR_WANTS][MR_PARSE_PATH_MAX]; /* line protocol */
	struct mr_parse_raw_field fields[MR_WANTS];
	char scratch[MR_PARSE_KEY_MAX]; /* a key that does not stand in the record as it is */
};

/* The record's own key; false: it has none, or one that is too long. */
static inline bool mr_parse_own_key(const struct mr_message *message, struct mr_parsed *out)
{
	out->key = message->key ? message->key : "";
	out->key_bytes = message->key_bytes;
	return message->key_bytes >= 0 && message->key_bytes <= MR_PARSE_KEY_MAX;
}

static inline double mr_parse_or_missing(double value)
{
	return isfinite(value) ? value : (double)NAN;
}

/* Each reads its paths at the door (-EINVAL), finds, and undoes escapes: bytes written, or more
 * than 'most' where they do not fit. */
int mr_parse_json_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		       struct mr_error *err);
enum mr_parse_reason mr_parse_json(const struct mr_parser *parser, const char *text, size_t bytes,
				   struct mr_found *found, const char **where);
size_t mr_parse_json_unescape(const char *text, size_t bytes, char *out, size_t most);

int mr_parse_csv_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		      struct mr_error *err);
enum mr_parse_reason mr_parse_csv(const struct mr_parser *parser, const char *text, size_t bytes,
				  struct mr_found *found, const char **where);
size_t mr_parse_csv_unescape(const char *text, size_t bytes, char *out, size_t most);

int mr_parse_line_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		       struct mr_error *err);
enum mr_parse_reason mr_parse_line(const struct mr_parser *parser, const char *text, size_t bytes,
				   struct mr_found *found, const char **where);
/* 'quoted': it stood in quotes. */
size_t mr_parse_line_unescape(const char *text, size_t bytes, bool quoted, char *out, size_t most);

int mr_parse_raw_open(const struct mr_parse_spec *spec, struct mr_parser *parser,
		      struct mr_error *err);
enum mr_parse_reason mr_parse_raw(const struct mr_parser *parser, const char *text, size_t bytes,
				  struct mr_found *found, const char **where);
/* Of a bare parser: all that is to be done with a record that has a value. */
enum mr_parse_reason mr_parse_raw_bare(const struct mr_parser *parser,
				       const struct mr_message *message, struct mr_parsed *out);

#endif
