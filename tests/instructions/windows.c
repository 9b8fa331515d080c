/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a push and its results cost, in instructions, over windows of K samples. Run under valgrind
 * --tool=callgrind by windows.py, which reads the counts. Values go up and down at random; blocks
 * are full before anything is counted.
 *
 *	windows			does the work: every function alone, then the pair of
 *weighted_average and max as "pair", for K = 4 ... 4096 windows time KEYS	prints nanoseconds
 *instead, over blocks of so many keys in turn
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <valgrind/callgrind.h>

#include "check.h"
#include "window.h"

#define PUSHES	     8192u
#define TIMED_PUSHES 2000000u
#define STEP_MS	     10

static const uint32_t lengths[] = {4, 16, 256, 4096};

struct keys {
	struct mr_window_plan *plan;
	uint8_t *blocks;
	size_t bytes;
	uint32_t count;
	uint64_t seed;
	int64_t time_ms;
	int64_t late_ms; /* every other sample, by that much */
	double level;
};

static void keys_begin(struct keys *keys, const struct mr_window_spec *specs, uint32_t count,
		       uint32_t room)
{
	struct mr_error err = {0};
	int r = mr_window_plan_new(specs, count, &keys->plan, &err);
	uint32_t capacity;

	if (r < 0)
		fprintf(stderr, "%s\n", err.what);
	mr_assert(r == 0);
	capacity = mr_window_plan_capacity(keys->plan);
	if (specs[0].extent != MR_WINDOW_BY_COUNT)
		capacity = 4 * room + 64; /* samples come at random */
	keys->bytes = (mr_window_block_bytes(keys->plan, capacity) + 63) & ~(size_t)63;
	keys->blocks = aligned_alloc(64, keys->bytes * keys->count);
	mr_assert(keys->blocks);
	for (uint32_t i = 0; i < keys->count; i++)
		mr_window_block_init(keys->plan, keys->blocks + i * keys->bytes, capacity);
}

static void keys_end(struct keys *keys)
{
	mr_window_plan_free(keys->plan);
	free(keys->blocks);
}

static __attribute__((noinline)) double turn(struct keys *keys, uint32_t pushes)
{
	double results[MR_WINDOWS_MAX];
	double sum = 0;

	for (uint32_t i = 0; i < pushes; i++) {
		uint32_t key = (uint32_t)((keys->seed >> 32) * keys->count >> 32);
		uint8_t *block = keys->blocks + key * keys->bytes;

		keys->seed = keys->seed * 6364136223846793005u + 1442695040888963407u;
		keys->level += (double)(int64_t)keys->seed * 0x1p-63;
		keys->time_ms += STEP_MS;
		mr_assert(mr_window_block_push(keys->plan, block,
					       keys->time_ms - (i % 2) * keys->late_ms,
					       keys->level) == 0);
		mr_window_block_results(keys->plan, block, results);
		sum += results[0];
	}
	return sum;
}

static void count_one(const char *stage, const struct mr_window_spec *specs, uint32_t count,
		      uint32_t length, int64_t late_ms)
{
	struct keys keys = {.count = 1, .seed = 7, .late_ms = late_ms};
	char text[80];

	keys_begin(&keys, specs, count, length);
	(void)turn(&keys, 3 * length); /* only so that blocks are full */
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
	(void)turn(&keys, PUSHES);
	CALLGRIND_TOGGLE_COLLECT;
	snprintf(text, sizeof(text), "%s %u 0 0 %u", stage, length, PUSHES);
	CALLGRIND_DUMP_STATS_AT(text);
	keys_end(&keys);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void time_one(const char *stage, const struct mr_window_spec *specs, uint32_t count,
		     uint32_t length, uint32_t key_count)
{
	struct keys keys = {.count = key_count, .seed = 7};
	uint32_t warm =
		2 * length * key_count < TIMED_PUSHES ? 2 * length * key_count : TIMED_PUSHES;
	double best = INFINITY;
	double worst = 0;

	keys_begin(&keys, specs, count, length);
	(void)turn(&keys, warm); /* only so that blocks are full */
	for (uint32_t round = 0; round < 3; round++) {
		double began = seconds();
		double took;

		(void)turn(&keys, TIMED_PUSHES); /* only its time counts */
		took = (seconds() - began) / TIMED_PUSHES * 1e9;
		best = took < best ? took : best;
		worst = took > worst ? took : worst;
	}
	printf("%-18s K %5u  keys %6u  %6.1f ... %6.1f ns  block %zu bytes\n", stage, length,
	       key_count, best, worst, keys.bytes);
	keys_end(&keys);
}

static void one(const char *stage, const struct mr_window_spec *specs, uint32_t count,
		uint32_t length, uint32_t key_count)
{
	if (key_count > 0)
		time_one(stage, specs, count, length, key_count);
	else
		count_one(stage, specs, count, length, 0);
}

/* Windows by time that take a late sample in without looking at all that they hold. */
static void count_late(uint32_t length)
{
	static const enum mr_window_fn fns[] = {MR_WINDOW_MAX, MR_WINDOW_FIRST};
	char stage[64];

	for (size_t i = 0; i < mr_array_count(fns); i++) {
		struct mr_window_spec spec = {.fn = fns[i],
					      .extent = MR_WINDOW_BY_TIME,
					      .span_ms = (int64_t)length * STEP_MS};

		snprintf(stage, sizeof(stage), "%s_late", mr_window_functions[fns[i]].name);
		count_one(stage, &spec, 1, length, 2 * STEP_MS + STEP_MS / 2);
	}
}

static void all(uint32_t length, uint32_t key_count)
{
	static double weights[4096];
	char stage[64];

	for (uint32_t i = 0; i < length; i++)
		weights[i] = length - i;
	for (uint32_t fn = 0; fn < MR_WINDOW_FUNCTIONS; fn++) {
		struct mr_window_spec spec = {.fn = fn, .count = length};

		spec.parameter = fn == MR_WINDOW_EWMA || fn == MR_WINDOW_QUANTILE ? 0.25 : NAN;
		spec.weights = weights;
		spec.weight_count = length;
		one(mr_window_functions[fn].name, &spec, 1, length, key_count);
		if (!mr_window_functions[fn].by_time)
			continue;
		spec.extent = MR_WINDOW_BY_TIME;
		spec.span_ms = (int64_t)length * STEP_MS * (key_count ? key_count : 1);
		snprintf(stage, sizeof(stage), "%s_by_time", mr_window_functions[fn].name);
		one(stage, &spec, 1, length, key_count);
	}
	one("pair",
	    (struct mr_window_spec[]){{.fn = MR_WINDOW_WEIGHTED_AVERAGE,
				       .count = length,
				       .weights = weights,
				       .weight_count = length},
				      {.fn = MR_WINDOW_MAX, .count = length}},
	    2, length, key_count);
}

int main(int argc, char **argv)
{
	uint32_t keys = argc == 3 && strcmp(argv[1], "time") == 0
				? (uint32_t)strtoul(argv[2], NULL, 10)
				: 0;

	CALLGRIND_START_INSTRUMENTATION;
	for (uint32_t i = 0; i < mr_array_count(lengths); i++) {
		if (keys * (size_t)lengths[i] <= 4000000)
			all(lengths[i], keys);
		if (keys == 0)
			count_late(lengths[i]);
	}
	return 0;
}
