/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkpoint needs of a partition, as of one moment (MR_WORKER_SNAPSHOT). Runs on the
 * worker.
 */
#include <errno.h>
#include <string.h>

#include "worker_replica.h"
#include "worker_state.h"

/*
 * A log that is void is to begin anew. An entry in the checkpoint would vouch for it at the next
 * start: one that begins behind 0 would go on without the state that it began to fetch.
 */
static bool is_void(const struct mr_worker_partition *partition)
{
	return partition->replica && partition->replica->machine.void_log;
}

void mr_worker_snapshot_ask(struct mr_worker *worker, struct mr_worker_message *message)
{
	struct mr_worker_partition *partition = message->partition;

	if (partition->resting || is_void(partition)) {
		mr_worker_return(worker, message, -ECANCELED);
		return;
	}
	partition->snapshot = message;
	partition->snapshot_taken = false;
}

/*
 * All of it as of one group's end: where the log goes on and what the producers had written by
 * then. Right after a group was closed is such a moment, so a busy log has them, too.
 */
void mr_worker_snapshot_take(struct mr_worker_partition *partition)
{
	struct mr_worker_snapshot *snapshot =
		partition->snapshot ? partition->snapshot->snapshot : NULL;
	uint32_t i, count = 0;

	if (!snapshot || partition->snapshot_taken || !partition->log)
		return;
	mr_log_state(partition->log, &snapshot->log);
	if (snapshot->log.flushed_offset == snapshot->log.end_offset) {
		/* the end may lie in a segment that is not named yet: this does not */
		snapshot->log.end_position = snapshot->log.flushed_position;
		snapshot->log.end_group_number = snapshot->log.flushed_group_number;
		snapshot->log.end_crc = snapshot->log.flushed_crc;
	} else if (snapshot->log.open) {
		return;
	}
	(void)mr_partition_expire_producers(&partition->state,
					    partition->snapshot->expire_before_ms);
	snapshot->log_end = partition->state.log_end;
	snapshot->log_start = partition->state.log_start;
	for (i = 0; i < partition->state.producers_max; i++)
		if (partition->state.producers[i].producer_id >= 0)
			snapshot->producers[count++] = partition->state.producers[i];
	snapshot->producer_count = count;
	snapshot->epoch_count = partition->state.epochs.count;
	memcpy(snapshot->epochs, partition->state.epochs.entries,
	       snapshot->epoch_count * sizeof(*snapshot->epochs));
	partition->snapshot_taken = true;
}

void mr_worker_snapshot_settle(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_message *message = partition->snapshot;

	if (!message || !partition->snapshot_taken ||
	    partition->state.flushed < message->snapshot->log_end)
		return;
	partition->snapshot = NULL;
	mr_worker_return(worker, message, 0);
}
