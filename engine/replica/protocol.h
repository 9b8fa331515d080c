/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One partition on one host as leader or follower: the whole protocol, pure. No socket, no clock,
 *no thread, no allocation. The partition's worker drives it in the engine, the simulator in tests:
 * whatever happened is told to it by a call, and what it wants done is asked for by
 *mr_replica_next() until that says MR_ACTION_NOTHING.
 *
 * What it wants is worked out from its state whenever it is asked, never queued: a reply that
 *cannot be sent yet is not built yet, the newest is sent and no older one, and nothing can
 *overflow.
 *
 *	the register says		this host is
 *	leader = me, by my own claim	leader: sends batches, counts what followers flushed, raises
 *the high watermark, proposes who is in sync
 *	leader = another		follower: asks where the logs part, truncates, asks again
 *until both agree (R5), then takes batches and says what it flushed nobody, or leader gone
 *nobody's; if it is in sync it claims the next epoch (R2)
 *
 * Messages may be lost, doubled, reordered and late. Each carries the leader epoch, and those that
 * belong to one agreement of a follower with its leader its session number, which the follower
 * chooses anew for each agreement: what fits neither is dropped. Only the register decides.
 *
 * A follower begins anew at its leader's log start where nothing that it holds is known to be the
 * leader's. Then it needs what that log no longer says: the last sequences of producers, and the
 * older leader epochs. That is the leader's *state*: its checkpoint's entry, so of nothing but what
 * is committed, in pieces that the follower asks for one by one. Who begins anew is in no ISR.
 */
#ifndef MR_PROTOCOL_H
#define MR_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#include "coord.h"
#include "log/partition.h"
#include "millrace/format.h"

/* ---- what one host says to another about one partition -----------------------------------------
 */

/* Decoded and within bounds (feed_codec.h); what a kind (format.h) does not use is zero. */
struct mr_feed_entry {
	enum mr_feed_kind kind;
	int32_t leader_epoch; /* the sender's; STALE: the newer one */
	uint32_t session;     /* all but STALE */
	int32_t last_epoch;   /* ASK, ANSWER: MR_EPOCH_NONE or an epoch */
	uint64_t offset;     /* ASK, FETCH: log end; ANSWER: that epoch's end; BATCHES: base offset;
				FLUSHED: flushed; WATERMARK: all below was sent; STATE: that it is
				of; ASK_STATE: of the pieces that came already */
	uint64_t end_offset; /* BATCHES: behind the last record */
	uint64_t high_watermark; /* BATCHES, WATERMARK */
	uint64_t log_start;	 /* ANSWER, WATERMARK, STATE */
	uint64_t credit_bytes; /* FETCH, FLUSHED: bytes of batches of this session that may be sent
				  in all */
	uint32_t bytes;	       /* BATCHES, FORWARD: of the batches; STATE: of the piece */
	/* FORWARDED; its session is that of FORWARD, and the protocol knows neither */
	int64_t producer_id;
	int32_t sequence;
	uint32_t refused;
	uint32_t at;	      /* ASK_STATE, STATE: where in the whole state the piece begins */
	uint32_t total_bytes; /* STATE: of the whole */
};

static inline bool mr_feed_has_batches(enum mr_feed_kind kind)
{
	return kind == MR_FEED_BATCHES || kind == MR_FEED_FORWARD;
}

/* ---- the machine -------------------------------------------------------------------------------
 */

struct mr_replica_options {
	uint32_t self;	      /* this node, below MR_NODES_MAX */
	uint64_t incarnation; /* of this engine: rises at each start */
	uint64_t replicas;    /* bit i: node i keeps a copy; self is one of them */
	uint32_t min_insync_replicas;
	uint32_t window_bytes; /* a follower has room for so much that is not in its log yet */
	uint64_t lag_max_ns;   /* a follower not caught up for so long leaves the ISR */
	uint64_t ask_again_ns; /* what is not answered is said again */
	uint64_t heartbeat_ns; /* a leader with nothing to send says where it is; well below
				  ask_again_ns */
	uint64_t quiet_ns;     /* on a watched connection what both know is said again so seldom; 0:
				  as on any other */
	bool lost_data;	       /* R7: leaves every ISR, and leads nothing, before it answers; then
				  it begins anew. So it is for whoever has no entry in the
				  checkpoint (checkpoint.h), and its log counts as empty, from 0 to
				  0 */
	bool damaged; /* with lost_data: some of its log is there yet. Alone in the ISR it stays
			 there: nobody has more, and a person decides what is given up */
	uint32_t state_bytes_max; /* a larger state does not fit here; 0: MR_FEED_STATE_BYTES_MAX */
};

enum mr_role {
	MR_ROLE_NONE,
	MR_ROLE_LEADER,
	MR_ROLE_FOLLOWER,
};

/* Where a follower stands with its leader. */
enum mr_follow_step {
	MR_FOLLOW_ASK,	    /* ASK is to be sent, or sent and not answered */
	MR_FOLLOW_TRUNCATE, /* the log is being cut */
	MR_FOLLOW_FETCH,    /* agreed: FETCH is to be sent, or batches come */
	MR_FOLLOW_STATE,    /* it begins anew: the leader's state comes in pieces */
};

/* A leader's view of another replica. */
struct mr_replica_peer {
	bool connected;
	bool watched;	 /* its connection: as mr_replica_connected() was told */
	bool fetching;	 /* agreed in this epoch, on this connection */
	bool answer_due; /* ASK came: ANSWER is to be sent */
	bool watermark_due;
	int32_t asked_epoch;
	uint32_t session;     /* of its newest ASK or FETCH */
	int32_t stale_epoch;  /* it spoke under a lower epoch: tell it; 0: no */
	uint64_t incarnation; /* of its connection */
	uint64_t sent_offset; /* all below was sent in this session */
	uint64_t sent_bytes;
	uint64_t credit_bytes;
	uint64_t told_watermark;
	uint64_t told_ns;
	uint64_t mark_offset; /* our log end at mark_ns: when it flushed that, it had caught up then
			       */
	uint64_t mark_ns;
	uint64_t caught_up_ns;
	bool state_due; /* ASK_STATE came: a piece is to be sent */
	uint32_t state_at;
	uint64_t state_offset; /* of the pieces that it has */
};

/*
 * One partition's; owned by its worker's thread, as is the partition it drives. While it leads:
 * partition->isr is the maximal ISR (R4), the register's and every one proposed since.
 */
struct mr_replica {
	struct mr_replica_options options;
	struct mr_partition *partition; /* borrowed */
	uint64_t now_ns;
	enum mr_role role;
	struct mr_coord_state known; /* newest seen */
	bool read_due;		     /* somebody has seen a newer epoch */
	uint64_t read_ns;
	/* our proposals against known.version */
	enum mr_proposing {
		MR_PROPOSING_NOTHING,
		MR_PROPOSING,	    /* its answer will come */
		MR_PROPOSING_AGAIN, /* the answer was lost: until the version moves it may be
				       carried out yet */
	} proposing;
	struct mr_coord_proposal proposal;
	uint64_t proposed_ns, first_ns; /* the last one of them, and the first */
	uint64_t proposed_isr;		/* union of all that was proposed against known.version */
	int32_t claimed_epoch;		/* of our own election */
	bool leader_gone;
	bool resigned; /* our session may be over: nothing is led or claimed */
	bool put_off;  /* see mr_replica_put_off() */
	/* following */
	enum mr_follow_step step;
	uint32_t session;
	uint64_t said_ns; /* when ASK or FETCH was last sent; 0: not yet */
	uint64_t truncate_offset;
	bool truncate_reset;
	bool truncate_state;	   /* with the state that came */
	bool void_log;		   /* nobody vouches for what is here: it begins anew first */
	bool uncuttable;	   /* where it parts from the leader's: it begins anew instead */
	uint64_t shown;		   /* the high watermark before that: it does not go back */
	bool truncating;	   /* the action was handed out */
	bool fetch_heard;	   /* the leader answered FETCH */
	uint64_t heard_ns;	   /* when it last said something of this session */
	uint64_t leader_watermark; /* highest heard of */
	uint64_t leader_log_start;
	uint64_t told_flushed;
	uint64_t told_credit;
	uint64_t taken_bytes; /* of this session */
	uint64_t behind_ns;   /* since when the leader has sent more than came; 0: no */
	struct mr_replica_peer peers[MR_NODES_MAX];
	/* the state that this host keeps for others while it leads, ... */
	uint64_t kept_offset;
	uint32_t kept_bytes; /* 0: none */
	bool keeping;	     /* the action was handed out */
	uint64_t kept_ns;    /* when it was last asked for */
	/* ... and the one that comes from its leader */
	uint64_t coming_offset;
	uint32_t coming_bytes;
	uint32_t coming_got; /* all before it is here */
	/* for people */
	uint64_t elections, truncations, shrinks, expansions, refused;
};

/*
 * 'partition' is recovered: its producers, epochs and highest leader epoch; the log is kept from
 * 'log_start' to 'log_end'. It shows no high watermark before somebody leads.
 */
void mr_replica_init(struct mr_replica *replica, const struct mr_replica_options *options,
		     struct mr_partition *partition, uint64_t log_start, uint64_t log_end,
		     uint64_t now_ns);

/* ---- what happened -----------------------------------------------------------------------------
 */

/* Monotonic; before whatever else happened in the turn. */
void mr_replica_time(struct mr_replica *replica, uint64_t now_ns);
/* Any event of the coordinator for this partition. */
void mr_replica_coordinated(struct mr_replica *replica, const struct mr_coord_event *event);
/*
 * A connection with a node is there (its handshake done), or gone. 'watched': it ends by itself
 * when the other host falls silent, so a partition of which there is nothing new may be silent.
 */
void mr_replica_connected(struct mr_replica *replica, uint32_t node, uint64_t incarnation,
			  bool watched);
void mr_replica_disconnected(struct mr_replica *replica, uint32_t node);
/* All kinds but BATCHES and OPEN. What fits nothing is counted and dropped. */
void mr_replica_received(struct mr_replica *replica, uint32_t node,
			 const struct mr_feed_entry *entry);

/* What to do with BATCHES. */
enum mr_take {
	MR_TAKE_APPEND, /* append all of it, then call mr_replica_took() */
	MR_TAKE_DROP,	/* not now, not from there, or in the log already */
};
enum mr_take mr_replica_take(struct mr_replica *replica, uint32_t node,
			     const struct mr_feed_entry *entry);
/* It is in the log (the partition says so); not flushed yet. */
void mr_replica_took(struct mr_replica *replica, const struct mr_feed_entry *entry);
/* partition->flushed rose (mr_partition_flushed() was called). True: so did the high watermark. */
bool mr_replica_flushed(struct mr_replica *replica);
/*
 * MR_ACTION_TRUNCATE was carried out, durably, and the partition recovered anew, in the same place:
 * it is kept from 'log_start' to 'log_end'.
 */
void mr_replica_truncated(struct mr_replica *replica, uint64_t log_start, uint64_t log_end);

/*
 * As leader, after MR_ACTION_KEEP_STATE: 'bytes' of it are kept (mr_checkpoint_encode_state()), of
 * the newest entry that is in the checkpoint; 'offset' is the entry's. 0 bytes: not now.
 */
void mr_replica_keeps_state(struct mr_replica *replica, uint64_t offset, uint32_t bytes);
/*
 * A piece of STATE came. MR_TAKE_APPEND: entry->bytes of it stand at entry->at of the whole;
 * nothing else is to be told.
 */
enum mr_take mr_replica_take_state(struct mr_replica *replica, uint32_t node,
				   const struct mr_feed_entry *entry);
/*
 * Instead of mr_replica_truncated(); nothing was done. With a state: it is none (decoding says
 * why). Else the log cannot be cut there, since what the records before say of producers stands in
 * segments that are gone: it begins anew.
 */
void mr_replica_not_truncated(struct mr_replica *replica);

/* ---- what to do --------------------------------------------------------------------------------
 */

struct mr_replica_action {
	enum mr_action_kind {
		MR_ACTION_NOTHING,
		MR_ACTION_READ,	      /* the register, again */
		MR_ACTION_PROPOSE,    /* 'proposal' to the coordinator */
		MR_ACTION_TRUNCATE,   /* the log to 'offset', with the whole batch that holds it;
					 with 'reset' all of it, to begin anew there, with
					 'state' by what came of that. Then
					 mr_replica_truncated() */
		MR_ACTION_SEND,	      /* 'entry' to 'node'; with STATE entry.bytes of the state that
					 is kept, from entry.at on */
		MR_ACTION_KEEP_STATE, /* for others: then mr_replica_keeps_state(), by and by */
		MR_ACTION_DROP_STATE, /* nobody wants what is kept any more */
	} kind;
	uint32_t node;
	uint64_t offset;
	bool reset;
	bool state;
	struct mr_coord_proposal proposal;
	struct mr_feed_entry entry;
};

/*
 * The next thing to do; taking it counts as having done it (or, for a message, as having sent it:
 * one that is lost is said again in time). 'sendable' has bit i set while node i's connection takes
 * messages: nothing else is asked to be sent.
 */
struct mr_replica_action mr_replica_next(struct mr_replica *replica, uint64_t sendable);

/*
 * Batches that 'node' may be sent now: from *offset on, at most the returned number of bytes; 0:
 * not now. After sending: mr_replica_sent(), 'entry' as it went out.
 */
uint64_t mr_replica_sendable(const struct mr_replica *replica, uint32_t node, uint64_t *offset);
void mr_replica_describe(const struct mr_replica *replica, uint32_t node,
			 struct mr_feed_entry *entry); /* BATCHES: all but offset, end and bytes */
void mr_replica_sent(struct mr_replica *replica, uint32_t node, const struct mr_feed_entry *entry);

/*
 * Whether nothing is due but what is said every quiet_ns, or when members of the ISR are late:
 * until something happens, nobody has to look often.
 */
bool mr_replica_is_quiet(const struct mr_replica *replica);

/*
 * As leader: batches that come soon will say how far is committed. While 'put_off' a high watermark
 * that rose is told by them alone; by a message of its own only where one is due anyway. For a few
 * turns of a loop: a follower shows nothing of it before it was told.
 */
void mr_replica_put_off(struct mr_replica *replica, bool put_off);
/* As leader: somebody that takes our batches was not told yet how far is committed. */
bool mr_replica_untold(const struct mr_replica *replica);

/* Whether producers may append. What consumers may see is partition->high_watermark. */
bool mr_replica_leads(const struct mr_replica *replica);

#endif
