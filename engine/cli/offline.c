/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data directory without an engine. Runs on the main thread and owns what mr_offline_open() took.
 */
#include "offline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

#define LOCK_WAIT_MS 5000

/* The pid that an engine wrote into its lock; 0 where there is none. */
static int lock_owner(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

static int take_lock(const char *directory, struct mr_error *err)
{
	char path[1200];
	int fd;
	int r;

	snprintf(path, sizeof(path), "%s/LOCK", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		mr_error_set(err, -errno, "'%s' is no data directory", directory);
		return mr_error_why(err, "it has no file LOCK that can be opened");
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (errno == EWOULDBLOCK) {
		r = mr_error_set(err, -EBUSY, "the engine with pid %d runs on '%s'", lock_owner(fd),
				 directory);
		mr_error_hint(err, "stop that engine first");
	} else {
		r = mr_error_set(err, -errno, "cannot lock '%s'", path);
	}
	(void)close(fd); /* nothing was written */
	return r;
}

int mr_offline_open(const char *directory, struct mr_offline *out, struct mr_error *err)
{
	int r;

	*out = (struct mr_offline){.directory = directory, .lock_fd = take_lock(directory, err)};
	if (out->lock_fd < 0)
		return out->lock_fd;
	r = mr_io_open_directory(directory, "auto", &out->io, err);
	if (r == 0)
		r = mr_topics_load(out->io, &out->topics, err);
	if (r == 0) {
		r = mr_checkpoint_load(out->io, &out->checkpoint, err);
		out->has_checkpoint = r == 0;
		if (r == -ENOENT)
			r = 0;
	}
	if (r < 0)
		mr_offline_close(out);
	return r;
}

void mr_offline_close(struct mr_offline *offline)
{
	if (offline->has_checkpoint)
		mr_checkpoint_deinit(&offline->checkpoint);
	mr_topics_deinit(&offline->topics);
	if (offline->io)
		mr_io_close(offline->io);
	if (offline->lock_fd >= 0)
		(void)close(offline->lock_fd); /* gives the lock back */
	*offline = (struct mr_offline){.lock_fd = -1};
}

/* ---- as recovery sees it ------------------------------------------------------------------- */

/* The checkpoint says how far ahead the engine may have written; without it, as by default. */
static uint64_t window_bytes(const struct mr_offline *offline)
{
	struct mr_config config;

	if (offline->has_checkpoint && offline->checkpoint.window_bytes)
		return offline->checkpoint.window_bytes;
	mr_config_defaults(&config);
	return MR_GROUPS_IN_FLIGHT_MAX *
	       (config.group_bytes + config.record_bytes_max + MR_BLOCK_BYTES);
}

int mr_offline_look(const struct mr_offline *offline, const struct mr_topic *topic, int32_t number,
		    unsigned how, struct mr_offline_partition *out, struct mr_error *err)
{
	struct mr_recover_options options = {
		.window_bytes = window_bytes(offline),
		.lock_wait_ms = LOCK_WAIT_MS,
		.read_only = !(how & MR_OFFLINE_WRITABLE),
	};
	const struct mr_checkpoint_partition *checkpoint = NULL;
	struct mr_config config;
	int r;

	*out = (struct mr_offline_partition){.topic = topic, .number = number};
	mr_topic_partition_directory(topic->id, number, out->directory);
	mr_config_defaults(&config);
	if (offline->has_checkpoint && !(how & MR_OFFLINE_NO_CHECKPOINT))
		checkpoint = mr_checkpoint_find(&offline->checkpoint, topic->id, number);
	r = mr_partition_init(&out->state, config.producer_ids_max, 1, err);
	if (r < 0)
		return r;
	r = mr_recover(offline->io, out->directory, topic->id, number, checkpoint, &options,
		       &out->state, &out->recovered, err);
	if (r < 0)
		mr_partition_deinit(&out->state);
	return r;
}

void mr_offline_look_end(struct mr_offline_partition *partition)
{
	mr_recovered_deinit(&partition->recovered);
	mr_partition_deinit(&partition->state);
}

int mr_offline_forget_checkpoint(struct mr_offline *offline, const struct mr_topic *topic,
				 int32_t number, struct mr_error *err)
{
	int r;

	if (!offline->has_checkpoint ||
	    !mr_checkpoint_find(&offline->checkpoint, topic->id, number))
		return 0;
	mr_checkpoint_forget(&offline->checkpoint, topic->id, number);
	/* from both slots: one that is damaged later shall not bring the entry back */
	r = mr_checkpoint_save(offline->io, &offline->checkpoint, err);
	return r < 0 ? r : mr_checkpoint_save(offline->io, &offline->checkpoint, err);
}
