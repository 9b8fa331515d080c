/* SPDX-License-Identifier: Apache-2.0 */
/* The fake disk's medium (io_fake_disk.h). Runs on the test's thread; aborts when memory is out. */
#include "io_fake_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io_fake.h"

uint64_t mr_io_fake_random(uint64_t *state)
{
	uint64_t value;

	/* splitmix64: any seed will do, 0 too */
	*state += 0x9E3779B97F4A7C15u;
	value = *state;
	value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
	value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
	return value ^ (value >> 31);
}

void *fake_resize(void *memory, size_t count, size_t size)
{
	void *resized = reallocarray(memory, count ? count : 1, size);

	mr_assert(resized);
	return resized;
}

struct fake_node *fake_node_new(struct fake_medium *medium, bool is_directory)
{
	struct fake_node *node = fake_resize(NULL, 1, sizeof(*node));

	memset(node, 0, sizeof(*node));
	node->is_directory = is_directory;
	node->index = medium->node_count;
	medium->nodes = fake_resize(medium->nodes, medium->node_count + 1, sizeof(*medium->nodes));
	medium->nodes[medium->node_count++] = node;
	return node;
}

static void free_node(struct fake_node *node)
{
	for (size_t i = 0; i < node->block_count; i++) {
		free(node->blocks[i].kept);
		free(node->blocks[i].seen);
	}
	free(node->blocks);
	free(node->seen.all);
	free(node->kept.all);
	free(node->changes);
	free(node);
}

void fake_medium_deinit(struct fake_medium *medium)
{
	for (size_t i = 0; i < medium->node_count; i++)
		free_node(medium->nodes[i]);
	free(medium->nodes);
}

static void *duplicate(const void *memory, size_t bytes)
{
	void *copy;

	if (!memory)
		return NULL;
	copy = fake_resize(NULL, bytes, 1);
	memcpy(copy, memory, bytes);
	return copy;
}

static void copy_entries(struct fake_entries *to, const struct fake_entries *from,
			 struct fake_medium *medium)
{
	free(to->all);
	to->count = from->count;
	to->all = duplicate(from->all, from->count * sizeof(*from->all));
	for (size_t i = 0; i < to->count; i++)
		to->all[i].node = medium->nodes[to->all[i].node->index];
}

static void copy_node(struct fake_node *to, const struct fake_node *from,
		      struct fake_medium *medium)
{
	*to = *from;
	to->open_count = 0;
	to->lock = NULL;
	to->blocks = duplicate(from->blocks, from->block_count * sizeof(*from->blocks));
	for (size_t i = 0; i < to->block_count; i++) {
		to->blocks[i].kept = duplicate(from->blocks[i].kept, BLOCK);
		to->blocks[i].seen = duplicate(from->blocks[i].seen, BLOCK);
	}
	to->seen.all = NULL;
	to->kept.all = NULL;
	copy_entries(&to->seen, &from->seen, medium);
	copy_entries(&to->kept, &from->kept, medium);
	to->changes = duplicate(from->changes, from->change_count * sizeof(*from->changes));
	for (size_t i = 0; i < to->change_count; i++) {
		if (to->changes[i].entry.node)
			to->changes[i].entry.node = medium->nodes[to->changes[i].entry.node->index];
	}
}

void fake_medium_copy(struct fake_medium *to, const struct fake_medium *from)
{
	memset(to, 0, sizeof(*to));
	to->total_blocks = from->total_blocks;
	to->used_blocks = from->used_blocks;
	for (size_t i = 0; i < from->node_count; i++)
		fake_node_new(to, from->nodes[i]->is_directory);
	for (size_t i = 0; i < from->node_count; i++)
		copy_node(to->nodes[i], from->nodes[i], to);
	for (size_t i = 0; i < to->node_count; i++)
		fake_release(to, to->nodes[i]);
}

static size_t blocks_for(uint64_t bytes)
{
	return (size_t)((bytes + BLOCK - 1) / BLOCK);
}

static void grow_blocks(struct fake_node *node, size_t count)
{
	if (count <= node->block_count)
		return;
	node->blocks = fake_resize(node->blocks, count, sizeof(*node->blocks));
	memset(node->blocks + node->block_count, 0,
	       (count - node->block_count) * sizeof(*node->blocks));
	node->block_count = count;
}

int fake_reserve(struct fake_medium *medium, struct fake_node *node, uint64_t offset,
		 uint64_t bytes)
{
	size_t first = (size_t)(offset / BLOCK), end = blocks_for(offset + bytes);
	uint64_t missing = 0;

	for (size_t i = first; i < end; i++)
		missing += i >= node->block_count || !node->blocks[i].reserved;
	if (medium->used_blocks > medium->total_blocks ||
	    missing > medium->total_blocks - medium->used_blocks)
		return missing ? -ENOSPC : 0;
	grow_blocks(node, end);
	for (size_t i = first; i < end; i++)
		node->blocks[i].reserved = true;
	medium->used_blocks += missing;
	if (offset + bytes > node->seen_bytes)
		node->seen_bytes = offset + bytes;
	return 0;
}

static const char *seen_block(const struct fake_node *node, size_t index)
{
	static const char zeros[BLOCK];
	const struct fake_block *block;

	if (index >= node->block_count)
		return zeros;
	block = &node->blocks[index];
	if (block->seen)
		return block->seen;
	return block->kept ? block->kept : zeros;
}

size_t fake_read(const struct fake_node *node, void *buffer, size_t bytes, uint64_t offset)
{
	size_t done = 0, skip, take;

	if (offset >= node->seen_bytes)
		return 0;
	if (bytes > node->seen_bytes - offset)
		bytes = (size_t)(node->seen_bytes - offset);
	while (done < bytes) {
		skip = (size_t)((offset + done) % BLOCK);
		take = bytes - done < BLOCK - skip ? bytes - done : BLOCK - skip;
		memcpy((char *)buffer + done,
		       seen_block(node, (size_t)((offset + done) / BLOCK)) + skip, take);
		done += take;
	}
	return bytes;
}

/* The block's own copy of what is seen, to change it. */
static char *make_seen(struct fake_node *node, size_t index)
{
	struct fake_block *block = &node->blocks[index];

	if (!block->seen)
		block->seen = duplicate(seen_block(node, index), BLOCK);
	return block->seen;
}

/* Bits of the sectors that [from, to) of a block touches. */
static uint8_t sectors(size_t from, size_t to)
{
	uint8_t bits = 0;

	for (size_t sector = from / SECTOR; sector * SECTOR < to; sector++)
		bits |= (uint8_t)(1u << sector);
	return bits;
}

void fake_write(struct fake_node *node, const void *buffer, size_t bytes, uint64_t offset)
{
	size_t done = 0, skip, take, index;

	grow_blocks(node, blocks_for(offset + bytes));
	while (done < bytes) {
		index = (size_t)((offset + done) / BLOCK);
		skip = (size_t)((offset + done) % BLOCK);
		take = bytes - done < BLOCK - skip ? bytes - done : BLOCK - skip;
		memcpy(make_seen(node, index) + skip, (const char *)buffer + done, take);
		node->blocks[index].dirty |= sectors(skip, skip + take);
		done += take;
	}
	if (offset + bytes > node->seen_bytes)
		node->seen_bytes = offset + bytes;
}

static void zero_block(struct fake_node *node, size_t index, size_t from)
{
	if (!node->blocks[index].kept && !node->blocks[index].seen)
		return; /* zeros already */
	memset(make_seen(node, index) + from, 0, BLOCK - from);
	node->blocks[index].dirty |= sectors(from, BLOCK);
}

void fake_truncate(struct fake_medium *medium, struct fake_node *node, uint64_t bytes)
{
	if (bytes < node->seen_bytes) {
		for (size_t i = (size_t)(bytes / BLOCK); i < node->block_count; i++)
			zero_block(node, i, i == bytes / BLOCK ? (size_t)(bytes % BLOCK) : 0);
	}
	for (size_t i = blocks_for(bytes); i < node->block_count; i++) {
		medium->used_blocks -= node->blocks[i].reserved;
		node->blocks[i].reserved = false;
	}
	node->seen_bytes = bytes;
}

static bool is_zeros(const char *memory)
{
	return memory[0] == 0 && memcmp(memory, memory + 1, BLOCK - 1) == 0;
}

/* Makes a block's 'dirty' & 'bits' sectors durable. */
static void keep_block(struct fake_block *block, uint8_t bits)
{
	bits &= block->dirty;
	if (!bits)
		return;
	if (!block->kept) {
		block->kept = fake_resize(NULL, 1, BLOCK);
		memset(block->kept, 0, BLOCK);
	}
	for (size_t sector = 0; sector < BLOCK / SECTOR; sector++) {
		if (bits & (1u << sector))
			memcpy(block->kept + sector * SECTOR, block->seen + sector * SECTOR,
			       SECTOR);
	}
	block->dirty &= (uint8_t)~bits;
	if (!block->dirty) {
		free(block->seen);
		block->seen = NULL;
	}
	if (is_zeros(block->kept)) {
		free(block->kept);
		block->kept = NULL;
	}
}

void fake_flush(struct fake_node *node, uint64_t offset, uint64_t bytes)
{
	uint64_t end = bytes < UINT64_MAX - offset ? offset + bytes : UINT64_MAX;
	uint64_t start;
	size_t from, to;

	for (size_t i = (size_t)(offset / BLOCK); i < node->block_count; i++) {
		start = (uint64_t)i * BLOCK;
		if (start >= end)
			break;
		from = start < offset ? (size_t)(offset - start) : 0;
		to = end - start < BLOCK ? (size_t)(end - start) : BLOCK;
		keep_block(&node->blocks[i], sectors(from, to));
	}
	node->kept_bytes = node->seen_bytes; /* one journal holds all sizes */
}

void fake_release(struct fake_medium *medium, struct fake_node *node)
{
	if (node->linked || node->open_count || node->is_directory)
		return;
	for (size_t i = 0; i < node->block_count; i++) {
		medium->used_blocks -= node->blocks[i].reserved;
		node->blocks[i].reserved = false;
	}
}

struct fake_entry *fake_find(const struct fake_entries *entries, const char *name)
{
	for (size_t i = 0; i < entries->count; i++) {
		if (strcmp(entries->all[i].name, name) == 0)
			return &entries->all[i];
	}
	return NULL;
}

static void unlink_entry(struct fake_entries *entries, const char *name)
{
	struct fake_entry *entry = fake_find(entries, name);

	if (entry)
		*entry = entries->all[--entries->count];
}

static void link_entry(struct fake_entries *entries, const struct fake_entry *entry)
{
	unlink_entry(entries, entry->name);
	entries->all = fake_resize(entries->all, entries->count + 1, sizeof(*entries->all));
	entries->all[entries->count++] = *entry;
}

static void apply_change(struct fake_entries *entries, const struct fake_change *change)
{
	struct fake_entry moved = change->entry;

	if (change->kind == FAKE_LINK) {
		link_entry(entries, &change->entry);
		return;
	}
	unlink_entry(entries, change->entry.name);
	if (change->kind == FAKE_UNLINK)
		return;
	memcpy(moved.name, change->to, sizeof(moved.name));
	link_entry(entries, &moved);
}

void fake_change_names(struct fake_node *directory, const struct fake_change *change)
{
	apply_change(&directory->seen, change);
	directory->changes = fake_resize(directory->changes, directory->change_count + 1,
					 sizeof(*directory->changes));
	directory->changes[directory->change_count++] = *change;
}

void fake_keep_names(struct fake_node *directory, size_t changes)
{
	mr_assert(changes <= directory->change_count);
	if (!changes)
		return; /* and perhaps no array */
	for (size_t i = 0; i < changes; i++)
		apply_change(&directory->kept, &directory->changes[i]);
	directory->change_count -= changes;
	memmove(directory->changes, directory->changes + changes,
		directory->change_count * sizeof(*directory->changes));
}

static void destroy_block(struct fake_block *block, uint64_t *random)
{
	uint64_t word;

	if (!block->kept)
		block->kept = fake_resize(NULL, 1, BLOCK);
	for (size_t i = 0; i < BLOCK; i += sizeof(word)) {
		word = mr_io_fake_random(random);
		memcpy(block->kept + i, &word, sizeof(word));
	}
}

/* What becomes of one block with unflushed sectors; afterwards nothing of it is unflushed. */
static void decide_block(struct fake_block *block, uint32_t kindness, uint64_t *random)
{
	uint64_t draw = mr_io_fake_random(random);

	/*
	 * 'kindness' of 8 blocks are kept whole; of the others a third each is mixed, destroyed and
	 * dropped.
	 */
	if (draw % 8 < kindness) {
		keep_block(block, 0xff);
	} else if (draw / 8 % 3 == 0) {
		keep_block(block, (uint8_t)(draw >> 32));
	} else if (draw / 8 % 3 == 1) {
		destroy_block(block, random);
	}
	free(block->seen);
	block->seen = NULL;
	block->dirty = 0;
}

/* Bytes behind the end of a file are zeros when it grows again. */
static void clear_behind(struct fake_node *node, uint64_t bytes)
{
	for (size_t i = (size_t)(bytes / BLOCK); i < node->block_count; i++)
		zero_block(node, i, i == bytes / BLOCK ? (size_t)(bytes % BLOCK) : 0);
	for (size_t i = (size_t)(bytes / BLOCK); i < node->block_count; i++)
		keep_block(&node->blocks[i], 0xff);
}

static uint64_t decide_size(const struct fake_node *node, uint64_t *random)
{
	uint64_t least = node->kept_bytes, most = node->seen_bytes;

	switch (mr_io_fake_random(random) % 3) {
	case 0:
		return least;
	case 1:
		return most;
	default:
		if (most <= least)
			return most;
		least += mr_io_fake_random(random) % (most - least);
		return least - least % BLOCK > node->kept_bytes ? least - least % BLOCK
								: node->kept_bytes;
	}
}

static void cut_file(struct fake_medium *medium, struct fake_node *node, uint64_t *random)
{
	uint32_t kindness = (uint32_t)(mr_io_fake_random(random) % 9);
	uint64_t bytes = decide_size(node, random);

	for (size_t i = 0; i < node->block_count; i++) {
		if (node->blocks[i].dirty)
			decide_block(&node->blocks[i], kindness, random);
	}
	node->seen_bytes = bytes;
	node->kept_bytes = bytes;
	clear_behind(node, bytes);
	for (size_t i = blocks_for(bytes); i < node->block_count; i++) {
		medium->used_blocks -= node->blocks[i].reserved;
		node->blocks[i].reserved = false;
	}
	node->open_count = 0;
	node->lock = NULL;
}

static void cut_directory(struct fake_medium *medium, struct fake_node *directory, uint64_t *random)
{
	fake_keep_names(directory, mr_io_fake_random(random) % (directory->change_count + 1));
	directory->change_count = 0;
	copy_entries(&directory->seen, &directory->kept, medium);
}

void fake_tear(struct fake_medium *medium, struct fake_node *node, const void *buffer, size_t bytes,
	       uint64_t offset, uint64_t *random)
{
	/* All of it becomes unflushed, and is decided with the rest. */
	if (mr_io_fake_random(random) % 8 == 0)
		return; /* it never left the queue */
	if (fake_reserve(medium, node, offset, bytes) == 0)
		fake_write(node, buffer, bytes, offset);
}

static void mark_linked(struct fake_node *directory)
{
	for (size_t i = 0; i < directory->seen.count; i++) {
		directory->seen.all[i].node->linked = true;
		if (directory->seen.all[i].node->is_directory)
			mark_linked(directory->seen.all[i].node);
	}
}

void fake_power_cut(struct fake_medium *medium, uint64_t *random)
{
	struct fake_node *node;

	for (size_t i = 0; i < medium->node_count; i++) {
		node = medium->nodes[i];
		node->linked = false;
		if (node->is_directory)
			cut_directory(medium, node, random);
		else
			cut_file(medium, node, random);
	}
	mark_linked(medium->nodes[0]);
	for (size_t i = 0; i < medium->node_count; i++)
		fake_release(medium, medium->nodes[i]);
}
