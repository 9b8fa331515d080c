/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as text: `millrace tail`'s formats. Owned by one thread.
 *
 *	raw	the value and a line break
 *	json	one object a line: partition, offset, timestamp_ms, key, value, headers; what is no
 *UTF-8 stands as base64 in key_base64, value_base64 csv	RFC 4180 with a first row:
 *partition,offset,timestamp,key,value; null is empty, empty is "" table	for people: place,
 *time, key, value; control characters are shown as '?'
 */
#ifndef MR_OUTPUT_H
#define MR_OUTPUT_H

#include <stdio.h>

#include "error.h"

enum mr_output_format {
	MR_OUTPUT_RAW,
	MR_OUTPUT_JSON,
	MR_OUTPUT_CSV,
	MR_OUTPUT_TABLE,
};

/* "raw", "json", "csv", "table". -EINVAL. */
int mr_output_format_parse(const char *text, enum mr_output_format *format);

/* What stands before the first record; nothing for raw and json. */
void mr_output_begin(FILE *out, enum mr_output_format format);

/* One record. 0; -ENOMEM; -EBADMSG: its headers cannot be read. Write errors stay in 'out'. */
int mr_output_record(FILE *out, enum mr_output_format format, const struct mr_message *message);

#endif
