/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: the nearest word is the one with the fewest letters changed, added, left out or
 * swapped, of equal ones the first; what is too far away, or too long, is none.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "check.h"
#include "nearest.h"

static const char *const words[] = {"weighted_average", "max", "min",  "mean", "median", "mad",
				    "stddev",		"sum", "first"};

static void offer_all(struct mr_nearest *nearest, const char *text)
{
	mr_nearest_begin(nearest, text, strlen(text));
	for (size_t i = 0; i < mr_array_count(words); i++)
		mr_nearest_offer(nearest, words[i], strlen(words[i]));
}

static void expect(const char *text, const char *word, size_t distance)
{
	struct mr_nearest nearest;
	size_t bytes = 99;

	offer_all(&nearest, text);
	cr_assert_str_eq(mr_nearest_word(&nearest, &bytes), word, "%s", text);
	cr_assert_eq(bytes, strlen(word));
	cr_assert_eq(nearest.distance, distance, "%s: %zu", text, nearest.distance);
}

Test(nearest, counts_letters)
{
	expect("stddev", "stddev", 0);
	expect("stdev", "stddev", 1);
	expect("sttddev", "stddev", 1);
	expect("stddef", "stddev", 1);
	expect("stdedv", "stddev", 1); /* two letters swapped are one mistake */
	expect("weigthed_averaeg", "weighted_average", 2);
	expect("maen", "mean", 1);
	expect("ma", "max", 1); /* of max and mad the first */
}

Test(nearest, knows_none_that_is_far)
{
	static const char *const far[] = {"", "velocity", "xy",
					  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"};

	for (size_t i = 0; i < mr_array_count(far); i++) {
		struct mr_error err = {.hint = "as before"};
		struct mr_nearest nearest;

		offer_all(&nearest, far[i]);
		cr_assert_null(mr_nearest_word(&nearest, NULL), "%s", far[i]);
		cr_assert(!mr_nearest_hint(&nearest, &err));
		cr_assert_str_eq(err.hint, "as before");
	}
}

Test(nearest, needs_no_terminated_text)
{
	struct mr_error err = {.code = -1};
	struct mr_nearest nearest;

	mr_nearest_begin(&nearest, "fisrt|rest", 5);
	mr_nearest_offer(&nearest, "first_of_all", 5);
	cr_assert(mr_nearest_hint(&nearest, &err));
	cr_assert_str_eq(err.hint, "did you mean 'first'?");
}

Test(nearest, passes_over_words_that_are_too_long)
{
	char text[MR_NEAREST_BYTES_MAX + 1];
	struct mr_nearest nearest;

	memset(text, 'a', sizeof(text));
	mr_nearest_begin(&nearest, text, MR_NEAREST_BYTES_MAX);
	mr_nearest_offer(&nearest, text, sizeof(text));
	cr_assert_null(mr_nearest_word(&nearest, NULL));
	mr_nearest_offer(&nearest, text, MR_NEAREST_BYTES_MAX);
	cr_assert_eq(nearest.distance, 0);
}
