/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine under a steady load. Runs on the thread of the question; owns nothing. What the engine
 * says of itself is read before and after a load, when nothing is under way: so counts belong to
 * the load's records exactly, its start and end included.
 */
#include "steady.h"

#include <time.h>

#include "millrace/format.h"

void mr_steady_read(const struct mr_bench_engine *engine, struct mr_steady_counts *counts)
{
	*counts = (struct mr_steady_counts){
		.records = mr_bench_engine_counter(engine, "appended_records"),
		.batches = mr_bench_engine_counter(engine, "appended_batches"),
		.batch_bytes = mr_bench_engine_counter(engine, "appended_bytes"),
		.groups = mr_bench_engine_counter(engine, "written_groups"),
		.written_bytes = mr_bench_engine_counter(engine, "written_bytes"),
		.full_disk = mr_bench_engine_counter(engine, "back_pressure_disk"),
		.full_segment = mr_bench_engine_counter(engine, "back_pressure_segment"),
		.worker_ns = mr_bench_engine_cpu_ns(engine, "worker"),
		.engine_ns = mr_bench_engine_cpu_ns(engine, ""),
	};
}

struct mr_steady_counts mr_steady_between(const struct mr_steady_counts *from,
					  const struct mr_steady_counts *to)
{
	return (struct mr_steady_counts){
		.records = to->records - from->records,
		.batches = to->batches - from->batches,
		.batch_bytes = to->batch_bytes - from->batch_bytes,
		.groups = to->groups - from->groups,
		.written_bytes = to->written_bytes - from->written_bytes,
		.full_disk = to->full_disk - from->full_disk,
		.full_segment = to->full_segment - from->full_segment,
		.worker_ns = to->worker_ns - from->worker_ns,
		.engine_ns = to->engine_ns - from->engine_ns,
	};
}

uint64_t mr_steady_log_bytes(const struct mr_steady_counts *counts)
{
	return counts->batch_bytes + counts->groups * sizeof(struct mr_group_header);
}

int mr_steady_load_core(const struct mr_bench_run *run, const struct mr_bench_engine *engine,
			uint32_t number)
{
	uint64_t workers = mr_bench_engine_worker_cores(engine);
	uint32_t cores[64], own[64];
	uint32_t count = mr_bench_cores(run, cores, 64), free_count = 0;

	for (uint32_t i = 0; i < count; i++)
		if (cores[i] < 64 && !(workers >> cores[i] & 1))
			own[free_count++] = cores[i];
	if (free_count)
		return (int)own[number % free_count];
	return count ? (int)cores[number % count] : -1;
}

int mr_steady_worker_core(const struct mr_bench_engine *engine)
{
	uint64_t workers = mr_bench_engine_worker_cores(engine);

	return workers ? __builtin_ctzll(workers) : -1;
}

static uint64_t core_bit(int core)
{
	return core >= 0 && core < 64 ? 1ull << core : 0;
}

uint64_t mr_steady_cores(const struct mr_bench_run *run, const struct mr_bench_engine *engine)
{
	return mr_bench_engine_worker_cores(engine) |
	       core_bit(mr_steady_load_core(run, engine, 0)) |
	       core_bit(mr_bench_interrupt_core(run));
}

int mr_steady_load(struct mr_bench_run *run, const struct mr_bench_engine *engine,
		   const struct mr_bench_load *load, struct mr_bench_load_result *result,
		   struct mr_steady_counts *counts, struct mr_error *err)
{
	struct mr_steady_counts before, after;
	int r;

	mr_steady_read(engine, &before);
	r = mr_bench_load_run(run, engine, load, 1, result, err);
	if (r < 0)
		return r;
	mr_steady_read(engine, &after);
	*counts = mr_steady_between(&before, &after);
	return 0;
}

uint64_t mr_steady_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How many were acknowledged by 'at_ns'; '*cursor' begins at 0 and moves on with rising moments. */
static uint64_t acknowledged_by(const struct mr_bench_load_result *result, uint32_t *cursor,
				uint64_t at_ns)
{
	while (*cursor < result->event_count && result->events[*cursor].at_ns <= at_ns)
		(*cursor)++;
	return *cursor ? result->events[*cursor - 1].acknowledged : 0;
}

double mr_steady_rate(const struct mr_bench_load_result *result)
{
	uint32_t cursor = 0;
	uint64_t before = acknowledged_by(result, &cursor, result->began_ns);
	uint64_t after = acknowledged_by(result, &cursor, result->ended_ns);

	if (result->ended_ns <= result->began_ns)
		return 0;
	return (double)(after - before) * 1e9 / (double)(result->ended_ns - result->began_ns);
}

double mr_steady_undisturbed_rate(const struct mr_bench_run *run,
				  const struct mr_bench_load_result *result, uint64_t mask,
				  double *disturbed)
{
	uint64_t good_ns = 0, records = 0, from_ns = result->began_ns, before, after;
	uint32_t cursor = 0;

	after = acknowledged_by(result, &cursor, from_ns); /* the warm-up's */
	for (; from_ns < result->ended_ns; from_ns += MR_STEADY_WINDOW_NS) {
		uint64_t to_ns = from_ns + MR_STEADY_WINDOW_NS;

		if (to_ns > result->ended_ns)
			to_ns = result->ended_ns;
		before = after;
		after = acknowledged_by(result, &cursor, to_ns);
		if (mr_bench_disturbed(run, mask, from_ns, to_ns))
			continue;
		good_ns += to_ns - from_ns;
		records += after - before;
	}
	*disturbed = 1;
	if (!good_ns)
		return mr_steady_rate(result);
	*disturbed -= (double)good_ns / (double)(result->ended_ns - result->began_ns);
	return (double)records * 1e9 / (double)good_ns;
}
