/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A build tool: writes docs/CONFIG.md to the file named by its argument, else to standard
 * output.
 */
#include "config.h"

int main(int argc, char **argv)
{
	FILE *out = argc > 1 ? fopen(argv[1], "we") : stdout;

	if (!out || mr_config_describe(out) < 0) {
		fprintf(stderr, "config-describe: cannot write %s\n", argc > 1 ? argv[1] : "");
		return 1;
	}
	return 0;
}
