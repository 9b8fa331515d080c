/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts loads, each in a process of its own, and gathers what they noted (load.h). One thread.
 *
 *	fork all ──► all ready ──► say when the first record is due ──► all done ──► copy the events
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "load_child.h"

#define READY_PATIENCE_NS UINT64_C(60000000000)
#define DONE_PATIENCE_NS  UINT64_C(30000000000) /* beyond the time of publishing */
#define START_AFTER_NS	  UINT64_C(5000000)
#define STEP_NS		  500000
#define EVENTS_MAX	  (UINT32_C(1) << 26)
#define EVENTS_SPARE	  65536u
#define EVENTS_PER_SECOND 4096u /* without a rate */
#define POPULATED_BYTES	  (UINT64_C(64) << 20)

struct crew {
	uint32_t count;
	const struct mr_bench_load *loads;
	const char *socket;
	pid_t *pids; /* 0: ended */
	struct mr_bench_load_shared **shared;
};

static uint64_t now_ns(void)
{
	return mr_clock_monotonic_ns(&mr_clock_system);
}

/* ---- starting ------------------------------------------------------------------------------ */

static uint32_t event_room(const struct mr_bench_load *load)
{
	double seconds = load->warm_up_seconds + load->seconds;
	double events = seconds * (load->rate > 0 ? load->rate : EVENTS_PER_SECOND);

	events += EVENTS_SPARE;
	return events < EVENTS_MAX ? (uint32_t)events : EVENTS_MAX;
}

static size_t shared_bytes(uint32_t room)
{
	return sizeof(struct mr_bench_load_shared) + (size_t)room * sizeof(struct mr_bench_event);
}

/* Sized up front; the beginning is there before the first record, the rest comes as it is used. */
static struct mr_bench_load_shared *map_shared(const struct mr_bench_load *load)
{
	uint32_t room = event_room(load);
	size_t bytes = shared_bytes(room);
	struct mr_bench_load_shared *shared =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (shared == MAP_FAILED)
		return NULL;
	(void)madvise(shared, bytes < POPULATED_BYTES ? bytes : POPULATED_BYTES,
		      MADV_POPULATE_WRITE); /* an older kernel takes them one by one */
	shared->event_room = room;
	return shared;
}

static void be_a_load(const struct crew *crew, uint32_t number, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		mr_bench_load_child(&crew->loads[number], crew->socket, crew->shared[number]);
	_exit(0);
}

static int start(struct crew *crew, struct mr_error *err)
{
	pid_t self = getpid();

	fflush(NULL); /* else a child might write it again */
	for (uint32_t i = 0; i < crew->count; i++) {
		crew->shared[i] = map_shared(&crew->loads[i]);
		if (!crew->shared[i])
			return mr_error_set(err, -ENOMEM, "no memory for a load's events");
		crew->pids[i] = fork();
		if (crew->pids[i] == 0)
			be_a_load(crew, i, self);
		if (crew->pids[i] < 0) {
			crew->pids[i] = 0;
			return mr_error_set(err, -errno, "cannot start a load");
		}
	}
	return 0;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static int stage_of(const struct crew *crew, uint32_t number)
{
	/* Pairs with the child's stores. */
	return atomic_load_explicit(&crew->shared[number]->stage, memory_order_acquire);
}

/* The stage is looked at again after the end: it may have come between the two. */
static bool ended_silently(struct crew *crew, uint32_t number)
{
	if (crew->pids[number] > 0 &&
	    waitpid(crew->pids[number], NULL, WNOHANG) != crew->pids[number])
		return false;
	crew->pids[number] = 0;
	return stage_of(crew, number) < MR_BENCH_LOAD_DONE;
}

/* 1: it is at 'stage' or further; 0: not yet. */
static int look_at(struct crew *crew, uint32_t number, int stage, struct mr_error *err)
{
	int reached = stage_of(crew, number);

	if (reached == MR_BENCH_LOAD_FAILED) {
		if (err)
			*err = crew->shared[number]->err;
		return crew->shared[number]->err.code;
	}
	if (reached >= stage)
		return 1;
	if (ended_silently(crew, number))
		return mr_error_set(err, -ECHILD, "a load ended without a word");
	return 0;
}

static int wait_all(struct crew *crew, int stage, uint64_t patience_ns, struct mr_error *err)
{
	uint64_t give_up_ns = now_ns() + patience_ns;

	for (uint32_t i = 0; i < crew->count;) {
		struct timespec step = {.tv_nsec = STEP_NS};
		int r = look_at(crew, i, stage, err);

		if (r < 0)
			return r;
		i += (uint32_t)r;
		if (r == 1)
			continue;
		if (now_ns() > give_up_ns)
			return mr_error_set(err, -ETIMEDOUT, "a load did not come to its end");
		nanosleep(&step, NULL);
	}
	return 0;
}

static int run_crew(struct crew *crew, struct mr_error *err)
{
	uint64_t due_ns, longest_ns = 0;
	int r = start(crew, err);

	if (r == 0)
		r = wait_all(crew, MR_BENCH_LOAD_READY, READY_PATIENCE_NS, err);
	if (r < 0)
		return r;
	due_ns = now_ns() + START_AFTER_NS;
	for (uint32_t i = 0; i < crew->count; i++) {
		const struct mr_bench_load *load = &crew->loads[i];
		uint64_t ns = (uint64_t)((load->warm_up_seconds + load->seconds) * 1e9);

		if (ns > longest_ns)
			longest_ns = ns;
		atomic_store_explicit(&crew->shared[i]->due_ns, due_ns, memory_order_release);
	}
	return wait_all(crew, MR_BENCH_LOAD_DONE, longest_ns + DONE_PATIENCE_NS, err);
}

/* ---- gathering ----------------------------------------------------------------------------- */

/* The last event of the time of publishing: what comes later is the rest running out. */
static uint64_t last_while_publishing(const struct mr_bench_load_shared *shared)
{
	for (uint32_t i = shared->event_count; i > 0; i--)
		if (shared->events[i - 1].at_ns <= shared->publishing_ended_ns)
			return shared->events[i - 1].at_ns;
	return shared->publishing_ended_ns;
}

static int gather(const struct mr_bench_load *load, const struct mr_bench_load_shared *shared,
		  struct mr_bench_load_result *result, struct mr_error *err)
{
	uint64_t due_ns = atomic_load_explicit(&shared->due_ns, memory_order_acquire);

	*result = (struct mr_bench_load_result){
		.began_ns = due_ns + (uint64_t)(load->warm_up_seconds * 1e9),
		.ended_ns = load->rate > 0 ? shared->publishing_ended_ns
					   : last_while_publishing(shared),
		.published = shared->published,
		.acknowledged = shared->acknowledged,
		.consumed = shared->consumed,
		.rate = load->rate,
		.due_ns = due_ns,
		.cpu_ns = shared->cpu_ns,
		.event_count = shared->event_count,
	};
	result->events = calloc(shared->event_count + 1u, sizeof(*result->events));
	if (!result->events)
		return mr_error_set(err, -ENOMEM, "no memory for %u events", shared->event_count);
	memcpy(result->events, shared->events, shared->event_count * sizeof(*result->events));
	return 0;
}

static void dismiss(struct crew *crew)
{
	for (uint32_t i = 0; crew->pids && i < crew->count; i++) {
		if (crew->pids[i] <= 0)
			continue;
		if (stage_of(crew, i) < MR_BENCH_LOAD_DONE)
			(void)kill(crew->pids[i], SIGKILL); /* it may have ended by itself */
		(void)waitpid(crew->pids[i], NULL, 0);
	}
	for (uint32_t i = 0; crew->shared && i < crew->count; i++)
		if (crew->shared[i])
			(void)munmap(crew->shared[i], shared_bytes(crew->shared[i]->event_room));
	free(crew->pids);
	free(crew->shared);
}

int mr_bench_load_run(struct mr_bench_run *run, const struct mr_bench_engine *engine,
		      const struct mr_bench_load *loads, uint32_t count,
		      struct mr_bench_load_result *results, struct mr_error *err)
{
	struct crew crew = {
		.count = count,
		.loads = loads,
		.socket = mr_bench_engine_socket(engine),
		.pids = calloc(count, sizeof(*crew.pids)),
		.shared = calloc(count, sizeof(struct mr_bench_load_shared *)),
	};
	int r = 0;

	memset(results, 0, count * sizeof(*results));
	if (!crew.pids || !crew.shared)
		r = mr_error_set(err, -ENOMEM, "no memory for %u loads", count);
	if (r == 0)
		r = run_crew(&crew, err);
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = gather(&loads[i], crew.shared[i], &results[i], err);
	dismiss(&crew);
	if (r < 0)
		mr_bench_load_free(results, count);
	return r;
}

void mr_bench_load_free(struct mr_bench_load_result *results, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		free(results[i].events);
		results[i].events = NULL;
		results[i].event_count = 0;
	}
}
