/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as text, to and from milliseconds since 1970-01-01 UTC. Pure; any thread.
 */
#ifndef MR_TIME_TEXT_H
#define MR_TIME_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define MR_TIME_TEXT_BYTES 32

/*
 * A number or a date. Numbers below 100,000,000,000 are seconds (until the year 5138), others
 * milliseconds; either may have a fraction. Dates as below. 0, -EINVAL, or -ERANGE for a time
 * before 1970 or after 9999.
 */
int mr_time_parse(const char *text, size_t bytes, int64_t *time_ms);

/*
 * ISO 8601: "2026-11-22", "2026-11-22T10:37", "2026-11-22 10:37:59.123Z", "...+01:00". T or one
 * blank; without a zone it is UTC; digits beyond the millisecond are cut.
 */
int mr_time_parse_date(const char *text, size_t bytes, int64_t *time_ms);

/* The same dates, of any year from 0 to 9999. -EINVAL. */
int mr_time_of_date(const char *text, size_t bytes, int64_t *time_ms);

/* The rule for numbers, for one that is no text any more. */
int mr_time_of_number(double number, int64_t *time_ms);

/* "2026-11-22T10:37:59.123Z"; times outside of the years 0 to 9999 become their number. */
void mr_time_format(int64_t time_ms, char text[MR_TIME_TEXT_BYTES]);

#endif
