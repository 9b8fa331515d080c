/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host whose engine speaks an older version of the feed beside one that speaks the newest: all
 * that hosts say to each other is understood, whichever of them leads, and what the older one does
 * not know is said in a sentence and goes on when it is replaced.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "hosts_rig.h"
#include "millrace/format.h"

#define OLD	    (MR_FEED_VERSION - 1)
#define FEW	    100u
#define VALUE_BYTES 400u
#define MANY	    4000u /* several segments: the first ones are let go */
#define RULE                                                                                       \
	"pipeline: p\\ninput: t\\nparse: json\\nvalue: $.v\\n"                                     \
	"windows:\\n  avg: {fn: mean, last: 4}\\noutput: t.knowledge\\n"

static const char peers_request[] = "{\"do\":\"peers.describe\"}";

static struct mr_test_hosts rig;

static void begin(uint32_t old)
{
	mr_test_hosts_init(&rig);
	rig.hosts[old].feed_version_max = OLD;
	mr_test_hosts_start(&rig, 0);
	mr_test_hosts_start(&rig, 1);
}

static void create(const char *more)
{
	char request[256], spoken[32];

	snprintf(request, sizeof(request),
		 "{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":1,\"replicas\":2,"
		 "\"leaders\":\"a\",\"min_insync_replicas\":1%s}",
		 more);
	mr_test_hosts_ask(&rig, 0, request);
	mr_test_hosts_await_copy(&rig);
	snprintf(spoken, sizeof(spoken), "\"feed_version\":%d", OLD);
	mr_test_hosts_await_words(&rig, 0, peers_request, spoken, true);
	mr_test_hosts_await_words(&rig, 1, peers_request, spoken, true);
}

/* On 'number', and then both have it. */
static void publish(uint32_t number, uint32_t count, uint32_t *total)
{
	struct mr_producer *producer = mr_test_hosts_producer(&rig, number);

	mr_test_hosts_publish(producer, count, VALUE_BYTES);
	mr_test_hosts_close_producer(producer, count);
	*total += count;
	mr_test_hosts_await_sum(&rig, 0, "high_watermark", 1, *total);
	mr_test_hosts_await_sum(&rig, 1, "high_watermark", 1, *total);
}

static void promote(uint32_t to)
{
	char request[128], led[32];

	snprintf(request, sizeof(request),
		 "{\"do\":\"promote\",\"name\":\"t\",\"partition\":0,\"to\":\"%c\"}",
		 'a' + (int)to);
	mr_test_hosts_ask(&rig, 0, request);
	snprintf(led, sizeof(led), "\"leader\":\"%c\"", 'a' + (int)to);
	mr_test_hosts_await_words(&rig, 1, peers_request, led, true);
}

/* Out of the ISR while it is away, and in again with what it lacks. */
static void away(uint32_t number, uint32_t *total)
{
	struct mr_producer *producer = mr_test_hosts_producer(&rig, !number);

	cr_assert_eq(mr_test_hosts_stop(&rig, number), 0);
	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	mr_test_hosts_go_on_alone(&rig, !number);
	mr_test_hosts_close_producer(producer, FEW);
	*total += FEW;
	mr_test_hosts_await_words(&rig, !number, peers_request, "\"in_sync\":false", true);
	mr_test_hosts_start(&rig, number);
	mr_test_hosts_await_words(&rig, !number, peers_request, "\"in_sync\":true", true);
	mr_test_hosts_await_sum(&rig, number, "high_watermark", 1, *total);
}

static struct mr_consumer *of_group(uint32_t number)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = "t", .from = MR_FROM_COMMITTED, .group = "g"};
	struct mr_consumer *consumer;
	struct mr_error err;

	cr_assert_eq(mr_consumer_open(rig.connections[number], &options, &consumer, &err), 0, "%s",
		     err.what);
	return consumer;
}

/* The first offset that the group has not read, on that host. */
static uint64_t group_at(uint32_t number)
{
	struct mr_consumer *consumer = of_group(number);
	const struct mr_message *messages;
	uint64_t at = 0;

	if (mr_consumer_poll(consumer, MR_TEST_HOSTS_PATIENCE, &messages) > 0)
		at = messages[0].offset;
	mr_consumer_close(consumer);
	return at;
}

/* A group that read on one host goes on there on the other. */
static void commit(uint32_t number)
{
	struct mr_consumer *consumer = of_group(number);
	uint64_t at = group_at(number) + 10;

	cr_assert_eq(mr_consumer_seek(consumer, 0, at), 0);
	cr_assert_eq(mr_consumer_commit(consumer, MR_TEST_HOSTS_PATIENCE), 0);
	mr_consumer_close(consumer);
	for (int i = 0; i < 300 && group_at(!number) != at; i++)
		(void)poll(NULL, 0, 20);
	cr_expect_eq(group_at(!number), at);
}

static void pipelines(uint32_t number)
{
	mr_test_hosts_ask(&rig, number, "{\"do\":\"rule.add\",\"text\":\"" RULE "\"}");
	mr_test_hosts_await_words(&rig, !number, "{\"do\":\"rule.list\"}", "\"p\"", true);
	mr_test_hosts_ask(&rig, !number, "{\"do\":\"rule.remove\",\"name\":\"p\"}");
	mr_test_hosts_await_words(&rig, number, "{\"do\":\"rule.list\"}", "\"p\"", false);
}

static void delete (uint32_t number)
{
	mr_test_hosts_ask(&rig, number, "{\"do\":\"topic.delete\",\"name\":\"t\"}");
	mr_test_hosts_await_words(&rig, !number, "{\"do\":\"topic.list\"}", "\"name\":\"t\"",
				  false);
}

static void tell_each_other_all(uint32_t old)
{
	uint32_t total = 0;

	begin(old);
	create("");
	publish(0, FEW, &total);
	publish(1, FEW, &total); /* forwarded */
	away(1, &total);
	commit(1);
	promote(1);
	publish(0, FEW, &total);
	publish(1, FEW, &total);
	away(0, &total);
	commit(0);
	pipelines(0);
	pipelines(1);
	mr_test_hosts_read(&rig, 0, total);
	mr_test_hosts_read(&rig, 1, total);
	delete (!old);
	cr_expect_eq(mr_test_hosts_stop(&rig, 1), 0);
	cr_expect_eq(mr_test_hosts_stop(&rig, 0), 0);
	mr_test_hosts_deinit(&rig);
}

Test(versions, an_older_leader_and_a_newer_follower)
{
	tell_each_other_all(0);
}

Test(versions, a_newer_leader_and_an_older_follower)
{
	tell_each_other_all(1);
}

/* What its leader still has from the first record on needs nobody's state. */
static void comes_back_to_a_whole_log(uint32_t old)
{
	uint32_t total = 0;

	begin(old);
	create("");
	publish(0, FEW, &total);
	cr_assert_eq(mr_test_hosts_stop(&rig, 1), 0);
	mr_test_hosts_replace_disk(&rig, 1);
	mr_test_hosts_start(&rig, 1);
	mr_test_hosts_await_sum(&rig, 1, "high_watermark", 1, total);
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"in_sync\":true", true);
	mr_test_hosts_read(&rig, 1, total);
	mr_test_hosts_deinit(&rig);
}

Test(versions, an_older_host_gets_a_new_disk)
{
	comes_back_to_a_whole_log(1);
}

Test(versions, an_older_leader_fills_a_new_disk)
{
	comes_back_to_a_whole_log(0);
}

static void let_the_first_segments_go(void)
{
	int64_t log_start = 0;

	for (uint32_t i = 0; i < 300 && log_start <= 0; i++) {
		mr_test_engine_advance(&rig.hosts[0], 1000);
		(void)poll(NULL, 0, 20);
		log_start = mr_test_engine_number(rig.connections[0], "t", 0, "log_start_offset");
	}
	cr_assert_gt(log_start, 0);
}

/*
 * It needs what the log does not say any more, which only a newer leader hands over: people hear
 * which engine is too old, the leader goes on, and a newer one in its place mends it.
 */
Test(versions, an_older_leader_cannot_hand_its_state)
{
	struct mr_producer *producer;
	uint32_t total = 0;

	begin(0);
	create(",\"retention_bytes\":65536");
	publish(0, MANY, &total);
	let_the_first_segments_go();
	cr_assert_eq(mr_test_hosts_stop(&rig, 1), 0);
	mr_test_hosts_replace_disk(&rig, 1);
	mr_test_hosts_start(&rig, 1);
	mr_test_hosts_await_words(&rig, 1, peers_request, "too old to hand its state", true);
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"in_sync\":false", true);
	producer = mr_test_hosts_producer(&rig, 0);
	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	mr_test_hosts_close_producer(producer, FEW);
	cr_expect_eq(mr_test_engine_number(rig.connections[1], "t", 0, "high_watermark"), 0);
	cr_assert_eq(mr_test_hosts_stop(&rig, 0), 0);
	rig.hosts[0].feed_version_max = MR_FEED_VERSION;
	mr_test_hosts_start(&rig, 0);
	mr_test_hosts_await_sum(&rig, 1, "high_watermark", 1, total + FEW);
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"in_sync\":true", true);
	mr_test_hosts_await_words(&rig, 1, peers_request, "too old", false);
	mr_test_hosts_deinit(&rig);
}
