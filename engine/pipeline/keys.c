/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of keys (keys.h): open addressing with linear probing, and slabs by size behind it.
 * Hashing is XXH3 under a random seed. A removed slot is closed by moving later ones back, so there
 * are no tombstones, and what the table holds never depends on what it held.
 */
#include "keys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FIRST_SLOTS	 64u
#define CLASS_BITS_LEAST 7 /* entries have at least 128 bytes */
#define SLAB_LEAST	 (64u << 10)
#define SLAB_MOST	 (2u << 20) /* a huge page */
#define LINE		 64u
#define SHORT_BYTES	 16 /* of a key that is compared without a call */

struct mr_keys_slab {
	struct mr_keys_slab *next;
	void *memory;
	size_t bytes;
};

/* ---- sizes: eight steps between powers of two --------------------------------------------------
 */

static size_t class_bytes(size_t bytes, uint8_t *size_class)
{
	size_t least = (size_t)1 << CLASS_BITS_LEAST;
	uint32_t bits;
	size_t step;

	if (bytes <= least) {
		*size_class = 0;
		return least;
	}
	bits = 63u - (uint32_t)__builtin_clzll(bytes - 1);
	step = (size_t)1 << (bits - 3);
	bytes = (bytes + step - 1) & ~(step - 1);
	*size_class =
		(uint8_t)((bits - CLASS_BITS_LEAST) * 8 + (bytes - ((size_t)1 << bits)) / step);
	return bytes;
}

static size_t bytes_needed(const struct mr_program *program, int32_t key_bytes, uint32_t capacity)
{
	return sizeof(struct mr_key_entry) + (((size_t)key_bytes + 7u) & ~(size_t)7u) +
	       program->fixed_bytes + mr_window_block_bytes(program->plan, capacity);
}

size_t mr_keys_entry_bytes(const struct mr_program *program, int32_t key_bytes, uint32_t capacity)
{
	uint8_t size_class;

	return class_bytes(bytes_needed(program, key_bytes, capacity), &size_class);
}

/* ---- slabs -------------------------------------------------------------------------------------
 */

/* Aligned to its own size from a huge page on, so that it can become one. */
static void *map_slab(size_t bytes)
{
	size_t spare = bytes >= SLAB_MOST ? SLAB_MOST : 0;
	uint8_t *at = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return NULL;
	if (!spare)
		return at;
	before = (SLAB_MOST - (uintptr_t)at % SLAB_MOST) % SLAB_MOST;
	if (before)
		munmap(at, before);
	if (spare - before)
		munmap(at + before + bytes, spare - before);
	(void)madvise(at + before, bytes, MADV_HUGEPAGE); /* a favour: without it only slower */
	return at + before;
}

static int add_slab(struct mr_keys *keys, uint8_t size_class, size_t entry_bytes)
{
	size_t bytes = keys->classes[size_class].next_bytes;
	struct mr_keys_slab *slab;

	if (bytes < SLAB_LEAST)
		bytes = SLAB_LEAST;
	if (bytes < entry_bytes)
		bytes = (entry_bytes + SLAB_LEAST - 1) & ~(size_t)(SLAB_LEAST - 1);
	slab = malloc(sizeof(*slab));
	if (!slab)
		return -ENOMEM;
	slab->memory = map_slab(bytes);
	if (!slab->memory) {
		free(slab);
		return -ENOMEM;
	}
	slab->bytes = bytes;
	slab->next = keys->slabs;
	keys->slabs = slab;
	keys->classes[size_class].room = slab->memory;
	keys->classes[size_class].room_bytes = bytes;
	keys->classes[size_class].next_bytes = 2 * bytes > SLAB_MOST ? SLAB_MOST : 2 * bytes;
	return 0;
}

/* The first word of a freed entry points to the next. Bytes count what is in use. */
static struct mr_key_entry *take_entry(struct mr_keys *keys, size_t needed)
{
	struct mr_key_entry *entry;
	uint8_t size_class;
	size_t bytes = class_bytes(needed, &size_class);

	entry = keys->classes[size_class].freed;
	if (entry) {
		memcpy(&keys->classes[size_class].freed, entry, sizeof(void *));
	} else {
		if (keys->classes[size_class].room_bytes < bytes &&
		    add_slab(keys, size_class, bytes) < 0)
			return NULL;
		entry = (struct mr_key_entry *)keys->classes[size_class].room;
		keys->classes[size_class].room += bytes;
		keys->classes[size_class].room_bytes -= bytes;
	}
	memset(entry, 0, needed);
	entry->size_class = size_class;
	keys->bytes += bytes;
	return entry;
}

static void give_entry(struct mr_keys *keys, struct mr_key_entry *entry)
{
	uint8_t size_class = entry->size_class;
	size_t power = (size_t)1 << (CLASS_BITS_LEAST + size_class / 8);

	keys->bytes -= power + size_class % 8 * (power / 8);
	memcpy(entry, &keys->classes[size_class].freed, sizeof(void *));
	keys->classes[size_class].freed = entry;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

/* All zero. A table that large is asked for at random: in huge pages, too. NULL: no memory. */
static struct mr_key_slot *take_slots(uint32_t count)
{
	size_t bytes = (size_t)count * sizeof(struct mr_key_slot);

	return bytes < SLAB_MOST ? calloc(1, bytes) : map_slab(bytes);
}

static void give_slots(struct mr_key_slot *slots, uint32_t count)
{
	size_t bytes = (size_t)count * sizeof(struct mr_key_slot);

	if (bytes < SLAB_MOST)
		free(slots);
	else
		munmap(slots, bytes);
}

int mr_keys_init(struct mr_keys *keys, const struct mr_program *program, struct mr_error *err)
{
	memset(keys, 0, sizeof(*keys));
	keys->program = program;
	if (getrandom(&keys->seed, sizeof(keys->seed), 0) != sizeof(keys->seed))
		return mr_error_set(err, -EIO, "the kernel gave no random bytes");
	keys->slots = take_slots(FIRST_SLOTS);
	if (!keys->slots)
		return mr_error_set(err, -ENOMEM, "no memory for the keys of a pipeline");
	keys->slot_mask = FIRST_SLOTS - 1;
	return 0;
}

void mr_keys_clear(struct mr_keys *keys)
{
	struct mr_keys_slab *slab = keys->slabs;

	while (slab) {
		struct mr_keys_slab *next = slab->next;

		munmap(slab->memory, slab->bytes);
		free(slab);
		slab = next;
	}
	keys->slabs = NULL;
	memset(keys->classes, 0, sizeof(keys->classes));
	if (keys->slots)
		memset(keys->slots, 0, ((size_t)keys->slot_mask + 1) * sizeof(*keys->slots));
	keys->count = keys->hand = keys->sweep = 0;
	keys->bytes = 0;
}

void mr_keys_deinit(struct mr_keys *keys)
{
	mr_keys_clear(keys);
	if (keys->slots)
		give_slots(keys->slots, keys->slot_mask + 1);
	free(keys->ring);
	memset(keys, 0, sizeof(*keys));
}

uint32_t mr_keys_hash(const struct mr_keys *keys, const void *key, int32_t key_bytes)
{
	return (uint32_t)XXH3_64bits_withSeed(key, (size_t)key_bytes, keys->seed);
}

void mr_keys_prefetch_slot(const struct mr_keys *keys, uint32_t hash)
{
	__builtin_prefetch(&keys->slots[hash & keys->slot_mask]);
}

uint32_t mr_keys_prefetch_entry(const struct mr_keys *keys, uint32_t hash)
{
	uint32_t i = hash & keys->slot_mask;
	uintptr_t at, end;

	while (keys->slots[i].entry && keys->slots[i].hash != hash)
		i = (i + 1) & keys->slot_mask;
	at = (uintptr_t)keys->slots[i].entry;
	if (!at)
		return i;
	end = at + keys->program->near_bytes;
	for (at &= ~(uintptr_t)(LINE - 1); at < end; at += LINE)
		__builtin_prefetch((const void *)at, 1);
	return i;
}

static inline bool same_four(const char *x, const char *y)
{
	return memcmp(x, y, 4) == 0; /* no call: of a constant number of bytes */
}

/* Without a call: most keys are short. */
static inline bool same_short(const void *a, const void *b, size_t bytes)
{
	const char *x = a, *y = b;

	if (bytes >= 8)
		return mr_text_load_all(x) == mr_text_load_all(y) &&
		       mr_text_load_all(x + bytes - 8) == mr_text_load_all(y + bytes - 8);
	if (bytes >= 4)
		return same_four(x, y) && same_four(x + bytes - 4, y + bytes - 4);
	return mr_text_load_few(x, bytes) == mr_text_load_few(y, bytes);
}

static bool same_bytes(const void *a, const void *b, size_t bytes)
{
	return bytes > SHORT_BYTES ? memcmp(a, b, bytes) == 0 : same_short(a, b, bytes);
}

/* Where it is, or where it would be. */
static uint32_t find_slot(const struct mr_keys *keys, uint32_t hash, const void *key,
			  int32_t key_bytes)
{
	uint32_t i = hash & keys->slot_mask;

	for (;; i = (i + 1) & keys->slot_mask) {
		const struct mr_key_slot *slot = &keys->slots[i];

		if (!slot->entry)
			return i;
		if (slot->hash == hash && slot->entry->key_bytes == key_bytes &&
		    same_bytes(slot->entry->key, key, (size_t)key_bytes))
			return i;
	}
}

struct mr_key_entry *mr_keys_find(const struct mr_keys *keys, uint32_t hash, const void *key,
				  int32_t key_bytes)
{
	return keys->slots[find_slot(keys, hash, key, key_bytes)].entry;
}

struct mr_key_entry *mr_keys_find_at(const struct mr_keys *keys, uint32_t slot, uint32_t hash,
				     const void *key, int32_t key_bytes)
{
	const struct mr_key_slot *guess = &keys->slots[slot];

	if (key_bytes <= SHORT_BYTES && guess->entry && guess->hash == hash &&
	    guess->entry->key_bytes == key_bytes &&
	    same_short(guess->entry->key, key, (size_t)key_bytes))
		return guess->entry;
	return mr_keys_find(keys, hash, key, key_bytes);
}

static int grow_slots(struct mr_keys *keys)
{
	uint32_t count = 2 * (keys->slot_mask + 1);
	struct mr_key_slot *slots = take_slots(count);

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < keys->count; i++) {
		struct mr_key_entry *entry = keys->ring[i];
		uint32_t at = entry->hash & (count - 1);

		while (slots[at].entry)
			at = (at + 1) & (count - 1);
		slots[at] = (struct mr_key_slot){.entry = entry, .hash = entry->hash};
	}
	give_slots(keys->slots, keys->slot_mask + 1);
	keys->slots = slots;
	keys->slot_mask = count - 1;
	return 0;
}

static int grow_ring(struct mr_keys *keys)
{
	uint32_t capacity = keys->ring_capacity ? 2 * keys->ring_capacity : FIRST_SLOTS;
	struct mr_key_entry **ring = realloc(keys->ring, capacity * sizeof(struct mr_key_entry *));

	if (!ring)
		return -ENOMEM;
	keys->ring = ring;
	keys->ring_capacity = capacity;
	return 0;
}

struct mr_key_entry *mr_keys_add(struct mr_keys *keys, uint32_t hash, const void *key,
				 int32_t key_bytes, uint32_t capacity)
{
	const struct mr_program *program = keys->program;
	struct mr_key_entry *entry;

	if (keys->count == keys->ring_capacity && grow_ring(keys) < 0)
		return NULL;
	if (2 * (keys->count + 1) > keys->slot_mask + 1 && grow_slots(keys) < 0)
		return NULL;
	entry = take_entry(keys, bytes_needed(program, key_bytes, capacity));
	if (!entry)
		return NULL;
	entry->hash = hash;
	entry->key_bytes = (uint16_t)key_bytes;
	memcpy(entry->key, key, (size_t)key_bytes);
	if (program->previous)
		mr_key_previous(program, entry)[0] = NAN; /* there is no record before */
	mr_clean_block_init(&program->rule->clean, mr_key_clean(program, entry));
	mr_window_block_init(program->plan, mr_key_windows(program, entry), capacity);
	entry->ring = keys->count;
	keys->ring[keys->count++] = entry;
	keys->slots[find_slot(keys, hash, key, key_bytes)] =
		(struct mr_key_slot){.entry = entry, .hash = hash};
	return entry;
}

struct mr_key_entry *mr_keys_grow(struct mr_keys *keys, struct mr_key_entry *entry,
				  uint32_t capacity)
{
	const struct mr_program *program = keys->program;
	uint32_t slot = find_slot(keys, entry->hash, entry->key, entry->key_bytes);
	struct mr_key_entry *grown =
		take_entry(keys, bytes_needed(program, entry->key_bytes, capacity));
	uint8_t size_class;

	if (!grown)
		return NULL;
	size_class = grown->size_class;
	memcpy(grown, entry,
	       (size_t)((uint8_t *)mr_key_windows(program, entry) - (uint8_t *)entry));
	grown->size_class = size_class;
	mr_window_block_grow(program->plan, mr_key_windows(program, entry),
			     mr_key_windows(program, grown), capacity);
	keys->slots[slot].entry = grown;
	keys->ring[grown->ring] = grown;
	give_entry(keys, entry);
	return grown;
}

/* Closes the gap: a slot behind it moves back unless it lies where its hash wants it already. */
static void close_slot(struct mr_keys *keys, uint32_t gap)
{
	uint32_t mask = keys->slot_mask;

	for (uint32_t i = (gap + 1) & mask; keys->slots[i].entry; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)keys->slots[i].hash & mask;

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		keys->slots[gap] = keys->slots[i];
		gap = i;
	}
	keys->slots[gap] = (struct mr_key_slot){0};
}

void mr_keys_remove(struct mr_keys *keys, struct mr_key_entry *entry)
{
	struct mr_key_entry *last = keys->ring[--keys->count];

	close_slot(keys, find_slot(keys, entry->hash, entry->key, entry->key_bytes));
	last->ring = entry->ring;
	keys->ring[entry->ring] = last;
	if (keys->hand >= keys->count)
		keys->hand = 0;
	if (keys->sweep >= keys->count)
		keys->sweep = 0;
	give_entry(keys, entry);
}

struct mr_key_entry *mr_keys_victim(struct mr_keys *keys, const struct mr_key_entry *spared)
{
	/* twice round finds one: the first round takes every mark away */
	for (uint64_t i = 0; i < 2 * (uint64_t)keys->count; i++) {
		struct mr_key_entry *entry = keys->ring[keys->hand];

		if (entry != spared && !entry->touched)
			return entry;
		entry->touched = 0;
		keys->hand = keys->hand + 1 < keys->count ? keys->hand + 1 : 0;
	}
	return NULL;
}
