/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a plan, and any bytes as one of its blocks. What must hold: of a block that
 * mr_window_block_check() accepts every call stays in its bytes, ends, and leaves a block that it
 * accepts. The first bytes choose windows and calls. Mode 0 takes the rest as the block; mode 1
 * makes a good block by pushes and then changes bytes of it; mode 2 changes none.
 */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "window.h"

#define WINDOWS_MAX  6u
#define CAPACITY_MAX 300u

static const double weights[] = {3, 2, 1, 0.5, -0.25};

struct input {
	const uint8_t *data;
	size_t count;
};

static uint32_t byte(struct input *input)
{
	if (input->count == 0)
		return 0;
	input->count--;
	return *input->data++;
}

static void choose(struct input *input, struct mr_window_spec *spec)
{
	*spec = (struct mr_window_spec){.fn = byte(input) % MR_WINDOW_FUNCTIONS};
	spec->extent = byte(input) % 3;
	spec->count = 2 + byte(input) % 40;
	spec->span_ms = 1 + byte(input) * 3;
	spec->parameter = (1 + byte(input) % 8) / 8.0;
	if (!mr_window_functions[spec->fn].by_time) {
		spec->extent = MR_WINDOW_BY_COUNT;
		spec->weights = weights;
		spec->weight_count = spec->count < 5 ? spec->count : 5;
	}
}

static void use(const struct mr_window_plan *plan, uint32_t windows, const void *block)
{
	double results[MR_WINDOWS_MAX];
	int64_t time_ms;
	double value;

	mr_window_block_results(plan, block, results);
	fuzz_demand(mr_window_block_samples(block) <= mr_window_block_capacity(block));
	for (uint32_t i = 0; i < windows; i++)
		fuzz_demand(mr_window_block_reach(plan, block, i) <=
			    mr_window_block_samples(block));
	for (uint32_t back = 0; back < mr_window_block_samples(block); back++)
		fuzz_demand(mr_window_block_sample(plan, block, back, &time_ms, &value));
}

static int64_t next_time(struct input *input, const struct mr_window_plan *plan, const void *block)
{
	static const int64_t extremes[] = {INT64_MIN, INT64_MAX, 0, -1};
	int64_t newest = 0;
	double value;
	uint32_t how = byte(input);

	(void)mr_window_block_sample(plan, block, 0, &newest, &value); /* else it is 0 */
	if (how >= 252)
		return extremes[how - 252];
	return (int64_t)((uint64_t)newest + how - 60);
}

static double next_value(struct input *input)
{
	uint32_t how = byte(input);

	return ldexp((double)how - 128, how % 7 ? 0 : (int)byte(input) * 7 - 900);
}

static void *calls(struct input *input, const struct mr_window_plan *plan, uint32_t windows,
		   void *block)
{
	for (uint32_t i = 0; i < 200 && input->count > 0; i++) {
		uint32_t capacity = mr_window_block_capacity(block);
		void *larger;

		if (byte(input) % 16 == 0)
			mr_window_block_shed(plan, block);
		if (mr_window_block_push(plan, block, next_time(input, plan, block),
					 next_value(input)) < 0) {
			larger = malloc(mr_window_block_bytes(plan, capacity + 3));
			mr_window_block_grow(plan, block, larger, capacity + 3);
			free(block);
			block = larger;
		}
		use(plan, windows, block);
	}
	fuzz_demand(mr_window_block_check(
		plan, block, mr_window_block_bytes(plan, mr_window_block_capacity(block))));
	return block;
}

static void try_block(struct input *input, const struct mr_window_plan *plan, uint32_t windows)
{
	uint32_t mode = byte(input) % 3;
	uint32_t capacity = mr_window_plan_capacity(plan) + byte(input) % 8;
	size_t bytes = mr_window_block_bytes(plan, capacity);
	uint8_t *block = malloc(bytes);
	struct input first = {input->data, input->count / 2};

	mr_window_block_init(plan, block, capacity);
	if (mode == 0) {
		memcpy(block + 4, input->data, input->count < bytes - 4 ? input->count : bytes - 4);
	} else {
		block = calls(&first, plan, windows, block);
		bytes = mr_window_block_bytes(plan, mr_window_block_capacity(block));
		input->data += input->count / 2;
		input->count -= input->count / 2;
	}
	for (uint32_t i = 0; mode == 1 && i < 1 + byte(input) % 4; i++) {
		size_t at = (byte(input) << 8 | byte(input)) % bytes;

		block[at] = (uint8_t)byte(input);
	}
	fuzz_demand(mode != 2 || mr_window_block_check(plan, block, bytes));
	if (mr_window_block_check(plan, block, bytes)) {
		use(plan, windows, block);
		block = calls(input, plan, windows, block);
	}
	free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct input input = {data, count};
	struct mr_window_spec specs[WINDOWS_MAX];
	struct mr_window_plan *plan;
	uint32_t windows = 1 + byte(&input) % WINDOWS_MAX;

	for (uint32_t i = 0; i < windows; i++)
		choose(&input, &specs[i]);
	fuzz_demand(mr_window_plan_new(specs, windows, &plan, NULL) == 0);
	if (mr_window_plan_capacity(plan) <= CAPACITY_MAX)
		try_block(&input, plan, windows);
	mr_window_plan_free(plan);
	return 0;
}
