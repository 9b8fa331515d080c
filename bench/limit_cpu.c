/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of one core (limit.h): copying, checksums, and the time that the machine takes away. Each
 * runs on the calling thread, pinned meanwhile.
 */
#include <errno.h>
#include <isa-l.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "limit.h"
#include "now.h"
#include "sides.h"
#include "windows.h"

#define LONG_GAP_NS 10000u
#define GAP_NS	    1000u

int mr_limit_init(struct mr_bench_run *run, struct mr_limit *limit, double seconds,
		  struct mr_error *err)
{
	uint32_t cores[2], count = mr_bench_cores(run, cores, 2);

	*limit = (struct mr_limit){.there = -1, .seconds = mr_bench_seconds(run, seconds)};
	if (!count)
		return mr_error_set(err, -ENOTSUP, "this process may use no core");
	limit->here = (int)cores[0];
	if (count > 1)
		limit->there = (int)cores[1];
	return 0;
}

uint64_t mr_limit_mask(const struct mr_limit *limit)
{
	uint64_t mask = limit->here < 64 ? 1ull << limit->here : 0;

	if (limit->there >= 0 && limit->there < 64)
		mask |= 1ull << limit->there;
	return mask;
}

static int pin(int core, cpu_set_t *before, struct mr_error *err)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)core, &cpus);
	if (sched_getaffinity(0, sizeof(*before), before) < 0 ||
	    sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return mr_error_set(err, -errno, "cannot run on core %d: %s", core,
				    strerror(errno));
	return 0;
}

/* ---- calls, again and again ---------------------------------------------- */

struct calls {
	uint8_t *from, *to;
	size_t bytes;
	uint32_t sum;
};

static void copy_often(struct calls *calls, uint64_t times)
{
	for (uint64_t i = 0; i < times; i++) {
		memcpy(calls->to, calls->from, calls->bytes);
		/* the compiler shall not find out that nobody reads it */
		__asm__ __volatile__("" : : "r"(calls->to) : "memory");
	}
}

static void check_often(struct calls *calls, uint64_t times)
{
	uint32_t sum = 0;

	for (uint64_t i = 0; i < times; i++)
		sum += crc32_iscsi(calls->from, (int)calls->bytes, ~0u);
	calls->sum += sum;
}

/* As many calls as take about half a window, so that a window is hardly longer than asked. */
static uint64_t how_often(struct calls *calls, void (*often)(struct calls *, uint64_t))
{
	uint64_t times = 1, took_ns = 0;

	while (took_ns < MR_WINDOW_NS / 2 && times < UINT32_MAX) {
		uint64_t began_ns = mr_bench_now_ns();

		often(calls, times);
		took_ns = mr_bench_now_ns() - began_ns;
		times = took_ns < MR_WINDOW_NS / 4 ? 2 * times : times;
		if (took_ns >= MR_WINDOW_NS / 4)
			break;
	}
	return times;
}

static int time_calls(struct mr_bench_run *run, const struct mr_limit *limit, struct calls *calls,
		      void (*often)(struct calls *, uint64_t), struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct mr_windows windows;
	uint64_t times, done = 0, until_ns;
	double median, p90;
	int r = mr_windows_init(&windows, limit->seconds, err);

	if (r < 0)
		return r;
	times = how_often(calls, often);
	until_ns = mr_bench_now_ns() + (uint64_t)(limit->seconds * 1e9);
	mr_windows_begin(&windows, mr_bench_now_ns(), 0);
	while (windows.count < 3 || mr_bench_now_ns() < until_ns) {
		often(calls, times);
		done += times;
		mr_windows_look(&windows, mr_bench_now_ns(), done);
		if (windows.count == windows.max)
			break;
	}
	r = mr_windows_judge(&windows, run, 1ull << (limit->here & 63), &median, &p90,
			     &sample->disturbed, err);
	sample->values[0] = median * (double)calls->bytes;
	sample->values[1] = 1e9 / median;
	mr_windows_deinit(&windows);
	return r;
}

static int measure_calls(struct mr_bench_run *run, const struct mr_limit *limit,
			 void (*often)(struct calls *, uint64_t), struct mr_bench_sample *sample,
			 struct mr_error *err)
{
	size_t room = ((size_t)limit->bytes + 4095) / 4096 * 4096;
	struct calls calls = {.bytes = limit->bytes};
	cpu_set_t before;
	int r;

	calls.from = aligned_alloc(4096, room);
	calls.to = aligned_alloc(4096, room);
	if (!calls.from || !calls.to) {
		r = mr_error_set(err, -ENOMEM, "no memory for 2 x %zu bytes", room);
		goto out;
	}
	memset(calls.from, 1, room);
	memset(calls.to, 2, room);
	r = pin(limit->here, &before, err);
	if (r < 0)
		goto out;
	r = time_calls(run, limit, &calls, often, sample, err);
	(void)sched_setaffinity(0, sizeof(before), &before); /* was so */
	__asm__ __volatile__("" : : "r"(calls.sum));
out:
	free(calls.from);
	free(calls.to);
	return r;
}

int mr_limit_memcpy(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	return measure_calls(run, arg, copy_often, sample, err);
}

int mr_limit_crc32c(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	return measure_calls(run, arg, check_often, sample, err);
}

/* ---- the machine itself -------------------------------------------------- */

/* What one core loses while the other works as well: a host may run the two by turns. */
struct spin {
	const struct mr_limit *limit;
	struct mr_bench_sample *sample;
};

static int spin_here(void *shared, void *arg, struct mr_error *err)
{
	struct spin *spin = arg;
	uint64_t began_ns, until_ns, last_ns, now_ns, lost_ns = 0, longest_ns = 0, gaps = 0;
	int r = shared ? mr_sides_wait_ready(shared, err) : 0;

	began_ns = last_ns = now_ns = mr_bench_now_ns();
	until_ns = began_ns + (uint64_t)(spin->limit->seconds * 1e9);
	while (r == 0 && now_ns < until_ns) {
		uint64_t gap_ns;

		now_ns = mr_bench_now_ns();
		gap_ns = now_ns - last_ns;
		last_ns = now_ns;
		if (gap_ns < GAP_NS)
			continue;
		lost_ns += gap_ns;
		gaps += gap_ns >= LONG_GAP_NS;
		longest_ns = gap_ns > longest_ns ? gap_ns : longest_ns;
	}
	if (r < 0)
		return r;
	spin->sample->values[0] = (double)lost_ns / (double)(now_ns - began_ns);
	spin->sample->values[1] = (double)gaps * 1e9 / (double)(now_ns - began_ns);
	spin->sample->values[2] = (double)longest_ns;
	return 0;
}

static int spin_there(void *shared, void *arg)
{
	struct mr_sides_page *page = shared;

	mr_sides_say_ready(page);
	while (!atomic_load_explicit(&page->stop, memory_order_relaxed)) /* relaxed: alone */
		(void)mr_bench_now_ns();
	return 0;
}

static int spin_alone(struct spin *spin, struct mr_error *err)
{
	cpu_set_t before;
	int r = pin(spin->limit->here, &before, err);

	if (r < 0)
		return r;
	r = spin_here(NULL, spin, err);
	(void)sched_setaffinity(0, sizeof(before), &before); /* was so */
	return r;
}

int mr_limit_jitter(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	struct spin spin = {.limit = arg, .sample = sample};
	struct mr_sides sides = {
		.shared_bytes = sizeof(struct mr_sides_page),
		.here_core = spin.limit->here,
		.there_core = spin.limit->there,
		.here = spin_here,
		.there = spin_there,
		.arg = &spin,
	};
	int r, resumed;

	mr_bench_probe_pause(run);
	r = sides.there_core < 0 ? spin_alone(&spin, err) : mr_sides_run(&sides, err);
	resumed = mr_bench_probe_resume(run, r < 0 ? NULL : err);
	return r < 0 ? r : resumed; /* what would disturb this is what it tells */
}
