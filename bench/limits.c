/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Question `limits`: what this machine can do, without Millrace: copying, checksums, two cores that
 * talk to each other, the kernel's wakes, its loopback, and the disk. Nothing is judged; the other
 * questions measure some of these again, in turn with what they ask.
 */
#include "bench.h"
#include "limit.h"
#include "miniature.h"
#include "raw_disk.h"
#include "rings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define CPU_SECONDS   0.1
#define PAIR_SECONDS  0.3
#define DISK_SECONDS  1.0
#define SMALL_WRITE   4096u
#define LARGE_WRITE   (1u << 20)
#define FILE_BYTES    (1ull << 30)
#define SEGMENT_BYTES (256u << 20)
#define LARGE_DEPTH   4

/* ---- cores ---------------------------------------------------------------- */

/* One figure of a limit. */
struct row {
	const char *name, *unit;
	int (*take)(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err);
	double seconds;
	uint32_t bytes;
	uint32_t value; /* of the sample */
	bool two_cores, poll;
};

static const struct row rows[] = {
	{"memcpy, 16 KiB", "bytes/s", mr_limit_memcpy, CPU_SECONDS, 16 << 10, 0, false, false},
	{"memcpy, 256 KiB", "bytes/s", mr_limit_memcpy, CPU_SECONDS, 256 << 10, 0, false, false},
	{"memcpy, 8 MiB", "bytes/s", mr_limit_memcpy, CPU_SECONDS, 8 << 20, 0, false, false},
	{"memcpy, 256 MiB", "bytes/s", mr_limit_memcpy, PAIR_SECONDS, 256 << 20, 0, false, false},
	{"crc32c, isa-l, 100 B", "ns", mr_limit_crc32c, CPU_SECONDS, 100, 1, false, false},
	{"crc32c, isa-l, 4 KiB", "bytes/s", mr_limit_crc32c, CPU_SECONDS, 4 << 10, 0, false, false},
	{"crc32c, isa-l, 1 MiB", "bytes/s", mr_limit_crc32c, CPU_SECONDS, 1 << 20, 0, false, false},
	{"cache line there and back", "ns", mr_limit_line, PAIR_SECONDS, 0, 0, true, false},
	{"futex wake, p50", "ns", mr_limit_futex_wake, PAIR_SECONDS, 0, 0, true, false},
	{"eventfd wake, p50", "ns", mr_limit_eventfd_wake, PAIR_SECONDS, 0, 0, true, false},
	{"rte_ring there and back, 32 B, p50", "ns", mr_limit_rte_ring, PAIR_SECONDS, 32, 0, true,
	 false},
	{"loopback TCP there and back, 64 B, blocking, p50", "ns", mr_limit_tcp, PAIR_SECONDS, 64,
	 0, true, false},
	{"loopback TCP there and back, 64 B, polling, p50", "ns", mr_limit_tcp, PAIR_SECONDS, 64, 0,
	 true, true},
};

static int measure_row(struct mr_bench_run *run, const struct row *row, struct mr_error *err)
{
	struct mr_bench_figure figure = {
		.name = row->name,
		.unit = row->unit,
		.value = row->value,
	};
	struct mr_bench_measure ours = {.take = row->take};
	struct mr_limit limit;
	int r = mr_limit_init(run, &limit, row->seconds, err);

	if (r < 0)
		return r;
	if (row->two_cores && limit.there < 0) {
		mr_bench_progress(run, "%s: needs two cores, left out", row->name);
		return 0;
	}
	limit.bytes = row->bytes;
	limit.poll = row->poll;
	ours.arg = &limit;
	mr_bench_progress(run, "%s", row->name);
	return mr_bench_pairs(run, 0, &ours, NULL, &figure, 1, err);
}

static int measure_jitter(struct mr_bench_run *run, int core, int other, struct mr_error *err)
{
	char names[3][MR_BENCH_NAME_BYTES];
	struct mr_limit limit = {
		.here = core, .there = other, .seconds = mr_bench_seconds(run, PAIR_SECONDS)};
	struct mr_bench_measure ours = {.take = mr_limit_jitter, .arg = &limit};
	struct mr_bench_figure figures[] = {
		{.name = names[0], .unit = "ratio", .value = 0},
		{.name = names[1], .unit = "gaps/s", .value = 1},
		{.name = names[2], .unit = "ns", .value = 2},
	};

	mr_bench_progress(run, "what the machine takes away from core %d", core);
	snprintf(names[0], sizeof(names[0]), "core %d: time lost in gaps over 1 us", core);
	snprintf(names[1], sizeof(names[1]), "core %d: gaps over 10 us", core);
	snprintf(names[2], sizeof(names[2]), "core %d: longest gap", core);
	return mr_bench_pairs(run, 0, &ours, NULL, figures, 3, err);
}

/* ---- the disk --------------------------------------------------------------- */

struct disk {
	struct mr_raw_writes writes;
	struct mr_histogram *latencies;
};

/* [0]: bytes/s, [1]: p50 us, [2]: p99 us */
static int take_writes(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	struct disk *disk = arg;
	struct mr_raw_result result;
	int r;

	mr_histogram_reset(disk->latencies);
	r = mr_raw_writes(run, &disk->writes, disk->latencies, &result, err);
	if (r < 0)
		return r;
	sample->values[0] = result.bytes_per_second;
	sample->values[1] = (double)mr_histogram_percentile(disk->latencies, 0.5) / 1e3;
	sample->values[2] = (double)mr_histogram_percentile(disk->latencies, 0.99) / 1e3;
	sample->disturbed = result.disturbed;
	return 0;
}

/* One durable write of 4 KiB at a time, waited for on 'core'. */
static int measure_small(struct mr_bench_run *run, struct disk *disk, int core,
			 struct mr_error *err)
{
	char names[2][MR_BENCH_NAME_BYTES];
	struct mr_bench_measure ours = {.take = take_writes, .arg = disk};
	struct mr_bench_figure figures[] = {
		{.name = names[0], .unit = "us", .value = 1},
		{.name = names[1], .unit = "us", .value = 2},
	};
	const char *where = core == mr_bench_interrupt_core(run) ? " (the disk's interrupts)" : "";

	disk->writes.bytes = SMALL_WRITE;
	disk->writes.in_flight = 1;
	disk->writes.filling = MR_RAW_WRITTEN;
	disk->writes.core = core;
	mr_bench_progress(run, "durable writes of 4 KiB on core %d", core);
	snprintf(names[0], sizeof(names[0]), "durable write of 4 KiB on core %d%s, p50", core,
		 where);
	snprintf(names[1], sizeof(names[1]), "durable write of 4 KiB on core %d%s, p99", core,
		 where);
	return mr_bench_pairs(run, 0, &ours, NULL, figures, 2, err);
}

static int measure_large(struct mr_bench_run *run, struct disk *disk, int core,
			 struct mr_error *err)
{
	static const struct {
		enum mr_raw_filling filling;
		bool huge_pages;
		const char *name;
	} kinds[] = {
		{MR_RAW_WRITTEN, false, "durable writes, 1 MiB x 4, into written blocks"},
		{MR_RAW_WRITTEN, true,
		 "durable writes, 1 MiB x 4, into written blocks, from huge pages"},
		{MR_RAW_ALLOCATED, false, "durable writes, 1 MiB x 4, into allocated blocks"},
		{MR_RAW_SEGMENTS, false, "durable writes, 1 MiB x 4, as a log fills"},
		{MR_RAW_SEGMENTS, true,
		 "durable writes, 1 MiB x 4, as a log fills, from huge pages"},
	};
	struct mr_bench_measure ours = {.take = take_writes, .arg = disk};
	struct mr_bench_figure figure = {.unit = "bytes/s", .value = 0};
	int r = 0;

	disk->writes.bytes = LARGE_WRITE;
	disk->writes.in_flight = LARGE_DEPTH;
	disk->writes.core = core;
	for (size_t i = 0; r == 0 && i < sizeof(kinds) / sizeof(*kinds); i++) {
		figure.name = kinds[i].name;
		disk->writes.filling = kinds[i].filling;
		disk->writes.huge_pages = kinds[i].huge_pages;
		disk->writes.file_bytes =
			kinds[i].filling == MR_RAW_SEGMENTS ? SEGMENT_BYTES : FILE_BYTES;
		mr_bench_progress(run, "%s", kinds[i].name);
		r = mr_bench_pairs(run, 0, &ours, NULL, &figure, 1, err);
	}
	return r;
}

static int take_reads(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct mr_raw_result result;
	int r = mr_raw_reads(run, arg, &result, err);

	if (r < 0)
		return r;
	sample->values[0] = result.bytes_per_second;
	sample->disturbed = result.disturbed;
	return 0;
}

/* Of the file that the writes went into. */
static int measure_reads(struct mr_bench_run *run, int core, struct mr_error *err)
{
	static const char *const names[] = {"sequential reads, 1 MiB x 4",
					    "sequential reads, 1 MiB x 4, into huge pages"};
	char path[PATH_MAX + 64];
	struct mr_raw_reads reads = {
		.path = path, .bytes = LARGE_WRITE, .in_flight = LARGE_DEPTH, .core = core};
	struct mr_bench_measure ours = {.take = take_reads, .arg = &reads};
	int r = 0;

	snprintf(path, sizeof(path), "%s/raw-written.dat", mr_bench_data(run));
	for (int huge = 0; r == 0 && huge < 2; huge++) {
		struct mr_bench_figure figure = {.name = names[huge], .unit = "bytes/s"};

		reads.huge_pages = huge;
		mr_bench_progress(run, "%s", figure.name);
		r = mr_bench_pairs(run, 0, &ours, NULL, &figure, 1, err);
	}
	return r;
}

static int measure_disk(struct mr_bench_run *run, const uint32_t *cores, uint32_t core_count,
			struct mr_error *err)
{
	struct disk disk = {
		.latencies = mr_histogram_new(),
		.writes = {.directory = mr_bench_data(run),
			   .durable = true,
			   .file_bytes = FILE_BYTES,
			   .keep_bytes = 4ull * SEGMENT_BYTES,
			   .seconds = mr_bench_seconds(run, DISK_SECONDS)},
	};
	int r = 0;

	if (!disk.latencies)
		return mr_error_set(err, -ENOMEM, "no memory for a histogram");
	for (uint32_t i = 0; r == 0 && i < core_count; i++)
		r = measure_small(run, &disk, (int)cores[i], err);
	if (r == 0)
		r = measure_large(run, &disk, (int)cores[0], err);
	if (r == 0)
		r = measure_reads(run, (int)cores[0], err);
	mr_histogram_free(disk.latencies);
	return r;
}

/* ---- rings ------------------------------------------------------------------ */

static int measure_rings(struct mr_bench_run *run, const uint32_t *cores, struct mr_error *err)
{
	struct mr_rings rings = {
		.producer_core = (int)cores[0],
		.consumer_core = (int)cores[1],
		.frame_bytes = 64,
		.burst = 32,
		.ring_bytes = 512 << 10,
		.seconds = mr_bench_seconds(run, PAIR_SECONDS),
	};
	struct mr_miniature miniature = {
		.producer_core = (int)cores[0],
		.worker_core = (int)cores[1],
		.value_bytes = 100,
		.burst = 32,
		.seconds = mr_bench_seconds(run, 2 * PAIR_SECONDS),
	};
	struct mr_bench_measure bytes = {.take = mr_rings_bytes, .arg = &rings};
	struct mr_bench_measure path = {.take = mr_miniature_rate, .arg = &miniature};
	struct mr_bench_figure ring = {.name = "SPSC byte ring, frames of 64 B, 32 per publish",
				       .unit = "frames/s",
				       .value = 1};
	struct mr_bench_figure miniatures = {
		.name = "ring to tail in miniature, 100 B, 32 per publish",
		.unit = "records/s",
	};
	int r;

	mr_bench_progress(run, "%s", ring.name);
	r = mr_bench_pairs(run, 0, &bytes, NULL, &ring, 1, err);
	if (r < 0)
		return r;
	mr_bench_progress(run, "%s", miniatures.name);
	return mr_bench_pairs(run, 0, &path, NULL, &miniatures, 1, err);
}

int mr_bench_limits(struct mr_bench_run *run, struct mr_error *err)
{
	uint32_t cores[2], core_count = mr_bench_cores(run, cores, 2);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < core_count; i++)
		r = measure_jitter(run, (int)cores[i], core_count > 1 ? (int)cores[1 - i] : -1,
				   err);
	for (size_t i = 0; r == 0 && i < sizeof(rows) / sizeof(*rows); i++)
		r = measure_row(run, &rows[i], err);
	if (r == 0 && core_count > 1)
		r = measure_rings(run, cores, err);
	return r < 0 ? r : measure_disk(run, cores, core_count, err);
}
