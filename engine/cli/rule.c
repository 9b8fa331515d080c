/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule check | test | add | list | remove: finds the subcommand and runs it (rule.h).
 */
#include "rule.h"

#include <string.h>

#include "check.h"
#include "cli.h"

static const struct mr_command subcommands[] = {
	{"check", "read rules and say what they do, or what is wrong", mr_command_rule_check},
	{"add", "run a pipeline from now on, or replace one", mr_command_rule_add},
	{"list", "show the pipelines and how they stand", mr_command_rule_list},
	{"remove", "end a pipeline; what it has written stays", mr_command_rule_remove},
	{"test", "run one over what is stored, and show what would have fired",
	 mr_command_rule_test},
};

static void print_help(FILE *out)
{
	fprintf(out, "usage: millrace rule SUBCOMMAND [OPTION...]\n\n"
		     "Pipelines: from records to knowledge, each a small YAML file.\n\n");
	for (size_t i = 0; i < mr_array_count(subcommands); i++)
		fprintf(out, "  %-10s %s\n", subcommands[i].name, subcommands[i].summary);
	fprintf(out, "\n"
		     "'millrace rule SUBCOMMAND --help' tells the rest.\n\n"
		     "Examples:\n"
		     "  millrace rule check hot-press.yaml\n"
		     "  millrace rule add hot-press.yaml\n"
		     "  millrace rule test hot-press.yaml\n"
		     "  millrace rule list\n"
		     "  millrace rule remove hot-press\n");
}

int mr_command_rule(int argc, char **argv)
{
	char name[64];

	if (argc < 2) {
		print_help(stderr);
		return MR_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return mr_cli_finish_output(MR_EXIT_DONE);
	}
	for (size_t i = 0; i < mr_array_count(subcommands); i++) {
		if (strcmp(subcommands[i].name, argv[1]) != 0)
			continue;
		snprintf(name, sizeof(name), "millrace rule %s", subcommands[i].name);
		argv[1] = name; /* what argp shows in its messages */
		return subcommands[i].run(argc - 1, argv + 1);
	}
	return mr_cli_no_command("rule ", argv[1], subcommands, mr_array_count(subcommands));
}
