/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log back from its files (replay.h). Runs on the caller's thread, owns its buffer only.
 */
#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check.h"

struct replay {
	const struct mr_replay_options *options;
	struct mr_io_file *file;
	bool own_file;
	char path[160];
	uint8_t *buffer; /* block-aligned */
	size_t capacity;
	uint64_t next_offset; /* what the next group must begin with; 0 before the first */
};

static int grow(struct replay *replay, size_t bytes, struct mr_error *err)
{
	uint8_t *grown;

	if (bytes <= replay->capacity)
		return 0;
	grown = aligned_alloc(MR_BLOCK_BYTES, bytes);
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory to read a group of %zu bytes", bytes);
	free(replay->buffer);
	replay->buffer = grown;
	replay->capacity = bytes;
	return 0;
}

static int open_segment(struct replay *replay, struct mr_segment *segment, struct mr_error *err)
{
	mr_segment_path(segment, replay->path);
	replay->file = segment->file;
	replay->own_file = !segment->file;
	if (replay->file)
		return 0;
	return mr_io_open(segment->io, replay->path, MR_IO_READ, &replay->file, err);
}

static void close_segment(struct replay *replay)
{
	if (replay->own_file)
		mr_io_file_close(replay->file);
	replay->file = NULL;
}

static int give_batches(struct replay *replay, const struct mr_group_header *group)
{
	const uint8_t *at = replay->buffer + sizeof(struct mr_group_header);
	const uint8_t *end = at + group->batch_bytes;

	while (at < end) {
		struct mr_batch_header header;
		int r = mr_batch_decode_header(at, (size_t)(end - at), &header);

		mr_assert(r == 0); /* the group was checked */
		if (header.base_offset >= replay->options->end_offset)
			return 0;
		if (header.base_offset + (uint64_t)header.last_offset_delta >=
		    replay->options->from_offset) {
			r = replay->options->batch(at, &header, replay->options->arg);
			if (r != 0)
				return r;
		}
		at += header.total_bytes;
	}
	return 0;
}

/* Reads the group at 'offset' of the file; *bytes 0: none is there, the segment ends. */
static int read_group(struct replay *replay, const struct mr_segment *segment, uint64_t offset,
		      struct mr_group_header *group, struct mr_error *err)
{
	int64_t got = mr_io_read(replay->file, replay->buffer, MR_BLOCK_BYTES, offset, err);
	int r;

	group->bytes = 0;
	if (got < 0)
		return (int)got;
	if (got < MR_BLOCK_BYTES)
		return 0;
	r = mr_group_decode_header(replay->buffer, group, err);
	if (r == -ENODATA) {
		group->bytes = 0;
		return 0;
	}
	if (r == 0)
		r = grow(replay, group->bytes, err);
	if (r == 0) {
		got = mr_io_read(replay->file, replay->buffer, group->bytes, offset, err);
		r = got < 0 ? (int)got : 0;
	}
	if (r == 0)
		r = mr_group_check(replay->buffer, (size_t)got, segment->segment_id, group, err);
	if (r == -EAGAIN)
		r = mr_error_set(err, -EBADMSG, "group of %u bytes is cut after %lld", group->bytes,
				 (long long)got);
	if (r < 0)
		mr_error_prefix(err, "segment '%s', byte %" PRIu64 ": ", replay->path, offset);
	return r;
}

static int replay_segment(struct replay *replay, struct mr_segment *segment, uint64_t position,
			  struct mr_error *err)
{
	struct mr_group_header group;
	int r = open_segment(replay, segment, err);

	/* a truncated segment ends before its file's last group; behind the end that was asked for
	   a group may be half written */
	while (r == 0 && replay->next_offset < replay->options->end_offset &&
	       !(segment->end_position && position >= segment->end_position)) {
		r = read_group(replay, segment, position - segment->base_position, &group, err);
		if (r < 0 || !group.bytes || group.base_offset >= replay->options->end_offset)
			break;
		r = give_batches(replay, &group);
		position += group.bytes;
		replay->next_offset = group.base_offset + group.record_count;
	}
	close_segment(replay);
	return r;
}

int mr_log_replay(const struct mr_log_files *files, const struct mr_replay_options *options,
		  struct mr_error *err)
{
	size_t count = mr_log_files_count(files), i = 0;
	struct replay replay = {.options = options};
	struct mr_log_place place;
	int r;

	if (options->from_offset >= options->end_offset)
		return 0;
	r = mr_log_files_find_offset(files, options->from_offset, &place);
	if (r < 0)
		return mr_error_set(err, r,
				    "offset %" PRIu64 " is not kept: the oldest is %" PRIu64,
				    options->from_offset, mr_log_files_start_offset(files));
	while (i < count && mr_log_files_at(files, i) != place.segment)
		i++;
	r = grow(&replay, MR_BLOCK_BYTES, err);
	for (; r == 0 && i < count && replay.next_offset < options->end_offset; i++) {
		struct mr_segment *segment = mr_log_files_at(files, i);
		bool first = segment == place.segment;

		r = replay_segment(&replay, segment,
				   first ? place.group_position
					 : segment->base_position + MR_BLOCK_BYTES,
				   err);
	}
	free(replay.buffer);
	return r;
}
