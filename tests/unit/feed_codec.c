/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the feed's messages: they come back as they were said, and nothing else does:
 * no flipped bit, no missing byte, no length or number out of its bounds even under checksums that
 * are right, since another host makes those too.
 */
#include "feed_codec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "check.h"
#include "crc32c.h"

#define CAPACITY  (64u << 10)
#define ITEMS_MAX 16u
#define VERSION	  1   /* the oldest: feed_state.c has what came with version 2 */
#define SHORT	  16u /* the header of such a message */
#define LONG	  24u
#define TERM	  MR_FEED_TERM_SAID

/* Where in what make() makes: bytes of heads before each entry's. */
enum entry {
	OPEN,
	ASK,
	ANSWER,
	FETCH,
	BATCHES,
	FLUSHED,
	WATERMARK,
	STALE,
	MORE,
	FORWARD,
	FORWARDED,
	ENTRIES,
};

static const struct mr_feed_item said[] = {
	{.channel = 7,
	 .entry = {.kind = MR_FEED_OPEN},
	 .topic_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
	 .partition = 1023},
	{.channel = 7,
	 .entry = {.kind = MR_FEED_ASK,
		   .leader_epoch = 5,
		   .session = 11,
		   .last_epoch = MR_EPOCH_NONE,
		   .offset = 0x0102030405060708u}},
	{.channel = 8,
	 .entry = {.kind = MR_FEED_ANSWER,
		   .leader_epoch = 5,
		   .session = 12,
		   .last_epoch = 4,
		   .offset = 300,
		   .log_start = 0x1112131415161718u}},
	{.channel = 0,
	 .entry = {.kind = MR_FEED_FETCH,
		   .leader_epoch = 5,
		   .session = UINT32_MAX,
		   .offset = 301,
		   .credit_bytes = 0x2122232425262728u}},
	{.channel = 9,
	 .entry = {.kind = MR_FEED_BATCHES,
		   .leader_epoch = 5,
		   .session = 13,
		   .offset = 100,
		   .end_offset = 106,
		   .high_watermark = 0x3132333435363738u}},
	{.channel = 65535,
	 .entry = {.kind = MR_FEED_FLUSHED,
		   .leader_epoch = 0,
		   .session = 14,
		   .offset = INT64_MAX,
		   .credit_bytes = INT64_MAX}},
	{.channel = 10,
	 .entry = {.kind = MR_FEED_WATERMARK,
		   .leader_epoch = INT32_MAX,
		   .session = 15,
		   .offset = INT64_MAX,
		   .high_watermark = INT64_MAX,
		   .log_start = INT64_MAX}},
	{.channel = 11, .entry = {.kind = MR_FEED_STALE, .leader_epoch = 6}},
	{.channel = 12,
	 .entry = {.kind = MR_FEED_BATCHES,
		   .leader_epoch = 9,
		   .session = 16,
		   .offset = 7000,
		   .end_offset = 7001,
		   .high_watermark = 0}},
	{.channel = 13,
	 .entry = {.kind = MR_FEED_FORWARD,
		   .leader_epoch = 9,
		   .session = 17,
		   .offset = 0,
		   .end_offset = 5}},
	{.channel = 13,
	 .entry = {.kind = MR_FEED_FORWARDED,
		   .leader_epoch = 9,
		   .session = 17,
		   .credit_bytes = 0x5152535455565758u,
		   .producer_id = 0x6162636465666768,
		   .sequence = INT32_MAX,
		   .refused = MR_FEED_FORWARD_FENCED}},
};

static uint8_t bytes[CAPACITY];
static uint8_t payload[CAPACITY];
static uint32_t size, payload_size;
static uint32_t places[ENTRIES + 1]; /* in the message that make() makes, of its heads */
static struct mr_feed_term terms[2][MR_FEED_CHANNELS_MAX]; /* said, heard */
static uint32_t entry_bytes[3]; /* of batches of the entries that have some */
static struct mr_feed_header header;
static struct mr_feed_item heard[ITEMS_MAX];
static struct mr_error err;

static uint32_t put_batch(uint64_t base_offset, int32_t leader_epoch, int32_t records)
{
	struct mr_test_batch batch = {.base_offset = base_offset,
				      .leader_epoch = leader_epoch,
				      .producer_id = 5,
				      .records = records,
				      .value_bytes = 20};
	uint32_t put =
		mr_test_batch_encode(&batch, payload + payload_size, CAPACITY - payload_size);

	payload_size += put;
	return put;
}

static struct mr_feed_item item_of(size_t i)
{
	struct mr_feed_item item = said[i];

	if (mr_feed_has_batches(item.entry.kind)) /* of channels 9, 12, 13 */
		item.entry.bytes = entry_bytes[item.channel == 9 ? 0 : item.channel - 11];
	return item;
}

/* Nothing was said or heard on any channel. */
static void forget(void)
{
	memset(terms, 0, sizeof(terms));
}

static int add(struct mr_feed_writer *writer, struct mr_feed_item item)
{
	item.term = &terms[0][item.channel];
	return mr_feed_add(writer, &item);
}

/* The heads of all that is said, and after them the batches, told of in 'pieces' parts. */
static void put_message(const struct iovec *pieces, size_t count)
{
	struct mr_feed_writer writer;

	memset(bytes, 0xee, sizeof(bytes));
	forget();
	mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
	for (size_t i = 0; i < mr_array_count(said); i++) {
		places[i] = SHORT + writer.head_bytes;
		cr_assert_eq(add(&writer, item_of(i)), 0);
	}
	size = mr_feed_end(&writer, pieces, count);
	places[ENTRIES] = size;
	cr_assert_eq(size, SHORT + writer.head_bytes);
	memcpy(bytes + size, payload, payload_size);
	size += payload_size;
}

static void make(void)
{
	struct iovec whole = {.iov_base = payload};

	payload_size = 0;
	entry_bytes[0] = put_batch(100, 4, 2);
	entry_bytes[0] += put_batch(102, 4, 3);
	entry_bytes[0] += put_batch(105, 5, 1);
	entry_bytes[1] = put_batch(7000, 9, 1);
	entry_bytes[2] = put_batch(0, 0, 2);
	entry_bytes[2] += put_batch(2, 0, 3);
	whole.iov_len = payload_size;
	put_message(&whole, 1);
}

/* How many entries, or what was wrong. The body stands alone: a sanitizer sees a byte too far. */
static int decode(const uint8_t *message, size_t count)
{
	struct mr_feed_terms all = {terms[1], MR_FEED_CHANNELS_MAX};
	struct mr_feed_reader reader;
	size_t head, body_bytes;
	uint8_t *body;
	int entries = 0;
	int r = mr_feed_decode_header(message, count, VERSION, &header, &err);

	if (r < 0)
		return r;
	memset(terms[1], 0, sizeof(terms[1]));
	head = mr_feed_header_bytes(&header);
	body_bytes = count - head;
	body = malloc(body_bytes ? body_bytes : 1);
	memcpy(body, message + head, body_bytes);
	r = mr_feed_read(&reader, &header, body, body_bytes, &all, &err);
	while (r == 0 && (r = mr_feed_next(&reader, &heard[entries], &err)) > 0) {
		if (heard[entries].batches) /* as if it stood in the message */
			heard[entries].batches = message + (heard[entries].batches - body) + head;
		entries++;
		r = entries < (int)ITEMS_MAX ? 0 : -E2BIG;
	}
	free(body);
	return r < 0 ? r : entries;
}

static void put_u16(uint32_t at, uint16_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

static void put_u32(uint32_t at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

/* Both checksums as they should be: what is refused then is refused for what it says. */
static void seal(void)
{
	struct mr_feed_header *h = (struct mr_feed_header *)(void *)bytes;
	struct mr_feed_short_header *brief = (struct mr_feed_short_header *)(void *)bytes;

	if (bytes[1] == 'r') {
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

static uint32_t put_number(uint8_t *at, uint64_t number)
{
	uint32_t count = 0;

	do {
		at[count] = (uint8_t)(number & 0x7f) | (number > 0x7f ? 0x80 : 0);
		number >>= 7;
		count++;
	} while (number);
	return count;
}

/* In place of an entry's head, in the message that make() made, other bytes. */
static void put_head(enum entry which, const uint8_t *head, uint32_t count)
{
	uint32_t end = places[which + 1], moved = places[which] + count;

	memmove(bytes + moved, bytes + end, size - end);
	memcpy(bytes + places[which], head, count);
	size = size - end + moved;
	places[ENTRIES] = places[ENTRIES] - end + moved;
	bytes[5] = (uint8_t)(places[ENTRIES] - SHORT);
}

/* In place of an entry's head one of these numbers; the first is the kind. */
static void put_numbers(enum entry which, const uint64_t *numbers, size_t count)
{
	uint8_t head[64];
	uint32_t at = 1;

	head[0] = (uint8_t)numbers[0];
	for (size_t i = 1; i < count; i++)
		at += put_number(head + at, numbers[i]);
	put_head(which, head, at);
}

#define SAY(which, ...)                                                                            \
	put_numbers(which, (const uint64_t[]){__VA_ARGS__},                                        \
		    sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))
#define SAY_BYTES(which, ...)                                                                      \
	put_head(which, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* The batches from 'at' on begin at 'offset'. */
static void move_batches(uint32_t at, uint64_t offset)
{
	struct mr_batch_header batch;

	for (; at < size; at += batch.total_bytes) {
		cr_assert_eq(mr_batch_decode_header(bytes + at, size - at, &batch), 0);
		mr_batch_place(bytes + at, offset, 0);
		offset += (uint64_t)batch.record_count;
	}
}

/* The message, after a change to it, is refused with words that hold 'word'. Made anew for it. */
#define REFUSED(change, word)                                                                      \
	do {                                                                                       \
		make();                                                                            \
		change;                                                                            \
		seal();                                                                            \
		err.what[0] = '\0';                                                                \
		cr_assert_eq(decode(bytes, size), -EBADMSG, "%s is let in", #change);              \
		cr_assert_not_null(strstr(err.what, word), "%s: %s", #change, err.what);           \
	} while (0)

static void check_same(const struct mr_feed_item *a, const struct mr_feed_item *b)
{
	cr_assert_eq(a->channel, b->channel);
	cr_assert_eq(a->partition, b->partition);
	cr_assert_arr_eq(a->topic_id, b->topic_id, sizeof(a->topic_id));
	cr_assert_eq(a->entry.kind, b->entry.kind);
	cr_assert_eq(a->entry.leader_epoch, b->entry.leader_epoch);
	cr_assert_eq(a->entry.session, b->entry.session);
	cr_assert_eq(a->entry.last_epoch, b->entry.last_epoch);
	cr_assert_eq(a->entry.offset, b->entry.offset);
	cr_assert_eq(a->entry.end_offset, b->entry.end_offset);
	cr_assert_eq(a->entry.high_watermark, b->entry.high_watermark);
	cr_assert_eq(a->entry.log_start, b->entry.log_start);
	cr_assert_eq(a->entry.credit_bytes, b->entry.credit_bytes);
	cr_assert_eq(a->entry.bytes, b->entry.bytes);
	cr_assert_eq(a->entry.producer_id, b->entry.producer_id);
	cr_assert_eq(a->entry.sequence, b->entry.sequence);
	cr_assert_eq(a->entry.refused, b->entry.refused);
}

/* ---- entries ---- */

Test(feed_codec, every_kind_of_entry_comes_back_as_it_was_said)
{
	make();
	cr_assert_eq(decode(bytes, size), (int)mr_array_count(said), "%s", err.what);
	for (size_t i = 0; i < mr_array_count(said); i++) {
		struct mr_feed_item item = item_of(i);

		check_same(&heard[i], &item);
		cr_assert_eq(heard[i].batches != NULL, mr_feed_has_batches(item.entry.kind));
	}
	cr_assert_eq(heard[4].batches, bytes + places[ENTRIES]);
	cr_assert_eq(heard[8].batches, bytes + places[ENTRIES] + entry_bytes[0]);
	cr_assert_eq(memcmp(bytes + places[ENTRIES], payload, payload_size), 0);
	cr_assert_eq(mr_feed_body_bytes(&header) + SHORT, size);
}

/* What other engines speak: these bytes never change while the version is 1. */
Test(feed_codec, the_bytes_are_those_of_the_format)
{
	static const uint8_t expected[] = {'M', 'r', 1, 3, ENTRIES};
	static const uint8_t ask[] = {0x81, 7,	  5,	11,   0x88, 0x8e, 0x98,
				      0xa8, 0xc0, 0xe0, 0x80, 0x81, 0x01, 0};
	static const uint8_t flushed[] = {0x85, 0xff, 0xff, 0x03, 0, 14};
	static const uint8_t stale[] = {0x87, 11, 6, 0};
	static const uint8_t forwarded[] = {0x0a, 13};

	make();
	cr_assert_arr_eq(bytes, expected, sizeof(expected));
	cr_assert_eq(bytes[5], places[ENTRIES] - SHORT);
	cr_assert_eq(bytes[6] | bytes[7] << 8, (int)payload_size);
	cr_assert_eq(bytes[SHORT], 8);
	cr_assert_arr_eq(bytes + places[ASK], ask, sizeof(ask));
	cr_assert_arr_eq(bytes + places[FLUSHED], flushed, sizeof(flushed));
	cr_assert_arr_eq(bytes + places[STALE], stale, sizeof(stale));
	cr_assert_eq(places[STALE] + sizeof(stale), places[MORE]);
	cr_assert_arr_eq(bytes + places[FORWARDED], forwarded, sizeof(forwarded));
	cr_assert_eq(bytes[places[ENTRIES] - 1], MR_FEED_FORWARD_FENCED);
}

/* Long ones have the long header, and those that fit the short one have no other. */
Test(feed_codec, a_message_has_the_header_that_it_needs)
{
	struct mr_feed_item item = said[STALE];
	struct mr_feed_writer writer;
	uint32_t whole;

	for (uint32_t count = 1; count < 300; count++) {
		forget();
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		for (item.channel = 0; item.channel < count; item.channel++)
			cr_assert_eq(add(&writer, item), 0);
		whole = mr_feed_end(&writer, NULL, 0);
		cr_assert_eq(bytes[1], writer.head_bytes <= 255 ? 'r' : 'R', "%u", count);
		cr_assert_eq(whole, (writer.head_bytes <= 255 ? SHORT : LONG) + writer.head_bytes);
		cr_assert_eq(mr_feed_decode_header(bytes, whole, VERSION, &header, &err), 0);
		cr_assert_eq(header.entry_count, count);
		cr_assert_eq(header.head_bytes, writer.head_bytes);
		if (count <= 14)
			cr_assert_eq(decode(bytes, whole), (int)count, "%s", err.what);
	}
	put_u16(6, 2); /* 2 entries, 4 bytes of heads: no */
	put_u32(8, 4);
	cr_assert_eq(mr_feed_decode_header(bytes, LONG, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "expected the short one"), "%s", err.what);
	put_u32(12, UINT16_MAX); /* not with so many bytes of batches either */
	cr_assert_eq(mr_feed_decode_header(bytes, LONG, VERSION, &header, &err), -EBADMSG);
	put_u32(12, UINT16_MAX + 1);
	cr_assert_eq(mr_feed_decode_header(bytes, LONG, VERSION, &header, &err), 0, "%s", err.what);
}

/* The first entry on a channel says its term; those behind it do while it is another one. */
Test(feed_codec, a_term_is_said_when_it_changes)
{
	struct mr_feed_item item = {.channel = 3,
				    .entry = {.kind = MR_FEED_FLUSHED, .leader_epoch = 65}};
	static const uint32_t heads[] = {6, 4, 6, 4, 6, 4, 6};
	struct mr_feed_writer writer;
	uint32_t before = 0;

	forget();
	mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
	for (uint32_t i = 0; i < mr_array_count(heads); i++) {
		item.entry.session = i / 2 % 2;
		item.entry.leader_epoch = 65 + (int32_t)(i / 6);
		cr_assert_eq(add(&writer, item), 0);
		cr_assert_eq(writer.head_bytes - before, heads[i], "%u", i);
		before = writer.head_bytes;
	}
	item.channel = 4; /* of its own */
	cr_assert_eq(add(&writer, item), 0);
	cr_assert_eq(writer.head_bytes - before, 6);
	size = mr_feed_end(&writer, NULL, 0);
	cr_assert_eq(decode(bytes, size), 8, "%s", err.what);
	for (uint32_t i = 0; i < mr_array_count(heads); i++) {
		cr_assert_eq(heard[i].entry.session, i / 2 % 2);
		cr_assert_eq(heard[i].entry.leader_epoch, 65 + (int32_t)(i / 6));
	}
	forget();
	mr_feed_begin(&writer, VERSION, bytes, SHORT + 8 + 48);
	while (add(&writer, item) == 0) /* what found no room was not said */
		item.entry.session++;
	cr_assert_eq(terms[0][4].session, item.entry.session - 1);
}

Test(feed_codec, refuses_terms_that_say_nothing)
{
	struct mr_feed_terms few = {terms[1], 13};
	struct mr_feed_reader reader;

	REFUSED(SAY(ASK, 1, 7, 300, 0), "channel 7 before any leader epoch was said");
	REFUSED(SAY(FORWARDED, 10 | TERM, 13, 9, 17, 1, 2, 3, 1),
		"leader epoch 9 and session 17 of channel 13 once more");
	REFUSED(SAY(OPEN, 8 | TERM, 7, 1, 1, 1), "a term with what opens a channel");
	make();
	cr_assert_eq(mr_feed_decode_header(bytes, size, VERSION, &header, &err), 0);
	forget();
	cr_assert_eq(mr_feed_read(&reader, &header, bytes + SHORT, size - SHORT, &few, &err), 0);
	while (mr_feed_next(&reader, &heard[0], &err) > 0)
		cr_assert_lt(heard[0].channel, 13);
	cr_assert_not_null(strstr(err.what, "channel 65535, which is not open"), "%s", err.what);
}

/* One way to say a thing, and none beyond 64 bits. */
Test(feed_codec, refuses_numbers_that_are_none)
{
	static const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};

	REFUSED(SAY_BYTES(STALE, 0x87, 0x8b, 0, 6, 0), "for an entry's channel");
	REFUSED(SAY_BYTES(STALE, 0x87, 11, 6, 0x80, 0), "for an entry's session");
	REFUSED(SAY_BYTES(STALE, 0x87, 11, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
			  0x80, 1, 0),
		"for an entry's leader_epoch");
	REFUSED(SAY_BYTES(STALE, 0x87, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
			  0),
		"for an entry's leader_epoch");
	REFUSED((SAY_BYTES(STALE, 0x87, 11), put_head(STALE, most, sizeof(most))), "kind");
	REFUSED(SAY(ASK, 1 | TERM, 7, 5, 11, UINT64_MAX, 0), "offset -1");
}

/*
 * The bar: 64 bytes at most for a lone record, besides its batch, and with the message that says
 * that it is committed; whichever partition it is of, and up to the offset of a record every
 * microsecond for 17 years.
 */
Test(feed_codec, a_lone_record_costs_few_bytes)
{
	static const uint64_t offsets[] = {1, 1000000, UINT64_C(1) << 40, (UINT64_C(1) << 49) - 2};

	for (size_t i = 0; i < mr_array_count(offsets); i++) {
		struct mr_test_batch batch = {.base_offset = offsets[i],
					      .leader_epoch = 1,
					      .producer_id = 5,
					      .records = 1,
					      .value_bytes = 100};
		struct mr_feed_item item = {.channel = 65535,
					    .entry = {.kind = MR_FEED_BATCHES,
						      .leader_epoch = 1000000,
						      .session = 1000000,
						      .high_watermark = offsets[i]}};
		struct mr_feed_item told = item;
		struct mr_feed_writer writer;
		struct iovec piece = {.iov_base = payload};
		uint32_t heads;

		piece.iov_len = item.entry.bytes = mr_test_batch_encode(&batch, payload, CAPACITY);
		forget();
		terms[0][65535] = (struct mr_feed_term){1000000, 1000000, true};
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		cr_assert_eq(add(&writer, item), 0);
		heads = mr_feed_end(&writer, &piece, 1);
		told.entry.kind = MR_FEED_WATERMARK;
		told.entry.offset = told.entry.high_watermark = offsets[i] + 1;
		told.entry.log_start = offsets[i];
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		cr_assert_eq(add(&writer, told), 0);
		heads += mr_feed_end(&writer, NULL, 0);
		cr_assert_leq(heads, 64, "%u at offset %zu", heads, (size_t)offsets[i]);
		cr_assert(offsets[i] > 1 || heads <= 2 * SHORT + 14, "%u", heads);
	}
}

Test(feed_codec, batches_in_several_places_make_the_same_message)
{
	static uint8_t whole[CAPACITY];

	make();
	memcpy(whole, bytes, size);
	for (uint32_t a = 0; a <= payload_size; a += 13)
		for (uint32_t b = a; b <= payload_size; b += 17) {
			struct iovec pieces[] = {{payload, a},
						 {payload + a, b - a},
						 {payload + b, payload_size - b}};

			put_message(pieces, 3);
			cr_assert_eq(memcmp(bytes, whole, size), 0, "cut at %u and %u", a, b);
		}
}

Test(feed_codec, refuses_every_flipped_bit)
{
	make();
	for (uint32_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(decode(bytes, size), -EBADMSG, "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_assert_eq(decode(bytes, size), (int)mr_array_count(said));
}

Test(feed_codec, refuses_every_length_but_its_own)
{
	make();
	for (uint32_t count = 0; count < size; count++) {
		uint8_t *copy = malloc(count ? count : 1);

		memcpy(copy, bytes, count);
		cr_assert_eq(decode(copy, count), count < SHORT ? -EAGAIN : -EBADMSG, "%u", count);
		free(copy);
	}
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its header"), "%s", err.what);
}

/* Lengths and checksums agree, and yet something is cut off or too much. */
Test(feed_codec, refuses_every_cut_under_right_checksums)
{
	uint32_t heads;

	make();
	heads = places[ENTRIES] - SHORT;
	for (uint32_t cut = 1; cut <= payload_size; cut++) {
		put_u16(6, (uint16_t)(payload_size - cut));
		seal();
		cr_assert_eq(decode(bytes, size - cut), -EBADMSG, "%u bytes of batches cut", cut);
	}
	for (uint32_t kept = 1; kept < heads; kept++) {
		make();
		memmove(bytes + SHORT + kept, bytes + places[ENTRIES], payload_size);
		bytes[5] = (uint8_t)kept;
		seal();
		cr_assert_eq(decode(bytes, SHORT + kept + payload_size), -EBADMSG,
			     "%u bytes of heads", kept);
	}
	make();
	put_u16(6, (uint16_t)(payload_size + 1));
	seal();
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its last entry 1"), "%s", err.what);
	make();
	memmove(bytes + places[ENTRIES] + 1, bytes + places[ENTRIES], payload_size);
	bytes[5]++;
	seal();
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its last entry 1"), "%s", err.what);
}

/* The first bytes behind the heads are not taken for the rest of a head. */
Test(feed_codec, refuses_an_entry_that_is_cut_off)
{
	struct mr_feed_item ask = said[ASK], open = said[OPEN];
	struct mr_feed_writer writer;
	uint32_t whole;

	for (uint32_t cut = 1; cut < 13; cut++) {
		forget();
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		cr_assert_eq(add(&writer, ask), 0);
		whole = mr_feed_end(&writer, NULL, 0);
		bytes[5] = (uint8_t)(bytes[5] - cut);
		seal();
		cr_assert_eq(decode(bytes, whole - cut), -EBADMSG, "%u bytes cut", cut);
		cr_assert_not_null(strstr(err.what, cut < 13 ? "for an entry's" : "head_bytes"),
				   "%u: %s", cut, err.what);
	}
	for (uint32_t cut = 1; cut < 18; cut++) {
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		cr_assert_eq(add(&writer, open), 0);
		whole = mr_feed_end(&writer, NULL, 0);
		bytes[5] = (uint8_t)(bytes[5] - cut);
		seal();
		cr_assert_eq(decode(bytes, whole - cut), -EBADMSG, "%u bytes cut", cut);
	}
}

Test(feed_codec, never_trusts_the_count_of_entries)
{
	for (uint32_t count = 0; count <= UINT8_MAX; count++) {
		if (count == mr_array_count(said))
			continue;
		make();
		bytes[4] = (uint8_t)count;
		seal();
		cr_assert_eq(decode(bytes, size), -EBADMSG, "%u", count);
	}
}

/* A header of many entries, as if they followed. */
static void put_long_header(void)
{
	const struct mr_feed_header many = {.magic = MR_FEED_MAGIC,
					    .version = VERSION,
					    .kind = MR_FEED_ENTRIES,
					    .entry_count = 300,
					    .head_bytes = 600,
					    .payload_bytes = 1};

	memcpy(bytes, &many, sizeof(many));
}

/* The long header, after a change to it, is refused with words that hold 'word'. */
#define REFUSED_LONG(change, word)                                                                 \
	do {                                                                                       \
		put_long_header();                                                                 \
		change;                                                                            \
		err.what[0] = '\0';                                                                \
		cr_assert_eq(mr_feed_decode_header(bytes, LONG, VERSION, &header, &err), -EBADMSG, \
			     "%s is let in", #change);                                             \
		cr_assert_not_null(strstr(err.what, word), "%s: %s", #change, err.what);           \
	} while (0)

Test(feed_codec, refuses_headers_out_of_bounds)
{
	REFUSED(bytes[0] = 'm', "magic");
	REFUSED(bytes[2] = 0, "version 0, expected 1");
	REFUSED(bytes[2] = VERSION + 1, "version 2, expected 1");
	for (uint32_t kind = 0; kind < 256; kind++)
		if (kind != MR_FEED_ENTRIES)
			REFUSED(bytes[3] = (uint8_t)kind, "kind of a short header");
	REFUSED(bytes[4] = 0, "entry_count 0");
	REFUSED(bytes[5] = 0, "head_bytes 0, expected 22 to");
	REFUSED(bytes[5] = 2 * ENTRIES - 1, "head_bytes 21, expected 22 to");
	make();
	bytes[1] = 's';
	cr_assert_eq(mr_feed_decode_header(bytes, SHORT, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "magic"), "%s", err.what);
	make();
	put_u16(6, 0);
	cr_assert_eq(mr_feed_decode_header(bytes, SHORT, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "payload_crc"), "%s", err.what);
	cr_assert_eq(mr_feed_decode_header(bytes, SHORT - 1, VERSION, &header, &err), -EAGAIN);
	REFUSED_LONG(bytes[4] = 0, "version 0, expected 1");
	REFUSED_LONG(bytes[4] = VERSION + 1, "version 2, expected 1");
	REFUSED_LONG(bytes[5] = 0, "kind 0, expected 1 to 5");
	REFUSED_LONG(bytes[5] = 4, "entry_count 300, expected 0");
	REFUSED_LONG(bytes[5] = 5, "entry_count 300, expected 0");
	REFUSED_LONG((bytes[5] = 5, put_u16(6, 0)), "head_bytes 600, expected 0");
	REFUSED_LONG(bytes[5] = 6, "kind 6");
	REFUSED_LONG(bytes[5] = 255, "kind 255");
	REFUSED_LONG(put_u16(6, 0), "entry_count 0");
	REFUSED_LONG(bytes[5] = MR_FEED_HELLO, "entry_count 300, expected 0");
	REFUSED_LONG(put_u32(8, MR_FEED_HEAD_BYTES_MAX + 1), /* before anything is waited for */
		     "head_bytes 1048577, expected 600 to 1048576");
	REFUSED_LONG(put_u32(8, UINT32_MAX), "head_bytes");
	REFUSED_LONG(put_u32(8, 599), "head_bytes 599, expected 600");
	REFUSED_LONG(put_u32(12, MR_FEED_PAYLOAD_BYTES_MAX + 1), "payload_bytes 67108865");
	REFUSED_LONG((put_u32(12, 0), put_u32(20, 1)), "payload_crc 1, expected 0");
	put_long_header();
	put_u32(8, MR_FEED_HEAD_BYTES_MAX);
	put_u32(12, MR_FEED_PAYLOAD_BYTES_MAX);
	cr_assert_eq(mr_feed_decode_header(bytes, LONG, VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_decode_header(bytes, LONG - 1, VERSION, &header, &err), -EAGAIN);
}

Test(feed_codec, refuses_entries_out_of_bounds)
{
	const uint64_t over = (uint64_t)INT64_MAX + 1;

	REFUSED(SAY(ASK, 1 | TERM, 65536, 5, 11, 1, 0), "channel 65536, expected 0 to 65535");
	REFUSED(bytes[places[ASK]] = 0, "kind of an entry 0");
	REFUSED(bytes[places[ASK]] = TERM, "kind of an entry 0");
	REFUSED(bytes[places[ASK]] = MR_FEED_FORWARDED + 1,
		"kind of an entry 11, expected 1 to 10");
	REFUSED(bytes[places[ASK]] = 127, "kind of an entry 127");
	REFUSED(SAY(ASK, 1 | TERM, 7, (uint64_t)INT32_MAX + 1, 11, 1, 0),
		"leader_epoch 2147483648");
	REFUSED(SAY(ASK, 1 | TERM, 7, 5, (uint64_t)UINT32_MAX + 1, 1, 0), "session 4294967296");
	REFUSED(SAY(ASK, 1 | TERM, 7, 5, 11, UINT64_MAX, 0), "offset -1");
	REFUSED(SAY(ASK, 1 | TERM, 7, 5, 11, over, 0), "offset -9223372036854775808");
	REFUSED(SAY(ASK, 1 | TERM, 7, 5, 11, 1, (uint64_t)INT32_MAX + 2), "last_epoch and 1");
	REFUSED(SAY(ANSWER, 2 | TERM, 8, 5, 12, over, 1, 1), "offset");
	REFUSED(SAY(ANSWER, 2 | TERM, 8, 5, 12, 1, over, 1), "log_start");
	REFUSED(SAY(ANSWER, 2 | TERM, 8, 5, 12, 1, 1, over), "last_epoch");
	REFUSED(SAY(FETCH, 3 | TERM, 0, 5, 1, over, 1), "offset");
	REFUSED(SAY(FETCH, 3 | TERM, 0, 5, 1, 1, over), "credit_bytes");
	REFUSED(SAY(FLUSHED, 5 | TERM, 65535, 0, 14, over, 1), "offset");
	REFUSED(SAY(FLUSHED, 5 | TERM, 65535, 0, 14, 1, over), "credit_bytes");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, entry_bytes[0], over), "high_watermark");
	REFUSED(SAY(WATERMARK, 6 | TERM, 10, 5, 15, over, 0, 1), "offset");
	REFUSED(SAY(WATERMARK, 6 | TERM, 10, 5, 15, 5, 12, 1), "high_watermark -1");
	REFUSED(SAY(WATERMARK, 6 | TERM, 10, 5, 15, INT64_MAX, 1, 1), "high_watermark -922337");
	REFUSED(SAY(WATERMARK, 6 | TERM, 10, 5, 15, 0, UINT64_MAX, 1), "high_watermark -922337");
	REFUSED(SAY(WATERMARK, 6 | TERM, 10, 5, 15, 1, 1, over), "log_start");
	REFUSED(SAY(STALE, 7 | TERM, 11, over, 0), "leader_epoch");
	REFUSED(SAY(STALE, 7 | TERM, 11, 6, 1), "session 1, expected 0");
	REFUSED(SAY(FORWARDED, 10, 13, over, 1, 1, 1), "credit_bytes");
	REFUSED(SAY(FORWARDED, 10, 13, 1, over, 1, 1), "producer_id");
	REFUSED(SAY(FORWARDED, 10, 13, 1, 1, (uint64_t)INT32_MAX + 1, 1), "sequence 2147483648");
	REFUSED(SAY(FORWARDED, 10, 13, 1, 1, 1, MR_FEED_FORWARD_REFUSAL_COUNT), "refused 4");
	REFUSED((bytes[places[ASK] - 1] = 0x80 >> 4), "partition 1151, expected 0 to 1023");
}

/* The high watermark is told by how far it is from what was sent, to either side. */
Test(feed_codec, a_high_watermark_may_be_anywhere)
{
	static const uint64_t numbers[] = {0, 1, 63, 64, 65, 300, INT64_MAX - 1, INT64_MAX};

	for (size_t i = 0; i < mr_array_count(numbers); i++)
		for (size_t j = 0; j < mr_array_count(numbers); j++) {
			struct mr_feed_item item = said[WATERMARK];
			struct mr_feed_writer writer;
			uint32_t whole;

			item.entry.offset = numbers[i];
			item.entry.high_watermark = numbers[j];
			forget();
			mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
			cr_assert_eq(add(&writer, item), 0);
			whole = mr_feed_end(&writer, NULL, 0);
			cr_assert_eq(decode(bytes, whole), 1, "%s", err.what);
			check_same(&heard[0], &item);
		}
}

/* ---- batches ---- */

Test(feed_codec, refuses_batches_that_do_not_fill_their_entry)
{
	uint64_t all;

	make();
	all = payload_size;
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, 0, 1), "bytes 0, expected 61");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, 60, 1), "bytes 60, expected 61");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, entry_bytes[0] - 1, 1), "expected at most");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, entry_bytes[0] + 1, 1), "that are none");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, UINT32_MAX, 1), "bytes 4294967295");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, (uint64_t)UINT32_MAX + 1, 1), "bytes 4294967296");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, all, 1),
		"base offset of a batch 7000, expected 106");
	REFUSED(SAY(BATCHES, 4 | TERM, 9, 5, 13, all + 1, 1), "bytes of an entry's batches");
	REFUSED(SAY(FORWARD, 9 | TERM, 13, 9, 17, entry_bytes[2] + 1),
		"bytes of an entry's batches");
	REFUSED(SAY(MORE, 4 | TERM, 12, 9, 16, entry_bytes[1] - 1, 0), "expected at most");
}

Test(feed_codec, refuses_batches_out_of_place)
{
	uint32_t second, at_payload;
	struct mr_batch_header batch;

	make();
	second = at_payload = places[ENTRIES];
	cr_assert_eq(mr_batch_decode_header(bytes + second, size - second, &batch), 0);
	second += batch.total_bytes;
	REFUSED(mr_batch_place(bytes + second, 101, 4), "batch 101, expected 102");
	REFUSED(mr_batch_place(bytes + second, 103, 4), "batch 103, expected 102");
	REFUSED(mr_batch_place(bytes + second, 102, 3), "leader epoch of a batch 3, expected 4");
	REFUSED(mr_batch_place(bytes + second, 102, 6), "leader epoch of a batch 6, expected 4 to");
	REFUSED(mr_batch_place(bytes + at_payload, 100, -1), "leader epoch of a batch -1");
	REFUSED(mr_batch_place(bytes + at_payload, UINT64_MAX, 4), "that are none");
	REFUSED(bytes[second + 16] = 1, "that are none");  /* magic */
	REFUSED(bytes[second + 11] += 1, "that are none"); /* length: the next one is missed */
	REFUSED(bytes[second + 8] = 0x7f, "expected at most");
	REFUSED(bytes[second + 60] = 0, "record count of a batch 0");
	REFUSED(bytes[second + 60] = 2, "last offset delta of a batch 2, expected 1");
	REFUSED(bytes[second + 60] = 4, "that are none");
	REFUSED(mr_batch_place(bytes + at_payload + entry_bytes[0], INT64_MAX, 9), "end offset");
	second = at_payload + entry_bytes[0] + entry_bytes[1]; /* those that are forwarded */
	REFUSED(mr_batch_place(bytes + second, 1, 0), "batch 2, expected 3");
	REFUSED(mr_batch_place(bytes + second, 0, 1), "leader epoch of a batch 1, expected 0");
	REFUSED(move_batches(second, 7), "forwarded batch 7, expected 0");
	REFUSED(SAY(FORWARD, 9 | TERM, 13, 9, 17, 0), "bytes 0, expected 61");
	make();
	mr_batch_place(bytes + at_payload + entry_bytes[0], (uint64_t)INT64_MAX - 1, 9);
	seal();
	cr_assert_eq(decode(bytes, size), (int)mr_array_count(said), "%s", err.what);
	cr_assert_eq(heard[8].entry.end_offset, INT64_MAX);
}

/* ---- writing ---- */

Test(feed_codec, a_full_message_takes_no_more_and_stays_whole)
{
	struct mr_feed_item stale = said[STALE], ask = said[ASK];
	struct mr_feed_writer writer;

	forget();
	mr_feed_begin(&writer, VERSION, bytes, LONG + 48);
	ask.channel = 1;
	while (add(&writer, ask) == 0)
		ask.entry.session++;
	cr_assert_eq(writer.entry_count, 3);
	while (add(&writer, stale) == 0)
		stale.entry.leader_epoch++;
	cr_assert_eq(writer.entry_count, 4, "a shorter one has room yet");
	cr_assert_eq(mr_feed_end(&writer, NULL, 0), SHORT + 3 * 14 + 4);
	cr_assert_eq(decode(bytes, SHORT + 3 * 14 + 4), 4, "%s", err.what);
	ask.entry.session--;
	check_same(&heard[2], &ask);
}

Test(feed_codec, a_message_has_its_bounds_on_both_sides)
{
	static uint8_t heads[MR_FEED_HEAD_BYTES_MAX + 1024];
	struct mr_feed_item stale = said[STALE], batches = said[BATCHES], answer = said[ANSWER];
	struct mr_feed_terms all = {terms[1], MR_FEED_CHANNELS_MAX};
	struct mr_feed_writer writer;
	struct mr_feed_reader reader;
	uint32_t whole, entries = 0;

	forget();
	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	while (add(&writer, stale) == 0)
		entries++;
	cr_assert_eq(entries, MR_FEED_ENTRIES_MAX);
	whole = mr_feed_end(&writer, NULL, 0);
	cr_assert_eq(whole, LONG + 2 * MR_FEED_ENTRIES_MAX + 2, "each but the first in two bytes");
	cr_assert_eq(mr_feed_decode_header(heads, whole, VERSION, &header, &err), 0, "%s",
		     err.what);
	cr_assert_eq(mr_feed_read(&reader, &header, heads + LONG, whole - LONG, &all, &err), 0);
	while (mr_feed_next(&reader, &heard[0], &err) > 0)
		entries--;
	cr_assert_eq(entries, 0);
	answer.channel = 65535;
	answer.entry.offset = INT64_MAX;
	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	while (mr_feed_add(&writer, &answer) == 0) /* as if each were the first */
		entries++;
	cr_assert_eq(entries, MR_FEED_HEAD_BYTES_MAX / 25, "as many as a receiver takes");
	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	batches.entry.bytes = MR_FEED_PAYLOAD_BYTES_MAX - 61;
	cr_assert_eq(mr_feed_add(&writer, &batches), 0);
	batches.entry.bytes = 62;
	cr_assert_eq(mr_feed_add(&writer, &batches), -ENOSPC);
	cr_assert_eq(writer.entry_count, 1);
	batches.entry.bytes = 61;
	cr_assert_eq(mr_feed_add(&writer, &batches), 0);
}

/* ---- versions ---- */

Test(feed_codec, entries_are_let_in_only_in_the_version_agreed_on)
{
	make();
	cr_assert_eq(mr_feed_decode_header(bytes, size, 0, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "kind 3, expected 1 to 2"), "%s", err.what);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "version 1, expected 2"), "%s", err.what);
	bytes[2] = 2;
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), 0);
	mr_feed_encode_notice(VERSION, "n", 1, bytes);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 0, &header, &err), -EBADMSG);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), -EBADMSG);
}

Test(feed_codec, one_kind_of_message_is_not_taken_for_another)
{
	const struct mr_feed_hello hello = {.version_min = 1, .version_max = 3, .name = "b"};
	struct mr_feed_refusal refusal;
	struct mr_feed_reader reader;
	struct mr_feed_hello out;
	size_t count;

	make();
	cr_assert_eq(mr_feed_decode_header(bytes, size, VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_decode_hello(&header, bytes + SHORT, size - SHORT, &out, &err),
		     -EBADMSG);
	cr_assert_eq(mr_feed_decode_refusal(&header, bytes + SHORT, size - SHORT, &refusal, &err),
		     -EBADMSG);
	cr_assert_eq(mr_feed_decode_notice(&header, bytes + SHORT, size - SHORT, &err), -EBADMSG);
	count = mr_feed_encode_hello(&hello, bytes);
	cr_assert_eq(mr_feed_decode_header(bytes, count, VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_read(&reader, &header, bytes + 24, count - 24, NULL, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "kind 1, expected 3"), "%s", err.what);
}
