/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producing half of millrace.h: a lane for each partition, all owned by the thread that opened
 * the producer. A record is written once, into the lane; what is not acknowledged stays there, so
 * nothing here buffers or resends. When the engine was restarted the connection's thread leaves the
 * next engine's page in the lane (client_lane.h), and the producing thread takes it at its next
 * call, or within SLICE_MS while it waits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "check.h"
#include "connection.h"
#include "deadline.h"
#include "doorbell.h"
#include "error.h"
#include "lane.h"
#include "owner.h"

/* At most between two looks while waiting: what a lost ring costs. */
#define SLICE_MS 50u
/* To tell the engine that lanes are closed, when the time-out is over. */
#define CLOSE_MS	 20u
#define LANE_BYTES_ROUND (1u << 31)

/* One partition's lane, and what its former engine pages said. */
struct lane {
	struct mr_lane_writer writer;
	struct mr_client_lane *shared;
	int bell_to_worker;
	int bell_to_client;
	int32_t partition;
	bool added;    /* the connection's thread knows it */
	bool dead;     /* no engine takes it again: shared->error */
	bool reserved; /* in producer->reserved */
	uint64_t lost; /* so far, as former engines and the hand-back said */
	uint64_t hand_backs;
	struct mr_receipt *saved; /* of former engines, not taken yet; MR_RECEIPTS at most */
	uint32_t saved_at;
	uint32_t saved_count;
};

/* The last error, as little as is needed to put it into words when somebody asks. */
struct trouble {
	int code;
	const struct lane *lane;
	const char *text;
};

struct mr_producer {
	struct mr_owner owner;
	struct mr_connection *connection;
	struct lane *lanes;
	struct lane **reserved; /* lanes with records reserved and not published */
	uint32_t lane_count;
	uint32_t reserved_count;
	uint32_t turn; /* lane of the records without a key in this publish */
	bool turn_used;
	uint32_t receipts_turn;
	uint32_t full_wait_ms;
	uint64_t full;
	struct trouble trouble;
	char topic[MR_TOPIC_NAME_MAX + 1];
};

static int fail(struct mr_producer *producer, int code, const struct lane *lane, const char *text)
{
	producer->trouble = (struct trouble){code, lane, text};
	return code;
}

/* ---- a lane and its engines
 * ---------------------------------------------------------------------- */

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* memory or a bell: nothing can be lost */
}

/* Receipts of the old page go with it: those that the program has not asked for are kept, as many
 * as fit. */
static void save_receipts(struct lane *lane)
{
	uint32_t left = lane->saved_count - lane->saved_at;

	if (!lane->saved)
		lane->saved = calloc(MR_RECEIPTS, sizeof(*lane->saved));
	if (!lane->saved)
		return; /* they become MR_OFFSET_UNKNOWN */
	memmove(lane->saved, lane->saved + lane->saved_at, left * sizeof(*lane->saved));
	lane->saved_at = 0;
	lane->saved_count = left + mr_lane_receipts(&lane->writer, lane->saved + left,
						    (uint32_t)MR_RECEIPTS - left);
}

/* All that the lane lost: an engine goes on counting where the one before it stopped. */
static uint64_t lost_now(const struct lane *lane)
{
	/* relaxed: a lone number, ordered with nothing */
	uint64_t lost = atomic_load_explicit(&lane->writer.engine->lost, memory_order_relaxed);

	return lost > lane->lost ? lost : lane->lost;
}

static void change_engine(struct lane *lane, struct mr_lane_swap *swap)
{
	struct mr_error err;
	const void *old;

	save_receipts(lane);
	lane->lost = lost_now(lane);
	if (mr_lane_writer_switch(&lane->writer, swap->engine_fd, &old, &err) < 0) {
		mr_client_lane_fail(lane->shared, &err);
		mr_lane_swap_free(swap);
		return;
	}
	(void)munmap((void *)old,
		     MR_LANE_ENGINE_BYTES); /* the connection's thread has a map of its own */
	close_fd(lane->bell_to_worker);
	close_fd(lane->bell_to_client);
	lane->bell_to_worker = swap->bell_to_worker;
	lane->bell_to_client = swap->bell_to_client;
	if (swap->lost > lane->lost)
		lane->lost = swap->lost;
	lane->hand_backs = swap->hand_backs;
	swap->bell_to_worker = -1;
	swap->bell_to_client = -1;
	mr_lane_swap_free(swap);
}

/* Takes what the connection's thread has left. -EPIPE: no engine will take the lane again. */
static int look(struct mr_producer *producer, struct lane *lane)
{
	if (__builtin_expect(mr_client_lane_news(lane->shared), 0)) {
		struct mr_lane_swap *swap = mr_client_lane_take(lane->shared);

		if (swap)
			change_engine(lane, swap);
		/* W13's partner as above: the sentence is whole */
		if (atomic_load_explicit(&lane->shared->failed, memory_order_acquire) < 0)
			lane->dead = true;
	}
	return lane->dead ? fail(producer, -EPIPE, lane, NULL) : 0;
}

/* Sleeps a slice, unless the engine's number moves from 'seen' or there are news. */
static void wait_for_engine(struct lane *lane, uint64_t seen, uint64_t deadline)
{
	mr_lane_set_waiting(&lane->writer, true);
	if (mr_lane_acknowledged(&lane->writer) == seen && !mr_client_lane_news(lane->shared))
		(void)mr_doorbell_wait(lane->bell_to_client,
				       mr_deadline_left_ms(deadline, SLICE_MS));
	mr_lane_set_waiting(&lane->writer, false);
}

static uint32_t publish_lane(struct mr_producer *producer, struct lane *lane)
{
	uint32_t count = mr_lane_publish(&lane->writer);
	bool asleep;

	/* relaxed: a number for a report */
	atomic_store_explicit(&lane->shared->published, lane->writer.published,
			      memory_order_relaxed);
	asleep =
		mr_lane_worker_sleeps(&lane->writer); /* it fences: news older than this are seen */
	if (__builtin_expect(mr_client_lane_news(lane->shared), 0)) {
		(void)look(producer, lane); /* the records are published; the next call tells */
		asleep = mr_lane_worker_sleeps(&lane->writer);
	}
	if (asleep)
		mr_doorbell_ring(lane->bell_to_worker);
	return count;
}

/* ---- open
 * ---------------------------------------------------------------------------------------- */

static int check_options(const struct mr_producer_options *given, struct mr_producer_options *out,
			 struct mr_error *err)
{
	memset(out, 0, sizeof(*out));
	if (!given || given->size > sizeof(*out))
		return mr_error_set(err, -EINVAL,
				    "struct mr_producer_options has %zu bytes, expected %zu",
				    given ? given->size : 0, sizeof(*out));
	memcpy(out, given, given->size);
	if (!out->topic || out->topic[0] == '\0' || strlen(out->topic) > MR_TOPIC_NAME_MAX)
		return mr_error_set(err, -EINVAL, "a producer needs a topic of 1 to %u characters",
				    MR_TOPIC_NAME_MAX);
	if (out->partition < MR_PARTITION_BY_KEY || out->partition >= MR_PARTITIONS_MAX)
		return mr_error_set(err, -ERANGE, "there is no partition %" PRId32, out->partition);
	if ((unsigned)out->acks > MR_ACKS_MEMORY)
		return mr_error_set(err, -EINVAL, "there is no acks level %d", (int)out->acks);
	if (out->lane_bytes > MR_LANE_BYTES_MAX)
		return mr_error_set(err, -EINVAL, "a lane has at most %u bytes, not %" PRIu32,
				    MR_LANE_BYTES_MAX, out->lane_bytes);
	return 0;
}

static uint32_t round_up(uint32_t bytes)
{
	uint32_t rounded = MR_LANE_BYTES_MIN;

	if (bytes == 0)
		return 0;
	while (rounded < bytes && rounded < LANE_BYTES_ROUND)
		rounded *= 2;
	return rounded;
}

static int open_topic(struct mr_connection *connection, const char *name,
		      struct mr_topic_reply *out, struct mr_error *err)
{
	struct mr_open_topic body = {.create = 1, .producer = 1};
	struct mr_packet reply;
	int r;

	memcpy(body.name, name, strlen(name) + 1);
	r = mr_connection_ask(connection, MR_MESSAGE_OPEN_TOPIC, &body, sizeof(body), sizeof(*out),
			      0, MR_DEADLINE_NEVER, &reply, err);
	if (r < 0)
		return r;
	memcpy(out, reply.body, sizeof(*out));
	if (out->partition_count < 1 || out->partition_count > MR_PARTITIONS_MAX)
		return mr_error_set(err, -EPROTO,
				    "the engine says that topic '%s' has %" PRId32 " partitions",
				    name, out->partition_count);
	return 0;
}

/* Maps the lane that came in 'reply' and takes its descriptors. */
static int map_lane(struct lane *lane, struct mr_packet *reply, struct mr_error *err)
{
	struct mr_client_lane *shared = mr_client_lane_new();
	struct mr_lane_reply said;

	if (!shared)
		return mr_error_set(err, -ENOMEM, "no memory for a lane");
	memcpy(&said, reply->body, sizeof(said));
	lane->shared = shared;
	shared->lane = said.lane;
	shared->client_fd = reply->fds[0];
	shared->engine_fd = reply->fds[1];
	lane->bell_to_worker = reply->fds[2];
	lane->bell_to_client = reply->fds[3];
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		reply->fds[i] = -1;
	return mr_lane_writer_open(shared->client_fd, shared->engine_fd, said.lane_bytes,
				   said.number, &lane->writer, err);
}

static int open_lane(struct mr_producer *producer, struct lane *lane,
		     const struct mr_open_lane *body, struct mr_error *err)
{
	struct mr_connection *connection = producer->connection;
	uint64_t generation = mr_connection_generation(connection);
	struct mr_lane_id id;
	struct mr_packet reply;
	int r = mr_connection_ask(connection, MR_MESSAGE_OPEN_LANE, body, sizeof(*body),
				  sizeof(struct mr_lane_reply), 4, MR_DEADLINE_NEVER, &reply, err);

	if (r < 0)
		return r;
	lane->partition = body->partition;
	r = map_lane(lane, &reply, err);
	mr_packet_close_fds(&reply);
	if (r < 0)
		return r;
	id.lane = lane->shared->lane;
	r = mr_connection_ask(connection, MR_MESSAGE_LANE_MAPPED, &id, sizeof(id), sizeof(id), 0,
			      MR_DEADLINE_NEVER, &reply, err);
	if (r < 0)
		return r;
	r = mr_connection_add_lane(connection, lane->shared, generation, err);
	lane->added = r == 0;
	return r;
}

static void close_lane(struct mr_producer *producer, struct lane *lane, uint64_t deadline)
{
	if (lane->writer.ring)
		mr_lane_writer_close(&lane->writer);
	if (lane->added)
		mr_connection_drop_lane(producer->connection, lane->shared, deadline);
	else
		mr_client_lane_free(lane->shared);
	close_fd(lane->bell_to_worker);
	close_fd(lane->bell_to_client);
	free(lane->saved);
}

static void free_producer(struct mr_producer *producer, uint64_t deadline)
{
	for (uint32_t i = 0; i < producer->lane_count; i++)
		close_lane(producer, &producer->lanes[i], deadline);
	free(producer->lanes);
	free(producer->reserved);
	free(producer);
}

static int alloc_lanes(struct mr_producer *producer, uint32_t count, struct mr_error *err)
{
	producer->lanes = calloc(count, sizeof(*producer->lanes));
	producer->reserved = calloc(count, sizeof(struct lane *));
	if (!producer->lanes || !producer->reserved)
		return mr_error_set(err, -ENOMEM, "no memory for %" PRIu32 " lanes", count);
	for (uint32_t i = 0; i < count; i++)
		producer->lanes[i].bell_to_worker = producer->lanes[i].bell_to_client = -1;
	producer->lane_count = count;
	return 0;
}

static int open_lanes(struct mr_producer *producer, const struct mr_producer_options *options,
		      struct mr_error *err)
{
	struct mr_topic_reply topic;
	struct mr_open_lane body;
	int r = open_topic(producer->connection, options->topic, &topic, err);

	if (r < 0)
		return r;
	if (options->partition >= topic.partition_count)
		return mr_error_set(err, -ERANGE,
				    "topic '%s' has no partition %" PRId32 ": it has %" PRId32,
				    options->topic, options->partition, topic.partition_count);
	r = alloc_lanes(producer, options->partition < 0 ? (uint32_t)topic.partition_count : 1,
			err);
	body = (struct mr_open_lane){
		.producer_id = topic.producer_id,
		.acks = (uint32_t)options->acks,
		.lane_bytes = round_up(options->lane_bytes),
	};
	memcpy(body.topic_id, topic.topic_id, sizeof(body.topic_id));
	for (uint32_t i = 0; r == 0 && i < producer->lane_count; i++) {
		body.partition = options->partition < 0 ? (int32_t)i : options->partition;
		r = open_lane(producer, &producer->lanes[i], &body, err);
	}
	return r;
}

static int try_open(struct mr_connection *connection, const struct mr_producer_options *options,
		    struct mr_producer **out, struct mr_error *err)
{
	struct mr_producer *producer = calloc(1, sizeof(*producer));
	int r;

	if (!producer)
		return mr_error_set(err, -ENOMEM, "no memory for a producer");
	producer->owner = mr_owner_me();
	producer->connection = connection;
	producer->full_wait_ms = options->full_wait_ms;
	memcpy(producer->topic, options->topic, strlen(options->topic) + 1);
	r = open_lanes(producer, options, err);
	if (r < 0) {
		free_producer(producer, mr_deadline_after(CLOSE_MS));
		return r;
	}
	*out = producer;
	return 0;
}

int mr_producer_open(struct mr_connection *connection, const struct mr_producer_options *options,
		     struct mr_producer **out, struct mr_error *err)
{
	uint64_t deadline = mr_connection_deadline(connection);
	struct mr_producer_options checked;
	uint64_t generation;
	int r = check_options(options, &checked, err);

	if (r < 0)
		return r;
	do { /* an engine that was restarted meanwhile is no reason to fail */
		generation = mr_connection_generation(connection);
		r = try_open(connection, &checked, out, err);
	} while (mr_connection_was_lost(connection, generation, r) &&
		 mr_connection_wait_next(connection, generation, deadline));
	return r;
}

/* ---- publish
 * ------------------------------------------------------------------------------------- */

static int check_headers(const struct mr_record *record)
{
	if (record->header_count > UINT16_MAX || !record->headers)
		return -EINVAL;
	for (uint32_t i = 0; i < record->header_count; i++) {
		const struct mr_header *header = &record->headers[i];

		if (header->name_bytes < 0 || header->value_bytes < MR_NULL_BYTES)
			return -EINVAL;
		if ((header->name_bytes > 0 && !header->name) ||
		    (header->value_bytes > 0 && !header->value))
			return -EINVAL;
	}
	return 0;
}

static int check_record(const struct mr_record *record)
{
	if (record->key_bytes < MR_NULL_BYTES || record->value_bytes < MR_NULL_BYTES)
		return -EINVAL;
	if ((record->key_bytes > 0 && !record->key) || record->reserved != 0)
		return -EINVAL;
	return record->header_count > 0 ? check_headers(record) : 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Records without a key go to one lane until something is published, then to the next. */
static struct lane *lane_of(struct mr_producer *producer, const void *key, int32_t key_bytes)
{
	if (producer->lane_count == 1)
		return &producer->lanes[0];
	if (key_bytes >= 0)
		return &producer->lanes[mr_partition_of_key(key, (size_t)key_bytes,
							    (int32_t)producer->lane_count)];
	producer->turn_used = true;
	return &producer->lanes[producer->turn];
}

static void end_turn(struct mr_producer *producer)
{
	if (producer->turn_used)
		producer->turn = (producer->turn + 1) % producer->lane_count;
	producer->turn_used = false;
}

static int told_by_lane(struct mr_producer *producer, struct lane *lane, int r)
{
	return r < 0 ? fail(producer, r, lane, NULL) : r;
}

/*
 * The lane had no room. Waits as long as the program allows, unless no acknowledgement could make
 * room: what fills the lane then is reserved and not published.
 */
static int reserve_when_free(struct mr_producer *producer, struct lane *lane,
			     const struct mr_record *record, uint32_t header_bytes, bool may_wait,
			     void **payload)
{
	uint64_t deadline = mr_deadline_after(producer->full_wait_ms);
	int r;

	producer->full++;
	if (producer->full_wait_ms == 0)
		may_wait = false;
	for (;;) {
		uint64_t seen = mr_lane_acknowledged(&lane->writer);

		r = look(producer, lane);
		if (r < 0)
			return r;
		r = mr_lane_reserve_any(&lane->writer, record, header_bytes, payload);
		if (r != -EAGAIN || !may_wait || seen == lane->writer.published)
			break;
		if (mr_deadline_over(deadline))
			break;
		wait_for_engine(lane, seen, deadline);
	}
	return told_by_lane(producer, lane, r);
}

static int reserve(struct mr_producer *producer, struct lane *lane, const struct mr_record *record,
		   uint32_t header_bytes, bool may_wait, void **payload)
{
	int r = look(producer, lane);

	if (r < 0)
		return r;
	r = mr_lane_reserve(&lane->writer, record, header_bytes, payload);
	if (r == -EAGAIN)
		return reserve_when_free(producer, lane, record, header_bytes, may_wait, payload);
	return told_by_lane(producer, lane, r);
}

/* Writes one whole record into its lane, unpublished. 'timestamp_ms': the clock, read once for a
 * run of records. */
static int write_record(struct mr_producer *producer, struct lane *lane,
			const struct mr_record *record, int64_t timestamp_ms, bool may_wait)
{
	struct mr_record stamped;
	size_t header_bytes = 0;
	uint8_t *at;
	void *payload;
	int r;

	if (record->timestamp_ms == MR_TIMESTAMP_NOW) {
		stamped = *record;
		stamped.timestamp_ms = timestamp_ms;
		record = &stamped;
	}
	if (record->header_count > 0)
		header_bytes = mr_headers_bytes(record->headers, record->header_count);
	if (header_bytes > INT32_MAX)
		return fail(producer, -EMSGSIZE, lane, NULL);
	r = reserve(producer, lane, record, (uint32_t)header_bytes, may_wait, &payload);
	if (r < 0)
		return r;
	at = payload;
	if (record->value_bytes > 0) {
		memcpy(at, record->value, (size_t)record->value_bytes);
		at += record->value_bytes;
	}
	if (header_bytes > 0)
		(void)mr_headers_encode(record->headers, record->header_count, at);
	return 0;
}

static void note_reserved(struct mr_producer *producer, struct lane *lane)
{
	if (lane->reserved)
		return;
	lane->reserved = true;
	producer->reserved[producer->reserved_count++] = lane;
}

static int publish_reserved(struct mr_producer *producer)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < producer->reserved_count; i++) {
		producer->reserved[i]->reserved = false;
		count += publish_lane(producer, producer->reserved[i]);
	}
	producer->reserved_count = 0;
	end_turn(producer);
	return (int)count;
}

int mr_producer_put_many(struct mr_producer *producer, const struct mr_record *records,
			 uint32_t count)
{
	int64_t timestamp_ms = 0;
	bool clock_read = false;
	int r = 0;
	uint32_t taken;

	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	if (producer->reserved_count > 0)
		return fail(producer, -EINVAL, NULL,
			    "records are reserved: publish or abandon them before putting others");
	if (count > INT32_MAX)
		count = INT32_MAX;
	for (taken = 0; taken < count; taken++) {
		const struct mr_record *record = &records[taken];
		struct lane *lane;

		r = check_record(record);
		if (r == 0 && record->value_bytes > 0 && !record->value)
			r = -EINVAL;
		if (r < 0) {
			fail(producer, r, NULL,
			     "a record's lengths, pointers or headers are nonsense");
			break;
		}
		if (!clock_read && record->timestamp_ms == MR_TIMESTAMP_NOW) {
			timestamp_ms = now_ms();
			clock_read = true;
		}
		lane = lane_of(producer, record->key, record->key_bytes);
		r = write_record(producer, lane, record, timestamp_ms, taken == 0);
		if (r < 0)
			break;
		note_reserved(producer, lane);
	}
	if (taken > 0)
		return publish_reserved(producer);
	return r;
}

int mr_producer_put(struct mr_producer *producer, const struct mr_record *record)
{
	int r = mr_producer_put_many(producer, record, 1);

	return r < 0 ? r : 0;
}

int mr_producer_reserve(struct mr_producer *producer, const void *key, int32_t key_bytes,
			uint32_t value_bytes, int64_t timestamp_ms, void **value)
{
	struct mr_record record = {
		.key = key,
		.key_bytes = key_bytes,
		.value_bytes = (int32_t)value_bytes,
		.timestamp_ms = timestamp_ms == MR_TIMESTAMP_NOW ? now_ms() : timestamp_ms,
	};
	struct lane *lane;
	int r;

	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	if (value_bytes > INT32_MAX)
		return fail(producer, -EMSGSIZE, &producer->lanes[0], NULL);
	if (check_record(&record) < 0)
		return fail(producer, -EINVAL, NULL, "the key's length or pointer is nonsense");
	lane = lane_of(producer, key, key_bytes);
	r = reserve(producer, lane, &record, 0, true, value);
	if (r < 0)
		return r;
	note_reserved(producer, lane);
	return 0;
}

int mr_producer_publish(struct mr_producer *producer)
{
	return mr_owner_is_me(&producer->owner) ? publish_reserved(producer) : -EPERM;
}

int mr_producer_abandon(struct mr_producer *producer)
{
	uint32_t count = 0;

	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	for (uint32_t i = 0; i < producer->reserved_count; i++) {
		producer->reserved[i]->reserved = false;
		count += mr_lane_abandon(&producer->reserved[i]->writer);
	}
	producer->reserved_count = 0;
	producer->turn_used = false;
	return (int)count;
}

/* ---- what became of them
 * ------------------------------------------------------------------------- */

int mr_producer_state(struct mr_producer *producer, struct mr_producer_state *state)
{
	struct mr_producer_state all = {.full = producer->full, .lane_bytes_free = UINT64_MAX};

	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	if (state->size < sizeof(state->size) || state->size > sizeof(all))
		return fail(producer, -EINVAL, NULL,
			    "struct mr_producer_state has a size that is unknown");
	for (uint32_t i = 0; i < producer->lane_count; i++) {
		struct lane *lane = &producer->lanes[i];
		uint32_t free_bytes;

		(void)look(producer, lane); /* a dead lane still has its numbers */
		free_bytes = mr_lane_free_bytes(&lane->writer);
		all.published += lane->writer.published;
		all.acknowledged += mr_lane_acknowledged(&lane->writer);
		all.lost += lost_now(lane);
		if (lane->hand_backs > all.hand_backs)
			all.hand_backs = lane->hand_backs;
		if (free_bytes < all.lane_bytes_free)
			all.lane_bytes_free = free_bytes;
	}
	all.size = state->size;
	memcpy(state, &all, state->size);
	return 0;
}

static uint32_t take_saved(struct lane *lane, struct mr_receipt *receipts, uint32_t max)
{
	uint32_t count = lane->saved_count - lane->saved_at;

	if (count > max)
		count = max;
	if (count > 0)
		memcpy(receipts, lane->saved + lane->saved_at, count * sizeof(*receipts));
	lane->saved_at += count;
	return count;
}

int mr_producer_receipts(struct mr_producer *producer, struct mr_receipt *receipts, uint32_t max)
{
	uint32_t count = 0;

	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	if (max > INT32_MAX)
		max = INT32_MAX;
	for (uint32_t i = 0; i < producer->lane_count && count < max; i++) {
		struct lane *lane = &producer->lanes[producer->receipts_turn];

		(void)look(producer, lane); /* a dead lane's receipts still count */
		count += take_saved(lane, receipts + count, max - count);
		if (count < max)
			count += mr_lane_receipts(&lane->writer, receipts + count, max - count);
		if (count < max)
			producer->receipts_turn =
				(producer->receipts_turn + 1) % producer->lane_count;
	}
	return (int)count;
}

static int flush_lane(struct mr_producer *producer, struct lane *lane, uint64_t deadline)
{
	for (;;) {
		char text[sizeof(((struct mr_lane_engine_page *)NULL)->reason_text)];
		int r = look(producer, lane);
		bool closed = mr_lane_reason(&lane->writer, text) != MR_LANE_OPEN;
		uint64_t seen =
			mr_lane_acknowledged(&lane->writer); /* after the reason: its last word */

		if (seen == lane->writer.published)
			return 0;
		if (r < 0 || closed)
			return fail(producer, -EPIPE, lane, NULL);
		if (mr_deadline_over(deadline))
			return fail(producer, -ETIMEDOUT, lane, NULL);
		wait_for_engine(lane, seen, deadline);
	}
}

static int flush(struct mr_producer *producer, uint64_t deadline)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < producer->lane_count; i++)
		r = flush_lane(producer, &producer->lanes[i], deadline);
	return r;
}

int mr_producer_flush(struct mr_producer *producer, uint32_t timeout_ms)
{
	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	return flush(producer, mr_deadline_after(timeout_ms));
}

int mr_producer_adopt(struct mr_producer *producer)
{
	if (!mr_owner_same_process(&producer->owner))
		return -EPERM;
	producer->owner = mr_owner_me();
	return 0;
}

int mr_producer_close(struct mr_producer *producer, uint32_t timeout_ms)
{
	uint64_t deadline = mr_deadline_after(timeout_ms);
	uint64_t at_least;
	int r;

	if (!producer)
		return 0;
	if (!mr_owner_is_me(&producer->owner))
		return -EPERM;
	(void)mr_producer_abandon(producer); /* what was only reserved never existed */
	r = flush(producer, deadline);
	at_least = mr_deadline_after(CLOSE_MS);
	free_producer(producer, deadline > at_least ? deadline : at_least);
	return r;
}

/* ---- words
 * --------------------------------------------------------------------------------------- */

static void tell_pipe(const struct mr_producer *producer, const struct lane *lane,
		      struct mr_error *err)
{
	char text[sizeof(((struct mr_lane_engine_page *)NULL)->reason_text)];

	if (lane->dead) {
		*err = lane->shared->error;
		mr_error_prefix(err,
				"the lane into '%s' partition %" PRId32 " was not taken back: ",
				producer->topic, lane->partition);
		err->code = -EPIPE;
		return;
	}
	(void)mr_lane_reason(&lane->writer, text); /* the text is what counts here */
	mr_error_set(err, -EPIPE, "the engine closed the lane into '%s' partition %" PRId32,
		     producer->topic, lane->partition);
	mr_error_why(err, "%.159s", text);
	mr_error_hint(err, "close the producer, mend the cause, and open it again");
}

static void tell_size(const struct mr_producer *producer, const struct lane *lane,
		      struct mr_error *err)
{
	mr_error_set(err, -EMSGSIZE,
		     "the record is larger than the %" PRIu32
		     " bytes that the lane into '%s' partition "
		     "%" PRId32 " can take",
		     lane->writer.record_bytes_max, producer->topic, lane->partition);
	mr_error_why(err,
		     "key, value and headers together are bound by topic and by half of the lane");
	mr_error_hint(err, "split it, or open the producer with more lane_bytes than %" PRIu32,
		      lane->writer.lane_bytes);
}

static void tell_full(const struct mr_producer *producer, const struct lane *lane,
		      struct mr_error *err)
{
	mr_error_set(err, -EAGAIN, "the lane into '%s' partition %" PRId32 " is full",
		     producer->topic, lane->partition);
	mr_error_why(err,
		     "%" PRIu64
		     " records in it are not acknowledged yet: disk or engine are behind",
		     lane->writer.published - mr_lane_acknowledged(&lane->writer));
	mr_error_hint(err,
		      "wait and try again, set full_wait_ms, or open it with more lane_bytes than "
		      "%" PRIu32,
		      lane->writer.lane_bytes);
}

static void tell_time(const struct mr_producer *producer, const struct lane *lane,
		      struct mr_error *err)
{
	mr_error_set(err, -ETIMEDOUT,
		     "%" PRIu64 " records for '%s' partition %" PRId32
		     " were not acknowledged in time",
		     lane->writer.published - mr_lane_acknowledged(&lane->writer), producer->topic,
		     lane->partition);
	if (mr_connection_is_up(producer->connection))
		mr_error_why(err, "the engine is there, but its disk or a replica is behind");
	else
		mr_error_why(err, "there is no engine at the moment");
	mr_error_hint(err, "they stay in the lane: flush again");
}

void mr_producer_error(struct mr_producer *producer, struct mr_error *err)
{
	const struct trouble *trouble = &producer->trouble;

	if (!err)
		return;
	memset(err, 0, sizeof(*err));
	if (!mr_owner_is_me(&producer->owner)) {
		mr_error_set(err, -EPERM, "the producer belongs to another thread or process");
		mr_error_hint(err, "open one in each thread, or adopt it; a child connects anew");
	} else if (trouble->text) {
		mr_error_set(err, trouble->code, "%s", trouble->text);
	} else if (trouble->code == -EPIPE) {
		tell_pipe(producer, trouble->lane, err);
	} else if (trouble->code == -EMSGSIZE) {
		tell_size(producer, trouble->lane, err);
	} else if (trouble->code == -EAGAIN) {
		tell_full(producer, trouble->lane, err);
	} else if (trouble->code == -ETIMEDOUT) {
		tell_time(producer, trouble->lane, err);
	}
}
