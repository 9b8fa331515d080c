/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a sealed region keeps its size, its bytes and its writers; one that is not sealed
 * is refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "region.h"

#define BYTES (4 * 4096u)

static int create(size_t bytes)
{
	struct mr_error err = {0};
	int fd = mr_region_create("test", bytes, &err);

	cr_assert_geq(fd, 0, "%s", err.what);
	return fd;
}

static int check(int fd, size_t bytes, bool write_sealed, const char *says)
{
	struct mr_error err = {0};
	int r = mr_region_check(fd, bytes, write_sealed, &err);

	if (r < 0)
		cr_assert(strstr(err.what, says), "'%s' does not say '%s'", err.what, says);
	return r;
}

Test(region, keeps_its_size_from_birth)
{
	int fd = create(BYTES);

	cr_assert_lt(ftruncate(fd, 4096), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert_lt(ftruncate(fd, BYTES + 4096), 0);
	cr_assert_eq(errno, EPERM);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(check(fd, BYTES, false, ""), 0);
	close(fd);
}

Test(region, once_sealed_nobody_can_begin_to_write)
{
	struct mr_error err = {0};
	int fd = create(BYTES);
	uint8_t *map;
	void *out;

	cr_assert_eq(mr_region_map(fd, 0, BYTES, true, &out, &err), 0, "%s", err.what);
	map = out;
	map[0] = 1;
	cr_assert_eq(mr_region_seal(fd, &err), 0, "%s", err.what);
	map[1] = 2; /* maps from before go on */
	cr_assert_lt(write(fd, "x", 1), 0, "write()");
	cr_assert_lt(pwrite(fd, "x", 1, 0), 0, "pwrite()");
	cr_assert_lt(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0,
		     "punch");
	cr_assert_lt(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096), 0, "zero range");
	cr_assert_lt(ftruncate(fd, 0), 0, "truncate");
	cr_assert_lt(madvise(map, 4096, MADV_REMOVE), 0, "MADV_REMOVE through the old map");
	cr_assert_lt(mr_region_map(fd, 0, BYTES, true, &out, &err), 0, "new writable map");
	cr_assert_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0, "more seals");
	cr_assert_eq(mr_region_map(fd, 0, BYTES, false, &out, &err), 0, "%s", err.what);
	cr_assert_lt(mprotect(out, BYTES, PROT_READ | PROT_WRITE), 0,
		     "a reader's map made writable");
	cr_assert_arr_eq(out, "\1\2", 2);
	munmap(out, BYTES);
	munmap(map, BYTES);
	close(fd);
}

/* A lane that was handed back was sealed by an engine before: the next one could not take it. */
Test(region, sealed_again_it_is_as_it_was)
{
	struct mr_error err = {0};
	int fd = create(BYTES);

	cr_assert_eq(mr_region_seal(fd, &err), 0);
	cr_assert_eq(mr_region_seal(fd, &err), 0, "%s", err.what);
	cr_assert_eq(check(fd, BYTES, true, ""), 0);
	close(fd);
	fd = create(BYTES);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	cr_assert_eq(mr_region_seal(fd, &err), -EPERM); /* closed to seals that it lacks */
	close(fd);
}

Test(region, refuses_what_is_no_region)
{
	char name[] = "/tmp/mr-region-XXXXXX";
	int file = mkstemp(name);
	int pipes[2];

	cr_assert_geq(file, 0);
	unlink(name);
	cr_assert_eq(ftruncate(file, BYTES), 0);
	cr_assert_eq(check(file, BYTES, false, "region"), -EBADMSG);
	close(file);
	cr_assert_eq(pipe(pipes), 0);
	cr_assert_eq(check(pipes[0], BYTES, false, "no memory region"), -EBADMSG);
	close(pipes[0]);
	close(pipes[1]);
	cr_assert_eq(check(-1, BYTES, false, "no memory region"), -EBADMSG);
}

Test(region, refuses_a_wrong_size)
{
	int fd = create(BYTES);

	cr_assert_eq(check(fd, BYTES + 4096, false, "has 16384 bytes, expected 20480"), -EBADMSG);
	cr_assert_eq(check(fd, 4096, false, "has 16384 bytes, expected 4096"), -EBADMSG);
	close(fd);
}

Test(region, refuses_each_missing_seal_by_name)
{
	int fd = memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	cr_assert_eq(ftruncate(fd, BYTES), 0);
	cr_assert_eq(check(fd, BYTES, false, "shrinking"), -EBADMSG);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	cr_assert_eq(check(fd, BYTES, false, "growing"), -EBADMSG);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	cr_assert_eq(check(fd, BYTES, false, ""), 0);
	cr_assert_eq(check(fd, BYTES, true, "new writers"), -EBADMSG);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	cr_assert_eq(check(fd, BYTES, true, ""), 0);
	close(fd);
}

Test(region, a_full_write_seal_is_as_good)
{
	int fd = create(BYTES);

	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	cr_assert_eq(check(fd, BYTES, true, ""), 0);
	close(fd);
}

Test(region, mapped_twice_it_never_wraps)
{
	struct mr_error err = {0};
	int fd = create(BYTES);
	uint8_t *map;
	void *out;

	cr_assert_eq(mr_region_map_twice(fd, 4096, BYTES - 4096, true, 8192, &out, &err), 0, "%s",
		     err.what);
	map = out;
	memset(map, 7, 8192); /* the head is private memory */
	memcpy(map + 8192 + BYTES - 4096 - 3, "abcdef", 6);
	cr_assert_arr_eq(map + 8192, "def", 3);
	cr_assert_arr_eq(map + 8192 + 2 * (BYTES - 4096) - 3, "abc", 3);
	cr_assert_eq(map[8191], 7);
	cr_assert_eq(mr_region_populate(map + 8192, 2 * (BYTES - 4096), true, &err), 0, "%s",
		     err.what);
	munmap(map, 8192 + 2 * (BYTES - 4096));
	close(fd);
}

Test(region, a_read_only_double_map_is_read_only, .signal = SIGSEGV)
{
	struct mr_error err = {0};
	int fd = create(BYTES);
	void *out;

	cr_assert_eq(mr_region_map_twice(fd, 0, BYTES, false, 0, &out, &err), 0, "%s", err.what);
	cr_assert_eq(mr_region_populate(out, 2 * BYTES, false, &err), 0, "%s", err.what);
	signal(SIGSEGV, SIG_DFL);
	*(volatile uint8_t *)out = 1;
}

Test(region, maps_are_not_inherited)
{
	struct mr_error err = {0};
	int fd = create(BYTES);
	unsigned char core;
	void *out;

	cr_assert_eq(mr_region_map(fd, 0, BYTES, true, &out, &err), 0, "%s", err.what);
	if (fork() == 0)
		_exit(mincore(out, 4096, &core) < 0 && errno == ENOMEM ? 0 : 1);
	int status = -1;

	cr_assert_geq(wait(&status), 0);
	cr_assert_eq(status, 0, "the child has the map");
	munmap(out, BYTES);
	close(fd);
}

Test(region, errors_say_what_failed)
{
	struct mr_error err = {0};
	int fd = create(BYTES);
	char name[300] = "";
	void *out;

	close(fd);
	cr_assert_eq(mr_region_seal(fd, &err), -EBADF);
	cr_assert_eq(mr_region_map(fd, 0, BYTES, false, &out, &err), -EBADF);
	cr_assert_eq(mr_region_map_twice(fd, 0, BYTES, false, 0, &out, &err), -EBADF);
	cr_assert(strstr(err.what, "cannot map"));
	memset(name, 'x', sizeof(name) - 1);
	cr_assert_eq(mr_region_create(name, 4096, &err), -EINVAL, "longer than a memfd's name");
}

/* Of a map at 'at' in /proc/self/smaps. */
static long huge_kib(const void *at)
{
	char line[256], start[32];
	bool inside = false;
	long kib = -1;
	FILE *file = fopen("/proc/self/smaps", "r");

	cr_assert_not_null(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)at);
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (strchr(line, '-') && strstr(line, " rw-s "))
			inside = strncmp(line, start, strlen(start)) == 0;
		if (inside)
			(void)sscanf(line, "ShmemPmdMapped: %ld", &kib);
	}
	(void)fclose(file);
	return kib;
}

/* Asked of the kernel itself, so that a region that does not ask is not taken for one that cannot.
 */
static bool kernel_has_huge_pages(void)
{
	const size_t bytes = MR_HUGE_PAGE_BYTES;
	int fd = memfd_create("probe", MFD_CLOEXEC), r = -1;
	char *space = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = space + (-(uintptr_t)space & (bytes - 1));

	cr_assert_neq(space, MAP_FAILED);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	cr_assert_eq(mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), at);
	at[0] = 'x';
	r = madvise(at, bytes, 25); /* MADV_COLLAPSE */
	cr_assert_eq(munmap(space, 2 * bytes), 0);
	(void)close(fd);
	return r == 0;
}

/* A disk takes one address for each of them. Where the kernel has none, small pages do. */
Test(region, what_is_populated_lies_in_huge_pages)
{
	const size_t bytes = 2 * MR_HUGE_PAGE_BYTES;
	struct mr_error err;
	int fd = mr_region_create("huge", MR_HUGE_PAGE_BYTES + bytes, &err);
	void *out;
	char *at;

	cr_assert_geq(fd, 0, "%s", err.what);
	cr_assert_eq(mr_region_map_twice(fd, MR_HUGE_PAGE_BYTES, bytes, true, 4096, &out, &err), 0,
		     "%s", err.what);
	at = (char *)out + 4096;
	cr_assert_eq((uintptr_t)at % MR_HUGE_PAGE_BYTES, 0);
	cr_assert_eq(mr_region_populate(at, 2 * bytes, true, &err), 0, "%s", err.what);
	if (!kernel_has_huge_pages())
		cr_skip_test("no huge pages of shared memory here");
	cr_assert_eq(huge_kib(at), (long)(bytes / 1024));
	/* two addresses of one byte: the compiler does not know */
	__atomic_store_n(&at[bytes - 1], 'x', __ATOMIC_SEQ_CST);
	cr_assert_eq(__atomic_load_n(&at[2 * bytes - 1], __ATOMIC_SEQ_CST), 'x',
		     "and are mapped twice");
	cr_assert_eq(munmap(out, 4096 + 2 * bytes), 0);
	(void)close(fd);
}

/* Wherever the system puts the map: what belongs together lies together. */
Test(region, a_map_keeps_its_distance_to_a_huge_page)
{
	struct mr_error err;
	int fd = mr_region_create("apart", 3 * MR_HUGE_PAGE_BYTES, &err);
	void *out;

	for (size_t offset = 0; offset < MR_HUGE_PAGE_BYTES; offset += 300 * 4096) {
		cr_assert_eq(
			mr_region_map_twice(fd, offset, MR_HUGE_PAGE_BYTES, true, 8192, &out, &err),
			0, "%s", err.what);
		cr_assert_eq(((uintptr_t)out + 8192) % MR_HUGE_PAGE_BYTES, offset);
		cr_assert_eq(munmap(out, 8192 + 2 * MR_HUGE_PAGE_BYTES), 0);
	}
	(void)close(fd);
}
