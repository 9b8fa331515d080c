/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group: what one durable write carries. 64 bytes of header, record batches back to back, zeros
 * to the block. Pure functions over memory.
 *
 * The checksum is a CRC-32C that begins with the segment's random id (its 8 bytes, little-endian,
 * are run through first), goes over the header with the crc field zero, then over the first 21
 * bytes of each batch: base offset, length, leader epoch, magic and the batch's own crc, which
 * covers the rest. It is built up while batches are appended (the prefixes in order, headers last),
 * so nothing is read twice.
 *	crc = crc32c(segment id | prefixes of all batches in order | header with crc = 0)
 */
#ifndef MR_GROUP_H
#define MR_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "error.h"
#include "millrace/format.h"

/* An open group in the tail; owned by the worker. */
struct mr_group {
	uint8_t *bytes;		/* its header's place */
	uint32_t batch_bytes;
	uint32_t record_count;
	uint32_t batch_count;
	uint32_t prefix_crc;	/* segment id and the prefixes so far */
	uint64_t base_offset;
};

/* What the header needs besides. */
struct mr_group_place {
	uint64_t number;
	uint64_t flushed_offset;
	int64_t append_ms;
	int32_t leader_epoch;
	uint32_t previous_crc;
};

/*
 * Begins at 'bytes' (block-aligned): the header's bytes become zero, so that readers see it open.
 */
void mr_group_begin(struct mr_group *group, uint8_t *bytes, uint64_t segment_id,
		    uint64_t base_offset);
/* Where the next batch goes. */
static inline uint8_t *mr_group_at(const struct mr_group *group)
{
	return group->bytes + sizeof(struct mr_group_header) + group->batch_bytes;
}
/* A finished batch of 'bytes' bytes and 'records' records stands at mr_group_at(). */
void mr_group_add(struct mr_group *group, uint32_t bytes, uint32_t records);
/*
 * Pads with zeros, fills in the header (its 'bytes' field last, release: readers look at it) and
 * returns the size.
 */
uint32_t mr_group_close(struct mr_group *group, const struct mr_group_place *place, uint32_t *crc);

/*
 * The header in host order. 0; -ENODATA: no group here (the block's first 64 bytes are zero);
 * -EBADMSG.
 */
int mr_group_decode_header(const void *bytes, struct mr_group_header *header, struct mr_error *err);
/*
 * Everything about a whole group in 'available' bytes: bounds, checksum, batches' checksums, dense
 * offsets from base_offset on, counts, padding zero. -EBADMSG with a sentence; -ENODATA as above;
 * -EAGAIN: header->bytes > available.
 */
int mr_group_check(const uint8_t *bytes, size_t available, uint64_t segment_id,
		   struct mr_group_header *header, struct mr_error *err);

#endif
