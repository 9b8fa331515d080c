/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored values of one key, parsed and cleaned as a rule says: what weights are fitted to. Main
 * thread.
 */
#ifndef MR_FIT_VALUES_H
#define MR_FIT_VALUES_H

#include <stdint.h>

#include "pipeline/rule.h"

struct mr_fit_values {
	const char *topic;
	const char *key; /* NULL: the only one there is */
	const struct mr_rule *rule;
	/* what was found; owned */
	double *values; /* in the order of the log */
	uint64_t count;
	uint64_t other_keys; /* records of them */
	uint64_t dropped;    /* by cleaning */
	uint64_t rejected;
};

/* Reads all that is kept. -EINVAL: no key was named, and there are several, or partitions. */
int mr_fit_values_read(struct mr_connection *connection, struct mr_fit_values *values,
		       struct mr_error *err);
/* Where there were none of the key: says what there was. */
void mr_fit_values_hint(const struct mr_fit_values *values, struct mr_error *err);
void mr_fit_values_deinit(struct mr_fit_values *values);

#endif
