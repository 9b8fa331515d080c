/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of segment files: a spare is whole before it has a name, a name is durable when we
 * say so, a damaged header is refused, and an index that lies is not believed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io_fake.h"
#include "segment.h"

#define DIRECTORY "topics"
#define MIB	  (1u << 20)

static struct mr_io *io;
static struct mr_error err;

static void begin(void)
{
	io = mr_io_fake_new(1);
	cr_assert_eq(mr_io_make_directory(io, DIRECTORY, &err), 0);
	cr_assert_eq(mr_io_sync_directory(io, ".", &err), 0);
}

static void end(void)
{
	mr_io_close(io);
}

static struct mr_segment_header header_of(const struct mr_segment *segment, uint64_t base_offset)
{
	struct mr_segment_header header = {.segment_id = segment->segment_id,
					   .partition = 3,
					   .previous_crc = 0xabc,
					   .base_offset = base_offset,
					   .base_position = 81920,
					   .group_number = 17,
					   .created_ms = 99,
					   .file_bytes = segment->file_bytes};

	memset(header.topic_id, 5, sizeof(header.topic_id));
	memset(header.log_id, 6, sizeof(header.log_id));
	return header;
}

static struct mr_segment *make_named(uint64_t base_offset)
{
	struct mr_segment_header header;
	struct mr_segment *segment;

	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &segment, &err), 0, "%s", err.what);
	header = header_of(segment, base_offset);
	cr_assert_eq(mr_segment_name(segment, &header, &err), 0, "%s", err.what);
	segment->base_offset = header.base_offset;
	segment->base_position = header.base_position;
	return segment;
}

static int reopen(const char *name, struct mr_segment **segment, struct mr_segment_header *header)
{
	return mr_segment_open(io, DIRECTORY, name, true, 0, segment, header, &err);
}

Test(segment, a_header_comes_back_and_no_flipped_bit_does)
{
	_Alignas(8) uint8_t block[MR_BLOCK_BYTES];
	struct mr_segment dummy = {.segment_id = 77, .file_bytes = MIB};
	struct mr_segment_header header = header_of(&dummy, 42);
	struct mr_segment_header back;

	cr_assert_eq(mr_segment_encode_header(&header, block), 0);
	cr_assert_eq(mr_segment_decode_header(block, &back, &err), 0, "%s", err.what);
	cr_assert_eq(back.segment_id, 77);
	cr_assert_eq(back.base_offset, 42);
	cr_assert_eq(back.base_position, 81920);
	cr_assert_eq(back.group_number, 17);
	cr_assert_eq(back.previous_crc, 0xabc);
	cr_assert_eq(back.partition, 3);
	cr_assert_eq(back.created_ms, 99);
	cr_assert_eq(back.file_bytes, MIB);
	cr_assert_eq(memcmp(back.topic_id, header.topic_id, 16), 0);
	cr_assert_eq(memcmp(back.log_id, header.log_id, 16), 0);
	for (uint32_t bit = 0; bit < MR_BLOCK_BYTES * 8; bit++) {
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(mr_segment_decode_header(block, &back, &err), -EBADMSG, "bit %u", bit);
		block[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memset(block, 0, sizeof(block));
	cr_assert_eq(mr_segment_decode_header(block, &back, &err), -EBADMSG);
}

Test(segment, a_header_with_impossible_places_is_refused)
{
	_Alignas(8) uint8_t block[MR_BLOCK_BYTES];
	struct mr_segment dummy = {.segment_id = 77, .file_bytes = MIB};
	struct mr_segment_header header = header_of(&dummy, 42);
	struct mr_segment_header bad[6];

	for (int i = 0; i < 6; i++)
		bad[i] = header;
	bad[0].base_position = 100;
	bad[1].file_bytes = MR_BLOCK_BYTES;
	bad[2].file_bytes = MIB + 1;
	bad[3].file_bytes = UINT64_MAX & ~4095ull;
	bad[4].base_position = UINT64_MAX & ~4095ull;
	bad[5].base_offset = UINT64_MAX;
	for (int i = 0; i < 6; i++) {
		mr_segment_encode_header(&bad[i], block);
		cr_assert_eq(mr_segment_decode_header(block, &header, &err), -EBADMSG, "%d", i);
	}
}

Test(segment, has_a_name_of_twenty_digits)
{
	char name[32];

	mr_segment_file_name(42, name);
	cr_assert_str_eq(name, "00000000000000000042.log");
	mr_segment_file_name(UINT64_MAX, name);
	cr_assert_str_eq(name, "18446744073709551615.log");
}

Test(segment, a_spare_is_allocated_zeroed_and_locked)
{
	struct mr_io_file *file;
	struct mr_segment *spare;
	struct mr_segment *second;
	char *bytes;
	size_t count;

	begin();
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	cr_assert_eq(spare->file_bytes, MIB);
	cr_assert_eq(spare->zeroed_bytes, MIB);
	cr_assert_eq(mr_io_size(spare->file, &err), MIB);
	cr_assert_eq(mr_io_open(io, DIRECTORY "/spare", MR_IO_WRITE, &file, &err), 0);
	cr_assert_eq(mr_io_lock(file, 0, &err), -EWOULDBLOCK);
	mr_io_file_close(file);
	bytes = mr_io_fake_bytes(io, DIRECTORY "/spare", &count);
	cr_assert_eq(count, MIB);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(bytes[i], 0);
	free(bytes);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &second, &err), -EEXIST,
		     "the first may be in use");
	mr_segment_close(spare);
	end();
}

static struct {
	struct mr_io_operations operations; /* the fake disk's, but for these */
	uint64_t offsets[16];
	size_t bytes[16], count;
} noted;

static int note_allocate(struct mr_io_file *file, uint64_t offset, uint64_t bytes,
			 struct mr_error *e)
{
	return 0; /* a fake disk of so much would be so much memory */
}

static int note_write(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		      struct mr_error *e)
{
	const char *zeros = buffer;

	for (size_t i = 0; i < bytes; i++)
		cr_assert_eq(zeros[i], 0);
	cr_assert_lt(noted.count, 16);
	noted.offsets[noted.count] = offset;
	noted.bytes[noted.count++] = bytes;
	return 0;
}

static struct mr_segment *note_spare(uint64_t file_bytes)
{
	struct mr_segment *spare;

	memset(&noted, 0, sizeof(noted));
	noted.operations = *io->operations;
	noted.operations.allocate = note_allocate;
	noted.operations.write = note_write;
	io->operations = &noted.operations;
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, file_bytes, &spare, &err), 0, "%s",
		     err.what);
	return spare;
}

Test(segment, a_large_spare_ends_in_single_written_blocks)
{
	const uint64_t file_bytes = 256u * (uint64_t)MIB;
	struct mr_segment *spare;

	begin();
	spare = note_spare(file_bytes);
	cr_assert_eq(noted.count, 5);
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(noted.bytes[i], 4096);
		cr_assert_eq(noted.offsets[i], file_bytes - 4096 - i * 8192, "each apart");
	}
	cr_assert_eq(noted.offsets[4], 0, "then the zeros at the front");
	cr_assert_eq(spare->zeroed_bytes, MIB, "what is behind them does not count");
	mr_segment_close(spare);
	end();
}

Test(segment, a_small_spare_is_one_piece)
{
	struct mr_segment *spare;

	begin();
	spare = note_spare(127u * (uint64_t)MIB);
	cr_assert_eq(noted.count, 1, "its extents fit beside the inode as they are");
	mr_segment_close(spare);
	end();
}

Test(segment, a_spare_without_space_leaves_nothing_behind)
{
	struct mr_segment *spare;
	char *bytes;
	size_t count;

	begin();
	mr_io_fake_set_free(io, MIB / 2);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), -ENOSPC);
	bytes = mr_io_fake_bytes(io, DIRECTORY "/spare", &count);
	cr_assert_null(bytes);
	mr_io_fake_set_free(io, 4 * MIB);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	mr_segment_close(spare);
	end();
}

/* What an engine that ended well leaves: never written to, so it only needs an id nobody knows. */
Test(segment, a_spare_that_is_left_is_used)
{
	struct mr_segment *spare;
	uint64_t id;

	begin();
	cr_assert_eq(mr_segment_use_spare(io, DIRECTORY, MIB, &spare, &err), -ENOENT);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	id = spare->segment_id;
	mr_segment_close(spare);
	cr_assert_eq(mr_segment_use_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	cr_assert_neq(spare->segment_id, id);
	cr_assert_eq(spare->file_bytes, MIB);
	cr_assert_eq(spare->zeroed_bytes, MIB);
	cr_assert_eq(mr_io_size(spare->file, &err), MIB);
	mr_segment_close(spare);
	end();
}

Test(segment, a_spare_of_another_size_or_in_other_hands_is_not_used)
{
	struct mr_segment *spare, *second;

	begin();
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	cr_assert_eq(mr_segment_use_spare(io, DIRECTORY, MIB, &second, &err), -ENOENT, "locked");
	mr_segment_close(spare);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	mr_segment_close(spare);
	cr_assert_eq(mr_segment_use_spare(io, DIRECTORY, 2 * MIB, &spare, &err), -ENOENT);
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, 2 * MIB, &spare, &err), 0, "%s",
		     err.what);
	mr_segment_close(spare);
	end();
}

Test(segment, a_spare_without_all_of_its_space_is_not_used)
{
	struct mr_segment *spare;

	begin();
	cr_assert_eq(mr_segment_make_spare(io, DIRECTORY, MIB, &spare, &err), 0, "%s", err.what);
	mr_segment_close(spare);
	mr_io_fake_cut(io, DIRECTORY "/spare", MIB / 2);
	cr_assert_eq(mr_segment_use_spare(io, DIRECTORY, MIB, &spare, &err), -ENOENT);
	cr_assert_null(mr_io_fake_bytes(io, DIRECTORY "/spare", &(size_t){0}));
	end();
}

Test(segment, two_spares_have_different_ids)
{
	struct mr_segment *a;
	struct mr_segment *b;

	begin();
	a = make_named(0);
	b = make_named(10);
	cr_assert_neq(a->segment_id, b->segment_id);
	mr_segment_close(a);
	mr_segment_close(b);
	end();
}

/* D7: when naming returned, no power cut takes name or header back. */
Test(segment, a_name_is_durable_when_it_was_given)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct mr_segment_header header;
		struct mr_segment *segment;

		begin();
		segment = make_named(42);
		mr_io_fake_crash(io, seed);
		mr_segment_close(segment);
		cr_assert_eq(reopen("00000000000000000042.log", &segment, &header), 0, "%s",
			     err.what);
		cr_assert_eq(header.group_number, 17);
		cr_assert_eq(segment->base_offset, 42);
		cr_assert_eq(segment->base_position, 81920);
		cr_assert_eq(segment->segment_id, header.segment_id);
		cr_assert_eq(segment->file_bytes, MIB);
		mr_segment_close(segment);
		end();
	}
}

Test(segment, opening_refuses_damage_and_names_it)
{
	struct mr_segment_header header;
	struct mr_segment *segment;

	begin();
	mr_segment_close(make_named(42));
	cr_assert_eq(mr_io_rename(io, DIRECTORY "/00000000000000000042.log",
				  DIRECTORY "/00000000000000000043.log", &err),
		     0);
	cr_assert_eq(reopen("00000000000000000043.log", &segment, &header), -EBADMSG,
		     "another name than its own");
	cr_assert_not_null(strstr(err.what, "00000000000000000043.log"), "%s", err.what);
	cr_assert_eq(mr_io_rename(io, DIRECTORY "/00000000000000000043.log",
				  DIRECTORY "/00000000000000000042.log", &err),
		     0);
	mr_io_fake_flip_bit(io, DIRECTORY "/00000000000000000042.log", 500);
	cr_assert_eq(reopen("00000000000000000042.log", &segment, &header), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "00000000000000000042.log"), "%s", err.what);
	mr_io_fake_cut(io, DIRECTORY "/00000000000000000042.log", 100);
	cr_assert_eq(reopen("00000000000000000042.log", &segment, &header), -EBADMSG);
	cr_assert_eq(reopen("00000000000000000044.log", &segment, &header), -ENOENT);
	end();
}

/* D14: what a killed engine has in flight keeps its lock alive. */
Test(segment, opening_for_writing_waits_for_the_lock)
{
	struct mr_segment_header header;
	struct mr_segment *first;
	struct mr_segment *second;

	begin();
	first = make_named(42);
	cr_assert_eq(reopen("00000000000000000042.log", &second, &header), -EWOULDBLOCK);
	cr_assert_eq(mr_segment_open(io, DIRECTORY, "00000000000000000042.log", false, 0, &second,
				     &header, &err),
		     0, "looking needs no lock");
	mr_segment_close(second);
	mr_segment_close(first);
	cr_assert_eq(reopen("00000000000000000042.log", &second, &header), 0);
	mr_segment_close(second);
	end();
}

Test(segment, zeroing_covers_its_range_only)
{
	static _Alignas(4096) uint8_t ones[64 << 10];
	struct mr_segment *segment;
	uint8_t *bytes;
	size_t count;

	begin();
	memset(ones, 0xff, sizeof(ones));
	segment = make_named(0);
	for (uint64_t at = 0; at < MIB; at += sizeof(ones))
		cr_assert_eq(mr_io_write(segment->file, ones, sizeof(ones), at, &err), 0);
	cr_assert_eq(mr_io_sync(segment->file, &err), 0);
	cr_assert_eq(mr_segment_zero(segment, 8192, 8192, &err), 0);
	cr_assert_eq(mr_segment_zero(segment, 8192, 40960, &err), 0);
	bytes = mr_io_fake_durable_bytes(io, DIRECTORY "/00000000000000000000.log", &count);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(bytes[i], i >= 8192 && i < 40960 ? 0 : 0xff, "%zu", i);
	free(bytes);
	mr_segment_close(segment);
	end();
}

Test(segment, removal_takes_file_and_index)
{
	struct mr_segment *segment;
	char paths[8][MR_IO_PATH_BYTES];

	begin();
	segment = make_named(0);
	cr_assert_eq(mr_segment_index_save(segment, &err), 0, "%s", err.what);
	cr_assert_eq(mr_segment_remove(segment, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_fake_paths(io, paths, 8), 0);
	cr_assert_eq(mr_segment_remove(segment, &err), 0, "a chore that is done twice");
	mr_segment_close(segment);
	end();
}

Test(segment, a_name_goes_and_the_bytes_go_piece_by_piece)
{
	struct mr_segment *segment;
	struct mr_io_file *left;
	char paths[8][MR_IO_PATH_BYTES];

	begin();
	segment = make_named(0);
	cr_assert_eq(mr_segment_index_save(segment, &err), 0, "%s", err.what);
	cr_assert_eq(mr_segment_remove_name(segment, &left, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_fake_paths(io, paths, 8), 0, "durably gone, index and all");
	cr_assert_eq(mr_io_size(left, &err), MIB, "nothing of it is given back yet");
	cr_assert_eq(mr_io_shrink(left, 4096, &err), -EBUSY, "the segment has it open");
	mr_segment_close(segment);
	cr_assert_eq(mr_io_shrink(left, 4096, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_size(left, &err), 4096);
	mr_io_file_close(left);
	end();
}

Test(segment, a_name_goes_also_where_the_file_cannot_be_opened)
{
	struct mr_segment *segment;
	struct mr_io_file *left;

	begin();
	segment = make_named(0);
	cr_assert_eq(mr_segment_remove(segment, &err), 0, "%s", err.what);
	cr_assert_eq(mr_segment_remove_name(segment, &left, &err), 0, "a chore done twice");
	cr_assert_null(left);
	mr_segment_close(segment);
	end();
}

Test(segment, close_takes_null)
{
	mr_segment_close(NULL);
}

/* ---- the index ----------------------------------------------------------- */

/* 100 groups of 16 KiB and ten records each, timestamps 1000, 1010, ... */
static void note_groups(struct mr_segment *segment)
{
	for (uint64_t i = 0; i < 60; i++)
		mr_segment_index_note(segment, segment->base_offset + i * 10,
				      segment->base_position + MR_BLOCK_BYTES + i * 16384,
				      1000 + (int64_t)i * 10, 5000 + (int64_t)i);
}

Test(segment, the_index_finds_a_group_at_or_before)
{
	struct mr_index_entry entry;
	struct mr_segment *segment;

	begin();
	segment = make_named(100);
	entry = mr_segment_index_find(segment, 150);
	cr_assert_eq(entry.offset, 100, "empty: the segment's first group");
	cr_assert_eq(entry.position, 81920 + MR_BLOCK_BYTES);
	cr_assert_eq(mr_segment_index_find_time(segment, 0).offset, 100);
	note_groups(segment);
	cr_assert_eq(atomic_load(&segment->index.count), 4, "one every 256 KiB");
	cr_assert_eq(mr_segment_index_find(segment, 100).offset, 100);
	cr_assert_eq(mr_segment_index_find(segment, 259).offset, 100);
	entry = mr_segment_index_find(segment, 260);
	cr_assert_eq(entry.offset, 260);
	cr_assert_eq(entry.position, 81920 + MR_BLOCK_BYTES + 16 * 16384);
	cr_assert_eq(entry.max_timestamp_ms, 1150, "newest of the groups before it");
	cr_assert_eq(mr_segment_index_find(segment, UINT64_MAX).offset, 580);
	cr_assert_eq(atomic_load(&segment->index.max_timestamp_ms), 1590);
	cr_assert_eq(atomic_load(&segment->index.last_append_ms), 5059);
	mr_segment_close(segment);
	end();
}

Test(segment, the_index_finds_no_place_after_a_record_of_that_time)
{
	struct mr_segment *segment;

	begin();
	segment = make_named(100);
	note_groups(segment);
	cr_assert_eq(mr_segment_index_find_time(segment, INT64_MIN).offset, 100);
	cr_assert_eq(mr_segment_index_find_time(segment, 1150).offset, 100);
	cr_assert_eq(mr_segment_index_find_time(segment, 1151).offset, 260);
	cr_assert_eq(mr_segment_index_find_time(segment, INT64_MAX).offset, 580);
	mr_segment_close(segment);
	end();
}

Test(segment, a_full_index_takes_no_more_and_stays_right)
{
	struct mr_segment *segment;

	begin();
	segment = make_named(0);
	for (uint64_t i = 0; i < 50; i++)
		mr_segment_index_note(segment, i, segment->base_position + (i + 1) * MIB, 0, 0);
	cr_assert_eq(atomic_load(&segment->index.count), segment->index.capacity);
	cr_assert_eq(mr_segment_index_find(segment, 40).offset, segment->index.capacity - 1);
	mr_segment_close(segment);
	end();
}

Test(segment, the_index_is_saved_and_loaded)
{
	struct mr_segment_header header;
	struct mr_segment *segment;
	struct mr_segment *back;

	begin();
	segment = make_named(100);
	note_groups(segment);
	segment->end_offset = 700;
	segment->end_position = 81920 + MR_BLOCK_BYTES + 60 * 16384;
	cr_assert_eq(mr_segment_index_save(segment, &err), 0, "%s", err.what);
	cr_assert_eq(mr_segment_open(io, DIRECTORY, "00000000000000000100.log", false, 0, &back,
				     &header, &err),
		     0);
	cr_assert_eq(mr_segment_index_load(back, &err), 0, "%s", err.what);
	cr_assert_eq(atomic_load(&back->index.count), 4);
	cr_assert_eq(memcmp(back->index.entries, segment->index.entries,
			    4 * sizeof(struct mr_index_entry)),
		     0);
	cr_assert_eq(back->end_offset, 700);
	cr_assert_eq(back->end_position, segment->end_position);
	cr_assert_eq(atomic_load(&back->index.max_timestamp_ms), 1590);
	cr_assert_eq(atomic_load(&back->index.last_append_ms), 5059);
	mr_segment_index_forget(back, back->index.entries[2].position);
	cr_assert_eq(atomic_load(&back->index.count), 2);
	mr_segment_index_forget(back, 0);
	cr_assert_eq(atomic_load(&back->index.count), 0);
	mr_segment_close(back);
	mr_segment_close(segment);
	end();
}

Test(segment, an_index_that_does_not_check_out_is_not_believed)
{
	static const char path[] = DIRECTORY "/00000000000000000100.index";
	struct mr_segment *segment;
	size_t bytes;

	begin();
	segment = make_named(100);
	cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG, "there is none");
	note_groups(segment);
	cr_assert_eq(mr_segment_index_save(segment, &err), 0);
	free(mr_io_fake_bytes(io, path, &bytes));
	for (uint64_t bit = 0; bit < bytes * 8; bit++) {
		mr_io_fake_flip_bit(io, path, bit);
		cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG, "bit %zu",
			     (size_t)bit);
		mr_io_fake_flip_bit(io, path, bit);
	}
	cr_assert_eq(mr_segment_index_load(segment, &err), 0);
	segment->segment_id ^= 1; /* of a segment that had this base offset before */
	cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG);
	segment->segment_id ^= 1;
	mr_io_fake_cut(io, path, bytes - 24);
	cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG);
	mr_io_fake_cut(io, path, 10);
	cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG);
	mr_segment_close(segment);
	end();
}

/*
 * A checksum is no proof of sense: entries outside the segment or out of order are refused as
 * well.
 */
Test(segment, an_index_with_places_outside_the_segment_is_refused)
{
	struct mr_segment *segment;
	struct mr_index_entry *entries;

	begin();
	segment = make_named(100);
	note_groups(segment);
	entries = segment->index.entries;
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct mr_index_entry old = entries[2];                                            \
		change;                                                                            \
		cr_assert_eq(mr_segment_index_save(segment, &err), 0);                             \
		cr_assert_eq(mr_segment_index_load(segment, &err), -EBADMSG, #change);             \
		entries[2] = old;                                                                  \
	} while (0)
	REFUSED(entries[2].position += 1);
	REFUSED(entries[2].position += 2 * MIB);
	REFUSED(entries[2].position = segment->base_position);
	REFUSED(entries[2].position = entries[1].position);
	REFUSED(entries[2].offset = 99);
	REFUSED(entries[2].offset = entries[1].offset);
	REFUSED(entries[2].max_timestamp_ms = INT64_MIN);
#undef REFUSED
	cr_assert_eq(mr_segment_index_save(segment, &err), 0);
	cr_assert_eq(mr_segment_index_load(segment, &err), 0);
	mr_segment_close(segment);
	end();
}
