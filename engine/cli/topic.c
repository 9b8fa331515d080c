/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace topic create | list | describe | delete: an administrator's request to the engine as
 * JSON, and its answer as a table or as the JSON itself.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "connection.h"
#include "millrace/format.h"

enum {
	OPTION_PARTITIONS = MR_CLI_FIRST_OWN,
	OPTION_RETENTION,
	OPTION_RETENTION_BYTES,
	OPTION_SEGMENT_BYTES,
	OPTION_STORAGE,
	OPTION_TAIL_BYTES,
};

struct arguments {
	const char *verb;
	const char *name;
	const char *socket;
	bool json;
	bool sized; /* one of create's own options was given */
	const char *storage;
	const char *file_option; /* one was given that is about files */
	uint64_t partitions;
	uint64_t retention_ms;
	uint64_t retention_bytes;
	uint64_t segment_bytes;
	uint64_t tail_bytes;
};

static void set_size(struct argp_state *state, const char *option, const char *text,
		     int (*parse)(const char *, uint64_t *), uint64_t *out)
{
	struct arguments *arguments = state->input;

	if (parse(text, out) < 0 || *out == 0)
		argp_error(state, "--%s: '%s' is not understood", option, text);
	arguments->sized = true;
}

static bool is_verb(const char *text)
{
	return strcmp(text, "create") == 0 || strcmp(text, "list") == 0 ||
	       strcmp(text, "describe") == 0 || strcmp(text, "delete") == 0;
}

static int parse_words(struct arguments *arguments, char *arg, struct argp_state *state)
{
	if (!arguments->verb && !is_verb(arg))
		argp_error(state, "there is no '%s': create, list, describe or delete", arg);
	if (!arguments->verb)
		arguments->verb = arg;
	else if (!arguments->name)
		arguments->name = arg;
	else
		argp_error(state, "one topic at a time: '%s' is one too many", arg);
	return 0;
}

static bool in_memory(const struct arguments *arguments)
{
	return arguments->storage && strcmp(arguments->storage, "memory") == 0;
}

static void check_words(const struct arguments *arguments, struct argp_state *state)
{
	bool list = arguments->verb && strcmp(arguments->verb, "list") == 0;

	if (!arguments->verb)
		argp_error(state, "say what to do: create, list, describe or delete");
	else if (list == (arguments->name != NULL))
		argp_error(state, list ? "list takes no topic" : "%s needs a topic",
			   arguments->verb);
	else if (arguments->sized && strcmp(arguments->verb, "create") != 0)
		argp_error(state, "%s takes no sizes and no storage, only create does",
			   arguments->verb);
	else if (in_memory(arguments) && arguments->file_option)
		argp_error(state, "a topic in memory has no files: --%s says nothing of it",
			   arguments->file_option);
}

static void set_storage(struct arguments *arguments, const char *arg, struct argp_state *state)
{
	if (strcmp(arg, "disk") != 0 && strcmp(arg, "memory") != 0)
		argp_error(state, "--storage: '%s' is neither disk nor memory", arg);
	arguments->storage = arg;
	arguments->sized = true;
}

/* What only files have. */
static error_t parse_file_options(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case OPTION_RETENTION:
		arguments->file_option = "retention";
		set_size(state, "retention", arg, mr_argument_duration_ms,
			 &arguments->retention_ms);
		return 0;
	case OPTION_RETENTION_BYTES:
		arguments->file_option = "retention-bytes";
		set_size(state, "retention-bytes", arg, mr_argument_bytes,
			 &arguments->retention_bytes);
		return 0;
	case OPTION_SEGMENT_BYTES:
		arguments->file_option = "segment-bytes";
		set_size(state, "segment-bytes", arg, mr_argument_bytes, &arguments->segment_bytes);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

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
	case OPTION_PARTITIONS:
		if (mr_argument_number(arg, 1, MR_PARTITIONS_MAX, &arguments->partitions) < 0)
			argp_error(state, "--partitions: '%s' is no number from 1 to %d", arg,
				   MR_PARTITIONS_MAX);
		arguments->sized = true;
		return 0;
	case OPTION_STORAGE:
		set_storage(arguments, arg, state);
		return 0;
	case OPTION_TAIL_BYTES:
		set_size(state, "tail-bytes", arg, mr_argument_bytes, &arguments->tail_bytes);
		return 0;
	case ARGP_KEY_ARG:
		return parse_words(arguments, arg, state);
	case ARGP_KEY_END:
		check_words(arguments, state);
		return 0;
	default:
		return parse_file_options(key, arg, state);
	}
}

static const struct argp_option options[] = {
	{"partitions", OPTION_PARTITIONS, "N", 0, "create: how many (default: as configured)", 0},
	{"retention", OPTION_RETENTION, "AGE", 0, "create: keep records that long, as in 7d", 0},
	{"retention-bytes", OPTION_RETENTION_BYTES, "BYTES", 0,
	 "create: keep that much of each partition, as in 10GiB", 0},
	{"segment-bytes", OPTION_SEGMENT_BYTES, "BYTES", 0, "create: size of a log file", 0},
	{"storage", OPTION_STORAGE, "WHERE", 0,
	 "create: disk (the default) or memory: gone when the engine or the host stops", 0},
	{"tail-bytes", OPTION_TAIL_BYTES, "BYTES", 0,
	 "create: memory of each partition, a power of two, as in 64MiB; in memory all that is "
	 "kept",
	 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "create NAME\nlist\ndescribe NAME\ndelete NAME",
	.doc = "Create, list, describe and delete topics. A deleted topic's records are gone."
	       "\vExamples:\n"
	       "  millrace topic create trades --partitions 4 --retention 7d\n"
	       "  millrace topic create quotes --storage memory --tail-bytes 64MiB\n"
	       "  millrace topic list\n"
	       "  millrace topic describe trades --json\n"
	       "  millrace topic delete trades",
};

/* The request as JSON text that the caller frees; NULL: no memory, or a name that is no UTF-8. */
static char *make_request(const struct arguments *arguments)
{
	char verb[32];
	json_t *request;
	char *text;

	snprintf(verb, sizeof(verb), "topic.%s", arguments->verb);
	request = json_pack("{s:s}", "do", verb);
	if (arguments->name &&
	    json_object_set_new(request, "name", json_string(arguments->name)) < 0) {
		json_decref(request);
		return NULL;
	}
	if (arguments->partitions)
		json_object_set_new(request, "partitions",
				    json_integer((json_int_t)arguments->partitions));
	if (arguments->retention_ms)
		json_object_set_new(request, "retention_ms",
				    json_integer((json_int_t)arguments->retention_ms));
	if (arguments->retention_bytes)
		json_object_set_new(request, "retention_bytes",
				    json_integer((json_int_t)arguments->retention_bytes));
	if (arguments->segment_bytes)
		json_object_set_new(request, "segment_bytes",
				    json_integer((json_int_t)arguments->segment_bytes));
	if (arguments->storage)
		json_object_set_new(request, "storage", json_string(arguments->storage));
	if (arguments->tail_bytes)
		json_object_set_new(request, "tail_bytes",
				    json_integer((json_int_t)arguments->tail_bytes));
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	return text;
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static const char *word(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void print_list(const json_t *reply)
{
	const json_t *topics = json_object_get(reply, "topics");
	size_t i;
	json_t *topic;

	printf("%-40s %-7s %10s %14s %14s\n", "topic", "storage", "partitions", "records", "bytes");
	json_array_foreach(topics, i, topic)
	{
		const json_t *partitions = json_object_get(topic, "partitions");
		json_int_t records = 0;
		json_int_t bytes = 0;
		size_t k;
		json_t *one;

		json_array_foreach(partitions, k, one)
		{
			records += number(one, "high_watermark") - number(one, "log_start_offset");
			bytes += number(one, "bytes");
		}
		printf("%-40s %-7s %10zu %14" JSON_INTEGER_FORMAT " %14" JSON_INTEGER_FORMAT "\n",
		       word(topic, "name"), word(topic, "storage"), json_array_size(partitions),
		       records, bytes);
	}
}

static void print_limit(const char *words, json_int_t value, const char *unit)
{
	if (value > 0)
		printf("%s %" JSON_INTEGER_FORMAT " %s", words, value, unit);
	else
		printf("%s no limit", words);
}

static void print_disk(const json_t *topic)
{
	print_limit("kept: by age", number(topic, "retention_ms"), "ms");
	print_limit(", by size", number(topic, "retention_bytes"), "bytes a partition");
	printf("; segments of %" JSON_INTEGER_FORMAT " bytes\n\n", number(topic, "segment_bytes"));
}

/* What it promises and what not, whenever it is shown: nobody shall learn it from a loss. */
static void print_memory(const json_t *topic)
{
	printf("kept in memory only:\n"
	       "  all records are gone when the engine or this host stops; offsets go on above "
	       "them\n"
	       "  the newest %" JSON_INTEGER_FORMAT
	       " bytes of each partition are kept, older records "
	       "are overwritten;\n"
	       "  a consumer that falls behind them is told which offsets it missed\n"
	       "  acks: memory, which producers must ask for; disk and committed are refused\n\n",
	       number(topic, "tail_bytes"));
}

static void print_topic(const json_t *topic)
{
	size_t i;
	json_t *one;

	printf("topic %s, id %s\n", word(topic, "name"), word(topic, "id"));
	if (strcmp(word(topic, "storage"), "memory") == 0)
		print_memory(topic);
	else
		print_disk(topic);
	printf("%9s %6s %-9s %12s %12s %12s %12s %14s\n", "partition", "worker", "state", "start",
	       "flushed", "committed", "end", "bytes");
	json_array_foreach(json_object_get(topic, "partitions"), i, one)
	{
		printf("%9" JSON_INTEGER_FORMAT " %6" JSON_INTEGER_FORMAT " %-9s",
		       number(one, "partition"), number(one, "worker"), word(one, "state"));
		printf(" %12" JSON_INTEGER_FORMAT, number(one, "log_start_offset"));
		if (json_object_get(one, "flushed_offset"))
			printf(" %12" JSON_INTEGER_FORMAT, number(one, "flushed_offset"));
		else
			printf(" %12s", "never");
		printf(" %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
		       " %14" JSON_INTEGER_FORMAT "\n",
		       number(one, "high_watermark"), number(one, "log_end_offset"),
		       number(one, "bytes"));
		if (word(one, "reason")[0])
			printf("%9s %s\n", "", word(one, "reason"));
	}
}

static void print_reply(const struct arguments *arguments, const json_t *reply)
{
	if (strcmp(arguments->verb, "list") == 0)
		print_list(reply);
	else if (strcmp(arguments->verb, "delete") == 0)
		printf("deleted topic %s\n", arguments->name);
	else
		print_topic(reply);
}

static int show(const struct arguments *arguments, const char *reply)
{
	json_error_t problem;
	json_t *json;

	if (arguments->json) {
		printf("%s\n", reply);
		return mr_cli_finish_output(MR_EXIT_DONE);
	}
	json = json_loads(reply, 0, &problem);
	if (!json) {
		struct mr_error err;

		mr_error_set(&err, -EBADMSG, "the engine's answer is no JSON: %s", problem.text);
		return mr_cli_fail(&err);
	}
	print_reply(arguments, json);
	json_decref(json);
	return mr_cli_finish_output(MR_EXIT_DONE);
}

int mr_command_topic(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_connection *connection;
	struct mr_error err;
	char *request;
	char *reply = NULL;
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	request = make_request(&arguments);
	if (!request) {
		mr_error_set(&err, -EINVAL, "the topic's name is no UTF-8");
		return mr_cli_fail(&err);
	}
	code = mr_cli_connect(arguments.socket, "topic", &connection);
	if (code == MR_EXIT_DONE) {
		if (mr_connection_admin(connection, request, &reply, &err) < 0)
			code = mr_cli_fail(&err);
		else
			code = show(&arguments, reply);
	}
	mr_disconnect(connection);
	free(request);
	free(reply);
	return code;
}
