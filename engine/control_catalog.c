/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics that have replicas are the same on all hosts that have one (control_peers.h): made on any
 * of them, they appear on the others; deleted on any, they go everywhere, also on a host that was
 * away, since the ids of deleted ones are kept. Each connection begins with all that both have.
 *
 *	{"topic": {...}}		as in the catalogue
 *	{"topic_deleted": {...}}
 *	{"told": true, "record_bytes_max": N}	that was all, and the largest record it takes
 *	{"tell": "topics"}		once more: something could not be made
 *	{"refused": {"what", "why"}}	of what was said; for people, in both logs
 *
 * A name that is there with another id was given on two hosts that did not hear of each other.
 * Which of the two was meant nobody knows, so both stay as they are, and it is said until a person
 * deletes one of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "control_peers.h"

#define SEGMENT_BYTES_LEAST (UINT64_C(1) << 20)
#define SEGMENT_BYTES_MOST  (UINT64_C(4) << 30)

#define RECORD_BYTES_LEAST 1024 /* as configurations may say */

#define TOPIC_TROUBLE	  "a peer's topic cannot be made here, and is asked for again"
#define CATALOGUE_TROUBLE "what peers said of topics is not written down yet"

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
	mr_control_tell(peers, bit,
			json_pack("{s:b, s:I}", "told", 1, "record_bytes_max",
				  (json_int_t)peers->control->config->record_bytes_max));
}

void mr_control_topic_made(struct mr_control *control, const struct mr_topic *topic)
{
	if (control->peers && mr_topic_replicated(topic))
		tell_topic(control->peers, others(control, topic->replicas), topic);
	if (control->peers)
		mr_control_names_made(control->peers, topic);
}

void mr_control_topic_deleted(struct mr_control *control, const struct mr_topic *topic)
{
	struct mr_topic_deleted deleted = {.replicas = topic->replicas,
					   .deleted_ms = mr_clock_wall_ms(control->clock)};

	memcpy(deleted.id, topic->id, 16);
	if (control->peers && mr_topic_replicated(topic))
		tell_deleted(control->peers, others(control, topic->replicas), &deleted);
	if (control->peers)
		mr_control_names_gone(control->peers, topic);
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

/* Both logs say why: who asked for it may be the one that is set up wrong. */
static void refuse(struct mr_control_peers *peers, uint32_t node, const char *what,
		   const struct mr_error *err)
{
	char room[16];

	mr_diag_warn("a peer's word is refused", "peer=%s what=\"%s\" error=\"%s\"",
		     mr_control_node_name(peers->control, node, room), what, err->what);
	mr_control_tell(peers, mr_node_bit(node),
			json_pack("{s:{s:s, s:s}}", "refused", "what", what, "why", err->what));
}

static void heard_refused(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	const char *what = json_string_value(json_object_get(row, "what"));
	const char *why = json_string_value(json_object_get(row, "why"));
	char room[16];

	mr_diag_warn("a peer refuses this host's word", "peer=%s what=\"%.40s\" error=\"%.300s\"",
		     mr_control_node_name(peers->control, node, room), what ? what : "not said",
		     why ? why : "not said");
}

/* What a peer may ask this host to keep: whole, bounded, and with a replica on both. */
static int check_fit(const struct mr_control_peers *peers, uint32_t node,
		     const struct mr_topic *topic, struct mr_error *err)
{
	uint64_t both = mr_node_bit(node) | mr_node_bit(peers->control->config->number);

	if ((topic->replicas & both) != both)
		return mr_error_set(err, -EINVAL,
				    "topic '%s' has no replica on both hosts: its replicas are "
				    "those of bits %" PRIx64,
				    topic->name, topic->replicas);
	if (strncmp(topic->name, "__", 2) == 0)
		return mr_error_set(err, -EACCES,
				    "topic '%s': names that begin with __ are the "
				    "engine's own",
				    topic->name);
	if (topic->segment_bytes < SEGMENT_BYTES_LEAST || topic->segment_bytes > SEGMENT_BYTES_MOST)
		return mr_error_set(err, -EINVAL,
				    "topic '%s' has segment_bytes %" PRIu64 ", expected %" PRIu64
				    " to %" PRIu64,
				    topic->name, topic->segment_bytes, SEGMENT_BYTES_LEAST,
				    SEGMENT_BYTES_MOST);
	if (topic->tail_bytes > SEGMENT_BYTES_MOST)
		return mr_error_set(err, -EINVAL,
				    "topic '%s' has tail_bytes %" PRIu64
				    ", expected at most %" PRIu64,
				    topic->name, topic->tail_bytes, SEGMENT_BYTES_MOST);
	return 0;
}

static void not_made(struct mr_control_peers *peers, uint32_t node, const char *name,
		     const struct mr_error *err)
{
	char where[MR_TOPIC_NAME_MAX + 100], room[16];

	peers->ask_topics |= mr_node_bit(node);
	snprintf(where, sizeof(where), "topic=%s peer=%.64s", name,
		 mr_control_node_name(peers->control, node, room));
	mr_trouble_met(&peers->topic_trouble, mr_clock_monotonic_ns(peers->control->clock),
		       TOPIC_TROUBLE, where, err);
}

/* Room for one more. */
static bool heard_room(struct mr_control_peers *peers)
{
	uint32_t room = peers->heard_room ? 2 * peers->heard_room : 16;
	struct mr_heard_topic *more;

	if (peers->heard_count < peers->heard_room)
		return true;
	more = reallocarray(peers->heard, room, sizeof(*more));
	if (!more)
		return false;
	peers->heard = more;
	peers->heard_room = room;
	return true;
}

static void begin_topic(struct mr_control_peers *peers, uint32_t node, struct mr_topic *topic)
{
	struct mr_control *control = peers->control;
	struct mr_error err = {0};
	char name[MR_TOPIC_NAME_MAX + 1];

	snprintf(name, sizeof(name), "%s", topic->name);
	/* R7: who has never compared catalogues with that host may have had this topic before */
	topic->lost = !(control->topics.met & mr_node_bit(node));
	if (!peers->heard_count)
		mr_control_begin_work(control);
	if (!heard_room(peers)) {
		free(topic);
		mr_error_set(&err, -ENOMEM, "no memory for a topic");
	} else if (mr_control_begin_topic(control, topic, &err) == 0) {
		peers->heard[peers->heard_count++] = (struct mr_heard_topic){topic, node};
		return;
	}
	not_made(peers, node, name, &err);
}

static void say_made(struct mr_control_peers *peers)
{
	const struct mr_heard_topic *first = &peers->heard[0];
	char room[16];

	mr_diag_notice("topics of a peer were made here", "peer=%s count=%u first=%s",
		       mr_control_node_name(peers->control, first->node, room), peers->heard_count,
		       first->topic->name);
	mr_trouble_over(&peers->topic_trouble, mr_clock_monotonic_ns(peers->control->clock),
			TOPIC_TROUBLE, "");
}

static void undo_heard(struct mr_control_peers *peers, int why, const struct mr_error *err)
{
	for (uint32_t i = 0; i < peers->heard_count; i++) {
		const struct mr_heard_topic *heard = &peers->heard[i];
		char name[MR_TOPIC_NAME_MAX + 1];
		struct mr_error one = *err;

		snprintf(name, sizeof(name), "%s", heard->topic->name);
		mr_control_undo_topic(peers->control, heard->topic, why, &one);
		not_made(peers, heard->node, name, &one);
	}
}

/* The file is behind what is known here: harmless, and written again in a second. */
static void save_due(struct mr_control_peers *peers)
{
	struct mr_control *control = peers->control;
	uint64_t now_ns = mr_clock_monotonic_ns(control->clock);
	struct mr_error err = {0};

	if (control->failed)
		return;
	peers->catalogue_due = mr_control_save_catalogue(control, &err) < 0;
	if (peers->catalogue_due)
		mr_trouble_met(&peers->catalogue_trouble, now_ns, CATALOGUE_TROUBLE, "", &err);
	else
		mr_trouble_over(&peers->catalogue_trouble, now_ns, CATALOGUE_TROUBLE, "");
}

void mr_control_catalog_settle(struct mr_control_peers *peers)
{
	struct mr_error err = {0};
	int r;

	if (!peers->heard_count)
		return;
	r = mr_control_settle_topics(peers->control, true, &err);
	if (r < 0) {
		undo_heard(peers, r, &err);
	} else {
		peers->catalogue_due = false; /* all of it was written */
		say_made(peers);
	}
	peers->heard_count = 0;
}

void mr_control_catalog_turn(struct mr_control_peers *peers)
{
	mr_control_catalog_settle(peers);
	if (peers->catalogue_due && !peers->catalogue_trouble.times)
		save_due(peers);
}

static void heard_topic(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	struct mr_control *control = peers->control;
	const struct mr_topics *topics = &control->topics;
	struct mr_topic *topic = NULL;
	struct mr_error err = {0};
	size_t i;

	if (mr_topic_from_json(row, &topic, &err) < 0 || check_fit(peers, node, topic, &err) < 0) {
		refuse(peers, node, "a topic to be made", &err);
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
		begin_topic(peers, node, topic);
	}
}

/* Who keeps no copy has no say, and its entries would take the place of others' (topics.h). */
static int check_deletes(const struct mr_control_peers *peers, uint32_t node,
			 const struct mr_topic_deleted *deleted, const struct mr_topic *topic,
			 struct mr_error *err)
{
	uint64_t both = mr_node_bit(node) | mr_node_bit(peers->control->config->number);
	char id[33];

	mr_topic_id_text(deleted->id, id);
	if (topic && !(topic->replicas & mr_node_bit(node)))
		return mr_error_set(err, -EACCES,
				    "topic '%s' is not deleted: the host that says so keeps no "
				    "copy of it",
				    topic->name);
	if (!topic && (deleted->replicas & both) != both)
		return mr_error_set(err, -EACCES,
				    "topic %s was not on both hosts: its replicas are those of "
				    "bits %" PRIx64,
				    id, deleted->replicas);
	return 0;
}

/* 'topic' is here, or NULL. */
static int follow_deleted(struct mr_control_peers *peers, uint32_t node, struct mr_topic *topic,
			  const struct mr_topic_deleted *deleted, struct mr_error *err)
{
	struct mr_control *control = peers->control;
	char room[16];
	int r = 0;

	if (topic) {
		mr_diag_notice("a peer's word deletes a topic", "topic=%s peer=%s", topic->name,
			       mr_control_node_name(control, node, room));
		return mr_control_delete_topic(control, topic, NULL, err);
	}
	if (mr_topics_is_deleted(&control->topics, deleted->id))
		return 0;
	r = mr_topics_note_deleted(&control->topics, deleted);
	if (r < 0)
		mr_error_set(err, r, "no memory for a deleted topic's id");
	peers->catalogue_due = true;
	return r;
}

static void heard_deleted(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	struct mr_topic_deleted deleted;
	struct mr_topic *topic;
	struct mr_error err = {0};
	int r = mr_topic_deleted_from_json(row, &deleted);

	if (r < 0) {
		mr_error_set(&err, r, "a deleted topic's entry makes no sense");
	} else {
		topic = mr_topics_find_id(&peers->control->topics, deleted.id);
		r = check_deletes(peers, node, &deleted, topic, &err);
		if (r == 0)
			r = follow_deleted(peers, node, topic, &deleted, &err);
	}
	if (r < 0)
		refuse(peers, node, "a topic to be deleted", &err);
}

/*
 * A record that one host takes and another does not would never be on both: its partition would
 * wait for ever. So nobody may publish one where its other replicas are known not to take it.
 */
uint32_t mr_control_record_bytes_max(const struct mr_control *control, const struct mr_topic *topic)
{
	uint64_t least = control->config->record_bytes_max;
	uint64_t left = control->peers ? others(control, topic->replicas) : 0;

	for (; left; left &= left - 1) {
		uint64_t theirs = control->peers->record_bytes_max[__builtin_ctzll(left)];

		if (theirs && theirs < least)
			least = theirs;
	}
	return (uint32_t)least;
}

static void compare_limits(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	json_int_t theirs = json_integer_value(json_object_get(json, "record_bytes_max"));
	uint64_t ours = peers->control->config->record_bytes_max;
	char room[16];

	if (theirs < RECORD_BYTES_LEAST) /* it is older, and does not say; or nonsense */
		return;
	peers->record_bytes_max[node] = (uint64_t)theirs;
	if ((uint64_t)theirs != ours)
		mr_diag_warn("record_bytes_max differs: topics that are on both hosts take what "
			     "the smaller allows, of producers that come from now on; make them "
			     "equal",
			     "here=%" PRIu64 " peer=%s there=%" PRIu64, ours,
			     mr_control_node_name(peers->control, node, room), (uint64_t)theirs);
}

/* All that it has was heard; what is new to this host from here on is new. */
static void heard_told(struct mr_control_peers *peers, uint32_t node)
{
	struct mr_control *control = peers->control;

	if (control->topics.met & mr_node_bit(node) || peers->ask_topics & mr_node_bit(node))
		return;
	control->topics.met |= mr_node_bit(node);
	peers->catalogue_due = true;
}

bool mr_control_catalog_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const json_t *topic = json_object_get(json, "topic");
	const json_t *deleted = json_object_get(json, "topic_deleted");
	const char *tell = json_string_value(json_object_get(json, "tell"));

	if (topic) {
		heard_topic(peers, node, topic);
		return true;
	}
	if (deleted)
		heard_deleted(peers, node, deleted);
	else if (json_object_get(json, "told"))
		compare_limits(peers, node, json), heard_told(peers, node);
	else if (json_object_get(json, "refused"))
		heard_refused(peers, node, json_object_get(json, "refused"));
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

	if (peers->catalogue_due)
		save_due(peers);
	peers->ask_topics = 0;
	if (nodes)
		mr_control_tell(peers, nodes, json_pack("{s:s}", "tell", "topics"));
}
