/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelines whose input has replicas are the same on all hosts that have one, as topics are
 * (control_catalog.c): added on any of them, they run on all, active where the partition is led,
 * elsewhere in shadow. Each connection begins with all that both have.
 *
 *	{"pipeline": {...}}		its definition, as in the catalogue
 *	{"pipeline_removed": ID}
 *
 * A new version is in the log of the input, where each host comes to it by itself; what is said
 * here of versions and where they begin helps only who has not that part of the log any more.
 * Versions are never changed, only added, so two definitions with one id make one.
 * Runs on the control thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "control_peers.h"
#include "control_pipelines.h"

/* ---- telling --------------------------------------------------------------------------------- */

static uint64_t replicas_of(const struct mr_control *control,
			    const struct mr_definition *definition)
{
	const struct mr_topic *input = mr_topics_find_id(&control->topics, definition->input_id);

	return input ? input->replicas & ~mr_node_bit(control->config->number) : 0;
}

static void tell(struct mr_control_peers *peers, uint64_t nodes,
		 const struct mr_definition *definition)
{
	if (nodes)
		mr_control_tell(peers, nodes,
				json_pack("{s:o}", "pipeline", mr_definition_to_json(definition)));
}

static void tell_removed(struct mr_control_peers *peers, uint64_t nodes, const uint8_t id[16])
{
	char text[33];

	mr_topic_id_text(id, text);
	if (nodes)
		mr_control_tell(peers, nodes, json_pack("{s:s}", "pipeline_removed", text));
}

void mr_control_pipeline_made(struct mr_control *control, const struct mr_definition *definition)
{
	if (control->peers)
		tell(control->peers, replicas_of(control, definition), definition);
}

void mr_control_pipeline_gone(struct mr_control *control, const struct mr_definition *definition)
{
	if (control->peers)
		tell_removed(control->peers, replicas_of(control, definition), definition->id);
}

void mr_control_pipelines_tell_all(struct mr_control_peers *peers, uint32_t node)
{
	const struct mr_control *control = peers->control;
	const struct mr_pipelines *catalogue;
	uint64_t bit = mr_node_bit(node);
	size_t i;

	if (!control->pipelines)
		return; /* a start that failed half way is taken down */
	catalogue = &control->pipelines->catalogue;
	for (i = 0; i < catalogue->removed_count; i++)
		tell_removed(peers, bit, catalogue->removed[i]);
	for (i = 0; i < catalogue->count; i++)
		tell(peers, bit & replicas_of(control, catalogue->rows[i]), catalogue->rows[i]);
}

/* ---- hearing --------------------------------------------------------------------------------- */

/* What the catalogue has already, and what 'fresh' knows besides. */
static int merge(struct mr_control_pipelines *pipelines, struct mr_definition *known,
		 const struct mr_definition *fresh, struct mr_error *err)
{
	struct mr_pipeline_host *host = mr_control_pipeline_find(pipelines, known->name);
	int r = mr_definition_merge(known, fresh, err);

	if (r > 0)
		r = mr_control_pipelines_save(pipelines, err);
	else if (r == 0)
		return 0; /* nothing new */
	if (r < 0)
		return r;
	if (!host)
		return mr_control_pipeline_start(pipelines, known, err);
	mr_control_version_told(host);
	return 0;
}

/* 'fresh' is taken, unless it fails. */
static int install(struct mr_control_pipelines *pipelines, struct mr_definition *fresh,
		   struct mr_error *err)
{
	int r = mr_pipelines_add(&pipelines->catalogue, fresh, err);

	if (r < 0)
		return r;
	r = mr_control_pipelines_save(pipelines, err);
	if (r == 0)
		r = mr_control_pipeline_start(pipelines, fresh, err);
	if (r < 0)
		mr_pipelines_take(&pipelines->catalogue, fresh);
	return r;
}

static int check_fits(const struct mr_control *control, const struct mr_definition *fresh,
		      uint32_t node, struct mr_error *err)
{
	const struct mr_topic *input = mr_topics_find_id(&control->topics, fresh->input_id);
	uint64_t both = mr_node_bit(node) | mr_node_bit(control->config->number);
	int t;

	if (!input || (input->replicas & both) != both ||
	    input->partition_count != fresh->partition_count ||
	    strcmp(input->name, fresh->input) != 0)
		return mr_error_set(err, -ENOENT, "its input '%.100s' is not the same here",
				    fresh->input);
	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		const struct mr_topic *topic = mr_topics_find(&control->topics, fresh->topics[t]);

		if (!fresh->topics[t][0])
			continue;
		if (!topic || topic->partition_count != fresh->partition_count)
			return mr_error_set(err, -ENOENT, "its topic '%.100s' is not the same here",
					    fresh->topics[t]);
	}
	return 0;
}

static void heard_pipeline(struct mr_control_peers *peers, uint32_t node, const json_t *row)
{
	struct mr_control *control = peers->control;
	struct mr_control_pipelines *pipelines = control->pipelines;
	struct mr_definition *fresh = NULL, *known = NULL;
	struct mr_error err = {0};
	char room[16];
	int r = mr_definition_from_json(row, &fresh, &err);

	if (r == 0) {
		known = mr_pipelines_find(&pipelines->catalogue, fresh->name);
		r = check_fits(control, fresh, node, &err);
	}
	if (r == 0 && mr_pipelines_is_removed(&pipelines->catalogue, fresh->id)) {
		tell_removed(peers, mr_node_bit(node), fresh->id);
		mr_definition_free(fresh);
		return;
	}
	if (r == 0 && known && memcmp(known->id, fresh->id, 16) != 0)
		r = mr_error_set(&err, -EEXIST,
				 "pipeline '%s' is another one here: remove one of them",
				 known->name);
	if (r == 0 && known)
		r = merge(pipelines, known, fresh, &err);
	else if (r == 0)
		r = install(pipelines, fresh, &err);
	if (r < 0 || known)
		mr_definition_free(fresh);
	if (r < 0)
		mr_diag_warn("a peer's pipeline does not run here", "peer=%s error=\"%s\"",
			     mr_control_node_name(control, node, room), err.what);
}

static void heard_removed(struct mr_control_peers *peers, uint32_t node, const char *text)
{
	struct mr_control_pipelines *pipelines = peers->control->pipelines;
	struct mr_pipeline_host *host = pipelines->hosts;
	struct mr_error err = {0};
	uint8_t id[16];
	char room[16];
	int r = 0;

	if (mr_topic_id_parse(text, id) < 0)
		r = mr_error_set(&err, -EBADMSG, "a removed pipeline's id makes no sense");
	else if (mr_pipelines_is_removed(&pipelines->catalogue, id))
		return;
	while (r == 0 && host && (host->removed || memcmp(host->definition->id, id, 16) != 0))
		host = host->next;
	if (r == 0 && host)
		r = mr_control_pipeline_take_out(host, NULL, &err);
	else if (r == 0)
		r = mr_pipelines_note_removed(&pipelines->catalogue, id);
	if (r < 0)
		mr_diag_warn("a peer's word on a removed pipeline was not followed",
			     "peer=%s error=\"%s\"",
			     mr_control_node_name(peers->control, node, room), err.what);
}

bool mr_control_pipelines_heard(struct mr_control_peers *peers, uint32_t node, const json_t *json)
{
	const json_t *pipeline = json_object_get(json, "pipeline");
	const char *removed = json_string_value(json_object_get(json, "pipeline_removed"));

	if (!pipeline && !removed)
		return false;
	if (peers->control->stopping || !peers->control->pipelines)
		return true;
	if (pipeline)
		heard_pipeline(peers, node, pipeline);
	else
		heard_removed(peers, node, removed);
	return true;
}
