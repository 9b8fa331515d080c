/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mr_assert(): for our own mistakes only, and it stays on in release builds. Bytes that come from a
 * disk, a socket or another process's memory are never asserted; they are checked and refused.
 */
#ifndef MR_CHECK_H
#define MR_CHECK_H

#include <stddef.h>

/* Prints one line to standard error and aborts, so that a core file shows the culprit. */
__attribute__((noreturn, cold)) void mr_assert_failed(const char *condition, const char *file,
						      int line);

#define mr_assert(condition)                                                                       \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0))                                             \
			mr_assert_failed(#condition, __FILE__, __LINE__);                          \
	} while (0)

#define mr_array_count(array) (sizeof(array) / sizeof((array)[0]))

#endif
