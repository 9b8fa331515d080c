/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics as they are made: a step at a time, a partition's files or some of its memory. A thousand
 * partitions take half a minute, and what others ask for is done between the steps. Nobody knows of
 * a topic before all of it is there: it is in no catalogue, and no worker has a part of it. Control
 * thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "control.h"

#define POPULATE_BYTES (UINT64_C(64) << 20) /* of one step: some tens of milliseconds */
#define STEP_LATE_NS   UINT64_C(100000000)  /* so long others come before the next one */

/*
 * The topic's folder, and those of its logs, all of them durable: each folder is synced once.
 * "topics" itself has been since the first start.
 */
static int make_directories(struct mr_control *control, const struct mr_topic *topic,
			    struct mr_error *err)
{
	const struct mr_hosted_topic *hosted = topic->owner;
	char path[64];
	int32_t i;
	int r;

	mr_topic_directory(topic->id, path);
	r = mr_io_make_directory(control->io, path, err);
	for (i = 0; r == 0 && i < topic->partition_count && !mr_topic_in_memory(topic); i++)
		r = mr_io_make_directory(control->io, hosted->partitions[i].directory, err);
	if (r == 0)
		r = mr_io_sync_directory(control->io, path, err);
	if (r == 0)
		r = mr_io_sync_directory(control->io, "topics", err);
	return r;
}

static int begin(struct mr_control *control, struct mr_control_making *making, struct mr_error *err)
{
	struct mr_topic *topic = making->topic;
	int r = mr_control_hosted_topic_new(control, topic)
			? mr_control_check_topic_space(control, topic, err)
			: mr_error_set(err, -ENOMEM, "no memory for topic '%s'", topic->name);

	making->begun = true;
	return r < 0 ? r : make_directories(control, topic, err);
}

int mr_control_making_step(struct mr_control *control, struct mr_control_making *making,
			   struct mr_error *err)
{
	struct mr_hosted_topic *owner = making->topic->owner;
	struct mr_hosted *hosted;
	int r;

	if (!making->begun)
		r = begin(control, making, err);
	else if (!(hosted = &owner->partitions[making->next])->part)
		r = mr_control_make_partition(hosted, err);
	else
		r = mr_worker_partition_populate(hosted->part, &making->populated, POPULATE_BYTES,
						 err);
	if (r == 1) {
		making->populated = 0;
		making->next++;
	}
	return r < 0 ? r : making->next < making->topic->partition_count;
}

/* ---- for who can wait ------------------------------------------------------------------------ */

static const struct mr_control_making *find(const struct mr_control *control, const char *name)
{
	const struct mr_control_making *making;

	TAILQ_FOREACH(making, &control->makings, entry)
	{
		if (strcmp(making->topic->name, name) == 0)
			return making;
	}
	return NULL;
}

int mr_control_making_explain(const struct mr_control *control, const char *name,
			      struct mr_error *err)
{
	const struct mr_control_making *making = find(control, name);

	if (!making)
		return 0;
	mr_error_set(err, -EAGAIN, "topic '%s' is being made: %d of %d partitions are", name,
		     making->next, making->topic->partition_count);
	return mr_error_hint(err, "wait a moment");
}

/* Whoever has least to do is first: it would wait half a minute for a large one. */
static void queue(struct mr_control *control, struct mr_control_making *making)
{
	struct mr_control_making *at;

	TAILQ_FOREACH(at, &control->makings, entry)
	{
		if (mr_control_making_left(at) <= mr_control_making_left(making))
			continue;
		TAILQ_INSERT_BEFORE(at, making, entry);
		return;
	}
	TAILQ_INSERT_TAIL(&control->makings, making, entry);
}

int mr_control_make_later(struct mr_control *control, struct mr_topic *topic,
			  const struct mr_control_told *told, struct mr_error *err)
{
	struct mr_control_making *making = calloc(1, sizeof(*making));

	if (!making) {
		free(topic);
		return mr_error_set(err, -ENOMEM, "no memory for a topic");
	}
	making->topic = topic;
	making->told = *told;
	queue(control, making);
	return 0;
}

static void finish(struct mr_control *control, struct mr_control_making *making, int r,
		   struct mr_error *err)
{
	TAILQ_REMOVE(&control->makings, making, entry);
	r = mr_control_install_topic(control, making->topic, r, err);
	making->told.made(control, making->told.arg, r < 0 ? NULL : making->topic, err);
	free(making);
}

void mr_control_making_turn(struct mr_control *control, bool busy)
{
	struct mr_control_making *making = TAILQ_FIRST(&control->makings);
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);
	struct mr_error err = {0};
	int r;

	if (!making || (busy && now_ns - control->making_ns < STEP_LATE_NS))
		return;
	r = control->failed ? mr_error_set(&err, -EIO, "the engine lost its data directory")
			    : mr_control_making_step(control, making, &err);
	if (r <= 0)
		finish(control, making, r, &err);
	control->making_ns = mr_clock_monotonic_ns(control->clock);
}

void mr_control_making_end(struct mr_control *control)
{
	struct mr_control_making *making;

	while ((making = TAILQ_FIRST(&control->makings))) {
		struct mr_error err;

		finish(control, making, mr_error_set(&err, -EIO, "the engine is stopping"), &err);
	}
}
