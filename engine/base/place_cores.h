/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as the plan sees it: one row per physical core that this process may use. Only for
 * the files of place.
 */
#ifndef MR_PLACE_CORES_H
#define MR_PLACE_CORES_H

#include "place.h"

/* From here on one core is kept for control and chores, and they are pinned. */
#define MR_PLACE_CORES_TO_SHARE_OUT 3

struct mr_place_core {
	int32_t core;	  /* logical index of the whole machine */
	int32_t node;	  /* operating system's index, or MR_PLACE_ANY */
	int32_t package;  /* logical index, or MR_PLACE_ANY */
	int32_t cpu;	  /* first hardware thread that may be used */
	cpu_set_t cpus;	  /* all of them */
	int32_t l2, l3;	  /* its caches, logical indexes, or MR_PLACE_ANY */
	bool disk;	  /* one of them takes the disk's interrupts */
	bool wanted;	  /* and that is good for a worker: it comes first of its node */
	bool avoided;	  /* and that is bad: it comes last of all */
	bool node_wanted; /* a core of its node is wanted */
	uint32_t near;	  /* distance of its node from the disk's; 0: not known */
	uint32_t node_at; /* where its node begins in the machine's order */
	uint32_t sibling; /* how many nodes of its package come before its node */
	uint32_t layer;	  /* how many cores of its node and cache come before it */
	uint32_t round;	  /* how many cores of its node come before it */
};

struct mr_place_cores {
	struct mr_place_host host;
	cpu_set_t allowed; /* all hardware threads that may be used; empty if synthetic */
	uint32_t disks;	   /* rows that take the disk's interrupts */
	uint32_t count;
	struct mr_place_core *rows; /* owned; in the machine's order */
};

/* Asks hwloc. On success the caller frees out->rows. */
int mr_place_cores_read(struct mr_place_cores *out, struct mr_error *err);

/* Writes an entry's 'reason' and 'cost', once the rest of it and of the plan stand. */
void mr_place_explain(struct mr_place_entry *entry, const struct mr_place_plan *plan, bool shared);

#endif
