/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for tails, before a worker has them. Runs on the control thread, which waits for it, and
 * for several partitions on more threads beside it: at a start with hundreds of partitions the
 * kernel zeroes gigabytes. Each thread takes the next partition that nobody has, so none is touched
 * by two. What is populated lies where mr_place_bind_memory() said, whoever touches it.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/place.h"
#include "region.h"
#include "worker_state.h"

#define THREADS_MAX 16 /* more do not make memory faster */

/* Shared by the threads: 'next' is all that changes. */
struct work {
	struct mr_worker_partition *const *partitions;
	size_t count;
	_Atomic size_t next;
};

/* One thread's own; looked at by the control thread when it is over. */
struct helper {
	pthread_t thread;
	struct work *work;
	int status;
	struct mr_error err;
};

int mr_worker_partition_populate(struct mr_worker_partition *partition, uint64_t *done,
				 uint64_t bytes, struct mr_error *err)
{
	struct mr_tail *tail = &partition->tail;
	uint64_t left = 2 * tail->tail_bytes - *done; /* it is mapped twice */
	int r;

	if (bytes > left)
		bytes = left;
	mr_place_prefer_node(partition->node); /* where it could not be bound */
	r = mr_region_populate(tail->data + *done, bytes, true, err);
	mr_place_prefer_node(MR_PLACE_ANY);
	*done += bytes;
	return r < 0 ? r : *done == 2 * tail->tail_bytes;
}

static int populate(struct mr_worker_partition *partition, struct mr_error *err)
{
	uint64_t done = 0;

	return mr_worker_partition_populate(partition, &done, UINT64_MAX, err);
}

static void *help(void *arg)
{
	struct helper *helper = arg;
	struct work *work = helper->work;
	size_t i;

	/* relaxed: whose a partition is; what it holds was made before the threads were */
	while ((i = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed)) <
	       work->count) {
		helper->status = populate(work->partitions[i], &helper->err);
		if (helper->status < 0)
			/* relaxed: the others stop a little later or sooner */
			atomic_store_explicit(&work->next, work->count, memory_order_relaxed);
	}
	return NULL;
}

static uint32_t helpers_for(size_t count)
{
	cpu_set_t cpus;
	size_t cores = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		cores = (size_t)CPU_COUNT(&cpus);
	cores = cores < count ? cores : count;
	return (uint32_t)(cores < THREADS_MAX ? cores : THREADS_MAX);
}

int mr_worker_partitions_populate(struct mr_worker_partition *const *partitions, size_t count,
				  struct mr_error *err)
{
	struct work work = {.partitions = partitions, .count = count};
	struct helper helpers[THREADS_MAX] = {0};
	uint32_t wanted = helpers_for(count), started = 1;
	sigset_t all, old;
	int r = 0;

	helpers[0].work = &work; /* the calling thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; started < wanted; started++) {
		helpers[started].work = &work;
		if (pthread_create(&helpers[started].thread, NULL, help, &helpers[started]) != 0)
			break; /* fewer take longer */
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)help(&helpers[0]);
	for (uint32_t i = 0; i < started; i++) {
		if (i > 0)
			pthread_join(helpers[i].thread, NULL);
		if (helpers[i].status < 0 && r == 0) {
			r = helpers[i].status;
			if (err)
				*err = helpers[i].err;
		}
	}
	return r;
}
