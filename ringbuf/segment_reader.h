/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a segment file as a client does: whole groups, checked before anything of them is handed
 * out. Owned by the consumer, one for each partition that it reads from files; its buffer takes
 * MR_SEGMENT_CHUNK_BYTES or one group.
 */
#ifndef MR_SEGMENT_READER_H
#define MR_SEGMENT_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "millrace/format.h"

#define MR_SEGMENT_CHUNK_BYTES (1u << 20)

/* 'position' is a group's start, or in the group that is loaded; buffer[0] is the byte at
 * buffer_position. */
struct mr_segment_reader {
	int fd; /* -1: none */
	uint64_t segment_id;
	uint64_t base_position;
	uint64_t end_position; /* UINT64_MAX: still written when it was found */
	uint64_t position;     /* of the next batch or group */
	uint64_t next_offset;  /* the least base offset that the next batch may have */
	uint8_t *buffer;
	uint64_t buffer_position;
	size_t buffer_bytes; /* read */
	size_t capacity;
	bool in_group;
	uint64_t batches_end; /* of the group loaded */
	uint64_t group_end;
};

/* Begins at reply->group_position; 'fd' is taken in every case. -EBADMSG with a sentence. */
int mr_segment_reader_open(struct mr_segment_reader *reader, int fd,
			   const struct mr_segment_reply *reply, struct mr_error *err);
void mr_segment_reader_close(
	struct mr_segment_reader *reader); /* twice does nothing; nor with fd -1 */

/*
 * The next batch, all of which is below 'limit', in a group below 'flushed' of at most
 * 'group_bytes_max'. 1: decoded header, and *bytes in the reader's buffer, until the next call that
 * loads a group; 0: nothing more yet; -ENODATA: the log goes on in the next segment; -EBADMSG or
 * another negative errno, with a sentence.
 */
int mr_segment_reader_next(struct mr_segment_reader *reader, uint64_t flushed, uint64_t limit,
			   uint64_t group_bytes_max, struct mr_batch_header *header,
			   const uint8_t **bytes, struct mr_error *err);

/* Goes past the batch that mr_segment_reader_next() gave. */
void mr_segment_reader_pass(struct mr_segment_reader *reader, const struct mr_batch_header *header);

/* True if the next batch, if any, needs another group: what was handed out would move. */
static inline bool mr_segment_reader_at_boundary(const struct mr_segment_reader *reader)
{
	return !reader->in_group;
}

#endif
