/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as a log fills them, with nothing of Millrace in them: the next one is allocated ahead by a
 * thread of its own, the oldest ones are removed by another, so that neither stands in the way of
 * the thread that writes. All functions are that thread's.
 */
#ifndef MR_BENCH_RAW_SEGMENTS_H
#define MR_BENCH_RAW_SEGMENTS_H

#include <stdint.h>

#include "error.h"

struct mr_raw_segments;

/* One file, owned by the writing thread between take and remove. */
struct mr_raw_segment {
	int fd; /* O_DIRECT */
	uint32_t number;
	uint32_t in_flight; /* the writer's: it may be removed at 0 */
	struct mr_raw_segment *next;
};

/* 'directory' is borrowed until close. Starts both threads. */
int mr_raw_segments_open(const char *directory, uint64_t segment_bytes,
			 struct mr_raw_segments **out, struct mr_error *err);
/* The file that was made ahead; waits for it where it is not there yet. The next is begun. */
int mr_raw_segments_take(struct mr_raw_segments *segments, struct mr_raw_segment **out,
			 struct mr_error *err);
/* Takes a file that has no write in flight: closed and removed by the other thread. */
void mr_raw_segments_remove(struct mr_raw_segments *segments, struct mr_raw_segment *segment);
/* Waits until all that was given is removed, and removes the one ahead. Takes NULL. */
void mr_raw_segments_close(struct mr_raw_segments *segments);

#endif
