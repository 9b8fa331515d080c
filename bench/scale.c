/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'scale': lanes and partitions together. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_scale(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'scale' is not measured by this version");
}
