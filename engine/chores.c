/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chores thread (chores.h). It owns the chore it is running, and the files that it gives back.
 *
 * A piece is a share of all that is to be given back, so that it lasts about as long however much
 * there is: a little more than a second, and the disk has that for it at any rate of writing.
 */
#include "chores.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/mailbox.h"
#include "check.h"

/* More than can be out: a few per partition, one checkpoint, one retention round. */
#define CHORES_MAX 8192

#define LEFT_MAX      256		 /* files that are given back at a time */
#define LEFT_SHARE    256		 /* of what is left, a piece */
#define LEFT_PIECE    (256u << 10)	 /* the least */
#define LEFT_PAUSE_MS 4			 /* without a chore, then comes a piece */
#define LEFT_LATE_NS  UINT64_C(50000000) /* and one between chores, if it is so long ago */

/* What is left of a file whose name is gone. */
struct left {
	struct mr_io_file *file;
	uint64_t bytes;
};

struct mr_chores {
	pthread_t thread;
	struct mr_mailbox *to_do; /* control -> chores */
	struct mr_mailbox *done;  /* chores -> control */
	struct mr_place_entry place;
	uint32_t pending;    /* the control thread's */
	struct mr_chore end; /* asks the thread to end */
	/* the chores thread's: files to be given back, a ring, oldest first */
	struct left left[LEFT_MAX];
	uint32_t left_first, left_count;
	uint64_t left_bytes, left_ns; /* of all; when the last piece was given back */
};

/* ---- giving back ---------------------------------------------------------- */

void mr_chores_give_back(struct mr_chores *chores, struct mr_io_file *file)
{
	int64_t bytes = file ? mr_io_size(file, NULL) : 0;

	if (bytes <= 0 || chores->left_count == LEFT_MAX) {
		mr_io_file_close(file);
		return;
	}
	chores->left[(chores->left_first + chores->left_count++) % LEFT_MAX] =
		(struct left){.file = file, .bytes = (uint64_t)bytes};
	chores->left_bytes += (uint64_t)bytes;
}

static void close_first(struct mr_chores *chores)
{
	struct left *left = &chores->left[chores->left_first];

	mr_io_file_close(left->file);
	chores->left_bytes -= left->bytes;
	chores->left_first = (chores->left_first + 1) % LEFT_MAX;
	chores->left_count--;
}

/* One piece from the end of the oldest file. One that cannot be cut goes as a whole. */
static void give_back_piece(struct mr_chores *chores)
{
	struct left *left = &chores->left[chores->left_first];
	uint64_t piece = chores->left_bytes / LEFT_SHARE / LEFT_PIECE * LEFT_PIECE + LEFT_PIECE;

	chores->left_ns = mr_clock_monotonic_ns(&mr_clock_system);
	if (left->bytes <= piece || mr_io_shrink(left->file, left->bytes - piece, NULL) < 0) {
		close_first(chores);
		return;
	}
	left->bytes -= piece;
	chores->left_bytes -= piece;
}

static bool is_late(const struct mr_chores *chores)
{
	return mr_clock_monotonic_ns(&mr_clock_system) - chores->left_ns >= LEFT_LATE_NS;
}

/* ---- the thread ----------------------------------------------------------- */

/* A signal or time-out only looks again. True: nothing came. */
static bool wait_for_chore(struct mr_chores *chores)
{
	struct pollfd poll_fd = {.fd = mr_mailbox_fd(chores->to_do), .events = POLLIN};
	bool quiet = false;

	if (mr_mailbox_sleep(chores->to_do))
		quiet = poll(&poll_fd, 1, chores->left_count ? LEFT_PAUSE_MS : 1000) == 0;
	mr_mailbox_wake(chores->to_do);
	return quiet;
}

static struct mr_chore *next_chore(struct mr_chores *chores)
{
	struct mr_chore *chore;

	if (chores->left_count && is_late(chores))
		give_back_piece(chores);
	while (!(chore = mr_mailbox_receive(chores->to_do))) {
		if (wait_for_chore(chores) && chores->left_count)
			give_back_piece(chores);
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
	while (chores->left_count)
		close_first(chores);
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
