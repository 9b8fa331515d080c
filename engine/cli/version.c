/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace version: what this program is, and which formats it reads and writes.
 */
#include "cli.h"
#include "millrace/format.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	if (key != MR_CLI_JSON)
		return ARGP_ERR_UNKNOWN;
	*json = true;
	return 0;
}

int mr_command_version(int argc, char **argv)
{
	static const struct argp_option options[] = {MR_CLI_OPTION_JSON, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Print the version of the program and of its formats."
		       "\vExamples:\n  millrace version\n  millrace version --json",
	};
	bool json = false;

	mr_cli_parse(&argp, argc, argv, &json);
	if (json)
		printf("{\"version\":\"%s\",\"format\":%d,\"protocol\":%d}\n", mr_version(),
		       MR_FORMAT_VERSION, MR_PROTOCOL_VERSION);
	else
		printf("millrace %s (format %d, protocol %d)\n", mr_version(), MR_FORMAT_VERSION,
		       MR_PROTOCOL_VERSION);
	return mr_cli_finish_output(MR_EXIT_DONE);
}
