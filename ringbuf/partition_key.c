/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which partition a key belongs to. Any thread; owns nothing. MurmurHash2 by Austin Appleby, 32
 * bits, with the seed and the reading of bytes of the Java client of Kafka, so that both kinds of
 * producer agree on every key.
 */
#include <errno.h>

#include "millrace.h"

#define MURMUR2_SEED   0x9747b28cu
#define MURMUR2_FACTOR 0x5bd1e995u

static uint32_t murmur2(const uint8_t *at, uint32_t count)
{
	uint32_t hash = MURMUR2_SEED ^ count;

	for (; count >= 4; at += 4, count -= 4) {
		uint32_t word = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
				(uint32_t)at[3] << 24;

		word *= MURMUR2_FACTOR;
		word ^= word >> 24;
		hash = hash * MURMUR2_FACTOR ^ word * MURMUR2_FACTOR;
	}
	if (count > 0) {
		for (uint32_t i = 0; i < count; i++)
			hash ^= (uint32_t)at[i] << 8 * i;
		hash *= MURMUR2_FACTOR;
	}
	hash ^= hash >> 13;
	hash *= MURMUR2_FACTOR;
	return hash ^ hash >> 15;
}

int32_t mr_partition_of_key(const void *key, size_t key_bytes, int32_t partition_count)
{
	if (partition_count < 1)
		return -EINVAL;
	return (int32_t)(murmur2(key, (uint32_t)key_bytes) & 0x7fffffff) % partition_count;
}
