/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place in a tail as a client walks it: from batch to batch, from group to group, over the header
 * blocks of segments. Owned by the consumer. The worker may write over what is read at any moment,
 * so whatever is read counts only after mr_tail_view_valid(); -EOVERFLOW says that the cursor was
 * overtaken.
 */
#ifndef MR_TAIL_CURSOR_H
#define MR_TAIL_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "tail.h"

/*
 * Either before a group (or a segment's header block), in_group false and position a multiple of
 * the block; or in the group that starts at group_start, before one of its batches or behind its
 * last.
 */
struct mr_tail_cursor {
	uint64_t position;
	uint64_t group_start;
	uint64_t batches_end; /* of the group; 0 while it is open */
	uint64_t group_end;   /* likewise */
	bool in_group;
};

/*
 * Puts the cursor before the group that holds 'offset', or at the end of what is published
 * ('limit', a position). 1; 0: the offset is older than the tail; -EOVERFLOW: try again; -EBADMSG:
 * this is no log.
 */
int mr_tail_cursor_find(const struct mr_tail_view *view, uint64_t offset, uint64_t limit,
			struct mr_tail_cursor *cursor);

/*
 * The batch at the cursor, all of which is below 'limit', which was loaded before (R8). 1: *header
 * is a decoded copy of its header, and its bytes are at cursor->position; 0: nothing more yet;
 * -EOVERFLOW; -EBADMSG.
 */
int mr_tail_cursor_next(struct mr_tail_cursor *cursor, const struct mr_tail_view *view,
			uint64_t limit, struct mr_batch_header *header);

/* Goes past the batch that mr_tail_cursor_next() gave. */
static inline void mr_tail_cursor_pass(struct mr_tail_cursor *cursor,
				       const struct mr_batch_header *header)
{
	cursor->position += header->total_bytes;
}

#endif
