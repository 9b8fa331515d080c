/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine finds out about its host at start: can it run here at all, and how long does a
 * durable write take.
 */
#ifndef MR_ENGINE_CHECKS_H
#define MR_ENGINE_CHECKS_H

#include "base/clock.h"
#include "base/io.h"

#define MR_ENGINE_FLUSHES 9

/* -ENOTSUP: big-endian (files are little-endian and read in place), or pages of another size than
 * 4096 bytes. */
int mr_engine_check_host(struct mr_error *err);
/* The time of MR_ENGINE_FLUSHES durable writes of 4 KiB into a scratch file of the data directory.
 */
int mr_engine_measure_flush(struct mr_io *io, const struct mr_clock *clock, uint64_t *median_ns,
			    uint64_t *worst_ns);
/* isa-l's CRC-32C in the shape of mr_crc32c_use(). */
uint32_t mr_engine_crc32c_update(uint32_t state, const void *bytes, size_t count);

#endif
