/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory behind base/io.h that can lose its power. Everything it decides comes from a
 *seed, so a run is replayed exactly. For one thread.
 *
 * What it promises is the least that a disk and a file system promise:
 *	- bytes are durable after mr_io_sync() or when a queued write has completed, not before;
 *	- names are durable after mr_io_sync_directory(), not before;
 *	- queued writes complete only in reap, in any order, in any number at a time.
 * At a power cut each block with bytes that are not durable is kept, dropped, mixed sector by
 *sector (512 bytes), or destroyed as a whole block of 4096 bytes, whatever else it held. Names keep
 *a prefix of each directory's changes. Several unflushed versions of one sector count as the last
 *one.
 *
 * It also holds its users to the contract: a buffer that changes while its write is in flight
 *aborts.
 */
#ifndef MR_TEST_IO_FAKE_H
#define MR_TEST_IO_FAKE_H

#include "io.h"

#define MR_IO_FAKE_ALL UINT32_MAX

/* An empty disk of 1 TiB; aborts without memory. Close it with mr_io_close(). */
struct mr_io *mr_io_fake_new(uint64_t seed);

/*
 * A second disk with the same content, durable or not, but nothing open and nothing in flight; take
 * it after a power cut to recover one image twice.
 */
struct mr_io *mr_io_fake_clone(const struct mr_io *io, uint64_t seed);

/*
 * Power cut and restart. Files and queues that were open stay valid only to be closed: everything
 * else they do is -EIO, and what was in flight comes back as -EIO. Locks are gone.
 */
void mr_io_fake_crash(struct mr_io *io, uint64_t seed);

/* How many queued writes may complete from now on: 0 none, a number, or MR_IO_FAKE_ALL. */
void mr_io_fake_allow(struct mr_io *io, uint32_t completions);
/* Queued writes complete after 'turns' reaps or waits at the earliest. */
void mr_io_fake_slow(struct mr_io *io, uint32_t turns);
/* Free space from now on. What needs more is -ENOSPC and changes nothing. */
void mr_io_fake_set_free(struct mr_io *io, uint64_t bytes);

/* Damage behind the engine's back, durable at once. 'path' must be there; they abort if not. */
void mr_io_fake_flip_bit(struct mr_io *io, const char *path, uint64_t bit);
void mr_io_fake_cut(struct mr_io *io, const char *path, uint64_t bytes);
void mr_io_fake_delete(struct mr_io *io, const char *path);

/* A copy of what a read would give, which the caller frees; NULL if there is no such file. */
void *mr_io_fake_bytes(const struct mr_io *io, const char *path, size_t *bytes);
/* The same of what is durable: what would be left if everything unflushed were dropped. */
void *mr_io_fake_durable_bytes(const struct mr_io *io, const char *path, size_t *bytes);
/* Paths of all files (no directories), in no order, up to 'max'; returns how many there are. */
size_t mr_io_fake_paths(const struct mr_io *io, char (*paths)[MR_IO_PATH_BYTES], size_t max);
/* Queued writes that have not completed, over all queues. */
size_t mr_io_fake_in_flight(const struct mr_io *io);

/* The generator behind it, for tests that draw their own things from a seed. */
uint64_t mr_io_fake_random(uint64_t *state);

#endif
