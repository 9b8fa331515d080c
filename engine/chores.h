/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chores thread: one thread that does what may block on a disk, so that the control thread
 * never does. The control thread sends a chore; the chores thread runs it, alone with whatever it
 * points to, and sends it back; the control thread then calls its 'done'. One at a time, in order.
 *
 * Between chores it gives back the space of files that were removed, a little at a time: a disk
 * that is told to discard much at once does nothing else meanwhile, and every producer waits.
 */
#ifndef MR_CHORES_H
#define MR_CHORES_H

#include <stdbool.h>

#include "base/place.h"
#include "error.h"

/* First member of a chore's own struct. */
struct mr_chore {
	int (*run)(struct mr_chore *chore, struct mr_error *err); /* chores thread */
	void (*done)(struct mr_chore *chore);			  /* control thread; frees it */
	int status;						  /* what run returned */
	struct mr_error err;
};

struct mr_chores;
struct mr_io_file;

int mr_chores_start(const struct mr_place_entry *place, struct mr_chores **out,
		    struct mr_error *err);
/* Nothing may be pending: mr_chores_finish() until mr_chores_pending() is 0. Takes NULL. */
void mr_chores_stop(struct mr_chores *chores);
/* Control thread. There is room for more chores than can be under way. */
void mr_chores_send(struct mr_chores *chores, struct mr_chore *chore);
/*
 * Chores thread, from a chore: takes a file whose name is gone and gives its space back in small
 * pieces, while there is nothing else to do, before it closes it (mr_io_shrink). NULL is fine.
 */
void mr_chores_give_back(struct mr_chores *chores, struct mr_io_file *file);
/* Control thread: calls 'done' of what is finished; returns how many. */
uint32_t mr_chores_finish(struct mr_chores *chores);
/* Chores sent whose 'done' was not called yet. */
uint32_t mr_chores_pending(const struct mr_chores *chores);
int mr_chores_fd(const struct mr_chores *chores);

#endif
