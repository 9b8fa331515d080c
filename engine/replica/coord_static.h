/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `static` coordinator: configuration and a person's `promote` say who leads. No vote: the
 * register of a partition is kept durably by every host that has a replica, and the host that it
 * names as leader is its only writer, its owner. Compare-and-set is a durable write there; others
 * ask it by notice, and take over what it tells them. So two hosts never elect by themselves. It is
 * carried out when all who are in sync by it have it durably as well: no disk alone knows of it.
 *
 * After a start a host does not hand out a register that names itself before it has compared it
 * with all other replicas' hosts, or a person promoted it: one of them may have been promoted
 * meanwhile. One that is new to this host (its disk may be new) waits for its owner's word,
 * whoever leads. Who is handed a register by an owner that may write it need not ask.
 *
 * What two hosts know of one register is compared by version, then by leader epoch: a `promote`
 * that takes over from an unreachable leader raises the version by 2^32, beyond all that the old
 * one can have written unseen, and the leader epoch by 2^20. It stands in the file for ever, with
 * the time and what was accepted.
 *
 * Pure but for 'save' and the clock it is given: no thread, no socket; control thread.
 */
#ifndef MR_COORD_STATIC_H
#define MR_COORD_STATIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "coord.h"
#include "error.h"

#define MR_COORD_TAKEOVER	(UINT64_C(1) << 32) /* by so much a take-over raises the version */
#define MR_COORD_TAKEOVER_EPOCH (1 << 20)	    /* and by so much the leader epoch */

struct mr_coord_static_options {
	uint32_t self;
	uint64_t incarnation;
	/*
	 * Makes 'bytes' durable in place of what was saved before, and then calls
	 * mr_coord_static_saved(): later, from the control thread. One at a time.
	 */
	int (*save)(void *arg, const void *bytes, size_t count);
	/* Text to a node's coordinator, as a notice. May be lost: then it is said again. */
	void (*notify)(void *arg, uint32_t node, const char *text, size_t bytes);
	/* What people call a host, perhaps in 'room'; NULL: its number is what they call it. */
	const char *(*name)(void *arg, uint32_t node, char room[16]);
	void *arg;
	const struct mr_clock *clock; /* its time-outs' */
};

/* 'bytes' are what was saved last; NULL at the first start. -EBADMSG names what is damaged. */
int mr_coord_static_open(const struct mr_coord_static_options *options, const void *bytes,
			 size_t count, struct mr_coord **out, struct mr_error *err);
void mr_coord_static_saved(struct mr_coord *coord, int status);

/* ---- what is known of other hosts --------------------------------------------------------------
 */

void mr_coord_static_connected(struct mr_coord *coord, uint32_t node, uint64_t incarnation);
void mr_coord_static_disconnected(struct mr_coord *coord, uint32_t node);
/* What 'node' said by 'notify'. -EBADMSG: nonsense, nothing changed. */
int mr_coord_static_heard(struct mr_coord *coord, uint32_t node, const char *text, size_t bytes,
			  struct mr_error *err);
/* What was not answered is said again; about once a second, and now and then in tests. */
void mr_coord_static_time(struct mr_coord *coord);

/* ---- registers
 * ----------------------------------------------------------------------------------- */

/*
 * A new partition's: leader 'leader' by configuration, all of 'replicas' in sync. The same on every
 * host that has a replica. 0 also where it exists already.
 */
int mr_coord_static_create(struct mr_coord *coord, const struct mr_coord_key *key,
			   uint64_t replicas, uint32_t leader, struct mr_error *err);
/*
 * It was just created, and its topic cannot be older than that: it is not held back, nobody else
 * can know more. Not for a topic that this host may have had and lost.
 */
void mr_coord_static_release(struct mr_coord *coord, const struct mr_coord_key *key);
/*
 * At a start, before it is watched: this host lost the partition's data (R7), so it must not see
 * itself out of sync in a register that is older than what its owner has, not in its own either.
 * Until the owner was heard, or all, it is not handed out.
 */
void mr_coord_static_doubt(struct mr_coord *coord, const struct mr_coord_key *key);
/* Its topic is deleted. */
void mr_coord_static_forget(struct mr_coord *coord, const struct mr_coord_key *key);
/* For people, also of registers that are held back. -ENOENT. 'held': not handed out yet, and why.
 */
int mr_coord_static_known(const struct mr_coord *coord, const struct mr_coord_key *key,
			  struct mr_coord_state *state, uint64_t *not_heard_of);

/*
 * At the owner: members that what is durable waits for, since a second or longer, and nothing is
 * committed meanwhile. 0: it is accepted, or it is early.
 */
uint64_t mr_coord_static_unconfirmed(const struct mr_coord *coord, const struct mr_coord_key *key);

/*
 * A person's word. Where the owner can be reached it is asked, and hands over: nothing is lost;
 * 'to' must be in sync. Where it cannot, and 'to' is this host: taken over if 'accept_loss';
 * without it -EPERM and a sentence that says what is known and what cannot be. 'done' is called
 * once, from any later call into the coordinator, with the outcome. -EINPROGRESS: nobody answered
 * for three seconds, and it may be carried out still; said again it is answered as what it then is.
 */
struct mr_coord_promotion {
	struct mr_coord_key key;
	uint32_t to;
	bool accept_loss; /* and the old leader is stopped: the person says so */
	uint32_t min_insync_replicas;
	int64_t wall_ms;
	void (*done)(void *arg, int status, const struct mr_error *err);
	void *arg;
};
int mr_coord_static_promote(struct mr_coord *coord, const struct mr_coord_promotion *promotion,
			    struct mr_error *err);

/* What was promoted from this host, for ever. */
struct mr_coord_promoted {
	struct mr_coord_key key;
	int32_t from, to;
	bool taken_over; /* the old leader could not be asked: what it had may be lost */
	uint32_t min_insync_replicas;
	uint64_t version; /* of the register, by it */
	uint64_t isr;	  /* who was in sync before, as far as it was known here */
	int64_t wall_ms;
};
/* Oldest first; valid until the next call into the coordinator. */
const struct mr_coord_promoted *mr_coord_static_promoted(const struct mr_coord *coord,
							 uint32_t *count);

#endif
