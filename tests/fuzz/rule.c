/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a rule's file. What must hold beside memory safety: what is taken can
 * be made a program, unless weights are still to be fitted; what is refused says so under the
 * file's name.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "pipeline.h"

static void check_taken(struct mr_rule *rule)
{
	struct mr_program *program = NULL;
	struct mr_error err = {.code = 0};

	fuzz_demand(memchr(rule->name, '\0', sizeof(rule->name)));
	fuzz_demand(strcmp(rule->input, rule->output) != 0);
	fuzz_demand(rule->window_count <= MR_WINDOWS_MAX);
	fuzz_demand(rule->alert_count <= MR_RULE_ALERTS_MAX);
	if (mr_rule_unfitted(rule) >= 0)
		return;
	fuzz_demand(mr_program_new(rule, &program, &err) == 0);
	fuzz_demand(mr_program_windows(program) >= rule->window_count);
	mr_program_free(program);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_rule *rule = NULL;
	struct mr_error err = {.code = 0};
	int r = mr_rule_read(data, count, "f", &rule, &err);

	if (r == 0) {
		check_taken(rule);
		mr_rule_free(rule);
		return 0;
	}
	fuzz_demand(r == -EINVAL);
	fuzz_demand(err.code == r);
	fuzz_demand(strncmp(err.what, "f:", 2) == 0);
	return 0;
}
