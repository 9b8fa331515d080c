/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of committed offsets (offsets.h): open addressing over strings that are the records'
 * own keys.
 */
#include "offsets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crc32c.h"
#include "replica/coord.h"
#include "topics.h"

#define KEY_BYTES_MAX  (MR_GROUP_NAME_MAX + 1 + 32 + 1 + 10 + 1)
#define SLOTS_AT_FIRST 64u

struct row {
	char *key; /* NULL: free; owned */
	uint64_t offset;
	struct mr_offsets_stamp stamp;
};

struct mr_offsets {
	struct row *rows;
	uint32_t slots; /* a power of two, at least 4/3 of count */
	uint32_t count;
};

static void make_key(char key[KEY_BYTES_MAX], const char *group, const uint8_t topic_id[16],
		     int32_t partition)
{
	char id[33];

	mr_topic_id_text(topic_id, id);
	snprintf(key, KEY_BYTES_MAX, "%s/%s/%" PRId32, group, id, partition);
}

/* Where the key stands, or the free slot where it would. */
static struct row *slot_of(const struct mr_offsets *offsets, const char *key)
{
	uint32_t place = mr_crc32c(0, key, strlen(key)) & (offsets->slots - 1);

	while (offsets->rows[place].key && strcmp(offsets->rows[place].key, key) != 0)
		place = (place + 1) & (offsets->slots - 1);
	return &offsets->rows[place];
}

static int resize(struct mr_offsets *offsets, uint32_t slots)
{
	struct row *old = offsets->rows, *rows = calloc(slots, sizeof(*rows));
	uint32_t old_slots = offsets->slots, i;

	if (!rows)
		return -ENOMEM;
	offsets->rows = rows;
	offsets->slots = slots;
	for (i = 0; i < old_slots; i++)
		if (old[i].key)
			*slot_of(offsets, old[i].key) = old[i];
	free(old);
	return 0;
}

int mr_offsets_open(struct mr_offsets **out, struct mr_error *err)
{
	struct mr_offsets *offsets = calloc(1, sizeof(*offsets));

	if (!offsets || resize(offsets, SLOTS_AT_FIRST) < 0) {
		free(offsets);
		return mr_error_set(err, -ENOMEM, "no memory for groups' offsets");
	}
	*out = offsets;
	return 0;
}

void mr_offsets_close(struct mr_offsets *offsets)
{
	uint32_t i;

	if (!offsets)
		return;
	for (i = 0; i < offsets->slots; i++)
		free(offsets->rows[i].key);
	free(offsets->rows);
	free(offsets);
}

static int set_key(struct mr_offsets *offsets, const char *key, uint64_t offset,
		   struct mr_offsets_stamp stamp)
{
	struct row *row = slot_of(offsets, key);

	if (row->key) {
		if (row->stamp.node != stamp.node && mr_offsets_later(row->stamp, stamp))
			return 0; /* another host's that was later */
		row->offset = offset;
		row->stamp = stamp;
		return 0;
	}
	if (offsets->count >= MR_OFFSETS_MAX)
		return -ENOSPC;
	if ((offsets->count + 1) * 4 > offsets->slots * 3) {
		if (resize(offsets, offsets->slots * 2) < 0)
			return -ENOMEM;
		row = slot_of(offsets, key);
	}
	row->key = strdup(key);
	if (!row->key)
		return -ENOMEM;
	row->offset = offset;
	row->stamp = stamp;
	offsets->count++;
	return 0;
}

int mr_offsets_set(struct mr_offsets *offsets, const char *group, const uint8_t topic_id[16],
		   int32_t partition, uint64_t offset, struct mr_offsets_stamp stamp)
{
	char key[KEY_BYTES_MAX];

	make_key(key, group, topic_id, partition);
	return set_key(offsets, key, offset, stamp);
}

uint64_t mr_offsets_get(const struct mr_offsets *offsets, const char *group,
			const uint8_t topic_id[16], int32_t partition)
{
	char key[KEY_BYTES_MAX];
	const struct row *row;

	make_key(key, group, topic_id, partition);
	row = slot_of(offsets, key);
	return row->key ? row->offset : MR_OFFSET_UNKNOWN;
}

bool mr_offsets_stamp_fits(struct mr_offsets_stamp stamp)
{
	return stamp.ms >= 0 && stamp.ms <= MR_OFFSETS_MS_MAX && stamp.node < MR_NODES_MAX;
}

struct mr_offsets_stamp mr_offsets_stamp_after(struct mr_offsets_stamp before,
					       struct mr_offsets_stamp now)
{
	if (!mr_offsets_later(now, before))
		now.ms = before.ms < INT64_MAX ? before.ms + 1 : before.ms;
	return now;
}

struct mr_offsets_stamp mr_offsets_stamp(const struct mr_offsets *offsets, const char *group,
					 const uint8_t topic_id[16], int32_t partition)
{
	char key[KEY_BYTES_MAX];
	const struct row *row;

	make_key(key, group, topic_id, partition);
	row = slot_of(offsets, key);
	return row->key ? row->stamp : (struct mr_offsets_stamp){0};
}

/* A key is GROUP/32 hex/digits; group names may hold slashes themselves, so it is read from the
 * back. */
static bool split_key(const char *key, size_t *group_bytes, char id[33], int32_t *partition)
{
	const char *last = strrchr(key, '/');
	char *end;
	long number;

	if (!last || last - key < 34 || last[-33] != '/')
		return false;
	number = strtol(last + 1, &end, 10);
	if (end == last + 1 || *end || number < 0 || number >= MR_PARTITIONS_MAX)
		return false;
	*partition = (int32_t)number;
	*group_bytes = (size_t)(last - 33 - key);
	memcpy(id, last - 32, 32);
	id[32] = '\0';
	return *group_bytes > 0 && *group_bytes <= MR_GROUP_NAME_MAX &&
	       strspn(id, "0123456789abcdef") == 32;
}

/* "OFFSET" or "OFFSET NODE". */
static int parse_value(const char *value, uint64_t *offset, uint32_t *node)
{
	char *end;
	unsigned long number = 0;

	*offset = strtoull(value, &end, 10);
	if (*end == ' ' && end[1] >= '0' && end[1] <= '9')
		number = strtoul(end + 1, &end, 10);
	if (*end || number >= MR_NODES_MAX)
		return -EBADMSG;
	*node = (uint32_t)number;
	return 0;
}

int mr_offsets_apply(struct mr_offsets *offsets, const struct mr_message *message)
{
	char key[KEY_BYTES_MAX], value[24], id[33];
	struct mr_offsets_stamp stamp = {.ms = message->timestamp_ms};
	size_t group_bytes;
	int32_t partition;
	uint64_t offset;

	if (message->key_bytes < 0 || message->key_bytes >= (int32_t)sizeof(key) ||
	    message->value_bytes < 1 || message->value_bytes >= (int32_t)sizeof(value))
		return -EBADMSG;
	memcpy(key, message->key, (size_t)message->key_bytes);
	key[message->key_bytes] = '\0';
	memcpy(value, message->value, (size_t)message->value_bytes);
	value[message->value_bytes] = '\0';
	if (parse_value(value, &offset, &stamp.node) < 0 ||
	    !split_key(key, &group_bytes, id, &partition))
		return -EBADMSG;
	return set_key(offsets, key, offset, stamp);
}

void mr_offsets_forget(struct mr_offsets *offsets, const uint8_t topic_id[16])
{
	struct mr_offsets old = *offsets;
	char wanted[33], id[33];
	size_t group_bytes;
	int32_t partition;
	uint32_t i;

	mr_topic_id_text(topic_id, wanted);
	offsets->rows = NULL;
	offsets->count = 0;
	offsets->slots = 0;
	if (resize(offsets, old.slots) < 0) {
		*offsets = old; /* what stays behind is harmless: ids are never used again */
		return;
	}
	for (i = 0; i < old.slots; i++) {
		struct row *row = &old.rows[i];

		if (!row->key)
			continue;
		if (split_key(row->key, &group_bytes, id, &partition) && !strcmp(id, wanted)) {
			free(row->key);
			continue;
		}
		*slot_of(offsets, row->key) = *row;
		offsets->count++;
	}
	free(old.rows);
}

static bool row_out(const struct row *row, struct mr_offsets_row *out)
{
	char id[33];

	if (!row->key || !split_key(row->key, &out->group_bytes, id, &out->partition) ||
	    mr_topic_id_parse(id, out->topic_id) < 0)
		return false;
	out->group = row->key;
	out->offset = row->offset;
	out->stamp = row->stamp;
	return true;
}

void mr_offsets_each(const struct mr_offsets *offsets,
		     void (*each)(const struct mr_offsets_row *row, void *arg), void *arg)
{
	struct mr_offsets_row row;
	uint32_t i;

	for (i = 0; i < offsets->slots; i++)
		if (row_out(&offsets->rows[i], &row))
			each(&row, arg);
}

int mr_offsets_rows(const struct mr_offsets *offsets, struct mr_checkpoint_commit **rows,
		    uint32_t *count)
{
	struct mr_checkpoint_commit *out =
		calloc(offsets->count ? offsets->count : 1, sizeof(*out));
	struct mr_offsets_row row;
	uint32_t i, n = 0;

	if (!out)
		return -ENOMEM;
	for (i = 0; i < offsets->slots; i++) {
		if (!row_out(&offsets->rows[i], &row))
			continue;
		out[n].group = strndup(row.group, row.group_bytes);
		if (!out[n].group)
			break;
		memcpy(out[n].topic_id, row.topic_id, 16);
		out[n].partition = row.partition;
		out[n].offset = row.offset;
		out[n].committed_ms = row.stamp.ms;
		out[n].node = row.stamp.node;
		n++;
	}
	*rows = out;
	*count = n;
	return n == offsets->count ? 0 : -ENOMEM;
}

int mr_offsets_reserve(struct mr_lane_writer *writer, const char *group, const uint8_t topic_id[16],
		       int32_t partition, uint64_t offset, struct mr_offsets_stamp stamp)
{
	char key[KEY_BYTES_MAX], value[24];
	struct mr_record record = {.timestamp_ms = stamp.ms};
	void *payload;
	int r;

	make_key(key, group, topic_id, partition);
	record.key = key;
	record.key_bytes = (int32_t)strlen(key);
	if (stamp.node)
		record.value_bytes =
			snprintf(value, sizeof(value), "%" PRIu64 " %u", offset, stamp.node);
	else
		record.value_bytes = snprintf(value, sizeof(value), "%" PRIu64, offset);
	r = mr_lane_reserve(writer, &record, 0, &payload);
	if (r < 0)
		return r;
	memcpy(payload, value, (size_t)record.value_bytes);
	return 0;
}
