/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a stored stretch (replay.h).
 */
#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "stop.h"

#define POLL_MS	    200u
#define PROGRESS_NS UINT64_C(500000000)

struct reading {
	struct mr_replay *replay;
	struct mr_consumer *consumer;
	uint64_t told_ns;
	bool told; /* a line of progress stands on the terminal */
};

static int open_consumer(struct mr_connection *connection, const struct mr_replay *replay,
			 struct mr_consumer **out, struct mr_error *err)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = replay->topic,
		.partitions = &replay->partition,
		.partition_count = 1,
		.from = replay->from,
		.from_value = replay->from_value,
	};

	return mr_consumer_open(connection, &options, out, err);
}

int mr_replay_partitions(struct mr_connection *connection, const char *topic, struct mr_error *err)
{
	struct mr_replay first = {.topic = topic, .from = MR_FROM_EARLIEST};
	struct mr_consumer *consumer;
	int r = open_consumer(connection, &first, &consumer, err);

	if (r < 0)
		return r;
	r = mr_consumer_partition_count(consumer);
	mr_consumer_close(consumer);
	return r;
}

static void tell(struct reading *reading, uint64_t at)
{
	const struct mr_replay *replay = reading->replay;
	uint64_t now = mr_clock_monotonic_ns(&mr_clock_system);
	uint64_t all = replay->end - replay->first;

	if (!isatty(STDERR_FILENO) || now - reading->told_ns < PROGRESS_NS || !all)
		return;
	reading->told_ns = now;
	reading->told = true;
	fprintf(stderr, "\r%s/%d: %" PRIu64 " of %" PRIu64 " records, %" PRIu64 " %% ",
		replay->topic, replay->partition, at - replay->first, all,
		100 * (at - replay->first) / all);
}

static int find_position(struct reading *reading, struct mr_consumer_position *position,
			 struct mr_error *err)
{
	int r;

	*position = (struct mr_consumer_position){.size = sizeof(*position)};
	r = mr_consumer_position(reading->consumer, reading->replay->partition, position);
	if (r < 0)
		mr_consumer_error(reading->consumer, err);
	return r;
}

/* Where it begins and ends, once the consumer knows. */
static int find_bounds(struct reading *reading, struct mr_error *err)
{
	struct mr_replay *replay = reading->replay;
	struct mr_consumer_position position;
	int r = find_position(reading, &position, err);

	if (r < 0)
		return r;
	replay->first = position.offset;
	replay->end = position.offset + position.lag;
	if (replay->to < replay->end)
		replay->end = replay->to;
	return 0;
}

/* One poll. 0, 1: the end is reached, or an error. */
static int turn(struct reading *reading, uint64_t *at, struct mr_error *err)
{
	struct mr_replay *replay = reading->replay;
	struct mr_consumer_position position;
	const struct mr_message *messages;
	int count = mr_consumer_poll(reading->consumer, POLL_MS, &messages);
	uint32_t wanted = 0;
	int r;

	if (count == -EINTR)
		return 0;
	if (count < 0) {
		mr_consumer_error(reading->consumer, err);
		return count;
	}
	while (wanted < (uint32_t)count && messages[wanted].offset < replay->end)
		wanted++;
	r = wanted ? replay->each(replay->arg, messages, wanted, err) : 0;
	if (r == 0) /* not the last record's: what comes behind it may be none for consumers */
		r = find_position(reading, &position, err);
	if (r < 0)
		return r;
	*at = position.offset < replay->end ? position.offset : replay->end;
	tell(reading, *at);
	return *at == replay->end;
}

int mr_replay_run(struct mr_replay *replay, struct mr_error *err)
{
	struct reading reading = {.replay = replay};
	uint64_t at;
	int r = open_consumer(replay->connection, replay, &reading.consumer, err);

	if (r < 0)
		return r;
	r = find_bounds(&reading, err);
	at = replay->first;
	if (r == 0 && at >= replay->end)
		r = 1;
	while (r == 0) {
		r = turn(&reading, &at, err);
		if (r == 0 && mr_stop_asked())
			r = mr_error_set(err, -EINTR, "stopped at offset %" PRIu64 " of %s/%d", at,
					 replay->topic, replay->partition);
	}
	if (reading.told)
		fprintf(stderr, "\r\033[K");
	mr_consumer_close(reading.consumer);
	return r < 0 ? r : 0;
}
