/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast one producer's records become safe, and how long each one takes. Open loop: a record is
 *due at its time whether or not the one before is through, and its latency counts from then, so a
 *stall is not hidden (coordinated omission). Without --rate: as many as go in.
 *
 *	bench-publish [--socket PATH] [--topic bench] [--acks committed|disk|memory] [--bytes 100]
 *	              [--rate RECORDS/S] [--burst 32] [--seconds 5] [--lane BYTES]
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

#define BURST_MAX   1024
#define LATENCY_MAX (1u << 24)

struct run {
	struct mr_producer *producer;
	struct mr_record records[BURST_MAX];
	char *value;
	uint32_t burst;
	double rate;
	uint64_t began_ns, end_ns;
	uint64_t sent, acknowledged;
	uint64_t *latencies_ns;
	size_t latency_count;
};

static enum mr_acks acks_of(const char *word)
{
	if (!strcmp(word, "memory"))
		return MR_ACKS_MEMORY;
	if (!strcmp(word, "disk"))
		return MR_ACKS_DISK;
	if (!strcmp(word, "committed"))
		return MR_ACKS_COMMITTED;
	fprintf(stderr, "--acks '%s': committed, disk or memory\n", word);
	exit(2);
}

static uint64_t due_ns(const struct run *run, uint64_t number)
{
	return run->began_ns + (uint64_t)((double)number * 1e9 / run->rate);
}

/* Which records are acknowledged since the last look, and how late. */
static void look(struct run *run, uint64_t now_ns)
{
	struct mr_producer_state state = {.size = sizeof(state)};

	if (mr_producer_state(run->producer, &state) < 0)
		return;
	for (; run->acknowledged < state.acknowledged; run->acknowledged++)
		if (run->rate > 0 && run->latency_count < LATENCY_MAX)
			run->latencies_ns[run->latency_count++] =
				now_ns - due_ns(run, run->acknowledged);
}

static uint32_t how_many_due(const struct run *run, uint64_t now_ns)
{
	uint64_t due;

	if (run->rate <= 0)
		return run->burst;
	due = (uint64_t)((double)(now_ns - run->began_ns) * run->rate / 1e9) + 1;
	if (due <= run->sent)
		return 0;
	return due - run->sent < run->burst ? (uint32_t)(due - run->sent) : run->burst;
}

static void publish(struct run *run)
{
	uint64_t now_ns = run->began_ns = bench_now_ns();

	while (now_ns < run->end_ns) {
		uint32_t count = how_many_due(run, now_ns);
		int taken = count ? mr_producer_put_many(run->producer, run->records, count) : 0;

		if (taken < 0 && taken != -EAGAIN) {
			struct mr_error err;

			mr_producer_error(run->producer, &err);
			bench_fail("cannot publish", &err);
		}
		if (taken > 0)
			run->sent += (uint64_t)taken;
		else
			sched_yield(); /* spinning here would starve the kernel's own threads */
		now_ns = bench_now_ns();
		if (run->rate > 0)
			look(run, now_ns);
	}
}

static void prepare(struct run *run, uint32_t bytes)
{
	uint32_t i;

	run->value = malloc(bytes + 1);
	run->latencies_ns = malloc(LATENCY_MAX * sizeof(uint64_t));
	if (!run->value || !run->latencies_ns)
		exit(1);
	memset(run->value, 'x', bytes);
	for (i = 0; i < run->burst; i++)
		run->records[i] = (struct mr_record){.key_bytes = MR_NULL_BYTES,
						     .value = run->value,
						     .value_bytes = (int32_t)bytes,
						     .timestamp_ms = MR_TIMESTAMP_NOW};
}

static void report(struct run *run, const char *acks, uint32_t bytes, double took_s)
{
	printf("acks %-9s %u bytes: %.3f M records/s acknowledged, %.0f MB/s of values", acks,
	       bytes, (double)run->acknowledged / took_s / 1e6,
	       (double)run->acknowledged * bytes / took_s / 1e6);
	if (run->latency_count)
		printf("; publish to acknowledged p50 %.0f us, p99 %.0f us, p99.9 %.0f us, worst "
		       "%.0f us",
		       (double)bench_percentile(run->latencies_ns, run->latency_count, 0.5) / 1e3,
		       (double)bench_percentile(run->latencies_ns, run->latency_count, 0.99) / 1e3,
		       (double)bench_percentile(run->latencies_ns, run->latency_count, 0.999) / 1e3,
		       (double)bench_percentile(run->latencies_ns, run->latency_count, 1.0) / 1e3);
	printf("\n");
}

int main(int count, char **arguments)
{
	const char *acks = bench_text(count, arguments, "acks", "committed");
	uint32_t bytes = (uint32_t)bench_number(count, arguments, "bytes", 100);
	struct mr_connection *connection =
		bench_connect(bench_text(count, arguments, "socket", NULL));
	struct mr_producer_options options = {
		.size = sizeof(options),
		.topic = bench_text(count, arguments, "topic", "bench"),
		.acks = acks_of(acks),
		.lane_bytes = (uint32_t)bench_number(count, arguments, "lane", 4 << 20),
	};
	static struct run run;
	struct mr_error err = {0};
	uint64_t began_ns;

	run.rate = bench_number(count, arguments, "rate", 0);
	run.burst = (uint32_t)bench_number(count, arguments, "burst", 32);
	if (run.burst < 1 || run.burst > BURST_MAX)
		run.burst = 32;
	prepare(&run, bytes);
	if (mr_producer_open(connection, &options, &run.producer, &err) < 0)
		bench_fail("cannot open a producer", &err);
	began_ns = bench_now_ns();
	run.end_ns = began_ns + (uint64_t)(bench_number(count, arguments, "seconds", 5) * 1e9);
	publish(&run);
	(void)mr_producer_flush(run.producer, 10000); /* the count below tells */
	look(&run, bench_now_ns());
	report(&run, acks, bytes, (double)(bench_now_ns() - began_ns) / 1e9);
	(void)mr_producer_close(run.producer, 1000); /* flushed already */
	mr_disconnect(connection);
	free(run.value);
	free(run.latencies_ns);
	return 0;
}
