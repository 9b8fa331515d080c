/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace get: what a pipeline knows of one key now, answered from its state.
 */
#include <stdlib.h>

#include "ask.h"
#include "cli.h"
#include "time_text.h"

struct arguments {
	const char *socket;
	bool json;
	const char *topic, *key;
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
	case ARGP_KEY_ARG:
		if (arguments->key)
			argp_error(state, "one key at a time: '%s' is one too many", arg);
		if (!arguments->topic)
			arguments->topic = arg;
		else
			arguments->key = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->key)
			argp_error(state,
				   "say a topic and a key, as in: sensors.knowledge press-9");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = mr_ask_options,
	.parser = parse,
	.args_doc = "TOPIC KEY",
	.doc = "Show what a pipeline knows of a key: its last value, the results of its windows, "
	       "the alerts raised now. TOPIC is the one that the pipeline writes; or the one that "
	       "it reads, where no other pipeline does."
	       "\vExamples:\n"
	       "  millrace get sensors.knowledge press-9\n"
	       "  millrace get sensors press-9 --json",
};

static void print_value(const char *name, const json_t *value)
{
	if (json_is_number(value))
		printf("  %-24s %.10g\n", name, json_number_value(value));
	else
		printf("  %-24s -\n", name);
}

static void print_key(const json_t *one, const char *key, const char *input)
{
	char room[400];
	char time[MR_TIME_TEXT_BYTES];
	const char *name;
	json_t *value;

	printf("%s, of %s partition %" JSON_INTEGER_FORMAT " offset %" JSON_INTEGER_FORMAT "\n",
	       key, input, mr_ask_number(one, "partition"), mr_ask_number(one, "offset"));
	print_value("value", json_object_get(one, "value"));
	mr_time_format(mr_ask_number(one, "time_ms"), time);
	printf("  %-24s %s\n", "time", time);
	json_object_foreach(json_object_get(one, "windows"), name, value) print_value(name, value);
	printf("  %-24s %s\n", "alerts",
	       mr_ask_words(json_object_get(one, "alerts"), room, sizeof(room)));
}

static void print_found(const json_t *reply, const void *arg)
{
	const char *key = arg;
	const json_t *found = json_object_get(reply, "found");
	size_t i;
	json_t *one;

	json_array_foreach(found, i, one) print_key(one, key, mr_ask_word(reply, "input"));
}

static int check_found(const json_t *reply, const void *arg)
{
	if (json_array_size(json_object_get(reply, "found")) > 0)
		return MR_EXIT_DONE;
	fprintf(stderr,
		"millrace: pipeline '%s' knows no key '%s'\n"
		"  do:  millrace tail %s --rule %s shows those that it knows\n",
		mr_ask_word(reply, "pipeline"), (const char *)arg, mr_ask_word(reply, "input"),
		mr_ask_word(reply, "pipeline"));
	return MR_EXIT_REFUSED;
}

int mr_command_get(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "get", .print = print_found, .check = check_found};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.arg = arguments.key;
	ask.request = json_pack("{s:s, s:s, s:s}", "do", "get", "topic", arguments.topic, "key",
				arguments.key);
	return mr_cli_ask(&ask);
}
