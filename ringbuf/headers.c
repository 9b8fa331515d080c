/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record's headers as they are inside a record batch: for each a varint name length, the name, a
 * varint value length (-1: null) and the value. Pure; any thread; owns nothing. Names may repeat
 * and keep their order.
 */
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "varint.h"

static size_t field_bytes(int32_t bytes)
{
	return mr_varint_bytes(mr_varint_zigzag(bytes)) + (bytes > 0 ? (size_t)bytes : 0);
}

size_t mr_headers_bytes(const struct mr_header *headers, uint32_t count)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += field_bytes(headers[i].name_bytes) + field_bytes(headers[i].value_bytes);
	return bytes;
}

static uint8_t *put_field(uint8_t *at, const void *field, int32_t bytes)
{
	at = mr_varint_put(at, mr_varint_zigzag(bytes));
	if (bytes <= 0)
		return at;
	memcpy(at, field, (size_t)bytes);
	return at + bytes;
}

size_t mr_headers_encode(const struct mr_header *headers, uint32_t count, void *out)
{
	uint8_t *at = out;

	for (uint32_t i = 0; i < count; i++) {
		at = put_field(at, headers[i].name, headers[i].name_bytes);
		at = put_field(at, headers[i].value, headers[i].value_bytes);
	}
	return (size_t)(at - (uint8_t *)out);
}

/* Reads the header at 'at' and returns the byte after it, or NULL. A name may be empty, not null.
 */
static const uint8_t *read_header(const uint8_t *at, const uint8_t *end, struct mr_header *header)
{
	const void *name;

	at = mr_varint_get_field(at, end, &name, &header->name_bytes);
	if (!at || header->name_bytes < 0)
		return NULL;
	header->name = name;
	return mr_varint_get_field(at, end, &header->value, &header->value_bytes);
}

int mr_headers_check(const void *headers, size_t bytes, uint32_t count)
{
	struct mr_header header;
	const uint8_t *at = headers;
	const uint8_t *end;

	if (bytes == 0 || count == 0)
		return bytes == 0 && count == 0 ? 0 : -EBADMSG;
	end = at + bytes;
	for (uint32_t i = 0; i < count; i++) {
		at = read_header(at, end, &header);
		if (!at)
			return -EBADMSG;
	}
	return at == end ? 0 : -EBADMSG;
}

int mr_message_header(const struct mr_message *message, uint32_t index, struct mr_header *header)
{
	struct mr_header found;
	const uint8_t *at = message->headers;
	const uint8_t *end;

	if (index >= message->header_count)
		return -ENOENT;
	if (message->header_bytes == 0)
		return -EBADMSG;
	end = at + message->header_bytes;
	for (uint32_t i = 0; i <= index; i++) {
		at = read_header(at, end, &found);
		if (!at)
			return -EBADMSG;
	}
	*header = found;
	return 0;
}
