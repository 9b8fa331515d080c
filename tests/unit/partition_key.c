/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: a key goes where Kafka's Java client sends it; the version is the header's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "millrace.h"

/* The values that Kafka's own test of its murmur2 demands. */
static const struct {
	const char *key;
	int32_t hash;
} published[] = {
	{"21", -973932308},
	{"foobar", -790332482},
	{"a-little-bit-long-string", -985981536},
	{"a-little-bit-longer-string", -1486304829},
	{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
	{"abc", 479470107},
};

Test(partition_key, agrees_with_the_published_hashes)
{
	static const int32_t counts[] = {1, 2, 3, 7, 12, 100, 65536, INT32_MAX};

	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++)
		for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
			cr_assert_eq(mr_partition_of_key(published[i].key, strlen(published[i].key),
							 counts[j]),
				     (published[i].hash & 0x7fffffff) % counts[j], "%s of %d",
				     published[i].key, counts[j]);
}

/* Bytes are unsigned at every place of a word and of the rest: a signed read would smear the sign.
 */
Test(partition_key, takes_bytes_above_127_and_zeroes)
{
	uint8_t high[7];
	uint8_t zero[7] = {0};
	int32_t seen[16];

	memset(high, 0xff, sizeof(high));
	for (size_t count = 0; count < 8; count++) {
		seen[count] = mr_partition_of_key(high, count, INT32_MAX);
		seen[count + 8] = mr_partition_of_key(zero, count, INT32_MAX);
	}
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < i; j++)
			cr_assert(seen[i] != seen[j] || (i == 8 && j == 0), "%d %d", i, j);
}

Test(partition_key, a_key_of_no_bytes_is_a_key)
{
	cr_assert_eq(mr_partition_of_key("", 0, INT32_MAX), 275646681);
	cr_assert_eq(mr_partition_of_key(NULL, 0, INT32_MAX), 275646681);
}

Test(partition_key, needs_a_partition)
{
	cr_assert_eq(mr_partition_of_key("a", 1, 0), -EINVAL);
	cr_assert_eq(mr_partition_of_key("a", 1, -1), -EINVAL);
	cr_assert_eq(mr_partition_of_key("a", 1, INT32_MIN), -EINVAL);
	cr_assert_eq(mr_partition_of_key("a", 1, 1), 0);
}

Test(partition_key, the_version_is_that_of_the_header)
{
	cr_assert_str_eq(mr_version(), MR_VERSION);
}
