/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan that reads the next piece in another thread while this one is looked at, with jumps and
 * rests in between, for ThreadSanitizer: the pieces and the io have one user at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io_fake.h"
#include "log/scan.h"

#define BLOCK	   4096u
#define FILE_BYTES (20u << 20)
#define ROUNDS	   8

static void make_file(struct mr_io *io, struct mr_segment *segment)
{
	uint64_t *words = aligned_alloc(BLOCK, FILE_BYTES);
	struct mr_error err;

	mr_assert(words);
	for (size_t i = 0; i < FILE_BYTES / 8; i++)
		words[i] = i * 8;
	mr_assert(mr_io_open(io, "file", MR_IO_CREATE, &segment->file, &err) == 0);
	mr_assert(mr_io_write(segment->file, words, FILE_BYTES, 0, &err) == 0);
	segment->file_bytes = FILE_BYTES;
	free(words);
}

static void look(struct mr_scan *scan, uint64_t from, size_t want)
{
	const uint8_t *bytes;
	uint64_t word;
	size_t have;

	mr_assert(mr_scan_bytes(scan, from, want, &bytes, &have, NULL) == 0);
	for (size_t i = 0; i < have; i += BLOCK) {
		memcpy(&word, bytes + i, sizeof(word));
		mr_assert(word == from + i);
	}
}

int main(void)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_segment segment = {0};
	struct mr_scan scan;

	make_file(io, &segment);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		mr_scan_init(&scan, true);
		mr_scan_segment(&scan, &segment);
		for (uint64_t from = 0; from < FILE_BYTES; from += 200 * BLOCK)
			look(&scan, from, BLOCK);
		look(&scan, round * BLOCK, 3000 * BLOCK); /* longer than a piece */
		mr_scan_rest(&scan);
		mr_assert(mr_io_sync(segment.file, NULL) == 0); /* the io is ours again */
		mr_scan_segment(&scan, &segment);
		look(&scan, 0, BLOCK); /* and ends with a read under way */
		mr_scan_deinit(&scan);
	}
	mr_io_file_close(segment.file);
	mr_io_close(io);
	printf("%d scans, each byte at its place\n", ROUNDS);
	return 0;
}
