/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See catchup_reader.h. A reader stands in front of a group, or inside one whose bytes lie in its
 * scan's buffer, checked. What a group must begin with (offset, number, the checksum of the one
 * before) follows from the one before it, across segments, too; only behind an entry of an index,
 * which is a hint, the first group is believed by its own checksum alone.
 *
 * To find an offset, groups are passed by their headers, a little at a time; what is given out is
 * read in large pieces, the more the longer a reader goes on. Bytes in a buffer may have been read
 * before they were written: where no group is found in them, they are read once more.
 */
#include "catchup_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log/compress.h"
#include "log/scan.h"

#define BYTES_MAX	(16u << 20)  /* that one request may ask for */
#define HOP_BYTES	(64u << 10)  /* read at a time on the way to an offset */
#define GROUP_BYTES_MAX (72u << 20)  /* largest record, and a group before it */
#define AHEAD_BYTES	(512u << 10) /* at first, besides what is asked for */
#define TRIES_MAX	4	     /* segments that were let go between two looks */

struct reader {
	char directory[96];
	struct mr_segment *segment; /* NULL: a free one */
	struct mr_segment_header header;
	struct mr_scan scan;
	/* the next group */
	uint64_t from; /* file byte */
	uint64_t offset;
	uint64_t number;
	uint32_t previous_crc;
	bool chained; /* number and checksum are known */
	/* the group it is in */
	const uint8_t *bytes; /* NULL: in none */
	struct mr_group_header group;
	uint32_t at;	  /* of its batch bytes: the next one */
	uint64_t next;	  /* offset that the next request goes on with */
	uint64_t ahead;	  /* bytes to read beyond 'from' */
	bool read_before; /* what the scan holds is of an earlier request */
	uint64_t use;	  /* the number of the last one */
	uint64_t used_ns;
};

struct mr_catchup_readers {
	struct mr_catchup_reader_options options;
	struct reader readers[MR_CATCHUP_READERS_MAX];
	uint64_t uses;
	uint64_t bytes; /* of scans that were put away */
	/* of the request under way */
	struct mr_catchup_request *request;
	uint64_t *bases; /* base offsets of the directory's segments, rising */
	size_t base_count, base_capacity;
};

/* ---- readers ------------------------------------------------------------- */

/* Puts the buffers away. What was read of a group is read again. */
static void rest(struct mr_catchup_readers *readers, struct reader *reader)
{
	if (reader->bytes) {
		reader->from -= reader->group.bytes;
		reader->offset = reader->group.base_offset;
		reader->number = reader->group.number;
		reader->previous_crc = reader->group.previous_crc;
		reader->bytes = NULL;
	}
	readers->bytes += reader->scan.read_bytes;
	mr_scan_deinit(&reader->scan);
	mr_scan_init(&reader->scan, readers->options.overlaps);
	if (reader->segment)
		mr_scan_segment(&reader->scan, reader->segment);
}

static void drop(struct mr_catchup_readers *readers, struct reader *reader)
{
	rest(readers, reader);
	mr_segment_close(reader->segment);
	reader->segment = NULL;
}

static bool has_buffers(const struct reader *reader)
{
	return reader->scan.buffers[0].memory || reader->scan.buffers[1].memory;
}

/* One that is free, or the one that was used longest ago. */
static struct reader *take_reader(struct mr_catchup_readers *readers)
{
	struct reader *oldest = &readers->readers[0];

	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++) {
		if (!readers->readers[i].segment)
			return &readers->readers[i];
		if (readers->readers[i].use < oldest->use)
			oldest = &readers->readers[i];
	}
	drop(readers, oldest);
	return oldest;
}

static void bound_buffers(struct mr_catchup_readers *readers)
{
	for (;;) {
		struct reader *oldest = NULL;
		uint32_t count = 0;

		for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++) {
			struct reader *reader = &readers->readers[i];

			if (!has_buffers(reader))
				continue;
			count++;
			if (!oldest || reader->use < oldest->use)
				oldest = reader;
		}
		if (count <= MR_CATCHUP_BUFFERS_MAX)
			return;
		rest(readers, oldest);
	}
}

/* ---- the directory ------------------------------------------------------- */

static int keep_bases(struct mr_catchup_readers *readers, const struct mr_io_entry *entries,
		      size_t count, struct mr_error *err)
{
	if (count > readers->base_capacity) {
		uint64_t *bases = realloc(readers->bases, count * sizeof(*bases));

		if (!bases)
			return mr_error_set(err, -ENOMEM, "no memory for %zu names", count);
		readers->bases = bases;
		readers->base_capacity = count;
	}
	readers->base_count = 0;
	for (size_t i = 0; i < count; i++) { /* by name, which is by offset */
		if (mr_segment_parse_name(entries[i].name, &readers->bases[readers->base_count]))
			readers->base_count++;
	}
	return 0;
}

static int list_segments(struct mr_catchup_readers *readers, struct mr_error *err)
{
	const char *directory = readers->request->directory;
	struct mr_io_entry *entries = NULL;
	size_t count = 0;
	int r = mr_io_list(readers->options.io, directory, &entries, &count, err);

	if (r == -ENOENT)
		return mr_error_set(err, -ERANGE, "'%s' is not there any more", directory);
	if (r < 0)
		return r;
	r = keep_bases(readers, entries, count, err);
	free(entries);
	if (r == 0 && readers->base_count == 0)
		return mr_error_set(err, -ENODATA, "there is no segment in '%s'", directory);
	return r;
}

/* How many segments begin at or before 'offset'. */
static size_t count_to(const struct mr_catchup_readers *readers, uint64_t offset)
{
	size_t low = 0, high = readers->base_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (readers->bases[middle] <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- a segment ----------------------------------------------------------- */

static void stand_at_first(struct reader *reader)
{
	reader->from = MR_BLOCK_BYTES;
	reader->offset = reader->header.base_offset;
	reader->number = reader->header.group_number;
	reader->previous_crc = reader->header.previous_crc;
	reader->chained = true;
	reader->bytes = NULL;
}

static int open_segment(struct mr_catchup_readers *readers, struct reader *reader,
			uint64_t base_offset, struct mr_error *err)
{
	const char *directory = readers->request->directory;
	struct mr_segment *segment = NULL;
	char name[32];
	int r;

	mr_segment_file_name(base_offset, name);
	r = mr_segment_open(readers->options.io, directory, name, false, 0, &segment,
			    &reader->header, err);
	if (r < 0)
		return r;
	snprintf(reader->directory, sizeof(reader->directory), "%s", directory);
	reader->segment = segment;
	reader->read_before = false;
	mr_scan_segment(&reader->scan, segment);
	stand_at_first(reader);
	return 0;
}

/* Goes on with the segment that begins at 'base_offset', which must follow on the last group. */
static int next_segment(struct mr_catchup_readers *readers, struct reader *reader,
			uint64_t base_offset, struct mr_error *err)
{
	uint64_t offset = reader->offset, number = reader->number;
	uint32_t crc = reader->previous_crc;
	int r;

	mr_scan_rest(&reader->scan);
	mr_segment_close(reader->segment);
	reader->segment = NULL;
	r = open_segment(readers, reader, base_offset, err);
	if (r < 0)
		return r;
	if (reader->offset == offset && reader->number == number && reader->previous_crc == crc)
		return 0;
	return mr_error_set(err, -EBADMSG,
			    "segment '%s/%020" PRIu64 ".log' does not follow on the one before it: "
			    "it begins with group %" PRIu64 " at offset %" PRIu64
			    ", expected group %" PRIu64 " at offset %" PRIu64,
			    reader->directory, base_offset, reader->number, reader->offset, number,
			    offset);
}

/* ---- a group ------------------------------------------------------------- */

static int only_header(struct reader *reader, struct mr_group_header *header, uint64_t end,
		       struct mr_error *err)
{
	const uint8_t *bytes;
	size_t have;
	int r = mr_scan_bytes(&reader->scan, reader->from, MR_BLOCK_BYTES, &bytes, &have, err);

	if (r < 0)
		return r;
	if (have < MR_BLOCK_BYTES)
		return mr_error_set(err, -ENODATA, "the file ends here");
	r = mr_group_decode_header(bytes, header, err);
	if (r == 0 && header->bytes > end - reader->from)
		r = mr_error_set(err, -EBADMSG, "group of %u bytes, longer than its segment",
				 header->bytes);
	return r;
}

static int check_chain(const struct reader *reader, const struct mr_group_header *header,
		       struct mr_error *err)
{
	if (header->base_offset != reader->offset)
		return mr_error_set(err, -EBADMSG,
				    "group has base offset %" PRIu64 ", expected %" PRIu64,
				    header->base_offset, reader->offset);
	if (reader->chained &&
	    (header->number != reader->number || header->previous_crc != reader->previous_crc))
		return mr_error_set(err, -EBADMSG,
				    "group %" PRIu64 " behind crc %08x, expected group %" PRIu64
				    " behind crc %08x",
				    header->number, header->previous_crc, reader->number,
				    reader->previous_crc);
	return 0;
}

/* The group that the reader stands before: its header, and checked as a whole if 'bytes'. */
static int look_once(struct reader *reader, struct mr_group_header *header, const uint8_t **bytes,
		     struct mr_error *err)
{
	uint64_t file_bytes = reader->segment->file_bytes;
	uint64_t end = file_bytes - reader->from < GROUP_BYTES_MAX ? file_bytes
								   : reader->from + GROUP_BYTES_MAX;
	uint64_t ahead_to = reader->from + (bytes ? reader->ahead : HOP_BYTES);
	int r;

	if (reader->from >= file_bytes)
		return mr_error_set(err, -ENODATA, "the file ends here");
	mr_scan_ahead_to(&reader->scan, ahead_to < file_bytes ? ahead_to : file_bytes);
	if (bytes)
		r = mr_scan_group(&reader->scan, reader->segment, reader->from, end, header, bytes,
				  err);
	else
		r = only_header(reader, header, end, err);
	return r < 0 ? r : check_chain(reader, header, err);
}

/* The group there may still be on its way to the disk. */
static bool may_be_in_flight(const struct mr_catchup_readers *readers, const struct reader *reader)
{
	uint64_t limit = readers->request->limit_offset;

	/* the log rolls on while the last writes of one segment are in flight, not of two */
	return limit ? reader->offset >= limit
		     : count_to(readers, reader->segment->base_offset) + 1 >= readers->base_count;
}

static int look(const struct mr_catchup_readers *readers, struct reader *reader,
		struct mr_group_header *header, const uint8_t **bytes, struct mr_error *err)
{
	int r = look_once(reader, header, bytes, err);
	char path[160];

	if ((r == -ENODATA || r == -EBADMSG) && reader->read_before) {
		mr_scan_segment(&reader->scan, reader->segment);
		reader->read_before = false;
		r = look_once(reader, header, bytes, err);
	}
	if (r == 0)
		return 0;
	if ((r == -ENODATA || r == -EBADMSG) && may_be_in_flight(readers, reader))
		return mr_error_set(err, -ENODATA, "no group of offset %" PRIu64 " yet",
				    reader->offset);
	if (r == -ENODATA)
		r = mr_error_set(err, -EBADMSG, "no group, expected that of offset %" PRIu64,
				 reader->offset);
	mr_segment_path(reader->segment, path);
	mr_error_prefix(err, "segment '%s', byte %" PRIu64 ": ", path, reader->from);
	return r;
}

static void pass(struct reader *reader, const struct mr_group_header *group)
{
	reader->from += group->bytes;
	reader->offset = group->base_offset + group->record_count;
	reader->number = group->number + 1;
	reader->previous_crc = group->crc;
	reader->chained = true;
}

/* ---- finding an offset --------------------------------------------------- */

static int hop_to(const struct mr_catchup_readers *readers, struct reader *reader, uint64_t offset,
		  struct mr_error *err)
{
	struct mr_group_header header;

	for (;;) {
		int r = look(readers, reader, &header, NULL, err);

		if (r < 0)
			return r;
		if (header.base_offset + header.record_count > offset)
			return 0;
		pass(reader, &header);
	}
}

static int find_group(const struct mr_catchup_readers *readers, struct reader *reader,
		      uint64_t offset, struct mr_error *err)
{
	struct mr_segment *segment = reader->segment;
	struct mr_index_entry entry;
	int r;

	if (offset == segment->base_offset)
		return 0;
	if (mr_segment_index_load(segment, NULL) < 0) /* the segment that is appended to has none */
		return hop_to(readers, reader, offset, err);
	entry = mr_segment_index_find(segment, offset);
	reader->from = entry.position - segment->base_position;
	reader->offset = entry.offset;
	reader->chained = reader->from == MR_BLOCK_BYTES;
	r = hop_to(readers, reader, offset, err);
	if (r == 0 || reader->chained)
		return r;
	stand_at_first(reader); /* the index was no help */
	return hop_to(readers, reader, offset, err);
}

/* A new reader in front of the group that holds the request's offset. */
static int begin_reader(struct mr_catchup_readers *readers, uint64_t base_offset,
			struct reader **out, struct mr_error *err)
{
	struct mr_catchup_request *request = readers->request;
	struct reader *reader = take_reader(readers);
	int r = open_segment(readers, reader, base_offset, err);

	if (r < 0)
		return r;
	reader->ahead = request->bytes_max + AHEAD_BYTES;
	reader->next = request->offset;
	*out = reader;
	return find_group(readers, reader, request->offset, err);
}

/* Whether it goes on where the request wants to, in a file that still is part of the log. */
static bool stands_there(const struct mr_catchup_readers *readers, const struct reader *reader,
			 uint64_t base_offset)
{
	const struct mr_catchup_request *request = readers->request;

	if (!mr_io_is_named(reader->segment->file))
		return false;
	if (reader->segment->base_offset == base_offset)
		return true;
	/* the next segment begins just there; which one that is, it has to look up */
	return !reader->bytes && reader->offset == request->offset &&
	       base_offset == request->offset && reader->segment->base_offset < base_offset;
}

static int reader_for(struct mr_catchup_readers *readers, struct reader **out, struct mr_error *err)
{
	struct mr_catchup_request *request = readers->request;
	size_t at = count_to(readers, request->offset);

	if (at == 0)
		return mr_error_set(err, -ERANGE,
				    "offset %" PRIu64 " is not kept: the oldest is %" PRIu64,
				    request->offset, readers->bases[0]);
	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++) {
		struct reader *reader = &readers->readers[i];

		if (!reader->segment || reader->next != request->offset ||
		    strcmp(reader->directory, request->directory) != 0)
			continue;
		if (!stands_there(readers, reader, readers->bases[at - 1])) {
			drop(readers, reader);
			continue;
		}
		reader->read_before = true;
		*out = reader;
		return 0;
	}
	return begin_reader(readers, readers->bases[at - 1], out, err);
}

/* ---- giving batches ------------------------------------------------------ */

static int make_room(struct mr_catchup_request *request, uint32_t bytes, struct mr_error *err)
{
	uint32_t capacity = request->byte_count + bytes;
	uint8_t *grown;

	if (capacity <= request->capacity)
		return 0;
	if (capacity < request->bytes_max)
		capacity = request->bytes_max;
	grown = realloc(request->bytes, capacity);
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory for %u bytes of batches", capacity);
	request->bytes = grown;
	request->capacity = capacity;
	return 0;
}

/* 1: the batch is the next request's. */
static int give_batch(struct mr_catchup_request *request, const uint8_t *bytes,
		      const struct mr_batch_header *batch, struct mr_error *err)
{
	int r;

	if (request->limit_offset && batch->base_offset >= request->limit_offset)
		return 1;
	if (request->byte_count > 0 &&
	    (request->byte_count >= request->bytes_max ||
	     batch->total_bytes > request->bytes_max - request->byte_count))
		return 1;
	r = make_room(request, batch->total_bytes, err);
	if (r < 0)
		return r;
	if (request->byte_count == 0)
		request->base_offset = batch->base_offset;
	memcpy(request->bytes + request->byte_count, bytes, batch->total_bytes);
	request->byte_count += batch->total_bytes;
	request->plain_bytes += mr_compress_plain_bytes(bytes, batch);
	request->record_count += (uint32_t)batch->record_count;
	request->end_offset = batch->base_offset + (uint64_t)batch->record_count;
	return 0;
}

/* What is left of the group that the reader is in. 0: all of it; 1: the request has enough. */
static int give_group(struct mr_catchup_request *request, struct reader *reader,
		      struct mr_error *err)
{
	const uint8_t *first = reader->bytes + sizeof(struct mr_group_header);

	while (reader->at < reader->group.batch_bytes) {
		const uint8_t *bytes = first + reader->at;
		struct mr_batch_header batch;
		int r = mr_batch_decode_header(bytes, reader->group.batch_bytes - reader->at,
					       &batch);

		mr_assert(r == 0); /* the group was checked */
		if (batch.base_offset + (uint64_t)batch.record_count > request->offset)
			r = give_batch(request, bytes, &batch, err);
		if (r != 0)
			return r;
		reader->at += batch.total_bytes;
	}
	reader->bytes = NULL;
	return 0;
}

static int enter_group(const struct mr_catchup_readers *readers, struct reader *reader,
		       struct mr_error *err)
{
	const uint8_t *bytes;
	int r = look(readers, reader, &reader->group, &bytes, err);

	if (r < 0)
		return r;
	reader->bytes = bytes;
	reader->at = 0;
	pass(reader, &reader->group);
	return 0;
}

/* Until the request has enough (0), or there is nothing more. */
static int give(struct mr_catchup_readers *readers, struct reader *reader, struct mr_error *err)
{
	struct mr_catchup_request *request = readers->request;
	int r = 0;

	while (r == 0) {
		size_t next = count_to(readers, reader->segment->base_offset);

		if (reader->bytes) {
			r = give_group(request, reader, err);
			continue;
		}
		if (request->limit_offset && reader->offset >= request->limit_offset)
			return mr_error_set(err, -ENODATA, "offset %" PRIu64 " is not flushed yet",
					    reader->offset);
		if (next < readers->base_count && reader->offset >= readers->bases[next])
			r = next_segment(readers, reader, readers->bases[next], err);
		else
			r = enter_group(readers, reader, err);
	}
	return r < 0 ? r : 0;
}

/* ---- a request ----------------------------------------------------------- */

static void begin_request(struct mr_catchup_request *request)
{
	if (request->bytes_max > BYTES_MAX)
		request->bytes_max = BYTES_MAX;
	if (request->capacity > MR_CATCHUP_BYTES && request->capacity > request->bytes_max) {
		free(request->bytes);
		request->bytes = NULL;
		request->capacity = 0;
	}
	request->byte_count = 0;
	request->plain_bytes = 0;
	request->record_count = 0;
	request->base_offset = request->end_offset = request->offset;
	request->err = (struct mr_error){0};
}

static void end_reading(struct mr_catchup_readers *readers, struct reader *reader, int r,
			uint64_t now_ns)
{
	struct mr_catchup_request *request = readers->request;
	uint64_t most = readers->options.ahead_max;

	if (!reader->segment)
		return;
	if (r < 0 && r != -ENODATA) {
		drop(readers, reader);
		return;
	}
	if (request->byte_count > 0)
		reader->next = request->end_offset;
	reader->ahead = r == 0 ? 2 * reader->ahead : request->bytes_max + AHEAD_BYTES;
	if (reader->ahead > request->bytes_max + most)
		reader->ahead = request->bytes_max + most;
	reader->use = ++readers->uses;
	reader->used_ns = now_ns;
}

static int read_once(struct mr_catchup_readers *readers, uint64_t now_ns)
{
	struct mr_catchup_request *request = readers->request;
	struct mr_error *err = &request->err;
	struct reader *reader = NULL;
	int r = list_segments(readers, err);

	if (r == 0 && request->limit_offset && request->offset >= request->limit_offset)
		r = mr_error_set(err, -ENODATA, "offset %" PRIu64 " is not flushed yet",
				 request->offset);
	if (r == 0)
		r = reader_for(readers, &reader, err);
	if (r == 0)
		r = give(readers, reader, err);
	if (reader)
		end_reading(readers, reader, r, now_ns);
	return request->byte_count > 0 ? 0 : r; /* the next request meets the error again */
}

int mr_catchup_read(struct mr_catchup_readers *readers, struct mr_catchup_request *request,
		    uint64_t now_ns)
{
	int r = -ENOENT;

	begin_request(request);
	readers->request = request;
	for (uint32_t i = 0; i < TRIES_MAX && r == -ENOENT; i++)
		r = read_once(readers, now_ns);
	if (r < 0 && r != -ERANGE && r != -ENODATA && r != -EBADMSG)
		r = request->err.code = -EIO;
	if (r == 0)
		request->err = (struct mr_error){0};
	request->status = r;
	readers->request = NULL;
	bound_buffers(readers);
	return r;
}

/* ---- all of them --------------------------------------------------------- */

int mr_catchup_readers_open(const struct mr_catchup_reader_options *options,
			    struct mr_catchup_readers **out, struct mr_error *err)
{
	struct mr_catchup_readers *readers = calloc(1, sizeof(*readers));

	if (!readers)
		return mr_error_set(err, -ENOMEM, "no memory for the catch-up readers");
	readers->options = *options;
	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++)
		mr_scan_init(&readers->readers[i].scan, options->overlaps);
	*out = readers;
	return 0;
}

void mr_catchup_readers_close(struct mr_catchup_readers *readers)
{
	if (!readers)
		return;
	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++)
		drop(readers, &readers->readers[i]);
	free(readers->bases);
	free(readers);
}

void mr_catchup_readers_tidy(struct mr_catchup_readers *readers, uint64_t now_ns, uint64_t idle_ns)
{
	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++) {
		struct reader *reader = &readers->readers[i];

		if (reader->segment &&
		    (now_ns - reader->used_ns >= idle_ns || !mr_io_is_named(reader->segment->file)))
			drop(readers, reader);
	}
}

uint64_t mr_catchup_readers_bytes(const struct mr_catchup_readers *readers)
{
	uint64_t bytes = readers->bytes;

	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++)
		bytes += readers->readers[i].scan.read_bytes;
	return bytes;
}

uint32_t mr_catchup_readers_count(const struct mr_catchup_readers *readers, uint32_t *buffered)
{
	uint32_t count = 0;

	*buffered = 0;
	for (uint32_t i = 0; i < MR_CATCHUP_READERS_MAX; i++) {
		count += readers->readers[i].segment != NULL;
		*buffered += has_buffers(&readers->readers[i]);
	}
	return count;
}
