/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For people: which partitions acknowledge nothing now, why, since when, and what to do about it
 * (control_peers.h). Looked at every second, so that 'since' is about right, and when somebody
 * asks. Control thread.
 */
#include <string.h>

#include "control_peers.h"

#define MS_NS UINT64_C(1000000)

/* What hinders a partition: what of it is told. */
struct wait {
	enum wait_kind {
		WAIT_NONE,
		WAIT_ENDED,	   /* hosted->reason says why */
		WAIT_DAMAGED,	   /* and nobody else is in sync */
		WAIT_SPACE,	   /* the disk is full */
		WAIT_WORD,	   /* of 'hosts': a start must hear of them first */
		WAIT_CONFIRM,	   /* 'hosts' have not written down who is in sync */
		WAIT_NOBODY,	   /* leads */
		WAIT_BEGIN,	   /* who leads begins to, in a moment */
		WAIT_LEADER,	   /* cannot be reached: 'leader' */
		WAIT_IN_SYNC_AWAY, /* too few are in sync and here: 'hosts' are away */
		WAIT_IN_SYNC,	   /* too few are in sync: 'hosts' are catching up */
		WAIT_DISK,	   /* 'hosts' are in sync, and cannot write to their disks */
		WAIT_MEMBER,	   /* 'hosts' are in sync and away: soon they are out */
	} kind;
	uint64_t hosts, isr;
	int32_t leader;
};

/*
 * Those of 'nodes' that cannot write down what this host has, by what they say: one that is short
 * of room may have all of it.
 */
static uint64_t cannot_write(const struct mr_hosted *hosted, uint64_t nodes)
{
	const struct mr_control_peers *peers = hosted->control->peers;
	const struct mr_worker_replica_view *view = mr_worker_partition_replica(hosted->part);
	const struct mr_tail *tail = mr_worker_partition_tail(hosted->part);
	uint64_t left = nodes & peers->connected, found = 0;
	/* relaxed: for people */
	uint64_t end = atomic_load_explicit(&tail->page->appended_offset, memory_order_relaxed);

	for (; left; left &= left - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(left);
		uint64_t flushed = atomic_load_explicit(&view->peers[node].flushed,
							memory_order_relaxed); /* as above */

		if (peers->disks[node].kind == MR_DISK_FAILED ||
		    (peers->disks[node].kind == MR_DISK_SHORT && flushed < end))
			found |= mr_node_bit(node);
	}
	return found;
}

/*
 * Connected, and not silent. A host that hangs keeps its connections for a while, and its kernel
 * takes what is sent to it: nothing is acknowledged in that time. As of the last second.
 */
static uint64_t answering(const struct mr_control_peers *peers)
{
	const struct mr_peer_samples *sample = &peers->sampled[0];
	uint64_t silent = 0;

	for (uint32_t i = 0; i < sample->count; i++)
		if (sample->peers[i].silent)
			silent |= mr_node_bit(sample->peers[i].node);
	return peers->connected & ~silent;
}

/* This host leads, or follows one that can be reached. */
static struct wait few_in_sync(const struct mr_hosted *hosted, const struct mr_coord_state *state)
{
	const struct mr_control *control = hosted->control;
	uint64_t here = mr_node_bit(control->config->number);
	uint64_t there = answering(control->peers) | here;
	uint64_t good = state->isr & there, out = hosted->topic->replicas & ~good;
	struct wait wait = {.isr = good, .leader = state->leader};

	if ((uint32_t)__builtin_popcountll(good) < mr_topic_least_in_sync(hosted->topic)) {
		wait.kind = out & ~there ? WAIT_IN_SYNC_AWAY : WAIT_IN_SYNC;
		wait.hosts = out & ~there ? out & ~there : out;
	} else if (state->leader == (int32_t)control->config->number && state->isr & ~there) {
		wait.kind = WAIT_MEMBER;
		wait.hosts = state->isr & ~there;
	} else if (state->leader == (int32_t)control->config->number &&
		   cannot_write(hosted, state->isr)) {
		wait.kind = WAIT_DISK;
		wait.hosts = cannot_write(hosted, state->isr);
	}
	return wait;
}

static struct wait look_at_register(const struct mr_hosted *hosted)
{
	const struct mr_control *control = hosted->control;
	const struct mr_worker_replica_view *view = mr_worker_partition_replica(hosted->part);
	struct mr_coord_key key = {.partition = hosted->number};
	struct mr_coord_state state;
	uint64_t unconfirmed;
	struct wait wait = {.kind = WAIT_BEGIN};
	uint32_t role = view ? (uint32_t)atomic_load_explicit(&view->role, memory_order_relaxed)
			     : MR_ROLE_NONE; /* relaxed: for people */

	memcpy(key.topic_id, hosted->topic->id, 16);
	if (!view || mr_coord_static_known(control->peers->coord, &key, &state, &wait.hosts) < 0)
		return wait;
	wait.leader = state.leader;
	wait.isr = state.isr;
	unconfirmed = mr_coord_static_unconfirmed(control->peers->coord, &key);
	if (wait.hosts) {
		wait.kind = WAIT_WORD;
	} else if (unconfirmed) {
		wait.kind = WAIT_CONFIRM;
		wait.hosts = unconfirmed;
	} else if (state.leader < 0) {
		wait.kind = WAIT_NOBODY;
	} else if (state.leader != (int32_t)control->config->number &&
		   !(answering(control->peers) >> state.leader & 1)) {
		wait.kind = WAIT_LEADER;
	} else if (role != MR_ROLE_NONE) {
		wait = few_in_sync(hosted, &state);
	}
	return wait;
}

static struct wait look(const struct mr_hosted *hosted)
{
	struct wait wait = {.kind = WAIT_NONE};

	if (hosted->state == MR_HOSTED_FAILED ||
	    (hosted->state == MR_HOSTED_READ_ONLY && !mr_topic_replicated(hosted->topic)))
		wait.kind = WAIT_ENDED;
	else if (hosted->no_space)
		wait.kind = WAIT_SPACE;
	else if (mr_topic_replicated(hosted->topic) && hosted->control->peers && hosted->part)
		wait = look_at_register(hosted);
	if (hosted->state == MR_HOSTED_READ_ONLY && wait.kind != WAIT_ENDED &&
	    !(wait.isr & ~mr_node_bit(hosted->control->config->number)))
		wait.kind = WAIT_DAMAGED;
	return wait;
}

/* ---- in words -------------------------------------------------------------------------------- */

#define REACH                                                                                      \
	"start %s, or make it reachable: millrace peers says what is wrong. Is it gone for good: " \
	"millrace promote TOPIC/PARTITION --accept-loss --old-leader-is-stopped"

/* Of hosts that do not answer. */
static const char *away_word(const struct mr_control *control, uint64_t hosts)
{
	return hosts & control->peers->connected ? "silent" : "not connected";
}

static void words_of_sync(const struct mr_hosted *hosted, const struct wait *wait,
			  struct mr_error *out)
{
	const struct mr_control *control = hosted->control;
	bool away = wait->kind == WAIT_IN_SYNC_AWAY;
	char isr[200], hosts[200];

	mr_control_node_list(control, wait->isr, isr, sizeof(isr));
	mr_control_node_list(control, wait->hosts, hosts, sizeof(hosts));
	mr_error_why(out, "in sync: %s; min_insync_replicas is %u; %s: %s", isr,
		     mr_topic_least_in_sync(hosted->topic),
		     away ? away_word(control, wait->hosts) : "not in sync yet", hosts);
	if (away && wait->hosts & control->peers->connected)
		mr_error_hint(out, "%s", mr_control_peer_hint("heard nothing"));
	else if (away)
		mr_error_hint(out,
			      "start %s, or make it reachable: millrace peers says what is "
			      "wrong",
			      hosts);
	else if (cannot_write(hosted, wait->hosts))
		mr_error_hint(out, "wait: millrace status says which disk cannot be written to");
	else
		mr_error_hint(out, "wait: millrace peers says how much is missing");
}

/* A change that its members must know durably, before anybody acts on it. */
static void words_of_change(const struct mr_hosted *hosted, const struct wait *wait,
			    struct mr_error *out)
{
	const struct mr_control *control = hosted->control;
	uint32_t least = mr_topic_least_in_sync(hosted->topic);
	uint64_t away = wait->hosts & ~control->peers->connected;
	char isr[200], hosts[200];

	mr_control_node_list(control, wait->isr, isr, sizeof(isr));
	mr_control_node_list(control, wait->hosts, hosts, sizeof(hosts));
	mr_error_why(out,
		     "in sync from now on: %s; min_insync_replicas is %u; that is not written down "
		     "yet by: %s",
		     isr, least, hosts);
	if (away)
		mr_control_node_list(control, away, hosts, sizeof(hosts));
	if (!away)
		mr_error_hint(out, "look at the disk and the messages of: %s", hosts);
	else if ((uint32_t)__builtin_popcountll(wait->isr & ~away) >= least)
		mr_error_hint(out, "start %s; or wait some seconds: this host goes on without it",
			      hosts);
	else
		mr_error_hint(out,
			      "start %s, or make it reachable. Is it gone for good: start this "
			      "engine anew, then millrace promote TOPIC/PARTITION --accept-loss "
			      "--old-leader-is-stopped",
			      hosts);
}

static void words_of_space(const struct mr_hosted *hosted, struct mr_error *out)
{
	uint64_t there, total;
	char takes[24], has[24];

	mr_error_why(out, "there is no space on the disk for its next segment");
	if (mr_io_space(hosted->control->io, &there, &total, NULL) < 0)
		return;
	mr_error_why(out,
		     "there is no space on the disk for its next segment: that takes %s, and %s "
		     "are free",
		     mr_control_bytes_text(
			     mr_control_segment_bytes(hosted, hosted->next_segment_bytes), takes),
		     mr_control_bytes_text(there, has));
}

static void words_of_damage(struct mr_error *out)
{
	mr_error_why(out, "its log is damaged here, and no other host is in sync to copy from: "
			  "millrace topic describe says more");
	mr_error_hint(out, "stop this engine; then, at a host that has most of it: millrace "
			   "promote TOPIC/PARTITION --accept-loss --old-leader-is-stopped; or "
			   "millrace repair here");
}

/* Into 'why' and 'hint'. */
static void words(const struct mr_hosted *hosted, const struct wait *wait, struct mr_error *out)
{
	const struct mr_control *control = hosted->control;
	uint64_t nodes = wait->leader >= 0 ? mr_node_bit((uint32_t)wait->leader) : 0;
	char hosts[200], room[16];
	const char *leader = wait->leader >= 0
				     ? mr_control_node_name(control, (uint32_t)wait->leader, room)
				     : "nobody";

	mr_control_node_list(control, wait->hosts, hosts, sizeof(hosts));
	switch (wait->kind) {
	case WAIT_NONE:
		break;
	case WAIT_ENDED:
		mr_error_why(out, "%s", hosted->reason.what);
		mr_error_hint(out, "%s", hosted->reason.hint);
		break;
	case WAIT_DAMAGED:
		words_of_damage(out);
		break;
	case WAIT_SPACE:
		words_of_space(hosted, out);
		mr_error_hint(out, "make room: it goes on by itself");
		break;
	case WAIT_WORD:
		mr_error_why(out,
			     "leader by what is known here: %s; not heard since this start: %s, "
			     "which may have been promoted",
			     leader, hosts);
		mr_error_hint(out, REACH, hosts);
		break;
	case WAIT_CONFIRM:
		words_of_change(hosted, wait, out);
		break;
	case WAIT_NOBODY:
		mr_error_why(out, wait->isr ? "nobody leads"
					    : "nobody leads, and no host is in sync any more: the "
					      "last one lost what it had");
		mr_error_hint(out,
			      "look at the others: millrace peers; then choose one: millrace "
			      "promote TOPIC/PARTITION --to HOST%s",
			      wait->isr ? "" : " --accept-loss --old-leader-is-stopped");
		break;
	case WAIT_BEGIN:
		mr_error_why(out, "who leads it is being settled");
		mr_error_hint(out, "wait a moment; if it lasts: millrace peers");
		break;
	case WAIT_LEADER:
		mr_error_why(out, "its leader is %s: %s", away_word(control, nodes), leader);
		if (nodes & control->peers->connected)
			mr_error_hint(out, "%s", mr_control_peer_hint("heard nothing"));
		else
			mr_error_hint(out, REACH, leader);
		break;
	case WAIT_IN_SYNC_AWAY:
	case WAIT_IN_SYNC:
		words_of_sync(hosted, wait, out);
		break;
	case WAIT_DISK:
		mr_error_why(out, "in sync, and cannot write to its disk: %s", hosts);
		mr_error_hint(out, "look at the disk of %s: millrace status there", hosts);
		break;
	case WAIT_MEMBER:
		mr_error_why(out, "in sync and %s, until it is taken out: %s",
			     away_word(control, wait->hosts), hosts);
		mr_error_hint(out, "wait some seconds; then: millrace peers");
		break;
	}
}

bool mr_control_wait_words(const struct mr_hosted *hosted, struct mr_error *out)
{
	struct wait wait = look(hosted);

	words(hosted, &wait, out);
	return wait.kind != WAIT_NONE;
}

/* ---- since when, and all of them ------------------------------------------------------------- */

static void note(struct mr_hosted *hosted, const struct wait *wait)
{
	if (wait->kind == WAIT_NONE)
		hosted->waits_since_ns = 0;
	else if (!hosted->waits_since_ns)
		hosted->waits_since_ns = mr_clock_monotonic_ns(hosted->control->clock);
}

void mr_control_waits_second(struct mr_control_peers *peers)
{
	struct mr_hosted *hosted;

	mr_control_each(peers->control, hosted)
	{
		struct wait wait = look(hosted);

		note(hosted, &wait);
	}
}

static json_t *row_of(const struct mr_hosted *hosted, const struct wait *wait)
{
	uint64_t now_ns = mr_clock_monotonic_ns(hosted->control->clock);
	struct mr_error text = {0};

	words(hosted, wait, &text);
	return json_pack("{s:s, s:i, s:s, s:s, s:I}", "topic", hosted->topic->name, "partition",
			 (int)hosted->number, "why", text.why, "do", text.hint, "for_ms",
			 (json_int_t)((now_ns - hosted->waits_since_ns) / MS_NS));
}

json_t *mr_control_waits_json(struct mr_control *control, const struct mr_topic *topic)
{
	json_t *rows = json_array();
	struct mr_hosted *hosted;

	mr_control_each(control, hosted)
	{
		struct wait wait;

		if (topic && hosted->topic != topic)
			continue;
		wait = look(hosted);
		note(hosted, &wait);
		if (wait.kind != WAIT_NONE)
			json_array_append_new(rows, row_of(hosted, &wait));
	}
	return rows;
}
