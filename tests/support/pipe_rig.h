/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline made of a rule's text, records for it, and what it put out, as one long text: a line a
 * record, "TOPIC NUMBER KEY VALUE" with O, A or R for the topic.
 */
#ifndef MR_PIPE_RIG_H
#define MR_PIPE_RIG_H

#include "pipeline.h"

struct mr_pipe_rig {
	struct mr_rule *rule;
	struct mr_program *program;
	struct mr_pipeline *pipeline;
	char *out; /* terminated */
	char *taken;
	size_t out_bytes;
	size_t taken_bytes;
	size_t out_capacity;
	bool count_only; /* outputs are only counted */
	uint64_t outputs;
	uint64_t offset; /* of the next record */
};

/* Fails the test where the rule is refused. */
void mr_pipe_rig_open(struct mr_pipe_rig *rig, const char *rule);
void mr_pipe_rig_close(struct mr_pipe_rig *rig);
/* One record, its value a text, without a key of its own where 'key' is NULL. */
void mr_pipe_rig_put(struct mr_pipe_rig *rig, const char *key, int64_t timestamp_ms,
		     const char *value);
int mr_pipe_rig_feed(struct mr_pipe_rig *rig, const struct mr_message *messages, uint32_t count);
/* What came out since the last call; good until the next one. */
const char *mr_pipe_rig_take(struct mr_pipe_rig *rig);

/* The state as bytes (freed by the caller), and a pipeline in place of this one made of them. */
uint8_t *mr_pipe_rig_save(const struct mr_pipe_rig *rig, size_t *bytes);
int mr_pipe_rig_load(struct mr_pipe_rig *rig, const uint8_t *bytes, size_t count,
		     struct mr_error *err);

#endif
