/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline says, as rows (tail_rule.h): its output topic and its topic of alerts are read
 * side by side, the output ahead of the alerts, as the pipeline wrote them.
 */
#include "tail_rule.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "pipeline/pipeline.h"
#include "rule_source.h"
#include "time_text.h"

#define POLL_MS	  100u
#define KEY_WIDTH 14
#define BOLD	  "\033[1m"
#define PLAIN	  "\033[0m"

struct side {
	struct mr_consumer *consumer; /* NULL: the pipeline has no such topic */
	int32_t partitions;
	uint64_t *ends; /* by partition; NULL with --follow */
};

struct view {
	const struct mr_tail_rule *options;
	struct mr_connection *connection;
	struct mr_rule *rule; /* the newest version */
	struct mr_program *program;
	struct side output, alerts;
	uint64_t printed;
	bool colour;
	struct mr_error err;
};

/* ---- rows --------------------------------------------------------------------------------------
 */

static void print_head(const struct view *view)
{
	printf("%-24s  %-*s %12s", "time", KEY_WIDTH, "key", "value");
	for (uint32_t i = 0; i < view->rule->window_count; i++)
		printf(" %12.12s", view->rule->windows[i].name);
	putchar('\n');
}

static void print_number(double number)
{
	if (isnan(number))
		printf(" %12s", "-");
	else
		printf(" %12.6g", number);
}

/* A cell for people: what could move the cursor is shown as a question mark. */
static void print_key(const char *key, size_t bytes)
{
	int column = 0;

	for (size_t i = 0; i < bytes && column < KEY_WIDTH; i++, column++)
		putchar((unsigned char)key[i] < 0x20 || key[i] == 0x7f ? '?' : key[i]);
	printf("%*s", KEY_WIDTH - column, "");
}

static void print_start(int64_t time_ms, const struct mr_message *message)
{
	char time[MR_TIME_TEXT_BYTES];

	mr_time_format(time_ms, time);
	printf("%-24s  ", time);
	print_key(message->key, message->key_bytes > 0 ? (size_t)message->key_bytes : 0);
}

static double real_of(const json_t *object, const char *name)
{
	const json_t *number = json_object_get(object, name);

	return json_is_number(number) ? json_number_value(number) : NAN;
}

/* Raised alerts stand behind the row. */
static void print_json_row(const struct view *view, const struct mr_message *message,
			   const json_t *row)
{
	size_t i;
	json_t *name;

	print_start(json_integer_value(json_object_get(row, "time")), message);
	print_number(real_of(row, "value"));
	for (uint32_t w = 0; w < view->rule->window_count; w++)
		print_number(real_of(row, view->rule->windows[w].name));
	json_array_foreach(json_object_get(row, "alerts"), i, name)
		printf("%s%s", i ? ", " : "  ", json_string_value(name));
	putchar('\n');
}

struct packed {
	uint64_t offset;
	int64_t time_ms;
	double value;
	uint32_t raised;
	uint32_t windows;
};

static int print_packed_row(const struct view *view, const struct mr_message *message)
{
	const uint8_t *bytes = message->value;
	struct packed packed;

	if (message->value_bytes < (int32_t)sizeof(packed))
		return -EBADMSG;
	memcpy(&packed, bytes, sizeof(packed));
	if (packed.windows > MR_WINDOWS_MAX ||
	    (size_t)message->value_bytes != MR_PIPELINE_PACKED_BYTES(packed.windows))
		return -EBADMSG;
	print_start(packed.time_ms, message);
	print_number(packed.value);
	for (uint32_t i = 0; i < packed.windows; i++) {
		double result;

		memcpy(&result, bytes + sizeof(packed) + i * sizeof(double), sizeof(double));
		print_number(result);
	}
	for (uint32_t i = 0; i < view->rule->alert_count; i++)
		if (packed.raised >> i & 1)
			printf("  %s", view->rule->alerts[i].name);
	putchar('\n');
	return 0;
}

static void print_alert_row(const struct view *view, const struct mr_message *message,
			    const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "alert"));
	const char *state = json_string_value(json_object_get(row, "state"));
	const char *severity = json_string_value(json_object_get(row, "severity"));
	const char *condition = json_string_value(json_object_get(row, "condition"));
	json_int_t offset = json_integer_value(json_object_get(row, "offset"));

	if (view->colour)
		fputs(BOLD, stdout);
	print_start(json_integer_value(json_object_get(row, "time")), message);
	print_number(real_of(row, "value"));
	printf("  ALERT %s %s (%s): %s   @%d:%" JSON_INTEGER_FORMAT "%s\n", name ? name : "?",
	       state ? state : "?", severity ? severity : "?", condition ? condition : "?",
	       (int)message->partition, offset, view->colour ? PLAIN : "");
}

static int print(struct view *view, const struct mr_message *message, bool alert)
{
	json_error_t problem;
	json_t *row;
	int r = 0;

	if (!alert && view->rule->format == MR_RULE_PACKED)
		return print_packed_row(view, message);
	row = json_loadb(message->value,
			 message->value_bytes > 0 ? (size_t)message->value_bytes : 0, 0, &problem);
	if (!row)
		r = -EBADMSG;
	else if (alert)
		print_alert_row(view, message, row);
	else
		print_json_row(view, message, row);
	json_decref(row);
	return r;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static int open_side(struct view *view, const char *topic, struct side *side)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = topic,
		.from = view->options->from,
		.from_value = view->options->from_value,
	};
	int r = topic[0] ? mr_consumer_open(view->connection, &options, &side->consumer, &view->err)
			 : 0;

	if (r < 0 || !topic[0])
		return r;
	side->partitions = mr_consumer_partition_count(side->consumer);
	if (view->options->follow)
		return 0;
	side->ends = calloc((size_t)side->partitions, sizeof(*side->ends));
	if (!side->ends)
		return mr_error_set(&view->err, -ENOMEM, "no memory for %d partitions",
				    (int)side->partitions);
	for (int32_t i = 0; i < side->partitions; i++) {
		struct mr_consumer_position now = {.size = sizeof(now)};

		r = mr_consumer_position(side->consumer, i, &now);
		if (r < 0) {
			mr_consumer_error(side->consumer, &view->err);
			return r;
		}
		side->ends[i] = now.offset + now.lag;
	}
	return 0;
}

static bool at_end(const struct side *side)
{
	for (int32_t i = 0; side->consumer && side->ends && i < side->partitions; i++) {
		struct mr_consumer_position now = {.size = sizeof(now)};

		if (mr_consumer_position(side->consumer, i, &now) == 0 &&
		    now.offset < side->ends[i])
			return false;
	}
	return !side->consumer || side->ends;
}

static bool is_enough(const struct view *view)
{
	return view->options->count && view->printed >= view->options->count;
}

static int turn(struct view *view, struct side *side, bool alert)
{
	const struct mr_message *messages;
	int count;

	if (!side->consumer || is_enough(view))
		return 0;
	count = mr_consumer_poll(side->consumer, alert ? 0 : POLL_MS, &messages);
	if (count == -EINTR)
		return 0;
	if (count < 0) {
		mr_consumer_error(side->consumer, &view->err);
		return count;
	}
	for (int i = 0; i < count && !is_enough(view); i++) {
		int r = print(view, &messages[i], alert);

		if (r < 0)
			return mr_error_set(&view->err, r,
					    "the record at %d:%" PRIu64
					    " was not written by this pipeline",
					    (int)messages[i].partition, messages[i].offset);
		view->printed++;
	}
	if (count && view->options->follow && fflush(stdout) != 0)
		return mr_error_set(&view->err, -errno, "cannot write to standard output");
	return 0;
}

static int open_view(struct view *view)
{
	struct mr_definition *definition = NULL;
	const struct mr_definition_version *newest;
	int r = mr_rule_source_engine(view->connection, view->options->rule, &definition,
				      &view->err);

	if (r < 0)
		return r;
	newest = &definition->versions[definition->version_count - 1];
	if (strcmp(definition->input, view->options->topic) != 0) {
		r = mr_error_set(&view->err, -EINVAL, "pipeline '%s' reads topic '%s', not '%s'",
				 definition->name, definition->input, view->options->topic);
		mr_error_hint(&view->err, "millrace tail %s --rule %s", definition->input,
			      definition->name);
	}
	if (r == 0)
		r = mr_pipelines_compile(newest->text, newest->weights, definition->name,
					 &view->rule, &view->program, &view->err);
	if (r == 0)
		r = open_side(view, definition->topics[MR_PIPELINE_OUTPUT], &view->output);
	if (r == 0)
		r = open_side(view, definition->topics[MR_PIPELINE_ALERTS], &view->alerts);
	mr_definition_free(definition);
	return r;
}

static int run(struct view *view)
{
	int r = open_view(view);

	if (r == 0)
		print_head(view);
	while (r == 0 && !mr_stop_asked() && !ferror(stdout) && !is_enough(view) &&
	       !(at_end(&view->output) && at_end(&view->alerts))) {
		r = turn(view, &view->output, false);
		if (r == 0)
			r = turn(view, &view->alerts, true);
	}
	return r;
}

int mr_tail_rule(const struct mr_tail_rule *options)
{
	struct view view = {.options = options, .colour = isatty(STDOUT_FILENO)};
	int code = mr_cli_connect(options->socket, "tail", &view.connection);

	if (code == MR_EXIT_DONE && run(&view) < 0)
		code = mr_cli_fail(&view.err);
	mr_consumer_close(view.output.consumer);
	mr_consumer_close(view.alerts.consumer);
	free(view.output.ends);
	free(view.alerts.ends);
	mr_program_free(view.program);
	mr_rule_free(view.rule);
	mr_disconnect(view.connection);
	return mr_cli_finish_output(code);
}
