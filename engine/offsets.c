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
#include "topics.h"

#define KEY_BYTES_MAX  (MR_GROUP_NAME_MAX + 1 + 32 + 1 + 10 + 1)
#define SLOTS_AT_FIRST 64u

struct row {
	char *key; /* NULL: free; owned */
	uint64_t offset;
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

static int set_key(struct mr_offsets *offsets, const char *key, uint64_t offset)
{
	struct row *row = slot_of(offsets, key);

	if (row->key) {
		row->offset = offset;
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
	offsets->count++;
	return 0;
}

int mr_offsets_set(struct mr_offsets *offsets, const char *group, const uint8_t topic_id[16],
		   int32_t partition, uint64_t offset)
{
	char key[KEY_BYTES_MAX];

	make_key(key, group, topic_id, partition);
	return set_key(offsets, key, offset);
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

int mr_offsets_apply(struct mr_offsets *offsets, const struct mr_message *message)
{
	char key[KEY_BYTES_MAX], value[24], id[33], *end;
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
	offset = strtoull(value, &end, 10);
	if (*end || !split_key(key, &group_bytes, id, &partition))
		return -EBADMSG;
	return set_key(offsets, key, offset);
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

static int parse_hex(const char *id, uint8_t topic_id[16])
{
	int i;

	for (i = 0; i < 16; i++)
		if (sscanf(id + 2 * i, "%2hhx", &topic_id[i]) != 1)
			return -EBADMSG;
	return 0;
}

int mr_offsets_rows(const struct mr_offsets *offsets, struct mr_checkpoint_commit **rows,
		    uint32_t *count)
{
	struct mr_checkpoint_commit *out =
		calloc(offsets->count ? offsets->count : 1, sizeof(*out));
	uint32_t i, n = 0;
	char id[33];

	if (!out)
		return -ENOMEM;
	for (i = 0; i < offsets->slots; i++) {
		const struct row *row = &offsets->rows[i];
		size_t group_bytes;

		if (!row->key || !split_key(row->key, &group_bytes, id, &out[n].partition))
			continue;
		if (parse_hex(id, out[n].topic_id) < 0)
			continue;
		out[n].group = strndup(row->key, group_bytes);
		out[n].offset = row->offset;
		if (!out[n].group)
			break;
		n++;
	}
	*rows = out;
	*count = n;
	return n == offsets->count ? 0 : -ENOMEM;
}

int mr_offsets_reserve(struct mr_lane_writer *writer, const char *group, const uint8_t topic_id[16],
		       int32_t partition, uint64_t offset, int64_t now_ms)
{
	char key[KEY_BYTES_MAX], value[24];
	struct mr_record record = {.timestamp_ms = now_ms};
	void *payload;
	int r;

	make_key(key, group, topic_id, partition);
	record.key = key;
	record.key_bytes = (int32_t)strlen(key);
	record.value_bytes = snprintf(value, sizeof(value), "%" PRIu64, offset);
	r = mr_lane_reserve(writer, &record, 0, &payload);
	if (r < 0)
		return r;
	memcpy(payload, value, (size_t)record.value_bytes);
	return 0;
}
