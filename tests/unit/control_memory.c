/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the offsets of a topic in memory: none is handed out that a power cut could
 * make the next start hand out again. A control thread's struct over the disk in memory, with a
 * real worker that has the partition; the test is the thread.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "io_fake.h"
#include "io_fault.h"
#include "worker_state.h"

#define BLOCK	    (UINT64_C(1) << 36)
#define PATIENCE_MS 10000

static struct mr_error err;

static struct {
	struct mr_io *disk, *io;
	struct mr_control control;
	struct mr_hosted_topic hosted_topic;
	struct mr_topic *topic;
	struct mr_hosted hosted;
	struct mr_worker *workers[1];
	struct mr_worker_message remove;
	_Atomic uint64_t counters[MR_PARTITION_COUNTERS], worker_counters[MR_WORKER_COUNTERS];
} rig;

static struct mr_worker_message *await(enum mr_worker_message_kind kind)
{
	struct mr_worker_message *message;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		message = mr_worker_take(rig.workers[0]);
		if (message && message->kind == kind)
			return message;
		(void)poll(NULL, 0, 1);
	}
	cr_assert_fail("no message of kind %d came", (int)kind);
	return NULL;
}

static void start_worker(void)
{
	struct mr_place_entry place = {.cpu = MR_PLACE_ANY,
				       .core = MR_PLACE_ANY,
				       .node = MR_PLACE_ANY,
				       .package = MR_PLACE_ANY};
	struct mr_worker_options options = {
		.place = &place,
		.clock = &mr_clock_system,
		.io = rig.disk,
		.idle = MR_CONFIG_IDLE_PARK,
		.groups_in_flight = 1,
	};

	for (int i = 0; i < MR_WORKER_COUNTERS; i++)
		options.counters[i] = &rig.worker_counters[i];
	cr_assert_eq(mr_worker_start(&options, &rig.workers[0], &err), 0, "%s", err.what);
	rig.control.workers = rig.workers;
	rig.control.worker_count = 1;
	rig.hosted.worker = rig.workers[0];
}

/* The partition as the worker gets it, from where mr_control_begin_offsets() says. */
static void add_partition(const struct mr_recovered *recovered)
{
	struct mr_worker_partition_options options = {
		.tail_bytes = 1u << 20,
		.node = MR_PLACE_ANY,
		.log = {64u << 10, 64u << 10, 1, .in_memory = true},
		.start = recovered->start,
		.owner = &rig.hosted,
	};
	struct mr_partition state;

	for (int i = 0; i < MR_PARTITION_COUNTERS; i++)
		options.counters[i] = &rig.counters[i];
	cr_assert_eq(mr_partition_init(&state, 16, 1, &err), 0);
	mr_partition_start(&state, recovered->log_start, recovered->start.offset, 64);
	cr_assert_eq(mr_worker_partition_new(&options, &state, &rig.hosted.part, &err), 0, "%s",
		     err.what);
	rig.hosted.add.kind = MR_WORKER_ADD_PARTITION;
	rig.hosted.add.partition = rig.hosted.part;
	mr_worker_send(rig.workers[0], &rig.hosted.add);
	cr_assert_eq(await(MR_WORKER_ADD_PARTITION)->status, 0);
}

/* As at a start: what the disk says, then a block more, durably. */
static struct mr_recovered begin_start(bool created)
{
	struct mr_recovered recovered = {0};
	int r;

	mr_checkpoint_deinit(&rig.control.checkpoint);
	r = mr_checkpoint_load(rig.disk, &rig.control.checkpoint, &err);
	if (r == -ENOENT)
		memset(&rig.control.checkpoint, 0, sizeof(rig.control.checkpoint));
	else
		cr_assert_eq(r, 0, "%s", err.what);
	mr_control_begin_offsets(&rig.hosted, created, &recovered);
	if (!created)
		cr_assert_eq(mr_control_checkpoint_twice(&rig.control, &err), 0, "%s", err.what);
	return recovered;
}

static void begin(void)
{
	struct mr_recovered recovered;

	memset(&rig, 0, sizeof(rig));
	rig.disk = mr_io_fake_new(1);
	rig.io = mr_io_fault_new(rig.disk);
	rig.topic = calloc(1, sizeof(*rig.topic));
	snprintf(rig.topic->name, sizeof(rig.topic->name), "quotes");
	rig.topic->id[0] = 9;
	rig.topic->partition_count = 1;
	rig.topic->storage = MR_CONFIG_STORAGE_MEMORY;
	rig.topic->owner = &rig.hosted_topic;
	rig.hosted_topic.topic = rig.topic;
	rig.hosted_topic.partitions = &rig.hosted;
	rig.control.io = rig.io;
	rig.control.clock = &mr_clock_system;
	rig.hosted.control = &rig.control;
	rig.hosted.topic = rig.topic;
	cr_assert_eq(mr_topics_add(&rig.control.topics, rig.topic, &err), 0);
	cr_assert_eq(mr_offsets_open(&rig.control.offsets, &err), 0);
	start_worker();
	recovered = begin_start(true);
	add_partition(&recovered);
}

static void end(void)
{
	rig.remove.kind = MR_WORKER_REMOVE_PARTITION;
	rig.remove.partition = rig.hosted.part;
	rig.remove.status = -ESHUTDOWN;
	mr_worker_send(rig.workers[0], &rig.remove);
	(void)await(MR_WORKER_REMOVE_PARTITION);
	mr_worker_partition_free(rig.hosted.part);
	mr_worker_stop(rig.workers[0]);
	mr_offsets_close(rig.control.offsets);
	mr_checkpoint_deinit(&rig.control.checkpoint);
	mr_topics_deinit(&rig.control.topics);
	mr_io_close(rig.io);
	mr_io_close(rig.disk);
}

/* As if so many had been appended. */
static void pretend(uint64_t log_end)
{
	atomic_store(&mr_worker_partition_tail(rig.hosted.part)->page->appended_offset, log_end);
}

/* Where a start after a power cut at this moment would begin. */
static uint64_t next_base(uint64_t seed)
{
	static const struct mr_checkpoint none;
	struct mr_io *copy = mr_io_fake_clone(rig.disk, seed);
	struct mr_checkpoint before = rig.control.checkpoint;
	struct mr_hosted twin = {.control = &rig.control, .topic = rig.topic};
	struct mr_recovered recovered = {0};
	int r;

	mr_io_fake_crash(copy, seed);
	r = mr_checkpoint_load(copy, &rig.control.checkpoint, &err);
	if (r == -ENOENT)
		rig.control.checkpoint = none;
	else
		cr_assert_eq(r, 0, "%s", err.what);
	mr_control_begin_offsets(&twin, false, &recovered);
	mr_checkpoint_deinit(&rig.control.checkpoint);
	rig.control.checkpoint = before;
	mr_io_close(copy);
	return recovered.start.offset;
}

/* The worker may hand out offsets up to here. */
static uint64_t handed_out_most(uint64_t limit)
{
	return limit + MR_LOG_LIMIT_SLACK;
}

Test(control_memory, the_first_block_needs_no_checkpoint, .init = begin, .fini = end)
{
	cr_assert_eq(rig.hosted.part->start.offset, 0);
	cr_assert_leq(handed_out_most(rig.hosted.part->start.offset_limit), next_base(1));
}

Test(control_memory, each_start_begins_above_the_one_before, .init = begin, .fini = end)
{
	uint64_t most = handed_out_most(rig.hosted.part->start.offset_limit);

	for (uint64_t i = 1; i < 20; i++) {
		struct mr_recovered recovered = begin_start(false);

		cr_assert_geq(recovered.start.offset, most);
		cr_assert_eq(recovered.log_start, recovered.start.offset);
		most = handed_out_most(recovered.start.offset_limit);
		cr_assert_gt(most, recovered.start.offset);
		for (uint64_t seed = 1; seed < 10; seed++)
			cr_assert_geq(next_base(seed), most);
	}
}

Test(control_memory, half_a_block_before_its_end_the_next_is_reserved, .init = begin, .fini = end)
{
	uint64_t end_of_block = rig.hosted.last.offset;
	struct mr_worker_message *told;

	pretend(end_of_block - BLOCK / 2 - 1);
	mr_control_reserve_offsets(&rig.hosted);
	cr_assert_not(rig.hosted.reserved_out);
	cr_assert_eq(rig.hosted.last.offset, end_of_block);
	pretend(end_of_block - BLOCK / 2);
	mr_control_reserve_offsets(&rig.hosted);
	cr_assert(rig.hosted.reserved_out);
	told = await(MR_WORKER_OFFSETS_RESERVED);
	cr_assert_eq(told->status, 0);
	cr_assert_gt(handed_out_most(told->offset), end_of_block);
	for (uint64_t seed = 1; seed < 30; seed++)
		cr_assert_geq(next_base(seed), handed_out_most(told->offset));
	cr_assert_eq(rig.hosted.posts, 1);
	mr_control_reserve_offsets(&rig.hosted); /* one at a time */
	cr_assert_eq(rig.hosted.posts, 1);
}

/* Whatever fails, the worker is told of nothing that is not durable; it is tried again. */
Test(control_memory, a_disk_that_is_full_is_tried_again, .init = begin, .fini = end)
{
	struct mr_io_fault_plan full = {MR_IO_FAULT_ANY, 1, -ENOSPC, MR_IO_FAULT_BEFORE, true};
	struct mr_io_fault_plan well = {0};
	uint64_t end_of_block = rig.hosted.last.offset;

	pretend(end_of_block - 1);
	for (full.nth = 1; full.nth < 4; full.nth++) {
		mr_io_fault_set(rig.io, &full);
		mr_control_reserve_offsets(&rig.hosted);
		cr_assert_not(rig.hosted.reserved_out);
		cr_assert_eq(rig.hosted.last.offset, end_of_block);
		cr_assert_geq(next_base(full.nth), end_of_block);
	}
	cr_assert_not(rig.control.failed);
	rig.control.checkpoint_running = true; /* it would write an older word later */
	mr_io_fault_set(rig.io, &well);
	mr_control_reserve_offsets(&rig.hosted);
	cr_assert_not(rig.hosted.reserved_out);
	rig.control.checkpoint_running = false;
	mr_control_reserve_offsets(&rig.hosted);
	cr_assert(rig.hosted.reserved_out);
	(void)await(MR_WORKER_OFFSETS_RESERVED);
	cr_assert_geq(next_base(1), end_of_block + BLOCK);
}

Test(control_memory, one_that_is_being_removed_reserves_nothing, .init = begin, .fini = end)
{
	pretend(rig.hosted.last.offset - 1);
	rig.hosted.remove_posted = true;
	mr_control_reserve_offsets(&rig.hosted);
	rig.hosted.remove_posted = false;
	rig.hosted.state = MR_HOSTED_FAILED;
	mr_control_reserve_offsets(&rig.hosted);
	cr_assert_not(rig.hosted.reserved_out);
	cr_assert_eq(rig.hosted.posts, 0);
}
