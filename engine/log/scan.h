/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading groups out of a segment file in large aligned pieces. Blocks: for recovery, on whatever
 * thread runs it, which owns the struct.
 */
#ifndef MR_SCAN_H
#define MR_SCAN_H

#include "group.h"
#include "segment.h"

struct mr_scan {
	struct mr_io_file *file; /* borrowed */
	uint64_t ahead_to;	 /* file byte: no more than is asked for is read beyond it */
	uint8_t *buffer;
	size_t capacity;
	uint64_t at; /* file byte that the buffer begins with */
	size_t have;
};

void mr_scan_init(struct mr_scan *scan); /* takes memory when it reads */
void mr_scan_deinit(struct mr_scan *scan);
/* Goes on with another segment's file, or reads one anew that was written meanwhile. */
void mr_scan_segment(struct mr_scan *scan, const struct mr_segment *segment);
/* What lies behind file byte 'to' is hardly wanted. Holds until mr_scan_segment(). */
void mr_scan_ahead_to(struct mr_scan *scan, uint64_t to);
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
