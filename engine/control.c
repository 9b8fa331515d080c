/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread's loop and its start and end (control.h). It sleeps in epoll: on its socket
 * and clients, on workers' mailboxes, on finished chores, on the bell to stop. Every second it
 * looks at retention; after a moment of quiet, or when much was written, it writes a checkpoint.
 */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/diag.h"
#include "check.h"
#include "doorbell.h"

#define EVENTS_A_TURN	   64
#define PRODUCER_ID_BITS   40 /* a host gives so many; its number stands above them */
#define MESSAGES_A_TURN	   1024
#define SECOND_NS	   UINT64_C(1000000000)
#define CHECKPOINT_RECORDS 4000000 /* that many since the last one: do not wait for quiet */
#define CHECKPOINT_NS	   (10 * SECOND_NS) /* nor longer than that */
#define MAKING_MS	   1		    /* who is being served asks again within it */
#define DRAIN_AT_STOP_NS   (5 * SECOND_NS)  /* what producers published before the end */

/* ---- workers' messages
 * ---------------------------------------------------------------------------------- */

/* The worker has nothing of the partition in hand once it answered all that it was sent. */
static void partition_out(struct mr_hosted *hosted)
{
	if (hosted->let_go && !hosted->posts && !hosted->cut)
		mr_control_partition_removed(hosted);
}

static void request_answered(struct mr_hosted *hosted)
{
	mr_assert(hosted->posts > 0);
	hosted->posts--;
	partition_out(hosted);
}

/* Of replicated partitions only. */
static void take_replica_message(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	if (message->kind == MR_WORKER_COORDINATE) {
		mr_control_coordinate(hosted, message);
	} else if (message->kind == MR_WORKER_TRUNCATE) {
		mr_control_truncate(hosted, message);
	} else if (message->kind == MR_WORKER_KEEP_STATE) {
		mr_control_keep_state(hosted, message);
	} else if (message->kind == MR_WORKER_STATE_ROOM) {
		mr_control_state_room(hosted, message);
	} else {
		free(message); /* it was made for one event */
		request_answered(hosted);
	}
}

static void partition_added(struct mr_control *control, struct mr_worker_message *message)
{
	if (message->status < 0)
		mr_control_fail(control, message->status, "a worker could not take a partition");
	else if (mr_worker_partition_replica(message->partition))
		mr_control_added(message->owner);
}

static void take_message(struct mr_control *control, struct mr_worker_message *message)
{
	struct mr_hosted *hosted = message->owner;

	switch (message->kind) {
	case MR_WORKER_ADD_PARTITION:
		partition_added(control, message);
		break;
	case MR_WORKER_REMOVE_PARTITION:
		if (hosted->cut) {
			mr_control_let_go(hosted);
			break;
		}
		hosted->let_go = true;
		partition_out(hosted);
		break;
	case MR_WORKER_CLOSE_LANE:
		mr_control_lane_closed(message);
		break;
	case MR_WORKER_LANE_POISONED:
		mr_control_lane_poisoned(message);
		break;
	case MR_WORKER_ADD_LANE:
		mr_control_lane_added(message);
		break;
	case MR_WORKER_ADD_WATCH:
		mr_assert(message->status == 0); /* bounds are checked before it is posted */
		break;
	case MR_WORKER_REMOVE_WATCH:
		mr_control_watch_removed(message);
		break;
	case MR_WORKER_SEGMENT_NAMED:
	case MR_WORKER_GIVE_SPARE:
		if (message->status < 0)
			mr_segment_close(message->segment);
		request_answered(hosted);
		break;
	case MR_WORKER_LOG_START:
		mr_control_log_start_known(hosted);
		request_answered(hosted);
		break;
	case MR_WORKER_OFFSETS_RESERVED:
		hosted->reserved_out = false;
		request_answered(hosted);
		break;
	case MR_WORKER_APPEND:
		request_answered(mr_control_version_marked(message));
		break;
	case MR_WORKER_SNAPSHOT:
		mr_control_snapshot_done(hosted, message);
		request_answered(hosted);
		break;
	case MR_WORKER_FAIL:
		break;
	case MR_WORKER_COORDINATED:
	case MR_WORKER_COORDINATE:
	case MR_WORKER_TRUNCATE:
	case MR_WORKER_KEEP_STATE:
	case MR_WORKER_STATE_ROOM:
		take_replica_message(hosted, message);
		break;
	case MR_WORKER_LOG_EVENT:
		mr_control_log_event(message->owner, message);
		break;
	case MR_WORKER_LOG_FAILED:
		mr_control_fail(control, message->status, "a write of the log");
		break;
	case MR_WORKER_WAKE:
		mr_waker_ring(message->waker);
		break;
	}
}

static uint32_t take_messages(struct mr_control *control)
{
	struct mr_worker_message *message;
	uint32_t i, count, sum = 0;

	for (i = 0; i < control->worker_count; i++) {
		for (count = 0; count < MESSAGES_A_TURN; count++) {
			message = mr_worker_take(control->workers[i]);
			if (!message)
				break;
			take_message(control, message);
		}
		sum += count;
	}
	return sum;
}

/* ---- epoll's sources
 * -------------------------------------------------------------------------------------- */

static struct mr_control *control_of(struct mr_local_source *source, size_t place)
{
	return (struct mr_control *)((char *)source - place);
}

static void stop_ready(struct mr_local_source *source, uint32_t events)
{
	struct mr_control *control = control_of(source, offsetof(struct mr_control, stop_source));

	mr_doorbell_clear(control->stop_fd); /* else the last rounds would not sleep */
	control->stopping = true;
}

static void chores_ready(struct mr_local_source *source, uint32_t events)
{
	(void)mr_chores_finish(
		control_of(source, offsetof(struct mr_control, chores_source))->chores);
}

/* Messages are taken in every round of the loop: here is nothing left to do. */
static void workers_ready(struct mr_local_source *source, uint32_t events)
{
	(void)control_of(source, offsetof(struct mr_control, workers_source));
}

static void commits_ready(struct mr_local_source *source, uint32_t events)
{
	struct mr_control *control =
		control_of(source, offsetof(struct mr_control, commits_source));

	mr_doorbell_clear(control->commit_lane.bell_to_writer);
	mr_control_commits_acknowledged(control);
}

int mr_control_watch_fd(struct mr_control *control, int fd, struct mr_local_source *source,
			void (*ready)(struct mr_local_source *, uint32_t), struct mr_error *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	source->ready = ready;
	if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return mr_error_set(err, -errno, "cannot watch descriptor %d", fd);
	return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t log_ends(struct mr_control *control)
{
	struct mr_hosted *hosted;
	uint64_t sum = 0;

	/* a checkpoint says nothing of what is in memory only */
	mr_control_each(control, hosted) if (!mr_topic_in_memory(hosted->topic)) sum +=
		atomic_load_explicit(hosted->counters[MR_GAUGE_LOG_END],
				     memory_order_relaxed); /* relaxed: a number */
	return sum;
}

/* D6: one checkpoint after a moment of quiet; and a bound on what a start has to read while it is
 * never quiet. */
static void think_of_checkpoint(struct mr_control *control, uint64_t now_ns)
{
	uint64_t sum = log_ends(control);
	bool quiet;

	if (sum != control->last_log_end_sum) {
		control->last_log_end_sum = sum;
		control->quiet_since_ns = now_ns;
	}
	if (sum == control->checkpoint_sum || control->checkpoint_running)
		return;
	quiet = now_ns - control->quiet_since_ns >=
		control->config->checkpoint_quiet_ms * (SECOND_NS / 1000);
	if (!quiet && sum - control->checkpoint_sum < CHECKPOINT_RECORDS &&
	    now_ns - control->checkpoint_ns < CHECKPOINT_NS)
		return;
	control->checkpoint_sum = sum;
	control->checkpoint_ns = now_ns;
	mr_control_checkpoint(control);
}

/* How long the loop may sleep: until the next thing that is due. */
static int sleep_ms(const struct mr_control *control, uint64_t now_ns)
{
	uint64_t due_ns = control->next_second_ns;
	uint64_t quiet_ns =
		control->quiet_since_ns + control->config->checkpoint_quiet_ms * (SECOND_NS / 1000);

	if (control->last_log_end_sum != control->checkpoint_sum && quiet_ns < due_ns)
		due_ns = quiet_ns;
	if (due_ns <= now_ns)
		return 1;
	return (int)((due_ns - now_ns) / 1000000 + 1);
}

static void keep_time(struct mr_control *control)
{
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);

	think_of_checkpoint(control, now_ns);
	if (now_ns < control->next_second_ns)
		return;
	control->next_second_ns = now_ns + SECOND_NS;
	mr_control_every_second(control);
	mr_control_versions_second(control);
	mr_control_peers_second(control);
	mr_local_second(control->local);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* All are told that this thread sleeps, also after one that has something. */
static bool others_asleep(struct mr_control *control)
{
	bool quiet = mr_control_peers_sleep(control);
	uint32_t i;

	for (i = 0; i < control->worker_count; i++)
		quiet &= mr_worker_sleep(control->workers[i]);
	return quiet;
}

static void one_round(struct mr_control *control, int timeout_ms)
{
	struct epoll_event events[EVENTS_A_TURN];
	bool quiet = others_asleep(control);
	uint32_t i;
	int count, n;

	if (!TAILQ_EMPTY(&control->makings) && timeout_ms > MAKING_MS)
		timeout_ms = MAKING_MS;
	count = epoll_wait(control->epoll_fd, events, EVENTS_A_TURN, quiet ? timeout_ms : 0);
	mr_control_peers_wake(control);
	for (i = 0; i < control->worker_count; i++)
		mr_worker_wake(control->workers[i]);
	for (n = 0; n < count; n++) {
		struct mr_local_source *source = events[n].data.ptr;

		source->ready(source, events[n].events);
	}
	(void)take_messages(control);
	mr_control_peers_turn(control);
	mr_control_making_turn(control, count > 0);
	mr_local_sweep(control->local);
	mr_control_finish_deleting(control);
	if (control->failed && control->commits)
		mr_control_fail_commits(control, &control->failure);
}

/* Sessions end, lanes are emptied and answered, the last group is written. */
static void drain(struct mr_control *control)
{
	uint64_t end_ns = mr_clock_monotonic_ns(control->clock) + DRAIN_AT_STOP_NS;

	mr_local_end(control->local);
	mr_own_lane_close(control, &control->commit_lane);
	while (!mr_local_idle(control->local) && mr_clock_monotonic_ns(control->clock) < end_ns)
		one_round(control, 50);
	control->lanes_left = mr_local_lane_count(control->local);
}

static bool everything_out(struct mr_control *control)
{
	struct mr_hosted *hosted;

	if (control->deleting || mr_chores_pending(control->chores) || control->checkpoint_running)
		return false;
	mr_control_each(control, hosted) if (!hosted->removed || hosted->lanes || hosted->watches ||
					     hosted->snapshot_out ||
					     hosted->log_start_out) return false;
	return mr_local_idle(control->local);
}

static bool all_snapshots_in(struct mr_control *control)
{
	return !control->checkpoint_running && !mr_chores_pending(control->chores);
}

static void shut_down(struct mr_control *control)
{
	uint64_t end_ns = mr_clock_monotonic_ns(control->clock) + DRAIN_AT_STOP_NS;
	struct mr_hosted *hosted;

	mr_control_making_end(control);
	mr_control_pipelines_stop(control);
	/* what they have said is taken; one whose lane is stuck ends with its partition */
	while (!mr_control_pipelines_ended(control) &&
	       mr_clock_monotonic_ns(control->clock) < end_ns)
		one_round(control, 50);
	drain(control);
	mr_control_checkpoint(control); /* all of it, so that the next start reads nothing */
	while (!all_snapshots_in(control) && mr_clock_monotonic_ns(control->clock) < end_ns)
		one_round(control, 50);
	mr_control_each(control, hosted) mr_control_remove_partition(hosted, -ESHUTDOWN);
	while (!everything_out(control) || !mr_control_pipelines_ended(control))
		one_round(control, 50);
	mr_control_checkpoint_clean(control);
}

void mr_control_run(struct mr_control *control)
{
	cpu_set_t before;
	bool known = sched_getaffinity(0, sizeof(before), &before) == 0;

	/* a wish, no need; the caller's thread is given back as it came */
	(void)mr_place_bind_thread(mr_place_find(&control->plan, MR_PLACE_CONTROL), NULL);
	mr_control_pipelines_run(control);
	while (!control->stopping) {
		one_round(control, sleep_ms(control, mr_clock_monotonic_ns(control->clock)));
		keep_time(control);
	}
	shut_down(control);
	if (known)
		(void)sched_setaffinity(0, sizeof(before), &before);
}

void mr_control_stop(struct mr_control *control)
{
	mr_doorbell_ring(control->stop_fd);
}

uint32_t mr_control_lanes_left(const struct mr_control *control)
{
	return control->lanes_left;
}

bool mr_control_degraded(const struct mr_control *control)
{
	return control->failed;
}

/* ---- opening and closing
 * -------------------------------------------------------------------------------------- */

static int plan_threads(struct mr_control *control, struct mr_error *err)
{
	struct mr_place_request request = {
		.policy = control->config->placement,
		.workers = control->config->workers,
		.workers_spin = control->config->idle == MR_CONFIG_IDLE_SPIN,
		.cpu_percent = mr_place_cpu_percent(""),
	};
	struct mr_place_disk disk;

	/* what is not known of the disk is no reason to fail */
	(void)mr_place_disk_read("", control->io->facts.device, &disk, NULL);
	request.disk = &disk;
	return mr_place_plan(&request, &control->plan, err);
}

static int start_worker(struct mr_control *control, uint32_t number, struct mr_error *err)
{
	static _Atomic uint64_t spare; /* counts where the file is full */
	struct mr_worker_options options = {
		.number = number,
		.place = &control->plan.entries[number],
		.io = control->io,
		.clock = control->clock,
		.idle = control->config->idle,
		.groups_in_flight = control->config->groups_in_flight,
		.port = mr_control_peers_port(control, number),
	};
	int i, r;

	for (i = 0; i < MR_WORKER_COUNTERS; i++) {
		enum mr_counter_kind kind =
			i >= MR_GAUGE_LONGEST_TURN_NS ? MR_COUNTER_GAUGE : MR_COUNTER_RISING;

		options.counters[i] = mr_counters_add(control->counters, kind, "worker.%u.%s",
						      number, mr_worker_counter_names[i]);
		if (!options.counters[i])
			options.counters[i] = &spare;
	}
	mr_place_prefer_node(options.place->node); /* the thread keeps it for what it touches */
	r = mr_worker_start(&options, &control->workers[number], err);
	mr_place_prefer_node(MR_PLACE_ANY);
	return r;
}

int mr_control_start_threads(struct mr_control *control, struct mr_error *err)
{
	const struct mr_place_entry *chores = mr_place_find(&control->plan, MR_PLACE_CHORES);
	uint32_t i;
	int r;

	control->workers = calloc(control->plan.worker_count, sizeof(struct mr_worker *));
	control->failures = calloc(control->plan.worker_count, sizeof(*control->failures));
	if (!control->workers || !control->failures)
		return mr_error_set(err, -ENOMEM, "no memory for workers");
	r = mr_chores_start(chores, &control->chores, err);
	if (r == 0)
		r = mr_control_peers_open(control, err);
	for (i = 0; r == 0 && i < control->plan.worker_count; i++) {
		r = start_worker(control, i, err);
		if (r == 0)
			control->worker_count++;
	}
	for (i = 0; r == 0 && i < control->worker_count; i++)
		r = mr_control_watch_fd(control, mr_worker_fd(control->workers[i]),
					&control->workers_source, workers_ready, err);
	if (r == 0)
		r = mr_control_watch_fd(control, mr_chores_fd(control->chores),
					&control->chores_source, chores_ready, err);
	return r;
}

/*
 * I6: ids are never given twice, by no host of the cluster: the high bits are this host's number.
 * What a lower number gave before stays below. A host whose number falls cannot know what it gave
 * under the lower one, or another host since.
 */
static int begin_producer_ids(struct mr_control *control, struct mr_error *err)
{
	struct mr_checkpoint *checkpoint = &control->checkpoint;
	int64_t number = control->config->number;
	int64_t before = checkpoint->next_producer_id >> PRODUCER_ID_BITS;

	if (before > number) {
		mr_error_set(err, -EINVAL,
			     "data directory '%.160s' is of host number %" PRId64
			     ", and the configuration says number: %" PRId64,
			     control->data_path, before, number);
		mr_error_why(err, "producer ids would be given a second time");
		mr_error_hint(err, "keep the number, or take one that no host ever had");
		return -EINVAL;
	}
	if (before < number)
		checkpoint->next_producer_id = number << PRODUCER_ID_BITS;
	control->next_producer_id = checkpoint->next_producer_id;
	checkpoint->next_producer_id += 4096;
	return 0;
}

/* What others know as this host's copies would be another host's under another number. */
static int check_copies(const struct mr_control *control, struct mr_error *err)
{
	const struct mr_topics *topics = &control->topics;
	uint32_t number = control->config->number;
	size_t i;

	for (i = 0; i < topics->count; i++) {
		const struct mr_topic *topic = topics->topics[i];

		if (!mr_topic_replicated(topic) || topic->replicas >> number & 1)
			continue;
		mr_error_set(err, -EINVAL,
			     "data directory '%.160s' has a copy of topic '%.100s', of which host "
			     "number %" PRIu32 " is to keep none",
			     control->data_path, topic->name, number);
		mr_error_hint(err, "give this host the number that it had when the topic was made");
		return -EINVAL;
	}
	return 0;
}

/* What this data directory is, and what every start must change durably before anything else
 * happens. */
static int begin_start(struct mr_control *control, struct mr_error *err)
{
	struct mr_checkpoint *checkpoint = &control->checkpoint;
	int r = mr_checkpoint_load(control->io, checkpoint, err);

	if (r == -ENOENT) {
		memset(checkpoint, 0, sizeof(*checkpoint));
		r = mr_random(checkpoint->log_id, sizeof(checkpoint->log_id), err);
		if (r == 0)
			r = mr_io_make_directory(control->io, "topics", err);
		if (r == 0)
			r = mr_io_sync_directory(control->io, ".", err);
	}
	if (r < 0) {
		mr_error_hint(err, "look with: millrace verify '%s'", control->data_path);
		return r;
	}
	r = mr_topics_load(control->io, &control->topics, err);
	if (r == 0)
		r = check_copies(control, err);
	if (r == 0)
		r = begin_producer_ids(control, err);
	if (r == 0)
		checkpoint->engine_start++;
	return r;
}

static int open_local(struct mr_control *control, struct mr_error *err)
{
	const struct mr_config *config = control->config;
	struct mr_local_options options = {
		.socket_path = control->socket_path,
		.host = &control->host,
		.secret = &control->secret,
		.clock = control->clock,
		.engine_start = control->checkpoint.engine_start,
		.lane_bytes = config->lane_bytes,
		.lane_bytes_max = config->lane_bytes_max,
		.lanes_per_user = config->lanes_per_user,
		.connections_per_user = config->connections_per_user,
		.engine_pid = getpid(),
		.epoll_fd = control->epoll_fd,
	};

	control->host = mr_control_host_operations;
	control->host.engine = control;
	memcpy(options.log_id, control->checkpoint.log_id, 16);
	return mr_local_open(&options, &control->local, err);
}

static int make_commit_lane(struct mr_control *control, struct mr_error *err)
{
	int r = mr_own_lane_init(&control->commit_lane, &mr_control_commit_lane_events, control,
				 err);

	if (r < 0)
		return r;
	return mr_control_watch_fd(control, control->commit_lane.bell_to_writer,
				   &control->commits_source, commits_ready, err);
}

static int open_parts(struct mr_control *control, const struct mr_control_options *options,
		      struct mr_error *err)
{
	int r;

	control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (control->epoll_fd < 0)
		return mr_error_set(err, -errno, "cannot make an epoll descriptor");
	r = control->stop_fd = mr_doorbell_open(err);
	if (r >= 0)
		r = mr_control_watch_fd(control, control->stop_fd, &control->stop_source,
					stop_ready, err);
	if (r == 0)
		r = make_commit_lane(control, err);
	if (r == 0)
		r = mr_secret_load(control->io, &control->secret, err);
	if (r == 0)
		r = mr_offsets_open(&control->offsets, err);
	if (r == 0)
		r = mr_counters_create(options->counters_fd, &control->counters, err);
	if (r == 0)
		r = begin_start(control, err);
	if (r == 0)
		r = mr_control_load_offsets(control, err);
	if (r == 0)
		r = plan_threads(control, err);
	if (r == 0)
		r = mr_control_recover_topics(control, options, err);
	if (r == 0)
		r = mr_control_replay_offsets(control, err);
	if (r == 0)
		r = mr_control_pipelines_open(control, err);
	if (r == 0)
		r = open_local(control, err);
	return r;
}

/* A start that failed half way: what is up is taken down the same way as at a stop. */
static void give_up(struct mr_control *control)
{
	struct mr_hosted *hosted;
	uint32_t i;

	if (!control->chores)
		return;
	mr_control_each(control, hosted) mr_control_remove_partition(hosted, -ESHUTDOWN);
	for (i = 0; i < 10000; i++) {
		bool out = mr_chores_pending(control->chores) == 0;

		(void)mr_chores_finish(control->chores);
		(void)take_messages(control);
		mr_control_peers_turn(control);
		mr_control_each(control, hosted) out &= hosted->removed;
		if (out)
			return;
		(void)poll(NULL, 0, 1); /* the worker needs a moment */
	}
}

int mr_control_open(const struct mr_control_options *options, struct mr_control **out,
		    struct mr_error *err)
{
	struct mr_control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return mr_error_set(err, -ENOMEM, "no memory for the engine");
	TAILQ_INIT(&control->makings);
	control->config = options->config;
	control->io = options->io;
	control->clock = options->clock;
	control->feed_version_max = options->feed_version_max;
	control->started_ns = mr_clock_monotonic_ns(options->clock);
	control->quiet_since_ns = control->started_ns;
	control->checkpoint_ns = control->started_ns;
	control->next_second_ns = control->started_ns + SECOND_NS;
	control->commits_end = &control->commits;
	control->epoll_fd = -1;
	control->stop_fd = -1;
	control->commit_lane.bell_to_writer = -1; /* until it is made: nothing to close */
	control->commit_lane.bell_to_worker = -1;
	snprintf(control->data_path, sizeof(control->data_path), "%s", options->data_path);
	snprintf(control->socket_path, sizeof(control->socket_path), "%s", options->socket_path);
	r = open_parts(control, options, err);
	if (r < 0) {
		give_up(control);
		mr_control_close(control);
		return r;
	}
	control->last_log_end_sum = log_ends(control);
	control->checkpoint_sum = control->last_log_end_sum;
	*out = control;
	return 0;
}

static void close_topics(struct mr_control *control)
{
	struct mr_hosted *hosted;
	size_t i;

	mr_control_each(control, hosted) mr_control_close_files(hosted);
	for (i = 0; i < control->topics.count; i++)
		mr_control_free_topic(control->topics.topics[i]);
	control->topics.count = 0;
	mr_topics_deinit(&control->topics);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* bells: nothing can be lost */
}

void mr_control_close(struct mr_control *control)
{
	uint32_t i;

	if (!control)
		return;
	mr_local_close(control->local);
	for (i = 0; i < control->worker_count; i++)
		mr_worker_stop(control->workers[i]);
	mr_control_peers_close(control);
	mr_control_pipelines_close(control);
	mr_chores_stop(control->chores);
	mr_own_lane_deinit(&control->commit_lane);
	close_topics(control);
	mr_offsets_close(control->offsets);
	mr_checkpoint_deinit(&control->checkpoint);
	mr_counters_close(control->counters);
	mr_place_plan_deinit(&control->plan);
	close_fd(control->stop_fd);
	close_fd(control->epoll_fd);
	free(control->workers);
	free(control->failures);
	free(control);
}
