/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a log in memory: readers of the tail find every record from the log start
 * offset on, as in any tail, and nothing older; what is reclaimed is the oldest and no more than
 * is needed; a hold is never passed; no offset is given beyond what is reserved. There is no disk
 * in this file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "log.h"
#include "tail_cursor.h"

#define TAIL_BYTES  (1u << 20)
#define GROUP_BYTES (TAIL_BYTES / 16)
#define BATCH_MAX   (40u << 10)
#define BASE	    UINT64_C(1000000)

static struct mr_tail tail;
static struct mr_tail_view view;
static struct mr_log *mem;
static struct mr_error err;

static void begin(void)
{
	static const uint8_t topic_id[16] = {7};
	struct mr_log_options options = {GROUP_BYTES, BATCH_MAX, 1, .in_memory = true};
	struct mr_log_start start = {
		.position = MR_BLOCK_BYTES,
		.offset = BASE,
		.offset_limit = UINT64_MAX,
	};

	cr_assert_eq(
		mr_tail_create(TAIL_BYTES, topic_id, 0, start.position, start.offset, &tail, &err),
		0, "%s", err.what);
	cr_assert_eq(mr_tail_view_open(tail.fd, TAIL_BYTES, &view, &err), 0, "%s", err.what);
	cr_assert_eq(mr_log_open(&options, &start, &tail, NULL, NULL, &mem, &err), 0, "%s",
		     err.what);
}

static void end(void)
{
	struct mr_segment *active, *spare;

	mr_log_close(mem, &active, &spare);
	cr_expect_null(active);
	cr_expect_null(spare);
	mr_tail_view_close(&view);
	mr_tail_destroy(&tail);
}

static uint64_t log_end(void)
{
	struct mr_log_state state;

	mr_log_state(mem, &state);
	return state.end_offset;
}

static enum mr_log_room put(int32_t records, uint32_t value_bytes)
{
	struct mr_test_batch batch = {
		.base_offset = log_end(),
		.producer_id = -1,
		.records = records,
		.value_bytes = value_bytes,
		.timestamp_ms = 7,
	};
	uint32_t bytes = mr_test_batch_bytes_max(&batch);
	enum mr_log_room room;
	uint8_t *at;

	room = mr_log_reserve(mem, bytes, &at);
	if (room != MR_LOG_ROOM)
		return room;
	bytes = mr_test_batch_encode(&batch, at, bytes);
	cr_assert_eq(mr_log_append(mem, bytes, (uint32_t)records, 7),
		     batch.base_offset + (uint64_t)records);
	return MR_LOG_ROOM;
}

/* Every batch from 'offset' on, in order and whole, up to the end. */
static void read_from(uint64_t offset)
{
	uint64_t limit = tail.page->appended, next = 0;
	struct mr_tail_cursor cursor;
	struct mr_batch_header header;
	int r;

	cr_assert_eq(mr_tail_cursor_find(&view, offset, limit, &cursor), 1);
	while ((r = mr_tail_cursor_next(&cursor, &view, limit, &header)) == 1) {
		cr_assert_eq(mr_batch_check_crc(mr_tail_view_at(&view, cursor.position), &header),
			     0);
		cr_assert(next == 0 || header.base_offset == next);
		cr_assert(next != 0 || header.base_offset <= offset);
		next = header.base_offset + (uint64_t)header.record_count;
		mr_tail_cursor_pass(&cursor, &header);
	}
	cr_assert_eq(r, 0);
	cr_assert(next == log_end() || offset == log_end());
}

Test(log_memory, all_that_is_kept_is_found_and_nothing_older, .init = begin, .fini = end)
{
	struct mr_tail_cursor cursor;
	uint32_t seed = 1;

	for (int i = 0; i < 4000; i++) {
		uint64_t start;

		seed = seed * 1664525 + 1013904223;
		cr_assert_eq(put(1 + (int32_t)(seed >> 28), 8 + (seed >> 16) % 2000), MR_LOG_ROOM);
		start = mr_tail_log_start(&tail);
		cr_assert_geq(start, BASE);
		if (i % 37)
			continue;
		read_from(start);
		read_from((start + log_end()) / 2);
		read_from(log_end());
		if (start > BASE)
			cr_assert_eq(
				mr_tail_cursor_find(&view, start - 1, tail.page->appended, &cursor),
				0);
	}
	cr_assert_gt(tail.page->appended, 8 * TAIL_BYTES);
	cr_assert_eq(tail.page->flushed_offset, BASE, "nothing is ever flushed");
}

/* A topic says how much it keeps: all but the group that makes room and the padding. */
Test(log_memory, the_tail_is_used_to_its_end, .init = begin, .fini = end)
{
	for (int i = 0; i < 3000; i++) {
		cr_assert_eq(put(10, 100), MR_LOG_ROOM);
		if (mr_tail_log_start(&tail) > BASE)
			cr_assert_geq(tail.page->appended - tail.page->reclaimed,
				      TAIL_BYTES - 2 * (GROUP_BYTES + MR_BLOCK_BYTES + 2000));
		cr_assert_leq(tail.page->appended - tail.page->reclaimed, TAIL_BYTES);
	}
	cr_assert_gt(mr_tail_log_start(&tail), BASE);
}

Test(log_memory, largest_batches_fit_again_and_again, .init = begin, .fini = end)
{
	for (int i = 0; i < 200; i++)
		cr_assert_eq(put(1, BATCH_MAX - 200), MR_LOG_ROOM);
	read_from(mr_tail_log_start(&tail));
}

/* The only thing that is waited for. */
Test(log_memory, a_hold_is_not_passed, .init = begin, .fini = end)
{
	uint64_t held;

	for (int i = 0; i < 100; i++)
		cr_assert_eq(put(10, 100), MR_LOG_ROOM);
	held = tail.page->appended & ~(uint64_t)(MR_BLOCK_BYTES - 1);
	tail.holds[3].position = held;
	for (int i = 0; i < 3000 && put(10, 100) == MR_LOG_ROOM; i++)
		cr_assert_leq(tail.page->reclaimed, held);
	cr_assert_eq(put(10, 100), MR_LOG_TAIL_FULL);
	cr_assert_leq(tail.page->reclaimed, held);
	tail.holds[3].position = MR_TAIL_NO_HOLD;
	cr_assert_eq(put(10, 100), MR_LOG_ROOM);
	read_from(mr_tail_log_start(&tail));
}

Test(log_memory, no_group_begins_beyond_what_is_reserved, .fini = end)
{
	static const uint8_t topic_id[16] = {7};
	struct mr_log_options options = {GROUP_BYTES, BATCH_MAX, 1, .in_memory = true};
	struct mr_log_start start = {.position = MR_BLOCK_BYTES, .offset = 50, .offset_limit = 60};
	int count = 0;

	cr_assert_eq(mr_tail_create(TAIL_BYTES, topic_id, 0, start.position, 50, &tail, &err), 0);
	cr_assert_eq(mr_tail_view_open(tail.fd, TAIL_BYTES, &view, &err), 0);
	cr_assert_eq(mr_log_open(&options, &start, &tail, NULL, NULL, &mem, &err), 0);
	while (count < 2000 && put(10, 100) == MR_LOG_ROOM)
		count++;
	cr_assert_eq(put(10, 100), MR_LOG_NO_SEGMENT);
	cr_assert_lt(log_end(), start.offset_limit + MR_LOG_LIMIT_SLACK);
	cr_assert_leq(tail.page->appended - MR_BLOCK_BYTES, GROUP_BYTES + BATCH_MAX,
		      "one group began, no second");
	mr_log_raise_limit(mem, log_end() + 1);
	cr_assert_eq(put(10, 100), MR_LOG_ROOM);
	mr_log_raise_limit(mem, 1); /* it never goes back */
	cr_assert_eq(put(10, 100), MR_LOG_ROOM);
	read_from(50);
}

Test(log_memory, submit_has_nothing_to_write, .init = begin, .fini = end)
{
	struct mr_log_state state;

	cr_assert_eq(put(10, 100), MR_LOG_ROOM);
	cr_assert_eq(mr_log_submit(mem, 3, true), 0);
	mr_log_state(mem, &state);
	cr_assert_eq(state.in_flight, 0);
	cr_assert(state.open);
	cr_assert_eq(mr_log_next_event(mem).kind, MR_LOG_EVENT_NONE);
}

Test(log_memory, a_tail_that_holds_no_group_is_refused)
{
	static const uint8_t topic_id[16] = {7};
	struct mr_log_options options = {GROUP_BYTES, TAIL_BYTES, 1, .in_memory = true};
	struct mr_log_start start = {.position = MR_BLOCK_BYTES};

	cr_assert_eq(mr_tail_create(TAIL_BYTES, topic_id, 0, start.position, 0, &tail, &err), 0);
	cr_assert_eq(mr_log_open(&options, &start, &tail, NULL, NULL, &mem, &err), -EINVAL);
	mr_tail_destroy(&tail);
}
