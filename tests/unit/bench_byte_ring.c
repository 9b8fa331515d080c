/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the byte ring that lanes are measured against: what goes in comes out, whole,
 * in order and once, also around the end and between two threads; it is full when it is, and
 * nothing is seen before it is published.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "byte_ring.h"

#define RING_BYTES 1024u

static struct mr_byte_ring *ring;
static struct mr_byte_writer writer;
static struct mr_byte_reader reader;

static void begin(void)
{
	ring = aligned_alloc(64, mr_byte_ring_room(RING_BYTES));
	cr_assert_not_null(ring);
	memset(ring, 0, mr_byte_ring_room(RING_BYTES));
	mr_byte_writer_init(&writer, ring, RING_BYTES);
	mr_byte_reader_init(&reader, ring, RING_BYTES);
}

static bool put(uint64_t number, uint32_t bytes)
{
	uint8_t *at = mr_byte_ring_reserve(&writer, bytes);

	if (!at)
		return false;
	memset(at, (int)(number & 0xff), bytes - sizeof(struct mr_byte_frame));
	memcpy(at, &number, sizeof(number));
	return true;
}

/* Reads one frame that was polled and looks at every byte of it. */
static void expect(uint64_t number, uint32_t bytes)
{
	uint32_t found = 0;
	const uint8_t *at = mr_byte_ring_next(&reader, &found);
	uint64_t value;

	cr_assert_not_null(at);
	cr_assert_eq(found, bytes);
	memcpy(&value, at + sizeof(struct mr_byte_frame), sizeof(value));
	cr_assert_eq(value, number);
	for (uint32_t i = sizeof(struct mr_byte_frame) + sizeof(value); i < bytes; i++)
		cr_assert_eq(at[i], number & 0xff);
}

Test(bench_byte_ring, shows_nothing_before_it_is_published)
{
	uint32_t bytes;

	begin();
	cr_assert(put(1, 64));
	cr_assert_eq(mr_byte_ring_poll(&reader), 0);
	cr_assert_null(mr_byte_ring_next(&reader, &bytes));
	mr_byte_ring_publish(&writer);
	cr_assert_eq(mr_byte_ring_poll(&reader), 64);
	expect(1, 64);
	cr_assert_null(mr_byte_ring_next(&reader, &bytes));
	free(ring);
}

Test(bench_byte_ring, is_full_until_what_was_read_is_released)
{
	begin();
	for (uint64_t i = 0; i < RING_BYTES / 64; i++)
		cr_assert(put(i, 64));
	cr_assert_not(put(99, 64));
	mr_byte_ring_publish(&writer);
	cr_assert_eq(mr_byte_ring_poll(&reader), RING_BYTES);
	expect(0, 64);
	cr_assert_not(put(99, 64), "read, but not released");
	mr_byte_ring_release(&reader);
	cr_assert(put(16, 64));
	cr_assert_not(put(99, 64));
	free(ring);
}

Test(bench_byte_ring, keeps_frames_whole_around_the_end)
{
	uint32_t bytes, sizes[] = {32, 104, 56, 232, 24, 80};
	uint64_t number = 0;

	begin();
	for (int round = 0; round < 1000; round++) {
		uint64_t first = number;

		for (int i = 0; i < 2; i++, number++)
			cr_assert(put(number, sizes[number % 6]));
		mr_byte_ring_publish(&writer);
		cr_assert_gt(mr_byte_ring_poll(&reader), 0);
		for (uint64_t i = first; i < number; i++)
			expect(i, sizes[i % 6]);
		cr_assert_null(mr_byte_ring_next(&reader, &bytes));
		mr_byte_ring_release(&reader);
	}
	cr_assert_gt(writer.at, 50 * RING_BYTES, "it went round often");
	free(ring);
}

/* The consumer may stop short of what is published, wherever that is: a reader that looked for
 * exactly that position went round for ever. */
Test(bench_byte_ring, stops_short_after_a_whole_frame)
{
	uint32_t bytes;

	begin();
	for (uint64_t i = 0; i < 4; i++)
		cr_assert(put(i, 72));
	mr_byte_ring_publish(&writer);
	cr_assert_eq(mr_byte_ring_poll(&reader), 4 * 72);
	reader.published = 100;
	expect(0, 72);
	expect(1, 72);
	cr_assert_null(mr_byte_ring_next(&reader, &bytes));
	mr_byte_ring_release(&reader);
	cr_assert_eq(mr_byte_ring_poll(&reader), 2 * 72);
	expect(2, 72);
	free(ring);
}

/* What a real reader must look at: a frame that is lost, and a length that no ring can hold. */
Test(bench_byte_ring, takes_no_frame_with_a_wrong_number_or_length)
{
	struct mr_byte_frame *frame;
	uint32_t bytes;

	begin();
	frame = (void *)(ring->bytes + 64);
	cr_assert(put(0, 64) && put(1, 64));
	mr_byte_ring_publish(&writer);
	frame->number = 2;
	cr_assert_eq(mr_byte_ring_poll(&reader), 128);
	expect(0, 64);
	cr_assert_null(mr_byte_ring_next(&reader, &bytes));
	cr_assert(reader.bad);
	for (int i = 0; i < 2; i++) {
		mr_byte_reader_init(&reader, ring, RING_BYTES);
		frame->bytes = i ? 0 : RING_BYTES + 8;
		cr_assert_eq(mr_byte_ring_poll(&reader), 128);
		expect(0, 64);
		cr_assert_not(reader.bad);
		cr_assert_null(mr_byte_ring_next(&reader, &bytes));
		cr_assert(reader.bad);
	}
	free(ring);
}

#define FRAMES 200000u

static void *produce(void *arg)
{
	for (uint64_t i = 0; i < FRAMES; i++) {
		while (!put(i, 24 + 8 * (uint32_t)(i % 11))) {
			mr_byte_ring_publish(&writer);
			sched_yield();
		}
		if (i % 7 == 0)
			mr_byte_ring_publish(&writer);
	}
	mr_byte_ring_publish(&writer);
	return NULL;
}

Test(bench_byte_ring, passes_all_between_two_threads)
{
	pthread_t thread;
	uint64_t number = 0;

	begin();
	cr_assert_eq(pthread_create(&thread, NULL, produce, NULL), 0);
	while (number < FRAMES) {
		if (!mr_byte_ring_poll(&reader))
			sched_yield();
		/* padding alone is no frame: the position tells whether one is left */
		while (reader.at < reader.published && number < FRAMES) {
			uint32_t bytes;
			const uint8_t *at = mr_byte_ring_next(&reader, &bytes);
			uint64_t value;

			if (!at)
				break;
			memcpy(&value, at + sizeof(struct mr_byte_frame), sizeof(value));
			cr_assert_eq(value, number);
			cr_assert_eq(bytes, 24 + 8 * (number % 11));
			number++;
		}
		mr_byte_ring_release(&reader);
	}
	pthread_join(thread, NULL);
	free(ring);
}
