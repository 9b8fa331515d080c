/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule check: reads rules as an engine would and says what they do, or in three lines what
 * is wrong with them. Needs no engine, changes nothing.
 */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cli.h"
#include "pipeline/pipeline.h"
#include "rule.h"
#include "rule_source.h"

#define FILES_MAX 64

struct arguments {
	const char *files[FILES_MAX];
	size_t count;
	bool json;
};

/* One file that was read; all of it owned. */
struct checked {
	const char *file;
	struct mr_rule *rule;
	struct mr_program *program; /* NULL: weights are still to be fitted */
	int unfitted;		    /* which window's; -1: none */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->count == FILES_MAX)
			argp_error(state, "%d files at a time at most", FILES_MAX);
		arguments->files[arguments->count++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->count)
			argp_error(state, "name the rule's file");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {MR_CLI_OPTION_JSON, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE...",
	.doc = "Read rules ('-': standard input) and say what they do; of one that makes no sense: "
	       "the line, what was "
	       "found, what was expected. Exit code 1: one was refused."
	       "\vExamples:\n"
	       "  millrace rule check hot-press.yaml\n"
	       "  millrace rule check examples/pipelines/*.yaml\n"
	       "  millrace rule check hot-press.yaml --json",
};

/* ---- reading ------------------------------------------------------------------------------- */

static int check(const char *path, struct checked *out, struct mr_error *err)
{
	int r;

	*out = (struct checked){.file = path};
	r = mr_rule_source_file(path, &out->rule, NULL, err);
	if (r < 0)
		return r;
	out->unfitted = mr_rule_unfitted(out->rule);
	return out->unfitted >= 0 ? 0 : mr_program_new(out->rule, &out->program, err);
}

static void release(struct checked *checked)
{
	mr_program_free(checked->program);
	mr_rule_free(checked->rule);
}

/* ---- what a key costs, and windows in words ------------------------------------------------ */

/* Of its windows, as a key begins; names, index and allocator come on top. */
static size_t window_bytes(const struct mr_program *program)
{
	const struct mr_window_plan *plan = mr_program_plan(program);

	return mr_window_block_bytes(plan, mr_window_plan_capacity(plan));
}

static const char *time_text(int64_t ms, char text[32])
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}};
	size_t i = 0;

	while (ms % units[i].ms)
		i++;
	snprintf(text, 32, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
	return text;
}

static const char *extent_text(const struct mr_window_spec *spec, char text[48])
{
	char time[32];

	switch (spec->extent) {
	case MR_WINDOW_BY_COUNT:
		snprintf(text, 48, "last %" PRIu32 " values", spec->count);
		break;
	case MR_WINDOW_BY_TIME:
		snprintf(text, 48, "last %s", time_text(spec->span_ms, time));
		break;
	case MR_WINDOW_TUMBLING:
		snprintf(text, 48, "each %s", time_text(spec->span_ms, time));
		break;
	}
	return text;
}

static const char *const formats[] = {"json", "csv", "line-protocol", "number", "raw"};
static const char *const severities[] = {"info", "warning", "critical"};

static const struct mr_window_spec *spec_of(const struct checked *checked, uint32_t i)
{
	return checked->program ? mr_program_window_spec(checked->program, i)
				: &checked->rule->windows[i].spec;
}

static const char *name_of(const struct checked *checked, uint32_t i)
{
	return checked->program ? mr_program_window_name(checked->program, i)
				: checked->rule->windows[i].name;
}

static uint32_t windows_of(const struct checked *checked)
{
	return checked->program ? mr_program_windows(checked->program)
				: checked->rule->window_count;
}

/* ---- for people ---------------------------------------------------------------------------- */

static void print_input(const struct mr_rule *rule)
{
	const struct mr_parse_spec *parse = &rule->parse;

	printf("  input     topic %s, %s; key %s, time %s, value %s\n", rule->input,
	       formats[parse->format], parse->key[0] ? parse->key : "of the record",
	       parse->time[0] ? parse->time : "of the record",
	       parse->value[0] ? parse->value : "the record");
}

static void print_clean(const struct mr_clean_spec *clean)
{
	char time[32];

	printf("  clean     missing");
	if (!isnan(clean->low))
		printf(", below %g", clean->low);
	if (!isnan(clean->high))
		printf(", above %g", clean->high);
	if (clean->max_late_ms != INT64_MAX)
		printf(", later than %s",
		       clean->max_late_ms ? time_text(clean->max_late_ms, time) : "the newest");
	printf("%s%s", clean->drop_duplicate ? ", duplicate" : "",
	       clean->drop_unchanged ? ", unchanged" : "");
	if (clean->spike_mads > 0)
		printf(", spikes beyond %g mad", clean->spike_mads);
	printf(": dropped\n");
}

static void print_checked(const struct checked *checked)
{
	const struct mr_rule *rule = checked->rule;
	char extent[48];

	printf("%s: pipeline %s is good\n", checked->file, rule->name);
	print_input(rule);
	print_clean(&rule->clean);
	for (uint32_t i = 0; i < windows_of(checked); i++) {
		const struct mr_window_spec *spec = spec_of(checked, i);

		printf("  window    %-20s %s, %s\n", name_of(checked, i),
		       mr_window_functions[spec->fn].name, extent_text(spec, extent));
	}
	for (uint32_t i = 0; i < rule->alert_count; i++) {
		const struct mr_rule_alert *alert = &rule->alerts[i];

		printf("  alert     %-20s %s: %s\n", alert->name, severities[alert->severity],
		       alert->when);
		if (alert->clear[0])
			printf("            %-20s cleared: %s\n", "", alert->clear);
		if (alert->exec[0])
			printf("            %-20s runs: %s\n", "", alert->exec);
		if (alert->webhook[0])
			printf("            %-20s posts to: %s\n", "", alert->webhook);
	}
	printf("  output    topic %s, %s; alerts %s, rejected %s%s\n", rule->output,
	       rule->format == MR_RULE_PACKED ? "packed" : "json", rule->alerts_topic,
	       rule->rejected_topic, rule->output_in_memory ? ", all in memory" : "");
	if (checked->program)
		printf("  a key     %zu bytes for its windows, as it begins\n",
		       window_bytes(checked->program));
	else
		printf("  weights   of '%s' are to be fitted before it can run\n",
		       rule->windows[checked->unfitted].name);
}

/* ---- for programs -------------------------------------------------------------------------- */

static json_t *windows_json(const struct checked *checked)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < windows_of(checked); i++) {
		const struct mr_window_spec *spec = spec_of(checked, i);
		json_t *one = json_pack("{s:s, s:s}", "name", name_of(checked, i), "fn",
					mr_window_functions[spec->fn].name);

		if (spec->extent == MR_WINDOW_BY_COUNT)
			json_object_set_new(one, "last", json_integer(spec->count));
		else
			json_object_set_new(
				one, spec->extent == MR_WINDOW_BY_TIME ? "last_ms" : "each_ms",
				json_integer(spec->span_ms));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *alerts_json(const struct mr_rule *rule)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < rule->alert_count; i++) {
		const struct mr_rule_alert *alert = &rule->alerts[i];
		json_t *one = json_pack("{s:s, s:s, s:s}", "name", alert->name, "severity",
					severities[alert->severity], "when", alert->when);

		if (alert->clear[0])
			json_object_set_new(one, "clear", json_string(alert->clear));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *checked_json(const struct checked *checked)
{
	const struct mr_rule *rule = checked->rule;
	json_t *json = json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "file",
				 checked->file, "ok", 1, "pipeline", rule->name, "input",
				 rule->input, "parse", formats[rule->parse.format], "output",
				 rule->output, "alerts_topic", rule->alerts_topic, "rejected_topic",
				 rule->rejected_topic, "windows", windows_json(checked), "alerts",
				 alerts_json(rule));

	if (checked->program)
		json_object_set_new(json, "key_window_bytes",
				    json_integer((json_int_t)window_bytes(checked->program)));
	else
		json_object_set_new(json, "unfitted",
				    json_string(rule->windows[checked->unfitted].name));
	return json;
}

static json_t *refused_json(const char *file, const struct mr_error *err)
{
	return json_pack("{s:s, s:b, s:s, s:s, s:s}", "file", file, "ok", 0, "what", err->what,
			 "why", err->why, "hint", err->hint);
}

/* ---- the command --------------------------------------------------------------------------- */

/* 'list' takes it as JSON, or is NULL. False: it was refused. */
static bool check_one(const char *file, json_t *list)
{
	struct mr_error err = {.code = 0};
	struct checked checked;
	bool good = check(file, &checked, &err) == 0;

	if (list)
		json_array_append_new(list,
				      good ? checked_json(&checked) : refused_json(file, &err));
	else if (good)
		print_checked(&checked);
	else
		mr_cli_error(&err);
	release(&checked);
	return good;
}

int mr_command_rule_check(int argc, char **argv)
{
	struct arguments arguments = {.count = 0};
	size_t refused = 0;
	json_t *list = NULL;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (arguments.json)
		list = json_array();
	for (size_t i = 0; i < arguments.count; i++)
		refused += !check_one(arguments.files[i], list);
	if (list) {
		json_dumpf(list, stdout, JSON_INDENT(1));
		putchar('\n');
		json_decref(list);
	}
	return mr_cli_finish_output(refused ? MR_EXIT_REFUSED : MR_EXIT_DONE);
}
