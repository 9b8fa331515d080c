/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kill test's processes and what they share. The parent (kill.c) kills; it is outside and holds
 * what was acknowledged (kill_check.c). Producers (kill_producer.c) tell it over a pipe. A consumer
 * attached throughout and a reader of the whole log afterwards (kill_consumer.c) write what they
 * saw into shared memory.
 */
#ifndef MR_KILL_H
#define MR_KILL_H

#include <stdatomic.h>

#include "millrace.h"
#include "torture.h"

#define KILL_TOPIC	    "torture"
#define KILL_PARTITIONS_MAX 240
#define KILL_WRITERS_MAX    512	       /* producers over the whole run */
#define KILL_OFFSETS_MAX    (1u << 21) /* of a partition */

/* What a producer does; one of each lives at a time. */
enum kill_habit {
	KILL_SMALL, /* partition 0, acks memory, small records one by one */
	KILL_MANY,  /* partition 1, acks disk, put_many of mixed sizes */
	KILL_PLACE, /* partition 2, acks committed, reserve and publish of mixed sizes */
	KILL_KEYS,  /* by key into all partitions, acks committed */
	KILL_HABITS,
};

enum kill_seer {
	KILL_CONSUMER, /* attached throughout */
	KILL_READER,   /* the whole log, afterwards */
	KILL_SEERS,
};

/* A record as a seer saw it: writer 0 is nobody. */
struct kill_entry {
	uint32_t writer; /* its number + 1 */
	uint32_t number; /* of the writer's in this partition */
};

struct kill_producer_page {
	_Atomic uint64_t published;
	_Atomic uint64_t acknowledged;
	_Atomic uint64_t hand_backs;
	_Atomic uint64_t full;
};

/* One writer each: the parent writes the first part, each process its own. */
struct kill_page {
	uint32_t partitions;	/* of the topic; set before anybody else is there */
	_Atomic uint32_t stop;	/* producers: flush, report, end */
	_Atomic uint32_t burst; /* KILL_KEYS: as fast as you can */
	_Atomic uint32_t stop_seer[KILL_SEERS];
	struct kill_producer_page producers[KILL_HABITS];
	_Atomic uint64_t next[KILL_SEERS][KILL_PARTITIONS_MAX]; /* offsets before it were seen */
	_Atomic uint64_t faults[KILL_SEERS];
	_Atomic uint64_t overtaken[KILL_SEERS];
	struct kill_entry seen[KILL_SEERS][KILL_PARTITIONS_MAX][KILL_OFFSETS_MAX];
};

enum kill_report_kind {
	KILL_RECEIPT,
	KILL_STATE,
	KILL_END, /* flushed, or not */
};

/* On the pipe, whole ones only. */
struct kill_report {
	uint32_t writer;
	uint32_t kind;
	int32_t flushed; /* KILL_END: what flush said */
	uint32_t reserved;
	struct mr_receipt receipt;
	struct mr_producer_state state;
};

/* ---- roles: words are ROLE SOCKET PAGE_FD ... -------------------------------------------------
 */

/* "producer" SOCKET PAGE_FD REPORT_FD HABIT WRITER SEED */
int kill_producer_main(int count, char **words);
/* "seer" SOCKET PAGE_FD SEER SEED */
int kill_seer_main(int count, char **words);

/* ---- what was told (kill_check.c); the parent's ---------------------------------------------- */

struct kill_told;

struct kill_verdict {
	uint64_t records;      /* in the log */
	uint64_t acknowledged; /* receipts cover so many */
	uint64_t lost;	       /* acknowledged disk or committed, not there; or a living one's */
	uint64_t doubled;
	uint64_t disordered;
	uint64_t misplaced;   /* not at the offset that the receipt named */
	uint64_t strange;     /* by nobody */
	uint64_t memory_lost; /* of memory lanes whose producer lived, found missing */
	uint64_t memory_told; /* and what those producers were told */
	uint64_t unflushed;   /* living producers whose last flush failed */
	uint64_t differing;   /* offsets that consumer and reader saw differently */
};

struct kill_told *kill_told_new(void);
void kill_told_begin(struct kill_told *told, uint32_t writer, enum kill_habit habit);
void kill_told_killed(struct kill_told *told, uint32_t writer);
void kill_told_take(struct kill_told *told, const struct kill_report *report);
bool kill_told_ended(const struct kill_told *told, uint32_t writer);
void kill_told_check(const struct kill_told *told, const struct kill_page *page,
		     struct kill_verdict *verdict);
void kill_told_free(struct kill_told *told);

#endif
