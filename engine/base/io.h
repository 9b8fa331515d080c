/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to the disk. Every file the engine touches is opened, read, written, made durable
 *and removed through one `struct mr_io`, on every thread, so that a test can put another disk
 *behind it: one that fails the Nth operation, or one that loses power (tests/support).
 *
 * Two back ends run in production, chosen at start and by the same tests:
 *	uring	O_DIRECT files, io_uring queues, writes with RWF_DSYNC
 *	posix	buffered files, a few threads a queue that pwrite and fdatasync
 *
 * Rules kept here (reliability.md D): a write is reported good only when all its bytes are on
 *stable storage; a short write, EAGAIN, EINTR and ECANCELED are resubmitted here and never seen
 *above; any other error is reported once and is final for the caller. A buffer is not touched
 *between write and completion. Queues never spin.
 *
 * Names: 'path' is relative to the data directory that the io was opened on; it has no leading
 *slash and no "..". All functions return 0 or a count, else a negative errno with 'err' filled in.
 */
#ifndef MR_IO_H
#define MR_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

/* What a write must be aligned to, in address, length and file offset; never less than this. */
#define MR_IO_BLOCK_BYTES     4096u
#define MR_IO_WRITE_BYTES_MAX (1u << 30) /* one durable write */
#define MR_IO_DEPTH_MAX	      4096u	 /* writes in flight in one queue */
#define MR_IO_PATH_BYTES      1024u	 /* room for a path with its end */

struct mr_io;
struct mr_io_file;
struct mr_io_queue;

enum mr_io_open_mode {
	MR_IO_READ,   /* an existing file, for reading */
	MR_IO_WRITE,  /* an existing file, for reading and writing */
	MR_IO_CREATE, /* a new file, for reading and writing; -EEXIST if the name is taken */
	MR_IO_MODE_COUNT,
};

/* What the disk under the data directory is; filled in when the io is opened. */
struct mr_io_facts {
	const char *backend;  /* "uring", "posix"; tests have more */
	bool direct;	      /* O_DIRECT is used */
	uint32_t block_bytes; /* D4: max(direct alignment, physical block, 4096) */
	dev_t device;	      /* st_dev of the data directory */
	char file_system[32]; /* "ext4", "tmpfs", ... */
	char warning[160]; /* what is weaker on this file system or kernel; empty if nothing (D13)
			    */
	char fallback_reason[160]; /* why "auto" did not take uring; or empty */
};

/* One finished write. */
struct mr_io_completion {
	void *user; /* as given to mr_io_queue_write() */
	int result; /* 0: every byte is durable; else a negative errno, final (D3) */
};

/* One name in a directory. */
struct mr_io_entry {
	char name[256];
	bool is_directory;
};

struct mr_io_operations {
	void (*close)(struct mr_io *io);

	/* Files. All of these may block; workers call none of them. */
	int (*open)(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
		    struct mr_io_file **out, struct mr_error *err);
	void (*file_close)(struct mr_io_file *file);
	int (*lock)(struct mr_io_file *file, uint32_t wait_ms, struct mr_error *err);
	int64_t (*size)(struct mr_io_file *file, struct mr_error *err);
	int (*allocate)(struct mr_io_file *file, uint64_t offset, uint64_t bytes,
			struct mr_error *err);
	int (*truncate)(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
	int (*shrink)(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
	int64_t (*read)(struct mr_io_file *file, void *buffer, size_t bytes, uint64_t offset,
			struct mr_error *err);
	int (*write)(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		     struct mr_error *err);
	int (*sync)(struct mr_io_file *file, struct mr_error *err);
	bool (*is_named)(struct mr_io_file *file);
	int (*read_fd)(struct mr_io *io, const char *path, struct mr_error *err);

	/* Names. */
	int (*rename)(struct mr_io *io, const char *from, const char *to, struct mr_error *err);
	int (*remove)(struct mr_io *io, const char *path, struct mr_error *err);
	int (*make_directory)(struct mr_io *io, const char *path, struct mr_error *err);
	int (*sync_directory)(struct mr_io *io, const char *path, struct mr_error *err);
	int (*list)(struct mr_io *io, const char *path, struct mr_io_entry **entries, size_t *count,
		    struct mr_error *err);
	int (*space)(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		     struct mr_error *err);

	/* Queues: one a worker thread, made and used on that thread only (but for wake). */
	int (*queue_open)(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
			  struct mr_error *err);
	void (*queue_close)(struct mr_io_queue *queue);
	int (*queue_register)(struct mr_io_queue *queue, void *memory, size_t bytes);
	void (*queue_unregister)(struct mr_io_queue *queue, void *memory);
	int (*queue_register_file)(struct mr_io_queue *queue, struct mr_io_file *file);
	void (*queue_unregister_file)(struct mr_io_queue *queue, struct mr_io_file *file);
	int (*queue_write)(struct mr_io_queue *queue, struct mr_io_file *file, const void *buffer,
			   size_t bytes, uint64_t offset, void *user);
	int (*queue_reap)(struct mr_io_queue *queue, struct mr_io_completion *completions,
			  uint32_t max);
	int (*queue_wait)(struct mr_io_queue *queue, uint64_t timeout_ns);
};

/* The head of every back end's own struct. */
struct mr_io {
	const struct mr_io_operations *operations;
	struct mr_io_facts facts;
};

struct mr_io_file {
	struct mr_io *io;
};

struct mr_io_queue {
	struct mr_io *io;
};

/*
 * Opens the data directory 'directory' (made if it is not there, mode 0700) with back end "uring",
 * "posix" or "auto" (uring where the kernel and the file system allow it, else posix, saying why in
 * facts.fallback_reason); "uring" fails where it is not possible. The directory's descriptor is
 * held, so a later chdir changes nothing.
 */
int mr_io_open_directory(const char *directory, const char *backend, struct mr_io **out,
			 struct mr_error *err);

/* The two constructors behind it (io_uring.c, io_posix.c); 'directory_fd' is taken on success only.
 */
int mr_io_uring_new(int directory_fd, struct mr_io **out, struct mr_error *err);
int mr_io_posix_new(int directory_fd, struct mr_io **out, struct mr_error *err);

/* Takes NULL. Every file and queue must have been closed before. */
void mr_io_close(struct mr_io *io);

int mr_io_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
	       struct mr_io_file **out, struct mr_error *err);
void mr_io_file_close(struct mr_io_file *file); /* takes NULL */

/*
 * Exclusive flock on the file's own descriptor. A killed engine's writes that are still in the
 * kernel keep its lock alive (D14), so this waits up to 'wait_ms' for them; -EWOULDBLOCK after
 * that.
 */
int mr_io_lock(struct mr_io_file *file, uint32_t wait_ms, struct mr_error *err);

int64_t mr_io_size(struct mr_io_file *file, struct mr_error *err);
/* Reserves space without writing; reads as zeros. The file grows to offset + bytes if shorter. */
int mr_io_allocate(struct mr_io_file *file, uint64_t offset, uint64_t bytes, struct mr_error *err);
int mr_io_truncate(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
/*
 * Cuts a file whose name is gone, so that its space comes back in pieces and not all at its last
 * close. -EBUSY: somebody else has it open, and what readers hold does not change (D8); other
 * errors where the file system cannot tell.
 */
int mr_io_shrink(struct mr_io_file *file, uint64_t bytes, struct mr_error *err);
/*
 * Reads up to 'bytes'; returns how many, less only at the end of the file. Buffer, bytes and offset
 * are block-aligned for files opened for writing; for small MR_IO_READ files any alignment goes (a
 * back end that needs more makes its own aligned copy). Never served from a cache that an earlier
 * write error may have left wrong (D3).
 */
int64_t mr_io_read(struct mr_io_file *file, void *buffer, size_t bytes, uint64_t offset,
		   struct mr_error *err);
/* Writes all bytes; not durable before mr_io_sync(). Block-aligned like mr_io_read(). */
int mr_io_write(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		struct mr_error *err);
/* Data and size are on stable storage when this returns 0. An error is final (D3). */
int mr_io_sync(struct mr_io_file *file, struct mr_error *err);
/* False: the file was removed, or another one took its name, since it was opened. */
bool mr_io_is_named(struct mr_io_file *file);
/* A plain read-only descriptor (buffered) to hand to a client; the caller owns it. */
int mr_io_read_fd(struct mr_io *io, const char *path, struct mr_error *err);

/*
 * A small file as a whole: read into memory the caller frees (at most 'bytes_max', else -EFBIG),
 * and replaced so that after a crash either the old or the new content is there, durably
 * ("NAME.new" written, synced, renamed, directory synced). Built from the operations above (io.c).
 */
int mr_io_load(struct mr_io *io, const char *path, size_t bytes_max, void **out, size_t *bytes,
	       struct mr_error *err);
int mr_io_replace(struct mr_io *io, const char *path, const void *bytes, size_t count,
		  struct mr_error *err);

/* Removes a directory and all below it; 0 too if it is not there. A crash may leave some of it. */
int mr_io_remove_tree(struct mr_io *io, const char *path, struct mr_error *err);

int mr_io_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err);
int mr_io_remove(struct mr_io *io, const char *path, struct mr_error *err);
/* Makes one directory; 0 too if it is there already. Its parent is not synced. */
int mr_io_make_directory(struct mr_io *io, const char *path, struct mr_error *err);
/* Makes the names in the directory durable; "." is the data directory itself. */
int mr_io_sync_directory(struct mr_io *io, const char *path, struct mr_error *err);
/* Entries sorted by name, without "." and "..", in one array that the caller frees. */
int mr_io_list(struct mr_io *io, const char *path, struct mr_io_entry **entries, size_t *count,
	       struct mr_error *err);
int mr_io_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		struct mr_error *err);

/*
 * A queue of durable writes for the calling thread, with room for 'depth' in flight. 'bell_fd' is a
 * descriptor that becomes readable when somebody wants the thread awake (an edge-triggered epoll
 * over doorbells; or -1); the queue only watches it. The owner empties it before each wait: one
 * that is left readable may wake a wait again, or not. No ring after the emptying is missed.
 */
int mr_io_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
		     struct mr_error *err);
/* Waits for what is in flight (their buffers must live until then). Takes NULL. */
void mr_io_queue_close(struct mr_io_queue *queue);
/*
 * Registers memory that writes will come from, where the back end and RLIMIT_MEMLOCK allow it: 1 if
 * it did, 0 if writes simply use plain buffers. At most MR_IO_REGIONS_MAX regions a queue.
 */
#define MR_IO_REGIONS_MAX 64
int mr_io_queue_register(struct mr_io_queue *queue, void *memory, size_t bytes);
void mr_io_queue_unregister(struct mr_io_queue *queue, void *memory);
/*
 * The same for a file that will be written often: 1 if it did, 0 if its plain descriptor is used.
 * What is registered keeps the file open, with its lock and its space, until it is unregistered on
 * this thread; so do that before the file is closed. At most MR_IO_FILES_MAX files a queue.
 */
#define MR_IO_FILES_MAX 64
int mr_io_queue_register_file(struct mr_io_queue *queue, struct mr_io_file *file);
void mr_io_queue_unregister_file(struct mr_io_queue *queue, struct mr_io_file *file);
/*
 * Starts one durable write; buffer and file must live until its completion is reaped. 0, or -EAGAIN
 * when 'depth' are in flight or not reaped. Never blocks for the disk. Everything else, submission
 * errors included, comes back as a completion.
 */
int mr_io_queue_write(struct mr_io_queue *queue, struct mr_io_file *file, const void *buffer,
		      size_t bytes, uint64_t offset, void *user);
/* Finished writes, up to 'max', in any order; 0 if none. Never sleeps; drives the back end on. */
int mr_io_queue_reap(struct mr_io_queue *queue, struct mr_io_completion *completions, uint32_t max);
/*
 * Sleeps until a write finished, the bell rang or the time is over; returns 0 in every case. The
 * thread is off its core meanwhile, so that the kernel can finish writes there.
 */
int mr_io_queue_wait(struct mr_io_queue *queue, uint64_t timeout_ns);

#endif
