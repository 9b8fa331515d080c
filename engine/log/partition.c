/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition's state: what a batch may be, which offsets it gets, where the high watermark stands.
 * Runs on the partition's worker (and in recovery, before there is one); owns the producer table;
 * no I/O, no clock, no allocation after init.
 *
 * Producers stand in a hash table with linear probing; an entry that goes is closed up by moving
 * later ones of the same run back, so that a lookup ends at the first free place. A full table
 * forgets the producer whose newest record is the oldest: offsets decide that, not clocks, so that
 * recovery forgets the same ones.
 */
#include "partition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define SEQUENCE_MASK 0x7fffffffu
#define SEQUENCE_HALF 0x40000000u

int32_t mr_sequence_distance(int32_t a, int32_t b)
{
	uint32_t ahead = ((uint32_t)a - (uint32_t)b) & SEQUENCE_MASK;

	if (ahead < SEQUENCE_HALF)
		return (int32_t)ahead;
	return (int32_t)(ahead | ~SEQUENCE_MASK);
}

int32_t mr_sequence_add(int32_t a, uint32_t n)
{
	return (int32_t)(((uint32_t)a + n) & SEQUENCE_MASK);
}

/* ---- the producer table -------------------------------------------------- */

/* Ids come from a counter: multiply so that neighbours spread. */
static uint32_t home_of(const struct mr_partition *partition, int64_t producer_id)
{
	uint64_t hash = (uint64_t)producer_id * 0x9e3779b97f4a7c15u;

	return (uint32_t)(hash >> 32) & (partition->producers_max - 1);
}

/*
 * The producer's place, or the free place where it would go, or NULL if it is not there and all
 * are taken.
 */
static struct mr_producer_entry *place_of(const struct mr_partition *partition, int64_t producer_id)
{
	uint32_t at = home_of(partition, producer_id);

	for (uint32_t i = 0; i < partition->producers_max; i++) {
		struct mr_producer_entry *entry = &partition->producers[at];

		if (entry->producer_id == producer_id || entry->producer_id < 0)
			return entry;
		at = (at + 1) & (partition->producers_max - 1);
	}
	return NULL;
}

static void forget(struct mr_partition *partition, struct mr_producer_entry *entry)
{
	uint32_t mask = partition->producers_max - 1;
	uint32_t hole = (uint32_t)(entry - partition->producers);
	uint32_t at = hole;

	for (uint32_t i = 1; i < partition->producers_max; i++) {
		struct mr_producer_entry *next;

		at = (at + 1) & mask;
		next = &partition->producers[at];
		if (next->producer_id < 0)
			break;
		/* It may move back only if the hole is not before its home. */
		if (((at - home_of(partition, next->producer_id)) & mask) < ((at - hole) & mask))
			continue;
		partition->producers[hole] = *next;
		hole = at;
	}
	memset(&partition->producers[hole], 0, sizeof(*entry));
	partition->producers[hole].producer_id = -1;
	partition->producer_count--;
}

static bool is_pinned(const struct mr_partition *partition, int64_t producer_id)
{
	if (producer_id >= MR_PRODUCER_ID_FIXED)
		return true;
	return partition->is_pinned && partition->is_pinned(producer_id, partition->pinned_arg);
}

/* Makes room: the quietest that is not pinned; if all are, the quietest. */
static void forget_quietest(struct mr_partition *partition)
{
	struct mr_producer_entry *quietest = NULL;
	bool quietest_pinned = true;

	for (uint32_t i = 0; i < partition->producers_max; i++) {
		struct mr_producer_entry *entry = &partition->producers[i];
		bool pinned;

		if (entry->producer_id < 0)
			continue;
		if (quietest && !quietest_pinned && entry->last_offset >= quietest->last_offset)
			continue;
		pinned = is_pinned(partition, entry->producer_id);
		if (quietest && pinned && !quietest_pinned)
			continue;
		if (quietest && pinned == quietest_pinned &&
		    entry->last_offset >= quietest->last_offset)
			continue;
		quietest = entry;
		quietest_pinned = pinned;
	}
	mr_assert(quietest);
	forget(partition, quietest);
}

static struct mr_producer_entry *new_entry(struct mr_partition *partition, int64_t producer_id)
{
	struct mr_producer_entry *entry;

	if (partition->producer_count >= partition->producers_limit)
		forget_quietest(partition);
	entry = place_of(partition, producer_id);
	mr_assert(entry);
	mr_assert(entry->producer_id < 0);
	memset(entry, 0, sizeof(*entry));
	entry->producer_id = producer_id;
	partition->producer_count++;
	return entry;
}

const struct mr_producer_entry *mr_partition_find_producer(const struct mr_partition *partition,
							   int64_t producer_id)
{
	struct mr_producer_entry *entry;

	if (producer_id < 0)
		return NULL;
	entry = place_of(partition, producer_id);
	if (!entry || entry->producer_id < 0)
		return NULL;
	return entry;
}

int mr_partition_restore_producer(struct mr_partition *partition,
				  const struct mr_producer_entry *entry)
{
	struct mr_producer_entry *place;

	if (entry->producer_id < 0 || entry->recent_count > MR_RECENT_BATCHES ||
	    entry->recent_next >= MR_RECENT_BATCHES || entry->last_sequence < 0)
		return -EBADMSG;
	place = place_of(partition, entry->producer_id);
	if (!place || place->producer_id < 0) {
		if (partition->producer_count >= partition->producers_limit)
			return -ENOSPC;
		mr_assert(place);
		partition->producer_count++;
	}
	*place = *entry;
	return 0;
}

uint32_t mr_partition_expire_producers(struct mr_partition *partition, int64_t before_ms)
{
	uint32_t expired = 0;
	uint32_t i = 0;

	while (i < partition->producers_max) {
		struct mr_producer_entry *entry = &partition->producers[i];

		if (entry->producer_id < 0 || entry->last_append_ms >= before_ms ||
		    is_pinned(partition, entry->producer_id)) {
			i++;
			continue;
		}
		forget(partition, entry); /* another may have moved here: look again */
		expired++;
	}
	return expired;
}

/* ---- init ---------------------------------------------------------------- */

int mr_partition_init(struct mr_partition *partition, uint32_t producers_max,
		      uint32_t min_insync_replicas, struct mr_error *err)
{
	uint32_t slots = 1;

	mr_assert(producers_max >= 1 && producers_max <= (1u << 24));
	mr_assert(min_insync_replicas >= 1 && min_insync_replicas <= MR_REPLICAS_MAX);
	while (slots - slots / 8 < producers_max)
		slots *= 2;
	memset(partition, 0, sizeof(*partition));
	partition->producers = calloc(slots, sizeof(*partition->producers));
	if (!partition->producers)
		return mr_error_set(err, -ENOMEM, "no memory for a table of %u producers",
				    producers_max);
	for (uint32_t i = 0; i < slots; i++)
		partition->producers[i].producer_id = -1;
	partition->producers_max = slots;
	partition->producers_limit = producers_max;
	partition->min_insync_replicas = min_insync_replicas;
	partition->isr = 1;
	partition->isr_known = 1;
	partition->leads = true;
	return mr_epochs_init(&partition->epochs, MR_EPOCHS_MAX, err);
}

void mr_partition_deinit(struct mr_partition *partition)
{
	free(partition->producers);
	mr_epochs_deinit(&partition->epochs);
	memset(partition, 0, sizeof(*partition));
}

/* ---- offsets ------------------------------------------------------------- */

/*
 * The high watermark follows the slowest in-sync replica, if there are enough of them. It never
 * goes back.
 */
static bool raise_high_watermark(struct mr_partition *partition)
{
	uint64_t lowest = partition->log_end;

	if (!partition->leads)
		return false;
	if ((uint32_t)__builtin_popcountll(partition->isr_known) < partition->min_insync_replicas)
		return false;
	for (uint64_t left = partition->isr; left; left &= left - 1) { /* bit by bit that is set */
		uint32_t i = (uint32_t)__builtin_ctzll(left);

		if (partition->replica_flushed[i] < lowest)
			lowest = partition->replica_flushed[i];
	}
	if (lowest < partition->epoch_start || lowest <= partition->high_watermark)
		return false;
	partition->high_watermark = lowest;
	return true;
}

void mr_partition_start(struct mr_partition *partition, uint64_t log_start, uint64_t log_end,
			int32_t leader_epoch)
{
	mr_assert(log_start <= log_end);
	mr_assert(leader_epoch >= partition->leader_epoch);
	partition->leader_epoch = leader_epoch;
	partition->log_start = log_start;
	partition->high_watermark = log_start;
	partition->flushed = log_end;
	partition->log_end = log_end;
	partition->epoch_start = log_end;
	memset(partition->replica_flushed, 0, sizeof(partition->replica_flushed));
	partition->replica_flushed[partition->self] = log_end;
	(void)raise_high_watermark(partition); /* whether it rose matters to nobody yet */
}

bool mr_partition_replica_flushed(struct mr_partition *partition, uint32_t replica, uint64_t offset)
{
	mr_assert(replica < MR_REPLICAS_MAX);
	if (offset > partition->log_end)
		offset = partition->log_end;
	if (offset <= partition->replica_flushed[replica])
		return false;
	partition->replica_flushed[replica] = offset;
	return raise_high_watermark(partition);
}

bool mr_partition_replica_begins(struct mr_partition *partition, uint32_t replica, uint64_t offset)
{
	mr_assert(replica < MR_REPLICAS_MAX);
	mr_assert(replica != partition->self);
	partition->replica_flushed[replica] = 0;
	return mr_partition_replica_flushed(partition, replica, offset);
}

bool mr_partition_flushed(struct mr_partition *partition, uint64_t offset)
{
	mr_assert(offset <= partition->log_end);
	if (offset > partition->flushed)
		partition->flushed = offset;
	return mr_partition_replica_flushed(partition, partition->self, offset);
}

bool mr_partition_lead(struct mr_partition *partition, int32_t leader_epoch, uint64_t isr)
{
	mr_assert(leader_epoch > partition->leader_epoch);
	mr_assert(isr & (UINT64_C(1) << partition->self));
	partition->leader_epoch = leader_epoch;
	partition->epoch_start = partition->log_end;
	partition->leads = true;
	memset(partition->replica_flushed, 0, sizeof(partition->replica_flushed));
	partition->replica_flushed[partition->self] = partition->flushed;
	return mr_partition_set_isr(partition, isr, isr);
}

void mr_partition_follow(struct mr_partition *partition, int32_t leader_epoch)
{
	mr_assert(leader_epoch >= partition->leader_epoch);
	partition->leader_epoch = leader_epoch;
	partition->leads = false;
}

bool mr_partition_set_isr(struct mr_partition *partition, uint64_t known, uint64_t perhaps)
{
	mr_assert(partition->leads);
	partition->isr_known = known;
	partition->isr = known | perhaps;
	return raise_high_watermark(partition);
}

bool mr_partition_follow_watermark(struct mr_partition *partition, uint64_t offset)
{
	mr_assert(!partition->leads);
	if (offset > partition->flushed)
		offset = partition->flushed;
	if (offset <= partition->high_watermark)
		return false;
	partition->high_watermark = offset;
	return true;
}

void mr_partition_raise_log_start(struct mr_partition *partition, uint64_t offset)
{
	mr_assert(offset <= partition->high_watermark);
	if (offset > partition->log_start)
		partition->log_start = offset;
}

bool mr_partition_is_final(const struct mr_partition *partition, uint64_t offset)
{
	return offset <= partition->high_watermark;
}

/* ---- batches ------------------------------------------------------------- */

enum mr_sequence_verdict mr_partition_check(const struct mr_partition *partition,
					    int64_t producer_id, int16_t epoch, int32_t sequence,
					    uint32_t count, uint32_t *duplicates, int32_t *expected)
{
	const struct mr_producer_entry *entry;
	int32_t distance;
	uint32_t behind;

	*duplicates = 0;
	*expected = sequence;
	if (producer_id < 0)
		return MR_SEQUENCE_NEXT;
	entry = mr_partition_find_producer(partition, producer_id);
	if (!entry)
		return MR_SEQUENCE_BASE;
	if (epoch > entry->epoch)
		return MR_SEQUENCE_BASE;
	*expected = mr_sequence_add(entry->last_sequence, 1);
	if (epoch < entry->epoch)
		return MR_SEQUENCE_FENCED;
	distance = mr_sequence_distance(sequence, *expected);
	if (distance == 0)
		return MR_SEQUENCE_NEXT;
	if (distance > 0)
		return MR_SEQUENCE_GAP;
	behind = (uint32_t) - (int64_t)distance;
	*duplicates = behind < count ? behind : count;
	return MR_SEQUENCE_DUPLICATE;
}

static void remember(struct mr_partition *partition, int64_t producer_id, int16_t epoch,
		     int32_t sequence, uint32_t count, int64_t append_ms)
{
	struct mr_producer_entry *entry;

	entry = (struct mr_producer_entry *)mr_partition_find_producer(partition, producer_id);
	if (!entry)
		entry = new_entry(partition, producer_id);
	if (entry->epoch != epoch) {
		entry->recent_count = 0;
		entry->recent_next = 0;
		memset(entry->recent, 0, sizeof(entry->recent));
	}
	entry->epoch = epoch;
	entry->last_sequence = mr_sequence_add(sequence, count - 1);
	entry->last_offset = partition->log_end + count - 1;
	entry->last_append_ms = append_ms;
	entry->recent[entry->recent_next].first_sequence = sequence;
	entry->recent[entry->recent_next].count = (int32_t)count;
	entry->recent[entry->recent_next].base_offset = partition->log_end;
	entry->recent_next = (uint8_t)((entry->recent_next + 1) % MR_RECENT_BATCHES);
	if (entry->recent_count < MR_RECENT_BATCHES)
		entry->recent_count++;
}

uint64_t mr_partition_append(struct mr_partition *partition, int64_t producer_id, int16_t epoch,
			     int32_t sequence, uint32_t count, int64_t append_ms)
{
	uint64_t base_offset = partition->log_end;

	mr_assert(count >= 1);
	mr_assert(count <= INT32_MAX);
	if (producer_id >= 0) {
		mr_assert(sequence >= 0);
		remember(partition, producer_id, epoch, sequence, count, append_ms);
	}
	partition->log_end = base_offset + count;
	return base_offset;
}

uint64_t mr_partition_find_sequence(const struct mr_partition *partition, int64_t producer_id,
				    int32_t sequence)
{
	const struct mr_producer_entry *entry = mr_partition_find_producer(partition, producer_id);

	if (!entry)
		return MR_OFFSET_UNKNOWN;
	for (uint32_t i = 0; i < entry->recent_count; i++) {
		int32_t ahead = mr_sequence_distance(sequence, entry->recent[i].first_sequence);

		if (ahead >= 0 && ahead < entry->recent[i].count)
			return entry->recent[i].base_offset + (uint32_t)ahead;
	}
	return MR_OFFSET_UNKNOWN;
}
