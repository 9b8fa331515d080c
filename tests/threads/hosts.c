/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two whole engines in one process, with workers, feeds and catch-up readers over loopback, for
 * ThreadSanitizer: what is published on the host that does not lead is committed by the one that
 * does, and read on both; a host that was away for longer than the leader's tail reaches back gets
 * it from the leader's segments; leadership moves while producers publish on both.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_rig.h"

#define PARTITIONS   2
#define FEW	     400u
#define MANY	     3000u /* more than the tails hold */
#define VALUE_BYTES  400u
#define PATIENCE_MS  60000u
#define HOSTS	     2u
#define TRIES_MAX    300u
#define TRY_AGAIN_MS 100
#define LAG_MS	     11000 /* nobody waits longer for a follower */

static struct mr_test_engine hosts[HOSTS];
static struct mr_connection *connections[HOSTS];

static void die(const char *what, const struct mr_error *err)
{
	fprintf(stderr, "hosts: %s%s%s\n", what, err ? ": " : "", err ? err->what : "");
	exit(1);
}

/* ---- the hosts ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, bytes) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &bytes) < 0)
		die("no free port", NULL);
	(void)close(fd); /* for the engine, which takes it in a moment */
	return ntohs(at.sin_port);
}

static void configure(struct mr_config *config, uint32_t number, const uint16_t ports[HOSTS])
{
	config->number = number;
	config->insecure = true;
	config->segment_bytes = 1 << 20; /* as a peer may ask for at least */
	snprintf(config->node, sizeof(config->node), "%c", 'a' + (int)number);
	snprintf(config->cluster, sizeof(config->cluster), "threads");
	snprintf(config->listen, sizeof(config->listen), "127.0.0.1:%u", ports[number]);
	config->peers = calloc(1, sizeof(*config->peers));
	if (!config->peers)
		die("no memory", NULL);
	config->peer_count = 1;
	config->peers[0].number = !number;
	snprintf(config->peers[0].name, sizeof(config->peers[0].name), "%c", 'a' + !number);
	snprintf(config->peers[0].address, sizeof(config->peers[0].address), "127.0.0.1:%u",
		 ports[!number]);
}

static void start(uint32_t number)
{
	struct mr_error err;

	if (mr_test_engine_start(&hosts[number], &err) < 0)
		die("no start", &err);
	connections[number] = mr_test_engine_connect(&hosts[number]);
}

static void stop(uint32_t number)
{
	mr_disconnect(connections[number]);
	if (mr_test_engine_stop(&hosts[number]) != 0)
		die("an engine ended badly", NULL);
}

/* Until it is done: registers and connections take a moment. */
static void ask(uint32_t number, const char *request)
{
	struct mr_error err = {0};
	char *reply = NULL;

	for (uint32_t i = 0; i < TRIES_MAX && !reply; i++) {
		reply = mr_test_engine_ask(connections[number], request, &err);
		if (!reply)
			(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	if (!reply)
		die(request, &err);
	free(reply);
}

/* Until that many are committed, as this host knows. */
static void await_end(uint32_t number, int64_t records)
{
	for (uint32_t i = 0; i < PATIENCE_MS / TRY_AGAIN_MS; i++) {
		int64_t sum = 0;

		for (int32_t p = 0; p < PARTITIONS; p++)
			sum += mr_test_engine_number(connections[number], "t", p, "high_watermark");
		if (sum == records)
			return;
		(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	die("records that never came", NULL);
}

/* ---- clients ---- */

static struct mr_producer *open_producer(uint32_t number)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = "t"};
	struct mr_producer *producer;
	struct mr_error err;

	if (mr_producer_open(connections[number], &options, &producer, &err) < 0)
		die("no producer", &err);
	return producer;
}

/* Into both partitions: they have no key. */
static void publish(struct mr_producer *producer, uint32_t count)
{
	char value[VALUE_BYTES] = "";

	for (uint32_t i = 0; i < count; i++) {
		struct mr_record record = {
			.key_bytes = MR_NULL_BYTES, .value = value, .value_bytes = sizeof(value)};
		uint32_t waited = 0;
		int r;

		while ((r = mr_producer_put(producer, &record)) == -EAGAIN &&
		       waited++ < PATIENCE_MS)
			(void)poll(NULL, 0, 1);
		if (r < 0)
			die("a record was not taken", NULL);
	}
}

static void close_producer(struct mr_producer *producer, uint64_t count)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_error err;

	if (mr_producer_flush(producer, PATIENCE_MS) < 0) {
		mr_producer_error(producer, &err);
		die("not all was committed", &err);
	}
	if (mr_producer_state(producer, &state) < 0 || state.acknowledged != count)
		die("not all was acknowledged", NULL);
	(void)mr_producer_close(producer, PATIENCE_MS); /* flush has told */
}

static void read_all(uint32_t number, uint32_t count)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = "t", .from = MR_FROM_EARLIEST};
	uint64_t next[PARTITIONS] = {0};
	struct mr_consumer *consumer;
	struct mr_error err;
	uint32_t seen = 0;

	if (mr_consumer_open(connections[number], &options, &consumer, &err) < 0)
		die("no consumer", &err);
	while (seen < count) {
		const struct mr_message *messages;
		int r = mr_consumer_poll(consumer, PATIENCE_MS, &messages);

		if (r <= 0)
			die("a consumer waits in vain", NULL);
		for (int i = 0; i < r; i++)
			if (messages[i].offset != next[messages[i].partition]++)
				die("an offset was left out", NULL);
		seen += (uint32_t)r;
	}
	if (seen != count)
		die("more records than were published", NULL);
	mr_consumer_close(consumer);
}

/* ---- the story ---- */

static void forwarded(uint32_t *total)
{
	struct mr_producer *producer = open_producer(1);

	publish(producer, FEW);
	close_producer(producer, FEW);
	*total += FEW;
	await_end(0, *total);
	await_end(1, *total);
	read_all(1, *total);
}

static void away_for_long(uint32_t *total)
{
	struct mr_producer *producer = open_producer(0);

	stop(1);
	mr_test_engine_advance(&hosts[0], LAG_MS); /* it goes on alone */
	publish(producer, MANY);
	close_producer(producer, MANY);
	*total += MANY;
	start(1);
	await_end(1, *total);
	read_all(1, *total);
}

static void leadership_moves(uint32_t *total)
{
	struct mr_producer *one = open_producer(0), *two = open_producer(1);

	publish(one, FEW);
	publish(two, FEW);
	for (int32_t p = 0; p < PARTITIONS; p++) {
		char request[128];

		snprintf(request, sizeof(request),
			 "{\"do\":\"promote\",\"name\":\"t\",\"partition\":%d,\"to\":\"b\"}", p);
		ask(0, request);
	}
	publish(one, FEW);
	publish(two, FEW);
	close_producer(one, 2 * FEW);
	close_producer(two, 2 * FEW);
	*total += 4 * FEW;
	await_end(0, *total);
	read_all(0, *total);
}

int main(void)
{
	uint16_t ports[HOSTS];
	uint32_t total = 0;

	for (uint32_t i = 0; i < HOSTS; i++)
		ports[i] = free_port();
	for (uint32_t i = 0; i < HOSTS; i++) {
		mr_test_engine_init(&hosts[i], "posix");
		configure(&hosts[i].config, i, ports);
		start(i);
	}
	ask(0, "{\"do\":\"topic.create\",\"name\":\"t\",\"partitions\":2,\"replicas\":2,"
	       "\"min_insync_replicas\":1,\"leaders\":\"a\"}");
	await_end(1, 0);
	forwarded(&total);
	away_for_long(&total);
	leadership_moves(&total);
	for (uint32_t i = 0; i < HOSTS; i++) {
		stop(i);
		mr_test_engine_deinit(&hosts[i]);
	}
	printf("%u records on both hosts\n", total);
	return 0;
}
