/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands share: the table's row, exit codes, how an error is shown, how the engine is
 * reached. Each command is one file with one function, runs on the program's main thread, and
 * returns the program's exit code.
 */
#ifndef MR_CLI_H
#define MR_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"
#include "stop.h"

enum mr_exit {
	MR_EXIT_DONE = 0,
	MR_EXIT_REFUSED = 1, /* by the data: a bad line, a topic that is not there, corruption */
	MR_EXIT_USAGE = 2,   /* wrong options or arguments */
	MR_EXIT_UNREACHABLE = 3, /* no engine answers */
	MR_EXIT_DEGRADED = 4,	 /* done in part, or not known to be safe */
};

struct mr_command {
	const char *name;
	const char *summary; /* half a line, for the list of commands */
	int (*run)(int argc, char **argv);
};

int mr_command_serve(int argc, char **argv);
int mr_command_demo(int argc, char **argv);
int mr_command_topology(int argc, char **argv);
int mr_command_topic(int argc, char **argv);
int mr_command_peers(int argc, char **argv);
int mr_command_promote(int argc, char **argv);
int mr_command_status(int argc, char **argv);
int mr_command_put(int argc, char **argv);
int mr_command_tail(int argc, char **argv);
int mr_command_collect(int argc, char **argv);
int mr_command_verify(int argc, char **argv);
int mr_command_dump(int argc, char **argv);
int mr_command_repair(int argc, char **argv);
int mr_command_rule(int argc, char **argv);
int mr_command_cert(int argc, char **argv);
int mr_command_bench(int argc, char **argv);
int mr_command_get(int argc, char **argv);
int mr_command_explain(int argc, char **argv);
int mr_command_fit(int argc, char **argv);
int mr_command_version(int argc, char **argv);

/* Options that mean the same in every command that has them; 'key' of their argp_option rows. */
enum mr_cli_option {
	MR_CLI_SOCKET = 0x1000,
	MR_CLI_JSON,
	MR_CLI_DATA,
	MR_CLI_FIRST_OWN, /* a command's own long-only options begin here */
};

#define MR_CLI_OPTION_SOCKET                                                                       \
	{                                                                                          \
		"socket", MR_CLI_SOCKET, "PATH", 0,                                                \
			"the engine's socket (else $MILLRACE_SOCKET, "                             \
			"$XDG_RUNTIME_DIR/millrace.sock, "                                         \
			"./millrace-data/millrace.sock)",                                          \
			0                                                                          \
	}
#define MR_CLI_OPTION_JSON                                                                         \
	{                                                                                          \
		"json", MR_CLI_JSON, NULL, 0, "print JSON, for programs", 0                        \
	}

/* Shows an error in up to three lines on standard error: what (and errno's name), why, what to do.
 */
void mr_cli_error(const struct mr_error *err);

/* The exit code for an error of the library or the engine. */
int mr_cli_exit_code(int error_code);

/* Shows the error and returns its exit code. */
int mr_cli_fail(const struct mr_error *err);

/*
 * Says that there is no such command, and which is near. 'group' is what stands before it: "" or
 * "rule ". Returns the exit code.
 */
int mr_cli_no_command(const char *group, const char *word, const struct mr_command *commands,
		      size_t count);

/*
 * Connects to the engine; 'socket' may be NULL, 'command' names the client. On failure the error
 * was shown, *connection is NULL, and the exit code is returned.
 */
int mr_cli_connect(const char *socket, const char *command, struct mr_connection **connection);

/*
 * Parses a command's arguments. argv[0] becomes "millrace COMMAND" in its messages. Ends the
 * program with MR_EXIT_USAGE on a mistake, and with 0 after --help.
 */
void mr_cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Finishes standard output: an exit code, MR_EXIT_DEGRADED (said) when it could not be written. */
int mr_cli_finish_output(int code);

#endif
