/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a time is read as the one thing that it says, and printed so that it reads back.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "time_text.h"

static int64_t parsed(const char *text)
{
	int64_t ms = -7;
	int r = mr_time_parse(text, strlen(text), &ms);

	return r < 0 ? r : ms;
}

Test(time_text, reads_dates_as_utc)
{
	cr_assert_eq(parsed("1970-01-01"), 0);
	cr_assert_eq(parsed("2026-11-22"), INT64_C(1795305600000));
	cr_assert_eq(parsed("2015-07-10 14:24:00"), INT64_C(1436538240000));
	cr_assert_eq(parsed("2015-07-10T14:24"), INT64_C(1436538240000));
	cr_assert_eq(parsed("2015-07-10t14:24:00z"), INT64_C(1436538240000));
	cr_assert_eq(parsed("9999-12-31T23:59:59.999Z"), INT64_C(253402300799999));
}

Test(time_text, reads_fractions_to_the_millisecond)
{
	cr_assert_eq(parsed("1970-01-01T00:00:00.1"), 100);
	cr_assert_eq(parsed("1970-01-01T00:00:00.12"), 120);
	cr_assert_eq(parsed("1970-01-01T00:00:00,123"), 123);
	cr_assert_eq(parsed("1970-01-01T00:00:00.123999999"), 123, "cut, not rounded");
	cr_assert_eq(parsed("1970-01-01T00:00:00."), -EINVAL);
}

Test(time_text, takes_zones_away)
{
	cr_assert_eq(parsed("1970-01-01T01:00:00+01:00"), 0);
	cr_assert_eq(parsed("1970-01-01T01:00+0100"), 0);
	cr_assert_eq(parsed("1970-01-01T01:00+01"), 0);
	cr_assert_eq(parsed("1969-12-31T18:30:00-05:30"), 0);
	cr_assert_eq(parsed("1970-01-01T00:30:00+01:00"), -ERANGE, "that is 1969");
	cr_assert_eq(parsed("1970-01-01T01:00+1"), -EINVAL);
	cr_assert_eq(parsed("1970-01-01T01:00+01:"), -EINVAL);
	cr_assert_eq(parsed("1970-01-01T01:00+24:00"), -EINVAL);
	cr_assert_eq(parsed("1970-01-01T01:00 UTC"), -EINVAL);
}

Test(time_text, knows_dates_before_1970_where_they_are_asked_for)
{
	static const char text[] = "1969-12-31T23:59:59.999Z";
	int64_t ms = -7;

	cr_assert_eq(parsed(text), -ERANGE);
	cr_assert_eq(mr_time_of_date(text, strlen(text), &ms), 0);
	cr_assert_eq(ms, -1);
	cr_assert_eq(mr_time_of_date("0000-01-01", 10, &ms), 0);
	cr_assert_eq(ms, INT64_C(-62167219200000));
	cr_assert_eq(mr_time_of_date("1950-01-03", 9, &ms), -EINVAL);
}

Test(time_text, knows_how_long_months_are)
{
	cr_assert_eq(parsed("2024-02-29"), INT64_C(1709164800000));
	cr_assert_eq(parsed("2023-02-29"), -EINVAL);
	cr_assert_eq(parsed("2000-02-29"), INT64_C(951782400000), "every 400 years is one");
	cr_assert_eq(parsed("2100-02-29"), -EINVAL, "every 100 years is none");
	cr_assert_eq(parsed("2023-04-31"), -EINVAL);
	cr_assert_eq(parsed("2023-00-01"), -EINVAL);
	cr_assert_eq(parsed("2023-13-01"), -EINVAL);
	cr_assert_eq(parsed("2023-01-00"), -EINVAL);
}

Test(time_text, refuses_what_only_looks_like_a_date)
{
	static const char *const none[] = {
		"2023-1-01",
		"2023-01-1",
		"2023-01-01T",
		"2023-01-01 ",
		"2023-01-01T1:00",
		"2023-01-01T25:00",
		"2023-01-01T24:00",
		"2023-01-01T10:60",
		"2023-01-01T10:00:",
		"2023-01-01T10:00:60",
		"2023-01-01  10:00",
		"2023-01-01T10",
		"2023/01/01",
		"01-01-2023",
		" 2023-01-01",
		"2023-01-01x",
		"2023-01-0\n",
		"yesterday",
		"now",
	};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_eq(parsed(none[i]), -EINVAL, "'%s'", none[i]);
}

Test(time_text, tells_seconds_from_milliseconds_by_their_size)
{
	cr_assert_eq(parsed("0"), 0);
	cr_assert_eq(parsed("1700000000"), INT64_C(1700000000000));
	cr_assert_eq(parsed("1700000000000"), INT64_C(1700000000000));
	cr_assert_eq(parsed("99999999999"), INT64_C(99999999999000));
	cr_assert_eq(parsed("100000000000"), INT64_C(100000000000));
	cr_assert_eq(parsed("1700000000.25"), INT64_C(1700000000250));
	cr_assert_eq(parsed("1700000000000.9"), INT64_C(1700000000000));
}

Test(time_text, refuses_numbers_that_are_no_times)
{
	static const char *const none[] = {
		"",    ".",    "1.",  ".5",  "1.2.3",
		"1e9", "0x10", "nan", "inf", "+1",
		" 1",  "1 ",   "--1", "-",   "1234567890123456789012345678901234567890."};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_eq(parsed(none[i]), -EINVAL, "'%s'", none[i]);
	cr_assert_eq(parsed("-1"), -ERANGE);
	cr_assert_eq(parsed("999999999999999"), -ERANGE, "after the year 9999");
}

Test(time_text, numbers_of_json_follow_the_same_rule)
{
	int64_t ms = 7;

	cr_assert_eq(mr_time_of_number(1700000000, &ms), 0);
	cr_assert_eq(ms, INT64_C(1700000000000));
	cr_assert_eq(mr_time_of_number(1700000000.0015, &ms), 0);
	cr_assert_eq(ms, INT64_C(1700000000002), "rounded: a double is not exact");
	cr_assert_eq(mr_time_of_number(-1, &ms), -ERANGE);
	cr_assert_eq(mr_time_of_number(1e300, &ms), -ERANGE);
	cr_assert_eq(mr_time_of_number(0.0 / 0.0, &ms), -EINVAL);
	cr_assert_eq(mr_time_of_number(1.0 / 0.0, &ms), -EINVAL);
	cr_assert_eq(ms, INT64_C(1700000000002));
}

Test(time_text, does_not_read_beyond_the_text)
{
	int64_t ms;

	cr_assert_eq(mr_time_parse("2023-01-01T10:00:00garbage", 10, &ms), 0);
	cr_assert_eq(mr_time_parse("17000", 2, &ms), 0);
	cr_assert_eq(ms, 17000);
	cr_assert_eq(mr_time_parse("2023-01-01\0T10:00", 17, &ms), -EINVAL, "a zero byte");
}

Test(time_text, prints_what_the_machine_prints)
{
	/* every 1,003 hours over 150 years, against the C library */
	for (int64_t ms = 0; ms < INT64_C(4733510400000); ms += INT64_C(3610800000) + 7) {
		time_t seconds = (time_t)(ms / 1000);
		char expected[40];
		char text[MR_TIME_TEXT_BYTES];
		struct tm utc;

		gmtime_r(&seconds, &utc);
		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &utc);
		snprintf(expected + strlen(expected), 8, ".%03dZ", (int)(ms % 1000));
		mr_time_format(ms, text);
		cr_assert_str_eq(text, expected);
		cr_assert_eq(parsed(text), ms);
	}
}

Test(time_text, prints_times_that_have_no_date_as_numbers)
{
	char text[MR_TIME_TEXT_BYTES];

	mr_time_format(INT64_MIN, text);
	cr_assert_str_eq(text, "-9223372036854775808");
	mr_time_format(INT64_MAX, text);
	cr_assert_str_eq(text, "9223372036854775807");
	mr_time_format(-1, text);
	cr_assert_str_eq(text, "1969-12-31T23:59:59.999Z");
	mr_time_format(INT64_C(-62167219200000), text);
	cr_assert_str_eq(text, "0000-01-01T00:00:00.000Z");
	mr_time_format(INT64_C(-62167219200001), text);
	cr_assert_str_eq(text, "-62167219200001");
}
