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
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 7), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 1, 8), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_b, 0, 9), 0);
	cr_assert_eq(mr_offsets_set(offsets, "h", topic_a, 0, 10), 0);
	cr_assert_eq(mr_offsets_set(offsets, "g", topic_a, 0, 5), 0); /* going back is allowed */
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
		cr_assert_eq(mr_offsets_set(offsets, group, i % 2 ? topic_a : topic_b, 3, i), 0);
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
					    (int32_t)(i * 255), UINT64_MAX - 1 - i),
			     0);
	cr_assert_eq(mr_offsets_rows(offsets, &rows, &count), 0);
	cr_assert_eq(count, 5);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(mr_offsets_set(again, rows[i].group, rows[i].topic_id,
					    rows[i].partition, rows[i].offset),
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
	cr_assert_eq(mr_offsets_reserve(&writer, group, topic_b, 1023, UINT64_MAX - 1, 5), 0);
	mr_lane_publish(&writer);
	available = mr_lane_reader_poll(&reader, &err);
	cr_assert_eq(mr_lane_reader_frame(&reader, 0, (uint32_t)available, 0, &frame, &err), 0);
	cr_assert_eq(apply(offsets, (const char *)frame.key, (int32_t)frame.head.key_bytes,
			   (const char *)frame.value, (int32_t)frame.head.value_bytes),
		     0);
	cr_assert_eq(mr_offsets_get(offsets, group, topic_b, 1023), UINT64_MAX - 1);
	mr_lane_writer_close(&writer);
	mr_lane_reader_close(&reader);
	close(client_fd);
	close(engine_fd);
	mr_offsets_close(offsets);
}
