/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of one input partition and what is known of each. A key's entry is one piece of memory:
 * its head, the key, the state of its alerts, the results before, cleaning, windows. Entries come
 * from slabs in huge pages; so looking a key up costs one line of the table and those of its entry.
 *
 * Bounds. A key more, or a greater entry, may push others out: a hand goes round over all keys, and
 * who was not used since it came by last leaves (second chance). Which one is a function of the
 * records alone: of the order in which keys came and were used, and of the entries' sizes.
 */
#ifndef MR_KEYS_H
#define MR_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "program.h"

#define MR_KEYS_CLASSES 192 /* sizes of entries */

struct mr_key_entry {
	uint32_t hash;
	uint32_t ring; /* its place there */
	uint16_t key_bytes;
	uint8_t touched; /* since the hand came by */
	uint8_t size_class;
	uint32_t raised; /* alerts, bit i */
	int64_t seen_ms; /* of the last record, kept or dropped */
	int64_t time_ms; /* of the last kept record */
	double value;
	uint64_t offset;
	uint32_t dropped[MR_CLEAN_VERDICTS - 1]; /* by verdict, from MISSING on */
	uint8_t key[];
};

struct mr_key_slot {
	struct mr_key_entry *entry; /* NULL: free */
	uint64_t hash;
};

struct mr_keys_slab; /* a chunk of memory, in a list */

struct mr_keys {
	const struct mr_program *program;
	uint64_t seed; /* of the hash: whoever sends keys does not know where they fall */
	struct mr_key_slot *slots; /* a power of two of them, at most half of them used */
	uint32_t slot_mask;
	struct mr_key_entry **ring; /* every key; a new one takes the last place */
	uint32_t count;
	uint32_t ring_capacity;
	uint32_t hand;	/* who is asked next to leave */
	uint32_t sweep; /* who is asked next how long it was idle */
	uint64_t bytes; /* of all entries */
	struct mr_keys_slab *slabs;
	struct {
		struct mr_key_entry *freed;
		uint8_t *room;
		size_t room_bytes;
		size_t next_bytes; /* of the next slab */
	} classes[MR_KEYS_CLASSES];
};

int mr_keys_init(struct mr_keys *keys, const struct mr_program *program, struct mr_error *err);
void mr_keys_deinit(struct mr_keys *keys);
/* All keys leave; memory of the entries is given back. */
void mr_keys_clear(struct mr_keys *keys);

uint32_t mr_keys_hash(const struct mr_keys *keys, const void *key, int32_t key_bytes);
/* Brings what a look-up needs nearer: first the table, a few keys later the entry. */
void mr_keys_prefetch_slot(const struct mr_keys *keys, uint32_t hash);
/* Returns the slot of that hash: a guess for mr_keys_find_at(). */
uint32_t mr_keys_prefetch_entry(const struct mr_keys *keys, uint32_t hash);
/* NULL: there is none. */
struct mr_key_entry *mr_keys_find(const struct mr_keys *keys, uint32_t hash, const void *key,
				  int32_t key_bytes);
/* The same, looked for in a slot that was its hash's a few keys ago. */
struct mr_key_entry *mr_keys_find_at(const struct mr_keys *keys, uint32_t slot, uint32_t hash,
				     const void *key, int32_t key_bytes);
/* A new one, all of it initialised, with room for 'capacity' samples. NULL: no memory. */
struct mr_key_entry *mr_keys_add(struct mr_keys *keys, uint32_t hash, const void *key,
				 int32_t key_bytes, uint32_t capacity);
/* The same key with more room for samples; 'entry' is gone. NULL: no memory, and it is there. */
struct mr_key_entry *mr_keys_grow(struct mr_keys *keys, struct mr_key_entry *entry,
				  uint32_t capacity);
void mr_keys_remove(struct mr_keys *keys, struct mr_key_entry *entry);
/* Whose turn it is to leave, but for 'spared'. NULL: there is no other. */
struct mr_key_entry *mr_keys_victim(struct mr_keys *keys, const struct mr_key_entry *spared);

/* Bytes of an entry, as they count. */
size_t mr_keys_entry_bytes(const struct mr_program *program, int32_t key_bytes, uint32_t capacity);

static inline uint8_t *mr_key_state(const struct mr_key_entry *entry)
{
	return (uint8_t *)entry->key + ((entry->key_bytes + 7u) & ~7u);
}

static inline struct mr_program_alert_state *mr_key_alerts(const struct mr_key_entry *entry)
{
	return (struct mr_program_alert_state *)mr_key_state(entry);
}

static inline double *mr_key_previous(const struct mr_program *program,
				      const struct mr_key_entry *entry)
{
	return (double *)(mr_key_state(entry) + program->alerts_bytes);
}

static inline void *mr_key_clean(const struct mr_program *program, const struct mr_key_entry *entry)
{
	return mr_key_state(entry) + program->alerts_bytes + program->previous_bytes;
}

static inline void *mr_key_windows(const struct mr_program *program,
				   const struct mr_key_entry *entry)
{
	return mr_key_state(entry) + program->fixed_bytes;
}

#endif
