/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands share. Runs on the program's main thread.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

void mr_cli_error(const struct mr_error *err)
{
	const char *name = strerrorname_np(-err->code);

	fprintf(stderr, "millrace: %s (%s)\n", err->what, name ? name : "error");
	if (err->why[0])
		fprintf(stderr, "  why: %s\n", err->why);
	if (err->hint[0])
		fprintf(stderr, "  do:  %s\n", err->hint);
}

int mr_cli_exit_code(int error_code)
{
	switch (-error_code) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOTCONN:
	case EPIPE:
	case EPROTO:
		return MR_EXIT_UNREACHABLE;
	case ETIMEDOUT:
	case EINPROGRESS:
		return MR_EXIT_DEGRADED;
	default:
		return MR_EXIT_REFUSED;
	}
}

int mr_cli_fail(const struct mr_error *err)
{
	mr_cli_error(err);
	return mr_cli_exit_code(err->code);
}

int mr_cli_no_command(const char *group, const char *word, const struct mr_command *commands,
		      size_t count)
{
	struct mr_nearest nearest;
	const char *near;

	mr_nearest_begin(&nearest, word, strlen(word));
	for (size_t i = 0; i < count; i++)
		mr_nearest_offer(&nearest, commands[i].name, strlen(commands[i].name));
	near = mr_nearest_word(&nearest, NULL);
	fprintf(stderr, "millrace: there is no command '%s%s'\n  do:  ", group, word);
	if (near)
		fprintf(stderr, "did you mean '%s%s'? all of them: ", group, near);
	fprintf(stderr, "millrace %s--help\n", group);
	return MR_EXIT_USAGE;
}

int mr_cli_connect(const char *socket, const char *command, struct mr_connection **connection)
{
	struct mr_connect_options options = {.size = sizeof(options), .socket_path = socket};
	struct mr_error err;
	char name[64];

	snprintf(name, sizeof(name), "millrace %s", command);
	options.client_name = name;
	*connection = NULL;
	if (mr_connect(&options, connection, &err) == 0)
		return MR_EXIT_DONE;
	if (!err.hint[0])
		mr_error_hint(&err, "start an engine with 'millrace serve', or name its --socket");
	mr_cli_error(&err);
	return MR_EXIT_UNREACHABLE;
}

void mr_cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	error_t r;

	argp_err_exit_status = MR_EXIT_USAGE;
	r = argp_parse(argp, argc, argv, 0, NULL, input);
	if (r) {
		fprintf(stderr, "millrace: cannot read the arguments: %s\n", strerror(r));
		exit(MR_EXIT_USAGE);
	}
}

int mr_cli_finish_output(int code)
{
	struct mr_error err;
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return code;
	mr_error_set(&err, errno ? -errno : -EIO, "cannot write to standard output");
	mr_error_hint(&err, "what it was to say is not all there: make room, and ask again");
	mr_cli_error(&err);
	return code == MR_EXIT_DONE ? MR_EXIT_DEGRADED : code;
}
