/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the torture programs share: a seeded generator, processes of their own that die with them,
 * an engine that is started and killed, and counting of what held. Each program is all of its
 * processes: it runs itself again (/proc/self/exe) in another role. No function here is for more
 * than one thread. What cannot go on ends the program with a sentence.
 */
#ifndef MR_TORTURE_H
#define MR_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- chance and time ------------------------------------------------------------------------- */

struct torture_random {
	uint64_t state;
};

uint64_t torture_random(struct torture_random *random);
uint64_t torture_below(struct torture_random *random, uint64_t bound); /* 0 .. bound - 1 */
bool torture_chance(struct torture_random *random, uint32_t percent);

uint64_t torture_now_us(void);
void torture_sleep_us(uint64_t us);

/* ---- what held ------------------------------------------------------------------------------- */

/* Prints "ok" or "FAILED" and the sentence, and counts. Returns 'held'. */
__attribute__((format(printf, 2, 3))) bool torture_check(bool held, const char *format, ...);
/* Prints "N passed, N failed"; the exit code. */
int torture_finish(void);
bool torture_failed(void);
/* Something without which the test makes no sense: said, counted as failed, and the end. */
__attribute__((format(printf, 1, 2), noreturn)) void torture_die(const char *format, ...);

/* ---- processes ------------------------------------------------------------------------------- */

/* This program once more with these words (ends with NULL), killed when its parent ends. */
pid_t torture_spawn(const char *const *words);
/* Kills it and takes its exit. False if it had ended by itself before: *status says how. */
bool torture_kill(pid_t pid, int *status);
/* True if it has ended (taken then). */
bool torture_ended(pid_t pid, int *status);
/* Waits for it to end by itself; kills it when that takes too long. The exit code, or -1. */
int torture_wait(pid_t pid, uint32_t timeout_ms);
const char *torture_status_text(int status);

/*
 * Memory of 'bytes', shared with the processes that map the same descriptor: sparse, zero,
 * inherited by those spawned.
 */
void *torture_share(size_t bytes, int *fd);
void *torture_map(int fd, size_t bytes);

/* ---- values that prove themselves ------------------------------------------------------------ */

#define TORTURE_VALUE_LEAST 20u
#define TORTURE_VALUE_MOST  (200u << 10)

/* Fills in who wrote it, its number, its length and a checksum over all of it. */
void torture_value_make(void *at, uint32_t bytes, uint32_t writer, uint64_t number);
bool torture_value_read(const void *at, uint32_t bytes, uint32_t *writer, uint64_t *number);

/* ---- the engine ------------------------------------------------------------------------------ */

struct torture_engine {
	char directory[64]; /* relative to where the program was started, so that it is short */
	char socket[80];
	int messages_fd; /* its standard error */
	int ready_fd;
	pid_t pid;
	bool ready;
	uint64_t started_us;
	uint32_t ready_us; /* how long the last start took */
	uint64_t all_ready_us;
	uint32_t readies;
	uint32_t starts;
};

/* "name=value" options of the engine, ends with NULL; the same at every start. */
void torture_engine_init(struct torture_engine *engine, const char *name,
			 const char *const *options);
void torture_engine_start(struct torture_engine *engine);
/* Looks whether it is up by now; waits up to so long. Dies when it ended by itself. */
bool torture_engine_ready(struct torture_engine *engine, uint32_t timeout_ms);
void torture_engine_kill(struct torture_engine *engine);
/* SIGTERM, and its exit code. */
int torture_engine_stop(struct torture_engine *engine, uint32_t timeout_ms);
/* Removes the directory if all held, else says where it is. */
void torture_engine_clean(struct torture_engine *engine);
/* The role "engine": never returns. */
__attribute__((noreturn)) void torture_engine_main(int count, char **words);

/* Sum of the counters whose name ends so ("lanes": in all partitions), also of a dead engine. */
uint64_t torture_counter(const struct torture_engine *engine, const char *ending);

#endif
