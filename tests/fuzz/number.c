/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes as a number's text, and as a double. What is read is what the C library
 * reads from the same text; what is written reads back.
 */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "number.h"

#define TEXT_MAX 4096

static int same(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void check_written(double value)
{
	char text[MR_NUMBER_TEXT_MAX + 1];
	size_t bytes = mr_number_write(text, value);
	double back;

	fuzz_demand(bytes <= MR_NUMBER_TEXT_MAX);
	if (!isfinite(value)) {
		fuzz_demand(bytes == 4 && memcmp(text, "null", 4) == 0);
		return;
	}
	fuzz_demand(mr_number_read(text, bytes, &back) == bytes);
	fuzz_demand(same(back, value));
	text[bytes] = '\0';
	fuzz_demand(same(strtod(text, NULL), value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_decimal decimal;
	char text[TEXT_MAX + 1];
	double value = 0;
	size_t taken;

	if (count > TEXT_MAX)
		return 0;
	taken = mr_number_read((const char *)data, count, &value);
	fuzz_demand(taken <= count);
	if (taken) {
		memcpy(text, data, taken);
		text[taken] = '\0';
		fuzz_demand(same(strtod(text, NULL), value));
		check_written(value);
	}
	taken = mr_decimal_read((const char *)data, count, MR_DECIMAL_LOOSE, &decimal);
	fuzz_demand(taken <= count);
	if (taken) {
		memcpy(text, data, taken);
		text[taken] = '\0';
		fuzz_demand(same(strtod(text, NULL), mr_decimal_value(&decimal)));
	}
	if (count == sizeof(value)) {
		memcpy(&value, data, sizeof(value));
		check_written(value);
	}
	return 0;
}
