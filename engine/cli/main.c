/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one program: see commands.c.
 */
#include "commands.h"

int main(int argc, char **argv)
{
	return mr_commands_run(argc, argv);
}
