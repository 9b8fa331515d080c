/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the table of keys finds what was added and not removed, whatever was in between;
 * bytes count what is there; who was used since the hand came by is not the next to leave.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "keys.h"
#include "pipe_rig.h"

#define NAMES 3000

static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
			   "windows: {a: {fn: mean, last: 1h}}\noutput: o\n";

static struct mr_pipe_rig rig;
static struct mr_keys keys;
static uint64_t state = 1;

static uint32_t next(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((state >> 33) % below);
}

static void open_keys(void)
{
	struct mr_error err = {0};

	mr_pipe_rig_open(&rig, rule);
	cr_assert_eq(mr_keys_init(&keys, rig.program, &err), 0, "%s", err.what);
}

static void close_keys(void)
{
	mr_keys_deinit(&keys);
	mr_pipe_rig_close(&rig);
}

/* Whatever slot is guessed: here the one that another key had, at some time. */
static struct mr_key_entry *find(const char *name, uint32_t *hash)
{
	static uint32_t before;
	int32_t bytes = (int32_t)strlen(name);
	struct mr_key_entry *entry;
	uint32_t slot;

	*hash = mr_keys_hash(&keys, name, bytes);
	slot = mr_keys_prefetch_entry(&keys, *hash);
	entry = mr_keys_find(&keys, *hash, name, bytes);
	cr_assert_eq(mr_keys_find_at(&keys, slot, *hash, name, bytes), entry);
	cr_assert_eq(mr_keys_find_at(&keys, before, *hash, name, bytes), entry);
	before = slot;
	return entry;
}

static void name_of(uint32_t number, char name[64])
{
	/* of different lengths, so of different sizes */
	snprintf(name, 64, "%.*s%u", (int)(number % 40),
		 "a name that goes on and on, for as long as is wanted", number);
}

Test(pipeline_keys, agrees_with_a_plain_list)
{
	static bool there[NAMES];
	static uint32_t capacity[NAMES];
	uint32_t count = 0, hash;
	uint64_t bytes = 0;
	char name[64];

	open_keys();
	for (int round = 0; round < 200000; round++) {
		uint32_t i = next(NAMES);
		struct mr_key_entry *entry;

		name_of(i, name);
		entry = find(name, &hash);
		cr_assert_eq(entry != NULL, there[i], "%s", name);
		if (!entry) {
			capacity[i] = rig.program->capacity;
			entry = mr_keys_add(&keys, hash, name, (int32_t)strlen(name), capacity[i]);
			cr_assert_not_null(entry);
			entry->offset = i;
			there[i] = true;
			count++;
		} else if (next(4) == 0 && capacity[i] < 1000) {
			bytes -= mr_keys_entry_bytes(rig.program, (int32_t)strlen(name),
						     capacity[i]);
			capacity[i] *= 2;
			cr_assert_not_null(mr_keys_grow(&keys, entry, capacity[i]));
			cr_assert_eq(find(name, &hash)->offset, i);
			bytes += mr_keys_entry_bytes(rig.program, (int32_t)strlen(name),
						     capacity[i]);
			continue;
		} else {
			cr_assert_eq(entry->offset, i);
			mr_keys_remove(&keys, entry);
			there[i] = false;
			count--;
		}
		bytes += (there[i] ? 1 : -1) *
			 mr_keys_entry_bytes(rig.program, (int32_t)strlen(name), capacity[i]);
		cr_assert_eq(keys.count, count);
		cr_assert_eq(keys.bytes, bytes);
	}
	for (uint32_t i = 0; i < keys.count; i++)
		cr_assert_eq(keys.ring[i]->ring, i);
	close_keys();
}

Test(pipeline_keys, sizes_waste_an_eighth_at_most)
{
	open_keys();
	for (uint32_t capacity = rig.program->capacity; capacity < 60000;
	     capacity += 1 + capacity / 7) {
		size_t needed = sizeof(struct mr_key_entry) + 8 + rig.program->fixed_bytes +
				mr_window_block_bytes(rig.program->plan, capacity);
		size_t bytes = mr_keys_entry_bytes(rig.program, 5, capacity);

		cr_assert_geq(bytes, needed);
		cr_assert_leq(bytes, needed < 128 ? 128 : needed + needed / 8 + 8, "%u", capacity);
	}
	close_keys();
}

Test(pipeline_keys, the_hand_spares_who_was_used)
{
	struct mr_key_entry *entry[4];
	static const char *const names[] = {"a", "b", "c", "d"};
	uint32_t hash;

	open_keys();
	for (int i = 0; i < 4; i++) {
		cr_assert_null(find(names[i], &hash));
		entry[i] = mr_keys_add(&keys, hash, names[i], 1, rig.program->capacity);
		entry[i]->touched = i != 2;
	}
	cr_assert_eq(mr_keys_victim(&keys, NULL), entry[2], "only c was not used");
	cr_assert_eq(mr_keys_victim(&keys, entry[2]), entry[0], "a lost its mark on the way");
	mr_keys_remove(&keys, entry[0]);
	mr_keys_remove(&keys, entry[1]);
	mr_keys_remove(&keys, entry[2]);
	cr_assert_null(mr_keys_victim(&keys, entry[3]), "who is spared stays");
	cr_assert_eq(mr_keys_victim(&keys, NULL), entry[3]);
	close_keys();
}

/* As if the hash were bad: only their bytes tell them apart, whichever slot is guessed. */
Test(pipeline_keys, keys_of_one_hash_are_told_apart)
{
	static const char *const names[] = {"",
					    "a",
					    "b",
					    "ab",
					    "abc",
					    "axc",
					    "abcd",
					    "abcx",
					    "xbcd",
					    "abcdefg",
					    "abxdefg",
					    "abcdexg",
					    "abcdefgh",
					    "abcdefgx",
					    "abcdefghijk",
					    "abcdefghixk",
					    "abxdefghijk",
					    "abcdefghijklmnop",
					    "abcdefghijklmnox",
					    "abcdefghijklmnopq",
					    "abcdefghijklmnopx"};
	const uint32_t count = mr_array_count(names), hash = 7;

	open_keys();
	for (uint32_t i = 0; i < count; i++) {
		int32_t bytes = (int32_t)strlen(names[i]);

		for (uint32_t slot = 0; slot <= keys.slot_mask; slot++)
			cr_assert_null(mr_keys_find_at(&keys, slot, hash, names[i], bytes));
		cr_assert_not_null(
			mr_keys_add(&keys, hash, names[i], bytes, rig.program->capacity));
		for (uint32_t slot = 0; slot <= keys.slot_mask; slot++)
			cr_assert_eq(mr_keys_find_at(&keys, slot, hash, names[i], bytes),
				     keys.ring[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(mr_keys_find(&keys, hash, names[i], (int32_t)strlen(names[i])),
			     keys.ring[i]);
	close_keys();
}
