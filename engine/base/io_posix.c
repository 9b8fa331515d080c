/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fallback back end: buffered files, and for each queue a few threads that write everything
 * with pwrite() and then make it durable with one fdatasync() (D1). For containers without io_uring
 * and file systems without O_DIRECT.
 *
 * The owner's thread calls the queue; the pool's threads take jobs from one list and put finished
 * ones on another, both under 'lock', and ring an eventfd. A job belongs to whoever holds it: free
 * list (owner), waiting list, one pool thread, finished list.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "io_disk.h"

#define POOL_THREADS_MAX 4u

struct job {
	struct job *next;
	struct mr_io_disk_file *file;
	struct mr_io_rest rest;
	void *user;
	int result;
};

/* First in, first out. */
struct job_list {
	struct job *first;
	struct job **end;
};

struct posix_queue {
	struct mr_io_queue queue;
	int bell_fd;
	int finished_fd; /* readable while 'finished' may not be empty */
	uint32_t threads;
	uint32_t in_flight; /* owner's: given out and not reaped */
	pthread_t pool[POOL_THREADS_MAX];
	struct job *free_jobs; /* owner's */
	struct job *jobs;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t work;
	struct job_list waiting;
	struct job_list finished;
	bool stop;
};

static struct posix_queue *queue_of(struct mr_io_queue *queue)
{
	return (struct posix_queue *)queue;
}

static void list_init(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_push(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static struct job *list_pop(struct job_list *list)
{
	struct job *job = list->first;

	if (!job)
		return NULL;
	list->first = job->next;
	if (!list->first)
		list->end = &list->first;
	return job;
}

/* All bytes, then one flush: 0 or the final error. */
static int write_durably(struct mr_io_disk_file *file, struct mr_io_rest *rest)
{
	ssize_t n;
	int r;

	do {
		n = pwrite(file->fd, rest->buffer, rest->bytes, (off_t)rest->offset);
		r = mr_io_rest_advance(rest, n < 0 ? -errno : n);
	} while (r == 0);
	return r < 0 ? r : mr_io_disk_flush(file);
}

static void ring(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one)); /* fails only when it is readable anyway */
}

static void *pool_main(void *argument)
{
	struct posix_queue *queue = argument;
	struct job *job;

	pthread_mutex_lock(&queue->lock);
	for (;;) {
		while (!queue->waiting.first && !queue->stop)
			pthread_cond_wait(&queue->work, &queue->lock);
		job = list_pop(&queue->waiting);
		if (!job)
			break;
		pthread_mutex_unlock(&queue->lock);
		job->result = write_durably(job->file, &job->rest);
		pthread_mutex_lock(&queue->lock);
		list_push(&queue->finished, job);
		ring(queue->finished_fd);
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

static void posix_queue_close(struct mr_io_queue *base)
{
	struct posix_queue *queue = queue_of(base);

	pthread_mutex_lock(&queue->lock);
	queue->stop = true; /* the pool ends when the waiting list is empty */
	pthread_cond_broadcast(&queue->work);
	pthread_mutex_unlock(&queue->lock);
	for (uint32_t i = 0; i < queue->threads; i++)
		pthread_join(queue->pool[i], NULL);
	pthread_cond_destroy(&queue->work);
	pthread_mutex_destroy(&queue->lock);
	if (queue->finished_fd >= 0)
		(void)close(queue->finished_fd); /* an eventfd */
	free(queue->jobs);
	free(queue);
}

/* The engine's signals belong to other threads, so the pool's are born with all of them blocked. */
static int start_pool(struct posix_queue *queue, uint32_t threads)
{
	sigset_t all, old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (queue->threads < threads && r == 0) {
		r = -pthread_create(&queue->pool[queue->threads], NULL, pool_main, queue);
		if (r == 0)
			queue->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

static struct posix_queue *queue_new(struct mr_io *io, uint32_t depth, int bell_fd)
{
	struct posix_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->queue.io = io;
	queue->bell_fd = bell_fd;
	queue->finished_fd = -1;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->work, NULL);
	list_init(&queue->waiting);
	list_init(&queue->finished);
	queue->jobs = calloc(depth, sizeof(*queue->jobs));
	for (uint32_t i = 0; queue->jobs && i < depth; i++) {
		queue->jobs[i].next = queue->free_jobs;
		queue->free_jobs = &queue->jobs[i];
	}
	return queue;
}

static int posix_queue_open(struct mr_io *io, uint32_t depth, int bell_fd, struct mr_io_queue **out,
			    struct mr_error *err)
{
	struct posix_queue *queue = queue_new(io, depth, bell_fd);
	int r;

	if (!queue)
		return mr_error_set(err, -ENOMEM, "no memory for a queue of writes");
	if (!queue->jobs) {
		r = mr_error_set(err, -ENOMEM, "no memory for a queue of %u writes", depth);
		goto fail;
	}
	queue->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->finished_fd < 0) {
		r = mr_error_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));
		goto fail;
	}
	r = start_pool(queue, depth < POOL_THREADS_MAX ? depth : POOL_THREADS_MAX);
	if (r < 0) {
		r = mr_error_set(err, r, "cannot start a thread for writes: %s", strerror(-r));
		goto fail;
	}
	*out = &queue->queue;
	return 0;
fail:
	posix_queue_close(&queue->queue);
	return r;
}

static int posix_queue_register(struct mr_io_queue *queue, void *memory, size_t bytes)
{
	return 0; /* pwrite knows no such thing */
}

static void posix_queue_unregister(struct mr_io_queue *queue, void *memory)
{
}

static int posix_queue_register_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
	return 0;
}

static void posix_queue_unregister_file(struct mr_io_queue *queue, struct mr_io_file *file)
{
}

static int posix_queue_write(struct mr_io_queue *base, struct mr_io_file *file, const void *buffer,
			     size_t bytes, uint64_t offset, void *user)
{
	struct posix_queue *queue = queue_of(base);
	struct job *job = queue->free_jobs;

	if (!job)
		return -EAGAIN;
	queue->free_jobs = job->next;
	queue->in_flight++;
	job->file = mr_io_disk_file(file);
	job->rest = (struct mr_io_rest){.buffer = buffer, .bytes = bytes, .offset = offset};
	job->user = user;
	pthread_mutex_lock(&queue->lock);
	list_push(&queue->waiting, job);
	pthread_cond_signal(&queue->work);
	pthread_mutex_unlock(&queue->lock);
	return 0;
}

static int posix_queue_reap(struct mr_io_queue *base, struct mr_io_completion *completions,
			    uint32_t max)
{
	struct posix_queue *queue = queue_of(base);
	uint32_t count = 0;
	uint64_t rings;
	struct job *job;

	if (queue->in_flight == 0)
		return 0;
	pthread_mutex_lock(&queue->lock);
	while (count < max && (job = list_pop(&queue->finished))) {
		completions[count].user = job->user;
		completions[count].result = job->result;
		count++;
		job->next = queue->free_jobs;
		queue->free_jobs = job;
	}
	if (count && !queue->finished.first)
		(void)!read(queue->finished_fd, &rings, sizeof(rings)); /* empties it */
	pthread_mutex_unlock(&queue->lock);
	queue->in_flight -= count;
	return (int)count;
}

static int posix_queue_wait(struct mr_io_queue *base, uint64_t timeout_ns)
{
	struct posix_queue *queue = queue_of(base);
	struct pollfd fds[2] = {
		{.fd = queue->finished_fd, .events = POLLIN},
		{.fd = queue->bell_fd, .events = POLLIN}, /* poll() skips -1 */
	};
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	(void)ppoll(fds, 2, &timeout, NULL); /* every end of it is a reason to look */
	return 0;
}

static void posix_close(struct mr_io *io)
{
	mr_io_disk_deinit((struct mr_io_disk *)io);
	free(io);
}

static const struct mr_io_operations posix_operations = {
	MR_IO_DISK_OPERATIONS,
	.close = posix_close,
	.queue_open = posix_queue_open,
	.queue_close = posix_queue_close,
	.queue_register = posix_queue_register,
	.queue_unregister = posix_queue_unregister,
	.queue_register_file = posix_queue_register_file,
	.queue_unregister_file = posix_queue_unregister_file,
	.queue_write = posix_queue_write,
	.queue_reap = posix_queue_reap,
	.queue_wait = posix_queue_wait,
};

int mr_io_posix_new(int directory_fd, struct mr_io **out, struct mr_error *err)
{
	struct mr_io_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (!disk)
		return mr_error_set(err, -ENOMEM, "no memory for the posix back end");
	disk->io.facts.backend = "posix";
	r = mr_io_disk_init(disk, &posix_operations, directory_fd, false, err);
	if (r < 0) {
		free(disk);
		return r;
	}
	*out = &disk->io;
	return 0;
}
