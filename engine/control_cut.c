/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replicated partition's ways to its worker and away from it (control_peers.h): routes of the
 * feed, and the change of places when its log is to be cut (worker.h says who does what). What may
 * block is a chore.
 *
 *	CUT_UNROUTING	 the worker asked; the feed is to send it nothing more
 *	CUT_LETTING_GO	 the worker is to let go of the log, and keeps lanes, watches and replica
 *	CUT_AT_REST	 it did; chores that are under way for the log end first, and pipelines
 *			 forget what they read of what goes
 *	CUT_CUTTING	 a chore cuts and recovers the log
 *	CUT_ADDING	 the worker takes the partition that was made of it
 *
 * A removal (the topic is deleted, the engine stops) waits for the next of these steps and takes
 * over there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "control_peers.h"
#include "log/truncate.h"

#define LOCK_WAIT_MS 1000 /* our own locks, just given back */
#define CUT_TROUBLE  "no space to cut a log"

static void go_on(struct mr_hosted *hosted);

/* ---- routes ---------------------------------------------------------------------------------- */

static void route(struct mr_hosted *hosted)
{
	struct mr_control_peers *peers = hosted->control->peers;
	int r = mr_feed_route(peers->feed, hosted->topic->id, hosted->number, hosted->worker_number,
			      hosted->part);

	if (r == 0)
		hosted->route = MR_ROUTE_THERE;
	else
		mr_diag_warn("a partition has no route", "topic=%s partition=%d error=\"%s\"",
			     hosted->topic->name, hosted->number, strerrordesc_np(-r));
}

/* True: there is none (any more). */
static bool unroute(struct mr_hosted *hosted)
{
	struct mr_control_peers *peers = hosted->control->peers;

	if (hosted->route == MR_ROUTE_THERE) {
		hosted->route = MR_ROUTE_LEAVING;
		mr_assert(mr_feed_unroute(peers->feed, hosted->topic->id, hosted->number) == 0);
	}
	return hosted->route == MR_ROUTE_NONE;
}

void mr_control_unrouted(struct mr_hosted *hosted)
{
	mr_assert(hosted->route == MR_ROUTE_LEAVING);
	hosted->route = MR_ROUTE_NONE;
	if (hosted->cut)
		go_on(hosted);
	else if (hosted->remove_posted)
		mr_control_post_removal(hosted);
}

bool mr_control_may_remove(struct mr_hosted *hosted)
{
	if (!hosted->cut)
		return unroute(hosted);
	if (hosted->cut == MR_CUT_AT_REST)
		go_on(hosted); /* nothing else would */
	return false;
}

static void end_cut(struct mr_hosted *hosted)
{
	mr_assert(hosted->control->peers->cuts > 0);
	hosted->control->peers->cuts--;
	hosted->cut = MR_CUT_NONE;
	mr_control_forget_anew(hosted);
}

/* The worker has it. */
void mr_control_added(struct mr_hosted *hosted)
{
	hosted->route = MR_ROUTE_NONE;
	if (hosted->cut == MR_CUT_ADDING) {
		mr_worker_partition_free(hosted->cut_part);
		hosted->cut_part = NULL;
		end_cut(hosted);
		mr_control_make_spare(hosted); /* there was nothing to give it to before */
	}
	if (hosted->remove_posted)
		mr_control_post_removal(hosted);
	else
		route(hosted);
}

/* ---- the cut --------------------------------------------------------------------------------- */

struct cut_chore {
	struct mr_chore chore;
	struct mr_hosted *hosted;
	struct mr_truncation truncation;
	struct mr_recover_options options;
	const struct mr_checkpoint_partition *checkpoint; /* constant meanwhile; or NULL */
	struct mr_partition state;
	struct mr_recovered recovered;
	uint64_t end_before;
};

static int run_cut(struct mr_chore *chore, struct mr_error *err)
{
	struct cut_chore *work = (struct cut_chore *)chore;
	struct mr_hosted *hosted = work->hosted;
	const struct mr_control *control = hosted->control;
	int r = mr_log_truncate(control->io, hosted->directory, &work->truncation, err);

	if (r == 0)
		r = mr_partition_init(&work->state, control->config->producer_ids_max,
				      mr_topic_least_in_sync(hosted->topic), err);
	if (r == 0)
		r = mr_recover(control->io, hosted->directory, hosted->topic->id, hosted->number,
			       work->checkpoint, &work->options, &work->state, &work->recovered,
			       err);
	if (r == 0 && work->recovered.corrupt) {
		*err = work->recovered.damage;
		r = -EBADMSG;
	}
	return r;
}

static void free_cut(struct cut_chore *work)
{
	mr_recovered_deinit(&work->recovered);
	mr_partition_deinit(&work->state);
	free(work);
}

/* A log that cannot be cut is followed no further: this replica ends, the others go on. */
static void give_up(struct mr_hosted *hosted, int status, const struct mr_error *why)
{
	hosted->state = MR_HOSTED_FAILED;
	hosted->reason = *why;
	mr_diag_error(why);
	mr_control_suspect(hosted->control, status, why);
	end_cut(hosted);
	hosted->let_go = false;
	if (hosted->remove_posted)
		mr_control_post_removal(hosted);
	else
		mr_control_remove_partition(hosted, -ESHUTDOWN);
}

/*
 * A log that has begun anew has an entry in the checkpoint again, durably, before a record is in it
 * (checkpoint.h): from here on it counts.
 */
static int vouch_anew(struct mr_hosted *hosted, const struct cut_chore *work, struct mr_error *err)
{
	mr_checkpoint_partition_deinit(&hosted->last);
	memset(&hosted->last, 0, sizeof(hosted->last));
	if (mr_control_remember_start(hosted, &work->recovered, &work->state) < 0)
		return mr_error_set(err, -ENOMEM, "no memory for the state of a partition");
	hosted->last.leader_epoch = hosted->leader_epoch;
	return mr_control_vouch(hosted->control, err);
}

/* All of that log is gone. */
static void forget_damage(struct mr_hosted *hosted)
{
	hosted->state = MR_HOSTED_OK;
	hosted->corrupt_offset = 0;
	memset(&hosted->reason, 0, sizeof(hosted->reason));
	memset(&hosted->damage, 0, sizeof(hosted->damage));
	memset(&hosted->read_trouble, 0, sizeof(hosted->read_trouble));
}

/* The new one takes the old one's place. */
static void change_places(struct mr_hosted *hosted, struct cut_chore *work)
{
	struct mr_error err = {0};
	int r;

	hosted->cut_part = hosted->part;
	hosted->leader_epoch = work->recovered.leader_epoch > hosted->leader_epoch
				       ? work->recovered.leader_epoch
				       : hosted->leader_epoch;
	if (hosted->cut_reset)
		forget_damage(hosted);
	r = hosted->cut_reset ? vouch_anew(hosted, work, &err) : 0;
	if (r == 0)
		r = mr_control_make_part(hosted, &work->recovered, &work->state, &err);
	if (r == 0)
		r = mr_worker_partitions_populate(&hosted->part, 1, &err);
	if (r < 0) {
		if (hosted->part != hosted->cut_part)
			mr_worker_partition_free(hosted->part);
		hosted->part = hosted->cut_part;
		hosted->cut_part = NULL;
		give_up(hosted, r, &err);
		return;
	}
	hosted->cut = MR_CUT_ADDING;
	hosted->let_go = false;
	mr_control_hand_over(hosted);
}

static void say_cut(const struct mr_hosted *hosted, const struct cut_chore *work)
{
	uint64_t end = work->recovered.start.offset;

	if (work->end_before <= end) {
		mr_diag_notice("a log begins anew, as a copy of its leader's",
			       "topic=%s partition=%d", hosted->topic->name, hosted->number);
		return;
	}
	mr_diag_warn("records were cut off a log: they were never committed, or a person gave "
		     "them up",
		     "topic=%s partition=%d records=%" PRIu64 " from=%" PRIu64 " to=%" PRIu64,
		     hosted->topic->name, hosted->number, work->end_before - end, end,
		     work->end_before);
}

static void done_cut(struct mr_chore *chore)
{
	struct cut_chore *work = (struct cut_chore *)chore;
	struct mr_hosted *hosted = work->hosted;

	hosted->chores--;
	if (hosted->remove_posted) {
		end_cut(hosted);
		hosted->let_go = false;
		mr_control_post_removal(hosted);
	} else if (mr_control_may_pass(chore->status)) {
		mr_control_trouble(hosted, &hosted->cut_trouble, CUT_TROUBLE, chore);
		hosted->cut = MR_CUT_AT_REST; /* in a second, again */
		hosted->cut_waits = true;
	} else if (chore->status < 0) {
		give_up(hosted, chore->status, &chore->err);
	} else {
		mr_control_trouble(hosted, &hosted->cut_trouble, CUT_TROUBLE, chore);
		say_cut(hosted, work);
		change_places(hosted, work);
	}
	free_cut(work);
}

/* The checkpoint says that more is committed than the log will hold: a person gave that up. */
static bool cuts_committed(const struct mr_hosted *hosted)
{
	return hosted->snapshot_valid && !hosted->cut_reset &&
	       hosted->cut_offset < hosted->last.offset;
}

/*
 * With a reset all that was kept goes, and with it what the checkpoint says: a checkpoint above the
 * log's end would be damage to the next start. So it is where a take-over gave up what this host
 * had committed alone. Else nothing that it says is cut: it holds committed records only. False:
 * not at this moment.
 */
static bool leave_checkpoint(struct mr_hosted *hosted)
{
	struct mr_control *control = hosted->control;
	struct mr_error err;

	mr_control_forget_held(hosted);
	if (!hosted->snapshot_valid || !(hosted->cut_reset || cuts_committed(hosted)))
		return true;
	if (control->checkpoint_running || control->failed)
		return false;
	hosted->snapshot_valid = false;
	hosted->checkpointed_offset = 0;
	if (mr_control_checkpoint_twice(control, &err) == 0)
		return true;
	hosted->snapshot_valid = true;
	return false;
}

/* What the log says no longer after the cut. */
static const struct mr_checkpoint_partition *recover_from(const struct mr_hosted *hosted)
{
	if (hosted->anew_valid)
		return &hosted->anew;
	return hosted->snapshot_valid ? &hosted->last : NULL;
}

static void close_log(struct mr_hosted *hosted)
{
	mr_worker_partition_close_log(hosted->part);
	mr_control_forget_chores(hosted);
	mr_control_close_files(hosted);
	hosted->naming = false;
	hosted->dropping = false;
	hosted->spare_wanted = false;
	hosted->spare_kept = false;
	hosted->no_space = false;
}

/* Every chore for this log is done, and nobody has it open. */
static void cut(struct mr_hosted *hosted)
{
	struct mr_control *control = hosted->control;
	struct cut_chore *work;

	if (hosted->chores || hosted->snapshot_out || hosted->log_start_out || hosted->cut_waits ||
	    control->failed || !mr_control_pipelines_forget(hosted) || !leave_checkpoint(hosted))
		return;
	work = calloc(1, sizeof(*work));
	if (!work)
		return; /* in the next round, perhaps */
	close_log(hosted);
	work->chore.run = run_cut;
	work->chore.done = done_cut;
	work->hosted = hosted;
	work->truncation = (struct mr_truncation){
		.partition = hosted->number,
		.offset = hosted->cut_offset,
		.reset = hosted->cut_reset,
		.segment_bytes =
			mr_control_segment_bytes(hosted, control->config->first_segment_bytes),
		.lock_wait_ms = LOCK_WAIT_MS,
	};
	if (hosted->snapshot_valid)
		work->truncation.keep_offset = hosted->last.offset;
	memcpy(work->truncation.topic_id, hosted->topic->id, 16);
	memcpy(work->truncation.log_id, control->checkpoint.log_id, 16);
	work->options.window_bytes = control->checkpoint.window_bytes;
	work->options.lock_wait_ms = LOCK_WAIT_MS;
	work->checkpoint = recover_from(hosted);
	/* relaxed: the worker let go */
	work->end_before =
		atomic_load_explicit(&mr_worker_partition_tail(hosted->part)->page->appended_offset,
				     memory_order_relaxed);
	hosted->cut = MR_CUT_CUTTING;
	hosted->chores++;
	mr_chores_send(control->chores, &work->chore);
}

static void let_go(struct mr_hosted *hosted)
{
	hosted->cut = MR_CUT_LETTING_GO;
	hosted->remove.kind = MR_WORKER_REMOVE_PARTITION;
	hosted->remove.partition = hosted->part;
	hosted->remove.status = -ESTALE;
	hosted->remove.owner = hosted;
	mr_worker_send(hosted->worker, &hosted->remove);
	mr_control_give_up_name(hosted);
}

/* Whatever the cut waited for may have happened. */
static void go_on(struct mr_hosted *hosted)
{
	if (hosted->cut == MR_CUT_UNROUTING) {
		if (!unroute(hosted))
			return;
		if (!hosted->remove_posted) {
			let_go(hosted);
			return;
		}
		end_cut(hosted);
		mr_control_post_removal(hosted);
	} else if (hosted->cut == MR_CUT_AT_REST && hosted->remove_posted) {
		if (hosted->forgets)
			return; /* they come back first */
		end_cut(hosted);
		hosted->let_go = false;
		mr_control_post_removal(hosted);
	} else if (hosted->cut == MR_CUT_AT_REST) {
		cut(hosted);
	}
}

/*
 * What its producers had sent before the cut must stand in the checkpoint or in the log. Where a
 * person gave up what the checkpoint counts, and the oldest segments are gone, it stands in
 * neither: all of the log comes from the leader.
 */
static bool may_be_cut(const struct mr_hosted *hosted)
{
	if (!cuts_committed(hosted) || mr_log_files_start_offset(hosted->files) == 0)
		return true;
	mr_diag_warn("a log begins anew: records that were committed here were given up by a "
		     "take-over, and what their producers had sent before is no longer in it",
		     "topic=%s partition=%d from=%" PRIu64, hosted->topic->name, hosted->number,
		     hosted->cut_offset);
	return false;
}

void mr_control_truncate(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	if (hosted->remove_posted || hosted->cut) { /* it is being taken away */
		mr_control_drop_state(message);
		return;
	}
	hosted->cut_offset = message->offset;
	hosted->cut_reset = message->reset;
	if (!may_be_cut(hosted) || (message->state && mr_control_take_state(hosted, message) < 0)) {
		mr_worker_send(hosted->worker, message);
		return;
	}
	hosted->control->peers->cuts++;
	hosted->cut = MR_CUT_UNROUTING;
	hosted->cut_waits = false;
	hosted->cut_forgotten = false;
	hosted->cut_unlearnt = false;
	go_on(hosted);
}

/* REMOVE_PARTITION with -ESTALE is back. */
void mr_control_let_go(struct mr_hosted *hosted)
{
	mr_assert(hosted->cut == MR_CUT_LETTING_GO);
	hosted->cut = MR_CUT_AT_REST;
	hosted->let_go = true; /* nothing of its log is posted any more */
	go_on(hosted);
}

void mr_control_cuts_turn(struct mr_control_peers *peers)
{
	struct mr_hosted *hosted;

	if (!peers->cuts)
		return;
	mr_control_each(peers->control, hosted) if (hosted->cut == MR_CUT_AT_REST) go_on(hosted);
}

void mr_control_routes_second(struct mr_control_peers *peers)
{
	struct mr_hosted *hosted;

	mr_control_each(peers->control, hosted)
	{
		hosted->cut_waits = false;
		if (hosted->route == MR_ROUTE_NONE && !hosted->cut && !hosted->remove_posted &&
		    hosted->part && mr_worker_partition_replica(hosted->part))
			route(hosted);
	}
}
