/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of leader epochs of one partition's log: an array in order, since it is short and read
 * once for each agreement of two replicas. Runs on the partition's worker, and in recovery before
 * there is one.
 */
#include "epochs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

int mr_epochs_init(struct mr_epochs *epochs, uint32_t max, struct mr_error *err)
{
	mr_assert(max >= 1);
	*epochs = (struct mr_epochs){.max = max};
	epochs->entries = calloc(max, sizeof(*epochs->entries));
	if (!epochs->entries)
		return mr_error_set(err, -ENOMEM, "no memory for a table of %u leader epochs", max);
	return 0;
}

void mr_epochs_deinit(struct mr_epochs *epochs)
{
	free(epochs->entries);
	*epochs = (struct mr_epochs){0};
}

int mr_epochs_note(struct mr_epochs *epochs, int32_t leader_epoch, uint64_t offset)
{
	int32_t last = mr_epochs_last(epochs);

	if (leader_epoch < 0 || leader_epoch < last)
		return -EBADMSG;
	if (leader_epoch == last)
		return 0;
	if (epochs->count > 0)
		mr_assert(offset > epochs->entries[epochs->count - 1].start_offset);
	if (epochs->count == epochs->max) {
		epochs->count--;
		memmove(epochs->entries, epochs->entries + 1,
			epochs->count * sizeof(*epochs->entries));
	}
	epochs->entries[epochs->count++] = (struct mr_epoch){leader_epoch, offset};
	return 0;
}

int32_t mr_epochs_last(const struct mr_epochs *epochs)
{
	return epochs->count > 0 ? epochs->entries[epochs->count - 1].leader_epoch : MR_EPOCH_NONE;
}

struct mr_epoch_end mr_epochs_end(const struct mr_epochs *epochs, int32_t leader_epoch,
				  uint64_t log_end)
{
	struct mr_epoch_end end = {MR_EPOCH_NONE, log_end};
	uint32_t i = epochs->count;

	while (i > 0 && epochs->entries[i - 1].leader_epoch > leader_epoch)
		end.end_offset = epochs->entries[--i].start_offset;
	if (i > 0)
		end.leader_epoch = epochs->entries[i - 1].leader_epoch;
	return end;
}

int32_t mr_epochs_at(const struct mr_epochs *epochs, uint64_t offset)
{
	uint32_t i = epochs->count;

	while (i > 0 && epochs->entries[i - 1].start_offset > offset)
		i--;
	return i > 0 ? epochs->entries[i - 1].leader_epoch : MR_EPOCH_NONE;
}

uint64_t mr_epochs_common(const struct mr_epochs *a, uint64_t a_end, const struct mr_epochs *b,
			  uint64_t b_end)
{
	uint32_t i = a->count, j = b->count;

	while (i > 0 && j > 0 && a->entries[i - 1].leader_epoch != b->entries[j - 1].leader_epoch)
		if (a->entries[i - 1].leader_epoch > b->entries[j - 1].leader_epoch)
			a_end = a->entries[--i].start_offset;
		else
			b_end = b->entries[--j].start_offset;
	if (i == 0 || j == 0)
		return 0;
	return a_end < b_end ? a_end : b_end;
}

void mr_epochs_truncate(struct mr_epochs *epochs, uint64_t offset)
{
	while (epochs->count > 0 && epochs->entries[epochs->count - 1].start_offset >= offset)
		epochs->count--;
}
