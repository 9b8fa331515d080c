/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catch-up thread (catchup.h): takes requests one by one, in order, waits until the rate allows
 * it, reads (catchup_reader.h), and sends them back. It owns the readers, and a request from taking
 * it until it is sent back. The bound is on what is asked of the disk, read ahead included.
 */
#include "catchup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "catchup_rate.h"
#include "catchup_reader.h"
#include "check.h"

#define REQUESTS_MAX 65536 /* more than partitions and peers */
#define AHEAD_MAX    (16u << 20)
#define AHEAD_MIN    (256u << 10)
#define TIDY_MS	     1000
#define WAIT_STEP_MS 20

struct mr_catchup {
	pthread_t thread;
	struct mr_mailbox *to_do; /* feed -> catch-up */
	struct mr_mailbox *done;  /* catch-up -> feed */
	struct mr_place_entry place;
	struct mr_catchup_request end; /* asks the thread to end */
	/*
	 * Set once by who stops it. relaxed: orders nothing, and whoever sees it late reads one
	 * request more.
	 */
	atomic_bool stopping;
	/* the thread's */
	struct mr_catchup_readers *readers;
	struct mr_catchup_rate rate;
};

/* ---- the thread ---------------------------------------------------------- */

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

static bool is_stopping(struct mr_catchup *catchup)
{
	return atomic_load_explicit(&catchup->stopping, memory_order_relaxed); /* see there */
}

static struct mr_catchup_request *next_request(struct mr_catchup *catchup)
{
	struct pollfd bell = {.fd = mr_mailbox_fd(catchup->to_do), .events = POLLIN};
	struct mr_catchup_request *request;

	while (!(request = mr_mailbox_receive(catchup->to_do))) {
		bool quiet = mr_mailbox_sleep(catchup->to_do) && poll(&bell, 1, TIDY_MS) == 0;

		mr_mailbox_wake(catchup->to_do);
		if (quiet)
			mr_catchup_readers_tidy(catchup->readers, now_ns(), MR_CATCHUP_IDLE_NS);
	}
	return request;
}

/* False: it is to stop. */
static bool wait_for_rate(struct mr_catchup *catchup)
{
	uint64_t wait_ns;

	while (!is_stopping(catchup)) {
		wait_ns = mr_catchup_rate_wait_ns(&catchup->rate, now_ns());
		if (wait_ns == 0)
			return true;
		if (wait_ns > WAIT_STEP_MS * UINT64_C(1000000))
			wait_ns = WAIT_STEP_MS * UINT64_C(1000000);
		(void)poll(NULL, 0, (int)(wait_ns / 1000000) + 1);
	}
	return false;
}

static void work_on(struct mr_catchup *catchup, struct mr_catchup_request *request)
{
	uint64_t before;

	if (!wait_for_rate(catchup)) {
		request->byte_count = 0;
		request->status = mr_error_set(&request->err, -ECANCELED, "the engine stops");
		return;
	}
	before = mr_catchup_readers_bytes(catchup->readers);
	(void)mr_catchup_read(catchup->readers, request, now_ns()); /* the request knows */
	mr_catchup_rate_spend(&catchup->rate, mr_catchup_readers_bytes(catchup->readers) - before);
}

static void *run(void *arg)
{
	struct mr_catchup *catchup = arg;
	struct mr_catchup_request *request;
	int r;

	(void)pthread_setname_np(pthread_self(), "catch-up"); /* for people only */
	(void)mr_place_bind_thread(&catchup->place, NULL);    /* a wish, no need */
	while ((request = next_request(catchup)) != &catchup->end) {
		work_on(catchup, request);
		r = mr_mailbox_send(catchup->done, request);
		mr_assert(r == 0);
	}
	return NULL;
}

/* ---- the feed's side ----------------------------------------------------- */

static void release(struct mr_catchup *catchup)
{
	mr_catchup_readers_close(catchup->readers);
	mr_mailbox_close(catchup->to_do);
	mr_mailbox_close(catchup->done);
	free(catchup);
}

/* A quarter of a second's worth, so that a slow rate does not come in long pushes. */
static uint64_t ahead_max(uint64_t bytes_per_second)
{
	uint64_t bytes = bytes_per_second / 4;

	if (bytes_per_second == 0 || bytes > AHEAD_MAX)
		return AHEAD_MAX;
	return bytes < AHEAD_MIN ? AHEAD_MIN : bytes;
}

static int start_thread(struct mr_catchup *catchup, struct mr_error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&catchup->thread, NULL, run, catchup);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r < 0 ? mr_error_set(err, r, "cannot start the catch-up thread") : 0;
}

int mr_catchup_start(const struct mr_place_entry *place, struct mr_io *io,
		     uint64_t bytes_per_second, struct mr_catchup **out, struct mr_error *err)
{
	const struct mr_catchup_reader_options options = {
		.io = io, .overlaps = true, .ahead_max = ahead_max(bytes_per_second)};
	struct mr_catchup *catchup = calloc(1, sizeof(*catchup));
	int r;

	if (!catchup)
		return mr_error_set(err, -ENOMEM, "no memory for the catch-up thread");
	if (place)
		catchup->place = *place;
	mr_catchup_rate_init(&catchup->rate, bytes_per_second, now_ns());
	r = mr_catchup_readers_open(&options, &catchup->readers, err);
	if (r == 0)
		r = mr_mailbox_open(REQUESTS_MAX, MR_MAILBOX_BELL_IF_ASLEEP, &catchup->to_do, err);
	if (r == 0)
		r = mr_mailbox_open(REQUESTS_MAX, MR_MAILBOX_BELL_IF_ASLEEP, &catchup->done, err);
	if (r == 0)
		r = start_thread(catchup, err);
	if (r < 0) {
		release(catchup);
		return r;
	}
	*out = catchup;
	return 0;
}

void mr_catchup_stop(struct mr_catchup *catchup)
{
	if (!catchup)
		return;
	atomic_store_explicit(&catchup->stopping, true, memory_order_relaxed); /* see there */
	mr_catchup_send(catchup, &catchup->end);
	pthread_join(catchup->thread, NULL);
	release(catchup);
}

struct mr_catchup_request *mr_catchup_request_new(void)
{
	return calloc(1, sizeof(struct mr_catchup_request));
}

void mr_catchup_request_free(struct mr_catchup_request *request)
{
	if (!request)
		return;
	free(request->bytes);
	free(request);
}

void mr_catchup_send(struct mr_catchup *catchup, struct mr_catchup_request *request)
{
	int r = mr_mailbox_send(catchup->to_do, request);

	mr_assert(r == 0); /* one for each partition and peer at most */
}

struct mr_catchup_request *mr_catchup_take(struct mr_catchup *catchup)
{
	return mr_mailbox_receive(catchup->done);
}

int mr_catchup_fd(const struct mr_catchup *catchup)
{
	return mr_mailbox_fd(catchup->done);
}

bool mr_catchup_sleep(struct mr_catchup *catchup)
{
	return mr_mailbox_sleep(catchup->done);
}

void mr_catchup_wake(struct mr_catchup *catchup)
{
	mr_mailbox_wake(catchup->done);
}
