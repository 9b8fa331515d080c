/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files made ahead and removed behind (raw_segments.h). Two threads and one lock; the lock is held
 * to hand a file over, never while the disk works. Promises that a file taken has all its blocks
 * and its name durable, as a log must have them before it may acknowledge what lies in them.
 */
#include "raw_segments.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mr_raw_segments {
	int directory_fd;
	uint64_t segment_bytes;
	pthread_t maker, remover;
	bool making, removing; /* the threads were started */
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct mr_raw_segment *spare;
	struct mr_raw_segment *to_remove; /* last in, first out: the order does not matter */
	uint32_t made;
	int status; /* of the maker: it ended */
	struct mr_error error;
	bool stop;
};

static void segment_name(uint32_t number, char name[32])
{
	snprintf(name, 32, "raw-%06u.segment", number);
}

static void remove_segment(const struct mr_raw_segments *segments, struct mr_raw_segment *segment)
{
	char name[32];

	if (!segment)
		return;
	segment_name(segment->number, name);
	(void)close(segment->fd);			 /* all in it is durable, or of no use */
	(void)unlinkat(segments->directory_fd, name, 0); /* else the run's end removes it */
	free(segment);
}

static int allocate(const struct mr_raw_segments *segments, int fd, struct mr_error *err)
{
	if (fallocate(fd, 0, 0, (off_t)segments->segment_bytes) < 0)
		return mr_error_set(err, -errno, "cannot allocate %llu bytes for a raw file: %s",
				    (unsigned long long)segments->segment_bytes, strerror(errno));
	if (fsync(fd) < 0 || fsync(segments->directory_fd) < 0)
		return mr_error_set(err, -errno, "cannot make a raw file durable: %s",
				    strerror(errno));
	return 0;
}

static int make_segment(const struct mr_raw_segments *segments, uint32_t number,
			struct mr_raw_segment **out, struct mr_error *err)
{
	struct mr_raw_segment *segment = calloc(1, sizeof(*segment));
	char name[32];
	int r;

	if (!segment)
		return mr_error_set(err, -ENOMEM, "no memory for a raw file");
	segment_name(number, name);
	segment->number = number;
	segment->fd = openat(segments->directory_fd, name,
			     O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
	if (segment->fd < 0) {
		r = mr_error_set(err, -errno, "cannot make '%s' for direct writing: %s", name,
				 strerror(errno));
		free(segment);
		return r;
	}
	r = allocate(segments, segment->fd, err);
	if (r < 0) {
		remove_segment(segments, segment);
		return r;
	}
	*out = segment;
	return 0;
}

/* With the lock held: waits until a file is wanted. False: the end. */
static bool wait_until_wanted(struct mr_raw_segments *segments)
{
	while (segments->spare && !segments->stop)
		pthread_cond_wait(&segments->changed, &segments->lock);
	return !segments->stop;
}

static void *make(void *arg)
{
	struct mr_raw_segments *segments = arg;
	struct mr_raw_segment *segment = NULL;
	struct mr_error err = {0};
	int r = 0;

	pthread_mutex_lock(&segments->lock);
	while (r == 0 && wait_until_wanted(segments)) {
		uint32_t number = segments->made++;

		pthread_mutex_unlock(&segments->lock);
		r = make_segment(segments, number, &segment, &err);
		pthread_mutex_lock(&segments->lock);
		if (r == 0)
			segments->spare = segment;
		segments->status = r;
		segments->error = err;
		pthread_cond_broadcast(&segments->changed);
	}
	pthread_mutex_unlock(&segments->lock);
	return NULL;
}

static void *remove_behind(void *arg)
{
	struct mr_raw_segments *segments = arg;
	struct mr_raw_segment *segment;

	pthread_mutex_lock(&segments->lock);
	while (segments->to_remove || !segments->stop) {
		segment = segments->to_remove;
		if (!segment) {
			pthread_cond_wait(&segments->changed, &segments->lock);
			continue;
		}
		segments->to_remove = segment->next;
		pthread_mutex_unlock(&segments->lock);
		remove_segment(segments, segment);
		pthread_mutex_lock(&segments->lock);
	}
	pthread_mutex_unlock(&segments->lock);
	return NULL;
}

int mr_raw_segments_open(const char *directory, uint64_t segment_bytes,
			 struct mr_raw_segments **out, struct mr_error *err)
{
	struct mr_raw_segments *segments = calloc(1, sizeof(*segments));
	int r;

	if (!segments)
		return mr_error_set(err, -ENOMEM, "no memory for raw files");
	segments->segment_bytes = segment_bytes;
	pthread_mutex_init(&segments->lock, NULL);
	pthread_cond_init(&segments->changed, NULL);
	segments->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (segments->directory_fd < 0) {
		r = mr_error_set(err, -errno, "cannot open directory '%s': %s", directory,
				 strerror(errno));
		goto fail;
	}
	segments->making = pthread_create(&segments->maker, NULL, make, segments) == 0;
	segments->removing = pthread_create(&segments->remover, NULL, remove_behind, segments) == 0;
	if (!segments->making || !segments->removing) {
		r = mr_error_set(err, -EAGAIN, "cannot start a thread for raw files");
		goto fail;
	}
	*out = segments;
	return 0;
fail:
	mr_raw_segments_close(segments);
	return r;
}

int mr_raw_segments_take(struct mr_raw_segments *segments, struct mr_raw_segment **out,
			 struct mr_error *err)
{
	int r = 0;

	pthread_mutex_lock(&segments->lock);
	while (!segments->spare && segments->status == 0)
		pthread_cond_wait(&segments->changed, &segments->lock);
	*out = segments->spare;
	if (!segments->spare)
		r = mr_error_set(err, segments->status, "%s", segments->error.what);
	segments->spare = NULL;
	pthread_cond_broadcast(&segments->changed);
	pthread_mutex_unlock(&segments->lock);
	return r;
}

void mr_raw_segments_remove(struct mr_raw_segments *segments, struct mr_raw_segment *segment)
{
	pthread_mutex_lock(&segments->lock);
	segment->next = segments->to_remove;
	segments->to_remove = segment;
	pthread_cond_broadcast(&segments->changed);
	pthread_mutex_unlock(&segments->lock);
}

void mr_raw_segments_close(struct mr_raw_segments *segments)
{
	if (!segments)
		return;
	pthread_mutex_lock(&segments->lock);
	segments->stop = true;
	pthread_cond_broadcast(&segments->changed);
	pthread_mutex_unlock(&segments->lock);
	if (segments->making)
		pthread_join(segments->maker, NULL);
	if (segments->removing)
		pthread_join(segments->remover, NULL);
	remove_segment(segments, segments->spare);
	if (segments->directory_fd >= 0)
		(void)close(segments->directory_fd); /* was only read */
	pthread_cond_destroy(&segments->changed);
	pthread_mutex_destroy(&segments->lock);
	free(segments);
}
