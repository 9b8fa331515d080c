/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a consumer reads one partition from: the tail in the engine's memory, or, for what the tail
 * no longer has, the segment files. Positions are one byte space in both, so it goes from one to
 * the other without losing or repeating a record. All of it is owned by the consumer's thread.
 */
#ifndef MR_SOURCE_H
#define MR_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "expand.h"
#include "segment_reader.h"
#include "tail_cursor.h"

/* What all sources of a consumer share: whom to ask, and what was read last. */
struct mr_reading {
	struct mr_connection *connection;
	const char *topic;
	uint8_t topic_id[16];
	bool appended;	 /* reads all that is appended, not only what is committed */
	bool control;	 /* control batches are handed out, too, each alone; else passed over */
	bool is_control; /* what was read last is one */
	struct mr_message *messages;
	uint32_t message_count;
	uint32_t message_capacity;
	uint8_t *copy; /* of batches out of the tail, for poll */
	size_t copy_used;
	size_t copy_capacity;
	struct mr_expander expander; /* of the compressed batches of this read */
};

enum mr_source_mode {
	MR_SOURCE_FIND, /* 'next' is known, its place is not */
	MR_SOURCE_TAIL,
	MR_SOURCE_FILE,
};

/* All that reading moves: what an overtaken read in place goes back to. */
struct mr_source_place {
	enum mr_source_mode mode;
	struct mr_tail_cursor cursor; /* in mode TAIL */
	uint64_t next;		      /* offset of the next record to hand out */
	uint64_t expected; /* the least base offset that the next batch may have; 0: any */
	bool skipping;	   /* records before skip_before_ms, from FIND_OFFSET's hint on */
	bool oldest;	   /* none was handed out: 'next' is the oldest that is kept by then */
};

struct mr_source {
	int32_t partition;
	bool attached; /* to the tail that is there now, as far as known */
	bool viewed;   /* view is mapped */
	struct mr_tail_view view;
	struct mr_source_place place;
	struct mr_segment_reader file; /* in mode FILE */
	int64_t skip_before_ms;
	uint64_t overtaken;
	uint64_t committed;	       /* the group's, as this consumer set it; MR_OFFSET_UNKNOWN */
	bool held;		       /* messages in place are out */
	uint64_t held_position;	       /* of the first byte that they need */
	struct mr_source_place before; /* what was read in place */
};

void mr_source_init(struct mr_source *source, int32_t partition);
void mr_source_close(struct mr_source *source);

/* Maps the partition's present tail; reads on from 'next'. The tail's offsets are in *reply. */
int mr_source_attach(struct mr_source *source, const struct mr_reading *reading, uint64_t wait,
		     uint64_t deadline, struct mr_tail_reply *reply, struct mr_error *err);
/* True if the tail was given up by the engine: attach again. */
bool mr_source_is_closed(const struct mr_source *source);

void mr_source_seek(struct mr_source *source, uint64_t offset);

/*
 * Reads what is there into reading->messages, in place or copied. 1: there are some; 0: nothing
 * now; -ERANGE, -EBADMSG, -ENOTSUP, -EPIPE with a sentence. Asks the engine for files only, up to
 * 'deadline' or a quarter of a second. 'err' is not NULL.
 */
int mr_source_read(struct mr_source *source, struct mr_reading *reading, bool in_place,
		   uint64_t deadline, struct mr_error *err);
/* 0: what was read in place was whole; -EOVERFLOW: it counts for nothing and comes again. */
int mr_source_release(struct mr_source *source);

/* True if a read may find something that the last one did not. */
bool mr_source_has_news(const struct mr_source *source, const struct mr_reading *reading);
/* One past the last offset of this view. */
uint64_t mr_source_end_offset(const struct mr_source *source, const struct mr_reading *reading);

#endif
