/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the C library that fail on demand (interpose.h). Any thread; all state is atomic. */
#include "interpose.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

/* Fails the Nth of a kind. */
struct trap {
	_Atomic uint64_t nth;
	_Atomic uint64_t seen;
	_Atomic uint64_t hits;
};

static struct trap allocations, pwrites;
static _Atomic int pwrite_error;

static uint64_t set(struct trap *trap, uint64_t nth)
{
	trap->nth = nth;
	trap->seen = 0;
	return atomic_exchange(&trap->hits, 0);
}

static bool springs(struct trap *trap)
{
	if (!trap->nth || ++trap->seen != trap->nth)
		return false;
	trap->hits++;
	return true;
}

uint64_t interpose_allocations(uint64_t nth)
{
	return set(&allocations, nth);
}

uint64_t interpose_pwrite(uint64_t nth, int error)
{
	pwrite_error = error;
	return set(&pwrites, nth);
}

/* The linker's names for the originals, and those that it puts in their place. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
ssize_t __real_pwrite(int fd, const void *buffer, size_t bytes, off_t offset);
ssize_t __real_pwrite64(int fd, const void *buffer, size_t bytes, off_t offset);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t bytes, off_t offset);

void *__wrap_malloc(size_t bytes)
{
	return springs(&allocations) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return springs(&allocations) ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return springs(&allocations) ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return springs(&allocations) ? NULL : __real_aligned_alloc(alignment, bytes);
}

/* Half, in whole blocks, as O_DIRECT wants it; of one block all, which is no short write. */
static size_t half(size_t bytes)
{
	return bytes >= 8192 ? bytes / 8192 * 4096 : bytes;
}

ssize_t __wrap_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
	if (bytes < 4096 || !springs(&pwrites)) /* small ones are no data */
		return __real_pwrite(fd, buffer, bytes, offset);
	if (pwrite_error)
		return errno = -pwrite_error, -1;
	return __real_pwrite(fd, buffer, half(bytes), offset);
}

ssize_t __wrap_pwrite64(int fd, const void *buffer, size_t bytes, off_t offset)
{
	return __wrap_pwrite(fd, buffer, bytes, offset);
}
