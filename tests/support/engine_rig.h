/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole engine inside the test's own process: a data directory of its own, the engine's loop in a
 * thread, libmillrace on the other side of its socket. The disk behind it can be made to fail
 * (io_fault.h), its clock can be put forward. Sizes are small, so that segments roll within a few
 * hundred records. A rig aborts when something fails that no test asks for.
 */
#ifndef MR_TEST_ENGINE_RIG_H
#define MR_TEST_ENGINE_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "engine.h"
#include "io_fault.h"
#include "millrace.h"

struct mr_test_engine {
	char data[64];
	const char *parent; /* of it: memory for "posix", which is fast; a disk for "uring" */
	struct mr_config config;
	struct mr_io *disk;  /* the real back end */
	struct mr_io *fault; /* around it */
	struct mr_clock clock;
	_Atomic uint64_t ahead_ms; /* of the machine's clocks */
	struct mr_engine *engine;  /* NULL: not open */
	uint32_t feed_version_max; /* 0: the newest; set before a start */
	pthread_t thread;
	_Atomic bool ended; /* mr_engine_run() returned */
	int result;	    /* and this is what */
};

/* Makes the data directory; 'backend' as mr_io_open_directory() takes it. */
void mr_test_engine_init(struct mr_test_engine *rig, const char *backend);
/* Stops what runs, removes the data directory. */
void mr_test_engine_deinit(struct mr_test_engine *rig);

/* Opens the engine and runs its loop in a thread; on failure nothing runs. */
int mr_test_engine_start(struct mr_test_engine *rig, struct mr_error *err);
/* Stops it, waits for its loop to end, closes it; what mr_engine_run() returned. */
int mr_test_engine_stop(struct mr_test_engine *rig);
/* Both clocks of the engine jump forward; its loop looks at the time at its next turn. */
void mr_test_engine_advance(struct mr_test_engine *rig, uint64_t ms);

/* A client: aborts when it cannot connect. */
struct mr_connection *mr_test_engine_connect(struct mr_test_engine *rig);
/* An administrator's request; the caller frees the reply, which is NULL on failure. */
char *mr_test_engine_ask(struct mr_connection *connection, const char *request,
			 struct mr_error *err);
/*
 * A whole number of partition 'partition' in what topic.describe says of 'topic', or -1:
 * "log_start_offset", "segments", ...
 */
int64_t mr_test_engine_number(struct mr_connection *connection, const char *topic,
			      int32_t partition, const char *name);
/* Describes until that number is at least 'value'; false after 'timeout_ms'. */
bool mr_test_engine_await(struct mr_connection *connection, const char *topic, int32_t partition,
			  const char *name, int64_t value, uint32_t timeout_ms);
/* Text of engine.describe ("state", "reason"), empty if there was no answer. */
void mr_test_engine_text(struct mr_connection *connection, const char *name, char out[320]);

#endif
