/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of frames between one producer and one consumer, as plain as it can be: two indexes in
 * memory that both see, each side with a private copy of the other's that it renews only when it
 * must. A frame carries its length and its number, and the reader looks at both, since without that
 * no reader could tell a lost frame; there is no acknowledgement, and nothing is known of what is
 *in a frame. The limit that a lane is measured against, and nothing else uses it. A frame lies in
 *one piece; where it would not, the end is padded.
 *
 *	producer: reserve ... publish		consumer: poll, next ... release
 */
#ifndef MR_BENCH_BYTE_RING_H
#define MR_BENCH_BYTE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Before each frame's bytes. */
struct mr_byte_frame {
	uint32_t bytes; /* with this; a multiple of 8 */
	uint32_t kind;	/* 0: padding, and no number: there may be no room for it */
	uint64_t number;
};

#define MR_BYTE_PAD_BYTES offsetof(struct mr_byte_frame, number)

/* In shared memory, zeroed; 'bytes' follow. Positions count bytes and never wrap. */
struct mr_byte_ring {
	_Alignas(64) _Atomic uint64_t published; /* the producer's */
	_Alignas(64) _Atomic uint64_t released;	 /* the consumer's */
	_Alignas(64) uint8_t bytes[];
};

struct mr_byte_writer {
	struct mr_byte_ring *ring;
	uint64_t size, mask; /* a power of two */
	uint64_t at;	     /* next frame */
	uint64_t number;     /* of the next frame */
	uint64_t released;   /* as far as we know */
};

struct mr_byte_reader {
	struct mr_byte_ring *ring;
	uint64_t mask;
	uint64_t at, published;
	uint64_t number; /* that the next frame must carry */
	bool bad;	 /* a frame was not what it must be: nothing more is read */
};

static inline size_t mr_byte_ring_room(uint32_t bytes)
{
	return sizeof(struct mr_byte_ring) + bytes;
}

static inline void mr_byte_writer_init(struct mr_byte_writer *writer, struct mr_byte_ring *ring,
				       uint32_t bytes)
{
	*writer = (struct mr_byte_writer){.ring = ring, .size = bytes, .mask = bytes - 1};
}

static inline void mr_byte_reader_init(struct mr_byte_reader *reader, struct mr_byte_ring *ring,
				       uint32_t bytes)
{
	*reader = (struct mr_byte_reader){.ring = ring, .mask = bytes - 1};
}

/* Room for a frame of 'bytes', head and all (a multiple of 8); where what follows the head goes.
 * NULL: full. */
static inline void *mr_byte_ring_reserve(struct mr_byte_writer *writer, uint32_t bytes)
{
	uint64_t left = writer->size - (writer->at & writer->mask);
	uint64_t needed = left < bytes ? left + bytes : bytes;
	uint8_t *at;

	if (writer->at + needed - writer->released > writer->size) {
		/* the consumer has done with all before it; pairs with mr_byte_ring_release() */
		writer->released =
			atomic_load_explicit(&writer->ring->released, memory_order_acquire);
		if (writer->at + needed - writer->released > writer->size)
			return NULL;
	}
	at = writer->ring->bytes + (writer->at & writer->mask);
	if (left < bytes) {
		struct mr_byte_frame pad = {.bytes = (uint32_t)left};

		memcpy(at, &pad, MR_BYTE_PAD_BYTES);
		writer->at += left;
		at = writer->ring->bytes;
	}
	memcpy(at, &(struct mr_byte_frame){.bytes = bytes, .kind = 1, .number = writer->number++},
	       sizeof(struct mr_byte_frame));
	writer->at += bytes;
	return at + sizeof(struct mr_byte_frame);
}

static inline void mr_byte_ring_publish(struct mr_byte_writer *writer)
{
	/* the frames are whole; pairs with mr_byte_ring_poll() */
	atomic_store_explicit(&writer->ring->published, writer->at, memory_order_release);
}

/* Bytes that are there to read. */
static inline uint64_t mr_byte_ring_poll(struct mr_byte_reader *reader)
{
	/* pairs with mr_byte_ring_publish() */
	reader->published = atomic_load_explicit(&reader->ring->published, memory_order_acquire);
	return reader->published - reader->at;
}

/* The next frame that was polled, with its head; NULL: padding was all there was, or 'bad' says it.
 */
static inline const uint8_t *mr_byte_ring_next(struct mr_byte_reader *reader, uint32_t *bytes)
{
	while (reader->at < reader->published) {
		const uint8_t *at = reader->ring->bytes + (reader->at & reader->mask);
		struct mr_byte_frame head;

		memcpy(&head, at, MR_BYTE_PAD_BYTES);
		reader->bad = head.bytes - 1ull > reader->mask;
		if (__builtin_expect(reader->bad, 0))
			return NULL;
		reader->at += head.bytes;
		*bytes = head.bytes;
		if (__builtin_expect(!head.kind, 0))
			continue;
		memcpy(&head.number, at + MR_BYTE_PAD_BYTES, sizeof(head.number));
		reader->bad = head.number != reader->number++;
		return __builtin_expect(reader->bad, 0) ? NULL : at;
	}
	return NULL;
}

/* All before the next frame may be overwritten. */
static inline void mr_byte_ring_release(struct mr_byte_reader *reader)
{
	/* we have read it; pairs with mr_byte_ring_reserve() */
	atomic_store_explicit(&reader->ring->released, reader->at, memory_order_release);
}

#endif
