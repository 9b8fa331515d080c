/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the fake disk itself: what was made durable survives every seed, and what was
 * not is sometimes kept, sometimes lost and sometimes torn; a disk that is too kind would hide
 * bugs.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "io_fake.h"

#define BLOCK MR_IO_BLOCK_BYTES
#define SEEDS 500

static struct mr_error err;

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

static struct mr_io_file *open_file(struct mr_io *io, const char *path, enum mr_io_open_mode mode)
{
	struct mr_io_file *file = NULL;

	cr_assert_eq(mr_io_open(io, path, mode, &file, &err), 0, "%s", err.what);
	return file;
}

static bool exists(struct mr_io *io, const char *path)
{
	size_t bytes;
	void *copy = mr_io_fake_bytes(io, path, &bytes);

	free(copy);
	return copy != NULL;
}

/* A disk with a durable file 'a' of 'blocks' blocks of 'o'. */
static struct mr_io *disk_with_file(uint64_t seed, size_t blocks)
{
	struct mr_io *io = mr_io_fake_new(seed);
	struct mr_io_file *file = open_file(io, "a", MR_IO_CREATE);
	char *old = block_of('o', blocks * BLOCK);

	cr_assert_eq(mr_io_write(file, old, blocks * BLOCK, 0, &err), 0);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	cr_assert_eq(mr_io_sync_directory(io, ".", &err), 0);
	mr_io_file_close(file);
	free(old);
	return io;
}

static struct mr_io_queue *queue_of(struct mr_io *io, uint32_t depth)
{
	struct mr_io_queue *queue = NULL;

	cr_assert_eq(mr_io_queue_open(io, depth, -1, &queue, &err), 0);
	return queue;
}

/* Reaps until 'count' have come, at most 'turns' times; returns how many came. */
static uint32_t reap(struct mr_io_queue *queue, struct mr_io_completion *done, uint32_t count,
		     int turns)
{
	uint32_t have = 0;

	while (have < count && turns-- > 0) {
		have += (uint32_t)mr_io_queue_reap(queue, done + have, count - have);
		if (have < count)
			mr_io_queue_wait(queue, 1000);
	}
	return have;
}

Test(io_fake, what_is_synced_survives_every_seed)
{
	size_t bytes;
	char *copy;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 5);

		mr_io_fake_crash(io, seed);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		cr_assert_not_null(copy, "seed %lu", seed);
		cr_assert_eq(bytes, 5 * BLOCK);
		cr_assert(is_filled(copy, 'o', bytes), "seed %lu", seed);
		free(copy);
		mr_io_close(io);
	}
}

/* How one block of 'o' looks after 'n' was written over it and the power was cut. */
struct outcomes {
	int kept, dropped, mixed, destroyed;
};

static void judge(const char *block, struct outcomes *outcomes)
{
	int old = 0, new = 0;

	for (size_t i = 0; i < BLOCK; i += 512) {
		old += is_filled(block + i, 'o', 512);
		new += is_filled(block + i, 'n', 512);
	}
	if (new == 8)
		outcomes->kept++;
	else if (old == 8)
		outcomes->dropped++;
	else if (old + new == 8)
		outcomes->mixed++;
	else
		outcomes->destroyed++;
}

static void check_all_happen(const struct outcomes *outcomes)
{
	cr_assert_gt(outcomes->kept, SEEDS / 20);
	cr_assert_gt(outcomes->dropped, SEEDS / 20);
	cr_assert_gt(outcomes->mixed, SEEDS / 20);
	cr_assert_gt(outcomes->destroyed, SEEDS / 20);
}

Test(io_fake, what_is_not_synced_meets_every_fate)
{
	char *new = block_of('n', BLOCK), *copy;
	struct outcomes outcomes = {0};
	size_t bytes;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 3);
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);

		cr_assert_eq(mr_io_write(file, new, BLOCK, BLOCK, &err), 0);
		mr_io_fake_crash(io, seed);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		cr_assert_eq(bytes, 3 * BLOCK);
		cr_assert(is_filled(copy, 'o', BLOCK), "the neighbour in front");
		cr_assert(is_filled(copy + 2 * BLOCK, 'o', BLOCK), "the neighbour behind");
		judge(copy + BLOCK, &outcomes);
		free(copy);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	check_all_happen(&outcomes);
	free(new);
}

Test(io_fake, what_is_in_flight_meets_every_fate)
{
	char *new = block_of('n', BLOCK), *copy;
	struct outcomes outcomes = {0};
	struct mr_io_completion done[1];
	size_t bytes;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 3);
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
		struct mr_io_queue *queue = queue_of(io, 4);

		cr_assert_eq(mr_io_queue_write(queue, file, new, BLOCK, BLOCK, new), 0);
		mr_io_fake_crash(io, seed);
		cr_assert_eq(reap(queue, done, 1, 10), 1, "it comes back");
		cr_assert_eq(done[0].result, -EIO);
		cr_assert_eq(done[0].user, new);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		judge(copy + BLOCK, &outcomes);
		free(copy);
		mr_io_queue_close(queue);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	check_all_happen(&outcomes);
	free(new);
}

/* D4: the device destroys the whole block around a torn write, answered bytes in it too. */
Test(io_fake, a_torn_write_takes_its_whole_block_along)
{
	char *new = block_of('n', BLOCK), *copy;
	int destroyed = 0;
	size_t bytes;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);

		/* Only a cut inside the block leaves part of it unflushed. */
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);

		cr_assert_eq(mr_io_truncate(file, 3584, &err), 0);
		mr_io_fake_crash(io, seed);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		destroyed += !is_filled(copy, 'o', 512);
		free(copy);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	cr_assert_gt(destroyed, SEEDS / 20);
	free(new);
}

Test(io_fake, a_completed_write_is_durable)
{
	enum { COUNT = 8 };
	struct mr_io_completion done[COUNT];
	char *new = block_of('n', COUNT * BLOCK), *copy;
	size_t bytes, index;
	uint32_t have;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
		struct mr_io_queue *queue = queue_of(io, COUNT);

		for (size_t i = 0; i < COUNT; i++)
			cr_assert_eq(mr_io_queue_write(queue, file, new + i *BLOCK, BLOCK,
						       i * BLOCK, new + i *BLOCK),
				     0);
		have = reap(queue, done, COUNT, 2);
		mr_io_fake_crash(io, seed);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		for (uint32_t i = 0; i < have; i++) {
			cr_assert_eq(done[i].result, 0);
			index = (size_t)((char *)done[i].user - new) / BLOCK;
			cr_assert_leq((index + 1) * BLOCK, bytes, "seed %lu", seed);
			cr_assert(is_filled(copy + index * BLOCK, 'n', BLOCK), "seed %lu", seed);
		}
		free(copy);
		mr_io_queue_close(queue);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	free(new);
}

Test(io_fake, writes_complete_in_any_order_and_never_at_once)
{
	enum { COUNT = 6 };
	struct mr_io_completion done[COUNT];
	char *memory = block_of('n', BLOCK);
	int in_order = 0, partly = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
		struct mr_io_queue *queue = queue_of(io, COUNT);
		uintptr_t last = 0;
		bool ordered = true;
		uint32_t have;

		for (uintptr_t i = 0; i < COUNT; i++)
			cr_assert_eq(
				mr_io_queue_write(queue, file, memory, BLOCK, i * BLOCK, (void *)i),
				0);
		cr_assert_eq(mr_io_fake_in_flight(io), COUNT);
		cr_assert_eq(mr_io_size(file, &err), BLOCK, "nothing is seen before it completes");
		have = (uint32_t)mr_io_queue_reap(queue, done, COUNT);
		partly += have > 0 && have < COUNT;
		cr_assert_eq(reap(queue, done + have, COUNT - have, 100), COUNT - have);
		for (size_t i = 0; i < COUNT; i++) {
			ordered = ordered && (uintptr_t)done[i].user >= last;
			last = (uintptr_t)done[i].user;
		}
		in_order += ordered;
		mr_io_queue_close(queue);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	cr_assert_lt(in_order, 100);
	cr_assert_gt(partly, 50);
	free(memory);
}

Test(io_fake, the_test_decides_how_many_complete)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	struct mr_io_queue *queue = queue_of(io, 5);
	struct mr_io_completion done[5];
	char *memory = block_of('n', BLOCK);

	mr_io_fake_allow(io, 0);
	for (uint64_t i = 0; i < 5; i++)
		cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, i * BLOCK, NULL), 0);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), -EAGAIN);
	cr_assert_eq(reap(queue, done, 5, 50), 0);
	mr_io_fake_allow(io, 2);
	cr_assert_eq(reap(queue, done, 5, 50), 2);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	cr_assert_eq(reap(queue, done, 5, 50), 3);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	mr_io_close(io);
	free(memory);
}

Test(io_fake, a_slow_disk_takes_its_turns)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	struct mr_io_queue *queue = queue_of(io, 5);
	struct mr_io_completion done[1];
	char *memory = block_of('n', BLOCK);

	mr_io_fake_slow(io, 20);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(mr_io_queue_reap(queue, done, 1), 0);
	cr_assert_eq(reap(queue, done, 1, 50), 1);
	mr_io_queue_close(queue);
	mr_io_file_close(file);
	mr_io_close(io);
	free(memory);
}

Test(io_fake, a_buffer_that_changes_in_flight_is_our_mistake, .signal = SIGABRT)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	struct mr_io_queue *queue = queue_of(io, 5);
	struct mr_io_completion done[1];
	char *memory = block_of('n', BLOCK);

	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	memory[17] = 'x';
	reap(queue, done, 1, 50);
}

Test(io_fake, a_name_is_durable_after_the_directory_is_synced)
{
	int kept = 0, synced_kept = 0;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);
		struct mr_io_file *file = open_file(io, "b", MR_IO_CREATE);

		cr_assert_eq(mr_io_sync(file, &err), 0);
		mr_io_file_close(file);
		mr_io_fake_crash(io, seed);
		kept += exists(io, "b");
		mr_io_close(io);
		io = disk_with_file(seed, 1);
		mr_io_fake_crash(io, seed);
		synced_kept += exists(io, "a");
		mr_io_close(io);
	}
	cr_assert_gt(kept, SEEDS / 10);
	cr_assert_lt(kept, SEEDS - SEEDS / 10);
	cr_assert_eq(synced_kept, SEEDS);
}

/* Each directory keeps a prefix of its changes: a later one never without those before it. */
Test(io_fake, name_changes_are_kept_in_order)
{
	int states[4] = {0}, state;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);

		mr_io_file_close(open_file(io, "b", MR_IO_CREATE));
		cr_assert_eq(mr_io_rename(io, "b", "c", &err), 0);
		cr_assert_eq(mr_io_remove(io, "a", &err), 0);
		mr_io_fake_crash(io, seed);
		state = exists(io, "b") ? 1 : exists(io, "c") ? (exists(io, "a") ? 2 : 3) : 0;
		cr_assert(state == 3 || exists(io, "a"), "removed before it was its turn");
		cr_assert_not(exists(io, "b") && exists(io, "c"));
		states[state]++;
		mr_io_close(io);
	}
	for (int i = 0; i < 4; i++)
		cr_assert_gt(states[i], SEEDS / 20, "state %d", i);
}

Test(io_fake, a_lost_directory_takes_its_files_along)
{
	int lost = 0;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);

		cr_assert_eq(mr_io_make_directory(io, "d", &err), 0);
		mr_io_file_close(open_file(io, "d/f", MR_IO_CREATE));
		cr_assert_eq(mr_io_sync_directory(io, "d", &err), 0);
		mr_io_fake_crash(io, seed);
		lost += !exists(io, "d/f");
		cr_assert_eq(mr_io_make_directory(io, "d", &err), 0);
		if (!exists(io, "d/f"))
			mr_io_file_close(open_file(io, "d/f", MR_IO_CREATE));
		mr_io_close(io);
	}
	cr_assert_gt(lost, SEEDS / 10);
	cr_assert_lt(lost, SEEDS - SEEDS / 10);
}

/* Never half of a file: the reason why mr_io_replace() syncs before it renames. */
Test(io_fake, replace_gives_the_old_or_the_new)
{
	int olds = 0, news = 0;
	void *loaded;
	size_t bytes;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);

		cr_assert_eq(mr_io_replace(io, "f", "old!", 4, &err), 0);
		/* The same steps as replace, but for the last, so that the cut can fall between. */
		cr_assert_eq(mr_io_replace(io, "g", "newer", 5, &err), 0);
		cr_assert_eq(mr_io_rename(io, "g", "f", &err), 0);
		mr_io_fake_crash(io, seed);
		cr_assert_eq(mr_io_load(io, "f", 100, &loaded, &bytes, &err), 0, "seed %lu", seed);
		cr_assert((bytes == 4 && memcmp(loaded, "old!", 4) == 0) ||
				  (bytes == 5 && memcmp(loaded, "newer", 5) == 0),
			  "seed %lu", seed);
		olds += bytes == 4;
		news += bytes == 5;
		free(loaded);
		cr_assert_eq(mr_io_replace(io, "f", "last", 4, &err), 0);
		mr_io_fake_crash(io, seed + 1);
		cr_assert_eq(mr_io_load(io, "f", 100, &loaded, &bytes, &err), 0);
		cr_assert_eq(memcmp(loaded, "last", 4), 0);
		free(loaded);
		mr_io_close(io);
	}
	cr_assert_gt(olds, SEEDS / 10);
	cr_assert_gt(news, SEEDS / 10);
}

Test(io_fake, an_unsynced_size_is_any_between)
{
	char *new = block_of('n', 4 * BLOCK);
	int sizes[5] = {0};
	size_t bytes;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);

		cr_assert_eq(mr_io_write(file, new, 3 * BLOCK, BLOCK, &err), 0);
		mr_io_fake_crash(io, seed);
		free(mr_io_fake_bytes(io, "a", &bytes));
		cr_assert_eq(bytes % BLOCK, 0);
		cr_assert_geq(bytes, BLOCK);
		cr_assert_leq(bytes, 4 * BLOCK);
		sizes[bytes / BLOCK]++;
		mr_io_file_close(file);
		mr_io_close(io);
	}
	for (int i = 1; i < 5; i++)
		cr_assert_gt(sizes[i], SEEDS / 50);
	free(new);
}

Test(io_fake, what_is_behind_the_end_reads_as_zeros_later)
{
	char *new = block_of('n', 4 * BLOCK);
	struct mr_io_file *file;
	size_t bytes, durable;
	char *copy;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mr_io *io = disk_with_file(seed, 1);

		file = open_file(io, "a", MR_IO_WRITE);
		cr_assert_eq(mr_io_write(file, new, 3 * BLOCK, BLOCK, &err), 0);
		mr_io_file_close(file);
		mr_io_fake_crash(io, seed);
		free(mr_io_fake_bytes(io, "a", &durable));
		file = open_file(io, "a", MR_IO_WRITE);
		cr_assert_eq(mr_io_truncate(file, 5 * BLOCK, &err), 0);
		copy = mr_io_fake_bytes(io, "a", &bytes);
		cr_assert_eq(bytes, 5 * BLOCK);
		cr_assert(is_filled(copy + durable, 0, bytes - durable), "seed %lu", seed);
		free(copy);
		mr_io_file_close(file);
		mr_io_close(io);
	}
	free(new);
}

Test(io_fake, the_same_seed_gives_the_same_image)
{
	char *new = block_of('n', 8 * BLOCK), *first, *second;
	size_t bytes, other;

	for (uint64_t seed = 0; seed < 50; seed++) {
		struct mr_io *io = disk_with_file(seed, 4), *clone;
		struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);

		cr_assert_eq(mr_io_write(file, new, 8 * BLOCK, 0, &err), 0);
		clone = mr_io_fake_clone(io, seed);
		mr_io_fake_crash(io, seed);
		mr_io_fake_crash(clone, seed);
		first = mr_io_fake_bytes(io, "a", &bytes);
		second = mr_io_fake_bytes(clone, "a", &other);
		cr_assert_eq(bytes, other);
		cr_assert_eq(memcmp(first, second, bytes), 0);
		free(first);
		free(second);
		mr_io_file_close(file);
		mr_io_close(io);
		mr_io_close(clone);
	}
	free(new);
}

Test(io_fake, a_clone_is_a_disk_of_its_own)
{
	struct mr_io *io = disk_with_file(1, 2), *clone;
	char path[4][MR_IO_PATH_BYTES];
	size_t bytes;
	char *copy;

	cr_assert_eq(mr_io_make_directory(io, "d", &err), 0);
	mr_io_file_close(open_file(io, "d/f", MR_IO_CREATE));
	clone = mr_io_fake_clone(io, 2);
	cr_assert_eq(mr_io_remove(io, "d/f", &err), 0);
	mr_io_fake_cut(io, "a", 0);
	mr_io_close(io);
	cr_assert_eq(mr_io_fake_paths(clone, path, 4), 2);
	copy = mr_io_fake_bytes(clone, "a", &bytes);
	cr_assert_eq(bytes, 2 * BLOCK);
	cr_assert(is_filled(copy, 'o', bytes));
	free(copy);
	cr_assert(exists(clone, "d/f"));
	mr_io_close(clone);
}

Test(io_fake, what_was_open_before_the_cut_is_dead)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE), *again;
	struct mr_io_queue *queue = queue_of(io, 2);
	struct mr_io_completion done[1];
	char *memory = block_of('n', BLOCK);

	cr_assert_eq(mr_io_lock(file, 0, &err), 0);
	mr_io_fake_crash(io, 1);
	cr_assert_eq(mr_io_write(file, memory, BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_sync(file, &err), -EIO);
	cr_assert_eq(mr_io_read(file, memory, BLOCK, 0, &err), -EIO);
	cr_assert_eq(mr_io_size(file, &err), -EIO);
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 0, NULL), 0);
	cr_assert_eq(reap(queue, done, 1, 10), 1);
	cr_assert_eq(done[0].result, -EIO);
	again = open_file(io, "a", MR_IO_WRITE);
	cr_assert_eq(mr_io_lock(again, 0, &err), 0, "locks end with the power");
	mr_io_file_close(file);
	cr_assert_eq(mr_io_write(again, memory, BLOCK, 0, &err), 0);
	mr_io_file_close(again);
	mr_io_queue_close(queue);
	mr_io_close(io);
	free(memory);
}

Test(io_fake, a_file_knows_whether_it_has_its_name)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_io_file *file, *other;

	cr_assert_eq(mr_io_open(io, "a", MR_IO_CREATE, &file, &err), 0);
	cr_assert_eq(mr_io_open(io, "b", MR_IO_CREATE, &other, &err), 0);
	cr_assert(mr_io_is_named(file));
	cr_assert_eq(mr_io_rename(io, "b", "a", &err), 0);
	cr_assert_not(mr_io_is_named(file));
	cr_assert(mr_io_is_named(other));
	cr_assert_eq(mr_io_remove(io, "a", &err), 0);
	cr_assert_not(mr_io_is_named(other));
	mr_io_file_close(file);
	mr_io_file_close(other);
	mr_io_close(io);
}

Test(io_fake, locks_exclude_each_other)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	struct mr_io_file *other = open_file(io, "a", MR_IO_WRITE);

	cr_assert_eq(mr_io_lock(file, 0, &err), 0);
	cr_assert_eq(mr_io_lock(file, 0, &err), 0);
	cr_assert_eq(mr_io_lock(other, 10, &err), -EWOULDBLOCK);
	mr_io_file_close(file);
	cr_assert_eq(mr_io_lock(other, 0, &err), 0);
	mr_io_file_close(other);
	mr_io_close(io);
}

Test(io_fake, a_full_disk_refuses_and_changes_nothing)
{
	struct mr_io *io = disk_with_file(1, 2);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	struct mr_io_queue *queue = queue_of(io, 2);
	struct mr_io_completion done[1];
	char *memory = block_of('n', 4 * BLOCK);
	uint64_t free_bytes, total_bytes;

	mr_io_fake_set_free(io, 2 * BLOCK);
	cr_assert_eq(mr_io_space(io, &free_bytes, &total_bytes, &err), 0);
	cr_assert_eq(free_bytes, 2 * BLOCK);
	cr_assert_eq(mr_io_write(file, memory, 3 * BLOCK, 2 * BLOCK, &err), -ENOSPC);
	cr_assert_eq(mr_io_allocate(file, 2 * BLOCK, 3 * BLOCK, &err), -ENOSPC);
	cr_assert_eq(mr_io_size(file, &err), 2 * BLOCK);
	cr_assert_eq(mr_io_allocate(file, 2 * BLOCK, 2 * BLOCK, &err), 0);
	cr_assert_eq(mr_io_write(file, memory, 4 * BLOCK, 0, &err), 0, "reserved is enough");
	cr_assert_eq(mr_io_queue_write(queue, file, memory, BLOCK, 4 * BLOCK, NULL), 0);
	cr_assert_eq(reap(queue, done, 1, 10), 1);
	cr_assert_eq(done[0].result, -ENOSPC);
	cr_assert_eq(mr_io_truncate(file, BLOCK, &err), 0);
	cr_assert_eq(mr_io_space(io, &free_bytes, &total_bytes, &err), 0);
	cr_assert_eq(free_bytes, 3 * BLOCK);
	mr_io_file_close(file);
	cr_assert_eq(mr_io_remove(io, "a", &err), 0);
	cr_assert_eq(mr_io_space(io, &free_bytes, &total_bytes, &err), 0);
	cr_assert_eq(free_bytes, 4 * BLOCK);
	mr_io_queue_close(queue);
	mr_io_close(io);
	free(memory);
}

Test(io_fake, damage_is_durable)
{
	struct mr_io *io = disk_with_file(1, 2);
	size_t bytes;
	char *copy;

	mr_io_fake_flip_bit(io, "a", 8 * 5000 + 3);
	mr_io_fake_cut(io, "a", BLOCK + 2000);
	mr_io_fake_crash(io, 7);
	copy = mr_io_fake_bytes(io, "a", &bytes);
	cr_assert_eq(bytes, BLOCK + 2000);
	cr_assert_eq(copy[5000], 'o' ^ 8);
	copy[5000] = 'o';
	cr_assert(is_filled(copy, 'o', bytes));
	free(copy);
	mr_io_fake_delete(io, "a");
	mr_io_fake_crash(io, 8);
	cr_assert_not(exists(io, "a"));
	mr_io_close(io);
}

Test(io_fake, durable_and_seen_bytes_are_told_apart)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_file *file = open_file(io, "a", MR_IO_WRITE);
	char *memory = block_of('n', 2 * BLOCK), *copy;
	size_t bytes;

	cr_assert_eq(mr_io_write(file, memory, 2 * BLOCK, 0, &err), 0);
	copy = mr_io_fake_durable_bytes(io, "a", &bytes);
	cr_assert_eq(bytes, BLOCK);
	cr_assert(is_filled(copy, 'o', bytes));
	free(copy);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	copy = mr_io_fake_durable_bytes(io, "a", &bytes);
	cr_assert_eq(bytes, 2 * BLOCK);
	cr_assert(is_filled(copy, 'n', bytes));
	free(copy);
	cr_assert_null(mr_io_fake_bytes(io, "none", &bytes));
	mr_io_file_close(file);
	mr_io_close(io);
	free(memory);
}

Test(io_fake, errors_name_the_path_as_the_real_one_does)
{
	struct mr_io *io = disk_with_file(1, 1);
	struct mr_io_entry *entries;
	struct mr_io_file *file;
	size_t count;
	char byte;
	int fd;

	cr_assert_eq(mr_io_open(io, "none", MR_IO_READ, &file, &err), -ENOENT);
	cr_assert(strstr(err.what, "'none'"), "%s", err.what);
	cr_assert_eq(mr_io_open(io, "no/where", MR_IO_CREATE, &file, &err), -ENOENT);
	cr_assert_eq(mr_io_open(io, "a/below", MR_IO_CREATE, &file, &err), -ENOTDIR);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_CREATE, &file, &err), -EEXIST);
	cr_assert_eq(mr_io_remove(io, "none", &err), -ENOENT);
	cr_assert_eq(mr_io_rename(io, "none", "other", &err), -ENOENT);
	cr_assert_eq(mr_io_list(io, "a", &entries, &count, &err), -ENOTDIR);
	cr_assert_eq(mr_io_make_directory(io, "d", &err), 0);
	cr_assert_eq(mr_io_make_directory(io, "d", &err), 0);
	mr_io_file_close(open_file(io, "d/f", MR_IO_CREATE));
	cr_assert_eq(mr_io_remove(io, "d", &err), -ENOTEMPTY);
	cr_assert_eq(mr_io_list(io, ".", &entries, &count, &err), 0);
	cr_assert_eq(count, 2);
	cr_assert_str_eq(entries[0].name, "a");
	cr_assert(entries[1].is_directory);
	free(entries);
	fd = mr_io_read_fd(io, "a", &err);
	cr_assert_eq(pread(fd, &byte, 1, 4095), 1);
	cr_assert_eq(byte, 'o');
	cr_assert_eq(write(fd, &byte, 1), -1);
	close(fd);
	cr_assert_eq(mr_io_open(io, "a", MR_IO_READ, &file, &err), 0);
	cr_assert_eq(mr_io_truncate(file, 0, &err), -EBADF);
	mr_io_file_close(file);
	mr_io_close(io);
}
