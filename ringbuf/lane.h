/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane: one producer's ring into one partition. DPDK's rte_ring runs on each side over a
 * private header that ends on a page boundary, with the shared slots mapped (twice in a row) right
 * behind it: geometry and own indexes never lie where the other side could change them (rule S3).
 *
 *	client's memfd	[ index page | slots ]		client writes, engine reads
 *	engine's memfd	[ engine page | receipts ]	engine writes, client reads
 *
 * Indexes: published (client) >= read cursor (engine, private) >= acknowledged (engine). The engine
 * publishes 'acknowledged' only when the records have reached the lane's acks level, so the lane
 * itself keeps what is not safe yet. Ordered accesses: ringbuf/README.md.
 *
 * A drain by the worker:
 *
 *	available = mr_lane_reader_poll()		one look at the client's index
 *	mr_lane_reader_frame(ahead) ... ahead += slots	copy a header, check it, use the copy
 *	mr_lane_reader_take(ahead, frames)		move the cursor past them
 *	... the records are safe ...
 *	mr_lane_acknowledge(index after the take)	the client may reuse the slots
 */
#ifndef MR_LANE_H
#define MR_LANE_H

#include <errno.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_ring_peek_zc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "millrace.h"
#include "millrace/format.h"

#define MR_LANE_BYTES_MIN MR_PAGE_BYTES
#define MR_LANE_BYTES_MAX (128u << 20) /* so that a number's low half in a receipt is enough */

/*
 * The largest frame of a lane: what the partition takes, but at most half of the lane, so that a
 * record can be written while the one before it is not acknowledged yet. Both sides compute it.
 */
static inline uint32_t mr_lane_frame_bytes_max(uint32_t lane_bytes, uint32_t record_bytes_max)
{
	uint64_t most = sizeof(struct mr_frame) + (uint64_t)record_bytes_max;

	return most < lane_bytes / 2 ? (uint32_t)most : lane_bytes / 2;
}

/* ---- the producer's side; owned by the producing thread -------------------------------------- */

/*
 * published <= number: between them are the frames reserved, whose slots lie between the tail of
 * the private ring and 'head'. Numbers count from what the engine said at open (0 in a new lane).
 *
 * What changes with every frame lies here and not in the ring, so that it can stay in registers
 * where a caller reserves and publishes in a struct of its own: the inline calls below take no
 * address of it.
 */
struct mr_lane_writer {
	struct rte_ring *ring; /* private header, slots behind it; head: only while it is used */
	uint8_t *slots;
	uint32_t mask;	/* of slots */
	uint32_t head;	/* index of the next frame */
	uint32_t limit; /* index that 'head' may reach: slots before it are known to be free */
	uint32_t record_bytes_max; /* key + value + headers, as half of the lane holds them */
	struct mr_lane_client_page *client;	  /* ours: we write */
	const struct mr_lane_engine_page *engine; /* theirs: we read */
	const struct mr_lane_receipt *receipts;
	uint64_t number;	  /* number of the next frame */
	uint64_t published;	  /* number of the first frame not visible yet */
	uint64_t receipts_taken;  /* of this engine's */
	uint64_t receipts_number; /* number of the first record that no receipt taken covers */
	uint32_t lane_bytes;
};

/*
 * Maps a lane for writing from its two memfds (borrowed). 'number' is what the engine said. The
 * client's page and slots are mapped once for all the lane's life, before the engine seals them.
 */
int mr_lane_writer_open(int client_fd, int engine_fd, uint32_t lane_bytes, uint64_t number,
			struct mr_lane_writer *out, struct mr_error *err);
/*
 * After a hand-back, on the producing thread: reads the new engine's page from now on. The old page
 * stays mapped until the caller unmaps *old (MR_LANE_ENGINE_BYTES): another thread may still be
 * looking at it. Receipts of the old page that were not taken become MR_OFFSET_UNKNOWN: take them
 * before.
 */
int mr_lane_writer_switch(struct mr_lane_writer *writer, int engine_fd, const void **old,
			  struct mr_error *err);
void mr_lane_writer_close(struct mr_lane_writer *writer);

/*
 * Word 0 of a plain frame is its bytes, its kind, and its flags from bit MR_LANE_FLAGS_BIT on; it
 * has no headers.
 */
#define MR_LANE_FLAGS_BIT    40
#define MR_LANE_NULL_KEY     ((uint64_t)MR_FRAME_NULL_KEY << MR_LANE_FLAGS_BIT)
#define MR_LANE_PLAIN_RECORD ((uint64_t)MR_FRAME_RECORD << 32)
#define MR_LANE_PLAIN_FLAGS  (MR_FRAME_NULL_KEY | MR_FRAME_NULL_VALUE)

static_assert(offsetof(struct mr_frame, kind) == 4, "word 0: bytes, kind, flags, header count");
static_assert(offsetof(struct mr_frame, flags) == 5, "word 0");
static_assert(offsetof(struct mr_frame, header_count) == 6, "word 0");
static_assert(offsetof(struct mr_frame, number) == 8, "word 1");
static_assert(offsetof(struct mr_frame, timestamp_ms) == 16, "word 2");
static_assert(offsetof(struct mr_frame, key_bytes) == 24, "word 3: key, value");
static_assert(offsetof(struct mr_frame, value_bytes) == 28, "word 3");

/* As mr_lane_reserve(), for any record and where the room known is too small. */
int mr_lane_reserve_any(struct mr_lane_writer *writer, const struct mr_record *record,
			uint32_t header_bytes, void **payload);

/* Two words that are stored as one. Packed: slots begin at any multiple of 8. */
struct mr_lane_pair {
	uint64_t words __attribute__((vector_size(16)));
} __attribute__((packed, aligned(MR_SLOT_BYTES)));

/*
 * The header of a frame at 'at', by two stores: how much a producer may have on its way to memory
 * is counted in stores, and where lines come slowly from another core it waits for nothing else.
 */
static inline void mr_lane_put_head(uint8_t *at, uint64_t word0, uint64_t word1, uint64_t word2,
				    uint64_t word3)
{
	struct mr_lane_pair *pairs = (void *)at;

	pairs[0] = (struct mr_lane_pair){.words = {word0, word1}};
	pairs[1] = (struct mr_lane_pair){.words = {word2, word3}};
}

/*
 * A frame without headers in what is known to be free, its header written as four words; where its
 * key goes. NULL: it is not to be had so, for whatever reason. 'kind': word 0 without the bytes.
 */
static inline __attribute__((always_inline)) uint8_t *
mr_lane_take_plain(struct mr_lane_writer *writer, uint64_t kind, uint64_t key_bytes,
		   uint64_t value_bytes, int64_t timestamp_ms)
{
	uint64_t bytes = sizeof(struct mr_frame) + key_bytes + value_bytes;
	uint32_t slots = (uint32_t)((bytes + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES);
	uint8_t *at;

	if (__builtin_expect(key_bytes + value_bytes > writer->record_bytes_max, 0))
		return NULL;
	/* R3: pairs with W3. */
	if (__builtin_expect(atomic_load_explicit(&writer->engine->reason, memory_order_acquire) !=
				     MR_LANE_OPEN,
			     0))
		return NULL;
	if (__builtin_expect(slots > writer->limit - writer->head, 0))
		return NULL;
	at = writer->slots + (size_t)(writer->head & writer->mask) * MR_SLOT_BYTES;
	mr_lane_put_head(at, kind + bytes, writer->number, (uint64_t)timestamp_ms,
			 key_bytes | value_bytes << 32);
	writer->head += slots;
	writer->number++;
	return at + sizeof(struct mr_frame);
}

/*
 * mr_lane_reserve_any() with copies: what of the caller's is known outside would have to lie in
 * memory on the short way, too.
 */
static inline int mr_lane_reserve_slowly(struct mr_lane_writer *writer, struct mr_record record,
					 uint32_t header_bytes, void **payload)
{
	struct mr_lane_writer copy = *writer;
	void *found = NULL;
	int r = mr_lane_reserve_any(&copy, &record, header_bytes, &found);

	*writer = copy;
	*payload = found;
	return r;
}

static inline uint8_t *mr_lane_put_key(uint8_t *at, const void *key, uint32_t key_bytes)
{
	if (key_bytes > 0)
		memcpy(at, key, key_bytes);
	return at + key_bytes;
}

/*
 * Reserves a frame: header filled in, key copied, *payload is where value (then headers) go. 0;
 * -EAGAIN: full; -EMSGSIZE: can never fit; -EPIPE: the engine closed the lane. Nothing is visible
 * before publish. The record's timestamp is taken as it is: the caller has read the clock. Its
 * value and headers are not looked at.
 *
 * Inline is what nearly all records need: no headers, a value, and room that is known. What does
 * not hold here is found out, and told, by mr_lane_reserve_any(); a null value's -1 is more than
 * any lane takes.
 */
static inline int mr_lane_reserve(struct mr_lane_writer *writer, const struct mr_record *record,
				  uint32_t header_bytes, void **payload)
{
	uint32_t key_bytes = (uint32_t)record->key_bytes;
	uint32_t value_bytes = (uint32_t)record->value_bytes;
	uint8_t *at = NULL;

	if (__builtin_expect((header_bytes | record->header_count) == 0, 1)) {
		/* a branch that one producer nearly always takes alike */
		if (record->key_bytes < 0) {
			at = mr_lane_take_plain(writer, MR_LANE_PLAIN_RECORD | MR_LANE_NULL_KEY, 0,
						value_bytes, record->timestamp_ms);
		} else {
			at = mr_lane_take_plain(writer, MR_LANE_PLAIN_RECORD, key_bytes,
						value_bytes, record->timestamp_ms);
			if (at)
				at = mr_lane_put_key(at, record->key, key_bytes);
		}
	}
	*payload = at;
	if (__builtin_expect(!at, 0))
		return mr_lane_reserve_slowly(writer, *record, header_bytes, payload);
	return 0;
}

/* Frames reserved and not published yet. */
static inline uint32_t mr_lane_reserved(const struct mr_lane_writer *writer)
{
	return (uint32_t)(writer->number - writer->published);
}

/* Returns the frames made visible. */
static inline uint32_t mr_lane_publish(struct mr_lane_writer *writer)
{
	uint32_t frames = mr_lane_reserved(writer), index = writer->head;

	if (frames == 0)
		return 0;
	writer->ring->prod.tail = index;
	/* W1: the frames are visible before the index is. Pairs with R1 in mr_lane_reader_poll().
	 */
	atomic_store_explicit(&writer->client->published, index, memory_order_release);
	writer->published = writer->number;
	return frames;
}

uint32_t mr_lane_abandon(struct mr_lane_writer *writer); /* returns frames dropped */
/*
 * True if the worker said that it sleeps (R5): the caller then rings its doorbell. After publish;
 * it fences.
 */
bool mr_lane_worker_sleeps(const struct mr_lane_writer *writer);
/* W6: "wake me when your index moves". With true it fences: look once more before sleeping. */
void mr_lane_set_waiting(struct mr_lane_writer *writer, bool waiting);

/* Frames acknowledged so far: the engine's number (R4). Acquires. */
uint64_t mr_lane_acknowledged(const struct mr_lane_writer *writer);
uint32_t mr_lane_free_bytes(const struct mr_lane_writer *writer);
/* R3: why the engine closed the lane, and its sentence; MR_LANE_OPEN and "" while it is open. */
enum mr_lane_reason mr_lane_reason(const struct mr_lane_writer *writer, char text[248]);
/*
 * Takes receipts in order, up to 'max', so that each acknowledged record is covered once; returns
 * how many. Records whose receipt was overwritten, or that never got one, come with base offset
 * MR_OFFSET_UNKNOWN. 'first' counts from 0 as the lane's numbers do; 'partition' is the identity's.
 */
uint32_t mr_lane_receipts(struct mr_lane_writer *writer, struct mr_receipt *receipts, uint32_t max);

/* ---- the engine's side; owned by the worker thread ------------------------------------------- */

struct mr_lane_reader {
	struct rte_ring *ring;
	const uint8_t *slots; /* right behind the ring: for reading, twice in a row */
	const struct mr_lane_client_page *client;
	struct mr_lane_engine_page *engine;
	struct mr_lane_receipt *receipts;
	uint64_t next_number; /* what the next frame must carry */
	uint64_t receipts_written;
	uint32_t cursor;       /* index of the next frame: the ring's consumer tail */
	uint32_t acknowledged; /* index, as published: our own copy */
	uint32_t mask;	       /* of slots */
	uint32_t lane_bytes;
	uint64_t frame_bytes_max; /* wide, to be compared with sums that do not wrap */
};

/* A frame as the worker sees it: a checked copy of the header, and where its bytes lie. */
struct mr_lane_frame {
	struct mr_frame head; /* our private copy */
	const uint8_t *key;   /* shared memory: read each byte once only */
	const uint8_t *value;
	const uint8_t *headers;
	uint32_t header_bytes;
	uint32_t slots;
};

/*
 * Makes the two memfds of a new lane: *client_fd unsealed against writing (rule S1: seal with
 * mr_region_seal() after "mapped"), *engine_fd sealed and mapped in *engine. The engine page
 * carries identity and 'mac'. The client's memfd is not touched here, so that the caller can bind
 * it to a node before.
 */
int mr_lane_create_client(uint32_t lane_bytes, int *client_fd, struct mr_error *err);
int mr_lane_create_engine(const struct mr_lane_identity *identity, const uint8_t mac[32],
			  uint32_t record_bytes_max, uint32_t start_index, uint64_t start_number,
			  int *engine_fd, struct mr_lane_engine_page **engine,
			  struct mr_error *err);

/*
 * Copies the page of an engine that is gone out of a memfd that a client hands back; borrows it.
 * Size, seals, magic and version are checked, the identity's MAC is not: that is the caller's.
 * -EBADMSG.
 */
int mr_lane_copy_engine(int engine_fd, struct mr_lane_engine_page *copy, struct mr_error *err);

/*
 * Maps the client's sealed memfd for reading only, checked (mr_region_check), populated, and begins
 * at the engine page's index and number. 'engine' is taken on success. -EBADMSG: it is not a lane.
 */
int mr_lane_reader_open(int client_fd, struct mr_lane_engine_page *engine, uint32_t lane_bytes,
			struct mr_lane_reader *out, struct mr_error *err);
void mr_lane_reader_close(struct mr_lane_reader *reader);

/*
 * Looks once at the producer's index (R1): slots that may be read now. -EBADMSG with a sentence:
 * the index is impossible (the client wrote nonsense: poison).
 */
int64_t mr_lane_reader_poll(struct mr_lane_reader *reader, struct mr_error *err);

/*
 * For a lane that was handed back, after a poll that found something: the next number is what the
 * first frame carries. Its old engine may have died between writing number and index, so it may be
 * lower by as many frames as the lane holds; any other number the client made up, and the frame is
 * then refused.
 */
void mr_lane_reader_resume(struct mr_lane_reader *reader);

/* Says which field of 'head' is wrong; NULL: there is no room for a header. */
__attribute__((cold)) void mr_lane_refuse(const struct mr_lane_reader *reader,
					  const struct mr_frame *head, uint32_t slots_left,
					  uint64_t expected, struct mr_error *err);

/* Sizes fit into each other and into 'slots_left', in 64 bits so that no sum wraps. */
static inline bool mr_lane_frame_fits(const struct mr_lane_reader *reader,
				      const struct mr_frame *head, uint32_t slots_left)
{
	uint64_t known = sizeof(*head) + (uint64_t)head->key_bytes + head->value_bytes;
	uint64_t header_bytes = (uint64_t)head->bytes - known;

	if (known > head->bytes)
		return false;
	if (head->bytes > reader->frame_bytes_max)
		return false;
	if (head->bytes > (uint64_t)slots_left * MR_SLOT_BYTES)
		return false;
	/* a header is two lengths at least, and what no header is counted for does not exist */
	return header_bytes >= 2u * head->header_count &&
	       (head->header_count > 0 || header_bytes == 0);
}

static inline bool mr_lane_frame_means(const struct mr_frame *head, uint64_t expected)
{
	if (head->kind != MR_FRAME_RECORD || head->number != expected)
		return false;
	if (head->flags & ~(MR_FRAME_NULL_KEY | MR_FRAME_NULL_VALUE))
		return false;
	if ((head->flags & MR_FRAME_NULL_KEY) && head->key_bytes > 0)
		return false;
	return !(head->flags & MR_FRAME_NULL_VALUE) || head->value_bytes == 0;
}

/* relaxed: after R1. Once: the client may be changing it, and no compiler may look twice. */
#define mr_lane_read_once(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

static inline struct mr_frame mr_lane_copy_head(const uint8_t *at)
{
	const struct mr_frame *from = (const void *)at;

	return (struct mr_frame){
		.bytes = mr_lane_read_once(from->bytes),
		.kind = mr_lane_read_once(from->kind),
		.flags = mr_lane_read_once(from->flags),
		.header_count = mr_lane_read_once(from->header_count),
		.number = mr_lane_read_once(from->number),
		.timestamp_ms = mr_lane_read_once(from->timestamp_ms),
		.key_bytes = mr_lane_read_once(from->key_bytes),
		.value_bytes = mr_lane_read_once(from->value_bytes),
	};
}

/*
 * The frame at slot 'ahead' past the read cursor, of 'available' slots polled. 0, or -EBADMSG with
 * a sentence. Number and sizes are checked: the number must be next_number + frames already taken
 * in this drain ('expected').
 */
static inline int mr_lane_reader_frame(const struct mr_lane_reader *reader, uint32_t ahead,
				       uint32_t available, uint64_t expected,
				       struct mr_lane_frame *frame, struct mr_error *err)
{
	uint32_t left = available - ahead;
	const uint8_t *at =
		reader->slots + (size_t)((reader->cursor + ahead) & reader->mask) * MR_SLOT_BYTES;
	struct mr_frame head;

	mr_assert(ahead < available);
	if (__builtin_expect(left < sizeof(head) / MR_SLOT_BYTES, 0)) {
		mr_lane_refuse(reader, NULL, left, expected, err);
		return -EBADMSG;
	}
	head = mr_lane_copy_head(at);
	if (__builtin_expect(!mr_lane_frame_means(&head, expected) ||
				     !mr_lane_frame_fits(reader, &head, left),
			     0)) {
		mr_lane_refuse(reader, &head, left, expected, err);
		return -EBADMSG;
	}
	frame->head = head;
	frame->key = at + sizeof(head);
	frame->value = frame->key + head.key_bytes;
	frame->headers = frame->value + head.value_bytes;
	frame->header_bytes =
		head.bytes - (uint32_t)sizeof(head) - head.key_bytes - head.value_bytes;
	frame->slots = (head.bytes + MR_SLOT_BYTES - 1) / MR_SLOT_BYTES;
	return 0;
}

/* What may be read behind a plain frame's payload, so that it can be copied in blocks. */
#define MR_LANE_SLACK_BYTES 32u

/* A frame as nearly all are: no headers, and more behind it. All of it is a checked copy. */
struct mr_lane_plain {
	const uint8_t *payload; /* shared memory: key, then value; slack behind them */
	const uint8_t *next;	/* where the frame behind it begins */
	int64_t timestamp_ms;
	uint64_t key_bytes;
	uint64_t value_bytes;
	uint64_t null_key; /* 0 or 1 */
	uint64_t null_value;
	uint64_t bytes;	  /* of the frame */
	uint64_t what;	  /* its first word: bytes, kind, flags */
	uint64_t lengths; /* its last one */
};

/*
 * The frame at 'at', of those polled up to 'end': true if it is plain and right in all that
 * mr_lane_reader_frame() asks, by the same rules: each word is loaded once. False says nothing:
 * ask there. It is the worker's hottest code, so each question is put in as few words as there are:
 *
 *	sizes		key and value are what counts, and their sum, which does not wrap in 64
 *			bits, is held against our bound and against what was published
 *	word 0		is then what it has to be for that sum, but for the two flags: with what it
 *			has to be taken off, and turned so that the flags come first, 0 to 3 is left
 */
static inline bool mr_lane_reader_plain(const struct mr_lane_reader *reader, const uint8_t *at,
					const uint8_t *end, uint64_t expected,
					struct mr_lane_plain *plain)
{
	const uint8_t *limit = end - MR_LANE_SLACK_BYTES, *payload = at + sizeof(struct mr_frame);
	const uint64_t *words = (const void *)at;
	uint64_t what, lengths, key_bytes, value_bytes, bytes, flags;

	if (__builtin_expect(payload > limit, 0))
		return false;
	what = mr_lane_read_once(words[0]);    /* bytes, kind, flags, header count */
	lengths = mr_lane_read_once(words[3]); /* key, value */
	if (__builtin_expect(mr_lane_read_once(words[1]) != expected, 0))
		return false;
	key_bytes = (uint32_t)lengths;
	value_bytes = lengths >> 32;
	bytes = sizeof(struct mr_frame) + key_bytes + value_bytes;
	if (__builtin_expect(bytes > reader->frame_bytes_max, 0))
		return false;
	if (__builtin_expect(at + bytes > limit, 0))
		return false;
	flags = what - (MR_LANE_PLAIN_RECORD + bytes);
	flags = flags >> MR_LANE_FLAGS_BIT | flags << (64 - MR_LANE_FLAGS_BIT);
	if (__builtin_expect(flags > MR_LANE_PLAIN_FLAGS, 0))
		return false;
	/* what is null has no bytes */
	if ((flags & MR_FRAME_NULL_KEY) && __builtin_expect(key_bytes > 0, 0))
		return false;
	if ((flags & MR_FRAME_NULL_VALUE) && __builtin_expect(value_bytes > 0, 0))
		return false;
	*plain = (struct mr_lane_plain){
		.payload = payload,
		.next = at + ((bytes + MR_SLOT_BYTES - 1) & ~(uint64_t)(MR_SLOT_BYTES - 1)),
		.timestamp_ms = (int64_t)mr_lane_read_once(words[2]),
		.key_bytes = key_bytes,
		.value_bytes = value_bytes,
		.null_key = flags & MR_FRAME_NULL_KEY,
		.null_value = flags / MR_FRAME_NULL_VALUE,
		.bytes = bytes,
		.what = what,
		.lengths = lengths,
	};
	return true;
}

/*
 * Moves the read cursor past 'slots' slots that held 'frames' frames. They are not acknowledged
 * yet.
 */
void mr_lane_reader_take(struct mr_lane_reader *reader, uint32_t slots, uint32_t frames);

/*
 * Back to what was acknowledged last: all behind it is read again. What was taken may be lost, or
 * be in a log that somebody else goes on with.
 */
void mr_lane_reader_rewind(struct mr_lane_reader *reader);

/* The read cursor as an index: what to acknowledge once the frames taken so far are safe. */
static inline uint32_t mr_lane_reader_index(const struct mr_lane_reader *reader)
{
	return reader->cursor;
}

/*
 * Writes a receipt (if count > 0) for the 'count' records before 'next_number', then number (W4),
 * then the index (W2). Slots up to 'index' must not be looked at again.
 */
void mr_lane_acknowledge(struct mr_lane_reader *reader, uint32_t index, uint64_t next_number,
			 uint64_t base_offset, uint32_t count);
/* The lane takes no more: text first, then the reason (W3). A second reason is dropped. */
void mr_lane_poison(struct mr_lane_reader *reader, enum mr_lane_reason reason, const char *text);
/* W5: "ring me when you publish". With true it fences: poll once more before sleeping. */
void mr_lane_set_asleep(struct mr_lane_reader *reader, bool asleep);
/* R6: true if the producer sleeps until the index moves. After mr_lane_acknowledge(); it fences. */
bool mr_lane_producer_waits(const struct mr_lane_reader *reader);
/* The same where the caller has fenced since, with memory_order_seq_cst: once for many lanes. */
static inline bool mr_lane_producer_waits_fenced(const struct mr_lane_reader *reader)
{
	/* R6, relaxed: the fence orders it */
	return atomic_load_explicit(&reader->client->waiting, memory_order_relaxed) != 0;
}

#endif
