/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail: written by the partition's worker thread, which owns struct mr_tail; read by anyone who
 * has the descriptor. Promises to readers: positions only rise, bytes below a published position
 * are whole until 'reclaimed' passes them, and nobody but the worker can ever write (the region is
 * sealed at birth).
 */
#include "tail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "region.h"

#define TAIL_BYTES_MAX (1ull << 40)

static bool tail_bytes_fit(uint64_t tail_bytes)
{
	return tail_bytes >= MR_PAGE_BYTES && tail_bytes <= TAIL_BYTES_MAX &&
	       (tail_bytes & (tail_bytes - 1)) == 0;
}

static int make_holds(struct mr_tail *tail, struct mr_error *err)
{
	tail->holds = aligned_alloc(_Alignof(struct mr_tail_hold),
				    MR_TAIL_HOLDS_MAX * sizeof(*tail->holds));
	if (!tail->holds)
		return mr_error_set(err, -ENOMEM, "no memory for the holds of a tail");
	for (int i = 0; i < MR_TAIL_HOLDS_MAX; i++)
		atomic_init(&tail->holds[i].position, MR_TAIL_NO_HOLD);
	return 0;
}

static void fill_page(struct mr_tail_page *page, uint64_t tail_bytes, const uint8_t topic_id[16],
		      int32_t partition, uint64_t position, uint64_t offset)
{
	page->magic = MR_TAIL_MAGIC;
	page->version = MR_FORMAT_VERSION;
	memcpy(page->topic_id, topic_id, sizeof(page->topic_id));
	page->partition = partition;
	page->data_offset = MR_TAIL_DATA_OFFSET;
	page->tail_bytes = tail_bytes;
	page->start_position = position;
	atomic_init(&page->reclaimed, position);
	atomic_init(&page->reclaimed_offset, offset);
	atomic_init(&page->committed, position);
	atomic_init(&page->committed_offset, offset);
	atomic_init(&page->flushed, position);
	atomic_init(&page->flushed_offset, offset);
	atomic_init(&page->appended, position);
	atomic_init(&page->appended_offset, offset);
	atomic_init(&page->log_start_offset, offset);
	atomic_init(&page->last_stable_offset, offset);
}

int mr_tail_create(uint64_t tail_bytes, const uint8_t topic_id[16], int32_t partition,
		   uint64_t start_position, uint64_t start_offset, struct mr_tail *out,
		   struct mr_error *err)
{
	struct mr_tail tail = {.tail_bytes = tail_bytes, .fd = -1};
	void *map;
	int r;

	if (!tail_bytes_fit(tail_bytes))
		return mr_error_set(err, -EINVAL,
				    "a tail of %" PRIu64
				    " bytes cannot be: it must be a power of two "
				    "from %u to %llu",
				    tail_bytes, MR_PAGE_BYTES, TAIL_BYTES_MAX);
	tail.fd = mr_region_create("millrace-tail", MR_TAIL_DATA_OFFSET + tail_bytes, err);
	if (tail.fd < 0)
		return tail.fd;
	r = mr_region_map(tail.fd, 0, MR_PAGE_BYTES, true, &map, err);
	if (r < 0)
		goto fail;
	tail.page = map;
	r = mr_region_map_twice(tail.fd, MR_TAIL_DATA_OFFSET, tail_bytes, true, 0, &map, err);
	if (r < 0)
		goto fail;
	tail.data = map;
	r = make_holds(&tail, err);
	if (r < 0)
		goto fail;
	r = mr_region_seal(tail.fd, err);
	if (r < 0)
		goto fail;
	fill_page(tail.page, tail_bytes, topic_id, partition, start_position, start_offset);
	*out = tail;
	return 0;
fail:
	mr_tail_destroy(&tail);
	return r;
}

void mr_tail_destroy(struct mr_tail *tail)
{
	if (tail->data)
		(void)munmap(tail->data, 2 * tail->tail_bytes); /* our own map */
	if (tail->page)
		(void)munmap(tail->page, MR_PAGE_BYTES); /* our own map */
	if (tail->fd >= 0)
		(void)close(tail->fd); /* memory: nothing can be lost */
	free(tail->holds);
	*tail = (struct mr_tail){.fd = -1};
}

uint64_t mr_tail_lowest_hold(const struct mr_tail *tail)
{
	uint64_t lowest = MR_TAIL_NO_HOLD;

	for (int i = 0; i < MR_TAIL_HOLDS_MAX; i++) {
		/* R9: pairs with W9, the reader's store: it has done with the bytes before. */
		uint64_t position =
			atomic_load_explicit(&tail->holds[i].position, memory_order_acquire);

		if (position < lowest)
			lowest = position;
	}
	return lowest;
}

/* relaxed: only the caller's own thread writes these, and it has read nothing through them */
static uint64_t own(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

void mr_tail_reclaim(struct mr_tail *tail, uint64_t position, uint64_t offset)
{
	struct mr_tail_page *page = tail->page;

	mr_assert(position >= own(&page->reclaimed));
	mr_assert(position <= own(&page->appended));
	mr_assert(offset >= own(&page->reclaimed_offset));
	/* relaxed: a hint; who needs it exactly asks the engine */
	atomic_store_explicit(&page->reclaimed_offset, offset, memory_order_relaxed);
	/* W7: visible before any byte that is written from now on. Pairs with R7. */
	atomic_store_explicit(&page->reclaimed, position, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

/*
 * W8: all bytes before 'position', and 'offset', are visible before the position is. Pairs with R8:
 * who acquires the position finds whole bytes, and an offset that is at least the one that belongs
 * to it.
 */
static void publish(_Atomic uint64_t *at_position, _Atomic uint64_t *at_offset, uint64_t position,
		    uint64_t offset)
{
	mr_assert(position >= own(at_position));
	mr_assert(offset >= own(at_offset));
	atomic_store_explicit(at_offset, offset, memory_order_release);
	atomic_store_explicit(at_position, position, memory_order_release);
}

void mr_tail_publish_appended(struct mr_tail *tail, uint64_t position, uint64_t offset)
{
	struct mr_tail_page *page = tail->page;

	mr_assert(position - own(&page->reclaimed) <= tail->tail_bytes);
	publish(&page->appended, &page->appended_offset, position, offset);
}

void mr_tail_publish_flushed(struct mr_tail *tail, uint64_t position, uint64_t offset)
{
	struct mr_tail_page *page = tail->page;

	mr_assert(position <= own(&page->appended));
	mr_assert(offset <= own(&page->appended_offset));
	publish(&page->flushed, &page->flushed_offset, position, offset);
}

void mr_tail_publish_committed(struct mr_tail *tail, uint64_t position, uint64_t offset)
{
	struct mr_tail_page *page = tail->page;

	mr_assert(position <= own(&page->appended));
	mr_assert(offset <= own(&page->appended_offset));
	atomic_store_explicit(&page->last_stable_offset, offset, memory_order_release);
	publish(&page->committed, &page->committed_offset, position, offset);
}

void mr_tail_publish_log_start(struct mr_tail *tail, uint64_t offset)
{
	/* relaxed: what the number says is checked anew by whoever finds a segment */
	atomic_store_explicit(&tail->page->log_start_offset, offset, memory_order_relaxed);
}

uint64_t mr_tail_log_start(const struct mr_tail *tail)
{
	return own(&tail->page->log_start_offset);
}

void mr_tail_publish_closed(struct mr_tail *tail)
{
	/* W8: what was published before it is visible before it. */
	atomic_store_explicit(&tail->page->closed, 1, memory_order_release);
}

static int check_page(const struct mr_tail_page *page, uint64_t tail_bytes, struct mr_error *err)
{
	struct mr_tail_page copy;

	memcpy(&copy, page,
	       offsetof(struct mr_tail_page, reclaimed)); /* the part that never changes */
	if (copy.magic != MR_TAIL_MAGIC)
		return mr_error_set(err, -EBADMSG, "the tail has magic 0x%08x, expected 0x%08x",
				    copy.magic, MR_TAIL_MAGIC);
	if (copy.version != MR_FORMAT_VERSION)
		return mr_error_set(err, -EBADMSG, "the tail has format version %u, expected %u",
				    copy.version, MR_FORMAT_VERSION);
	if (copy.data_offset != MR_TAIL_DATA_OFFSET)
		return mr_error_set(err, -EBADMSG, "the tail's data begin at %u, expected %u",
				    copy.data_offset, MR_TAIL_DATA_OFFSET);
	if (copy.tail_bytes != tail_bytes)
		return mr_error_set(err, -EBADMSG,
				    "the tail says it has %" PRIu64 " bytes, expected %" PRIu64,
				    copy.tail_bytes, tail_bytes);
	return 0;
}

int mr_tail_view_open(int fd, uint64_t tail_bytes, struct mr_tail_view *out, struct mr_error *err)
{
	struct mr_tail_view view = {.tail_bytes = tail_bytes};
	void *map;
	int r;

	if (!tail_bytes_fit(tail_bytes))
		return mr_error_set(err, -EBADMSG,
				    "a tail has %" PRIu64
				    " bytes, expected a power of two from %u to %llu",
				    tail_bytes, MR_PAGE_BYTES, TAIL_BYTES_MAX);
	r = mr_region_check(fd, MR_TAIL_DATA_OFFSET + tail_bytes, true, err);
	if (r < 0)
		return r;
	r = mr_region_map(fd, 0, MR_PAGE_BYTES, false, &map, err);
	if (r < 0)
		return r;
	view.page = map;
	r = check_page(view.page, tail_bytes, err);
	if (r < 0)
		goto fail;
	r = mr_region_map_twice(fd, MR_TAIL_DATA_OFFSET, tail_bytes, false, 0, &map, err);
	if (r < 0)
		goto fail;
	view.data = map;
	*out = view;
	return 0;
fail:
	mr_tail_view_close(&view);
	return r;
}

void mr_tail_view_close(struct mr_tail_view *view)
{
	if (view->data)
		(void)munmap((void *)view->data, 2 * view->tail_bytes); /* our own map */
	if (view->page)
		(void)munmap((void *)view->page, MR_PAGE_BYTES); /* our own map */
	*view = (struct mr_tail_view){0};
}

bool mr_tail_view_valid(const struct mr_tail_view *view, uint64_t position)
{
	/*
	 * R7: pairs with W7. Bytes read before the fence were whole if the worker had not given
	 * them up by now.
	 */
	atomic_thread_fence(memory_order_acquire);
	return position >= atomic_load_explicit(&view->page->reclaimed, memory_order_relaxed);
}
