/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committed positions of consumer groups, of topics with replicas (control_peers.h): told to the
 * hosts that have one when they are durable here, all of them at each connection. They are behind
 * by what is on its way, so that a group which goes on elsewhere may read some records again, as
 * after any crash of a consumer. What a peer tells goes the way of every commit: into "__offsets",
 * and counts when that is durable.
 *
 *	{"committed": [{"group": ..., "topic": ID, "partition": ..., "offset": ..., "ms": ...,
 *			"node": ...}, ...]}
 *	{"tell": "committed"}		all of it again: there was no room
 */
#include <errno.h>
#include <string.h>

#include "base/diag.h"
#include "control_peers.h"

#define ROWS_A_NOTICE 500 /* at most 300 bytes each */

/* ---- telling --------------------------------------------------------------------------------- */

struct telling {
	struct mr_control_peers *peers;
	uint32_t node;
	json_t *rows;
};

static void send_rows(struct telling *telling)
{
	mr_control_tell(telling->peers, mr_node_bit(telling->node),
			json_pack("{s:o}", "committed", telling->rows));
	telling->rows = json_array();
}

static json_t *row_json(const struct mr_offsets_row *row)
{
	char id[33];

	mr_topic_id_text(row->topic_id, id);
	return json_pack("{s:s%, s:s, s:i, s:I, s:I, s:i}", "group", row->group, row->group_bytes,
			 "topic", id, "partition", (int)row->partition, "offset",
			 (json_int_t)row->offset, "ms", (json_int_t)row->stamp.ms, "node",
			 (int)row->stamp.node);
}

static void tell_row(const struct mr_offsets_row *row, void *arg)
{
	struct telling *telling = arg;
	const struct mr_topic *topic =
		mr_topics_find_id(&telling->peers->control->topics, row->topic_id);

	if (!topic || !(topic->replicas & mr_node_bit(telling->node)))
		return;
	/* a name that is no text cannot be told: NULL is not appended */
	(void)json_array_append_new(telling->rows, row_json(row));
	if (json_array_size(telling->rows) >= ROWS_A_NOTICE)
		send_rows(telling);
}

void mr_control_commits_tell_all(struct mr_control_peers *peers, uint32_t node)
{
	struct telling telling = {.peers = peers, .node = node, .rows = json_array()};

	mr_offsets_each(peers->control->offsets, tell_row, &telling);
	if (json_array_size(telling.rows))
		send_rows(&telling);
	json_decref(telling.rows);
}

void mr_control_commit_made(struct mr_control *control, const struct mr_commit *commit,
			    struct mr_offsets_stamp stamp)
{
	const struct mr_topic *topic = mr_topics_find_id(&control->topics, commit->topic_id);
	struct mr_offsets_row row = {.group = commit->group,
				     .group_bytes = strlen(commit->group),
				     .partition = commit->partition,
				     .offset = commit->offset,
				     .stamp = stamp};

	if (!control->peers || !topic || !mr_topic_replicated(topic))
		return;
	memcpy(row.topic_id, commit->topic_id, 16);
	mr_control_tell(control->peers, topic->replicas,
			json_pack("{s:[o]}", "committed", row_json(&row)));
}

/* ---- hearing --------------------------------------------------------------------------------- */

/* False: nonsense, or nothing to this host. */
static bool parse_row(const struct mr_control *control, const json_t *json, uint32_t from,
		      struct mr_commit *commit, struct mr_offsets_stamp *stamp)
{
	const char *group, *id;
	const struct mr_topic *topic;
	json_int_t offset, ms;
	int partition, node;

	if (json_unpack((json_t *)json, "{s:s, s:s, s:i, s:I, s:I, s:i}", "group", &group, "topic",
			&id, "partition", &partition, "offset", &offset, "ms", &ms, "node",
			&node) < 0 ||
	    mr_topic_id_parse(id, commit->topic_id) < 0 || offset < 0 || node < 0 ||
	    !mr_offsets_stamp_fits((struct mr_offsets_stamp){ms, (uint32_t)node}) ||
	    strlen(group) < 1 || strlen(group) > MR_GROUP_NAME_MAX)
		return false;
	topic = mr_topics_find_id(&control->topics, commit->topic_id);
	if (!topic || !(topic->replicas & mr_node_bit(from)) || partition < 0 ||
	    partition >= topic->partition_count)
		return false;
	snprintf(commit->group, sizeof(commit->group), "%s", group);
	commit->partition = partition;
	commit->offset = (uint64_t)offset;
	*stamp = (struct mr_offsets_stamp){.ms = ms, .node = (uint32_t)node};
	return true;
}

static void heard_row(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	struct mr_control *control = peers->control;
	struct mr_commit commit = {0};
	struct mr_offsets_stamp stamp;
	struct mr_error err;

	if (!parse_row(control, json, node, &commit, &stamp) ||
	    !mr_offsets_later(stamp, mr_offsets_stamp(control->offsets, commit.group,
						      commit.topic_id, commit.partition)))
		return;
	if (mr_control_publish_commit(control, &commit, stamp, NULL, &err) < 0)
		peers->ask_commits |= mr_node_bit(node);
}

bool mr_control_commits_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const json_t *rows = json_object_get(json, "committed");
	const char *tell = json_string_value(json_object_get(json, "tell"));
	size_t i;

	if (!rows && (!tell || strcmp(tell, "committed") != 0))
		return false;
	if (!rows)
		mr_control_commits_tell_all(peers, node);
	for (i = 0; i < json_array_size(rows); i++)
		heard_row(peers, node, json_array_get(rows, i));
	return true;
}

void mr_control_commits_second(struct mr_control_peers *peers)
{
	uint64_t nodes = peers->ask_commits;

	if (!nodes || peers->control->commits || peers->control->failed)
		return; /* the lane has not taken what it has */
	peers->ask_commits = 0;
	mr_control_tell(peers, nodes, json_pack("{s:s}", "tell", "committed"));
}
