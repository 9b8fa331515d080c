/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: an argument has exactly the values its help names; everything else is refused. */
#include <criterion/criterion.h>
#include <errno.h>

#include "arguments.h"

Test(arguments, numbers_are_decimal_digits_within_their_bounds)
{
	uint64_t value = 7;

	cr_assert_eq(mr_argument_number("0", 0, 10, &value), 0);
	cr_assert_eq(value, 0);
	cr_assert_eq(mr_argument_number("10", 0, 10, &value), 0);
	cr_assert_eq(value, 10);
	cr_assert_eq(mr_argument_number("18446744073709551615", 0, UINT64_MAX, &value), 0);
	cr_assert_eq(value, UINT64_MAX);
	cr_assert_eq(mr_argument_number("007", 0, 10, &value), 0);
	cr_assert_eq(value, 7);
}

Test(arguments, a_refused_number_leaves_the_value_alone)
{
	static const char *const none[] = {"",	  " 1",	 "1 ",	"+1", "-1",   "0x10",
					   "1e3", "1.5", "ten", "１", "1,000"};
	uint64_t value = 7;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_eq(mr_argument_number(none[i], 0, 100000, &value), -EINVAL, "'%s'",
			     none[i]);
	cr_assert_eq(mr_argument_number("11", 0, 10, &value), -ERANGE);
	cr_assert_eq(mr_argument_number("0", 1, 10, &value), -ERANGE);
	cr_assert_eq(mr_argument_number("18446744073709551616", 0, UINT64_MAX, &value), -ERANGE);
	cr_assert_eq(value, 7);
}

Test(arguments, durations_have_units_and_seconds_without)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows[] = {
		{"1ms", 1},	   {"250ms", 250},     {"1s", 1000},	{"2", 2000},
		{"5 min", 300000}, {"5m", 300000},     {"2h", 7200000}, {"7d", 604800000},
		{"1 S", 1000},	   {"10 MIN", 600000},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t ms = 0;

		cr_assert_eq(mr_argument_duration_ms(rows[i].text, &ms), 0, "'%s'", rows[i].text);
		cr_assert_eq(ms, rows[i].ms, "'%s' is %lu", rows[i].text, (unsigned long)ms);
	}
}

Test(arguments, durations_that_are_none_are_refused)
{
	static const char *const none[] = {"", "s", "1x", "1 s ", "-1s", "1.5s", "1w", "1sm"};
	uint64_t ms = 7;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_eq(mr_argument_duration_ms(none[i], &ms), -EINVAL, "'%s'", none[i]);
	cr_assert_eq(mr_argument_duration_ms("0s", &ms), -ERANGE, "no time at all");
	cr_assert_eq(mr_argument_duration_ms("999999999999999d", &ms), -ERANGE, "overflows");
	cr_assert_eq(ms, 7);
}

Test(arguments, acks_levels_have_names_and_words)
{
	enum mr_acks acks;

	cr_assert_eq(mr_argument_acks("committed", &acks), 0);
	cr_assert_eq(acks, MR_ACKS_COMMITTED);
	cr_assert_eq(mr_argument_acks("disk", &acks), 0);
	cr_assert_eq(acks, MR_ACKS_DISK);
	cr_assert_eq(mr_argument_acks("memory", &acks), 0);
	cr_assert_eq(acks, MR_ACKS_MEMORY);
	cr_assert_eq(mr_argument_acks("all", &acks), -EINVAL);
	cr_assert_eq(mr_argument_acks("", &acks), -EINVAL);
	cr_assert(strstr(mr_acks_words(MR_ACKS_MEMORY), "lost"));
}

Test(arguments, from_is_a_word_an_offset_or_a_date)
{
	enum mr_from from = MR_FROM_COMMITTED;
	int64_t value = 0;

	cr_assert_eq(mr_argument_from("earliest", &from, &value), 0);
	cr_assert_eq(from, MR_FROM_EARLIEST);
	cr_assert_eq(mr_argument_from("latest", &from, &value), 0);
	cr_assert_eq(from, MR_FROM_LATEST);
	cr_assert_eq(mr_argument_from("1700000000", &from, &value), 0);
	cr_assert_eq(from, MR_FROM_OFFSET, "a bare number is an offset, never a time");
	cr_assert_eq(value, 1700000000);
	cr_assert_eq(mr_argument_from("1970-01-02", &from, &value), 0);
	cr_assert_eq(from, MR_FROM_TIME);
	cr_assert_eq(value, 86400000);
}

Test(arguments, from_refuses_what_is_none_of_them)
{
	static const char *const none[] = {"", "first", "-1", "1.5", "2026", "2026-13-01", "10:30"};
	enum mr_from from = MR_FROM_LATEST;
	int64_t value = 7;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		if (i == 4)
			continue; /* four digits are an offset */
		cr_assert_lt(mr_argument_from(none[i], &from, &value), 0, "'%s'", none[i]);
	}
	cr_assert_eq(from, MR_FROM_LATEST);
	cr_assert_eq(value, 7);
}
