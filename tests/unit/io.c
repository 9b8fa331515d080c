/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the door to the disk, the same over both back ends. Files are made in a
 * temporary directory below the current one, since /tmp may be a file system without O_DIRECT.
 * Where the kernel or the file system has no io_uring with O_DIRECT, the uring half is skipped and
 * says so.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "io.h"

#define BLOCK MR_IO_BLOCK_BYTES

static const char *const backends[] = {"uring", "posix"};
static char directory[64];
static struct mr_error err;

/* One test for both back ends: NAME_body runs once for each in a directory of its own. */
#define BOTH(name)                                                                                 \
	static void name##_body(struct mr_io *io);                                                 \
	Test(io, name)                                                                             \
	{                                                                                          \
		run_both(name##_body);                                                             \
	}                                                                                          \
	static void name##_body(struct mr_io *io)

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

static void run_both(void (*body)(struct mr_io *io))
{
	struct mr_io *io;
	int r;

	for (size_t i = 0; i < mr_array_count(backends); i++) {
		make_directory();
		r = mr_io_open_directory(directory, backends[i], &io, &err);
		if (r < 0 && i == 0) {
			fprintf(stderr, "skipped for uring: %s\n", err.what);
		} else {
			cr_assert_eq(r, 0, "%s: %s", backends[i], err.what);
			cr_assert_str_eq(io->facts.backend, backends[i]);
			body(io);
			mr_io_close(io);
		}
		remove_directory();
	}
}

static char *block_of(char fill, size_t bytes)
{
	char *memory = aligned_alloc(BLOCK, bytes);

	cr_assert_not_null(memory);
	memset(memory, fill, bytes);
	return memory;
}

static bool is_filled(const char *memory, char fill, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (memory[i] != fill)
			return false;
	}
	return true;
}

static struct mr_io_file *create(struct mr_io *io, const char *path)
{
	struct mr_io_file *file = NULL;

	cr_assert_eq(mr_io_open(io, path, MR_IO_CREATE, &file, &err), 0, "%s", err.what);
	return file;
}

static struct mr_io_queue *queue_of(struct mr_io *io, uint32_t depth, int bell)
{
	struct mr_io_queue *queue = NULL;

	cr_assert_eq(mr_io_queue_open(io, depth, bell, &queue, &err), 0, "%s", err.what);
	return queue;
}

/* Waits for 'count' completions and gives them in 'done'. */
static void await(struct mr_io_queue *queue, struct mr_io_completion *done, uint32_t count)
{
	uint32_t have = 0;
	int n;

	for (int turns = 0; have < count && turns < 10000; turns++) {
		n = mr_io_queue_reap(queue, done + have, count - have);
		cr_assert_geq(n, 0);
		have += (uint32_t)n;
		if (have < count)
			mr_io_queue_wait(queue, 100000000);
	}
	cr_assert_eq(have, count);
}

static uint64_t now_ms(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system) / 1000000;
}

Test(io, clock_goes_forward)
{
	uint64_t first = mr_clock_monotonic_ns(&mr_clock_system);

	usleep(2000);
	cr_assert_geq(mr_clock_monotonic_ns(&mr_clock_system), first + 2000000);
	cr_assert_gt(mr_clock_wall_ms(&mr_clock_system), 1600000000000);
}

BOTH(facts_are_complete)
{
	cr_assert_geq(io->facts.block_bytes, BLOCK);
	cr_assert_eq(io->facts.block_bytes & (io->facts.block_bytes - 1), 0);
	cr_assert_str_not_empty(io->facts.file_system);
	cr_assert_str_empty(io->facts.fallback_reason);
	cr_assert_eq(io->facts.direct, strcmp(io->facts.backend, "uring") == 0);
}

BOTH(a_new_directory_holds_nothing)
{
	struct mr_io_entry *entries = NULL;
	size_t count = 99;

	cr_assert_eq(mr_io_list(io, ".", &entries, &count, &err), 0);
	cr_assert_eq(count, 0, "the probe left something: %s", count ? entries[0].name : "");
	free(entries);
}

BOTH(what_is_written_is_read)
{
	struct mr_io_file *file = create(io, "a");
	char *out = block_of('x', 3 * BLOCK), *in = block_of(0, 4 * BLOCK);

	memset(out + BLOCK, 'y', BLOCK);
	cr_assert_eq(mr_io_write(file, out, 3 * BLOCK, 0, &err), 0);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	cr_assert_eq(mr_io_size(file, &err), 3 * BLOCK);
	cr_assert_eq(mr_io_read(file, in, 4 * BLOCK, 0, &err), 3 * BLOCK);
	cr_assert_eq(memcmp(out, in, 3 * BLOCK), 0);
	cr_assert_eq(mr_io_read(file, in, BLOCK, BLOCK, &err), BLOCK);
	cr_assert(is_filled(in, 'y', BLOCK));
	cr_assert_eq(mr_io_read(file, in, BLOCK, 3 * BLOCK, &err), 0);
	cr_assert_eq(mr_io_read(file, in, BLOCK, 300 * BLOCK, &err), 0);
	mr_io_file_close(file);
	free(out);
	free(in);
}

BOTH(any_alignment_can_be_read)
{
	const size_t bytes = 3 * 1024 * 1024 + BLOCK;
	struct mr_io_file *file = create(io, "a");
	char *out = block_of(0, bytes), *in = malloc(bytes + 1);
	static const size_t cases[][2] = {{1, 1},	  {4095, 2},	   {0, 3 * 1024 * 1024},
					  {1, 4096},	  {4096, 4095},	   {77, 3 * 1024 * 1024},
					  {1048575, 2},	  {1048577, 8192}, {0, 0},
					  {5000, 1048576}};

	for (size_t i = 0; i < bytes; i++)
		out[i] = (char)(i * 31 + i / 4096);
	cr_assert_eq(mr_io_write(file, out, bytes, 0, &err), 0);
	mr_io_file_close(file);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &file, &err), 0);
	for (size_t i = 0; i < mr_array_count(cases); i++) {
		cr_assert_eq(mr_io_read(file, in + 1, cases[i][1], cases[i][0], &err),
			     (int64_t)cases[i][1]);
		cr_assert_eq(memcmp(in + 1, out + cases[i][0], cases[i][1]), 0, "case %zu", i);
	}
	mr_io_file_close(file);
	free(out);
	free(in);
}

BOTH(a_read_stops_at_an_odd_end)
{
	struct mr_io_file *file = create(io, "a");
	char *out = block_of('x', 2 * BLOCK), *in = block_of(0, 4 * BLOCK);

	cr_assert_eq(mr_io_write(file, out, 2 * BLOCK, 0, &err), 0);
	cr_assert_eq(mr_io_truncate(file, BLOCK + 100, &err), 0);
	cr_assert_eq(mr_io_size(file, &err), BLOCK + 100);
	cr_assert_eq(mr_io_read(file, in, 4 * BLOCK, 0, &err), BLOCK + 100);
	cr_assert_eq(mr_io_read(file, in + 1, 5000, 1, &err), 4195);
	cr_assert_eq(mr_io_read(file, in + 1, 5000, BLOCK + 99, &err), 1);
	cr_assert_eq(mr_io_read(file, in + 1, 5000, BLOCK + 100, &err), 0);
	mr_io_file_close(file);
	free(out);
	free(in);
}

BOTH(reserved_space_reads_as_zeros)
{
	struct mr_io_file *file = create(io, "a");
	char *in = block_of('x', 4 * BLOCK);

	cr_assert_eq(mr_io_allocate(file, 0, 4 * BLOCK, &err), 0);
	cr_assert_eq(mr_io_size(file, &err), 4 * BLOCK);
	cr_assert_eq(mr_io_read(file, in, 4 * BLOCK, 0, &err), 4 * BLOCK);
	cr_assert(is_filled(in, 0, 4 * BLOCK));
	cr_assert_eq(mr_io_allocate(file, 0, BLOCK, &err), 0);
	cr_assert_eq(mr_io_size(file, &err), 4 * BLOCK, "reserving never shortens");
	mr_io_file_close(file);
	free(in);
}

BOTH(errors_name_the_path)
{
	struct mr_io_file *file;
	struct mr_io_entry *entries;
	size_t count;
	void *bytes;

	cr_assert_eq(mr_io_open(io, "none", MR_IO_READ, &file, &err), -ENOENT);
	cr_assert(strstr(err.what, "'none'"), "%s", err.what);
	cr_assert_eq(mr_io_open(io, "none", MR_IO_WRITE, &file, &err), -ENOENT);
	cr_assert_eq(mr_io_open(io, "no/where", MR_IO_CREATE, &file, &err), -ENOENT);
	cr_assert(strstr(err.what, "'no/where'"), "%s", err.what);
	mr_io_file_close(create(io, "taken"));
	cr_assert_eq(mr_io_open(io, "taken", MR_IO_CREATE, &file, &err), -EEXIST);
	cr_assert(strstr(err.what, "'taken'"), "%s", err.what);
	cr_assert_eq(mr_io_remove(io, "none", &err), -ENOENT);
	cr_assert(strstr(err.what, "'none'"), "%s", err.what);
	cr_assert_eq(mr_io_rename(io, "none", "other", &err), -ENOENT);
	cr_assert(strstr(err.what, "'none'") && strstr(err.what, "'other'"), "%s", err.what);
	cr_assert_eq(mr_io_read_fd(io, "none", &err), -ENOENT);
	cr_assert_eq(mr_io_load(io, "none", 10, &bytes, &count, &err), -ENOENT);
	cr_assert_eq(mr_io_list(io, "none", &entries, &count, &err), -ENOENT);
	cr_assert_eq(mr_io_list(io, "taken", &entries, &count, &err), -ENOTDIR);
	cr_assert_eq(mr_io_sync_directory(io, "none", &err), -ENOENT);
	cr_assert_eq(mr_io_make_directory(io, "none/sub", &err), -ENOENT);
	cr_assert(strstr(err.what, "'none/sub'"), "%s", err.what);
	cr_assert_eq(mr_io_open(io, "none", MR_IO_READ, &file, NULL), -ENOENT);
}

BOTH(a_file_for_reading_refuses_writes)
{
	struct mr_io_file *file = create(io, "a");
	char *out = block_of('x', BLOCK);

	mr_io_file_close(file);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &file, &err), 0);
	cr_assert_eq(mr_io_write(file, out, BLOCK, 0, &err), -EBADF);
	cr_assert(strstr(err.what, "'a'"), "%s", err.what);
	mr_io_file_close(file);
	mr_io_file_close(NULL);
	free(out);
}

BOTH(a_list_is_sorted_and_knows_directories)
{
	static const char *const names[] = {"b", "a.log", "00", "z", "B"};
	static const char *const sorted[] = {"00", "B", "a.log", "b", "dir", "z"};
	struct mr_io_entry *entries;
	size_t count;

	for (size_t i = 0; i < mr_array_count(names); i++)
		mr_io_file_close(create(io, names[i]));
	cr_assert_eq(mr_io_make_directory(io, "dir", &err), 0);
	cr_assert_eq(mr_io_make_directory(io, "dir", &err), 0, "twice is no error");
	mr_io_file_close(create(io, "dir/inner"));
	cr_assert_eq(mr_io_list(io, ".", &entries, &count, &err), 0);
	cr_assert_eq(count, mr_array_count(sorted));
	for (size_t i = 0; i < count; i++) {
		cr_assert_str_eq(entries[i].name, sorted[i]);
		cr_assert_eq(entries[i].is_directory, strcmp(sorted[i], "dir") == 0);
	}
	free(entries);
	cr_assert_eq(mr_io_list(io, "dir", &entries, &count, &err), 0);
	cr_assert_eq(count, 1);
	free(entries);
}

BOTH(a_long_list_is_whole)
{
	struct mr_io_entry *entries;
	char name[32];
	size_t count;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%03d", 99 - i);
		mr_io_file_close(create(io, name));
	}
	cr_assert_eq(mr_io_list(io, ".", &entries, &count, &err), 0);
	cr_assert_eq(count, 100);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(strtol(entries[i].name, NULL, 10), (long)i);
	free(entries);
}

BOTH(names_can_be_changed_and_removed)
{
	struct mr_io_file *file = create(io, "a");

	mr_io_file_close(file);
	cr_assert_eq(mr_io_rename(io, "a", "b", &err), 0);
	cr_assert_eq(mr_io_sync_directory(io, ".", &err), 0);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &file, &err), -ENOENT);
	cr_assert_eq(mr_io_remove(io, "b", &err), 0);
	cr_assert_eq(mr_io_make_directory(io, "dir", &err), 0);
	mr_io_file_close(create(io, "dir/a"));
	cr_assert_eq(mr_io_remove(io, "dir", &err), -ENOTEMPTY);
	cr_assert_eq(mr_io_remove(io, "dir/a", &err), 0);
	cr_assert_eq(mr_io_remove(io, "dir", &err), 0);
}

BOTH(replace_and_load_are_exact)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 100000, 5};
	char *text = malloc(100000);
	struct mr_io_file *file;
	void *loaded;
	size_t bytes;

	for (size_t i = 0; i < 100000; i++)
		text[i] = (char)(i * 7);
	cr_assert_eq(mr_io_make_directory(io, "dir", &err), 0);
	for (size_t i = 0; i < mr_array_count(sizes); i++) {
		text[0] = (char)i;
		cr_assert_eq(mr_io_replace(io, "dir/file", text, sizes[i], &err), 0, "%s",
			     err.what);
		cr_assert_eq(mr_io_load(io, "dir/file", 100000, &loaded, &bytes, &err), 0);
		cr_assert_eq(bytes, sizes[i]);
		cr_assert_eq(memcmp(loaded, text, bytes), 0);
		free(loaded);
		cr_assert_eq(mr_io_open(io, "dir/file.new", MR_IO_READ, &file, &err), -ENOENT);
	}
	cr_assert_eq(mr_io_load(io, "dir/file", 4, &loaded, &bytes, &err), -EFBIG);
	cr_assert(strstr(err.what, "'dir/file' has 5 bytes"), "%s", err.what);
	free(text);
}

BOTH(replace_passes_over_what_a_crash_left)
{
	void *loaded;
	size_t bytes;

	mr_io_file_close(create(io, "file.new"));
	cr_assert_eq(mr_io_replace(io, "file", "new", 3, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_load(io, "file", 100, &loaded, &bytes, &err), 0);
	cr_assert_eq(bytes, 3);
	free(loaded);
}

BOTH(a_lock_is_held_by_one)
{
	struct mr_io_file *first = create(io, "a"), *second;
	uint64_t begin;

	cr_assert_eq(mr_io_lock(first, 0, &err), 0);
	cr_assert_eq(mr_io_lock(first, 0, &err), 0, "one's own lock is no obstacle");
	cr_assert_eq(mr_io_open(io, "a", MR_IO_WRITE, &second, &err), 0);
	begin = now_ms();
	cr_assert_eq(mr_io_lock(second, 0, &err), -EWOULDBLOCK);
	cr_assert_lt(now_ms() - begin, 1000);
	begin = now_ms();
	cr_assert_eq(mr_io_lock(second, 60, &err), -EWOULDBLOCK);
	cr_assert_geq(now_ms() - begin, 59);
	cr_assert(strstr(err.what, "'a'"), "%s", err.what);
	mr_io_file_close(first);
	cr_assert_eq(mr_io_lock(second, 0, &err), 0);
	mr_io_file_close(second);
}

static void *close_later(void *file)
{
	usleep(50000);
	mr_io_file_close(file);
	return NULL;
}

BOTH(a_lock_is_waited_for)
{
	struct mr_io_file *first = create(io, "a"), *second;
	pthread_t thread;

	cr_assert_eq(mr_io_lock(first, 0, &err), 0);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_WRITE, &second, &err), 0);
	cr_assert_eq(pthread_create(&thread, NULL, close_later, first), 0);
	cr_assert_eq(mr_io_lock(second, 20000, &err), 0);
	pthread_join(thread, NULL);
	mr_io_file_close(second);
}

BOTH(a_plain_descriptor_only_reads)
{
	struct mr_io_file *file = create(io, "a");
	char *out = block_of('x', BLOCK);
	char byte = 0;
	int fd;

	cr_assert_eq(mr_io_write(file, out, BLOCK, 0, &err), 0);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	fd = mr_io_read_fd(io, "a", &err);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pread(fd, &byte, 1, 7), 1);
	cr_assert_eq(byte, 'x');
	cr_assert_eq(pwrite(fd, &byte, 1, 7), -1);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	mr_io_file_close(file);
	free(out);
}

BOTH(space_is_told)
{
	uint64_t free_bytes = 0, total_bytes = 0;

	cr_assert_eq(mr_io_space(io, &free_bytes, &total_bytes, &err), 0);
	cr_assert_gt(total_bytes, 0);
	cr_assert_leq(free_bytes, total_bytes);
}

BOTH(two_hundred_writes_are_queued_and_each_is_answered_once)
{
	enum { COUNT = 200 };
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, COUNT, -1);
	struct mr_io_completion done[COUNT];
	char *memory = block_of(0, COUNT * BLOCK), *in = block_of(0, COUNT * BLOCK);
	bool seen[COUNT] = {false};
	size_t index;

	cr_assert_eq(mr_io_queue_reap(queue, done, COUNT), 0);
	for (size_t i = 0; i < COUNT; i++) {
		memset(memory + i * BLOCK, (int)i, BLOCK);
		cr_assert_eq(mr_io_queue_write(queue, file, memory + i * BLOCK, BLOCK, i * BLOCK,
					       memory + i * BLOCK),
			     0);
	}
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), -EAGAIN);
	await(queue, done, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		cr_assert_eq(done[i].result, 0);
		index = (size_t)((char *)done[i].user - memory) / BLOCK;
		cr_assert_not(seen[index]);
		seen[index] = true;
	}
	cr_assert_eq(mr_io_queue_reap(queue, done, COUNT), 0);
	cr_assert_eq(mr_io_read(file, in, COUNT * BLOCK, 0, &err), COUNT * BLOCK);
	cr_assert_eq(memcmp(in, memory, COUNT * BLOCK), 0);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
	free(in);
}

BOTH(a_full_queue_takes_again_after_a_reap)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 3, -1);
	struct mr_io_completion done[3];
	char *memory = block_of('x', BLOCK);

	for (uint64_t round = 0; round < 20; round++) {
		for (uint64_t i = 0; i < 3; i++)
			cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK,
						       (3 * round + i) * BLOCK, NULL),
				     0);
		cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), -EAGAIN);
		await(queue, done, 1);
		cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
		await(queue, done, 3);
	}
	mr_io_queue_close(queue);
	mr_io_queue_close(NULL);
	mr_io_file_close(file);
	free(memory);
}

BOTH(close_waits_for_what_is_in_flight)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 64, -1);
	char *memory = block_of('x', 64 * BLOCK), *in = block_of(0, 64 * BLOCK);

	for (uint64_t i = 0; i < 64; i++)
		cr_assert_eq(
			mr_io_queue_write(queue, file, memory + i * BLOCK, BLOCK, i * BLOCK, NULL),
			0);
	mr_io_queue_close(queue);
	cr_assert_eq(mr_io_read(file, in, 64 * BLOCK, 0, &err), 64 * BLOCK);
	cr_assert(is_filled(in, 'x', 64 * BLOCK));
	mr_io_file_close(file);
	free(memory);
	free(in);
}

BOTH(registered_memory_and_files_write_the_same)
{
	struct mr_io_file *file = create(io, "a"), *other = create(io, "b");
	struct mr_io_queue *queue = queue_of(io, 8, -1);
	struct mr_io_completion done[8];
	char *memory =
		mmap(NULL, 8 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *plain = block_of('p', BLOCK), *in = block_of(0, 8 * BLOCK);
	int r = mr_io_queue_register(queue, memory, 6 * BLOCK);

	cr_assert(r == 0 || r == 1);
	cr_assert(strcmp(io->facts.backend, "posix") != 0 || r == 0);
	r = mr_io_queue_register_file(queue, file);
	cr_assert(r == 0 || r == 1);
	cr_assert_eq(mr_io_queue_register_file(queue, file), r);
	memset(memory, 'r', 8 * BLOCK);
	/* inside, up to the end, across the end, outside, and not registered at all */
	cr_assert_eq(mr_io_queue_write(queue, file, memory, 2 * BLOCK, 0, NULL), 0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory + 4 * BLOCK, 2 * BLOCK, 2 * BLOCK, NULL),
		     0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory + 5 * BLOCK, 2 * BLOCK, 4 * BLOCK, NULL),
		     0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory + 6 * BLOCK, BLOCK, 6 * BLOCK, NULL), 0);
	cr_assert_eq(mr_io_queue_write(queue, file, plain, BLOCK, 7 * BLOCK, NULL), 0);
	cr_assert_eq(mr_io_queue_write(queue, other, memory, BLOCK, 0, NULL), 0);
	await(queue, done, 6);
	for (size_t i = 0; i < 6; i++)
		cr_assert_eq(done[i].result, 0);
	mr_io_queue_unregister_file(queue, file);
	mr_io_queue_unregister_file(queue, file);
	mr_io_queue_unregister(queue, memory);
	mr_io_queue_unregister(queue, memory);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 8 * BLOCK, NULL), 0);
	await(queue, done, 1);
	cr_assert_eq(done[0].result, 0);
	cr_assert_eq(mr_io_read(file, in, 8 * BLOCK, 0, &err), 8 * BLOCK);
	cr_assert(is_filled(in, 'r', 7 * BLOCK));
	cr_assert(is_filled(in + 7 * BLOCK, 'p', BLOCK));
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	mr_io_file_close(other);
	munmap(memory, 8 * BLOCK);
	free(plain);
	free(in);
}

BOTH(regions_and_files_beyond_the_tables_are_plain)
{
	struct mr_io_queue *queue = queue_of(io, 2, -1);
	struct mr_io_file *files[MR_IO_FILES_MAX + 1];
	char *memory = block_of('x', (MR_IO_REGIONS_MAX + 1) * BLOCK);
	struct mr_io_completion done[1];
	char name[16];

	for (size_t i = 0; i <= MR_IO_REGIONS_MAX; i++)
		(void)mr_io_queue_register(queue, memory + i * BLOCK, BLOCK);
	cr_assert_eq(mr_io_queue_register(queue, memory, BLOCK), 0);
	for (size_t i = 0; i <= MR_IO_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		files[i] = create(io, name);
		(void)mr_io_queue_register_file(queue, files[i]);
		cr_assert_eq(mr_io_queue_write(queue, files[i], memory + i * BLOCK, BLOCK, 0, NULL),
			     0);
		await(queue, done, 1);
		cr_assert_eq(done[0].result, 0);
		cr_assert_eq(mr_io_size(files[i], &err), BLOCK, "file %zu", i);
	}
	cr_assert_eq(mr_io_queue_register_file(queue, files[MR_IO_FILES_MAX]), 0);
	mr_io_queue_close(queue);
	for (size_t i = 0; i <= MR_IO_FILES_MAX; i++)
		mr_io_file_close(files[i]);
	free(memory);
}

/* A registered slot kept the file's lock after it was closed: recovery then waited for itself. */
BOTH(an_unregistered_file_gives_its_lock_back)
{
	struct mr_io_queue *queue = queue_of(io, 2, -1);
	struct mr_io_file *file = create(io, "a");
	struct mr_io_completion done[1];
	char *memory = block_of('x', BLOCK);

	cr_assert_eq(mr_io_lock(file, 0, &err), 0);
	(void)mr_io_queue_register_file(queue, file);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	await(queue, done, 1);
	mr_io_queue_unregister_file(queue, file);
	mr_io_file_close(file);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_WRITE, &file, &err), 0);
	cr_assert_eq(mr_io_lock(file, 2000, &err), 0, "%s", err.what);
	mr_io_file_close(file);
	mr_io_queue_close(queue);
	free(memory);
}

BOTH(a_wait_ends_by_time)
{
	struct mr_io_queue *queue = queue_of(io, 2, -1);
	uint64_t begin = now_ms();

	cr_assert_eq(mr_io_queue_wait(queue, 0), 0);
	cr_assert_lt(now_ms() - begin, 1000);
	begin = now_ms();
	cr_assert_eq(mr_io_queue_wait(queue, 50000000), 0);
	cr_assert_geq(now_ms() - begin, 49);
	mr_io_queue_close(queue);
}

BOTH(a_wait_ends_by_a_finished_write)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 2, -1);
	struct mr_io_completion done[2];
	char *memory = block_of('x', BLOCK);
	uint64_t begin = now_ms();

	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, memory), 0);
	cr_assert_eq(mr_io_queue_wait(queue, 60000000000), 0);
	cr_assert_lt(now_ms() - begin, 50000);
	cr_assert_eq(mr_io_queue_reap(queue, done, 2), 1);
	cr_assert_eq(done[0].user, memory);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

/* What was finished but not reaped for want of room must not be slept over. */
BOTH(a_wait_does_not_sleep_over_what_is_not_reaped)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 4, -1);
	struct mr_io_completion done[4];
	char *memory = block_of('x', BLOCK);
	uint64_t begin = now_ms();

	for (uint64_t i = 0; i < 4; i++)
		cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, i * BLOCK, NULL), 0);
	usleep(200000);
	for (int i = 0; i < 4; i++) {
		mr_io_queue_wait(queue, 60000000000);
		await(queue, done, 1);
	}
	cr_assert_lt(now_ms() - begin, 50000);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

static void *ring_later(void *fd)
{
	uint64_t one = 1;

	usleep(30000);
	cr_assert_eq(write(*(int *)fd, &one, sizeof(one)), (ssize_t)sizeof(one));
	return NULL;
}

BOTH(a_wait_ends_by_the_bell_each_time)
{
	int bell = eventfd(0, EFD_NONBLOCK);
	struct mr_io_queue *queue = queue_of(io, 2, bell);
	struct mr_io_completion done[1];
	pthread_t thread;
	uint64_t begin, value;

	for (int i = 0; i < 5; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, ring_later, &bell), 0);
		begin = now_ms();
		while (read(bell, &value, sizeof(value)) < 0) {
			cr_assert_lt(now_ms() - begin, 50000);
			mr_io_queue_wait(queue, 60000000000);
		}
		pthread_join(thread, NULL);
		cr_assert_eq(mr_io_queue_reap(queue, done, 1), 0);
	}
	mr_io_queue_close(queue);
	close(bell);
}

/* The bell as the worker has it: doorbells behind an edge-triggered epoll. */
BOTH(a_bell_may_be_an_epoll_over_doorbells)
{
	int doorbell = eventfd(0, EFD_NONBLOCK), bell = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct mr_io_queue *queue = queue_of(io, 2, bell);
	pthread_t thread;
	uint64_t begin;

	cr_assert_eq(epoll_ctl(bell, EPOLL_CTL_ADD, doorbell, &event), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, ring_later, &doorbell), 0);
		begin = now_ms();
		while (epoll_wait(bell, &event, 1, 0) == 0) {
			cr_assert_lt(now_ms() - begin, 50000);
			mr_io_queue_wait(queue, 60000000000);
		}
		pthread_join(thread, NULL);
	}
	mr_io_queue_close(queue);
	close(bell);
	close(doorbell);
}

/* reap took the ring's answer from the kernel, and the wait after it slept through the bell. */
BOTH(a_ring_between_emptying_and_wait_is_not_lost)
{
	int bell = eventfd(0, EFD_NONBLOCK);
	struct mr_io_queue *queue = queue_of(io, 2, bell);
	struct mr_io_completion done[1];
	uint64_t one = 1, begin, value;

	for (int i = 0; i < 10; i++) {
		(void)!read(bell, &value, sizeof(value));
		cr_assert_eq(write(bell, &one, sizeof(one)), (ssize_t)sizeof(one));
		mr_io_queue_reap(queue, done, 1);
		mr_io_queue_reap(queue, done, 1);
		begin = now_ms();
		mr_io_queue_wait(queue, 10000000000);
		cr_assert_lt(now_ms() - begin, 9000, "ring %d", i);
	}
	mr_io_queue_close(queue);
	close(bell);
}

BOTH(an_emptied_bell_lets_the_thread_sleep)
{
	int bell = eventfd(0, EFD_NONBLOCK);
	struct mr_io_queue *queue = queue_of(io, 2, bell);
	struct mr_io_completion done[1];
	uint64_t one = 1, begin, value;

	cr_assert_eq(write(bell, &one, sizeof(one)), (ssize_t)sizeof(one));
	mr_io_queue_wait(queue, 1000000000);
	cr_assert_eq(read(bell, &value, sizeof(value)), (ssize_t)sizeof(value));
	mr_io_queue_reap(queue, done, 1);
	mr_io_queue_wait(queue, 0); /* may end at once for a ring that was seen already */
	begin = now_ms();
	mr_io_queue_wait(queue, 50000000);
	cr_assert_geq(now_ms() - begin, 49);
	mr_io_queue_close(queue);
	close(bell);
}

/* Many rings while nobody reaps: more than the completion queue holds. */
BOTH(a_storm_of_rings_harms_nothing)
{
	struct mr_io_file *file = create(io, "a");
	int bell = eventfd(0, EFD_NONBLOCK);
	struct mr_io_queue *queue = queue_of(io, 2, bell);
	struct mr_io_completion done[2];
	char *memory = block_of('x', BLOCK);
	uint64_t one = 1, value, begin;

	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		cr_assert_eq(write(bell, &one, sizeof(one)), (ssize_t)sizeof(one));
		if (i % 3 == 0)
			(void)!read(bell, &value, sizeof(value));
	}
	await(queue, done, 1);
	cr_assert_eq(done[0].result, 0);
	(void)!read(bell, &value, sizeof(value));
	while (mr_io_queue_reap(queue, done, 2) > 0)
		;
	mr_io_queue_wait(queue, 0);
	begin = now_ms();
	cr_assert_eq(write(bell, &one, sizeof(one)), (ssize_t)sizeof(one));
	mr_io_queue_wait(queue, 60000000000);
	cr_assert_lt(now_ms() - begin, 50000);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	close(bell);
	free(memory);
}

/* A limit on the file's size makes the kernel write a part first and refuse the rest then. */
BOTH(a_short_write_is_never_reported_as_good)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 4, -1);
	struct rlimit limit = {6 * BLOCK, RLIM_INFINITY};
	struct mr_io_completion done[3];
	char *memory = block_of('x', 8 * BLOCK);

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(mr_io_write(file, memory, 8 * BLOCK, 0, &err), -EFBIG);
	cr_assert(strstr(err.what, "'a'"), "%s", err.what);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, 8 * BLOCK, 0, memory), 0);
	await(queue, done, 1);
	cr_assert_eq(done[0].result, -EFBIG);
	cr_assert_eq(done[0].user, memory);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, 6 * BLOCK, 0, memory), 0);
	await(queue, done, 1);
	cr_assert_eq(done[0].result, 0, "what fits is good");
	limit.rlim_cur = RLIM_INFINITY;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

BOTH(a_write_to_a_file_for_reading_fails_as_a_completion)
{
	struct mr_io_file *file = create(io, "a");
	struct mr_io_queue *queue = queue_of(io, 4, -1);
	struct mr_io_completion done[1];
	char *memory = block_of('x', BLOCK);

	mr_io_file_close(file);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &file, &err), 0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, memory), 0);
	await(queue, done, 1);
	cr_assert_eq(done[0].result, -EBADF);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

/* Signals of the program must not end up in the back end's threads. */
BOTH(a_signal_hits_the_caller_only)
{
	struct mr_io_queue *queue = queue_of(io, 8, -1);
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1); /* would end the program if a pool thread took it */
	usleep(20000);
	sigpending(&pending);
	cr_assert(sigismember(&pending, SIGUSR1));
	sigwaitinfo(&set, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	mr_io_queue_close(queue);
}

struct worker {
	struct mr_io *io;
	const char *name;
};

static void *write_many(void *argument)
{
	struct worker *worker = argument;
	struct mr_io_file *file = create(worker->io, worker->name);
	struct mr_io_queue *queue = queue_of(worker->io, 4, -1);
	char *memory = block_of(worker->name[0], BLOCK);
	struct mr_io_completion done[4];

	for (uint64_t round = 0; round < 10; round++) {
		for (uint64_t i = 0; i < 4; i++)
			cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK,
						       (4 * round + i) * BLOCK, NULL),
				     0);
		await(queue, done, 4);
		for (int i = 0; i < 4; i++)
			cr_assert_eq(done[i].result, 0);
	}
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
	return NULL;
}

BOTH(each_thread_has_a_queue_of_its_own)
{
	struct worker workers[3] = {{io, "a"}, {io, "b"}, {io, "c"}};
	char *in = block_of(0, 40 * BLOCK);
	struct mr_io_file *file;
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, write_many, &workers[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(mr_io_open(io, workers[i].name, MR_IO_WRITE, &file, &err), 0);
		cr_assert_eq(mr_io_read(file, in, 40 * BLOCK, 0, &err), 40 * BLOCK);
		cr_assert(is_filled(in, workers[i].name[0], 40 * BLOCK));
		mr_io_file_close(file);
	}
	free(in);
}

BOTH(only_a_file_that_is_ours_alone_shrinks)
{
	struct mr_io_file *file = create(io, "gone");
	int reader;

	cr_assert_eq(mr_io_allocate(file, 0, 8 * BLOCK, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_shrink(file, 4 * BLOCK, &err), -EBUSY, "it has a name");
	reader = mr_io_read_fd(io, "gone", &err);
	cr_assert_geq(reader, 0, "%s", err.what);
	cr_assert_eq(mr_io_remove(io, "gone", &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_shrink(file, 4 * BLOCK, &err), -EBUSY, "a reader has it");
	cr_assert_eq(mr_io_size(file, &err), 8 * BLOCK, "and reads on as before");
	close(reader);
	cr_assert_eq(mr_io_shrink(file, 4 * BLOCK, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_size(file, &err), 4 * BLOCK);
	cr_assert_eq(mr_io_shrink(file, BLOCK, &err), 0, "as often as needed: %s", err.what);
	mr_io_file_close(file);
}

BOTH(a_later_chdir_changes_nothing)
{
	char old[4096];

	cr_assert_not_null(getcwd(old, sizeof(old)));
	cr_assert_eq(chdir("/"), 0);
	mr_io_file_close(create(io, "a"));
	cr_assert_eq(mr_io_remove(io, "a", &err), 0);
	cr_assert_eq(chdir(old), 0);
}
