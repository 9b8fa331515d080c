/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a command gets a pipeline from: a file, or the engine that runs it. Main thread.
 */
#ifndef MR_RULE_SOURCE_H
#define MR_RULE_SOURCE_H

#include "pipeline/rule.h"
#include "pipelines.h"

/* Reads a file; "-" is standard input. '*text' (owned by the caller) may be NULL. */
int mr_rule_source_file(const char *path, struct mr_rule **out, char **text, struct mr_error *err);

/*
 * What runs under 'name', all versions; with NULL the only pipeline there is. -ENOENT: there is
 * none of that name; -EINVAL: several, and none was named.
 */
int mr_rule_source_engine(struct mr_connection *connection, const char *name,
			  struct mr_definition **out, struct mr_error *err);

#endif
