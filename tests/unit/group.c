/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a group: it comes back as it was written, and nothing else does: no flipped
 * bit, no stale group of another segment, no batch out of place, no lengths that lead outside.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "check.h"
#include "crc32c.h"

#define SEGMENT_ID 0x1122334455667788u
#define CAPACITY   (64u << 10)

static _Alignas(4096) uint8_t bytes[CAPACITY];
static struct mr_group_header header;
static struct mr_error err;

static const struct mr_group_place place = {.number = 7,
					    .flushed_offset = 90,
					    .append_ms = 1234,
					    .leader_epoch = 3,
					    .previous_crc = 0xdeadbeef};

static const struct mr_test_batch plain = {.base_offset = 100,
					   .leader_epoch = 3,
					   .producer_id = 5,
					   .sequence = 0,
					   .records = 3,
					   .value_bytes = 50};

/* Three batches, offsets 100 to 108. */
static uint32_t make(uint32_t *crc)
{
	struct mr_test_batch batch = plain;
	struct mr_group group;

	memset(bytes, 0xee, sizeof(bytes));
	mr_group_begin(&group, bytes, SEGMENT_ID, 100);
	for (int i = 0; i < 3; i++) {
		uint32_t size = mr_test_batch_encode(&batch, mr_group_at(&group), 8192);

		mr_group_add(&group, size, 3);
		batch.base_offset += 3;
		batch.sequence += 3;
	}
	return mr_group_close(&group, &place, crc);
}

static int check(size_t available)
{
	return mr_group_check(bytes, available, SEGMENT_ID, &header, &err);
}

/* Makes the group's checksum right again after a change that it would otherwise find. */
static void seal(void)
{
	struct mr_group_header *h = (struct mr_group_header *)(void *)bytes;
	uint64_t id = SEGMENT_ID;
	uint32_t crc = mr_crc32c(0, &id, sizeof(id));
	uint32_t at = sizeof(*h);

	while (at < sizeof(*h) + h->batch_bytes) {
		struct mr_batch_header batch;

		cr_assert_eq(mr_batch_decode_header(bytes + at, CAPACITY - at, &batch), 0);
		crc = mr_crc32c(crc, bytes + at, MR_BATCH_PREFIX_BYTES);
		at += batch.total_bytes;
	}
	h->crc = 0;
	h->crc = mr_crc32c(crc, h, sizeof(*h));
}

Test(group, comes_back_as_it_was_written)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	cr_assert_eq(size % MR_BLOCK_BYTES, 0);
	cr_assert_eq(check(size), 0, "%s", err.what);
	cr_assert_eq(header.bytes, size);
	cr_assert_eq(header.record_count, 9);
	cr_assert_eq(header.batch_count, 3);
	cr_assert_eq(header.number, 7);
	cr_assert_eq(header.base_offset, 100);
	cr_assert_eq(header.flushed_offset, 90);
	cr_assert_eq(header.append_ms, 1234);
	cr_assert_eq(header.leader_epoch, 3);
	cr_assert_eq(header.previous_crc, 0xdeadbeef);
	cr_assert_eq(header.crc, crc);
	cr_assert_eq(bytes[size], 0xee, "nothing is written behind it");
	cr_assert_eq(check(CAPACITY), 0, "what follows it does not matter");
}

Test(group, is_open_until_closed)
{
	struct mr_group group;

	memset(bytes, 0xee, sizeof(bytes));
	mr_group_begin(&group, bytes, SEGMENT_ID, 100);
	cr_assert_eq(mr_group_decode_header(bytes, &header, &err), -ENODATA);
	cr_assert_eq(header.bytes, 0);
	cr_assert_eq(check(CAPACITY), -ENODATA);
}

Test(group, that_fills_its_last_block_exactly_has_no_padding)
{
	struct mr_test_batch batch = plain;
	uint32_t crc;
	uint32_t size = 0;

	batch.records = 1;
	for (batch.value_bytes = 3800; batch.value_bytes < 4100; batch.value_bytes++) {
		size = mr_test_group(&batch, &place, SEGMENT_ID, bytes, CAPACITY, &crc);
		cr_assert_eq(check(size), 0, "%u: %s", batch.value_bytes, err.what);
		if (header.batch_bytes + sizeof(header) == size)
			return;
	}
	cr_assert_fail("no such group");
}

/*
 * I8: whatever bit of header, batches and padding flips, the group is refused; most of all in the
 * 85 bytes that only our own checksum covers.
 */
Test(group, refuses_every_flipped_bit)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	for (uint32_t bit = 0; bit < size * 8; bit++) {
		int r;

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = check(size);
		cr_assert(r == -EBADMSG || r == -EAGAIN, "bit %u: %d", bit, r);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_assert_eq(check(size), 0);
}

Test(group, of_another_segment_is_refused)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	cr_assert_eq(mr_group_check(bytes, size, SEGMENT_ID ^ 1, &header, &err), -EBADMSG);
	cr_assert_eq(mr_group_check(bytes, size, 0, &header, &err), -EBADMSG);
}

Test(group, never_reads_beyond_what_is_there)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	for (size_t available = 0; available < size; available += 31) {
		uint8_t *copy =
			malloc(available ? available : 1); /* a sanitizer sees a byte too far */
		int r;

		memcpy(copy, bytes, available);
		r = mr_group_check(copy, available, SEGMENT_ID, &header, &err);
		cr_assert_eq(r, available < sizeof(header) ? -EBADMSG : -EAGAIN);
		free(copy);
	}
}

Test(group, refuses_lengths_that_contradict_each_other)
{
	struct mr_group_header *h = (struct mr_group_header *)(void *)bytes;
	struct mr_group_header good;
	uint32_t crc;
	uint32_t size = make(&crc);

	good = *h;
#define REFUSED(field, value)                                                                      \
	do {                                                                                       \
		h->field = (value);                                                                \
		cr_assert_eq(check(size), -EBADMSG, #field " " #value);                            \
		*h = good;                                                                         \
	} while (0)
	REFUSED(magic, 0);
	REFUSED(bytes, 0);
	REFUSED(bytes, size + 1);
	REFUSED(bytes, size + MR_BLOCK_BYTES);
	REFUSED(bytes, UINT32_MAX);
	REFUSED(batch_bytes, 0);
	REFUSED(batch_bytes, UINT32_MAX);
	REFUSED(batch_bytes, good.batch_bytes - 1);
	REFUSED(batch_count, 0);
	REFUSED(batch_count, 2);
	REFUSED(batch_count, 4);
	REFUSED(batch_count, UINT32_MAX);
	REFUSED(record_count, 2);
	REFUSED(record_count, UINT32_MAX);
	REFUSED(base_offset, (uint64_t)INT64_MAX);
	REFUSED(base_offset, UINT64_MAX);
	REFUSED(flushed_offset, 101);
	REFUSED(leader_epoch, -1);
#undef REFUSED
	cr_assert_eq(check(size), 0);
}

/*
 * The checksum may be right and the content wrong all the same: whoever knows the segment's id can
 * make one (D5).
 */
Test(group, refuses_batches_out_of_place_under_a_right_checksum)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	mr_batch_place(bytes + sizeof(header), 101, 3);
	seal();
	cr_assert_eq(check(size), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "101"), "%s", err.what);
	cr_assert_not_null(strstr(err.what, "100"), "%s", err.what);
	size = make(&crc);
	((struct mr_group_header *)(void *)bytes)->record_count = 10;
	seal();
	cr_assert_eq(check(size), -EBADMSG);
	size = make(&crc);
	((struct mr_group_header *)(void *)bytes)->record_count = 8;
	seal();
	cr_assert_eq(check(size), -EBADMSG);
	size = make(&crc);
	bytes[size - 1] = 1;
	cr_assert_eq(check(size), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "padded"), "%s", err.what);
	size = make(&crc);
	bytes[sizeof(header) + 90] ^= 1; /* inside the first batch's records */
	seal();
	cr_assert_eq(check(size), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "checksum"), "%s", err.what);
}

Test(group, the_checksum_is_built_up_as_it_is_checked)
{
	uint32_t crc;
	uint32_t size = make(&crc);

	seal();
	cr_assert_eq(((struct mr_group_header *)(void *)bytes)->crc, crc);
	cr_assert_eq(check(size), 0);
}

Test(group, zeros_are_no_group_and_no_damage)
{
	memset(bytes, 0, sizeof(bytes));
	cr_assert_eq(check(CAPACITY), -ENODATA);
	bytes[63] = 1;
	cr_assert_eq(check(CAPACITY), -EBADMSG);
}
