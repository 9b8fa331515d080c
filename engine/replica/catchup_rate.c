/* SPDX-License-Identifier: Apache-2.0 */
/* See catchup_rate.h. All is kept in time, so that a slow rate loses nothing to rounding. */
#include "catchup_rate.h"

#define SAVED_MAX_NS  INT64_C(100000000)
#define BYTES_MAX     (UINT64_C(1) << 40) /* in one read, far more than there is */
#define NS_PER_SECOND UINT64_C(1000000000)
#define WAIT_MAX_NS   (INT64_C(1) << 60)

void mr_catchup_rate_init(struct mr_catchup_rate *rate, uint64_t bytes_per_second, uint64_t now_ns)
{
	*rate = (struct mr_catchup_rate){
		.bytes_per_second = bytes_per_second, .now_ns = now_ns, .saved_ns = SAVED_MAX_NS};
}

uint64_t mr_catchup_rate_wait_ns(struct mr_catchup_rate *rate, uint64_t now_ns)
{
	int64_t passed;

	if (rate->bytes_per_second == 0)
		return 0;
	passed = now_ns - rate->now_ns < (uint64_t)WAIT_MAX_NS ? (int64_t)(now_ns - rate->now_ns)
							       : WAIT_MAX_NS;
	rate->now_ns = now_ns;
	rate->saved_ns += passed;
	if (rate->saved_ns > SAVED_MAX_NS)
		rate->saved_ns = SAVED_MAX_NS;
	return rate->saved_ns >= 0 ? 0 : (uint64_t)-rate->saved_ns;
}

void mr_catchup_rate_spend(struct mr_catchup_rate *rate, uint64_t bytes)
{
	__uint128_t parts, ns;

	if (rate->bytes_per_second == 0)
		return;
	parts = (__uint128_t)(bytes < BYTES_MAX ? bytes : BYTES_MAX) * NS_PER_SECOND + rate->rest;
	ns = parts / rate->bytes_per_second;
	rate->rest = (uint64_t)(parts % rate->bytes_per_second);
	rate->saved_ns -= ns < (__uint128_t)WAIT_MAX_NS ? (int64_t)ns : WAIT_MAX_NS;
	if (rate->saved_ns < -WAIT_MAX_NS)
		rate->saved_ns = -WAIT_MAX_NS;
}
