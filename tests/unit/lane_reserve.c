/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the two ways to reserve a frame: the inline one, word by word, writes what the
 * one for any record writes field by field, refuses what it refuses, and says why as it does.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lane.h"

#define LANE_BYTES 4096u

static int client_fd, engine_fd;
static struct mr_lane_engine_page *engine;
static struct mr_lane_writer writer;

static void begin(void)
{
	static const struct mr_lane_identity identity;
	static const uint8_t mac[32];
	struct mr_error err = {0};

	cr_assert_eq(mr_lane_create_client(LANE_BYTES, &client_fd, &err), 0, "%s", err.what);
	cr_assert_eq(mr_lane_create_engine(&identity, mac, LANE_BYTES, 0, 1ull << 40, &engine_fd,
					   &engine, &err),
		     0, "%s", err.what);
	cr_assert_eq(
		mr_lane_writer_open(client_fd, engine_fd, LANE_BYTES, 1ull << 40, &writer, &err), 0,
		"%s", err.what);
}

/* By the inline way or by the one behind it; the frame's header and key come out. Slots or errno.
 */
static int reserve_by(bool inlined, const struct mr_record *record, uint8_t out[96])
{
	const uint8_t *at = (const uint8_t *)(writer.ring + 1);
	uint32_t key_bytes = record->key_bytes < 0 ? 0 : (uint32_t)record->key_bytes;
	uint32_t header_bytes = 2 * record->header_count;
	void *payload;
	int r = inlined ? mr_lane_reserve(&writer, record, header_bytes, &payload)
			: mr_lane_reserve_any(&writer, record, header_bytes, &payload);

	if (r < 0) {
		cr_assert_eq(mr_lane_reserved(&writer), 0);
		return r;
	}
	cr_assert_eq(payload, at + sizeof(struct mr_frame) + key_bytes);
	memcpy(out, at, sizeof(struct mr_frame) + key_bytes);
	r = (int)writer.head;
	cr_assert_eq(mr_lane_abandon(&writer), 1);
	return r;
}

Test(lane_reserve, both_ways_write_and_refuse_the_same)
{
	const int32_t sizes[] = {MR_NULL_BYTES, 0, 1, 7, 8, 40, 3000, INT32_MAX};
	const uint32_t count = sizeof(sizes) / sizeof(*sizes);
	uint8_t key[40];

	begin();
	memset(key, 3, sizeof(key));
	for (uint32_t i = 0; i < 3 * count * count; i++) {
		struct mr_record record = {
			.key = key,
			.key_bytes = sizes[i % count],
			.value_bytes = sizes[i / count % count],
			.header_count = i / count / count,
			.timestamp_ms = -5,
		};
		uint8_t ours[96] = {0}, other[96] = {0};
		int r = reserve_by(true, &record, ours);

		cr_assert_eq(reserve_by(false, &record, other), r);
		cr_assert(r > 0 || r == -EMSGSIZE);
		cr_assert_arr_eq(ours, other, sizeof(ours));
	}
}

Test(lane_reserve, both_ways_ask_whether_the_lane_is_full_or_closed)
{
	struct mr_record record = {.key_bytes = MR_NULL_BYTES, .value_bytes = 1000};
	uint8_t out[96];
	void *payload;

	begin();
	for (int i = 0; i < 3; i++)
		cr_assert_eq(mr_lane_reserve(&writer, &record, 0, &payload), 0);
	cr_assert_eq(mr_lane_reserve(&writer, &record, 0, &payload), -EAGAIN);
	cr_assert_eq(mr_lane_reserve_any(&writer, &record, 0, &payload), -EAGAIN);
	cr_assert_eq(mr_lane_reserved(&writer), 3);
	cr_assert_eq(mr_lane_publish(&writer), 3);
	cr_assert_eq(mr_lane_reserved(&writer), 0);
	/* the engine has done with one of them */
	atomic_store(&engine->acknowledged, (1000 + sizeof(struct mr_frame)) / MR_SLOT_BYTES);
	cr_assert_eq(mr_lane_reserve(&writer, &record, 0, &payload), 0);
	cr_assert_eq(mr_lane_reserve(&writer, &record, 0, &payload), -EAGAIN);
	cr_assert_eq(mr_lane_abandon(&writer), 1);
	atomic_store(&engine->reason, MR_LANE_BAD_FRAME);
	cr_assert_eq(reserve_by(true, &record, out), -EPIPE);
	cr_assert_eq(reserve_by(false, &record, out), -EPIPE);
}

/*
 * Both ways take turns, around the end and over it, with frames given up in between: what either
 * leaves behind is what the other goes on from, and a frame begins where the one before it ended.
 */
Test(lane_reserve, both_ways_go_on_from_each_other)
{
	uint64_t dice = 3, number = 1ull << 40, published = number;
	uint32_t head, tail = 0;

	begin();
	head = tail;
	for (int i = 0; i < 200000; i++) {
		struct mr_record record = {.key_bytes = MR_NULL_BYTES};
		const uint64_t *words = (const void *)(writer.slots + (head & 511) * MR_SLOT_BYTES);
		void *payload = NULL;
		int r;

		dice = dice * 6364136223846793005u + 1442695040888963407u;
		record.value_bytes = (int32_t)(dice >> 40 & 255);
		r = dice >> 60 & 1 ? mr_lane_reserve(&writer, &record, 0, &payload)
				   : mr_lane_reserve_any(&writer, &record, 0, &payload);
		if (r == 0) {
			cr_assert_eq(payload, words + 4);
			cr_assert_eq((uint32_t)words[0],
				     sizeof(struct mr_frame) + (uint32_t)record.value_bytes);
			cr_assert_eq(words[1], number++);
			cr_assert_eq(words[3] >> 32, (uint64_t)record.value_bytes);
			head += ((uint32_t)words[0] + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES;
		}
		cr_assert(r == 0 || (r == -EAGAIN && 511 - (head - tail) < 4 + 255 / 8 + 1));
		if (r < 0 || (dice >> 56 & 15) == 0) {
			cr_assert_eq(mr_lane_publish(&writer), number - published);
			cr_assert_eq(atomic_load(&writer.client->published), head);
			published = number;
			tail = head; /* the engine has done with all of them */
			atomic_store(&engine->acknowledged, tail);
		}
		if ((dice >> 50 & 15) == 0) {
			cr_assert_eq(mr_lane_abandon(&writer), number - published);
			number = published;
			head = tail;
		}
	}
	cr_assert_gt(head, 100 * 512, "it went round often");
}
