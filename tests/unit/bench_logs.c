/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a data directory's segments: all of them, in order, and nothing else. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logs.h"

static char directory[] = "/tmp/bench-logs.XXXXXX";
static struct mr_bench_logs logs;
static struct mr_error err;

static void put(const char *name, size_t bytes)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/topics/ab/0/%s", directory, name);
	file = fopen(path, "w");
	cr_assert(file != NULL);
	cr_assert_eq(ftruncate(fileno(file), (off_t)bytes), 0);
	fclose(file);
}

static void begin(void)
{
	char path[PATH_MAX];

	cr_assert(mkdtemp(directory) != NULL);
	for (int i = 0; i < 3; i++) {
		static const char *const below[] = {"topics", "topics/ab", "topics/ab/0"};

		snprintf(path, sizeof(path), "%s/%s", directory, below[i]);
		cr_assert_eq(mkdir(path, 0700), 0);
	}
}

static void end(void)
{
	cr_assert_eq(mr_bench_remove(directory, &err), 0, "%s", err.what);
	cr_assert_eq(access(directory, F_OK), -1);
	cr_assert_eq(mr_bench_remove(directory, &err), 0, "it is gone");
}

Test(bench_logs, in_the_logs_order)
{
	begin();
	put("00000000000000000900.log", 3000);
	put("00000000000000000000.log", 1000);
	put("00000000000000000100.log", 2000);
	put("00000000000000000100.index", 7);
	put("spare", 7);
	put("100.log", 7);
	cr_assert_eq(mr_bench_logs_find(directory, &logs, &err), 0, "%s", err.what);
	cr_assert_eq(logs.count, 3);
	cr_assert_eq(logs.files[0].base_offset, 0);
	cr_assert_eq(logs.files[1].base_offset, 100);
	cr_assert_eq(logs.files[2].base_offset, 900);
	cr_assert_eq(logs.files[1].bytes, 2000);
	cr_assert_eq(mr_bench_logs_bytes(&logs, 2), 3000);
	mr_bench_logs_drop(&logs);
	end();
}

Test(bench_logs, none_is_an_error)
{
	begin();
	cr_assert_eq(mr_bench_logs_find(directory, &logs, &err), -ENOENT);
	end();
	cr_assert_eq(mr_bench_logs_find(directory, &logs, &err), -ENOENT);
}
