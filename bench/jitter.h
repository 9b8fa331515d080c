/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jitter probe: what of a core's time went elsewhere while a question ran (bench.h says what a
 * gap is). Each core's log has one writer, its probe, and may be read at any time.
 */
#ifndef MR_BENCH_JITTER_H
#define MR_BENCH_JITTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct mr_jitter;

/* A log for each of 'cores', without probes. NULL: no memory. */
struct mr_jitter *mr_jitter_new(const uint32_t cores[], uint32_t count);
/* Starts a probe on each core; ends them. What they saw stays, and they may start again. */
int mr_jitter_start(struct mr_jitter *jitter, struct mr_error *err);
void mr_jitter_stop(struct mr_jitter *jitter);
/* Ends the probes, frees; takes NULL. */
void mr_jitter_free(struct mr_jitter *jitter);

/* A probe on 'core' should have run at 'due_ns' and ran at 'ran_ns'. For the probes, and tests. */
void mr_jitter_note(struct mr_jitter *jitter, uint32_t core, uint64_t due_ns, uint64_t ran_ns);

/* Whether a gap on a core of 'mask' (0: any) lies in [from, to) or reaches into it. */
bool mr_jitter_disturbed(const struct mr_jitter *jitter, uint64_t mask, uint64_t from_ns,
			 uint64_t to_ns);

/* What --json says of it; the caller owns it. NULL: no memory. */
json_t *mr_jitter_json(const struct mr_jitter *jitter);

/* Whether each probe has a real-time priority: else it also waits for what is measured. */
bool mr_jitter_has_priority(const struct mr_jitter *jitter);

/* The largest share of time that a core lost, and the longest gap of all. */
void mr_jitter_worst(const struct mr_jitter *jitter, double *lost, uint64_t *longest_ns);

#endif
