/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as what a client may write, its index and its slots. The first word is the
 * published index, the second the engine's own and the record bound, the rest the slots, as often
 * as they fit in. What must hold: the reader says -EBADMSG with a sentence, or gives frames that
 * lie within what was published, follow each other without a gap, and whose parts fill them.
 */
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "lane.h"
#include "region.h"

#define LANE_BYTES 8192u

static struct mr_lane_client_page *client; /* ours, for writing */
static uint8_t *slots;
static int client_fd;

static void make_client(void)
{
	void *map;

	fuzz_demand(mr_lane_create_client(LANE_BYTES, &client_fd, NULL) == 0);
	fuzz_demand(mr_region_map(client_fd, 0, MR_PAGE_BYTES + LANE_BYTES, true, &map, NULL) == 0);
	fuzz_demand(mr_region_seal(client_fd, NULL) == 0);
	client = map;
	slots = (uint8_t *)map + MR_PAGE_BYTES;
	client->magic = MR_LANE_CLIENT_MAGIC;
	client->version = MR_FORMAT_VERSION;
}

static void check_frame(const struct mr_lane_reader *reader, const struct mr_lane_frame *frame,
			uint32_t left)
{
	uint64_t parts =
		(uint64_t)frame->head.key_bytes + frame->head.value_bytes + frame->header_bytes;
	const uint8_t *end = frame->key + parts;

	fuzz_demand(frame->slots <= left);
	fuzz_demand(sizeof(struct mr_frame) + parts == frame->head.bytes);
	fuzz_demand(frame->head.bytes <= reader->frame_bytes_max);
	fuzz_demand(frame->head.bytes <= (uint64_t)frame->slots * MR_SLOT_BYTES);
	fuzz_demand(frame->key >= reader->slots + sizeof(struct mr_frame));
	fuzz_demand(end <= reader->slots + 2 * (size_t)LANE_BYTES);
	fuzz_demand(frame->value == frame->key + frame->head.key_bytes);
	fuzz_demand(frame->headers + frame->header_bytes == end);
	fuzz_demand(frame->head.header_count > 0 || frame->header_bytes == 0);
}

/* The short way must agree: what it takes is this frame, without headers and with more behind it.
 */
static void check_plain(const struct mr_lane_reader *reader, const struct mr_lane_frame *frame,
			uint64_t number, uint32_t left)
{
	const uint8_t *at = frame->key - sizeof(struct mr_frame);
	const uint8_t *end = at + (size_t)left * MR_SLOT_BYTES;
	struct mr_lane_plain plain;

	if (!mr_lane_reader_plain(reader, at, end, number, &plain))
		return;
	fuzz_demand(frame->head.header_count == 0 && plain.payload == frame->key);
	fuzz_demand(plain.key_bytes == frame->head.key_bytes);
	fuzz_demand(plain.value_bytes == frame->head.value_bytes);
	fuzz_demand(plain.bytes == frame->head.bytes);
	fuzz_demand(plain.payload + plain.key_bytes + plain.value_bytes + MR_LANE_SLACK_BYTES <=
		    end);
}

/* One drain; returns what ended it: 0, or what the reader said. */
static int drain(struct mr_lane_reader *reader)
{
	struct mr_error err = {0};
	int64_t available = mr_lane_reader_poll(reader, &err);
	struct mr_lane_frame frame;
	uint32_t ahead = 0, frames = 0;
	int r = available < 0 ? (int)available : 0;

	while (r == 0 && ahead < available) {
		uint32_t left = (uint32_t)available - ahead;

		r = mr_lane_reader_frame(reader, ahead, (uint32_t)available,
					 reader->next_number + frames, &frame, &err);
		if (r < 0)
			break;
		check_frame(reader, &frame, left);
		check_plain(reader, &frame, reader->next_number + frames, left);
		ahead += frame.slots;
		frames++;
	}
	fuzz_demand(r == 0 || (r == -EBADMSG && err.what[0] != '\0'));
	mr_lane_reader_take(reader, ahead, frames);
	mr_lane_acknowledge(reader, mr_lane_reader_index(reader), reader->next_number, 0, frames);
	return r;
}

/* Numbers are made right where 'mend' says so: no fuzzer guesses a run of them. */
static void mend_numbers(uint32_t index, uint64_t number)
{
	for (uint32_t at = index % (LANE_BYTES / MR_SLOT_BYTES); number < 64; number++) {
		struct mr_frame *frame = (void *)(slots + at * MR_SLOT_BYTES);
		uint32_t step;

		if (at * MR_SLOT_BYTES + sizeof(*frame) > LANE_BYTES)
			return;
		frame->number = number;
		step = (frame->bytes + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES;
		if (step == 0 || step > LANE_BYTES / MR_SLOT_BYTES)
			return;
		at = (at + step) % (LANE_BYTES / MR_SLOT_BYTES);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static const struct mr_lane_identity identity;
	static const uint8_t mac[32];
	struct mr_lane_engine_page *engine;
	struct mr_lane_reader reader;
	uint32_t words[3];
	int engine_fd;

	if (!client)
		make_client();
	if (count < sizeof(words))
		return 0;
	memcpy(words, data, sizeof(words));
	data += sizeof(words);
	count -= sizeof(words);
	memset(slots, 0, LANE_BYTES);
	memcpy(slots, data, count < LANE_BYTES ? count : LANE_BYTES);
	atomic_store(&client->published, words[0]);
	fuzz_demand(mr_lane_create_engine(&identity, mac, words[2] >> 1, words[1], 0, &engine_fd,
					  &engine, NULL) == 0);
	if (words[2] & 1)
		mend_numbers(words[1], 0);
	fuzz_demand(mr_lane_reader_open(client_fd, engine, LANE_BYTES, &reader, NULL) == 0);
	if (drain(&reader) == 0)
		fuzz_demand(drain(&reader) == 0); /* nothing is left: nothing can be wrong */
	mr_lane_reader_close(&reader);
	close(engine_fd);
	return 0;
}
