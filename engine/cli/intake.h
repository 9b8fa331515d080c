/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a line of text to a record: `millrace put`'s formats. The record's value is always the line
 * as it stands; the format says where key and time are in it, and what a good line is.
 *
 *	raw	any bytes; no key, no time
 *	json	one JSON value a line; FIELD is a dotted path ("sensor.id"; "readings.0" in a list)
 *	csv	RFC 4180; the first row names the fields, every row has as many
 *
 * Pure; owned by one thread.
 */
#ifndef MR_INTAKE_H
#define MR_INTAKE_H

#include <stddef.h>

#include "error.h"

enum mr_intake_format {
	MR_INTAKE_RAW,
	MR_INTAKE_JSON,
	MR_INTAKE_CSV,
};

struct mr_intake_options {
	enum mr_intake_format format;
	const char *key_field;	/* borrowed; NULL: records without a key */
	const char *time_field; /* borrowed; NULL: the clock's time */
};

struct mr_intake;

/* "raw", "json", "csv". -EINVAL. */
int mr_intake_format_parse(const char *text, enum mr_intake_format *format);

/* On success the caller owns *out. -EINVAL: a field with format raw. -ENOMEM. */
int mr_intake_open(const struct mr_intake_options *options, struct mr_intake **out,
		   struct mr_error *err);
void mr_intake_close(struct mr_intake *intake); /* takes NULL */

/*
 * 1: *record is the line's record; its value points into 'line', its key into memory of the intake
 * that is good until mr_intake_forget(). 0: a line that is no record: CSV's first row, or an empty
 * line where that is nothing. -EBADMSG: a bad line, err says why. -ENOMEM.
 */
int mr_intake_line(struct mr_intake *intake, const char *line, size_t bytes,
		   struct mr_record *record, struct mr_error *err);

/* The records made so far are done with; their keys' memory is used again. */
void mr_intake_forget(struct mr_intake *intake);

#endif
