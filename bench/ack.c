/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'ack': the time to an acknowledgement. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_ack(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'ack' is not measured by this version");
}
