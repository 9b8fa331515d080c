/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load, in its own process: publishes what is due and notes what became of it (load.h). One
 * thread, pinned where that is asked for; its memory is taken before the first record is due.
 */
#include "load_child.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "check.h"

#define BURST	     32u
#define KEYS	     1024u	      /* different keys; records are taken from a table of them */
#define LOOK_NS	     UINT64_C(250000) /* between events, without a rate */
#define CLOCK_FRAMES 64u	      /* published between looks at the clock, without a rate */
#define DRAIN_NS     UINT64_C(10000000000)
#define CONNECT_MS   5000u

struct child {
	const struct mr_bench_load *load;
	struct mr_bench_load_shared *shared;
	struct mr_connection *connection;
	struct mr_producer **producers;
	uint32_t lanes, next_lane;
	uint64_t *acknowledged; /* by lane */
	struct mr_consumer *consumer;
	struct mr_record
		*records; /* KEYS + burst, so that a burst is one piece wherever it begins */
	char *keys, *value;
	uint32_t burst, next_record;
	uint64_t published, total_acknowledged, consumed;
	uint64_t seen;		  /* of what events tell */
	uint64_t due_ns, end_ns;  /* of publishing */
	uint64_t records_due_max; /* with a rate: so many in all */
	uint64_t touched;	  /* what was read is used, or the compiler would leave it out */
	struct mr_error err;
};

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

static void rest(const struct child *child)
{
	if (child->load->spin)
		__builtin_ia32_pause();
	else
		sched_yield(); /* the kernel's own threads may need this core */
}

/* ---- getting ready ------------------------------------------------------------------------- */

static int pin(struct child *child)
{
	cpu_set_t cpus;

	if (child->load->core < 0)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET(child->load->core, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return mr_error_set(&child->err, -errno, "cannot run the load on core %d",
				    child->load->core);
	return 0;
}

/* Keys differ and are the same in every run. */
static void fill_key(char *key, uint32_t bytes, uint32_t number)
{
	uint32_t state = number * 2654435761u + 1;

	for (uint32_t i = 0; i < bytes; i++) {
		state = state * 1664525u + 1013904223u;
		key[i] = (char)('a' + (state >> 24) % 26);
	}
}

static int make_records(struct child *child)
{
	const struct mr_bench_load *load = child->load;
	uint32_t count;

	child->burst = load->burst ? load->burst : BURST;
	count = KEYS + child->burst;
	child->records = calloc(count, sizeof(*child->records));
	child->keys = calloc(KEYS, load->key_bytes + 1);
	child->value = malloc(load->value_bytes + 1);
	if (!child->records || !child->keys || !child->value)
		return mr_error_set(&child->err, -ENOMEM, "no memory for the load's records");
	memset(child->value, 'x', load->value_bytes);
	for (uint32_t i = 0; i < count; i++) {
		char *key = child->keys + (size_t)(i % KEYS) * load->key_bytes;

		fill_key(key, load->key_bytes, i % KEYS);
		child->records[i] = (struct mr_record){
			.key = load->key_bytes ? key : NULL,
			.key_bytes = load->key_bytes ? (int32_t)load->key_bytes : MR_NULL_BYTES,
			.value = child->value,
			.value_bytes = (int32_t)load->value_bytes,
			.timestamp_ms = MR_TIMESTAMP_NOW,
		};
	}
	return 0;
}

static int open_producers(struct child *child)
{
	const struct mr_bench_load *load = child->load;
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = load->topic,
		.partition = load->partition < 0 ? MR_PARTITION_BY_KEY : load->partition,
		.acks = load->acks,
		.lane_bytes = load->lane_bytes,
	};
	uint32_t lanes = load->lanes ? load->lanes : 1;

	child->producers = calloc(lanes, sizeof(struct mr_producer *));
	child->acknowledged = calloc(lanes, sizeof(*child->acknowledged));
	if (!child->producers || !child->acknowledged)
		return mr_error_set(&child->err, -ENOMEM, "no memory for %u lanes", lanes);
	for (; child->lanes < lanes; child->lanes++) {
		int r = mr_producer_open(child->connection, &options,
					 &child->producers[child->lanes], &child->err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* After the producers, which make the topic. */
static int open_consumer(struct child *child)
{
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = child->load->topic,
		.from = MR_FROM_LATEST,
		.view = MR_VIEW_APPENDED,
	};

	if (!child->load->consume)
		return 0;
	if (child->load->partition >= 0) {
		options.partitions = &child->load->partition;
		options.partition_count = 1;
	}
	return mr_consumer_open(child->connection, &options, &child->consumer, &child->err);
}

static int prepare(struct child *child, const char *socket)
{
	struct mr_connect_options options = {
		.size = sizeof(options),
		.socket_path = socket,
		.client_name = "millrace bench load",
		.timeout_ms = CONNECT_MS,
	};
	int r = pin(child);

	if (r == 0)
		r = make_records(child);
	if (r == 0)
		r = mr_connect(&options, &child->connection, &child->err);
	if (r == 0)
		r = open_producers(child);
	if (r == 0)
		r = open_consumer(child);
	return r;
}

/* Until the parent says when the first record is due, and then until it is. */
static void wait_for_start(struct child *child)
{
	const struct mr_bench_load *load = child->load;
	double seconds = load->warm_up_seconds + load->seconds;

	while ((child->due_ns =
			atomic_load_explicit(&child->shared->due_ns, memory_order_acquire)) == 0) {
		struct timespec step = {.tv_nsec = 100000};

		nanosleep(&step, NULL);
	}
	while (now_ns() < child->due_ns)
		sched_yield();
	child->end_ns = child->due_ns + (uint64_t)(seconds * 1e9);
	child->records_due_max = load->rate > 0 ? (uint64_t)(seconds * load->rate) : UINT64_MAX;
}

/* ---- publishing ---------------------------------------------------------------------------- */

static int note_event(struct child *child, uint64_t at_ns, uint64_t so_far)
{
	struct mr_bench_load_shared *shared = child->shared;

	if (so_far == child->seen)
		return 0;
	if (shared->event_count == shared->event_room)
		return mr_error_set(&child->err, -ENOBUFS,
				    "the load saw more than the %u changes there is room for",
				    shared->event_room);
	child->seen = so_far;
	shared->events[shared->event_count++] =
		(struct mr_bench_event){.at_ns = at_ns, .acknowledged = so_far};
	return 0;
}

/* What is acknowledged, or read back, by now. */
static int look(struct child *child, uint64_t at_ns)
{
	struct mr_producer_state state = {.size = sizeof(state)};

	for (uint32_t i = 0; i < child->lanes; i++) {
		if (mr_producer_state(child->producers[i], &state) < 0)
			continue;
		child->total_acknowledged += state.acknowledged - child->acknowledged[i];
		child->acknowledged[i] = state.acknowledged;
	}
	return note_event(child, at_ns,
			  child->load->consume ? child->consumed : child->total_acknowledged);
}

/* Both ends of each record, as one who wants them would. */
static uint64_t touch(const struct mr_message *messages, int count)
{
	uint64_t sum = 0;

	for (int i = 0; i < count; i++) {
		const uint8_t *value = messages[i].value;

		if (messages[i].value_bytes > 0)
			sum += value[0] + value[messages[i].value_bytes - 1];
	}
	return sum;
}

/* Reads what there is. Overtaken, the same records come again. */
static int read_back(struct child *child)
{
	const struct mr_message *messages;
	int count, r;

	if (!child->consumer)
		return 0;
	count = mr_consumer_poll_in_place(child->consumer, 0, &messages);
	if (count > 0) {
		child->touched += touch(messages, count);
		r = mr_consumer_release(child->consumer);
		if (r == 0)
			child->consumed += (uint64_t)count;
		else if (r != -EOVERFLOW)
			count = r;
	}
	if (count >= 0)
		return count;
	mr_consumer_error(child->consumer, &child->err);
	return child->err.code ? child->err.code
			       : mr_error_set(&child->err, count, "cannot read back");
}

/* How many records may go now. */
static uint32_t due(const struct child *child, uint64_t at_ns)
{
	double rate = child->load->rate;
	uint64_t by_now;

	if (rate <= 0)
		return child->burst;
	by_now = (uint64_t)((double)(at_ns - child->due_ns) * rate / 1e9) + 1;
	if (by_now > child->records_due_max)
		by_now = child->records_due_max;
	if (by_now <= child->published)
		return 0;
	return by_now - child->published < child->burst ? (uint32_t)(by_now - child->published)
							: child->burst;
}

/* Into the next lane; returns how many it took, 0 when it is full. */
static int put(struct child *child, uint32_t count)
{
	struct mr_producer *producer = child->producers[child->next_lane];
	int taken = mr_producer_put_many(producer, child->records + child->next_record, count);

	if (++child->next_lane == child->lanes)
		child->next_lane = 0;
	if (taken > 0) {
		child->published += (uint64_t)taken;
		child->next_record = (child->next_record + (uint32_t)taken) % KEYS;
		return taken;
	}
	if (taken == -EAGAIN)
		return 0;
	mr_producer_error(producer, &child->err);
	return child->err.code ? child->err.code
			       : mr_error_set(&child->err, taken, "cannot publish");
}

/* Open loop: what is due goes, and every change is noted. */
static int publish_at_rate(struct child *child)
{
	uint64_t at_ns = now_ns();
	int r = 0;

	while (at_ns < child->end_ns && r >= 0) {
		uint32_t count = due(child, at_ns);
		bool idle;

		r = count ? put(child, count) : 0;
		idle = r == 0;
		if (r >= 0)
			r = read_back(child);
		idle = idle && r == 0;
		at_ns = now_ns();
		if (r >= 0)
			r = look(child, at_ns);
		if (idle)
			rest(child);
	}
	return r;
}

/* As many as go in; the clock is looked at now and then. */
static int publish_all(struct child *child)
{
	uint32_t rounds = child->burst < CLOCK_FRAMES ? CLOCK_FRAMES / child->burst : 1;
	uint64_t at_ns = now_ns(), look_ns = at_ns;
	int r = 0;

	while (at_ns < child->end_ns && r >= 0) {
		for (uint32_t i = 0; i < rounds && r >= 0; i++) {
			r = put(child, child->burst);
			if (r == 0)
				rest(child);
			if (r >= 0)
				r = read_back(child);
		}
		at_ns = now_ns();
		if (r < 0 || at_ns < look_ns)
			continue;
		r = look(child, at_ns);
		look_ns = at_ns + LOOK_NS;
	}
	return r;
}

static bool all_through(const struct child *child)
{
	return child->total_acknowledged == child->published &&
	       (!child->consumer || child->consumed == child->published);
}

static int drain(struct child *child)
{
	uint64_t give_up_ns = now_ns() + DRAIN_NS;
	int r = look(child, now_ns());

	while (r >= 0 && !all_through(child) && now_ns() < give_up_ns) {
		r = read_back(child);
		if (r >= 0)
			r = look(child, now_ns());
		sched_yield();
	}
	if (r < 0 || all_through(child))
		return r;
	/* a latency that never ends is not left out */
	return mr_error_set(&child->err, -ETIMEDOUT,
			    "%" PRIu64 " of %" PRIu64 " records were not acknowledged, or not read "
			    "back, 10 s after the load's end",
			    child->published - child->total_acknowledged, child->published);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static int publish(struct child *child)
{
	struct mr_bench_load_shared *shared = child->shared;
	uint64_t before_ns = cpu_ns();
	int r = child->load->rate > 0 ? publish_at_rate(child) : publish_all(child);

	shared->cpu_ns = cpu_ns() - before_ns;
	shared->publishing_ended_ns = now_ns();
	if (r >= 0)
		r = drain(child);
	shared->published = child->published;
	shared->acknowledged = child->total_acknowledged;
	shared->consumed = child->consumed;
	return r < 0 ? r : 0;
}

static void finish(struct child *child)
{
	for (uint32_t i = 0; i < child->lanes; i++)
		(void)mr_producer_close(child->producers[i], 0); /* drained, or said so, before */
	mr_consumer_close(child->consumer);
	mr_disconnect(child->connection);
	free(child->producers);
	free(child->acknowledged);
	free(child->records);
	free(child->keys);
	free(child->value);
}

void mr_bench_load_child(const struct mr_bench_load *load, const char *socket,
			 struct mr_bench_load_shared *shared)
{
	struct child child = {.load = load, .shared = shared};
	int r = prepare(&child, socket);

	if (r == 0) {
		/* Pairs with the parent's look at the stage. */
		atomic_store_explicit(&shared->stage, MR_BENCH_LOAD_READY, memory_order_release);
		wait_for_start(&child);
		r = publish(&child);
	}
	shared->err = child.err;
	if (r < 0 && child.err.code == 0)
		mr_error_set(&shared->err, r, "the load failed");
	finish(&child);
	/* All of the above is visible before the stage is. Pairs with the parent's look. */
	atomic_store_explicit(&shared->stage, r < 0 ? MR_BENCH_LOAD_FAILED : MR_BENCH_LOAD_DONE,
			      memory_order_release);
}
