/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a log's end in recovery: where an engine ended well nothing is searched, where
 * it only seems so everything is, and nothing is read twice.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_fault.h"
#include "log_rig.h"

#define FIRST RIG_DIRECTORY "/00000000000000000000.log"

static struct mr_test_recovery t;
static struct mr_checkpoint_partition ended;

/* 'count' groups and a spare, all of it let go of properly. */
static void end_well(int count)
{
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, count);
	cr_assert(mr_test_rig_spare(&t.rig, &t.err));
	mr_test_rig_checkpoint(&t.rig, &ended);
	ended.clean = true;
	mr_test_stop(&t, 1);
}

static size_t spares(void)
{
	char paths[16][MR_IO_PATH_BYTES];
	size_t count = mr_io_fake_paths(t.io, paths, 16), found_count = 0;

	for (size_t i = 0; i < count; i++)
		found_count += strstr(paths[i], "/spare") != NULL;
	return found_count;
}

/* Recovers from 'ended', which is not to be believed: the spare goes, the log stays. */
static void assert_not_clean(uint64_t end_offset)
{
	cr_assert_eq(mr_test_look(&t, &ended), 0, "%s", t.err.what);
	cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
	cr_assert_not(t.found.clean);
	cr_assert_eq(t.found.start.offset, end_offset);
	cr_assert_eq(spares(), 0);
	mr_test_done(&t);
	mr_checkpoint_partition_deinit(&ended);
	mr_test_end(&t);
}

Test(recover_end, where_an_engine_ended_well_nothing_is_searched)
{
	struct mr_io *counting;

	end_well(5);
	counting = mr_io_fault_new(t.io);
	cr_assert_eq(mr_test_look_through(&t, counting, &ended), 0, "%s", t.err.what);
	cr_assert(t.found.clean);
	cr_assert_not(t.found.corrupt);
	cr_assert_eq(t.found.start.offset, 5);
	cr_assert_eq(t.found.cut_bytes, 0);
	cr_assert_eq(spares(), 1, "it may be used again");
	cr_assert_eq(mr_io_fault_seen(counting, MR_IO_FAULT_READ), 2, "the header and one block");
	cr_assert_eq(mr_io_fault_seen(counting, MR_IO_FAULT_WRITE), 0);
	mr_test_done(&t);
	mr_io_close(counting);
	/* the checkpoint after it no longer says so: the window is searched, the spare goes */
	ended.clean = false;
	assert_not_clean(5);
}

Test(recover_end, a_full_segment_can_end_well)
{
	uint32_t groups;

	mr_test_begin(&t);
	groups = (uint32_t)(t.options.segment_bytes / MR_BLOCK_BYTES) - 1;
	mr_test_stop(&t, 1);
	mr_test_end(&t);
	end_well((int)groups);
	cr_assert_eq(mr_test_look(&t, &ended), 0, "%s", t.err.what);
	cr_assert(t.found.clean);
	cr_assert_eq(t.found.start.offset, groups);
	mr_test_done(&t);
	mr_checkpoint_partition_deinit(&ended);
	mr_test_end(&t);
}

Test(recover_end, what_stands_behind_a_good_end_is_found_all_the_same)
{
	/* a group that the checkpoint does not know */
	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 5);
	mr_test_rig_checkpoint(&t.rig, &ended);
	ended.clean = true;
	mr_test_put_many(&t.rig, 1);
	mr_test_stop(&t, 1);
	assert_not_clean(6);
	/* something that is no group, at once and later in the block */
	end_well(5);
	mr_test_scribble(t.io, FIRST, 6 * 4096, "no group", 8);
	assert_not_clean(5);
	end_well(5);
	mr_test_scribble(t.io, FIRST, 6 * 4096 + 4000, "x", 1);
	assert_not_clean(5);
}

Test(recover_end, a_good_end_hides_no_damage)
{
	end_well(5);
	ended.offset += 3;
	ended.position += 1 << 20; /* of a segment that is not there */
	cr_assert_eq(mr_test_look(&t, &ended), 0, "%s", t.err.what);
	cr_assert(t.found.corrupt);
	cr_assert_not(t.found.clean);
	mr_test_done(&t);
	mr_checkpoint_partition_deinit(&ended);
	mr_test_end(&t);
}

/* The part of the last block that a header's zeros do not show is zeroed with the rest. */
Test(recover_end, a_block_that_only_begins_with_zeros_is_zeroed)
{
	uint8_t *bytes;
	size_t count;

	mr_test_begin(&t);
	mr_test_put_many(&t.rig, 3);
	mr_test_stop(&t, 1);
	mr_test_scribble(t.io, FIRST, 5 * 4096 + 4000, "x", 1);
	cr_assert_eq(mr_test_look(&t, NULL), 0, "%s", t.err.what);
	cr_assert_eq(t.found.start.offset, 3);
	mr_test_done(&t);
	bytes = mr_io_fake_bytes(t.io, FIRST, &count);
	for (size_t i = 4 * 4096; i < count; i++)
		cr_assert_eq(bytes[i], 0);
	free(bytes);
	mr_test_end(&t);
}

/*
 * Reading is bounded by the log: what is kept, once, and the window, once. Two groups more than
 * that for pieces that end inside one.
 */
Test(recover_end, nothing_is_read_twice)
{
	struct mr_io *counting;

	mr_test_begin(&t);
	for (int i = 0; i < 20; i++)
		mr_test_rig_put(&t.rig, 1, 7000);
	mr_test_stop(&t, 1);
	counting = mr_io_fault_new(t.io);
	cr_assert_eq(mr_test_look_through(&t, counting, NULL), 0, "%s", t.err.what);
	cr_assert_eq(t.found.start.offset, 20);
	/* each header, and each segment in one piece */
	cr_assert_leq(mr_io_fault_seen(counting, MR_IO_FAULT_READ), 2 * t.found.segment_count);
	mr_test_done(&t);
	mr_io_close(counting);
	mr_test_end(&t);
}

/* Twelve pieces of reading in one segment. */
static void long_log(void)
{
	t.io = mr_io_fake_new(1);
	mr_io_fake_allow(t.io, MR_IO_FAKE_ALL);
	t.options = mr_test_rig_defaults();
	t.options.tail_bytes = 16u << 20;
	t.options.log.group_bytes = 2u << 20;
	t.options.log.batch_bytes_max = 2u << 20;
	t.options.segment_bytes = 64u << 20;
	mr_test_rig_open(&t.rig, &t.options, t.io, NULL);
	for (int i = 0; i < 45; i++)
		mr_test_rig_put(&t.rig, 1, 1u << 20);
	mr_test_stop(&t, 1);
}

/* One read of recovery fails, which is perhaps under way while the piece before is checked. */
static int look_with_a_fault(uint64_t nth, uint64_t *reads, uint64_t *hits)
{
	struct mr_io_fault_plan plan = {.kind = MR_IO_FAULT_READ, .nth = nth, .error = -EIO};
	struct mr_io *copy = mr_io_fake_clone(t.io, 1);
	struct mr_io *faulty = mr_io_fault_new(copy);
	int r;

	mr_io_fault_set(faulty, &plan);
	t.err = (struct mr_error){0};
	r = mr_test_look_through(&t, faulty, NULL);
	*reads = mr_io_fault_seen(faulty, MR_IO_FAULT_READ);
	*hits = mr_io_fault_hits(faulty);
	if (r == 0) {
		cr_assert_not(t.found.corrupt, "%s", t.found.damage.what);
		cr_assert_eq(t.found.start.offset, 45);
	}
	mr_test_done(&t);
	mr_io_close(faulty);
	mr_io_close(copy);
	return r;
}

Test(recover_end, a_read_that_fails_is_told_if_its_bytes_are_needed)
{
	uint64_t reads, hits, ignored;

	long_log();
	cr_assert_eq(look_with_a_fault(0, &reads, &hits), 0, "%s", t.err.what);
	cr_assert_geq(reads, 1 + 45 / 4);
	for (uint64_t nth = 1; nth <= reads; nth++) {
		int r = look_with_a_fault(nth, &ignored, &hits);

		cr_assert_eq(hits, 1);
		if (r == 0) /* beyond the log's end and its window */
			cr_assert_gt(nth, 1 + (45 + 4 * 4) / 4);
		else
			cr_assert_eq(r, -EIO);
		if (r < 0)
			cr_assert_not_null(strstr(t.err.what, "cannot read"), "%s", t.err.what);
	}
	mr_test_end(&t);
}
