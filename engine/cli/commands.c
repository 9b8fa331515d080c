/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of commands: finds the one that was named and runs it. A new command is a file with its
 * function, and a row here.
 */
#include "commands.h"

#include <string.h>

#include "check.h"
#include "cli.h"

static const struct mr_command commands[] = {
	{"serve", "run the engine in the foreground", mr_command_serve},
	{"demo", "show live metrics of this host flowing through an engine", mr_command_demo},
	{"topology", "print which core each thread of an engine gets, and why",
	 mr_command_topology},
	{"topic", "create, list, describe, delete topics", mr_command_topic},
	{"status", "say what exists on one disk only", mr_command_status},
	{"peers", "show the peers and how replicas stand", mr_command_peers},
	{"promote", "make a host the leader of a partition", mr_command_promote},
	{"put", "publish the lines of a file, one record each", mr_command_put},
	{"tail", "print the records of a topic", mr_command_tail},
	{"rule", "check, test, add, list, remove pipelines: from records to knowledge",
	 mr_command_rule},
	{"get", "show what a pipeline knows of a key", mr_command_get},
	{"explain", "show why a pipeline said what it said of a record", mr_command_explain},
	{"fit", "find weights for a weighted average in stored records", mr_command_fit},
	{"collect", "publish what this host does, as records", mr_command_collect},
	{"verify", "check a data directory while no engine runs on it", mr_command_verify},
	{"dump", "print what lies in a data directory", mr_command_dump},
	{"repair", "go on after damage, giving up what is lost", mr_command_repair},
	{"cert", "make certificates by which hosts know each other", mr_command_cert},
	{"bench", "measure this machine and Millrace on it, side by side", mr_command_bench},
	{"version", "print the version", mr_command_version},
};

static void print_help(FILE *out)
{
	fprintf(out, "usage: millrace COMMAND [OPTION...]\n\n"
		     "Millrace: a real-time data sync engine for one host and its peers.\n\n");
	for (size_t i = 0; i < mr_array_count(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n"
		     "'millrace COMMAND --help' tells the rest, with examples.\n\n"
		     "Exit codes: 0 done, 1 refused by the data, 2 wrong usage,\n"
		     "3 cannot reach the engine, 4 degraded.\n\n"
		     "  millrace serve &\n"
		     "  seq 5 | millrace put numbers\n"
		     "  millrace tail numbers\n");
}

static const struct mr_command *find(const char *name)
{
	for (size_t i = 0; i < mr_array_count(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

int mr_commands_run(int argc, char **argv)
{
	const struct mr_command *command;
	char name[64];

	if (argc < 2) {
		print_help(stderr);
		return MR_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return mr_cli_finish_output(MR_EXIT_DONE);
	}
	if (strcmp(argv[1], "--version") == 0)
		return mr_command_version(1, argv);
	command = find(argv[1]);
	if (!command)
		return mr_cli_no_command("", argv[1], commands, mr_array_count(commands));
	snprintf(name, sizeof(name), "millrace %s", command->name);
	argv[1] = name; /* what argp shows in its messages */
	return command->run(argc - 1, argv + 1);
}
