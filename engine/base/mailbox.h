/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mailbox: pointers from one thread of the engine to another, in order. A single-producer,
 * single-consumer rte_ring in private memory, and an eventfd as the bell.
 *
 * One thread sends, one other thread receives; open and close belong to neither, but happen
 * before and after both. What a pointer points to belongs to the receiver from
 * mr_mailbox_send() on.
 *
 * The bell rings only if the receiver said that it sleeps, so that a busy pair makes no system
 * calls:
 *
 *	while ((message = mr_mailbox_receive(box)))
 *		handle(message);
 *	if (mr_mailbox_sleep(box))		// false: something came meanwhile
 *		poll(mr_mailbox_fd(box), ...);
 *	mr_mailbox_wake(box);
 *
 * Ordered accesses (mailbox.c; each pair is named there too):
 *	W1 producer tail, release  -> R1 producer tail, acquire: the slot and what it points to
 *	W2 consumer tail, release  -> R2 consumer tail, acquire: the slot may be used again
 *	W3 'asleep' exchanged <-> R3 'asleep' exchanged: whoever comes second sees the other
 */
#ifndef MR_MAILBOX_H
#define MR_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MR_MAILBOX_CAPACITY_MAX (1u << 20)

enum mr_mailbox_bell {
	MR_MAILBOX_BELL_IF_ASLEEP, /* rings when the receiver said that it sleeps */
	MR_MAILBOX_BELL_ALWAYS,	   /* rings at every send: for receivers that only poll */
};

struct mr_mailbox;

/*
 * Holds up to 'capacity' pointers, 1 to MR_MAILBOX_CAPACITY_MAX. On success the caller owns
 * *out.
 */
int mr_mailbox_open(uint32_t capacity, enum mr_mailbox_bell bell, struct mr_mailbox **out,
		    struct mr_error *err);
/* Takes NULL. Pointers still inside are forgotten: receive them first. */
void mr_mailbox_close(struct mr_mailbox *box);

/* Sender. 0, or -EAGAIN when full (then the pointer is still the caller's). Never NULL. */
int mr_mailbox_send(struct mr_mailbox *box, void *message);
/* The same of what nobody hurries for: rings only for who said that it waits for that, too. */
int mr_mailbox_send_quietly(struct mr_mailbox *box, void *message);

/* Receiver. The oldest pointer, or NULL when empty. */
void *mr_mailbox_receive(struct mr_mailbox *box);

/* Receiver: readable after a bell. Owned by the mailbox; non-blocking; goes into poll or epoll. */
int mr_mailbox_fd(const struct mr_mailbox *box);

/* Receiver, before it waits. True: wait, the next send rings. False: something is there already. */
bool mr_mailbox_sleep(struct mr_mailbox *box);
/* The same, but what is sent quietly lies there until something else ends the wait. */
bool mr_mailbox_sleep_deeply(struct mr_mailbox *box);

/* Receiver, after it waited (or did not): no more bells, and the bell is silent again. */
void mr_mailbox_wake(struct mr_mailbox *box);

#endif
