/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks and measurements at start (engine_checks.h). Runs on the thread that opens the engine,
 * before any other.
 */
#include "engine_checks.h"

#include <errno.h>
#include <isa-l.h>
#include <stdlib.h>
#include <unistd.h>

#include "millrace/format.h"

#define SCRATCH_FILE "scratch"
#define WAIT_NS	     1000000000u

int mr_engine_check_host(struct mr_error *err)
{
	long page = sysconf(_SC_PAGESIZE);

	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return mr_error_set(err, -ENOTSUP,
				    "this host is big-endian; Millrace's files are not");
	if (page != (long)MR_PAGE_BYTES)
		return mr_error_set(err, -ENOTSUP, "this host has pages of %ld bytes, expected %u",
				    page, MR_PAGE_BYTES);
	return 0;
}

uint32_t mr_engine_crc32c_update(uint32_t state, const void *bytes, size_t count)
{
	unsigned char *at = (unsigned char *)bytes; /* isa-l's prototype lacks const */

	while (count > INT32_MAX) {
		state = crc32_iscsi(at, INT32_MAX, state);
		at += INT32_MAX;
		count -= INT32_MAX;
	}
	return crc32_iscsi(at, (int)count, state);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int time_write(struct mr_io_queue *queue, struct mr_io_file *file, const void *block,
		      const struct mr_clock *clock, uint64_t *took_ns)
{
	struct mr_io_completion completion;
	uint64_t began_ns = mr_clock_monotonic_ns(clock);
	int r = mr_io_queue_write(queue, file, block, MR_BLOCK_BYTES, 0, NULL);

	if (r < 0)
		return r;
	while ((r = mr_io_queue_reap(queue, &completion, 1)) == 0)
		(void)mr_io_queue_wait(queue, WAIT_NS); /* always 0 */
	*took_ns = mr_clock_monotonic_ns(clock) - began_ns;
	return r < 0 ? r : completion.result;
}

static int time_writes(struct mr_io *io, struct mr_io_file *file, const struct mr_clock *clock,
		       uint64_t times_ns[MR_ENGINE_FLUSHES])
{
	void *block = aligned_alloc(MR_BLOCK_BYTES, MR_BLOCK_BYTES);
	struct mr_io_queue *queue = NULL;
	int i, r;

	if (!block)
		return -ENOMEM;
	for (i = 0; i < (int)(MR_BLOCK_BYTES / sizeof(int)); i++)
		((int *)block)[i] = i;
	r = mr_io_queue_open(io, 4, -1, &queue, NULL);
	/* the first write allocates the block: it is not one of those that count */
	for (i = -1; r == 0 && i < MR_ENGINE_FLUSHES; i++)
		r = time_write(queue, file, block, clock, &times_ns[i < 0 ? 0 : i]);
	mr_io_queue_close(queue);
	free(block);
	return r;
}

int mr_engine_measure_flush(struct mr_io *io, const struct mr_clock *clock, uint64_t *median_ns,
			    uint64_t *worst_ns)
{
	uint64_t times_ns[MR_ENGINE_FLUSHES] = {0};
	struct mr_io_file *file = NULL;
	int r;

	(void)mr_io_remove(io, SCRATCH_FILE, NULL); /* left by a start that was killed */
	r = mr_io_open(io, SCRATCH_FILE, MR_IO_CREATE, &file, NULL);
	if (r < 0)
		return r;
	r = time_writes(io, file, clock, times_ns);
	mr_io_file_close(file);
	(void)mr_io_remove(io, SCRATCH_FILE, NULL); /* a file of 4 KiB */
	qsort(times_ns, MR_ENGINE_FLUSHES, sizeof(times_ns[0]), compare);
	*median_ns = times_ns[MR_ENGINE_FLUSHES / 2];
	*worst_ns = times_ns[MR_ENGINE_FLUSHES - 1];
	return r;
}
