/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of recovery: what had been flushed is kept or reported, what had not is cut
 * without a trace, and doing it again, or being cut off in it, changes nothing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
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

static void checkpoint_here(struct mr_checkpoint_partition *checkpoint)
{
	mr_test_rig_checkpoint(&rig, checkpoint);
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

static void wipe(const char *path, uint64_t at)
{
	static const uint8_t zeros[4096];

	scribble(path, at, zeros, sizeof(zeros));
}

/* ---- a log that is well -------------------------------------------------- */

Test(recover, an_empty_log)
{
	begin();
	stop(1);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.segment_count, 1);
	cr_assert_eq(found.start.offset, 0);
	cr_assert_eq(found.start.position, MR_BLOCK_BYTES);
	cr_assert_eq(found.start.group_number, 1);
	cr_assert_eq(found.start.previous_crc, 0);
	cr_assert_eq(found.start.active, found.segments[0]);
	cr_assert_eq(found.log_start, 0);
	cr_assert_eq(found.cut_bytes, 0);
	cr_assert_eq(memcmp(found.start.topic_id, mr_test_topic_id, 16), 0);
	cr_assert_eq(memcmp(found.start.log_id, mr_test_log_id, 16), 0);
	done();
	end();
}

Test(recover, no_segment_at_all_is_told_apart)
{
	io = mr_io_fake_new(1);
	options = mr_test_rig_defaults();
	cr_assert_eq(look(NULL), -ENOENT);
	mr_partition_deinit(&partition);
	end();
}

Test(recover, making_a_log_survives_a_crash_anywhere)
{
	uint8_t id[16] = {1};

	for (uint64_t seed = 0; seed < 100; seed++) {
		int r;

		io = mr_io_fake_new(seed);
		mr_io_fake_set_free(io, (seed % 40) * 4096);
		options = mr_test_rig_defaults();
		r = mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, id, 1 << 17, &found,
				  &err);
		mr_io_fake_crash(io, seed);
		mr_recovered_deinit(&found);
		mr_io_fake_set_free(io, 1 << 20);
		if (r == 0) {
			cr_assert_eq(mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, id,
						   1 << 17, &found, &err),
				     -EEXIST);
		} else {
			cr_assert_eq(mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, id,
						   1 << 17, &found, &err),
				     0, "%s", err.what);
			mr_recovered_deinit(&found);
		}
		cr_assert_eq(look(NULL), 0, "%s", err.what);
		done();
		end();
	}
}

Test(recover, keeps_all_that_was_flushed)
{
	begin();
	put_many(10);
	mr_test_rig_put(&rig, 7, 900);
	stop(3);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, 17);
	cr_assert_eq(found.start.group_number, 12);
	cr_assert_eq(found.leader_epoch, 1);
	cr_assert_eq(found.flushed_offset, 17);
	cr_assert_eq(partition.log_end, 17);
	done();
	end();
}

Test(recover, goes_over_several_segments)
{
	begin();
	put_many(100);
	cr_assert_gt(mr_log_files_count(rig.files), 3);
	stop(3);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, 100);
	for (size_t i = 0; i + 1 < found.segment_count; i++) {
		cr_assert_null(found.segments[i]->file);
		cr_assert_eq(found.segments[i]->end_offset, found.segments[i + 1]->base_offset);
		cr_assert_eq(found.segments[i]->end_position, found.segments[i + 1]->base_position);
	}
	cr_assert_not_null(found.start.active->file);
	done();
	end();
}

/* Recovered, appended to, and again: positions and chains go on. */
Test(recover, the_log_goes_on_where_it_was)
{
	begin();
	for (int i = 0; i < 8; i++) {
		put_many(9);
		stop((uint64_t)i);
		mr_test_rig_open(&rig, &options, io, NULL);
		cr_assert_eq(rig.partition.log_end, (uint64_t)(i + 1) * 9);
		cr_assert_eq(rig.leader_epoch, i + 2);
	}
	mr_test_rig_close(&rig);
	end();
}

/* The scan once could have stopped a header early: a segment filled to its last byte. */
Test(recover, keeps_a_group_that_ends_at_the_segments_end)
{
	uint32_t groups;

	begin();
	groups = (uint32_t)(options.segment_bytes / MR_BLOCK_BYTES) - 1;
	put_many((int)groups);
	cr_assert_eq(mr_log_files_count(rig.files), 1);
	stop(1);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, groups);
	cr_assert_eq(found.start.position, options.segment_bytes);
	done();
	mr_test_rig_open(&rig, &options, io, NULL);
	put_many(3);
	cr_assert_eq(mr_log_files_count(rig.files), 2);
	stop(2);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, groups + 3);
	cr_assert_eq(found.segment_count, 2);
	done();
	end();
}

/* ---- the checkpoint ------------------------------------------------------ */

static void put_of(int64_t id, int32_t sequence, int32_t records)
{
	struct mr_test_batch batch = {
		.producer_id = id, .sequence = sequence, .records = records, .value_bytes = 100};

	while (mr_test_rig_append(&rig, &batch) != MR_LOG_ROOM)
		mr_test_rig_settle(&rig);
}

/* I6: state lives in checkpoints; a full scan of the log gives the same. */
Test(recover, a_full_scan_gives_what_the_checkpoint_gives)
{
	struct mr_checkpoint_partition checkpoint;
	struct mr_partition scanned;
	uint64_t position;
	uint64_t checked;

	begin();
	for (int32_t i = 0; i < 60; i++)
		put_of(i % 7, i / 7 * 3, 3);
	mr_test_rig_settle(&rig);
	checkpoint_here(&checkpoint);
	for (int32_t i = 60; i < 90; i++)
		put_of(i % 7, i / 7 * 3, 3);
	mr_test_rig_settle(&rig);
	stop(1);
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	scanned = partition;
	position = found.start.position;
	checked = found.checked_bytes;
	cr_assert_eq(found.start.offset, 270);
	mr_recovered_deinit(&found);
	cr_assert_eq(look(&checkpoint), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.position, position);
	cr_assert_eq(found.start.offset, 270);
	cr_assert_lt(found.checked_bytes, checked, "it began at the checkpoint");
	cr_assert(mr_test_same_producers(&scanned, &partition));
	cr_assert(mr_test_same_producers(&partition, &scanned));
	cr_assert_eq(scanned.producer_count, 7);
	mr_partition_deinit(&scanned);
	free(checkpoint.producers);
	done();
	end();
}

/* At each group, at segment starts and ends: recovery begins there and finds the rest. */
Test(recover, begins_at_a_checkpoint_anywhere)
{
	struct mr_checkpoint_partition checkpoints[80];

	begin();
	for (int i = 0; i < 80; i++) {
		checkpoint_here(&checkpoints[i]);
		put_many(1);
	}
	stop(1);
	for (int i = 0; i < 80; i++) {
		cr_assert_eq(look(&checkpoints[i]), 0, "%s", err.what);
		cr_assert_not(found.corrupt, "%d: %s", i, found.damage.what);
		cr_assert_eq(found.start.offset, 80);
		cr_assert_eq(found.segments[0]->base_offset, 0);
		free(checkpoints[i].producers);
		done();
	}
	end();
}

Test(recover, producers_ahead_of_the_checkpoint_are_set_back)
{
	struct mr_checkpoint_partition checkpoint;
	const struct mr_producer_entry *entry;

	begin();
	put_of(1, 0, 3);
	put_of(2, 0, 1);
	mr_test_rig_settle(&rig);
	checkpoint_here(&checkpoint);
	free(checkpoint.producers);
	put_of(1, 3, 2); /* in the table already, and lost */
	put_of(3, 0, 1);
	checkpoint.producers = rig.partition.producers;
	checkpoint.producer_count = 0;
	checkpoint.producers = calloc(8, sizeof(*checkpoint.producers));
	for (uint32_t i = 0; i < rig.partition.producers_max; i++) {
		if (rig.partition.producers[i].producer_id >= 0)
			checkpoint.producers[checkpoint.producer_count++] =
				rig.partition.producers[i];
	}
	cr_assert_eq(checkpoint.producer_count, 3);
	stop(1);
	cr_assert_eq(look(&checkpoint), 0, "%s", err.what);
	entry = mr_partition_find_producer(&partition, 1);
	cr_assert_not_null(entry);
	cr_assert_eq(entry->last_sequence, 2);
	cr_assert_eq(entry->last_offset, 2);
	cr_assert_eq(entry->recent_count, 1);
	cr_assert_not_null(mr_partition_find_producer(&partition, 2));
	cr_assert_null(mr_partition_find_producer(&partition, 3));
	free(checkpoint.producers);
	done();
	end();
}

Test(recover, a_checkpoint_above_the_log_is_corruption)
{
	struct mr_checkpoint_partition checkpoint;

	begin();
	put_many(5);
	checkpoint_here(&checkpoint);
	stop(1);
	wipe(FIRST, 4 * 4096);
	wipe(FIRST, 5 * 4096);
	checkpoint.offset = 3;
	checkpoint.position = 4 * 4096;
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "nothing says that they had been there");
	cr_assert_eq(found.start.offset, 3);
	done();
	checkpoint.offset = 5;
	checkpoint.position = 6 * 4096;
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert_not(found.corrupt, "what is below is not read again");
	done();
	checkpoint.position = 10 * options.segment_bytes;
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.corrupt_offset, 3);
	cr_assert_eq(found.flushed_offset, 5);
	cr_assert_not_null(strstr(found.damage.what, "00000000000000000000.log"));
	free(checkpoint.producers);
	done();
	end();
}

/* ---- tails that a crash leaves ------------------------------------------- */

/*
 * Groups in flight: 'keep' says which of four complete, the rest are lost. All before stays,
 * nothing behind does.
 */
Test(recover, cuts_behind_the_first_group_that_is_missing)
{
	for (uint64_t seed = 0; seed < 100; seed++) {
		uint64_t flushed;

		begin();
		put_many(5);
		mr_io_fake_allow(io, 0);
		for (int i = 0; i < 4; i++) {
			put_of(-1, 0, 2);
			mr_test_rig_turn(&rig, true);
		}
		flushed = rig.flushed;
		cr_assert_eq(flushed, 5);
		mr_io_fake_allow(io, (uint32_t)(seed % 4));
		mr_test_rig_turn(&rig, false);
		flushed = rig.flushed;
		stop(seed);
		cr_assert_eq(look(NULL), 0, "%s", err.what);
		cr_assert_not(found.corrupt, "seed %d: %s", (int)seed, found.damage.what);
		cr_assert_geq(found.start.offset, flushed);
		cr_assert_leq(found.start.offset, 13);
		cr_assert_eq((found.start.offset - 5) % 2, 0, "whole groups");
		done();
		end();
	}
}

/*
 * I12, and what is cut is gone: the next group in its place must not bring an old one behind it
 * back.
 */
Test(recover, stale_groups_behind_the_cut_never_come_back)
{
	begin();
	put_many(3);
	mr_io_fake_allow(io, 0);
	for (int i = 0; i < 4; i++) {
		put_of(-1, 0, 1);
		mr_test_rig_turn(&rig, true);
	}
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&rig);
	stop(1);
	wipe(FIRST, 4 * 4096); /* the fourth was lost, the three behind it are whole */
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, 3);
	cr_assert_eq(found.cut_groups, 3);
	cr_assert_geq(found.cut_bytes, 3 * 4096);
	done();
	cr_assert_eq(look(NULL), 0);
	cr_assert_eq(found.cut_groups, 0, "zeroed");
	cr_assert_eq(found.cut_bytes, 0);
	done();
	mr_test_rig_open(&rig, &options, io, NULL);
	put_many(1);
	stop(1);
	cr_assert_eq(look(NULL), 0);
	cr_assert_eq(found.start.offset, 4);
	done();
	end();
}

/* Of the same segment, right in number, offset and checksum: but it continues what was cut. */
Test(recover, a_group_of_another_history_is_not_taken)
{
	uint8_t *stale;
	size_t count;

	begin();
	put_many(5);
	stop(1);
	stale = mr_io_fake_bytes(io, FIRST, &count);
	wipe(FIRST, 4 * 4096);
	wipe(FIRST, 5 * 4096);
	mr_test_rig_open(&rig, &options, io, NULL);
	rig.leader_epoch = 1;	       /* else the epoch tells already */
	mr_test_rig_put(&rig, 1, 200); /* another fourth */
	stop(2);
	scribble(FIRST, 5 * 4096, stale + 5 * 4096, 4096);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, 4);
	cr_assert_eq(found.start.group_number, 5);
	free(stale);
	done();
	end();
}

/* After a kill a name may stand in a cache only: no power cut takes what recovery kept. */
Test(recover, makes_the_names_durable_that_it_counts_on)
{
	static _Alignas(4096) uint8_t block[4096];
	struct mr_log_event chore;
	uint64_t end_offset;

	for (uint64_t seed = 0; seed < 20; seed++) {
		begin();
		put_many((int)(options.segment_bytes / MR_BLOCK_BYTES) - 1);
		cr_assert(mr_test_rig_spare(&rig, &err));
		put_of(-1, 0, 1);
		for (int i = 0; i < 10; i++)
			mr_test_rig_turn(&rig, true);
		cr_assert_eq(rig.chore_count, 1);
		chore = rig.chores[0]; /* it gets as far as the rename */
		mr_segment_encode_header(&chore.header, block);
		cr_assert_eq(mr_io_write(chore.segment->file, block, 4096, 0, &err), 0);
		cr_assert_eq(mr_io_sync(chore.segment->file, &err), 0);
		cr_assert_eq(mr_io_rename(io, RIG_DIRECTORY "/spare",
					  RIG_DIRECTORY "/00000000000000000031.log", &err),
			     0);
		mr_test_rig_close(&rig);
		cr_assert_eq(look(NULL), 0);
		end_offset = found.start.offset;
		cr_assert_eq(end_offset, 32);
		mr_io_fake_crash(io, seed);
		done();
		cr_assert_eq(look(NULL), 0, "%s", err.what);
		cr_assert_eq(found.start.offset, end_offset);
		done();
		end();
	}
}

Test(recover, garbage_where_the_next_group_would_be_is_cut)
{
	uint8_t garbage[512];

	memset(garbage, 0x5a, sizeof(garbage));
	begin();
	put_many(3);
	stop(1);
	scribble(FIRST, 4 * 4096, garbage, sizeof(garbage));
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, 3);
	cr_assert_eq(found.cut_bytes, 4096);
	done();
	cr_assert_eq(look(NULL), 0);
	cr_assert_eq(found.cut_bytes, 0);
	done();
	end();
}

/* Nothing in a spare was ever flushed: cut off between roll and name, it goes. */
Test(recover, a_roll_without_a_name_is_discarded)
{
	uint32_t groups;
	char paths[8][MR_IO_PATH_BYTES];

	begin();
	groups = (uint32_t)(options.segment_bytes / MR_BLOCK_BYTES) - 1;
	put_many((int)groups);
	cr_assert(mr_test_rig_spare(&rig, &err));
	put_of(-1, 0, 1);
	for (int i = 0; i < 3; i++)
		mr_test_rig_turn(&rig, true);
	cr_assert_eq(rig.chore_count, 1);
	cr_assert_eq(rig.flushed, groups, "it waits for the name");
	stop(1);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, groups);
	cr_assert_eq(mr_io_fake_paths(io, paths, 8), 1, "the spare is gone");
	done();
	end();
}

/*
 * The next segment is named while the last groups before it are still in flight, and those are
 * lost.
 */
Test(recover, a_segment_begun_behind_a_torn_end_is_removed)
{
	uint32_t groups;

	begin();
	groups = (uint32_t)(options.segment_bytes / MR_BLOCK_BYTES) - 1;
	put_many((int)groups - 2);
	cr_assert(mr_test_rig_spare(&rig, &err));
	mr_io_fake_allow(io, 0);
	for (int i = 0; i < 3; i++) {
		put_of(-1, 0, 1);
		mr_test_rig_turn(&rig, true);
	}
	cr_assert(mr_test_rig_chore(&rig, &err), "%s", err.what);
	cr_assert_eq(mr_log_files_count(rig.files), 2);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&rig);
	cr_assert_eq(rig.flushed, groups + 1);
	stop(1);
	wipe(FIRST, options.segment_bytes - 2 * 4096);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, groups - 2);
	cr_assert_eq(found.segment_count, 1);
	cr_assert_eq(found.cut_groups, 2);
	done();
	mr_test_rig_open(&rig, &options, io, NULL);
	put_many(5);
	cr_assert_eq(rig.flushed, groups + 3);
	stop(2);
	cr_assert_eq(look(NULL), 0);
	cr_assert_eq(found.start.offset, groups + 3);
	cr_assert_eq(found.segment_count, 2);
	done();
	end();
}

Test(recover, a_crash_in_recovery_changes_nothing)
{
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct mr_io *copy;
		struct mr_log_start once;

		begin();
		put_many(5);
		mr_io_fake_allow(io, 0);
		for (int i = 0; i < 4; i++) {
			put_of(-1, 0, 2);
			mr_test_rig_turn(&rig, true);
		}
		stop(seed);
		copy = mr_io_fake_clone(io, seed);
		cr_assert_eq(look(NULL), 0);
		once = found.start;
		mr_io_fake_crash(io, seed); /* what it did not sync is lost */
		done();
		cr_assert_eq(look(NULL), 0, "%s", err.what);
		cr_assert_not(found.corrupt);
		cr_assert_eq(found.start.offset, once.offset);
		cr_assert_eq(found.start.position, once.position);
		cr_assert_eq(found.start.previous_crc, once.previous_crc);
		done();
		end();
		io = copy;
		cr_assert_eq(look(NULL), 0);
		cr_assert_eq(found.start.offset, once.offset);
		done();
		end();
	}
}

/* ---- damage -------------------------------------------------------------- */

/*
 * I8: each byte of a flushed group, once it is provably so, is reported with file, byte and
 * offset.
 */
Test(recover, a_flipped_bit_below_flushed_is_corruption)
{
	for (uint64_t at = 3 * 4096; at < 4 * 4096; at += 61) {
		begin();
		put_many(12);
		stop(1);
		mr_io_fake_flip_bit(io, FIRST, at * 8 + at % 8);
		cr_assert_eq(look(NULL), 0);
		cr_assert(found.corrupt, "byte %" PRIu64, at);
		cr_assert_eq(found.corrupt_offset, 2);
		cr_assert_eq(found.corrupt_position, 3 * 4096);
		cr_assert_geq(found.flushed_offset, 3);
		cr_assert_eq(found.damage.code, -EBADMSG);
		cr_assert_not_null(strstr(found.damage.what, FIRST), "%s", found.damage.what);
		cr_assert_not_null(strstr(found.damage.what, "byte 12288"), "%s",
				   found.damage.what);
		cr_assert_not_null(strstr(found.damage.what, "offset 2"), "%s", found.damage.what);
		done();
		mr_io_fake_flip_bit(io, FIRST, at * 8 + at % 8);
		cr_assert_eq(look(NULL), 0);
		cr_assert_not(found.corrupt, "nothing was changed on the disk");
		cr_assert_eq(found.start.offset, 12);
		done();
		end();
	}
}

Test(recover, a_stale_block_below_flushed_is_corruption)
{
	uint8_t *bytes;
	size_t count;

	begin();
	put_many(12);
	stop(1);
	bytes = mr_io_fake_bytes(io, FIRST, &count);
	scribble(FIRST, 5 * 4096, bytes + 4 * 4096,
		 4096); /* a misdirected write: a whole group, elsewhere */
	cr_assert_eq(look(NULL), 0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.corrupt_offset, 4);
	cr_assert_not_null(strstr(found.damage.what, "number"), "%s", found.damage.what);
	free(bytes);
	done();
	end();
}

Test(recover, a_missing_segment_in_the_middle_is_corruption)
{
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	begin();
	put_many(100);
	missing = mr_log_files_at(rig.files, 1)->base_offset;
	mr_segment_path(mr_log_files_at(rig.files, 1), path);
	stop(1);
	mr_io_fake_delete(io, path);
	cr_assert_eq(look(NULL), 0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.corrupt_offset, missing);
	cr_assert_eq(found.segment_count, 1);
	cr_assert_not_null(strstr(found.damage.what, "missing"), "%s", found.damage.what);
	cr_assert_gt(found.flushed_offset, missing);
	done();
	end();
}

Test(recover, the_last_segment_missing_below_the_checkpoint_is_corruption)
{
	struct mr_checkpoint_partition checkpoint;
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	begin();
	put_many(100);
	checkpoint_here(&checkpoint);
	missing = mr_log_files_at(rig.files, 3)->base_offset;
	mr_segment_path(mr_log_files_at(rig.files, 3), path);
	stop(1);
	mr_io_fake_delete(io, path);
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.corrupt_offset, missing);
	cr_assert_eq(found.flushed_offset, 100);
	free(checkpoint.producers);
	done();
	end();
}

Test(recover, a_damaged_header_is_corruption_wherever_it_is)
{
	for (size_t i = 0; i < 4; i++) {
		char path[MR_IO_PATH_BYTES];
		uint64_t base;

		begin();
		put_many(100);
		cr_assert_eq(mr_log_files_count(rig.files), 4);
		base = mr_log_files_at(rig.files, i)->base_offset;
		mr_segment_path(mr_log_files_at(rig.files, i), path);
		stop(1);
		mr_io_fake_flip_bit(io, path, 8 * 60);
		cr_assert_eq(look(NULL), 0);
		cr_assert(found.corrupt);
		cr_assert_eq(found.corrupt_offset, base);
		cr_assert_eq(found.segment_count, i);
		cr_assert_not_null(strstr(found.damage.what, path), "%s", found.damage.what);
		done();
		end();
	}
}

Test(recover, a_truncated_file_is_corruption_below_flushed)
{
	struct mr_checkpoint_partition checkpoint;

	begin();
	put_many(12);
	checkpoint_here(&checkpoint);
	stop(1);
	mr_io_fake_cut(io, FIRST, 5 * 4096 + 100);
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert_not(found.corrupt, "the checkpoint's groups are not read, the rest is empty");
	done();
	end();
	free(checkpoint.producers);
}

/* Below the checkpoint only what has no index is read, and what is found there is told. */
Test(recover, damage_in_an_old_segment_without_an_index_is_found)
{
	struct mr_checkpoint_partition checkpoint;

	begin();
	put_many(100);
	checkpoint_here(&checkpoint);
	stop(1);
	mr_io_fake_flip_bit(io, FIRST, (6 * 4096 + 70) * 8);
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert_not(found.corrupt, "its index is there");
	done();
	mr_io_fake_delete(io, RIG_DIRECTORY "/00000000000000000000.index");
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.corrupt_offset, 5);
	cr_assert_eq(found.segment_count, 1);
	done();
	mr_io_fake_flip_bit(io, FIRST, (6 * 4096 + 70) * 8);
	cr_assert_eq(look(&checkpoint), 0);
	cr_assert_not(found.corrupt);
	cr_assert_eq(atomic_load(&found.segments[0]->index.count), 1, "rebuilt");
	free(checkpoint.producers);
	done();
	end();
}

Test(recover, of_another_partition_is_refused)
{
	struct mr_recover_options recover = {.window_bytes = 1 << 20};

	begin();
	put_many(3);
	stop(1);
	cr_assert_eq(mr_partition_init(&partition, 4, 1, &err), 0);
	cr_assert_eq(mr_recover(io, RIG_DIRECTORY, mr_test_log_id, 0, NULL, &recover, &partition,
				&found, &err),
		     0);
	cr_assert(found.corrupt);
	cr_assert_eq(found.segment_count, 0);
	done();
	end();
}

/* ---- locks and looking --------------------------------------------------- */

Test(recover, waits_for_the_locks)
{
	begin();
	put_many(3);
	cr_assert_eq(look(NULL), -EWOULDBLOCK, "the engine is alive");
	mr_partition_deinit(&partition);
	mr_test_rig_close(&rig);
	end();
}

Test(recover, looking_only_changes_nothing_and_needs_no_lock)
{
	struct mr_recover_options recover = {.window_bytes = 1 << 20, .read_only = true};
	uint8_t *before;
	uint8_t *after;
	size_t count;

	begin();
	put_many(3);
	mr_io_fake_allow(io, 0);
	put_of(-1, 0, 1);
	mr_test_rig_turn(&rig, true);
	before = mr_io_fake_bytes(io, FIRST, &count);
	cr_assert_eq(mr_partition_init(&partition, 4, 1, &err), 0);
	cr_assert_eq(mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, NULL, &recover, &partition,
				&found, &err),
		     0, "%s", err.what);
	cr_assert_eq(found.start.offset, 3);
	after = mr_io_fake_bytes(io, FIRST, &count);
	cr_assert_eq(memcmp(before, after, count), 0);
	free(before);
	free(after);
	done();
	mr_test_rig_close(&rig);
	end();
}

static void count_progress(uint64_t bytes, uint64_t total, void *arg)
{
	cr_assert_leq(bytes, total);
	++*(int *)arg;
}

Test(recover, tells_its_progress)
{
	int called = 0;
	struct mr_recover_options recover = {.progress = count_progress, .arg = &called};

	begin();
	mr_test_rig_close(&rig);
	end();
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	options.tail_bytes = 16u << 20;
	options.log.group_bytes = 2u << 20;
	options.log.batch_bytes_max = 2u << 20;
	options.segment_bytes = 64u << 20;
	mr_test_rig_open(&rig, &options, io, NULL);
	for (int i = 0; i < 40; i++)
		mr_test_rig_put(&rig, 1, 1u << 20);
	stop(1);
	cr_assert_eq(mr_partition_init(&partition, 4, 1, &err), 0);
	cr_assert_eq(mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, NULL, &recover, &partition,
				&found, &err),
		     0, "%s", err.what);
	cr_assert_eq(called, 2);
	cr_assert_eq(found.start.offset, 40);
	done();
	end();
}

/* ---- accepting a loss ---------------------------------------------------- */

static uint64_t accept(void)
{
	uint64_t lost;

	cr_assert(found.corrupt);
	cr_assert_eq(mr_recover_accept_loss(io, RIG_DIRECTORY, &found, &lost, &err), 0, "%s",
		     err.what);
	done();
	return lost;
}

Test(recover, an_accepted_loss_cuts_at_the_damage)
{
	begin();
	put_many(100);
	stop(1);
	mr_io_fake_flip_bit(io, FIRST, (3 * 4096 + 70) * 8);
	cr_assert_eq(look(NULL), 0);
	cr_assert_geq(accept(), 60);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, 2);
	cr_assert_eq(found.segment_count, 1);
	cr_assert_eq(found.cut_bytes, 0);
	done();
	mr_test_rig_open(&rig, &options, io, NULL);
	put_many(100);
	stop(2);
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, 102);
	done();
	end();
}

Test(recover, an_accepted_loss_of_segments_ends_at_the_one_before)
{
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	begin();
	put_many(100);
	missing = mr_log_files_at(rig.files, 2)->base_offset;
	mr_segment_path(mr_log_files_at(rig.files, 2), path);
	stop(1);
	mr_io_fake_flip_bit(io, path, 77);
	cr_assert_eq(look(NULL), 0);
	accept();
	cr_assert_eq(look(NULL), 0);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, missing);
	cr_assert_eq(found.segment_count, 2);
	done();
	end();
}

Test(recover, an_accepted_loss_of_everything_gives_no_offset_twice)
{
	begin();
	put_many(30);
	stop(1);
	mr_io_fake_flip_bit(io, FIRST, 77);
	cr_assert_eq(look(NULL), 0);
	cr_assert_eq(found.segment_count, 0);
	cr_assert_eq(found.corrupt_offset, 0);
	accept();
	cr_assert_eq(look(NULL), 0, "%s", err.what);
	cr_assert_not(found.corrupt);
	cr_assert_eq(found.start.offset, 0);
	done();
	end();
}
