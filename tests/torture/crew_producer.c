/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer of the kill test: publishes numbered values by its habit until it is told to stop or
 * killed, and reports each receipt to the parent as soon as the engine gave it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crew.h"

#define RECORDS_MAX	32
#define PATIENCE_MS	60000
#define REPORTS_A_WRITE 16 /* not more than a pipe takes at once */
#define KEYS_VALUE_MOST 4096

struct producer {
	struct crew_page *page;
	struct crew_producer_page *own;
	struct torture_random random;
	struct mr_connection *connection;
	struct mr_producer *handle;
	enum crew_habit habit;
	uint32_t writer;
	int report_fd;
	uint64_t numbers[CREW_PARTITIONS_MAX]; /* of the next record there */
	uint64_t published;
	uint8_t *values[RECORDS_MAX];
};

static __attribute__((noreturn)) void give_up(struct producer *self, const char *what, int r)
{
	struct mr_error err = {0};

	if (self->handle)
		mr_producer_error(self->handle, &err);
	printf("producer %u: %s: %s: %s %s\n", self->writer, what, strerror(-r), err.what, err.why);
	fflush(stdout);
	_exit(1);
}

/* ---- the engine, which may be gone at any moment --------------------------------------------- */

static void connect_engine(struct producer *self, const char *socket)
{
	struct mr_connect_options options = {
		.size = sizeof(options),
		.socket_path = socket,
		.client_name = "torture",
	};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	int r;

	do {
		r = mr_connect(&options, &self->connection, NULL);
		if (r < 0)
			torture_sleep_us(5000);
	} while (r < 0 && torture_now_us() < end_us);
	if (r < 0)
		give_up(self, "cannot connect", r);
}

static void open_producer(struct producer *self)
{
	static const enum mr_acks acks[CREW_HABITS] = {
		[CREW_SMALL] = MR_ACKS_MEMORY,
		[CREW_MANY] = MR_ACKS_DISK,
		[CREW_PLACE] = MR_ACKS_COMMITTED,
		[CREW_KEYS] = MR_ACKS_COMMITTED,
	};
	static const uint32_t lane_bytes[CREW_HABITS] = {
		[CREW_SMALL] = 256u << 10,
		[CREW_MANY] = 1u << 20,
		[CREW_PLACE] = 1u << 20,
		[CREW_KEYS] = 64u << 10,
	};
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = CREW_TOPIC,
		.partition = self->habit == CREW_KEYS ? MR_PARTITION_BY_KEY : (int)self->habit,
		.acks = acks[self->habit],
		.lane_bytes = lane_bytes[self->habit],
		.full_wait_ms = self->habit == CREW_MANY ? 20 : 0,
	};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_error err;
	int r;

	do {
		r = mr_producer_open(self->connection, &options, &self->handle, &err);
		if (r < 0)
			torture_sleep_us(5000);
	} while (r < 0 && torture_now_us() < end_us);
	if (r < 0)
		give_up(self, err.what, r);
}

/* ---- telling --------------------------------------------------------------------------------- */

static void send_reports(struct producer *self, struct crew_report *reports, int count)
{
	ssize_t bytes = (ssize_t)sizeof(*reports) * count;

	for (int i = 0; i < count; i++)
		reports[i].writer = self->writer;
	if (count && write(self->report_fd, reports, (size_t)bytes) != bytes)
		_exit(1); /* the parent is gone */
}

static void read_state(struct producer *self, struct mr_producer_state *state)
{
	int r;

	memset(state, 0, sizeof(*state));
	state->size = sizeof(*state);
	r = mr_producer_state(self->handle, state);
	if (r < 0)
		give_up(self, "state", r);
	atomic_store(&self->own->published, state->published);
	atomic_store(&self->own->acknowledged, state->acknowledged);
	atomic_store(&self->own->hand_backs, state->hand_backs);
	atomic_store(&self->own->full, state->full);
}

static void tell_receipts(struct producer *self)
{
	struct crew_report reports[REPORTS_A_WRITE];
	struct mr_receipt receipts[REPORTS_A_WRITE];
	struct mr_producer_state state;
	int count, i;

	do {
		count = mr_producer_receipts(self->handle, receipts, REPORTS_A_WRITE);
		if (count < 0)
			give_up(self, "receipts", count);
		memset(reports, 0, sizeof(reports));
		for (i = 0; i < count; i++) {
			reports[i].kind = CREW_RECEIPT;
			reports[i].receipt = receipts[i];
		}
		send_reports(self, reports, count);
	} while (count == REPORTS_A_WRITE);
	read_state(self, &state);
}

static void tell_end(struct producer *self, int flushed)
{
	struct crew_report report = {.kind = CREW_END, .flushed = flushed};

	read_state(self, &report.state);
	send_reports(self, &report, 1);
}

/* ---- publishing by habit --------------------------------------------------------------------- */

static uint32_t mixed_bytes(struct producer *self)
{
	uint64_t luck = torture_below(&self->random, 1000);

	if (luck < 900)
		return TORTURE_VALUE_LEAST + (uint32_t)torture_below(&self->random, 480);
	if (luck < 985)
		return 500 + (uint32_t)torture_below(&self->random, 9500);
	if (luck < 999)
		return 10000 + (uint32_t)torture_below(&self->random, TORTURE_VALUE_MOST - 10000);
	return TORTURE_VALUE_MOST;
}

static bool is_full(struct producer *self, const char *what, int r)
{
	if (r < 0 && r != -EAGAIN)
		give_up(self, what, r);
	return r < 0;
}

static struct mr_record make_record(struct producer *self, uint32_t place, uint64_t number,
				    uint32_t bytes)
{
	torture_value_make(self->values[place], bytes, self->writer, number);
	return (struct mr_record){
		.value = self->values[place],
		.value_bytes = (int32_t)bytes,
		.key_bytes = MR_NULL_BYTES,
		.timestamp_ms = MR_TIMESTAMP_NOW,
	};
}

/* Returns for how long to rest. */
static uint64_t publish_small(struct producer *self)
{
	uint64_t count = 1 + torture_below(&self->random, 40);

	while (count--) {
		uint32_t bytes = TORTURE_VALUE_LEAST + (uint32_t)torture_below(&self->random, 380);
		struct mr_record record = make_record(self, 0, self->numbers[0], bytes);

		if (is_full(self, "put", mr_producer_put(self->handle, &record)))
			return 1000;
		self->numbers[0]++;
	}
	return torture_below(&self->random, 6000);
}

static uint64_t publish_many(struct producer *self)
{
	uint32_t count = 1 + (uint32_t)torture_below(&self->random, RECORDS_MAX), i;
	struct mr_record records[RECORDS_MAX];
	int r;

	for (i = 0; i < count; i++)
		records[i] = make_record(self, i, self->numbers[1] + i, mixed_bytes(self));
	r = mr_producer_put_many(self->handle, records, count);
	if (is_full(self, "put_many", r))
		return 1000;
	self->numbers[1] += (uint32_t)r;
	return 5000 + torture_below(&self->random, 30000);
}

static uint64_t publish_in_place(struct producer *self)
{
	uint32_t count = 1 + (uint32_t)torture_below(&self->random, 8), done;
	void *value;
	int r = 0;

	for (done = 0; done < count; done++) {
		uint32_t bytes = mixed_bytes(self);

		r = mr_producer_reserve(self->handle, NULL, MR_NULL_BYTES, bytes, MR_TIMESTAMP_NOW,
					&value);
		if (is_full(self, "reserve", r))
			break;
		torture_value_make(value, bytes, self->writer, self->numbers[2] + done);
	}
	if (torture_chance(&self->random, 5)) {
		r = mr_producer_abandon(self->handle);
	} else {
		r = mr_producer_publish(self->handle);
		self->numbers[2] += r > 0 ? (uint32_t)r : 0;
	}
	if (r != (int)done)
		give_up(self, "publish returned another count", r);
	return done < count ? 1000 : 1000 + torture_below(&self->random, 9000);
}

static uint64_t publish_by_key(struct producer *self)
{
	bool burst = atomic_load(&self->page->burst);
	uint32_t count = burst ? 64 : 1 + (uint32_t)torture_below(&self->random, 8);
	uint64_t full = 0;

	while (count--) {
		uint64_t key = torture_random(&self->random);
		int32_t place = mr_partition_of_key(&key, sizeof(key), (int)self->page->partitions);
		uint32_t bytes = TORTURE_VALUE_LEAST +
				 (uint32_t)torture_below(&self->random, KEYS_VALUE_MOST);
		struct mr_record record = make_record(self, 0, self->numbers[place], bytes);

		record.key = &key;
		record.key_bytes = sizeof(key);
		if (is_full(self, "put", mr_producer_put(self->handle, &record)))
			full++;
		else
			self->numbers[place]++;
	}
	if (burst)
		return full > 32 ? 200 : 0;
	return full ? 1000 : 2000 + torture_below(&self->random, 6000);
}

static uint64_t publish(struct producer *self)
{
	switch (self->habit) {
	case CREW_SMALL:
		return publish_small(self);
	case CREW_MANY:
		return publish_many(self);
	case CREW_PLACE:
		return publish_in_place(self);
	case CREW_KEYS:
		return publish_by_key(self);
	case CREW_HABITS:
		break;
	}
	return 0;
}

int crew_producer_main(int count, char **words)
{
	struct producer self = {.writer = (uint32_t)strtoul(words[5], NULL, 10)};
	int flushed;

	self.page = torture_map((int)strtol(words[2], NULL, 10), sizeof(*self.page));
	self.report_fd = (int)strtol(words[3], NULL, 10);
	self.habit = (enum crew_habit)strtol(words[4], NULL, 10);
	self.own = &self.page->producers[self.habit];
	self.random.state = strtoull(words[6], NULL, 10);
	for (int i = 0; i < RECORDS_MAX; i++)
		self.values[i] = malloc(TORTURE_VALUE_MOST);
	connect_engine(&self, words[1]);
	open_producer(&self);
	while (!atomic_load(&self.page->stop)) {
		uint64_t rest_us = publish(&self);

		tell_receipts(&self);
		if (rest_us)
			torture_sleep_us(rest_us);
	}
	flushed = mr_producer_flush(self.handle, PATIENCE_MS);
	tell_receipts(&self);
	tell_end(&self, flushed);
	if (mr_producer_close(self.handle, PATIENCE_MS) < 0)
		return 1;
	mr_disconnect(self.connection);
	for (int i = 0; i < RECORDS_MAX; i++)
		free(self.values[i]);
	return 0;
}
