/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace tail: prints a topic's records. Runs on the main thread, which owns the consumer.
 * Without
 * --follow it ends where the log ended when it began (records that came since then in the last
 * batches read are printed too). With a group, offsets are committed after the records were written
 * out, once a second and at the end: after a crash records may be printed again, none is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arguments.h"
#include "cli.h"
#include "clock.h"
#include "millrace/format.h"
#include "output.h"
#include "tail_rule.h"
#include "waits.h"

#define POLL_MS		  200u
#define COMMIT_NS	  UINT64_C(1000000000)
#define COMMIT_TIMEOUT_MS 5000u

enum {
	OPTION_FROM = MR_CLI_FIRST_OWN,
	OPTION_FORMAT,
	OPTION_GROUP,
	OPTION_VIEW,
	OPTION_PARTITION,
	OPTION_RULE,
};

struct arguments {
	const char *topic;
	const char *socket;
	const char *group;
	const char *rule;
	enum mr_from from;
	int64_t from_value;
	bool from_given;
	bool follow;
	bool format_given;
	uint64_t count;	   /* 0: no limit */
	int32_t partition; /* -1: all */
	enum mr_view view;
	enum mr_output_format format;
};

struct tail {
	const struct arguments *arguments;
	struct mr_connection *connection;
	struct mr_consumer *consumer;
	uint64_t *ends; /* by partition: where the log ended at the start; NULL with --follow */
	int32_t partition_count;
	uint64_t printed;
	uint64_t committed; /* of those printed */
	uint64_t commit_due_ns;
	struct mr_waits waits;
	struct mr_error err;
};

static error_t parse_words(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (arguments->topic)
			argp_error(state, "one topic at a time: '%s' is one too many", arg);
		arguments->topic = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->topic)
			argp_error(state, "name the topic");
		if (arguments->rule &&
		    (arguments->group || arguments->format_given || arguments->partition >= 0))
			argp_error(state, "--rule has rows of its own: leave --group, --format "
					  "and --partition away");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void set_from(struct arguments *arguments, const char *arg, struct argp_state *state)
{
	if (mr_argument_from(arg, &arguments->from, &arguments->from_value) < 0)
		argp_error(state, "--from: '%s' is neither earliest, latest, an offset nor a date",
			   arg);
	arguments->from_given = true;
}

static void set_view(struct arguments *arguments, const char *arg, struct argp_state *state)
{
	if (strcmp(arg, "appended") == 0)
		arguments->view = MR_VIEW_APPENDED;
	else if (strcmp(arg, "committed") == 0)
		arguments->view = MR_VIEW_COMMITTED;
	else
		argp_error(state, "--view: '%s' is neither committed nor appended", arg);
}

static void set_numbers(struct arguments *arguments, int key, const char *arg,
			struct argp_state *state)
{
	uint64_t number = 0;

	if (key == 'n') {
		if (mr_argument_number(arg, 1, UINT64_MAX, &arguments->count) < 0)
			argp_error(state, "--count: '%s' is no number from 1 on", arg);
		return;
	}
	if (mr_argument_number(arg, 0, MR_PARTITIONS_MAX - 1, &number) < 0)
		argp_error(state, "--partition: '%s' is no number from 0 to %d", arg,
			   MR_PARTITIONS_MAX - 1);
	arguments->partition = (int32_t)number;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->format = MR_OUTPUT_JSON;
		arguments->format_given = true;
		return 0;
	case OPTION_FROM:
		set_from(arguments, arg, state);
		return 0;
	case 'f':
		arguments->follow = true;
		return 0;
	case 'n':
	case OPTION_PARTITION:
		set_numbers(arguments, key, arg, state);
		return 0;
	case OPTION_FORMAT:
		if (mr_output_format_parse(arg, &arguments->format) < 0)
			argp_error(state, "--format: '%s' is neither raw, json, csv nor table",
				   arg);
		arguments->format_given = true;
		return 0;
	case OPTION_GROUP:
		if (!arg[0] || strlen(arg) > MR_GROUP_NAME_MAX)
			argp_error(state, "--group: a name has 1 to %u bytes", MR_GROUP_NAME_MAX);
		arguments->group = arg;
		return 0;
	case OPTION_RULE:
		arguments->rule = arg;
		return 0;
	case OPTION_VIEW:
		set_view(arguments, arg, state);
		return 0;
	default:
		return parse_words(key, arg, state);
	}
}

static const struct argp_option options[] = {
	{"from", OPTION_FROM, "WHERE", 0,
	 "earliest (the default), latest, an offset, or a date like 2026-11-22T10:30 (UTC)", 0},
	{"follow", 'f', NULL, 0, "wait for further records until Ctrl-C", 0},
	{"count", 'n', "N", 0, "end after N records", 0},
	{"format", OPTION_FORMAT, "FORMAT", 0,
	 "table (the default on a terminal), raw (the default elsewhere), json, csv", 0},
	{"group", OPTION_GROUP, "NAME", 0,
	 "go on where this group is, and commit what was printed; --from sets it elsewhere", 0},
	{"view", OPTION_VIEW, "VIEW", 0,
	 "committed (the default), or appended: also what a failure may still take back", 0},
	{"partition", OPTION_PARTITION, "N", 0, "only this one", 0},
	{"rule", OPTION_RULE, "NAME", 0,
	 "not the records, but what this pipeline says of them: value, windows, alerts", 0},
	MR_CLI_OPTION_SOCKET,
	{"json", MR_CLI_JSON, NULL, 0, "the same as --format json", 0},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "TOPIC",
	.doc = "Print the records of a topic, from the oldest to where the log ends now."
	       "\vFormats: raw is the value and a line break; json is one object a line, with what "
	       "is "
	       "no UTF-8 in base64; csv has a first row; table is for people.\n\n"
	       "Examples:\n"
	       "  millrace tail host --from latest --follow\n"
	       "  millrace tail trades --count 10 --json\n"
	       "  millrace tail trades --from 2026-11-22T10:30 --format csv >trades.csv\n"
	       "  millrace tail sensors --rule hot-press --follow\n"
	       "  millrace tail trades --group audit --follow >>audit.log",
};

/* ---- where it ends ------------------------------------------------------------------------- */

static bool wanted(const struct tail *tail, int32_t partition)
{
	return tail->arguments->partition < 0 || tail->arguments->partition == partition;
}

static int position(struct tail *tail, int32_t partition, struct mr_consumer_position *out)
{
	*out = (struct mr_consumer_position){.size = sizeof(*out)};
	return mr_consumer_position(tail->consumer, partition, out);
}

static int note_ends(struct tail *tail)
{
	struct mr_consumer_position now;

	tail->partition_count = mr_consumer_partition_count(tail->consumer);
	if (tail->arguments->follow)
		return 0;
	tail->ends = calloc((size_t)tail->partition_count, sizeof(*tail->ends));
	if (!tail->ends)
		return mr_error_set(&tail->err, -ENOMEM, "no memory for %d partitions",
				    (int)tail->partition_count);
	for (int32_t i = 0; i < tail->partition_count; i++) {
		int r = wanted(tail, i) ? position(tail, i, &now) : 0;

		if (r < 0) {
			mr_consumer_error(tail->consumer, &tail->err);
			return r;
		}
		if (wanted(tail, i))
			tail->ends[i] = now.offset + now.lag;
	}
	return 0;
}

static bool at_end(struct tail *tail)
{
	struct mr_consumer_position now;

	if (tail->arguments->count && tail->printed == tail->arguments->count)
		return true;
	if (!tail->ends)
		return false;
	for (int32_t i = 0; i < tail->partition_count; i++) {
		if (wanted(tail, i) && position(tail, i, &now) == 0 && now.offset < tail->ends[i])
			return false;
	}
	return true;
}

/* ---- printing ------------------------------------------------------------------------------ */

/* What a full disk took is not printed: it is read again. mr_cli_finish_output() says so. */
static bool is_written(void)
{
	return fflush(stdout) == 0 && !ferror(stdout);
}

static int commit(struct tail *tail)
{
	uint64_t now_ns = mr_clock_monotonic_ns(&mr_clock_system);
	int r;

	if (!tail->arguments->group || tail->committed == tail->printed || !is_written())
		return 0;
	r = mr_consumer_commit(tail->consumer, COMMIT_TIMEOUT_MS);
	if (r < 0) {
		mr_consumer_error(tail->consumer, &tail->err);
		return r;
	}
	tail->committed = tail->printed;
	tail->commit_due_ns = now_ns + COMMIT_NS;
	return 0;
}

/* Prints what was read; with --count, the first record left out is read again by the next reader.
 */
static int print(struct tail *tail, const struct mr_message *messages, int count)
{
	uint64_t limit = tail->arguments->count;

	for (int i = 0; i < count; i++) {
		int r;

		if (limit && tail->printed == limit)
			return mr_consumer_seek(tail->consumer, messages[i].partition,
						messages[i].offset);
		r = mr_output_record(stdout, tail->arguments->format, &messages[i]);
		if (r < 0)
			return mr_error_set(&tail->err, r,
					    "cannot show the record at offset %" PRIu64,
					    messages[i].offset);
		tail->printed++;
	}
	return 0;
}

/* One poll and what follows from it. */
static int turn(struct tail *tail)
{
	const struct mr_message *messages;
	int count = mr_consumer_poll(tail->consumer, POLL_MS, &messages);
	uint64_t now_ns;
	int r;

	if (count == -EINTR)
		return 0;
	if (count < 0) {
		mr_consumer_error(tail->consumer, &tail->err);
		return count;
	}
	r = print(tail, messages, count);
	if (r < 0)
		return r;
	if (tail->arguments->follow && count > 0)
		(void)fflush(stdout); /* whether it worked is looked at below, and at the end */
	now_ns = mr_clock_monotonic_ns(&mr_clock_system);
	mr_waits_turn(&tail->waits, count > 0, now_ns);
	return now_ns >= tail->commit_due_ns ? commit(tail) : 0;
}

static int run(struct tail *tail)
{
	int r = note_ends(tail);
	int last;

	tail->waits = (struct mr_waits){.connection = tail->connection,
					.topic = tail->arguments->topic,
					.partition = tail->arguments->partition};
	mr_waits_begin(&tail->waits, mr_clock_monotonic_ns(&mr_clock_system));
	if (r == 0)
		mr_output_begin(stdout, tail->arguments->format);
	while (r == 0 && !mr_stop_asked() && !at_end(tail) && !ferror(stdout))
		r = turn(tail);
	if (r < 0) {
		struct mr_error why = tail->err;

		(void)commit(tail); /* what was printed before; the first error is told */
		tail->err = why;
		return r;
	}
	last = commit(tail);
	/* it read to the end of what can be read now: more may be there */
	if (tail->ends && !tail->arguments->count && !tail->waits.said_ns)
		(void)mr_waits_say(&tail->waits);
	return last;
}

static int open_consumer(struct tail *tail)
{
	const struct arguments *arguments = tail->arguments;
	struct mr_consumer_options wanted_options = {
		.size = sizeof(wanted_options),
		.topic = arguments->topic,
		.partitions = arguments->partition >= 0 ? &arguments->partition : NULL,
		.partition_count = arguments->partition >= 0,
		.from = arguments->from,
		.from_value = arguments->from_value,
		.group = arguments->group,
		.view = arguments->view,
	};
	int code = mr_cli_connect(arguments->socket, "tail", &tail->connection);

	if (code != MR_EXIT_DONE)
		return code;
	if (mr_consumer_open(tail->connection, &wanted_options, &tail->consumer, &tail->err) < 0)
		return mr_cli_fail(&tail->err);
	return MR_EXIT_DONE;
}

static int tail_rule(const struct arguments *arguments)
{
	struct mr_tail_rule what = {
		.socket = arguments->socket,
		.topic = arguments->topic,
		.rule = arguments->rule,
		.from = arguments->from,
		.from_value = arguments->from_value,
		.follow = arguments->follow,
		.count = arguments->count,
	};

	return mr_tail_rule(&what);
}

int mr_command_tail(int argc, char **argv)
{
	struct arguments arguments = {.partition = -1};
	struct tail tail = {.arguments = &arguments};
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (!arguments.format_given)
		arguments.format = isatty(STDOUT_FILENO) ? MR_OUTPUT_TABLE : MR_OUTPUT_RAW;
	if (arguments.group && !arguments.from_given)
		arguments.from = MR_FROM_COMMITTED;
	mr_stop_watch();
	if (arguments.rule)
		return tail_rule(&arguments);
	code = open_consumer(&tail);
	if (code == MR_EXIT_DONE && run(&tail) < 0) {
		mr_cli_error(&tail.err);
		/* The engine answers: -EPIPE says that the topic is gone. */
		code = tail.err.code == -EPIPE ? MR_EXIT_REFUSED : mr_cli_exit_code(tail.err.code);
	}
	mr_consumer_close(tail.consumer);
	mr_disconnect(tail.connection);
	free(tail.ends);
	return mr_cli_finish_output(code);
}
