/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a drain into a topic with compression: the batch in the tail is one frame with
 * the records that the lane had, numbered and answered as ever; what does not become smaller, or is
 * too large to try, is there as it is; no drain takes more than is quickly compressed; what
 * precedes a bad frame is taken; what the log has is not doubled.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "drain_rig.h"
#include "tail_cursor.h"

#define LANE_BYTES    (512u << 10)
#define SEGMENT_BYTES (8u << 20)

static struct mr_test_drain rig;
static struct mr_compressor *compressor;
static struct mr_tail_cursor cursor;
static uint8_t expanded[1u << 20];
static uint64_t published; /* records so far */

static void begin(enum mr_config_compression compression)
{
	struct mr_error err;

	published = 0;
	mr_test_drain_init(&rig, LANE_BYTES, 4u << 20, 1u << 20, SEGMENT_BYTES);
	cr_assert_eq(
		mr_compressor_new(rig.partition->log_options.batch_bytes_max, &compressor, &err), 0,
		"%s", err.what);
	rig.partition->compressor = compressor;
	rig.partition->compression = compression;
	cursor = (struct mr_tail_cursor){.position = rig.partition->start.position};
}

static void end(void)
{
	mr_test_drain_deinit(&rig);
	mr_compressor_free(compressor);
}

/* The value of a record says its number; all else is alike, or noise. */
static void fill(char *value, uint32_t bytes, uint64_t number, bool noise)
{
	uint32_t state = (uint32_t)number + 1;

	for (uint32_t i = 0; i < bytes; i++) {
		state = state * 1664525u + 1013904223u;
		value[i] = noise ? (char)(state >> 16) : (char)('a' + i % 19);
	}
	memcpy(value, &number, sizeof(number));
}

static void publish(uint32_t records, uint32_t value_bytes, bool noise)
{
	struct mr_record record = {.key = "key",
				   .key_bytes = 3,
				   .value_bytes = (int32_t)value_bytes,
				   .timestamp_ms = 1000};
	void *payload;

	for (uint32_t i = 0; i < records; i++) {
		cr_assert_eq(mr_lane_reserve(&rig.writer, &record, 0, &payload), 0);
		fill(payload, value_bytes, published++, noise);
	}
	mr_lane_publish(&rig.writer);
}

static struct mr_lane_drain drain(void)
{
	struct mr_lane_drain drained = mr_worker_drain(rig.partition, rig.lane, &mr_clock_system);

	mr_test_drain_settle(&rig, true);
	return drained;
}

/* The batch holds records 'first' and on, of such values; returns how it was compressed. */
static uint16_t check_batch(const uint8_t *bytes, struct mr_batch_header header, uint64_t first,
			    uint32_t value_bytes, bool noise)
{
	uint16_t codec = header.attributes & MR_BATCH_CODEC_MASK;
	char value[1u << 16];
	struct mr_batch_reader reader;
	struct mr_message message;
	struct mr_error err;
	uint64_t number = first;

	cr_assert_eq(mr_batch_check(bytes, header.total_bytes, false, &header, &err), 0, "%s",
		     err.what);
	cr_assert_eq(header.base_offset, first);
	cr_assert_eq((uint64_t)header.base_sequence, first);
	cr_assert_eq(header.producer_id, 1);
	if (codec)
		mr_test_expand(bytes, &header, expanded, sizeof(expanded));
	cr_assert_eq(mr_batch_read(&reader, codec ? expanded : bytes, &header), 0);
	while (mr_batch_next(&reader, &message) > 0) {
		fill(value, value_bytes, number, noise);
		cr_assert_eq(message.offset, number++);
		cr_assert_eq(message.value_bytes, (int32_t)value_bytes);
		cr_assert_arr_eq(message.value, value, value_bytes);
	}
	cr_assert_eq(number, first + (uint64_t)header.record_count);
	return codec;
}

/* The next batch in the tail. */
static uint16_t check_next(uint64_t first, uint32_t count, uint32_t value_bytes, bool noise)
{
	struct mr_tail_view view = {.page = rig.partition->tail.page,
				    .data = rig.partition->tail.data,
				    .tail_bytes = rig.partition->tail.tail_bytes};
	struct mr_batch_header header;
	uint16_t codec;

	cr_assert_eq(mr_tail_cursor_next(&cursor, &view, mr_log_end_position(rig.partition->log),
					 &header),
		     1);
	cr_assert_eq(header.record_count, (int32_t)count);
	codec = check_batch(mr_tail_view_at(&view, cursor.position), header, first, value_bytes,
			    noise);
	mr_tail_cursor_pass(&cursor, &header);
	return codec;
}

static uint16_t codec_of(enum mr_config_compression compression)
{
	return compression == MR_CONFIG_COMPRESSION_LZ4 ? 3 : 4;
}

#define each(compression)                                                                          \
	for (enum mr_config_compression compression = MR_CONFIG_COMPRESSION_LZ4;                   \
	     compression <= MR_CONFIG_COMPRESSION_ZSTD; compression++)

Test(worker_compress, a_batch_in_the_tail_is_a_frame_of_the_lanes_records)
{
	each(compression)
	{
		begin(compression);
		publish(100, 90, false);
		cr_assert_eq(drain().frames, 100);
		publish(7, 90, false);
		cr_assert_eq(drain().frames, 7);
		cr_assert_eq(check_next(0, 100, 90, false), codec_of(compression));
		cr_assert_eq(check_next(100, 7, 90, false), codec_of(compression));
		cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 107);
		cr_assert_lt(rig.counters[MR_COUNT_BYTES], rig.counters[MR_COUNT_PLAIN_BYTES] / 2);
		cr_assert_gt(rig.counters[MR_COUNT_PLAIN_BYTES], 107 * 90);
		cr_assert_eq(mr_lane_acknowledged(&rig.writer), 107);
		end();
	}
}

Test(worker_compress, what_does_not_become_smaller_is_there_as_it_is)
{
	each(compression)
	{
		begin(compression);
		publish(50, 200, true);
		cr_assert_eq(drain().frames, 50);
		publish(1, 20, false); /* not worth it */
		cr_assert_eq(drain().frames, 1);
		publish(50, 200, false);
		cr_assert_eq(drain().frames, 50);
		/* keys and numbers are alike in noise, too, so zstd finds some: never more than
		 * plain */
		(void)check_next(0, 50, 200, true);
		cr_assert_eq(check_next(50, 1, 20, false), 0);
		cr_assert_eq(check_next(51, 50, 200, false), codec_of(compression));
		cr_assert_leq(rig.counters[MR_COUNT_BYTES], rig.counters[MR_COUNT_PLAIN_BYTES]);
		end();
	}
}

/* However much is waiting: others wait, too. And all of it comes, in order. */
Test(worker_compress, a_drain_takes_what_is_quickly_compressed)
{
	each(compression)
	{
		uint64_t next = 0;
		uint32_t frames;

		begin(compression);
		publish(3000, 90, false);
		while ((frames = drain().frames) > 0) {
			cr_assert_lt(frames, (64u << 10) / 90);
			cr_assert_eq(check_next(next, frames, 90, false), codec_of(compression));
			next += frames;
		}
		cr_assert_eq(next, 3000);
		end();
	}
}

/* Of all sizes up to the largest, and where the room that LZ4 asks for is not there. */
Test(worker_compress, a_record_of_any_size_is_taken)
{
	each(compression)
	{
		begin(compression);
		for (uint32_t bytes = 8; bytes <= (16u << 10) - 3; bytes += bytes / 3 + 1) {
			publish(1, bytes, false);
			cr_assert_eq(drain().frames, 1);
			cr_assert_eq(check_next(published - 1, 1, bytes, false),
				     bytes < 120 ? 0 : codec_of(compression));
		}
		end();
	}
}

Test(worker_compress, a_record_that_leaves_no_room_is_taken_as_it_is)
{
	begin(MR_CONFIG_COMPRESSION_LZ4);
	/* the record fits, and what LZ4 might need does not */
	rig.partition->log_options.batch_bytes_max = 12000 + MR_BATCH_HEADER_BYTES + 20;
	publish(1, 12000, false);
	cr_assert_eq(drain().frames, 1);
	cr_assert_eq(check_next(0, 1, 12000, false), 0);
	publish(1, 11000, false);
	cr_assert_eq(drain().frames, 1);
	cr_assert_eq(check_next(1, 1, 11000, false), 3);
	end();
}

Test(worker_compress, what_precedes_a_bad_frame_is_taken)
{
	each(compression)
	{
		struct mr_frame *frame;

		begin(compression);
		publish(20, 93, false); /* 32 + 3 + 93: 16 slots each */
		frame = (void *)((uint8_t *)(rig.writer.ring + 1) + 16 * MR_SLOT_BYTES * 10);
		frame->number += 1000;
		cr_assert_eq(drain().frames, 10);
		cr_assert_eq(rig.lane->reason, MR_LANE_BAD_FRAME);
		cr_assert_eq(drain().frames, 0);
		cr_assert_eq(check_next(0, 10, 93, false), codec_of(compression));
		end();
	}
}

/* What was answered already is dropped record by record before anything is compressed. */
Test(worker_compress, a_lane_that_is_taken_back_doubles_nothing)
{
	each(compression)
	{
		begin(compression);
		rig.lane->acks = MR_ACKS_DISK; /* not answered: nobody does that here */
		publish(10, 90, false);
		cr_assert_eq(drain().frames, 10);
		publish(10, 90, false);
		mr_answers_drop(&rig.partition->disk);
		mr_worker_rewind(rig.lane);
		cr_assert_eq(drain().frames, 10); /* the first ten: known */
		cr_assert_eq(rig.counters[MR_COUNT_DUPLICATES], 10);
		cr_assert_eq(drain().frames, 10);
		cr_assert_eq(check_next(0, 10, 90, false), codec_of(compression));
		cr_assert_eq(check_next(10, 10, 90, false), codec_of(compression));
		mr_answers_drop(&rig.partition->disk);
		end();
	}
}
