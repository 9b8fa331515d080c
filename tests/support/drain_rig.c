/* SPDX-License-Identifier: Apache-2.0 */
/* One lane into one partition, see drain_rig.h. One thread; the rig owns all of it. */
#include "drain_rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "io_fake.h"
#include "log/recover.h"
#include "region.h"

#define RECORD_BYTES_MAX (16u << 10)

static const uint8_t topic_id[16] = {1}, log_id[16] = {2};

/* ---- the disk ---------------------------------------------------------------------------- */

static struct mr_test_sink *sink_of(struct mr_io_queue *queue)
{
	return (struct mr_test_sink *)(void *)queue;
}

static int swallow(struct mr_io_queue *queue, struct mr_io_file *file, const void *buffer,
		   size_t bytes, uint64_t offset, void *user)
{
	struct mr_test_sink *sink = sink_of(queue);

	if (sink->count == MR_TEST_DRAIN_WRITES)
		return -EAGAIN;
	sink->users[sink->count++] = user;
	return 0;
}

static int reap(struct mr_io_queue *queue, struct mr_io_completion *completions, uint32_t max)
{
	struct mr_test_sink *sink = sink_of(queue);
	uint32_t count = sink->count < max ? sink->count : max;

	for (uint32_t i = 0; i < count; i++)
		completions[i] = (struct mr_io_completion){.user = sink->users[i]};
	sink->count -= count;
	memmove(sink->users, sink->users + count, sink->count * sizeof(sink->users[0]));
	return (int)count;
}

/* The disk in memory keeps its files; its queues are ours. */
static void put_sink(struct mr_test_drain *rig)
{
	rig->operations = *rig->files->operations;
	rig->operations.queue_write = swallow;
	rig->operations.queue_reap = reap;
	rig->files->operations = &rig->operations;
	rig->sink.queue.io = rig->files;
}

/* ---- the partition and its lane ---------------------------------------------------------- */

static struct mr_log_start make_log(struct mr_test_drain *rig, uint64_t segment_bytes)
{
	struct mr_recovered created = {0};
	struct mr_log_start start;
	int r;

	r = mr_io_make_directory(rig->files, "topics", NULL);
	mr_assert(r == 0);
	r = mr_io_make_directory(rig->files, "topics/0123", NULL);
	mr_assert(r == 0);
	r = mr_log_create(rig->files, "topics/0123/0", topic_id, 0, log_id, segment_bytes, &created,
			  NULL);
	mr_assert(r == 0);
	start = created.start;
	rig->active = start.active;
	free(created.segments);
	return start;
}

static void make_partition(struct mr_test_drain *rig, uint64_t tail_bytes, uint32_t group_bytes,
			   uint64_t segment_bytes)
{
	struct mr_worker_partition_options options = {
		.tail_bytes = tail_bytes,
		.node = MR_PLACE_ANY,
		.log = {.group_bytes = group_bytes,
			.batch_bytes_max = 1u << 20,
			.groups_in_flight = 4},
	};
	struct mr_worker_partition *partition;
	struct mr_partition state;
	int r;

	for (int i = 0; i < MR_PARTITION_COUNTERS; i++)
		options.counters[i] = &rig->counters[i];
	memcpy(options.topic_id, topic_id, sizeof(topic_id));
	options.start = make_log(rig, segment_bytes);
	r = mr_partition_init(&state, 64, 1, NULL);
	mr_assert(r == 0);
	mr_partition_start(&state, 0, 0, 64);
	r = mr_worker_partition_new(&options, &state, &partition, NULL);
	mr_assert(r == 0);
	r = mr_worker_partitions_populate(&partition, 1, NULL);
	mr_assert(r == 0);
	r = mr_log_open(&partition->log_options, &partition->start, &partition->tail,
			&rig->sink.queue, &mr_clock_system, &partition->log, NULL);
	mr_assert(r == 0);
	rig->partition = partition;
}

static void make_lane(struct mr_test_drain *rig, uint32_t lane_bytes)
{
	struct mr_worker_lane_options options = {
		.partition = rig->partition,
		.identity = {.producer_id = 1, .acks = MR_ACKS_MEMORY, .lane_bytes = lane_bytes},
		.bell_to_client = -1,
	};
	struct mr_lane_engine_page *page;
	uint8_t mac[32] = {0};
	int r;

	r = mr_lane_create_client(lane_bytes, &rig->client_fd, NULL);
	mr_assert(r == 0);
	r = mr_lane_create_engine(&options.identity, mac, RECORD_BYTES_MAX, 0, 0, &rig->engine_fd,
				  &page, NULL);
	mr_assert(r == 0);
	r = mr_lane_writer_open(rig->client_fd, rig->engine_fd, lane_bytes, 0, &rig->writer, NULL);
	mr_assert(r == 0);
	r = mr_region_seal(rig->client_fd, NULL);
	mr_assert(r == 0);
	r = mr_lane_reader_open(rig->client_fd, page, lane_bytes, &options.reader, NULL);
	mr_assert(r == 0);
	rig->lane = mr_worker_lane_new(&options);
	mr_assert(rig->lane != NULL);
}

void mr_test_drain_init(struct mr_test_drain *rig, uint32_t lane_bytes, uint64_t tail_bytes,
			uint32_t group_bytes, uint64_t segment_bytes)
{
	memset(rig, 0, sizeof(*rig));
	rig->files = mr_io_fake_new(1);
	put_sink(rig);
	make_partition(rig, tail_bytes, group_bytes, segment_bytes);
	make_lane(rig, lane_bytes);
}

void mr_test_drain_deinit(struct mr_test_drain *rig)
{
	mr_worker_lane_free(rig->lane);
	mr_lane_writer_close(&rig->writer);
	(void)close(rig->client_fd); /* memory */
	(void)close(rig->engine_fd); /* memory */
	mr_worker_partition_free(rig->partition);
	mr_segment_close(rig->active);
	mr_io_close(rig->files);
}

void mr_test_drain_settle(struct mr_test_drain *rig, bool force)
{
	struct mr_worker_partition *partition = rig->partition;
	struct mr_io_completion completions[MR_TEST_DRAIN_WRITES];
	struct mr_log_state log;
	uint64_t flushed;
	int count, r;

	(void)mr_log_submit(partition->log, partition->state.leader_epoch, force); /* none is due */
	count = mr_io_queue_reap(&rig->sink.queue, completions, MR_TEST_DRAIN_WRITES);
	for (int i = 0; i < count; i++) {
		r = mr_log_completed(&completions[i], &flushed);
		mr_assert(r == 0);
		(void)mr_partition_flushed(&partition->state, flushed);
		mr_log_state(partition->log, &log);
		mr_tail_publish_flushed(&partition->tail, log.flushed_position, log.flushed_offset);
		mr_tail_publish_committed(&partition->tail, log.flushed_position,
					  log.flushed_offset);
	}
	(void)mr_log_next_event(partition->log); /* nobody names a segment here */
}
