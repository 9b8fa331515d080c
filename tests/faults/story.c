/* SPDX-License-Identifier: Apache-2.0 */
/* One short life of an engine whose disk fails (story.h). */
#include "story.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interpose.h"

#define TOPIC	    "story"
#define PARTITIONS  2
#define BURST	    64
#define BURSTS	    6
#define VALUE_BYTES 1000
#define PATIENCE_MS 8000 /* nothing may take longer */
#define SLICE_MS    10	 /* then the engine's clock goes on by a second */

struct story {
	struct mr_test_engine rig;
	struct mr_io_fault_plan plan;
	struct mr_connection *connection;
	struct mr_producer *producers[PARTITIONS];
	uint64_t base[PARTITIONS];	   /* the log's end when its producer was opened */
	uint64_t published[PARTITIONS];	   /* the log's end when all of it is in it */
	uint64_t acknowledged[PARTITIONS]; /* the log's end as it was answered */
	uint64_t committed;		   /* the group's offset in partition 0, acknowledged */
	int32_t epoch;
	bool ended[PARTITIONS]; /* its producer was told that nothing more comes */
	bool start_failed;	/* the fault was spent on that */
	bool broken;
};

/* ---- saying what broke ----------------------------------------------------------------------- */

static void broke(struct story *story, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void broke(struct story *story, const char *format, ...)
{
	enum mr_io_fault_kind kind;
	char path[MR_IO_PATH_BYTES];
	va_list args;

	story->broken = true;
	kind = mr_io_fault_struck(story->rig.fault, path);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (%s %s '%s', N = %" PRIu64 ", %s)\n", story->rig.disk->facts.backend,
		mr_io_fault_kind_name(kind), path, story->plan.nth,
		story->plan.nth ? strerror(-story->plan.error) : "no fault planned");
}

static bool struck(struct story *story)
{
	return mr_io_fault_hits(story->rig.fault) > 0;
}

/* Whether what struck was a write or a flush of something that recovery needs: D3. */
static bool must_degrade(struct story *story)
{
	char path[MR_IO_PATH_BYTES];
	enum mr_io_fault_kind kind = mr_io_fault_struck(story->rig.fault, path);

	if (story->plan.error != -EIO || story->start_failed || strstr(path, ".index"))
		return false;
	return kind == MR_IO_FAULT_WRITE || kind == MR_IO_FAULT_SYNC ||
	       kind == MR_IO_FAULT_QUEUE_WRITE;
}

/* A full disk shows where space is asked for; a flush that fails is final whatever it says. */
static bool may_degrade(struct story *story)
{
	char path[MR_IO_PATH_BYTES];
	enum mr_io_fault_kind kind = mr_io_fault_struck(story->rig.fault, path);

	return story->plan.error == -EIO || kind == MR_IO_FAULT_SYNC ||
	       kind == MR_IO_FAULT_SYNC_DIRECTORY || kind == MR_IO_FAULT_QUEUE_WRITE;
}

static bool degraded(struct story *story)
{
	char state[320];

	mr_test_engine_text(story->connection, "state", state);
	return strcmp(state, "degraded") == 0;
}

/* A worker may know before the control thread says so. */
static bool soon_degraded(struct story *story)
{
	int waited;

	for (waited = 0; waited < 1000 && !degraded(story); waited++)
		(void)poll(NULL, 0, 1);
	return waited < 1000;
}

/* ---- the engine ------------------------------------------------------------------------------ */

/* A start that the fault ends says so, and the next one succeeds: the fault strikes once. */
static bool start(struct story *story)
{
	struct mr_error err = {0};
	int r = mr_test_engine_start(&story->rig, &err);

	if (r < 0) {
		story->start_failed = true;
		if (!struck(story))
			broke(story, "the start failed by itself: %s", err.what);
		else if (!err.what[0] || err.code != r)
			broke(story, "the failed start says nothing: %d, '%s'", r, err.what);
		memset(&err, 0, sizeof(err));
		r = mr_test_engine_start(&story->rig, &err);
		if (r < 0)
			broke(story, "the start after a failed one failed: %s", err.what);
	}
	return r == 0;
}

/* ---- producers ------------------------------------------------------------------------------- */

static int open_producer(struct story *story, int32_t partition)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = TOPIC,
		.partition = partition,
		.acks = partition ? MR_ACKS_DISK : MR_ACKS_COMMITTED,
		.lane_bytes = 64 << 10,
	};
	struct mr_error err = {0};
	int r, tries;

	for (tries = 0; tries < 3; tries++) {
		r = mr_producer_open(story->connection, &options, &story->producers[partition],
				     &err);
		if (r == 0) {
			story->base[partition] = story->published[partition];
			return 0;
		}
		if (!err.what[0])
			broke(story, "a producer was refused without a word: %d", r);
		if (!struck(story) || degraded(story))
			break;
		mr_test_engine_advance(&story->rig, 1000);
	}
	story->ended[partition] = true;
	if (!degraded(story))
		broke(story, "no producer: %d %s", r, err.what);
	return r;
}

static void note_acknowledged(struct story *story, int32_t partition)
{
	struct mr_producer_state state = {.size = sizeof(state)};

	(void)mr_producer_state(story->producers[partition], &state);
	if (story->base[partition] + state.acknowledged < story->acknowledged[partition])
		broke(story, "acknowledged went back");
	story->acknowledged[partition] = story->base[partition] + state.acknowledged;
	if (state.lost)
		broke(story, "%" PRIu64 " lost", state.lost);
}

/* A producer's error: only a failed data directory may end it, and it must say why. */
static void ended(struct story *story, int32_t partition, int r)
{
	struct mr_error err = {0};

	note_acknowledged(story, partition);
	story->ended[partition] = true;
	mr_producer_error(story->producers[partition], &err);
	if (r != -EPIPE)
		broke(story, "a producer got %d", r);
	else if (!err.what[0])
		broke(story, "a producer ended without a reason");
	if (!soon_degraded(story))
		broke(story, "a producer ended in a sound engine: %s", err.what);
}

/* The number of a record stands in its value. */
static void make_value(uint8_t value[VALUE_BYTES], uint64_t number)
{
	memset(value, (int)(number & 0xff), VALUE_BYTES);
	memcpy(value, &number, sizeof(number));
}

static bool put(struct story *story, int32_t partition)
{
	uint8_t value[VALUE_BYTES];
	struct mr_record record = {.value = value,
				   .value_bytes = VALUE_BYTES,
				   .key_bytes = MR_NULL_BYTES,
				   .timestamp_ms = MR_TIMESTAMP_NOW};
	int r, waited = 0;

	make_value(value, story->published[partition]);
	while ((r = mr_producer_put(story->producers[partition], &record)) == -EAGAIN) {
		(void)poll(NULL, 0, 1);
		if (++waited % SLICE_MS == 0)
			mr_test_engine_advance(&story->rig, 1000);
		if (waited > PATIENCE_MS) {
			broke(story, "a lane stays full");
			return false;
		}
	}
	if (r < 0)
		ended(story, partition, r);
	else
		story->published[partition]++;
	return r == 0;
}

static bool flush(struct story *story, int32_t partition)
{
	uint32_t waited = 0;
	int r;

	while ((r = mr_producer_flush(story->producers[partition], SLICE_MS)) == -ETIMEDOUT) {
		mr_test_engine_advance(&story->rig, 1000);
		waited += SLICE_MS;
		if (waited > PATIENCE_MS) {
			broke(story, "a flush never ends");
			return false;
		}
	}
	if (r < 0)
		ended(story, partition, r);
	else
		note_acknowledged(story, partition);
	if (r == 0 && story->acknowledged[partition] != story->published[partition])
		broke(story, "flushed, but not acknowledged");
	return r == 0;
}

static void publish(struct story *story, int32_t partition, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count && !story->ended[partition]; i++)
		if (!put(story, partition))
			return;
	if (!story->ended[partition])
		(void)flush(story, partition);
}

/* ---- consumers ------------------------------------------------------------------------------- */

static struct mr_consumer *open_consumer(struct story *story, int32_t partition, enum mr_from from)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = TOPIC,
		.partitions = &partition,
		.partition_count = 1,
		.from = from,
		.group = "readers",
	};
	struct mr_consumer *consumer = NULL;
	struct mr_error err = {0};
	int r, tries;

	for (tries = 0; tries < 3; tries++) {
		r = mr_consumer_open(story->connection, &options, &consumer, &err);
		if (r == 0)
			return consumer;
		if (!struck(story))
			break;
	}
	if (!degraded(story))
		broke(story, "no consumer: %d %s", r, err.what);
	return NULL;
}

static bool check_message(struct story *story, const struct mr_message *message, uint64_t expected)
{
	uint8_t value[VALUE_BYTES];

	make_value(value, message->offset);
	if (message->offset != expected || message->value_bytes != VALUE_BYTES ||
	    memcmp(message->value, value, VALUE_BYTES) != 0) {
		broke(story, "partition %d: expected record %" PRIu64 ", found %" PRIu64,
		      message->partition, expected, message->offset);
		return false;
	}
	if (message->leader_epoch > story->epoch)
		story->epoch = message->leader_epoch;
	return true;
}

/*
 * Who asked for the oldest record gets the one that is the oldest at the first read. What retention
 * let go of since the opening may be skipped; nothing else.
 */
static uint64_t skip_to(struct story *story, int32_t partition, uint64_t next, uint64_t found)
{
	int64_t start;

	if (found <= next)
		return next;
	start = mr_test_engine_number(story->connection, TOPIC, partition, "log_start_offset");
	return start >= 0 && (uint64_t)start < found ? next : found;
}

/* Reads partition's records up to 'end'; returns where it ended. */
static uint64_t read_to(struct story *story, struct mr_consumer *consumer, int32_t partition,
			uint64_t end)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	const struct mr_message *messages;
	int count, i, errors = 0;
	uint32_t waited = 0;
	uint64_t next;

	(void)mr_consumer_position(consumer, partition, &position);
	next = position.offset;
	while (next < end && waited < PATIENCE_MS) {
		count = mr_consumer_poll(consumer, SLICE_MS, &messages);
		if (count > 0 && next == position.offset)
			next = skip_to(story, partition, next, messages[0].offset);
		for (i = 0; i < count; i++)
			if (!check_message(story, &messages[i], next + (uint64_t)i))
				return next;
		if (count > 0)
			next = messages[count - 1].offset + 1;
		else if (count == 0)
			waited += SLICE_MS;
		else if (++errors > 3 || !struck(story))
			break;
	}
	return next;
}

/* Once more when retention passes a reader that has just begun. */
static void read_back(struct story *story, int32_t partition)
{
	struct mr_error err = {0};
	uint64_t end = 0;
	int tries;

	for (tries = 0; tries < 5; tries++) {
		struct mr_consumer *consumer = open_consumer(story, partition, MR_FROM_EARLIEST);

		if (!consumer)
			return;
		end = read_to(story, consumer, partition, story->acknowledged[partition]);
		mr_consumer_error(consumer, &err);
		mr_consumer_close(consumer);
		if (end >= story->acknowledged[partition])
			return;
		if (err.code != -ERANGE)
			break;
		(void)poll(NULL, 0, 5); /* the worker has yet to publish the new start */
	}
	if (!degraded(story))
		broke(story, "partition %d ends at %" PRIu64 ", acknowledged were %" PRIu64 ": %s",
		      partition, end, story->acknowledged[partition], err.what);
}

static void commit(struct story *story)
{
	struct mr_consumer *consumer = open_consumer(story, 0, MR_FROM_EARLIEST);
	struct mr_error err = {0};
	uint64_t end;
	int r = -EIO, tries;

	if (!consumer)
		return;
	end = read_to(story, consumer, 0, BURST / 2);
	for (tries = 0; tries < 3 && r < 0; tries++) {
		r = mr_consumer_commit(consumer, PATIENCE_MS);
		if (r < 0 && !struck(story))
			break;
	}
	mr_consumer_error(consumer, &err);
	if (r == 0)
		story->committed = end;
	else if (r == -ETIMEDOUT)
		broke(story, "a commit never ends");
	else if (!degraded(story))
		broke(story, "no commit: %d %s", r, err.what);
	mr_consumer_close(consumer);
}

/* ---- chapters -------------------------------------------------------------------------------- */

static void await_retention(struct story *story)
{
	uint32_t waited = 0;

	while (mr_test_engine_number(story->connection, TOPIC, 0, "log_start_offset") <= 0 &&
	       waited++ < PATIENCE_MS / 4 && !degraded(story)) {
		mr_test_engine_advance(&story->rig, 1000);
		(void)poll(NULL, 0, 1);
	}
	if (waited >= PATIENCE_MS / 4)
		broke(story, "retention never let go");
}

/* D3: nothing is acknowledged any more, anywhere, and everybody is told. */
static void check_degraded(struct story *story)
{
	uint64_t before;
	char reason[320];
	int32_t i;
	int tries;

	mr_test_engine_text(story->connection, "reason", reason);
	if (!reason[0])
		broke(story, "degraded without a reason");
	for (i = 0; i < PARTITIONS; i++) {
		if (!story->producers[i])
			continue;
		for (tries = 0; tries < 200 && !story->ended[i]; tries++)
			if (put(story, i))
				(void)poll(NULL, 0, 1);
		if (!story->ended[i])
			broke(story, "the producer of partition %d was never told", i);
		before = story->acknowledged[i];
		note_acknowledged(story, i);
		if (story->acknowledged[i] != before)
			broke(story, "acknowledged after the failure");
	}
}

static void live(struct story *story)
{
	int32_t i;
	int burst;

	story->connection = mr_test_engine_connect(&story->rig);
	for (i = 0; i < PARTITIONS; i++)
		(void)open_producer(story, i);
	for (burst = 0; burst < BURSTS; burst++) {
		if (!story->ended[0])
			publish(story, 0, BURST);
		if (!story->ended[1])
			publish(story, 1, BURST / 4);
		if (burst == 0)
			commit(story);
	}
	await_retention(story);
	read_back(story, 0);
	read_back(story, 1);
	if (must_degrade(story) && !soon_degraded(story))
		broke(story, "the engine goes on after a failed write or flush");
	if (!may_degrade(story) && degraded(story))
		broke(story, "degraded by what is no error of the disk");
	if (degraded(story))
		check_degraded(story);
}

static void finish(struct story *story)
{
	bool failed = degraded(story);
	int32_t i;
	int r;

	for (i = 0; i < PARTITIONS; i++) {
		if (story->producers[i])
			(void)mr_producer_close(story->producers[i],
						0); /* all was flushed, or never */
		story->producers[i] = NULL;
	}
	mr_disconnect(story->connection);
	story->connection = NULL;
	r = mr_test_engine_stop(&story->rig);
	if (failed && r != -EIO)
		broke(story, "a degraded engine ended with %d", r);
	if (!failed && r < 0 && r != -EIO) /* lanes may be left, of a disk that was full */
		broke(story, "an engine ended with %d", r);
	if (!failed && r == -EIO && !struck(story))
		broke(story, "a sound engine ended as degraded");
}

/* What the log holds: at least what was answered, as it was published. */
static void check_log(struct story *story, int32_t partition)
{
	int64_t end = mr_test_engine_number(story->connection, TOPIC, partition, "log_end_offset");

	if (end < 0 && !story->acknowledged[partition])
		return; /* there never was such a topic */
	if (end < (int64_t)story->acknowledged[partition])
		broke(story, "partition %d: %" PRIu64 " acknowledged, %" PRId64 " kept", partition,
		      story->acknowledged[partition], end);
	if (end > (int64_t)story->published[partition])
		broke(story, "partition %d: %" PRIu64 " published, %" PRId64 " kept", partition,
		      story->published[partition], end);
	story->published[partition] = (uint64_t)end;
	story->acknowledged[partition] = (uint64_t)end;
	read_back(story, partition);
}

static void check_group(struct story *story)
{
	struct mr_consumer_position position = {.size = sizeof(position)};
	struct mr_consumer *consumer;

	if (!story->committed)
		return;
	consumer = open_consumer(story, 0, MR_FROM_COMMITTED);
	if (!consumer)
		return;
	(void)mr_consumer_position(consumer, 0, &position);
	if (position.offset < story->committed)
		broke(story, "the group is at %" PRIu64 ", it had committed %" PRIu64,
		      position.offset, story->committed);
	mr_consumer_close(consumer);
}

/* The next start, on a good disk, has it all and takes more. */
static void verify(struct story *story)
{
	int32_t epoch = story->epoch, i;
	struct mr_error err = {0};
	char state[320];

	mr_io_fault_set(story->rig.fault, &(struct mr_io_fault_plan){0});
	if (mr_test_engine_start(&story->rig, &err) < 0) {
		broke(story, "the next start failed: %s", err.what);
		return;
	}
	story->connection = mr_test_engine_connect(&story->rig);
	mr_test_engine_text(story->connection, "state", state);
	if (strcmp(state, "ok") != 0)
		broke(story, "the next start is '%s'", state);
	for (i = 0; i < PARTITIONS; i++)
		check_log(story, i);
	check_group(story);
	for (i = 0; i < PARTITIONS; i++) {
		story->ended[i] = false;
		if (open_producer(story, i) == 0)
			publish(story, i, 1);
		read_back(story, i);
	}
	if (story->epoch <= epoch)
		broke(story, "the epoch is %d, it was %d", story->epoch, epoch);
}

static void begin(struct story *story, const char *backend)
{
	memset(story, 0, sizeof(*story));
	mr_test_engine_init(&story->rig, backend);
	story->rig.config.partitions = PARTITIONS;
	story->rig.config.retention_bytes = 128 << 10;
}

static enum story_end end(struct story *story, bool spared)
{
	if (story->connection)
		finish(story);
	mr_test_engine_deinit(&story->rig);
	if (story->broken)
		return STORY_BROKEN;
	return spared ? STORY_SPARED : STORY_STRUCK;
}

enum story_end story_tell(const char *backend, const struct mr_io_fault_plan *plan)
{
	struct story story;
	bool spared;

	begin(&story, backend);
	story.plan = *plan;
	mr_io_fault_set(story.rig.fault, plan);
	if (!start(&story))
		return STORY_BROKEN;
	live(&story);
	finish(&story);
	spared = !struck(&story);
	verify(&story);
	return end(&story, spared);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

/* Puts until the lane stays full: back pressure. */
static void fill(struct story *story)
{
	uint8_t value[VALUE_BYTES];
	struct mr_record record = {.value = value,
				   .value_bytes = VALUE_BYTES,
				   .key_bytes = MR_NULL_BYTES,
				   .timestamp_ms = MR_TIMESTAMP_NOW};
	uint32_t waited = 0, taken = 0;
	int r = 0;

	while (waited < 200 && taken < 20000 && (r == 0 || r == -EAGAIN)) {
		make_value(value, story->published[0]);
		r = mr_producer_put(story->producers[0], &record);
		if (r == 0) {
			story->published[0]++;
			taken++;
			waited = 0;
			continue;
		}
		(void)poll(NULL, 0, 1);
		if (++waited % SLICE_MS == 0)
			mr_test_engine_advance(&story->rig, 1000);
	}
	if (r != -EAGAIN)
		broke(story, "a full disk gave %d after %u records", r, taken);
	note_acknowledged(story, 0);
}

enum story_end story_full_disk(const char *backend, enum mr_io_fault_kind kind, bool stop)
{
	struct mr_io_fault_plan plan = {
		.kind = kind, .nth = 1, .error = -ENOSPC, .from_then_on = true};
	struct story story;
	struct mr_error err;

	begin(&story, backend);
	if (!start(&story))
		return STORY_BROKEN;
	story.connection = mr_test_engine_connect(&story.rig);
	(void)open_producer(&story, 0);
	publish(&story, 0, BURST);
	mr_io_fault_set(story.rig.fault, &plan);
	fill(&story);
	if (degraded(&story))
		broke(&story, "degraded by a full disk");
	read_back(&story, 0);
	if (stop && mr_test_engine_stop(&story.rig) < 0)
		broke(&story, "a full disk is no failed disk");
	mr_io_fault_set(story.rig.fault, &(struct mr_io_fault_plan){0});
	if (stop && mr_test_engine_start(&story.rig, &err) < 0)
		broke(&story, "the next start failed: %s", err.what);
	publish(&story, 0, BURST); /* all that waited is in the log when this returns */
	if (story.acknowledged[0] != story.published[0])
		broke(&story, "space is back, but not all was acknowledged");
	finish(&story);
	verify(&story);
	return end(&story, false);
}

/* ---- no memory ------------------------------------------------------------------------------- */

/* One that connects to this host, if it ever does: nothing but the start is at work. */
static void expect_peer(struct mr_config *config)
{
	config->peers = calloc(1, sizeof(*config->peers));
	if (!config->peers)
		abort();
	config->peer_count = 1;
	config->number = 1;
	config->insecure = true;
	snprintf(config->node, sizeof(config->node), "b");
	snprintf(config->cluster, sizeof(config->cluster), "story");
	snprintf(config->listen, sizeof(config->listen), "127.0.0.1:0");
	snprintf(config->peers[0].name, sizeof(config->peers[0].name), "a");
}

static enum story_end no_memory(const char *backend, uint64_t nth, bool peers)
{
	struct mr_error err = {0};
	struct story story;
	bool spared;
	int r;

	begin(&story, backend);
	story.connection = NULL;
	if (peers)
		expect_peer(&story.rig.config);
	if (!start(&story))
		return STORY_BROKEN;
	live(&story); /* so that there is something to recover */
	finish(&story);
	interpose_allocations(nth);
	r = mr_engine_open(&(struct mr_engine_options){.config = &story.rig.config,
						       .io = story.rig.disk,
						       .clock = &story.rig.clock},
			   &story.rig.engine, &err);
	spared = interpose_allocations(0) == 0;
	if (r < 0) {
		story.rig.engine = NULL;
		if (spared || !err.what[0])
			broke(&story, "a start failed with %d '%s', allocation %" PRIu64, r,
			      err.what, nth);
	} else {
		mr_engine_stop(story.rig.engine);
		(void)mr_engine_run(story.rig.engine); /* a partition without memory has failed */
		mr_engine_close(story.rig.engine);
		story.rig.engine = NULL;
	}
	verify(&story);
	return end(&story, spared);
}

enum story_end story_no_memory(const char *backend, uint64_t nth)
{
	return no_memory(backend, nth, false);
}

enum story_end story_no_memory_with_peers(const char *backend, uint64_t nth)
{
	return no_memory(backend, nth, true);
}

/* ---- short writes ---------------------------------------------------------------------------- */

enum story_end story_short_write(const char *backend, uint64_t nth, int error)
{
	struct story story;
	bool spared;

	begin(&story, backend);
	interpose_pwrite(nth, error);
	if (!start(&story))
		return STORY_BROKEN;
	live(&story);
	finish(&story);
	spared = interpose_pwrite(0, 0) == 0;
	verify(&story);
	return end(&story, spared);
}
