/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands of `millrace rule`: each one a file, each with its own arguments and help.
 * argv[0] is "millrace rule SUBCOMMAND" in their messages.
 */
#ifndef MR_RULE_COMMANDS_H
#define MR_RULE_COMMANDS_H

int mr_command_rule_check(int argc, char **argv);
int mr_command_rule_add(int argc, char **argv);
int mr_command_rule_list(int argc, char **argv);
int mr_command_rule_remove(int argc, char **argv);
int mr_command_rule_test(int argc, char **argv);

#endif
