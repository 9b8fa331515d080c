/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether anything grows: hours of publishing at 70 % of what the disk takes, with retention on, so
 * that disk and memory stay bounded. Runs on the thread of the question; owns one engine.
 *
 * The run is cut into slices of 10 s, each a producer process that comes, publishes and goes, as
 * programs do; after each the engine is looked at while nothing is under way. So a lane, a
 * connection or a producer's entry that is not given back shows as well. Beside each slice half a
 * second of raw durable writes says whether the machine itself became slower.
 *
 * A partition remembers its last thousands of producers in a table that was taken at its start, but
 * whose pages become resident with the first entry of each. Before the first sample as many
 * producers as fill it come and go, so that this is not taken for growth.
 */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "now.h"
#include "steady.h"
#include "trend.h"

#define VALUE_BYTES    100
#define LANE_BYTES     (8u << 20)
#define BURST	       32
#define SOAK_SECONDS   900
#define SLICE_SECONDS  10.0
#define SLICES_LEAST   9    /* a shorter run has shorter slices */
#define FIND_SECONDS   20.0 /* the durable rate is looked for this long */
#define FIRST_LANES    512  /* producers at a time ... */
#define FIRST_ROUNDS   8    /* ... and how often: as many as a partition remembers */
#define FIRST_SECONDS  0.1
#define LOAD_SHARE     0.7
#define RAW_SECONDS    0.5
#define RAW_BYTES      4096
#define RAW_FILE_BYTES (16ull << 20)
#define MICRO	       1e3
#define KIB	       1024.0
#define HOUR_SECONDS   3600.0
#define TOPIC	       "soak"

enum { ANON = 0, SHARED, DESCRIPTORS, P50, P99, RAW_P99, DISK, RATE, COLUMNS };

struct soak {
	const struct mr_steady_engine *at;
	struct mr_histogram *latencies;
	double seconds, slice_seconds, rate;
	uint32_t count, room;
	double *seconds_in;	  /* [count] since the start */
	double *columns[COLUMNS]; /* [count] each */
	double disturbed;	  /* sum over the slices */
};

/* What is judged. A bar is for the growth: the last third's median to the first third's. */
static const struct column {
	const char *name, *plot, *unit;
	double bar; /* 0: only reported */
} columns[COLUMNS] = {
	{"growth of private memory (RssAnon)", "soak: private memory", "KiB", 1.02},
	{"growth of shared memory (RssShmem)", "soak: shared memory", "KiB", 1.02},
	{"growth of open descriptors", "soak: open descriptors", "descriptors", 1},
	{"growth of p50", "soak: latency p50", "us", 1.2},
	{"growth of p99", "soak: latency p99", "us", 1.2},
	{"growth of a raw durable write's p99", "soak: raw durable write p99", "us", 0},
	{"growth of disk space", "soak: disk space", "bytes", 1.1},
	{"growth of the acknowledged rate", "soak: acknowledged", "records/s", 0},
};

/* ---- looking -------------------------------------------------------------- */

static _Thread_local double disk_bytes; /* nftw() has no argument for it */

static int add_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	if (kind == FTW_F)
		disk_bytes += (double)info->st_blocks * 512;
	return 0; /* a segment that goes meanwhile is none */
}

static double space_taken(const char *directory)
{
	disk_bytes = 0;
	(void)nftw(directory, add_file, 16, FTW_PHYS); /* what was counted counts */
	return disk_bytes;
}

static int make_room(struct soak *soak, struct mr_error *err)
{
	uint32_t room = soak->room ? 2 * soak->room : 128;
	double *grown = realloc(soak->seconds_in, room * sizeof(double));

	if (grown)
		soak->seconds_in = grown;
	for (int i = 0; grown && i < COLUMNS; i++) {
		grown = realloc(soak->columns[i], room * sizeof(double));
		if (grown)
			soak->columns[i] = grown;
	}
	if (!grown)
		return mr_error_set(err, -ENOMEM, "no memory for the samples");
	soak->room = room;
	return 0;
}

static int raw_p99(struct mr_bench_run *run, struct soak *soak, double *p99_us,
		   struct mr_error *err)
{
	struct mr_raw_writes writes = {
		.directory = mr_bench_data(run),
		.bytes = RAW_BYTES,
		.in_flight = 1,
		.durable = true,
		.filling = MR_RAW_WRITTEN,
		.file_bytes = RAW_FILE_BYTES,
		.seconds = RAW_SECONDS < soak->slice_seconds ? RAW_SECONDS : soak->slice_seconds,
		.core = soak->at->worker_core,
	};
	struct mr_raw_result result;
	int r;

	mr_histogram_reset(soak->latencies);
	r = mr_raw_writes(run, &writes, soak->latencies, &result, err);
	*p99_us = (double)mr_histogram_percentile(soak->latencies, 0.99) / MICRO;
	return r;
}

static struct mr_bench_load load_of(const struct soak *soak, double rate, double seconds)
{
	return (struct mr_bench_load){
		.topic = TOPIC,
		.partition = 0,
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = VALUE_BYTES,
		.burst = BURST,
		.rate = rate,
		.seconds = seconds,
		.lane_bytes = LANE_BYTES,
		.core = soak->at->load_core,
	};
}

static int take_slice(struct mr_bench_run *run, struct soak *soak, double seconds_in,
		      struct mr_error *err)
{
	struct mr_bench_load load = load_of(soak, soak->rate, soak->slice_seconds);
	struct mr_bench_load_result result;
	uint32_t at = soak->count;
	double disturbed = 0;
	int r = at == soak->room ? make_room(soak, err) : 0;

	if (r == 0)
		r = raw_p99(run, soak, &soak->columns[RAW_P99][at], err);
	if (r == 0)
		r = mr_bench_load_run(run, soak->at->engine, &load, 1, &result, err);
	if (r < 0)
		return r;
	mr_histogram_reset(soak->latencies);
	mr_bench_load_latency(run, &result, MR_STEADY_WINDOW_NS, soak->at->cores, soak->latencies,
			      &disturbed);
	soak->seconds_in[at] = seconds_in;
	soak->columns[ANON][at] = (double)mr_bench_engine_status_kib(soak->at->engine, "RssAnon");
	soak->columns[SHARED][at] =
		(double)mr_bench_engine_status_kib(soak->at->engine, "RssShmem");
	soak->columns[DESCRIPTORS][at] = mr_bench_engine_descriptors(soak->at->engine);
	soak->columns[P50][at] = (double)mr_histogram_percentile(soak->latencies, 0.5) / MICRO;
	soak->columns[P99][at] = (double)mr_histogram_percentile(soak->latencies, 0.99) / MICRO;
	soak->columns[DISK][at] = space_taken(mr_bench_engine_directory(soak->at->engine));
	soak->columns[RATE][at] = mr_steady_rate(&result);
	soak->disturbed += disturbed;
	soak->count++;
	mr_bench_load_free(&result, 1);
	return 0;
}

/* ---- the run -------------------------------------------------------------- */

static atomic_bool interrupted; /* lock-free, so that a signal handler may set it */

static void note_interrupt(int number)
{
	atomic_store(&interrupted, true);
}

/* Small lanes, each a producer of its own. */
static int fill_table(struct mr_bench_run *run, const struct soak *soak, struct mr_error *err)
{
	struct mr_bench_load load = load_of(soak, 0, FIRST_SECONDS);
	int r = 0;

	load.lanes = FIRST_LANES;
	load.lane_bytes = 0;
	load.burst = 1;
	for (int i = 0; r == 0 && i < FIRST_ROUNDS; i++) {
		struct mr_bench_load_result result;

		r = mr_bench_load_run(run, soak->at->engine, &load, 1, &result, err);
		if (r == 0)
			mr_bench_load_free(&result, 1);
	}
	return r;
}

static int find_rate(struct mr_bench_run *run, struct soak *soak, struct mr_error *err)
{
	double seconds = soak->seconds / 10 < FIND_SECONDS ? soak->seconds / 10 : FIND_SECONDS;
	struct mr_bench_load load = load_of(soak, 0, seconds);
	struct mr_bench_load_result result;
	int r;

	mr_bench_progress(run, "looking for the durable rate, %.0f s", seconds);
	r = mr_bench_load_run(run, soak->at->engine, &load, 1, &result, err);
	if (r < 0)
		return r;
	soak->rate = LOAD_SHARE * mr_steady_rate(&result);
	mr_bench_load_free(&result, 1);
	if (soak->rate >= 1)
		return 0;
	return mr_error_set(err, -EIO, "the engine acknowledged nothing in %.0f s", seconds);
}

static int take_slices(struct mr_bench_run *run, struct soak *soak, struct mr_error *err)
{
	uint64_t began_ns = mr_bench_now_ns();
	double seconds_in = 0;
	int r = 0;

	while (r == 0 && !atomic_load(&interrupted) && seconds_in < soak->seconds) {
		r = take_slice(run, soak, seconds_in, err);
		if (r == 0)
			mr_bench_progress(
				run,
				"%.0f of %.0f s: %.0f records/s, p99 %.0f us, %.0f KiB, %.0f "
				"descriptors",
				seconds_in, soak->seconds, soak->columns[RATE][soak->count - 1],
				soak->columns[P99][soak->count - 1],
				soak->columns[ANON][soak->count - 1],
				soak->columns[DESCRIPTORS][soak->count - 1]);
		seconds_in = (double)(mr_bench_now_ns() - began_ns) / 1e9;
	}
	if (r == 0 && !soak->count)
		return mr_error_set(err, -EINTR, "'soak' was stopped before its first sample");
	return r;
}

/* ---- what it says --------------------------------------------------------- */

static int tell_column(struct mr_bench_run *run, const struct soak *soak, int which,
		       struct mr_error *err)
{
	const struct column *column = &columns[which];
	const double *values = soak->columns[which];
	const struct mr_bench_figure figure = {
		.name = column->name,
		.unit = "ratio",
		.sense = column->bar > 0 ? MR_BENCH_AT_MOST : MR_BENCH_REPORT,
		.bar = column->bar,
	};
	const struct mr_bench_series series = {
		.plot = column->plot,
		.name = column->unit,
		.x = "s",
		.y = column->unit,
		.xs = soak->seconds_in,
		.ys = values,
		.count = soak->count,
	};
	double first, last;

	mr_trend_thirds(values, soak->count, &first, &last);
	mr_bench_add(run, &figure, mr_trend_growth(values, soak->count),
		     soak->disturbed / soak->count);
	mr_bench_note(run,
		      "%.0f %s in the first third, %.0f in the last; %+.1f an hour by the "
		      "line through all %u samples",
		      first, column->unit, last,
		      mr_trend_slope(soak->seconds_in, values, soak->count) * HOUR_SECONDS,
		      soak->count);
	return mr_bench_series(run, &series, err);
}

static int tell(struct mr_bench_run *run, const struct soak *soak, struct mr_error *err)
{
	static const struct mr_bench_figure offered = {
		.name = "offered, 70 % of the durable rate",
		.unit = "records/s",
	};
	int r = 0;

	mr_bench_add(run, &offered, soak->rate, 0);
	if (atomic_load(&interrupted))
		mr_bench_note(run, "interrupted: what there was after %.0f of %.0f s",
			      soak->seconds_in[soak->count - 1], soak->seconds);
	for (int i = 0; r == 0 && i < COLUMNS; i++)
		r = tell_column(run, soak, i, err);
	return r;
}

/* ---- the question --------------------------------------------------------- */

static int measure(struct mr_bench_run *run, const struct mr_steady_engine *at, void *arg,
		   struct mr_error *err)
{
	struct sigaction note = {.sa_handler = note_interrupt, .sa_flags = SA_RESTART}, before;
	struct soak *soak = arg;
	int r;

	soak->at = at;
	atomic_store(&interrupted, false);
	sigaction(SIGINT, &note, &before);
	r = fill_table(run, soak, err);
	if (r == 0)
		r = find_rate(run, soak, err);
	if (r == 0)
		r = take_slices(run, soak, err);
	if (r == 0)
		r = tell(run, soak, err);
	sigaction(SIGINT, &before, NULL);
	return r;
}

int mr_bench_soak(struct mr_bench_run *run, struct mr_error *err)
{
	static const struct mr_bench_engine_options options = {
		.name = "soak",
		.config = MR_STEADY_CONFIG "lanes_per_user: 1024\n",
	};
	struct soak soak = {
		.seconds = mr_bench_seconds(run, SOAK_SECONDS),
		.latencies = mr_histogram_new(),
	};
	int r;

	soak.slice_seconds = soak.seconds / SLICES_LEAST < SLICE_SECONDS
				     ? soak.seconds / SLICES_LEAST
				     : SLICE_SECONDS;
	if (soak.latencies)
		r = mr_steady_with_engine(run, &options, measure, &soak, err);
	else
		r = mr_error_set(err, -ENOMEM, "no memory for a histogram");
	mr_histogram_free(soak.latencies);
	free(soak.seconds_in);
	for (int i = 0; i < COLUMNS; i++)
		free(soak.columns[i]);
	return r;
}
