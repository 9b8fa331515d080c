/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that is cut is the input of pipelines, which may have read what goes: a person gave it up
 * on another host, or the log begins anew as a copy of another one's. What a pipeline says is a
 * function of its input as it is, so its state and its checkpoint of that partition are forgotten
 * first, durably, and it reads again what is left. A crash before the cut loses nothing by that: it
 * reads again what is still there.
 *
 * A pipeline reads committed records only. So after a common cut, of what was never committed, all
 * of this is a look at some numbers. Runs on the control thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "control_peers.h"
#include "control_pipelines.h"

#define FORGETS_MAX 512 /* out at once, of a pipeline; the others wait for the next turn */

static uint64_t relaxed(const _Atomic uint64_t *number)
{
	return atomic_load_explicit(number, memory_order_relaxed); /* relaxed: see may_know() */
}

/* Up to where the log is what it was. */
static uint64_t find_kept(const struct mr_hosted *hosted)
{
	const struct mr_checkpoint_partition *anew = &hosted->anew;
	const struct mr_epochs theirs = {.entries = anew->epochs, .count = anew->epoch_count};
	const struct mr_epochs *own;
	uint64_t log_end;

	if (!hosted->cut_reset)
		return hosted->cut_offset;
	if (!hosted->anew_valid)
		return 0; /* all of it comes: it can be read again */
	own = mr_worker_partition_epochs(hosted->part, &log_end);
	return mr_epochs_common(own, log_end, &theirs, anew->offset);
}

/*
 * Its thread shows how far it read before it writes that down, and can read nothing new: the log is
 * let go of. Where it does not work nobody knows what it has begun with.
 */
static bool may_know(const struct mr_pipeline_host *host, const struct mr_hosted *hosted,
		     uint64_t kept)
{
	const struct mr_runner_view *view = mr_runner_view(host->runner);
	const _Atomic uint64_t *numbers = view->parts[hosted->number];
	uint32_t state = atomic_load_explicit(&view->state, memory_order_relaxed);
	const struct mr_tail *tail = mr_worker_partition_tail(hosted->part);

	return state != MR_RUNNER_RUNNING || relaxed(&tail->page->committed_offset) > kept ||
	       relaxed(&numbers[MR_RUNNER_OFFSET]) > kept ||
	       relaxed(&numbers[MR_RUNNER_CHECKPOINT]) > kept;
}

/* False: not now. */
static bool ask_to_forget(struct mr_pipeline_host *host, struct mr_hosted *hosted, uint64_t kept)
{
	struct mr_runner_message *message;

	if (host->forgets >= FORGETS_MAX)
		return false;
	message = calloc(1, sizeof(*message));
	if (!message)
		return false;
	message->partition = hosted->number;
	message->log_end = kept;
	if (mr_runner_forget(host->runner, message) < 0) {
		free(message);
		return false;
	}
	host->forgets++;
	hosted->forgets++;
	return true;
}

/* It has no thread: its checkpoint is there all the same. */
static bool forget_now(const struct mr_hosted *hosted, const struct mr_definition *definition,
		       uint64_t kept)
{
	struct mr_runner_message message = {.partition = hosted->number, .log_end = kept};
	struct mr_error err;
	int r = mr_runner_forget_checkpoint(hosted->control->io, definition, &message, &err);

	if (r == -EIO)
		mr_control_fail(hosted->control, r, "a checkpoint of a pipeline");
	return r == 0;
}

static bool reads(const struct mr_hosted *hosted, const struct mr_definition *definition)
{
	return memcmp(definition->input_id, hosted->topic->id, 16) == 0;
}

/* Also those that are ending: they write a last checkpoint. A definition of before would hold for
 * what comes in place of what goes. */
static bool ask_threads(struct mr_hosted *hosted, uint64_t kept)
{
	struct mr_pipeline_host *host;
	bool all = true;

	for (host = hosted->control->pipelines->hosts; host; host = host->next)
		if (reads(hosted, host->definition) &&
		    (hosted->cut_unlearnt || may_know(host, hosted, kept)))
			all &= ask_to_forget(host, hosted, kept);
	return all;
}

static bool has_thread(const struct mr_control_pipelines *pipelines,
		       const struct mr_definition *definition)
{
	const struct mr_pipeline_host *host = pipelines->hosts;

	while (host && memcmp(host->definition->id, definition->id, 16) != 0)
		host = host->next;
	return host != NULL;
}

/* Marks of versions go as well. What cannot be saved now is, before anything is done by it. */
static void unlearn(struct mr_hosted *hosted, uint64_t kept)
{
	struct mr_control_pipelines *pipelines = hosted->control->pipelines;
	const struct mr_tail *tail = mr_worker_partition_tail(hosted->part);
	bool changed = false;
	size_t i;

	for (i = 0; i < pipelines->catalogue.count; i++)
		if (reads(hosted, pipelines->catalogue.rows[i]))
			changed |=
				mr_definition_unlearn(pipelines->catalogue.rows[i], hosted->number,
						      kept, relaxed(&tail->page->appended_offset));
	hosted->cut_unlearnt |= changed;
	if (changed)
		(void)mr_control_pipelines_save(pipelines, NULL);
}

bool mr_control_pipelines_forget(struct mr_hosted *hosted)
{
	const struct mr_control_pipelines *pipelines = hosted->control->pipelines;
	uint64_t kept;
	size_t i;

	if (hosted->forgets)
		return false;
	if (hosted->cut_forgotten || !pipelines)
		return true;
	kept = find_kept(hosted);
	unlearn(hosted, kept);
	hosted->cut_forgotten = ask_threads(hosted, kept);
	for (i = 0; i < pipelines->catalogue.count; i++) {
		const struct mr_definition *definition = pipelines->catalogue.rows[i];

		if (reads(hosted, definition) && !has_thread(pipelines, definition))
			hosted->cut_forgotten &= forget_now(hosted, definition, kept);
	}
	return hosted->cut_forgotten && !hosted->forgets;
}

void mr_control_pipeline_forgot(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	struct mr_hosted *hosted = mr_control_find(host->control, host->definition->input_id,
						   message->partition, NULL);

	mr_assert(hosted && hosted->forgets > 0 && host->forgets > 0);
	hosted->forgets--;
	host->forgets--;
	if (message->status < 0)
		hosted->cut_forgotten = false; /* once more */
	free(message);
}
