/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting records off the end of a log: what a follower does where its log parts from its leader's
 * (reliability.md R5). A block that holds answered bytes is never written again (D4), so nothing is
 * cut inside a file: a new segment begins where the group stands that holds the first record to go,
 * with a copy of what stays of that group. Once it has its name, what lies behind its beginning in
 * the segment before is no longer part of the log.
 *
 * Blocks: a chore. Nobody else has the log open, and afterwards it is recovered anew.
 */
#ifndef MR_TRUNCATE_H
#define MR_TRUNCATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

struct mr_truncation {
	uint8_t topic_id[16];
	uint8_t log_id[16];
	int32_t partition;
	uint64_t offset;	/* of the first record that goes, with its whole batch */
	bool reset;		/* all go: the log begins anew at 'offset', empty */
	uint64_t keep_offset;	/* of the checkpoint's entry; 0: there is none */
	uint64_t segment_bytes; /* of the new segment, which must hold the largest group */
	uint32_t lock_wait_ms;
};

/*
 * Cuts the log in 'directory' at truncation->offset, durably; at or beyond its end there is nothing
 * to do. Recovery begins at the checkpoint, so nothing below that is cut: -EINVAL, and nothing was
 * done. Before a reset the partition leaves the checkpoint (mr_checkpoint_forget()), durably. Where
 * a crash cuts this off, the log has not changed, or ends at a segment's beginning that is not
 * below the offset; at a reset it may be gone, and the next start makes it anew. -EBADMSG: the
 * records before the cut are damaged; -ERANGE: it begins behind the offset.
 */
int mr_log_truncate(struct mr_io *io, const char *directory, const struct mr_truncation *truncation,
		    struct mr_error *err);

#endif
