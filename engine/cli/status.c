/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace status: what acknowledges nothing, and what would be gone if one disk failed now.
 */
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "time_text.h"
#include "waits.h"

#define SHOWN_MAX 20 /* partitions of a kind: more are summed up */

enum {
	OPTION_CHECK = MR_CLI_FIRST_OWN,
};

struct arguments {
	struct mr_ask_arguments asked;
	bool check;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = &arguments->asked;
	if (key != OPTION_CHECK)
		return ARGP_ERR_UNKNOWN;
	arguments->check = true;
	return 0;
}

static const struct argp_option options[] = {
	{"check", OPTION_CHECK, NULL, 0,
	 "end with code 4 unless the state is ok: some partition acknowledges nothing, or the data "
	 "directory failed",
	 0},
	{0},
};

static const struct argp asked = {.options = mr_ask_options, .parser = mr_ask_parse};
static const struct argp_child children[] = {{&asked, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.children = children,
	.doc = "Say which partitions acknowledge nothing now, why, since when and what to do about "
	       "it; and what exists on this host's disk only: records of topics without replicas, "
	       "and of those that this host leads what no other host has said to have on its disk. "
	       "Bytes are those of whole groups, so at most as many as it says."
	       "\vExamples:\n"
	       "  millrace status\n"
	       "  millrace status --json\n"
	       "  millrace status --check >/dev/null || mail -s millrace me",
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
	json_int_t records = 0;
	json_int_t bytes = 0;
	size_t count = 0;
	char amount[24];
	char size[24];
	size_t i;
	json_t *one;

	json_array_foreach(rows, i, one)
	{
		if (json_is_true(json_object_get(one, "replicated")) != replicated)
			continue;
		if (!count++)
			printf("%s\n", heading);
		if (count <= SHOWN_MAX) {
			print_row(one);
			continue;
		}
		records += mr_ask_number(one, "records");
		bytes += mr_ask_number(one, "bytes");
	}
	if (count > SHOWN_MAX)
		printf("  and in %zu more partitions: %s records, %s\n", count - SHOWN_MAX,
		       mr_ask_amount(records, amount), mr_ask_bytes(bytes, size));
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

static void print_damaged(const json_t *rows)
{
	size_t i;
	json_t *one;

	if (json_array_size(rows))
		printf("damaged on this disk\n");
	json_array_foreach(rows, i, one)
	{
		printf("  %s/%" JSON_INTEGER_FORMAT ": %s\n", mr_ask_word(one, "topic"),
		       mr_ask_number(one, "partition"), mr_ask_word(one, "what"));
		if (mr_ask_word(one, "do")[0])
			printf("    do:  %s\n", mr_ask_word(one, "do"));
	}
}

/* Peers: this host goes on without them, by its topics' rules. */
static void print_cannot_write(const json_t *rows)
{
	size_t i;
	json_t *one;

	json_array_foreach(rows, i, one)
		printf("peer %s cannot write to its disk: %s\n  %s\n", mr_ask_word(one, "node"),
		       mr_ask_word(one, "why"), mr_ask_word(one, "do"));
}

static void print_status(const json_t *reply, const void *arg)
{
	const json_t *alone = json_object_get(reply, "on_one_disk");
	const json_t *waits = json_object_get(reply, "waits");
	size_t count;

	(void)arg;
	printf("host %s: %s%s%s\n", mr_ask_word(reply, "node"), mr_ask_word(reply, "state"),
	       mr_ask_word(reply, "reason")[0] ? ", " : "", mr_ask_word(reply, "reason"));
	if (json_array_size(waits))
		printf("acknowledge nothing now\n");
	(void)mr_waits_print(stdout, waits, -1);
	print_damaged(json_object_get(reply, "damaged"));
	print_cannot_write(json_object_get(reply, "cannot_write"));
	count = print_rows(alone, true, "on this disk only, until a follower has them on its own");
	count += print_rows(alone, false, "on this disk only: topics without replicas");
	if (!count)
		printf("nothing that this host answers for exists on one disk only\n");
	mr_ask_certificates(json_object_get(reply, "certificates"));
	print_promotions(json_object_get(reply, "promotions"));
}

static int check(const json_t *reply, const void *arg)
{
	const bool *checks = arg;
	bool good = strcmp(mr_ask_word(reply, "state"), "ok") == 0;

	return *checks && !good ? MR_EXIT_DEGRADED : MR_EXIT_DONE;
}

int mr_command_status(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "status",
			     .print = print_status,
			     .check = check,
			     .arg = &arguments.check};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.asked.socket;
	ask.json = arguments.asked.json;
	ask.request = json_pack("{s:s}", "do", "status");
	return mr_cli_ask(&ask);
}
