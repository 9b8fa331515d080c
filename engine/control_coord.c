/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the coordinator and the workers (control_peers.h): each replicated partition's register
 * is made and watched, events go to the partition's worker as messages, a worker's proposals come
 * back the same way. The static coordinator's state is the file "coord", replaced as a whole by a
 * chore.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "control_peers.h"

#define COORD_FILE	"coord"
#define COORD_BYTES_MAX (64u << 20)
#define COORD_TROUBLE	"no space to write down who leads, so nobody can change it"

/* ---- its file -------------------------------------------------------------------------------- */

struct coord_chore {
	struct mr_chore chore;
	struct mr_control_peers *peers;
	size_t count;
	uint8_t bytes[];
};

static int run_save(struct mr_chore *chore, struct mr_error *err)
{
	struct coord_chore *work = (struct coord_chore *)chore;

	return mr_io_replace(work->peers->control->io, COORD_FILE, work->bytes, work->count, err);
}

/* Without space the register stays as it is, and whoever proposed waits: it is saved again. */
static void done_save(struct mr_chore *chore)
{
	struct coord_chore *work = (struct coord_chore *)chore;
	struct mr_control *control = work->peers->control;
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);

	if (mr_control_may_pass(chore->status)) {
		mr_control_note_shortage(control, &chore->err);
		mr_trouble_met(&work->peers->coord_trouble, now_ns, COORD_TROUBLE, "", &chore->err);
	} else if (chore->status < 0) {
		mr_control_fail(control, chore->status, chore->err.what);
	} else {
		mr_trouble_over(&work->peers->coord_trouble, now_ns, COORD_TROUBLE, "");
	}
	mr_coord_static_saved(work->peers->coord, chore->status);
	free(work);
}

static int save(void *arg, const void *bytes, size_t count)
{
	struct mr_control_peers *peers = arg;
	struct coord_chore *work = calloc(1, sizeof(*work) + count);

	if (!work)
		return -ENOMEM;
	work->chore.run = run_save;
	work->chore.done = done_save;
	work->peers = peers;
	work->count = count;
	memcpy(work->bytes, bytes, count);
	mr_chores_send(peers->control->chores, &work->chore);
	return 0;
}

static void notify(void *arg, uint32_t node, const char *text, size_t bytes)
{
	struct mr_control_peers *peers = arg;

	/* what is lost it says again */
	if (peers->connected & mr_node_bit(node))
		(void)mr_feed_notify(peers->feed, (int32_t)node, text, bytes);
}

static const char *name(void *arg, uint32_t node, char room[16])
{
	const struct mr_control_peers *peers = arg;

	return mr_control_node_name(peers->control, node, room);
}

int mr_control_coord_open(struct mr_control_peers *peers, struct mr_error *err)
{
	struct mr_control *control = peers->control;
	struct mr_coord_static_options options = {
		.self = control->config->number,
		.incarnation = mr_incarnation(control->checkpoint.log_id,
					      control->checkpoint.engine_start),
		.save = save,
		.notify = notify,
		.name = name,
		.arg = peers,
		.clock = control->clock,
	};
	void *bytes = NULL;
	size_t count = 0;
	int r = mr_io_load(control->io, COORD_FILE, COORD_BYTES_MAX, &bytes, &count, err);

	if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = mr_coord_static_open(&options, bytes, count, &peers->coord, err);
	free(bytes);
	return r;
}

void mr_control_coord_close(struct mr_control_peers *peers)
{
	if (peers->coord)
		peers->coord->operations->close(peers->coord);
}

void mr_control_coord_second(struct mr_control_peers *peers)
{
	mr_coord_static_time(peers->coord);
}

/* ---- registers and workers ------------------------------------------------------------------- */

static struct mr_coord_key key_of(const struct mr_hosted *hosted)
{
	struct mr_coord_key key = {.partition = hosted->number};

	memcpy(key.topic_id, hosted->topic->id, 16);
	return key;
}

int mr_control_register(struct mr_hosted *hosted, bool created, struct mr_error *err)
{
	struct mr_control_peers *peers = hosted->control->peers;
	struct mr_coord_key key = key_of(hosted);
	int r = mr_coord_static_create(peers->coord, &key, hosted->topic->replicas,
				       mr_topic_leader(hosted->topic, hosted->number), err);

	if (r == 0 && created && !hosted->lost)
		mr_coord_static_release(peers->coord, &key);
	if (r == 0 && mr_hosted_must_leave(hosted))
		mr_coord_static_doubt(peers->coord, &key);
	return r < 0 ? r : peers->coord->operations->watch(peers->coord, &key, err);
}

void mr_control_unregister(struct mr_hosted *hosted)
{
	struct mr_coord_key key = key_of(hosted);

	mr_coord_static_forget(hosted->control->peers->coord, &key);
}

/*
 * R7: the register says that this host is no longer one that may have lost what others count on:
 * the protocol takes it so, too. When that holds for the whole topic the catalogue forgets it.
 */
static void note_out(struct mr_hosted *hosted, const struct mr_coord_state *state)
{
	struct mr_control *control = hosted->control;
	struct mr_hosted_topic *topic = hosted->topic->owner;
	struct mr_error err;
	int32_t i;

	if (!hosted->lost || !mr_coord_counts_nothing_of(state, control->config->number))
		return;
	hosted->lost = false;
	for (i = 0; i < hosted->topic->partition_count; i++)
		if (topic->partitions[i].lost)
			return;
	hosted->topic->lost = false;
	if (mr_control_save_catalogue(control, &err) < 0)
		hosted->topic->lost = true; /* once more after the next start: harmless */
}

/* To the worker that has the partition; its message comes back and is freed. */
static void pass_on(struct mr_hosted *hosted, const struct mr_coord_event *event)
{
	struct mr_worker_message *message;

	if (!hosted->part || hosted->remove_posted || !mr_worker_partition_replica(hosted->part))
		return;
	message = calloc(1, sizeof(*message));
	mr_assert(message != NULL); /* 400 bytes: an answer cannot be left out */
	message->kind = MR_WORKER_COORDINATED;
	message->partition = hosted->part;
	message->coordinated = *event;
	message->owner = hosted;
	hosted->posts++;
	mr_worker_send(hosted->worker, message);
}

static void resign(struct mr_control *control, const struct mr_coord_event *event)
{
	struct mr_hosted *hosted;

	mr_control_each(control, hosted) pass_on(hosted, event);
}

static bool says_state(enum mr_coord_event_kind kind)
{
	return kind == MR_COORD_STATE || kind == MR_COORD_ACCEPTED || kind == MR_COORD_REFUSED;
}

static void take_event(struct mr_control *control, const struct mr_coord_event *event)
{
	struct mr_hosted *hosted;

	if (event->kind == MR_COORD_RESIGN) {
		resign(control, event);
		return;
	}
	hosted = mr_control_find(control, event->key.topic_id, event->key.partition, NULL);
	if (!hosted)
		return; /* deleted meanwhile */
	if (says_state(event->kind))
		note_out(hosted, &event->state);
	pass_on(hosted, event);
}

void mr_control_coord_turn(struct mr_control_peers *peers)
{
	struct mr_coord_event event;

	while ((event = peers->coord->operations->next(peers->coord)).kind != MR_COORD_NOTHING)
		take_event(peers->control, &event);
}

void mr_control_coordinate(struct mr_hosted *hosted, struct mr_worker_message *message)
{
	struct mr_coord *coord = hosted->control->peers->coord;
	const struct mr_coord_proposal *proposal = &message->proposal;
	struct mr_coord_key key = key_of(hosted);
	struct mr_coord_event unknown = {.kind = MR_COORD_UNKNOWN, .key = key};
	struct mr_error err = {0};
	int r;

	if (proposal->wanted.version == 0)
		r = coord->operations->read(coord, &key, &err);
	else
		r = coord->operations->propose(coord, &key, proposal, &err);
	if (r < 0 && proposal->wanted.version)
		pass_on(hosted, &unknown); /* the worker asks what became of it */
	if (r < 0)
		mr_diag_warn("the coordinator was not asked", "topic=%s partition=%d error=\"%s\"",
			     hosted->topic->name, hosted->number, err.what);
	mr_worker_send(hosted->worker, message);
}

/* ---- a person's word ------------------------------------------------------------------------- */

struct promotion {
	struct mr_local_ticket *ticket;
	const struct mr_control *control;
	struct mr_coord_key key;
	uint32_t to;
	uint32_t before; /* so many promotions were noted then */
	bool accept_loss;
};

/* It was accepted that records may be lost, and nothing had to be. */
static bool needless(const struct promotion *promotion)
{
	uint32_t count;
	const struct mr_coord_promoted *rows =
		mr_coord_static_promoted(promotion->control->peers->coord, &count);

	for (uint32_t i = promotion->before; i < count; i++)
		if (rows[i].taken_over &&
		    !memcmp(rows[i].key.topic_id, promotion->key.topic_id, 16) &&
		    rows[i].key.partition == promotion->key.partition)
			return false;
	return promotion->accept_loss;
}

/* Who leads already is what was wanted: whoever asks again after a lost answer is answered. */
static void promoted(void *arg, int status, const struct mr_error *err)
{
	struct promotion *promotion = arg;
	char reply[160], room[16];

	if (status == -EALREADY)
		status = 0;
	snprintf(reply, sizeof(reply), "{\"leader\":\"%.64s\",\"loss_needless\":%s}",
		 mr_control_node_name(promotion->control, promotion->to, room),
		 needless(promotion) ? "true" : "false");
	mr_local_answer(promotion->ticket, status, err, status < 0 ? NULL : reply);
	free(promotion);
}

/* 'before': so many promotions were noted. A leader that was there has handed over: no loss. */
static void say_taken_over(const struct mr_hosted *hosted, uint32_t before)
{
	const struct mr_control *control = hosted->control;
	const struct mr_coord_promoted *rows;
	char room[16];
	uint32_t count;

	rows = mr_coord_static_promoted(control->peers->coord, &count);
	if (count > before && rows[count - 1].taken_over)
		mr_diag_warn(
			"a person takes a partition over, and accepts that records may be lost",
			"topic=%s partition=%d to=%s", hosted->topic->name, hosted->number,
			mr_control_node_name(control, (uint32_t)rows[count - 1].to, room));
}

/* This host does not lead with a damaged log, whoever says so. */
static int check_whole(const struct mr_hosted *hosted, uint32_t to, struct mr_error *err)
{
	if (to != hosted->control->config->number || hosted->state != MR_HOSTED_READ_ONLY)
		return 0;
	mr_error_set(err, -EPERM, "the log of '%s' partition %d is damaged here",
		     hosted->topic->name, hosted->number);
	mr_error_why(err, "%s", hosted->reason.what);
	return mr_error_hint(err, "let another host lead, which this one then copies; or stop this "
				  "one and give up what lies behind the damage: millrace repair");
}

int mr_control_promote(struct mr_hosted *hosted, const struct mr_control_promotion *wanted,
		       struct mr_local_ticket *ticket, struct mr_error *err)
{
	struct mr_control *control = hosted->control;
	struct promotion *promotion = calloc(1, sizeof(*promotion));
	struct mr_coord_promotion options = {
		.key = key_of(hosted),
		.to = wanted->to,
		.accept_loss = wanted->accept_loss,
		.min_insync_replicas = hosted->topic->min_insync_replicas,
		.wall_ms = mr_clock_wall_ms(control->clock),
		.done = promoted,
		.arg = promotion,
	};
	uint32_t before;
	int r = mr_control_disk_may_lead(control->peers, wanted->to, err);

	if (r == 0)
		r = check_whole(hosted, wanted->to, err);
	if (r == 0 && !promotion)
		r = mr_error_set(err, -ENOMEM, "no memory for a promotion");
	if (r < 0) {
		free(promotion);
		return r;
	}
	(void)mr_coord_static_promoted(control->peers->coord, &before);
	*promotion = (struct promotion){
		.ticket = ticket,
		.control = control,
		.key = options.key,
		.to = wanted->to,
		.before = before,
		.accept_loss = wanted->accept_loss,
	};
	r = mr_coord_static_promote(control->peers->coord, &options, err);
	if (r == -EALREADY) {
		promoted(promotion, r, err);
		return 0;
	}
	if (r < 0)
		free(promotion);
	else
		say_taken_over(hosted, before);
	return r;
}
