/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for what arrives: one buffer a message, of the next power of two, kept for the next one of
 * its size when all is used. How much can be out is bounded by the peers' shares; how much is kept,
 * here.
 */
#include <stdlib.h>

#include "check.h"
#include "feed_inside.h"

#define SMALLEST_BYTES (UINT64_C(4) << 10)
#define KEPT_BYTES_MAX (UINT64_C(48) << 20)

static uint32_t class_of(size_t bytes)
{
	uint32_t class = 0;

	while (SMALLEST_BYTES << class < bytes)
		class ++;
	mr_assert(class < FEED_BUFFER_CLASSES);
	return class;
}

static struct feed_buffer *take_free(struct feed_buffers *buffers, uint32_t class)
{
	struct feed_buffer *buffer = buffers->free[class];

	if (!buffer)
		return NULL;
	buffers->free[class] = buffer->next;
	buffers->free_bytes -= buffer->bytes_max;
	return buffer;
}

static struct feed_buffer *make(uint32_t class)
{
	size_t bytes = SMALLEST_BYTES << class;
	struct feed_buffer *buffer =
		aligned_alloc(_Alignof(struct feed_buffer), sizeof(*buffer) + bytes);

	if (buffer) {
		buffer->class = class;
		buffer->bytes_max = bytes;
	}
	return buffer;
}

struct feed_buffer *feed_buffer_take(struct feed_buffers *buffers, struct mr_feed_peer *peer,
				     size_t bytes)
{
	uint32_t class = class_of(bytes);
	struct feed_buffer *buffer = take_free(buffers, class);

	if (!buffer)
		buffer = make(class);
	if (!buffer)
		return NULL;
	buffer->peer = peer;
	buffer->references = 1;
	buffer->previous = NULL;
	buffer->next = buffers->in_use;
	if (buffer->next)
		buffer->next->previous = buffer;
	buffers->in_use = buffer;
	if (peer)
		peer->share += buffer->bytes_max;
	return buffer;
}

static void unlink_used(struct feed_buffers *buffers, struct feed_buffer *buffer)
{
	if (buffer->next)
		buffer->next->previous = buffer->previous;
	if (buffer->previous)
		buffer->previous->next = buffer->next;
	else
		buffers->in_use = buffer->next;
}

void feed_buffer_drop(struct feed_buffers *buffers, struct feed_buffer *buffer)
{
	mr_assert(buffer->references > 0);
	if (--buffer->references > 0)
		return;
	unlink_used(buffers, buffer);
	if (buffer->peer) {
		mr_assert(buffer->peer->share >= buffer->bytes_max);
		buffer->peer->share -= buffer->bytes_max;
	}
	if (buffers->free_bytes + buffer->bytes_max > KEPT_BYTES_MAX) {
		free(buffer);
		return;
	}
	buffer->next = buffers->free[buffer->class];
	buffers->free[buffer->class] = buffer;
	buffers->free_bytes += buffer->bytes_max;
}

static void free_all(struct feed_buffer *buffer)
{
	while (buffer) {
		struct feed_buffer *next = buffer->next;

		free(buffer);
		buffer = next;
	}
}

void feed_buffers_deinit(struct feed_buffers *buffers)
{
	free_all(buffers->in_use);
	for (uint32_t class = 0; class < FEED_BUFFER_CLASSES; class ++)
		free_all(buffers->free[class]);
	*buffers = (struct feed_buffers){0};
}
