/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight bytes of text at a time in a register, the first byte lowest, on any machine. Nothing is
 * read outside of the text: behind its end are zeros.
 */
#ifndef MR_TEXT_H
#define MR_TEXT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MR_TEXT_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define MR_TEXT_TOPS	   MR_TEXT_EACH(0x80)

static inline uint64_t mr_text_load_all(const char *at)
{
	uint64_t eight;

	memcpy(&eight, at, sizeof(eight));
	return le64toh(eight);
}

/* The last 'bytes' of a text, fewer than 8: two loads that overlap. */
static inline uint64_t mr_text_load_few(const char *at, size_t bytes)
{
	uint32_t first, last;
	uint16_t low, high;

	if (bytes >= 4) {
		memcpy(&first, at, sizeof(first));
		memcpy(&last, at + bytes - 4, sizeof(last));
		return le32toh(first) | (uint64_t)le32toh(last) << (8 * (bytes - 4));
	}
	if (bytes >= 2) {
		memcpy(&low, at, sizeof(low));
		memcpy(&high, at + bytes - 2, sizeof(high));
		return le16toh(low) | (uint64_t)le16toh(high) << (8 * (bytes - 2));
	}
	return bytes ? (unsigned char)*at : 0;
}

static inline uint64_t mr_text_load(const char *at, const char *end)
{
	size_t bytes = (size_t)(end - at);

	return __builtin_expect(bytes >= 8, 1) ? mr_text_load_all(at) : mr_text_load_few(at, bytes);
}

/* The top bits of the bytes that are no digits. */
static inline uint64_t mr_text_not_digits(uint64_t eight)
{
	return ((eight + MR_TEXT_EACH(0x46)) | (eight - MR_TEXT_EACH('0')) | eight) & MR_TEXT_TOPS;
}

/* Which of eight bytes is the first that a mask of top bits names; 8: none. */
static inline unsigned mr_text_first(uint64_t tops)
{
	return tops ? (unsigned)__builtin_ctzll(tops) / 8 : 8;
}

#endif
