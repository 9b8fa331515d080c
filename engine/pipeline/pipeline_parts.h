/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline from inside: for the files pipeline*.c.
 */
#ifndef MR_PIPELINE_PARTS_H
#define MR_PIPELINE_PARTS_H

#include "keys.h"
#include "pipeline.h"
#include "render.h"

#define MR_PIPELINE_AHEAD 16 /* records that are parsed before their turn */
/* Event times within some 270,000 years around 1970: differences fit into 64 bits. */
#define MR_PIPELINE_TIME_MOST INT64_C(8640000000000000)

/* A record that was parsed before its turn. */
struct mr_pipeline_ahead {
	struct mr_parsed parsed;
	enum mr_parse_reason reason;
	uint32_t hash;
	uint32_t slot; /* of the table of keys, as it was when the entry was called for */
};

struct mr_pipeline {
	const struct mr_program *program;
	struct mr_parser *parser;
	int32_t partition;
	struct mr_keys keys;
	struct mr_pipeline_counters counters;
	int64_t clock_ms; /* follows the records' times: for keys that are idle */
	bool clock_set;
	void (*trace)(void *arg, const struct mr_pipeline_trace *trace);
	void *trace_arg;
	struct mr_pipeline_ahead ahead[MR_PIPELINE_AHEAD];
	char ahead_keys[MR_PIPELINE_AHEAD][MR_PARSE_KEY_MAX]; /* of those the parser unescaped */
	char text[MR_RENDER_BYTES_MAX];
};

static inline bool mr_pipeline_time_fits(int64_t time_ms)
{
	return time_ms >= -MR_PIPELINE_TIME_MOST && time_ms <= MR_PIPELINE_TIME_MOST;
}

/* What is known of a key, for people. */
void mr_pipeline_describe(const struct mr_pipeline *pipeline, const struct mr_key_entry *entry,
			  struct mr_pipeline_key *out);

#endif
