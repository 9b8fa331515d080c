/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace topic create | list | describe | delete: an administrator's request to the engine as
 * JSON, and its answer as a table or as the JSON itself.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "arguments.h"
#include "ask.h"
#include "base/config_table.h"
#include "check.h"
#include "cli.h"
#include "millrace/format.h"

enum {
	OPTION_PARTITIONS = MR_CLI_FIRST_OWN,
	OPTION_RETENTION,
	OPTION_RETENTION_BYTES,
	OPTION_SEGMENT_BYTES,
	OPTION_STORAGE,
	OPTION_TAIL_BYTES,
	OPTION_REPLICAS,
	OPTION_MIN_INSYNC_REPLICAS,
	OPTION_LEADERS,
	OPTION_COMPRESSION,
};

/* One of create's options: a topic's in the configuration, with the same values and bounds. */
struct size {
	int key;
	const char *option; /* of mr_config_topic_options */
	const char *field;  /* of the request */
	bool of_files;
};

static const struct size sizes[] = {
	{OPTION_PARTITIONS, "partitions", "partitions", false},
	{OPTION_RETENTION, "retention", "retention_ms", true},
	{OPTION_RETENTION_BYTES, "retention_bytes", "retention_bytes", true},
	{OPTION_SEGMENT_BYTES, "segment_bytes", "segment_bytes", true},
	{OPTION_STORAGE, "storage", "storage", false},
	{OPTION_TAIL_BYTES, "tail_bytes", "tail_bytes", false},
	{OPTION_REPLICAS, "replicas", "replicas", false},
	{OPTION_MIN_INSYNC_REPLICAS, "min_insync_replicas", "min_insync_replicas", false},
	{OPTION_LEADERS, "leaders", "leaders", false},
	{OPTION_COMPRESSION, "compression", "compression", false},
};

struct arguments {
	const char *verb;
	const char *name;
	const char *socket;
	bool json;
	const char *given[mr_array_count(sizes)]; /* its text, or NULL */
	struct mr_config_topic wanted;		  /* those that were given */
	const char *file_option;		  /* one was given that is about files */
};

static const struct argp_option options[] = {
	{"partitions", OPTION_PARTITIONS, "N", 0, "create: how many (default: as configured)", 0},
	{"retention", OPTION_RETENTION, "AGE", 0,
	 "create: keep records that long, as in 7d; 0: for ever", 0},
	{"retention-bytes", OPTION_RETENTION_BYTES, "BYTES", 0,
	 "create: keep that much of each partition, as in 10GiB; 0: all", 0},
	{"segment-bytes", OPTION_SEGMENT_BYTES, "BYTES", 0, "create: size of a log file", 0},
	{"storage", OPTION_STORAGE, "WHERE", 0,
	 "create: disk (the default) or memory: gone when the engine or the host stops", 0},
	{"tail-bytes", OPTION_TAIL_BYTES, "BYTES", 0,
	 "create: memory of each partition, a power of two, as in 64MiB; in memory all that is "
	 "kept",
	 0},
	{"compression", OPTION_COMPRESSION, "HOW", 0,
	 "create: of batches in memory, on disk and to peers: none, lz4 or zstd (default: as "
	 "configured)",
	 0},
	{"replicas", OPTION_REPLICAS, "N", 0,
	 "create: on so many hosts, this one and its peers (default: as configured)", 0},
	{"min-insync-replicas", OPTION_MIN_INSYNC_REPLICAS, "N", 0,
	 "create: a record is committed when so many have it on their disks (default: 1 of 2, 2 of "
	 "more)",
	 0},
	{"leaders", OPTION_LEADERS, "WHO", 0,
	 "create: spread (partitions in turn over the hosts) or the name of one host", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

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
	return arguments->wanted.storage == MR_CONFIG_STORAGE_MEMORY;
}

static bool is_sized(const struct arguments *arguments)
{
	for (size_t i = 0; i < mr_array_count(sizes); i++)
		if (arguments->given[i])
			return true;
	return false;
}

static void check_words(const struct arguments *arguments, struct argp_state *state)
{
	const struct mr_config_topic *wanted = &arguments->wanted;
	bool list = arguments->verb && strcmp(arguments->verb, "list") == 0;

	if (!arguments->verb)
		argp_error(state, "say what to do: create, list, describe or delete");
	else if (list == (arguments->name != NULL))
		argp_error(state, list ? "list takes no topic" : "%s needs a topic",
			   arguments->verb);
	else if (is_sized(arguments) && strcmp(arguments->verb, "create") != 0)
		argp_error(state,
			   "%s takes no sizes, storage, compression and replicas, only create does",
			   arguments->verb);
	else if (wanted->replicas && wanted->min_insync_replicas > wanted->replicas)
		argp_error(state, "--min-insync-replicas: no record would ever be committed, there "
				  "are fewer --replicas");
	else if (in_memory(arguments) && wanted->replicas > 1)
		argp_error(state, "a topic in memory has no replicas");
	else if (in_memory(arguments) && arguments->file_option)
		argp_error(state, "a topic in memory has no files: --%s says nothing of it",
			   arguments->file_option);
}

/* As a person writes it: "retention-bytes". */
static const char *word_of(int key)
{
	const struct argp_option *option = options;

	while (option->key != key)
		option++;
	return option->name;
}

/* The table's sentence begins with the option's name as files have it. */
static void set_size(const struct size *size, const char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	const struct mr_option *option = mr_option_find(&mr_config_topic_options, size->option);
	struct mr_error err = {0};

	mr_assert(option);
	if (mr_option_set(option, text, &arguments->wanted, &err) < 0)
		argp_error(state, "--%s%s%s%s", word_of(size->key), err.what + strlen(option->name),
			   err.hint[0] ? "\n  do:  " : "", err.hint);
	arguments->given[size - sizes] = text;
	if (size->of_files)
		arguments->file_option = word_of(size->key);
}

static error_t parse_size(int key, const char *arg, struct argp_state *state)
{
	for (size_t i = 0; i < mr_array_count(sizes); i++) {
		if (sizes[i].key != key)
			continue;
		set_size(&sizes[i], arg, state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
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
	case ARGP_KEY_ARG:
		return parse_words(arguments, arg, state);
	case ARGP_KEY_END:
		check_words(arguments, state);
		return 0;
	default:
		return parse_size(key, arg, state);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "create NAME\nlist\ndescribe NAME\ndelete NAME",
	.doc = "Create, list, describe and delete topics. A deleted topic's records are gone."
	       "\vExamples:\n"
	       "  millrace topic create trades --partitions 4 --retention 7d\n"
	       "  millrace topic create quotes --storage memory --tail-bytes 64MiB\n"
	       "  millrace topic create events --compression zstd\n"
	       "  millrace topic create orders --replicas 2 --min-insync-replicas 2\n"
	       "  millrace topic create audit --replicas 2 --leaders a\n"
	       "  millrace topic list\n"
	       "  millrace topic describe trades --json\n"
	       "  millrace topic delete trades",
};

static json_t *size_json(const struct arguments *arguments, size_t which)
{
	const struct mr_option *option =
		mr_option_find(&mr_config_topic_options, sizes[which].option);

	if (option->type == MR_OPTION_WORD || option->type == MR_OPTION_NAME)
		return json_string(arguments->given[which]);
	return json_integer((json_int_t)mr_option_get(option, &arguments->wanted));
}

/* NULL: a name that is no UTF-8. */
static json_t *make_request(const struct arguments *arguments)
{
	char verb[32];
	json_t *request;

	snprintf(verb, sizeof(verb), "topic.%s", arguments->verb);
	request = json_pack("{s:s}", "do", verb);
	for (size_t i = 0; request && i < mr_array_count(sizes); i++)
		if (arguments->given[i])
			json_object_set_new(request, sizes[i].field, size_json(arguments, i));
	if (request && arguments->name &&
	    json_object_set_new(request, "name", json_string(arguments->name)) < 0) {
		json_decref(request);
		return NULL;
	}
	return request;
}

static void print_list(const json_t *reply)
{
	const json_t *topics = json_object_get(reply, "topics");
	size_t i;
	json_t *topic;

	printf("%-40s %-7s %-11s %10s %8s %14s %14s\n", "topic", "storage", "compression",
	       "partitions", "replicas", "records", "bytes");
	json_array_foreach(topics, i, topic)
	{
		const json_t *partitions = json_object_get(topic, "partitions");
		const json_t *replicas = json_object_get(topic, "replicas");
		json_int_t records = 0;
		json_int_t bytes = 0;
		size_t k;
		json_t *one;

		json_array_foreach(partitions, k, one)
		{
			records += mr_ask_number(one, "high_watermark") -
				   mr_ask_number(one, "log_start_offset");
			bytes += mr_ask_number(one, "bytes");
		}
		printf("%-40s %-7s %-11s %10zu %8zu %14" JSON_INTEGER_FORMAT
		       " %14" JSON_INTEGER_FORMAT "\n",
		       mr_ask_word(topic, "name"), mr_ask_word(topic, "storage"),
		       mr_ask_word(topic, "compression"), json_array_size(partitions),
		       replicas ? json_array_size(replicas) : 1, records, bytes);
	}
}

/* "7 d", "10 GiB" as the configuration has it; "17000001 bytes". */
static const char *size_text(const json_t *topic, const char *option, const char *field,
			     char room[32])
{
	const struct mr_option *row = mr_option_find(&mr_config_topic_options, option);
	size_t digits, bytes;

	(void)mr_option_format(row, (uint64_t)mr_ask_number(topic, field), room, 32);
	bytes = strlen(room);
	digits = strspn(room, "0123456789");
	if (digits == bytes)
		snprintf(room + bytes, 32 - bytes, " bytes");
	return room;
}

static void print_limit(const json_t *topic, const char *words, const char *option,
			const char *field, const char *of)
{
	char room[32];

	if (mr_ask_number(topic, field) > 0)
		printf("%s %s%s", words, size_text(topic, option, field, room), of);
	else
		printf("%s no limit", words);
}

static void print_disk(const json_t *topic)
{
	char room[32];

	print_limit(topic, "kept: by age", "retention", "retention_ms", "");
	print_limit(topic, ", by size", "retention_bytes", "retention_bytes", " a partition");
	printf("; segments of %s\n\n", size_text(topic, "segment_bytes", "segment_bytes", room));
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
	       mr_ask_number(topic, "tail_bytes"));
}

static void print_compression(const json_t *topic)
{
	const char *word = mr_ask_word(topic, "compression");
	json_int_t bytes = 0, plain_bytes = 0;
	char room[48];
	size_t i;
	json_t *one;

	if (!word[0] || strcmp(word, "none") == 0)
		return;
	json_array_foreach(json_object_get(topic, "partitions"), i, one)
	{
		bytes += mr_ask_number(one, "appended_bytes");
		plain_bytes += mr_ask_number(one, "plain_bytes");
	}
	printf("compressed by %s: since the start %s\n\n", word,
	       mr_ask_ratio(bytes, plain_bytes, room));
}

/* Where its copies are, and who leads now. */
static void print_replicas(const json_t *topic, bool created)
{
	const json_t *replicas = json_object_get(topic, "replicas");
	const char *unled = created ? "(not yet)" : "nobody";
	char room[400];
	size_t i;
	json_t *one;

	if (!replicas)
		return;
	printf("replicas: %s; leaders: %s; committed when %" JSON_INTEGER_FORMAT
	       " of them have it on disk\n\n",
	       mr_ask_words(replicas, room, sizeof(room)), mr_ask_word(topic, "leaders"),
	       mr_ask_number(topic, "min_insync_replicas"));
	printf("%9s %-12s %-9s %12s  %s\n", "partition", "leader", "here", "epoch", "in sync");
	json_array_foreach(json_object_get(topic, "partitions"), i, one)
	{
		const char *leader = mr_ask_word(one, "leader");

		printf("%9" JSON_INTEGER_FORMAT " %-12s %-9s %12" JSON_INTEGER_FORMAT "  %s\n",
		       mr_ask_number(one, "partition"), leader[0] ? leader : unled,
		       mr_ask_word(one, "role"), mr_ask_number(one, "leader_epoch"),
		       mr_ask_words(json_object_get(one, "isr"), room, sizeof(room)));
	}
	printf("\n");
}

static void print_topic(const json_t *topic, bool created)
{
	size_t i;
	json_t *one;

	printf("topic %s, id %s\n", mr_ask_word(topic, "name"), mr_ask_word(topic, "id"));
	if (strcmp(mr_ask_word(topic, "storage"), "memory") == 0)
		print_memory(topic);
	else
		print_disk(topic);
	print_compression(topic);
	print_replicas(topic, created);
	printf("%9s %6s %-9s %12s %12s %12s %12s %14s\n", "partition", "worker", "state", "start",
	       "flushed", "committed", "end", "bytes");
	json_array_foreach(json_object_get(topic, "partitions"), i, one)
	{
		printf("%9" JSON_INTEGER_FORMAT " %6" JSON_INTEGER_FORMAT " %-9s",
		       mr_ask_number(one, "partition"), mr_ask_number(one, "worker"),
		       mr_ask_word(one, "state"));
		printf(" %12" JSON_INTEGER_FORMAT, mr_ask_number(one, "log_start_offset"));
		if (json_object_get(one, "flushed_offset"))
			printf(" %12" JSON_INTEGER_FORMAT, mr_ask_number(one, "flushed_offset"));
		else
			printf(" %12s", "never");
		printf(" %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
		       " %14" JSON_INTEGER_FORMAT "\n",
		       mr_ask_number(one, "high_watermark"), mr_ask_number(one, "log_end_offset"),
		       mr_ask_number(one, "bytes"));
		if (mr_ask_word(one, "reason")[0])
			printf("%9s %s\n", "", mr_ask_word(one, "reason"));
	}
}

static void print_reply(const json_t *reply, const void *arg)
{
	const struct arguments *arguments = arg;

	if (strcmp(arguments->verb, "list") == 0)
		print_list(reply);
	else if (strcmp(arguments->verb, "delete") == 0)
		printf("deleted topic %s\n", arguments->name);
	else
		print_topic(reply, strcmp(arguments->verb, "create") == 0);
}

/* Who leads is settled a moment after the topic was made. */
static bool is_early(const json_t *topic)
{
	size_t i;
	json_t *one;

	if (!json_object_get(topic, "replicas"))
		return false;
	json_array_foreach(json_object_get(topic, "partitions"), i, one)
	{
		const char *role = mr_ask_word(one, "role");

		if (!mr_ask_word(one, "leader")[0] || strcmp(role, "none") == 0)
			return true;
	}
	return false;
}

int mr_command_topic(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "topic", .print = print_reply, .arg = &arguments};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = make_request(&arguments);
	if (ask.request && strcmp(arguments.verb, "create") == 0) {
		ask.early = is_early;
		ask.again = json_pack("{s:s, s:s}", "do", "topic.describe", "name", arguments.name);
	}
	return mr_cli_ask(&ask);
}
