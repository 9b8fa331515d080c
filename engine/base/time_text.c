/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times as text. Pure; any thread. Days are counted in the Gregorian calendar, without leap
 * seconds, as Unix time is.
 */
#include "time_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define MS_PER_DAY	 INT64_C(86400000)
#define SECONDS_BELOW	 1e11			  /* larger numbers are milliseconds */
#define TIME_MS_MIN	 INT64_C(-62167219200000) /* the first of the year 0 */
#define TIME_MS_MAX	 INT64_C(253402300799999) /* the last of the year 9999 */
#define NUMBER_BYTES_MAX 40

/* A place in the text; reading stops at 'end'. */
struct cursor {
	const char *at;
	const char *end;
};

/* Exactly 'digits' digits as a number from 'min' to 'max'. */
static bool take_number(struct cursor *cursor, int digits, int min, int max, int *out)
{
	int value = 0;

	if (cursor->end - cursor->at < digits)
		return false;
	for (int i = 0; i < digits; i++) {
		if (!isdigit((unsigned char)cursor->at[i]))
			return false;
		value = value * 10 + (cursor->at[i] - '0');
	}
	if (value < min || value > max)
		return false;
	cursor->at += digits;
	*out = value;
	return true;
}

static bool take_one_of(struct cursor *cursor, const char *characters)
{
	if (cursor->at == cursor->end || !strchr(characters, *cursor->at) || !*cursor->at)
		return false;
	cursor->at++;
	return true;
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01; the year begins in March here, so that the leap day comes last. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

static bool take_date(struct cursor *cursor, int64_t *days)
{
	int year;
	int month;
	int day;

	if (!take_number(cursor, 4, 0, 9999, &year) || !take_one_of(cursor, "-") ||
	    !take_number(cursor, 2, 1, 12, &month) || !take_one_of(cursor, "-") ||
	    !take_number(cursor, 2, 1, days_in_month(year, month), &day))
		return false;
	*days = days_from_date(year, month, day);
	return true;
}

/* ".123456": milliseconds, further digits are read and cut. */
static bool take_fraction(struct cursor *cursor, int *milliseconds)
{
	int value = 0;
	int digits = 0;

	*milliseconds = 0;
	if (!take_one_of(cursor, ".,"))
		return true;
	while (cursor->at < cursor->end && isdigit((unsigned char)*cursor->at)) {
		if (digits < 3)
			value = value * 10 + (*cursor->at - '0');
		digits++;
		cursor->at++;
	}
	for (int i = digits; i < 3; i++)
		value *= 10;
	*milliseconds = value;
	return digits > 0;
}

/* "10:37[:59[.123]]" */
static bool take_time_of_day(struct cursor *cursor, int64_t *ms)
{
	int hour;
	int minute;
	int second = 0;
	int fraction = 0;

	if (!take_number(cursor, 2, 0, 23, &hour) || !take_one_of(cursor, ":") ||
	    !take_number(cursor, 2, 0, 59, &minute))
		return false;
	if (take_one_of(cursor, ":") &&
	    (!take_number(cursor, 2, 0, 59, &second) || !take_fraction(cursor, &fraction)))
		return false;
	*ms = ((hour * 60 + minute) * 60 + second) * INT64_C(1000) + fraction;
	return true;
}

/* "", "Z", "+01", "+0100", "+01:00": how far the text is ahead of UTC. */
static bool take_zone(struct cursor *cursor, int64_t *ahead_ms)
{
	int hours;
	int minutes = 0;
	bool west;

	*ahead_ms = 0;
	if (cursor->at == cursor->end || take_one_of(cursor, "Zz"))
		return true;
	west = *cursor->at == '-';
	if (!take_one_of(cursor, "+-") || !take_number(cursor, 2, 0, 23, &hours))
		return false;
	if ((take_one_of(cursor, ":") || cursor->at < cursor->end) &&
	    !take_number(cursor, 2, 0, 59, &minutes))
		return false;
	*ahead_ms = (hours * 60 + minutes) * INT64_C(60000) * (west ? -1 : 1);
	return true;
}

int mr_time_of_date(const char *text, size_t bytes, int64_t *time_ms)
{
	struct cursor cursor = {text, text + bytes};
	int64_t days;
	int64_t ms = 0;
	int64_t ahead_ms = 0;

	if (!take_date(&cursor, &days))
		return -EINVAL;
	if (take_one_of(&cursor, "Tt ") &&
	    (!take_time_of_day(&cursor, &ms) || !take_zone(&cursor, &ahead_ms)))
		return -EINVAL;
	if (cursor.at != cursor.end)
		return -EINVAL;
	*time_ms = days * MS_PER_DAY + ms - ahead_ms;
	return 0;
}

int mr_time_parse_date(const char *text, size_t bytes, int64_t *time_ms)
{
	int64_t ms;

	if (mr_time_of_date(text, bytes, &ms) < 0)
		return -EINVAL;
	if (ms < 0 || ms > TIME_MS_MAX)
		return -ERANGE;
	*time_ms = ms;
	return 0;
}

int mr_time_of_number(double number, int64_t *time_ms)
{
	double ms = number < SECONDS_BELOW ? number * 1000 : number;

	if (!isfinite(number))
		return -EINVAL;
	if (ms < 0 || ms > (double)TIME_MS_MAX)
		return -ERANGE;
	*time_ms = (int64_t)(number < SECONDS_BELOW ? llround(ms) : (long long)ms);
	return 0;
}

/* Digits with at most one point, as a double: no sign, no exponent, no blanks, no names. */
static int parse_decimal(const char *text, size_t bytes, double *out)
{
	double value = 0;
	double scale = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '.' && scale == 0 && i > 0 && i + 1 < bytes) {
			scale = 1;
			continue;
		}
		if (!isdigit((unsigned char)text[i]))
			return -EINVAL;
		value = value * 10 + (text[i] - '0');
		scale *= 10;
	}
	*out = scale > 1 ? value / scale : value;
	return 0;
}

int mr_time_parse(const char *text, size_t bytes, int64_t *time_ms)
{
	double number;

	if (bytes == 0 || bytes > NUMBER_BYTES_MAX)
		return -EINVAL;
	if (bytes > 4 && text[4] == '-')
		return mr_time_parse_date(text, bytes, time_ms);
	if (text[0] == '-' && parse_decimal(text + 1, bytes - 1, &number) == 0 && bytes > 1)
		return -ERANGE;
	if (parse_decimal(text, bytes, &number) < 0)
		return -EINVAL;
	return mr_time_of_number(number, time_ms);
}

/* The reverse of days_from_date(). */
static void date_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t day_of_era = shifted - era * 146097;
	int64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted_month = (5 * day_of_year + 2) / 153;

	*day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
	*month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
	*year = (int)(year_of_era + era * 400 + (*month <= 2));
}

void mr_time_format(int64_t time_ms, char text[MR_TIME_TEXT_BYTES])
{
	int64_t days = time_ms / MS_PER_DAY - (time_ms % MS_PER_DAY < 0);
	int64_t ms = (time_ms % MS_PER_DAY + MS_PER_DAY) % MS_PER_DAY;
	int year;
	int month;
	int day;

	if (time_ms > TIME_MS_MAX || time_ms < TIME_MS_MIN) {
		snprintf(text, MR_TIME_TEXT_BYTES, "%" PRId64, time_ms);
		return;
	}
	date_from_days(days, &year, &month, &day);
	mr_assert(year >= 0 && year <= 9999);
	snprintf(text, MR_TIME_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)year,
		 (unsigned)month, (unsigned)day, (unsigned)(ms / 3600000),
		 (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60), (unsigned)(ms % 1000));
}
