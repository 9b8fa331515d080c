/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people ask of pipelines: rule add, list, remove, and get (control_pipelines.h). Runs on the
 * control thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "check.h"
#include "control_peers.h"
#include "control_pipelines.h"

#define GETS_MAX 256 /* out at once, of a pipeline */

static json_int_t published(const _Atomic uint64_t *value)
{
	return (json_int_t)atomic_load_explicit(value, memory_order_relaxed); /* relaxed: a number
										 for people */
}

/* ---- what is said of one --------------------------------------------------------------------- */

static void add_names(json_t *row, const char *name, const _Atomic uint64_t *numbers,
		      const char *const *words, int count)
{
	json_t *object = json_object();
	int i;

	for (i = 1; i < count; i++) /* 0 is: nothing is wrong with it */
		json_object_set_new(object, words[i], json_integer(published(&numbers[i])));
	json_object_set_new(row, name, object);
}

/* null: it waits for nothing, or not for long. */
static json_t *waits_json(const struct mr_pipeline_host *host, int32_t partition)
{
	const struct mr_runner_view *view = mr_runner_view(host->runner);
	json_int_t what = published(&view->parts[partition][MR_RUNNER_WAITS_FOR]);
	bool full = what <= MR_PIPELINE_TOPICS;
	struct mr_error words = {0};
	struct mr_hosted *hosted;
	const char *name;
	struct mr_topic *topic;

	if (what == 0)
		return json_null();
	name = host->definition->topics[(what - 1) % MR_PIPELINE_TOPICS];
	topic = mr_topics_find(&host->control->topics, name);
	hosted = topic ? mr_control_find(host->control, topic->id, partition, NULL) : NULL;
	if (!hosted || !mr_control_wait_words(hosted, &words)) {
		mr_error_why(&words, "its records are not written as fast as the pipeline says "
				     "them");
		mr_error_hint(&words, "wait: it goes on by itself");
	}
	return json_pack("{s:s, s:s, s:s, s:s}", "topic", name, "what",
			 full ? "room" : "acknowledgement", "why", words.why, "do", words.hint);
}

static json_t *partition_json(const struct mr_pipeline_host *host, int32_t partition)
{
	const _Atomic uint64_t *numbers = mr_runner_view(host->runner)->parts[partition];
	struct mr_hosted *hosted =
		mr_control_find(host->control, host->definition->input_id, partition, NULL);
	json_t *row = json_pack("{s:i}", "partition", (int)partition);
	json_int_t lag = 0;
	int i;

	for (i = 0; i < MR_RUNNER_DROPPED; i++)
		json_object_set_new(row, mr_runner_number_words[i],
				    json_integer(published(&numbers[i])));
	if (hosted && hosted->part)
		lag = published(&mr_worker_partition_tail(hosted->part)->page->committed_offset) -
		      published(&numbers[MR_RUNNER_OFFSET]);
	json_object_set_new(row, "lag", json_integer(lag > 0 ? lag : 0));
	json_object_set_new(row, "waits_for", waits_json(host, partition));
	json_object_set_new(row, "alerts_open",
			    json_integer(published(&numbers[MR_RUNNER_RAISED]) -
					 published(&numbers[MR_RUNNER_CLEARED])));
	add_names(row, "dropped", &numbers[MR_RUNNER_DROPPED], mr_clean_verdict_names,
		  MR_CLEAN_VERDICTS);
	add_names(row, "rejected", &numbers[MR_RUNNER_REJECTED], mr_parse_reason_names,
		  MR_PARSE_REASONS);
	return row;
}

static json_t *actions_json(const struct mr_runner_view *view)
{
	static const char *const words[MR_RUNNER_ACTIONS] = {"started", "done", "failed",
							     "timed_out", "limited"};
	json_t *object = json_object();

	for (int i = 0; i < MR_RUNNER_ACTIONS; i++)
		json_object_set_new(object, words[i], json_integer(published(&view->actions[i])));
	return object;
}

json_t *mr_control_rule_json(const struct mr_pipeline_host *host)
{
	const struct mr_definition *definition = host->definition;
	uint32_t state =
		atomic_load_explicit(&mr_runner_view(host->runner)->state,
				     memory_order_relaxed); /* relaxed: a word for people */
	json_t *partitions = json_array();
	char id[33];
	int32_t p;

	for (p = 0; p < definition->partition_count; p++)
		json_array_append_new(partitions, partition_json(host, p));
	mr_topic_id_text(definition->id, id);
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, "
			 "s:o, s:o}",
			 "name", definition->name, "id", id, "version",
			 (int)definition->version_count, "state",
			 host->ending ? "ending" : mr_runner_state_words[state], "reason",
			 host->reason.what, "hint", host->reason.hint, "input", definition->input,
			 "output", definition->topics[MR_PIPELINE_OUTPUT], "alerts",
			 definition->topics[MR_PIPELINE_ALERTS], "rejected",
			 definition->topics[MR_PIPELINE_REJECTED], "storage",
			 definition->in_memory ? "memory" : "log", "cpu", (int)host->place.cpu,
			 "producer_id", (json_int_t)definition->producer_id, "created_ms",
			 (json_int_t)definition->created_ms, "partitions", partitions, "actions",
			 actions_json(mr_runner_view(host->runner)));
}

int mr_control_rule_list(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_control_pipelines *pipelines = request->control->pipelines;
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < pipelines->catalogue.count; i++) {
		struct mr_pipeline_host *host =
			mr_control_pipeline_find(pipelines, pipelines->catalogue.rows[i]->name);

		if (host)
			json_array_append_new(rows, mr_control_rule_json(host));
	}
	request->reply = json_pack("{s:o}", "pipelines", rows);
	return 0;
}

/* Definitions as the catalogue has them, all versions: for who runs them again elsewhere. */
int mr_control_rule_describe(struct mr_admin_request *request, struct mr_error *err)
{
	const struct mr_pipelines *catalogue = &request->control->pipelines->catalogue;
	json_t *rows = json_array();

	for (size_t i = 0; i < catalogue->count; i++)
		json_array_append_new(rows, mr_definition_to_json(catalogue->rows[i]));
	request->reply = json_pack("{s:o}", "pipelines", rows);
	return 0;
}

int mr_control_rule_uses(const struct mr_control *control, const char *topic, struct mr_error *err)
{
	const struct mr_definition *definition =
		mr_pipelines_using(&control->pipelines->catalogue, topic);

	if (!definition)
		return 0;
	mr_error_set(err, -EBUSY, "topic '%.100s' is %s by pipeline '%s'", topic,
		     strcmp(definition->input, topic) == 0 ? "read" : "written", definition->name);
	return mr_error_hint(err, "remove that first: millrace rule remove %s", definition->name);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

/* A rule to be added, checked against what there is. */
struct wanted {
	const char *text;
	const json_t *weights;
	bool latest;
	struct mr_rule *rule;
	struct mr_topic *input;
};

static const char *output_topic(const struct mr_rule *rule, int t)
{
	switch (t) {
	case MR_PIPELINE_OUTPUT:
		return rule->output;
	case MR_PIPELINE_ALERTS:
		return rule->alert_count ? rule->alerts_topic : "";
	default:
		return rule->rejected_topic;
	}
}

static int check_input(struct mr_control *control, struct wanted *wanted, struct mr_error *err)
{
	const struct mr_rule *rule = wanted->rule;

	wanted->input = mr_topics_find(&control->topics, rule->input);
	if (!wanted->input) {
		mr_error_set(err, -ENOENT, "pipeline '%s': its input topic '%.100s' does not exist",
			     rule->name, rule->input);
		if (mr_topics_hint_nearest(&control->topics, rule->input, err))
			return -ENOENT;
		return mr_error_hint(err, "make it: millrace topic create %.100s", rule->input);
	}
	if (!strncmp(rule->input, "__", 2))
		return mr_error_set(err, -EACCES,
				    "pipeline '%s': topic '%.100s' is the engine's own", rule->name,
				    rule->input);
	if (!rule->parse.key[0] || wanted->input->partition_count == 1)
		return 0;
	mr_error_set(err, -EINVAL,
		     "pipeline '%s' has key: %.60s, and topic '%.80s' has %d partitions",
		     rule->name, rule->parse.key, rule->input, wanted->input->partition_count);
	mr_error_why(err, "a key's records could lie in several partitions, each of which would "
			  "know a part of them");
	return mr_error_hint(err,
			     "publish with that key as the record's own and leave key: out, or "
			     "read a topic of one partition");
}

static int check_output(struct mr_control *control, const struct wanted *wanted, int t,
			struct mr_error *err)
{
	const struct mr_rule *rule = wanted->rule;
	const char *name = output_topic(rule, t);
	const struct mr_topic *topic;
	int other;

	if (!name[0])
		return 0;
	if (!strncmp(name, "__", 2))
		return mr_error_set(err, -EACCES,
				    "topic '%.100s': names that begin with __ are the engine's",
				    name);
	for (other = 0; other < t; other++)
		if (strcmp(output_topic(rule, other), name) == 0)
			return mr_error_set(err, -EINVAL,
					    "pipeline '%s': topic '%.100s' is given twice",
					    rule->name, name);
	if (mr_pipelines_lead_to(&control->pipelines->catalogue, name, rule->input)) {
		mr_error_set(err, -ELOOP,
			     "pipeline '%s' would read what it writes: '%.80s' leads to '%.80s'",
			     rule->name, name, rule->input);
		return mr_error_why(err, "each record would make another one, without end");
	}
	topic = mr_topics_find(&control->topics, name);
	if (!topic)
		return 0;
	if (topic->partition_count == wanted->input->partition_count &&
	    mr_topic_in_memory(topic) == rule->output_in_memory &&
	    topic->replicas == wanted->input->replicas)
		return 0;
	mr_error_set(
		err, -EEXIST,
		"pipeline '%s': topic '%.80s' exists with %d partitions, storage %s, and is to "
		"have %d, storage %s",
		rule->name, name, topic->partition_count, mr_config_storage_word(topic->storage),
		wanted->input->partition_count, rule->output_in_memory ? "memory" : "disk");
	mr_error_why(err, "partition n of the input gives partition n of the output, on the same "
			  "hosts");
	return mr_error_hint(err, "name another output, or delete that topic");
}

static int check_wanted(struct mr_control *control, struct wanted *wanted, struct mr_error *err)
{
	int t, r = check_input(control, wanted, err);

	if (r == 0 && wanted->rule->output_in_memory && mr_topic_replicated(wanted->input)) {
		mr_error_set(err, -EINVAL,
			     "pipeline '%s': its output is to be in memory, and its input has "
			     "replicas",
			     wanted->rule->name);
		mr_error_why(err, "a topic in memory is on one host only");
		r = mr_error_hint(err, "leave out storage: memory");
	}
	for (t = 0; r == 0 && t < MR_PIPELINE_TOPICS; t++)
		r = check_output(control, wanted, t, err);
	return r;
}

static int read_wanted(const struct mr_admin_request *request, struct wanted *wanted,
		       struct mr_error *err)
{
	const char *from = json_string_value(json_object_get(request->json, "from"));
	const char *file = json_string_value(json_object_get(request->json, "file"));
	struct mr_program *program;
	int r;

	wanted->text = json_string_value(json_object_get(request->json, "text"));
	wanted->weights = json_object_get(request->json, "weights");
	if (!wanted->text)
		return mr_error_set(err, -EINVAL, "the request has no rule");
	if (wanted->weights && !json_is_object(wanted->weights))
		return mr_error_set(err, -EINVAL, "weights: lists by the names of windows");
	if (from && strcmp(from, "earliest") != 0 && strcmp(from, "latest") != 0)
		return mr_error_set(err, -EINVAL, "from is '%.40s', expected earliest or latest",
				    from);
	wanted->latest = !from || strcmp(from, "latest") == 0;
	r = mr_pipelines_compile(wanted->text, wanted->weights, file ? file : "rule", &wanted->rule,
				 &program, err);
	if (r < 0)
		return r;
	mr_program_free(program);
	return 0;
}

/* ---- a new one ------------------------------------------------------------------------------- */

static int make_topics(struct mr_control *control, const struct wanted *wanted,
		       struct mr_error *err)
{
	enum mr_config_storage storage =
		wanted->rule->output_in_memory ? MR_CONFIG_STORAGE_MEMORY : MR_CONFIG_STORAGE_DISK;
	struct mr_topic *topic;
	int t, r = 0;

	for (t = 0; r == 0 && t < MR_PIPELINE_TOPICS; t++) {
		const char *name = output_topic(wanted->rule, t);

		if (name[0] && !mr_topics_find(&control->topics, name))
			r = mr_control_create_like(control, name, wanted->input, storage, &topic,
						   err);
	}
	return r;
}

/* Where version 1 begins: offsets, so that it is the same after each crash and on each host. */
static int find_start(struct mr_control *control, const struct wanted *wanted, uint64_t *at,
		      struct mr_error *err)
{
	const struct mr_hosted_topic *hosted = wanted->input->owner;
	int32_t p;

	for (p = 0; p < wanted->input->partition_count; p++) {
		const struct mr_hosted *partition = &hosted->partitions[p];
		const struct mr_tail *tail;

		if (!partition->part)
			return mr_error_set(err, -EAGAIN, "topic '%.100s' partition %d is not up",
					    wanted->input->name, p);
		tail = mr_worker_partition_tail(partition->part);
		at[p] = wanted->latest ? (uint64_t)published(&tail->page->committed_offset)
				       : mr_tail_log_start(tail);
	}
	return 0;
}

/* Three in a row, which no producer has: no other kind of producer has such high ones. */
static int take_producer_ids(struct mr_control *control, int64_t *first, struct mr_error *err)
{
	int64_t id;
	int t, r = 0;

	for (t = 0; r == 0 && t < MR_PIPELINE_TOPICS; t++) {
		r = mr_control_new_producer_id(control, &id, err);
		if (t == 0)
			*first = id | MR_PRODUCER_ID_FIXED;
	}
	return r;
}

static int fill_definition(struct mr_control *control, const struct wanted *wanted,
			   struct mr_definition *definition, struct mr_error *err)
{
	const struct mr_rule *rule = wanted->rule;
	uint64_t *at = calloc((size_t)wanted->input->partition_count, sizeof(*at));
	int t, r = at ? 0 : mr_error_set(err, -ENOMEM, "no memory for a pipeline");

	snprintf(definition->name, sizeof(definition->name), "%s", rule->name);
	snprintf(definition->input, sizeof(definition->input), "%s", rule->input);
	memcpy(definition->input_id, wanted->input->id, 16);
	definition->partition_count = wanted->input->partition_count;
	definition->in_memory = rule->output_in_memory;
	definition->created_ms = mr_clock_wall_ms(control->clock);
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		snprintf(definition->topics[t], sizeof(definition->topics[t]), "%s",
			 output_topic(rule, t));
	if (r == 0)
		r = mr_random(definition->id, sizeof(definition->id), err);
	if (r == 0)
		r = take_producer_ids(control, &definition->producer_id, err);
	if (r == 0)
		r = find_start(control, wanted, at, err);
	if (r == 0)
		r = mr_definition_add_version(definition, wanted->text, wanted->weights, at, err);
	free(at);
	return r;
}

/* 'definition' is taken. */
static int install(struct mr_control *control, struct mr_definition *definition,
		   struct mr_error *err)
{
	struct mr_control_pipelines *pipelines = control->pipelines;
	int r = mr_pipelines_add(&pipelines->catalogue, definition, err);

	if (r < 0) {
		mr_definition_free(definition);
		return r;
	}
	r = mr_control_pipelines_save(pipelines, err);
	if (r == 0)
		r = mr_control_pipeline_start(pipelines, definition, err);
	if (r == 0) {
		mr_control_pipeline_made(control, definition);
		return 0;
	}
	mr_pipelines_take(&pipelines->catalogue, definition);
	(void)mr_control_pipelines_save(pipelines, NULL); /* as before, if the disk allows */
	mr_definition_free(definition);
	return r;
}

static int add_new(struct mr_admin_request *request, const struct wanted *wanted,
		   struct mr_error *err)
{
	struct mr_control *control = request->control;
	struct mr_definition *definition = calloc(1, sizeof(*definition));
	int r = definition ? make_topics(control, wanted, err)
			   : mr_error_set(err, -ENOMEM, "no memory for a pipeline");

	if (r == 0)
		r = fill_definition(control, wanted, definition, err);
	if (r < 0) {
		mr_definition_free(definition);
		return r;
	}
	r = install(control, definition, err);
	if (r == 0)
		request->reply = mr_control_rule_json(
			mr_control_pipeline_find(control->pipelines, wanted->rule->name));
	return r;
}

/* ---- a new version --------------------------------------------------------------------------- */

static int check_same(const struct mr_definition *definition, const struct wanted *wanted,
		      struct mr_error *err)
{
	const char *what = NULL;
	int t;

	if (memcmp(definition->input_id, wanted->input->id, 16) != 0)
		what = "another input";
	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		const char *name = output_topic(wanted->rule, t);

		/* alerts may come, and may go: then nothing is written there any more */
		if (definition->topics[t][0] && name[0] && strcmp(definition->topics[t], name) != 0)
			what = "other topics to write to";
	}
	if (definition->in_memory != wanted->rule->output_in_memory)
		what = "another storage of its output";
	if (!what)
		return 0;
	mr_error_set(err, -EINVAL, "pipeline '%s' is there and would get %s", definition->name,
		     what);
	mr_error_why(err, "a new version goes on where the old one stops");
	return mr_error_hint(err, "give it another name, or first: millrace rule remove %s",
			     definition->name);
}

static bool is_as_before(const struct mr_definition *definition, const struct wanted *wanted)
{
	const struct mr_definition_version *last =
		&definition->versions[definition->version_count - 1];

	return strcmp(last->text, wanted->text) == 0 &&
	       (last->weights == wanted->weights ||
		json_equal((json_t *)last->weights, (json_t *)wanted->weights));
}

/* Who was told -EINPROGRESS waits for that version, and adds no other one. */
static bool asks_again(const struct mr_admin_request *request)
{
	return json_is_true(json_object_get(request->json, "again"));
}

static int refuse_gone(const char *name, struct mr_error *err)
{
	mr_error_set(err, -ENOENT, "the version of pipeline '%s' did not begin", name);
	mr_error_why(err,
		     "the pipeline was removed, another version was added at the same time, or "
		     "its input lost the version's mark");
	return mr_error_hint(err, "see what there is: millrace rule list");
}

static bool has_version(const struct mr_definition *definition, const struct wanted *wanted)
{
	uint32_t i = definition->version_count;

	while (i > 1 && strcmp(definition->versions[i - 1].text, wanted->text) != 0)
		i--;
	return i > 1;
}

/* The topic for its alerts, where no version before had any, is its own from here on. */
static int keep_alerts(struct mr_pipeline_host *host, const struct wanted *wanted,
		       struct mr_error *err)
{
	char *topic = host->definition->topics[MR_PIPELINE_ALERTS];
	int r;

	if (topic[0] || !output_topic(wanted->rule, MR_PIPELINE_ALERTS)[0])
		return 0;
	snprintf(topic, sizeof(host->definition->topics[0]), "%s",
		 output_topic(wanted->rule, MR_PIPELINE_ALERTS));
	r = mr_control_pipelines_save(host->control->pipelines, err);
	if (r < 0)
		topic[0] = '\0';
	return r;
}

static int replace(struct mr_pipeline_host *host, struct mr_admin_request *request,
		   const struct wanted *wanted, struct mr_error *err)
{
	const struct mr_definition *definition = host->definition;
	int r = check_same(definition, wanted, err);

	if (r < 0)
		return r;
	if (asks_again(request) ? has_version(definition, wanted)
				: !host->coming.text && is_as_before(definition, wanted)) {
		request->reply = mr_control_rule_json(host);
		return 0;
	}
	if (host->ending)
		return mr_error_set(err, -EAGAIN, "pipeline '%s' is ending", definition->name);
	if (definition->version_count == MR_PIPELINE_VERSIONS_MAX) {
		mr_error_set(err, -ENOSPC, "pipeline '%s' has %u versions already",
			     definition->name, MR_PIPELINE_VERSIONS_MAX);
		return mr_error_hint(err, "begin anew: millrace rule remove %s", definition->name);
	}
	r = mr_control_version_check(host, wanted->text, wanted->weights, err);
	if (r == 0 && asks_again(request))
		return refuse_gone(wanted->rule->name, err);
	if (r == 0)
		r = make_topics(request->control, wanted, err);
	if (r == 0)
		r = keep_alerts(host, wanted, err);
	return r < 0 ? r
		     : mr_control_version_add(host, request->ticket, wanted->text, wanted->weights,
					      err);
}

int mr_control_rule_add(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_control *control = request->control;
	struct wanted wanted = {0};
	struct mr_pipeline_host *host;
	int r = read_wanted(request, &wanted, err);

	if (r == 0)
		r = check_wanted(control, &wanted, err);
	if (r == 0) {
		host = mr_control_pipeline_find(control->pipelines, wanted.rule->name);
		if (host)
			r = replace(host, request, &wanted, err);
		else
			r = asks_again(request) ? refuse_gone(wanted.rule->name, err)
						: add_new(request, &wanted, err);
	}
	mr_rule_free(wanted.rule);
	return r;
}

/* ---- removing -------------------------------------------------------------------------------- */

static int get_host(const struct mr_admin_request *request, struct mr_pipeline_host **out,
		    struct mr_error *err)
{
	const char *name = json_string_value(json_object_get(request->json, "name"));
	const struct mr_pipeline_host *host;
	struct mr_nearest nearest;

	if (!name)
		return mr_error_set(err, -EINVAL, "the request names no pipeline");
	*out = mr_control_pipeline_find(request->control->pipelines, name);
	if (*out)
		return 0;
	mr_error_set(err, -ENOENT, "there is no pipeline '%.63s'", name);
	mr_nearest_begin(&nearest, name, strlen(name));
	for (host = request->control->pipelines->hosts; host; host = host->next)
		if (!host->removed)
			mr_nearest_offer(&nearest, host->definition->name,
					 strlen(host->definition->name));
	if (mr_nearest_hint(&nearest, err))
		return -ENOENT;
	return mr_error_hint(err, "see what there is: millrace rule list");
}

int mr_control_rule_remove(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_pipeline_host *host;
	int r = get_host(request, &host, err);

	if (r < 0)
		return r;
	r = mr_control_pipeline_take_out(host, request->ticket, err);
	if (r == 0)
		mr_control_pipeline_gone(request->control, host->definition);
	return r;
}

/* ---- one key --------------------------------------------------------------------------------- */

/* By the topic that it writes; else by the one that it reads, if it is the only one. */
static struct mr_pipeline_host *find_by_topic(struct mr_control_pipelines *pipelines,
					      const char *topic, uint32_t *readers)
{
	struct mr_pipeline_host *host, *reader = NULL;

	*readers = 0;
	for (host = pipelines->hosts; host; host = host->next) {
		if (host->removed)
			continue;
		if (strcmp(host->definition->topics[MR_PIPELINE_OUTPUT], topic) == 0 ||
		    strcmp(host->definition->topics[MR_PIPELINE_ALERTS], topic) == 0)
			return host;
		if (strcmp(host->definition->input, topic) != 0)
			continue;
		reader = host;
		++*readers;
	}
	return *readers == 1 ? reader : NULL;
}

static int refuse_topic(const struct mr_control_pipelines *pipelines, const char *topic,
			uint32_t readers, struct mr_error *err)
{
	const struct mr_pipeline_host *host;
	struct mr_nearest nearest;

	if (readers) {
		mr_error_set(err, -EINVAL, "topic '%.100s' is read by %u pipelines", topic,
			     readers);
		return mr_error_hint(err, "name the output of one: millrace rule list");
	}
	mr_error_set(err, -ENOENT, "no pipeline reads or writes topic '%.100s'", topic);
	mr_nearest_begin(&nearest, topic, strlen(topic));
	for (host = pipelines->hosts; host; host = host->next) {
		const char *input = host->definition->input;
		const char *output = host->definition->topics[MR_PIPELINE_OUTPUT];

		mr_nearest_offer(&nearest, input, strlen(input));
		mr_nearest_offer(&nearest, output, strlen(output));
	}
	if (mr_nearest_hint(&nearest, err))
		return -ENOENT;
	return mr_error_hint(err, "name the output of one: millrace rule list");
}

int mr_control_get(struct mr_admin_request *request, struct mr_error *err)
{
	const char *topic = json_string_value(json_object_get(request->json, "topic"));
	const json_t *key = json_object_get(request->json, "key");
	struct mr_runner_message *message;
	struct mr_pipeline_host *host;
	uint32_t readers;

	if (!topic || !json_is_string(key))
		return mr_error_set(err, -EINVAL, "the request names no topic and key");
	host = find_by_topic(request->control->pipelines, topic, &readers);
	if (!host)
		return refuse_topic(request->control->pipelines, topic, readers, err);
	message = calloc(1, sizeof(*message));
	if (message) {
		message->kind = MR_RUNNER_GET;
		message->key_bytes = (uint32_t)json_string_length(key);
		message->key = malloc(message->key_bytes + 1);
		message->ticket = request->ticket;
	}
	if (!message || !message->key || host->asked >= GETS_MAX) {
		free(message ? message->key : NULL);
		free(message);
		return mr_error_set(err, -EAGAIN, "pipeline '%s' is asked too much at once",
				    host->definition->name);
	}
	memcpy(message->key, json_string_value(key), message->key_bytes);
	if (mr_runner_send(host->runner, message) < 0)
		mr_assert(!"requests are counted, there is room");
	host->asked++;
	return 0;
}

void mr_control_rule_got(struct mr_pipeline_host *host, struct mr_runner_message *message)
{
	host->asked--;
	if (message->status == 0 && !message->text)
		message->status = mr_error_set(&message->err, -ENOMEM, "no memory for an answer");
	mr_local_answer(message->ticket, message->status, &message->err, message->text);
	free(message->text);
	free(message->key);
	free(message);
}
