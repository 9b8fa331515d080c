/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of an argument to its value. Pure; any thread. 0, -EINVAL for text that is none, or
 * -ERANGE for a value out of bounds; *out is then untouched.
 */
#ifndef MR_ARGUMENTS_H
#define MR_ARGUMENTS_H

#include <stdint.h>

#include "millrace.h"

/* A whole number in decimal digits, 'min' to 'max'. */
int mr_argument_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* "250ms", "10s", "5 min" or "5m", "2h", "7d"; a bare number is seconds. At least 1 ms. */
int mr_argument_duration_ms(const char *text, uint64_t *out);

/* "committed", "disk", "memory". */
int mr_argument_acks(const char *text, enum mr_acks *out);

/* What a level means, in words that follow "acknowledged: ". Static text. */
const char *mr_acks_words(enum mr_acks acks);

/* Where a consumer begins: "earliest", "latest", an offset, or a time (time_text.h). */
int mr_argument_from(const char *text, enum mr_from *from, int64_t *value);

#endif
