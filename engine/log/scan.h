/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading groups out of a segment file in large aligned pieces. Blocks: for recovery, on whatever
 * thread runs it, which owns the struct.
 *
 * A scan that overlaps has two buffers: while one piece is checked the next is read into the other
 * (read_ahead.h). What its read says counts when the piece is wanted, and only then: an error is
 * told by the call that needs the bytes, and of bytes that nobody needs it is never told.
 */
#ifndef MR_SCAN_H
#define MR_SCAN_H

#include "group.h"
#include "segment.h"

struct mr_read_ahead;

/* A piece of the file at 'room', and room before it for what is kept of the one before. */
struct mr_scan_buffer {
	uint8_t *memory;
	size_t room;
	size_t capacity; /* of the piece */
};

struct mr_scan {
	struct mr_io_file *file; /* borrowed */
	uint64_t ahead_to;	 /* file byte: no more than is asked for is read beyond it */
	struct mr_scan_buffer buffers[2];
	uint32_t current;     /* of them: holds 'bytes' */
	const uint8_t *bytes; /* 'have' of them, from file byte 'at' on */
	uint64_t at;
	size_t have;
	bool overlaps;
	struct mr_read_ahead *ahead; /* NULL: not needed yet */
	uint64_t asked_from;	     /* of the read under way into the other buffer */
	size_t asked_bytes;	     /* 0: there is none */
	uint64_t read_bytes;	     /* asked of the disk since mr_scan_init() */
};

/* Takes memory when it reads, and a thread when it 'overlaps' and reads more than a piece. */
void mr_scan_init(struct mr_scan *scan, bool overlaps);
void mr_scan_deinit(struct mr_scan *scan);
/* Goes on with another segment's file, or reads one anew that was written meanwhile. */
void mr_scan_segment(struct mr_scan *scan, const struct mr_segment *segment);
/* What lies behind file byte 'to' is hardly wanted. Holds until mr_scan_segment(). */
void mr_scan_ahead_to(struct mr_scan *scan, uint64_t to);
/* No read is under way any more: before anything else is done with the file or its io. */
void mr_scan_rest(struct mr_scan *scan);
/*
 * At least 'want' bytes of the file from the block at 'from' on, less only at its end. *bytes stays
 * valid until the next call.
 */
int mr_scan_bytes(struct mr_scan *scan, uint64_t from, size_t want, const uint8_t **bytes,
		  size_t *have, struct mr_error *err);
/*
 * Checks the group at file byte 'from' of 'segment', which ends at file byte 'end' at the latest.
 * 0; -ENODATA: zeros or the end of the file; -EBADMSG: no group that checks out; else an I/O error.
 */
int mr_scan_group(struct mr_scan *scan, const struct mr_segment *segment, uint64_t from,
		  uint64_t end, struct mr_group_header *header, const uint8_t **bytes,
		  struct mr_error *err);

#endif
