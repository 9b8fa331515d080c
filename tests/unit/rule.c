/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a rule's file becomes what it says, with the defaults of what it does not say;
 * weights are what their word means; commands are split as they are written.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "expression.h"
#include "rule.h"

static struct mr_error err;

static struct mr_rule *read_rule(const char *text)
{
	struct mr_rule *rule = NULL;

	cr_assert_eq(mr_rule_read(text, strlen(text), "r.yaml", &rule, &err), 0, "%s", err.what);
	return rule;
}

#define LEAST "pipeline: p\ninput: in\nparse: number\noutput: out\n"

Test(rule, has_defaults)
{
	struct mr_rule *rule = read_rule(LEAST);

	cr_assert_str_eq(rule->name, "p");
	cr_assert_str_eq(rule->input, "in");
	cr_assert_eq(rule->parse.format, MR_PARSE_NUMBER);
	cr_assert_str_empty(rule->parse.key);
	cr_assert_str_empty(rule->parse.time);
	cr_assert_eq(rule->parse.time_unit, MR_PARSE_TIME_AUTO);
	cr_assert(isnan(rule->clean.low));
	cr_assert(isnan(rule->clean.high));
	cr_assert_eq(rule->clean.max_late_ms, INT64_MAX);
	cr_assert(!rule->clean.drop_duplicate);
	cr_assert(!rule->clean.drop_unchanged);
	cr_assert_eq(rule->clean.spike_mads, 0);
	cr_assert_eq(rule->clean.spike_floor, 0);
	cr_assert_eq(rule->window_count, 0);
	cr_assert_eq(rule->alert_count, 0);
	cr_assert_eq(rule->format, MR_RULE_JSON);
	cr_assert_str_eq(rule->output, "out");
	cr_assert_str_eq(rule->alerts_topic, "out.alerts");
	cr_assert_str_eq(rule->rejected_topic, "out.rejected");
	cr_assert(!rule->output_in_memory);
	cr_assert_eq(rule->keys_max, 1000000);
	cr_assert_eq(rule->bytes_max, 1u << 30);
	cr_assert_eq(rule->idle_ms, 0);
	cr_assert_eq(rule->samples_max, 65536);
	cr_assert_eq(mr_rule_unfitted(rule), -1);
	mr_rule_free(rule);
	mr_rule_free(NULL);
}

static const char every_key[] =
	"pipeline: hot-press\n"
	"input: sensors\n"
	"parse: {format: json}\n"
	"key: $.machine\n"
	"time: {path: $.ts, unit: us}\n"
	"value: $.temp\n"
	"clean: {range: [-40, 2e2], drop: [missing, duplicate, unchanged], max_late: 5s,\n"
	"  spike: {beyond: 6mad, floor: 0.25}}\n"
	"windows:\n"
	"  avg:  {fn: weighted_average, last: 3, weights: [4, 2, 1]}\n"
	"  next: {fn: interpolate, last: 8, at: -5s}\n"
	"  peak: {fn: max, last: 60s}\n"
	"  busy: {fn: quantile, quantile: 0.9, each: 5m}\n"
	"  slow: {fn: ewma, alpha: 0.125, last: 100}\n"
	"alert:\n"
	"  - {name: hot, when: \"avg > 90 for 3\", clear: \"avg < 85\", severity: "
	"critical,\n"
	"     exec: \"/usr/bin/logger hot\", webhook: \"https://example.org/x\", every: "
	"1min}\n"
	"  - name: drifting\n"
	"    when: abs(value - next) > 4 * stddev(32)\n"
	"output: {topic: sensors.knowledge, format: packed, rejected: bad, storage: "
	"memory}\n"
	"limits: {keys: 5, bytes: 2MiB, idle: 7d, samples: 128}\n";

Test(rule, reads_every_key)
{
	struct mr_rule *rule = read_rule(every_key);

	cr_assert_eq(rule->parse.format, MR_PARSE_JSON);
	cr_assert_str_eq(rule->parse.key, "$.machine");
	cr_assert_str_eq(rule->parse.time, "$.ts");
	cr_assert_eq(rule->parse.time_unit, MR_PARSE_TIME_US);
	cr_assert_str_eq(rule->parse.value, "$.temp");
	cr_assert_eq(rule->clean.low, -40);
	cr_assert_eq(rule->clean.high, 200);
	cr_assert_eq(rule->clean.max_late_ms, 5000);
	cr_assert(rule->clean.drop_duplicate);
	cr_assert(rule->clean.drop_unchanged);
	cr_assert_eq(rule->clean.spike_mads, 6);
	cr_assert_eq(rule->clean.spike_floor, 0.25);
	cr_assert_eq(rule->window_count, 5);
	cr_assert_str_eq(rule->windows[0].name, "avg");
	cr_assert_eq(rule->windows[0].line, 10);
	cr_assert_eq(rule->windows[0].kind, MR_RULE_WEIGHTS_GIVEN);
	cr_assert_eq(rule->windows[0].spec.weight_count, 3);
	cr_assert_eq(rule->windows[0].spec.weights[0], 4);
	cr_assert_eq(rule->windows[0].spec.weights[2], 1);
	cr_assert_eq(rule->windows[1].spec.parameter, -5000);
	cr_assert_eq(rule->windows[1].spec.count, 8);
	cr_assert_eq(rule->windows[2].spec.extent, MR_WINDOW_BY_TIME);
	cr_assert_eq(rule->windows[2].spec.span_ms, 60000);
	cr_assert(isnan(rule->windows[2].spec.parameter));
	cr_assert_eq(rule->windows[3].spec.extent, MR_WINDOW_TUMBLING);
	cr_assert_eq(rule->windows[3].spec.span_ms, 300000);
	cr_assert_eq(rule->windows[3].spec.parameter, 0.9);
	cr_assert_eq(rule->windows[4].spec.parameter, 0.125);
	cr_assert_eq(rule->alert_count, 2);
	cr_assert_eq(rule->alerts[0].severity, MR_RULE_CRITICAL);
	cr_assert_str_eq(rule->alerts[0].clear, "avg < 85");
	cr_assert_str_eq(rule->alerts[0].exec, "/usr/bin/logger hot");
	cr_assert_str_eq(rule->alerts[0].webhook, "https://example.org/x");
	cr_assert_eq(rule->alerts[0].every_ms, 60000);
	cr_assert_eq(rule->alerts[1].severity, MR_RULE_WARNING);
	cr_assert_eq(rule->alerts[1].every_ms, 1000);
	cr_assert_eq(rule->alerts[1].line, 18);
	cr_assert_eq(rule->format, MR_RULE_PACKED);
	cr_assert_str_eq(rule->alerts_topic, "sensors.alerts");
	cr_assert_str_eq(rule->rejected_topic, "bad");
	cr_assert(rule->output_in_memory);
	cr_assert_eq(rule->keys_max, 5);
	cr_assert_eq(rule->bytes_max, 2u << 20);
	cr_assert_eq(rule->idle_ms, 604800000);
	cr_assert_eq(rule->samples_max, 128);
	mr_rule_free(rule);
}

Test(rule, takes_open_ranges)
{
	struct mr_rule *rule = read_rule(LEAST "clean: {range: [null, 5]}\n");

	cr_assert(isnan(rule->clean.low));
	cr_assert_eq(rule->clean.high, 5);
	mr_rule_free(rule);
	rule = read_rule(LEAST "clean: {range: [-1.5, ~]}\n");
	cr_assert_eq(rule->clean.low, -1.5);
	cr_assert(isnan(rule->clean.high));
	mr_rule_free(rule);
}

static struct mr_rule *with_weights(const char *weights, unsigned count)
{
	char text[512];

	snprintf(text, sizeof(text),
		 LEAST "windows: {a: {fn: weighted_average, last: %u, weights: %s}}\n", count,
		 weights);
	return read_rule(text);
}

Test(rule, makes_weights_from_the_newest_on)
{
	struct mr_rule *rule = with_weights("linear", 4);
	const double *weights = rule->windows[0].spec.weights;

	cr_assert_eq(rule->windows[0].spec.weight_count, 4);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(weights[i], 4 - i);
	mr_rule_free(rule);
	rule = with_weights("exponential", 4096);
	weights = rule->windows[0].spec.weights;
	for (unsigned i = 0; i < 64; i++)
		cr_assert_eq(weights[i], pow(0.5, i));
	cr_assert_eq(weights[4095], 0);
	mr_rule_free(rule);
}

Test(rule, waits_for_fitted_weights)
{
	static const double weights[] = {0.5, 0.25, 0.25}, wrong[] = {NAN, 1, 1};
	struct mr_rule *rule = with_weights("fitted", 3);

	cr_assert_eq(rule->windows[0].kind, MR_RULE_WEIGHTS_FITTED);
	cr_assert_null(rule->windows[0].spec.weights);
	cr_assert_eq(mr_rule_unfitted(rule), 0);
	cr_assert_eq(mr_rule_set_weights(rule, 0, weights, 2, &err), -EINVAL);
	cr_assert_str_eq(err.what, "window 'a': 2 weights for the last 3 values");
	cr_assert_eq(mr_rule_set_weights(rule, 0, wrong, 3, &err), -EINVAL);
	cr_assert_eq(mr_rule_set_weights(rule, 1, weights, 3, &err), -EINVAL);
	cr_assert_str_eq(err.what, "there is no window 1 with fitted weights");
	cr_assert_eq(mr_rule_unfitted(rule), 0);
	cr_assert_eq(mr_rule_set_weights(rule, 0, weights, 3, &err), 0);
	cr_assert_eq(mr_rule_set_weights(rule, 0, weights, 3, &err), 0, "again");
	cr_assert_eq(mr_rule_unfitted(rule), -1);
	cr_assert_eq(rule->windows[0].spec.weights[1], 0.25);
	mr_rule_free(rule);
	rule = with_weights("linear", 3);
	cr_assert_eq(mr_rule_set_weights(rule, 0, weights, 3, &err), -EINVAL);
	mr_rule_free(rule);
}

Test(rule, splits_commands)
{
	static const struct {
		const char *text;
		const char *words[4];
	} rows[] = {
		{"/bin/a", {"/bin/a"}},
		{"  /bin/a  b   c ", {"/bin/a", "b", "c"}},
		{"/bin/a 'b c' \"d e\"", {"/bin/a", "b c", "d e"}},
		{"/bin/a x'y 'z \"it's\"", {"/bin/a", "xy z", "it's"}},
		{"/bin/a '' b", {"/bin/a", "", "b"}},
		{"/bin/a $HOME;b", {"/bin/a", "$HOME;b"}},
	};
	char buffer[MR_RULE_TEXT_MAX + 1];
	char *words[MR_RULE_EXEC_WORDS + 1];

	for (size_t i = 0; i < mr_array_count(rows); i++) {
		cr_assert_eq(mr_rule_words(rows[i].text, buffer, words, &err), 0);
		for (size_t k = 0; k < 4 && (k == 0 || rows[i].words[k - 1]); k++) {
			if (rows[i].words[k])
				cr_assert_str_eq(words[k], rows[i].words[k]);
			else
				cr_assert_null(words[k], "%s", rows[i].text);
		}
	}
}

Test(rule, refuses_commands)
{
	char buffer[MR_RULE_TEXT_MAX + 1];
	char *words[MR_RULE_EXEC_WORDS + 1];
	char text[MR_RULE_TEXT_MAX + 2];

	cr_assert_eq(mr_rule_words("", buffer, words, &err), -EINVAL);
	cr_assert_eq(mr_rule_words("  ", buffer, words, &err), -EINVAL);
	cr_assert_eq(mr_rule_words("''", buffer, words, &err), -EINVAL);
	cr_assert_str_eq(err.what, "the command has no words");
	cr_assert_eq(mr_rule_words("/bin/a 'b", buffer, words, &err), -EINVAL);
	cr_assert_str_eq(err.what, "a quote is open in the command");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? ' ' : 'a';
	text[64] = '\0';
	cr_assert_eq(mr_rule_words(text, buffer, words, &err), 0);
	text[64] = 'a';
	text[65] = '\0';
	cr_assert_eq(mr_rule_words(text, buffer, words, &err), -EINVAL);
	cr_assert_str_eq(err.what, "a command has at most 32 words");
	memset(text, 'a', sizeof(text) - 1);
	text[MR_RULE_TEXT_MAX] = '\0';
	cr_assert_eq(mr_rule_words(text, buffer, words, &err), 0);
	text[MR_RULE_TEXT_MAX] = 'a';
	text[MR_RULE_TEXT_MAX + 1] = '\0';
	cr_assert_eq(mr_rule_words(text, buffer, words, &err), -EINVAL);
}

/* As many of everything as there may be. */
Test(rule, takes_32_windows_and_32_alerts)
{
	size_t room = 16384, used;
	char *text = malloc(room);
	struct mr_rule *rule;

	used = (size_t)snprintf(text, room, LEAST "windows:\n");
	for (int i = 0; i < MR_WINDOWS_MAX; i++)
		used += (size_t)snprintf(text + used, room - used, "  w%d: {fn: mean, last: %d}\n",
					 i, i + 2);
	used += (size_t)snprintf(text + used, room - used, "alert:\n");
	for (int i = 0; i < MR_RULE_ALERTS_MAX; i++)
		used += (size_t)snprintf(text + used, room - used,
					 "  - {name: a%d, when: w%d > mean(%d)}\n", i, i, i + 2);
	rule = read_rule(text);
	cr_assert_eq(rule->window_count, MR_WINDOWS_MAX);
	cr_assert_eq(rule->alert_count, MR_RULE_ALERTS_MAX);
	mr_rule_free(rule);
	snprintf(text + used, room - used, "  - {name: more, when: value > 1}\n");
	cr_assert_eq(mr_rule_read(text, strlen(text), "r.yaml", &rule, &err), -EINVAL);
	cr_assert_str_eq(err.what, "r.yaml:71: a rule has at most 32 alerts");
	free(text);
}
