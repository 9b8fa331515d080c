/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition's segments, seen from the two threads that work on them; they share no struct but the
 * published parts of a segment's index.
 *
 *	struct mr_log		the worker's half: appends to the tail, closes groups, writes them,
 *				rolls
 *	struct mr_log_files	the control thread's half: which segments there are, finding,
 *				retention
 *
 * At a roll the worker takes the spare segment that was made ahead and reports it; a chore makes
 * header and name durable; until it is told so (mr_log_segment_named) the worker counts nothing in
 * it as flushed (D7).
 */
#ifndef MR_LOG_H
#define MR_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/io.h"
#include "group.h"
#include "segment.h"
#include "tail.h"

#define MR_GROUPS_IN_FLIGHT_MAX 16

/* ---- the worker's half ----------------------------------------------------------------------- */

struct mr_log_options {
	uint32_t group_bytes;	   /* a group takes no further batch beyond this */
	uint32_t batch_bytes_max;  /* largest batch, so the largest group is group_bytes + this +
				      padding */
	uint32_t groups_in_flight; /* 1 .. MR_GROUPS_IN_FLIGHT_MAX */
	bool in_memory;		   /* no segments and no queue: see below */
};

/* Why nothing can be appended right now; counted and named as back pressure. */
enum mr_log_room {
	MR_LOG_ROOM = 0,
	MR_LOG_TAIL_FULL,  /* the disk (or a hold) is behind: the open group or the tail is
			      full of what must stay */
	MR_LOG_NO_SEGMENT, /* the next segment is not ready (disk full, or slow); in memory: the
			      next offsets are not reserved */
	MR_LOG_FAILED,	   /* a write failed: final (D3) */
};

/* What the worker has to pass on to the control thread after a turn. */
struct mr_log_event {
	enum mr_log_event_kind {
		MR_LOG_EVENT_NONE,
		MR_LOG_EVENT_STARTED, /* 'segment' is the active one now: make header and name
					 durable, make a new spare */
	} kind;
	struct mr_segment *segment;
	struct mr_segment_header header; /* STARTED: what its first block must hold */
};

struct mr_log;

/*
 * The worker's half of a recovered or new log: appends go on at 'start' in the active segment (both
 * from recovery). 'tail' begins at start->position. All borrowed but freed memory of its own. No
 * allocation after this.
 */
struct mr_log_start {
	struct mr_segment *active; /* taken; header durable */
	uint64_t position;	   /* block-aligned, inside the active segment or its end */
	uint64_t offset;	   /* log end offset */
	uint64_t offset_limit;	   /* in memory: mr_log_raise_limit() */
	uint64_t group_number;	   /* of the next group */
	uint32_t previous_crc;	   /* of the last group */
	int32_t partition;	   /* this and the ids go into the headers of new segments */
	uint8_t topic_id[16];
	uint8_t log_id[16];
};

/*
 * How far behind the first group that is not flushed others may have been written: recovery's
 * window. Without the options of the engine that crashed, take the largest that it could have had.
 */
uint64_t mr_log_window_bytes(const struct mr_log_options *options);
/* What a segment must hold at least: the largest batch. */
uint64_t mr_log_segment_bytes_min(const struct mr_log_options *options);

/*
 * A log in memory is the tail and nothing else: the same bytes, for the same readers, but groups
 * are closed when they are full, nothing is written, and the oldest are reclaimed as soon as room
 * is needed, which raises the log start offset. 'start' has a position and offsets only, no active
 * segment; 'queue' and 'clock' may be NULL. No completion, spare or event, and submit does nothing.
 * Its offsets may not be given twice, and no file says up to where they were: the caller reserves
 * them durably, ahead.
 */
int mr_log_open(const struct mr_log_options *options, const struct mr_log_start *start,
		struct mr_tail *tail, struct mr_io_queue *queue, const struct mr_clock *clock,
		struct mr_log **out, struct mr_error *err);
/* Nothing may be in flight. Returns the active segment (and the spare, or NULL) to the caller. */
void mr_log_close(struct mr_log *log, struct mr_segment **active, struct mr_segment **spare);

/*
 * Where a batch of at most 'bytes' may be encoded now (in the tail, inside the open group; opens a
 * group or rolls to the spare as needed, raises 'reclaimed' first). On MR_LOG_ROOM *at is the
 * place. Else nothing changed, but that an open group which cannot take the batch is due now: call
 * mr_log_submit() and, if that wrote something, try once more.
 */
enum mr_log_room mr_log_reserve(struct mr_log *log, uint32_t bytes, uint8_t **at);
/*
 * The batch written there is finished: 'bytes' long, 'records' records from the log's end offset
 * on, newest timestamp 'max_timestamp_ms' (for the time index). Publishes 'appended'. Returns the
 * log end offset.
 */
uint64_t mr_log_append(struct mr_log *log, uint32_t bytes, uint32_t records,
		       int64_t max_timestamp_ms);

/*
 * Closes the open group and writes it if that is due: at once while nothing is in flight, else when
 * it is large enough and fewer than groups_in_flight are out. 'force' writes whatever is there if a
 * place in flight is free. Returns the number of writes started. 'leader_epoch' goes into the
 * header.
 */
uint32_t mr_log_submit(struct mr_log *log, int32_t leader_epoch, bool force);

/* False: mr_log_submit() has nothing to do: no batch in an open group, no group for the queue. */
bool mr_log_has_unsent(const struct mr_log *log);

/*
 * What a queue completion's 'user' points to for writes of logs; the worker hands the completion to
 * it.
 */
struct mr_log_write {
	struct mr_log *log;
};
/*
 * A write of this log finished. *flushed is the log's flushed offset afterwards (it rises over the
 * contiguous completed prefix only, and not past the start of a segment that is not named yet). A
 * negative result: the log has failed, for good.
 */
int mr_log_completed(const struct mr_io_completion *completion, uint64_t *flushed);

/* Takes; there was none. file_bytes is at least mr_log_segment_bytes_min(). */
void mr_log_give_spare(struct mr_log *log, struct mr_segment *spare);
bool mr_log_wants_spare(const struct mr_log *log);
/* Header and name of 'segment' are durable. Returns the flushed offset afterwards. */
uint64_t mr_log_segment_named(struct mr_log *log, const struct mr_segment *segment);
/* Takes the next event, kind NONE when there is none. */
struct mr_log_event mr_log_next_event(struct mr_log *log);
bool mr_log_has_event(const struct mr_log *log);

/*
 * In memory: offsets below 'offset' are reserved now. A group may still end MR_LOG_LIMIT_SLACK
 * beyond the limit that it began under: the caller reserves as much more than it says.
 */
#define MR_LOG_LIMIT_SLACK (UINT64_C(1) << 32)
void mr_log_raise_limit(struct mr_log *log, uint64_t offset);

struct mr_log_state {
	uint64_t end_offset, end_position; /* appended, the open group's batches included */
	/* Of the group that is opened next. A checkpoint of end_offset takes these (and a copy of
	   the producers) while open_bytes is 0, and is written when all that is flushed. */
	uint64_t end_group_number;
	uint32_t end_crc;
	uint64_t flushed_offset, flushed_position; /* durable: at group ends. In memory: closed */
	uint64_t flushed_group_number;		   /* of the group that follows the flushed ones */
	uint32_t flushed_crc;			   /* of the last flushed group */
	uint32_t in_flight;
	bool zeros_out;	     /* the one in flight has zeros behind it */
	bool open;	     /* a group is, perhaps an empty one */
	uint32_t open_bytes; /* batch bytes in the open group */
	bool failed;
};
void mr_log_state(const struct mr_log *log, struct mr_log_state *state);
/* One of them at a time. */
uint64_t mr_log_end_offset(const struct mr_log *log);
uint64_t mr_log_end_position(const struct mr_log *log);
uint64_t mr_log_flushed_position(const struct mr_log *log);

/* ---- the control thread's half --------------------------------------------------------------- */

struct mr_log_files;

/* Where a record can be looked for. */
struct mr_log_place {
	struct mr_segment *segment;
	uint64_t group_position; /* a group start at or before the record */
	uint64_t group_offset;
	uint64_t end_position; /* UINT64_MAX for the active segment */
};

/* 'segments' (taken, in order, the last is active) as recovery found or creation made them. */
int mr_log_files_open(struct mr_segment **segments, size_t count, struct mr_log_files **out,
		      struct mr_error *err);
void mr_log_files_close(struct mr_log_files *files); /* closes all segments but the active one */
/*
 * The worker started 'segment' (event STARTED): the former active one ends at its base. The file of
 * the one before that is closed: the log rolls only when nothing is in flight there.
 */
int mr_log_files_started(struct mr_log_files *files, struct mr_segment *segment,
			 const struct mr_segment_header *header, struct mr_error *err);

/* -ERANGE below the oldest offset; at or beyond the end: the active segment. */
int mr_log_files_find_offset(const struct mr_log_files *files, uint64_t offset,
			     struct mr_log_place *place);
/* The base offset of a group such that no record at or after 'timestamp_ms' lies before it. */
uint64_t mr_log_files_find_time(const struct mr_log_files *files, int64_t timestamp_ms);

/*
 * Takes the oldest segments that retention lets go: more than 'bytes_max' bytes of files in all, or
 * newest record appended before 'before_ms' (0: no limit); never the active one, never one that
 * ends above 'keep_offset': the lower of high watermark and the newest durable checkpoint's offset,
 * where recovery will begin. Returns the segment (the caller removes its files, oldest segment
 * first, and closes it), or NULL. *log_start is the new log start offset.
 */
struct mr_segment *mr_log_files_retain(struct mr_log_files *files, uint64_t bytes_max,
				       int64_t before_ms, uint64_t keep_offset,
				       uint64_t *log_start);
uint64_t mr_log_files_start_offset(const struct mr_log_files *files);
uint64_t mr_log_files_bytes(const struct mr_log_files *files);
size_t mr_log_files_count(const struct mr_log_files *files);
struct mr_segment *mr_log_files_at(const struct mr_log_files *files, size_t i); /* oldest first */

#endif
