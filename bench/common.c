/* SPDX-License-Identifier: Apache-2.0 */
/* What the measuring programs share (common.h). */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t bench_percentile(uint64_t *values, size_t count, double share)
{
	if (!count)
		return 0;
	qsort(values, count, sizeof(*values), compare);
	return values[(size_t)(share * (double)(count - 1))];
}

const char *bench_text(int count, char **arguments, const char *name, const char *otherwise)
{
	int i;

	for (i = 1; i + 1 < count; i++)
		if (!strncmp(arguments[i], "--", 2) && !strcmp(arguments[i] + 2, name))
			return arguments[i + 1];
	return otherwise;
}

double bench_number(int count, char **arguments, const char *name, double otherwise)
{
	const char *text = bench_text(count, arguments, name, NULL);
	char *end;
	double value;

	if (!text)
		return otherwise;
	value = strtod(text, &end);
	if (*end || end == text || value < 0) {
		fprintf(stderr, "--%s '%s' is not a number of at least 0\n", name, text);
		exit(2);
	}
	return value;
}

void bench_fail(const char *doing, const struct mr_error *err)
{
	fprintf(stderr, "%s: %s\n  why: %s\n  do: %s\n", doing, err->what, err->why, err->hint);
	exit(1);
}

struct mr_connection *bench_connect(const char *socket_path)
{
	struct mr_connect_options options = {.size = sizeof(options), .socket_path = socket_path};
	struct mr_connection *connection;
	struct mr_error err = {0};

	if (mr_connect(&options, &connection, &err) < 0)
		bench_fail("cannot connect", &err);
	return connection;
}
