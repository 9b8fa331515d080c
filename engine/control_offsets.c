/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed offsets of consumer groups, as the control thread keeps them: a commit is a record in
 * "__offsets", published through a lane of the engine's own, and answered when that record is
 * committed (offsets.h). Runs on the control thread (control.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "control.h"
#include "log/replay.h"

#define COMMIT_LANE_BYTES (1u << 20)

static int open_commit_lane(struct mr_control *control, struct mr_error *err)
{
	struct mr_own_lane *own = &control->commit_lane;
	struct mr_topic *topic = mr_topics_find(&control->topics, MR_OFFSETS_TOPIC);
	struct mr_config_topic wanted = {
		.name = MR_OFFSETS_TOPIC,
		.partitions = 1,
		.segment_bytes = control->config->segment_bytes,
	};
	struct mr_own_lane_options options = {
		.acks = MR_ACKS_COMMITTED, .lane_bytes = COMMIT_LANE_BYTES, .producer_id = -1};
	struct mr_hosted_topic *hosted;
	int r = 0;

	if (own->handle && !own->closing)
		return 0;
	if (own->handle || control->stopping)
		return mr_error_set(err, -EAGAIN,
				    "the engine's lane into '" MR_OFFSETS_TOPIC "' is closing");
	if (!topic)
		r = mr_control_create_topic(control, &wanted, &topic, err);
	if (r < 0)
		return r;
	hosted = topic->owner;
	return mr_own_lane_open(control, &hosted->partitions[0], &options, own, err);
}

/*
 * Later than whatever it follows here, whatever the clocks say: who commits after having seen
 * another commit is not beaten by it anywhere.
 */
static struct mr_offsets_stamp stamp_now(const struct mr_control *control,
					 const struct mr_commit *request)
{
	struct mr_offsets_stamp before = mr_offsets_stamp(control->offsets, request->group,
							  request->topic_id, request->partition);
	struct mr_offsets_stamp now = {.ms = mr_clock_wall_ms(control->clock),
				       .node = control->config->number};

	return mr_offsets_stamp_after(before, now);
}

/* Into the log; 'ticket' NULL: a peer's, which nobody waits for. */
int mr_control_publish_commit(struct mr_control *control, const struct mr_commit *request,
			      struct mr_offsets_stamp stamp, struct mr_local_ticket *ticket,
			      struct mr_error *err)
{
	struct mr_own_lane *own = &control->commit_lane;
	struct mr_pending_commit *pending;
	int r;

	if (control->failed) {
		*err = control->failure;
		return err->code;
	}
	r = open_commit_lane(control, err);
	if (r < 0)
		return r;
	pending = calloc(1, sizeof(*pending));
	if (!pending)
		return mr_error_set(err, -ENOMEM, "no memory for a commit");
	pending->ticket = ticket;
	pending->commit = *request;
	pending->stamp = stamp;
	pending->number = own->writer.number;
	r = mr_offsets_reserve(&own->writer, request->group, request->topic_id, request->partition,
			       request->offset, stamp);
	if (r < 0) {
		free(pending);
		return mr_error_set(err, r, "group '%s': too many commits are waiting for the disk",
				    request->group);
	}
	*control->commits_end = pending;
	control->commits_end = &pending->next;
	mr_lane_set_waiting(&own->writer, true);
	mr_own_lane_publish(own);
	return 0;
}

int mr_control_commit(void *engine, const struct mr_commit *request, struct mr_local_ticket *ticket,
		      struct mr_error *err)
{
	struct mr_control *control = engine;

	if (!mr_control_find(control, request->topic_id, request->partition, err))
		return err->code;
	return mr_control_publish_commit(control, request, stamp_now(control, request), ticket,
					 err);
}

/* The worker rang: commits whose records are committed are answered, in order. */
void mr_control_commits_acknowledged(struct mr_control *control)
{
	struct mr_own_lane *own = &control->commit_lane;
	uint64_t acknowledged;
	struct mr_receipt receipts[16];
	uint32_t count, i;

	if (!own->handle)
		return;
	acknowledged = mr_lane_acknowledged(&own->writer);
	while (control->commits && control->commits->number < acknowledged) {
		struct mr_pending_commit *pending = control->commits;
		const struct mr_commit *commit_ = &pending->commit;

		control->commits = pending->next;
		if (!control->commits)
			control->commits_end = &control->commits;
		/* full: the log has it */
		(void)mr_offsets_set(control->offsets, commit_->group, commit_->topic_id,
				     commit_->partition, commit_->offset, pending->stamp);
		if (pending->ticket) {
			mr_control_commit_made(control, commit_, pending->stamp);
			mr_local_answer(pending->ticket, 0, NULL, NULL);
		}
		free(pending);
	}
	while ((count = mr_lane_receipts(&own->writer, receipts, 16)) > 0)
		for (i = 0; i < count; i++)
			if (receipts[i].base_offset != MR_OFFSET_UNKNOWN && !control->commits)
				control->commits_applied =
					receipts[i].base_offset + receipts[i].count;
}

/* No answer will come: the engine stops or its disk failed. */
void mr_control_fail_commits(struct mr_control *control, const struct mr_error *why)
{
	while (control->commits) {
		struct mr_pending_commit *pending = control->commits;

		control->commits = pending->next;
		if (pending->ticket)
			mr_local_answer(pending->ticket, why->code, why, NULL);
		free(pending);
	}
	control->commits_end = &control->commits;
}

static void commit_lane_poisoned(struct mr_own_lane *lane)
{
	mr_own_lane_close(lane->owner, lane);
}

/* The engine's own lane is gone: poisoned, or at a stop. The next commit opens another. */
static void commit_lane_closed(struct mr_own_lane *lane, int bells)
{
	struct mr_control *control = lane->owner;
	struct mr_error err;

	mr_control_commits_acknowledged(control);
	mr_error_set(&err, -EPIPE, "the engine's lane into '" MR_OFFSETS_TOPIC "' was closed");
	mr_control_fail_commits(control, &err);
	mr_own_lane_closed(lane, bells);
}

const struct mr_own_lane_events mr_control_commit_lane_events = {
	.poisoned = commit_lane_poisoned,
	.closed = commit_lane_closed,
};

int mr_control_committed(void *engine, const struct mr_commit *request, uint64_t *offset,
			 struct mr_error *err)
{
	struct mr_control *control = engine;

	if (!mr_control_find(control, request->topic_id, request->partition, err))
		return err->code;
	*offset = mr_offsets_get(control->offsets, request->group, request->topic_id,
				 request->partition);
	return 0;
}

static int replay_batch(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	struct mr_control *control = arg;
	struct mr_batch_reader reader;
	struct mr_message message;

	if (mr_batch_read(&reader, bytes, header) < 0)
		return 0; /* not ours */
	while (mr_batch_next(&reader, &message) == 1)
		(void)mr_offsets_apply(control->offsets,
				       &message); /* what is no commit says nothing */
	control->commits_applied = header->base_offset + (uint64_t)header->last_offset_delta + 1;
	return 0;
}

/* The checkpoint's rows: before the next checkpoint is written, which must hold them too. */
int mr_control_load_offsets(struct mr_control *control, struct mr_error *err)
{
	const struct mr_checkpoint *checkpoint = &control->checkpoint;
	uint32_t i;
	int r = 0;

	for (i = 0; i < checkpoint->commit_count && r == 0; i++) {
		const struct mr_checkpoint_commit *row = &checkpoint->commits[i];
		struct mr_offsets_stamp stamp = {.ms = row->committed_ms, .node = row->node};

		r = mr_offsets_set(control->offsets, row->group, row->topic_id, row->partition,
				   row->offset, stamp);
	}
	control->commits_applied = checkpoint->commits_offset;
	if (r < 0)
		return mr_error_set(err, r, "no memory for %u offsets of groups",
				    checkpoint->commit_count);
	return 0;
}

/* What "__offsets" says since. */
int mr_control_replay_offsets(struct mr_control *control, struct mr_error *err)
{
	const struct mr_checkpoint *checkpoint = &control->checkpoint;
	struct mr_topic *topic = mr_topics_find(&control->topics, MR_OFFSETS_TOPIC);
	struct mr_hosted_topic *hosted = topic ? topic->owner : NULL;
	struct mr_replay_options options = {
		.from_offset = checkpoint->commits_offset,
		.batch = replay_batch,
		.arg = control,
	};

	if (!hosted || hosted->partitions[0].state != MR_HOSTED_OK)
		return 0; /* none yet, or damaged: said already */
	options.end_offset = hosted->partitions[0].last.offset;
	return mr_log_replay(hosted->partitions[0].files, &options, err);
}
