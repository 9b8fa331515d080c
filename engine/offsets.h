/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed offsets of consumer groups. Each commit is a record in the internal topic "__offsets"
 *(one partition), published by the control thread through a lane of its own, like anybody's; it is
 *answered when that record is committed. The table in memory is what those records say; a
 *checkpoint holds it as of an offset of "__offsets", and what came after is read back from the log
 *at start. So commits are exactly as durable, and later as replicated, as records.
 *
 *	key	GROUP "/" 32 hex digits of the topic id "/" PARTITION
 *	value	the offset in decimal, and " NODE" if it was committed on a node that is not 0
 *	time	when it was committed, there
 *
 * Hosts with replicas of a topic tell each other: of two commits on different nodes the later one
 * wins, of two at one time that of the higher node; of those on one node the last in the log does.
 *
 * Owned by the control thread.
 */
#ifndef MR_OFFSETS_H
#define MR_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "lane.h"
#include "log/checkpoint.h"

#define MR_OFFSETS_TOPIC  "__offsets"
#define MR_OFFSETS_MAX	  (1u << 20) /* groups x partitions */
#define MR_OFFSETS_MS_MAX INT64_C(253402300799999)

struct mr_offsets;

/* Where and when something was committed; all zero: long ago. */
struct mr_offsets_stamp {
	int64_t ms;
	uint32_t node;
};

/* One row, for hosts with a replica of its topic. 'group' lives as long as the row. */
struct mr_offsets_row {
	const char *group; /* not terminated */
	size_t group_bytes;
	uint8_t topic_id[16];
	int32_t partition;
	uint64_t offset;
	struct mr_offsets_stamp stamp;
};

int mr_offsets_open(struct mr_offsets **out, struct mr_error *err);
void mr_offsets_close(struct mr_offsets *offsets); /* takes NULL */

/* One record of "__offsets", or one row of a checkpoint. Bad bytes: -EBADMSG, and nothing changes.
 */
int mr_offsets_apply(struct mr_offsets *offsets, const struct mr_message *message);
int mr_offsets_set(struct mr_offsets *offsets, const char *group, const uint8_t topic_id[16],
		   int32_t partition, uint64_t offset, struct mr_offsets_stamp stamp);
/* MR_OFFSET_UNKNOWN: never committed. */
uint64_t mr_offsets_get(const struct mr_offsets *offsets, const char *group,
			const uint8_t topic_id[16], int32_t partition);
/* All zero: never committed, or long ago. */
struct mr_offsets_stamp mr_offsets_stamp(const struct mr_offsets *offsets, const char *group,
					 const uint8_t topic_id[16], int32_t partition);
static inline bool mr_offsets_later(struct mr_offsets_stamp a, struct mr_offsets_stamp b)
{
	return a.ms > b.ms || (a.ms == b.ms && a.node > b.node);
}
/* Whether a peer may say that; beyond the year 9999 nothing could be later (MR_OFFSETS_MS_MAX). */
bool mr_offsets_stamp_fits(struct mr_offsets_stamp stamp);
/* The stamp of a commit that is made at 'now': later than the one that counts so far. */
struct mr_offsets_stamp mr_offsets_stamp_after(struct mr_offsets_stamp before,
					       struct mr_offsets_stamp now);
/* Every row, in no order. */
void mr_offsets_each(const struct mr_offsets *offsets,
		     void (*each)(const struct mr_offsets_row *row, void *arg), void *arg);
/* Forgets a deleted topic. */
void mr_offsets_forget(struct mr_offsets *offsets, const uint8_t topic_id[16]);
/* Copies all into owned rows for a checkpoint. */
int mr_offsets_rows(const struct mr_offsets *offsets, struct mr_checkpoint_commit **rows,
		    uint32_t *count);

/* Writes the record of a commit into 'writer' (not published). -EAGAIN: the lane is full. */
int mr_offsets_reserve(struct mr_lane_writer *writer, const char *group, const uint8_t topic_id[16],
		       int32_t partition, uint64_t offset, struct mr_offsets_stamp stamp);

#endif
