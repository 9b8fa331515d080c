/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a record batch. Once as they are, and once with length and checksum
 * made right, since no fuzzer guesses those. What must hold beside memory safety: mr_batch_check()
 * accepts nothing that a reader then refuses, and what was read can be written again and is read
 * the same.
 */
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "crc32c.h"
#include "fuzz.h"

#define INPUT_BYTES_MAX 65536u

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static bool same_bytes(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes)
{
	return a_bytes == b_bytes && (a == NULL) == (b == NULL) &&
	       (a_bytes <= 0 || memcmp(a, b, (size_t)a_bytes) == 0);
}

/* Header by header, decoded and encoded again: the same number of them and the same contents. */
static void check_headers(const struct mr_message *message)
{
	bool good = mr_headers_check(message->headers, message->header_bytes,
				     message->header_count) == 0;
	struct mr_header header;
	uint32_t index = 0;

	while (mr_message_header(message, index, &header) == 0) {
		size_t bytes = mr_headers_bytes(&header, 1);
		uint8_t *again = malloc(bytes);
		struct mr_message copy = {.headers = again, .header_count = 1};
		struct mr_header out;

		fuzz_demand(mr_headers_encode(&header, 1, again) == bytes);
		copy.header_bytes = (uint32_t)bytes;
		fuzz_demand(mr_message_header(&copy, 0, &out) == 0);
		fuzz_demand(same_bytes(header.name, header.name_bytes, out.name, out.name_bytes));
		fuzz_demand(
			same_bytes(header.value, header.value_bytes, out.value, out.value_bytes));
		free(again);
		if (++index > 64 && !good)
			break;
		if (index > 4096)
			return;
	}
	fuzz_demand(!good || index == message->header_count);
}

/* Reads to the end or the first bad record; returns what ended it. Touches all it gets. */
static int walk(const uint8_t *bytes, const struct mr_batch_header *header)
{
	struct mr_batch_reader reader;
	struct mr_message message;
	uint64_t next = header->base_offset;
	volatile uint32_t touched;
	int r = mr_batch_read(&reader, bytes, header);

	if (r < 0)
		return r;
	while ((r = mr_batch_next(&reader, &message)) > 0) {
		fuzz_demand(message.offset >= next);
		fuzz_demand(message.offset - header->base_offset <=
			    (uint32_t)header->last_offset_delta);
		next = message.offset + 1;
		if (message.key)
			touched = mr_crc32c(0, message.key, (size_t)message.key_bytes);
		if (message.value)
			touched = mr_crc32c(0, message.value, (size_t)message.value_bytes);
		check_headers(&message);
	}
	(void)touched;
	return r;
}

static size_t write_again(const uint8_t *bytes, const struct mr_batch_header *header, uint8_t *out,
			  size_t capacity)
{
	struct mr_batch_identity identity = {
		.base_offset = header->base_offset,
		.leader_epoch = header->leader_epoch,
		.attributes = header->attributes & (uint16_t)~MR_BATCH_APPEND_TIME,
		.producer_id = header->producer_id,
		.producer_epoch = header->producer_epoch,
		.base_sequence = header->base_sequence,
	};
	struct mr_batch_reader reader;
	struct mr_batch_writer writer;
	struct mr_message message;

	mr_batch_begin(&writer, out, capacity);
	fuzz_demand(mr_batch_read(&reader, bytes, header) == 0);
	while (mr_batch_next(&reader, &message) > 0)
		fuzz_demand(mr_batch_add(&writer, message.timestamp_ms, message.key,
					 message.key_bytes, message.value, message.value_bytes,
					 message.headers, message.header_bytes,
					 message.header_count) == 0);
	return mr_batch_end(&writer, &identity);
}

static void check_round_trip(const uint8_t *bytes, const struct mr_batch_header *header)
{
	size_t capacity = MR_BATCH_HEADER_BYTES + header->total_bytes +
			  (size_t)header->record_count * MR_BATCH_RECORD_BYTES_OVERHEAD_MAX;
	uint8_t *out = malloc(capacity);
	size_t count = write_again(bytes, header, out, capacity);
	struct mr_batch_header again;
	struct mr_batch_reader a;
	struct mr_batch_reader b;
	struct mr_message one;
	struct mr_message other;

	fuzz_demand(mr_batch_check(out, count, true, &again, NULL) == 0);
	fuzz_demand(again.record_count == header->record_count);
	fuzz_demand(mr_batch_read(&a, bytes, header) == 0);
	fuzz_demand(mr_batch_read(&b, out, &again) == 0);
	while (mr_batch_next(&a, &one) > 0) {
		fuzz_demand(mr_batch_next(&b, &other) == 1);
		fuzz_demand(one.offset == other.offset && one.timestamp_ms == other.timestamp_ms);
		fuzz_demand(one.leader_epoch == other.leader_epoch);
		fuzz_demand(same_bytes(one.key, one.key_bytes, other.key, other.key_bytes));
		fuzz_demand(same_bytes(one.value, one.value_bytes, other.value, other.value_bytes));
		fuzz_demand(one.header_count == other.header_count);
		fuzz_demand(same_bytes(one.headers, one.header_bytes, other.headers,
				       other.header_bytes));
	}
	fuzz_demand(mr_batch_next(&b, &other) == 0);
	free(out);
}

static void try_batch(const uint8_t *bytes, size_t count)
{
	struct mr_batch_header header;
	struct mr_error err;
	int walked;

	if (mr_batch_decode_header(bytes, count, &header) < 0) {
		fuzz_demand(mr_batch_check(bytes, count, true, &header, &err) == -EBADMSG);
		return;
	}
	fuzz_demand(header.total_bytes <= count);
	walked = walk(bytes, &header);
	if (mr_batch_check(bytes, count, true, &header, &err) < 0)
		return;
	fuzz_demand(walked == 0 || walked == -ENOTSUP);
	if (walked == 0)
		check_round_trip(bytes, &header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	uint8_t *copy;

	if (count > INPUT_BYTES_MAX)
		return 0;
	try_batch(data, count);
	if (count < MR_BATCH_HEADER_BYTES)
		return 0;
	copy = malloc(count);
	memcpy(copy, data, count);
	put_u32(copy + 8, (uint32_t)count - 12);
	copy[16] = 2;
	put_u32(copy + 17, mr_crc32c(0, copy + 21, count - 21));
	try_batch(copy, count);
	free(copy);
	return 0;
}
