/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the log's writer: the file gets the tail's very bytes, flushed is never ahead
 * of the disk or of a segment's name, nothing that is still needed is written over, and after a
 * failed write nothing happens any more. Over the fake disk, over real files, and over a queue
 * whose every completion the test gives by hand.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "log_rig.h"

#define FIRST RIG_DIRECTORY "/00000000000000000000.log"

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *io;
static struct mr_error err;

static void begin(void)
{
	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_open(&rig, &options, io, NULL);
}

static void begin_with_defaults(void)
{
	options = mr_test_rig_defaults();
	begin();
}

static void end(void)
{
	mr_test_rig_close(&rig);
	mr_io_close(io);
}

static struct mr_log_state state(void)
{
	struct mr_log_state s;

	mr_log_state(rig.log, &s);
	return s;
}

static enum mr_log_room append(int32_t records, uint32_t value_bytes)
{
	struct mr_test_batch batch = {.producer_id = -1,
				      .records = records,
				      .value_bytes = value_bytes,
				      .timestamp_ms = 7};

	return mr_test_rig_append(&rig, &batch);
}

/* ---- a queue by hand ----------------------------------------------------- */

enum { HAND_MAX = 32 };

static struct {
	struct mr_io_operations operations; /* the fake disk's, but for the queue */
	struct mr_io_queue queue;
	uint32_t room; /* writes it takes */
	uint32_t count;
	struct {
		const void *buffer;
		size_t bytes;
		uint64_t offset;
		void *user;
	} writes[HAND_MAX];
} hand;

static int hand_write(struct mr_io_queue *queue, struct mr_io_file *file, const void *buffer,
		      size_t bytes, uint64_t offset, void *user)
{
	if (hand.count >= hand.room)
		return -EAGAIN;
	hand.writes[hand.count].buffer = buffer;
	hand.writes[hand.count].bytes = bytes;
	hand.writes[hand.count].offset = offset;
	hand.writes[hand.count++].user = user;
	return 0;
}

/* The log writes to the queue by hand; everything else is the fake disk. */
static struct mr_log *log_by_hand(struct mr_recovered *made)
{
	struct mr_log *log;

	memset(&hand, 0, sizeof(hand));
	io = mr_io_fake_new(1);
	hand.operations = *io->operations;
	hand.operations.queue_write = hand_write;
	io->operations = &hand.operations;
	hand.queue.io = io;
	hand.room = HAND_MAX;
	memset(&rig, 0, sizeof(rig));
	mr_test_clock_init(&rig.clock, 1000);
	cr_assert_eq(mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, mr_test_log_id,
				   options.segment_bytes, made, &err),
		     0, "%s", err.what);
	cr_assert_eq(mr_tail_create(options.tail_bytes, mr_test_topic_id, 0, made->start.position,
				    0, &rig.tail, &err),
		     0);
	cr_assert_eq(mr_log_open(&options.log, &made->start, &rig.tail, &hand.queue,
				 &rig.clock.clock, &log, &err),
		     0, "%s", err.what);
	return log;
}

static void end_by_hand(struct mr_log *log, struct mr_recovered *made)
{
	struct mr_segment *active;
	struct mr_segment *spare;

	mr_log_close(log, &active, &spare);
	if (active != made->segments[0])
		mr_segment_close(active);
	mr_segment_close(spare);
	mr_recovered_deinit(made);
	mr_tail_destroy(&rig.tail);
	mr_io_close(io);
}

/* A batch of one record whose encoded size is about 'bytes'. */
static enum mr_log_room put(struct mr_log *log, uint32_t value_bytes)
{
	struct mr_log_state s;
	struct mr_test_batch batch = {
		.producer_id = -1, .records = 1, .value_bytes = value_bytes, .timestamp_ms = 7};
	enum mr_log_room room;
	uint32_t bytes;
	uint8_t *at;

	mr_log_state(log, &s);
	batch.base_offset = s.end_offset;
	room = mr_log_reserve(log, mr_test_batch_bytes_max(&batch), &at);
	if (room != MR_LOG_ROOM)
		return room;
	bytes = mr_test_batch_encode(&batch, at, mr_test_batch_bytes_max(&batch));
	cr_assert_eq(mr_log_append(log, bytes, 1, 7), s.end_offset + 1);
	return room;
}

static uint64_t complete(uint32_t i, int result)
{
	struct mr_io_completion completion = {.user = hand.writes[i].user, .result = result};
	uint64_t flushed;
	int r = mr_log_completed(&completion, &flushed);

	cr_assert(result == 0 || r == result);
	return flushed;
}

static struct mr_segment *spare_of(uint64_t bytes)
{
	struct mr_segment *spare;

	cr_assert_eq(mr_segment_make_spare(io, RIG_DIRECTORY, bytes, &spare, &err), 0, "%s",
		     err.what);
	return spare;
}

/* ---- writing ------------------------------------------------------------- */

Test(log, the_file_gets_the_tails_bytes)
{
	uint8_t *bytes;
	size_t count;

	begin_with_defaults();
	for (int i = 0; i < 10; i++)
		mr_test_rig_put(&rig, 3, 200);
	bytes = mr_io_fake_durable_bytes(io, FIRST, &count);
	cr_assert_eq(memcmp(bytes + 4096, mr_tail_at(&rig.tail, 4096), state().end_position - 4096),
		     0);
	free(bytes);
	cr_assert_eq(state().flushed_offset, 30);
	cr_assert_eq(atomic_load(&rig.tail.page->appended_offset), 30);
	cr_assert_eq(atomic_load(&rig.tail.page->appended), state().flushed_position);
	end();
}

Test(log, a_group_is_open_to_readers_until_it_is_closed)
{
	struct mr_group_header header;

	begin_with_defaults();
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	memcpy(&header, mr_tail_at(&rig.tail, 4096), sizeof(header));
	cr_assert_eq(header.bytes, 0);
	cr_assert_eq(atomic_load(&rig.tail.page->appended), 4096 + 64 + state().open_bytes);
	cr_assert_eq(atomic_load(&rig.tail.page->appended_offset), 2);
	mr_io_fake_allow(io, 0);
	mr_test_rig_turn(&rig, false);
	memcpy(&header, mr_tail_at(&rig.tail, 4096), sizeof(header));
	cr_assert_eq(header.bytes, 4096);
	cr_assert_eq(header.record_count, 2);
	cr_assert_eq(state().open_bytes, 0);
	cr_assert_eq(state().in_flight, 1);
	cr_assert_eq(state().end_group_number, 2);
	cr_assert_eq(state().end_crc, header.crc);
	end();
}

Test(log, while_a_write_is_out_the_next_group_grows)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	options.log.group_bytes = 256u << 10;
	options.log.batch_bytes_max = 128u << 10;
	options.tail_bytes = 4u << 20;
	options.segment_bytes = 4u << 20;
	log = log_by_hand(&made);
	cr_assert_eq(mr_log_submit(log, 1, true), 0, "nothing to write");
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, false), 1, "nothing was in flight");
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, false), 0);
	put(log, 100u << 10);
	cr_assert_eq(mr_log_submit(log, 1, false), 0, "less than half a group");
	put(log, 40u << 10);
	cr_assert_eq(mr_log_submit(log, 1, false), 1, "large enough");
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, false), 0);
	cr_assert_eq(mr_log_submit(log, 1, true), 1, "forced");
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, true), 1);
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, true), 0, "four are out");
	cr_assert_eq(complete(0, 0), 1);
	cr_assert_eq(mr_log_submit(log, 1, true), 1);
	cr_assert_eq(hand.count, 5);
	for (uint32_t i = 1; i < 5; i++)
		complete(i, 0);
	end_by_hand(log, &made);
}

/* Completions come in any order; flushed moves over the contiguous prefix only. */
Test(log, flushed_waits_for_the_oldest_write)
{
	struct mr_recovered made;
	struct mr_log_state s;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	log = log_by_hand(&made);
	for (int i = 0; i < 4; i++) {
		put(log, 100);
		cr_assert_eq(mr_log_submit(log, 1, true), 1);
	}
	cr_assert_eq(complete(2, 0), 0);
	cr_assert_eq(complete(1, 0), 0);
	put(log, 100);
	cr_assert_eq(mr_log_submit(log, 1, true), 0, "recovery's window counts from the oldest");
	cr_assert_eq(complete(0, 0), 3);
	mr_log_state(log, &s);
	cr_assert_eq(s.flushed_position, 4 * 4096);
	cr_assert_eq(s.flushed_position, mr_log_flushed_position(log));
	cr_assert_eq(s.end_position, mr_log_end_position(log));
	cr_assert_eq(s.end_offset, mr_log_end_offset(log));
	cr_assert_eq(s.flushed_group_number, 4);
	cr_assert_eq(s.in_flight, 1);
	cr_assert_eq(complete(3, 0), 4);
	cr_assert_eq(mr_log_submit(log, 1, true), 1);
	cr_assert_eq(complete(4, 0), 5);
	end_by_hand(log, &made);
}

Test(log, a_full_queue_is_asked_again_in_order)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	log = log_by_hand(&made);
	hand.room = 1;
	cr_assert_not(mr_log_has_unsent(log));
	for (int i = 0; i < 3; i++) {
		put(log, 100);
		cr_assert(mr_log_has_unsent(log), "it is open");
		mr_log_submit(log, 1, true);
		cr_assert_eq(mr_log_has_unsent(log), i > 0, "closed, and the queue is full");
	}
	cr_assert_eq(hand.count, 1);
	hand.room = 2;
	cr_assert_eq(mr_log_submit(log, 1, false), 1);
	cr_assert_eq(hand.writes[1].offset, 2 * 4096);
	hand.room = HAND_MAX;
	cr_assert_eq(mr_log_submit(log, 1, false), 1);
	cr_assert_not(mr_log_has_unsent(log));
	cr_assert_eq(hand.writes[2].offset, 3 * 4096);
	for (uint32_t i = 0; i < 3; i++)
		complete(i, 0);
	end_by_hand(log, &made);
}

/* D3: a write that failed is the end: no retry, no answer. */
Test(log, after_a_failed_write_nothing_is_flushed_any_more)
{
	struct mr_recovered made;
	struct mr_log_state s;
	struct mr_log *log;
	struct mr_io_completion completion;
	uint64_t flushed;

	options = mr_test_rig_defaults();
	log = log_by_hand(&made);
	for (int i = 0; i < 4; i++) {
		put(log, 100);
		mr_log_submit(log, 1, true);
	}
	cr_assert_eq(complete(0, 0), 1);
	cr_assert_eq(complete(2, -EIO), 1);
	completion = (struct mr_io_completion){.user = hand.writes[1].user};
	cr_assert_eq(mr_log_completed(&completion, &flushed), -EIO, "good, but the log is not");
	cr_assert_eq(flushed, 1);
	completion.user = hand.writes[3].user;
	cr_assert_lt(mr_log_completed(&completion, &flushed), 0);
	cr_assert_eq(flushed, 1);
	cr_assert_eq(put(log, 100), MR_LOG_FAILED);
	cr_assert_eq(mr_log_submit(log, 1, true), 0);
	cr_assert_not(mr_log_wants_spare(log));
	mr_log_state(log, &s);
	cr_assert(s.failed);
	cr_assert_eq(s.flushed_offset, 1);
	cr_assert_eq(hand.count, 4);
	end_by_hand(log, &made);
}

Test(log, the_group_takes_no_batch_beyond_its_size)
{
	struct mr_recovered made;
	struct mr_log_state s;
	struct mr_log *log;

	options = mr_test_rig_defaults(); /* 16 KiB */
	log = log_by_hand(&made);
	put(log, 100);
	mr_log_submit(log, 1, false);
	for (int i = 0; i < 100; i++) {
		if (put(log, 3000) != MR_LOG_ROOM)
			break;
	}
	mr_log_state(log, &s);
	cr_assert_geq(s.open_bytes, 16u << 10);
	cr_assert_lt(s.open_bytes, 20u << 10);
	cr_assert_eq(put(log, 100), MR_LOG_TAIL_FULL);
	cr_assert_eq(mr_log_submit(log, 1, false), 1, "a full group is due");
	cr_assert_eq(put(log, 100), MR_LOG_ROOM);
	complete(0, 0);
	complete(1, 0);
	end_by_hand(log, &made);
}

/* ---- the tail ------------------------------------------------------------ */

/* From 'reclaimed' on there are segment headers and groups, one behind the other, up to the end. */
static void walk_tail(void)
{
	const struct mr_tail_page *page = rig.tail.page;
	uint64_t at = atomic_load(&page->reclaimed);
	uint64_t end = atomic_load(&page->appended);
	uint64_t offset = atomic_load(&page->reclaimed_offset);

	while (at < end) {
		struct mr_group_header header;
		uint32_t magic;

		memcpy(&magic, mr_tail_at(&rig.tail, at), sizeof(magic));
		if (magic == MR_SEGMENT_MAGIC) {
			at += MR_BLOCK_BYTES;
			continue;
		}
		if (mr_group_decode_header(mr_tail_at(&rig.tail, at), &header, &err) == -ENODATA)
			return; /* the open one */
		cr_assert_eq(header.magic, MR_GROUP_MAGIC, "at %" PRIu64, at);
		cr_assert_eq(header.base_offset, offset);
		offset += header.record_count;
		at += header.bytes;
	}
	cr_assert_eq(at, end);
	cr_assert_eq(offset, atomic_load(&page->appended_offset));
}

Test(log, what_is_reclaimed_ends_where_a_reader_can_begin)
{
	begin_with_defaults();
	for (int i = 0; i < 400; i++) {
		mr_test_rig_put(&rig, 1 + i % 5, 100 + (uint32_t)(i * 37 % 1500));
		walk_tail();
		cr_assert_leq(state().end_position - atomic_load(&rig.tail.page->reclaimed),
			      options.tail_bytes);
	}
	cr_assert_gt(atomic_load(&rig.tail.page->reclaimed), 4 * options.tail_bytes);
	end();
}

Test(log, the_tail_is_full_of_what_is_not_flushed)
{
	enum mr_log_room room;
	int n = 0;

	options = mr_test_rig_defaults();
	options.log.groups_in_flight = 16;
	options.tail_bytes = 64u << 10;
	begin();
	mr_io_fake_allow(io, 0);
	while ((room = append(1, 100)) == MR_LOG_ROOM && n++ < 1000)
		mr_test_rig_turn(&rig, true);
	cr_assert_eq(room, MR_LOG_TAIL_FULL);
	cr_assert_eq(n, 16, "the tail, block by block");
	cr_assert_eq(rig.flushed, 0);
	cr_assert_eq(atomic_load(&rig.tail.page->reclaimed), 4096);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&rig);
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	end();
}

Test(log, a_hold_is_never_passed)
{
	struct mr_tail_hold *hold;
	int n = 0;

	options = mr_test_rig_defaults();
	options.tail_bytes = 64u << 10;
	begin();
	mr_test_rig_put(&rig, 1, 100);
	hold = &rig.tail.holds[5];
	atomic_store(&hold->position, 8192);
	while (append(1, 100) == MR_LOG_ROOM && n++ < 1000)
		mr_test_rig_settle(&rig);
	cr_assert_eq(append(1, 100), MR_LOG_TAIL_FULL);
	cr_assert_leq(atomic_load(&rig.tail.page->reclaimed), 8192);
	cr_assert_eq(n, 16);
	atomic_store(&hold->position, 12288);
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	cr_assert_eq(atomic_load(&rig.tail.page->reclaimed), 12288);
	end();
}

/* ---- segments ------------------------------------------------------------ */

static uint32_t groups_of_a_segment(void)
{
	return (uint32_t)(options.segment_bytes / MR_BLOCK_BYTES) - 1;
}

Test(log, without_a_spare_there_is_no_segment)
{
	begin_with_defaults();
	rig.spare_wanted = false;
	for (uint32_t i = 0; i < groups_of_a_segment(); i++)
		mr_test_rig_put(&rig, 1, 100);
	cr_assert(mr_log_wants_spare(rig.log));
	cr_assert_eq(append(1, 100), MR_LOG_NO_SEGMENT);
	cr_assert_eq(append(1, 100), MR_LOG_NO_SEGMENT, "nothing was changed");
	rig.spare_wanted = true;
	cr_assert(mr_test_rig_spare(&rig, &err));
	cr_assert_not(mr_log_wants_spare(rig.log));
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	cr_assert(mr_log_wants_spare(rig.log));
	mr_test_rig_settle(&rig);
	end();
}

Test(log, a_roll_tells_what_the_new_header_must_hold)
{
	struct mr_segment_header in_tail;
	struct mr_log_event *started;
	uint64_t base;

	begin_with_defaults();
	for (uint32_t i = 0; i < groups_of_a_segment(); i++)
		mr_test_rig_put(&rig, 1, 100);
	base = state().end_position;
	cr_assert(mr_test_rig_spare(&rig, &err));
	cr_assert_eq(append(1, 100), MR_LOG_ROOM);
	mr_test_rig_turn(&rig, true);
	cr_assert_eq(rig.chore_count, 1);
	started = &rig.chores[0];
	cr_assert_eq(started->kind, MR_LOG_EVENT_STARTED);
	cr_assert_eq(started->header.base_offset, groups_of_a_segment());
	cr_assert_eq(started->header.base_position, base);
	cr_assert_eq(started->header.group_number, groups_of_a_segment() + 1);
	cr_assert_eq(started->header.partition, 0);
	cr_assert_eq(memcmp(started->header.topic_id, mr_test_topic_id, 16), 0);
	cr_assert_eq(memcmp(started->header.log_id, mr_test_log_id, 16), 0);
	cr_assert_eq(mr_segment_decode_header(mr_tail_at(&rig.tail, base), &in_tail, &err), 0,
		     "the tail has what the file will have");
	cr_assert_eq(in_tail.segment_id, started->segment->segment_id);
	cr_assert_eq(in_tail.previous_crc, started->header.previous_crc);
	mr_test_rig_settle(&rig);
	end();
}

/* D7: durable bytes in a file without a durable name are not flushed. */
Test(log, nothing_in_a_segment_counts_before_it_has_its_name)
{
	uint32_t groups;

	begin_with_defaults();
	groups = groups_of_a_segment();
	for (uint32_t i = 0; i < groups; i++)
		mr_test_rig_put(&rig, 1, 100);
	cr_assert(mr_test_rig_spare(&rig, &err));
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(append(1, 100), MR_LOG_ROOM);
		for (int k = 0; k < 20; k++)
			mr_test_rig_turn(&rig, true);
	}
	cr_assert_eq(state().in_flight, 0);
	cr_assert_eq(rig.flushed, groups);
	cr_assert_eq(state().flushed_position, options.segment_bytes);
	cr_assert_eq(mr_log_segment_named(rig.log, mr_log_files_at(rig.files, 0)), groups,
		     "another segment's name");
	cr_assert(mr_test_rig_chore(&rig, &err), "%s", err.what);
	cr_assert_eq(rig.flushed, groups + 4);
	cr_assert_eq(state().flushed_offset, groups + 4);
	cr_assert_eq(state().flushed_group_number, groups + 5);
	end();
}

/* Recovery never looks further back than one segment: the log may not run ahead by two. */
Test(log, does_not_roll_twice_over_writes_that_are_out)
{
	struct mr_recovered made;
	struct mr_segment *second;
	struct mr_log *log;
	uint32_t i = 0;

	options = mr_test_rig_defaults();
	options.segment_bytes = 16u << 10; /* a header and three groups */
	options.log.groups_in_flight = 16;
	log = log_by_hand(&made);
	second = spare_of(options.segment_bytes);
	mr_log_give_spare(log, second);
	while (put(log, 100) == MR_LOG_ROOM && i++ < 20)
		mr_log_submit(log, 1, true);
	cr_assert_eq(i, 6);
	cr_assert_eq(put(log, 100), MR_LOG_NO_SEGMENT);
	cr_assert_eq(mr_log_next_event(log).kind, MR_LOG_EVENT_STARTED);
	cr_assert_eq(mr_io_rename(io, RIG_DIRECTORY "/spare", RIG_DIRECTORY "/second", &err), 0);
	mr_log_give_spare(log, spare_of(options.segment_bytes));
	cr_assert_eq(put(log, 100), MR_LOG_NO_SEGMENT, "not named");
	mr_log_segment_named(log, second);
	cr_assert_eq(put(log, 100), MR_LOG_TAIL_FULL, "the first segment is still in flight");
	complete(1, 0);
	complete(2, 0);
	complete(4, 0);
	cr_assert_eq(put(log, 100), MR_LOG_TAIL_FULL);
	cr_assert_eq(complete(0, 0), 3);
	cr_assert_eq(put(log, 100), MR_LOG_ROOM);
	complete(3, 0);
	complete(5, 0);
	mr_segment_close(second);
	end_by_hand(log, &made);
}

Test(log, a_batch_that_does_not_fit_goes_into_the_next_segment)
{
	begin_with_defaults();
	for (uint32_t i = 0; i + 1 < groups_of_a_segment(); i++)
		mr_test_rig_put(&rig, 1, 100);
	mr_test_rig_put(&rig, 1, 7000); /* one block is left */
	cr_assert_eq(mr_log_files_count(rig.files), 2);
	cr_assert_eq(mr_log_files_at(rig.files, 1)->base_position,
		     options.segment_bytes - MR_BLOCK_BYTES);
	end();
}

Test(log, an_open_group_at_the_segments_end_is_due)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	options.segment_bytes = 16u << 10;
	log = log_by_hand(&made);
	mr_log_give_spare(log, spare_of(options.segment_bytes));
	put(log, 100);
	mr_log_submit(log, 1, false);
	put(log, 6000);
	cr_assert_eq(mr_log_submit(log, 1, false), 0);
	cr_assert_eq(put(log, 6000), MR_LOG_TAIL_FULL);
	cr_assert_eq(mr_log_submit(log, 1, false), 1, "it cannot grow any more");
	cr_assert_eq(put(log, 6000), MR_LOG_ROOM, "in the next segment");
	cr_assert_eq(mr_log_next_event(log).kind, MR_LOG_EVENT_STARTED);
	mr_log_submit(log, 1, true);
	for (uint32_t i = 0; i < 3; i++)
		complete(i, 0);
	end_by_hand(log, &made);
}

/* ---- zeros ahead --------------------------------------------------------- */

static struct mr_log *log_with_zeros(struct mr_recovered *made, uint64_t zeroed, uint64_t written)
{
	struct mr_log *log;

	options = mr_test_rig_defaults();
	options.segment_bytes = 64u << 20;
	options.tail_bytes = 1u << 20;
	options.log.group_bytes = 256u << 10;
	options.log.batch_bytes_max = 256u << 10;
	log = log_by_hand(made);
	{
		struct mr_segment *active;
		struct mr_segment *spare;

		mr_log_close(log, &active, &spare);
	}
	mr_tail_destroy(&rig.tail);
	made->start.active->zeroed_bytes = zeroed;
	made->start.position = written;
	cr_assert_eq(mr_tail_create(options.tail_bytes, mr_test_topic_id, 0, written, 0, &rig.tail,
				    &err),
		     0);
	cr_assert_eq(mr_log_open(&options.log, &made->start, &rig.tail, &hand.queue,
				 &rig.clock.clock, &log, &err),
		     0);
	return log;
}

/* One batch, written and completed. */
static enum mr_log_room put_and_flush(struct mr_log *log, uint32_t value_bytes)
{
	enum mr_log_room room = put(log, value_bytes);

	if (room != MR_LOG_ROOM)
		return room;
	hand.count = 0;
	cr_assert_eq(mr_log_submit(log, 1, true), 1);
	complete(0, 0);
	return room;
}

/* How many zeros went with it; -1: there was no room for the batch. */
static int64_t zeros_with(struct mr_log *log, uint32_t value_bytes)
{
	struct mr_log_state before, after;

	mr_log_state(log, &before);
	if (put_and_flush(log, value_bytes) != MR_LOG_ROOM)
		return -1;
	mr_log_state(log, &after);
	return (int64_t)hand.writes[0].bytes - (int64_t)(after.end_position - before.end_position);
}

enum { KIB = 1 << 10, MIB = 1 << 20, ZEROS = 128 * KIB };

Test(log, a_group_beyond_the_zeros_takes_more_with_it)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 16 * MIB, 16 * MIB - 32 * KIB);

	for (int i = 0; i < 8; i++)
		cr_assert_eq(zeros_with(log, 100), 0, "still inside, group %d", i);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(zeros_with(log, 100), ZEROS);
		for (int i = 0; i < ZEROS / 4096; i++)
			cr_assert_eq(zeros_with(log, 100), 0, "inside those, group %d", i);
	}
	end_by_hand(log, &made);
}

/* In the file stand the tail's bytes and zeros, whatever the tail holds behind the group. */
Test(log, zeros_stand_behind_a_copy_of_the_group)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 16 * MIB, 16 * MIB);
	const uint8_t *written;

	for (uint32_t bytes = 100; bytes <= 20000; bytes += 19900) {
		uint64_t group;

		while (zeros_with(log, 100) == 0) /* up to a place where zeros end */
			;
		for (int i = 0; i < ZEROS / 4096; i++)
			cr_assert_eq(zeros_with(log, 100), 0);
		cr_assert_eq(put(log, bytes), MR_LOG_ROOM);
		hand.count = 0;
		cr_assert_eq(mr_log_submit(log, 1, false), 1);
		cr_assert_eq(put(log, 3000), MR_LOG_ROOM, "the next is encoded meanwhile");
		written = hand.writes[0].buffer;
		group = hand.writes[0].bytes - ZEROS;
		cr_assert_gt(group, bytes);
		cr_assert_eq((uintptr_t)written % MR_BLOCK_BYTES, 0, "for direct writes");
		cr_assert_eq(memcmp(written,
				    mr_tail_at(&rig.tail, hand.writes[0].offset +
								  made.start.active->base_position),
				    group),
			     0);
		for (uint64_t i = group; i < group + ZEROS; i++)
			cr_assert_eq(written[i], 0);
		complete(0, 0);
		cr_assert_eq(mr_log_submit(log, 1, false), 1);
		complete(1, 0);
	}
	end_by_hand(log, &made);
}

Test(log, no_group_is_written_before_zeros_in_its_place_are)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 16 * MIB, 16 * MIB);
	struct mr_log_state s;

	cr_assert_eq(put(log, 100), MR_LOG_ROOM);
	hand.room = 0;
	cr_assert_eq(mr_log_submit(log, 1, true), 0, "the queue is full");
	cr_assert_eq(put(log, 100), MR_LOG_ROOM);
	hand.room = HAND_MAX;
	cr_assert_eq(mr_log_submit(log, 1, true), 1, "the first alone");
	cr_assert_eq(hand.writes[0].bytes, MR_BLOCK_BYTES + ZEROS);
	cr_assert_eq(mr_log_submit(log, 1, true), 0);
	while (put(log, 60000) == MR_LOG_ROOM) /* large enough for a write beside others */
		;
	cr_assert_eq(mr_log_submit(log, 1, true), 0);
	mr_log_state(log, &s);
	cr_assert(s.zeros_out);
	complete(0, 0);
	mr_log_state(log, &s);
	cr_assert_not(s.zeros_out);
	cr_assert_eq(mr_log_submit(log, 1, false), 1);
	cr_assert_eq(hand.writes[1].offset, hand.writes[0].offset + MR_BLOCK_BYTES);
	complete(1, 0);
	end_by_hand(log, &made);
}

Test(log, zeros_wait_until_nothing_else_is_in_flight)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 16 * MIB, 16 * MIB - MR_BLOCK_BYTES);

	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(put(log, 100), MR_LOG_ROOM);
		cr_assert_eq(mr_log_submit(log, 1, true), 1);
		cr_assert_eq(hand.writes[i].bytes, MR_BLOCK_BYTES, "write %u", i);
	}
	complete(0, 0);
	complete(1, 0);
	cr_assert_eq(zeros_with(log, 100), ZEROS);
	end_by_hand(log, &made);
}

Test(log, at_streaming_rate_it_writes_no_zeros)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, MIB, MR_BLOCK_BYTES);
	struct mr_log_state s = {0};
	int i;

	put_and_flush(log, 250 * KIB);
	while (s.end_position < 20 * MIB) {
		cr_assert_eq(zeros_with(log, 250 * KIB), 0);
		mr_log_state(log, &s);
	}
	for (i = 0; i < 100 && zeros_with(log, 100) == 0; i++)
		;
	cr_assert_lt(i, 100, "small again");
	cr_assert_eq(zeros_with(log, 100), 0, "inside them");
	end_by_hand(log, &made);
}

/* Where zeros make writes short, groups are small at any rate: what is written a second decides. */
Test(log, many_small_groups_in_a_short_time_write_no_zeros)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 16 * MIB, 8 * MIB);

	for (int i = 0; i < 2000; i++) { /* 5,000 bytes of batches each, 30 MB a second */
		rig.clock.wall_ms += i % 6 == 0;
		cr_assert_eq(zeros_with(log, 5000), 0, "group %d", i);
	}
	for (int i = 0; i < 200; i++) {
		rig.clock.wall_ms += 1;
		if (zeros_with(log, 5000) > 0)
			break;
		cr_assert_lt(i, 199, "5 MB a second are slow");
	}
	rig.clock.wall_ms -= 5000;
	cr_assert_eq(put_and_flush(log, 5000), MR_LOG_ROOM, "a clock that goes back");
	end_by_hand(log, &made);
}

/* 10,000 a second, each flushed by itself, took 40 MiB of blocks a second for a stream. */
Test(log, few_records_in_a_block_each_take_zeros_at_any_rate_of_blocks)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, MIB, MR_BLOCK_BYTES);
	uint32_t steps = 0;

	for (int i = 0; i < 2000; i++) {
		rig.clock.wall_ms += i % 10 == 0;
		steps += zeros_with(log, 100) > 0;
	}
	cr_assert_eq(steps, (2000 - 255 + 32) / 33, "each for itself and 32 behind it");
	end_by_hand(log, &made);
}

Test(log, zeros_end_where_the_segment_ends)
{
	struct mr_recovered made;
	struct mr_log *log = log_with_zeros(&made, 64 * MIB - 8192, 64 * MIB - 12288);

	cr_assert_eq(zeros_with(log, 100), 0);
	cr_assert_eq(zeros_with(log, 100), 4096);
	cr_assert_eq(zeros_with(log, 100), 0);
	cr_assert_eq(zeros_with(log, 100), -1, "no spare");
	end_by_hand(log, &made);
}

/* Recovery clears that much behind the last group that it finds whole. */
Test(log, zeros_end_where_recovery_looks_no_further)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	options.log.group_bytes = 4096;
	options.log.batch_bytes_max = 4096;
	options.log.groups_in_flight = 2;
	options.segment_bytes = 4 * MIB;
	cr_assert_eq(mr_log_window_bytes(&options.log), 24 * KIB);
	log = log_by_hand(&made);
	for (int i = 0; i < MIB / 4096 - 1; i++)
		cr_assert_eq(zeros_with(log, 100), 0);
	cr_assert_eq(zeros_with(log, 100), 20 * KIB);
	cr_assert_eq(hand.writes[0].bytes, 24 * KIB);
	end_by_hand(log, &made);
}

/* ---- opening ------------------------------------------------------------- */

Test(log, refuses_options_that_cannot_work)
{
	struct mr_test_rig_options good = mr_test_rig_defaults();
	struct mr_log_options bad[5];
	struct mr_recovered made;
	struct mr_log *log;

	options = good;
	log = log_by_hand(&made);
	for (int i = 0; i < 5; i++)
		bad[i] = good.log;
	bad[0].groups_in_flight = 0;
	bad[1].groups_in_flight = MR_GROUPS_IN_FLIGHT_MAX + 1;
	bad[2].group_bytes = 100;
	bad[3].batch_bytes_max = 10;
	bad[4].group_bytes = 1u << 20; /* larger than the tail */
	for (int i = 0; i < 5; i++) {
		struct mr_log *none;

		cr_assert_eq(mr_log_open(&bad[i], &made.start, &rig.tail, &hand.queue,
					 &rig.clock.clock, &none, &err),
			     -EINVAL, "%d", i);
	}
	cr_assert_eq(mr_log_window_bytes(&good.log), 4 * 28672);
	cr_assert_eq(mr_log_segment_bytes_min(&good.log), 4096 + 12288);
	end_by_hand(log, &made);
}

Test(log, a_spare_that_cannot_hold_a_batch_is_a_mistake, .signal = SIGABRT)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	log = log_by_hand(&made);
	mr_log_give_spare(log, spare_of(8192));
}

Test(log, the_leader_epoch_never_falls, .signal = SIGABRT)
{
	struct mr_recovered made;
	struct mr_log *log;

	options = mr_test_rig_defaults();
	log = log_by_hand(&made);
	put(log, 100);
	mr_log_submit(log, 5, true);
	put(log, 100);
	mr_log_submit(log, 4, true);
}

/* ---- real files ---------------------------------------------------------- */

static void over_real_files(const char *backend)
{
	char directory[] = "log-test-XXXXXX";
	char command[64];
	int r;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	r = mr_io_open_directory(directory, backend, &io, &err);
	if (r < 0) {
		cr_assert_eq(system(command), 0);
		cr_skip_test("no %s here: %s", backend, err.what);
	}
	options = mr_test_rig_defaults();
	for (int round = 0; round < 3; round++) {
		mr_test_rig_open(&rig, &options, io, NULL);
		cr_assert_eq(rig.partition.log_end, (uint64_t)round * 150);
		for (int i = 0; i < 30; i++)
			mr_test_rig_put(&rig, 5, 600);
		cr_assert_eq(rig.flushed, (uint64_t)(round + 1) * 150);
		mr_test_rig_close(&rig);
	}
	mr_io_close(io);
	cr_assert_eq(system(command), 0);
}

Test(log, works_over_posix_files)
{
	over_real_files("posix");
}

Test(log, works_over_uring_files)
{
	over_real_files("uring");
}
