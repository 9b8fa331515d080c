/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a pipeline's work costs what. The calling thread reads the stored records of a topic as
 * a pipeline does, and does so much of its work as the stage says: what two stages differ by is
 * what the one does more. No clock is read between records.
 */
#ifndef MR_BENCH_STAGES_H
#define MR_BENCH_STAGES_H

#include <stdint.h>

#include "error.h"
#include "millrace.h"

struct mr_bench_stage_input {
	struct mr_connection *connection;
	const char *topic; /* has one partition */
	uint64_t records;
	const char *parse; /* of the rule: how a record is read */
};

enum mr_bench_stage_cut {
	MR_BENCH_STAGE_READ,
	MR_BENCH_STAGE_PARSE,
	MR_BENCH_STAGE_FEED, /* all that a pipeline does; nobody takes its outputs */
};

struct mr_bench_stage_cost {
	double ns;     /* of this thread's CPU a record */
	double alerts; /* raised or cleared, a record */
};

/* 'rule' is the rest of the rule, but for its output, of the given format. */
int mr_bench_stage_time(const struct mr_bench_stage_input *input, enum mr_bench_stage_cut cut,
			const char *rule, const char *format, struct mr_bench_stage_cost *out,
			struct mr_error *err);

#endif
