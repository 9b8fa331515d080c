/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition's state, pure: no I/O, no clock, no thread, no allocation after init. It decides what
 * a batch may be (sequence, epoch), which offsets it gets, and where the high watermark stands; the
 * worker carries it out. The replication protocol (later) drives the very same struct.
 */
#ifndef MR_PARTITION_H
#define MR_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "epochs.h"
#include "error.h"

#define MR_RECENT_BATCHES 5 /* remembered per producer, as Kafka does */
#define MR_REPLICAS_MAX	  64

/*
 * Producer ids from here on belong to the engine's pipelines: fixed, the same on all hosts and
 * after each start, and resumed from checkpoints of their own. They are forgotten neither for being
 * quiet nor to make room: what a pipeline says a second time is known by its number only.
 */
#define MR_PRODUCER_ID_FIXED (INT64_C(1) << 62)

/* What is known of one producer in one partition. */
struct mr_producer_entry {
	int64_t producer_id;	/* -1: free */
	uint64_t last_offset;	/* of its newest record */
	int64_t last_append_ms; /* for expiry; wall clock */
	int32_t last_sequence;	/* of its newest record */
	int16_t epoch;
	uint8_t recent_count;
	uint8_t recent_next; /* ring position of the next to be written */
	struct {
		int32_t first_sequence;
		int32_t count;
		uint64_t base_offset;
	} recent[MR_RECENT_BATCHES];
};

/*
 * One partition on this host, owned by its worker thread. Offsets count records, never bytes:
 *	log_start <= high_watermark <= log_end,  flushed <= log_end
 * and none moves back while leader_epoch stays the same.
 */
struct mr_partition {
	int32_t leader_epoch;	 /* rises at each start and each change of leader */
	uint64_t log_start;	 /* oldest offset still kept */
	uint64_t high_watermark; /* first offset consumers may not see yet */
	uint64_t flushed;	 /* first offset not yet on stable storage here */
	uint64_t log_end;	 /* offset the next record will get */
	uint64_t epoch_start;	 /* log_end when this host began to lead: no high watermark
				    below it is shown anew */
	uint64_t isr;		 /* bit i: replica i is in sync, or is perhaps (R4: what was
				    proposed, too); this host is replica 'self' */
	uint64_t isr_known;	 /* of those: in sync for certain */
	bool leads;		 /* else the high watermark is the leader's to say */
	uint64_t replica_flushed[MR_REPLICAS_MAX];
	uint32_t self;
	uint32_t min_insync_replicas;
	struct mr_epochs epochs; /* of the log: who appends a batch notes its epoch there first */
	struct mr_producer_entry *producers; /* open addressing by id: walk all producers_max */
	uint32_t producers_max;	   /* places in the table, a power of two */
	uint32_t producers_limit;  /* of them in use at most, so that lookups are short */
	uint32_t producer_count;
	/* Whether a producer has an open lane and is not to be forgotten; NULL: none has. The
	   worker sets it after init. */
	bool (*is_pinned)(int64_t producer_id, void *arg);
	void *pinned_arg;
};

/*
 * Takes all memory it will ever need, for 'producers_max' producers. This host is replica 0, alone
 * in the ISR, and leads. -ENOMEM.
 */
int mr_partition_init(struct mr_partition *partition, uint32_t producers_max,
		      uint32_t min_insync_replicas, struct mr_error *err);
void mr_partition_deinit(struct mr_partition *partition);

/*
 * Sets where recovery found the log; everything kept is flushed. Epoch is the new one of this
 * start.
 */
void mr_partition_start(struct mr_partition *partition, uint64_t log_start, uint64_t log_end,
			int32_t leader_epoch);

enum mr_sequence_verdict {
	MR_SEQUENCE_NEXT,      /* append it */
	MR_SEQUENCE_BASE,      /* unknown producer or new epoch: append it, it is the base */
	MR_SEQUENCE_DUPLICATE, /* in the log already, wholly or from the front: see *duplicates */
	MR_SEQUENCE_GAP,       /* records are missing before it: *expected is the sequence that was
				  due */
	MR_SEQUENCE_FENCED,    /* the producer has a newer epoch */
};

/*
 * What 'count' records of a producer, the first with 'sequence', are to this partition. With
 * DUPLICATE, *duplicates of them (from the front, at most count) are in the log already; *expected
 * is always the sequence due next (with BASE 'sequence' itself). Sequences are serial numbers mod
 * 2^31: 'behind' is at most half the circle.
 */
enum mr_sequence_verdict mr_partition_check(const struct mr_partition *partition,
					    int64_t producer_id, int16_t epoch, int32_t sequence,
					    uint32_t count, uint32_t *duplicates,
					    int32_t *expected);

/*
 * Appends 'count' records: returns their base offset and remembers the producer (producer_id -1: no
 * producer). Full table: of the producers without an open lane (->is_pinned) the one whose newest
 * record is the oldest is forgotten; if all have one, of all.
 */
uint64_t mr_partition_append(struct mr_partition *partition, int64_t producer_id, int16_t epoch,
			     int32_t sequence, uint32_t count, int64_t append_ms);

/* NULL if unknown. Valid until the next append. */
const struct mr_producer_entry *mr_partition_find_producer(const struct mr_partition *partition,
							   int64_t producer_id);
/*
 * Base offset of the run of records that 'sequence' lies in, if remembered: offset of that record,
 * else MR_OFFSET_UNKNOWN.
 */
uint64_t mr_partition_find_sequence(const struct mr_partition *partition, int64_t producer_id,
				    int32_t sequence);
/*
 * Puts an entry in as a checkpoint or recovery has it. -ENOSPC; -EBADMSG: no entry that was ever
 * made.
 */
int mr_partition_restore_producer(struct mr_partition *partition,
				  const struct mr_producer_entry *entry);
/* Forgets those without an open lane that appended nothing since 'before_ms'; returns how many. */
uint32_t mr_partition_expire_producers(struct mr_partition *partition, int64_t before_ms);

/*
 * Replica 'replica' has everything below 'offset' on stable storage. Returns true if the high
 * watermark rose.
 */
bool mr_partition_replica_flushed(struct mr_partition *partition, uint32_t replica,
				  uint64_t offset);
/*
 * A replica begins anew, with no more than this: what it said before, in an earlier life perhaps,
 * no longer counts. True as above.
 */
bool mr_partition_replica_begins(struct mr_partition *partition, uint32_t replica, uint64_t offset);
/* As replica_flushed() for this host; raises 'flushed'. */
bool mr_partition_flushed(struct mr_partition *partition, uint64_t offset);
void mr_partition_raise_log_start(struct mr_partition *partition, uint64_t offset);
/*
 * Whether everything below 'offset' is flushed here and committed, so that no truncation takes it:
 * only then may a checkpoint say where the log stood there, since recovery believes it.
 */
bool mr_partition_is_final(const struct mr_partition *partition, uint64_t offset);

/*
 * This host leads under 'leader_epoch', from its log's end on; what the others have flushed is to
 * be heard from them anew. 'isr' is in sync for certain. The high watermark stays where it was
 * until all in sync have what this log held at the beginning (I4). True if it rose.
 */
bool mr_partition_lead(struct mr_partition *partition, int32_t leader_epoch, uint64_t isr);
/* Another does, or nobody is known to: the high watermark rises by follow_watermark() only. */
void mr_partition_follow(struct mr_partition *partition, int32_t leader_epoch);
/* As leader: who is in sync for certain, and who perhaps besides. True: the high watermark rose. */
bool mr_partition_set_isr(struct mr_partition *partition, uint64_t known, uint64_t perhaps);
/*
 * As follower: the leader's high watermark is 'offset'; shown as far as this host has flushed. True
 * if it rose.
 */
bool mr_partition_follow_watermark(struct mr_partition *partition, uint64_t offset);

/* (a - b) as serial numbers mod 2^31: how far a is ahead of b, negative if behind. */
int32_t mr_sequence_distance(int32_t a, int32_t b);
/* a + n mod 2^31. */
int32_t mr_sequence_add(int32_t a, uint32_t n);

#endif
