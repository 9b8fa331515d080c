/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process may use: processor time by the quotas of its cgroups, memory by their limits
 * and by what the host has; of version 2 (cpu.max, memory.max) and of version 1, its own groups and
 * those above them. Which CPUs it may use is the scheduler's answer (place_cores.c) and not asked
 * here. Any thread may ask.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "place_cores.h"

static bool read_word(const char *directory, const char *name, char *text, size_t room)
{
	char path[PATH_MAX + 64];
	FILE *file;
	bool read;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "re");
	read = file && fgets(text, (int)room, file);
	if (file)
		fclose(file);
	return read;
}

#define NO_LIMIT UINT64_MAX

/* A kind of limit: how its controller is called, and what one group says of it. */
struct limit {
	const char *controller;
	uint64_t (*of)(const char *directory);
};

/* ---- processor time -------------------------------------------------------------------------- */

static uint64_t to_percent(long quota, long period)
{
	if (quota <= 0 || period <= 0)
		return NO_LIMIT; /* -1 */
	if (quota / period >= CPU_SETSIZE)
		return NO_LIMIT;
	return quota * 100 / period > 0 ? (uint64_t)(quota * 100 / period) : 1;
}

/* "150000 100000", or "max 100000" */
static uint64_t percent_of(const char *directory)
{
	char text[64], period[64], *rest;
	long quota;

	if (read_word(directory, "cpu.max", text, sizeof(text))) {
		quota = strtol(text, &rest, 10);
		return rest == text ? NO_LIMIT : to_percent(quota, strtol(rest, NULL, 10));
	}
	if (read_word(directory, "cpu.cfs_quota_us", text, sizeof(text)) &&
	    read_word(directory, "cpu.cfs_period_us", period, sizeof(period)))
		return to_percent(strtol(text, NULL, 10), strtol(period, NULL, 10));
	return NO_LIMIT;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The number in the line of a file that begins with 'name'; 0: none. */
static uint64_t find_number(const char *path, const char *name)
{
	size_t length = strlen(name);
	uint64_t number = 0;
	char line[256];
	FILE *file = fopen(path, "re");

	while (file && !number && fgets(line, sizeof(line), file))
		if (strncmp(line, name, length) == 0)
			number = strtoull(line + length, NULL, 10);
	if (file)
		fclose(file);
	return number;
}

/* What of the limit is not in use; the cache of files that nobody reads gives way. */
static uint64_t room_below(const char *directory, const char *limit_name, const char *used_name,
			   const char *cache_name)
{
	char path[PATH_MAX + 64], text[64], *rest;
	uint64_t limit, used, cache;

	if (!read_word(directory, limit_name, text, sizeof(text)))
		return NO_LIMIT;
	limit = strtoull(text, &rest, 10);
	if (rest == text || !read_word(directory, used_name, text, sizeof(text)))
		return NO_LIMIT; /* "max" */
	used = strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "%s/memory.stat", directory);
	cache = find_number(path, cache_name);
	used -= cache < used ? cache : used;
	return limit > used ? limit - used : 0;
}

static uint64_t room_of(const char *directory)
{
	uint64_t room = room_below(directory, "memory.max", "memory.current", "inactive_file ");

	if (room != NO_LIMIT)
		return room;
	return room_below(directory, "memory.limit_in_bytes", "memory.usage_in_bytes",
			  "total_inactive_file ");
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* From the process's own group up to the mount: the smallest holds. */
static uint64_t smallest_from(const char *mount, const char *group, const struct limit *limit)
{
	char path[PATH_MAX];
	uint64_t smallest = NO_LIMIT;
	size_t top = strlen(mount);

	snprintf(path, sizeof(path), "%s%s", mount, group);
	for (;;) {
		uint64_t here = limit->of(path);
		char *slash;

		if (here < smallest)
			smallest = here;
		slash = strrchr(path, '/');
		if (!slash || (size_t)(slash - path) < top)
			return smallest;
		*slash = '\0';
	}
}

/* Is "cpu" one of "cpu,cpuacct"? */
static bool names(char *controllers, const char *wanted)
{
	char *word;

	while ((word = strsep(&controllers, ","))) {
		if (strcmp(word, wanted) == 0)
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup: "0::/group" (version 2) or "4:cpu,cpuacct:/group". */
static uint64_t limit_of_line(const char *root, char *line, const struct limit *limit)
{
	char *number = strsep(&line, ":"), *controllers = strsep(&line, ":");
	char mount[PATH_MAX];

	if (!controllers || !line || line[0] != '/')
		return NO_LIMIT;
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(number, "0") == 0 && controllers[0] == '\0')
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
	else if (names(controllers, limit->controller))
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, limit->controller);
	else
		return NO_LIMIT;
	return smallest_from(mount, line, limit);
}

static uint64_t smallest_of(const char *root, const struct limit *limit)
{
	char path[PATH_MAX], line[PATH_MAX];
	uint64_t smallest = NO_LIMIT;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		uint64_t here = limit_of_line(root, line, limit);

		if (here < smallest)
			smallest = here;
	}
	if (file)
		fclose(file);
	return smallest;
}

uint32_t mr_place_cpu_percent(const char *root)
{
	static const struct limit limit = {"cpu", percent_of};
	uint64_t smallest = smallest_of(root, &limit);

	return smallest == NO_LIMIT ? 0 : (uint32_t)smallest;
}

uint64_t mr_place_memory_free(const char *root)
{
	static const struct limit limit = {"memory", room_of};
	uint64_t room = smallest_of(root, &limit), available;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	available = find_number(path, "MemAvailable:") * 1024;
	return available && available < room ? available : room;
}
