/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which leader epoch begins at which offset of a partition's log. Two replicas that disagree about
 * their logs' ends find the place where they part by this table and by nothing else (KIP-101,
 * KIP-279): truncation by the high watermark loses records. Every batch carries its leader epoch,
 * so recovery makes the table from the checkpoint's and from the log behind it; what stood in
 * segments that retention let go stays in it.
 *
 * Pure: no I/O, no clock, no thread; owned by the partition's worker. Memory is taken at init.
 */
#ifndef MR_EPOCHS_H
#define MR_EPOCHS_H

#include <stdint.h>

#include "error.h"

/* Beyond it the oldest is forgotten: a replica that parted so long ago copies from the log start.
 */
#define MR_EPOCHS_MAX 1024
#define MR_EPOCH_NONE (-1)

struct mr_epoch {
	int32_t leader_epoch;
	uint64_t start_offset; /* of its first record here */
};

/* Both numbers rise from entry to entry; the last one goes on to the log's end. */
struct mr_epochs {
	struct mr_epoch *entries;
	uint32_t count;
	uint32_t max;
};

/* 'max' entries, at least 1. -ENOMEM. */
int mr_epochs_init(struct mr_epochs *epochs, uint32_t max, struct mr_error *err);
void mr_epochs_deinit(struct mr_epochs *epochs);

/*
 * A batch of 'leader_epoch' begins at 'offset'; offsets come in order. -EBADMSG: the epoch is lower
 * than that of the batch before, which no log holds (nothing was noted).
 */
int mr_epochs_note(struct mr_epochs *epochs, int32_t leader_epoch, uint64_t offset);

/* MR_EPOCH_NONE for a log without records. */
int32_t mr_epochs_last(const struct mr_epochs *epochs);

/*
 * The greatest epoch that is at most 'leader_epoch', and where it ends: at the next one's start, or
 * at 'log_end'. There is none (MR_EPOCH_NONE): it ends where the oldest known one starts.
 */
struct mr_epoch_end {
	int32_t leader_epoch;
	uint64_t end_offset;
};
struct mr_epoch_end mr_epochs_end(const struct mr_epochs *epochs, int32_t leader_epoch,
				  uint64_t log_end);

/* Of the record at 'offset', below the log's end; MR_EPOCH_NONE below the oldest one known. */
int32_t mr_epochs_at(const struct mr_epochs *epochs, uint64_t offset);

/*
 * Up to which offset two logs are the same, by their tables: a record of one epoch at one offset is
 * the same in both, and so is all before it. 0: by what they know, nothing is.
 */
uint64_t mr_epochs_common(const struct mr_epochs *a, uint64_t a_end, const struct mr_epochs *b,
			  uint64_t b_end);

/* Records from 'offset' on are gone. */
void mr_epochs_truncate(struct mr_epochs *epochs, uint64_t offset);

#endif
