/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of short texts in a list of pages. Owned by one thread. A text that is larger than a page
 * gets a page of its own size, which then serves for others.
 */
#include "keep.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 65536u

struct mr_keep_page {
	struct mr_keep_page *next;
	size_t used;
	size_t capacity;
	char bytes[];
};

static struct mr_keep_page *new_page(struct mr_keep *keep, size_t bytes)
{
	size_t capacity = bytes > PAGE_BYTES ? bytes : PAGE_BYTES;
	struct mr_keep_page *page = malloc(sizeof(*page) + capacity);

	if (!page)
		return NULL;
	page->used = 0;
	page->capacity = capacity;
	if (keep->current) {
		page->next = keep->current->next;
		keep->current->next = page;
	} else {
		page->next = keep->first;
		keep->first = page;
	}
	return page;
}

const char *mr_keep_copy(struct mr_keep *keep, const void *text, size_t bytes)
{
	struct mr_keep_page *page = keep->current ? keep->current : keep->first;
	char *copy;

	while (page && page->capacity - page->used < bytes) {
		keep->current = page;
		page = page->next;
	}
	if (!page)
		page = new_page(keep, bytes);
	if (!page)
		return NULL;
	keep->current = page;
	copy = page->bytes + page->used;
	if (bytes > 0)
		memcpy(copy, text, bytes);
	page->used += bytes;
	return copy;
}

void mr_keep_forget(struct mr_keep *keep)
{
	for (struct mr_keep_page *page = keep->first; page; page = page->next)
		page->used = 0;
	keep->current = NULL;
}

void mr_keep_deinit(struct mr_keep *keep)
{
	struct mr_keep_page *page = keep->first;

	while (page) {
		struct mr_keep_page *next = page->next;

		free(page);
		page = next;
	}
	*keep = (struct mr_keep){0};
}
