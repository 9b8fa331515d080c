/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Well-behaved programs around an engine that is tortured, and what they share. Their parent is
 * outside and holds what was acknowledged (crew_check.c): producers (crew_producer.c) tell it over
 * a pipe. A consumer attached throughout and a reader of the whole log afterwards
 * (crew_consumer.c) write what they saw into shared memory. The parent's side is crew.c.
 */
#ifndef MR_CREW_H
#define MR_CREW_H

#include <stdatomic.h>

#include "millrace.h"
#include "torture.h"

#define CREW_TOPIC	    "torture"
#define CREW_PARTITIONS_MAX 240
#define CREW_WRITERS_MAX    512	       /* producers over the whole run */
#define CREW_OFFSETS_MAX    (1u << 21) /* of a partition */

/* What a producer does; one of each lives at a time. */
enum crew_habit {
	CREW_SMALL, /* partition 0, acks memory, small records one by one */
	CREW_MANY,  /* partition 1, acks disk, put_many of mixed sizes */
	CREW_PLACE, /* partition 2, acks committed, reserve and publish of mixed sizes */
	CREW_KEYS,  /* by key into all partitions, acks committed */
	CREW_HABITS,
};

enum crew_seer {
	CREW_CONSUMER, /* attached throughout */
	CREW_READER,   /* the whole log, afterwards */
	CREW_VICTIM,   /* comes and goes */
	CREW_SEERS,
};

/* A record as a seer saw it: writer 0 is nobody. */
struct crew_entry {
	uint32_t writer; /* its number + 1 */
	uint32_t number; /* of the writer's in this partition */
};

struct crew_producer_page {
	_Atomic uint64_t published;
	_Atomic uint64_t acknowledged;
	_Atomic uint64_t hand_backs;
	_Atomic uint64_t full;
};

/* One writer each: the parent writes the first part, each process its own. */
struct crew_page {
	uint32_t partitions;	/* of the topic; set before anybody else is there */
	_Atomic uint32_t stop;	/* producers: flush, report, end */
	_Atomic uint32_t burst; /* CREW_KEYS: as fast as you can */
	_Atomic uint32_t stop_seer[CREW_SEERS];
	struct crew_producer_page producers[CREW_HABITS];
	_Atomic uint64_t next[CREW_SEERS][CREW_PARTITIONS_MAX]; /* offsets before it were seen */
	_Atomic uint64_t faults[CREW_SEERS];
	_Atomic uint64_t overtaken[CREW_SEERS];
	struct crew_entry seen[CREW_SEERS][CREW_PARTITIONS_MAX][CREW_OFFSETS_MAX];
};

enum crew_report_kind {
	CREW_RECEIPT,
	CREW_STATE,
	CREW_END, /* flushed, or not */
};

/* On the pipe, whole ones only. */
struct crew_report {
	uint32_t writer;
	uint32_t kind;
	int32_t flushed; /* CREW_END: what flush said */
	uint32_t reserved;
	struct mr_receipt receipt;
	struct mr_producer_state state;
};

/* ---- roles: words are ROLE SOCKET PAGE_FD ... ----------------------------------------------- */

/* "producer" SOCKET PAGE_FD REPORT_FD HABIT WRITER SEED */
int crew_producer_main(int count, char **words);
/* "seer" SOCKET PAGE_FD SEER SEED */
int crew_seer_main(int count, char **words);
/* Runs the role that the program's words name, also the engine's; -1: they name none. */
int crew_role(int count, char **words);

/* ---- what was told (crew_check.c); the parent's ---------------------------------------------- */

struct crew_told;

struct crew_verdict {
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
	uint64_t left;	      /* published by one that was killed alone, not there */
	uint64_t differing;   /* offsets that consumer and reader saw differently */
};

struct crew_told *crew_told_new(void);
void crew_told_begin(struct crew_told *told, uint32_t writer, enum crew_habit habit);
/* Killed; what it had published by then, if the engine lives to take it, else 0. */
void crew_told_killed(struct crew_told *told, uint32_t writer, uint64_t published);
void crew_told_take(struct crew_told *told, const struct crew_report *report);
bool crew_told_ended(const struct crew_told *told, uint32_t writer);
void crew_told_check(const struct crew_told *told, const struct crew_page *page,
		     struct crew_verdict *verdict);
void crew_told_free(struct crew_told *told);

/* ---- the parent's side (crew.c) -------------------------------------------------------------- */

struct crew_process {
	pid_t pid;	 /* 0: not there */
	uint32_t writer; /* of a producer */
};

struct crew {
	struct torture_engine engine;
	struct torture_random random;
	struct crew_page *page;
	int page_fd;
	struct crew_told *told;
	int reports_in, reports_out;
	struct crew_process producers[CREW_HABITS];
	struct crew_process seers[CREW_SEERS];
	uint32_t writers; /* begun so far */
};

#define CREW_START_MS 30000 /* a start of the engine must not take longer */

/* The engine, a producer of each habit and the consumer, up and at work. */
void crew_begin(struct crew *crew, const char *name, const char *const *options,
		uint32_t partitions, uint64_t seed);
/* Takes reports until then. */
void crew_pass_time(struct crew *crew, uint64_t until_us);
void crew_take_reports(struct crew *crew);
void crew_wait_ready(struct crew *crew);
/* Dies if one of the crew has ended by itself. */
void crew_check_living(struct crew *crew);
/* Kills a producer; 'engine_lives': it takes what was published. */
void crew_kill_producer(struct crew *crew, enum crew_habit habit, bool engine_lives);
void crew_kill_seer(struct crew *crew, enum crew_seer seer);
void crew_start_producer(struct crew *crew, enum crew_habit habit);
void crew_start_seer(struct crew *crew, enum crew_seer seer);
/* Producers flush and end, the consumer sees all, the engine stops and starts, all is read. */
void crew_end(struct crew *crew);
/* Says what is in the log, and checks it. */
void crew_report(const struct crew *crew);
void crew_clean(struct crew *crew);

#endif
