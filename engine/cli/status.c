/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace status: what would be gone if one disk failed now.
 */
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "time_text.h"

static const struct argp argp = {
	.options = mr_ask_options,
	.parser = mr_ask_parse,
	.doc = "Say what exists on this host's disk only: records of topics without replicas, and "
	       "of those that this host leads what no other host has said to have on its disk. "
	       "Bytes are those of whole groups, so at most as many as it says."
	       "\vExamples:\n"
	       "  millrace status\n"
	       "  millrace status --json",
};

static void print_row(const json_t *row)
{
	char records[24];
	char bytes[24];
	char span[24];

	printf("  %s/%" JSON_INTEGER_FORMAT ": %s records, %s", mr_ask_word(row, "topic"),
	       mr_ask_number(row, "partition"),
	       mr_ask_amount(mr_ask_number(row, "records"), records),
	       mr_ask_bytes(mr_ask_number(row, "bytes"), bytes));
	if (json_object_get(row, "ms"))
		printf(", for %s", mr_ask_span(mr_ask_number(row, "ms"), span));
	printf("\n");
}

/* Returns how many there were. */
static size_t print_rows(const json_t *rows, bool replicated, const char *heading)
{
	size_t i;
	size_t count = 0;
	json_t *one;

	json_array_foreach(rows, i, one)
	{
		if (json_is_true(json_object_get(one, "replicated")) != replicated)
			continue;
		if (!count++)
			printf("%s\n", heading);
		print_row(one);
	}
	return count;
}

/* Of this host, ever. */
static void print_promotions(const json_t *promotions)
{
	char time[MR_TIME_TEXT_BYTES];
	char room[400];
	size_t i;
	json_t *one;

	if (json_array_size(promotions))
		printf("promoted from here, on a person's word\n");
	json_array_foreach(promotions, i, one)
	{
		bool loss = json_is_true(json_object_get(one, "loss_accepted"));
		const char *from = mr_ask_word(one, "from");

		mr_time_format(mr_ask_number(one, "wall_ms"), time);
		printf("  %s  %s/%" JSON_INTEGER_FORMAT " from %s to %s", time,
		       mr_ask_word(one, "topic"), mr_ask_number(one, "partition"),
		       from[0] ? from : "nobody", mr_ask_word(one, "to"));
		if (loss)
			printf(": loss accepted; in sync were %s",
			       mr_ask_words(json_object_get(one, "in_sync_before"), room,
					    sizeof(room)));
		printf("\n");
	}
}

static void print_status(const json_t *reply, const void *arg)
{
	const json_t *alone = json_object_get(reply, "on_one_disk");
	size_t i;
	size_t count;
	json_t *one;

	(void)arg;
	printf("host %s: %s%s%s\n", mr_ask_word(reply, "node"), mr_ask_word(reply, "state"),
	       mr_ask_word(reply, "reason")[0] ? ", " : "", mr_ask_word(reply, "reason"));
	count = print_rows(alone, true, "on this disk only, until a follower has them on its own");
	count += print_rows(alone, false, "on this disk only: topics without replicas");
	if (!count)
		printf("nothing that this host answers for exists on one disk only\n");
	json_array_foreach(json_object_get(reply, "leader_not_known"), i, one)
		printf("%s/%" JSON_INTEGER_FORMAT ": nobody leads, so it is not known who has "
		       "what\n",
		       mr_ask_word(one, "topic"), mr_ask_number(one, "partition"));
	print_promotions(json_object_get(reply, "promotions"));
}

int mr_command_status(int argc, char **argv)
{
	struct mr_ask_arguments arguments = {0};
	struct mr_ask ask = {.command = "status", .print = print_status};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = json_pack("{s:s}", "do", "status");
	return mr_cli_ask(&ask);
}
