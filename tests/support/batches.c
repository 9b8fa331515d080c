/* SPDX-License-Identifier: Apache-2.0 */
/* See batches.h. Any thread; owns nothing. */
#include "batches.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "check.h"

uint32_t mr_test_batch_bytes_max(const struct mr_test_batch *batch)
{
	return MR_BATCH_HEADER_BYTES +
	       (uint32_t)batch->records * (uint32_t)mr_batch_record_bytes_max(batch->value_bytes);
}

uint32_t mr_test_batch_encode(const struct mr_test_batch *batch, uint8_t *at, size_t capacity)
{
	const struct mr_batch_identity identity = {
		.base_offset = batch->base_offset,
		.leader_epoch = batch->leader_epoch,
		.producer_id = batch->producer_id,
		.producer_epoch = batch->producer_epoch,
		.base_sequence = batch->producer_id < 0 ? -1 : batch->sequence,
	};
	struct mr_batch_writer writer;
	uint8_t *value;

	mr_assert(batch->value_bytes >= sizeof(uint64_t));
	value = calloc(1, batch->value_bytes);
	mr_assert(value);
	mr_batch_begin(&writer, at, capacity);
	for (int32_t i = 0; i < batch->records; i++) {
		uint64_t offset = batch->base_offset + (uint64_t)i;
		int r;

		memset(value, (int)(offset * 7 + 1), batch->value_bytes);
		memcpy(value, &offset, sizeof(offset));
		r = mr_batch_add(&writer, batch->timestamp_ms, NULL, -1, value,
				 (int32_t)batch->value_bytes, NULL, 0, 0);
		mr_assert(r == 0);
	}
	free(value);
	return (uint32_t)mr_batch_end(&writer, &identity);
}

uint32_t mr_test_group(const struct mr_test_batch *batch, const struct mr_group_place *place,
		       uint64_t segment_id, uint8_t *bytes, size_t capacity, uint32_t *crc)
{
	struct mr_group group;
	uint32_t size;

	mr_group_begin(&group, bytes, segment_id, batch->base_offset);
	size = mr_test_batch_encode(batch, mr_group_at(&group),
				    capacity - sizeof(struct mr_group_header));
	mr_group_add(&group, size, (uint32_t)batch->records);
	mr_assert(sizeof(struct mr_group_header) + size + MR_BLOCK_BYTES <= capacity);
	return mr_group_close(&group, place, crc);
}

static uint64_t monotonic_ns(const struct mr_clock *clock)
{
	return ((const struct mr_test_clock *)clock)->monotonic_ns;
}

static int64_t wall_ms(const struct mr_clock *clock)
{
	return ((const struct mr_test_clock *)clock)->wall_ms;
}

void mr_test_clock_init(struct mr_test_clock *clock, int64_t now_ms)
{
	clock->clock = (struct mr_clock){monotonic_ns, wall_ms};
	clock->monotonic_ns = 1;
	clock->wall_ms = now_ms;
}

static size_t expand_lz4(const uint8_t *frame, size_t bytes, uint8_t *at, size_t room)
{
	size_t made = room, taken = bytes, r;
	LZ4F_dctx *lz4;

	r = LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION);
	mr_assert(!LZ4F_isError(r));
	r = LZ4F_decompress(lz4, at, &made, frame, &taken, NULL);
	mr_assert(r == 0);	   /* the frame ends */
	mr_assert(taken == bytes); /* where the batch does */
	LZ4F_freeDecompressionContext(lz4);
	return made;
}

void mr_test_expand(const uint8_t *batch, struct mr_batch_header *header, uint8_t *at, size_t room)
{
	const uint8_t *frame = batch + MR_BATCH_HEADER_BYTES;
	size_t bytes = header->total_bytes - MR_BATCH_HEADER_BYTES, made;
	uint16_t codec = header->attributes & MR_BATCH_CODEC_MASK;

	mr_assert(codec == 3 || codec == 4);
	memcpy(at, batch, MR_BATCH_HEADER_BYTES);
	at += MR_BATCH_HEADER_BYTES;
	room -= MR_BATCH_HEADER_BYTES;
	if (codec == 3) {
		made = expand_lz4(frame, bytes, at, room);
	} else {
		made = ZSTD_decompress(at, room, frame, bytes);
		mr_assert(!ZSTD_isError(made));
	}
	header->attributes &= (uint16_t)~MR_BATCH_CODEC_MASK;
	header->total_bytes = (uint32_t)(MR_BATCH_HEADER_BYTES + made);
}
