/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of cutting a log: exactly the records from the offset on are gone, what stays is
 * the same bytes, the log goes on from there, and a crash at any moment leaves a log that can be
 * cut again.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io_fault.h"
#include "log_rig.h"
#include "replay.h"
#include "truncate.h"

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *io;
static struct mr_error err;

static void begin(void)
{
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	mr_test_rig_open(&rig, &options, io, NULL);
}

static void end(void)
{
	mr_test_rig_close(&rig);
	mr_io_close(io);
}

static uint64_t keep_offset;

static int cut_on(struct mr_io *disk, uint64_t offset, bool reset)
{
	struct mr_truncation truncation = {
		.offset = offset,
		.reset = reset,
		.keep_offset = keep_offset,
		.segment_bytes = options.segment_bytes,
	};

	memcpy(truncation.topic_id, mr_test_topic_id, sizeof(truncation.topic_id));
	memcpy(truncation.log_id, mr_test_log_id, sizeof(truncation.log_id));
	return mr_log_truncate(disk, RIG_DIRECTORY, &truncation, &err);
}

static void reopen(void)
{
	mr_test_rig_close(&rig);
	mr_test_rig_open(&rig, &options, io, NULL);
}

/* Closes the log, cuts it, and recovers it. */
static void cut_or_reset(uint64_t offset, bool reset)
{
	mr_test_rig_close(&rig);
	cr_assert_eq(cut_on(io, offset, reset), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, NULL);
}

static void cut(uint64_t offset)
{
	cut_or_reset(offset, false);
}

struct seen {
	uint64_t next;
	int32_t last_epoch;
};

/* Values begin with their offsets (batches.h): the records are those that were written there. */
static int see(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	struct seen *seen = arg;
	struct mr_batch_reader reader;
	struct mr_message message;

	cr_assert_eq(header->base_offset, seen->next);
	cr_assert_eq(mr_batch_read(&reader, bytes, header), 0);
	while (mr_batch_next(&reader, &message) == 1) {
		uint64_t said;

		memcpy(&said, message.value, sizeof(said));
		cr_assert_eq(said, seen->next);
		seen->next++;
	}
	seen->last_epoch = header->leader_epoch;
	return 0;
}

/* The log holds [from, to), all of it readable. */
static void check_log(uint64_t from, uint64_t to)
{
	struct seen seen = {.next = from};
	struct mr_replay_options replay = {
		.from_offset = from, .end_offset = to, .batch = see, .arg = &seen};

	cr_assert_eq(rig.partition.log_end, to);
	cr_assert_not(rig.recovered.corrupt, "%s", rig.recovered.damage.what);
	cr_assert_eq(mr_log_files_start_offset(rig.files), from);
	cr_assert_eq(mr_log_replay(rig.files, &replay, &err), 0, "%s", err.what);
	cr_assert_eq(seen.next, to);
	if (to > from) /* not what stands behind a cut, which looks much the same */
		cr_assert_eq(seen.last_epoch, mr_epochs_last(&rig.partition.epochs));
}

static void put_many(int count)
{
	for (int i = 0; i < count; i++)
		mr_test_rig_put(&rig, 1, 100);
}

/* One group of several batches: the open group takes them all before it is written. */
static void put_group(int batches, int32_t records)
{
	for (int i = 0; i < batches; i++) {
		struct mr_test_batch batch = {
			.producer_id = -1, .records = records, .value_bytes = 50};

		cr_assert_eq(mr_test_rig_append(&rig, &batch), MR_LOG_ROOM);
	}
	mr_test_rig_settle(&rig);
}

Test(truncate, at_the_end_nothing_changes)
{
	begin();
	put_many(5);
	cut(5);
	check_log(0, 5);
	cr_assert_eq(mr_log_files_count(rig.files), 1);
	end();
}

Test(truncate, between_groups_exactly_what_is_behind_goes)
{
	begin();
	put_many(9);
	cut(4);
	check_log(0, 4);
	put_many(3);
	check_log(0, 7);
	reopen();
	check_log(0, 7);
	end();
}

Test(truncate, inside_a_group_its_first_batches_stay)
{
	begin();
	put_many(2);
	put_group(5, 3);
	cr_assert_eq(rig.partition.log_end, 17);
	cut(11);
	check_log(0, 11);
	put_many(1);
	reopen();
	check_log(0, 12);
	end();
}

/* The group that is cut is the segment's first: the new segment takes its place. */
Test(truncate, inside_the_first_group_of_the_first_segment)
{
	begin();
	put_group(4, 2);
	cut(2);
	check_log(0, 2);
	put_many(4);
	reopen();
	check_log(0, 6);
	end();
}

Test(truncate, to_nothing_and_on)
{
	begin();
	put_many(3);
	cut(0);
	check_log(0, 0);
	put_many(3);
	reopen();
	check_log(0, 3);
	end();
}

/* The log rolled several times since: newer segments go, also where the cut is a segment's start.
 */
Test(truncate, over_segments_at_every_group)
{
	begin();
	while (mr_log_files_count(rig.files) < 4)
		mr_test_rig_put(&rig, 4, 1000);
	end();
	for (uint64_t keep = 0; keep <= 60; keep += 4) {
		begin();
		while (mr_log_files_count(rig.files) < 4)
			mr_test_rig_put(&rig, 4, 1000);
		if (keep > rig.partition.log_end)
			keep = rig.partition.log_end;
		cut(keep);
		check_log(0, keep);
		put_many(2);
		reopen();
		check_log(0, keep + 2);
		end();
	}
}

Test(truncate, twice_and_again_deeper)
{
	begin();
	put_many(6);
	put_group(6, 2);
	cut(14);
	put_group(3, 1);
	check_log(0, 17);
	cut(10);
	check_log(0, 10);
	cut(3);
	check_log(0, 3);
	put_many(2);
	reopen();
	check_log(0, 5);
	end();
}

/* What was not flushed is gone when the log is closed: it may end before the cut already. */
Test(truncate, beyond_the_end_nothing_changes)
{
	begin();
	put_many(4);
	cut(1000);
	check_log(0, 4);
	end();
}

/* R5: the follower's log ended before the leader's begins: it goes on from there, empty. */
Test(truncate, reset_the_log_begins_anew)
{
	begin();
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 4, 1000);
	cut_or_reset(1000, true);
	check_log(1000, 1000);
	put_many(2);
	reopen();
	check_log(1000, 1002);
	mr_test_rig_close(&rig);
	cr_assert_eq(cut_on(io, 999, false), -ERANGE);
	cr_assert(strstr(err.what, "offset 999: it begins behind it"), "%s", err.what);
	mr_test_rig_open(&rig, &options, io, NULL);
	cut_or_reset(7, true);
	check_log(7, 7);
	end();
}

/* What cannot even be opened goes as well. */
Test(truncate, reset_a_damaged_log_begins_anew)
{
	begin();
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 4, 1000);
	mr_test_rig_close(&rig);
	mr_io_fake_flip_bit(io, RIG_DIRECTORY "/00000000000000000000.log", 8 * 40);
	cr_assert_eq(cut_on(io, 1, false), -EBADMSG);
	cr_assert_eq(cut_on(io, 0, true), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, NULL);
	check_log(0, 0);
	put_many(2);
	reopen();
	check_log(0, 2);
	end();
}

/* Two logs may part inside a batch of one of them, where the other has batches of its own. */
Test(truncate, inside_a_batch_all_of_it_goes)
{
	begin();
	put_many(2);
	put_group(2, 4);
	cut(8);
	check_log(0, 6);
	cut(4);
	check_log(0, 2);
	put_many(2);
	reopen();
	check_log(0, 4);
	end();
}

/* Damage before the cut is not papered over. */
Test(truncate, behind_damage_is_refused)
{
	begin();
	put_many(6);
	mr_test_rig_close(&rig);
	mr_io_fake_flip_bit(io, RIG_DIRECTORY "/00000000000000000000.log", (4096 + 4096 + 70) * 8);
	cr_assert_eq(cut_on(io, 4, false), -EBADMSG, "group 2 is damaged");
	mr_io_close(io);
}

/* What goes need not be whole. */
Test(truncate, at_damage_all_before_it_stays)
{
	begin();
	put_many(6);
	mr_test_rig_close(&rig);
	mr_io_fake_flip_bit(io, RIG_DIRECTORY "/00000000000000000000.log",
			    (4096 + 4 * 4096 + 70) * 8);
	cr_assert_eq(cut_on(io, 5, false), -EBADMSG, "group 5 is damaged, and would stay");
	cr_assert_eq(cut_on(io, 4, false), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, NULL);
	check_log(0, 4);
	end();
}

/* An index names groups: those that went are found by nobody. */
Test(truncate, forgets_the_index_of_the_segment_that_it_cuts)
{
	static const char path[] = RIG_DIRECTORY "/00000000000000000000.index";
	size_t bytes;
	void *index;

	begin();
	while (mr_log_files_count(rig.files) < 3)
		mr_test_rig_put(&rig, 4, 1000);
	mr_test_rig_close(&rig);
	index = mr_io_fake_bytes(io, path, &bytes);
	cr_assert_not_null(index, "nothing is tried");
	free(index);
	cr_assert_eq(cut_on(io, 8, false), 0, "%s", err.what);
	cr_assert_null(mr_io_fake_bytes(io, path, &bytes));
	mr_test_rig_open(&rig, &options, io, NULL);
	check_log(0, 8);
	end();
}

Test(truncate, forgets_the_epochs_that_go)
{
	begin();
	put_many(3);
	reopen();
	put_many(3);
	reopen();
	put_many(3);
	cr_assert_eq(rig.partition.epochs.count, 3);
	cut(6);
	cr_assert_eq(rig.partition.epochs.count, 2);
	cut(2);
	cr_assert_eq(rig.partition.epochs.count, 1);
	end();
}

/*
 * Every operation of the cut fails once, and then the power does: what is left is recovered as a
 * log of 0 to something between the cut and the end, and is cut again.
 */
Test(truncate, cut_off_at_any_moment_it_can_be_done_again, .timeout = 60)
{
	for (uint64_t at = 1; at < 200; at++) {
		struct mr_io_fault_plan plan = {
			.kind = MR_IO_FAULT_ANY, .nth = at, .error = -EIO, .from_then_on = true};
		struct mr_io *fault;
		int r;

		begin();
		while (mr_log_files_count(rig.files) < 3)
			mr_test_rig_put(&rig, 2, 2000);
		put_group(3, 2);
		mr_test_rig_close(&rig);
		fault = mr_io_fault_new(io);
		mr_io_fault_set(fault, &plan);
		r = cut_on(fault, 26, false);
		mr_io_close(fault);
		mr_io_fake_crash(io, at);
		mr_io_fake_allow(io, MR_IO_FAKE_ALL);
		mr_test_rig_open(&rig, &options, io, NULL);
		cr_assert_geq(rig.partition.log_end, 26u);
		check_log(0, rig.partition.log_end);
		if (r == 0)
			cr_assert_eq(rig.partition.log_end, 26u);
		cut(26);
		check_log(0, 26);
		end();
		if (r == 0)
			return;
	}
	cr_assert_fail("the cut never got through");
}

/* ---- with a checkpoint ---------------------------------------------------------------------- */

/* Closes the log, cuts it, and recovers it from the checkpoint. */
static void cut_over(uint64_t offset, const struct mr_checkpoint_partition *checkpoint)
{
	mr_test_rig_close(&rig);
	keep_offset = checkpoint->offset;
	cr_assert_eq(cut_on(io, offset, false), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, checkpoint);
}

static void put_from(int64_t producer_id, int32_t sequence)
{
	struct mr_test_batch batch = {.producer_id = producer_id,
				      .sequence = sequence,
				      .records = 1,
				      .value_bytes = 3000};

	while (mr_test_rig_append(&rig, &batch) != MR_LOG_ROOM)
		mr_test_rig_settle(&rig);
	mr_test_rig_settle(&rig);
}

static int32_t last_sequence(int64_t producer_id)
{
	const struct mr_producer_entry *entry =
		mr_partition_find_producer(&rig.partition, producer_id);

	return entry ? entry->last_sequence : -1;
}

/*
 * Recovery begins at the checkpoint also after a cut, wherever that is behind it: at it, in the
 * same segment, in one that has begun since. Producers and epochs are those before the cut, also
 * of what recovery does not read.
 */
Test(truncate, recovery_goes_on_from_a_checkpoint_before_the_cut)
{
	for (uint64_t keep = 6; keep < 100; keep += 7) {
		struct mr_checkpoint_partition checkpoint;
		int32_t sequence = 0;

		begin();
		put_from(77, 0);
		reopen();
		for (int i = 1; i < 6; i++)
			put_from(5, sequence++);
		mr_test_rig_checkpoint(&rig, &checkpoint);
		cr_assert_eq(checkpoint.offset, 6);
		cr_assert_eq(checkpoint.epoch_count, 2);
		mr_test_rig_close(&rig);
		mr_test_rig_open(&rig, &options, io, &checkpoint);
		while (rig.partition.log_end < 100)
			put_from(5, sequence++);
		cr_assert_gt(mr_log_files_count(rig.files), 2);
		cut_over(keep, &checkpoint);
		cr_assert_eq(rig.partition.log_end, keep);
		cr_assert_eq(last_sequence(5), (int32_t)keep - 2);
		cr_assert_eq(last_sequence(77), 0);
		cr_assert_eq(rig.partition.epochs.count, keep > 6 ? 3 : 2);
		cr_assert_eq(rig.partition.epochs.entries[0].start_offset, 0);
		cr_assert_eq(rig.partition.epochs.entries[1].start_offset, 1);
		put_from(5, (int32_t)keep - 1);
		mr_test_rig_close(&rig);
		mr_test_rig_open(&rig, &options, io, &checkpoint);
		check_log(0, keep + 1);
		mr_checkpoint_partition_deinit(&checkpoint);
		end();
	}
}

/* A recovery that began at the checkpoint would take for damage, or for records, what is none. */
Test(truncate, below_the_checkpoint_is_refused)
{
	struct mr_checkpoint_partition checkpoint;

	begin();
	put_many(6);
	mr_test_rig_checkpoint(&rig, &checkpoint);
	put_many(6);
	mr_test_rig_close(&rig);
	keep_offset = checkpoint.offset;
	cr_assert_eq(cut_on(io, 5, false), -EINVAL);
	cr_assert(strstr(err.what, "cannot be cut at offset 5: all below offset 6"), "%s",
		  err.what);
	mr_test_rig_open(&rig, &options, io, &checkpoint);
	check_log(0, 12);
	cut_over(6, &checkpoint);
	check_log(0, 6);
	mr_checkpoint_partition_deinit(&checkpoint);
	end();
}

/* What retention let go is still known from the checkpoint, and to whoever begins anew with it. */
Test(truncate, a_log_begins_anew_and_knows_what_stood_before_it)
{
	struct mr_checkpoint_partition state;
	uint32_t duplicates;
	int32_t expected;

	begin();
	put_from(77, 0);
	reopen();
	for (int32_t i = 0; i < 20; i++)
		put_from(5, i);
	mr_test_rig_checkpoint(&rig, &state); /* of offset 21 */
	mr_checkpoint_begin_anew(&state, 15);
	mr_test_rig_close(&rig);
	keep_offset = 0;
	cr_assert_eq(cut_on(io, 15, true), 0, "%s", err.what);
	mr_test_rig_open(&rig, &options, io, &state);
	check_log(15, 15);
	cr_assert_eq(rig.partition.epochs.count, 2);
	cr_assert_eq(mr_epochs_last(&rig.partition.epochs), rig.partition.leader_epoch - 1);
	cr_assert_eq(last_sequence(5), -1, "its batches bring it again");
	cr_assert_eq(mr_partition_check(&rig.partition, 77, 0, 0, 1, &duplicates, &expected),
		     MR_SEQUENCE_DUPLICATE, "its record is gone, and known");
	for (int32_t i = 14; i < 20; i++)
		put_from(5, i);
	mr_test_rig_close(&rig);
	mr_test_rig_open(&rig, &options, io, &state);
	check_log(15, 21);
	cr_assert_eq(last_sequence(5), 19);
	cr_assert_eq(last_sequence(77), 0);
	mr_checkpoint_partition_deinit(&state);
	end();
}
