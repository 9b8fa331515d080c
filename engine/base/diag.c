/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for people: puts a line together on the caller's stack and writes it at once, so
 * that lines of several threads never mix. Runs on any thread; owns nothing but the settings
 * made at start.
 *
 * The limit of a call site is one number, the time at which its burst is full again: each line
 * moves it one interval on, and a line that would move it more than a burst ahead of now is
 * kept back.
 */
#include "diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define LINE_BYTES 1024
#define END_BYTES  sizeof("...\n") /* always kept free for line_write() */

/* Set before other threads start, then only read. */
static struct {
	int fd;
	enum mr_diag_level level_max;
	const struct mr_clock *clock;
	bool colour;
} settings = {
	.fd = STDERR_FILENO,
	.level_max = MR_DIAG_NOTICE,
	.clock = &mr_clock_system,
};

/* Text that grows up to a bound; what does not fit is cut, and the end then shows it. */
struct line {
	char text[LINE_BYTES];
	size_t used;
	bool cut;
};

static bool wants_colour(int fd)
{
	const char *none = getenv("NO_COLOR");

	return isatty(fd) && !(none && none[0]);
}

void mr_diag_start(int fd, enum mr_diag_level level_max, const struct mr_clock *clock)
{
	mr_assert(fd >= 0);
	mr_assert(clock);
	settings.fd = fd;
	settings.level_max = level_max;
	settings.clock = clock;
	settings.colour = wants_colour(fd);
}

static const char *level_word(enum mr_diag_level level)
{
	static const char *const words[] = {
		[MR_DIAG_ERROR] = "error",
		[MR_DIAG_WARNING] = "warning",
		[MR_DIAG_NOTICE] = "notice",
		[MR_DIAG_INFO] = "info",
	};

	mr_assert((size_t)level < mr_array_count(words));
	return words[level];
}

/* Red, yellow, bold, plain. */
static const char *level_colour(enum mr_diag_level level)
{
	static const char *const colours[] = {
		[MR_DIAG_ERROR] = "\033[31m",
		[MR_DIAG_WARNING] = "\033[33m",
		[MR_DIAG_NOTICE] = "\033[1m",
		[MR_DIAG_INFO] = "",
	};

	mr_assert((size_t)level < mr_array_count(colours));
	return colours[level];
}

/*
 * Names and texts of clients must not drive the terminal: no control characters, neither those
 * of one byte nor the second set, which UTF-8 writes as C2 80 to C2 9F.
 */
static void make_harmless(char *text)
{
	unsigned char *at = (unsigned char *)text;

	for (; *at; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
			at[0] = at[1] = '?';
	}
}

static void line_add_list(struct line *line, const char *format, va_list args)
{
	size_t room = sizeof(line->text) - END_BYTES - line->used;
	int bytes = vsnprintf(line->text + line->used, room, format, args);

	if (bytes < 0)
		bytes = 0;
	if ((size_t)bytes >= room) {
		line->cut = true;
		bytes = (int)room - 1;
	}
	line->used += (size_t)bytes;
	line->text[line->used] = '\0';
}

/* Text of the program's own: may hold colours. */
__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
							   ...)
{
	va_list args;

	va_start(args, format);
	line_add_list(line, format, args);
	va_end(args);
}

/* Text that may come from anywhere. */
static void line_add_harmless_list(struct line *line, const char *format, va_list args)
{
	size_t start = line->used;

	line_add_list(line, format, args);
	make_harmless(line->text + start);
}

static void line_add_level(struct line *line, enum mr_diag_level level)
{
	if (settings.colour)
		line_add(line, "%s%s\033[0m", level_colour(level), level_word(level));
	else
		line_add(line, "%s", level_word(level));
}

static void line_add_time(struct line *line)
{
	int64_t wall_ms = mr_clock_wall_ms(settings.clock);
	int64_t now_ms = wall_ms > 0 ? wall_ms : 0;
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm utc;
	char text[32] = "";

	if (gmtime_r(&seconds, &utc))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	line_add(line, "%s.%03dZ ", text, (int)(now_ms % 1000));
}

static void write_whole(const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = write(settings.fd, text, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody is left to be told */
		text += n;
		bytes -= (size_t)n;
	}
}

static void line_write(struct line *line)
{
	const char *end = line->cut ? "...\n" : "\n";

	memcpy(line->text + line->used, end, strlen(end));
	write_whole(line->text, line->used + strlen(end));
}

/*
 * Relaxed throughout: each of the two numbers stands for itself, and a line more or less at
 * the edge of the limit does no harm.
 */
static bool may_say(struct mr_diag_site *site, uint64_t now_ns)
{
	uint64_t due_ns = atomic_load_explicit(&site->due_ns, memory_order_relaxed);
	uint64_t from_ns;

	do {
		from_ns = due_ns > now_ns ? due_ns : now_ns;
		if (from_ns - now_ns > (MR_DIAG_BURST - 1) * MR_DIAG_INTERVAL_NS) {
			atomic_fetch_add_explicit(&site->suppressed, 1, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&site->due_ns, &due_ns, from_ns + MR_DIAG_INTERVAL_NS, memory_order_relaxed,
		memory_order_relaxed));
	return true;
}

void mr_diag_say(struct mr_diag_site *site, enum mr_diag_level level, const char *words,
		 const char *format, ...)
{
	struct line line = {.used = 0};
	uint64_t suppressed;
	va_list args;

	if (level > settings.level_max || !may_say(site, mr_clock_monotonic_ns(settings.clock)))
		return;
	line_add_time(&line);
	line_add_level(&line, level);
	line_add(&line, " %s", words);
	suppressed = atomic_exchange_explicit(&site->suppressed, 0, memory_order_relaxed);
	if (suppressed)
		line_add(&line, " suppressed=%llu", (unsigned long long)suppressed);
	if (format[0]) {
		line_add(&line, " ");
		va_start(args, format);
		line_add_harmless_list(&line, format, args);
		va_end(args);
	}
	line_write(&line);
}

__attribute__((format(printf, 2, 3))) static void line_add_harmless(struct line *line,
								    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line_add_harmless_list(line, format, args);
	va_end(args);
}

void mr_diag_error(const struct mr_error *err)
{
	const char *name = strerrorname_np(-err->code);
	struct line line = {.used = 0};

	line_add_level(&line, MR_DIAG_ERROR);
	line_add_harmless(&line, ": %s (%s)", err->what, name ? name : "unknown error");
	if (err->why[0]) {
		line_add(&line, "\n");
		line_add_harmless(&line, "  why: %s", err->why);
	}
	if (err->hint[0]) {
		line_add(&line, "\n");
		line_add_harmless(&line, "  do:  %s", err->hint);
	}
	line_write(&line);
}
