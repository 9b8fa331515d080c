/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumers of the kill test: one attached throughout, one that reads the whole log afterwards.
 * Each writes every record that it saw into shared memory, at its offset, and counts what must not
 * be: an offset left out or seen twice, a value that is not whole, an error.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"

#define PATIENCE_MS 60000
#define FAULTS_TOLD 20

struct seer {
	struct crew_page *page;
	struct torture_random random;
	struct mr_connection *connection;
	struct mr_consumer *handle;
	enum crew_seer seer;
	bool provisional; /* what is looked at may be overwritten: release tells */
};

__attribute__((format(printf, 2, 3))) static void fault(struct seer *self, const char *format, ...)
{
	va_list arguments;

	if (atomic_fetch_add(&self->page->faults[self->seer], 1) >= FAULTS_TOLD ||
	    self->provisional)
		return;
	printf("%s: ", self->seer == CREW_READER ? "reader" : "consumer");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
}

static bool open_consumer(struct seer *self, const char *socket)
{
	struct mr_connect_options connect = {
		.size = sizeof(connect),
		.socket_path = socket,
		.client_name = "torture",
	};
	struct mr_consumer_options options = {
		.size = sizeof(options),
		.topic = CREW_TOPIC,
		.from = MR_FROM_EARLIEST,
	};
	uint64_t end_us = torture_now_us() + PATIENCE_MS * UINT64_C(1000);
	struct mr_error err = {0};
	int r;

	do {
		r = self->connection ? 0 : mr_connect(&connect, &self->connection, &err);
		if (r == 0)
			r = mr_consumer_open(self->connection, &options, &self->handle, &err);
		if (r < 0)
			torture_sleep_us(5000);
	} while (r < 0 && torture_now_us() < end_us);
	if (r < 0)
		fault(self, "cannot open: %s", err.what);
	return r == 0;
}

/* What one poll gave. Entries are written first and counted when they are known to be valid. */
static void see(struct seer *self, const struct mr_message *messages, int count)
{
	int32_t partition = messages[0].partition;
	uint64_t next = atomic_load(&self->page->next[self->seer][partition]);

	for (int i = 0; i < count; i++) {
		const struct mr_message *message = &messages[i];
		struct crew_entry *entry;
		uint64_t number = 0;
		uint32_t writer = 0;

		if (message->offset != next || message->partition != partition) {
			fault(self, "partition %d: offset %" PRIu64 " where %" PRIu64 " was due",
			      message->partition, message->offset, next);
			return; /* of a view that was overtaken perhaps: release tells */
		}
		if (next >= CREW_OFFSETS_MAX)
			torture_die("partition %d: more records than the test can hold", partition);
		if (!torture_value_read(message->value, (uint32_t)message->value_bytes, &writer,
					&number))
			fault(self,
			      "partition %d offset %" PRIu64 ": a value of %d bytes is broken",
			      partition, next, message->value_bytes);
		entry = &self->page->seen[self->seer][partition][next++];
		entry->writer = writer + 1;
		entry->number = (uint32_t)number;
	}
}

static void count_seen(struct seer *self, int32_t partition, uint64_t next)
{
	atomic_store(&self->page->next[self->seer][partition], next);
}

static void complain(struct seer *self, const char *what, int r)
{
	struct mr_error err = {0};

	mr_consumer_error(self->handle, &err);
	fault(self, "%s: %s: %s %s", what, strerror(-r), err.what, err.why);
	torture_sleep_us(100000);
}

static int poll_copies(struct seer *self)
{
	const struct mr_message *messages;
	int r = mr_consumer_poll(self->handle, 50, &messages);

	if (r > 0) {
		see(self, messages, r);
		count_seen(self, messages[0].partition, messages[r - 1].offset + 1);
	}
	return r;
}

/* Values that changed while they were looked at are no fault, if release says so. */
static int poll_in_place(struct seer *self)
{
	uint64_t faults = atomic_load(&self->page->faults[self->seer]), next;
	const struct mr_message *messages;
	int r = mr_consumer_poll_in_place(self->handle, 50, &messages), released;
	int32_t partition;

	if (r <= 0)
		return r;
	partition = messages[0].partition;
	next = messages[r - 1].offset + 1;
	self->provisional = true;
	see(self, messages, r);
	self->provisional = false;
	released = mr_consumer_release(self->handle);
	if (released == 0 && atomic_load(&self->page->faults[self->seer]) > faults)
		fault(self, "partition %d: a view before offset %" PRIu64 " was good, by release",
		      partition, next);
	if (released == 0)
		count_seen(self, partition, next);
	else if (released == -EOVERFLOW)
		atomic_store(&self->page->faults[self->seer], faults);
	else
		return released;
	return r;
}

static bool has_all(struct seer *self)
{
	uint64_t lag = 0;

	for (int32_t i = 0; i < (int32_t)self->page->partitions; i++) {
		struct mr_consumer_position position = {.size = sizeof(position)};
		int r = mr_consumer_position(self->handle, i, &position);

		if (r < 0)
			return false;
		lag += position.lag;
		if (i == 0)
			atomic_store(&self->page->overtaken[self->seer], position.overtaken);
	}
	return lag == 0;
}

int crew_seer_main(int count, char **words)
{
	struct seer self = {.seer = (enum crew_seer)strtol(words[3], NULL, 10)};

	self.page = torture_map((int)strtol(words[2], NULL, 10), sizeof(*self.page));
	self.random.state = strtoull(words[4], NULL, 10);
	if (!open_consumer(&self, words[1]))
		return 1;
	for (;;) {
		int r = torture_chance(&self.random, 30) ? poll_in_place(&self)
							 : poll_copies(&self);

		if (r < 0)
			complain(&self, "poll", r);
		if (r <= 0 && atomic_load(&self.page->stop_seer[self.seer]) && has_all(&self))
			break;
		if (atomic_load(&self.page->faults[self.seer]) > 1000)
			break;
	}
	mr_consumer_close(self.handle);
	mr_disconnect(self.connection);
	return 0;
}
