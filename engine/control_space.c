/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What partitions take before a record is in them: all memory of their tails, and on the disk each
 * log's first segment and the spare one behind it. Where the host has not that much they are
 * refused, before the kernel ends some process for it. Runs on the control thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "check.h"
#include "control.h"

const char *mr_control_bytes_text(uint64_t bytes, char room[24])
{
	static const char *const units[] = {"MiB", "GiB", "TiB"};
	double amount = (double)bytes / (1 << 20);
	size_t unit = 0;

	for (; amount >= 1024 && unit + 1 < mr_array_count(units); unit++)
		amount /= 1024;
	snprintf(room, 24, "%.1f %s", amount, units[unit]);
	return room;
}

/* Of a partition: its first segment and the spare one. */
static uint64_t disk_of(const struct mr_control *control, const struct mr_topic *topic)
{
	const struct mr_hosted_topic *hosted = topic->owner;
	uint64_t first = control->config->first_segment_bytes;

	if (mr_topic_in_memory(topic))
		return 0;
	return mr_control_segment_bytes(&hosted->partitions[0], first) +
	       mr_control_segment_bytes(&hosted->partitions[0], 2 * first);
}

/* What topics that are begun will yet take. */
static void promised(const struct mr_control *control, uint64_t *memory, uint64_t *disk)
{
	const struct mr_control_making *making;

	*memory = *disk = 0;
	TAILQ_FOREACH(making, &control->makings, entry)
	{
		uint64_t left = mr_control_making_left(making);

		if (!making->begun)
			continue;
		*memory += left * mr_control_tail_bytes(control, making->topic);
		*disk += left * disk_of(control, making->topic);
	}
}

static uint64_t without(uint64_t there, uint64_t taken)
{
	return there > taken ? there - taken : 0;
}

static int check_memory(const struct mr_control *control, uint64_t wanted, struct mr_error *err)
{
	uint64_t memory, disk, there;
	char takes[24], has[24];

	promised(control, &memory, &disk);
	there = without(mr_place_memory_free(""), memory);
	if (wanted <= there)
		return 0;
	return mr_error_set(
		err, -ENOMEM, "their tails take %s of memory, and this host has %s free",
		mr_control_bytes_text(wanted, takes), mr_control_bytes_text(there, has));
}

static int check_disk(struct mr_control *control, uint64_t wanted, struct mr_error *err)
{
	uint64_t there, total, memory, disk;
	int r = mr_io_space(control->io, &there, &total, err);
	char takes[24], has[24];

	if (r < 0)
		return r;
	promised(control, &memory, &disk);
	there = without(there, disk);
	if (wanted <= there)
		return 0;
	return mr_error_set(
		err, -ENOSPC, "their first segments take %s of the disk, which has %s free",
		mr_control_bytes_text(wanted, takes), mr_control_bytes_text(there, has));
}

int mr_control_check_topic_space(struct mr_control *control, const struct mr_topic *topic,
				 struct mr_error *err)
{
	uint64_t count = (uint64_t)topic->partition_count;
	int r = check_memory(control, count * mr_control_tail_bytes(control, topic), err);

	if (r < 0) {
		mr_error_prefix(err, "%" PRIu64 " partitions: ", count);
		return mr_error_hint(err, "make fewer partitions, or of less memory: --tail-bytes");
	}
	if (mr_topic_in_memory(topic))
		return 0;
	r = check_disk(control, count * disk_of(control, topic), err);
	if (r == -ENOSPC) {
		mr_error_prefix(err, "%" PRIu64 " partitions: ", count);
		mr_error_hint(err, "make fewer partitions, or lower first_segment_bytes in the "
				   "configuration");
	}
	return r;
}

int mr_control_check_start_memory(struct mr_control *control, struct mr_error *err)
{
	struct mr_hosted *hosted;
	uint64_t wanted = 0;
	int r;

	mr_control_each(control, hosted)
	{
		wanted += mr_control_tail_bytes(control, hosted->topic);
	}
	r = check_memory(control, wanted, err);
	if (r < 0) {
		mr_error_prefix(err, "the partitions of this data directory: ");
		mr_error_hint(err, "lower tail_bytes in the configuration, or run on a host with "
				   "more memory");
	}
	return r;
}
