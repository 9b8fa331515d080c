/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts at random moments of a log's life, over a disk that keeps only what it promised. A run
 * is one seed: a log with small segments is appended to, rolled, zero-filled, checkpointed and cut
 * short again and again, in recovery too, and what comes back is held against what was put in:
 *
 *	- every record that was reported flushed is there, once, in order, byte for byte;
 *	- what is kept is a prefix of what was appended, and ends where a batch ends;
 *	- producers are known as if the kept batches had been appended one by one;
 *	- however often recovery is cut short, it ends with the same log;
 *	- where an engine ended well, that is seen, and nothing else is taken for it;
 *	- nothing is called corrupt but a bit flipped where it can be proved that it was flushed,
 *	  and that always, with its place.
 *
 *	powercut [--seeds N] [--first N]	many; prints what they met
 *	powercut --seed N			one, again
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checkpoint.h"
#include "io_fault.h"
#include "log_rig.h"

#define PRODUCERS   4
#define GROUPS_MAX  4096
#define BATCH_BYTES (16u << 10)
#define ROUNDS	    4
#define CUTS_MAX    3

/* What all seeds together met: a run that meets nothing proves nothing. */
static struct coverage {
	uint64_t batches;
	uint64_t rolls;
	uint64_t rolls_cut;	   /* power went between roll and name */
	uint64_t segments_removed; /* begun behind a torn end */
	uint64_t torn_tails;
	uint64_t holes;	     /* whole groups behind the first missing one */
	uint64_t zero_fills; /* turns with zeros behind a group in flight */
	uint64_t zeros_cut;  /* power went while they were */
	uint64_t checkpoints;
	uint64_t torn_checkpoints;
	uint64_t retained;
	uint64_t kills;
	uint64_t ended_well;
	uint64_t cuts_in_work;
	uint64_t cuts_in_recovery;
	uint64_t flips_found;
	uint64_t flips_unprovable;
	uint64_t header_flips_found;
} met;

/* A group of the log that was kept, for flips. */
struct kept_group {
	uint64_t position;
	uint64_t base_offset;
	uint64_t flushed_offset;
	uint32_t bytes;
	size_t segment;
};

struct world {
	uint64_t seed;
	uint64_t random;
	struct mr_io *disk;
	struct mr_io *io; /* the disk behind something that breaks operations */
	struct mr_test_rig_options options;
	struct mr_test_rig rig;
	bool alive;

	/* what was put in */
	struct mr_test_batch *batches;
	size_t batch_count;
	size_t batch_capacity;
	uint64_t flushed; /* as reported, ever */
	int32_t next_sequence[PRODUCERS];
	int16_t epoch[PRODUCERS];

	/* the checkpoint: its copy is taken at a group's end and saved when that is flushed */
	struct mr_checkpoint checkpoint;
	struct mr_checkpoint_partition copy;
	bool copied;
	uint64_t checkpointed; /* offset of the newest durable one */
	uint64_t generation;   /* of it */
	bool retained;
	bool cache_left; /* the last life ended without a power cut */
	bool ended_well; /* or will: with everything written, and a checkpoint that says so */

	struct kept_group groups[GROUPS_MAX];
	size_t group_count;
};

static struct world world; /* one at a time: too large for a stack */

__attribute__((format(printf, 2, 3), noreturn)) static void fail(const struct world *w,
								 const char *format, ...)
{
	va_list args;

	fprintf(stderr, "powercut: seed %" PRIu64 ": ", w->seed);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nagain: powercut --seed %" PRIu64 "\n", w->seed);
	exit(1);
}

static uint64_t draw(struct world *w, uint64_t below)
{
	return mr_io_fake_random(&w->random) % below;
}

/* ---- what was put in ----------------------------------------------------- */

static void note_batch(struct world *w, const struct mr_test_batch *batch)
{
	if (w->batch_count == w->batch_capacity) {
		w->batch_capacity = w->batch_capacity ? 2 * w->batch_capacity : 256;
		w->batches = realloc(w->batches, w->batch_capacity * sizeof(*w->batches));
		mr_assert(w->batches);
	}
	w->batches[w->batch_count++] = *batch;
	met.batches++;
}

static uint64_t end_of(const struct mr_test_batch *batch)
{
	return batch->base_offset + (uint64_t)batch->records;
}

/* The batch with this base offset; a log may begin at any, but only where a batch does. */
static size_t find_batch(const struct world *w, uint64_t base_offset)
{
	for (size_t i = 0; i < w->batch_count; i++) {
		if (w->batches[i].base_offset == base_offset)
			return i;
	}
	if (w->batch_count == 0 ? base_offset == 0
				: end_of(&w->batches[w->batch_count - 1]) == base_offset)
		return w->batch_count;
	fail(w, "offset %" PRIu64 " is no batch's first", base_offset);
}

/* ---- what came back ------------------------------------------------------ */

/* One group against the batches from *next on. */
static void compare_group(struct world *w, const uint8_t *bytes,
			  const struct mr_group_header *header, size_t *next)
{
	static uint8_t expected[BATCH_BYTES];
	const uint8_t *at = bytes + sizeof(*header);
	const uint8_t *end = at + header->batch_bytes;

	while (at < end) {
		const struct mr_test_batch *batch = &w->batches[*next];
		uint32_t size;

		if (*next >= w->batch_count)
			fail(w, "group %" PRIu64 " has more than was appended", header->number);
		size = mr_test_batch_encode(batch, expected, sizeof(expected));
		if (size > (size_t)(end - at) || memcmp(expected, at, size) != 0)
			fail(w, "batch at offset %" PRIu64 " is not what was appended",
			     batch->base_offset);
		at += size;
		++*next;
	}
}

static void note_group(struct world *w, const struct mr_group_header *header, uint64_t position,
		       size_t segment)
{
	mr_assert(w->group_count < GROUPS_MAX);
	w->groups[w->group_count++] = (struct kept_group){
		.position = position,
		.base_offset = header->base_offset,
		.flushed_offset = header->flushed_offset,
		.bytes = header->bytes,
		.segment = segment,
	};
}

static void read_segment(struct world *w, const struct mr_io *disk,
			 const struct mr_segment *segment, uint64_t end_position, size_t index,
			 size_t *next)
{
	uint64_t at = MR_BLOCK_BYTES;
	uint64_t end = end_position - segment->base_position;
	struct mr_group_header header;
	struct mr_error err;
	char path[160];
	uint8_t *bytes;
	size_t count;

	mr_segment_path(segment, path);
	bytes = mr_io_fake_bytes(disk, path, &count);
	if (!bytes || count < end)
		fail(w, "'%s' has not the bytes that it should have", path);
	while (at < end) {
		int r = mr_group_check(bytes + at, end - at, segment->segment_id, &header, &err);

		if (r < 0)
			fail(w, "'%s' byte %" PRIu64 ": %s", path, at, err.what);
		compare_group(w, bytes + at, &header, next);
		note_group(w, &header, segment->base_position + at, index);
		at += header.bytes;
	}
	free(bytes);
}

/*
 * Reads the whole log by itself, without recovery's help, and holds it against what was appended.
 */
static void read_log(struct world *w, const struct mr_io *disk,
		     const struct mr_recovered *recovered)
{
	size_t next = find_batch(w, recovered->segments[0]->base_offset);

	w->group_count = 0;
	for (size_t i = 0; i < recovered->segment_count; i++) {
		bool last = i + 1 == recovered->segment_count;
		uint64_t end = last ? recovered->start.position
				    : recovered->segments[i + 1]->base_position;

		read_segment(w, disk, recovered->segments[i], end, i, &next);
	}
	if (find_batch(w, recovered->start.offset) != next)
		fail(w, "the log ends at offset %" PRIu64 ", but its bytes do not",
		     recovered->start.offset);
}

/* As if the kept batches had been appended one by one. */
static void replay(const struct world *w, uint64_t end, struct mr_partition *partition)
{
	mr_assert(mr_partition_init(partition, w->options.producers_max, 1, NULL) == 0);
	for (size_t i = 0; i < w->batch_count && end_of(&w->batches[i]) <= end; i++) {
		const struct mr_test_batch *batch = &w->batches[i];

		mr_partition_append(partition, batch->producer_id, batch->producer_epoch,
				    batch->sequence, (uint32_t)batch->records, 0);
	}
}

static struct mr_recover_options recover_options(const struct world *w)
{
	return (struct mr_recover_options){.window_bytes = mr_log_window_bytes(&w->options.log)};
}

/* 0, or recovery's error; the log and the producers are the caller's to free. */
static int recover(const struct world *w, struct mr_io *io,
		   const struct mr_checkpoint_partition *checkpoint, struct mr_partition *partition,
		   struct mr_recovered *recovered, struct mr_error *err)
{
	struct mr_recover_options options = recover_options(w);
	int r;

	mr_assert(mr_partition_init(partition, w->options.producers_max, 1, err) == 0);
	r = mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &options, partition,
		       recovered, err);
	if (r < 0)
		mr_partition_deinit(partition);
	return r;
}

static void must_recover(const struct world *w, struct mr_io *io, const char *which,
			 const struct mr_checkpoint_partition *checkpoint,
			 struct mr_partition *partition, struct mr_recovered *recovered)
{
	struct mr_error err;
	int r = recover(w, io, checkpoint, partition, recovered, &err);

	if (r < 0)
		fail(w, "%s: %s", which, err.what);
	if (recovered->corrupt)
		fail(w, "%s: nothing was damaged: %s (%s)", which, recovered->damage.what,
		     recovered->damage.why);
}

/* ---- flipped bits -------------------------------------------------------- */

/* Whether what else is there proves that group g had been flushed. */
static bool provable(const struct world *w, size_t g)
{
	const struct kept_group *group = &w->groups[g];

	if (group->segment + 2 < w->groups[w->group_count - 1].segment + 1)
		return true;
	for (size_t i = g + 1; i < w->group_count; i++) {
		const struct kept_group *later = &w->groups[i];

		if (later->position - group->position > mr_log_window_bytes(&w->options.log))
			return false;
		if (later->flushed_offset > group->base_offset)
			return true;
	}
	return false;
}

static void demand_damage(const struct world *w, const struct mr_recovered *found, const char *path,
			  uint64_t offset)
{
	char words[64];

	snprintf(words, sizeof(words), "offset %" PRIu64, offset);
	if (!found->corrupt)
		fail(w, "a bit flipped in '%s' at offset %" PRIu64 " was not found", path, offset);
	if (found->corrupt_offset != offset)
		fail(w, "damage at offset %" PRIu64 " was found at %" PRIu64, offset,
		     found->corrupt_offset);
	if (!strstr(found->damage.what, path) || !strstr(found->damage.what, words))
		fail(w, "damage in '%s' at %s is told as: %s", path, words, found->damage.what);
}

/* Flips a bit of a kept group on a copy of the disk and looks at it from the first segment on. */
static void flip_group(struct world *w, const struct mr_io *disk, const struct mr_recovered *clean)
{
	size_t g = draw(w, w->group_count);
	const struct kept_group *group = &w->groups[g];
	const struct mr_segment *segment = clean->segments[group->segment];
	struct mr_io *copy = mr_io_fake_clone(disk, draw(w, UINT64_MAX));
	uint64_t at = group->position - segment->base_position + draw(w, group->bytes);
	struct mr_recovered found;
	struct mr_partition partition;
	struct mr_error err;
	char path[160];

	mr_segment_path(segment, path);
	mr_io_fake_flip_bit(copy, path, at * 8 + draw(w, 8));
	if (recover(w, copy, NULL, &partition, &found, &err) < 0)
		fail(w, "with a flipped bit: %s", err.what);
	if (provable(w, g)) {
		demand_damage(w, &found, path, group->base_offset);
		met.flips_found++;
	} else {
		if (found.start.offset != group->base_offset)
			fail(w,
			     "behind a flipped bit at offset %" PRIu64
			     " the log goes on to %" PRIu64,
			     group->base_offset, found.start.offset);
		met.flips_unprovable++;
	}
	mr_recovered_deinit(&found);
	mr_partition_deinit(&partition);
	mr_io_close(copy);
}

static void flip_header(struct world *w, const struct mr_io *disk, const struct mr_recovered *clean)
{
	size_t i = draw(w, clean->segment_count);
	struct mr_io *copy = mr_io_fake_clone(disk, draw(w, UINT64_MAX));
	struct mr_recovered found;
	struct mr_partition partition;
	struct mr_error err;
	char path[160];

	mr_segment_path(clean->segments[i], path);
	mr_io_fake_flip_bit(copy, path, draw(w, MR_BLOCK_BYTES * 8));
	if (recover(w, copy, NULL, &partition, &found, &err) < 0)
		fail(w, "with a damaged header: %s", err.what);
	if (!found.corrupt || found.corrupt_offset != clean->segments[i]->base_offset ||
	    !strstr(found.damage.what, path))
		fail(w, "a damaged header of '%s' is told as: %s", path,
		     found.corrupt ? found.damage.what : "nothing");
	met.header_flips_found++;
	mr_recovered_deinit(&found);
	mr_partition_deinit(&partition);
	mr_io_close(copy);
}

/* ---- recovering ---------------------------------------------------------- */

/* The newest checkpoint that is whole; at least as new as the last that was saved. */
static const struct mr_checkpoint_partition *load_checkpoint(struct world *w, struct mr_io *disk,
							     struct mr_checkpoint *checkpoint)
{
	struct mr_error err;
	int r = mr_checkpoint_load(disk, checkpoint, &err);

	if (r == -ENOENT && w->generation == 0)
		return NULL;
	if (r < 0)
		fail(w, "checkpoint: %s", err.what);
	if (checkpoint->generation < w->generation)
		fail(w, "checkpoint %" PRIu64 " came back, %" PRIu64 " was saved",
		     checkpoint->generation, w->generation);
	return checkpoint->partition_count ? &checkpoint->partitions[0] : NULL;
}

static void check_producers(const struct world *w, const struct mr_partition *partition,
			    uint64_t end, const char *which)
{
	struct mr_partition expected;

	replay(w, end, &expected);
	if (!mr_test_same_producers(&expected, partition) ||
	    !mr_test_same_producers(partition, &expected))
		fail(w, "%s does not know the producers as they were at offset %" PRIu64, which,
		     end);
	mr_partition_deinit(&expected);
}

/* On a copy: what recovery must come to, from the checkpoint and from the first segment on. */
static struct mr_log_start look_first(struct world *w,
				      const struct mr_checkpoint_partition *checkpoint)
{
	struct mr_io *copy = mr_io_fake_clone(w->disk, draw(w, UINT64_MAX));
	struct mr_partition partition;
	struct mr_recovered recovered;
	struct mr_log_start start;
	size_t files_before = 0;
	char paths[64][MR_IO_PATH_BYTES];
	size_t path_count = mr_io_fake_paths(copy, paths, 64);

	for (size_t i = 0; i < path_count && i < 64; i++)
		files_before += strstr(paths[i], ".log") != NULL;
	must_recover(w, copy, "from the checkpoint", checkpoint, &partition, &recovered);
	start = recovered.start;
	if (start.offset < w->flushed)
		fail(w, "offset %" PRIu64 " was flushed, the log ends at %" PRIu64, w->flushed,
		     start.offset);
	met.torn_tails += recovered.cut_bytes > 0;
	met.holes += recovered.cut_groups > 0;
	met.segments_removed += files_before - recovered.segment_count;
	read_log(w, copy, &recovered);
	check_producers(w, &partition, start.offset, "recovery");
	mr_partition_deinit(&partition);
	if (w->group_count > 0 && draw(w, 3) > 0)
		flip_group(w, copy, &recovered);
	if (draw(w, 6) == 0)
		flip_header(w, copy, &recovered);
	mr_recovered_deinit(&recovered);
	must_recover(w, copy, "from the beginning", NULL, &partition, &recovered);
	if (recovered.start.offset != start.offset || recovered.start.position != start.position)
		fail(w, "a full scan ends at offset %" PRIu64 ", the checkpointed one at %" PRIu64,
		     recovered.start.offset, start.offset);
	if (!w->retained)
		check_producers(w, &partition, start.offset, "a full scan");
	mr_recovered_deinit(&recovered);
	mr_partition_deinit(&partition);
	mr_io_close(copy);
	return start;
}

static void plan_fault(struct world *w, uint64_t within)
{
	struct mr_io_fault_plan plan = {
		.kind = MR_IO_FAULT_ANY,
		.nth = within ? 1 + draw(w, within) : 0,
		.error = -EIO,
		.how = (enum mr_io_fault_how)draw(w, 3),
		.from_then_on = true,
	};

	mr_io_fault_set(w->io, &plan);
}

/* Recovery, cut short a few times. */
static void cut_recovery(struct world *w, const struct mr_checkpoint_partition *checkpoint)
{
	for (uint64_t i = draw(w, CUTS_MAX); i > 0; i--) {
		struct mr_partition partition;
		struct mr_recovered recovered;
		struct mr_error err;

		plan_fault(w, 25);
		if (recover(w, w->io, checkpoint, &partition, &recovered, &err) == 0) {
			mr_recovered_deinit(&recovered);
			mr_partition_deinit(&partition);
		}
		met.cuts_in_recovery += mr_io_fault_hits(w->io) > 0;
		plan_fault(w, 0);
		mr_io_fake_crash(w->disk, draw(w, UINT64_MAX));
	}
}

static void forget_lost(struct world *w, uint64_t end)
{
	w->batch_count = find_batch(w, end);
	w->flushed = end; /* what recovery kept is flushed */
	for (int i = 0; i < PRODUCERS; i++) {
		const struct mr_producer_entry *entry =
			mr_partition_find_producer(&w->rig.partition, i);

		if (!entry)
			continue;
		w->next_sequence[i] = mr_sequence_add(entry->last_sequence, 1);
		w->epoch[i] = entry->epoch;
	}
}

static void keep_checkpoint(struct world *w, struct mr_checkpoint *loaded)
{
	mr_checkpoint_deinit(&w->checkpoint);
	w->checkpoint = *loaded;
	w->generation = loaded->generation;
	w->checkpointed = loaded->partition_count ? loaded->partitions[0].offset : 0;
}

/*
 * I12. After a kill the first look may have kept what only a cache had: a cut in recovery may take
 * that.
 */
static void check_end(const struct world *w, const struct mr_log_start *expected,
		      const struct mr_log_start *start)
{
	if (start->offset == expected->offset && start->position == expected->position &&
	    start->group_number == expected->group_number &&
	    start->previous_crc == expected->previous_crc)
		return;
	if (w->cache_left && start->offset <= expected->offset && start->offset >= w->flushed)
		return;
	fail(w,
	     "cut short, recovery ends at offset %" PRIu64 ", position %" PRIu64
	     " instead of %" PRIu64 ", %" PRIu64,
	     start->offset, start->position, expected->offset, expected->position);
}

/* Nothing is appended before no slot says any more that nothing ever was. */
static void begin_well(struct world *w)
{
	struct mr_error err;

	if (!w->checkpoint.partition_count || !w->checkpoint.partitions[0].clean)
		return;
	w->checkpoint.partitions[0].clean = false;
	for (int i = 0; i < 2; i++)
		if (mr_checkpoint_save(w->io, &w->checkpoint, &err) < 0)
			fail(w, "cannot begin: %s", err.what);
	w->generation = w->checkpoint.generation;
}

static void start_again(struct world *w)
{
	struct mr_checkpoint loaded = {0};
	const struct mr_checkpoint_partition *checkpoint = load_checkpoint(w, w->disk, &loaded);
	struct mr_log_start expected = look_first(w, checkpoint);
	struct mr_recover_options options = recover_options(w);
	struct mr_recovered recovered;
	struct mr_error err;

	cut_recovery(w, checkpoint);
	mr_test_rig_init(&w->rig, &w->options, w->io);
	if (mr_recover(w->io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &options,
		       &w->rig.partition, &recovered, &err) < 0)
		fail(w, "recovery after all: %s", err.what);
	if (recovered.corrupt)
		fail(w, "recovery after all: %s", recovered.damage.what);
	if (recovered.clean != w->ended_well)
		fail(w, "the life before ended %s, recovery finds %s",
		     w->ended_well ? "well" : "badly", recovered.clean ? "well" : "badly");
	check_end(w, &expected, &recovered.start);
	read_log(w, w->disk, &recovered);
	check_producers(w, &w->rig.partition, recovered.start.offset, "recovery after all");
	forget_lost(w, recovered.start.offset);
	mr_test_rig_start(&w->rig, &recovered);
	keep_checkpoint(w, &loaded);
	begin_well(w);
	w->alive = true;
}

/* ---- working ------------------------------------------------------------- */

static void note_flushed(struct world *w)
{
	if (w->rig.flushed > w->flushed)
		w->flushed = w->rig.flushed;
}

static bool put_batch(struct world *w)
{
	int64_t id = (int64_t)draw(w, PRODUCERS + 1) - 1;
	uint32_t records = 1 + (uint32_t)draw(w, 4);
	uint32_t room = (w->options.log.batch_bytes_max - MR_BATCH_HEADER_BYTES) / records;
	struct mr_test_batch batch = {
		.producer_id = id,
		.records = (int32_t)records,
		.value_bytes = 8 + (uint32_t)draw(w, room - MR_BATCH_RECORD_BYTES_OVERHEAD_MAX - 8),
		.timestamp_ms = (int64_t)draw(w, 100000),
	};

	if (id >= 0) {
		batch.producer_epoch = w->epoch[id];
		batch.sequence = w->next_sequence[id];
	}
	if (mr_test_rig_append(&w->rig, &batch) != MR_LOG_ROOM)
		return false;
	note_batch(w, &batch);
	if (id >= 0)
		w->next_sequence[id] = mr_sequence_add(batch.sequence, records);
	return true;
}

static void drop_copy(struct world *w)
{
	if (w->copied)
		mr_checkpoint_partition_deinit(&w->copy);
	w->copied = false;
}

/* The protocol of checkpoint.h: a copy at a group's end, saved when that is flushed. */
static void copy_state(struct world *w)
{
	struct mr_log_state state;

	mr_log_state(w->rig.log, &state);
	if (w->copied || state.open_bytes > 0)
		return;
	w->copy = (struct mr_checkpoint_partition){
		.leader_epoch = w->rig.leader_epoch,
		.log_start = mr_log_files_start_offset(w->rig.files),
		.offset = state.end_offset,
		.position = state.end_position & ~(uint64_t)(MR_BLOCK_BYTES - 1),
		.group_number = state.end_group_number,
		.previous_crc = state.end_crc,
	};
	memcpy(w->copy.topic_id, mr_test_topic_id, sizeof(w->copy.topic_id));
	mr_assert(mr_checkpoint_take_tables(&w->copy, &w->rig.partition) == 0);
	w->copied = true;
}

static bool save_checkpoint(struct world *w)
{
	struct mr_error err;

	if (!w->copied || w->rig.flushed < w->copy.offset)
		return true;
	if (w->checkpoint.partition_count == 0) {
		w->checkpoint.partitions = calloc(1, sizeof(*w->checkpoint.partitions));
		w->checkpoint.partition_count = 1;
	}
	mr_checkpoint_partition_deinit(&w->checkpoint.partitions[0]);
	w->checkpoint.partitions[0] = w->copy;
	w->copied = false;
	if (mr_checkpoint_save(w->io, &w->checkpoint, &err) < 0)
		return false;
	w->generation = w->checkpoint.generation;
	w->checkpointed = w->copy.offset;
	met.checkpoints++;
	return true;
}

static bool retain(struct world *w)
{
	uint64_t keep = w->flushed < w->checkpointed ? w->flushed : w->checkpointed;
	struct mr_segment *gone;
	struct mr_error err;
	uint64_t log_start;
	bool good;

	/* A chore of the same segment must not find it gone: they are done in order. */
	if (w->rig.chore_count > 0)
		return true;
	gone = mr_log_files_retain(w->rig.files, 4 * w->options.segment_bytes, 0, keep, &log_start);
	if (!gone)
		return true;
	w->retained = true;
	good = mr_segment_remove(gone, &err) == 0;
	mr_segment_close(gone);
	met.retained += good;
	return good;
}

static bool zeros_out(const struct world *w)
{
	struct mr_log_state state;

	mr_log_state(w->rig.log, &state);
	return state.zeros_out;
}

static bool work(struct world *w)
{
	uint64_t what = draw(w, 100);
	struct mr_error err;

	if (what < 45) {
		for (uint64_t n = 1 + draw(w, 6); n > 0 && put_batch(w); n--)
			;
		return true;
	}
	if (what < 78) {
		mr_io_fake_allow(w->disk, (uint32_t)draw(w, 5));
		mr_test_rig_turn(&w->rig, draw(w, 3) == 0);
		met.zero_fills += zeros_out(w);
		note_flushed(w);
		return mr_io_fault_hits(w->io) == 0;
	}
	if (what < 86) {
		if (w->rig.chore_count > 0) {
			met.rolls += w->rig.chores[0].kind == MR_LOG_EVENT_STARTED;
		}
		if (!mr_test_rig_chore(&w->rig, &err))
			return false;
		note_flushed(w);
		return true;
	}
	if (what < 91)
		return mr_test_rig_spare(&w->rig, &err);
	if (what < 94) {
		copy_state(w);
	} else if (what < 98) {
		if (!w->ended_well && draw(w, 16) == 0)
			plan_fault(w, 3);
		return save_checkpoint(w);
	} else if (what < 99) {
		return retain(w);
	}
	return true;
}

/*
 * Power goes, or the engine is killed: then the disk's cache stays, and what was in flight lands.
 */
static void end_life(struct world *w)
{
	bool cut = draw(w, 4) > 0;

	for (uint32_t i = 0; i < w->rig.chore_count; i++)
		met.rolls_cut += w->rig.chores[i].kind == MR_LOG_EVENT_STARTED;
	met.zeros_cut += cut && zeros_out(w);
	if (cut)
		mr_io_fake_crash(w->disk, draw(w, UINT64_MAX));
	plan_fault(w, 0);
	mr_test_rig_close(&w->rig);
	w->alive = false;
	w->cache_left = !cut;
	drop_copy(w);
	met.kills += !cut;
	met.cuts_in_work += cut;
}

/* All is written, and the newest checkpoint says that there is nothing behind it. */
static void end_well(struct world *w)
{
	mr_io_fake_allow(w->disk, MR_IO_FAKE_ALL);
	mr_test_rig_settle(&w->rig);
	note_flushed(w);
	drop_copy(w);
	copy_state(w);
	mr_assert(w->copied);
	w->copy.clean = true;
	if (!save_checkpoint(w))
		fail(w, "cannot end");
	met.ended_well++;
}

static void live(struct world *w)
{
	w->ended_well = draw(w, 5) == 0;
	/* Half of the other lives end inside an operation. */
	if (!w->ended_well && draw(w, 2) == 0)
		plan_fault(w, 200);
	for (uint64_t n = 20 + draw(w, 180); n > 0; n--) {
		if (!work(w))
			break;
	}
	if (w->ended_well)
		end_well(w);
	end_life(w);
}

static bool slot_is_torn(struct world *w, const char *name)
{
	struct mr_checkpoint checkpoint;
	size_t count;
	uint8_t *bytes = mr_io_fake_bytes(w->disk, name, &count);
	bool torn;

	if (!bytes)
		return false;
	torn = mr_checkpoint_decode(bytes, count, &checkpoint, NULL) < 0;
	if (!torn)
		mr_checkpoint_deinit(&checkpoint);
	free(bytes);
	return torn;
}

static void begin(struct world *w, uint64_t seed)
{
	struct mr_log_options *log = &w->options.log;

	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->random = seed;
	w->disk = mr_io_fake_new(draw(w, UINT64_MAX));
	w->io = mr_io_fault_new(w->disk);
	log->group_bytes = 4096u << draw(w, 4);
	log->batch_bytes_max = 1024u << draw(w, 4);
	log->groups_in_flight = 1 + (uint32_t)draw(w, 8);
	w->options.tail_bytes = 128u << 10;
	w->options.segment_bytes = (32u << draw(w, 4)) << 10;
	w->options.producers_max = 16;
	w->options.zeroed_bytes = draw(w, 2) ? 0 : 4096 * (1 + draw(w, 8));
	w->options.disk = w->disk;
	for (int i = 0; i < PRODUCERS; i++)
		w->next_sequence[i] = draw(w, 2) ? 0 : INT32_MAX - (int32_t)draw(w, 50);
	mr_test_rig_open(&w->rig, &w->options, w->io, NULL);
	w->alive = true;
}

static void end(struct world *w)
{
	if (w->alive)
		mr_test_rig_close(&w->rig);
	drop_copy(w);
	mr_checkpoint_deinit(&w->checkpoint);
	free(w->batches);
	mr_io_close(w->io);
	mr_io_close(w->disk);
}

static void run(uint64_t seed)
{
	struct world *w = &world;

	begin(w, seed);
	for (uint64_t n = 1 + draw(w, ROUNDS); n > 0; n--) {
		live(w);
		met.torn_checkpoints +=
			slot_is_torn(w, "checkpoint.0") || slot_is_torn(w, "checkpoint.1");
		start_again(w);
	}
	end(w);
}

static void print_met(uint64_t seeds)
{
	printf("power cuts over %" PRIu64 " seeds: %" PRIu64 " in work, %" PRIu64
	       " in recovery, %" PRIu64 " kills; %" PRIu64 " batches\n",
	       seeds, met.cuts_in_work, met.cuts_in_recovery, met.kills, met.batches);
	printf("torn tails %" PRIu64 ", with groups behind a hole %" PRIu64
	       ", segments removed behind one %" PRIu64 "\n",
	       met.torn_tails, met.holes, met.segments_removed);
	printf("lives that ended well %" PRIu64 "\n", met.ended_well);
	printf("rolls %" PRIu64 ", cut before their name %" PRIu64 ", zeros behind a group %" PRIu64
	       ", cut %" PRIu64 ", segments let go %" PRIu64 "\n",
	       met.rolls, met.rolls_cut, met.zero_fills, met.zeros_cut, met.retained);
	printf("checkpoints %" PRIu64 ", torn %" PRIu64 "; bits flipped and found %" PRIu64
	       " in groups, %" PRIu64 " in headers; not provably flushed %" PRIu64 "\n",
	       met.checkpoints, met.torn_checkpoints, met.flips_found, met.header_flips_found,
	       met.flips_unprovable);
}

/* A run of many seeds that never meets something has stopped testing it. */
static int check_met(void)
{
	if (met.cuts_in_work && met.cuts_in_recovery && met.kills && met.ended_well &&
	    met.torn_tails && met.holes && met.segments_removed && met.rolls && met.rolls_cut &&
	    met.zero_fills && met.zeros_cut && met.retained && met.checkpoints &&
	    met.torn_checkpoints && met.flips_found && met.header_flips_found &&
	    met.flips_unprovable)
		return 0;
	fprintf(stderr, "powercut: something was never met\n");
	return 1;
}

static bool number_of(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

int main(int argc, char **argv)
{
	uint64_t seeds = 2000;
	uint64_t first = 1;
	uint64_t only = 0;

	for (int i = 1; i < argc; i += 2) {
		uint64_t *value = strcmp(argv[i], "--seeds") == 0   ? &seeds
				  : strcmp(argv[i], "--first") == 0 ? &first
				  : strcmp(argv[i], "--seed") == 0  ? &only
								    : NULL;

		if (!value || i + 1 >= argc || !number_of(argv[i + 1], value)) {
			fprintf(stderr, "usage: powercut [--seeds N] [--first N] | --seed N\n");
			return 2;
		}
	}
	if (only > 0) {
		first = only;
		seeds = 1;
	}
	for (uint64_t seed = first; seed < first + seeds; seed++)
		run(seed);
	print_met(seeds);
	return seeds >= 1000 ? check_met() : 0;
}
