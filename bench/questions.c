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
		.details = "Memory copies and checksums, a cache line, a wake-up, a ring and a TCP "
			   "connection between two cores, the path from a ring to a tail in "
			   "miniature, durable writes and sequential reads of the disk under the "
			   "data directory, and the time that the machine takes away. Every other "
			   "question measures the limits it needs again, in turn with Millrace; "
			   "these stand alone.",
		.run = mr_bench_limits,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "lane",
		.asks = "how many records/s a lane and the tail carry in memory",
		.details =
			"Frames through a lane into a reader that copies them out, against a "
			"hand-written ring of bytes with cached indexes on the same two cores; "
			"frames of 64 bytes, head and all, in both. Then a topic in memory: the "
			"worker's whole way lane, batch, tail with keys and all checks, against "
			"that path in miniature; the same read back; 1,000 lanes; there and back "
			"through the engine, against two bare rte_rings.",
		.run = mr_bench_lane,
	},
	{
		.name = "ingest",
		.asks = "how many durable records/s, against raw durable writes",
		.details = "One producer process as fast as it goes, 100 bytes a record, 32 a "
			   "publish, acks committed, a lane of 8 MiB; segments of 256 MiB of "
			   "which 1 GiB is kept, so that the log fills and its oldest "
			   "segments are removed in every sample. Against raw durable writes "
			   "(io_uring, O_DIRECT, RWF_DSYNC) of 1 MiB, 4 in flight, on the "
			   "worker's core, into files that are made and removed alike. "
			   "Compared are bytes a second: ours without padding. CPU is the "
			   "threads' own, the kernel's workers for the disk not included. "
			   "Padding, group sizes and turns without room come from the "
			   "engine's counters.",
		.run = mr_bench_ingest,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "ack",
		.asks = "how long from due to acknowledged, at rates up to the most",
		.details = "Open loop: a record is due at its time whether or not the one "
			   "before is through, and its latency counts from then until "
			   "mr_producer_state() says that it is acknowledged. All records "
			   "count. The producer is a process on a core of its own that yields "
			   "while nothing is due. Each rate is paired with raw durable writes "
			   "of 4 KiB, one at a time, on the worker's core, into blocks "
			   "written before: p50 is compared with p50, p99 with p99, and at "
			   "1,000,000/s p99 with the raw write's p50, too.",
		.run = mr_bench_ack,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "consume",
		.asks = "how many records/s are read, from the tail and from segments",
		.details = "One consumer, copied and in place: from a tail that was filled at full "
			   "rate, and in small batches; behind its own producer; and from segments "
			   "that are not in the page cache, against raw reads of the same files.",
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
		.free_bytes = 2 * GIB,
	},
	{
		.name = "scale",
		.asks = "what more lanes and more partitions bring or cost",
		.details = "The total of 2, 4 and 8 producer processes in one partition, and "
			   "of as many partitions, with a producer each, against that of one: "
			   "durable, and in topics kept in memory. Where producers share a "
			   "core, nothing can be gained and switching between them costs: the "
			   "limit is what as many processes that only count reach on the same "
			   "cores against one of them. A ratio of 1 is no loss beyond the "
			   "cores' own. The bar, 0.9, leaves room for caches, which counting "
			   "does not need.",
		.run = mr_bench_scale,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "replica",
		.asks = "what a second host costs: latency, throughput, bytes, catching up",
		.details = "Two engines over loopback, two directories on one disk, records of 100 "
			   "bytes, acks committed on both. One record at a time, from its "
			   "publishing until it is committed, against two durable writes of "
			   "4 KiB at once and a TCP message there and back; as fast as it "
			   "goes, against one TCP stream and half of what the disk takes, "
			   "since it takes all twice. "
			   "What the feed sends beside the batches, in both. Then the follower "
			   "is killed and comes back: what it missed is read from segments, "
			   "against the slower of the stream and the disk.",
		.run = mr_bench_replica,
		.free_bytes = 8 * GIB,
	},
	{
		.name = "knowledge",
		.asks = "what a pipeline costs a record, and how long an alert takes",
		.details =
			"CPU of the pipeline's thread a record, over a stored topic, with packed "
			"output kept in memory: numbers of 100,000 keys through a weighted "
			"average and a maximum of the last 16; the same of JSON; both by stage; "
			"maximum, minimum, sum and mean of the last 4, 64 and 4,096 values. Then "
			"from the publishing of a record until the alert that it raises can be "
			"read, one at a time, with all topics in memory and with all of them "
			"durable.",
		.run = mr_bench_knowledge,
		.free_bytes = 2 * GIB,
	},
	{
		.name = "soak",
		.asks = "whether anything grows in 15 minutes of steady load",
		.details = "70 % of the durable rate found at the start, with retention on. "
			   "Every 10 s: memory, descriptors and disk space of the engine, "
			   "latency over undisturbed windows, and the latency of raw durable "
			   "writes. At the end the median of the last third of the samples "
			   "against that of the first: 1 is no growth. Each 10 s have a "
			   "producer process of their own. --seconds sets how long, hours if "
			   "you like: disk and memory are bounded. Ctrl-C ends it early and "
			   "says what there is.",
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
