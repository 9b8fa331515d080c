/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace explain: why a pipeline said what it said of one record. What it says is a function of
 * its input, so the input is run through the same core once more, up to that record, by the
 * versions of the rule that held; the values that its windows were made of are shown with their
 * weights.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "ask.h"
#include "base/nearest.h"
#include "cli.h"
#include "connection.h"
#include "pipelines.h"
#include "replay.h"
#include "rule_source.h"
#include "time_text.h"

#define DROPPED_MAX 16 /* the last so many are shown */
#define NODES	    64 /* an epoch says by its remainder who led */

enum {
	OPTION_RULE = MR_CLI_FIRST_OWN,
	OPTION_WINDOW,
};

struct arguments {
	const char *record;
	const char *socket;
	const char *rule;
	const char *window;
	char key[MR_PARSE_KEY_MAX + 1];
	int32_t partition;
	uint64_t offset;
};

/* A kept value of the key. */
struct kept {
	int64_t time_ms;
	double value;
	uint64_t offset;
	int32_t leader_epoch;
};

struct dropped {
	struct kept what;
	enum mr_clean_verdict verdict;
};

struct explanation {
	const struct arguments *arguments;
	const struct mr_definition *definition;
	struct mr_rule *rule; /* of the version that holds now */
	struct mr_program *program;
	struct mr_pipeline *pipeline;
	uint32_t version;  /* index; UINT32_MAX: none yet */
	struct kept *kept; /* by event time, of equal times the later last */
	uint64_t kept_count;
	uint64_t kept_capacity;
	struct dropped dropped[DROPPED_MAX]; /* a ring */
	uint64_t dropped_count;
	struct mr_error err;
	/* of the record itself */
	bool found;
	struct mr_pipeline_trace trace;
	struct mr_pipeline_key key;
	struct kept record;
	json_t *hosts; /* as millrace peers has them; NULL: the engine did not say */
	char other_key[MR_PARSE_KEY_MAX + 1]; /* it is of this one, not of that asked for */
};

/* ---- arguments ---------------------------------------------------------------------------------
 */

/* KEY@PARTITION:OFFSET; the key may have an @ of its own. */
static bool parse_record(struct arguments *arguments, const char *text)
{
	const char *at = strrchr(text, '@');
	const char *colon = at ? strchr(at, ':') : NULL;
	char number[16];
	uint64_t partition;

	if (!colon || (size_t)(at - text) > MR_PARSE_KEY_MAX ||
	    (size_t)(colon - at) > sizeof(number))
		return false;
	memcpy(arguments->key, text, (size_t)(at - text));
	memcpy(number, at + 1, (size_t)(colon - at - 1));
	number[colon - at - 1] = '\0';
	if (mr_argument_number(number, 0, MR_PARTITIONS_MAX - 1, &partition) < 0 ||
	    mr_argument_number(colon + 1, 0, UINT64_MAX - 1, &arguments->offset) < 0)
		return false;
	arguments->partition = (int32_t)partition;
	arguments->record = text;
	return true;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case OPTION_RULE:
		arguments->rule = arg;
		return 0;
	case OPTION_WINDOW:
		arguments->window = arg;
		return 0;
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->record)
			argp_error(state, "one record at a time: '%s' is one too many", arg);
		if (!parse_record(arguments, arg))
			argp_error(state, "'%s' is no KEY@PARTITION:OFFSET, as in press-9@0:48190",
				   arg);
		return 0;
	case ARGP_KEY_END:
		if (!arguments->record)
			argp_error(state, "say which record: KEY@PARTITION:OFFSET");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"rule", OPTION_RULE, "NAME", 0, "of this pipeline (else of the only one there is)", 0},
	{"window", OPTION_WINDOW, "NAME", 0, "only this window", 0},
	MR_CLI_OPTION_SOCKET,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "KEY@PARTITION:OFFSET",
	.doc = "Show why a pipeline said what it said of one record of its input: the values that "
	       "each window was made of with their weights, what cleaning dropped and why, where "
	       "they lie in the log and under whose lead they were written, and the result."
	       "\vPARTITION and OFFSET are those of the input; outputs and alerts name them. The "
	       "stored input is run through the rule again up to there, so it takes as long as "
	       "that is.\n\n"
	       "Examples:\n"
	       "  millrace explain press-9@0:48190\n"
	       "  millrace explain press-9@0:48190 --rule hot-press --window avg",
};

/* ---- running it again --------------------------------------------------------------------------
 */

static bool is_key(const struct explanation *explanation, const struct mr_parsed *parsed)
{
	const char *key = explanation->arguments->key;

	return (size_t)parsed->key_bytes == strlen(key) &&
	       memcmp(parsed->key, key, (size_t)parsed->key_bytes) == 0;
}

static int keep(struct explanation *explanation, const struct kept *kept)
{
	uint64_t at = explanation->kept_count;

	if (at == explanation->kept_capacity) {
		uint64_t capacity = at ? 2 * at : 1024;
		struct kept *grown = realloc(explanation->kept, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		explanation->kept = grown;
		explanation->kept_capacity = capacity;
	}
	while (at > 0 && explanation->kept[at - 1].time_ms > kept->time_ms)
		at--;
	memmove(&explanation->kept[at + 1], &explanation->kept[at],
		(explanation->kept_count - at) * sizeof(*kept));
	explanation->kept[at] = *kept;
	explanation->kept_count++;
	return 0;
}

static void look(void *arg, const struct mr_pipeline_trace *trace)
{
	struct explanation *explanation = arg;
	struct kept one = {
		.time_ms = trace->parsed.time_ms,
		.value = trace->parsed.value,
		.offset = trace->message->offset,
		.leader_epoch = trace->message->leader_epoch,
	};

	if (trace->message->offset == explanation->arguments->offset) {
		explanation->found = true;
		explanation->trace = *trace;
		explanation->record = one;
		if (trace->key)
			explanation->key = *trace->key;
		if (trace->key && !is_key(explanation, &trace->parsed))
			snprintf(explanation->other_key, sizeof(explanation->other_key), "%.*s",
				 (int)trace->parsed.key_bytes, trace->parsed.key);
	}
	if (!trace->key || !is_key(explanation, &trace->parsed))
		return;
	if (trace->verdict != MR_CLEAN_KEEP)
		explanation->dropped[explanation->dropped_count++ % DROPPED_MAX] =
			(struct dropped){.what = one, .verdict = trace->verdict};
	else if (keep(explanation, &one) < 0)
		mr_error_set(&explanation->err, -ENOMEM, "no memory for the values of a key");
}

static void ignore(void *arg, const struct mr_pipeline_record *record)
{
	(void)arg;
	(void)record;
}

/* The version that holds at 'offset' takes over. */
static int change_version(struct explanation *explanation, uint32_t version, struct mr_error *err)
{
	const struct mr_definition_version *row = &explanation->definition->versions[version];
	struct mr_program *program = NULL;
	struct mr_rule *rule = NULL;
	int r = mr_pipelines_compile(row->text, row->weights, explanation->definition->name, &rule,
				     &program, err);

	if (r == 0 && explanation->pipeline)
		r = mr_pipeline_replace(explanation->pipeline, program, err);
	else if (r == 0)
		r = mr_pipeline_new(program, explanation->arguments->partition,
				    &explanation->pipeline, err);
	if (r < 0) {
		mr_program_free(program);
		mr_rule_free(rule);
		return r;
	}
	mr_program_free(explanation->program);
	mr_rule_free(explanation->rule);
	explanation->program = program;
	explanation->rule = rule;
	explanation->version = version;
	mr_pipeline_set_trace(explanation->pipeline, look, explanation);
	return 0;
}

/* One at a time: what the trace points to is good until the next. */
static int each(void *arg, const struct mr_message *messages, uint32_t count, struct mr_error *err)
{
	static const struct mr_pipeline_sink sink = {.put = ignore};
	struct explanation *explanation = arg;
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		uint32_t version = mr_definition_version_at(
			explanation->definition, messages[i].partition, messages[i].offset);

		if (version != explanation->version)
			r = change_version(explanation, version, err);
		if (r == 0)
			r = mr_pipeline_feed(explanation->pipeline, &messages[i], 1, &sink);
		if (r == 0 && explanation->err.code < 0) {
			*err = explanation->err;
			r = err->code;
		}
	}
	return r;
}

/* ---- what is said ------------------------------------------------------------------------------
 */

static void print_kept(const struct kept *kept)
{
	char time[MR_TIME_TEXT_BYTES];

	mr_time_format(kept->time_ms, time);
	printf("%10" PRIu64 "  %-24s  %11.7g", kept->offset, time, kept->value);
}

/* Its name; "" where no host has that number now. */
static const char *host_name(const json_t *hosts, int number)
{
	const json_t *peers = json_object_get(hosts, "peers");
	const char *name = "";
	size_t i;
	json_t *one;

	if (hosts && mr_ask_number(hosts, "number") == number)
		name = mr_ask_word(hosts, "node");
	json_array_foreach(peers, i, one)
	{
		if (mr_ask_number(one, "number") == number)
			name = mr_ask_word(one, "node");
	}
	return name;
}

static void print_place(const struct explanation *explanation, const struct kept *kept)
{
	int number = (int)(kept->leader_epoch % NODES);
	const char *name = host_name(explanation->hosts, number);

	if (kept->leader_epoch < 0)
		return;
	printf("  epoch %d, led by host ", (int)kept->leader_epoch);
	if (name[0])
		printf("%s", name);
	else
		printf("number %d", number);
}

static const char *extent_text(const struct mr_window_spec *spec, char room[64])
{
	if (spec->extent == MR_WINDOW_BY_COUNT)
		snprintf(room, 64, "the last %" PRIu32 " values", spec->count);
	else
		snprintf(room, 64, "%s %g s",
			 spec->extent == MR_WINDOW_BY_TIME ? "the last" : "whole stretches of",
			 (double)spec->span_ms / 1000);
	return room;
}

/* A weighted average with fewer values than weights is divided by the weights that were used. */
static double weight_sum(const struct mr_window_spec *spec, uint64_t count)
{
	double sum = 0;

	for (uint64_t k = 0; k < count && k < spec->weight_count; k++)
		sum += spec->weights[k];
	return sum;
}

static void print_inputs(const struct explanation *explanation, uint32_t window)
{
	const struct mr_window_spec *spec = mr_program_window_spec(explanation->program, window);
	const struct mr_window_plan *plan = mr_program_plan(explanation->program);
	uint64_t reach = mr_window_block_reach(plan, explanation->key.windows, window);
	double sum = weight_sum(spec, reach);

	if (reach > explanation->kept_count)
		reach = explanation->kept_count;
	for (uint64_t k = 0; k < reach; k++) {
		const struct kept *kept = &explanation->kept[explanation->kept_count - 1 - k];

		printf("  ");
		print_kept(kept);
		if (spec->weight_count && k < spec->weight_count)
			printf("  weight %-7.5g share %.4f", spec->weights[k],
			       spec->weights[k] / sum);
		if (kept->leader_epoch != explanation->record.leader_epoch)
			print_place(explanation, kept); /* else as the record itself */
		putchar('\n');
	}
}

static void print_window(const struct explanation *explanation, uint32_t window)
{
	const struct mr_window_spec *spec = mr_program_window_spec(explanation->program, window);
	double result = explanation->key.results[window];
	char room[64];

	printf("\n%s = ", mr_program_window_name(explanation->program, window));
	if (isnan(result))
		printf("nothing yet");
	else
		printf("%.10g", result);
	printf(": %s of %s\n", mr_window_functions[spec->fn].name, extent_text(spec, room));
	print_inputs(explanation, window);
}

static void print_dropped(const struct explanation *explanation)
{
	uint64_t count = explanation->dropped_count;
	uint64_t shown = count < DROPPED_MAX ? count : DROPPED_MAX;

	if (!count)
		return;
	printf("\ncleaning dropped %" PRIu64 " records of this key up to here", count);
	printf(count > shown ? "; the last %" PRIu64 ":\n" : ":\n", shown);
	for (uint64_t i = count - shown; i < count; i++) {
		const struct dropped *dropped = &explanation->dropped[i % DROPPED_MAX];

		printf("  ");
		print_kept(&dropped->what);
		printf("  %s\n", mr_clean_verdict_names[dropped->verdict]);
	}
}

static void print_alerts(const struct explanation *explanation)
{
	const struct mr_rule *rule = explanation->rule;
	const struct mr_pipeline_trace *trace = &explanation->trace;

	if (rule->alert_count)
		putchar('\n');
	for (uint32_t i = 0; i < rule->alert_count; i++) {
		const struct mr_rule_alert *alert = &rule->alerts[i];
		const char *state = explanation->key.raised >> i & 1 ? "raised" : "not raised";

		if (trace->raised >> i & 1)
			state = "RAISED by this record";
		if (trace->cleared >> i & 1)
			state = "CLEARED by this record";
		printf("alert %s: %s   when: %s%s%s\n", alert->name, state, alert->when,
		       alert->clear[0] ? "   clear: " : "", alert->clear);
	}
}

static void print_record(const struct explanation *explanation, const struct mr_replay *replay)
{
	const struct arguments *arguments = explanation->arguments;
	const struct mr_definition *definition = explanation->definition;

	printf("%s of %s/%d, pipeline %s version %" PRIu32 "\n", arguments->key, definition->input,
	       arguments->partition, definition->name, explanation->version + 1);
	if (replay->first > definition->versions[0].at[arguments->partition])
		printf("NOTE: records before offset %" PRIu64
		       " are not kept any more: what rests on them is left out\n",
		       replay->first);
	print_kept(&explanation->record);
	print_place(explanation, &explanation->record);
	putchar('\n');
}

static void print_all(const struct explanation *explanation)
{
	const struct arguments *arguments = explanation->arguments;
	uint32_t windows = mr_program_windows(explanation->program);

	if (explanation->trace.verdict != MR_CLEAN_KEEP)
		printf("dropped by cleaning: %s. No result was made of it; what stands:\n",
		       mr_clean_verdict_names[explanation->trace.verdict]);
	for (uint32_t i = 0; i < windows; i++) {
		if (arguments->window &&
		    strcmp(arguments->window, mr_program_window_name(explanation->program, i)) != 0)
			continue;
		print_window(explanation, i);
	}
	print_dropped(explanation);
	print_alerts(explanation);
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

/* Why there is nothing to explain. */
static int explain_none(const struct explanation *explanation, const struct mr_replay *replay,
			struct mr_error *err)
{
	const struct arguments *arguments = explanation->arguments;

	mr_error_set(err, -ERANGE, "%s/%d has no record at offset %" PRIu64,
		     explanation->definition->input, arguments->partition, arguments->offset);
	if (replay->first == replay->end)
		return mr_error_why(err, "it has none that can be read");
	if (arguments->offset < replay->first || arguments->offset >= replay->end)
		return mr_error_why(err, "what can be read are offsets %" PRIu64 " to %" PRIu64,
				    replay->first, replay->end - 1);
	mr_error_why(err, "the engine's own mark stands there, where a new version of a pipeline "
			  "begins");
	return mr_error_hint(err, "name the record before or after it");
}

/* It was read, is of that key, and could be read. */
static int check_found(const struct explanation *explanation, const struct mr_replay *replay,
		       struct mr_error *err)
{
	const struct arguments *arguments = explanation->arguments;

	if (!explanation->found)
		return explain_none(explanation, replay, err);
	if (explanation->trace.reason != MR_PARSE_OK)
		return mr_error_set(err, -EINVAL,
				    "the record was rejected: %s, at its byte %" PRIu32,
				    mr_parse_reason_names[explanation->trace.reason],
				    explanation->trace.parsed.where);
	if (explanation->other_key[0])
		return mr_error_set(err, -EINVAL,
				    "the record at offset %" PRIu64 " is of another key: '%s'",
				    arguments->offset, explanation->other_key);
	return 0;
}

/* The one that was asked for is among those of the version that held. */
static int check_window(const struct explanation *explanation, struct mr_error *err)
{
	const char *window = explanation->arguments->window;
	struct mr_nearest nearest;

	if (!window)
		return 0;
	mr_nearest_begin(&nearest, window, strlen(window));
	for (uint32_t i = 0; i < mr_program_windows(explanation->program); i++) {
		const char *name = mr_program_window_name(explanation->program, i);

		if (strcmp(name, window) == 0)
			return 0;
		mr_nearest_offer(&nearest, name, strlen(name));
	}
	mr_error_set(err, -ENOENT, "pipeline '%s' has no window '%.80s'",
		     explanation->definition->name, window);
	if (!mr_nearest_hint(&nearest, err))
		mr_error_hint(err, "leave --window away to see all");
	return -ENOENT;
}

static int explain(struct explanation *explanation, struct mr_connection *connection,
		   struct mr_error *err)
{
	const struct arguments *arguments = explanation->arguments;
	const struct mr_definition *definition = explanation->definition;
	struct mr_replay replay = {
		.connection = connection,
		.topic = definition->input,
		.partition = arguments->partition,
		.from = MR_FROM_OFFSET,
		.to = arguments->offset + 1,
		.each = each,
		.arg = explanation,
	};
	int r;

	if (arguments->partition >= definition->partition_count)
		return mr_error_set(err, -ERANGE, "topic '%s' has %d partitions, none is number %d",
				    definition->input, (int)definition->partition_count,
				    arguments->partition);
	replay.from_value = (int64_t)definition->versions[0].at[arguments->partition];
	r = mr_replay_run(&replay, err);
	if (r == -ERANGE) { /* retention was there: from the oldest that is kept */
		replay.from = MR_FROM_EARLIEST;
		r = mr_replay_run(&replay, err);
	}
	if (r == 0)
		r = check_found(explanation, &replay, err);
	if (r == 0)
		r = check_window(explanation, err);
	if (r < 0)
		return r;
	print_record(explanation, &replay);
	print_all(explanation);
	return 0;
}

/* Who the hosts are. Without an answer they have numbers. */
static json_t *ask_hosts(struct mr_connection *connection)
{
	char *text = NULL;
	json_t *hosts = NULL;

	if (mr_connection_admin(connection, "{\"do\":\"peers.describe\"}", &text, NULL) == 0)
		hosts = json_loads(text, 0, NULL);
	free(text);
	return hosts;
}

int mr_command_explain(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct explanation explanation = {.arguments = &arguments, .version = UINT32_MAX};
	struct mr_connection *connection = NULL;
	struct mr_definition *definition = NULL;
	struct mr_error err = {0};
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	mr_stop_watch();
	code = mr_cli_connect(arguments.socket, "explain", &connection);
	if (code == MR_EXIT_DONE &&
	    mr_rule_source_engine(connection, arguments.rule, &definition, &err) < 0)
		code = mr_cli_fail(&err);
	explanation.definition = definition;
	if (code == MR_EXIT_DONE)
		explanation.hosts = ask_hosts(connection);
	if (code == MR_EXIT_DONE && explain(&explanation, connection, &err) < 0)
		code = mr_cli_fail(&err);
	mr_pipeline_free(explanation.pipeline);
	mr_program_free(explanation.program);
	mr_rule_free(explanation.rule);
	free(explanation.kept);
	json_decref(explanation.hosts);
	mr_definition_free(definition);
	mr_disconnect(connection);
	return mr_cli_finish_output(code);
}
