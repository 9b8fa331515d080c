/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time-outs as a moment of the monotonic clock, so that a wait made of slices ends when it should.
 * The library's own; the engine asks its struct mr_clock.
 */
#ifndef MR_DEADLINE_H
#define MR_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#define MR_DEADLINE_NEVER UINT64_MAX
#define MR_DEADLINE_OVER  0 /* over from the start, and no clock is read to know it */

uint64_t mr_deadline_now_ns(void);

/* MR_WAIT_FOR_EVER gives MR_DEADLINE_NEVER, 0 gives MR_DEADLINE_OVER. */
uint64_t mr_deadline_after(uint32_t timeout_ms);

/* What is left in ms, rounded up and at most 'most'; 0 when it is over. */
uint32_t mr_deadline_left_ms(uint64_t deadline, uint32_t most);

bool mr_deadline_over(uint64_t deadline);

#endif
