/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one pinned thread that owns partitions. Everything that enters a partition passes
 * through one turn of its loop (worker.c), and nothing else ever touches the partition's state, log
 * or tail.
 *
 * The control thread talks to it by messages. A message belongs to whoever received it last: the
 * control thread makes it, the worker carries it out and sends the same message back with a status.
 * Besides, the worker sends on its own account: log events (one out at a time per partition),
 * poisoned lanes, and wakers. All of these live in memory that was made when the partition, lane or
 * watch was added, so a worker never allocates.
 */
#ifndef MR_WORKER_H
#define MR_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/io.h"
#include "base/place.h"
#include "lane.h"
#include "log/compress.h"
#include "log/log.h"
#include "log/partition.h"
#include "replica/coord.h"
#include "replica/feed.h"
#include "replica/protocol.h"
#include "tail.h"

#define MR_WORKER_PARTITIONS_MAX 1024
#define MR_WORKER_LANES_MAX	 4096  /* per partition */
#define MR_WORKER_WATCHES_MAX	 4096  /* per partition */
#define MR_WORKER_GUESTS_MAX	 16384 /* lanes and watches of a worker: its mailbox has room */

struct mr_worker;
struct mr_worker_partition;
struct mr_worker_lane;

enum mr_worker_message_kind {
	/* control -> worker -> control: requests, returned when done */
	MR_WORKER_ADD_PARTITION,    /* partition */
	MR_WORKER_REMOVE_PARTITION, /* partition; status -ENOENT: its topic is deleted, -ESHUTDOWN:
				       the engine stops. Back when its lanes are closed and its
				       writes done. -ESTALE: its log is to be cut (below) */
	MR_WORKER_ADD_LANE,	    /* lane. Back with offset: the sequence expected next */
	MR_WORKER_CLOSE_LANE,	    /* lane: what was published is taken and answered first */
	MR_WORKER_ADD_WATCH,	    /* partition, waker */
	MR_WORKER_REMOVE_WATCH,	    /* partition, waker */
	MR_WORKER_SEGMENT_NAMED,    /* partition, segment; status -ENOSPC: it never will be */
	MR_WORKER_GIVE_SPARE,	    /* partition, segment */
	MR_WORKER_LOG_START,	    /* partition, offset; segment: the newest that ends below it */
	MR_WORKER_OFFSETS_RESERVED, /* partition in memory; offset: mr_log_raise_limit() */
	MR_WORKER_APPEND,	    /* partition, state: one batch for its log, as the engine writes
				       them for itself: no producer's. Back with its offset as soon
				       as it is appended; -ESTALE: this host does not lead;
				       -EAGAIN: no room now */
	MR_WORKER_SNAPSHOT,	    /* partition, snapshot, expire_before_ms: back when all of it is
				       durable */
	MR_WORKER_FAIL,		    /* the data directory failed: every partition ends (D3) */
	MR_WORKER_COORDINATED, /* partition, coordinated: an event of its coordinator. Replicated
				  partitions only, as is REMOVE_PARTITION with -ESTALE */
	/* worker -> control -> worker: returned when handled */
	MR_WORKER_LOG_EVENT,  /* partition, event */
	MR_WORKER_COORDINATE, /* partition, proposal to its coordinator; version 0: read its
				 register */
	MR_WORKER_TRUNCATE,   /* partition, offset, reset, state: the log is to be cut there
				 (below). Returned only where the state is none, and nothing was
				 done */
	MR_WORKER_KEEP_STATE, /* partition. Back with the state for who begins anew, and its
				 offset; 0 bytes: there is none now */
	MR_WORKER_STATE_ROOM, /* partition, state, state_bytes. Back with memory for so many in its
				 place, or none */
	/* worker -> control */
	MR_WORKER_LANE_POISONED, /* lane: the client wrote nonsense, or its partition ended */
	MR_WORKER_LOG_FAILED,	 /* partition: a write failed, status says how */
	MR_WORKER_WAKE,		 /* waker */
};

/* What a checkpoint needs of a partition. producers and epochs have room for its tables. */
struct mr_worker_snapshot {
	struct mr_log_state log;
	uint64_t log_end;
	uint64_t log_start;
	struct mr_producer_entry *producers;
	uint32_t producer_count;
	struct mr_epoch *epochs;
	uint32_t epoch_count;
};

/* A sleeping client: a flag on a page of its own, and its doorbell. Rung by the control thread. */
struct mr_waker {
	const _Atomic uint32_t *waiting; /* the client's: may say anything */
	int bell_fd;
	_Atomic bool
		sent; /* on its way to the control thread (W10 set by worker, cleared by control) */
	void *owner;  /* the control thread's own */
	struct mr_worker_message *message; /* MR_WORKER_WAKE, made by mr_waker_init() */
};

struct mr_worker_message {
	enum mr_worker_message_kind kind;
	int status;
	struct mr_worker_partition *partition;
	struct mr_worker_lane *lane;
	struct mr_waker *waker;
	struct mr_segment *segment;
	struct mr_worker_snapshot *snapshot;
	struct mr_log_event event;
	struct mr_coord_event coordinated;
	struct mr_coord_proposal proposal;
	uint64_t offset;
	bool reset;
	uint8_t *state; /* owned by whoever has the message; TRUNCATE, APPEND: by the control
			   thread */
	uint32_t state_bytes;
	int64_t expire_before_ms;	/* SNAPSHOT: producers quiet since then are forgotten */
	void *owner;			/* the control thread's own */
	struct mr_worker_message *next; /* of those held until the worker's mailbox has room; of
					   APPENDs that the worker has */
};

/*
 * How a replicated partition stands, for people: written by its worker, read by the control thread,
 * each number by itself (relaxed). Times are the monotonic clock's.
 */
enum mr_out_of_sync {
	MR_OUT_NOT_KNOWN, /* it was out before this host led */
	MR_OUT_AWAY,	  /* it was not connected */
	MR_OUT_APART,	  /* it had not agreed with this leader where their logs part */
	MR_OUT_LATE,	  /* it got what there is, and did not say that it has it on disk */
	MR_OUT_ITSELF,	  /* it said so: it lost its data, or begins anew */
};

struct mr_worker_replica_view {
	_Atomic uint32_t role; /* enum mr_role */
	_Atomic uint32_t step; /* enum mr_follow_step */
	_Atomic int32_t leader;
	_Atomic int32_t leader_epoch;
	_Atomic uint64_t isr;
	_Atomic uint64_t leader_end;	   /* following: all below was sent */
	_Atomic uint64_t leader_watermark; /* following */
	_Atomic uint64_t truncations, refused;
	struct mr_worker_replica_peer_view {
		_Atomic uint64_t flushed;      /* leading */
		_Atomic uint64_t caught_up_ns; /* leading: last time it was */
		_Atomic uint64_t changed_ns;   /* leading: in or out of the ISR since */
		_Atomic uint32_t why;	       /* enum mr_out_of_sync: of the last time it left */
		_Atomic uint64_t sent_offset;
	} peers[MR_NODES_MAX];
};

/* Counters of a partition and of a worker; each written by the worker only. */
enum mr_partition_counter {
	MR_COUNT_RECORDS, /* appended */
	MR_COUNT_BATCHES,
	MR_COUNT_BYTES,	      /* of batches */
	MR_COUNT_PLAIN_BYTES, /* that they would have without compression */
	MR_COUNT_GROUPS,      /* written */
	MR_COUNT_GROUP_BYTES, /* with headers and padding */
	MR_COUNT_DUPLICATES,  /* records dropped because the log had them */
	MR_COUNT_POISONED,    /* lanes closed for what their clients wrote */
	MR_COUNT_TAIL_FULL,   /* turns in which a lane had to wait because the disk was behind */
	MR_COUNT_NO_SEGMENT,  /* turns in which a lane had to wait for the next segment */
	MR_GAUGE_LOG_END,
	MR_GAUGE_FLUSHED,
	MR_GAUGE_HIGH_WATERMARK,
	MR_GAUGE_LANES,
	MR_GAUGE_PRODUCERS,
	MR_PARTITION_COUNTERS,
};
enum mr_worker_counter {
	MR_COUNT_TURNS,
	MR_COUNT_BUSY_TURNS,
	MR_COUNT_PARKS,
	MR_COUNT_RESTS, /* after small takes */
	MR_GAUGE_LONGEST_TURN_NS,
	MR_GAUGE_IN_FLIGHT,
	MR_WORKER_COUNTERS,
};
extern const char *const mr_partition_counter_names[MR_PARTITION_COUNTERS];
extern const char *const mr_worker_counter_names[MR_WORKER_COUNTERS];

/* ---- what the control thread makes and hands over ----------------------------------------------
 */

/*
 * A replicated partition whose log is to be cut changes places with one that is made of what is
 * left, and neither a lane nor a watch notices:
 *
 *	worker	MR_WORKER_TRUNCATE (partition, offset, reset, state). Nothing is appended from here
 *		on
 *	control	mr_feed_unroute(), and when the feed says that it is unrouted
 *		MR_WORKER_REMOVE_PARTITION with status -ESTALE
 *	worker	returns it when nothing of the partition is out any more: writes, the log event,
 *		parcels; a snapshot comes back with -ECANCELED. The worker keeps it, at rest, for
 *		its lanes, watches and replica: they may be added, closed and removed as ever
 *		(with 'partition' the old one), and COORDINATED is heard
 *	control	mr_worker_partition_close_log(), closes its own half of the log; by a chore
 *		mr_log_truncate() and mr_recover(); mr_worker_partition_new() with
 *		options.replica as before, options.cut = the old one, and the state started at
 *		what recovery found; MR_WORKER_ADD_PARTITION of the new one
 *	worker	moves lanes, watches and replica, closes the old tail for its readers, goes on
 *	control	when that is back with status 0: mr_worker_partition_free() of the old one,
 *		mr_feed_route() of the new one; all requests name the new one from its
 *		ADD_PARTITION on
 *
 * In between who wants to read older records is to be told to come again (-EAGAIN), not that
 * there are none. Where the cut fails, or the engine stops or the topic is deleted meanwhile, the
 * old one is removed as any other, by a second MR_WORKER_REMOVE_PARTITION with -ESHUTDOWN or
 * -ENOENT; while the first one is out, that one comes back before.
 *
 * The state of a replicated partition is started (mr_partition_start()) with the highest leader
 * epoch that recovery found in its log or in the checkpoint, not with the engine's: under which
 * epoch it leads or follows says its register. 'replica' is not looked at where 'read_only' is set.
 * mr_feed_route() takes the partition as 'owner', after its ADD_PARTITION is back.
 */
struct mr_worker_partition_options {
	uint64_t tail_bytes;
	uint8_t topic_id[16];
	int32_t partition;
	int32_t node;		      /* NUMA node of the worker */
	bool read_only;		      /* its log is damaged: nothing is taken */
	const char *read_only_reason; /* borrowed for the call */
	struct mr_log_options log;
	struct mr_log_start start;
	struct mr_compressor *compressor; /* borrowed: mr_worker_compressor(); NULL: of no use */
	enum mr_config_compression compression;
	const struct mr_replica_options *replica; /* NULL: kept on this host alone; else copied */
	struct mr_worker_partition *cut; /* let go of by its worker after MR_WORKER_TRUNCATE: its
					    replica goes on in the new one; it is freed after */
	_Atomic uint64_t *counters[MR_PARTITION_COUNTERS];
	void *owner; /* the control thread's own, in messages about the partition */
};

/*
 * 'state' is taken (moved): recovered and started. The tail is made and bound to its node; it has
 * no memory before mr_worker_partitions_populate().
 */
int mr_worker_partition_new(const struct mr_worker_partition_options *options,
			    struct mr_partition *state, struct mr_worker_partition **out,
			    struct mr_error *err);
/*
 * Takes the memory of their tails, all of it, before a worker has them: by as many threads as
 * there are cores, of several partitions, since what takes the time is the kernel's zeroing.
 * -ENOMEM.
 */
int mr_worker_partitions_populate(struct mr_worker_partition *const *partitions, size_t count,
				  struct mr_error *err);
/*
 * The same of one, some bytes at a time: '*done' counts them, 0 at first. 1: all of it is there; 0:
 * there is more to do; -ENOMEM.
 */
int mr_worker_partition_populate(struct mr_worker_partition *partition, uint64_t *done,
				 uint64_t bytes, struct mr_error *err);
/* Only while no worker has it. Gives back the segments it still held. */
void mr_worker_partition_free(struct mr_worker_partition *partition);
/* After MR_WORKER_REMOVE_PARTITION with -ESTALE is back: those segments already now. */
void mr_worker_partition_close_log(struct mr_worker_partition *partition);
/*
 * Where its log ended, after the worker let go: offset and position behind the last group. Both 0
 * when something was not written, or nobody knows.
 */
void mr_worker_partition_ended(const struct mr_worker_partition *partition, uint64_t *offset,
			       uint64_t *position);
/* Which leader epochs its log has, and its end: after REMOVE_PARTITION with -ESTALE is back. */
const struct mr_epochs *mr_worker_partition_epochs(const struct mr_worker_partition *partition,
						   uint64_t *log_end);
/* For handing out: constant while the partition lives. */
const struct mr_tail *mr_worker_partition_tail(const struct mr_worker_partition *partition);
/* NULL: kept on this host alone. Lives as long as the partition. */
const struct mr_worker_replica_view *
mr_worker_partition_replica(const struct mr_worker_partition *partition);

struct mr_worker_lane_options {
	struct mr_worker_partition *partition;
	struct mr_lane_reader reader; /* taken */
	struct mr_lane_identity identity;
	int bell_to_client; /* borrowed until the lane is back */
	bool resumed;	    /* handed back: the first frame says where it goes on */
	bool repeats;	    /* what it publishes may have been in a lane before this one */
	void *owner;
};
struct mr_worker_lane *mr_worker_lane_new(const struct mr_worker_lane_options *options);
void mr_worker_lane_free(struct mr_worker_lane *lane);
void *mr_worker_lane_owner(const struct mr_worker_lane *lane);
/* After MR_WORKER_LANE_POISONED. */
const char *mr_worker_lane_reason_text(const struct mr_worker_lane *lane);
/* Frees a lane that no worker ever had, without its reader. */
void mr_worker_lane_forget(struct mr_worker_lane *lane);

int mr_waker_init(struct mr_waker *waker, const _Atomic uint32_t *waiting, int bell_fd,
		  void *owner);
void mr_waker_deinit(struct mr_waker *waker);
/* Control thread, on MR_WORKER_WAKE: rings. */
void mr_waker_ring(struct mr_waker *waker);

/* ---- the thread ---------------------------------------------------------------------------------
 */

struct mr_worker_options {
	uint32_t number;
	const struct mr_place_entry *place; /* copied */
	struct mr_io *io;
	const struct mr_clock *clock;
	enum mr_config_idle idle;
	uint32_t groups_in_flight;
	struct mr_feed_port *port; /* NULL: there are no peers */
	_Atomic uint64_t *counters[MR_WORKER_COUNTERS];
};

/* Starts the thread and waits until its queue is open. */
int mr_worker_start(const struct mr_worker_options *options, struct mr_worker **out,
		    struct mr_error *err);
/* Every partition must have been removed. Joins the thread. Takes NULL. */
void mr_worker_stop(struct mr_worker *worker);

/* Control thread only. -EAGAIN: the worker is very far behind; for requests that may be refused. */
int mr_worker_post(struct mr_worker *worker, struct mr_worker_message *message);
/* Control thread only. Never fails: what finds no room is held, in order, and follows. */
void mr_worker_send(struct mr_worker *worker, struct mr_worker_message *message);
struct mr_worker_message *mr_worker_take(struct mr_worker *worker); /* NULL: none */
/* Sleeping on the worker's answers: as mr_mailbox_fd(), _sleep(), _wake(). */
int mr_worker_fd(const struct mr_worker *worker);
bool mr_worker_sleep(struct mr_worker *worker);
void mr_worker_wake(struct mr_worker *worker);
/*
 * Control thread only. For partitions of this worker with compression, whose batches are of at most
 * so many bytes: the same for all. Lives as long as the worker; made when it is first asked for.
 */
int mr_worker_compressor(struct mr_worker *worker, uint32_t batch_bytes_max,
			 struct mr_compressor **out, struct mr_error *err);
/* The doorbells that wake it: add a lane's bell_to_worker here before the lane. */
int mr_worker_bells(const struct mr_worker *worker);

#endif
