/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the engine and showing what it says (ask.h).
 */
#include "ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "cli.h"
#include "connection.h"
#include "time_text.h"

#define EARLY_MS    50
#define EARLY_TIMES 40
#define MOMENT_MS   250
#define TELL_MS	    1000 /* people are told so often at most */

const struct argp_option mr_ask_options[] = {
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

error_t mr_ask_parse(int key, char *arg, struct argp_state *state)
{
	struct mr_ask_arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "it takes no arguments: '%s'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

json_int_t mr_ask_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

const char *mr_ask_word(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

const char *mr_ask_words(const json_t *list, char *room, size_t bytes)
{
	size_t used = 0;
	size_t i;
	json_t *one;

	snprintf(room, bytes, "none");
	json_array_foreach(list, i, one)
	{
		const char *text = json_string_value(one);
		int n = snprintf(room + used, bytes - used, "%s%s", i ? ", " : "",
				 text ? text : "");

		if (n < 0 || (size_t)n >= bytes - used)
			break; /* cut: for people */
		used += (size_t)n;
	}
	return room;
}

void mr_ask_certificates(const json_t *list)
{
	char time[MR_TIME_TEXT_BYTES];
	size_t i;
	json_t *one;

	json_array_foreach(list, i, one)
	{
		if (!json_is_true(json_object_get(one, "soon")))
			continue;
		mr_time_format(mr_ask_number(one, "ends_ms"), time);
		printf("the certificate of %s %s on %s: put a new one in its place (millrace cert "
		       "init)\n",
		       mr_ask_word(one, "whose"),
		       json_is_true(json_object_get(one, "ended")) ? "ENDED" : "ends", time);
	}
}

static const char *scaled(double value, const double *steps, const char *const *units, size_t count,
			  char room[24])
{
	size_t i = 0;

	while (i + 1 < count && value >= steps[i]) {
		value /= steps[i];
		i++;
	}
	snprintf(room, 24, i && value < 100 ? "%.1f %s" : "%.0f %s", value, units[i]);
	return room;
}

const char *mr_ask_amount(json_int_t value, char room[24])
{
	static const double steps[] = {1000, 1000, 1000, 1000, 1000};
	static const char *const units[] = {"", "k", "M", "G", "T"};

	scaled((double)value, steps, units, mr_array_count(units), room);
	if (value < 1000)
		snprintf(room, 24, "%" JSON_INTEGER_FORMAT, value);
	return room;
}

const char *mr_ask_bytes(json_int_t value, char room[24])
{
	static const double steps[] = {1000, 1000, 1000, 1000, 1000};
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};

	return scaled((double)value, steps, units, mr_array_count(units), room);
}

const char *mr_ask_ratio(json_int_t bytes, json_int_t plain_bytes, char room[48])
{
	char plain[24];

	if (plain_bytes <= 0)
		return "nothing yet";
	snprintf(room, 48, "%.2f of %s", (double)bytes / (double)plain_bytes,
		 mr_ask_bytes(plain_bytes, plain));
	return room;
}

const char *mr_ask_span(json_int_t ms, char room[24])
{
	static const double steps[] = {1000, 60, 60, 24};
	static const char *const units[] = {"ms", "s", "min", "h", "d"};

	return scaled((double)ms, steps, units, mr_array_count(units), room);
}

/* NULL: no JSON. */
static json_t *parse_reply(const char *reply, struct mr_error *err)
{
	json_error_t problem;
	json_t *json = json_loads(reply, 0, &problem);

	if (!json)
		mr_error_set(err, -EBADMSG, "the engine's answer is no JSON: %s", problem.text);
	return json;
}

static json_t *ask_once(struct mr_connection *connection, const char *request, struct mr_error *err)
{
	char *reply = NULL;
	json_t *json = NULL;

	if (mr_connection_admin(connection, request, &reply, err) == 0)
		json = parse_reply(reply, err);
	free(reply);
	return json;
}

/* Not now; or it is on its way. */
static bool is_passing(const struct mr_error *err)
{
	return err->code == -EAGAIN || err->code == -EINPROGRESS;
}

/* A reason that stays is said once; one that changes is progress. */
static json_t *ask_patiently(const struct mr_ask *ask, struct mr_connection *connection,
			     const char *request, const char *underway, struct mr_error *err)
{
	const struct timespec pause = {.tv_nsec = MOMENT_MS * 1000000};
	char told[sizeof(err->what)] = "";
	uint32_t waited_ms;
	json_t *reply;

	for (waited_ms = 0;; waited_ms += MOMENT_MS) {
		reply = ask_once(connection, request, err);
		if (reply || !is_passing(err) || waited_ms >= ask->patience_ms)
			return reply;
		if (err->code == -EINPROGRESS && underway)
			request = underway;
		if (waited_ms % TELL_MS == 0 && strcmp(told, err->what) != 0) {
			fprintf(stderr, "waiting: %s\n", err->what);
			memcpy(told, err->what, sizeof(told));
		}
		(void)nanosleep(&pause, NULL); /* woken early: asked early */
	}
}

/* A better answer in place of an early one, if there is one in time. */
static void ask_again(const struct mr_ask *ask, struct mr_connection *connection, json_t **reply)
{
	char *request = ask->again ? json_dumps(ask->again, JSON_COMPACT) : NULL;
	const struct timespec pause = {.tv_nsec = EARLY_MS * 1000000};
	struct mr_error err;

	for (int i = 0; request && i < EARLY_TIMES && ask->early(*reply); i++) {
		json_t *better;

		(void)nanosleep(&pause, NULL); /* woken early: asked early */
		better = ask_once(connection, request, &err);
		if (!better)
			break; /* the first answer stands */
		json_decref(*reply);
		*reply = better;
	}
	free(request);
}

static int show(const struct mr_ask *ask, const json_t *reply)
{
	int code = ask->check ? ask->check(reply, ask->arg) : MR_EXIT_DONE;

	if (!ask->json)
		ask->print(reply, ask->arg);
	else if (json_dumpf(reply, stdout, JSON_COMPACT) == 0)
		printf("\n");
	return mr_cli_finish_output(code);
}

int mr_cli_ask(const struct mr_ask *ask)
{
	char *request = ask->request ? json_dumps(ask->request, JSON_COMPACT) : NULL;
	char *underway = ask->underway ? json_dumps(ask->underway, JSON_COMPACT) : NULL;
	struct mr_connection *connection = NULL;
	struct mr_error err;
	json_t *reply;
	int code;

	json_decref(ask->request);
	json_decref(ask->underway);
	if (!request) {
		mr_error_set(&err, -EINVAL, "a name is no UTF-8");
		json_decref(ask->again);
		return mr_cli_fail(&err);
	}
	code = mr_cli_connect(ask->socket, ask->command, &connection);
	if (code == MR_EXIT_DONE) {
		reply = ask_patiently(ask, connection, request, underway, &err);
		if (reply)
			ask_again(ask, connection, &reply);
		code = reply ? show(ask, reply) : mr_cli_fail(&err);
		json_decref(reply);
	}
	mr_disconnect(connection);
	json_decref(ask->again);
	free(underway);
	free(request);
	return code;
}
