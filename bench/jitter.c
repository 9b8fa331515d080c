/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jitter probe (jitter.h). A thread per core sleeps until fixed moments, half a millisecond
 * apart, and sees how much later it runs. It has a real-time priority where that is allowed, so
 * that what it misses is time that neither the measured programs nor we had; without it, it also
 * waits for them, and the probe's figures say so.
 *
 * The share of time lost is the share of these moments at which the core came late: a stretch in
 * which the core is away covers as large a part of the moments as of the time, however short it is.
 *
 * A gap is written to the log behind all others, then the count is raised; a reader that sees the
 * count sees the gap. Nothing is ever changed.
 */
#include "jitter.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "bench.h"
#include "check.h"

#define PERIOD_NS UINT64_C(500000)
#define LATE_NS                                                                                    \
	UINT64_C(50000) /* of a moment that counts as lost; a timer alone takes 5 to 20 us */
#define GAPS_MAX (UINT32_C(1) << 20)
#define PRIORITY 10

struct gap {
	uint64_t from_ns, to_ns;
};

/* One core's. Written by its probe alone. */
struct core {
	uint32_t number;
	bool started, real_time;
	pthread_t thread;
	const struct mr_jitter *jitter;
	struct gap *gaps; /* GAPS_MAX of them, in order of time; memory comes as it is used */
	_Atomic uint32_t gap_count;
	_Atomic uint64_t unkept;  /* gaps for which there was no room */
	_Atomic uint64_t moments; /* so many the probe should have seen */
	_Atomic uint64_t late;	  /* of these came late, or not at all */
	_Atomic uint64_t longest_ns;
};

struct mr_jitter {
	uint32_t count;
	_Atomic bool stop;
	struct core cores[];
};

/* ---- the log ------------------------------------------------------------------------------- */

struct mr_jitter *mr_jitter_new(const uint32_t cores[], uint32_t count)
{
	struct mr_jitter *jitter = calloc(1, sizeof(*jitter) + count * sizeof(jitter->cores[0]));

	if (!jitter)
		return NULL;
	jitter->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct core *core = &jitter->cores[i];

		core->number = cores[i];
		core->jitter = jitter;
		core->gaps = mmap(NULL, GAPS_MAX * sizeof(*core->gaps), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (core->gaps == MAP_FAILED) {
			core->gaps = NULL;
			mr_jitter_free(jitter);
			return NULL;
		}
	}
	return jitter;
}

/* relaxed: lone numbers with one writer, ordered with nothing */
static void raise(_Atomic uint64_t *value, uint64_t by)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + by,
			      memory_order_relaxed);
}

static uint64_t look(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed); /* relaxed: as above */
}

static void note_gap(struct core *core, uint64_t from_ns, uint64_t to_ns)
{
	/* relaxed: only this thread writes it */
	uint32_t count = atomic_load_explicit(&core->gap_count, memory_order_relaxed);

	if (count == GAPS_MAX) {
		raise(&core->unkept, 1);
		return;
	}
	core->gaps[count] = (struct gap){.from_ns = from_ns, .to_ns = to_ns};
	/* The gap is visible before it is counted. Pairs with mr_jitter_disturbed(). */
	atomic_store_explicit(&core->gap_count, count + 1, memory_order_release);
}

static void note(struct core *core, uint64_t due_ns, uint64_t ran_ns)
{
	uint64_t late_ns = ran_ns > due_ns ? ran_ns - due_ns : 0;
	uint64_t missed = late_ns / PERIOD_NS; /* further moments that it slept through */

	raise(&core->moments, 1 + missed);
	if (late_ns >= LATE_NS)
		raise(&core->late, 1 + missed);
	if (late_ns > look(&core->longest_ns))
		/* relaxed: as above */
		atomic_store_explicit(&core->longest_ns, late_ns, memory_order_relaxed);
	if (late_ns >= MR_BENCH_GAP_NS)
		note_gap(core, due_ns, ran_ns);
}

void mr_jitter_note(struct mr_jitter *jitter, uint32_t core, uint64_t due_ns, uint64_t ran_ns)
{
	for (uint32_t i = 0; i < jitter->count; i++)
		if (jitter->cores[i].number == core)
			note(&jitter->cores[i], due_ns, ran_ns);
}

/* The first gap that ends after 'from_ns' decides: those before it are over, those after begin
 * later. */
static bool has_gap(const struct core *core, uint64_t from_ns, uint64_t to_ns)
{
	/* Pairs with note_gap(). */
	uint32_t low = 0, high = atomic_load_explicit(&core->gap_count, memory_order_acquire);
	uint32_t count = high;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (core->gaps[middle].to_ns > from_ns)
			high = middle;
		else
			low = middle + 1;
	}
	return low < count && core->gaps[low].from_ns < to_ns;
}

bool mr_jitter_disturbed(const struct mr_jitter *jitter, uint64_t mask, uint64_t from_ns,
			 uint64_t to_ns)
{
	for (uint32_t i = 0; i < jitter->count; i++) {
		const struct core *core = &jitter->cores[i];

		if (mask && (core->number >= 64 || !(mask >> core->number & 1)))
			continue;
		if (has_gap(core, from_ns, to_ns))
			return true;
	}
	return false;
}

/* ---- the probes ---------------------------------------------------------------------------- */

static void sleep_until(uint64_t when_ns)
{
	struct timespec when = {
		.tv_sec = (time_t)(when_ns / 1000000000),
		.tv_nsec = (long)(when_ns % 1000000000),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
		;
}

static void *probe(void *arg)
{
	struct core *core = arg;
	uint64_t due_ns = mr_clock_monotonic_ns(&mr_clock_system) + PERIOD_NS;

	(void)pthread_setname_np(pthread_self(), "jitter"); /* for people only */
	prctl(PR_SET_TIMERSLACK, 1); /* without a real-time priority it would be 50 us */
	while (!atomic_load_explicit(&core->jitter->stop, memory_order_acquire)) {
		uint64_t ran_ns;

		sleep_until(due_ns);
		ran_ns = mr_clock_monotonic_ns(&mr_clock_system);
		note(core, due_ns, ran_ns);
		due_ns += PERIOD_NS * (1 + (ran_ns - due_ns) / PERIOD_NS);
	}
	return NULL;
}

static int start_probe(struct core *core, bool real_time)
{
	struct sched_param priority = {.sched_priority = real_time ? PRIORITY : 0};
	pthread_attr_t attributes;
	cpu_set_t cpus;
	int r = pthread_attr_init(&attributes);

	if (r != 0)
		return r;
	CPU_ZERO(&cpus);
	CPU_SET(core->number, &cpus);
	(void)pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	(void)pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
	(void)pthread_attr_setschedpolicy(&attributes, real_time ? SCHED_FIFO : SCHED_OTHER);
	(void)pthread_attr_setschedparam(&attributes, &priority);
	core->real_time = real_time;
	r = pthread_create(&core->thread, &attributes, probe, core);
	core->started = r == 0;
	(void)pthread_attr_destroy(&attributes); /* holds nothing */
	return r;
}

int mr_jitter_start(struct mr_jitter *jitter, struct mr_error *err)
{
	atomic_store_explicit(&jitter->stop, false, memory_order_release);
	for (uint32_t i = 0; i < jitter->count; i++) {
		int r = start_probe(&jitter->cores[i], true);

		if (r == EPERM)
			r = start_probe(&jitter->cores[i], false);
		if (r != 0)
			return mr_error_set(err, -r, "cannot start the jitter probe on core %u",
					    jitter->cores[i].number);
	}
	return 0;
}

void mr_jitter_stop(struct mr_jitter *jitter)
{
	atomic_store_explicit(&jitter->stop, true, memory_order_release);
	for (uint32_t i = 0; i < jitter->count; i++) {
		struct core *core = &jitter->cores[i];

		if (core->started)
			(void)pthread_join(core->thread, NULL); /* it ends within a period */
		core->started = false;
	}
}

void mr_jitter_free(struct mr_jitter *jitter)
{
	if (!jitter)
		return;
	mr_jitter_stop(jitter);
	for (uint32_t i = 0; i < jitter->count; i++)
		if (jitter->cores[i].gaps)
			(void)munmap(jitter->cores[i].gaps,
				     GAPS_MAX * sizeof(struct gap)); /* our map */
	free(jitter);
}

/* ---- what it found ------------------------------------------------------------------------- */

bool mr_jitter_has_priority(const struct mr_jitter *jitter)
{
	for (uint32_t i = 0; i < jitter->count; i++)
		if (!jitter->cores[i].real_time)
			return false;
	return true;
}

static double lost_of(const struct core *core)
{
	uint64_t moments = look(&core->moments);

	return moments ? (double)look(&core->late) / (double)moments : 0;
}

void mr_jitter_worst(const struct mr_jitter *jitter, double *lost, uint64_t *longest_ns)
{
	*lost = 0;
	*longest_ns = 0;
	for (uint32_t i = 0; i < jitter->count; i++) {
		const struct core *core = &jitter->cores[i];

		if (lost_of(core) > *lost)
			*lost = lost_of(core);
		if (look(&core->longest_ns) > *longest_ns)
			*longest_ns = look(&core->longest_ns);
	}
}

static json_t *core_json(const struct core *core)
{
	double seconds = (double)look(&core->moments) * (double)PERIOD_NS / 1e9;
	uint64_t gaps =
		atomic_load_explicit(&core->gap_count, memory_order_acquire) + look(&core->unkept);

	return json_pack("{s:i, s:f, s:f, s:I, s:f, s:f}", "core", (int)core->number, "seconds",
			 seconds, "lost", lost_of(core), "gaps", (json_int_t)gaps,
			 "gaps_per_second", seconds > 0 ? (double)gaps / seconds : 0.0,
			 "longest_us", (double)look(&core->longest_ns) / 1e3);
}

json_t *mr_jitter_json(const struct mr_jitter *jitter)
{
	json_t *cores = json_array();

	for (uint32_t i = 0; i < jitter->count; i++)
		json_array_append_new(cores, core_json(&jitter->cores[i]));
	return json_pack("{s:s, s:f, s:f, s:o}", "scheduling",
			 mr_jitter_has_priority(jitter) ? "fifo" : "normal", "period_us",
			 (double)PERIOD_NS / 1e3, "gap_us", (double)MR_BENCH_GAP_NS / 1e3, "cores",
			 cores);
}
