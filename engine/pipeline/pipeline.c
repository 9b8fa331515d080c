/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of a pipeline (pipeline.h): a record's way from its bytes to the windows of its key and
 * out again.
 *
 * With many keys a record's cost is that of fetching its key's state from memory, not of computing.
 * So a record is parsed, and its place in the table called for, 16 records before its turn, and its
 * entry 8 before: memory works while those between are computed, evenly, a few lines at a time.
 */
#include "pipeline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_parts.h"

#define SWEEP_EVERY 16	 /* records: then one key is asked whether it is idle */
#define CLOCK_STEPS 1024 /* of `idle`: what a record moves the clock at most */
#define FETCH_AFTER 8	 /* records: less than MR_PIPELINE_AHEAD */

int mr_pipeline_new(const struct mr_program *program, int32_t partition, struct mr_pipeline **out,
		    struct mr_error *err)
{
	struct mr_pipeline *pipeline = calloc(1, sizeof(*pipeline));
	int r;

	if (!pipeline)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline");
	pipeline->program = program;
	pipeline->partition = partition;
	r = mr_parser_new(&program->rule->parse, &pipeline->parser, err);
	if (r == 0)
		r = mr_keys_init(&pipeline->keys, program, err);
	if (r < 0) {
		mr_pipeline_free(pipeline);
		return r;
	}
	*out = pipeline;
	return 0;
}

void mr_pipeline_free(struct mr_pipeline *pipeline)
{
	if (!pipeline)
		return;
	mr_parser_free(pipeline->parser);
	mr_keys_deinit(&pipeline->keys);
	free(pipeline);
}

const struct mr_pipeline_counters *mr_pipeline_counters(const struct mr_pipeline *pipeline)
{
	return &pipeline->counters;
}

void mr_pipeline_set_trace(struct mr_pipeline *pipeline,
			   void (*trace)(void *arg, const struct mr_pipeline_trace *trace),
			   void *arg)
{
	pipeline->trace = trace;
	pipeline->trace_arg = arg;
}

int mr_pipeline_replace(struct mr_pipeline *pipeline, const struct mr_program *program,
			struct mr_error *err)
{
	struct mr_parser *parser;
	int r = mr_parser_new(&program->rule->parse, &parser, err);

	if (r < 0)
		return r;
	if (!mr_program_same_state(pipeline->program, program))
		mr_keys_clear(&pipeline->keys);
	mr_parser_free(pipeline->parser);
	pipeline->parser = parser;
	pipeline->program = program;
	pipeline->keys.program = program;
	pipeline->counters.keys = pipeline->keys.count;
	pipeline->counters.bytes = pipeline->keys.bytes;
	return 0;
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

static void evict(struct mr_pipeline *pipeline, struct mr_key_entry *entry)
{
	mr_keys_remove(&pipeline->keys, entry);
	pipeline->counters.evicted++;
}

/* Room for a key more, or for so many bytes more in 'spared'. One key may always stay. */
static void make_room(struct mr_pipeline *pipeline, size_t bytes, const struct mr_key_entry *spared)
{
	const struct mr_rule *rule = pipeline->program->rule;
	struct mr_keys *keys = &pipeline->keys;

	while (keys->bytes + bytes > rule->bytes_max ||
	       (!spared && keys->count >= rule->keys_max)) {
		struct mr_key_entry *victim = mr_keys_victim(keys, spared);

		if (!victim)
			return;
		evict(pipeline, victim);
	}
}

static void move_clock(struct mr_pipeline *pipeline, int64_t time_ms)
{
	int64_t step = pipeline->program->rule->idle_ms / CLOCK_STEPS + 1;
	int64_t ahead = time_ms - pipeline->clock_ms;

	if (!pipeline->clock_set) {
		pipeline->clock_ms = time_ms;
		pipeline->clock_set = true;
		return;
	}
	if (ahead > step)
		ahead = step;
	if (ahead < -step)
		ahead = -step;
	pipeline->clock_ms += ahead;
}

/* Asks one key whether it was quiet for too long. */
static void sweep(struct mr_pipeline *pipeline)
{
	struct mr_keys *keys = &pipeline->keys;
	struct mr_key_entry *entry;

	if (!keys->count)
		return;
	if (keys->sweep >= keys->count)
		keys->sweep = 0;
	entry = keys->ring[keys->sweep];
	if (pipeline->clock_ms - entry->seen_ms > pipeline->program->rule->idle_ms)
		evict(pipeline, entry); /* the last key has taken its place */
	else
		keys->sweep++;
}

/* The key's entry, a new one if need be. NULL: no memory. */
static struct mr_key_entry *entry_of(struct mr_pipeline *pipeline,
				     const struct mr_pipeline_ahead *ahead)
{
	const struct mr_parsed *parsed = &ahead->parsed;
	struct mr_keys *keys = &pipeline->keys;
	uint32_t capacity = pipeline->program->capacity;
	struct mr_key_entry *entry =
		mr_keys_find_at(keys, ahead->slot, ahead->hash, parsed->key, parsed->key_bytes);

	if (entry)
		return entry;
	make_room(pipeline, mr_keys_entry_bytes(pipeline->program, parsed->key_bytes, capacity),
		  NULL);
	return mr_keys_add(keys, ahead->hash, parsed->key, parsed->key_bytes, capacity);
}

/* ---- a value into its windows ------------------------------------------------------------------
 */

/* More room for a key whose windows by time hold more than it has. NULL: no memory. */
static struct mr_key_entry *grow(struct mr_pipeline *pipeline, struct mr_key_entry *entry,
				 uint32_t capacity)
{
	size_t bytes = mr_keys_entry_bytes(pipeline->program, entry->key_bytes, capacity);

	make_room(pipeline, bytes, entry);
	return mr_keys_grow(&pipeline->keys, entry, capacity);
}

/* The key's windows, NULL: no memory. '*entry' may move. */
static void *push(struct mr_pipeline *pipeline, struct mr_key_entry **entry, int64_t time_ms,
		  double value)
{
	const struct mr_program *program = pipeline->program;
	uint32_t most = program->rule->samples_max;

	for (;;) {
		void *windows = mr_key_windows(program, *entry);
		uint32_t capacity, more;

		if (mr_window_block_push(program->plan, windows, time_ms, value) == 0)
			return windows;
		capacity = mr_window_block_capacity(windows);
		more = capacity < most / 2 ? 2 * capacity : most;
		if (more <= capacity) {
			mr_window_block_shed(program->plan, windows);
			pipeline->counters.shed++;
			continue;
		}
		*entry = grow(pipeline, *entry, more);
		if (!*entry)
			return NULL;
	}
}

/* ---- alerts ------------------------------------------------------------------------------------
 */

static enum mr_truth not(enum mr_truth truth) {
	return truth == MR_UNKNOWN ? MR_UNKNOWN
	       : truth == MR_TRUE  ? MR_FALSE
				   : MR_TRUE;
}

/* True: the alert changes, from raised to cleared or back. */
static bool step_alert(const struct mr_program_alert *alert, bool raised,
		       struct mr_program_alert_state *state, int64_t time_ms,
		       const struct mr_expression_input *input)
{
	const struct mr_expression *condition = raised && alert->clear ? alert->clear : alert->when;
	bool inverted = raised && !alert->clear;
	enum mr_truth truth = mr_expression_run(condition, input);

	if (inverted)
		truth = not(truth);
	if (truth == MR_UNKNOWN)
		return false;
	if (truth == MR_FALSE) {
		state->count = 0;
		return false;
	}
	if (state->count == 0)
		state->since_ms = time_ms;
	if (state->count < UINT32_MAX)
		state->count++;
	if (!inverted && (state->count < mr_expression_for_count(condition) ||
			  time_ms - state->since_ms < mr_expression_for_ms(condition)))
		return false;
	state->count = 0;
	return true;
}

static uint32_t step_alerts(struct mr_pipeline *pipeline, struct mr_key_entry *entry,
			    int64_t time_ms, const struct mr_expression_input *input)
{
	const struct mr_program *program = pipeline->program;
	struct mr_program_alert_state *states = mr_key_alerts(entry);
	uint32_t changed = 0;

	for (uint32_t i = 0; i < program->rule->alert_count; i++)
		if (step_alert(&program->alerts[i], entry->raised >> i & 1, &states[i], time_ms,
			       input))
			changed |= 1u << i;
	entry->raised ^= changed;
	return changed;
}

/* What the conditions see; the record before is what the state held until now. */
static void set_input(const struct mr_program *program, const struct mr_key_entry *entry,
		      const struct mr_parsed *parsed, const double *results,
		      struct mr_expression_input *input)
{
	const double *previous = mr_key_previous(program, entry);

	*input = (struct mr_expression_input){.value = parsed->value,
					      .time_s = (double)parsed->time_ms / 1000,
					      .results = results,
					      .previous_value = NAN,
					      .previous_time_s = NAN};
	if (!program->previous || isnan(previous[0]))
		return;
	input->previous_value = previous[0];
	input->previous_time_s = previous[1];
	input->previous_results = previous + 2;
}

static void set_previous(const struct mr_program *program, struct mr_key_entry *entry,
			 const struct mr_expression_input *input)
{
	double *previous = mr_key_previous(program, entry);

	if (!program->previous)
		return;
	previous[0] = input->value;
	previous[1] = input->time_s;
	memcpy(previous + 2, input->results, program->window_count * sizeof(double));
}

/* ---- outputs -----------------------------------------------------------------------------------
 */

static void emit(struct mr_pipeline *pipeline, const struct mr_pipeline_sink *sink,
		 struct mr_pipeline_record *record)
{
	record->number = pipeline->counters.outputs[record->topic]++;
	record->value = pipeline->text;
	sink->put(sink->arg, record);
}

static void emit_kept(struct mr_pipeline *pipeline, const struct mr_pipeline_sink *sink,
		      const struct mr_render_kept *kept)
{
	bool packed = pipeline->program->rule->format == MR_RULE_PACKED;
	struct mr_pipeline_record record = {
		.topic = MR_PIPELINE_OUTPUT,
		.timestamp_ms = kept->time_ms,
		.key = kept->key,
		.key_bytes = kept->key_bytes,
		.alert = -1,
	};

	record.value_bytes = packed ? mr_render_packed(kept, pipeline->text)
				    : mr_render_json(kept, pipeline->text);
	emit(pipeline, sink, &record);
}

static void emit_alerts(struct mr_pipeline *pipeline, const struct mr_pipeline_sink *sink,
			const struct mr_render_kept *kept, struct mr_key_entry *entry,
			uint32_t changed)
{
	for (; changed; changed &= changed - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(changed);
		struct mr_program_alert_state *state = &mr_key_alerts(entry)[i];
		struct mr_render_alert alert = {.kept = *kept, .alert = i};
		struct mr_pipeline_record record = {
			.topic = MR_PIPELINE_ALERTS,
			.timestamp_ms = kept->time_ms,
			.key = kept->key,
			.key_bytes = kept->key_bytes,
			.alert = (int32_t)i,
			.raised = entry->raised >> i & 1,
		};

		alert.raised = record.raised;
		if (record.raised)
			state->raised_ms = kept->time_ms;
		alert.raised_ms = state->raised_ms;
		pipeline->counters.raised += record.raised;
		pipeline->counters.cleared += !record.raised;
		record.value_bytes = mr_render_alert(&alert, pipeline->text);
		emit(pipeline, sink, &record);
	}
}

static void reject(struct mr_pipeline *pipeline, const struct mr_message *message,
		   const struct mr_pipeline_ahead *ahead, const struct mr_pipeline_sink *sink)
{
	struct mr_render_rejected rejected = {
		.program = pipeline->program,
		.message = message,
		.reason = ahead->reason,
		.where = ahead->parsed.where,
	};
	struct mr_pipeline_record record = {
		.topic = MR_PIPELINE_REJECTED,
		.timestamp_ms = message->timestamp_ms,
		.key = message->key,
		.key_bytes = message->key_bytes,
		.alert = -1,
	};

	pipeline->counters.rejected[ahead->reason]++;
	record.value_bytes = mr_render_rejected(&rejected, pipeline->text);
	emit(pipeline, sink, &record);
}

/* ---- a record's turn ---------------------------------------------------------------------------
 */

static void tell(struct mr_pipeline *pipeline, const struct mr_message *message,
		 const struct mr_pipeline_ahead *ahead, enum mr_clean_verdict verdict,
		 const struct mr_key_entry *entry, uint32_t changed)
{
	struct mr_pipeline_key key;
	struct mr_pipeline_trace trace = {
		.message = message,
		.parsed = ahead->parsed,
		.reason = ahead->reason,
		.verdict = verdict,
		.raised = entry ? changed & entry->raised : 0,
		.cleared = entry ? changed & ~entry->raised : 0,
		.key = entry ? &key : NULL,
	};

	if (entry)
		mr_pipeline_describe(pipeline, entry, &key);
	pipeline->trace(pipeline->trace_arg, &trace);
}

/* The record is worth computing with. Returns which alerts changed, or -ENOMEM. */
static int64_t keep(struct mr_pipeline *pipeline, const struct mr_message *message,
		    const struct mr_parsed *parsed, struct mr_key_entry **entry,
		    const struct mr_pipeline_sink *sink)
{
	const struct mr_program *program = pipeline->program;
	double results[MR_WINDOWS_MAX];
	struct mr_expression_input input;
	struct mr_render_kept kept = {
		.program = program,
		.key = parsed->key,
		.key_bytes = parsed->key_bytes,
		.partition = pipeline->partition,
		.offset = message->offset,
		.time_ms = parsed->time_ms,
		.value = parsed->value,
		.results = results,
	};
	uint32_t changed = 0;
	const void *windows = push(pipeline, entry, parsed->time_ms, parsed->value);

	if (!windows)
		return -ENOMEM;
	mr_window_block_results(program->plan, windows, results);
	if (program->rule->alert_count) {
		set_input(program, *entry, parsed, results, &input);
		changed = step_alerts(pipeline, *entry, parsed->time_ms, &input);
		set_previous(program, *entry, &input);
	}
	(*entry)->time_ms = parsed->time_ms;
	(*entry)->value = parsed->value;
	(*entry)->offset = message->offset;
	kept.raised = (*entry)->raised;
	pipeline->counters.kept++;
	emit_kept(pipeline, sink, &kept);
	if (changed)
		emit_alerts(pipeline, sink, &kept, *entry, changed);
	return changed;
}

static enum mr_clean_verdict check(const struct mr_program *program,
				   const struct mr_key_entry *entry, const struct mr_parsed *parsed)
{
	if (!program->cleans)
		return mr_clean_missing(parsed->value);
	return mr_clean_check(&program->rule->clean, mr_key_clean(program, entry), parsed->time_ms,
			      parsed->value);
}

static int take(struct mr_pipeline *pipeline, const struct mr_message *message,
		const struct mr_pipeline_ahead *ahead, const struct mr_pipeline_sink *sink)
{
	const struct mr_parsed *parsed = &ahead->parsed;
	const struct mr_program *program = pipeline->program;
	enum mr_clean_verdict verdict = MR_CLEAN_KEEP;
	struct mr_key_entry *entry = NULL;
	int64_t changed = 0;

	pipeline->counters.records++;
	if (ahead->reason != MR_PARSE_OK) {
		reject(pipeline, message, ahead, sink);
	} else {
		if (program->rule->idle_ms) {
			move_clock(pipeline, parsed->time_ms);
			if (pipeline->counters.records % SWEEP_EVERY == 0)
				sweep(pipeline);
		}
		entry = entry_of(pipeline, ahead);
		if (!entry)
			return -ENOMEM;
		entry->touched = 1;
		entry->seen_ms = parsed->time_ms;
		verdict = check(program, entry, parsed);
		if (verdict == MR_CLEAN_KEEP) {
			changed = keep(pipeline, message, parsed, &entry, sink);
			if (changed < 0)
				return (int)changed;
		} else {
			entry->dropped[verdict - 1]++;
			pipeline->counters.dropped[verdict]++;
		}
	}
	if (pipeline->trace)
		tell(pipeline, message, ahead, verdict, entry, (uint32_t)changed);
	return 0;
}

/* ---- ahead of their turn -----------------------------------------------------------------------
 */

static void look_ahead(struct mr_pipeline *pipeline, const struct mr_message *message,
		       struct mr_pipeline_ahead *ahead)
{
	struct mr_parsed *parsed = &ahead->parsed;

	ahead->reason = mr_parser_parse(pipeline->parser, message, parsed);
	if (ahead->reason != MR_PARSE_OK)
		return;
	if (!mr_pipeline_time_fits(parsed->time_ms)) {
		ahead->reason = MR_PARSE_BAD_TIME;
		return;
	}
	if (parsed->scratched) {
		char *kept = pipeline->ahead_keys[ahead - pipeline->ahead];

		memcpy(kept, parsed->key, (size_t)parsed->key_bytes);
		parsed->key = kept; /* the parser's scratch is used again */
	}
	ahead->hash = mr_keys_hash(&pipeline->keys, parsed->key, parsed->key_bytes);
	mr_keys_prefetch_slot(&pipeline->keys, ahead->hash);
}

static void fetch(const struct mr_pipeline *pipeline, struct mr_pipeline_ahead *ahead)
{
	if (ahead->reason == MR_PARSE_OK)
		ahead->slot = mr_keys_prefetch_entry(&pipeline->keys, ahead->hash);
}

static struct mr_pipeline_ahead *ahead_of(struct mr_pipeline *pipeline, uint64_t message)
{
	return &pipeline->ahead[message % MR_PIPELINE_AHEAD];
}

int mr_pipeline_feed(struct mr_pipeline *pipeline, const struct mr_message *messages,
		     uint32_t count, const struct mr_pipeline_sink *sink)
{
	int r = 0;

	for (uint64_t i = 0; i < (uint64_t)count + MR_PIPELINE_AHEAD && r == 0; i++) {
		uint64_t fetched = i - FETCH_AFTER, taken = i - MR_PIPELINE_AHEAD;
		struct mr_pipeline_ahead *ahead = ahead_of(pipeline, i);

		if (taken < count) /* its place is wanted again */
			r = take(pipeline, &messages[taken], ahead, sink);
		if (i < count)
			look_ahead(pipeline, &messages[i], ahead);
		if (fetched < count)
			fetch(pipeline, ahead_of(pipeline, fetched));
	}
	pipeline->counters.keys = pipeline->keys.count;
	pipeline->counters.bytes = pipeline->keys.bytes;
	return r;
}

/* ---- looking at it -----------------------------------------------------------------------------
 */

void mr_pipeline_describe(const struct mr_pipeline *pipeline, const struct mr_key_entry *entry,
			  struct mr_pipeline_key *out)
{
	const struct mr_program *program = pipeline->program;
	void *windows = mr_key_windows(program, entry);

	memset(out, 0, sizeof(*out));
	out->time_ms = entry->time_ms;
	out->value = entry->value;
	out->offset = entry->offset;
	out->raised = entry->raised;
	out->windows = windows;
	mr_window_block_results(program->plan, windows, out->results);
	for (uint32_t i = 1; i < MR_CLEAN_VERDICTS; i++)
		out->dropped[i] = entry->dropped[i - 1];
	out->bytes =
		mr_keys_entry_bytes(program, entry->key_bytes, mr_window_block_capacity(windows));
}

bool mr_pipeline_find(const struct mr_pipeline *pipeline, const void *key, int32_t key_bytes,
		      struct mr_pipeline_key *out)
{
	uint32_t hash = mr_keys_hash(&pipeline->keys, key, key_bytes);
	const struct mr_key_entry *entry = mr_keys_find(&pipeline->keys, hash, key, key_bytes);

	if (entry)
		mr_pipeline_describe(pipeline, entry, out);
	return entry != NULL;
}
