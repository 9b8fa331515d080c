/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of committed offsets: the last commit counts, whatever the group is called; what a
 * record or a checkpoint says gives the same table; a record that is no commit changes nothing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "offsets.h"
#include "region.h"

static const uint8_t topic_a[16] = {1, 2, 3}, topic_b[16] = {0xff, 0xee};
static const struct mr_offsets_stamp long_ago;
static struct mr_error err;

static struct mr_offsets *begin(void)
{
	struct mr_offsets *offsets = NULL;

	cr_assert_eq(mr_offsets_open(&offsets, &err), 0);
	return offsets;
}

static void free_rows(struct mr_checkpoint_commit *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		free(rows[i].group);
	free(rows);
}

Test(offsets, the_last_commit_counts)
{
	struct mr_offsets *offsets = begin();

	cr_assert_eq(mr_offsets_get(offsets, "g", topic_a, 0), MR_OFFSET_UNKNOWN);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 7, long_ago), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 1, 8, long_ago), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_b, 0, 9, long_ago), 0);
	cr_assert_eq(mr_offsets_set(offsets, "h", topic_a, 0, 10, long_ago), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 5, long_ago),
		     0); /* going back is allowed */
	cr_assert_eq(mr_offsets_get(offsets, "g", topic_a, 0), 5);
	cr_assert_eq(mr_offsets_get(offsets, "g", topic_a, 1), 8);
	cr_assert_eq(mr_offsets_get(offsets, "g", topic_b, 0), 9);
	cr_assert_eq(mr_offsets_get(offsets, "h", topic_a, 0), 10);
	cr_assert_eq(mr_offsets_get(offsets, "h", topic_a, 1), MR_OFFSET_UNKNOWN);
	mr_offsets_close(offsets);
}

Test(offsets, thousands_stand_beside_each_other_and_a_deleted_topic_leaves)
{
	struct mr_offsets *offsets = begin();
	struct mr_checkpoint_commit *rows;
	char group[16];
	uint32_t count;

	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(group, sizeof(group), "g%lu", (unsigned long)i / 2);
		cr_assert_eq(
			mr_offsets_set(offsets, group, i % 2 ? topic_a : topic_b, 3, i, long_ago),
			0);
	}
	mr_offsets_forget(offsets, topic_b);
	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(group, sizeof(group), "g%lu", (unsigned long)i / 2);
		cr_assert_eq(mr_offsets_get(offsets, group, i % 2 ? topic_a : topic_b, 3),
			     i % 2 ? i : MR_OFFSET_UNKNOWN);
	}
	cr_assert_eq(mr_offsets_rows(offsets, &rows, &count), 0);
	cr_assert_eq(count, 2500);
	free_rows(rows, count);
	mr_offsets_close(offsets);
}

Test(offsets, a_checkpoints_rows_give_the_same_table)
{
	static const char *const groups[] = {"plain", "with/slash", "/", "a/00/1", "\xc3\xa9"};
	struct mr_offsets *offsets = begin(), *again = begin();
	struct mr_checkpoint_commit *rows;
	uint32_t count;

	for (uint32_t i = 0; i < 5; i++)
		cr_assert_eq(mr_offsets_set(offsets, groups[i], i % 2 ? topic_a : topic_b,
					    (int32_t)(i * 255), UINT64_MAX - 1 - i, long_ago),
			     0);
	cr_assert_eq(mr_offsets_rows(offsets, &rows, &count), 0);
	cr_assert_eq(count, 5);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(mr_offsets_set(again, rows[i].group, rows[i].topic_id,
					    rows[i].partition, rows[i].offset, long_ago),
			     0);
	for (uint32_t i = 0; i < 5; i++)
		cr_assert_eq(mr_offsets_get(again, groups[i], i % 2 ? topic_a : topic_b,
					    (int32_t)(i * 255)),
			     UINT64_MAX - 1 - i);
	free_rows(rows, count);
	mr_offsets_close(again);
	mr_offsets_close(offsets);
}

static int apply(struct mr_offsets *offsets, const char *key, int32_t key_bytes, const char *value,
		 int32_t value_bytes)
{
	struct mr_message message = {
		.key = key,
		.key_bytes = key_bytes,
		.value = value,
		.value_bytes = value_bytes,
	};

	return mr_offsets_apply(offsets, &message);
}

static int apply_text(struct mr_offsets *offsets, const char *key, const char *value)
{
	return apply(offsets, key, (int32_t)strlen(key), value, (int32_t)strlen(value));
}

#define ID "01020300000000000000000000000000"

Test(offsets, a_record_is_a_commit_or_changes_nothing)
{
	struct mr_offsets *offsets = begin();
	struct mr_checkpoint_commit *rows;
	char long_key[400], zero[] = "g/" ID "/0";
	uint32_t count;

	cr_expect_eq(apply_text(offsets, "g/" ID "/0", "42"), 0);
	cr_expect_eq(apply(offsets, NULL, -1, "1", 1), -EBADMSG);
	cr_expect_eq(apply(offsets, "g/" ID "/0", 36, NULL, -1), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "/" ID "/0", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g" ID "/0", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/1024", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/-1", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/0x", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/X102030000000000000000000000000/0", "1"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/0", "12x"), -EBADMSG);
	cr_expect_eq(apply_text(offsets, "g/" ID "/0", "123456789012345678901234567890"), -EBADMSG);
	memset(long_key, 'g', sizeof(long_key));
	memcpy(long_key + sizeof(long_key) - 36, "/" ID "/0", 36);
	cr_expect_eq(apply_text(offsets, long_key, "1"), -EBADMSG);
	zero[0] = '\0';
	cr_expect_eq(apply(offsets, zero, (int32_t)sizeof(zero) - 1, "1", 1), -EBADMSG);
	cr_expect_eq(mr_offsets_get(offsets, "g", topic_a, 0), 42);
	cr_assert_eq(mr_offsets_rows(offsets, &rows, &count), 0);
	cr_assert_eq(count, 1);
	free_rows(rows, count);
	mr_offsets_close(offsets);
}

/* In whatever order two hosts' commits come, both hosts end with the same. */
Test(offsets, of_two_hosts_commits_the_later_counts)
{
	static const struct mr_offsets_stamp early = {.ms = 10, .node = 5}, late = {.ms = 11},
					     higher = {.ms = 11, .node = 2};
	struct mr_offsets *offsets = begin();

	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 1, late), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 2, early), 0);
	cr_expect_eq(mr_offsets_get(offsets, "g", topic_a, 0), 1);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 3, higher), 0);
	cr_expect_eq(mr_offsets_get(offsets, "g", topic_a, 0), 3);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 4, late), 0);
	cr_expect_eq(mr_offsets_get(offsets, "g", topic_a, 0), 3);
	cr_expect_eq(mr_offsets_stamp(offsets, "g", topic_a, 0).ms, 11);
	cr_expect_eq(mr_offsets_stamp(offsets, "g", topic_a, 0).node, 2);
	cr_expect_eq(mr_offsets_stamp(offsets, "h", topic_a, 0).ms, 0);
	mr_offsets_close(offsets);
}

/* A clock that was set back does not undo what was committed after it. */
Test(offsets, of_one_hosts_commits_the_last_counts)
{
	static const struct mr_offsets_stamp early = {.ms = 10, .node = 5},
					     late = {.ms = 11, .node = 5};
	struct mr_offsets *offsets = begin();

	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 1, late), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 2, early), 0);
	cr_expect_eq(mr_offsets_get(offsets, "g", topic_a, 0), 2);
	mr_offsets_close(offsets);
}

static void sum_row(const struct mr_offsets_row *row, void *arg)
{
	uint64_t *sum = arg;

	cr_expect_eq(row->group_bytes, 3);
	cr_expect_arr_eq(row->group, "a/b", 3);
	cr_expect_arr_eq(row->topic_id, topic_a, 16);
	*sum += row->offset * (uint64_t)(row->partition + 1);
}

Test(offsets, each_row_is_told_once)
{
	struct mr_offsets *offsets = begin();
	uint64_t sum = 0;

	for (int32_t i = 0; i < 3; i++)
		cr_assert_eq(mr_offsets_set(offsets, "a/b", topic_a, i, 10, long_ago), 0);
	mr_offsets_each(offsets, sum_row, &sum);
	cr_expect_eq(sum, 60);
	mr_offsets_close(offsets);
}

/* What is written into the lane is what is read back from the log. */
Test(offsets, the_record_that_is_published_is_the_record_that_applies)
{
	struct mr_lane_identity identity = {.format = MR_FORMAT_VERSION};
	struct mr_lane_engine_page *page;
	struct mr_offsets *offsets = begin();
	struct mr_lane_writer writer;
	struct mr_lane_reader reader;
	struct mr_lane_frame frame = {0};
	char group[MR_GROUP_NAME_MAX + 1];
	int client_fd, engine_fd;
	uint8_t mac[32] = {0};
	int64_t available;

	memset(group, 'G', sizeof(group));
	group[MR_GROUP_NAME_MAX] = '\0';
	cr_assert_eq(mr_lane_create_client(65536, &client_fd, &err), 0);
	cr_assert_eq(mr_lane_create_engine(&identity, mac, 4096, 0, 0, &engine_fd, &page, &err), 0);
	cr_assert_eq(mr_lane_writer_open(client_fd, engine_fd, 65536, 0, &writer, &err), 0);
	cr_assert_eq(mr_region_seal(client_fd, &err), 0);
	cr_assert_eq(mr_lane_reader_open(client_fd, page, 65536, &reader, &err), 0);
	cr_assert_eq(mr_offsets_reserve(&writer, group, topic_b, 1023, UINT64_MAX - 1,
					(struct mr_offsets_stamp){.ms = 5, .node = 63}),
		     0);
	mr_lane_publish(&writer);
	available = mr_lane_reader_poll(&reader, &err);
	cr_assert_eq(mr_lane_reader_frame(&reader, 0, (uint32_t)available, 0, &frame, &err), 0);
	cr_assert_eq(apply(offsets, (const char *)frame.key, (int32_t)frame.head.key_bytes,
			   (const char *)frame.value, (int32_t)frame.head.value_bytes),
		     0);
	cr_assert_eq(mr_offsets_get(offsets, group, topic_b, 1023), UINT64_MAX - 1);
	cr_assert_eq(mr_offsets_stamp(offsets, group, topic_b, 1023).node, 63);
	mr_lane_writer_close(&writer);
	mr_lane_reader_close(&reader);
	close(client_fd);
	close(engine_fd);
	mr_offsets_close(offsets);
}

/* A stamp that nothing is later than would hold a group where it is for ever, on every host. */
Test(offsets, a_peers_stamp_leaves_room_for_later_ones)
{
	struct mr_offsets_stamp now = {1000, 1}, far = {MR_OFFSETS_MS_MAX, 2}, after;

	cr_assert(mr_offsets_stamp_fits(now));
	cr_assert(mr_offsets_stamp_fits(far));
	cr_assert_not(mr_offsets_stamp_fits((struct mr_offsets_stamp){MR_OFFSETS_MS_MAX + 1, 0}));
	cr_assert_not(mr_offsets_stamp_fits((struct mr_offsets_stamp){INT64_MAX, 0}));
	cr_assert_not(mr_offsets_stamp_fits((struct mr_offsets_stamp){-1, 0}));
	cr_assert_not(mr_offsets_stamp_fits((struct mr_offsets_stamp){0, 64}));
	after = mr_offsets_stamp_after(far, now);
	cr_assert(mr_offsets_later(after, far));
	cr_assert_eq(after.node, 1);
	cr_assert_eq(mr_offsets_stamp_after((struct mr_offsets_stamp){999, 5}, now).ms, 1000);
	/* what an earlier engine let in */
	after = mr_offsets_stamp_after((struct mr_offsets_stamp){INT64_MAX, 0}, now);
	cr_assert_eq(after.ms, INT64_MAX);
}
