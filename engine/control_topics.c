/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics and their partitions: recovered at start, made on request, deleted. Runs on the control
 * thread (control.h).
 *
 * The order makes every crash harmless: a topic's files are there before the catalogue names it,
 * and the catalogue has forgotten it before its files go. What the catalogue does not name is
 * removed at the next start.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "control.h"

#define MEMORY_GROUPS                                                                              \
	16 /* at least so many in a tail that is all there is: what goes at a time                 \
	    */
#define AT_WORK_NS UINT64_C(300000000) /* much less than a client waits */
#define RECOVERY_LOCK_WAIT_MS                                                                      \
	60000 /* a killed engine's writes that are still in the kernel (D14) */

/* ---- a hosted partition
 * ------------------------------------------------------------------------------ */

static void name_counters(struct mr_hosted *hosted)
{
	static _Atomic uint64_t spare; /* counts where the file is full */
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
		mr_counters_remove(hosted->control->counters, hosted->counters[i]);
}

/* The largest record alone in a batch, sized as a drain does it: from its frame in the lane. */
static uint32_t batch_bytes_max(const struct mr_config *config)
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
		.batch_bytes_max = batch_bytes_max(config),
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
	return wanted > least ? wanted : least;
}

static void hosted_init(struct mr_hosted *hosted, struct mr_control *control,
			struct mr_topic *topic, int32_t number)
{
	char directory[80];

	hosted->control = control;
	hosted->topic = topic;
	hosted->number = number;
	mr_topic_partition_directory(topic->id, number, directory);
	snprintf(hosted->directory, sizeof(hosted->directory), "%s", directory);
	hosted->worker_number =
		(uint32_t)((topic->id[0] + (uint32_t)number) % control->worker_count);
}

static struct mr_hosted_topic *hosted_topic_new(struct mr_control *control, struct mr_topic *topic)
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
		free(hosted->partitions[i].last.producers);
	}
	if (hosted)
		free(hosted->partitions);
	free(hosted);
	free(topic);
}

/* What the first checkpoint of this start says of a partition: exactly what recovery found. */
static int remember_start(struct mr_hosted *hosted, const struct mr_recovered *recovered,
			  const struct mr_partition *state)
{
	struct mr_checkpoint_partition *last = &hosted->last;
	uint32_t i;

	memcpy(last->topic_id, hosted->topic->id, 16);
	last->partition = hosted->number;
	last->log_start = recovered->log_start;
	last->offset = recovered->start.offset;
	last->position = recovered->start.position;
	last->group_number = recovered->start.group_number;
	last->previous_crc = recovered->start.previous_crc;
	last->producers = calloc(state->producer_count + 1, sizeof(*last->producers));
	if (!last->producers)
		return -ENOMEM;
	for (i = 0; i < state->producers_max; i++)
		if (state->producers[i].producer_id >= 0)
			last->producers[last->producer_count++] = state->producers[i];
	hosted->checkpointed_offset = last->offset;
	hosted->snapshot_valid = true;
	return 0;
}

/* A damaged partition keeps the claim that the damage lies below: the next start must see it too.
 */
static int keep_claim(struct mr_hosted *hosted, const struct mr_checkpoint_partition *old)
{
	struct mr_checkpoint_partition *last = &hosted->last;

	if (!old)
		return 0;
	*last = *old;
	last->clean = false;
	last->producers = calloc(old->producer_count + 1, sizeof(*last->producers));
	if (!last->producers)
		return -ENOMEM;
	memcpy(last->producers, old->producers, old->producer_count * sizeof(*last->producers));
	hosted->snapshot_valid = true;
	return 0;
}

/* The worker's half and the control thread's half of a recovered (or new) log. */
static int make_part(struct mr_hosted *hosted, struct mr_recovered *recovered,
		     struct mr_partition *state, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	struct mr_worker_partition_options options = {
		.tail_bytes = mr_control_tail_bytes(control, hosted->topic),
		.partition = hosted->number,
		.read_only = hosted->state == MR_HOSTED_READ_ONLY,
		.read_only_reason = hosted->reason.what,
		.log = log_options(hosted),
		.start = recovered->start,
		.owner = hosted,
	};
	int r = 0;

	r = check_tail(hosted, err);
	if (r < 0)
		return r;
	if (control->partitions[hosted->worker_number] >= MR_WORKER_PARTITIONS_MAX)
		return mr_error_set(err, -ENOBUFS, "worker %u has %u partitions already",
				    hosted->worker_number, MR_WORKER_PARTITIONS_MAX);
	hosted->worker = control->workers[hosted->worker_number];
	hosted->node = control->plan.entries[hosted->worker_number].node;
	hosted->leader_epoch = control->leader_epoch;
	options.node = hosted->node;
	memcpy(options.topic_id, hosted->topic->id, 16);
	name_counters(hosted);
	memcpy(options.counters, hosted->counters, sizeof(options.counters));
	mr_partition_start(state, recovered->log_start, recovered->start.offset,
			   control->leader_epoch);
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
	mr_place_prefer_node(hosted->node); /* what is made here is the worker's from then on */
	r = mr_worker_partition_new(&options, state, &hosted->part, err);
	mr_place_prefer_node(MR_PLACE_ANY);
	if (r == 0)
		control->partitions[hosted->worker_number]++;
	return r;
}

/* Its worker takes it. */
static void hand_over(struct mr_hosted *hosted)
{
	hosted->add.kind = MR_WORKER_ADD_PARTITION;
	hosted->add.partition = hosted->part;
	hosted->add.owner = hosted;
	mr_worker_send(hosted->worker, &hosted->add);
	if (hosted->state == MR_HOSTED_OK && hosted->files)
		mr_control_make_spare(hosted);
}

/* What was made, if it was, and no worker ever had. */
static void give_up_part(struct mr_hosted *hosted)
{
	if (!hosted->part)
		return;
	hosted->control->partitions[hosted->worker_number]--;
	mr_worker_partition_free(hosted->part);
	hosted->part = NULL;
}

/* ---- start: recovery
 * --------------------------------------------------------------------------------- */

struct recovery {
	struct mr_recovered recovered;
	struct mr_partition state;
};

/* How far ahead of what is flushed this engine may write; a configuration after it may say
 * otherwise. */
static uint64_t window_bytes(const struct mr_config *config, uint32_t groups_in_flight)
{
	struct mr_log_options options = {
		.group_bytes = (uint32_t)config->group_bytes,
		.batch_bytes_max = batch_bytes_max(config),
		.groups_in_flight = groups_in_flight,
	};

	return mr_log_window_bytes(&options);
}

/* How far the engine before this one may have written. */
static uint64_t window_before(const struct mr_control *control)
{
	return control->checkpoint.window_bytes
		       ? control->checkpoint.window_bytes
		       : window_bytes(control->config, MR_GROUPS_IN_FLIGHT_MAX);
}

/*
 * What the next start has to search. A damaged partition stays as the engine before this one wrote
 * it: the proof that it is damaged may lie in that engine's window only, and without it the damage
 * would pass for an end that a crash leaves.
 */
static uint64_t window_after(struct mr_control *control)
{
	uint64_t before = window_before(control);
	uint64_t bytes = window_bytes(control->config, control->config->groups_in_flight);
	struct mr_hosted *hosted;

	mr_control_each(control, hosted) if (hosted->state == MR_HOSTED_READ_ONLY && bytes < before)
		bytes = before;
	return bytes;
}

/* Nothing is there but the offsets that are taken. This host's memory is all the replicas it has.
 */
static int begin_in_memory(struct mr_hosted *hosted, bool created, struct mr_recovered *recovered,
			   struct mr_partition *state, struct mr_error *err)
{
	int r = mr_partition_init(state, hosted->control->config->producer_ids_max, 1, err);

	if (r == 0)
		mr_control_begin_offsets(hosted, created, recovered);
	return r;
}

static int recover_partition(struct mr_hosted *hosted, struct recovery *recovery,
			     struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	const struct mr_config *config = control->config;
	const struct mr_checkpoint_partition *old =
		mr_checkpoint_find(&control->checkpoint, hosted->topic->id, hosted->number);
	struct mr_recover_options options = {
		.window_bytes = window_before(control),
		.lock_wait_ms = RECOVERY_LOCK_WAIT_MS,
	};
	int r;

	if (mr_topic_in_memory(hosted->topic))
		return begin_in_memory(hosted, false, &recovery->recovered, &recovery->state, err);
	r = mr_partition_init(&recovery->state, config->producer_ids_max,
			      config->min_insync_replicas, err);
	if (r == 0)
		r = mr_recover(control->io, hosted->directory, hosted->topic->id, hosted->number,
			       old, &options, &recovery->state, &recovery->recovered, err);
	if (r < 0) {
		mr_error_prefix(err, "topic '%s' partition %d: ", hosted->topic->name,
				hosted->number);
		return r;
	}
	if (recovery->recovered.corrupt) {
		hosted->state = MR_HOSTED_READ_ONLY;
		hosted->reason = recovery->recovered.damage;
		hosted->corrupt_offset = recovery->recovered.corrupt_offset;
		r = keep_claim(hosted, old);
	} else {
		r = remember_start(hosted, &recovery->recovered, &recovery->state);
	}
	return r < 0 ? mr_error_set(err, r, "no memory for the state of a partition") : 0;
}

static void say_recovered(const struct mr_control_options *options, const struct mr_hosted *hosted,
			  const struct mr_recovered *recovered)
{
	char line[640];

	if (!options->say)
		return;
	if (recovered->corrupt)
		snprintf(line, sizeof(line),
			 "topic '%s' partition %d is damaged and read-only from offset %" PRIu64
			 " on: %s",
			 hosted->topic->name, hosted->number, recovered->corrupt_offset,
			 recovered->damage.what);
	else if (recovered->cut_bytes)
		snprintf(line, sizeof(line),
			 "topic '%s' partition %d: kept up to offset %" PRIu64 ", cut %" PRIu64
			 " bytes that were never answered",
			 hosted->topic->name, hosted->number, recovered->start.offset,
			 recovered->cut_bytes);
	else
		return;
	options->say(line, options->arg);
}

static size_t count_partitions(const struct mr_topics *topics)
{
	size_t i, count = 0;

	for (i = 0; i < topics->count; i++)
		count += (size_t)topics->topics[i]->partition_count;
	return count;
}

/* R2: an engine never resumes an epoch. Node i takes only epochs that are i mod 64. */
static void choose_epoch(struct mr_control *control, const struct recovery *recoveries,
			 size_t count)
{
	int32_t highest = 0;
	uint64_t start = control->checkpoint.engine_start;
	size_t i;

	for (i = 0; i < count; i++)
		if (recoveries[i].recovered.leader_epoch > highest)
			highest = recoveries[i].recovered.leader_epoch;
	for (i = 0; i < control->checkpoint.partition_count; i++)
		if (control->checkpoint.partitions[i].leader_epoch > highest)
			highest = control->checkpoint.partitions[i].leader_epoch;
	if (start * 64 > (uint64_t)highest)
		highest = (int32_t)(start * 64);
	control->leader_epoch = (highest / 64 + 1) * 64 + (int32_t)control->config->node;
}

/* Directories that no topic of the catalogue owns: half made or half deleted when an engine died.
 */
static int remove_orphans(struct mr_control *control, struct mr_error *err)
{
	struct mr_io_entry *entries = NULL;
	char path[64], known[64];
	size_t count = 0, i, j;
	int r = mr_io_list(control->io, "topics", &entries, &count, err);

	for (i = 0; r >= 0 && i < count; i++) {
		bool owned = false;

		snprintf(path, sizeof(path), "topics/%.40s", entries[i].name);
		for (j = 0; j < control->topics.count && !owned; j++) {
			mr_topic_directory(control->topics.topics[j]->id, known);
			owned = !strcmp(path, known);
		}
		if (!owned && entries[i].is_directory && strlen(entries[i].name) == 32)
			r = mr_io_remove_tree(control->io, path, err);
	}
	free(entries);
	return r < 0 ? r : 0;
}

/* All are made first, so that their tails can be populated together. */
static int make_parts(struct mr_control *control, struct recovery *recoveries,
		      struct mr_worker_partition **parts, struct mr_error *err)
{
	struct mr_hosted *hosted;
	size_t n = 0;
	int r;

	mr_control_each(control, hosted)
	{
		r = make_part(hosted, &recoveries[n].recovered, &recoveries[n].state, err);
		if (r < 0)
			return r;
		parts[n++] = hosted->part;
	}
	return mr_worker_partitions_populate(parts, n, err);
}

static int bring_up_all(struct mr_control *control, struct recovery *recoveries, size_t count,
			struct mr_error *err)
{
	struct mr_worker_partition **parts =
		calloc(count + 1, sizeof(struct mr_worker_partition *));
	struct mr_hosted *hosted;
	int r;

	if (!parts)
		return mr_error_set(err, -ENOMEM, "no memory for %zu partitions", count);
	r = make_parts(control, recoveries, parts, err);
	free(parts);
	mr_control_each(control, hosted)
	{
		if (r == 0)
			hand_over(hosted);
		else
			give_up_part(hosted);
	}
	return r;
}

/* For people, and for who measures: what the start read of the logs, and how long it took. */
static void count_recovery(struct mr_control *control, const struct recovery *recoveries,
			   size_t count, uint64_t began_ns)
{
	_Atomic uint64_t *checked = mr_counters_add(control->counters, MR_COUNTER_RISING,
						    "engine.recovery_checked_bytes");
	_Atomic uint64_t *took =
		mr_counters_add(control->counters, MR_COUNTER_RISING, "engine.recovery_ns");
	size_t i;

	for (i = 0; checked && i < count; i++)
		mr_counter_add(checked, recoveries[i].recovered.checked_bytes);
	if (took)
		mr_counter_set(took, mr_clock_monotonic_ns(control->clock) - began_ns);
}

int mr_control_recover_topics(struct mr_control *control, const struct mr_control_options *options,
			      struct mr_error *err)
{
	uint64_t began_ns = mr_clock_monotonic_ns(control->clock);
	size_t count = count_partitions(&control->topics), n = 0, i;
	struct recovery *recoveries = calloc(count + 1, sizeof(*recoveries));
	struct mr_hosted *hosted;
	int r = 0;

	if (!recoveries)
		return mr_error_set(err, -ENOMEM, "no memory for %zu partitions", count);
	r = remove_orphans(control, err);
	for (i = 0; r == 0 && i < control->topics.count; i++)
		if (!hosted_topic_new(control, control->topics.topics[i]))
			r = mr_error_set(err, -ENOMEM, "no memory for %zu partitions", count);
	if (r == 0)
		mr_control_each(control, hosted)
		{
			if (r == 0)
				r = recover_partition(hosted, &recoveries[n], err);
			if (r == 0)
				say_recovered(options, hosted, &recoveries[n++].recovered);
		}
	if (r == 0) {
		count_recovery(control, recoveries, count, began_ns);
		choose_epoch(control, recoveries, count);
		mr_control_each(control, hosted) hosted->last.leader_epoch = control->leader_epoch;
		control->checkpoint.window_bytes = window_after(control);
		/* the epoch is durable before any append */
		r = mr_control_checkpoint_twice(control, err);
	}
	if (r == 0)
		r = bring_up_all(control, recoveries, count, err);
	for (i = 0; i < count; i++) {
		mr_recovered_deinit(&recoveries[i].recovered);
		mr_partition_deinit(&recoveries[i].state);
	}
	free(recoveries);
	return r;
}

/* ---- making
 * ------------------------------------------------------------------------------------------ */

static int begin_on_disk(struct mr_hosted *hosted, struct mr_recovered *created,
			 struct mr_partition *state, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	const struct mr_config *config = control->config;
	uint64_t bytes = mr_control_segment_bytes(hosted, config->first_segment_bytes);
	int r;

	r = mr_partition_init(state, config->producer_ids_max, config->min_insync_replicas, err);
	if (r == 0)
		r = mr_log_create(control->io, hosted->directory, hosted->topic->id, hosted->number,
				  control->checkpoint.log_id, bytes, created, err);
	if (r == 0 && remember_start(hosted, created, state) < 0)
		r = mr_error_set(err, -ENOMEM, "no memory for a partition");
	return r;
}

static int make_partition(struct mr_hosted *hosted, struct mr_error *err)
{
	struct mr_recovered created = {0};
	struct mr_partition state = {0};
	int r = check_tail(hosted, err); /* before there are files */

	if (r == 0)
		r = mr_topic_in_memory(hosted->topic)
			    ? begin_in_memory(hosted, true, &created, &state, err)
			    : begin_on_disk(hosted, &created, &state, err);
	hosted->last.leader_epoch = hosted->control->leader_epoch;
	if (r == 0)
		r = make_part(hosted, &created, &state, err);
	if (r == 0)
		r = mr_worker_partitions_populate(&hosted->part, 1, err);
	if (r == 0)
		hand_over(hosted);
	else
		give_up_part(hosted);
	mr_recovered_deinit(&created);
	mr_partition_deinit(&state);
	return r;
}

static struct mr_topic *topic_new(struct mr_control *control, const struct mr_config_topic *wanted,
				  struct mr_error *err)
{
	struct mr_topic *topic = calloc(1, sizeof(*topic));

	if (!topic || mr_random(topic->id, sizeof(topic->id), err) < 0) {
		free(topic);
		mr_error_set(err, -ENOMEM, "no memory for topic '%s'", wanted->name);
		return NULL;
	}
	snprintf(topic->name, sizeof(topic->name), "%s", wanted->name);
	topic->partition_count = (int32_t)wanted->partitions;
	topic->created_ms = mr_clock_wall_ms(control->clock);
	topic->storage = wanted->storage;
	/* how much is kept in memory stays as promised; else the configuration's word goes */
	if (mr_topic_in_memory(topic) || wanted->tail_bytes != control->config->tail_bytes)
		topic->tail_bytes = wanted->tail_bytes;
	if (mr_topic_in_memory(topic))
		return topic; /* what the general options say of files is nothing to it */
	topic->retention_bytes = wanted->retention_bytes;
	topic->retention_ms = wanted->retention_ms;
	topic->segment_bytes = wanted->segment_bytes;
	return topic;
}

static int make_directories(struct mr_control *control, const struct mr_topic *topic,
			    struct mr_error *err)
{
	char path[64];
	int r;

	mr_topic_directory(topic->id, path);
	r = mr_io_make_directory(control->io, path, err);
	if (r == 0)
		r = mr_io_sync_directory(control->io, "topics", err);
	return r;
}

/* D3: an error of the disk is final; lack of space or memory is not. */
static int save_catalogue(struct mr_control *control, struct mr_error *err)
{
	int r = mr_topics_save(control->io, &control->topics, err);

	if (r == -EIO)
		mr_control_fail(control, r, "the catalogue of topics");
	return r;
}

static void take_down(struct mr_control *control, struct mr_topic *topic,
		      struct mr_local_ticket *ticket);

/* Hundreds of partitions take longer than a client waits for an engine that says nothing. */
static void say_at_work(struct mr_control *control)
{
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);

	if (now_ns - control->told_ns < AT_WORK_NS)
		return;
	control->told_ns = now_ns;
	mr_local_at_work(control->local);
}

int mr_control_create_topic(struct mr_control *control, const struct mr_config_topic *wanted,
			    struct mr_topic **out, struct mr_error *err)
{
	const char *name = wanted->name;
	struct mr_hosted_topic *hosted;
	struct mr_topic *topic;
	int32_t i;
	int r;

	if (control->failed || control->stopping)
		return mr_error_set(err, -EIO, "topic '%s' cannot be made: the engine %s", name,
				    control->failed ? "lost its data directory" : "is stopping");
	topic = topic_new(control, wanted, err);
	if (!topic)
		return err ? err->code : -ENOMEM;
	r = mr_topics_add(&control->topics, topic, err);
	if (r < 0) {
		free(topic);
		return r;
	}
	hosted = hosted_topic_new(control, topic);
	r = hosted ? make_directories(control, topic, err)
		   : mr_error_set(err, -ENOMEM, "no memory for topic '%s'", name);
	control->told_ns = mr_clock_monotonic_ns(control->clock);
	for (i = 0; r == 0 && i < topic->partition_count; i++) {
		r = make_partition(&hosted->partitions[i], err);
		say_at_work(control);
	}
	if (r == 0)
		r = save_catalogue(control, err);
	if (r < 0) {
		/* whatever of it came to be is taken down as if deleted: never is a topic used
		 * that the next start would not find */
		mr_error_prefix(err, "topic '%s' cannot be made: ", name);
		mr_topics_take(&control->topics, topic);
		if (hosted)
			take_down(control, topic, NULL);
		else
			free(topic);
		mr_control_suspect(control, r, err);
		return r;
	}
	*out = topic;
	return 0;
}

int mr_control_open_topic(struct mr_control *control, const char *name, bool create,
			  struct mr_topic **out, struct mr_error *err)
{
	const struct mr_config *config = control->config;
	const struct mr_config_topic *row;
	struct mr_config_topic wanted;
	int r = mr_topic_check_name(name, err);

	if (r < 0)
		return r;
	*out = mr_topics_find(&control->topics, name);
	if (*out)
		return 0;
	if (!create || !config->auto_create) {
		mr_error_set(err, -ENOENT, "topic '%s' does not exist", name);
		if (create)
			mr_error_why(err, "the configuration says auto_create: no");
		return mr_error_hint(err, "make it: millrace topic create %s", name);
	}
	if (!strncmp(name, "__", 2))
		return mr_error_set(err, -EACCES,
				    "topic '%s': names that begin with __ are the engine's", name);
	row = mr_config_topic_find(config, name);
	if (row)
		return mr_control_create_topic(control, row, out, err);
	mr_config_topic_defaults(config, name, &wanted);
	return mr_control_create_topic(control, &wanted, out, err);
}

/* ---- deleting
 * ---------------------------------------------------------------------------------------- */

/* Files of a topic that the catalogue has forgotten. */
struct remove_chore {
	struct mr_chore chore;
	struct mr_control *control;
	struct mr_topic *topic;
	bool keep; /* the disk failed: nobody knows which catalogue the next start finds */
};

static int run_remove(struct mr_chore *chore, struct mr_error *err)
{
	struct remove_chore *work = (struct remove_chore *)chore;
	char path[64];

	if (work->keep)
		return 0;
	mr_topic_directory(work->topic->id, path);
	return mr_io_remove_tree(work->control->io, path, err);
}

static void done_remove(struct mr_chore *chore)
{
	struct remove_chore *work = (struct remove_chore *)chore;
	struct mr_hosted_topic *hosted = work->topic->owner;

	/* files that could not be removed now are removed at the next start */
	if (hosted->deleting)
		mr_local_answer(hosted->deleting, 0, NULL, "{}");
	work->control->deleting--;
	mr_control_free_topic(work->topic);
	free(work);
}

void mr_control_remove_partition(struct mr_hosted *hosted, int why)
{
	if (hosted->remove_posted)
		return;
	hosted->remove_posted = true;
	if (!hosted->part) {
		hosted->removed = true;
		return;
	}
	hosted->remove.kind = MR_WORKER_REMOVE_PARTITION;
	hosted->remove.partition = hosted->part;
	hosted->remove.status = why;
	hosted->remove.owner = hosted;
	mr_worker_send(hosted->worker, &hosted->remove);
	mr_control_give_up_name(hosted);
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

/* Nothing under way that names it. */
static bool quiet(const struct mr_hosted *hosted)
{
	return hosted->removed && !hosted->chores && !hosted->lanes && !hosted->watches &&
	       !hosted->snapshot_out && !hosted->log_start_out;
}

static bool all_removed(const struct mr_hosted_topic *hosted)
{
	int32_t i;

	for (i = 0; i < hosted->topic->partition_count; i++)
		if (!quiet(&hosted->partitions[i]))
			return false;
	return true;
}

static void close_files(struct mr_hosted_topic *hosted)
{
	int32_t i;

	for (i = 0; i < hosted->topic->partition_count; i++) {
		struct mr_hosted *partition = &hosted->partitions[i];
		size_t count = partition->files ? mr_log_files_count(partition->files) : 0;
		struct mr_segment *active =
			count ? mr_log_files_at(partition->files, count - 1) : NULL;

		mr_log_files_close(partition->files);
		partition->files = NULL;
		mr_segment_close(active);
	}
}

/* A deleted topic whose last partition is out of the workers' hands: its files go. */
void mr_control_finish_deleting(struct mr_control *control)
{
	struct mr_hosted_topic **at = &control->deleted;

	while (*at) {
		struct mr_hosted_topic *hosted = *at;
		struct remove_chore *work;

		if (!all_removed(hosted) || !(work = calloc(1, sizeof(*work)))) {
			at = &hosted->next;
			continue;
		}
		*at = hosted->next;
		close_files(hosted);
		work->chore.run = run_remove;
		work->chore.done = done_remove;
		work->control = control;
		work->topic = hosted->topic;
		work->keep = control->failed;
		mr_chores_send(control->chores, &work->chore);
	}
}

/* Out of the catalogue already: its partitions leave their workers, then its files go. */
static void take_down(struct mr_control *control, struct mr_topic *topic,
		      struct mr_local_ticket *ticket)
{
	struct mr_hosted_topic *hosted = topic->owner;
	int32_t i;

	mr_offsets_forget(control->offsets, topic->id);
	hosted->deleting = ticket;
	hosted->next = control->deleted;
	control->deleted = hosted;
	control->deleting++;
	for (i = 0; i < topic->partition_count; i++) {
		struct mr_hosted *partition = &hosted->partitions[i];

		partition->state = MR_HOSTED_REMOVING;
		if (partition->part)
			/* readers attach again, and learn that there is nothing */
			atomic_store_explicit(
				&mr_worker_partition_tail(partition->part)->page->closed, 1,
				memory_order_release);
		mr_control_remove_partition(partition, -ENOENT);
	}
}

int mr_control_delete_topic(struct mr_control *control, struct mr_topic *topic,
			    struct mr_local_ticket *ticket, struct mr_error *err)
{
	int r;

	mr_topics_take(&control->topics, topic);
	r = save_catalogue(control, err);
	if (r < 0) {
		/* the catalogue on disk still names it: so does ours */
		(void)mr_topics_add(&control->topics, topic, NULL);
		mr_error_prefix(err, "topic '%s' cannot be deleted: ", topic->name);
		return r;
	}
	take_down(control, topic, ticket);
	return 0;
}

struct mr_hosted *mr_control_find(struct mr_control *control, const uint8_t topic_id[16],
				  int32_t partition, struct mr_error *err)
{
	struct mr_topic *topic = mr_topics_find_id(&control->topics, topic_id);
	struct mr_hosted_topic *hosted = topic ? topic->owner : NULL;
	char id[33];

	if (!hosted) {
		mr_topic_id_text(topic_id, id);
		mr_error_set(err, -ENOENT, "topic %s does not exist (any more)", id);
		return NULL;
	}
	if (partition < 0 || partition >= topic->partition_count) {
		mr_error_set(err, -ERANGE, "topic '%s' has partitions 0 to %d, not %d", topic->name,
			     topic->partition_count - 1, partition);
		return NULL;
	}
	return &hosted->partitions[partition];
}
