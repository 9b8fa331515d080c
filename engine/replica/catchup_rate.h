/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the catch-up reader may read: a bucket that fills with time and that each read takes its
 * bytes from afterwards, into debt if need be, since before a read nobody knows how much it is. In
 * any stretch of time not more is read than the rate allows for it, a tenth of a second's worth,
 * and one read. Pure; belongs to one thread.
 */
#ifndef MR_CATCHUP_RATE_H
#define MR_CATCHUP_RATE_H

#include <stdint.h>

struct mr_catchup_rate {
	uint64_t bytes_per_second; /* 0: no bound */
	uint64_t now_ns;	   /* when 'saved_ns' was worked out */
	uint64_t rest;		   /* of a nanosecond, in parts of 'bytes_per_second' */
	int64_t saved_ns; /* time in which nothing was read; negative: how long what was read takes
			   */
};

void mr_catchup_rate_init(struct mr_catchup_rate *rate, uint64_t bytes_per_second, uint64_t now_ns);
/* 0: read. Else so long later. 'now_ns' never goes back. */
uint64_t mr_catchup_rate_wait_ns(struct mr_catchup_rate *rate, uint64_t now_ns);
void mr_catchup_rate_spend(struct mr_catchup_rate *rate, uint64_t bytes);

#endif
