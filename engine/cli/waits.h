/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What partitions wait for that acknowledge nothing now, as the engine says it: shown to people,
 * and asked for by a command that gets on no more. Owned by one thread.
 */
#ifndef MR_WAITS_H
#define MR_WAITS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct mr_connection;
struct mr_error;

/*
 * Rows with the same reason together, at most 80 columns:
 *
 *	  t/0-3, u/1 (5 partitions), for 12 s
 *	    why: its leader is not connected: a
 *	    do:  start a, ...
 *
 * 'partition': only this one; -1: all. Returns how many partitions.
 */
size_t mr_waits_print(FILE *out, const json_t *rows, int32_t partition);

/* A command that reads or writes one topic. */
struct mr_waits {
	struct mr_connection *connection; /* borrowed, as 'topic' */
	const char *topic;
	int32_t partition; /* -1: all */
	uint64_t quiet_since_ns;
	uint64_t ask_ns; /* not before */
	bool asked;
	uint64_t said_ns; /* when people were told that it waits; 0: they were not */
};

void mr_waits_begin(struct mr_waits *waits, uint64_t now_ns);
/*
 * Once a turn; 'moved': it got on in this one. After the first second, and after each second
 * without that, the engine is asked, and what it waits for is said, once; and that it goes on.
 */
void mr_waits_turn(struct mr_waits *waits, bool moved, uint64_t now_ns);
/* Into 'why' of an error, as one line. False: nothing waits that the engine knows of. */
bool mr_waits_why(struct mr_waits *waits, struct mr_error *err);
/* Asks and says at once. Returns how many partitions wait; 0 also where nobody answers. */
size_t mr_waits_say(struct mr_waits *waits);

#endif
