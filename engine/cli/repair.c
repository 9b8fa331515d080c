/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace repair: lets an engine go on after damage that no peer can heal. Without --accept-loss
 * it only says what would be lost; with it the log of each damaged partition is cut at the damage.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "cli.h"
#include "offline.h"

enum {
	OPTION_ACCEPT_LOSS = MR_CLI_FIRST_OWN,
};

struct arguments {
	const char *directory;
	bool accept_loss;
	bool json;
};

/* What one damaged partition loses. */
struct loss {
	const struct mr_topic *topic;
	int32_t number;
	uint64_t offset;  /* the first record that is lost */
	uint64_t records; /* that were flushed, as far as is known */
	uint64_t bytes;	  /* of the files behind the damage, which may hold padding */
	struct mr_error damage;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case OPTION_ACCEPT_LOSS:
		arguments->accept_loss = true;
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

static const struct argp_option options[] = {
	{"accept-loss", OPTION_ACCEPT_LOSS, NULL, 0,
	 "cut each damaged partition at its damage: what lies behind it is gone for good", 0},
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "DIR",
	.doc = "Say what is damaged in a data directory while no engine runs on it, and what would "
	       "be "
	       "lost by going on without it. Changes nothing without --accept-loss. Make a copy of "
	       "the directory first. Exit code 1: it is damaged, and nothing was changed."
	       "\vExamples:\n"
	       "  millrace repair ./millrace-data\n"
	       "  millrace repair ./millrace-data --accept-loss",
};

/*
 * 1: the log is damaged, as recovery sees it; for damage below the checkpoint, without that. *how
 * is how it was seen.
 */
static int look(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		unsigned *how, struct mr_offline_partition *out, struct mr_error *err)
{
	static const struct mr_offline_visitor nothing;
	struct mr_offline_counts counts;
	int r = mr_offline_look(offline, topic, number, MR_OFFLINE_AS_START, out, err);

	*how = MR_OFFLINE_AS_START;
	if (r < 0 || out->recovered.corrupt)
		return r < 0 ? r : 1;
	r = mr_offline_walk(offline, topic, number, &nothing, &counts, err);
	if (r == 0 && counts.end_offset >= out->recovered.start.offset)
		return 0; /* the caller ends the look */
	mr_offline_look_end(out);
	*how = MR_OFFLINE_NO_CHECKPOINT;
	if (r == 0)
		r = mr_offline_look(offline, topic, number, *how, out, err);
	return r < 0 ? r : out->recovered.corrupt;
}

/* How much of the files lies at or behind the damage. */
static uint64_t bytes_behind(const struct mr_recovered *recovered)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < recovered->segment_count; i++) {
		const struct mr_segment *segment = recovered->segments[i];
		uint64_t end = segment->base_position + segment->file_bytes;
		uint64_t from = recovered->corrupt_position;

		if (segment->base_position > from)
			from = segment->base_position;
		bytes += end > from ? end - from : 0;
	}
	return bytes;
}

static void print_loss(const struct loss *loss, bool accepted)
{
	printf("%s/%d: %s\n", loss->topic->name, (int)loss->number, loss->damage.what);
	printf("  %s: records from offset %" PRIu64 " on, at least %" PRIu64
	       " that were durable, %" PRIu64 " bytes of files\n",
	       accepted ? "lost" : "would be lost", loss->offset, loss->records, loss->bytes);
}

static json_t *loss_json(const struct loss *loss)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:s}", "topic", loss->topic->name, "partition",
			 loss->number, "offset", (json_int_t)loss->offset, "records",
			 (json_int_t)loss->records, "bytes", (json_int_t)loss->bytes, "damage",
			 loss->damage.what);
}

/* Up to which offset records are known to have been flushed. */
static uint64_t known_flushed(const struct mr_offline *offline, const struct mr_topic *topic,
			      int32_t number, const struct mr_recovered *recovered)
{
	const struct mr_checkpoint_partition *one = NULL;

	if (offline->has_checkpoint)
		one = mr_checkpoint_find(&offline->checkpoint, topic->id, number);
	return one && one->offset > recovered->flushed_offset ? one->offset
							      : recovered->flushed_offset;
}

/* Cuts the log at the damage that was seen in that way. */
static int cut(struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
	       unsigned how, struct mr_error *err)
{
	struct mr_offline_partition looked;
	uint64_t lost; /* the checkpoint may know of more: see known_flushed() */
	int r = mr_offline_look(offline, topic, number, how | MR_OFFLINE_WRITABLE, &looked, err);

	if (r < 0)
		return r;
	if (looked.recovered.corrupt)
		r = mr_recover_accept_loss(offline->io, looked.directory, &looked.recovered, &lost,
					   err);
	mr_offline_look_end(&looked);
	return r < 0 ? r : mr_offline_forget_checkpoint(offline, topic, number, err);
}

/* 1: it was damaged; *loss says what that costs. With --accept-loss it is not damaged any more. */
static int repair_partition(const struct arguments *arguments, struct mr_offline *offline,
			    const struct mr_topic *topic, int32_t number, struct loss *loss,
			    struct mr_error *err)
{
	struct mr_offline_partition looked;
	const struct mr_recovered *recovered = &looked.recovered;
	uint64_t flushed;
	unsigned how;
	int damaged = look(offline, topic, number, &how, &looked, err);
	int r;

	if (damaged < 0)
		return damaged;
	*loss = (struct loss){
		.topic = topic,
		.number = number,
		.offset = recovered->corrupt_offset,
		.bytes = damaged ? bytes_behind(recovered) : 0,
		.damage = recovered->damage,
	};
	flushed = known_flushed(offline, topic, number, recovered);
	if (damaged && flushed > loss->offset)
		loss->records = flushed - loss->offset;
	mr_offline_look_end(&looked);
	if (!damaged || !arguments->accept_loss)
		return damaged;
	r = cut(offline, topic, number, how, err);
	return r < 0 ? r : 1;
}

/* Returns how many partitions were damaged, or an errno. */
static int repair(const struct arguments *arguments, struct mr_offline *offline, json_t *list,
		  struct mr_error *err)
{
	int damaged = 0;

	for (size_t i = 0; i < offline->topics.count; i++) {
		const struct mr_topic *topic = offline->topics.topics[i];

		if (mr_topic_in_memory(topic))
			continue; /* no file of it can be damaged */
		for (int32_t number = 0; number < topic->partition_count; number++) {
			struct loss loss;
			int r = repair_partition(arguments, offline, topic, number, &loss, err);

			if (r < 0) {
				mr_error_prefix(err, "topic '%s' partition %d: ", topic->name,
						(int)number);
				return r;
			}
			damaged += r;
			if (r == 1 && list)
				json_array_append_new(list, loss_json(&loss));
			else if (r == 1)
				print_loss(&loss, arguments->accept_loss);
		}
	}
	return damaged;
}

static void print_end(const struct arguments *arguments, json_t *list, int damaged)
{
	json_t *json;

	if (list) {
		json = json_pack("{s:s, s:b, s:i, s:O}", "data", arguments->directory, "accepted",
				 (int)arguments->accept_loss, "damaged", damaged, "losses", list);
		json_dumpf(json, stdout, JSON_INDENT(1));
		putchar('\n');
		json_decref(json);
	} else if (damaged == 0) {
		printf("nothing is damaged\n");
	} else if (arguments->accept_loss) {
		printf("%d partitions were cut; an engine can start on '%s' again\n", damaged,
		       arguments->directory);
	} else {
		printf("nothing was changed: --accept-loss gives up what is listed here\n");
	}
}

int mr_command_repair(int argc, char **argv)
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
	damaged = repair(&arguments, &offline, list, &err);
	if (damaged >= 0)
		print_end(&arguments, list, damaged);
	json_decref(list);
	mr_offline_close(&offline);
	if (damaged < 0)
		return mr_cli_fail(&err);
	return mr_cli_finish_output(damaged && !arguments.accept_loss ? MR_EXIT_REFUSED
								      : MR_EXIT_DONE);
}
