/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments of a data directory that has one topic of one partition, for questions that read
 * them: which there are, how fast they are read raw, and that they are not in memory.
 */
#ifndef MR_BENCH_LOGS_H
#define MR_BENCH_LOGS_H

#include <limits.h>
#include <stdint.h>

#include "bench.h"

#define MR_BENCH_LOGS_MAX 256

struct mr_bench_log_file {
	char path[PATH_MAX];
	uint64_t base_offset; /* as its name says */
	uint64_t bytes;
};

/* 'files' in the log's order. */
struct mr_bench_logs {
	struct mr_bench_log_file files[MR_BENCH_LOGS_MAX];
	uint32_t count;
};

/* Below "DIRECTORY/topics/ID/0". -ENOENT: there is none; -E2BIG: more than fit. */
int mr_bench_logs_find(const char *directory, struct mr_bench_logs *logs, struct mr_error *err);
uint64_t mr_bench_logs_bytes(const struct mr_bench_logs *logs, uint32_t count);
/* The first 'count' files by mr_raw_reads(), 1 MiB each and 4 in flight. Bytes/s of all, [0]: into
 * ordinary memory, [1]: into huge pages. */
int mr_bench_logs_read(struct mr_bench_run *run, const struct mr_bench_logs *logs, uint32_t count,
		       int core, struct mr_bench_sample *sample, struct mr_error *err);
/* Nothing of them is in the page cache. */
void mr_bench_logs_drop(const struct mr_bench_logs *logs);
/* Removes a directory and all in it; 0 too if it is not there. */
int mr_bench_remove(const char *directory, struct mr_error *err);
/* The calling thread runs on 'core' from now on; -1: on any that it may. */
int mr_bench_pin(const struct mr_bench_run *run, int core, struct mr_error *err);
/* The first core that no worker of 'workers' (bits) has; -1: they have all. */
int mr_bench_free_core(const struct mr_bench_run *run, uint64_t workers);

#endif
