/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and freeing what a worker works on: partitions, lanes, wakers. Runs on the control thread,
 * before the worker gets them and after it gave them back; all memory a worker will ever need is
 * taken here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/place.h"
#include "check.h"
#include "doorbell.h"
#include "region.h"
#include "worker_replica.h"

#define FORWARD_BYTES (128u << 10) /* of batches to a leader in one message, or a larger one */

/* What stands in a tail page before anything was appended: where recovery found the log. */
static void publish_start(struct mr_worker_partition *partition, const struct mr_log_start *start)
{
	struct mr_tail *tail = &partition->tail;

	mr_tail_publish_appended(tail, start->position, start->offset);
	mr_tail_publish_flushed(tail, start->position, start->offset);
	if (partition->replica || partition->cut) {
		/* what is committed of it is not known before somebody leads; nobody has the tail
		 */
		atomic_store_explicit(&tail->page->committed, 0, memory_order_relaxed);
		atomic_store_explicit(&tail->page->committed_offset,
				      partition->state.high_watermark, memory_order_relaxed);
		atomic_store_explicit(&tail->page->last_stable_offset,
				      partition->state.high_watermark, memory_order_relaxed);
	} else {
		mr_tail_publish_committed(tail, start->position, partition->state.high_watermark);
	}
	atomic_store_explicit(&tail->page->log_start_offset, partition->state.log_start,
			      memory_order_relaxed); /* relaxed: nobody has the tail yet */
}

static int make_tail(struct mr_worker_partition *partition,
		     const struct mr_worker_partition_options *options, struct mr_error *err)
{
	int r = mr_tail_create(options->tail_bytes, options->topic_id, options->partition,
			       options->start.position, options->start.offset, &partition->tail,
			       err);

	if (r < 0)
		return r;
	r = mr_place_bind_memory(partition->tail.data, options->tail_bytes, options->node, err);
	if (r < 0)
		return r;
	publish_start(partition, &options->start);
	return 0;
}

static int take_memory(struct mr_worker_partition *partition, struct mr_error *err)
{
	partition->lanes = calloc(MR_WORKER_LANES_MAX, sizeof(*partition->lanes));
	partition->watches = calloc(MR_WORKER_WATCHES_MAX, sizeof(*partition->watches));
	partition->disk.slots = calloc(MR_ANSWERS_MAX, sizeof(struct mr_answer));
	partition->committed.slots = calloc(MR_ANSWERS_MAX, sizeof(struct mr_answer));
	if (!partition->lanes || !partition->watches || !partition->disk.slots ||
	    !partition->committed.slots)
		return mr_error_set(err, -ENOMEM, "no memory for the lanes of a partition");
	return 0;
}

/* A producer whose lane is open is not forgotten, however quiet it is. */
static bool has_lane(int64_t producer_id, void *arg)
{
	const struct mr_worker_partition *partition = arg;
	uint32_t i;

	for (i = 0; i < partition->lane_count; i++)
		if (partition->lanes[i]->producer_id == producer_id)
			return true;
	return false;
}

static void init_parcel(struct mr_worker_replica *replica,
			const struct mr_worker_partition_options *options,
			struct mr_replica_parcel *parcel)
{
	parcel->position = MR_TAIL_NO_HOLD;
	parcel->parcel.mail.kind = MR_MAIL_PARCEL;
	parcel->parcel.owner = replica;
	parcel->parcel.partition = options->partition;
	memcpy(parcel->parcel.topic_id, options->topic_id, sizeof(parcel->parcel.topic_id));
}

static void init_links(struct mr_worker_replica *replica,
		       const struct mr_worker_partition_options *options)
{
	uint64_t left = options->replica->replicas & ~(UINT64_C(1) << options->replica->self);
	uint32_t i;

	for (; left; left &= left - 1) {
		struct mr_replica_link *link = &replica->links[replica->link_count++];

		link->node = (uint32_t)__builtin_ctzll(left);
		link->cursor_offset = MR_OFFSET_UNKNOWN;
		for (i = 0; i < MR_REPLICA_ENTRIES; i++)
			init_parcel(replica, options, &link->entries[i]);
		for (i = 0; i < MR_REPLICA_PARCELS; i++)
			init_parcel(replica, options, &link->batches[i]);
	}
}

static bool init_forwarder(struct mr_worker_replica *replica,
			   const struct mr_worker_partition_options *options)
{
	struct mr_replica_forwarder *forwarder = &replica->forwarder;
	bool made;
	uint32_t i;

	forwarder->buffer_bytes = options->log.batch_bytes_max > FORWARD_BYTES
					  ? options->log.batch_bytes_max
					  : FORWARD_BYTES;
	forwarder->waiting.slots = calloc(MR_ANSWERS_MAX, sizeof(struct mr_answer));
	made = forwarder->waiting.slots != NULL;
	for (i = 0; i < MR_REPLICA_PARCELS; i++) {
		init_parcel(replica, options, &forwarder->parcels[i]);
		forwarder->buffers[i] = malloc(forwarder->buffer_bytes);
		made &= forwarder->buffers[i] != NULL;
	}
	return made;
}

int mr_worker_replica_new(struct mr_worker_partition *partition,
			  const struct mr_worker_partition_options *options, struct mr_error *err)
{
	size_t links = (size_t)__builtin_popcountll(options->replica->replicas);
	struct mr_worker_replica *replica =
		calloc(1, sizeof(*replica) + links * sizeof(replica->links[0]));

	if (!replica)
		return mr_error_set(err, -ENOMEM, "no memory for the replicas of a partition");
	replica->partition = partition;
	replica->arrivals_end = &replica->arrivals;
	replica->read.kind = MR_WORKER_COORDINATE;
	replica->propose.kind = MR_WORKER_COORDINATE;
	replica->truncate.kind = MR_WORKER_TRUNCATE;
	replica->read.owner = options->owner;
	replica->propose.owner = options->owner;
	replica->truncate.owner = options->owner;
	mr_worker_anew_init(&replica->anew, options->owner);
	init_links(replica, options);
	partition->replica = replica;
	if (!init_forwarder(replica, options))
		return mr_error_set(err, -ENOMEM, "no memory to forward what a lane holds");
	/* the worker tells it the time when it has it */
	mr_replica_init(&replica->machine, options->replica, &partition->state,
			partition->state.log_start, partition->state.log_end, 0);
	replica->isr = replica->machine.known.isr;
	replica->committed = partition->state.high_watermark;
	replica->committed_cursor = (struct mr_tail_cursor){.position = options->start.position};
	return 0;
}

void mr_worker_replica_free(struct mr_worker_replica *replica)
{
	uint32_t i;

	if (!replica)
		return;
	for (i = 0; i < MR_REPLICA_PARCELS; i++)
		free(replica->forwarder.buffers[i]);
	free(replica->forwarder.waiting.slots);
	mr_worker_anew_deinit(&replica->anew);
	free(replica);
}

static void set_messages(struct mr_worker_partition *partition, void *owner)
{
	partition->event.owner = owner;
	partition->failure.owner = owner;
	partition->event.kind = MR_WORKER_LOG_EVENT;
	partition->event.partition = partition;
	partition->failure.kind = MR_WORKER_LOG_FAILED;
	partition->failure.partition = partition;
}

/* What readers of the tail before were shown does not go back; more is not known yet. */
static void show_as_before(struct mr_worker_partition *partition)
{
	struct mr_partition *state = &partition->state;
	uint64_t committed = partition->cut->replica->committed;

	state->leads = false;
	state->high_watermark = committed > state->log_start ? committed : state->log_start;
}

int mr_worker_partition_new(const struct mr_worker_partition_options *options,
			    struct mr_partition *state, struct mr_worker_partition **out,
			    struct mr_error *err)
{
	struct mr_worker_partition *partition = calloc(1, sizeof(*partition));
	int r;

	if (!partition)
		return mr_error_set(err, -ENOMEM, "no memory for a partition");
	partition->tail.fd = -1;
	partition->state = *state; /* given back below if anything fails */
	partition->node = options->node;
	partition->log_options = options->log;
	partition->start = options->start;
	partition->compressor = options->compressor;
	partition->compression = options->compression;
	partition->read_only = options->read_only;
	if (options->read_only)
		snprintf(partition->read_only_reason, sizeof(partition->read_only_reason), "%s",
			 options->read_only_reason);
	memcpy(partition->counters, options->counters, sizeof(partition->counters));
	set_messages(partition, options->owner);
	r = take_memory(partition, err);
	partition->cut = options->cut;
	if (options->cut)
		show_as_before(partition);
	if (r == 0 && options->replica && !options->cut)
		r = mr_worker_replica_new(partition, options, err);
	if (r == 0)
		r = make_tail(partition, options, err);
	if (r < 0) {
		memset(&partition->state, 0, sizeof(partition->state));
		mr_worker_partition_free(partition);
		return r;
	}
	memset(state, 0, sizeof(*state));
	partition->state.is_pinned = has_lane;
	partition->state.pinned_arg = partition;
	*out = partition;
	return 0;
}

void mr_worker_partition_close_log(struct mr_worker_partition *partition)
{
	struct mr_segment *active = NULL, *spare = NULL;
	struct mr_log *log = partition->log ? partition->log : partition->cut_log;

	if (!log)
		return;
	mr_log_close(log, &active, &spare);
	partition->log = NULL;
	partition->cut_log = NULL;
	mr_segment_close(spare); /* the active one stands in the control thread's list too */
}

void mr_worker_partition_free(struct mr_worker_partition *partition)
{
	if (!partition)
		return;
	mr_assert(partition->lane_count == 0);
	mr_worker_partition_close_log(partition);
	mr_tail_destroy(&partition->tail);
	mr_partition_deinit(&partition->state);
	mr_worker_replica_free(partition->replica);
	free(partition->lanes);
	free(partition->watches);
	free(partition->disk.slots);
	free(partition->committed.slots);
	free(partition);
}

void mr_worker_partition_ended(const struct mr_worker_partition *partition, uint64_t *offset,
			       uint64_t *position)
{
	struct mr_log_state log = {0};

	*offset = 0;
	*position = 0;
	if (partition->log)
		mr_log_state(partition->log, &log);
	if (!partition->log || partition->failed || log.failed || log.in_flight ||
	    log.flushed_offset != log.end_offset)
		return;
	*offset = log.flushed_offset;
	*position = log.flushed_position;
}

const struct mr_epochs *mr_worker_partition_epochs(const struct mr_worker_partition *partition,
						   uint64_t *log_end)
{
	*log_end = partition->state.log_end;
	return &partition->state.epochs;
}

const struct mr_tail *mr_worker_partition_tail(const struct mr_worker_partition *partition)
{
	return &partition->tail;
}

const struct mr_worker_replica_view *
mr_worker_partition_replica(const struct mr_worker_partition *partition)
{
	if (partition->cut)
		partition = partition->cut;
	return partition->replica ? &partition->replica->view : NULL;
}

/*
 * What was published before a lane was handed back may have been taken by the engine before, in
 * batches that ended elsewhere.
 */
static void note_handed_back(struct mr_worker_lane *lane)
{
	struct mr_error err;
	int64_t waiting = mr_lane_reader_poll(&lane->reader, &err);

	if (waiting <= 0)
		return; /* nothing, or its worker finds out what is wrong */
	lane->again = true;
	lane->again_index = mr_lane_reader_index(&lane->reader) + (uint32_t)waiting;
}

struct mr_worker_lane *mr_worker_lane_new(const struct mr_worker_lane_options *options)
{
	struct mr_worker_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->partition = options->partition;
	lane->reader = options->reader;
	lane->producer_id = options->identity.producer_id;
	lane->producer_epoch = (int16_t)options->identity.producer_epoch;
	lane->acks = options->identity.acks;
	lane->resumed = options->resumed;
	lane->raised = options->resumed && lane->acks != MR_ACKS_COMMITTED;
	lane->repeats = options->repeats;
	if (options->resumed)
		note_handed_back(lane);
	lane->owner = options->owner;
	lane->poisoned.kind = MR_WORKER_LANE_POISONED;
	lane->poisoned.lane = lane;
	if (mr_waker_init(&lane->waker, &lane->reader.client->waiting, options->bell_to_client,
			  options->owner) < 0) {
		free(lane);
		return NULL;
	}
	return lane;
}

void mr_worker_lane_free(struct mr_worker_lane *lane)
{
	if (!lane)
		return;
	mr_waker_deinit(&lane->waker);
	mr_lane_reader_close(&lane->reader);
	free(lane);
}

void *mr_worker_lane_owner(const struct mr_worker_lane *lane)
{
	return lane->owner;
}

void mr_worker_lane_forget(struct mr_worker_lane *lane)
{
	mr_waker_deinit(&lane->waker);
	free(lane);
}

const char *mr_worker_lane_reason_text(const struct mr_worker_lane *lane)
{
	return lane->reader.engine->reason_text; /* written before the message was sent */
}

int mr_waker_init(struct mr_waker *waker, const _Atomic uint32_t *waiting, int bell_fd, void *owner)
{
	struct mr_worker_message *message = calloc(1, sizeof(*message));

	if (!message)
		return -ENOMEM;
	message->kind = MR_WORKER_WAKE;
	message->waker = waker;
	waker->waiting = waiting;
	waker->bell_fd = bell_fd;
	waker->owner = owner;
	waker->message = message;
	atomic_init(&waker->sent, false);
	return 0;
}

void mr_waker_deinit(struct mr_waker *waker)
{
	free(waker->message);
	waker->message = NULL;
}

void mr_waker_ring(struct mr_waker *waker)
{
	/* W10: first free to be sent again, then ring: a change that comes now is sent anew */
	atomic_store_explicit(&waker->sent, false, memory_order_release);
	mr_doorbell_ring(waker->bell_fd);
}
