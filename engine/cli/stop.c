/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending in good order on SIGINT or SIGTERM. Runs on the main thread; owns the flag and the mask.
 */
#include "stop.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static atomic_bool stop_asked; /* lock-free, so that a signal handler may set it */
static sigset_t mask_while_waiting;

static void note_stop(int signal_number)
{
	atomic_store(&stop_asked, true);
}

void mr_stop_watch(void)
{
	struct sigaction action = {.sa_handler = note_stop, .sa_flags = (int)SA_RESETHAND};
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	/* Delivered only inside mr_stop_wait(), so that none is lost between a look and a wait. */
	pthread_sigmask(SIG_BLOCK, &stops, &mask_while_waiting);
	sigdelset(&mask_while_waiting, SIGINT);
	sigdelset(&mask_while_waiting, SIGTERM);
}

bool mr_stop_asked(void)
{
	struct timespec at_once = {0};

	(void)ppoll(NULL, 0, &at_once, &mask_while_waiting); /* only lets signals in */
	return atomic_load(&stop_asked);
}

bool mr_stop_wait(int fd, uint64_t timeout_ns)
{
	struct pollfd waited = {.fd = fd, .events = POLLIN};
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / UINT64_C(1000000000)),
		.tv_nsec = (long)(timeout_ns % UINT64_C(1000000000)),
	};

	if (atomic_load(&stop_asked))
		return false;
	return ppoll(&waited, fd >= 0, &timeout, &mask_while_waiting) > 0;
}
