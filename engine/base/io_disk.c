/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and names on a real file system, for both back ends. Runs on whatever thread calls; owns
 * the data directory's descriptor and one descriptor a file. Promises what io.h says: all names are
 * resolved below the data directory, errors name the path, a flush error is never forgotten.
 */
#include "io_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "io_facts.h"

#define BOUNCE_BYTES (1u << 20)
#define LOCK_POLL_MS 5u

static uint64_t round_down(uint64_t value)
{
	return value & ~(uint64_t)(MR_IO_BLOCK_BYTES - 1);
}

static struct mr_io_disk *disk_of(struct mr_io *io)
{
	return (struct mr_io_disk *)io;
}

int mr_io_disk_init(struct mr_io_disk *disk, const struct mr_io_operations *operations,
		    int directory_fd, bool direct, struct mr_error *err)
{
	struct stat st;

	if (fstat(directory_fd, &st) < 0)
		return mr_error_set(err, -errno, "cannot look at the data directory");
	if (!S_ISDIR(st.st_mode))
		return mr_error_set(err, -ENOTDIR, "the data directory is not a directory");
	disk->io.operations = operations;
	disk->io.facts.direct = direct;
	disk->directory_fd = directory_fd;
	mr_io_facts_learn(directory_fd, &disk->io.facts);
	return 0;
}

void mr_io_disk_deinit(struct mr_io_disk *disk)
{
	(void)close(disk->directory_fd); /* nothing was written through it */
}

static bool is_transient(int64_t result)
{
	return result == -EAGAIN || result == -EINTR || result == -ECANCELED;
}

int mr_io_rest_advance(struct mr_io_rest *rest, int64_t result)
{
	uint64_t whole;

	if (result < 0 && !is_transient(result))
		return (int)result;
	if (result > (int64_t)rest->bytes)
		return -EIO;
	if (result == (int64_t)rest->bytes) {
		rest->bytes = 0;
		return 1;
	}
	/* O_DIRECT needs whole blocks, so a block that was begun is written again. */
	whole = result > 0 ? round_down((uint64_t)result) : 0;
	rest->buffer += whole;
	rest->bytes -= whole;
	rest->offset += whole;
	rest->attempts = whole ? 0 : rest->attempts + 1;
	return rest->attempts > MR_IO_ATTEMPTS_MAX ? -EIO : 0;
}

static int open_flags(enum mr_io_open_mode mode, bool direct)
{
	int flags = O_CLOEXEC | O_NOFOLLOW | (direct ? O_DIRECT : 0);

	if (mode == MR_IO_READ)
		return flags | O_RDONLY;
	if (mode == MR_IO_WRITE)
		return flags | O_RDWR;
	return flags | O_RDWR | O_CREAT | O_EXCL;
}

int mr_io_disk_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
		    struct mr_io_file **out, struct mr_error *err)
{
	static _Atomic uint64_t ids;
	size_t path_bytes = strlen(path) + 1;
	struct mr_io_disk_file *file = calloc(1, sizeof(*file) + path_bytes);
	int r;

	if (!file)
		return mr_error_set(err, -ENOMEM, "no memory to open '%s'", path);
	file->fd =
		openat(disk_of(io)->directory_fd, path, open_flags(mode, io->facts.direct), 0600);
	if (file->fd < 0) {
		r = mr_error_set(err, -errno, "cannot %s '%s': %s",
				 mode == MR_IO_CREATE ? "create" : "open", path, strerror(errno));
		free(file);
		return r;
	}
	file->file.io = io;
	/* relaxed: only has to differ, orders nothing */
	file->id = atomic_fetch_add_explicit(&ids, 1, memory_order_relaxed) + 1;
	file->direct = io->facts.direct;
	pthread_mutex_init(&file->sync_lock, NULL);
	memcpy(file->path, path, path_bytes);
	/* What an earlier failed flush left in the cache as clean must not be believed (D3). */
	if (!file->direct)
		(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED); /* only a precaution */
	*out = &file->file;
	return 0;
}

void mr_io_disk_file_close(struct mr_io_file *base)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);

	(void)close(file->fd); /* durability was asked for by sync, and answered there */
	pthread_mutex_destroy(&file->sync_lock);
	free(file);
}

int mr_io_disk_lock(struct mr_io_file *base, uint32_t wait_ms, struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000};
	uint64_t until_ns = mr_clock_monotonic_ns(&mr_clock_system) + (uint64_t)wait_ms * 1000000;

	while (flock(file->fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return mr_error_set(err, -errno, "cannot lock '%s': %s", file->path,
					    strerror(errno));
		if (mr_clock_monotonic_ns(&mr_clock_system) >= until_ns)
			return mr_error_set(err, -EWOULDBLOCK,
					    "'%s' is locked by another process, still after %u ms",
					    file->path, wait_ms);
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int64_t file_size(const struct mr_io_disk_file *file)
{
	struct stat st;

	return fstat(file->fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

int64_t mr_io_disk_size(struct mr_io_file *base, struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	int64_t size = file_size(file);

	if (size < 0)
		return mr_error_set(err, (int)size, "cannot tell the size of '%s': %s", file->path,
				    strerror((int)-size));
	return size;
}

/* For file systems without fallocate: the size at least. 'warning' of the facts says more. */
static int grow(const struct mr_io_disk_file *file, uint64_t end)
{
	int64_t size = file_size(file);

	if (size < 0)
		return (int)size;
	if ((uint64_t)size >= end)
		return 0;
	return ftruncate(file->fd, (off_t)end) < 0 ? -errno : 0;
}

int mr_io_disk_allocate(struct mr_io_file *base, uint64_t offset, uint64_t bytes,
			struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	uint32_t attempts = 0;
	int r;

	do
		r = fallocate(file->fd, 0, (off_t)offset, (off_t)bytes) < 0 ? -errno : 0;
	while (r == -EINTR && ++attempts < MR_IO_ATTEMPTS_MAX);
	if (r == -EOPNOTSUPP)
		r = grow(file, offset + bytes);
	if (r < 0)
		return mr_error_set(err, r, "cannot reserve %llu bytes for '%s': %s",
				    (unsigned long long)bytes, file->path, strerror(-r));
	return 0;
}

int mr_io_disk_truncate(struct mr_io_file *base, uint64_t bytes, struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);

	if (ftruncate(file->fd, (off_t)bytes) < 0)
		return mr_error_set(err, -errno, "cannot cut '%s' to %llu bytes: %s", file->path,
				    (unsigned long long)bytes, strerror(errno));
	return 0;
}

/*
 * A write lease is given only where no other description of the file is open, whoever has it; and
 * without a name nobody can open it any more.
 */
int mr_io_disk_shrink(struct mr_io_file *base, uint64_t bytes, struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	struct stat st;

	if (fstat(file->fd, &st) < 0 || st.st_nlink != 0)
		return mr_error_set(err, -EBUSY, "'%s' still has a name", file->path);
	if (fcntl(file->fd, F_SETLEASE, F_WRLCK) < 0)
		return mr_error_set(err, errno == EAGAIN ? -EBUSY : -errno,
				    "'%s' is not ours alone: %s", file->path, strerror(errno));
	(void)fcntl(file->fd, F_SETLEASE, F_UNLCK); /* it told us; closing would end it, too */
	return mr_io_disk_truncate(base, bytes, err);
}

/* True if a read that stopped inside a block at 'end' stopped at the end of the file. */
static bool ends_at(const struct mr_io_disk_file *file, uint64_t end)
{
	int64_t size = file_size(file);

	return size < 0 || (uint64_t)size <= end;
}

static int64_t read_all(const struct mr_io_disk_file *file, char *buffer, size_t bytes,
			uint64_t offset)
{
	uint32_t attempts = 0;
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = pread(file->fd, buffer + done, bytes - done, (off_t)(offset + done));
		if (n < 0 && (errno != EINTR || ++attempts > MR_IO_ATTEMPTS_MAX))
			return -errno;
		if (n == 0)
			break;
		if (n < 0)
			continue;
		done += (size_t)n;
		if (!file->direct || done % MR_IO_BLOCK_BYTES == 0)
			continue;
		if (ends_at(file, offset + done))
			break;
		if (++attempts > MR_IO_ATTEMPTS_MAX)
			return -EIO;
		done = round_down(done);
	}
	return (int64_t)done;
}

/* O_DIRECT wants whole blocks: for a reader that has none, through an aligned copy. */
static int64_t read_bounced(const struct mr_io_disk_file *file, char *buffer, size_t bytes,
			    uint64_t offset)
{
	char *bounce = aligned_alloc(MR_IO_BLOCK_BYTES, BOUNCE_BYTES);
	size_t done = 0, skip, want, take;
	int64_t n = 0;

	if (!bounce)
		return -ENOMEM;
	while (done < bytes) {
		skip = (offset + done) % MR_IO_BLOCK_BYTES;
		want = round_down(skip + bytes - done + MR_IO_BLOCK_BYTES - 1);
		want = want < BOUNCE_BYTES ? want : BOUNCE_BYTES;
		n = read_all(file, bounce, want, offset + done - skip);
		if (n <= (int64_t)skip)
			break;
		take = (size_t)n - skip < bytes - done ? (size_t)n - skip : bytes - done;
		memcpy(buffer + done, bounce + skip, take);
		done += take;
		if ((size_t)n < want)
			break;
	}
	free(bounce);
	return n < 0 ? n : (int64_t)done;
}

int64_t mr_io_disk_read(struct mr_io_file *base, void *buffer, size_t bytes, uint64_t offset,
			struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	bool aligned = (((uintptr_t)buffer | bytes | offset) % MR_IO_BLOCK_BYTES) == 0;
	int64_t n;

	if (aligned || !file->direct)
		n = read_all(file, buffer, bytes, offset);
	else
		n = read_bounced(file, buffer, bytes, offset);
	if (n < 0)
		return mr_error_set(err, (int)n, "cannot read %zu bytes at %llu of '%s': %s", bytes,
				    (unsigned long long)offset, file->path, strerror((int)-n));
	return n;
}

int mr_io_disk_write(struct mr_io_file *base, const void *buffer, size_t bytes, uint64_t offset,
		     struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	struct mr_io_rest rest = {.buffer = buffer, .bytes = bytes, .offset = offset};
	int64_t n;
	int r;

	do {
		n = pwrite(file->fd, rest.buffer, rest.bytes, (off_t)rest.offset);
		r = mr_io_rest_advance(&rest, n < 0 ? -errno : n);
	} while (r == 0);
	if (r < 0)
		return mr_error_set(err, r, "cannot write %zu bytes at %llu of '%s': %s", bytes,
				    (unsigned long long)offset, file->path, strerror(-r));
	return 0;
}

int mr_io_disk_flush(struct mr_io_disk_file *file)
{
	int r;

	/*
	 * The kernel tells each error to one caller only. With two at once, one would get the
	 * other's error and the other a zero for bytes that are lost; so one at a time, and the
	 * error stays.
	 */
	pthread_mutex_lock(&file->sync_lock);
	if (!file->sync_error && fdatasync(file->fd) < 0)
		file->sync_error = -errno;
	r = file->sync_error;
	pthread_mutex_unlock(&file->sync_lock);
	return r;
}

int mr_io_disk_sync(struct mr_io_file *base, struct mr_error *err)
{
	struct mr_io_disk_file *file = mr_io_disk_file(base);
	int r = mr_io_disk_flush(file);

	if (r < 0)
		return mr_error_set(err, r, "cannot make '%s' durable: %s", file->path,
				    strerror(-r));
	return 0;
}

bool mr_io_disk_is_named(struct mr_io_file *base)
{
	struct stat st;

	return fstat(mr_io_disk_file(base)->fd, &st) == 0 && st.st_nlink > 0;
}

int mr_io_disk_read_fd(struct mr_io *io, const char *path, struct mr_error *err)
{
	int fd = openat(disk_of(io)->directory_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return mr_error_set(err, -errno, "cannot open '%s': %s", path, strerror(errno));
	return fd;
}

int mr_io_disk_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err)
{
	int directory = disk_of(io)->directory_fd;

	if (renameat(directory, from, directory, to) < 0)
		return mr_error_set(err, -errno, "cannot rename '%s' to '%s': %s", from, to,
				    strerror(errno));
	return 0;
}

int mr_io_disk_remove(struct mr_io *io, const char *path, struct mr_error *err)
{
	int directory = disk_of(io)->directory_fd;
	int r = unlinkat(directory, path, 0);

	if (r < 0 && errno == EISDIR)
		r = unlinkat(directory, path, AT_REMOVEDIR);
	if (r < 0)
		return mr_error_set(err, -errno, "cannot remove '%s': %s", path, strerror(errno));
	return 0;
}

int mr_io_disk_make_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	if (mkdirat(disk_of(io)->directory_fd, path, 0700) < 0 && errno != EEXIST)
		return mr_error_set(err, -errno, "cannot make directory '%s': %s", path,
				    strerror(errno));
	return 0;
}

static int open_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	int fd = openat(disk_of(io)->directory_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return mr_error_set(err, -errno, "cannot open directory '%s': %s", path,
				    strerror(errno));
	return fd;
}

int mr_io_disk_sync_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	int fd = open_directory(io, path, err);
	int r = 0;

	if (fd < 0)
		return fd;
	if (fsync(fd) < 0)
		r = mr_error_set(err, -errno, "cannot make the names in '%s' durable: %s", path,
				 strerror(errno));
	(void)close(fd); /* nothing was written through it */
	return r;
}

static int compare_entries(const void *a, const void *b)
{
	const struct mr_io_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static bool is_directory(DIR *dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return S_ISDIR(st.st_mode);
}

/* Reads all names into a growing array; 0 or a negative errno. */
static int read_names(DIR *dir, struct mr_io_entry **entries, size_t *count)
{
	size_t room = 0;
	struct mr_io_entry *grown;
	struct dirent *entry;

	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (*count == room) {
			room = room ? 2 * room : 16;
			grown = realloc(*entries, room * sizeof(**entries));
			if (!grown)
				return -ENOMEM;
			*entries = grown;
		}
		snprintf((*entries)[*count].name, sizeof((*entries)[*count].name), "%s",
			 entry->d_name);
		(*entries)[*count].is_directory = is_directory(dir, entry);
		(*count)++;
	}
	return -errno;
}

int mr_io_disk_list(struct mr_io *io, const char *path, struct mr_io_entry **out, size_t *count,
		    struct mr_error *err)
{
	struct mr_io_entry *entries = NULL;
	int fd = open_directory(io, path, err);
	size_t found = 0;
	DIR *dir;
	int r;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd); /* nothing was written through it */
		return mr_error_set(err, -ENOMEM, "no memory to list '%s'", path);
	}
	r = read_names(dir, &entries, &found);
	closedir(dir);
	if (r < 0) {
		free(entries);
		return mr_error_set(err, r, "cannot list '%s': %s", path, strerror(-r));
	}
	if (found)
		qsort(entries, found, sizeof(*entries), compare_entries);
	*out = entries;
	*count = found;
	return 0;
}

int mr_io_disk_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		     struct mr_error *err)
{
	struct statvfs fs;

	if (fstatvfs(disk_of(io)->directory_fd, &fs) < 0)
		return mr_error_set(err, -errno, "cannot tell the free space: %s", strerror(errno));
	*free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	*total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}
