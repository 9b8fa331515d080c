/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: what was published is read once, in order, whole, however the indexes wrap; a
 * full lane says so; what the engine did not acknowledge is there again for the next engine; and
 * nonsense from the client is refused by name and never leads a read out of the lane.
 */
#include <criterion/criterion.h>
#include <errno.h>
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
