/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the control thread's half of a log: a record is found in the segment that has
 * it and not behind it in the index, a time is never looked for too late, and retention takes the
 * oldest only, and never what must stay.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log_rig.h"

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *io;

/* 'count' groups of one record; the clock moves on by 10 ms with each. */
static void begin(int count)
{
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	mr_test_rig_open(&rig, &options, io, NULL);
	rig.clock.wall_ms = 1000;
	for (int i = 0; i < count; i++) {
		mr_test_rig_put(&rig, 1, 100);
		rig.clock.wall_ms += 10;
	}
}

static void end(void)
{
	mr_test_rig_close(&rig);
	mr_io_close(io);
}

Test(files, every_record_is_found_in_its_segment)
{
	struct mr_log_place place;

	begin(100); /* segments begin at 0, 31, 62, 93 */
	cr_assert_eq(mr_log_files_count(rig.files), 4);
	for (uint64_t offset = 0; offset < 100; offset++) {
		cr_assert_eq(mr_log_files_find_offset(rig.files, offset, &place), 0);
		cr_assert_eq(place.segment->base_offset, offset / 31 * 31);
		cr_assert_leq(place.group_offset, offset);
		cr_assert_geq(place.group_offset, place.segment->base_offset);
		cr_assert_eq(place.group_position, place.segment->base_position + MR_BLOCK_BYTES +
							   (place.group_offset % 31) * 4096);
		cr_assert_eq(place.end_position,
			     offset < 93 ? (offset / 31 + 1) * options.segment_bytes : UINT64_MAX);
	}
	cr_assert_eq(mr_log_files_find_offset(rig.files, 100, &place), 0, "the end");
	cr_assert_eq(place.segment->base_offset, 93);
	cr_assert_eq(mr_log_files_find_offset(rig.files, UINT64_MAX, &place), 0);
	cr_assert_eq(place.segment->base_offset, 93);
	end();
}

Test(files, no_record_of_the_time_lies_before_what_is_found)
{
	begin(100); /* record i at 1000 + 10 i */
	cr_assert_eq(mr_log_files_find_time(rig.files, INT64_MIN), 0);
	cr_assert_eq(mr_log_files_find_time(rig.files, 1000), 0);
	for (int64_t i = 0; i < 100; i++) {
		uint64_t offset = mr_log_files_find_time(rig.files, 1000 + 10 * i);

		cr_assert_leq(offset, (uint64_t)i);
		cr_assert_eq(offset, (uint64_t)(i / 31 * 31));
	}
	cr_assert_eq(mr_log_files_find_time(rig.files, INT64_MAX), 93);
	end();
}

Test(files, retention_by_bytes_takes_the_oldest)
{
	struct mr_segment *gone;
	struct mr_log_place place;
	uint64_t log_start = 0;

	begin(100);
	cr_assert_eq(mr_log_files_bytes(rig.files), 4 * options.segment_bytes);
	cr_assert_null(
		mr_log_files_retain(rig.files, 4 * options.segment_bytes, 0, 100, &log_start));
	cr_assert_null(mr_log_files_retain(rig.files, 0, 0, 100, &log_start), "no limit");
	gone = mr_log_files_retain(rig.files, 4 * options.segment_bytes - 1, 0, 100, &log_start);
	cr_assert_not_null(gone);
	cr_assert_eq(gone->base_offset, 0);
	cr_assert_eq(log_start, 31);
	cr_assert_eq(mr_log_files_start_offset(rig.files), 31);
	cr_assert_eq(mr_log_files_count(rig.files), 3);
	cr_assert_eq(mr_log_files_find_offset(rig.files, 30, &place), -ERANGE);
	cr_assert_eq(mr_segment_remove(gone, NULL), 0);
	mr_segment_close(gone);
	for (int i = 0; i < 2; i++) {
		gone = mr_log_files_retain(rig.files, 1, 0, 100, &log_start);
		cr_assert_not_null(gone);
		cr_assert_eq(mr_segment_remove(gone, NULL), 0);
		mr_segment_close(gone);
	}
	cr_assert_null(mr_log_files_retain(rig.files, 1, 0, 100, &log_start),
		       "the active one stays");
	cr_assert_eq(log_start, 93);
	end();
	/* and it is still a log */
}

Test(files, a_log_without_its_oldest_segments_recovers)
{
	struct mr_segment *gone;
	uint64_t log_start;

	begin(100);
	gone = mr_log_files_retain(rig.files, 1, 0, 100, &log_start);
	cr_assert_eq(mr_segment_remove(gone, NULL), 0);
	mr_segment_close(gone);
	mr_io_fake_crash(io, 3);
	mr_test_rig_close(&rig);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_open(&rig, &options, io, NULL);
	cr_assert_eq(rig.partition.log_start, 31);
	cr_assert_eq(rig.partition.log_end, 100);
	end();
}

Test(files, retention_keeps_what_is_not_committed)
{
	uint64_t log_start;
	struct mr_segment *gone;

	begin(100);
	cr_assert_null(mr_log_files_retain(rig.files, 1, 0, 30, &log_start));
	gone = mr_log_files_retain(rig.files, 1, 0, 31, &log_start);
	cr_assert_not_null(gone);
	mr_segment_close(gone);
	cr_assert_null(mr_log_files_retain(rig.files, 1, 0, 61, &log_start));
	end();
}

Test(files, retention_by_age_goes_by_the_newest_group)
{
	uint64_t log_start;
	struct mr_segment *gone;

	begin(100); /* the first segment's newest group is of 1300 */
	cr_assert_null(mr_log_files_retain(rig.files, 0, 1300, 100, &log_start));
	gone = mr_log_files_retain(rig.files, 0, 1301, 100, &log_start);
	cr_assert_not_null(gone);
	cr_assert_eq(log_start, 31);
	mr_segment_close(gone);
	cr_assert_null(mr_log_files_retain(rig.files, 0, 1301, 100, &log_start));
	end();
}

/* Their indexes come back with them after a restart, whether loaded or read anew. */
Test(files, ages_and_times_survive_a_restart)
{
	struct mr_checkpoint_partition checkpoint;
	uint64_t log_start;
	struct mr_segment *gone;

	begin(100);
	mr_test_rig_checkpoint(&rig, &checkpoint);
	mr_test_rig_close(&rig);
	mr_io_fake_delete(io, RIG_DIRECTORY "/00000000000000000031.index");
	mr_test_rig_open(&rig, &options, io, &checkpoint);
	cr_assert_eq(mr_log_files_find_time(rig.files, 1000 + 310), 31);
	cr_assert_eq(mr_log_files_find_time(rig.files, 1000 + 309), 0 + 31);
	cr_assert_eq(mr_log_files_find_time(rig.files, 1000 + 300), 0);
	cr_assert_eq(mr_log_files_find_time(rig.files, 1000 + 620), 62);
	cr_assert_null(mr_log_files_retain(rig.files, 0, 1300, 100, &log_start));
	gone = mr_log_files_retain(rig.files, 0, 1301, 100, &log_start);
	cr_assert_not_null(gone);
	mr_segment_close(gone);
	cr_assert_null(mr_log_files_retain(rig.files, 0, 1610, 100, &log_start));
	gone = mr_log_files_retain(rig.files, 0, 1611, 100, &log_start);
	cr_assert_not_null(gone);
	mr_segment_close(gone);
	mr_checkpoint_partition_deinit(&checkpoint);
	end();
}

/*
 * A log of many segments: the list grows, and no file is kept open behind the active one and the
 * one before.
 */
Test(files, holds_few_files_open)
{
	size_t open = 0;

	begin(31 * 30);
	cr_assert_geq(mr_log_files_count(rig.files), 30);
	for (size_t i = 0; i < mr_log_files_count(rig.files); i++)
		open += mr_log_files_at(rig.files, i)->file != NULL;
	cr_assert_leq(open, 2);
	end();
}
