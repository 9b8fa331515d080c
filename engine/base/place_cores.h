/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host as the plan sees it: one row per physical core that this process may use. Only for
 * the files of place.
 */
#ifndef MR_PLACE_CORES_H
#define MR_PLACE_CORES_H

#include "place.h"

struct mr_place_core {
	int32_t core;	  /* logical index of the whole machine */
	int32_t node;	  /* operating system's index, or MR_PLACE_ANY */
	int32_t package;  /* logical index, or MR_PLACE_ANY */
	int32_t cpu;	  /* first hardware thread that may be used */
	cpu_set_t cpus;	  /* all of them */
	bool disk;	  /* one of them takes the disk's interrupts */
	uint32_t round;	  /* spread: how many cores of its node come before it */
	uint32_t sibling; /* spread: how many nodes of its package come before its node */
};

struct mr_place_cores {
	struct mr_place_host host;
	cpu_set_t allowed; /* all hardware threads that may be used; empty if synthetic */
	uint32_t count;
	struct mr_place_core *rows; /* owned; in the machine's order */
};

/* Asks hwloc. On success the caller frees out->rows. */
int mr_place_cores_read(struct mr_place_cores *out, struct mr_error *err);

/* "0-3,5" into a set; what is no list adds nothing more. */
void mr_place_parse_list(const char *text, cpu_set_t *out);

#endif
