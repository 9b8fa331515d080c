/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the C library that fail on demand, for a program linked with --wrap of pwrite, pwrite64,
 * malloc, calloc, realloc and aligned_alloc. Counts what the project's own code calls, from every
 * thread; shared libraries are left alone.
 */
#ifndef MR_FAULTS_INTERPOSE_H
#define MR_FAULTS_INTERPOSE_H

#include <stdint.h>

/*
 * From now on the Nth allocation fails; 0: none does. Returns how many failed since the last call.
 */
uint64_t interpose_allocations(uint64_t nth);
/*
 * From now on the Nth pwrite writes half of its bytes (error 0), or fails with 'error'; 0: none.
 * Returns how many did since the last call.
 */
uint64_t interpose_pwrite(uint64_t nth, int error);

#endif
