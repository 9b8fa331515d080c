/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule, compiled: the windows of the rule and of its conditions as one plan, the conditions, and
 * where each part of a key's state lies (program.h).
 */
#include "program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

#define NEAR_MOST 512u
#define SHORT_KEY 8u /* bytes of a key */

static int compile_alert(const struct mr_rule_alert *alert, struct mr_expression_scope *scope,
			 struct mr_program_alert *out, struct mr_error *err)
{
	int r = mr_expression_compile(alert->when, scope, &out->when, err);

	if (r == 0 && alert->clear[0])
		r = mr_expression_compile(alert->clear, scope, &out->clear, err);
	if (r < 0)
		mr_error_prefix(err, "alert '%s': ", alert->name);
	return r;
}

static int compile(struct mr_program *program, struct mr_error *err)
{
	const struct mr_rule *rule = program->rule;
	struct mr_expression_scope scope = {
		.specs = program->specs, .names = program->names, .count = rule->window_count};
	int r = 0;

	for (uint32_t i = 0; i < rule->window_count; i++) {
		program->specs[i] = rule->windows[i].spec;
		snprintf(program->names[i], sizeof(program->names[i]), "%s", rule->windows[i].name);
	}
	for (uint32_t i = 0; i < rule->alert_count && r == 0; i++) {
		r = compile_alert(&rule->alerts[i], &scope, &program->alerts[i], err);
		program->previous |= program->alerts[i].when &&
				     mr_expression_needs_previous(program->alerts[i].when);
		program->previous |= program->alerts[i].clear &&
				     mr_expression_needs_previous(program->alerts[i].clear);
	}
	program->window_count = scope.count;
	return r;
}

static void lay_out(struct mr_program *program)
{
	size_t near;

	program->alerts_bytes = program->rule->alert_count * sizeof(struct mr_program_alert_state);
	program->previous_bytes =
		program->previous ? (2 + program->window_count) * sizeof(double) : 0;
	program->cleans = mr_clean_asks(&program->rule->clean);
	program->clean_bytes = mr_clean_block_bytes(&program->rule->clean);
	program->fixed_bytes =
		program->alerts_bytes + program->previous_bytes + program->clean_bytes;
	program->capacity = mr_window_plan_capacity(program->plan);
	near = sizeof(struct mr_key_entry) + SHORT_KEY + program->fixed_bytes +
	       mr_window_block_bytes(program->plan, program->capacity);
	program->near_bytes = near < NEAR_MOST ? (uint32_t)near : NEAR_MOST;
}

int mr_program_new(const struct mr_rule *rule, struct mr_program **out, struct mr_error *err)
{
	struct mr_program *program = calloc(1, sizeof(*program));
	int unfitted = mr_rule_unfitted(rule);
	int r;

	if (!program)
		return mr_error_set(err, -ENOMEM, "no memory for a pipeline's program");
	program->rule = rule;
	if (unfitted >= 0)
		r = mr_error_set(err, -EINVAL, "window '%s': its weights were not fitted yet",
				 rule->windows[unfitted].name);
	else
		r = compile(program, err);
	if (r == 0)
		r = mr_window_plan_new(program->specs, program->window_count, &program->plan, err);
	if (r < 0) {
		mr_program_free(program);
		return r;
	}
	lay_out(program);
	*out = program;
	return 0;
}

void mr_program_free(struct mr_program *program)
{
	if (!program)
		return;
	for (uint32_t i = 0; i < MR_RULE_ALERTS_MAX; i++) {
		mr_expression_free(program->alerts[i].when);
		mr_expression_free(program->alerts[i].clear);
	}
	mr_window_plan_free(program->plan);
	free(program);
}

const struct mr_rule *mr_program_rule(const struct mr_program *program)
{
	return program->rule;
}

uint32_t mr_program_windows(const struct mr_program *program)
{
	return program->window_count;
}

const char *mr_program_window_name(const struct mr_program *program, uint32_t window)
{
	return program->names[window];
}

const struct mr_window_spec *mr_program_window_spec(const struct mr_program *program,
						    uint32_t window)
{
	return &program->specs[window];
}

const struct mr_window_plan *mr_program_plan(const struct mr_program *program)
{
	return program->plan;
}

static bool same_weights(const struct mr_window_spec *a, const struct mr_window_spec *b)
{
	return a->weight_count == b->weight_count &&
	       (!a->weight_count ||
		memcmp(a->weights, b->weights, a->weight_count * sizeof(double)) == 0);
}

static bool same_spec(const struct mr_window_spec *a, const struct mr_window_spec *b)
{
	return a->fn == b->fn && a->extent == b->extent && a->count == b->count &&
	       a->span_ms == b->span_ms &&
	       memcmp(&a->parameter, &b->parameter, sizeof(double)) == 0 && same_weights(a, b);
}

static bool same_clean(const struct mr_clean_spec *a, const struct mr_clean_spec *b)
{
	return memcmp(&a->low, &b->low, sizeof(double)) == 0 &&
	       memcmp(&a->high, &b->high, sizeof(double)) == 0 &&
	       a->max_late_ms == b->max_late_ms && a->drop_duplicate == b->drop_duplicate &&
	       a->drop_unchanged == b->drop_unchanged && a->spike_mads == b->spike_mads &&
	       a->spike_floor == b->spike_floor;
}

static bool same_alert(const struct mr_rule_alert *a, const struct mr_rule_alert *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->when, b->when) == 0 &&
	       strcmp(a->clear, b->clear) == 0;
}

bool mr_program_same_state(const struct mr_program *a, const struct mr_program *b)
{
	if (a->window_count != b->window_count || a->rule->alert_count != b->rule->alert_count ||
	    !same_clean(&a->rule->clean, &b->rule->clean))
		return false;
	for (uint32_t i = 0; i < a->window_count; i++)
		if (!same_spec(&a->specs[i], &b->specs[i]) || strcmp(a->names[i], b->names[i]) != 0)
			return false;
	for (uint32_t i = 0; i < a->rule->alert_count; i++)
		if (!same_alert(&a->rule->alerts[i], &b->rule->alerts[i]))
			return false;
	return true;
}
