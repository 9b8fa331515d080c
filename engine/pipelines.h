/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of pipelines: what people added, all versions of it, and where each version begins.
 * Kept in the file "pipelines.json" of the data directory: one line of JSON and one line with its
 * CRC-32C, replaced as a whole. Owned by the control thread; a pipeline's thread has a copy of its
 * definition.
 *
 * What a pipeline says is a function of its input: version i of its rule holds from input offset
 * versions[i].at[partition] on, where a mark stands in the input's log (version_mark.h) for all but
 * the first. The catalogue is what this host has learnt of that. A version is durable here before
 * anything is said under it, and is never changed; its offsets become known one by one.
 */
#ifndef MR_PIPELINES_H
#define MR_PIPELINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "millrace/format.h"
#include "pipeline/pipeline.h"

#define MR_PIPELINES_MAX	 64
#define MR_PIPELINES_REMOVED_MAX 1024 /* ids of removed ones: the oldest are forgotten */
#define MR_PIPELINE_VERSIONS_MAX 100  /* of one; then it is removed and added anew */

struct json_t;

/* One version of the rule, constant once it is there. */
struct mr_definition_version {
	char *text;		/* YAML, as it was given */
	struct json_t *weights; /* fitted ones by window: {"avg": [...]}; NULL: none */
	/* by partition: the first input offset under this version; MR_OFFSET_UNKNOWN: it has not
	   begun there, as far as is known. Never less than of the version before. */
	uint64_t *at;
};

struct mr_definition {
	char name[MR_RULE_NAME_MAX + 1];
	uint8_t id[16]; /* random: files of an older one of that name are not taken for its own */
	char input[MR_TOPIC_NAME_MAX + 1];
	uint8_t input_id[16];
	int32_t partition_count;
	char topics[MR_PIPELINE_TOPICS][MR_TOPIC_NAME_MAX + 1]; /* "": it has no alerts */
	bool in_memory;						/* those */
	int64_t producer_id; /* of the output; + 1 of alerts, + 2 of what was rejected */
	int64_t created_ms;
	struct mr_definition_version *versions; /* oldest first */
	uint32_t version_count;
};

struct mr_pipelines {
	struct mr_definition **rows; /* sorted by name */
	size_t count;
	uint8_t (*removed)[16]; /* oldest first: a host that was away does not bring them back */
	size_t removed_count;
};

/* -EBADMSG: the file is damaged. No file: none. */
int mr_pipelines_load(struct mr_io *io, struct mr_pipelines *out, struct mr_error *err);
int mr_pipelines_save(struct mr_io *io, const struct mr_pipelines *pipelines, struct mr_error *err);
void mr_pipelines_deinit(struct mr_pipelines *pipelines);
struct mr_definition *mr_pipelines_find(const struct mr_pipelines *pipelines, const char *name);
/* 'definition' is taken. -EEXIST, -ENOMEM. Not saved yet. */
int mr_pipelines_add(struct mr_pipelines *pipelines, struct mr_definition *definition,
		     struct mr_error *err);
/* Takes it out; the caller frees it. Not saved yet. */
void mr_pipelines_take(struct mr_pipelines *pipelines, struct mr_definition *definition);
int mr_pipelines_note_removed(struct mr_pipelines *pipelines, const uint8_t id[16]); /* -ENOMEM */
bool mr_pipelines_is_removed(const struct mr_pipelines *pipelines, const uint8_t id[16]);
/* One that reads or writes that topic; NULL: none does. */
const struct mr_definition *mr_pipelines_using(const struct mr_pipelines *pipelines,
					       const char *topic);
/* Whether what is written to 'topic' comes to be read into 'from', by however many pipelines. */
bool mr_pipelines_lead_to(const struct mr_pipelines *pipelines, const char *topic,
			  const char *from);

void mr_definition_free(struct mr_definition *definition);			  /* takes NULL */
struct mr_definition *mr_definition_copy(const struct mr_definition *definition); /* or NULL */
/* 'text', 'weights' and 'at' are copied; 'at' NULL: not known anywhere. -ENOMEM; -EBADMSG: it is no
 * UTF-8. */
int mr_definition_add_version(struct mr_definition *definition, const char *text,
			      const struct json_t *weights, const uint64_t *at,
			      struct mr_error *err);
/* The youngest goes: it could not be saved. */
void mr_definition_drop_version(struct mr_definition *definition);
/*
 * A mark of 'version' stands at 'offset' of a partition: it begins there, if not before, and so do
 * those before it at the latest. True: that was not known.
 */
bool mr_definition_begins(struct mr_definition *definition, uint32_t version, int32_t partition,
			  uint64_t offset);
/* The first version that is not known to begin in a partition; version_count: all do. */
uint32_t mr_definition_pending(const struct mr_definition *definition, int32_t partition);
/*
 * What 'other', of the same id, knows besides: versions, and where they begin, as far as the rules
 * are the same. 1: something; 0: nothing; -ENOMEM: not all of it was taken.
 */
int mr_definition_merge(struct mr_definition *definition, const struct mr_definition *other,
			struct mr_error *err);
/*
 * The log of a partition loses what it has from 'from' up to 'to': marks there are none any more,
 * and a version without a mark anywhere is none. True: something is forgotten.
 */
bool mr_definition_unlearn(struct mr_definition *definition, int32_t partition, uint64_t from,
			   uint64_t to);
/* Whether version 'i' is the same rule in both. */
bool mr_definition_same_rule(const struct mr_definition *a, const struct mr_definition *b,
			     uint32_t i);
/* The version that holds at 'offset' of a partition; a younger one wins. */
uint32_t mr_definition_version_at(const struct mr_definition *definition, int32_t partition,
				  uint64_t offset);
/* "pipelines/<32 hex digits>" and "pipelines/<32 hex digits>/<partition>". */
void mr_definition_directory(const struct mr_definition *definition, char path[64]);
void mr_definition_checkpoint(const struct mr_definition *definition, int32_t partition,
			      char path[80]);

/*
 * A rule's text and its fitted weights as something that runs: both are the caller's. -EINVAL with
 * the line; also where fitted weights are missing.
 */
int mr_pipelines_compile(const char *text, const struct json_t *weights, const char *file,
			 struct mr_rule **rule, struct mr_program **program, struct mr_error *err);

/* As one JSON object: owned by the caller; and back, checked. -EBADMSG. */
struct json_t *mr_definition_to_json(const struct mr_definition *definition);
int mr_definition_from_json(const struct json_t *row, struct mr_definition **out,
			    struct mr_error *err);

#endif
