/* SPDX-License-Identifier: Apache-2.0 */
/* What of a process is resident, from /proc/PID/smaps. Pure over a stream. */
#ifndef MR_BENCH_RESIDENT_H
#define MR_BENCH_RESIDENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One mapping. 'path' is empty for memory without a name. */
struct mr_mapping {
	char path[256];
	bool writable, executable;
	uint64_t bytes;
	uint64_t resident_bytes;
};

/* Sums resident bytes of the mappings that 'counts' says yes to. */
uint64_t mr_resident_sum(FILE *smaps, bool (*counts)(const struct mr_mapping *mapping, void *arg),
			 void *arg);

#endif
