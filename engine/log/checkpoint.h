/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint of a data directory: where recovery may begin, and what a log alone does not tell
 * (producer ids used up, epochs taken, committed offsets of groups). Two slots, "checkpoint.0" and
 * "checkpoint.1", written in turn, each whole and synced with a generation and a CRC-32C; the
 * newest that checks out counts. Little-endian; nothing in it is trusted before the checksum was
 * right, and all bounds are checked even then.
 *
 * A partition with other replicas has an entry from the moment when its log may count for anything,
 * and of nothing but what is final (mr_partition_is_final()). No entry means that nobody vouches
 * for what its directory holds: data may be lost (reliability.md R7). So before anything is done to
 * a log that makes it less than it was, its entry goes, durably and from both slots, and a crash in
 * the midst leaves a copy that knows that it is none.
 */
#ifndef MR_CHECKPOINT_H
#define MR_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "partition.h"

/* 1 and 2 are read: 1 had no leader epochs, 2 did not know when and where groups committed. */
#define MR_CHECKPOINT_VERSION 3

/*
 * One partition at a moment when everything before 'offset' was flushed. 'producers' and 'epochs'
 * are as of 'offset', too: copied when the log's end was there.
 */
struct mr_checkpoint_partition {
	uint8_t topic_id[16];
	int32_t partition;
	int32_t leader_epoch; /* highest taken */
	uint64_t log_start;
	uint64_t offset;       /* flushed offset */
	uint64_t position;     /* of the next group */
	uint64_t group_number; /* of the next group */
	uint32_t previous_crc; /* of the group before */
	bool clean;	       /* the engine let go of it here: nothing was written behind */
	uint32_t producer_count;
	uint32_t epoch_count;
	struct mr_producer_entry *producers; /* owned by the checkpoint */
	struct mr_epoch *epochs; /* owned; each begins below 'offset', perhaps below log_start */
};

struct mr_checkpoint_commit {
	char *group; /* owned */
	uint8_t topic_id[16];
	int32_t partition;
	uint64_t offset;
	int64_t committed_ms; /* and 0: long ago */
	uint32_t node;
};

struct mr_checkpoint {
	uint64_t generation;
	uint64_t window_bytes; /* how far the engine may have written ahead: recovery's */
	uint64_t engine_start; /* counts starts */
	uint8_t log_id[16];
	int64_t next_producer_id; /* ids below it may be in use */
	struct mr_checkpoint_partition *partitions;
	uint32_t partition_count;
	struct mr_checkpoint_commit *commits; /* committed offsets of groups, as of
						 'commits_offset' */
	uint32_t commit_count;
	uint64_t commits_offset; /* of the __offsets partition: replay from here */
};

/*
 * Reads the newest valid slot. -ENOENT: none was ever written; -EBADMSG: there are slots but none
 * is valid.
 */
int mr_checkpoint_load(struct mr_io *io, struct mr_checkpoint *out, struct mr_error *err);
/*
 * Writes generation + 1 into the slot that does not hold the newest. Blocks: a chore. Raises
 * checkpoint->generation.
 */
int mr_checkpoint_save(struct mr_io *io, struct mr_checkpoint *checkpoint, struct mr_error *err);
void mr_checkpoint_deinit(struct mr_checkpoint *checkpoint);
const struct mr_checkpoint_partition *mr_checkpoint_find(const struct mr_checkpoint *checkpoint,
							 const uint8_t topic_id[16],
							 int32_t partition);
/* Takes what stands in the partition's tables: -ENOMEM leaves none. */
int mr_checkpoint_take_tables(struct mr_checkpoint_partition *to,
			      const struct mr_partition *partition);
/* Everything, with tables of its own. -ENOMEM: 'to' has none. */
int mr_checkpoint_copy_partition(const struct mr_checkpoint_partition *from,
				 struct mr_checkpoint_partition *to);
void mr_checkpoint_partition_deinit(struct mr_checkpoint_partition *partition);
/* In memory only: it has no entry any more. */
void mr_checkpoint_forget(struct mr_checkpoint *checkpoint, const uint8_t topic_id[16],
			  int32_t partition);
/* In memory only: 'taken' and its tables replace the entry that it had, if any. -ENOMEM. */
int mr_checkpoint_put(struct mr_checkpoint *checkpoint, struct mr_checkpoint_partition *taken);

/*
 * What a replica tells another that begins anew (the state): an entry alone, with a checksum of its
 * own. Encode returns owned memory; decode an entry with tables of its own.
 */
int mr_checkpoint_encode_state(const struct mr_checkpoint_partition *partition, uint8_t **out,
			       size_t *bytes);
int mr_checkpoint_decode_state(const uint8_t *bytes, size_t count,
			       struct mr_checkpoint_partition *out, struct mr_error *err);
/*
 * Makes of a leader's state the entry of a log that begins anew at 'offset', which is not above the
 * state's own: mr_log_truncate() with reset. What it says of producers may reach further: recovery
 * takes that back, and the log's batches bring it again.
 */
void mr_checkpoint_begin_anew(struct mr_checkpoint_partition *state, uint64_t offset);

/* Pure halves, for tests and fuzzing. Encode returns owned memory. */
int mr_checkpoint_encode(const struct mr_checkpoint *checkpoint, uint8_t **out, size_t *bytes);
int mr_checkpoint_decode(const uint8_t *bytes, size_t count, struct mr_checkpoint *out,
			 struct mr_error *err);

#endif
