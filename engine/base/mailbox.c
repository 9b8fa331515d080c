/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mailbox: one rte_ring filled in by hand (no DPDK library is linked) and its bell.
 *
 * Sender and receiver each own one end of the ring; the flag 'asleep' is the only thing that both
 * write. It is only ever exchanged, by a sender that has put its pointer in and by a receiver that
 * then looks for one. Of two exchanges one is first, and the second sees all that came before the
 * first: so either the sender finds the flag and rings, or the receiver finds the pointer and stays
 * awake. No fence is needed, and ThreadSanitizer can follow it.
 */
#include "mailbox.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The ring's ends as acquire and release of C11 on every processor, not as compiler barriers. */
#ifndef RTE_USE_C11_MEM_MODEL
#define RTE_USE_C11_MEM_MODEL 1
#endif
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "check.h"

/* The head is shared and never changes after open but for 'asleep', which has a line of its own. */
struct mr_mailbox {
	struct rte_ring *ring; /* with its slots behind it; owned */
	int bell_fd;	       /* eventfd; owned */
	enum mr_mailbox_bell bell;
	alignas(64) _Atomic uint32_t asleep; /* enum sleep: the receiver wants a bell */
};

enum sleep {
	AWAKE,
	ASLEEP_DEEPLY, /* for what is not sent quietly */
	ASLEEP,	       /* for the next pointer, whatever it is */
};

/*
 * What rte_ring_init() would do. A ring of 2^n slots holds one less, so that full and empty differ;
 * 'capacity' may be any number below that.
 */
static struct rte_ring *ring_new(uint32_t capacity)
{
	uint32_t slots = rte_align32pow2(capacity + 1);
	size_t bytes = sizeof(struct rte_ring) + (size_t)slots * sizeof(void *);
	struct rte_ring *ring;

	bytes = (bytes + RTE_CACHE_LINE_SIZE - 1) & ~(size_t)(RTE_CACHE_LINE_SIZE - 1);
	ring = aligned_alloc(RTE_CACHE_LINE_SIZE, bytes);
	if (!ring)
		return NULL;
	memset(ring, 0, bytes);
	ring->flags = RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ;
	ring->size = slots;
	ring->mask = slots - 1;
	ring->capacity = capacity;
	ring->prod.sync_type = RTE_RING_SYNC_ST;
	ring->cons.sync_type = RTE_RING_SYNC_ST;
	return ring;
}

int mr_mailbox_open(uint32_t capacity, enum mr_mailbox_bell bell, struct mr_mailbox **out,
		    struct mr_error *err)
{
	struct mr_mailbox *box;
	int r;

	mr_assert(capacity >= 1);
	mr_assert(capacity <= MR_MAILBOX_CAPACITY_MAX);
	box = aligned_alloc(alignof(struct mr_mailbox), sizeof(*box));
	if (!box)
		return mr_error_set(err, -ENOMEM, "no memory for a mailbox");
	memset(box, 0, sizeof(*box));
	box->bell = bell;
	box->bell_fd = -1;
	box->ring = ring_new(capacity);
	if (!box->ring) {
		r = mr_error_set(err, -ENOMEM, "no memory for a mailbox of %u pointers", capacity);
		goto fail;
	}
	box->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (box->bell_fd < 0) {
		r = mr_error_set(err, -errno, "cannot make a mailbox's bell");
		goto fail;
	}
	*out = box;
	return 0;
fail:
	mr_mailbox_close(box);
	return r;
}

void mr_mailbox_close(struct mr_mailbox *box)
{
	if (!box)
		return;
	if (box->bell_fd >= 0)
		(void)close(box->bell_fd); /* an eventfd holds nothing that could be lost */
	free(box->ring);
	free(box);
}

/*
 * W3 and R3 in one: never a plain store, which would break the chain by which a later exchange of
 * the receiver sees what an earlier one of the sender published.
 */
static enum sleep exchange_asleep(struct mr_mailbox *box, enum sleep asleep)
{
	return (enum sleep)atomic_exchange_explicit(&box->asleep, asleep, memory_order_acq_rel);
}

static void ring_bell(struct mr_mailbox *box)
{
	uint64_t one = 1;

	/* It only fails with EAGAIN at 2^64 - 2 rings that nobody heard: it is readable then too.
	 */
	if (write(box->bell_fd, &one, sizeof(one)) < 0)
		mr_assert(errno == EAGAIN);
}

/* R2 before the slot is used again, W1 after it is filled: both inside rte_ring. */
static int put(struct mr_mailbox *box, void *message)
{
	mr_assert(message);
	return rte_ring_sp_enqueue_elem(box->ring, &message, sizeof(message)) != 0 ? -EAGAIN : 0;
}

int mr_mailbox_send(struct mr_mailbox *box, void *message)
{
	if (put(box, message) < 0)
		return -EAGAIN;
	if (box->bell == MR_MAILBOX_BELL_ALWAYS) {
		ring_bell(box);
		return 0;
	}
	/* W3: the pointer is in before the flag is taken. Pairs with R3. */
	if (exchange_asleep(box, AWAKE) != AWAKE)
		ring_bell(box);
	return 0;
}

int mr_mailbox_send_quietly(struct mr_mailbox *box, void *message)
{
	if (put(box, message) < 0)
		return -EAGAIN;
	/*
	 * W3 as well: it changes nothing, but is an exchange like the others. Who sleeps deeply
	 * keeps its flag, for a sender that rings.
	 */
	if (box->bell == MR_MAILBOX_BELL_ALWAYS ||
	    (atomic_fetch_or_explicit(&box->asleep, 0, memory_order_acq_rel) == ASLEEP &&
	     exchange_asleep(box, AWAKE) != AWAKE))
		ring_bell(box);
	return 0;
}

void *mr_mailbox_receive(struct mr_mailbox *box)
{
	void *message;

	/* R1 before the slot is read, W2 after: both inside rte_ring. */
	if (rte_ring_sc_dequeue_elem(box->ring, &message, sizeof(message)) != 0)
		return NULL;
	return message;
}

int mr_mailbox_fd(const struct mr_mailbox *box)
{
	return box->bell_fd;
}

/* Receiver. R1 again: what it sees is not taken yet, only known to be there. */
static bool is_empty(const struct rte_ring *ring)
{
	return __atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) == ring->cons.head;
}

static bool fall_asleep(struct mr_mailbox *box, enum sleep asleep)
{
	/* R3: the flag is up before the ring is looked at. Pairs with W3 in mr_mailbox_send(). */
	(void)exchange_asleep(box, asleep);
	if (is_empty(box->ring))
		return true;
	(void)exchange_asleep(box, AWAKE);
	return false;
}

bool mr_mailbox_sleep(struct mr_mailbox *box)
{
	return fall_asleep(box, ASLEEP);
}

bool mr_mailbox_sleep_deeply(struct mr_mailbox *box)
{
	return fall_asleep(box, ASLEEP_DEEPLY);
}

void mr_mailbox_wake(struct mr_mailbox *box)
{
	uint64_t rings;

	if (exchange_asleep(box, AWAKE) != AWAKE && box->bell == MR_MAILBOX_BELL_IF_ASLEEP)
		return; /* who rings takes the flag first: nobody has */
	if (read(box->bell_fd, &rings, sizeof(rings)) < 0)
		mr_assert(errno == EAGAIN); /* nobody rang */
}
