/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a partition's log from its first byte to its last, group by group. Runs on the main thread
 * and owns one buffer of the largest group. Unlike recovery it begins at the oldest segment and
 * believes no checkpoint, so it meets damage that a start would not look at. A segment ends where
 * the next one begins, as its name says: behind that, a truncated one (log/truncate.h) still holds
 * groups that are gone.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "offline.h"

#define GROUP_BYTES_MAX (1u << 30) /* more than any configuration allows */

/* What the next group must be. */
struct walk {
	const struct mr_offline *offline;
	const struct mr_offline_visitor *visitor;
	struct mr_offline_counts *counts;
	uint8_t *buffer; /* owned, block-aligned */
	size_t capacity;
	struct mr_expander expander;
	bool begun; /* the next three are known */
	uint64_t group_number;
	uint32_t previous_crc;
	uint64_t offset;
	uint64_t until; /* where the next segment begins; UINT64_MAX: there is none */
};

/* At least 'bytes' of room; what was in the buffer is lost. */
static int make_room(struct walk *walk, size_t bytes, struct mr_error *err)
{
	if (bytes <= walk->capacity)
		return 0;
	free(walk->buffer);
	walk->capacity = 0;
	walk->buffer = aligned_alloc(MR_BLOCK_BYTES, bytes);
	if (!walk->buffer)
		return mr_error_set(err, -ENOMEM, "no memory for a group of %zu bytes", bytes);
	walk->capacity = bytes;
	return 0;
}

/* The log ends here: notes why, if it is not a clean end. */
static int damaged(struct walk *walk, const struct mr_error *why)
{
	walk->counts->damaged = true;
	walk->counts->damage = *why;
	return -ENODATA;
}

static int check_chain(struct walk *walk, const struct mr_group_header *header, const char *path,
		       uint64_t at)
{
	struct mr_error why;

	if (!walk->begun ||
	    (header->number == walk->group_number && header->previous_crc == walk->previous_crc &&
	     header->base_offset == walk->offset))
		return 0;
	mr_error_set(&why, -EBADMSG,
		     "'%s': the group at byte %" PRIu64 " is number %" PRIu64
		     " from offset %" PRIu64 ", expected number %" PRIu64 " from offset %" PRIu64,
		     path, at, header->number, header->base_offset, walk->group_number,
		     walk->offset);
	return damaged(walk, &why);
}

/* One whole, checked group into the buffer. -ENODATA: none begins here; -EBADMSG: 'why'. */
static int load_group(struct walk *walk, struct mr_segment *segment, uint64_t at,
		      struct mr_group_header *header, struct mr_error *why, struct mr_error *err)
{
	int64_t n = mr_io_read(segment->file, walk->buffer, MR_BLOCK_BYTES, at, err);
	int r;

	if (n < 0)
		return (int)n;
	if (n < (int64_t)sizeof(*header))
		return -ENODATA;
	r = mr_group_decode_header(walk->buffer, header, why);
	if (r == 0 && header->bytes > GROUP_BYTES_MAX)
		r = mr_error_set(why, -EBADMSG, "a group of %" PRIu32 " bytes", header->bytes);
	if (r < 0)
		return r == -ENODATA ? r : -EBADMSG;
	r = make_room(walk, header->bytes, err);
	if (r < 0)
		return r;
	n = mr_io_read(segment->file, walk->buffer, header->bytes, at, err);
	if (n < 0)
		return (int)n;
	r = mr_group_check(walk->buffer, (size_t)n, segment->segment_id, header, why);
	if (r == -EAGAIN)
		mr_error_set(why, -EBADMSG, "the file ends within a group");
	return r < 0 && r != -ENODATA ? -EBADMSG : r;
}

/* The one that is due. -ENODATA: the log ends here, or is damaged. */
static int read_group(struct walk *walk, struct mr_segment *segment, const char *path, uint64_t at,
		      struct mr_group_header *header, struct mr_error *err)
{
	struct mr_error why;
	int r = load_group(walk, segment, at, header, &why, err);

	if (r == -EBADMSG) {
		mr_error_prefix(&why, "'%s' at byte %" PRIu64 ": ", path, at);
		return damaged(walk, &why);
	}
	return r < 0 ? r : check_chain(walk, header, path, at);
}

/* Where the records of a batch are: 0; -ENODATA: its codec's frame is damaged, as is noted. */
static int open_records(struct walk *walk, const uint8_t *batch,
			const struct mr_batch_header *header, struct mr_batch_reader *reader,
			struct mr_error *err)
{
	const uint8_t *records;
	size_t bytes;
	int r;

	if (mr_batch_read(reader, batch, header) == 0)
		return 0;
	mr_expander_begin(&walk->expander);
	r = mr_expander_records(&walk->expander, batch, header, &records, &bytes, err);
	if (r == 1) {
		mr_batch_read_records(reader, header, records, bytes);
		return 0;
	}
	mr_error_prefix(err, "the batch at offset %" PRIu64 ": ", header->base_offset);
	return r == -EBADMSG ? damaged(walk, err) : r;
}

/* Hands out what is in the checked group in the buffer. -ENODATA: damaged. */
static int visit_group(struct walk *walk, const struct mr_group_header *group, struct mr_error *err)
{
	const struct mr_offline_visitor *visitor = walk->visitor;
	const uint8_t *at = walk->buffer + sizeof(*group);
	const uint8_t *end = at + group->batch_bytes;
	struct mr_batch_header header;

	while (at < end && mr_batch_decode_header(at, (size_t)(end - at), &header) == 0) {
		struct mr_batch_reader reader;
		struct mr_message message = {0};
		int r;

		if (visitor->batch)
			visitor->batch(&header, visitor->arg);
		r = visitor->record ? open_records(walk, at, &header, &reader, err) : 0;
		if (r < 0)
			return r;
		while (visitor->record && (r = mr_batch_next(&reader, &message)) == 1)
			visitor->record(&message, visitor->arg);
		if (r < 0) {
			mr_error_set(err, r,
				     "the batch at offset %" PRIu64 ": a record is malformed",
				     header.base_offset);
			return damaged(walk, err);
		}
		at += header.total_bytes;
	}
	return 0;
}

static void count_group(struct walk *walk, const struct mr_segment *segment, uint64_t at,
			const struct mr_group_header *header)
{
	struct mr_offline_counts *counts = walk->counts;

	counts->groups++;
	counts->batches += header->batch_count;
	counts->records += header->record_count;
	counts->group_bytes += header->bytes;
	counts->end_offset = header->base_offset + header->record_count;
	counts->end_position = segment->base_position + at + header->bytes;
	if (header->flushed_offset > counts->flushed_offset)
		counts->flushed_offset = header->flushed_offset;
	walk->begun = true;
	walk->group_number = header->number + 1;
	walk->previous_crc = header->crc;
	walk->offset = counts->end_offset;
}

/* 0, or -ENODATA when the walk is over because of damage. */
static int walk_segment(struct walk *walk, struct mr_segment *segment, const char *path,
			const struct mr_segment_header *segment_header, struct mr_error *err)
{
	struct mr_group_header header;
	uint64_t at = MR_BLOCK_BYTES;
	int r = 0;

	if (walk->visitor->segment)
		walk->visitor->segment(path, segment_header, walk->visitor->arg);
	if (walk->counts->segments++ == 0) {
		walk->counts->start_offset = segment->base_offset;
		walk->counts->end_offset = segment->base_offset;
		walk->counts->end_position = segment->base_position;
	}
	while (walk->counts->end_offset < walk->until &&
	       (r = read_group(walk, segment, path, at, &header, err)) == 0) {
		if (walk->visitor->group)
			walk->visitor->group(segment->base_position + at, &header,
					     walk->visitor->arg);
		r = visit_group(walk, &header, err);
		if (r < 0)
			break;
		count_group(walk, segment, at, &header);
		at += header.bytes;
	}
	return r == -ENODATA && !walk->counts->damaged ? 0 : r;
}

/* A later segment must begin where the one before ended. */
static int check_segment(struct walk *walk, const struct mr_segment *segment, const char *path)
{
	const struct mr_offline_counts *counts = walk->counts;
	struct mr_error why;

	if (counts->segments == 0 || (segment->base_position == counts->end_position &&
				      segment->base_offset == counts->end_offset))
		return 0;
	mr_error_set(&why, -EBADMSG,
		     "'%s' begins at offset %" PRIu64 ", position %" PRIu64
		     ", the segment before it ends at offset %" PRIu64 ", position %" PRIu64,
		     path, segment->base_offset, segment->base_position, counts->end_offset,
		     counts->end_position);
	return damaged(walk, &why);
}

static int walk_file(struct walk *walk, const char *directory, const char *name,
		     struct mr_error *err)
{
	struct mr_segment_header header;
	struct mr_segment *segment = NULL;
	struct mr_error why;
	char path[160];
	int r = mr_segment_open(walk->offline->io, directory, name, false, 0, &segment, &header,
				&why);

	if (r == -EBADMSG)
		return damaged(walk, &why);
	if (r < 0) {
		*err = why;
		return r;
	}
	mr_segment_path(segment, path);
	r = check_segment(walk, segment, path);
	if (r == 0)
		r = walk_segment(walk, segment, path, &header, err);
	mr_segment_close(segment);
	return r;
}

static bool is_segment_name(const char *name)
{
	return strspn(name, "0123456789") == 20 && strcmp(name + 20, ".log") == 0;
}

/* The segments' names, in their order, to the front: by name is by offset. How many. */
static size_t keep_segments(struct mr_io_entry *entries, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (is_segment_name(entries[i].name))
			entries[kept++] = entries[i];
	return kept;
}

/* ---- behind damage --------------------------------------------------------------------------- */

/* 1: a whole group of a later offset than all that was read begins in this file. */
static int find_whole(struct walk *walk, struct mr_segment *segment, struct mr_error *err)
{
	struct mr_offline_counts *counts = walk->counts;
	struct mr_group_header header;
	struct mr_error why;
	uint64_t at = MR_BLOCK_BYTES;

	while (at < segment->file_bytes) {
		int r = load_group(walk, segment, at, &header, &why, err);

		if (r < 0 && r != -ENODATA && r != -EBADMSG)
			return r;
		if (r == 0 && header.base_offset >= counts->end_offset) {
			counts->again_offset = header.base_offset;
			return header.base_offset < walk->until;
		}
		at += r == 0 ? header.bytes : MR_BLOCK_BYTES;
	}
	return 0;
}

/* Where records can be read again. */
static int look_behind(struct walk *walk, const char *directory, const struct mr_io_entry *entries,
		       size_t count, struct mr_error *err)
{
	struct mr_segment_header header;
	struct mr_segment *segment;
	struct mr_error why;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		walk->until = i + 1 < count ? strtoull(entries[i + 1].name, NULL, 10) : UINT64_MAX;
		if (walk->until <= walk->counts->end_offset ||
		    mr_segment_open(walk->offline->io, directory, entries[i].name, false, 0,
				    &segment, &header, &why) < 0)
			continue;
		r = find_whole(walk, segment, err);
		mr_segment_close(segment);
	}
	if (r == 0)
		walk->counts->again_offset = UINT64_MAX;
	return r < 0 ? r : 0;
}

int mr_offline_walk(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		    const struct mr_offline_visitor *visitor, struct mr_offline_counts *out,
		    struct mr_error *err)
{
	struct walk walk = {.offline = offline, .visitor = visitor, .counts = out};
	struct mr_io_entry *entries = NULL;
	size_t count = 0;
	char directory[80];
	int r;

	*out = (struct mr_offline_counts){0};
	mr_topic_partition_directory(topic->id, number, directory);
	r = mr_io_list(offline->io, directory, &entries, &count, err);
	if (r == 0)
		r = make_room(&walk, 1u << 20, err);
	count = r == 0 ? keep_segments(entries, count) : 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		walk.until = i + 1 < count ? strtoull(entries[i + 1].name, NULL, 10) : UINT64_MAX;
		r = walk_file(&walk, directory, entries[i].name, err);
	}
	if (r == -ENODATA)
		r = out->damaged ? look_behind(&walk, directory, entries, count, err) : 0;
	mr_expander_close(&walk.expander);
	free(walk.buffer);
	free(entries);
	return r;
}
