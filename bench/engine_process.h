/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine of its own for a question: `millrace serve` of this very binary, with a configuration
 * and a data directory under the run's, waited for until it says "ready". Ended by SIGTERM, and
 * killed after 20 s. Also on every error path: a measurement leaves no process behind.
 */
#ifndef MR_BENCH_ENGINE_PROCESS_H
#define MR_BENCH_ENGINE_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "bench.h"
#include "millrace.h"

struct mr_bench_engine;

struct mr_bench_engine_options {
	const char *name;   /* of its directory: a second engine of that name finds the data */
	const char *config; /* further lines of YAML: "idle: spin\ntail_bytes: 64 MiB\n"; or NULL */
};

int mr_bench_engine_start(struct mr_bench_run *run, const struct mr_bench_engine_options *options,
			  struct mr_bench_engine **out, struct mr_error *err);
/* Takes; NULL is fine. 0, or what its exit said. */
int mr_bench_engine_stop(struct mr_bench_engine *engine, struct mr_error *err);
/* kill -9, as a crash; takes. */
void mr_bench_engine_kill(struct mr_bench_engine *engine);

pid_t mr_bench_engine_pid(const struct mr_bench_engine *engine);
const char *mr_bench_engine_socket(const struct mr_bench_engine *engine);
const char *mr_bench_engine_directory(const struct mr_bench_engine *engine);
/* From fork to "ready". */
uint64_t mr_bench_engine_start_ns(const struct mr_bench_engine *engine);
/* Cores that its workers are pinned to, as bits; read from the threads' affinity. */
uint64_t mr_bench_engine_worker_cores(const struct mr_bench_engine *engine);

/* CPU time so far of the threads whose name begins with 'threads' ("worker"; "" for all), from
 * /proc/PID/task/ * /schedstat. */
uint64_t mr_bench_engine_cpu_ns(const struct mr_bench_engine *engine, const char *threads);
/* A line of /proc/PID/status in KiB ("RssAnon"), -1 when it is not there. */
long mr_bench_engine_status_kib(const struct mr_bench_engine *engine, const char *name);
uint32_t mr_bench_engine_descriptors(const struct mr_bench_engine *engine);
/* Sum over all partitions (or workers) of a counter of the engine by its name, as `written_bytes`.
 */
uint64_t mr_bench_engine_counter(const struct mr_bench_engine *engine, const char *name);

struct mr_connection *mr_bench_engine_connect(const struct mr_bench_engine *engine,
					      struct mr_error *err);

#endif
