/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The number that tells a child from its parent: raised in the child by fork itself, before the
 * program's own code runs there. Nothing else happens at fork: maps are not inherited
 * (MADV_DONTFORK), handles stay unused.
 */
#include "owner.h"

#include <pthread.h>

_Thread_local char mr_owner_mark;
_Atomic uint32_t mr_owner_forks;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int registered;

static void count_fork(void)
{
	/* relaxed: the only thread there is */
	atomic_fetch_add_explicit(&mr_owner_forks, 1, memory_order_relaxed);
}

static void ask_for_forks(void)
{
	registered = -pthread_atfork(NULL, NULL, count_fork);
}

int mr_owner_begin(void)
{
	(void)pthread_once(&once, ask_for_forks); /* cannot fail */
	return registered;
}
