/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control thread does about logs: segments made ahead and named, retention, the
 * checkpoint, and what happens when the disk fails. Whatever may block is a chore (chores.h).
 * Runs on the control thread (control.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "control.h"

#define DROPS_A_SECOND 64   /* segments of one partition that retention lets go at once */
#define CHORES_MANY    2048 /* under way: retention waits */

#define NAME_TROUBLE	   "no space to name a segment, so producers wait"
#define DROP_TROUBLE	   "cannot remove a segment that is no longer kept"
#define CHECKPOINT_TROUBLE "no space for a checkpoint: the next start reads more of the log"

/* A chore on one partition's segment. */
struct segment_chore {
	struct mr_chore chore;
	struct mr_hosted *hosted;
	struct mr_segment *segment;
	struct mr_segment *complete; /* NAME: the segment before it, whose index is saved */
	struct mr_segment_header header;
	uint64_t bytes; /* SPARE: its size */
	bool kept;	/* SPARE: one may be there from before */
	bool again;	/* NAME: the disk is full */
};

static struct segment_chore *chore_new(struct mr_hosted *hosted,
				       int (*run)(struct mr_chore *, struct mr_error *),
				       void (*done)(struct mr_chore *))
{
	struct segment_chore *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	work->chore.run = run;
	work->chore.done = done;
	work->hosted = hosted;
	hosted->chores++;
	return work;
}

static void post(struct mr_hosted *hosted, struct mr_worker_message *message,
		 enum mr_worker_message_kind kind, struct mr_segment *segment, uint64_t offset)
{
	message->kind = kind;
	message->partition = hosted->part;
	message->segment = segment;
	message->offset = offset;
	message->owner = hosted;
	hosted->posts++;
	mr_worker_send(hosted->worker, message);
}

/* ---- the data directory fails
 * -------------------------------------------------------------------------- */

/* D3: one error that is final ends every partition: nothing is acknowledged any more, readers of
 * memory go on. */
void mr_control_fail(struct mr_control *control, int status, const char *what)
{
	struct mr_hosted *hosted;
	uint32_t i;

	if (control->failed)
		return;
	control->failed = true;
	mr_error_set(&control->failure, status, "the data directory '%s' failed: %s",
		     control->data_path, what);
	mr_error_why(&control->failure,
		     "a write that was not made durable cannot be made so later");
	mr_error_hint(&control->failure,
		      "look at the disk, then start the engine again: it recovers what "
		      "was acknowledged");
	mr_diag_error(&control->failure);
	mr_control_each(control, hosted)
	{
		if (hosted->state != MR_HOSTED_OK)
			continue;
		hosted->state = MR_HOSTED_FAILED;
		hosted->reason = control->failure;
	}
	for (i = 0; i < control->worker_count; i++) {
		struct mr_worker_message *message = &control->failures[i];

		message->kind = MR_WORKER_FAIL;
		message->status = status;
		mr_worker_send(control->workers[i], message);
	}
}

void mr_control_suspect(struct mr_control *control, int status, const struct mr_error *err)
{
	if (status == -EIO && !control->stopping)
		mr_control_fail(control, status, err && err->what[0] ? err->what : "a request");
}

/* ---- segments ahead of need
 * ---------------------------------------------------------------------------- */

static int run_spare(struct mr_chore *chore, struct mr_error *err)
{
	struct segment_chore *work = (struct segment_chore *)chore;
	struct mr_io *io = work->hosted->control->io;
	const char *directory = work->hosted->directory;
	int r = -ENOENT;

	if (work->kept)
		r = mr_segment_use_spare(io, directory, work->bytes, &work->segment, err);
	if (r == -ENOENT)
		r = mr_segment_make_spare(io, directory, work->bytes, &work->segment, err);
	return r;
}

bool mr_control_may_pass(int status)
{
	return status == -ENOSPC || status == -EDQUOT || status == -EMFILE || status == -ENFILE ||
	       status == -ENOMEM;
}

void mr_control_trouble(const struct mr_hosted *hosted, struct mr_trouble *trouble,
			const char *what, const struct mr_chore *chore)
{
	uint64_t now_ns = mr_clock_monotonic_ns(hosted->control->clock);
	char where[MR_TOPIC_NAME_MAX + 40];

	snprintf(where, sizeof(where), "topic=%s partition=%d", hosted->topic->name,
		 hosted->number);
	if (mr_control_may_pass(chore->status))
		mr_control_note_shortage(hosted->control, &chore->err);
	if (chore->status < 0)
		mr_trouble_met(trouble, now_ns, what, where, &chore->err);
	else
		mr_trouble_over(trouble, now_ns, what, where);
}

static void done_spare(struct mr_chore *chore)
{
	struct segment_chore *work = (struct segment_chore *)chore;
	struct mr_hosted *hosted = work->hosted;

	hosted->chores--;
	hosted->spare_pending = false;
	if (chore->status == 0)
		hosted->spare_kept = false;
	if (chore->status == 0 && mr_hosted_serves(hosted)) {
		post(hosted, &hosted->spare, MR_WORKER_GIVE_SPARE, work->segment, 0);
		if (hosted->no_space)
			mr_diag_notice("disk space is back", "topic=%s partition=%d",
				       hosted->topic->name, hosted->number);
		hosted->no_space = false;
	} else if (chore->status == 0) {
		mr_segment_close(work->segment);
	} else if (chore->status == -EEXIST && hosted->naming) {
		hosted->spare_wanted = true; /* the name is still the active segment's */
	} else if (mr_control_may_pass(chore->status)) {
		/* full: producers wait, readers go on, and every second it is tried again */
		if (!hosted->no_space)
			mr_diag_warn("no space for the next segment",
				     "topic=%s partition=%d error=\"%s\"", hosted->topic->name,
				     hosted->number, chore->err.what);
		mr_control_note_shortage(hosted->control, &chore->err);
		hosted->no_space = true;
		hosted->spare_wanted = true;
	} else {
		mr_control_fail(hosted->control, chore->status, chore->err.what);
	}
	free(work);
}

void mr_control_make_spare(struct mr_hosted *hosted)
{
	struct mr_control *control = hosted->control;
	struct segment_chore *work;

	if (hosted->spare_pending || !mr_hosted_serves(hosted) || control->failed)
		return;
	work = chore_new(hosted, run_spare, done_spare);
	if (!work) {
		hosted->spare_wanted = true; /* no memory: in a second, perhaps */
		return;
	}
	work->bytes = mr_control_segment_bytes(hosted, hosted->next_segment_bytes);
	work->kept = hosted->spare_kept;
	hosted->spare_pending = true;
	hosted->spare_wanted = false;
	mr_chores_send(control->chores, &work->chore);
}

/*
 * No space, but what was written before is safe: its flush still says so. A flush that failed for
 * want of space is as final as any (D3).
 */
static bool is_only_full(int status, struct mr_segment *segment)
{
	return (status == -ENOSPC || status == -EDQUOT) && mr_io_sync(segment->file, NULL) == 0;
}

static int run_name(struct mr_chore *chore, struct mr_error *err)
{
	struct segment_chore *work = (struct segment_chore *)chore;
	int r = mr_segment_name(work->segment, &work->header, err);

	work->again = is_only_full(r, work->segment);
	if (r == 0 && work->complete)
		(void)mr_segment_index_save(work->complete,
					    NULL); /* a hint: made again when missing */
	return r;
}

/* The engine stops, the disk is full: the worker shall not wait for the name of its segment. */
void mr_control_give_up_name(struct mr_hosted *hosted)
{
	if (!hosted->unnamed || !hosted->part || hosted->let_go)
		return;
	hosted->named.status = -ENOSPC;
	post(hosted, &hosted->named, MR_WORKER_SEGMENT_NAMED, hosted->unnamed->segment, 0);
}

static void done_name(struct mr_chore *chore)
{
	struct segment_chore *work = (struct segment_chore *)chore;
	struct mr_hosted *hosted = work->hosted;

	hosted->chores--;
	if (work->again) {
		/* nothing in it counts as flushed until then: producers wait */
		mr_control_trouble(hosted, &hosted->name_trouble, NAME_TROUBLE, chore);
		hosted->unnamed = work;
		if (hosted->remove_posted)
			mr_control_give_up_name(hosted);
		return;
	}
	hosted->naming = false;
	if (chore->status == 0)
		mr_control_trouble(hosted, &hosted->name_trouble, NAME_TROUBLE, chore);
	if (chore->status < 0)
		mr_control_fail(hosted->control, chore->status, chore->err.what);
	else if (hosted->part && !hosted->let_go) {
		hosted->named.status = 0;
		post(hosted, &hosted->named, MR_WORKER_SEGMENT_NAMED, work->segment, 0);
	}
	free(work);
}

static void name_again(struct mr_hosted *hosted)
{
	struct segment_chore *work = hosted->unnamed;

	if (!work || !mr_hosted_serves(hosted) || hosted->control->failed)
		return;
	hosted->unnamed = NULL;
	hosted->chores++;
	mr_chores_send(hosted->control->chores, &work->chore);
}

static void segment_started(struct mr_hosted *hosted, const struct mr_log_event *event)
{
	size_t count = mr_log_files_count(hosted->files);
	struct segment_chore *work = chore_new(hosted, run_name, done_name);
	struct mr_error err;
	int r;

	mr_assert(work != NULL); /* 400 bytes: without them the engine cannot keep its promises */
	hosted->naming = true;
	work->segment = event->segment;
	work->header = event->header;
	memcpy(work->header.topic_id, hosted->topic->id, 16);
	memcpy(work->header.log_id, hosted->control->checkpoint.log_id, 16);
	work->header.partition = hosted->number;
	work->complete = count ? mr_log_files_at(hosted->files, count - 1) : NULL;
	/* first the end of the one before, which the chore writes into its index */
	r = mr_log_files_started(hosted->files, event->segment, &event->header, &err);
	if (r < 0)
		mr_control_fail(hosted->control, r, err.what);
	mr_chores_send(hosted->control->chores, &work->chore);
	hosted->next_segment_bytes = 2 * event->segment->file_bytes;
	mr_control_make_spare(hosted);
}

void mr_control_log_event(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	const struct mr_log_event *event = &message->event;

	if (event->kind == MR_LOG_EVENT_STARTED)
		segment_started(hosted, event);
	mr_worker_send(hosted->worker, message); /* back: the next may come */
}

/* ---- retention
 * ------------------------------------------------------------------------------------------- */

/*
 * Segments that retention let go, oldest first. One of these is out at a time for a partition, and
 * none is removed before the one in front of it is gone: a hole would be damage.
 */
struct drop_chore {
	struct mr_chore chore;
	struct mr_hosted *hosted;
	struct mr_segment *segments[DROPS_A_SECOND];
	uint32_t count, removed;
};

static int run_drop(struct mr_chore *chore, struct mr_error *err)
{
	struct drop_chore *work = (struct drop_chore *)chore;

	while (work->removed < work->count) {
		struct mr_io_file *left;
		int r = mr_segment_remove_name(work->segments[work->removed], &left, err);

		if (r < 0)
			return r;
		mr_segment_close(work->segments[work->removed++]);
		mr_chores_give_back(work->hosted->control->chores, left);
	}
	return 0;
}

static void free_drops(struct drop_chore *work)
{
	while (work && work->removed < work->count)
		mr_segment_close(work->segments[work->removed++]);
	free(work);
}

static void done_drop(struct mr_chore *chore)
{
	struct drop_chore *work = (struct drop_chore *)chore;
	struct mr_hosted *hosted = work->hosted;

	hosted->chores--;
	hosted->dropping = false;
	mr_control_trouble(hosted, &hosted->drop_trouble, DROP_TROUBLE, chore);
	if (chore->status == 0) {
		free_drops(work);
		return;
	}
	hosted->undropped = work; /* tried again in a second */
}

static void drop(struct mr_hosted *hosted)
{
	struct drop_chore *work = hosted->undropped;

	if (!work || hosted->remove_posted || hosted->control->failed)
		return;
	hosted->undropped = NULL;
	hosted->dropping = true;
	hosted->chores++;
	mr_chores_send(hosted->control->chores, &work->chore);
}

/* Readers know the new start, and the worker has nothing open below it: the files may go. */
void mr_control_log_start_known(struct mr_hosted *hosted)
{
	hosted->log_start_out = false;
	drop(hosted);
}

static struct drop_chore *drops_new(struct mr_hosted *hosted)
{
	struct drop_chore *work = calloc(1, sizeof(*work));

	if (!work)
		return NULL;
	work->chore.run = run_drop;
	work->chore.done = done_drop;
	work->hosted = hosted;
	return work;
}

/* Everything below is committed, so that no leader will ever ask for it to be cut off. */
static uint64_t committed_end(const struct mr_hosted *hosted)
{
	if (!hosted->part)
		return 0;
	/* acquire: of what is below it nothing is read here, but it may only rise late */
	return atomic_load_explicit(&mr_worker_partition_tail(hosted->part)->page->committed_offset,
				    memory_order_acquire);
}

/*
 * A checkpoint must never point below what is kept; nor is anything let go that is not committed.
 * What a checkpoint holds was, but a replica that has just started does not count it as that before
 * it hears of its leader.
 */
static uint64_t retained_from(const struct mr_hosted *hosted)
{
	uint64_t offset = hosted->checkpointed_offset;

	if (mr_topic_replicated(hosted->topic) && committed_end(hosted) < offset)
		offset = committed_end(hosted);
	return offset;
}

static void retain(struct mr_hosted *hosted, int64_t now_ms)
{
	const struct mr_topic *topic = hosted->topic;
	int64_t before_ms = topic->retention_ms ? now_ms - (int64_t)topic->retention_ms : 0;
	uint64_t log_start = 0;
	struct mr_segment *segment;
	struct drop_chore *work;

	if (hosted->state != MR_HOSTED_OK || hosted->log_start_out || hosted->dropping ||
	    !mr_hosted_serves(hosted))
		return;
	if (hosted->undropped) {
		drop(hosted);
		return;
	}
	if ((!topic->retention_bytes && !before_ms) ||
	    mr_chores_pending(hosted->control->chores) > CHORES_MANY)
		return;
	work = drops_new(hosted);
	if (!work)
		return; /* no memory: looked at again in a second */
	while (work->count < DROPS_A_SECOND &&
	       (segment = mr_log_files_retain(hosted->files, topic->retention_bytes, before_ms,
					      retained_from(hosted), &log_start)) != NULL)
		work->segments[work->count++] = segment;
	if (!work->count) {
		free_drops(work);
		return;
	}
	hosted->undropped = work;
	hosted->log_start_out = true;
	post(hosted, &hosted->log_start, MR_WORKER_LOG_START, work->segments[work->count - 1],
	     log_start);
}

void mr_control_forget_chores(struct mr_hosted *hosted)
{
	free_drops(hosted->undropped);
	free(hosted->unnamed);
	hosted->undropped = NULL;
	hosted->unnamed = NULL;
}

/* ---- the checkpoint
 * -------------------------------------------------------------------------------------- */

struct checkpoint_chore {
	struct mr_chore chore;
	struct mr_control *control;
	struct mr_checkpoint checkpoint; /* owned: a copy of its own */
};

void mr_control_forget_held(struct mr_hosted *hosted)
{
	mr_checkpoint_partition_deinit(&hosted->held);
	hosted->held_valid = false;
}

/*
 * A snapshot of a replica waits until all of it is committed: a checkpoint must not hold what may
 * be cut off. Where one waits already it stays, since it will be through sooner.
 */
static bool settle_snapshot(struct mr_hosted *hosted)
{
	if (!hosted->held_valid ||
	    (mr_topic_replicated(hosted->topic) && hosted->held.offset > committed_end(hosted)))
		return false;
	mr_checkpoint_partition_deinit(&hosted->last);
	hosted->last = hosted->held;
	memset(&hosted->held, 0, sizeof(hosted->held));
	hosted->held_valid = false;
	hosted->snapshot_valid = true;
	return true;
}

/* Everything a checkpoint says, as known now. */
static int build_checkpoint(struct mr_control *control, struct mr_checkpoint *out)
{
	struct mr_hosted *hosted;
	uint32_t count = 0;
	int r;

	memset(out, 0, sizeof(*out));
	out->generation = control->checkpoint.generation;
	out->engine_start = control->checkpoint.engine_start;
	out->window_bytes = control->checkpoint.window_bytes;
	memcpy(out->log_id, control->checkpoint.log_id, 16);
	out->next_producer_id = control->checkpoint.next_producer_id;
	out->commits_offset = control->commits_applied;
	r = mr_offsets_rows(control->offsets, &out->commits, &out->commit_count);
	mr_control_each(control, hosted)
	{
		count++;
		(void)settle_snapshot(hosted);
	}
	out->partitions = calloc(count + 1, sizeof(*out->partitions));
	if (r < 0 || !out->partitions)
		return -ENOMEM;
	mr_control_each(control, hosted)
	{
		if (!hosted->snapshot_valid)
			continue;
		if (mr_checkpoint_copy_partition(&hosted->last,
						 &out->partitions[out->partition_count]) < 0)
			return -ENOMEM;
		out->partition_count++;
	}
	return 0;
}

static void checkpoint_written(struct mr_control *control, const struct mr_checkpoint *written)
{
	struct mr_hosted *hosted;
	uint32_t i;

	control->checkpoint.generation = written->generation;
	control->checkpoint.next_producer_id = written->next_producer_id;
	mr_control_each(control,
			hosted) for (i = 0; i < written->partition_count;
				     i++) if (written->partitions[i].partition == hosted->number &&
					      !memcmp(written->partitions[i].topic_id,
						      hosted->topic->id, 16))
		hosted->checkpointed_offset = written->partitions[i].offset;
}

static int run_checkpoint(struct mr_chore *chore, struct mr_error *err)
{
	struct checkpoint_chore *work = (struct checkpoint_chore *)chore;

	return mr_checkpoint_save(work->control->io, &work->checkpoint, err);
}

static void done_checkpoint(struct mr_chore *chore)
{
	struct checkpoint_chore *work = (struct checkpoint_chore *)chore;
	struct mr_control *control = work->control;
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);

	control->checkpoint_running = false;
	control->checkpoint_writing = false;
	if (chore->status == 0) {
		checkpoint_written(control, &work->checkpoint);
		mr_trouble_over(&control->checkpoint_trouble, now_ns, CHECKPOINT_TROUBLE, "");
	} else if (mr_control_may_pass(chore->status)) {
		/* retention needs it, too: tried again in a second */
		control->checkpoint_again = true;
		mr_control_note_shortage(control, &chore->err);
		mr_trouble_met(&control->checkpoint_trouble, now_ns, CHECKPOINT_TROUBLE, "",
			       &chore->err);
	} else {
		mr_control_fail(control, chore->status, chore->err.what);
	}
	mr_checkpoint_deinit(&work->checkpoint);
	free(work);
}

int mr_control_checkpoint_now(struct mr_control *control, struct mr_error *err)
{
	struct mr_checkpoint checkpoint;
	int r = build_checkpoint(control, &checkpoint);

	if (r < 0)
		mr_error_set(err, r, "no memory for a checkpoint");
	else
		r = mr_checkpoint_save(control->io, &checkpoint, err);
	if (r == 0)
		checkpoint_written(control, &checkpoint);
	mr_checkpoint_deinit(&checkpoint);
	return r;
}

/*
 * The workers let go of everything. What a partition's last snapshot says is then all that there is
 * of it, and the next start need not look for more.
 */
void mr_control_checkpoint_clean(struct mr_control *control)
{
	struct mr_hosted *hosted;
	struct mr_error err;
	bool any = false;

	mr_control_each(control, hosted)
	{
		hosted->last.clean = hosted->ended_offset == hosted->last.offset &&
				     hosted->ended_position == hosted->last.position &&
				     hosted->snapshot_valid && !hosted->unnamed && !hosted->naming;
		any |= hosted->last.clean;
	}
	if (any && !control->failed && mr_control_checkpoint_now(control, &err) < 0)
		mr_diag_warn("the next start will take longer", "error=\"%s\"", err.what);
}

int mr_control_checkpoint_twice(struct mr_control *control, struct mr_error *err)
{
	int r = mr_control_checkpoint_now(control, err);

	return r < 0 ? r : mr_control_checkpoint_now(control, err);
}

static bool snapshots_out(struct mr_control *control)
{
	struct mr_hosted *hosted;

	mr_control_each(control, hosted) if (hosted->snapshot_out && !hosted->no_space) return true;
	return false;
}

static void write_checkpoint(struct mr_control *control)
{
	struct checkpoint_chore *work = calloc(1, sizeof(*work));

	if (!work || build_checkpoint(control, &work->checkpoint) < 0) {
		if (work)
			mr_checkpoint_deinit(&work->checkpoint);
		free(work);
		control->checkpoint_running = false;
		return; /* tried again later: a checkpoint only saves time */
	}
	work->chore.run = run_checkpoint;
	work->chore.done = done_checkpoint;
	work->control = control;
	control->checkpoint_writing = true;
	mr_chores_send(control->chores, &work->chore);
}

static void ask_snapshot(struct mr_hosted *hosted)
{
	struct mr_worker_snapshot *snapshot = &hosted->snapshot;

	if (!snapshot->producers)
		snapshot->producers = calloc(hosted->control->config->producer_ids_max,
					     sizeof(*snapshot->producers));
	if (!snapshot->epochs)
		snapshot->epochs = calloc(MR_EPOCHS_MAX, sizeof(*snapshot->epochs));
	if (!snapshot->producers || !snapshot->epochs)
		return;
	hosted->snapshot_out = true;
	hosted->snapshot_message.snapshot = snapshot;
	hosted->snapshot_message.expire_before_ms =
		mr_clock_wall_ms(hosted->control->clock) -
		(int64_t)hosted->control->config->producer_expiry_ms;
	post(hosted, &hosted->snapshot_message, MR_WORKER_SNAPSHOT, NULL, 0);
}

void mr_control_checkpoint(struct mr_control *control)
{
	struct mr_hosted *hosted;

	if (control->checkpoint_running || control->failed)
		return;
	control->checkpoint_running = true;
	mr_control_each(control, hosted) if (hosted->state == MR_HOSTED_OK &&
					     !mr_topic_in_memory(hosted->topic) &&
					     mr_hosted_serves(hosted) && !hosted->snapshot_out)
		ask_snapshot(hosted);
	if (!snapshots_out(control))
		write_checkpoint(control);
}

static void take_snapshot(struct mr_hosted *hosted, const struct mr_worker_snapshot *snapshot)
{
	struct mr_checkpoint_partition last = {
		.partition = hosted->number,
		.leader_epoch = mr_control_leader_epoch(hosted),
		.log_start = snapshot->log_start,
		.offset = snapshot->log.end_offset,
		.position = snapshot->log.end_position,
		.group_number = snapshot->log.end_group_number,
		.previous_crc = snapshot->log.end_crc,
		.producers = snapshot->producers,
		.producer_count = snapshot->producer_count,
		.epochs = snapshot->epochs,
		.epoch_count = snapshot->epoch_count,
	};
	struct mr_checkpoint_partition copy;

	memcpy(last.topic_id, hosted->topic->id, 16);
	if (mr_checkpoint_copy_partition(&last, &copy) < 0)
		return; /* the one before stays: the next start reads more */
	mr_checkpoint_partition_deinit(&hosted->held);
	hosted->held = copy;
	hosted->held_valid = true;
}

/* The worker says that all of it, up to the log's end when it was taken, is durable. */
void mr_control_snapshot_done(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	struct mr_control *control = hosted->control;

	hosted->snapshot_out = false;
	(void)settle_snapshot(hosted);
	if (message->status == 0 && mr_hosted_serves(hosted) && !hosted->held_valid)
		take_snapshot(hosted, message->snapshot);
	(void)settle_snapshot(hosted);
	if (control->checkpoint_writing)
		return; /* written without this one, which is for the next */
	if (control->checkpoint_running && !snapshots_out(control) && !control->failed)
		write_checkpoint(control);
	else if (control->failed)
		control->checkpoint_running = false;
}

/* ---- every second
 * ------------------------------------------------------------------------------------------ */

void mr_control_every_second(struct mr_control *control)
{
	int64_t now_ms = mr_clock_wall_ms(control->clock);
	struct mr_hosted *hosted;

	if (control->checkpoint_again && !control->checkpoint_running) {
		control->checkpoint_again = false;
		mr_control_checkpoint(control);
	}
	mr_control_each(control, hosted)
	{
		if (mr_topic_in_memory(hosted->topic)) {
			mr_control_reserve_offsets(hosted);
			continue;
		}
		name_again(hosted);
		if (hosted->spare_wanted)
			mr_control_make_spare(hosted);
		retain(hosted, now_ms);
		if (settle_snapshot(hosted))
			control->checkpoint_again = true; /* which could not hold it */
	}
}
