/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path in miniature (miniature.h). The worker is the calling thread, the producer a child
 * process. Trusts both sides, as only a measurement may.
 */
#include "miniature.h"

#include <endian.h>
#include <errno.h>
#include <isa-l.h>
#include <rte_pause.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_ring_peek_zc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "now.h"
#include "region.h"
#include "sides.h"
#include "windows.h"

#define PAGE_BYTES	4096u
#define SLOT_BYTES	8u
#define SLOTS		(MR_MINIATURE_SLOTS_BYTES / SLOT_BYTES)
#define HEADER_BYTES	61u
#define CRC_FROM	21u
#define EMPTY_PAUSES	30
#define FULL_PAUSES	20
#define TURNS_A_LOOK	64
#define VALUE_BYTES_MAX 65536u

/* Before each value in the slots. */
struct frame {
	uint32_t slots;
	uint32_t value_bytes;
	int64_t timestamp_ms;
};

/* ---- both sides ---------------------------------------------------------- */

int mr_miniature_create(struct mr_error *err)
{
	return mr_region_create("millrace-miniature", MR_MINIATURE_SLOTS_BYTES, err);
}

/* Private page, then the slots twice. */
static int map_slots(int slots_fd, bool writable, uint8_t **out, struct mr_error *err)
{
	void *map;
	int r = mr_region_map_twice(slots_fd, 0, MR_MINIATURE_SLOTS_BYTES, writable, PAGE_BYTES,
				    &map, err);

	if (r < 0)
		return r;
	*out = map;
	return mr_region_populate(*out + PAGE_BYTES, 2 * (size_t)MR_MINIATURE_SLOTS_BYTES, writable,
				  err);
}

static void unmap_slots(void *map)
{
	if (map)
		(void)munmap(map, PAGE_BYTES + 2 * (size_t)MR_MINIATURE_SLOTS_BYTES); /* ours */
}

/* ---- the producer -------------------------------------------------------- */

int mr_miniature_producer_open(int slots_fd, struct mr_miniature_indexes *indexes,
			       struct mr_miniature_producer *out, struct mr_error *err)
{
	uint8_t *map = NULL;
	struct rte_ring *ring;
	int r = map_slots(slots_fd, true, &map, err);

	if (r < 0) {
		unmap_slots(map);
		return r;
	}
	ring = (struct rte_ring *)(void *)(map + PAGE_BYTES) - 1;
	ring->flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	ring->size = SLOTS;
	ring->mask = SLOTS - 1;
	ring->capacity = SLOTS - 1;
	ring->prod.sync_type = RTE_RING_SYNC_ST;
	ring->cons.sync_type = RTE_RING_SYNC_ST;
	*out = (struct mr_miniature_producer){.ring = ring, .indexes = indexes};
	return 0;
}

void mr_miniature_producer_close(struct mr_miniature_producer *producer)
{
	if (producer->ring)
		unmap_slots((uint8_t *)(producer->ring + 1) - PAGE_BYTES);
	producer->ring = NULL;
}

uint32_t mr_miniature_publish(struct mr_miniature_producer *producer, const void *value,
			      uint32_t value_bytes, int64_t timestamp_ms, uint32_t count)
{
	struct frame frame = {
		.slots = ((uint32_t)sizeof(frame) + value_bytes + SLOT_BYTES - 1) / SLOT_BYTES,
		.value_bytes = value_bytes,
		.timestamp_ms = timestamp_ms,
	};
	struct rte_ring *ring = producer->ring;
	struct rte_ring_zc_data place = {0};
	uint32_t taken, i;
	uint8_t *at;

	/* the worker has done with all before it; pairs with the release in the drain */
	ring->cons.tail = atomic_load_explicit(&producer->indexes->released, memory_order_acquire);
	taken = rte_ring_enqueue_zc_burst_elem_start(ring, SLOT_BYTES, frame.slots * count, &place,
						     NULL) /
		frame.slots;
	at = place.ptr1;
	for (i = 0; i < taken; i++) {
		memcpy(at, &frame, sizeof(frame));
		memcpy(at + sizeof(frame), value, value_bytes);
		at += (size_t)frame.slots * SLOT_BYTES;
	}
	rte_ring_enqueue_zc_elem_finish(ring, taken * frame.slots);
	/* the frames are whole; pairs with the acquire in the drain */
	if (taken)
		atomic_store_explicit(&producer->indexes->published, ring->prod.tail,
				      memory_order_release);
	return taken;
}

/* ---- the worker ---------------------------------------------------------- */

static int map_tail(uint8_t **out, struct mr_error *err)
{
	int fd = mr_region_create("millrace-miniature-tail", MR_MINIATURE_TAIL_BYTES, err);
	void *map;
	int r;

	if (fd < 0)
		return fd;
	r = mr_region_map_twice(fd, 0, MR_MINIATURE_TAIL_BYTES, true, 0, &map, err);
	(void)close(fd); /* the map keeps it */
	if (r < 0)
		return r;
	*out = map;
	return mr_region_populate(map, 2 * (size_t)MR_MINIATURE_TAIL_BYTES, true, err);
}

int mr_miniature_worker_open(int slots_fd, struct mr_miniature_indexes *indexes,
			     struct mr_miniature_worker *out, struct mr_error *err)
{
	struct mr_miniature_worker worker = {.indexes = indexes};
	uint8_t *map = NULL;
	int r = map_slots(slots_fd, false, &map, err);

	worker.slots_map = map;
	if (r == 0)
		r = map_tail(&worker.tail, err);
	if (r < 0) {
		mr_miniature_worker_close(&worker);
		return r;
	}
	worker.slots = map + PAGE_BYTES;
	*out = worker;
	return 0;
}

void mr_miniature_worker_close(struct mr_miniature_worker *worker)
{
	unmap_slots(worker->slots_map);
	if (worker->tail)
		(void)munmap(worker->tail, 2 * (size_t)MR_MINIATURE_TAIL_BYTES); /* ours */
	*worker = (struct mr_miniature_worker){0};
}

static inline uint8_t *put_varint(uint8_t *at, int64_t value)
{
	uint64_t rest = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);

	while (rest > 0x7f) {
		*at++ = (uint8_t)(rest | 0x80);
		rest >>= 7;
	}
	*at++ = (uint8_t)rest;
	return at;
}

/* Length, attributes, timestamp, offset, no key, the value, no headers. */
static inline uint8_t *put_record(uint8_t *at, const struct frame *frame, const uint8_t *value,
				  int64_t first_ms, uint32_t number)
{
	uint8_t head[24], *end = head;

	*end++ = 0;
	end = put_varint(end, frame->timestamp_ms - first_ms);
	end = put_varint(end, number);
	end = put_varint(end, -1);
	end = put_varint(end, frame->value_bytes);
	at = put_varint(at, end - head + frame->value_bytes + 1);
	memcpy(at, head, 16); /* all that small records need, in one move; what is too much goes
				 where the value comes */
	if (__builtin_expect(end - head > 16, 0))
		memcpy(at, head, sizeof(head));
	at += end - head;
	memcpy(at, value, frame->value_bytes);
	at += frame->value_bytes;
	*at++ = 0;
	return at;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void put_u64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static void put_header(uint8_t *at, uint32_t bytes, uint64_t base_offset, uint32_t records,
		       int64_t first_ms, int64_t last_ms)
{
	memset(at, 0, HEADER_BYTES);
	put_u64(at, base_offset);
	put_u32(at + 8, bytes - 12);
	at[16] = 2;
	put_u32(at + 23, records - 1);
	put_u64(at + 27, (uint64_t)first_ms);
	put_u64(at + 35, (uint64_t)last_ms);
	memset(at + 43, 0xff, 14); /* no producer's id, epoch, sequence */
	put_u32(at + 57, records);
	put_u32(at + 17, ~crc32_iscsi(at + CRC_FROM, (int)(bytes - CRC_FROM), ~0u));
}

bool mr_miniature_drain(struct mr_miniature_worker *worker, struct mr_miniature_batch *batch)
{
	/* pairs with the release in publish */
	uint32_t published =
		atomic_load_explicit(&worker->indexes->published, memory_order_acquire);
	uint8_t *start = worker->tail + worker->position % MR_MINIATURE_TAIL_BYTES;
	uint8_t *at = start + HEADER_BYTES;
	uint32_t cursor = worker->cursor, records = 0;
	struct frame frame = {0};
	int64_t first_ms = 0;

	if (cursor == published)
		return false;
	while (cursor != published) {
		const uint8_t *from = worker->slots + (size_t)(cursor % SLOTS) * SLOT_BYTES;

		memcpy(&frame, from, sizeof(frame));
		if (!records)
			first_ms = frame.timestamp_ms;
		at = put_record(at, &frame, from + sizeof(frame), first_ms, records++);
		cursor += frame.slots;
	}
	batch->bytes = start;
	batch->byte_count = (uint32_t)(at - start);
	batch->records = records;
	put_header(start, batch->byte_count, worker->records, records, first_ms,
		   frame.timestamp_ms);
	worker->records += records;
	worker->position += batch->byte_count;
	worker->cursor = cursor;
	/* we have read the slots; pairs with the acquire in publish */
	atomic_store_explicit(&worker->indexes->released, cursor, memory_order_release);
	return true;
}

/* ---- at full speed ------------------------------------------------------- */

struct shared {
	struct mr_sides_page page;
	struct mr_miniature_indexes indexes;
};

struct race {
	const struct mr_miniature *miniature;
	struct mr_windows windows;
	int slots_fd;
};

static void pause_often(uint32_t times)
{
	while (times--)
		rte_pause();
}

static int produce(void *arg_shared, void *arg)
{
	const struct race *race = arg;
	const struct mr_miniature *miniature = race->miniature;
	struct mr_miniature_producer producer;
	struct shared *shared = arg_shared;
	uint8_t value[VALUE_BYTES_MAX];
	int r = mr_miniature_producer_open(race->slots_fd, &shared->indexes, &producer, NULL);

	if (r < 0)
		return r;
	memset(value, 'x', sizeof(value));
	mr_sides_say_ready(&shared->page);
	/* relaxed: it orders nothing */
	while (!atomic_load_explicit(&shared->page.stop, memory_order_relaxed)) {
		int64_t now_ms = (int64_t)(mr_bench_now_ns() / 1000000);

		if (!mr_miniature_publish(&producer, value, miniature->value_bytes, now_ms,
					  miniature->burst))
			pause_often(FULL_PAUSES);
	}
	mr_miniature_producer_close(&producer);
	return 0;
}

static int drain_all(struct race *race, struct mr_miniature_worker *worker)
{
	uint64_t began_ns = mr_bench_now_ns(), now_ns = began_ns;
	uint64_t until_ns = began_ns + (uint64_t)(race->miniature->seconds * 1e9);
	struct mr_miniature_batch batch;

	mr_windows_begin(&race->windows, began_ns, 0);
	while (now_ns < until_ns) {
		for (int i = 0; i < TURNS_A_LOOK; i++)
			if (!mr_miniature_drain(worker, &batch))
				pause_often(EMPTY_PAUSES);
		now_ns = mr_bench_now_ns();
		mr_windows_look(&race->windows, now_ns, worker->records);
	}
	return 0;
}

static int work(void *arg_shared, void *arg, struct mr_error *err)
{
	struct shared *shared = arg_shared;
	struct mr_miniature_worker worker;
	struct race *race = arg;
	int r = mr_miniature_worker_open(race->slots_fd, &shared->indexes, &worker, err);

	if (r < 0)
		return r;
	r = mr_sides_wait_ready(&shared->page, err);
	if (r == 0)
		r = drain_all(race, &worker);
	mr_miniature_worker_close(&worker);
	return r;
}

int mr_miniature_rate(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct race race = {.miniature = arg};
	struct mr_sides sides = {
		.shared_bytes = sizeof(struct shared),
		.here_core = race.miniature->worker_core,
		.there_core = race.miniature->producer_core,
		.here = work,
		.there = produce,
		.arg = &race,
	};
	uint64_t mask = 1ull << (sides.here_core & 63) | 1ull << (sides.there_core & 63);
	int r;

	if (race.miniature->value_bytes > VALUE_BYTES_MAX)
		return mr_error_set(err, -EINVAL, "values of %u bytes: at most %u",
				    race.miniature->value_bytes, VALUE_BYTES_MAX);
	race.slots_fd = mr_miniature_create(err);
	if (race.slots_fd < 0)
		return race.slots_fd;
	r = mr_windows_init(&race.windows, race.miniature->seconds, err);
	if (r == 0)
		r = mr_sides_run(&sides, err);
	if (r == 0)
		r = mr_windows_judge(&race.windows, run, mask, &sample->values[0],
				     &sample->values[1], &sample->disturbed, err);
	mr_windows_deinit(&race.windows);
	(void)close(race.slots_fd); /* the maps are gone */
	return r;
}
