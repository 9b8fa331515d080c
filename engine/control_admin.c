/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Administrators' requests: JSON in, JSON out. Runs on the control thread (control.h); tables of
 * what may be asked stand at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config_table.h"
#include "base/nearest.h"
#include "check.h"
#include "control.h"

static const char *state_word(const struct mr_hosted *hosted)
{
	switch (hosted->state) {
	case MR_HOSTED_OK:
		return hosted->damage.code ? "damaged" : "ok";
	case MR_HOSTED_READ_ONLY:
		return "read-only";
	case MR_HOSTED_FAILED:
		return "failed";
	case MR_HOSTED_REMOVING:
		return "removing";
	}
	return "unknown";
}

static json_int_t counter(const struct mr_hosted *hosted, enum mr_partition_counter which)
{
	/* relaxed: a number for people */
	return hosted->counters[which] ? (json_int_t)atomic_load_explicit(hosted->counters[which],
									  memory_order_relaxed)
				       : 0;
}

static json_int_t published(const _Atomic uint64_t *value)
{
	return (json_int_t)atomic_load_explicit(value,
						memory_order_relaxed); /* relaxed: as above */
}

/* In memory nothing is flushed, and the bytes are the tail's that are in use. */
static void add_storage(json_t *row, const struct mr_hosted *hosted, const struct mr_tail *tail)
{
	const struct mr_tail_page *page = tail->page;
	json_int_t bytes, reclaimed = published(&page->reclaimed);

	if (hosted->files) {
		bytes = (json_int_t)mr_log_files_bytes(hosted->files);
		json_object_set_new(row, "flushed_offset",
				    json_integer(published(&page->flushed_offset)));
		json_object_set_new(row, "segments",
				    json_integer((json_int_t)mr_log_files_count(hosted->files)));
	} else {
		bytes = published(&page->appended) - reclaimed;
	}
	json_object_set_new(row, "bytes", json_integer(bytes));
}

/* What its batches have, and would have without compression, since the start. */
static void add_appended(json_t *row, const struct mr_hosted *hosted)
{
	uint64_t bytes, plain_bytes;

	if (!mr_control_counted(hosted, MR_COUNT_BYTES, &bytes) ||
	    !mr_control_counted(hosted, MR_COUNT_PLAIN_BYTES, &plain_bytes))
		return;
	json_object_set_new(row, "appended_bytes", json_integer((json_int_t)bytes));
	json_object_set_new(row, "plain_bytes", json_integer((json_int_t)plain_bytes));
}

static json_t *partition_json(const struct mr_hosted *hosted)
{
	const struct mr_tail *tail = hosted->part ? mr_worker_partition_tail(hosted->part) : NULL;
	json_t *row = json_pack("{s:i, s:i, s:s, s:s, s:i}", "partition", hosted->number, "worker",
				(int)hosted->worker_number, "state", state_word(hosted), "reason",
				hosted->damage.code ? hosted->damage.what : hosted->reason.what,
				"leader_epoch", hosted->leader_epoch);

	mr_control_add_replica(row, hosted);
	if (!tail || (!hosted->files && !mr_topic_in_memory(hosted->topic)))
		return row;
	json_object_set_new(row, "log_start_offset",
			    json_integer(published(&tail->page->log_start_offset)));
	json_object_set_new(row, "log_end_offset",
			    json_integer(published(&tail->page->appended_offset)));
	json_object_set_new(row, "high_watermark",
			    json_integer(published(&tail->page->committed_offset)));
	add_storage(row, hosted, tail);
	add_appended(row, hosted);
	json_object_set_new(row, "lanes", json_integer((json_int_t)hosted->lanes));
	json_object_set_new(row, "producers", json_integer(counter(hosted, MR_GAUGE_PRODUCERS)));
	return row;
}

static json_t *topic_json(const struct mr_control *control, const struct mr_topic *topic)
{
	const struct mr_hosted_topic *hosted = topic->owner;
	json_t *partitions = json_array(), *row;
	char id[33];
	int32_t i;

	mr_topic_id_text(topic->id, id);
	for (i = 0; i < topic->partition_count; i++)
		json_array_append_new(partitions, partition_json(&hosted->partitions[i]));
	row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "name", topic->name,
			"id", id, "storage", mr_config_storage_word(topic->storage), "compression",
			mr_config_compression_word(topic->compression), "tail_bytes",
			(json_int_t)mr_control_tail_bytes(control, topic), "created_ms",
			(json_int_t)topic->created_ms, "retention_bytes",
			(json_int_t)topic->retention_bytes, "retention_ms",
			(json_int_t)topic->retention_ms, "segment_bytes",
			(json_int_t)topic->segment_bytes, "partitions", partitions);
	mr_control_add_replicas(row, control, topic);
	return row;
}

/* ---- what may be asked
 * ----------------------------------------------------------------------------------- */

static int get_name(const struct mr_admin_request *request, const char **name, struct mr_error *err)
{
	*name = json_string_value(json_object_get(request->json, "name"));
	if (!*name)
		return mr_error_set(err, -EINVAL, "the request names no topic");
	return mr_topic_check_name(*name, err);
}

static int get_topic(const struct mr_admin_request *request, struct mr_topic **topic,
		     struct mr_error *err)
{
	const char *name;
	int r = get_name(request, &name, err);

	if (r < 0)
		return r;
	*topic = mr_topics_find(&request->control->topics, name);
	if (*topic)
		return 0;
	return mr_control_no_topic(request->control, name, err);
}

/* A whole number within bounds, or the general option's value where the request is silent. */
static int get_number(const struct mr_admin_request *request, const char *key, uint64_t general,
		      uint64_t least, uint64_t most, uint64_t *out, struct mr_error *err)
{
	const json_t *value = json_object_get(request->json, key);
	json_int_t number = json_integer_value(value);

	*out = general;
	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || number < 0 || (uint64_t)number < least ||
	    (uint64_t)number > most)
		return mr_error_set(err, -EINVAL,
				    "%s is %lld, expected a whole number from %" PRIu64
				    " to %" PRIu64,
				    key, (long long)number, least, most);
	*out = (uint64_t)number;
	return 0;
}

static int get_storage(const struct mr_admin_request *request, struct mr_config_topic *wanted,
		       struct mr_error *err)
{
	static const char *const of_files[] = {"retention_bytes", "retention_ms", "segment_bytes"};
	const json_t *value = json_object_get(request->json, "storage");
	const char *word = json_string_value(value);
	size_t i;

	if (!value || json_is_null(value))
		return 0;
	if (!word || mr_config_storage_parse(word, &wanted->storage) < 0)
		return mr_error_set(err, -EINVAL, "storage is '%.40s', expected disk or memory",
				    word ? word : "");
	for (i = 0; i < mr_array_count(of_files); i++) {
		if (wanted->storage != MR_CONFIG_STORAGE_MEMORY ||
		    !json_object_get(request->json, of_files[i]))
			continue;
		mr_error_set(err, -EINVAL, "topic '%.100s' has storage memory: it takes no %s",
			     wanted->name, of_files[i]);
		mr_error_why(err, "it has no files; its tail_bytes says how much is kept");
		return -EINVAL;
	}
	return 0;
}

static int get_compression(const struct mr_admin_request *request, struct mr_config_topic *wanted,
			   struct mr_error *err)
{
	const json_t *value = json_object_get(request->json, "compression");
	const char *word = json_string_value(value);

	if (!value || json_is_null(value))
		return 0;
	return mr_config_compression_parse(word ? word : "", &wanted->compression, err);
}

/* What the configuration would say of the topic by 'option', as 'key' of the request. */
static int get_size(const struct mr_admin_request *request, const char *key, const char *option,
		    struct mr_config_topic *wanted, struct mr_error *err)
{
	const struct mr_option *row = mr_option_find(&mr_config_topic_options, option);
	uint64_t value;
	int r;

	mr_assert(row);
	r = get_number(request, key, mr_option_get(row, wanted), row->least, row->most, &value,
		       err);
	if (r < 0)
		return r;
	if (row->type == MR_OPTION_POWER && (value & (value - 1)))
		return mr_error_set(err, -EINVAL, "%s is %" PRIu64 ", expected a power of two", key,
				    value);
	mr_option_put(row, value, wanted);
	return 0;
}

static int get_sizes(const struct mr_admin_request *request, struct mr_config_topic *wanted,
		     struct mr_error *err)
{
	static const char *const sizes[][2] = {
		{"partitions", "partitions"},
		{"retention_bytes", "retention_bytes"},
		{"retention_ms", "retention"},
		{"segment_bytes", "segment_bytes"},
		{"tail_bytes", "tail_bytes"},
		{"replicas", "replicas"},
		{"min_insync_replicas", "min_insync_replicas"},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < mr_array_count(sizes); i++)
		r = get_size(request, sizes[i][0], sizes[i][1], wanted, err);
	return r;
}

static int get_replicas(const struct mr_admin_request *request, struct mr_config_topic *wanted,
			struct mr_error *err)
{
	const json_t *leaders = json_object_get(request->json, "leaders");

	if (leaders &&
	    (!json_is_string(leaders) || json_string_length(leaders) >= sizeof(wanted->leaders)))
		return mr_error_set(err, -EINVAL, "leaders is no name of a host, and not '%s'",
				    MR_CONFIG_LEADERS_SPREAD);
	if (leaders)
		snprintf(wanted->leaders, sizeof(wanted->leaders), "%s",
			 json_string_value(leaders));
	return mr_config_check_replicas(request->control->config, wanted->name, wanted->replicas,
					wanted->min_insync_replicas, wanted->leaders, err);
}

/* Who asked is answered. */
static void created(struct mr_control *control, void *arg, struct mr_topic *topic,
		    const struct mr_error *err)
{
	json_t *json = topic ? topic_json(control, topic) : NULL;
	char *reply = json_dumps(json, JSON_COMPACT);

	mr_local_answer(arg, topic ? 0 : err->code, err, reply);
	free(reply);
	json_decref(json);
}

static int create_topic(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_control_told told = {created, request->ticket};
	struct mr_config_topic wanted = {0};
	const char *name;
	int r = get_name(request, &name, err);

	if (r == 0 && !strncmp(name, "__", 2))
		r = mr_error_set(err, -EACCES,
				 "topic '%s': names that begin with __ are the engine's", name);
	if (r == 0) {
		mr_config_topic_defaults(request->control->config, name, &wanted);
		r = get_storage(request, &wanted, err);
	}
	if (r == 0)
		r = get_compression(request, &wanted, err);
	if (r == 0)
		r = get_sizes(request, &wanted, err);
	if (r == 0)
		r = get_replicas(request, &wanted, err);
	if (r == 0)
		r = mr_control_create_later(request->control, &wanted, &told, err);
	return r;
}

static int list_topics(struct mr_admin_request *request, struct mr_error *err)
{
	const struct mr_topics *topics = &request->control->topics;
	json_t *rows = json_array();
	size_t i;

	for (i = 0; i < topics->count; i++)
		json_array_append_new(rows, topic_json(request->control, topics->topics[i]));
	request->reply = json_pack("{s:o}", "topics", rows);
	return 0;
}

static int describe_topic(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_topic *topic;
	int r = get_topic(request, &topic, err);

	if (r == 0)
		request->reply = topic_json(request->control, topic);
	return r;
}

static int delete_topic(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_topic *topic;
	int r = get_topic(request, &topic, err);

	if (r == 0 && !strncmp(topic->name, "__", 2))
		r = mr_error_set(err, -EACCES, "topic '%s' is the engine's own", topic->name);
	if (r == 0)
		r = mr_control_rule_uses(request->control, topic->name, err);
	if (r == 0)
		r = mr_control_delete_topic(request->control, topic, request->ticket, err);
	return r;
}

static json_t *workers_json(struct mr_control *control)
{
	json_t *rows = json_array();
	uint32_t i;

	for (i = 0; i < control->worker_count; i++) {
		const struct mr_place_entry *place = &control->plan.entries[i];
		struct mr_hosted *hosted;
		int count = 0;

		mr_control_each(control, hosted) count += hosted->worker_number == i;
		json_array_append_new(rows, json_pack("{s:i, s:i, s:i, s:s, s:i}", "worker", (int)i,
						      "cpu", place->cpu, "node", place->node, "why",
						      place->reason, "partitions", count));
	}
	return rows;
}

static int describe_engine(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_control *control = request->control;
	const struct mr_io_facts *facts = &control->io->facts;
	uint64_t up_ns = mr_clock_monotonic_ns(control->clock) - control->started_ns;
	char id[33];

	mr_topic_id_text(control->checkpoint.log_id, id);
	request->reply =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:{s:s, s:b, s:i, s:s}, s:o, s:s, "
			  "s:s, s:i, s:i}",
			  "pid", (int)getpid(), "version", MR_VERSION, "data", control->data_path,
			  "socket", control->socket_path, "log_id", id, "engine_start",
			  (json_int_t)control->checkpoint.engine_start, "uptime_ms",
			  (json_int_t)(up_ns / 1000000), "io", "backend", facts->backend, "direct",
			  facts->direct, "block_bytes", (int)facts->block_bytes, "file_system",
			  facts->file_system, "workers", workers_json(control), "state",
			  control->failed ? "degraded" : "ok", "reason",
			  control->failed ? control->failure.what : "", "connections",
			  (int)mr_local_session_count(control->local), "lanes",
			  (int)mr_local_lane_count(control->local));
	return 0;
}

static int describe_peers(struct mr_admin_request *request, struct mr_error *err)
{
	request->reply = mr_control_peers_json(request->control);
	return 0;
}

static int describe_status(struct mr_admin_request *request, struct mr_error *err)
{
	request->reply = mr_control_status_json(request->control);
	return 0;
}

/* Of one topic: what its partitions wait for. */
static int describe_waits(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_topic *topic;
	int r = get_topic(request, &topic, err);

	if (r == 0)
		request->reply =
			json_pack("{s:o}", "waits", mr_control_waits_json(request->control, topic));
	return r;
}

static int no_host(const struct mr_config *config, const char *name, struct mr_error *err)
{
	struct mr_nearest nearest;

	mr_error_set(err, -ENOENT, "there is no host '%.64s' among the peers", name);
	mr_nearest_begin(&nearest, name, strlen(name));
	mr_nearest_offer(&nearest, config->node, strlen(config->node));
	for (size_t i = 0; i < config->peer_count; i++)
		mr_nearest_offer(&nearest, config->peers[i].name, strlen(config->peers[i].name));
	if (!mr_nearest_hint(&nearest, err))
		mr_error_hint(err, "see who they are: millrace peers");
	return -ENOENT;
}

/* By default this host; a replica. */
static int get_node(const struct mr_admin_request *request, const struct mr_topic *topic,
		    uint32_t *node, struct mr_error *err)
{
	const struct mr_config *config = request->control->config;
	const char *to = json_string_value(json_object_get(request->json, "to"));
	const struct mr_config_peer *peer = to ? mr_config_peer_find(config, to) : NULL;

	if (to && !peer && strcmp(to, config->node) != 0)
		return no_host(config, to, err);
	*node = peer ? peer->number : config->number;
	if (topic->replicas >> *node & 1)
		return 0;
	return mr_error_set(err, -EINVAL, "host '%.64s' keeps no replica of topic '%s'",
			    to ? to : config->node, topic->name);
}

static int promote(struct mr_admin_request *request, struct mr_error *err)
{
	struct mr_control_promotion promotion = {
		.accept_loss = json_is_true(json_object_get(request->json, "accept_loss")),
	};
	bool stopped = json_is_true(json_object_get(request->json, "old_leader_is_stopped"));
	uint64_t partition;
	struct mr_topic *topic;
	struct mr_hosted *hosted = NULL;
	int r = get_topic(request, &topic, err);

	if (r == 0)
		r = get_number(request, "partition", 0, 0, MR_PARTITIONS_MAX, &partition, err);
	if (r == 0)
		hosted = mr_control_find(request->control, topic->id, (int32_t)partition, err);
	if (!hosted)
		return r < 0 ? r : -ERANGE;
	if (!mr_topic_replicated(topic))
		return mr_error_set(err, -EINVAL, "topic '%s' has no replicas: this host leads it",
				    topic->name);
	r = get_node(request, topic, &promotion.to, err);
	if (r == 0 && promotion.accept_loss && !stopped) {
		mr_error_set(err, -EPERM, "it was not said that the old leader is stopped");
		mr_error_why(err, "if it runs, it commits records that this host will not have");
		return mr_error_hint(err, "stop it, then say --old-leader-is-stopped");
	}
	return r < 0 ? r : mr_control_promote(hosted, &promotion, request->ticket, err);
}

static const struct {
	const char *name;
	int (*carry_out)(struct mr_admin_request *request, struct mr_error *err);
	bool of_operators; /* what others have is lost by it, or a command runs as the engine */
} requests[] = {
	{"topic.create", create_topic, false},
	{"topic.list", list_topics, false},
	{"topic.describe", describe_topic, false},
	{"topic.delete", delete_topic, true},
	{"engine.describe", describe_engine, false},
	{"peers.describe", describe_peers, false},
	{"status", describe_status, false},
	{"promote", promote, true},
	{"topic.waits", describe_waits, false},
	{"rule.add", mr_control_rule_add, true},
	{"rule.describe", mr_control_rule_describe, false},
	{"rule.list", mr_control_rule_list, false},
	{"rule.remove", mr_control_rule_remove, true},
	{"get", mr_control_get, false},
};

/* Whoever may connect publishes, reads and makes topics. */
static int check_operator(const struct mr_admin_request *request, const char *wanted,
			  struct mr_error *err)
{
	uint32_t uid = mr_local_ticket_uid(request->ticket);

	if (uid == 0 || uid == geteuid())
		return 0;
	mr_error_set(err, -EPERM, "user %" PRIu32 " may not do this: %s", uid, wanted);
	mr_error_why(err, "it can take from others what they have, or run a command as the engine");
	return mr_error_hint(err, "do it as root or as the engine's own user, %u",
			     (unsigned)geteuid());
}

int mr_control_admin(struct mr_control *control, const char *text, struct mr_local_ticket *ticket,
		     char **reply, struct mr_error *err)
{
	struct mr_admin_request request = {.control = control, .ticket = ticket};
	json_error_t why;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	const char *wanted = json_string_value(json_object_get(json, "do"));
	size_t i = 0;
	int r = 0;

	*reply = NULL;
	if (!json)
		return mr_error_set(err, -EINVAL, "the request is no JSON: %s", why.text);
	request.json = json;
	while (i < mr_array_count(requests) && (!wanted || strcmp(requests[i].name, wanted) != 0))
		i++;
	if (i == mr_array_count(requests))
		r = mr_error_set(err, -EINVAL, "the engine knows no request '%s'",
				 wanted ? wanted : "");
	else if (requests[i].of_operators)
		r = check_operator(&request, wanted, err);
	if (r == 0)
		r = requests[i].carry_out(&request, err);
	if (r == 0 && request.reply)
		*reply = json_dumps(request.reply, JSON_COMPACT);
	json_decref(request.reply);
	json_decref(json);
	return r;
}
