/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping and waking across processes: a bell per direction, non-blocking, always with a time-out
 * behind it. A lost or forged ring costs time only (rule S5). The protocol, on both ends (Dekker's,
 * hence a full fence between "I say" and "I look"):
 *
 *	sleeper: flag = 1; fence; look again; nothing? sleep on the eventfd; flag = 0
 *	waker:   publish; fence; flag == 1? ring
 */
#ifndef MR_DOORBELL_H
#define MR_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"

/*
 * A new eventfd (non-blocking, close-on-exec), or a negative errno: for bells between our own
 * threads, and for those that a client rings and the engine only polls (a set, below). Never ring
 * or clear one that a client holds too: O_NONBLOCK belongs to the open file, so the client can take
 * it away and the call would block.
 */
int mr_doorbell_open(struct mr_error *err);
/*
 * A bell that the engine rings and a client sleeps on: two ends of a socket pair, each with its own
 * flags. The engine keeps *ring_fd and hands out *wait_fd.
 */
int mr_doorbell_open_pair(int *ring_fd, int *wait_fd, struct mr_error *err);
/* Rings: never blocks; a full counter or queue means it is rung already. */
void mr_doorbell_ring(int fd);
/* Sleeps until rung, a signal, or 'timeout_ms' is over; takes the rings. True if it was rung. */
bool mr_doorbell_wait(int fd, uint32_t timeout_ms);
/* Takes what was rung; bounded work. */
void mr_doorbell_clear(int fd);

/*
 * Many bells behind one descriptor that polls readable: a worker's. Edge-triggered: nobody reads
 * the eventfds. Remove a bell before closing it: the client's duplicate would keep it in the set.
 */
int mr_doorbell_set_open(struct mr_error *err);
int mr_doorbell_set_add(int set_fd, int bell_fd, struct mr_error *err);
void mr_doorbell_set_remove(int set_fd, int bell_fd);
/* Forgets all rings so far (bounded work); the worker looks at its lanes after it. */
void mr_doorbell_set_clear(int set_fd);
/*
 * Sleeps until a bell of the set is rung, at most so long; those that rang are silent then. A
 * signal ends it, too. Returns one that rang, or -1.
 */
int mr_doorbell_set_wait(int set_fd, uint32_t timeout_ms);

#endif
