/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The torture of a topic in memory: its engine is killed or stopped again and again while producers
 * overrun its small tails and consumers fall behind. Records are lost, as the topic says; what must
 * hold nevertheless:
 *
 *	no offset names two records, over all lives of the engine, and none goes back
 *	what a consumer gets is whole, in order, and what the receipts say
 *	a consumer that misses offsets is told which, and misses no other
 *	a producer is told exactly how many acknowledged records went with an engine
 *
 *	torture-memory [SECONDS [SEED]]
 *
 * One process in four roles: the engine, producers, consumers, and the parent, which kills the
 * first and afterwards compares what the others wrote into shared memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "millrace.h"
#include "torture.h"

#define TOPIC	     "quotes"
#define PARTITIONS   2
#define PRODUCERS    2		/* one into each partition */
#define CONSUMERS    2		/* of both partitions: a quick one, and one that is overtaken */
#define NOTES_MAX    (1u << 22) /* of each producer or consumer; memory is sparse */
#define SECONDS	     20
#define PATIENCE_MS  30000
#define FAULTS_TOLD  20
#define SMALL_MOST   2000u
#define LARGE_MOST   100000u
#define OFFSET_BLOCK (UINT64_C(1) << 36)

static const char *const options[] = {
	"record_bytes_max=256 KiB",
	"group_bytes=256 KiB",
	NULL,
};

/* A run of records as a receipt tells it, or one record as a consumer saw it. */
struct note {
	uint64_t offset;
	uint64_t number;
	uint32_t count;
	uint32_t writer; /* which is also the partition */
};

struct notes {
	_Atomic uint64_t count;
	struct note all[NOTES_MAX];
};

/* One writer each; the parent writes the stops. */
struct page {
	_Atomic uint32_t stop;	    /* producers: flush and end */
	_Atomic uint32_t stop_seer; /* consumers: end when nothing more comes */
	_Atomic uint64_t faults;
	struct {
		_Atomic uint64_t published, acknowledged, lost, hand_backs, full;
		_Atomic uint32_t flushed;
	} producers[PRODUCERS];
	struct {
		_Atomic uint64_t told;	 /* how often it missed something */
		_Atomic uint64_t missed; /* how many offsets */
	} consumers[CONSUMERS];
	struct notes receipts[PRODUCERS];
	struct notes seen[CONSUMERS];
};

static void note(struct notes *notes, struct note one)
{
	uint64_t at = atomic_load(&notes->count);

	if (at == NOTES_MAX)
		torture_die("more than the test can hold");
	notes->all[at] = one;
	atomic_store(&notes->count, at + 1);
}

__attribute__((format(printf, 2, 3))) static void fault(struct page *page, const char *format, ...)
{
	va_list arguments;

	if (atomic_fetch_add(&page->faults, 1) >= FAULTS_TOLD)
		return;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static struct mr_connection *connect_engine(const char *socket)
{
	struct mr_connect_options wanted = {
		.size = sizeof(wanted),
		.socket_path = socket,
		.client_name = "torture",
	};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_connection *connection;
	struct mr_error err = {0};

	while (mr_connect(&wanted, &connection, &err) < 0) {
		if (torture_now_us() > end_us)
			torture_die("cannot connect: %s", err.what);
		torture_sleep_us(5000);
	}
	return connection;
}

/* ---- a producer ------------------------------------------------------------------------------ */

struct producer {
	struct page *page;
	struct mr_producer *handle;
	struct torture_random random;
	uint32_t writer;
	uint64_t number;
	uint8_t value[LARGE_MOST];
};

static void take_receipts(struct producer *self)
{
	struct mr_producer_state state = {.size = sizeof(state)};
	struct mr_receipt receipts[64];
	int count;

	do {
		count = mr_producer_receipts(self->handle, receipts, 64);
		for (int i = 0; i < count; i++)
			if (receipts[i].base_offset != MR_OFFSET_UNKNOWN)
				note(&self->page->receipts[self->writer],
				     (struct note){receipts[i].base_offset, receipts[i].first,
						   (uint32_t)receipts[i].count, self->writer});
	} while (count == 64);
	if (count < 0 || mr_producer_state(self->handle, &state) < 0)
		fault(self->page, "producer %u: no receipts or no state", self->writer);
	atomic_store(&self->page->producers[self->writer].published, state.published);
	atomic_store(&self->page->producers[self->writer].acknowledged, state.acknowledged);
	atomic_store(&self->page->producers[self->writer].lost, state.lost);
	atomic_store(&self->page->producers[self->writer].hand_backs, state.hand_backs);
	atomic_store(&self->page->producers[self->writer].full, state.full);
}

/* Returns for how long to rest. */
static uint64_t publish(struct producer *self)
{
	uint64_t count = 1 + torture_below(&self->random, 60);

	while (count--) {
		uint32_t most = torture_chance(&self->random, 1) ? LARGE_MOST : SMALL_MOST;
		uint32_t bytes = TORTURE_VALUE_LEAST +
				 (uint32_t)torture_below(&self->random, most - TORTURE_VALUE_LEAST);
		struct mr_record record = {
			.value = self->value,
			.value_bytes = (int32_t)bytes,
			.key_bytes = MR_NULL_BYTES,
			.timestamp_ms = MR_TIMESTAMP_NOW,
		};
		int r;

		torture_value_make(self->value, bytes, self->writer, self->number);
		r = mr_producer_put(self->handle, &record);
		if (r == -EAGAIN)
			return 500;
		if (r < 0)
			torture_die("producer %u: put: %s", self->writer, strerror(-r));
		self->number++;
	}
	return torture_below(&self->random, 2000);
}

/* "producer" SOCKET PAGE_FD WRITER SEED */
static int producer_main(char **words)
{
	static struct producer self;
	struct mr_connection *connection = connect_engine(words[1]);
	struct mr_producer_options wanted = {
		.size = sizeof(wanted),
		.topic = TOPIC,
		.acks = MR_ACKS_MEMORY,
		.lane_bytes = 512u << 10,
	};
	struct mr_error err = {0};
	int r;

	self.page = torture_map((int)strtol(words[2], NULL, 10), sizeof(*self.page));
	self.writer = (uint32_t)strtoul(words[3], NULL, 10);
	self.random.state = strtoull(words[4], NULL, 10);
	wanted.partition = (int32_t)self.writer;
	r = mr_producer_open(connection, &wanted, &self.handle, &err);
	if (r < 0)
		torture_die("producer %u: %s", self.writer, err.what);
	while (!atomic_load(&self.page->stop)) {
		uint64_t rest_us = publish(&self);

		take_receipts(&self);
		torture_sleep_us(rest_us);
	}
	r = mr_producer_flush(self.handle, PATIENCE_MS);
	take_receipts(&self);
	atomic_store(&self.page->producers[self.writer].flushed, r == 0);
	(void)mr_producer_close(self.handle, 0); /* flushed, or told that it is not */
	mr_disconnect(connection);
	return 0;
}

/* ---- a consumer ------------------------------------------------------------------------------ */

struct consumer {
	struct page *page;
	struct mr_consumer *handle;
	struct torture_random random;
	uint32_t me;
	uint64_t next[PARTITIONS];   /* offset due; 0: none was seen yet */
	uint64_t number[PARTITIONS]; /* and what its writer's number is at least */
	bool broken;		     /* in this read in place: counts only if it was whole */
};

/* Checks the messages of one read; notes them if 'keep'. */
static void see(struct consumer *self, const struct mr_message *messages, int count, bool keep)
{
	int32_t partition = messages[0].partition;
	uint64_t next = self->next[partition], least = self->number[partition];

	self->broken = false;
	for (int i = 0; i < count; i++) {
		const struct mr_message *one = &messages[i];
		uint64_t number = 0;
		uint32_t writer = 0;

		if (!torture_value_read(one->value, (uint32_t)one->value_bytes, &writer, &number) ||
		    writer != (uint32_t)partition || one->partition != partition ||
		    (next && one->offset != next) || number < least) {
			self->broken = true;
			return;
		}
		if (keep)
			note(&self->page->seen[self->me],
			     (struct note){one->offset, number, 1, writer});
		next = one->offset + 1;
		least = number + 1;
	}
	self->next[partition] = next;
	self->number[partition] = least;
}

/* By the consumer itself, or by the engine where it went just as the consumer looked. */
static bool read_missing(const char *what, int *partition, uint64_t *due, uint64_t *from,
			 uint64_t *to)
{
	if (sscanf(what,
		   "topic '" TOPIC "' partition %d has no offset %" SCNu64 ": it has %" SCNu64
		   " to %" SCNu64,
		   partition, due, from, to) == 4)
		return true;
	*to = UINT64_MAX;
	return sscanf(what,
		      "topic '" TOPIC "' partition %d: offset %" SCNu64
		      " is no longer kept: the oldest is %" SCNu64,
		      partition, due, from) == 3;
}

/* The offset that was due is gone: it is told, and nothing but what is gone is passed over. */
static void miss(struct consumer *self)
{
	uint64_t due, from, to;
	struct mr_error err;
	int partition;

	mr_consumer_error(self->handle, &err);
	if (!read_missing(err.what, &partition, &due, &from, &to) || partition < 0 ||
	    partition >= PARTITIONS) {
		fault(self->page, "consumer %u: not told what is missing: %s", self->me, err.what);
		return;
	}
	if (due >= from || from > to || (self->next[partition] && due != self->next[partition]))
		fault(self->page,
		      "consumer %u: partition %d: %" PRIu64 " was due, not %" PRIu64 "; %" PRIu64
		      " to %" PRIu64 " are there",
		      self->me, partition, self->next[partition], due, from, to);
	atomic_fetch_add(&self->page->consumers[self->me].told, 1);
	atomic_fetch_add(&self->page->consumers[self->me].missed, from - due);
	self->next[partition] = from;
	if (mr_consumer_seek(self->handle, partition, from) < 0)
		fault(self->page, "consumer %u: cannot seek", self->me);
}

static int read_copies(struct consumer *self)
{
	const struct mr_message *messages;
	int count = mr_consumer_poll(self->handle, 20, &messages);

	if (count <= 0)
		return count;
	see(self, messages, count, true);
	if (self->broken)
		fault(self->page,
		      "consumer %u: partition %d, from offset %" PRIu64 ": not in order", self->me,
		      messages[0].partition, messages[0].offset);
	return count;
}

/* What was read in place counts if release says so; then it must have been in order. */
static int read_in_place(struct consumer *self)
{
	uint64_t next[PARTITIONS], number[PARTITIONS], offset;
	const struct mr_message *messages;
	int count = mr_consumer_poll_in_place(self->handle, 20, &messages), r;

	if (count <= 0)
		return count;
	memcpy(next, self->next, sizeof(next));
	memcpy(number, self->number, sizeof(number));
	offset = messages[0].offset;
	if (torture_chance(&self->random, 20))
		torture_sleep_us(torture_below(&self->random, 3000)); /* be overtaken */
	see(self, messages, count, false);
	r = mr_consumer_release(self->handle);
	if (r == 0 && self->broken)
		fault(self->page,
		      "consumer %u: a view from offset %" PRIu64 " was good, by release", self->me,
		      offset);
	if (r == -EOVERFLOW) {
		memcpy(self->next, next, sizeof(next));
		memcpy(self->number, number, sizeof(number));
	}
	return r < 0 && r != -EOVERFLOW ? r : count;
}

/* "consumer" SOCKET PAGE_FD WHICH SEED */
static int consumer_main(char **words)
{
	static struct consumer self;
	struct mr_connection *connection = connect_engine(words[1]);
	struct mr_consumer_options wanted = {.size = sizeof(wanted), .topic = TOPIC};
	struct mr_error err = {0};

	self.page = torture_map((int)strtol(words[2], NULL, 10), sizeof(*self.page));
	self.me = (uint32_t)strtoul(words[3], NULL, 10);
	self.random.state = strtoull(words[4], NULL, 10);
	if (mr_consumer_open(connection, &wanted, &self.handle, &err) < 0)
		torture_die("consumer %u: %s", self.me, err.what);
	for (;;) {
		bool slow = self.me == 1;
		int r = slow && torture_chance(&self.random, 50) ? read_in_place(&self)
								 : read_copies(&self);

		if (r == -ERANGE)
			miss(&self);
		else if (r < 0)
			fault(self.page, "consumer %u: %s", self.me, strerror(-r));
		if (r == 0 && atomic_load(&self.page->stop_seer))
			break;
		if (atomic_load(&self.page->faults) > FAULTS_TOLD)
			break;
		if (slow && torture_chance(&self.random, 5))
			torture_sleep_us(torture_below(&self.random, 40000));
	}
	mr_consumer_close(self.handle);
	mr_disconnect(connection);
	return 0;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* A producer's receipts, in the order that they came: offsets and numbers only rise. */
static uint64_t check_receipts(const struct page *page, uint32_t writer)
{
	const struct notes *receipts = &page->receipts[writer];
	uint64_t count = atomic_load(&receipts->count), wrong = 0;

	for (uint64_t i = 1; i < count; i++) {
		const struct note *before = &receipts->all[i - 1], *one = &receipts->all[i];

		wrong += one->offset < before->offset + before->count ||
			 one->number < before->number + before->count;
	}
	return wrong;
}

/* Offsets at which a consumer saw another record than the receipt names. */
static uint64_t check_seen(struct page *page, uint32_t consumer, uint64_t *compared)
{
	uint64_t count = atomic_load(&page->seen[consumer].count), wrong = 0;

	for (uint64_t i = 0; i < count; i++) {
		const struct note *seen = &page->seen[consumer].all[i];
		const struct notes *receipts = &page->receipts[seen->writer];
		uint64_t low = 0, high = atomic_load(&receipts->count);
		const struct note *receipt;

		while (low < high) { /* the first one that ends behind it */
			uint64_t middle = low + (high - low) / 2;

			receipt = &receipts->all[middle];
			if (receipt->offset + receipt->count <= seen->offset)
				low = middle + 1;
			else
				high = middle;
		}
		receipt = &receipts->all[low];
		if (low == atomic_load(&receipts->count) || receipt->offset > seen->offset)
			continue; /* it went with an engine before it was asked for */
		++*compared;
		wrong += seen->number - receipt->number != seen->offset - receipt->offset;
	}
	return wrong;
}

/* The number of the first record that the last engine has. */
static uint64_t first_of_last_life(const struct page *page, uint32_t writer)
{
	const struct notes *receipts = &page->receipts[writer];
	uint64_t count = atomic_load(&receipts->count), first = count - 1;

	while (first > 0 && receipts->all[first - 1].offset / OFFSET_BLOCK ==
				    receipts->all[count - 1].offset / OFFSET_BLOCK)
		first--;
	return receipts->all[first].number;
}

static void check_producer(struct page *page, uint32_t writer, uint32_t lives)
{
	uint64_t lost = atomic_load(&page->producers[writer].lost);
	uint64_t published = atomic_load(&page->producers[writer].published);
	uint64_t first = first_of_last_life(page, writer);

	torture_check(atomic_load(&page->producers[writer].flushed) == 1,
		      "producer %u: all %" PRIu64 " records were acknowledged in the end", writer,
		      published);
	torture_check(check_receipts(page, writer) == 0,
		      "producer %u: offsets and numbers of its %" PRIu64 " receipts only rise",
		      writer, atomic_load(&page->receipts[writer].count));
	torture_check(lost == first && lost > 0,
		      "producer %u: told %" PRIu64
		      " lost, its first record in the last life is %" PRIu64,
		      writer, lost, first);
	torture_check(atomic_load(&page->producers[writer].hand_backs) > lives / 2,
		      "producer %u: handed its lane back %" PRIu64 " times in %u lives", writer,
		      atomic_load(&page->producers[writer].hand_backs), lives);
}

static void check_all(struct page *page, uint32_t lives)
{
	for (uint32_t i = 0; i < PRODUCERS; i++)
		check_producer(page, i, lives);
	for (uint32_t i = 0; i < CONSUMERS; i++) {
		uint64_t compared = 0, wrong = check_seen(page, i, &compared);

		torture_check(wrong == 0 && compared > 0,
			      "consumer %u: %" PRIu64 " of its %" PRIu64
			      " records are named by receipts, %" PRIu64 " otherwise",
			      i, compared, atomic_load(&page->seen[i].count), wrong);
		torture_check(atomic_load(&page->consumers[i].told) > 0,
			      "consumer %u: told %" PRIu64 " times what it missed", i,
			      atomic_load(&page->consumers[i].told));
	}
	torture_check(atomic_load(&page->faults) == 0, "%" PRIu64 " faults were told by the others",
		      atomic_load(&page->faults));
}

/* ---- the parent ------------------------------------------------------------------------------ */

static pid_t spawn(const char *role, const struct torture_engine *engine, int page_fd,
		   uint32_t which, struct torture_random *random)
{
	char fd[16], number[16], seed[32];
	const char *words[] = {role, engine->socket, fd, number, seed, NULL};

	snprintf(fd, sizeof(fd), "%d", page_fd);
	snprintf(number, sizeof(number), "%u", which);
	snprintf(seed, sizeof(seed), "%" PRIu64, torture_random(random) >> 1);
	return torture_spawn(words);
}

static void create_topic(const struct torture_engine *engine)
{
	struct mr_connection *connection = connect_engine(engine->socket);
	struct mr_error err;
	char *reply = NULL;

	if (mr_connection_admin(
		    connection,
		    "{\"do\":\"topic.create\",\"name\":\"" TOPIC
		    "\",\"storage\":\"memory\",\"partitions\":2,\"tail_bytes\":1048576}",
		    &reply, &err) < 0)
		torture_die("%s", err.what);
	free(reply);
	mr_disconnect(connection);
}

static void start_engine(struct torture_engine *engine)
{
	torture_engine_start(engine);
	if (!torture_engine_ready(engine, PATIENCE_MS))
		torture_die("the engine does not start");
}

static void check_living(const pid_t *pids, size_t count)
{
	int status;

	for (size_t i = 0; i < count; i++)
		if (torture_ended(pids[i], &status))
			torture_die("process %zu %s", i, torture_status_text(status));
}

static void run_test(uint32_t seconds, uint64_t seed)
{
	struct torture_random random = {seed};
	struct torture_engine engine;
	uint64_t end_us = torture_now_us() + seconds * UINT64_C(1000000);
	pid_t pids[PRODUCERS + CONSUMERS];
	uint32_t lives = 1, i;
	struct page *page;
	int page_fd;

	printf("torture-memory %u %" PRIu64 "\n", seconds, seed);
	page = torture_share(sizeof(*page), &page_fd);
	torture_engine_init(&engine, "memory", options);
	start_engine(&engine);
	create_topic(&engine);
	for (i = 0; i < PRODUCERS; i++)
		pids[i] = spawn("producer", &engine, page_fd, i, &random);
	for (i = 0; i < CONSUMERS; i++)
		pids[PRODUCERS + i] = spawn("consumer", &engine, page_fd, i, &random);
	while (torture_now_us() < end_us) {
		torture_sleep_us(100000 + torture_below(&random, 700000));
		check_living(pids, PRODUCERS + CONSUMERS);
		if (torture_chance(&random, 80))
			torture_engine_kill(&engine);
		else
			torture_check(torture_engine_stop(&engine, PATIENCE_MS) == 0,
				      "a stop is clean");
		lives++;
		start_engine(&engine);
	}
	torture_sleep_us(1000000);
	atomic_store(&page->stop, 1);
	for (i = 0; i < PRODUCERS; i++)
		torture_check(torture_wait(pids[i], 2 * PATIENCE_MS) == 0, "producer %u ended", i);
	atomic_store(&page->stop_seer, 1);
	for (i = 0; i < CONSUMERS; i++)
		torture_check(torture_wait(pids[PRODUCERS + i], 2 * PATIENCE_MS) == 0,
			      "consumer %u ended", i);
	torture_check(torture_engine_stop(&engine, PATIENCE_MS) == 0, "the last stop is clean");
	check_all(page, lives);
	torture_engine_clean(&engine);
}

int main(int count, char **words)
{
	uint32_t seconds = SECONDS;
	uint64_t seed = torture_now_us();

	if (count > 1 && !strcmp(words[1], "engine"))
		torture_engine_main(count - 1, words + 1);
	if (count > 1 && !strcmp(words[1], "producer"))
		return producer_main(words + 1);
	if (count > 1 && !strcmp(words[1], "consumer"))
		return consumer_main(words + 1);
	if (count > 1)
		seconds = (uint32_t)strtoul(words[1], NULL, 10);
	if (count > 2)
		seed = strtoull(words[2], NULL, 10);
	run_test(seconds, seed);
	return torture_finish();
}
