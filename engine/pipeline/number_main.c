/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the table of powers of ten that number.c is built with, by exact arithmetic on long
 * integers; runs during the build.
 *
 * Row k holds ceil(10^k / 2^e), in two words, with e such that 2^127 <= row < 2^128. 10^k is 5^k
 * shifted, so 5^k is kept: exactly for k >= 0, and as floor(2^1023 / 5^-k) for k < 0. The floor of
 * the floor of a quotient is the floor of the whole quotient, so nothing adds up; none of these is
 * exact.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST (-342)
#define MOST  324
#define WORDS 32 /* 1024 bits: 5^324 has 753; 2^1023 / 5^342 has 229 */

static uint32_t number[WORDS]; /* lowest first */

static void multiply(uint32_t by)
{
	uint64_t carry = 0;

	for (int i = 0; i < WORDS; i++) {
		carry += (uint64_t)number[i] * by;
		number[i] = (uint32_t)carry;
		carry >>= 32;
	}
}

static void divide(uint32_t by)
{
	uint64_t rest = 0;

	for (int i = WORDS - 1; i >= 0; i--) {
		rest = rest << 32 | number[i];
		number[i] = (uint32_t)(rest / by);
		rest %= by;
	}
}

/* Bits from 'lowest' on, 64 of them; those below 0 are zero. */
static uint64_t bits(int lowest)
{
	uint64_t word = 0;

	for (int i = 0; i < 64; i++) {
		int bit = lowest + i;

		if (bit >= 0 && number[bit / 32] >> bit % 32 & 1)
			word |= UINT64_C(1) << i;
	}
	return word;
}

static int highest_bit(void)
{
	int bit = WORDS * 32 - 1;

	while (!(number[bit / 32] >> bit % 32 & 1))
		bit--;
	return bit;
}

static bool any_below(int bit)
{
	while (--bit >= 0) {
		if (number[bit / 32] >> bit % 32 & 1)
			return true;
	}
	return false;
}

static void write_row(FILE *file, int power)
{
	int top = highest_bit();
	uint64_t high = bits(top - 63);
	uint64_t low = bits(top - 127);

	if (power < 0 || any_below(top - 127))
		high += ++low == 0;
	if (high == 0)
		abort(); /* it does not come up */
	fprintf(file, "\t{0x%016llx, 0x%016llx}, /* %d */\n", (unsigned long long)high,
		(unsigned long long)low, power);
}

static void set_number(int bit)
{
	memset(number, 0, sizeof(number));
	number[bit / 32] = UINT32_C(1) << bit % 32;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 2 ? fopen(argv[1], "w") : NULL;

	if (!file)
		return 2;
	fprintf(file, "/* SPDX-License-Identifier: Apache-2.0 */\n");
	fprintf(file, "#define POWER_LEAST (%d)\n#define POWER_MOST %d\n", LEAST, MOST);
	fprintf(file, "static const uint64_t powers[][2] = {\n");
	for (int power = LEAST; power < 0; power++) {
		set_number(WORDS * 32 - 1);
		for (int i = power; i < 0; i++)
			divide(5);
		write_row(file, power);
	}
	set_number(0);
	for (int power = 0; power <= MOST; power++) {
		write_row(file, power);
		multiply(5);
	}
	fprintf(file, "};\n");
	return fclose(file) == 0 ? 0 : 1;
}
