/* SPDX-License-Identifier: Apache-2.0 */
/* See log_rig.h. One thread plays the worker, the control thread and the chores. */
#include "log_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

const uint8_t mr_test_topic_id[16] = {1, 2, 3, 4, 5};
const uint8_t mr_test_log_id[16] = {9, 8, 7};

static void must(int r, const struct mr_error *err)
{
	if (r >= 0)
		return;
	fprintf(stderr, "log rig: %d %s\n", r, err->what);
	abort();
}

struct mr_test_rig_options mr_test_rig_defaults(void)
{
	return (struct mr_test_rig_options){
		.log = {.group_bytes = 16u << 10,
			.batch_bytes_max = 8u << 10,
			.groups_in_flight = 4},
		.tail_bytes = 256u << 10,
		.segment_bytes = 128u << 10,
		.producers_max = 64,
	};
}

struct mr_recover_options mr_test_recover_options(const struct mr_test_rig *rig)
{
	return (struct mr_recover_options){
		.window_bytes = mr_log_window_bytes(&rig->options.log),
	};
}

void mr_test_rig_start(struct mr_test_rig *rig, struct mr_recovered *recovered)
{
	struct mr_error err;

	rig->leader_epoch = recovered->leader_epoch + !rig->options.replicated;
	rig->partition.leader_epoch = rig->options.replicated ? rig->leader_epoch : 0;
	if (!rig->options.replicated)
		mr_partition_start(&rig->partition, recovered->log_start, recovered->start.offset,
				   rig->leader_epoch);
	must(mr_log_files_open(recovered->segments, recovered->segment_count, &rig->files, &err),
	     &err);
	must(mr_tail_create(rig->options.tail_bytes, mr_test_topic_id, 0, recovered->start.position,
			    recovered->start.offset, &rig->tail, &err),
	     &err);
	must(mr_io_queue_open(rig->io, 32, -1, &rig->queue, &err), &err);
	must(mr_log_open(&rig->options.log, &recovered->start, &rig->tail, rig->queue,
			 &rig->clock.clock, &rig->log, &err),
	     &err);
	rig->flushed = recovered->start.offset;
	rig->spare_wanted = true;
	rig->recovered = *recovered;
	rig->recovered.segments = NULL;
	rig->recovered.segment_count = 0;
	recovered->segment_count = 0;
	mr_recovered_deinit(recovered);
}

void mr_test_rig_init(struct mr_test_rig *rig, const struct mr_test_rig_options *options,
		      struct mr_io *io)
{
	struct mr_error err;

	memset(rig, 0, sizeof(*rig));
	rig->options = *options;
	rig->io = io;
	mr_test_clock_init(&rig->clock, 1000000);
	must(mr_partition_init(&rig->partition, options->producers_max, 1, &err), &err);
}

void mr_test_rig_open(struct mr_test_rig *rig, const struct mr_test_rig_options *options,
		      struct mr_io *io, const struct mr_checkpoint_partition *checkpoint)
{
	struct mr_recover_options recover;
	struct mr_recovered recovered;
	struct mr_error err;
	int r;

	mr_test_rig_init(rig, options, io);
	recover = mr_test_recover_options(rig);
	r = mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &recover,
		       &rig->partition, &recovered, &err);
	if (r == -ENOENT)
		r = mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, mr_test_log_id,
				  options->segment_bytes, &recovered, &err);
	must(r, &err);
	if (recovered.corrupt) {
		fprintf(stderr, "log rig: %s\n", recovered.damage.what);
		abort();
	}
	mr_test_rig_start(rig, &recovered);
}

static struct mr_io *fake_of(const struct mr_test_rig *rig)
{
	if (rig->options.disk)
		return rig->options.disk;
	return strcmp(rig->io->facts.backend, "fake") == 0 ? rig->io : NULL;
}

void mr_test_rig_close(struct mr_test_rig *rig)
{
	struct mr_io_completion completions[32];
	struct mr_segment *active;
	struct mr_segment *spare;
	struct mr_log_state state;
	uint64_t flushed;
	int n;

	mr_log_state(rig->log, &state);
	for (int i = 0; i < 1000 && state.in_flight > 0; i++) {
		if (fake_of(rig))
			mr_io_fake_allow(fake_of(rig), MR_IO_FAKE_ALL);
		else
			mr_io_queue_wait(rig->queue, 1000000);
		n = mr_io_queue_reap(rig->queue, completions, 32);
		for (int k = 0; k < n; k++)
			(void)mr_log_completed(&completions[k], &flushed); /* the test is over */
		mr_log_state(rig->log, &state);
	}
	mr_log_close(rig->log, &active, &spare);
	/* A segment that was started and not told to the files yet is in none of their lists. */
	if (active != mr_log_files_at(rig->files, mr_log_files_count(rig->files) - 1))
		mr_segment_close(mr_log_files_at(rig->files, mr_log_files_count(rig->files) - 1));
	mr_log_files_close(rig->files);
	mr_segment_close(active);
	mr_segment_close(spare);
	mr_io_queue_close(rig->queue);
	mr_tail_destroy(&rig->tail);
	mr_partition_deinit(&rig->partition);
	memset(rig, 0, sizeof(*rig));
}

enum mr_log_room mr_test_rig_append(struct mr_test_rig *rig, struct mr_test_batch *batch)
{
	enum mr_log_room room;
	uint32_t bytes;
	uint8_t *at;

	batch->base_offset = rig->partition.log_end;
	batch->leader_epoch = rig->leader_epoch;
	room = mr_log_reserve(rig->log, mr_test_batch_bytes_max(batch), &at);
	if (room != MR_LOG_ROOM)
		return room;
	bytes = mr_test_batch_encode(batch, at, mr_test_batch_bytes_max(batch));
	mr_assert(mr_epochs_note(&rig->partition.epochs, batch->leader_epoch, batch->base_offset) ==
		  0);
	mr_partition_append(&rig->partition, batch->producer_id, batch->producer_epoch,
			    batch->producer_id < 0 ? -1 : batch->sequence, (uint32_t)batch->records,
			    rig->clock.wall_ms);
	mr_assert(mr_log_append(rig->log, bytes, (uint32_t)batch->records, batch->timestamp_ms) ==
		  rig->partition.log_end);
	return room;
}

enum mr_log_room mr_test_rig_append_bytes(struct mr_test_rig *rig, const uint8_t *bytes,
					  const struct mr_batch_header *header)
{
	enum mr_log_room room;
	uint8_t *at;

	mr_assert(header->base_offset == rig->partition.log_end);
	room = mr_log_reserve(rig->log, header->total_bytes, &at);
	if (room != MR_LOG_ROOM)
		return room;
	memcpy(at, bytes, header->total_bytes);
	mr_assert(mr_epochs_note(&rig->partition.epochs, header->leader_epoch,
				 header->base_offset) == 0);
	mr_partition_append(&rig->partition, header->producer_id, header->producer_epoch,
			    header->base_sequence, (uint32_t)header->record_count,
			    rig->clock.wall_ms);
	mr_assert(mr_log_append(rig->log, header->total_bytes, (uint32_t)header->record_count,
				header->max_timestamp_ms) == rig->partition.log_end);
	return room;
}

static void publish(struct mr_test_rig *rig, uint64_t flushed)
{
	struct mr_log_state state;

	mr_assert(flushed >= rig->flushed);
	rig->flushed = flushed;
	mr_log_state(rig->log, &state);
	mr_assert(state.flushed_offset == flushed);
	(void)mr_partition_flushed(&rig->partition, flushed); /* the state is looked at, not this */
	mr_tail_publish_flushed(&rig->tail, state.flushed_position, flushed);
	if (!rig->options.replicated)
		mr_tail_publish_committed(&rig->tail, state.flushed_position, flushed);
}

static void take_events(struct mr_test_rig *rig)
{
	struct mr_log_event event;

	while ((event = mr_log_next_event(rig->log)).kind != MR_LOG_EVENT_NONE) {
		struct mr_error err;

		if (event.kind == MR_LOG_EVENT_STARTED)
			must(mr_log_files_started(rig->files, event.segment, &event.header, &err),
			     &err);
		mr_assert(rig->chore_count < RIG_CHORES_MAX);
		rig->chores[rig->chore_count++] = event;
	}
}

int mr_test_rig_turn(struct mr_test_rig *rig, bool force)
{
	struct mr_io_completion completions[8];
	uint64_t flushed;
	int n;

	(void)mr_log_submit(rig->log, rig->leader_epoch, force);
	n = mr_io_queue_reap(rig->queue, completions, 8);
	for (int i = 0; i < n; i++) {
		if (mr_log_completed(&completions[i], &flushed) == 0)
			publish(rig, flushed);
	}
	take_events(rig);
	return n;
}

static int do_chore(struct mr_test_rig *rig, const struct mr_log_event *chore, struct mr_error *err)
{
	size_t count;
	int r;

	r = mr_segment_name(chore->segment, &chore->header, err);
	if (r < 0)
		return r;
	publish(rig, mr_log_segment_named(rig->log, chore->segment));
	rig->spare_wanted = true;
	count = mr_log_files_count(rig->files);
	if (count < 2)
		return 0;
	return mr_segment_index_save(mr_log_files_at(rig->files, count - 2), err);
}

bool mr_test_rig_chore(struct mr_test_rig *rig, struct mr_error *err)
{
	struct mr_log_event chore;

	if (rig->chore_count == 0)
		return true;
	chore = rig->chores[0];
	rig->chore_count--;
	memmove(rig->chores, rig->chores + 1, rig->chore_count * sizeof(rig->chores[0]));
	return do_chore(rig, &chore, err) == 0;
}

bool mr_test_rig_spare(struct mr_test_rig *rig, struct mr_error *err)
{
	struct mr_segment *spare;
	int r = -ENOENT;

	if (!rig->spare_wanted)
		return true;
	if (rig->recovered.clean)
		r = mr_segment_use_spare(rig->io, RIG_DIRECTORY, rig->options.segment_bytes, &spare,
					 err);
	if (r == -ENOENT)
		r = mr_segment_make_spare(rig->io, RIG_DIRECTORY, rig->options.segment_bytes,
					  &spare, err);
	if (r < 0)
		return false;
	rig->recovered.clean = false;
	if (rig->options.zeroed_bytes)
		spare->zeroed_bytes = rig->options.zeroed_bytes;
	mr_assert(mr_log_wants_spare(rig->log));
	mr_log_give_spare(rig->log, spare);
	rig->spare_wanted = false;
	return true;
}

void mr_test_rig_settle(struct mr_test_rig *rig)
{
	struct mr_log_state state;
	struct mr_error err;

	for (int i = 0; i < 100000; i++) {
		if (mr_test_rig_turn(rig, true) == 0 && !fake_of(rig))
			mr_io_queue_wait(rig->queue, 1000000);
		if (!mr_test_rig_chore(rig, &err) || !mr_test_rig_spare(rig, &err))
			must(err.code, &err);
		mr_log_state(rig->log, &state);
		if (state.flushed_offset == state.end_offset && rig->chore_count == 0)
			return;
	}
	must(-ETIMEDOUT, &(struct mr_error){.what = "the log does not settle"});
}

void mr_test_rig_put(struct mr_test_rig *rig, int32_t records, uint32_t value_bytes)
{
	struct mr_test_batch batch = {.producer_id = -1,
				      .records = records,
				      .value_bytes = value_bytes,
				      .timestamp_ms = rig->clock.wall_ms};

	while (mr_test_rig_append(rig, &batch) != MR_LOG_ROOM)
		mr_test_rig_settle(rig);
	mr_test_rig_settle(rig);
}

void mr_test_rig_checkpoint(const struct mr_test_rig *rig,
			    struct mr_checkpoint_partition *checkpoint)
{
	struct mr_log_state state;

	mr_log_state(rig->log, &state);
	mr_assert(state.flushed_offset == state.end_offset);
	memset(checkpoint, 0, sizeof(*checkpoint));
	memcpy(checkpoint->topic_id, mr_test_topic_id, sizeof(checkpoint->topic_id));
	checkpoint->leader_epoch = rig->leader_epoch;
	checkpoint->log_start = rig->partition.log_start;
	checkpoint->offset = state.flushed_offset;
	checkpoint->position = state.flushed_position;
	checkpoint->group_number = state.flushed_group_number;
	checkpoint->previous_crc = state.flushed_crc;
	mr_assert(mr_checkpoint_take_tables(checkpoint, &rig->partition) == 0);
}

/* All but the time: a worker takes its clock's, recovery the group's. */
static bool same_producer(const struct mr_producer_entry *a, const struct mr_producer_entry *b)
{
	if (a->producer_id != b->producer_id || a->epoch != b->epoch ||
	    a->last_sequence != b->last_sequence || a->last_offset != b->last_offset ||
	    a->recent_count != b->recent_count)
		return false;
	for (uint32_t i = 1; i <= a->recent_count; i++) {
		uint32_t x = (a->recent_next + MR_RECENT_BATCHES - i) % MR_RECENT_BATCHES;
		uint32_t y = (b->recent_next + MR_RECENT_BATCHES - i) % MR_RECENT_BATCHES;

		if (a->recent[x].first_sequence != b->recent[y].first_sequence ||
		    a->recent[x].count != b->recent[y].count ||
		    a->recent[x].base_offset != b->recent[y].base_offset)
			return false;
	}
	return true;
}

bool mr_test_same_producers(const struct mr_partition *a, const struct mr_partition *b)
{
	if (a->producer_count != b->producer_count)
		return false;
	for (uint32_t i = 0; i < a->producers_max; i++) {
		const struct mr_producer_entry *entry = &a->producers[i];
		const struct mr_producer_entry *other;

		if (entry->producer_id < 0)
			continue;
		other = mr_partition_find_producer(b, entry->producer_id);
		if (!other || !same_producer(entry, other))
			return false;
	}
	return true;
}

void mr_test_put_many(struct mr_test_rig *rig, int count)
{
	for (int i = 0; i < count; i++)
		mr_test_rig_put(rig, 1, 100);
}

/* ---- a log that is recovered --------------------------------------------- */

void mr_test_begin(struct mr_test_recovery *t)
{
	t->io = mr_io_fake_new(1);
	mr_io_fake_allow(t->io, MR_IO_FAKE_ALL);
	t->options = mr_test_rig_defaults();
	mr_test_rig_open(&t->rig, &t->options, t->io, NULL);
}

void mr_test_stop(struct mr_test_recovery *t, uint64_t seed)
{
	mr_io_fake_crash(t->io, seed);
	mr_test_rig_close(&t->rig);
	mr_io_fake_allow(t->io, MR_IO_FAKE_ALL);
}

int mr_test_look_through(struct mr_test_recovery *t, struct mr_io *io,
			 const struct mr_checkpoint_partition *checkpoint)
{
	struct mr_recover_options recover = {
		.window_bytes = mr_log_window_bytes(&t->options.log),
	};

	must(mr_partition_init(&t->partition, t->options.producers_max, 1, &t->err), &t->err);
	return mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &recover,
			  &t->partition, &t->found, &t->err);
}

int mr_test_look(struct mr_test_recovery *t, const struct mr_checkpoint_partition *checkpoint)
{
	return mr_test_look_through(t, t->io, checkpoint);
}

void mr_test_done(struct mr_test_recovery *t)
{
	mr_recovered_deinit(&t->found);
	mr_partition_deinit(&t->partition);
}

void mr_test_end(struct mr_test_recovery *t)
{
	mr_io_close(t->io);
}

void mr_test_scribble(struct mr_io *io, const char *path, uint64_t at, const void *bytes,
		      size_t count)
{
	_Alignas(MR_BLOCK_BYTES) uint8_t block[MR_BLOCK_BYTES];
	uint64_t from = at / MR_BLOCK_BYTES * MR_BLOCK_BYTES;
	struct mr_io_file *file;
	struct mr_error err;

	mr_assert(at - from + count <= MR_BLOCK_BYTES);
	must(mr_io_open(io, path, MR_IO_WRITE, &file, &err), &err);
	mr_assert(mr_io_read(file, block, MR_BLOCK_BYTES, from, &err) == MR_BLOCK_BYTES);
	memcpy(block + (at - from), bytes, count);
	must(mr_io_write(file, block, MR_BLOCK_BYTES, from, &err), &err);
	must(mr_io_sync(file, &err), &err);
	mr_io_file_close(file);
}
