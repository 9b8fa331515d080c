/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline puts out, as bytes: JSON objects of one line, and the packed format
 * (pipeline.h). Pure; into a buffer that holds whatever a rule can make.
 */
#ifndef MR_RENDER_H
#define MR_RENDER_H

#include "program.h"

#define MR_RENDER_REJECTED_MAX 4096 /* bytes of a rejected record that are shown */
/* A key and a record's start, all escaped; windows and alerts with their names and numbers. */
#define MR_RENDER_BYTES_MAX                                                                        \
	(6 * (MR_PARSE_KEY_MAX + MR_RENDER_REJECTED_MAX + 4 * MR_RULE_TEXT_MAX) +                  \
	 (MR_WINDOWS_MAX + MR_RULE_ALERTS_MAX) * 128 + 4096)

/* A record that was kept, and what came of it. */
struct mr_render_kept {
	const struct mr_program *program;
	const void *key;
	int32_t key_bytes;
	int32_t partition;
	uint64_t offset; /* input */
	int64_t time_ms;
	double value;
	const double *results;
	uint32_t raised; /* alerts, bit i */
};

struct mr_render_alert {
	struct mr_render_kept kept;
	uint32_t alert;
	bool raised;	   /* else cleared */
	int64_t raised_ms; /* when it was */
};

struct mr_render_rejected {
	const struct mr_program *program;
	const struct mr_message *message;
	enum mr_parse_reason reason;
	uint32_t where;
};

/* Each returns the bytes written. 'out' has MR_RENDER_BYTES_MAX of them. */
uint32_t mr_render_json(const struct mr_render_kept *kept, char *out);
uint32_t mr_render_packed(const struct mr_render_kept *kept, char *out);
uint32_t mr_render_alert(const struct mr_render_alert *alert, char *out);
uint32_t mr_render_rejected(const struct mr_render_rejected *rejected, char *out);

#endif
