/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an engine takes to be ready again: after a kill with everything that was published
 * behind its checkpoint, against raw sequential reads; after a stop, on a partition of LARGE_BYTES;
 * and with many partitions. Runs on the thread of the question; owns an engine at a time.
 *
 * After a kill what counts is bytes of the log that were read and checked, by the time from the
 * first look at its files until the last partition was recovered, as the engine counted them.
 */
#include <errno.h>
#include <string.h>

#include "load.h"
#include "logs.h"
#include "now.h"

#define VALUE_BYTES    100
#define LANE_BYTES     (4u << 20)
#define BAR_DIRTY      0.8
#define BAR_CLEAN_MS   1000
#define DIRTY_RATE     3e6
#define DIRTY_SECONDS  1.2 /* fewer records than make a busy engine write a checkpoint */
#define LARGE_BYTES    UINT64_C(10000000000)
#define LARGE_SECONDS  5.0
#define LARGE_ROUNDS   12
#define MANY	       240
#define CLEAN_STARTS   5
#define SAMPLE_RECORDS (DIRTY_RATE * DIRTY_SECONDS)
#define MILLION	       1e6

struct starting {
	const char *name;   /* of the engine */
	const char *config; /* NULL: as it comes */
	struct mr_bench_logs logs;
	bool killed; /* before each start */
};

static int publish(struct mr_bench_run *run, struct mr_bench_engine *engine, double rate,
		   double seconds, struct mr_error *err)
{
	struct mr_bench_load load = {
		.topic = "log",
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = VALUE_BYTES,
		.lane_bytes = LANE_BYTES,
		.rate = rate,
		.seconds = seconds,
		.core = mr_bench_free_core(run, mr_bench_engine_worker_cores(engine)),
	};
	struct mr_bench_load_result result;
	int r = mr_bench_load_run(run, engine, &load, 1, &result, err);

	if (r == 0)
		mr_bench_load_free(&result, 1);
	return r;
}

static int start(struct mr_bench_run *run, const struct starting *starting,
		 struct mr_bench_engine **engine, struct mr_error *err)
{
	struct mr_bench_engine_options options = {
		.name = starting->name,
		.config = starting->config,
	};

	return mr_bench_engine_start(run, &options, engine, err);
}

/* ---- killed with a dirty log ----------------------------------------------- */

/* An engine on a fresh directory takes records, and is killed before it writes a checkpoint. */
static int make_dirty(struct mr_bench_run *run, struct starting *dirty, struct mr_error *err)
{
	struct mr_bench_engine *engine;
	char directory[PATH_MAX];
	int r;

	snprintf(directory, sizeof(directory), "%s/%s", mr_bench_data(run), dirty->name);
	r = mr_bench_remove(directory, err);
	if (r == 0)
		r = start(run, dirty, &engine, err);
	if (r < 0)
		return r;
	r = publish(run, engine, DIRTY_RATE, DIRTY_SECONDS, err);
	if (r == 0)
		r = mr_bench_logs_find(mr_bench_engine_directory(engine), &dirty->logs, err);
	mr_bench_engine_kill(engine);
	return r;
}

/* [0]: bytes checked/s, [1]: ms from fork to ready, [2]: bytes checked */
static int sample_dirty(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			struct mr_error *err)
{
	struct starting *dirty = arg;
	struct mr_bench_engine *engine;
	uint64_t bytes, ns, ready_ns;
	int r = make_dirty(run, dirty, err);

	if (r == 0)
		r = start(run, dirty, &engine, err);
	if (r < 0)
		return r;
	ready_ns = mr_bench_now_ns();
	bytes = mr_bench_engine_counter(engine, "recovery_checked_bytes");
	ns = mr_bench_engine_counter(engine, "recovery_ns");
	sample->values[0] = ns ? (double)bytes * 1e9 / (double)ns : 0;
	sample->values[1] = (double)mr_bench_engine_start_ns(engine) / MILLION;
	sample->values[2] = (double)bytes;
	sample->disturbed =
		mr_bench_disturbed(run, 0, ready_ns - mr_bench_engine_start_ns(engine), ready_ns);
	r = mr_bench_engine_stop(engine, err);
	if (r == 0 && (double)bytes < SAMPLE_RECORDS * VALUE_BYTES / 2)
		r = mr_error_set(err, -ENODATA,
				 "the engine had to check only %llu bytes: it wrote a checkpoint",
				 (unsigned long long)bytes);
	return r;
}

/* The whole segments of the log that was recovered last, or is about to be. */
static int sample_raw(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		      struct mr_error *err)
{
	struct starting *dirty = arg;

	return mr_bench_logs_read(run, &dirty->logs, dirty->logs.count - 1, -1, sample, err);
}

static int dirty_figures(struct mr_bench_run *run, struct mr_error *err)
{
	static struct starting dirty = {
		.name = "recover-dirty",
		.config = "checkpoint_quiet: 1 min\n",
	};
	const struct mr_bench_figure figures[] = {
		{"recover after a kill", "bytes/s", "raw sequential reads", 0, 0, MR_BENCH_AT_LEAST,
		 BAR_DIRTY},
		{"recover after a kill, strictly", "bytes/s",
		 "raw sequential reads into huge pages", 0, 1, MR_BENCH_REPORT, 0},
		{"from the start of that engine to ready", "ms", NULL, 1, 0, MR_BENCH_REPORT, 0},
		{"checked in it", "bytes", NULL, 2, 0, MR_BENCH_REPORT, 0},
	};
	struct mr_bench_measure ours = {sample_dirty, &dirty}, raw = {sample_raw, &dirty};
	int r;

	mr_bench_progress(run, "recover after a kill");
	r = make_dirty(run, &dirty, err);
	return r < 0 ? r : mr_bench_pairs(run, 0, &ours, &raw, figures, 4, err);
}

/* ---- stopped --------------------------------------------------------------- */

/* [0]: ms from fork to ready */
static int sample_start(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			struct mr_error *err)
{
	struct starting *starting = arg;
	struct mr_bench_engine *engine;
	int r = start(run, starting, &engine, err);

	if (r < 0)
		return r;
	sample->values[0] = (double)mr_bench_engine_start_ns(engine) / MILLION;
	if (starting->killed)
		mr_bench_engine_kill(engine);
	else
		r = mr_bench_engine_stop(engine, err);
	return r;
}

static int large_log(struct mr_bench_run *run, struct starting *large, struct mr_error *err)
{
	struct mr_bench_engine *engine;
	int r = start(run, large, &engine, err);

	if (r < 0)
		return r;
	for (int i = 0; r == 0 && i < LARGE_ROUNDS; i++) {
		r = publish(run, engine, 0, LARGE_SECONDS, err);
		if (r == 0 && mr_bench_engine_counter(engine, "written_bytes") >= LARGE_BYTES)
			break;
		mr_bench_progress(run, "a log of 10 GB: %.1f",
				  (double)mr_bench_engine_counter(engine, "written_bytes") / 1e9);
	}
	if (r == 0 && mr_bench_engine_counter(engine, "written_bytes") < LARGE_BYTES)
		r = mr_error_set(err, -ETIMEDOUT, "this disk does not take 10 GB in %d s",
				 (int)(LARGE_ROUNDS * LARGE_SECONDS));
	if (r == 0)
		return mr_bench_engine_stop(engine, err);
	mr_bench_engine_kill(engine);
	return r;
}

static int remove_data(struct mr_bench_run *run, const char *name, int status, struct mr_error *err)
{
	char directory[PATH_MAX];
	int r;

	snprintf(directory, sizeof(directory), "%s/%s", mr_bench_data(run), name);
	r = mr_bench_remove(directory, status < 0 ? NULL : err);
	return status < 0 ? status : r;
}

static int large_figures(struct mr_bench_run *run, struct mr_error *err)
{
	static struct starting large = {.name = "recover-large"};
	const struct mr_bench_figure clean = {
		.name = "start on a partition of 10 GB that was stopped",
		.unit = "ms",
		.sense = MR_BENCH_AT_MOST,
		.bar = BAR_CLEAN_MS,
	};
	const struct mr_bench_figure killed = {
		.name = "start on it after a kill while idle",
		.unit = "ms",
	};
	struct mr_bench_measure ours = {sample_start, &large}, none = {0};
	int r = large_log(run, &large, err);

	mr_bench_progress(run, "start on a partition of 10 GB");
	if (r == 0)
		r = mr_bench_pairs(run, CLEAN_STARTS, &ours, &none, &clean, 1, err);
	large.killed = true;
	if (r == 0)
		r = mr_bench_pairs(run, CLEAN_STARTS, &ours, &none, &killed, 1, err);
	return remove_data(run, large.name, r, err);
}

/* ---- many ------------------------------------------------------------------ */

static int make_many(struct mr_bench_run *run, const struct starting *many, struct mr_error *err)
{
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = "many",
		.partition = 0,
	};
	struct mr_connection *connection;
	struct mr_producer *producer = NULL;
	struct mr_bench_engine *engine;
	int r = start(run, many, &engine, err);

	if (r < 0)
		return r;
	connection = mr_bench_engine_connect(engine, err);
	r = connection ? mr_producer_open(connection, &options, &producer, err) : err->code;
	if (r == 0)
		(void)mr_producer_close(producer, 1000); /* nothing was published */
	mr_disconnect(connection);
	if (r == 0)
		return mr_bench_engine_stop(engine, err);
	mr_bench_engine_kill(engine);
	return r;
}

static int many_figures(struct mr_bench_run *run, struct mr_error *err)
{
	/* small, so that many of them fit beside what else the disk holds */
	static struct starting many = {
		.name = "recover-many",
		.config = "tail_bytes: 4 MiB\nfirst_segment_bytes: 4 MiB\n"
			  "topics:\n  - {name: many, partitions: 240}\n",
	};
	const struct mr_bench_figure clean = {
		.name = "start on 240 partitions that were stopped, tails of 4 MiB",
		.unit = "ms",
	};
	const struct mr_bench_figure killed = {
		.name = "start on them after a kill",
		.unit = "ms",
	};
	struct mr_bench_measure ours = {sample_start, &many}, none = {0};
	int r;

	mr_bench_progress(run, "start on %d partitions", MANY);
	r = make_many(run, &many, err);
	if (r == 0)
		r = mr_bench_pairs(run, CLEAN_STARTS, &ours, &none, &clean, 1, err);
	many.killed = true;
	if (r == 0)
		r = mr_bench_pairs(run, CLEAN_STARTS, &ours, &none, &killed, 1, err);
	return remove_data(run, many.name, r, err);
}

int mr_bench_recover(struct mr_bench_run *run, struct mr_error *err)
{
	int r = dirty_figures(run, err);

	r = remove_data(run, "recover-dirty", r, err);
	if (r == 0)
		r = many_figures(run, err);
	return r < 0 ? r : large_figures(run, err);
}
