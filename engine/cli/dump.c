/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace dump: prints what lies in a data directory while no engine runs on it: one line for each
 * segment, group, batch and record, down to the depth that was asked for. Changes nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "arguments.h"
#include "cli.h"
#include "offline.h"
#include "output.h"
#include "time_text.h"

enum {
	OPTION_DEPTH = MR_CLI_FIRST_OWN,
	OPTION_TOPIC,
	OPTION_PARTITION,
};

enum depth {
	DEPTH_SEGMENTS,
	DEPTH_GROUPS,
	DEPTH_BATCHES,
	DEPTH_RECORDS,
};

struct arguments {
	const char *directory;
	const char *topic; /* NULL: all */
	int32_t partition; /* -1: all */
	enum depth depth;
	bool json;
};

static error_t parse_words(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
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

static void set_depth(struct arguments *arguments, const char *arg, struct argp_state *state)
{
	static const char *const names[] = {[DEPTH_SEGMENTS] = "segments",
					    [DEPTH_GROUPS] = "groups",
					    [DEPTH_BATCHES] = "batches",
					    [DEPTH_RECORDS] = "records"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(arg, names[i]) == 0) {
			arguments->depth = (enum depth)i;
			return;
		}
	}
	argp_error(state, "--depth: '%s' is neither segments, groups, batches nor records", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t number = 0;

	switch (key) {
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case OPTION_DEPTH:
		set_depth(arguments, arg, state);
		return 0;
	case OPTION_TOPIC:
		arguments->topic = arg;
		return 0;
	case OPTION_PARTITION:
		if (mr_argument_number(arg, 0, MR_PARTITIONS_MAX - 1, &number) < 0)
			argp_error(state, "--partition: '%s' is no number from 0 to %d", arg,
				   MR_PARTITIONS_MAX - 1);
		arguments->partition = (int32_t)number;
		return 0;
	default:
		return parse_words(key, arg, state);
	}
}

static const struct argp_option options[] = {
	{"depth", OPTION_DEPTH, "WHAT", 0,
	 "down to segments, groups, batches (the default) or records", 0},
	{"topic", OPTION_TOPIC, "NAME", 0, "only this one", 0},
	{"partition", OPTION_PARTITION, "N", 0, "only this one", 0},
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "DIR",
	.doc = "Print what lies in a data directory while no engine runs on it. Changes nothing. "
	       "With "
	       "--json one object a line. Exit code 1: it is damaged."
	       "\vExamples:\n"
	       "  millrace dump ./millrace-data --depth groups\n"
	       "  millrace dump ./millrace-data --topic trades --partition 0 --depth records "
	       "--json",
};

/* ---- as text ------------------------------------------------------------------------------- */

static void show_segment(const char *path, const struct mr_segment_header *header, void *arg)
{
	char created[MR_TIME_TEXT_BYTES];

	if (header->created_ms) /* the first segment of a log has no time */
		mr_time_format(header->created_ms, created);
	else
		snprintf(created, sizeof(created), "with the topic");
	printf("segment %s: base offset %" PRIu64 ", position %" PRIu64 ", id %016" PRIx64
	       ", %" PRIu64 " bytes, made %s\n",
	       path, header->base_offset, header->base_position, header->segment_id,
	       header->file_bytes, created);
}

static void show_group(uint64_t position, const struct mr_group_header *header, void *arg)
{
	char closed[MR_TIME_TEXT_BYTES];

	mr_time_format(header->append_ms, closed);
	printf("  group %" PRIu64 ": position %" PRIu64 ", %" PRIu32 " bytes, offset %" PRIu64
	       ", %" PRIu32 " batches, %" PRIu32 " records, epoch %" PRId32 ", flushed %" PRIu64
	       ", closed %s\n",
	       header->number, position, header->bytes, header->base_offset, header->batch_count,
	       header->record_count, header->leader_epoch, header->flushed_offset, closed);
}

static void show_batch(const struct mr_batch_header *header, void *arg)
{
	bool compressed = header->attributes & MR_BATCH_CODEC_MASK;

	printf("    batch: offset %" PRIu64 ", %" PRId32 " records, %" PRIu32
	       " bytes%s%s, producer %" PRId64 " epoch %d sequence %" PRId32 "\n",
	       header->base_offset, header->record_count, header->total_bytes,
	       compressed ? " by " : "", compressed ? mr_batch_codec_name(header) : "",
	       header->producer_id, (int)header->producer_epoch, header->base_sequence);
}

static void show_record(const struct mr_message *message, void *arg)
{
	printf("      ");
	(void)mr_output_record(stdout, MR_OUTPUT_TABLE, message); /* the table cannot fail */
}

/* ---- as JSON, one object a line ------------------------------------------------------------ */

static void dump_line(json_t *json)
{
	if (json && json_dumpf(json, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	json_decref(json);
}

static void json_segment(const char *path, const struct mr_segment_header *header, void *arg)
{
	char id[20];

	snprintf(id, sizeof(id), "%016" PRIx64, header->segment_id);
	dump_line(json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:I}", "what", "segment", "path", path,
			    "base_offset", (json_int_t)header->base_offset, "base_position",
			    (json_int_t)header->base_position, "segment_id", id, "file_bytes",
			    (json_int_t)header->file_bytes, "created_ms",
			    (json_int_t)header->created_ms));
}

static void json_group(uint64_t position, const struct mr_group_header *header, void *arg)
{
	dump_line(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I}", "what", "group",
			    "number", (json_int_t)header->number, "position", (json_int_t)position,
			    "bytes", (json_int_t)header->bytes, "base_offset",
			    (json_int_t)header->base_offset, "batches",
			    (json_int_t)header->batch_count, "records",
			    (json_int_t)header->record_count, "leader_epoch", header->leader_epoch,
			    "flushed_offset", (json_int_t)header->flushed_offset, "append_ms",
			    (json_int_t)header->append_ms));
}

static void json_batch(const struct mr_batch_header *header, void *arg)
{
	char crc[12];

	snprintf(crc, sizeof(crc), "%08" PRIx32, header->crc);
	dump_line(json_pack("{s:s, s:I, s:i, s:I, s:s, s:I, s:i, s:i, s:i, s:s}", "what", "batch",
			    "base_offset", (json_int_t)header->base_offset, "records",
			    header->record_count, "bytes", (json_int_t)header->total_bytes,
			    "compression", mr_batch_codec_name(header), "producer_id",
			    (json_int_t)header->producer_id, "producer_epoch",
			    (int)header->producer_epoch, "base_sequence", header->base_sequence,
			    "leader_epoch", header->leader_epoch, "crc", crc));
}

static void json_record(const struct mr_message *message, void *arg)
{
	(void)mr_output_record(stdout, MR_OUTPUT_JSON,
			       message); /* no memory: the line is left out */
}

/* ---- the command --------------------------------------------------------------------------- */

static struct mr_offline_visitor visitor_for(const struct arguments *arguments)
{
	bool json = arguments->json;
	struct mr_offline_visitor visitor = {.segment = json ? json_segment : show_segment};

	if (arguments->depth >= DEPTH_GROUPS)
		visitor.group = json ? json_group : show_group;
	if (arguments->depth >= DEPTH_BATCHES)
		visitor.batch = json ? json_batch : show_batch;
	if (arguments->depth >= DEPTH_RECORDS)
		visitor.record = json ? json_record : show_record;
	return visitor;
}

static void show_partition(const struct arguments *arguments, const struct mr_topic *topic,
			   int32_t number)
{
	char id[33];

	mr_topic_id_text(topic->id, id);
	if (arguments->json)
		dump_line(json_pack("{s:s, s:s, s:s, s:i}", "what", "partition", "topic",
				    topic->name, "id", id, "partition", number));
	else
		printf("topic %s, id %s, partition %d\n", topic->name, id, (int)number);
}

static void show_nothing(const struct arguments *arguments)
{
	if (arguments->json)
		dump_line(json_pack("{s:s, s:s}", "what", "nothing", "why", "in memory only"));
	else
		printf("  in memory only: there is nothing of it on the disk\n");
}

static void show_end(const struct arguments *arguments, const struct mr_offline_counts *counts)
{
	if (arguments->json) {
		json_t *json =
			json_pack("{s:s, s:I, s:b}", "what", "end", "offset",
				  (json_int_t)counts->end_offset, "damaged", (int)counts->damaged);

		if (json && counts->damaged)
			json_object_set_new(json, "why", json_string(counts->damage.what));
		dump_line(json);
		return;
	}
	printf("  end: offset %" PRIu64 ", position %" PRIu64 "\n", counts->end_offset,
	       counts->end_position);
	if (counts->damaged)
		printf("  what follows is no end: %s\n", counts->damage.what);
}

/* 1: its log stops before it ends; 0; or an errno. */
static int dump_partition(const struct arguments *arguments, const struct mr_offline *offline,
			  const struct mr_topic *topic, int32_t number, struct mr_error *err)
{
	struct mr_offline_visitor visitor = visitor_for(arguments);
	struct mr_offline_counts counts;
	int r;

	show_partition(arguments, topic, number);
	if (mr_topic_in_memory(topic)) {
		show_nothing(arguments);
		return 0;
	}
	r = mr_offline_walk(offline, topic, number, &visitor, &counts, err);
	if (r < 0) {
		mr_error_prefix(err, "topic '%s' partition %d: ", topic->name, (int)number);
		return r;
	}
	show_end(arguments, &counts);
	return counts.damaged;
}

/* Returns how many partitions are damaged, or an errno. */
static int dump(const struct arguments *arguments, const struct mr_offline *offline,
		struct mr_error *err)
{
	bool found = false;
	int damaged = 0;

	for (size_t i = 0; i < offline->topics.count; i++) {
		const struct mr_topic *topic = offline->topics.topics[i];

		if (arguments->topic && strcmp(arguments->topic, topic->name) != 0)
			continue;
		for (int32_t number = 0; number < topic->partition_count; number++) {
			int r;

			if (arguments->partition >= 0 && arguments->partition != number)
				continue;
			found = true;
			r = dump_partition(arguments, offline, topic, number, err);
			if (r < 0)
				return r;
			damaged += r;
		}
	}
	if (!found && (arguments->topic || arguments->partition >= 0))
		return mr_error_set(err, -ENOENT, "no such topic or partition in '%s'",
				    offline->directory);
	return damaged;
}

int mr_command_dump(int argc, char **argv)
{
	struct arguments arguments = {.partition = -1, .depth = DEPTH_BATCHES};
	struct mr_offline offline;
	struct mr_error err;
	int damaged;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (mr_offline_open(arguments.directory, &offline, &err) < 0)
		return mr_cli_fail(&err);
	damaged = dump(&arguments, &offline, &err);
	mr_offline_close(&offline);
	if (damaged < 0)
		return mr_cli_fail(&err);
	return mr_cli_finish_output(damaged ? MR_EXIT_REFUSED : MR_EXIT_DONE);
}
