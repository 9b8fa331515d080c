/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a consumer that reads any bytes, as a tail and as a segment file, copied and in
 * place. What must hold beside memory safety: it always comes to an end, what it hands out is in
 * order and inside its buffers, and an error brings a sentence. Checksums are made right where a
 * bit of the input asks for it, since no fuzzer guesses them.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crc32c.h"
#include "fuzz.h"
#include "source.h"

#define BYTES	   16384u /* of the tail */
#define SEGMENT_ID 0x5eed

/* The first bytes of an input. */
struct plan {
	uint8_t flags;	   /* 1: make checksums right, 2: in place, 4: begin in the file */
	uint8_t reclaimed; /* in blocks */
	uint16_t limit;
	uint16_t next;
	uint8_t end; /* of the segment, in blocks; 0: it is still written */
	uint8_t steps;
};

static uint8_t log_bytes[2 * BYTES];
static struct mr_tail_page page;
static struct plan plan;
static int file = -1;

/* In the place of the connection's: an engine that has one segment, with the same bytes. */
int mr_connection_ask(struct mr_connection *connection, enum mr_message_type type, const void *body,
		      size_t body_bytes, size_t reply_bytes, uint32_t reply_fds, uint64_t deadline,
		      struct mr_packet *reply, struct mr_error *err)
{
	struct mr_segment_reply found = {
		.segment_id = SEGMENT_ID,
		.group_position = MR_BLOCK_BYTES,
		.end_position = plan.end ? plan.end * (uint64_t)MR_BLOCK_BYTES : UINT64_MAX,
	};

	fuzz_demand(type == MR_MESSAGE_FIND_SEGMENT && reply_bytes == sizeof(found));
	if (plan.steps == 0)
		return -ETIMEDOUT;
	plan.steps--;
	memcpy(reply->body, &found, sizeof(found));
	reply->fds[0] = dup(file);
	return 0;
}

static void mend_group(uint8_t *group, size_t left)
{
	struct mr_group_header header;
	struct mr_batch_header batch;
	uint64_t id = htole64(SEGMENT_ID);
	uint32_t crc = mr_crc32c(0, &id, sizeof(id));
	size_t at = sizeof(header);

	memcpy(&header, group, sizeof(header));
	while (at < left && mr_batch_decode_header(group + at, left - at, &batch) == 0) {
		uint32_t own = htobe32(mr_crc32c(0, group + at + 21, batch.total_bytes - 21));

		memcpy(group + at + 17, &own, sizeof(own));
		crc = mr_crc32c(crc, group + at, MR_BATCH_PREFIX_BYTES);
		at += batch.total_bytes;
	}
	if (header.bytes == 0)
		return; /* an open group has none yet */
	header.crc = 0;
	header.crc = mr_crc32c(crc, &header, sizeof(header));
	memcpy(group, &header, sizeof(header));
}

static void load(const uint8_t *data, size_t count)
{
	memset(log_bytes, 0, sizeof(log_bytes));
	memcpy(log_bytes + MR_BLOCK_BYTES, data, count);
	for (size_t at = MR_BLOCK_BYTES; (plan.flags & 1) && at < BYTES; at += MR_BLOCK_BYTES)
		mend_group(log_bytes + at, BYTES - at);
	memcpy(log_bytes + BYTES, log_bytes, BYTES);
	if (file < 0)
		file = memfd_create("fuzz-segment", MFD_CLOEXEC);
	fuzz_demand(pwrite(file, log_bytes, BYTES, 0) == BYTES);
	memset(&page, 0, sizeof(page));
	page.reclaimed = plan.reclaimed % 5 * (uint64_t)MR_BLOCK_BYTES;
	page.committed = page.flushed = page.appended = plan.limit;
	page.committed_offset = page.appended_offset = UINT32_MAX;
}

static void check_messages(const struct mr_reading *reading, uint64_t *next)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < reading->message_count; i++) {
		const struct mr_message *m = &reading->messages[i];

		fuzz_demand(m->offset >= *next);
		*next = m->offset + 1;
		for (int32_t b = 0; b < m->key_bytes; b++)
			sum += ((const uint8_t *)m->key)[b];
		for (int32_t b = 0; b < m->value_bytes; b++)
			sum += ((const uint8_t *)m->value)[b];
		for (uint32_t b = 0; b < m->header_bytes; b++)
			sum += ((const uint8_t *)m->headers)[b];
	}
	__asm__ volatile("" : : "r"(sum)); /* every byte was read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	static struct mr_reading reading = {.topic = "fuzz"};
	struct mr_source source;
	struct mr_error err = {0};
	uint64_t next;

	if (count < sizeof(plan) || count - sizeof(plan) > BYTES - MR_BLOCK_BYTES)
		return 0;
	memcpy(&plan, data, sizeof(plan));
	plan.steps %= 8;
	load(data + sizeof(plan), count - sizeof(plan));
	mr_source_init(&source, 0);
	source.view = (struct mr_tail_view){.page = &page, .data = log_bytes, .tail_bytes = BYTES};
	source.viewed = true;
	if (plan.flags & 4) /* what is sought lies before the tail */
		page.reclaimed_offset = UINT32_MAX;
	mr_source_seek(&source, plan.next);
	next = plan.next;
	for (int i = 0; i < 64; i++) {
		int r = mr_source_read(&source, &reading, plan.flags & 2, 0, &err);

		if (r < 0) {
			fuzz_demand(err.what[0] != '\0');
			break;
		}
		if (r == 0)
			break;
		check_messages(&reading, &next);
		if (i % 3 == 2) /* the worker goes on */
			page.reclaimed += MR_BLOCK_BYTES;
		if (mr_source_release(&source) < 0)
			next = source.place.next;
	}
	mr_segment_reader_close(&source.file);
	return 0;
}
