/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See read_ahead.h. The request is handed to the thread and back under the lock; in between only
 * the thread looks at it. The thread owns nothing else and sleeps when nothing is asked.
 */
#include "read_ahead.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "check.h"

enum turn {
	CALLERS, /* nothing is asked, or it is answered */
	THREADS,
	END,
};

struct mr_read_ahead {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum turn turn; /* under the lock: whose all below is */
	struct mr_io_file *file;
	void *buffer;
	size_t bytes;
	uint64_t offset;
	int64_t got;
	struct mr_error err;
};

/* With the lock held: the next request, or the end. */
static enum turn wait_for_turn(struct mr_read_ahead *ahead)
{
	while (ahead->turn == CALLERS)
		pthread_cond_wait(&ahead->changed, &ahead->lock);
	return ahead->turn;
}

static void *run(void *arg)
{
	struct mr_read_ahead *ahead = arg;

	(void)pthread_setname_np(pthread_self(), "read ahead"); /* for people only */
	pthread_mutex_lock(&ahead->lock);
	while (wait_for_turn(ahead) != END) {
		pthread_mutex_unlock(&ahead->lock);
		ahead->got = mr_io_read(ahead->file, ahead->buffer, ahead->bytes, ahead->offset,
					&ahead->err);
		pthread_mutex_lock(&ahead->lock);
		ahead->turn = CALLERS;
		pthread_cond_signal(&ahead->changed);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

int mr_read_ahead_open(struct mr_read_ahead **out)
{
	struct mr_read_ahead *ahead = calloc(1, sizeof(*ahead));
	sigset_t all, old;
	int r;

	if (!ahead)
		return -ENOMEM;
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->changed, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&ahead->thread, NULL, run, ahead);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		pthread_cond_destroy(&ahead->changed);
		pthread_mutex_destroy(&ahead->lock);
		free(ahead);
		return r;
	}
	*out = ahead;
	return 0;
}

static void give_turn(struct mr_read_ahead *ahead, enum turn turn)
{
	pthread_mutex_lock(&ahead->lock);
	mr_assert(ahead->turn == CALLERS);
	ahead->turn = turn;
	pthread_cond_signal(&ahead->changed);
	pthread_mutex_unlock(&ahead->lock);
}

void mr_read_ahead_start(struct mr_read_ahead *ahead, struct mr_io_file *file, void *buffer,
			 size_t bytes, uint64_t offset)
{
	ahead->file = file;
	ahead->buffer = buffer;
	ahead->bytes = bytes;
	ahead->offset = offset;
	give_turn(ahead, THREADS);
}

int64_t mr_read_ahead_wait(struct mr_read_ahead *ahead, struct mr_error *err)
{
	pthread_mutex_lock(&ahead->lock);
	while (ahead->turn == THREADS)
		pthread_cond_wait(&ahead->changed, &ahead->lock);
	pthread_mutex_unlock(&ahead->lock);
	if (ahead->got < 0 && err)
		*err = ahead->err;
	return ahead->got;
}

void mr_read_ahead_close(struct mr_read_ahead *ahead)
{
	if (!ahead)
		return;
	give_turn(ahead, END);
	pthread_join(ahead->thread, NULL);
	pthread_cond_destroy(&ahead->changed);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
}
