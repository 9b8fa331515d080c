/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule add, millrace rule remove: a pipeline's file goes to the engine, which checks it
 * against its topics and runs it; or one ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "pipeline/rule.h"
#include "rule.h"

enum {
	OPTION_FROM = MR_CLI_FIRST_OWN,
};

/* What one request may have, quoted as JSON. */
#define REQUEST_BYTES_MAX 60000

struct arguments {
	const char *socket;
	bool json;
	const char *word; /* a file, or a pipeline's name */
	const char *from;
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
	case ARGP_KEY_ARG:
		if (arguments->word)
			argp_error(state, "one at a time: '%s' is one too many", arg);
		arguments->word = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->word)
			argp_error(state, "say which one");
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
	       "this is its next version: it takes over between two records, and goes on with "
	       "what is known of each key, as far as the windows are the same."
	       "\vExamples:\n"
	       "  millrace rule add hot-press.yaml\n"
	       "  millrace rule add hot-press.yaml --from earliest",
};

/* All of a file, as text; the caller frees it. */
static int read_file(const char *name, char **out, struct mr_error *err)
{
	FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
	char *text = malloc(REQUEST_BYTES_MAX + 1);
	size_t bytes = 0;
	int r = 0;

	if (!file)
		r = mr_error_set(err, -errno, "cannot open '%.200s'", name);
	else if (!text)
		r = mr_error_set(err, -ENOMEM, "no memory for '%.200s'", name);
	if (r == 0) {
		bytes = fread(text, 1, REQUEST_BYTES_MAX + 1, file);
		text[bytes < REQUEST_BYTES_MAX ? bytes : REQUEST_BYTES_MAX] = '\0';
	}
	if (r == 0 && ferror(file))
		r = mr_error_set(err, -EIO, "cannot read '%.200s'", name);
	else if (r == 0 && bytes > REQUEST_BYTES_MAX)
		r = mr_error_set(err, -EFBIG, "'%.200s' has more than %d bytes", name,
				 REQUEST_BYTES_MAX);
	else if (r == 0 && strlen(text) != bytes)
		r = mr_error_set(err, -EINVAL, "'%.200s' is no text: it has a zero byte", name);
	if (file && file != stdin)
		(void)fclose(file); /* was only read */
	if (r < 0)
		free(text);
	else
		*out = text;
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
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "rule", .print = print_added};
	struct mr_error err;
	char *text = NULL;
	int r;

	mr_cli_parse(&add_argp, argc, argv, &arguments);
	r = read_file(arguments.word, &text, &err);
	if (r < 0) {
		(void)mr_cli_fail(&err);
		return MR_EXIT_REFUSED;
	}
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = json_pack("{s:s, s:s, s:s, s:s*}", "do", "rule.add", "text", text, "file",
				arguments.word, "from", arguments.from);
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
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "rule", .print = print_removed};

	mr_cli_parse(&remove_argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.arg = arguments.word;
	ask.request = json_pack("{s:s, s:s}", "do", "rule.remove", "name", arguments.word);
	return mr_cli_ask(&ask);
}
