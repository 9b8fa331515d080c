/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read that goes on while the thread that asked for it does something else: one at a time, by a
 * thread of its own, through the same mr_io_read() as any other. From start to wait the file, the
 * buffer and all that belongs to the io are that thread's: the caller touches none of them.
 */
#ifndef MR_READ_AHEAD_H
#define MR_READ_AHEAD_H

#include "base/io.h"

struct mr_read_ahead;

/* Starts the thread. -EAGAIN, -ENOMEM: whoever cannot have it reads by himself. */
int mr_read_ahead_open(struct mr_read_ahead **out);
/* Nothing is under way. 'file' and 'buffer' are borrowed until mr_read_ahead_wait(). */
void mr_read_ahead_start(struct mr_read_ahead *ahead, struct mr_io_file *file, void *buffer,
			 size_t bytes, uint64_t offset);
/* What mr_io_read() returned for what was started last, its sentence in 'err'. */
int64_t mr_read_ahead_wait(struct mr_read_ahead *ahead, struct mr_error *err);
/* Nothing is under way. Takes NULL. */
void mr_read_ahead_close(struct mr_read_ahead *ahead);

#endif
