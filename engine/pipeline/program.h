/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule, compiled (pipeline.h), seen from inside. Constant once it is made; any thread.
 */
#ifndef MR_PROGRAM_H
#define MR_PROGRAM_H

#include "pipeline.h"

/* An alert of one key. Counts and times are of "for": since when the condition holds in a row. */
struct mr_program_alert_state {
	int64_t since_ms;  /* event time of the first record for which it held */
	int64_t raised_ms; /* event time at which it was raised; counts while it is */
	uint32_t count;	   /* records in a row for which it held: when, or clear while raised */
	uint32_t reserved; /* 0 */
};

struct mr_program_alert {
	struct mr_expression *when;
	struct mr_expression *clear; /* NULL: when 'when' is false */
};

struct mr_program {
	const struct mr_rule *rule;
	struct mr_window_spec specs[MR_WINDOWS_MAX];
	char names[MR_WINDOWS_MAX][64];
	uint32_t window_count;
	struct mr_window_plan *plan;
	struct mr_program_alert alerts[MR_RULE_ALERTS_MAX];
	bool previous; /* some condition looks at the record before */
	bool cleans;   /* the rule asks for more than that values are there */
	/* parts of a key's state, each a multiple of 8 bytes, in this order */
	size_t alerts_bytes;
	size_t previous_bytes; /* doubles: value, NaN where there is none, time, then results */
	size_t clean_bytes;
	size_t fixed_bytes;  /* all three */
	uint32_t capacity;   /* samples that a new key has room for */
	uint32_t near_bytes; /* of a key's entry: what a record most likely touches */
};

/* A key's state under one goes on under the other. */
bool mr_program_same_state(const struct mr_program *a, const struct mr_program *b);

#endif
