/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation of the engine's disk fails once: the first, the second, the Nth, until a life
 * passes without the fault having struck (story.h). Each story is told by a child, eight at a time,
 * so that a crash, a hang or a leak has a number; the largest N of each kind is printed.
 *
 *	engine_faults				some sweeps in steps, for every day
 *	engine_faults --every			every N of each
 *	engine_faults --coarse			some, under a sanitizer
 *	engine_faults BACKEND SWEEP N		one story alone, for a debugger
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "story.h"

#define CHILDREN_MAX 8
#define STORY_S	     40 /* a story that takes longer hangs */
#define NTH_MAX	     2000

static enum story_end fail(const char *backend, enum mr_io_fault_kind kind, uint64_t nth, int error,
			   enum mr_io_fault_how how)
{
	struct mr_io_fault_plan plan = {.kind = kind, .nth = nth, .error = error, .how = how};

	return story_tell(backend, &plan);
}

static enum story_end tell_eio(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_ANY, nth, -EIO, MR_IO_FAULT_BEFORE);
}

static enum story_end tell_torn(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_ANY, nth, -EIO,
		    nth % 2 ? MR_IO_FAULT_SHORT : MR_IO_FAULT_AFTER);
}

static enum story_end tell_full(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_ANY, nth, -ENOSPC, MR_IO_FAULT_BEFORE);
}

/* Writes of groups, which is where the back ends differ. */
static enum story_end tell_write(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_QUEUE_WRITE, nth, -EIO, MR_IO_FAULT_BEFORE);
}

static enum story_end tell_torn_write(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_QUEUE_WRITE, nth, -EIO, MR_IO_FAULT_SHORT);
}

static enum story_end tell_busy(const char *backend, uint64_t nth)
{
	return fail(backend, MR_IO_FAULT_QUEUE_WRITE, nth, -EAGAIN, MR_IO_FAULT_BEFORE);
}

static enum story_end tell_short(const char *backend, uint64_t nth)
{
	return story_short_write(backend, nth, 0);
}

static enum story_end tell_again(const char *backend, uint64_t nth)
{
	return story_short_write(backend, nth, -EAGAIN);
}

/* Not a sweep, but told in the same way: for each kind that a full disk refuses. */
static enum story_end tell_long(const char *backend, uint64_t nth)
{
	static const enum mr_io_fault_kind kinds[] = {MR_IO_FAULT_ALLOCATE, MR_IO_FAULT_OPEN,
						      MR_IO_FAULT_WRITE, MR_IO_FAULT_RENAME};

	if (nth > 2 * mr_array_count(kinds))
		return STORY_SPARED;
	return story_full_disk(backend, kinds[(nth - 1) / 2], nth % 2 == 0);
}

static const struct sweep {
	const char *name;
	const char *says;
	enum story_end (*tell)(const char *backend, uint64_t nth);
	const char *backends; /* what is the same over both is told over one */
	uint64_t step;	      /* without --every: each so many Ns */
} sweeps[] = {
	{"eio", "EIO, nothing done", tell_eio, "posix", 1},
	{"torn", "EIO, done or done by half", tell_torn, "posix", 3},
	{"enospc", "ENOSPC", tell_full, "posix", 2},
	{"short", "short pwrite", tell_short, "posix", 5},
	{"pwrite-eagain", "EAGAIN from pwrite", tell_again, "posix", 5},
	{"memory", "no memory at start", story_no_memory, "posix", 3},
	{"memory-peers", "the same, with peers", story_no_memory_with_peers, "posix", 3},
	{"write", "EIO of a group", tell_write, "uring", 1},
	{"torn-write", "EIO of a group, half written", tell_torn_write, "uring", 2},
	{"eagain", "EAGAIN from a queue", tell_busy, "posix uring", 2},
	{"full", "a full disk for a while", tell_long, "posix uring", 1},
};

static uint64_t coarse = 1; /* times the step; 0: every N */

struct child {
	pid_t pid; /* 0: none */
	uint64_t nth;
	int said_fd; /* what it says is shown when it broke */
};

static void tell_in_child(const struct sweep *sweep, const char *backend, struct child *child)
{
	fflush(NULL);
	child->said_fd = memfd_create("story", MFD_CLOEXEC);
	child->pid = child->said_fd < 0 ? -1 : fork();
	if (child->pid == 0) {
		alarm(STORY_S);
		(void)dup2(child->said_fd, STDERR_FILENO); /* else it is shown at once */
		exit(sweep->tell(backend, child->nth));
	}
	if (child->pid < 0) {
		perror("engine_faults: cannot start a child");
		exit(1);
	}
}

static void show(const struct child *child)
{
	char text[4096];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(child->said_fd, text, sizeof(text), at)) > 0) {
		(void)fwrite(text, 1, (size_t)n, stderr); /* for people */
		at += n;
	}
}

/* What a child came to; -1: it broke, which is said here. */
static int judge(const struct sweep *sweep, const char *backend, uint64_t nth, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == STORY_STRUCK)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == STORY_SPARED)
		return 1;
	if (WIFSIGNALED(status))
		fprintf(stderr, "engine_faults %s %s %" PRIu64 ": %s\n", backend, sweep->name, nth,
			WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
	else
		fprintf(stderr, "engine_faults %s %s %" PRIu64 ": broken\n", backend, sweep->name,
			nth);
	return -1;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Returns how many stories broke; *told counts those that held. */
static unsigned sweep_all(const struct sweep *sweep, const char *backend, unsigned *told)
{
	struct child children[CHILDREN_MAX] = {0};
	unsigned running = 0, broken = 0;
	uint64_t next = 1, largest = 0;
	double began = seconds();
	bool over = false;
	int status, i, r;
	pid_t pid;

	while (running || !over) {
		for (i = 0; i < CHILDREN_MAX && !over; i++) {
			if (children[i].pid)
				continue;
			children[i].nth = next;
			next += coarse ? coarse * sweep->step : 1;
			tell_in_child(sweep, backend, &children[i]);
			running++;
			over = next > NTH_MAX;
		}
		pid = wait(&status);
		for (i = 0; i < CHILDREN_MAX && children[i].pid != pid; i++)
			;
		mr_assert(i < CHILDREN_MAX);
		children[i].pid = 0;
		running--;
		r = judge(sweep, backend, children[i].nth, status);
		over |= r == 1;
		broken += r < 0;
		if (r < 0)
			show(&children[i]);
		(void)close(children[i].said_fd); /* a memfd */
		*told += r == 0;
		if (r == 0 && children[i].nth > largest)
			largest = children[i].nth;
	}
	printf("%-6s %-28s largest N %4" PRIu64 ", %u broken, %.1f s\n", backend, sweep->says,
	       largest, broken, seconds() - began);
	fflush(stdout);
	return broken;
}

static int tell_one(const char *backend, const char *name, uint64_t nth)
{
	size_t i;

	for (i = 0; i < mr_array_count(sweeps); i++)
		if (strcmp(sweeps[i].name, name) == 0)
			return sweeps[i].tell(backend, nth);
	fprintf(stderr, "engine_faults: there is no sweep '%s'\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	static const char *const backends[] = {"posix", "uring"};
	unsigned told = 0, broken = 0;
	size_t i, j;

	if (argc == 2)
		coarse = strcmp(argv[1], "--every") == 0 ? 0 : 5;
	if (argc == 4)
		return tell_one(argv[1], argv[2], strtoull(argv[3], NULL, 10));
	for (i = 0; i < mr_array_count(backends); i++)
		for (j = 0; j < mr_array_count(sweeps); j++)
			if (strstr(sweeps[j].backends, backends[i]))
				broken += sweep_all(&sweeps[j], backends[i], &told);
	printf("%u passed, %u failed\n", told, broken);
	return broken ? 1 : 0;
}
