/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: lines come out as they went in, however the reads cut them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lines.h"

static int file_of(const char *bytes, size_t count)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, count), (ssize_t)count);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* The next line, through as many fills as it takes. */
static int next(struct mr_lines *lines, char **line, size_t *bytes)
{
	int r;

	while ((r = mr_lines_next(lines, line, bytes)) == -EAGAIN)
		cr_assert_eq(mr_lines_fill(lines, NULL), 0);
	return r;
}

static void expect(struct mr_lines *lines, const char *text, uint64_t number)
{
	char *line;
	size_t bytes;

	cr_assert_eq(next(lines, &line, &bytes), 1, "expected '%s'", text);
	cr_assert_eq(bytes, strlen(text), "'%.*s', expected '%s'", (int)bytes, line, text);
	cr_assert_eq(memcmp(line, text, bytes), 0, "'%.*s', expected '%s'", (int)bytes, line, text);
	cr_assert_eq(lines->line, number, "line %lu of '%s'", (unsigned long)lines->line, text);
}

static void expect_end(struct mr_lines *lines)
{
	char *line;
	size_t bytes;

	cr_assert_eq(next(lines, &line, &bytes), 0);
	cr_assert_eq(next(lines, &line, &bytes), 0, "the end stays the end");
	close(lines->fd);
	mr_lines_deinit(lines);
}

static void open_text(struct mr_lines *lines, const char *text, bool rows)
{
	cr_assert_eq(mr_lines_init(lines, file_of(text, strlen(text)), rows, NULL), 0);
}

Test(lines, an_empty_file_has_none)
{
	struct mr_lines lines;

	open_text(&lines, "", false);
	expect_end(&lines);
}

Test(lines, the_last_line_may_lack_its_break)
{
	struct mr_lines lines;

	open_text(&lines, "a\n\nbc", false);
	expect(&lines, "a", 1);
	expect(&lines, "", 2);
	expect(&lines, "bc", 3);
	expect_end(&lines);
	open_text(&lines, "a\n", false);
	expect(&lines, "a", 1);
	expect_end(&lines);
}

Test(lines, quotes_mean_nothing_outside_of_csv)
{
	struct mr_lines lines;

	open_text(&lines, "\"a\nb\"\r\nc", false);
	expect(&lines, "\"a", 1);
	expect(&lines, "b\"\r", 2);
	expect(&lines, "c", 3);
	expect_end(&lines);
}

Test(lines, a_row_goes_on_over_breaks_in_quotes)
{
	struct mr_lines lines;

	open_text(&lines, "a,\"b\nc\n\",d\ne,\"f\"\"\n\"\"\"\ng", true);
	expect(&lines, "a,\"b\nc\n\",d", 1);
	expect(&lines, "e,\"f\"\"\n\"\"\"", 4);
	expect(&lines, "g", 6);
	expect_end(&lines);
}

/* A quote in the middle of a field is wrong there, and must not swallow the rows behind it. */
Test(lines, a_quote_in_a_plain_field_opens_nothing)
{
	struct mr_lines lines;

	open_text(&lines, "pipe 5\",x\nnext\n\"a\"b\"\nlast", true);
	expect(&lines, "pipe 5\",x", 1);
	expect(&lines, "next", 2);
	expect(&lines, "\"a\"b\"", 3);
	expect(&lines, "last", 4);
	expect_end(&lines);
}

Test(lines, an_open_quote_takes_the_rest)
{
	struct mr_lines lines;

	open_text(&lines, "ok\n\"open\nand on", true);
	expect(&lines, "ok", 1);
	expect(&lines, "\"open\nand on", 2);
	expect_end(&lines);
}

/* Quotes are tracked across reads: the writer's pieces come one byte at a time. */
Test(lines, come_whole_out_of_pieces)
{
	static const char text[] = "one\n\"t\nw\",o\n\nfour";
	struct mr_lines lines;
	int ends[2];
	char *line;
	size_t bytes;
	size_t sent = 0;
	int seen = 0;
	int r;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(mr_lines_init(&lines, ends[0], true, NULL), 0);
	while ((r = mr_lines_next(&lines, &line, &bytes)) != 0) {
		if (r == 1) {
			seen++;
			continue;
		}
		cr_assert_eq(r, -EAGAIN);
		if (sent < sizeof(text) - 1)
			cr_assert_eq(write(ends[1], &text[sent++], 1), 1);
		else if (sent++ == sizeof(text) - 1)
			close(ends[1]);
		cr_assert_eq(mr_lines_fill(&lines, NULL), 0);
	}
	cr_assert_eq(seen, 4);
	cr_assert_eq(lines.line, 5);
	expect_end(&lines);
}

/* Lines that straddle the end of the buffer, and some that are longer than it. */
Test(lines, survive_the_end_of_the_buffer)
{
	size_t total = (size_t)5 << 20;
	char *text = malloc(total);
	struct mr_lines lines;
	unsigned seed = 1;
	size_t at = 0;
	char *line;
	size_t bytes;

	for (size_t i = 0; i < total; i++)
		text[i] = (char)('a' + i % 26);
	for (size_t i = 0; i < total; i += (seed = seed * 1103515245u + 12345u) % 300000u + 1)
		text[i] = '\n';
	memset(text + (1 << 20), 'x', 3u << 20);
	text[total - 1] = '\n';
	cr_assert_eq(mr_lines_init(&lines, file_of(text, total), false, NULL), 0);
	while (next(&lines, &line, &bytes) == 1) {
		cr_assert_eq(memcmp(line, text + at, bytes), 0);
		at += bytes;
		cr_assert_eq(text[at++], '\n');
	}
	cr_assert_eq(at, total);
	expect_end(&lines);
	free(text);
}

Test(lines, a_line_without_end_is_refused)
{
	size_t total = MR_LINE_BYTES_MAX + (4u << 20);
	char *text = malloc(total);
	struct mr_lines lines;
	char *line;
	size_t bytes;

	memset(text, 'x', total);
	cr_assert_eq(mr_lines_init(&lines, file_of(text, total), false, NULL), 0);
	cr_assert_eq(next(&lines, &line, &bytes), -EMSGSIZE);
	close(lines.fd);
	mr_lines_deinit(&lines);
	free(text);
}

Test(lines, a_broken_input_is_an_error)
{
	struct mr_lines lines;
	struct mr_error err;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(mr_lines_init(&lines, fd, false, NULL), 0);
	cr_assert_eq(mr_lines_fill(&lines, &err), -EISDIR);
	cr_assert(strstr(err.what, "cannot read"));
	close(fd);
	mr_lines_deinit(&lines);
}
