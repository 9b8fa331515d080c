/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit that acknowledgements are measured against: one durable write of 4 KiB at a time into
 *blocks that were written before, O_DIRECT and RWF_DSYNC by io_uring, the thread asleep meanwhile.
 *Run it beside the engine's disk.
 *
 *	bench-durable FILE [--writes 2000]
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define BLOCK_BYTES 4096u
#define FILE_BYTES  (16u << 20)

static int prepare(const char *path, void *block)
{
	int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	off_t at;

	if (fd < 0) {
		fprintf(stderr, "cannot open '%s' for direct writing: %s\n", path, strerror(errno));
		exit(1);
	}
	for (at = 0; at < (off_t)FILE_BYTES; at += BLOCK_BYTES)
		if (pwrite(fd, block, BLOCK_BYTES, at) != (ssize_t)BLOCK_BYTES)
			exit(1);
	fsync(fd);
	return fd;
}

static uint64_t one_write(struct io_uring *ring, int fd, const void *block, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint64_t began_ns = bench_now_ns();
	struct io_uring_cqe *cqe;

	io_uring_prep_write(sqe, fd, block, BLOCK_BYTES, offset);
	sqe->rw_flags = RWF_DSYNC;
	if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_wait_cqe(ring, &cqe) < 0 ||
	    cqe->res != (int)BLOCK_BYTES) {
		fprintf(stderr, "a durable write failed\n");
		exit(1);
	}
	io_uring_cqe_seen(ring, cqe);
	return bench_now_ns() - began_ns;
}

int main(int count, char **arguments)
{
	size_t writes = (size_t)bench_number(count, arguments, "writes", 2000), i;
	void *block = aligned_alloc(BLOCK_BYTES, BLOCK_BYTES);
	uint64_t *times_ns = calloc(writes + 1, sizeof(*times_ns));
	struct io_uring ring;
	int fd;

	if (count < 2 || arguments[1][0] == '-' || !writes || !block || !times_ns) {
		fprintf(stderr, "usage: bench-durable FILE [--writes N]\n");
		return 2;
	}
	memset(block, 0x5a, BLOCK_BYTES);
	fd = prepare(arguments[1], block);
	if (io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) <
	    0) {
		fprintf(stderr, "no io_uring here\n");
		return 1;
	}
	for (i = 0; i < writes; i++)
		times_ns[i] = one_write(&ring, fd, block, i * BLOCK_BYTES % FILE_BYTES);
	printf("raw durable 4 KiB write: p50 %.0f us, p99 %.0f us\n",
	       (double)bench_percentile(times_ns, writes, 0.5) / 1e3,
	       (double)bench_percentile(times_ns, writes, 0.99) / 1e3);
	io_uring_queue_exit(&ring);
	close(fd);
	unlink(arguments[1]);
	free(block);
	free(times_ns);
	return 0;
}
