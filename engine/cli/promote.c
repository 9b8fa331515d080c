/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace promote: a person says who leads a partition. Where the leader can be reached it hands
 * over, and nothing is lost; where it cannot, only somebody who knows that it is stopped can say
 * that another host goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "ask.h"
#include "cli.h"
#include "millrace/format.h"

#define PATIENCE_MS 30000 /* a busy disk; to say it again is harmless */

enum {
	OPTION_TO = MR_CLI_FIRST_OWN,
	OPTION_ACCEPT_LOSS,
	OPTION_STOPPED,
};

struct arguments {
	const char *socket;
	bool json;
	char topic[MR_TOPIC_NAME_MAX + 1];
	uint64_t partition;
	const char *to;
	bool accept_loss;
	bool stopped;
};

/* "trades/3"; topics have no slash in their names. */
static void parse_place(const char *text, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	const char *slash = strrchr(text, '/');

	if (arguments->topic[0])
		argp_error(state, "one partition at a time: '%s' is one too many", text);
	if (!slash || slash == text || (size_t)(slash - text) > MR_TOPIC_NAME_MAX ||
	    mr_argument_number(slash + 1, 0, MR_PARTITIONS_MAX - 1, &arguments->partition) < 0) {
		argp_error(state, "'%s' is no partition: say TOPIC/NUMBER, as in trades/3", text);
		return;
	}
	snprintf(arguments->topic, sizeof(arguments->topic), "%.*s", (int)(slash - text), text);
}

static void check(const struct arguments *arguments, struct argp_state *state)
{
	if (!arguments->topic[0])
		argp_error(state, "say which partition, as in trades/3");
	else if (arguments->accept_loss && !arguments->stopped)
		argp_error(state, "--accept-loss needs --old-leader-is-stopped: while it runs, it "
				  "commits records that the new leader will not have");
	else if (arguments->stopped && !arguments->accept_loss)
		argp_error(state, "--old-leader-is-stopped goes with --accept-loss: what it "
				  "committed alone is not known here");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_SOCKET:
		arguments->socket = arg;
		return 0;
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case OPTION_TO:
		arguments->to = arg;
		return 0;
	case OPTION_ACCEPT_LOSS:
		arguments->accept_loss = true;
		return 0;
	case OPTION_STOPPED:
		arguments->stopped = true;
		return 0;
	case ARGP_KEY_ARG:
		parse_place(arg, state);
		return 0;
	case ARGP_KEY_END:
		check(arguments, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"to", OPTION_TO, "NODE", 0, "the host that leads from then on (default: this one)", 0},
	{"accept-loss", OPTION_ACCEPT_LOSS, NULL, 0,
	 "take over from a leader that cannot be reached: what it committed alone is lost", 0},
	{"old-leader-is-stopped", OPTION_STOPPED, NULL, 0,
	 "you know it: nobody else can. It stands in the log for ever that you said so", 0},
	MR_CLI_OPTION_SOCKET,
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "TOPIC/PARTITION",
	.doc = "Make a host the leader of a partition. While the present leader can be reached it "
	       "hands over: nothing is lost, producers go on. If it cannot be reached, nobody can "
	       "know what it committed alone, or whether it still runs: that takes both words of "
	       "yours, on the host that is to lead. When it comes back it cuts off what it had "
	       "alone, and says how many records those were."
	       "\vExamples:\n"
	       "  millrace promote trades/3 --to b\n"
	       "  millrace promote trades/3 --accept-loss --old-leader-is-stopped",
};

static void print_promoted(const json_t *reply, const void *arg)
{
	const struct arguments *arguments = arg;

	printf("%s leads %s/%" JSON_INTEGER_FORMAT "\n", mr_ask_word(reply, "leader"),
	       arguments->topic, (json_int_t)arguments->partition);
	if (json_is_true(json_object_get(reply, "loss_needless")))
		printf("--accept-loss was not needed: nothing is lost\n");
}

int mr_command_promote(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "promote",
			     .print = print_promoted,
			     .patience_ms = PATIENCE_MS,
			     .arg = &arguments};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = json_pack("{s:s, s:s, s:I, s:s*, s:b, s:b}", "do", "promote", "name",
				arguments.topic, "partition", (json_int_t)arguments.partition, "to",
				arguments.to, "accept_loss", (int)arguments.accept_loss,
				"old_leader_is_stopped", (int)arguments.stopped);
	return mr_cli_ask(&ask);
}
