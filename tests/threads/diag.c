/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that all say something at one place, for ThreadSanitizer. Exit 0: no line was torn,
 * and what was said and what was kept back are together all there were.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diag.h"

#define THREADS	       4
#define LINES_A_THREAD 20000

static uint64_t still_ns(const struct mr_clock *clock)
{
	return 1000 * MR_DIAG_INTERVAL_NS;
}

static int64_t still_ms(const struct mr_clock *clock)
{
	return 0;
}

static const struct mr_clock still_clock = {still_ns, still_ms};
static struct mr_diag_site site;

static void *say_much(void *arg)
{
	for (int i = 0; i < LINES_A_THREAD; i++)
		mr_diag_say(&site, MR_DIAG_WARNING, "again", "n=%d", i);
	return NULL;
}

static void die(const char *why)
{
	fprintf(stderr, "diag: %s\n", why);
	exit(1);
}

/* Counts the lines that 'in' holds, and adds up what they say was suppressed. */
static uint64_t count_lines(FILE *in, uint64_t *suppressed)
{
	static const char start[] = "1970-01-01T00:00:00.000Z warning again";
	char line[256];
	uint64_t lines = 0;

	while (fgets(line, sizeof(line), in)) {
		const char *key = strstr(line, "suppressed=");

		if (strncmp(line, start, strlen(start)) != 0 || !strchr(line, '\n'))
			die("a line is torn");
		if (key)
			*suppressed += strtoull(key + strlen("suppressed="), NULL, 10);
		lines++;
	}
	return lines;
}

int main(void)
{
	pthread_t threads[THREADS];
	uint64_t suppressed = 0;
	int fds[2];
	FILE *in;

	if (pipe(fds) < 0)
		die("no pipe");
	mr_diag_start(fds[1], MR_DIAG_INFO, &still_clock);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, say_much, NULL) != 0)
			die("no thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close(fds[1]);
	in = fdopen(fds[0], "r");
	if (!in || count_lines(in, &suppressed) != MR_DIAG_BURST)
		die("not a burst of lines");
	suppressed += atomic_load(&site.suppressed);
	if (suppressed != THREADS * LINES_A_THREAD - MR_DIAG_BURST)
		die("a line was neither said nor counted");
	fclose(in);
	printf("diag: %d lines counted\n", THREADS * LINES_A_THREAD);
	return 0;
}
