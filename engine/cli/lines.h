/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines out of a descriptor, through one big buffer that they are handed out of in place. For CSV,
 * rows: a line break between double quotes does not end one. Owned by one thread.
 *
 *	for (;;) {
 *		r = mr_lines_next(lines, &line, &bytes);
 *		if (r == -EAGAIN) {		// all that was read is used up
 *			finish with the lines handed out so far: they are about to move;
 *			r = mr_lines_fill(lines, err);	// may wait
 *		} ...
 *	}
 */
#ifndef MR_LINES_H
#define MR_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define MR_LINE_BYTES_MAX (16u << 20)

struct mr_lines {
	int fd;	     /* borrowed */
	bool rows;   /* line breaks in double quotes belong to the row */
	bool at_end; /* the descriptor has no more */
	enum mr_lines_place {
		MR_LINES_FIELD_START,
		MR_LINES_PLAIN, /* in a field without quotes: one in the middle opens nothing */
		MR_LINES_QUOTED,
		MR_LINES_CLOSED, /* behind a quote: it ended the field, or another one follows */
	} place;		 /* of 'scanned' in a row */
	char *buffer;		 /* owned */
	size_t capacity;
	size_t begin;	/* of the next line */
	size_t scanned; /* no end of it before this place */
	size_t end;	/* of what was read */
	uint64_t line;	/* number of the line that the last one handed out began on, from 1 */
	uint64_t next_line;
	uint64_t breaks; /* line breaks inside of the row that is being looked for */
};

/* On success the caller ends with mr_lines_deinit(). -ENOMEM. */
int mr_lines_init(struct mr_lines *lines, int fd, bool rows, struct mr_error *err);
void mr_lines_deinit(struct mr_lines *lines); /* takes one of zeros; closes nothing */

/*
 * 1 and the next line without its line break (a last line may lack one); 0 at the end; -EAGAIN:
 * fill first; -EMSGSIZE: a line over MR_LINE_BYTES_MAX: reading cannot go on.
 */
int mr_lines_next(struct mr_lines *lines, char **line, size_t *bytes);

/*
 * Reads more, once; waits a moment for it. 0 also when nothing came, at the end, and when a stop
 * was asked for (stop.h); else a negative errno. Lines handed out before are invalid afterwards.
 */
int mr_lines_fill(struct mr_lines *lines, struct mr_error *err);

#endif
