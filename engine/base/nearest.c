/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nearest word: the distance of optimal string alignment, in three rows. Any thread.
 */
#include "nearest.h"

#include <string.h>

static size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	size_t rows[3][MR_NEAREST_BYTES_MAX + 1];

	for (size_t k = 0; k <= b_bytes; k++)
		rows[0][k] = k;
	for (size_t i = 1; i <= a_bytes; i++) {
		const size_t *before = rows[(i - 1) % 3];
		const size_t *before_that = rows[(i + 1) % 3];
		size_t *row = rows[i % 3];

		row[0] = i;
		for (size_t k = 1; k <= b_bytes; k++) {
			row[k] = lesser(before[k - 1] + (a[i - 1] != b[k - 1]),
					lesser(before[k], row[k - 1]) + 1);
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				row[k] = lesser(row[k], before_that[k - 2] + 1);
		}
	}
	return rows[a_bytes % 3][b_bytes];
}

void mr_nearest_begin(struct mr_nearest *nearest, const char *text, size_t text_bytes)
{
	*nearest = (struct mr_nearest){
		.text = text, .text_bytes = text_bytes, .distance = MR_NEAREST_BYTES_MAX};
}

void mr_nearest_offer(struct mr_nearest *nearest, const char *word, size_t word_bytes)
{
	size_t away;

	if (nearest->text_bytes > MR_NEAREST_BYTES_MAX || word_bytes > MR_NEAREST_BYTES_MAX)
		return;
	away = distance(nearest->text, nearest->text_bytes, word, word_bytes);
	if (away >= nearest->distance)
		return;
	nearest->distance = away;
	nearest->word = word;
	nearest->word_bytes = word_bytes;
}

const char *mr_nearest_word(const struct mr_nearest *nearest, size_t *bytes)
{
	if (!nearest->word || nearest->distance > (nearest->text_bytes + 2) / 3)
		return NULL;
	if (bytes)
		*bytes = nearest->word_bytes;
	return nearest->word;
}

bool mr_nearest_hint(const struct mr_nearest *nearest, struct mr_error *err)
{
	size_t bytes;
	const char *word = mr_nearest_word(nearest, &bytes);

	if (word)
		mr_error_hint(err, "did you mean '%.*s'?", (int)bytes, word);
	return word != NULL;
}
