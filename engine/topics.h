/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue of topics: names, 128-bit ids, partitions, what each keeps and where. Kept in the
 * file "catalog" of the data directory: one line of JSON and one line with its CRC-32C, replaced as
 * a whole. Version 1, before there were topics in memory, is read too. Owned by the control thread.
 *
 * A topic's id is random and lies behind its name everywhere, so a topic that is made again under
 * an old name inherits nothing. What is deleted leaves the catalogue first; its files go
 * afterwards, and at a start whatever directory has no topic is removed.
 */
#ifndef MR_TOPICS_H
#define MR_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/io.h"
#include "millrace/format.h"

struct mr_topic {
	char name[MR_TOPIC_NAME_MAX + 1];
	uint8_t id[16];
	int32_t partition_count;
	int64_t created_ms;
	uint64_t retention_bytes; /* of a partition; 0: unlimited */
	uint64_t retention_ms;	  /* 0: unlimited */
	uint64_t segment_bytes;
	enum mr_config_storage storage; /* for good, as all of these */
	uint64_t tail_bytes;		/* 0: as the configuration says in general */
	void *owner;			/* the control thread's own, beside the catalogue */
};

struct mr_topics {
	struct mr_topic **topics; /* sorted by name */
	size_t count;
};

/* -EBADMSG: the file is damaged. No file: an empty catalogue. */
int mr_topics_load(struct mr_io *io, struct mr_topics *out, struct mr_error *err);
int mr_topics_save(struct mr_io *io, const struct mr_topics *topics, struct mr_error *err);
void mr_topics_deinit(struct mr_topics *topics);

struct mr_topic *mr_topics_find(const struct mr_topics *topics, const char *name);
struct mr_topic *mr_topics_find_id(const struct mr_topics *topics, const uint8_t id[16]);
/* 'topic' is taken. -EEXIST. Not saved yet. */
int mr_topics_add(struct mr_topics *topics, struct mr_topic *topic, struct mr_error *err);
/* Takes it out; the caller frees it. Not saved yet. */
void mr_topics_take(struct mr_topics *topics, struct mr_topic *topic);

static inline bool mr_topic_in_memory(const struct mr_topic *topic)
{
	return topic->storage == MR_CONFIG_STORAGE_MEMORY;
}

/* 0, or -EINVAL naming the letter or length. Names that begin with "__" are the engine's own. */
int mr_topic_check_name(const char *name, struct mr_error *err);
/* "topics/<32 hex digits>" and "topics/<32 hex digits>/<partition>". */
void mr_topic_directory(const uint8_t id[16], char path[64]);
void mr_topic_partition_directory(const uint8_t id[16], int32_t partition, char path[80]);
void mr_topic_id_text(const uint8_t id[16], char text[33]);

#endif
