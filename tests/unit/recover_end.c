/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a log's end in recovery: where an engine ended well nothing is searched, where
 * it only seems so everything is, and nothing is read twice.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "io_fault.h"
#include "log_rig.h"

#define FIRST RIG_DIRECTORY "/00000000000000000000.log"

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *io;
static struct mr_error err;
static struct mr_recovered found;
static struct mr_partition partition;

static void begin(void)
{
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	mr_test_rig_open(&rig, &options, io, NULL);
}

/* Every file descriptor and lock goes, the disk keeps what it must: a power cut. */
static void stop(uint64_t seed)
{
	mr_io_fake_crash(io, seed);
	mr_test_rig_close(&rig);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
}

static int look(const struct mr_checkpoint_partition *checkpoint)
{
	struct mr_recover_options recover = {.window_bytes = mr_log_window_bytes(&options.log)};

	cr_assert_eq(mr_partition_init(&partition, options.producers_max, 1, &err), 0);
	return mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &recover, &partition,
			  &found, &err);
}

static void done(void)
{
	mr_recovered_deinit(&found);
	mr_partition_deinit(&partition);
}

static void end(void)
{
	mr_io_close(io);
}

/* 'count' flushed groups of one record each. */
static void put_many(int count)
{
	for (int i = 0; i < count; i++)
		mr_test_rig_put(&rig, 1, 100);
}

/* Writes 'count' bytes at a byte of a file, behind the engine's back and durably. */
static void scribble(const char *path, uint64_t at, const void *bytes, size_t count)
{
	_Alignas(4096) uint8_t block[4096];
	struct mr_io_file *file;

	cr_assert_leq(at % 4096 + count, 4096);
	cr_assert_eq(mr_io_open(io, path, MR_IO_WRITE, &file, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_read(file, block, 4096, at / 4096 * 4096, &err), 4096);
	memcpy(block + at % 4096, bytes, count);
	cr_assert_eq(mr_io_write(file, block, 4096, at / 4096 * 4096, &err), 0);
	cr_assert_eq(mr_io_sync(file, &err), 0);
	mr_io_file_close(file);
}

static struct mr_checkpoint_partition ended;

/* 'count' groups and a spare, all of it let go of properly. */
static void end_well(int count)
{
	begin();
	put_many(count);
	cr_assert(mr_test_rig_spare(&rig, &err));
	mr_test_rig_checkpoint(&rig, &ended);
	ended.clean = true;
	stop(1);
}

static size_t spares(void)
{
	char paths[16][MR_IO_PATH_BYTES];
	size_t count = mr_io_fake_paths(io, paths, 16), found_count = 0;

	for (size_t i = 0; i < count; i++)
		found_count += strstr(paths[i], "/spare") != NULL;
	return found_count;
}

/* Recovers from 'ended', which is not to be believed: the spare goes, the log stays. */
static void assert_not_clean(uint64_t end_offset)
{
	cr_assert_eq(look(&ended), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_not(found.clean);
	cr_assert_eq(found.start.offset, end_offset);
	cr_assert_eq(spares(), 0);
	done();
	free(ended.producers);
	end();
}

Test(recover_end, where_an_engine_ended_well_nothing_is_searched)
{
	struct mr_io *counting;
	struct mr_recover_options recover = {.window_bytes = 1 << 20};

	end_well(5);
	counting = mr_io_fault_new(io);
	cr_assert_eq(mr_partition_init(&partition, options.producers_max, 1, &err), 0);
	cr_assert_eq(mr_recover(counting, RIG_DIRECTORY, mr_test_topic_id, 0, &ended, &recover,
				&partition, &found, &err),
		     0, "%s", err.what);
	cr_assert(found.clean);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, 5);
	cr_assert_eq(found.cut_bytes, 0);
	cr_assert_eq(spares(), 1, "it may be used again");
	cr_assert_eq(mr_io_fault_seen(counting, MR_IO_FAULT_READ), 2, "the header and one block");
	cr_assert_eq(mr_io_fault_seen(counting, MR_IO_FAULT_WRITE), 0);
	done();
	mr_io_close(counting);
	/* the checkpoint after it no longer says so: the window is searched, the spare goes */
	ended.clean = false;
	assert_not_clean(5);
}

Test(recover_end, a_full_segment_can_end_well)
{
	uint32_t groups;

	begin();
	groups = (uint32_t)(options.segment_bytes / MR_BLOCK_BYTES) - 1;
	stop(1);
	end();
	end_well((int)groups);
	cr_assert_eq(look(&ended), 0, "%s", err.what);
	cr_assert(found.clean);
	cr_assert_eq(found.start.offset, groups);
	done();
	free(ended.producers);
	end();
}

Test(recover_end, what_stands_behind_a_good_end_is_found_all_the_same)
{
	/* a group that the checkpoint does not know */
	begin();
	put_many(5);
	mr_test_rig_checkpoint(&rig, &ended);
	ended.clean = true;
	put_many(1);
	stop(1);
	assert_not_clean(6);
	/* something that is no group, at once and later in the block */
	end_well(5);
	scribble(FIRST, 6 * 4096, "no group", 8);
	assert_not_clean(5);
	end_well(5);
	scribble(FIRST, 6 * 4096 + 4000, "x", 1);
	assert_not_clean(5);
}

Test(recover_end, a_good_end_hides_no_damage)
{
	end_well(5);
	ended.offset += 3;
	ended.position += 1 << 20; /* of a segment that is not there */
	cr_assert_eq(look(&ended), 0, "%s", err.what);
	cr_assert(found.corrupt);
	cr_assert_not(found.clean);
	done();
	free(ended.producers);
	end();
}

/* The part of the last block that a header's zeros do not show is zeroed with the rest. */
Test(recover_end, a_block_that_only_begins_with_zeros_is_zeroed)
{
	uint8_t *bytes;
	size_t count;

	begin();
	put_many(3);
	stop(1);
	scribble(FIRST, 5 * 4096 + 4000, "x", 1);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_eq(found.start.offset, 3);
	done();
	bytes = mr_io_fake_bytes(io, FIRST, &count);
	for (size_t i = 4 * 4096; i < count; i++)
		cr_assert_eq(bytes[i], 0);
	free(bytes);
	end();
}

/*
 * Reading is bounded by the log: what is kept, once, and the window, once. Two groups more than
 * that for pieces that end inside one.
 */
Test(recover_end, nothing_is_read_twice)
{
	struct mr_io *counting;
	struct mr_recover_options recover = {.window_bytes = 64 << 10};

	begin();
	for (int i = 0; i < 20; i++)
		mr_test_rig_put(&rig, 1, 7000);
	stop(1);
	counting = mr_io_fault_new(io);
	cr_assert_eq(mr_partition_init(&partition, options.producers_max, 1, &err), 0);
	cr_assert_eq(mr_recover(counting, RIG_DIRECTORY, mr_test_topic_id, 0, NULL, &recover,
				&partition, &found, &err),
		     0, "%s", err.what);
	cr_assert_eq(found.start.offset, 20);
	/* each header, and each segment in one piece */
	cr_assert_leq(mr_io_fault_seen(counting, MR_IO_FAULT_READ), 2 * found.segment_count);
	done();
	mr_io_close(counting);
	end();
}
