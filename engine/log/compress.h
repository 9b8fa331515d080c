/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Record batches of a topic with compression, on their way from a lane into the tail: records are
 * encoded into a staging buffer, and from there compressed to where the batch will lie, which is
 * the one copy more that compression costs. The format is Kafka's: behind a batch's header follows
 * one LZ4 frame, or one zstd frame, that holds the records. What does not become smaller stays as
 * it is. Reading is ringbuf/expand.h.
 *
 * One worker's, for all of its partitions, which have the same largest batch. Made by the control
 * thread; from then on no memory is taken, and nothing here can fail but to make smaller.
 */
#ifndef MR_COMPRESS_H
#define MR_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "batch.h"
#include "error.h"

/* Below so many bytes of records nothing is tried: a lone small record. */
#define MR_COMPRESS_BYTES_MIN 128u

struct mr_compressor;

/* The caller owns *out. */
int mr_compressor_new(uint32_t batch_bytes_max, struct mr_compressor **out, struct mr_error *err);
void mr_compressor_free(struct mr_compressor *compressor); /* takes NULL */

/*
 * As mr_batch_begin(), in the staging buffer, for a batch that will get 'room' bytes: of which
 * mr_compress_room() are not for records.
 */
void mr_compressor_begin(struct mr_compressor *compressor, enum mr_config_compression compression,
			 struct mr_batch_writer *writer, uint32_t room);
/*
 * Puts the records that were added since, or to any other writer, to 'at', behind the header's
 * place: compressed if they are smaller then. The writer stands there as if it had begun there.
 * Returns what the batch's attributes say of it, for mr_batch_end().
 */
uint16_t mr_compressor_place(struct mr_compressor *compressor,
			     enum mr_config_compression compression, struct mr_batch_writer *writer,
			     uint8_t *at, uint32_t room);

/* How much more room to ask for than a batch of 'bytes' bytes needs: LZ4 tries with it only. */
uint32_t mr_compress_room(enum mr_config_compression compression, uint32_t bytes);

/*
 * A batch of another host, whose header was checked: -EBADMSG where it is by no codec that is read
 * here, or has more records than one of the largest that a reader expands could hold.
 */
int mr_compress_check(const struct mr_batch_header *header);

/*
 * What a batch would have without compression, as its own frame says. Of one that does not say it,
 * or nonsense: what it has. 'batch' is header->total_bytes long. Nothing is expanded.
 */
uint64_t mr_compress_plain_bytes(const uint8_t *batch, const struct mr_batch_header *header);

#endif
