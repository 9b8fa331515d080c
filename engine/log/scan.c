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
	scan->piece = segment->file_bytes < SCAN_BYTES ? segment->file_bytes : SCAN_BYTES;
	scan->at = 0;
	scan->have = 0;
}

static int grow(struct mr_scan *scan, size_t want, struct mr_error *err)
{
	uint8_t *buffer;

	if (want <= scan->capacity)
		return 0;
	buffer = aligned_alloc(MR_BLOCK_BYTES, want);
	if (!buffer)
		return mr_error_set(err, -ENOMEM, "no memory for a group of %zu bytes", want);
	free(scan->buffer);
	scan->buffer = buffer;
	scan->capacity = want;
	scan->have = 0;
	return 0;
}

int mr_scan_bytes(struct mr_scan *scan, uint64_t from, size_t want, const uint8_t **bytes,
		  size_t *have, struct mr_error *err)
{
	int64_t got;
	int r;

	mr_assert(from % MR_BLOCK_BYTES == 0);
	if (from < scan->at || from - scan->at > scan->have ||
	    scan->have - (from - scan->at) < want) {
		want = (want + MR_BLOCK_BYTES - 1) & ~(size_t)(MR_BLOCK_BYTES - 1);
		if (want < scan->piece)
			want = scan->piece;
		r = grow(scan, want, err);
		if (r < 0)
			return r;
		scan->have = 0;
		got = mr_io_read(scan->file, scan->buffer, want, from, err);
		if (got < 0)
			return (int)got;
		scan->at = from;
		scan->have = (size_t)got;
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
