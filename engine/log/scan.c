/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See scan.h. Nothing read here is trusted: lengths are bounded by the segment before memory is
 * taken for them.
 */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "read_ahead.h"

#define SCAN_BYTES	(4u << 20)
#define HUGE_PAGE_BYTES (2u << 20)

void mr_scan_init(struct mr_scan *scan, bool overlaps)
{
	memset(scan, 0, sizeof(*scan));
	scan->overlaps = overlaps;
}

void mr_scan_rest(struct mr_scan *scan)
{
	if (scan->asked_bytes)
		(void)mr_read_ahead_wait(scan->ahead, NULL); /* nobody wanted it */
	scan->asked_bytes = 0;
}

void mr_scan_deinit(struct mr_scan *scan)
{
	mr_scan_rest(scan);
	mr_read_ahead_close(scan->ahead);
	free(scan->buffers[0].memory);
	free(scan->buffers[1].memory);
	memset(scan, 0, sizeof(*scan));
}

void mr_scan_segment(struct mr_scan *scan, const struct mr_segment *segment)
{
	mr_scan_rest(scan);
	scan->file = segment->file;
	scan->ahead_to = segment->file_bytes;
	scan->at = 0;
	scan->have = 0;
}

void mr_scan_ahead_to(struct mr_scan *scan, uint64_t to)
{
	scan->ahead_to = (to + MR_BLOCK_BYTES - 1) & ~(uint64_t)(MR_BLOCK_BYTES - 1);
}

static int no_memory(size_t bytes, struct mr_error *err)
{
	return mr_error_set(err, -ENOMEM, "no memory for a group of %zu bytes", bytes);
}

/* Room for a piece of 'bytes' behind 'room'. What the buffer holds is lost. */
static int make_room(struct mr_scan_buffer *buffer, size_t room, size_t bytes, struct mr_error *err)
{
	uint8_t *memory;

	if (room <= buffer->room && bytes <= buffer->capacity)
		return 0;
	memory = aligned_alloc(HUGE_PAGE_BYTES, (room + bytes + HUGE_PAGE_BYTES - 1) &
							~(size_t)(HUGE_PAGE_BYTES - 1));
	if (!memory)
		return no_memory(room + bytes, err);
	/* a disk reads into one piece faster than into a thousand; small pages do as well */
	(void)madvise(memory, room + bytes, MADV_HUGEPAGE);
	free(buffer->memory);
	*buffer = (struct mr_scan_buffer){memory, room, bytes};
	return 0;
}

/* More room before the piece of 'bytes' that the buffer holds. */
static int grow_room(struct mr_scan_buffer *buffer, size_t room, size_t bytes, struct mr_error *err)
{
	struct mr_scan_buffer grown = {0};
	int r;

	if (room <= buffer->room)
		return 0;
	r = make_room(&grown, room, buffer->capacity, err);
	if (r < 0)
		return r;
	memcpy(grown.memory + grown.room, buffer->memory + buffer->room, bytes);
	free(buffer->memory);
	*buffer = grown;
	return 0;
}

/* A read of what was asked for and, up to 'ahead_to', of what will be. */
static size_t piece_bytes(const struct mr_scan *scan, uint64_t from, size_t least)
{
	if (least >= SCAN_BYTES || from + least >= scan->ahead_to)
		return least;
	return scan->ahead_to - from < SCAN_BYTES ? (size_t)(scan->ahead_to - from) : SCAN_BYTES;
}

/* The piece at 'from' into the other buffer: read ahead, or now. Its length, or an error. */
static int64_t fetch_piece(struct mr_scan *scan, uint64_t from, size_t keep, size_t least,
			   bool *ended, struct mr_error *err)
{
	struct mr_scan_buffer *other = &scan->buffers[!scan->current];
	size_t bytes = scan->asked_bytes;
	int64_t got;

	if (bytes && scan->asked_from == from) {
		scan->asked_bytes = 0;
		got = mr_read_ahead_wait(scan->ahead, err);
	} else {
		int r;

		mr_scan_rest(scan);
		bytes = piece_bytes(scan, from, least);
		r = make_room(other, keep, bytes, err);
		if (r < 0)
			return r;
		scan->read_bytes += bytes;
		got = mr_io_read(scan->file, other->memory + other->room, bytes, from, err);
	}
	*ended = got < (int64_t)bytes;
	return got;
}

/* Begins to read the next piece: only an offer, so what is missing for it is no error. */
static void read_on(struct mr_scan *scan)
{
	struct mr_scan_buffer *other = &scan->buffers[!scan->current];
	uint64_t from = scan->at + scan->have;
	size_t bytes;

	if (!scan->overlaps || scan->asked_bytes || from >= scan->ahead_to)
		return;
	bytes = piece_bytes(scan, from, 0);
	if (make_room(other, SCAN_BYTES, bytes, NULL) < 0)
		return;
	if (!scan->ahead && mr_read_ahead_open(&scan->ahead) < 0) {
		scan->overlaps = false;
		return;
	}
	scan->asked_from = from;
	scan->asked_bytes = bytes;
	scan->read_bytes += bytes;
	mr_read_ahead_start(scan->ahead, scan->file, other->memory + other->room, bytes, from);
}

/* Reads 'want' bytes from 'from' on, and ahead; what of them is in the buffer is not read twice. */
static int read_more(struct mr_scan *scan, uint64_t from, size_t want, struct mr_error *err)
{
	size_t keep = 0;
	bool ended;

	/* a read that ended inside a block ended with the file: it is asked again as a whole */
	if (from >= scan->at && from - scan->at < scan->have && scan->have % MR_BLOCK_BYTES == 0)
		keep = scan->have - (size_t)(from - scan->at);
	want = (want + MR_BLOCK_BYTES - 1) & ~(size_t)(MR_BLOCK_BYTES - 1);
	do {
		struct mr_scan_buffer *other = &scan->buffers[!scan->current];
		int64_t got = fetch_piece(scan, from + keep, keep, want - keep, &ended, err);
		int r = got < 0 ? (int)got : grow_room(other, keep, (size_t)got, err);

		if (r < 0)
			return r;
		if (keep)
			memcpy(other->memory + other->room - keep, scan->bytes + (from - scan->at),
			       keep);
		scan->bytes = other->memory + other->room - keep;
		scan->current = !scan->current;
		scan->at = from;
		scan->have = keep += (size_t)got;
	} while (keep < want && !ended);
	if (!ended)
		read_on(scan);
	return 0;
}

int mr_scan_bytes(struct mr_scan *scan, uint64_t from, size_t want, const uint8_t **bytes,
		  size_t *have, struct mr_error *err)
{
	mr_assert(from % MR_BLOCK_BYTES == 0);
	if (from < scan->at || from - scan->at > scan->have ||
	    scan->have - (from - scan->at) < want) {
		int r = read_more(scan, from, want, err);

		if (r < 0)
			return r;
	}
	*bytes = scan->bytes + (from - scan->at);
	*have = scan->have - (from - scan->at);
	return 0;
}

int mr_scan_group(struct mr_scan *scan, const struct mr_segment *segment, uint64_t from,
		  uint64_t end, struct mr_group_header *header, const uint8_t **bytes,
		  struct mr_error *err)
{
	size_t have = 0;
	int r = mr_scan_bytes(scan, from, MR_BLOCK_BYTES, bytes, &have, err);

	if (r < 0)
		return r;
	if (have == 0)
		return mr_error_set(err, -ENODATA, "the file ends here");
	r = mr_group_check(*bytes, have, segment->segment_id, header, err);
	if (r != -EAGAIN)
		return r;
	if (header->bytes > end - from)
		return mr_error_set(err, -EBADMSG, "group of %u bytes, longer than its segment",
				    header->bytes);
	r = mr_scan_bytes(scan, from, header->bytes, bytes, &have, err);
	if (r < 0)
		return r;
	r = mr_group_check(*bytes, have, segment->segment_id, header, err);
	if (r == -EAGAIN)
		return mr_error_set(err, -EBADMSG, "group of %u bytes, the file ends before",
				    header->bytes);
	return r;
}
