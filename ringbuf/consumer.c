/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consuming half of millrace.h: a source (source.h) for each partition, a page to sleep on, and
 * a buffer of messages, all owned by the thread that opened the consumer. The engine holds nothing
 * for it: a consumer that is too slow for the tail reads files. When the engine was restarted
 * (another generation of the connection) or gave a tail up, the next poll attaches again and goes
 * on at the next offset; until then it reads what is in the old memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "connection.h"
#include "consumer.h"
#include "deadline.h"
#include "doorbell.h"
#include "error.h"
#include "owner.h"
#include "region.h"
#include "source.h"

#define SLICE_MS 100u /* at most between two looks while waiting: a lost ring costs this */
#define ATTACH_MS                                                                                  \
	250u /* least time for a conversation in a poll, or none would ever get through            \
	      */
#define TRY_MS		5u  /* between two tries to attach to an engine that is there */
#define CLOSE_MS	20u /* for telling the engine that nobody reads any more */
#define GENERATION_NONE 0   /* engines count from 1 */

struct mr_consumer {
	struct mr_owner owner;
	struct mr_connection *connection;
	struct mr_reading reading;
	struct mr_source *sources;
	uint32_t source_count;
	uint32_t turn; /* which source is asked first, so that each gets its share */
	int32_t partition_count;
	uint64_t generation; /* of the engine that 'wait' and the sources are attached to */
	struct mr_wait_page *wait;
	int bell;
	uint64_t wait_id;
	struct mr_source *held; /* whose messages are out in place */
	struct mr_error error;
	char topic[MR_TOPIC_NAME_MAX + 1];
	char group[MR_GROUP_NAME_MAX + 1];
};

/* ---- attaching to an engine
 * ---------------------------------------------------------------------- */

static void close_wait(struct mr_consumer *consumer)
{
	if (consumer->wait)
		(void)munmap(consumer->wait, MR_PAGE_BYTES); /* our own map */
	if (consumer->bell >= 0)
		(void)close(consumer->bell); /* a bell */
	consumer->wait = NULL;
	consumer->bell = -1;
}

static int map_wait(struct mr_consumer *consumer, struct mr_packet *reply, struct mr_error *err)
{
	struct mr_wait_id said;
	struct mr_wait_page *page;
	void *map;
	int r = mr_region_check(reply->fds[0], MR_PAGE_BYTES, false, err);

	if (r < 0)
		return r;
	r = mr_region_map(reply->fds[0], 0, MR_PAGE_BYTES, true, &map, err);
	if (r < 0)
		return r;
	memcpy(&said, reply->body, sizeof(said));
	page = map;
	page->magic = MR_WAIT_MAGIC;
	page->version = MR_FORMAT_VERSION;
	close_wait(consumer);
	consumer->wait = page;
	consumer->bell = reply->fds[1];
	consumer->wait_id = said.wait;
	reply->fds[1] = -1;
	return 0;
}

static int open_wait(struct mr_consumer *consumer, uint64_t deadline, struct mr_error *err)
{
	struct mr_wait_id id;
	struct mr_packet reply;
	int r = mr_connection_ask(consumer->connection, MR_MESSAGE_OPEN_WAIT, NULL, 0, sizeof(id),
				  2, deadline, &reply, err);

	if (r < 0)
		return r;
	r = map_wait(consumer, &reply, err);
	mr_packet_close_fds(&reply);
	if (r < 0)
		return r;
	id.wait = consumer->wait_id;
	return mr_connection_ask(consumer->connection, MR_MESSAGE_WAIT_MAPPED, &id, sizeof(id),
				 sizeof(id), 0, deadline, &reply, err);
}

/* Makes wait page and tails those of the engine that is there now. -EPIPE, -ETIMEDOUT: not at the
 * moment. */
static int attach(struct mr_consumer *consumer, uint64_t deadline, struct mr_error *err)
{
	uint64_t generation = mr_connection_generation(consumer->connection);
	struct mr_tail_reply reply;
	int r;

	if (consumer->generation != generation) {
		r = open_wait(consumer, deadline, err);
		if (r < 0)
			return r;
		consumer->generation = generation;
		for (uint32_t i = 0; i < consumer->source_count; i++)
			consumer->sources[i].attached = false;
	}
	for (uint32_t i = 0; i < consumer->source_count; i++) {
		struct mr_source *source = &consumer->sources[i];

		if (source->attached && !mr_source_is_closed(source))
			continue;
		r = mr_source_attach(source, &consumer->reading, consumer->wait_id, deadline,
				     &reply, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool needs_attach(const struct mr_consumer *consumer)
{
	if (consumer->generation != mr_connection_generation(consumer->connection))
		return true;
	for (uint32_t i = 0; i < consumer->source_count; i++)
		if (!consumer->sources[i].attached || mr_source_is_closed(&consumer->sources[i]))
			return true;
	return false;
}

/* Before a read. 0, also when there is no engine just now; or a negative errno that a person must
 * mend. */
static int attach_again(struct mr_consumer *consumer, uint64_t deadline)
{
	uint64_t generation = mr_connection_generation(consumer->connection);
	uint64_t at_least;
	int r;

	if (!needs_attach(consumer) || !mr_connection_is_up(consumer->connection))
		return 0;
	at_least = mr_deadline_after(ATTACH_MS);
	r = attach(consumer, deadline > at_least ? deadline : at_least, &consumer->error);
	if (r == -ETIMEDOUT || r == -EAGAIN ||
	    mr_connection_was_lost(consumer->connection, generation, r))
		return 0; /* a try that two engines answered says nothing */
	if (r == -ENOENT) {
		mr_error_prefix(&consumer->error, "topic '%s' is gone: ", consumer->topic);
		consumer->error.code = -EPIPE;
		return -EPIPE;
	}
	return r;
}

/* ---- open
 * ---------------------------------------------------------------------------------------- */

static int check_options(const struct mr_consumer_options *given, struct mr_consumer_options *out,
			 struct mr_error *err)
{
	memset(out, 0, sizeof(*out));
	if (!given || given->size > sizeof(*out))
		return mr_error_set(err, -EINVAL,
				    "struct mr_consumer_options has %zu bytes, expected %zu",
				    given ? given->size : 0, sizeof(*out));
	memcpy(out, given, given->size);
	if (!out->topic || out->topic[0] == '\0' || strlen(out->topic) > MR_TOPIC_NAME_MAX)
		return mr_error_set(err, -EINVAL, "a consumer needs a topic of 1 to %u characters",
				    MR_TOPIC_NAME_MAX);
	if (out->group && (out->group[0] == '\0' || strlen(out->group) > MR_GROUP_NAME_MAX))
		return mr_error_set(err, -EINVAL, "a group's name has 1 to %u characters",
				    MR_GROUP_NAME_MAX);
	if ((unsigned)out->from > MR_FROM_COMMITTED || (unsigned)out->view > MR_VIEW_APPENDED)
		return mr_error_set(err, -EINVAL, "there is no beginning %d or no view %d",
				    (int)out->from, (int)out->view);
	if (out->from == MR_FROM_OFFSET && out->from_value < 0)
		return mr_error_set(err, -EINVAL, "offset %" PRId64 " cannot be", out->from_value);
	if (out->from == MR_FROM_COMMITTED && !out->group)
		return mr_error_set(err, -EINVAL,
				    "to begin at the committed offset a group is needed");
	if (out->partitions && out->partition_count == 0)
		return mr_error_set(err, -EINVAL, "a list of no partitions was given");
	return 0;
}

static int open_topic(struct mr_consumer *consumer, struct mr_error *err)
{
	struct mr_open_topic body = {.create = 0, .producer = 0};
	struct mr_topic_reply topic;
	struct mr_packet reply;
	int r;

	memcpy(body.name, consumer->topic, sizeof(consumer->topic));
	r = mr_connection_ask(consumer->connection, MR_MESSAGE_OPEN_TOPIC, &body, sizeof(body),
			      sizeof(topic), 0, MR_DEADLINE_NEVER, &reply, err);
	if (r < 0)
		return r;
	memcpy(&topic, reply.body, sizeof(topic));
	if (topic.partition_count < 1 || topic.partition_count > MR_PARTITIONS_MAX)
		return mr_error_set(err, -EPROTO,
				    "the engine says that topic '%s' has %" PRId32 " partitions",
				    consumer->topic, topic.partition_count);
	memcpy(consumer->reading.topic_id, topic.topic_id, sizeof(topic.topic_id));
	consumer->partition_count = topic.partition_count;
	return 0;
}

static int add_source(struct mr_consumer *consumer, int32_t partition, struct mr_error *err)
{
	if (partition < 0 || partition >= consumer->partition_count)
		return mr_error_set(err, -ERANGE,
				    "topic '%s' has no partition %" PRId32 ": it has %" PRId32,
				    consumer->topic, partition, consumer->partition_count);
	for (uint32_t i = 0; i < consumer->source_count; i++)
		if (consumer->sources[i].partition == partition)
			return mr_error_set(err, -EINVAL, "partition %" PRId32 " is named twice",
					    partition);
	mr_source_init(&consumer->sources[consumer->source_count++], partition);
	return 0;
}

static int add_sources(struct mr_consumer *consumer, const struct mr_consumer_options *options,
		       struct mr_error *err)
{
	uint32_t count = options->partitions ? options->partition_count
					     : (uint32_t)consumer->partition_count;
	int r = 0;

	if (count > (uint32_t)consumer->partition_count)
		return mr_error_set(err, -ERANGE,
				    "topic '%s' has %" PRId32 " partitions, not %" PRIu32,
				    consumer->topic, consumer->partition_count, count);
	consumer->sources = calloc(count, sizeof(*consumer->sources));
	if (!consumer->sources)
		return mr_error_set(err, -ENOMEM, "no memory for %" PRIu32 " partitions", count);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = add_source(consumer, options->partitions ? options->partitions[i] : (int32_t)i,
			       err);
	return r;
}

static int ask_offset(struct mr_consumer *consumer, enum mr_message_type type, const void *body,
		      size_t body_bytes, uint64_t *offset, struct mr_error *err)
{
	struct mr_offset_reply said;
	struct mr_packet reply;
	int r = mr_connection_ask(consumer->connection, type, body, body_bytes, sizeof(said), 0,
				  MR_DEADLINE_NEVER, &reply, err);

	if (r < 0)
		return r;
	memcpy(&said, reply.body, sizeof(said));
	*offset = said.offset;
	return 0;
}

static int offset_by_time(struct mr_consumer *consumer, struct mr_source *source, int64_t time_ms,
			  uint64_t end, uint64_t *offset, struct mr_error *err)
{
	struct mr_find_offset body = {.partition = source->partition, .timestamp_ms = time_ms};
	int r;

	memcpy(body.topic_id, consumer->reading.topic_id, sizeof(body.topic_id));
	r = ask_offset(consumer, MR_MESSAGE_FIND_OFFSET, &body, sizeof(body), offset, err);
	if (r == 0 && *offset == MR_OFFSET_UNKNOWN)
		*offset = end;
	return r;
}

static int offset_by_group(struct mr_consumer *consumer, struct mr_source *source, uint64_t start,
			   uint64_t *offset, struct mr_error *err)
{
	struct mr_commit body = {.partition = source->partition};
	int r;

	memcpy(body.topic_id, consumer->reading.topic_id, sizeof(body.topic_id));
	memcpy(body.group, consumer->group, sizeof(consumer->group));
	r = ask_offset(consumer, MR_MESSAGE_COMMITTED, &body, sizeof(body), offset, err);
	if (r == 0)
		source->committed = *offset;
	if (r == 0 && *offset == MR_OFFSET_UNKNOWN)
		*offset = start;
	return r;
}

/* What goes before the first read was not missed by who asked for no more than what is kept. */
static bool wants_oldest(const struct mr_source *source, const struct mr_consumer_options *options)
{
	if (options->from == MR_FROM_COMMITTED)
		return source->committed == MR_OFFSET_UNKNOWN;
	return options->from == MR_FROM_EARLIEST || options->from == MR_FROM_TIME;
}

/* Attaches a source for the first time and puts it where the options say. */
static int begin_source(struct mr_consumer *consumer, struct mr_source *source,
			const struct mr_consumer_options *options, struct mr_error *err)
{
	struct mr_tail_reply tail;
	uint64_t offset, end;
	int r = mr_source_attach(source, &consumer->reading, consumer->wait_id, MR_DEADLINE_NEVER,
				 &tail, err);

	if (r < 0)
		return r;
	end = options->view == MR_VIEW_APPENDED ? tail.log_end_offset : tail.committed_offset;
	offset = options->from == MR_FROM_LATEST ? end : tail.log_start_offset;
	if (options->from == MR_FROM_OFFSET)
		offset = (uint64_t)options->from_value;
	else if (options->from == MR_FROM_TIME)
		r = offset_by_time(consumer, source, options->from_value, end, &offset, err);
	else if (options->from == MR_FROM_COMMITTED)
		r = offset_by_group(consumer, source, tail.log_start_offset, &offset, err);
	if (r < 0)
		return r;
	if (options->from == MR_FROM_OFFSET &&
	    (offset < tail.log_start_offset || offset > tail.log_end_offset))
		return mr_error_set(err, -ERANGE,
				    "topic '%s' partition %" PRId32 " has no offset %" PRIu64
				    ": it has %" PRIu64 " to %" PRIu64,
				    consumer->topic, source->partition, offset,
				    tail.log_start_offset, tail.log_end_offset);
	mr_source_seek(source, offset);
	source->place.skipping = options->from == MR_FROM_TIME;
	source->place.oldest = offset == tail.log_start_offset && wants_oldest(source, options);
	source->skip_before_ms = options->from_value;
	return 0;
}

/* Tells the engine that nobody reads any more; one that does not answer finds out by the hang-up.
 */
static void detach(struct mr_consumer *consumer)
{
	uint64_t deadline = mr_deadline_after(CLOSE_MS);
	struct mr_attach_tail body = {.wait = consumer->wait_id};
	struct mr_packet reply;

	if (consumer->generation != mr_connection_generation(consumer->connection))
		return;
	memcpy(body.topic_id, consumer->reading.topic_id, sizeof(body.topic_id));
	for (uint32_t i = 0; i < consumer->source_count; i++) {
		body.partition = consumer->sources[i].partition;
		if (consumer->sources[i].attached)
			(void)mr_connection_ask(consumer->connection, MR_MESSAGE_DETACH_TAIL, &body,
						sizeof(body), sizeof(body), 0, deadline, &reply,
						NULL);
	}
}

static void free_consumer(struct mr_consumer *consumer)
{
	for (uint32_t i = 0; i < consumer->source_count; i++)
		mr_source_close(&consumer->sources[i]);
	close_wait(consumer);
	free(consumer->sources);
	free(consumer->reading.messages);
	free(consumer->reading.copy);
	mr_expander_close(&consumer->reading.expander);
	free(consumer);
}

static int begin(struct mr_consumer *consumer, const struct mr_consumer_options *options,
		 struct mr_error *err)
{
	int r;

	consumer->generation = mr_connection_generation(consumer->connection);
	r = open_topic(consumer, err);
	if (r == 0)
		r = add_sources(consumer, options, err);
	if (r == 0)
		r = open_wait(consumer, MR_DEADLINE_NEVER, err);
	for (uint32_t i = 0; r == 0 && i < consumer->source_count; i++)
		r = begin_source(consumer, &consumer->sources[i], options, err);
	return r;
}

static int try_open(struct mr_connection *connection, const struct mr_consumer_options *options,
		    struct mr_consumer **out, struct mr_error *err)
{
	struct mr_consumer *consumer = calloc(1, sizeof(*consumer));
	int r;

	if (!consumer)
		return mr_error_set(err, -ENOMEM, "no memory for a consumer");
	consumer->owner = mr_owner_me();
	consumer->connection = connection;
	consumer->bell = -1;
	memcpy(consumer->topic, options->topic, strlen(options->topic) + 1);
	if (options->group)
		memcpy(consumer->group, options->group, strlen(options->group) + 1);
	consumer->reading.connection = connection;
	consumer->reading.topic = consumer->topic;
	consumer->reading.appended = options->view == MR_VIEW_APPENDED;
	r = begin(consumer, options, err);
	if (r < 0) {
		detach(consumer);
		free_consumer(consumer);
		return r;
	}
	*out = consumer;
	return 0;
}

int mr_consumer_open(struct mr_connection *connection, const struct mr_consumer_options *options,
		     struct mr_consumer **out, struct mr_error *err)
{
	uint64_t deadline = mr_connection_deadline(connection);
	struct mr_consumer_options checked;
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

/* ---- read
 * ---------------------------------------------------------------------------------------- */

static int release(struct mr_consumer *consumer)
{
	struct mr_source *held = consumer->held;

	consumer->held = NULL;
	return held ? mr_source_release(held) : 0;
}

/* Asks each source once, beginning after the one that gave something last. */
static int read_round(struct mr_consumer *consumer, bool in_place, uint64_t deadline)
{
	for (uint32_t i = 0; i < consumer->source_count; i++) {
		struct mr_source *source = &consumer->sources[consumer->turn];
		int r = mr_source_read(source, &consumer->reading, in_place, deadline,
				       &consumer->error);

		consumer->turn = (consumer->turn + 1) % consumer->source_count;
		if (r == 0)
			continue;
		consumer->held = r > 0 && source->held ? source : NULL;
		return r;
	}
	return 0;
}

static bool has_news(const struct mr_consumer *consumer)
{
	if (needs_attach(consumer))
		return true;
	for (uint32_t i = 0; i < consumer->source_count; i++)
		if (mr_source_has_news(&consumer->sources[i], &consumer->reading))
			return true;
	return false;
}

/* Sleeps a slice, unless there are news or they come meanwhile (doorbell.h says how). */
static void wait_for_news(struct mr_consumer *consumer, uint64_t deadline)
{
	uint32_t slice_ms = mr_deadline_left_ms(deadline, SLICE_MS);
	uint64_t slice_end = mr_deadline_after(slice_ms);

	if (needs_attach(consumer)) { /* it was just tried in vain */
		if (mr_connection_wait_up(consumer->connection, slice_end))
			(void)mr_doorbell_wait(consumer->bell,
					       slice_ms < TRY_MS ? slice_ms : TRY_MS);
		return;
	}
	/* W6, relaxed: the fence orders it before the look that follows */
	atomic_store_explicit(&consumer->wait->waiting,
			      consumer->reading.appended ? MR_WAIT_FOR_APPENDED :
							   MR_WAIT_FOR_COMMITTED,
			      memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (!has_news(consumer))
		(void)mr_doorbell_wait(consumer->bell, slice_ms);
	/* relaxed: a ring too many does no harm */
	atomic_store_explicit(&consumer->wait->waiting, MR_WAIT_FOR_NOTHING, memory_order_relaxed);
}

static int poll_for(struct mr_consumer *consumer, uint32_t timeout_ms, bool in_place,
		    const struct mr_message **messages)
{
	uint64_t deadline = mr_deadline_after(timeout_ms);
	int r;

	if (!mr_owner_is_me(&consumer->owner))
		return -EPERM;
	(void)release(
		consumer); /* who did not ask gets the same records again if they were not whole */
	for (;;) {
		r = attach_again(consumer, deadline);
		if (r == 0)
			r = read_round(consumer, in_place, deadline);
		if (r < 0)
			return r;
		if (r > 0) {
			*messages = consumer->reading.messages;
			return (int)consumer->reading.message_count;
		}
		if (mr_deadline_over(deadline))
			return 0;
		wait_for_news(consumer, deadline);
	}
}

void mr_consumer_want_control(struct mr_consumer *consumer)
{
	consumer->reading.control = true;
}

bool mr_consumer_got_control(const struct mr_consumer *consumer)
{
	return consumer->reading.is_control;
}

int mr_consumer_poll(struct mr_consumer *consumer, uint32_t timeout_ms,
		     const struct mr_message **messages)
{
	return poll_for(consumer, timeout_ms, false, messages);
}

int mr_consumer_poll_in_place(struct mr_consumer *consumer, uint32_t timeout_ms,
			      const struct mr_message **messages)
{
	return poll_for(consumer, timeout_ms, true, messages);
}

int mr_consumer_release(struct mr_consumer *consumer)
{
	int r;

	if (!mr_owner_is_me(&consumer->owner))
		return -EPERM;
	r = release(consumer);
	if (r < 0) {
		mr_error_set(&consumer->error, r,
			     "the consumer of '%s' was overtaken while it read in place",
			     consumer->topic);
		mr_error_why(&consumer->error, "the engine reused the memory for newer records");
		mr_error_hint(&consumer->error,
			      "undo what was read and poll again: the records come again");
	}
	return r;
}

/* ---- offsets
 * ------------------------------------------------------------------------------------- */

static struct mr_source *find_source(struct mr_consumer *consumer, int32_t partition)
{
	for (uint32_t i = 0; i < consumer->source_count; i++)
		if (consumer->sources[i].partition == partition)
			return &consumer->sources[i];
	mr_error_set(&consumer->error, -ERANGE,
		     "the consumer of '%s' does not read partition %" PRId32, consumer->topic,
		     partition);
	return NULL;
}

static int commit_source(struct mr_consumer *consumer, struct mr_source *source, uint64_t deadline)
{
	struct mr_commit body = {.partition = source->partition, .offset = source->place.next};
	struct mr_packet reply;
	uint64_t generation;
	int r;

	if (source->committed == source->place.next)
		return 0;
	memcpy(body.topic_id, consumer->reading.topic_id, sizeof(body.topic_id));
	memcpy(body.group, consumer->group, sizeof(consumer->group));
	do { /* once more with the next engine, if there is one in time */
		generation = mr_connection_generation(consumer->connection);
		r = mr_connection_ask(consumer->connection, MR_MESSAGE_COMMIT, &body, sizeof(body),
				      0, 0, deadline, &reply, &consumer->error);
	} while (r == -EPIPE &&
		 mr_connection_wait_next(consumer->connection, generation, deadline));
	if (r == -EPIPE)
		r = mr_error_set(&consumer->error, -ETIMEDOUT,
				 "group '%s' could not commit offset %" PRIu64
				 " in time: there is no engine",
				 consumer->group, body.offset);
	if (r == 0)
		source->committed = body.offset;
	return r;
}

int mr_consumer_commit(struct mr_consumer *consumer, uint32_t timeout_ms)
{
	uint64_t deadline = mr_deadline_after(timeout_ms);
	int r = 0;

	if (!mr_owner_is_me(&consumer->owner))
		return -EPERM;
	if (consumer->group[0] == '\0')
		return mr_error_set(&consumer->error, -EINVAL,
				    "the consumer of '%s' has no group to commit for",
				    consumer->topic);
	if (consumer->held)
		return mr_error_set(&consumer->error, -EBUSY,
				    "records in place are out: release them before the commit");
	for (uint32_t i = 0; r == 0 && i < consumer->source_count; i++)
		r = commit_source(consumer, &consumer->sources[i], deadline);
	return r;
}

int mr_consumer_seek(struct mr_consumer *consumer, int32_t partition, uint64_t offset)
{
	struct mr_source *source;

	if (!mr_owner_is_me(&consumer->owner))
		return -EPERM;
	source = find_source(consumer, partition);
	if (!source)
		return -ERANGE;
	(void)release(consumer); /* what was read in place counts no more */
	mr_source_seek(source, offset);
	return 0;
}

int mr_consumer_position(struct mr_consumer *consumer, int32_t partition,
			 struct mr_consumer_position *position)
{
	struct mr_consumer_position all = {0};
	struct mr_source *source;
	uint64_t end;

	if (!mr_owner_is_me(&consumer->owner))
		return -EPERM;
	if (position->size < sizeof(position->size) || position->size > sizeof(all))
		return mr_error_set(&consumer->error, -EINVAL,
				    "struct mr_consumer_position has %zu bytes, expected %zu",
				    position->size, sizeof(all));
	source = find_source(consumer, partition);
	if (!source)
		return -ERANGE;
	end = mr_source_end_offset(source, &consumer->reading);
	all.size = position->size;
	all.offset = source->place.next;
	all.lag = end > all.offset ? end - all.offset : 0;
	all.overtaken = source->overtaken;
	memcpy(position, &all, position->size);
	return 0;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------ */

int32_t mr_consumer_partition_count(struct mr_consumer *consumer)
{
	return mr_owner_is_me(&consumer->owner) ? consumer->partition_count : -EPERM;
}

void mr_consumer_error(struct mr_consumer *consumer, struct mr_error *err)
{
	if (!err)
		return;
	if (mr_owner_is_me(&consumer->owner)) {
		*err = consumer->error;
		return;
	}
	mr_error_set(err, -EPERM, "the consumer belongs to another thread or process");
	mr_error_hint(err, "open one in each thread, or adopt it; a child connects anew");
}

int mr_consumer_adopt(struct mr_consumer *consumer)
{
	if (!mr_owner_same_process(&consumer->owner))
		return -EPERM;
	consumer->owner = mr_owner_me();
	return 0;
}

void mr_consumer_close(struct mr_consumer *consumer)
{
	if (!consumer || !mr_owner_is_me(&consumer->owner))
		return;
	detach(consumer);
	free_consumer(consumer);
}
