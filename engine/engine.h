/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as a whole: opens the data directory, recovers, runs until it is told to stop. One per
 * data directory and process. `millrace serve` is this with a terminal; tests run it with another
 * disk behind it.
 */
#ifndef MR_ENGINE_H
#define MR_ENGINE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/io.h"

struct mr_engine;

struct mr_engine_options {
	const struct mr_config *config; /* borrowed until closed */
	struct mr_io *io;		/* NULL: opened from the configuration; else borrowed */
	const struct mr_clock *clock;	/* NULL: the machine's; else borrowed */
	FILE *out;			/* where the start-up block goes; NULL: nowhere */
	uint32_t feed_version_max;	/* 0: the newest; a test's, to be as an older engine is */
};

/*
 * Takes the data directory's lock, recovers, listens. -EBUSY: another engine has it, named by its
 * pid. When this returns 0 clients can connect and mr_engine_run() must be called.
 */
int mr_engine_open(const struct mr_engine_options *options, struct mr_engine **out,
		   struct mr_error *err);
/*
 * Serves on the calling thread until mr_engine_stop(). How many producers' lanes were not empty in
 * time, most often 0; or -EIO if the data directory failed meanwhile.
 */
int mr_engine_run(struct mr_engine *engine);
/* Any thread, and signal handlers. */
void mr_engine_stop(struct mr_engine *engine);
void mr_engine_close(struct mr_engine *engine); /* takes NULL */
const char *mr_engine_socket(const struct mr_engine *engine);

/* `millrace serve`: open, run until SIGTERM or SIGINT, close. Returns the exit code. */
int mr_engine_serve(const struct mr_config *config, FILE *out);

#endif
