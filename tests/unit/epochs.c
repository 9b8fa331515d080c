/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of the table of leader epochs: it says where epochs end, as the log itself does.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "epochs.h"

static struct mr_epochs epochs;

static void begin(uint32_t max)
{
	cr_assert_eq(mr_epochs_init(&epochs, max, NULL), 0);
}

static void end(void)
{
	mr_epochs_deinit(&epochs);
}

static void check_end(int32_t asked, int32_t epoch, uint64_t offset)
{
	struct mr_epoch_end found = mr_epochs_end(&epochs, asked, 100);

	cr_assert_eq(found.leader_epoch, epoch, "asked %d: epoch %d, expected %d", asked,
		     found.leader_epoch, epoch);
	cr_assert_eq(found.end_offset, offset, "asked %d", asked);
}

Test(epochs, an_empty_log_has_none)
{
	begin(4);
	cr_assert_eq(mr_epochs_last(&epochs), MR_EPOCH_NONE);
	check_end(7, MR_EPOCH_NONE, 100);
	cr_assert_eq(mr_epochs_at(&epochs, 3), MR_EPOCH_NONE);
	mr_epochs_truncate(&epochs, 0);
	cr_assert_eq(epochs.count, 0);
	end();
}

/* KIP-101: an epoch ends where the next one begins, and that is where a follower cuts. */
Test(epochs, each_ends_where_the_next_begins)
{
	begin(4);
	cr_assert_eq(mr_epochs_note(&epochs, 2, 10), 0);
	cr_assert_eq(mr_epochs_note(&epochs, 2, 20), 0, "the same epoch goes on");
	cr_assert_eq(mr_epochs_note(&epochs, 5, 30), 0);
	cr_assert_eq(mr_epochs_note(&epochs, 9, 60), 0);
	cr_assert_eq(epochs.count, 3);
	check_end(1, MR_EPOCH_NONE, 10);
	check_end(2, 2, 30);
	check_end(3, 2, 30);
	check_end(4, 2, 30);
	check_end(5, 5, 60);
	check_end(8, 5, 60);
	check_end(9, 9, 100);
	check_end(INT32_MAX, 9, 100);
	end();
}

Test(epochs, one_that_falls_is_refused)
{
	begin(4);
	cr_assert_eq(mr_epochs_note(&epochs, 5, 10), 0);
	cr_assert_eq(mr_epochs_note(&epochs, 4, 20), -EBADMSG);
	cr_assert_eq(mr_epochs_note(&epochs, -1, 20), -EBADMSG);
	cr_assert_eq(epochs.count, 1);
	cr_assert_eq(mr_epochs_last(&epochs), 5);
	end();
}

Test(epochs, says_whose_a_record_is)
{
	begin(4);
	(void)mr_epochs_note(&epochs, 2, 10);
	(void)mr_epochs_note(&epochs, 5, 30);
	cr_assert_eq(mr_epochs_at(&epochs, 9), MR_EPOCH_NONE);
	cr_assert_eq(mr_epochs_at(&epochs, 10), 2);
	cr_assert_eq(mr_epochs_at(&epochs, 29), 2);
	cr_assert_eq(mr_epochs_at(&epochs, 30), 5);
	cr_assert_eq(mr_epochs_at(&epochs, 1000), 5);
	end();
}

Test(epochs, truncation_takes_those_that_begin_behind_it)
{
	begin(4);
	(void)mr_epochs_note(&epochs, 2, 10);
	(void)mr_epochs_note(&epochs, 5, 30);
	(void)mr_epochs_note(&epochs, 9, 60);
	mr_epochs_truncate(&epochs, 61);
	cr_assert_eq(mr_epochs_last(&epochs), 9);
	mr_epochs_truncate(&epochs, 60);
	cr_assert_eq(mr_epochs_last(&epochs), 5, "no record of it is left");
	mr_epochs_truncate(&epochs, 10);
	cr_assert_eq(mr_epochs_last(&epochs), MR_EPOCH_NONE);
	cr_assert_eq(mr_epochs_note(&epochs, 3, 10), 0, "and a lower one than was cut may follow");
	end();
}

Test(epochs, a_full_table_forgets_the_oldest)
{
	begin(2);
	(void)mr_epochs_note(&epochs, 2, 10);
	(void)mr_epochs_note(&epochs, 5, 30);
	cr_assert_eq(mr_epochs_note(&epochs, 9, 60), 0);
	cr_assert_eq(epochs.count, 2);
	check_end(2, MR_EPOCH_NONE, 30);
	check_end(5, 5, 60);
	check_end(9, 9, 100);
	end();
}

/* ---- two logs -------------------------------------------------------------------------------- */

struct one_epoch {
	int32_t leader_epoch;
	uint64_t start_offset;
};

/* Entries end with one of epoch 0. */
static void note_all(struct mr_epochs *to, const struct one_epoch *entries)
{
	cr_assert_eq(mr_epochs_init(to, 8, NULL), 0);
	for (; entries->leader_epoch; entries++)
		cr_assert_eq(mr_epochs_note(to, entries->leader_epoch, entries->start_offset), 0);
}

static void check_common(const struct one_epoch *a_entries, uint64_t a_end,
			 const struct one_epoch *b_entries, uint64_t b_end, uint64_t expected)
{
	struct mr_epochs a, b;

	note_all(&a, a_entries);
	note_all(&b, b_entries);
	cr_assert_eq(mr_epochs_common(&a, a_end, &b, b_end), expected);
	cr_assert_eq(mr_epochs_common(&b, b_end, &a, a_end), expected, "the other way round");
	mr_epochs_deinit(&a);
	mr_epochs_deinit(&b);
}

Test(epochs, two_logs_are_the_same_up_to_where_they_parted)
{
	static const struct one_epoch none[] = {{0, 0}};
	static const struct one_epoch first[] = {{2, 0}, {0, 0}};
	static const struct one_epoch alone[] = {{2, 0}, {5, 100}, {0, 0}};
	static const struct one_epoch taken_over[] = {{2, 0}, {9, 80}, {0, 0}};
	static const struct one_epoch both[] = {{2, 0}, {5, 100}, {9, 130}, {0, 0}};
	static const struct one_epoch trimmed[] = {{9, 130}, {12, 200}, {0, 0}};

	check_common(first, 50, first, 70, 50);
	check_common(alone, 150, taken_over, 300, 80); /* that led on at 80 */
	check_common(alone, 150, both, 300, 130);      /* it had a part of that epoch */
	check_common(alone, 120, both, 300, 120);
	check_common(both, 300, trimmed, 400, 200);
	check_common(alone, 150, trimmed, 400, 0); /* what is common is not known any more */
	check_common(none, 0, alone, 150, 0);
	check_common(none, 0, none, 0, 0);
}
