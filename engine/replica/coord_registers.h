/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the static coordinator share; nobody else includes it. coord_static.c:
 * registers and who may write them; coord_talk.c: what hosts say to each other of them;
 * coord_promote.c: a person's word; coord_file.c: the bytes that are kept.
 */
#ifndef MR_COORD_REGISTERS_H
#define MR_COORD_REGISTERS_H

#include <jansson.h>
#include <sys/queue.h>

#include "coord_static.h"

#define MR_COORD_VERSION_MAX   (UINT64_C(1) << 62)
#define MR_COORD_ASK_AGAIN_NS  UINT64_C(500000000)  /* what was not confirmed is said again */
#define MR_COORD_GIVE_UP_NS    UINT64_C(1000000000) /* a proposal without an answer: nobody knows */
#define MR_COORD_PERSON_NS     UINT64_C(3000000000) /* a person hears of it then */
#define MR_COORD_REGISTERS_MAX 1000000u
#define MR_COORD_STRANGERS_MAX 65536u /* registers of topics that are not made here (yet) */

/* Who may write next: the leader, and where there is none the one before. */
struct mr_coord_value {
	struct mr_coord_state state;
	int32_t owner;
	int32_t reserved; /* zero: values are compared as bytes */
};

/* A person's promotion that is under way. */
struct mr_coord_promoting {
	struct mr_coord_promotion wanted;
	uint64_t id;
	uint64_t since_ns;
	uint64_t version; /* waits until this is durable; 0: for an answer of 'asked' */
	uint32_t asked;	  /* node that was the owner */
};

/*
 * Of one partition. now >= saving >= durable in version; others hear of 'durable' only, and only
 * while nothing newer is on its way to the disk.
 */
struct mr_register {
	struct mr_coord_key key;
	uint64_t replicas;
	struct mr_coord_value now, saving, durable;
	/*
	 * Bit i, in this life: 'heard': what node i knows is not newer than what is known here.
	 * 'told': it has confirmed 'durable' on this connection. 'confirm': that is due from us.
	 */
	uint64_t heard, told, confirm;
	uint64_t has; /* bit i: node i said that it has 'durable' on stable storage */
	/*
	 * 'durable' may be acted on here: at its owner only when all that are in sync by it have it
	 * on their disks, too. 'base': the version that was accepted last, which this host knows.
	 */
	bool accepted;
	uint64_t base;
	uint64_t durable_ns; /* since when 'durable' is */
	/* This host may write, if the register says so: nobody can have been promoted unseen. */
	bool released;
	bool written_here;  /* 'now', in this life */
	uint64_t handed_to; /* incarnation of the leader in 'now', if we handed over to it */
	/*
	 * Not from this disk, or a host's that lost its data: not handed out before whoever may
	 * write it was heard, and what it said is durable ('blank_until', 0: not heard yet). Else
	 * such a host could see itself out of sync in what is long past.
	 */
	bool blank;
	uint64_t blank_until;
	bool created, watched;
	bool queued, state_due;
	struct mr_coord_event answer; /* NOTHING: none due */
	/* a write that is not accepted yet */
	struct mr_coord_write {
		uint64_t version; /* 0: none */
		uint32_t node;	  /* that proposed it */
		uint64_t id;	  /* of its request; 0: a proposal of this host */
		uint64_t since_ns;
		bool promotion;
	} write;
	/* our proposal at another owner; what came of it is told when that is durable here */
	struct mr_coord_asked {
		uint64_t id; /* 0: none */
		uint64_t since_ns;
		uint32_t node;
		uint64_t version; /* of the outcome; 0: told, or none yet */
		bool done;
	} asked;
	struct mr_coord_promoting *promoting; /* owned; or NULL */
	TAILQ_ENTRY(mr_register) all, due;
};

struct mr_coord_peer {
	bool connected;
	uint64_t incarnation; /* of its last connection */
	uint64_t said_ns;
	json_t *rows; /* to be said; or NULL */
};

/* All of it belongs to the control thread. */
struct mr_coord_static {
	struct mr_coord head;
	struct mr_coord_static_options options;
	TAILQ_HEAD(, mr_register) registers;
	TAILQ_HEAD(, mr_register) due; /* with something for next() */
	void *tree;		       /* of the same, by key (tsearch) */
	uint32_t count, strangers;
	struct mr_coord_peer peers[MR_NODES_MAX];
	struct mr_coord_promoted *promoted; /* for ever, oldest first */
	uint32_t promoted_count, promoted_room;
	uint64_t last_id;
	uint64_t failed_ns; /* a save failed: again after a while */
	bool dirty, is_saving, save_failed;
	int event_fd;
};

static inline struct mr_coord_static *mr_coord_static_of(const struct mr_coord *coord)
{
	return (struct mr_coord_static *)(uintptr_t)coord; /* its first member */
}

static inline uint64_t mr_coord_now_ns(const struct mr_coord_static *us)
{
	return mr_clock_monotonic_ns(us->options.clock);
}

static inline uint64_t mr_coord_bit(uint32_t node)
{
	return UINT64_C(1) << node;
}

static inline uint64_t mr_coord_others(const struct mr_coord_static *us,
				       const struct mr_register *reg)
{
	return reg->replicas & ~mr_coord_bit(us->options.self);
}

/* ---- coord_static.c -------------------------------------------------------------------------- */

struct mr_register *mr_registers_find(const struct mr_coord_static *us,
				      const struct mr_coord_key *key);
/* NULL: no memory, or more than there may be. */
struct mr_register *mr_registers_add(struct mr_coord_static *us, const struct mr_coord_key *key,
				     uint64_t replicas);
bool mr_register_is_durable(const struct mr_register *reg);
/* And nothing of it may be lost with a single disk of those that are in sync. */
bool mr_register_is_accepted(const struct mr_register *reg);
/* Others in the new ISR who have not said, for a second now, that they have it on disk. */
uint64_t mr_register_unconfirmed(const struct mr_coord_static *us, const struct mr_register *reg);
/* 'node' has what is durable here. */
void mr_register_confirmed(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);
/* This host is its owner and may write now. */
bool mr_register_is_ours(const struct mr_coord_static *us, const struct mr_register *reg);
bool mr_register_is_held(const struct mr_coord_static *us, const struct mr_register *reg);
void mr_register_write(struct mr_coord_static *us, struct mr_register *reg,
		       const struct mr_coord_state *state, const struct mr_coord_write *write);
/* Node 'node' proposes. MR_COORD_NOTHING: it is being saved. */
enum mr_coord_event_kind mr_register_try(struct mr_coord_static *us, struct mr_register *reg,
					 const struct mr_coord_proposal *proposal, uint32_t node,
					 uint64_t id);
/* What 'node' knows, durably. */
void mr_register_merge(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
		       const struct mr_coord_value *value, uint64_t handed_to);
void mr_register_heard(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);
/* 'now' is what its owner has, and may write; or all were heard. */
void mr_register_is_newest(struct mr_coord_static *us, struct mr_register *reg);
/* The owner says so of 'value', which was merged. */
void mr_register_owner_has(struct mr_coord_static *us, struct mr_register *reg,
			   const struct mr_coord_value *value);
void mr_register_tell_outcome(struct mr_coord_static *us, struct mr_register *reg);
void mr_register_release(struct mr_coord_static *us, struct mr_register *reg);
void mr_register_answer(struct mr_coord_static *us, struct mr_register *reg,
			enum mr_coord_event_kind kind, const struct mr_coord_state *state);
void mr_coord_static_save(struct mr_coord_static *us); /* if there is anything to save */

/* ---- coord_talk.c ---------------------------------------------------------------------------- */

void mr_coord_say_state(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);
void mr_coord_say_confirm(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);
void mr_coord_say_proposal(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			   uint64_t id, const struct mr_coord_proposal *proposal);
void mr_coord_say_outcome(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			  uint64_t id, bool done);
void mr_coord_say_promote(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);
void mr_coord_say_promoted(struct mr_coord_static *us, const struct mr_register *reg, uint32_t node,
			   uint64_t id, const struct mr_error *err);
void mr_coord_flush(struct mr_coord_static *us); /* what is to be said goes out */

/* ---- coord_promote.c ------------------------------------------------------------------------- */

/* Asked by 'node'; answered now if refused, else when durable. */
void mr_register_promote_for(struct mr_coord_static *us, struct mr_register *reg, uint32_t node,
			     uint64_t id, uint32_t to, int64_t wall_ms);
void mr_register_promote_done(struct mr_register *reg, int status, const struct mr_error *err);
void mr_register_promote_time(struct mr_coord_static *us, struct mr_register *reg);
/* No answer of 'node' comes any more. */
void mr_register_promote_lost(struct mr_coord_static *us, struct mr_register *reg, uint32_t node);

/* ---- coord_file.c ---------------------------------------------------------------------------- */

/* The caller frees; NULL: no memory. */
uint8_t *mr_coord_static_encode(const struct mr_coord_static *us, size_t *count);
int mr_coord_static_decode(struct mr_coord_static *us, const uint8_t *bytes, size_t count,
			   struct mr_error *err);
/* What a register can be at all, wherever it comes from. */
bool mr_register_is_possible(const struct mr_coord_key *key, uint64_t replicas,
			     const struct mr_coord_value *value);

#endif
