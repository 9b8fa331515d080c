/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, processes, shared memory and values for the torture programs (torture.h). */
#include "torture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"

static uint32_t passed, failed;

/* ---- chance and time ------------------------------------------------------------------------- */

/* splitmix64 */
uint64_t torture_random(struct torture_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t torture_below(struct torture_random *random, uint64_t bound)
{
	return torture_random(random) % bound;
}

bool torture_chance(struct torture_random *random, uint32_t percent)
{
	return torture_below(random, 100) < percent;
}

uint64_t torture_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void torture_sleep_us(uint64_t us)
{
	struct timespec time = {.tv_sec = (time_t)(us / 1000000),
				.tv_nsec = (long)(us % 1000000) * 1000};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL); /* a signal may shorten it */
}

/* ---- what held ------------------------------------------------------------------------------- */

bool torture_check(bool held, const char *format, ...)
{
	va_list arguments;

	printf("%s: ", held ? "ok" : "FAILED");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	passed += held;
	failed += !held;
	return held;
}

bool torture_failed(void)
{
	return failed > 0;
}

int torture_finish(void)
{
	printf("%u passed, %u failed\n", passed, failed);
	fflush(stdout);
	return failed ? 1 : 0;
}

void torture_die(const char *format, ...)
{
	va_list arguments;

	printf("FAILED: ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	failed++;
	exit(torture_finish());
}

/* ---- processes ------------------------------------------------------------------------------- */

#define WORDS_MAX 32

pid_t torture_spawn(const char *const *words)
{
	char *argv[WORDS_MAX] = {"/proc/self/exe"};
	pid_t parent = getpid(), pid;
	int count = 1;

	while (words[count - 1] && count < WORDS_MAX - 1) {
		argv[count] = (char *)words[count - 1]; /* execv() changes nothing of it */
		count++;
	}
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		torture_die("no process for role %s: %s", words[0], strerror(errno));
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* checked by the next line's effect only */
	if (getppid() != parent)
		_exit(1);
	execv(argv[0], argv);
	_exit(127);
}

bool torture_ended(pid_t pid, int *status)
{
	pid_t r = waitpid(pid, status, WNOHANG);

	if (r < 0)
		torture_die("process %d is no child of this one", (int)pid);
	return r == pid;
}

bool torture_kill(pid_t pid, int *status)
{
	if (torture_ended(pid, status))
		return false;
	if (kill(pid, SIGKILL) < 0 || waitpid(pid, status, 0) != pid)
		torture_die("cannot kill process %d", (int)pid);
	return WIFSIGNALED(*status) && WTERMSIG(*status) == SIGKILL;
}

int torture_wait(pid_t pid, uint32_t timeout_ms)
{
	uint64_t end_us = torture_now_us() + timeout_ms * UINT64_C(1000);
	int status;

	while (!torture_ended(pid, &status)) {
		if (torture_now_us() > end_us) {
			(void)torture_kill(pid, &status); /* either way it is gone */
			return -1;
		}
		torture_sleep_us(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const char *torture_status_text(int status)
{
	static char text[64];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "ended by signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "ended with code %d", WEXITSTATUS(status));
	return text;
}

/* ---- shared memory --------------------------------------------------------------------------- */

void *torture_map(int fd, size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (at == MAP_FAILED)
		torture_die("cannot map %zu bytes: %s", bytes, strerror(errno));
	return at;
}

void *torture_share(size_t bytes, int *fd)
{
	*fd = memfd_create("torture", 0); /* inherited by those spawned */
	if (*fd < 0 || ftruncate(*fd, (off_t)bytes) < 0)
		torture_die("cannot make shared memory: %s", strerror(errno));
	return torture_map(*fd, bytes);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* What stands before the filling; the checksum is over all but itself. */
struct value_head {
	uint32_t writer;
	uint32_t bytes;
	uint32_t number_low;
	uint32_t number_high;
	uint32_t crc;
};

#define PATTERN_BYTES (1u << 16)

static const uint8_t *pattern(void)
{
	static uint8_t bytes[PATTERN_BYTES];
	struct torture_random random = {.state = 1};

	if (!bytes[0] && !bytes[1] && !bytes[2] && !bytes[3])
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)torture_random(&random);
	return bytes;
}

static uint32_t value_crc(const struct value_head *head, const void *rest, uint32_t bytes)
{
	uint32_t crc = mr_crc32c(0, head, offsetof(struct value_head, crc));

	return mr_crc32c(crc, rest, bytes - sizeof(*head));
}

void torture_value_make(void *at, uint32_t bytes, uint32_t writer, uint64_t number)
{
	struct value_head head = {
		.writer = writer,
		.bytes = bytes,
		.number_low = (uint32_t)number,
		.number_high = (uint32_t)(number >> 32),
	};
	uint8_t *rest = (uint8_t *)at + sizeof(head);
	uint32_t left = bytes - (uint32_t)sizeof(head), skip = (uint32_t)(number * 31 % 4096);

	while (left) {
		uint32_t part = left < PATTERN_BYTES - skip ? left : PATTERN_BYTES - skip;

		memcpy(rest, pattern() + skip, part);
		rest += part;
		left -= part;
		skip = 0;
	}
	head.crc = value_crc(&head, (uint8_t *)at + sizeof(head), bytes);
	memcpy(at, &head, sizeof(head));
}

bool torture_value_read(const void *at, uint32_t bytes, uint32_t *writer, uint64_t *number)
{
	struct value_head head;

	if (bytes < sizeof(head))
		return false;
	memcpy(&head, at, sizeof(head));
	if (head.bytes != bytes ||
	    head.crc != value_crc(&head, (const uint8_t *)at + sizeof(head), bytes))
		return false;
	*writer = head.writer;
	*number = head.number_low | (uint64_t)head.number_high << 32;
	return true;
}
