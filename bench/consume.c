/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'consume': reading from the tail and from segments. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_consume(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP,
			    "the question 'consume' is not measured by this version");
}
