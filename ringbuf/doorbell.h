/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping and waking across processes: an eventfd per direction, non-blocking, always with a
 * time-out behind it. A lost or forged ring costs time only (rule S5). The protocol, on both ends
 * (Dekker's, hence a full fence between "I say" and "I look"):
 *
 *	sleeper: flag = 1; fence; look again; nothing? sleep on the eventfd; flag = 0
 *	waker:   publish; fence; flag == 1? ring
 */
#ifndef MR_DOORBELL_H
#define MR_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace.h"

/* A new eventfd (non-blocking, close-on-exec), or a negative errno. */
int mr_doorbell_open(struct mr_error *err);
/* Rings: never blocks; a full counter means it is rung already. */
void mr_doorbell_ring(int fd);
/* Sleeps until rung or 'timeout_ms' is over; takes the rings. True if it was rung. */
bool mr_doorbell_wait(int fd, uint32_t timeout_ms);
/* Takes what was rung, by one read. */
void mr_doorbell_clear(int fd);

/*
 * Many bells behind one descriptor that polls readable: a worker's. Edge-triggered: nobody reads
 * the eventfds.
 */
int mr_doorbell_set_open(struct mr_error *err);
int mr_doorbell_set_add(int set_fd, int bell_fd, struct mr_error *err);
void mr_doorbell_set_remove(int set_fd, int bell_fd);
/* Forgets all rings so far (bounded work); the worker looks at its lanes after it. */
void mr_doorbell_set_clear(int set_fd);

#endif
