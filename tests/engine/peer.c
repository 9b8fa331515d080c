/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole engine, host a, and beside it a feed that says what the test wants, host b: what a peer
 * may say of topics, and what it is told when it may not.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_rig.h"
#include "log/checkpoint.h"
#include "replica/feed.h"

#define PATIENCE_MS 20000
#define ROW_OF(name, id, replicas, segment)                                                        \
	"{\"topic\":{\"name\":\"" name "\",\"id\":\"" id "\",\"partitions\":1,\"created_ms\":1,"   \
	"\"retention_bytes\":0,\"retention_ms\":0,\"segment_bytes\":" segment                      \
	",\"storage\":\"disk\",\"tail_bytes\":0,\"replicas\":" replicas                            \
	",\"min_insync_replicas\":1,\"leaders\":\"spread\"}}"
#define DELETED_OF(id, replicas)                                                                   \
	"{\"topic_deleted\":{\"id\":\"" id "\",\"replicas\":" replicas ",\"deleted_ms\":1}}"
#define ID "0123456789abcdef0123456789abcdef"

static struct mr_test_engine host;
static struct mr_connection *connection;
static struct mr_feed *peer;

static void start_peer(void)
{
	static const struct mr_place_entry nowhere; /* pins nothing */
	struct mr_feed_peer_options a = {.node = 0, .name = "a", .address = "127.0.0.1:1"};
	struct mr_feed_options options = {
		.place = &nowhere,
		.clock = &mr_clock_system,
		.node = 1,
		.name = "b",
		.listen = "127.0.0.1:0",
		.log_id = {1},
		.incarnation = 7,
		.peers = &a,
		.peer_count = 1,
		.worker_count = 1,
	};
	struct mr_error err;

	mr_config_cluster_id(&host.config, options.cluster_id);
	cr_assert_eq(mr_feed_start(&options, &peer, &err), 0, "%s", err.what);
}

/* The next notice in which 'word' stands; the caller frees it. */
static char *hear(const char *word)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		struct mr_feed_event event = mr_feed_take(peer);

		if (event.kind == MR_FEED_EVENT_NOTICE && strstr(event.text, word))
			return event.text;
		free(event.text);
		if (event.kind == MR_FEED_EVENT_NOTHING)
			(void)poll(NULL, 0, 1);
	}
	cr_assert(false, "nothing came with '%s'", word);
	return NULL;
}

static void say(const char *text)
{
	cr_assert_eq(mr_feed_notify(peer, 0, text, strlen(text)), 0);
}

/* It is refused, and the peer hears why. */
static void refused(const char *text, const char *why)
{
	char *said;

	say(text);
	said = hear("\"refused\"");
	cr_expect(strstr(said, why) != NULL, "%s", said);
	cr_expect(strstr(said, "\"why\":\"\"") == NULL, "no reason: %s", said);
	cr_expect(strstr(said, "file '") == NULL, "what a peer says is in no file: %s", said);
	free(said);
}

static void setup(void)
{
	struct mr_error err;

	mr_test_engine_init(&host, "posix");
	host.config.insecure = true;
	host.config.segment_bytes = 1 << 20; /* as a peer may ask for at least */
	snprintf(host.config.node, sizeof(host.config.node), "a");
	host.config.peers = calloc(1, sizeof(*host.config.peers));
	cr_assert(host.config.peers != NULL);
	host.config.peer_count = 1;
	host.config.peers[0].number = 1;
	snprintf(host.config.peers[0].name, sizeof(host.config.peers[0].name), "b");
	start_peer();
	snprintf(host.config.peers[0].address, sizeof(host.config.peers[0].address), "127.0.0.1:%u",
		 mr_feed_listens_at(peer));
	cr_assert_eq(mr_test_engine_start(&host, &err), 0, "%s", err.what);
	connection = mr_test_engine_connect(&host);
	free(hear("\"told\""));
}

static void teardown(void)
{
	mr_disconnect(connection);
	cr_expect_eq(mr_test_engine_stop(&host), 0);
	mr_feed_stop(peer);
	mr_test_engine_deinit(&host);
}

static bool is_there(const char *topic)
{
	return mr_test_engine_number(connection, topic, 0, "high_watermark") >= 0;
}

/* What was said before this has been heard, when it is answered. */
static void settle(void)
{
	say("{\"tell\":\"topics\"}");
	free(hear("\"told\""));
}

Test(peer, every_refused_topic_has_a_sentence, .init = setup, .fini = teardown)
{
	refused("{\"topic\":null}", "xpected object");
	refused("{\"topic\":[]}", "xpected object");
	refused("{\"topic\":{}}", "name");
	refused("{\"topic\":{\"name\":7}}", "xpected string");
	refused(ROW_OF("t", "xyz", "[0,1]", "1048576"), "'t' has values out of bounds");
	refused(ROW_OF("t", ID, "[]", "1048576"), "'t' has values out of bounds");
	refused(ROW_OF("t", ID, "[0,7777]", "1048576"), "'t' has values out of bounds");
	refused(ROW_OF("..", ID, "[0,1]", "1048576"), "'..' is not allowed");
	refused(ROW_OF("", ID, "[0,1]", "1048576"), "1 to ");
	refused(ROW_OF("__t", ID, "[0,1]", "1048576"), "names that begin with __");
	refused(ROW_OF("t", ID, "[0,1]", "7"), "has segment_bytes 7");
	refused(ROW_OF("t", ID, "[0]", "1048576"), "has no replica on both hosts");
	refused(ROW_OF("t", ID, "[1,2]", "1048576"), "has no replica on both hosts");
	cr_expect(!is_there("t"));
	say(ROW_OF("t", ID, "[0,1]", "1048576"));
	settle();
	cr_expect(is_there("t"));
}

/* Who knows the id of a topic that it keeps no copy of may not delete it. */
Test(peer, deletes_what_it_keeps_a_copy_of_only, .init = setup, .fini = teardown)
{
	char *reply = mr_test_engine_ask(
		connection, "{\"do\":\"topic.create\",\"name\":\"own\",\"partitions\":1}", NULL);
	char request[256], id[33] = "";
	const char *at;

	cr_assert(reply != NULL);
	free(reply);
	reply = mr_test_engine_ask(connection, "{\"do\":\"topic.describe\",\"name\":\"own\"}",
				   NULL);
	cr_assert(reply != NULL);
	at = strstr(reply, "\"id\"");
	cr_assert(at != NULL && sscanf(at, "\"id\"%*[: \"]%32[0-9a-f]", id) == 1, "%s", reply);
	free(reply);
	snprintf(request, sizeof(request), DELETED_OF("%s", "[0,1]"), id);
	refused(request, "topic 'own' is not deleted: the host that says so keeps no copy");
	cr_expect(is_there("own"));
	refused(DELETED_OF(ID, "[0,2]"), "was not on both hosts");
	refused("{\"topic_deleted\":{\"id\":\"7\"}}", "makes no sense");
	say(ROW_OF("t", ID, "[0,1]", "1048576")); /* as if nobody had said that */
	settle();
	cr_assert(is_there("t"));
	say(DELETED_OF(ID, "[0,1]"));
	settle();
	cr_expect(!is_there("t"));
}

/* A producer of 'topic', which would make it. */
static int publish(const char *topic, struct mr_error *err)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = topic};
	struct mr_producer *producer;
	int r = mr_producer_open(connection, &options, &producer, err);

	if (r == 0)
		mr_producer_close(producer, 1000);
	return r;
}

/* A name that another host has is not given twice; nonsense is none. */
Test(peer, names_of_other_hosts_are_known, .init = setup, .fini = teardown)
{
	struct mr_error err = {0};
	char *said;

	said = hear("\"keeps\":[]");
	cr_expect(strstr(said, "\"anew\":true") != NULL, "%s", said);
	free(said);
	say("{\"keeps\":[\"far\",7,\"..\",\"\",null,\"far\",\"away\"],\"anew\":true}");
	say("{\"keeps\":7,\"anew\":true}");
	say("{\"keeps_no_more\":[\"far\"]}");
	settle();
	cr_expect_eq(publish("far", &err), -ENOENT);
	cr_expect_str_eq(err.what, "topic 'far' does not exist on host a: it is on b");
	cr_expect_eq(publish("near", &err), 0, "%s", err.what);
	free(hear("{\"keeps\":[\"near\"]}"));
	say("{\"keeps_no_more\":\"far\"}");
	settle();
	cr_expect_eq(publish("far", &err), 0, "%s", err.what);
	cr_expect_eq(publish("away", &err), -ENOENT);
	say("{\"keeps\":[],\"anew\":true}");
	settle();
	cr_expect_eq(publish("away", &err), 0, "%s", err.what);
	said = mr_test_engine_ask(connection, "{\"do\":\"topic.delete\",\"name\":\"far\"}", NULL);
	free(said);
	free(hear("{\"keeps_no_more\":\"far\"}"));
	/* what both keep is no news to the other */
	said = mr_test_engine_ask(
		connection, "{\"do\":\"topic.create\",\"name\":\"both\",\"replicas\":2}", NULL);
	cr_assert(said != NULL);
	free(said);
	said = hear("\"both\"");
	cr_expect(strstr(said, "\"topic\"") != NULL, "%s", said);
	free(said);
	publish("last", &err);
	said = hear("\"keeps\"");
	cr_expect_str_eq(said, "{\"keeps\":[\"last\"]}");
	free(said);
}

/* Once a second at most, what became due is written. */
static void pass_a_second(void)
{
	mr_test_engine_advance(&host, 1100);
	settle();
	(void)poll(NULL, 0, 50);
	settle();
}

static bool names_are_written(void)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/elsewhere", host.data);
	return unlink(path) == 0;
}

/* They are in a file, which other news do not touch. */
Test(peer, names_are_written_down_when_they_change, .init = setup, .fini = teardown)
{
	say("{\"keeps\":[\"far\"],\"anew\":true}");
	pass_a_second();
	cr_assert(names_are_written());
	say("{\"disk\":{\"state\":\"well\",\"why\":\"\"}}");
	say("{\"keeps\":7}");
	pass_a_second();
	cr_expect_not(names_are_written());
	say("{\"keeps_no_more\":\"far\"}");
	pass_a_second();
	cr_expect(names_are_written());
}

/* A host that refuses is not answered with a refusal. */
Test(peer, hears_that_it_is_refused, .init = setup, .fini = teardown)
{
	bool answered = false;

	say("{\"refused\":{\"what\":\"a topic to be made\",\"why\":\"no\"}}");
	say("{\"refused\":7}");
	say("{\"tell\":\"topics\"}");
	while (!answered) {
		char *said = hear("");

		cr_expect(strstr(said, "\"refused\"") == NULL, "%s", said);
		answered = strstr(said, "\"told\"") != NULL;
		free(said);
	}
}

/* It is connected and in sync, and never says that it knows who leads: both commands say so. */
Test(peer, who_does_not_write_down_who_leads_is_named, .init = setup, .fini = teardown)
{
	char *reply = mr_test_engine_ask(connection,
					 "{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":1,"
					 "\"replicas\":2,\"leaders\":\"a\"}",
					 NULL);
	bool said = false;

	cr_assert(reply != NULL);
	free(reply);
	for (int i = 0; i < PATIENCE_MS / 100 && !said; i++) {
		(void)poll(NULL, 0, 100);
		reply = mr_test_engine_ask(connection, "{\"do\":\"status\"}", NULL);
		cr_assert(reply != NULL);
		said = strstr(reply, "that is not written down yet by: b") != NULL &&
		       strstr(reply, "look at the disk and the messages of: b") != NULL;
		free(reply);
	}
	cr_expect(said);
	reply = mr_test_engine_ask(connection, "{\"do\":\"peers.describe\"}", NULL);
	cr_assert(reply != NULL);
	cr_expect(strstr(reply, "\"not_written_by\"") != NULL, "%s", reply);
	free(reply);
}

/* The only folder in 'path', written behind it. */
static void enter(char path[160])
{
	struct mr_io_entry *entries = NULL;
	struct mr_error err;
	size_t count = 0, used = strlen(path);

	cr_assert_eq(mr_io_list(host.disk, path, &entries, &count, &err), 0, "%s", err.what);
	cr_assert_eq(count, 1);
	snprintf(path + used, 160 - used, "/%s", entries[0].name);
	free(entries);
}

/* As a kill leaves it between the two steps of a reset: no entry, and no segment yet. */
static void take_log_away(void)
{
	char path[160] = "topics", file[512];
	struct mr_checkpoint checkpoint;
	struct mr_io_entry *entries = NULL;
	struct mr_error err;
	size_t count = 0;

	cr_assert_eq(mr_checkpoint_load(host.disk, &checkpoint, &err), 0, "%s", err.what);
	cr_assert_eq(checkpoint.partition_count, 1);
	mr_checkpoint_forget(&checkpoint, checkpoint.partitions[0].topic_id, 0);
	for (int slot = 0; slot < 2; slot++)
		cr_assert_eq(mr_checkpoint_save(host.disk, &checkpoint, &err), 0, "%s", err.what);
	mr_checkpoint_deinit(&checkpoint);
	enter(path);
	enter(path);
	cr_assert_eq(mr_io_list(host.disk, path, &entries, &count, &err), 0, "%s", err.what);
	cr_assert_gt(count, 0);
	for (size_t i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, entries[i].name);
		cr_assert_eq(mr_io_remove(host.disk, file, &err), 0, "%s", err.what);
	}
	free(entries);
}

/* A start is not refused for it: the replica counts as one that lost what it had. */
Test(peer, a_kill_while_a_log_begins_anew_is_survived, .init = setup, .fini = teardown)
{
	struct mr_error err;

	say(ROW_OF("t", ID, "[0,1]", "1048576"));
	settle();
	cr_assert(is_there("t"));
	for (int life = 0; life < 2; life++) {
		mr_disconnect(connection);
		cr_assert_eq(mr_test_engine_stop(&host), 0);
		if (life == 0)
			take_log_away();
		cr_assert_eq(mr_test_engine_start(&host, &err), 0, "%s", err.what);
		connection = mr_test_engine_connect(&host);
		cr_expect_eq(mr_test_engine_number(connection, "t", 0, "high_watermark"), 0);
	}
}
