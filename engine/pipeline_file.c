/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of pipelines (pipeline_file.h). The state comes in pieces of any size and goes to the
 * disk in whole aligned ones, so that a large state needs no second copy in memory; the head is
 * written last, since it says how long the state is.
 */
#include "pipeline_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crc32c.h"

#define PIECE_BYTES (256u << 10)
#define CRC_OF	    offsetof(struct mr_pipeline_file, crc)

/* A file that is written or read front to back through one aligned piece. */
struct stream {
	struct mr_io_file *file;
	uint8_t *piece;
	size_t used;   /* of the piece: filled, or read already */
	size_t filled; /* reading */
	uint64_t at;   /* in the file, of the piece's end */
	uint64_t bytes;
	uint32_t crc;
	struct mr_error *err;
};

static int open_stream(struct stream *stream, struct mr_io *io, const char *path,
		       enum mr_io_open_mode mode, struct mr_error *err)
{
	int r;

	memset(stream, 0, sizeof(*stream));
	stream->err = err;
	stream->at = MR_PIPELINE_FILE_STATE;
	stream->piece = aligned_alloc(MR_IO_BLOCK_BYTES, PIECE_BYTES);
	if (!stream->piece)
		return mr_error_set(err, -ENOMEM, "no memory for '%s'", path);
	r = mr_io_open(io, path, mode, &stream->file, err);
	if (r < 0)
		free(stream->piece);
	return r;
}

static void close_stream(struct stream *stream)
{
	mr_io_file_close(stream->file);
	free(stream->piece);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int flush_piece(struct stream *stream)
{
	size_t whole = (stream->used + MR_IO_BLOCK_BYTES - 1) & ~(size_t)(MR_IO_BLOCK_BYTES - 1);
	int r;

	if (!whole)
		return 0;
	memset(stream->piece + stream->used, 0, whole - stream->used);
	r = mr_io_write(stream->file, stream->piece, whole, stream->at, stream->err);
	stream->at += whole;
	stream->used = 0;
	return r;
}

static int write_bytes(void *arg, const void *bytes, size_t count)
{
	struct stream *stream = arg;
	const uint8_t *from = bytes;
	int r = 0;

	stream->crc = mr_crc32c(stream->crc, bytes, count);
	stream->bytes += count;
	while (count > 0 && r == 0) {
		size_t part = PIECE_BYTES - stream->used;

		if (part > count)
			part = count;
		memcpy(stream->piece + stream->used, from, part);
		stream->used += part;
		from += part;
		count -= part;
		if (stream->used == PIECE_BYTES)
			r = flush_piece(stream);
	}
	return r;
}

static int write_head(struct stream *stream, struct mr_pipeline_file *head)
{
	head->magic = MR_PIPELINE_FILE_MAGIC;
	head->version = MR_PIPELINE_FILE_VERSION;
	head->state_bytes = stream->bytes;
	head->state_crc = stream->crc;
	head->crc = mr_crc32c(0, head, CRC_OF);
	memset(stream->piece, 0, MR_PIPELINE_FILE_STATE);
	memcpy(stream->piece, head, sizeof(*head));
	return mr_io_write(stream->file, stream->piece, MR_PIPELINE_FILE_STATE, 0, stream->err);
}

static int write_all(struct stream *stream, struct mr_pipeline_file *head,
		     const struct mr_pipeline *pipeline)
{
	int r = mr_pipeline_save(pipeline, write_bytes, stream);

	if (r == 0)
		r = flush_piece(stream);
	if (r == 0)
		r = write_head(stream, head);
	return r < 0 ? r : mr_io_sync(stream->file, stream->err);
}

int mr_pipeline_file_write(struct mr_io *io, const char *path, struct mr_pipeline_file *head,
			   const struct mr_pipeline *pipeline, struct mr_error *err)
{
	char name[MR_IO_PATH_BYTES];
	struct stream stream;
	int r;

	snprintf(name, sizeof(name), "%s.new", path);
	r = open_stream(&stream, io, name, MR_IO_CREATE, err);
	if (r == -EEXIST) { /* it was never named, or the next one is due before it was */
		r = mr_io_remove(io, name, err);
		if (r == 0)
			r = open_stream(&stream, io, name, MR_IO_CREATE, err);
	}
	if (r < 0)
		return r;
	r = write_all(&stream, head, pipeline);
	close_stream(&stream);
	return r;
}

int mr_pipeline_file_name(struct mr_io *io, const char *path, struct mr_error *err)
{
	char name[MR_IO_PATH_BYTES], *slash;
	int r;

	snprintf(name, sizeof(name), "%s.new", path);
	r = mr_io_rename(io, name, path, err);
	if (r < 0)
		return r;
	slash = strrchr(name, '/');
	mr_assert(slash != NULL);
	*slash = '\0';
	return mr_io_sync_directory(io, name, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int check_head(const struct mr_pipeline_file *head, const char *path, struct mr_error *err)
{
	uint32_t crc = mr_crc32c(0, head, CRC_OF);

	if (head->magic != MR_PIPELINE_FILE_MAGIC)
		return mr_error_set(err, -EBADMSG, "file '%s' begins with %08x, expected %08x",
				    path, head->magic, MR_PIPELINE_FILE_MAGIC);
	if (head->crc != crc)
		return mr_error_set(err, -EBADMSG,
				    "file '%s': its head has crc %08x, computed %08x", path,
				    head->crc, crc);
	if (head->version != MR_PIPELINE_FILE_VERSION)
		return mr_error_set(err, -EBADMSG, "file '%s' has version %u, expected %d", path,
				    head->version, MR_PIPELINE_FILE_VERSION);
	return 0;
}

int mr_pipeline_file_head(struct mr_io *io, const char *path, struct mr_pipeline_file *head,
			  struct mr_error *err)
{
	struct stream stream;
	int64_t got;
	int r = open_stream(&stream, io, path, MR_IO_READ, err);

	if (r < 0)
		return r;
	got = mr_io_read(stream.file, stream.piece, MR_PIPELINE_FILE_STATE, 0, err);
	if (got < 0)
		r = (int)got;
	else if ((size_t)got < sizeof(*head))
		r = mr_error_set(err, -EBADMSG, "file '%s' is cut: %" PRId64 " bytes", path, got);
	if (r == 0) {
		memcpy(head, stream.piece, sizeof(*head));
		r = check_head(head, path, err);
	}
	close_stream(&stream);
	return r;
}

static int fill_piece(struct stream *stream)
{
	int64_t got = mr_io_read(stream->file, stream->piece, PIECE_BYTES, stream->at, stream->err);

	if (got < 0)
		return (int)got;
	if (got == 0)
		return mr_error_set(stream->err, -EBADMSG,
				    "a pipeline's checkpoint is cut at byte %" PRIu64, stream->at);
	stream->at += (uint64_t)got;
	stream->filled = (size_t)got;
	stream->used = 0;
	return 0;
}

static int read_bytes(void *arg, void *bytes, size_t count)
{
	struct stream *stream = arg;
	uint8_t *to = bytes;
	size_t left = count;
	int r = 0;

	if (count > stream->bytes)
		return mr_error_set(stream->err, -EBADMSG,
				    "a pipeline's checkpoint has less state than that wants");
	while (left > 0 && r == 0) {
		size_t part = stream->filled - stream->used;

		if (!part) {
			r = fill_piece(stream);
			continue;
		}
		if (part > left)
			part = left;
		memcpy(to, stream->piece + stream->used, part);
		stream->used += part;
		to += part;
		left -= part;
	}
	stream->bytes -= count;
	if (r == 0)
		stream->crc = mr_crc32c(stream->crc, bytes, count);
	return r;
}

int mr_pipeline_file_load(struct mr_io *io, const char *path, const struct mr_pipeline_file *head,
			  struct mr_pipeline *pipeline, struct mr_error *err)
{
	struct stream stream;
	int r = open_stream(&stream, io, path, MR_IO_READ, err);

	if (r < 0)
		return r;
	stream.bytes = head->state_bytes;
	r = mr_pipeline_load(pipeline, read_bytes, &stream, err);
	if (r == 0 && (stream.bytes || stream.crc != head->state_crc))
		r = mr_error_set(err, -EBADMSG,
				 "file '%s': its state has crc %08x, computed %08x, with %" PRIu64
				 " bytes left",
				 path, head->state_crc, stream.crc, stream.bytes);
	close_stream(&stream);
	return r;
}
