/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapper that fails the Nth operation (io_fault.h). Owns its own heads of files and queues. */
#include "io_fault.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "error.h"

struct fault_io {
	struct mr_io io;
	struct mr_io *inner;
	pthread_mutex_t lock; /* all below */
	struct mr_io_fault_plan plan;
	char within[MR_IO_PATH_BYTES];
	uint64_t counted; /* for the plan */
	uint64_t hits;
	enum mr_io_fault_kind struck;
	char struck_path[MR_IO_PATH_BYTES];
	uint64_t seen[MR_IO_FAULT_KIND_COUNT];
};

struct fault_file {
	struct mr_io_file file;
	struct mr_io_file *inner;
	char path[MR_IO_PATH_BYTES];
};

/* A queued write on its way through the wrapper: its answer may be replaced. */
struct record {
	struct record *next;
	void *user;
	int error; /* 0: as the inner one says */
};

struct fault_queue {
	struct mr_io_queue queue;
	struct mr_io_queue *inner;
	struct record *records;
	struct record *free_records;
	struct record *failed; /* never given to the inner queue; answered at the next reap */
};

/* What to do with one operation. */
struct verdict {
	int error; /* 0: let it through */
	enum mr_io_fault_how how;
};

static const char *const kind_names[] = {
	"open",		  "lock", "size",    "allocate",   "truncate",	  "read",
	"write",	  "sync", "read_fd", "rename",	   "remove",	  "make_directory",
	"sync_directory", "list", "space",   "queue_open", "queue_write", "any",
};
static_assert(mr_array_count(kind_names) == MR_IO_FAULT_KIND_COUNT + 1, "a name for each kind");

static struct fault_io *fault_of(struct mr_io *io)
{
	return (struct fault_io *)io;
}

static struct mr_io_file *inner_of(struct mr_io_file *file)
{
	return ((struct fault_file *)file)->inner;
}

static const char *path_of(struct mr_io_file *file)
{
	return ((struct fault_file *)file)->path;
}

static struct fault_queue *queue_of(struct mr_io_queue *queue)
{
	return (struct fault_queue *)queue;
}

static struct verdict judge(struct mr_io *io, enum mr_io_fault_kind kind, const char *path)
{
	struct fault_io *fault = fault_of(io);
	struct verdict verdict = {0};

	pthread_mutex_lock(&fault->lock);
	fault->seen[kind]++;
	if (fault->plan.nth && (fault->plan.kind == kind || fault->plan.kind == MR_IO_FAULT_ANY) &&
	    strstr(path, fault->within)) {
		fault->counted++;
		if (fault->counted == fault->plan.nth ||
		    (fault->plan.from_then_on && fault->counted > fault->plan.nth)) {
			verdict.error = fault->plan.error;
			verdict.how = fault->plan.how;
			fault->hits++;
			fault->struck = kind;
			snprintf(fault->struck_path, sizeof(fault->struck_path), "%s", path);
		}
	}
	pthread_mutex_unlock(&fault->lock);
	return verdict;
}

static bool is_before(const struct verdict *verdict)
{
	return verdict->error && verdict->how != MR_IO_FAULT_AFTER;
}

static int told(struct mr_error *err, const struct verdict *verdict, enum mr_io_fault_kind kind,
		const char *path)
{
	return mr_error_set(err, verdict->error, "cannot %s '%s': %s (a planned fault)",
			    kind_names[kind], path, strerror(-verdict->error));
}

/*
 * Runs 'call' unless the plan says otherwise, and returns its result or the planned error. A macro,
 * since only the call differs between seventeen functions.
 */
#define GUARD(io, kind, path, err, call)                                                           \
	do {                                                                                       \
		struct verdict verdict = judge(io, kind, path);                                    \
		int64_t result;                                                                    \
                                                                                                   \
		if (is_before(&verdict))                                                           \
			return told(err, &verdict, kind, path);                                    \
		result = call;                                                                     \
		return verdict.error && result >= 0 ? told(err, &verdict, kind, path) : result;    \
	} while (0)

static int fault_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
		      struct mr_io_file **out, struct mr_error *err)
{
	struct verdict verdict = judge(io, MR_IO_FAULT_OPEN, path);
	struct mr_io_file *inner;
	struct fault_file *file;
	int r;

	if (is_before(&verdict))
		return told(err, &verdict, MR_IO_FAULT_OPEN, path);
	r = mr_io_open(fault_of(io)->inner, path, mode, &inner, err);
	if (r < 0)
		return r;
	if (verdict.error) { /* a new file's name may be there although it was not opened */
		mr_io_file_close(inner);
		return told(err, &verdict, MR_IO_FAULT_OPEN, path);
	}
	file = calloc(1, sizeof(*file));
	mr_assert(file);
	file->file.io = io;
	file->inner = inner;
	snprintf(file->path, sizeof(file->path), "%s", path);
	*out = &file->file;
	return 0;
}

static void fault_file_close(struct mr_io_file *file)
{
	mr_io_file_close(inner_of(file));
	free(file);
}

static int fault_lock(struct mr_io_file *file, uint32_t wait_ms, struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_LOCK, path_of(file), err,
	      mr_io_lock(inner_of(file), wait_ms, err));
}

static int64_t fault_size(struct mr_io_file *file, struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_SIZE, path_of(file), err, mr_io_size(inner_of(file), err));
}

static int fault_allocate(struct mr_io_file *file, uint64_t offset, uint64_t bytes,
			  struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_ALLOCATE, path_of(file), err,
	      mr_io_allocate(inner_of(file), offset, bytes, err));
}

static int fault_truncate(struct mr_io_file *file, uint64_t bytes, struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_TRUNCATE, path_of(file), err,
	      mr_io_truncate(inner_of(file), bytes, err));
}

static int fault_shrink(struct mr_io_file *file, uint64_t bytes, struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_TRUNCATE, path_of(file), err,
	      mr_io_shrink(inner_of(file), bytes, err));
}

static int64_t fault_read(struct mr_io_file *file, void *buffer, size_t bytes, uint64_t offset,
			  struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_READ, path_of(file), err,
	      mr_io_read(inner_of(file), buffer, bytes, offset, err));
}

/* The half that a short write still writes, in whole blocks; 0 of a single one. */
static size_t half(size_t bytes)
{
	return bytes / 2 / MR_IO_BLOCK_BYTES * MR_IO_BLOCK_BYTES;
}

static int fault_write(struct mr_io_file *file, const void *buffer, size_t bytes, uint64_t offset,
		       struct mr_error *err)
{
	struct verdict verdict = judge(file->io, MR_IO_FAULT_WRITE, path_of(file));
	int r = 0;

	if (verdict.error && verdict.how == MR_IO_FAULT_SHORT)
		bytes = half(bytes);
	if (!verdict.error || verdict.how != MR_IO_FAULT_BEFORE)
		r = mr_io_write(inner_of(file), buffer, bytes, offset, err);
	if (r == 0 && verdict.error)
		r = told(err, &verdict, MR_IO_FAULT_WRITE, path_of(file));
	return r;
}

static int fault_sync(struct mr_io_file *file, struct mr_error *err)
{
	GUARD(file->io, MR_IO_FAULT_SYNC, path_of(file), err, mr_io_sync(inner_of(file), err));
}

static bool fault_is_named(struct mr_io_file *file)
{
	return mr_io_is_named(inner_of(file));
}

static int fault_read_fd(struct mr_io *io, const char *path, struct mr_error *err)
{
	struct verdict verdict = judge(io, MR_IO_FAULT_READ_FD, path);

	if (verdict.error) /* there is no "after": it changes nothing */
		return told(err, &verdict, MR_IO_FAULT_READ_FD, path);
	return mr_io_read_fd(fault_of(io)->inner, path, err);
}

static int fault_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err)
{
	GUARD(io, MR_IO_FAULT_RENAME, from, err, mr_io_rename(fault_of(io)->inner, from, to, err));
}

static int fault_remove(struct mr_io *io, const char *path, struct mr_error *err)
{
	GUARD(io, MR_IO_FAULT_REMOVE, path, err, mr_io_remove(fault_of(io)->inner, path, err));
}

static int fault_make_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	GUARD(io, MR_IO_FAULT_MAKE_DIRECTORY, path, err,
	      mr_io_make_directory(fault_of(io)->inner, path, err));
}

static int fault_sync_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	GUARD(io, MR_IO_FAULT_SYNC_DIRECTORY, path, err,
	      mr_io_sync_directory(fault_of(io)->inner, path, err));
}

static int fault_list(struct mr_io *io, const char *path, struct mr_io_entry **entries,
		      size_t *count, struct mr_error *err)
{
	struct verdict verdict = judge(io, MR_IO_FAULT_LIST, path);

	if (verdict.error)
		return told(err, &verdict, MR_IO_FAULT_LIST, path);
	return mr_io_list(fault_of(io)->inner, path, entries, count, err);
}

static int fault_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		       struct mr_error *err)
{
	GUARD(io, MR_IO_FAULT_SPACE, ".", err,
	      mr_io_space(fault_of(io)->inner, free_bytes, total_bytes, err));
}

static int fault_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
			    struct mr_error *err)
{
	struct verdict verdict = judge(io, MR_IO_FAULT_QUEUE_OPEN, ".");
	struct fault_queue *queue;
	int r;

	if (verdict.error)
		return told(err, &verdict, MR_IO_FAULT_QUEUE_OPEN, ".");
	queue = calloc(1, sizeof(*queue));
	mr_assert(queue);
	r = mr_io_queue_open(fault_of(io)->inner, depth, bell_fd, &queue->inner, err);
	if (r < 0) {
		free(queue);
		return r;
	}
	queue->queue.io = io;
	queue->records = calloc(depth, sizeof(*queue->records));
	mr_assert(queue->records);
	for (uint32_t i = 0; i < depth; i++) {
		queue->records[i].next = queue->free_records;
		queue->free_records = &queue->records[i];
	}
	*out = &queue->queue;
	return 0;
}

static void fault_queue_close(struct mr_io_queue *base)
{
	struct fault_queue *queue = queue_of(base);

	mr_io_queue_close(queue->inner);
	free(queue->records);
	free(queue);
}

static int fault_queue_register(struct mr_io_queue *queue, void *memory, size_t bytes)
{
	return mr_io_queue_register(queue_of(queue)->inner, memory, bytes);
}

static void fault_queue_unregister(struct mr_io_queue *queue, void *memory)
{
	mr_io_queue_unregister(queue_of(queue)->inner, memory);
}

static int fault_queue_register_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	return mr_io_queue_register_file(queue_of(queue)->inner, inner_of(file));
}

static void fault_queue_unregister_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	mr_io_queue_unregister_file(queue_of(queue)->inner, inner_of(file));
}

static int fault_queue_write(struct mr_io_queue *base, struct mr_io_file *file, const void *buffer,
			     size_t bytes, uint64_t offset, void *user)
{
	struct fault_queue *queue = queue_of(base);
	struct record *record = queue->free_records;
	struct verdict verdict;
	int r;

	if (!record)
		return -EAGAIN;
	verdict = judge(base->io, MR_IO_FAULT_QUEUE_WRITE, path_of(file));
	if (verdict.error == -EAGAIN)
		return -EAGAIN;
	if (verdict.error && verdict.how == MR_IO_FAULT_SHORT)
		bytes = half(bytes);
	queue->free_records = record->next;
	record->user = user;
	record->error = verdict.error;
	if (verdict.error && (verdict.how == MR_IO_FAULT_BEFORE || bytes == 0)) {
		record->next = queue->failed;
		queue->failed = record;
		return 0;
	}
	r = mr_io_queue_write(queue->inner, inner_of(file), buffer, bytes, offset, record);
	mr_assert(r == 0); /* there are as many records as the inner queue has places */
	return 0;
}

static void answer(struct fault_queue *queue, struct record *record,
		   struct mr_io_completion *completion)
{
	completion->user = record->user;
	if (record->error)
		completion->result = record->error;
	record->next = queue->free_records;
	queue->free_records = record;
}

static int fault_queue_reap(struct mr_io_queue *base, struct mr_io_completion *completions,
			    uint32_t max)
{
	struct fault_queue *queue = queue_of(base);
	struct record *record;
	uint32_t count = 0;
	int n;

	while (queue->failed && count < max) {
		record = queue->failed;
		queue->failed = record->next;
		answer(queue, record, &completions[count++]);
	}
	n = mr_io_queue_reap(queue->inner, completions + count, max - count);
	for (int i = 0; i < n; i++, count++)
		answer(queue, completions[count].user, &completions[count]);
	return (int)count;
}

static int fault_queue_wait(struct mr_io_queue *base, uint64_t timeout_ns)
{
	struct fault_queue *queue = queue_of(base);

	return mr_io_queue_wait(queue->inner, queue->failed ? 0 : timeout_ns);
}

static void fault_close(struct mr_io *io)
{
	pthread_mutex_destroy(&fault_of(io)->lock);
	free(io);
}

static const struct mr_io_operations fault_operations = {
	.close = fault_close,
	.open = fault_open,
	.file_close = fault_file_close,
	.lock = fault_lock,
	.size = fault_size,
	.allocate = fault_allocate,
	.truncate = fault_truncate,
	.shrink = fault_shrink,
	.read = fault_read,
	.write = fault_write,
	.sync = fault_sync,
	.is_named = fault_is_named,
	.read_fd = fault_read_fd,
	.rename = fault_rename,
	.remove = fault_remove,
	.make_directory = fault_make_directory,
	.sync_directory = fault_sync_directory,
	.list = fault_list,
	.space = fault_space,
	.queue_open = fault_queue_open,
	.queue_close = fault_queue_close,
	.queue_register = fault_queue_register,
	.queue_unregister = fault_queue_unregister,
	.queue_register_file = fault_queue_register_file,
	.queue_unregister_file = fault_queue_unregister_file,
	.queue_write = fault_queue_write,
	.queue_reap = fault_queue_reap,
	.queue_wait = fault_queue_wait,
};

struct mr_io *mr_io_fault_new(struct mr_io *inner)
{
	struct fault_io *fault = calloc(1, sizeof(*fault));

	mr_assert(fault);
	fault->io.operations = &fault_operations;
	fault->io.facts = inner->facts;
	fault->inner = inner;
	fault->struck = MR_IO_FAULT_ANY;
	pthread_mutex_init(&fault->lock, NULL);
	return &fault->io;
}

void mr_io_fault_set(struct mr_io *io, const struct mr_io_fault_plan *plan)
{
	struct fault_io *fault = fault_of(io);

	mr_assert(plan->nth == 0 || plan->error < 0);
	pthread_mutex_lock(&fault->lock);
	fault->plan = *plan;
	fault->counted = 0;
	fault->hits = 0;
	fault->struck = MR_IO_FAULT_ANY;
	pthread_mutex_unlock(&fault->lock);
}

void mr_io_fault_only(struct mr_io *io, const char *words)
{
	struct fault_io *fault = fault_of(io);

	pthread_mutex_lock(&fault->lock);
	snprintf(fault->within, sizeof(fault->within), "%s", words);
	pthread_mutex_unlock(&fault->lock);
}

uint64_t mr_io_fault_hits(struct mr_io *io)
{
	struct fault_io *fault = fault_of(io);
	uint64_t hits;

	pthread_mutex_lock(&fault->lock);
	hits = fault->hits;
	pthread_mutex_unlock(&fault->lock);
	return hits;
}

enum mr_io_fault_kind mr_io_fault_struck(struct mr_io *io, char *path)
{
	struct fault_io *fault = fault_of(io);
	enum mr_io_fault_kind kind;

	pthread_mutex_lock(&fault->lock);
	kind = fault->struck;
	snprintf(path, MR_IO_PATH_BYTES, "%s", kind == MR_IO_FAULT_ANY ? "" : fault->struck_path);
	pthread_mutex_unlock(&fault->lock);
	return kind;
}

uint64_t mr_io_fault_seen(struct mr_io *io, enum mr_io_fault_kind kind)
{
	struct fault_io *fault = fault_of(io);
	uint64_t seen = 0;

	pthread_mutex_lock(&fault->lock);
	for (int i = 0; i < MR_IO_FAULT_KIND_COUNT; i++) {
		if (kind == MR_IO_FAULT_ANY || (int)kind == i)
			seen += fault->seen[i];
	}
	pthread_mutex_unlock(&fault->lock);
	return seen;
}

const char *mr_io_fault_kind_name(enum mr_io_fault_kind kind)
{
	return kind_names[kind];
}
