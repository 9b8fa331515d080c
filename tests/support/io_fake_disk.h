/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The medium of the fake disk: nodes (files and directories) with what is durable and what is only
 * seen, and what a power cut makes of them. Private to io_fake*.c.
 */
#ifndef MR_TEST_IO_FAKE_DISK_H
#define MR_TEST_IO_FAKE_DISK_H

#include "io.h"

#define BLOCK  MR_IO_BLOCK_BYTES
#define SECTOR 512u

/* One block of a file. NULL means zeros. */
struct fake_block {
	char *kept;    /* durable */
	char *seen;    /* what reads give; NULL: the same as 'kept' */
	uint8_t dirty; /* a bit a sector where 'seen' is not durable; 0 exactly if 'seen' is NULL */
	bool reserved; /* counts as used space */
};

struct fake_node;

struct fake_entry {
	char name[256];
	struct fake_node *node;
};

struct fake_entries {
	struct fake_entry *all;
	size_t count;
};

enum fake_change_kind {
	FAKE_LINK,
	FAKE_UNLINK,
	FAKE_RENAME,
};

/* A change of a directory's names that is not durable. */
struct fake_change {
	enum fake_change_kind kind;
	struct fake_entry entry; /* what is linked, unlinked or renamed */
	char to[256];
};

/* A file or a directory. They live as long as the disk. */
struct fake_node {
	bool is_directory;
	bool linked; /* has a name that is seen */
	uint32_t open_count;
	const void *lock; /* the open file that holds it */
	size_t index;	  /* in the disk's array */
	/* a file's */
	uint64_t seen_bytes;
	uint64_t kept_bytes;
	struct fake_block *blocks;
	size_t block_count;
	/* a directory's */
	struct fake_entries seen;
	struct fake_entries kept;
	struct fake_change *changes;
	size_t change_count;
};

struct fake_medium {
	struct fake_node **nodes; /* the first is the root */
	size_t node_count;
	uint64_t total_blocks;
	uint64_t used_blocks;
};

/* Memory or abort. */
void *fake_resize(void *memory, size_t count, size_t size);

struct fake_node *fake_node_new(struct fake_medium *medium, bool is_directory);
void fake_medium_deinit(struct fake_medium *medium);
void fake_medium_copy(struct fake_medium *to, const struct fake_medium *from);

/* File content. 'reserve' is 0 or -ENOSPC; the others need what they use to be reserved. */
int fake_reserve(struct fake_medium *medium, struct fake_node *node, uint64_t offset,
		 uint64_t bytes);
size_t fake_read(const struct fake_node *node, void *buffer, size_t bytes, uint64_t offset);
void fake_write(struct fake_node *node, const void *buffer, size_t bytes, uint64_t offset);
void fake_truncate(struct fake_medium *medium, struct fake_node *node, uint64_t bytes);
void fake_flush(struct fake_node *node, uint64_t offset, uint64_t bytes);
/* Gives the space back when neither a name nor an open file is left. */
void fake_release(struct fake_medium *medium, struct fake_node *node);

/* Names: one component in one directory. */
struct fake_entry *fake_find(const struct fake_entries *entries, const char *name);
void fake_change_names(struct fake_node *directory, const struct fake_change *change);
void fake_keep_names(struct fake_node *directory, size_t changes);

/* Power cut. A write in flight reaches the medium in parts first, then everything unflushed is
 * decided. */
void fake_tear(struct fake_medium *medium, struct fake_node *node, const void *buffer, size_t bytes,
	       uint64_t offset, uint64_t *random);
void fake_power_cut(struct fake_medium *medium, uint64_t *random);

#endif
