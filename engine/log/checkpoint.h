/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint of a data directory: where recovery may begin, and what a log alone does not tell
 * (producer ids used up, epochs taken, committed offsets of groups). Two slots, "checkpoint.0" and
 * "checkpoint.1", written in turn, each whole and synced with a generation and a CRC-32C; the
 * newest that checks out counts. Little-endian; nothing in it is trusted before the checksum was
 * right, and all bounds are checked even then.
 */
#ifndef MR_CHECKPOINT_H
#define MR_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "partition.h"

/*
 * One partition at a moment when everything before 'offset' was flushed. 'producers' are as of
 * 'offset', too: copied when the log's end was there.
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
	struct mr_producer_entry *producers; /* owned by the checkpoint */
};

struct mr_checkpoint_commit {
	char *group; /* owned */
	uint8_t topic_id[16];
	int32_t partition;
	uint64_t offset;
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
/* Pure halves, for tests and fuzzing. Encode returns owned memory. */
int mr_checkpoint_encode(const struct mr_checkpoint *checkpoint, uint8_t **out, size_t *bytes);
int mr_checkpoint_decode(const uint8_t *bytes, size_t count, struct mr_checkpoint *out,
			 struct mr_error *err);

#endif
