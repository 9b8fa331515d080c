/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pipeline's alerts to commands and webhooks (alert_actions.h).
 */
#include "alert_actions.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"

#define TIMEOUT_MS     10000
#define POLL_MS	       100
#define RETRY_MS       1000
#define COMMIT_MS      5000
#define WARN_EVERY_NS  UINT64_C(60000000000)
#define VARIABLE_BYTES (MR_PARSE_KEY_MAX + 32)

struct mr_alert_actions {
	struct mr_definition *definition; /* its own */
	struct mr_rule *rule;
	struct mr_program *program;
	struct mr_runner_view *view; /* the pipeline's */
	char *socket_path;
	pthread_t thread;
	_Atomic bool stopping;
	/* the thread's own */
	struct mr_actions *actions;
	uint64_t warned_failures;
	uint64_t warn_due_ns;
};

bool mr_alert_actions_wanted(const struct mr_definition *definition)
{
	const struct mr_definition_version *newest =
		&definition->versions[definition->version_count - 1];
	struct mr_rule *rule;
	bool wanted = false;

	if (mr_rule_read(newest->text, strlen(newest->text), definition->name, &rule, NULL) < 0)
		return false; /* it was read when it was added */
	for (uint32_t i = 0; i < rule->alert_count; i++)
		wanted |= rule->alerts[i].exec[0] || rule->alerts[i].webhook[0];
	mr_rule_free(rule);
	return wanted;
}

static bool is_stopping(const struct mr_alert_actions *self)
{
	return atomic_load_explicit(&self->stopping, memory_order_relaxed); /* relaxed: a flag that
									       is looked at again */
}

static bool leads(const struct mr_alert_actions *self, int32_t partition)
{
	return partition < self->definition->partition_count &&
	       atomic_load_explicit(&self->view->parts[partition][MR_RUNNER_ACTIVE],
				    memory_order_relaxed); /* relaxed: a number that is told */
}

/* ---- one alert ---------------------------------------------------------------------------------
 */

static const char *word(const json_t *alert, const char *name)
{
	const char *text = json_string_value(json_object_get(alert, name));

	return text ? text : "";
}

/* Seconds do not matter here: a stop is looked at between waits. */
static void start(struct mr_alert_actions *self, const struct mr_action *action)
{
	while (!is_stopping(self) && mr_actions_start(self->actions, action) == -EAGAIN)
		(void)mr_actions_wait(self->actions, POLL_MS);
}

/* The same for a rule's alert and key, whatever process asks. */
static uint64_t limit_of(uint32_t alert, enum mr_action_kind kind, const char *key)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ (alert * 2 + (uint32_t)kind);

	for (; *key; key++) /* FNV-1a, 64 bits */
		hash = (hash ^ (uint8_t)*key) * UINT64_C(1099511628211);
	return hash;
}

static void act(struct mr_alert_actions *self, uint32_t index, const struct mr_message *message,
		const json_t *alert)
{
	static const char *const names[] = {"pipeline", "alert", "state", "severity", "key"};
	static const char *const variables[] = {"PIPELINE", "ALERT", "STATE", "SEVERITY", "KEY"};
	const struct mr_rule_alert *row = &self->rule->alerts[index];
	char texts[mr_array_count(names)][VARIABLE_BYTES];
	const char *environment[mr_array_count(names) + 1] = {0};
	struct mr_action action = {
		.body = message->value,
		.body_bytes = (size_t)message->value_bytes,
		.variables = environment,
		.state = strcmp(word(alert, "state"), "raised") == 0,
		.every_ms = row->every_ms,
	};

	for (size_t i = 0; i < mr_array_count(names); i++) {
		snprintf(texts[i], sizeof(texts[i]), "MILLRACE_%s=%s", variables[i],
			 word(alert, names[i]));
		environment[i] = texts[i];
	}
	for (int kind = MR_ACTION_EXEC; kind <= MR_ACTION_WEBHOOK; kind++) {
		action.kind = (enum mr_action_kind)kind;
		action.target = kind == MR_ACTION_EXEC ? row->exec : row->webhook;
		action.limit = limit_of(index, action.kind, word(alert, "key"));
		if (action.target[0])
			start(self, &action);
	}
}

static void take(struct mr_alert_actions *self, const struct mr_message *message)
{
	json_error_t problem;
	json_t *alert;

	if (message->value_bytes <= 0 || !leads(self, message->partition))
		return;
	alert = json_loadb(message->value, (size_t)message->value_bytes, 0, &problem);
	for (uint32_t i = 0; alert && i < self->rule->alert_count; i++)
		if (strcmp(self->rule->alerts[i].name, word(alert, "alert")) == 0)
			act(self, i, message, alert);
	json_decref(alert); /* what is none was not written by this pipeline */
}

/* ---- the thread --------------------------------------------------------------------------------
 */

static void publish(struct mr_alert_actions *self)
{
	uint64_t all[MR_RUNNER_ACTIONS];
	struct mr_actions_counters now;
	uint64_t at;

	static_assert(sizeof(all) == sizeof(now), "one number each");
	mr_actions_counters(self->actions, &now);
	memcpy(all, &now, sizeof(all));
	for (size_t i = 0; i < mr_array_count(all); i++)
		atomic_store_explicit(&self->view->actions[i], all[i],
				      memory_order_relaxed); /* relaxed: numbers for people */
	at = mr_clock_monotonic_ns(&mr_clock_system);
	if (now.failed == self->warned_failures || at < self->warn_due_ns)
		return;
	mr_diag_warn("an alert's action failed", "pipeline=%s failed=%" PRIu64 " last=\"%s\"",
		     self->definition->name, now.failed, mr_actions_last_failure(self->actions));
	self->warned_failures = now.failed;
	self->warn_due_ns = at + WARN_EVERY_NS;
}

/* Until something is wrong with the connection, or the end. */
static int follow(struct mr_alert_actions *self, struct mr_consumer *consumer)
{
	while (!is_stopping(self)) {
		const struct mr_message *messages;
		int count = mr_consumer_poll(consumer, POLL_MS, &messages);

		if (count == -EINTR)
			continue;
		if (count < 0)
			return count;
		for (int i = 0; i < count && !is_stopping(self); i++)
			take(self, &messages[i]);
		while (!is_stopping(self) && mr_actions_wait(self->actions, POLL_MS))
			;
		publish(self);
		if (count && !is_stopping(self))
			(void)mr_consumer_commit(consumer, COMMIT_MS); /* else done twice */
	}
	return 0;
}

static int connect_and_follow(struct mr_alert_actions *self, struct mr_error *err)
{
	struct mr_connect_options here = {
		.size = sizeof(here), .socket_path = self->socket_path, .client_name = "actions"};
	char group[MR_RULE_NAME_MAX + 16];
	struct mr_consumer_options wanted = {
		.size = sizeof(wanted),
		.topic = self->definition->topics[MR_PIPELINE_ALERTS],
		.from = MR_FROM_COMMITTED,
		.group = group,
	};
	struct mr_connection *connection;
	struct mr_consumer *consumer;
	int r = mr_connect(&here, &connection, err);

	if (r < 0)
		return r;
	snprintf(group, sizeof(group), "__actions.%s", self->definition->name);
	r = mr_consumer_open(connection, &wanted, &consumer, err);
	if (r == 0) {
		r = follow(self, consumer);
		if (r < 0)
			mr_consumer_error(consumer, err);
		mr_consumer_close(consumer);
	}
	mr_disconnect(connection);
	return r;
}

static void *run(void *arg)
{
	struct mr_alert_actions *self = arg;

	while (!is_stopping(self)) {
		struct timespec rest = {.tv_nsec = POLL_MS * 1000000L};
		struct mr_error err;

		if (connect_and_follow(self, &err) < 0)
			mr_diag_warn("alerts cannot be read for their actions",
				     "pipeline=%s error=\"%s\"", self->definition->name, err.what);
		for (int i = 0; i < RETRY_MS / POLL_MS && !is_stopping(self); i++)
			(void)nanosleep(&rest, NULL); /* a second between trials */
	}
	return NULL;
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

static void free_actions(struct mr_alert_actions *self)
{
	mr_actions_close(self->actions);
	mr_program_free(self->program);
	mr_rule_free(self->rule);
	mr_definition_free(self->definition);
	free(self->socket_path);
	free(self);
}

static int start_thread(struct mr_alert_actions *self, struct mr_error *err)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&self->thread, NULL, run, self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return mr_error_set(err, -r, "no thread for the actions of pipeline '%s'",
				    self->definition->name);
	(void)pthread_setname_np(self->thread, "mr-actions"); /* only for people */
	return 0;
}

int mr_alert_actions_start(const struct mr_definition *definition, struct mr_runner_view *view,
			   const char *socket_path, struct mr_alert_actions **out,
			   struct mr_error *err)
{
	const struct mr_definition_version *newest =
		&definition->versions[definition->version_count - 1];
	struct mr_alert_actions *self = calloc(1, sizeof(*self));
	int r = 0;

	if (!self)
		return mr_error_set(err, -ENOMEM, "no memory for actions");
	self->view = view;
	self->definition = mr_definition_copy(definition);
	self->socket_path = strdup(socket_path);
	if (!self->definition || !self->socket_path)
		r = mr_error_set(err, -ENOMEM, "no memory for actions");
	if (r == 0)
		r = mr_pipelines_compile(newest->text, newest->weights, definition->name,
					 &self->rule, &self->program, err);
	if (r == 0)
		r = mr_actions_open(&mr_clock_system, TIMEOUT_MS, &self->actions, err);
	if (r == 0)
		r = start_thread(self, err);
	if (r < 0) {
		free_actions(self);
		return r;
	}
	*out = self;
	return 0;
}

void mr_alert_actions_stop(struct mr_alert_actions *self)
{
	if (!self)
		return;
	atomic_store_explicit(&self->stopping, true, memory_order_relaxed); /* relaxed: as above */
	(void)pthread_join(self->thread, NULL);				    /* it was started */
	free_actions(self);
}
