/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake disk as an mr_io (io_fake.h): paths, open files and queues over the medium. Runs on the
 * test's thread and owns the medium. Open files and queues carry the number of the boot they belong
 * to.
 */
#include "io_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "io_fake_disk.h"

struct fake_queue;

struct fake_io {
	struct mr_io io;
	struct fake_medium medium;
	uint64_t random;
	uint64_t boot;
	uint32_t allowed;
	uint32_t slow_turns;
	struct fake_queue *queues; /* all that are open */
};

struct fake_file {
	struct mr_io_file file;
	struct fake_node *node;
	enum mr_io_open_mode mode;
	uint64_t boot;
	char path[MR_IO_PATH_BYTES];
};

struct flight {
	struct fake_file *file; /* NULL: the power was cut */
	const char *buffer;
	char *copy; /* what the buffer held when the write was queued */
	size_t bytes;
	uint64_t offset;
	void *user;
	uint64_t due_turn;
};

struct fake_queue {
	struct mr_io_queue queue;
	struct fake_queue *next;
	uint64_t boot;
	uint32_t depth;
	int bell_fd;
	bool waited; /* since the last reap: something should come */
	uint64_t turn;
	struct flight *flights;
	size_t flight_count;
};

static struct fake_io *fake_of(struct mr_io *io)
{
	return (struct fake_io *)io;
}

static struct fake_file *file_of(struct mr_io_file *file)
{
	return (struct fake_file *)file;
}

static struct fake_queue *queue_of(struct mr_io_queue *queue)
{
	return (struct fake_queue *)queue;
}

/* Walks 'path' down to its last component: its directory, or NULL with why in 'error'. */
static struct fake_node *walk(const struct fake_io *fake, const char *path, const char **last,
			      int *error)
{
	struct fake_node *node = fake->medium.nodes[0];
	struct fake_entry *entry;
	char name[256];
	size_t length;

	for (;;) {
		length = strcspn(path, "/");
		*error = -ENAMETOOLONG;
		if (length >= sizeof(name))
			return NULL;
		if (path[length] == '\0') {
			*last = path;
			return node;
		}
		snprintf(name, sizeof(name), "%.*s", (int)length, path);
		entry = fake_find(&node->seen, name);
		*error = entry ? -ENOTDIR : -ENOENT;
		if (!entry || !entry->node->is_directory)
			return NULL;
		node = entry->node;
		path += length + 1;
	}
}

/* The node behind 'path', or NULL with why in 'error'. "." is the root. */
static struct fake_node *look_up(const struct fake_io *fake, const char *path, int *error)
{
	const char *last;
	struct fake_node *directory;
	struct fake_entry *entry;

	if (strcmp(path, ".") == 0)
		return fake->medium.nodes[0];
	directory = walk(fake, path, &last, error);
	if (!directory)
		return NULL;
	entry = fake_find(&directory->seen, last);
	*error = -ENOENT;
	return entry ? entry->node : NULL;
}

static struct fake_node *look_up_directory(const struct fake_io *fake, const char *path, int *error)
{
	struct fake_node *node = look_up(fake, path, error);

	if (node && !node->is_directory) {
		*error = -ENOTDIR;
		return NULL;
	}
	return node;
}

static int failed(struct mr_error *err, int r, const char *verb, const char *path)
{
	return mr_error_set(err, r, "cannot %s '%s': %s", verb, path, strerror(-r));
}

static void change(struct fake_node *directory, enum fake_change_kind kind, const char *name,
		   struct fake_node *node, const char *to)
{
	struct fake_change item = {.kind = kind, .entry.node = node};

	snprintf(item.entry.name, sizeof(item.entry.name), "%s", name);
	if (to)
		snprintf(item.to, sizeof(item.to), "%s", to);
	fake_change_names(directory, &item);
}

static int find_or_create(struct fake_io *fake, const char *path, enum mr_io_open_mode mode,
			  struct fake_node **out)
{
	const char *last;
	struct fake_node *directory;
	struct fake_entry *entry;
	int error = 0;

	directory = walk(fake, path, &last, &error);
	if (!directory)
		return error;
	entry = fake_find(&directory->seen, last);
	if (entry && mode == MR_IO_CREATE)
		return -EEXIST;
	if (!entry && mode != MR_IO_CREATE)
		return -ENOENT;
	if (entry && entry->node->is_directory)
		return -EISDIR;
	*out = entry ? entry->node : fake_node_new(&fake->medium, false);
	(*out)->linked = true;
	if (!entry)
		change(directory, FAKE_LINK, last, *out, NULL);
	return 0;
}

static int fake_open(struct mr_io *io, const char *path, enum mr_io_open_mode mode,
		     struct mr_io_file **out, struct mr_error *err)
{
	struct fake_io *fake = fake_of(io);
	struct fake_node *node = NULL;
	struct fake_file *file;
	int r = find_or_create(fake, path, mode, &node);

	if (r < 0)
		return failed(err, r, mode == MR_IO_CREATE ? "create" : "open", path);
	file = fake_resize(NULL, 1, sizeof(*file));
	file->file.io = io;
	file->node = node;
	file->mode = mode;
	file->boot = fake->boot;
	snprintf(file->path, sizeof(file->path), "%s", path);
	node->open_count++;
	*out = &file->file;
	return 0;
}

static bool is_alive(const struct fake_file *file)
{
	return file->boot == fake_of(file->file.io)->boot;
}

static void fake_file_close(struct mr_io_file *base)
{
	struct fake_file *file = file_of(base);
	struct fake_io *fake = fake_of(base->io);

	for (struct fake_queue *queue = fake->queues; queue; queue = queue->next) {
		for (size_t i = 0; i < queue->flight_count; i++)
			mr_assert(queue->flights[i].file != file);
	}
	if (is_alive(file)) {
		file->node->open_count--;
		if (file->node->lock == file)
			file->node->lock = NULL;
		fake_release(&fake->medium, file->node);
	}
	free(file);
}

static int fake_lock(struct mr_io_file *base, uint32_t wait_ms, struct mr_error *err)
{
	struct fake_file *file = file_of(base);

	if (!is_alive(file))
		return failed(err, -EIO, "lock", file->path);
	/* One thread only: nobody could let it go meanwhile, so nobody waits. */
	if (file->node->lock && file->node->lock != file)
		return mr_error_set(err, -EWOULDBLOCK, "'%s' is locked, still after %u ms",
				    file->path, wait_ms);
	file->node->lock = file;
	return 0;
}

static int64_t fake_size(struct mr_io_file *base, struct mr_error *err)
{
	struct fake_file *file = file_of(base);

	if (!is_alive(file))
		return failed(err, -EIO, "tell the size of", file->path);
	return (int64_t)file->node->seen_bytes;
}

/* 0 if the file can be changed. */
static int check_writable(const struct fake_file *file)
{
	if (!is_alive(file))
		return -EIO;
	return file->mode == MR_IO_READ ? -EBADF : 0;
}

static int fake_allocate(struct mr_io_file *base, uint64_t offset, uint64_t bytes,
			 struct mr_error *err)
{
	struct fake_file *file = file_of(base);
	int r = check_writable(file);

	if (r == 0)
		r = fake_reserve(&fake_of(base->io)->medium, file->node, offset, bytes);
	return r < 0 ? failed(err, r, "reserve space for", file->path) : 0;
}

static int fake_truncate_file(struct mr_io_file *base, uint64_t bytes, struct mr_error *err)
{
	struct fake_file *file = file_of(base);
	int r = check_writable(file);

	if (r < 0)
		return failed(err, r, "cut", file->path);
	fake_truncate(&fake_of(base->io)->medium, file->node, bytes);
	return 0;
}

static int fake_shrink(struct mr_io_file *base, uint64_t bytes, struct mr_error *err)
{
	struct fake_file *file = file_of(base);

	if (is_alive(file) && (file->node->open_count > 1 || file->node->linked))
		return failed(err, -EBUSY, "cut", file->path);
	return fake_truncate_file(base, bytes, err);
}

static bool fake_is_named(struct mr_io_file *base)
{
	return is_alive(file_of(base)) && file_of(base)->node->linked;
}

static int64_t fake_read_file(struct mr_io_file *base, void *buffer, size_t bytes, uint64_t offset,
			      struct mr_error *err)
{
	struct fake_file *file = file_of(base);

	if (!is_alive(file))
		return failed(err, -EIO, "read", file->path);
	return (int64_t)fake_read(file->node, buffer, bytes, offset);
}

static int fake_write_file(struct mr_io_file *base, const void *buffer, size_t bytes,
			   uint64_t offset, struct mr_error *err)
{
	struct fake_file *file = file_of(base);
	int r = check_writable(file);

	if (r == 0)
		r = fake_reserve(&fake_of(base->io)->medium, file->node, offset, bytes);
	if (r < 0)
		return failed(err, r, "write", file->path);
	fake_write(file->node, buffer, bytes, offset);
	return 0;
}

static int fake_sync(struct mr_io_file *base, struct mr_error *err)
{
	struct fake_file *file = file_of(base);

	if (!is_alive(file))
		return failed(err, -EIO, "make durable", file->path);
	fake_flush(file->node, 0, UINT64_MAX);
	return 0;
}

void *mr_io_fake_bytes(const struct mr_io *io, const char *path, size_t *bytes)
{
	int error;
	struct fake_node *node = look_up((const struct fake_io *)io, path, &error);
	void *copy;

	if (!node || node->is_directory)
		return NULL;
	copy = fake_resize(NULL, (size_t)node->seen_bytes, 1);
	*bytes = fake_read(node, copy, (size_t)node->seen_bytes, 0);
	return copy;
}

void *mr_io_fake_durable_bytes(const struct mr_io *io, const char *path, size_t *bytes)
{
	int error;
	struct fake_node *node = look_up((const struct fake_io *)io, path, &error);
	char *copy;

	if (!node || node->is_directory)
		return NULL;
	*bytes = (size_t)node->kept_bytes;
	copy = fake_resize(NULL, *bytes, 1);
	memset(copy, 0, *bytes);
	for (size_t i = 0; i < node->block_count && i * BLOCK < *bytes; i++) {
		if (node->blocks[i].kept)
			memcpy(copy + i * BLOCK, node->blocks[i].kept,
			       *bytes - i * BLOCK < BLOCK ? *bytes - i * BLOCK : BLOCK);
	}
	return copy;
}

static int fake_read_fd(struct mr_io *io, const char *path, struct mr_error *err)
{
	size_t bytes = 0;
	char *copy = mr_io_fake_bytes(io, path, &bytes);
	char link[64];
	int fd, only_read;

	if (!copy)
		return failed(err, -ENOENT, "open", path);
	fd = memfd_create("fake", MFD_CLOEXEC);
	mr_assert(fd >= 0);
	mr_assert(write(fd, copy, bytes) == (ssize_t)bytes);
	free(copy);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	only_read = open(link, O_RDONLY | O_CLOEXEC);
	mr_assert(only_read >= 0);
	(void)close(fd); /* the other one keeps it */
	return only_read;
}

/* Both names in one directory, as the engine has them; else -EXDEV. */
static int find_rename(struct fake_io *fake, const char *from, const char *to,
		       struct fake_node **directory, const char **last_from, const char **last_to)
{
	struct fake_node *other;
	struct fake_entry *source, *target;
	int error = 0;

	*directory = walk(fake, from, last_from, &error);
	if (!*directory)
		return error;
	other = walk(fake, to, last_to, &error);
	if (!other)
		return error;
	source = fake_find(&(*directory)->seen, *last_from);
	if (!source)
		return -ENOENT;
	if (other != *directory)
		return -EXDEV;
	target = fake_find(&other->seen, *last_to);
	if (target && target->node->is_directory)
		return source->node->is_directory ? -ENOTEMPTY : -EISDIR;
	return 0;
}

static void forget_name(struct fake_io *fake, struct fake_node *node)
{
	node->linked = false;
	fake_release(&fake->medium, node);
}

static int fake_rename(struct mr_io *io, const char *from, const char *to, struct mr_error *err)
{
	struct fake_io *fake = fake_of(io);
	const char *last_from, *last_to;
	struct fake_node *directory, *node;
	struct fake_entry *replaced;
	int r = find_rename(fake, from, to, &directory, &last_from, &last_to);

	if (r < 0)
		return mr_error_set(err, r, "cannot rename '%s' to '%s': %s", from, to,
				    strerror(-r));
	node = fake_find(&directory->seen, last_from)->node;
	replaced = fake_find(&directory->seen, last_to);
	if (replaced && replaced->node == node)
		return 0;
	if (replaced)
		forget_name(fake, replaced->node);
	change(directory, FAKE_RENAME, last_from, node, last_to);
	return 0;
}

static int fake_remove(struct mr_io *io, const char *path, struct mr_error *err)
{
	struct fake_io *fake = fake_of(io);
	const char *last;
	struct fake_node *directory;
	struct fake_entry *entry;
	int error = 0;

	directory = walk(fake, path, &last, &error);
	if (!directory)
		return failed(err, error, "remove", path);
	entry = fake_find(&directory->seen, last);
	if (!entry)
		return failed(err, -ENOENT, "remove", path);
	if (entry->node->is_directory && entry->node->seen.count)
		return failed(err, -ENOTEMPTY, "remove", path);
	forget_name(fake, entry->node);
	change(directory, FAKE_UNLINK, last, NULL, NULL);
	return 0;
}

static int fake_make_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	struct fake_io *fake = fake_of(io);
	const char *last;
	struct fake_node *directory, *node;
	int error = 0;

	directory = walk(fake, path, &last, &error);
	if (!directory)
		return failed(err, error, "make directory", path);
	if (fake_find(&directory->seen, last) || strcmp(path, ".") == 0)
		return 0;
	node = fake_node_new(&fake->medium, true);
	node->linked = true;
	change(directory, FAKE_LINK, last, node, NULL);
	return 0;
}

static int fake_sync_directory(struct mr_io *io, const char *path, struct mr_error *err)
{
	int error = 0;
	struct fake_node *node = look_up_directory(fake_of(io), path, &error);

	if (!node)
		return failed(err, error, "make durable the names in", path);
	fake_keep_names(node, node->change_count);
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct mr_io_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int fake_list(struct mr_io *io, const char *path, struct mr_io_entry **entries,
		     size_t *count, struct mr_error *err)
{
	int error = 0;
	struct fake_node *node = look_up_directory(fake_of(io), path, &error);

	if (!node)
		return failed(err, error, "list", path);
	*count = node->seen.count;
	*entries = fake_resize(NULL, *count, sizeof(**entries));
	for (size_t i = 0; i < *count; i++) {
		memcpy((*entries)[i].name, node->seen.all[i].name, sizeof((*entries)[i].name));
		(*entries)[i].is_directory = node->seen.all[i].node->is_directory;
	}
	qsort(*entries, *count, sizeof(**entries), compare_entries);
	return 0;
}

static int fake_space(struct mr_io *io, uint64_t *free_bytes, uint64_t *total_bytes,
		      struct mr_error *err)
{
	const struct fake_medium *medium = &fake_of(io)->medium;

	*total_bytes = medium->total_blocks * BLOCK;
	*free_bytes = medium->used_blocks < medium->total_blocks
			      ? (medium->total_blocks - medium->used_blocks) * BLOCK
			      : 0;
	return 0;
}

static int fake_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
			   struct mr_error *err)
{
	struct fake_io *fake = fake_of(io);
	struct fake_queue *queue = fake_resize(NULL, 1, sizeof(*queue));

	memset(queue, 0, sizeof(*queue));
	queue->queue.io = io;
	queue->boot = fake->boot;
	queue->depth = depth;
	queue->bell_fd = bell_fd;
	queue->flights = fake_resize(NULL, depth, sizeof(*queue->flights));
	queue->next = fake->queues;
	fake->queues = queue;
	*out = &queue->queue;
	return 0;
}

/* Makes the write durable as a whole, or says why not. */
static int land(struct fake_io *fake, const struct flight *flight)
{
	int r = flight->file ? check_writable(flight->file) : -EIO;

	if (r < 0)
		return r;
	/* D9: nobody touches a buffer between write and completion. */
	mr_assert(memcmp(flight->buffer, flight->copy, flight->bytes) == 0);
	r = fake_reserve(&fake->medium, flight->file->node, flight->offset, flight->bytes);
	if (r < 0)
		return r;
	fake_write(flight->file->node, flight->copy, flight->bytes, flight->offset);
	fake_flush(flight->file->node, flight->offset, flight->bytes);
	return 0;
}

static void complete(struct fake_queue *queue, size_t index, struct mr_io_completion *completion)
{
	struct flight *flight = &queue->flights[index];

	completion->user = flight->user;
	completion->result = land(fake_of(queue->queue.io), flight);
	free(flight->copy);
	queue->flights[index] = queue->flights[--queue->flight_count];
}

static void fake_queue_close(struct mr_io_queue *base)
{
	struct fake_queue *queue = queue_of(base), **link = &fake_of(base->io)->queues;
	struct mr_io_completion ignored;

	while (queue->flight_count)
		complete(queue, mr_io_fake_random(&fake_of(base->io)->random) % queue->flight_count,
			 &ignored);
	while (*link != queue)
		link = &(*link)->next;
	*link = queue->next;
	free(queue->flights);
	free(queue);
}

static int fake_queue_register(struct mr_io_queue *queue, void *memory, size_t bytes)
{
	return 0;
}

static void fake_queue_unregister(struct mr_io_queue *queue, void *memory)
{
}

static int fake_queue_register_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	return 0;
}

static void fake_queue_unregister_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
}

static int fake_queue_write(struct mr_io_queue *base, struct mr_io_file *file, const void *buffer,
			    size_t bytes, uint64_t offset, void *user)
{
	struct fake_queue *queue = queue_of(base);
	struct flight *flight = &queue->flights[queue->flight_count];

	if (queue->flight_count == queue->depth)
		return -EAGAIN;
	*flight = (struct flight){
		.file = file_of(file),
		.buffer = buffer,
		.copy = fake_resize(NULL, bytes, 1),
		.bytes = bytes,
		.offset = offset,
		.user = user,
		.due_turn = queue->turn + fake_of(base->io)->slow_turns,
	};
	memcpy(flight->copy, buffer, bytes);
	queue->flight_count++;
	return 0;
}

/* A write that may complete now, chosen by the seed; flight_count if there is none. */
static size_t choose(struct fake_io *fake, const struct fake_queue *queue)
{
	size_t start = mr_io_fake_random(&fake->random) % queue->flight_count, index;

	if (queue->boot != fake->boot)
		return start; /* its power was cut: it only has to come back */
	if (fake->allowed == 0)
		return queue->flight_count;
	for (size_t i = 0; i < queue->flight_count; i++) {
		index = (start + i) % queue->flight_count;
		if (queue->flights[index].due_turn < queue->turn)
			return index;
	}
	return queue->flight_count;
}

static int fake_queue_reap(struct mr_io_queue *base, struct mr_io_completion *completions,
			   uint32_t max)
{
	struct fake_queue *queue = queue_of(base);
	struct fake_io *fake = fake_of(base->io);
	uint32_t count = 0, want;
	size_t index;

	queue->turn++;
	want = (uint32_t)(mr_io_fake_random(&fake->random) % (queue->flight_count + 1));
	if (want == 0 && queue->waited)
		want = 1;
	while (count < want && count < max && queue->flight_count) {
		index = choose(fake, queue);
		if (index == queue->flight_count)
			break;
		complete(queue, index, &completions[count++]);
		if (fake->allowed != MR_IO_FAKE_ALL && queue->boot == fake->boot)
			fake->allowed--;
	}
	queue->waited = false;
	return (int)count;
}

static int fake_queue_wait(struct mr_io_queue *base, uint64_t timeout_ns)
{
	struct fake_queue *queue = queue_of(base);

	queue->waited = true;
	queue->turn++;
	return 0; /* time does not pass here */
}

static void fake_close(struct mr_io *io)
{
	mr_assert(!fake_of(io)->queues);
	fake_medium_deinit(&fake_of(io)->medium);
	free(io);
}

static const struct mr_io_operations fake_operations = {
	.close = fake_close,
	.open = fake_open,
	.file_close = fake_file_close,
	.lock = fake_lock,
	.size = fake_size,
	.allocate = fake_allocate,
	.truncate = fake_truncate_file,
	.shrink = fake_shrink,
	.read = fake_read_file,
	.write = fake_write_file,
	.sync = fake_sync,
	.is_named = fake_is_named,
	.read_fd = fake_read_fd,
	.rename = fake_rename,
	.remove = fake_remove,
	.make_directory = fake_make_directory,
	.sync_directory = fake_sync_directory,
	.list = fake_list,
	.space = fake_space,
	.queue_open = fake_queue_open,
	.queue_close = fake_queue_close,
	.queue_register = fake_queue_register,
	.queue_unregister = fake_queue_unregister,
	.queue_register_file = fake_queue_register_file,
	.queue_unregister_file = fake_queue_unregister_file,
	.queue_write = fake_queue_write,
	.queue_reap = fake_queue_reap,
	.queue_wait = fake_queue_wait,
};

static struct fake_io *fake_new(uint64_t seed)
{
	struct fake_io *fake = fake_resize(NULL, 1, sizeof(*fake));

	memset(fake, 0, sizeof(*fake));
	fake->io.operations = &fake_operations;
	fake->io.facts.backend = "fake";
	fake->io.facts.direct = true;
	fake->io.facts.block_bytes = BLOCK;
	snprintf(fake->io.facts.file_system, sizeof(fake->io.facts.file_system), "fake");
	fake->random = seed;
	fake->allowed = MR_IO_FAKE_ALL;
	return fake;
}

struct mr_io *mr_io_fake_new(uint64_t seed)
{
	struct fake_io *fake = fake_new(seed);

	fake->medium.total_blocks = ((uint64_t)1 << 40) / BLOCK;
	fake_node_new(&fake->medium, true)->linked = true;
	return &fake->io;
}

struct mr_io *mr_io_fake_clone(const struct mr_io *io, uint64_t seed)
{
	struct fake_io *fake = fake_new(seed);

	fake_medium_copy(&fake->medium, &((const struct fake_io *)io)->medium);
	return &fake->io;
}

void mr_io_fake_crash(struct mr_io *io, uint64_t seed)
{
	struct fake_io *fake = fake_of(io);
	struct fake_queue *queue;
	struct flight *flight;

	for (queue = fake->queues; queue; queue = queue->next) {
		for (size_t i = 0; i < queue->flight_count; i++) {
			flight = &queue->flights[i];
			if (flight->file && check_writable(flight->file) == 0)
				fake_tear(&fake->medium, flight->file->node, flight->copy,
					  flight->bytes, flight->offset, &seed);
			flight->file = NULL;
		}
	}
	fake_power_cut(&fake->medium, &seed);
	fake->boot++;
	fake->allowed = MR_IO_FAKE_ALL;
	fake->slow_turns = 0;
}

void mr_io_fake_allow(struct mr_io *io, uint32_t completions)
{
	fake_of(io)->allowed = completions;
}

void mr_io_fake_slow(struct mr_io *io, uint32_t turns)
{
	fake_of(io)->slow_turns = turns;
}

void mr_io_fake_set_free(struct mr_io *io, uint64_t bytes)
{
	struct fake_medium *medium = &fake_of(io)->medium;

	medium->total_blocks = medium->used_blocks + bytes / BLOCK;
}

static struct fake_node *need_file(struct mr_io *io, const char *path)
{
	int error;
	struct fake_node *node = look_up(fake_of(io), path, &error);

	mr_assert(node);
	mr_assert(!node->is_directory);
	return node;
}

void mr_io_fake_flip_bit(struct mr_io *io, const char *path, uint64_t bit)
{
	struct fake_node *node = need_file(io, path);
	char byte;

	mr_assert(fake_read(node, &byte, 1, bit / 8) == 1);
	byte ^= (char)(1u << (bit % 8));
	fake_write(node, &byte, 1, bit / 8);
	fake_flush(node, bit / 8, 1);
}

void mr_io_fake_cut(struct mr_io *io, const char *path, uint64_t bytes)
{
	struct fake_node *node = need_file(io, path);

	fake_truncate(&fake_of(io)->medium, node, bytes);
	fake_flush(node, 0, UINT64_MAX);
}

void mr_io_fake_delete(struct mr_io *io, const char *path)
{
	struct fake_node *node = need_file(io, path), *directory;
	const char *last;
	int error;

	directory = walk(fake_of(io), path, &last, &error);
	mr_assert(directory);
	forget_name(fake_of(io), node);
	change(directory, FAKE_UNLINK, last, NULL, NULL);
	fake_keep_names(directory, directory->change_count);
}

static void add_paths(const struct fake_node *directory, const char *prefix,
		      char (*paths)[MR_IO_PATH_BYTES], size_t max, size_t *count)
{
	char path[MR_IO_PATH_BYTES];
	const struct fake_entry *entry;

	for (size_t i = 0; i < directory->seen.count; i++) {
		entry = &directory->seen.all[i];
		mr_assert((size_t)snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "/" : "",
					   entry->name) < sizeof(path));
		if (entry->node->is_directory)
			add_paths(entry->node, path, paths, max, count);
		else if ((*count)++ < max)
			memcpy(paths[*count - 1], path, sizeof(path));
	}
}

size_t mr_io_fake_paths(const struct mr_io *io, char (*paths)[MR_IO_PATH_BYTES], size_t max)
{
	size_t count = 0;

	add_paths(((const struct fake_io *)io)->medium.nodes[0], "", paths, max, &count);
	return count;
}

size_t mr_io_fake_in_flight(const struct mr_io *io)
{
	size_t count = 0;

	for (const struct fake_queue *queue = ((const struct fake_io *)io)->queues; queue;
	     queue = queue->next)
		count += queue->flight_count;
	return count;
}
