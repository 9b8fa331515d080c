/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See compress.h. Owned and called by one worker's thread. LZ4 works on the stack; zstd in memory
 * that is given to it once, since a context of its own would take and give back memory as batches
 * grow and shrink: that function is promised to programs that link zstd statically only, so it is
 * tried when the compressor is made.
 */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStaticCCtx(), ZSTD_estimateCCtxSize() */
#include "compress.h"

#include <endian.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "check.h"
#include "expand.h"

/* Decided by measurement: docs/decisions/0024-compression.md. */
#define LZ4_LEVEL  0
#define ZSTD_LEVEL 1

/* Of an LZ4 frame: what precedes the content's size, and the flag that says that it is there. */
#define LZ4_SIZE_AT    6u
#define LZ4_FLAGS_AT   4u
#define LZ4_SIZE_THERE 0x08u

struct mr_compressor {
	uint8_t *staging;
	uint32_t staging_bytes;
	ZSTD_CCtx *zstd; /* in 'memory' */
	void *memory;
};

/* Blocks that need no other one: so Kafka's readers want it. The size is said for who reads. */
static LZ4F_preferences_t lz4_preferences(size_t bytes)
{
	return (LZ4F_preferences_t){
		.frameInfo = {.blockSizeID = LZ4F_max64KB,
			      .blockMode = LZ4F_blockIndependent,
			      .contentSize = bytes},
		.compressionLevel = LZ4_LEVEL,
		.autoFlush = 1,
	};
}

static int take_zstd(struct mr_compressor *compressor, struct mr_error *err)
{
	size_t bytes = ZSTD_estimateCCtxSize(ZSTD_LEVEL);

	compressor->memory = malloc(bytes);
	if (!compressor->memory)
		return mr_error_set(err, -ENOMEM, "no memory to compress");
	compressor->zstd = ZSTD_initStaticCCtx(compressor->memory, bytes);
	/* unless it is reset, all parameters are zero, and frames do not say their size */
	if (!compressor->zstd ||
	    ZSTD_isError(ZSTD_CCtx_reset(compressor->zstd, ZSTD_reset_session_and_parameters)) ||
	    ZSTD_isError(
		    ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)))
		return mr_error_set(err, -ENOTSUP,
				    "this host's libzstd %s does not compress in memory that it "
				    "is given",
				    ZSTD_versionString());
	return 0;
}

int mr_compressor_new(uint32_t batch_bytes_max, struct mr_compressor **out, struct mr_error *err)
{
	struct mr_compressor *compressor = calloc(1, sizeof(*compressor));
	int r;

	if (!compressor)
		return mr_error_set(err, -ENOMEM, "no memory to compress");
	compressor->staging_bytes = batch_bytes_max;
	compressor->staging = malloc(batch_bytes_max);
	r = compressor->staging ? take_zstd(compressor, err)
				: mr_error_set(err, -ENOMEM, "no memory to compress");
	if (r < 0) {
		mr_compressor_free(compressor);
		return r;
	}
	*out = compressor;
	return 0;
}

void mr_compressor_free(struct mr_compressor *compressor)
{
	if (!compressor)
		return;
	free(compressor->staging);
	free(compressor->memory); /* the context lies in it */
	free(compressor);
}

uint32_t mr_compress_room(enum mr_config_compression compression, uint32_t bytes)
{
	LZ4F_preferences_t preferences;

	if (compression != MR_CONFIG_COMPRESSION_LZ4)
		return 0;
	preferences = lz4_preferences(bytes);
	return (uint32_t)(LZ4F_compressFrameBound(bytes, &preferences) - bytes);
}

void mr_compressor_begin(struct mr_compressor *compressor, enum mr_config_compression compression,
			 struct mr_batch_writer *writer, uint32_t room)
{
	uint32_t kept = mr_compress_room(compression, room);

	mr_assert(room >= MR_BATCH_HEADER_BYTES);
	mr_assert(room <= compressor->staging_bytes);
	if (room - MR_BATCH_HEADER_BYTES < kept)
		kept = room - MR_BATCH_HEADER_BYTES;
	mr_batch_begin(writer, compressor->staging, room - kept);
}

/* 0: it does not fit into 'room'. */
static size_t compress_lz4(const uint8_t *from, size_t bytes, uint8_t *at, size_t room)
{
	LZ4F_preferences_t preferences = lz4_preferences(bytes);
	size_t r;

	if (LZ4F_compressFrameBound(bytes, &preferences) > room)
		return 0; /* it would refuse */
	r = LZ4F_compressFrame(at, room, from, bytes, &preferences);
	return LZ4F_isError(r) ? 0 : r;
}

static size_t compress_zstd(ZSTD_CCtx *zstd, const uint8_t *from, size_t bytes, uint8_t *at,
			    size_t room)
{
	size_t r = ZSTD_compress2(zstd, at, room, from, bytes);

	return ZSTD_isError(r) ? 0 : r;
}

uint16_t mr_compressor_place(struct mr_compressor *compressor,
			     enum mr_config_compression compression, struct mr_batch_writer *writer,
			     uint8_t *at, uint32_t room)
{
	const uint8_t *from = writer->bytes + MR_BATCH_HEADER_BYTES;
	uint8_t *to = at + MR_BATCH_HEADER_BYTES;
	size_t bytes = (size_t)(writer->at - from), made = 0;

	mr_assert(writer->bytes != at);
	mr_assert(bytes <= room - MR_BATCH_HEADER_BYTES);
	if (bytes >= MR_COMPRESS_BYTES_MIN && bytes <= MR_BATCH_EXPANDED_BYTES_MAX) {
		size_t most = room - MR_BATCH_HEADER_BYTES;

		made = compression == MR_CONFIG_COMPRESSION_LZ4
			       ? compress_lz4(from, bytes, to, most)
			       : compress_zstd(compressor->zstd, from, bytes, to, most);
	}
	writer->bytes = at;
	writer->limit = at + room;
	if (made > 0 && made < bytes) {
		writer->at = to + made;
		return compression == MR_CONFIG_COMPRESSION_LZ4 ? MR_BATCH_CODEC_LZ4
								: MR_BATCH_CODEC_ZSTD;
	}
	memcpy(to, from, bytes);
	writer->at = to + bytes;
	return 0;
}

/* 0: not said. */
static uint64_t size_in_lz4(const uint8_t *frame, size_t bytes)
{
	uint64_t size;

	if (bytes < LZ4_SIZE_AT + sizeof(size) || !(frame[LZ4_FLAGS_AT] & LZ4_SIZE_THERE))
		return 0;
	memcpy(&size, frame + LZ4_SIZE_AT, sizeof(size));
	return le64toh(size);
}

static uint64_t size_in_zstd(const uint8_t *frame, size_t bytes)
{
	unsigned long long size = ZSTD_getFrameContentSize(frame, bytes);

	return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? 0 : size;
}

int mr_compress_check(const struct mr_batch_header *header)
{
	uint16_t codec = header->attributes & MR_BATCH_CODEC_MASK;

	if (!codec)
		return 0; /* its records were counted */
	if (codec != MR_BATCH_CODEC_LZ4 && codec != MR_BATCH_CODEC_ZSTD)
		return -EBADMSG;
	return (uint32_t)header->record_count <=
			       MR_BATCH_EXPANDED_BYTES_MAX / MR_BATCH_RECORD_BYTES_MIN
		       ? 0
		       : -EBADMSG;
}

uint64_t mr_compress_plain_bytes(const uint8_t *batch, const struct mr_batch_header *header)
{
	const uint8_t *frame = batch + MR_BATCH_HEADER_BYTES;
	size_t bytes = header->total_bytes - MR_BATCH_HEADER_BYTES;
	uint64_t size = 0;

	if ((header->attributes & MR_BATCH_CODEC_MASK) == MR_BATCH_CODEC_LZ4)
		size = size_in_lz4(frame, bytes);
	else if ((header->attributes & MR_BATCH_CODEC_MASK) == MR_BATCH_CODEC_ZSTD)
		size = size_in_zstd(frame, bytes);
	if (size == 0 || size > MR_BATCH_EXPANDED_BYTES_MAX)
		return header->total_bytes;
	return MR_BATCH_HEADER_BYTES + size;
}
