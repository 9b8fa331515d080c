/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace serve: runs the engine in the foreground, on this thread, until SIGTERM or SIGINT. What
 * the command line says goes over what the configuration file says.
 */
#include "cli.h"
#include "config.h"
#include "engine.h"

enum {
	OPTION_CONFIG = MR_CLI_FIRST_OWN,
};

struct arguments {
	const char *data;
	const char *socket;
	const char *config;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_DATA:
		arguments->data = arg;
		return 0;
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case OPTION_CONFIG:
		arguments->config = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"data", MR_CLI_DATA, "DIR", 0, "the data directory (default ./millrace-data)", 0},
	{"socket", MR_CLI_SOCKET, "PATH", 0,
	 "where clients connect (else $MILLRACE_SOCKET, $XDG_RUNTIME_DIR/millrace.sock, "
	 "millrace.sock in the data directory)",
	 0},
	{"config", OPTION_CONFIG, "FILE", 0, "YAML; docs/CONFIG.md has every option", 0},
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Run the engine in the foreground until Ctrl-C or SIGTERM. It prints what it runs "
	       "on, "
	       "then \"ready\"."
	       "\vExamples:\n"
	       "  millrace serve\n"
	       "  millrace serve --data /var/lib/millrace --config millrace.yaml\n"
	       "  millrace serve --data /tmp/try --socket /tmp/try.sock",
};

static int make_config(const struct arguments *arguments, struct mr_config *config,
		       struct mr_error *err)
{
	int r = 0;

	mr_config_defaults(config);
	if (arguments->config)
		r = mr_config_load(arguments->config, config, err);
	if (r == 0 && arguments->data)
		r = mr_config_set(config, "data", arguments->data, err);
	if (r == 0 && arguments->socket)
		r = mr_config_set(config, "socket", arguments->socket, err);
	return r == 0 ? mr_config_check(config, err) : r;
}

int mr_command_serve(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_config config;
	struct mr_error err;
	int code;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (make_config(&arguments, &config, &err) == 0) {
		code = mr_engine_serve(&config, stdout);
	} else {
		mr_cli_error(&err);
		code = MR_EXIT_USAGE;
	}
	mr_config_deinit(&config);
	return code;
}
