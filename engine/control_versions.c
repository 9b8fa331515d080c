/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a new version of a pipeline's rule begins (control_pipelines.h). Runs on the control thread.
 *
 *	added		who leads partition 0 of the input puts its mark into that log. The first
 *mark of a number there decides which rule has that number: two who add at once are told apart by
 *it learnt		every host's pipeline reads its input, comes to a mark, and has the version
 *put into the catalogue, durably, before it reads on by it everywhere	who leads another partition
 *puts the mark into that log, once the version is in its catalogue
 *
 * A mark is put into a log once more where nobody knows whether it is there: a second one does
 * nothing. So there is nothing to be taken back, whoever fails.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "control_peers.h"
#include "control_pipelines.h"
#include "version_mark.h"

/* A mark on its way into a log. */
struct marking {
	struct mr_worker_message message;
	struct mr_control *control;
	struct mr_hosted *hosted;
	uint8_t pipeline_id[16];
	uint32_t version;
	int32_t leader_epoch;
	bool coming; /* the host's new version; else one of the catalogue */
};

/* ---- into the log ---------------------------------------------------------------------------- */

/* Where this host may write now; NULL: nowhere. */
static struct mr_hosted *find_led(const struct mr_pipeline_host *host, int32_t partition)
{
	struct mr_hosted *hosted =
		mr_control_find(host->control, host->definition->input_id, partition, NULL);

	return hosted && mr_hosted_serves(hosted) && hosted->state == MR_HOSTED_OK &&
			       mr_control_leads(hosted)
		       ? hosted
		       : NULL;
}

static int send_mark(struct mr_pipeline_host *host, struct mr_hosted *hosted,
		     const struct mr_version_mark *mark, bool coming, struct mr_error *err)
{
	struct mr_control *control = host->control;
	struct marking *marking = calloc(1, sizeof(*marking));
	int r = marking ? mr_version_mark_encode(mark, mr_clock_wall_ms(control->clock),
						 mr_control_batch_bytes_max(control->config),
						 &marking->message.state,
						 &marking->message.state_bytes, err)
			: mr_error_set(err, -ENOMEM, "no memory for a version of a pipeline");

	if (r < 0) {
		free(marking);
		return r;
	}
	marking->control = control;
	marking->hosted = hosted;
	memcpy(marking->pipeline_id, mark->pipeline_id, sizeof(marking->pipeline_id));
	marking->version = mark->version;
	marking->leader_epoch = mr_control_leader_epoch(hosted);
	marking->coming = coming;
	marking->message.kind = MR_WORKER_APPEND;
	marking->message.partition = hosted->part;
	marking->message.owner = marking;
	hosted->posts++;
	mr_worker_send(hosted->worker, &marking->message);
	return 0;
}

static struct mr_version_mark mark_of(const struct mr_pipeline_host *host, uint32_t version,
				      const char *text, const json_t *weights)
{
	struct mr_version_mark mark = {.version = version, .text = text, .weights = weights};

	memcpy(mark.pipeline_id, host->definition->id, sizeof(mark.pipeline_id));
	return mark;
}

/* A version that is known and, as far as this host knows, has no mark in a log that it leads. */
static void mark_partition(struct mr_pipeline_host *host, int32_t partition)
{
	const struct mr_definition *definition = host->definition;
	struct mr_pipeline_marking *marking = &host->marking[partition];
	uint32_t version = mr_definition_pending(definition, partition);
	struct mr_version_mark mark;
	struct mr_hosted *hosted;
	struct mr_error err;

	if (version == definition->version_count || marking->out)
		return;
	hosted = find_led(host, partition);
	if (!hosted)
		return;
	if (marking->leader_epoch == mr_control_leader_epoch(hosted) && version < marking->below)
		version = marking->below;
	if (version == definition->version_count)
		return;
	mark = mark_of(host, version, definition->versions[version].text,
		       definition->versions[version].weights);
	/* what does not succeed now is tried again every second */
	marking->out = send_mark(host, hosted, &mark, false, &err) == 0;
	if (!marking->out && !marking->told)
		mr_diag_warn(
			"a version of a pipeline cannot begin in a partition: it is tried again",
			"pipeline=%s version=%u topic=%s partition=%d error=\"%s\"",
			definition->name, version + 1, definition->input, partition, err.what);
	marking->told = !marking->out;
}

static void mark_all(struct mr_pipeline_host *host)
{
	int32_t p;

	if (host->ending || host->definition->version_count == 1)
		return;
	for (p = 0; p < host->definition->partition_count; p++)
		mark_partition(host, p);
}

/* ---- a new version --------------------------------------------------------------------------- */

static void answer(struct mr_pipeline_host *host, int status, const struct mr_error *err)
{
	struct mr_local_ticket *ticket = host->coming.ticket;
	json_t *json = ticket && status == 0 ? mr_control_rule_json(host) : NULL;
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	host->coming.ticket = NULL;
	if (ticket)
		mr_local_answer(ticket, status, err, text ? text : "{}");
	free(text);
	json_decref(json);
}

static void forget_coming(struct mr_pipeline_host *host)
{
	free(host->coming.text);
	json_decref(host->coming.weights);
	memset(&host->coming, 0, sizeof(host->coming));
}

void mr_control_version_forget(struct mr_pipeline_host *host, const struct mr_error *why)
{
	answer(host, why->code, why);
	forget_coming(host);
}

/* Its mark is in the log, and the pipeline has not come to it. */
static int explain_coming(const struct mr_pipeline_host *host, struct mr_error *err)
{
	const struct mr_definition *definition = host->definition;
	uint64_t at =
		atomic_load_explicit(&mr_runner_view(host->runner)->parts[0][MR_RUNNER_OFFSET],
				     memory_order_relaxed); /* relaxed: a number for people */

	if (!host->coming.appended)
		return mr_error_set(
			err, -EINPROGRESS,
			"version %u of pipeline '%s' is on its way into its input's log",
			host->coming.version + 1, definition->name);
	mr_error_set(err, -EINPROGRESS,
		     "version %u of pipeline '%s' begins at offset %" PRIu64
		     " of topic '%.80s' partition 0, and the pipeline has read up to %" PRIu64,
		     host->coming.version + 1, definition->name, host->coming.offset,
		     definition->input, at);
	return mr_error_hint(err, "it begins by itself when that is read; see: millrace rule list");
}

static bool is_coming(const struct mr_pipeline_host *host, const char *text, const json_t *weights)
{
	return strcmp(host->coming.text, text) == 0 &&
	       (host->coming.weights == weights ||
		json_equal(host->coming.weights, (json_t *)weights));
}

static int refuse_not_led(const struct mr_pipeline_host *host, struct mr_error *err)
{
	const struct mr_definition *definition = host->definition;
	const struct mr_control *control = host->control;
	struct mr_coord_key key = {.partition = 0};
	struct mr_coord_state state = {.leader = MR_NODE_NONE};
	uint64_t hosts;
	char room[16];

	memcpy(key.topic_id, definition->input_id, sizeof(key.topic_id));
	if (!control->peers ||
	    mr_coord_static_known(control->peers->coord, &key, &state, &hosts) < 0 ||
	    state.leader < 0 || (uint32_t)state.leader == control->config->number) {
		mr_error_set(err, -EAGAIN, "nobody leads topic '%.100s' partition 0 yet",
			     definition->input);
		return mr_error_why(err, "its leader decides which version is the next one");
	}
	mr_error_set(err, -EINVAL,
		     "host %s leads partition 0 of topic '%.80s', the input of pipeline '%s'",
		     mr_control_node_name(control, (uint32_t)state.leader, room), definition->input,
		     definition->name);
	mr_error_why(err, "its leader decides which version is the next one");
	return mr_error_hint(err, "add it there");
}

int mr_control_version_check(const struct mr_pipeline_host *host, const char *text,
			     const json_t *weights, struct mr_error *err)
{
	if (host->coming.text && is_coming(host, text, weights))
		return explain_coming(host, err);
	if (host->coming.text)
		return mr_error_set(err, -EAGAIN, "another version of pipeline '%s' is coming",
				    host->definition->name);
	return find_led(host, 0) ? 0 : refuse_not_led(host, err);
}

int mr_control_version_add(struct mr_pipeline_host *host, struct mr_local_ticket *ticket,
			   const char *text, const json_t *weights, struct mr_error *err)
{
	struct mr_pipeline_coming *coming = &host->coming;
	struct mr_hosted *hosted = find_led(host, 0);
	struct mr_version_mark mark;
	int r;

	if (!hosted)
		return refuse_not_led(host, err);
	coming->version = host->definition->version_count;
	coming->leader_epoch = mr_control_leader_epoch(hosted);
	coming->text = strdup(text);
	coming->weights = json_deep_copy(weights);
	mark = mark_of(host, coming->version, coming->text, coming->weights);
	r = coming->text ? send_mark(host, hosted, &mark, true, err)
			 : mr_error_set(err, -ENOMEM, "no memory for a version of a pipeline");
	if (r < 0)
		forget_coming(host);
	else
		coming->ticket = ticket;
	return r;
}

/* ---- the log has it, or not ------------------------------------------------------------------ */

static struct mr_pipeline_host *find_host(struct mr_control *control, const uint8_t id[16])
{
	struct mr_pipeline_host *host = control->pipelines->hosts;

	while (host && (host->removed || memcmp(host->definition->id, id, 16) != 0))
		host = host->next;
	return host;
}

static void coming_marked(struct mr_pipeline_host *host, const struct marking *marking)
{
	struct mr_error err;

	if (!host->coming.text || host->coming.appended || host->coming.version != marking->version)
		return;
	host->coming.appended = marking->message.status == 0;
	host->coming.offset = marking->message.offset;
	if (host->coming.appended)
		return;
	/* led by another, or there is no room: who asks again is told more */
	mr_error_set(&err, -EAGAIN, "topic '%.100s' partition 0 takes no record of the engine now",
		     host->definition->input);
	mr_control_version_forget(host, &err);
}

static void known_marked(struct mr_pipeline_host *host, const struct marking *marking)
{
	int32_t partition = marking->hosted->number;
	struct mr_pipeline_marking *here = &host->marking[partition];

	here->out = false;
	if (marking->message.status < 0)
		return;
	here->leader_epoch = marking->leader_epoch;
	here->below = marking->version + 1;
	mark_partition(host, partition);
}

struct mr_hosted *mr_control_version_marked(struct mr_worker_message *message)
{
	struct marking *marking = message->owner;
	struct mr_hosted *hosted = marking->hosted;
	struct mr_pipeline_host *host = find_host(marking->control, marking->pipeline_id);

	if (host && marking->coming)
		coming_marked(host, marking);
	else if (host)
		known_marked(host, marking);
	free(message->state);
	free(marking);
	return hosted;
}

/* ---- learning -------------------------------------------------------------------------------- */

/* The topic for its alerts, where no version before had any. It is there: who added it made it. */
static void take_alerts_topic(struct mr_definition *definition, const char *text)
{
	struct mr_rule *rule;
	struct mr_error err;

	if (definition->topics[MR_PIPELINE_ALERTS][0] ||
	    mr_rule_read(text, strlen(text), definition->name, &rule, &err) < 0)
		return; /* what cannot be read says so where it is to run */
	if (rule->alert_count)
		snprintf(definition->topics[MR_PIPELINE_ALERTS],
			 sizeof(definition->topics[MR_PIPELINE_ALERTS]), "%s", rule->alerts_topic);
	mr_rule_free(rule);
}

/* What cannot be saved stays known, and is saved before anything else is learnt. */
static int learn(struct mr_pipeline_host *host, const struct mr_version_mark *mark,
		 int32_t partition, uint64_t offset, struct mr_error *err)
{
	struct mr_definition *definition = host->definition;
	uint32_t before = definition->version_count;
	int r = 0;

	if (mark->version > before)
		return mr_error_set(
			err, -EAGAIN,
			"version %u of pipeline '%s' is not known here yet, and version "
			"%u begins at offset %" PRIu64 " of partition %d",
			before + 1, definition->name, mark->version + 1, offset, partition);
	if (mark->version == before)
		r = mr_definition_add_version(definition, mark->text, mark->weights, NULL, err);
	if (r < 0)
		return r;
	if (mark->version == before)
		take_alerts_topic(definition, mark->text);
	if (mr_definition_begins(definition, mark->version, partition, offset))
		r = mr_control_pipelines_save(host->control->pipelines, err);
	return r;
}

/* The version with the number of the one that is coming is known now. */
static void settle_coming(struct mr_pipeline_host *host)
{
	const struct mr_definition *definition = host->definition;
	const struct mr_definition_version *row;
	struct mr_error err;

	if (!host->coming.text || host->coming.version >= definition->version_count)
		return;
	row = &definition->versions[host->coming.version];
	if (is_coming(host, row->text, row->weights)) {
		answer(host, 0, NULL);
		forget_coming(host);
		return;
	}
	mr_error_set(&err, -EAGAIN,
		     "another version %u of pipeline '%s' was added at the same time",
		     host->coming.version + 1, definition->name);
	mr_error_hint(&err, "add yours again");
	mr_control_version_forget(host, &err);
}

void mr_control_version_learn(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	int r = 0;

	if (host->removed)
		r = mr_error_set(&message->err, -ENOENT, "pipeline '%s' is removed",
				 host->definition->name);
	else if (host->control->pipelines->unsaved)
		r = mr_control_pipelines_save(host->control->pipelines, &message->err);
	if (r == 0 && message->mark)
		r = learn(host, message->mark, message->partition, message->offset, &message->err);
	message->definition = r == 0 ? mr_definition_copy(host->definition) : NULL;
	if (r == 0 && !message->definition)
		r = mr_error_set(&message->err, -ENOMEM, "no memory for a version of pipeline '%s'",
				 host->definition->name);
	message->status = r;
	r = mr_runner_send(host->runner, message);
	mr_assert(r == 0); /* one is out at a time */
	settle_coming(host);
	mark_all(host);
}

void mr_control_version_told(struct mr_pipeline_host *host)
{
	settle_coming(host);
	mr_runner_again(host->runner);
}

/* Its mark may have been cut off, or was left out with what retention took. If not, it is learnt.
 */
static bool is_lost(const struct mr_pipeline_host *host)
{
	const struct mr_hosted *hosted = find_led(host, 0);
	uint64_t offset = atomic_load_explicit(
		&mr_runner_view(host->runner)->parts[0][MR_RUNNER_OFFSET],
		memory_order_relaxed); /* relaxed: learning comes before it is shown */

	return !hosted || mr_control_leader_epoch(hosted) != host->coming.leader_epoch ||
	       offset > host->coming.offset;
}

void mr_control_versions_second(struct mr_control *control)
{
	struct mr_pipeline_host *host;
	struct mr_error err;

	if (!control->pipelines || control->stopping)
		return;
	for (host = control->pipelines->hosts; host; host = host->next) {
		if (host->coming.ticket)
			answer(host, explain_coming(host, &err), &err);
		if (host->coming.appended && is_lost(host))
			forget_coming(host);
		mark_all(host);
	}
}
