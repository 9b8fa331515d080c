/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace peers: the other hosts of the cluster and the connections with them; who leads which
 * partition, who is in sync, and by how much the others lag.
 */
#include <string.h>

#include "ask.h"
#include "cli.h"
#include "millrace/format.h"

#define MANY	  20 /* partitions: more are summed up */
#define SHOWN_MAX 10 /* of those that are not well */

enum {
	OPTION_ALL = MR_CLI_FIRST_OWN,
};

struct arguments {
	struct mr_ask_arguments asked;
	bool all;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	if (key == ARGP_KEY_INIT)
		state->child_inputs[0] = &arguments->asked;
	if (key != OPTION_ALL)
		return ARGP_ERR_UNKNOWN;
	arguments->all = true;
	return 0;
}

static const struct argp_option options[] = {
	{"all", OPTION_ALL, NULL, 0, "show each partition, however many there are", 0},
	{0},
};

static const struct argp asked = {.options = mr_ask_options, .parser = mr_ask_parse};
static const struct argp_child children[] = {{&asked, 0, NULL, 0}, {0}};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.children = children,
	.doc = "Show the peers of this host and how replicas stand; of many partitions those that "
	       "are well are summed up. Lags are what the leader knows: ask there for a partition "
	       "that this host follows. Bytes are those of whole groups, so at most as many as it "
	       "says."
	       "\vExamples:\n"
	       "  millrace peers\n"
	       "  millrace peers --all\n"
	       "  millrace peers --json",
};

/* Batches travel as they lie in the log: it is the topics that are compressed, or are not. */
static void print_compression(const json_t *peer)
{
	char sent[48];
	char received[48];

	printf("  batches, of what they would be without compression: %s there, %s back\n",
	       mr_ask_ratio(mr_ask_number(peer, "sent_batch_bytes"),
			    mr_ask_number(peer, "sent_plain_bytes"), sent),
	       mr_ask_ratio(mr_ask_number(peer, "received_batch_bytes"),
			    mr_ask_number(peer, "received_plain_bytes"), received));
}

static void print_traffic(const json_t *peer)
{
	const json_t *per_record = json_object_get(peer, "sent_bytes_per_record");
	const json_t *batches = json_object_get(peer, "sent_batch_bytes");
	json_int_t most = mr_ask_number(peer, "bytes_per_second_max");
	char sent[24];
	char received[24];

	if (json_object_get(peer, "sent_bytes_per_second"))
		printf("  now: %s/s there, %s/s back\n",
		       mr_ask_bytes(mr_ask_number(peer, "sent_bytes_per_second"), sent),
		       mr_ask_bytes(mr_ask_number(peer, "received_bytes_per_second"), received));
	if (most > 0)
		printf("  sent at most: %s/s (bytes_per_second)\n", mr_ask_bytes(most, sent));
	printf("  since the start: %s there, %s back",
	       mr_ask_bytes(mr_ask_number(peer, "sent_bytes"), sent),
	       mr_ask_bytes(mr_ask_number(peer, "received_bytes"), received));
	if (per_record && json_integer_value(batches) > 0)
		printf("; %.1f bytes on the wire for each record sent, %.2f %% more than their "
		       "batches",
		       json_real_value(per_record),
		       100.0 *
			       (double)(mr_ask_number(peer, "sent_bytes") -
					json_integer_value(batches)) /
			       (double)json_integer_value(batches));
	printf("\n");
	print_compression(peer);
}

static void print_disk(const json_t *host, const char *heading)
{
	const json_t *disk = json_object_get(host, "disk");

	if (disk)
		printf("%s, its disk %s: %s\n", heading,
		       strcmp(mr_ask_word(disk, "state"), "failed") == 0 ? "failed"
									 : "is short of room",
		       mr_ask_word(disk, "why"));
}

static void print_peer(const json_t *peer, json_int_t here_max)
{
	json_int_t peer_max = mr_ask_number(peer, "record_bytes_max");
	bool connected = json_is_true(json_object_get(peer, "connected"));
	const char *address = mr_ask_word(peer, "address");
	const char *error = mr_ask_word(peer, "last_error");
	char room[24];

	printf("%s (number %" JSON_INTEGER_FORMAT ")%s%s\n", mr_ask_word(peer, "node"),
	       mr_ask_number(peer, "number"), address[0] ? " at " : "", address);
	printf("  %s for %s", connected ? "connected" : "not connected",
	       mr_ask_span(mr_ask_number(peer, "since_ms"), room));
	if (connected)
		printf(", %s", mr_ask_word(peer, "security"));
	if (json_object_get(peer, "feed_version") &&
	    mr_ask_number(peer, "feed_version") < MR_FEED_VERSION)
		printf(", version %" JSON_INTEGER_FORMAT " of the feed (%d is the newest here)",
		       mr_ask_number(peer, "feed_version"), MR_FEED_VERSION);
	if (json_is_true(json_object_get(peer, "silent")))
		printf(", SILENT for %s", mr_ask_span(mr_ask_number(peer, "heard_ms"), room));
	if (json_object_get(peer, "rtt_us"))
		printf(", round trip %.2f ms", (double)mr_ask_number(peer, "rtt_us") / 1000);
	printf("\n");
	print_traffic(peer);
	if (peer_max && peer_max != here_max)
		printf("  record_bytes_max is %" JSON_INTEGER_FORMAT
		       " there and %" JSON_INTEGER_FORMAT " here: make them equal\n",
		       peer_max, here_max);
	if (error[0])
		printf("  %s: %s\n", connected ? "error before that" : "last error", error);
	print_disk(peer, "  it cannot write");
	if (mr_ask_word(peer, "do")[0])
		printf("  do: %s\n", mr_ask_word(peer, "do"));
	printf("\n");
}

static void print_lag(const json_t *row)
{
	json_int_t records = mr_ask_number(row, "lag_records");
	char a[24];
	char b[24];
	char c[24];

	if (!json_object_get(row, "lag_records")) {
		printf("and has not heard yet how much there is");
		return;
	}
	if (!records) {
		printf("nothing missing");
		return;
	}
	printf("lacks %s record%s", mr_ask_amount(records, a), records == 1 ? "" : "s");
	if (json_object_get(row, "lag_bytes"))
		printf(", at most %s", mr_ask_bytes(mr_ask_number(row, "lag_bytes"), b));
	if (json_object_get(row, "lag_ms"))
		printf(", behind for %s", mr_ask_span(mr_ask_number(row, "lag_ms"), c));
}

static void print_followers(const json_t *partition)
{
	char room[24];
	size_t i;
	json_t *one;

	json_array_foreach(json_object_get(partition, "followers"), i, one)
	{
		bool in_sync = json_is_true(json_object_get(one, "in_sync"));

		printf("    %s: %s", mr_ask_word(one, "node"), in_sync ? "in sync" : "NOT in sync");
		if (json_object_get(one, "since_ms"))
			printf(" for %s", mr_ask_span(mr_ask_number(one, "since_ms"), room));
		if (mr_ask_word(one, "why")[0])
			printf(", since it %s", mr_ask_word(one, "why"));
		printf(", ");
		print_lag(one);
		printf("\n");
	}
}

static void print_partition(const json_t *partition)
{
	const char *role = mr_ask_word(partition, "role");
	const char *leader = mr_ask_word(partition, "leader");
	const json_t *waits = json_object_get(partition, "waits_for");
	const json_t *unwritten = json_object_get(partition, "not_written_by");
	char room[400];

	printf("  %s/%" JSON_INTEGER_FORMAT ": ", mr_ask_word(partition, "topic"),
	       mr_ask_number(partition, "partition"));
	printf("leader %s, epoch %" JSON_INTEGER_FORMAT ", in sync: %s",
	       leader[0] ? leader : "nobody", mr_ask_number(partition, "leader_epoch"),
	       mr_ask_words(json_object_get(partition, "isr"), room, sizeof(room)));
	if (strcmp(role, "follower") == 0) {
		printf("; this host %s", mr_ask_word(partition, "step"));
		/* before they agree it knows nothing of its leader's log */
		if (strcmp(mr_ask_word(partition, "step"), "fetches") == 0) {
			printf(", ");
			print_lag(partition);
		}
	}
	printf("\n");
	if (mr_ask_word(partition, "why")[0])
		printf("    it waits: %s\n", mr_ask_word(partition, "why"));
	if (waits)
		printf("    waits for word of %s since this start: one of them may have been "
		       "promoted\n",
		       mr_ask_words(waits, room, sizeof(room)));
	if (unwritten)
		printf("    who is in sync is not written down yet by %s: nothing is committed "
		       "before; what to do: millrace status\n",
		       mr_ask_words(unwritten, room, sizeof(room)));
	print_followers(partition);
}

/* All that is in sync, and nothing is missing that is known of here. */
static bool is_well(const json_t *partition)
{
	const char *role = mr_ask_word(partition, "role");
	size_t i;
	json_t *one;

	if (json_object_get(partition, "waits_for") ||
	    json_object_get(partition, "not_written_by") || !mr_ask_word(partition, "leader")[0] ||
	    (strcmp(role, "leader") != 0 && strcmp(role, "follower") != 0) ||
	    mr_ask_number(partition, "lag_records"))
		return false;
	if (strcmp(role, "follower") == 0 && strcmp(mr_ask_word(partition, "step"), "fetches") != 0)
		return false;
	json_array_foreach(json_object_get(partition, "followers"), i,
			   one) if (!json_is_true(json_object_get(one, "in_sync")) ||
				    mr_ask_number(one, "lag_records")) return false;
	return true;
}

/* Led by one host, as many as are well. */
static void print_well(const json_t *partitions, const char *leader)
{
	size_t count = 0;
	size_t i;
	json_t *one;

	json_array_foreach(partitions, i, one) count +=
		is_well(one) && strcmp(mr_ask_word(one, "leader"), leader) == 0;
	printf("  %zu led by %s: in sync, nothing missing\n", count, leader);
}

/* Where there are many: those that are well are counted, of the others some are shown. */
static void print_summary(const json_t *partitions)
{
	json_t *leaders = json_object();
	size_t i, left_out = 0, shown = 0;
	json_t *one;

	json_array_foreach(partitions, i, one)
	{
		const char *leader = mr_ask_word(one, "leader");

		if (is_well(one) && !json_object_get(leaders, leader)) {
			json_object_set_new(leaders, leader, json_true());
			print_well(partitions, leader);
		} else if (!is_well(one) && shown++ >= SHOWN_MAX) {
			left_out++;
		}
	}
	shown = 0;
	json_array_foreach(partitions, i, one) if (!is_well(one) && shown++ < SHOWN_MAX)
		print_partition(one);
	if (left_out)
		printf("  and %zu more that are not well: millrace peers --all\n", left_out);
	json_decref(leaders);
}

static void print_partitions(const json_t *partitions, bool all)
{
	size_t i;
	json_t *one;

	if (json_array_size(partitions))
		printf("replicated partitions\n");
	if (!all && json_array_size(partitions) > MANY) {
		print_summary(partitions);
		return;
	}
	json_array_foreach(partitions, i, one) print_partition(one);
}

static void print_peers(const json_t *reply, const void *arg)
{
	const bool *all = arg;
	const json_t *peers = json_object_get(reply, "peers");
	size_t i;
	json_t *one;

	printf("this host: %s (number %" JSON_INTEGER_FORMAT "), cluster %s\n",
	       mr_ask_word(reply, "node"), mr_ask_number(reply, "number"),
	       mr_ask_word(reply, "cluster"));
	print_disk(reply, "  it cannot write");
	printf("\n");
	if (!json_array_size(peers))
		printf("no peers: the configuration names none\n\n");
	json_array_foreach(peers, i, one) print_peer(one, mr_ask_number(reply, "record_bytes_max"));
	mr_ask_certificates(json_object_get(reply, "certificates"));
	print_partitions(json_object_get(reply, "partitions"), *all);
	json_array_foreach(json_object_get(reply, "same_name"), i, one)
		printf("\ntopic %s on %s is another one than here: both were made, delete one of "
		       "them\n",
		       mr_ask_word(one, "topic"), mr_ask_word(one, "node"));
}

int mr_command_peers(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct mr_ask ask = {.command = "peers", .print = print_peers, .arg = &arguments.all};

	mr_cli_parse(&argp, argc, argv, &arguments);
	ask.socket = arguments.asked.socket;
	ask.json = arguments.asked.json;
	ask.request = json_pack("{s:s}", "do", "peers.describe");
	return mr_cli_ask(&ask);
}
