/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the short way that nearly all records go, from a lane's frame into a batch: it
 * takes nothing that the long way would not, and what it takes becomes the same bytes; it touches
 * nothing behind its bounds (under ASan).
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "lane.h"

#define TIME_MS 1700000000000

static const struct mr_batch_identity nobody = {
	.producer_id = MR_PRODUCER_ID_NONE,
	.producer_epoch = -1,
	.base_sequence = MR_SEQUENCE_NONE,
};

/* xorshift: enough to draw from */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- records that are copied in blocks ---- */

/* Any record, but often of sizes next to where a varint or a block grows. */
static uint32_t pick_bytes(uint64_t *dice)
{
	static const uint32_t edges[] = {0,	    1,	 MR_BATCH_BLOCK_BYTES, 63,   64, 100,
					 8192 - 36, 128, MR_BATCH_BLOCKS_MAX,  8192, 300};

	*dice = *dice * 6364136223846793005u + 1442695040888963407u;
	return edges[(*dice >> 40) % (sizeof(edges) / sizeof(edges[0]))] + (*dice >> 60) % 3;
}

/* One record by each of the two ways; false if the plain one found no room. */
static bool add_both(struct mr_batch_writer *quick, struct mr_batch_writer *general,
		     const uint8_t *payload, uint64_t *dice)
{
	uint32_t key_bytes = pick_bytes(dice), value_bytes = pick_bytes(dice);
	bool null_key = key_bytes == 0 && *dice & 1 << 20;
	bool null_value = value_bytes == 0 && *dice & 1 << 21;
	int64_t time_ms = TIME_MS + (int64_t)((*dice >> 22 & 7) == 0 ? *dice >> 30 : 0) - 9000;

	if (!mr_batch_add_plain(quick, time_ms, payload, key_bytes, null_key, value_bytes,
				null_value))
		return false;
	cr_assert_eq(mr_batch_add(general, time_ms, payload, null_key ? -1 : (int32_t)key_bytes,
				  payload + key_bytes, null_value ? -1 : (int32_t)value_bytes, NULL,
				  0, 0),
		     0);
	return true;
}

Test(plain, plain_records_become_the_same_bytes)
{
	enum { CAPACITY = 100000, PAYLOAD = 20000 };
	uint8_t *quick_bytes = malloc(CAPACITY), *bytes = malloc(CAPACITY); /* exact, for ASan */
	uint8_t *payload = malloc(PAYLOAD);
	struct mr_batch_writer quick, general;
	uint64_t dice = 1;

	for (int i = 0; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(i * 7 + i / 251);
	for (int turn = 0; turn < 300; turn++) {
		size_t capacity = turn % 3 ? CAPACITY : 200 + (size_t)turn;

		mr_batch_begin(&quick, quick_bytes + CAPACITY - capacity, capacity);
		mr_batch_begin(&general, bytes, capacity);
		while (add_both(&quick, &general, payload, &dice))
			cr_assert_eq(quick.at - quick.bytes, general.at - general.bytes);
		cr_assert_lt((size_t)(quick.limit - quick.at), 2 * 8200 + MR_BATCH_PLAIN_ROOM,
			     "it gives up too early");
		cr_assert_eq(quick.record_count, general.record_count);
		if (quick.record_count == 0)
			continue;
		cr_assert_eq(mr_batch_end(&quick, &nobody), mr_batch_end(&general, &nobody));
		cr_assert_arr_eq(quick.bytes, general.bytes, (size_t)(quick.at - quick.bytes));
	}
	free(quick_bytes);
	free(bytes);
	free(payload);
}

/* Where it is just taken, its blocks still end before the limit. */
Test(plain, blocks_never_pass_the_limit)
{
	uint8_t bytes[1024], payload[512] = {0};
	struct mr_batch_writer writer;

	for (uint32_t value_bytes = 0; value_bytes < 200; value_bytes++) {
		size_t capacity = MR_BATCH_HEADER_BYTES + 7 + value_bytes;
		bool taken = false;

		for (; !taken && capacity < sizeof(bytes) - 64; capacity++) {
			memset(bytes, 0xa5, sizeof(bytes));
			mr_batch_begin(&writer, bytes, capacity);
			taken = mr_batch_add_plain(&writer, 5, payload, 0, 1, value_bytes, 0);
		}
		cr_assert(taken);
		for (size_t i = capacity - 1; i < sizeof(bytes); i++)
			cr_assert_eq(bytes[i], 0xa5, "%u bytes: byte %zu", value_bytes, i);
	}
}

Test(plain, a_plain_record_without_room_changes_nothing)
{
	uint8_t bytes[MR_BATCH_HEADER_BYTES + 50 + MR_BATCH_PLAIN_ROOM];
	uint8_t *payload = calloc(1, 4096);
	volatile uint32_t huge = UINT32_MAX; /* no compiler is to see it */
	struct mr_batch_writer writer, before;

	mr_batch_begin(&writer, bytes, sizeof(bytes));
	before = writer;
	cr_assert_not(mr_batch_add_plain(&writer, 1, payload, 1, 0, 50, 0));
	cr_assert_not(mr_batch_add_plain(&writer, 1, payload, huge, 0, huge, 0));
	cr_assert_eq(memcmp(&writer, &before, sizeof(before)), 0);
	cr_assert(mr_batch_add_plain(&writer, 1, payload, 0, 0, 50, 0));
	free(payload);
}

/* ---- the short way for plain frames ---------------------------------------------------------- */

/*
 * What the short way takes the other one takes, and with the same sizes; what it leaves, though the
 * other would take it, has headers or is followed by too little.
 */
static bool same_by_both_ways(struct mr_lane_reader *reader, uint8_t *at,
			      const struct mr_frame *head, uint32_t slots)
{
	struct mr_error err = {0};
	struct mr_lane_plain plain = {0};
	struct mr_lane_frame frame = {0};
	bool short_way, long_way;
	uint64_t words[4];

	memcpy(at, head, sizeof(*head));
	memcpy(words, head, sizeof(words));
	short_way = mr_lane_reader_plain(reader, at, at + slots * MR_SLOT_BYTES, 7, &plain);
	long_way = mr_lane_reader_frame(reader, 0, slots, 7, &frame, &err) == 0;
	if (!short_way)
		return !long_way || head->header_count > 0 ||
		       head->bytes + MR_LANE_SLACK_BYTES > slots * MR_SLOT_BYTES;
	return long_way && head->header_count == 0 && plain.bytes == head->bytes &&
	       plain.payload == frame.key && plain.key_bytes == head->key_bytes &&
	       plain.value_bytes == head->value_bytes && plain.timestamp_ms == head->timestamp_ms &&
	       plain.null_key == (head->flags & MR_FRAME_NULL_KEY) &&
	       plain.null_value == (head->flags & MR_FRAME_NULL_VALUE) / MR_FRAME_NULL_VALUE &&
	       plain.what == words[0] && plain.lengths == words[3] &&
	       plain.next == at + (size_t)frame.slots * MR_SLOT_BYTES &&
	       plain.bytes + MR_LANE_SLACK_BYTES <= slots * MR_SLOT_BYTES;
}

/* Fields near what is right, so that many combinations pass some of the checks, and some all. */
static struct mr_frame near_frame(uint64_t *state)
{
	static const uint32_t sizes[] = {0, 8, 16, 100, 2016, 2048, 0xfffffff0u, UINT32_MAX};
	uint64_t dice = next_random(state);
	struct mr_frame frame = {
		.kind = dice & 15 ? MR_FRAME_RECORD : (uint8_t)(dice >> 4),
		.flags = (uint8_t)((dice >> 12 & 7) ? dice >> 16 & 3 : dice >> 16),
		.header_count = (dice >> 24 & 7) ? 0 : (uint16_t)(dice >> 27),
		.number = dice >> 43 & 15 ? 7 : next_random(state),
		.timestamp_ms = (int64_t)dice,
		.key_bytes = sizes[dice >> 47 & 7] & (uint32_t)(0 - (dice >> 50 & 1)),
		.value_bytes = sizes[dice >> 51 & 7],
	};

	frame.bytes = (uint32_t)sizeof(frame) + frame.key_bytes + frame.value_bytes;
	if ((dice >> 54 & 7) == 0)
		frame.bytes += (uint32_t)(dice >> 57 & 3) - 1;
	return frame;
}

Test(plain, the_short_way_takes_what_the_long_one_takes)
{
	enum { LANE_BYTES = 4096 };
	uint8_t *slots = calloc(1, LANE_BYTES);
	struct mr_lane_reader reader = {
		.slots = slots,
		.mask = LANE_BYTES / MR_SLOT_BYTES - 1,
		.frame_bytes_max = LANE_BYTES / 2,
	};
	uint64_t state = 5;
	uint32_t taken = 0;

	for (int i = 0; i < 300000; i++) {
		struct mr_frame head = near_frame(&state);
		uint32_t left = 1 + (uint32_t)(next_random(&state) % 272);
		struct mr_lane_plain plain;

		cr_assert(same_by_both_ways(&reader, slots, &head, left), "frame %d of %u bytes", i,
			  head.bytes);
		taken += mr_lane_reader_plain(&reader, slots, slots + left * MR_SLOT_BYTES, 7,
					      &plain);
	}
	cr_assert_gt(taken, 10000, "nearly none was plain: the test asks nothing");
	free(slots);
}

/*
 * The first word is checked by a subtraction: no size, however large, may make up for a wrong kind,
 * a flag or a header count by what it carries.
 */
Test(plain, no_size_makes_up_for_what_a_frame_is)
{
	static const uint32_t sizes[] = {0,	      8,	   32,		0x7fffffffu,
					 0x80000000u, 0xffffff00u, 0xffffffe0u, UINT32_MAX};
	enum { LANE_BYTES = 4096, SIZES = sizeof(sizes) / sizeof(*sizes), WAYS = 4 * 8 * 3 };
	uint8_t *slots = calloc(1, LANE_BYTES);
	struct mr_lane_reader reader = {
		.slots = slots,
		.mask = LANE_BYTES / MR_SLOT_BYTES - 1,
		.frame_bytes_max = LANE_BYTES / 2,
	};

	for (uint32_t i = 0; i < SIZES * SIZES * WAYS; i++) {
		uint32_t way = i / (SIZES * SIZES);
		struct mr_frame head = {
			.kind = (uint8_t)(way % 4),
			.flags = (uint8_t)(way / 4 % 8),
			.header_count = (uint16_t)(way / 32),
			.number = 7,
			.key_bytes = sizes[i % SIZES],
			.value_bytes = sizes[i / SIZES % SIZES],
		};

		head.bytes = (uint32_t)sizeof(head) + head.key_bytes + head.value_bytes;
		cr_assert(same_by_both_ways(&reader, slots, &head, LANE_BYTES / MR_SLOT_BYTES),
			  "kind %u, flags %u, %u headers, sizes %u and %u", head.kind, head.flags,
			  head.header_count, head.key_bytes, head.value_bytes);
	}
	free(slots);
}

/* ---- and back ---------------------------------------------------------------------------------
 */

static bool same_message(const struct mr_message *a, const struct mr_message *b)
{
	return a->offset == b->offset && a->timestamp_ms == b->timestamp_ms && a->key == b->key &&
	       a->key_bytes == b->key_bytes && a->value == b->value &&
	       a->value_bytes == b->value_bytes && a->headers == b->headers &&
	       a->header_bytes == b->header_bytes && a->header_count == b->header_count &&
	       a->leader_epoch == b->leader_epoch;
}

/* Reads the batch by both ways; returns how many records the short one took by itself. */
static uint32_t read_both(const uint8_t *bytes, const struct mr_batch_header *header)
{
	struct mr_batch_reader quick, general, alone;
	struct mr_message a = {0}, b = {0}, c = {0};
	uint32_t taken = 0;
	int r;

	cr_assert_eq(mr_batch_read(&quick, bytes, header), 0);
	general = quick;
	do {
		alone = quick;
		taken += mr_batch_next_plain(&alone, &c);
		r = mr_batch_next(&quick, &a);
		cr_assert_eq(mr_batch_next_any(&general, &b), r);
		if (r > 0)
			cr_assert(same_message(&a, &b));
		cr_assert_eq(quick.at, general.at);
		cr_assert_eq(quick.next, general.next);
		cr_assert_eq(quick.left, general.left);
	} while (r > 0);
	return taken;
}

/* Records of all sizes, some with headers; as they were written, then with bytes changed. */
Test(plain, records_are_read_the_same_by_both_ways)
{
	enum { CAPACITY = 60000 };
	uint8_t *bytes = malloc(CAPACITY), *payload = calloc(1, 20000);
	uint8_t headers[3] = {2, 'h', 1};
	uint64_t state = 9, dice = 3;
	uint32_t taken = 0;

	for (int turn = 0; turn < 2000; turn++) {
		struct mr_batch_writer writer;
		struct mr_batch_header header;
		size_t total;
		int r;

		mr_batch_begin(&writer, bytes, CAPACITY - next_random(&state) % 50000);
		do {
			uint32_t key_bytes = pick_bytes(&dice), value_bytes = pick_bytes(&dice);
			bool with_headers = dice >> 33 & 1;

			r = mr_batch_add(&writer, (int64_t)(next_random(&state) % 20000), payload,
					 dice >> 34 & 1 ? (int32_t)key_bytes : -1, payload,
					 dice >> 35 & 1 ? (int32_t)value_bytes : -1, headers,
					 with_headers ? sizeof(headers) : 0, with_headers);
		} while (r == 0);
		if (writer.record_count == 0)
			continue;
		total = mr_batch_end(&writer, &nobody);
		cr_assert_eq(mr_batch_decode_header(bytes, total, &header), 0);
		header.last_offset_delta -= turn % 7 == 0;
		taken += read_both(bytes, &header);
		for (int i = 0; i < 4; i++)
			bytes[MR_BATCH_HEADER_BYTES +
			      next_random(&state) % (i & 1 ? 20 : total - 61)] =
				(uint8_t)next_random(&state);
		(void)read_both(bytes, &header);
	}
	cr_assert_gt(taken, 1000, "nearly none was plain: the test asks nothing");
	free(bytes);
	free(payload);
}

/* Each byte of a small record becomes each value; the batch ends where its memory does. */
Test(plain, any_changed_byte_is_read_the_same_by_both_ways)
{
	uint8_t room[200], *bytes;
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	size_t total;

	mr_batch_begin(&writer, room, sizeof(room));
	cr_assert_eq(mr_batch_add(&writer, 1, "key", 3, "some value", 10, NULL, 0, 0), 0);
	cr_assert_eq(mr_batch_add(&writer, 2, "keys", 4, "none", 4, NULL, 0, 0), 0);
	total = mr_batch_end(&writer, &nobody);
	cr_assert_eq(mr_batch_decode_header(room, total, &header), 0);
	bytes = malloc(total);
	for (size_t at = MR_BATCH_HEADER_BYTES; at < total; at++) {
		memcpy(bytes, room, total);
		for (int value = 0; value < 256; value++) {
			bytes[at] = (uint8_t)value;
			(void)read_both(bytes, &header);
		}
	}
	free(bytes);
}
