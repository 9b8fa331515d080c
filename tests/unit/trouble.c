/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of what goes wrong each second: people hear of it once, then each minute how often
 * it was, and when it is over; whatever never went wrong says nothing.
 */
#include "trouble.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"

#define SECOND_NS UINT64_C(1000000000)

static int pipe_fds[2];
static char text[65536];

static const char *taken(void)
{
	ssize_t bytes = read(pipe_fds[0], text, sizeof(text) - 1);

	text[bytes > 0 ? bytes : 0] = '\0';
	return text;
}

static int count(const char *lines, const char *word)
{
	int found = 0;

	for (; (lines = strstr(lines, word)) != NULL; lines++)
		found++;
	return found;
}

Test(trouble, is_said_once_then_counted_then_over)
{
	struct mr_trouble trouble = {0};
	struct mr_error err = {0};
	const char *said;

	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	mr_diag_start(pipe_fds[1], MR_DIAG_NOTICE, &mr_clock_system);
	mr_error_set(&err, -ENOSPC, "cannot write");
	mr_trouble_over(&trouble, 1, "no space", "topic=t");
	cr_expect_str_eq(taken(), "");
	for (uint64_t i = 0; i < 100; i++)
		mr_trouble_met(&trouble, (1 + i) * SECOND_NS, "no space", "topic=t", &err);
	said = taken();
	cr_expect_eq(count(said, "warning"), 2, "%s", said);
	cr_expect_not_null(strstr(said, "warning no space topic=t error=\"cannot write\"\n"), "%s",
			   said);
	cr_expect_not_null(strstr(said, "times=61 for_seconds=60"), "%s", said);
	mr_trouble_over(&trouble, 101 * SECOND_NS, "no space", "topic=t");
	said = taken();
	cr_expect_not_null(strstr(said, "notice over: no space topic=t times=100 for_seconds=100"),
			   "%s", said);
	mr_trouble_over(&trouble, 102 * SECOND_NS, "no space", "topic=t");
	cr_expect_str_eq(taken(), "");
	cr_expect(mr_trouble_met(&trouble, 103 * SECOND_NS, "no space", "", &err));
	cr_expect_eq(count(taken(), "warning no space error="), 1);
}
