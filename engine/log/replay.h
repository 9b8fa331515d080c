/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a partition's log from its files, batch by batch, in order; every group is checked before
 * any of it is handed out. For what the engine itself has to read back, and for tools. Blocks;
 * allocates one buffer of the largest group.
 */
#ifndef MR_REPLAY_H
#define MR_REPLAY_H

#include "log.h"

struct mr_replay_options {
	uint64_t from_offset; /* the first batch given is the one that holds it */
	uint64_t end_offset;  /* nothing at or above it is read: it must be flushed */
	/* 0: go on; else the replay ends and returns it. 'bytes' are borrowed for the call. */
	int (*batch)(const uint8_t *bytes, const struct mr_batch_header *header, void *arg);
	void *arg;
};

/* 0; what 'batch' returned; -EBADMSG naming file and position; -ERANGE: from_offset is not kept. */
int mr_log_replay(const struct mr_log_files *files, const struct mr_replay_options *options,
		struct mr_error *err);

#endif
