/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a second host costs, with both on this machine: two engines, two directories on one disk,
 * one connection over loopback. How long until a record is on both; how much goes through; how fast
 * a host that was away gets what it missed; and what the feed adds on the wire. Runs on the thread
 * of the question; owns two engines.
 *
 * On one machine both engines share cores and disk, so every byte is written twice to the same
 * disk: limits say so where they do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "limit.h"
#include "now.h"
#include "steady.h"
#include "trend.h"
#include "windows.h"

#define VALUE_BYTES	 100
#define LANE_BYTES	 (8u << 20)
#define BURST		 32
#define SAMPLE_SECONDS	 3
#define WARM_UP		 0.2 /* of a sample's seconds; not counted */
#define LONE_PATIENCE_NS UINT64_C(10000000000)
#define AWAY_RATE	 500
#define RAW_BYTES	 (1u << 20)
#define RAW_IN_FLIGHT	 4
#define FLUSH_BYTES	 4096
#define FLUSH_FILE	 (64ull << 20)
#define CONNECT_NS	 UINT64_C(20000000000)
#define CATCH_UP_PAIRS	 3 /* each waits until the leader goes on alone */
#define CATCH_UP_NS	 UINT64_C(60000000000)
#define AWAY_SECONDS	 2.0 /* and what is out then is waited for, by a load 10 s at most */
#define MISSED_SECONDS	 1.5 /* of full load: less than is kept */
#define LOOK_NS		 2000000
#define LONE_BYTES_MAX	 64
#define FULL_SHARE_MAX	 0.01
#define COMMITTED_MAX	 1.5
#define CATCH_UP_LEAST	 0.7
#define MICRO		 1e3
#define TOPIC		 "replicated"
#define PAIR                                                                                       \
	"replicas: 2\nleaders: a\ninsecure: true\n"                                                \
	"catch_up_bytes_per_second: 1024 GiB\n"

struct pair {
	struct mr_bench_engine *leader, *follower;
	uint32_t insync; /* how many must have a record */
	char names[2][32];
	char leader_config[512], follower_config[512];
	double seconds;
	int load_core, worker_core;
	uint64_t cores; /* whose gaps disturb */
	struct mr_histogram *one;
	struct mr_limit limit;
	double stream, disk; /* bytes/s, the last that were measured */
};

/* ---- two engines ---------------------------------------------------------- */

/* One that nobody listens on now. */
static int free_port(uint16_t *port, struct mr_error *err)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &bytes) < 0)
		r = mr_error_set(err, -errno, "cannot find a port: %s", strerror(errno));
	if (fd >= 0)
		(void)close(fd); /* only asked */
	*port = ntohs(at.sin_port);
	return r;
}

static int configure(struct pair *pair, struct mr_error *err)
{
	uint16_t port;
	int r = free_port(&port, err);

	if (r < 0)
		return r;
	snprintf(pair->names[0], sizeof(pair->names[0]), "replica-%u-a", pair->insync);
	snprintf(pair->names[1], sizeof(pair->names[1]), "replica-%u-b", pair->insync);
	snprintf(pair->leader_config, sizeof(pair->leader_config),
		 MR_STEADY_CONFIG PAIR "min_insync_replicas: %u\nnode: a\nnumber: 0\npeers:\n"
				       "  b: {number: 1, address: \"127.0.0.1:%u\"}\n",
		 pair->insync, port);
	snprintf(pair->follower_config, sizeof(pair->follower_config),
		 MR_STEADY_CONFIG PAIR "min_insync_replicas: %u\nnode: b\nnumber: 1\n"
				       "listen: \"127.0.0.1:%u\"\npeers:\n  a: {number: 0}\n",
		 pair->insync, port);
	return 0;
}

/* What the leader says of its peers; the caller lets it go. NULL: 'err' says why. */
static json_t *ask_peers(const struct pair *pair, struct mr_error *err)
{
	struct mr_connection *connection = mr_bench_engine_connect(pair->leader, err);
	char *text = NULL;
	json_t *reply = NULL;

	if (!connection)
		return NULL;
	if (mr_connection_admin(connection, "{\"do\": \"peers.describe\"}", &text, err) == 0)
		reply = json_loads(text, 0, NULL);
	if (text && !reply)
		mr_error_set(err, -EPROTO, "the engine's word of its peers is no JSON");
	free(text);
	mr_disconnect(connection);
	return reply;
}

/* What the leader sent to its peer so far, and whether all replicas are in sync. */
struct sent {
	uint64_t bytes, batch_bytes, records;
	bool connected, in_sync;
};

static uint64_t number(const json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

static int read_sent(const struct pair *pair, struct sent *sent, struct mr_error *err)
{
	json_t *reply = ask_peers(pair, err), *row;
	size_t i;

	if (!reply)
		return err->code;
	row = json_array_get(json_object_get(reply, "peers"), 0);
	*sent = (struct sent){
		.bytes = number(row, "sent_bytes"),
		.batch_bytes = number(row, "sent_batch_bytes"),
		.records = number(row, "sent_records"),
		.connected = json_is_true(json_object_get(row, "connected")),
		.in_sync = true,
	};
	json_array_foreach(json_object_get(reply, "partitions"), i, row)
	{
		sent->in_sync &= json_array_size(json_object_get(row, "isr")) == 2;
	}
	json_decref(reply);
	return 0;
}

static void pass_time(void)
{
	const struct timespec step = {.tv_nsec = LOOK_NS};

	(void)nanosleep(&step, NULL); /* a signal may shorten it */
}

/* Until they are connected and in sync. */
static int wait_in_sync(const struct pair *pair, uint64_t patience_ns, struct mr_error *err)
{
	uint64_t until_ns = mr_bench_now_ns() + patience_ns;
	struct sent sent = {0};

	while (mr_bench_now_ns() < until_ns) {
		int r = read_sent(pair, &sent, err);

		if (r < 0)
			return r;
		if (sent.connected && sent.in_sync)
			return 0;
		pass_time();
	}
	return mr_error_set(err, -ETIMEDOUT, "after %llu s the two engines are %s",
			    (unsigned long long)(patience_ns / 1000000000),
			    sent.connected ? "connected, but not in sync" : "not connected");
}

static int start_follower(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	const struct mr_bench_engine_options follower = {.name = pair->names[1],
							 .config = pair->follower_config};

	return mr_bench_engine_start(run, &follower, &pair->follower, err);
}

static int start_pair(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	const struct mr_bench_engine_options leader = {.name = pair->names[0],
						       .config = pair->leader_config};
	int r = configure(pair, err);

	if (r == 0)
		r = mr_bench_engine_start(run, &leader, &pair->leader, err);
	if (r == 0)
		r = start_follower(run, pair, err);
	if (r == 0)
		r = wait_in_sync(pair, CONNECT_NS, err);
	if (r < 0)
		return r;
	pair->load_core = mr_steady_load_core(run, pair->leader, 0);
	pair->worker_core = mr_steady_worker_core(pair->leader);
	pair->cores = mr_steady_cores(run, pair->leader);
	return mr_limit_init(run, &pair->limit, pair->seconds / 3, err);
}

/* Both are stopped, whatever happened before; the first failure is said. */
static int stop_pair(struct mr_bench_run *run, struct pair *pair, int status, struct mr_error *err)
{
	int r;

	r = mr_bench_engine_stop(pair->follower, status < 0 ? NULL : err);
	if (status == 0)
		status = r;
	r = mr_bench_engine_stop(pair->leader, status < 0 ? NULL : err);
	pair->leader = pair->follower = NULL;
	return status < 0 ? status : r;
}

static int load_at(struct mr_bench_run *run, const struct pair *pair, double rate, double seconds,
		   struct mr_bench_load_result *result, struct mr_steady_counts *counts,
		   struct mr_error *err)
{
	const struct mr_bench_load load = {
		.topic = TOPIC,
		.partition = 0,
		.acks = MR_ACKS_COMMITTED,
		.value_bytes = VALUE_BYTES,
		.burst = BURST,
		.rate = rate,
		.seconds = seconds,
		.warm_up_seconds = seconds * WARM_UP,
		.lane_bytes = LANE_BYTES,
		.core = pair->load_core,
	};

	return mr_steady_load(run, pair->leader, &load, result, counts, err);
}

/* ---- limits --------------------------------------------------------------- */

/* Into pair->stream and pair->disk. */
static int measure_limits(struct mr_bench_run *run, struct pair *pair, double *disturbed,
			  struct mr_error *err)
{
	const struct mr_raw_writes writes = {
		.directory = mr_bench_data(run),
		.bytes = RAW_BYTES,
		.in_flight = RAW_IN_FLIGHT,
		.durable = true,
		.filling = MR_RAW_SEGMENTS,
		.file_bytes = MR_STEADY_SEGMENT_BYTES,
		.keep_bytes = MR_STEADY_KEEP_BYTES,
		.seconds = pair->seconds / 2,
		.core = pair->worker_core,
		.huge_pages = true,
	};
	struct mr_bench_sample stream = {0};
	struct mr_raw_result disk = {0};
	int r = mr_limit_stream(run, &pair->limit, &stream, err);

	if (r == 0)
		r = mr_raw_writes(run, &writes, NULL, &disk, err);
	pair->stream = stream.values[0];
	pair->disk = disk.bytes_per_second;
	*disturbed = (stream.disturbed + disk.disturbed) / 2;
	return r;
}

/* ---- as fast as it goes --------------------------------------------------- */

/* [0] log bytes/s on both, [1] records/s, [2] wire beside the batches, as a share of them */
static int take_full(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	struct pair *pair = arg;
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	struct sent before, after;
	int r = read_sent(pair, &before, err);

	if (r == 0)
		r = load_at(run, pair, 0, pair->seconds, &result, &counts, err);
	if (r < 0)
		return r;
	sample->values[1] =
		mr_steady_undisturbed_rate(run, &result, 1, pair->cores, &sample->disturbed);
	sample->values[0] = sample->values[1] * mr_trend_share((double)mr_steady_log_bytes(&counts),
							       (double)counts.records);
	mr_bench_load_free(&result, 1);
	r = read_sent(pair, &after, err);
	if (r < 0)
		return r;
	if (after.batch_bytes == before.batch_bytes)
		return mr_error_set(err, -ENODATA, "nothing went to the other host");
	sample->values[2] = (double)(after.bytes - before.bytes) /
				    (double)(after.batch_bytes - before.batch_bytes) -
			    1;
	return 0;
}

/* [0] the stream's bytes/s, [1] half of the disk's */
static int take_limits(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	struct pair *pair = arg;
	int r = measure_limits(run, pair, &sample->disturbed, err);

	sample->values[0] = pair->stream;
	sample->values[1] = pair->disk / 2;
	return r;
}

static int full_figures(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	static const struct mr_bench_figure figures[] = {
		{"replicated log bytes, 100 B records", "bytes/s", "half of raw durable writes", 0,
		 1, MR_BENCH_REPORT, 0},
		{"the same against the network", "bytes/s", "one TCP stream over loopback", 0, 0,
		 MR_BENCH_REPORT, 0},
		{"replicated records of 100 B", "records/s", NULL, 1, 0, MR_BENCH_REPORT, 0},
		{"feed beside its batches, under full load", "ratio", NULL, 2, 0, MR_BENCH_AT_MOST,
		 FULL_SHARE_MAX},
	};
	const struct mr_bench_measure ours = {take_full, pair}, limit = {take_limits, pair};
	int r;

	mr_bench_progress(run, "replicated, as fast as it goes");
	r = mr_bench_pairs(run, 0, &ours, &limit, figures, 4, err);
	if (r == 0)
		mr_bench_note(run,
			      "bytes on the wire less the batches' own, by the batches' own; the "
			      "follower's answers go the other way. The slower limit here is %s: "
			      "both hosts write to one disk, and share the cores",
			      pair->stream < pair->disk / 2 ? "the network's" : "the disk's");
	return r;
}

/* ---- one record at a time ------------------------------------------------- */

/* Puts a record and waits until it is committed, yielding its core, again and again. */
static int one_by_one(struct pair *pair, struct mr_producer *producer, struct mr_error *err)
{
	const uint64_t began_ns = mr_bench_now_ns();
	const uint64_t until_ns = began_ns + (uint64_t)(pair->seconds * 1e9);
	static const char value[VALUE_BYTES];
	const struct mr_record record = {.value = value,
					 .value_bytes = VALUE_BYTES,
					 .key_bytes = MR_NULL_BYTES,
					 .timestamp_ms = MR_TIMESTAMP_NOW};
	struct mr_producer_state state = {.size = sizeof(state)};
	uint64_t now_ns = began_ns, put_ns;

	while (now_ns < until_ns) {
		int r = mr_producer_put(producer, &record);

		put_ns = now_ns;
		while (r == 0 && (r = mr_producer_state(producer, &state)) == 0) {
			now_ns = mr_bench_now_ns();
			if (state.acknowledged == state.published)
				break;
			if (now_ns > until_ns + LONE_PATIENCE_NS)
				r = -ETIMEDOUT;
			sched_yield();
		}
		if (r < 0)
			return mr_error_set(err, r, "a record was not committed: %s", strerror(-r));
		if ((double)(put_ns - began_ns) > WARM_UP * 1e9 * pair->seconds)
			mr_histogram_add(pair->one, now_ns - put_ns, 1);
	}
	return 0;
}

static int lone_records(struct pair *pair, struct mr_error *err)
{
	const struct mr_producer_options options = {
		.size = sizeof(options), .topic = TOPIC, .partition = 0};
	struct mr_connection *connection = mr_bench_engine_connect(pair->leader, err);
	struct mr_producer *producer = NULL;
	int r = connection ? mr_producer_open(connection, &options, &producer, err) : err->code;

	if (r == 0)
		r = one_by_one(pair, producer, err);
	if (producer)
		(void)mr_producer_close(producer, 1000); /* all is committed, or it was said */
	mr_disconnect(connection);
	return r;
}

/* [0] p50, [1] p99 us; [2] bytes on the wire for a record beside its batch */
static int take_lone(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		     struct mr_error *err)
{
	struct pair *pair = arg;
	uint64_t began_ns = mr_bench_now_ns();
	struct sent before, after;
	int r = read_sent(pair, &before, err);

	mr_histogram_reset(pair->one);
	if (r == 0)
		r = lone_records(pair, err);
	if (r == 0)
		r = read_sent(pair, &after, err);
	if (r < 0)
		return r;
	if (after.records == before.records || !mr_histogram_count(pair->one))
		return mr_error_set(err, -ENODATA, "nothing went to the other host");
	sample->values[0] = (double)mr_histogram_percentile(pair->one, 0.5) / MICRO;
	sample->values[1] = (double)mr_histogram_percentile(pair->one, 0.99) / MICRO;
	sample->values[2] =
		(double)(after.bytes - before.bytes - (after.batch_bytes - before.batch_bytes)) /
		(double)(after.records - before.records);
	sample->disturbed = mr_windows_disturbed(run, pair->cores, began_ns, mr_bench_now_ns());
	return 0;
}

/* Two flushes at once, and a message there and back. [0] p50, [1] p99 us */
static int take_lone_limit(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			   struct mr_error *err)
{
	struct pair *pair = arg;
	const struct mr_raw_writes writes = {
		.directory = mr_bench_data(run),
		.bytes = FLUSH_BYTES,
		.in_flight = 2,
		.durable = true,
		.filling = MR_RAW_WRITTEN,
		.file_bytes = FLUSH_FILE,
		.seconds = pair->seconds / 2,
		.core = pair->worker_core,
	};
	struct mr_limit trip = pair->limit;
	struct mr_bench_sample tcp = {0};
	struct mr_raw_result disk = {0};
	int r;

	mr_histogram_reset(pair->one);
	r = mr_raw_writes(run, &writes, pair->one, &disk, err);
	trip.bytes = VALUE_BYTES + 128; /* a batch of one record and its heads */
	trip.poll = false;
	if (r == 0)
		r = mr_limit_tcp(run, &trip, &tcp, err);
	if (r < 0)
		return r;
	sample->values[0] =
		((double)mr_histogram_percentile(pair->one, 0.5) + tcp.values[0]) / MICRO;
	sample->values[1] =
		((double)mr_histogram_percentile(pair->one, 0.99) + tcp.values[1]) / MICRO;
	sample->disturbed = (disk.disturbed + tcp.disturbed) / 2;
	return 0;
}

static int lone_figures(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	static const struct mr_bench_figure figures[] = {
		{"publish to committed on both, one at a time, p50", "us",
		 "two flushes at once + TCP there and back", 0, 0, MR_BENCH_AT_MOST, COMMITTED_MAX},
		{"publish to committed on both, one at a time, p99", "us", "p99 of both", 1, 1,
		 MR_BENCH_REPORT, 0},
		{"feed beside the batch of a lone record", "bytes", NULL, 2, 0, MR_BENCH_AT_MOST,
		 LONE_BYTES_MAX},
	};
	const struct mr_bench_measure ours = {take_lone, pair}, limit = {take_lone_limit, pair};
	int r;

	mr_bench_progress(run, "one record at a time");
	r = mr_bench_pairs(run, 0, &ours, &limit, figures, 3, err);
	if (r == 0)
		mr_bench_note(
			run, "as the leader's feed counted them: what stands before the batch, and "
			     "the message that tells the follower that the record is committed, so "
			     "that it can be read there; heartbeats, too");
	return r;
}

/* ---- catching up ---------------------------------------------------------- */

/* The follower is away while the leader takes records for a sample's time. */
static int fall_behind(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	double missed = pair->seconds;
	struct mr_bench_load_result result;
	struct mr_steady_counts counts;
	int r;

	mr_bench_engine_kill(pair->follower);
	pair->follower = NULL;
	/* until the leader goes on alone, nothing is committed */
	r = load_at(run, pair, AWAY_RATE, AWAY_SECONDS, &result, &counts, err);
	if (r == 0)
		mr_bench_load_free(&result, 1);
	if (r == 0)
		r = load_at(run, pair, 0, missed < MISSED_SECONDS ? missed : MISSED_SECONDS,
			    &result, &counts, err);
	if (r == 0)
		mr_bench_load_free(&result, 1);
	return r;
}

/* [0] batch bytes/s from the first that went until the follower is in sync, [1] bytes */
static int take_catch_up(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
			 struct mr_error *err)
{
	struct pair *pair = arg;
	struct sent before = {0}, now;
	uint64_t first_ns = 0, until_ns;
	int r = fall_behind(run, pair, err);

	if (r == 0)
		r = read_sent(pair, &before, err);
	if (r == 0)
		r = start_follower(run, pair, err);
	until_ns = mr_bench_now_ns() + CATCH_UP_NS;
	now = before;
	while (r == 0 && !(now.connected && now.in_sync)) {
		uint64_t now_ns = mr_bench_now_ns();

		if (!first_ns && now.batch_bytes > before.batch_bytes) {
			first_ns = now_ns;
			before = now;
		}
		if (now_ns > until_ns)
			return mr_error_set(
				err, -ETIMEDOUT,
				"after %llu s the follower is %s, and got %llu bytes",
				(unsigned long long)(CATCH_UP_NS / 1000000000),
				now.connected ? "not in sync" : "not connected",
				(unsigned long long)(now.batch_bytes - before.batch_bytes));
		pass_time();
		r = read_sent(pair, &now, err);
	}
	if (r < 0)
		return r;
	if (!first_ns)
		return mr_error_set(err, -ENODATA, "there was nothing to catch up with");
	until_ns = mr_bench_now_ns();
	sample->values[1] = (double)(now.batch_bytes - before.batch_bytes);
	sample->values[0] = sample->values[1] * 1e9 / (double)(until_ns - first_ns);
	sample->disturbed = mr_windows_disturbed(run, pair->cores, first_ns, until_ns);
	return 0;
}

/* [0] the slower of the two */
static int take_slower(struct mr_bench_run *run, void *arg, struct mr_bench_sample *sample,
		       struct mr_error *err)
{
	struct pair *pair = arg;
	int r = measure_limits(run, pair, &sample->disturbed, err);

	sample->values[0] = pair->stream < pair->disk ? pair->stream : pair->disk;
	return r;
}

static int catch_up_figures(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	static const struct mr_bench_figure figures[] = {
		{"catch-up from segments", "bytes/s", "the slower of TCP stream and durable writes",
		 0, 0, MR_BENCH_AT_LEAST, CATCH_UP_LEAST},
		{"missed by then", "bytes", NULL, 1, 0, MR_BENCH_REPORT, 0},
	};
	const struct mr_bench_measure ours = {take_catch_up, pair}, limit = {take_slower, pair};
	int r;

	mr_bench_progress(run, "a host that was away catches up");
	r = mr_bench_pairs(run, CATCH_UP_PAIRS, &ours, &limit, figures, 2, err);
	if (r == 0)
		mr_bench_note(run,
			      "%s is the slower; the disk that takes it is the one that it is "
			      "read from",
			      pair->stream < pair->disk ? "the network" : "the disk");
	return r;
}

/* ---- the question --------------------------------------------------------- */

static int with_pair(struct mr_bench_run *run, struct pair *pair, uint32_t insync,
		     int (*measure)(struct mr_bench_run *, struct pair *, struct mr_error *),
		     struct mr_error *err)
{
	int r;

	pair->insync = insync;
	r = start_pair(run, pair, err);
	if (r == 0)
		r = measure(run, pair, err);
	return stop_pair(run, pair, r, err);
}

static int in_step(struct mr_bench_run *run, struct pair *pair, struct mr_error *err)
{
	int r = lone_figures(run, pair, err);

	return r < 0 ? r : full_figures(run, pair, err);
}

int mr_bench_replica(struct mr_bench_run *run, struct mr_error *err)
{
	struct pair pair = {
		.seconds = mr_bench_seconds(run, SAMPLE_SECONDS),
		.one = mr_histogram_new(),
	};
	int r;

	if (!pair.one)
		return mr_error_set(err, -ENOMEM, "no memory for a histogram");
	r = with_pair(run, &pair, 2, in_step, err);
	if (r == 0)
		r = with_pair(run, &pair, 1, catch_up_figures, err);
	mr_histogram_free(pair.one);
	return r;
}
