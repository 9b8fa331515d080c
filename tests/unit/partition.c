/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a partition's state: each record is in the log once whatever is resent,
 * sequences wrap, the table of producers stays within its bound and forgets the right one, the high
 * watermark follows the ISR.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "partition.h"

static struct mr_partition partition;
static uint32_t duplicates;
static int32_t expected;

static void begin(uint32_t producers_max)
{
	cr_assert_eq(mr_partition_init(&partition, producers_max, 1, NULL), 0);
	mr_partition_start(&partition, 0, 0, 1);
}

static void end(void)
{
	mr_partition_deinit(&partition);
}

static enum mr_sequence_verdict check(int64_t id, int16_t epoch, int32_t sequence, uint32_t count)
{
	return mr_partition_check(&partition, id, epoch, sequence, count, &duplicates, &expected);
}

/* ---- sequences ----------------------------------------------------------- */

Test(partition, sequences_are_serial_numbers)
{
	cr_assert_eq(mr_sequence_distance(5, 3), 2);
	cr_assert_eq(mr_sequence_distance(3, 5), -2);
	cr_assert_eq(mr_sequence_distance(7, 7), 0);
	cr_assert_eq(mr_sequence_distance(0, INT32_MAX), 1);
	cr_assert_eq(mr_sequence_distance(INT32_MAX, 0), -1);
	cr_assert_eq(mr_sequence_distance(2, INT32_MAX - 2), 5);
	cr_assert_eq(mr_sequence_distance(0x3fffffff, 0), 0x3fffffff);
	cr_assert_eq(mr_sequence_distance(0x40000000, 0), -0x40000000);
	cr_assert_eq(mr_sequence_add(INT32_MAX, 1), 0);
	cr_assert_eq(mr_sequence_add(INT32_MAX, 3), 2);
	cr_assert_eq(mr_sequence_add(0, 5), 5);
	cr_assert_eq(mr_sequence_add(-1, 1), 0);
	for (int32_t i = 0; i < 40; i++) {
		int32_t a = INT32_MAX - 20;

		cr_assert_eq(mr_sequence_distance(mr_sequence_add(a, (uint32_t)i), a), i);
		cr_assert_eq(mr_sequence_distance(a, mr_sequence_add(a, (uint32_t)i)), -i);
	}
}

Test(partition, appends_densely)
{
	begin(4);
	cr_assert_eq(mr_partition_append(&partition, -1, -1, -1, 3, 0), 0);
	cr_assert_eq(mr_partition_append(&partition, 9, 0, 0, 2, 0), 3);
	cr_assert_eq(mr_partition_append(&partition, -1, -1, -1, 1, 0), 5);
	cr_assert_eq(partition.log_end, 6);
	cr_assert_eq(partition.producer_count, 1);
	end();
}

Test(partition, an_unknown_producer_is_taken_as_base)
{
	begin(4);
	cr_assert_eq(check(9, 0, 77, 2), MR_SEQUENCE_BASE);
	cr_assert_eq(expected, 77);
	cr_assert_eq(duplicates, 0);
	cr_assert_null(mr_partition_find_producer(&partition, 9));
	cr_assert_null(mr_partition_find_producer(&partition, -1));
	end();
}

Test(partition, no_producer_is_always_next)
{
	begin(4);
	cr_assert_eq(check(-1, -1, -1, 2), MR_SEQUENCE_NEXT);
	cr_assert_eq(duplicates, 0);
	end();
}

Test(partition, tells_next_gap_and_duplicates)
{
	begin(4);
	mr_partition_append(&partition, 9, 0, 10, 5, 0); /* 10 .. 14 */
	cr_assert_eq(check(9, 0, 15, 1), MR_SEQUENCE_NEXT);
	cr_assert_eq(expected, 15);
	cr_assert_eq(check(9, 0, 16, 1), MR_SEQUENCE_GAP);
	cr_assert_eq(expected, 15);
	cr_assert_eq(duplicates, 0);
	cr_assert_eq(check(9, 0, 14, 1), MR_SEQUENCE_DUPLICATE);
	cr_assert_eq(duplicates, 1);
	cr_assert_eq(expected, 15);
	cr_assert_eq(check(9, 0, 10, 5), MR_SEQUENCE_DUPLICATE);
	cr_assert_eq(duplicates, 5);
	cr_assert_eq(check(9, 0, 13, 10), MR_SEQUENCE_DUPLICATE, "the front of it is there");
	cr_assert_eq(duplicates, 2);
	cr_assert_eq(check(9, 0, 0, 3), MR_SEQUENCE_DUPLICATE, "older than anything remembered");
	cr_assert_eq(duplicates, 3);
	end();
}

Test(partition, sequences_wrap_at_two_to_the_31)
{
	begin(4);
	mr_partition_append(&partition, 9, 0, INT32_MAX - 1, 4, 0); /* .. 0, 1 */
	cr_assert_eq(mr_partition_find_producer(&partition, 9)->last_sequence, 1);
	cr_assert_eq(check(9, 0, 2, 1), MR_SEQUENCE_NEXT);
	cr_assert_eq(check(9, 0, INT32_MAX, 4), MR_SEQUENCE_DUPLICATE);
	cr_assert_eq(duplicates, 3);
	cr_assert_eq(check(9, 0, 3, 1), MR_SEQUENCE_GAP);
	cr_assert_eq(mr_partition_find_sequence(&partition, 9, 0), 2);
	cr_assert_eq(mr_partition_find_sequence(&partition, 9, INT32_MAX), 1);
	mr_partition_append(&partition, 9, 0, 2, INT32_MAX - 1, 0); /* up to INT32_MAX again */
	cr_assert_eq(check(9, 0, 0, 1), MR_SEQUENCE_NEXT);
	end();
}

Test(partition, an_older_epoch_is_fenced_and_a_newer_one_is_base)
{
	begin(4);
	mr_partition_append(&partition, 9, 3, 100, 5, 0);
	cr_assert_eq(check(9, 2, 105, 1), MR_SEQUENCE_FENCED);
	cr_assert_eq(expected, 105);
	cr_assert_eq(check(9, 4, 7, 1), MR_SEQUENCE_BASE);
	cr_assert_eq(expected, 7);
	mr_partition_append(&partition, 9, 4, 7, 1, 0);
	cr_assert_eq(check(9, 4, 8, 1), MR_SEQUENCE_NEXT);
	cr_assert_eq(check(9, 3, 105, 1), MR_SEQUENCE_FENCED);
	cr_assert_eq(mr_partition_find_sequence(&partition, 9, 100), MR_OFFSET_UNKNOWN,
		     "what the old epoch sent is forgotten");
	end();
}

Test(partition, remembers_the_newest_runs)
{
	begin(4);
	for (int32_t i = 0; i < 8; i++) {
		mr_partition_append(&partition, 9, 0, i * 10, 10, 0);
		mr_partition_append(&partition, -1, -1, -1, 1, 0);
	}
	for (int32_t i = 0; i < 3; i++)
		cr_assert_eq(mr_partition_find_sequence(&partition, 9, i * 10), MR_OFFSET_UNKNOWN);
	for (int32_t i = 3; i < 8; i++) {
		cr_assert_eq(mr_partition_find_sequence(&partition, 9, i * 10), (uint64_t)(i * 11));
		cr_assert_eq(mr_partition_find_sequence(&partition, 9, i * 10 + 9),
			     (uint64_t)(i * 11 + 9));
	}
	cr_assert_eq(mr_partition_find_sequence(&partition, 9, 80), MR_OFFSET_UNKNOWN);
	cr_assert_eq(mr_partition_find_sequence(&partition, 8, 30), MR_OFFSET_UNKNOWN);
	end();
}

/* ---- the table ----------------------------------------------------------- */

/* What a pipeline says again after a crash is known by its number only: nothing else drops it. */
Test(partition, a_pipelines_producer_is_never_forgotten_while_another_can_be)
{
	int64_t fixed = MR_PRODUCER_ID_FIXED | 7;

	begin(4);
	mr_partition_append(&partition, fixed, 0, 10, 1, 100);
	for (int64_t id = 0; id < 40; id++)
		mr_partition_append(&partition, id, 0, 0, 1, 200 + id);
	cr_assert_eq(partition.producer_count, 4);
	cr_assert_eq(mr_partition_expire_producers(&partition, INT64_MAX), 3);
	cr_assert_eq(partition.producer_count, 1);
	cr_assert_eq(check(fixed, 0, 10, 1), MR_SEQUENCE_DUPLICATE);
	cr_assert_eq(check(fixed, 0, 11, 1), MR_SEQUENCE_NEXT);
	/* the table has its bound all the same */
	for (int64_t id = 0; id < 10; id++)
		mr_partition_append(&partition, fixed + 1 + id, 0, 0, 1, 300 + id);
	cr_assert_eq(partition.producer_count, 4);
	end();
}

Test(partition, a_full_table_forgets_the_quietest)
{
	begin(4);
	for (int64_t id = 1; id <= 4; id++)
		mr_partition_append(&partition, id, 0, 0, 1, 1000 - id); /* clocks mean nothing */
	mr_partition_append(&partition, 1, 0, 1, 1, 0);
	mr_partition_append(&partition, 5, 0, 0, 1, 0);
	cr_assert_eq(partition.producer_count, 4);
	cr_assert_null(mr_partition_find_producer(&partition, 2), "its record was the oldest");
	for (int64_t id = 1; id <= 5; id++)
		cr_assert_eq(mr_partition_find_producer(&partition, id) != NULL, id != 2);
	end();
}

static bool pinned_below(int64_t producer_id, void *arg)
{
	return producer_id < *(int64_t *)arg;
}

Test(partition, a_full_table_keeps_those_with_an_open_lane)
{
	int64_t below = 3;

	begin(4);
	partition.is_pinned = pinned_below;
	partition.pinned_arg = &below;
	for (int64_t id = 1; id <= 4; id++)
		mr_partition_append(&partition, id, 0, 0, 1, 0);
	mr_partition_append(&partition, 5, 0, 0, 1, 0);
	cr_assert_null(mr_partition_find_producer(&partition, 3));
	below = 100; /* all have one: the quietest goes */
	mr_partition_append(&partition, 6, 0, 0, 1, 0);
	cr_assert_null(mr_partition_find_producer(&partition, 1));
	cr_assert_not_null(mr_partition_find_producer(&partition, 2));
	cr_assert_eq(partition.producer_count, 4);
	end();
}

Test(partition, expires_by_time)
{
	int64_t below = 2;

	begin(8);
	partition.is_pinned = pinned_below;
	partition.pinned_arg = &below;
	for (int64_t id = 1; id <= 6; id++)
		mr_partition_append(&partition, id, 0, 0, 1, id * 100);
	cr_assert_eq(mr_partition_expire_producers(&partition, 100), 0);
	cr_assert_eq(mr_partition_expire_producers(&partition, 401), 3);
	cr_assert_eq(partition.producer_count, 3);
	for (int64_t id = 1; id <= 6; id++)
		cr_assert_eq(mr_partition_find_producer(&partition, id) != NULL, id == 1 || id > 4);
	end();
}

enum { IDS = 60 };

/* Marks the producers that last appended before then as unknown; returns how many they are. */
static uint32_t forget_older(bool known[IDS], int64_t before)
{
	uint32_t count = 0;

	for (int64_t k = 0; k < IDS; k++) {
		const struct mr_producer_entry *entry = mr_partition_find_producer(&partition, k);

		if (entry && entry->last_append_ms < before) {
			known[k] = false;
			count++;
		}
	}
	return count;
}

/*
 * Entries must stay where a lookup finds them, whatever came and went around them: against a plain
 * array.
 */
Test(partition, the_table_finds_all_after_many_changes)
{
	bool known[IDS] = {false};
	uint64_t state = 1;

	begin(40);
	for (int i = 0; i < 20000; i++) {
		int64_t id;
		uint32_t count;

		state = state * 6364136223846793005u + 1442695040888963407u;
		id = (int64_t)(state >> 33) % IDS;
		if ((state >> 20) % 64 == 0) {
			int64_t before = (int64_t)(state >> 40) % 1000;

			count = forget_older(known, before);
			cr_assert_eq(mr_partition_expire_producers(&partition, before), count);
		} else if (known[id] || partition.producer_count < 40) {
			mr_partition_append(&partition, id, 0, i, 1, (int64_t)(state >> 45) % 1000);
			known[id] = true;
		}
		count = 0;
		for (int64_t k = 0; k < IDS; k++) {
			cr_assert_eq(mr_partition_find_producer(&partition, k) != NULL, known[k]);
			count += known[k];
		}
		cr_assert_eq(partition.producer_count, count);
	}
	end();
}

Test(partition, restores_entries_and_refuses_impossible_ones)
{
	struct mr_producer_entry entry = {.producer_id = 7, .last_sequence = 4, .epoch = 1};

	begin(2);
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), 0);
	cr_assert_eq(check(7, 1, 5, 1), MR_SEQUENCE_NEXT);
	entry.last_sequence = 9;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), 0, "over the old one");
	cr_assert_eq(partition.producer_count, 1);
	cr_assert_eq(check(7, 1, 10, 1), MR_SEQUENCE_NEXT);
	entry.producer_id = 8;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), 0);
	entry.producer_id = 9;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), -ENOSPC);
	entry.producer_id = 7;
	entry.recent_count = MR_RECENT_BATCHES + 1;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), -EBADMSG);
	entry.recent_count = 0;
	entry.recent_next = MR_RECENT_BATCHES;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), -EBADMSG);
	entry.recent_next = 0;
	entry.last_sequence = -1;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), -EBADMSG);
	entry.last_sequence = 0;
	entry.producer_id = -1;
	cr_assert_eq(mr_partition_restore_producer(&partition, &entry), -EBADMSG);
	end();
}

Test(partition, a_table_of_one_place_works)
{
	begin(1);
	for (int64_t id = 0; id < 10; id++) {
		mr_partition_append(&partition, id, 0, 0, 1, 0);
		cr_assert_eq(partition.producer_count, 1);
		cr_assert_not_null(mr_partition_find_producer(&partition, id));
		cr_assert_null(mr_partition_find_producer(&partition, id + 1));
	}
	cr_assert_eq(mr_partition_expire_producers(&partition, 1), 1);
	cr_assert_eq(mr_partition_expire_producers(&partition, 1), 0);
	end();
}

/* ---- offsets ------------------------------------------------------------- */

Test(partition, alone_it_commits_what_is_flushed)
{
	begin(1);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_eq(partition.high_watermark, 0);
	cr_assert(mr_partition_flushed(&partition, 4));
	cr_assert_eq(partition.high_watermark, 4);
	cr_assert_eq(partition.flushed, 4);
	cr_assert_not(mr_partition_flushed(&partition, 4));
	cr_assert_not(mr_partition_flushed(&partition, 3), "nothing moves back");
	cr_assert_eq(partition.flushed, 4);
	cr_assert(mr_partition_flushed(&partition, 10));
	end();
}

Test(partition, the_slowest_in_sync_replica_holds_the_high_watermark)
{
	begin(1);
	(void)mr_partition_set_isr(&partition, 0x25, 0); /* replicas 0, 2, 5 */
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 10));
	cr_assert_not(mr_partition_replica_flushed(&partition, 1, 10), "not in the ISR");
	cr_assert_not(mr_partition_replica_flushed(&partition, 5, 7));
	cr_assert(mr_partition_replica_flushed(&partition, 2, 3));
	cr_assert_eq(partition.high_watermark, 3);
	cr_assert(mr_partition_replica_flushed(&partition, 2, 9));
	cr_assert_eq(partition.high_watermark, 7);
	cr_assert_not(mr_partition_replica_flushed(&partition, 2, 5));
	cr_assert_eq(partition.high_watermark, 7);
	end();
}

Test(partition, too_small_an_isr_commits_nothing)
{
	cr_assert_eq(mr_partition_init(&partition, 1, 2, NULL), 0);
	mr_partition_start(&partition, 0, 0, 1);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 10));
	cr_assert_eq(partition.high_watermark, 0);
	cr_assert_eq(partition.flushed, 10, "what is flushed here is told all the same");
	(void)mr_partition_set_isr(&partition, 3, 0);
	cr_assert(mr_partition_replica_flushed(&partition, 1, 6));
	cr_assert_eq(partition.high_watermark, 6);
	end();
}

Test(partition, a_replica_ahead_of_the_log_counts_to_its_end)
{
	begin(1);
	(void)mr_partition_set_isr(&partition, 3, 0);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_replica_flushed(&partition, 1, UINT64_MAX));
	cr_assert(mr_partition_flushed(&partition, 10));
	cr_assert_eq(partition.high_watermark, 10);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 20), "it never had these");
	end();
}

Test(partition, the_last_replica_number_counts)
{
	begin(1);
	(void)mr_partition_set_isr(&partition, 1ull << 63 | 1, 0);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 10));
	cr_assert(mr_partition_replica_flushed(&partition, 63, 8));
	cr_assert_eq(partition.high_watermark, 8);
	end();
}

Test(partition, starts_where_recovery_found_it)
{
	cr_assert_eq(mr_partition_init(&partition, 1, 1, NULL), 0);
	mr_partition_start(&partition, 40, 90, 6);
	cr_assert_eq(partition.log_start, 40);
	cr_assert_eq(partition.log_end, 90);
	cr_assert_eq(partition.flushed, 90);
	cr_assert_eq(partition.high_watermark, 90);
	cr_assert_eq(partition.leader_epoch, 6);
	cr_assert_eq(mr_partition_append(&partition, -1, -1, -1, 1, 0), 90);
	mr_partition_raise_log_start(&partition, 60);
	mr_partition_raise_log_start(&partition, 50);
	cr_assert_eq(partition.log_start, 60);
	end();
}

Test(partition, the_log_never_starts_above_the_high_watermark, .signal = SIGABRT)
{
	begin(1);
	mr_partition_append(&partition, -1, -1, -1, 1, 0);
	mr_partition_raise_log_start(&partition, 1);
}

/* I4: what the log held when its leader began is shown only when all in sync have it. */
Test(partition, a_new_leader_shows_nothing_new_before_its_epoch_is_committed)
{
	begin(1);
	mr_partition_follow(&partition, 70);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 10), "a follower decides nothing");
	cr_assert(mr_partition_follow_watermark(&partition, 4));
	cr_assert_not(mr_partition_lead(&partition, 128, 3));
	cr_assert_eq(partition.epoch_start, 10);
	mr_partition_append(&partition, -1, -1, -1, 5, 0);
	cr_assert_not(mr_partition_flushed(&partition, 15));
	cr_assert_not(mr_partition_replica_flushed(&partition, 1, 9),
		      "below where the epoch began");
	cr_assert_eq(partition.high_watermark, 4);
	cr_assert(mr_partition_replica_flushed(&partition, 1, 10));
	cr_assert_eq(partition.high_watermark, 10);
	end();
}

Test(partition, a_new_leader_hears_from_all_anew)
{
	begin(1);
	(void)mr_partition_set_isr(&partition, 3, 0);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	cr_assert_not(mr_partition_flushed(&partition, 6));
	cr_assert(mr_partition_replica_flushed(&partition, 1, 10));
	cr_assert_not(mr_partition_lead(&partition, 64, 3));
	cr_assert_not(mr_partition_flushed(&partition, 10),
		      "replica 1 said so to the epoch before");
	cr_assert(mr_partition_replica_flushed(&partition, 1, 10));
	cr_assert_eq(partition.high_watermark, 10);
	end();
}

/* R4: between a proposal and its answer both may be true. */
Test(partition, who_is_perhaps_in_sync_holds_the_high_watermark_and_counts_for_nothing)
{
	cr_assert_eq(mr_partition_init(&partition, 1, 2, NULL), 0);
	mr_partition_start(&partition, 0, 0, 1);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	(void)mr_partition_set_isr(&partition, 1, 2);
	cr_assert_not(mr_partition_flushed(&partition, 10));
	cr_assert_not(mr_partition_replica_flushed(&partition, 1, 8),
		      "one is known, two are needed");
	cr_assert_not(mr_partition_set_isr(&partition, 3, 4), "replica 2 may be, and has nothing");
	cr_assert(mr_partition_set_isr(&partition, 3, 0));
	cr_assert_eq(partition.high_watermark, 8);
	end();
}

Test(partition, a_follower_shows_what_the_leader_says_as_far_as_it_has_it)
{
	begin(1);
	mr_partition_follow(&partition, 70);
	mr_partition_append(&partition, -1, -1, -1, 10, 0);
	(void)mr_partition_flushed(&partition, 6);
	cr_assert(mr_partition_follow_watermark(&partition, 8));
	cr_assert_eq(partition.high_watermark, 6);
	cr_assert_not(mr_partition_follow_watermark(&partition, 5), "it never goes back");
	cr_assert_eq(partition.high_watermark, 6);
	(void)mr_partition_flushed(&partition, 10);
	cr_assert(mr_partition_follow_watermark(&partition, 8));
	cr_assert_eq(partition.high_watermark, 8);
	end();
}
