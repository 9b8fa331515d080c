/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk's limits (raw_disk.h): one io_uring, O_DIRECT, the calling thread pinned meanwhile and
 * asleep in the kernel while it waits, since a thread that spins would keep the kernel from
 * finishing its writes. What finished is noted in memory and judged at the end: rate and latencies
 * come from windows of WINDOW_NS in which the jitter probe saw no gap.
 */
#include "raw_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "now.h"
#include "raw_segments.h"

#define WINDOW_NS     20000000u /* many writes, and few gaps in most */
#define IN_FLIGHT_MAX 256
#define ALIGNMENT     4096u
#define HUGE_PAGE     (2u << 20)
#define REAP_ATTEMPTS (4 * IN_FLIGHT_MAX) /* each gives one at least, but for signals */
#define PREPARE_BYTES (1u << 20)
#define SEGMENTS_MAX  4096
#define DONE_MAX      (1u << 26)
#define RING_FLAGS    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/* A request that is through. */
struct done {
	uint64_t at_ns, latency_ns;
};

struct slot {
	uint8_t *buffer;
	uint64_t began_ns;
	struct mr_raw_segment *segment; /* MR_RAW_SEGMENTS: where it goes */
};

/* One measurement; owned by the calling thread. */
struct raw {
	struct io_uring ring;
	bool ring_open;
	uint32_t bytes, in_flight_max;
	uint8_t *buffers;
	struct slot slots[IN_FLIGHT_MAX];
	uint32_t free_slots[IN_FLIGHT_MAX], free_count;
	struct done *done;
	uint64_t done_count, done_room;
	cpu_set_t cpus_before;
	bool pinned;
	/* where the next request goes */
	int fd;
	uint64_t position, file_bytes;
	struct mr_raw_segments *segments;
	struct mr_raw_segment *active, *kept[SEGMENTS_MAX];
	uint32_t kept_first, kept_count, kept_max;
};

/* ---- one request --------------------------------------------------------- */

static int note_done(struct raw *raw, uint64_t at_ns, uint64_t latency_ns, struct mr_error *err)
{
	if (raw->done_count == raw->done_room) {
		uint64_t room = raw->done_room ? 2 * raw->done_room : 1u << 16;
		struct done *done =
			room > DONE_MAX ? NULL : realloc(raw->done, room * sizeof(*raw->done));

		if (!done)
			return mr_error_set(err, -ENOMEM, "no memory to note %llu raw requests",
					    (unsigned long long)room);
		raw->done = done;
		raw->done_room = room;
	}
	raw->done[raw->done_count++] = (struct done){.at_ns = at_ns, .latency_ns = latency_ns};
	return 0;
}

static struct io_uring_sqe *next_request(struct raw *raw, uint32_t *slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);

	*slot = raw->free_slots[--raw->free_count]; /* as many entries as slots, or more */
	return sqe;
}

/* Waits for at least one request and takes all that are through. */
static int reap(struct raw *raw, struct mr_error *err)
{
	struct io_uring_cqe *cqe;
	unsigned int head, seen = 0;
	int r = io_uring_submit_and_wait(&raw->ring, 1);
	uint64_t now_ns = mr_bench_now_ns();

	if (r < 0 && r != -EINTR)
		return mr_error_set(err, r, "cannot wait for the disk: %s", strerror(-r));
	r = 0;
	io_uring_for_each_cqe(&raw->ring, head, cqe)
	{
		struct slot *slot = &raw->slots[cqe->user_data];

		if (cqe->res != (int)raw->bytes)
			r = mr_error_set(err, cqe->res < 0 ? cqe->res : -EIO,
					 "a raw request of %u bytes gave %d", raw->bytes, cqe->res);
		else if (r == 0)
			r = note_done(raw, now_ns, now_ns - slot->began_ns, err);
		if (slot->segment)
			slot->segment->in_flight--;
		raw->free_slots[raw->free_count++] = (uint32_t)cqe->user_data;
		seen++;
	}
	io_uring_cq_advance(&raw->ring, seen);
	return r;
}

/* Also after an error: the kernel must not work on memory that is freed. */
static int reap_all(struct raw *raw, int status, struct mr_error *err)
{
	uint32_t attempts = 0;

	while (raw->free_count < raw->in_flight_max && attempts++ < REAP_ATTEMPTS) {
		int r = reap(raw, status < 0 ? NULL : err);

		if (status == 0)
			status = r;
	}
	return status;
}

/* ---- set up and tear down ------------------------------------------------ */

static int pin(struct raw *raw, int core, struct mr_error *err)
{
	cpu_set_t cpus;

	if (core < 0)
		return 0;
	CPU_ZERO(&cpus);
	CPU_SET((size_t)core, &cpus);
	if (sched_getaffinity(0, sizeof(raw->cpus_before), &raw->cpus_before) < 0 ||
	    sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return mr_error_set(err, -errno, "cannot run on core %d: %s", core,
				    strerror(errno));
	raw->pinned = true;
	return 0;
}

static int open_ring(struct raw *raw, struct mr_error *err)
{
	unsigned int entries = raw->in_flight_max < 8 ? 8 : raw->in_flight_max;
	int r = io_uring_queue_init(entries, &raw->ring, RING_FLAGS);

	if (r == -EINVAL) /* Linux before 6.1 */
		r = io_uring_queue_init(entries, &raw->ring, 0);
	if (r < 0)
		return mr_error_set(err, r, "no io_uring here: %s", strerror(-r));
	raw->ring_open = true;
	return 0;
}

/* Bytes that nobody can store as a hole or squeeze. */
static void fill(uint8_t *bytes, size_t count)
{
	uint64_t state = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i + sizeof(state) <= count; i += sizeof(state)) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		memcpy(bytes + i, &state, sizeof(state));
	}
}

/* In huge pages if asked for, and if the kernel has some: it may say no, and nobody is told. */
static uint8_t *get_buffers(size_t bytes, bool huge_pages)
{
	size_t alignment = huge_pages ? HUGE_PAGE : ALIGNMENT;
	size_t room = (bytes + alignment - 1) / alignment * alignment;
	uint8_t *buffers = aligned_alloc(alignment, room);

	if (!buffers)
		return NULL;
	(void)madvise(buffers, room, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); /* as above */
	fill(buffers, bytes);
	return buffers;
}

static int raw_open(struct raw *raw, uint32_t bytes, uint32_t in_flight, bool huge_pages, int core,
		    struct mr_error *err)
{
	int r;

	raw->bytes = bytes;
	raw->in_flight_max = in_flight ? in_flight : 1;
	if (!bytes || bytes % ALIGNMENT || raw->in_flight_max > IN_FLIGHT_MAX)
		return mr_error_set(err, -EINVAL,
				    "%u raw requests of %u bytes: at most %d, of whole %u bytes",
				    in_flight, bytes, IN_FLIGHT_MAX, ALIGNMENT);
	raw->buffers = get_buffers((size_t)bytes * raw->in_flight_max, huge_pages);
	if (!raw->buffers)
		return mr_error_set(err, -ENOMEM, "no memory for raw requests");
	while (raw->free_count < raw->in_flight_max) {
		raw->slots[raw->free_count].buffer = raw->buffers + (size_t)bytes * raw->free_count;
		raw->free_slots[raw->free_count] = raw->free_count;
		raw->free_count++;
	}
	r = open_ring(raw, err);
	return r < 0 ? r : pin(raw, core, err);
}

static void raw_close(struct raw *raw)
{
	if (raw->pinned)
		(void)sched_setaffinity(0, sizeof(raw->cpus_before), &raw->cpus_before); /* was */
	if (raw->ring_open)
		io_uring_queue_exit(&raw->ring);
	if (raw->active)
		mr_raw_segments_remove(raw->segments, raw->active);
	for (; raw->kept_count; raw->kept_count--)
		mr_raw_segments_remove(raw->segments, raw->kept[raw->kept_first++ % SEGMENTS_MAX]);
	mr_raw_segments_close(raw->segments);
	if (raw->fd >= 0)
		(void)close(raw->fd); /* a measurement's file: nobody reads it */
	free(raw->buffers);
	free(raw->done);
	free(raw);
}

static struct raw *raw_new(struct mr_error *err)
{
	struct raw *raw = calloc(1, sizeof(*raw));

	if (raw)
		raw->fd = -1;
	else
		mr_error_set(err, -ENOMEM, "no memory for a raw measurement");
	return raw;
}

/* ---- files --------------------------------------------------------------- */

static int prepare_failed(const char *path, int status, struct mr_error *err)
{
	return mr_error_set(err, status, "cannot prepare the raw file '%s': %s", path,
			    strerror(-status));
}

/* Writes all of the file once, except where a measurement before this one did. */
static int write_once(int fd, uint64_t file_bytes, const char *path, struct mr_error *err)
{
	uint8_t *bytes;
	struct stat found;
	uint64_t at;
	int r = 0;

	if (fstat(fd, &found) == 0 && (uint64_t)found.st_size == file_bytes)
		return 0;
	bytes = aligned_alloc(ALIGNMENT, PREPARE_BYTES);
	if (!bytes)
		return prepare_failed(path, -ENOMEM, err);
	fill(bytes, PREPARE_BYTES);
	if (ftruncate(fd, 0) < 0)
		r = -errno;
	for (at = 0; r == 0 && at < file_bytes; at += PREPARE_BYTES) {
		uint64_t left = file_bytes - at;
		size_t count = left < PREPARE_BYTES ? (size_t)left : PREPARE_BYTES;
		ssize_t put = pwrite(fd, bytes, count, (off_t)at);

		if (put != (ssize_t)count)
			r = put < 0 ? -errno : -EIO;
	}
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	free(bytes);
	return r < 0 ? prepare_failed(path, r, err) : 0;
}

static int open_file(struct raw *raw, const struct mr_raw_writes *writes, struct mr_error *err)
{
	bool written = writes->filling == MR_RAW_WRITTEN;
	int flags = O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC | (written ? 0 : O_TRUNC);
	char path[4096];

	snprintf(path, sizeof(path), "%s/raw-%s.dat", writes->directory,
		 written ? "written" : "allocated");
	raw->fd = open(path, flags, 0600);
	if (raw->fd < 0)
		return mr_error_set(err, -errno, "cannot open '%s' for direct writing: %s", path,
				    strerror(errno));
	raw->file_bytes = writes->file_bytes - writes->file_bytes % writes->bytes;
	if (written)
		return write_once(raw->fd, writes->file_bytes, path, err);
	if (fallocate(raw->fd, 0, 0, (off_t)writes->file_bytes) < 0 || fsync(raw->fd) < 0)
		return prepare_failed(path, -errno, err);
	return 0;
}

static int open_place(struct raw *raw, const struct mr_raw_writes *writes, struct mr_error *err)
{
	uint64_t keep;

	if (writes->file_bytes < writes->bytes || writes->file_bytes % ALIGNMENT)
		return mr_error_set(err, -EINVAL,
				    "a raw file of %llu bytes: it must hold a write of %u bytes, "
				    "and be of whole %u bytes",
				    (unsigned long long)writes->file_bytes, writes->bytes,
				    ALIGNMENT);
	if (writes->filling != MR_RAW_SEGMENTS)
		return open_file(raw, writes, err);
	keep = writes->keep_bytes / writes->file_bytes;
	raw->kept_max = keep < 1 ? 1 : keep >= SEGMENTS_MAX ? SEGMENTS_MAX - 1 : (uint32_t)keep;
	raw->file_bytes = writes->file_bytes - writes->file_bytes % writes->bytes;
	return mr_raw_segments_open(writes->directory, writes->file_bytes, &raw->segments, err);
}

/* The active file is full: the next one, and what is beyond the bound goes. */
static int roll(struct raw *raw, struct mr_error *err)
{
	struct mr_raw_segment *oldest;
	int r;

	if (raw->active) {
		raw->kept[(raw->kept_first + raw->kept_count++) % SEGMENTS_MAX] = raw->active;
		raw->active = NULL;
	}
	oldest = raw->kept[raw->kept_first % SEGMENTS_MAX];
	if (raw->kept_count >= raw->kept_max && oldest->in_flight == 0) {
		raw->kept_first++;
		raw->kept_count--;
		mr_raw_segments_remove(raw->segments, oldest);
	}
	if (raw->kept_count == SEGMENTS_MAX)
		return mr_error_set(err, -EIO, "a raw write did not come back for %d files",
				    SEGMENTS_MAX);
	r = mr_raw_segments_take(raw->segments, &raw->active, err);
	if (r < 0)
		return r;
	raw->position = 0;
	raw->fd = -1;
	return 0;
}

/* ---- writing ------------------------------------------------------------- */

/* True where a file that was only allocated is full: what comes after would be another question. */
static bool used_up(const struct raw *raw, const struct mr_raw_writes *writes)
{
	return writes->filling == MR_RAW_ALLOCATED && raw->position == raw->file_bytes;
}

static int submit_write(struct raw *raw, const struct mr_raw_writes *writes, struct mr_error *err)
{
	struct io_uring_sqe *sqe;
	struct slot *place;
	uint32_t slot;

	if (writes->filling == MR_RAW_SEGMENTS &&
	    (!raw->active || raw->position == raw->file_bytes)) {
		int r = roll(raw, err);

		if (r < 0)
			return r;
	} else if (raw->position == raw->file_bytes) {
		raw->position = 0;
	}
	sqe = next_request(raw, &slot);
	place = &raw->slots[slot];
	place->segment = raw->active;
	if (raw->active)
		raw->active->in_flight++;
	io_uring_prep_write(sqe, raw->active ? raw->active->fd : raw->fd, place->buffer, raw->bytes,
			    raw->position);
	if (writes->durable)
		sqe->rw_flags = RWF_DSYNC;
	sqe->user_data = slot;
	raw->position += raw->bytes;
	place->began_ns = mr_bench_now_ns();
	return 0;
}

static void sleep_until(uint64_t at_ns)
{
	struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000u),
			      .tv_nsec = (long)(at_ns % 1000000000u)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static int write_all(struct raw *raw, const struct mr_raw_writes *writes, uint64_t began_ns,
		     struct mr_error *err)
{
	uint64_t end_ns = began_ns + (uint64_t)(writes->seconds * 1e9);
	uint64_t number = 0;
	int r = 0;

	while (r == 0 && mr_bench_now_ns() < end_ns && !used_up(raw, writes)) {
		if (writes->rate > 0)
			sleep_until(began_ns + (uint64_t)((double)number++ * 1e9 / writes->rate));
		while (r == 0 && raw->free_count && !used_up(raw, writes))
			r = submit_write(raw, writes, err);
		if (r == 0)
			r = reap(raw, err);
	}
	return reap_all(raw, r, err);
}

/* ---- what it says -------------------------------------------------------- */

static uint64_t core_bit(int core)
{
	return core >= 0 && core < 64 ? 1ull << core : 0;
}

/* Cores whose gaps are gaps of the measurement: its own, and where the disk's interrupts go. */
static uint64_t mask_of(const struct mr_bench_run *run, int core)
{
	return run && core >= 0 ? core_bit(core) | core_bit(mr_bench_interrupt_core(run)) : 0;
}

/* Goes through the windows from 'from_ns' to the last request. With all of them disturbed, all
 * count, and 'disturbed' is 1. */
static void judge(const struct mr_bench_run *run, const struct raw *raw, uint64_t mask,
		  uint64_t from_ns, bool all, struct mr_histogram *latencies,
		  struct mr_raw_result *result)
{
	uint64_t end_ns = raw->done[raw->done_count - 1].at_ns;
	uint64_t counted = 0, windows = 0, good_ns = 0, i = 0, at_ns;

	for (at_ns = from_ns; at_ns < end_ns; at_ns += WINDOW_NS) {
		uint64_t to_ns = at_ns + WINDOW_NS < end_ns ? at_ns + WINDOW_NS : end_ns;
		bool good = all || !run || !mr_bench_disturbed(run, mask, at_ns, to_ns);

		windows += to_ns - at_ns;
		good_ns += good ? to_ns - at_ns : 0;
		for (; i < raw->done_count && raw->done[i].at_ns <= to_ns; i++) {
			if (!good)
				continue;
			counted++;
			if (latencies)
				mr_histogram_add(latencies, raw->done[i].latency_ns, 1);
		}
	}
	if (good_ns == 0 && !all) {
		judge(run, raw, mask, from_ns, true, latencies, result);
		result->disturbed = 1;
		return;
	}
	result->disturbed = windows ? 1 - (double)good_ns / (double)windows : 0;
	result->requests_per_second = good_ns ? (double)counted * 1e9 / (double)good_ns : 0;
	result->bytes_per_second = result->requests_per_second * raw->bytes;
}

int mr_raw_writes(struct mr_bench_run *run, const struct mr_raw_writes *writes,
		  struct mr_histogram *latencies, struct mr_raw_result *result,
		  struct mr_error *err)
{
	uint32_t in_flight = writes->rate > 0 ? 1 : writes->in_flight;
	struct raw *raw = raw_new(err);
	uint64_t began_ns;
	int r;

	if (!raw)
		return -ENOMEM;
	/* before this thread is pinned: the files' threads run wherever there is room */
	r = open_place(raw, writes, err);
	if (r == 0)
		r = raw_open(raw, writes->bytes, in_flight, writes->huge_pages, writes->core, err);
	if (r < 0)
		goto out;
	began_ns = mr_bench_now_ns();
	r = write_all(raw, writes, began_ns, err);
	if (r == 0 && !raw->done_count)
		r = mr_error_set(err, -ETIME, "no raw write came back in %.3f s", writes->seconds);
	if (r == 0)
		judge(run, raw, mask_of(run, writes->core), began_ns, false, latencies, result);
out:
	raw_close(raw);
	return r;
}

/* ---- reading ------------------------------------------------------------- */

static void submit_read(struct raw *raw)
{
	uint32_t slot;
	struct io_uring_sqe *sqe = next_request(raw, &slot);

	io_uring_prep_read(sqe, raw->fd, raw->slots[slot].buffer, raw->bytes, raw->position);
	sqe->user_data = slot;
	raw->position += raw->bytes;
	raw->slots[slot].began_ns = mr_bench_now_ns();
}

int mr_raw_reads(struct mr_bench_run *run, const struct mr_raw_reads *reads,
		 struct mr_raw_result *result, struct mr_error *err)
{
	struct raw *raw = raw_new(err);
	uint64_t began_ns;
	struct stat found;
	int r;

	if (!raw)
		return -ENOMEM;
	raw->fd = open(reads->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (raw->fd < 0 || fstat(raw->fd, &found) < 0 || (uint64_t)found.st_size < reads->bytes) {
		r = mr_error_set(err, raw->fd < 0 ? -errno : -EINVAL,
				 "'%s' cannot be read in pieces of %u bytes", reads->path,
				 reads->bytes);
		goto out;
	}
	r = raw_open(raw, reads->bytes, reads->in_flight, reads->huge_pages, reads->core, err);
	if (r < 0)
		goto out;
	raw->file_bytes = (uint64_t)found.st_size - (uint64_t)found.st_size % reads->bytes;
	began_ns = mr_bench_now_ns();
	while (r == 0 && raw->position < raw->file_bytes) {
		while (raw->free_count && raw->position < raw->file_bytes)
			submit_read(raw);
		r = reap(raw, err);
	}
	r = reap_all(raw, r, err);
	if (r == 0)
		judge(run, raw, mask_of(run, reads->core), began_ns, false, NULL, result);
out:
	raw_close(raw);
	return r;
}
