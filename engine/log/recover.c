/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of one partition: what is kept after a crash, and why (recover.h). Runs before the
 * partition has a worker, on the thread that starts the engine; blocks. It reads
 *
 *	1. the segments' names, and each one's header under its lock: do they follow each other?
 *	2. the index of each complete segment below the checkpoint, rebuilt if need be;
 *	3. groups from the checkpoint on, as long as each continues the one before: what is kept;
 *	4. the in-flight window behind, for a group that proves that more had been flushed.
 *
 * Nothing of that is read twice, and the next piece is read while this one is checked. A log that
 * an engine ended well (checkpoint.h) has no window: its checkpoint stands at its end, and the
 * block there is zero.
 *
 * With a proof the partition is corrupt and nothing is changed. Without one, what stands in the
 * window is zeroed, a segment begun behind the prefix is removed, and all that was read is flushed.
 * Each step may be cut off by another crash: the prefix is the same the next time, since only what
 * lies behind it is changed (I12).
 */
#include "recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "recover_parts.h"

#define PROGRESS_BYTES (16u << 20)

/* What the next group must be. */
struct expected {
	uint64_t offset;
	uint64_t position;
	uint64_t number;
	uint32_t previous_crc;
	int32_t leader_epoch; /* at least */
};

struct recovery {
	struct mr_io *io;
	const char *directory;
	const uint8_t *topic_id;
	int32_t partition_number;
	const struct mr_checkpoint_partition *checkpoint;
	const struct mr_recover_options *options;
	struct mr_partition *partition;
	struct mr_recovered *out;
	struct mr_scan scan;

	struct mr_found_segment *found;
	size_t count;
	size_t usable; /* of them, from the first on, that open and continue one another */
	size_t first;  /* where checking begins */
	size_t current;
	struct expected expected;
	bool from_checkpoint;
	bool clean;	     /* nothing was ever written behind the prefix */
	uint64_t dirty_from; /* file bytes of the segment it ends in that are not all zero */
	uint64_t dirty_to;
	bool broken; /* the chain of segments itself is damaged: 'break_why' says how */
	struct mr_error break_why;
	struct mr_error damage; /* why the prefix ends where it ends */
	uint64_t total_bytes;
	uint64_t told_bytes;
};

/* ---- 1. the segments ----------------------------------------------------- */

static struct mr_segment *segment_of(const struct recovery *re, size_t i)
{
	return re->found[i].segment;
}

static void break_at(struct recovery *re, size_t usable)
{
	re->broken = true;
	re->break_why = re->damage;
	re->usable = usable;
}

/* Whatever segment i holds behind: the next one, which is open, begins there. */
static void end_at_next(struct recovery *re, size_t i)
{
	segment_of(re, i)->end_offset = re->found[i + 1].header.base_offset;
	segment_of(re, i)->end_position = re->found[i + 1].header.base_position;
}

/* Does segment i belong here and continue the one before it? */
static int check_place(struct recovery *re, size_t i)
{
	const struct mr_segment_header *header = &re->found[i].header;
	const struct mr_segment_header *before = i ? &re->found[i - 1].header : NULL;

	if (memcmp(header->topic_id, re->topic_id, 16) != 0 ||
	    header->partition != re->partition_number)
		return mr_error_set(&re->damage, -EBADMSG,
				    "segment '%s/%s' belongs to another partition", re->directory,
				    re->found[i].name);
	if (!before)
		return 0;
	if (header->base_offset > before->base_offset &&
	    header->base_position > before->base_position &&
	    header->base_position - before->base_position <= before->file_bytes &&
	    header->group_number > before->group_number)
		return 0;
	return mr_error_set(&re->damage, -EBADMSG,
			    "segment '%s/%s' begins at position %" PRIu64
			    ", which does not continue '%s': a segment is missing",
			    re->directory, re->found[i].name, header->base_position,
			    re->found[i - 1].name);
}

/* Opens all, each under its lock, up to the first that is damaged. */
static int open_segments(struct recovery *re, struct mr_error *err)
{
	re->usable = re->count;
	for (size_t i = 0; i < re->count; i++) {
		struct mr_found_segment *found = &re->found[i];
		int r = mr_segment_open(re->io, re->directory, found->name, !re->options->read_only,
					re->options->lock_wait_ms, &found->segment, &found->header,
					err);

		if (r == -EBADMSG) {
			re->damage = *err;
			break_at(re, i);
			return 0;
		}
		if (r < 0)
			return r;
		if (check_place(re, i) < 0) {
			break_at(re, i);
			return 0;
		}
		if (i > 0)
			end_at_next(re, i - 1);
	}
	return 0;
}

/* ---- 3. groups that continue one another --------------------------------- */

static void expect_segment(struct expected *expected, const struct mr_segment_header *header)
{
	expected->offset = header->base_offset;
	expected->position = header->base_position;
	expected->number = header->group_number;
	expected->previous_crc = header->previous_crc;
}

static int name_group(struct mr_error *why, const struct expected *expected, const char *what,
		      uint64_t found, uint64_t wanted)
{
	return mr_error_set(why, -EBADMSG,
			    "group at position %" PRIu64 " has %s %" PRIu64 ", expected %" PRIu64,
			    expected->position, what, found, wanted);
}

/* Is it the group that was due? */
static int check_chain(const struct expected *expected, const struct mr_group_header *header,
		       struct mr_error *why)
{
	if (header->number != expected->number)
		return name_group(why, expected, "number", header->number, expected->number);
	if (header->base_offset != expected->offset)
		return name_group(why, expected, "base offset", header->base_offset,
				  expected->offset);
	if (header->previous_crc != expected->previous_crc)
		return name_group(why, expected, "previous crc", header->previous_crc,
				  expected->previous_crc);
	if (header->leader_epoch < expected->leader_epoch)
		return name_group(why, expected, "leader epoch", (uint64_t)header->leader_epoch,
				  (uint64_t)expected->leader_epoch);
	return 0;
}

static void go_on(struct expected *expected, const struct mr_group_header *header)
{
	expected->offset = header->base_offset + header->record_count;
	expected->position += header->bytes;
	expected->number = header->number + 1;
	expected->previous_crc = header->crc;
	expected->leader_epoch = header->leader_epoch;
}

static int64_t max_timestamp_of(const uint8_t *bytes, const struct mr_group_header *header)
{
	const uint8_t *at = bytes + sizeof(*header);
	const uint8_t *end = at + header->batch_bytes;
	struct mr_batch_header batch;
	int64_t newest = INT64_MIN;

	while (at < end && mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0) {
		if (batch.max_timestamp_ms > newest)
			newest = batch.max_timestamp_ms;
		at += batch.total_bytes;
	}
	return newest;
}

/* Whose records they are: the producers' state as the worker had it. */
static void remember_batches(struct recovery *re, const uint8_t *bytes,
			     const struct mr_group_header *header)
{
	const uint8_t *at = bytes + sizeof(*header);
	const uint8_t *end = at + header->batch_bytes;
	struct mr_batch_header batch;

	while (at < end && mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0) {
		int64_t id = batch.base_sequence < 0 ? MR_PRODUCER_ID_NONE : batch.producer_id;

		mr_assert(batch.base_offset == re->partition->log_end);
		/* an epoch that falls is found by check_chain(), unless inside one group: then the
		   table keeps the higher one, as the leader's does */
		(void)mr_epochs_note(&re->partition->epochs, batch.leader_epoch, batch.base_offset);
		mr_partition_append(re->partition, id, batch.producer_epoch, batch.base_sequence,
				    (uint32_t)batch.record_count, header->append_ms);
		at += batch.total_bytes;
	}
}

static void tell(struct recovery *re, uint32_t bytes)
{
	re->out->checked_bytes += bytes;
	if (!re->options->progress || re->out->checked_bytes - re->told_bytes < PROGRESS_BYTES)
		return;
	re->told_bytes = re->out->checked_bytes;
	re->options->progress(re->out->checked_bytes, re->total_bytes, re->options->arg);
}

/*
 * The group that is due in segment i: 1 and it is passed; 0: there is none, 'damage' says why; or
 * an I/O error.
 */
static int pass_group(struct recovery *re, size_t i, struct expected *expected, bool remember,
		      struct mr_error *err)
{
	struct mr_segment *segment = segment_of(re, i);
	uint64_t from = expected->position - segment->base_position;
	struct mr_group_header header;
	const uint8_t *bytes;
	int r;

	if (segment->file_bytes - from < MR_BLOCK_BYTES) {
		mr_error_set(&re->damage, -ENODATA, "the segment is full");
		return 0;
	}
	r = mr_scan_group(&re->scan, segment, from, segment->file_bytes, &header, &bytes,
			  &re->damage);
	if (r < 0 && r != -ENODATA && r != -EBADMSG) {
		if (err)
			*err = re->damage;
		return r;
	}
	if (r == 0)
		r = check_chain(expected, &header, &re->damage);
	if (r < 0)
		return 0;
	mr_segment_index_note(segment, header.base_offset, expected->position,
			      max_timestamp_of(bytes, &header), header.append_ms);
	if (remember)
		remember_batches(re, bytes, &header);
	go_on(expected, &header);
	tell(re, header.bytes);
	return 1;
}

/* A segment that begins where we stand continues what we have read. */
static bool continues(struct recovery *re, size_t i)
{
	const struct mr_segment_header *header = &re->found[i].header;

	if (header->base_offset == re->expected.offset &&
	    header->group_number == re->expected.number &&
	    header->previous_crc == re->expected.previous_crc)
		return true;
	mr_error_set(&re->damage, -EBADMSG,
		     "segment '%s/%s' continues another log: group %" PRIu64 " at offset %" PRIu64
		     ", expected group %" PRIu64 " at offset %" PRIu64,
		     re->directory, re->found[i].name, header->group_number, header->base_offset,
		     re->expected.number, re->expected.offset);
	return false;
}

/*
 * The log goes on in the next segment if that begins here, whatever follows in this one: where it
 * was truncated (truncate.h), groups that are gone do. 1: it was entered; 0: none begins here; -1:
 * what begins here does not continue this log.
 */
static int enter_next(struct recovery *re)
{
	const struct mr_segment_header *next;

	if (re->current + 1 >= re->usable)
		return 0;
	next = &re->found[re->current + 1].header;
	if (next->base_position != re->expected.position)
		return 0;
	if (!continues(re, re->current + 1)) {
		break_at(re, re->current + 1);
		return -1;
	}
	re->current++;
	re->expected.position += MR_BLOCK_BYTES;
	mr_scan_segment(&re->scan, segment_of(re, re->current));
	return 1;
}

/* The engine before this one ended well, or so it says. */
static bool said_clean(const struct recovery *re)
{
	return re->from_checkpoint && re->checkpoint->clean;
}

/*
 * Where the next segment begins, as its name says, this one ends, also if the next cannot be used:
 * what stands behind may have been truncated away.
 */
static bool at_next_name(struct recovery *re)
{
	if (re->current + 1 >= re->count ||
	    re->expected.offset < re->found[re->current + 1].base_offset)
		return false;
	mr_error_set(&re->damage, -ENODATA, "the segment ends where '%s/%s' begins", re->directory,
		     re->found[re->current + 1].name);
	return true;
}

static int scan_groups(struct recovery *re, struct mr_error *err)
{
	struct mr_segment *segment = segment_of(re, re->current);

	mr_scan_segment(&re->scan, segment);
	if (re->expected.position == segment->base_position) {
		if (!continues(re, re->current)) {
			break_at(re, re->usable);
			return 0;
		}
		re->expected.position += MR_BLOCK_BYTES;
	}
	if (said_clean(re)) /* one look, most likely */
		mr_scan_ahead_to(&re->scan, re->expected.position - segment->base_position);
	for (;;) {
		int entered = enter_next(re);
		int r = entered;

		if (entered < 0 || (!entered && at_next_name(re)))
			return 0;
		if (!entered)
			r = pass_group(re, re->current, &re->expected, true, err);
		if (r == 0)
			return 0;
		if (r < 0)
			return r;
		if (!entered)
			mr_scan_ahead_to(&re->scan, segment_of(re, re->current)->file_bytes);
	}
}

/* ---- 2. complete segments before the beginning, and their indexes -------- */

/*
 * Reads a whole segment below the checkpoint for its index. Damage found there breaks the log at
 * it.
 */
static int rebuild_index(struct recovery *re, size_t i, struct mr_error *err)
{
	struct mr_segment *segment = segment_of(re, i);
	uint64_t end = re->found[i + 1].header.base_position;
	struct expected expected = {0};
	int r;

	mr_segment_index_forget(segment, 0);
	mr_scan_segment(&re->scan, segment);
	expect_segment(&expected, &re->found[i].header);
	expected.position += MR_BLOCK_BYTES;
	do {
		r = pass_group(re, i, &expected, false, err);
	} while (r == 1 && expected.position < end);
	mr_scan_rest(&re->scan);
	if (r < 0)
		return r;
	if (r == 0 || expected.position != end) {
		break_at(re, i + 1);
		re->current = i;
		re->expected = expected;
		return 0;
	}
	if (!re->options->read_only)
		(void)mr_segment_index_save(segment,
					    NULL); /* only a hint: the next start tries again */
	return 0;
}

static int load_indexes(struct recovery *re, struct mr_error *err)
{
	for (size_t i = 0; i < re->first && !re->broken; i++) {
		struct mr_segment *segment = segment_of(re, i);
		int r = mr_segment_index_load(segment, err);

		if (r == -EBADMSG)
			r = rebuild_index(re, i, err);
		if (r < 0)
			return r;
		end_at_next(re, i);
	}
	return 0;
}

/*
 * The segment that the checkpoint lies in is not read from its beginning: its index may tell what
 * stands there.
 */
static void load_partial_index(struct recovery *re)
{
	struct mr_segment *segment = segment_of(re, re->first);

	if (re->expected.position <= segment->base_position + MR_BLOCK_BYTES)
		return;
	if (mr_segment_index_load(segment, NULL) == 0) {
		mr_segment_index_forget(segment, re->expected.position);
	} else {
		mr_segment_index_forget(segment, 0);
		/*
		 * relaxed: nobody else has it. Any time may stand there: searches begin at the
		 * segment's start.
		 */
		atomic_store_explicit(&segment->index.max_timestamp_ms, INT64_MAX,
				      memory_order_relaxed);
	}
	segment->end_offset = 0;
	segment->end_position = 0;
	if (re->first + 1 < re->usable) /* else it is the one that is written */
		end_at_next(re, re->first);
}

/* ---- where to begin ------------------------------------------------------ */

static int newest_first(const void *a, const void *b)
{
	uint64_t x = ((const struct mr_producer_entry *)a)->last_offset;
	uint64_t y = ((const struct mr_producer_entry *)b)->last_offset;

	return (x < y) - (x > y);
}

/*
 * What an entry was at 'offset', as far as it remembers. One that was written while later records
 * were not flushed would claim records that the crash took; one that a leader gave to a log that
 * begins anew, records that have yet to come. What is forgotten here stands in batches behind.
 */
static bool trim_producer(struct mr_producer_entry *entry, uint64_t offset)
{
	while (entry->last_offset >= offset) {
		uint32_t newest;

		entry->recent_next =
			(uint8_t)((entry->recent_next + MR_RECENT_BATCHES - 1) % MR_RECENT_BATCHES);
		if (entry->recent_count < 2)
			return false;
		memset(&entry->recent[entry->recent_next], 0, sizeof(entry->recent[0]));
		entry->recent_count--;
		newest = (entry->recent_next + MR_RECENT_BATCHES - 1u) % MR_RECENT_BATCHES;
		if (entry->recent[newest].count < 1 || entry->recent[newest].first_sequence < 0)
			return false;
		entry->last_offset = entry->recent[newest].base_offset +
				     (uint32_t)entry->recent[newest].count - 1;
		entry->last_sequence = mr_sequence_add(entry->recent[newest].first_sequence,
						       (uint32_t)entry->recent[newest].count - 1);
	}
	return true;
}

/* As many as the table takes, the newest first. */
static int restore_producers(struct recovery *re, struct mr_error *err)
{
	const struct mr_checkpoint_partition *checkpoint = re->checkpoint;
	struct mr_producer_entry *entries;

	if (checkpoint->producer_count == 0)
		return 0;
	entries = calloc(checkpoint->producer_count, sizeof(*entries));
	if (!entries)
		return mr_error_set(err, -ENOMEM, "no memory for %u producers",
				    checkpoint->producer_count);
	memcpy(entries, checkpoint->producers, checkpoint->producer_count * sizeof(*entries));
	qsort(entries, checkpoint->producer_count, sizeof(*entries), newest_first);
	for (uint32_t i = 0; i < checkpoint->producer_count; i++) {
		if (!trim_producer(&entries[i], checkpoint->offset))
			continue;
		/* one that does not fit or cannot be is forgotten: its next batch is a base */
		(void)mr_partition_restore_producer(re->partition, &entries[i]);
	}
	free(entries);
	return 0;
}

/* At the checkpoint, if it lies in a segment that is there. */
static bool begin_at_checkpoint(struct recovery *re)
{
	const struct mr_checkpoint_partition *checkpoint = re->checkpoint;
	const struct mr_segment *segment;
	size_t i = re->usable;

	while (i > 0 && segment_of(re, i - 1)->base_position > checkpoint->position)
		i--;
	if (i == 0) {
		mr_error_set(&re->damage, -EBADMSG,
			     "'%s' begins at offset %" PRIu64 ", but offset %" PRIu64
			     " had been flushed: segments are missing",
			     re->directory, segment_of(re, 0)->base_offset, checkpoint->offset);
		return false;
	}
	segment = segment_of(re, i - 1);
	if (checkpoint->position - segment->base_position > segment->file_bytes ||
	    checkpoint->position % MR_BLOCK_BYTES || checkpoint->offset < segment->base_offset) {
		mr_error_set(&re->damage, -EBADMSG,
			     "'%s' ends before position %" PRIu64 " (offset %" PRIu64
			     "), which had been flushed: segments are missing",
			     re->directory, checkpoint->position, checkpoint->offset);
		return false;
	}
	re->first = i - 1;
	re->expected = (struct expected){.offset = checkpoint->offset,
					 .position = checkpoint->position,
					 .number = checkpoint->group_number,
					 .previous_crc = checkpoint->previous_crc};
	return true;
}

static int begin(struct recovery *re, struct mr_error *err)
{
	re->out->log_start = segment_of(re, 0)->base_offset;
	if (re->checkpoint && re->checkpoint->log_start > re->out->log_start)
		re->out->log_start = re->checkpoint->log_start;
	if (re->checkpoint && !re->broken) {
		re->from_checkpoint = begin_at_checkpoint(re);
		if (!re->from_checkpoint)
			break_at(re, re->usable);
	}
	if (!re->from_checkpoint) {
		re->first = re->broken ? re->usable - 1 : 0;
		expect_segment(&re->expected, &re->found[re->first].header);
	}
	re->current = re->first;
	re->total_bytes = segment_of(re, re->usable - 1)->base_position +
			  segment_of(re, re->usable - 1)->file_bytes - re->expected.position;
	re->partition->log_end = re->expected.offset;
	if (!re->from_checkpoint)
		return 0;
	for (uint32_t i = 0; i < re->checkpoint->epoch_count; i++)
		/* they rise, as the checkpoint's decoding has seen */
		(void)mr_epochs_note(&re->partition->epochs, re->checkpoint->epochs[i].leader_epoch,
				     re->checkpoint->epochs[i].start_offset);
	return restore_producers(re, err);
}

/* ---- 4. behind the kept prefix ------------------------------------------- */

static void note_dirty(struct recovery *re, size_t i, uint64_t from, uint64_t bytes)
{
	if (i != re->current)
		return; /* its segment goes as a whole */
	if (re->dirty_from == re->dirty_to)
		re->dirty_from = from;
	re->dirty_to = from + bytes;
}

/* Whether more than its first bytes is zero: what is left there would be in the way later. */
static bool is_block_zero(struct recovery *re, uint64_t from)
{
	const uint8_t *bytes;
	size_t have;

	/* it was just read, so this cannot fail */
	if (mr_scan_bytes(&re->scan, from, 0, &bytes, &have, NULL) < 0)
		return false;
	return have == 0 || (have >= MR_BLOCK_BYTES && mr_recover_is_zero(bytes));
}

/* One segment's part of the window: groups that check out in file bytes [from, to). */
static int search(struct recovery *re, size_t i, uint64_t from, uint64_t to, struct mr_error *err)
{
	struct mr_segment *segment = segment_of(re, i);
	struct mr_recovered *out = re->out;

	if (i != re->current) /* there the scan stands already */
		mr_scan_segment(&re->scan, segment);
	mr_scan_ahead_to(&re->scan, to);
	while (from < to) {
		struct mr_group_header header;
		const uint8_t *bytes;
		struct mr_error why;
		int r = mr_scan_group(&re->scan, segment, from, segment->file_bytes, &header,
				      &bytes, &why);

		if (r == 0 && header.number > re->expected.number) {
			out->cut_groups++;
			out->cut_bytes += header.bytes;
			if (header.flushed_offset > out->flushed_offset)
				out->flushed_offset = header.flushed_offset;
			note_dirty(re, i, from, header.bytes);
			from += header.bytes;
			continue;
		}
		if (r == 0 || r == -EBADMSG) {
			out->cut_bytes += MR_BLOCK_BYTES;
			note_dirty(re, i, from, MR_BLOCK_BYTES);
		} else if (r != -ENODATA) {
			*err = why;
			return r;
		} else if (!is_block_zero(re, from)) {
			note_dirty(re, i, from, MR_BLOCK_BYTES);
		}
		from += MR_BLOCK_BYTES;
	}
	return 0;
}

/* The window goes on in the next segment, if that was begun already. */
static int search_window(struct recovery *re, struct mr_error *err)
{
	struct mr_segment *segment = segment_of(re, re->current);
	uint64_t from = re->expected.position - segment->base_position;
	/* A group may begin exactly one window behind, and a segment's header may lie between. */
	uint64_t window = re->options->window_bytes + 2 * MR_BLOCK_BYTES;
	uint64_t here = segment->file_bytes - from < window ? segment->file_bytes - from : window;
	int r = search(re, re->current, from, from + here, err);

	if (r < 0 || re->current + 1 >= re->usable)
		return r;
	segment = segment_of(re, re->current + 1);
	return search(re, re->current + 1, MR_BLOCK_BYTES,
		      segment->file_bytes < window ? segment->file_bytes : window, err);
}

/* It ended well if nothing follows where it says so: not a byte, not a segment. */
static bool ended_well(struct recovery *re)
{
	const struct mr_segment *segment = segment_of(re, re->current);
	uint64_t from = re->expected.position - segment->base_position;

	return said_clean(re) && !re->broken && re->expected.offset == re->checkpoint->offset &&
	       re->current + 1 == re->usable && re->usable == re->count &&
	       re->damage.code == -ENODATA &&
	       (segment->file_bytes - from < MR_BLOCK_BYTES || is_block_zero(re, from));
}

/* Damage, or the end that a crash leaves? Sets out->corrupt. */
static int judge(struct recovery *re, struct mr_error *err)
{
	struct mr_recovered *out = re->out;
	int r;

	if (re->checkpoint)
		out->flushed_offset = re->checkpoint->offset;
	/* The log rolls only when everything before the active segment is flushed. */
	if (re->usable >= 2 && segment_of(re, re->usable - 2)->base_offset > out->flushed_offset)
		out->flushed_offset = segment_of(re, re->usable - 2)->base_offset;
	if (re->broken && re->count >= 2 &&
	    re->found[re->count - 2].base_offset > out->flushed_offset)
		out->flushed_offset = re->found[re->count - 2].base_offset;
	re->clean = ended_well(re);
	r = re->clean ? 0 : search_window(re, err);
	if (r < 0)
		return r;
	out->corrupt = re->broken || out->flushed_offset > re->expected.offset;
	/* A next segment that begins before the end of what is kept. */
	if (re->current + 1 < re->usable &&
	    segment_of(re, re->current + 1)->base_position < re->expected.position)
		out->corrupt = true;
	return 0;
}

static void tell_damage(struct recovery *re)
{
	struct mr_recovered *out = re->out;

	out->corrupt_offset = re->expected.offset;
	out->corrupt_position = re->expected.position;
	if (out->log_start > out->corrupt_offset)
		out->log_start = out->corrupt_offset; /* damage below what was still kept */
	out->cut_bytes = 0;
	out->cut_groups = 0;
	out->damage = re->damage;
	if (re->broken && re->damage.code != -EBADMSG)
		out->damage = re->break_why;
	if (out->damage.code != -EBADMSG)
		mr_error_set(&out->damage, -EBADMSG, "nothing is there");
	mr_error_prefix(&out->damage,
			"log is damaged in '%s/%s' at byte %" PRIu64 ", offset %" PRIu64 ": ",
			re->directory, re->found[re->current].name,
			re->expected.position - segment_of(re, re->current)->base_position,
			re->expected.offset);
	mr_error_why(&out->damage, "records up to offset %" PRIu64 " had been flushed here",
		     out->flushed_offset);
	mr_error_hint(&out->damage,
		      "bring the files back from a copy, or let the records behind it go: "
		      "millrace repair --accept-loss");
}

/* Only the first segment's header is known to be bad: nothing can be read at all. */
static void tell_nothing_usable(struct recovery *re)
{
	struct mr_recovered *out = re->out;

	out->corrupt = true;
	out->corrupt_offset = re->found[0].base_offset;
	out->log_start = re->found[0].base_offset;
	out->damage = re->damage;
	if (re->checkpoint)
		out->flushed_offset = re->checkpoint->offset;
	if (re->count >= 2 && re->found[re->count - 2].base_offset > out->flushed_offset)
		out->flushed_offset = re->found[re->count - 2].base_offset;
	out->start.offset = out->corrupt_offset;
	out->start.partition = re->partition_number;
	memcpy(out->start.topic_id, re->topic_id, sizeof(out->start.topic_id));
	re->partition->log_end = out->corrupt_offset;
}

/* ---- keeping ------------------------------------------------------------- */

/*
 * What lies behind the prefix goes, durably, and what is kept is flushed before it counts (D3,
 * D6).
 */
static int cut(struct recovery *re, struct mr_error *err)
{
	struct mr_segment *active = segment_of(re, re->current);
	uint64_t from = re->expected.position - active->base_position;
	uint64_t to = from + re->options->window_bytes + 2 * MR_BLOCK_BYTES;
	int r = 0;

	if (re->checkpoint && re->checkpoint->clean && !re->clean)
		r = mr_recover_remove_spare(re->io, re->directory, err);
	if (r < 0)
		return r;
	for (size_t i = re->usable; i > re->current + 1; i--) {
		r = mr_segment_remove(segment_of(re, i - 1), err);
		if (r < 0)
			return r;
	}
	if (to > active->file_bytes)
		to = active->file_bytes;
	if (to > re->dirty_to)
		to = re->dirty_to;
	if (re->dirty_from < to)
		r = mr_segment_zero(active, re->dirty_from, to, err);
	for (size_t i = re->first; i <= re->current && r == 0; i++)
		r = mr_io_sync(segment_of(re, i)->file, err);
	if (r < 0)
		return r;
	return mr_io_sync_directory(re->io, re->directory, err);
}

static int make_whole(struct mr_segment *active, struct mr_error *err)
{
	int64_t bytes = mr_io_size(active->file, err);

	if (bytes < 0)
		return (int)bytes;
	if ((uint64_t)bytes >= active->file_bytes)
		return 0;
	return mr_io_allocate(active->file, 0, active->file_bytes, err);
}

/* Hands out what is kept; files of complete segments are not needed open. */
static int hand_out(struct recovery *re, struct mr_error *err)
{
	struct mr_segment *active = segment_of(re, re->current);
	uint64_t written = re->expected.position - active->base_position;
	struct mr_recovered *out = re->out;

	out->segments = calloc(re->current + 1, sizeof(*out->segments));
	if (!out->segments)
		return mr_error_set(err, -ENOMEM, "no memory for a list of segments");
	for (size_t i = 0; i <= re->current; i++) {
		out->segments[i] = re->found[i].segment;
		re->found[i].segment = NULL;
		if (i == re->current)
			break;
		mr_io_file_close(out->segments[i]->file);
		out->segments[i]->file = NULL;
	}
	out->segment_count = re->current + 1;
	active->end_offset = 0;
	active->end_position = 0;
	active->zeroed_bytes =
		active->file_bytes < MR_ZERO_STEP_BYTES ? active->file_bytes : MR_ZERO_STEP_BYTES;
	if (active->zeroed_bytes < written)
		active->zeroed_bytes = written;
	out->start.active = active;
	out->start.position = re->expected.position;
	out->start.offset = re->expected.offset;
	out->start.group_number = re->expected.number;
	out->start.previous_crc = re->expected.previous_crc;
	out->start.partition = re->partition_number;
	memcpy(out->start.topic_id, re->topic_id, sizeof(out->start.topic_id));
	memcpy(out->start.log_id, re->found[re->current].header.log_id, sizeof(out->start.log_id));
	out->clean = re->clean;
	out->leader_epoch = re->expected.leader_epoch;
	if (re->checkpoint && re->checkpoint->leader_epoch > out->leader_epoch)
		out->leader_epoch = re->checkpoint->leader_epoch;
	return 0;
}

static int keep(struct recovery *re, struct mr_error *err)
{
	int r = judge(re, err);

	mr_scan_rest(&re->scan); /* from here on files are written and closed */
	if (r < 0)
		return r;
	if (re->out->corrupt) {
		tell_damage(re);
	} else if (!re->options->read_only) {
		r = cut(re, err);
		if (r == 0)
			r = make_whole(segment_of(re, re->current), err);
		if (r < 0)
			return r;
	}
	if (re->out->flushed_offset < re->expected.offset && !re->options->read_only)
		re->out->flushed_offset = re->expected.offset;
	return hand_out(re, err);
}

static int recover(struct recovery *re, struct mr_error *err)
{
	int r = open_segments(re, err);

	if (r < 0)
		return r;
	if (re->usable == 0) {
		tell_nothing_usable(re);
		return 0;
	}
	r = begin(re, err);
	if (r < 0)
		return r;
	r = load_indexes(re, err);
	if (r < 0)
		return r;
	/*
	 * Damage below the beginning: the log ends there, and who its producers were no longer
	 * matters.
	 */
	if (re->current >= re->first) {
		load_partial_index(re);
		r = scan_groups(re, err);
		if (r < 0)
			return r;
	} else {
		re->partition->log_end = re->expected.offset;
	}
	return keep(re, err);
}

int mr_recover(struct mr_io *io, const char *directory, const uint8_t topic_id[16],
	       int32_t partition_number, const struct mr_checkpoint_partition *checkpoint,
	       const struct mr_recover_options *options, struct mr_partition *partition,
	       struct mr_recovered *out, struct mr_error *err)
{
	struct mr_error ignored;
	struct recovery re = {
		.io = io,
		.directory = directory,
		.topic_id = topic_id,
		.partition_number = partition_number,
		.checkpoint = checkpoint,
		.options = options,
		.partition = partition,
		.out = out,
	};
	int r;

	if (!err)
		err = &ignored;
	memset(out, 0, sizeof(*out));
	/* a spare that may be used again is removed by cut() if it may not */
	r = mr_recover_find(io, directory,
			    !options->read_only && !(checkpoint && checkpoint->clean), &re.found,
			    &re.count, err);
	if (r < 0)
		return r;
	if (re.count == 0) {
		r = mr_error_set(err, -ENOENT, "there is no segment in '%s'", directory);
		goto out;
	}
	mr_scan_init(&re.scan, true);
	r = recover(&re, err);
	mr_scan_deinit(&re.scan);
out:
	mr_recover_found_free(re.found, re.count);
	if (r < 0)
		mr_recovered_deinit(out);
	return r;
}

void mr_recovered_deinit(struct mr_recovered *recovered)
{
	for (size_t i = 0; i < recovered->segment_count; i++)
		mr_segment_close(recovered->segments[i]);
	free(recovered->segments);
	memset(recovered, 0, sizeof(*recovered));
}
