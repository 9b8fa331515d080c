/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chores thread (chores.h). It owns nothing but the chore it is running.
 */
#include "chores.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mailbox.h"
#include "check.h"

/* More than can be out: a few per partition, one checkpoint, one retention round. */
#define CHORES_MAX 8192

struct mr_chores {
	pthread_t thread;
	struct mr_mailbox *to_do; /* control -> chores */
	struct mr_mailbox *done;  /* chores -> control */
	struct mr_place_entry place;
	uint32_t pending;    /* the control thread's */
	struct mr_chore end; /* asks the thread to end */
};

static struct mr_chore *next_chore(struct mr_chores *chores)
{
	struct pollfd poll_fd = {.fd = mr_mailbox_fd(chores->to_do), .events = POLLIN};
	struct mr_chore *chore;

	while (!(chore = mr_mailbox_receive(chores->to_do))) {
		if (mr_mailbox_sleep(chores->to_do))
			(void)poll(&poll_fd, 1, 1000); /* a signal or time-out only looks again */
		mr_mailbox_wake(chores->to_do);
	}
	return chore;
}

static void *run(void *arg)
{
	struct mr_chores *chores = arg;
	struct mr_chore *chore;
	int r;

	(void)pthread_setname_np(pthread_self(), "chores"); /* for people only */
	(void)mr_place_bind_thread(&chores->place, NULL);   /* a wish, no need */
	while ((chore = next_chore(chores)) != &chores->end) {
		chore->status = chore->run(chore, &chore->err);
		r = mr_mailbox_send(chores->done, chore);
		mr_assert(r == 0);
	}
	return NULL;
}

int mr_chores_start(const struct mr_place_entry *place, struct mr_chores **out,
		    struct mr_error *err)
{
	struct mr_chores *chores = calloc(1, sizeof(*chores));
	sigset_t all, old;
	int r;

	if (!chores)
		return mr_error_set(err, -ENOMEM, "no memory for the chores thread");
	chores->place = *place;
	r = mr_mailbox_open(CHORES_MAX, MR_MAILBOX_BELL_IF_ASLEEP, &chores->to_do, err);
	if (r < 0)
		goto fail;
	r = mr_mailbox_open(CHORES_MAX, MR_MAILBOX_BELL_ALWAYS, &chores->done, err);
	if (r < 0)
		goto fail;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&chores->thread, NULL, run, chores);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		mr_error_set(err, r, "cannot start the chores thread");
		goto fail;
	}
	*out = chores;
	return 0;
fail:
	mr_mailbox_close(chores->to_do);
	mr_mailbox_close(chores->done);
	free(chores);
	return r;
}

void mr_chores_stop(struct mr_chores *chores)
{
	int r;

	if (!chores)
		return;
	mr_assert(chores->pending == 0);
	r = mr_mailbox_send(chores->to_do, &chores->end);
	mr_assert(r == 0);
	pthread_join(chores->thread, NULL);
	mr_mailbox_close(chores->to_do);
	mr_mailbox_close(chores->done);
	free(chores);
}

void mr_chores_send(struct mr_chores *chores, struct mr_chore *chore)
{
	int r = mr_mailbox_send(chores->to_do, chore);

	mr_assert(r == 0); /* bounded by partitions, see CHORES_MAX */
	chores->pending++;
}

uint32_t mr_chores_finish(struct mr_chores *chores)
{
	struct mr_chore *chore;
	uint32_t count = 0;

	mr_mailbox_wake(chores->done); /* silences the bell, before looking */
	while ((chore = mr_mailbox_receive(chores->done)) != NULL) {
		chores->pending--;
		chore->done(chore);
		count++;
	}
	return count;
}

uint32_t mr_chores_pending(const struct mr_chores *chores)
{
	return chores->pending;
}

int mr_chores_fd(const struct mr_chores *chores)
{
	return mr_mailbox_fd(chores->done);
}
