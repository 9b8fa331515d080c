/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'recover': how fast an engine starts after a crash. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_recover(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP,
			    "the question 'recover' is not measured by this version");
}
