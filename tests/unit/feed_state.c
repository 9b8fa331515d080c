/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the entries by which one replica hands its state to another: they are of
 * version 2 and unknown before, a piece's length follows from where it is, and nothing that another
 * host may write leads outside.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "feed_codec.h"

#define SHORT 16u
#define LONG  24u

static uint8_t bytes[1u << 20], payload[MR_FEED_STATE_PIECE_MAX + 64];
static uint32_t size;
static struct mr_feed_item heard;
static struct mr_error err;

static struct mr_feed_item piece(uint32_t at, uint32_t total_bytes, uint32_t count)
{
	return (struct mr_feed_item){
		.channel = 3,
		.entry = {.kind = MR_FEED_STATE,
			  .leader_epoch = 65,
			  .session = 9,
			  .offset = 0x0102030405060708u,
			  .log_start = 0x0102030405060000u,
			  .at = at,
			  .total_bytes = total_bytes,
			  .bytes = count},
	};
}

static uint32_t header_bytes(void)
{
	return bytes[1] == 'r' ? SHORT : LONG;
}

static void seal(void)
{
	struct mr_feed_header *h = (struct mr_feed_header *)(void *)bytes;
	struct mr_feed_short_header *brief = (struct mr_feed_short_header *)(void *)bytes;

	if (header_bytes() == SHORT) {
		brief->payload_crc =
			mr_crc32c(0, bytes + SHORT + brief->head_bytes, brief->payload_bytes);
		brief->head_crc = 0;
		brief->head_crc = mr_crc32c(0, bytes, SHORT + brief->head_bytes);
		return;
	}
	h->payload_crc = mr_crc32c(0, bytes + LONG + h->head_bytes, h->payload_bytes);
	h->head_crc = 0;
	h->head_crc = mr_crc32c(0, bytes, LONG + h->head_bytes);
}

static void make(const struct mr_feed_item *item)
{
	struct iovec whole = {payload, item->entry.bytes};
	struct mr_feed_writer writer;

	for (uint32_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + 1);
	mr_feed_begin(&writer, MR_FEED_VERSION, bytes, sizeof(bytes));
	cr_assert_eq(mr_feed_add(&writer, item), 0);
	size = mr_feed_end(&writer, &whole, 1);
	memcpy(bytes + size, payload, item->entry.bytes);
	size += item->entry.bytes;
}

/* The one entry, or what was wrong; of the size that it needs, so that a byte too far is seen. */
static int decode(uint8_t version)
{
	struct mr_feed_term term[4] = {{0}};
	struct mr_feed_terms terms = {term, 4};
	struct mr_feed_header header;
	struct mr_feed_reader reader;
	struct mr_feed_item none;
	uint8_t *body = malloc(size);
	size_t count;
	int r = mr_feed_decode_header(bytes, size, version, &header, &err);

	if (r == 0) {
		count = size - mr_feed_header_bytes(&header);
		body = realloc(body, count);
		memcpy(body, bytes + size - count, count);
		r = mr_feed_read(&reader, &header, body, count, &terms, &err);
	}
	if (r == 0)
		r = mr_feed_next(&reader, &heard, &err);
	if (r == 1 && heard.batches)
		cr_assert_eq(memcmp(heard.batches, payload, heard.entry.bytes), 0);
	if (r == 1)
		r = mr_feed_next(&reader, &none, &err);
	free(body);
	return r;
}

static void check(const struct mr_feed_item *item)
{
	make(item);
	cr_assert_eq(decode(MR_FEED_VERSION), 0, "%s", err.what);
	cr_assert_eq(heard.channel, item->channel);
	cr_assert_eq(heard.entry.kind, item->entry.kind);
	cr_assert_eq(heard.entry.leader_epoch, 65);
	cr_assert_eq(heard.entry.session, 9);
	cr_assert_eq(heard.entry.offset, item->entry.offset);
	cr_assert_eq(heard.entry.log_start, item->entry.log_start);
	cr_assert_eq(heard.entry.at, item->entry.at);
	cr_assert_eq(heard.entry.total_bytes, item->entry.total_bytes);
	cr_assert_eq(heard.entry.bytes, item->entry.bytes);
	cr_assert_eq(heard.batches != NULL, item->entry.bytes > 0);
}

static const struct mr_feed_item ask = {
	.channel = 3,
	.entry = {.kind = MR_FEED_ASK_STATE,
		  .leader_epoch = 65,
		  .session = 9,
		  .offset = 0x0102030405060708u,
		  .at = MR_FEED_STATE_PIECE_MAX},
};

Test(feed_state, comes_back_as_it_was_said)
{
	const uint32_t most = MR_FEED_STATE_PIECE_MAX;
	struct mr_feed_item items[] = {
		ask,
		piece(0, 1, 1),
		piece(0, 1000, 1000),
		piece(999, 1000, 1),
		piece(0, most, most),
		piece(0, most + 1, most),
		piece(most, most + 1, 1),
		piece(MR_FEED_STATE_BYTES_MAX - 1, MR_FEED_STATE_BYTES_MAX, 1),
		piece(0, MR_FEED_STATE_BYTES_MAX, most),
	};

	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		check(&items[i]);
}

/* These bytes never change while the version is 2. */
Test(feed_state, the_bytes_are_those_of_the_format)
{
	static const uint8_t state[] = {0x8c, 3,    65,	  9,	0x88, 0x8e, 0x98, 0xa8, 0xc0,
					0xe0, 0x80, 0x81, 0x01, 0x80, 0x80, 0x98, 0xa8, 0xc0,
					0xe0, 0x80, 0x81, 0x01, 0xe7, 7,    0xe8, 7};
	static const uint8_t asked[] = {0x8b, 3,    65,	  9,	0x88, 0x8e, 0x98, 0xa8,
					0xc0, 0xe0, 0x80, 0x81, 0x01, 0x80, 0x80, 0x10};
	struct mr_feed_item item = piece(999, 1000, 1);

	make(&item);
	cr_assert_eq(bytes[2], 2);
	cr_assert_eq(size, SHORT + sizeof(state) + 1);
	cr_assert_arr_eq(bytes + SHORT, state, sizeof(state));
	make(&ask);
	cr_assert_eq(size, SHORT + sizeof(asked));
	cr_assert_arr_eq(bytes + SHORT, asked, sizeof(asked));
}

/* The engine before this one knows neither: it is not told, and what it says is not taken for it.
 */
Test(feed_state, is_unknown_to_version_1)
{
	for (enum mr_feed_kind kind = MR_FEED_ASK; kind < MR_FEED_KIND_COUNT; kind++) {
		cr_assert_eq(mr_feed_speaks(1, kind), kind <= MR_FEED_FORWARDED);
		cr_assert(mr_feed_speaks(2, kind));
	}
	make(&ask);
	bytes[2] = 1;
	seal();
	cr_assert_eq(decode(1), -EBADMSG);
	cr_assert(strstr(err.what, "kind of an entry 11, expected 1 to 10"), "%s", err.what);
}

/* With these numbers behind the term, and the same piece. */
static void refuse(const struct mr_feed_item *item, const uint64_t *numbers, size_t count,
		   const char *word)
{
	uint32_t at = SHORT + 4;

	make(item);
	for (size_t i = 0; i < count; i++) {
		uint64_t left = numbers[i];

		for (; left >= 0x80; left >>= 7)
			bytes[at++] = (uint8_t)(left | 0x80);
		bytes[at++] = (uint8_t)left;
	}
	bytes[5] = (uint8_t)(at - SHORT);
	memcpy(bytes + at, payload, item->entry.bytes);
	size = at + item->entry.bytes;
	seal();
	cr_assert_eq(decode(MR_FEED_VERSION), -EBADMSG, "%s is let in", word);
	cr_assert(strstr(err.what, word), "expected '%s': %s", word, err.what);
}

#define REFUSE(item, word, ...)                                                                    \
	refuse(item, (const uint64_t[]){__VA_ARGS__},                                              \
	       sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), word)

Test(feed_state, refuses_what_is_out_of_bounds)
{
	struct mr_feed_item item = piece(10, 30, 20);

	REFUSE(&item, "offset", UINT64_MAX, 1, 10, 30);
	REFUSE(&item, "log_start", 1, UINT64_MAX, 10, 30);
	REFUSE(&item, "at 30, expected 0 to 29", 1, 1, 30, 30);
	REFUSE(&item, "at 4294967295", 1, 1, UINT32_MAX, 30);
	REFUSE(&item, "at 4294967306", 1, 1, UINT64_C(1) << 32 | 10, 30);
	REFUSE(&item, "total_bytes 0, expected 1", 1, 1, 10, 0);
	REFUSE(&item, "total_bytes 1073741825", 1, 1, 10, MR_FEED_STATE_BYTES_MAX + 1);
	REFUSE(&item, "bytes of an entry's batches 21, expected 0 to 20", 1, 1, 10, 31);
	REFUSE(&item, "behind its last entry 1", 1, 1, 10, 29);
	REFUSE(&item, "behind its last entry 1", 1, 1, 11, 30);
	REFUSE(&ask, "offset", UINT64_MAX, 1);
	REFUSE(&ask, "at 1073741825", 1, MR_FEED_STATE_BYTES_MAX + 1);
}

Test(feed_state, refuses_every_flipped_bit)
{
	struct mr_feed_item item = piece(10, 30, 20);

	make(&item);
	for (uint32_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(decode(MR_FEED_VERSION), -EBADMSG, "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
