/* SPDX-License-Identifier: Apache-2.0 */
/* What time it is, for measurements: CLOCK_MONOTONIC, the same on all cores and in all processes.
 */
#ifndef MR_BENCH_NOW_H
#define MR_BENCH_NOW_H

#include "base/clock.h"

static inline uint64_t mr_bench_now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

#endif
