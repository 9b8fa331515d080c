/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker and three readers inside the engine on one tail, for ThreadSanitizer: they see it
 * through the same addresses, read in place under a hold, and the worker overwrites only what no
 * hold needs. Bytes are plain; only W8/R8 and W9/R9 of ringbuf/README.md order them. Exit 0: all
 * read all, whole.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "tail.h"

#define TAIL_BYTES  65536u
#define BLOCK_BYTES 4096u
#define BLOCKS	    3000u
#define READERS	    3

struct reader {
	struct mr_tail *tail;
	struct mr_tail_hold *hold;
	_Atomic uint64_t *until; /* one of the published positions */
};

__attribute__((noreturn)) static void die(const char *why)
{
	fprintf(stderr, "tail: %s\n", why);
	exit(1);
}

static void check_block(const struct mr_tail *tail, uint64_t position)
{
	const uint64_t *words = (const uint64_t *)(const void *)mr_tail_at(tail, position);

	for (uint32_t i = 0; i < BLOCK_BYTES / sizeof(*words); i++)
		if (words[i] != position)
			die("a block is not whole");
}

static void *read_all(void *arg)
{
	struct reader *reader = arg;
	uint64_t position = 0;

	while (position < BLOCKS * (uint64_t)BLOCK_BYTES) {
		/* R8: pairs with W8. */
		if (atomic_load_explicit(reader->until, memory_order_acquire) == position) {
			sched_yield();
			continue;
		}
		check_block(reader->tail, position);
		position += BLOCK_BYTES;
		/* W9: pairs with R9. */
		atomic_store_explicit(&reader->hold->position, position, memory_order_release);
	}
	atomic_store_explicit(&reader->hold->position, MR_TAIL_NO_HOLD, memory_order_release);
	return NULL;
}

static void make_room(struct mr_tail *tail, uint64_t position)
{
	uint64_t needed;

	if (position + BLOCK_BYTES <= TAIL_BYTES)
		return;
	needed = position + BLOCK_BYTES - TAIL_BYTES;
	while (mr_tail_lowest_hold(tail) < needed)
		sched_yield();
	mr_tail_reclaim(tail, needed, needed);
}

static void write_all(struct mr_tail *tail)
{
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint64_t position = i * BLOCK_BYTES;
		uint64_t *words;

		make_room(tail, position);
		words = (uint64_t *)(void *)mr_tail_at(tail, position);
		for (uint32_t k = 0; k < BLOCK_BYTES / sizeof(*words); k++)
			words[k] = position;
		position += BLOCK_BYTES;
		mr_tail_publish_appended(tail, position, position);
		mr_tail_publish_flushed(tail, position, position);
		mr_tail_publish_committed(tail, position, position);
	}
}

int main(void)
{
	static const uint8_t topic[16];
	struct reader readers[READERS];
	pthread_t threads[READERS];
	struct mr_tail tail;

	if (mr_tail_create(TAIL_BYTES, topic, 0, 0, 0, &tail, NULL) != 0)
		die("cannot create");
	for (int i = 0; i < READERS; i++) {
		_Atomic uint64_t *all[READERS] = {&tail.page->appended, &tail.page->flushed,
						  &tail.page->committed};

		readers[i] =
			(struct reader){.tail = &tail, .hold = &tail.holds[i], .until = all[i]};
		atomic_store(&tail.holds[i].position, 0);
		if (pthread_create(&threads[i], NULL, read_all, &readers[i]) != 0)
			die("no thread");
	}
	write_all(&tail);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	if (mr_tail_lowest_hold(&tail) != MR_TAIL_NO_HOLD)
		die("a hold was left behind");
	mr_tail_destroy(&tail);
	printf("tail: %d readers, %u blocks each\n", READERS, BLOCKS);
	return 0;
}
