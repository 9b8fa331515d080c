/* SPDX-License-Identifier: Apache-2.0 */
/* Two engines inside a test (hosts_rig.h). The test's thread owns the rig. */
#include "hosts_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARTITIONS_MAX	64
#define VALUE_BYTES_MAX 4096
#define TRIES_MAX	(MR_TEST_HOSTS_PATIENCE / TRY_AGAIN_MS)
#define TRY_AGAIN_MS	20
#define STEP_MS		100 /* that the clocks go on in TRY_AGAIN_MS */

_Noreturn static void die(const char *what, const struct mr_error *err)
{
	fprintf(stderr, "hosts: %s%s%s\n", what, err ? ": " : "", err ? err->what : "");
	abort();
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

static void configure(struct mr_config *config, uint32_t number,
		      const uint16_t ports[MR_TEST_HOSTS])
{
	config->number = number;
	config->insecure = true;
	config->segment_bytes = 1 << 20; /* as a peer may ask for at least */
	snprintf(config->node, sizeof(config->node), "%c", 'a' + (int)number);
	snprintf(config->cluster, sizeof(config->cluster), "test");
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

void mr_test_hosts_init(struct mr_test_hosts *rig)
{
	uint16_t ports[MR_TEST_HOSTS];

	memset(rig, 0, sizeof(*rig));
	for (uint32_t i = 0; i < MR_TEST_HOSTS; i++)
		ports[i] = free_port();
	for (uint32_t i = 0; i < MR_TEST_HOSTS; i++) {
		mr_test_engine_init(&rig->hosts[i], "posix");
		configure(&rig->hosts[i].config, i, ports);
	}
}

void mr_test_hosts_deinit(struct mr_test_hosts *rig)
{
	for (uint32_t i = 0; i < MR_TEST_HOSTS; i++) {
		if (rig->connections[i])
			(void)mr_test_hosts_stop(rig, i); /* the test is over */
		mr_test_engine_deinit(&rig->hosts[i]);
	}
}

void mr_test_hosts_start(struct mr_test_hosts *rig, uint32_t number)
{
	struct mr_error err;

	if (mr_test_engine_start(&rig->hosts[number], &err) < 0)
		die("no start", &err);
	rig->connections[number] = mr_test_engine_connect(&rig->hosts[number]);
}

int mr_test_hosts_stop(struct mr_test_hosts *rig, uint32_t number)
{
	mr_disconnect(rig->connections[number]);
	rig->connections[number] = NULL;
	return mr_test_engine_stop(&rig->hosts[number]);
}

void mr_test_hosts_replace_disk(struct mr_test_hosts *rig, uint32_t number)
{
	struct mr_io *disk = rig->hosts[number].disk;
	struct mr_io_entry *entries = NULL;
	struct mr_error err;
	size_t count = 0;

	if (mr_io_list(disk, ".", &entries, &count, &err) < 0)
		die("no directory", &err);
	for (size_t i = 0; i < count; i++)
		if ((entries[i].is_directory ? mr_io_remove_tree(disk, entries[i].name, &err)
					     : mr_io_remove(disk, entries[i].name, &err)) < 0)
			die("it stays", &err);
	free(entries);
}

void mr_test_hosts_ask(struct mr_test_hosts *rig, uint32_t number, const char *request)
{
	struct mr_error err = {0};
	char *reply = NULL;

	for (uint32_t i = 0; i < TRIES_MAX && !reply; i++) {
		reply = mr_test_engine_ask(rig->connections[number], request, &err);
		if (!reply)
			(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	if (!reply)
		die(request, &err);
	free(reply);
}

void mr_test_hosts_await_words(struct mr_test_hosts *rig, uint32_t number, const char *request,
			       const char *words, bool held)
{
	struct mr_error err = {0};
	char *reply = NULL;

	for (uint32_t i = 0; i < TRIES_MAX; i++) {
		reply = mr_test_engine_ask(rig->connections[number], request, &err);
		if (reply && !strstr(reply, words) == !held) {
			free(reply);
			return;
		}
		if (i + 1 < TRIES_MAX)
			free(reply);
		(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	fprintf(stderr, "hosts: host %u still says %s\n", number, reply ? reply : err.what);
	die(words, NULL);
}

void mr_test_hosts_await_copy(struct mr_test_hosts *rig)
{
	static const char peers[] = "{\"do\":\"peers.describe\"}";

	mr_test_hosts_await_words(rig, 1, peers, "\"step\":\"fetches\"", true);
	mr_test_hosts_await_words(rig, 0, peers, "\"in_sync\":true", true);
}

void mr_test_hosts_go_on_alone(struct mr_test_hosts *rig, uint32_t number)
{
	char alone[16];
	bool is_alone = false;

	snprintf(alone, sizeof(alone), "\"isr\":[\"%c\"]", 'a' + (int)number);
	for (uint32_t i = 0; i < TRIES_MAX && !is_alone; i++) {
		char *reply;

		/* all of them, and slowly: who is heard of stays connected */
		for (uint32_t host = 0; host < MR_TEST_HOSTS; host++)
			mr_test_engine_advance(&rig->hosts[host], STEP_MS);
		(void)poll(NULL, 0, TRY_AGAIN_MS);
		reply = mr_test_engine_ask(rig->connections[number], "{\"do\":\"peers.describe\"}",
					   NULL);
		is_alone = reply && strstr(reply, alone);
		free(reply);
	}
	if (!is_alone)
		die("the follower never leaves", NULL);
}

void mr_test_hosts_await_sum(struct mr_test_hosts *rig, uint32_t number, const char *name,
			     int32_t partitions, int64_t wanted)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < TRIES_MAX; i++) {
		sum = 0;
		for (int32_t p = 0; p < partitions; p++)
			sum += mr_test_engine_number(rig->connections[number], "t", p, name);
		if (sum == wanted)
			return;
		(void)poll(NULL, 0, TRY_AGAIN_MS);
	}
	fprintf(stderr, "hosts: host %u: %s is %ld, not %ld\n", number, name, (long)sum,
		(long)wanted);
	die("records that never came", NULL);
}

/* ---- clients ---- */

struct mr_producer *mr_test_hosts_producer(struct mr_test_hosts *rig, uint32_t number)
{
	struct mr_producer_options options = {.size = sizeof(options), .topic = "t"};
	struct mr_producer *producer;
	struct mr_error err;

	if (mr_producer_open(rig->connections[number], &options, &producer, &err) < 0)
		die("no producer", &err);
	return producer;
}

void mr_test_hosts_publish(struct mr_producer *producer, uint32_t count, uint32_t value_bytes)
{
	char value[VALUE_BYTES_MAX] = "";

	for (uint32_t i = 0; i < count; i++) {
		struct mr_record record = {
			.key_bytes = MR_NULL_BYTES, .value = value, .value_bytes = value_bytes};
		uint32_t waited = 0;
		int r;

		while ((r = mr_producer_put(producer, &record)) == -EAGAIN &&
		       waited++ < MR_TEST_HOSTS_PATIENCE)
			(void)poll(NULL, 0, 1);
		if (r < 0)
			die("a record was not taken", NULL);
	}
}

void mr_test_hosts_close_producer(struct mr_producer *producer, uint64_t count)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_error err;

	if (mr_producer_flush(producer, MR_TEST_HOSTS_PATIENCE) < 0) {
		mr_producer_error(producer, &err);
		die("not all was committed", &err);
	}
	if (mr_producer_state(producer, &state) < 0 || state.acknowledged != count)
		die("not all was acknowledged", NULL);
	(void)mr_producer_close(producer, MR_TEST_HOSTS_PATIENCE); /* flush has told */
}

void mr_test_hosts_read(struct mr_test_hosts *rig, uint32_t number, uint32_t count)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = "t", .from = MR_FROM_EARLIEST};
	uint64_t next[PARTITIONS_MAX] = {0};
	struct mr_consumer *consumer;
	struct mr_error err;
	uint32_t seen = 0;

	if (mr_consumer_open(rig->connections[number], &options, &consumer, &err) < 0)
		die("no consumer", &err);
	while (seen < count) {
		const struct mr_message *messages;
		int r = mr_consumer_poll(consumer, MR_TEST_HOSTS_PATIENCE, &messages);

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
