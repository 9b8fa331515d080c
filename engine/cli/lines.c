/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines out of a descriptor. Owned by one thread; the buffer grows to the longest line and is read
 * into in pieces as large as it has room for.
 */
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stop.h"

#define BUFFER_BYTES (1u << 20)
#define WAIT_NS	     UINT64_C(200000000)

int mr_lines_init(struct mr_lines *lines, int fd, bool rows, struct mr_error *err)
{
	*lines =
		(struct mr_lines){.fd = fd, .rows = rows, .capacity = BUFFER_BYTES, .next_line = 1};
	lines->buffer = malloc(lines->capacity);
	if (!lines->buffer)
		return mr_error_set(err, -ENOMEM, "no memory for an input buffer of %u bytes",
				    BUFFER_BYTES);
	return 0;
}

void mr_lines_deinit(struct mr_lines *lines)
{
	free(lines->buffer);
	*lines = (struct mr_lines){0};
}

static enum mr_lines_place place_after(enum mr_lines_place place, char c)
{
	if (place == MR_LINES_QUOTED)
		return c == '"' ? MR_LINES_CLOSED : MR_LINES_QUOTED;
	if (c == ',')
		return MR_LINES_FIELD_START;
	if (c == '"' && place != MR_LINES_PLAIN)
		return MR_LINES_QUOTED;
	return MR_LINES_PLAIN;
}

/* The line break that ends the row, or NULL; remembers how far it looked. */
static char *find_end(struct mr_lines *lines)
{
	char *at = lines->buffer + lines->scanned;
	char *end = lines->buffer + lines->end;

	if (!lines->rows) {
		at = memchr(at, '\n', (size_t)(end - at));
		lines->scanned = lines->end;
		return at;
	}
	for (; at < end; at++) {
		if (*at == '\n' && lines->place != MR_LINES_QUOTED)
			return at;
		lines->breaks += *at == '\n';
		lines->place = place_after(lines->place, *at);
	}
	lines->scanned = lines->end;
	return NULL;
}

static void hand_out(struct mr_lines *lines, size_t end, size_t next, char **line, size_t *bytes)
{
	*line = lines->buffer + lines->begin;
	*bytes = end - lines->begin;
	lines->begin = next;
	lines->scanned = next;
	lines->place = MR_LINES_FIELD_START;
	lines->line = lines->next_line;
	lines->next_line += 1 + lines->breaks;
	lines->breaks = 0;
}

int mr_lines_next(struct mr_lines *lines, char **line, size_t *bytes)
{
	char *end = find_end(lines);

	if (end) {
		size_t at = (size_t)(end - lines->buffer);

		hand_out(lines, at, at + 1, line, bytes);
		return 1;
	}
	if (lines->end - lines->begin > MR_LINE_BYTES_MAX)
		return -EMSGSIZE;
	if (!lines->at_end)
		return -EAGAIN;
	if (lines->begin == lines->end)
		return 0;
	hand_out(lines, lines->end, lines->end, line, bytes);
	return 1;
}

/* Moves the part of a line that is there to the front; doubles the buffer when that is all of it.
 */
static int make_room(struct mr_lines *lines, struct mr_error *err)
{
	size_t kept = lines->end - lines->begin;
	size_t doubled = lines->capacity * 2;
	char *larger;

	memmove(lines->buffer, lines->buffer + lines->begin, kept);
	lines->scanned -= lines->begin;
	lines->begin = 0;
	lines->end = kept;
	if (kept < lines->capacity)
		return 0;
	larger = realloc(lines->buffer, doubled);
	if (!larger)
		return mr_error_set(err, -ENOMEM, "no memory for a line of over %zu bytes", kept);
	lines->buffer = larger;
	lines->capacity = doubled;
	return 0;
}

int mr_lines_fill(struct mr_lines *lines, struct mr_error *err)
{
	ssize_t n;
	int r = make_room(lines, err);

	if (r < 0)
		return r;
	if (!mr_stop_wait(lines->fd, WAIT_NS) || mr_stop_asked())
		return 0;
	do {
		n = read(lines->fd, lines->buffer + lines->end, lines->capacity - lines->end);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return mr_error_set(err, -errno, "cannot read the input");
	if (n == 0)
		lines->at_end = true;
	if (n > 0)
		lines->end += (size_t)n;
	return 0;
}
