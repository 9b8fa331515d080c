/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a worker: one drain is one batch; a record is answered when it is as safe as
 * its lane asks, and not before; what the log has is dropped and answered; what a client writes
 * harms its own lane only; nothing is lost at closing, and nothing is answered after a failure.
 *
 * The worker is the real thread, over the real lane, tail and log; the disk is the one in memory.
 * The test is the control thread.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <rte_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doorbell.h"
#include "io_fake.h"
#include "log/recover.h"
#include "region.h"
#include "worker_state.h"

#define TOPICS_DIRECTORY "topics/0123"
#define DIRECTORY	 "topics/0123/0"
#define LANE_BYTES	 (64u << 10)
#define RECORD_MAX	 (16u << 10)
#define PATIENCE_MS	 10000

static const uint8_t topic_id[16] = {1}, log_id[16] = {2};
static struct mr_error err;

static struct {
	struct mr_io *io;
	struct mr_worker *worker;
	struct mr_worker_partition *part;
	struct mr_segment *active;
	_Atomic uint64_t counters[MR_PARTITION_COUNTERS];
	_Atomic uint64_t worker_counters[MR_WORKER_COUNTERS];
	struct mr_worker_message add, remove, snapshot;
	uint32_t poisoned, failures; /* told by the worker */
} rig;
/* Of the worker that begin_as() starts. */
static const struct mr_clock *clock_used = &mr_clock_system;
static enum mr_config_idle idle_used = MR_CONFIG_IDLE_SPIN;

/* A client's lane and the messages that carry it. */
struct client {
	struct mr_lane_writer writer;
	struct mr_worker_lane *lane;
	struct mr_worker_message add, close;
	int client_fd, engine_fd, bell_to_client, bell_to_worker;
};

/* The control thread's part of one message; returns the message if it is of that kind. */
static bool take(struct mr_worker_message *message, enum mr_worker_message_kind kind)
{
	if (message->kind == MR_WORKER_WAKE)
		mr_waker_ring(message->waker);
	if (message->kind == MR_WORKER_LANE_POISONED)
		rig.poisoned++;
	if (message->kind == MR_WORKER_LOG_FAILED)
		rig.failures++;
	if (message->kind == MR_WORKER_LOG_EVENT)
		mr_worker_send(rig.worker, message);
	return message->kind == kind;
}

static struct mr_worker_message *await(enum mr_worker_message_kind kind)
{
	struct mr_worker_message *message;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		while ((message = mr_worker_take(rig.worker)) != NULL)
			if (take(message, kind))
				return message;
		(void)poll(NULL, 0, 1);
	}
	cr_assert_fail("no message of kind %d came", (int)kind);
	return NULL;
}

/* Lets the worker make many turns, answering what it says. */
static void settle(void)
{
	uint64_t turns = rig.worker_counters[MR_COUNT_TURNS] + 20;
	struct mr_worker_message *message;

	for (int ms = 0; ms < PATIENCE_MS && rig.worker_counters[MR_COUNT_TURNS] < turns; ms++) {
		while ((message = mr_worker_take(rig.worker)) != NULL)
			(void)take(message, MR_WORKER_WAKE);
		(void)poll(NULL, 0, 1);
	}
}

static struct mr_log_start make_log(void)
{
	struct mr_recovered created = {0};
	struct mr_log_start start;

	cr_assert_eq(mr_io_make_directory(rig.io, "topics", &err), 0);
	cr_assert_eq(mr_io_make_directory(rig.io, TOPICS_DIRECTORY, &err), 0);
	cr_assert_eq(
		mr_log_create(rig.io, DIRECTORY, topic_id, 0, log_id, 1u << 20, &created, &err), 0,
		"%s", err.what);
	start = created.start;
	rig.active = start.active;
	free(created.segments);
	return start;
}

/* 'in_memory': no log, no disk; offsets from 'base' on. */
static void begin_as(uint32_t batch_bytes_max, bool in_memory, uint64_t base)
{
	struct mr_place_entry place = {.cpu = MR_PLACE_ANY,
				       .core = MR_PLACE_ANY,
				       .node = MR_PLACE_ANY,
				       .package = MR_PLACE_ANY};
	struct mr_worker_options worker = {
		.place = &place,
		.clock = clock_used,
		.idle = idle_used,
		.groups_in_flight = 4,
	};
	struct mr_worker_partition_options options = {
		.tail_bytes = 1u << 20,
		.node = MR_PLACE_ANY,
		.log = {64u << 10, batch_bytes_max, 4, .in_memory = in_memory},
		.start = {.position = MR_BLOCK_BYTES,
			  .offset = base,
			  .offset_limit = base + 1000000},
	};
	struct mr_partition state;

	memset(&rig, 0, sizeof(rig));
	rig.io = mr_io_fake_new(1);
	for (int i = 0; i < MR_WORKER_COUNTERS; i++)
		worker.counters[i] = &rig.worker_counters[i];
	for (int i = 0; i < MR_PARTITION_COUNTERS; i++)
		options.counters[i] = &rig.counters[i];
	if (!in_memory)
		options.start = make_log();
	memcpy(options.topic_id, topic_id, sizeof(topic_id));
	cr_assert_eq(mr_partition_init(&state, 64, 1, &err), 0);
	mr_partition_start(&state, base, base, 64);
	worker.io = rig.io;
	cr_assert_eq(mr_worker_start(&worker, &rig.worker, &err), 0, "%s", err.what);
	cr_assert_eq(mr_worker_partition_new(&options, &state, &rig.part, &err), 0, "%s", err.what);
	rig.add.kind = MR_WORKER_ADD_PARTITION;
	rig.add.partition = rig.part;
	mr_worker_send(rig.worker, &rig.add);
	cr_assert_eq(await(MR_WORKER_ADD_PARTITION)->status, 0);
}

static void begin_with(uint32_t batch_bytes_max)
{
	begin_as(batch_bytes_max, false, 0);
}

static void begin(void)
{
	begin_with(2 * RECORD_MAX);
}

static void begin_in_memory(void)
{
	begin_as(2 * RECORD_MAX, true, 5000);
	mr_io_fake_allow(rig.io, 0); /* whoever wrote or waited for a write would stand still */
}

static void remove_partition(int why)
{
	rig.remove.kind = MR_WORKER_REMOVE_PARTITION;
	rig.remove.partition = rig.part;
	rig.remove.status = why;
	mr_worker_send(rig.worker, &rig.remove);
}

static void end(void)
{
	if (rig.remove.kind != MR_WORKER_REMOVE_PARTITION) {
		remove_partition(-ESHUTDOWN);
		(void)await(MR_WORKER_REMOVE_PARTITION);
	}
	mr_worker_partition_free(rig.part);
	mr_worker_stop(rig.worker);
	mr_segment_close(rig.active);
	mr_io_close(rig.io);
}

static void open_client(struct client *client, int64_t producer_id, enum mr_acks acks,
			uint64_t number, bool resumed)
{
	struct mr_worker_lane_options options = {
		.partition = rig.part,
		.identity = {.producer_id = producer_id,
			     .producer_epoch = resumed && acks != MR_ACKS_COMMITTED,
			     .acks = acks,
			     .lane_bytes = LANE_BYTES,
			     .format = MR_FORMAT_VERSION},
		.resumed = resumed,
	};
	struct mr_lane_engine_page *page;
	uint8_t mac[32] = {0};

	memset(client, 0, sizeof(*client));
	cr_assert_eq(mr_lane_create_client(LANE_BYTES, &client->client_fd, &err), 0);
	cr_assert_eq(mr_lane_create_engine(&options.identity, mac, RECORD_MAX, 0, number,
					   &client->engine_fd, &page, &err),
		     0);
	cr_assert_eq(mr_lane_writer_open(client->client_fd, client->engine_fd, LANE_BYTES, number,
					 &client->writer, &err),
		     0);
	cr_assert_eq(mr_region_seal(client->client_fd, &err), 0);
	cr_assert_eq(
		mr_lane_reader_open(client->client_fd, page, LANE_BYTES, &options.reader, &err), 0);
	client->bell_to_client = mr_doorbell_open(&err);
	client->bell_to_worker = mr_doorbell_open(&err);
	cr_assert_eq(mr_doorbell_set_add(mr_worker_bells(rig.worker), client->bell_to_worker, &err),
		     0);
	options.bell_to_client = client->bell_to_client;
	client->lane = mr_worker_lane_new(&options);
	cr_assert_not_null(client->lane);
}

static void give(struct client *client)
{
	client->add.kind = MR_WORKER_ADD_LANE;
	client->add.lane = client->lane;
	cr_assert_eq(mr_worker_post(rig.worker, &client->add), 0);
	cr_assert_eq(await(MR_WORKER_ADD_LANE)->status, 0);
}

static void ask_close(struct client *client)
{
	client->close.kind = MR_WORKER_CLOSE_LANE;
	client->close.lane = client->lane;
	mr_worker_send(rig.worker, &client->close);
}

/* After MR_WORKER_CLOSE_LANE came back. */
static void free_client(struct client *client)
{
	mr_worker_lane_free(client->lane);
	mr_lane_writer_close(&client->writer);
	close(client->client_fd);
	close(client->engine_fd);
	close(client->bell_to_client);
	close(client->bell_to_worker);
}

static void close_client(struct client *client)
{
	ask_close(client);
	(void)await(MR_WORKER_CLOSE_LANE);
	free_client(client);
}

static void publish_silently(struct client *client, uint32_t records, uint32_t value_bytes)
{
	struct mr_record record = {
		.key_bytes = MR_NULL_BYTES, .value_bytes = (int32_t)value_bytes, .timestamp_ms = 1};
	void *payload;

	for (uint32_t i = 0; i < records; i++) {
		cr_assert_eq(mr_lane_reserve(&client->writer, &record, 0, &payload), 0);
		memset(payload, 'v', value_bytes);
	}
	mr_lane_publish(&client->writer);
}

static void publish(struct client *client, uint32_t records, uint32_t value_bytes)
{
	publish_silently(client, records, value_bytes);
	mr_doorbell_ring(client->bell_to_worker);
}

/* Writes over the first frame that was published. */
static void spoil_number(struct client *client, uint32_t slot)
{
	struct mr_frame *frame = (void *)((uint8_t *)(client->writer.ring + 1) + 8 * slot);

	frame->number += 1000;
}

static bool acknowledged(struct client *client, uint64_t number)
{
	struct mr_worker_message *message;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (mr_lane_acknowledged(&client->writer) >= number)
			return mr_lane_acknowledged(&client->writer) == number;
		while ((message = mr_worker_take(rig.worker)) != NULL)
			(void)take(message, MR_WORKER_WAKE);
		(void)poll(NULL, 0, 1);
	}
	return false;
}

static enum mr_lane_reason reason(struct client *client)
{
	char text[248];

	return mr_lane_reason(&client->writer, text);
}

Test(worker, one_drain_is_one_batch, .init = begin, .fini = end)
{
	struct client client;
	struct mr_receipt receipts[4];

	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	publish(&client, 100, 20);
	give(&client);
	cr_assert(acknowledged(&client, 100));
	cr_assert_eq(rig.counters[MR_COUNT_BATCHES], 1);
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 100);
	cr_assert_eq(rig.counters[MR_COUNT_GROUP_BYTES] % MR_BLOCK_BYTES, 0);
	cr_assert_geq(rig.counters[MR_COUNT_GROUP_BYTES], rig.counters[MR_COUNT_BYTES]);
	cr_assert_eq(mr_lane_receipts(&client.writer, receipts, 4), 1);
	cr_assert_eq(receipts[0].base_offset, 0);
	cr_assert_eq(receipts[0].count, 100);
	close_client(&client);
}

/* An assertion once: a lane full of small records asked for more than the log's largest batch. */
Test(worker, a_full_lane_is_more_than_the_largest_batch, .fini = end)
{
	struct client client;

	begin_with(RECORD_MAX + 200);
	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	publish(&client, 1000, 20);
	give(&client);
	cr_assert(acknowledged(&client, 1000));
	cr_assert_gt(rig.counters[MR_COUNT_BATCHES], 1);
	publish(&client, 3, RECORD_MAX);
	cr_assert(acknowledged(&client, 1003));
	close_client(&client);
}

Test(worker, answers_when_it_is_as_safe_as_the_lane_asks, .init = begin, .fini = end)
{
	struct client memory, disk, committed;

	mr_io_fake_allow(rig.io, 0);
	open_client(&memory, 1, MR_ACKS_MEMORY, 0, false);
	open_client(&disk, 2, MR_ACKS_DISK, 0, false);
	open_client(&committed, 3, MR_ACKS_COMMITTED, 0, false);
	give(&memory);
	give(&disk);
	give(&committed);
	publish(&memory, 5, 10);
	publish(&disk, 6, 10);
	publish(&committed, 7, 10);
	cr_assert(acknowledged(&memory, 5));
	while (rig.counters[MR_COUNT_RECORDS] < 18)
		(void)poll(NULL, 0, 1);
	settle();
	cr_assert_eq(mr_lane_acknowledged(&disk.writer), 0);
	cr_assert_eq(mr_lane_acknowledged(&committed.writer), 0);
	cr_assert_eq(mr_worker_partition_tail(rig.part)->page->committed_offset, 0);
	mr_io_fake_allow(rig.io, MR_IO_FAKE_ALL);
	cr_assert(acknowledged(&disk, 6));
	cr_assert(acknowledged(&committed, 7));
	cr_assert(acknowledged(&memory, 5));
	cr_assert_eq(mr_worker_partition_tail(rig.part)->page->committed_offset, 18);
	close_client(&memory);
	close_client(&disk);
	close_client(&committed);
}

/* What the lane still holds is partly in the log: an engine died before it moved the index. */
Test(worker, drops_what_the_log_has_at_hand_back, .init = begin, .fini = end)
{
	struct mr_receipt receipts[4];
	struct client first, again;

	open_client(&first, 9, MR_ACKS_COMMITTED, 0, false);
	give(&first);
	publish(&first, 5, 30);
	cr_assert(acknowledged(&first, 5));
	close_client(&first);
	open_client(&again, 9, MR_ACKS_COMMITTED, 0, true);
	publish(&again, 8, 30);
	give(&again);
	cr_assert(acknowledged(&again, 8));
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 8);
	cr_assert_eq(rig.counters[MR_COUNT_DUPLICATES], 5);
	cr_assert_eq(mr_lane_receipts(&again.writer, receipts, 4), 2);
	cr_assert_eq(receipts[0].base_offset, 0);
	cr_assert_eq(receipts[0].count, 5);
	cr_assert_eq(receipts[1].base_offset, 5);
	cr_assert_eq(receipts[1].count, 3);
	close_client(&again);
}

/* They waited for the next flush once, which never came. */
Test(worker, answers_duplicates_where_nothing_else_moves, .init = begin, .fini = end)
{
	static const enum mr_acks levels[] = {MR_ACKS_COMMITTED, MR_ACKS_DISK, MR_ACKS_MEMORY};
	struct client first, again;

	for (int i = 0; i < 3; i++) {
		open_client(&first, 9 + i, levels[i], 0, false);
		give(&first);
		publish(&first, 5, 30);
		cr_assert(acknowledged(&first, 5));
		close_client(&first);
		open_client(&again, 9 + i, levels[i], 0, true);
		publish(&again, 5, 30);
		give(&again);
		cr_assert(acknowledged(&again, 5), "level %d", (int)levels[i]);
		close_client(&again);
	}
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 15);
	cr_assert_eq(rig.counters[MR_COUNT_DUPLICATES], 15);
}

Test(worker, a_weak_lane_that_lost_records_is_told_and_goes_on, .init = begin, .fini = end)
{
	struct client first, again;

	open_client(&first, 4, MR_ACKS_MEMORY, 0, false);
	give(&first);
	publish(&first, 5, 30);
	cr_assert(acknowledged(&first, 5));
	close_client(&first);
	open_client(&again, 4, MR_ACKS_MEMORY, 12, true); /* 5 to 11 were answered, and are gone */
	publish(&again, 3, 30);
	give(&again);
	cr_assert(acknowledged(&again, 15));
	cr_assert_eq(again.writer.engine->lost, 7);
	cr_assert_eq(reason(&again), MR_LANE_OPEN);
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 8);
	close_client(&again);
}

Test(worker, refuses_a_gap_of_a_committed_lane, .init = begin, .fini = end)
{
	struct client first, again;

	open_client(&first, 4, MR_ACKS_COMMITTED, 0, false);
	give(&first);
	publish(&first, 5, 30);
	cr_assert(acknowledged(&first, 5));
	close_client(&first);
	open_client(&again, 4, MR_ACKS_COMMITTED, 12, true);
	publish(&again, 3, 30);
	give(&again);
	settle();
	cr_assert_eq(reason(&again), MR_LANE_GAP);
	cr_assert_eq(mr_lane_acknowledged(&again.writer), 12);
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 5);
	close_client(&again);
}

/* Its records would be taken for duplicates, and be lost. */
Test(worker, a_new_lane_of_a_producer_that_wrote_before_is_fenced, .init = begin, .fini = end)
{
	struct client first, again;

	open_client(&first, 4, MR_ACKS_COMMITTED, 0, false);
	give(&first);
	publish(&first, 5, 30);
	cr_assert(acknowledged(&first, 5));
	close_client(&first);
	open_client(&again, 4, MR_ACKS_COMMITTED, 0, false);
	publish(&again, 5, 30);
	give(&again);
	cr_assert_eq(reason(&again), MR_LANE_FENCED);
	settle();
	cr_assert_eq(mr_lane_acknowledged(&again.writer), 0);
	close_client(&again);
}

Test(worker, nonsense_closes_its_own_lane_only, .init = begin, .fini = end)
{
	struct client bad, good;

	open_client(&bad, 1, MR_ACKS_COMMITTED, 0, false);
	open_client(&good, 2, MR_ACKS_COMMITTED, 0, false);
	publish(&bad, 3, 32); /* 8 slots each */
	spoil_number(&bad, 16);
	give(&good);
	give(&bad);
	publish(&good, 4, 10);
	cr_assert(acknowledged(&good, 4));
	cr_assert(acknowledged(&bad, 2), "what was well formed before it is taken");
	settle();
	cr_assert_eq(reason(&bad), MR_LANE_BAD_FRAME);
	cr_assert_eq(reason(&good), MR_LANE_OPEN);
	cr_assert_eq(rig.poisoned, 1);
	cr_assert_eq(rig.counters[MR_COUNT_POISONED], 1);
	publish(&good, 4, 10);
	cr_assert(acknowledged(&good, 8));
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 10);
	close_client(&bad);
	close_client(&good);
}

Test(worker, an_impossible_index_closes_the_lane, .init = begin, .fini = end)
{
	struct client bad;

	open_client(&bad, 1, MR_ACKS_COMMITTED, 0, false);
	bad.writer.client->published = 0x80000000u;
	give(&bad);
	settle();
	cr_assert_eq(reason(&bad), MR_LANE_BAD_FRAME);
	close_client(&bad);
}

/* A bad frame leaves an empty group open. It stood in the way of all that came after, once. */
Test(worker, a_lane_that_only_ever_lied_holds_up_nobody, .init = begin, .fini = end)
{
	struct client bad, good;
	uint64_t number = 0;

	open_client(&good, 2, MR_ACKS_COMMITTED, 0, false);
	give(&good);
	for (int i = 0; i < 20; i++) {
		open_client(&bad, 100 + i, MR_ACKS_COMMITTED, 0, false);
		publish(&bad, 1, 10);
		spoil_number(&bad, 0);
		give(&bad);
		publish(&good, 1, RECORD_MAX);
		cr_assert(acknowledged(&good, ++number));
		close_client(&bad);
	}
	cr_assert_eq(rig.poisoned, 20);
	close_client(&good);
}

Test(worker, closing_takes_and_answers_what_was_published, .init = begin, .fini = end)
{
	struct client client;

	mr_io_fake_slow(rig.io, 50);
	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	give(&client);
	publish(&client, 500, 50);
	ask_close(&client);
	(void)await(MR_WORKER_CLOSE_LANE);
	cr_assert_eq(mr_lane_acknowledged(&client.writer), 500);
	free_client(&client);
}

Test(worker, a_deleted_topic_lets_its_lanes_go, .init = begin, .fini = end)
{
	struct client client;

	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	give(&client);
	publish(&client, 5, 50);
	cr_assert(acknowledged(&client, 5));
	remove_partition(-ENOENT);
	(void)await(MR_WORKER_LANE_POISONED);
	cr_assert_eq(reason(&client), MR_LANE_TOPIC_DELETED);
	ask_close(&client);
	(void)await(MR_WORKER_REMOVE_PARTITION);
	cr_assert_eq(mr_lane_acknowledged(&client.writer), 5);
	free_client(&client);
}

/* At a stop the rest stays in the lane for the next engine; what was taken is written. */
Test(worker, a_stop_leaves_nothing_taken_unwritten, .init = begin, .fini = end)
{
	struct client client;
	const struct mr_tail_page *page = mr_worker_partition_tail(rig.part)->page;

	mr_io_fake_slow(rig.io, 20);
	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	give(&client);
	for (int i = 0; i < 20; i++) {
		publish(&client, 1, 50);
		(void)poll(NULL, 0, 1);
	}
	remove_partition(-ESHUTDOWN);
	ask_close(&client);
	(void)await(MR_WORKER_REMOVE_PARTITION);
	cr_assert_eq(page->flushed_offset, page->appended_offset);
	cr_assert_eq(mr_lane_acknowledged(&client.writer), page->appended_offset);
	free_client(&client);
}

Test(worker, answers_nothing_after_a_failure, .init = begin, .fini = end)
{
	struct client client, late;

	mr_io_fake_allow(rig.io, 0);
	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	give(&client);
	publish(&client, 5, 50);
	while (rig.counters[MR_COUNT_GROUPS] < 1)
		(void)poll(NULL, 0, 1);
	mr_io_fake_crash(rig.io, 7);
	(void)await(MR_WORKER_LOG_FAILED);
	settle();
	cr_assert_eq(reason(&client), MR_LANE_DISK_FAILED);
	cr_assert_eq(mr_lane_acknowledged(&client.writer), 0);
	cr_assert_eq(mr_worker_partition_tail(rig.part)->page->committed_offset, 0);
	open_client(&late, 2, MR_ACKS_MEMORY, 0, false);
	publish(&late, 1, 50);
	give(&late);
	settle();
	cr_assert_eq(reason(&late), MR_LANE_DISK_FAILED);
	cr_assert_eq(mr_lane_acknowledged(&late.writer), 0);
	cr_assert_eq(mr_lane_acknowledged(&client.writer), 0);
	close_client(&client);
	close_client(&late);
}

/* Where the log goes on and what producers wrote are of one moment, and it is durable. */
Test(worker, a_snapshot_is_of_one_moment, .init = begin, .fini = end)
{
	struct mr_producer_entry producers[64];
	struct mr_epoch epochs[MR_EPOCHS_MAX];
	struct mr_worker_snapshot snapshot = {.producers = producers, .epochs = epochs};
	struct client client;

	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	give(&client);
	mr_io_fake_slow(rig.io, 5);
	for (int i = 0; i < 30; i++) {
		publish(&client, 3, 50);
		rig.snapshot.kind = MR_WORKER_SNAPSHOT;
		rig.snapshot.partition = rig.part;
		rig.snapshot.snapshot = &snapshot;
		mr_worker_send(rig.worker, &rig.snapshot);
		cr_assert_eq(await(MR_WORKER_SNAPSHOT)->status, 0);
		cr_assert_eq(snapshot.log.end_offset, snapshot.log_end);
		cr_assert_eq(snapshot.log.end_position % MR_BLOCK_BYTES, 0);
		cr_assert_geq(mr_worker_partition_tail(rig.part)->page->flushed_offset,
			      snapshot.log_end);
		if (snapshot.producer_count)
			cr_assert_eq(producers[0].last_offset + 1, snapshot.log_end);
	}
	close_client(&client);
}

/* More requests than the mailbox holds wait their turn, in order. */
Test(worker, no_request_is_too_many, .init = begin, .fini = end)
{
	enum { MANY = 20000 };
	struct mr_worker_message *messages = calloc(MANY, sizeof(*messages));

	for (uint64_t i = 0; i < MANY; i++) {
		messages[i].kind = MR_WORKER_LOG_START;
		messages[i].partition = rig.part;
		mr_worker_send(rig.worker, &messages[i]);
	}
	for (uint64_t i = 0; i < MANY; i++)
		cr_assert_eq(await(MR_WORKER_LOG_START), &messages[i]);
	free(messages);
}

/* ---- what the engine itself writes ------------------------------------------------------------
 */

static uint8_t own_batch[256];

/* A control batch, as the engine makes them. */
static void send_own(struct mr_worker_message *message)
{
	static const struct mr_batch_identity identity = {.attributes = MR_BATCH_CONTROL,
							  .producer_id = -1,
							  .producer_epoch = -1,
							  .base_sequence = -1};
	struct mr_batch_writer writer;

	mr_batch_begin(&writer, own_batch, sizeof(own_batch));
	cr_assert_eq(mr_batch_add(&writer, 0, "key", 3, "value", 5, NULL, 0, 0), 0);
	*message = (struct mr_worker_message){
		.kind = MR_WORKER_APPEND,
		.partition = rig.part,
		.state = own_batch,
		.state_bytes = (uint32_t)mr_batch_end(&writer, &identity),
	};
	mr_worker_send(rig.worker, message);
}

Test(worker, what_the_engine_writes_stands_between_the_records, .init = begin, .fini = end)
{
	const struct mr_tail *tail = mr_worker_partition_tail(rig.part);
	struct mr_worker_message own;
	struct client client;

	send_own(&own);
	cr_assert_eq(await(MR_WORKER_APPEND), &own);
	cr_assert_eq(own.status, 0);
	cr_assert_eq(own.offset, 0);
	for (int ms = 0; ms < PATIENCE_MS && tail->page->committed_offset == 0; ms++)
		(void)poll(NULL, 0, 1);
	cr_assert_eq(tail->page->committed_offset, 1, "nobody else moves");
	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	give(&client);
	publish(&client, 10, 20);
	cr_assert(acknowledged(&client, 10));
	send_own(&own);
	cr_assert_eq(await(MR_WORKER_APPEND)->offset, 11);
	publish(&client, 10, 20);
	cr_assert(acknowledged(&client, 20), "nobody's numbers moved");
	cr_assert_eq(tail->page->committed_offset, 22);
	close_client(&client);
}

Test(worker, a_partition_that_goes_takes_nothing_of_the_engine, .init = begin, .fini = end)
{
	struct mr_worker_message own;
	struct client client;

	open_client(&client, 1, MR_ACKS_COMMITTED, 0, false);
	give(&client);
	remove_partition(-ENOENT); /* waits for the lane */
	send_own(&own);
	cr_assert_eq(await(MR_WORKER_APPEND)->status, -ESTALE);
	close_client(&client);
	(void)await(MR_WORKER_REMOVE_PARTITION);
}

/* ---- in memory only ------------------------------------------------------------------------- */

Test(worker, in_memory_what_is_appended_is_committed_and_never_flushed, .init = begin_in_memory,
     .fini = end)
{
	const struct mr_tail_page *page = mr_worker_partition_tail(rig.part)->page;
	struct mr_receipt receipts[4];
	struct client client;

	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	give(&client);
	publish(&client, 10, 20);
	cr_assert(acknowledged(&client, 10));
	for (int ms = 0; ms < PATIENCE_MS && page->committed_offset < 5010; ms++)
		(void)poll(NULL, 0, 1);
	cr_assert_eq(page->committed_offset, 5010);
	cr_assert_eq(page->committed, page->appended);
	cr_assert_eq(page->flushed_offset, 5000);
	cr_assert_eq(rig.counters[MR_GAUGE_HIGH_WATERMARK], 5010);
	cr_assert_eq(rig.counters[MR_COUNT_GROUPS], 0);
	cr_assert_eq(mr_lane_receipts(&client.writer, receipts, 4), 1);
	cr_assert_eq(receipts[0].base_offset, 5000);
	close_client(&client);
}

/* Many times the tail: the oldest goes, the lane never waits, the log start offset follows. */
Test(worker, in_memory_the_oldest_makes_room, .init = begin_in_memory, .fini = end)
{
	const struct mr_tail *tail = mr_worker_partition_tail(rig.part);
	struct client client;
	uint64_t number = 0;

	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	give(&client);
	for (int i = 0; i < 1000; i++) {
		publish(&client, 3, 8000);
		number += 3;
		cr_assert(acknowledged(&client, number));
	}
	settle();
	cr_assert_eq(rig.counters[MR_COUNT_TAIL_FULL], 0);
	cr_assert_eq(tail->page->committed_offset, 5000 + number);
	cr_assert_gt(tail->page->log_start_offset, 5000);
	cr_assert_eq(tail->page->log_start_offset, tail->page->reclaimed_offset);
	cr_assert_gt((5000 + number - tail->page->log_start_offset) * 8000, (1u << 20) / 2);
	close_client(&client);
}

/* Nothing of it is there any more, so all that was acknowledged is lost, and is told. */
Test(worker, in_memory_a_lane_that_is_handed_back_has_lost_all, .init = begin_in_memory,
     .fini = end)
{
	struct client again;

	open_client(&again, 4, MR_ACKS_MEMORY, 12, true);
	publish(&again, 3, 30);
	give(&again);
	cr_assert(acknowledged(&again, 15));
	cr_assert_eq(again.writer.engine->lost, 12);
	cr_assert_eq(reason(&again), MR_LANE_OPEN);
	cr_assert_eq(rig.counters[MR_COUNT_RECORDS], 3);
	close_client(&again);
}

Test(worker, in_memory_lanes_wait_where_the_reserved_offsets_end, .fini = end)
{
	struct mr_worker_message reserved = {.kind = MR_WORKER_OFFSETS_RESERVED};
	struct client client;
	uint64_t before;

	begin_as(2 * RECORD_MAX, true, 5000);
	reserved.partition = rig.part;
	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	client.writer.number = 0;
	give(&client);
	for (int i = 0; i < 1500; i++) {
		publish(&client, 700, 1);
		while (mr_lane_acknowledged(&client.writer) + 700 < client.writer.number &&
		       rig.counters[MR_COUNT_NO_SEGMENT] == 0)
			(void)poll(NULL, 0, 1);
		if (rig.counters[MR_COUNT_NO_SEGMENT])
			break;
	}
	cr_assert_gt(rig.counters[MR_COUNT_NO_SEGMENT], 0);
	settle();
	before = mr_lane_acknowledged(&client.writer);
	settle();
	cr_assert_eq(mr_lane_acknowledged(&client.writer), before);
	cr_assert_lt(before, client.writer.number);
	reserved.offset = 5000 + 2000000;
	mr_worker_send(rig.worker, &reserved);
	cr_assert_eq(await(MR_WORKER_OFFSETS_RESERVED)->status, 0);
	cr_assert(acknowledged(&client, client.writer.number));
	close_client(&client);
}

/* ---- rests and sleeps ----------------------------------------------------------------------- */

/* What a clock saw that the worker reads at the end of each turn, before it rests or sleeps. */
static struct {
	_Atomic uint64_t turns_with_batches;
	_Atomic uint64_t not_committed;	 /* at the end of a turn, though appended */
	_Atomic uint64_t rests_too_soon; /* before the end of the turn that they follow */
	_Atomic uint64_t flags_wrong;
	uint64_t batches;
	const struct mr_tail_page *_Atomic page;
	struct client *_Atomic busy, *_Atomic quiet;
} seen;

static uint64_t look_at_turn_end(const struct mr_clock *clock)
{
	const struct mr_tail_page *page = atomic_load(&seen.page);
	struct client *quiet = atomic_load(&seen.quiet), *busy = atomic_load(&seen.busy);

	if (page && page->committed != page->appended)
		seen.not_committed++;
	if (rig.worker_counters[MR_COUNT_RESTS] > seen.turns_with_batches)
		seen.rests_too_soon++;
	if (rig.counters[MR_COUNT_BATCHES] != seen.batches) {
		seen.turns_with_batches++;
		if (quiet && (!quiet->writer.engine->asleep || busy->writer.engine->asleep))
			seen.flags_wrong++;
	}
	seen.batches = rig.counters[MR_COUNT_BATCHES];
	return mr_clock_system.monotonic_ns(&mr_clock_system);
}

static int64_t wall_ms(const struct mr_clock *clock)
{
	return mr_clock_system.wall_ms(&mr_clock_system);
}

static const struct mr_clock looking_clock = {look_at_turn_end, wall_ms};

/* Until a turn is over that began after this call, with what follows it. */
static void await_turn(void)
{
	uint64_t turns = rig.worker_counters[MR_COUNT_TURNS] + 3;

	for (int ms = 0; ms < PATIENCE_MS && rig.worker_counters[MR_COUNT_TURNS] < turns; ms++)
		(void)poll(NULL, 0, 1);
}

/* A record lay there, taken but not committed, for as long as a rest takes. */
Test(worker, rests_when_all_can_be_seen, .fini = end)
{
	struct client client;

	clock_used = &looking_clock;
	begin_in_memory();
	atomic_store(&seen.page, mr_worker_partition_tail(rig.part)->page);
	open_client(&client, 1, MR_ACKS_MEMORY, 0, false);
	give(&client);
	for (uint64_t number = 10; number <= 1000; number += 10) {
		publish(&client, 10, 20);
		cr_assert(acknowledged(&client, number));
	}
	await_turn();
	cr_assert_gt(rig.worker_counters[MR_COUNT_RESTS], 0);
	cr_assert_eq(seen.rests_too_soon, 0);
	cr_assert_eq(seen.not_committed, 0);
	atomic_store(&seen.page, NULL);
	await_turn();
	close_client(&client);
}

/* Who waits for each record before the next one paid a rest for each. */
Test(worker, does_not_rest_after_a_lone_record, .init = begin_in_memory, .fini = end)
{
	struct client clients[2];

	for (int i = 0; i < 2; i++) {
		open_client(&clients[i], 1 + i, MR_ACKS_MEMORY, 0, false);
		give(&clients[i]);
	}
	for (uint64_t number = 1; number <= 50; number++)
		for (int i = 0; i < 2; i++) {
			publish(&clients[i], 1, 20);
			cr_assert(acknowledged(&clients[i], number));
		}
	await_turn();
	cr_assert_eq(rig.worker_counters[MR_COUNT_RESTS], 0);
	for (int i = 0; i < 2; i++)
		close_client(&clients[i]);
}

Test(worker, rests_grow_while_small_takes_follow_each_other)
{
	const struct mr_worker_taken several = {.lanes = 2, .frames = 3, .bytes = 192};
	const struct mr_worker_taken lone = {.lanes = 2, .frames = 2, .bytes = 128};
	const struct mr_worker_taken much = {.lanes = 1, .frames = 64, .bytes = 4096};
	const struct mr_worker_taken nothing = {0};
	uint32_t pauses = 0;

	for (uint32_t expected = 1; expected <= 16; expected *= 2) {
		pauses = mr_worker_pauses(pauses, &several);
		cr_assert_eq(pauses, expected);
	}
	cr_assert_eq(mr_worker_pauses(pauses, &several), pauses);
	cr_assert_eq(mr_worker_pauses(pauses, &lone), 0);
	cr_assert_eq(mr_worker_pauses(pauses, &much), 0);
	cr_assert_eq(mr_worker_pauses(pauses, &nothing), 0);
}

static void await_parks(uint64_t more)
{
	uint64_t parks = rig.worker_counters[MR_COUNT_PARKS] + more;

	for (int ms = 0; ms < PATIENCE_MS && rig.worker_counters[MR_COUNT_PARKS] < parks; ms++)
		(void)poll(NULL, 0, 1);
	cr_assert_geq(rig.worker_counters[MR_COUNT_PARKS], parks);
}

/* Looks at a hundred lanes whose lines were far away took as long as the wake-up itself. */
Test(worker, a_wake_begins_with_the_lane_that_was_found_behind_its_bell, .fini = end)
{
	struct client clients[3];
	struct mr_receipt receipts[4];
	uint64_t late;

	idle_used = MR_CONFIG_IDLE_PARK;
	begin_in_memory();
	for (int64_t i = 0; i < 3; i++) {
		open_client(&clients[i], i + 1, MR_ACKS_MEMORY, 0, false);
		give(&clients[i]);
	}
	await_parks(2);
	publish(&clients[2], 1, 20); /* it is seen whose bell this is */
	cr_assert(acknowledged(&clients[2], 1));
	cr_assert_eq(mr_lane_receipts(&clients[2].writer, receipts, 4), 1);
	for (uint64_t number = 1; number <= 10; number++) {
		await_parks(2);
		publish_silently(&clients[0], 1, 20);
		publish(&clients[2], 1, 20);
		cr_assert(acknowledged(&clients[0], number));
		cr_assert(acknowledged(&clients[2], number + 1));
		cr_assert_eq(mr_lane_receipts(&clients[0].writer, receipts, 4), 1);
		late = receipts[0].base_offset;
		cr_assert_eq(mr_lane_receipts(&clients[2].writer, receipts, 4), 1);
		cr_assert_lt(receipts[0].base_offset, late, "round %d", (int)number);
	}
	close_client(&clients[2]); /* nothing of it is remembered */
	publish(&clients[1], 1, 20);
	cr_assert(acknowledged(&clients[1], 1));
	close_client(&clients[1]);
	close_client(&clients[0]);
}

/* A wake-up wrote to the page of every lane once: with many of them it took longer than the wake.
 */
Test(worker, a_wake_says_nothing_in_lanes_that_stay_empty, .fini = end)
{
	struct client busy, quiet;

	clock_used = &looking_clock;
	idle_used = MR_CONFIG_IDLE_PARK;
	begin_in_memory();
	open_client(&quiet, 1, MR_ACKS_MEMORY, 0, false);
	open_client(&busy, 2, MR_ACKS_MEMORY, 0, false);
	give(&quiet);
	give(&busy);
	await_parks(2);
	atomic_store(&seen.busy, &busy);
	atomic_store(&seen.quiet, &quiet);
	for (uint64_t number = 1; number <= 20; number++) {
		cr_assert_eq(quiet.writer.engine->asleep, 1);
		publish(&busy, 1, 20);
		cr_assert(acknowledged(&busy, number));
	}
	await_parks(2); /* the first may have begun before the last record was taken */
	cr_assert_eq(busy.writer.engine->asleep, 1);
	atomic_store(&seen.quiet, NULL);
	cr_assert_eq(seen.flags_wrong, 0);
	publish(&quiet, 1, 20); /* it still wakes the worker */
	cr_assert(acknowledged(&quiet, 1));
	close_client(&busy);
	close_client(&quiet);
}
