/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk's limits, with nothing of Millrace in them: io_uring, O_DIRECT, RWF_DSYNC, one thread.
 */
#ifndef MR_BENCH_RAW_DISK_H
#define MR_BENCH_RAW_DISK_H

#include "bench.h"
#include "histogram.h"

enum mr_raw_filling {
	MR_RAW_WRITTEN,	  /* into blocks written before, round and round */
	MR_RAW_ALLOCATED, /* into blocks that fallocate() made, one file */
	MR_RAW_SEGMENTS,  /* as a log fills: file after file of segment_bytes, each allocated ahead
			     by  another thread, the oldest removed beyond keep_bytes */
};

struct mr_raw_writes {
	const char *directory;
	uint32_t bytes; /* of a write */
	uint32_t in_flight;
	bool durable; /* RWF_DSYNC */
	enum mr_raw_filling filling;
	uint64_t file_bytes; /* or of a segment */
	uint64_t keep_bytes; /* MR_RAW_SEGMENTS */
	double rate;	     /* writes/s, open loop, one in flight; 0: as many as go */
	double seconds;
	int core;	 /* -1: not pinned */
	bool huge_pages; /* from memory in huge pages, where the kernel gives them: see below */
};

/*
 * In ordinary memory a request of 1 MiB is 256 pieces, one a page. A disk that copies (virtio) may
 * take several times as long for them as for one piece, which memory in huge pages makes of it.
 */
struct mr_raw_reads {
	const char *path;
	uint32_t bytes; /* of a read */
	uint32_t in_flight;
	int core; /* -1: not pinned */
	bool huge_pages;
};

struct mr_raw_result {
	double bytes_per_second, requests_per_second;
	double disturbed;
};

/* Latencies, submit to completion, of undisturbed windows are added to 'latencies' (may be NULL).
 */
int mr_raw_writes(struct mr_bench_run *run, const struct mr_raw_writes *writes,
		  struct mr_histogram *latencies, struct mr_raw_result *result,
		  struct mr_error *err);

/* Sequential O_DIRECT reads of a file, once. */
int mr_raw_reads(struct mr_bench_run *run, const struct mr_raw_reads *reads,
		 struct mr_raw_result *result, struct mr_error *err);

#endif
