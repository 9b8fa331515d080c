/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'lane': a lane against a plain ring. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_lane(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'lane' is not measured by this version");
}
