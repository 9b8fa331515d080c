/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets of topics that are kept in memory only. Runs on the control thread (control.h).
 *
 * No file says how far such a partition had come, but its offsets never go back and are never given
 * twice (I3, I4): they are handed out of blocks that were made durable first, as producer ids are.
 * In a checkpoint the partition's 'offset' is the end of what is reserved; a start begins there and
 * reserves a block more before anything is appended. The first block needs no checkpoint: the
 * catalogue that names the topic and no checkpoint that does mean just that. The next block is
 * reserved when half of one is used, and the worker begins no group beyond what it was told of.
 */
#include <string.h>

#include "check.h"
#include "control.h"

#define OFFSET_BLOCK (UINT64_C(1) << 36)

static_assert(MR_LOG_LIMIT_SLACK < OFFSET_BLOCK / 2, "a group ends within its block");

/* Where this start begins, and a block more, which is durable before the worker has it. */
void mr_control_begin_offsets(struct mr_hosted *hosted, bool created, struct mr_recovered *out)
{
	struct mr_checkpoint_partition *last = &hosted->last;
	const struct mr_checkpoint_partition *old =
		mr_checkpoint_find(&hosted->control->checkpoint, hosted->topic->id, hosted->number);
	uint64_t base = old ? old->offset : created ? 0 : OFFSET_BLOCK;

	*last = (struct mr_checkpoint_partition){
		.partition = hosted->number,
		.log_start = base,
		.offset = base + OFFSET_BLOCK,
	};
	memcpy(last->topic_id, hosted->topic->id, 16);
	out->log_start = base;
	out->start.offset = base;
	out->start.offset_limit = last->offset - MR_LOG_LIMIT_SLACK;
	out->start.position = MR_BLOCK_BYTES;
	hosted->snapshot_valid = true;
}

static void tell_worker(struct mr_hosted *hosted)
{
	struct mr_worker_message *message = &hosted->reserved;

	message->kind = MR_WORKER_OFFSETS_RESERVED;
	message->partition = hosted->part;
	message->offset = hosted->last.offset - MR_LOG_LIMIT_SLACK;
	message->owner = hosted;
	hosted->reserved_out = true;
	hosted->posts++;
	mr_worker_send(hosted->worker, message);
}

/* Every second: is half of the last block used? Without one more, producers wait at its end. */
void mr_control_reserve_offsets(struct mr_hosted *hosted)
{
	struct mr_control *control = hosted->control;
	struct mr_error err;
	uint64_t end;
	int r;

	if (hosted->state != MR_HOSTED_OK || hosted->remove_posted || hosted->reserved_out)
		return;
	end = atomic_load_explicit(&mr_worker_partition_tail(hosted->part)->page->appended_offset,
				   memory_order_relaxed); /* relaxed: a number, soon a newer one */
	if (end + OFFSET_BLOCK / 2 < hosted->last.offset || control->failed ||
	    control->checkpoint_running)
		return; /* a checkpoint that is being written: in a second */
	hosted->last.offset += OFFSET_BLOCK;
	r = mr_control_checkpoint_twice(control, &err);
	if (r < 0) {
		hosted->last.offset -= OFFSET_BLOCK;
		mr_control_suspect(control, r, &err);
		return;
	}
	tell_worker(hosted);
}
