/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer or a consumer on one host of a cluster that is tortured (replicas.py, which starts it
 * and reads what it says). Values prove themselves: writer, number in the partition, checksum.
 *
 *	torture-replica-client producer SOCKET TOPIC WRITER SEED REST_US
 *	torture-replica-client consumer SOCKET TOPIC
 *
 * A producer publishes with acks committed until SIGTERM (large records from SIGUSR1 to SIGUSR2),
 * flushes, and says on standard output
 *	receipt PARTITION FIRST COUNT OFFSET		OFFSET -1: in the log, place not known
 *	end FLUSHED PUBLISHED ACKNOWLEDGED LOST HAND_BACKS
 * A consumer says each record as it comes, and after SIGTERM ends when it has seen all
 *	seen PARTITION OFFSET WRITER NUMBER
 *	end LAG
 * What must not be is a line "fault ..."; it goes on then if it can. Exit code 0: it came to "end".
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "millrace.h"
#include "torture.h"

#define PATIENCE_MS    60000
#define FLUSH_MS       45000
#define RECEIPTS       64
#define VALUE_MOST     2000
#define BURST_MOST     16000 /* to fill a disk in a second */
#define PARTITIONS_MAX 64

static _Atomic int bursting; /* as below */
static _Atomic int stopping; /* lock-free: a handler may set it */

static void on_signal(int number)
{
	if (number == SIGTERM)
		stopping = 1;
	else
		bursting = number == SIGUSR1;
}

static struct mr_connection *connect_engine(const char *socket)
{
	struct mr_connect_options options = {
		.size = sizeof(options), .socket_path = socket, .client_name = "torture"};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_connection *connection = NULL;
	struct mr_error err = {0};

	while (mr_connect(&options, &connection, &err) < 0) {
		if (torture_now_us() > end_us) {
			printf("fault cannot connect: %s %s\n", err.what, err.why);
			exit(1);
		}
		torture_sleep_us(20000);
	}
	return connection;
}

/* ---- producer -------------------------------------------------------------------------------- */

struct writer {
	struct mr_producer *handle;
	struct torture_random random;
	uint32_t number;
	int32_t partitions;
	uint64_t next[PARTITIONS_MAX]; /* number of the next record there */
};

static struct mr_producer *open_producer(struct mr_connection *connection, const char *topic)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = topic,
		.partition = MR_PARTITION_BY_KEY,
		.acks = MR_ACKS_COMMITTED,
		.lane_bytes = 64u << 10,
	};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_producer *producer = NULL;
	struct mr_error err = {0};

	while (mr_producer_open(connection, &options, &producer, &err) < 0) {
		if (torture_now_us() > end_us) {
			printf("fault cannot open a producer: %s %s\n", err.what, err.why);
			exit(1);
		}
		torture_sleep_us(20000);
	}
	return producer;
}

static void tell_receipts(struct writer *writer)
{
	struct mr_receipt receipts[RECEIPTS];
	int count;

	do {
		count = mr_producer_receipts(writer->handle, receipts, RECEIPTS);
		for (int i = 0; i < count; i++)
			printf("receipt %d %" PRIu64 " %" PRIu64 " %" PRId64 "\n",
			       receipts[i].partition, receipts[i].first, receipts[i].count,
			       (int64_t)receipts[i].base_offset);
	} while (count == RECEIPTS);
	if (count < 0)
		printf("fault receipts: %s\n", strerror(-count));
	fflush(stdout);
}

/* False: the lane is closed. */
static bool publish_some(struct writer *writer)
{
	uint64_t count = 1 + torture_below(&writer->random, 6);
	static uint8_t value[BURST_MOST];
	struct mr_error err;

	while (count--) {
		uint64_t key = torture_random(&writer->random);
		int32_t partition = mr_partition_of_key(&key, sizeof(key), writer->partitions);
		uint32_t most = bursting			     ? BURST_MOST
				: torture_chance(&writer->random, 5) ? VALUE_MOST
								     : 200;
		uint32_t bytes =
			TORTURE_VALUE_LEAST +
			(uint32_t)torture_below(&writer->random, most - TORTURE_VALUE_LEAST);
		struct mr_record record = {.key = &key,
					   .key_bytes = sizeof(key),
					   .value = value,
					   .value_bytes = (int32_t)bytes,
					   .timestamp_ms = MR_TIMESTAMP_NOW};
		int r;

		torture_value_make(value, bytes, writer->number, writer->next[partition]);
		r = mr_producer_put(writer->handle, &record);
		if (r == 0)
			writer->next[partition]++;
		if (r == 0 || r == -EAGAIN)
			continue;
		mr_producer_error(writer->handle, &err);
		printf("fault put: %s: %s %s\n", strerror(-r), err.what, err.why);
		return false;
	}
	return true;
}

static int produce(char **words)
{
	struct writer writer = {.number = (uint32_t)strtoul(words[4], NULL, 10),
				.random = {.state = strtoull(words[5], NULL, 10)}};
	uint64_t rest_us = strtoull(words[6], NULL, 10);
	struct mr_connection *connection = connect_engine(words[2]);
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_consumer_options options = {.size = sizeof(options), .topic = words[3]};
	struct mr_consumer *looker = NULL;
	int flushed;

	writer.handle = open_producer(connection, words[3]);
	if (mr_consumer_open(connection, &options, &looker, NULL) < 0) {
		printf("fault cannot tell how many partitions there are\n");
		return 1;
	}
	writer.partitions = mr_consumer_partition_count(looker);
	mr_consumer_close(looker);
	if (writer.partitions > PARTITIONS_MAX)
		return 1;
	while (!stopping && publish_some(&writer)) {
		tell_receipts(&writer);
		torture_sleep_us(rest_us / 2 + torture_below(&writer.random, rest_us + 1));
	}
	flushed = mr_producer_flush(writer.handle, FLUSH_MS);
	tell_receipts(&writer);
	(void)mr_producer_state(writer.handle, &state); /* cannot fail on an open one */
	printf("end %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", flushed, state.published,
	       state.acknowledged, state.lost, state.hand_backs);
	fflush(stdout);
	(void)mr_producer_close(writer.handle, 1000); /* flush has told */
	mr_disconnect(connection);
	return 0;
}

/* ---- consumer -------------------------------------------------------------------------------- */

static struct mr_consumer *open_consumer(struct mr_connection *connection, const char *topic)
{
	struct mr_consumer_options options = {
		.size = sizeof(options), .topic = topic, .from = MR_FROM_EARLIEST};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_consumer *consumer = NULL;
	struct mr_error err = {0};

	while (mr_consumer_open(connection, &options, &consumer, &err) < 0) {
		if (torture_now_us() > end_us) {
			printf("fault cannot open a consumer: %s %s\n", err.what, err.why);
			exit(1);
		}
		torture_sleep_us(20000);
	}
	return consumer;
}

static void see(const struct mr_message *message)
{
	uint32_t writer = 0;
	uint64_t number = 0;

	if (!torture_value_read(message->value, (uint32_t)message->value_bytes, &writer, &number))
		printf("fault partition %d offset %" PRIu64 ": a value of %d bytes is broken\n",
		       message->partition, message->offset, message->value_bytes);
	else
		printf("seen %d %" PRIu64 " %u %" PRIu64 "\n", message->partition, message->offset,
		       writer, number);
}

/* UINT64_MAX: cannot be told. */
static uint64_t lag_of(struct mr_consumer *consumer)
{
	uint64_t lag = 0;

	for (int32_t i = 0; i < mr_consumer_partition_count(consumer); i++) {
		struct mr_consumer_position position = {.size = sizeof(position)};

		if (mr_consumer_position(consumer, i, &position) < 0)
			return UINT64_MAX;
		lag += position.lag;
	}
	return lag;
}

static int consume(char **words)
{
	struct mr_connection *connection = connect_engine(words[2]);
	struct mr_consumer *consumer = open_consumer(connection, words[3]);
	uint64_t end_us = 0;
	int faults = 0;

	while (!stopping || lag_of(consumer) > 0) {
		const struct mr_message *messages;
		int r = mr_consumer_poll(consumer, 50, &messages);
		struct mr_error err;

		for (int i = 0; i < r; i++)
			see(&messages[i]);
		fflush(stdout);
		if (r < 0) {
			mr_consumer_error(consumer, &err);
			printf("fault poll: %s: %s %s\n", strerror(-r), err.what, err.why);
			torture_sleep_us(100000);
			if (++faults > 50)
				return 1;
		}
		if (stopping && !end_us)
			end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
		if (stopping && torture_now_us() > end_us)
			break;
	}
	printf("end %" PRId64 "\n", (int64_t)lag_of(consumer));
	mr_consumer_close(consumer);
	mr_disconnect(connection);
	return 0;
}

int main(int count, char **words)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t all;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);	 /* never outlives the test */
	(void)sigaction(SIGTERM, &action, NULL); /* cannot fail with these arguments */
	(void)sigaction(SIGUSR1, &action, NULL);
	(void)sigaction(SIGUSR2, &action, NULL);
	(void)sigfillset(&all); /* who started it blocked them, so that none comes too early */
	(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
	if (count == 7 && strcmp(words[1], "producer") == 0)
		return produce(words);
	if (count == 4 && strcmp(words[1], "consumer") == 0)
		return consume(words);
	fprintf(stderr, "usage: torture-replica-client producer SOCKET TOPIC WRITER SEED REST_US\n"
			"       torture-replica-client consumer SOCKET TOPIC\n");
	return 2;
}
