/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of frames between one producer and one consumer, as plain as it can be: two indexes in
 * memory that both see, each side with a private copy of the other's that it renews only when it
 * must. No checks, no numbers, no acknowledgement: the limit that a lane is measured against, and
 * nothing else uses it. A frame lies in one piece; where it would not, the end is padded.
 *
 *	producer: reserve ... publish		consumer: poll, next ... release
 */
#ifndef MR_BENCH_BYTE_RING_H
#define MR_BENCH_BYTE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Before each frame's bytes. */
struct mr_byte_frame {
	uint32_t bytes; /* with this; a multiple of 8 */
	uint32_t kind;	/* 0: padding */
};

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
	uint64_t released;   /* as far as we know */
};

struct mr_byte_reader {
	struct mr_byte_ring *ring;
	uint64_t mask;
	uint64_t at, published;
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

static inline void mr_byte_ring_put_head(struct mr_byte_writer *writer, uint32_t bytes,
					 uint32_t kind)
{
	struct mr_byte_frame head = {.bytes = bytes, .kind = kind};

	memcpy(writer->ring->bytes + (writer->at & writer->mask), &head, sizeof(head));
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
	if (left < bytes) {
		mr_byte_ring_put_head(writer, (uint32_t)left, 0);
		writer->at += left;
	}
	mr_byte_ring_put_head(writer, bytes, 1);
	at = writer->ring->bytes + (writer->at & writer->mask);
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

/* The next frame that was polled, with its head; NULL: padding was all there was. */
static inline const uint8_t *mr_byte_ring_next(struct mr_byte_reader *reader, uint32_t *bytes)
{
	while (reader->at < reader->published) {
		const uint8_t *at = reader->ring->bytes + (reader->at & reader->mask);
		struct mr_byte_frame head;

		memcpy(&head, at, sizeof(head));
		reader->at += head.bytes;
		*bytes = head.bytes;
		if (head.kind)
			return at;
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
