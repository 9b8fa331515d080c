/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of topics that peers keep and this host does not (control_peers.h): so that who asks for
 * one here is told where it is, and a topic that is made on first use is not a second one of that
 * name. Each connection begins with all of them.
 *
 *	{"keeps": [NAME, ...], "anew": true}	what was said before counts no more
 *	{"keeps": [NAME, ...]}			and these
 *	{"keeps_no_more": NAME}
 *
 * Those of a host that is away stay, and within a second they are in the file "elsewhere", so that
 * an engine that starts knows them before it is connected. Nothing else rests on them: a name that
 * was not heard of yet is given twice, which is told when both are to be on one host
 * (control_catalog.c), and a file that cannot be read or written is one that is not there. Control
 * thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/catalogue_file.h"
#include "base/diag.h"
#include "control_peers.h"

#define NAMES_A_NOTICE 1000u  /* at most 250 bytes each */
#define NAMES_MAX      65536u /* of one peer: more are not remembered */

static const struct mr_catalogue_file elsewhere = {.path = "elsewhere",
						   .rows = "hosts",
						   .bytes_max = 64u << 20,
						   .version_oldest = 1,
						   .version = 1};

/* ---- telling --------------------------------------------------------------------------------- */

static bool is_told(const struct mr_topic *topic)
{
	return strncmp(topic->name, "__", 2) != 0;
}

static void say(struct mr_control_peers *peers, uint32_t node, json_t *names, bool anew)
{
	json_t *notice = json_pack("{s:o}", "keeps", names);

	if (anew)
		json_object_set_new(notice, "anew", json_true());
	mr_control_tell(peers, mr_node_bit(node), notice);
}

void mr_control_names_tell_all(struct mr_control_peers *peers, uint32_t node)
{
	const struct mr_topics *topics = &peers->control->topics;
	json_t *names = json_array();
	bool anew = true;

	for (size_t i = 0; i < topics->count; i++) {
		const struct mr_topic *topic = topics->topics[i];

		if (!is_told(topic) || topic->replicas & mr_node_bit(node))
			continue;
		json_array_append_new(names, json_string(topic->name));
		if (json_array_size(names) < NAMES_A_NOTICE)
			continue;
		say(peers, node, names, anew);
		names = json_array();
		anew = false;
	}
	say(peers, node, names, anew);
}

/* To all that keep no copy. */
static void tell(struct mr_control_peers *peers, const struct mr_topic *topic, json_t *notice)
{
	if (is_told(topic))
		mr_control_tell(peers, ~topic->replicas, notice);
	else
		json_decref(notice);
}

void mr_control_names_made(struct mr_control_peers *peers, const struct mr_topic *topic)
{
	tell(peers, topic, json_pack("{s:[s]}", "keeps", topic->name));
}

void mr_control_names_gone(struct mr_control_peers *peers, const struct mr_topic *topic)
{
	tell(peers, topic, json_pack("{s:s}", "keeps_no_more", topic->name));
}

/* ---- hearing --------------------------------------------------------------------------------- */

static void forget_all(struct mr_peer_names *names)
{
	while (names->count > 0)
		free(names->names[--names->count]);
}

static void forget(struct mr_peer_names *names, const char *name)
{
	uint32_t i = 0;

	while (i < names->count) {
		if (strcmp(names->names[i], name) == 0) {
			free(names->names[i]);
			names->names[i] = names->names[--names->count];
		} else {
			i++;
		}
	}
}

/* Without room or memory it is not remembered. */
static void remember(struct mr_peer_names *names, const char *name)
{
	if (names->count == names->room) {
		uint32_t room = names->room ? 2 * names->room : 16;
		char **more =
			room <= NAMES_MAX ? reallocarray(names->names, room, sizeof(*more)) : NULL;

		if (!more)
			return;
		names->names = more;
		names->room = room;
	}
	names->names[names->count] = strdup(name);
	names->count += names->names[names->count] != NULL;
}

static void heard_names(struct mr_peer_names *names, const json_t *list)
{
	struct mr_error err;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));

		if (name && mr_topic_check_name(name, &err) == 0)
			remember(names, name);
	}
}

bool mr_control_names_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const char *gone = json_string_value(json_object_get(json, "keeps_no_more"));
	const json_t *list = json_object_get(json, "keeps");
	struct mr_peer_names *names = &peers->names[node];

	if (!gone && !json_is_array(list))
		return false;
	peers->names_due = true;
	if (gone)
		forget(names, gone);
	if (!json_is_array(list))
		return true;
	if (json_is_true(json_object_get(json, "anew")))
		forget_all(names);
	heard_names(names, list);
	peers->named |= mr_node_bit(node);
	return true;
}

/* ---- the file -------------------------------------------------------------------------------- */

void mr_control_names_open(struct mr_control_peers *peers)
{
	struct mr_error err = {0};
	json_t *root, *row;
	size_t i;
	int r = mr_catalogue_file_load(&elsewhere, peers->control->io, &root, &err);

	if (r < 0)
		mr_diag_warn("what topics the peers have is to be heard anew", "error=\"%s\"",
			     err.what);
	if (r < 0 || !root)
		return;
	json_array_foreach(json_object_get(root, elsewhere.rows), i, row)
	{
		json_int_t node = json_integer_value(json_object_get(row, "node"));

		/* not of one that is no peer any more */
		if (node >= 0 && node < MR_NODES_MAX &&
		    mr_config_peer_numbered(peers->control->config, (uint32_t)node))
			heard_names(&peers->names[node], json_object_get(row, "keeps"));
	}
	json_decref(root);
}

static json_t *names_json(const struct mr_peer_names *names, uint32_t node)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < names->count; i++)
		json_array_append_new(list, json_string(names->names[i]));
	return json_pack("{s:i, s:o}", "node", (int)node, "keeps", list);
}

void mr_control_names_second(struct mr_control_peers *peers)
{
	json_t *rows;
	struct mr_error err = {0};

	if (!peers->names_due || peers->control->failed)
		return;
	peers->names_due = false;
	rows = json_array();
	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		if (peers->names[node].count)
			json_array_append_new(rows, names_json(&peers->names[node], node));
	if (mr_catalogue_file_save(
		    &elsewhere, peers->control->io,
		    json_pack("{s:i, s:o}", "version", elsewhere.version, elsewhere.rows, rows),
		    &err) < 0)
		mr_diag_warn("what topics the peers have is not written down", "error=\"%s\"",
			     err.what);
}

void mr_control_names_close(struct mr_control_peers *peers)
{
	for (uint32_t node = 0; node < MR_NODES_MAX; node++) {
		forget_all(&peers->names[node]);
		free(peers->names[node].names);
	}
}

/* ---- asking ---------------------------------------------------------------------------------- */

uint64_t mr_control_names_keepers(const struct mr_control_peers *peers, const char *name)
{
	uint64_t keepers = 0;

	for (uint32_t node = 0; node < MR_NODES_MAX; node++)
		for (uint32_t i = 0; i < peers->names[node].count; i++)
			if (strcmp(peers->names[node].names[i], name) == 0)
				keepers |= mr_node_bit(node);
	return keepers;
}

int mr_control_names_check(const struct mr_control_peers *peers, const struct mr_topic *topic,
			   struct mr_error *err)
{
	uint64_t both = mr_control_names_keepers(peers, topic->name) & topic->replicas;
	char hosts[200];

	if (!both)
		return 0;
	mr_error_set(err, -EEXIST, "topic '%.100s' is there already: on %s", topic->name,
		     mr_control_node_list(peers->control, both, hosts, sizeof(hosts)));
	mr_error_why(err, "a host keeps one topic of a name");
	return mr_error_hint(err, "take another name, or other hosts");
}

void mr_control_names_explain(const struct mr_control_peers *peers, const char *name,
			      struct mr_error *err)
{
	const struct mr_config *config = peers->control->config;
	uint64_t keepers = mr_control_names_keepers(peers, name), silent = 0;
	char hosts[200];

	for (size_t i = 0; i < config->peer_count; i++)
		silent |= mr_node_bit(config->peers[i].number) & ~peers->named;
	if (keepers) {
		mr_control_node_list(peers->control, keepers, hosts, sizeof(hosts));
		mr_error_set(err, -ENOENT, "topic '%s' does not exist on host %s: it is on %s",
			     name, config->node, hosts);
		mr_error_why(err, "%s keeps no copy of it", config->node);
		mr_error_hint(err,
			      "publish and read it on %s; if another one of that name is meant "
			      "here: millrace topic create %s",
			      hosts, name);
	} else if (silent) {
		mr_error_why(err,
			     "host %s keeps no copy of such a topic; what these have is not heard "
			     "yet: %s",
			     config->node,
			     mr_control_node_list(peers->control, silent, hosts, sizeof(hosts)));
	}
}
