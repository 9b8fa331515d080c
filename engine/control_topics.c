/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics: made on request, deleted, found. Runs on the control thread (control.h).
 *
 * The order makes every crash harmless: a topic's files are there before the catalogue names it,
 * and the catalogue has forgotten it before its files go. What the catalogue does not name is
 * removed at the next start.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_table.h"
#include "check.h"
#include "control_peers.h"

#define AT_WORK_NS UINT64_C(300000000) /* much less than a client waits */

/* ---- making
 * ------------------------------------------------------------------------------------------ */

/* By number: this host and its peers. */
static uint64_t all_hosts(const struct mr_config *config)
{
	uint64_t hosts = UINT64_C(1) << config->number;
	size_t i;

	for (i = 0; i < config->peer_count; i++)
		hosts |= UINT64_C(1) << config->peers[i].number;
	return hosts;
}

/* The leader, if one is named, then this host, then who follows it by number, round about. */
static uint64_t choose_hosts(const struct mr_config *config, uint32_t count, int32_t leader)
{
	uint64_t hosts = all_hosts(config), chosen = UINT64_C(1) << config->number;
	uint32_t node;

	if (leader >= 0)
		chosen |= UINT64_C(1) << leader;
	for (node = config->number; (uint32_t)__builtin_popcountll(chosen) < count;
	     node = (node + 1) % MR_NODES_MAX)
		chosen |= hosts & UINT64_C(1) << node;
	return chosen;
}

/* What is wanted of replicas, put into 'topic'; one is this host alone. */
static int choose_replicas(const struct mr_config *config, const struct mr_config_topic *wanted,
			   struct mr_topic *topic, struct mr_error *err)
{
	const struct mr_config_peer *peer = mr_config_peer_find(config, wanted->leaders);
	int r = mr_config_check_replicas(config, wanted->name, wanted->replicas,
					 wanted->min_insync_replicas, wanted->leaders, err);

	if (r < 0)
		return r;
	if (mr_topic_in_memory(topic)) {
		mr_error_set(err, -EINVAL, "topic '%.100s' has storage memory: it has no replicas",
			     wanted->name);
		mr_error_why(err, "what hosts send each other is read from the log");
		return mr_error_hint(err, "leave out replicas, or say storage: disk");
	}
	topic->leaders = MR_TOPIC_LEADERS_SPREAD;
	if (peer)
		topic->leaders = (int32_t)peer->number;
	else if (strcmp(wanted->leaders, config->node) == 0)
		topic->leaders = (int32_t)config->number;
	topic->replicas = choose_hosts(config, wanted->replicas, topic->leaders);
	topic->min_insync_replicas =
		mr_config_least_in_sync(wanted->min_insync_replicas, wanted->replicas);
	if ((uint32_t)__builtin_popcountll(topic->replicas) == wanted->replicas)
		return 0;
	return mr_error_set(err, -EINVAL,
			    "topic '%.100s': '%s' leads and this host keeps a copy, so there are "
			    "%d replicas",
			    wanted->name, wanted->leaders, __builtin_popcountll(topic->replicas));
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
	topic->compression = wanted->compression;
	/* how much is kept in memory stays as promised; else the configuration's word goes */
	if (mr_topic_in_memory(topic) || wanted->tail_bytes != control->config->tail_bytes)
		topic->tail_bytes = wanted->tail_bytes;
	topic->min_insync_replicas = 1;
	topic->leaders = MR_TOPIC_LEADERS_SPREAD;
	if (wanted->replicas > 1 && choose_replicas(control->config, wanted, topic, err) < 0) {
		free(topic);
		return NULL;
	}
	if (mr_topic_in_memory(topic))
		return topic; /* what the general options say of files is nothing to it */
	topic->retention_bytes = wanted->retention_bytes;
	topic->retention_ms = wanted->retention_ms;
	topic->segment_bytes = wanted->segment_bytes;
	return topic;
}

/* D3: an error of the disk is final; lack of space or memory is not. */
int mr_control_save_catalogue(struct mr_control *control, struct mr_error *err)
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

	if (!control->local || now_ns - control->told_ns < AT_WORK_NS)
		return;
	control->told_ns = now_ns;
	mr_local_at_work(control->local);
}

void mr_control_begin_work(struct mr_control *control)
{
	control->told_ns = mr_clock_monotonic_ns(control->clock);
}

/*
 * Its entries are in the checkpoint, in both slots, before any of its logs counts for something: a
 * replica without one would be taken for one that lost what it had (R7).
 */
int mr_control_vouch(struct mr_control *control, struct mr_error *err)
{
	struct pollfd bell = {.fd = mr_chores_fd(control->chores), .events = POLLIN};

	while (control->checkpoint_writing) {
		(void)poll(&bell, 1, 10);
		(void)mr_chores_finish(control->chores);
		say_at_work(control);
	}
	return mr_control_checkpoint_twice(control, err);
}

/* Before anything is made of it. */
static int check_may_make(struct mr_control *control, const struct mr_topic *topic,
			  struct mr_error *err)
{
	if (control->failed || control->stopping)
		return mr_error_set(err, -EIO, "topic '%s' cannot be made: the engine %s",
				    topic->name,
				    control->failed ? "lost its data directory" : "is stopping");
	if (mr_topics_find(&control->topics, topic->name))
		return mr_error_set(err, -EEXIST, "topic '%s' is there already", topic->name);
	return mr_control_making_explain(control, topic->name, err);
}

/* All at once, for who cannot wait: nobody else is served meanwhile. */
static int make_now(struct mr_control *control, struct mr_topic *topic, struct mr_error *err)
{
	struct mr_control_making making = {.topic = topic};
	int r;

	do {
		r = mr_control_making_step(control, &making, err);
		say_at_work(control);
	} while (r > 0);
	return r;
}

/* Whatever of it came to be is taken down as if deleted: never is a topic used that the next start
 * would not find. */
static void discard(struct mr_control *control, struct mr_topic *topic, int why,
		    struct mr_error *err)
{
	mr_error_prefix(err, "topic '%s' cannot be made: ", topic->name);
	if (topic->owner)
		take_down(control, topic, NULL);
	else
		free(topic);
	mr_control_suspect(control, why, err);
}

void mr_control_undo_topic(struct mr_control *control, struct mr_topic *topic, int why,
			   struct mr_error *err)
{
	mr_topics_take(&control->topics, topic);
	discard(control, topic, why, err);
}

/* All of it is there: it is known from now on. 'r' < 0: it is not, and goes. */
static int enter(struct mr_control *control, struct mr_topic *topic, int r, struct mr_error *err)
{
	struct mr_hosted_topic *hosted = topic->owner;
	int32_t i;

	if (r == 0)
		r = mr_topics_add(&control->topics, topic, err);
	if (r < 0) {
		discard(control, topic, r, err);
		return r;
	}
	for (i = 0; r == 0 && i < topic->partition_count; i++)
		r = mr_control_enter_partition(&hosted->partitions[i], err);
	if (r < 0)
		mr_control_undo_topic(control, topic, r, err);
	return r;
}

int mr_control_begin_topic(struct mr_control *control, struct mr_topic *topic, struct mr_error *err)
{
	int r = check_may_make(control, topic, err);

	if (r < 0) {
		free(topic);
		return r;
	}
	return enter(control, topic, make_now(control, topic, err), err);
}

int mr_control_settle_topics(struct mr_control *control, bool replicated, struct mr_error *err)
{
	int r = replicated ? mr_control_vouch(control, err) : 0;

	return r < 0 ? r : mr_control_save_catalogue(control, err);
}

int mr_control_install_topic(struct mr_control *control, struct mr_topic *topic, int r,
			     struct mr_error *err)
{
	/* another host may have made one of its name meanwhile */
	if (r == 0 && control->peers)
		r = mr_control_names_check(control->peers, topic, err);
	r = enter(control, topic, r, err);
	if (r < 0)
		return r;
	r = mr_control_settle_topics(control, mr_topic_replicated(topic), err);
	if (r < 0)
		mr_control_undo_topic(control, topic, r, err);
	else
		mr_control_topic_made(control, topic);
	return r;
}

/* Of one that is new everywhere; freed if not. */
static int check_new(struct mr_control *control, struct mr_topic *topic, struct mr_error *err)
{
	int r = check_may_make(control, topic, err);

	if (r == 0 && control->peers)
		r = mr_control_names_check(control->peers, topic, err);
	if (r < 0)
		free(topic);
	return r;
}

static int install_now(struct mr_control *control, struct mr_topic *topic, struct mr_error *err)
{
	int r = check_new(control, topic, err);

	if (r < 0)
		return r;
	mr_control_begin_work(control);
	return mr_control_install_topic(control, topic, make_now(control, topic, err), err);
}

int mr_control_create_topic(struct mr_control *control, const struct mr_config_topic *wanted,
			    struct mr_topic **out, struct mr_error *err)
{
	struct mr_topic *topic = topic_new(control, wanted, err);
	int r;

	if (!topic)
		return err ? err->code : -ENOMEM;
	r = install_now(control, topic, err);
	if (r == 0)
		*out = topic;
	return r;
}

int mr_control_create_later(struct mr_control *control, const struct mr_config_topic *wanted,
			    const struct mr_control_told *told, struct mr_error *err)
{
	struct mr_topic *topic = topic_new(control, wanted, err);
	int r;

	if (!topic)
		return err->code;
	r = check_new(control, topic, err);
	return r < 0 ? r : mr_control_make_later(control, topic, told, err);
}

int mr_control_create_like(struct mr_control *control, const char *name,
			   const struct mr_topic *like, enum mr_config_storage storage,
			   struct mr_topic **out, struct mr_error *err)
{
	const struct mr_config_topic *row = mr_config_topic_find(control->config, name);
	struct mr_config_topic wanted;
	struct mr_topic *topic;
	int r;

	if (row)
		wanted = *row;
	else
		mr_config_topic_defaults(control->config, name, &wanted);
	wanted.partitions = (uint32_t)like->partition_count;
	wanted.storage = storage;
	wanted.replicas = 1;
	topic = topic_new(control, &wanted, err);
	if (!topic)
		return err->code;
	topic->replicas = like->replicas;
	topic->min_insync_replicas = like->min_insync_replicas;
	topic->leaders = like->leaders;
	r = install_now(control, topic, err);
	if (r == 0)
		*out = topic;
	return r;
}

int mr_control_no_topic(const struct mr_control *control, const char *name, struct mr_error *err)
{
	int r = mr_control_making_explain(control, name, err);

	if (r < 0)
		return r;
	mr_error_set(err, -ENOENT, "topic '%s' does not exist", name);
	mr_error_hint(err,
		      "see what there is: millrace topic list; or make it: millrace topic create "
		      "%s",
		      name);
	(void)mr_topics_hint_nearest(&control->topics, name, err); /* says more than that */
	if (control->peers)
		mr_control_names_explain(control->peers, name, err);
	return -ENOENT;
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
		mr_control_no_topic(control, name, err);
		if (create)
			mr_error_why(err, "the configuration says auto_create: no");
		return -ENOENT;
	}
	if (!strncmp(name, "__", 2))
		return mr_error_set(err, -EACCES,
				    "topic '%s': names that begin with __ are the engine's", name);
	row = mr_config_topic_find(config, name);
	/* else there were two of it, unless the configuration says that each host has its own */
	if (!(row && row->replicas == 1) && control->peers &&
	    mr_control_names_keepers(control->peers, name))
		return mr_control_no_topic(control, name, err);
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

	for (i = 0; i < hosted->topic->partition_count; i++)
		mr_control_close_files(&hosted->partitions[i]);
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
		if (mr_topic_replicated(topic))
			mr_control_unregister(partition);
		if (!partition->add.partition)
			mr_control_give_up_part(partition); /* no worker ever had it */
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
	struct mr_topic_deleted deleted = {.replicas = topic->replicas,
					   .deleted_ms = mr_clock_wall_ms(control->clock)};
	int r;

	memcpy(deleted.id, topic->id, 16);
	r = mr_topics_note_deleted(&control->topics, &deleted);
	if (r < 0)
		return mr_error_set(err, r, "no memory to delete topic '%s'", topic->name);
	mr_topics_take(&control->topics, topic);
	r = mr_control_save_catalogue(control, err);
	if (r < 0) {
		/* the catalogue on disk still names it: so does ours */
		mr_topics_forget_deleted(&control->topics, topic->id);
		(void)mr_topics_add(&control->topics, topic, NULL);
		mr_error_prefix(err, "topic '%s' cannot be deleted: ", topic->name);
		return r;
	}
	mr_control_catalog_name_free(control, topic->name);
	mr_control_topic_deleted(control, topic);
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
