/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path from a lane to the tail in miniature, with all that is not the path left out: a producer
 * writes values into slots that both see, by an rte_ring over a private header; a worker encodes
 * them as Kafka's records into a tail that is mapped twice in a row, with the batch's checksum. No
 * keys, no checks of what the producer wrote, no acknowledgement beyond the index, no readers. The
 * limit that the engine's path in memory is measured against.
 *
 * The two sides may live in two processes; each opens its own from the same descriptors.
 */
#ifndef MR_BENCH_MINIATURE_H
#define MR_BENCH_MINIATURE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "bench.h"

#define MR_MINIATURE_SLOTS_BYTES (1u << 20)
#define MR_MINIATURE_TAIL_BYTES	 (64u << 20)

struct rte_ring;

/* In memory that both see, zeroed. */
struct mr_miniature_indexes {
	_Alignas(64) _Atomic uint32_t published; /* slots; the producer's */
	_Alignas(64) _Atomic uint32_t released;	 /* the worker's */
};

struct mr_miniature_producer {
	struct rte_ring *ring; /* private header, slots behind it */
	struct mr_miniature_indexes *indexes;
};

struct mr_miniature_worker {
	const uint8_t *slots; /* mapped twice in a row, for reading */
	void *slots_map;
	struct mr_miniature_indexes *indexes;
	uint8_t *tail; /* mapped twice in a row */
	uint64_t position, records;
	uint32_t cursor;
};

/* A batch that a drain made. */
struct mr_miniature_batch {
	const uint8_t *bytes; /* in the tail: until it has gone once round */
	uint32_t byte_count, records;
};

/* The memfd of the slots; or a negative errno. */
int mr_miniature_create(struct mr_error *err);

/* Each side maps 'slots_fd' (borrowed) for itself. */
int mr_miniature_producer_open(int slots_fd, struct mr_miniature_indexes *indexes,
			       struct mr_miniature_producer *out, struct mr_error *err);
void mr_miniature_producer_close(struct mr_miniature_producer *producer);
int mr_miniature_worker_open(int slots_fd, struct mr_miniature_indexes *indexes,
			     struct mr_miniature_worker *out, struct mr_error *err);
void mr_miniature_worker_close(struct mr_miniature_worker *worker);

/* Publishes up to 'count' records of the same value; how many there was room for. */
uint32_t mr_miniature_publish(struct mr_miniature_producer *producer, const void *value,
			      uint32_t value_bytes, int64_t timestamp_ms, uint32_t count);
/* Encodes all that is there, at most a MiB of it; false: there was nothing. */
bool mr_miniature_drain(struct mr_miniature_worker *worker, struct mr_miniature_batch *batch);

/* For mr_bench_pairs(): two processes at full speed. */
struct mr_miniature {
	int producer_core, worker_core;
	uint32_t value_bytes;
	uint32_t burst; /* records a publish */
	double seconds;
};
/* 'arg' is a struct mr_miniature. [0]: median, [1]: p90 of windows, records/s */
int mr_miniature_rate(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err);

#endif
