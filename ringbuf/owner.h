/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use a handle: the thread that opened it (or adopted it), in the process that opened it.
 * The check is a compare of the address of a thread's own byte and of a number that every fork
 * raises in the child.
 */
#ifndef MR_OWNER_H
#define MR_OWNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Written when a handle is opened or adopted, read by every call. */
struct mr_owner {
	const void *thread;
	uint32_t forks;
};

extern _Thread_local char mr_owner_mark __attribute__((tls_model("initial-exec")));
extern _Atomic uint32_t mr_owner_forks;

/* Before the first handle is made. -ENOMEM. */
int mr_owner_begin(void);

static inline struct mr_owner mr_owner_me(void)
{
	/* relaxed: the child that raised it has only one thread then */
	return (struct mr_owner){&mr_owner_mark,
				 atomic_load_explicit(&mr_owner_forks, memory_order_relaxed)};
}

/* False in a child of the process that opened the handle. */
static inline bool mr_owner_same_process(const struct mr_owner *owner)
{
	return owner->forks == atomic_load_explicit(&mr_owner_forks, memory_order_relaxed);
}

static inline bool mr_owner_is_me(const struct mr_owner *owner)
{
	return owner->thread == &mr_owner_mark && mr_owner_same_process(owner);
}

#endif
