/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See expand.h. Each expander opens the libraries for itself, so nothing is shared between threads.
 */
#include "expand.h"

#include <dlfcn.h>
#include <errno.h>
#include <lz4frame.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "error.h"

/* Two of the largest batches that an engine makes of small records. */
#define FIRST_BYTES ((size_t)512 << 10)

/* Of a zstd frame: magic, descriptor, and a byte of window or of size. */
#define ZSTD_BYTES_LEAST 6u
#define ZSTD_NO_WINDOW	 0x20

struct codec {
	const char *name;
	const char *library;
	const char *package;
};

static const struct codec codec_lz4 = {"lz4", "liblz4.so.1", "liblz4-1"};
static const struct codec codec_zstd = {"zstd", "libzstd.so.1", "libzstd1"};

struct mr_expander_lz4 {
	void *library;
	LZ4F_dctx *context;
	bool begun; /* the last frame was not read to its end */
	__typeof__(LZ4F_createDecompressionContext) *create;
	__typeof__(LZ4F_freeDecompressionContext) *free;
	__typeof__(LZ4F_getFrameInfo) *frame_info;
	__typeof__(LZ4F_decompress) *decompress;
	__typeof__(LZ4F_isError) *is_error;
	__typeof__(LZ4F_getErrorName) *error_name;
};

struct mr_expander_zstd {
	void *library;
	ZSTD_DCtx *context;
	__typeof__(ZSTD_createDCtx) *create;
	__typeof__(ZSTD_freeDCtx) *free;
	__typeof__(ZSTD_getFrameContentSize) *content_size;
	__typeof__(ZSTD_findFrameCompressedSize) *frame_size;
	__typeof__(ZSTD_decompressDCtx) *decompress;
	__typeof__(ZSTD_isError) *is_error;
	__typeof__(ZSTD_getErrorName) *error_name;
	__typeof__(ZSTD_getErrorCode) *error_code;
};

/* ---- the libraries --------------------------------------------------------------------------- */

struct symbol {
	const char *name;
	void *function; /* where its address goes */
};

/* The handle; NULL with a sentence: it, or one of 'symbols' up to a name of NULL, is not here. */
static void *open_library(const struct codec *codec, const struct symbol *symbols,
			  struct mr_error *err)
{
	void *library = dlopen(codec->library, RTLD_NOW | RTLD_LOCAL);

	for (; library && symbols->name; symbols++) {
		void *function = dlsym(library, symbols->name);

		if (!function) {
			dlclose(library);
			library = NULL;
			break;
		}
		*(void **)symbols->function = function;
	}
	if (library)
		return library;
	mr_error_set(err, -ENOTSUP, "it is compressed by %s, and %s is not on this host",
		     codec->name, codec->library);
	mr_error_hint(err, "apt-get install %s", codec->package);
	return NULL;
}

static int open_lz4(struct mr_expander *expander, struct mr_error *err)
{
	struct mr_expander_lz4 lz4 = {0}, *kept;
	const struct symbol symbols[] = {
		{"LZ4F_createDecompressionContext", &lz4.create},
		{"LZ4F_freeDecompressionContext", &lz4.free},
		{"LZ4F_getFrameInfo", &lz4.frame_info},
		{"LZ4F_decompress", &lz4.decompress},
		{"LZ4F_isError", &lz4.is_error},
		{"LZ4F_getErrorName", &lz4.error_name},
		{NULL, NULL},
	};

	lz4.library = open_library(&codec_lz4, symbols, err);
	if (!lz4.library)
		return err->code;
	kept = malloc(sizeof(*kept));
	if (!kept) {
		dlclose(lz4.library);
		return mr_error_set(err, -ENOMEM, "no memory to expand by lz4");
	}
	*kept = lz4;
	expander->lz4 = kept;
	return 0;
}

static int open_zstd(struct mr_expander *expander, struct mr_error *err)
{
	struct mr_expander_zstd zstd = {0}, *kept;
	const struct symbol symbols[] = {
		{"ZSTD_createDCtx", &zstd.create},
		{"ZSTD_freeDCtx", &zstd.free},
		{"ZSTD_getFrameContentSize", &zstd.content_size},
		{"ZSTD_findFrameCompressedSize", &zstd.frame_size},
		{"ZSTD_decompressDCtx", &zstd.decompress},
		{"ZSTD_isError", &zstd.is_error},
		{"ZSTD_getErrorName", &zstd.error_name},
		{"ZSTD_getErrorCode", &zstd.error_code},
		{NULL, NULL},
	};

	zstd.library = open_library(&codec_zstd, symbols, err);
	if (!zstd.library)
		return err->code;
	kept = malloc(sizeof(*kept));
	zstd.context = kept ? zstd.create() : NULL;
	if (!zstd.context) {
		free(kept);
		dlclose(zstd.library);
		return mr_error_set(err, -ENOMEM, "no memory to expand by zstd");
	}
	*kept = zstd;
	expander->zstd = kept;
	return 0;
}

void mr_expander_close(struct mr_expander *expander)
{
	struct mr_expander_lz4 *lz4 = expander->lz4;
	struct mr_expander_zstd *zstd = expander->zstd;

	if (lz4) {
		lz4->free(lz4->context);
		dlclose(lz4->library);
	}
	if (zstd) {
		zstd->free(zstd->context);
		dlclose(zstd->library);
	}
	free(lz4);
	free(zstd);
	free(expander->bytes);
	*expander = (struct mr_expander){0};
}

/* ---- one frame ------------------------------------------------------------------------------- */

struct frame {
	const uint8_t *bytes;
	size_t count;
	uint64_t expanded; /* as it says; 0: it does not */
};

static int bad_frame(const struct codec *codec, const char *why, struct mr_error *err)
{
	return mr_error_set(err, -EBADMSG, "its %s frame does not expand: %s", codec->name, why);
}

/*
 * For a frame from its beginning. Resetting the context is not enough: up to liblz4 1.9.4 it goes
 * on to expect what a frame with its size still owed, of a next one that does not say its size.
 */
static int begin_lz4(struct mr_expander_lz4 *lz4, struct mr_error *err)
{
	if (lz4->begun) {
		lz4->free(lz4->context);
		lz4->context = NULL;
	}
	if (!lz4->context && lz4->is_error(lz4->create(&lz4->context, LZ4F_VERSION)))
		return mr_error_set(err, -ENOMEM, "no memory to expand by lz4");
	lz4->begun = true;
	return 0;
}

/*
 * Into 'room' bytes at 'at': 0 and how many in *made; -ENOSPC: it may fit into more; -EBADMSG,
 * -ENOMEM.
 */
static int expand_lz4(struct mr_expander_lz4 *lz4, struct frame *frame, uint8_t *at, size_t room,
		      size_t *made, struct mr_error *err)
{
	static const LZ4F_decompressOptions_t options = {.stableDst = 1};
	const struct codec *codec = &codec_lz4;
	LZ4F_frameInfo_t info = {0};
	size_t taken = frame->count, done = 0, got, given;
	size_t r;

	if (begin_lz4(lz4, err) < 0)
		return err->code;
	r = lz4->frame_info(lz4->context, &info, frame->bytes, &taken);
	if (lz4->is_error(r))
		return bad_frame(codec, lz4->error_name(r), err);
	frame->expanded = info.contentSize;
	if (frame->expanded > room)
		return -ENOSPC;
	do {
		got = frame->count - taken;
		given = room - done;
		r = lz4->decompress(lz4->context, at + done, &given, frame->bytes + taken, &got,
				    &options);
		if (lz4->is_error(r))
			return bad_frame(codec, lz4->error_name(r), err);
		taken += got;
		done += given;
	} while (r != 0 && (got > 0 || given > 0));
	if (r != 0 && done == room && frame->expanded == 0)
		return -ENOSPC;
	if (r == 0)
		lz4->begun = false;
	if (r != 0 || taken != frame->count)
		return bad_frame(codec, r ? "it is cut off" : "bytes follow it", err);
	*made = done;
	return 0;
}

/*
 * The window that a frame's header asks for (RFC 8878, 3.1.1.1.2), of which nothing was expanded
 * yet; 0: its content is its own. It costs nothing here, but there is none beyond what may come
 * out.
 */
static uint64_t window_of_zstd(const struct frame *frame)
{
	uint8_t flags = frame->bytes[4], window = frame->bytes[5];
	uint64_t base = UINT64_C(1) << (10 + (window >> 3));

	return flags & ZSTD_NO_WINDOW ? 0 : base + base / 8 * (window & 7);
}

static bool is_zstd(const struct frame *frame)
{
	static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};

	return frame->count >= ZSTD_BYTES_LEAST && memcmp(frame->bytes, magic, sizeof(magic)) == 0;
}

static int expand_zstd(struct mr_expander_zstd *zstd, struct frame *frame, uint8_t *at, size_t room,
		       size_t *made, struct mr_error *err)
{
	const struct codec *codec = &codec_zstd;
	unsigned long long expanded = zstd->content_size(frame->bytes, frame->count);
	size_t size = zstd->frame_size(frame->bytes, frame->count), r;

	if (!is_zstd(frame)) /* the library takes one that is to be skipped, too */
		return bad_frame(codec, "it is none", err);
	if (window_of_zstd(frame) > MR_BATCH_EXPANDED_BYTES_MAX)
		return bad_frame(codec, "its window is larger than what may come out", err);
	if (zstd->is_error(size))
		return bad_frame(codec, zstd->error_name(size), err);
	if (size != frame->count)
		return bad_frame(codec, "bytes follow it", err);
	if (expanded == ZSTD_CONTENTSIZE_ERROR)
		return bad_frame(codec, "its header is none", err);
	frame->expanded = expanded == ZSTD_CONTENTSIZE_UNKNOWN ? 0 : expanded;
	if (frame->expanded > room)
		return -ENOSPC;
	r = zstd->decompress(zstd->context, at, room, frame->bytes, frame->count);
	if (zstd->is_error(r) && zstd->error_code(r) == ZSTD_error_dstSize_tooSmall &&
	    frame->expanded == 0)
		return -ENOSPC;
	if (zstd->is_error(r))
		return bad_frame(codec, zstd->error_name(r), err);
	*made = r;
	return 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

static int open_codec(struct mr_expander *expander, const struct mr_batch_header *header,
		      struct mr_error *err)
{
	unsigned int codec = header->attributes & MR_BATCH_CODEC_MASK;

	if (codec == MR_BATCH_CODEC_LZ4)
		return expander->lz4 ? 0 : open_lz4(expander, err);
	if (codec == MR_BATCH_CODEC_ZSTD)
		return expander->zstd ? 0 : open_zstd(expander, err);
	mr_error_set(err, -ENOTSUP, "it is compressed, by a codec that is not read here: %s",
		     mr_batch_codec_name(header));
	mr_error_hint(err, "write it again with lz4 or zstd");
	return -ENOTSUP;
}

/* Room for what the frame says, or for more than there is. Nobody looks at what was there. */
static int grow(struct mr_expander *expander, const struct frame *frame, struct mr_error *err)
{
	size_t wanted = frame->expanded > 0 ? frame->expanded : expander->capacity * 2;
	uint8_t *bytes;

	if (frame->expanded > MR_BATCH_EXPANDED_BYTES_MAX ||
	    expander->capacity >= MR_BATCH_EXPANDED_BYTES_MAX)
		return mr_error_set(err, -EBADMSG,
				    "its records expand to more than the %u bytes that are allowed",
				    MR_BATCH_EXPANDED_BYTES_MAX);
	if (wanted < FIRST_BYTES)
		wanted = FIRST_BYTES;
	if (wanted > MR_BATCH_EXPANDED_BYTES_MAX)
		wanted = MR_BATCH_EXPANDED_BYTES_MAX;
	bytes = malloc(wanted);
	if (!bytes)
		return mr_error_set(err, -ENOMEM, "no memory for a batch of %zu bytes", wanted);
	free(expander->bytes);
	expander->bytes = bytes;
	expander->capacity = wanted;
	return 0;
}

int mr_expander_records(struct mr_expander *expander, const uint8_t *batch,
			const struct mr_batch_header *header, const uint8_t **records,
			size_t *bytes, struct mr_error *err)
{
	unsigned int codec = header->attributes & MR_BATCH_CODEC_MASK;
	struct frame frame = {.bytes = batch + MR_BATCH_HEADER_BYTES,
			      .count = header->total_bytes - MR_BATCH_HEADER_BYTES};
	size_t made = 0;
	int r = open_codec(expander, header, err);

	if (r == 0 && expander->capacity == 0)
		r = grow(expander, &frame, err);
	while (r == 0) {
		uint8_t *at = expander->bytes + expander->used;
		size_t room = expander->capacity - expander->used;

		r = codec == MR_BATCH_CODEC_LZ4
			    ? expand_lz4(expander->lz4, &frame, at, room, &made, err)
			    : expand_zstd(expander->zstd, &frame, at, room, &made, err);
		if (r == 0) {
			*records = at;
			*bytes = made;
			expander->used += made;
			return 1;
		}
		if (r == -ENOSPC)
			r = expander->used > 0 ? 1 : grow(expander, &frame, err);
	}
	return r < 0 ? r : 0;
}
