/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What worker.c (the thread and its turn), worker_lane.c (one drain of one lane), worker_wait.c
 * (what follows a turn), worker_calls.c (the control thread's side) and worker_parts.c share. What
 * is not said to be another's belongs to the worker's thread once it was added.
 */
#ifndef MR_WORKER_STATE_H
#define MR_WORKER_STATE_H

#include <pthread.h>

#include "counters.h"
#include "log/compress.h"
#include "worker.h"

#define MR_RUNG_LANES  256  /* bells that the worker remembers the lane of; a power of two */
#define MR_ANSWERS_MAX 4096 /* batches waiting for their acks level; a power of two */

/* A drained batch that is not answered yet. */
struct mr_answer {
	struct mr_worker_lane *lane;
	uint64_t end_offset;  /* answered when this much is safe */
	uint64_t base_offset; /* MR_OFFSET_UNKNOWN: in the log already, place not remembered */
	uint64_t next_number;
	uint32_t index; /* of the lane, to acknowledge */
	uint32_t count;
};

/* First in, first out: offsets only rise. */
struct mr_answers {
	struct mr_answer *slots; /* MR_ANSWERS_MAX */
	uint32_t head, tail;	 /* free-running: head - tail are in use */
};

struct mr_worker_lane {
	struct mr_worker_partition *partition;
	struct mr_lane_reader reader;
	struct mr_waker waker;
	struct mr_worker_message poisoned; /* sent once */
	struct mr_worker_message
		*closing;     /* the request, returned when the lane is empty and answered */
	uint32_t close_index; /* take what was published up to here */
	uint32_t unanswered;
	int64_t producer_id;
	int16_t producer_epoch;
	enum mr_acks acks;
	enum mr_lane_reason reason;
	uint32_t forwarded; /* of 'unanswered': sent to the leader, not in our log yet */
	bool resumed;	    /* handed back, not looked at yet */
	bool raised;	    /* when it was handed back, its producer epoch was */
	bool stopped;	    /* nothing more is taken from it */
	bool asleep;	    /* as its engine page says: the producer rings when it publishes */
	bool repeats;	    /* whatever it publishes may have been taken of another lane before */
	bool again;	    /* what lies before 'again_index' may have been taken before */
	uint32_t again_index;
	uint32_t place; /* in partition->lanes */
	struct mr_worker_lane *next_answered;
	void *owner;
};

struct mr_worker_partition {
	struct mr_partition state;
	struct mr_tail tail;
	struct mr_log *log;	/* NULL until the worker opens it, and in read-only partitions */
	struct mr_log *cut_log; /* 'log' once this rests: the control thread's to close */
	struct mr_log_options log_options;
	struct mr_log_start start;
	struct mr_io_file *files[2]; /* registered: the active segment's, and the one before it,
					where writes may still be out */
	struct mr_worker_lane **lanes;
	struct mr_worker_lane *answered; /* in this turn: their producers may sleep */
	struct mr_waker **watches;
	struct mr_answers disk;		/* acks = disk: answered when flushed */
	struct mr_answers committed;	/* acks = committed: answered at the high watermark */
	struct mr_worker_message event; /* MR_WORKER_LOG_EVENT: one out at a time */
	struct mr_worker_message failure;
	struct mr_worker_message *removing;
	struct mr_worker_message *snapshot; /* waits until it is durable */
	struct mr_worker_message *appends;  /* MR_WORKER_APPEND, newest first, of this turn */
	struct mr_worker_replica *replica;  /* NULL: kept on this host alone (worker_replica.h) */
	struct mr_worker_partition *cut;    /* until it is added: whose replica and lanes it gets */
	struct mr_compressor *compressor;   /* its worker's; NULL: nothing is compressed */
	enum mr_config_compression compression;
	_Atomic uint64_t *counters[MR_PARTITION_COUNTERS];
	uint32_t lane_count;
	uint32_t watch_count;
	uint32_t next_lane; /* whose turn it is to be first */
	int32_t node;
	bool event_out;
	bool snapshot_taken; /* of 'snapshot': only its becoming durable is waited for */
	bool read_only;
	bool failed;
	bool failure_sent;
	bool nameless;	       /* its active segment cannot be named before the engine stops */
	bool waiting_for_room; /* a lane has data that nothing can be done about now */
	bool resting;	       /* its log is being cut: it only keeps what the next one gets */
	char read_only_reason[248];
};

static inline bool mr_worker_compresses(const struct mr_worker_partition *partition)
{
	return partition->compression != MR_CONFIG_COMPRESSION_NONE;
}

/* What a turn took out of lanes. */
struct mr_worker_taken {
	uint32_t lanes; /* that had something */
	uint32_t frames;
	uint32_t bytes;
};

/* Another host, as the feed said last. */
struct mr_worker_node {
	uint64_t connection;
	uint64_t incarnation;
	uint64_t capabilities;
};

/* One pinned thread; worker.c owns it, worker_calls.c the part that is the control thread's. */
struct mr_worker {
	struct mr_worker_options options;
	struct mr_place_entry place;
	pthread_t thread;
	struct mr_mailbox *requests; /* control -> worker */
	struct mr_mailbox *answers;  /* worker -> control */
	int bells;		     /* epoll: lanes' doorbells and the requests' bell */
	struct mr_io_queue *queue;
	struct mr_worker_partition **partitions;
	uint32_t partition_count;
	uint32_t in_flight;
	uint32_t prompt_lanes; /* with acks = memory */
	uint32_t pauses;       /* of the last rest: mr_worker_pauses() */
	struct mr_worker_taken taken;
	int rung; /* the bell that ended the sleep before this turn; -1: none, or found */
	struct mr_worker_lane *rung_lanes[MR_RUNG_LANES]; /* by bell: see look_where_it_rang() */
	uint64_t longest_turn_ns;
	uint64_t now_ns;	/* at the beginning of the turn */
	uint32_t replica_count; /* of replicated partitions */
	uint32_t park_ms;	/* at most, so that they say in time what is due */
	uint32_t replica_work;	/* of this turn */
	uint32_t turns;		/* free-running */
	uint32_t idle;		/* turns in a row that found nothing to do, before this one */
	bool untold;		/* a high watermark rose and is put off: see worker_replica.c */
	uint64_t connected;	/* bit i: node i is */
	struct mr_worker_node nodes[MR_NODES_MAX];
	struct mr_worker_message *held, **held_end; /* the control thread's: see mr_worker_send() */
	struct mr_compressor *compressor; /* made by the control thread, used by partitions here */
	/* start-up: the thread says how it went */
	pthread_mutex_t start_lock;
	pthread_cond_t started;
	int start_status; /* 1: not yet */
	struct mr_error start_error;
	_Atomic bool stop; /* W11 set by mr_worker_stop(), read each turn */
};

struct mr_lane_drain {
	uint32_t frames;
	uint32_t bytes; /* of the lane */
	bool no_room;
};

/* worker_lane.c: one drain of one lane: at most one batch. The clock is read if there is one. */
struct mr_lane_drain mr_worker_drain(struct mr_worker_partition *partition,
				     struct mr_worker_lane *lane, const struct mr_clock *clock);
/* Where a batch for another host's log is put. */
struct mr_worker_letter {
	uint8_t *at;
	uint32_t room;
	uint64_t offset;
	bool compressed; /* it may be */
	uint64_t plain_bytes;
};
/*
 * One batch of a lane for another host's log; *bytes: its size, 0: none; letter->plain_bytes: what
 * it would have without compression. What our own log has is
 * dropped and answered. What that host may know a part of is not compressed: it drops that record
 * by record.
 */
struct mr_lane_drain mr_worker_drain_for_leader(struct mr_worker_partition *partition,
						struct mr_worker_lane *lane,
						struct mr_worker_letter *letter, uint32_t *bytes);
/*
 * What was sent to the leader came back into our own log: it is answered as the lane's level says,
 * from here on. False: not in it yet, or no more can wait for their answers now.
 */
bool mr_worker_answer_forwarded(struct mr_worker *worker, struct mr_worker_partition *partition,
				const struct mr_answer *forwarded);
/* The leader misses records of it before 'sequence'. */
void mr_worker_lane_missed(struct mr_worker_lane *lane, int32_t sequence);
void mr_answers_push(struct mr_answers *answers, const struct mr_answer *answer);
/* The sequence that the log expects of its producer next; MR_OFFSET_UNKNOWN: it knows none. */
uint64_t mr_worker_lane_next(const struct mr_worker_lane *lane);
/* On adding a lane that was handed back: where it goes on, and what it lost. */
void mr_worker_resume(struct mr_worker_partition *partition, struct mr_worker_lane *lane);
void mr_worker_poison(struct mr_worker_lane *lane, enum mr_lane_reason reason, const char *text);
/* Answers what is safe below 'offset'; returns how many batches. */
uint32_t mr_worker_answer(struct mr_answers *answers, uint64_t offset,
			  void (*wake)(struct mr_worker_lane *lane, void *arg), void *arg);
bool mr_answers_full(const struct mr_answers *answers);
bool mr_worker_lane_done(const struct mr_worker_lane *lane);

/* Nothing taken from it is answered any more: it is read again from what was. */
void mr_worker_rewind(struct mr_worker_lane *lane);
void mr_answers_drop(struct mr_answers *answers);

/* worker.c, for its own files. */
#define MR_NEWS_COMMITTED (1u << MR_WAIT_FOR_COMMITTED)
#define MR_NEWS_APPENDED  (1u << MR_WAIT_FOR_APPENDED)
void mr_worker_tell(struct mr_worker *worker, struct mr_worker_message *message);
/* A request is carried out, or will not be. */
void mr_worker_return(struct mr_worker *worker, struct mr_worker_message *message, int status);
void mr_worker_report_poisoned(struct mr_worker *worker, struct mr_worker_lane *lane);
void mr_worker_wake_lane(struct mr_worker_lane *lane, void *worker);
void mr_worker_wake_sleepers(struct mr_worker *worker, struct mr_worker_partition *partition,
			     uint32_t news);
/* Returns how many writes it began. */
uint32_t mr_worker_submit(struct mr_worker *worker, struct mr_worker_partition *partition);

/* worker_append.c: what the engine itself has for the log. */
void mr_worker_append_own(struct mr_worker *worker, struct mr_worker_partition *partition);

/* worker_snapshot.c: asked for, taken when there is such a moment, back when all of it is durable.
 */
void mr_worker_snapshot_ask(struct mr_worker *worker, struct mr_worker_message *message);
void mr_worker_snapshot_take(struct mr_worker_partition *partition);
void mr_worker_snapshot_settle(struct mr_worker *worker, struct mr_worker_partition *partition);

/*
 * worker_wait.c: what follows a turn, the 'idle'th in a row without work (0: there was some): a
 * rest, or a sleep. True: the core was given away meanwhile.
 */
bool mr_worker_wait(struct mr_worker *worker, uint32_t idle);
/* So many turns, or fewer where each looks at many partitions. */
uint32_t mr_worker_turns_within(const struct mr_worker *worker, uint32_t turns);
/* How long a rest is after a turn that took 'taken' and followed a rest of 'before' pauses. */
uint32_t mr_worker_pauses(uint32_t before, const struct mr_worker_taken *taken);

#endif
