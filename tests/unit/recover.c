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

static struct mr_test_recovery t;

static void checkpoint_here(struct mr_checkpoint_partition *checkpoint)
{
	mr_test_rig_checkpoint(&t.rig, checkpoint);
}

static void wipe(const char *path, uint64_t at)
{
	static const uint8_t zeros[4096];

	mr_test_scribble(t.io, path, at, zeros, sizeof(zeros));
}

/* ---- a log that is well -------------------------------------------------- */

Test(recover, an_empty_log)
{
	mr_test_begin(&t);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.segment_count, 1);
	cr_assert_eq(t.found.start.offset, 0);
	cr_assert_eq(t.found.start.position, MR_BLOCK_BYTES);
	cr_assert_eq(t.found.start.group_number, 1);
	cr_assert_eq(t.found.start.previous_crc, 0);
	cr_assert_eq(t.found.start.active, t.found.segments[0]);
	cr_assert_eq(t.found.log_start, 0);
	cr_assert_eq(t.found.cut_bytes, 0);
	cr_assert_eq(memcmp(t.found.start.topic_id, mr_test_topic_id, 16), 0);
	cr_assert_eq(memcmp(t.found.start.log_id, mr_test_log_id, 16), 0);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, no_segment_at_all_is_told_apart)
{
	t.io = mr_io_fake_new(1);
	t.options = mr_test_rig_defaults();
	cr_assert_eq(mr_test_look(&t, NULL), -ENOENT);
	mr_partition_deinit(&t.partition);
	mr_test_end(&t);
}

Test(recover, making_a_log_survives_a_crash_anywhere)
{
	uint8_t id[16] = {1};

	for (uint64_t seed = 0; seed < 100; seed++) {
		int r;

		t.io = mr_io_fake_new(seed);
		mr_io_fake_set_free(t.io, (seed % 40) * 4096);
		t.options = mr_test_rig_defaults();
		r = mr_log_create(t.io, RIG_DIRECTORY, mr_test_topic_id, 0, id, 1 << 17, &t.found,
				  &t.err);
		mr_io_fake_crash(t.io, seed);
		mr_recovered_deinit(&t.found);
		mr_io_fake_set_free(t.io, 1 << 20);
		if (r == 0) {
			cr_assert_eq(mr_log_create(t.io, RIG_DIRECTORY, mr_test_topic_id, 0, id,
						   1 << 17, &t.found, &t.err),
				     -EEXIST);
		} else {
			cr_assert_eq(mr_log_create(t.io, RIG_DIRECTORY, mr_test_topic_id, 0, id,
						   1 << 17, &t.found, &t.err),
				     0, "%s", t.err.what);
			mr_recovered_deinit(&t.found);
		}
		cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
		mr_test_done(&t);
		mr_test_end(&t);
	}
}

Test(recover, keeps_all_that_was_flushed)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 10);
	mr_test_rig_put(&t.rig, 7, 900);
	mr_test_stop(&t, 3);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, 17);
	cr_assert_eq(t.found.start.group_number, 12);
	cr_assert_eq(t.found.leader_epoch, 1);
	cr_assert_eq(t.found.flushed_offset, 17);
	cr_assert_eq(t.partition.log_end, 17);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, goes_over_several_segments)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	cr_assert_gt(mr_log_files_count(t.rig.files), 3);
	mr_test_stop(&t, 3);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, 100);
	for (size_t i = 0; i + 1 < t.found.segment_count; i++) {
		cr_assert_null(t.found.segments[i]->file);
		cr_assert_eq(t.found.segments[i]->end_offset, t.found.segments[i + 1]->base_offset);
		cr_assert_eq(t.found.segments[i]->end_position,
			     t.found.segments[i + 1]->base_position);
	}
	cr_assert_not_null(t.found.start.active->file);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* Recovered, appended to, and again: positions and chains go on. */
Test(recover, the_log_goes_on_where_it_was)
{
	mr_test_begin(&t);
	for (int i = 0; i < 8; i++) {
		mr_test_put_many(&t.rig, 9);
		mr_test_stop(&t, (uint64_t)i);
		mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
		cr_assert_eq(t.rig.partition.log_end, (uint64_t)(i + 1) * 9);
		cr_assert_eq(t.rig.leader_epoch, i + 2);
	}
	mr_test_rig_close(&t.rig);
	mr_test_end(&t);
}

/* The scan once could have stopped a header early: a segment filled to its last byte. */
Test(recover, keeps_a_group_that_ends_at_the_segments_end)
{
	uint32_t groups;

	mr_test_begin(&t);
	groups = (uint32_t)(t.options.segment_bytes / MR_BLOCK_BYTES) - 1;
	mr_test_put_many(&t.rig, (int)groups);
	cr_assert_eq(mr_log_files_count(t.rig.files), 1);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, groups);
	cr_assert_eq(t.found.start.position, t.options.segment_bytes);
	mr_test_done(&t);
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	mr_test_put_many(&t.rig, 3);
	cr_assert_eq(mr_log_files_count(t.rig.files), 2);
	mr_test_stop(&t, 2);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, groups + 3);
	cr_assert_eq(t.found.segment_count, 2);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* ---- the checkpoint ------------------------------------------------------ */

static void put_of(int64_t id, int32_t sequence, int32_t records)
{
	struct mr_test_batch batch = {
		.producer_id = id, .sequence = sequence, .records = records, .value_bytes = 100};

	while (mr_test_rig_append(&t.rig, &batch) != MR_LOG_ROOM)
		mr_test_rig_settle(&t.rig);
}

/* I6: state lives in checkpoints; a full scan of the log gives the same. */
Test(recover, a_full_scan_gives_what_the_checkpoint_gives)
{
	struct mr_checkpoint_partition checkpoint;
	struct mr_partition scanned;
	uint64_t position;
	uint64_t checked;

	mr_test_begin(&t);
	for (int32_t i = 0; i < 60; i++)
		put_of(i % 7, i / 7 * 3, 3);
	mr_test_rig_settle(&t.rig);
	checkpoint_here(&checkpoint);
	for (int32_t i = 60; i < 90; i++)
		put_of(i % 7, i / 7 * 3, 3);
	mr_test_rig_settle(&t.rig);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	scanned = t.partition;
	position = t.found.start.position;
	checked = t.found.checked_bytes;
	cr_assert_eq(t.found.start.offset, 270);
	mr_recovered_deinit(&t.found);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.position, position);
	cr_assert_eq(t.found.start.offset, 270);
	cr_assert_lt(t.found.checked_bytes, checked, "it began at the checkpoint");
	cr_assert(mr_test_same_producers(&scanned, &t.partition));
	cr_assert(mr_test_same_producers(&t.partition, &scanned));
	cr_assert_eq(scanned.producer_count, 7);
	mr_partition_deinit(&scanned);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* At each group, at segment starts and ends: recovery begins there and finds the rest. */
Test(recover, begins_at_a_checkpoint_anywhere)
{
	struct mr_checkpoint_partition checkpoints[80];

	mr_test_begin(&t);
	for (int i = 0; i < 80; i++) {
		checkpoint_here(&checkpoints[i]);
		mr_test_put_many(&t.rig, 1);
	}
	mr_test_stop(&t, 1);
	for (int i = 0; i < 80; i++) {
		cr_assert_eq(mr_test_look(&t, &checkpoints[i]), 0, "%s", t.err.what);
		cr_assert_not(t.found.corrupt, "%d: %s", i, t.found.damage.what);
		cr_assert_eq(t.found.start.offset, 80);
		cr_assert_eq(t.found.segments[0]->base_offset, 0);
		mr_checkpoint_partition_deinit(&checkpoints[i]);
		mr_test_done(&t);
	}
	mr_test_end(&t);
}

Test(recover, producers_ahead_of_the_checkpoint_are_set_back)
{
	struct mr_checkpoint_partition checkpoint;
	const struct mr_producer_entry *entry;

	mr_test_begin(&t);
	put_of(1, 0, 3);
	put_of(2, 0, 1);
	mr_test_rig_settle(&t.rig);
	checkpoint_here(&checkpoint);
	mr_checkpoint_partition_deinit(&checkpoint);
	put_of(1, 3, 2); /* in the table already, and lost */
	put_of(3, 0, 1);
	checkpoint.producers = t.rig.partition.producers;
	checkpoint.producer_count = 0;
	checkpoint.producers = calloc(8, sizeof(*checkpoint.producers));
	for (uint32_t i = 0; i < t.rig.partition.producers_max; i++) {
		if (t.rig.partition.producers[i].producer_id >= 0)
			checkpoint.producers[checkpoint.producer_count++] =
				t.rig.partition.producers[i];
	}
	cr_assert_eq(checkpoint.producer_count, 3);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0, "%s", t.err.what);
	entry = mr_partition_find_producer(&t.partition, 1);
	cr_assert_not_null(entry);
	cr_assert_eq(entry->last_sequence, 2);
	cr_assert_eq(entry->last_offset, 2);
	cr_assert_eq(entry->recent_count, 1);
	cr_assert_not_null(mr_partition_find_producer(&t.partition, 2));
	cr_assert_null(mr_partition_find_producer(&t.partition, 3));
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, a_checkpoint_above_the_log_is_corruption)
{
	struct mr_checkpoint_partition checkpoint;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 5);
	checkpoint_here(&checkpoint);
	mr_test_stop(&t, 1);
	wipe(FIRST, 4 * 4096);
	wipe(FIRST, 5 * 4096);
	checkpoint.offset = 3;
	checkpoint.position = 4 * 4096;
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "nothing says that they had been there");
	cr_assert_eq(t.found.start.offset, 3);
	mr_test_done(&t);
	checkpoint.offset = 5;
	checkpoint.position = 6 * 4096;
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert_not(t.found.corrupt, "what is below is not read again");
	mr_test_done(&t);
	checkpoint.position = 10 * t.options.segment_bytes;
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.corrupt_offset, 3);
	cr_assert_eq(t.found.flushed_offset, 5);
	cr_assert_not_null(strstr(t.found.damage.what, "00000000000000000000.log"));
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_test_done(&t);
	mr_test_end(&t);
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

		mr_test_begin(&t);
		mr_test_put_many(&t.rig, 5);
		mr_io_fake_allow(t.io, 0);
		for (int i = 0; i < 4; i++) {
			put_of(-1, 0, 2);
			mr_test_rig_turn(&t.rig, true);
		}
		flushed = t.rig.flushed;
		cr_assert_eq(flushed, 5);
		mr_io_fake_allow(t.io, (uint32_t)(seed % 4));
		mr_test_rig_turn(&t.rig, false);
		flushed = t.rig.flushed;
		mr_test_stop(&t, seed);
		cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
		cr_assert_not(t.found.corrupt, "seed %d: %s", (int)seed, t.found.damage.what);
		cr_assert_geq(t.found.start.offset, flushed);
		cr_assert_leq(t.found.start.offset, 13);
		cr_assert_eq((t.found.start.offset - 5) % 2, 0, "whole groups");
		mr_test_done(&t);
		mr_test_end(&t);
	}
}

/*
 * I12, and what is cut is gone: the next group in its place must not bring an old one behind it
 * back.
 */
Test(recover, stale_groups_behind_the_cut_never_come_back)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	mr_io_fake_allow(t.io, 0);
	for (int i = 0; i < 4; i++) {
		put_of(-1, 0, 1);
		mr_test_rig_turn(&t.rig, true);
	}
	mr_io_fake_allow(t.io, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&t.rig);
	mr_test_stop(&t, 1);
	wipe(FIRST, 4 * 4096); /* the fourth was lost, the three behind it are whole */
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, 3);
	cr_assert_eq(t.found.cut_groups, 3);
	cr_assert_geq(t.found.cut_bytes, 3 * 4096);
	mr_test_done(&t);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_eq(t.found.cut_groups, 0, "zeroed");
	cr_assert_eq(t.found.cut_bytes, 0);
	mr_test_done(&t);
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	mr_test_put_many(&t.rig, 1);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_eq(t.found.start.offset, 4);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* Of the same segment, right in number, offset and checksum: but it continues what was cut. */
Test(recover, a_group_of_another_history_is_not_taken)
{
	uint8_t *stale;
	size_t count;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 5);
	mr_test_stop(&t, 1);
	stale = mr_io_fake_bytes(t.io, FIRST, &count);
	wipe(FIRST, 4 * 4096);
	wipe(FIRST, 5 * 4096);
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	t.rig.leader_epoch = 1;		 /* else the epoch tells already */
	mr_test_rig_put(&t.rig, 1, 200); /* another fourth */
	mr_test_stop(&t, 2);
	mr_test_scribble(t.io, FIRST, 5 * 4096, stale + 5 * 4096, 4096);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, 4);
	cr_assert_eq(t.found.start.group_number, 5);
	free(stale);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* After a kill a name may stand in a cache only: no power cut takes what recovery kept. */
Test(recover, makes_the_names_durable_that_it_counts_on)
{
	static _Alignas(4096) uint8_t block[4096];
	struct mr_log_event chore;
	uint64_t end_offset;

	for (uint64_t seed = 0; seed < 20; seed++) {
		mr_test_begin(&t);
		mr_test_put_many(&t.rig, (int)(t.options.segment_bytes / MR_BLOCK_BYTES) - 1);
		cr_assert(mr_test_rig_spare(&t.rig, &t.err));
		put_of(-1, 0, 1);
		for (int i = 0; i < 10; i++)
			mr_test_rig_turn(&t.rig, true);
		cr_assert_eq(t.rig.chore_count, 1);
		chore = t.rig.chores[0]; /* it gets as far as the rename */
		mr_segment_encode_header(&chore.header, block);
		cr_assert_eq(mr_io_write(chore.segment->file, block, 4096, 0, &t.err), 0);
		cr_assert_eq(mr_io_sync(chore.segment->file, &t.err), 0);
		cr_assert_eq(mr_io_rename(t.io, RIG_DIRECTORY "/spare",
					  RIG_DIRECTORY "/00000000000000000031.log", &t.err),
			     0);
		mr_test_rig_close(&t.rig);
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		end_offset = t.found.start.offset;
		cr_assert_eq(end_offset, 32);
		mr_io_fake_crash(t.io, seed);
		mr_test_done(&t);
		cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
		cr_assert_eq(t.found.start.offset, end_offset);
		mr_test_done(&t);
		mr_test_end(&t);
	}
}

Test(recover, garbage_where_the_next_group_would_be_is_cut)
{
	uint8_t garbage[512];

	memset(garbage, 0x5a, sizeof(garbage));
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	mr_test_stop(&t, 1);
	mr_test_scribble(t.io, FIRST, 4 * 4096, garbage, sizeof(garbage));
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, 3);
	cr_assert_eq(t.found.cut_bytes, 4096);
	mr_test_done(&t);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_eq(t.found.cut_bytes, 0);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* Nothing in a spare was ever flushed: cut off between roll and name, it goes. */
Test(recover, a_roll_without_a_name_is_discarded)
{
	uint32_t groups;
	char paths[8][MR_IO_PATH_BYTES];

	mr_test_begin(&t);
	groups = (uint32_t)(t.options.segment_bytes / MR_BLOCK_BYTES) - 1;
	mr_test_put_many(&t.rig, (int)groups);
	cr_assert(mr_test_rig_spare(&t.rig, &t.err));
	put_of(-1, 0, 1);
	for (int i = 0; i < 3; i++)
		mr_test_rig_turn(&t.rig, true);
	cr_assert_eq(t.rig.chore_count, 1);
	cr_assert_eq(t.rig.flushed, groups, "it waits for the name");
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, groups);
	cr_assert_eq(mr_io_fake_paths(t.io, paths, 8), 1, "the spare is gone");
	mr_test_done(&t);
	mr_test_end(&t);
}

/*
 * The next segment is named while the last groups before it are still in flight, and those are
 * lost.
 */
Test(recover, a_segment_begun_behind_a_torn_end_is_removed)
{
	uint32_t groups;

	mr_test_begin(&t);
	groups = (uint32_t)(t.options.segment_bytes / MR_BLOCK_BYTES) - 1;
	mr_test_put_many(&t.rig, (int)groups - 2);
	cr_assert(mr_test_rig_spare(&t.rig, &t.err));
	mr_io_fake_allow(t.io, 0);
	for (int i = 0; i < 3; i++) {
		put_of(-1, 0, 1);
		mr_test_rig_turn(&t.rig, true);
	}
	cr_assert(mr_test_rig_chore(&t.rig, &t.err), "%s", t.err.what);
	cr_assert_eq(mr_log_files_count(t.rig.files), 2);
	mr_io_fake_allow(t.io, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&t.rig);
	cr_assert_eq(t.rig.flushed, groups + 1);
	mr_test_stop(&t, 1);
	wipe(FIRST, t.options.segment_bytes - 2 * 4096);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, groups - 2);
	cr_assert_eq(t.found.segment_count, 1);
	cr_assert_eq(t.found.cut_groups, 2);
	mr_test_done(&t);
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	mr_test_put_many(&t.rig, 5);
	cr_assert_eq(t.rig.flushed, groups + 3);
	mr_test_stop(&t, 2);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_eq(t.found.start.offset, groups + 3);
	cr_assert_eq(t.found.segment_count, 2);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, a_crash_in_recovery_changes_nothing)
{
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct mr_io *copy;
		struct mr_log_start once;

		mr_test_begin(&t);
		mr_test_put_many(&t.rig, 5);
		mr_io_fake_allow(t.io, 0);
		for (int i = 0; i < 4; i++) {
			put_of(-1, 0, 2);
			mr_test_rig_turn(&t.rig, true);
		}
		mr_test_stop(&t, seed);
		copy = mr_io_fake_clone(t.io, seed);
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		once = t.found.start;
		mr_io_fake_crash(t.io, seed); /* what it did not sync is lost */
		mr_test_done(&t);
		cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
		cr_assert_not(t.found.corrupt);
		cr_assert_eq(t.found.start.offset, once.offset);
		cr_assert_eq(t.found.start.position, once.position);
		cr_assert_eq(t.found.start.previous_crc, once.previous_crc);
		mr_test_done(&t);
		mr_test_end(&t);
		t.io = copy;
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		cr_assert_eq(t.found.start.offset, once.offset);
		mr_test_done(&t);
		mr_test_end(&t);
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
		mr_test_begin(&t);
		mr_test_put_many(&t.rig, 12);
		mr_test_stop(&t, 1);
		mr_io_fake_flip_bit(t.io, FIRST, at * 8 + at % 8);
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		cr_assert(t.found.corrupt, "byte %" PRIu64, at);
		cr_assert_eq(t.found.corrupt_offset, 2);
		cr_assert_eq(t.found.corrupt_position, 3 * 4096);
		cr_assert_geq(t.found.flushed_offset, 3);
		cr_assert_eq(t.found.damage.code, -EBADMSG);
		cr_assert_not_null(strstr(t.found.damage.what, FIRST), "%s", t.found.damage.what);
		cr_assert_not_null(strstr(t.found.damage.what, "byte 12288"), "%s",
				   t.found.damage.what);
		cr_assert_not_null(strstr(t.found.damage.what, "offset 2"), "%s",
				   t.found.damage.what);
		mr_test_done(&t);
		mr_io_fake_flip_bit(t.io, FIRST, at * 8 + at % 8);
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		cr_assert_not(t.found.corrupt, "nothing was changed on the disk");
		cr_assert_eq(t.found.start.offset, 12);
		mr_test_done(&t);
		mr_test_end(&t);
	}
}

Test(recover, a_stale_block_below_flushed_is_corruption)
{
	uint8_t *bytes;
	size_t count;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 12);
	mr_test_stop(&t, 1);
	bytes = mr_io_fake_bytes(t.io, FIRST, &count);
	mr_test_scribble(t.io, FIRST, 5 * 4096, bytes + 4 * 4096,
			 4096); /* a misdirected write: a whole group, elsewhere */
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.corrupt_offset, 4);
	cr_assert_not_null(strstr(t.found.damage.what, "number"), "%s", t.found.damage.what);
	free(bytes);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, a_missing_segment_in_the_middle_is_corruption)
{
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	missing = mr_log_files_at(t.rig.files, 1)->base_offset;
	mr_segment_path(mr_log_files_at(t.rig.files, 1), path);
	mr_test_stop(&t, 1);
	mr_io_fake_delete(t.io, path);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.corrupt_offset, missing);
	cr_assert_eq(t.found.segment_count, 1);
	cr_assert_not_null(strstr(t.found.damage.what, "missing"), "%s", t.found.damage.what);
	cr_assert_gt(t.found.flushed_offset, missing);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, the_last_segment_missing_below_the_checkpoint_is_corruption)
{
	struct mr_checkpoint_partition checkpoint;
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	checkpoint_here(&checkpoint);
	missing = mr_log_files_at(t.rig.files, 3)->base_offset;
	mr_segment_path(mr_log_files_at(t.rig.files, 3), path);
	mr_test_stop(&t, 1);
	mr_io_fake_delete(t.io, path);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.corrupt_offset, missing);
	cr_assert_eq(t.found.flushed_offset, 100);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, a_damaged_header_is_corruption_wherever_it_is)
{
	for (size_t i = 0; i < 4; i++) {
		char path[MR_IO_PATH_BYTES];
		uint64_t base;

		mr_test_begin(&t);
		mr_test_put_many(&t.rig, 100);
		cr_assert_eq(mr_log_files_count(t.rig.files), 4);
		base = mr_log_files_at(t.rig.files, i)->base_offset;
		mr_segment_path(mr_log_files_at(t.rig.files, i), path);
		mr_test_stop(&t, 1);
		mr_io_fake_flip_bit(t.io, path, 8 * 60);
		cr_assert_eq(mr_test_look(&t, NULL), 0);
		cr_assert(t.found.corrupt);
		cr_assert_eq(t.found.corrupt_offset, base);
		cr_assert_eq(t.found.segment_count, i);
		cr_assert_not_null(strstr(t.found.damage.what, path), "%s", t.found.damage.what);
		mr_test_done(&t);
		mr_test_end(&t);
	}
}

Test(recover, a_truncated_file_is_corruption_below_flushed)
{
	struct mr_checkpoint_partition checkpoint;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 12);
	checkpoint_here(&checkpoint);
	mr_test_stop(&t, 1);
	mr_io_fake_cut(t.io, FIRST, 5 * 4096 + 100);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert_not(t.found.corrupt, "the checkpoint's groups are not read, the rest is empty");
	mr_test_done(&t);
	mr_test_end(&t);
	mr_checkpoint_partition_deinit(&checkpoint);
}

/* Below the checkpoint only what has no index is read, and what is found there is told. */
Test(recover, damage_in_an_old_segment_without_an_index_is_found)
{
	struct mr_checkpoint_partition checkpoint;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	checkpoint_here(&checkpoint);
	mr_test_stop(&t, 1);
	mr_io_fake_flip_bit(t.io, FIRST, (6 * 4096 + 70) * 8);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert_not(t.found.corrupt, "its index is there");
	mr_test_done(&t);
	mr_io_fake_delete(t.io, RIG_DIRECTORY "/00000000000000000000.index");
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.corrupt_offset, 5);
	cr_assert_eq(t.found.segment_count, 1);
	mr_test_done(&t);
	mr_io_fake_flip_bit(t.io, FIRST, (6 * 4096 + 70) * 8);
	cr_assert_eq(mr_test_look(&t, &checkpoint), 0);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(atomic_load(&t.found.segments[0]->index.count), 1, "rebuilt");
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, of_another_partition_is_refused)
{
	struct mr_recover_options recover = {.window_bytes = 1 << 20};

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_partition_init(&t.partition, 4, 1, &t.err), 0);
	cr_assert_eq(mr_recover(t.io, RIG_DIRECTORY, mr_test_log_id, 0, NULL, &recover,
				&t.partition, &t.found, &t.err),
		     0);
	cr_assert(t.found.corrupt);
	cr_assert_eq(t.found.segment_count, 0);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* ---- locks and looking --------------------------------------------------- */

Test(recover, waits_for_the_locks)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	cr_assert_eq(mr_test_look(&t, NULL), -EWOULDBLOCK, "the engine is alive");
	mr_partition_deinit(&t.partition);
	mr_test_rig_close(&t.rig);
	mr_test_end(&t);
}

Test(recover, looking_only_changes_nothing_and_needs_no_lock)
{
	struct mr_recover_options recover = {.window_bytes = 1 << 20, .read_only = true};
	uint8_t *before;
	uint8_t *after;
	size_t count;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	mr_io_fake_allow(t.io, 0);
	put_of(-1, 0, 1);
	mr_test_rig_turn(&t.rig, true);
	before = mr_io_fake_bytes(t.io, FIRST, &count);
	cr_assert_eq(mr_partition_init(&t.partition, 4, 1, &t.err), 0);
	cr_assert_eq(mr_recover(t.io, RIG_DIRECTORY, mr_test_topic_id, 0, NULL, &recover,
				&t.partition, &t.found, &t.err),
		     0, "%s", t.err.what);
	cr_assert_eq(t.found.start.offset, 3);
	after = mr_io_fake_bytes(t.io, FIRST, &count);
	cr_assert_eq(memcmp(before, after, count), 0);
	free(before);
	free(after);
	mr_test_done(&t);
	mr_test_rig_close(&t.rig);
	mr_test_end(&t);
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

	mr_test_begin(&t);
	mr_test_rig_close(&t.rig);
	mr_test_end(&t);
	t.io = mr_io_fake_new(1);
	mr_io_fake_allow(t.io, MR_IO_FAKE_ALL);
	t.options = mr_test_rig_defaults();
	t.options.tail_bytes = 16u << 20;
	t.options.log.group_bytes = 2u << 20;
	t.options.log.batch_bytes_max = 2u << 20;
	t.options.segment_bytes = 64u << 20;
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	for (int i = 0; i < 40; i++)
		mr_test_rig_put(&t.rig, 1, 1u << 20);
	mr_test_stop(&t, 1);
	cr_assert_eq(mr_partition_init(&t.partition, 4, 1, &t.err), 0);
	cr_assert_eq(mr_recover(t.io, RIG_DIRECTORY, mr_test_topic_id, 0, NULL, &recover,
				&t.partition, &t.found, &t.err),
		     0, "%s", t.err.what);
	cr_assert_eq(called, 2);
	cr_assert_eq(t.found.start.offset, 40);
	mr_test_done(&t);
	mr_test_end(&t);
}

/* ---- accepting a loss ---------------------------------------------------- */

static uint64_t accept(void)
{
	uint64_t lost;

	cr_assert(t.found.corrupt);
	cr_assert_eq(mr_recover_accept_loss(t.io, RIG_DIRECTORY, &t.found, &lost, &t.err), 0, "%s",
		     t.err.what);
	mr_test_done(&t);
	return lost;
}

Test(recover, an_accepted_loss_cuts_at_the_damage)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	mr_test_stop(&t, 1);
	mr_io_fake_flip_bit(t.io, FIRST, (3 * 4096 + 70) * 8);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_geq(accept(), 60);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, 2);
	cr_assert_eq(t.found.segment_count, 1);
	cr_assert_eq(t.found.cut_bytes, 0);
	mr_test_done(&t);
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	mr_test_put_many(&t.rig, 100);
	mr_test_stop(&t, 2);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, 102);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, an_accepted_loss_of_segments_ends_at_the_one_before)
{
	char path[MR_IO_PATH_BYTES];
	uint64_t missing;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 100);
	missing = mr_log_files_at(t.rig.files, 2)->base_offset;
	mr_segment_path(mr_log_files_at(t.rig.files, 2), path);
	mr_test_stop(&t, 1);
	mr_io_fake_flip_bit(t.io, path, 77);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	accept();
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_eq(t.found.start.offset, missing);
	cr_assert_eq(t.found.segment_count, 2);
	mr_test_done(&t);
	mr_test_end(&t);
}

Test(recover, an_accepted_loss_of_everything_gives_no_offset_twice)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 30);
	mr_test_stop(&t, 1);
	mr_io_fake_flip_bit(t.io, FIRST, 77);
	cr_assert_eq(mr_test_look(&t, NULL), 0);
	cr_assert_eq(t.found.segment_count, 0);
	cr_assert_eq(t.found.corrupt_offset, 0);
	accept();
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, 0);
	mr_test_done(&t);
	mr_test_end(&t);
}
