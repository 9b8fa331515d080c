/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the messages that stand alone: hello, refusal and notice. They come back as
 * they were said, and nothing else does; their form is that of every version.
 */
#include "feed_codec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"

#define CAPACITY (64u << 10)
#define VERSION	 1

static const struct mr_feed_hello hello = {.version_min = 1,
					   .version_max = 3,
					   .node = 63,
					   .cluster_id = {0xc1, 0xc2, [15] = 0xcf},
					   .log_id = {0xd1, 0xd2, [15] = 0xdf},
					   .incarnation = 0x4142434445464748u,
					   .capabilities = 0x8000000000000001u,
					   .name = "host-b.example"};

static uint8_t bytes[CAPACITY];
static struct mr_feed_header header;
static struct mr_error err;

static void put_u32(uint32_t at, uint32_t value)
{
	memcpy(bytes + at, &value, sizeof(value));
}

/* Both checksums as they should be: what is refused then is refused for what it says. */
static void seal(void)
{
	struct mr_feed_header *h = (struct mr_feed_header *)(void *)bytes;

	h->payload_crc = mr_crc32c(0, bytes + 24 + h->head_bytes, h->payload_bytes);
	h->head_crc = 0;
	h->head_crc = mr_crc32c(0, bytes, 24 + h->head_bytes);
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

Test(feed_hello, a_hello_comes_back)
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
Test(feed_hello, a_hello_has_the_bytes_of_the_format)
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

Test(feed_hello, names_are_bounded_and_printable)
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

Test(feed_hello, refuses_a_hello_out_of_bounds)
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

Test(feed_hello, a_refusal_comes_back_readable)
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

Test(feed_hello, refuses_a_refusal_out_of_bounds)
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

Test(feed_hello, refuses_every_flipped_bit_of_a_hello_and_a_refusal)
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

Test(feed_hello, a_notice_has_the_bytes_of_the_format)
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

Test(feed_hello, a_notice_has_its_bounds)
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

Test(feed_hello, refuses_a_notice_that_was_changed)
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

/* ---- signs of life ---- */

Test(feed_hello, a_sign_of_life_says_nothing_else)
{
	mr_feed_encode_alive(2, bytes);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, 2, &header, &err), 0);
	cr_assert_eq(header.kind, MR_FEED_ALIVE);
	cr_assert_eq(mr_feed_body_bytes(&header), 0);
	cr_assert_eq(mr_feed_decode_alive(&header, &err), 0);
	cr_assert_eq(mr_feed_decode_header(bytes, 24, 0, &header, &err), -EBADMSG, "before hello");
	cr_assert_eq(mr_feed_decode_header(bytes, 24, 1, &header, &err), -EBADMSG, "version");
	for (uint32_t bit = 0; bit < 24 * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert(mr_feed_decode_header(bytes, 24, 2, &header, &err) < 0 ||
				  mr_feed_decode_alive(&header, &err) < 0,
			  "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* ---- versions ---- */

Test(feed_hello, the_lower_of_the_highest_versions_is_spoken)
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
