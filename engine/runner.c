/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of one pipeline (runner.h). It owns its consumer, the state of each partition
 * (runner_part.c), and nothing that others wait for: it sleeps where it likes.
 *
 *	begin	partitions from their checkpoints, lanes, a consumer at their offsets
 *	work	poll ──► feed ──► publish, and every few seconds a checkpoint
 *	end	a last checkpoint, lanes back
 *
 * What goes wrong ends the work; after a rest it begins once more at its checkpoints. What it is
 * asked meanwhile it answers all the same.
 */
#include "runner.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "consumer.h"
#include "runner_state.h"

#define REQUESTS_MAX 1024
#define POLL_MS	     20 /* between two looks at what the control thread wants, without input */
#define ASK_MS	     50
#define SECOND_NS    UINT64_C(1000000000)
#define LAST_MS	     3000 /* what the last records of a stop may take to be acknowledged */
#define MARKS_NS     (30 * SECOND_NS)
#define REST_MS	     5000 /* before it begins once more */
#define REST_SOON_MS 500

const char *const mr_runner_state_words[MR_RUNNER_STATES] = {
	[MR_RUNNER_STARTING] = "starting",
	[MR_RUNNER_RUNNING] = "running",
	[MR_RUNNER_STOPPED] = "stopped",
};

const char *const mr_runner_number_words[MR_RUNNER_DROPPED] = {
	[MR_RUNNER_OFFSET] = "offset",
	[MR_RUNNER_CHECKPOINT] = "checkpoint_offset",
	[MR_RUNNER_VERSION] = "version",
	[MR_RUNNER_ACTIVE] = "active",
	[MR_RUNNER_RECORDS] = "records",
	[MR_RUNNER_RATE] = "records_per_second",
	[MR_RUNNER_KEPT] = "kept",
	[MR_RUNNER_RAISED] = "alerts_raised",
	[MR_RUNNER_CLEARED] = "alerts_cleared",
	[MR_RUNNER_EVICTED] = "keys_evicted",
	[MR_RUNNER_SHED] = "samples_shed",
	[MR_RUNNER_KEYS] = "keys",
	[MR_RUNNER_BYTES] = "bytes",
	[MR_RUNNER_OUTPUTS] = "outputs",
	[MR_RUNNER_ALERTS] = "alerts",
	[MR_RUNNER_REJECTS] = "rejects",
	[MR_RUNNER_SKIPPED] = "skipped",
	[MR_RUNNER_FULL] = "waits",
	[MR_RUNNER_CUT] = "values_cut",
	[MR_RUNNER_ASTRAY] = "astray",
};

static void set_state(struct mr_runner *runner, enum mr_runner_state state)
{
	/* relaxed: a word for people */
	atomic_store_explicit(&runner->view.state, state, memory_order_relaxed);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void send(struct mr_runner *runner, struct mr_runner_message *message)
{
	/* the control thread takes all that comes in each of its rounds */
	while (mr_mailbox_send(runner->to_control, message) < 0)
		(void)poll(NULL, 0, 1);
}

static void sleep_on_requests(struct mr_runner *runner, int timeout_ms)
{
	struct pollfd bell = {.fd = mr_mailbox_fd(runner->to_runner), .events = POLLIN};

	if (mr_mailbox_sleep(runner->to_runner))
		(void)poll(&bell, 1, timeout_ms);
	mr_mailbox_wake(runner->to_runner);
}

static void queue(struct mr_runner *runner, struct mr_runner_message *message)
{
	message->next = NULL;
	*runner->queued_end = message;
	runner->queued_end = &message->next;
}

static void set_leave(struct mr_runner *runner, bool leave)
{
	/* relaxed: seen in time; the thread that takes a FORGET sets it itself */
	atomic_store_explicit(&runner->leave, leave, memory_order_relaxed);
}

/* A FORGET waits until everything is left. */
static void put_off(struct mr_runner *runner, struct mr_runner_message *message)
{
	queue(runner, message);
	set_leave(runner, true);
}

static struct mr_runner_message *unqueue(struct mr_runner *runner)
{
	struct mr_runner_message *message = runner->queued;

	if (!message)
		return mr_mailbox_receive(runner->to_runner);
	runner->queued = message->next;
	if (!runner->queued)
		runner->queued_end = &runner->queued;
	return message;
}

int mr_runner_ask(struct mr_runner *runner, enum mr_runner_message_kind kind, int32_t partition,
		  struct mr_error *err)
{
	struct mr_runner_message *ask = &runner->ask, *message;

	ask->kind = kind;
	ask->partition = partition;
	ask->status = 0;
	send(runner, ask);
	for (;;) {
		message = mr_mailbox_receive(runner->to_runner);
		if (message == ask)
			break;
		if (message)
			queue(runner, message);
		else
			sleep_on_requests(runner, ASK_MS);
	}
	if (ask->status < 0)
		*err = ask->err;
	return ask->status;
}

/* A word to the control thread, which frees it. */
static void say(struct mr_runner *runner, enum mr_runner_message_kind kind, int status,
		const struct mr_error *err)
{
	struct mr_runner_message *message = calloc(1, sizeof(*message));

	if (!message)
		return; /* its state says enough */
	message->kind = kind;
	message->status = status;
	if (status < 0)
		message->err = *err;
	send(runner, message);
}

static void refuse(struct mr_runner *runner, struct mr_runner_message *message)
{
	message->status = mr_error_set(&message->err, -EAGAIN, "pipeline '%s' does not run now",
				       runner->definition->name);
	mr_error_hint(&message->err, "see why: millrace rule list");
	send(runner, message);
}

void mr_runner_refuse_all(struct mr_runner *runner, const char *topic, int32_t partition)
{
	struct mr_runner_message *message;

	while ((message = unqueue(runner)) != NULL) {
		if (message->kind == MR_RUNNER_FORGET) {
			put_off(runner, message);
			return;
		}
		message->status = mr_error_set(&message->err, -EAGAIN,
					       "pipeline '%s' waits: topic '%.100s' partition %d "
					       "takes nothing now",
					       runner->definition->name, topic, partition);
		mr_error_hint(&message->err, "see why: millrace rule list");
		send(runner, message);
	}
}

/* ---- versions -------------------------------------------------------------------------------- */

static int make_room_for_programs(struct mr_runner *runner, uint32_t count, struct mr_error *err)
{
	struct mr_program **programs;
	struct mr_rule **rules;

	if (count <= runner->program_count)
		return 0;
	programs = realloc(runner->programs, count * sizeof(*programs));
	if (programs)
		runner->programs = programs;
	rules = programs ? realloc(runner->rules, count * sizeof(struct mr_rule *)) : NULL;
	if (!rules)
		return mr_error_set(err, -ENOMEM, "no memory for a version of pipeline '%s'",
				    runner->definition->name);
	runner->rules = rules;
	for (; runner->program_count < count; runner->program_count++) {
		programs[runner->program_count] = NULL;
		rules[runner->program_count] = NULL;
	}
	return 0;
}

/* Nothing runs by them. */
static void forget_programs(struct mr_runner *runner)
{
	uint32_t i;

	for (i = 0; i < runner->program_count; i++) {
		mr_program_free(runner->programs[i]);
		mr_rule_free(runner->rules[i]);
		runner->programs[i] = NULL;
		runner->rules[i] = NULL;
	}
}

/* It was taken once: by an engine that reads rules otherwise. Nobody but this pipeline waits. */
static int explain_unread(const struct mr_runner *runner, uint32_t version, struct mr_error *err)
{
	mr_error_prefix(err,
			"version %u of pipeline '%s' is stored here, and this engine does not take "
			"it: ",
			version + 1, runner->definition->name);
	if (!err->why[0])
		mr_error_why(err, "an engine of another version took it");
	return mr_error_hint(err,
			     "run that engine again; or begin anew with a rule that "
			     "'millrace rule check' takes: millrace rule remove %s",
			     runner->definition->name);
}

int mr_runner_program(struct mr_runner *runner, uint32_t version, struct mr_program **out,
		      struct mr_error *err)
{
	const struct mr_definition *definition = runner->definition;
	int r = make_room_for_programs(runner, definition->version_count, err);

	if (r < 0)
		return r;
	mr_assert(version < runner->program_count);
	if (!runner->programs[version])
		r = mr_pipelines_compile(definition->versions[version].text,
					 definition->versions[version].weights, definition->name,
					 &runner->rules[version], &runner->programs[version], err);
	if (r < 0 && r != -ENOMEM)
		explain_unread(runner, version, err);
	*out = runner->programs[version];
	return r;
}

/* Those of the newest version, if its alerts have any. */
static int start_actions(struct mr_runner *runner, struct mr_error *err)
{
	mr_alert_actions_stop(runner->actions);
	runner->actions = NULL;
	if (!mr_alert_actions_wanted(runner->definition))
		return 0;
	return mr_alert_actions_start(runner->definition, &runner->view, runner->socket_path,
				      &runner->actions, err);
}

/* Versions that are others now, since the input lost their marks. */
static bool has_others(const struct mr_definition *before, const struct mr_definition *definition)
{
	uint32_t i = 0;

	while (i < before->version_count && i < definition->version_count &&
	       mr_definition_same_rule(before, definition, i))
		i++;
	return i < before->version_count;
}

/* From here on nothing is read by what was known before, whatever fails. */
static int take_definition(struct mr_runner *runner, struct mr_definition *definition,
			   struct mr_error *err)
{
	struct mr_definition *before = runner->definition;
	bool grown = definition->version_count > before->version_count;
	bool lanes = strcmp(definition->topics[MR_PIPELINE_ALERTS],
			    before->topics[MR_PIPELINE_ALERTS]) != 0;
	bool others = has_others(before, definition);
	int32_t p;
	int r = 0;

	runner->definition = definition;
	mr_definition_free(before);
	if (!runner->consumer)
		return 0; /* it begins with that */
	if (lanes || others) {
		set_leave(runner,
			  true); /* and begins once more, with a lane for its alerts or so */
		return 0;
	}
	for (p = 0; r == 0 && p < definition->partition_count; p++)
		r = mr_runner_part_follow(&runner->parts[p], err);
	if (r < 0 || !grown)
		return r;
	runner->save_ns = 0; /* a new version is written down soon */
	return start_actions(runner, err);
}

int mr_runner_learn(struct mr_runner *runner, const struct mr_version_mark *mark, int32_t partition,
		    uint64_t offset, struct mr_error *err)
{
	int r;

	runner->ask.mark = mark;
	runner->ask.offset = offset;
	r = mr_runner_ask(runner, MR_RUNNER_LEARN, partition, err);
	return r < 0 ? r : take_definition(runner, runner->ask.definition, err);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* D3: the disk failed, for everybody. Short of space or memory: later. */
static void save_failed(struct mr_runner *runner, int status, const struct mr_error *err)
{
	mr_diag_warn("a pipeline's checkpoint cannot be written", "pipeline=%s error=\"%s\"",
		     runner->definition->name, err->what);
	if (status == -EIO)
		say(runner, MR_RUNNER_DISK_FAILED, status, err);
}

static void save_all(struct mr_runner *runner)
{
	struct mr_error err;
	int32_t p;
	int r;

	for (p = 0; p < runner->definition->partition_count; p++) {
		struct mr_runner_part *part = &runner->parts[p];

		if (!part->pipeline || part->status < 0 || part->pending ||
		    !mr_runner_part_changed(part))
			continue;
		r = mr_runner_part_save(part, &err);
		if (r < 0)
			save_failed(runner, r, &err);
	}
}

/* False: some wait for their records to be acknowledged. */
static bool settle_all(struct mr_runner *runner, bool shadows)
{
	struct mr_error err;
	bool all = true;
	int32_t p;
	int r;

	for (p = 0; p < runner->definition->partition_count; p++) {
		if (!runner->parts[p].active && !shadows)
			continue;
		r = mr_runner_part_settle(&runner->parts[p], &err);
		if (r < 0)
			save_failed(runner, r, &err);
		all &= !runner->parts[p].pending || !runner->parts[p].active;
	}
	return all;
}

/* Everything up to here, in a checkpoint that counts. */
static int save_and_settle(struct mr_runner *runner, struct mr_error *err)
{
	uint32_t waited;
	int32_t p;

	for (p = 0; p < runner->definition->partition_count; p++)
		if (runner->parts[p].active)
			runner->parts[p].pending = false; /* an older one is worth nothing now */
	save_all(runner);
	for (waited = 0; !settle_all(runner, false) && waited < LAST_MS; waited++)
		(void)poll(NULL, 0, 1);
	for (p = 0; p < runner->definition->partition_count; p++)
		if (runner->parts[p].active &&
		    (runner->parts[p].pending || mr_runner_part_changed(&runner->parts[p])))
			return mr_error_set(err, -ETIMEDOUT,
					    "pipeline '%s' could not write down how it stands",
					    runner->definition->name);
	return 0;
}

/* ---- what the control thread wants ----------------------------------------------------------- */

/* Without partitions: nothing but its checkpoint knows anything. */
static void forget(struct mr_runner *runner, struct mr_runner_message *message)
{
	message->status =
		mr_runner_forget_checkpoint(runner->io, runner->definition, message, &message->err);
	if (message->status < 0)
		save_failed(runner, message->status, &message->err);
	send(runner, message);
}

/* 'works': its partitions are there. */
static void take_requests(struct mr_runner *runner, bool works)
{
	struct mr_runner_message *message;

	while ((message = unqueue(runner)) != NULL) {
		if (message->kind == MR_RUNNER_FORGET && works) {
			put_off(runner, message);
			return;
		}
		if (message->kind == MR_RUNNER_FORGET) {
			forget(runner, message);
		} else if (!works) {
			refuse(runner, message);
		} else {
			message->text = mr_runner_get(runner, message->key, message->key_bytes);
			send(runner, message);
		}
	}
}

/* ---- work ------------------------------------------------------------------------------------ */

static uint64_t now_ns(const struct mr_runner *runner)
{
	return mr_clock_monotonic_ns(runner->clock);
}

/* Another leads now, or this host does: from its checkpoint on, as what it is now. */
static int change_role(struct mr_runner *runner, struct mr_runner_part *part, struct mr_error *err)
{
	int r;

	r = mr_runner_learn(runner, NULL, part->number, 0, err);
	if (r < 0 || mr_runner_stops(runner))
		return r;
	mr_runner_part_end(part);
	r = mr_runner_part_begin(part, err);
	if (r == 0)
		r = mr_consumer_seek(runner->consumer, part->number, part->offset);
	if (r == 0)
		mr_diag_notice("a pipeline changes its part", "pipeline=%s partition=%d now=%s",
			       runner->definition->name, part->number,
			       part->active ? "active" : "shadow");
	return r;
}

static int every_second(struct mr_runner *runner, uint64_t elapsed_ns, struct mr_error *err)
{
	int32_t p;
	int r = 0;

	for (p = 0; r == 0 && p < runner->definition->partition_count; p++) {
		struct mr_runner_part *part = &runner->parts[p];
		uint64_t records = mr_pipeline_counters(part->pipeline)->records;

		part->rate = (records - part->rated_records) * SECOND_NS / elapsed_ns;
		part->rated_records = records;
		mr_runner_part_show(part);
		r = mr_runner_part_check(part, err);
		if (r == -ESTALE)
			r = change_role(runner, part, err);
	}
	return r;
}

static int keep_time(struct mr_runner *runner, struct mr_error *err)
{
	uint64_t now = now_ns(runner);
	int r = 0;

	(void)settle_all(runner, false);
	if (now >= runner->second_ns + SECOND_NS) {
		(void)settle_all(runner, true);
		r = every_second(runner, now - runner->second_ns, err);
		runner->second_ns = now;
	}
	if (now >= runner->save_ns + runner->checkpoint_ns) {
		save_all(runner);
		runner->save_ns = now;
	}
	return r;
}

/* The next record of some partition is gone: which one's, the control thread knows. */
static int skip_what_is_gone(struct mr_runner *runner, struct mr_error *err)
{
	int32_t p;
	int r = mr_runner_learn(runner, NULL, 0, 0, err); /* marks may be gone, too */

	for (p = 0; r == 0 && p < runner->definition->partition_count; p++) {
		struct mr_runner_part *part = &runner->parts[p];

		r = mr_runner_ask(runner, MR_RUNNER_LOOK, p, err);
		if (r < 0 || part->offset >= runner->ask.log_start)
			continue;
		r = mr_runner_part_skip(part, runner->ask.log_start, runner->ask.log_end, err);
		if (r == 0)
			r = mr_consumer_seek(runner->consumer, p, part->offset);
	}
	return r;
}

static int read_some(struct mr_runner *runner, struct mr_error *err)
{
	const struct mr_message *messages = NULL;
	struct mr_runner_part *part;
	int r = mr_consumer_poll(runner->consumer, POLL_MS, &messages);

	if (r == -ERANGE)
		return skip_what_is_gone(runner, err);
	if (r < 0)
		mr_consumer_error(runner->consumer, err);
	if (r <= 0)
		return r;
	part = &runner->parts[messages[0].partition];
	if (mr_consumer_got_control(runner->consumer))
		r = mr_runner_part_mark(part, &messages[0], err);
	else
		r = mr_runner_part_feed(part, messages, (uint32_t)r, err);
	if (r == 0)
		mr_runner_part_show(part);
	return r;
}

static int work(struct mr_runner *runner, struct mr_error *err)
{
	int r = 0;

	set_state(runner, MR_RUNNER_RUNNING);
	say(runner, MR_RUNNER_SAYS, 0, NULL);
	while (r == 0 && !mr_runner_stops(runner)) {
		take_requests(runner, true);
		r = read_some(runner, err);
		if (r == 0)
			r = keep_time(runner, err);
	}
	return r;
}

/* ---- begin and end --------------------------------------------------------------------------- */

static int open_consumer(struct mr_runner *runner, struct mr_error *err)
{
	struct mr_connect_options connect = {.size = sizeof(connect),
					     .socket_path = runner->socket_path,
					     .client_name = runner->definition->name};
	struct mr_consumer_options options = {.size = sizeof(options),
					      .topic = runner->definition->input,
					      .from = MR_FROM_EARLIEST};
	int32_t p;
	int r = mr_connect(&connect, &runner->connection, err);

	if (r == 0)
		r = mr_consumer_open(runner->connection, &options, &runner->consumer, err);
	if (r == 0)
		mr_consumer_want_control(runner->consumer);
	for (p = 0; r == 0 && p < runner->definition->partition_count; p++)
		r = mr_consumer_seek(runner->consumer, p, runner->parts[p].offset);
	return r;
}

/* One poll of who reads marks: 1: there may be more; 0: all below 'to' was read. */
static int read_mark(struct mr_runner_part *part, struct mr_consumer *consumer, uint64_t to,
		     struct mr_error *err)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	const struct mr_message *messages;
	int r = mr_consumer_poll(consumer, POLL_MS, &messages);

	if (r > 0 && mr_consumer_got_control(consumer))
		r = mr_runner_part_learn(part, &messages[0], err);
	else if (r < 0)
		mr_consumer_error(consumer, err);
	if (r < 0)
		return r;
	r = mr_consumer_position(consumer, part->number, &position);
	return r < 0 ? r : position.offset < to;
}

int mr_runner_read_marks(struct mr_runner *runner, struct mr_runner_part *part, uint64_t from,
			 uint64_t to, struct mr_error *err)
{
	struct mr_connect_options connect = {.size = sizeof(connect),
					     .socket_path = runner->socket_path,
					     .client_name = runner->definition->name};
	struct mr_consumer_options options = {.size = sizeof(options),
					      .topic = runner->definition->input,
					      .partitions = &part->number,
					      .partition_count = 1,
					      .from = MR_FROM_OFFSET,
					      .from_value = (int64_t)from};
	uint64_t until = now_ns(runner) + MARKS_NS;
	struct mr_connection *connection = NULL;
	struct mr_consumer *consumer = NULL;
	int r = mr_connect(&connect, &connection, err);

	if (r == 0)
		r = mr_consumer_open(connection, &options, &consumer, err);
	if (r == 0)
		mr_consumer_want_control(consumer);
	for (r = r == 0 && from < to ? 1 : r; r > 0 && !mr_runner_stops(runner);) {
		r = read_mark(part, consumer, to, err);
		if (r > 0 && now_ns(runner) > until)
			r = mr_error_set(
				err, -EAGAIN,
				"topic '%.100s' partition %d is not committed up to offset "
				"%" PRIu64 " yet",
				runner->definition->input, part->number, to);
	}
	mr_consumer_close(consumer);
	mr_disconnect(connection);
	if (r > 0) /* nothing of it counts */
		r = mr_error_set(err, -EAGAIN, "pipeline '%s' is to stop",
				 runner->definition->name);
	return r;
}

static int begin(struct mr_runner *runner, struct mr_error *err)
{
	int32_t p;
	int r = 0;

	for (p = 0; p < runner->definition->partition_count; p++)
		runner->parts[p] = (struct mr_runner_part){.runner = runner, .number = p};
	r = mr_runner_learn(runner, NULL, 0, 0, err);
	for (p = 0; r == 0 && p < runner->definition->partition_count; p++) {
		r = mr_runner_part_begin(&runner->parts[p], err);
		if (r == 0)
			mr_runner_part_show(&runner->parts[p]);
	}
	if (r == 0)
		r = open_consumer(runner, err);
	if (r == 0)
		r = start_actions(runner, err);
	runner->second_ns = now_ns(runner);
	runner->save_ns = runner->second_ns;
	return r;
}

static void end(struct mr_runner *runner)
{
	int32_t p;

	mr_alert_actions_stop(runner->actions);
	runner->actions = NULL;
	mr_consumer_close(runner->consumer);
	mr_disconnect(runner->connection);
	runner->consumer = NULL;
	runner->connection = NULL;
	for (p = 0; p < runner->definition->partition_count; p++)
		mr_runner_part_end(&runner->parts[p]);
	forget_programs(runner);
}

/* A while in which it only answers. What is not up yet will be soon. */
static void rest(struct mr_runner *runner, int status)
{
	uint64_t ms = status == -EAGAIN ? REST_SOON_MS : REST_MS;
	uint64_t until = now_ns(runner) + ms * 1000000;

	while (!mr_runner_stops(runner) && now_ns(runner) < until) {
		take_requests(runner, false);
		sleep_on_requests(runner, ASK_MS);
	}
}

/* Its partitions are gone, whatever for. */
static void take_leave(struct mr_runner *runner)
{
	set_leave(runner, false);
	take_requests(runner, false);
}

static void *run(void *arg)
{
	struct mr_runner *runner = arg;
	struct mr_error err;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "p:%.12s", runner->definition->name);
	(void)pthread_setname_np(pthread_self(), name);	  /* for people only */
	(void)mr_place_bind_thread(&runner->place, NULL); /* a wish, no need */
	while (!mr_runner_ends(runner)) {
		memset(&err, 0, sizeof(err));
		r = begin(runner, &err);
		if (r == 0)
			r = work(runner, &err);
		if (mr_runner_ends(runner) && (r == 0 || r == -ECANCELED))
			(void)save_and_settle(runner, &err); /* else it says a little again */
		end(runner);
		if (mr_runner_ends(runner))
			break;
		if (mr_runner_stops(runner)) {
			set_state(runner, MR_RUNNER_STARTING);
		} else {
			set_state(runner, MR_RUNNER_STOPPED);
			say(runner, MR_RUNNER_SAYS, r, &err);
			rest(runner, r);
		}
		take_leave(runner);
	}
	take_requests(runner, false);
	runner->ask.kind = MR_RUNNER_ENDED;
	send(runner, &runner->ask);
	return NULL;
}

/* ---- the control thread's side --------------------------------------------------------------- */

static void free_runner(struct mr_runner *runner)
{
	forget_programs(runner);
	free(runner->programs);
	free(runner->rules);
	free(runner->parts);
	free(runner->view.parts);
	mr_mailbox_close(runner->to_runner);
	mr_mailbox_close(runner->to_control);
	mr_definition_free(runner->definition);
	free(runner);
}

static int make_parts(struct mr_runner *runner, struct mr_error *err)
{
	size_t count = (size_t)runner->definition->partition_count;
	int r;

	runner->parts = calloc(count, sizeof(*runner->parts));
	runner->view.parts = calloc(count, sizeof(*runner->view.parts));
	if (!runner->parts || !runner->view.parts)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline's thread");
	r = mr_mailbox_open(REQUESTS_MAX, MR_MAILBOX_BELL_IF_ASLEEP, &runner->to_runner, err);
	if (r == 0)
		r = mr_mailbox_open(REQUESTS_MAX, MR_MAILBOX_BELL_ALWAYS, &runner->to_control, err);
	return r;
}

static int start_thread(struct mr_runner *runner, struct mr_error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&runner->thread, NULL, run, runner);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r < 0 ? mr_error_set(err, r, "cannot start a pipeline's thread") : 0;
}

int mr_runner_start(const struct mr_runner_options *options, struct mr_runner **out,
		    struct mr_error *err)
{
	struct mr_runner *runner = calloc(1, sizeof(*runner));
	int r;

	if (!runner) {
		mr_definition_free(options->definition);
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline's thread");
	}
	runner->definition = options->definition;
	runner->place = *options->place;
	runner->io = options->io;
	runner->clock = options->clock;
	runner->checkpoint_ns = options->checkpoint_ms * 1000000;
	runner->queued_end = &runner->queued;
	snprintf(runner->socket_path, sizeof(runner->socket_path), "%s", options->socket_path);
	r = make_parts(runner, err);
	if (r == 0)
		r = options->watch(options->arg, mr_mailbox_fd(runner->to_control), err);
	if (r == 0)
		r = start_thread(runner, err);
	if (r < 0) {
		free_runner(runner);
		return r;
	}
	*out = runner;
	return 0;
}

const struct mr_runner_view *mr_runner_view(const struct mr_runner *runner)
{
	return &runner->view;
}

int mr_runner_send(struct mr_runner *runner, struct mr_runner_message *message)
{
	return mr_mailbox_send(runner->to_runner, message);
}

struct mr_runner_message *mr_runner_take(struct mr_runner *runner)
{
	mr_mailbox_wake(runner->to_control); /* silences the bell, before looking */
	return mr_mailbox_receive(runner->to_control);
}

int mr_runner_forget(struct mr_runner *runner, struct mr_runner_message *message)
{
	int r;

	message->kind = MR_RUNNER_FORGET;
	r = mr_mailbox_send(runner->to_runner, message);
	if (r == 0)
		set_leave(runner, true);
	return r;
}

void mr_runner_again(struct mr_runner *runner)
{
	set_leave(runner, true);
}

struct mr_runner_message *mr_runner_left(struct mr_runner *runner)
{
	return mr_mailbox_receive(runner->to_runner);
}

void mr_runner_stop(struct mr_runner *runner)
{
	/* relaxed: it looks again in time */
	atomic_store_explicit(&runner->stop, true, memory_order_relaxed);
}

void mr_runner_close(struct mr_runner *runner)
{
	pthread_join(runner->thread, NULL);
	free_runner(runner);
}
