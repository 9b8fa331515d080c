/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a stored stretch of a topic's partition from one end to the other, for commands that look
 * back: rule test, explain, fit. Main thread; tells how far it is when a person watches.
 */
#ifndef MR_REPLAY_H
#define MR_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MR_REPLAY_TO_END UINT64_MAX

struct mr_replay {
	struct mr_connection *connection; /* borrowed */
	const char *topic;
	int32_t partition;
	enum mr_from from;
	int64_t from_value;
	uint64_t to; /* the offset after the last; MR_REPLAY_TO_END: where the log ends now */
	/* Records in order. Negative ends it, and is returned. */
	int (*each)(void *arg, const struct mr_message *messages, uint32_t count,
		    struct mr_error *err);
	void *arg;
	/* what came of it */
	uint64_t first; /* offset where it began; later than asked for where that is not kept */
	uint64_t end;	/* where it ended */
};

/* How many partitions 'topic' has, or an error. */
int mr_replay_partitions(struct mr_connection *connection, const char *topic, struct mr_error *err);
/* 0; -EINTR: a person stopped it; or an error with its sentence. */
int mr_replay_run(struct mr_replay *replay, struct mr_error *err);

#endif
