/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of short texts that all live until they are forgotten together. Pages are kept and used
 * again. Owned by one thread.
 */
#ifndef MR_KEEP_H
#define MR_KEEP_H

#include <stddef.h>

struct mr_keep_page;

/* All zero at first. */
struct mr_keep {
	struct mr_keep_page *first;   /* owned, a list */
	struct mr_keep_page *current; /* NULL: at the first */
};

/* A copy of 'bytes' bytes (0 too), good until mr_keep_forget(). NULL: no memory. */
const char *mr_keep_copy(struct mr_keep *keep, const void *text, size_t bytes);
void mr_keep_forget(struct mr_keep *keep);
void mr_keep_deinit(struct mr_keep *keep); /* takes one of zeros */

#endif
