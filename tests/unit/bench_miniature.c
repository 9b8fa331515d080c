/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the path in miniature, or it would be no limit but an empty loop: what it
 * leaves in its tail are whole record batches with their checksum, of all records, in order, with
 * the values that went in; and a full ring takes no more.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch.h"
#include "miniature.h"

static struct mr_miniature_indexes indexes;
static struct mr_miniature_producer producer;
static struct mr_miniature_worker worker;
static struct mr_error err;

static void begin(void)
{
	int fd = mr_miniature_create(&err);

	cr_assert_geq(fd, 0, "%s", err.what);
	cr_assert_eq(mr_miniature_producer_open(fd, &indexes, &producer, &err), 0, "%s", err.what);
	cr_assert_eq(mr_miniature_worker_open(fd, &indexes, &worker, &err), 0, "%s", err.what);
	close(fd);
}

static void end(void)
{
	mr_miniature_producer_close(&producer);
	mr_miniature_worker_close(&worker);
}

/* Every record of the batch carries 'value_bytes' of 'letter', and its time. */
static void look_at(const struct mr_miniature_batch *batch, uint64_t base_offset,
		    uint32_t value_bytes, char letter, int64_t timestamp_ms)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	uint32_t seen = 0;

	cr_assert_eq(mr_batch_check(batch->bytes, batch->byte_count, false, &header, &err), 0, "%s",
		     err.what);
	cr_assert_eq(header.base_offset, base_offset);
	cr_assert_eq(header.record_count, (int32_t)batch->records);
	cr_assert_eq(header.base_timestamp_ms, timestamp_ms);
	cr_assert_eq(header.producer_id, -1);
	cr_assert_eq(mr_batch_read(&reader, batch->bytes, &header), 0);
	while (mr_batch_next(&reader, &message) > 0) {
		cr_assert_eq(message.key_bytes, -1);
		cr_assert_eq(message.value_bytes, (int32_t)value_bytes);
		for (uint32_t i = 0; i < value_bytes; i++)
			cr_assert_eq(((const char *)message.value)[i], letter);
		cr_assert_eq(message.timestamp_ms, timestamp_ms);
		cr_assert_eq(message.header_count, 0);
		cr_assert_eq(message.offset, base_offset + seen);
		seen++;
	}
	cr_assert_eq(seen, batch->records);
}

Test(bench_miniature, makes_whole_batches_of_what_went_in)
{
	const uint32_t sizes[] = {0, 1, 7, 32, 63, 64, 100, 256, 1000, 4096, 9000};
	struct mr_miniature_batch batch;
	uint64_t offset = 0;
	char value[9000];

	begin();
	cr_assert_not(mr_miniature_drain(&worker, &batch), "nothing is there yet");
	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint32_t count = 1 + 3 * i;

		memset(value, 'a' + (int)i, sizeof(value));
		cr_assert_eq(mr_miniature_publish(&producer, value, sizes[i], 1000 + i, count),
			     count);
		cr_assert(mr_miniature_drain(&worker, &batch));
		cr_assert_eq(batch.records, count);
		look_at(&batch, offset, sizes[i], (char)('a' + i), 1000 + i);
		offset += count;
	}
	cr_assert_eq(worker.records, offset);
	end();
}

Test(bench_miniature, goes_round_ring_and_tail)
{
	struct mr_miniature_batch batch;
	uint64_t offset = 0;
	char value[500];

	begin();
	memset(value, 'z', sizeof(value));
	while (worker.position < MR_MINIATURE_TAIL_BYTES + (4u << 20)) {
		uint32_t taken = mr_miniature_publish(&producer, value, sizeof(value), 7, 1500);

		cr_assert_eq(taken, 1500);
		cr_assert(mr_miniature_drain(&worker, &batch));
		look_at(&batch, offset, sizeof(value), 'z', 7);
		offset += taken;
	}
	end();
}

Test(bench_miniature, takes_no_more_than_there_is_room_for)
{
	struct mr_miniature_batch batch;
	char value[100] = "";
	uint32_t taken = 0, more;

	begin();
	memset(value, 'y', sizeof(value));
	while ((more = mr_miniature_publish(&producer, value, sizeof(value), 1, 32)) > 0)
		taken += more;
	/* a frame of 16 + 100 bytes takes 15 slots of 8; one slot always stays free */
	cr_assert_eq(taken, (MR_MINIATURE_SLOTS_BYTES / 8 - 1) / 15);
	cr_assert(mr_miniature_drain(&worker, &batch));
	cr_assert_eq(batch.records, taken);
	look_at(&batch, 0, sizeof(value), 'y', 1);
	cr_assert_eq(mr_miniature_publish(&producer, value, sizeof(value), 1, 32), 32);
	end();
}
