/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One input partition of a pipeline: where it begins, what it says, what it writes down (runner.h).
 * Runs on the pipeline's thread.
 *
 * A frame's number is the pipeline's number of that output, plus 'added'. 'added' is 0 but where
 * input was gone before it was read: what the log has since before then keeps its numbers, and what
 * follows takes the next ones.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "base/diag.h"
#include "check.h"
#include "doorbell.h"
#include "log/partition.h"
#include "runner_state.h"
#include "version_mark.h"

#define FULL_WAIT_MS 20			  /* between two looks whether the thread is to stop */
#define WAITS_NS     UINT64_C(1000000000) /* what lasts longer is told */
#define SETTLE_MS    1			  /* between two looks whether all is acknowledged */
/* What a topic takes of one output at most, on any host of any configuration. */
#define VALUE_BYTES_MAX (256u << 10)
/* More than half of the circle of sequences cannot be told from the future. */
#define REPEAT_MAX (UINT64_C(1) << 30)

static const struct mr_definition *definition_of(const struct mr_runner_part *part)
{
	return part->runner->definition;
}

static struct mr_lane_writer *writer_of(struct mr_runner_part *part, int topic)
{
	return &part->lanes->own[topic].writer;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static void publish(struct mr_runner_part *part)
{
	int t;

	for (t = 0; part->lanes && t < MR_PIPELINE_TOPICS; t++)
		if (part->lanes->used[t] && mr_lane_reserved(writer_of(part, t)))
			mr_own_lane_publish(&part->lanes->own[t]);
}

static uint64_t now_ns(const struct mr_runner_part *part)
{
	return mr_clock_monotonic_ns(part->runner->clock);
}

static void show(struct mr_runner_part *part, enum mr_runner_number which, uint64_t number)
{
	_Atomic uint64_t *view = part->runner->view.parts[part->number];

	atomic_store_explicit(&view[which], number,
			      memory_order_relaxed); /* relaxed: numbers for people */
}

/* It lasts: people are told, and who asks is not left to wait for it. */
static void tell_full(struct mr_runner_part *part, int topic)
{
	show(part, MR_RUNNER_FULL, part->full);
	show(part, MR_RUNNER_WAITS_FOR, 1 + (uint64_t)topic);
	mr_runner_refuse_all(part->runner, definition_of(part)->topics[topic], part->number);
}

/* Nobody but this pipeline waits. */
static void wait_for_room(struct mr_runner_part *part, int topic, uint64_t since_ns)
{
	struct mr_own_lane *own = &part->lanes->own[topic];
	uint32_t before = mr_lane_free_bytes(&own->writer);

	part->full++;
	if (now_ns(part) - since_ns >= WAITS_NS)
		tell_full(part, topic);
	publish(part);
	mr_lane_set_waiting(&own->writer, true);
	if (mr_lane_free_bytes(&own->writer) == before)
		(void)mr_doorbell_wait(own->bell_to_writer, FULL_WAIT_MS);
	mr_lane_set_waiting(&own->writer, false);
}

static void fail_lane(struct mr_runner_part *part, int topic, int status)
{
	char text[248] = "";

	part->status = status;
	(void)mr_lane_reason(writer_of(part, topic), text);
	if (status == -ECANCELED)
		mr_error_set(&part->err, status, "the pipeline is to stop");
	else if (text[0])
		mr_error_set(&part->err, status, "topic '%.80s' partition %d takes no more: %s",
			     definition_of(part)->topics[topic], part->number, text);
	else
		mr_error_set(&part->err, status,
			     "topic '%.100s' partition %d does not take an output record",
			     definition_of(part)->topics[topic], part->number);
}

static void put(void *arg, const struct mr_pipeline_record *output)
{
	struct mr_runner_part *part = arg;
	int topic = output->topic, r;
	struct mr_record record = {
		.key = output->key,
		.key_bytes = output->key_bytes,
		.value_bytes = (int32_t)output->value_bytes,
		.timestamp_ms = output->timestamp_ms,
	};
	uint64_t since_ns = 0;
	void *payload;

	if (part->status < 0 || !part->active)
		return;
	mr_assert(part->lanes->used[topic]);
	mr_assert(output->number + part->added[topic] == writer_of(part, topic)->number);
	if (output->value_bytes > VALUE_BYTES_MAX) {
		record.value_bytes = VALUE_BYTES_MAX;
		part->cut++;
	}
	for (;;) {
		r = mr_lane_reserve(writer_of(part, topic), &record, 0, &payload);
		if (r != -EAGAIN)
			break;
		if (mr_runner_stops(part->runner)) {
			r = -ECANCELED;
			break;
		}
		if (!since_ns)
			since_ns = now_ns(part);
		wait_for_room(part, topic, since_ns);
	}
	if (r < 0)
		fail_lane(part, topic, r);
	else if (record.value_bytes > 0)
		memcpy(payload, output->value, (size_t)record.value_bytes);
}

/* ---- feeding --------------------------------------------------------------------------------- */

/*
 * Versions that begin at 'offset' or before, one by one: one that had no records here may have
 * begun without state all the same, and who was there when it came must not know more than others.
 */
static int follow_versions(struct mr_runner_part *part, uint64_t offset, struct mr_error *err)
{
	const struct mr_definition *definition = definition_of(part);
	uint32_t wanted = mr_definition_version_at(definition, part->number, offset);
	struct mr_program *program;
	int r = 0;

	while (r == 0 && part->version < wanted) {
		r = mr_runner_program(part->runner, part->version + 1, &program, err);
		if (r == 0)
			r = mr_pipeline_replace(part->pipeline, program, err);
		if (r == 0)
			part->version++;
	}
	return r;
}

int mr_runner_part_follow(struct mr_runner_part *part, struct mr_error *err)
{
	return follow_versions(part, part->offset, err);
}

int mr_runner_part_learn(struct mr_runner_part *part, const struct mr_message *message,
			 struct mr_error *err)
{
	const struct mr_definition *definition = definition_of(part);
	struct mr_version_mark mark;
	int r = mr_version_mark_read(message, &mark);
	bool known;

	if (r == -EBADMSG)
		mr_diag_warn("a mark in a topic makes no sense: it is passed over",
			     "topic=%s partition=%d offset=%" PRIu64, definition->input,
			     part->number, message->offset);
	if (r < 0)
		return 0;
	known = memcmp(mark.pipeline_id, definition->id, 16) != 0 ||
		(mark.version < definition->version_count &&
		 definition->versions[mark.version].at[part->number] <= message->offset);
	if (!known)
		r = mr_runner_learn(part->runner, &mark, part->number, message->offset, err);
	mr_version_mark_deinit(&mark);
	return r;
}

int mr_runner_part_mark(struct mr_runner_part *part, const struct mr_message *message,
			struct mr_error *err)
{
	int r = mr_runner_part_learn(part, message, err);

	if (r < 0 || mr_runner_stops(part->runner))
		return r;
	r = follow_versions(part, message->offset, err);
	if (r == 0)
		part->offset = message->offset + 1;
	return r;
}

/* How many of the messages belong to the version of the first one. */
static uint32_t until_next_version(const struct mr_runner_part *part,
				   const struct mr_message *messages, uint32_t count)
{
	const struct mr_definition *definition = definition_of(part);
	uint32_t n = 1;

	if (part->version + 1 == definition->version_count)
		return count;
	while (n < count && mr_definition_version_at(definition, part->number,
						     messages[n].offset) == part->version)
		n++;
	return n;
}

int mr_runner_part_feed(struct mr_runner_part *part, const struct mr_message *messages,
			uint32_t count, struct mr_error *err)
{
	struct mr_pipeline_sink sink = {.put = put, .arg = part};
	uint32_t n;
	int r;

	while (count > 0 && !mr_runner_stops(part->runner)) {
		r = follow_versions(part, messages[0].offset, err);
		if (r < 0)
			return r;
		n = until_next_version(part, messages,
				       count < MR_RUNNER_SLICE ? count : MR_RUNNER_SLICE);
		r = mr_pipeline_feed(part->pipeline, messages, n, &sink);
		if (r < 0) {
			part->status = r;
			return mr_error_set(err, r, "no memory for keys within the rule's limits");
		}
		publish(part);
		if (part->status < 0) {
			*err = part->err;
			return part->status;
		}
		part->offset = messages[n - 1].offset + 1;
		messages += n;
		count -= n;
	}
	return 0;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

bool mr_runner_part_changed(const struct mr_runner_part *part)
{
	if (part->astray)
		return false;
	if (part->pending)
		return part->offset != part->pending_offset ||
		       part->version != part->pending_version;
	return !part->saved || part->offset != part->saved_offset ||
	       part->version != part->saved_version;
}

int mr_runner_part_save(struct mr_runner_part *part, struct mr_error *err)
{
	const struct mr_definition *definition = definition_of(part);
	const struct mr_pipeline_counters *counters = mr_pipeline_counters(part->pipeline);
	struct mr_pipeline_file head = {.partition = part->number,
					.rule_version = part->version,
					.offset = part->offset,
					.skipped = part->skipped};
	char path[80];
	int t, r;

	mr_assert(part->status == 0);
	memcpy(head.pipeline_id, definition->id, sizeof(head.pipeline_id));
	memcpy(head.input_id, definition->input_id, sizeof(head.input_id));
	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		head.numbers[t] = counters->outputs[t];
		head.added[t] = part->added[t];
		part->pending_numbers[t] = head.numbers[t] + head.added[t];
	}
	part->pending = false;
	mr_definition_checkpoint(definition, part->number, path);
	r = mr_pipeline_file_write(part->runner->io, path, &head, part->pipeline, err);
	if (r < 0)
		return r;
	part->pending = true;
	part->pending_ns = now_ns(part);
	part->pending_offset = part->offset;
	part->pending_version = part->version;
	return 0;
}

/* What is acknowledged of a topic: in the log, or known to be there since before. */
static bool is_safe(struct mr_runner_part *part, int topic)
{
	return !part->lanes->used[topic] ||
	       mr_lane_acknowledged(writer_of(part, topic)) >= part->pending_numbers[topic];
}

/* In shadow: what is durable here of the leader's outputs. */
static bool is_known(struct mr_runner_part *part)
{
	struct mr_runner *runner = part->runner;
	struct mr_error err;
	int t;

	memcpy(runner->ask.numbers, part->pending_numbers, sizeof(runner->ask.numbers));
	if (mr_runner_ask(runner, MR_RUNNER_KNOWN, part->number, &err) < 0)
		return false;
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (definition_of(part)->topics[t][0] &&
		    (int64_t)(runner->ask.numbers[t] - part->pending_numbers[t]) < 0)
			return false;
	return true;
}

static bool all_safe(struct mr_runner_part *part)
{
	int t;

	if (!part->active)
		return is_known(part);
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (!is_safe(part, t))
			return false;
	return true;
}

int mr_runner_part_settle(struct mr_runner_part *part, struct mr_error *err)
{
	char path[80];
	int r;

	if (!part->pending || !all_safe(part))
		return 0;
	mr_definition_checkpoint(definition_of(part), part->number, path);
	r = mr_pipeline_file_name(part->runner->io, path, err);
	if (r < 0)
		return r;
	part->pending = false;
	part->saved = true;
	part->saved_offset = part->pending_offset;
	part->saved_version = part->pending_version;
	return 0;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool belongs(const struct mr_runner_part *part, const struct mr_pipeline_file *head)
{
	const struct mr_definition *definition = definition_of(part);

	return !memcmp(head->pipeline_id, definition->id, 16) &&
	       !memcmp(head->input_id, definition->input_id, 16) &&
	       head->partition == part->number && head->rule_version < definition->version_count &&
	       (head->offset == 0 ||
		mr_definition_version_at(definition, part->number, head->offset - 1) <=
			head->rule_version);
}

static int new_pipeline(struct mr_runner_part *part, uint32_t version, struct mr_error *err)
{
	struct mr_program *program;
	int r = mr_runner_program(part->runner, version, &program, err);

	part->version = version;
	return r < 0 ? r : mr_pipeline_new(program, part->number, &part->pipeline, err);
}

static int load(struct mr_runner_part *part, struct mr_error *err)
{
	struct mr_pipeline_file head;
	char path[80];
	int r;

	mr_definition_checkpoint(definition_of(part), part->number, path);
	r = mr_pipeline_file_head(part->runner->io, path, &head, err);
	if (r == 0 && !belongs(part, &head))
		r = mr_error_set(err, -EBADMSG, "file '%s' is of another pipeline", path);
	if (r == 0)
		r = new_pipeline(part, head.rule_version, err);
	if (r == 0)
		r = mr_pipeline_file_load(part->runner->io, path, &head, part->pipeline, err);
	if (r < 0)
		return r;
	part->offset = head.offset;
	part->skipped = head.skipped;
	memcpy(part->added, head.added, sizeof(part->added));
	part->saved = true;
	part->saved_offset = head.offset;
	part->saved_version = head.rule_version;
	return 0;
}

int mr_runner_forget_checkpoint(struct mr_io *io, const struct mr_definition *definition,
				const struct mr_runner_message *message, struct mr_error *err)
{
	struct mr_pipeline_file head;
	char path[80], directory[64];
	int r;

	mr_definition_checkpoint(definition, message->partition, path);
	r = mr_pipeline_file_head(io, path, &head, err);
	if (r == -ENOENT || r == -EBADMSG)
		return 0; /* nothing is begun with that */
	if (r < 0 || head.offset <= message->log_end)
		return r;
	mr_definition_directory(definition, directory);
	r = mr_io_remove(io, path, err);
	if (r == 0)
		r = mr_io_sync_directory(io, directory, err);
	if (r == 0)
		mr_diag_warn("a pipeline's checkpoint knew records that its input has no more: the "
			     "input is read again",
			     "pipeline=%s topic=%s partition=%d from=%" PRIu64 " to=%" PRIu64,
			     definition->name, definition->input, message->partition,
			     message->log_end, head.offset);
	return r;
}

static int begin_anew(struct mr_runner_part *part, struct mr_error *err)
{
	mr_pipeline_free(part->pipeline);
	part->pipeline = NULL;
	memset(part->added, 0, sizeof(part->added));
	part->saved = false;
	part->skipped = 0;
	part->offset = definition_of(part)->versions[0].at[part->number];
	return new_pipeline(part, 0, err);
}

static int open_lanes(struct mr_runner_part *part, struct mr_error *err)
{
	struct mr_runner *runner = part->runner;
	const struct mr_pipeline_counters *counters = mr_pipeline_counters(part->pipeline);
	int t, r;

	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		runner->ask.numbers[t] = counters->outputs[t] + part->added[t];
	r = mr_runner_ask(runner, MR_RUNNER_OPEN_LANES, part->number, err);
	if (r < 0)
		return r;
	part->lanes = runner->ask.lanes;
	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		uint64_t number = runner->ask.numbers[t], next = part->lanes->next[t];

		part->known[t] = number;
		if (part->lanes->used[t] && next != MR_OFFSET_UNKNOWN)
			part->known[t] =
				number + (uint64_t)(int64_t)mr_sequence_distance(
						 (int32_t)next, (int32_t)(number & INT32_MAX));
	}
	return 0;
}

static void close_lanes(struct mr_runner_part *part)
{
	struct mr_error err;

	if (!part->lanes)
		return;
	part->lanes = NULL;
	(void)mr_runner_ask(part->runner, MR_RUNNER_CLOSE_LANES, part->number, &err);
}

/* A topic that should have more than it has; -1: none. Topics in memory begin empty. */
static int find_short(const struct mr_runner_part *part)
{
	const struct mr_pipeline_counters *counters = mr_pipeline_counters(part->pipeline);
	int t;

	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		uint64_t number = counters->outputs[t] + part->added[t];
		bool unknown = part->lanes->next[t] == MR_OFFSET_UNKNOWN;

		if (!part->lanes->used[t] || definition_of(part)->in_memory)
			continue;
		if (unknown ? number > 0 : (int64_t)(part->known[t] - number) < 0)
			return t;
		if (!part->saved && !unknown && part->lanes->log_end[t] > REPEAT_MAX)
			return t;
	}
	return -1;
}

static int refuse_short(struct mr_runner_part *part, int topic, struct mr_error *err)
{
	mr_error_set(err, -ENODATA,
		     "topic '%.100s' partition %d does not end where pipeline '%s' left it",
		     definition_of(part)->topics[topic], part->number, definition_of(part)->name);
	mr_error_why(err, "records that it had said are no longer in that log");
	return mr_error_hint(err, "remove the pipeline and add it again: millrace rule remove %s",
			     definition_of(part)->name);
}

/* Something was said already, and nobody knows any more by what state. */
static bool is_unknown(const struct mr_runner_part *part)
{
	int t;

	if (part->saved)
		return false;
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (part->lanes->used[t] && part->lanes->next[t] != MR_OFFSET_UNKNOWN)
			return true;
	return false;
}

static int look_at_input(struct mr_runner_part *part, struct mr_error *err)
{
	struct mr_runner *runner = part->runner;
	int r = mr_runner_ask(runner, MR_RUNNER_LOOK, part->number, err);

	if (r < 0)
		return r;
	if (part->offset < runner->ask.log_start && part->active && is_unknown(part)) {
		mr_error_set(err, -ENODATA,
			     "pipeline '%s' has no checkpoint of partition %d, and its input from "
			     "offset %" PRIu64 " on is no longer kept",
			     definition_of(part)->name, part->number, part->offset);
		mr_error_why(err, "what it has said already cannot be told from what it has not");
		return mr_error_hint(err,
				     "remove the pipeline and add it again: millrace rule remove "
				     "%s",
				     definition_of(part)->name);
	}
	if (part->offset > runner->ask.log_end && !part->active)
		return mr_error_set(err, -EAGAIN,
				    "topic '%.100s' partition %d ends at offset %" PRIu64
				    " here, and pipeline '%s' has read up to %" PRIu64
				    ": it waits until the copy has come so far",
				    definition_of(part)->input, part->number, runner->ask.log_end,
				    definition_of(part)->name, part->offset);
	if (part->offset > runner->ask.log_end) {
		mr_error_set(err, -ENODATA,
			     "topic '%.100s' partition %d ends at offset %" PRIu64
			     ", and pipeline '%s' has read up to %" PRIu64,
			     definition_of(part)->input, part->number, runner->ask.log_end,
			     definition_of(part)->name, part->offset);
		mr_error_why(err, "records that it had read are no longer in that log");
		return mr_error_hint(err,
				     "remove the pipeline and add it again: millrace rule remove "
				     "%s",
				     definition_of(part)->name);
	}
	if (part->offset < runner->ask.log_start)
		return mr_runner_part_skip(part, runner->ask.log_start, runner->ask.log_end, err);
	return 0;
}

static int begin_once(struct mr_runner_part *part, bool from_checkpoint, struct mr_error *err)
{
	int r = from_checkpoint ? load(part, err) : -ENOENT;
	int missing;

	if (r == -EBADMSG)
		mr_diag_warn("a pipeline's checkpoint is damaged: its input is read again",
			     "pipeline=%s partition=%d error=\"%s\"", definition_of(part)->name,
			     part->number, err->what);
	if (r == -EBADMSG || r == -ENOENT)
		r = begin_anew(part, err);
	if (r == 0)
		r = mr_runner_ask(part->runner, MR_RUNNER_LOOK, part->number, err);
	if (r < 0)
		return r;
	part->active = part->runner->ask.active;
	if (!part->active)
		return look_at_input(part, err);
	r = open_lanes(part, err);
	if (r < 0)
		return r;
	missing = find_short(part);
	if (missing >= 0)
		return part->saved ? -ESTALE : refuse_short(part, missing, err);
	return look_at_input(part, err);
}

int mr_runner_part_begin(struct mr_runner_part *part, struct mr_error *err)
{
	int r = begin_once(part, true, err);

	if (r == -ESTALE) {
		/* an output lost its end: whatever it lost is said again, if the input has it all
		 */
		mr_diag_warn("a pipeline's output is shorter than it was: its input is read again",
			     "pipeline=%s partition=%d", definition_of(part)->name, part->number);
		mr_runner_part_end(part);
		r = begin_once(part, false, err);
	}
	if (r == 0)
		part->rated_records = mr_pipeline_counters(part->pipeline)->records;
	if (r == 0 && part->active && !part->saved && !part->pending)
		r = mr_runner_part_save(part, err);
	return r == 0 ? mr_runner_part_settle(part, err) : r;
}

void mr_runner_part_end(struct mr_runner_part *part)
{
	close_lanes(part);
	mr_pipeline_free(part->pipeline);
	part->pipeline = NULL;
	part->pending = false;
	part->astray = false;
	part->status = 0;
}

/* Where the logs have more than the state says, it goes on behind that. True if one had. */
static bool jump_to_known(struct mr_runner_part *part)
{
	const struct mr_pipeline_counters *counters = mr_pipeline_counters(part->pipeline);
	bool jumped = false;
	int t;

	for (t = 0; t < MR_PIPELINE_TOPICS; t++) {
		uint64_t number = counters->outputs[t] + part->added[t];

		if (!part->lanes->used[t] || (int64_t)(part->known[t] - number) <= 0)
			continue;
		part->added[t] += part->known[t] - number;
		jumped = true;
	}
	return jumped;
}

static int settle_now(struct mr_runner_part *part, struct mr_error *err)
{
	int r = mr_runner_part_save(part, err);

	while (r == 0 && part->pending && !mr_runner_stops(part->runner)) {
		r = mr_runner_part_settle(part, err);
		if (r == 0 && part->pending)
			r = mr_runner_part_check(part, err);
		if (r == 0 && part->pending)
			(void)poll(NULL, 0, SETTLE_MS);
	}
	return r;
}

/*
 * Where what comes next has been said already, in part, nobody knows up to which record: then all
 * that is there now is left out, but the marks of versions, so that nothing is answered twice. It
 * is durable before anything more is said.
 */
int mr_runner_part_skip(struct mr_runner_part *part, uint64_t log_start, uint64_t log_end,
			struct mr_error *err)
{
	uint64_t to = log_start;
	int r = 0;

	part->astray |= !part->active;
	if (part->active && jump_to_known(part)) {
		to = log_end;
		close_lanes(part);
		r = open_lanes(part, err);
		if (r == 0)
			r = mr_runner_read_marks(part->runner, part, log_start, to, err);
	}
	if (r < 0)
		return r;
	mr_diag_warn("input was gone before a pipeline had read it",
		     "pipeline=%s topic=%s partition=%d from=%" PRIu64 " to=%" PRIu64,
		     definition_of(part)->name, definition_of(part)->input, part->number,
		     part->offset, to);
	part->skipped += to - part->offset;
	part->offset = to;
	r = mr_runner_part_follow(part, err);
	return r < 0 || !part->active ? r : settle_now(part, err);
}

int mr_runner_part_check(struct mr_runner_part *part, struct mr_error *err)
{
	char text[248];
	int t, r = mr_runner_ask(part->runner, MR_RUNNER_LOOK, part->number, err);

	if (r < 0)
		return r;
	if (part->runner->ask.active != part->active)
		return -ESTALE;
	for (t = 0; part->active && t < MR_PIPELINE_TOPICS; t++) {
		if (!part->lanes->used[t] ||
		    mr_lane_reason(writer_of(part, t), text) == MR_LANE_OPEN)
			continue;
		fail_lane(part, t, -EPIPE);
		*err = part->err;
		return -EPIPE;
	}
	return 0;
}

/* ---- for people ------------------------------------------------------------------------------ */

/* Not in the middle of an output: there is room. */
static uint64_t waits_for(struct mr_runner_part *part)
{
	int t;

	if (!part->active || !part->pending || now_ns(part) - part->pending_ns < WAITS_NS)
		return 0;
	for (t = 0; t < MR_PIPELINE_TOPICS; t++)
		if (!is_safe(part, t))
			return 1 + MR_PIPELINE_TOPICS + (uint64_t)t;
	return 0;
}

void mr_runner_part_show(struct mr_runner_part *part)
{
	const struct mr_pipeline_counters *counters = mr_pipeline_counters(part->pipeline);
	uint64_t numbers[MR_RUNNER_NUMBERS] = {
		[MR_RUNNER_OFFSET] = part->offset,
		[MR_RUNNER_CHECKPOINT] = part->saved_offset,
		[MR_RUNNER_VERSION] = part->version + 1,
		[MR_RUNNER_ACTIVE] = part->active,
		[MR_RUNNER_RECORDS] = counters->records,
		[MR_RUNNER_RATE] = part->rate,
		[MR_RUNNER_KEPT] = counters->kept,
		[MR_RUNNER_RAISED] = counters->raised,
		[MR_RUNNER_CLEARED] = counters->cleared,
		[MR_RUNNER_EVICTED] = counters->evicted,
		[MR_RUNNER_SHED] = counters->shed,
		[MR_RUNNER_KEYS] = counters->keys,
		[MR_RUNNER_BYTES] = counters->bytes,
		[MR_RUNNER_OUTPUTS] = counters->outputs[MR_PIPELINE_OUTPUT],
		[MR_RUNNER_ALERTS] = counters->outputs[MR_PIPELINE_ALERTS],
		[MR_RUNNER_REJECTS] = counters->outputs[MR_PIPELINE_REJECTED],
		[MR_RUNNER_SKIPPED] = part->skipped,
		[MR_RUNNER_FULL] = part->full,
		[MR_RUNNER_CUT] = part->cut,
		[MR_RUNNER_ASTRAY] = part->astray && !part->saved,
		[MR_RUNNER_WAITS_FOR] = waits_for(part),
	};
	int i;

	memcpy(&numbers[MR_RUNNER_DROPPED], counters->dropped, sizeof(counters->dropped));
	memcpy(&numbers[MR_RUNNER_REJECTED], counters->rejected, sizeof(counters->rejected));
	for (i = 0; i < MR_RUNNER_NUMBERS; i++)
		show(part, (enum mr_runner_number)i, numbers[i]);
}
