/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text, fast and the same everywhere: no locale, no allocation, correctly rounded.
 */
#ifndef MR_NUMBER_H
#define MR_NUMBER_H

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
 */
size_t mr_number_write(char *at, double value);
size_t mr_number_write_integer(char *at, int64_t value);

#endif
