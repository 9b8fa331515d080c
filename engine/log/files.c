/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's half of a partition's log: the list of its segments, oldest first, the last
 * one active. Finds records and times, and says which segments retention lets go. Owns the structs
 * of all segments but the active one (that is the worker's, until it rolls).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"

struct mr_log_files {
	struct mr_segment **segments;
	size_t count; /* at least 1 */
	size_t capacity;
};

int mr_log_files_open(struct mr_segment **segments, size_t count, struct mr_log_files **out,
		      struct mr_error *err)
{
	struct mr_log_files *files = calloc(1, sizeof(*files));

	mr_assert(count >= 1);
	if (!files)
		return mr_error_set(err, -ENOMEM, "no memory for a log's list of segments");
	files->capacity = count + 16;
	files->segments = calloc(files->capacity, sizeof(*files->segments));
	if (!files->segments) {
		free(files);
		return mr_error_set(err, -ENOMEM, "no memory for a list of %zu segments", count);
	}
	memcpy(files->segments, segments, count * sizeof(*segments));
	files->count = count;
	*out = files;
	return 0;
}

void mr_log_files_close(struct mr_log_files *files)
{
	if (!files)
		return;
	for (size_t i = 0; i + 1 < files->count; i++)
		mr_segment_close(files->segments[i]);
	free(files->segments);
	free(files);
}

static int grow(struct mr_log_files *files, struct mr_error *err)
{
	struct mr_segment **segments;

	if (files->count < files->capacity)
		return 0;
	segments = realloc(files->segments, 2 * files->capacity * sizeof(*segments));
	if (!segments)
		return mr_error_set(err, -ENOMEM, "no memory for a list of %zu segments",
				    2 * files->capacity);
	files->segments = segments;
	files->capacity *= 2;
	return 0;
}

int mr_log_files_started(struct mr_log_files *files, struct mr_segment *segment,
			 const struct mr_segment_header *header, struct mr_error *err)
{
	struct mr_segment *before = files->segments[files->count - 1];
	int r = grow(files, err);

	if (r < 0)
		return r;
	mr_assert(header->base_offset == segment->base_offset);
	mr_assert(header->base_position == segment->base_position);
	mr_assert(header->base_position > before->base_position);
	before->end_offset = header->base_offset;
	before->end_position = header->base_position;
	/* The one before that has no write in flight any more: the log rolls only then. */
	if (files->count >= 2) {
		mr_io_file_close(files->segments[files->count - 2]->file);
		files->segments[files->count - 2]->file = NULL;
	}
	files->segments[files->count++] = segment;
	return 0;
}

/* ---- finding ------------------------------------------------------------- */

int mr_log_files_find_offset(const struct mr_log_files *files, uint64_t offset,
			     struct mr_log_place *place)
{
	struct mr_index_entry entry;
	size_t low = 0;
	size_t high = files->count;

	if (offset < files->segments[0]->base_offset)
		return -ERANGE;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (files->segments[middle]->base_offset <= offset)
			low = middle;
		else
			high = middle;
	}
	place->segment = files->segments[low];
	entry = mr_segment_index_find(place->segment, offset);
	place->group_position = entry.position;
	place->group_offset = entry.offset;
	place->end_position =
		low + 1 < files->count ? files->segments[low + 1]->base_position : UINT64_MAX;
	return 0;
}

uint64_t mr_log_files_find_time(const struct mr_log_files *files, int64_t timestamp_ms)
{
	size_t i;

	for (i = 0; i + 1 < files->count; i++) {
		/* relaxed: complete segments do not change */
		if (atomic_load_explicit(&files->segments[i]->index.max_timestamp_ms,
					 memory_order_relaxed) >= timestamp_ms)
			break;
	}
	return mr_segment_index_find_time(files->segments[i], timestamp_ms).offset;
}

/* ---- retention ----------------------------------------------------------- */

static bool is_over_age(const struct mr_segment *segment, int64_t before_ms)
{
	/* relaxed: complete segments do not change */
	int64_t last = atomic_load_explicit(&segment->index.last_append_ms, memory_order_relaxed);

	return before_ms != 0 && last != INT64_MIN && last < before_ms;
}

struct mr_segment *mr_log_files_retain(struct mr_log_files *files, uint64_t bytes_max,
				       int64_t before_ms, uint64_t keep_offset, uint64_t *log_start)
{
	struct mr_segment *oldest = files->segments[0];

	if (files->count < 2 || files->segments[1]->base_offset > keep_offset)
		return NULL;
	if ((bytes_max == 0 || mr_log_files_bytes(files) <= bytes_max) &&
	    !is_over_age(oldest, before_ms))
		return NULL;
	files->count--;
	memmove(files->segments, files->segments + 1, files->count * sizeof(*files->segments));
	*log_start = files->segments[0]->base_offset;
	return oldest;
}

uint64_t mr_log_files_start_offset(const struct mr_log_files *files)
{
	return files->segments[0]->base_offset;
}

uint64_t mr_log_files_bytes(const struct mr_log_files *files)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < files->count; i++)
		bytes += files->segments[i]->file_bytes;
	return bytes;
}

size_t mr_log_files_count(const struct mr_log_files *files)
{
	return files->count;
}

struct mr_segment *mr_log_files_at(const struct mr_log_files *files, size_t i)
{
	mr_assert(i < files->count);
	return files->segments[i];
}
