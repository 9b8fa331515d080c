/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Record batches and groups for tests of the log: small, whole, and telling by their content which
 * offset they have.
 */
#ifndef MR_TEST_BATCHES_H
#define MR_TEST_BATCHES_H

#include "batch.h"
#include "clock.h"
#include "group.h"

struct mr_test_batch {
	uint64_t base_offset;
	int32_t leader_epoch;
	int64_t producer_id; /* -1: none */
	int16_t producer_epoch;
	int32_t sequence;
	int32_t records;      /* at least 1 */
	uint32_t value_bytes; /* of each record, at least 8: the value begins with its offset */
	int64_t timestamp_ms; /* of each record */
};

/* Encodes it at 'at'; aborts if 'capacity' is too small. Returns its size. */
uint32_t mr_test_batch_encode(const struct mr_test_batch *batch, uint8_t *at, size_t capacity);
/* An upper bound of that size. */
uint32_t mr_test_batch_bytes_max(const struct mr_test_batch *batch);

/* A whole group of one batch at 'bytes'; returns its size and its checksum. */
uint32_t mr_test_group(const struct mr_test_batch *batch, const struct mr_group_place *place,
		       uint64_t segment_id, uint8_t *bytes, size_t capacity, uint32_t *crc);

/* A clock that stands until a test moves it. */
struct mr_test_clock {
	struct mr_clock clock;
	uint64_t monotonic_ns;
	int64_t wall_ms;
};
void mr_test_clock_init(struct mr_test_clock *clock, int64_t wall_ms);

/*
 * A compressed batch as it was before, by the codecs' own libraries: in 'room' bytes at 'at', and
 * so says *header then, but for the checksum. Aborts when it is none.
 */
void mr_test_expand(const uint8_t *batch, struct mr_batch_header *header, uint8_t *at, size_t room);

#endif
