/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two whole engines in one process, with workers, feeds and catch-up readers over loopback, for
 * ThreadSanitizer: what is published on the host that does not lead is committed by the one that
 * does, and read on both; a host that was away for longer than the leader's tail reaches back gets
 * it from the leader's segments; leadership moves while producers publish on both.
 */
#include <stdio.h>
#include <stdlib.h>

#include "hosts_rig.h"

#define PARTITIONS  2
#define FEW	    400u
#define MANY	    3000u /* more than the tails hold */
#define VALUE_BYTES 400u
#define LAG_MS	    11000 /* nobody waits longer for a follower */

static struct mr_test_hosts rig;

static void stop(uint32_t number)
{
	if (mr_test_hosts_stop(&rig, number) == 0)
		return;
	fprintf(stderr, "hosts: an engine ended badly\n");
	exit(1);
}

/* Until that many are committed, as this host knows. */
static void await_end(uint32_t number, int64_t records)
{
	mr_test_hosts_await_sum(&rig, number, "high_watermark", PARTITIONS, records);
}

static void forwarded(uint32_t *total)
{
	struct mr_producer *producer = mr_test_hosts_producer(&rig, 1);

	mr_test_hosts_publish(producer, FEW, VALUE_BYTES);
	mr_test_hosts_close_producer(producer, FEW);
	*total += FEW;
	await_end(0, *total);
	await_end(1, *total);
	mr_test_hosts_read(&rig, 1, *total);
}

static void away_for_long(uint32_t *total)
{
	struct mr_producer *producer = mr_test_hosts_producer(&rig, 0);

	stop(1);
	mr_test_engine_advance(&rig.hosts[0], LAG_MS); /* it goes on alone */
	mr_test_hosts_publish(producer, MANY, VALUE_BYTES);
	mr_test_hosts_close_producer(producer, MANY);
	*total += MANY;
	mr_test_hosts_start(&rig, 1);
	await_end(1, *total);
	mr_test_hosts_read(&rig, 1, *total);
}

static void leadership_moves(uint32_t *total)
{
	struct mr_producer *one = mr_test_hosts_producer(&rig, 0);
	struct mr_producer *two = mr_test_hosts_producer(&rig, 1);

	mr_test_hosts_publish(one, FEW, VALUE_BYTES);
	mr_test_hosts_publish(two, FEW, VALUE_BYTES);
	for (int32_t p = 0; p < PARTITIONS; p++) {
		char request[128];

		snprintf(request, sizeof(request),
			 "{\"do\":\"promote\",\"name\":\"t\",\"partition\":%d,\"to\":\"b\"}", p);
		mr_test_hosts_ask(&rig, 0, request);
	}
	mr_test_hosts_publish(one, FEW, VALUE_BYTES);
	mr_test_hosts_publish(two, FEW, VALUE_BYTES);
	mr_test_hosts_close_producer(one, 2 * FEW);
	mr_test_hosts_close_producer(two, 2 * FEW);
	*total += 4 * FEW;
	await_end(0, *total);
	mr_test_hosts_read(&rig, 0, *total);
}

int main(void)
{
	uint32_t total = 0;

	mr_test_hosts_init(&rig);
	for (uint32_t i = 0; i < MR_TEST_HOSTS; i++)
		mr_test_hosts_start(&rig, i);
	mr_test_hosts_ask(&rig, 0,
			  "{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":2,\"replicas\":2,"
			  "\"min_insync_replicas\":1,\"leaders\":\"a\"}");
	await_end(1, 0);
	forwarded(&total);
	away_for_long(&total);
	leadership_moves(&total);
	for (uint32_t i = 0; i < MR_TEST_HOSTS; i++)
		stop(i);
	mr_test_hosts_deinit(&rig);
	printf("%u records on both hosts\n", total);
	return 0;
}
