/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace verify: checks every byte of a data directory's log while no engine runs on it, and says
 * what an engine would find at its start. Changes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "cli.h"
#include "offline.h"

struct arguments {
	const char *directory;
	bool json;
};

/* What came out for one partition. */
struct verdict {
	struct mr_offline_counts counts;
	bool damaged;		/* below what was flushed */
	uint64_t damage_offset; /* records from here on cannot be read */
	struct mr_error damage;
	uint64_t cut_bytes; /* behind the end: an engine's start discards them, unanswered */
	uint64_t log_start;
	uint64_t log_end;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->directory)
			argp_error(state, "one directory at a time: '%s' is one too many", arg);
		arguments->directory = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->directory)
			argp_error(state, "name the data directory");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {MR_CLI_OPTION_JSON, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "DIR",
	.doc = "Check a data directory while no engine runs on it: every segment, group, batch and "
	       "record, and that none is missing. Changes nothing. Exit code 1: it is damaged."
	       "\vExamples:\n"
	       "  millrace verify ./millrace-data\n"
	       "  millrace verify /var/lib/millrace --json",
};

/* That it is there, and its batch's codec expanded it, is all that is asked. */
static void see_record(const struct mr_message *message, void *arg)
{
}

/* Recovery's view and the walk's: the walk also sees what lies before the checkpoint. */
static int examine(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		   struct verdict *out, struct mr_error *err)
{
	static const struct mr_offline_visitor all = {.record = see_record};
	struct mr_offline_partition looked;
	int r;

	*out = (struct verdict){0};
	if (mr_topic_in_memory(topic))
		return 0;
	r = mr_offline_look(offline, topic, number, MR_OFFLINE_AS_START, &looked, err);
	if (r < 0)
		return r;
	*out = (struct verdict){
		.damaged = looked.recovered.corrupt,
		.damage_offset = looked.recovered.corrupt_offset,
		.damage = looked.recovered.damage,
		.cut_bytes = looked.recovered.cut_bytes,
		.log_start = looked.recovered.log_start,
		.log_end = looked.recovered.start.offset,
	};
	mr_offline_look_end(&looked);
	r = mr_offline_walk(offline, topic, number, &all, &out->counts, err);
	if (r == 0 && !out->damaged && out->counts.end_offset < out->log_end) {
		out->damaged = true;
		out->damage_offset = out->counts.end_offset;
		out->damage = out->counts.damage;
		if (!out->counts.damaged)
			mr_error_set(&out->damage, -EBADMSG, "records are missing before the end");
	}
	return r;
}

static bool is_readable_again(const struct verdict *one)
{
	return one->counts.damaged && one->counts.again_offset != UINT64_MAX;
}

static void print_verdict(const struct mr_topic *topic, int32_t number, const struct verdict *one)
{
	const struct mr_offline_counts *counts = &one->counts;

	if (mr_topic_in_memory(topic)) {
		printf("%s/%d: in memory only: there is nothing of it on the disk\n", topic->name,
		       (int)number);
		return;
	}
	printf("%s/%d: %" PRIu64 " segments, %" PRIu64 " groups, %" PRIu64 " batches, %" PRIu64
	       " records, offsets %" PRIu64 " to %" PRIu64 "\n",
	       topic->name, (int)number, counts->segments, counts->groups, counts->batches,
	       counts->records, one->log_start, one->log_end);
	if (one->cut_bytes > 0)
		printf("  behind the end: %" PRIu64 " bytes that were never answered; a start "
		       "discards them\n",
		       one->cut_bytes);
	if (one->damaged)
		printf("  DAMAGED: from offset %" PRIu64 " on: %s\n", one->damage_offset,
		       one->damage.what);
	if (is_readable_again(one))
		printf("  readable again from offset %" PRIu64 " on: millrace tail %s --partition "
		       "%d --from %" PRIu64 "\n",
		       counts->again_offset, topic->name, (int)number, counts->again_offset);
}

static json_t *verdict_json(const struct mr_topic *topic, int32_t number, const struct verdict *one)
{
	const struct mr_offline_counts *counts = &one->counts;
	json_t *json = json_pack(
		"{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "topic", topic->name,
		"partition", number, "segments", (json_int_t)counts->segments, "groups",
		(json_int_t)counts->groups, "batches", (json_int_t)counts->batches, "records",
		(json_int_t)counts->records, "group_bytes", (json_int_t)counts->group_bytes,
		"log_start_offset", (json_int_t)one->log_start, "log_end_offset",
		(json_int_t)one->log_end, "cut_bytes", (json_int_t)one->cut_bytes, "state",
		mr_topic_in_memory(topic) ? "memory"
		: one->damaged		  ? "damaged"
					  : "ok");

	if (one->damaged) {
		json_object_set_new(json, "damage_offset",
				    json_integer((json_int_t)one->damage_offset));
		json_object_set_new(json, "damage", json_string(one->damage.what));
		if (is_readable_again(one))
			json_object_set_new(json, "readable_again_offset",
					    json_integer((json_int_t)one->counts.again_offset));
	}
	return json;
}

/* Every partition; 'list' takes them as JSON, or is NULL. Returns how many are damaged, or an
 * errno. */
static int verify(const struct mr_offline *offline, json_t *list, struct mr_error *err)
{
	int damaged = 0;

	for (size_t i = 0; i < offline->topics.count; i++) {
		const struct mr_topic *topic = offline->topics.topics[i];

		for (int32_t number = 0; number < topic->partition_count; number++) {
			struct verdict one;
			int r = examine(offline, topic, number, &one, err);

			if (r < 0) {
				mr_error_prefix(err, "topic '%s' partition %d: ", topic->name,
						(int)number);
				return r;
			}
			damaged += one.damaged;
			if (list)
				json_array_append_new(list, verdict_json(topic, number, &one));
			else
				print_verdict(topic, number, &one);
		}
	}
	return damaged;
}

static void print_end(const struct mr_offline *offline, json_t *list, int damaged)
{
	json_t *json;

	if (!list) {
		printf(damaged ? "%d partitions are damaged: see 'millrace repair --help'\n"
			       : "all is well\n",
		       damaged);
		return;
	}
	json = json_pack("{s:s, s:b, s:i, s:O}", "data", offline->directory, "ok", damaged == 0,
			 "damaged", damaged, "partitions", list);
	json_dumpf(json, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(json);
}

int mr_command_verify(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_offline offline;
	struct mr_error err;
	json_t *list = NULL;
	int damaged;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (mr_offline_open(arguments.directory, &offline, &err) < 0)
		return mr_cli_fail(&err);
	if (arguments.json)
		list = json_array();
	damaged = verify(&offline, list, &err);
	if (damaged >= 0)
		print_end(&offline, list, damaged);
	json_decref(list);
	mr_offline_close(&offline);
	if (damaged < 0)
		return mr_cli_fail(&err);
	return mr_cli_finish_output(damaged ? MR_EXIT_REFUSED : MR_EXIT_DONE);
}
