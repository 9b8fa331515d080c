/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads record batches back from a partition's segment files for a peer that is further behind than
 * the tail reaches, on a thread of its own, so that neither the feed nor a worker ever waits for
 * the disk (reliability.md R8), at a bounded rate, so that live records keep their place.
 *
 * It looks only at names and bytes: which segments there are says the directory; a segment's end is
 * where the next one begins, and only whole groups that check out are read, up to 'limit_offset' of
 * the one who asks (what is flushed). Batches come out byte for byte.
 *
 * Below the limit everything must be there and whole: what is not is damage (-EBADMSG). Whoever
 * does not know a limit is told -ENODATA where a group is missing or not whole that may still be on
 * its way to the disk.
 */
#ifndef MR_CATCHUP_H
#define MR_CATCHUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/io.h"
#include "base/mailbox.h"
#include "base/place.h"
#include "error.h"

#define MR_CATCHUP_BYTES 1048576u /* of batches in one read, or one batch if that is larger */

/* One piece of work; made by the feed, one for each partition and peer at most. */
struct mr_catchup_request {
	char directory[96];    /* of the partition, as mr_topic_partition_directory() */
	uint64_t offset;       /* of the first record wanted: the batch that holds it comes first */
	uint32_t bytes_max;    /* of batches; one at least comes, whatever its size */
	uint64_t limit_offset; /* of records that are flushed; 0: not known */
	/* back */
	int status; /* 0; -ERANGE: no longer kept; -ENODATA: no whole batch there yet; -EBADMSG;
		       -EIO; -ECANCELED: stopped */
	struct mr_error err; /* if status is negative: the place, and what is wrong there */
	uint8_t *bytes;	     /* the batches, back to back; belongs to the request */
	uint32_t capacity;   /* of 'bytes'; kept from one use to the next */
	uint32_t byte_count;
	uint64_t plain_bytes; /* what they would be without compression */
	uint32_t record_count;
	uint64_t base_offset, end_offset;
	void *owner;
};

struct mr_catchup;

/* 'place' NULL: anywhere. 'bytes_per_second' 0: as fast as the disk. */
int mr_catchup_start(const struct mr_place_entry *place, struct mr_io *io,
		     uint64_t bytes_per_second, struct mr_catchup **out, struct mr_error *err);
/* Nothing is under way behind it; what was not taken is the sender's again. Takes NULL. */
void mr_catchup_stop(struct mr_catchup *catchup);

struct mr_catchup_request *mr_catchup_request_new(void);
void mr_catchup_request_free(struct mr_catchup_request *request); /* takes NULL */
void mr_catchup_send(struct mr_catchup *catchup, struct mr_catchup_request *request);
struct mr_catchup_request *mr_catchup_take(struct mr_catchup *catchup); /* NULL: none */
/* As mr_mailbox_fd(), _sleep(), _wake(). */
int mr_catchup_fd(const struct mr_catchup *catchup);
bool mr_catchup_sleep(struct mr_catchup *catchup);
void mr_catchup_wake(struct mr_catchup *catchup);

#endif
