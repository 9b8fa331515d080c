/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an entry to bytes and back: kind, channel, term and fields (format.h). Of
 * feed_codec.c, which makes messages of them; pure, as that is.
 */
#ifndef MR_FEED_ENTRY_H
#define MR_FEED_ENTRY_H

#include "feed_codec.h"

#define MR_FEED_ENTRY_BYTES_MIN 2u /* of a head: kind and channel */

/* Whether a number of a message is within its bounds. Beyond INT64_MAX it comes in negative. */
int mr_feed_check_range(const char *field, int64_t found, int64_t least, int64_t most,
			struct mr_error *err);
/* Whether all of an entry but its batches is within its bounds. */
int mr_feed_entry_check(const struct mr_feed_item *item, struct mr_error *err);
/* The newest that a version knows. */
enum mr_feed_kind mr_feed_entry_last_kind(uint8_t version);
/* Returns its size. item->term is not changed. */
uint32_t mr_feed_entry_put(const struct mr_feed_item *item, uint8_t head[MR_FEED_ENTRY_BYTES_MAX]);
/* The next head of a message; reader->terms hears its term. */
int mr_feed_entry_take(struct mr_feed_reader *reader, struct mr_feed_item *item,
		       struct mr_error *err);

#endif
