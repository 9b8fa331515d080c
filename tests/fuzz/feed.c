/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a message of the feed, as they are and with magic, lengths, counts and
 * checksums made right. What must hold beside memory safety: what is let in is within its bounds,
 * and saying it again gives the same bytes: there is one way to say a thing.
 */
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "check.h"
#include "crc32c.h"
#include "feed_codec.h"
#include "fuzz.h"

#define INPUT_BYTES_MAX 65536u

static uint8_t again[INPUT_BYTES_MAX + 64];
static struct mr_feed_term terms[2][MR_FEED_CHANNELS_MAX]; /* heard, and said again */

static void check_refused(int r, const struct mr_error *err)
{
	fuzz_demand(r == -EBADMSG);
	fuzz_demand(err->code == r);
	fuzz_demand(err->what[0] != '\0');
	fuzz_demand(memchr(err->what, '\0', sizeof(err->what)) != NULL);
}

/* What the decoder promises of batches, looked at once more by other means. */
static void walk(const struct mr_feed_item *item)
{
	const uint8_t *at = item->batches;
	const uint8_t *end = at + item->entry.bytes;
	uint64_t offset = item->entry.offset;
	struct mr_batch_header batch;

	while (at < end) {
		fuzz_demand(mr_batch_decode_header(at, (size_t)(end - at), &batch) == 0);
		fuzz_demand(batch.base_offset == offset);
		fuzz_demand(batch.record_count >= 1);
		fuzz_demand(batch.leader_epoch <= item->entry.leader_epoch);
		fuzz_demand(item->entry.kind != MR_FEED_FORWARD || batch.leader_epoch == 0);
		offset += (uint64_t)batch.record_count;
		at += batch.total_bytes;
	}
	fuzz_demand(at == end);
	fuzz_demand(offset == item->entry.end_offset);
	fuzz_demand(offset <= INT64_MAX);
}

static void check_item(const struct mr_feed_item *item, const uint8_t *body, size_t count)
{
	const struct mr_feed_entry *entry = &item->entry;

	fuzz_demand(entry->kind >= MR_FEED_ASK && entry->kind < MR_FEED_KIND_COUNT);
	fuzz_demand(item->channel < MR_FEED_CHANNELS_MAX);
	fuzz_demand(item->partition >= 0 && item->partition < MR_PARTITIONS_MAX);
	fuzz_demand(entry->leader_epoch >= 0 && entry->last_epoch >= MR_EPOCH_NONE);
	fuzz_demand((entry->offset | entry->end_offset | entry->high_watermark | entry->log_start |
		     entry->credit_bytes) <= INT64_MAX);
	fuzz_demand(entry->producer_id >= 0 && entry->sequence >= 0);
	fuzz_demand(entry->refused < MR_FEED_FORWARD_REFUSAL_COUNT);
	fuzz_demand((item->batches != NULL) ==
		    (mr_feed_has_batches(entry->kind) || entry->kind == MR_FEED_STATE));
	fuzz_demand(entry->at <= MR_FEED_STATE_BYTES_MAX);
	fuzz_demand(entry->total_bytes <= MR_FEED_STATE_BYTES_MAX);
	if (!item->batches) {
		fuzz_demand(entry->bytes == 0);
		return;
	}
	fuzz_demand(item->batches >= body);
	fuzz_demand(entry->bytes <= count - (size_t)(item->batches - body));
	if (mr_feed_has_batches(entry->kind)) {
		walk(item);
		return;
	}
	fuzz_demand(entry->bytes > 0 && entry->bytes <= MR_FEED_STATE_PIECE_MAX);
	fuzz_demand(entry->bytes <= entry->total_bytes - entry->at);
}

/* Some channels have a term from an earlier message, and not all are open. */
static struct mr_feed_terms make_terms(uint8_t hint)
{
	for (uint32_t i = 0; i < MR_FEED_CHANNELS_MAX; i += i < 256 ? 1 : 255)
		terms[0][i] = (struct mr_feed_term){hint % 8, i % 4, i % 2};
	memcpy(terms[1], terms[0], sizeof(terms[0]));
	return (struct mr_feed_terms){terms[0], hint % 16 ? MR_FEED_CHANNELS_MAX : 64};
}

static void try_entries(const struct mr_feed_header *header, const uint8_t *message, size_t count)
{
	uint32_t head = mr_feed_header_bytes(header);
	const uint8_t *body = message + head;
	size_t body_bytes = count - head;
	struct mr_feed_terms heard = make_terms((uint8_t)header->head_crc);
	struct mr_feed_reader reader;
	struct mr_feed_writer writer;
	struct mr_feed_item item;
	struct iovec pieces[2];
	struct mr_error err;
	int r = mr_feed_read(&reader, header, body, body_bytes, &heard, &err);

	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	mr_feed_begin(&writer, header->version, again, sizeof(again));
	while ((r = mr_feed_next(&reader, &item, &err)) > 0) {
		check_item(&item, body, body_bytes);
		fuzz_demand(header->version > 1 || item.entry.kind <= MR_FEED_FORWARDED);
		fuzz_demand(item.entry.kind == MR_FEED_OPEN || item.channel < heard.count);
		item.term = &terms[1][item.channel];
		fuzz_demand(mr_feed_add(&writer, &item) == 0);
		fuzz_demand(memcmp(&terms[0][item.channel], &terms[1][item.channel],
				   sizeof(terms[0][0])) == 0);
	}
	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	fuzz_demand(writer.entry_count == header->entry_count);
	fuzz_demand(writer.payload_bytes == header->payload_bytes);
	pieces[0] = (struct iovec){(void *)(body + header->head_bytes), header->payload_bytes / 3};
	pieces[1] = (struct iovec){(uint8_t *)pieces[0].iov_base + pieces[0].iov_len,
				   header->payload_bytes - pieces[0].iov_len};
	fuzz_demand(mr_feed_end(&writer, pieces, 2) == head + header->head_bytes);
	fuzz_demand(memcmp(again, message, head + header->head_bytes) == 0);
}

static void try_hello(const struct mr_feed_header *header, const uint8_t *message, size_t count)
{
	struct mr_feed_hello hello;
	struct mr_error err;
	int r = mr_feed_decode_hello(header, message + MR_FEED_HEADER_BYTES,
				     count - MR_FEED_HEADER_BYTES, &hello, &err);

	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	fuzz_demand(mr_feed_name_fits(hello.name));
	fuzz_demand(hello.node < MR_NODES_MAX);
	fuzz_demand(hello.version_min >= 1 && hello.version_min <= hello.version_max);
	fuzz_demand(mr_feed_encode_hello(&hello, again) == count);
	fuzz_demand(memcmp(again, message, count) == 0);
}

static void try_refusal(const struct mr_feed_header *header, const uint8_t *message, size_t count)
{
	struct mr_feed_refusal refusal;
	struct mr_error err;
	int r = mr_feed_decode_refusal(header, message + MR_FEED_HEADER_BYTES,
				       count - MR_FEED_HEADER_BYTES, &refusal, &err);

	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	for (const char *at = refusal.sentence; *at != '\0'; at++)
		fuzz_demand(*at >= ' ' && *at <= '~');
	fuzz_demand(mr_feed_encode_refusal(refusal.code, refusal.sentence, again) == count);
	fuzz_demand(memcmp(again, message, count) == 0);
}

static void try_notice(const struct mr_feed_header *header, const uint8_t *message, size_t count)
{
	const uint8_t *body = message + MR_FEED_HEADER_BYTES;
	size_t body_bytes = count - MR_FEED_HEADER_BYTES;
	struct mr_error err;
	int r = mr_feed_decode_notice(header, body, body_bytes, &err);

	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	fuzz_demand(body_bytes >= 1 && body_bytes <= MR_FEED_NOTICE_MAX);
	fuzz_demand(memchr(body, 0, body_bytes) == NULL);
	mr_feed_encode_notice(header->version, (const char *)body, body_bytes, again);
	fuzz_demand(memcmp(again, message, MR_FEED_HEADER_BYTES) == 0);
}

static void try_message(const uint8_t *message, size_t count, uint8_t agreed)
{
	struct mr_feed_header header;
	struct mr_error err;
	int r = mr_feed_decode_header(message, count, agreed, &header, &err);

	if (r == -EAGAIN) {
		fuzz_demand(count < MR_FEED_HEADER_BYTES);
		return;
	}
	if (r < 0) {
		check_refused(r, &err);
		return;
	}
	fuzz_demand(header.head_bytes <= MR_FEED_HEAD_BYTES_MAX);
	fuzz_demand(header.payload_bytes <= MR_FEED_PAYLOAD_BYTES_MAX);
	fuzz_demand(agreed || header.kind == MR_FEED_HELLO || header.kind == MR_FEED_REFUSE);
	if (header.kind == MR_FEED_HELLO)
		try_hello(&header, message, count);
	else if (header.kind == MR_FEED_REFUSE)
		try_refusal(&header, message, count);
	else if (header.kind == MR_FEED_NOTICE)
		try_notice(&header, message, count);
	else
		try_entries(&header, message, count);
}

/* Behind a number at 'at', or NULL. */
static const uint8_t *pass_number(const uint8_t *at, const uint8_t *end)
{
	while (at && at < end && *at & 0x80)
		at++;
	return at && at < end ? at + 1 : NULL;
}

/* The bytes of entries' heads at 'heads', as far as they can be that; counts them. */
static uint32_t walk_heads(const uint8_t *heads, size_t count, uint16_t *entries)
{
	static const uint8_t numbers[MR_FEED_KIND_COUNT] = {0, 2, 3, 2, 2, 2, 3, 0, 1, 1, 4, 2, 4};
	const uint8_t *at = heads, *end = heads + count;

	*entries = 0;
	while (end - at >= 2 && *entries < UINT16_MAX) {
		uint8_t kind = *at & 0x7f;
		bool said = *at & MR_FEED_TERM_SAID;
		const uint8_t *next = at + 1;

		if (kind == 0 || kind >= MR_FEED_KIND_COUNT)
			break;
		next = pass_number(next, end);
		if (next && kind == MR_FEED_OPEN)
			next = end - next >= 16 ? next + 16 : NULL;
		for (uint32_t i = 0; i < numbers[kind] + (said ? 2u : 0); i++)
			next = pass_number(next, end);
		if (!next)
			break;
		at = next;
		++*entries;
	}
	return (uint32_t)(at - heads);
}

static void seal_short(uint8_t *message, size_t count)
{
	struct mr_feed_short_header header;
	const uint8_t *heads = message + sizeof(header);
	uint16_t entries;
	size_t left = count - sizeof(header);

	memcpy(&header, message, sizeof(header));
	header.magic = MR_FEED_SHORT_MAGIC;
	header.version = header.version % 2 ? 1 : MR_FEED_VERSION;
	header.kind = MR_FEED_ENTRIES;
	header.head_bytes = (uint8_t)walk_heads(heads, left < 255 ? left : 255, &entries);
	header.entry_count = (uint8_t)entries;
	if (header.head_crc % 2 && header.head_bytes < 255 && left > header.head_bytes) {
		header.head_bytes++; /* one is cut off */
		header.entry_count++;
	}
	header.payload_bytes = (uint16_t)(left - header.head_bytes);
	header.payload_crc = mr_crc32c(0, heads + header.head_bytes, header.payload_bytes);
	header.head_crc = 0;
	memcpy(message, &header, sizeof(header));
	header.head_crc = mr_crc32c(0, message, sizeof(header) + header.head_bytes);
	memcpy(message, &header, sizeof(header));
}

/*
 * Fills in what no fuzzer guesses. Of entries: as many bytes of heads as there can be before the
 * first byte that is no kind, the rest are batches, or the beginning of one head more.
 */
static void seal(uint8_t *message, size_t count)
{
	struct mr_feed_header header;

	memcpy(&header, message, sizeof(header));
	header.magic = MR_FEED_MAGIC;
	header.version = header.version % 2 ? 1 : MR_FEED_VERSION;
	header.kind = (uint8_t)(header.kind >= 128 ? MR_FEED_NOTICE : header.kind % 3 + 1);
	header.entry_count = 0;
	header.head_bytes = (uint32_t)(count - sizeof(header));
	if (header.kind == MR_FEED_ENTRIES)
		header.head_bytes = walk_heads(message + sizeof(header), count - sizeof(header),
					       &header.entry_count);
	if (header.kind == MR_FEED_NOTICE)
		header.head_bytes = 0;
	if (header.kind == MR_FEED_ENTRIES && header.head_crc % 2) { /* one is cut off */
		header.head_bytes = (uint32_t)(count - sizeof(header));
		header.entry_count++;
	}
	header.payload_bytes = (uint32_t)(count - sizeof(header)) - header.head_bytes;
	header.payload_crc =
		mr_crc32c(0, message + sizeof(header) + header.head_bytes, header.payload_bytes);
	header.head_crc = 0;
	memcpy(message, &header, sizeof(header));
	header.head_crc = mr_crc32c(0, message, sizeof(header) + header.head_bytes);
	memcpy(message, &header, sizeof(header));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	uint8_t *copy;

	if (count > INPUT_BYTES_MAX)
		return 0;
	try_message(data, count, 1);
	try_message(data, count, MR_FEED_VERSION);
	try_message(data, count, 0);
	if (count < MR_FEED_HEADER_BYTES)
		return 0;
	copy = malloc(count);
	memcpy(copy, data, count);
	seal(copy, count);
	try_message(copy, count, copy[4]);
	memcpy(copy, data, count);
	seal_short(copy, count);
	try_message(copy, count, copy[2]);
	free(copy);
	return 0;
}
