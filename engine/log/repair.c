/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making logs: a new partition's, and what is left of a damaged one when a person accepts the loss;
 * and the parts that recovery uses too. Runs at start or as a chore; blocks; owns nothing beyond a
 * call.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "recover_parts.h"

#define FIRST_BYTES (16u << 20) /* of a log that begins anew: as configured logs do by default */

/* ---- finding ------------------------------------------------------------- */

static int by_base(const void *a, const void *b)
{
	uint64_t x = ((const struct mr_found_segment *)a)->base_offset;
	uint64_t y = ((const struct mr_found_segment *)b)->base_offset;

	return (x > y) - (x < y);
}

int mr_recover_remove_spare(struct mr_io *io, const char *directory, struct mr_error *err)
{
	char path[160];
	int r;

	snprintf(path, sizeof(path), "%s/spare", directory);
	r = mr_io_remove(io, path, err);
	return r == -ENOENT ? 0 : r;
}

int mr_recover_find(struct mr_io *io, const char *directory, bool tidy,
		    struct mr_found_segment **found, size_t *count, struct mr_error *err)
{
	struct mr_io_entry *entries = NULL;
	struct mr_found_segment *all;
	size_t entry_count = 0;
	size_t n = 0;
	int r = mr_io_list(io, directory, &entries, &entry_count, err);

	if (r < 0)
		return r;
	all = calloc(entry_count + 1, sizeof(*all));
	if (!all) {
		r = mr_error_set(err, -ENOMEM, "no memory for %zu names", entry_count);
		goto out;
	}
	for (size_t i = 0; i < entry_count && r == 0; i++) {
		if (tidy && strcmp(entries[i].name, "spare") == 0)
			r = mr_recover_remove_spare(io, directory, err);
		if (!mr_segment_parse_name(entries[i].name, &all[n].base_offset))
			continue;
		mr_segment_file_name(all[n].base_offset, all[n].name);
		n++;
	}
	if (r < 0) {
		free(all);
		goto out;
	}
	qsort(all, n, sizeof(*all), by_base);
	*found = all;
	*count = n;
out:
	free(entries);
	return r;
}

void mr_recover_found_free(struct mr_found_segment *found, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mr_segment_close(found[i].segment);
	free(found);
}

/* ---- zeroing ------------------------------------------------------------- */

bool mr_recover_is_zero(const uint8_t block[MR_BLOCK_BYTES])
{
	return block[0] == 0 && memcmp(block, block + 1, MR_BLOCK_BYTES - 1) == 0;
}

int mr_recover_zero(struct mr_scan *scan, struct mr_segment *segment, uint64_t from, uint64_t to,
		    struct mr_error *err)
{
	uint64_t dirty_from = to; /* a run of blocks that are not zero */
	const uint8_t *bytes;
	size_t have;
	int r;

	mr_scan_segment(scan, segment);
	mr_scan_ahead_to(scan, to);
	for (uint64_t at = from; at < to; at += MR_BLOCK_BYTES) {
		r = mr_scan_bytes(scan, at, MR_BLOCK_BYTES, &bytes, &have, err);
		if (r < 0)
			return r;
		if (have < MR_BLOCK_BYTES) {
			to = have ? at + MR_BLOCK_BYTES : at;
			break;
		}
		if (!mr_recover_is_zero(bytes)) {
			dirty_from = dirty_from < at ? dirty_from : at;
			continue;
		}
		if (dirty_from < at) {
			r = mr_segment_zero(segment, dirty_from, at, err);
			if (r < 0)
				return r;
		}
		dirty_from = to;
	}
	if (dirty_from >= to)
		return 0;
	return mr_segment_zero(segment, dirty_from, to, err);
}

/* ---- making -------------------------------------------------------------- */

/* Each folder of the path, from the top on, made and durable. */
static int make_directories(struct mr_io *io, const char *directory, struct mr_error *err)
{
	char parent[160] = ".";
	char path[160];
	size_t length = strlen(directory);

	mr_assert(length > 0 && length < sizeof(path));
	for (size_t i = 1; i <= length; i++) {
		int r;

		if (i < length && directory[i] != '/')
			continue;
		memcpy(path, directory, i);
		path[i] = '\0';
		r = mr_io_make_directory(io, path, err);
		if (r == 0)
			r = mr_io_sync_directory(io, parent, err);
		if (r < 0)
			return r;
		memcpy(parent, path, i + 1);
	}
	return 0;
}

/* A first segment as 'start' says (all but the segment), made and named. */
static int make_first(struct mr_io *io, const char *directory, uint64_t segment_bytes,
		      struct mr_log_start *start, struct mr_error *err)
{
	struct mr_segment *segment = NULL;
	struct mr_segment_header header = {
		.partition = start->partition,
		.base_offset = start->offset,
		.base_position = start->position,
		.group_number = start->group_number,
		.file_bytes = segment_bytes,
	};
	int r = mr_segment_make(io, directory, segment_bytes, &segment, err);

	if (r < 0)
		return r;
	memcpy(header.topic_id, start->topic_id, sizeof(header.topic_id));
	memcpy(header.log_id, start->log_id, sizeof(header.log_id));
	header.segment_id = segment->segment_id;
	r = mr_segment_name(segment, &header, err);
	if (r < 0) {
		mr_segment_close(segment);
		return r;
	}
	segment->base_offset = header.base_offset;
	segment->base_position = header.base_position;
	start->active = segment;
	start->position += MR_BLOCK_BYTES;
	return 0;
}

int mr_log_create(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
		  int32_t partition_number, const uint8_t log_id[16], uint64_t segment_bytes,
		  struct mr_recovered *out, struct mr_error *err)
{
	int r = make_directories(io, directory, err);

	if (r < 0) {
		memset(out, 0, sizeof(*out));
		return r;
	}
	return mr_log_create_in(io, directory, topic_id, partition_number, log_id, segment_bytes,
				out, err);
}

int mr_log_create_in(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
		     int32_t partition_number, const uint8_t log_id[16], uint64_t segment_bytes,
		     struct mr_recovered *out, struct mr_error *err)
{
	struct mr_found_segment *found = NULL;
	struct mr_segment **segments;
	size_t count = 0;
	int r;

	memset(out, 0, sizeof(*out));
	r = mr_recover_find(io, directory, true, &found, &count, err);
	if (r < 0)
		return r;
	mr_recover_found_free(found, count);
	if (count > 0)
		return mr_error_set(err, -EEXIST, "'%s' has a log already", directory);
	segments = calloc(1, sizeof(struct mr_segment *));
	if (!segments)
		return mr_error_set(err, -ENOMEM, "no memory for a list of segments");
	out->start.group_number = 1;
	out->start.partition = partition_number;
	memcpy(out->start.topic_id, topic_id, sizeof(out->start.topic_id));
	memcpy(out->start.log_id, log_id, sizeof(out->start.log_id));
	r = make_first(io, directory, segment_bytes, &out->start, err);
	if (r < 0) {
		free(segments);
		memset(out, 0, sizeof(*out));
		return r;
	}
	segments[0] = out->start.active;
	out->segments = segments;
	out->segment_count = 1;
	return 0;
}

/* ---- accepting a loss ---------------------------------------------------- */

/*
 * All but those with base offsets from 'keep_from' to 'keep_to', newest first, so that the log has
 * no hole whenever this is cut off.
 */
static int remove_others(struct mr_io *io, const char *directory, uint64_t keep_from,
			 uint64_t keep_to, struct mr_error *err)
{
	struct mr_found_segment *found = NULL;
	size_t count = 0;
	int r = mr_recover_find(io, directory, true, &found, &count, err);

	if (r < 0)
		return r;
	for (size_t i = count; i > 0 && r == 0; i--) {
		struct mr_segment gone = {.io = io, .base_offset = found[i - 1].base_offset};

		if (gone.base_offset >= keep_from && gone.base_offset <= keep_to)
			continue;
		snprintf(gone.directory, sizeof(gone.directory), "%s", directory);
		r = mr_segment_remove(&gone, err);
	}
	mr_recover_found_free(found, count);
	return r;
}

static int cut_last(struct mr_segment *last, uint64_t position, struct mr_error *err)
{
	struct mr_scan scan;
	int r;

	mr_scan_init(&scan, false); /* what it reads it writes in between */
	r = mr_recover_zero(&scan, last, position - last->base_position, last->file_bytes, err);
	mr_scan_deinit(&scan);
	if (r < 0)
		return r;
	return mr_io_sync(last->file, err);
}

/*
 * No segment is left: the log begins anew, but no offset is given twice. The new segment takes the
 * place of the damaged one before others go: there is one at every moment.
 */
static int begin_anew(struct mr_io *io, const char *directory, const struct mr_recovered *recovered,
		      struct mr_error *err)
{
	struct mr_log_start start = recovered->start;
	int r = mr_recover_remove_spare(io, directory, err);

	if (r < 0)
		return r;
	start.offset = recovered->corrupt_offset;
	start.position = 0;
	start.group_number = 1;
	r = make_first(io, directory, FIRST_BYTES, &start, err);
	if (r < 0)
		return r;
	mr_segment_close(start.active);
	return remove_others(io, directory, start.offset, start.offset, err);
}

int mr_recover_accept_loss(struct mr_io *io, const char *directory,
			   const struct mr_recovered *recovered, uint64_t *lost,
			   struct mr_error *err)
{
	size_t kept = recovered->segment_count;
	struct mr_segment *last;
	int r;

	mr_assert(recovered->corrupt);
	*lost = 0;
	if (recovered->flushed_offset > recovered->corrupt_offset)
		*lost = recovered->flushed_offset - recovered->corrupt_offset;
	if (kept > 0 && recovered->segments[kept - 1]->base_position >= recovered->corrupt_position)
		kept--; /* it does not continue what is kept: it goes as a whole */
	if (kept == 0)
		return begin_anew(io, directory, recovered, err);
	last = recovered->segments[kept - 1];
	r = remove_others(io, directory, 0, last->base_offset, err);
	if (r < 0 || !last->file) /* complete: it ends at the damage */
		return r;
	return cut_last(last, recovered->corrupt_position, err);
}
