/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The known word that is most like one that is not: what a person probably meant. Pure.
 *
 *	struct mr_nearest nearest;
 *	mr_nearest_begin(&nearest, text, strlen(text));
 *	mr_nearest_offer(&nearest, "retention", strlen("retention"));	for each word there is
 *	mr_nearest_hint(&nearest, err);					"did you mean ...?"
 *
 * Near is what Damerau and Levenshtein count: letters to change, add, leave out, or swap with their
 * neighbour. What is further away than a third of the word is another word.
 */
#ifndef MR_NEAREST_H
#define MR_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

#define MR_NEAREST_BYTES_MAX 32 /* a longer word is near to none */

struct mr_nearest {
	const char *text; /* borrowed, as the words are */
	size_t text_bytes;
	const char *word; /* the nearest so far, of those that differ least the first; or NULL */
	size_t word_bytes;
	size_t distance;
};

void mr_nearest_begin(struct mr_nearest *nearest, const char *text, size_t text_bytes);
void mr_nearest_offer(struct mr_nearest *nearest, const char *word, size_t word_bytes);
/* NULL: none is near. Its length goes to *bytes, which may be NULL. */
const char *mr_nearest_word(const struct mr_nearest *nearest, size_t *bytes);
/* Says it as err's hint; false: none is near, and err is as before. */
bool mr_nearest_hint(const struct mr_nearest *nearest, struct mr_error *err);

#endif
