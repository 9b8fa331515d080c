/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask of the engine, behind struct mr_local_host: topics, lanes, watches, segments,
 * groups' offsets. Runs on the control thread (control.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/diag.h"
#include "batch.h"
#include "check.h"
#include "control.h"
#include "doorbell.h"
#include "log/replay.h"
#include "region.h"

#define PRODUCER_ID_BLOCK 4096

/* ---- topics and partitions
 * ----------------------------------------------------------------------------- */

/* I6: ids come from blocks that were made durable first, and are never given twice. */
int mr_control_new_producer_id(struct mr_control *control, int64_t *id, struct mr_error *err)
{
	int r = 0;

	if (control->next_producer_id >= control->checkpoint.next_producer_id) {
		control->checkpoint.next_producer_id += PRODUCER_ID_BLOCK;
		r = control->failed || control->checkpoint_running
			    ? mr_error_set(err, -EAGAIN, "no producer id is free at this moment")
			    : mr_control_checkpoint_twice(control, err);
		if (r < 0)
			control->checkpoint.next_producer_id -= PRODUCER_ID_BLOCK;
		mr_control_suspect(control, r, err);
	}
	if (r == 0)
		*id = control->next_producer_id++;
	return r;
}

static int open_topic(void *engine, const char *name, bool create, bool producer,
		      struct mr_topic_reply *reply, struct mr_error *err)
{
	struct mr_control *control = engine;
	struct mr_topic *topic;
	int r = mr_control_open_topic(control, name, create, &topic, err);

	if (r == 0 && producer && !strncmp(name, "__", 2))
		r = mr_error_set(err, -EACCES, "topic '%s' is written by the engine only", name);
	if (r == 0 && producer)
		r = mr_control_new_producer_id(control, &reply->producer_id, err);
	if (r < 0)
		return r;
	memcpy(reply->topic_id, topic->id, 16);
	reply->partition_count = topic->partition_count;
	reply->producer_epoch = 0;
	return 0;
}

static int find_partition(void *engine, const uint8_t topic_id[16], int32_t partition,
			  struct mr_local_partition *out, struct mr_error *err)
{
	struct mr_control *control = engine;
	struct mr_hosted *hosted = mr_control_find(control, topic_id, partition, err);

	if (!hosted)
		return err->code;
	if (!hosted->part)
		return mr_error_set(err, -ENOENT, "topic '%s' partition %d is not up",
				    hosted->topic->name, partition);
	out->tail = mr_worker_partition_tail(hosted->part);
	out->bells = mr_worker_bells(hosted->worker);
	out->node = hosted->node;
	out->leader_epoch = mr_control_leader_epoch(hosted);
	out->record_bytes_max = mr_control_record_bytes_max(control, hosted->topic);
	out->topic = hosted->topic->name;
	out->in_memory = mr_topic_in_memory(hosted->topic);
	return 0;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

/* I9: a worker and its mailbox have room for so many; who comes then is told. */
static int check_room(const struct mr_hosted *hosted, uint32_t here, uint32_t most,
		      struct mr_error *err)
{
	if (here >= most)
		return mr_error_set(err, -ENOBUFS, "topic '%s' partition %d has %u clients already",
				    hosted->topic->name, hosted->number, here);
	if (hosted->control->guests[hosted->worker_number] >= MR_WORKER_GUESTS_MAX)
		return mr_error_set(err, -ENOBUFS, "worker %u has %u clients already",
				    hosted->worker_number, MR_WORKER_GUESTS_MAX);
	return 0;
}

/* The messages of a lane, beside it: one to add it, one to close it. */
struct host_lane {
	struct mr_worker_lane *lane;
	struct mr_hosted *hosted;
	struct mr_local_lane *local; /* NULL: the engine's own lane, which is */
	struct mr_own_lane *own;
	struct mr_worker_message add, close;
};

static int add_lane(void *engine, struct mr_local_lane_offer *offer, void **handle,
		    struct mr_error *err)
{
	struct mr_control *control = engine;
	struct mr_hosted *hosted =
		mr_control_find(control, offer->identity.topic_id, offer->identity.partition, err);
	struct mr_worker_lane_options options = {
		.reader = offer->reader,
		.identity = offer->identity,
		.bell_to_client = offer->bell_to_client,
		.resumed = offer->resumed,
		.repeats = offer->resumed && offer->own, /* a new lane for an old producer */
	};
	struct host_lane *lane;
	int r;

	if (!hosted || !hosted->part)
		return hosted ? mr_error_set(err, -ENOENT, "the topic is being deleted")
			      : err->code;
	if (offer->identity.producer_id >= control->next_producer_id && !offer->own)
		return mr_error_set(err, -EINVAL, "producer id %" PRId64 " was never given",
				    offer->identity.producer_id);
	r = check_room(hosted, hosted->lanes, MR_WORKER_LANES_MAX, err);
	if (r < 0)
		return r;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return mr_error_set(err, -ENOMEM, "no memory for a lane");
	options.partition = hosted->part;
	options.owner = lane;
	lane->hosted = hosted;
	lane->local = offer->lane;
	lane->own = offer->own;
	lane->lane = mr_worker_lane_new(&options);
	if (!lane->lane) {
		free(lane);
		return mr_error_set(err, -ENOMEM, "no memory for a lane");
	}
	lane->add.kind = MR_WORKER_ADD_LANE;
	lane->add.lane = lane->lane;
	lane->add.owner = lane;
	r = mr_worker_post(hosted->worker, &lane->add);
	if (r < 0) {
		/* the reader stays the caller's, as on every failure */
		mr_worker_lane_forget(lane->lane);
		free(lane);
		return mr_error_set(err, -EAGAIN,
				    "the worker is too far behind to take a lane now");
	}
	hosted->lanes++;
	control->guests[hosted->worker_number]++;
	*handle = lane;
	return 0;
}

static void close_lane(void *engine, void *handle)
{
	struct host_lane *lane = handle;

	lane->close.kind = MR_WORKER_CLOSE_LANE;
	lane->close.lane = lane->lane;
	lane->close.owner = lane;
	mr_worker_send(lane->hosted->worker, &lane->close);
}

void mr_control_lane_added(struct mr_worker_message *message)
{
	struct host_lane *lane = message->owner;

	mr_assert(message->status == 0); /* bounds are checked before it is posted */
	if (lane->own && lane->own->events->added)
		lane->own->events->added(lane->own, message->offset);
}

void mr_control_lane_poisoned(struct mr_worker_message *message)
{
	struct host_lane *lane = mr_worker_lane_owner(message->lane);

	mr_diag_warn("a lane was closed", "topic=%s partition=%d reason=\"%s\"",
		     lane->hosted->topic->name, lane->hosted->number,
		     mr_worker_lane_reason_text(lane->lane));
	if (lane->local)
		mr_local_lane_poisoned(lane->local);
	else
		lane->own->events->poisoned(lane->own);
}

/* The worker emptied and answered it, and let go. */
void mr_control_lane_closed(struct mr_worker_message *message)
{
	struct host_lane *lane = message->owner;
	struct mr_control *control = lane->hosted->control;
	struct mr_local_lane *local = lane->local;
	struct mr_own_lane *own = lane->own;
	int bells = mr_worker_bells(lane->hosted->worker);

	lane->hosted->lanes--;
	control->guests[lane->hosted->worker_number]--;
	mr_worker_lane_free(lane->lane);
	free(lane);
	if (local)
		mr_local_lane_closed(local);
	else
		own->events->closed(own, bells);
}

/* ---- watches
 * --------------------------------------------------------------------------------------------- */

struct host_watch {
	struct mr_waker waker;
	struct mr_hosted *hosted;
	struct mr_local_watch *local;
	struct host_watch *next; /* in hosted->watch_list */
	bool leaving;		 /* its client has gone */
	struct mr_worker_message add, remove;
};

static int add_watch(void *engine, const uint8_t topic_id[16], int32_t partition,
		     const _Atomic uint32_t *waiting, int bell, struct mr_local_watch *local,
		     void **handle, struct mr_error *err)
{
	struct mr_hosted *hosted = mr_control_find(engine, topic_id, partition, err);
	struct host_watch *watch;
	int r;

	if (!hosted || !hosted->part)
		return hosted ? mr_error_set(err, -ENOENT, "the topic is being deleted")
			      : err->code;
	r = check_room(hosted, hosted->watches, MR_WORKER_WATCHES_MAX, err);
	if (r < 0)
		return r;
	watch = calloc(1, sizeof(*watch));
	if (!watch || mr_waker_init(&watch->waker, waiting, bell, watch) < 0) {
		free(watch);
		return mr_error_set(err, -ENOMEM, "no memory for a consumer");
	}
	watch->hosted = hosted;
	watch->local = local;
	watch->add.kind = MR_WORKER_ADD_WATCH;
	watch->add.partition = hosted->part;
	watch->add.waker = &watch->waker;
	watch->add.owner = watch;
	r = mr_worker_post(hosted->worker, &watch->add);
	if (r < 0) {
		mr_waker_deinit(&watch->waker);
		free(watch);
		return mr_error_set(err, -EAGAIN,
				    "the worker is too far behind to take a consumer now");
	}
	hosted->watches++;
	hosted->control->guests[hosted->worker_number]++;
	watch->next = hosted->watch_list;
	hosted->watch_list = watch;
	*handle = watch;
	return 0;
}

static void watch_free(struct host_watch *watch)
{
	struct mr_local_watch *local = watch->local;

	mr_waker_deinit(&watch->waker);
	free(watch);
	mr_local_watch_removed(local);
}

/* The partition is out of its worker, and so are its watches, whether their clients noticed or not:
 * nobody waits for a consumer. */
void mr_control_drop_watches(struct mr_hosted *hosted)
{
	while (hosted->watch_list) {
		struct host_watch *watch = hosted->watch_list;

		hosted->watch_list = watch->next;
		hosted->watches--;
		hosted->control->guests[hosted->worker_number]--;
		watch->hosted = NULL;
		if (watch->leaving)
			watch_free(watch);
	}
}

static void remove_watch(void *engine, void *handle)
{
	struct host_watch *watch = handle;

	watch->leaving = true;
	if (!watch->hosted) {
		watch_free(watch);
		return;
	}
	if (watch->hosted->remove_posted)
		return; /* it goes with the partition */
	watch->remove.kind = MR_WORKER_REMOVE_WATCH;
	watch->remove.partition = watch->hosted->part;
	watch->remove.waker = &watch->waker;
	watch->remove.owner = watch;
	mr_worker_send(watch->hosted->worker, &watch->remove);
}

void mr_control_watch_removed(struct mr_worker_message *message)
{
	struct host_watch *watch = message->owner, **at = &watch->hosted->watch_list;

	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	watch->hosted->watches--;
	watch->hosted->control->guests[watch->hosted->worker_number]--;
	watch_free(watch);
}

/* ---- older records
 * ----------------------------------------------------------------------------------------- */

/* A topic in memory has no older records than its tail's. */
static int refuse_older(const struct mr_hosted *hosted, uint64_t offset, struct mr_error *err)
{
	uint64_t start = mr_tail_log_start(mr_worker_partition_tail(hosted->part));

	if (offset >= start) /* the search was overtaken, or the offset comes just now */
		return mr_error_set(err, -EAGAIN, "offset %" PRIu64 " is in memory: look again",
				    offset);
	mr_error_set(err, -ERANGE,
		     "topic '%s' partition %d: offset %" PRIu64
		     " is no longer kept: the oldest is %" PRIu64,
		     hosted->topic->name, hosted->number, offset, start);
	return mr_error_why(err, "it is kept in memory, as far as its tail reaches");
}

static int refuse_without_log(const struct mr_hosted *hosted, struct mr_error *err)
{
	if (hosted->cut)
		return mr_error_set(err, -EAGAIN,
				    "topic '%s' partition %d is being cut: look again",
				    hosted->topic->name, hosted->number);
	return mr_error_set(err, -ENOENT, "the topic is being deleted");
}

static int find_segment(void *engine, const struct mr_find_segment *request,
			struct mr_segment_reply *reply, int *fd, struct mr_error *err)
{
	struct mr_control *control = engine;
	struct mr_hosted *hosted =
		mr_control_find(control, request->topic_id, request->partition, err);
	struct mr_log_place place;
	char path[160];
	int r;

	if (hosted && hosted->part && mr_topic_in_memory(hosted->topic))
		return refuse_older(hosted, request->offset, err);
	if (!hosted || !hosted->files)
		return hosted ? refuse_without_log(hosted, err) : err->code;
	if (control->failed) {
		*err = control->failure; /* D3: what the cache holds may not be on the disk */
		return err->code;
	}
	if (hosted->state == MR_HOSTED_READ_ONLY && request->offset >= hosted->corrupt_offset) {
		*err = hosted->reason;
		return err->code = -EBADMSG;
	}
	r = mr_log_files_find_offset(hosted->files, request->offset, &place);
	if (r < 0)
		return mr_error_set(err, -ERANGE,
				    "topic '%s' partition %d: offset %" PRIu64
				    " is no longer kept: the oldest is %" PRIu64,
				    hosted->topic->name, hosted->number, request->offset,
				    mr_log_files_start_offset(hosted->files));
	mr_segment_path(place.segment, path);
	*fd = mr_io_read_fd(control->io, path, err);
	if (*fd < 0)
		return *fd;
	reply->base_offset = place.segment->base_offset;
	reply->base_position = place.segment->base_position;
	reply->segment_id = place.segment->segment_id;
	reply->group_position = place.group_position;
	reply->group_offset = place.group_offset;
	reply->end_position = place.end_position;
	return 0;
}

static int find_offset(void *engine, const struct mr_find_offset *request, uint64_t *offset,
		       struct mr_error *err)
{
	struct mr_hosted *hosted =
		mr_control_find(engine, request->topic_id, request->partition, err);

	if (hosted && hosted->part && mr_topic_in_memory(hosted->topic)) {
		*offset = mr_tail_log_start(mr_worker_partition_tail(hosted->part));
		return 0; /* a hint: the reader skips what is older */
	}
	if (!hosted || !hosted->files)
		return hosted ? refuse_without_log(hosted, err) : err->code;
	*offset = mr_log_files_find_time(hosted->files, request->timestamp_ms);
	return 0;
}

/* ---- everything that may be asked -------------------------------------------------------- */

static int admin(void *engine, const char *request, struct mr_local_ticket *ticket, char **reply,
		 struct mr_error *err)
{
	return mr_control_admin(engine, request, ticket, reply, err);
}

const struct mr_local_host mr_control_host_operations = {
	.open_topic = open_topic,
	.find_partition = find_partition,
	.add_lane = add_lane,
	.close_lane = close_lane,
	.add_watch = add_watch,
	.remove_watch = remove_watch,
	.find_segment = find_segment,
	.find_offset = find_offset,
	.commit = mr_control_commit,
	.committed = mr_control_committed,
	.admin = admin,
};
