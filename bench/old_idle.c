/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine costs that has nothing to do: opens lanes, waits, and reads the engine's CPU time
 *and memory from /proc.
 *
 *	bench-idle --pid ENGINE [--socket PATH] [--lanes 100] [--topics 10] [--seconds 10]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define LANES_MAX 1000

static double cpu_seconds(int pid)
{
	char path[64], text[1024], *at;
	unsigned long user, system;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || !fgets(text, sizeof(text), file) || !(at = strrchr(text, ')')) ||
	    sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
		    2) {
		fprintf(stderr, "cannot read %s: --pid names the engine\n", path);
		exit(2);
	}
	fclose(file);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long status_kib(int pid, const char *name)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name) + 1, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

static void open_lanes(struct mr_connection *connection, struct mr_producer **producers,
		       uint32_t lanes, uint32_t topics)
{
	struct mr_producer_options options = {.size = sizeof(options), .lane_bytes = 64 << 10};
	struct mr_error err = {0};
	char topic[32];
	uint32_t i;

	for (i = 0; i < lanes; i++) {
		snprintf(topic, sizeof(topic), "idle-%u", i % topics);
		options.topic = topic;
		if (mr_producer_open(connection, &options, &producers[i], &err) < 0)
			bench_fail("cannot open a lane", &err);
	}
}

int main(int count, char **arguments)
{
	int pid = (int)bench_number(count, arguments, "pid", 0);
	uint32_t lanes = (uint32_t)bench_number(count, arguments, "lanes", 100);
	uint32_t topics = (uint32_t)bench_number(count, arguments, "topics", 10);
	double seconds = bench_number(count, arguments, "seconds", 10);
	struct timespec pause = {.tv_sec = (time_t)seconds};
	struct mr_connection *connection;
	struct mr_producer *producers[LANES_MAX];
	double before;
	uint32_t i;

	if (lanes < 1 || lanes > LANES_MAX || topics < 1) {
		fprintf(stderr, "--lanes 1 to %d, --topics at least 1\n", LANES_MAX);
		return 2;
	}
	connection = bench_connect(bench_text(count, arguments, "socket", NULL));
	open_lanes(connection, producers, lanes, topics);
	before = cpu_seconds(pid);
	nanosleep(&pause, NULL);
	printf("idle with %u lanes into %u topics: %.2f %% of a core, resident %ld KiB of which "
	       "shared "
	       "%ld KiB, anonymous %ld KiB\n",
	       lanes, topics, (cpu_seconds(pid) - before) / seconds * 100, status_kib(pid, "VmRSS"),
	       status_kib(pid, "RssShmem"), status_kib(pid, "RssAnon"));
	for (i = 0; i < lanes; i++)
		(void)mr_producer_close(producers[i], 1000); /* nothing was published */
	mr_disconnect(connection);
	return 0;
}
