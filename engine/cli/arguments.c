/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of an argument to its value. Pure; any thread.
 */
#include "arguments.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "time_text.h"

/* Digits only: strtoull alone would take signs, blanks and other bases. */
static int read_digits(const char *text, const char **end, uint64_t *out)
{
	char *stop;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &stop, 10);
	*end = stop;
	return errno == ERANGE ? -ERANGE : 0;
}

int mr_argument_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *end;
	uint64_t value;
	int r = read_digits(text, &end, &value);

	if (r < 0)
		return r;
	if (*end)
		return -EINVAL;
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int mr_argument_duration_ms(const char *text, uint64_t *out)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{"", 1000},	{"ms", 1},	{"s", 1000},	 {"m", 60000},
		{"min", 60000}, {"h", 3600000}, {"d", 86400000},
	};
	const char *unit;
	uint64_t value, ms = 0;
	int r = read_digits(text, &unit, &value);

	if (r < 0)
		return r;
	unit += strspn(unit, " ");
	for (size_t i = 0; i < mr_array_count(units) && !ms; i++) {
		if (strcasecmp(unit, units[i].name) == 0)
			ms = units[i].ms;
	}
	if (!ms)
		return -EINVAL;
	if (__builtin_mul_overflow(value, ms, &value) || value > INT64_MAX || value == 0)
		return -ERANGE;
	*out = value;
	return 0;
}

int mr_argument_acks(const char *text, enum mr_acks *out)
{
	static const struct {
		const char *name;
		enum mr_acks acks;
	} levels[] = {
		{"committed", MR_ACKS_COMMITTED},
		{"disk", MR_ACKS_DISK},
		{"memory", MR_ACKS_MEMORY},
	};

	for (size_t i = 0; i < mr_array_count(levels); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*out = levels[i].acks;
			return 0;
		}
	}
	return -EINVAL;
}

const char *mr_acks_words(enum mr_acks acks)
{
	switch (acks) {
	case MR_ACKS_COMMITTED:
		return "committed: durable on every in-sync replica";
	case MR_ACKS_DISK:
		return "disk: durable on this host";
	case MR_ACKS_MEMORY:
		return "memory: lost if the engine or this host fails";
	}
	return "unknown";
}

int mr_argument_from(const char *text, enum mr_from *from, int64_t *value)
{
	uint64_t offset;
	int64_t time_ms;
	int r;

	if (strcmp(text, "earliest") == 0) {
		*from = MR_FROM_EARLIEST;
		return 0;
	}
	if (strcmp(text, "latest") == 0) {
		*from = MR_FROM_LATEST;
		return 0;
	}
	r = mr_argument_number(text, 0, INT64_MAX, &offset);
	if (r == 0) {
		*from = MR_FROM_OFFSET;
		*value = (int64_t)offset;
		return 0;
	}
	if (r == -ERANGE || mr_time_parse_date(text, strlen(text), &time_ms) < 0)
		return r;
	*from = MR_FROM_TIME;
	*value = time_ms;
	return 0;
}
