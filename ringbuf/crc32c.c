/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C, on whatever the processor has. Runs on any thread; owns nothing but two function
 * pointers and a table that are filled in before main() and read only from then on.
 *
 * Portable: eight tables, eight bytes a step. With SSE4.2 the crc32 instruction takes eight bytes
 * in 3 cycles but can begin one every cycle, so a long run is cut into three equal stretches that
 * are computed side by side. A state is the polynomial of all bytes so far modulo P; bytes that
 * follow multiply it by x^8 each. So the stretches, of n bytes each, are put together as
 *
 *	state(A B C) = state(A) * x^(8 * 2n) + state(B) * x^(8 * n) + state(C)
 *
 * A carry-less product of two reflected 32-bit values is, read as 64 bits, a * b * x, and the crc32
 * instruction on it multiplies by x^32 modulo P: the constants are x^(16n - 33) and x^(8n - 33).
 */
#include "crc32c.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "check.h"

#define CRC32C_POLYNOMIAL   0x82f63b78u
#define REPLACED_FROM_BYTES 256u /* on shorter runs the built-in is faster */

static uint32_t table[8][256];
static uint32_t (*built_in)(uint32_t, const void *, size_t) = mr_crc32c_portable;
static uint32_t (*for_long_runs)(uint32_t, const void *, size_t) = mr_crc32c_portable;

uint32_t mr_crc32c_portable(uint32_t state, const void *bytes, size_t count)
{
	const uint8_t *at = bytes;

	for (; count >= 8; at += 8, count -= 8) {
		uint32_t low = state ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 |
					(uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);

		state = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^
			table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^ table[3][at[4]] ^
			table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
	}
	for (; count > 0; at++, count--)
		state = state >> 8 ^ table[0][(state ^ *at) & 0xff];
	return state;
}

static void fill_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t state = i;

		for (int bit = 0; bit < 8; bit++)
			state = state >> 1 ^ (state & 1 ? CRC32C_POLYNOMIAL : 0);
		table[0][i] = state;
	}
	for (int step = 1; step < 8; step++)
		for (uint32_t i = 0; i < 256; i++)
			table[step][i] =
				table[step - 1][i] >> 8 ^ table[0][table[step - 1][i] & 0xff];
}

#if defined(__x86_64__)
static uint64_t load_u64(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static uint16_t load_u16(const uint8_t *at)
{
	uint16_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* How three stretches of 'bytes' each are put together. */
struct stretch {
	size_t bytes;
	uint32_t over_two; /* x^(16 * bytes - 33) mod P */
	uint32_t over_one; /* x^(8 * bytes - 33) mod P */
};

static const struct stretch stretches[] = {
	{4096, 0x54a86326, 0x82f89c77},
	{512, 0x170076fa, 0xdd7e3b0c},
	{64, 0x0d3b6092, 0x9e4addf8},
};

__attribute__((target("sse4.2"))) static uint32_t update_one(uint32_t state, const void *bytes,
							     size_t count)
{
	const uint8_t *at = bytes;
	uint64_t wide = state;

	for (; count >= 8; at += 8, count -= 8)
		wide = _mm_crc32_u64(wide, load_u64(at));
	state = (uint32_t)wide;
	if (count & 4) {
		state = _mm_crc32_u32(state, load_u32(at));
		at += 4;
	}
	if (count & 2) {
		state = _mm_crc32_u16(state, load_u16(at));
		at += 2;
	}
	return count & 1 ? _mm_crc32_u8(state, *at) : state;
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t shift(uint32_t state, uint32_t power)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)state),
					       _mm_cvtsi32_si128((int)power), 0);

	return (uint64_t)_mm_cvtsi128_si64(product);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
update_stretch(uint32_t state, const uint8_t *at, const struct stretch *stretch)
{
	const uint8_t *end = at + stretch->bytes;
	uint64_t a = state;
	uint64_t b = 0;
	uint64_t c = 0;

	for (; at < end; at += 8) {
		a = _mm_crc32_u64(a, load_u64(at));
		b = _mm_crc32_u64(b, load_u64(at + stretch->bytes));
		c = _mm_crc32_u64(c, load_u64(at + 2 * stretch->bytes));
	}
	a = shift((uint32_t)a, stretch->over_two) ^ shift((uint32_t)b, stretch->over_one);
	return (uint32_t)_mm_crc32_u64(0, a) ^ (uint32_t)c;
}

/* Three streams while they last; a run too short for any of them is one stream from the start. */
static uint32_t update_three(uint32_t state, const void *bytes, size_t count)
{
	const uint8_t *at = bytes;

	if (count < 3 * stretches[mr_array_count(stretches) - 1].bytes)
		return update_one(state, at, count);
	for (size_t i = 0; i < mr_array_count(stretches); i++) {
		size_t step = 3 * stretches[i].bytes;

		for (; count >= step; at += step, count -= step)
			state = update_stretch(state, at, &stretches[i]);
	}
	return update_one(state, at, count);
}

__attribute__((constructor)) static void resolve(void)
{
	__builtin_cpu_init();
	fill_table();
	if (__builtin_cpu_supports("sse4.2"))
		built_in = __builtin_cpu_supports("pclmul") ? update_three : update_one;
	for_long_runs = built_in;
}
#else
__attribute__((constructor)) static void resolve(void)
{
	fill_table();
}
#endif

uint32_t mr_crc32c(uint32_t crc, const void *bytes, size_t count)
{
	return ~(count < REPLACED_FROM_BYTES ? built_in : for_long_runs)(~crc, bytes, count);
}

void mr_crc32c_use(uint32_t (*update)(uint32_t state, const void *bytes, size_t count))
{
	uint32_t (*wanted)(uint32_t, const void *, size_t) = update ? update : built_in;

	if (for_long_runs != wanted) /* a second engine in the process: others are reading it */
		for_long_runs = wanted;
}
