/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail: the end of a partition's log in memory. The worker writes it, once; the disk, the
 * engine's own readers and consumers in other processes read the very same bytes. Data byte
 * (position & (tail_bytes - 1)) is the log's byte at that position. Data is mapped twice in a row:
 * nothing wraps.
 *
 * To clients it is a seqlock (rule S8): 'reclaimed' rises before bytes are overwritten (release
 * fence); a reader checks it after it has copied (acquire fence). The engine's own readers publish
 * holds instead, which reclaim never passes.
 */
#ifndef MR_TAIL_H
#define MR_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"
#include "millrace/format.h"

/* ---- the worker's side ----------------------------------------------------------------------- */

#define MR_TAIL_HOLDS_MAX 64
#define MR_TAIL_NO_HOLD	  UINT64_MAX

/*
 * A reader inside the engine: one line, one writer. A hold begins by the worker's hand, before the
 * reader starts, so that no reclaim can race with it; from then on the reader alone stores the
 * position that it still needs, which only rises (W9: release, after it has done with the bytes
 * before), and MR_TAIL_NO_HOLD at its end.
 */
struct mr_tail_hold {
	_Alignas(64) _Atomic uint64_t position; /* MR_TAIL_NO_HOLD: nothing */
};

struct mr_tail {
	struct mr_tail_page *page;
	uint8_t *data;		    /* 2 x tail_bytes of address space */
	struct mr_tail_hold *holds; /* MR_TAIL_HOLDS_MAX of them */
	uint64_t tail_bytes;
	int fd; /* sealed; duplicates go to clients */
};

/*
 * Makes and maps a tail that begins at 'start_position' / 'start_offset'; memory is not touched
 * yet, so that the caller can bind it to a node and then populate it.
 */
int mr_tail_create(uint64_t tail_bytes, const uint8_t topic_id[16], int32_t partition,
		   uint64_t start_position, uint64_t start_offset, struct mr_tail *out,
		   struct mr_error *err);
void mr_tail_destroy(struct mr_tail *tail);

static inline uint8_t *mr_tail_at(const struct mr_tail *tail, uint64_t position)
{
	return tail->data + (position & (tail->tail_bytes - 1));
}

/* The lowest position that an engine's reader still needs; UINT64_MAX if none. Acquires (R9). */
uint64_t mr_tail_lowest_hold(const struct mr_tail *tail);

/*
 * W7: says that bytes before 'position' may be overwritten from now on ('offset' is the base offset
 * of the first group that starts at or after it). Call it before writing over them.
 */
void mr_tail_reclaim(struct mr_tail *tail, uint64_t position, uint64_t offset);
/* W8: publish how far the log is appended, flushed, committed. Each only rises. */
void mr_tail_publish_appended(struct mr_tail *tail, uint64_t position, uint64_t offset);
void mr_tail_publish_flushed(struct mr_tail *tail, uint64_t position, uint64_t offset);
void mr_tail_publish_committed(struct mr_tail *tail, uint64_t position, uint64_t offset);
void mr_tail_publish_log_start(struct mr_tail *tail, uint64_t offset);
uint64_t mr_tail_log_start(const struct mr_tail *tail); /* as published */
void mr_tail_publish_closed(struct mr_tail *tail); /* readers attach again */

/* ---- a client's side: read-only map ---------------------------------------------------------- */

struct mr_tail_view {
	const struct mr_tail_page *page;
	const uint8_t *data;
	uint64_t tail_bytes;
};

/* 'fd' is borrowed and checked: size, seals, magic. */
int mr_tail_view_open(int fd, uint64_t tail_bytes, struct mr_tail_view *out, struct mr_error *err);
void mr_tail_view_close(struct mr_tail_view *view);

static inline const uint8_t *mr_tail_view_at(const struct mr_tail_view *view, uint64_t position)
{
	return view->data + (position & (view->tail_bytes - 1));
}

/* R7: true if all bytes from 'position' on that were read before this call were whole. */
bool mr_tail_view_valid(const struct mr_tail_view *view, uint64_t position);

#endif
