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
 */
#ifndef MR_LANE_H
#define MR_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"
#include "millrace/format.h"

struct rte_ring;

/* ---- the producer's side; owned by the producing thread -------------------------------------- */

struct mr_lane_writer {
	struct rte_ring *ring;			/* private header, slots behind it */
	struct mr_lane_client_page *client;	/* ours: we write */
	const struct mr_lane_engine_page *engine; /* theirs: we read */
	const struct mr_lane_receipt *receipts;
	uint64_t number;	/* number of the next frame */
	uint64_t published;	/* frames made visible */
	uint64_t receipts_taken;
	uint32_t lane_bytes;
	uint32_t reserved_slots; /* reserved, not yet published */
	uint32_t reserved_frames;
	uint32_t record_bytes_max; /* key + value + headers */
};

/*
 * Maps a lane for writing from its two memfds (borrowed). 'number' is what the engine said. The
 * client's page and slots are mapped once for all the lane's life, before the engine seals them.
 */
int mr_lane_writer_open(int client_fd, int engine_fd, uint32_t lane_bytes, uint64_t number,
			struct mr_lane_writer *out, struct mr_error *err);
/*
 * After a hand-back: reads the new engine's page from now on. The old page stays mapped until the
 * caller unmaps *old (MR_LANE_ENGINE_BYTES): another thread may still be looking at it.
 */
int mr_lane_writer_switch(struct mr_lane_writer *writer, int engine_fd, const void **old,
			  struct mr_error *err);
void mr_lane_writer_close(struct mr_lane_writer *writer);

/*
 * Reserves a frame: header filled in, key copied, *payload is where value (then headers) go. 0;
 * -EAGAIN: full; -EMSGSIZE: can never fit; -EPIPE: the engine closed the lane. Nothing is visible
 * before publish.
 */
int mr_lane_reserve(struct mr_lane_writer *writer, const struct mr_record *record,
		    uint32_t header_bytes, void **payload);
uint32_t mr_lane_publish(struct mr_lane_writer *writer);  /* W1; returns frames made visible */
uint32_t mr_lane_abandon(struct mr_lane_writer *writer);  /* returns frames dropped */
/* True if the worker said that it sleeps: the caller then rings its doorbell. After publish. */
bool mr_lane_worker_sleeps(const struct mr_lane_writer *writer);

/* Frames acknowledged so far: the engine's number. Acquires. */
uint64_t mr_lane_acknowledged(const struct mr_lane_writer *writer);
uint32_t mr_lane_free_bytes(const struct mr_lane_writer *writer);
enum mr_lane_reason mr_lane_reason(const struct mr_lane_writer *writer, char text[248]);
/*
 * Takes receipts in order, up to 'max' (count 0 marks none). Those that were overwritten come as
 * one with base offset MR_OFFSET_UNKNOWN. 'first' counts from 0.
 */
uint32_t mr_lane_receipts(struct mr_lane_writer *writer, struct mr_receipt *receipts, uint32_t max);

/* ---- the engine's side; owned by the worker thread ------------------------------------------- */

struct mr_lane_reader {
	struct rte_ring *ring;
	const struct mr_lane_client_page *client;
	struct mr_lane_engine_page *engine;
	struct mr_lane_receipt *receipts;
	uint64_t next_number;	/* what the next frame must carry */
	uint64_t receipts_written;
	uint32_t lane_bytes;
	uint32_t record_bytes_max;
};

/* A frame as the worker sees it: a checked copy of the header, and where its bytes lie. */
struct mr_lane_frame {
	struct mr_frame head;	/* our private copy */
	const uint8_t *key;	/* shared memory: read each byte once only */
	const uint8_t *value;
	const uint8_t *headers;
	uint32_t header_bytes;
	uint32_t slots;
};

/*
 * Makes the two memfds of a new lane: *client_fd unsealed against writing (rule S1: seal with
 * mr_region_seal() after "mapped"), *engine_fd sealed and mapped in *engine. The engine page
 * carries identity and 'mac'. 'node' >= 0: memory of that NUMA node, by the caller's mbind between
 * create and first touch.
 */
int mr_lane_create_client(uint32_t lane_bytes, int *client_fd, struct mr_error *err);
int mr_lane_create_engine(const struct mr_lane_identity *identity, const uint8_t mac[32],
			  uint32_t record_bytes_max, uint32_t start_index, uint64_t start_number,
			  int *engine_fd, struct mr_lane_engine_page **engine,
			  struct mr_error *err);

/*
 * Maps the client's memfd for reading only, checked (mr_region_check), populated, and begins at the
 * engine page's index. 'engine' is taken on success.
 */
int mr_lane_reader_open(int client_fd, struct mr_lane_engine_page *engine, uint32_t lane_bytes,
			struct mr_lane_reader *out, struct mr_error *err);
void mr_lane_reader_close(struct mr_lane_reader *reader);

/*
 * Looks once at the producer's index (R1): slots that may be read now. -EBADMSG: the index is
 * impossible (the client wrote nonsense: poison).
 */
int64_t mr_lane_reader_poll(struct mr_lane_reader *reader);
/*
 * The frame at slot 'ahead' past the read cursor, of 'available' slots polled. 0, or -EBADMSG with
 * a sentence. Number and sizes are checked: the number must be next_number + frames already taken
 * in this drain ('expected').
 */
int mr_lane_reader_frame(const struct mr_lane_reader *reader, uint32_t ahead, uint32_t available,
			 uint64_t expected, struct mr_lane_frame *frame, struct mr_error *err);
/*
 * Moves the read cursor past 'slots' slots that held 'frames' frames. They are not acknowledged
 * yet.
 */
void mr_lane_reader_take(struct mr_lane_reader *reader, uint32_t slots, uint32_t frames);
/* The read cursor as an index: what to acknowledge once the frames taken so far are safe. */
uint32_t mr_lane_reader_index(const struct mr_lane_reader *reader);

/* Writes a receipt (if count > 0), then number, then the index (W2). */
void mr_lane_acknowledge(struct mr_lane_reader *reader, uint32_t index, uint64_t next_number,
			 uint64_t base_offset, uint32_t count);
/* The lane takes no more: text first, then the reason (W3). */
void mr_lane_poison(struct mr_lane_reader *reader, enum mr_lane_reason reason, const char *text);
/* W5: fence after, then poll again */
void mr_lane_set_asleep(struct mr_lane_reader *reader, bool asleep);
bool mr_lane_producer_waits(const struct mr_lane_reader *reader);

#endif
