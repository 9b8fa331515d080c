/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace rule list: the pipelines of this host, and how each partition of theirs stands.
 */
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "rule.h"

static const struct argp argp = {
	.options = mr_ask_options,
	.parser = mr_ask_parse,
	.doc = "Show the pipelines: how far each partition has come, how many records wait (lag), "
	       "what was kept, dropped by cleaning, and rejected because it cannot be read; what "
	       "it waits for; keys "
	       "and the memory for them; alerts raised and not cleared."
	       "\vExamples:\n"
	       "  millrace rule list\n"
	       "  millrace rule list --json",
};

static json_int_t sum_of(const json_t *counts)
{
	json_int_t sum = 0;
	const char *name;
	json_t *one;

	json_object_foreach((json_t *)counts, name, one) sum += json_integer_value(one);
	return sum;
}

static void print_counts(const char *words, const json_t *counts)
{
	const char *name;
	json_t *one;

	if (sum_of(counts) == 0)
		return;
	printf("%9s %s:", "", words);
	json_object_foreach((json_t *)counts, name, one) if (json_integer_value(one))
		printf(" %s %" JSON_INTEGER_FORMAT, name, json_integer_value(one));
	printf("\n");
}

static void print_count(const char *words, const json_t *partition, const char *name)
{
	if (mr_ask_number(partition, name) > 0)
		printf("%9s %s: %" JSON_INTEGER_FORMAT "\n", "", words,
		       mr_ask_number(partition, name));
}

static void print_waits(const json_t *waits)
{
	if (!json_is_object(waits))
		return;
	printf("%9s waits for %s %s %s\n", "", mr_ask_word(waits, "what"),
	       strcmp(mr_ask_word(waits, "what"), "room") == 0 ? "in" : "of",
	       mr_ask_word(waits, "topic"));
	printf("%9s   why: %s\n%9s   do:  %s\n", "", mr_ask_word(waits, "why"), "",
	       mr_ask_word(waits, "do"));
}

/* Where it comes to lead, look_at_input() (engine/runner_part.c) says the same as its reason. */
static void print_astray(const json_t *partition)
{
	if (mr_ask_number(partition, "astray") <= 0)
		return;
	printf("%9s in shadow: it cannot go on for the leader\n", "");
	printf("%9s   why: input was gone before this host had read it, and it has no checkpoint\n",
	       "");
	printf("%9s   do:  let the host lead that has one; else remove the pipeline and add it "
	       "again\n",
	       "");
}

static void print_partition(const json_t *one)
{
	char records[24], kept[24], dropped[24], rejected[24], keys[24], bytes[24], rate[24],
		lag[24];

	printf("%9" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT " %7s %7s %7s %7s %7s %7s",
	       mr_ask_number(one, "partition"), mr_ask_number(one, "offset"),
	       mr_ask_amount(mr_ask_number(one, "lag"), lag),
	       mr_ask_amount(mr_ask_number(one, "records_per_second"), rate),
	       mr_ask_amount(mr_ask_number(one, "records"), records),
	       mr_ask_amount(mr_ask_number(one, "kept"), kept),
	       mr_ask_amount(sum_of(json_object_get(one, "dropped")), dropped),
	       mr_ask_amount(sum_of(json_object_get(one, "rejected")), rejected));
	printf(" %6s %8s\n", mr_ask_amount(mr_ask_number(one, "keys"), keys),
	       mr_ask_bytes(mr_ask_number(one, "bytes"), bytes));
	print_waits(json_object_get(one, "waits_for"));
	print_astray(one);
	print_counts("dropped", json_object_get(one, "dropped"));
	print_counts("rejected", json_object_get(one, "rejected"));
	print_count("gone before they were read", one, "skipped");
	print_count("keys that left for want of room or because they were idle", one,
		    "keys_evicted");
	print_count("alerts raised and not cleared", one, "alerts_open");
}

static void print_pipeline(const json_t *pipeline)
{
	const char *reason = mr_ask_word(pipeline, "reason");
	const char *alerts = mr_ask_word(pipeline, "alerts");
	size_t i;
	json_t *one;

	printf("pipeline %s, version %" JSON_INTEGER_FORMAT ", %s: %s into %s",
	       mr_ask_word(pipeline, "name"), mr_ask_number(pipeline, "version"),
	       mr_ask_word(pipeline, "state"), mr_ask_word(pipeline, "input"),
	       mr_ask_word(pipeline, "output"));
	if (alerts[0])
		printf(", alerts into %s", alerts);
	printf("\n");
	if (reason[0])
		printf("  why: %s\n", reason);
	if (reason[0] && mr_ask_word(pipeline, "hint")[0])
		printf("  do:  %s\n", mr_ask_word(pipeline, "hint"));
	printf("%9s %12s %7s %7s %7s %7s %7s %7s %6s %8s\n", "partition", "offset", "lag", "rec/s",
	       "records", "kept", "dropped", "reject", "keys", "memory");
	json_array_foreach(json_object_get(pipeline, "partitions"), i, one) print_partition(one);
	printf("\n");
}

static void print_list(const json_t *reply, const void *arg)
{
	const json_t *pipelines = json_object_get(reply, "pipelines");
	size_t i;
	json_t *one;

	if (json_array_size(pipelines) == 0)
		printf("there are no pipelines; add one: millrace rule add FILE\n");
	json_array_foreach(pipelines, i, one) print_pipeline(one);
}

int mr_command_rule_list(int argc, char **argv)
{
	struct mr_ask_arguments arguments = {0};
	struct mr_ask ask = {.command = "rule", .print = print_list};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.socket;
	ask.json = arguments.json;
	ask.request = json_pack("{s:s}", "do", "rule.list");
	return mr_cli_ask(&ask);
}
