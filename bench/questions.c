/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions of `millrace bench`, in the order in which `all` asks them. A new one is a file
 * with its function, and a row here.
 */
#include <string.h>

#include "bench.h"
#include "check.h"

#define GIB (UINT64_C(1) << 30)

const struct mr_bench_question mr_bench_questions[] = {
	{
		.name = "limits",
		.asks = "what this machine can do, with nothing of Millrace in it",
		.details = "Memory copies and checksums, a cache line and a wake-up between two "
			   "cores, a plain ring, durable writes and sequential reads of the disk "
			   "under the data directory. Every other question measures the limits it "
			   "needs again, in turn with Millrace; these stand alone.",
		.run = mr_bench_limits,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "lane",
		.asks = "how many records/s a lane and the tail carry in memory",
		.details =
			"Frames through a lane into a reader, against a hand-written ring of "
			"bytes with cached indexes on the same two cores; and the worker's whole "
			"way lane, batch, tail with all checks, against one copy.",
		.run = mr_bench_lane,
	},
	{
		.name = "ingest",
		.asks = "how many durable records/s, against raw durable writes",
		.details = "One producer, acks committed, log filling and retention at work, "
			   "against raw durable writes of 1 MiB, 4 in flight, which fill the same "
			   "way; and what a record costs the worker.",
		.run = mr_bench_ingest,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "ack",
		.asks = "how long from due to acknowledged, at rates up to the most",
		.details = "Open loop: a record is due at its time whether or not the one before "
			   "is through. Each rate is paired with a raw durable write of 4 KiB on "
			   "the same core. Percentiles to 99.99, and latency against load.",
		.run = mr_bench_ack,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "consume",
		.asks = "how many records/s are read, from the tail and from segments",
		.details = "From memory; and from segments against raw sequential reads of the "
			   "same files; and the round trip of a record through the engine against "
			   "a bare ring's.",
		.run = mr_bench_consume,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "recover",
		.asks = "how long an engine takes to be ready, after a crash and cleanly",
		.details = "A kill with a dirty tail, against raw reads of what must be read; and "
			   "a clean restart on a large partition.",
		.run = mr_bench_recover,
		.free_bytes = 16 * GIB,
	},
	{
		.name = "idle",
		.asks = "what an engine costs that has nothing to do",
		.details = "CPU time and memory with 100 lanes and 10 topics open, memory of a "
			   "lane, and the wake-up of a sleeping worker against a bare futex wake.",
		.run = mr_bench_idle,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "scale",
		.asks = "what more lanes and more partitions bring or cost",
		.details = "1, 2, 4, 8 lanes into one partition; 1, 2, 4 partitions; in total "
			   "against one of each.",
		.run = mr_bench_scale,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "soak",
		.asks = "whether anything grows in 15 minutes of steady load",
		.details = "Memory, descriptors and the 99th percentile over undisturbed windows, "
			   "at the start and at the end. --seconds sets how long.",
		.long_running = true,
		.run = mr_bench_soak,
		.free_bytes = 8 * GIB,
	},
};

const size_t mr_bench_question_count = mr_array_count(mr_bench_questions);

const struct mr_bench_question *mr_bench_find(const char *name)
{
	for (size_t i = 0; i < mr_bench_question_count; i++)
		if (strcmp(mr_bench_questions[i].name, name) == 0)
			return &mr_bench_questions[i];
	return NULL;
}
