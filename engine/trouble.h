/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that goes wrong again and again while it is tried again and again, as with a full disk:
 * people hear of it once, then now and then how often it was, and once more when it is over.
 * Belongs to one thread; all zero at first.
 */
#ifndef MR_TROUBLE_H
#define MR_TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MR_TROUBLE_REMIND_NS (60 * UINT64_C(1000000000))

struct mr_trouble {
	uint64_t times; /* 0: there is none */
	uint64_t since_ns, told_ns;
};

/* It happened. 'where' may be "": "topic=t partition=3". True: people were told. */
bool mr_trouble_met(struct mr_trouble *trouble, uint64_t now_ns, const char *what,
		    const char *where, const struct mr_error *err);
/* It went well. */
void mr_trouble_over(struct mr_trouble *trouble, uint64_t now_ns, const char *what,
		     const char *where);

#endif
