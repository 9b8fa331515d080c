/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane and a byte ring under the same load (rings.h). The consumer is the calling thread, the
 * producer a child process. The lane is driven as the engine drives it: checked frames out of the
 * client's memory, by the short way where they are plain, and one acknowledgement a drain. What
 * both have to do is done alike: the payload goes in by the C library's copy, a frame comes out
 * head and all by the copy in blocks that batches are made with, and each side keeps what changes
 * with every frame in variables of its own for the length of a drain.
 */
#include "rings.h"

#include <errno.h>
#include <rte_pause.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "batch.h"
#include "byte_ring.h"
#include "lane.h"
#include "now.h"
#include "region.h"
#include "sides.h"
#include "windows.h"

#define FRAME_BYTES_MAX 65536u
#define LOG_BYTES	(1u << 20)
#define DRAIN_BYTES	32768u /* at most, of both: then the producer gets its room back */
#define DRAIN_SLOTS	(DRAIN_BYTES / MR_SLOT_BYTES)
#define TURNS_A_LOOK	64
#define HEAD_BYTES	((uint32_t)sizeof(struct mr_frame))

struct shared {
	struct mr_sides_page page;
	struct mr_byte_ring ring; /* its bytes follow; the lane has its own memory */
};

struct race {
	const struct mr_rings *rings;
	struct mr_windows windows;
	uint8_t *log; /* where frames are copied to: LOG_BYTES and one frame */
	uint32_t log_at;
	uint64_t frames;
	/* the lane */
	int client_fd, engine_fd;
	struct mr_lane_engine_page *engine;
	struct mr_lane_reader lane;
	/* the byte ring */
	struct mr_byte_reader bytes;
};

/* ---- the producers ------------------------------------------------------- */

static bool stopped(struct shared *shared)
{
	/* relaxed: it orders nothing */
	return atomic_load_explicit(&shared->page.stop, memory_order_relaxed);
}

/* 0, or why no more frames could be reserved. */
static inline int put_burst(struct mr_lane_writer *writer, const struct mr_record *record,
			    const uint8_t *source, uint32_t burst)
{
	for (uint32_t i = 0; i < burst; i++) {
		void *payload;
		int r = mr_lane_reserve(writer, record, 0, &payload);

		if (r < 0)
			return r;
		memcpy(payload, source, (uint32_t)record->value_bytes);
	}
	return 0;
}

static int produce_lane(void *arg_shared, void *arg)
{
	const struct race *race = arg;
	uint32_t value_bytes = race->rings->frame_bytes - HEAD_BYTES;
	struct mr_record record = {.key_bytes = MR_NULL_BYTES, .value_bytes = (int32_t)value_bytes};
	struct shared *shared = arg_shared;
	uint8_t source[FRAME_BYTES_MAX];
	struct mr_lane_writer opened, writer;
	int r = mr_lane_writer_open(race->client_fd, race->engine_fd, race->rings->ring_bytes, 0,
				    &opened, NULL);

	if (r < 0)
		return r;
	writer = opened; /* a copy whose address nobody knows stays in registers */
	memset(source, 7, sizeof(source));
	mr_sides_say_ready(&shared->page);
	while (!stopped(shared)) {
		r = put_burst(&writer, &record, source, race->rings->burst);
		if (!mr_lane_publish(&writer))
			rte_pause();
	}
	mr_lane_writer_close(&opened);
	return r == -EAGAIN ? 0 : r;
}

static int produce_bytes(void *arg_shared, void *arg)
{
	const struct race *race = arg;
	uint32_t frame_bytes = race->rings->frame_bytes, i;
	struct shared *shared = arg_shared;
	uint8_t source[FRAME_BYTES_MAX];
	struct mr_byte_writer writer;
	void *payload;

	mr_byte_writer_init(&writer, &shared->ring, race->rings->ring_bytes);
	memset(source, 7, sizeof(source));
	mr_sides_say_ready(&shared->page);
	while (!stopped(shared)) {
		for (i = 0; i < race->rings->burst; i++) {
			payload = mr_byte_ring_reserve(&writer, frame_bytes);
			if (!payload)
				break;
			memcpy(payload, source, frame_bytes - sizeof(struct mr_byte_frame));
		}
		if (i)
			mr_byte_ring_publish(&writer);
		else
			rte_pause();
	}
	return 0;
}

/* ---- the consumers ------------------------------------------------------- */

/* The place behind a frame of 'bytes' at 'at'. */
static inline uint32_t after_in_log(uint32_t at, uint64_t bytes)
{
	return at + bytes < LOG_BYTES ? at + (uint32_t)bytes : 0;
}

/*
 * Writes the head out of what was checked, word by word: a block loaded out of words just stored
 * would have to wait for all of them.
 */
static inline void put_head(uint8_t *to, uint64_t what, uint64_t number, int64_t timestamp_ms,
			    uint64_t lengths)
{
	uint64_t *words = (void *)to; /* all frames have a multiple of 8 bytes */

	words[0] = what;
	words[1] = number;
	words[2] = (uint64_t)timestamp_ms;
	words[3] = lengths;
}

/* A frame that nothing is published behind: its payload ends where it ends. */
static inline void put_frame(uint8_t *to, const struct mr_lane_frame *frame)
{
	const struct mr_frame *head = &frame->head;

	put_head(to,
		 head->bytes | (uint64_t)head->kind << 32 | (uint64_t)head->flags << 40 |
			 (uint64_t)head->header_count << 48,
		 head->number, head->timestamp_ms,
		 head->key_bytes | (uint64_t)head->value_bytes << 32);
	memcpy(to + HEAD_BYTES, frame->key, head->bytes - HEAD_BYTES);
}

/* Takes plain frames from slot 'slots' on, as the worker's encode_plain_frames() does; returns the
 * slot where it ended. */
static inline uint32_t take_plain_frames(struct race *race, uint32_t slots, uint32_t available,
					 uint32_t *frames)
{
	const struct mr_lane_reader *lane = &race->lane;
	const uint8_t *from =
		lane->slots + (size_t)((lane->cursor + slots) & lane->mask) * MR_SLOT_BYTES;
	const uint8_t *at = from, *end = from + (size_t)(available - slots) * MR_SLOT_BYTES;
	const uint8_t *stop = from + (size_t)(DRAIN_SLOTS - slots) * MR_SLOT_BYTES;
	uint64_t number = lane->next_number + *frames;
	uint8_t *log = race->log;
	uint32_t log_at = race->log_at;
	struct mr_lane_plain frame;

	while (at < stop && mr_lane_reader_plain(lane, at, end, number, &frame)) {
		uint8_t *to = log + log_at;

		put_head(to, frame.what, number, frame.timestamp_ms, frame.lengths);
		(void)mr_batch_put_blocks(to + HEAD_BYTES, frame.payload, frame.bytes - HEAD_BYTES);
		log_at = after_in_log(log_at, frame.bytes);
		at = frame.next;
		number++;
	}
	race->log_at = log_at;
	*frames = (uint32_t)(number - lane->next_number);
	return slots + (uint32_t)((size_t)(at - from) / MR_SLOT_BYTES);
}

/* Bytes taken, or a negative errno. */
static int64_t drain_lane(struct race *race, struct mr_error *err)
{
	struct mr_lane_reader *lane = &race->lane;
	int64_t available = mr_lane_reader_poll(lane, err);
	uint32_t slots = 0, frames = 0;

	if (available <= 0)
		return available;
	while (slots < (uint32_t)available && slots < DRAIN_SLOTS) {
		struct mr_lane_frame frame;
		int r;

		slots = take_plain_frames(race, slots, (uint32_t)available, &frames);
		if (slots >= (uint32_t)available || slots >= DRAIN_SLOTS)
			break;
		r = mr_lane_reader_frame(lane, slots, (uint32_t)available,
					 lane->next_number + frames, &frame, err);
		if (r < 0)
			return r;
		put_frame(race->log + race->log_at, &frame);
		race->log_at = after_in_log(race->log_at, frame.head.bytes);
		slots += frame.slots;
		frames++;
	}
	mr_lane_reader_take(lane, slots, frames);
	mr_lane_acknowledge(lane, mr_lane_reader_index(lane), lane->next_number, race->frames,
			    frames);
	race->frames += frames;
	return (int64_t)slots * MR_SLOT_BYTES;
}

static int64_t drain_bytes(struct race *race, struct mr_error *err)
{
	struct mr_byte_reader ring = race->bytes; /* a copy of our own stays in registers */
	uint64_t began = ring.at, first = ring.number;
	uint32_t bytes, log_at = race->log_at;
	uint8_t *log = race->log;
	const uint8_t *from;

	if (!mr_byte_ring_poll(&ring))
		return 0;
	if (ring.published - began > DRAIN_BYTES)
		ring.published =
			began + DRAIN_BYTES / race->rings->frame_bytes * race->rings->frame_bytes;
	while ((from = mr_byte_ring_next(&ring, &bytes)) != NULL) {
		(void)mr_batch_put_blocks(log + log_at, from, bytes);
		log_at = after_in_log(log_at, bytes);
	}
	if (ring.bad)
		return mr_error_set(err, -EBADMSG, "the byte ring's frame after %llu is not whole",
				    (unsigned long long)first);
	mr_byte_ring_release(&ring);
	race->log_at = log_at;
	race->frames += ring.number - first;
	race->bytes = ring;
	return (int64_t)(ring.at - began);
}

static void rest(const struct race *race, int64_t taken)
{
	uint32_t pauses = race->rings->rest_pauses;

	if (taken == 0)
		rte_pause();
	if (taken > 0 && taken < (int64_t)MR_RINGS_SMALL_TAKE)
		while (pauses--)
			rte_pause();
}

/* Inlined twice, with the drain in place: a call a drain would be the same for both, but not free.
 */
static inline __attribute__((always_inline)) int
drain_all(struct race *race, int64_t (*drain)(struct race *, struct mr_error *),
	  struct mr_error *err)
{
	uint64_t now_ns = mr_bench_now_ns();
	uint64_t until_ns = now_ns + (uint64_t)(race->rings->seconds * 1e9);

	mr_windows_begin(&race->windows, now_ns, 0);
	while (now_ns < until_ns) {
		for (int i = 0; i < TURNS_A_LOOK; i++) {
			int64_t taken = drain(race, err);

			if (taken < 0)
				return (int)taken;
			rest(race, taken);
		}
		now_ns = mr_bench_now_ns();
		mr_windows_look(&race->windows, now_ns, race->frames);
	}
	return 0;
}

static int consume_bytes(void *arg_shared, void *arg, struct mr_error *err)
{
	struct shared *shared = arg_shared;
	struct race *race = arg;
	int r = mr_sides_wait_ready(&shared->page, err);

	mr_byte_reader_init(&race->bytes, &shared->ring, race->rings->ring_bytes);
	return r < 0 ? r : drain_all(race, drain_bytes, err);
}

static int consume_lane(void *arg_shared, void *arg, struct mr_error *err)
{
	struct shared *shared = arg_shared;
	struct race *race = arg;
	int r = mr_sides_wait_ready(&shared->page, err);

	if (r == 0) /* the producer has mapped it: nobody else will */
		r = mr_region_seal(race->client_fd, err);
	if (r == 0)
		r = mr_lane_reader_open(race->client_fd, race->engine, race->rings->ring_bytes,
					&race->lane, err);
	if (r < 0)
		return r;
	race->engine = NULL;
	r = drain_all(race, drain_lane, err);
	mr_lane_reader_close(&race->lane);
	return r;
}

/* ---- one sample ---------------------------------------------------------- */

static int check(const struct mr_rings *rings, struct mr_error *err)
{
	uint32_t bytes = rings->ring_bytes;

	if (rings->frame_bytes > HEAD_BYTES && rings->frame_bytes % MR_SLOT_BYTES == 0 &&
	    rings->frame_bytes <= FRAME_BYTES_MAX && bytes >= MR_LANE_BYTES_MIN &&
	    (bytes & (bytes - 1)) == 0 && rings->frame_bytes <= bytes / 4 && rings->burst > 0)
		return 0;
	return mr_error_set(err, -EINVAL, "no ring of %u bytes for %u frames of %u bytes", bytes,
			    rings->burst, rings->frame_bytes);
}

static int run_race(struct mr_bench_run *run, struct race *race, struct mr_sides *sides,
		    struct mr_bench_sample *sample, struct mr_error *err)
{
	const struct mr_rings *rings = race->rings;
	uint64_t mask = 1ull << (rings->producer_core & 63) | 1ull << (rings->consumer_core & 63);
	int r = mr_windows_init(&race->windows, rings->seconds, err);

	if (r < 0)
		return r;
	race->log = malloc(LOG_BYTES + FRAME_BYTES_MAX);
	if (race->log) {
		memset(race->log, 1, LOG_BYTES + FRAME_BYTES_MAX);
		/* the byte ring's last frame is copied in blocks, too */
		sides->shared_bytes =
			sizeof(struct shared) + rings->ring_bytes + MR_BATCH_BLOCK_BYTES;
		sides->here_core = rings->consumer_core;
		sides->there_core = rings->producer_core;
		sides->arg = race;
		r = mr_sides_run(sides, err);
	} else {
		r = mr_error_set(err, -ENOMEM, "no memory to copy frames to");
	}
	if (r == 0)
		r = mr_windows_judge(&race->windows, run, mask, &sample->values[1],
				     &sample->values[0], &sample->disturbed, err);
	sample->values[2] = (double)race->frames;
	free(race->log);
	mr_windows_deinit(&race->windows);
	return r;
}

int mr_rings_bytes(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		   struct mr_error *err)
{
	struct race race = {.rings = arg};
	struct mr_sides sides = {.here = consume_bytes, .there = produce_bytes};
	int r = check(race.rings, err);

	return r < 0 ? r : run_race(run, &race, &sides, sample, err);
}

int mr_rings_lane(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		  struct mr_error *err)
{
	struct race race = {.rings = arg, .client_fd = -1, .engine_fd = -1};
	struct mr_sides sides = {.here = consume_lane, .there = produce_lane};
	struct mr_lane_identity identity = {.lane_bytes = race.rings->ring_bytes};
	const uint8_t mac[32] = {0};
	int r = check(race.rings, err);

	if (r == 0)
		r = mr_lane_create_client(race.rings->ring_bytes, &race.client_fd, err);
	if (r == 0)
		r = mr_lane_create_engine(&identity, mac, race.rings->frame_bytes, 0, 0,
					  &race.engine_fd, &race.engine, err);
	if (r == 0)
		r = run_race(run, &race, &sides, sample, err);
	if (race.engine)
		(void)munmap(race.engine, MR_LANE_ENGINE_BYTES); /* ours */
	if (race.client_fd >= 0)
		(void)close(race.client_fd); /* the maps are gone */
	if (race.engine_fd >= 0)
		(void)close(race.engine_fd);
	return r;
}
