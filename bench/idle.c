/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'idle': what an idle engine costs. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_idle(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'idle' is not measured by this version");
}
