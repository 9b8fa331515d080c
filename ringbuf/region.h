/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A region: a memfd that two processes share, of a fixed size for all its life. The engine makes
 * every one of them. Rules S1 and S2: SHRINK and GROW are sealed at birth; before a client can do
 * harm the region is sealed against new writable maps, write() and hole punching
 * (F_SEAL_FUTURE_WRITE) and against more seals: at once where the client only reads, after "mapped"
 * where the client writes.
 *
 * Maps carry MADV_DONTFORK (a child inherits none) and MADV_DONTDUMP.
 */
#ifndef MR_REGION_H
#define MR_REGION_H

#include <stdbool.h>
#include <stddef.h>

#include "millrace.h"

/*
 * Makes a memfd of 'bytes' (a multiple of the page) named for /proc, close-on-exec, not executable
 * where the kernel knows that (MFD_NOEXEC_SEAL), SHRINK | GROW sealed. Returns the descriptor or a
 * negative errno.
 */
int mr_region_create(const char *name, size_t bytes, struct mr_error *err);

/*
 * Adds F_SEAL_FUTURE_WRITE | F_SEAL_SEAL; a region that has both already (a lane handed back) is
 * left as it is. Existing writable maps go on.
 */
int mr_region_seal(int fd, struct mr_error *err);

/*
 * 0 if 'fd' is a memfd of exactly 'bytes' that can neither shrink nor grow and, with
 * 'write_sealed', to which nobody can get new write access. Else -EBADMSG, naming which is missing.
 * For descriptors that come from outside.
 */
int mr_region_check(int fd, size_t bytes, bool write_sealed, struct mr_error *err);

/* A huge page, where the processor has them. */
#define MR_HUGE_PAGE_BYTES ((size_t)2 << 20)

/* Maps 'bytes' from 'offset' on. *out is unmapped with munmap(). */
int mr_region_map(int fd, size_t offset, size_t bytes, bool writable, void **out,
		  struct mr_error *err);

/*
 * Maps 'head_bytes' of private memory (0 or a multiple of the page) and right behind it 'bytes' of
 * the region from 'offset' on, twice in a row, so that nothing in it ever wraps. *out is the start
 * of the head; unmap head_bytes + 2 x bytes. Huge pages of the region are huge in the map, too.
 */
int mr_region_map_twice(int fd, size_t offset, size_t bytes, bool writable, size_t head_bytes,
			void **out, struct mr_error *err);

/*
 * Reads every page of a map in, so that no later access can fail for want of memory. -ENOMEM. What
 * is writable is put into huge pages as far as there are any (and as region and map have their
 * boundaries at the same places): a disk takes one address for 2 MiB then, not 512.
 */
int mr_region_populate(void *at, size_t bytes, bool writable, struct mr_error *err);

#endif
