/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace fit: weights for a weighted average, found in a stored topic, and whether they are worth
 * anything. Reads with the parser and the cleaning that a pipeline would use; changes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "pipeline/fit.h"
#include "pipeline/rule.h"
#include "replay.h"
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

/* The values of the key so far, in the order of the log. */
struct values {
	const struct arguments *arguments;
	const struct mr_rule *rule;
	struct mr_parser *parser;
	void *clean; /* its block */
	double *values;
	uint64_t count;
	uint64_t capacity;
	char first_key[MR_PARSE_KEY_MAX]; /* where no key was named: there must be one only */
	int32_t first_key_bytes;
	uint64_t other_keys;
	uint64_t dropped;
	uint64_t rejected;
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
	{"parse", OPTION_PARSE, "FORMAT", 0, "json (the default), line-protocol, number", 0},
	{"value", OPTION_VALUE, "PATH", 0, "where the value is: $.temp", 0},
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
	return mr_rule_read(text, strlen(text), "the options", out, err);
}

static int open_values(const struct arguments *arguments, const struct mr_rule *rule,
		       struct values *values, struct mr_error *err)
{
	int r = mr_parser_new(&rule->parse, &values->parser, err);

	if (r < 0)
		return r;
	values->arguments = arguments;
	values->rule = rule;
	values->clean = calloc(1, mr_clean_block_bytes(&rule->clean) + 8);
	if (!values->clean)
		return mr_error_set(err, -ENOMEM, "no memory to read values");
	mr_clean_block_init(&rule->clean, values->clean);
	return 0;
}

static void close_values(struct values *values)
{
	mr_parser_free(values->parser);
	free(values->clean);
	free(values->values);
}

static int keep(struct values *values, double value, struct mr_error *err)
{
	if (values->count == values->capacity) {
		uint64_t capacity = values->capacity ? 2 * values->capacity : 4096;
		double *grown = realloc(values->values, capacity * sizeof(double));

		if (!grown)
			return mr_error_set(err, -ENOMEM, "no memory for %" PRIu64 " values",
					    capacity);
		values->values = grown;
		values->capacity = capacity;
	}
	values->values[values->count++] = value;
	return 0;
}

/* True, false, or an error: no key was named, and here is a second one. */
static int is_wanted(struct values *values, const struct mr_parsed *parsed, struct mr_error *err)
{
	const char *key = values->arguments->key;

	if (key)
		return (size_t)parsed->key_bytes == strlen(key) &&
		       memcmp(parsed->key, key, (size_t)parsed->key_bytes) == 0;
	if (!values->count && !values->dropped) {
		memcpy(values->first_key, parsed->key, (size_t)parsed->key_bytes);
		values->first_key_bytes = parsed->key_bytes;
		return true;
	}
	if (parsed->key_bytes == values->first_key_bytes &&
	    memcmp(parsed->key, values->first_key, (size_t)parsed->key_bytes) == 0)
		return true;
	mr_error_set(err, -EINVAL, "topic '%s' has several keys, '%.*s' and '%.*s' among them",
		     values->arguments->topic, (int)values->first_key_bytes, values->first_key,
		     (int)parsed->key_bytes, parsed->key);
	return mr_error_hint(err, "name the one that is meant: --key %.*s",
			     (int)values->first_key_bytes, values->first_key);
}

static int take(struct values *values, const struct mr_message *message, struct mr_error *err)
{
	struct mr_parsed parsed;
	int wanted;

	if (mr_parser_parse(values->parser, message, &parsed) != MR_PARSE_OK) {
		values->rejected++;
		return 0;
	}
	wanted = is_wanted(values, &parsed, err);
	if (wanted <= 0) {
		values->other_keys += wanted == 0;
		return wanted;
	}
	if (mr_clean_check(&values->rule->clean, values->clean, parsed.time_ms, parsed.value) ==
	    MR_CLEAN_KEEP)
		return keep(values, parsed.value, err);
	values->dropped++;
	return 0;
}

static int each(void *arg, const struct mr_message *messages, uint32_t count, struct mr_error *err)
{
	struct values *values = arg;
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++)
		r = take(values, &messages[i], err);
	return r;
}

/* A key's records are all in one partition; without a key there must be one partition. */
static int choose_partition(const struct values *values, struct mr_connection *connection,
			    int32_t *partition, struct mr_error *err)
{
	const struct arguments *arguments = values->arguments;
	int count = mr_replay_partitions(connection, arguments->topic, err);

	if (count < 0)
		return count;
	*partition = 0;
	if (count == 1)
		return 0;
	if (!arguments->key) {
		mr_error_set(err, -EINVAL, "topic '%s' has %d partitions: which key is meant?",
			     arguments->topic, count);
		return mr_error_hint(err, "name it: --key press-9");
	}
	*partition = mr_partition_of_key(arguments->key, strlen(arguments->key), count);
	return 0;
}

/* ---- what is said ------------------------------------------------------------------------------
 */

static void print_json(const struct values *values, const struct mr_fit *fit)
{
	json_t *weights = json_array();
	json_t *errors = json_object();

	for (uint32_t k = 0; k < fit->count; k++)
		json_array_append_new(weights, json_real(fit->weights[k]));
	for (int i = 0; i < MR_FIT_FORECASTS; i++)
		json_object_set_new(errors, mr_fit_forecast_names[i],
				    json_pack("{s:f, s:f}", "rms", fit->errors[i].rms, "absolute",
					      fit->errors[i].absolute));
	json_t *all = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:o, s:s, s:o}", "topic", values->arguments->topic,
		"values", (json_int_t)values->count, "dropped", (json_int_t)values->dropped,
		"trained", (json_int_t)fit->trained, "tested", (json_int_t)fit->tested, "errors",
		errors, "best", mr_fit_forecast_names[fit->best], "weights", weights);

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

static void print_text(const struct values *values, const struct mr_fit *fit)
{
	printf("%" PRIu64 " values", values->count);
	if (values->arguments->key)
		printf(" of %s", values->arguments->key);
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
	struct values values = {0};
	struct mr_replay replay = {.connection = connection,
				   .topic = arguments->topic,
				   .from = MR_FROM_EARLIEST,
				   .to = MR_REPLAY_TO_END,
				   .each = each,
				   .arg = &values};
	static struct mr_fit fit;
	int r = open_values(arguments, rule, &values, err);

	if (r == 0)
		r = choose_partition(&values, connection, &replay.partition, err);
	if (r == 0)
		r = mr_replay_run(&replay, err);
	if (r == 0) {
		r = mr_fit(values.values, values.count, (uint32_t)arguments->last, &fit, err);
		if (r == -ENODATA && arguments->key && !values.count)
			mr_error_hint(err,
				      "%" PRIu64 " records are of other keys, %" PRIu64
				      " could not be read: is '%s' right?",
				      values.other_keys, values.rejected, arguments->key);
	}
	if (r == 0 && arguments->json)
		print_json(&values, &fit);
	else if (r == 0)
		print_text(&values, &fit);
	close_values(&values);
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
