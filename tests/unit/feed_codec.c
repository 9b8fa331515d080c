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

#define CAPACITY   (64u << 10)
#define ITEMS_MAX  16u
#define VERSION	   1 /* the oldest: feed_state.c has what came with version 2 */
#define HEAD_BYTES 16u /* of an entry, before the fields of its kind */

/* Where they are in the message that make() makes. */
enum place {
	AT_OPEN = 24,
	AT_ASK = AT_OPEN + 36,
	AT_ANSWER = AT_ASK + 32,
	AT_FETCH = AT_ANSWER + 40,
	AT_BATCHES = AT_FETCH + 32,
	AT_FLUSHED = AT_BATCHES + 28,
	AT_WATERMARK = AT_FLUSHED + 32,
	AT_STALE = AT_WATERMARK + 40,
	AT_MORE = AT_STALE + 16,
	AT_FORWARD = AT_MORE + 28,
	AT_FORWARDED = AT_FORWARD + 20,
	AT_PAYLOAD = AT_FORWARDED + 40,
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

static const struct mr_feed_hello hello = {.version_min = 1,
					   .version_max = 3,
					   .node = 63,
					   .cluster_id = {0xc1, 0xc2, [15] = 0xcf},
					   .log_id = {0xd1, 0xd2, [15] = 0xdf},
					   .incarnation = 0x4142434445464748u,
					   .capabilities = 0x8000000000000001u,
					   .name = "host-b.example"};

static uint8_t bytes[CAPACITY];
static uint8_t payload[CAPACITY];
static uint32_t size, payload_size;
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

/* The heads of all that is said, and after them the batches, told of in 'pieces' parts. */
static void put_message(const struct iovec *pieces, size_t count)
{
	struct mr_feed_writer writer;

	memset(bytes, 0xee, sizeof(bytes));
	mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
	for (size_t i = 0; i < mr_array_count(said); i++) {
		struct mr_feed_item item = item_of(i);

		cr_assert_eq(mr_feed_add(&writer, &item), 0);
	}
	size = mr_feed_end(&writer, pieces, count);
	cr_assert_eq(size, AT_PAYLOAD);
	cr_assert_eq(bytes[size], 0xee, "nothing is written behind the heads");
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
	struct mr_feed_reader reader;
	size_t body_bytes = count - MR_FEED_HEADER_BYTES;
	uint8_t *body;
	int entries = 0;
	int r = mr_feed_decode_header(message, count, VERSION, &header, &err);

	if (r < 0)
		return r;
	body = malloc(body_bytes ? body_bytes : 1);
	memcpy(body, message + MR_FEED_HEADER_BYTES, body_bytes);
	r = mr_feed_read(&reader, &header, body, body_bytes, &err);
	while (r == 0 && (r = mr_feed_next(&reader, &heard[entries], &err)) > 0) {
		if (heard[entries].batches) /* as if it stood in the message */
			heard[entries].batches = message + (heard[entries].batches - body) + 24;
		entries++;
		r = entries < (int)ITEMS_MAX ? 0 : -E2BIG;
	}
	free(body);
	return r < 0 ? r : entries;
}

/* Both checksums as they should be: what is refused then is refused for what it says. */
static void seal(void)
{
	struct mr_feed_header *h = (struct mr_feed_header *)(void *)bytes;

	h->payload_crc = mr_crc32c(0, bytes + 24 + h->head_bytes, h->payload_bytes);
	h->head_crc = 0;
	h->head_crc = mr_crc32c(0, bytes, 24 + h->head_bytes);
}

static void put_u32(uint32_t at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

static void put_u64(uint32_t at, uint64_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

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
	cr_assert_eq(heard[4].batches, bytes + AT_PAYLOAD);
	cr_assert_eq(heard[8].batches, bytes + AT_PAYLOAD + entry_bytes[0]);
	cr_assert_eq(memcmp(bytes + AT_PAYLOAD, payload, payload_size), 0);
	cr_assert_eq(mr_feed_body_bytes(&header) + MR_FEED_HEADER_BYTES, size);
}

/* What other engines speak: these bytes never change while the version is 1. */
Test(feed_codec, the_bytes_are_those_of_the_format)
{
	static const uint8_t expected[] = {
		'M', 'R', 'F', 'D', 1, 3, 11, 0, 0x58, 0x01, 0, 0, /* 344 bytes of heads */
	};
	static const uint8_t ask[] = {7, 0, 0, 0, 1, 0, 0, 0, 5,    0,	  0,	0,    11, 0, 0, 0,
				      8, 7, 6, 5, 4, 3, 2, 1, 0xff, 0xff, 0xff, 0xff, 0,  0, 0, 0};
	static const uint8_t credit[] = {0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51};
	static const uint8_t watermark[] = {0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31};

	make();
	cr_assert_eq(AT_PAYLOAD - 24, 0x158);
	cr_assert_arr_eq(bytes, expected, sizeof(expected));
	cr_assert_eq(bytes[12] | bytes[13] << 8, (int)payload_size);
	cr_assert_arr_eq(bytes + AT_ASK, ask, sizeof(ask));
	cr_assert_eq(bytes[AT_BATCHES + 16] | bytes[AT_BATCHES + 17] << 8, (int)entry_bytes[0]);
	cr_assert_arr_eq(bytes + AT_BATCHES + 20, watermark, sizeof(watermark));
	cr_assert_eq(bytes[AT_BATCHES + 4], 4);
	cr_assert_eq(bytes[AT_STALE + 4], 7);
	cr_assert_eq(bytes[AT_OPEN + 4], 8);
	cr_assert_eq(bytes[AT_FORWARD + 4], 9);
	cr_assert_eq(bytes[AT_FORWARDED + 4], 10);
	cr_assert_arr_eq(bytes + AT_FORWARDED + 16, credit, sizeof(credit));
	cr_assert_eq(bytes[AT_FORWARDED + 16 + 20], 2);
}

/* The bar: 64 bytes at most for a lone record, besides its batch. */
Test(feed_codec, a_lone_record_costs_few_bytes)
{
	struct mr_feed_item item = said[4];
	struct mr_test_batch batch = {.base_offset = 1,
				      .leader_epoch = 1,
				      .producer_id = 5,
				      .records = 1,
				      .value_bytes = 100};
	struct mr_feed_writer writer;
	struct iovec piece = {.iov_base = payload};
	uint32_t heads;

	piece.iov_len = item.entry.bytes = mr_test_batch_encode(&batch, payload, CAPACITY);
	mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
	cr_assert_eq(mr_feed_add(&writer, &item), 0);
	heads = mr_feed_end(&writer, &piece, 1);
	cr_assert_leq(heads, 64);
	memcpy(bytes + heads, payload, piece.iov_len);
	cr_assert_eq(decode(bytes, heads + piece.iov_len), 1, "%s", err.what);
	cr_assert_eq(heard[0].entry.end_offset, 2);
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
		cr_assert_eq(decode(copy, count), count < 24 ? -EAGAIN : -EBADMSG, "%u", count);
		free(copy);
	}
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its header"), "%s", err.what);
}

/* Lengths and checksums agree, and yet something is cut off or too much. */
Test(feed_codec, refuses_every_cut_under_right_checksums)
{
	make();
	for (uint32_t cut = 1; cut <= payload_size; cut++) {
		put_u32(12, payload_size - cut);
		seal();
		cr_assert_eq(decode(bytes, size - cut), -EBADMSG, "%u bytes of batches cut", cut);
	}
	for (uint32_t heads = 1; heads < AT_PAYLOAD - 24; heads++) {
		make();
		memmove(bytes + 24 + heads, bytes + AT_PAYLOAD, payload_size);
		put_u32(8, heads);
		seal();
		cr_assert_eq(decode(bytes, 24 + heads + payload_size), -EBADMSG,
			     "%u bytes of heads", heads);
	}
	make();
	put_u32(12, payload_size + 1);
	seal();
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its last entry 1"), "%s", err.what);
	make();
	memmove(bytes + AT_PAYLOAD + 1, bytes + AT_PAYLOAD, payload_size);
	put_u32(8, AT_PAYLOAD - 24 + 1);
	seal();
	cr_assert_eq(decode(bytes, size + 1), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "behind its last entry 1"), "%s", err.what);
}

/* The first bytes behind the heads are not taken for the rest of a head. */
Test(feed_codec, refuses_an_entry_that_is_cut_off)
{
	struct mr_feed_item ask = said[1];
	struct mr_feed_writer writer;

	for (uint32_t heads = 16; heads < 48; heads++) {
		mr_feed_begin(&writer, VERSION, bytes, CAPACITY);
		cr_assert_eq(mr_feed_add(&writer, &ask), 0);
		if (heads >= 32)
			cr_assert_eq(mr_feed_add(&writer, &ask), 0);
		(void)mr_feed_end(&writer, NULL, 0);
		put_u32(8, heads);
		seal();
		cr_assert_eq(decode(bytes, 24 + heads), -EBADMSG, "%u bytes of heads", heads);
		cr_assert_not_null(strstr(err.what, heads < 32
							    ? "for an entry's fields, expected 16"
							    : "for an entry's head, expected 16"),
				   "%u: %s", heads, err.what);
	}
}

Test(feed_codec, never_trusts_the_count_of_entries)
{
	for (uint32_t count = 0; count <= UINT16_MAX; count++) {
		if (count == mr_array_count(said))
			continue;
		make();
		bytes[6] = (uint8_t)count;
		bytes[7] = (uint8_t)(count >> 8);
		seal();
		cr_assert_eq(decode(bytes, size), -EBADMSG, "%u", count);
		count += count > 20 ? 997 : 0;
	}
}

Test(feed_codec, refuses_headers_out_of_bounds)
{
	REFUSED(bytes[0] = 'm', "magic");
	REFUSED(bytes[4] = 0, "version 0, expected 1");
	REFUSED(bytes[4] = VERSION + 1, "version 2, expected 1");
	REFUSED(bytes[5] = 0, "kind 0, expected 1 to 4");
	REFUSED(bytes[5] = 4, "entry_count 11, expected 0");
	REFUSED(bytes[5] = 5, "kind 5");
	REFUSED(bytes[5] = 255, "kind 255");
	REFUSED(bytes[6] = 0, "entry_count 0");
	REFUSED(bytes[5] = MR_FEED_HELLO, "entry_count 11, expected 0");
	make();
	put_u32(8, MR_FEED_HEAD_BYTES_MAX + 1); /* before anything is waited for */
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "head_bytes 1048577, expected 176 to 1048576"), "%s",
			   err.what);
	put_u32(8, UINT32_MAX);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	put_u32(8, 9 * HEAD_BYTES - 1);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	put_u32(8, MR_FEED_HEAD_BYTES_MAX);
	put_u32(12, MR_FEED_PAYLOAD_BYTES_MAX);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), 0);
	put_u32(12, MR_FEED_PAYLOAD_BYTES_MAX + 1);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "payload_bytes 67108865"), "%s", err.what);
	put_u32(12, 0);
	put_u32(20, 1);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "payload_crc 1, expected 0"), "%s", err.what);
	cr_assert_eq(mr_feed_decode_header(bytes, 23, VERSION, &header, &err), -EAGAIN);
}

Test(feed_codec, refuses_entries_out_of_bounds)
{
	REFUSED(put_u32(AT_ASK, MR_FEED_CHANNELS_MAX), "channel 65536, expected 0 to 65535");
	REFUSED(bytes[AT_ASK + 4] = 0, "kind of an entry 0");
	REFUSED(bytes[AT_ASK + 4] = MR_FEED_FORWARDED + 1, "kind of an entry 11, expected 1 to 10");
	REFUSED(bytes[AT_ASK + 4] = 255, "kind of an entry 255");
	REFUSED(put_u32(AT_ASK + 8, (uint32_t)-1), "leader_epoch -1");
	REFUSED(put_u64(AT_ASK + 16, UINT64_MAX), "offset -1");
	REFUSED(put_u64(AT_ASK + 16, (uint64_t)INT64_MAX + 1), "offset -9223372036854775808");
	REFUSED(put_u32(AT_ASK + 24, (uint32_t)-2), "last_epoch -2");
	REFUSED(put_u64(AT_ANSWER + 16, UINT64_MAX), "offset");
	REFUSED(put_u64(AT_ANSWER + 24, UINT64_MAX), "log_start");
	REFUSED(put_u32(AT_ANSWER + 32, (uint32_t)-2), "last_epoch");
	REFUSED(put_u64(AT_FETCH + 16, UINT64_MAX), "offset");
	REFUSED(put_u64(AT_FETCH + 24, UINT64_MAX), "credit_bytes");
	REFUSED(put_u64(AT_FLUSHED + 16, UINT64_MAX), "offset");
	REFUSED(put_u64(AT_FLUSHED + 24, UINT64_MAX), "credit_bytes");
	REFUSED(put_u64(AT_BATCHES + 20, UINT64_MAX), "high_watermark");
	REFUSED(put_u64(AT_WATERMARK + 16, UINT64_MAX), "offset");
	REFUSED(put_u64(AT_WATERMARK + 24, UINT64_MAX), "high_watermark");
	REFUSED(put_u64(AT_WATERMARK + 32, UINT64_MAX), "log_start");
	REFUSED(put_u32(AT_STALE + 8, (uint32_t)-1), "leader_epoch");
	REFUSED(put_u64(AT_FORWARDED + 16, UINT64_MAX), "credit_bytes");
	REFUSED(put_u64(AT_FORWARDED + 24, UINT64_MAX), "producer_id -1");
	REFUSED(put_u32(AT_FORWARDED + 32, UINT32_MAX), "sequence -1");
	REFUSED(put_u32(AT_FORWARDED + 36, MR_FEED_FORWARD_REFUSAL_COUNT), "refused 4");
	REFUSED(put_u32(AT_OPEN + 32, (uint32_t)-1), "partition -1");
	REFUSED(put_u32(AT_OPEN + 32, MR_PARTITIONS_MAX), "partition 1024, expected 0 to 1023");
}

Test(feed_codec, refuses_what_should_be_zero)
{
	static const uint32_t entries[] = {AT_OPEN,    AT_ASK,	   AT_ANSWER,	 AT_FETCH,
					   AT_BATCHES, AT_FLUSHED, AT_WATERMARK, AT_STALE,
					   AT_MORE,    AT_FORWARD, AT_FORWARDED};

	for (size_t i = 0; i < mr_array_count(entries); i++)
		for (uint32_t at = 5; at < 8; at++)
			REFUSED(bytes[entries[i] + at] = 0x10, "reserved");
	for (uint32_t i = 0; i < 4; i++) {
		REFUSED(bytes[AT_ASK + 28 + i] = 1, "reserved");
		REFUSED(bytes[AT_ANSWER + 36 + i] = 1, "reserved");
	}
	REFUSED(bytes[AT_OPEN + 8] = 1, "leader_epoch 1, expected 0");
	REFUSED(bytes[AT_OPEN + 12] = 1, "session 1, expected 0");
	REFUSED(bytes[AT_STALE + 12] = 1, "session 1, expected 0");
}

/* ---- batches ---- */

Test(feed_codec, refuses_batches_that_do_not_fill_their_entry)
{
	REFUSED(put_u32(AT_BATCHES + 16, 0), "bytes 0, expected 61");
	REFUSED(put_u32(AT_BATCHES + 16, 60), "bytes 60, expected 61");
	REFUSED(put_u32(AT_BATCHES + 16, entry_bytes[0] - 1), "expected at most");
	REFUSED(put_u32(AT_BATCHES + 16, entry_bytes[0] + 1), "that are none");
	REFUSED(put_u32(AT_BATCHES + 16, UINT32_MAX), "bytes 4294967295");
	REFUSED(put_u32(AT_BATCHES + 16, payload_size),
		"base offset of a batch 7000, expected 106");
	REFUSED(put_u32(AT_BATCHES + 16, payload_size + 1), "bytes of an entry's batches");
	REFUSED(put_u32(AT_FORWARD + 16, entry_bytes[2] + 1), "bytes of an entry's batches");
	REFUSED(put_u32(AT_MORE + 16, entry_bytes[1] - 1), "expected at most");
}

Test(feed_codec, refuses_batches_out_of_place)
{
	uint32_t second = AT_PAYLOAD;
	struct mr_batch_header batch;

	make();
	cr_assert_eq(mr_batch_decode_header(bytes + second, size - second, &batch), 0);
	second += batch.total_bytes;
	REFUSED(mr_batch_place(bytes + second, 101, 4), "batch 101, expected 102");
	REFUSED(mr_batch_place(bytes + second, 103, 4), "batch 103, expected 102");
	REFUSED(mr_batch_place(bytes + second, 102, 3), "leader epoch of a batch 3, expected 4");
	REFUSED(mr_batch_place(bytes + second, 102, 6), "leader epoch of a batch 6, expected 4 to");
	REFUSED(mr_batch_place(bytes + AT_PAYLOAD, 100, -1), "leader epoch of a batch -1");
	REFUSED(mr_batch_place(bytes + AT_PAYLOAD, UINT64_MAX, 4), "that are none");
	REFUSED(bytes[second + 16] = 1, "that are none");  /* magic */
	REFUSED(bytes[second + 11] += 1, "that are none"); /* length: the next one is missed */
	REFUSED(bytes[second + 8] = 0x7f, "expected at most");
	REFUSED(bytes[second + 60] = 0, "record count of a batch 0");
	REFUSED(bytes[second + 60] = 2, "last offset delta of a batch 2, expected 1");
	REFUSED(bytes[second + 60] = 4, "that are none");
	REFUSED(mr_batch_place(bytes + AT_PAYLOAD + entry_bytes[0], INT64_MAX, 9), "end offset");
	second = AT_PAYLOAD + entry_bytes[0] + entry_bytes[1]; /* those that are forwarded */
	REFUSED(mr_batch_place(bytes + second, 1, 0), "batch 2, expected 3");
	REFUSED(mr_batch_place(bytes + second, 0, 1), "leader epoch of a batch 1, expected 0");
	REFUSED(move_batches(second, 7), "forwarded batch 7, expected 0");
	REFUSED(put_u32(AT_FORWARD + 16, 0), "bytes 0, expected 61");
	make();
	mr_batch_place(bytes + AT_PAYLOAD + entry_bytes[0], (uint64_t)INT64_MAX - 1, 9);
	seal();
	cr_assert_eq(decode(bytes, size), (int)mr_array_count(said), "%s", err.what);
	cr_assert_eq(heard[8].entry.end_offset, INT64_MAX);
}

/* ---- writing ---- */

Test(feed_codec, a_full_message_takes_no_more_and_stays_whole)
{
	struct mr_feed_item stale = said[7], ask = said[1];
	struct mr_feed_writer writer;

	mr_feed_begin(&writer, VERSION, bytes, 24 + 40 + 7);
	cr_assert_eq(mr_feed_add(&writer, &ask), 0);
	cr_assert_eq(mr_feed_add(&writer, &ask), -ENOSPC);
	cr_assert_eq(mr_feed_add(&writer, &stale), -ENOSPC);
	cr_assert_eq(mr_feed_end(&writer, NULL, 0), 24 + 32);
	cr_assert_eq(decode(bytes, 24 + 32), 1, "%s", err.what);
	check_same(&heard[0], &ask);
}

Test(feed_codec, a_message_has_its_bounds_on_both_sides)
{
	static uint8_t heads[MR_FEED_HEAD_BYTES_MAX + 1024];
	struct mr_feed_item stale = said[7], batches = said[4];
	struct mr_feed_writer writer;
	struct mr_feed_reader reader;
	uint32_t whole, entries = 0;

	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	while (mr_feed_add(&writer, &stale) == 0)
		entries++;
	cr_assert_eq(entries, MR_FEED_ENTRIES_MAX);
	whole = mr_feed_end(&writer, NULL, 0);
	cr_assert_eq(mr_feed_decode_header(heads, whole, VERSION, &header, &err), 0, "%s",
		     err.what);
	cr_assert_eq(mr_feed_read(&reader, &header, heads + 24, whole - 24, &err), 0);
	while (mr_feed_next(&reader, &heard[0], &err) > 0)
		entries--;
	cr_assert_eq(entries, 0);
	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	while (mr_feed_add(&writer, &said[2]) == 0)
		entries++;
	cr_assert_eq(entries, MR_FEED_HEAD_BYTES_MAX / 40, "as many as a receiver takes");
	mr_feed_begin(&writer, VERSION, heads, sizeof(heads));
	batches.entry.bytes = MR_FEED_PAYLOAD_BYTES_MAX - 61;
	cr_assert_eq(mr_feed_add(&writer, &batches), 0);
	batches.entry.bytes = 62;
	cr_assert_eq(mr_feed_add(&writer, &batches), -ENOSPC);
	cr_assert_eq(writer.entry_count, 1);
	batches.entry.bytes = 61;
	cr_assert_eq(mr_feed_add(&writer, &batches), 0);
}

/* ---- hello and refusal ---- */

static int decode_hello(size_t count, struct mr_feed_hello *out)
{
	int r = mr_feed_decode_header(bytes, count, 0, &header, &err);

	return r < 0 ? r : mr_feed_decode_hello(&header, bytes + 24, count - 24, out, &err);
}

static int decode_refusal(size_t count, struct mr_feed_refusal *out)
{
	int r = mr_feed_decode_header(bytes, count, 0, &header, &err);

	return r < 0 ? r : mr_feed_decode_refusal(&header, bytes + 24, count - 24, out, &err);
}

Test(feed_codec, a_hello_comes_back)
{
	struct mr_feed_hello out;
	size_t count = mr_feed_encode_hello(&hello, bytes);

	cr_assert_eq(count, 24 + 56 + strlen(hello.name));
	cr_assert_eq(decode_hello(count, &out), 0, "%s", err.what);
	cr_assert_eq(out.version_min, hello.version_min);
	cr_assert_eq(out.version_max, hello.version_max);
	cr_assert_eq(out.node, hello.node);
	cr_assert_eq(out.incarnation, hello.incarnation);
	cr_assert_eq(out.capabilities, hello.capabilities, "unknown ones do no harm");
	cr_assert_arr_eq(out.cluster_id, hello.cluster_id, 16);
	cr_assert_arr_eq(out.log_id, hello.log_id, 16);
	cr_assert_str_eq(out.name, hello.name);
	cr_assert_eq(mr_feed_decode_header(bytes, count, 200, &header, &err), 0,
		     "its form is the same whatever is spoken");
}

/* What an engine of another version must be able to read, for ever. */
Test(feed_codec, a_hello_has_the_bytes_of_the_format)
{
	static const uint8_t expected[] = {
		'M',  'R',  'F',  'D',	1,    1,    0,	  0,	70,   0,    0,	  0,	0,    0,
		0,    0,    0xa2, 0x18, 0xb9, 0x97, 0,	  0,	0,    0,    1,	  3,	14,   0,
		63,   0,    0,	  0,	0xc1, 0xc2, 0,	  0,	0,    0,    0,	  0,	0,    0,
		0,    0,    0,	  0,	0,    0xcf, 0xd1, 0xd2, 0,    0,    0,	  0,	0,    0,
		0,    0,    0,	  0,	0,    0,    0,	  0xdf, 0x48, 0x47, 0x46, 0x45, 0x44, 0x43,
		0x42, 0x41, 1,	  0,	0,    0,    0,	  0,	0,    0x80, 'h',  'o',	's',  't',
		'-',  'b',  '.',  'e',	'x',  'a',  'm',  'p',	'l',  'e'};

	cr_assert_eq(mr_feed_encode_hello(&hello, bytes), sizeof(expected));
	cr_assert_arr_eq(bytes, expected, sizeof(expected), "head_crc %02x%02x%02x%02x", bytes[19],
			 bytes[18], bytes[17], bytes[16]);
}

Test(feed_codec, names_are_bounded_and_printable)
{
	struct mr_feed_hello in = hello, out;

	memset(in.name, 0, sizeof(in.name));
	cr_assert_not(mr_feed_name_fits(in.name));
	for (uint32_t length = 1; length <= MR_FEED_NAME_MAX; length++) {
		memset(in.name, 'n', length);
		cr_assert(mr_feed_name_fits(in.name));
		cr_assert_eq(decode_hello(mr_feed_encode_hello(&in, bytes), &out), 0);
		cr_assert_str_eq(out.name, in.name);
	}
	cr_assert_not(mr_feed_name_fits(
		"a23456789a123456789a123456789a123456789a123456789a123456789a123456"));
	cr_assert(mr_feed_name_fits(" ~"));
	cr_assert_not(mr_feed_name_fits("a\x1f"));
	cr_assert_not(mr_feed_name_fits("a\x7f"));
	cr_assert_not(mr_feed_name_fits("\xc3\xa4"));
}

static void check_hello_refused(uint32_t at, uint8_t value, const char *word)
{
	struct mr_feed_hello out;
	size_t count = mr_feed_encode_hello(&hello, bytes);

	bytes[at] = value;
	seal();
	err.what[0] = '\0';
	cr_assert_eq(decode_hello(count, &out), -EBADMSG, "byte %u = %u", at, value);
	cr_assert_not_null(strstr(err.what, word), "%s", err.what);
}

Test(feed_codec, refuses_a_hello_out_of_bounds)
{
	check_hello_refused(4, 2, "version 2, expected 1");
	check_hello_refused(6, 1, "entry_count 1, expected 0");
	check_hello_refused(8, 56, "head_bytes 56, expected 57 to 120");
	check_hello_refused(8, 121, "head_bytes 121, expected 57 to 120");
	check_hello_refused(9, 1, "head_bytes");
	check_hello_refused(12, 1, "payload_bytes 1, expected 0");
	check_hello_refused(24, 0, "version_min 0");
	check_hello_refused(25, 0, "version_max 0, expected 1");
	check_hello_refused(26, 13, "name_bytes 13, expected 14");
	check_hello_refused(26, 15, "name_bytes 15, expected 14");
	check_hello_refused(27, 1, "name_bytes");
	check_hello_refused(28, 64, "node 64, expected 0 to 63");
	check_hello_refused(31, 0xff, "node");
	check_hello_refused(80, '\n', "byte 0a at 0 of its name");
	check_hello_refused(93, 0, "byte 00 at 13 of its name");
	check_hello_refused(85, 0x80, "byte 80 at 5 of its name");
}

Test(feed_codec, a_refusal_comes_back_readable)
{
	struct mr_feed_refusal out;
	char long_sentence[MR_FEED_SENTENCE_MAX + 100];
	size_t count =
		mr_feed_encode_refusal(MR_FEED_REFUSED_CLUSTER, "another\n cluster\x9b", bytes);

	cr_assert_eq(decode_refusal(count, &out), 0, "%s", err.what);
	cr_assert_eq(out.code, MR_FEED_REFUSED_CLUSTER);
	cr_assert_str_eq(out.sentence, "another? cluster?");
	memset(long_sentence, 's', sizeof(long_sentence));
	long_sentence[sizeof(long_sentence) - 1] = '\0';
	count = mr_feed_encode_refusal(MR_FEED_REFUSED_NODE, long_sentence, bytes);
	cr_assert_eq(count, MR_FEED_REFUSE_BYTES_MAX);
	cr_assert_eq(decode_refusal(count, &out), 0, "%s", err.what);
	cr_assert_eq(strlen(out.sentence), MR_FEED_SENTENCE_MAX);
	put_u32(24, 0x01020304); /* a code of a newer engine */
	seal();
	cr_assert_eq(decode_refusal(count, &out), 0, "%s", err.what);
	cr_assert_eq(out.code, 0x01020304);
}

static void check_refusal_refused(uint32_t at, uint8_t value, const char *word)
{
	struct mr_feed_refusal out;
	size_t count = mr_feed_encode_refusal(MR_FEED_REFUSED_TWIN, "go away", bytes);

	bytes[at] = value;
	seal();
	err.what[0] = '\0';
	cr_assert_eq(decode_refusal(count, &out), -EBADMSG, "byte %u = %u", at, value);
	cr_assert_not_null(strstr(err.what, word), "%s", err.what);
}

Test(feed_codec, refuses_a_refusal_out_of_bounds)
{
	check_refusal_refused(8, 8, "head_bytes 8, expected 9 to 328");
	check_refusal_refused(9, 2, "head_bytes");
	check_refusal_refused(24, 0, "code 0");
	check_refusal_refused(28, 6, "sentence_bytes 6, expected 7");
	check_refusal_refused(29, 1, "sentence_bytes");
	check_refusal_refused(30, 1, "reserved");
	check_refusal_refused(31, 1, "reserved");
	check_refusal_refused(32, 0x1b, "byte 1b at 0 of its sentence");
}

Test(feed_codec, refuses_every_flipped_bit_of_a_hello_and_a_refusal)
{
	struct mr_feed_refusal refusal;
	struct mr_feed_hello out;
	size_t count = mr_feed_encode_hello(&hello, bytes);

	for (uint32_t bit = 0; bit < count * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(decode_hello(count, &out), -EBADMSG, "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 24; cut < count; cut++)
		cr_assert_eq(decode_hello(cut, &out), -EBADMSG);
	count = mr_feed_encode_refusal(MR_FEED_REFUSED_TWIN, "go away", bytes);
	for (uint32_t bit = 0; bit < count * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(decode_refusal(count, &refusal), -EBADMSG, "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 24; cut < count; cut++)
		cr_assert_eq(decode_refusal(cut, &refusal), -EBADMSG);
}

/* ---- notices ---- */

static size_t make_notice(const char *text, size_t count)
{
	mr_feed_encode_notice(VERSION, text, count, bytes);
	memcpy(bytes + MR_FEED_HEADER_BYTES, text, count);
	return MR_FEED_HEADER_BYTES + count;
}

static int decode_notice(size_t count)
{
	int r = mr_feed_decode_header(bytes, count, VERSION, &header, &err);

	return r < 0 ? r
		     : mr_feed_decode_notice(&header, bytes + MR_FEED_HEADER_BYTES,
					     count - MR_FEED_HEADER_BYTES, &err);
}

Test(feed_codec, a_notice_has_the_bytes_of_the_format)
{
	static const uint8_t expected[] = {'M', 'R', 'F', 'D', VERSION, 4, 0, 0,
					   0,	0,   0,	  0,   9,	0, 0, 0};
	static const uint8_t crc[] = {0x83, 0x92, 0x06, 0xe3}; /* the check value of CRC-32C */
	size_t count = make_notice("123456789", 9);

	cr_assert_arr_eq(bytes, expected, sizeof(expected));
	cr_assert_arr_eq(bytes + 20, crc, sizeof(crc));
	cr_assert_eq(decode_notice(count), 0, "%s", err.what);
	cr_assert_eq(mr_feed_body_bytes(&header), 9);
}

Test(feed_codec, a_notice_has_its_bounds)
{
	static char text[MR_FEED_NOTICE_MAX + 1];
	static uint8_t head[MR_FEED_HEADER_BYTES];

	memset(text, 'n', sizeof(text));
	mr_feed_encode_notice(VERSION, text, MR_FEED_NOTICE_MAX, head);
	cr_assert_eq(mr_feed_decode_header(head, sizeof(head), VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_decode_notice(&header, (uint8_t *)text, MR_FEED_NOTICE_MAX, &err), 0);
	cr_assert_eq(mr_feed_decode_notice(&header, (uint8_t *)text, MR_FEED_NOTICE_MAX + 1, &err),
		     -EBADMSG);
	make_notice("short", 5);
	put_u32(12, MR_FEED_NOTICE_MAX + 1);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "payload_bytes 1048577, expected 1 to 1048576"), "%s",
			   err.what);
	put_u32(12, 0);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	put_u32(12, 5);
	put_u32(8, 1);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, VERSION, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "head_bytes 1, expected 0"), "%s", err.what);
}

Test(feed_codec, refuses_a_notice_that_was_changed)
{
	size_t count = make_notice("{\"topic\": 1}", 12);

	for (uint32_t bit = 0; bit < count * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_eq(decode_notice(count), -EBADMSG, "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 24; cut < count; cut++)
		cr_assert_eq(decode_notice(cut), -EBADMSG);
	bytes[24 + 7] = '\0';
	seal();
	cr_assert_eq(decode_notice(count), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "a zero at 7"), "%s", err.what);
}

/* ---- versions ---- */

Test(feed_codec, the_lower_of_the_highest_versions_is_spoken)
{
	struct mr_feed_hello mine = hello, theirs = hello;
	uint64_t capabilities;
	uint8_t version;

	mine.version_min = 4;
	mine.version_max = 5;
	mine.capabilities = 0x5;
	theirs.version_min = 3;
	theirs.version_max = 4;
	theirs.capabilities = 0xfffffffffffffffcu;
	cr_assert_eq(mr_feed_agree(&mine, &theirs, &version, &capabilities, &err), 0);
	cr_assert_eq(version, 4);
	cr_assert_eq(capabilities, 0x4);
	cr_assert_eq(mr_feed_agree(&theirs, &mine, &version, &capabilities, &err), 0);
	cr_assert_eq(version, 4);
	theirs.version_max = 3;
	cr_assert_eq(mr_feed_agree(&mine, &theirs, &version, &capabilities, &err),
		     -EPROTONOSUPPORT);
	cr_assert_not_null(strstr(err.what, "3 to 3"), "%s", err.what);
	cr_assert_eq(mr_feed_agree(&theirs, &mine, &version, &capabilities, &err),
		     -EPROTONOSUPPORT);
}

Test(feed_codec, entries_are_let_in_only_in_the_version_agreed_on)
{
	make();
	cr_assert_eq(mr_feed_decode_header(bytes, size, 0, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "kind 3, expected 1 to 2"), "%s", err.what);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "version 1, expected 2"), "%s", err.what);
	bytes[4] = 2;
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), 0);
	size = (uint32_t)make_notice("n", 1);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 0, &header, &err), -EBADMSG);
	cr_assert_eq(mr_feed_decode_header(bytes, size, 2, &header, &err), -EBADMSG);
}

Test(feed_codec, one_kind_of_message_is_not_taken_for_another)
{
	struct mr_feed_refusal refusal;
	struct mr_feed_reader reader;
	struct mr_feed_hello out;
	size_t count;

	make();
	cr_assert_eq(mr_feed_decode_header(bytes, size, VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_decode_hello(&header, bytes + 24, size - 24, &out, &err), -EBADMSG);
	cr_assert_eq(mr_feed_decode_refusal(&header, bytes + 24, size - 24, &refusal, &err),
		     -EBADMSG);
	cr_assert_eq(mr_feed_decode_notice(&header, bytes + 24, size - 24, &err), -EBADMSG);
	count = mr_feed_encode_hello(&hello, bytes);
	cr_assert_eq(mr_feed_decode_header(bytes, count, VERSION, &header, &err), 0);
	cr_assert_eq(mr_feed_read(&reader, &header, bytes + 24, count - 24, &err), -EBADMSG);
	cr_assert_not_null(strstr(err.what, "kind 1, expected 3"), "%s", err.what);
}
