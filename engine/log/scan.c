/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See scan.h. Nothing read here is trusted: lengths are bounded by the segment before memory is
 * taken for them.
 */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define SCAN_BYTES (4u << 20)

void mr_scan_init(struct mr_scan *scan)
{
	memset(scan, 0, sizeof(*scan));
}

void mr_scan_deinit(struct mr_scan *scan)
{
	free(scan->buffer);
	memset(scan, 0, sizeof(*scan));
}

void mr_scan_segment(struct mr_scan *scan, const struct mr_segment *segment)
{
	scan->file = segment->file;
	scan->ahead_to = segment->file_bytes;
	scan->at = 0;
	scan->have = 0;
}

void mr_scan_ahead_to(struct mr_scan *scan, uint64_t to)
{
	scan->ahead_to = (to + MR_BLOCK_BYTES - 1) & ~(uint64_t)(MR_BLOCK_BYTES - 1);
}

/* The first 'keep' bytes from 'skip' on come to the buffer's front, with room for 'want' in all. */
static int make_room(struct mr_scan *scan, size_t skip, size_t keep, size_t want,
		     struct mr_error *err)
{
	uint8_t *buffer = scan->buffer;

	if (want > scan->capacity) {
		buffer = aligned_alloc(MR_BLOCK_BYTES, want);
		if (!buffer)
			return mr_error_set(err, -ENOMEM, "no memory for a group of %zu bytes",
					    want);
		scan->capacity = want;
	}
	if (keep)
		memmove(buffer, scan->buffer + skip, keep);
	if (buffer != scan->buffer)
		free(scan->buffer);
	scan->buffer = buffer;
	return 0;
}

/* Reads 'want' bytes from 'from' on, and ahead; what of them is in the buffer is not read twice. */
static int read_more(struct mr_scan *scan, uint64_t from, size_t want, struct mr_error *err)
{
	size_t keep = 0, skip = 0;
	int64_t got;
	int r;

	/* a read that ended inside a block ended with the file: it is asked again as a whole */
	if (from >= scan->at && from - scan->at < scan->have && scan->have % MR_BLOCK_BYTES == 0) {
		skip = (size_t)(from - scan->at);
		keep = scan->have - skip;
	}
	want = (want + MR_BLOCK_BYTES - 1) & ~(size_t)(MR_BLOCK_BYTES - 1);
	if (want < keep + SCAN_BYTES && from + want < scan->ahead_to)
		want = scan->ahead_to - from < keep + SCAN_BYTES ? (size_t)(scan->ahead_to - from)
								 : keep + SCAN_BYTES;
	r = make_room(scan, skip, keep, want, err);
	if (r < 0)
		return r;
	scan->at = from;
	scan->have = keep;
	got = mr_io_read(scan->file, scan->buffer + keep, want - keep, from + keep, err);
	if (got < 0)
		return (int)got;
	scan->have += (size_t)got;
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
	*bytes = scan->buffer + (from - scan->at);
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
