/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'soak': a quarter of an hour at 70 % of the durable rate. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_soak(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'soak' is not measured by this version");
}
