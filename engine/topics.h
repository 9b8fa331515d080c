/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of topics: names, 128-bit ids, partitions, what each keeps and where. Kept in the
 * file "catalog" of the data directory: one line of JSON and one line with its CRC-32C, replaced as
 * a whole. Version 1, before there were topics in memory, and version 2, before there were
 * replicas, are read too. Owned by the control thread.
 *
 * A topic's id is random and lies behind its name everywhere, so a topic that is made again under
 * an old name inherits nothing. What is deleted leaves the catalogue first; its files go
 * afterwards, and at a start whatever directory has no topic is removed. Of a deleted topic that
 * had replicas its id stays behind, so that a host that was away does not bring it back.
 */
#ifndef MR_TOPICS_H
#define MR_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/io.h"
#include "base/topic_name.h"
#include "millrace/format.h"

#define MR_TOPIC_LEADERS_SPREAD (-1)
#define MR_TOPICS_DELETED_MAX	4096 /* ids of deleted topics: the oldest are forgotten */

struct mr_topic {
	char name[MR_TOPIC_NAME_MAX + 1];
	uint8_t id[16];
	int32_t partition_count;
	int64_t created_ms;
	uint64_t retention_bytes; /* of a partition; 0: unlimited */
	uint64_t retention_ms;	  /* 0: unlimited */
	uint64_t segment_bytes;
	enum mr_config_storage storage; /* for good, as all of these */
	enum mr_config_compression compression;
	uint64_t tail_bytes;	      /* 0: as the configuration says in general */
	uint64_t replicas;	      /* bit i: node i keeps a copy; 0: this host alone */
	uint32_t min_insync_replicas; /* with replicas; else 1 */
	int32_t leaders;	      /* with replicas: a node, or MR_TOPIC_LEADERS_SPREAD */
	bool lost;   /* this host may have had it and lost it: it leaves every ISR first (R7) */
	void *owner; /* the control thread's own, beside the catalogue */
};

/* A deleted topic that had replicas. */
struct mr_topic_deleted {
	uint8_t id[16];
	uint64_t replicas;
	int64_t deleted_ms;
};

struct mr_topics {
	struct mr_topic **topics; /* sorted by name */
	size_t count;
	struct mr_topic_deleted *deleted; /* oldest first */
	size_t deleted_count;
	uint64_t met; /* bit i: with node i the whole catalogue was exchanged once */
};

/* -EBADMSG: the file is damaged. No file: an empty catalogue. */
int mr_topics_load(struct mr_io *io, struct mr_topics *out, struct mr_error *err);
int mr_topics_save(struct mr_io *io, const struct mr_topics *topics, struct mr_error *err);
void mr_topics_deinit(struct mr_topics *topics);

struct mr_topic *mr_topics_find(const struct mr_topics *topics, const char *name);
/* Says as err's hint which topic 'name' may have been meant for; false: none is near. */
bool mr_topics_hint_nearest(const struct mr_topics *topics, const char *name, struct mr_error *err);
struct mr_topic *mr_topics_find_id(const struct mr_topics *topics, const uint8_t id[16]);
/* 'topic' is taken. -EEXIST. Not saved yet. */
int mr_topics_add(struct mr_topics *topics, struct mr_topic *topic, struct mr_error *err);
/* Takes it out; the caller frees it. Not saved yet. */
void mr_topics_take(struct mr_topics *topics, struct mr_topic *topic);

/* Notes that it is deleted, if it had replicas; once. -ENOMEM. Not saved yet. */
int mr_topics_note_deleted(struct mr_topics *topics, const struct mr_topic_deleted *deleted);
/* It could not be saved. */
void mr_topics_forget_deleted(struct mr_topics *topics, const uint8_t id[16]);
bool mr_topics_is_deleted(const struct mr_topics *topics, const uint8_t id[16]);

/* Who leads partition 'partition' by configuration: by spread the replicas in turn. */
uint32_t mr_topic_leader(const struct mr_topic *topic, int32_t partition);

static inline bool mr_topic_replicated(const struct mr_topic *topic)
{
	return topic->replicas != 0;
}

static inline bool mr_topic_in_memory(const struct mr_topic *topic)
{
	return topic->storage == MR_CONFIG_STORAGE_MEMORY;
}

/* On so many replicas a record must be durable to be committed. */
static inline uint32_t mr_topic_least_in_sync(const struct mr_topic *topic)
{
	return topic->replicas ? topic->min_insync_replicas : 1;
}

/* "topics/<32 hex digits>" and "topics/<32 hex digits>/<partition>". */
void mr_topic_directory(const uint8_t id[16], char path[64]);
void mr_topic_partition_directory(const uint8_t id[16], int32_t partition, char path[80]);
void mr_topic_id_text(const uint8_t id[16], char text[33]);
int mr_topic_id_parse(const char *text, uint8_t id[16]); /* -EBADMSG */

/* As one JSON object, what hosts tell each other, too: owned by the caller; and back, checked. */
struct json_t;
struct json_t *mr_topic_deleted_to_json(const struct mr_topic_deleted *deleted);
int mr_topic_deleted_from_json(const struct json_t *row, struct mr_topic_deleted *out);
struct json_t *mr_topic_to_json(const struct mr_topic *topic);
/* Of today's version. -EBADMSG. */
int mr_topic_from_json(const struct json_t *row, struct mr_topic **out, struct mr_error *err);

#endif
