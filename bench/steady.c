/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine under a steady load. Runs on the thread of the question; owns nothing. What the engine
 * says of itself is read before and after a load, when nothing is under way: so counts belong to
 * the load's records exactly, its start and end included.
 */
#include "steady.h"

#include "millrace/format.h"

int mr_steady_with_engine(struct mr_bench_run *run, const struct mr_bench_engine_options *options,
			  int (*measure)(struct mr_bench_run *run,
					 const struct mr_steady_engine *at, void *arg,
					 struct mr_error *err),
			  void *arg, struct mr_error *err)
{
	struct mr_steady_engine at;
	int r = mr_bench_engine_start(run, options, &at.engine, err), stopped;

	if (r < 0)
		return r;
	at.load_core = mr_steady_load_core(run, at.engine, 0);
	at.worker_core = mr_steady_worker_core(at.engine);
	at.cores = mr_steady_cores(run, at.engine);
	r = measure(run, &at, arg, err);
	stopped = mr_bench_engine_stop(at.engine, r < 0 ? NULL : err);
	return r < 0 ? r : stopped;
}

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

/* When all of them publish. */
static void common_time(const struct mr_bench_load_result *results, uint32_t count,
			uint64_t *from_ns, uint64_t *to_ns)
{
	*from_ns = 0;
	*to_ns = UINT64_MAX;
	for (uint32_t i = 0; i < count; i++) {
		*from_ns = results[i].began_ns > *from_ns ? results[i].began_ns : *from_ns;
		*to_ns = results[i].ended_ns < *to_ns ? results[i].ended_ns : *to_ns;
	}
}

/* Of one load, in the windows of [began, ended) that are not disturbed, or in all of them. */
static uint64_t records_in(const struct mr_bench_run *run,
			   const struct mr_bench_load_result *result, uint64_t mask, bool all,
			   uint64_t began_ns, uint64_t ended_ns, uint64_t *good_ns)
{
	uint64_t records = 0, from_ns = began_ns, before, after;
	uint32_t cursor = 0;

	*good_ns = 0;
	after = acknowledged_by(result, &cursor, from_ns); /* the warm-up's */
	for (; from_ns < ended_ns; from_ns += MR_STEADY_WINDOW_NS) {
		uint64_t to_ns = from_ns + MR_STEADY_WINDOW_NS;

		if (to_ns > ended_ns)
			to_ns = ended_ns;
		before = after;
		after = acknowledged_by(result, &cursor, to_ns);
		if (!all && mr_bench_disturbed(run, mask, from_ns, to_ns))
			continue;
		*good_ns += to_ns - from_ns;
		records += after - before;
	}
	return records;
}

double mr_steady_undisturbed_rate(const struct mr_bench_run *run,
				  const struct mr_bench_load_result *results, uint32_t count,
				  uint64_t mask, double *disturbed)
{
	uint64_t began_ns, ended_ns, good_ns = 0, records = 0;

	common_time(results, count, &began_ns, &ended_ns);
	for (uint32_t i = 0; i < count; i++)
		records += records_in(run, &results[i], mask, false, began_ns, ended_ns, &good_ns);
	*disturbed = 1;
	if (good_ns) {
		*disturbed -= (double)good_ns / (double)(ended_ns - began_ns);
		return (double)records * 1e9 / (double)good_ns;
	}
	for (uint32_t i = 0; i < count; i++)
		records += records_in(run, &results[i], mask, true, began_ns, ended_ns, &good_ns);
	return good_ns ? (double)records * 1e9 / (double)good_ns : 0;
}
