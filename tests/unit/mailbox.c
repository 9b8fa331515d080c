/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: pointers arrive once and in order, a full mailbox refuses without losing any, and
 * a receiver that said it sleeps is always woken, while one that did not is never rung.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "mailbox.h"

static bool is_rung(const struct mr_mailbox *box)
{
	struct pollfd bell = {.fd = mr_mailbox_fd(box), .events = POLLIN};

	return poll(&bell, 1, 0) == 1;
}

static struct mr_mailbox *open_box(uint32_t capacity, enum mr_mailbox_bell bell)
{
	struct mr_mailbox *box = NULL;
	struct mr_error err;

	cr_assert_eq(mr_mailbox_open(capacity, bell, &box, &err), 0);
	cr_assert_not_null(box);
	return box;
}

Test(mailbox, gives_pointers_in_order)
{
	struct mr_mailbox *box = open_box(8, MR_MAILBOX_BELL_IF_ASLEEP);
	int things[5];

	for (int i = 0; i < 5; i++)
		cr_assert_eq(mr_mailbox_send(box, &things[i]), 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(mr_mailbox_receive(box), &things[i]);
	cr_assert_null(mr_mailbox_receive(box));
	mr_mailbox_close(box);
}

/* Capacities that are, precede and follow a power of two. */
Test(mailbox, holds_exactly_its_capacity)
{
	static const uint32_t capacities[] = {1, 2, 3, 4, 7, 8, 9, 1000};
	int things[1001];

	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		uint32_t capacity = capacities[i];
		struct mr_mailbox *box = open_box(capacity, MR_MAILBOX_BELL_IF_ASLEEP);

		for (uint32_t k = 0; k < capacity; k++)
			cr_assert_eq(mr_mailbox_send(box, &things[k]), 0);
		cr_assert_eq(mr_mailbox_send(box, &things[capacity]), -EAGAIN);
		cr_assert_eq(mr_mailbox_receive(box), &things[0]);
		cr_assert_eq(mr_mailbox_send(box, &things[capacity]), 0);
		for (uint32_t k = 1; k <= capacity; k++)
			cr_assert_eq(mr_mailbox_receive(box), &things[k]);
		cr_assert_null(mr_mailbox_receive(box));
		mr_mailbox_close(box);
	}
}

Test(mailbox, goes_round_many_times)
{
	struct mr_mailbox *box = open_box(3, MR_MAILBOX_BELL_IF_ASLEEP);

	for (uintptr_t i = 1; i < 10000; i++) {
		cr_assert_eq(mr_mailbox_send(box, (void *)i), 0);
		cr_assert_eq((uintptr_t)mr_mailbox_receive(box), i);
	}
	cr_assert_null(mr_mailbox_receive(box));
	mr_mailbox_close(box);
}

Test(mailbox, keeps_the_bell_silent_for_a_receiver_that_is_awake)
{
	struct mr_mailbox *box = open_box(4, MR_MAILBOX_BELL_IF_ASLEEP);
	int thing;

	cr_assert_eq(mr_mailbox_send(box, &thing), 0);
	cr_assert(!is_rung(box));
	mr_mailbox_close(box);
}

Test(mailbox, rings_once_for_a_sleeper)
{
	struct mr_mailbox *box = open_box(4, MR_MAILBOX_BELL_IF_ASLEEP);
	int thing;

	cr_assert(mr_mailbox_sleep(box));
	cr_assert(!is_rung(box));
	cr_assert_eq(mr_mailbox_send(box, &thing), 0);
	cr_assert(is_rung(box));
	mr_mailbox_wake(box);
	cr_assert(!is_rung(box), "the bell is silent after waking");
	cr_assert_eq(mr_mailbox_send(box, &thing), 0);
	cr_assert(!is_rung(box), "no bell for one who is awake again");
	mr_mailbox_close(box);
}

/* The pointer came before the flag: nobody would ring for it, so sleeping must be refused. */
Test(mailbox, lets_nobody_sleep_over_a_pointer)
{
	struct mr_mailbox *box = open_box(4, MR_MAILBOX_BELL_IF_ASLEEP);
	int thing;

	cr_assert_eq(mr_mailbox_send(box, &thing), 0);
	cr_assert(!mr_mailbox_sleep(box));
	cr_assert_eq(mr_mailbox_receive(box), &thing);
	cr_assert(mr_mailbox_sleep(box));
	mr_mailbox_close(box);
}

/* What is sent quietly rings for who waits for it, is there for who looks, and wakes no other. */
Test(mailbox, is_quiet_for_who_sleeps_deeply)
{
	struct mr_mailbox *box = open_box(8, MR_MAILBOX_BELL_IF_ASLEEP);
	int things[4];

	cr_assert(mr_mailbox_sleep_deeply(box));
	cr_assert_eq(mr_mailbox_send_quietly(box, &things[0]), 0);
	cr_assert_not(is_rung(box));
	cr_assert_eq(mr_mailbox_send(box, &things[1]), 0);
	cr_assert(is_rung(box), "the flag is still up for who rings");
	mr_mailbox_wake(box);
	cr_assert_not(is_rung(box));
	cr_assert_eq(mr_mailbox_receive(box), &things[0]);
	cr_assert_not(mr_mailbox_sleep_deeply(box));
	cr_assert_eq(mr_mailbox_receive(box), &things[1]);
	cr_assert(mr_mailbox_sleep(box));
	cr_assert_eq(mr_mailbox_send_quietly(box, &things[2]), 0);
	cr_assert(is_rung(box));
	mr_mailbox_wake(box);
	cr_assert_not(is_rung(box));
	cr_assert_eq(mr_mailbox_send_quietly(box, &things[3]), 0);
	cr_assert_not(is_rung(box), "it is awake");
	cr_assert_eq(mr_mailbox_receive(box), &things[2]);
	cr_assert_eq(mr_mailbox_receive(box), &things[3]);
	mr_mailbox_close(box);
}

Test(mailbox, rings_always_when_told_so)
{
	struct mr_mailbox *box = open_box(4, MR_MAILBOX_BELL_ALWAYS);
	int thing;

	for (int i = 0; i < 3; i++) {
		cr_assert_eq(mr_mailbox_send(box, &thing), 0);
		cr_assert(is_rung(box));
		mr_mailbox_wake(box);
		cr_assert(!is_rung(box));
	}
	mr_mailbox_close(box);
}

Test(mailbox, a_full_one_does_not_ring)
{
	struct mr_mailbox *box = open_box(1, MR_MAILBOX_BELL_ALWAYS);
	int thing;

	cr_assert_eq(mr_mailbox_send(box, &thing), 0);
	mr_mailbox_wake(box);
	cr_assert_eq(mr_mailbox_send(box, &thing), -EAGAIN);
	cr_assert(!is_rung(box));
	mr_mailbox_close(box);
}

Test(mailbox, waking_without_a_bell_is_harmless)
{
	struct mr_mailbox *box = open_box(1, MR_MAILBOX_BELL_IF_ASLEEP);

	mr_mailbox_wake(box);
	mr_mailbox_wake(box);
	cr_assert(mr_mailbox_sleep(box));
	mr_mailbox_close(box);
}

Test(mailbox, close_takes_null)
{
	mr_mailbox_close(NULL);
}

Test(mailbox, says_why_it_cannot_open)
{
	struct rlimit before, none;
	struct mr_mailbox *box = NULL;
	struct mr_error err;
	int r;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = mr_mailbox_open(4, MR_MAILBOX_BELL_IF_ASLEEP, &box, &err);
	setrlimit(RLIMIT_NOFILE, &before); /* Criterion needs descriptors to report */
	cr_assert_eq(r, -EMFILE);
	cr_assert_null(box);
	cr_assert_str_eq(err.what, "cannot make a mailbox's bell");
}

Test(mailbox, refuses_to_carry_null, .signal = SIGABRT)
{
	struct mr_mailbox *box = open_box(1, MR_MAILBOX_BELL_IF_ASLEEP);

	mr_mailbox_send(box, NULL);
}

Test(mailbox, refuses_to_hold_nothing, .signal = SIGABRT)
{
	struct mr_mailbox *box;

	mr_mailbox_open(0, MR_MAILBOX_BELL_IF_ASLEEP, &box, NULL);
}

#define STRESS_MESSAGES 200000

static void *send_all(void *arg)
{
	struct mr_mailbox *box = arg;

	for (uintptr_t i = 1; i <= STRESS_MESSAGES; i++) {
		while (mr_mailbox_send(box, (void *)i) == -EAGAIN)
			sched_yield();
		if (i % 64 == 0)
			sched_yield(); /* lets the receiver fall asleep now and then */
	}
	return NULL;
}

/* A lost wake-up would leave the poll below waiting until its time is over. */
Test(mailbox, loses_nothing_and_wakes_always_between_two_threads, .timeout = 60)
{
	struct mr_mailbox *box = open_box(16, MR_MAILBOX_BELL_IF_ASLEEP);
	uintptr_t expected = 1;
	pthread_t sender;

	cr_assert_eq(pthread_create(&sender, NULL, send_all, box), 0);
	while (expected <= STRESS_MESSAGES) {
		struct pollfd bell = {.fd = mr_mailbox_fd(box), .events = POLLIN};
		void *message;

		while ((message = mr_mailbox_receive(box)))
			cr_assert_eq((uintptr_t)message, expected++);
		if (expected > STRESS_MESSAGES)
			break;
		if (mr_mailbox_sleep(box))
			cr_assert_eq(poll(&bell, 1, 10000), 1, "nobody rang");
		mr_mailbox_wake(box);
	}
	pthread_join(sender, NULL);
	cr_assert_null(mr_mailbox_receive(box));
	mr_mailbox_close(box);
}
