/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door itself: hands each call to the back end behind it, checks what callers promise (names
 * below the data directory, whole blocks), chooses the back end, and builds from the operations
 * what is the same for all of them. Runs on whatever thread calls; owns nothing.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* True for "a", "a/b.c" and "."; false for "", "/a", "../a", "a/../b". */
static bool is_below(const char *path)
{
	const char *part = path;
	size_t length;

	if (*path == '\0' || *path == '/')
		return false;
	while (*part) {
		length = strcspn(part, "/");
		if (length == 2 && part[0] == '.' && part[1] == '.')
			return false;
		part += length + (part[length] == '/');
	}
	return true;
}

static bool is_whole_blocks(const void *buffer, size_t bytes, uint64_t offset)
{
	return (((uintptr_t)buffer | bytes | offset) % MR_IO_BLOCK_BYTES) == 0;
}

static int open_data_directory(const char *directory, struct mr_error *err)
{
	bool made = mkdir(directory, 0700) == 0;
	int fd, parent, r;

	if (!made && errno != EEXIST)
		return mr_error_set(err, -errno, "cannot make data directory '%s': %s", directory,
				    strerror(errno));
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return mr_error_set(err, -errno, "cannot open data directory '%s': %s", directory,
				    strerror(errno));
	if (!made)
		return fd;
	/* A power cut must not take the new directory away with all that is in it. */
	parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = parent < 0 || fsync(parent) < 0 ? -errno : 0;
	if (parent >= 0)
		(void)close(parent); /* nothing was written through it */
	if (r < 0) {
		(void)close(fd); /* nothing was written through it */
		return mr_error_set(err, r, "cannot make the name of '%s' durable: %s", directory,
				    strerror(-r));
	}
	return fd;
}

/* Errors that say "not here" rather than "broken". */
static bool is_refusal(int r)
{
	return r == -EPERM || r == -EACCES || r == -ENOSYS || r == -EINVAL || r == -EOPNOTSUPP ||
	       r == -ENOMEM;
}

static int choose(int directory_fd, struct mr_io **out, struct mr_error *err)
{
	struct mr_error local = {0};
	int r = mr_io_uring_new(directory_fd, out, &local);

	if (r == 0)
		return 0;
	if (!is_refusal(r)) {
		if (err)
			*err = local;
		return r;
	}
	r = mr_io_posix_new(directory_fd, out, err);
	if (r < 0)
		return r;
	snprintf((*out)->facts.fallback_reason, sizeof((*out)->facts.fallback_reason), "%.*s",
		 (int)sizeof((*out)->facts.fallback_reason) - 1, local.what);
	return 0;
}

int mr_io_open_directory(const char *directory, const char *backend, struct mr_io **out,
			 struct mr_error *err)
{
	int fd = open_data_directory(directory, err);
	int r;

	if (fd < 0)
		return fd;
	if (strcmp(backend, "auto") == 0)
		r = choose(fd, out, err);
	else if (strcmp(backend, "uring") == 0)
		r = mr_io_uring_new(fd, out, err);
	else if (strcmp(backend, "posix") == 0)
		r = mr_io_posix_new(fd, out, err);
	else
		r = mr_error_set(err, -EINVAL,
				 "there is no I/O back end '%s': it is auto, uring or posix",
				 backend);
	if (r < 0)
		(void)close(fd); /* nothing was written through it */
	return r;
}

void mr_io_close(struct mr_io *io)
{
	if (io)
		io->operations->close(io);
}

int mr_io_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
	       struct mr_io_file **out, struct mr_error *err)
{
	mr_assert(is_below(path));
	mr_assert(mode < MR_IO_MODE_COUNT);
	return io->operations->open(io, path, mode, out, err);
}

void mr_io_file_close(struct mr_io_file *file)
{
	if (file)
		file->io->operations->file_close(file);
}

int mr_io_lock(struct mr_io_file *file, uint32_t wait_ms, struct mr_error *err)
{
	return file->io->operations->lock(file, wait_ms, err);
}

int64_t mr_io_size(struct mr_io_file *file, struct mr_error *err)
{
	return file->io->operations->size(file, err);
}

int mr_io_allocate(struct mr_io_file *file, uint64_t offset, uint64_t bytes, struct mr_error *err)
{
	mr_assert(bytes > 0);
	return file->io->operations->allocate(file, offset, bytes, err);
}

int mr_io_truncate(struct mr_io_file *file, uint64_t bytes, struct mr_error *err)
{
	return file->io->operations->truncate(file, bytes, err);
}

int mr_io_shrink(struct mr_io_file *file, uint64_t bytes, struct mr_error *err)
{
	return file->io->operations->shrink(file, bytes, err);
}

int64_t mr_io_read(struct mr_io_file *file, void *buffer, size_t bytes, uint64_t offset,
		   struct mr_error *err)
{
	return file->io->operations->read(file, buffer, bytes, offset, err);
}

int mr_io_write(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		struct mr_error *err)
{
	mr_assert(is_whole_blocks(buffer, bytes, offset));
	return file->io->operations->write(file, buffer, bytes, offset, err);
}

int mr_io_sync(struct mr_io_file *file, struct mr_error *err)
{
	return file->io->operations->sync(file, err);
}

bool mr_io_is_named(struct mr_io_file *file)
{
	return file->io->operations->is_named(file);
}

int mr_io_read_fd(struct mr_io *io, const char *path, struct mr_error *err)
{
	mr_assert(is_below(path));
	return io->operations->read_fd(io, path, err);
}

int mr_io_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err)
{
	mr_assert(is_below(from));
	mr_assert(is_below(to));
	return io->operations->rename(io, from, to, err);
}

int mr_io_remove(struct mr_io *io, const char *path, struct mr_error *err)
{
	mr_assert(is_below(path));
	return io->operations->remove(io, path, err);
}

int mr_io_make_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	mr_assert(is_below(path));
	return io->operations->make_directory(io, path, err);
}

int mr_io_sync_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	mr_assert(is_below(path));
	return io->operations->sync_directory(io, path, err);
}

int mr_io_list(struct mr_io *io, const char *path, struct mr_io_entry **entries, size_t *count,
	       struct mr_error *err)
{
	mr_assert(is_below(path));
	return io->operations->list(io, path, entries, count, err);
}

int mr_io_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes, struct mr_error *err)
{
	return io->operations->space(io, free_bytes, total_bytes, err);
}

int mr_io_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
		     struct mr_error *err)
{
	mr_assert(depth > 0);
	mr_assert(depth <= MR_IO_DEPTH_MAX);
	return io->operations->queue_open(io, depth, bell_fd, out, err);
}

void mr_io_queue_close(struct mr_io_queue *queue)
{
	if (queue)
		queue->io->operations->queue_close(queue);
}

int mr_io_queue_register(struct mr_io_queue *queue, void *memory, size_t bytes)
{
	return queue->io->operations->queue_register(queue, memory, bytes);
}

void mr_io_queue_unregister(struct mr_io_queue *queue, void *memory)
{
	queue->io->operations->queue_unregister(queue, memory);
}

int mr_io_queue_register_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	mr_assert(file->io == queue->io);
	return queue->io->operations->queue_register_file(queue, file);
}

void mr_io_queue_unregister_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	queue->io->operations->queue_unregister_file(queue, file);
}

int mr_io_queue_write(struct mr_io_queue *queue, struct mr_io_file *file, const void *buffer,
		      size_t bytes, uint64_t offset, void *user)
{
	mr_assert(is_whole_blocks(buffer, bytes, offset));
	mr_assert(bytes > 0);
	mr_assert(bytes <= MR_IO_WRITE_BYTES_MAX);
	mr_assert(file->io == queue->io);
	return queue->io->operations->queue_write(queue, file, buffer, bytes, offset, user);
}

int mr_io_queue_reap(struct mr_io_queue *queue, struct mr_io_completion *completions, uint32_t max)
{
	return queue->io->operations->queue_reap(queue, completions, max);
}

int mr_io_queue_wait(struct mr_io_queue *queue, uint64_t timeout_ns)
{
	return queue->io->operations->queue_wait(queue, timeout_ns);
}

static int load_open(struct mr_io_file *file, const char *path, size_t bytes_max, void **out,
		     size_t *bytes, struct mr_error *err)
{
	int64_t size = mr_io_size(file, err);
	int64_t got;
	void *memory;

	if (size < 0)
		return (int)size;
	if ((uint64_t)size > bytes_max)
		return mr_error_set(err, -EFBIG, "'%s' has %lld bytes, at most %zu are expected",
				    path, (long long)size, bytes_max);
	memory = malloc((size_t)size + 1); /* never nothing, so that NULL means no memory */
	if (!memory)
		return mr_error_set(err, -ENOMEM, "no memory to load '%s'", path);
	got = mr_io_read(file, memory, (size_t)size, 0, err);
	if (got < 0) {
		free(memory);
		return (int)got;
	}
	*out = memory;
	*bytes = (size_t)got;
	return 0;
}

int mr_io_load(struct mr_io *io, const char *path, size_t bytes_max, void **out, size_t *bytes,
	       struct mr_error *err)
{
	struct mr_io_file *file;
	int r = mr_io_open(io, path, MR_IO_READ, &file, err);

	if (r < 0)
		return r;
	r = load_open(file, path, bytes_max, out, bytes, err);
	mr_io_file_close(file);
	return r;
}

/* Writes 'count' bytes through a padded copy, since files are written in whole blocks. */
static int write_padded(struct mr_io_file *file, const char *path, const void *bytes, size_t count,
			struct mr_error *err)
{
	size_t whole = (count + MR_IO_BLOCK_BYTES - 1) & ~(size_t)(MR_IO_BLOCK_BYTES - 1);
	char *copy;
	int r;

	if (count == 0)
		return 0;
	copy = aligned_alloc(MR_IO_BLOCK_BYTES, whole);
	if (!copy)
		return mr_error_set(err, -ENOMEM, "no memory to write '%s'", path);
	memcpy(copy, bytes, count);
	memset(copy + count, 0, whole - count);
	r = mr_io_write(file, copy, whole, 0, err);
	free(copy);
	if (r < 0 || whole == count)
		return r;
	return mr_io_truncate(file, count, err);
}

static int sync_parent(struct mr_io *io, const char *path, struct mr_error *err)
{
	const char *slash = strrchr(path, '/');
	char parent[MR_IO_PATH_BYTES];

	if (!slash)
		return mr_io_sync_directory(io, ".", err);
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	return mr_io_sync_directory(io, parent, err);
}

int mr_io_replace(struct mr_io *io, const char *path, const void *bytes, size_t count,
		  struct mr_error *err)
{
	char name[MR_IO_PATH_BYTES];
	struct mr_io_file *file;
	int r;

	mr_assert(strlen(path) + sizeof(".new") <= sizeof(name));
	snprintf(name, sizeof(name), "%s.new", path);
	r = mr_io_open(io, name, MR_IO_CREATE, &file, err);
	if (r == -EEXIST) { /* a crash left it; nothing ever reads it */
		r = mr_io_remove(io, name, err);
		if (r < 0)
			return r;
		r = mr_io_open(io, name, MR_IO_CREATE, &file, err);
	}
	if (r < 0)
		return r;
	r = write_padded(file, name, bytes, count, err);
	if (r == 0)
		r = mr_io_sync(file, err);
	mr_io_file_close(file);
	if (r == 0)
		r = mr_io_rename(io, name, path, err);
	if (r == 0)
		r = sync_parent(io, path, err);
	return r;
}

/* Depth is bounded: the engine's own directories are three deep. */
#define TREE_DEPTH_MAX 8

static int remove_below(struct mr_io *io, const char *path, int depth, struct mr_error *err)
{
	struct mr_io_entry *entries = NULL;
	char child[MR_IO_PATH_BYTES];
	size_t count = 0, i;
	int r = mr_io_list(io, path, &entries, &count, err);

	if (depth == TREE_DEPTH_MAX)
		r = mr_error_set(err, -ELOOP, "directory '%s' is deeper than expected", path);
	for (i = 0; r >= 0 && i < count; i++) {
		int length = snprintf(child, sizeof(child), "%s/%s", path, entries[i].name);

		if (length < 0 || (size_t)length >= sizeof(child))
			r = mr_error_set(err, -ENAMETOOLONG, "'%s/%s' is too long", path,
					 entries[i].name);
		else if (entries[i].is_directory)
			r = remove_below(io, child, depth + 1, err);
		else
			r = mr_io_remove(io, child, err);
	}
	free(entries);
	return r < 0 ? r : mr_io_remove(io, path, err);
}

int mr_io_remove_tree(struct mr_io *io, const char *path, struct mr_error *err)
{
	int r = remove_below(io, path, 0, err);

	return r == -ENOENT ? 0 : r;
}
