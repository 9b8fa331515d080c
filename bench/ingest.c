/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many records become durable: one producer process as fast as it goes, into a log that fills
 * and whose oldest segments are removed meanwhile, against raw durable writes into files that fill
 * and are removed alike. Runs on the thread of the question.
 *
 * The figure to judge by is bytes of log per second without padding against raw bytes per second:
 * the disk is the limit, not the processor. What the processor spends is judged by itself.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "check.h"
#include "millrace/format.h"
#include "now.h"
#include "steady.h"
#include "trend.h"
#include "windows.h"

#define VALUE_BYTES	  100
#define LANE_BYTES	  (8u << 20) /* rate x time to acknowledge: see millrace.h */
#define BURST		  32
#define RAW_BYTES	  (1u << 20)
#define RAW_IN_FLIGHT	  4
#define SAMPLE_SECONDS	  12
#define SHORT_SECONDS	  2.0 /* where a curve or a stage is measured, not the question */
#define STAGE_SECONDS	  1.0
#define CLOCK_READS	  1000
#define NS_PER_SECOND	  1e9
#define TOPIC_AT_RATE	  "ingest"
#define TOPIC_FOR_PUBLISH "publish"
#define TOPIC_IN_MEMORY	  "memory"

struct ingest {
	const struct mr_steady_engine *at;
	double seconds;
};

/* The places of a sample. */
enum {
	LOG_BYTES = 0, /* a second, without padding */
	RECORDS,
	WORKER_NS,
	ENGINE_NS,
	PRODUCER_NS,
	RECORDS_A_BATCH,
	GROUP_BYTES,
	GROUPS,
	PADDING,
	FULL_DISK,
	FULL_SEGMENT,
};

#define RAW_NAME "DSYNC writes of 1 MiB, 4 in flight, same filling"

static const struct mr_bench_figure figures[] = {
	{"log bytes made durable, no padding", "bytes/s", RAW_NAME, LOG_BYTES, 0, MR_BENCH_AT_LEAST,
	 0.9},
	{"log bytes made durable, strictly", "bytes/s", "the same out of huge pages", LOG_BYTES, 1,
	 MR_BENCH_REPORT, 0},
	{"records of 100 B made durable", "records/s", NULL, RECORDS, 0, MR_BENCH_REPORT, 0},
	{"worker CPU per durable record", "ns", NULL, WORKER_NS, 0, MR_BENCH_AT_MOST, 35},
	{"CPU of all engine threads per record", "ns", NULL, ENGINE_NS, 0, MR_BENCH_REPORT, 0},
	{"producer CPU per record, waits included", "ns", NULL, PRODUCER_NS, 0, MR_BENCH_REPORT, 0},
	{"records a batch", "records", NULL, RECORDS_A_BATCH, 0, MR_BENCH_REPORT, 0},
	{"bytes a group", "bytes", NULL, GROUP_BYTES, 0, MR_BENCH_REPORT, 0},
	{"groups", "groups/s", NULL, GROUPS, 0, MR_BENCH_REPORT, 0},
	{"padding of what is written", "%", NULL, PADDING, 0, MR_BENCH_REPORT, 0},
	{"turns without room: disk behind", "turns/s", NULL, FULL_DISK, 0, MR_BENCH_REPORT, 0},
	{"turns without room: no segment", "turns/s", NULL, FULL_SEGMENT, 0, MR_BENCH_REPORT, 0},
};

static struct mr_bench_load full_load(const struct ingest *ingest, uint32_t value_bytes,
				      double seconds)
{
	return (struct mr_bench_load){
		.topic = TOPIC_AT_RATE,
		.partition = 0,
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = value_bytes,
		.burst = BURST,
		.seconds = seconds,
		.lane_bytes = LANE_BYTES,
		.core = ingest->at->load_core,
	};
}

static double short_seconds(const struct ingest *ingest)
{
	return ingest->seconds < SHORT_SECONDS ? ingest->seconds : SHORT_SECONDS;
}

static double stage_seconds(const struct ingest *ingest)
{
	return ingest->seconds < STAGE_SECONDS ? ingest->seconds : STAGE_SECONDS;
}

static int take_ours(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	const struct ingest *ingest = arg;
	struct mr_bench_load load = full_load(ingest, VALUE_BYTES, ingest->seconds);
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	double seconds, records;
	int r = mr_steady_load(run, ingest->at->engine, &load, &result, &counts, err);

	if (r < 0)
		return r;
	sample->values[RECORDS] =
		mr_steady_undisturbed_rate(run, &result, 1, ingest->at->cores, &sample->disturbed);
	mr_bench_load_free(&result, 1);
	seconds = (double)(result.ended_ns - result.began_ns) / NS_PER_SECOND;
	records = (double)counts.records;
	sample->values[LOG_BYTES] = sample->values[RECORDS] *
				    mr_trend_share((double)mr_steady_log_bytes(&counts), records);
	sample->values[WORKER_NS] = mr_trend_share((double)counts.worker_ns, records);
	sample->values[ENGINE_NS] = mr_trend_share((double)counts.engine_ns, records);
	sample->values[PRODUCER_NS] = mr_trend_share((double)result.cpu_ns, records);
	sample->values[RECORDS_A_BATCH] = mr_trend_share(records, (double)counts.batches);
	sample->values[GROUP_BYTES] =
		mr_trend_share((double)counts.written_bytes, (double)counts.groups);
	sample->values[GROUPS] = mr_trend_share((double)counts.groups, seconds);
	sample->values[PADDING] =
		100 * mr_trend_share((double)(counts.written_bytes - mr_steady_log_bytes(&counts)),
				     (double)counts.written_bytes);
	sample->values[FULL_DISK] = mr_trend_share((double)counts.full_disk, seconds);
	sample->values[FULL_SEGMENT] = mr_trend_share((double)counts.full_segment, seconds);
	return 0;
}

static int take_raw(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		    struct mr_error *err)
{
	const struct ingest *ingest = arg;
	struct mr_raw_writes writes = {
		.directory = mr_bench_data(run),
		.bytes = RAW_BYTES,
		.in_flight = RAW_IN_FLIGHT,
		.durable = true,
		.filling = MR_RAW_SEGMENTS,
		.file_bytes = MR_STEADY_SEGMENT_BYTES,
		.keep_bytes = MR_STEADY_KEEP_BYTES,
		.seconds = ingest->seconds / 2, /* of each kind of memory */
		.core = ingest->at->worker_core,
	};
	struct mr_raw_result result;
	int r = 0;

	for (int huge = 0; r == 0 && huge < 2; huge++) {
		writes.huge_pages = huge;
		r = mr_raw_writes(run, &writes, NULL, &result, err);
		sample->values[huge] = result.bytes_per_second;
		sample->disturbed += result.disturbed / 2;
	}
	return r;
}

/* ---- against record size -------------------------------------------------- */

static const double sizes[] = {32, 64, 100, 256, 1024, 4096, 16384};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static int against_size(struct mr_bench_run *run, const struct ingest *ingest, struct mr_error *err)
{
	double records[SIZES], bytes[SIZES];
	struct mr_bench_series by_records = {
		.plot = "durable records against record size",
		.name = "acks committed, one producer",
		.x = "value, bytes",
		.y = "records/s",
		.log_x = true,
		.log_y = true,
		.xs = sizes,
		.ys = records,
		.count = SIZES,
	};
	struct mr_bench_series by_bytes = by_records;
	int r = 0;

	by_bytes.plot = "durable bytes against record size";
	by_bytes.y = "bytes of values/s";
	by_bytes.ys = bytes;
	for (uint32_t i = 0; r == 0 && i < SIZES; i++) {
		struct mr_bench_load load =
			full_load(ingest, (uint32_t)sizes[i], short_seconds(ingest));
		struct mr_bench_load_result result;
		struct mr_steady_counts counts;

		mr_bench_progress(run, "records of %.0f B", sizes[i]);
		r = mr_steady_load(run, ingest->at->engine, &load, &result, &counts, err);
		if (r < 0)
			return r;
		records[i] = mr_steady_rate(&result);
		mr_bench_load_free(&result, 1);
		bytes[i] = records[i] * sizes[i];
	}
	r = mr_bench_series(run, &by_records, err);
	return r < 0 ? r : mr_bench_series(run, &by_bytes, err);
}

/* ---- cost by stage -------------------------------------------------------- */

/* What reading the clock twice costs, which is in each call's time. */
static uint64_t clock_cost_ns(struct mr_histogram *histogram)
{
	uint64_t cost;

	for (int i = 0; i < CLOCK_READS; i++) {
		uint64_t before = mr_bench_now_ns();

		mr_histogram_add(histogram, mr_bench_now_ns() - before, 1);
	}
	cost = mr_histogram_percentile(histogram, 0.5);
	mr_histogram_reset(histogram);
	return cost;
}

/* Times the calls that took a whole burst; a full lane is waited for outside. */
static int time_publish(struct mr_producer *producer, double seconds,
			struct mr_histogram *histogram)
{
	static const char value[VALUE_BYTES];
	struct mr_record records[BURST];
	uint64_t end_ns = mr_bench_now_ns() + (uint64_t)(seconds * NS_PER_SECOND), before, after;

	for (uint32_t i = 0; i < BURST; i++)
		records[i] = (struct mr_record){
			.key_bytes = MR_NULL_BYTES,
			.value = value,
			.value_bytes = VALUE_BYTES,
			.timestamp_ms = MR_TIMESTAMP_NOW,
		};
	do {
		int taken;

		before = mr_bench_now_ns();
		taken = mr_producer_put_many(producer, records, BURST);
		after = mr_bench_now_ns();
		if (taken == BURST)
			mr_histogram_add(histogram, after - before, 1);
		else if (taken < 0 && taken != -EAGAIN)
			return taken;
		else
			sched_yield();
	} while (after < end_ns);
	return 0;
}

/* [0]: ns of the median call, for each of its records */
static int take_publish(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			struct mr_error *err)
{
	const struct ingest *ingest = arg;
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = TOPIC_FOR_PUBLISH,
		.acks = MR_ACKS_MEMORY,
		.lane_bytes = LANE_BYTES,
	};
	struct mr_histogram *histogram = mr_histogram_new();
	struct mr_connection *connection = mr_bench_engine_connect(ingest->at->engine, err);
	struct mr_producer *producer = NULL;
	uint64_t began_ns = mr_bench_now_ns();
	int r = histogram ? 0 : mr_error_set(err, -ENOMEM, "no memory for a histogram");

	if (!connection)
		r = err && err->code < 0 ? err->code : -ECONNREFUSED;
	if (r == 0)
		r = mr_producer_open(connection, &options, &producer, err);
	if (r == 0) {
		uint64_t clock_ns = clock_cost_ns(histogram), call_ns;

		r = time_publish(producer, stage_seconds(ingest), histogram);
		call_ns = mr_histogram_percentile(histogram, 0.5);
		sample->values[0] = call_ns > clock_ns ? (double)(call_ns - clock_ns) / BURST : 0;
		sample->disturbed =
			mr_windows_disturbed(run, ingest->at->cores, began_ns, mr_bench_now_ns());
		if (r < 0)
			mr_producer_error(producer, err);
	}
	(void)mr_producer_close(producer, 10000); /* nobody asks for these records */
	mr_disconnect(connection);
	mr_histogram_free(histogram);
	return r;
}

/* CPU time of the worker for each record of a full load, all of it. */
static int worker_ns(struct mr_bench_run *run, const struct ingest *ingest, const char *topic,
		     enum mr_acks acks, double *ns, double *disturbed, struct mr_error *err)
{
	struct mr_bench_load load = full_load(ingest, VALUE_BYTES, stage_seconds(ingest));
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	int r;

	load.topic = topic;
	load.acks = acks;
	r = mr_steady_load(run, ingest->at->engine, &load, &result, &counts, err);
	if (r < 0)
		return r;
	*ns = mr_trend_share((double)counts.worker_ns, (double)counts.records);
	*disturbed = mr_windows_disturbed(run, ingest->at->cores, result.began_ns, result.ended_ns);
	mr_bench_load_free(&result, 1);
	return 0;
}

/* [0]: ns of the worker for a record in memory, [1]: that a durable one takes more */
static int take_worker(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	double durable, disturbed;
	int r = worker_ns(run, arg, TOPIC_IN_MEMORY, MR_ACKS_MEMORY, &sample->values[0],
			  &sample->disturbed, err);

	if (r == 0)
		r = worker_ns(run, arg, TOPIC_AT_RATE, MR_ACKS_COMMITTED, &durable, &disturbed,
			      err);
	if (r < 0)
		return r;
	sample->values[1] = durable - sample->values[0];
	sample->disturbed = (sample->disturbed + disturbed) / 2;
	return 0;
}

static int stages(struct mr_bench_run *run, struct ingest *ingest, struct mr_error *err)
{
	static const struct mr_bench_figure publish = {
		.name = "stage: publish, median call with 32 records", .unit = "ns"};
	static const struct mr_bench_figure worker[] = {
		{.name = "stage: drain and encode", .unit = "ns", .value = 0},
		{.name = "stage: write and complete", .unit = "ns", .value = 1},
	};
	const struct mr_bench_measure put = {take_publish, ingest}, work = {take_worker, ingest};
	int r = mr_bench_pairs(run, 0, &put, NULL, &publish, 1, err);

	if (r < 0)
		return r;
	mr_bench_note(run, "per record; measured in a producer, clock and full lanes taken out");
	r = mr_bench_pairs(run, 0, &work, NULL, worker, mr_array_count(worker), err);
	if (r < 0)
		return r;
	mr_bench_note(run,
		      "both per record. Drain and encode: worker CPU for a topic in memory; "
		      "where the producer is the slower of the two, the worker's looks at an "
		      "empty lane are in it. Write and complete: what worker CPU for a durable "
		      "record is more; waiting for the disk is in it where that takes CPU");
	return 0;
}

/* ---- the question --------------------------------------------------------- */

static int warm_up(struct mr_bench_run *run, const struct ingest *ingest, struct mr_error *err)
{
	struct mr_bench_load load = full_load(ingest, VALUE_BYTES, short_seconds(ingest));
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	int r;

	mr_bench_progress(run, "filling the log until retention works");
	r = mr_steady_load(run, ingest->at->engine, &load, &result, &counts, err);
	mr_bench_load_free(&result, 1);
	return r;
}

static int measure(struct mr_bench_run *run, const struct mr_steady_engine *at, void *arg,
		   struct mr_error *err)
{
	struct ingest *ingest = arg;
	const struct mr_bench_measure ours = {take_ours, ingest}, raw = {take_raw, ingest};
	int r;

	ingest->at = at;
	r = warm_up(run, ingest, err);
	if (r == 0)
		r = mr_bench_pairs(run, 0, &ours, &raw, figures,
				   sizeof(figures) / sizeof(figures[0]), err);
	if (r < 0)
		return r;
	mr_bench_note(run,
		      "5 samples of %g s with the log kept between them; segments of 256 MiB, "
		      "1 GiB kept, so segments are made and removed in every sample; lane of 8 MiB",
		      ingest->seconds);
	r = stages(run, ingest, err);
	return r < 0 ? r : against_size(run, ingest, err);
}

int mr_bench_ingest(struct mr_bench_run *run, struct mr_error *err)
{
	static const struct mr_bench_engine_options options = {
		.name = "ingest",
		.config = MR_STEADY_CONFIG "topics:\n"
					   "  - name: " TOPIC_IN_MEMORY "\n"
					   "    storage: memory\n",
	};
	struct ingest ingest = {.seconds = mr_bench_seconds(run, SAMPLE_SECONDS)};

	return mr_steady_with_engine(run, &options, measure, &ingest, err);
}
