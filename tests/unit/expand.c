/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expanding compressed batches: those of Kafka's clients, our own sizes, and frames that lie about
 * what they hold.
 */
#include "expand.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zstd.h>

#define CODEC_GZIP   1
#define CODEC_SNAPPY 2

/* The frames of two clients: the same records as tests/unit/batch.c has with their headers. */
static const char lz4_kafka_python[] =
	"04224d18684056010000000000000a3a000000dfde01000000086b657931c80141010050af00d601000a0201"
	"c80142010050cf00ec01000e04046b33c80143010050a00404683102780468320100000000";
static const char zstd_kafka_python[] =
	"28b52ffd605600c50100d402de01000000086b657931c8014100d601000a0201c8014200ec01000e04046b33"
	"c80143040468310278046832010314002a2001047c01";
static const char lz4_librdkafka[] =
	"04224d186040823a000000dfe801000000086b657931c80141010050ff00020468310278e00100000201c801"
	"420100500272008fe401000004046b33e6005450046831027800000000";
static const char zstd_librdkafka[] =
	"28b52ffd0058a501004402e801000000086b657931c80141020468310278e00100000201c80142e401000004"
	"046b330400296d89eb800500a43548c117";

/* A sanitizer frees late. */
#if defined(__SANITIZE_ADDRESS__)
#define MEASURES_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEASURES_MEMORY 0
#endif
#endif
#ifndef MEASURES_MEMORY
#define MEASURES_MEMORY 1
#endif

static struct mr_expander expander;

static void close_expander(void)
{
	mr_expander_close(&expander);
}

TestSuite(expand, .fini = close_expander);

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t count = strlen(hex) / 2;

	for (size_t i = 0; i < count; i++) {
		char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

		out[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return count;
}

/* A batch on the heap, not a byte longer, so that ASan sees a read beyond it. Caller frees. */
static uint8_t *batch_of(const void *frame, size_t count, int codec, int32_t records,
			 struct mr_batch_header *header)
{
	uint8_t *bytes = malloc(MR_BATCH_HEADER_BYTES + count);

	cr_assert_not_null(bytes);
	memset(bytes, 0, MR_BATCH_HEADER_BYTES);
	memcpy(bytes + MR_BATCH_HEADER_BYTES, frame, count);
	*header = (struct mr_batch_header){
		.total_bytes = (uint32_t)(MR_BATCH_HEADER_BYTES + count),
		.attributes = (uint16_t)codec,
		.record_count = records,
		.last_offset_delta = records - 1,
	};
	return bytes;
}

static int expand(const void *frame, size_t count, int codec, const uint8_t **records,
		  size_t *bytes, struct mr_error *err)
{
	struct mr_batch_header header;
	uint8_t *batch = batch_of(frame, count, codec, 1, &header);
	int r = mr_expander_records(&expander, batch, &header, records, bytes, err);

	free(batch);
	return r;
}

static size_t compress(int codec, const void *from, size_t count, uint8_t *to, size_t room)
{
	LZ4F_preferences_t preferences = {.frameInfo = {.contentSize = count}};
	size_t r = codec == MR_BATCH_CODEC_LZ4
			   ? LZ4F_compressFrame(to, room, from, count, &preferences)
			   : ZSTD_compress(to, room, from, count, 1);

	cr_assert_not(codec == MR_BATCH_CODEC_LZ4 ? LZ4F_isError(r) : ZSTD_isError(r));
	return r;
}

/* Its size is not said in front, as of a client that writes as it goes. */
static size_t stream(int codec, const void *from, size_t count, uint8_t *to, size_t room)
{
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	LZ4F_preferences_t preferences = {0};
	size_t r;

	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	r = codec == MR_BATCH_CODEC_LZ4 ? LZ4F_compressFrame(to, room, from, count, &preferences)
					: ZSTD_compress2(zstd, to, room, from, count);
	ZSTD_freeCCtx(zstd);
	return r;
}

Test(expand, reads_what_kafkas_clients_compress)
{
	static const struct {
		const char *hex;
		int codec;
	} all[] = {
		{lz4_kafka_python, MR_BATCH_CODEC_LZ4},
		{zstd_kafka_python, MR_BATCH_CODEC_ZSTD},
		{lz4_librdkafka, MR_BATCH_CODEC_LZ4},
		{zstd_librdkafka, MR_BATCH_CODEC_ZSTD},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct mr_batch_header header;
		struct mr_batch_reader reader;
		struct mr_message message;
		struct mr_error err;
		const uint8_t *records;
		uint8_t frame[512];
		size_t count = from_hex(all[i].hex, frame), bytes;
		uint8_t *batch = batch_of(frame, count, all[i].codec, 3, &header);

		mr_expander_begin(&expander);
		cr_assert_eq(mr_expander_records(&expander, batch, &header, &records, &bytes, &err),
			     1, "%zu: %s", i, err.what);
		mr_batch_read_records(&reader, &header, records, bytes);
		for (int n = 0; n < 3; n++) {
			cr_assert_eq(mr_batch_next(&reader, &message), 1, "%zu, %d", i, n);
			cr_assert_eq(message.value_bytes, 100);
		}
		cr_assert_eq(message.key_bytes, 2);
		cr_assert_arr_eq(message.key, "k3", 2);
		cr_assert_eq(mr_batch_next(&reader, &message), 0);
		free(batch);
	}
}

/* Batches of one read stay where they are; the one that finds no room comes again. */
Test(expand, batches_follow_each_other_until_there_is_no_room)
{
	static uint8_t plain[200000], frame[300000];

	for (int codec = MR_BATCH_CODEC_LZ4; codec <= MR_BATCH_CODEC_ZSTD; codec++) {
		const uint8_t *first = NULL, *records;
		struct mr_error err;
		size_t bytes;
		int fitted = 0, r = 1;

		mr_expander_close(&expander);
		for (int i = 0; i < 10 && r == 1; i++) {
			size_t count;

			memset(plain, 'a' + i, sizeof(plain));
			count = compress(codec, plain, sizeof(plain), frame, sizeof(frame));
			r = expand(frame, count, codec, &records, &bytes, &err);
			if (r == 1) {
				first = first ? first : records;
				cr_assert_eq(bytes, sizeof(plain));
				cr_assert_eq(records, first + (size_t)i * sizeof(plain));
				cr_assert_arr_eq(records, plain, sizeof(plain));
				fitted++;
			}
		}
		cr_assert_eq(r, 0);
		cr_assert_gt(fitted, 1);
		for (int i = 0; i < fitted; i++)
			cr_assert_eq(first[(size_t)i * sizeof(plain)], 'a' + i);
		mr_expander_begin(&expander);
		r = expand(frame, compress(codec, plain, sizeof(plain), frame, sizeof(frame)),
			   codec, &records, &bytes, &err);
		cr_assert_eq(r, 1);
		cr_assert_eq(records, first, "its memory is kept");
	}
}

Test(expand, sizes_that_are_not_said_and_large_ones)
{
	static const size_t sizes[] = {0, 1, 100, 65536, 65537, 524288, 524289, 3000001};
	uint8_t *plain = malloc(3000001), *frame = malloc(4 << 20);

	for (size_t i = 0; i < 3000001; i++)
		plain[i] = (uint8_t)(i * i >> 7 ^ i);
	for (int codec = MR_BATCH_CODEC_LZ4; codec <= MR_BATCH_CODEC_ZSTD; codec++) {
		for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t size = sizes[i / 2], count, bytes;
			const uint8_t *records;
			struct mr_error err;

			count = i % 2 ? stream(codec, plain, size, frame, 4 << 20)
				      : compress(codec, plain, size, frame, 4 << 20);
			mr_expander_begin(&expander);
			cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), 1,
				     "%zu bytes: %s", size, err.what);
			cr_assert_eq(bytes, size);
			cr_assert_eq(memcmp(records, plain, size), 0);
		}
		mr_expander_close(&expander);
	}
	free(plain);
	free(frame);
}

/* 'count' zeros make a frame of a few kilobytes. */
static size_t bomb(int codec, bool said, size_t count, uint8_t *frame, size_t room)
{
	uint8_t *zeros = calloc(1, count);
	size_t r = said ? compress(codec, zeros, count, frame, room)
			: stream(codec, zeros, count, frame, room);

	free(zeros);
	return r;
}

Test(expand, what_expands_to_too_much_is_refused)
{
	size_t room = (size_t)70 << 20;
	uint8_t *frame = malloc(room);

	for (int i = 0; i < 4; i++) {
		int codec = i & 1 ? MR_BATCH_CODEC_ZSTD : MR_BATCH_CODEC_LZ4;
		const uint8_t *records;
		struct mr_error err;
		size_t bytes, count;

		count = bomb(codec, i & 2, MR_BATCH_EXPANDED_BYTES_MAX, frame, room);
		mr_expander_begin(&expander);
		cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), 1, "%s",
			     err.what);
		cr_assert_eq(bytes, MR_BATCH_EXPANDED_BYTES_MAX);
		count = bomb(codec, i & 2, MR_BATCH_EXPANDED_BYTES_MAX + 1, frame, room);
		mr_expander_begin(&expander);
		cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), -EBADMSG);
		cr_assert_not_null(
			strstr(err.what, "more than the 67108864 bytes that are allowed"), "%s",
			err.what);
		cr_assert_leq(expander.capacity, MR_BATCH_EXPANDED_BYTES_MAX);
		mr_expander_close(&expander);
	}
	free(frame);
}

Test(expand, a_frame_that_says_a_size_it_does_not_have)
{
	static const uint8_t plain[1000];
	uint8_t frame[2000];
	const uint8_t *records;
	struct mr_error err;
	size_t count = compress(MR_BATCH_CODEC_ZSTD, plain, sizeof(plain), frame, sizeof(frame));
	size_t bytes;

	/* RFC 8878, 3.1.1.1: two bytes of content size, less 256, behind the descriptor */
	cr_assert_eq(frame[4] >> 6, 1);
	frame[5] ^= 1;
	cr_assert_eq(expand(frame, count, MR_BATCH_CODEC_ZSTD, &records, &bytes, &err), -EBADMSG);
	cr_assert_eq(expander.used, 0);
}

/* Cut short anywhere, or with bytes behind it, or with any bit flipped: never more than a refusal.
 */
Test(expand, damaged_frames_are_refused_or_harmless)
{
	uint8_t plain[3000], frame[4000];

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i / 7);
	for (int codec = MR_BATCH_CODEC_LZ4; codec <= MR_BATCH_CODEC_ZSTD; codec++) {
		size_t count = compress(codec, plain, sizeof(plain), frame, sizeof(frame)), bytes;
		const uint8_t *records;
		struct mr_error err;

		for (size_t cut = 0; cut < count; cut++)
			cr_assert_eq(expand(frame, cut, codec, &records, &bytes, &err), -EBADMSG,
				     "codec %d cut at %zu", codec, cut);
		frame[count] = 0;
		cr_assert_eq(expand(frame, count + 1, codec, &records, &bytes, &err), -EBADMSG);
		memcpy(frame + count, frame, count);
		cr_assert_eq(expand(frame, 2 * count, codec, &records, &bytes, &err), -EBADMSG,
			     "two frames are no batch");
		for (size_t bit = 0; bit < 8 * count; bit++) {
			int r;

			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
			mr_expander_begin(&expander);
			r = expand(frame, count, codec, &records, &bytes, &err);
			cr_assert(r == 1 || r == -EBADMSG, "%d", r);
			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		mr_expander_begin(&expander);
		cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), 1,
			     "what was refused before leaves nothing behind: %s", err.what);
		cr_assert_arr_eq(records, plain, sizeof(plain));
	}
}

/* liblz4's own reset of a context does not do that. */
Test(expand, a_frame_owes_nothing_to_one_that_was_cut_off)
{
	static const uint8_t plain[1000];
	uint8_t said[2000], unsaid[2000];
	size_t first, second, bytes;
	const uint8_t *records;
	struct mr_error err;

	for (int codec = MR_BATCH_CODEC_LZ4; codec <= MR_BATCH_CODEC_ZSTD; codec++) {
		first = compress(codec, plain, sizeof(plain), said, sizeof(said));
		second = stream(codec, plain, sizeof(plain), unsaid, sizeof(unsaid));
		cr_assert_eq(expand(said, first - 5, codec, &records, &bytes, &err), -EBADMSG);
		cr_assert_eq(expand(unsaid, second, codec, &records, &bytes, &err), 1, "%s",
			     err.what);
		cr_assert_eq(bytes, sizeof(plain));
	}
}

Test(expand, other_codecs_are_named)
{
	static const struct {
		int codec;
		const char *name;
	} all[] = {{CODEC_GZIP, "gzip"}, {CODEC_SNAPPY, "snappy"}, {7, "unknown"}};
	const uint8_t *records;
	struct mr_error err;
	size_t bytes;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		cr_assert_eq(expand("1234", 4, all[i].codec, &records, &bytes, &err), -ENOTSUP);
		cr_assert_not_null(strstr(err.what, all[i].name), "%s", err.what);
		cr_assert_not_null(strstr(err.hint, "lz4 or zstd"), "%s", err.hint);
	}
}

static const char *missing; /* a library that this host does not have */

/* In the place of the C library's. */
void *dlopen(const char *file, int flags)
{
	void *found = dlsym(RTLD_NEXT, "dlopen");
	void *(*real)(const char *, int);

	memcpy(&real, &found, sizeof(real));
	return real(missing && file && strcmp(file, missing) == 0 ? "no-such-library.so" : file,
		    flags);
}

Test(expand, a_library_that_is_not_there_is_named)
{
	static const char *const files[] = {"liblz4.so.1", "libzstd.so.1"};
	static const char *const packages[] = {"liblz4-1", "libzstd1"};
	static const uint8_t plain[300];

	for (int i = 0; i < 2; i++) {
		int codec = i ? MR_BATCH_CODEC_ZSTD : MR_BATCH_CODEC_LZ4;
		const uint8_t *records;
		struct mr_error err;
		uint8_t frame[400];
		size_t count = compress(codec, plain, sizeof(plain), frame, sizeof(frame)), bytes;

		missing = files[i];
		cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), -ENOTSUP);
		cr_assert_not_null(strstr(err.what, files[i]), "%s", err.what);
		cr_assert_not_null(strstr(err.hint, packages[i]), "%s", err.hint);
		missing = NULL; /* it was installed meanwhile */
		cr_assert_eq(expand(frame, count, codec, &records, &bytes, &err), 1);
		cr_assert_eq(bytes, sizeof(plain));
	}
}

/* A zstd frame of 'blocks' times 128 KiB of one byte, 4 bytes each. Caller frees. */
static uint8_t *zstd_blocks(uint32_t blocks, uint8_t window, uint64_t says, size_t *bytes)
{
	size_t count = 6 + (says ? 8 : 0) + 4 * (size_t)blocks, at = 6;
	uint8_t *frame = calloc(1, count);

	memcpy(frame, (uint8_t[]){0x28, 0xb5, 0x2f, 0xfd, says ? 0xc0 : 0, window}, 6);
	if (says) {
		says = htole64(says);
		memcpy(frame + 6, &says, 8);
		at += 8;
	}
	for (uint32_t i = 0; i < blocks; i++, at += 4) {
		uint32_t head = htole32((128u << 10) << 3 | 1u << 1 | (i == blocks - 1));

		memcpy(frame + at, &head, 3);
		frame[at + 3] = 'z';
	}
	*bytes = count;
	return frame;
}

/* An LZ4 frame of 'blocks' times 4 MiB of zeros, which says 'says' of its size, or (0) nothing.
 * Caller frees. */
static uint8_t *lz4_blocks(uint32_t blocks, uint64_t says, size_t *bytes)
{
	LZ4F_preferences_t preferences = {.frameInfo = {.blockSizeID = LZ4F_max4MB,
							.blockMode = LZ4F_blockIndependent,
							.contentSize = says},
					  .autoFlush = 1};
	size_t room = (size_t)blocks * (64u << 10), at, in = 4u << 20;
	uint8_t *frame = malloc(room), *zeros = calloc(1, in);
	LZ4F_cctx *context;

	LZ4F_createCompressionContext(&context, LZ4F_VERSION);
	at = LZ4F_compressBegin(context, frame, room, &preferences);
	for (uint32_t i = 0; i < blocks; i++) {
		uint8_t *block = malloc(LZ4F_compressBound(in, &preferences));
		size_t made = LZ4F_compressUpdate(
			context, block, LZ4F_compressBound(in, &preferences), zeros, in, NULL);

		cr_assert_not(LZ4F_isError(made));
		cr_assert_leq(at + made + 4, room);
		memcpy(frame + at, block, made);
		at += made;
		free(block);
	}
	memset(frame + at, 0, 4); /* the end */
	*bytes = at + 4;
	LZ4F_freeCompressionContext(context);
	free(zeros);
	return frame;
}

static long resident_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static int expand_made(uint8_t *frame, size_t count, int codec, size_t *bytes)
{
	const uint8_t *records;
	struct mr_error err;
	int r;

	mr_expander_begin(&expander);
	r = expand(frame, count, codec, &records, bytes, &err);
	free(frame);
	cr_assert_leq(expander.capacity, MR_BATCH_EXPANDED_BYTES_MAX);
	return r;
}

/* Two gigabytes in 64 KiB, half of one in two megabytes. Some say so, some do not, some lie. */
Test(expand, a_frame_of_gigabytes_gets_no_more_room_than_any)
{
	static const uint64_t says[] = {0,    UINT64_C(2) << 30,	   UINT64_C(512) << 20,
					1000, MR_BATCH_EXPANDED_BYTES_MAX, UINT64_MAX - 2};
	long before = resident_kib();
	size_t count, bytes;
	uint8_t *frame;

	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		frame = zstd_blocks(16384, 0x38, says[i], &count);
		cr_assert_eq(expand_made(frame, count, MR_BATCH_CODEC_ZSTD, &bytes), -EBADMSG);
		frame = lz4_blocks(128, says[i], &count);
		cr_assert_eq(expand_made(frame, count, MR_BATCH_CODEC_LZ4, &bytes), -EBADMSG);
	}
#if MEASURES_MEMORY
	cr_assert_leq(resident_kib() - before,
		      (MR_BATCH_EXPANDED_BYTES_MAX * 3l / 2 + (24 << 20)) / 1024);
#endif
	(void)before;
}

Test(expand, a_window_beyond_what_may_come_out_is_refused)
{
	static const uint8_t refused[] = {(27 - 10) << 3, (26 - 10) << 3 | 1, 0xff};
	size_t count, bytes;
	uint8_t *frame;

	for (size_t i = 0; i < sizeof(refused); i++) {
		frame = zstd_blocks(4, refused[i], 0, &count);
		cr_assert_eq(expand_made(frame, count, MR_BATCH_CODEC_ZSTD, &bytes), -EBADMSG);
	}
	frame = zstd_blocks(4, (26 - 10) << 3, 0, &count);
	cr_assert_eq(expand_made(frame, count, MR_BATCH_CODEC_ZSTD, &bytes), 1);
	cr_assert_eq(bytes, 4u << 17);
}

Test(expand, a_frame_to_be_skipped_is_no_batch)
{
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9};
	const uint8_t *records;
	struct mr_error err;
	size_t bytes;

	cr_assert_eq(
		expand(skippable, sizeof(skippable), MR_BATCH_CODEC_ZSTD, &records, &bytes, &err),
		-EBADMSG);
}
