/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of reading smaps: each mapping's own pages, its path, and nothing else. */
#include <criterion/criterion.h>
#include <string.h>

#include "resident.h"

static const char text[] =
	"55d0a6a00000-55d0a6a21000 r-xp 00021000 fe:00 123        /usr/bin/mill race\n"
	"Size:                132 kB\n"
	"Rss:                 100 kB\n"
	"Pss:                  50 kB\n"
	"7f0000000000-7f0000010000 rw-s 00001000 00:01 2049       /memfd:millrace-lane (deleted)\n"
	"Size:                 64 kB\n"
	"Rss:                  64 kB\n"
	"7f0000100000-7f0000102000 rw-p 00000000 00:00 0 \n"
	"Rss:                   8 kB\n"
	"VmFlags: rd wr mr mw me ac\n";

static struct mr_mapping seen[8];
static int seen_count;

static bool note(const struct mr_mapping *mapping, void *arg)
{
	seen[seen_count++] = *mapping;
	return !arg || strstr(mapping->path, arg);
}

static uint64_t sum(const char *from, const char *path)
{
	FILE *stream = fmemopen((void *)from, strlen(from), "r");
	uint64_t bytes;

	seen_count = 0;
	bytes = mr_resident_sum(stream, note, (void *)path);
	fclose(stream);
	return bytes;
}

Test(bench_resident, all_of_it)
{
	cr_assert_eq(sum(text, NULL), 172 * 1024);
	cr_assert_eq(seen_count, 3);
	cr_assert_str_eq(seen[0].path, "/usr/bin/mill race");
	cr_assert(seen[0].executable && !seen[0].writable);
	cr_assert_eq(seen[1].bytes, 64 << 10);
	cr_assert(seen[1].writable && !seen[1].executable);
	cr_assert_str_eq(seen[2].path, "");
	cr_assert_eq(seen[2].resident_bytes, 8192);
}

Test(bench_resident, only_what_counts)
{
	cr_assert_eq(sum(text, "millrace-lane"), 64 * 1024);
	cr_assert_eq(sum(text, "nothing"), 0);
}

Test(bench_resident, nonsense_is_nothing)
{
	cr_assert_eq(sum("Rs", NULL), 0);
	cr_assert_eq(sum("\n\n", NULL), 0);
}

static bool is_stack(const struct mr_mapping *mapping, void *arg)
{
	return !strcmp(mapping->path, "[stack]");
}

Test(bench_resident, of_this_process)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");

	cr_assert(smaps != NULL);
	cr_assert_gt(mr_resident_sum(smaps, is_stack, NULL), 0);
	fclose(smaps);
}
