/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One partition as the control thread hosts it: what its worker and its log are made with, handing
 * it to its worker, and taking it back. Runs on the control thread (control.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "control.h"
#include "replica/feed_codec.h"

/* At least so many in a tail that is all there is: what goes at a time. */
#define MEMORY_GROUPS 16

/* ---- a hosted partition
 * ------------------------------------------------------------------------------ */

static _Atomic uint64_t spare; /* counts where the file is full */

static void name_counters(struct mr_hosted *hosted)
{
	int i;

	for (i = 0; i < MR_PARTITION_COUNTERS; i++) {
		enum mr_counter_kind kind =
			i >= MR_GAUGE_LOG_END ? MR_COUNTER_GAUGE : MR_COUNTER_RISING;

		hosted->counters[i] = mr_counters_add(hosted->control->counters, kind, "%s.%d.%s",
						      hosted->topic->name, hosted->number,
						      mr_partition_counter_names[i]);
		if (!hosted->counters[i])
			hosted->counters[i] = &spare;
	}
}

static void forget_counters(struct mr_hosted *hosted)
{
	int i;

	for (i = 0; i < MR_PARTITION_COUNTERS; i++)
		if (hosted->counters[i] != &spare)
			mr_counters_remove(hosted->control->counters, hosted->counters[i]);
}

bool mr_control_counted(const struct mr_hosted *hosted, enum mr_partition_counter which,
			uint64_t *value)
{
	const _Atomic uint64_t *counter = hosted->counters[which];

	if (!counter || counter == &spare)
		return false;
	*value = atomic_load_explicit(counter, memory_order_relaxed); /* relaxed: for people */
	return true;
}

/* The largest record alone in a batch, sized as a drain does it: from its frame in the lane. */
uint32_t mr_control_batch_bytes_max(const struct mr_config *config)
{
	return (uint32_t)(sizeof(struct mr_frame) + config->record_bytes_max) +
	       MR_BATCH_HEADER_BYTES + 2 * MR_BATCH_RECORD_BYTES_OVERHEAD_MAX;
}

uint64_t mr_control_tail_bytes(const struct mr_control *control, const struct mr_topic *topic)
{
	return topic->tail_bytes ? topic->tail_bytes : control->config->tail_bytes;
}

static struct mr_log_options log_options(const struct mr_hosted *hosted)
{
	const struct mr_config *config = hosted->control->config;
	uint64_t part = mr_control_tail_bytes(hosted->control, hosted->topic) / MEMORY_GROUPS;
	struct mr_log_options options = {
		.group_bytes = (uint32_t)config->group_bytes,
		.batch_bytes_max = mr_control_batch_bytes_max(config),
		.groups_in_flight = config->groups_in_flight,
		.in_memory = mr_topic_in_memory(hosted->topic),
	};

	if (options.in_memory && options.group_bytes > part)
		options.group_bytes = (uint32_t)part;
	return options;
}

/* A tail holds the largest group and a segment's first block, or its log cannot be opened. */
static int check_tail(const struct mr_hosted *hosted, struct mr_error *err)
{
	uint64_t bytes = mr_control_tail_bytes(hosted->control, hosted->topic);
	struct mr_log_options one = log_options(hosted);
	uint64_t least;

	one.groups_in_flight = 1;
	least = mr_log_window_bytes(&one) + MR_BLOCK_BYTES;
	if (least <= bytes)
		return 0;
	mr_error_set(err, -EINVAL,
		     "topic '%.100s': tail_bytes is %" PRIu64 ", a group needs %" PRIu64,
		     hosted->topic->name, bytes, least);
	return mr_error_hint(err, "raise tail_bytes, or lower group_bytes or record_bytes_max");
}

uint64_t mr_control_segment_bytes(const struct mr_hosted *hosted, uint64_t wanted)
{
	struct mr_log_options options = log_options(hosted);
	uint64_t least = mr_log_segment_bytes_min(&options);

	if (wanted > hosted->topic->segment_bytes)
		wanted = hosted->topic->segment_bytes;
	wanted -= wanted % MR_BLOCK_BYTES; /* a segment is made of whole blocks */
	return wanted > least ? wanted : least;
}

static void hosted_init(struct mr_hosted *hosted, struct mr_control *control,
			struct mr_topic *topic, int32_t number)
{
	char directory[80];

	hosted->control = control;
	hosted->topic = topic;
	hosted->number = number;
	hosted->lost = topic->lost;
	mr_topic_partition_directory(topic->id, number, directory);
	snprintf(hosted->directory, sizeof(hosted->directory), "%s", directory);
	hosted->worker_number =
		(uint32_t)((topic->id[0] + (uint32_t)number) % control->plan.worker_count);
}

struct mr_hosted_topic *mr_control_hosted_topic_new(struct mr_control *control,
						    struct mr_topic *topic)
{
	struct mr_hosted_topic *hosted = calloc(1, sizeof(*hosted));
	int32_t i;

	if (!hosted)
		return NULL;
	hosted->partitions = calloc((size_t)topic->partition_count, sizeof(*hosted->partitions));
	if (!hosted->partitions) {
		free(hosted);
		return NULL;
	}
	hosted->topic = topic;
	topic->owner = hosted;
	for (i = 0; i < topic->partition_count; i++)
		hosted_init(&hosted->partitions[i], control, topic, i);
	return hosted;
}

void mr_control_free_topic(struct mr_topic *topic)
{
	struct mr_hosted_topic *hosted = topic->owner;
	int32_t i;

	for (i = 0; hosted && i < topic->partition_count; i++) {
		mr_log_files_close(hosted->partitions[i].files);
		mr_control_forget_chores(&hosted->partitions[i]);
		free(hosted->partitions[i].snapshot.producers);
		free(hosted->partitions[i].snapshot.epochs);
		mr_checkpoint_partition_deinit(&hosted->partitions[i].last);
		mr_checkpoint_partition_deinit(&hosted->partitions[i].held);
	}
	if (hosted)
		free(hosted->partitions);
	free(hosted);
	free(topic);
}

/* What the first checkpoint of this start says of a partition: exactly what recovery found. */
int mr_control_remember_start(struct mr_hosted *hosted, const struct mr_recovered *recovered,
			      const struct mr_partition *state)
{
	struct mr_checkpoint_partition *last = &hosted->last;

	memcpy(last->topic_id, hosted->topic->id, 16);
	last->partition = hosted->number;
	last->log_start = recovered->log_start;
	last->offset = recovered->start.offset;
	last->position = recovered->start.position;
	last->group_number = recovered->start.group_number;
	last->previous_crc = recovered->start.previous_crc;
	if (mr_checkpoint_take_tables(last, state) < 0)
		return -ENOMEM;
	hosted->checkpointed_offset = last->offset;
	hosted->snapshot_valid = true;
	return 0;
}

/*
 * How a replica keeps time and how much may be on its way to it. A follower that was not caught up
 * for LAG_MAX leaves the ISR: longer than a disk's bad moments, shorter than a person waits for a
 * record. What is not answered is said again after ASK_AGAIN; a leader with nothing to send is
 * heard of several times in that. What a follower has already is said seldom, though, where the
 * connection itself is watched (feed.h): thousands of partitions may be idle. The window is what a
 * follower holds that is not in its log yet: a quarter of its tail, so that it never has to wait
 * for its readers or its disk to make room.
 */
#define LAG_MAX_NS   UINT64_C(10000000000)
#define ASK_AGAIN_NS UINT64_C(500000000)
#define HEARTBEAT_NS UINT64_C(100000000)
#define QUIET_NS     UINT64_C(2000000000)

static uint32_t window_bytes(const struct mr_hosted *hosted)
{
	const struct mr_config *config = hosted->control->config;
	uint64_t bytes = mr_control_tail_bytes(hosted->control, hosted->topic) / 4;
	uint64_t least = mr_control_batch_bytes_max(config);

	if (bytes > MR_FEED_PAYLOAD_BYTES_MAX)
		bytes = MR_FEED_PAYLOAD_BYTES_MAX;
	return (uint32_t)(bytes > least ? bytes : least);
}

static struct mr_replica_options replica_options(const struct mr_hosted *hosted)
{
	const struct mr_control *control = hosted->control;

	return (struct mr_replica_options){
		.self = control->config->number,
		.incarnation = mr_incarnation(control->checkpoint.log_id,
					      control->checkpoint.engine_start),
		.replicas = hosted->topic->replicas,
		.min_insync_replicas = hosted->topic->min_insync_replicas,
		.window_bytes = window_bytes(hosted),
		.lag_max_ns = LAG_MAX_NS,
		.ask_again_ns = ASK_AGAIN_NS,
		.heartbeat_ns = HEARTBEAT_NS,
		.quiet_ns = QUIET_NS,
		.lost_data = mr_hosted_must_leave(hosted),
		.damaged = hosted->state == MR_HOSTED_READ_ONLY,
	};
}

static int check_room(struct mr_hosted *hosted, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	int r = check_tail(hosted, err);

	if (r < 0)
		return r;
	if (control->partitions[hosted->worker_number] >= MR_WORKER_PARTITIONS_MAX) {
		mr_error_set(err, -ENOBUFS,
			     "worker %u has %u partitions already, as many as it may",
			     hosted->worker_number, MR_WORKER_PARTITIONS_MAX);
		return mr_error_hint(err, "delete topics, or give the engine more cores: workers "
					  "in the configuration");
	}
	hosted->worker = control->workers[hosted->worker_number];
	hosted->node = control->plan.entries[hosted->worker_number].node;
	return 0;
}

/* The control thread's half. */
static int take_segments(struct mr_hosted *hosted, struct mr_recovered *recovered,
			 struct mr_error *err)
{
	int r = 0;

	if (recovered->segment_count) /* a damaged log may have none */
		r = mr_log_files_open(recovered->segments, recovered->segment_count, &hosted->files,
				      err);
	if (r < 0)
		return r;
	if (recovered->start.active)
		hosted->next_segment_bytes = 2 * recovered->start.active->file_bytes;
	hosted->spare_kept = recovered->clean;
	free(recovered->segments); /* the array; the segments are the list's now */
	recovered->segments = NULL;
	recovered->segment_count = 0;
	return 0;
}

int mr_control_make_part(struct mr_hosted *hosted, struct mr_recovered *recovered,
			 struct mr_partition *state, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	struct mr_replica_options replica = replica_options(hosted);
	struct mr_worker_partition_options options = {
		.tail_bytes = mr_control_tail_bytes(control, hosted->topic),
		.partition = hosted->number,
		.read_only = hosted->state == MR_HOSTED_READ_ONLY,
		.read_only_reason = hosted->reason.what,
		.log = log_options(hosted),
		.start = recovered->start,
		.replica = mr_topic_replicated(hosted->topic) ? &replica : NULL,
		.compression = hosted->topic->compression,
		.cut = hosted->cut_part,
		.owner = hosted,
	};
	int r = hosted->cut_part ? 0 : check_room(hosted, err);

	if (r < 0)
		return r;
	/* the epoch of a replicated one is its register's to say; this is where its log stands */
	if (!mr_topic_replicated(hosted->topic))
		hosted->leader_epoch = control->leader_epoch;
	options.node = hosted->node;
	memcpy(options.topic_id, hosted->topic->id, 16);
	if (!hosted->cut_part)
		name_counters(hosted);
	memcpy(options.counters, hosted->counters, sizeof(options.counters));
	if (mr_topic_replicated(hosted->topic))
		mr_partition_follow(state, hosted->leader_epoch); /* nothing counts as committed */
	mr_partition_start(state, recovered->log_start, recovered->start.offset,
			   hosted->leader_epoch);
	r = take_segments(hosted, recovered, err);
	if (r < 0)
		return r;
	mr_place_prefer_node(hosted->node); /* what is made here is the worker's from then on */
	if (options.compression != MR_CONFIG_COMPRESSION_NONE)
		r = mr_worker_compressor(hosted->worker, options.log.batch_bytes_max,
					 &options.compressor, err);
	if (r == 0)
		r = mr_worker_partition_new(&options, state, &hosted->part, err);
	mr_place_prefer_node(MR_PLACE_ANY);
	if (r == 0 && !hosted->cut_part)
		control->partitions[hosted->worker_number]++;
	return r;
}

int32_t mr_control_leader_epoch(const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view =
		hosted->part ? mr_worker_partition_replica(hosted->part) : NULL;
	/* relaxed: it only rises */
	int32_t epoch = view ? atomic_load_explicit(&view->leader_epoch, memory_order_relaxed) : 0;

	return epoch > hosted->leader_epoch ? epoch : hosted->leader_epoch;
}

/* Its worker takes it. */
void mr_control_hand_over(struct mr_hosted *hosted)
{
	hosted->add.kind = MR_WORKER_ADD_PARTITION;
	hosted->add.partition = hosted->part;
	hosted->add.owner = hosted;
	if (mr_worker_partition_replica(hosted->part))
		hosted->route = MR_ROUTE_WAITING;
	mr_worker_send(hosted->worker, &hosted->add);
	if (hosted->state == MR_HOSTED_OK && hosted->files)
		mr_control_make_spare(hosted);
}

/* What was made, if it was, and no worker ever had. */
void mr_control_give_up_part(struct mr_hosted *hosted)
{
	if (!hosted->part)
		return;
	hosted->control->partitions[hosted->worker_number]--;
	forget_counters(hosted);
	mr_worker_partition_free(hosted->part);
	hosted->part = NULL;
}

/* Nothing is there but the offsets that are taken. This host's memory is all the replicas it has.
 */
int mr_control_begin_in_memory(struct mr_hosted *hosted, bool created,
			       struct mr_recovered *recovered, struct mr_partition *state,
			       struct mr_error *err)
{
	int r = mr_partition_init(state, hosted->control->config->producer_ids_max, 1, err);

	if (r == 0)
		mr_control_begin_offsets(hosted, created, recovered);
	return r;
}

static int begin_on_disk(struct mr_hosted *hosted, struct mr_recovered *created,
			 struct mr_partition *state, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	const struct mr_config *config = control->config;
	uint64_t bytes = mr_control_segment_bytes(hosted, config->first_segment_bytes);
	int r;

	r = mr_partition_init(state, config->producer_ids_max,
			      mr_topic_least_in_sync(hosted->topic), err);
	if (r == 0)
		r = mr_log_create_in(control->io, hosted->directory, hosted->topic->id,
				     hosted->number, control->checkpoint.log_id, bytes, created,
				     err);
	if (r == 0 && mr_control_remember_start(hosted, created, state) < 0)
		r = mr_error_set(err, -ENOMEM, "no memory for a partition");
	return r;
}

int mr_control_make_partition(struct mr_hosted *hosted, struct mr_error *err)
{
	struct mr_recovered created = {0};
	struct mr_partition state = {0};
	int r = check_tail(hosted, err); /* before there are files */

	if (r == 0)
		r = mr_topic_in_memory(hosted->topic)
			    ? mr_control_begin_in_memory(hosted, true, &created, &state, err)
			    : begin_on_disk(hosted, &created, &state, err);
	if (!mr_topic_replicated(hosted->topic))
		hosted->last.leader_epoch = hosted->control->leader_epoch;
	if (r == 0)
		r = mr_control_make_part(hosted, &created, &state, err);
	mr_recovered_deinit(&created);
	mr_partition_deinit(&state);
	return r;
}

int mr_control_enter_partition(struct mr_hosted *hosted, struct mr_error *err)
{
	int r = mr_topic_replicated(hosted->topic) ? mr_control_register(hosted, true, err) : 0;

	if (r == 0)
		mr_control_hand_over(hosted);
	return r;
}

/* ---- letting go
 * ------------------------------------------------------------------------------------ */

void mr_control_remove_partition(struct mr_hosted *hosted, int why)
{
	if (hosted->remove_posted)
		return;
	hosted->remove_posted = true;
	hosted->remove_why = why;
	if (!hosted->part)
		hosted->removed = true;
	else if (!mr_worker_partition_replica(hosted->part) || mr_control_may_remove(hosted))
		mr_control_post_removal(hosted);
}

void mr_control_post_removal(struct mr_hosted *hosted)
{
	hosted->remove.kind = MR_WORKER_REMOVE_PARTITION;
	hosted->remove.partition = hosted->part;
	hosted->remove.status = hosted->remove_why;
	hosted->remove.owner = hosted;
	mr_worker_send(hosted->worker, &hosted->remove);
	mr_control_give_up_name(hosted);
}

void mr_control_close_files(struct mr_hosted *hosted)
{
	size_t count = hosted->files ? mr_log_files_count(hosted->files) : 0;
	struct mr_segment *active = count ? mr_log_files_at(hosted->files, count - 1) : NULL;

	mr_log_files_close(hosted->files);
	hosted->files = NULL;
	mr_segment_close(active);
}

/* The worker let go of it. */
void mr_control_partition_removed(struct mr_hosted *hosted)
{
	mr_worker_partition_ended(hosted->part, &hosted->ended_offset, &hosted->ended_position);
	mr_worker_partition_free(hosted->part);
	hosted->part = NULL;
	hosted->removed = true;
	hosted->control->partitions[hosted->worker_number]--;
	mr_control_drop_watches(hosted);
	forget_counters(hosted);
}
