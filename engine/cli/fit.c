/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace fit: weights for a weighted average, found in a stored topic, and whether they are worth
 * anything. Reads with the parser and the cleaning that a pipeline would use; changes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "fit_values.h"
#include "pipeline/fit.h"
#include "rule_source.h"

enum {
	OPTION_KEY = MR_CLI_FIRST_OWN,
	OPTION_LAST,
	OPTION_PARSE,
	OPTION_KEY_FIELD,
	OPTION_TIME,
	OPTION_VALUE,
	OPTION_RULE,
};

#define OPTIONS "options" /* the name of the rule that they make, in messages */

struct arguments {
	const char *topic;
	const char *socket;
	const char *key;
	const char *rule; /* a file whose parsing and cleaning are taken */
	const char *parse;
	const char *key_field;
	const char *time;
	const char *value;
	uint64_t last;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	const char **texts[] = {
		[OPTION_KEY - MR_CLI_FIRST_OWN] = &arguments->key,
		[OPTION_PARSE - MR_CLI_FIRST_OWN] = &arguments->parse,
		[OPTION_KEY_FIELD - MR_CLI_FIRST_OWN] = &arguments->key_field,
		[OPTION_TIME - MR_CLI_FIRST_OWN] = &arguments->time,
		[OPTION_VALUE - MR_CLI_FIRST_OWN] = &arguments->value,
		[OPTION_RULE - MR_CLI_FIRST_OWN] = &arguments->rule,
	};

	switch (key) {
	case OPTION_KEY:
	case OPTION_PARSE:
	case OPTION_KEY_FIELD:
	case OPTION_TIME:
	case OPTION_VALUE:
	case OPTION_RULE:
		*texts[key - MR_CLI_FIRST_OWN] = arg;
		return 0;
	case OPTION_LAST:
		if (mr_argument_number(arg, 2, MR_FIT_WEIGHTS_MAX, &arguments->last) < 0)
			argp_error(state, "--last: '%s' is no number from 2 to %d", arg,
				   MR_FIT_WEIGHTS_MAX);
		return 0;
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->topic)
			argp_error(state, "one topic at a time: '%s' is one too many", arg);
		arguments->topic = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->topic)
			argp_error(state, "name the topic");
		if (arguments->rule && (arguments->parse || arguments->key_field ||
					arguments->time || arguments->value))
			argp_error(state, "--rule says how to read records: leave --parse, "
					  "--key-field, --time and --value away");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"key", OPTION_KEY, "KEY", 0, "only the values of this key (else of the one there is)", 0},
	{"last", OPTION_LAST, "K", 0, "so many weights: 2 to 512 (16)", 0},
	{"rule", OPTION_RULE, "FILE", 0, "read and clean records as this rule does", 0},
	{"parse", OPTION_PARSE, "FORMAT", 0, "json (the default), csv, line-protocol, number", 0},
	{"value", OPTION_VALUE, "PATH", 0,
	 "where the value is: $.temp; of csv a column's number: 2", 0},
	{"key-field", OPTION_KEY_FIELD, "PATH", 0, "where the key is (else the record's own)", 0},
	{"time", OPTION_TIME, "PATH", 0, "where the time is (else the record's own)", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "TOPIC",
	.doc = "Find the weights of a weighted average that forecast a key's next value best, by "
	       "least squares over the stored records, and tell how good they are on the last "
	       "quarter, which they were not fitted to."
	       "\vThe forecast is sum(w_k d(t-k)) over the last K values, w_0 for the newest; "
	       "the weights add up to 1. Beside it stand three that need no fitting: the last "
	       "value, the mean of the last K, and the straight line through them.\n\n"
	       "Examples:\n"
	       "  millrace fit sensors --key press-9 --value '$.temp' --last 16\n"
	       "  millrace fit sensors --rule hot-press.yaml --key press-9\n"
	       "  millrace fit numbers --parse number --last 8 --json",
};

/* ---- how records are read ----------------------------------------------------------------------
 */

/* "options:4: value: ..." is about --value. */
static int name_option(struct mr_error *err)
{
	char what[sizeof(err->what)];
	const char *rest = strstr(err->what, ": ");
	int code = err->code;

	if (strncmp(err->what, OPTIONS ":", strlen(OPTIONS ":")) != 0 || !rest)
		return code;
	snprintf(what, sizeof(what), "%s", rest + 2);
	rest = strncmp(what, "key:", 4) == 0 ? "--key-field" : "--";
	snprintf(err->what, sizeof(err->what), "%s%.300s", rest,
		 strcmp(rest, "--") == 0 ? what : what + 3);
	return code;
}

/* Without a rule of the person's: one that only parses. */
static int make_rule(const struct arguments *arguments, struct mr_rule **out, struct mr_error *err)
{
	const char *format = arguments->parse ? arguments->parse : "json";
	bool number = strcmp(format, "number") == 0;
	char text[2048];

	if (arguments->rule)
		return mr_rule_source_file(arguments->rule, out, NULL, err);
	if (!arguments->value && !number) {
		mr_error_set(err, -EINVAL, "where the value is in a record is not known");
		return mr_error_hint(err, "say where: --value '$.temp'");
	}
	snprintf(text, sizeof(text),
		 "pipeline: fit\ninput: fit.input\nparse: %s\n%s%s%s%s%s%s%s%s%soutput: "
		 "fit.output\n",
		 format, arguments->key_field ? "key: '" : "",
		 arguments->key_field ? arguments->key_field : "",
		 arguments->key_field ? "'\n" : "", arguments->time ? "time: '" : "",
		 arguments->time ? arguments->time : "", arguments->time ? "'\n" : "",
		 arguments->value ? "value: '" : "", arguments->value ? arguments->value : "",
		 arguments->value ? "'\n" : "");
	if (mr_rule_read(text, strlen(text), OPTIONS, out, err) == 0)
		return 0;
	return name_option(err);
}

/* ---- what is said ------------------------------------------------------------------------------
 */

static void print_json(const struct mr_fit_values *values, const struct mr_fit *fit)
{
	json_t *weights = json_array();
	json_t *errors = json_object();

	for (uint32_t k = 0; k < fit->count; k++)
		json_array_append_new(weights, json_real(fit->weights[k]));
	for (int i = 0; i < MR_FIT_FORECASTS; i++)
		json_object_set_new(errors, mr_fit_forecast_names[i],
				    json_pack("{s:f, s:f}", "rms", fit->errors[i].rms, "absolute",
					      fit->errors[i].absolute));
	json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:s, s:o}", "topic", values->topic,
				"values", (json_int_t)values->count, "dropped",
				(json_int_t)values->dropped, "trained", (json_int_t)fit->trained,
				"tested", (json_int_t)fit->tested, "errors", errors, "best",
				mr_fit_forecast_names[fit->best], "weights", weights);

	if (isfinite(fit->condition))
		json_object_set_new(all, "condition", json_real(fit->condition));
	json_object_set_new(all, "ridge", json_real(fit->ridge));
	json_dumpf(all, stdout, 0);
	putchar('\n');
	json_decref(all);
}

static void print_weights(const struct mr_fit *fit)
{
	int column = printf("  weights: [");

	for (uint32_t k = 0; k < fit->count; k++) {
		if (column > 66)
			column = printf("\n            ") - 1;
		column += printf("%.10g%s", fit->weights[k], k + 1 < fit->count ? ", " : "]\n");
	}
}

static void print_verdict(const struct mr_fit *fit)
{
	double other = INFINITY;
	int best = MR_FIT_LAST;

	for (int i = MR_FIT_LAST; i < MR_FIT_FORECASTS; i++)
		if (fit->errors[i].rms < other) {
			other = fit->errors[i].rms;
			best = i;
		}
	if (fit->best == MR_FIT_FITTED)
		printf("\nThe fitted weights win: their error is %.1f %% below that of '%s'.\n",
		       other > 0 ? 100 * (1 - fit->errors[MR_FIT_FITTED].rms / other) : 0.0,
		       mr_fit_forecast_names[best]);
	else
		printf("\nThe fitted weights do NOT win: '%s' forecasts better and needs no "
		       "fitting.\nUse them only if you know why.\n",
		       mr_fit_forecast_names[fit->best]);
}

static void print_text(const struct mr_fit_values *values, const struct mr_fit *fit)
{
	printf("%" PRIu64 " values", values->count);
	if (values->key)
		printf(" of %s", values->key);
	if (values->dropped || values->rejected)
		printf("; cleaning dropped %" PRIu64 ", %" PRIu64 " records could not be read",
		       values->dropped, values->rejected);
	printf("\nfitted to %" PRIu64 " forecasts, tested on the %" PRIu64 " that follow\n\n",
	       fit->trained, fit->tested);
	if (fit->left_out)
		printf("the oldest %" PRIu64 " values were too many and are left out\n\n",
		       fit->left_out);
	printf("  forecast      rms error    mean absolute error\n");
	for (int i = 0; i < MR_FIT_FORECASTS; i++)
		printf("%s %-10s %12.6g %14.6g\n", i == (int)fit->best ? "*" : " ",
		       mr_fit_forecast_names[i], fit->errors[i].rms, fit->errors[i].absolute);
	if (fit->ridge > 0)
		printf("\nThe values depend on each other (condition %.1e): a ridge of %.3g was "
		       "added.\n",
		       fit->condition, fit->ridge);
	print_verdict(fit);
	printf("\nFor a rule, newest first:\n");
	print_weights(fit);
}

static int run(const struct arguments *arguments, struct mr_connection *connection,
	       const struct mr_rule *rule, struct mr_error *err)
{
	struct mr_fit_values values = {
		.topic = arguments->topic, .key = arguments->key, .rule = rule};
	static struct mr_fit fit;
	int r = mr_fit_values_read(connection, &values, err);

	if (r == 0) {
		r = mr_fit(values.values, values.count, (uint32_t)arguments->last, &fit, err);
		if (r == -ENODATA)
			mr_fit_values_hint(&values, err);
	}
	if (r == 0 && arguments->json)
		print_json(&values, &fit);
	else if (r == 0)
		print_text(&values, &fit);
	mr_fit_values_deinit(&values);
	return r;
}

int mr_command_fit(int argc, char **argv)
{
	struct arguments arguments = {.last = 16};
	struct mr_connection *connection = NULL;
	struct mr_rule *rule = NULL;
	struct mr_error err = {0};
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	mr_stop_watch();
	if (make_rule(&arguments, &rule, &err) < 0) {
		mr_cli_error(&err);
		return MR_EXIT_USAGE;
	}
	code = mr_cli_connect(arguments.socket, "fit", &connection);
	if (code == MR_EXIT_DONE && run(&arguments, connection, rule, &err) < 0) {
		mr_cli_error(&err);
		code = err.code == -ENODATA || err.code == -EINVAL ? MR_EXIT_REFUSED
								   : mr_cli_exit_code(err.code);
	}
	mr_disconnect(connection);
	mr_rule_free(rule);
	return mr_cli_finish_output(code);
}
