/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files: made ahead, zero-filled, named, opened, removed; and their sparse indexes. What
 * touches the disk here may block and runs as a chore or in recovery; noting in the index is the
 * worker's, finding in it the control thread's. A segment's struct is owned by whoever holds it
 * (log.h says who that is).
 */
#include "segment.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "check.h"
#include "crc32c.h"

#define ZERO_WRITE_BYTES     (1u << 20)
#define SEGMENT_BYTES_MAX    (1ull << 40) /* nobody's disk gives us more for one file */
#define INDEX_FILE_BYTES_MAX (1u << 26)

#define LARGE_FILE_BYTES (128u << 20) /* in three extents or more, or nearly */
#define APART_BLOCKS	 4

/* ---- names --------------------------------------------------------------- */

void mr_segment_file_name(uint64_t base_offset, char name[32])
{
	snprintf(name, 32, "%020" PRIu64 ".log", base_offset);
}

bool mr_segment_parse_name(const char *name, uint64_t *base_offset)
{
	uint64_t value = 0;

	for (int i = 0; i < 20; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		if (value > (UINT64_MAX - (uint64_t)(name[i] - '0')) / 10)
			return false;
		value = value * 10 + (uint64_t)(name[i] - '0');
	}
	*base_offset = value;
	return strcmp(name + 20, ".log") == 0;
}

void mr_segment_path(const struct mr_segment *segment, char path[160])
{
	snprintf(path, 160, "%s/%020" PRIu64 ".log", segment->directory, segment->base_offset);
}

static void index_path(const struct mr_segment *segment, char path[160])
{
	snprintf(path, 160, "%s/%020" PRIu64 ".index", segment->directory, segment->base_offset);
}

/* ---- the header block ---------------------------------------------------- */

/* To the disk's byte order and back: its own inverse. */
static void swap_header(struct mr_segment_header *header)
{
	header->magic = htole32(header->magic);
	header->version = htole16(header->version);
	header->segment_id = htole64(header->segment_id);
	header->partition = (int32_t)htole32((uint32_t)header->partition);
	header->previous_crc = htole32(header->previous_crc);
	header->base_offset = htole64(header->base_offset);
	header->base_position = htole64(header->base_position);
	header->group_number = htole64(header->group_number);
	header->created_ms = (int64_t)htole64((uint64_t)header->created_ms);
	header->file_bytes = htole64(header->file_bytes);
	header->crc = htole32(header->crc);
}

/* The checksum goes over the header before it and over the block's zeros behind it. */
static uint32_t header_crc(const uint8_t block[MR_BLOCK_BYTES])
{
	size_t end = sizeof(struct mr_segment_header);
	uint32_t crc = mr_crc32c(0, block, offsetof(struct mr_segment_header, crc));

	return mr_crc32c(crc, block + end, MR_BLOCK_BYTES - end);
}

int mr_segment_encode_header(const struct mr_segment_header *header, uint8_t block[MR_BLOCK_BYTES])
{
	struct mr_segment_header copy = *header;
	uint32_t crc;

	copy.magic = MR_SEGMENT_MAGIC;
	copy.version = MR_FORMAT_VERSION;
	copy.reserved0 = 0;
	copy.reserved1 = 0;
	copy.crc = 0;
	swap_header(&copy);
	memset(block, 0, MR_BLOCK_BYTES);
	memcpy(block, &copy, sizeof(copy));
	crc = htole32(header_crc(block));
	memcpy(block + offsetof(struct mr_segment_header, crc), &crc, sizeof(crc));
	return 0;
}

int mr_segment_decode_header(const uint8_t block[MR_BLOCK_BYTES], struct mr_segment_header *header,
			     struct mr_error *err)
{
	struct mr_segment_header copy;
	uint32_t crc;

	memcpy(&copy, block, sizeof(copy));
	swap_header(&copy);
	if (copy.magic != MR_SEGMENT_MAGIC)
		return mr_error_set(err, -EBADMSG, "segment's header has magic %08x, expected %08x",
				    copy.magic, MR_SEGMENT_MAGIC);
	crc = header_crc(block);
	if (copy.crc != crc)
		return mr_error_set(err, -EBADMSG, "segment's header has crc %08x, computed %08x",
				    copy.crc, crc);
	if (copy.version != MR_FORMAT_VERSION)
		return mr_error_set(err, -EBADMSG, "segment is of version %u, expected %u",
				    copy.version, MR_FORMAT_VERSION);
	if (copy.base_position % MR_BLOCK_BYTES || copy.file_bytes % MR_BLOCK_BYTES ||
	    copy.file_bytes < 2 * MR_BLOCK_BYTES || copy.file_bytes > SEGMENT_BYTES_MAX ||
	    copy.base_position > (uint64_t)INT64_MAX - SEGMENT_BYTES_MAX ||
	    copy.base_offset > INT64_MAX)
		return mr_error_set(err, -EBADMSG, "segment's header has impossible places");
	*header = copy;
	return 0;
}

/* ---- the struct ---------------------------------------------------------- */

static void index_begin(struct mr_segment_index *index)
{
	atomic_store_explicit(&index->count, 0, memory_order_relaxed); /* nobody else has it yet */
	atomic_store_explicit(&index->max_timestamp_ms, INT64_MIN, memory_order_relaxed);
	atomic_store_explicit(&index->last_append_ms, INT64_MIN, memory_order_relaxed);
}

static struct mr_segment *segment_new(struct mr_io *io, const char *directory, uint64_t file_bytes)
{
	struct mr_segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	segment->io = io;
	segment->file_bytes = file_bytes;
	snprintf(segment->directory, sizeof(segment->directory), "%s", directory);
	segment->index.capacity = (uint32_t)(file_bytes / MR_INDEX_INTERVAL_BYTES) + 1;
	segment->index.entries = calloc(segment->index.capacity, sizeof(struct mr_index_entry));
	if (!segment->index.entries) {
		free(segment);
		return NULL;
	}
	index_begin(&segment->index);
	return segment;
}

void mr_segment_close(struct mr_segment *segment)
{
	if (!segment)
		return;
	mr_io_file_close(segment->file);
	free(segment->index.entries);
	free(segment);
}

/* ---- files --------------------------------------------------------------- */

/* Zeros, not yet durable. */
static int write_zeros(struct mr_segment *segment, uint64_t from, uint64_t to, struct mr_error *err)
{
	uint64_t step = to - from < ZERO_WRITE_BYTES ? to - from : ZERO_WRITE_BYTES;
	uint8_t *zeros = aligned_alloc(MR_BLOCK_BYTES, step);
	int r = 0;

	if (!zeros)
		return mr_error_set(err, -ENOMEM, "no memory for zeros");
	memset(zeros, 0, step);
	while (from < to && r == 0) {
		uint64_t bytes = to - from < step ? to - from : step;

		r = mr_io_write(segment->file, zeros, bytes, from, err);
		from += bytes;
	}
	free(zeros);
	return r;
}

int mr_segment_zero(struct mr_segment *segment, uint64_t from, uint64_t to, struct mr_error *err)
{
	int r;

	mr_assert(from <= to);
	mr_assert(to <= segment->file_bytes);
	mr_assert(from % MR_BLOCK_BYTES == 0 && to % MR_BLOCK_BYTES == 0);
	if (from == to)
		return 0;
	r = write_zeros(segment, from, to, err);
	return r < 0 ? r : mr_io_sync(segment->file, err);
}

/*
 * ext4 keeps up to four extents of a file in its inode, and a large file that is only allocated has
 * three. A durable write into it makes a fourth and, for a moment, a fifth: a block is allocated
 * for them, written, freed and discarded with every group, a quarter of its latency. Single blocks
 * that are written at the file's end, each apart from the next, are more extents than that for
 * good, and the block stays.
 */
static int keep_extents_apart(struct mr_segment *segment, struct mr_error *err)
{
	uint64_t at = segment->file_bytes - MR_BLOCK_BYTES;
	int r = 0;

	if (segment->file_bytes < LARGE_FILE_BYTES)
		return 0;
	for (uint32_t i = 0; r == 0 && i < APART_BLOCKS; i++)
		r = write_zeros(segment, at - i * 2 * MR_BLOCK_BYTES,
				at - i * 2 * MR_BLOCK_BYTES + MR_BLOCK_BYTES, err);
	return r; /* durable with the zeros at the front */
}

static int make_id(uint64_t *id, struct mr_error *err)
{
	if (getrandom(id, sizeof(*id), 0) != (ssize_t)sizeof(*id))
		return mr_error_set(err, -EIO, "no random bytes for a segment's id");
	return 0;
}

int mr_segment_make(struct mr_io *io, const char *directory, uint64_t file_bytes,
		    struct mr_segment **out, struct mr_error *err)
{
	struct mr_segment *segment;
	char path[160];
	bool made = false;
	int r;

	mr_assert(file_bytes % MR_BLOCK_BYTES == 0 && file_bytes >= 2 * MR_BLOCK_BYTES);
	mr_assert(file_bytes <= SEGMENT_BYTES_MAX);
	segment = segment_new(io, directory, file_bytes);
	if (!segment)
		return mr_error_set(err, -ENOMEM, "no memory for a segment");
	snprintf(path, sizeof(path), "%s/spare", directory);
	segment->zeroed_bytes = file_bytes < MR_ZERO_STEP_BYTES ? file_bytes : MR_ZERO_STEP_BYTES;
	r = make_id(&segment->segment_id, err);
	if (r < 0)
		goto fail;
	r = mr_io_open(io, path, MR_IO_CREATE, &segment->file, err);
	if (r < 0)
		goto fail;
	made = true;
	r = mr_io_lock(segment->file, 0, err);
	if (r < 0)
		goto fail;
	r = mr_io_allocate(segment->file, 0, file_bytes, err);
	if (r < 0)
		goto fail;
	r = keep_extents_apart(segment, err);
	if (r < 0)
		goto fail;
	r = write_zeros(segment, 0, segment->zeroed_bytes, err);
	if (r < 0)
		goto fail;
	*out = segment;
	return 0;
fail:
	if (made)
		(void)mr_io_remove(io, path, NULL); /* recovery removes it if this cannot */
	mr_segment_close(segment);
	return r;
}

int mr_segment_make_spare(struct mr_io *io, const char *directory, uint64_t file_bytes,
			  struct mr_segment **out, struct mr_error *err)
{
	struct mr_segment *segment;
	char path[160];
	int r = mr_segment_make(io, directory, file_bytes, &segment, err);

	if (r < 0)
		return r;
	r = mr_io_sync(segment->file, err);
	if (r == 0) {
		*out = segment;
		return 0;
	}
	snprintf(path, sizeof(path), "%s/spare", directory);
	(void)mr_io_remove(io, path, NULL); /* recovery removes it if this cannot */
	mr_segment_close(segment);
	return r;
}

/* The file is 'file_bytes' long, all of it has space, and it is ours alone. */
static int take_spare(struct mr_segment *segment, struct mr_error *err)
{
	int64_t bytes = mr_io_size(segment->file, err);
	int r;

	if (bytes < 0)
		return (int)bytes;
	if ((uint64_t)bytes != segment->file_bytes)
		return mr_error_set(err, -EBADMSG,
				    "the spare has %" PRId64 " bytes, expected %" PRIu64, bytes,
				    segment->file_bytes);
	r = mr_io_lock(segment->file, 0, err);
	if (r == 0)
		r = mr_io_allocate(segment->file, 0, segment->file_bytes, err);
	return r < 0 ? r : make_id(&segment->segment_id, err);
}

int mr_segment_use_spare(struct mr_io *io, const char *directory, uint64_t file_bytes,
			 struct mr_segment **out, struct mr_error *err)
{
	struct mr_segment *segment = segment_new(io, directory, file_bytes);
	char path[160];
	int r;

	if (!segment)
		return mr_error_set(err, -ENOMEM, "no memory for a segment");
	snprintf(path, sizeof(path), "%s/spare", directory);
	segment->zeroed_bytes = file_bytes < MR_ZERO_STEP_BYTES ? file_bytes : MR_ZERO_STEP_BYTES;
	r = mr_io_open(io, path, MR_IO_WRITE, &segment->file, err);
	if (r == 0)
		r = take_spare(segment, err);
	if (r == 0) {
		*out = segment;
		return 0;
	}
	mr_segment_close(segment);
	if (r != -EBADMSG && r != -EWOULDBLOCK)
		return r;
	r = mr_io_remove(io, path, err);
	return r < 0 ? r : mr_error_set(err, -ENOENT, "the spare in '%s' was of no use", directory);
}

int mr_segment_name(struct mr_segment *segment, const struct mr_segment_header *header,
		    struct mr_error *err)
{
	uint8_t *block = aligned_alloc(MR_BLOCK_BYTES, MR_BLOCK_BYTES);
	char from[160];
	char to[160];
	int r;

	if (!block)
		return mr_error_set(err, -ENOMEM, "no memory for a segment's header");
	mr_assert(header->segment_id == segment->segment_id);
	(void)mr_segment_encode_header(header, block); /* cannot fail */
	r = mr_io_write(segment->file, block, MR_BLOCK_BYTES, 0, err);
	free(block);
	if (r < 0)
		return r;
	r = mr_io_sync(segment->file, err);
	if (r < 0)
		return r;
	snprintf(from, sizeof(from), "%s/spare", segment->directory);
	snprintf(to, sizeof(to), "%s/%020" PRIu64 ".log", segment->directory, header->base_offset);
	r = segment->renamed ? 0 : mr_io_rename(segment->io, from, to, err);
	if (r < 0)
		return r;
	segment->renamed = true;
	return mr_io_sync_directory(segment->io, segment->directory, err);
}

/* Reads and checks the first block of an open file. */
static int read_header(struct mr_io_file *file, const char *path, struct mr_segment_header *header,
		       struct mr_error *err)
{
	uint8_t *block = aligned_alloc(MR_BLOCK_BYTES, MR_BLOCK_BYTES);
	int64_t got;
	int r;

	if (!block)
		return mr_error_set(err, -ENOMEM, "no memory for a segment's header");
	got = mr_io_read(file, block, MR_BLOCK_BYTES, 0, err);
	if (got < 0)
		r = (int)got;
	else if (got < (int64_t)MR_BLOCK_BYTES)
		r = mr_error_set(err, -EBADMSG, "file of %" PRId64 " bytes is too short", got);
	else
		r = mr_segment_decode_header(block, header, err);
	free(block);
	if (r == -EBADMSG)
		mr_error_prefix(err, "segment '%s': ", path);
	return r;
}

int mr_segment_open(struct mr_io *io, const char *directory, const char *name, bool writable,
		    uint32_t lock_wait_ms, struct mr_segment **out,
		    struct mr_segment_header *header, struct mr_error *err)
{
	struct mr_io_file *file = NULL;
	struct mr_segment *segment;
	char expected[32];
	char path[160];
	int r;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	r = mr_io_open(io, path, writable ? MR_IO_WRITE : MR_IO_READ, &file, err);
	if (r < 0)
		return r;
	r = writable ? mr_io_lock(file, lock_wait_ms, err) : 0;
	if (r < 0)
		goto fail;
	r = read_header(file, path, header, err);
	if (r < 0)
		goto fail;
	mr_segment_file_name(header->base_offset, expected);
	if (strcmp(expected, name) != 0) {
		r = mr_error_set(err, -EBADMSG, "segment '%s' says that it is '%s'", path,
				 expected);
		goto fail;
	}
	segment = segment_new(io, directory, header->file_bytes);
	if (!segment) {
		r = mr_error_set(err, -ENOMEM, "no memory for a segment");
		goto fail;
	}
	segment->file = file;
	segment->segment_id = header->segment_id;
	segment->base_offset = header->base_offset;
	segment->base_position = header->base_position;
	*out = segment;
	return 0;
fail:
	mr_io_file_close(file);
	return r;
}

static int remove_if_there(struct mr_io *io, const char *path, struct mr_error *err)
{
	int r = mr_io_remove(io, path, err);

	return r == -ENOENT ? 0 : r;
}

int mr_segment_remove(struct mr_segment *segment, struct mr_error *err)
{
	char path[160];
	int r;

	index_path(segment, path);
	r = remove_if_there(segment->io, path, err);
	if (r < 0)
		return r;
	mr_segment_path(segment, path);
	r = remove_if_there(segment->io, path, err);
	if (r < 0)
		return r;
	/* Durable one by one: a later segment may not vanish before an earlier one. */
	return mr_io_sync_directory(segment->io, segment->directory, err);
}

int mr_segment_remove_name(struct mr_segment *segment, struct mr_io_file **left,
			   struct mr_error *err)
{
	char path[160];
	int r;

	mr_segment_path(segment, path);
	if (mr_io_open(segment->io, path, MR_IO_WRITE, left, NULL) < 0)
		*left = NULL; /* then it all goes at once */
	r = mr_segment_remove(segment, err);
	if (r < 0) {
		mr_io_file_close(*left);
		*left = NULL;
	}
	return r;
}

/* ---- the index ----------------------------------------------------------- */

void mr_segment_index_note(struct mr_segment *segment, uint64_t offset, uint64_t position,
			   int64_t max_timestamp_ms, int64_t append_ms)
{
	struct mr_segment_index *index = &segment->index;
	/* relaxed: only this thread writes them */
	uint32_t count = atomic_load_explicit(&index->count, memory_order_relaxed);
	int64_t newest = atomic_load_explicit(&index->max_timestamp_ms, memory_order_relaxed);

	if (count < index->capacity &&
	    (count == 0 ||
	     position - index->entries[count - 1].position >= MR_INDEX_INTERVAL_BYTES)) {
		index->entries[count] = (struct mr_index_entry){offset, position, newest};
		/* W9: the entry is whole before it counts. Pairs with R9 in the finders. */
		atomic_store_explicit(&index->count, count + 1, memory_order_release);
	}
	/* relaxed: hints, ordered with nothing */
	if (max_timestamp_ms > newest)
		atomic_store_explicit(&index->max_timestamp_ms, max_timestamp_ms,
				      memory_order_relaxed);
	atomic_store_explicit(&index->last_append_ms, append_ms, memory_order_relaxed);
}

static struct mr_index_entry first_group(const struct mr_segment *segment)
{
	return (struct mr_index_entry){segment->base_offset,
				       segment->base_position + MR_BLOCK_BYTES, INT64_MIN};
}

struct mr_index_entry mr_segment_index_find(const struct mr_segment *segment, uint64_t offset)
{
	/* R9: pairs with W9; entries below the count are whole. */
	uint32_t high = atomic_load_explicit(&segment->index.count, memory_order_acquire);
	uint32_t low = 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (segment->index.entries[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? segment->index.entries[low - 1] : first_group(segment);
}

struct mr_index_entry mr_segment_index_find_time(const struct mr_segment *segment,
						 int64_t timestamp_ms)
{
	/* R9: as above. */
	uint32_t high = atomic_load_explicit(&segment->index.count, memory_order_acquire);
	uint32_t low = 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (segment->index.entries[middle].max_timestamp_ms < timestamp_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? segment->index.entries[low - 1] : first_group(segment);
}

/* What stands before the entries in an index file. Little-endian. */
struct index_header {
	uint32_t magic;		  /*  0 MR_INDEX_MAGIC */
	uint32_t version;	  /*  4 MR_FORMAT_VERSION */
	uint64_t segment_id;	  /*  8 */
	uint64_t base_offset;	  /* 16 */
	uint64_t base_position;	  /* 24 */
	uint64_t end_offset;	  /* 32 0 while the segment is active */
	uint64_t end_position;	  /* 40 */
	int64_t max_timestamp_ms; /* 48 */
	int64_t last_append_ms;	  /* 56 */
	uint32_t count;		  /* 64 entries of 24 bytes that follow */
	uint32_t crc; /* 68 CRC-32C of the entries, then of the header before this field */
};
static_assert(sizeof(struct index_header) == 72, "index header size");
static_assert(sizeof(struct mr_index_entry) == 24, "index entry size");

/*
 * Files are little-endian and so are the hosts that the engine runs on: entries go out as they
 * stand.
 */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "index files are written as they stand");

static uint32_t index_crc(const struct index_header *header, const void *entries)
{
	uint32_t crc = mr_crc32c(0, entries, header->count * sizeof(struct mr_index_entry));

	return mr_crc32c(crc, header, offsetof(struct index_header, crc));
}

int mr_segment_index_save(struct mr_segment *segment, struct mr_error *err)
{
	struct mr_segment_index *index = &segment->index;
	struct index_header header = {
		.magic = MR_INDEX_MAGIC,
		.version = MR_FORMAT_VERSION,
		.segment_id = segment->segment_id,
		.base_offset = segment->base_offset,
		.base_position = segment->base_position,
		.end_offset = segment->end_offset,
		.end_position = segment->end_position,
	};
	size_t bytes;
	char path[160];
	uint8_t *out;
	int r;

	header.count = atomic_load_explicit(&index->count, memory_order_acquire); /* R9 */
	/* relaxed: hints; read after the count, so they cover every entry below it */
	header.max_timestamp_ms =
		atomic_load_explicit(&index->max_timestamp_ms, memory_order_relaxed);
	header.last_append_ms = atomic_load_explicit(&index->last_append_ms, memory_order_relaxed);
	header.crc = index_crc(&header, index->entries);
	bytes = header.count * sizeof(struct mr_index_entry);
	out = malloc(sizeof(header) + bytes);
	if (!out)
		return mr_error_set(err, -ENOMEM, "no memory for an index of %zu bytes", bytes);
	memcpy(out, &header, sizeof(header));
	memcpy(out + sizeof(header), index->entries, bytes);
	index_path(segment, path);
	r = mr_io_replace(segment->io, path, out, sizeof(header) + bytes, err);
	free(out);
	return r;
}

/* Entries rise, lie inside the segment, and begin no earlier than it does. */
static bool entries_are_sound(const struct mr_segment *segment,
			      const struct mr_index_entry *entries, uint32_t count)
{
	uint64_t last = segment->base_position + segment->file_bytes;

	for (uint32_t i = 0; i < count; i++) {
		if (entries[i].position % MR_BLOCK_BYTES || entries[i].position >= last ||
		    entries[i].position <= segment->base_position ||
		    entries[i].offset < segment->base_offset)
			return false;
		if (i == 0)
			continue;
		if (entries[i].position <= entries[i - 1].position ||
		    entries[i].offset <= entries[i - 1].offset ||
		    entries[i].max_timestamp_ms < entries[i - 1].max_timestamp_ms)
			return false;
	}
	return true;
}

static bool index_is_sound(const struct mr_segment *segment, const uint8_t *bytes, size_t count,
			   struct index_header *header)
{
	if (count < sizeof(*header))
		return false;
	memcpy(header, bytes, sizeof(*header));
	if (header->magic != MR_INDEX_MAGIC || header->version != MR_FORMAT_VERSION ||
	    header->segment_id != segment->segment_id ||
	    header->base_offset != segment->base_offset ||
	    header->base_position != segment->base_position ||
	    header->count > segment->index.capacity ||
	    count != sizeof(*header) + header->count * sizeof(struct mr_index_entry))
		return false;
	return index_crc(header, bytes + sizeof(*header)) == header->crc;
}

int mr_segment_index_load(struct mr_segment *segment, struct mr_error *err)
{
	struct mr_segment_index *index = &segment->index;
	struct index_header header;
	char path[160];
	void *bytes = NULL;
	size_t count = 0;
	bool sound;
	int r;

	index_path(segment, path);
	r = mr_io_load(segment->io, path, INDEX_FILE_BYTES_MAX, &bytes, &count, err);
	if (r == -ENOENT || r == -EFBIG)
		return mr_error_set(err, -EBADMSG, "index '%s' cannot be used", path);
	if (r < 0)
		return r;
	sound = index_is_sound(segment, bytes, count, &header);
	if (sound) {
		memcpy(index->entries, (uint8_t *)bytes + sizeof(header),
		       header.count * sizeof(struct mr_index_entry));
		sound = entries_are_sound(segment, index->entries, header.count);
	}
	free(bytes);
	if (!sound)
		return mr_error_set(err, -EBADMSG, "index '%s' does not check out", path);
	segment->end_offset = header.end_offset;
	segment->end_position = header.end_position;
	atomic_store_explicit(&index->max_timestamp_ms, header.max_timestamp_ms,
			      memory_order_relaxed); /* nobody else has it yet */
	atomic_store_explicit(&index->last_append_ms, header.last_append_ms, memory_order_relaxed);
	atomic_store_explicit(&index->count, header.count, memory_order_release); /* W9 */
	return 0;
}

void mr_segment_index_forget(struct mr_segment *segment, uint64_t position)
{
	uint32_t count = atomic_load_explicit(&segment->index.count, memory_order_relaxed);

	while (count > 0 && segment->index.entries[count - 1].position >= position)
		count--;
	atomic_store_explicit(&segment->index.count, count, memory_order_release); /* W9 */
}
