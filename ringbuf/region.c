/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions: runs on the thread that opens a lane or a tail, never on a record's path. Owns nothing:
 * descriptors and maps belong to the caller. Promises that a region once sealed keeps its size and
 * its writers for ever, and that a descriptor from outside is believed only after the kernel has
 * said so (mr_region_check).
 */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "millrace/format.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

int mr_region_create(const char *name, size_t bytes, struct mr_error *err)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, r;

	mr_assert(bytes > 0);
	mr_assert(bytes % MR_PAGE_BYTES == 0);
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* Linux before 6.3 */
		fd = memfd_create(name, flags);
	if (fd < 0)
		return mr_error_set(err, -errno, "cannot make the memory region '%s': %s", name,
				    strerror(errno));
	if (ftruncate(fd, (off_t)bytes) < 0) {
		r = mr_error_set(err, -errno,
				 "cannot make the memory region '%s' %zu bytes big: %s", name,
				 bytes, strerror(errno));
		goto fail;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
		r = mr_error_set(err, -errno, "cannot seal the size of the memory region '%s': %s",
				 name, strerror(errno));
		goto fail;
	}
	return fd;
fail:
	(void)close(fd); /* nothing was written to it */
	return r;
}

int mr_region_seal(int fd, struct mr_error *err)
{
	const int wanted = F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals >= 0 && (seals & wanted) == wanted)
		return 0; /* an engine before this one did it */
	if (fcntl(fd, F_ADD_SEALS, wanted) < 0)
		return mr_error_set(err, -errno, "cannot seal a memory region against writing: %s",
				    strerror(errno));
	return 0;
}

int mr_region_check(int fd, size_t bytes, bool write_sealed, struct mr_error *err)
{
	struct stat found;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return mr_error_set(err, -EBADMSG, "the descriptor is no memory region: %s",
				    strerror(errno));
	if (fstat(fd, &found) < 0)
		return mr_error_set(err, -EBADMSG, "the memory region cannot be looked at: %s",
				    strerror(errno));
	if (found.st_size < 0 || (uint64_t)found.st_size != bytes)
		return mr_error_set(err, -EBADMSG,
				    "the memory region has %" PRId64 " bytes, expected %zu",
				    (int64_t)found.st_size, bytes);
	if (!(seals & F_SEAL_SHRINK))
		return mr_error_set(err, -EBADMSG,
				    "the memory region is not sealed against "
				    "shrinking (seals 0x%x)",
				    seals);
	if (!(seals & F_SEAL_GROW))
		return mr_error_set(err, -EBADMSG,
				    "the memory region is not sealed against "
				    "growing (seals 0x%x)",
				    seals);
	if (write_sealed && !(seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE)))
		return mr_error_set(err, -EBADMSG,
				    "the memory region is not sealed against "
				    "new writers (seals 0x%x)",
				    seals);
	return 0;
}

static int map_error(size_t bytes, struct mr_error *err)
{
	return mr_error_set(err, -errno, "cannot map %zu bytes of a memory region: %s", bytes,
			    strerror(errno));
}

/* Maps at a fixed place, or anywhere with 'at' NULL; returns where, or NULL. */
static uint8_t *map_shared(uint8_t *at, int fd, size_t offset, size_t bytes, bool writable)
{
	int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *map = mmap(at, bytes, access, MAP_SHARED | (at ? MAP_FIXED : 0), fd, (off_t)offset);

	if (map == MAP_FAILED)
		return NULL;
	(void)madvise(map, bytes, MADV_DONTDUMP); /* a smaller core file is a courtesy only */
	return map;
}

int mr_region_map(int fd, size_t offset, size_t bytes, bool writable, void **out,
		  struct mr_error *err)
{
	uint8_t *map = map_shared(NULL, fd, offset, bytes, writable);
	int r;

	if (!map)
		return map_error(bytes, err);
	if (madvise(map, bytes, MADV_DONTFORK) < 0) {
		r = map_error(bytes, err);
		(void)munmap(map, bytes); /* just mapped */
		return r;
	}
	*out = map;
	return 0;
}

/*
 * Address space of 'bytes', nothing in it, such that 'at' bytes behind its start lie as far behind
 * a huge page's boundary as 'offset' does: a huge page of the region can be one in the map.
 */
static uint8_t *reserve_space(size_t bytes, size_t at, size_t offset)
{
	size_t all = bytes + MR_HUGE_PAGE_BYTES;
	uint8_t *map =
		mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (map == MAP_FAILED)
		return NULL;
	before = (offset - at - (uintptr_t)map) & (MR_HUGE_PAGE_BYTES - 1);
	if (before > 0)
		(void)munmap(map, before); /* just mapped, as is what lies behind */
	(void)munmap(map + before + bytes, all - before - bytes);
	return map + before;
}

int mr_region_map_twice(int fd, size_t offset, size_t bytes, bool writable, size_t head_bytes,
			void **out, struct mr_error *err)
{
	size_t all = head_bytes + 2 * bytes;
	uint8_t *map = reserve_space(all, head_bytes, offset);
	int r;

	mr_assert(head_bytes % MR_PAGE_BYTES == 0);
	if (!map)
		return map_error(all, err);
	if ((head_bytes > 0 && mprotect(map, head_bytes, PROT_READ | PROT_WRITE) < 0) ||
	    !map_shared(map + head_bytes, fd, offset, bytes, writable) ||
	    !map_shared(map + head_bytes + bytes, fd, offset, bytes, writable) ||
	    madvise(map, all, MADV_DONTFORK) < 0) {
		r = map_error(all, err);
		(void)munmap(map, all); /* just mapped */
		return r;
	}
	*out = map;
	return 0;
}

/* Linux before 5.14: a read of a page of shared memory takes it into the region and into the map.
 */
static void read_pages(const uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += MR_PAGE_BYTES)
		(void)__atomic_load_n(at + i,
				      __ATOMIC_RELAXED); /* relaxed: only the fault matters */
}

/*
 * Linux 6.1 makes huge pages on request, also where shared memory gets none by itself, and fills in
 * what is not there yet; but it looks only where a page is.
 */
static void use_huge_pages(uint8_t *at, size_t bytes)
{
	size_t i = -(uintptr_t)at & (MR_HUGE_PAGE_BYTES - 1);

	for (; i + MR_HUGE_PAGE_BYTES <= bytes; i += MR_HUGE_PAGE_BYTES)
		if (madvise(at + i, MR_PAGE_BYTES, MADV_POPULATE_READ) < 0 ||
		    madvise(at + i, MR_HUGE_PAGE_BYTES, MADV_COLLAPSE) < 0)
			return; /* small pages do as well */
}

int mr_region_populate(void *at, size_t bytes, bool writable, struct mr_error *err)
{
	int r;

	if (writable)
		use_huge_pages(at, bytes);

	do
		r = madvise(at, bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	if (r == 0)
		return 0;
	if (errno != EINVAL)
		return mr_error_set(err, -ENOMEM, "no memory for %zu bytes of a region: %s", bytes,
				    strerror(errno));
	read_pages(at, bytes);
	return 0;
}
