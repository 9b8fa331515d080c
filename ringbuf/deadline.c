/* SPDX-License-Identifier: Apache-2.0 */
/* The library's clock for time-outs: any thread, owns nothing. It never goes back. */
#include "deadline.h"

#include <time.h>

#include "millrace.h"

uint64_t mr_deadline_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mr_deadline_after(uint32_t timeout_ms)
{
	if (timeout_ms == MR_WAIT_FOR_EVER)
		return MR_DEADLINE_NEVER;
	if (timeout_ms == 0)
		return MR_DEADLINE_OVER;
	return mr_deadline_now_ns() + timeout_ms * UINT64_C(1000000);
}

uint32_t mr_deadline_left_ms(uint64_t deadline, uint32_t most)
{
	uint64_t now, left;

	if (deadline == MR_DEADLINE_NEVER)
		return most;
	if (deadline == MR_DEADLINE_OVER)
		return 0;
	now = mr_deadline_now_ns();
	if (now >= deadline)
		return 0;
	left = (deadline - now + 999999) / 1000000;
	return left < most ? (uint32_t)left : most;
}

bool mr_deadline_over(uint64_t deadline)
{
	if (deadline == MR_DEADLINE_NEVER || deadline == MR_DEADLINE_OVER)
		return deadline == MR_DEADLINE_OVER;
	return mr_deadline_now_ns() >= deadline;
}
