/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups to bytes and back: pure functions over memory, on whatever thread (the worker writes;
 * recovery, scrub and readers check). Owns nothing. Bytes that come from a disk are checked, never
 * asserted; offsets and lengths are compared without overflow.
 */
#include "group.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "crc32c.h"

#define GROUP_HEADER_BYTES ((uint32_t)sizeof(struct mr_group_header))

/* A segment's id stands in front of everything that its groups' checksums cover. */
static uint32_t seed_of(uint64_t segment_id)
{
	uint64_t id = htole64(segment_id);

	return mr_crc32c(0, &id, sizeof(id));
}

void mr_group_begin(struct mr_group *group, uint8_t *bytes, uint64_t segment_id,
		    uint64_t base_offset)
{
	memset(bytes, 0, GROUP_HEADER_BYTES);
	group->bytes = bytes;
	group->batch_bytes = 0;
	group->record_count = 0;
	group->batch_count = 0;
	group->prefix_crc = seed_of(segment_id);
	group->base_offset = base_offset;
}

void mr_group_add(struct mr_group *group, uint32_t bytes, uint32_t records)
{
	mr_assert(bytes >= MR_BATCH_HEADER_BYTES);
	mr_assert(records >= 1);
	group->prefix_crc = mr_crc32c(group->prefix_crc, mr_group_at(group), MR_BATCH_PREFIX_BYTES);
	group->batch_bytes += bytes;
	group->record_count += records;
	group->batch_count++;
}

static void header_to_disk(struct mr_group_header *header)
{
	header->magic = htole32(header->magic);
	header->bytes = htole32(header->bytes);
	header->batch_bytes = htole32(header->batch_bytes);
	header->record_count = htole32(header->record_count);
	header->number = htole64(header->number);
	header->base_offset = htole64(header->base_offset);
	header->flushed_offset = htole64(header->flushed_offset);
	header->append_ms = (int64_t)htole64((uint64_t)header->append_ms);
	header->leader_epoch = (int32_t)htole32((uint32_t)header->leader_epoch);
	header->batch_count = htole32(header->batch_count);
	header->previous_crc = htole32(header->previous_crc);
	header->crc = htole32(header->crc);
}

uint32_t mr_group_close(struct mr_group *group, const struct mr_group_place *place, uint32_t *crc)
{
	uint32_t used = GROUP_HEADER_BYTES + group->batch_bytes;
	uint32_t bytes = (used + MR_BLOCK_BYTES - 1) & ~(MR_BLOCK_BYTES - 1);
	struct mr_group_header header = {
		.magic = MR_GROUP_MAGIC,
		.bytes = bytes,
		.batch_bytes = group->batch_bytes,
		.record_count = group->record_count,
		.number = place->number,
		.base_offset = group->base_offset,
		.flushed_offset = place->flushed_offset,
		.append_ms = place->append_ms,
		.leader_epoch = place->leader_epoch,
		.batch_count = group->batch_count,
		.previous_crc = place->previous_crc,
	};
	struct mr_group_header *out = (struct mr_group_header *)(void *)group->bytes;

	mr_assert(group->batch_count >= 1);
	mr_assert(place->leader_epoch >= 0);
	mr_assert(place->flushed_offset <= group->base_offset);
	memset(group->bytes + used, 0, bytes - used);
	header_to_disk(&header);
	*crc = mr_crc32c(group->prefix_crc, &header, sizeof(header));
	header.crc = htole32(*crc);
	memcpy(&out->batch_bytes, &header.batch_bytes,
	       sizeof(header) - offsetof(struct mr_group_header, batch_bytes));
	out->magic = header.magic;
	/*
	 * W14: the whole header is visible before 'bytes' says that the group is closed. Pairs
	 * with R14 in readers.
	 */
	__atomic_store_n(&out->bytes, header.bytes, __ATOMIC_RELEASE);
	return bytes;
}

/* ---- reading ------------------------------------------------------------- */

static void header_from_disk(const void *bytes, struct mr_group_header *header)
{
	memcpy(header, bytes, sizeof(*header));
	header_to_disk(header); /* its own inverse */
}

/* What is wrong with a header, whatever follows it; NULL if nothing. */
static const char *header_fault(const struct mr_group_header *header)
{
	uint64_t used = (uint64_t)GROUP_HEADER_BYTES + header->batch_bytes;

	if (header->magic != MR_GROUP_MAGIC)
		return "no group's magic";
	if (header->bytes == 0 || header->bytes % MR_BLOCK_BYTES != 0)
		return "a length that is no multiple of the block";
	if (used > header->bytes || header->bytes - used >= MR_BLOCK_BYTES)
		return "lengths that contradict each other";
	if (header->batch_count == 0 ||
	    header->batch_bytes / MR_BATCH_HEADER_BYTES < header->batch_count)
		return "more batches than fit";
	if (header->record_count < header->batch_count)
		return "fewer records than batches";
	if (header->base_offset > (uint64_t)INT64_MAX - header->record_count)
		return "an offset beyond all bounds";
	if (header->flushed_offset > header->base_offset)
		return "a flushed offset above its own";
	if (header->leader_epoch < 0)
		return "a negative leader epoch";
	return NULL;
}

int mr_group_decode_header(const void *bytes, struct mr_group_header *header, struct mr_error *err)
{
	static const uint8_t zeros[sizeof(struct mr_group_header)];
	const char *fault;

	header_from_disk(bytes, header);
	if (memcmp(header, zeros, sizeof(zeros)) == 0)
		return mr_error_set(err, -ENODATA, "no group here, only zeros");
	fault = header_fault(header);
	if (fault)
		return mr_error_set(err, -EBADMSG, "group's header has %s", fault);
	return 0;
}

/*
 * Runs the group's checksum over the batches' prefixes and the header. -EBADMSG where the batches
 * do not fill it.
 */
static int checksum(const uint8_t *bytes, const struct mr_group_header *header, uint64_t segment_id,
		    uint32_t *crc, struct mr_error *err)
{
	const uint8_t *at = bytes + GROUP_HEADER_BYTES;
	uint32_t left = header->batch_bytes;
	struct mr_group_header copy;
	struct mr_batch_header batch;
	uint32_t count = 0;

	*crc = seed_of(segment_id);
	while (left > 0) {
		if (mr_batch_decode_header(at, left, &batch) < 0)
			return mr_error_set(err, -EBADMSG, "group %" PRIu64 ": batch %u is none",
					    header->number, count);
		*crc = mr_crc32c(*crc, at, MR_BATCH_PREFIX_BYTES);
		at += batch.total_bytes;
		left -= batch.total_bytes;
		count++;
	}
	if (count != header->batch_count)
		return mr_error_set(err, -EBADMSG, "group %" PRIu64 " has %u batches, expected %u",
				    header->number, count, header->batch_count);
	memcpy(&copy, bytes, sizeof(copy));
	copy.crc = 0;
	*crc = mr_crc32c(*crc, &copy, sizeof(copy));
	return 0;
}

/* Offsets dense, counts right, each batch's own checksum. The lengths are known to be good. */
static int check_batches(const uint8_t *bytes, const struct mr_group_header *header,
			 struct mr_error *err)
{
	const uint8_t *at = bytes + GROUP_HEADER_BYTES;
	const uint8_t *end = at + header->batch_bytes;
	uint64_t offset = header->base_offset;
	uint64_t end_offset = header->base_offset + header->record_count;
	struct mr_batch_header batch;

	while (at < end) {
		int r = mr_batch_decode_header(at, (size_t)(end - at), &batch);

		if (r < 0)
			return mr_error_set(err, -EBADMSG, "batch at offset %" PRIu64 " is none",
					    offset);
		if (batch.base_offset != offset)
			return mr_error_set(err, -EBADMSG,
					    "batch has base offset %" PRIu64 ", expected %" PRIu64,
					    batch.base_offset, offset);
		if (batch.record_count < 1 || batch.last_offset_delta != batch.record_count - 1 ||
		    (uint64_t)batch.record_count > end_offset - offset)
			return mr_error_set(
				err, -EBADMSG,
				"batch at offset %" PRIu64 " has a wrong count of records", offset);
		if (mr_batch_check_crc(at, &batch) < 0)
			return mr_error_set(err, -EBADMSG,
					    "batch at offset %" PRIu64
					    " has a checksum that is not its own",
					    offset);
		offset += (uint64_t)batch.record_count;
		at += batch.total_bytes;
	}
	if (offset != end_offset)
		return mr_error_set(err, -EBADMSG,
				    "group %" PRIu64 " ends at offset %" PRIu64
				    ", expected %" PRIu64,
				    header->number, offset, end_offset);
	return 0;
}

static int check_padding(const uint8_t *bytes, const struct mr_group_header *header,
			 struct mr_error *err)
{
	for (uint32_t i = GROUP_HEADER_BYTES + header->batch_bytes; i < header->bytes; i++) {
		if (bytes[i] != 0)
			return mr_error_set(err, -EBADMSG,
					    "group %" PRIu64 " is padded with %02x, expected 00",
					    header->number, bytes[i]);
	}
	return 0;
}

int mr_group_check(const uint8_t *bytes, size_t available, uint64_t segment_id,
		   struct mr_group_header *header, struct mr_error *err)
{
	uint32_t crc;
	int r;

	if (available < GROUP_HEADER_BYTES)
		return mr_error_set(err, -EBADMSG, "%zu bytes are too few for a group", available);
	r = mr_group_decode_header(bytes, header, err);
	if (r < 0)
		return r;
	if (header->bytes > available)
		return mr_error_set(err, -EAGAIN, "group of %u bytes, only %zu are there",
				    header->bytes, available);
	r = checksum(bytes, header, segment_id, &crc, err);
	if (r < 0)
		return r;
	if (crc != header->crc)
		return mr_error_set(err, -EBADMSG, "group %" PRIu64 " has crc %08x, computed %08x",
				    header->number, header->crc, crc);
	r = check_batches(bytes, header, err);
	if (r < 0)
		return r;
	return check_padding(bytes, header, err);
}
