/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file and its sparse index. The file's first block is struct mr_segment_header; groups
 * follow. It is made ahead of need as "spare" (allocated, the first part zero-filled, locked), and
 * becomes "<20-digit base offset>.log" when the log rolls into it.
 *
 * The index (offset, time -> group start) is only a hint: appended to by the worker while the
 * segment is active, read by the control thread below the published count; written beside the file
 * as "<base>.index" when the segment is complete, rebuilt when that file is missing or does not
 * check out.
 */
#ifndef MR_SEGMENT_H
#define MR_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "millrace/format.h"

#define MR_INDEX_INTERVAL_BYTES (256u << 10)
#define MR_ZERO_STEP_BYTES	(1u << 20)

struct mr_index_entry {
	uint64_t offset;	  /* base offset of a group */
	uint64_t position;	  /* where it starts */
	int64_t max_timestamp_ms; /* newest record timestamp before this group in the segment;
				     INT64_MIN: none */
};

/* Append-only: entries below 'count' never change (W9: entry before count; R9 pairs). */
struct mr_segment_index {
	struct mr_index_entry *entries;
	uint32_t capacity;
	_Atomic uint32_t count;
	_Atomic int64_t max_timestamp_ms; /* of the whole segment so far */
	_Atomic int64_t last_append_ms;	  /* of its newest group: retention by age */
};

/*
 * Fixed from the start: io, directory, file, segment_id, file_bytes. base_* and named: set by the
 * worker at the roll and by the control thread when it is told; each thread keeps its own view
 * (log.h).
 */
struct mr_segment {
	struct mr_io *io;
	struct mr_io_file *file; /* opened once for writing, locked (D14); NULL for old segments */
	char directory[96];	 /* "topics/<id>/<partition>" */
	uint64_t segment_id;
	uint64_t file_bytes;
	uint64_t base_offset;
	uint64_t base_position;
	uint64_t end_position; /* complete segments: end of the last group */
	uint64_t end_offset;
	uint64_t zeroed_bytes; /* file bytes from the start that are zero-filled or were
				  written */
	bool renamed;	       /* by mr_segment_name(), which may be tried again */
	struct mr_segment_index index;
};

/*
 * Makes "<directory>/spare": allocated, locked, first step zero-filled, synced. May block: a chore.
 * -ENOSPC; -EEXIST: there is one, perhaps in use and not named yet (recovery removes what a crash
 * left).
 */
int mr_segment_make_spare(struct mr_io *io, const char *directory, uint64_t file_bytes,
			  struct mr_segment **out, struct mr_error *err);
/* The same for one that is named next: mr_segment_name() makes all of it durable at once. */
int mr_segment_make(struct mr_io *io, const char *directory, uint64_t file_bytes,
		    struct mr_segment **out, struct mr_error *err);
/*
 * Takes the spare that an engine made which ended well, instead of making one: whole and never
 * written to, it only gets an id of its own. -ENOENT: there is none; one of another size,
 * or in somebody's hands, is removed. A chore.
 */
int mr_segment_use_spare(struct mr_io *io, const char *directory, uint64_t file_bytes,
			 struct mr_segment **out, struct mr_error *err);
/* Header block written and synced, renamed from "spare" to its name, directory synced. A chore. */
int mr_segment_name(struct mr_segment *segment, const struct mr_segment_header *header,
		    struct mr_error *err);
/* Zero-fills file bytes [from, to) and syncs. A chore; nobody else writes there meanwhile. */
int mr_segment_zero(struct mr_segment *segment, uint64_t from, uint64_t to, struct mr_error *err);
/*
 * Opens "<directory>/<name>": locks it first if 'writable' (waits up to wait_ms), checks the
 * header. -EBADMSG.
 */
int mr_segment_open(struct mr_io *io, const char *directory, const char *name, bool writable,
		    uint32_t lock_wait_ms, struct mr_segment **out,
		    struct mr_segment_header *header, struct mr_error *err);
void mr_segment_close(struct mr_segment *segment); /* takes NULL and half-open ones */
/* File and index, durably; closes nothing. Oldest segment first: the log has no holes. */
int mr_segment_remove(struct mr_segment *segment, struct mr_error *err);
/*
 * The same, but *left is the file without its name, which the caller closes: with it goes all that
 * it holds, and where the file system discards what is freed, the disk does nothing else meanwhile
 * (mr_io_shrink). NULL where it could not be opened.
 */
int mr_segment_remove_name(struct mr_segment *segment, struct mr_io_file **left,
			   struct mr_error *err);

/* "00000000000000000042.log" */
void mr_segment_file_name(uint64_t base_offset, char name[32]);
bool mr_segment_parse_name(const char *name, uint64_t *base_offset); /* such a one, nothing else */
/* relative to the data directory */
void mr_segment_path(const struct mr_segment *segment, char path[160]);
int mr_segment_encode_header(const struct mr_segment_header *header, uint8_t block[MR_BLOCK_BYTES]);
int mr_segment_decode_header(const uint8_t block[MR_BLOCK_BYTES], struct mr_segment_header *header,
			     struct mr_error *err);

/* The index: the worker's and the control thread's half. */
void mr_segment_index_note(struct mr_segment *segment, uint64_t offset, uint64_t position,
			   int64_t max_timestamp_ms, int64_t append_ms);
/* The last entry at or before 'offset'; the segment's first group if there is none. */
struct mr_index_entry mr_segment_index_find(const struct mr_segment *segment, uint64_t offset);
/*
 * The last entry with no record at or after 'timestamp_ms' before it; the segment's first group if
 * there is none.
 */
struct mr_index_entry mr_segment_index_find_time(const struct mr_segment *segment,
						 int64_t timestamp_ms);
/*
 * A chore. Also for an active segment (end_* are 0 then): at checkpoints or a clean stop, so that
 * recovery has what stands before the checkpoint.
 */
int mr_segment_index_save(struct mr_segment *segment, struct mr_error *err);
/* Nobody else has the segment yet. Sets end_* too. -EBADMSG: rebuild. */
int mr_segment_index_load(struct mr_segment *segment, struct mr_error *err);
/* Forgets entries from 'position' on: recovery, before it scans on from there. */
void mr_segment_index_forget(struct mr_segment *segment, uint64_t position);

#endif
