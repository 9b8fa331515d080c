/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of the parts of a real disk's back ends that need no disk to be looked at. */
#include <criterion/criterion.h>
#include <errno.h>

#include "check.h"
#include "io_disk.h"
#include "io_facts.h"

#define BLOCK MR_IO_BLOCK_BYTES

/* The kernel's answers to one try of a write, and what becomes of it. */
Test(io_disk, the_rest_of_a_write_is_tried_again)
{
	static char buffer[4 * BLOCK] __attribute__((aligned(4096)));
	struct mr_io_rest rest = {buffer, 4 * BLOCK, 8 * BLOCK, 0};

	cr_assert_eq(mr_io_rest_advance(&rest, -EAGAIN), 0);
	cr_assert_eq(mr_io_rest_advance(&rest, -EINTR), 0);
	cr_assert_eq(mr_io_rest_advance(&rest, -ECANCELED), 0);
	cr_assert_eq(rest.bytes, 4 * BLOCK);
	cr_assert_eq(rest.attempts, 3);
	cr_assert_eq(mr_io_rest_advance(&rest, BLOCK + 512), 0);
	cr_assert_eq(rest.buffer, buffer + BLOCK, "a block that was begun is written again");
	cr_assert_eq(rest.bytes, 3 * BLOCK);
	cr_assert_eq(rest.offset, 9 * BLOCK);
	cr_assert_eq(rest.attempts, 0);
	cr_assert_eq(mr_io_rest_advance(&rest, 3 * BLOCK), 1);
}

Test(io_disk, other_errors_of_a_write_are_final)
{
	static char buffer[BLOCK] __attribute__((aligned(4096)));
	struct mr_io_rest rest = {buffer, BLOCK, 0, 0};

	cr_assert_eq(mr_io_rest_advance(&rest, -EIO), -EIO);
	cr_assert_eq(mr_io_rest_advance(&rest, -ENOSPC), -ENOSPC);
	cr_assert_eq(mr_io_rest_advance(&rest, BLOCK + 1), -EIO, "more than was asked for");
}

Test(io_disk, a_write_that_never_moves_ends)
{
	static char buffer[BLOCK] __attribute__((aligned(4096)));
	static const int64_t results[] = {-EAGAIN, 0, 512};

	for (size_t i = 0; i < mr_array_count(results); i++) {
		struct mr_io_rest rest = {buffer, BLOCK, 0, 0};
		uint32_t tries = 0;
		int r;

		while ((r = mr_io_rest_advance(&rest, results[i])) == 0)
			cr_assert_leq(++tries, MR_IO_ATTEMPTS_MAX);
		cr_assert_eq(r, -EIO);
	}
}

Test(io_disk, the_kernels_that_corrupt_are_known)
{
	cr_assert(mr_io_facts_kernel_is_bad("6.1.64", "#1 SMP"));
	cr_assert(mr_io_facts_kernel_is_bad("6.1.65-generic", "#1 SMP"));
	cr_assert(
		mr_io_facts_kernel_is_bad("6.1.0-14-amd64", "#1 SMP Debian 6.1.64-1 (2023-11-30)"));
	cr_assert_not(mr_io_facts_kernel_is_bad("6.1.0-18-amd64", "#1 SMP Debian 6.1.76-1"));
	cr_assert_not(mr_io_facts_kernel_is_bad("6.1.640", "#1 SMP"));
	cr_assert_not(mr_io_facts_kernel_is_bad("16.1.64", "#1 SMP"));
	cr_assert_not(mr_io_facts_kernel_is_bad("6.18.4", "#1 SMP"));
}
