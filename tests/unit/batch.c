/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the bytes are those of Kafka's clients, in both directions; nothing that is not a
 * batch passes for one; a record comes back as it went in; nothing is written or read out of bounds
 * (under ASan).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "crc32c.h"

/* ---- real batches, hexadecimal ---- */

/* clang-format off */

/* (key1, value-one), (null, v2) 5 ms later, (k3, null, h1=x, h2=null) 7 ms later; kafka-python. */
#define PLAIN_RECORDS                                                                              \
	"26000000086b6579311276616c75652d6f6e6500"                                                 \
	"10000a020104763200"                                                                       \
	"22000e04046b330104046831027804683201"
static const char plain[] =
	"00000000000000000000006000000000025a0d0b040000000000020000018bcfe568000000018bcf"
	"e56807ffffffffffffffffffffffffffff00000003"
	PLAIN_RECORDS;
static const char idempotent[] =
	"000000000000000000000060000000000262c1dce20000000000020000018bcfe568000000018bcf"
	"e56807000000000000109200030000001100000003"
	PLAIN_RECORDS;

/* 100 x A (key1), 100 x B (null key), 100 x C (k3, h1=x, h2=null), compressed by kafka-python. */
static const char gzip[] =
	"000000000000000000000078000000000233beb5cc0001000000020000018bcfe568000000018bcf"
	"e56807ffffffffffffffffffffffffffff000000031f8b08000bae026b02ffbbc7c8c0c0c0919d5a"
	"697882d1910e80e11a23031713e30946273a0086378c0c7c2c2cd9c627189de9005858320c992a58"
	"328c180119b6af7c56010000";
static const char snappy[] =
	"00000000000000000000008a00000000026d593c0b0002000000020000018bcfe568000000018bcf"
	"e56807ffffffffffffffffffffffffffff0000000382534e41505059000000000100000001000000"
	"45d60230de01000000086b657931c80141fe01008a01002400d601000a0201c80142fe01008a0100"
	"2c00ec01000e04046b33c80143fe01008a01002404046831027804683201";
static const char lz4[] =
	"000000000000000000000082000000000212ae90110003000000020000018bcfe568000000018bcf"
	"e56807ffffffffffffffffffffffffffff0000000304224d18684056010000000000000a3a000000"
	"dfde01000000086b657931c80141010050af00d601000a0201c80142010050cf00ec01000e04046b"
	"33c80143010050a00404683102780468320100000000";
static const char zstd[] =
	"00000000000000000000007300000000020ff6c9160004000000020000018bcfe568000000018bcf"
	"e56807ffffffffffffffffffffffffffff0000000328b52ffd605600c50100d402de01000000086b"
	"657931c8014100d601000a0201c8014200ec01000e04046b33c80143040468310278046832010314"
	"002a2001047c01";

/* 100 x A (key1), 100 x B (null key), 100 x A (k3), h1=x on each, compressed by librdkafka. */
static const char rd_gzip[] =
	"0000000000000000000000700000000002f1a0a4aa000100000002000001a20277e63a000001a202"
	"77e63affffffffffffffffffffffffffff000000031f8b08000000000000037bc1c8c0c0c0919d5a"
	"697882d1910e808925c390a9e201d05626c6138c4e7400101b9f006d6461c936a6a72f01cff32a0b"
	"5c010000";
static const char rd_snappy[] =
	"00000000000000000000006e0000000002c700cf6b000200000002000001a20277e6b6000001a202"
	"77e6b6ffffffffffffffffffffffffffff00000003dc0230e801000000086b657931c80141fe0100"
	"8a010038020468310278e00100000201c80142fe01008a010009721ce401000004046b33fee600ae"
	"e600";
static const char rd_lz4[] =
	"00000000000000000000007a0000000002cb04ee3a000300000002000001a20277e732000001a202"
	"77e732ffffffffffffffffffffffffffff0000000304224d186040823a000000dfe801000000086b"
	"657931c80141010050ff00020468310278e00100000201c801420100500272008fe401000004046b"
	"33e6005450046831027800000000";
static const char rd_zstd[] =
	"00000000000000000000006e00000000025f83139b000400000002000001a20277e7c0000001a202"
	"77e7c0ffffffffffffffffffffffffffff0000000328b52ffd0058a501004402e801000000086b65"
	"7931c80141020468310278e00100000201c80142e401000004046b330400296d89eb800500a43548"
	"c117";

/* clang-format on */

#define BASE_MS 1700000000000

static const struct mr_batch_identity nobody = {
	.producer_id = MR_PRODUCER_ID_NONE,
	.producer_epoch = -1,
	.base_sequence = MR_SEQUENCE_NONE,
};

/* A copy on the heap, not a byte longer, so that ASan sees a read beyond it. Caller frees. */
static uint8_t *exact(const uint8_t *bytes, size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);

	memcpy(copy, bytes, count);
	return copy;
}

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static uint8_t *from_hex(const char *hex, size_t *count)
{
	uint8_t *bytes;

	*count = strlen(hex) / 2;
	bytes = malloc(*count);
	for (size_t i = 0; i < *count; i++)
		bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
	return bytes;
}

static int add(struct mr_batch_writer *writer, int64_t timestamp_ms, const char *key,
	       const char *value)
{
	return mr_batch_add(writer, timestamp_ms, key, key ? (int32_t)strlen(key) : -1, value,
			    value ? (int32_t)strlen(value) : -1, NULL, 0, 0);
}

/* The three records of the plain vector; 0 if they do not fit. */
static size_t write_plain(uint8_t *bytes, size_t capacity, const struct mr_batch_identity *identity)
{
	static const struct mr_header pair[] = {{"h1", 2, "x", 1}, {"h2", 2, NULL, -1}};
	struct mr_batch_writer writer;
	uint8_t headers[16];
	size_t header_bytes = mr_headers_encode(pair, 2, headers);

	mr_batch_begin(&writer, bytes, capacity);
	if (add(&writer, BASE_MS, "key1", "value-one") || add(&writer, BASE_MS + 5, NULL, "v2"))
		return 0;
	if (mr_batch_add(&writer, BASE_MS + 7, "k3", 2, NULL, -1, headers, (uint32_t)header_bytes,
			 2))
		return 0;
	return mr_batch_end(&writer, identity);
}

/* What is wrong with a batch that was put together by hand: its checksum is made right first. */
static int check_resealed(uint8_t *bytes, size_t count)
{
	struct mr_batch_header header;
	uint32_t crc = mr_crc32c(0, bytes + 21, count - 21);

	for (int i = 0; i < 4; i++)
		bytes[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
	return mr_batch_check(bytes, count, false, &header, NULL);
}

/* A batch of 'count' claimed records, last delta 'count' - 1, whose records area is given as hex.
 */
static int check_records_hex(int32_t record_count, const char *records)
{
	size_t area_bytes;
	size_t head_bytes;
	uint8_t *area = from_hex(records, &area_bytes);
	uint8_t *head = from_hex(plain, &head_bytes);
	uint8_t *bytes = malloc(61 + area_bytes);
	int r;

	memcpy(bytes, head, 61);
	memcpy(bytes + 61, area, area_bytes);
	bytes[10] = (uint8_t)((49 + area_bytes) >> 8);
	bytes[11] = (uint8_t)(49 + area_bytes);
	bytes[26] = (uint8_t)(record_count - 1);
	bytes[60] = (uint8_t)record_count;
	r = check_resealed(bytes, 61 + area_bytes);
	free(area);
	free(head);
	free(bytes);
	return r;
}

/* ---- the vectors ---- */

Test(batch, encodes_the_published_bytes)
{
	struct mr_batch_identity producer = {
		.producer_id = 4242, .producer_epoch = 3, .base_sequence = 17};
	uint8_t bytes[256];
	size_t count;
	uint8_t *wanted = from_hex(plain, &count);

	cr_assert_eq(count, 108);
	cr_assert_eq(write_plain(bytes, sizeof(bytes), &nobody), count);
	cr_assert_arr_eq(bytes, wanted, count);
	free(wanted);
	wanted = from_hex(idempotent, &count);
	cr_assert_eq(write_plain(bytes, sizeof(bytes), &producer), count);
	cr_assert_arr_eq(bytes, wanted, count);
	free(wanted);
}

Test(batch, encodes_the_checksum_of_the_long_values)
{
	static const struct mr_header pair[] = {{"h1", 2, "x", 1}, {"h2", 2, NULL, -1}};
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	uint8_t bytes[512];
	uint8_t headers[16];
	char text[3][101] = {{0}};
	uint32_t header_bytes = (uint32_t)mr_headers_encode(pair, 2, headers);

	for (int i = 0; i < 3; i++)
		memset(text[i], 'A' + i, 100);
	mr_batch_begin(&writer, bytes, sizeof(bytes));
	cr_assert_eq(add(&writer, BASE_MS, "key1", text[0]), 0);
	cr_assert_eq(add(&writer, BASE_MS + 5, NULL, text[1]), 0);
	cr_assert_eq(
		mr_batch_add(&writer, BASE_MS + 7, "k3", 2, text[2], 100, headers, header_bytes, 2),
		0);
	cr_assert_eq(mr_batch_end(&writer, &nobody), 403);
	cr_assert_eq(mr_batch_decode_header(bytes, 403, &header), 0);
	cr_assert_eq(header.crc, 0x671b62cfu);
}

static void expect_header(const struct mr_batch_header *header)
{
	cr_assert_eq(header->base_offset, 0);
	cr_assert_eq(header->leader_epoch, 0);
	cr_assert_eq(header->last_offset_delta, 2);
	cr_assert_eq(header->record_count, 3);
	cr_assert_eq(header->base_timestamp_ms, BASE_MS);
	cr_assert_eq(header->max_timestamp_ms, BASE_MS + 7);
}

Test(batch, decodes_the_published_bytes)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message = {.partition = 77};
	struct mr_header one;
	size_t count;
	uint8_t *bytes = from_hex(idempotent, &count);

	cr_assert_eq(mr_batch_check(bytes, count, false, &header, NULL), 0);
	expect_header(&header);
	cr_assert_eq(header.total_bytes, count);
	cr_assert_eq(header.crc, 0x62c1dce2u);
	cr_assert_eq(header.attributes, 0);
	cr_assert_eq(header.producer_id, 4242);
	cr_assert_eq(header.producer_epoch, 3);
	cr_assert_eq(header.base_sequence, 17);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);

	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.offset, 0);
	cr_assert_eq(message.timestamp_ms, BASE_MS);
	cr_assert_eq(message.key_bytes, 4);
	cr_assert_eq(memcmp(message.key, "key1", 4), 0);
	cr_assert_eq(message.value_bytes, 9);
	cr_assert_eq(memcmp(message.value, "value-one", 9), 0);
	cr_assert_eq(message.header_count, 0);
	cr_assert_eq(message.header_bytes, 0);
	cr_assert_eq(message.partition, 77);

	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.offset, 1);
	cr_assert_eq(message.timestamp_ms, BASE_MS + 5);
	cr_assert_eq(message.key_bytes, -1);
	cr_assert_null(message.key);
	cr_assert_eq(memcmp(message.value, "v2", 2), 0);

	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.offset, 2);
	cr_assert_eq(message.timestamp_ms, BASE_MS + 7);
	cr_assert_eq(message.value_bytes, -1);
	cr_assert_null(message.value);
	cr_assert_eq(message.header_count, 2);
	cr_assert_eq(mr_message_header(&message, 0, &one), 0);
	cr_assert_eq(memcmp(one.name, "h1", 2), 0);
	cr_assert_eq(one.value_bytes, 1);
	cr_assert_eq(*(const char *)one.value, 'x');
	cr_assert_eq(mr_message_header(&message, 1, &one), 0);
	cr_assert_eq(memcmp(one.name, "h2", 2), 0);
	cr_assert_eq(one.value_bytes, -1);
	cr_assert_null(one.value);
	cr_assert_eq(mr_message_header(&message, 2, &one), -ENOENT);
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	free(bytes);
}

Test(batch, accepts_compressed_batches_and_does_not_read_them)
{
	static const struct {
		const char *hex;
		int codec;
		int64_t base_ms;
		int64_t span_ms;
	} all[] = {
		{gzip, 1, BASE_MS, 7},		{snappy, 2, BASE_MS, 7},
		{lz4, 3, BASE_MS, 7},		{zstd, 4, BASE_MS, 7},
		{rd_gzip, 1, 0x1a20277e63a, 0}, {rd_snappy, 2, 0x1a20277e6b6, 0},
		{rd_lz4, 3, 0x1a20277e732, 0},	{rd_zstd, 4, 0x1a20277e7c0, 0},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct mr_batch_header header;
		struct mr_batch_reader reader;
		struct mr_error err;
		size_t count;
		uint8_t *bytes = from_hex(all[i].hex, &count);

		cr_assert_eq(mr_batch_check(bytes, count, false, &header, &err), 0, "%zu: %s", i,
			     err.what);
		cr_assert_eq(header.attributes, all[i].codec);
		cr_assert_eq(header.record_count, 3);
		cr_assert_eq(header.last_offset_delta, 2);
		cr_assert_eq(header.base_timestamp_ms, all[i].base_ms);
		cr_assert_eq(header.max_timestamp_ms, all[i].base_ms + all[i].span_ms);
		cr_assert_eq(header.producer_id, MR_PRODUCER_ID_NONE);
		cr_assert_eq(mr_batch_read(&reader, bytes, &header), -ENOTSUP);
		free(bytes);
	}
}

Test(batch, the_smallest_record_takes_seven_bytes)
{
	struct mr_batch_writer writer;
	uint8_t bytes[68];

	mr_batch_begin(&writer, bytes, sizeof(bytes));
	cr_assert_eq(add(&writer, 1, NULL, ""), 0);
	cr_assert_eq(mr_batch_end(&writer, &nobody), 68);
	cr_assert_arr_eq(bytes + 61, ((uint8_t[]){0x0c, 0, 0, 0, 1, 0, 0}), 7);
}

/* ---- a record comes back as it went in ---- */

/* Writes a record after one at 'base_ms' and reads it back. Returns its bytes in the batch. */
static size_t round_trip(int64_t base_ms, int64_t timestamp_ms, size_t value_bytes)
{
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	size_t capacity = 256 + value_bytes;
	uint8_t *bytes = malloc(capacity);
	char *value = malloc(value_bytes + 1);
	size_t before;
	size_t took;

	memset(value, 'v', value_bytes);
	mr_batch_begin(&writer, bytes, capacity);
	cr_assert_eq(add(&writer, base_ms, "k", NULL), 0);
	before = (size_t)(writer.at - bytes);
	cr_assert_eq(mr_batch_add(&writer, timestamp_ms, NULL, -1, value, (int32_t)value_bytes,
				  NULL, 0, 0),
		     0);
	took = (size_t)(writer.at - bytes) - before;
	cr_assert_leq(took, mr_batch_record_bytes_max(value_bytes));
	cr_assert_eq(mr_batch_check(bytes, mr_batch_end(&writer, &nobody), false, &header, NULL),
		     0);
	cr_assert_eq(header.base_timestamp_ms, base_ms);
	cr_assert_eq(header.max_timestamp_ms, base_ms > timestamp_ms ? base_ms : timestamp_ms);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.timestamp_ms, base_ms);
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.timestamp_ms, timestamp_ms);
	cr_assert_eq(message.value_bytes, (int32_t)value_bytes);
	cr_assert_eq(memcmp(message.value, value, value_bytes), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	free(bytes);
	free(value);
	return took;
}

Test(batch, timestamps_may_be_any_and_go_back)
{
	static const int64_t some[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, BASE_MS, INT64_MAX};

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		for (size_t j = 0; j < sizeof(some) / sizeof(some[0]); j++)
			round_trip(some[i], some[j], 3);
}

Test(batch, every_length_of_a_varint_is_right_at_its_edges)
{
	for (unsigned bits = 0; bits < 63; bits++) {
		int64_t edge = (int64_t)1 << bits;

		for (int64_t near = edge - 2; near <= edge + 2; near++) {
			round_trip(0, near, 0);
			round_trip(0, -near, 0);
		}
	}
	cr_assert_eq(round_trip(0, 63, 0), 7);
	cr_assert_eq(round_trip(0, -64, 0), 7);
	cr_assert_eq(round_trip(0, 64, 0), 8);
	cr_assert_eq(round_trip(0, 8191, 0), 8);
	cr_assert_eq(round_trip(0, 8192, 0), 9);
	cr_assert_eq(round_trip(0, INT64_MIN, 0), 16);
}

Test(batch, value_lengths_are_right_at_the_edges_of_their_varints)
{
	static const size_t edges[] = {0, 63, 64, 127, 128, 8191, 8192, 16383, 16384, 1 << 20};

	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		for (size_t back = 0; back < 10 && back <= edges[i]; back++)
			round_trip(5, 4, edges[i] - back);
}

Test(batch, offset_deltas_of_a_large_batch_are_dense)
{
	const int32_t count = 20000;
	struct mr_batch_identity identity = nobody;
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	uint8_t *bytes = malloc(1 << 20);

	mr_batch_begin(&writer, bytes, 1 << 20);
	for (int32_t i = 0; i < count; i++)
		cr_assert_eq(mr_batch_add(&writer, i, &i, sizeof(i), NULL, -1, NULL, 0, 0), 0);
	identity.base_offset = 1ull << 40;
	identity.leader_epoch = 12;
	cr_assert_eq(mr_batch_check(bytes, mr_batch_end(&writer, &identity), false, &header, NULL),
		     0);
	cr_assert_eq(header.record_count, count);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	for (int32_t i = 0; i < count; i++) {
		cr_assert_eq(mr_batch_next(&reader, &message), 1);
		cr_assert_eq(message.offset, (1ull << 40) + (uint32_t)i);
		cr_assert_eq(message.timestamp_ms, i);
		cr_assert_eq(message.leader_epoch, 12);
		cr_assert_eq(memcmp(message.key, &i, sizeof(i)), 0);
	}
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	free(bytes);
}

Test(batch, null_and_empty_stay_apart)
{
	static const char *const texts[] = {NULL, "", "x"};
	struct mr_batch_writer writer;
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	uint8_t bytes[256];

	mr_batch_begin(&writer, bytes, sizeof(bytes));
	for (int i = 0; i < 9; i++)
		cr_assert_eq(add(&writer, 1, texts[i / 3], texts[i % 3]), 0);
	cr_assert_eq(mr_batch_check(bytes, mr_batch_end(&writer, &nobody), false, &header, NULL),
		     0);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	for (int i = 0; i < 9; i++) {
		cr_assert_eq(mr_batch_next(&reader, &message), 1);
		cr_assert_eq(message.key_bytes, i / 3 - 1);
		cr_assert_eq(message.value_bytes, i % 3 - 1);
		cr_assert_eq(message.key == NULL, i / 3 == 0);
		cr_assert_eq(message.value == NULL, i % 3 == 0);
	}
}

Test(batch, headers_keep_order_duplicates_null_and_empty)
{
	static const struct mr_header in[] = {
		{"b", 1, "2", 1},   {"a", 1, "1", 1}, {"b", 1, "2", 1},
		{"b", 1, NULL, -1}, {"", 0, "", 0},   {"a", 1, "", 0},
	};
	struct mr_message message = {.header_count = 6};
	struct mr_header out;
	uint8_t bytes[64];

	message.headers = bytes;
	message.header_bytes = (uint32_t)mr_headers_encode(in, 6, bytes);
	cr_assert_eq(message.header_bytes, mr_headers_bytes(in, 6));
	cr_assert_eq(mr_headers_check(bytes, message.header_bytes, 6), 0);
	for (uint32_t i = 0; i < 6; i++) {
		cr_assert_eq(mr_message_header(&message, i, &out), 0);
		cr_assert_eq(out.name_bytes, in[i].name_bytes);
		cr_assert_eq(out.value_bytes, in[i].value_bytes);
		cr_assert_eq(memcmp(out.name, in[i].name, (size_t)out.name_bytes), 0);
		cr_assert_eq(out.value == NULL, in[i].value == NULL);
		if (out.value_bytes > 0)
			cr_assert_eq(memcmp(out.value, in[i].value, (size_t)out.value_bytes), 0);
	}
	cr_assert_eq(mr_message_header(&message, 6, &out), -ENOENT);
	cr_assert_eq(mr_message_header(&message, UINT32_MAX, &out), -ENOENT);
}

Test(batch, bad_headers_are_refused)
{
	static const struct mr_header in[] = {{"n", 1, NULL, -1}, {"name", 4, "value", 5}};
	static const uint8_t null_name[] = {1, 1};
	static const uint8_t overflow[] = {0x80, 0x80, 0x80, 0x80, 0x10, 1};
	struct mr_message message = {.header_count = 2};
	struct mr_header out = {.name_bytes = 42};
	uint8_t bytes[32];
	size_t count = mr_headers_encode(in, 2, bytes);

	for (size_t cut = 0; cut < count; cut++) {
		uint8_t *part = exact(bytes, cut);

		cr_assert_eq(mr_headers_check(part, cut, 2), -EBADMSG);
		message.headers = part;
		message.header_bytes = (uint32_t)cut;
		cr_assert_eq(mr_message_header(&message, 1, &out), -EBADMSG);
		free(part);
	}
	cr_assert_eq(out.name_bytes, 42);
	cr_assert_eq(mr_headers_check(bytes, count, 1), -EBADMSG);
	cr_assert_eq(mr_headers_check(bytes, count, 3), -EBADMSG);
	cr_assert_eq(mr_headers_check(bytes, count, 0), -EBADMSG);
	cr_assert_eq(mr_headers_check(bytes, 0, 0), 0);
	cr_assert_eq(mr_headers_check(NULL, 0, 0), 0);
	cr_assert_eq(mr_headers_check(NULL, 0, 1), -EBADMSG);
	cr_assert_eq(mr_headers_check(null_name, sizeof(null_name), 1), -EBADMSG);
	cr_assert_eq(mr_headers_check(overflow, sizeof(overflow), 1), -EBADMSG);
}

/* ---- room ---- */

/* Lengths far beyond the bytes that are there; volatile hides them from the compiler. */
static const char *volatile somewhere = "x";

/* Whatever the capacity, a batch has all the records that fit and not a byte is written beyond it.
 */
Test(batch, fits_exactly_and_not_in_one_byte_less)
{
	for (size_t capacity = 61; capacity <= 109; capacity++) {
		uint8_t *bytes = malloc(capacity);
		size_t whole = write_plain(bytes, capacity, &nobody);

		cr_assert_eq(whole, capacity >= 108 ? 108 : 0, "%zu", capacity);
		free(bytes);
	}
}

Test(batch, a_record_that_does_not_fit_changes_nothing)
{
	struct mr_batch_writer writer;
	struct mr_batch_writer before;
	struct mr_batch_header header;
	uint8_t bytes[80];

	memset(bytes, 0xee, sizeof(bytes));
	mr_batch_begin(&writer, bytes, sizeof(bytes));
	cr_assert_eq(add(&writer, BASE_MS, "a", "b"), 0);
	before = writer;
	cr_assert_eq(add(&writer, BASE_MS + 9, "key", "value"), -ENOSPC);
	cr_assert_eq(memcmp(&before, &writer, sizeof(writer)), 0);
	for (const uint8_t *at = writer.at; at < writer.limit; at++)
		cr_assert_eq(*at, 0xee);
	cr_assert_eq(mr_batch_add(&writer, 0, "a", -2, NULL, -1, NULL, 0, 0), -EINVAL);
	cr_assert_eq(mr_batch_add(&writer, 0, "a", 1, somewhere, INT32_MIN, NULL, 0, 0), -EINVAL);
	cr_assert_eq(mr_batch_add(&writer, 0, "a", 1, "b", 1, somewhere, 0, 1u << 31), -EINVAL);
	cr_assert_eq(mr_batch_add(&writer, 0, "a", 1, somewhere, INT32_MAX, NULL, 0, 0), -ENOSPC);
	cr_assert_eq(mr_batch_add(&writer, 0, "a", 1, "b", 1, somewhere, UINT32_MAX, 1), -ENOSPC);
	cr_assert_eq(memcmp(&before, &writer, sizeof(writer)), 0);
	cr_assert_eq(mr_batch_check(bytes, mr_batch_end(&writer, &nobody), false, &header, NULL),
		     0);
	cr_assert_eq(header.max_timestamp_ms, BASE_MS);
}

Test(batch, uses_no_more_than_a_length_can_say)
{
	struct mr_batch_writer writer;
	uint8_t bytes[64];

	mr_batch_begin(&writer, bytes, (size_t)INT32_MAX + 4096);
	cr_assert_eq((size_t)(writer.limit - writer.bytes), INT32_MAX);
	cr_assert_eq(mr_batch_add(&writer, 0, somewhere, INT32_MAX, NULL, -1, NULL, 0, 0), -ENOSPC);
}

Test(batch, place_moves_it_and_keeps_the_checksum)
{
	struct mr_batch_header header;
	uint8_t bytes[128];
	size_t count = write_plain(bytes, sizeof(bytes), &nobody);

	mr_batch_place(bytes, 123456789012345, 99);
	cr_assert_eq(mr_batch_check(bytes, count, false, &header, NULL), 0);
	cr_assert_eq(header.base_offset, 123456789012345);
	cr_assert_eq(header.leader_epoch, 99);
	mr_batch_place(bytes, INT64_MAX - 2, -1);
	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), 0);
	mr_batch_place(bytes, INT64_MAX - 1, -1);
	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), -EBADMSG);
	mr_batch_place(bytes, 1ull << 63, -1);
	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), -EBADMSG);
}

Test(batch, append_time_is_every_records_time)
{
	struct mr_batch_identity identity = nobody;
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	uint8_t bytes[128];

	identity.attributes = MR_BATCH_APPEND_TIME;
	cr_assert_eq(mr_batch_check(bytes, write_plain(bytes, sizeof(bytes), &identity), false,
				    &header, NULL),
		     0);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	while (mr_batch_next(&reader, &message) > 0)
		cr_assert_eq(message.timestamp_ms, BASE_MS + 7);
}

/* ---- nothing else passes ---- */

Test(batch, every_truncation_is_refused)
{
	struct mr_batch_header header;
	struct mr_error err;
	size_t count;
	uint8_t *bytes = from_hex(plain, &count);

	for (size_t cut = 0; cut < count; cut++) {
		uint8_t *part = exact(bytes, cut);

		cr_assert_eq(mr_batch_decode_header(part, cut, &header), -EAGAIN);
		cr_assert_eq(header.total_bytes, cut < 61 ? 0 : 108);
		cr_assert_eq(mr_batch_check(part, cut, true, &header, &err), -EBADMSG);
		cr_assert_str_not_empty(err.what);
		free(part);
	}
	bytes = realloc(bytes, count + 1);
	bytes[count] = 0;
	cr_assert_eq(mr_batch_decode_header(bytes, count + 1, &header), 0);
	cr_assert_eq(mr_batch_check(bytes, count + 1, false, &header, NULL), -EBADMSG);
	free(bytes);
}

/* The records cut short or made longer, with length and checksum made right again. */
Test(batch, every_truncation_of_the_records_is_refused)
{
	size_t count;
	uint8_t *bytes = from_hex(plain, &count);

	bytes = realloc(bytes, count + 1);
	bytes[count] = 0;
	for (size_t cut = 61; cut <= count + 1; cut++) {
		uint8_t *part = exact(bytes, cut);

		part[11] = (uint8_t)(cut - 12);
		cr_assert_eq(check_resealed(part, cut), cut == count ? 0 : -EBADMSG, "%zu", cut);
		free(part);
	}
	free(bytes);
}

/* Base offset and leader epoch are the log's own and outside every checksum of the batch. */
Test(batch, every_flipped_bit_under_the_checksum_is_refused)
{
	static const char *const vectors[] = {plain, idempotent, zstd, rd_snappy};

	for (int v = 0; v < 4; v++) {
		struct mr_batch_header header;
		size_t count;
		uint8_t *bytes = from_hex(vectors[v], &count);

		for (size_t bit = 0; bit < 8 * count; bit++) {
			size_t byte = bit / 8;
			bool placed = (byte < 8 && bit != 7) || (byte >= 12 && byte < 16);

			bytes[byte] ^= (uint8_t)(1 << bit % 8);
			cr_assert_eq(mr_batch_check(bytes, count, true, &header, NULL),
				     placed ? 0 : -EBADMSG, "vector %d, bit %zu", v, bit);
			bytes[byte] ^= (uint8_t)(1 << bit % 8);
		}
		free(bytes);
	}
}

/* With the checksum made right, each bit may give a batch or not, but never harm (ASan, UBSan). */
Test(batch, flipped_bits_under_a_right_checksum_do_no_harm)
{
	size_t count;
	uint8_t *bytes = from_hex(idempotent, &count);

	for (size_t one = 8 * 16; one < 8 * count; one++)
		for (size_t other = one; other < 8 * count; other++) {
			uint8_t *copy = exact(bytes, count);

			copy[one / 8] ^= (uint8_t)(1 << one % 8);
			copy[other / 8] ^= (uint8_t)(1 << other % 8);
			check_resealed(copy, count);
			free(copy);
		}
	free(bytes);
}

Test(batch, garbage_is_refused)
{
	uint8_t bytes[256];
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		struct mr_batch_header header;

		for (size_t i = 0; i < sizeof(bytes); i++) {
			seed = seed * 1664525 + 1013904223;
			bytes[i] = (uint8_t)(seed >> 24);
		}
		bytes[16] = 2;
		cr_assert_eq(mr_batch_check(bytes, sizeof(bytes), true, &header, NULL), -EBADMSG);
	}
}

/* What the records area may not be, beside its nearest neighbours that it may. */
static const struct {
	const char *what;
	int32_t count;
	const char *records;
	int result;
} areas[] = {
	{"smallest record", 1, "0c000000010000", 0},
	{"no record although one is announced", 1, "", -EBADMSG},
	{"two although one is announced", 1, "0c0000000100000c000002010000", -EBADMSG},
	{"one although two are announced", 2, "0c000000010000", -EBADMSG},
	{"two", 2, "0c0000000100000c000002010000", 0},
	{"the same offset twice", 2, "0c0000000100000c000000010000", -EBADMSG},
	{"offsets that go back", 2, "0c0000020100000c000000010000", -EBADMSG},
	{"an offset above the last delta", 1, "0c000002010000", -EBADMSG},
	{"a negative offset delta", 1, "0c000001010000", -EBADMSG},
	{"a length of -1", 1, "01000000010000", -EBADMSG},
	{"a length of 0", 1, "00", -EBADMSG},
	{"a record longer than the batch", 1, "0e000000010000", -EBADMSG},
	{"a record shorter than its fields", 1, "0a000000010000", -EBADMSG},
	{"a byte after the headers", 1, "0e00000001000000", -EBADMSG},
	{"a key of -2", 1, "0c000000030000", -EBADMSG},
	{"a value of -2", 1, "0c000000010300", -EBADMSG},
	{"-1 headers", 1, "0c000000010001", -EBADMSG},
	{"a header where there is none", 1, "0c000000010002", -EBADMSG},
	{"a header", 1, "100000000100020001", 0},
	{"a header with a null name", 1, "100000000100020101", -EBADMSG},
	{"a header with a value of -2", 1, "100000000100020003", -EBADMSG},
	{"a header fewer than announced", 1, "100000000100040001", -EBADMSG},
	{"a header more than announced", 1, "1400000001000200010001", -EBADMSG},
	{"more headers than bytes", 1, "180000000100fcffffff0f0001", -EBADMSG},
	{"a key that runs into the next record", 2, "0c0000001000000c000002010000", -EBADMSG},
	{"a value that ends beyond the batch", 1, "0c000000010200", -EBADMSG},
	{"a key as long as numbers go", 1, "14000000feffffff0f0000", -EBADMSG},
	{"a length in six bytes", 1, "8c8080808000000000010000", -EBADMSG},
	{"a length of 33 bits", 1, "8c80808010000000010000", -EBADMSG},
	{"a length in more bytes than needed", 1, "8c00000000010000", 0},
	{"an offset delta of 33 bits", 1, "1400008080808010010000", -EBADMSG},
	{"a timestamp delta of 64 bits", 1, "1e00ffffffffffffffffff0100010000", 0},
	{"a timestamp delta of 65 bits", 1, "1e00ffffffffffffffffff0200010000", -EBADMSG},
	{"a timestamp delta without end", 1, "1e00ffffffffffffffffffff00010000", -EBADMSG},
};

Test(batch, malformed_records_are_refused)
{
	for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++)
		cr_assert_eq(check_records_hex(areas[i].count, areas[i].records), areas[i].result,
			     "%s", areas[i].what);
}

/* Sets the big-endian field of 'width' bytes at 'offset' in a copy of the plain vector. */
static int check_field(size_t offset, size_t width, int64_t value, bool control_allowed)
{
	struct mr_batch_header header;
	size_t count;
	uint8_t *bytes = from_hex(idempotent, &count);
	int r;

	for (size_t i = 0; i < width; i++)
		bytes[offset + i] = (uint8_t)((uint64_t)value >> 8 * (width - 1 - i));
	check_resealed(bytes, count);
	r = mr_batch_check(bytes, count, control_allowed, &header, NULL);
	free(bytes);
	return r;
}

Test(batch, header_fields_out_of_bounds_are_refused)
{
	cr_assert_eq(check_field(16, 1, 2, false), 0);
	cr_assert_eq(check_field(16, 1, 1, false), -EBADMSG);
	cr_assert_eq(check_field(16, 1, 3, false), -EBADMSG);
	cr_assert_eq(check_field(8, 4, 48, false), -EBADMSG);
	cr_assert_eq(check_field(8, 4, 0, false), -EBADMSG);
	cr_assert_eq(check_field(8, 4, -1, false), -EBADMSG);
	cr_assert_eq(check_field(8, 4, INT32_MIN, false), -EBADMSG);
	cr_assert_eq(check_field(8, 4, INT32_MAX, false), -EBADMSG);
	for (int codec = 5; codec < 8; codec++)
		cr_assert_eq(check_field(21, 2, codec, false), -EBADMSG);
	for (int bit = 7; bit < 16; bit++)
		cr_assert_eq(check_field(21, 2, 1 << bit, false), -EBADMSG);
	cr_assert_eq(check_field(21, 2, MR_BATCH_TRANSACTIONAL, false), 0);
	cr_assert_eq(check_field(21, 2, MR_BATCH_CONTROL, false), -EBADMSG);
	cr_assert_eq(check_field(21, 2, MR_BATCH_CONTROL, true), 0);
	cr_assert_eq(check_field(23, 4, 3, false), -EBADMSG);
	cr_assert_eq(check_field(23, 4, 1, false), -EBADMSG);
	cr_assert_eq(check_field(23, 4, -1, false), -EBADMSG);
	cr_assert_eq(check_field(57, 4, 0, false), -EBADMSG);
	cr_assert_eq(check_field(57, 4, -1, false), -EBADMSG);
	cr_assert_eq(check_field(57, 4, 4, false), -EBADMSG);
	cr_assert_eq(check_field(57, 4, INT32_MIN, false), -EBADMSG);
}

Test(batch, a_producer_id_needs_epoch_and_sequence)
{
	cr_assert_eq(check_field(51, 2, -1, false), -EBADMSG);
	cr_assert_eq(check_field(51, 2, INT16_MAX, false), 0);
	cr_assert_eq(check_field(51, 2, INT16_MIN, false), -EBADMSG);
	cr_assert_eq(check_field(53, 4, -1, false), -EBADMSG);
	cr_assert_eq(check_field(53, 4, INT32_MAX, false), 0);
	cr_assert_eq(check_field(53, 4, -2, false), -EBADMSG);
	cr_assert_eq(check_field(43, 8, -1, false), 0);
	cr_assert_eq(check_field(43, 8, -2, false), -EBADMSG);
	cr_assert_eq(check_field(43, 8, INT64_MAX, false), 0);
}

/* ---- what compaction leaves ---- */

/* Takes the middle record out of the plain vector: deltas 0 and 2, last offset delta 2. */
static uint8_t *compacted(size_t *count, uint8_t record_count)
{
	uint8_t *bytes = from_hex(plain, count);
	size_t kept = record_count == 2 ? 20 + 18 : 0;

	memmove(bytes + 81, bytes + 90, 18);
	*count = 61 + kept;
	bytes[11] = (uint8_t)(*count - 12);
	bytes[60] = record_count;
	check_resealed(bytes, *count);
	return bytes;
}

Test(batch, gaps_are_read_but_not_taken_from_outside)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	size_t count;
	uint8_t *bytes = compacted(&count, 2);

	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), 0);
	cr_assert_eq(mr_batch_check_crc(bytes, &header), 0);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.offset, 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(message.offset, 2);
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	cr_assert_eq(mr_batch_check(bytes, count, true, &header, NULL), -EBADMSG);
	free(bytes);
}

Test(batch, an_empty_batch_is_read_but_not_taken_from_outside)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	size_t count;
	uint8_t *bytes = compacted(&count, 0);

	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), 0);
	cr_assert_eq(mr_batch_check_crc(bytes, &header), 0);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	cr_assert_eq(mr_batch_next(&reader, &message), 0);
	cr_assert_eq(mr_batch_check(bytes, count, true, &header, NULL), -EBADMSG);
	free(bytes);
}

Test(batch, a_reader_stays_where_the_damage_is)
{
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	size_t count;
	uint8_t *bytes = from_hex(plain, &count);

	cr_assert_eq(mr_batch_decode_header(bytes, count, &header), 0);
	cr_assert_eq(mr_batch_read(&reader, bytes, &header), 0);
	bytes[81] = 0xff;
	cr_assert_eq(mr_batch_next(&reader, &message), 1);
	cr_assert_eq(mr_batch_next(&reader, &message), -EBADMSG);
	cr_assert_eq(mr_batch_next(&reader, &message), -EBADMSG);
	cr_assert_eq(mr_batch_check_crc(bytes, &header), -EBADMSG);
	free(bytes);
}

/* ---- memory that changes while it is read ---- */

struct shifting {
	uint8_t *bytes;
	size_t count;
	atomic_bool stop;
};

/* Puts one byte after the other to something else and back, as a hostile process would. */
static void *shift_bytes(void *argument)
{
	static const uint8_t nasty[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct shifting *shifting = argument;

	for (size_t i = 0; !atomic_load(&shifting->stop); i++) {
		uint8_t *at = shifting->bytes + i % shifting->count;
		uint8_t before = __atomic_load_n(at, __ATOMIC_RELAXED);

		__atomic_store_n(at, nasty[i % sizeof(nasty)], __ATOMIC_RELAXED);
		__atomic_store_n(at, before, __ATOMIC_RELAXED);
	}
	return NULL;
}

static bool lies_within(const struct shifting *shifting, const void *field, int64_t bytes)
{
	const uint8_t *at = field;

	if (!at)
		return bytes == -1;
	return bytes >= 0 && at >= shifting->bytes && at <= shifting->bytes + shifting->count &&
	       bytes <= shifting->bytes + shifting->count - at;
}

Test(batch, nothing_outside_is_handed_out_when_the_memory_changes)
{
	struct shifting shifting = {0};
	struct mr_batch_header header;
	struct mr_batch_reader reader;
	struct mr_message message;
	struct mr_header one;
	pthread_t thread;

	shifting.bytes = from_hex(plain, &shifting.count);
	cr_assert_eq(pthread_create(&thread, NULL, shift_bytes, &shifting), 0);
	for (int round = 0; round < 200000; round++) {
		if (mr_batch_decode_header(shifting.bytes, shifting.count, &header) < 0)
			continue;
		cr_assert_leq(header.total_bytes, shifting.count);
		if (mr_batch_read(&reader, shifting.bytes, &header) < 0)
			continue;
		while (mr_batch_next(&reader, &message) > 0) {
			cr_assert(lies_within(&shifting, message.key, message.key_bytes));
			cr_assert(lies_within(&shifting, message.value, message.value_bytes));
			cr_assert(lies_within(&shifting, message.headers, message.header_bytes));
			for (uint32_t i = 0; mr_message_header(&message, i, &one) == 0; i++) {
				cr_assert(lies_within(&shifting, one.name, one.name_bytes));
				cr_assert(lies_within(&shifting, one.value, one.value_bytes));
			}
		}
	}
	atomic_store(&shifting.stop, true);
	pthread_join(thread, NULL);
	free(shifting.bytes);
}
