/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the directory behind the door to the disk: which back end it gets and why, that
 * it is private, that one which cannot be is refused, and that no name leads out of it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

static char directory[64];
static struct mr_error err;

/* Below the current one: /tmp may be a file system without O_DIRECT. */
static void make_directory(void)
{
	snprintf(directory, sizeof(directory), "io-test-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	cr_assert_eq(system(command), 0);
}

Test(io_directory, auto_takes_one_and_says_why)
{
	struct mr_io *io;

	make_directory();
	cr_assert_eq(mr_io_open_directory(directory, "auto", &io, &err), 0, "%s", err.what);
	if (strcmp(io->facts.backend, "posix") == 0)
		cr_assert_str_not_empty(io->facts.fallback_reason);
	else
		cr_assert_str_empty(io->facts.fallback_reason);
	mr_io_close(io);
	remove_directory();
}

/* A file system that takes no O_DIRECT: where there is none at hand, nothing can be said. */
Test(io_directory, auto_falls_back_where_there_is_no_direct_io)
{
	struct mr_io *io;
	int r = mr_io_open_directory("/proc/self", "auto", &io, &err);

	cr_assert_lt(r, 0, "a directory that takes no files is refused");
	cr_assert_str_not_empty(err.what);
}

Test(io_directory, a_data_directory_is_made_private)
{
	char path[128];
	struct mr_io *io;
	struct stat st;

	make_directory();
	snprintf(path, sizeof(path), "%s/data", directory);
	cr_assert_eq(mr_io_open_directory(path, "posix", &io, &err), 0, "%s", err.what);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700);
	mr_io_close(io);
	cr_assert_eq(mr_io_open_directory(path, "posix", &io, &err), 0, "and opened again");
	mr_io_close(io);
	remove_directory();
}

Test(io_directory, a_data_directory_that_cannot_be_is_refused)
{
	struct mr_io *io;

	cr_assert_eq(mr_io_open_directory("no/such/place", "posix", &io, &err), -ENOENT);
	cr_assert(strstr(err.what, "'no/such/place'"), "%s", err.what);
	cr_assert_eq(mr_io_open_directory("/dev/null", "posix", &io, &err), -ENOTDIR);
	cr_assert_eq(mr_io_open_directory(".", "magnetic", &io, &err), -EINVAL);
	cr_assert(strstr(err.what, "'magnetic'"), "%s", err.what);
}

Test(io_directory, a_name_above_the_directory_is_our_mistake, .signal = SIGABRT)
{
	struct mr_io *io;
	struct mr_io_file *file;

	cr_assert_eq(mr_io_open_directory(".", "posix", &io, &err), 0);
	mr_io_open(io, "a/../../b", MR_IO_READ, &file, &err);
}

Test(io_directory, an_absolute_name_is_our_mistake, .signal = SIGABRT)
{
	struct mr_io *io;

	cr_assert_eq(mr_io_open_directory(".", "posix", &io, &err), 0);
	mr_io_remove(io, "/tmp/a", &err);
}
