/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For people: how this host and its peers stand (control_peers.h). Nothing here is guessed: what is
 * not known is left out. Numbers that belong together are read one after the other while workers go
 * on, so that they may differ by what happened meanwhile.
 */
#include <inttypes.h>
#include <string.h>

#include "base/diag.h"
#include "control_peers.h"

#define MS_NS UINT64_C(1000000)

static uint64_t known(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed); /* relaxed: for people */
}

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *node_json(const struct mr_control *control, int32_t node)
{
	char room[16];

	return node < 0 ? json_null()
			: json_string(mr_control_node_name(control, (uint32_t)node, room));
}

static json_t *nodes_json(const struct mr_control *control, uint64_t nodes)
{
	json_t *list = json_array();

	for (; nodes; nodes &= nodes - 1)
		json_array_append_new(list, node_json(control, __builtin_ctzll(nodes)));
	return list;
}

static uint64_t since_ms(const struct mr_control *control, uint64_t then_ns)
{
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);

	return now_ns > then_ns ? (now_ns - then_ns) / MS_NS : 0;
}

/* ---- one partition --------------------------------------------------------------------------- */

static const char *role_word(uint32_t role)
{
	return role == MR_ROLE_LEADER ? "leader" : role == MR_ROLE_FOLLOWER ? "follower" : "none";
}

static const char *step_word(uint32_t step)
{
	static const char *const words[] = {
		[MR_FOLLOW_ASK] = "asks where the logs part",
		[MR_FOLLOW_TRUNCATE] = "cuts its log",
		[MR_FOLLOW_FETCH] = "fetches",
		[MR_FOLLOW_STATE] = "gets its leader's state",
	};

	return step < sizeof(words) / sizeof(words[0]) ? words[step] : "";
}

/* Bytes in the log from 'offset' to its end: of whole groups, so at most so many. */
static uint64_t bytes_from(const struct mr_hosted *hosted, uint64_t offset, uint64_t end_offset)
{
	const struct mr_tail *tail = mr_worker_partition_tail(hosted->part);
	uint64_t end = known(&tail->page->appended);
	struct mr_log_place place;

	if (offset >= end_offset || !hosted->files ||
	    mr_log_files_find_offset(hosted->files, offset, &place) < 0)
		return 0;
	return end > place.group_position ? end - place.group_position : 0;
}

struct span {
	uint64_t start, end;
};

static struct span kept(const struct mr_hosted *hosted)
{
	const struct mr_tail *tail = mr_worker_partition_tail(hosted->part);

	return (struct span){.start = known(&tail->page->log_start_offset),
			     .end = known(&tail->page->appended_offset)};
}

/* One of a leader's replicas: the disk has so much of it. */
static json_t *replica_json(const struct mr_hosted *hosted, uint32_t node,
			    const struct mr_worker_replica_view *view, uint64_t isr)
{
	const struct mr_control *control = hosted->control;
	const struct mr_worker_replica_peer_view *peer = &view->peers[node];
	struct span span = kept(hosted);
	uint64_t flushed = known(&peer->flushed), changed = known(&peer->changed_ns);
	uint64_t caught_up = known(&peer->caught_up_ns);
	bool behind = flushed < span.end;
	json_t *row = json_pack(
		"{s:o, s:b, s:o, s:o, s:o}", "node", node_json(control, (int32_t)node), "in_sync",
		(int)(isr >> node & 1), "flushed_offset", number(flushed), "lag_records",
		number(behind ? span.end - flushed : 0), "lag_bytes",
		number(behind ? bytes_from(hosted, flushed > span.start ? flushed : span.start,
					   span.end)
			      : 0));

	if (!behind)
		json_object_set_new(row, "lag_ms", json_integer(0));
	else if (caught_up)
		json_object_set_new(row, "lag_ms", number(since_ms(control, caught_up)));
	if (changed)
		json_object_set_new(row, "since_ms", number(since_ms(control, changed)));
	if (!(isr >> node & 1))
		json_object_set_new(row, "why",
				    json_string(mr_control_sync_why(control->peers, node, peer)));
	return row;
}

static void add_followers(json_t *row, const struct mr_hosted *hosted,
			  const struct mr_worker_replica_view *view)
{
	uint64_t left = hosted->topic->replicas & ~mr_node_bit(hosted->control->config->number);
	uint64_t isr = known(&view->isr);
	json_t *list = json_array();

	for (; left; left &= left - 1)
		json_array_append_new(
			list, replica_json(hosted, (uint32_t)__builtin_ctzll(left), view, isr));
	json_object_set_new(row, "followers", list);
}

static void add_following(json_t *row, const struct mr_hosted *hosted,
			  const struct mr_worker_replica_view *view)
{
	struct span span = kept(hosted);
	uint64_t end = known(&view->leader_end);

	json_object_set_new(row, "step",
			    json_string(step_word((uint32_t)atomic_load_explicit(
				    &view->step, memory_order_relaxed))));
	/* relaxed: for people */
	if (mr_control_follow_why(hosted)[0])
		json_object_set_new(row, "why", json_string(mr_control_follow_why(hosted)));
	if (end)
		json_object_set_new(row, "lag_records",
				    number(end > span.end ? end - span.end : 0));
}

/* What its register says; 'held': it waits for word of these hosts. */
static void add_register(json_t *row, const struct mr_hosted *hosted)
{
	const struct mr_control *control = hosted->control;
	struct mr_coord_key key = {.partition = hosted->number};
	struct mr_coord_state state;
	uint64_t not_heard_of = 0, unconfirmed;

	memcpy(key.topic_id, hosted->topic->id, 16);
	if (!control->peers ||
	    mr_coord_static_known(control->peers->coord, &key, &state, &not_heard_of) < 0)
		return;
	json_object_set_new(row, "leader", node_json(control, state.leader));
	json_object_set_new(row, "leader_epoch", json_integer(state.leader_epoch));
	json_object_set_new(row, "isr", nodes_json(control, state.isr));
	json_object_set_new(row, "register_version", number(state.version));
	if (not_heard_of)
		json_object_set_new(row, "waits_for", nodes_json(control, not_heard_of));
	unconfirmed = mr_coord_static_unconfirmed(control->peers->coord, &key);
	if (unconfirmed)
		json_object_set_new(row, "not_written_by", nodes_json(control, unconfirmed));
}

void mr_control_add_replica(struct json_t *row, const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view =
		hosted->part ? mr_worker_partition_replica(hosted->part) : NULL;
	uint32_t role;

	if (!mr_topic_replicated(hosted->topic))
		return;
	add_register(row, hosted);
	if (!view)
		return;
	role = atomic_load_explicit(&view->role, memory_order_relaxed); /* relaxed: for people */
	json_object_set_new(row, "role", json_string(role_word(role)));
	json_object_set_new(row, "truncations", number(known(&view->truncations)));
	if (role == MR_ROLE_LEADER)
		add_followers(row, hosted, view);
	else if (role == MR_ROLE_FOLLOWER)
		add_following(row, hosted, view);
}

void mr_control_add_replicas(struct json_t *row, const struct mr_control *control,
			     const struct mr_topic *topic)
{
	if (!mr_topic_replicated(topic))
		return;
	json_object_set_new(row, "replicas", nodes_json(control, topic->replicas));
	json_object_set_new(row, "min_insync_replicas",
			    json_integer((json_int_t)topic->min_insync_replicas));
	json_object_set_new(row, "leaders",
			    topic->leaders == MR_TOPIC_LEADERS_SPREAD
				    ? json_string(MR_CONFIG_LEADERS_SPREAD)
				    : node_json(control, topic->leaders));
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* Every second: of what has passed since, the rates are made. */
void mr_control_report_second(struct mr_control_peers *peers)
{
	uint64_t now_ns = mr_clock_monotonic_ns(peers->control->clock);

	peers->sampled[1] = peers->sampled[0];
	peers->sampled[0].at_ns = now_ns;
	peers->sampled[0].count =
		mr_feed_peers(peers->feed, peers->sampled[0].peers, MR_CONFIG_HOSTS_MAX);
}

static const struct mr_feed_peer_status *find_sample(const struct mr_peer_samples *samples,
						     uint32_t node)
{
	for (uint32_t i = 0; i < samples->count; i++)
		if (samples->peers[i].node == node)
			return &samples->peers[i];
	return NULL;
}

static void add_rates(json_t *row, const struct mr_control_peers *peers, uint32_t node)
{
	const struct mr_feed_peer_status *now = find_sample(&peers->sampled[0], node);
	const struct mr_feed_peer_status *before = find_sample(&peers->sampled[1], node);
	double seconds = (double)(peers->sampled[0].at_ns - peers->sampled[1].at_ns) / 1e9;

	if (!now || !before || seconds <= 0)
		return;
	json_object_set_new(
		row, "sent_bytes_per_second",
		number((uint64_t)((double)(now->sent_bytes - before->sent_bytes) / seconds)));
	json_object_set_new(
		row, "received_bytes_per_second",
		number((uint64_t)((double)(now->received_bytes - before->received_bytes) /
				  seconds)));
}

/* Everything on the wire, heads and notices too, for each record that went. */
static void add_per_record(json_t *row, const char *name, uint64_t bytes, uint64_t records)
{
	if (records)
		json_object_set_new(row, name, json_real((double)bytes / (double)records));
}

static json_t *peer_json(const struct mr_control_peers *peers,
			 const struct mr_feed_peer_status *peer)
{
	const struct mr_config_peer *row_of;
	json_t *row = json_pack(
		"{s:s, s:i, s:s, s:b, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "node",
		peer->name, "number", (int)peer->node, "address", peer->address, "connected",
		(int)peer->connected, "since_ms", number(since_ms(peers->control, peer->since_ns)),
		"security", peer->security, "last_error", peer->last_error, "sent_bytes",
		number(peer->sent_bytes), "received_bytes", number(peer->received_bytes),
		"sent_batch_bytes", number(peer->sent_batch_bytes), "received_batch_bytes",
		number(peer->received_batch_bytes), "sent_records", number(peer->sent_records),
		"received_records", number(peer->received_records), "refused",
		number(peer->refused));

	if (peer->connected)
		json_object_set_new(row, "feed_version", json_integer(peer->version));
	if (peer->connected && peer->rtt_us)
		json_object_set_new(row, "rtt_us", json_integer(peer->rtt_us));
	json_object_set_new(row, "sent_plain_bytes", number(peer->sent_plain_bytes));
	json_object_set_new(row, "received_plain_bytes", number(peer->received_plain_bytes));
	add_per_record(row, "sent_bytes_per_record", peer->sent_bytes, peer->sent_records);
	add_per_record(row, "received_bytes_per_record", peer->received_bytes,
		       peer->received_records);
	add_rates(row, peers, peer->node);
	row_of = mr_config_peer_numbered(peers->control->config, peer->node);
	if (row_of)
		json_object_set_new(row, "bytes_per_second_max", number(row_of->bytes_per_second));
	if (peer->connected && peer->heard_ns)
		json_object_set_new(row, "heard_ms",
				    number(since_ms(peers->control, peer->heard_ns)));
	json_object_set_new(row, "silent", json_boolean(peer->silent));
	if (peer->silent)
		json_object_set_new(row, "do", json_string(mr_control_peer_hint("heard nothing")));
	if (!peer->connected)
		json_object_set_new(row, "do", json_string(mr_control_peer_hint(peer->last_error)));
	if (peer->connected && peers->disks[peer->node].kind != MR_DISK_WELL) {
		json_object_set_new(row, "disk", mr_control_disk_json(&peers->disks[peer->node]));
		json_object_set_new(row, "do",
				    json_string(mr_control_disk_hint(&peers->disks[peer->node])));
	}
	if (peers->record_bytes_max[peer->node])
		json_object_set_new(row, "record_bytes_max",
				    number(peers->record_bytes_max[peer->node]));
	return row;
}

static json_t *replicated_json(struct mr_control *control)
{
	json_t *list = json_array();
	struct mr_hosted *hosted;

	mr_control_each(control, hosted)
	{
		json_t *row;

		if (!mr_topic_replicated(hosted->topic))
			continue;
		row = json_pack("{s:s, s:i}", "topic", hosted->topic->name, "partition",
				(int)hosted->number);
		mr_control_add_replica(row, hosted);
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *clashes_json(const struct mr_control_peers *peers)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < peers->clash_count; i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:o}", "topic", peers->clashes[i].name, "node",
				  node_json(peers->control, (int32_t)peers->clashes[i].node)));
	return list;
}

struct json_t *mr_control_peers_json(struct mr_control *control)
{
	struct mr_feed_peer_status peers[MR_CONFIG_HOSTS_MAX];
	json_t *list = json_array();
	uint32_t count = control->peers
				 ? mr_feed_peers(control->peers->feed, peers, MR_CONFIG_HOSTS_MAX)
				 : 0;
	json_t *all;

	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, peer_json(control->peers, &peers[i]));
	all = json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:o}", "node", control->config->node,
			"number", (int)control->config->number, "cluster", control->config->cluster,
			"record_bytes_max", number(control->config->record_bytes_max), "peers",
			list, "partitions", replicated_json(control), "same_name",
			control->peers ? clashes_json(control->peers) : json_array());
	if (control->peers && control->peers->own_disk.kind != MR_DISK_WELL)
		json_object_set_new(all, "disk", mr_control_disk_json(&control->peers->own_disk));
	mr_control_add_certificates(all, control);
	return all;
}

/* ---- what exists on one disk only ------------------------------------------------------------ */

/* The replica beside this one that has most on its disk; its time is when it was caught up. */
static uint64_t best_other(const struct mr_hosted *hosted,
			   const struct mr_worker_replica_view *view, uint64_t *caught_up_ns)
{
	uint64_t left = hosted->topic->replicas & ~mr_node_bit(hosted->control->config->number);
	uint64_t best = 0;

	*caught_up_ns = 0;
	for (; left; left &= left - 1) {
		const struct mr_worker_replica_peer_view *peer =
			&view->peers[__builtin_ctzll(left)];
		uint64_t flushed = known(&peer->flushed);

		if (flushed < best || !flushed)
			continue;
		best = flushed;
		*caught_up_ns = known(&peer->caught_up_ns);
	}
	return best;
}

/* From 'from' on nobody else is known to have it. */
static json_t *alone_json(const struct mr_hosted *hosted, uint64_t from, uint64_t since_ns)
{
	struct span span = kept(hosted);
	json_t *row;

	if (from < span.start)
		from = span.start;
	if (from >= span.end)
		return NULL;
	row = json_pack("{s:s, s:i, s:b, s:o, s:o}", "topic", hosted->topic->name, "partition",
			(int)hosted->number, "replicated", (int)mr_topic_replicated(hosted->topic),
			"records", number(span.end - from), "bytes",
			number(bytes_from(hosted, from, span.end)));
	if (since_ns)
		json_object_set_new(row, "ms", number(since_ms(hosted->control, since_ns)));
	return row;
}

/* NULL: other disks have all of it, or the leader is to be asked. */
static json_t *on_one_disk(const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view = mr_worker_partition_replica(hosted->part);
	uint64_t caught_up_ns = 0, from = 0;

	if (!view && mr_topic_replicated(hosted->topic))
		return NULL;
	if (!view)
		return alone_json(hosted, 0, 0);
	/* relaxed: for people */
	if (atomic_load_explicit(&view->role, memory_order_relaxed) != MR_ROLE_LEADER)
		return NULL;
	from = best_other(hosted, view, &caught_up_ns);
	return alone_json(hosted, from, caught_up_ns);
}

static json_t *promotion_json(const struct mr_control *control,
			      const struct mr_coord_promoted *promoted)
{
	const struct mr_topic *topic = mr_topics_find_id(&control->topics, promoted->key.topic_id);
	char id[33];

	mr_topic_id_text(promoted->key.topic_id, id);
	return json_pack("{s:s, s:i, s:o, s:o, s:b, s:I, s:o}", "topic", topic ? topic->name : id,
			 "partition", (int)promoted->key.partition, "from",
			 node_json(control, promoted->from), "to", node_json(control, promoted->to),
			 "loss_accepted", (int)promoted->taken_over, "wall_ms",
			 (json_int_t)promoted->wall_ms, "in_sync_before",
			 nodes_json(control, promoted->isr));
}

static json_t *promotions_json(const struct mr_control *control)
{
	json_t *list = json_array();
	const struct mr_coord_promoted *promoted;
	uint32_t count = 0, i;

	if (!control->peers)
		return list;
	promoted = mr_coord_static_promoted(control->peers->coord, &count);
	for (i = 0; i < count; i++)
		json_array_append_new(list, promotion_json(control, &promoted[i]));
	return list;
}

/* One that was met while the engine runs would not be seen by a start. */
static const char *damage_hint(const struct mr_hosted *hosted)
{
	const struct mr_worker_replica_view *view = mr_worker_partition_replica(hosted->part);
	uint64_t others =
		view ? known(&view->isr) & ~mr_node_bit(hosted->control->config->number) : 0;

	if (hosted->state == MR_HOSTED_READ_ONLY) /* a replica's mends itself, or it waits */
		return mr_topic_replicated(hosted->topic) ? "" : hosted->reason.hint;
	if (others)
		return "let another host lead (millrace promote), stop this engine, then millrace "
		       "repair --accept-loss: at its next start it copies all of it again";
	return "no other host is in sync to copy from: millrace repair, while this engine is "
	       "stopped, says what would be lost";
}

/* NULL: nothing of it is known to be. */
static json_t *damage_json(const struct mr_hosted *hosted)
{
	const struct mr_error *damage = mr_hosted_damage(hosted);

	if (!damage->code)
		return NULL;
	return json_pack("{s:s, s:i, s:s, s:s}", "topic", hosted->topic->name, "partition",
			 (int)hosted->number, "what", damage->what, "do", damage_hint(hosted));
}

static const char *status_word(const struct mr_control *control, const json_t *waits,
			       const json_t *damaged)
{
	if (control->failed)
		return "degraded";
	if (json_array_size(damaged))
		return "damaged";
	return json_array_size(waits) ? "waiting" : "ok";
}

struct json_t *mr_control_status_json(struct mr_control *control)
{
	json_t *alone = json_array(), *waits = mr_control_waits_json(control, NULL);
	json_t *damaged = json_array();
	struct mr_hosted *hosted;
	json_t *all;

	mr_control_each(control, hosted)
	{
		if (!hosted->part || mr_topic_in_memory(hosted->topic))
			continue;
		(void)json_array_append_new(alone, on_one_disk(hosted));   /* or NULL */
		(void)json_array_append_new(damaged, damage_json(hosted)); /* or NULL */
	}
	all = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "node", control->config->node,
			"state", status_word(control, waits, damaged), "reason",
			control->failed ? control->failure.what : "", "waits", waits, "damaged",
			damaged, "on_one_disk", alone, "promotions", promotions_json(control),
			"cannot_write", mr_control_disks_json(control));
	mr_control_add_certificates(all, control);
	return all;
}
