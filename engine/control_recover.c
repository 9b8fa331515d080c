/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start: what the directory of topics holds is recovered, the epoch of this start is made
 * durable, and the workers get their partitions. Runs on the control thread (control.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "control.h"

#define RECOVERY_LOCK_WAIT_MS                                                                      \
	60000 /* a killed engine's writes that are still in the kernel (D14) */

/* A damaged partition keeps the claim that the damage lies below: the next start must see it too.
 */
static int keep_claim(struct mr_hosted *hosted, const struct mr_checkpoint_partition *old)
{
	struct mr_checkpoint_partition *last = &hosted->last;

	if (!old)
		return 0;
	if (mr_checkpoint_copy_partition(old, last) < 0)
		return -ENOMEM;
	last->clean = false;
	hosted->snapshot_valid = true;
	return 0;
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
		.batch_bytes_max = mr_control_batch_bytes_max(config),
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

/*
 * What was recovered of a replica may not be committed, and be cut off later: a checkpoint that
 * holds it would be taken for damage then. So the older claim stays, of which that is known.
 * Without one nobody vouches for what is there (R7). Its epoch is the highest that its log or the
 * checkpoint has, no start's.
 */
static int begin_replica(struct mr_hosted *hosted, const struct mr_checkpoint_partition *old,
			 const struct mr_recovered *recovered)
{
	int r = keep_claim(hosted, old);

	hosted->leader_epoch = recovered->leader_epoch;
	if (old && old->leader_epoch > hosted->leader_epoch)
		hosted->leader_epoch = old->leader_epoch;
	hosted->last.leader_epoch = hosted->leader_epoch;
	hosted->checkpointed_offset = hosted->last.offset;
	hosted->lost |= !old;
	return r;
}

/*
 * A replica whose log was about to begin anew when the engine was killed: it had left the
 * checkpoint, and its segments are gone (mr_log_truncate()). It is one that lost what it had (R7)
 * and gets all of it again.
 */
static int begin_anew(struct mr_hosted *hosted, struct recovery *recovery, struct mr_error *err)
{
	struct mr_control *control = hosted->control;

	mr_diag_warn("a replica's log is gone and begins anew with what its peers have",
		     "topic=%s partition=%d", hosted->topic->name, hosted->number);
	return mr_log_create(control->io, hosted->directory, hosted->topic->id, hosted->number,
			     control->checkpoint.log_id,
			     mr_control_segment_bytes(hosted, control->config->first_segment_bytes),
			     &recovery->recovered, err);
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
		return mr_control_begin_in_memory(hosted, false, &recovery->recovered,
						  &recovery->state, err);
	r = mr_partition_init(&recovery->state, config->producer_ids_max,
			      mr_topic_least_in_sync(hosted->topic), err);
	if (r == 0)
		r = mr_recover(control->io, hosted->directory, hosted->topic->id, hosted->number,
			       old, &options, &recovery->state, &recovery->recovered, err);
	if (r == -ENOENT && !old && mr_topic_replicated(hosted->topic))
		r = begin_anew(hosted, recovery, err);
	if (r < 0) {
		mr_error_prefix(err, "topic '%s' partition %d: ", hosted->topic->name,
				hosted->number);
		return r;
	}
	if (recovery->recovered.corrupt) {
		hosted->state = MR_HOSTED_READ_ONLY;
		hosted->reason = recovery->recovered.damage;
		hosted->corrupt_offset = recovery->recovered.corrupt_offset;
	}
	if (mr_topic_replicated(hosted->topic))
		r = begin_replica(hosted, old, &recovery->recovered);
	else if (recovery->recovered.corrupt)
		r = keep_claim(hosted, old);
	else
		r = mr_control_remember_start(hosted, &recovery->recovered, &recovery->state);
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
	control->leader_epoch = (highest / 64 + 1) * 64 + (int32_t)control->config->number;
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
		r = mr_topic_replicated(hosted->topic) ? mr_control_register(hosted, false, err)
						       : 0;
		if (r < 0)
			return r;
		r = mr_control_make_part(hosted, &recoveries[n].recovered, &recoveries[n].state,
					 err);
		if (r < 0)
			return r;
		parts[n++] = hosted->part;
	}
	r = mr_control_check_start_memory(control, err);
	return r < 0 ? r : mr_worker_partitions_populate(parts, n, err);
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
			mr_control_hand_over(hosted);
		else
			mr_control_give_up_part(hosted);
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
		if (!mr_control_hosted_topic_new(control, control->topics.topics[i]))
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
		mr_control_each(control, hosted) if (!mr_topic_replicated(hosted->topic))
			hosted->last.leader_epoch = control->leader_epoch;
		control->checkpoint.window_bytes = window_after(control);
		/* the epoch is durable before any append */
		r = mr_control_checkpoint_twice(control, err);
	}
	if (r == 0)
		r = mr_control_start_threads(control, err);
	if (r == 0)
		r = bring_up_all(control, recoveries, count, err);
	for (i = 0; i < count; i++) {
		mr_recovered_deinit(&recoveries[i].recovered);
		mr_partition_deinit(&recoveries[i].state);
	}
	free(recoveries);
	return r;
}
