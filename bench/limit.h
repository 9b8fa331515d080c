/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine can do without Millrace, as measurements for mr_bench_pairs(): each function
 * takes one sample, and its 'arg' is a struct mr_limit. The question `limits` prints them all;
 * other questions use those that bound what they ask. The disk's are in raw_disk.h.
 */
#ifndef MR_BENCH_LIMIT_H
#define MR_BENCH_LIMIT_H

#include "bench.h"

struct mr_limit {
	int here, there; /* cores: of the one who measures, and of the other side (-1: there is
			    none) */
	uint32_t bytes;
	bool poll; /* loopback TCP: both ends poll; else they block */
	double seconds;
	/*
	 * How long a sleeper sleeps before it is woken; 0: 20 us, which the waker spins. After
	 * milliseconds, in which the waker sleeps as well, a wake costs several times as much: the
	 * cores, and on a virtual machine the host, had something else to do.
	 */
	uint64_t asleep_ns;
};

/* The first two cores that this process may use, and 'seconds' of a sample unless --seconds says
 * otherwise. -ENOTSUP where it has no core at all. */
int mr_limit_init(struct mr_bench_run *run, struct mr_limit *limit, double seconds,
		  struct mr_error *err);
uint64_t mr_limit_mask(const struct mr_limit *limit); /* its cores as bits */

/* Copies of 'bytes' again and again. [0]: bytes/s, [1]: ns a call */
int mr_limit_memcpy(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);
/* isa-l's CRC-32C of 'bytes' again and again. [0]: bytes/s, [1]: ns a call */
int mr_limit_crc32c(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);
/* A cache line there and back. [0]: ns a round trip */
int mr_limit_line(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		  struct mr_error *err);
/* Until a sleeper on the other core runs. [0]: p50 ns, [1]: p99 ns, [2]: p50 of the waker's call */
int mr_limit_futex_wake(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			struct mr_error *err);
int mr_limit_eventfd_wake(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			  struct mr_error *err);
/* 'bytes' there and back through loopback TCP. [0]: p50 ns, [1]: p99 ns */
int mr_limit_tcp(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		 struct mr_error *err);
/* One direction of a loopback TCP connection, as fast as it goes. [0]: bytes/s */
int mr_limit_stream(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);
/* One element of 'bytes' there and back through two rte_rings. [0]: p50 ns, [1]: p99 ns */
int mr_limit_rte_ring(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err);

/* How much of a core the machine takes away: spins on the clock on core 'here', and on 'there', as
 * far as there is one, so that both are busy. The probe pauses. [0]: share lost in
 * gaps over 1 us, [1]: gaps over 10 us a second, [2]: longest gap, ns */
int mr_limit_jitter(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);

#endif
