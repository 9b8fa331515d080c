/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The windows and the alerts of a rule's file (rule_parts.h).
 */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "expression.h"
#include "rule_parts.h"

#define EVERY_MS 1000 /* actions of an alert and key, unless the rule says otherwise */

/* What a name would hide in outputs; conditions have words of their own. */
static const char *const taken[] = {"key", "offset", "alerts"};

int mr_rule_read_name(struct mr_rule_reader *reader, const yaml_node_t *node, const char *what,
		      char out[32])
{
	int r = mr_rule_read_text(reader, node, what, out, 32);

	if (r < 0)
		return r;
	if (mr_expression_check_name(out, reader->err) < 0) {
		mr_error_prefix(reader->err, "%s: ", what);
		return mr_rule_refuse_as(reader, node);
	}
	for (size_t i = 0; i < mr_array_count(taken); i++)
		if (strcmp(taken[i], out) == 0)
			return mr_rule_refuse(reader, node,
					      "%s: '%s' means something in outputs already", what,
					      out);
	return 0;
}

/* ---- windows -----------------------------------------------------------------------------------
 */

/* A window as it is read; what it means is clear when all of it was. */
struct window_text {
	struct mr_rule_window *window;
	const yaml_node_t *last;
	const yaml_node_t *each;
	const yaml_node_t *weights;
	const yaml_node_t *parameters[3]; /* by parameter_names */
};

static const char *const parameter_names[] = {"quantile", "alpha", "at"};

static int read_function(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct window_text *text = out;
	const char *names[MR_WINDOW_FUNCTIONS];
	uint32_t fn = 0;
	int r;

	for (int i = 0; i < MR_WINDOW_FUNCTIONS; i++)
		names[i] = mr_window_functions[i].name;
	r = mr_rule_read_word(reader, node, "fn", names, MR_WINDOW_FUNCTIONS, &fn);
	text->window->spec.fn = (enum mr_window_fn)fn;
	return r;
}

static int note_last(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->last = node;
	return 0;
}

static int note_each(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->each = node;
	return 0;
}

static int note_weights(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->weights = node;
	return 0;
}

static int note_quantile(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->parameters[0] = node;
	return 0;
}

static int note_alpha(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->parameters[1] = node;
	return 0;
}

static int note_at(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	((struct window_text *)out)->parameters[2] = node;
	return 0;
}

static const struct mr_rule_field window_fields[] = {
	{"fn", read_function, true},
	{"last", note_last, false},
	{"each", note_each, false},
	{"weights", note_weights, false},
	{"quantile", note_quantile, false},
	{"alpha", note_alpha, false},
	{"at", note_at, false},
};

static int read_extent(struct mr_rule_reader *reader, const yaml_node_t *node,
		       const struct window_text *text)
{
	struct mr_window_spec *spec = &text->window->spec;
	uint64_t count = 0;
	int r;

	if (!text->last == !text->each)
		return mr_rule_refuse(reader, node,
				      "window '%s' needs one of last (16, 60s) and each (5m)",
				      text->window->name);
	if (text->each) {
		spec->extent = MR_WINDOW_TUMBLING;
		return mr_rule_read_time(reader, text->each, "each", &spec->span_ms);
	}
	if (mr_rule_is_time(text->last)) {
		spec->extent = MR_WINDOW_BY_TIME;
		return mr_rule_read_time(reader, text->last, "last", &spec->span_ms);
	}
	spec->extent = MR_WINDOW_BY_COUNT;
	r = mr_rule_read_count(reader, text->last, "last", 1, MR_WINDOW_COUNT_MAX, &count);
	if (r < 0)
		mr_error_hint(reader->err, "a time has a unit: last: 60s");
	spec->count = (uint32_t)count;
	return r;
}

/* "5s" or "-5s" from the newest value on. */
static int read_at(struct mr_rule_reader *reader, const yaml_node_t *node, double *out)
{
	yaml_node_t positive = *node;
	bool negative = mr_rule_is_scalar(node) && mr_rule_text(node)[0] == '-';
	int64_t ms = 0;
	int r;

	if (negative) {
		positive.data.scalar.value++;
		positive.data.scalar.length--;
	}
	r = mr_rule_read_time(reader, &positive, "at", &ms);
	if (r < 0)
		return mr_rule_read_time(reader, node, "at", &ms); /* said with its sign */
	*out = (double)(negative ? -ms : ms);
	return 0;
}

/* The option that the function has, and no other. */
static int read_parameter(struct mr_rule_reader *reader, const yaml_node_t *node,
			  const struct window_text *text)
{
	struct mr_window_spec *spec = &text->window->spec;
	const struct mr_window_function *function = &mr_window_functions[spec->fn];

	spec->parameter = NAN;
	for (size_t i = 0; i < mr_array_count(parameter_names); i++) {
		bool wanted =
			function->parameter && strcmp(function->parameter, parameter_names[i]) == 0;
		const yaml_node_t *given = text->parameters[i];
		bool is_time = strcmp(parameter_names[i], "at") == 0;

		if (given && !wanted)
			return mr_rule_refuse(reader, given, "%s has no '%s'", function->name,
					      parameter_names[i]);
		if (!given && wanted && !is_time)
			return mr_rule_refuse(reader, node, "%s needs '%s', a number from 0 to 1",
					      function->name, parameter_names[i]);
		if (!given)
			continue;
		if (!is_time)
			return mr_rule_read_number(reader, given, parameter_names[i],
						   &spec->parameter);
		return read_at(reader, given, &spec->parameter);
	}
	return 0;
}

static int read_given_weights(struct mr_rule_reader *reader, const yaml_node_t *list,
			      struct mr_rule_window *window)
{
	uint32_t count = 0;

	while (mr_rule_item(reader, list, count))
		count++;
	if (count != window->spec.count)
		return mr_rule_refuse(reader, list,
				      "window '%s': %" PRIu32 " weights for the last %" PRIu32
				      " values: expected as many, the newest value's first",
				      window->name, count, window->spec.count);
	for (uint32_t i = 0; i < count; i++)
		if (mr_rule_read_number(reader, mr_rule_item(reader, list, i), "a weight",
					&window->weights[i]) < 0)
			return -EINVAL;
	window->kind = MR_RULE_WEIGHTS_GIVEN;
	return 0;
}

static void make_weights(struct mr_rule_window *window)
{
	uint32_t count = window->spec.count;

	for (uint32_t i = 0; i < count; i++)
		window->weights[i] = window->kind == MR_RULE_WEIGHTS_LINEAR ? (double)(count - i)
									    : ldexp(1, -(int)i);
}

static int read_weights(struct mr_rule_reader *reader, const yaml_node_t *node,
			const struct window_text *text)
{
	static const char *const words[] = {"linear", "exponential", "fitted"};
	static const enum mr_rule_weights kinds[] = {
		MR_RULE_WEIGHTS_LINEAR, MR_RULE_WEIGHTS_EXPONENTIAL, MR_RULE_WEIGHTS_FITTED};
	struct mr_rule_window *window = text->window;
	uint32_t kind = 0;

	if (window->spec.fn != MR_WINDOW_WEIGHTED_AVERAGE)
		return text->weights ? mr_rule_refuse(reader, text->weights, "%s has no weights",
						      mr_window_functions[window->spec.fn].name)
				     : 0;
	if (!text->weights)
		return mr_rule_refuse(reader, node,
				      "window '%s' needs weights: linear, exponential, fitted, or "
				      "a list, the newest value's first",
				      window->name);
	if (window->spec.extent != MR_WINDOW_BY_COUNT || window->spec.count > MR_WINDOW_WEIGHTS_MAX)
		return mr_rule_refuse(reader, node,
				      "window '%s': weights are for the last 1 to %d values",
				      window->name, MR_WINDOW_WEIGHTS_MAX);
	window->weights = calloc(window->spec.count, sizeof(double));
	if (!window->weights)
		return mr_error_set(reader->err, -ENOMEM, "no memory for %" PRIu32 " weights",
				    window->spec.count);
	if (mr_rule_is_list(text->weights)) {
		if (read_given_weights(reader, text->weights, window) < 0)
			return -EINVAL;
	} else {
		if (mr_rule_read_word(reader, text->weights, "weights", words,
				      mr_array_count(words), &kind) < 0)
			return -EINVAL;
		window->kind = kinds[kind];
		if (window->kind == MR_RULE_WEIGHTS_FITTED)
			return 0; /* mr_rule_set_weights() */
		make_weights(window);
	}
	window->spec.weights = window->weights;
	window->spec.weight_count = window->spec.count;
	return 0;
}

static int check_by_time(struct mr_rule_reader *reader, const yaml_node_t *node,
			 const struct mr_rule_window *window)
{
	if (window->spec.extent == MR_WINDOW_BY_COUNT ||
	    mr_window_functions[window->spec.fn].by_time)
		return 0;
	return mr_rule_refuse(reader, node, "window '%s': %s is for the last N values, not by time",
			      window->name, mr_window_functions[window->spec.fn].name);
}

static int read_window(struct mr_rule_reader *reader, const yaml_node_t *key,
		       const yaml_node_t *node)
{
	struct mr_rule *rule = reader->rule;
	struct window_text text = {.window = &rule->windows[rule->window_count]};
	int r;

	if (rule->window_count == MR_WINDOWS_MAX)
		return mr_rule_refuse(reader, key, "a rule has at most %d windows", MR_WINDOWS_MAX);
	rule->window_count++; /* what it owns is freed with the rule */
	text.window->line = mr_rule_line(key);
	r = mr_rule_read_name(reader, key, "window", text.window->name);
	for (uint32_t i = 0; i + 1 < rule->window_count && r == 0; i++)
		if (strcmp(rule->windows[i].name, text.window->name) == 0)
			r = mr_rule_refuse(reader, key, "window '%s' is there twice",
					   text.window->name);
	if (r == 0)
		r = mr_rule_read_map(reader, node, "a window", window_fields,
				     mr_array_count(window_fields), &text);
	if (r == 0)
		r = read_extent(reader, node, &text);
	if (r == 0)
		r = check_by_time(reader, node, text.window);
	if (r == 0)
		r = read_parameter(reader, node, &text);
	return r < 0 ? r : read_weights(reader, node, &text);
}

int mr_rule_read_windows(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_each(reader, node, "windows", read_window);
}

/* ---- alerts ------------------------------------------------------------------------------------
 */

static int read_alert_name(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_name(reader, node, "alert", ((struct mr_rule_alert *)out)->name);
}

static int read_when(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_text(reader, node, "when", ((struct mr_rule_alert *)out)->when,
				 MR_RULE_TEXT_MAX + 1);
}

static int read_clear(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_text(reader, node, "clear", ((struct mr_rule_alert *)out)->clear,
				 MR_RULE_TEXT_MAX + 1);
}

static int read_severity(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	static const char *const words[] = {"info", "warning", "critical"};
	uint32_t severity = 0;
	int r = mr_rule_read_word(reader, node, "severity", words, mr_array_count(words),
				  &severity);

	((struct mr_rule_alert *)out)->severity = (enum mr_rule_severity)severity;
	return r;
}

static int read_exec(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_rule_alert *alert = out;
	char buffer[MR_RULE_TEXT_MAX + 1];
	char *words[MR_RULE_EXEC_WORDS + 1];
	int r = mr_rule_read_text(reader, node, "exec", alert->exec, sizeof(alert->exec));

	if (r == 0 && mr_rule_words(alert->exec, buffer, words, reader->err) < 0)
		r = mr_rule_refuse_as(reader, node);
	return r;
}

/* As who calls it will read it: the same library. Port 0 it would call. */
static bool is_url(const char *text)
{
	CURLU *url = curl_url();
	char *port = NULL;
	bool good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;

	if (good && curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK)
		good = strcmp(port, "0") != 0;
	curl_free(port);
	curl_url_cleanup(url);
	return good;
}

static int read_webhook(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	struct mr_rule_alert *alert = out;
	int r = mr_rule_read_text(reader, node, "webhook", alert->webhook, sizeof(alert->webhook));
	const char *host = NULL;

	if (r < 0)
		return r;
	if (strncmp(alert->webhook, "http://", 7) == 0)
		host = alert->webhook + 7;
	else if (strncmp(alert->webhook, "https://", 8) == 0)
		host = alert->webhook + 8;
	else
		return mr_rule_refuse(
			reader, node,
			"webhook: '%.100s' begins neither with https:// nor with http://",
			alert->webhook);
	if (!*host || strchr("/?#:@", *host))
		return mr_rule_refuse(
			reader, node,
			"webhook: '%.100s' names no host, expected https://example.com/hook",
			alert->webhook);
	if (strchr(host, ' '))
		return mr_rule_refuse(reader, node, "webhook: '%.100s' has a blank: write %%20",
				      alert->webhook);
	if (!is_url(alert->webhook))
		return mr_rule_refuse(reader, node,
				      "webhook: '%.100s' is no address, expected "
				      "https://example.com/hook or https://example.com:8443/hook, "
				      "with a port up to 65535",
				      alert->webhook);
	return 0;
}

static int read_every(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	return mr_rule_read_time(reader, node, "every", &((struct mr_rule_alert *)out)->every_ms);
}

static const struct mr_rule_field alert_fields[] = {
	{"name", read_alert_name, true}, {"when", read_when, true},
	{"clear", read_clear, false},	 {"severity", read_severity, false},
	{"exec", read_exec, false},	 {"webhook", read_webhook, false},
	{"every", read_every, false},
};

static int read_alert(struct mr_rule_reader *reader, const yaml_node_t *node)
{
	struct mr_rule *rule = reader->rule;
	struct mr_rule_alert *alert = &rule->alerts[rule->alert_count];
	int r;

	if (rule->alert_count == MR_RULE_ALERTS_MAX)
		return mr_rule_refuse(reader, node, "a rule has at most %d alerts",
				      MR_RULE_ALERTS_MAX);
	alert->severity = MR_RULE_WARNING;
	alert->every_ms = EVERY_MS;
	alert->line = mr_rule_line(node);
	r = mr_rule_read_map(reader, node, "an alert", alert_fields, mr_array_count(alert_fields),
			     alert);
	if (r == 0 && !alert->exec[0] && !alert->webhook[0] && mr_rule_entry(reader, node, "every"))
		r = mr_rule_refuse(reader, mr_rule_entry(reader, node, "every"),
				   "alert '%s', every: it has no action that this could hold back: "
				   "expected exec or webhook beside it",
				   alert->name);
	for (uint32_t i = 0; i < rule->alert_count && r == 0; i++)
		if (strcmp(rule->alerts[i].name, alert->name) == 0)
			r = mr_rule_refuse(reader, node, "alert '%s' is there twice", alert->name);
	rule->alert_count += r == 0;
	return r;
}

int mr_rule_read_alerts(struct mr_rule_reader *reader, const yaml_node_t *node, void *out)
{
	const yaml_node_t *item;
	int r = 0;

	if (!mr_rule_is_list(node))
		return mr_rule_refuse(reader, node,
				      "alert: expected a list: - {name: hot, when: "
				      "\"avg > 90\"}");
	for (uint32_t i = 0; r == 0 && (item = mr_rule_item(reader, node, i)); i++)
		r = read_alert(reader, item);
	return r;
}
