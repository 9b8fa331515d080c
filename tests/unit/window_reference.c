/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Window functions say what NumPy and SciPy say: tests/reference/windows.txt, which is described
 * in the script beside it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "window.h"

#define SAMPLES_MAX 1000
#define WEIGHTS_MAX 16
#define CLOSE	    1e-12 /* of the scale that the reference gives */

struct reference {
	double weights[WEIGHTS_MAX];
	uint32_t weight_count;
	int64_t times[SAMPLES_MAX];
	double values[SAMPLES_MAX];
	uint32_t count;
	char stream[32];
	uint32_t compared;
	bool seen[MR_WINDOW_FUNCTIONS][3];
};

static void *push(void *block, const struct mr_window_plan *plan, int64_t time_ms, double value)
{
	uint32_t capacity = mr_window_block_capacity(block) * 2;
	void *larger;

	if (mr_window_block_push(plan, block, time_ms, value) == 0)
		return block;
	larger = malloc(mr_window_block_bytes(plan, capacity));
	mr_window_block_grow(plan, block, larger, capacity);
	free(block);
	cr_assert_eq(mr_window_block_push(plan, larger, time_ms, value), 0);
	return larger;
}

static double result_of(const struct reference *reference, const struct mr_window_spec *spec)
{
	struct mr_error err = {0};
	struct mr_window_plan *plan;
	uint32_t capacity;
	double result;
	void *block;

	cr_assert_eq(mr_window_plan_new(spec, 1, &plan, &err), 0, "%s", err.what);
	capacity = mr_window_plan_capacity(plan);
	block = malloc(mr_window_block_bytes(plan, capacity));
	mr_window_block_init(plan, block, capacity);
	for (uint32_t i = 0; i < reference->count; i++)
		block = push(block, plan, reference->times[i], reference->values[i]);
	mr_window_block_results(plan, block, &result);
	free(block);
	mr_window_plan_free(plan);
	return result;
}

static void compare(struct reference *reference, const char *words)
{
	static const char *const extents[] = {"count", "time", "tumbling"};
	char fn[32];
	char extent[32];
	char numbers[3][40];
	long long size;
	double parameter, expected, scale, found;
	struct mr_window_spec spec = {0};

	cr_assert_eq(sscanf(words, "%31s %31s %lld %39s %39s %39s", fn, extent, &size, numbers[0],
			    numbers[1], numbers[2]),
		     6, "%s", words);
	parameter = strtod(numbers[0], NULL);
	expected = strtod(numbers[1], NULL);
	scale = strtod(numbers[2], NULL);
	cr_assert_eq(mr_window_function_find(fn, strlen(fn), &spec.fn), 0, "%s", fn);
	while (strcmp(extents[spec.extent], extent) != 0)
		spec.extent++;
	spec.count = spec.extent == MR_WINDOW_BY_COUNT ? (uint32_t)size : 0;
	spec.span_ms = size;
	spec.parameter = parameter;
	if (spec.fn == MR_WINDOW_WEIGHTED_AVERAGE) {
		spec.weights = reference->weights;
		spec.weight_count = reference->weight_count;
	}
	found = result_of(reference, &spec);
	cr_assert((isnan(expected) && isnan(found)) ||
			  fabs(found - expected) <= CLOSE * scale + 4e-16 * fabs(expected),
		  "%s: %s: found %.17g", reference->stream, words, found);
	reference->compared++;
	reference->seen[spec.fn][spec.extent] = true;
}

static void take_line(struct reference *reference, const char *line)
{
	char *rest;

	if (strncmp(line, "stream ", 7) == 0) {
		snprintf(reference->stream, sizeof(reference->stream), "%.*s",
			 (int)strcspn(line + 7, "\n"), line + 7);
		reference->count = 0;
	} else if (strncmp(line, "sample ", 7) == 0) {
		cr_assert(reference->count < SAMPLES_MAX);
		reference->times[reference->count] = strtoll(line + 7, &rest, 10);
		reference->values[reference->count++] = strtod(rest, NULL);
	} else if (strncmp(line, "weights ", 8) == 0) {
		for (rest = (char *)line + 8; *rest != '\n' && *rest;)
			reference->weights[reference->weight_count++] = strtod(rest, &rest);
	} else if (strncmp(line, "result ", 7) == 0) {
		compare(reference, line + 7);
	}
}

Test(window_reference, windows_say_what_numpy_and_scipy_say)
{
	static struct reference reference;
	char line[256];
	FILE *file = fopen(MR_SOURCE_ROOT "/tests/reference/windows.txt", "r");

	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file))
		take_line(&reference, line);
	(void)fclose(file); /* it was only read */
	cr_assert_gt(reference.compared, 900);
	for (uint32_t fn = 0; fn < MR_WINDOW_FUNCTIONS; fn++)
		for (uint32_t extent = 0; extent < 3; extent++)
			cr_assert(reference.seen[fn][extent] ||
					  (extent > 0 && !mr_window_functions[fn].by_time),
				  "%s was not compared", mr_window_functions[fn].name);
}
