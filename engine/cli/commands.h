/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's commands.
 */
#ifndef MR_COMMANDS_H
#define MR_COMMANDS_H

/* Runs the command that argv[1] names; returns the program's exit code. */
int mr_commands_run(int argc, char **argv);

#endif
