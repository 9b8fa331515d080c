/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a ring wakes, nothing blocks, and who abuses a bell harms nobody but himself. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "doorbell.h"

static int open_bell(void)
{
	struct mr_error err = {0};
	int fd = mr_doorbell_open(&err);

	cr_assert_geq(fd, 0, "%s", err.what);
	return fd;
}

static int open_set(void)
{
	struct mr_error err = {0};
	int fd = mr_doorbell_set_open(&err);

	cr_assert_geq(fd, 0, "%s", err.what);
	return fd;
}

static void add(int set, int bell)
{
	struct mr_error err = {0};

	cr_assert_eq(mr_doorbell_set_add(set, bell, &err), 0, "%s", err.what);
}

static bool readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};

	return poll(&one, 1, 0) == 1;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

Test(doorbell, rung_before_is_rung)
{
	int bell = open_bell();

	mr_doorbell_ring(bell);
	mr_doorbell_ring(bell);
	cr_assert(mr_doorbell_wait(bell, 0));
	cr_assert_not(mr_doorbell_wait(bell, 0), "one wait takes all rings");
	mr_doorbell_ring(bell);
	mr_doorbell_clear(bell);
	cr_assert_not(mr_doorbell_wait(bell, 0));
	mr_doorbell_clear(bell); /* does not block */
	close(bell);
}

Test(doorbell, waits_no_longer_than_told)
{
	int bell = open_bell();
	uint64_t before = now_ms();

	cr_assert_not(mr_doorbell_wait(bell, 30));
	cr_assert_geq(now_ms() - before, 29);
	cr_assert_lt(now_ms() - before, 5000);
	close(bell);
}

Test(doorbell, a_set_tells_any_of_many_and_forgets_all)
{
	int bells[200];
	int set = open_set();

	for (int i = 0; i < 200; i++) {
		bells[i] = open_bell();
		add(set, bells[i]);
	}
	mr_doorbell_set_clear(set);
	cr_assert_not(readable(set));
	for (int i = 0; i < 200; i += 7) {
		mr_doorbell_ring(bells[i]);
		cr_assert(readable(set));
		mr_doorbell_set_clear(set);
		cr_assert_not(readable(set));
	}
	for (int i = 0; i < 200; i++)
		mr_doorbell_ring(bells[i]);
	mr_doorbell_set_clear(set);
	cr_assert_not(readable(set), "one clear forgets 200 rings");
	mr_doorbell_ring(bells[199]);
	cr_assert(readable(set), "a bell that nobody reads rings again");
	for (int i = 0; i < 200; i++)
		close(bells[i]);
	close(set);
}

static void *ring_soon(void *bell)
{
	const struct timespec pause = {.tv_nsec = 30000000};

	(void)nanosleep(&pause, NULL);
	mr_doorbell_ring(*(int *)bell);
	return NULL;
}

Test(doorbell, a_wait_for_a_set_ends_by_a_ring_or_by_time)
{
	int bells[100], set = open_set();
	int64_t began_ms = now_ms();
	pthread_t ringer;

	for (int i = 0; i < 100; i++) {
		bells[i] = open_bell();
		add(set, bells[i]);
	}
	mr_doorbell_set_clear(set);
	cr_assert_eq(mr_doorbell_set_wait(set, 20), -1);
	cr_assert_geq(now_ms() - began_ms, 19, "nobody rings: until the time is over");
	cr_assert_eq(pthread_create(&ringer, NULL, ring_soon, &bells[42]), 0);
	began_ms = now_ms();
	cr_assert_eq(mr_doorbell_set_wait(set, 60000), bells[42]);
	cr_assert_lt(now_ms() - began_ms, 50000, "a ring ends it");
	pthread_join(ringer, NULL);
	cr_assert_not(readable(set), "and is silent after it");
	for (int i = 0; i < 100; i++)
		mr_doorbell_ring(bells[i]);
	cr_assert_geq(mr_doorbell_set_wait(set, 60000), 0);
	cr_assert_not(readable(set), "so are more than one look takes");
	for (int i = 0; i < 100; i++)
		close(bells[i]);
	close(set);
}

Test(doorbell, a_removed_bell_is_silent)
{
	int set = open_set(), bell = open_bell();

	add(set, bell);
	mr_doorbell_set_remove(set, bell);
	mr_doorbell_ring(bell);
	cr_assert_not(readable(set));
	mr_doorbell_set_remove(set, bell); /* twice is harmless */
	close(bell);
	close(set);
}

Test(doorbell, a_filled_counter_blocks_nobody)
{
	int set = open_set(), hostile = open_bell(), other = open_bell();

	add(set, hostile);
	add(set, other);
	cr_assert_eq(eventfd_write(hostile, UINT64_MAX - 1), 0);
	mr_doorbell_set_clear(set);
	mr_doorbell_ring(hostile); /* full: returns */
	mr_doorbell_set_clear(set);
	cr_assert_not(readable(set));
	mr_doorbell_ring(other);
	cr_assert(readable(set), "another's bell is heard");
	close(hostile);
	close(other);
	close(set);
}

static _Atomic bool stop;

static void *flood(void *arg)
{
	while (!atomic_load(&stop))
		for (int i = 0; i < 100; i++)
			mr_doorbell_ring(((int *)arg)[i]);
	return NULL;
}

/* A client that rings all its bells for ever costs its worker turns, never one turn without an end.
 */
Test(doorbell, a_flood_is_cleared_in_bounded_time, .timeout = 60)
{
	int set = open_set(), bells[101];
	pthread_t thread;

	for (int i = 0; i < 101; i++) {
		bells[i] = open_bell();
		add(set, bells[i]);
	}
	cr_assert_eq(pthread_create(&thread, NULL, flood, bells), 0);
	for (int i = 0; i < 2000; i++)
		mr_doorbell_set_clear(set);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	mr_doorbell_set_clear(set);
	cr_assert_not(readable(set));
	mr_doorbell_ring(bells[100]);
	cr_assert(readable(set), "a quiet one is heard as before");
	for (int i = 0; i < 101; i++)
		close(bells[i]);
	close(set);
}

Test(doorbell, a_pair_wakes_the_other_end)
{
	struct mr_error err = {0};
	int ring, wait;

	cr_assert_eq(mr_doorbell_open_pair(&ring, &wait, &err), 0, "%s", err.what);
	cr_assert_not(mr_doorbell_wait(wait, 0));
	mr_doorbell_ring(ring);
	mr_doorbell_ring(ring);
	cr_assert(mr_doorbell_wait(wait, 1000));
	cr_assert_not(mr_doorbell_wait(wait, 0), "one wait takes all rings");
	close(ring);
	close(wait);
}

/*
 * With an eventfd the client could make our end block: the flag belongs to the open file that both
 * have.
 */
Test(doorbell, a_client_cannot_make_the_ringer_block, .timeout = 20)
{
	struct mr_error err = {0};
	int ring, wait;

	cr_assert_eq(mr_doorbell_open_pair(&ring, &wait, &err), 0, "%s", err.what);
	cr_assert_eq(fcntl(wait, F_SETFL, 0), 0);
	for (int i = 0; i < 10000; i++)
		mr_doorbell_ring(ring);
	cr_assert(readable(wait));
	close(wait);
	mr_doorbell_ring(ring); /* nor does a closed end raise a signal */
	close(ring);
}

Test(doorbell, errors_name_the_bell)
{
	struct mr_error err = {0};
	int set = open_set();

	cr_assert_eq(mr_doorbell_set_add(set, -1, &err), -EBADF);
	cr_assert_str_eq(err.what, "cannot add doorbell -1 to the set: Bad file descriptor");
	close(set);
}
