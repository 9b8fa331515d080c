/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On what it was measured: a figure without its machine says nothing.
 */
#ifndef MR_BENCH_MACHINE_H
#define MR_BENCH_MACHINE_H

#include <jansson.h>
#include <stdint.h>

#include "error.h"

struct mr_bench_machine {
	char model[64]; /* of the processor */
	char hypervisor[32];
	uint32_t cores, cpus, nodes; /* that this process may use */
	uint64_t memory_bytes;
	char kernel[160]; /* release and version */
	char file_system[32];
	char disk[288];	    /* "vda", or "" */
	char io[192];	    /* back end of an engine there, with why it is no better */
	int interrupt_core; /* the first that finishes the disk's interrupts; -1: not known */
	char date[32];	    /* UTC, RFC 3339 */
};

/* 'directory' lies on the disk in question. What cannot be found out is left empty. */
int mr_bench_machine_learn(const char *directory, struct mr_bench_machine *out,
			   struct mr_error *err);
/* The caller owns it; NULL: no memory. */
json_t *mr_bench_machine_json(const struct mr_bench_machine *machine);

#endif
