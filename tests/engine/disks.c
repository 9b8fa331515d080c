/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two whole engines, and a disk that fails or is full beside the one that follows: the leader goes
 * on by the topic's rule, what was acknowledged is there, both hosts say why, nothing of a file is
 * trusted whose flush failed (D3), and it comes back to all of it: by itself when there is room,
 * else when it is started again.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "hosts_rig.h"

#define FEW	    50u
#define VALUE_BYTES 400u
#define MANY	    100000u /* more than a host without another segment has room for */
#define A_WHILE_MS  300

static const char peers_request[] = "{\"do\":\"peers.describe\"}";
static const char status_request[] = "{\"do\":\"status\"}";

static struct mr_test_hosts rig;

static void setup(void)
{
	mr_test_hosts_init(&rig);
	mr_test_hosts_start(&rig, 0);
	mr_test_hosts_start(&rig, 1);
}

static void teardown(void)
{
	mr_test_hosts_deinit(&rig);
}

static void create(const char *more)
{
	char request[256];

	snprintf(request, sizeof(request),
		 "{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":1,\"replicas\":2,"
		 "\"leaders\":\"a\"%s}",
		 more);
	mr_test_hosts_ask(&rig, 0, request);
	mr_test_hosts_await_copy(&rig);
}

static void publish(uint32_t count)
{
	struct mr_producer *producer = mr_test_hosts_producer(&rig, 0);

	mr_test_hosts_publish(producer, count, VALUE_BYTES);
	mr_test_hosts_close_producer(producer, count);
}

/* The follower's disk, from now on. */
static void break_disk(enum mr_io_fault_kind kind, enum mr_io_fault_how how, int error)
{
	const struct mr_io_fault_plan plan = {
		.kind = kind, .nth = 1, .error = error, .how = how, .from_then_on = true};

	mr_io_fault_set(rig.hosts[1].fault, &plan);
}

static void mend_disk(void)
{
	static const struct mr_io_fault_plan none;

	mr_io_fault_set(rig.hosts[1].fault, &none);
}

static void both_say(const char *state, const char *why)
{
	char row[64];

	snprintf(row, sizeof(row), "\"disk\":{\"state\":\"%s\"", state);
	mr_test_hosts_await_words(&rig, 1, peers_request, row, true);
	mr_test_hosts_await_words(&rig, 0, peers_request, row, true);
	mr_test_hosts_await_words(&rig, 0, peers_request, why, true);
	mr_test_hosts_await_words(&rig, 0, status_request, "\"cannot_write\":[{", true);
	mr_test_hosts_await_words(&rig, 0, status_request, why, true);
}

static void in_sync_again(uint32_t count)
{
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"in_sync\":true", true);
	mr_test_hosts_await_sum(&rig, 1, "high_watermark", 1, count);
	mr_test_hosts_read(&rig, 1, count);
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"disk\":{", false);
	mr_test_hosts_await_words(&rig, 1, peers_request, "\"disk\":{", false);
	mr_test_hosts_await_words(&rig, 0, status_request, "\"cannot_write\":[]", true);
}

/* It would not lead. */
static void refuses_to_promote(uint32_t asked)
{
	struct mr_error err = {0};
	char *reply = mr_test_engine_ask(
		rig.connections[asked],
		"{\"do\":\"promote\",\"name\":\"t\",\"partition\":0,\"to\":\"b\"}", &err);

	cr_expect_null(reply);
	cr_expect_str_eq(err.what, "host 'b' leads nothing: its disk failed");
	cr_expect(strstr(err.why, "failed: ") != NULL, "%s", err.why);
	free(reply);
}

/* Once is enough: that a later write goes well proves nothing of the one that did not. */
static void fails_for_good(enum mr_io_fault_kind kind, enum mr_io_fault_how how)
{
	struct mr_producer *producer;

	create(",\"min_insync_replicas\":1");
	publish(FEW);
	mr_test_hosts_await_sum(&rig, 1, "high_watermark", 1, FEW);
	producer = mr_test_hosts_producer(&rig, 0);
	break_disk(kind, how, -EIO);
	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	mr_test_hosts_await_words(&rig, 1, status_request, "\"state\":\"degraded\"", true);
	both_say("failed", "failed: ");
	mr_test_hosts_await_words(&rig, 0, status_request, "(EIO)", true);
	mend_disk();
	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	mr_test_hosts_await_words(&rig, 0, status_request, "in sync, and cannot write", true);
	mr_test_hosts_go_on_alone(&rig, 0);
	mr_test_hosts_close_producer(producer, 2 * FEW);
	refuses_to_promote(1);
	refuses_to_promote(0);
	mr_test_hosts_await_words(&rig, 0, peers_request, "has a disk that failed", true);
	mr_test_hosts_read(&rig, 0, 3 * FEW);
	(void)poll(NULL, 0, A_WHILE_MS); /* for whatever it should not say */
	mr_test_hosts_await_words(&rig, 0, peers_request, "\"in_sync\":false", true);
	cr_expect_leq(mr_test_engine_number(rig.connections[1], "t", 0, "high_watermark"), 2 * FEW);
	cr_expect_eq(mr_test_hosts_stop(&rig, 1), -EIO);
	mr_test_hosts_start(&rig, 1);
	in_sync_again(3 * FEW);
}

Test(disks, a_follower_whose_write_fails, .init = setup, .fini = teardown)
{
	fails_for_good(MR_IO_FAULT_QUEUE_WRITE, MR_IO_FAULT_BEFORE);
}

Test(disks, a_follower_whose_flush_fails, .init = setup, .fini = teardown)
{
	fails_for_good(MR_IO_FAULT_QUEUE_WRITE, MR_IO_FAULT_AFTER);
}

Test(disks, a_follower_whose_checkpoint_fails, .init = setup, .fini = teardown)
{
	fails_for_good(MR_IO_FAULT_SYNC, MR_IO_FAULT_BEFORE);
}

/* Nobody goes on alone there: what is published waits, and people are told for what. */
Test(disks, both_are_needed_and_one_fails, .init = setup, .fini = teardown)
{
	struct mr_producer *producer;

	create(",\"min_insync_replicas\":2");
	publish(FEW);
	break_disk(MR_IO_FAULT_QUEUE_WRITE, MR_IO_FAULT_BEFORE, -EIO);
	producer = mr_test_hosts_producer(&rig, 0);
	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	both_say("failed", "failed");
	mr_test_hosts_await_words(&rig, 0, status_request,
				  "in sync, and cannot write to its disk: b", true);
	cr_expect_eq(mr_test_engine_number(rig.connections[0], "t", 0, "high_watermark"), FEW);
	mend_disk();
	cr_expect_eq(mr_test_hosts_stop(&rig, 1), -EIO);
	mr_test_hosts_start(&rig, 1);
	mr_test_hosts_close_producer(producer, FEW);
	in_sync_again(2 * FEW);
}

/* Until a producer waits: the follower took what it had room for. */
static uint64_t publish_until_full(struct mr_producer *producer)
{
	char value[VALUE_BYTES] = "";
	uint64_t count = 0;

	for (uint32_t waited = 0; waited < A_WHILE_MS;) {
		struct mr_record record = {
			.key_bytes = MR_NULL_BYTES, .value = value, .value_bytes = sizeof(value)};
		int r = mr_producer_put(producer, &record);

		cr_assert(r == 0 || r == -EAGAIN, "%d", r);
		count += r == 0;
		waited = r == 0 ? 0 : waited + 1;
		if (r < 0)
			(void)poll(NULL, 0, 1);
		cr_assert_lt(count, MANY, "the leader never waits for its follower");
	}
	return count;
}

/* Nobody starts it again, and what there was no room for comes by itself. */
Test(disks, a_follower_whose_disk_is_full, .init = setup, .fini = teardown)
{
	struct mr_producer *producer;
	uint64_t count;

	create(",\"min_insync_replicas\":1");
	break_disk(MR_IO_FAULT_ALLOCATE, MR_IO_FAULT_BEFORE, -ENOSPC);
	producer = mr_test_hosts_producer(&rig, 0);
	count = publish_until_full(producer);
	both_say("short", "No space left on device (a planned fault)");
	cr_expect_lt(mr_test_engine_number(rig.connections[1], "t", 0, "high_watermark"),
		     (int64_t)count);
	mr_test_hosts_go_on_alone(&rig, 0);
	mr_test_hosts_await_words(&rig, 0, peers_request, "is short of room on its disk", true);
	mr_test_hosts_close_producer(producer, count);
	mr_test_hosts_read(&rig, 0, (uint32_t)count);
	cr_expect_eq(mr_test_hosts_stop(&rig, 0), 0);
	mr_test_hosts_start(&rig, 0);
	both_say("short", "No space left on device (a planned fault)"); /* a new life hears it */
	mend_disk();
	in_sync_again((uint32_t)count);
	cr_expect_eq(mr_test_hosts_stop(&rig, 1), 0);
}
