/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: what was published is read once, in order, whole, however the indexes wrap; a
 * full lane says so; what the engine did not acknowledge is there again for the next engine; and
 * nonsense from the client is refused by name and never leads a read out of the lane.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <rte_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lane.h"
#include "region.h"

#define RECORD_MAX 100000u

static const struct mr_lane_identity identity = {
	.partition = 3,
	.producer_id = 77,
	.format = MR_FORMAT_VERSION,
};
static const uint8_t mac[32] = {1, 2, 3};

/* Both ends of a lane in one process, as the engine's own threads use it. */
struct pair {
	struct mr_lane_writer writer;
	struct mr_lane_reader reader;
	int client_fd;
	int engine_fd;
	uint32_t lane_bytes;
};

static void open_pair(struct pair *pair, uint32_t lane_bytes, uint32_t index, uint64_t number)
{
	struct mr_lane_engine_page *engine;
	struct mr_error err = {0};

	pair->lane_bytes = lane_bytes;
	cr_assert_eq(mr_lane_create_client(lane_bytes, &pair->client_fd, &err), 0, "%s", err.what);
	cr_assert_eq(mr_lane_create_engine(&identity, mac, RECORD_MAX, index, number,
					   &pair->engine_fd, &engine, &err),
		     0, "%s", err.what);
	cr_assert_eq(mr_lane_writer_open(pair->client_fd, pair->engine_fd, lane_bytes, number,
					 &pair->writer, &err),
		     0, "%s", err.what);
	cr_assert_eq(mr_region_seal(pair->client_fd, &err), 0, "%s", err.what);
	cr_assert_eq(mr_lane_reader_open(pair->client_fd, engine, lane_bytes, &pair->reader, &err),
		     0, "%s", err.what);
}

static void close_pair(struct pair *pair)
{
	mr_lane_writer_close(&pair->writer);
	mr_lane_reader_close(&pair->reader);
	close(pair->client_fd);
	close(pair->engine_fd);
}

/* The writer's slots: what a hostile client writes to. */
static uint8_t *slots_of(const struct mr_lane_writer *writer)
{
	return (uint8_t *)(writer->ring + 1);
}

static int reserve_value(struct mr_lane_writer *writer, const void *value, uint32_t value_bytes)
{
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES,
		.value_bytes = (int32_t)value_bytes,
		.timestamp_ms = 5,
	};
	void *payload;
	int r = mr_lane_reserve(writer, &record, 0, &payload);

	if (r == 0 && value_bytes > 0)
		memcpy(payload, value, value_bytes);
	return r;
}

/* Reads all that is there and acknowledges it; returns the frames. */
static uint32_t drain(struct mr_lane_reader *reader)
{
	struct mr_error err = {0};
	int64_t available = mr_lane_reader_poll(reader, &err);
	struct mr_lane_frame frame = {.slots = 1};
	uint32_t ahead = 0, frames = 0;

	cr_assert_geq(available, 0, "%s", err.what);
	while (ahead < available) {
		cr_assert_eq(mr_lane_reader_frame(reader, ahead, (uint32_t)available,
						  reader->next_number + frames, &frame, &err),
			     0, "%s", err.what);
		ahead += frame.slots;
		frames++;
	}
	mr_lane_reader_take(reader, ahead, frames);
	mr_lane_acknowledge(reader, mr_lane_reader_index(reader), reader->next_number, 0, 0);
	return frames;
}

Test(lane, a_record_arrives_as_it_was_written)
{
	struct mr_record record = {
		.key = "key-1",
		.key_bytes = 5,
		.value_bytes = 11,
		.header_count = 1,
		.timestamp_ms = 1234,
	};
	struct mr_lane_frame frame;
	struct mr_error err = {0};
	struct pair pair;
	void *payload;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 0);
	cr_assert_eq(mr_lane_reserve(&pair.writer, &record, 4, &payload), 0);
	memcpy(payload, "hello world\x02n\x02v", 15);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 0, "visible before publish");
	cr_assert_eq(mr_lane_publish(&pair.writer), 1);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 7);
	cr_assert_eq(mr_lane_reader_frame(&pair.reader, 0, 7, 0, &frame, &err), 0, "%s", err.what);
	cr_assert_eq(frame.head.timestamp_ms, 1234);
	cr_assert_eq(frame.head.number, 0);
	cr_assert_eq(frame.head.header_count, 1);
	cr_assert_eq(frame.head.flags, 0);
	cr_assert_eq(frame.head.key_bytes, 5);
	cr_assert_arr_eq(frame.key, "key-1", 5);
	cr_assert_eq(frame.head.value_bytes, 11);
	cr_assert_arr_eq(frame.value, "hello world", 11);
	cr_assert_eq(frame.header_bytes, 4);
	cr_assert_arr_eq(frame.headers, "\x02n\x02v", 4);
	cr_assert_eq(frame.slots, 7);
	close_pair(&pair);
}

Test(lane, null_and_empty_are_told_apart)
{
	struct mr_record record = {.key_bytes = MR_NULL_BYTES, .value_bytes = MR_NULL_BYTES};
	struct mr_lane_frame frame;
	struct mr_error err = {0};
	struct pair pair;
	void *payload;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(mr_lane_reserve(&pair.writer, &record, 0, &payload), 0);
	record.key_bytes = 0;
	record.value_bytes = 0;
	cr_assert_eq(mr_lane_reserve(&pair.writer, &record, 0, &payload), 0);
	mr_lane_publish(&pair.writer);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 8);
	cr_assert_eq(mr_lane_reader_frame(&pair.reader, 0, 8, 0, &frame, &err), 0, "%s", err.what);
	cr_assert_eq(frame.head.flags, MR_FRAME_NULL_KEY | MR_FRAME_NULL_VALUE);
	cr_assert_eq(mr_lane_reader_frame(&pair.reader, 4, 8, 1, &frame, &err), 0, "%s", err.what);
	cr_assert_eq(frame.head.flags, 0);
	close_pair(&pair);
}

Test(lane, full_says_again_and_room_comes_with_the_acknowledgement_only)
{
	uint8_t value[96] = {0};
	struct mr_error err;
	struct pair pair;
	uint32_t count = 0;

	open_pair(&pair, 4096, 0, 0);
	while (reserve_value(&pair.writer, value, sizeof(value)) == 0)
		count++;
	cr_assert_eq(count, 511 / 16); /* of 512 slots one stays free */
	cr_assert_eq(mr_lane_free_bytes(&pair.writer), (511 - 31 * 16) * 8);
	cr_assert_eq(reserve_value(&pair.writer, value, 15 * 8 - 32), 0, "the rest is usable");
	cr_assert_eq(reserve_value(&pair.writer, value, 0), -EAGAIN);
	cr_assert_eq(mr_lane_publish(&pair.writer), count + 1);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 511);
	mr_lane_reader_take(&pair.reader, 16, 1);
	cr_assert_eq(reserve_value(&pair.writer, value, 0), -EAGAIN, "taken is not acknowledged");
	mr_lane_acknowledge(&pair.reader, mr_lane_reader_index(&pair.reader), 1, 0, 0);
	cr_assert_eq(reserve_value(&pair.writer, value, sizeof(value)), 0);
	cr_assert_eq(reserve_value(&pair.writer, value, 0), -EAGAIN);
	close_pair(&pair);
}

Test(lane, what_can_never_fit_is_told)
{
	static uint8_t value[RECORD_MAX + 1];
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(reserve_value(&pair.writer, value, 2048 - 32), 0);
	cr_assert_eq(reserve_value(&pair.writer, value, 2048 - 31), -EMSGSIZE);
	close_pair(&pair);
	open_pair(&pair, 1 << 20, 0, 0);
	cr_assert_eq(reserve_value(&pair.writer, value, RECORD_MAX), 0);
	cr_assert_eq(reserve_value(&pair.writer, value, RECORD_MAX + 1), -EMSGSIZE);
	close_pair(&pair);
}

Test(lane, abandoned_frames_never_existed)
{
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(reserve_value(&pair.writer, "a", 1), 0);
	cr_assert_eq(mr_lane_publish(&pair.writer), 1);
	cr_assert_eq(reserve_value(&pair.writer, "b", 1), 0);
	cr_assert_eq(reserve_value(&pair.writer, "c", 1), 0);
	cr_assert_eq(mr_lane_abandon(&pair.writer), 2);
	cr_assert_eq(mr_lane_publish(&pair.writer), 0);
	cr_assert_eq(reserve_value(&pair.writer, "d", 1), 0);
	cr_assert_eq(mr_lane_publish(&pair.writer), 1);
	cr_assert_eq(drain(&pair.reader), 2, "numbers are dense again");
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), 2);
	cr_assert_eq(mr_lane_abandon(&pair.writer), 0);
	close_pair(&pair);
}

Test(lane, a_poisoned_lane_tells_the_first_reason)
{
	struct pair pair;
	char text[248];

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(mr_lane_reason(&pair.writer, text), MR_LANE_OPEN);
	cr_assert_str_empty(text);
	mr_lane_poison(&pair.reader, MR_LANE_GAP, "record 5 came after record 3");
	mr_lane_poison(&pair.reader, MR_LANE_CLOSED, "closed");
	cr_assert_eq(mr_lane_reason(&pair.writer, text), MR_LANE_GAP);
	cr_assert_str_eq(text, "record 5 came after record 3");
	cr_assert_eq(reserve_value(&pair.writer, "x", 1), -EPIPE);
	close_pair(&pair);
}

Test(lane, flags_of_sleepers_are_seen_by_the_other_side)
{
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_not(mr_lane_worker_sleeps(&pair.writer));
	mr_lane_set_asleep(&pair.reader, true);
	cr_assert(mr_lane_worker_sleeps(&pair.writer));
	mr_lane_set_asleep(&pair.reader, false);
	cr_assert_not(mr_lane_worker_sleeps(&pair.writer));
	cr_assert_not(mr_lane_producer_waits(&pair.reader));
	mr_lane_set_waiting(&pair.writer, true);
	cr_assert(mr_lane_producer_waits(&pair.reader));
	mr_lane_set_waiting(&pair.writer, false);
	cr_assert_not(mr_lane_producer_waits(&pair.reader));
	close_pair(&pair);
}

/* ---- against a reference, round and round ---------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* What record 'number' looks like: sizes and bytes follow from the number alone. */
struct expectation {
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t header_bytes;
	bool null_key;
	uint64_t seed;
};

static struct expectation expect(uint64_t number)
{
	uint64_t state = number * 0x9e3779b97f4a7c15u + 1;
	uint64_t dice = next_random(&state);
	struct expectation e = {
		.null_key = dice % 4 == 0,
		.key_bytes = dice % 4 == 0 ? 0 : (uint32_t)(dice >> 8) % 40,
		.value_bytes = (uint32_t)(dice >> 24) % (dice % 16 == 1 ? 1500 : 200),
		.header_bytes = dice % 8 == 3 ? 2 + (uint32_t)(dice >> 50) % 60 : 0,
		.seed = state,
	};

	return e;
}

static uint8_t pattern(const struct expectation *e, uint32_t at)
{
	return (uint8_t)(e->seed >> (at % 8 * 8)) ^ (uint8_t)at;
}

static int write_expected(struct mr_lane_writer *writer)
{
	struct expectation e = expect(writer->number);
	struct mr_record record = {
		.key_bytes = e.null_key ? MR_NULL_BYTES : (int32_t)e.key_bytes,
		.value_bytes = (int32_t)e.value_bytes,
		.header_count = e.header_bytes > 0,
		.timestamp_ms = (int64_t)e.seed,
	};
	uint8_t key[64];
	void *payload;
	int r;

	for (uint32_t i = 0; i < e.key_bytes; i++)
		key[i] = pattern(&e, i);
	record.key = key;
	r = mr_lane_reserve(writer, &record, e.header_bytes, &payload);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < e.value_bytes + e.header_bytes; i++)
		((uint8_t *)payload)[i] = pattern(&e, e.key_bytes + i);
	return 0;
}

static void check_expected(const struct mr_lane_frame *frame, uint64_t number)
{
	struct expectation e = expect(number);
	uint32_t all = e.key_bytes + e.value_bytes + e.header_bytes;
	bool same = true;

	cr_assert_eq(frame->head.number, number);
	cr_assert_eq(frame->head.key_bytes, e.key_bytes);
	cr_assert_eq(frame->head.value_bytes, e.value_bytes);
	cr_assert_eq(frame->header_bytes, e.header_bytes);
	cr_assert_eq(frame->head.flags, e.null_key ? MR_FRAME_NULL_KEY : 0);
	cr_assert_eq(frame->head.timestamp_ms, (int64_t)e.seed);
	for (uint32_t i = 0; i < all; i++)
		same = same && frame->key[i] == pattern(&e, i);
	cr_assert(same, "record %lu arrived with other bytes", (unsigned long)number);
}

/* Publishes up to 'count' records, now and then abandoning some. */
static void write_some(struct mr_lane_writer *writer, uint64_t dice)
{
	uint32_t count = (uint32_t)dice % 12;

	for (uint32_t i = 0; i < count; i++)
		if (write_expected(writer) == -EAGAIN)
			break;
	if (dice % 32 == 7)
		mr_lane_abandon(writer);
	else
		mr_lane_publish(writer);
}

/* Takes up to 'count' frames; acknowledges a random part of what was taken. */
static void read_some(struct mr_lane_reader *reader, uint64_t dice)
{
	struct mr_lane_frame frame;
	struct mr_error err = {0};
	int64_t available = mr_lane_reader_poll(reader, &err);
	uint32_t ahead = 0, frames = 0;

	cr_assert_geq(available, 0, "%s", err.what);
	while (ahead < available && frames < dice % 16) {
		uint64_t number = reader->next_number + frames;

		cr_assert_eq(mr_lane_reader_frame(reader, ahead, (uint32_t)available, number,
						  &frame, &err),
			     0, "%s", err.what);
		check_expected(&frame, number);
		ahead += frame.slots;
		frames++;
	}
	mr_lane_reader_take(reader, ahead, frames);
	if (dice % 3 > 0)
		mr_lane_acknowledge(reader, mr_lane_reader_index(reader), reader->next_number, 0,
				    0);
}

static void round_and_round(uint32_t lane_bytes, uint32_t index, uint64_t number, uint32_t turns)
{
	uint64_t state = 88172645463325252u + index;
	struct pair pair;

	open_pair(&pair, lane_bytes, index, number);
	for (uint32_t i = 0; i < turns; i++) {
		write_some(&pair.writer, next_random(&state));
		read_some(&pair.reader, next_random(&state) >> 20);
	}
	mr_lane_abandon(&pair.writer);
	drain(&pair.reader);
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), pair.writer.published);
	cr_assert_eq(mr_lane_free_bytes(&pair.writer), lane_bytes - 8, "empty again");
	cr_assert_gt(pair.writer.published - number, turns);
	close_pair(&pair);
}

Test(lane, wraps_thousands_of_times_and_loses_nothing)
{
	round_and_round(4096, 0, 0, 60000);
	round_and_round(65536, 0, 0, 20000);
}

Test(lane, its_index_wraps_at_32_bits)
{
	round_and_round(4096, UINT32_MAX - 5000, 0, 3000);
	round_and_round(4096, 0u - 512, 0, 3000);
	round_and_round(4096, 0x80000000u - 700, 0, 3000);
}

Test(lane, its_numbers_pass_31_and_32_bits)
{
	round_and_round(4096, 0, (1ull << 31) - 1000, 3000);
	round_and_round(4096, 77, (1ull << 32) - 1000, 3000);
}

/* ---- receipts -------------------------------------------------------------------------------- */

/* Publishes and acknowledges 'count' records, with a receipt if 'base_offset' is known. */
static void acknowledge_records(struct pair *pair, uint32_t count, uint64_t base_offset)
{
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(reserve_value(&pair->writer, "x", 1), 0);
	mr_lane_publish(&pair->writer);
	struct mr_error err = {0};
	int64_t available = mr_lane_reader_poll(&pair->reader, &err);

	cr_assert_eq(available, count * 5);
	mr_lane_reader_take(&pair->reader, (uint32_t)available, count);
	mr_lane_acknowledge(&pair->reader, mr_lane_reader_index(&pair->reader),
			    pair->reader.next_number, base_offset,
			    base_offset == MR_OFFSET_UNKNOWN ? 0 : count);
}

static void is_receipt(const struct mr_receipt *receipt, uint64_t first, uint64_t count,
		       uint64_t base_offset)
{
	cr_assert_eq(receipt->first, first);
	cr_assert_eq(receipt->count, count);
	cr_assert_eq(receipt->base_offset, base_offset);
	cr_assert_eq(receipt->partition, 3);
}

Test(lane, receipts_come_in_order_and_once)
{
	struct mr_receipt receipts[8];
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 8), 0);
	acknowledge_records(&pair, 3, 1000);
	acknowledge_records(&pair, 1, 2000);
	acknowledge_records(&pair, 2, 2001);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 2), 2);
	is_receipt(&receipts[0], 0, 3, 1000);
	is_receipt(&receipts[1], 3, 1, 2000);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 8), 1);
	is_receipt(&receipts[0], 4, 2, 2001);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 8), 0);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 0), 0);
	close_pair(&pair);
}

Test(lane, records_without_a_receipt_come_as_unknown)
{
	struct mr_receipt receipts[8];
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	acknowledge_records(&pair, 2, 10);
	acknowledge_records(&pair, 4, MR_OFFSET_UNKNOWN);
	acknowledge_records(&pair, 1, 20);
	acknowledge_records(&pair, 5, MR_OFFSET_UNKNOWN);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 8), 4);
	is_receipt(&receipts[0], 0, 2, 10);
	is_receipt(&receipts[1], 2, 4, MR_OFFSET_UNKNOWN);
	is_receipt(&receipts[2], 6, 1, 20);
	is_receipt(&receipts[3], 7, 5, MR_OFFSET_UNKNOWN);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 8), 0);
	close_pair(&pair);
}

static void overrun(uint64_t number, uint32_t batches)
{
	static struct mr_receipt receipts[2 * MR_RECEIPTS];
	uint64_t records = 0, covered = 0;
	struct pair pair;
	uint32_t count;

	open_pair(&pair, 4096, 0, number);
	for (uint32_t i = 0; i < batches; i++) {
		acknowledge_records(&pair, 1 + i % 3, 5000 + records);
		records += 1 + i % 3;
	}
	count = mr_lane_receipts(&pair.writer, receipts, mr_array_count(receipts));
	if (batches < MR_RECEIPTS)
		cr_assert_eq(count, batches);
	else
		cr_assert_eq(count, MR_RECEIPTS, "one unknown, then those that no writer touches");
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(receipts[i].first, number + covered);
		if (i == 0 && batches >= MR_RECEIPTS)
			cr_assert_eq(receipts[i].base_offset, MR_OFFSET_UNKNOWN);
		else
			cr_assert_eq(receipts[i].base_offset, 5000 + covered);
		covered += receipts[i].count;
	}
	cr_assert_eq(covered, records, "each record is covered once");
	close_pair(&pair);
}

Test(lane, overwritten_receipts_become_one_that_counts_right)
{
	overrun(0, MR_RECEIPTS - 1);
	overrun(0, MR_RECEIPTS);
	overrun(0, MR_RECEIPTS + 1);
	overrun(0, 1000);
	overrun((1ull << 32) - 300, 700);
	overrun((1ull << 31) - 300, 700);
}

Test(lane, an_unknown_receipt_and_the_next_may_come_in_two_calls)
{
	struct mr_receipt receipt;
	struct pair pair;
	uint64_t records = 0;

	open_pair(&pair, 4096, 0, 0);
	for (int i = 0; i < 300; i++)
		acknowledge_records(&pair, 1, 100 + records++);
	cr_assert_eq(mr_lane_receipts(&pair.writer, &receipt, 1), 1);
	is_receipt(&receipt, 0, 300 - (MR_RECEIPTS - 1), MR_OFFSET_UNKNOWN);
	for (uint64_t i = receipt.count; i < 300; i++) {
		cr_assert_eq(mr_lane_receipts(&pair.writer, &receipt, 1), 1);
		is_receipt(&receipt, i, 1, 100 + i);
	}
	cr_assert_eq(mr_lane_receipts(&pair.writer, &receipt, 1), 0);
	close_pair(&pair);
}

/* ---- hand-back ------------------------------------------------------------------------------- */

/* The engine dies; the next one takes both memfds over, and the writer follows. */
static void hand_back(struct pair *pair)
{
	struct mr_lane_engine_page copy, *engine;
	struct mr_error err = {0};
	const void *old;
	int engine_fd;

	mr_lane_reader_close(&pair->reader);
	cr_assert_eq(mr_lane_copy_engine(pair->engine_fd, &copy, &err), 0, "%s", err.what);
	cr_assert_eq(memcmp(&copy.identity, &identity, sizeof(identity)), 0);
	cr_assert_arr_eq(copy.mac, mac, sizeof(mac));
	cr_assert_eq(mr_lane_create_engine(&copy.identity, copy.mac, copy.record_bytes_max,
					   copy.acknowledged, copy.number, &engine_fd, &engine,
					   &err),
		     0, "%s", err.what);
	cr_assert_eq(
		mr_lane_reader_open(pair->client_fd, engine, pair->lane_bytes, &pair->reader, &err),
		0, "%s", err.what);
	cr_assert_eq(mr_lane_writer_switch(&pair->writer, engine_fd, &old, &err), 0, "%s",
		     err.what);
	munmap((void *)old, MR_LANE_ENGINE_BYTES);
	close(pair->engine_fd);
	pair->engine_fd = engine_fd;
}

Test(lane, handed_back_it_holds_what_was_not_acknowledged)
{
	struct mr_receipt receipts[4];
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	acknowledge_records(&pair, 2, 10);
	for (int i = 0; i < 5; i++)
		reserve_value(&pair.writer, "y", 1);
	mr_lane_publish(&pair.writer);
	struct mr_error err = {0};

	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 25);
	mr_lane_reader_take(&pair.reader, 15, 3); /* taken, then the engine dies */
	reserve_value(&pair.writer, "z", 1);	  /* reserved only, and still good afterwards */
	hand_back(&pair);
	cr_assert_eq(pair.reader.next_number, 2);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 25);
	mr_lane_publish(&pair.writer);
	cr_assert_eq(drain(&pair.reader), 6);
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), 8);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 4), 1);
	is_receipt(&receipts[0], 0, 8, MR_OFFSET_UNKNOWN);
	close_pair(&pair);
}

Test(lane, handed_back_again_and_again_it_loses_nothing)
{
	uint64_t state = 4711;
	struct pair pair;

	open_pair(&pair, 4096, UINT32_MAX - 9999, 0);
	for (int i = 0; i < 500; i++) {
		for (int turn = 0; turn < 20; turn++) {
			write_some(&pair.writer, next_random(&state));
			read_some(&pair.reader, next_random(&state) >> 20);
		}
		hand_back(&pair);
	}
	mr_lane_abandon(&pair.writer);
	drain(&pair.reader);
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), pair.writer.published);
	close_pair(&pair);
}

/*
 * An engine may die between a receipt and the number: the next one's receipt covers the records
 * again.
 */
Test(lane, records_covered_twice_are_told_once)
{
	struct mr_receipt receipts[4];
	struct mr_error err = {0};
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	for (int i = 0; i < 5; i++)
		reserve_value(&pair.writer, "y", 1);
	mr_lane_publish(&pair.writer);
	mr_lane_reader_poll(&pair.reader, &err);
	mr_lane_reader_take(&pair.reader, 15, 3);
	mr_lane_acknowledge(&pair.reader, 15, 3, 700, 3);
	/* take back what a dead engine would not have come to */
	atomic_store(&pair.reader.engine->number, 0);
	atomic_store(&pair.reader.engine->acknowledged, 0);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 4), 1);
	is_receipt(&receipts[0], 0, 3, 700);
	hand_back(&pair);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 25, "%s", err.what);
	mr_lane_reader_take(&pair.reader, 25, 5);
	mr_lane_acknowledge(&pair.reader, 25, 5, 700, 5);
	cr_assert_eq(mr_lane_receipts(&pair.writer, receipts, 4), 1);
	is_receipt(&receipts[0], 3, 2, 703);
	close_pair(&pair);
}

/* Number is stored before the index: an engine may die between them, after any number of records.
 */
Test(lane, a_number_ahead_of_its_index_is_made_good)
{
	struct mr_error err = {0};
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	for (int i = 0; i < 5; i++)
		reserve_value(&pair.writer, "y", 1);
	mr_lane_publish(&pair.writer);
	atomic_store(&pair.reader.engine->number, 3);
	hand_back(&pair);
	cr_assert_eq(pair.reader.next_number, 3);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 25);
	mr_lane_reader_resume(&pair.reader);
	cr_assert_eq(pair.reader.next_number, 0);
	mr_lane_reader_take(&pair.reader, 10, 2);
	mr_lane_acknowledge(&pair.reader, 10, 2, 0, 0);
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), 3, "the number never goes back");
	cr_assert_eq(drain(&pair.reader), 3);
	cr_assert_eq(mr_lane_acknowledged(&pair.writer), 5);
	close_pair(&pair);
}

Test(lane, a_number_that_the_client_made_up_is_not_gone_on_from)
{
	const uint64_t made_up[] = {UINT64_MAX, 1u << 31, 1001, 1000 - 129, 0};
	struct mr_lane_frame frame;
	struct mr_error err = {0};

	for (size_t i = 0; i < mr_array_count(made_up); i++) {
		struct pair pair;

		open_pair(&pair, 4096, 0, 1000);
		reserve_value(&pair.writer, "y", 1);
		mr_lane_publish(&pair.writer);
		memcpy(slots_of(&pair.writer) + 8, &made_up[i], 8);
		hand_back(&pair);
		cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 5);
		mr_lane_reader_resume(&pair.reader);
		cr_assert_eq(pair.reader.next_number, 1000);
		cr_assert_eq(mr_lane_reader_frame(&pair.reader, 0, 5, 1000, &frame, &err),
			     -EBADMSG);
		close_pair(&pair);
	}
}

Test(lane, a_long_reason_is_cut_and_terminated)
{
	struct pair pair;
	char text[248], sentence[400] = "";

	memset(sentence, 'x', sizeof(sentence) - 1);
	open_pair(&pair, 4096, 0, 0);
	mr_lane_poison(&pair.reader, MR_LANE_BAD_FRAME, sentence);
	cr_assert_eq(mr_lane_reason(&pair.writer, text), MR_LANE_BAD_FRAME);
	cr_assert_eq(strlen(text), sizeof(text) - 1);
	close_pair(&pair);
}

Test(lane, a_new_engine_page_with_another_index_is_refused)
{
	struct mr_lane_engine_page *engine;
	struct mr_error err = {0};
	const void *old = NULL;
	struct pair pair;
	int fd;

	open_pair(&pair, 4096, 100, 0);
	reserve_value(&pair.writer, "x", 1);
	mr_lane_publish(&pair.writer);
	cr_assert_eq(mr_lane_create_engine(&identity, mac, 1000, 106, 0, &fd, &engine, &err), 0);
	cr_assert_eq(mr_lane_writer_switch(&pair.writer, fd, &old, &err), -EBADMSG);
	cr_assert_str_eq(err.what, "the new engine's index is 106, expected one from 100 to 105");
	cr_assert_null(old);
	cr_assert_eq(mr_lane_writer_switch(&pair.writer, pair.client_fd, &old, &err), -EBADMSG);
	cr_assert_eq(drain(&pair.reader), 1, "the old page is still in use");
	munmap(engine, MR_LANE_ENGINE_BYTES);
	close(fd);
	close_pair(&pair);
}

/* ---- descriptors that are wrong -------------------------------------------------------------- */

Test(lane, wrong_descriptors_and_sizes_are_refused)
{
	struct mr_lane_writer writer;
	struct mr_lane_reader reader;
	struct mr_lane_engine_page *engine, copy;
	struct mr_error err = {0};
	int client, engine_fd;

	cr_assert_eq(mr_lane_create_client(2048, &client, &err), -EINVAL);
	cr_assert_eq(mr_lane_create_client(12288, &client, &err), -EINVAL);
	cr_assert_eq(mr_lane_create_client(MR_LANE_BYTES_MAX * 2, &client, &err), -EINVAL);
	cr_assert_eq(mr_lane_create_client(8192, &client, &err), 0);
	cr_assert_eq(mr_lane_create_engine(&identity, mac, 1000, 0, 0, &engine_fd, &engine, &err),
		     0);
	cr_assert_eq(mr_lane_writer_open(client, engine_fd, 4096, 0, &writer, &err), -EBADMSG);
	cr_assert_eq(mr_lane_writer_open(client, engine_fd, 5000, 0, &writer, &err), -EINVAL);
	cr_assert_eq(mr_lane_writer_open(client, client, 8192, 0, &writer, &err), -EBADMSG);
	cr_assert_lt(mr_lane_writer_open(engine_fd, engine_fd, 4096, 0, &writer, &err), 0);
	cr_assert_eq(mr_lane_reader_open(client, engine, 8192, &reader, &err), -EBADMSG);
	cr_assert(strstr(err.what, "not sealed against new writers"), "%s", err.what);
	cr_assert_eq(mr_region_seal(client, &err), 0);
	cr_assert_eq(mr_lane_reader_open(client, engine, 8192, &reader, &err), -EBADMSG);
	cr_assert(strstr(err.what, "client page has magic 0x00000000"), "%s", err.what);
	cr_assert_eq(mr_lane_copy_engine(client, &copy, &err), -EBADMSG);
	engine->version = 7;
	cr_assert_eq(mr_lane_copy_engine(engine_fd, &copy, &err), -EBADMSG);
	cr_assert(strstr(err.what, "engine page has format version 7, expected 1"), "%s", err.what);
	munmap(engine, MR_LANE_ENGINE_BYTES);
	close(client);
	close(engine_fd);
}

/* ---- nonsense from the client ---------------------------------------------------------------- */

Test(lane, an_impossible_index_is_refused)
{
	struct mr_error err = {0};
	struct pair pair;

	open_pair(&pair, 4096, 1000, 0);
	reserve_value(&pair.writer, "x", 1);
	mr_lane_publish(&pair.writer);
	atomic_store(&pair.writer.client->published, 1512);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), -EBADMSG);
	cr_assert_str_eq(err.what,
			 "the lane's published index is 1512, expected one from 1000 to 1511");
	atomic_store(&pair.writer.client->published, 1511);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 511);
	atomic_store(&pair.writer.client->published, 1005);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 5);
	mr_lane_reader_take(&pair.reader, 5, 1);
	atomic_store(&pair.writer.client->published, 1004);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), -EBADMSG, "gone back");
	atomic_store(&pair.writer.client->published, 1512);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), -EBADMSG,
		     "over what is not acknowledged");
	mr_lane_acknowledge(&pair.reader, 1005, 1, 0, 0);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 507);
	close_pair(&pair);
}

static struct mr_frame good_frame(void)
{
	struct mr_frame frame = {
		.bytes = 32 + 8 + 16 + 6,
		.kind = MR_FRAME_RECORD,
		.header_count = 2,
		.number = 7,
		.key_bytes = 8,
		.value_bytes = 16,
	};

	return frame;
}

/* The frame, written over a published one of 16 slots; what the reader says to it. */
static int read_frame(const struct mr_frame *frame, struct mr_error *err)
{
	uint8_t value[96] = {0};
	struct mr_lane_frame out;
	struct pair pair;
	int r;

	open_pair(&pair, 4096, 0, 7);
	reserve_value(&pair.writer, value, sizeof(value));
	mr_lane_publish(&pair.writer);
	memcpy(slots_of(&pair.writer), frame, sizeof(*frame));
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, err), 16);
	r = mr_lane_reader_frame(&pair.reader, 0, 16, 7, &out, err);
	close_pair(&pair);
	return r;
}

static void refused(const struct mr_frame *frame, const char *says)
{
	struct mr_error err = {0};

	cr_assert_eq(read_frame(frame, &err), -EBADMSG, "taken, although: %s", says);
	cr_assert_str_eq(err.what, says);
}

#define REFUSED(says, ...)                                                                         \
	do {                                                                                       \
		struct mr_frame frame = good_frame();                                              \
		__VA_ARGS__;                                                                       \
		refused(&frame, says);                                                             \
	} while (0)

Test(lane, a_good_frame_is_taken)
{
	struct mr_frame frame = good_frame();
	struct mr_error err = {0};

	cr_assert_eq(read_frame(&frame, &err), 0, "%s", err.what);
}

Test(lane, each_field_is_refused_by_name)
{
	REFUSED("frame of record 7: kind is 0, expected 1", frame.kind = 0);
	REFUSED("frame of record 7: kind is 2, expected 1", frame.kind = MR_FRAME_BATCH);
	REFUSED("frame of record 7: kind is 255, expected 1", frame.kind = 255);
	REFUSED("frame of record 7: flags is 4, expected at most 3", frame.flags = 4);
	REFUSED("frame of record 7: flags is 128, expected at most 3", frame.flags = 128);
	REFUSED("frame of record 7: number is 6, expected 7", frame.number = 6);
	REFUSED("frame of record 7: number is 8, expected 7", frame.number = 8);
	REFUSED("frame of record 7: number is 4294967303, expected 7", frame.number += 1ull << 32);
	REFUSED("frame of record 7: key_bytes of a null key is 8, expected 0",
		frame.flags = MR_FRAME_NULL_KEY);
	REFUSED("frame of record 7: value_bytes of a null value is 16, expected 0",
		frame.flags = MR_FRAME_NULL_VALUE);
}

Test(lane, each_size_is_refused_by_name)
{
	REFUSED("frame of record 7: bytes is 0, expected at least 56", frame.bytes = 0);
	REFUSED("frame of record 7: bytes is 31, expected at least 56", frame.bytes = 31);
	REFUSED("frame of record 7: bytes is 55, expected at least 56", frame.bytes = 55);
	REFUSED("frame of record 7: bytes is 129, expected no more than published: 128",
		frame.bytes = 129);
	REFUSED("frame of record 7: bytes is 2049, expected at most 2048", frame.bytes = 2049);
	REFUSED("frame of record 7: bytes is 4294967295, expected at most 2048",
		frame.bytes = UINT32_MAX);
	REFUSED("frame of record 7: bytes is 62, expected at least 4294967343",
		frame.key_bytes = UINT32_MAX);
	REFUSED("frame of record 7: bytes is 62, expected at least 4294967335",
		frame.value_bytes = UINT32_MAX);
	REFUSED("frame of record 7: bytes is 62, expected at least 8589934622",
		frame.key_bytes = UINT32_MAX, frame.value_bytes = UINT32_MAX);
	/* sums that are right modulo 2^32 */
	REFUSED("frame of record 7: bytes is 62, expected at least 4294967352",
		frame.key_bytes = 0xfffffff0u, frame.value_bytes = 40);
	REFUSED("frame of record 7: header bytes is 6, expected 0", frame.header_count = 0);
	REFUSED("frame of record 7: header bytes is 6, expected at least 8",
		frame.header_count = 4);
	REFUSED("frame of record 7: header bytes is 6, expected at least 131070",
		frame.header_count = UINT16_MAX);
}

Test(lane, a_frame_that_begins_just_before_the_end_is_refused)
{
	struct mr_lane_frame out;
	struct mr_error err = {0};
	struct pair pair;

	open_pair(&pair, 4096, 0, 0);
	atomic_store(&pair.writer.client->published, 3);
	cr_assert_eq(mr_lane_reader_poll(&pair.reader, &err), 3);
	cr_assert_eq(mr_lane_reader_frame(&pair.reader, 0, 3, 0, &out, &err), -EBADMSG);
	cr_assert_str_eq(err.what,
			 "frame of record 0: bytes published is 24, expected at least 32");
	close_pair(&pair);
}

/* ---- a hostile client that changes frames while they are checked ----------------------------- */

struct hostile {
	struct mr_lane_writer *writer;
	_Atomic bool stop;
};

static void *change_frames(void *arg)
{
	struct hostile *hostile = arg;
	uint64_t *words = (uint64_t *)(void *)slots_of(hostile->writer);
	uint64_t state = 99;

	while (!atomic_load(&hostile->stop)) {
		uint64_t dice = next_random(&state);
		uint64_t good = 40 | (uint64_t)MR_FRAME_RECORD << 32;

		/* bytes, kind and flags of frames of 5 slots: mostly good, sometimes not */
		__atomic_store_n(&words[dice % 100 * 5], dice >> 60 ? good : dice,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&words[dice % 100 * 5 + 3], dice >> 61 ? 8 : dice,
				 __ATOMIC_RELAXED);
		if (dice >> 56 == 0)
			atomic_store(&hostile->writer->client->published, (uint32_t)dice % 1024);
		else
			atomic_store(&hostile->writer->client->published, 500);
	}
	return NULL;
}

/* All that a reader may touch lies in the slots; sums what the frame says is there. */
static uint32_t touch(const struct pair *pair, const struct mr_lane_frame *frame)
{
	const uint8_t *end = pair->reader.slots + 2 * (size_t)pair->lane_bytes;
	uint32_t bytes = frame->head.key_bytes + frame->head.value_bytes + frame->header_bytes;
	uint32_t sum = 0;

	cr_assert_eq(sizeof(struct mr_frame) + bytes, frame->head.bytes);
	cr_assert_geq(frame->key, pair->reader.slots + sizeof(struct mr_frame));
	cr_assert_leq(frame->key + bytes, end);
	for (uint32_t i = 0; i < bytes; i++)
		sum += __atomic_load_n(&frame->key[i], __ATOMIC_RELAXED);
	return sum;
}

Test(lane, frames_that_change_while_they_are_read_never_lead_outside, .timeout = 60)
{
	struct hostile hostile = {0};
	struct mr_lane_frame frame;
	struct mr_error err = {0};
	uint32_t good = 0, bad = 0, sum = 0;
	struct pair pair;
	pthread_t thread;

	open_pair(&pair, 4096, 0, 0);
	for (int i = 0; i < 100; i++)
		cr_assert_eq(reserve_value(&pair.writer, "12345678", 8), 0);
	mr_lane_publish(&pair.writer);
	hostile.writer = &pair.writer;
	cr_assert_eq(pthread_create(&thread, NULL, change_frames, &hostile), 0);
	for (uint32_t i = 0; i < 200000; i++) {
		int64_t available = mr_lane_reader_poll(&pair.reader, &err);
		uint32_t ahead = i % 100 * 5;

		if (available <= ahead) {
			bad++;
			continue;
		}
		if (mr_lane_reader_frame(&pair.reader, ahead, (uint32_t)available, i % 100, &frame,
					 &err) < 0) {
			bad++;
			continue;
		}
		cr_assert_leq(ahead + frame.slots, available);
		sum += touch(&pair, &frame);
		good++;
	}
	atomic_store(&hostile.stop, true);
	pthread_join(thread, NULL);
	cr_assert_gt(good, 0);
	cr_assert_gt(bad, 0);
	cr_assert_neq(sum, 0);
	close_pair(&pair);
}
