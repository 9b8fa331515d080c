/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the bound on what is read for peers that lag: over any stretch of time not more
 * than the rate allows, a tenth of a second's worth and one read; and not much less, either.
 */
#include <criterion/criterion.h>

#include "replica/catchup_rate.h"

#define SECOND UINT64_C(1000000000)

Test(catchup_rate, without_a_bound_nobody_waits)
{
	struct mr_catchup_rate rate;

	mr_catchup_rate_init(&rate, 0, 0);
	for (int i = 0; i < 100; i++) {
		mr_catchup_rate_spend(&rate, UINT64_MAX);
		cr_assert_eq(mr_catchup_rate_wait_ns(&rate, 0), 0);
	}
}

/* Reads of all sizes at all rates, as fast as they are let: what counts is each stretch of time. */
Test(catchup_rate, no_stretch_of_time_gets_more_than_its_share)
{
	static const uint64_t rates[] = {1, 1000, 1u << 20, 100u << 20, UINT64_C(10) << 30};
	static const uint64_t reads[] = {1, 4096, 300000, 8u << 20};

	for (size_t i = 0; i < 5 * 4; i++) {
		uint64_t per_second = rates[i / 4], bytes = reads[i % 4], now = 12345, sum = 0;
		struct mr_catchup_rate rate;
		double share;

		mr_catchup_rate_init(&rate, per_second, now);
		for (int k = 0; k < 1000; k++) {
			uint64_t wait = mr_catchup_rate_wait_ns(&rate, now);

			now += wait;
			cr_assert_eq(mr_catchup_rate_wait_ns(&rate, now), 0, "it said when");
			share = (double)(now - 12345) / 1e9 * (double)per_second;
			cr_assert_leq((double)sum, share + (double)per_second / 10 + 1);
			mr_catchup_rate_spend(&rate, bytes);
			sum += bytes;
		}
		share = (double)(now - 12345) / 1e9 * (double)per_second;
		cr_assert_geq((double)sum, share * 0.999,
			      "%llu a second by %llu: slower than asked",
			      (unsigned long long)per_second, (unsigned long long)bytes);
	}
}

Test(catchup_rate, what_is_saved_in_idle_times_is_bounded)
{
	struct mr_catchup_rate rate;

	mr_catchup_rate_init(&rate, 1000, 0);
	cr_assert_eq(mr_catchup_rate_wait_ns(&rate, 1000 * SECOND), 0);
	mr_catchup_rate_spend(&rate, 1100);
	cr_assert_eq(mr_catchup_rate_wait_ns(&rate, 1000 * SECOND), SECOND);
	cr_assert_eq(mr_catchup_rate_wait_ns(&rate, 1000 * SECOND + SECOND / 4), 3 * SECOND / 4);
	cr_assert_eq(mr_catchup_rate_wait_ns(&rate, UINT64_MAX), 0);
}

/* However much: it is a debt that ends, not a number that turns over. */
Test(catchup_rate, no_debt_overflows)
{
	struct mr_catchup_rate rate;
	uint64_t wait = 0;

	mr_catchup_rate_init(&rate, 1, 0);
	for (int i = 0; i < 100; i++) {
		mr_catchup_rate_spend(&rate, UINT64_MAX);
		cr_assert_geq(mr_catchup_rate_wait_ns(&rate, 0), wait);
		wait = mr_catchup_rate_wait_ns(&rate, 0);
	}
	cr_assert_gt(wait, 0u);
	cr_assert_lt(wait, UINT64_C(1) << 61);
}
