/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the published values; every length, alignment and split gives what one bit after
 * the other gives; the portable code and the processor's instruction agree; another update comes in
 * for long runs only.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

#define LENGTH_MAX 2048u

static uint32_t bit_by_bit(uint32_t crc, const uint8_t *bytes, size_t count)
{
	crc = ~crc;
	for (size_t i = 0; i < count; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static uint32_t portable(uint32_t crc, const void *bytes, size_t count)
{
	return ~mr_crc32c_portable(~crc, bytes, count);
}

static void fill(uint8_t *bytes, size_t count)
{
	uint32_t seed = 7;

	for (size_t i = 0; i < count; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

/* RFC 3720, appendix B.4. */
Test(crc32c, gives_the_published_values)
{
	static const uint8_t read_command[48] = {
		0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
		0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
	uint8_t bytes[32];

	memset(bytes, 0, 32);
	cr_assert_eq(mr_crc32c(0, bytes, 32), 0x8a9136aau);
	memset(bytes, 0xff, 32);
	cr_assert_eq(mr_crc32c(0, bytes, 32), 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	cr_assert_eq(mr_crc32c(0, bytes, 32), 0x46dd794eu);
	for (int i = 0; i < 32; i++)
		bytes[i] = (uint8_t)(31 - i);
	cr_assert_eq(mr_crc32c(0, bytes, 32), 0x113fdb5cu);
	cr_assert_eq(mr_crc32c(0, read_command, 48), 0xd9963a56u);
	cr_assert_eq(mr_crc32c(0, "123456789", 9), 0xe3069283u);
	cr_assert_eq(portable(0, "123456789", 9), 0xe3069283u);
}

Test(crc32c, nothing_changes_nothing)
{
	cr_assert_eq(mr_crc32c(0, "", 0), 0);
	cr_assert_eq(mr_crc32c(0x12345678, "", 0), 0x12345678u);
	cr_assert_eq(portable(0x12345678, "", 0), 0x12345678u);
}

Test(crc32c, every_length_agrees_with_the_reference)
{
	for (size_t count = 0; count <= LENGTH_MAX; count++) {
		uint8_t *bytes = malloc(count + 1);
		uint32_t wanted;

		fill(bytes, count);
		wanted = bit_by_bit(0, bytes, count);
		cr_assert_eq(mr_crc32c(0, bytes, count), wanted, "%zu", count);
		cr_assert_eq(portable(0, bytes, count), wanted, "%zu", count);
		wanted = bit_by_bit(0xdeadbeef, bytes, count);
		cr_assert_eq(mr_crc32c(0xdeadbeef, bytes, count), wanted, "%zu", count);
		cr_assert_eq(portable(0xdeadbeef, bytes, count), wanted, "%zu", count);
		free(bytes);
	}
}

/* Around each length at which another stretch of the three streams begins or ends. */
Test(crc32c, long_runs_agree_with_the_reference)
{
	const size_t most = 3 * 3 * 4096 + 64;
	uint8_t *bytes = malloc(most);

	fill(bytes, most);
	for (size_t edge = 3 * 512; edge + 16 < most; edge += 3 * 512)
		for (size_t count = edge - 9; count <= edge + 9; count += 3) {
			uint32_t wanted = portable(1, bytes, count);

			cr_assert_eq(mr_crc32c(1, bytes, count), wanted, "%zu", count);
		}
	cr_assert_eq(portable(1, bytes, most), bit_by_bit(1, bytes, most));
	free(bytes);
}

Test(crc32c, every_alignment_gives_the_same)
{
	static const size_t lengths[] = {1, 7, 8, 9, 64, 127, 128, 191, 192, 255, 256, 1536, 12289};
	uint8_t *source = malloc(12289);
	uint8_t *bytes = malloc(12289 + 64);

	fill(source, 12289);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t wanted = bit_by_bit(0, source, lengths[i]);

		for (size_t shift = 0; shift < 64; shift++) {
			memcpy(bytes + shift, source, lengths[i]);
			cr_assert_eq(mr_crc32c(0, bytes + shift, lengths[i]), wanted);
			cr_assert_eq(portable(0, bytes + shift, lengths[i]), wanted);
		}
	}
	free(source);
	free(bytes);
}

Test(crc32c, every_split_gives_the_same)
{
	uint8_t bytes[LENGTH_MAX];
	uint32_t wanted;

	fill(bytes, LENGTH_MAX);
	wanted = bit_by_bit(0, bytes, LENGTH_MAX);
	for (size_t cut = 0; cut <= LENGTH_MAX; cut++) {
		uint32_t first = mr_crc32c(0, bytes, cut);

		cr_assert_eq(mr_crc32c(first, bytes + cut, LENGTH_MAX - cut), wanted, "%zu", cut);
		cr_assert_eq(portable(first, bytes + cut, LENGTH_MAX - cut), wanted, "%zu", cut);
	}
}

static size_t replaced_calls;

static uint32_t counting_update(uint32_t state, const void *bytes, size_t count)
{
	replaced_calls++;
	return mr_crc32c_portable(state, bytes, count);
}

Test(crc32c, another_update_takes_the_long_runs_only)
{
	uint8_t bytes[512];
	uint32_t before;

	fill(bytes, sizeof(bytes));
	before = mr_crc32c(5, bytes, sizeof(bytes));
	mr_crc32c_use(counting_update);
	mr_crc32c(0, bytes, 255);
	cr_assert_eq(replaced_calls, 0);
	cr_assert_eq(mr_crc32c(5, bytes, sizeof(bytes)), before);
	mr_crc32c(0, bytes, 256);
	cr_assert_eq(replaced_calls, 2);
	mr_crc32c_use(NULL);
	cr_assert_eq(mr_crc32c(5, bytes, sizeof(bytes)), before);
	cr_assert_eq(replaced_calls, 2);
}
