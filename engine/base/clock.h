/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to time. Two clocks, never mixed: monotonic for time-outs and durations, wall time
 * for what records and people see. No safety rule depends on the wall clock. A test can put its own
 * clock behind it.
 */
#ifndef MR_CLOCK_H
#define MR_CLOCK_H

#include <stdint.h>

struct mr_clock {
	uint64_t (*monotonic_ns)(const struct mr_clock *clock);
	int64_t (*wall_ms)(const struct mr_clock *clock); /* since 1970-01-01 UTC */
};

/* The machine's clocks. */
extern const struct mr_clock mr_clock_system;

static inline uint64_t mr_clock_monotonic_ns(const struct mr_clock *clock)
{
	return clock->monotonic_ns(clock);
}

static inline int64_t mr_clock_wall_ms(const struct mr_clock *clock)
{
	return clock->wall_ms(clock);
}

#endif
