/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a tail's bytes lie at their positions however often they wrap; a reader outside
 * never takes overwritten bytes for whole ones; nobody but the worker writes; holds are seen.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "region.h"
#include "tail.h"

#define BYTES 65536u

static const uint8_t topic[16] = {9, 8, 7};

static void create(struct mr_tail *tail, uint64_t position)
{
	struct mr_error err = {0};

	cr_assert_eq(mr_tail_create(BYTES, topic, 2, position, 100, tail, &err), 0, "%s", err.what);
}

static void view(const struct mr_tail *tail, struct mr_tail_view *out)
{
	struct mr_error err = {0};

	cr_assert_eq(mr_tail_view_open(tail->fd, BYTES, out, &err), 0, "%s", err.what);
}

Test(tail, begins_where_it_was_told)
{
	struct mr_tail_view outside;
	struct mr_tail tail;

	create(&tail, 40960);
	view(&tail, &outside);
	cr_assert_eq(outside.page->start_position, 40960);
	cr_assert_eq(outside.page->partition, 2);
	cr_assert_arr_eq(outside.page->topic_id, topic, 16);
	cr_assert_eq(outside.page->appended, 40960);
	cr_assert_eq(outside.page->flushed, 40960);
	cr_assert_eq(outside.page->committed, 40960);
	cr_assert_eq(outside.page->reclaimed, 40960);
	cr_assert_eq(outside.page->committed_offset, 100);
	cr_assert_eq(outside.page->log_start_offset, 100);
	cr_assert_eq(outside.page->closed, 0);
	cr_assert_eq(mr_tail_lowest_hold(&tail), MR_TAIL_NO_HOLD);
	mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
}

Test(tail, bytes_never_wrap_for_who_reads_or_writes)
{
	struct mr_tail_view outside;
	struct mr_tail tail;
	uint64_t position = 3 * (uint64_t)BYTES - 5;

	create(&tail, 4096);
	view(&tail, &outside);
	memcpy(mr_tail_at(&tail, position), "0123456789", 10);
	cr_assert_arr_eq(mr_tail_view_at(&outside, position), "0123456789", 10);
	cr_assert_arr_eq(mr_tail_view_at(&outside, position + 5), "56789", 5);
	cr_assert_eq(mr_tail_view_at(&outside, position + 5), outside.data);
	mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
}

Test(tail, what_is_published_is_seen)
{
	struct mr_tail_view outside;
	struct mr_tail tail;

	create(&tail, 0);
	view(&tail, &outside);
	mr_tail_publish_appended(&tail, 12288, 150);
	mr_tail_publish_flushed(&tail, 8192, 120);
	mr_tail_publish_committed(&tail, 4096, 110);
	mr_tail_publish_log_start(&tail, 105);
	cr_assert_eq(outside.page->appended, 12288);
	cr_assert_eq(outside.page->appended_offset, 150);
	cr_assert_eq(outside.page->flushed, 8192);
	cr_assert_eq(outside.page->flushed_offset, 120);
	cr_assert_eq(outside.page->committed, 4096);
	cr_assert_eq(outside.page->committed_offset, 110);
	cr_assert_eq(outside.page->last_stable_offset, 110);
	cr_assert_eq(outside.page->log_start_offset, 105);
	mr_tail_reclaim(&tail, 4096, 110);
	cr_assert_eq(outside.page->reclaimed, 4096);
	cr_assert_eq(outside.page->reclaimed_offset, 110);
	mr_tail_publish_closed(&tail);
	cr_assert_eq(outside.page->closed, 1);
	mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
}

Test(tail, a_view_is_valid_until_its_first_byte_is_given_up)
{
	struct mr_tail_view outside;
	struct mr_tail tail;

	create(&tail, 0);
	view(&tail, &outside);
	mr_tail_publish_appended(&tail, 16384, 200);
	cr_assert(mr_tail_view_valid(&outside, 0));
	mr_tail_reclaim(&tail, 8192, 150);
	cr_assert_not(mr_tail_view_valid(&outside, 0));
	cr_assert_not(mr_tail_view_valid(&outside, 8191));
	cr_assert(mr_tail_view_valid(&outside, 8192));
	mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
}

Test(tail, the_lowest_hold_counts)
{
	struct mr_tail tail;

	create(&tail, 0);
	atomic_store(&tail.holds[0].position, 9000);
	atomic_store(&tail.holds[MR_TAIL_HOLDS_MAX - 1].position, 7000);
	cr_assert_eq(mr_tail_lowest_hold(&tail), 7000);
	atomic_store(&tail.holds[MR_TAIL_HOLDS_MAX - 1].position, MR_TAIL_NO_HOLD);
	cr_assert_eq(mr_tail_lowest_hold(&tail), 9000);
	cr_assert_eq((uintptr_t)&tail.holds[1] - (uintptr_t)&tail.holds[0], 64, "a line each");
	cr_assert_eq((uintptr_t)tail.holds % 64, 0);
	mr_tail_destroy(&tail);
}

Test(tail, a_position_that_goes_back_is_our_own_mistake, .signal = SIGABRT)
{
	struct mr_tail tail;

	create(&tail, 0);
	mr_tail_publish_appended(&tail, 8192, 120);
	mr_tail_publish_appended(&tail, 4096, 120);
}

Test(tail, more_than_it_holds_is_our_own_mistake, .signal = SIGABRT)
{
	struct mr_tail tail;

	create(&tail, 0);
	mr_tail_publish_appended(&tail, BYTES, 120);
	mr_tail_publish_appended(&tail, BYTES + 4096, 130);
}

Test(tail, committed_beyond_appended_is_our_own_mistake, .signal = SIGABRT)
{
	struct mr_tail tail;

	create(&tail, 0);
	mr_tail_publish_appended(&tail, 4096, 120);
	mr_tail_publish_committed(&tail, 8192, 120);
}

Test(tail, nobody_outside_can_write)
{
	struct mr_error err = {0};
	struct mr_tail tail;
	void *out;

	create(&tail, 0);
	cr_assert_eq(mr_region_check(tail.fd, MR_TAIL_DATA_OFFSET + BYTES, true, &err), 0, "%s",
		     err.what);
	cr_assert_lt(pwrite(tail.fd, "x", 1, MR_TAIL_DATA_OFFSET + 5000), 0);
	cr_assert_lt(mr_region_map(tail.fd, 0, 4096, true, &out, &err), 0);
	mr_tail_destroy(&tail);
}

Test(tail, sizes_that_cannot_be_are_refused)
{
	struct mr_error err = {0};
	struct mr_tail_view outside;
	struct mr_tail tail;

	cr_assert_eq(mr_tail_create(0, topic, 0, 0, 0, &tail, &err), -EINVAL);
	cr_assert_eq(mr_tail_create(2048, topic, 0, 0, 0, &tail, &err), -EINVAL);
	cr_assert_eq(mr_tail_create(12288, topic, 0, 0, 0, &tail, &err), -EINVAL);
	cr_assert(strstr(err.what, "12288"));
	cr_assert_eq(mr_tail_create(1ull << 50, topic, 0, 0, 0, &tail, &err), -EINVAL);
	cr_assert_eq(mr_tail_view_open(0, 12288, &outside, &err), -EBADMSG);
	cr_assert_eq(mr_tail_view_open(0, 0, &outside, &err), -EBADMSG);
}

static int open_spoilt(size_t at, uint64_t value, size_t count, struct mr_error *err)
{
	struct mr_tail_view outside;
	struct mr_tail tail;
	int r;

	create(&tail, 0);
	memcpy((uint8_t *)tail.page + at, &value, count);
	r = mr_tail_view_open(tail.fd, BYTES, &outside, err);
	if (r == 0)
		mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
	return r;
}

Test(tail, a_wrong_page_is_refused_by_field)
{
	struct mr_error err = {0};

	cr_assert_eq(open_spoilt(48, 0, 8, &err), 0);
	cr_assert_eq(open_spoilt(0, 1, 4, &err), -EBADMSG);
	cr_assert(strstr(err.what, "magic 0x00000001"));
	cr_assert_eq(open_spoilt(4, 2, 4, &err), -EBADMSG);
	cr_assert(strstr(err.what, "version 2, expected 1"));
	cr_assert_eq(open_spoilt(28, 64, 4, &err), -EBADMSG);
	cr_assert(strstr(err.what, "begin at 64"));
	cr_assert_eq(open_spoilt(32, 4096, 8, &err), -EBADMSG);
	cr_assert(strstr(err.what, "has 4096 bytes, expected 65536"));
}

Test(tail, a_wrong_descriptor_is_refused)
{
	struct mr_error err = {0};
	struct mr_tail_view outside;
	struct mr_tail tail;
	int bare = mr_region_create("bare", 4096 + BYTES, &err);

	create(&tail, 0);
	cr_assert_eq(mr_tail_view_open(tail.fd, BYTES / 2, &outside, &err), -EBADMSG);
	cr_assert_eq(mr_tail_view_open(bare, BYTES, &outside, &err), -EBADMSG, "not sealed");
	cr_assert_eq(mr_tail_view_open(-1, BYTES, &outside, &err), -EBADMSG);
	mr_tail_destroy(&tail);
	close(bare);
}

/*
 * The seqlock: a worker writes blocks round and round, each word of a block being its position; a
 * reader copies the newest it can get. Whatever the copy that was said to be valid: it is whole.
 */
#define BLOCK 4096u

static _Atomic bool stop;

static void *write_round_and_round(void *arg)
{
	struct mr_tail *tail = arg;
	uint64_t position = 0;

	while (!atomic_load(&stop)) {
		uint64_t *words = (uint64_t *)(void *)mr_tail_at(tail, position);

		if (position + BLOCK > BYTES)
			mr_tail_reclaim(tail, position + BLOCK - BYTES, 100);
		for (uint32_t i = 0; i < BLOCK / 8; i++)
			words[i] = position;
		position += BLOCK;
		mr_tail_publish_appended(tail, position, 100);
	}
	return NULL;
}

__attribute__((no_sanitize("thread"))) static bool whole(const uint64_t *words, uint64_t position)
{
	for (uint32_t i = 0; i < BLOCK / 8; i++)
		if (words[i] != position)
			return false;
	return true;
}

/*
 * One look at the block 'ahead' blocks after the first that is not given up: 1 valid, 0 not, -1
 * none.
 */
static int look(const struct mr_tail_view *outside, uint32_t ahead)
{
	uint64_t position = atomic_load(&outside->page->reclaimed) + (uint64_t)ahead * BLOCK;
	uint64_t copy[BLOCK / 8];

	if (atomic_load(&outside->page->appended) < position + BLOCK)
		return -1;
	memcpy(copy, mr_tail_view_at(outside, position), BLOCK);
	if (!mr_tail_view_valid(outside, position))
		return 0;
	cr_assert(whole(copy, position), "a torn copy was said to be valid");
	return 1;
}

Test(tail, what_is_said_to_be_valid_is_whole, .timeout = 60)
{
	struct mr_tail_view outside;
	uint32_t valid = 0, overtaken = 0;
	struct mr_tail tail;
	pthread_t thread;
	time_t end = time(NULL) + 30;

	create(&tail, 0);
	view(&tail, &outside);
	cr_assert_eq(pthread_create(&thread, NULL, write_round_and_round, &tail), 0);
	/* Most looks close to what is overwritten next, where races are frequent. */
	for (uint32_t i = 0; (valid < 5000 || overtaken < 500) && time(NULL) < end; i++) {
		int r = look(&outside, i % 2 ? i / 2 % (BYTES / BLOCK) : i / 2 % 2);

		valid += r == 1;
		overtaken += r == 0;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	cr_assert_gt(valid, 0);
	cr_assert_gt(overtaken, 0, "no copy was overtaken: the test has tested nothing");
	mr_tail_view_close(&outside);
	mr_tail_destroy(&tail);
}
