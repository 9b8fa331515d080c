/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits between two cores (limit.h): a cache line, a futex, an eventfd, a TCP connection and two
 * rte_rings, each there and back or until the sleeper runs. One process on each core (sides.h).
 */
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <rte_pause.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "limit.h"
#include "now.h"
#include "sides.h"
#include "windows.h"

#define LINE_TRIPS     1000u /* between two looks at the clock */
#define FALL_ASLEEP_NS 20000u
#define WARM_UP	       1000u /* round trips that do not count */
#define RING_ELEMENTS  16384u
#define ELEMENT_WORDS  64u

/* One measurement, before the fork the same on both sides; what 'here' finds stays here. */
struct trips {
	const struct mr_limit *limit;
	struct mr_histogram *times, *calls;
	struct mr_windows windows;
	uint64_t began_ns, ended_ns;
	int fd; /* eventfd, or listening socket */
	uint16_t port;
};

static int run_trips(struct mr_bench_run *run, struct trips *trips, size_t shared_bytes,
		     int (*here)(void *, void *, struct mr_error *), int (*there)(void *, void *),
		     struct mr_bench_sample *sample, struct mr_error *err)
{
	struct mr_sides sides = {
		.shared_bytes = shared_bytes,
		.here_core = trips->limit->here,
		.there_core = trips->limit->there,
		.here = here,
		.there = there,
		.arg = trips,
	};
	int r;

	trips->times = mr_histogram_new();
	trips->calls = mr_histogram_new();
	if (trips->times && trips->calls)
		r = mr_sides_run(&sides, err);
	else
		r = mr_error_set(err, -ENOMEM, "no memory for a histogram");
	if (r == 0 && mr_histogram_count(trips->times)) {
		sample->values[0] = (double)mr_histogram_percentile(trips->times, 0.5);
		sample->values[1] = (double)mr_histogram_percentile(trips->times, 0.99);
		sample->values[2] = (double)mr_histogram_percentile(trips->calls, 0.5);
		sample->disturbed = mr_windows_disturbed(run, mr_limit_mask(trips->limit),
							 trips->began_ns, trips->ended_ns);
	}
	mr_histogram_free(trips->times);
	mr_histogram_free(trips->calls);
	return r;
}

static int no_answer(struct mr_error *err)
{
	return mr_error_set(err, -ETIMEDOUT, "the other side of a measurement did not answer");
}

/* Begins; returns when it is over. */
static uint64_t begin(struct trips *trips)
{
	trips->began_ns = mr_bench_now_ns();
	return trips->began_ns + (uint64_t)(trips->limit->seconds * 1e9);
}

/* ---- a cache line -------------------------------------------------------- */

struct line {
	struct mr_sides_page page;
	_Alignas(128) _Atomic uint64_t value; /* odd: from here; even: the answer. Alone there */
	_Alignas(128) uint8_t end[1];
};

static int line_there(void *shared, void *arg)
{
	struct line *line = shared;
	uint64_t next = 1;

	mr_sides_say_ready(&line->page);
	while (!atomic_load_explicit(&line->page.stop, memory_order_relaxed)) {
		/* the page is looked at now and then only: it is another line */
		for (uint32_t i = 0; i < LINE_TRIPS; i++) {
			if (atomic_load_explicit(&line->value, memory_order_acquire) != next)
				continue;
			atomic_store_explicit(&line->value, next + 1, memory_order_release);
			next += 2;
		}
	}
	return 0;
}

static bool is_answered(struct line *line, uint64_t answer)
{
	uint32_t spins = 0;

	while (atomic_load_explicit(&line->value, memory_order_acquire) != answer)
		if (++spins == UINT32_MAX)
			return false;
	return true;
}

static int line_here(void *shared, void *arg, struct mr_error *err)
{
	struct line *line = shared;
	struct trips *trips = arg;
	uint64_t until_ns, now_ns, number = 0;
	int r = mr_sides_wait_ready(&line->page, err);

	if (r < 0)
		return r;
	until_ns = begin(trips);
	mr_windows_begin(&trips->windows, trips->began_ns, 0);
	do {
		for (uint32_t i = 0; i < LINE_TRIPS; i++) {
			uint64_t answer = 2 * ++number;

			atomic_store_explicit(&line->value, answer - 1, memory_order_release);
			if (!is_answered(line, answer))
				return no_answer(err);
		}
		now_ns = mr_bench_now_ns();
		mr_windows_look(&trips->windows, now_ns, number);
	} while (now_ns < until_ns);
	return 0;
}

int mr_limit_line(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		  struct mr_error *err)
{
	struct trips trips = {.limit = arg};
	double median, p90;
	int r = mr_windows_init(&trips.windows, trips.limit->seconds, err);

	if (r < 0)
		return r;
	r = run_trips(run, &trips, sizeof(struct line), line_here, line_there, sample, err);
	if (r == 0)
		r = mr_windows_judge(&trips.windows, run, mr_limit_mask(trips.limit), &median, &p90,
				     &sample->disturbed, err);
	if (r == 0)
		sample->values[0] = 1e9 / median;
	mr_windows_deinit(&trips.windows);
	return r;
}

/* ---- waking a sleeper ---------------------------------------------------- */

struct sleeper {
	struct mr_sides_page page;
	_Alignas(64) _Atomic uint32_t word; /* the futex; also how many wakes there were */
	_Alignas(64) _Atomic uint64_t rung_ns;
	_Alignas(64) _Atomic uint64_t took_ns; /* of the last wake */
	_Atomic uint32_t woken;
};

static void note_woken(struct sleeper *sleeper, uint32_t count)
{
	uint64_t now_ns = mr_bench_now_ns();

	atomic_store(&sleeper->took_ns, now_ns - atomic_load(&sleeper->rung_ns));
	atomic_store(&sleeper->woken, count);
}

static int sleep_on_futex(void *shared, void *arg)
{
	struct sleeper *sleeper = shared;
	uint32_t count = 0;

	mr_sides_say_ready(&sleeper->page);
	for (;;) {
		while (atomic_load(&sleeper->word) == count)
			syscall(SYS_futex, &sleeper->word, FUTEX_WAIT, count, NULL, NULL, 0);
		if (atomic_load(&sleeper->page.stop))
			return 0;
		note_woken(sleeper, ++count);
	}
}

static int sleep_on_eventfd(void *shared, void *arg)
{
	struct sleeper *sleeper = shared;
	const struct trips *trips = arg;
	uint32_t count = 0;
	uint64_t value;

	mr_sides_say_ready(&sleeper->page);
	while (read(trips->fd, &value, sizeof(value)) == (ssize_t)sizeof(value)) {
		if (atomic_load(&sleeper->page.stop))
			return 0;
		note_woken(sleeper, ++count);
	}
	return -errno;
}

static void ring_futex(struct sleeper *sleeper, const struct trips *trips)
{
	atomic_fetch_add(&sleeper->word, 1);
	syscall(SYS_futex, &sleeper->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void ring_eventfd(struct sleeper *sleeper, const struct trips *trips)
{
	uint64_t one = 1;

	(void)!write(trips->fd, &one, sizeof(one)); /* one that is lost shows: nobody answers */
}

static void let_sleep(uint64_t asleep_ns)
{
	struct timespec pause = {.tv_nsec = (long)asleep_ns};
	uint64_t until_ns = mr_bench_now_ns() + FALL_ASLEEP_NS;

	if (asleep_ns)
		(void)nanosleep(&pause, NULL); /* a shorter pause only disturbs the sample */
	else
		while (mr_bench_now_ns() < until_ns)
			;
}

static int wake_once(struct sleeper *sleeper, struct trips *trips, uint32_t number,
		     void (*ring)(struct sleeper *, const struct trips *), struct mr_error *err)
{
	uint64_t now_ns;
	uint32_t spins = 0;

	let_sleep(trips->limit->asleep_ns);
	now_ns = mr_bench_now_ns();
	atomic_store(&sleeper->rung_ns, now_ns);
	ring(sleeper, trips);
	mr_histogram_add(trips->calls, mr_bench_now_ns() - now_ns, 1);
	while (atomic_load(&sleeper->woken) != number)
		if (++spins == UINT32_MAX)
			return no_answer(err);
	mr_histogram_add(trips->times, atomic_load(&sleeper->took_ns), 1);
	return 0;
}

static int wake_often(void *shared, struct trips *trips,
		      void (*ring)(struct sleeper *, const struct trips *), struct mr_error *err)
{
	struct sleeper *sleeper = shared;
	int r = mr_sides_wait_ready(&sleeper->page, err);
	uint64_t until_ns = begin(trips);
	uint32_t number = 0;

	while (r == 0 && mr_bench_now_ns() < until_ns)
		r = wake_once(sleeper, trips, ++number, ring, err);
	trips->ended_ns = mr_bench_now_ns();
	atomic_store(&sleeper->page.stop, 1);
	ring(sleeper, trips); /* so that it sees the end */
	return r;
}

static int wake_futex(void *shared, void *arg, struct mr_error *err)
{
	return wake_often(shared, arg, ring_futex, err);
}

static int wake_eventfd(void *shared, void *arg, struct mr_error *err)
{
	return wake_often(shared, arg, ring_eventfd, err);
}

int mr_limit_futex_wake(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			struct mr_error *err)
{
	struct trips trips = {.limit = arg};

	return run_trips(run, &trips, sizeof(struct sleeper), wake_futex, sleep_on_futex, sample,
			 err);
}

int mr_limit_eventfd_wake(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			  struct mr_error *err)
{
	struct trips trips = {.limit = arg, .fd = eventfd(0, EFD_CLOEXEC)};
	int r;

	if (trips.fd < 0)
		return mr_error_set(err, -errno, "no eventfd: %s", strerror(errno));
	r = run_trips(run, &trips, sizeof(struct sleeper), wake_eventfd, sleep_on_eventfd, sample,
		      err);
	(void)close(trips.fd); /* nothing is in it */
	return r;
}

/* ---- loopback TCP -------------------------------------------------------- */

/* Moves all of 'bytes'; false: the connection is over, or nobody answers. */
static bool move(int fd, uint8_t *at, size_t bytes, bool out, bool poll)
{
	int flags = MSG_NOSIGNAL | (poll ? MSG_DONTWAIT : 0);
	uint32_t spins = 0;

	while (bytes > 0) {
		ssize_t n = out ? send(fd, at, bytes, flags) : recv(fd, at, bytes, flags);

		if (n > 0) {
			at += n;
			bytes -= (size_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR) || ++spins > 100000000u) {
			return false;
		}
	}
	return true;
}

static int tcp_there(void *shared, void *arg)
{
	struct mr_sides_page *page = shared;
	const struct trips *trips = arg;
	size_t bytes = trips->limit->bytes;
	uint8_t buffer[65536];
	int fd, one = 1;

	mr_sides_say_ready(page);
	fd = accept4(trips->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* shows in the figure */
	while (move(fd, buffer, bytes, false, trips->limit->poll) &&
	       move(fd, buffer, bytes, true, trips->limit->poll))
		;
	(void)close(fd); /* the other side has closed it */
	return 0;
}

static int tcp_trips(struct trips *trips, int fd, struct mr_error *err)
{
	const struct mr_limit *limit = trips->limit;
	uint64_t until_ns = begin(trips), number = 0, began_ns = 0;
	uint8_t buffer[65536] = {0};

	while (began_ns < until_ns) {
		began_ns = mr_bench_now_ns();
		if (!move(fd, buffer, limit->bytes, true, limit->poll) ||
		    !move(fd, buffer, limit->bytes, false, limit->poll))
			return no_answer(err);
		if (++number > WARM_UP)
			mr_histogram_add(trips->times, mr_bench_now_ns() - began_ns, 1);
	}
	trips->ended_ns = mr_bench_now_ns();
	return 0;
}

static int tcp_here(void *shared, void *arg, struct mr_error *err)
{
	struct trips *trips = arg;
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = trips->port,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	int r = mr_sides_wait_ready(shared, err);

	if (r == 0 && (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0))
		r = mr_error_set(err, -errno, "cannot connect over loopback: %s", strerror(errno));
	if (r == 0) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* as above */
		r = tcp_trips(trips, fd, err);
	}
	if (fd >= 0)
		(void)close(fd); /* the other side ends then */
	return r;
}

int mr_limit_tcp(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		 struct mr_error *err)
{
	struct trips trips = {.limit = arg};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	int r;

	if (trips.limit->bytes < 1 || trips.limit->bytes > 65536)
		return mr_error_set(err, -EINVAL, "%u bytes are not 1 to 65536",
				    trips.limit->bytes);
	trips.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (trips.fd < 0 || bind(trips.fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(trips.fd, 1) < 0 || getsockname(trips.fd, (struct sockaddr *)&at, &bytes) < 0) {
		r = mr_error_set(err, -errno, "cannot listen on loopback: %s", strerror(errno));
	} else {
		trips.port = at.sin_port;
		r = run_trips(run, &trips, sizeof(struct mr_sides_page), tcp_here, tcp_there,
			      sample, err);
	}
	if (trips.fd >= 0)
		(void)close(trips.fd); /* only listened */
	return r;
}

/* ---- two rte_rings ------------------------------------------------------- */

/* A ring that both processes see, as rte_ring_init() would make it; nothing of DPDK is linked. */
static struct rte_ring *begin_ring(void *at)
{
	struct rte_ring *ring = at;

	ring->flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	ring->size = RING_ELEMENTS;
	ring->mask = RING_ELEMENTS - 1;
	ring->capacity = RING_ELEMENTS - 1;
	ring->prod.sync_type = RTE_RING_SYNC_ST;
	ring->cons.sync_type = RTE_RING_SYNC_ST;
	return ring;
}

static size_t ring_room(uint32_t element_bytes)
{
	return (sizeof(struct rte_ring) + (size_t)element_bytes * RING_ELEMENTS + 4095) / 4096 *
	       4096;
}

static struct rte_ring *ring_at(void *shared, const struct trips *trips, uint32_t number)
{
	return (void *)((uint8_t *)shared + 4096 + number * ring_room(trips->limit->bytes));
}

static int ring_there(void *shared, void *arg)
{
	const struct trips *trips = arg;
	struct rte_ring *in = ring_at(shared, trips, 0), *out = ring_at(shared, trips, 1);
	_Alignas(64) uint64_t element[ELEMENT_WORDS];
	uint32_t bytes = trips->limit->bytes, spins = 0;

	mr_sides_say_ready(shared);
	for (;;) {
		while (!rte_ring_dequeue_burst_elem(in, element, bytes, 1, NULL))
			/* the page is looked at now and then only: it is another line */
			if ((++spins & 0xfff) == 0 && !mr_sides_goes_on(shared, &spins))
				return 0;
		spins = 0;
		while (!rte_ring_enqueue_burst_elem(out, element, bytes, 1, NULL))
			;
	}
}

static int ring_here(void *shared, void *arg, struct mr_error *err)
{
	struct trips *trips = arg;
	struct rte_ring *out = begin_ring(ring_at(shared, trips, 0));
	struct rte_ring *in = begin_ring(ring_at(shared, trips, 1));
	_Alignas(64) uint64_t element[ELEMENT_WORDS] = {0};
	uint32_t bytes = trips->limit->bytes;
	uint64_t until_ns, number = 0;
	int r = mr_sides_wait_ready(shared, err);

	until_ns = begin(trips);
	while (r == 0 && element[0] < until_ns) {
		uint32_t spins = 0;

		element[0] = mr_bench_now_ns();
		while (!rte_ring_enqueue_burst_elem(out, element, bytes, 1, NULL))
			;
		while (!rte_ring_dequeue_burst_elem(in, element, bytes, 1, NULL))
			if (++spins == UINT32_MAX)
				return no_answer(err);
		if (++number > WARM_UP)
			mr_histogram_add(trips->times, mr_bench_now_ns() - element[0], 1);
	}
	trips->ended_ns = mr_bench_now_ns();
	return r;
}

int mr_limit_rte_ring(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct trips trips = {.limit = arg};

	if (!trips.limit->bytes || trips.limit->bytes % 8 ||
	    trips.limit->bytes > ELEMENT_WORDS * sizeof(uint64_t))
		return mr_error_set(err, -EINVAL, "an element of %u bytes: 8, 16, ... %zu",
				    trips.limit->bytes, ELEMENT_WORDS * sizeof(uint64_t));
	return run_trips(run, &trips, 4096 + 2 * ring_room(trips.limit->bytes), ring_here,
			 ring_there, sample, err);
}
