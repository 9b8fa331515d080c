/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text, fast and the same everywhere: no locale, no allocation, correctly rounded (to
 * nearest, ties to even).
 */
#ifndef MR_NUMBER_H
#define MR_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_NUMBER_TEXT_MAX 32

/*
 * Reads a number as JSON writes it at the start of 'text'. Returns its bytes, 0: there is none.
 * What is too great is an infinity.
 */
size_t mr_number_read(const char *text, size_t bytes, double *out);
/*
 * Writes the shortest decimal text that reads back as the same double, as JSON; NaN and infinities
 * as null. Returns its bytes, at most MR_NUMBER_TEXT_MAX; nothing terminates it.
 *
 * From 1e-6 to below 1e21 without an exponent, as JavaScript has it; but zero keeps its sign.
 */
size_t mr_number_write(char *at, double value);
size_t mr_number_write_integer(char *at, int64_t value);

/*
 * A number as its text says it, before anything is rounded: +-digits x 10^exponent. Where 'cut',
 * these are its first 19 digits, and among those left out are some that are not zero.
 */
struct mr_decimal {
	const char *text; /* borrowed */
	uint64_t digits;
	int64_t exponent;
	uint32_t bytes;
	bool negative;
	bool cut;
};

enum mr_decimal_form {
	MR_DECIMAL_JSON,
	MR_DECIMAL_LOOSE, /* "+1", "007", ".5" and "5." too */
};

/* As mr_number_read(). */
size_t mr_decimal_read(const char *text, size_t bytes, enum mr_decimal_form form,
		       struct mr_decimal *out);
double mr_decimal_value(const struct mr_decimal *decimal);
/* Rounded down to a whole number of 10^-places: 1.2345 with 3 places is 1234. False: no int64_t. */
bool mr_decimal_scaled(const struct mr_decimal *decimal, int places, int64_t *out);

#endif
