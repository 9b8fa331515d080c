/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4; reflected polynomial 0x82F63B78). libmillrace has its
 * own because it depends on libc only; the engine replaces the inner function by isa-l's, which is
 * faster on long runs.
 */
#ifndef MR_CRC32C_H
#define MR_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues 'crc' (0 to begin) over 'count' bytes; initial and final inversion are done inside. */
uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count);

/*
 * Puts another raw update (no inversions; the state goes in and out) in the place of the built-in
 * one. Call it before any other thread runs. Runs under 256 bytes stay with the built-in one. NULL
 * brings it back.
 */
void mr_crc32c_use(uint32_t (*update)(uint32_t state, const void *bytes, size_t count));

/* The built-in raw update of processors without a crc32 instruction. Reads every byte once. */
uint32_t mr_crc32c_portable(uint32_t state, const void *bytes, size_t count);

#endif
