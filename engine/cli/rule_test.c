/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule test: runs a rule over what is stored of its input and shows what would have fired.
 * The same core as in the engine (pipeline.h), in this process; nothing is written anywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "pipeline/pipeline.h"
#include "replay.h"
#include "rule.h"
#include "rule_source.h"

enum {
	OPTION_FROM = MR_CLI_FIRST_OWN,
	OPTION_TO,
	OPTION_PARTITION,
	OPTION_OUTPUT,
};

struct arguments {
	const char *file;
	const char *socket;
	enum mr_from from;
	int64_t from_value;
	uint64_t to;
	int32_t partition; /* -1: all */
	bool output;	   /* show every output, not alerts only */
	bool json;
};

struct trial {
	const struct arguments *arguments;
	const struct mr_program *program;
	struct mr_pipeline *pipeline;
	struct mr_pipeline_counters all; /* of the partitions that are done */
	uint64_t raised[MR_RULE_ALERTS_MAX];
	uint64_t cleared[MR_RULE_ALERTS_MAX];
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t number = 0;

	switch (key) {
	case OPTION_FROM:
		if (mr_argument_from(arg, &arguments->from, &arguments->from_value) < 0 ||
		    arguments->from == MR_FROM_LATEST)
			argp_error(state, "--from: '%s' is neither earliest, an offset nor a date",
				   arg);
		return 0;
	case OPTION_TO:
		if (mr_argument_number(arg, 1, UINT64_MAX - 1, &arguments->to) < 0)
			argp_error(state, "--to: '%s' is no offset from 1 on", arg);
		return 0;
	case OPTION_PARTITION:
		if (mr_argument_number(arg, 0, MR_PARTITIONS_MAX - 1, &number) < 0)
			argp_error(state, "--partition: '%s' is no partition", arg);
		arguments->partition = (int32_t)number;
		return 0;
	case OPTION_OUTPUT:
		arguments->output = true;
		return 0;
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->file)
			argp_error(state, "one rule at a time: '%s' is one too many", arg);
		arguments->file = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->file)
			argp_error(state, "name the rule's file");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"from", OPTION_FROM, "WHERE", 0,
	 "earliest (the default), an offset, or a date like 2026-11-22T10:30 (UTC)", 0},
	{"to", OPTION_TO, "OFFSET", 0, "end before this offset (else where the log ends now)", 0},
	{"partition", OPTION_PARTITION, "N", 0, "only this one", 0},
	{"output", OPTION_OUTPUT, NULL, 0, "show what goes to every topic, not alerts only", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "FILE",
	.doc = "Run a rule over what is stored of its input topic, and show which alerts would "
	       "have been raised and cleared. Changes nothing."
	       "\vWindows begin empty at --from, so the first results of a key rest on fewer "
	       "values than in a pipeline that runs.\n\n"
	       "Examples:\n"
	       "  millrace rule test hot-press.yaml\n"
	       "  millrace rule test hot-press.yaml --from 2026-11-22T10:30 --output\n"
	       "  millrace rule test hot-press.yaml --json | jq .raised",
};

/* ---- what comes out ----------------------------------------------------------------------------
 */

static void put(void *arg, const struct mr_pipeline_record *record)
{
	static const char *const topics[] = {"output", "alert", "rejected"};
	struct trial *trial = arg;
	const struct arguments *arguments = trial->arguments;
	bool packed = record->topic == MR_PIPELINE_OUTPUT &&
		      mr_program_rule(trial->program)->format == MR_RULE_PACKED;

	if (record->topic == MR_PIPELINE_ALERTS && record->raised)
		trial->raised[record->alert]++;
	else if (record->topic == MR_PIPELINE_ALERTS)
		trial->cleared[record->alert]++;
	if (arguments->json || (!arguments->output && record->topic != MR_PIPELINE_ALERTS))
		return;
	if (packed)
		printf("%-8s %" PRIu32 " packed bytes\n", topics[record->topic],
		       record->value_bytes);
	else
		printf("%-8s %.*s\n", topics[record->topic], (int)record->value_bytes,
		       (const char *)record->value);
}

static int each(void *arg, const struct mr_message *messages, uint32_t count, struct mr_error *err)
{
	struct trial *trial = arg;
	struct mr_pipeline_sink sink = {.put = put, .arg = trial};
	int r = mr_pipeline_feed(trial->pipeline, messages, count, &sink);

	return r < 0 ? mr_error_set(err, r, "no memory for more keys") : 0;
}

static void add_up(struct trial *trial)
{
	const struct mr_pipeline_counters *one = mr_pipeline_counters(trial->pipeline);

	trial->all.records += one->records;
	trial->all.kept += one->kept;
	trial->all.keys += one->keys;
	trial->all.bytes += one->bytes;
	trial->all.evicted += one->evicted;
	trial->all.shed += one->shed;
	for (int i = 0; i < MR_CLEAN_VERDICTS; i++)
		trial->all.dropped[i] += one->dropped[i];
	for (int i = 0; i < MR_PARSE_REASONS; i++)
		trial->all.rejected[i] += one->rejected[i];
}

static int try_partition(struct trial *trial, struct mr_connection *connection, int32_t partition,
			 struct mr_error *err)
{
	const struct arguments *arguments = trial->arguments;
	struct mr_replay replay = {
		.connection = connection,
		.topic = mr_program_rule(trial->program)->input,
		.partition = partition,
		.from = arguments->from,
		.from_value = arguments->from_value,
		.to = arguments->to ? arguments->to : MR_REPLAY_TO_END,
		.each = each,
		.arg = trial,
	};
	int r = mr_pipeline_new(trial->program, partition, &trial->pipeline, err);

	if (r < 0)
		return r;
	r = mr_replay_run(&replay, err);
	add_up(trial);
	mr_pipeline_free(trial->pipeline);
	return r;
}

/* ---- what is said ------------------------------------------------------------------------------
 */

static json_t *names_json(const uint64_t *numbers, const char *const *names, int count)
{
	json_t *object = json_object();

	for (int i = 1; i < count; i++)
		if (numbers[i])
			json_object_set_new(object, names[i], json_integer((json_int_t)numbers[i]));
	return object;
}

static json_t *alerts_json(const struct mr_rule *rule, const uint64_t *numbers)
{
	json_t *object = json_object();

	for (uint32_t i = 0; i < rule->alert_count; i++)
		json_object_set_new(object, rule->alerts[i].name,
				    json_integer((json_int_t)numbers[i]));
	return object;
}

static void print_json(const struct trial *trial)
{
	const struct mr_rule *rule = mr_program_rule(trial->program);
	json_t *all = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "pipeline", rule->name,
		"input", rule->input, "records", (json_int_t)trial->all.records, "kept",
		(json_int_t)trial->all.kept, "keys", (json_int_t)trial->all.keys, "bytes",
		(json_int_t)trial->all.bytes, "evicted", (json_int_t)trial->all.evicted, "dropped",
		names_json(trial->all.dropped, mr_clean_verdict_names, MR_CLEAN_VERDICTS),
		"rejected",
		names_json(trial->all.rejected, mr_parse_reason_names, MR_PARSE_REASONS), "raised",
		alerts_json(rule, trial->raised), "cleared", alerts_json(rule, trial->cleared));

	json_dumpf(all, stdout, 0);
	putchar('\n');
	json_decref(all);
}

static void print_names(const char *what, const uint64_t *numbers, const char *const *names,
			int count)
{
	const char *before = what;

	for (int i = 1; i < count; i++) {
		if (!numbers[i])
			continue;
		printf("%s%" PRIu64 " %s", before, numbers[i], names[i]);
		before = ", ";
	}
	if (before != what)
		putchar('\n');
}

static void print_text(const struct trial *trial)
{
	const struct mr_rule *rule = mr_program_rule(trial->program);

	printf("%s over %s: %" PRIu64 " records, %" PRIu64 " kept, %" PRIu64 " keys\n", rule->name,
	       rule->input, trial->all.records, trial->all.kept, trial->all.keys);
	print_names("dropped:  ", trial->all.dropped, mr_clean_verdict_names, MR_CLEAN_VERDICTS);
	print_names("rejected: ", trial->all.rejected, mr_parse_reason_names, MR_PARSE_REASONS);
	if (trial->all.evicted)
		printf("evicted:  %" PRIu64 " keys, for the rule's limits\n", trial->all.evicted);
	for (uint32_t i = 0; i < rule->alert_count; i++)
		printf("alert %s: raised %" PRIu64 ", cleared %" PRIu64 "\n", rule->alerts[i].name,
		       trial->raised[i], trial->cleared[i]);
	if (!rule->alert_count)
		printf("the rule has no alerts\n");
}

static int run(struct trial *trial, struct mr_connection *connection, struct mr_error *err)
{
	const struct arguments *arguments = trial->arguments;
	const char *topic = mr_program_rule(trial->program)->input;
	int count = mr_replay_partitions(connection, topic, err);
	int r = count < 0 ? count : 0;

	if (r == 0 && arguments->partition >= count)
		r = mr_error_set(err, -ERANGE,
				 "topic '%s' has %d partitions, and none is number %d", topic,
				 count, arguments->partition);
	for (int32_t p = 0; p < count && r == 0; p++)
		if (arguments->partition < 0 || arguments->partition == p)
			r = try_partition(trial, connection, p, err);
	if (r == 0 && arguments->json)
		print_json(trial);
	else if (r == 0)
		print_text(trial);
	return r;
}

int mr_command_rule_test(int argc, char **argv)
{
	struct arguments arguments = {.from = MR_FROM_EARLIEST, .partition = -1};
	static struct trial trial;
	struct mr_connection *connection = NULL;
	struct mr_program *program = NULL;
	struct mr_rule *rule = NULL;
	struct mr_error err = {0};
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	mr_stop_watch();
	if (mr_rule_source_file(arguments.file, &rule, NULL, &err) < 0 ||
	    mr_program_new(rule, &program, &err) < 0) {
		mr_cli_error(&err);
		mr_rule_free(rule);
		return MR_EXIT_REFUSED;
	}
	trial.arguments = &arguments;
	trial.program = program;
	code = mr_cli_connect(arguments.socket, "rule test", &connection);
	if (code == MR_EXIT_DONE && run(&trial, connection, &err) < 0)
		code = mr_cli_fail(&err);
	mr_disconnect(connection);
	mr_program_free(program);
	mr_rule_free(rule);
	return mr_cli_finish_output(code);
}
