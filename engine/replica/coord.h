/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who leads a partition and who is in sync: one register for each partition, changed by
 * compare-and-set (reliability.md R1). Behind this interface stands `static` (configuration and a
 * person's `promote`), later ZooKeeper and etcd. A coordinator never sees offsets, high watermarks
 * or records.
 *
 * Calls return at once; answers come by next(), on the thread that calls it. A proposal whose
 * answer was lost comes back as MR_COORD_UNKNOWN: it may have been carried out, or may be later,
 * until the register's version is seen to have moved on.
 */
#ifndef MR_COORD_H
#define MR_COORD_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MR_NODES_MAX 64
#define MR_NODE_NONE (-1)

#define MR_INCARNATION_STARTS 25 /* bits; epochs end before as many starts */

/*
 * Of a host's engine: by its data directory, and by its starts there. One that begins again with an
 * empty directory counts from 1, and must be no life that it had before: what was proposed, handed
 * over or claimed for that one would count for it (R3). Never 0; rises while the log id stays.
 */
static inline uint64_t mr_incarnation(const uint8_t log_id[16], uint64_t engine_start)
{
	uint64_t directory = 0;

	for (int i = 0; i < 5; i++)
		directory = directory << 8 | log_id[i];
	return (directory & ((UINT64_C(1) << 38) - 1)) << MR_INCARNATION_STARTS |
	       (engine_start & ((UINT64_C(1) << MR_INCARNATION_STARTS) - 1));
}

/* A register. Version 0: never written. */
struct mr_coord_state {
	uint64_t version;	     /* rises by one with every change */
	uint64_t leader_incarnation; /* of the leader's engine when it was elected */
	uint64_t isr;		     /* bit i: node i */
	int32_t leader;		     /* node, or MR_NODE_NONE */
	int32_t leader_epoch;
};

/*
 * R7: whether this says that nobody counts on what 'node' had: it is out of the ISR, back only by
 * R3, or nobody ever led, so that there was nothing to lose.
 */
static inline bool mr_coord_counts_nothing_of(const struct mr_coord_state *state, uint32_t node)
{
	return state->version > 0 &&
	       (!(state->isr & UINT64_C(1) << node) || state->leader_epoch == 0);
}

/*
 * Carried out only if the register still has version 'wanted.version' - 1 and, where 'guard' is a
 * node, if that node's incarnation is still 'guard_incarnation': one transaction.
 */
struct mr_coord_proposal {
	struct mr_coord_state wanted;
	int32_t guard; /* MR_NODE_NONE: none */
	uint64_t guard_incarnation;
};

struct mr_coord_key {
	uint8_t topic_id[16];
	int32_t partition;
};

struct mr_coord_event {
	enum mr_coord_event_kind {
		MR_COORD_NOTHING,
		MR_COORD_STATE,	      /* the register's state, asked for or changed */
		MR_COORD_ACCEPTED,    /* our proposal was carried out; state is what was wanted */
		MR_COORD_REFUSED,     /* it never will be; state as it is */
		MR_COORD_UNKNOWN,     /* nobody knows */
		MR_COORD_LEADER_GONE, /* the session of the leader in 'state' has ended */
		MR_COORD_RESIGN,      /* our own session may be over: stop leading, everywhere */
	} kind;
	struct mr_coord_key key;
	struct mr_coord_state state;
};

struct mr_coord;

struct mr_coord_operations {
	void (*close)(struct mr_coord *coord);
	/* The register is read, and watched from now on. */
	int (*watch)(struct mr_coord *coord, const struct mr_coord_key *key, struct mr_error *err);
	int (*read)(struct mr_coord *coord, const struct mr_coord_key *key, struct mr_error *err);
	int (*propose)(struct mr_coord *coord, const struct mr_coord_key *key,
		       const struct mr_coord_proposal *proposal, struct mr_error *err);
	/* Kind MR_COORD_NOTHING when there is none. */
	struct mr_coord_event (*next)(struct mr_coord *coord);
	/* Readable when there may be one. */
	int (*fd)(const struct mr_coord *coord);
};

/* The head of every coordinator's own struct. */
struct mr_coord {
	const struct mr_coord_operations *operations;
};

#endif
