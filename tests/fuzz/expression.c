/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: 8 numbers, then a condition, compiled and run on them. What must hold beside memory
 * safety: it ends, with one of three truths, the same for equal inputs; a refusal has its column
 * and leaves the scope alone.
 */
#include "expression.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

#define NUMBERS	  8
#define TEXT_MAX  2000
#define OWN_COUNT 2

static struct mr_window_spec specs[MR_WINDOWS_MAX];
static char names[MR_WINDOWS_MAX][64];

static void run(const struct mr_expression *expression, const double *numbers)
{
	double results[MR_WINDOWS_MAX], previous[MR_WINDOWS_MAX];
	struct mr_expression_input input = {
		.value = numbers[0],
		.time_s = numbers[1],
		.results = results,
		.previous_value = numbers[2],
		.previous_time_s = numbers[3],
		.previous_results = previous,
	};
	enum mr_truth truth;

	for (uint32_t i = 0; i < MR_WINDOWS_MAX; i++) {
		results[i] = numbers[4 + i % 2];
		previous[i] = numbers[6 + i % 2];
	}
	truth = mr_expression_run(expression, &input);
	fuzz_demand(truth == MR_FALSE || truth == MR_TRUE || truth == MR_UNKNOWN);
	fuzz_demand(mr_expression_run(expression, &input) == truth);
	fuzz_demand(mr_expression_implies(expression, expression));
	fuzz_demand(mr_expression_for_count(expression) >= 1);
	fuzz_demand(mr_expression_for_ms(expression) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
	struct mr_expression_scope scope = {.specs = specs, .names = names, .count = OWN_COUNT};
	struct mr_expression *expression = NULL;
	struct mr_error err = {.code = 0};
	double numbers[NUMBERS];
	char text[TEXT_MAX + 1];
	int r;

	if (count < sizeof(numbers) || count > sizeof(numbers) + TEXT_MAX)
		return 0;
	memcpy(numbers, data, sizeof(numbers));
	memcpy(text, data + sizeof(numbers), count - sizeof(numbers));
	text[count - sizeof(numbers)] = '\0';
	specs[0] = (struct mr_window_spec){.fn = MR_WINDOW_MEAN, .count = 16};
	specs[1] = (struct mr_window_spec){.fn = MR_WINDOW_MAX, .count = 8};
	memcpy(names[0], "avg", 4);
	memcpy(names[1], "peak", 5);
	r = mr_expression_compile(text, &scope, &expression, &err);
	if (r == 0) {
		fuzz_demand(scope.count <= MR_WINDOWS_MAX);
		run(expression, numbers);
		mr_expression_free(expression);
		return 0;
	}
	fuzz_demand(r == -EINVAL);
	fuzz_demand(scope.count == OWN_COUNT);
	fuzz_demand(strncmp(err.what, "column ", 7) == 0);
	return 0;
}
