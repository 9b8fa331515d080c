/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data directory without an engine: what verify, dump and repair share. Holds the directory's
 * lock while it is open, so that no engine starts meanwhile. Main thread; everything blocks.
 */
#ifndef MR_OFFLINE_H
#define MR_OFFLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "log/recover.h"
#include "topics.h"

struct mr_offline {
	const char *directory; /* borrowed */
	int lock_fd;
	struct mr_io *io;
	struct mr_topics topics;
	struct mr_checkpoint checkpoint;
	bool has_checkpoint;
};

/*
 * -ENOENT: no data directory there. -EBUSY: an engine runs on it, named by its pid. -EBADMSG: the
 * catalogue is damaged. 'directory' is borrowed until closed.
 */
int mr_offline_open(const char *directory, struct mr_offline *out, struct mr_error *err);
void mr_offline_close(struct mr_offline *offline); /* takes one of zeros but for lock_fd -1 */

/* One partition as recovery sees it. mr_recovered_deinit() and mr_partition_deinit() end it. */
struct mr_offline_partition {
	const struct mr_topic *topic;
	int32_t number;
	char directory[80];
	struct mr_partition state;
	struct mr_recovered recovered;
};

enum mr_offline_how {
	MR_OFFLINE_AS_START = 0,
	MR_OFFLINE_NO_CHECKPOINT = 1, /* as if there were none, so that every group is looked at */
	MR_OFFLINE_WRITABLE = 2,      /* segments are locked and open for writing, to be cut */
};

/*
 * What an engine would find at its start. 'how' are flags; without WRITABLE nothing is changed. 0
 * also for a damaged log: see ->recovered.corrupt.
 */
int mr_offline_look(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		    unsigned how, struct mr_offline_partition *out, struct mr_error *err);
void mr_offline_look_end(struct mr_offline_partition *partition);

/* What a walk meets, in order; each may be NULL. Everything is borrowed for the call. */
struct mr_offline_visitor {
	void (*segment)(const char *path, const struct mr_segment_header *header, void *arg);
	void (*group)(uint64_t position, const struct mr_group_header *header, void *arg);
	void (*batch)(const struct mr_batch_header *header, void *arg);
	void (*record)(const struct mr_message *message, void *arg);
	void *arg;
};

/* What there is, and where it ends. */
struct mr_offline_counts {
	uint64_t segments;
	uint64_t groups;
	uint64_t batches;
	uint64_t records;
	uint64_t group_bytes; /* padding included */
	uint64_t start_offset;
	uint64_t end_offset; /* one more than the last record's */
	uint64_t end_position;
	uint64_t flushed_offset; /* the highest that a group header tells */
	bool damaged;		 /* what follows is no group, and no end either */
	struct mr_error damage;
	uint64_t again_offset; /* if damaged: the first whole group behind; UINT64_MAX: none */
};

/*
 * Reads every segment from its first byte on, checks each group and that it continues the one
 * before, and stops where that ends. 0 also when damaged; a negative errno when a file cannot be
 * read.
 */
int mr_offline_walk(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		    const struct mr_offline_visitor *visitor, struct mr_offline_counts *out,
		    struct mr_error *err);

/* The checkpoint forgets this partition: the next start reads its whole log. */
int mr_offline_forget_checkpoint(struct mr_offline *offline, const struct mr_topic *topic,
				 int32_t number, struct mr_error *err);

#endif
