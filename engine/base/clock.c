/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's clocks. Runs on any thread, owns nothing. Monotonic time goes on while the process
 * is stopped, but not while the machine is suspended; wall time may jump.
 */
#include "clock.h"

#include <time.h>

static uint64_t system_monotonic_ns(const struct mr_clock *clock)
{
	struct timespec now;

	(void)clock;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t system_wall_ms(const struct mr_clock *clock)
{
	struct timespec now;

	(void)clock;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const struct mr_clock mr_clock_system = {
	.monotonic_ns = system_monotonic_ns,
	.wall_ms = system_wall_ms,
};
