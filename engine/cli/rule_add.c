/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule add, millrace rule remove: a pipeline's file goes to the engine, which checks it
 * against its topics and runs it; or one ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "fit_values.h"
#include "pipeline/fit.h"
#include "pipeline/rule.h"
#include "rule.h"
#include "rule_source.h"

/* A pipeline that lags comes to its new version when it has read so far: most have by then. */
#define ADD_PATIENCE_MS 30000

enum {
	OPTION_FROM = MR_CLI_FIRST_OWN,
	OPTION_FIT_KEY,
};

struct arguments {
	const char *socket;
	bool json;
	const char *wanted; /* what the word is, in a sentence */
	const char *word;   /* a file, or a pipeline's name */
	const char *from;
	const char *fit_key; /* of whose values fitted weights are made */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case OPTION_FROM:
		if (strcmp(arg, "earliest") != 0 && strcmp(arg, "latest") != 0)
			argp_error(state, "--from: '%s' is neither earliest nor latest", arg);
		arguments->from = arg;
		return 0;
	case OPTION_FIT_KEY:
		arguments->fit_key = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->word)
			argp_error(state, "one at a time: '%s' is one too many", arg);
		arguments->word = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->word)
			argp_error(state, "name %s", arguments->wanted);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- add ------------------------------------------------------------------------------------- */

static const struct argp_option add_options[] = {
	{"from", OPTION_FROM, "WHERE", 0,
	 "where a new pipeline begins: earliest, at the oldest record kept, or latest, at the next "
	 "one to come (the default)",
	 0},
	{"fit-key", OPTION_FIT_KEY, "KEY", 0,
	 "weights that are to be fitted are fitted to the stored values of this key", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp add_argp = {
	.options = add_options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Run the pipeline that FILE describes ('-': standard input), here and on every host "
	       "that keeps its input. It is checked as a whole first. Topics that it writes are "
	       "made, with as many partitions as its input. Where a pipeline of that name runs, "
	       "this is its next version: it holds for what is published from now on, and goes on "
	       "with what is known of each key, as far as the windows are the same. The host that "
	       "leads partition 0 of the input takes it. It is waited for 30 s until the pipeline "
	       "has read so far; then, too, it holds."
	       "\vExamples:\n"
	       "  millrace rule add hot-press.yaml\n"
	       "  millrace rule add hot-press.yaml --from earliest\n"
	       "  millrace rule add hot-press.yaml --fit-key press-9",
};

/* ---- fitted weights: `weights: fitted` ------------------------------------------------------- */

static int fit_window(struct mr_rule *rule, uint32_t window, const struct mr_fit_values *values,
		      json_t *weights, struct mr_error *err)
{
	static struct mr_fit fit;
	const struct mr_rule_window *row = &rule->windows[window];
	json_t *list = json_array();
	int r = mr_fit(values->values, values->count, row->spec.count, &fit, err);

	if (r == 0)
		r = mr_rule_set_weights(rule, window, fit.weights, fit.count, err);
	if (r < 0) {
		json_decref(list);
		mr_fit_values_hint(values, err);
		mr_error_prefix(err, "window '%s': ", row->name);
		return r;
	}
	for (uint32_t k = 0; k < fit.count; k++)
		json_array_append_new(list, json_real(fit.weights[k]));
	json_object_set_new(weights, row->name, list);
	fprintf(stderr,
		"window %s: fitted to %" PRIu64
		" values of %s; rms error %.6g, last value %.6g%s\n",
		row->name, values->count, values->key, fit.errors[MR_FIT_FITTED].rms,
		fit.errors[MR_FIT_LAST].rms,
		fit.best == MR_FIT_FITTED ? "" : ": it does NOT win, see millrace fit");
	return 0;
}

/* '*weights' stays NULL where the rule has none that are fitted. */
static int fit_weights(const struct arguments *arguments, struct mr_rule *rule, json_t **weights,
		       struct mr_error *err)
{
	struct mr_fit_values values = {.key = arguments->fit_key};
	struct mr_connection *connection = NULL;
	struct mr_connect_options here = {
		.size = sizeof(here), .socket_path = arguments->socket, .client_name = "rule"};
	int window = mr_rule_unfitted(rule), r = 0;

	if (window >= 0 && !arguments->fit_key) {
		r = mr_error_set(err, -EINVAL,
				 "window '%s' wants weights that are fitted: to which key?",
				 rule->windows[window].name);
		mr_error_hint(err, "name one with many values: --fit-key press-9");
	}
	if (window < 0 && arguments->fit_key) {
		r = mr_error_set(err, -EINVAL, "pipeline '%s' has no weights to fit to '%.80s'",
				 rule->name, arguments->fit_key);
		mr_error_hint(err, "leave --fit-key away, or ask for some: weights: fitted");
	}
	if (r == 0 && window >= 0)
		r = mr_connect(&here, &connection, err);
	values.topic = rule->input;
	values.rule = rule;
	if (connection)
		r = mr_fit_values_read(connection, &values, err);
	if (connection && r == 0)
		*weights = json_object();
	for (; r == 0 && window >= 0; window = mr_rule_unfitted(rule))
		r = fit_window(rule, (uint32_t)window, &values, *weights, err);
	mr_fit_values_deinit(&values);
	mr_disconnect(connection);
	return r;
}

static void print_added(const json_t *reply, const void *arg)
{
	const char *alerts = mr_ask_word(reply, "alerts");

	printf("pipeline %s, version %" JSON_INTEGER_FORMAT ": %s into %s",
	       mr_ask_word(reply, "name"), mr_ask_number(reply, "version"),
	       mr_ask_word(reply, "input"), mr_ask_word(reply, "output"));
	if (alerts[0])
		printf(", alerts into %s", alerts);
	printf("\nwhat it cannot read goes to %s\n", mr_ask_word(reply, "rejected"));
}

int mr_command_rule_add(int argc, char **argv)
{
	struct arguments arguments = {.wanted = "the rule's file"};
	struct mr_ask ask = {
		.command = "rule", .print = print_added, .patience_ms = ADD_PATIENCE_MS};
	struct mr_error err;
	struct mr_rule *rule = NULL;
	json_t *weights = NULL;
	char *text = NULL;
	int r;

	mr_cli_parse(&add_argp, argc, argv, &arguments);
	r = mr_rule_source_file(arguments.word, &rule, &text, &err);
	if (r == 0)
		r = fit_weights(&arguments, rule, &weights, &err);
	mr_rule_free(rule);
	if (r < 0) {
		int code = mr_cli_fail(&err);

		free(text);
		json_decref(weights);
		return code == MR_EXIT_UNREACHABLE ? code : MR_EXIT_REFUSED;
	}
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = json_pack("{s:s, s:s, s:s, s:s*, s:o*}", "do", "rule.add", "text", text,
				"file", arguments.word, "from", arguments.from, "weights", weights);
	ask.underway = json_deep_copy(ask.request);
	if (ask.underway)
		json_object_set_new(ask.underway, "again", json_true());
	free(text);
	return mr_cli_ask(&ask);
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct argp remove_argp = {
	.options = mr_ask_options,
	.parser = parse,
	.args_doc = "NAME",
	.doc = "End a pipeline. The topics that it wrote stay; what it knew of its keys is gone."
	       "\vExamples:\n"
	       "  millrace rule remove hot-press",
};

static void print_removed(const json_t *reply, const void *arg)
{
	printf("removed pipeline %s\n", (const char *)arg);
}

int mr_command_rule_remove(int argc, char **argv)
{
	struct arguments arguments = {.wanted = "the pipeline"};
	struct mr_ask ask = {.command = "rule", .print = print_removed};

	mr_cli_parse(&remove_argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.arg = arguments.word;
	ask.request = json_pack("{s:s, s:s}", "do", "rule.remove", "name", arguments.word);
	return mr_cli_ask(&ask);
}
