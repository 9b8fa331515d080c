/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a record takes from the moment it was due until its producer sees it acknowledged, open
 * loop, at rates up to the most that goes in; paired with one raw durable write of 4 KiB at a time
 * on the worker's core. Runs on the thread of the question; owns one engine.
 *
 * The producer is what a user would run: a process on a core of its own that publishes what is due,
 * looks at mr_producer_state() and yields its core while nothing is due.
 */
#include <errno.h>
#include <stdio.h>

#include "steady.h"
#include "trend.h"

#define VALUE_BYTES    100
#define LANE_BYTES     (4u << 20)
#define BURST	       32
#define RAW_BYTES      4096
#define RAW_FILE_BYTES (64ull << 20)
#define SAMPLE_SECONDS 3
#define WARM_UP	       0.2 /* of a sample's seconds; not counted */
#define LOAD_SECONDS   2.0
#define CURVE_POINTS   256
#define KEPT_UP	       0.98 /* of the rate: else the load was more than went in */
#define MICRO	       1e3
#define TOPIC	       "ack"

struct ack {
	struct mr_bench_engine *engine;
	double rate, seconds;
	bool paced;
	int load_core, worker_core;
	uint64_t cores;			/* whose gaps disturb */
	struct mr_histogram *one, *all; /* of a sample, and of the rate's samples together */
	double acknowledged;		/* records/s, the least of the rate's samples */
};

/*
 * The places of a sample; the raw write's are the same, and behind them stands the median of raw
 * writes that are due as often as the records are, where those come singly: between them disk, core
 * and hypervisor go to sleep, which a row of writes without a pause never sees.
 */
enum { P50 = 0, P90, P99, P999, P9999, PLACES, PACED_P50 = PLACES };
static const double shares[PLACES] = {0.5, 0.9, 0.99, 0.999, 0.9999};

#define RAW_NAME "raw durable 4 KiB write"
#define OURS(title, place, against, sense, bar)                                                    \
	{                                                                                          \
		title, "us", RAW_NAME " " against, place, place, sense, bar                        \
	}

/* One row a rate: p50, p90, p99, p99.9, and one more. */
#define FIGURES 5
static const struct rate {
	double rate;
	bool paced; /* measure the raw write at this rate, too */
	const char *name;
	struct mr_bench_figure figures[FIGURES];
} rates[] = {
	{1000,
	 true,
	 "1,000 records/s",
	 {OURS("ack p50 at 1,000/s", P50, "p50", MR_BENCH_AT_MOST, 1.15),
	  OURS("ack p90 at 1,000/s", P90, "p90", MR_BENCH_REPORT, 0),
	  OURS("ack p99 at 1,000/s", P99, "p99", MR_BENCH_REPORT, 0),
	  OURS("ack p99.9 at 1,000/s", P999, "p99.9", MR_BENCH_REPORT, 0),
	  {"ack p50 at 1,000/s, against paced writes", "us", RAW_NAME " due 1,000 times/s, p50",
	   P50, PACED_P50, MR_BENCH_AT_MOST, 1.15}}},
	{10000,
	 false,
	 "10,000 records/s",
	 {OURS("ack p50 at 10,000/s", P50, "p50", MR_BENCH_AT_MOST, 1.7),
	  OURS("ack p90 at 10,000/s", P90, "p90", MR_BENCH_REPORT, 0),
	  OURS("ack p99 at 10,000/s", P99, "p99", MR_BENCH_REPORT, 0),
	  OURS("ack p99.9 at 10,000/s", P999, "p99.9", MR_BENCH_REPORT, 0)}},
	{100000,
	 false,
	 "100,000 records/s",
	 {OURS("ack p50 at 100,000/s", P50, "p50", MR_BENCH_REPORT, 0),
	  OURS("ack p90 at 100,000/s", P90, "p90", MR_BENCH_REPORT, 0),
	  OURS("ack p99 at 100,000/s", P99, "p99", MR_BENCH_REPORT, 0),
	  OURS("ack p99.9 at 100,000/s", P999, "p99.9", MR_BENCH_REPORT, 0)}},
	{1000000,
	 false,
	 "1,000,000 records/s",
	 {OURS("ack p50 at 1,000,000/s", P50, "p50", MR_BENCH_AT_MOST, 2.5),
	  OURS("ack p90 at 1,000,000/s", P90, "p90", MR_BENCH_REPORT, 0),
	  OURS("ack p99 at 1,000,000/s", P99, "p99", MR_BENCH_AT_MOST, 8),
	  OURS("ack p99.9 at 1,000,000/s", P999, "p99.9", MR_BENCH_REPORT, 0),
	  {"ack p99 at 1,000,000/s, strictly", "us", RAW_NAME " p50", P99, P50, MR_BENCH_AT_MOST,
	   8}}},
};
#define RATES (sizeof(rates) / sizeof(rates[0]))

static void put_percentiles(const struct mr_histogram *histogram, struct mr_bench_sample *sample)
{
	for (int i = 0; i < PLACES; i++)
		sample->values[i] = (double)mr_histogram_percentile(histogram, shares[i]) / MICRO;
}

/* One load at a rate; the latencies of its records into 'histogram'. */
static int load_at(struct mr_bench_run *run, const struct ack *ack, double rate, double seconds,
		   struct mr_histogram *histogram, double *acknowledged, double *disturbed,
		   struct mr_error *err)
{
	struct mr_bench_load load = {
		.topic = TOPIC,
		.partition = 0,
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = VALUE_BYTES,
		.burst = BURST,
		.rate = rate,
		.seconds = seconds,
		.warm_up_seconds = seconds * WARM_UP,
		.lane_bytes = LANE_BYTES,
		.core = ack->load_core,
	};
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	int r = mr_steady_load(run, ack->engine, &load, &result, &counts, err);

	if (r < 0)
		return r;
	*acknowledged = mr_steady_rate(&result);
	if (rate > 0)
		mr_bench_load_latency(run, &result, MR_STEADY_WINDOW_NS, ack->cores, histogram,
				      disturbed);
	mr_bench_load_free(&result, 1);
	return 0;
}

static int take_ours(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	struct ack *ack = arg;
	double acknowledged;
	int r;

	mr_histogram_reset(ack->one);
	r = load_at(run, ack, ack->rate, ack->seconds, ack->one, &acknowledged, &sample->disturbed,
		    err);
	if (r < 0)
		return r;
	put_percentiles(ack->one, sample);
	mr_histogram_merge(ack->all, ack->one);
	if (acknowledged < ack->acknowledged)
		ack->acknowledged = acknowledged;
	return 0;
}

/* Raw writes for half a sample's time, one after the other or at a rate, into ack->one. */
static int raw_at(struct mr_bench_run *run, const struct ack *ack, double rate, double *disturbed,
		  struct mr_error *err)
{
	struct mr_raw_writes writes = {
		.directory = mr_bench_data(run),
		.bytes = RAW_BYTES,
		.in_flight = 1,
		.durable = true,
		.filling = MR_RAW_WRITTEN,
		.file_bytes = RAW_FILE_BYTES,
		.rate = rate,
		.seconds = ack->seconds / 2,
		.core = ack->worker_core,
	};
	struct mr_raw_result result = {0};
	int r;

	mr_histogram_reset(ack->one);
	r = mr_raw_writes(run, &writes, ack->one, &result, err);
	*disturbed = result.disturbed;
	return r;
}

static int take_raw(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	struct ack *ack = arg;
	double disturbed;
	int r = raw_at(run, ack, 0, &sample->disturbed, err);

	if (r < 0)
		return r;
	put_percentiles(ack->one, sample);
	if (!ack->paced)
		return 0;
	r = raw_at(run, ack, ack->rate, &disturbed, err);
	if (r < 0)
		return r;
	sample->values[PACED_P50] = (double)mr_histogram_percentile(ack->one, 0.5) / MICRO;
	sample->disturbed = (sample->disturbed + disturbed) / 2;
	return 0;
}

/* ---- a rate --------------------------------------------------------------- */

static int add_curve(struct mr_bench_run *run, const struct mr_histogram *histogram,
		     const char *name, struct mr_error *err)
{
	double xs[CURVE_POINTS], ys[CURVE_POINTS];
	struct mr_bench_series series = {
		.plot = "latency, due to acknowledged",
		.name = name,
		.x = "1 / (1 - share of records)",
		.y = "us",
		.log_x = true,
		.log_y = true,
		.xs = xs,
		.ys = ys,
		.count = mr_histogram_curve(histogram, xs, ys, CURVE_POINTS),
	};

	return series.count ? mr_bench_series(run, &series, err) : 0;
}

/* p99.99 needs all samples of the rate together; so the note says how many records there were. */
static void add_tail(struct mr_bench_run *run, const struct ack *ack, const struct rate *rate)
{
	char name[MR_BENCH_NAME_BYTES];
	struct mr_bench_figure figure = {.name = name, .unit = "us"};

	snprintf(name, sizeof(name), "ack p99.99 at %s, all samples", rate->name);
	mr_bench_add(run, &figure, (double)mr_histogram_percentile(ack->all, shares[P9999]) / MICRO,
		     0);
	mr_bench_note(run,
		      "of %llu records in undisturbed windows; worst %.0f us; in the slowest "
		      "sample %.0f records/s were acknowledged%s",
		      (unsigned long long)mr_histogram_count(ack->all),
		      (double)mr_histogram_max(ack->all) / MICRO, ack->acknowledged,
		      ack->acknowledged < rate->rate * KEPT_UP ? ": FEWER THAN WERE DUE" : "");
}

static int measure_rate(struct mr_bench_run *run, struct ack *ack, const struct rate *rate,
			struct mr_error *err)
{
	const struct mr_bench_measure ours = {take_ours, ack}, raw = {take_raw, ack};
	uint32_t count = FIGURES;
	int r;

	while (!rate->figures[count - 1].name)
		count--;
	ack->rate = rate->rate;
	ack->paced = rate->paced;
	ack->acknowledged = rate->rate;
	mr_histogram_reset(ack->all);
	mr_bench_progress(run, "%s", rate->name);
	r = mr_bench_pairs(run, 0, &ours, &raw, rate->figures, count, err);
	if (r < 0)
		return r;
	add_tail(run, ack, rate);
	return add_curve(run, ack->all, rate->name, err);
}

/* ---- against offered load ------------------------------------------------- */

static const double loads[] = {1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 2e6, 3e6, 5e6, 1e7, 2e7};
#define LOADS (sizeof(loads) / sizeof(loads[0]))

struct sweep {
	double rates[LOADS + 1], p50[LOADS + 1], p99[LOADS + 1];
	uint32_t count;
};

static int sweep_at(struct mr_bench_run *run, struct ack *ack, double rate, struct sweep *sweep,
		    struct mr_error *err)
{
	double acknowledged, disturbed;
	double seconds = ack->seconds < LOAD_SECONDS ? ack->seconds : LOAD_SECONDS;
	int r;

	mr_bench_progress(run, "latency at %.0f records/s", rate);
	mr_histogram_reset(ack->one);
	r = load_at(run, ack, rate, seconds, ack->one, &acknowledged, &disturbed, err);
	if (r < 0 || !mr_histogram_count(ack->one))
		return r;
	sweep->rates[sweep->count] = rate;
	sweep->p50[sweep->count] = (double)mr_histogram_percentile(ack->one, 0.5) / MICRO;
	sweep->p99[sweep->count] = (double)mr_histogram_percentile(ack->one, 0.99) / MICRO;
	sweep->count++;
	return 0;
}

static int add_sweep(struct mr_bench_run *run, const struct sweep *sweep, struct mr_error *err)
{
	struct mr_bench_series series = {
		.plot = "latency against offered load",
		.name = "p50",
		.x = "records/s",
		.y = "us",
		.log_x = true,
		.log_y = true,
		.xs = sweep->rates,
		.ys = sweep->p50,
		.count = sweep->count,
	};
	int r = mr_bench_series(run, &series, err);

	if (r < 0)
		return r;
	series.name = "p99";
	series.ys = sweep->p99;
	return mr_bench_series(run, &series, err);
}

/* Up to 0.9 of what goes in: beyond, latency is the lane's size divided by the rate. */
static int against_load(struct mr_bench_run *run, struct ack *ack, struct mr_error *err)
{
	double seconds = ack->seconds < LOAD_SECONDS ? ack->seconds : LOAD_SECONDS;
	struct sweep sweep = {.count = 0};
	double most, disturbed;
	int r;

	mr_bench_progress(run, "the most that goes in");
	r = load_at(run, ack, 0, seconds, ack->one, &most, &disturbed, err);
	for (uint32_t i = 0; r == 0 && i < LOADS && loads[i] < 0.9 * most; i++)
		r = sweep_at(run, ack, loads[i], &sweep, err);
	if (r == 0 && most > 0)
		r = sweep_at(run, ack, 0.9 * most, &sweep, err);
	return r < 0 ? r : add_sweep(run, &sweep, err);
}

/* ---- few records ---------------------------------------------------------- */

static int bytes_on_disk(struct mr_bench_run *run, const struct ack *ack, struct mr_error *err)
{
	static const struct mr_bench_figure figure = {
		.name = "bytes on disk per record, 10/s of 100 B",
		.unit = "bytes",
	};
	struct mr_bench_load load = {
		.topic = TOPIC,
		.partition = 0,
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = VALUE_BYTES,
		.burst = BURST,
		.rate = 10,
		.seconds = ack->seconds,
		.core = ack->load_core,
	};
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	int r = mr_steady_load(run, ack->engine, &load, &result, &counts, err);

	if (r < 0)
		return r;
	mr_bench_load_free(&result, 1);
	mr_bench_add(run, &figure,
		     mr_trend_share((double)counts.written_bytes, (double)counts.records), 0);
	mr_bench_note(run, "a durable write is at least one block of 4 KiB, and a record that is "
			   "due alone is written alone. To lower it, publish together what may "
			   "wait: records of one mr_producer_put_many() share a block");
	return 0;
}

/* ---- the question --------------------------------------------------------- */

static int measure(struct mr_bench_run *run, struct ack *ack, struct mr_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < RATES; i++)
		r = measure_rate(run, ack, &rates[i], err);
	if (r == 0)
		r = bytes_on_disk(run, ack, err);
	return r < 0 ? r : against_load(run, ack, err);
}

static int with_engine(struct mr_bench_run *run, struct ack *ack, struct mr_error *err)
{
	static const struct mr_bench_engine_options options = {
		.name = "ack",
		.config = MR_STEADY_CONFIG,
	};
	int r = mr_bench_engine_start(run, &options, &ack->engine, err), stopped;

	if (r < 0)
		return r;
	ack->load_core = mr_steady_load_core(run, ack->engine, 0);
	ack->cores = mr_steady_cores(run, ack->engine);
	ack->worker_core = mr_steady_worker_core(ack->engine);
	r = measure(run, ack, err);
	stopped = mr_bench_engine_stop(ack->engine, r < 0 ? NULL : err);
	return r < 0 ? r : stopped;
}

int mr_bench_ack(struct mr_bench_run *run, struct mr_error *err)
{
	struct ack ack = {
		.seconds = mr_bench_seconds(run, SAMPLE_SECONDS),
		.one = mr_histogram_new(),
		.all = mr_histogram_new(),
	};
	int r;

	if (ack.one && ack.all)
		r = with_engine(run, &ack, err);
	else
		r = mr_error_set(err, -ENOMEM, "no memory for the histograms");
	mr_histogram_free(ack.one);
	mr_histogram_free(ack.all);
	return r;
}
