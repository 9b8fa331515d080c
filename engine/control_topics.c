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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "control.h"

#define AT_WORK_NS UINT64_C(300000000) /* much less than a client waits */

/* ---- making
 * ------------------------------------------------------------------------------------------ */

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
	hosted = mr_control_hosted_topic_new(control, topic);
	r = hosted ? make_directories(control, topic, err)
		   : mr_error_set(err, -ENOMEM, "no memory for topic '%s'", name);
	control->told_ns = mr_clock_monotonic_ns(control->clock);
	for (i = 0; r == 0 && i < topic->partition_count; i++) {
		r = mr_control_make_partition(&hosted->partitions[i], err);
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
