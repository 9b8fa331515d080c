/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions over the last values of one key: which there are, and the windows of a key as one block
 * of memory. Pure: no clock, no allocation, no thread; the same pushes give the same bytes on every
 * CPU (built without contraction of floating-point operations).
 *
 * A block belongs to one key. It holds the samples that any of the plan's windows still needs, once
 * for all windows, and what each window keeps to answer in time that does not grow with its length.
 * It contains no pointer, so it can be copied, written to a file and read back.
 *
 * Time. Samples are kept in order of their event time; of equal times the one pushed last is the
 * later. A sample older than the newest goes to its place, and counts in every window that still
 * reaches so far back; windows by time end at the newest sample's time.
 *
 * Missing. NaN is "no value": results that cannot be had (too few samples, none in the window, a
 * division by zero) are NaN, and a NaN or an infinity is never pushed (the caller refuses them).
 * From the first sample on: max, min, sum, mean, first, last, median, quantile, mad, ewma, and
 * weighted_average (over the weights of the samples there are; with a negative weight only when all
 * are there). From the second: stddev, delta, and, if not all values are equal, zscore. From the
 * second time: interpolate, extrapolate, slope, rate. count is 0 of none.
 *
 * t + 1 is the newest sample's time and the mean interval between the window's samples. interpolate
 * is piecewise linear within the samples' times, the line through the newest sample and the last
 * one of an earlier time after them, NaN before them; extrapolate is the least-squares line
 * anywhere.
 */
#ifndef MR_WINDOW_H
#define MR_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define MR_WINDOWS_MAX	      32	 /* of a plan */
#define MR_WINDOW_COUNT_MAX   (1u << 16) /* samples of a window by count */
#define MR_WINDOW_WEIGHTS_MAX 4096

enum mr_window_fn {
	MR_WINDOW_WEIGHTED_AVERAGE,
	MR_WINDOW_INTERPOLATE,
	MR_WINDOW_EXTRAPOLATE,
	MR_WINDOW_MAX,
	MR_WINDOW_MIN,
	MR_WINDOW_MEAN,
	MR_WINDOW_SUM,
	MR_WINDOW_COUNT,
	MR_WINDOW_STDDEV,
	MR_WINDOW_MEDIAN,
	MR_WINDOW_QUANTILE,
	MR_WINDOW_FIRST,
	MR_WINDOW_LAST,
	MR_WINDOW_DELTA,
	MR_WINDOW_RATE,
	MR_WINDOW_EWMA,
	MR_WINDOW_SLOPE,
	MR_WINDOW_ZSCORE,
	MR_WINDOW_MAD,
	MR_WINDOW_FUNCTIONS,
};

enum mr_window_extent {
	MR_WINDOW_BY_COUNT, /* the last 'count' samples */
	MR_WINDOW_BY_TIME,  /* samples with newest - span_ms < time <= newest */
	MR_WINDOW_TUMBLING, /* the newest complete [n x span_ms, (n + 1) x span_ms): complete when a
			       sample at or after its end came; NaN before the first one is */
};

struct mr_window_spec {
	enum mr_window_fn fn;
	enum mr_window_extent extent;
	uint32_t count;	       /* BY_COUNT */
	int64_t span_ms;       /* BY_TIME, TUMBLING */
	double parameter;      /* QUANTILE: 0..1; EWMA: alpha in 0..1; INTERPOLATE, EXTRAPOLATE: how
				  far from the newest sample, in milliseconds (negative: before
				  it); NaN: one mean interval on, t + 1 */
	const double *weights; /* WEIGHTED_AVERAGE: of the newest sample first; borrowed by the
				  plan for its life */
	uint32_t weight_count; /* at most 'count' */
};

/* What a function is called and what else it needs: for the language, its help, its checks. */
struct mr_window_function {
	const char *name;      /* "weighted_average" */
	const char *parameter; /* its option's name, "quantile"; NULL: none */
	const char *meaning;   /* one line, with the formula */
	bool by_time;	       /* may have the extents BY_TIME and TUMBLING */
};
extern const struct mr_window_function mr_window_functions[MR_WINDOW_FUNCTIONS];
/* -ENOENT. */
int mr_window_function_find(const char *name, size_t name_bytes, enum mr_window_fn *out);

struct mr_window_plan;

/* -EINVAL naming the spec that makes no sense. The specs are copied, their weights borrowed. */
int mr_window_plan_new(const struct mr_window_spec *specs, uint32_t count,
		       struct mr_window_plan **out, struct mr_error *err);
void mr_window_plan_free(struct mr_window_plan *plan); /* takes NULL */

/* Samples that a new block has room for: all that windows by count need, a few for those by time.
 */
uint32_t mr_window_plan_capacity(const struct mr_window_plan *plan);
/* A block's bytes, a multiple of 8, with room for so many samples. */
size_t mr_window_block_bytes(const struct mr_window_plan *plan, uint32_t capacity);

/* 'block' is aligned to 8 bytes. All of it is written, so that equal histories are equal bytes. */
void mr_window_block_init(const struct mr_window_plan *plan, void *block, uint32_t capacity);
/*
 * 0; -ENOSPC: the block has no room for what its windows by time need, and is unchanged: move it to
 * a greater one (mr_window_block_grow()) and push again, or let go of the oldest sample
 * (mr_window_block_shed()).
 */
int mr_window_block_push(const struct mr_window_plan *plan, void *block, int64_t time_ms,
			 double value);
void mr_window_block_grow(const struct mr_window_plan *plan, const void *from, void *to,
			  uint32_t capacity);
/* The oldest sample leaves every window, early. Without one nothing changes. */
void mr_window_block_shed(const struct mr_window_plan *plan, void *block);
/*
 * One result for each spec, in order. In time that does not grow with the window's length, but for
 * weighted averages, medians, quantiles and mad.
 */
void mr_window_block_results(const struct mr_window_plan *plan, const void *block, double *results);

uint32_t mr_window_block_samples(const void *block); /* kept now */
uint32_t mr_window_block_capacity(const void *block);
/* Sample 'back' steps before the newest (0: the newest). False: there is none. */
bool mr_window_block_sample(const struct mr_window_plan *plan, const void *block, uint32_t back,
			    int64_t *time_ms, double *value);
/* How many of the newest samples window 'spec' takes in now. TUMBLING: 0. */
uint32_t mr_window_block_reach(const struct mr_window_plan *plan, const void *block, uint32_t spec);
/* A copy out of a file or from a peer: true if no call on it can go out of its 'bytes'. */
bool mr_window_block_check(const struct mr_window_plan *plan, const void *block, size_t bytes);

#endif
