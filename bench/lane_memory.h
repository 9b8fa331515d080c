/* SPDX-License-Identifier: Apache-2.0 */
/* The half of the question `lane` that has an engine: lane to batch to tail, in memory. */
#ifndef MR_BENCH_LANE_MEMORY_H
#define MR_BENCH_LANE_MEMORY_H

#include "bench.h"

int mr_lane_memory(struct mr_bench_run *run, struct mr_error *err);

#endif
