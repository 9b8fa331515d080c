/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of compression: a batch that was compressed says what it said, and what is behind
 * its header is one frame that the codecs' own libraries read back; it is never larger than
 * without; nothing is written beyond the room; whatever sizes come, nothing is allocated; and what
 * a frame says of its size is believed within bounds only.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "log/compress.h"

#define BATCH_MAX (256u << 10)
#define GUARD	  0xa5

enum { LZ4 = MR_CONFIG_COMPRESSION_LZ4, ZSTD = MR_CONFIG_COMPRESSION_ZSTD };

static struct mr_compressor *compressor;
static uint8_t place[BATCH_MAX + 64], plain[BATCH_MAX], expanded[BATCH_MAX];
static struct mr_error err;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
/* In place of the C library's, for the codecs' libraries, too. */
static uint64_t allocations;
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

__attribute__((visibility("default"))) void *malloc(size_t bytes)
{
	allocations++;
	return __libc_malloc(bytes);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t bytes)
{
	allocations++;
	return __libc_calloc(count, bytes);
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t bytes)
{
	allocations++;
	return __libc_realloc(old, bytes);
}

/* Compilers know that malloc() changes no variable of ours. */
static uint64_t count_allocations(void)
{
	__asm__("" : "+m"(allocations));
	return allocations;
}
#endif

static void begin(void)
{
	cr_assert_eq(mr_compressor_new(BATCH_MAX, &compressor, &err), 0, "%s", err.what);
}

static void end(void)
{
	mr_compressor_free(compressor);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 16;
}

/* Records that are much alike, or of noise. Returns how many found room. */
static int32_t add_records(struct mr_batch_writer *writer, uint32_t count, uint32_t value_bytes,
			   uint32_t noise)
{
	static uint8_t value[BATCH_MAX];

	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < value_bytes; k++)
			value[k] = noise ? (uint8_t)next_random(&noise)
					 : (uint8_t)('a' + (k + i % 7) % 23);
		if (mr_batch_add(writer, 1000 + i, "sensor", 6, value, (int32_t)value_bytes, NULL,
				 0, 0) < 0)
			break;
	}
	return writer->record_count;
}

/* As a worker does it, at 'place' with 'room' bytes; returns the batch's bytes. */
static uint32_t make_batch(int compression, uint32_t room, uint32_t count, uint32_t value_bytes,
			   uint32_t noise, struct mr_batch_header *header)
{
	struct mr_batch_identity identity = {.base_offset = 77, .producer_id = 5};
	struct mr_batch_writer writer;
	size_t bytes;

	memset(place, GUARD, sizeof(place));
	mr_compressor_begin(compressor, compression, &writer, room);
	cr_assert_gt(add_records(&writer, count, value_bytes, noise), 0);
	identity.attributes = mr_compressor_place(compressor, compression, &writer, place, room);
	cr_assert_leq(writer.at, place + room);
	bytes = mr_batch_end(&writer, &identity);
	for (uint32_t i = room; i < sizeof(place); i++)
		cr_assert_eq(place[i], GUARD, "written beyond the room");
	cr_assert_eq(mr_batch_check(place, bytes, false, header, &err), 0, "%s", err.what);
	cr_assert_eq(header->base_offset, 77);
	return (uint32_t)bytes;
}

/* The same records without compression; returns the batch's bytes. */
static uint32_t make_plain(int32_t count, uint32_t value_bytes, uint32_t noise,
			   struct mr_batch_header *header)
{
	struct mr_batch_writer writer;
	size_t bytes;

	mr_batch_begin(&writer, plain, sizeof(plain));
	cr_assert_eq(add_records(&writer, (uint32_t)count, value_bytes, noise), count);
	bytes = mr_batch_end(&writer,
			     &(struct mr_batch_identity){.base_offset = 77, .producer_id = 5});
	cr_assert_eq(mr_batch_decode_header(plain, bytes, header), 0);
	return (uint32_t)bytes;
}

/* Says what the plain one says. */
static void check_same(const struct mr_batch_header *header, uint32_t value_bytes, uint32_t noise)
{
	struct mr_batch_header as_plain, as_read = *header;
	uint32_t bytes = make_plain(header->record_count, value_bytes, noise, &as_plain);
	size_t records = bytes - MR_BATCH_HEADER_BYTES;

	cr_assert_eq(header->last_offset_delta, as_plain.last_offset_delta);
	cr_assert_eq(header->base_timestamp_ms, as_plain.base_timestamp_ms);
	cr_assert_eq(header->max_timestamp_ms, as_plain.max_timestamp_ms);
	cr_assert_eq(mr_compress_plain_bytes(place, header), bytes);
	if (!(header->attributes & MR_BATCH_CODEC_MASK)) {
		cr_assert_eq(header->total_bytes, bytes);
		cr_assert_arr_eq(place, plain, bytes);
		return;
	}
	cr_assert_lt(header->total_bytes, bytes);
	mr_test_expand(place, &as_read, expanded, sizeof(expanded));
	cr_assert_eq(as_read.total_bytes, bytes);
	cr_assert_arr_eq(expanded + MR_BATCH_HEADER_BYTES, plain + MR_BATCH_HEADER_BYTES, records);
}

Test(compress, what_is_alike_becomes_smaller_and_reads_back, .init = begin, .fini = end)
{
	static const uint32_t counts[] = {3, 50, 700}, sizes[] = {60, 100, 300};
	struct mr_batch_header header;

	for (int compression = LZ4; compression <= ZSTD; compression++)
		for (int i = 0; i < 9; i++) {
			uint32_t value_bytes = sizes[i / 3];

			(void)make_batch(compression, BATCH_MAX, counts[i % 3], value_bytes, 0,
					 &header);
			cr_assert_eq(header.attributes, compression == LZ4 ? 3 : 4);
			check_same(&header, value_bytes, 0);
		}
}

Test(compress, noise_stays_as_it_is, .init = begin, .fini = end)
{
	struct mr_batch_header header;

	for (int compression = LZ4; compression <= ZSTD; compression++)
		for (uint32_t value_bytes = 1; value_bytes < 100000; value_bytes *= 5) {
			(void)make_batch(compression, BATCH_MAX, 1, value_bytes, 7, &header);
			cr_assert_eq(header.attributes, 0);
			check_same(&header, value_bytes, 7);
		}
}

Test(compress, a_lone_small_record_is_not_worth_it, .init = begin, .fini = end)
{
	struct mr_batch_header header;

	for (int compression = LZ4; compression <= ZSTD; compression++) {
		(void)make_batch(compression, BATCH_MAX, 1, MR_COMPRESS_BYTES_MIN / 2, 0, &header);
		cr_assert_eq(header.attributes, 0);
		check_same(&header, MR_COMPRESS_BYTES_MIN / 2, 0);
	}
}

/* As much as the room says is taken, whatever it is, and what was taken is all there. */
Test(compress, any_room_is_enough, .init = begin, .fini = end)
{
	struct mr_batch_header header;

	for (int compression = LZ4; compression <= ZSTD; compression++)
		for (uint32_t room = 200; room < 70000; room += 1 + room / 7) {
			(void)make_batch(compression, room, UINT32_MAX, 20, 0, &header);
			check_same(&header, 20, 0);
			(void)make_batch(compression, room, UINT32_MAX, 20, 3, &header);
			check_same(&header, 20, 3);
		}
}

/* Where records fill the room to its end, LZ4 must not refuse: its bound is asked for before. */
Test(compress, a_full_batch_is_compressed, .init = begin, .fini = end)
{
	struct mr_batch_header header;

	for (int compression = LZ4; compression <= ZSTD; compression++)
		for (uint32_t room = 5000; room <= BATCH_MAX; room += 9973) {
			(void)make_batch(compression, room, UINT32_MAX, 90, 0, &header);
			cr_assert_eq(header.attributes, compression == LZ4 ? 3 : 4);
			cr_assert_gt(mr_compress_plain_bytes(place, &header),
				     room - 200 - mr_compress_room(compression, room));
		}
}

/* Other libraries read them: Kafka's takes no blocks that need others. */
Test(compress, an_lz4_frame_has_independent_blocks_and_says_its_size, .init = begin, .fini = end)
{
	LZ4F_frameInfo_t info = LZ4F_INIT_FRAMEINFO;
	struct mr_batch_header header;
	size_t bytes;
	LZ4F_dctx *lz4;

	bytes = make_batch(LZ4, BATCH_MAX, 2000, 90, 0, &header) - MR_BATCH_HEADER_BYTES;
	cr_assert_not(LZ4F_isError(LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION)));
	cr_assert_not(
		LZ4F_isError(LZ4F_getFrameInfo(lz4, &info, place + MR_BATCH_HEADER_BYTES, &bytes)));
	cr_assert_eq(info.blockMode, LZ4F_blockIndependent);
	cr_assert_eq(info.blockSizeID, LZ4F_max64KB);
	cr_assert_eq(info.contentSize + MR_BATCH_HEADER_BYTES,
		     mr_compress_plain_bytes(place, &header));
	LZ4F_freeDecompressionContext(lz4);
}

/* zstd's own context takes and gives back memory when small and large batches come in turn. */
Test(compress, nothing_is_allocated_whatever_comes, .init = begin, .fini = end)
{
#if COUNTS_ALLOCATIONS
	static const uint32_t counts[] = {2, 2, 2000, 1, 30};
	struct mr_batch_header header;
	uint64_t before = count_allocations();
	void *one = malloc(1);

	__asm__("" : "+r"(one)); /* else the compiler leaves it out */
	cr_assert_neq(count_allocations(), before, "allocations are not counted");
	free(one);
	before = count_allocations();
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t count = i % 400 < 390 ? counts[i % 2] : counts[i % 5];

		(void)make_batch(i % 3 ? ZSTD : LZ4, BATCH_MAX, count, 80, i % 11, &header);
	}
	cr_assert_eq(count_allocations(), before);
#else
	cr_skip_test("the sanitizer has the allocator");
#endif
}

/* A frame of another host may say anything of its size: it is a number for people. */
Test(compress, what_a_frame_says_is_believed_within_bounds, .init = begin, .fini = end)
{
	static const uint64_t lies[] = {0, UINT64_MAX, UINT64_C(1) << 40, (64u << 20) + 1};
	struct mr_batch_header header;

	(void)make_batch(LZ4, BATCH_MAX, 100, 90, 0, &header);
	for (int i = 0; i < 4; i++) {
		uint64_t lie = htole64(lies[i]);

		memcpy(place + MR_BATCH_HEADER_BYTES + 6, &lie, sizeof(lie));
		cr_assert_eq(mr_compress_plain_bytes(place, &header), header.total_bytes);
	}
	for (uint16_t codec = 0; codec < 8; codec++) {
		header.attributes = codec;
		for (uint32_t bytes = 0; bytes < 20; bytes++) {
			uint8_t *exact = calloc(1, MR_BATCH_HEADER_BYTES + bytes);

			header.total_bytes = MR_BATCH_HEADER_BYTES + bytes;
			memcpy(exact + MR_BATCH_HEADER_BYTES, place + MR_BATCH_HEADER_BYTES, bytes);
			cr_assert_geq(mr_compress_plain_bytes(exact, &header),
				      MR_BATCH_HEADER_BYTES);
			free(exact);
		}
	}
}

/* What another host may send: no codec that nobody here reads, no more records than can be. */
Test(compress, a_batch_of_another_host_is_bounded)
{
	struct mr_batch_header header = {.record_count = INT32_MAX};

	cr_assert_eq(mr_compress_check(&header), 0, "its records are counted");
	for (uint16_t codec = 1; codec < 8; codec++) {
		header.attributes = codec;
		header.record_count = 1000;
		cr_assert_eq(mr_compress_check(&header), codec == 3 || codec == 4 ? 0 : -EBADMSG);
		header.record_count = 10 << 20;
		cr_assert_eq(mr_compress_check(&header), -EBADMSG);
	}
}
