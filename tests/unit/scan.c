/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a scan, whether or not it reads the next piece while this one is checked: every
 * byte comes from its place in the file, none is read twice, and an error is told by the call that
 * needs the bytes, no other. Each word of the file is its own place.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "io_fake.h"
#include "io_fault.h"
#include "log/scan.h"

#define PIECE	   (4u << 20) /* as scan.c reads */
#define FILE_BYTES (5u * PIECE)
#define BLOCK	   4096u

static struct mr_io *disk, *io;
static struct mr_segment segment;
static struct mr_scan scan;
static struct mr_error err;

/* A file of 'bytes' and a scan at its beginning; what it reads is counted from now on. */
static void begin(size_t bytes, bool overlaps)
{
	size_t blocks = (bytes + BLOCK - 1) / BLOCK * BLOCK;
	uint64_t *words = aligned_alloc(BLOCK, blocks);

	for (size_t i = 0; i < blocks / 8; i++)
		words[i] = i * 8;
	disk = mr_io_fake_new(1);
	io = mr_io_fault_new(disk);
	cr_assert_eq(mr_io_open(io, "file", MR_IO_CREATE, &segment.file, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_write(segment.file, words, blocks, 0, &err), 0, "%s", err.what);
	cr_assert_eq(mr_io_truncate(segment.file, bytes, &err), 0, "%s", err.what);
	free(words);
	segment.file_bytes = blocks;
	mr_scan_init(&scan, overlaps);
	mr_scan_segment(&scan, &segment);
}

static void end(void)
{
	mr_scan_deinit(&scan);
	mr_io_file_close(segment.file);
	mr_io_close(io);
	mr_io_close(disk);
}

static void fail_read(uint64_t nth)
{
	struct mr_io_fault_plan plan = {.kind = MR_IO_FAULT_READ, .nth = nth, .error = -EIO};

	mr_io_fault_set(io, &plan);
}

static uint64_t reads(void)
{
	return mr_io_fault_seen(io, MR_IO_FAULT_READ);
}

/* The bytes at 'from' are what the file has there; returns how many there are. */
static size_t look(uint64_t from, size_t want)
{
	const uint8_t *bytes;
	uint64_t word;
	size_t have;

	cr_assert_eq(mr_scan_bytes(&scan, from, want, &bytes, &have, &err), 0, "%s", err.what);
	for (size_t i = 0; i + 8 <= have; i += 512) {
		memcpy(&word, bytes + i, 8);
		cr_assert_eq(word, from + i, "byte %zu", (size_t)from + i);
	}
	return have;
}

static uint32_t below(uint64_t *seed, uint32_t bound)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33) % bound;
}

Test(scan, every_byte_comes_from_its_place)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		/* groups of all sizes, up to several pieces; now and then a look elsewhere */
		uint32_t blocks_max = seed % 4 == 0 ? 2500 : seed % 4 == 1 ? 600 : 40;
		uint64_t state = seed;
		uint64_t from = 0;

		begin(FILE_BYTES, seed % 2);
		while (from < FILE_BYTES) {
			size_t want = (1 + below(&state, blocks_max)) * (size_t)BLOCK;
			size_t left = FILE_BYTES - (size_t)from;

			cr_assert_geq(look(from, BLOCK), BLOCK);
			cr_assert_geq(look(from, want), want < left ? want : left);
			if (below(&state, 100) == 0)
				look(below(&state, FILE_BYTES / BLOCK) * (uint64_t)BLOCK, BLOCK);
			from += want;
		}
		end();
	}
}

Test(scan, nothing_is_read_twice)
{
	static const size_t groups[] = {BLOCK, 9 * BLOCK, 700 * BLOCK, PIECE};

	for (size_t i = 0; i < 2 * sizeof(groups) / sizeof(groups[0]); i++) {
		size_t group = groups[i / 2];

		begin(FILE_BYTES, i % 2);
		for (uint64_t from = 0; from < FILE_BYTES; from += group) {
			look(from, BLOCK);
			look(from, FILE_BYTES - from < group ? FILE_BYTES - from : group);
		}
		cr_assert_eq(reads(), FILE_BYTES / PIECE, "groups of %zu bytes: %llu", group,
			     (unsigned long long)reads());
		end();
	}
}

/* Bounded, so that a scan that does not read ahead fails here instead of hanging. */
static bool read_by_itself(uint64_t count)
{
	for (int i = 0; i < 5000 && reads() < count; i++)
		(void)poll(NULL, 0, 1);
	return reads() == count;
}

Test(scan, the_next_piece_is_read_while_this_one_is_checked)
{
	begin(FILE_BYTES, true);
	look(0, BLOCK);
	cr_assert(read_by_itself(2));
	look(PIECE - BLOCK, BLOCK);
	cr_assert_eq(reads(), 2);
	look(PIECE, BLOCK);
	cr_assert(read_by_itself(3));
	end();
	begin(FILE_BYTES, false);
	look(0, BLOCK);
	mr_scan_rest(&scan);
	cr_assert_eq(reads(), 1);
	end();
}

/* Where little is wanted, little is read. */
Test(scan, nothing_is_read_ahead_beyond_what_is_wanted)
{
	begin(FILE_BYTES, true);
	mr_scan_ahead_to(&scan, PIECE + 2 * BLOCK);
	look(0, BLOCK);
	cr_assert(read_by_itself(2));
	look(PIECE, 2 * BLOCK);
	mr_scan_rest(&scan);
	cr_assert_eq(reads(), 2);
	end();
	begin(FILE_BYTES, true);
	mr_scan_ahead_to(&scan, BLOCK);
	cr_assert_eq(look(0, BLOCK), BLOCK);
	cr_assert_null(scan.ahead, "one block takes no thread");
	end();
}

Test(scan, an_error_is_told_by_the_call_that_needs_the_bytes)
{
	for (int overlaps = 0; overlaps < 2; overlaps++) {
		const uint8_t *bytes;
		size_t have;

		begin(FILE_BYTES, overlaps);
		fail_read(3);
		for (uint64_t from = 0; from < 2 * PIECE; from += 64 * BLOCK)
			look(from, 64 * BLOCK);
		err = (struct mr_error){0};
		cr_assert_eq(
			mr_scan_bytes(&scan, 2 * PIECE - BLOCK, 2 * BLOCK, &bytes, &have, &err),
			-EIO);
		cr_assert_neq(strstr(err.what, "read 'file'"), NULL, "%s", err.what);
		cr_assert_eq(mr_io_fault_hits(io), 1);
		/* what was there before is there still, and the next try reads anew */
		look(2 * PIECE - BLOCK, BLOCK);
		for (uint64_t from = 2 * PIECE - BLOCK; from < FILE_BYTES; from += BLOCK)
			look(from, BLOCK);
		end();
	}
}

Test(scan, an_error_of_bytes_that_nobody_needs_is_never_told)
{
	begin(FILE_BYTES, true);
	fail_read(2);
	for (uint64_t from = 0; from < PIECE; from += BLOCK)
		look(from, BLOCK);
	cr_assert(read_by_itself(2));
	mr_scan_rest(&scan);
	cr_assert_eq(mr_io_fault_hits(io), 1);
	/* elsewhere, and at last there: read anew */
	look(3 * PIECE, BLOCK);
	look(PIECE, BLOCK);
	end();
}

Test(scan, after_a_rest_the_file_may_be_closed)
{
	struct mr_segment other;

	begin(FILE_BYTES, true);
	look(0, BLOCK);
	mr_scan_rest(&scan);
	mr_io_file_close(segment.file);
	cr_assert_eq(mr_io_open(io, "file", MR_IO_WRITE, &segment.file, &err), 0);
	mr_scan_segment(&scan, &segment);
	look(PIECE, BLOCK);
	/* on with another file while a read of this one is under way */
	other = segment;
	cr_assert_eq(mr_io_open(io, "file", MR_IO_READ, &other.file, &err), 0);
	mr_scan_segment(&scan, &other);
	mr_io_file_close(segment.file);
	segment.file = other.file;
	look(0, 2 * PIECE);
	end();
}

Test(scan, a_file_ends_where_it_ends)
{
	for (int overlaps = 0; overlaps < 2; overlaps++) {
		begin(PIECE + 5 * BLOCK + 1000, overlaps);
		segment.file_bytes = FILE_BYTES; /* it was cut */
		mr_scan_segment(&scan, &segment);
		cr_assert_geq(look(0, BLOCK), BLOCK);
		cr_assert_eq(look(PIECE, 9 * BLOCK), 5 * BLOCK + 1000);
		cr_assert_eq(look(PIECE + 5 * BLOCK, BLOCK), 1000);
		cr_assert_eq(look(PIECE + 6 * BLOCK, BLOCK), 0);
		cr_assert_geq(look(0, BLOCK), BLOCK);
		end();
	}
}
