/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace tail TOPIC --rule NAME: what a pipeline says, for people: value, windows, alerts.
 */
#ifndef MR_TAIL_RULE_H
#define MR_TAIL_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"

struct mr_tail_rule {
	const char *socket;
	const char *topic; /* the pipeline's input */
	const char *rule;
	enum mr_from from;
	int64_t from_value;
	bool follow;
	uint64_t count; /* rows; 0: no limit */
};

/* Main thread. Returns the exit code. */
int mr_tail_rule(const struct mr_tail_rule *options);

#endif
