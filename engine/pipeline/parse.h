/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a record to key, time and value. Pure; no allocation after mr_parser_new(). Never trusts a
 * byte: whatever a record holds ends in a result or a reason.
 *
 *	json		a scanner of our own (RFC 8259): finds the paths ($, $.a.b, $.list[2],
 *			$["a b"]) and checks the whole text. Of names given twice the last counts
 *	csv		RFC 4180, one row a record, columns by number (from 1 on) or by the names
 *			given: then a row has exactly as many
 *	line-protocol	InfluxDB's, one line a record: measurement,tag=v field=1.5,other=3i
 *			1465839830100400200; a path is a field's or tag's name (of both it is the
 *			field), "measurement", or "time", the number at the end
 *	number		the whole value is one decimal number
 *	raw		little or big endian fields at fixed places: i8..u64, f32, f64, text:N (up
 *			to its first zero). A record has at least the bytes up to the last field's
 *			end
 *
 * Numbers are IEEE 754 doubles, rounded correctly; true and false are 1 and 0; null and an absent
 * field are missing. In csv, number and tags a value may stand between blanks, "+1", ".5" and "007"
 * are numbers too, and nan, inf, infinity and null mean missing.
 *
 * A key is a text without its quotes and escapes, or a number as it is written (without the suffix
 * of the line protocol; of raw records, its shortest decimal text). If a path is given, the
 * record's own key or timestamp is not used in its place.
 *
 * Times are numbers (seconds, milliseconds, microseconds or nanoseconds since 1970 by the parser's
 * time_unit, rounded down to milliseconds; AUTO: below 1e11 seconds, below 1e14 milliseconds, below
 * 1e17 microseconds, else nanoseconds) or RFC 3339 texts ("2014-02-14 14:27:00" too: UTC), of the
 * years 0 to 9999.
 */
#ifndef MR_PARSE_H
#define MR_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"

#define MR_PARSE_COLUMNS_MAX 64
#define MR_PARSE_PATH_MAX    128
#define MR_PARSE_KEY_MAX     1024	/* bytes of a key */
#define MR_PARSE_DEPTH_MAX   64		/* JSON: arrays and objects in each other */
#define MR_PARSE_RAW_MAX     (1u << 20) /* bytes of a raw record up to its last field's end */

enum mr_parse_format {
	MR_PARSE_JSON,
	MR_PARSE_CSV,
	MR_PARSE_LINE_PROTOCOL,
	MR_PARSE_NUMBER,
	MR_PARSE_RAW,
};

enum mr_parse_time_unit {
	MR_PARSE_TIME_AUTO,
	MR_PARSE_TIME_S,
	MR_PARSE_TIME_MS,
	MR_PARSE_TIME_US,
	MR_PARSE_TIME_NS,
};

/* A field of a raw record, as "temp: f64 @ 8" or "id: text:16 @ 0" says. */
struct mr_parse_raw_field {
	char name[32];
	char type; /* 'i', 'u', 'f', 't' */
	uint32_t bytes;
	uint32_t at;
	bool big_endian;
};

struct mr_parse_spec {
	enum mr_parse_format format;
	enum mr_parse_time_unit time_unit;
	/* "" : the record's own key, the record's timestamp; the value must be named but for
	 * NUMBER */
	char key[MR_PARSE_PATH_MAX];
	char time[MR_PARSE_PATH_MAX];
	char value[MR_PARSE_PATH_MAX];
	char delimiter;	     /* CSV: 0 means ',' */
	uint32_t name_count; /* CSV: columns' names in order; RAW: fields */
	char names[MR_PARSE_COLUMNS_MAX][32];
	struct mr_parse_raw_field fields[MR_PARSE_COLUMNS_MAX];
};

/* Why a record is no input: its name goes to the topic of what was rejected. */
enum mr_parse_reason {
	MR_PARSE_OK,
	MR_PARSE_NULL,	    /* the record has no value */
	MR_PARSE_MALFORMED, /* not of the format */
	MR_PARSE_NO_KEY,    /* neither in it nor its own, or too long, or not a text or number */
	MR_PARSE_BAD_TIME,
	MR_PARSE_NOT_NUMBER, /* the value is something else */
	MR_PARSE_TOO_DEEP,
	MR_PARSE_REASONS,
};
extern const char *const mr_parse_reason_names[MR_PARSE_REASONS];

struct mr_parsed {
	const char *key; /* in the record or the parser's scratch: until the next call */
	int32_t key_bytes;
	bool scratched; /* the key is in the scratch */
	int64_t time_ms;
	double value;	/* NaN: missing (null, absent, empty); infinities and NaN in the text too */
	uint32_t where; /* byte of the record at which a reason was found; 0: of none */
};

struct mr_parser;

/* Reads "NAME: TYPE @ OFFSET". -EINVAL: err says what is wrong with it. */
int mr_parse_raw_field_read(const char *text, bool big_endian, struct mr_parse_raw_field *out,
			    struct mr_error *err);

/* -EINVAL: a path or a layout makes no sense; err says which. */
int mr_parser_new(const struct mr_parse_spec *spec, struct mr_parser **out, struct mr_error *err);
void mr_parser_free(struct mr_parser *parser); /* takes NULL */
/* One thread a parser: it has scratch memory. */
enum mr_parse_reason mr_parser_parse(struct mr_parser *parser, const struct mr_message *message,
				     struct mr_parsed *out);

#endif
