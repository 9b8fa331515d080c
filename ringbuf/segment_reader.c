/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a segment file: runs on the consumer's thread, owns the descriptor and a buffer. Blocks
 * below 'flushed' never change, so they are read through the page cache in large pieces, and the
 * kernel, told that they are read in order, reads the next ones meanwhile. A group's
 * checksum (engine/log/group.h says how it is made) is verified before its first batch is handed
 * out; the batches' own are the caller's to check.
 */
#include "segment_reader.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "error.h"

int mr_segment_reader_open(struct mr_segment_reader *reader, int fd,
			   const struct mr_segment_reply *reply, struct mr_error *err)
{
	*reader = (struct mr_segment_reader){
		.fd = fd,
		.segment_id = reply->segment_id,
		.base_position = reply->base_position,
		.end_position = reply->end_position,
		.position = reply->group_position,
		.next_offset = reply->group_offset,
	};
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* else it is only slower */
	if (reply->group_position >= reply->base_position + MR_BLOCK_BYTES &&
	    (reply->group_position - reply->base_position) % MR_BLOCK_BYTES == 0 &&
	    reply->group_position <= reply->end_position)
		return 0;
	return mr_error_set(err, -EBADMSG,
			    "a segment from position %" PRIu64 " to %" PRIu64
			    " cannot have a group at %" PRIu64,
			    reply->base_position, reply->end_position, reply->group_position);
}

void mr_segment_reader_close(struct mr_segment_reader *reader)
{
	if (reader->fd >= 0)
		(void)close(reader->fd); /* read only */
	free(reader->buffer);
	*reader = (struct mr_segment_reader){.fd = -1};
}

static int grow(struct mr_segment_reader *reader, size_t bytes, struct mr_error *err)
{
	size_t capacity = bytes < MR_SEGMENT_CHUNK_BYTES ? MR_SEGMENT_CHUNK_BYTES : bytes;
	uint8_t *buffer;

	if (capacity <= reader->capacity)
		return 0;
	buffer = realloc(reader->buffer, capacity);
	if (!buffer)
		return mr_error_set(err, -ENOMEM, "no memory for a group of %zu bytes", bytes);
	reader->buffer = buffer;
	reader->capacity = capacity;
	return 0;
}

static bool is_buffered(const struct mr_segment_reader *reader, uint64_t position, size_t bytes)
{
	uint64_t from = position - reader->buffer_position;

	return position >= reader->buffer_position && from <= reader->buffer_bytes &&
	       bytes <= reader->buffer_bytes - from;
}

/*
 * Makes 'bytes' from 'position' on stand in the buffer, and what follows as far as it fits and lies
 * before 'end'. 1; 0: the file ends before.
 */
static int load(struct mr_segment_reader *reader, uint64_t position, size_t bytes, uint64_t end,
		struct mr_error *err)
{
	size_t want;
	int r;

	if (is_buffered(reader, position, bytes))
		return 1;
	r = grow(reader, bytes, err);
	if (r < 0)
		return r;
	want = end - position < reader->capacity ? (size_t)(end - position) : reader->capacity;
	if (want < bytes)
		want = bytes;
	reader->buffer_position = position;
	reader->buffer_bytes = 0;
	while (reader->buffer_bytes < bytes) {
		uint64_t at = position - reader->base_position + reader->buffer_bytes;
		ssize_t n = pread(reader->fd, reader->buffer + reader->buffer_bytes,
				  want - reader->buffer_bytes, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return mr_error_set(err, -errno,
					    "cannot read a segment at byte %" PRIu64 ": %s", at,
					    strerror(errno));
		if (n == 0)
			return 0;
		reader->buffer_bytes += (size_t)n;
	}
	return 1;
}

static const uint8_t *at_position(const struct mr_segment_reader *reader, uint64_t position)
{
	return reader->buffer + (position - reader->buffer_position);
}

static void decode_group(const uint8_t *bytes, struct mr_group_header *header)
{
	memcpy(header, bytes, sizeof(*header));
	header->magic = le32toh(header->magic);
	header->bytes = le32toh(header->bytes);
	header->batch_bytes = le32toh(header->batch_bytes);
	header->base_offset = le64toh(header->base_offset);
	header->crc = le32toh(header->crc);
}

static int bad_group(const struct mr_segment_reader *reader, const char *what, struct mr_error *err)
{
	return mr_error_set(err, -EBADMSG, "the segment's group at byte %" PRIu64 " %s",
			    reader->position - reader->base_position, what);
}

/* The group's batches fill what its header says, and the checksum is right. All of it is in the
 * buffer. */
static int check_group(const struct mr_segment_reader *reader, const struct mr_group_header *header,
		       struct mr_error *err)
{
	const uint8_t *group = at_position(reader, reader->position);
	uint64_t id = htole64(reader->segment_id);
	uint32_t crc = mr_crc32c(0, &id, sizeof(id));
	struct mr_batch_header batch;
	struct mr_group_header zeroed;

	for (uint32_t at = 0; at < header->batch_bytes; at += batch.total_bytes) {
		const uint8_t *bytes = group + sizeof(*header) + at;

		if (mr_batch_decode_header(bytes, header->batch_bytes - at, &batch) < 0)
			return bad_group(reader, "holds something that is no batch", err);
		crc = mr_crc32c(crc, bytes, MR_BATCH_PREFIX_BYTES);
	}
	memcpy(&zeroed, group, sizeof(zeroed));
	zeroed.crc = 0;
	crc = mr_crc32c(crc, &zeroed, sizeof(zeroed));
	return crc == header->crc ? 0 : bad_group(reader, "has a wrong checksum", err);
}

/* Loads and checks the group at 'position'. 1; -ENODATA: there is none, so the log goes on
 * elsewhere. */
static int enter_group(struct mr_segment_reader *reader, uint64_t end, uint64_t group_bytes_max,
		       struct mr_error *err)
{
	struct mr_group_header header;
	int r = load(reader, reader->position, sizeof(header), end, err);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENODATA;
	decode_group(at_position(reader, reader->position), &header);
	if (header.magic == 0 && header.bytes == 0)
		return -ENODATA;
	if (header.magic != MR_GROUP_MAGIC || header.bytes % MR_BLOCK_BYTES != 0 ||
	    header.bytes > group_bytes_max || header.bytes < sizeof(header) ||
	    header.batch_bytes > header.bytes - sizeof(header))
		return bad_group(reader, "has a header that cannot be", err);
	if (header.base_offset < reader->next_offset)
		return bad_group(reader, "begins before the one in front of it ends", err);
	if (header.bytes > end - reader->position)
		return bad_group(reader, "is longer than what was flushed", err);
	r = load(reader, reader->position, header.bytes, end, err);
	if (r == 0)
		return bad_group(reader, "is cut by the file's end", err);
	if (r < 0)
		return r;
	r = check_group(reader, &header, err);
	if (r < 0)
		return r;
	reader->batches_end = reader->position + sizeof(header) + header.batch_bytes;
	reader->group_end = reader->position + header.bytes;
	reader->position += sizeof(header);
	reader->in_group = true;
	return 1;
}

static void leave_at_end(struct mr_segment_reader *reader)
{
	if (!reader->in_group || reader->position != reader->batches_end)
		return;
	reader->position = reader->group_end;
	reader->in_group = false;
}

int mr_segment_reader_next(struct mr_segment_reader *reader, uint64_t flushed, uint64_t limit,
			   uint64_t group_bytes_max, struct mr_batch_header *header,
			   const uint8_t **bytes, struct mr_error *err)
{
	/* a group's padding counts as flushed with it */
	uint64_t end = (flushed + MR_BLOCK_BYTES - 1) / MR_BLOCK_BYTES * MR_BLOCK_BYTES;
	int r;

	while (!reader->in_group) {
		if (reader->position >= reader->end_position)
			return -ENODATA;
		if (reader->position >= flushed || reader->position >= limit)
			return 0;
		r = enter_group(reader, end < reader->end_position ? end : reader->end_position,
				group_bytes_max, err);
		if (r < 0)
			return r;
		leave_at_end(reader); /* a group of no batches */
	}
	*bytes = at_position(reader, reader->position);
	r = mr_batch_decode_header(*bytes, reader->batches_end - reader->position, header);
	if (r < 0 || header->base_offset < reader->next_offset)
		return mr_error_set(err, -EBADMSG,
				    "the segment's batch at byte %" PRIu64 " is out of order",
				    reader->position - reader->base_position);
	return reader->position + header->total_bytes <= limit;
}

void mr_segment_reader_pass(struct mr_segment_reader *reader, const struct mr_batch_header *header)
{
	reader->position += header->total_bytes;
	reader->next_offset = header->base_offset + (uint32_t)header->last_offset_delta + 1;
	leave_at_end(reader);
}
