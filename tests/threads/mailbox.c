/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads and two mailboxes, for ThreadSanitizer: what a pointer points to is written by the
 * sender and read by the receiver, which sends it back. A program of its own, since Criterion does
 * not run under ThreadSanitizer. Exit 0: all came back, once, in order.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "mailbox.h"

#define ROUNDS	100000
#define LETTERS 32

struct letter {
	uint64_t number; /* plain: only the mailboxes order its accesses */
	uint64_t answer;
};

struct pair {
	struct mr_mailbox *there;
	struct mr_mailbox *back;
};

static void die(const char *why)
{
	fprintf(stderr, "mailbox: %s\n", why);
	exit(1);
}

/* Waits as an engine thread does: takes what is there, else sleeps until the bell. */
static struct letter *wait_for_letter(struct mr_mailbox *box, bool deeply)
{
	for (;;) {
		struct pollfd bell = {.fd = mr_mailbox_fd(box), .events = POLLIN};
		struct letter *letter = mr_mailbox_receive(box);

		if (letter)
			return letter;
		if ((deeply ? mr_mailbox_sleep_deeply(box) : mr_mailbox_sleep(box)) &&
		    poll(&bell, 1, 30000) != 1)
			die("a sleeper was not woken");
		mr_mailbox_wake(box);
	}
}

static void *answer_all(void *arg)
{
	struct pair *pair = arg;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		struct letter *letter = wait_for_letter(pair->there, i % 2);

		if (letter->number != i)
			die("a letter came out of order");
		letter->answer = letter->number * 3;
		if ((i % 3 ? mr_mailbox_send_quietly(pair->back, letter)
			   : mr_mailbox_send(pair->back, letter)) != 0)
			die("no room for an answer, although as many letters as places exist");
	}
	return NULL;
}

static void take_answer(struct pair *pair, uint64_t number)
{
	struct letter *letter = wait_for_letter(pair->back, false);

	if (letter->number != number)
		die("an answer came out of order");
	if (letter->answer != number * 3)
		die("an answer was not whole");
}

int main(void)
{
	static struct letter letters[LETTERS];
	struct pair pair;
	uint64_t sent = 0, answered = 0;
	pthread_t thread;

	if (mr_mailbox_open(LETTERS, MR_MAILBOX_BELL_IF_ASLEEP, &pair.there, NULL) != 0 ||
	    mr_mailbox_open(LETTERS, MR_MAILBOX_BELL_IF_ASLEEP, &pair.back, NULL) != 0)
		die("cannot open");
	if (pthread_create(&thread, NULL, answer_all, &pair) != 0)
		die("no thread");
	while (answered < ROUNDS) {
		while (sent < ROUNDS && sent - answered < LETTERS) {
			letters[sent % LETTERS].number = sent;
			if (mr_mailbox_send(pair.there, &letters[sent % LETTERS]) != 0)
				die("no room, although as many letters as places exist");
			sent++;
		}
		take_answer(&pair, answered++);
	}
	pthread_join(thread, NULL);
	mr_mailbox_close(pair.there);
	mr_mailbox_close(pair.back);
	printf("mailbox: %d letters there and back\n", ROUNDS);
	return 0;
}
