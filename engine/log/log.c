/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's half of a partition's log. Runs on the partition's worker only; owns the open group,
 * the groups in flight and the active segment's end. Blocks never, allocates nothing after open.
 *
 *	reserve ──► (batch is encoded in the tail) ──► append ──► submit ──► completed
 *
 * The log's end is built in the tail at its own position, so that the very bytes are what the disk
 * gets. A group is opened by the first reserve, grows while writes are in flight, is closed and
 * written by submit. Groups in flight stand in a ring in their order; *flushed* moves over the
 * completed ones from its front, and waits where a segment begins whose name is not durable yet.
 *
 * Two things can be in the way of more bytes, and reserve names them: the tail holds nothing but
 * what must stay; the next segment is not there. Nothing waits here: the worker goes on with other
 * lanes and asks again.
 */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

#define LARGE_GROUP_BYTES   (64u << 10)	 /* a group of this size is worth a write beside others */
#define ZERO_BYTES	    (128u << 10) /* behind a group that reaches beyond those before */
#define ZERO_GROUP_BYTES    (32u << 10)	 /* the largest that takes zeros with it */
#define SMALL_GROUP_BYTES   (16u << 10)	 /* below this on average, writing ahead zeros pays (D7) */
#define SEGMENT_BEGIN_BYTES MR_BLOCK_BYTES
#define RATE_WINDOW_MS	    64
#define FAST_BYTES_A_MS	    (24u << 10) /* at this rate zeros cost more than they save */

/* A group that was closed and is not yet flushed. */
struct flight {
	struct mr_log_write write; /* first: completions point here */
	const uint8_t *from; /* what is written: in the tail, or a copy with zeros behind it */
	uint64_t position;
	uint64_t end_position;
	uint64_t zeros; /* bytes behind the end that are written, too */
	uint64_t end_offset;
	uint64_t number;
	uint64_t file_offset;
	struct mr_io_file *file;
	uint32_t crc;
	bool sent;
	bool done;
};

/* Where in the log a group ended: all that recovery would need to go on there. */
struct mark {
	uint64_t offset;
	uint64_t position;
	uint64_t group_number; /* of the next group */
	uint32_t crc;	       /* of the one that ended */
};

/* A place in the tail where a reader can begin: a group, or a segment's header block. */
struct start {
	uint64_t position;
	uint64_t offset;
};

/*
 * Positions:  reclaimed <= flushed <= completed <= open group's start <= end <= reserved
 * and everything from reclaimed on is in the tail: reserved - reclaimed <= tail_bytes.
 */
struct mr_log {
	struct mr_log_options options;
	struct mr_tail *tail;
	struct mr_io_queue *queue;
	const struct mr_clock *clock;
	uint8_t topic_id[16];
	uint8_t log_id[16];
	int32_t partition;
	bool failed;
	uint64_t offset_limit; /* in memory: no group begins at or beyond it */

	/* the active segment; in memory one without an end, which no file is behind */
	struct mr_segment *active;
	struct mr_segment endless;
	struct mr_segment *spare;
	bool active_named;
	bool started_pending; /* event STARTED */
	struct mr_segment_header header;
	uint64_t zeroed;     /* position: zero-filled up to here */
	uint8_t *with_zeros; /* ZERO_GROUP_BYTES for a copy, then zeros that are never touched */
	bool zeros_out;	     /* in flight: no group is written before they are */

	/* the end of the log */
	struct mr_group group;
	bool group_open;
	bool group_full; /* a batch found no room in it: write it when a place in flight is free */
	uint64_t open_position;
	int64_t open_max_timestamp_ms;
	uint64_t end_position;
	uint64_t reserved_position;
	uint64_t end_offset;
	uint64_t group_number;
	uint32_t previous_crc;
	int32_t leader_epoch;
	uint32_t average_bytes; /* of groups, running */
	int64_t rate_ms;	/* since then batches of 'rate_bytes'; wall clock, a hint */
	uint64_t rate_bytes;
	bool fast; /* in the last whole window */

	/* groups in flight: a ring, oldest first */
	struct flight flights[MR_GROUPS_IN_FLIGHT_MAX];
	uint32_t flight_first;
	uint32_t flight_count;
	uint32_t writing; /* handed to the queue and not completed */
	struct mark flushed;
	struct mark completed; /* ahead of flushed only in a segment without a name */

	/* starts from the reclaimed position on: a ring, oldest first */
	uint64_t reclaimed;
	struct start *starts;
	uint32_t start_first;
	uint32_t start_count;
	uint32_t starts_max;
};

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + MR_BLOCK_BYTES - 1) & ~(uint64_t)(MR_BLOCK_BYTES - 1);
}

static uint64_t group_bytes_max(const struct mr_log_options *options)
{
	return round_up(sizeof(struct mr_group_header) + (uint64_t)options->group_bytes +
			options->batch_bytes_max);
}

uint64_t mr_log_window_bytes(const struct mr_log_options *options)
{
	return options->groups_in_flight * group_bytes_max(options);
}

uint64_t mr_log_segment_bytes_min(const struct mr_log_options *options)
{
	return SEGMENT_BEGIN_BYTES +
	       round_up(sizeof(struct mr_group_header) + (uint64_t)options->batch_bytes_max);
}

/* ---- opening ------------------------------------------------------------- */

/* Memory that is not there until it is written: most of it never is. */
static uint8_t *zeros_new(void)
{
	uint8_t *memory = mmap(NULL, ZERO_GROUP_BYTES + ZERO_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Takes a log that is only half made, too. */
static void log_free(struct mr_log *log)
{
	if (log->with_zeros)
		(void)munmap(log->with_zeros, ZERO_GROUP_BYTES + ZERO_BYTES); /* our map */
	free(log->starts);
	free(log);
}

static int check_options(const struct mr_log_options *options, const struct mr_tail *tail,
			 struct mr_error *err)
{
	if (options->group_bytes < MR_BLOCK_BYTES ||
	    options->batch_bytes_max < MR_BATCH_HEADER_BYTES)
		return mr_error_set(err, -EINVAL, "groups of %u bytes with batches of up to %u",
				    options->group_bytes, options->batch_bytes_max);
	if (options->groups_in_flight < 1 || options->groups_in_flight > MR_GROUPS_IN_FLIGHT_MAX)
		return mr_error_set(err, -EINVAL, "%u groups in flight, expected 1 to %u",
				    options->groups_in_flight, MR_GROUPS_IN_FLIGHT_MAX);
	if (group_bytes_max(options) + SEGMENT_BEGIN_BYTES > tail->tail_bytes)
		return mr_error_set(err, -EINVAL,
				    "a tail of %" PRIu64 " bytes cannot hold a group of %" PRIu64,
				    tail->tail_bytes, group_bytes_max(options));
	return 0;
}

static void begin_at(struct mr_log *log, const struct mr_log_start *start,
		     struct mr_segment *active)
{
	memcpy(log->topic_id, start->topic_id, sizeof(log->topic_id));
	memcpy(log->log_id, start->log_id, sizeof(log->log_id));
	log->partition = start->partition;
	log->active = active;
	log->active_named = true;
	log->end_position = start->position;
	log->reserved_position = start->position;
	log->end_offset = start->offset;
	log->group_number = start->group_number;
	log->previous_crc = start->previous_crc;
	log->zeroed = active->base_position + active->zeroed_bytes;
	log->average_bytes = MR_BLOCK_BYTES;
	log->reclaimed = start->position;
	log->flushed = (struct mark){start->offset, start->position, start->group_number,
				     start->previous_crc};
	log->completed = log->flushed;
}

int mr_log_open(const struct mr_log_options *options, const struct mr_log_start *start,
		struct mr_tail *tail, struct mr_io_queue *queue, const struct mr_clock *clock,
		struct mr_log **out, struct mr_error *err)
{
	struct mr_segment *active = start->active;
	struct mr_log *log;
	int r = check_options(options, tail, err);

	if (r < 0)
		return r;
	mr_assert(start->position % MR_BLOCK_BYTES == 0);
	mr_assert(options->in_memory == !active);
	mr_assert(!active || start->position >= active->base_position + SEGMENT_BEGIN_BYTES);
	mr_assert(!active || start->position <= active->base_position + active->file_bytes);
	log = calloc(1, sizeof(*log));
	if (!log)
		return mr_error_set(err, -ENOMEM, "no memory for a log");
	log->starts_max = (uint32_t)(tail->tail_bytes / MR_BLOCK_BYTES) + 1;
	log->starts = calloc(log->starts_max, sizeof(*log->starts));
	if (!options->in_memory)
		log->with_zeros = zeros_new();
	if (!log->starts || (!options->in_memory && !log->with_zeros)) {
		log_free(log);
		return mr_error_set(err, -ENOMEM, "no memory for a log's group starts");
	}
	log->options = *options;
	log->tail = tail;
	log->queue = queue;
	log->clock = clock;
	log->endless.file_bytes = INT64_MAX;
	log->offset_limit = options->in_memory ? start->offset_limit : UINT64_MAX;
	begin_at(log, start, active ? active : &log->endless);
	*out = log;
	return 0;
}

void mr_log_close(struct mr_log *log, struct mr_segment **active, struct mr_segment **spare)
{
	mr_assert(log->writing == 0);
	*active = log->options.in_memory ? NULL : log->active;
	*spare = log->spare;
	log_free(log);
}

/* ---- room in the tail ---------------------------------------------------- */

static void push_start(struct mr_log *log, uint64_t position)
{
	uint32_t at = (log->start_first + log->start_count) % log->starts_max;

	mr_assert(log->start_count < log->starts_max);
	log->starts[at] = (struct start){position, log->end_offset};
	log->start_count++;
}

/*
 * Makes the tail's bytes up to 'end' free to be written over: finds the first start at or after
 * what would be overwritten; it may stand no later than what the disk and the holds still need.
 * False: the tail is full.
 */
static bool reclaim(struct mr_log *log, uint64_t end)
{
	struct start at = {log->end_position, log->end_offset};
	uint64_t limit = log->flushed.position;
	uint64_t needed;
	uint64_t hold;
	uint32_t passed;

	if (end < log->tail->tail_bytes)
		return true;
	needed = end - log->tail->tail_bytes;
	if (needed <= log->reclaimed)
		return true;
	for (passed = 0; passed < log->start_count; passed++) {
		const struct start *start =
			&log->starts[(log->start_first + passed) % log->starts_max];

		if (start->position >= needed) {
			at = *start;
			break;
		}
	}
	hold = mr_tail_lowest_hold(log->tail);
	if (hold < limit)
		limit = hold;
	if (at.position < needed || at.position > limit)
		return false;
	log->start_first = (log->start_first + passed) % log->starts_max;
	log->start_count -= passed;
	log->reclaimed = at.position;
	if (log->options.in_memory) /* before: who was overtaken finds out what is kept */
		mr_tail_publish_log_start(log->tail, at.offset);
	mr_tail_reclaim(log->tail, at.position, at.offset);
	return true;
}

/* ---- appending ----------------------------------------------------------- */

static uint64_t segment_end(const struct mr_log *log)
{
	return log->active->base_position + log->active->file_bytes;
}

/*
 * The spare takes over at the log's end; its header block goes into the tail, as it will stand in
 * the file.
 */
static void roll(struct mr_log *log)
{
	struct mr_segment *segment = log->spare;

	segment->base_offset = log->end_offset;
	segment->base_position = log->end_position;
	log->header = (struct mr_segment_header){
		.segment_id = segment->segment_id,
		.partition = log->partition,
		.previous_crc = log->previous_crc,
		.base_offset = log->end_offset,
		.base_position = log->end_position,
		.group_number = log->group_number,
		.created_ms = mr_clock_wall_ms(log->clock),
		.file_bytes = segment->file_bytes,
	};
	memcpy(log->header.topic_id, log->topic_id, sizeof(log->topic_id));
	memcpy(log->header.log_id, log->log_id, sizeof(log->log_id));
	push_start(log, log->end_position);
	(void)mr_segment_encode_header(&log->header, mr_tail_at(log->tail, log->end_position));
	log->end_position += SEGMENT_BEGIN_BYTES;
	log->reserved_position = log->end_position;
	log->active = segment;
	log->spare = NULL;
	log->active_named = false;
	log->started_pending = true;
	log->zeroed = segment->base_position + segment->zeroed_bytes;
}

/* The next group does not fit into the active segment: is everything there for a roll? */
static enum mr_log_room may_roll(struct mr_log *log, uint64_t group_bytes)
{
	if (!log->spare || !log->active_named)
		return MR_LOG_NO_SEGMENT;
	/*
	 * Recovery relies on it: groups in flight lie in the active segment and the one before, no
	 * further back.
	 */
	if (log->flushed.position < log->active->base_position)
		return MR_LOG_TAIL_FULL;
	if (!reclaim(log, log->end_position + SEGMENT_BEGIN_BYTES + group_bytes))
		return MR_LOG_TAIL_FULL;
	return MR_LOG_ROOM;
}

/* No group is open: one begins at the log's end, in the next segment if need be. */
static enum mr_log_room begin_group(struct mr_log *log, uint32_t bytes)
{
	uint64_t group_bytes = round_up(sizeof(struct mr_group_header) + (uint64_t)bytes);
	enum mr_log_room room;

	if (log->end_offset >= log->offset_limit)
		return MR_LOG_NO_SEGMENT;
	if (log->end_position + group_bytes > segment_end(log)) {
		room = may_roll(log, group_bytes);
		if (room != MR_LOG_ROOM)
			return room;
		roll(log);
	} else if (!reclaim(log, log->end_position + group_bytes)) {
		return MR_LOG_TAIL_FULL;
	}
	push_start(log, log->end_position);
	log->open_position = log->end_position;
	log->open_max_timestamp_ms = INT64_MIN;
	mr_group_begin(&log->group, mr_tail_at(log->tail, log->open_position),
		       log->active->segment_id, log->end_offset);
	log->group_open = true;
	log->group_full = false;
	log->end_position += sizeof(struct mr_group_header);
	log->reserved_position = log->open_position + group_bytes;
	return MR_LOG_ROOM;
}

/* The open group takes a batch more: within its own bounds, the segment's, the tail's. */
static enum mr_log_room grow_group(struct mr_log *log, uint32_t bytes)
{
	uint64_t end = log->open_position + round_up(sizeof(struct mr_group_header) +
						     (uint64_t)log->group.batch_bytes + bytes);

	if (log->group.batch_bytes >= log->options.group_bytes || end > segment_end(log)) {
		log->group_full = true;
		return MR_LOG_TAIL_FULL;
	}
	if (!reclaim(log, end))
		return MR_LOG_TAIL_FULL;
	if (end > log->reserved_position)
		log->reserved_position = end;
	return MR_LOG_ROOM;
}

/* A group that was opened for a batch which never came is none: it must not be in the way. */
static void drop_empty_group(struct mr_log *log)
{
	if (!log->group_open || log->group.batch_count > 0)
		return;
	log->group_open = false;
	log->end_position = log->open_position;
	log->reserved_position = log->open_position;
	log->start_count--;
}

/* What stands in the tail is what readers look for, on a disk or not. */
static void end_group(struct mr_log *log, const struct mr_group_place *place)
{
	log->end_position =
		log->open_position + mr_group_close(&log->group, place, &log->previous_crc);
	log->reserved_position = log->end_position;
	log->group_open = false;
	log->group_number++;
	mr_tail_publish_appended(log->tail, log->end_position, log->end_offset);
}

/* In memory, where nothing is written: a group that is closed may be reclaimed. */
static void close_in_memory(struct mr_log *log)
{
	struct mr_group_place place = {
		.number = log->group_number,
		.leader_epoch = log->leader_epoch,
		.previous_crc = log->previous_crc,
	};

	end_group(log, &place);
	log->flushed = (struct mark){log->end_offset, log->end_position, log->group_number,
				     log->previous_crc};
}

enum mr_log_room mr_log_reserve(struct mr_log *log, uint32_t bytes, uint8_t **at)
{
	enum mr_log_room room;

	mr_assert(bytes >= MR_BATCH_HEADER_BYTES);
	mr_assert(bytes <= log->options.batch_bytes_max);
	if (log->failed)
		return MR_LOG_FAILED;
	drop_empty_group(log);
	room = log->group_open ? grow_group(log, bytes) : begin_group(log, bytes);
	if (room == MR_LOG_ROOM) {
		*at = mr_group_at(&log->group);
	} else if (log->options.in_memory && log->group_open && log->group_full) {
		close_in_memory(log);
		return mr_log_reserve(log, bytes, at); /* once: none is open now */
	}
	return room;
}

uint64_t mr_log_append(struct mr_log *log, uint32_t bytes, uint32_t records,
		       int64_t max_timestamp_ms)
{
	mr_assert(log->group_open);
	mr_assert(log->end_position + bytes <= log->reserved_position);
	mr_group_add(&log->group, bytes, records);
	if (max_timestamp_ms > log->open_max_timestamp_ms)
		log->open_max_timestamp_ms = max_timestamp_ms;
	log->end_position += bytes;
	log->end_offset += records;
	mr_tail_publish_appended(log->tail, log->end_position, log->end_offset);
	return log->end_offset;
}

/* ---- writing ------------------------------------------------------------- */

static struct flight *flight_at(struct mr_log *log, uint32_t i)
{
	return &log->flights[(log->flight_first + i) % MR_GROUPS_IN_FLIGHT_MAX];
}

/*
 * Groups say little about the rate: where zeros make writes short, groups are small at any rate,
 * and zeros would be asked for ever, each step in the way of many writes. Neither do blocks: a few
 * records a millisecond, each in a block of its own, are as many blocks as a stream. So it is
 * batches that count.
 */
static void note_rate(struct mr_log *log, uint32_t batch_bytes, int64_t now_ms)
{
	int64_t took_ms = now_ms - log->rate_ms;

	log->rate_bytes += batch_bytes;
	if (took_ms >= 0 && took_ms < RATE_WINDOW_MS)
		return;
	log->fast = took_ms > 0 && log->rate_bytes / (uint64_t)took_ms >= FAST_BYTES_A_MS;
	log->rate_bytes = 0;
	log->rate_ms = now_ms;
}

/*
 * While groups are small, zeros ahead of the log's end make each write cheaper (D7). A group that
 * reaches beyond them is dear whatever is done: its write is followed by a commit of the journal.
 * So it takes the next zeros with it, in the same write; those of a chore would make every group
 * that is written meanwhile wait for them. No other group is written before these are, since it
 * might be written over.
 */
static void add_zeros(struct mr_log *log, struct flight *flight)
{
	uint64_t bytes = flight->end_position - flight->position;
	uint64_t zeros = segment_end(log) - flight->end_position;
	uint64_t window = mr_log_window_bytes(&log->options);

	if (log->average_bytes >= SMALL_GROUP_BYTES || log->fast || log->flight_count > 0)
		return;
	if (flight->end_position <= log->zeroed || bytes > ZERO_GROUP_BYTES)
		return;
	if (zeros > ZERO_BYTES)
		zeros = ZERO_BYTES;
	if (zeros > window - bytes)
		zeros = window - bytes; /* recovery looks no further for what was in flight */
	if (!zeros)
		return;
	flight->zeros = zeros;
	flight->from = memcpy(log->with_zeros + ZERO_GROUP_BYTES - bytes, flight->from, bytes);
	log->zeroed = flight->end_position + flight->zeros;
	log->zeros_out = true;
}

static void close_group(struct mr_log *log, int32_t leader_epoch)
{
	struct flight *flight = flight_at(log, log->flight_count);
	struct mr_group_place place = {
		.number = log->group_number,
		.flushed_offset = log->flushed.offset,
		.append_ms = mr_clock_wall_ms(log->clock),
		.leader_epoch = leader_epoch,
		.previous_crc = log->previous_crc,
	};
	uint32_t bytes;

	mr_assert(leader_epoch >= log->leader_epoch);
	end_group(log, &place);
	bytes = (uint32_t)(log->end_position - log->open_position);
	mr_segment_index_note(log->active, log->group.base_offset, log->open_position,
			      log->open_max_timestamp_ms, place.append_ms);
	log->leader_epoch = leader_epoch;
	log->average_bytes += bytes / 8;
	log->average_bytes -= log->average_bytes / 8;
	note_rate(log, log->group.batch_bytes, place.append_ms);
	*flight = (struct flight){
		.write = {log},
		.from = mr_tail_at(log->tail, log->open_position),
		.position = log->open_position,
		.end_position = log->end_position,
		.end_offset = log->end_offset,
		.number = log->group_number,
		.file_offset = log->open_position - log->active->base_position,
		.file = log->active->file,
		.crc = log->previous_crc,
	};
	add_zeros(log, flight);
	log->flight_count++;
}

/* Hands closed groups to the queue that it had no place for before; returns how many it took. */
static uint32_t send_closed(struct mr_log *log)
{
	uint32_t sent = 0;

	for (uint32_t i = 0; i < log->flight_count; i++) {
		struct flight *flight = flight_at(log, i);
		int r;

		if (flight->sent)
			continue;
		r = mr_io_queue_write(log->queue, flight->file, flight->from,
				      flight->end_position - flight->position + flight->zeros,
				      flight->file_offset, &flight->write);
		if (r == -EAGAIN)
			return sent;
		if (r < 0) {
			log->failed = true;
			return sent;
		}
		flight->sent = true;
		log->writing++;
		sent++;
	}
	return sent;
}

static bool is_due(const struct mr_log *log, bool force)
{
	uint32_t large = log->options.group_bytes / 2;

	if (!log->group_open || log->group.batch_count == 0)
		return false;
	if (log->flight_count >= log->options.groups_in_flight || log->zeros_out)
		return false;
	if (large < LARGE_GROUP_BYTES)
		large = LARGE_GROUP_BYTES;
	return force || log->flight_count == 0 || log->group_full ||
	       log->group.batch_bytes >= large ||
	       log->group.batch_bytes >= log->options.group_bytes;
}

uint32_t mr_log_submit(struct mr_log *log, int32_t leader_epoch, bool force)
{
	if (log->failed || log->options.in_memory)
		return 0;
	if (is_due(log, force))
		close_group(log, leader_epoch);
	return send_closed(log);
}

bool mr_log_has_unsent(const struct mr_log *log)
{
	return (log->group_open && log->group.batch_count > 0) || log->writing < log->flight_count;
}

/* ---- completing ---------------------------------------------------------- */

/*
 * Moves over the completed groups at the front; into a segment without a name goes 'completed'
 * only.
 */
static void advance(struct mr_log *log)
{
	while (log->flight_count > 0 && flight_at(log, 0)->done) {
		struct flight *flight = flight_at(log, 0);

		log->completed = (struct mark){flight->end_offset, flight->end_position,
					       flight->number, flight->crc};
		if (log->active_named || flight->position < log->active->base_position)
			log->flushed = log->completed;
		log->flight_first = (log->flight_first + 1) % MR_GROUPS_IN_FLIGHT_MAX;
		log->flight_count--;
	}
}

int mr_log_completed(const struct mr_io_completion *completion, uint64_t *flushed)
{
	struct flight *flight = completion->user;
	struct mr_log *log = flight->write.log;

	mr_assert(flight->sent);
	mr_assert(!flight->done);
	mr_assert(log->writing > 0);
	log->writing--;
	if (completion->result < 0)
		log->failed = true;
	else
		flight->done = true;
	if (flight->zeros)
		log->zeros_out = false;
	if (!log->failed)
		advance(log);
	*flushed = log->flushed.offset;
	if (completion->result < 0)
		return completion->result;
	return log->failed ? -EIO : 0;
}

/* ---- segments and events ------------------------------------------------- */

void mr_log_give_spare(struct mr_log *log, struct mr_segment *spare)
{
	mr_assert(!log->spare);
	mr_assert(spare->file_bytes >= mr_log_segment_bytes_min(&log->options));
	log->spare = spare;
}

bool mr_log_wants_spare(const struct mr_log *log)
{
	return !log->spare && !log->failed;
}

uint64_t mr_log_segment_named(struct mr_log *log, const struct mr_segment *segment)
{
	if (segment == log->active && !log->active_named) {
		log->active_named = true;
		if (!log->failed)
			log->flushed = log->completed;
	}
	return log->flushed.offset;
}

bool mr_log_has_event(const struct mr_log *log)
{
	return log->started_pending;
}

struct mr_log_event mr_log_next_event(struct mr_log *log)
{
	struct mr_log_event event = {.kind = MR_LOG_EVENT_NONE, .segment = log->active};

	if (log->started_pending) {
		log->started_pending = false;
		event.kind = MR_LOG_EVENT_STARTED;
		event.header = log->header;
	}
	return event;
}

void mr_log_raise_limit(struct mr_log *log, uint64_t offset)
{
	mr_assert(log->options.in_memory);
	if (offset > log->offset_limit)
		log->offset_limit = offset;
}

void mr_log_state(const struct mr_log *log, struct mr_log_state *state)
{
	*state = (struct mr_log_state){
		.end_offset = log->end_offset,
		.end_position = log->end_position,
		.end_group_number = log->group_number,
		.end_crc = log->previous_crc,
		.flushed_offset = log->flushed.offset,
		.flushed_position = log->flushed.position,
		.flushed_group_number = log->flushed.group_number,
		.flushed_crc = log->flushed.crc,
		.in_flight = log->writing,
		.open = log->group_open,
		.open_bytes = log->group_open ? log->group.batch_bytes : 0,
		.zeros_out = log->zeros_out,
		.failed = log->failed,
	};
}

uint64_t mr_log_end_offset(const struct mr_log *log)
{
	return log->end_offset;
}

uint64_t mr_log_end_position(const struct mr_log *log)
{
	return log->end_position;
}

uint64_t mr_log_flushed_position(const struct mr_log *log)
{
	return log->flushed.position;
}
