/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two back ends of a real disk do in the same way: files, names and the facts about the
 * file system. They differ only in their queues and in O_DIRECT (facts.direct). Private to io*.c.
 */
#ifndef MR_IO_DISK_H
#define MR_IO_DISK_H

#include <pthread.h>

#include "io.h"

/* A data directory on a real file system. Filled in at the start, only read after it. */
struct mr_io_disk {
	struct mr_io io;
	int directory_fd;
};

/* One open file. Any thread may use it; what changes is under 'sync_lock'. */
struct mr_io_disk_file {
	struct mr_io_file file;
	uint64_t id; /* never the same twice in a process, unlike the address or 'fd' */
	int fd;
	bool direct;		   /* opened with O_DIRECT */
	pthread_mutex_t sync_lock; /* one flush at a time, so that none misses another's error */
	int sync_error;		   /* the first flush error: the kernel reports it only once (D3) */
	char path[];
};

/* How often in a row a write may come back without any progress before it counts as failed. */
#define MR_IO_ATTEMPTS_MAX 1000u

/* What is left of a write that the kernel takes in pieces. */
struct mr_io_rest {
	const char *buffer;
	size_t bytes;
	uint64_t offset;
	uint32_t attempts; /* in a row, without progress */
};

/*
 * Takes the kernel's result of one try (bytes, or a negative errno): 1 if everything is written, 0
 * if 'rest' is to be tried again, else the final error. Never -EAGAIN, -EINTR or -ECANCELED.
 */
int mr_io_rest_advance(struct mr_io_rest *rest, int64_t result);

/*
 * Learns the facts and sets up the head. On success 'directory_fd' belongs to 'disk'; on failure it
 * stays with the caller.
 */
int mr_io_disk_init(struct mr_io_disk *disk, const struct mr_io_operations *operations,
		    int directory_fd, bool direct, struct mr_error *err);
void mr_io_disk_deinit(struct mr_io_disk *disk);

static inline struct mr_io_disk_file *mr_io_disk_file(struct mr_io_file *file)
{
	return (struct mr_io_disk_file *)file;
}

/* fdatasync, with the file's first error kept for ever: 0 or a negative errno. */
int mr_io_disk_flush(struct mr_io_disk_file *file);

/* The operations that are the same in both back ends. */
int mr_io_disk_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
		    struct mr_io_file **out, struct mr_error *err);
void mr_io_disk_file_close(struct mr_io_file *file);
int mr_io_disk_lock(struct mr_io_file *file, uint32_t wait_ms, struct mr_error *err);
int64_t mr_io_disk_size(struct mr_io_file *file, struct mr_error *err);
int mr_io_disk_allocate(struct mr_io_file *file, uint64_t offset, uint64_t bytes,
			struct mr_error *err);
int mr_io_disk_truncate(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
int mr_io_disk_shrink(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
int64_t mr_io_disk_read(struct mr_io_file *file, void *buffer, size_t bytes, uint64_t offset,
			struct mr_error *err);
int mr_io_disk_write(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		     struct mr_error *err);
int mr_io_disk_sync(struct mr_io_file *file, struct mr_error *err);
bool mr_io_disk_is_named(struct mr_io_file *base);
int mr_io_disk_read_fd(struct mr_io *io, const char *path, struct mr_error *err);
int mr_io_disk_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err);
int mr_io_disk_remove(struct mr_io *io, const char *path, struct mr_error *err);
int mr_io_disk_make_directory(struct mr_io *io, const char *path, struct mr_error *err);
int mr_io_disk_sync_directory(struct mr_io *io, const char *path, struct mr_error *err);
int mr_io_disk_list(struct mr_io *io, const char *path, struct mr_io_entry **entries, size_t *count,
		    struct mr_error *err);
int mr_io_disk_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		     struct mr_error *err);

/* Those operations as the first members of a back end's table. */
#define MR_IO_DISK_OPERATIONS                                                                      \
	.open = mr_io_disk_open, .file_close = mr_io_disk_file_close, .lock = mr_io_disk_lock,     \
	.size = mr_io_disk_size, .allocate = mr_io_disk_allocate, .truncate = mr_io_disk_truncate, \
	.shrink = mr_io_disk_shrink, .read = mr_io_disk_read, .write = mr_io_disk_write,           \
	.sync = mr_io_disk_sync, .is_named = mr_io_disk_is_named, .read_fd = mr_io_disk_read_fd,   \
	.rename = mr_io_disk_rename, .remove = mr_io_disk_remove,                                  \
	.make_directory = mr_io_disk_make_directory, .sync_directory = mr_io_disk_sync_directory,  \
	.list = mr_io_disk_list, .space = mr_io_disk_space

#endif
