/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pipeline knows of one key, answered from its state (runner.h). Runs on the pipeline's
 * thread. A key's records are all in one partition where its producers choose it by key; where they
 * do not, each partition says what it knows.
 */
#include <jansson.h>
#include <math.h>

#include "runner_state.h"

static json_t *number_json(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *windows_json(const struct mr_program *program, const struct mr_pipeline_key *key)
{
	json_t *windows = json_object();
	uint32_t i;

	for (i = 0; i < mr_program_windows(program); i++)
		json_object_set_new(windows, mr_program_window_name(program, i),
				    number_json(key->results[i]));
	return windows;
}

static json_t *alerts_json(const struct mr_program *program, uint32_t raised)
{
	const struct mr_rule *rule = mr_program_rule(program);
	json_t *alerts = json_array();
	uint32_t i;

	for (i = 0; i < rule->alert_count; i++)
		if (raised >> i & 1)
			json_array_append_new(alerts, json_string(rule->alerts[i].name));
	return alerts;
}

static json_t *dropped_json(const struct mr_pipeline_key *key)
{
	json_t *dropped = json_object();
	int i;

	for (i = MR_CLEAN_KEEP + 1; i < MR_CLEAN_VERDICTS; i++)
		if (key->dropped[i])
			json_object_set_new(dropped, mr_clean_verdict_names[i],
					    json_integer((json_int_t)key->dropped[i]));
	return dropped;
}

static json_t *key_json(const struct mr_runner_part *part, const struct mr_pipeline_key *key)
{
	const struct mr_program *program = part->runner->programs[part->version];

	return json_pack("{s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:I}", "partition", (int)part->number,
			 "offset", (json_int_t)key->offset, "time_ms", (json_int_t)key->time_ms,
			 "value", number_json(key->value), "windows", windows_json(program, key),
			 "alerts", alerts_json(program, key->raised), "dropped", dropped_json(key),
			 "bytes", (json_int_t)key->bytes);
}

char *mr_runner_get(const struct mr_runner *runner, const char *key, uint32_t key_bytes)
{
	json_t *found = json_array(), *root;
	struct mr_pipeline_key one;
	char *text;
	int32_t p;

	for (p = 0; p < runner->definition->partition_count; p++)
		if (mr_pipeline_find(runner->parts[p].pipeline, key, (int32_t)key_bytes, &one))
			json_array_append_new(found, key_json(&runner->parts[p], &one));
	root = json_pack("{s:s, s:s, s:s, s:o}", "pipeline", runner->definition->name, "input",
			 runner->definition->input, "topic",
			 runner->definition->topics[MR_PIPELINE_OUTPUT], "found", found);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}
