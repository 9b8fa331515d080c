/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the race between a lane and a byte ring: both go through to the end with any
 * frame, burst and rest, count something, and refuse what neither can carry. That nothing is lost
 * on the way the lane says itself: it checks each frame's number. No rate is asserted.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>

#include "limit.h"
#include "rings.h"

static struct mr_error err;

/* The first two cores there are, or twice the only one: slow, but no less right. */
static struct mr_rings rings_on_two_cores(void)
{
	struct mr_rings rings = {
		.frame_bytes = 64, .burst = 32, .ring_bytes = 64 << 10, .seconds = 0.05};
	cpu_set_t cpus;

	cr_assert_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET((size_t)rings.producer_core, &cpus))
		rings.producer_core++;
	rings.consumer_core = rings.producer_core;
	for (int core = rings.producer_core + 1; core < CPU_SETSIZE; core++) {
		if (CPU_ISSET((size_t)core, &cpus)) {
			rings.consumer_core = core;
			break;
		}
	}
	return rings;
}

static void both(struct mr_rings *rings)
{
	struct mr_bench_sample lane = {0}, bytes = {0};

	cr_assert_eq(mr_rings_lane(NULL, rings, &lane, &err), 0, "%s", err.what);
	cr_assert_eq(mr_rings_bytes(NULL, rings, &bytes, &err), 0, "%s", err.what);
	cr_assert_geq(lane.values[0], lane.values[1], "p90 is no less than the median");
	cr_assert_geq(bytes.values[0], bytes.values[1]);
	cr_assert_gt(lane.values[2], 0, "some came through");
	cr_assert_gt(bytes.values[2], 0, "some came through");
}

Test(bench_rings, carry_frames_of_any_size)
{
	const uint32_t sizes[] = {40, 64, 104, 4096, 16384};
	struct mr_rings rings = rings_on_two_cores();

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		rings.frame_bytes = sizes[i];
		both(&rings);
	}
}

Test(bench_rings, publish_one_or_many_and_rest)
{
	struct mr_rings rings = rings_on_two_cores();

	rings.burst = 1;
	both(&rings);
	rings.rest_pauses = 16;
	both(&rings);
	rings.burst = 100000; /* more than there is room for: what fits is published */
	both(&rings);
}

Test(bench_rings, refuse_what_neither_can_carry)
{
	struct mr_rings rings = rings_on_two_cores();
	struct mr_bench_sample sample;

	rings.frame_bytes = 32; /* a lane's head alone */
	cr_assert_eq(mr_rings_lane(NULL, &rings, &sample, &err), -EINVAL);
	cr_assert_eq(mr_rings_bytes(NULL, &rings, &sample, &err), -EINVAL);
	rings.frame_bytes = 65;
	cr_assert_eq(mr_rings_bytes(NULL, &rings, &sample, &err), -EINVAL);
	rings = rings_on_two_cores();
	rings.ring_bytes = 10000;
	cr_assert_eq(mr_rings_lane(NULL, &rings, &sample, &err), -EINVAL);
	rings = rings_on_two_cores();
	rings.burst = 0;
	cr_assert_eq(mr_rings_lane(NULL, &rings, &sample, &err), -EINVAL);
	cr_assert_neq(err.what[0], '\0');
}

/* Those that need nothing but time and two cores; each is looked at once, for a moment. */
Test(bench_limit, gives_a_figure_of_each)
{
	struct mr_rings rings = rings_on_two_cores();
	struct mr_limit limit = {
		.here = rings.producer_core, .there = rings.consumer_core, .seconds = 0.02};
	int (*const all[])(struct mr_bench_run *, void *, struct mr_bench_sample *,
			   struct mr_error *) = {mr_limit_memcpy, mr_limit_crc32c,
						 mr_limit_futex_wake, mr_limit_eventfd_wake,
						 mr_limit_tcp};

	if (limit.here == limit.there)
		cr_skip("two cores are needed");
	limit.bytes = 64;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct mr_bench_sample sample = {0};

		cr_assert_eq(all[i](NULL, &limit, &sample, &err), 0, "%zu: %s", i, err.what);
	}
	limit.bytes = 12;
	cr_assert_eq(mr_limit_rte_ring(NULL, &limit, &(struct mr_bench_sample){0}, &err), -EINVAL);
	limit.there = -1;
	limit.bytes = 64;
	cr_assert_eq(mr_limit_line(NULL, &limit, &(struct mr_bench_sample){0}, &err), -ENOTSUP);
}
