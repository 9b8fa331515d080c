/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a tail: runs on the consumer's thread, owns nothing. The engine is believed no more than
 * a disk would be: what is read is copied once and checked, and no read leaves the tail's two maps,
 * whatever stands in it.
 */
#include "tail_cursor.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum what {
	GROUP_OPEN,
	GROUP_CLOSED,
	SEGMENT_HEADER,
};

static bool could_be_group(const struct mr_group_header *header, uint64_t tail_bytes)
{
	if (header->magic != MR_GROUP_MAGIC || header->bytes % MR_BLOCK_BYTES != 0)
		return false;
	if (header->bytes > tail_bytes)
		return false;
	return header->batch_bytes <= header->bytes - sizeof(*header);
}

/* What begins at 'position'. An open group's header is zeros, its length is written last. */
static int look_at_group(const struct mr_tail_view *view, uint64_t position,
			 struct mr_group_header *header)
{
	const uint8_t *at = mr_tail_view_at(view, position);
	const uint32_t *length =
		(const uint32_t *)(const void *)(at + offsetof(struct mr_group_header, bytes));
	/* R14: pairs with W14, the close of the group: the rest of its header is visible. */
	uint32_t bytes = __atomic_load_n(length, __ATOMIC_ACQUIRE);

	memcpy(header, at, sizeof(*header));
	header->bytes = bytes;
	if (!mr_tail_view_valid(view, position))
		return -EOVERFLOW;
	if (bytes == 0)
		return GROUP_OPEN;
	if (header->magic == MR_SEGMENT_MAGIC)
		return SEGMENT_HEADER;
	return could_be_group(header, view->tail_bytes) ? GROUP_CLOSED : -EBADMSG;
}

/* Copies and decodes the header of the batch at 'position', which must end by 'end'. */
static int look_at_batch(const struct mr_tail_view *view, uint64_t position, uint64_t end,
			 struct mr_batch_header *header)
{
	uint8_t copy[MR_BATCH_HEADER_BYTES];
	int r = -EBADMSG;

	if (end - position >= sizeof(copy)) {
		memcpy(copy, mr_tail_view_at(view, position), sizeof(copy));
		r = mr_batch_decode_header(copy, sizeof(copy), header);
	}
	if (!mr_tail_view_valid(view, position))
		return -EOVERFLOW;
	if (r == -EBADMSG || header->total_bytes > end - position)
		return -EBADMSG;
	return 1;
}

/* The first batch of an open group: does the group begin after 'offset'? 0 or 1 as
 * mr_tail_cursor_find(). */
static int check_open_group(const struct mr_tail_view *view, uint64_t position, uint64_t limit,
			    uint64_t offset)
{
	uint64_t first = position + sizeof(struct mr_group_header);
	struct mr_batch_header batch;
	int r;

	if (first >= limit)
		return 1;
	r = look_at_batch(view, first, limit, &batch);
	return r == 1 ? batch.base_offset <= offset : r;
}

int mr_tail_cursor_find(const struct mr_tail_view *view, uint64_t offset, uint64_t limit,
			struct mr_tail_cursor *cursor)
{
	/* R7's position first, then the hint, which is stored before it: never older than the
	 * position */
	uint64_t position = atomic_load_explicit(&view->page->reclaimed, memory_order_acquire);
	uint64_t start = position;
	struct mr_group_header header;
	int r;

	if (offset < atomic_load_explicit(&view->page->reclaimed_offset, memory_order_relaxed))
		return 0; /* relaxed: a hint */
	if (position % MR_BLOCK_BYTES != 0)
		return -EBADMSG;
	while (position < limit && limit - position <= view->tail_bytes) {
		r = look_at_group(view, position, &header);
		if (r < 0)
			return r;
		if (r == SEGMENT_HEADER) {
			start += start == position ? MR_BLOCK_BYTES : 0;
			position += MR_BLOCK_BYTES;
			continue;
		}
		if (r == GROUP_OPEN) {
			r = position == start ? check_open_group(view, position, limit, offset) : 1;
			if (r < 1)
				return r;
			break;
		}
		if (position == start && offset < header.base_offset)
			return 0;
		if (offset < header.base_offset + header.record_count)
			break;
		position += header.bytes;
	}
	if (position < limit && limit - position > view->tail_bytes)
		return -EOVERFLOW;
	*cursor = (struct mr_tail_cursor){.position = position};
	return 1;
}

#define ENTERED 1 /* the position has moved: look at it anew */

/* Steps from a boundary into the group there, or over a segment's header block. */
static int enter_group(struct mr_tail_cursor *cursor, const struct mr_tail_view *view)
{
	struct mr_group_header header;
	int r = look_at_group(view, cursor->position, &header);

	if (r < 0)
		return r;
	if (r == SEGMENT_HEADER) {
		cursor->position += MR_BLOCK_BYTES;
		return ENTERED;
	}
	cursor->group_start = cursor->position;
	cursor->position += sizeof(header);
	cursor->batches_end = 0;
	cursor->in_group = true;
	return ENTERED;
}

/* Finds out whether the group was closed since. */
static int see_end(struct mr_tail_cursor *cursor, const struct mr_tail_view *view)
{
	struct mr_group_header header;
	int r;

	if (cursor->batches_end != 0)
		return 0;
	r = look_at_group(view, cursor->group_start, &header);
	if (r == SEGMENT_HEADER)
		return -EBADMSG;
	if (r != GROUP_CLOSED)
		return r; /* an error, or 0: open */
	cursor->batches_end = cursor->group_start + sizeof(header) + header.batch_bytes;
	cursor->group_end = cursor->group_start + header.bytes;
	return cursor->position > cursor->batches_end ? -EBADMSG : 0;
}

static_assert(GROUP_OPEN == 0, "an open group is no error and has no end yet");

static void leave_group(struct mr_tail_cursor *cursor)
{
	cursor->position = cursor->group_end;
	cursor->in_group = false;
}

int mr_tail_cursor_next(struct mr_tail_cursor *cursor, const struct mr_tail_view *view,
			uint64_t limit, struct mr_batch_header *header)
{
	int r;

	while (cursor->position < limit) { /* each turn moves on by a header at least */
		uint64_t end = limit;

		if (limit - cursor->position > view->tail_bytes)
			return -EOVERFLOW;
		r = cursor->in_group ? see_end(cursor, view) : enter_group(cursor, view);
		if (r < 0)
			return r;
		if (r == ENTERED)
			continue;
		if (cursor->position == cursor->batches_end) {
			leave_group(cursor);
			continue;
		}
		if (cursor->batches_end != 0 && cursor->batches_end < end)
			end = cursor->batches_end;
		return look_at_batch(view, cursor->position, end, header);
	}
	return 0;
}
