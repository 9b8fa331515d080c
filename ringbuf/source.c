/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one partition: runs on the consumer's thread. A source finds the place of the next offset
 * (in the tail if it is there, else in a file that the engine names), then only moves forward by
 * positions. When the tail has overtaken it, it finds its place again by offset; when the file has
 * caught up with the tail, it goes on there.
 */
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deadline.h"
#include "error.h"

#define READ_BYTES (128u << 10) /* of batches handed out at a time; more if one batch is larger */
#define COPY_BYTES (256u << 10)
#define FIND_TRIES 4 /* the tail may overtake the search itself */
/* So that a program that only ever polls with 0 gets on, too. */
#define FIND_MS_LEAST 250u

void mr_source_init(struct mr_source *source, int32_t partition)
{
	memset(source, 0, sizeof(*source));
	source->partition = partition;
	source->file.fd = -1;
	source->committed = MR_OFFSET_UNKNOWN;
}

static void close_view(struct mr_source *source)
{
	if (source->viewed)
		mr_tail_view_close(&source->view);
	source->viewed = false;
}

void mr_source_close(struct mr_source *source)
{
	close_view(source);
	mr_segment_reader_close(&source->file);
}

/* ---- positions
 * ----------------------------------------------------------------------------------- */

/* R8: pairs with W8. All bytes before it are whole until they are reclaimed. */
static uint64_t acquire(const _Atomic uint64_t *position)
{
	return atomic_load_explicit(position, memory_order_acquire);
}

static uint64_t limit_of(const struct mr_source *source, const struct mr_reading *reading)
{
	const struct mr_tail_page *page = source->view.page;

	return acquire(reading->appended ? &page->appended : &page->committed);
}

uint64_t mr_source_end_offset(const struct mr_source *source, const struct mr_reading *reading)
{
	const struct mr_tail_page *page = source->view.page;

	if (!source->viewed)
		return source->place.next;
	return acquire(reading->appended ? &page->appended_offset : &page->committed_offset);
}

bool mr_source_is_closed(const struct mr_source *source)
{
	return source->viewed &&
	       atomic_load_explicit(&source->view.page->closed, memory_order_acquire) != 0;
}

bool mr_source_has_news(const struct mr_source *source, const struct mr_reading *reading)
{
	uint64_t limit, flushed;

	if (!source->viewed)
		return false;
	limit = limit_of(source, reading);
	switch (source->place.mode) {
	case MR_SOURCE_TAIL:
		return source->place.cursor.position < limit;
	case MR_SOURCE_FILE:
		flushed = acquire(&source->view.page->flushed);
		return source->file.position < (flushed < limit ? flushed : limit);
	default:
		return false;
	}
}

void mr_source_seek(struct mr_source *source, uint64_t offset)
{
	mr_segment_reader_close(&source->file);
	source->place = (struct mr_source_place){.mode = MR_SOURCE_FIND, .next = offset};
}

/* ---- attaching
 * ----------------------------------------------------------------------------------- */

int mr_source_attach(struct mr_source *source, const struct mr_reading *reading, uint64_t wait,
		     uint64_t deadline, struct mr_tail_reply *out, struct mr_error *err)
{
	struct mr_attach_tail body = {.partition = source->partition, .wait = wait};
	struct mr_tail_view view;
	struct mr_packet reply;
	int r;

	memcpy(body.topic_id, reading->topic_id, sizeof(body.topic_id));
	r = mr_connection_ask(reading->connection, MR_MESSAGE_ATTACH_TAIL, &body, sizeof(body),
			      sizeof(*out), 1, deadline, &reply, err);
	if (r < 0)
		return r;
	memcpy(out, reply.body, sizeof(*out));
	r = mr_tail_view_open(reply.fds[0], out->tail_bytes, &view, err);
	mr_packet_close_fds(&reply);
	if (r < 0)
		return r;
	close_view(source);
	source->view = view;
	source->viewed = true;
	source->attached = true;
	mr_segment_reader_close(&source->file);
	source->place.mode = MR_SOURCE_FIND;
	source->place.expected = 0;
	/* records that were only appended may have gone with the engine that had them */
	if (reading->appended && source->place.next > out->log_end_offset)
		source->place.next = out->log_end_offset;
	return 0;
}

/* ---- messages
 * ------------------------------------------------------------------------------------ */

static int grow_messages(struct mr_reading *reading, uint32_t more, struct mr_error *err)
{
	uint64_t want = (uint64_t)reading->message_count + more;
	uint64_t capacity = reading->message_capacity ? reading->message_capacity : 64;
	struct mr_message *messages;

	if (want <= reading->message_capacity)
		return 0;
	while (capacity < want)
		capacity *= 2;
	messages = capacity <= INT32_MAX ? realloc(reading->messages, capacity * sizeof(*messages))
					 : NULL;
	if (!messages)
		return mr_error_set(err, -ENOMEM, "no memory for %" PRIu64 " messages", capacity);
	reading->messages = messages;
	reading->message_capacity = (uint32_t)capacity;
	return 0;
}

static int damaged(const struct mr_source *source, const struct mr_reading *reading,
		   const char *what, struct mr_error *err)
{
	mr_error_set(err, -EBADMSG,
		     "topic '%s' partition %" PRId32 " is damaged at offset %" PRIu64,
		     reading->topic, source->partition, source->place.next);
	mr_error_why(err, "%.159s", what);
	mr_error_hint(
		err,
		"millrace verify, while the engine is stopped, says from where on it can be read "
		"again");
	return -EBADMSG;
}

/* True for a record that was handed out before, or is older than what was asked for. */
static bool is_skipped(struct mr_source *source, const struct mr_message *message)
{
	if (message->offset < source->place.next)
		return true;
	if (source->place.skipping && message->timestamp_ms < source->skip_before_ms)
		return true;
	source->place.skipping = false;
	return false;
}

/*
 * The records of a batch that was checked, of which there is room for all; what stands before
 * 'next' was handed out before. From the first that counts on all do: offsets only rise.
 */
static int add_records(struct mr_source *source, struct mr_reading *reading,
		       const struct mr_batch_reader *batch, struct mr_error *err)
{
	struct mr_message *to = reading->messages + reading->message_count;
	struct mr_batch_reader records = *batch; /* a copy of our own stays in registers */
	int32_t partition = source->partition;
	int r;

	do
		r = mr_batch_next(&records, to);
	while (r > 0 && is_skipped(source, to));
	while (r > 0) {
		to->partition = partition;
		r = mr_batch_next(&records, ++to);
	}
	if (r < 0)
		return damaged(source, reading, "a record in a batch is malformed", err);
	reading->message_count = (uint32_t)(to - reading->messages);
	return 0;
}

/*
 * Where the batch's records are. 1; 0: a compressed one for which there is no room in this read; or
 * a negative errno. What may change meanwhile is never expanded.
 */
static int open_records(struct mr_source *source, struct mr_reading *reading, const uint8_t *bytes,
			const struct mr_batch_header *header, bool stable,
			struct mr_batch_reader *records, struct mr_error *err)
{
	const uint8_t *expanded;
	size_t count;
	int r;

	if (mr_batch_read(records, bytes, header) == 0)
		return 1;
	if (!stable)
		return damaged(source, reading, "a batch became compressed", err);
	r = mr_expander_records(&reading->expander, bytes, header, &expanded, &count, err);
	if (r == -EBADMSG) {
		struct mr_error why = *err;

		return damaged(source, reading, why.what, err);
	}
	if (r < 0)
		mr_error_prefix(
			err, "topic '%s' partition %" PRId32 ", the batch at offset %" PRIu64 ": ",
			reading->topic, source->partition, header->base_offset);
	if (r > 0)
		mr_batch_read_records(records, header, expanded, count);
	return r;
}

/* Whether a batch has no place in this read: one that is control is handed out alone. */
static bool stands_apart(const struct mr_reading *reading, const struct mr_batch_header *header)
{
	return reading->is_control ||
	       ((header->attributes & MR_BATCH_CONTROL) && reading->message_count > 0);
}

/*
 * Checks the batch of 'count' bytes at 'bytes' and adds its records: 1; 0: no room left in this
 * read; nothing is changed unless it returns 1. Bytes that are not 'stable' may change meanwhile:
 * the caller looks afterwards whether they were whole.
 */
static int add_batch(struct mr_source *source, struct mr_reading *reading, const uint8_t *bytes,
		     size_t count, bool stable, struct mr_error *err)
{
	struct mr_batch_header header;
	struct mr_batch_reader records;
	bool skipping = source->place.skipping;
	int r;

	if (mr_batch_decode_header(bytes, count, &header) < 0 || header.total_bytes != count ||
	    mr_batch_check_crc(bytes, &header) < 0)
		return damaged(source, reading, "a batch's checksum is wrong", err);
	if (header.base_offset < source->place.expected)
		return damaged(source, reading, "a batch begins before the one in front of it ends",
			       err);
	if ((header.attributes & MR_BATCH_CONTROL) && !reading->control)
		return 1;
	if (stands_apart(reading, &header))
		return 0;
	r = open_records(source, reading, bytes, &header, stable, &records, err);
	if (r <= 0)
		return r;
	if ((uint32_t)header.record_count >
	    (size_t)(records.end - records.at) / MR_BATCH_RECORD_BYTES_MIN)
		return damaged(source, reading, "a batch counts more records than fit into it",
			       err);
	/* one at least: compaction may have left none, and then there may be no array yet */
	r = grow_messages(reading, (uint32_t)header.record_count + (header.record_count == 0), err);
	if (r == 0)
		r = add_records(source, reading, &records, err);
	if (r < 0)
		source->place.skipping = skipping;
	else if (reading->message_count > 0)
		reading->is_control = header.attributes & MR_BATCH_CONTROL;
	return r < 0 ? r : 1;
}

/* The batch was added, or holds nothing that is wanted. */
static void go_past(struct mr_source *source, const struct mr_batch_header *header)
{
	uint64_t end = header->base_offset + (uint32_t)header->last_offset_delta + 1;

	source->place.expected = end;
	if (end > source->place.next)
		source->place.next = end;
}

static bool is_wanted(const struct mr_source *source, const struct mr_batch_header *header)
{
	return header->base_offset + (uint32_t)header->last_offset_delta >= source->place.next;
}

/* ---- the tail
 * ------------------------------------------------------------------------------------ */

/* Room for a batch's copy behind those that were copied already. 0: not in this read. */
static int make_room(struct mr_reading *reading, size_t bytes, struct mr_error *err)
{
	size_t capacity = bytes > COPY_BYTES ? bytes : COPY_BYTES;
	uint8_t *copy;

	if (bytes <= reading->copy_capacity - reading->copy_used)
		return 1;
	if (reading->copy_used > 0)
		return 0; /* moving them would leave messages behind */
	copy = realloc(reading->copy, capacity);
	if (!copy)
		return mr_error_set(err, -ENOMEM, "no memory for a batch of %zu bytes", bytes);
	reading->copy = copy;
	reading->copy_capacity = capacity;
	return 1;
}

/* Adds the batch at the cursor as a copy: 1; 0: no room left in this read; -EOVERFLOW: overtaken.
 */
static int add_copy(struct mr_source *source, struct mr_reading *reading, uint32_t bytes,
		    struct mr_error *err)
{
	uint64_t position = source->place.cursor.position;
	uint8_t *copy;
	int r = make_room(reading, bytes, err);

	if (r <= 0)
		return r;
	copy = reading->copy + reading->copy_used;
	memcpy(copy, mr_tail_view_at(&source->view, position), bytes);
	if (!mr_tail_view_valid(&source->view, position))
		return -EOVERFLOW;
	r = add_batch(source, reading, copy, bytes, true, err);
	if (r > 0)
		reading->copy_used += bytes;
	return r;
}

static int add_in_place(struct mr_source *source, struct mr_reading *reading, uint32_t bytes,
			struct mr_error *err)
{
	uint64_t position = source->place.cursor.position;
	uint32_t before = reading->message_count;
	int r = add_batch(source, reading, mr_tail_view_at(&source->view, position), bytes, false,
			  err);

	if (!mr_tail_view_valid(&source->view, position)) {
		reading->message_count = before;
		reading->is_control = false;
		return -EOVERFLOW;
	}
	if (r <= 0)
		return r;
	if (!source->held && reading->message_count > before)
		source->held_position = position;
	source->held |= reading->message_count > before;
	return 1;
}

/*
 * Adds batches from the tail. 1: enough was read, there may be more; 0: there are no more for now;
 * or a negative errno, after what was added before.
 */
static int fill_from_tail(struct mr_source *source, struct mr_reading *reading, bool in_place,
			  struct mr_error *err)
{
	uint64_t limit = limit_of(source, reading);
	uint64_t read_bytes = 0;
	struct mr_batch_header header;

	while (read_bytes < READ_BYTES) {
		int r = mr_tail_cursor_next(&source->place.cursor, &source->view, limit, &header);

		if (r == -EBADMSG)
			return damaged(source, reading, "what stands in the tail is no batch", err);
		if (r <= 0)
			return r;
		if (is_wanted(source, &header)) {
			bool compressed = header.attributes & MR_BATCH_CODEC_MASK;

			r = in_place && !compressed
				    ? add_in_place(source, reading, header.total_bytes, err)
				    : add_copy(source, reading, header.total_bytes, err);
			if (r <= 0)
				return r < 0 ? r : 1;
			read_bytes += header.total_bytes;
		}
		mr_tail_cursor_pass(&source->place.cursor, &header);
		go_past(source, &header);
	}
	return 1;
}

static int read_tail(struct mr_source *source, struct mr_reading *reading, bool in_place,
		     struct mr_error *err)
{
	int r;

	source->before = source->place;
	source->held = false;
	reading->copy_used = 0;
	mr_expander_begin(&reading->expander);
	r = fill_from_tail(source, reading, in_place, err);
	if (reading->message_count > 0)
		return 1; /* an error comes again at the next call */
	return r;
}

int mr_source_release(struct mr_source *source)
{
	if (!source->held)
		return 0;
	source->held = false;
	if (mr_tail_view_valid(&source->view, source->held_position))
		return 0;
	source->place = source->before;
	source->place.mode = MR_SOURCE_FIND;
	source->place.expected = 0;
	source->overtaken++;
	return -EOVERFLOW;
}

/* ---- the files
 * ----------------------------------------------------------------------------------- */

/* What the engine could not say just now. */
static bool is_passing(int r)
{
	return r == -EPIPE || r == -ETIMEDOUT || r == -EAGAIN;
}

/* 1: the source reads a file now; 0: the engine cannot say now; or a negative errno with a
 * sentence. */
static int open_file(struct mr_source *source, const struct mr_reading *reading, uint64_t deadline,
		     struct mr_error *err)
{
	struct mr_find_segment body = {.partition = source->partition,
				       .offset = source->place.next};
	uint64_t at_least = mr_deadline_after(FIND_MS_LEAST);
	struct mr_segment_reply found;
	struct mr_packet reply;
	int r;

	memcpy(body.topic_id, reading->topic_id, sizeof(body.topic_id));
	mr_segment_reader_close(&source->file);
	source->place.mode = MR_SOURCE_FIND;
	r = mr_connection_ask(reading->connection, MR_MESSAGE_FIND_SEGMENT, &body, sizeof(body),
			      sizeof(found), 1, deadline > at_least ? deadline : at_least, &reply,
			      err);
	if (is_passing(r))
		return 0;
	if (r == -ENOENT) {
		mr_error_prefix(err, "topic '%s' is gone: ", reading->topic);
		err->code = -EPIPE;
		return -EPIPE;
	}
	if (r < 0)
		return r;
	memcpy(&found, reply.body, sizeof(found));
	r = mr_segment_reader_open(&source->file, reply.fds[0], &found, err);
	if (r == 0 && found.group_offset > source->place.next)
		r = mr_error_set(err, -EBADMSG,
				 "the engine has offset %" PRIu64 " in a group from %" PRIu64,
				 source->place.next, found.group_offset);
	if (r < 0) {
		mr_segment_reader_close(&source->file);
		return r;
	}
	source->place.mode = MR_SOURCE_FILE;
	source->place.expected = 0;
	return 1;
}

/* The file is read to its end: the log goes on in the next one, at the same position. */
static int next_file(struct mr_source *source, const struct mr_reading *reading, uint64_t deadline,
		     struct mr_error *err)
{
	uint64_t position = source->file.position;
	uint64_t base = source->file.base_position;
	int r = open_file(source, reading, deadline, err);

	if (r == 1 && source->file.base_position == base && source->file.position <= position) {
		mr_segment_reader_close(&source->file);
		source->place.mode = MR_SOURCE_FIND;
		return damaged(source, reading, "the segment ends before the log does", err);
	}
	return r;
}

/* At a group's start that the tail has, too, the file has done its part. */
static bool caught_up(struct mr_source *source)
{
	if (!mr_segment_reader_at_boundary(&source->file) ||
	    source->file.position < acquire(&source->view.page->reclaimed))
		return false;
	source->place.cursor = (struct mr_tail_cursor){.position = source->file.position};
	source->place.mode = MR_SOURCE_TAIL;
	mr_segment_reader_close(&source->file);
	return true;
}

/*
 * Adds the rest of the group that the file is in, or the next one. 1: messages, or come again (the
 * mode may have changed); 0: nothing now; or a negative errno.
 */
static int read_file(struct mr_source *source, struct mr_reading *reading, uint64_t deadline,
		     struct mr_error *err)
{
	uint64_t limit = limit_of(source, reading);
	uint64_t flushed = acquire(&source->view.page->flushed);
	struct mr_batch_header header;
	const uint8_t *bytes;
	int r;

	if (caught_up(source))
		return 1;
	mr_expander_begin(&reading->expander);
	do {
		r = mr_segment_reader_next(&source->file, flushed, limit, source->view.tail_bytes,
					   &header, &bytes, err);
		if (r == -ENODATA)
			return next_file(source, reading, deadline, err);
		if (r < 0)
			mr_error_prefix(err, "topic '%s' partition %" PRId32 ": ", reading->topic,
					source->partition);
		if (r == 1 && is_wanted(source, &header)) {
			int added =
				add_batch(source, reading, bytes, header.total_bytes, true, err);

			if (added == 0)
				return 1; /* once more, in the next read */
			if (added < 0)
				r = added;
		}
		if (r <= 0)
			return reading->message_count > 0 ? 1 : r;
		mr_segment_reader_pass(&source->file, &header);
		go_past(source, &header);
	} while (!mr_segment_reader_at_boundary(&source->file));
	return 1;
}

/* ---- finding the place
 * --------------------------------------------------------------------------- */

static int out_of_range(const struct mr_source *source, const struct mr_reading *reading,
			uint64_t from, uint64_t to, struct mr_error *err)
{
	mr_error_set(err, -ERANGE,
		     "topic '%s' partition %" PRId32 " has no offset %" PRIu64 ": it has %" PRIu64
		     " to %" PRIu64,
		     reading->topic, source->partition, source->place.next, from, to);
	if (source->place.next < from)
		mr_error_why(err, "offsets %" PRIu64 " to %" PRIu64 " are no longer kept",
			     source->place.next, from - 1);
	mr_error_hint(err, "seek to an offset that is there");
	return -ERANGE;
}

static int find_place(struct mr_source *source, const struct mr_reading *reading, uint64_t deadline,
		      struct mr_error *err)
{
	const struct mr_tail_page *page = source->view.page;
	uint64_t end = acquire(&page->appended_offset);
	uint64_t start = acquire(&page->log_start_offset);
	uint64_t next = source->place.next;
	int r = -EOVERFLOW;

	if (next < start && source->place.oldest)
		next = source->place.next = start;
	if (next < start || next > end)
		return out_of_range(source, reading, start, end, err);
	for (int i = 0; r == -EOVERFLOW && i < FIND_TRIES; i++)
		r = mr_tail_cursor_find(&source->view, next, limit_of(source, reading),
					&source->place.cursor);
	if (r == -EBADMSG)
		return damaged(source, reading, "what stands in the tail is no log", err);
	if (r != 1)
		return open_file(source, reading, deadline, err);
	source->place.mode = MR_SOURCE_TAIL;
	source->place.expected = 0;
	return 1;
}

/* One step: 1 if messages were read or the next step may read some. */
static int step(struct mr_source *source, struct mr_reading *reading, bool in_place,
		uint64_t deadline, struct mr_error *err)
{
	int r;

	switch (source->place.mode) {
	case MR_SOURCE_FIND:
		return find_place(source, reading, deadline, err);
	case MR_SOURCE_FILE:
		return read_file(source, reading, deadline, err);
	default:
		r = read_tail(source, reading, in_place, err);
		if (r != -EOVERFLOW)
			return r;
		source->overtaken++;
		source->place.mode = MR_SOURCE_FIND;
		return 1;
	}
}

int mr_source_read(struct mr_source *source, struct mr_reading *reading, bool in_place,
		   uint64_t deadline, struct mr_error *err)
{
	uint64_t enough = MR_DEADLINE_OVER; /* no clock is read where one step does */
	int r;

	reading->message_count = 0;
	reading->is_control = false;
	if (!source->viewed)
		return 0;
	do {
		r = step(source, reading, in_place, deadline, err);
		if (reading->message_count > 0)
			source->place.oldest = false;
		if (r <= 0 || reading->message_count > 0)
			return r;
		if (enough == MR_DEADLINE_OVER)
			enough = mr_deadline_after(FIND_MS_LEAST);
	} while (!mr_deadline_over(deadline) || !mr_deadline_over(enough));
	return 0;
}
