/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through one ring between two processes at full speed, each frame read out with a copy: by
 * a lane (ringbuf/lane.h), and by the plain byte ring that bounds it. Both carry frames of the same
 * size, head and all, in the same amount of shared memory, and rest alike.
 */
#ifndef MR_BENCH_RINGS_H
#define MR_BENCH_RINGS_H

#include "bench.h"

struct mr_rings {
	int producer_core, consumer_core;
	uint32_t frame_bytes; /* with its head; a multiple of 8, at least 40 */
	uint32_t burst;	      /* frames a publish */
	uint32_t ring_bytes;
	uint32_t rest_pauses; /* of the consumer after a take of less than MR_RINGS_SMALL_TAKE */
	double seconds;
};
#define MR_RINGS_SMALL_TAKE 4096u

/* For mr_bench_pairs(); 'arg' is a struct mr_rings. [0]: p90, [1]: median of windows of 2 ms, in
 * frames/s; [2]: frames in all */
int mr_rings_lane(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		  struct mr_error *err);
int mr_rings_bytes(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		   struct mr_error *err);

#endif
