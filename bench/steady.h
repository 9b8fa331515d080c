/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine under a steady load: what the questions about durable records share.
 */
#ifndef MR_BENCH_STEADY_H
#define MR_BENCH_STEADY_H

#include "engine_process.h"
#include "load.h"
#include "raw_disk.h"

/* A log that fills and is emptied behind: the engine removes segments while it is measured. */
#define MR_STEADY_SEGMENT_BYTES (256ull << 20)
#define MR_STEADY_KEEP_BYTES	(1ull << 30)
#define MR_STEADY_CONFIG                                                                           \
	"segment_bytes: 256 MiB\nfirst_segment_bytes: 256 MiB\nretention_bytes: 1 GiB\n"

#define MR_STEADY_WINDOW_NS 20000000u /* of time that counts, or does not; as raw_disk.c */

/* An engine that is measured, and where it and its load run. */
struct mr_steady_engine {
	struct mr_bench_engine *engine;
	int load_core, worker_core; /* as the two functions below; of the first of each */
	uint64_t cores;		    /* whose gaps disturb */
};
/* Starts an engine, has 'measure' use it, and stops it. Of two failures the first is said. */
int mr_steady_with_engine(struct mr_bench_run *run, const struct mr_bench_engine_options *options,
			  int (*measure)(struct mr_bench_run *run,
					 const struct mr_steady_engine *at, void *arg,
					 struct mr_error *err),
			  void *arg, struct mr_error *err);

/* The engine's own counts and the CPU time of its threads, at one moment. */
struct mr_steady_counts {
	uint64_t records, batches, batch_bytes; /* appended */
	uint64_t groups, written_bytes;		/* padding included */
	uint64_t full_disk, full_segment;	/* turns that found a lane waiting and no room */
	uint64_t worker_ns, engine_ns;
};
void mr_steady_read(const struct mr_bench_engine *engine, struct mr_steady_counts *counts);
/* What was added between 'from' and 'to'. */
struct mr_steady_counts mr_steady_between(const struct mr_steady_counts *from,
					  const struct mr_steady_counts *to);
/* Bytes of the log that carry something: batches and groups' headers, not the padding. */
uint64_t mr_steady_log_bytes(const struct mr_steady_counts *counts);

/* The 'number'th core, round and round, of those without a worker; where all have one, of all. */
int mr_steady_load_core(const struct mr_bench_run *run, const struct mr_bench_engine *engine,
			uint32_t number);
/* The core of the (first) worker; -1: it is not pinned. */
int mr_steady_worker_core(const struct mr_bench_engine *engine);

/* The cores whose gaps disturb: the workers', the first load's, and where the disk interrupts. */
uint64_t mr_steady_cores(const struct mr_bench_run *run, const struct mr_bench_engine *engine);

/*
 * One load by itself, 'counts' of what the engine did for it. On success the caller frees the
 * events by mr_bench_load_free().
 */
int mr_steady_load(struct mr_bench_run *run, const struct mr_bench_engine *engine,
		   const struct mr_bench_load *load, struct mr_bench_load_result *result,
		   struct mr_steady_counts *counts, struct mr_error *err);

/* Acknowledged records/s while a load published, after its warm-up, stalls and all. */
double mr_steady_rate(const struct mr_bench_load_result *result);
/*
 * The same of 'count' loads together, from when all publish until the first ends, over the windows
 * that no gap on the cores of 'mask' disturbed: what was acknowledged in them by their length, as
 * mr_raw_writes() counts; a stall of the disk or the engine is in it. With all windows disturbed:
 * over all of them, and *disturbed is 1.
 */
double mr_steady_undisturbed_rate(const struct mr_bench_run *run,
				  const struct mr_bench_load_result *results, uint32_t count,
				  uint64_t mask, double *disturbed);

#endif
