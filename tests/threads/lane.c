/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stress body in several modes, for ThreadSanitizer: a producer and a worker on one lane, seen
 * through the same addresses, so that the sanitizer knows every byte that both touch (each side's
 * own map would hide them). Data, receipts and the reason are plain or relaxed; only the pairs of
 * ringbuf/README.md order them. A program of its own, since Criterion does not run under
 * ThreadSanitizer. Exit 0: all came once, in order, whole.
 */
#include <poll.h>
#include <pthread.h>
#include <rte_ring.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "doorbell.h"
#include "lane.h"
#include "region.h"

struct mode {
	const char *name;
	uint32_t lane_bytes;
	uint32_t records;
	uint32_t batch;	      /* records per publish, at most */
	uint32_t value_bytes; /* at most */
	uint32_t behind;      /* drains that the acknowledgement lags behind */
	bool sleeps;	      /* both sides sleep when they find nothing; else they yield */
	uint32_t crowd;	      /* threads that only take the cores away */
};

static const struct mode modes[] = {
	{.name = "single", .lane_bytes = 4096, .records = 60000, .batch = 1, .value_bytes = 64},
	{.name = "batches",
	 .lane_bytes = 65536,
	 .records = 200000,
	 .batch = 32,
	 .value_bytes = 100},
	{.name = "large", .lane_bytes = 16384, .records = 20000, .batch = 3, .value_bytes = 8000},
	{.name = "late",
	 .lane_bytes = 8192,
	 .records = 50000,
	 .batch = 8,
	 .value_bytes = 40,
	 .behind = 5},
	{.name = "asleep",
	 .lane_bytes = 4096,
	 .records = 30000,
	 .batch = 4,
	 .value_bytes = 200,
	 .sleeps = true},
	{.name = "crowd",
	 .lane_bytes = 8192,
	 .records = 30000,
	 .batch = 8,
	 .value_bytes = 100,
	 .sleeps = true,
	 .crowd = 4},
};

struct stage {
	const struct mode *mode;
	struct mr_lane_writer writer; /* the producer's */
	struct mr_lane_reader reader; /* the worker's */
	int client_fd;
	int engine_fd;
	int worker_bell;
	int worker_set;
	int ring_producer; /* the engine's end */
	int producer_bell; /* the client's end */
	_Atomic bool over;
};

__attribute__((noreturn)) static void die(const char *why)
{
	fprintf(stderr, "lane: %s\n", why);
	exit(1);
}

static void must(int r, const struct mr_error *err)
{
	if (r < 0)
		die(err->what);
}

/* ---- the producer ---------------------------------------------------------------------------- */

static uint32_t bytes_of(const struct mode *mode, uint64_t number)
{
	return (uint32_t)(number * 2654435761u >> 7) % (mode->value_bytes + 1);
}

static bool room(const struct stage *stage)
{
	return mr_lane_free_bytes(&stage->writer) >= stage->mode->value_bytes + 40;
}

static void wait_for_room(struct stage *stage)
{
	if (!stage->mode->sleeps) {
		sched_yield();
		return;
	}
	mr_lane_set_waiting(&stage->writer, true);
	if (!room(stage))
		(void)mr_doorbell_wait(stage->producer_bell, 20); /* the time-out is part of it */
	mr_lane_set_waiting(&stage->writer, false);
}

static void publish(struct stage *stage)
{
	if (mr_lane_publish(&stage->writer) > 0 && stage->mode->sleeps &&
	    mr_lane_worker_sleeps(&stage->writer))
		mr_doorbell_ring(stage->worker_bell);
}

static void put(struct stage *stage)
{
	uint64_t number = stage->writer.number;
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES,
		.value_bytes = (int32_t)bytes_of(stage->mode, number),
	};
	void *payload;

	while (mr_lane_reserve(&stage->writer, &record, 0, &payload) < 0) {
		publish(stage);
		wait_for_room(stage);
	}
	memset(payload, (int)(number % 251), (size_t)record.value_bytes);
}

/* Takes the receipts there are; each acknowledged record is covered once, at the right offset. */
static uint64_t check_receipts(struct stage *stage, uint64_t covered)
{
	struct mr_receipt receipts[16];
	uint32_t count = mr_lane_receipts(&stage->writer, receipts, 16);

	for (uint32_t i = 0; i < count; i++) {
		if (receipts[i].first != covered)
			die("a receipt does not follow the one before");
		if (receipts[i].base_offset != MR_OFFSET_UNKNOWN &&
		    receipts[i].base_offset != 1000 + covered)
			die("a receipt has a wrong offset");
		covered += receipts[i].count;
	}
	return covered;
}

static void wait_for_reason(struct stage *stage)
{
	char text[248];

	while (mr_lane_reason(&stage->writer, text) == MR_LANE_OPEN)
		sched_yield();
	if (strcmp(text, "all records came") != 0)
		die("the reason was seen before its text");
}

static void *produce(void *arg)
{
	struct stage *stage = arg;
	uint64_t covered = 0;

	for (uint32_t i = 0; i < stage->mode->records; i++) {
		put(stage);
		if (mr_lane_reserved(&stage->writer) == 1 + i % stage->mode->batch)
			publish(stage);
		if (i % 64 == 0)
			covered = check_receipts(stage, covered);
	}
	publish(stage);
	while (covered < stage->mode->records)
		covered = check_receipts(stage, covered);
	if (mr_lane_acknowledged(&stage->writer) > stage->mode->records)
		die("more was acknowledged than published");
	wait_for_reason(stage);
	return NULL;
}

/* ---- the worker ------------------------------------------------------------------------------ */

static void check_frame(const struct stage *stage, const struct mr_lane_frame *frame)
{
	uint64_t number = frame->head.number;

	if (frame->head.value_bytes != bytes_of(stage->mode, number))
		die("a frame has a wrong size");
	for (uint32_t i = 0; i < frame->head.value_bytes; i++)
		if (frame->value[i] != (uint8_t)(number % 251))
			die("a value is not whole");
}

/*
 * The short way, block by block: what it reads behind a frame was published, too. Returns the
 * frame's slots, or 0: it is not for this one.
 */
static uint32_t take_plain(const struct stage *stage, uint32_t ahead, uint32_t available,
			   uint64_t expected)
{
	const struct mr_lane_reader *reader = &stage->reader;
	const uint8_t *at =
		reader->slots + (size_t)((reader->cursor + ahead) & reader->mask) * MR_SLOT_BYTES;
	static uint8_t copy[8192 + MR_BATCH_BLOCK_BYTES];
	struct mr_lane_plain plain;

	if (!mr_lane_reader_plain(reader, at, at + (size_t)(available - ahead) * MR_SLOT_BYTES,
				  expected, &plain))
		return 0;
	if (plain.value_bytes != bytes_of(stage->mode, expected))
		die("a plain frame has a wrong size");
	(void)mr_batch_put_blocks(copy, plain.payload, plain.value_bytes);
	for (uint64_t i = 0; i < plain.value_bytes; i++)
		if (copy[i] != (uint8_t)(expected % 251))
			die("a plain frame's value is not whole");
	return (uint32_t)((plain.bytes + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES);
}

/* Takes what was published; returns the frames. */
static uint32_t drain(struct stage *stage)
{
	struct mr_lane_reader *reader = &stage->reader;
	struct mr_error err;
	int64_t available = mr_lane_reader_poll(reader, &err);
	struct mr_lane_frame frame;
	uint32_t ahead = 0, frames = 0;

	must((int)available, &err);
	while (ahead < available) {
		uint32_t slots =
			take_plain(stage, ahead, (uint32_t)available, reader->next_number + frames);

		if (slots > 0) {
			ahead += slots;
			frames++;
			continue;
		}
		must(mr_lane_reader_frame(reader, ahead, (uint32_t)available,
					  reader->next_number + frames, &frame, &err),
		     &err);
		check_frame(stage, &frame);
		ahead += frame.slots;
		frames++;
	}
	mr_lane_reader_take(reader, ahead, frames);
	return frames;
}

static void wait_for_records(struct stage *stage)
{
	struct pollfd bells = {.fd = stage->worker_set, .events = POLLIN};
	struct mr_error err;

	if (!stage->mode->sleeps) {
		sched_yield();
		return;
	}
	mr_lane_set_asleep(&stage->reader, true);
	if (mr_lane_reader_poll(&stage->reader, &err) == 0)
		(void)poll(&bells, 1, 20); /* the time-out is part of it */
	mr_lane_set_asleep(&stage->reader, false);
	mr_doorbell_set_clear(stage->worker_set);
}

/* Drains that are not acknowledged yet. */
struct waiting {
	uint32_t index[8];
	uint64_t number[8];
	uint32_t count[8];
	uint32_t first;
	uint32_t held;
};

static void acknowledge(struct stage *stage, struct waiting *waiting)
{
	uint32_t i = waiting->first++ % 8;

	waiting->held--;
	mr_lane_acknowledge(&stage->reader, waiting->index[i], waiting->number[i],
			    1000 + waiting->number[i] - waiting->count[i], waiting->count[i]);
	if (stage->mode->sleeps && mr_lane_producer_waits(&stage->reader))
		mr_doorbell_ring(stage->ring_producer);
}

static void *work(void *arg)
{
	struct stage *stage = arg;
	struct waiting waiting = {0};

	while (stage->reader.next_number < stage->mode->records || waiting.held > 0) {
		uint32_t frames = drain(stage);
		uint32_t i = (waiting.first + waiting.held) % 8;

		if (frames > 0) {
			waiting.index[i] = mr_lane_reader_index(&stage->reader);
			waiting.number[i] = stage->reader.next_number;
			waiting.count[i] = frames;
			waiting.held++;
		}
		if (waiting.held > (frames > 0 ? stage->mode->behind : 0))
			acknowledge(stage, &waiting);
		else if (frames == 0)
			wait_for_records(stage);
	}
	mr_lane_poison(&stage->reader, MR_LANE_CLOSED, "all records came");
	return NULL;
}

/* ---- a mode ---------------------------------------------------------------------------------- */

static void *crowd(void *arg)
{
	struct stage *stage = arg;

	while (!atomic_load(&stage->over))
		sched_yield();
	return NULL;
}

static void open_stage(struct stage *stage)
{
	static const struct mr_lane_identity identity;
	static const uint8_t mac[32];
	struct mr_lane_engine_page *engine;
	struct mr_error err;
	uint32_t bytes = stage->mode->lane_bytes;

	must(mr_lane_create_client(bytes, &stage->client_fd, &err), &err);
	must(mr_lane_create_engine(&identity, mac, 1 << 20, 0, 0, &stage->engine_fd, &engine, &err),
	     &err);
	must(mr_lane_writer_open(stage->client_fd, stage->engine_fd, bytes, 0, &stage->writer,
				 &err),
	     &err);
	must(mr_region_seal(stage->client_fd, &err), &err);
	must(mr_lane_reader_open(stage->client_fd, engine, bytes, &stage->reader, &err), &err);
	must(stage->worker_bell = mr_doorbell_open(&err), &err);
	must(stage->worker_set = mr_doorbell_set_open(&err), &err);
	must(mr_doorbell_set_add(stage->worker_set, stage->worker_bell, &err), &err);
	must(mr_doorbell_open_pair(&stage->ring_producer, &stage->producer_bell, &err), &err);
}

static void close_stage(struct stage *stage)
{
	mr_lane_writer_close(&stage->writer);
	mr_lane_reader_close(&stage->reader);
	close(stage->client_fd);
	close(stage->engine_fd);
	close(stage->worker_bell);
	close(stage->worker_set);
	close(stage->ring_producer);
	close(stage->producer_bell);
}

/* Runs producer, worker and crowd to their ends. */
static void run_threads(struct stage *stage)
{
	pthread_t producer, worker, crowds[8];

	for (uint32_t i = 0; i < stage->mode->crowd; i++)
		if (pthread_create(&crowds[i], NULL, crowd, stage) != 0)
			die("no thread");
	if (pthread_create(&worker, NULL, work, stage) != 0)
		die("no thread");
	if (pthread_create(&producer, NULL, produce, stage) != 0)
		die("no thread");
	pthread_join(producer, NULL);
	pthread_join(worker, NULL);
	atomic_store(&stage->over, true);
	for (uint32_t i = 0; i < stage->mode->crowd; i++)
		pthread_join(crowds[i], NULL);
}

static void run(const struct mode *mode)
{
	struct stage stage = {.mode = mode};
	struct mr_lane_writer writer;
	struct mr_lane_reader reader;

	open_stage(&stage);
	writer = stage.writer;
	reader = stage.reader;
	/* The same addresses on both sides, as the file's comment says. */
	stage.reader.client = writer.client;
	stage.reader.slots = (const uint8_t *)(writer.ring + 1);
	stage.writer.engine = reader.engine;
	stage.writer.receipts = reader.receipts;
	run_threads(&stage);
	stage.reader.client = reader.client;
	stage.writer.engine = writer.engine;
	close_stage(&stage);
	printf("lane: %s: %u records\n", mode->name, mode->records);
}

int main(void)
{
	for (size_t i = 0; i < mr_array_count(modes); i++)
		run(&modes[i]);
	return 0;
}
