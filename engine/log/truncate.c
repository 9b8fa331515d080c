/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a log (truncate.h). In order: the segment that holds the first record to go is found and
 * read up to it; newer segments are removed, newest first; a new segment is made whole under the
 * spare's name, and its new name makes the cut. Each step may be cut off by a crash: what is left
 * is a log, and the next agreement with the leader cuts again.
 *
 * Runs on the thread that does chores, or the simulator's; owns nothing beyond a call.
 */
#include "truncate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "recover_parts.h"

struct cutting {
	struct mr_io *io;
	const char *directory;
	const struct mr_truncation *want;
	struct mr_found_segment *found;
	size_t count;
	size_t at; /* of found: the segment that the cut lies in */
	struct mr_scan scan;
	/* where the new segment begins, and the group before that stays in part */
	struct mr_segment_header begin;
	struct mr_group_header group;
	const uint8_t *kept; /* its batches before the cut, in the scan's buffer */
	uint32_t kept_bytes;
	bool follows; /* a group begins right at the cut */
	bool done;    /* the log ends there already */
};

/* ---- looking
 * ------------------------------------------------------------------------------------- */

/* The batches of a group that stay: those that end before the cut, or at it. */
static void keep_batches(struct cutting *cutting, const uint8_t *bytes)
{
	const uint8_t *at = bytes + sizeof(struct mr_group_header);
	const uint8_t *end = at + cutting->group.batch_bytes;
	struct mr_batch_header batch;

	cutting->kept = at;
	while (at < end && mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0) {
		if (batch.base_offset + (uint64_t)batch.record_count > cutting->want->offset)
			break;
		at += batch.total_bytes;
	}
	cutting->kept_bytes = (uint32_t)(at - cutting->kept);
}

/* Behind a whole group. */
static void pass(struct mr_segment_header *begin, const struct mr_group_header *group)
{
	begin->base_offset = group->base_offset + group->record_count;
	begin->base_position += group->bytes;
	begin->group_number = group->number + 1;
	begin->previous_crc = group->crc;
}

static bool is_due(const struct mr_segment_header *begin, const struct mr_group_header *group)
{
	return group->base_offset == begin->base_offset && group->number == begin->group_number &&
	       group->previous_crc == begin->previous_crc;
}

/* Reads the segment up to the group that the cut goes through, or to the log's end. */
static int find_group(struct cutting *cutting, struct mr_error *err)
{
	struct mr_segment *segment = cutting->found[cutting->at].segment;
	struct mr_segment_header *begin = &cutting->begin;
	uint64_t end = segment->file_bytes;

	if (cutting->at + 1 < cutting->count) /* what stands behind is not of the log */
		end = cutting->found[cutting->at + 1].header.base_position - segment->base_position;
	*begin = cutting->found[cutting->at].header;
	mr_scan_segment(&cutting->scan, segment);
	for (;;) {
		/* in front of its first group it may be replaced as a whole: it begins where it
		   began */
		uint64_t from = begin->base_position - segment->base_position;
		const uint8_t *bytes;
		int r;

		if (from == 0)
			from = MR_BLOCK_BYTES;
		if (from >= end)
			return 0;
		r = mr_scan_group(&cutting->scan, segment, from, end, &cutting->group, &bytes, err);
		if (r == -ENODATA || (r == 0 && !is_due(begin, &cutting->group)))
			return 0;
		cutting->follows = begin->base_offset == cutting->want->offset;
		if (r < 0 || cutting->follows)
			return cutting->follows ? 0 : r; /* what goes may be damaged */
		if (cutting->group.base_offset + cutting->group.record_count >
		    cutting->want->offset) {
			keep_batches(cutting, bytes);
			return 0;
		}
		begin->base_position = segment->base_position + from;
		pass(begin, &cutting->group);
	}
}

static int open_segments(struct cutting *cutting, struct mr_error *err)
{
	for (size_t i = 0; i < cutting->count; i++) {
		struct mr_found_segment *found = &cutting->found[i];
		int r = mr_segment_open(cutting->io, cutting->directory, found->name, true,
					cutting->want->lock_wait_ms, &found->segment,
					&found->header, err);

		if (r == -EBADMSG && cutting->want->reset)
			continue; /* it goes all the same */
		if (r < 0)
			return r;
	}
	return 0;
}

/* Sets what is to be done. */
static int look(struct cutting *cutting, struct mr_error *err)
{
	uint64_t offset = cutting->want->offset;
	int r = open_segments(cutting, err);

	if (r < 0)
		return r;
	cutting->at = cutting->count;
	while (cutting->at > 0 && cutting->found[cutting->at - 1].base_offset > offset)
		cutting->at--;
	if (cutting->want->reset)
		return 0;
	if (cutting->at == 0)
		return mr_error_set(err, -ERANGE,
				    "'%s' cannot be cut at offset %" PRIu64 ": it begins behind it",
				    cutting->directory, offset);
	cutting->at--;
	r = find_group(cutting, err);
	if (r < 0)
		return r;
	if (cutting->kept)
		return 0;
	if (cutting->at + 1 == cutting->count) {
		cutting->done = !cutting->follows; /* it ends there, or before */
		return 0;
	}
	if (cutting->begin.base_offset == offset)
		return 0;
	return mr_error_set(err, -EBADMSG,
			    "'%s' cannot be cut at offset %" PRIu64 ": it ends at offset %" PRIu64
			    ", before its next segment",
			    cutting->directory, offset, cutting->begin.base_offset);
}

/* ---- cutting
 * ------------------------------------------------------------------------------------- */

static int remove_index(const struct cutting *cutting, uint64_t base_offset, struct mr_error *err)
{
	char path[160];
	int r;

	snprintf(path, sizeof(path), "%s/%020" PRIu64 ".index", cutting->directory, base_offset);
	r = mr_io_remove(cutting->io, path, err);
	return r == -ENOENT ? 0 : r;
}

/* One whose header is damaged, so that it was not opened. */
static int remove_unread(const struct cutting *cutting, const struct mr_found_segment *found,
			 struct mr_error *err)
{
	char path[160];
	int r = remove_index(cutting, found->base_offset, err);

	snprintf(path, sizeof(path), "%s/%s", cutting->directory, found->name);
	if (r == 0)
		r = mr_io_remove(cutting->io, path, err);
	return r < 0 ? r : mr_io_sync_directory(cutting->io, cutting->directory, err);
}

/* The segments from 'from' on, newest first: the log has no hole whenever this is cut off. */
static int remove_from(struct cutting *cutting, size_t from, struct mr_error *err)
{
	for (size_t i = cutting->count; i > from; i--) {
		const struct mr_found_segment *found = &cutting->found[i - 1];
		int r = found->segment ? mr_segment_remove(found->segment, err)
				       : remove_unread(cutting, found, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* One group of what stays, into the new segment. */
static int write_kept(struct cutting *cutting, struct mr_segment *segment, struct mr_error *err)
{
	const struct mr_group_place place = {
		.number = cutting->begin.group_number,
		.flushed_offset = cutting->group.flushed_offset,
		.append_ms = cutting->group.append_ms,
		.leader_epoch = cutting->group.leader_epoch,
		.previous_crc = cutting->begin.previous_crc,
	};
	uint8_t *bytes = aligned_alloc(MR_BLOCK_BYTES, cutting->group.bytes);
	const uint8_t *at = cutting->kept, *end = at + cutting->kept_bytes;
	struct mr_batch_header batch;
	struct mr_group group;
	uint32_t count, crc;
	int r;

	if (!bytes)
		return mr_error_set(err, -ENOMEM, "no memory for a group of %u bytes",
				    cutting->group.bytes);
	mr_group_begin(&group, bytes, segment->segment_id, cutting->begin.base_offset);
	for (; at < end; at += batch.total_bytes) {
		r = mr_batch_decode_header(at, (size_t)(end - at), &batch);
		mr_assert(r == 0); /* it was read and checked just now */
		memcpy(mr_group_at(&group), at, batch.total_bytes);
		mr_group_add(&group, batch.total_bytes, (uint32_t)batch.record_count);
	}
	count = mr_group_close(&group, &place, &crc);
	r = mr_io_write(segment->file, bytes, count, MR_BLOCK_BYTES, err);
	free(bytes);
	return r;
}

static int make_segment(struct cutting *cutting, struct mr_error *err)
{
	struct mr_segment_header header = cutting->begin;
	struct mr_segment *segment = NULL;
	int r = mr_segment_make_spare(cutting->io, cutting->directory, cutting->want->segment_bytes,
				      &segment, err);

	if (r < 0)
		return r;
	memcpy(header.topic_id, cutting->want->topic_id, sizeof(header.topic_id));
	memcpy(header.log_id, cutting->want->log_id, sizeof(header.log_id));
	header.partition = cutting->want->partition;
	header.segment_id = segment->segment_id;
	header.file_bytes = segment->file_bytes;
	if (cutting->kept_bytes > 0)
		r = write_kept(cutting, segment, err);
	if (r == 0)
		r = mr_segment_name(segment, &header, err);
	mr_segment_close(segment);
	return r;
}

static int cut(struct cutting *cutting, struct mr_error *err)
{
	uint64_t base_offset;
	int r;

	if (cutting->done)
		return 0;
	if (cutting->want->reset) {
		cutting->begin = (struct mr_segment_header){
			.base_offset = cutting->want->offset,
			.group_number = 1,
		};
		cutting->kept_bytes = 0;
		r = remove_from(cutting, 0, err);
		return r < 0 ? r : make_segment(cutting, err);
	}
	base_offset = cutting->found[cutting->at].base_offset;
	r = remove_from(cutting, cutting->at + 1, err);
	if (r == 0)
		r = remove_index(cutting, base_offset, err); /* it knows groups that go */
	return r < 0 ? r : make_segment(cutting, err);
}

int mr_log_truncate(struct mr_io *io, const char *directory, const struct mr_truncation *truncation,
		    struct mr_error *err)
{
	struct cutting cutting = {.io = io, .directory = directory, .want = truncation};
	int r;

	if (truncation->offset < truncation->keep_offset && !truncation->reset)
		return mr_error_set(err, -EINVAL,
				    "'%s' cannot be cut at offset %" PRIu64
				    ": all below offset %" PRIu64
				    " was committed, as the checkpoint says",
				    directory, truncation->offset, truncation->keep_offset);
	r = mr_recover_find(io, directory, true, &cutting.found, &cutting.count, err);
	if (r < 0)
		return r;
	mr_scan_init(&cutting.scan, false);
	r = look(&cutting, err);
	if (r == 0)
		r = cut(&cutting, err);
	mr_scan_deinit(&cutting.scan);
	mr_recover_found_free(cutting.found, cutting.count);
	return r;
}
