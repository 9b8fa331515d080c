/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as values: runs on whatever thread fails, owns nothing, never allocates, always leaves a
 * terminated text.
 */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

void mr_assert_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "millrace: a promise of the program is broken: %s (%s:%d)\n", condition,
		file, line);
	abort();
}

int mr_error_set(struct mr_error *err, int code, const char *format, ...)
{
	va_list args;

	mr_assert(code < 0);
	if (!err)
		return code;
	err->code = code;
	err->why[0] = '\0';
	err->hint[0] = '\0';
	va_start(args, format);
	vsnprintf(err->what, sizeof(err->what), format, args);
	va_end(args);
	return code;
}

int mr_error_why(struct mr_error *err, const char *format, ...)
{
	va_list args;

	if (!err)
		return 0;
	va_start(args, format);
	vsnprintf(err->why, sizeof(err->why), format, args);
	va_end(args);
	return err->code;
}

int mr_error_hint(struct mr_error *err, const char *format, ...)
{
	va_list args;

	if (!err)
		return 0;
	va_start(args, format);
	vsnprintf(err->hint, sizeof(err->hint), format, args);
	va_end(args);
	return err->code;
}

void mr_error_prefix(struct mr_error *err, const char *format, ...)
{
	char old[sizeof(err->what)];
	va_list args;
	int used;

	if (!err)
		return;
	memcpy(old, err->what, sizeof(old));
	va_start(args, format);
	used = vsnprintf(err->what, sizeof(err->what), format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < sizeof(err->what))
		snprintf(err->what + used, sizeof(err->what) - (size_t)used, "%s", old);
}
