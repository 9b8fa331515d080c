/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's part of what a replica hands to another that begins anew (worker_anew.h):
 * the entry that stands in the checkpoint, encoded; memory for one that comes; and what came, as
 * the entry that the log is to begin anew with (control_cut.c). Nothing here waits for the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "control.h"

void mr_control_drop_state(struct mr_worker_message *message)
{
	free(message->state);
	message->state = NULL;
	message->state_bytes = 0;
}

/*
 * What the entry of a replica says is final, so it does not matter whether it is on the disk yet.
 * None: there is no entry, or it is too large; the worker is asked again.
 */
void mr_control_keep_state(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	size_t bytes = 0;
	int r = -ENOENT;

	mr_control_drop_state(message);
	if (hosted->snapshot_valid && !hosted->cut)
		r = mr_checkpoint_encode_state(&hosted->last, &message->state, &bytes);
	if (r == 0 && bytes > MR_FEED_STATE_BYTES_MAX) {
		mr_diag_warn("a replica that begins anew gets no state: it is too large",
			     "topic=%s partition=%d bytes=%zu", hosted->topic->name, hosted->number,
			     bytes);
		mr_control_drop_state(message);
	} else if (r == 0) {
		message->state_bytes = (uint32_t)bytes;
		message->offset = hosted->last.offset;
	}
	mr_worker_send(hosted->worker, message);
}

void mr_control_state_room(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	uint32_t bytes = message->state_bytes;

	mr_control_drop_state(message);
	if (bytes)
		message->state = malloc(bytes);
	if (message->state)
		message->state_bytes = bytes;
	mr_worker_send(hosted->worker, message);
}

/* The peer is believed no more than a disk. */
static int decode(const struct mr_hosted *hosted, const struct mr_worker_message *message,
		  struct mr_checkpoint_partition *out, struct mr_error *err)
{
	int r = mr_checkpoint_decode_state(message->state, message->state_bytes, out, err);

	if (r < 0)
		return r;
	if (!memcmp(out->topic_id, hosted->topic->id, sizeof(out->topic_id)) &&
	    out->partition == hosted->number && out->offset >= message->offset)
		return 0;
	mr_checkpoint_partition_deinit(out);
	return mr_error_set(err, -EBADMSG,
			    "a replica's state is of another partition, or of before its log");
}

int mr_control_take_state(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	struct mr_error err = {0};
	int r = decode(hosted, message, &hosted->anew, &err);

	mr_control_drop_state(message);
	message->status = r;
	if (r < 0) {
		mr_diag_warn("the leader's state is not taken",
			     "topic=%s partition=%d error=\"%s\"", hosted->topic->name,
			     hosted->number, err.what);
		return r;
	}
	mr_checkpoint_begin_anew(&hosted->anew, message->offset);
	hosted->anew.leader_epoch = mr_control_leader_epoch(hosted);
	hosted->anew_valid = true;
	return 0;
}

void mr_control_forget_anew(struct mr_hosted *hosted)
{
	mr_checkpoint_partition_deinit(&hosted->anew);
	memset(&hosted->anew, 0, sizeof(hosted->anew));
	hosted->anew_valid = false;
}
