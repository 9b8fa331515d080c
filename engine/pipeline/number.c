/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text. Pure; any thread.
 *
 * Reading. The digits go into 64 bits. Up to 2^53 and 10^22 one operation on doubles rounds once
 * and so correctly (Clinger, "How to read floating point numbers accurately", 1990). Beyond that
 * the digits are multiplied by the power of ten rounded up to 128 bits (after Lemire, "Number
 * parsing at a gigabyte per second", 2021): the product is known within one unit of its 128th bit,
 * which settles the rounding unless it may be a tie. Ties, numbers below 2^-1022 and long texts
 * whose first 19 digits do not settle it go to strtod(), without a decimal point, so that no locale
 * has a say.
 *
 * Writing: Schubfach (Giulietti, "The Schubfach way to render doubles", 2020). The double and the
 * middles to its neighbours, in units of the power of ten that is just below the distance of the
 * middles: of the one or two multiples of ten units and the units between them, the shortest and
 * nearest is it. The products are rounded to odd, which keeps every comparison right.
 *
 * The table of powers comes from number_main.c.
 */
#include "number.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "number_powers.h"
#include "text.h"

#define DIGITS_MAX    19  /* that surely fit 64 bits */
#define EXACT_DIGITS  800 /* more than the 767 that can matter */
#define EXPONENT_MAX  INT64_C(1000000000000)
#define FRACTION_BITS 52
#define IMPLIED	      (UINT64_C(1) << FRACTION_BITS)
#define EXPONENT_BIAS 1023
#define POWERS_EXACT  22 /* the greatest power of ten that is a double */
#define POWERS_WHOLE  55 /* the greatest whose 128 bits are all of it */
#define PLAIN_LEAST   (-6)
#define PLAIN_MOST    21

static_assert(mr_array_count(powers) == POWER_MOST - POWER_LEAST + 1, "a row for each power");

static const double small_powers[POWERS_EXACT + 1] = {
	1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,  1e9,  1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};
static const uint64_t whole_powers[DIGITS_MAX + 1] = {
	UINT64_C(1),
	UINT64_C(10),
	UINT64_C(100),
	UINT64_C(1000),
	UINT64_C(10000),
	UINT64_C(100000),
	UINT64_C(1000000),
	UINT64_C(10000000),
	UINT64_C(100000000),
	UINT64_C(1000000000),
	UINT64_C(10000000000),
	UINT64_C(100000000000),
	UINT64_C(1000000000000),
	UINT64_C(10000000000000),
	UINT64_C(100000000000000),
	UINT64_C(1000000000000000),
	UINT64_C(10000000000000000),
	UINT64_C(100000000000000000),
	UINT64_C(1000000000000000000),
	UINT64_C(10000000000000000000),
};

/* floor(log2(10^power)), for all powers of the table. */
static inline int binary_exponent(int power)
{
	return (power * 1741647) >> 19;
}

static inline const uint64_t *power_of_ten(int power)
{
	return powers[power - POWER_LEAST];
}

static inline double double_of_bits(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* ---- reading: text to digits -------------------------------------------------------------- */

/* A place in the text; reading stops at 'end'. */
struct cursor {
	const char *at;
	const char *end;
};

/* Eight digits as values, the first byte the most significant: in pairs, fours, eights. */
static inline uint64_t eight_digits(uint64_t values)
{
	values = (values * 10) + (values >> 8);
	return (((values & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064)) +
		((values >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001))) >>
	       32;
}

/* All digits from here on behind 'before'; what does not fit is lost at the top. */
static inline uint64_t take_digits(struct cursor *cursor, uint64_t before)
{
	for (;;) {
		uint64_t eight = mr_text_load(cursor->at, cursor->end);
		unsigned count = mr_text_first(mr_text_not_digits(eight));

		if (count == 0)
			return before;
		before = before * whole_powers[count] +
			 eight_digits((eight - MR_TEXT_EACH('0')) << (64 - 8 * count));
		cursor->at += count;
		if (count < 8)
			return before;
	}
}

static inline bool is_digit(const struct cursor *cursor)
{
	return cursor->at < cursor->end && (unsigned)(*cursor->at - '0') < 10;
}

/* From the e on: "e-12"; false: it has no number. */
static bool take_exponent(struct cursor *cursor, int64_t *exponent)
{
	int64_t value = 0;
	bool negative;

	cursor->at++;
	negative = cursor->at < cursor->end && *cursor->at == '-';
	if (cursor->at < cursor->end && (*cursor->at == '-' || *cursor->at == '+'))
		cursor->at++;
	if (!is_digit(cursor))
		return false;
	for (; is_digit(cursor); cursor->at++) {
		if (value < EXPONENT_MAX)
			value = value * 10 + (*cursor->at - '0');
	}
	*exponent += negative ? -value : value;
	return true;
}

/* The first 19 digits that count, of a text that has more; the exponent comes as of them all. */
static void cut_digits(const char *at, const char *end, struct mr_decimal *out)
{
	unsigned taken = 0;

	out->digits = 0;
	for (; at < end; at++) {
		if ((unsigned)(*at - '0') >= 10)
			continue;
		if (taken == DIGITS_MAX) {
			out->cut = out->cut || *at != '0';
			out->exponent++;
		} else if (taken > 0 || *at != '0') {
			out->digits = out->digits * 10 + (unsigned)(*at - '0');
			taken++;
		}
	}
}

/* Digits before and behind the point; false: not as the form wants them. */
static inline bool take_mantissa(struct cursor *cursor, enum mr_decimal_form form,
				 struct mr_decimal *out)
{
	const char *start = cursor->at;
	size_t count;
	size_t behind = 0;

	out->digits = take_digits(cursor, 0);
	count = (size_t)(cursor->at - start);
	if (form == MR_DECIMAL_JSON && (count == 0 || (count > 1 && *start == '0')))
		return false;
	if (cursor->at < cursor->end && *cursor->at == '.') {
		const char *point = cursor->at++;

		out->digits = take_digits(cursor, out->digits);
		behind = (size_t)(cursor->at - point) - 1;
		if (form == MR_DECIMAL_JSON && behind == 0)
			return false;
	}
	out->exponent = -(int64_t)behind;
	if (__builtin_expect(count + behind > DIGITS_MAX, 0))
		cut_digits(start, cursor->at, out);
	return count + behind > 0;
}

size_t mr_decimal_read(const char *text, size_t bytes, enum mr_decimal_form form,
		       struct mr_decimal *out)
{
	struct cursor cursor = {text, text + bytes};

	if (bytes == 0)
		return 0;
	out->text = text;
	out->cut = false;
	out->negative = *text == '-';
	if (*text == '-' || (*text == '+' && form == MR_DECIMAL_LOOSE))
		cursor.at++;
	if (!take_mantissa(&cursor, form, out))
		return 0;
	if (cursor.at < cursor.end && (*cursor.at | 0x20) == 'e' &&
	    !take_exponent(&cursor, &out->exponent))
		return 0;
	out->bytes = (uint32_t)(cursor.at - text);
	return (size_t)(cursor.at - text);
}

/* ---- reading: digits to a double ----------------------------------------------------------- */

/*
 * The digits that can matter, as a whole number with an exponent, to strtod(): it rounds correctly
 * and looks up a locale's decimal point, but here there is none.
 */
static double exact_value(const struct mr_decimal *decimal)
{
	char text[EXACT_DIGITS + 32];
	size_t taken = 0;
	int64_t dropped = 0;
	bool point = false, rest = false;
	int64_t behind = 0;
	const char *at = decimal->text;
	const char *end = at + decimal->bytes;
	int64_t exponent = 0;
	struct cursor cursor;

	for (; at < end && (*at | 0x20) != 'e'; at++) {
		if (*at == '.')
			point = true;
		if ((unsigned)(*at - '0') >= 10)
			continue;
		behind += point;
		if (taken < EXACT_DIGITS && (taken > 0 || *at != '0')) {
			text[taken++] = *at;
		} else if (taken == EXACT_DIGITS) {
			rest = rest || *at != '0';
			dropped++;
		}
	}
	cursor = (struct cursor){at, end};
	if (at < end)
		(void)take_exponent(&cursor, &exponent); /* it was read before */
	exponent += dropped - behind;
	if (rest) { /* a little more than what was taken */
		text[taken++] = '1';
		exponent--;
	}
	if (exponent > 2 * EXACT_DIGITS || exponent < -4 * EXACT_DIGITS)
		exponent = exponent > 0 ? 2 * EXACT_DIGITS : -4 * EXACT_DIGITS;
	snprintf(text + taken, sizeof(text) - taken, "e%" PRId64, exponent);
	return taken ? strtod(text, NULL) : 0.0;
}

/* digits x 10^power, where that is settled by a product of 192 bits: false where not. */
static inline bool round_product(uint64_t digits, int power, double *out)
{
	const uint64_t *ten = power_of_ten(power);
	int shift = __builtin_clzll(digits);
	unsigned __int128 low = (unsigned __int128)(digits << shift) * ten[1];
	unsigned __int128 high = (unsigned __int128)(digits << shift) * ten[0] + (low >> 64);
	uint64_t top = (uint64_t)(high >> 64);
	int upper = (int)(top >> 63);
	uint64_t mantissa = top >> (9 + upper); /* 53 bits and the one that rounds */
	uint64_t rest = top << (55 - upper) | (uint64_t)high;
	int exponent = binary_exponent(power) + 63 + upper - shift;

	if (exponent <= -EXPONENT_BIAS || exponent > EXPONENT_BIAS)
		return false;
	/* The row was rounded up, so the product may be a little less than it looks. */
	if ((mantissa & 1) && rest == 0) {
		if (power < 0 || power > POWERS_WHOLE)
			return false;
		if ((uint64_t)low == 0 && !(mantissa & 2))
			mantissa--; /* a tie, down to the even one */
	}
	mantissa = (mantissa + (mantissa & 1)) >> 1;
	/* One that was rounded up to 2^53 carries into the exponent, and there it belongs. */
	*out = double_of_bits(((uint64_t)(exponent + EXPONENT_BIAS - 1) << FRACTION_BITS) +
			      mantissa);
	return true;
}

/* Of what Clinger's way does not take. */
static double rounded_value(const struct mr_decimal *decimal)
{
	double value, next;
	int power;

	if (decimal->digits == 0 || decimal->exponent < POWER_LEAST)
		return 0.0; /* 10^19 x 10^-343 is less than half of the least double */
	if (decimal->exponent > 308)
		return (double)INFINITY;
	power = (int)decimal->exponent;
	if (!round_product(decimal->digits, power, &value))
		return exact_value(decimal);
	if (!decimal->cut)
		return value;
	if (!round_product(decimal->digits + 1, power, &next) || value != next)
		return exact_value(decimal);
	return value;
}

double mr_decimal_value(const struct mr_decimal *decimal)
{
	double value;

	if (decimal->digits <= 2 * IMPLIED && decimal->exponent <= 0 &&
	    decimal->exponent >= -POWERS_EXACT && !decimal->cut)
		value = (double)decimal->digits / small_powers[-decimal->exponent];
	else
		value = rounded_value(decimal);
	return decimal->negative ? -value : value;
}

size_t mr_number_read(const char *text, size_t bytes, double *out)
{
	struct mr_decimal decimal;
	size_t taken = mr_decimal_read(text, bytes, MR_DECIMAL_JSON, &decimal);

	if (taken)
		*out = mr_decimal_value(&decimal);
	return taken;
}

bool mr_decimal_scaled(const struct mr_decimal *decimal, int places, int64_t *out)
{
	int64_t power = decimal->exponent + places;
	uint64_t digits = decimal->digits;
	bool rest = decimal->cut;

	if (digits != 0 && power > 0) {
		if (power > DIGITS_MAX || decimal->cut ||
		    __builtin_mul_overflow(digits, whole_powers[power], &digits))
			return false;
	} else if (digits != 0 && power < 0) {
		uint64_t by = power >= -DIGITS_MAX ? whole_powers[-power] : UINT64_MAX;

		rest = rest || power < -DIGITS_MAX || digits % by != 0;
		digits = power < -DIGITS_MAX ? 0 : digits / by;
	}
	digits += decimal->negative && rest;
	if (digits > INT64_MAX)
		return false;
	*out = decimal->negative ? -(int64_t)digits : (int64_t)digits;
	return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
			    "25262728293031323334353637383940414243444546474849"
			    "50515253545556575859606162636465666768697071727374"
			    "75767778798081828384858687888990919293949596979899";

static inline unsigned count_digits(uint64_t number)
{
	/* 1233 / 4096 is a little more than log10(2) */
	unsigned guess = (unsigned)(64 - __builtin_clzll(number | 1)) * 1233 >> 12;

	return guess + (number >= whole_powers[guess]) + (number == 0);
}

static inline void write_digits(char *at, uint64_t number, unsigned count)
{
	while (count >= 2) {
		count -= 2;
		memcpy(at + count, pairs + 2 * (number % 100), 2);
		number /= 100;
	}
	if (count)
		*at = (char)('0' + number);
}

static inline size_t write_whole(char *at, uint64_t number)
{
	unsigned count = count_digits(number);

	write_digits(at, number, count);
	return count;
}

size_t mr_number_write_integer(char *at, int64_t value)
{
	if (value >= 0)
		return write_whole(at, (uint64_t)value);
	*at = '-';
	return 1 + write_whole(at + 1, -(uint64_t)value);
}

/* The product's upper 64 bits, odd wherever it is not whole. */
static inline uint64_t round_to_odd(const uint64_t *ten, uint64_t factor)
{
	unsigned __int128 low = (unsigned __int128)ten[1] * factor;
	unsigned __int128 high = (unsigned __int128)ten[0] * factor + (low >> 64);

	return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

struct shortest {
	uint64_t digits;
	int exponent;
};

/* The last step: of the units on both sides the one inside, or the nearer of two. */
static inline uint64_t nearest(uint64_t lower, uint64_t value, uint64_t upper)
{
	uint64_t unit = value / 4;
	bool below = lower <= 4 * unit;
	bool above = 4 * unit + 4 <= upper;

	if (below != above)
		return unit + above;
	return unit + (value > 4 * unit + 2 || (value == 4 * unit + 2 && (unit & 1)));
}

static struct shortest find_shortest(uint64_t fraction, int exponent)
{
	bool narrow = fraction == 0 && exponent > 1; /* the double below is nearer */
	uint64_t mantissa = exponent ? fraction | IMPLIED : fraction;
	int binary = (exponent ? exponent : 1) - EXPONENT_BIAS - FRACTION_BITS;
	int power = (binary * 1262611 - (narrow ? 524031 : 0)) >> 22;
	int shift = binary + binary_exponent(-power) + 1;
	const uint64_t *ten = power_of_ten(-power);
	bool odd = mantissa & 1; /* then the middles round away from it */
	uint64_t lower = round_to_odd(ten, (4 * mantissa - 2 + narrow) << shift) + odd;
	uint64_t value = round_to_odd(ten, 4 * mantissa << shift);
	uint64_t upper = round_to_odd(ten, (4 * mantissa + 2) << shift) - odd;
	uint64_t tens = value / 40;
	bool below = lower <= 40 * tens;
	bool above = 40 * tens + 40 <= upper;

	if (value >= 40 && below != above)
		return (struct shortest){tens + above, power + 1};
	return (struct shortest){nearest(lower, value, upper), power};
}

/* Zeros at the end into the exponent. */
static inline void strip_zeros(struct shortest *number)
{
	while (number->digits % 100 == 0) {
		number->digits /= 100;
		number->exponent += 2;
	}
	if (number->digits % 10 == 0) {
		number->digits /= 10;
		number->exponent++;
	}
}

/* "12300", "12.3", "0.00123"; 'point' digits stand before the point. */
static size_t write_plain(char *at, uint64_t digits, unsigned count, int point)
{
	if (point <= 0) {
		memset(at, '0', (size_t)(2 - point));
		at[1] = '.';
		write_digits(at + 2 - point, digits, count);
		return (size_t)(2 - point) + count;
	}
	if ((unsigned)point >= count) {
		write_digits(at, digits, count);
		memset(at + count, '0', (size_t)point - count);
		return (size_t)point;
	}
	write_digits(at + 1, digits, count);
	memmove(at, at + 1, (size_t)point);
	at[point] = '.';
	return count + 1;
}

/* "1.23e-7", "1e21" */
static size_t write_scientific(char *at, uint64_t digits, unsigned count, int exponent)
{
	size_t bytes = count == 1 ? 1 : count + 1;

	write_digits(at + 1, digits, count);
	at[0] = at[1];
	if (count > 1)
		at[1] = '.';
	at[bytes++] = 'e';
	return bytes + mr_number_write_integer(at + bytes, exponent);
}

size_t mr_number_write(char *at, double value)
{
	struct shortest number;
	uint64_t bits;
	unsigned count;
	int point, exponent;
	size_t sign;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 63;
	bits &= INT64_MAX;
	exponent = (int)(bits >> FRACTION_BITS);
	if (exponent == 2 * EXPONENT_BIAS + 1) {
		memcpy(at, "null", 4);
		return 4;
	}
	*at = '-';
	at += sign;
	value = double_of_bits(bits);
	if (value < 2.0 * IMPLIED && value == (double)(int64_t)value)
		return sign + write_whole(at, (uint64_t)value);
	number = find_shortest(bits & (IMPLIED - 1), exponent);
	strip_zeros(&number);
	count = count_digits(number.digits);
	point = number.exponent + (int)count;
	if (point > PLAIN_LEAST && point <= PLAIN_MOST)
		return sign + write_plain(at, number.digits, count, point);
	return sign + write_scientific(at, number.digits, count, point - 1);
}
