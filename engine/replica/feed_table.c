/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions by topic id and number: a hash table with linear probing, at most half full; an entry
 * that goes is closed up by moving those behind it. Topic ids are random, so that little more is
 * done with them than to mix the number in. Partitions of this host's catalogue stand here; a topic
 * may have been made by a peer, under an id that the peer chose: ids that fall on one place cost
 * time, no more, and a peer has this cluster's certificate.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "feed_inside.h"

#define SLOTS_MIN 64u

struct feed_key feed_key(const uint8_t topic_id[16], int32_t partition)
{
	struct feed_key key = {.partition = partition};

	memcpy(key.topic_id, topic_id, sizeof(key.topic_id));
	return key;
}

static bool same(const struct feed_key *a, const struct feed_key *b)
{
	return a->partition == b->partition &&
	       memcmp(a->topic_id, b->topic_id, sizeof(a->topic_id)) == 0;
}

static uint32_t home(const struct feed_table *table, const struct feed_key *key)
{
	uint64_t hash;

	memcpy(&hash, key->topic_id, sizeof(hash));
	hash = (hash ^ (uint32_t)key->partition) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(hash >> 32) & (table->slot_count - 1);
}

/* Where it stands, or the free slot where it would. */
static uint32_t find_slot(const struct feed_table *table, const struct feed_key *key)
{
	uint32_t at = home(table, key);

	while (table->slots[at] && !same(table->slots[at], key))
		at = (at + 1) & (table->slot_count - 1);
	return at;
}

void *feed_table_find(const struct feed_table *table, const struct feed_key *key)
{
	return table->count ? table->slots[find_slot(table, key)] : NULL;
}

static int grow(struct feed_table *table)
{
	struct feed_table bigger = {
		.slot_count = table->slot_count ? table->slot_count * 2 : SLOTS_MIN,
		.count = table->count,
	};

	bigger.slots = calloc(bigger.slot_count, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->slot_count; i++)
		if (table->slots[i])
			bigger.slots[find_slot(&bigger, table->slots[i])] = table->slots[i];
	free(table->slots);
	*table = bigger;
	return 0;
}

int feed_table_add(struct feed_table *table, struct feed_key *entry)
{
	uint32_t at;

	if (table->count >= table->slot_count / 2 && grow(table) < 0)
		return -ENOMEM;
	at = find_slot(table, entry);
	mr_assert(!table->slots[at]);
	table->slots[at] = entry;
	table->count++;
	return 0;
}

void *feed_table_remove(struct feed_table *table, const struct feed_key *key)
{
	uint32_t mask = table->slot_count - 1, hole, at;
	struct feed_key *entry;

	if (!table->count)
		return NULL;
	hole = find_slot(table, key);
	entry = table->slots[hole];
	if (!entry)
		return NULL;
	for (at = (hole + 1) & mask; table->slots[at]; at = (at + 1) & mask) {
		/* It may move up unless its home lies behind the hole. */
		if (((at - home(table, table->slots[at])) & mask) < ((at - hole) & mask))
			continue;
		table->slots[hole] = table->slots[at];
		hole = at;
	}
	table->slots[hole] = NULL;
	table->count--;
	return entry;
}

/* From where the last one was: who takes all of them out does not pass what is empty again. */
void *feed_table_any(struct feed_table *table)
{
	if (!table->count)
		return NULL;
	while (!table->slots[table->any_from & (table->slot_count - 1)])
		table->any_from++;
	return table->slots[table->any_from & (table->slot_count - 1)];
}

void feed_table_deinit(struct feed_table *table)
{
	free(table->slots);
	*table = (struct feed_table){0};
}
