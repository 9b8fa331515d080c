/* SPDX-License-Identifier: Apache-2.0 */
/* Reads smaps: a line that begins with two addresses begins a mapping, "Rss:" belongs to it. */
#include "resident.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool begins_mapping(const char *line, struct mr_mapping *mapping)
{
	uint64_t from, to;
	char access[8];
	int path = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &from, &to, access, &path) <
	    3)
		return false;
	*mapping = (struct mr_mapping){
		.writable = strchr(access, 'w'),
		.executable = strchr(access, 'x'),
		.bytes = to - from,
	};
	snprintf(mapping->path, sizeof(mapping->path), "%.255s", path ? line + path : "");
	mapping->path[strcspn(mapping->path, "\n")] = '\0';
	return true;
}

uint64_t mr_resident_sum(FILE *smaps, bool (*counts)(const struct mr_mapping *mapping, void *arg),
			 void *arg)
{
	struct mr_mapping mapping = {.bytes = 0};
	uint64_t sum = 0;
	char line[512];

	while (fgets(line, sizeof(line), smaps)) {
		if (begins_mapping(line, &mapping) || strncmp(line, "Rss:", 4) != 0)
			continue;
		mapping.resident_bytes = strtoull(line + 4, NULL, 10) * 1024;
		if (counts(&mapping, arg))
			sum += mapping.resident_bytes;
	}
	return sum;
}
