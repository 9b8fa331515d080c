/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expanding compressed record batches, for who reads records. The format is Kafka's: behind a
 * batch's header follows one LZ4 frame or one zstd frame (lz4_Frame_format.md; RFC 8878), which
 * holds the records. The codecs' libraries are opened at the first batch that needs them, so that
 * programs without compressed topics depend on libc only.
 *
 * What a frame makes is bounded before it is begun: the output never takes more than
 * MR_BATCH_EXPANDED_BYTES_MAX, and zstd works in one pass, with no window beside that output. Bytes
 * may be anybody's, but must not change meanwhile: copy them out of a tail first.
 */
#ifndef MR_EXPAND_H
#define MR_EXPAND_H

#include <stddef.h>
#include <stdint.h>

#include "batch.h"

/* What one batch's records may take; the engine's own batches stay far below it. */
#define MR_BATCH_EXPANDED_BYTES_MAX (UINT32_C(64) << 20)

struct mr_expander_lz4;
struct mr_expander_zstd;

/* All zero at first; owned by one thread. Memory is kept for the batches that follow. */
struct mr_expander {
	uint8_t *bytes; /* records of the batches since mr_expander_begin(), back to back */
	size_t used;
	size_t capacity;
	struct mr_expander_lz4 *lz4; /* NULL until one is needed */
	struct mr_expander_zstd *zstd;
};

void mr_expander_close(struct mr_expander *expander); /* twice does nothing */

/* What was expanded before is not needed any more. */
static inline void mr_expander_begin(struct mr_expander *expander)
{
	expander->used = 0;
}

/*
 * Expands the records of a batch whose attributes name a codec, of header->total_bytes bytes. 1:
 * *records are *bytes bytes for mr_batch_read_records(), good until mr_expander_begin(); 0: not
 * without moving those of the batches before: come again after mr_expander_begin(), when it is
 * never 0. -EBADMSG: it is damaged, or expands to more than is allowed; -ENOTSUP: gzip or snappy,
 * or the codec's library is not here; -ENOMEM; each with a sentence.
 */
int mr_expander_records(struct mr_expander *expander, const uint8_t *batch,
			const struct mr_batch_header *header, const uint8_t **records,
			size_t *bytes, struct mr_error *err);

#endif
