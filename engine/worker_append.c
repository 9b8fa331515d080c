/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches that the engine itself writes into a log that it leads (MR_WORKER_APPEND). Runs on the
 * worker.
 */
#include <errno.h>

#include "worker_replica.h"
#include "worker_state.h"

static int append(struct mr_worker *worker, struct mr_worker_partition *partition,
		  struct mr_worker_message *message)
{
	struct mr_batch_header header;

	if (!partition->log || partition->failed || partition->removing ||
	    (partition->replica && !mr_worker_replica_drains(partition->replica)))
		return -ESTALE;
	if (mr_batch_decode_header(message->state, message->state_bytes, &header) < 0)
		return -EBADMSG;
	header.base_offset = partition->state.log_end;
	header.leader_epoch = partition->state.leader_epoch;
	message->offset = header.base_offset;
	return mr_worker_replica_append(worker, partition, message->state, &header) ? 0 : -EAGAIN;
}

void mr_worker_append_own(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	while (partition->appends) {
		struct mr_worker_message *message = partition->appends;

		partition->appends = message->next;
		mr_worker_return(worker, message, append(worker, partition, message));
	}
}
