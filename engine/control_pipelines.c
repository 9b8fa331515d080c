/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelines' threads and their lanes (control_pipelines.h). Runs on the control thread.
 *
 * A thread starts when the engine serves, and ends before its workers do: its last records are
 * taken and acknowledged while everything still runs.
 */
#include "control_pipelines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "check.h"

#define LANE_BYTES	 (1u << 20)
#define PIPELINES_FOLDER "pipelines"

/* ---- lanes ----------------------------------------------------------------------------------- */

static struct mr_runner_lanes *lanes_of(struct mr_own_lane *own)
{
	return own->owner;
}

static void send(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	int r = mr_runner_send(host->runner, message);

	mr_assert(r == 0); /* answers have room: requests are counted */
}

static void answer(struct mr_runner_lanes *lanes)
{
	struct mr_runner_message *message = lanes->waiting;

	lanes->waiting = NULL;
	if (message)
		send(lanes->owner, message);
}

static void lane_added(struct mr_own_lane *own, uint64_t next)
{
	struct mr_runner_lanes *lanes = lanes_of(own);

	lanes->next[own - lanes->own] = next;
	mr_assert(lanes->adding > 0);
	lanes->adding--;
	if (!lanes->adding && lanes->waiting && lanes->waiting->status == 0 &&
	    lanes->waiting->kind == MR_RUNNER_OPEN_LANES)
		answer(lanes);
}

/* Its thread sees it on the lane, and asks for the close. */
static void lane_poisoned(struct mr_own_lane *own)
{
	(void)lanes_of(own);
}

static void lane_closed(struct mr_own_lane *own, int bells)
{
	struct mr_runner_lanes *lanes = lanes_of(own);

	mr_own_lane_closed(own, bells);
	mr_own_lane_deinit(own);
	mr_assert(lanes->out > 0);
	lanes->out--;
	if (!lanes->out)
		answer(lanes);
}

static const struct mr_own_lane_events lane_events = {
	.added = lane_added,
	.poisoned = lane_poisoned,
	.closed = lane_closed,
};

static struct mr_hosted *find_hosted(struct mr_pipeline_host *host, const char *name,
				     int32_t partition, struct mr_error *err)
{
	struct mr_topic *topic = mr_topics_find(&host->control->topics, name);
	struct mr_hosted_topic *hosted = topic ? topic->owner : NULL;

	if (!hosted || partition >= topic->partition_count) {
		mr_error_set(err, -ENOENT, "topic '%.100s' has no partition %d here", name,
			     partition);
		return NULL;
	}
	if (!mr_hosted_serves(&hosted->partitions[partition])) {
		mr_error_set(err, -EAGAIN, "topic '%.100s' partition %d is not up", name,
			     partition);
		return NULL;
	}
	return &hosted->partitions[partition];
}

static int open_lane(struct mr_pipeline_host *host, struct mr_runner_message *message, int t)
{
	const struct mr_definition *definition = host->definition;
	struct mr_runner_lanes *lanes = &host->lanes[message->partition];
	struct mr_own_lane_options options = {
		.acks = definition->in_memory ? MR_ACKS_MEMORY : MR_ACKS_COMMITTED,
		.lane_bytes = LANE_BYTES,
		.producer_id = definition->producer_id + t,
		.number = message->numbers[t],
	};
	struct mr_hosted *hosted =
		find_hosted(host, definition->topics[t], message->partition, &message->err);
	const struct mr_tail *tail;
	int r;

	if (!hosted)
		return message->err.code;
	tail = mr_worker_partition_tail(hosted->part);
	/* relaxed: it only grows */
	lanes->log_end[t] =
		atomic_load_explicit(&tail->page->appended_offset, memory_order_relaxed);
	r = mr_own_lane_init(&lanes->own[t], &lane_events, lanes, &message->err);
	if (r == 0)
		r = mr_own_lane_open(host->control, hosted, &options, &lanes->own[t],
				     &message->err);
	if (r < 0) {
		mr_own_lane_deinit(&lanes->own[t]);
		return r;
	}
	lanes->adding++;
	lanes->out++;
	return 0;
}

/* All that are open are asked back. */
static void close_lanes(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	struct mr_runner_lanes *lanes = &host->lanes[message->partition];
	int t;

	lanes->waiting = message;
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		mr_own_lane_close(host->control, &lanes->own[t]); /* none: nothing happens */
	if (!lanes->out)
		answer(lanes);
}

static void open_lanes(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	struct mr_runner_lanes *lanes = &host->lanes[message->partition];
	int t, r = 0;

	mr_assert(!lanes->out && !lanes->waiting);
	memset(lanes, 0, sizeof(*lanes));
	lanes->owner = host;
	message->lanes = lanes;
	lanes->waiting = message;
	for (t = 0; t < MR_PIPELINE_TOPICS && r == 0; t++) {
		lanes->next[t] = MR_OFFSET_UNKNOWN;
		lanes->used[t] = host->definition->topics[t][0] != '\0';
		if (lanes->used[t])
			r = open_lane(host, message, t);
	}
	message->status = r;
	if (r < 0)
		close_lanes(host, message);
}

bool mr_control_leads(const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view =
		hosted->part ? mr_worker_partition_replica(hosted->part) : NULL;

	/* relaxed: who hears of it late says the same as the other, under the same numbers */
	return !view || atomic_load_explicit(&view->role, memory_order_relaxed) == MR_ROLE_LEADER;
}

static void look(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	struct mr_hosted *hosted =
		find_hosted(host, host->definition->input, message->partition, &message->err);
	const struct mr_tail *tail;

	message->status = hosted ? 0 : message->err.code;
	if (hosted && memcmp(hosted->topic->id, host->definition->input_id, 16) != 0)
		message->status = mr_error_set(&message->err, -ENOENT,
					       "topic '%.100s' is another one than the pipeline's",
					       host->definition->input);
	if (message->status == 0) {
		tail = mr_worker_partition_tail(hosted->part);
		message->log_start = mr_tail_log_start(tail);
		/* relaxed: it only grows */
		message->log_end =
			atomic_load_explicit(&tail->page->appended_offset, memory_order_relaxed);
		message->active = mr_control_leads(hosted);
	}
	send(host, message);
}

/* What the last checkpoint of that log says: it is committed, and durable here. */
static uint64_t find_known(const struct mr_hosted *hosted, int64_t producer_id, uint64_t number)
{
	const struct mr_checkpoint_partition *last = &hosted->last;
	uint32_t i;

	for (i = 0; i < last->producer_count; i++) {
		int32_t next = mr_sequence_add(last->producers[i].last_sequence, 1);

		if (last->producers[i].producer_id == producer_id)
			return number + (uint64_t)(int64_t)mr_sequence_distance(
						next, (int32_t)(number & INT32_MAX));
	}
	return 0;
}

static void know(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	const struct mr_definition *definition = host->definition;
	int t;

	message->status = 0;
	for (t = 0; t < MR_PIPELINE_TOPICS && message->status == 0; t++) {
		struct mr_hosted *hosted;

		if (!definition->topics[t][0])
			continue;
		hosted =
			find_hosted(host, definition->topics[t], message->partition, &message->err);
		if (hosted)
			message->numbers[t] = find_known(hosted, definition->producer_id + t,
							 message->numbers[t]);
		else
			message->status = message->err.code;
	}
	send(host, message);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct mr_pipeline_host *mr_control_pipeline_find(struct mr_control_pipelines *pipelines,
						  const char *name)
{
	struct mr_pipeline_host *host = pipelines->hosts;

	while (host && (host->removed || strcmp(host->definition->name, name) != 0))
		host = host->next;
	return host;
}

static void said(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	bool news = strcmp(host->reason.what, message->err.what) != 0;

	host->reason = message->err;
	if (message->status < 0 && news)
		mr_diag_warn("a pipeline stopped: it tries again", "pipeline=%s error=\"%s\"",
			     host->definition->name, host->reason.what);
	free(message);
}

/* ---- its end --------------------------------------------------------------------------------- */

struct remove_chore {
	struct mr_chore chore;
	struct mr_control *control;
	struct mr_local_ticket *ticket;
	char path[64];
};

static int run_remove(struct mr_chore *chore, struct mr_error *err)
{
	struct remove_chore *work = (struct remove_chore *)chore;

	return mr_io_remove_tree(work->control->io, work->path, err);
}

static void done_remove(struct mr_chore *chore)
{
	struct remove_chore *work = (struct remove_chore *)chore;

	/* files that could not be removed now are removed at the next start */
	if (work->ticket)
		mr_local_answer(work->ticket, 0, NULL, "{}");
	free(work);
}

static void remove_files(struct mr_pipeline_host *host)
{
	struct remove_chore *work = calloc(1, sizeof(*work));

	if (!work || host->control->failed) {
		free(work);
		if (host->removing)
			mr_local_answer(host->removing, 0, NULL, "{}");
		return;
	}
	work->chore.run = run_remove;
	work->chore.done = done_remove;
	work->control = host->control;
	work->ticket = host->removing;
	mr_definition_directory(host->definition, work->path);
	mr_chores_send(host->control->chores, &work->chore);
}

static void free_host(struct mr_pipeline_host *host)
{
	struct mr_pipeline_host **at = &host->control->pipelines->hosts;

	while (*at != host)
		at = &(*at)->next;
	*at = host->next;
	if (host->removed)
		mr_definition_free(host->definition);
	free(host->lanes);
	free(host->marking);
	free(host);
}

/* What was sent to a thread that was ending. */
static void take_left(struct mr_pipeline_host *host, const struct mr_error *why)
{
	struct mr_runner_message *message;

	while ((message = mr_runner_left(host->runner)) != NULL) {
		message->status = why->code;
		message->err = *why;
		if (message->kind == MR_RUNNER_FORGET) {
			message->status = mr_runner_forget_checkpoint(
				host->control->io, host->definition, message, &message->err);
			mr_control_pipeline_forgot(host, message);
		} else {
			mr_assert(message->kind == MR_RUNNER_GET);
			mr_control_rule_got(host, message);
		}
	}
}

static void ended(struct mr_pipeline_host *host)
{
	struct mr_error err;

	mr_error_set(&err, -ECANCELED, "pipeline '%s' has ended", host->definition->name);
	mr_control_version_forget(host, &err);
	if (host->runner) {
		take_left(host, &err);
		mr_runner_close(host->runner);
	}
	if (host->removed)
		remove_files(host);
	free_host(host);
}

/* True: that was its last word, the host is gone. */
static bool take_message(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	switch (message->kind) {
	case MR_RUNNER_LOOK:
		look(host, message);
		break;
	case MR_RUNNER_KNOWN:
		know(host, message);
		break;
	case MR_RUNNER_OPEN_LANES:
		open_lanes(host, message);
		break;
	case MR_RUNNER_CLOSE_LANES:
		close_lanes(host, message);
		break;
	case MR_RUNNER_GET:
		mr_control_rule_got(host, message);
		break;
	case MR_RUNNER_LEARN:
		mr_control_version_learn(host, message);
		break;
	case MR_RUNNER_FORGET:
		mr_control_pipeline_forgot(host, message);
		break;
	case MR_RUNNER_SAYS:
		said(host, message);
		break;
	case MR_RUNNER_DISK_FAILED:
		mr_control_fail(host->control, message->status, "a checkpoint of a pipeline");
		free(message);
		break;
	case MR_RUNNER_ENDED:
		ended(host);
		return true;
	}
	return false;
}

static void host_ready(struct mr_local_source *source, uint32_t events)
{
	struct mr_pipeline_host *host = (struct mr_pipeline_host *)source;
	struct mr_runner_message *message;

	while ((message = mr_runner_take(host->runner)) != NULL)
		if (take_message(host, message))
			return;
}

static int watch(void *arg, int fd, struct mr_error *err)
{
	struct mr_pipeline_host *host = arg;

	return mr_control_watch_fd(host->control, fd, &host->source, host_ready, err);
}

static int start_runner(struct mr_pipeline_host *host, struct mr_error *err)
{
	struct mr_control *control = host->control;
	struct mr_runner_options options = {
		.definition = mr_definition_copy(host->definition),
		.place = &host->place,
		.io = control->io,
		.clock = control->clock,
		.socket_path = control->socket_path,
		.checkpoint_ms = control->config->pipeline_checkpoint_ms,
		.watch = watch,
		.arg = host,
	};

	if (!options.definition)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	return mr_runner_start(&options, &host->runner, err);
}

static int make_directory(struct mr_control *control, const struct mr_definition *definition,
			  struct mr_error *err)
{
	char path[64];
	int r = mr_io_make_directory(control->io, PIPELINES_FOLDER, err);

	mr_definition_directory(definition, path);
	if (r == 0)
		r = mr_io_sync_directory(control->io, ".", err);
	if (r == 0)
		r = mr_io_make_directory(control->io, path, err);
	return r < 0 ? r : mr_io_sync_directory(control->io, PIPELINES_FOLDER, err);
}

/* The first place that the fewest have. */
static uint32_t choose_place(const struct mr_control_pipelines *pipelines)
{
	const struct mr_pipeline_host *host;
	uint32_t count = 0;

	for (host = pipelines->hosts; host; host = host->next)
		count++;
	return count;
}

int mr_control_pipeline_start(struct mr_control_pipelines *pipelines,
			      struct mr_definition *definition, struct mr_error *err)
{
	struct mr_control *control = pipelines->control;
	struct mr_pipeline_host *host = calloc(1, sizeof(*host));
	int r;

	if (!host)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	mr_place_pipeline(&control->plan, choose_place(pipelines), &host->place);
	host->control = control;
	host->definition = definition;
	host->lanes = calloc((size_t)definition->partition_count, sizeof(*host->lanes));
	host->marking = calloc((size_t)definition->partition_count, sizeof(*host->marking));
	host->next = pipelines->hosts;
	pipelines->hosts = host;
	r = host->lanes && host->marking ? make_directory(control, definition, err)
					 : mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	if (r == 0)
		r = start_runner(host, err);
	if (r < 0) {
		mr_assert(!host->runner);
		free_host(host);
	}
	return r;
}

int mr_control_pipeline_take_out(struct mr_pipeline_host *host, struct mr_local_ticket *ticket,
				 struct mr_error *err)
{
	struct mr_control_pipelines *pipelines = host->control->pipelines;
	int r = mr_pipelines_note_removed(&pipelines->catalogue, host->definition->id);

	if (r < 0)
		return mr_error_set(err, r, "no memory to remove pipeline '%s'",
				    host->definition->name);
	mr_pipelines_take(&pipelines->catalogue, host->definition);
	r = mr_control_pipelines_save(pipelines, err);
	if (r < 0) {
		/* the catalogue on disk still names it: so does ours */
		(void)mr_pipelines_add(&pipelines->catalogue, host->definition, NULL);
		pipelines->catalogue.removed_count--;
		mr_error_prefix(err, "pipeline '%s' cannot be removed: ", host->definition->name);
		return r;
	}
	host->removed = true;
	host->removing = ticket;
	host->ending = true;
	mr_runner_stop(host->runner);
	return 0;
}

/* ---- start and stop of the engine ------------------------------------------------------------ */

int mr_control_pipelines_save(struct mr_control_pipelines *pipelines, struct mr_error *err)
{
	struct mr_control *control = pipelines->control;
	int r = mr_pipelines_save(control->io, &pipelines->catalogue, err);

	pipelines->unsaved = r < 0;
	if (r == -EIO)
		mr_control_fail(control, r, "the catalogue of pipelines");
	return r;
}

static bool is_known(const struct mr_pipelines *catalogue, const char *name)
{
	char id[33];
	size_t i;

	for (i = 0; i < catalogue->count; i++) {
		mr_topic_id_text(catalogue->rows[i]->id, id);
		if (strcmp(id, name) == 0)
			return true;
	}
	return false;
}

/* Checkpoints of pipelines that are no more. */
static int remove_strangers(struct mr_control_pipelines *pipelines, struct mr_error *err)
{
	struct mr_io *io = pipelines->control->io;
	struct mr_io_entry *entries = NULL;
	char path[MR_IO_PATH_BYTES];
	size_t count = 0, i;
	int r = mr_io_list(io, PIPELINES_FOLDER, &entries, &count, err);

	if (r == -ENOENT)
		return 0;
	for (i = 0; r >= 0 && i < count; i++) {
		if (is_known(&pipelines->catalogue, entries[i].name))
			continue;
		snprintf(path, sizeof(path), PIPELINES_FOLDER "/%s", entries[i].name);
		r = mr_io_remove_tree(io, path, err);
	}
	free(entries);
	return r < 0 ? r : 0;
}

int mr_control_pipelines_open(struct mr_control *control, struct mr_error *err)
{
	struct mr_control_pipelines *pipelines = calloc(1, sizeof(*pipelines));
	int r;

	if (!pipelines)
		return mr_error_set(err, -ENOMEM, "no memory for pipelines");
	pipelines->control = control;
	control->pipelines = pipelines;
	r = mr_pipelines_load(control->io, &pipelines->catalogue, err);
	return r < 0 ? r : remove_strangers(pipelines, err);
}

void mr_control_pipelines_run(struct mr_control *control)
{
	struct mr_control_pipelines *pipelines = control->pipelines;
	struct mr_error err;
	size_t i;

	for (i = 0; i < pipelines->catalogue.count; i++) {
		struct mr_definition *definition = pipelines->catalogue.rows[i];

		if (mr_control_pipeline_start(pipelines, definition, &err) < 0)
			mr_diag_fail("a pipeline cannot be started", "pipeline=%s error=\"%s\"",
				     definition->name, err.what);
	}
}

void mr_control_pipelines_stop(struct mr_control *control)
{
	struct mr_pipeline_host *host;

	for (host = control->pipelines->hosts; host; host = host->next) {
		host->ending = true;
		mr_runner_stop(host->runner);
	}
}

bool mr_control_pipelines_ended(const struct mr_control *control)
{
	return control->pipelines->hosts == NULL;
}

void mr_control_pipelines_close(struct mr_control *control)
{
	if (!control->pipelines)
		return;
	mr_assert(control->pipelines->hosts == NULL);
	mr_pipelines_deinit(&control->pipelines->catalogue);
	free(control->pipelines);
	control->pipelines = NULL;
}
