/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question 'ingest': steady durable ingest. Not measured yet.
 */
#include "bench.h"

#include <errno.h>

int mr_bench_ingest(struct mr_bench_run *run, struct mr_error *err)
{
	return mr_error_set(err, -ENOTSUP, "the question 'ingest' is not measured by this version");
}
