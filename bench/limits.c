/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'limits': the machine's own limits. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_limits(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'limits' is not measured by this version");
}
