/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first-choice back end: O_DIRECT files and one io_uring for each queue, with writes that carry
 * RWF_DSYNC, so that a completion without an error means durable.
 *
 * A queue is made and used on one thread and owns its ring (SINGLE_ISSUER | DEFER_TASKRUN where the
 * kernel has them: nothing completes unless that thread asks; D10). The kernel says in the shared
 * ring when there is something to ask for, so that a reap in vain costs no system call. Each write
 * in flight has a slot; the kernel's answer carries the slot's number. What comes back short or
 * interrupted is submitted again. A poll request that stays armed watches the bell. Nothing is
 * ordered by the ring: no drain, no links (D2).
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "io_disk.h"
#include "io_facts.h"

#define BELL_USER_DATA	    (UINT64_MAX - 1) /* liburing has UINT64_MAX for itself */
#define NONE		    UINT32_MAX
#define SUBMIT_FAILURES_MAX 1000u

/* One write in flight, or finished and not yet reaped. */
struct write_slot {
	struct mr_io_rest rest;
	void *user;
	uint64_t file_id; /* for its registered slot, looked up at each try */
	int fd;
	int result;
	uint32_t next; /* in the free list or the finished list */
};

struct region {
	char *memory; /* NULL: unused */
	size_t bytes;
};

struct uring_queue {
	struct mr_io_queue queue;
	struct io_uring ring;
	bool ring_made;
	bool rang;	 /* the bell rang since the last wait */
	bool bell_armed; /* a poll request is with the kernel */
	int bell_fd;
	int broken; /* the error after which the ring takes nothing more */
	uint32_t submit_failures;
	uint32_t depth;
	uint32_t with_kernel; /* slots whose answer is still to come */
	uint32_t free_first;
	uint32_t finished_first;
	uint32_t finished_last;
	struct write_slot *slots;
	bool regions_made;
	bool files_made;
	struct region regions[MR_IO_REGIONS_MAX];
	uint64_t files[MR_IO_FILES_MAX]; /* their ids; 0: unused */
};

static struct uring_queue *queue_of(struct mr_io_queue *queue)
{
	return (struct uring_queue *)queue;
}

static int ring_init(struct io_uring *ring, uint32_t entries)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int r = -EINVAL;

	for (size_t i = 0; i < mr_array_count(flags) && r == -EINVAL; i++)
		r = io_uring_queue_init(entries, ring, flags[i]);
	if (r < 0 || ring->features & IORING_FEAT_EXT_ARG)
		return r;
	io_uring_queue_exit(ring); /* too old to wait with a time-out */
	return -ENOSYS;
}

static void finish(struct uring_queue *queue, uint32_t index, int result)
{
	struct write_slot *slot = &queue->slots[index];

	slot->result = result;
	slot->next = NONE;
	if (queue->finished_first == NONE)
		queue->finished_first = index;
	else
		queue->slots[queue->finished_last].next = index;
	queue->finished_last = index;
	slot->fd = -1;
	queue->with_kernel--;
}

/* The ring takes nothing more: what it had is over, with its own error. */
static void break_ring(struct uring_queue *queue, int error)
{
	queue->broken = error;
	for (uint32_t i = 0; i < queue->depth; i++) {
		if (queue->slots[i].fd >= 0)
			finish(queue, i, error);
	}
}

/* Gives the kernel what is prepared. What it does not take now is offered again at the next turn.
 */
static void submit(struct uring_queue *queue)
{
	int r;

	if (queue->broken || io_uring_sq_ready(&queue->ring) == 0)
		return;
	r = io_uring_submit(&queue->ring);
	if (r >= 0) {
		queue->submit_failures = 0;
		return;
	}
	queue->submit_failures++;
	if ((r != -EAGAIN && r != -EBUSY && r != -EINTR) ||
	    queue->submit_failures > SUBMIT_FAILURES_MAX)
		break_ring(queue, r);
}

static int find_region(const struct uring_queue *queue, const char *buffer, size_t bytes)
{
	for (int i = 0; i < MR_IO_REGIONS_MAX; i++) {
		const struct region *region = &queue->regions[i];

		if (!region->memory || buffer < region->memory)
			continue;
		if ((size_t)(buffer - region->memory) <= region->bytes &&
		    bytes <= region->bytes - (size_t)(buffer - region->memory))
			return i;
	}
	return -1;
}

static int find_file(const struct uring_queue *queue, uint64_t id)
{
	for (int i = 0; i < MR_IO_FILES_MAX; i++) {
		if (queue->files[i] == id)
			return i;
	}
	return -1;
}

/*
 * Prepares one try of a write. There is an entry free for every slot and one for the bell, since
 * each has at most one request prepared; so io_uring_get_sqe() cannot fail.
 */
static void prepare(struct uring_queue *queue, uint32_t index)
{
	struct write_slot *slot = &queue->slots[index];
	struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
	int region = find_region(queue, slot->rest.buffer, slot->rest.bytes);
	int file = find_file(queue, slot->file_id);
	int fd = file >= 0 ? file : slot->fd;

	mr_assert(sqe);
	if (region >= 0)
		io_uring_prep_write_fixed(sqe, fd, slot->rest.buffer,
					  (unsigned int)slot->rest.bytes, slot->rest.offset,
					  region);
	else
		io_uring_prep_write(sqe, fd, slot->rest.buffer, (unsigned int)slot->rest.bytes,
				    slot->rest.offset);
	sqe->rw_flags = RWF_DSYNC;
	if (file >= 0)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data64(sqe, index);
}

/* A multishot poll tells each time the bell becomes readable, from the moment it is armed. */
static void arm_bell(struct uring_queue *queue)
{
	struct io_uring_sqe *sqe;

	if (queue->bell_fd < 0 || queue->bell_armed || queue->broken)
		return;
	sqe = io_uring_get_sqe(&queue->ring);
	mr_assert(sqe);
	io_uring_prep_poll_multishot(sqe, queue->bell_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, BELL_USER_DATA);
	queue->bell_armed = true;
}

static void take_answer(struct uring_queue *queue, const struct io_uring_cqe *cqe)
{
	uint64_t index = io_uring_cqe_get_data64(cqe);
	int r;

	if (index == BELL_USER_DATA) {
		if (cqe->res < 0)
			queue->bell_fd = -1; /* cannot be watched: waits end by time only */
		queue->rang = true;
		queue->bell_armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
		return;
	}
	mr_assert(index < queue->depth);
	if (queue->slots[index].fd < 0)
		return; /* the ring broke; the slot was answered then */
	r = mr_io_rest_advance(&queue->slots[index].rest, cqe->res);
	if (r == 0)
		prepare(queue, (uint32_t)index);
	else
		finish(queue, (uint32_t)index, r < 0 ? r : 0);
}

/* Takes all answers that are there, and gives the kernel what they make necessary. */
static void collect(struct uring_queue *queue)
{
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;

	io_uring_for_each_cqe(&queue->ring, head, cqe)
	{
		take_answer(queue, cqe);
		count++;
	}
	io_uring_cq_advance(&queue->ring, count);
	arm_bell(queue);
	submit(queue);
}

static void uring_queue_close(struct mr_io_queue *base)
{
	struct uring_queue *queue = queue_of(base);
	struct __kernel_timespec second = {.tv_sec = 1};
	struct io_uring_cqe *cqe;

	while (queue->with_kernel) {
		(void)io_uring_submit_and_wait_timeout(&queue->ring, &cqe, 1, &second, NULL);
		collect(queue);
	}
	if (queue->ring_made)
		io_uring_queue_exit(&queue->ring);
	free(queue->slots);
	free(queue);
}

static struct uring_queue *queue_new(struct mr_io *io, uint32_t depth, int bell_fd)
{
	struct uring_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->queue.io = io;
	queue->bell_fd = bell_fd;
	queue->depth = depth;
	queue->finished_first = NONE;
	queue->slots = calloc(depth, sizeof(*queue->slots));
	for (uint32_t i = 0; queue->slots && i < depth; i++) {
		queue->slots[i].fd = -1;
		queue->slots[i].next = i + 1 < depth ? i + 1 : NONE;
	}
	return queue;
}

static int uring_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
			    struct mr_error *err)
{
	struct uring_queue *queue = queue_new(io, depth, bell_fd);
	int r;

	if (!queue)
		return mr_error_set(err, -ENOMEM, "no memory for a queue of writes");
	if (!queue->slots) {
		r = mr_error_set(err, -ENOMEM, "no memory for a queue of %u writes", depth);
		goto fail;
	}
	r = ring_init(&queue->ring, depth + 1);
	if (r < 0) {
		r = mr_error_set(err, r, "cannot make an io_uring for %u writes: %s", depth,
				 strerror(-r));
		goto fail;
	}
	queue->ring_made = true;
	/* Without the tables, plain buffers and descriptors do. */
	queue->regions_made =
		io_uring_register_buffers_sparse(&queue->ring, MR_IO_REGIONS_MAX) == 0;
	queue->files_made = io_uring_register_files_sparse(&queue->ring, MR_IO_FILES_MAX) == 0;
	collect(queue);
	*out = &queue->queue;
	return 0;
fail:
	uring_queue_close(&queue->queue);
	return r;
}

static int uring_queue_register(struct mr_io_queue *base, void *memory, size_t bytes)
{
	struct uring_queue *queue = queue_of(base);
	struct iovec vector = {.iov_base = memory, .iov_len = bytes};
	unsigned int i = 0;
	__u64 tag = 0;

	while (i < MR_IO_REGIONS_MAX && queue->regions[i].memory)
		i++;
	if (!queue->regions_made || i == MR_IO_REGIONS_MAX)
		return 0;
	/* -ENOMEM beyond RLIMIT_MEMLOCK, -EFAULT above 1 GiB: plain buffers then. */
	if (io_uring_register_buffers_update_tag(&queue->ring, i, &vector, &tag, 1) != 1)
		return 0;
	queue->regions[i].memory = memory;
	queue->regions[i].bytes = bytes;
	return 1;
}

static void uring_queue_unregister(struct mr_io_queue *base, void *memory)
{
	struct uring_queue *queue = queue_of(base);
	struct iovec nothing = {0};
	__u64 tag = 0;

	for (unsigned int i = 0; i < MR_IO_REGIONS_MAX; i++) {
		if (queue->regions[i].memory != memory || !memory)
			continue;
		/* Should it fail, the kernel keeps the pages until the ring is closed. */
		(void)io_uring_register_buffers_update_tag(&queue->ring, i, &nothing, &tag, 1);
		queue->regions[i] = (struct region){0};
		return;
	}
}

static int uring_queue_register_file(struct mr_io_queue *base, struct mr_io_file *file)
{
	struct uring_queue *queue = queue_of(base);
	int fd = mr_io_disk_file(file)->fd;
	int i = find_file(queue, mr_io_disk_file(file)->id);

	if (i >= 0)
		return 1;
	i = find_file(queue, 0);
	if (!queue->files_made || i < 0)
		return 0;
	if (io_uring_register_files_update(&queue->ring, (unsigned int)i, &fd, 1) != 1)
		return 0;
	queue->files[i] = mr_io_disk_file(file)->id;
	return 1;
}

static void uring_queue_unregister_file(struct mr_io_queue *base, struct mr_io_file *file)
{
	struct uring_queue *queue = queue_of(base);
	int i = find_file(queue, mr_io_disk_file(file)->id);
	int none = -1;

	if (i < 0)
		return;
	/* Should it fail, the kernel keeps the file open until the ring is closed. */
	(void)io_uring_register_files_update(&queue->ring, (unsigned int)i, &none, 1);
	queue->files[i] = 0;
}

static int uring_queue_write(struct mr_io_queue *base, struct mr_io_file *file, const void *buffer,
			     size_t bytes, uint64_t offset, void *user)
{
	struct uring_queue *queue = queue_of(base);
	uint32_t index = queue->free_first;
	struct write_slot *slot;

	if (index == NONE)
		return -EAGAIN;
	slot = &queue->slots[index];
	queue->free_first = slot->next;
	slot->rest = (struct mr_io_rest){.buffer = buffer, .bytes = bytes, .offset = offset};
	slot->user = user;
	slot->file_id = mr_io_disk_file(file)->id;
	slot->fd = mr_io_disk_file(file)->fd;
	queue->with_kernel++;
	if (queue->broken) {
		finish(queue, index, queue->broken);
		return 0;
	}
	prepare(queue, index);
	submit(queue);
	return 0;
}

/* Completions that wait for this thread to run them, or that did not fit into the ring. */
static bool kernel_has_news(const struct io_uring *ring)
{
	return IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static int uring_queue_reap(struct mr_io_queue *base, struct mr_io_completion *completions,
			    uint32_t max)
{
	struct uring_queue *queue = queue_of(base);
	uint32_t count = 0, index;

	/* Errors here are not the writes': what is wrong with the ring shows at submission. */
	if (kernel_has_news(&queue->ring))
		(void)io_uring_get_events(&queue->ring);
	collect(queue);
	while (count < max && queue->finished_first != NONE) {
		index = queue->finished_first;
		queue->finished_first = queue->slots[index].next;
		completions[count].user = queue->slots[index].user;
		completions[count].result = queue->slots[index].result;
		count++;
		queue->slots[index].next = queue->free_first;
		queue->free_first = index;
	}
	return (int)count;
}

static int uring_queue_wait(struct mr_io_queue *base, uint64_t timeout_ns)
{
	struct uring_queue *queue = queue_of(base);
	struct __kernel_timespec timeout = {
		.tv_sec = (long long)(timeout_ns / 1000000000u),
		.tv_nsec = (long long)(timeout_ns % 1000000000u),
	};
	struct io_uring_cqe *cqe;

	/*
	 * 'rang' may stand for a ring that reap took after the owner had emptied the bell; so it
	 * ends one wait, and the owner looks again.
	 */
	collect(queue);
	if (queue->finished_first == NONE && !queue->rang) {
		(void)io_uring_submit_and_wait_timeout(&queue->ring, &cqe, 1, &timeout, NULL);
		collect(queue);
	}
	queue->rang = false;
	return 0;
}

static void uring_close(struct mr_io *io)
{
	mr_io_disk_deinit((struct mr_io_disk *)io);
	free(io);
}

static const struct mr_io_operations uring_operations = {
	MR_IO_DISK_OPERATIONS,
	.close = uring_close,
	.queue_open = uring_queue_open,
	.queue_close = uring_queue_close,
	.queue_register = uring_queue_register,
	.queue_unregister = uring_queue_unregister,
	.queue_register_file = uring_queue_register_file,
	.queue_unregister_file = uring_queue_unregister_file,
	.queue_write = uring_queue_write,
	.queue_reap = uring_queue_reap,
	.queue_wait = uring_queue_wait,
};

/* One durable direct write through a ring, as the engine will do them: 0 or a negative errno. */
static int try_write(int fd, struct mr_error *err)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	int r = ring_init(&ring, 2);
	char *block;

	if (r < 0)
		return mr_error_set(err, r, "io_uring is not available: %s", strerror(-r));
	block = aligned_alloc(MR_IO_BLOCK_BYTES, MR_IO_BLOCK_BYTES);
	if (!block) {
		io_uring_queue_exit(&ring);
		return mr_error_set(err, -ENOMEM, "no memory to try io_uring");
	}
	memset(block, 0, MR_IO_BLOCK_BYTES);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_write(sqe, fd, block, MR_IO_BLOCK_BYTES, 0);
	sqe->rw_flags = RWF_DSYNC;
	r = io_uring_submit_and_wait(&ring, 1);
	if (r >= 0)
		r = io_uring_wait_cqe(&ring, &cqe);
	if (r >= 0)
		r = cqe->res;
	io_uring_queue_exit(&ring);
	free(block);
	if (r >= 0 && r != (int)MR_IO_BLOCK_BYTES)
		r = -EIO;
	if (r < 0)
		return mr_error_set(err, r, "a direct durable write by io_uring fails: %s",
				    strerror(-r));
	return 0;
}

/* Tries on a small file what all later writes rely on, and learns the direct alignment. */
static int probe(int directory_fd, uint32_t *alignment, struct mr_error *err)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC | O_NOFOLLOW;
	char name[32];
	int fd, r;

	snprintf(name, sizeof(name), "io-probe.%d", (int)getpid());
	(void)unlinkat(directory_fd, name, 0); /* left by a crash; not there as a rule */
	fd = openat(directory_fd, name, flags, 0600);
	if (fd < 0) {
		r = -errno;
		(void)unlinkat(directory_fd, name,
			       0); /* an O_DIRECT refusal may come after the create */
		return mr_error_set(err, r,
				    "cannot open a file in the data directory with O_DIRECT: %s",
				    strerror(-r));
	}
	*alignment = mr_io_facts_direct_alignment(fd);
	r = try_write(fd, err);
	(void)close(fd);		       /* only a trial */
	(void)unlinkat(directory_fd, name, 0); /* tried again at the next start */
	return r;
}

int mr_io_uring_new(int directory_fd, struct mr_io **out, struct mr_error *err)
{
	struct mr_io_disk *disk = calloc(1, sizeof(*disk));
	uint32_t alignment = 0;
	int r;

	if (!disk)
		return mr_error_set(err, -ENOMEM, "no memory for the uring back end");
	r = probe(directory_fd, &alignment, err);
	if (r < 0)
		goto fail;
	disk->io.facts.backend = "uring";
	r = mr_io_disk_init(disk, &uring_operations, directory_fd, true, err);
	if (r < 0)
		goto fail;
	if (alignment > disk->io.facts.block_bytes)
		disk->io.facts.block_bytes = alignment;
	*out = &disk->io;
	return 0;
fail:
	free(disk);
	return r;
}
