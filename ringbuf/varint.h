/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The variable-length integers inside records: zigzag, then seven bits a byte, low group first.
 * Pure; any thread. A reader loads each byte once, so that memory which changes while it is read
 * can give a wrong number but never a read outside [at, end).
 */
#ifndef MR_VARINT_H
#define MR_VARINT_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t mr_varint_zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

/* Bytes that a zigzagged number takes: 1 to 10. Nearly all take 1 or 2. */
static inline size_t mr_varint_bytes(uint64_t zigzag)
{
	if (__builtin_expect(zigzag < 0x80, 1))
		return 1;
	if (__builtin_expect(zigzag < 0x4000, 1))
		return 2;
	return (size_t)(70 - __builtin_clzll(zigzag)) / 7;
}

/* Writes exactly mr_varint_bytes() bytes and returns the byte after them. */
static inline uint8_t *mr_varint_put(uint8_t *at, uint64_t zigzag)
{
	if (__builtin_expect(zigzag < 0x80, 1)) {
		*at = (uint8_t)zigzag;
		return at + 1;
	}
	while (zigzag >= 0x80) {
		*at++ = (uint8_t)(zigzag | 0x80);
		zigzag >>= 7;
	}
	*at = (uint8_t)zigzag;
	return at + 1;
}

/* Relaxed: it orders nothing; it only keeps the compiler from reading a byte twice. */
static inline uint8_t mr_varint_load(const uint8_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/*
 * Reads a number of at most 'bits' (32 or 64) bits and returns the byte after it, or NULL when it
 * ends beyond 'end' or does not fit.
 */
static inline const uint8_t *mr_varint_get_bits(const uint8_t *at, const uint8_t *end,
						unsigned bits, int64_t *value)
{
	uint64_t raw = 0;

	if (at < end) { /* most take one byte */
		raw = mr_varint_load(at);
		if (__builtin_expect(raw < 0x80, 1)) {
			*value = (int64_t)(raw >> 1 ^ (0 - (raw & 1)));
			return at + 1;
		}
		raw &= 0x7f;
		at++;
	}
	for (unsigned shift = 7; shift < bits && at < end; shift += 7) {
		uint64_t byte = mr_varint_load(at++);

		if (shift + 7 > bits && byte >> (bits - shift) != 0)
			return NULL;
		raw |= (byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = (int64_t)(raw >> 1 ^ (0 - (raw & 1)));
			return at;
		}
	}
	return NULL;
}

static inline const uint8_t *mr_varint_get(const uint8_t *at, const uint8_t *end, int32_t *value)
{
	int64_t wide;

	at = mr_varint_get_bits(at, end, 32, &wide);
	if (at)
		*value = (int32_t)wide;
	return at;
}

static inline const uint8_t *mr_varlong_get(const uint8_t *at, const uint8_t *end, int64_t *value)
{
	return mr_varint_get_bits(at, end, 64, value);
}

/*
 * Reads a length of -1 or more and the bytes that it announces. 'field' is NULL and 'bytes' -1 for
 * a null field. Returns the byte after the field, or NULL.
 */
static inline const uint8_t *mr_varint_get_field(const uint8_t *at, const uint8_t *end,
						 const void **field, int32_t *bytes)
{
	int32_t count;

	at = mr_varint_get(at, end, &count);
	if (!at || count < -1 || count > end - at)
		return NULL;
	*bytes = count;
	*field = count < 0 ? NULL : at;
	return count < 0 ? at : at + count;
}

#endif
