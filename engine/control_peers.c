/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed on the control thread: started before the workers, which get their ports from it; who is
 * connected, and what arrives as notices (control_peers.h). A host without peers, and without
 * topics that have replicas, has none of this.
 */
#include "control_peers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"

#define EVENTS_A_TURN 256

const char *mr_control_node_name(const struct mr_control *control, uint32_t node, char room[16])
{
	const struct mr_config_peer *peer = mr_config_peer_numbered(control->config, node);

	if (node == control->config->number)
		return control->config->node;
	if (peer)
		return peer->name;
	snprintf(room, 16, "%u", node);
	return room;
}

const char *mr_control_node_list(const struct mr_control *control, uint64_t nodes, char *text,
				 size_t bytes)
{
	size_t used = 0;
	char room[16];

	snprintf(text, bytes, "none");
	for (; nodes && used < bytes; nodes &= nodes - 1)
		used += (size_t)snprintf(
			text + used, bytes - used, "%s%s", used ? ", " : "",
			mr_control_node_name(control, (uint32_t)__builtin_ctzll(nodes), room));
	return text;
}

int mr_control_node_number(const struct mr_control *control, const char *name, uint32_t *node)
{
	const struct mr_config_peer *peer = mr_config_peer_find(control->config, name);

	if (!peer && strcmp(name, control->config->node) != 0)
		return -ENOENT;
	*node = peer ? peer->number : control->config->number;
	return 0;
}

/* ---- notices --------------------------------------------------------------------------------- */

void mr_control_tell(struct mr_control_peers *peers, uint64_t nodes, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);
	uint64_t left = nodes & peers->connected;
	int r = text ? 0 : -ENOMEM;

	for (; text && left; left &= left - 1) {
		int one = mr_feed_notify(peers->feed, __builtin_ctzll(left), text, strlen(text));

		/* whoever is gone meanwhile hears all of it when it is back */
		if (one < 0 && one != -ENOTCONN)
			r = one;
	}
	if (r < 0)
		mr_diag_warn("a peer was not told", "error=\"%s\"", strerrordesc_np(-r));
	free(text);
	json_decref(json);
}

static void heard(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	struct mr_error err = {0};
	json_error_t why;
	json_t *json = json_loadb(event->text, event->bytes, JSON_REJECT_DUPLICATES, &why);
	char room[16];
	int r = 0;

	if (!json_object_get(json, "topic"))
		mr_control_catalog_settle(peers);
	if (!json)
		r = mr_error_set(&err, -EBADMSG, "it is no JSON: %s", why.text);
	else if (json_object_get(json, "coord"))
		r = mr_coord_static_heard(peers->coord, event->node, event->text, event->bytes,
					  &err);
	else if (!mr_control_catalog_heard(peers, event->node, json) &&
		 !mr_control_names_heard(peers, event->node, json) &&
		 !mr_control_commits_heard(peers, event->node, json) &&
		 !mr_control_disk_heard(peers, event->node, json) &&
		 !mr_control_pipelines_heard(peers, event->node, json))
		r = mr_error_set(&err, -EBADMSG, "its kind is not known here");
	if (r < 0)
		mr_diag_warn("a notice is not understood", "peer=%s error=\"%s\"",
			     mr_control_node_name(peers->control, event->node, room), err.what);
	json_decref(json);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Topics first: what the coordinator says of their registers finds them there. */
static void connected(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	char room[16];

	peers->connected |= mr_node_bit(event->node);
	peers->told_old &= ~mr_node_bit(event->node);
	mr_diag_notice("a peer is connected", "peer=%s start=%" PRIu64,
		       mr_control_node_name(peers->control, event->node, room), event->incarnation);
	mr_control_catalog_tell_all(peers, event->node);
	mr_control_names_tell_all(peers, event->node);
	mr_coord_static_connected(peers->coord, event->node, event->incarnation);
	mr_control_commits_tell_all(peers, event->node);
	mr_control_pipelines_tell_all(peers, event->node);
	mr_control_disk_tell(peers, event->node);
}

static void disconnected(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	char room[16];

	peers->connected &= ~mr_node_bit(event->node);
	peers->ask_commits &= ~mr_node_bit(event->node);
	peers->ask_topics &= ~mr_node_bit(event->node);
	mr_diag_warn("a peer is gone", "peer=%s why=\"%s\"",
		     mr_control_node_name(peers->control, event->node, room),
		     event->text ? event->text : "");
	mr_coord_static_disconnected(peers->coord, event->node);
}

/* By its words: they come from the other host, too, and are for people as this is. */
const char *mr_control_peer_hint(const char *why)
{
	static const struct {
		const char *words, *hint;
	} rows[] = {
		{"another cluster", "say the same 'cluster' in both configurations"},
		{"certificate", "use certificates of one authority on both: millrace cert init"},
		{"TLS", "give both configurations 'tls', or neither"},
		{"is no peer of", "compare 'node', 'number' and 'peers' in both configurations"},
		{"of two nodes", "compare 'node', 'number' and 'peers' in both configurations"},
		{"its number is", "give each host a number of its own"},
		{"knows it as", "compare 'node' there with its name in 'peers' here"},
		{"at the address of", "compare the addresses in 'peers'"},
		{"refused", "start the engine there, or compare 'listen' there with 'peers' here"},
		{"heard nothing",
		 "look at the engine there: it may be stopped, or its host overloaded"},
		{"no hello in time",
		 "look at the engine there: it may be stopped, or its host overloaded"},
		{"timed out", "look at the network and its firewalls between the hosts"},
		{"No route", "look at the network and its firewalls between the hosts"},
	};

	for (size_t i = 0; why && i < mr_array_count(rows); i++)
		if (strstr(why, rows[i].words))
			return rows[i].hint;
	return "";
}

static void refused(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	char room[16];

	mr_diag_warn("no connection with a peer", "peer=%s why=\"%s\" do=\"%s\"",
		     event->node < MR_NODES_MAX
			     ? mr_control_node_name(peers->control, event->node, room)
			     : "(not known)",
		     event->text ? event->text : "", mr_control_peer_hint(event->text));
}

/* Also one of a topic that is out of the catalogue already. */
static struct mr_hosted *find_any(struct mr_control *control, const uint8_t topic_id[16],
				  int32_t partition)
{
	struct mr_topic *topic = mr_topics_find_id(&control->topics, topic_id);
	struct mr_hosted_topic *hosted = topic ? topic->owner : control->deleted;

	while (!topic && hosted && memcmp(hosted->topic->id, topic_id, 16) != 0)
		hosted = hosted->next;
	if (!hosted || partition < 0 || partition >= hosted->topic->partition_count)
		return NULL;
	return &hosted->partitions[partition];
}

/* A follower lags, and what it lacks cannot be read here. */
static void unreadable(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	struct mr_control *control = peers->control;
	struct mr_hosted *hosted = find_any(control, event->topic_id, event->partition);
	char where[MR_TOPIC_NAME_MAX + 120], room[16];
	struct mr_error err;

	if (!hosted || !event->text)
		return;
	mr_error_set(&err, event->status, "%s", event->text);
	if (event->status == -EBADMSG)
		hosted->damage = err;
	snprintf(where, sizeof(where), "topic=%s partition=%d peer=%s", hosted->topic->name,
		 hosted->number, mr_control_node_name(control, event->node, room));
	(void)mr_trouble_met(&hosted->read_trouble, mr_clock_monotonic_ns(control->clock),
			     "what a follower lacks cannot be read from the log here", where, &err);
}

static void take_event(struct mr_control_peers *peers, const struct mr_feed_event *event)
{
	struct mr_hosted *hosted;

	if (event->kind != MR_FEED_EVENT_NOTICE)
		mr_control_catalog_settle(peers);
	switch (event->kind) {
	case MR_FEED_EVENT_NOTHING:
		break;
	case MR_FEED_EVENT_CONNECTED:
		connected(peers, event);
		break;
	case MR_FEED_EVENT_DISCONNECTED:
		disconnected(peers, event);
		break;
	case MR_FEED_EVENT_NOTICE:
		heard(peers, event);
		break;
	case MR_FEED_EVENT_REFUSED:
		refused(peers, event);
		break;
	case MR_FEED_EVENT_UNREADABLE:
		unreadable(peers, event);
		break;
	case MR_FEED_EVENT_UNROUTED:
		hosted = find_any(peers->control, event->topic_id, event->partition);
		mr_assert(hosted != NULL); /* it is not let go before */
		mr_control_unrouted(hosted);
		break;
	}
}

void mr_control_peers_turn(struct mr_control *control)
{
	struct mr_control_peers *peers = control->peers;
	uint32_t count;

	if (!peers || !peers->feed) /* a start that failed half way is taken down */
		return;
	for (count = 0; count < EVENTS_A_TURN; count++) {
		struct mr_feed_event event = mr_feed_take(peers->feed);

		if (event.kind == MR_FEED_EVENT_NOTHING)
			break;
		take_event(peers, &event);
		free(event.text);
	}
	mr_control_catalog_turn(peers);
	mr_control_cuts_turn(peers);
	mr_control_coord_turn(peers);
}

void mr_control_peers_second(struct mr_control *control)
{
	struct mr_control_peers *peers = control->peers;

	if (!peers)
		return;
	mr_control_report_second(peers);
	mr_control_coord_second(peers);
	mr_control_routes_second(peers);
	mr_control_catalog_second(peers);
	mr_control_names_second(peers);
	mr_control_commits_second(peers);
	mr_control_disk_second(peers);
	mr_control_waits_second(peers);
	mr_control_sync_second(peers);
	mr_control_trust_second(peers);
	mr_control_coord_turn(peers);
}

bool mr_control_peers_sleep(struct mr_control *control)
{
	return !control->peers || mr_feed_sleep(control->peers->feed);
}

void mr_control_peers_wake(struct mr_control *control)
{
	if (control->peers)
		mr_feed_wake(control->peers->feed);
}

/* ---- start and end --------------------------------------------------------------------------- */

/* Events are taken in every round of the loop: here is nothing left to do. */
static void feed_ready(struct mr_local_source *source, uint32_t events)
{
	(void)source;
}

static int start_feed(struct mr_control_peers *peers, struct mr_error *err)
{
	struct mr_control *control = peers->control;
	const struct mr_config *config = control->config;
	struct mr_feed_peer_options *rows = calloc(config->peer_count + 1, sizeof(*rows));
	struct mr_feed_options options = {
		.place = mr_place_find(&control->plan, MR_PLACE_CHORES),
		.clock = control->clock,
		.io = control->io,
		.node = config->number,
		.name = config->node,
		.listen = config->listen[0] ? config->listen : NULL,
		.incarnation = mr_incarnation(control->checkpoint.log_id,
					      control->checkpoint.engine_start),
		.peers = rows,
		.peer_count = (uint32_t)config->peer_count,
		.worker_count = control->plan.worker_count,
		.version_max = control->feed_version_max, /* 0: as the feed speaks */
		.catch_up_bytes_per_second = config->catch_up_bytes_per_second,
	};
	int r = rows ? mr_control_trust_open(peers, &options.trust, err)
		     : mr_error_set(err, -ENOMEM, "no memory for %zu peers", config->peer_count);

	mr_config_cluster_id(config, options.cluster_id);
	memcpy(options.log_id, control->checkpoint.log_id, 16);
	for (size_t i = 0; r == 0 && i < config->peer_count; i++) {
		rows[i].node = config->peers[i].number;
		rows[i].name = config->peers[i].name;
		rows[i].address = config->peers[i].address;
		rows[i].bytes_per_second = config->peers[i].bytes_per_second;
	}
	if (r == 0)
		r = mr_feed_start(&options, &peers->feed, err);
	free(rows);
	return r;
}

static bool any_replicated(const struct mr_topics *topics)
{
	for (size_t i = 0; i < topics->count; i++)
		if (mr_topic_replicated(topics->topics[i]))
			return true;
	return false;
}

int mr_control_peers_open(struct mr_control *control, struct mr_error *err)
{
	const struct mr_config *config = control->config;
	struct mr_control_peers *peers;
	int r;

	if (!config->peer_count && !config->listen[0] && !any_replicated(&control->topics))
		return 0;
	peers = calloc(1, sizeof(*peers));
	if (!peers)
		return mr_error_set(err, -ENOMEM, "no memory for peers");
	peers->control = control;
	control->peers = peers;
	mr_control_names_open(peers);
	r = mr_control_coord_open(peers, err);
	if (r == 0)
		r = start_feed(peers, err);
	if (r == 0)
		r = mr_control_watch_fd(control, mr_feed_fd(peers->feed), &peers->feed_source,
					feed_ready, err);
	return r;
}

struct mr_feed_port *mr_control_peers_port(struct mr_control *control, uint32_t worker)
{
	return control->peers ? mr_feed_port(control->peers->feed, worker) : NULL;
}

void mr_control_peers_close(struct mr_control *control)
{
	struct mr_control_peers *peers = control->peers;

	if (!peers)
		return;
	mr_feed_stop(peers->feed);
	mr_control_coord_close(peers);
	mr_control_names_close(peers);
	free(peers->heard);
	free(peers);
	control->peers = NULL;
}
