/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics that have replicas are the same on all hosts that have one (control_peers.h): made on any
 * of them, they appear on the others; deleted on any, they go everywhere, also on a host that was
 * away, since the ids of deleted ones are kept. Each connection begins with all that both have.
 *
 *	{"topic": {...}}		as in the catalogue
 *	{"topic_deleted": {...}}
 *	{"told": true}			that was all
 *	{"tell": "topics"}		once more: something could not be made
 *
 * A name that is there with another id was given on two hosts that did not hear of each other.
 *Which of the two was meant nobody knows, so both stay as they are, and it is said until a person
 *deletes one of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "control_peers.h"

#define SEGMENT_BYTES_LEAST (UINT64_C(1) << 20)
#define SEGMENT_BYTES_MOST  (UINT64_C(4) << 30)

/* ---- telling --------------------------------------------------------------------------------- */

static uint64_t others(const struct mr_control *control, uint64_t replicas)
{
	return replicas & ~mr_node_bit(control->config->number);
}

static void tell_topic(struct mr_control_peers *peers, uint64_t nodes, const struct mr_topic *topic)
{
	mr_control_tell(peers, nodes, json_pack("{s:o}", "topic", mr_topic_to_json(topic)));
}

static void tell_deleted(struct mr_control_peers *peers, uint64_t nodes,
			 const struct mr_topic_deleted *deleted)
{
	mr_control_tell(peers, nodes,
			json_pack("{s:o}", "topic_deleted", mr_topic_deleted_to_json(deleted)));
}

void mr_control_catalog_tell_all(struct mr_control_peers *peers, uint32_t node)
{
	const struct mr_topics *topics = &peers->control->topics;
	uint64_t bit = mr_node_bit(node);
	size_t i;

	for (i = 0; i < topics->count; i++)
		if (topics->topics[i]->replicas & bit)
			tell_topic(peers, bit, topics->topics[i]);
	for (i = 0; i < topics->deleted_count; i++)
		if (topics->deleted[i].replicas & bit)
			tell_deleted(peers, bit, &topics->deleted[i]);
	mr_control_tell(peers, bit, json_pack("{s:b}", "told", 1));
}

void mr_control_topic_made(struct mr_control *control, const struct mr_topic *topic)
{
	if (control->peers)
		tell_topic(control->peers, others(control, topic->replicas), topic);
}

void mr_control_topic_deleted(struct mr_control *control, const struct mr_topic *topic)
{
	struct mr_topic_deleted deleted = {.replicas = topic->replicas,
					   .deleted_ms = mr_clock_wall_ms(control->clock)};

	memcpy(deleted.id, topic->id, 16);
	if (control->peers)
		tell_deleted(control->peers, others(control, topic->replicas), &deleted);
}

/* ---- hearing --------------------------------------------------------------------------------- */

static void note_clash(struct mr_control_peers *peers, uint32_t node, const struct mr_topic *topic)
{
	struct mr_clash *clash = peers->clashes;
	struct mr_clash *end = clash + peers->clash_count;
	char room[16];

	while (clash < end && (clash->node != node || strcmp(clash->name, topic->name) != 0))
		clash++;
	mr_diag_warn("a topic of that name is another one here; both stay as they are: delete one "
		     "of them",
		     "topic=%s peer=%s", topic->name,
		     mr_control_node_name(peers->control, node, room));
	if (clash < end || peers->clash_count == MR_CLASHES_MAX)
		return;
	snprintf(clash->name, sizeof(clash->name), "%s", topic->name);
	clash->node = node;
	peers->clash_count++;
}

/* One of the two is gone. */
static void forget_clashes(struct mr_control_peers *peers, const char *name)
{
	uint32_t i = 0;

	while (i < peers->clash_count) {
		if (strcmp(peers->clashes[i].name, name) == 0)
			peers->clashes[i] = peers->clashes[--peers->clash_count];
		else
			i++;
	}
}

void mr_control_catalog_name_free(struct mr_control *control, const char *name)
{
	if (control->peers)
		forget_clashes(control->peers, name);
}

/* What a peer may ask this host to keep: whole, bounded, and with a replica on both. */
static bool fits(const struct mr_control_peers *peers, uint32_t node, const struct mr_topic *topic)
{
	uint64_t both = mr_node_bit(node) | mr_node_bit(peers->control->config->number);

	return (topic->replicas & both) == both && strncmp(topic->name, "__", 2) != 0 &&
	       topic->segment_bytes >= SEGMENT_BYTES_LEAST &&
	       topic->segment_bytes <= SEGMENT_BYTES_MOST &&
	       topic->tail_bytes <= SEGMENT_BYTES_MOST;
}

static void make_topic(struct mr_control_peers *peers, uint32_t node, struct mr_topic *topic)
{
	struct mr_control *control = peers->control;
	struct mr_error err = {0};
	char name[MR_TOPIC_NAME_MAX + 1], room[16];

	snprintf(name, sizeof(name), "%s", topic->name);
	/* R7: who has never compared catalogues with that host may have had this topic before */
	topic->lost = !(control->topics.met & mr_node_bit(node));
	if (mr_control_install_topic(control, topic, &err) == 0) {
		mr_diag_notice("a peer's topic was made here", "topic=%s peer=%s", name,
			       mr_control_node_name(control, node, room));
		return;
	}
	peers->ask_topics |= mr_node_bit(node);
	mr_diag_warn("a peer's topic cannot be made here", "topic=%s peer=%s error=\"%s\"", name,
		     mr_control_node_name(control, node, room), err.what);
}

static void heard_topic(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	struct mr_control *control = peers->control;
	const struct mr_topics *topics = &control->topics;
	struct mr_topic *topic = NULL;
	struct mr_error err = {0};
	char room[16];
	size_t i;

	if (mr_topic_from_json(row, &topic, &err) < 0 || !fits(peers, node, topic)) {
		mr_diag_warn("a peer's topic is none for this host", "peer=%s error=\"%s\"",
			     mr_control_node_name(control, node, room), err.what);
		free(topic);
		return;
	}
	for (i = 0; i < topics->deleted_count; i++)
		if (!memcmp(topics->deleted[i].id, topic->id, 16))
			tell_deleted(peers, mr_node_bit(node), &topics->deleted[i]);
	if (mr_topics_is_deleted(topics, topic->id) || mr_topics_find_id(topics, topic->id)) {
		free(topic);
	} else if (mr_topics_find(topics, topic->name)) {
		note_clash(peers, node, topic);
		free(topic);
	} else {
		make_topic(peers, node, topic);
	}
}

static void heard_deleted(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	struct mr_control *control = peers->control;
	struct mr_topic_deleted deleted;
	struct mr_topic *topic;
	struct mr_error err = {0};
	char room[16];
	int r = mr_topic_deleted_from_json(row, &deleted);

	if (r < 0) {
		mr_error_set(&err, r, "a deleted topic's entry makes no sense");
	} else if ((topic = mr_topics_find_id(&control->topics, deleted.id)) != NULL) {
		mr_diag_notice("a peer's word deletes a topic", "topic=%s peer=%s", topic->name,
			       mr_control_node_name(control, node, room));
		r = mr_control_delete_topic(control, topic, NULL, &err);
	} else if (!mr_topics_is_deleted(&control->topics, deleted.id)) {
		r = mr_topics_note_deleted(&control->topics, &deleted);
		if (r == 0)
			r = mr_control_save_catalogue(control, &err);
	}
	if (r < 0)
		mr_diag_warn("a peer's word on a deleted topic was not followed",
			     "peer=%s error=\"%s\"", mr_control_node_name(control, node, room),
			     err.what);
}

/* All that it has was heard; what is new to this host from here on is new. */
static void heard_told(struct mr_control_peers *peers, uint32_t node)
{
	struct mr_control *control = peers->control;
	struct mr_error err;

	if (control->topics.met & mr_node_bit(node) || peers->ask_topics & mr_node_bit(node))
		return;
	control->topics.met |= mr_node_bit(node);
	if (mr_control_save_catalogue(control, &err) < 0)
		control->topics.met &= ~mr_node_bit(node); /* it is told again */
}

bool mr_control_catalog_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const json_t *topic = json_object_get(json, "topic");
	const json_t *deleted = json_object_get(json, "topic_deleted");
	const char *tell = json_string_value(json_object_get(json, "tell"));

	if (topic)
		heard_topic(peers, node, topic);
	else if (deleted)
		heard_deleted(peers, node, deleted);
	else if (json_object_get(json, "told"))
		heard_told(peers, node);
	else if (tell && strcmp(tell, "topics") == 0)
		mr_control_catalog_tell_all(peers, node);
	else
		return false;
	return true;
}

/* What could not be made for want of something is asked for again. */
void mr_control_catalog_second(struct mr_control_peers *peers)
{
	uint64_t nodes = peers->ask_topics;

	peers->ask_topics = 0;
	if (nodes)
		mr_control_tell(peers, nodes, json_pack("{s:s}", "tell", "topics"));
}
