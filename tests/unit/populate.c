/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the memory of tails: a partition that is made has none yet, and before a worker
 * gets it every page is there, of each of many, or the start says what is missing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker.h"

#define TAIL_BYTES (4u << 20) /* two huge pages */
#define PAGES	   (TAIL_BYTES / 4096)
#define MANY	   40

static struct mr_worker_partition *parts[MANY];
static struct mr_error err;

static void make(size_t count)
{
	struct mr_worker_partition_options options = {
		.tail_bytes = TAIL_BYTES,
		.node = MR_PLACE_ANY,
		.log = {64u << 10, 8u << 10, 4, .in_memory = true},
		.start = {.position = MR_BLOCK_BYTES},
	};
	struct mr_partition state;

	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(mr_partition_init(&state, 8, 1, &err), 0);
		mr_partition_start(&state, 0, 0, 1);
		options.partition = (int32_t)i;
		cr_assert_eq(mr_worker_partition_new(&options, &state, &parts[i], &err), 0, "%s",
			     err.what);
	}
}

static void end(size_t count)
{
	for (size_t i = 0; i < count; i++)
		mr_worker_partition_free(parts[i]);
}

static size_t pages_of(const struct mr_worker_partition *part)
{
	unsigned char there[PAGES];
	size_t count = 0;

	cr_assert_eq(mincore(mr_worker_partition_tail(part)->data, TAIL_BYTES, there), 0);
	for (size_t i = 0; i < PAGES; i++)
		count += there[i] & 1;
	return count;
}

Test(populate, every_page_of_every_tail_is_there)
{
	static const size_t counts[] = {1, 2, 3, MANY};

	for (size_t k = 0; k < 4; k++) {
		make(counts[k]);
		for (size_t i = 0; i < counts[k]; i++)
			cr_assert_eq(pages_of(parts[i]), 0);
		cr_assert_eq(mr_worker_partitions_populate(parts, counts[k], &err), 0, "%s",
			     err.what);
		for (size_t i = 0; i < counts[k]; i++)
			cr_assert_eq(pages_of(parts[i]), PAGES, "partition %zu of %zu", i,
				     counts[k]);
		end(counts[k]);
	}
	cr_assert_eq(mr_worker_partitions_populate(parts, 0, &err), 0);
}

/* Whichever thread meets it, the caller learns it. */
Test(populate, memory_that_is_not_there_is_told)
{
	for (size_t missing = 0; missing < MANY; missing += 13) {
		make(MANY);
		cr_assert_eq(munmap(mr_worker_partition_tail(parts[missing])->data + 4096, 4096),
			     0);
		err = (struct mr_error){0};
		cr_assert_eq(mr_worker_partitions_populate(parts, MANY, &err), -ENOMEM);
		cr_assert_not_null(strstr(err.what, "no memory"), "%s", err.what);
		end(MANY);
	}
}
