/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replicated partition, besides what every partition has: the protocol's state, what goes to the
 * other replicas and what came from them. Shared by worker_replica.c (the protocol's part of a
 * turn), worker_parcels.c (batches out of the tail to the others) and worker.c; all of it is the
 * worker's thread's from the moment that it was added.
 */
#ifndef MR_WORKER_REPLICA_H
#define MR_WORKER_REPLICA_H

#include "tail_cursor.h"
#include "worker_anew.h"
#include "worker_state.h"

/* One is filled while the other is being sent. */
#define MR_REPLICA_PARCELS 2
/* One comes back while the other is with the feed, and nobody waits for it. */
#define MR_REPLICA_ENTRIES 2
#define MR_REPLICA_MARKS   256

struct mr_replica_parcel {
	struct mr_feed_parcel parcel; /* first; parcel.owner: struct mr_worker_replica */
	uint64_t position;	      /* of its first byte; MR_TAIL_NO_HOLD: not in the tail */
	bool out;
};

/* What another host forwards to this one, while it leads. */
struct mr_replica_taken {
	uint64_t connection;
	uint32_t session; /* of that connection; another one begins anew */
	bool refused;	  /* nothing more of this session is taken */
	bool due;	  /* FORWARDED is to be sent */
	uint64_t taken_bytes;
	uint64_t told_credit;
	struct mr_feed_entry refusal;
};

/*
 * What this host forwards to the leader: batches of its own lanes, encoded into buffers, since they
 * have no place in a log yet. 'waiting': sent, in their order, and not in our log yet.
 */
struct mr_replica_forwarder {
	uint32_t session;
	bool broken; /* the leader refused something: another session is due */
	bool may;    /* at the end of the last turn: lanes are looked at */
	int32_t epoch;
	uint64_t connection;
	uint64_t sent_bytes;
	uint64_t credit_bytes;
	uint32_t buffer_bytes;
	struct mr_answers waiting;
	struct mr_replica_parcel parcels[MR_REPLICA_PARCELS];
	uint8_t *buffers[MR_REPLICA_PARCELS]; /* not touched before they are needed */
};

/* To one other replica. */
struct mr_replica_link {
	uint32_t node;
	uint32_t busy; /* of 'batches', out */
	struct mr_replica_parcel entries[MR_REPLICA_ENTRIES];
	struct mr_replica_parcel batches[MR_REPLICA_PARCELS];
	struct mr_tail_cursor cursor; /* over our own tail */
	uint64_t cursor_offset;	      /* of the batch there; MR_OFFSET_UNKNOWN: nowhere */
	uint64_t retry_ns;	      /* its segments could not be read: not before */
	bool catching_up;	      /* one of 'batches' is out for it, the only one */
	struct mr_replica_taken taken;
};

/* Where in the log an offset stands that is a group's end. */
struct mr_replica_mark {
	uint64_t offset;
	uint64_t position;
};

struct mr_worker_replica {
	struct mr_replica machine;
	struct mr_worker_replica_view view;
	struct mr_worker_partition *partition;
	struct mr_worker_message read, propose, truncate;
	bool read_out, propose_out;
	struct mr_worker_anew anew;
	/* batches that came and are not in the log yet, in order */
	struct mr_feed_arrival *arrivals, **arrivals_end;
	uint32_t parcels_out;
	/* as noted at the last turn */
	enum mr_role role;
	int32_t role_epoch;
	uint64_t isr;
	uint64_t view_ns;
	uint64_t leader_end; /* following: all below was sent, as the leader said */
	/* the high watermark as published, and where it stands: see position_of() */
	uint64_t committed;
	bool rose; /* in 'rose_turn', which answered producers, and not all others were told yet */
	uint32_t rose_turn;
	struct mr_tail_cursor committed_cursor;
	struct mr_replica_mark marks[MR_REPLICA_MARKS]; /* flushed, above 'committed' */
	uint32_t mark_count;
	bool mail_seen; /* removing: the port was empty after nothing more could be put in */
	struct mr_replica_forwarder forwarder;
	uint32_t link_count;
	struct mr_replica_link links[]; /* by node */
};

/* ---- worker_parts.c: control thread ---- */

int mr_worker_replica_new(struct mr_worker_partition *partition,
			  const struct mr_worker_partition_options *options, struct mr_error *err);
void mr_worker_replica_free(struct mr_worker_replica *replica); /* takes NULL */

/* ---- worker_replica.c ---- */

/* How long it may park: 'most', or less where a partition has something to say in time. */
uint32_t mr_worker_replica_park_ms(const struct mr_worker *worker, uint32_t most);

/* The partition is the worker's now; what is connected is told to the protocol. */
void mr_worker_replica_added(struct mr_worker *worker, struct mr_worker_partition *partition);
/* partition->cut was let go by this worker: its lanes, watches and replica are the new one's. */
void mr_worker_replica_moved(struct mr_worker *worker, struct mr_worker_partition *partition);
/* A request for it: nothing of what it took is answered any more. */
void mr_worker_replica_removing(struct mr_worker_partition *partition);
/* True when nothing is out with the feed, or waits. */
bool mr_worker_replica_settled(struct mr_worker *worker, struct mr_worker_partition *partition);
/* Once a turn, before anything else. */
void mr_worker_replica_time(struct mr_worker *worker);
/* Once a turn: what the feed brought. Returns how much. */
uint32_t mr_worker_replica_mail(struct mr_worker *worker);
/* Once a turn and partition, before its lanes: who leads, what came. */
void mr_worker_replica_begin(struct mr_worker *worker, struct mr_worker_partition *partition);
/* After its lanes: the high watermark; returns whether it rose. */
bool mr_worker_replica_commit(struct mr_worker *worker, struct mr_worker_partition *partition);
/* At its end: what the protocol wants. */
void mr_worker_replica_act(struct mr_worker *worker, struct mr_worker_partition *partition);
/* Before a sleep: nothing stays untold. True: something was told only now. */
bool mr_worker_replica_tell(struct mr_worker *worker);
/* The log has flushed up to state.flushed, which stands at 'position'. */
void mr_worker_replica_flushed(struct mr_worker_partition *partition, uint64_t position);
void mr_worker_replica_failed(struct mr_worker_partition *partition);
void mr_worker_replica_coordinated(struct mr_worker_partition *partition,
				   const struct mr_coord_event *event);
/* MR_WORKER_COORDINATE is back, or what worker_anew.h says. */
void mr_worker_replica_returned(struct mr_worker_message *message);
/* Whether its lanes are drained into its own log. */
static inline bool mr_worker_replica_drains(const struct mr_worker_replica *replica)
{
	return mr_replica_leads(&replica->machine);
}
/* Nothing that was taken from its lanes is answered: it will be taken again. */
void mr_worker_replica_rewind(struct mr_worker_partition *partition);
/* False: no room for it now. 'header' has base offset and leader epoch as they are to be. */
bool mr_worker_replica_append(struct mr_worker *worker, struct mr_worker_partition *partition,
			      const uint8_t *bytes, const struct mr_batch_header *header);
/* Room for a batch of that size; NULL: none now. */
uint8_t *mr_worker_replica_reserve(struct mr_worker *worker, struct mr_worker_partition *partition,
				   uint32_t bytes);
/* The batch that was written to 'at'. */
void mr_worker_replica_appended(struct mr_worker *worker, struct mr_worker_partition *partition,
				const uint8_t *at, const struct mr_batch_header *header);

/* ---- worker_forward.c ---- */

/* As a host that does not lead: what its lanes hold, to the leader. */
void mr_worker_forward(struct mr_worker *worker, struct mr_worker_partition *partition);
/* What came back into our log by replication is answered. */
void mr_worker_forward_settle(struct mr_worker *worker, struct mr_worker_partition *partition);
/* FORWARDED. */
void mr_worker_forward_heard(struct mr_worker *worker, struct mr_worker_partition *partition,
			     uint32_t node, const struct mr_feed_entry *entry);
/* As the leader: FORWARD. False: no room for all of it now; what was taken is cut off its front. */
bool mr_worker_forward_take(struct mr_worker *worker, struct mr_worker_partition *partition,
			    struct mr_feed_arrival *arrival);
/* FORWARDED to those who are to hear. */
void mr_worker_forward_answer(struct mr_worker *worker, struct mr_worker_replica *replica);

/* ---- worker_parcels.c ---- */

/* Nodes that an entry may be sent to now. */
uint64_t mr_worker_parcels_sendable(const struct mr_worker *worker,
				    struct mr_worker_replica *replica);
void mr_worker_parcels_send_entry(struct mr_worker *worker, struct mr_worker_replica *replica,
				  uint32_t node, const struct mr_feed_entry *entry);
/* Batches to all that may have some, as the leader. */
void mr_worker_parcels_send_batches(struct mr_worker *worker, struct mr_worker_replica *replica);
struct mr_replica_link *mr_worker_parcels_link(struct mr_worker_replica *replica, uint32_t node);
/* For an entry; NULL: none now. */
struct mr_replica_parcel *mr_worker_parcels_free_entry(struct mr_replica_link *link);
/* Whether something cannot go on before a parcel is back. */
bool mr_worker_parcels_awaited(struct mr_worker *worker);
void mr_worker_parcels_send(struct mr_worker *worker, struct mr_worker_replica *replica,
			    uint32_t node, struct mr_replica_parcel *sent);
void mr_worker_parcels_returned(struct mr_worker *worker, struct mr_feed_parcel *parcel);
/* A view of our own tail. */
struct mr_tail_view mr_worker_tail_view(const struct mr_worker_partition *partition);

#endif
