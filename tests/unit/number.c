/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a number's text is read as the nearest double, as the C library reads it; what is
 * written reads back as the same double, and no shorter text does.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "number.h"

#define ROUNDS	   250000
#define DIGITS_MAX 17

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double of_bits(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static bool same(double a, double b)
{
	return bits_of(a) == bits_of(b);
}

/* From memory that ends with the text, so that a sanitizer sees a read behind it. */
static size_t read_exactly(const char *text, size_t bytes, double *out)
{
	char *copy = malloc(bytes ? bytes : 1);
	size_t taken;

	mr_assert(copy);
	memcpy(copy, text, bytes);
	taken = mr_number_read(copy, bytes, out);
	free(copy);
	return taken;
}

static void expect_read(const char *text)
{
	double value = 7;
	size_t taken = read_exactly(text, strlen(text), &value);

	cr_assert_eq(taken, strlen(text), "'%.60s': %zu bytes", text, taken);
	cr_assert(same(value, strtod(text, NULL)), "'%.60s': %a, not %a", text, value,
		  strtod(text, NULL));
}

static const char *written(double value)
{
	static char text[MR_NUMBER_TEXT_MAX + 1];
	size_t bytes;

	memset(text, '#', sizeof(text));
	bytes = mr_number_write(text, value);
	mr_assert(bytes < MR_NUMBER_TEXT_MAX);
	mr_assert(text[bytes] == '#');
	text[bytes] = '\0';
	return text;
}

static int digits_of(const char *text)
{
	int digits = 0, zeros = 0;

	for (; *text && *text != 'e'; text++) {
		if (*text < '0' || *text > '9' || (*text == '0' && digits == 0))
			continue;
		zeros = *text == '0' ? zeros + 1 : 0;
		digits++;
	}
	return digits - zeros;
}

/* Reads back, and is as short and as near as the C library's shortest that reads back. */
static void expect_written(double value)
{
	const char *text = written(value);
	char other[64];
	int digits = 1;

	cr_assert(same(strtod(text, NULL), value), "%a as '%s'", value, text);
	expect_read(text);
	for (; digits <= DIGITS_MAX; digits++) {
		snprintf(other, sizeof(other), "%.*e", digits - 1, value);
		if (strtod(other, NULL) == value)
			break;
	}
	cr_assert_leq(digits_of(text), digits, "%a as '%s', and there is '%s'", value, text, other);
	if (digits_of(text) == digits_of(other) && digits < DIGITS_MAX)
		cr_assert(same(strtod(other, NULL), value));
}

Test(number, writes_as_javascript_does)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{0, "0"},
		{-0.0, "-0"},
		{1, "1"},
		{-1, "-1"},
		{10, "10"},
		{100, "100"},
		{123456789, "123456789"},
		{0.1, "0.1"},
		{0.5, "0.5"},
		{-2.5, "-2.5"},
		{83.25, "83.25"},
		{73.96732207, "73.96732207"},
		{1.0 / 3, "0.3333333333333333"},
		{2.0 / 3, "0.6666666666666666"},
		{0.1 + 0.2, "0.30000000000000004"},
		{1e-6, "0.000001"},
		{1.25e-6, "0.00000125"},
		{1e-7, "1e-7"},
		{1.25e-7, "1.25e-7"},
		{9007199254740991.0, "9007199254740991"},
		{9007199254740992.0, "9007199254740992"},
		{9007199254740993.0, "9007199254740992"},
		{123456789012345680000.0, "123456789012345680000"},
		{1e20, "100000000000000000000"},
		{1e21, "1e21"},
		{1.5e21, "1.5e21"},
		{1e22, "1e22"},
		{1e23, "1e23"},
		{1.7976931348623157e308, "1.7976931348623157e308"},
		{2.2250738585072014e-308, "2.2250738585072014e-308"},
		{4.9406564584124654e-324, "5e-324"},
		{-4.9406564584124654e-324, "-5e-324"},
		{4.35, "4.35"},
		{5e-324 * 3, "1.5e-323"},
		{9.5367431640625e-7, "9.5367431640625e-7"},
		{4294967295.5, "4294967295.5"},
		{2097152.0 / 1e9, "0.002097152"},
	};

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		cr_assert_str_eq(written(cases[i].value), cases[i].text);
		expect_written(cases[i].value);
	}
	cr_assert_str_eq(written((double)NAN), "null");
	cr_assert_str_eq(written((double)INFINITY), "null");
	cr_assert_str_eq(written(-(double)INFINITY), "null");
}

Test(number, writes_integers)
{
	static const int64_t cases[] = {0, 1, -1, 9, 10, 99, 100, 12345, INT64_MAX, INT64_MIN};
	char text[MR_NUMBER_TEXT_MAX + 1], expected[32];
	int64_t power = 1;

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		text[mr_number_write_integer(text, cases[i])] = '\0';
		snprintf(expected, sizeof(expected), "%" PRId64, cases[i]);
		cr_assert_str_eq(text, expected);
	}
	for (int i = 0; i < 18; i++, power *= 10) {
		for (int64_t n = power - 1; n <= power + 1; n++) {
			text[mr_number_write_integer(text, -n)] = '\0';
			snprintf(expected, sizeof(expected), "%" PRId64, -n);
			cr_assert_str_eq(text, expected);
		}
	}
}

Test(number, any_double_comes_back)
{
	for (int i = 0; i < ROUNDS; i++) {
		double value = of_bits(next_random());

		if (isfinite(value))
			expect_written(value);
	}
}

/* Where the distance to the neighbours changes, and where rows of the table do. */
Test(number, powers_and_their_neighbours_come_back)
{
	for (int power = -1072; power <= 1023; power++) {
		uint64_t bits = bits_of(ldexp(1.0, power));

		for (int by = -3; by <= 3; by++) {
			if (isfinite(of_bits(bits + (uint64_t)by)))
				expect_written(of_bits(bits + (uint64_t)by));
		}
	}
	for (int power = -323; power <= 308; power++) {
		char text[16];
		uint64_t bits;

		snprintf(text, sizeof(text), "1e%d", power);
		expect_read(text);
		bits = bits_of(strtod(text, NULL));
		if (power >= -307)
			cr_assert_eq(digits_of(written(of_bits(bits))), 1);
		for (int by = -1; by <= 3; by++)
			expect_written(of_bits(bits + (uint64_t)by));
	}
}

Test(number, what_sensors_say_comes_back)
{
	for (int i = 0; i < ROUNDS; i++) {
		double value = (double)(int64_t)(next_random() >> (11 + i % 50)) /
			       pow(10, (int)(next_random() % 9));

		expect_written(i & 1 ? value : -value);
	}
}

/* Digits, a point somewhere, an exponent or none: also far longer than a double is exact. */
Test(number, any_text_is_read_as_the_library_reads_it)
{
	char text[1200];

	for (int i = 0; i < ROUNDS; i++) {
		size_t count = i % 500 == 0 ? 1 + next_random() % 1100 : 1 + next_random() % 25;
		size_t point = next_random() % (2 * count);
		size_t at = 0;

		if (next_random() % 4 == 0)
			text[at++] = '-';
		text[at++] = (char)('1' + next_random() % 9);
		for (size_t digit = 1; digit < count; digit++) {
			if (digit == point)
				text[at++] = '.';
			text[at++] = (char)('0' + next_random() % 10);
		}
		text[at] = '\0';
		if (next_random() % 2)
			snprintf(text + at, sizeof(text) - at, "%c%s%d", "eE"[next_random() % 2],
				 next_random() % 2 ? "+" : "-", (int)(next_random() % 345));
		expect_read(text);
	}
}

/* The exact middle of two doubles, and as little as possible beside it. */
Test(number, ties_go_to_the_even_one)
{
	char text[1200];

	for (int i = 0; i < 20000; i++) {
		uint64_t bits = next_random() % (bits_of((double)INFINITY) - 1);
		double low = of_bits(bits), high = of_bits(bits + 1);
		size_t end;

		if (i % 2) /* the middle of these is an integer with few digits */
			low = 9007199254740992.0 + 2.0 * (double)(next_random() % 100000),
			high = low + 2;
		if (!isfinite(high))
			continue;
		/* Exact: a long double has the bit that a double lacks. */
		snprintf(text, sizeof(text), "%.1100Lg",
			 ((long double)low + (long double)high) / 2);
		end = strlen(text);
		expect_read(text);
		if (strchr(text, 'e'))
			continue;
		if (!strchr(text, '.'))
			text[end++] = '.';
		memcpy(text + end, "000000000000000000000000000001", 31);
		expect_read(text);
	}
}

Test(number, known_hard_texts)
{
	static const char *const texts[] = {
		"0",
		"-0",
		"0.0",
		"0e5",
		"-0.0e-5",
		"1e0",
		"2.2250738585072011e-308",
		"2.2250738585072012e-308",
		"2.2250738585072014e-308",
		"4.9406564584124654e-324",
		"2.4703282292062327e-324",
		"2.4703282292062328e-324",
		"1.7976931348623157e308",
		"1.7976931348623158e308",
		"1.7976931348623159e308",
		"179769313486231580793728971405303415079934132710037826936173778980444968292764750"
		"946649017977587207096330286416692887910946555547851940402630657488671505820681908"
		"902000708383676273854845817711531764475730270069855571366959622842914819860834936"
		"475292719074168444365510704342711559699508093042880",
		"9007199254740993",
		"9007199254740993.0000000000000000000000000000000000000000000000001",
		"9007199254740992.9999999999999999999999999999999999999999999999999",
		"18446744073709551615",
		"18446744073709551616",
		"9999999999999999999",
		"10000000000000000000000",
		"100000000000000000000000",
		"8.988465674311580e307",
		"6.631236846766476e-316",
		"3.237883913302901e-319",
		"1.00000000000000011102230246251565404236316680908203125",
		"1.00000000000000011102230246251565404236316680908203124",
		"1.00000000000000011102230246251565404236316680908203126",
		"0.000000000000000000000000000000000000000000000000000000000000000000001",
		"7.2057594037927933e16",
		"5e-324",
		"1e-400",
		"1e400",
		"-1e99999999999999999999",
		"1e-99999999999999999999",
		"123456789012345678901234567890e-20",
		"1000000000000000000000000000000000e-33",
		"8007970000000000000000001e-20",
	};

	for (size_t i = 0; i < mr_array_count(texts); i++)
		expect_read(texts[i]);
}

/* A point or an exponent after a million zeros is no reason to lose the number. */
Test(number, long_texts_are_read_to_their_end)
{
	size_t zeros = 1000000;
	char *text = malloc(zeros + 32);

	mr_assert(text);
	memset(text, '0', zeros + 2);
	text[1] = '.';
	snprintf(text + zeros + 2, 30, "25e1000001");
	expect_read(text);
	text[0] = '1';
	text[1] = '0';
	snprintf(text + zeros + 2, 30, "e-1000001");
	expect_read(text);
	cr_assert_eq(strtod(text, NULL), 1.0);
	/* A tie but for its last digit, far behind those that are kept. */
	memset(text, '0', 1000);
	memcpy(text, "9007199254740993.", 17);
	memcpy(text + 1000, "1", 2);
	expect_read(text);
	cr_assert_eq(strtod(text, NULL), 9007199254740994.0);
	free(text);
}

Test(number, what_json_does_not_call_a_number_is_none)
{
	static const char *const texts[] = {"",	    "-",  "+1",	 ".5",	 "1.",	 "01",	"-01",
					    "1.e5", "1e", "1e+", "1e-",	 "-.5",	 "nan", "inf",
					    "e5",   "x",  " 1",	 "\xff", "1.-5", "00",	"-a"};
	double value = 7;

	for (size_t i = 0; i < mr_array_count(texts); i++)
		cr_assert_eq(read_exactly(texts[i], strlen(texts[i]), &value), 0, "'%s'", texts[i]);
	cr_assert_eq(value, 7);
	cr_assert_eq(read_exactly("12,5", 4, &value), 2, "the text goes on with something else");
	cr_assert_eq(value, 12);
	cr_assert_eq(read_exactly("1.5}", 4, &value), 3);
	cr_assert_eq(value, 1.5);
	cr_assert_eq(read_exactly("0x10", 4, &value), 1);
	cr_assert_eq(value, 0);
}

static double loose(const char *text)
{
	struct mr_decimal decimal;
	size_t taken = mr_decimal_read(text, strlen(text), MR_DECIMAL_LOOSE, &decimal);

	return taken && taken == strlen(text) ? mr_decimal_value(&decimal) : (double)NAN;
}

Test(number, loose_texts)
{
	cr_assert_eq(loose("+1"), 1);
	cr_assert_eq(loose("007"), 7);
	cr_assert_eq(loose("-.5"), -0.5);
	cr_assert_eq(loose("5."), 5);
	cr_assert_eq(loose("1.e+78"), 1e78);
	cr_assert_eq(loose("-00000000000000000000000000001.5"), -1.5);
	cr_assert(isnan(loose(".")));
	cr_assert(isnan(loose("+")));
	cr_assert(isnan(loose("+-1")));
	cr_assert(isnan(loose("1..5")));
	cr_assert(isnan(loose("1e")));
	cr_assert(isnan(loose("")));
}

static int64_t scaled(const char *text, int places)
{
	struct mr_decimal decimal;
	int64_t out;

	cr_assert_eq(mr_decimal_read(text, strlen(text), MR_DECIMAL_JSON, &decimal), strlen(text));
	return mr_decimal_scaled(&decimal, places, &out) ? out : -7777;
}

Test(number, scales_without_rounding_twice)
{
	cr_assert_eq(scaled("1.2345", 3), 1234);
	cr_assert_eq(scaled("-1.2345", 3), -1235, "down, not towards zero");
	cr_assert_eq(scaled("-1.2340", 3), -1234);
	cr_assert_eq(scaled("1700000000.1239", 3), INT64_C(1700000000123));
	cr_assert_eq(scaled("1465839830100999999", -6), INT64_C(1465839830100));
	cr_assert_eq(scaled("1465839830101000000", -6), INT64_C(1465839830101));
	cr_assert_eq(scaled("-1", -6), -1);
	cr_assert_eq(scaled("0", 3), 0);
	cr_assert_eq(scaled("-0", -9), 0);
	cr_assert_eq(scaled("0e99999", 3), 0);
	cr_assert_eq(scaled("1.7e9", 3), INT64_C(1700000000000));
	cr_assert_eq(scaled("9223372036854775807", 0), INT64_MAX);
	cr_assert_eq(scaled("9223372036854775808", 0), -7777);
	cr_assert_eq(scaled("1e19", 0), -7777);
	cr_assert_eq(scaled("1e400", 0), -7777);
	cr_assert_eq(scaled("5e-400", 0), 0);
	cr_assert_eq(scaled("-5e-400", 0), -1);
	cr_assert_eq(scaled("1.00000000000000000000000000", 3), 1000);
	cr_assert_eq(scaled("-1.00000000000000000000000000", 3), -1000, "only zeros were cut");
	cr_assert_eq(scaled("-1.00000000000000000000000001", 3), -1001);
}

/* Where a comma is the decimal point nothing changes. */
Test(number, no_locale_has_a_say)
{
	double value;

	if (!setlocale(LC_ALL, "de_DE.UTF-8"))
		cr_skip_test("no locale with a decimal comma is installed");
	cr_assert_eq(mr_number_read("1.5", 3, &value), 3);
	cr_assert_eq(value, 1.5);
	cr_assert_str_eq(written(1.5), "1.5");
}
