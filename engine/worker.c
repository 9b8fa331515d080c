/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READ THIS FIRST. One pinned thread and one turn of its loop. A turn looks at every source, takes
 * a bounded amount from each, and says how much work it was:
 *
 *	requests of the control thread		take_requests()
 *	what other replicas sent		mr_worker_replica_mail()
 *	finished writes ──► flushed, committed	reap_writes()
 *	lanes ──► record batches in the tail	drain_partition()
 *	what became visible ──► sleepers	mr_worker_wake_sleepers()
 *	tail ──► other replicas			mr_worker_parcels_send_batches()
 *	tail ──► groups ──► disk		mr_worker_submit()
 *	log events, snapshots, lanes that go	turn_partition()
 *	what other replicas are to get		mr_worker_replica_act()
 *
 * Nothing happens in reaction to an event and nothing is allocated. Waiting comes after a turn,
 *when all that it did can be seen (worker_wait.c): a turn that found nothing to do spins a little,
 * yields, then parks until a doorbell, a finished write or a time-out.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mailbox.h"
#include "check.h"
#include "doorbell.h"
#include "worker_replica.h"

#define REQUESTS_MAX	   4096
#define ANSWERS_TO_CONTROL (64u << 10)
#define COMPLETIONS_A_TURN 32

const char *const mr_partition_counter_names[MR_PARTITION_COUNTERS] = {
	[MR_COUNT_RECORDS] = "appended_records",
	[MR_COUNT_BATCHES] = "appended_batches",
	[MR_COUNT_BYTES] = "appended_bytes",
	[MR_COUNT_PLAIN_BYTES] = "plain_bytes",
	[MR_COUNT_GROUPS] = "written_groups",
	[MR_COUNT_GROUP_BYTES] = "written_bytes",
	[MR_COUNT_DUPLICATES] = "duplicate_records",
	[MR_COUNT_POISONED] = "poisoned_lanes",
	[MR_COUNT_TAIL_FULL] = "back_pressure_disk",
	[MR_COUNT_NO_SEGMENT] = "back_pressure_segment",
	[MR_GAUGE_LOG_END] = "log_end_offset",
	[MR_GAUGE_FLUSHED] = "flushed_offset",
	[MR_GAUGE_HIGH_WATERMARK] = "high_watermark",
	[MR_GAUGE_LANES] = "lanes",
	[MR_GAUGE_PRODUCERS] = "producers",
};

const char *const mr_worker_counter_names[MR_WORKER_COUNTERS] = {
	[MR_COUNT_TURNS] = "turns",
	[MR_COUNT_BUSY_TURNS] = "busy_turns",
	[MR_COUNT_PARKS] = "parks",
	[MR_COUNT_RESTS] = "rests",
	[MR_GAUGE_LONGEST_TURN_NS] = "longest_turn_ns",
	[MR_GAUGE_IN_FLIGHT] = "writes_in_flight",
};

/* ---- messages to the control thread
 * -------------------------------------------------------------- */

/* The mailbox holds far more than can be out at once: one message per partition, lane, watch and
 * request. */
void mr_worker_tell(struct mr_worker *worker, struct mr_worker_message *message)
{
	int r = mr_mailbox_send(worker->answers, message);

	mr_assert(r == 0);
}

void mr_worker_return(struct mr_worker *worker, struct mr_worker_message *message, int status)
{
	message->status = status;
	mr_worker_tell(worker, message);
}

/* A waker that is on its way already will make the client look at everything. */
static void wake(struct mr_worker *worker, struct mr_waker *waker)
{
	/* W10: acquire-release: pairs with the control thread's exchange before it rings */
	if (!atomic_exchange_explicit(&waker->sent, true, memory_order_acq_rel))
		mr_worker_tell(worker, waker->message);
}

void mr_worker_wake_lane(struct mr_worker_lane *lane, void *arg)
{
	if (mr_lane_producer_waits(&lane->reader))
		wake(arg, &lane->waker);
}

/*
 * Wakes who sleeps until what was just published: producers whose records were answered, and
 * consumers. 'news': a bit for each enum mr_wait_for. One fence is enough for all of them, since
 * all was published before it.
 */
void mr_worker_wake_sleepers(struct mr_worker *worker, struct mr_worker_partition *partition,
			     uint32_t news)
{
	struct mr_worker_lane *lane = partition->answered;
	uint32_t i;

	if (!lane && (!news || !partition->watch_count))
		return;
	/* what was published before the flags: Dekker with the sleepers, see doorbell.h */
	atomic_thread_fence(memory_order_seq_cst);
	for (; lane; lane = lane->next_answered)
		if (mr_lane_producer_waits_fenced(&lane->reader))
			wake(worker, &lane->waker);
	partition->answered = NULL;
	for (i = 0; news && i < partition->watch_count; i++) {
		struct mr_waker *waker = partition->watches[i];
		/* relaxed: the fence above orders it. It is the client's: it may say anything */
		uint32_t waiting = atomic_load_explicit(waker->waiting, memory_order_relaxed);

		if (waiting <= MR_WAIT_FOR_APPENDED && (news & 1u << waiting))
			wake(worker, waker);
	}
}

/* ---- writes
 * ------------------------------------------------------------------------------------------- */

static void fail_all(struct mr_worker *worker, int status);

/*
 * A partition in memory only: no disk is waited for and no other host, so what is appended is
 * committed, once a turn. What was reclaimed meanwhile is no longer kept. Returns the news.
 */
static uint32_t commit_appended(struct mr_worker_partition *partition)
{
	uint64_t end = partition->state.log_end;

	if (partition->state.high_watermark == end)
		return 0;
	(void)mr_partition_replica_flushed(&partition->state, partition->state.self, end);
	mr_assert(partition->state.high_watermark == end);
	mr_tail_publish_committed(&partition->tail, mr_log_end_position(partition->log), end);
	mr_partition_raise_log_start(&partition->state, mr_tail_log_start(&partition->tail));
	mr_counter_set(partition->counters[MR_GAUGE_HIGH_WATERMARK], end);
	return MR_NEWS_COMMITTED;
}

uint32_t mr_worker_submit(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_log_state before, after;
	uint32_t started;

	if (!partition->log || partition->failed || !mr_log_has_unsent(partition->log))
		return 0;
	mr_log_state(partition->log, &before);
	/* also with nothing open: a closed group may still wait for a place in the queue */
	started = mr_log_submit(partition->log, partition->state.leader_epoch, false);
	mr_log_state(partition->log, &after);
	worker->in_flight += started;
	mr_counter_add(partition->counters[MR_COUNT_GROUPS], started);
	if (before.open_bytes && !after.open_bytes)
		mr_counter_add(partition->counters[MR_COUNT_GROUP_BYTES],
			       after.end_position - before.end_position + before.open_bytes +
				       sizeof(struct mr_group_header));
	if (after.failed)
		fail_all(worker, -EIO); /* the queue refused the write: as final as its failing */
	return started;
}

/* ---- lanes
 * ------------------------------------------------------------------------------------------ */

static struct mr_worker_lane **rung_lane(struct mr_worker *worker)
{
	return &worker->rung_lanes[(uint32_t)worker->rung % MR_RUNG_LANES];
}

static void forget_rung(struct mr_worker *worker, const struct mr_worker_lane *lane)
{
	for (uint32_t i = 0; i < MR_RUNG_LANES; i++)
		if (worker->rung_lanes[i] == lane)
			worker->rung_lanes[i] = NULL;
}

void mr_worker_report_poisoned(struct mr_worker *worker, struct mr_worker_lane *lane)
{
	if (lane->poisoned.status)
		return;
	lane->poisoned.status = -EPIPE;
	mr_counter_add(lane->partition->counters[MR_COUNT_POISONED], 1);
	mr_worker_tell(worker, &lane->poisoned);
}

static void remove_lane(struct mr_worker *worker, struct mr_worker_partition *partition,
			struct mr_worker_lane *lane)
{
	struct mr_worker_message *message = lane->closing;
	struct mr_worker_lane *last = partition->lanes[--partition->lane_count];

	partition->lanes[lane->place] = last;
	last->place = lane->place;
	worker->prompt_lanes -= lane->acks == MR_ACKS_MEMORY;
	forget_rung(worker, lane);
	mr_counter_set(partition->counters[MR_GAUGE_LANES], partition->lane_count);
	mr_worker_return(worker, message, 0);
}

/* What one lane gave; its producer is woken when all that the turn took can be seen. */
static void note_drain(struct mr_worker *worker, struct mr_worker_partition *partition,
		       struct mr_worker_lane *lane, const struct mr_lane_drain *drain)
{
	if (drain->no_room)
		partition->waiting_for_room = true;
	if (!drain->frames)
		return;
	if (worker->rung >= 0)
		*rung_lane(worker) =
			lane; /* the first with something: it is the one, most likely */
	worker->rung = -1;
	worker->taken.lanes++;
	worker->taken.frames += drain->frames;
	worker->taken.bytes += drain->bytes;
	if (lane->acks == MR_ACKS_MEMORY) {
		lane->next_answered = partition->answered;
		partition->answered = lane;
	}
}

static void drain_partition(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	const struct mr_clock *clock = worker->options.clock;
	uint32_t count = partition->lane_count, place, i;

	partition->waiting_for_room = false;
	if (partition->next_lane >= count)
		partition->next_lane = 0; /* lanes have gone */
	place = partition->next_lane++;
	for (i = 0; i < count; i++) {
		struct mr_worker_lane *lane = partition->lanes[place];
		struct mr_lane_drain drain = mr_worker_drain(partition, lane, clock);

		/* the open group may only be in the way: written out, the lane gets its turn */
		if (drain.no_room && !partition->log_options.in_memory &&
		    mr_worker_submit(worker, partition))
			drain = mr_worker_drain(partition, lane, clock);
		if (lane->reason != MR_LANE_OPEN)
			mr_worker_report_poisoned(worker, lane);
		note_drain(worker, partition, lane, &drain);
		place = place + 1 < count ? place + 1 : 0;
	}
}

/* Lanes that are closing go when they are empty and answered; from the back, since removing moves
 * the last. */
static void sweep_closing(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	uint32_t i;

	for (i = partition->lane_count; i > 0; i--) {
		struct mr_worker_lane *lane = partition->lanes[i - 1];

		if (lane->closing && mr_worker_lane_done(lane))
			remove_lane(worker, partition, lane);
	}
}

/* ---- the log
 * ---------------------------------------------------------------------------------------- */

static void raise_flushed(struct mr_worker *worker, struct mr_worker_partition *partition,
			  uint64_t flushed)
{
	uint64_t position = mr_log_flushed_position(partition->log);
	bool committed;

	if (flushed <= partition->state.flushed)
		return;
	committed = mr_partition_flushed(&partition->state, flushed);
	mr_tail_publish_flushed(&partition->tail, position, flushed);
	mr_worker_answer(&partition->disk, flushed, mr_worker_wake_lane, worker);
	mr_counter_set(partition->counters[MR_GAUGE_FLUSHED], flushed);
	if (partition->replica)
		mr_worker_replica_flushed(partition, position);
	if (partition->replica || !committed)
		return; /* of a replicated one the turn looks at the high watermark */
	/* with this host alone in the ISR the high watermark is the flushed offset, and so are
	 * their positions */
	mr_assert(partition->state.high_watermark == flushed);
	mr_tail_publish_committed(&partition->tail, position, flushed);
	mr_worker_answer(&partition->committed, partition->state.high_watermark,
			 mr_worker_wake_lane, worker);
	mr_counter_set(partition->counters[MR_GAUGE_HIGH_WATERMARK],
		       partition->state.high_watermark);
	mr_worker_wake_sleepers(worker, partition, MR_NEWS_COMMITTED);
}

static void fail_partition(struct mr_worker *worker, struct mr_worker_partition *partition,
			   int status)
{
	uint32_t i;

	partition->failed = true;
	if (partition->replica)
		mr_worker_replica_failed(partition);
	mr_answers_drop(&partition->disk);
	mr_answers_drop(&partition->committed);
	for (i = 0; i < partition->lane_count; i++) {
		mr_worker_poison(partition->lanes[i], MR_LANE_DISK_FAILED,
				 "the data directory failed: nothing more is acknowledged; look at "
				 "the engine's messages");
		mr_worker_report_poisoned(worker, partition->lanes[i]);
		mr_worker_wake_lane(partition->lanes[i], worker);
	}
	mr_worker_wake_sleepers(worker, partition, MR_NEWS_COMMITTED | MR_NEWS_APPENDED);
	if (partition->failure_sent)
		return;
	partition->failure_sent = true;
	partition->failure.status = status;
	mr_worker_tell(worker, &partition->failure);
}

static struct mr_worker_partition *partition_of(struct mr_worker *worker, const struct mr_log *log)
{
	uint32_t i;

	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i]->log == log)
			return worker->partitions[i];
	return NULL;
}

static uint32_t reap_writes(struct mr_worker *worker)
{
	struct mr_io_completion completions[COMPLETIONS_A_TURN];
	int count, i;

	if (!worker->in_flight)
		return 0;
	count = mr_io_queue_reap(worker->queue, completions, COMPLETIONS_A_TURN);
	for (i = 0; i < count; i++) {
		const struct mr_log_write *write = completions[i].user;
		struct mr_worker_partition *partition = partition_of(worker, write->log);
		uint64_t flushed = 0;
		int r;

		mr_assert(partition != NULL);
		worker->in_flight--;
		r = mr_log_completed(&completions[i], &flushed);
		if (r < 0)
			fail_all(worker, r); /* D3: every partition of the data directory */
		else if (!partition->failed)
			raise_flushed(worker, partition, flushed);
	}
	return count > 0 ? (uint32_t)count : 0;
}

/* Answers that wait for what is safe already: duplicates, in a partition where nothing moves. */
static void answer_safe(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	mr_worker_answer(&partition->disk, partition->state.flushed, mr_worker_wake_lane, worker);
	mr_worker_answer(&partition->committed, partition->state.high_watermark,
			 mr_worker_wake_lane, worker);
}

/*
 * The queue knows the active segment's file and the one before it. When the log rolls again nothing
 * is out in the latter, and the control thread closes it once it hears of the roll: so it is
 * forgotten here first.
 */
static void follow_roll(struct mr_worker *worker, struct mr_worker_partition *partition,
			struct mr_io_file *active)
{
	if (partition->files[1])
		mr_io_queue_unregister_file(worker->queue, partition->files[1]);
	partition->files[1] = partition->files[0];
	partition->files[0] = active;
	if (active)
		(void)mr_io_queue_register_file(worker->queue, active); /* plain descriptors do */
}

/* Retention may let go of the segment before the active one. */
static void forget_file(struct mr_worker *worker, struct mr_worker_partition *partition,
			const struct mr_io_file *file)
{
	if (!file || partition->files[1] != file)
		return;
	mr_io_queue_unregister_file(worker->queue, partition->files[1]);
	partition->files[1] = NULL;
}

/* One log event is out at a time; the next follows when the control thread gave the message back.
 */
static void pass_events(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	if (partition->event_out || !partition->log || !mr_log_has_event(partition->log))
		return;
	partition->event.event = mr_log_next_event(partition->log);
	if (partition->event.event.kind == MR_LOG_EVENT_STARTED)
		follow_roll(worker, partition, partition->event.event.segment->file);
	partition->event_out = true;
	mr_worker_tell(worker, &partition->event);
}

static void forget_partition(struct mr_worker *worker, const struct mr_worker_partition *partition)
{
	uint32_t i;

	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i] == partition)
			worker->partitions[i] = worker->partitions[--worker->partition_count];
	worker->replica_count -= partition->replica != NULL;
}

/* Its log is the control thread's now, to be cut; lanes and watches wait for the one after it. */
static void rest_partition(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_worker_message *message = partition->removing;

	partition->removing = NULL;
	partition->resting = true;
	partition->cut_log = partition->log;
	partition->log = NULL;
	mr_worker_return(worker, message, 0);
}

/* A partition leaves when its lanes are gone and its writes done. */
static void settle_removal(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_log_state log = {0};
	bool cut = partition->removing->status == -ESTALE;

	if ((partition->lane_count && !cut) || partition->event_out)
		return;
	if (partition->replica && !mr_worker_replica_settled(worker, partition))
		return;
	if (partition->log)
		mr_log_state(partition->log, &log);
	if (log.in_flight)
		return;
	/* at a stop what memory lanes were answered for is written, too */
	if (partition->removing->status == -ESHUTDOWN && !partition->failed &&
	    !partition->nameless && !partition->log_options.in_memory &&
	    log.flushed_offset < log.end_offset)
		return;
	if (partition->snapshot)
		mr_worker_return(worker, partition->snapshot, -ECANCELED);
	partition->snapshot = NULL;
	if (!partition->resting) {
		follow_roll(worker, partition, NULL);
		follow_roll(worker, partition, NULL);
		mr_io_queue_unregister(worker->queue, partition->tail.data);
	}
	if (cut) {
		rest_partition(worker, partition);
		return;
	}
	forget_partition(worker, partition);
	mr_worker_return(worker, partition->removing, 0);
}

/* ---- requests
 * --------------------------------------------------------------------------------------- */

static int add_partition(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	struct mr_error err;
	int r = 0;

	if (worker->partition_count == MR_WORKER_PARTITIONS_MAX)
		return -ENOSPC;
	if (!partition->read_only) {
		r = mr_log_open(&partition->log_options, &partition->start, &partition->tail,
				worker->queue, worker->options.clock, &partition->log, &err);
		partition->failed = r < 0;
	}
	if (partition->log && !partition->log_options.in_memory) {
		follow_roll(worker, partition, partition->start.active->file);
		(void)mr_io_queue_register(worker->queue, partition->tail.data,
					   2 * partition->tail.tail_bytes); /* plain buffers do */
	}
	worker->partitions[worker->partition_count++] = partition; /* it is removed as any other */
	if (partition->cut && r == 0) {
		forget_partition(worker, partition->cut);
		worker->replica_count++;
		mr_worker_replica_moved(worker, partition);
	} else if (partition->replica) {
		mr_worker_replica_added(worker, partition);
	}
	return r;
}

static int add_lane(struct mr_worker *worker, struct mr_worker_lane *lane)
{
	struct mr_worker_partition *partition = lane->partition;

	if (partition->lane_count == MR_WORKER_LANES_MAX)
		return -ENOBUFS;
	lane->place = partition->lane_count;
	partition->lanes[partition->lane_count++] = lane;
	worker->prompt_lanes += lane->acks == MR_ACKS_MEMORY;
	mr_counter_set(partition->counters[MR_GAUGE_LANES], partition->lane_count);
	if (partition->read_only && !partition->replica)
		mr_worker_poison(lane, MR_LANE_CORRUPT, partition->read_only_reason);
	else if (partition->failed)
		mr_worker_poison(lane, MR_LANE_DISK_FAILED,
				 "the data directory failed; look at the engine's messages");
	else if (partition->removing && partition->removing->status == -ENOENT)
		mr_worker_poison(lane, MR_LANE_TOPIC_DELETED, "the topic is being deleted");
	else if (lane->resumed) {
		/* of a replicated log is known where the lane goes on when this host leads */
		if (!partition->replica || mr_worker_replica_drains(partition->replica))
			mr_worker_resume(partition, lane);
	} else if (mr_partition_find_producer(&partition->state, lane->producer_id))
		mr_worker_poison(lane, MR_LANE_FENCED,
				 "its producer has written to this partition before: only the lane "
				 "it wrote through goes on, handed back");
	lane->stopped = partition->removing && partition->removing->status != -ESTALE;
	if (lane->reason != MR_LANE_OPEN)
		mr_worker_report_poisoned(worker, lane);
	return 0;
}

static void close_lane(struct mr_worker_lane *lane, struct mr_worker_message *message)
{
	int64_t available = mr_lane_reader_poll(&lane->reader, NULL);

	lane->closing = message;
	lane->close_index = mr_lane_reader_index(&lane->reader);
	if (!lane->stopped && available > 0)
		lane->close_index += (uint32_t)available;
}

static void remove_partition(struct mr_worker *worker, struct mr_worker_partition *partition,
			     struct mr_worker_message *message)
{
	uint32_t i;

	partition->removing = message;
	if (partition->replica)
		mr_worker_replica_removing(partition);
	if (message->status == -ESTALE)
		return; /* its lanes only wait */
	for (i = 0; i < partition->lane_count; i++) {
		struct mr_worker_lane *lane = partition->lanes[i];

		if (message->status == -ENOENT) {
			mr_worker_poison(lane, MR_LANE_TOPIC_DELETED, "the topic was deleted");
			mr_worker_report_poisoned(worker, lane);
			mr_worker_wake_lane(lane, worker);
		}
		/* what is not taken yet stays in the lane, for the engine after this one */
		lane->close_index = mr_lane_reader_index(&lane->reader);
		lane->stopped = true;
	}
	if (message->status == -ENOENT)
		/* the tail says closed: they come and look */
		mr_worker_wake_sleepers(worker, partition, MR_NEWS_COMMITTED | MR_NEWS_APPENDED);
}

/* What its segment holds is never answered here. The next engine finds it still in the lanes. */
static void give_up_name(struct mr_worker_partition *partition)
{
	partition->nameless = true;
	mr_answers_drop(&partition->disk);
	mr_answers_drop(&partition->committed);
}

static int add_watch(struct mr_worker_partition *partition, struct mr_waker *waker)
{
	if (partition->watch_count == MR_WORKER_WATCHES_MAX)
		return -ENOBUFS;
	partition->watches[partition->watch_count++] = waker;
	return 0;
}

static void remove_watch(struct mr_worker_partition *partition, const struct mr_waker *waker)
{
	uint32_t i;

	for (i = 0; i < partition->watch_count; i++)
		if (partition->watches[i] == waker) {
			partition->watches[i] = partition->watches[--partition->watch_count];
			return;
		}
}

static void fail_all(struct mr_worker *worker, int status)
{
	uint32_t i;

	for (i = 0; i < worker->partition_count; i++)
		if (!worker->partitions[i]->failed)
			fail_partition(worker, worker->partitions[i], status);
}

/* About a segment, of a partition that has a log; else the sender keeps it. */
static int carry_out_segment(struct mr_worker *worker, const struct mr_worker_message *message)
{
	struct mr_worker_partition *partition = message->partition;

	if (message->kind == MR_WORKER_GIVE_SPARE)
		mr_log_give_spare(partition->log, message->segment);
	else if (message->status < 0)
		give_up_name(partition);
	else if (!partition->failed)
		raise_flushed(worker, partition,
			      mr_log_segment_named(partition->log, message->segment));
	return 0;
}

static void carry_out(struct mr_worker *worker, struct mr_worker_message *message)
{
	struct mr_worker_partition *partition = message->partition;
	int status = 0;

	switch (message->kind) {
	case MR_WORKER_ADD_PARTITION:
		status = add_partition(worker, partition);
		break;
	case MR_WORKER_REMOVE_PARTITION:
		remove_partition(worker, partition, message);
		return;
	case MR_WORKER_ADD_LANE:
		status = add_lane(worker, message->lane);
		message->offset = mr_worker_lane_next(message->lane);
		break;
	case MR_WORKER_CLOSE_LANE:
		close_lane(message->lane, message);
		return;
	case MR_WORKER_ADD_WATCH:
		status = add_watch(partition, message->waker);
		break;
	case MR_WORKER_REMOVE_WATCH:
		remove_watch(partition, message->waker);
		break;
	case MR_WORKER_SEGMENT_NAMED:
	case MR_WORKER_GIVE_SPARE:
		status = partition->log ? carry_out_segment(worker, message) : -ENOENT;
		break;
	case MR_WORKER_LOG_START:
		if (message->segment) /* the newest that goes: its file may be registered */
			forget_file(worker, partition, message->segment->file);
		mr_partition_raise_log_start(&partition->state, message->offset);
		atomic_store_explicit(
			&partition->tail.page->log_start_offset, message->offset,
			memory_order_relaxed); /* relaxed: a number for people and lag */
		break;
	case MR_WORKER_OFFSETS_RESERVED:
		if (partition->log)
			mr_log_raise_limit(partition->log, message->offset);
		break;
	case MR_WORKER_APPEND:
		message->next = partition->appends;
		partition->appends = message;
		return;
	case MR_WORKER_SNAPSHOT:
		mr_worker_snapshot_ask(worker, message);
		return;
	case MR_WORKER_FAIL:
		fail_all(worker, message->status);
		break;
	case MR_WORKER_LOG_EVENT:
		partition->event_out = false;
		return;
	case MR_WORKER_COORDINATED:
		mr_worker_replica_coordinated(partition, &message->coordinated);
		break;
	case MR_WORKER_COORDINATE:
	case MR_WORKER_TRUNCATE:
	case MR_WORKER_KEEP_STATE:
	case MR_WORKER_STATE_ROOM:
		mr_worker_replica_returned(message);
		return;
	case MR_WORKER_LANE_POISONED:
	case MR_WORKER_LOG_FAILED:
	case MR_WORKER_WAKE:
		mr_assert(!"sent to the wrong thread");
	}
	mr_worker_return(worker, message, status);
}

static uint32_t take_requests(struct mr_worker *worker)
{
	struct mr_worker_message *message;
	uint32_t count = 0;

	while (count < 64 && (message = mr_mailbox_receive(worker->requests)) != NULL) {
		carry_out(worker, message);
		count++;
	}
	return count;
}

/* ---- the loop
 * --------------------------------------------------------------------------------------- */

static void turn_partition(struct mr_worker *worker, struct mr_worker_partition *partition)
{
	bool in_memory = partition->log_options.in_memory;
	uint64_t end = partition->state.log_end;
	uint32_t news = 0;

	if (partition->replica && !partition->resting)
		mr_worker_replica_begin(worker, partition);
	mr_worker_append_own(worker, partition);
	if (partition->resting)
		return;
	if (!partition->replica || mr_worker_replica_drains(partition->replica))
		drain_partition(worker, partition);
	if (partition->state.log_end != end)
		news = MR_NEWS_APPENDED;
	if (in_memory && partition->log && !partition->failed)
		news |= commit_appended(partition);
	if (partition->replica && mr_worker_replica_commit(worker, partition))
		news |= MR_NEWS_COMMITTED;
	mr_worker_wake_sleepers(worker, partition, news);
	if (news) {
		mr_counter_set(partition->counters[MR_GAUGE_LOG_END], partition->state.log_end);
		mr_counter_set(partition->counters[MR_GAUGE_PRODUCERS],
			       partition->state.producer_count);
	}
	answer_safe(worker, partition);
	if (partition->replica) /* they write it to their disks while this host does to its own */
		mr_worker_parcels_send_batches(worker, partition->replica);
	if (!in_memory)
		mr_worker_submit(worker, partition);
	mr_worker_snapshot_take(partition);
	pass_events(worker, partition);
	mr_worker_snapshot_settle(worker, partition);
	sweep_closing(worker, partition);
	if (partition->replica)
		mr_worker_replica_act(worker, partition);
}

/*
 * After a sleep the caches hold little of any lane, and a look at each costs what a wake-up does.
 * So the turn begins with the lane in which something was found when that bell rang before: no
 * more than a guess, after which all others have their turn. Returns its partition.
 */
static const struct mr_worker_partition *look_where_it_rang(struct mr_worker *worker)
{
	struct mr_worker_lane *lane = worker->rung >= 0 ? *rung_lane(worker) : NULL;
	struct mr_worker_partition *partition = lane ? lane->partition : NULL;

	if (!partition)
		return NULL;
	partition->next_lane = lane->place;
	turn_partition(worker, partition); /* the lane may be gone after it */
	return partition;
}

static uint32_t turn(struct mr_worker *worker)
{
	const struct mr_worker_partition *first;
	uint32_t work, i;

	worker->turns++;
	worker->untold = false;
	mr_worker_replica_time(worker);
	work = take_requests(worker);
	work += mr_worker_replica_mail(worker);
	work += reap_writes(worker);
	worker->taken = (struct mr_worker_taken){0};
	first = look_where_it_rang(worker);
	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i] != first)
			turn_partition(worker, worker->partitions[i]);
	worker->rung = -1;
	/* from the back: a partition that leaves moves the last one into its place */
	for (i = worker->partition_count; i > 0; i--)
		if (worker->partitions[i - 1]->removing)
			settle_removal(worker, worker->partitions[i - 1]);
	return work + worker->replica_work + worker->taken.frames;
}

static void note_turn(struct mr_worker *worker, uint64_t took_ns, uint32_t work)
{
	mr_counter_add(worker->options.counters[MR_COUNT_TURNS], 1);
	if (work)
		mr_counter_add(worker->options.counters[MR_COUNT_BUSY_TURNS], 1);
	mr_counter_set(worker->options.counters[MR_GAUGE_IN_FLIGHT], worker->in_flight);
	if (took_ns > worker->longest_turn_ns) {
		worker->longest_turn_ns = took_ns;
		mr_counter_set(worker->options.counters[MR_GAUGE_LONGEST_TURN_NS], took_ns);
	}
}

/* The clock is read once a turn: one turn's end is the next one's beginning, but after a sleep. */
static void loop(struct mr_worker *worker)
{
	const struct mr_clock *clock = worker->options.clock;
	uint64_t began_ns = mr_clock_monotonic_ns(clock);

	/* R11: pairs with W11 */
	while (!atomic_load_explicit(&worker->stop, memory_order_acquire)) {
		uint32_t work;
		uint64_t now_ns;

		worker->now_ns = began_ns;
		work = turn(worker);
		now_ns = mr_clock_monotonic_ns(clock);
		note_turn(worker, now_ns - began_ns, work);
		worker->idle = work ? 0 : worker->idle + 1;
		if (mr_worker_wait(worker, worker->idle))
			now_ns = mr_clock_monotonic_ns(clock);
		began_ns = now_ns;
	}
}

static int prepare_thread(struct mr_worker *worker, struct mr_error *err)
{
	char name[16];
	int r;

	snprintf(name, sizeof(name), "worker %u", worker->options.number);
	(void)pthread_setname_np(pthread_self(), name); /* for people only */
	(void)prctl(PR_SET_TIMERSLACK, 1);		/* sleeps of 50 us, not 100 */
	r = mr_place_bind_thread(&worker->place, err);
	if (r < 0)
		return r;
	return mr_io_queue_open(worker->options.io, MR_GROUPS_IN_FLIGHT_MAX * 16, worker->bells,
				&worker->queue, err);
}

static void *run(void *arg)
{
	struct mr_worker *worker = arg;
	int r = prepare_thread(worker, &worker->start_error);

	pthread_mutex_lock(&worker->start_lock);
	worker->start_status = r;
	pthread_cond_signal(&worker->started);
	pthread_mutex_unlock(&worker->start_lock);
	if (r < 0)
		return NULL;
	loop(worker);
	mr_io_queue_close(worker->queue);
	return NULL;
}

static int watch_requests(struct mr_worker *worker, struct mr_error *err)
{
	int r = mr_doorbell_set_add(worker->bells, mr_mailbox_fd(worker->requests), err);

	if (r == 0 && worker->options.port)
		r = mr_doorbell_set_add(worker->bells, mr_feed_port_fd(worker->options.port), err);
	return r;
}

static void worker_free(struct mr_worker *worker)
{
	if (!worker)
		return;
	mr_mailbox_close(worker->requests);
	mr_mailbox_close(worker->answers);
	if (worker->bells >= 0)
		(void)close(worker->bells); /* nothing can be done about it */
	free(worker->partitions);
	mr_compressor_free(worker->compressor);
	free(worker);
}

static int start_thread(struct mr_worker *worker, struct mr_error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return mr_error_set(err, -r, "cannot start the thread of worker %u",
				    worker->options.number);
	pthread_mutex_lock(&worker->start_lock);
	while (worker->start_status == 1)
		pthread_cond_wait(&worker->started, &worker->start_lock);
	pthread_mutex_unlock(&worker->start_lock);
	if (worker->start_status < 0) {
		pthread_join(worker->thread, NULL);
		if (err)
			*err = worker->start_error;
	}
	return worker->start_status;
}

int mr_worker_start(const struct mr_worker_options *options, struct mr_worker **out,
		    struct mr_error *err)
{
	struct mr_worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return mr_error_set(err, -ENOMEM, "no memory for worker %u", options->number);
	worker->options = *options;
	worker->place = *options->place;
	worker->options.place = &worker->place;
	worker->start_status = 1;
	worker->rung = -1;
	worker->held_end = &worker->held;
	pthread_mutex_init(&worker->start_lock, NULL);
	pthread_cond_init(&worker->started, NULL);
	worker->bells = mr_doorbell_set_open(err);
	r = worker->bells;
	if (r < 0)
		goto fail;
	r = -ENOMEM;
	worker->partitions = calloc(MR_WORKER_PARTITIONS_MAX, sizeof(*worker->partitions));
	if (!worker->partitions) {
		mr_error_set(err, r, "no memory for the partitions of worker %u", options->number);
		goto fail;
	}
	r = mr_mailbox_open(REQUESTS_MAX, MR_MAILBOX_BELL_IF_ASLEEP, &worker->requests, err);
	if (r < 0)
		goto fail;
	r = mr_mailbox_open(ANSWERS_TO_CONTROL, MR_MAILBOX_BELL_IF_ASLEEP, &worker->answers, err);
	if (r < 0)
		goto fail;
	r = watch_requests(worker, err);
	if (r < 0)
		goto fail;
	r = start_thread(worker, err);
	if (r < 0)
		goto fail;
	*out = worker;
	return 0;
fail:
	worker_free(worker);
	return r;
}

void mr_worker_stop(struct mr_worker *worker)
{
	if (!worker)
		return;
	mr_assert(worker->partition_count == 0);
	/* W11: pairs with R11 */
	atomic_store_explicit(&worker->stop, true, memory_order_release);
	mr_doorbell_ring(mr_mailbox_fd(worker->requests));
	pthread_join(worker->thread, NULL);
	worker_free(worker);
}
