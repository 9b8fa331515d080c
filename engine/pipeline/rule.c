/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules (rule.h): the file as a whole, and what must hold between its parts.
 */
#include "rule.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/topic_name.h"
#include "check.h"
#include "expression.h"
#include "rule_parts.h"

#define KEYS_MAX    UINT64_C(1000000)
#define BYTES_MAX   (UINT64_C(1) << 30)
#define SAMPLES_MAX MR_WINDOW_COUNT_MAX

/* ---- fields of the file ------------------------------------------------------------------------
 */

static int read_pipeline(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	char *name = reader->rule->name;
	int r = mr_rule_read_text(reader, node, "pipeline", name, sizeof(reader->rule->name));

	if (r == 0 && mr_topic_check_name(name, reader->err) < 0)
		r = mr_rule_refuse(reader, node,
				   "pipeline '%s': a name has letters, digits, '.', "
				   "'_' and '-'",
				   name);
	return r;
}

static int read_topic(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      char *name)
{
	int r = mr_rule_read_text(reader, node, what, name, MR_TOPIC_NAME_MAX + 1);

	if (r < 0)
		return r;
	if (mr_topic_check_name(name, reader->err) < 0)
		return mr_rule_refuse_as(reader, node);
	if (strncmp(name, "__", 2) == 0)
		return mr_rule_refuse(reader, node,
				      "%s: topics that begin with '__' are the "
				      "engine's own",
				      what);
	return 0;
}

static int read_input(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return read_topic(reader, node, "input", reader->rule->input);
}

static int read_key(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_text(reader, node, "key", reader->rule->parse.key, MR_PARSE_PATH_MAX);
}

static int read_value(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_text(reader, node, "value", reader->rule->parse.value,
				 MR_PARSE_PATH_MAX);
}

static int read_output_topic(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return read_topic(reader, node, "output", reader->rule->output);
}

static int read_output_format(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"json", "packed"};
	uint32_t format = 0;
	int r = mr_rule_read_word(reader, node, "format", words, 2, &format);

	reader->rule->format = (enum mr_rule_output)format;
	return r;
}

static int read_alerts_topic(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return read_topic(reader, node, "alerts", reader->rule->alerts_topic);
}

static int read_rejected_topic(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return read_topic(reader, node, "rejected", reader->rule->rejected_topic);
}

static int read_storage(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"log", "memory"};
	uint32_t storage = 0;
	int r = mr_rule_read_word(reader, node, "storage", words, 2, &storage);

	reader->rule->output_in_memory = storage == 1;
	return r;
}

static const struct mr_rule_field output_fields[] = {
	{"topic", read_output_topic, true},   {"format", read_output_format, false},
	{"alerts", read_alerts_topic, false}, {"rejected", read_rejected_topic, false},
	{"storage", read_storage, false},
};

static int read_output(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	if (mr_rule_is_map(node))
		return mr_rule_read_map(reader, node, "output", output_fields,
					mr_array_count(output_fields), NULL);
	return read_output_topic(reader, node, NULL);
}

static int read_keys(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_count(reader, node, "keys", 1, UINT32_MAX / 4, &reader->rule->keys_max);
}

static int read_bytes(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_bytes(reader, node, "bytes", &reader->rule->bytes_max);
}

static int read_idle(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_time(reader, node, "idle", &reader->rule->idle_ms);
}

static int read_samples(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	uint64_t samples = 0;
	int r = mr_rule_read_count(reader, node, "samples", 1, SAMPLES_MAX, &samples);

	reader->rule->samples_max = (uint32_t)samples;
	return r;
}

static const struct mr_rule_field limit_fields[] = {
	{"keys", read_keys, false},
	{"bytes", read_bytes, false},
	{"idle", read_idle, false},
	{"samples", read_samples, false},
};

static int read_limits(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_map(reader, node, "limits", limit_fields, mr_array_count(limit_fields),
				NULL);
}

static const struct mr_rule_field fields[] = {
	{"pipeline", read_pipeline, true},	 {"input", read_input, true},
	{"parse", mr_rule_read_parse, true},	 {"key", read_key, false},
	{"time", mr_rule_read_time_path, false}, {"value", read_value, false},
	{"clean", mr_rule_read_clean, false},	 {"windows", mr_rule_read_windows, false},
	{"alert", mr_rule_read_alerts, false},	 {"output", read_output, true},
	{"limits", read_limits, false},
};

/* ---- what must hold between them ---------------------------------------------------------------
 */

/* Where in the file 'name' is said, by itself or in the map 'inside'; else what is around it. */
static const yaml_node_t *place(struct mr_rule_reader *reader, const yaml_node_t *root,
				const char *inside, const char *name)
{
	const yaml_node_t *around = inside ? mr_rule_entry(reader, root, inside) : root;
	const yaml_node_t *node = around ? mr_rule_entry(reader, around, name) : NULL;

	return node ? node : around ? around : root;
}

/* "sensors.knowledge" has its alerts in "sensors.alerts", "out" in "out.alerts". */
static int name_topics(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	static const char knowledge[] = ".knowledge";
	struct mr_rule *rule = reader->rule;
	size_t stem = strlen(rule->output);
	char name[MR_TOPIC_NAME_MAX + 16];

	if (!rule->rejected_topic[0]) {
		snprintf(name, sizeof(name), "%s.rejected", rule->output);
		if (mr_topic_check_name(name, reader->err) < 0)
			return mr_rule_refuse_as(reader, place(reader, root, "output", "topic"));
		snprintf(rule->rejected_topic, sizeof(rule->rejected_topic), "%.*s",
			 MR_TOPIC_NAME_MAX, name);
	}
	if (rule->alerts_topic[0])
		return 0;
	if (stem > strlen(knowledge) &&
	    strcmp(rule->output + stem - strlen(knowledge), knowledge) == 0)
		stem -= strlen(knowledge);
	snprintf(name, sizeof(name), "%.*s.alerts", (int)stem, rule->output);
	if (mr_topic_check_name(name, reader->err) < 0)
		return mr_rule_refuse_as(reader, place(reader, root, "output", "topic"));
	snprintf(rule->alerts_topic, sizeof(rule->alerts_topic), "%.*s", MR_TOPIC_NAME_MAX, name);
	return 0;
}

static int check_topics(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	const struct mr_rule *rule = reader->rule;
	const char *const topics[] = {rule->input, rule->output, rule->alerts_topic,
				      rule->rejected_topic};
	static const char *const names[] = {"input", "output", "alerts", "rejected"};
	static const char *const words[] = {"input", "topic", "alerts", "rejected"};

	for (size_t i = 0; i < mr_array_count(topics); i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(topics[i], topics[j]) == 0)
				return mr_rule_refuse(reader,
						      place(reader, root, "output", words[i]),
						      "%s and %s are one topic, '%.80s': each "
						      "needs its own",
						      names[j], names[i], topics[i]);
	return 0;
}

/* Sentences about one of the three begin with its name. */
static const yaml_node_t *place_of_path(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	static const char *const names[] = {"key", "time", "value"};

	for (size_t i = 0; i < mr_array_count(names); i++) {
		size_t bytes = strlen(names[i]);

		if (strncmp(reader->err->what, names[i], bytes) == 0 &&
		    reader->err->what[bytes] == ':')
			return place(reader, root, NULL, names[i]);
	}
	return place(reader, root, NULL, "parse");
}

static int check_parse(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	const struct mr_parse_spec *spec = &reader->rule->parse;
	struct mr_parser *parser;

	if (spec->format != MR_PARSE_NUMBER && !spec->value[0])
		return mr_rule_refuse(reader, place(reader, root, NULL, "parse"),
				      "where is the value in a record? a rule needs "
				      "'value'");
	if (mr_parser_new(spec, &parser, reader->err) < 0)
		return mr_rule_refuse_as(reader, place_of_path(reader, root));
	mr_parser_free(parser);
	return 0;
}

static int refuse_line(struct mr_rule_reader *reader, uint32_t line)
{
	mr_error_prefix(reader->err, "%.160s:%" PRIu32 ": ", reader->file, line);
	return reader->err->code;
}

/* What can never be meant: a condition that looks at nothing, a clear that is not away from when.
 */
static int check_sense(const struct mr_rule_alert *alert, const struct mr_expression *when,
		       const struct mr_expression *clear, struct mr_error *err)
{
	int r;

	if (mr_expression_is_constant(when) || (clear && mr_expression_is_constant(clear)))
		return mr_error_set(err, -EINVAL,
				    "alert '%s', %s: it is always the same, expected a condition "
				    "on value, time or a window",
				    alert->name,
				    mr_expression_is_constant(when) ? "when" : "clear");
	if (!clear)
		return 0;
	if (mr_expression_implies(when, clear))
		r = mr_error_set(err, -EINVAL,
				 "alert '%s', clear: it holds whenever when does, so the alert "
				 "would be cleared at once",
				 alert->name);
	else if (mr_expression_implies(clear, when))
		r = mr_error_set(err, -EINVAL,
				 "alert '%s', clear: it holds only while when does, so the alert "
				 "would be raised again at once",
				 alert->name);
	else
		return 0;
	mr_error_hint(err, "let there be room between: when: \"avg > 90\", clear: \"avg < 85\"");
	return r;
}

/* The windows that a condition made, from 'from' on. */
static int check_made(const struct mr_expression_scope *scope, uint32_t from, struct mr_error *err)
{
	for (uint32_t i = from; i < scope->count; i++) {
		struct mr_window_plan *plan = NULL;
		int r = mr_window_plan_new(&scope->specs[i], 1, &plan, err);

		mr_window_plan_free(plan);
		if (r < 0) {
			mr_error_prefix(err, "%s: ", scope->names[i]);
			return r;
		}
	}
	return 0;
}

/* Every condition is compiled once; with the windows that they make, all have a plan. */
static int check_alert(struct mr_rule_reader *reader, const struct mr_rule_alert *alert,
		       struct mr_expression_scope *scope)
{
	struct mr_expression *when = NULL, *clear = NULL;
	const uint32_t made = scope->count;
	int r = mr_expression_compile(alert->when, scope, &when, reader->err);

	if (r < 0)
		mr_error_prefix(reader->err, "alert '%s', when: ", alert->name);
	if (r == 0 && alert->clear[0]) {
		r = mr_expression_compile(alert->clear, scope, &clear, reader->err);
		if (r < 0)
			mr_error_prefix(reader->err, "alert '%s', clear: ", alert->name);
	}
	if (r == 0)
		r = check_sense(alert, when, clear, reader->err);
	if (r == 0)
		r = check_made(scope, made, reader->err);
	mr_expression_free(when);
	mr_expression_free(clear);
	return r < 0 ? refuse_line(reader, alert->line) : 0;
}

/* What a window of the last N values looks at must be kept; those by time may lose their oldest. */
static int check_samples(struct mr_rule_reader *reader, const yaml_node_t *root,
			 const struct mr_expression_scope *scope)
{
	const struct mr_rule *rule = reader->rule;

	for (uint32_t i = 0; i < scope->count; i++) {
		const struct mr_window_spec *spec = &scope->specs[i];

		if (spec->extent != MR_WINDOW_BY_COUNT || spec->count <= rule->samples_max)
			continue;
		mr_error_set(reader->err, -EINVAL,
			     "samples: %" PRIu32
			     " of a key are kept, window '%s' looks at %" PRIu32,
			     rule->samples_max, scope->names[i], spec->count);
		mr_error_hint(reader->err, "let samples be %" PRIu32 " or more", spec->count);
		return mr_rule_refuse_as(reader, place(reader, root, "limits", "samples"));
	}
	return 0;
}

static int check_windows(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	const struct mr_rule *rule = reader->rule;
	struct mr_window_spec specs[MR_WINDOWS_MAX];
	char names[MR_WINDOWS_MAX][64];
	struct mr_expression_scope scope = {.specs = specs, .names = names};
	struct mr_window_plan *plan = NULL;
	double ones[1] = {1};
	int r = 0;

	for (uint32_t i = 0; i < rule->window_count; i++) {
		specs[i] = rule->windows[i].spec;
		if (rule->windows[i].kind == MR_RULE_WEIGHTS_FITTED) { /* any will do here */
			specs[i].weights = ones;
			specs[i].weight_count = 1;
		}
		snprintf(names[i], sizeof(names[i]), "%s", rule->windows[i].name);
		r = mr_window_plan_new(&specs[i], 1, &plan, reader->err);
		mr_window_plan_free(plan);
		plan = NULL;
		if (r < 0) {
			mr_error_prefix(reader->err, "window '%s': ", names[i]);
			return refuse_line(reader, rule->windows[i].line);
		}
	}
	scope.count = rule->window_count;
	for (uint32_t i = 0; i < rule->alert_count && r == 0; i++)
		r = check_alert(reader, &rule->alerts[i], &scope);
	if (r == 0)
		r = check_samples(reader, root, &scope);
	if (r == 0 && mr_window_plan_new(specs, scope.count, &plan, reader->err) < 0)
		r = mr_rule_refuse_as(reader, place(reader, root, NULL, "windows"));
	mr_window_plan_free(plan);
	return r;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static void set_defaults(struct mr_rule *rule)
{
	rule->clean.low = rule->clean.high = NAN;
	rule->clean.max_late_ms = INT64_MAX;
	rule->keys_max = KEYS_MAX;
	rule->bytes_max = BYTES_MAX;
	rule->samples_max = SAMPLES_MAX;
}

static int read_rule(struct mr_rule_reader *reader, const yaml_node_t *root)
{
	int r = mr_rule_read_map(reader, root, "a rule", fields, mr_array_count(fields), NULL);

	if (r == 0)
		r = name_topics(reader, root);
	if (r == 0)
		r = check_topics(reader, root);
	if (r == 0)
		r = check_parse(reader, root);
	return r < 0 ? r : check_windows(reader, root);
}

int mr_rule_read(const void *bytes, size_t count, const char *file, struct mr_rule **out,
		 struct mr_error *err)
{
	struct mr_error unseen;
	struct mr_rule_reader reader = {.file = file, .err = err ? err : &unseen};
	const yaml_node_t *root;
	int r;

	if (count > MR_RULE_FILE_MAX)
		return mr_error_set(err, -EINVAL, "%.160s: a rule has at most %u bytes", file,
				    MR_RULE_FILE_MAX);
	r = mr_rule_yaml_open(&reader, bytes, count, &root);
	if (r < 0)
		return r;
	reader.rule = calloc(1, sizeof(*reader.rule));
	if (!reader.rule) {
		mr_rule_yaml_close(&reader);
		return mr_error_set(err, -ENOMEM, "no memory for the rule %.160s", file);
	}
	set_defaults(reader.rule);
	r = read_rule(&reader, root);
	mr_rule_yaml_close(&reader);
	if (r < 0) {
		mr_rule_free(reader.rule);
		return r;
	}
	*out = reader.rule;
	return 0;
}

void mr_rule_free(struct mr_rule *rule)
{
	if (!rule)
		return;
	for (uint32_t i = 0; i < rule->window_count; i++)
		free(rule->windows[i].weights);
	free(rule);
}

/* ---- fitted weights ----------------------------------------------------------------------------
 */

int mr_rule_unfitted(const struct mr_rule *rule)
{
	for (uint32_t i = 0; i < rule->window_count; i++)
		if (rule->windows[i].kind == MR_RULE_WEIGHTS_FITTED &&
		    !rule->windows[i].spec.weights)
			return (int)i;
	return -1;
}

int mr_rule_set_weights(struct mr_rule *rule, uint32_t window, const double *weights,
			uint32_t count, struct mr_error *err)
{
	struct mr_rule_window *row = window < rule->window_count ? &rule->windows[window] : NULL;

	if (!row || row->kind != MR_RULE_WEIGHTS_FITTED)
		return mr_error_set(err, -EINVAL,
				    "there is no window %" PRIu32 " with fitted weights", window);
	if (count != row->spec.count)
		return mr_error_set(err, -EINVAL,
				    "window '%s': %" PRIu32 " weights for the last %" PRIu32
				    " values",
				    row->name, count, row->spec.count);
	for (uint32_t i = 0; i < count; i++)
		if (!isfinite(weights[i]))
			return mr_error_set(err, -EINVAL,
					    "window '%s': weight %" PRIu32 " is no number",
					    row->name, i);
	memcpy(row->weights, weights, count * sizeof(double));
	row->spec.weights = row->weights;
	row->spec.weight_count = count;
	return 0;
}

/* ---- commands ----------------------------------------------------------------------------------
 */

/* Copies one word to '*to', without its quotes; returns what follows, or NULL: a quote is open. */
static const char *copy_word(const char *from, char **to)
{
	char quote = 0;

	for (; *from && (quote || *from != ' '); from++) {
		if (quote && *from == quote)
			quote = 0;
		else if (!quote && (*from == '\'' || *from == '"'))
			quote = *from;
		else
			*(*to)++ = *from;
	}
	*(*to)++ = '\0';
	return quote ? NULL : from;
}

int mr_rule_words(const char *text, char *buffer, char *words[MR_RULE_EXEC_WORDS + 1],
		  struct mr_error *err)
{
	uint32_t count = 0;
	char *to = buffer;

	if (strlen(text) > MR_RULE_TEXT_MAX)
		return mr_error_set(err, -EINVAL, "a command has at most %d bytes",
				    MR_RULE_TEXT_MAX);
	while (*text) {
		if (*text == ' ') {
			text++;
			continue;
		}
		if (count == MR_RULE_EXEC_WORDS)
			return mr_error_set(err, -EINVAL, "a command has at most %d words",
					    MR_RULE_EXEC_WORDS);
		words[count++] = to;
		text = copy_word(text, &to);
		if (!text)
			return mr_error_set(err, -EINVAL, "a quote is open in the command");
	}
	if (!count || !words[0][0])
		return mr_error_set(err, -EINVAL, "the command has no words");
	words[count] = NULL;
	return 0;
}
