/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much processor time this process may use: the quotas of its cgroups, of version 2 (cpu.max)
 * and of version 1 (cpu.cfs_quota_us), its own and those above it. Which CPUs it may use is the
 * scheduler's answer (place_cores.c) and not asked here. Runs at start on one thread.
 */
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

static uint32_t to_percent(long quota, long period)
{
	if (quota <= 0 || period <= 0)
		return 0; /* -1: no limit */
	if (quota / period >= CPU_SETSIZE)
		return 0;
	return quota * 100 / period > 0 ? (uint32_t)(quota * 100 / period) : 1;
}

/* "150000 100000", or "max 100000" */
static uint32_t percent_of(const char *directory)
{
	char text[64], period[64], *rest;
	long quota;

	if (read_word(directory, "cpu.max", text, sizeof(text))) {
		quota = strtol(text, &rest, 10);
		return rest == text ? 0 : to_percent(quota, strtol(rest, NULL, 10));
	}
	if (read_word(directory, "cpu.cfs_quota_us", text, sizeof(text)) &&
	    read_word(directory, "cpu.cfs_period_us", period, sizeof(period)))
		return to_percent(strtol(text, NULL, 10), strtol(period, NULL, 10));
	return 0;
}

/* From the process's own group up to the mount: the smallest holds. */
static uint32_t smallest_from(const char *mount, const char *group)
{
	char path[PATH_MAX];
	uint32_t smallest = 0;
	size_t top = strlen(mount);

	snprintf(path, sizeof(path), "%s%s", mount, group);
	for (;;) {
		uint32_t percent = percent_of(path);
		char *slash;

		if (percent > 0 && (smallest == 0 || percent < smallest))
			smallest = percent;
		slash = strrchr(path, '/');
		if (!slash || (size_t)(slash - path) < top)
			return smallest;
		*slash = '\0';
	}
}

/* Is "cpu" one of "cpu,cpuacct"? */
static bool names_cpu(char *controllers)
{
	char *word;

	while ((word = strsep(&controllers, ","))) {
		if (strcmp(word, "cpu") == 0)
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup: "0::/group" (version 2) or "4:cpu,cpuacct:/group". */
static uint32_t percent_of_line(const char *root, char *line)
{
	char *number = strsep(&line, ":"), *controllers = strsep(&line, ":");
	char mount[PATH_MAX];

	if (!controllers || !line || line[0] != '/')
		return 0;
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(number, "0") == 0 && controllers[0] == '\0')
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
	else if (names_cpu(controllers))
		snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/cpu", root);
	else
		return 0;
	return smallest_from(mount, line);
}

uint32_t mr_place_cpu_percent(const char *root)
{
	char path[PATH_MAX], line[PATH_MAX];
	uint32_t smallest = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		uint32_t percent = percent_of_line(root, line);

		if (percent > 0 && (smallest == 0 || percent < smallest))
			smallest = percent;
	}
	if (file)
		fclose(file);
	return smallest;
}
