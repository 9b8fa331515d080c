/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling in struct mr_error (millrace.h): a negative errno for the program, one sentence for the
 * person, and a hint what to do. Every layer uses it; hot paths return the number only.
 */
#ifndef MR_ERROR_H
#define MR_ERROR_H

#include "millrace.h"

/*
 * Sets the code and the sentence, clears the hint, and returns 'code' so that a caller can
 * `return mr_error_set(...)`. 'err' may be NULL. 'code' is a negative errno.
 */
__attribute__((format(printf, 3, 4))) int mr_error_set(struct mr_error *err, int code,
						       const char *format, ...);

/* Sets why it failed, as far as it is known, and returns err->code (or 0 where err is NULL). */
__attribute__((format(printf, 2, 3))) int mr_error_why(struct mr_error *err, const char *format,
						       ...);

/* Sets what the person can do. Call it after mr_error_set(). Returns err->code as above. */
__attribute__((format(printf, 2, 3))) int mr_error_hint(struct mr_error *err, const char *format,
							...);

/* Puts words in front of the sentence: "cannot start: " + what. Code, why and hint stay. */
__attribute__((format(printf, 2, 3))) void mr_error_prefix(struct mr_error *err,
							   const char *format, ...);

#endif
