/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catch-up thread's hands: reads the batches of a request out of a partition's directory
 * (catchup.h). Blocks; belongs to one thread.
 *
 * A request mostly goes on where the one before of the same partition and peer ended. So readers
 * stay: up to 64 keep their segment open and know where they stand, and the four that were used
 * last keep what they read ahead, too (16 MiB each at most, besides a larger record). Each request
 * looks at the directory first, and a reader whose file is not that of its name any more, or whose
 * segment ends before where it stands, is dropped: others cut the log and let segments go
 * meanwhile.
 */
#ifndef MR_CATCHUP_READER_H
#define MR_CATCHUP_READER_H

#include "catchup.h"

#define MR_CATCHUP_READERS_MAX 64
#define MR_CATCHUP_BUFFERS_MAX 4
#define MR_CATCHUP_IDLE_NS     UINT64_C(10000000000)

struct mr_catchup_readers;

struct mr_catchup_reader_options {
	struct mr_io *io;   /* borrowed */
	bool overlaps;	    /* while batches are given out, a thread reads the next ones */
	uint64_t ahead_max; /* bytes read beyond what is asked for, at most */
};

int mr_catchup_readers_open(const struct mr_catchup_reader_options *options,
			    struct mr_catchup_readers **out, struct mr_error *err);
void mr_catchup_readers_close(struct mr_catchup_readers *readers); /* takes NULL */
/* Fills in what comes back, at time 'now_ns'. Returns the status. */
int mr_catchup_read(struct mr_catchup_readers *readers, struct mr_catchup_request *request,
		    uint64_t now_ns);
/* Closes what was not used for so long, or is of a file without a name. */
void mr_catchup_readers_tidy(struct mr_catchup_readers *readers, uint64_t now_ns, uint64_t idle_ns);
/* Asked of the disk so far, read ahead included, but for a segment's first block and its index. */
uint64_t mr_catchup_readers_bytes(const struct mr_catchup_readers *readers);
/* Segments that are open; of these '*buffered' with memory. */
uint32_t mr_catchup_readers_count(const struct mr_catchup_readers *readers, uint32_t *buffered);

#endif
