/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a signal is never lost between a look and a wait, and a second one ends it all.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

#define SECOND_NS UINT64_C(1000000000)

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

Test(stop, nothing_is_asked_at_first)
{
	mr_stop_watch();
	cr_assert_not(mr_stop_asked());
	cr_assert_not(mr_stop_wait(-1, 1000));
}

Test(stop, a_signal_before_the_look_is_seen)
{
	mr_stop_watch();
	raise(SIGINT); /* blocked: stays pending */
	cr_assert(mr_stop_asked());
	cr_assert(mr_stop_asked(), "it stays asked");
}

Test(stop, terminate_asks_too)
{
	mr_stop_watch();
	raise(SIGTERM);
	cr_assert(mr_stop_asked());
}

/* The gap that a flag alone would leave: the signal comes after the look, before the wait. */
Test(stop, a_signal_before_the_wait_ends_it)
{
	double begun = seconds_now();

	mr_stop_watch();
	cr_assert_not(mr_stop_asked());
	raise(SIGINT);
	cr_assert_not(mr_stop_wait(-1, 30 * SECOND_NS));
	cr_assert_lt(seconds_now() - begun, 10);
	cr_assert(mr_stop_asked());
	cr_assert_not(mr_stop_wait(-1, 30 * SECOND_NS), "no wait any more");
	cr_assert_lt(seconds_now() - begun, 10);
}

Test(stop, a_readable_descriptor_ends_the_wait)
{
	int ends[2];

	mr_stop_watch();
	cr_assert_eq(pipe(ends), 0);
	cr_assert_not(mr_stop_wait(ends[0], 1000));
	cr_assert_eq(write(ends[1], "x", 1), 1);
	cr_assert(mr_stop_wait(ends[0], 30 * SECOND_NS));
	close(ends[1]);
	cr_assert(mr_stop_wait(ends[0], 30 * SECOND_NS), "its end too");
	close(ends[0]);
}

Test(stop, a_second_signal_ends_the_program)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		mr_stop_watch();
		raise(SIGINT);
		if (!mr_stop_asked())
			_exit(1);
		raise(SIGINT);
		(void)mr_stop_asked();
		_exit(2);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status), "it went on: %d", status);
	cr_assert_eq(WTERMSIG(status), SIGINT);
}
