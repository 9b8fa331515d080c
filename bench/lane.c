/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question `lane`: frames through a lane against the plainest ring that does the same, between the
 * same two cores; then records through an engine in memory, lane to batch to tail, against that
 * path in miniature (lane_memory.c).
 *
 * A frame of 64 bytes is 64 bytes of shared memory on both sides, head and all: a lane's head has
 * 32 of them, which say what the batch needs; the plain ring's has 16, length, kind and number.
 * Figures with the same payload instead stand beside them.
 *
 *	both		number each frame, copy the payload in by memcpy, look at length and number,
 *			copy the frame out head and all in blocks of 32 bytes, give the room back
 *once a drain of at most 32 KiB, and rest alike the lane also	asks whether the engine closed it,
 *writes and checks flags, sizes of key and value and the time, and writes a receipt and a number a
 *drain
 */
#include "bench.h"
#include "lane_memory.h"
#include "rings.h"

#include <errno.h>

#define SECONDS	      0.5
#define RING_BYTES    (512u << 10)
#define FRAME_BYTES   64u
#define PAYLOAD_BYTES 64u /* where the payloads are the same */
#define LANE_HEAD     32u
#define PLAIN_HEAD    16u
#define REST_PAUSES   16 /* as the worker's, after a small take */

/* One pair of rings, and the figures of it. */
struct row {
	uint32_t lane_frame, plain_frame, burst, rest_pauses;
	struct mr_bench_figure figures[2];
};

enum { P90 = 0, MEDIAN };

static const struct row rows[] = {
	{FRAME_BYTES,
	 FRAME_BYTES,
	 32,
	 0,
	 {{"lane, 32 frames of 64 B per publish, p90", "frames/s", "SPSC byte ring", P90, P90,
	   MR_BENCH_AT_LEAST, 0.95},
	  {"lane, 32 frames of 64 B per publish, median", "frames/s", "SPSC byte ring", MEDIAN,
	   MEDIAN, MR_BENCH_REPORT, 0}}},
	{FRAME_BYTES,
	 FRAME_BYTES,
	 1,
	 REST_PAUSES,
	 {{"lane, 1 frame of 64 B per publish, p90", "frames/s", "SPSC byte ring, same rest", P90,
	   P90, MR_BENCH_AT_LEAST, 0.85},
	  {"lane, 1 frame of 64 B per publish, median", "frames/s", "SPSC byte ring, same rest",
	   MEDIAN, MEDIAN, MR_BENCH_REPORT, 0}}},
	{LANE_HEAD + PAYLOAD_BYTES,
	 PLAIN_HEAD + PAYLOAD_BYTES,
	 32,
	 0,
	 {{"lane, 32 payloads of 64 B per publish, p90", "frames/s", "SPSC byte ring", P90, P90,
	   MR_BENCH_REPORT, 0},
	  {"lane, 32 payloads of 64 B per publish, median", "frames/s", "SPSC byte ring", MEDIAN,
	   MEDIAN, MR_BENCH_REPORT, 0}}},
};

static int measure_row(struct mr_bench_run *run, const struct row *row, const uint32_t cores[2],
		       struct mr_error *err)
{
	struct mr_rings lane = {
		.producer_core = (int)cores[0],
		.consumer_core = (int)cores[1],
		.frame_bytes = row->lane_frame,
		.burst = row->burst,
		.ring_bytes = RING_BYTES,
		.rest_pauses = row->rest_pauses,
		.seconds = mr_bench_seconds(run, SECONDS),
	};
	struct mr_rings plain = lane;
	struct mr_bench_measure ours = {.take = mr_rings_lane, .arg = &lane};
	struct mr_bench_measure limit = {.take = mr_rings_bytes, .arg = &plain};

	plain.frame_bytes = row->plain_frame;
	mr_bench_progress(run, "%s", row->figures[0].name);
	return mr_bench_pairs(run, 0, &ours, &limit, row->figures, 2, err);
}

int mr_bench_lane(struct mr_bench_run *run, struct mr_error *err)
{
	uint32_t cores[2];
	int r = 0;

	if (mr_bench_cores(run, cores, 2) < 2)
		return mr_error_set(err, -ENOTSUP,
				    "two cores are needed: one for the producer, one for the "
				    "reader");
	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(*rows); i++)
		r = measure_row(run, &rows[i], cores, err);
	return r < 0 ? r : mr_lane_memory(run, err);
}
