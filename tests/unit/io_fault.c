/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of the wrapper that fails the Nth operation, over the disk in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "io_fake.h"
#include "io_fault.h"

#define BLOCK MR_IO_BLOCK_BYTES

static struct mr_error err;
static struct mr_io *disk;
static struct mr_io *io;

static void setup(void)
{
	disk = mr_io_fake_new(1);
	io = mr_io_fault_new(disk);
}

static void teardown(void)
{
	mr_io_close(io);
	mr_io_close(disk);
}

TestSuite(io_fault, .init = setup, .fini = teardown);

static void plan(enum mr_io_fault_kind kind, uint64_t nth, int error, enum mr_io_fault_how how)
{
	mr_io_fault_set(io, &(struct mr_io_fault_plan){
				    .kind = kind, .nth = nth, .error = error, .how = how});
}

static char *block_of(char fill, size_t bytes)
{
	char *memory = aligned_alloc(BLOCK, bytes);

	cr_assert_not_null(memory);
	memset(memory, fill, bytes);
	return memory;
}

static struct mr_io_file *create(const char *path)
{
	struct mr_io_file *file = NULL;

	cr_assert_eq(mr_io_open(io, path, MR_IO_CREATE, &file, &err), 0, "%s", err.what);
	return file;
}

static struct mr_io_queue *open_queue(uint32_t depth)
{
	struct mr_io_queue *queue = NULL;

	cr_assert_eq(mr_io_queue_open(io, depth, -1, &queue, &err), 0);
	return queue;
}

static void await(struct mr_io_queue *queue, struct mr_io_completion *done, uint32_t count)
{
	uint32_t have = 0;

	for (int turns = 0; have < count && turns < 1000; turns++) {
		have += (uint32_t)mr_io_queue_reap(queue, done + have, count - have);
		mr_io_queue_wait(queue, 1000);
	}
	cr_assert_eq(have, count);
}

Test(io_fault, without_a_plan_all_passes_and_is_counted)
{
	void *loaded;
	size_t bytes;

	cr_assert_eq(mr_io_replace(io, "a", "text", 4, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_load(io, "a", 10, &loaded, &bytes, &err), 0);
	cr_assert_eq(bytes, 4);
	free(loaded);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_OPEN), 2);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_WRITE), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_SYNC), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_TRUNCATE), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_RENAME), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_SYNC_DIRECTORY), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_SIZE), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_READ), 1);
	cr_assert_eq(mr_io_fault_seen(io, MR_IO_FAULT_ANY), 9);
	cr_assert_eq(mr_io_fault_hits(io), 0);
}

/* The sweep itself, as other tests write it: the old or the new is there after every fault. */
Test(io_fault, a_sweep_over_replace_ends_and_never_tears)
{
	static const enum mr_io_fault_how hows[] = {MR_IO_FAULT_BEFORE, MR_IO_FAULT_AFTER,
						    MR_IO_FAULT_SHORT};
	static const int errors[] = {-EIO, -ENOSPC};
	void *loaded;
	size_t bytes;
	uint64_t n;
	int r;

	for (size_t variant = 0; variant < 6; variant++) {
		for (n = 1; n < 100; n++) {
			plan(MR_IO_FAULT_ANY, 0, 0, MR_IO_FAULT_BEFORE);
			cr_assert_eq(mr_io_replace(io, "a", "old", 3, &err), 0, "%s", err.what);
			plan(MR_IO_FAULT_ANY, n, errors[variant / 3], hows[variant % 3]);
			r = mr_io_replace(io, "a", "newer", 5, &err);
			if (mr_io_fault_hits(io) == 0)
				break;
			cr_assert_eq(r, errors[variant / 3], "operation %lu", n);
			cr_assert(strstr(err.what, "planned"), "%s", err.what);
			plan(MR_IO_FAULT_ANY, 0, 0, MR_IO_FAULT_BEFORE);
			cr_assert_eq(mr_io_load(io, "a", 10, &loaded, &bytes, &err), 0);
			cr_assert(bytes == 3 ? memcmp(loaded, "old", 3) == 0
					     : memcmp(loaded, "newer", 5) == 0);
			free(loaded);
		}
		cr_assert_eq(r, 0);
		cr_assert_eq(n, 7, "open, write, cut, sync, rename, sync directory, then none");
	}
}

Test(io_fault, every_kind_can_fail)
{
	struct mr_io_file *file = create("a"), *other;
	struct mr_io_queue *queue;
	struct mr_io_entry *entries;
	char *memory = block_of('x', BLOCK);
	uint64_t number;
	size_t count;

	mr_io_fault_set(io, &(struct mr_io_fault_plan){.kind = MR_IO_FAULT_ANY,
						       .nth = 1,
						       .error = -EIO,
						       .from_then_on = true});
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &other, &err), -EIO);
	cr_assert(strstr(err.what, "'a'"), "%s", err.what);
	cr_assert_eq(mr_io_lock(file, 0, &err), -EIO);
	cr_assert_eq(mr_io_size(file, &err), -EIO);
	cr_assert_eq(mr_io_allocate(file, 0, BLOCK, &err), -EIO);
	cr_assert_eq(mr_io_truncate(file, 0, &err), -EIO);
	cr_assert_eq(mr_io_read(file, memory, BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_write(file, memory, BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_sync(file, &err), -EIO);
	cr_assert_eq(mr_io_read_fd(io, "a", &err), -EIO);
	cr_assert_eq(mr_io_rename(io, "a", "b", &err), -EIO);
	cr_assert_eq(mr_io_remove(io, "a", &err), -EIO);
	cr_assert_eq(mr_io_make_directory(io, "d", &err), -EIO);
	cr_assert_eq(mr_io_sync_directory(io, ".", &err), -EIO);
	cr_assert_eq(mr_io_list(io, ".", &entries, &count, &err), -EIO);
	cr_assert_eq(mr_io_space(io, &number, &number, &err), -EIO);
	cr_assert_eq(mr_io_queue_open(io, 1, -1, &queue, &err), -EIO);
	cr_assert_eq(mr_io_fault_hits(io), 16);
	mr_io_file_close(file);
	cr_assert_str_eq(mr_io_fault_kind_name(MR_IO_FAULT_QUEUE_WRITE), "queue_write");
	cr_assert_str_eq(mr_io_fault_kind_name(MR_IO_FAULT_OPEN), "open");
	cr_assert_str_eq(mr_io_fault_kind_name(MR_IO_FAULT_ANY), "any");
	free(memory);
}

Test(io_fault, only_the_nth_of_its_kind_fails)
{
	struct mr_io_file *file = create("a");
	char *memory = block_of('x', BLOCK);

	plan(MR_IO_FAULT_WRITE, 2, -ENOSPC, MR_IO_FAULT_BEFORE);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	cr_assert_eq(mr_io_write(file, memory, BLOCK, 0, &err), 0);
	cr_assert_eq(mr_io_write(file, memory, BLOCK, BLOCK, &err), -ENOSPC);
	cr_assert_eq(mr_io_write(file, memory, BLOCK, BLOCK, &err), 0);
	cr_assert_eq(mr_io_fault_hits(io), 1);
	mr_io_file_close(file);
	free(memory);
}

Test(io_fault, before_after_and_short_leave_what_they_say)
{
	struct mr_io_file *file = create("a");
	char *memory = block_of('x', 4 * BLOCK);

	plan(MR_IO_FAULT_WRITE, 1, -EIO, MR_IO_FAULT_BEFORE);
	cr_assert_eq(mr_io_write(file, memory, 4 * BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_size(file, &err), 0);
	plan(MR_IO_FAULT_WRITE, 1, -EIO, MR_IO_FAULT_SHORT);
	cr_assert_eq(mr_io_write(file, memory, 4 * BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_size(file, &err), 2 * BLOCK);
	plan(MR_IO_FAULT_WRITE, 1, -EIO, MR_IO_FAULT_AFTER);
	cr_assert_eq(mr_io_write(file, memory, 4 * BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_size(file, &err), 4 * BLOCK);
	mr_io_file_close(file);
	plan(MR_IO_FAULT_RENAME, 1, -EIO, MR_IO_FAULT_AFTER);
	cr_assert_eq(mr_io_rename(io, "a", "b", &err), -EIO);
	cr_assert_eq(mr_io_rename(io, "b", "a", &err), 0);
	free(memory);
}

Test(io_fault, a_queued_write_fails_as_a_completion)
{
	static struct {
		enum mr_io_fault_how how;
		int64_t size;
	} cases[] = {{MR_IO_FAULT_BEFORE, 0},
		     {MR_IO_FAULT_SHORT, 2 * BLOCK},
		     {MR_IO_FAULT_AFTER, 4 * BLOCK}};
	struct mr_io_queue *queue = open_queue(2);
	char *memory = block_of('x', 4 * BLOCK);
	struct mr_io_completion done[1];
	struct mr_io_file *file;

	for (size_t i = 0; i < mr_array_count(cases); i++) {
		file = create("a");
		plan(MR_IO_FAULT_QUEUE_WRITE, 1, -EIO, cases[i].how);
		cr_assert_eq(mr_io_queue_write(queue, file, memory, 4 * BLOCK, 0, &cases[i]), 0);
		await(queue, done, 1);
		cr_assert_eq(done[0].result, -EIO);
		cr_assert_eq(done[0].user, &cases[i]);
		cr_assert_eq(mr_io_size(file, &err), cases[i].size);
		mr_io_file_close(file);
		cr_assert_eq(mr_io_remove(io, "a", &err), 0);
	}
	mr_io_queue_close(queue);
	free(memory);
}

Test(io_fault, one_of_many_queued_writes_fails)
{
	struct mr_io_queue *queue = open_queue(4);
	struct mr_io_file *file = create("a");
	char *memory = block_of('x', BLOCK);
	struct mr_io_completion done[4];

	plan(MR_IO_FAULT_QUEUE_WRITE, 3, -EIO, MR_IO_FAULT_BEFORE);
	for (uintptr_t i = 0; i < 4; i++)
		cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, i * BLOCK, (void *)i),
			     0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), -EAGAIN);
	await(queue, done, 4);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(done[i].result, (uintptr_t)done[i].user == 2 ? -EIO : 0);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

Test(io_fault, a_planned_eagain_is_a_full_queue)
{
	struct mr_io_queue *queue = open_queue(4);
	struct mr_io_file *file = create("a");
	char *memory = block_of('x', BLOCK);
	struct mr_io_completion done[1];

	plan(MR_IO_FAULT_QUEUE_WRITE, 1, -EAGAIN, MR_IO_FAULT_BEFORE);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), -EAGAIN);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	await(queue, done, 1);
	cr_assert_eq(done[0].result, 0);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	free(memory);
}

/* Over a real disk too, where another thread writes. */
Test(io_fault, wraps_a_real_disk)
{
	char name[] = "io-fault-XXXXXX";
	struct mr_io *real, *wrapped;
	void *loaded;
	size_t bytes;

	cr_assert_not_null(mkdtemp(name));
	cr_assert_eq(mr_io_open_directory(name, "auto", &real, &err), 0, "%s", err.what);
	wrapped = mr_io_fault_new(real);
	cr_assert_eq(mr_io_replace(wrapped, "a", "text", 4, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_load(wrapped, "a", 10, &loaded, &bytes, &err), 0);
	cr_assert_eq(memcmp(loaded, "text", 4), 0);
	free(loaded);
	cr_assert_eq(mr_io_remove(wrapped, "a", &err), 0);
	mr_io_close(wrapped);
	mr_io_close(real);
	cr_assert_eq(rmdir(name), 0);
}
