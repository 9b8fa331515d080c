/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows as one would compute them on paper: all samples ever pushed in one sorted list, each
 * result from the definition (docs/FUNCTIONS.md), in long double. Shares no code with the windows.
 */
#ifndef MR_NAIVE_WINDOWS_H
#define MR_NAIVE_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "window.h"

struct naive_sample {
	int64_t time_ms;
	double value;
};

struct naive_windows {
	const struct mr_window_spec *specs; /* borrowed */
	uint32_t spec_count;
	struct naive_sample *samples; /* oldest first */
	uint32_t count, max;
	uint32_t pushes;
	struct naive_result *tumbled; /* of each spec */
};

struct naive_result {
	long double value; /* NaN: there is none */
	long double tolerance;
};

void naive_windows_begin(struct naive_windows *naive, const struct mr_window_spec *specs,
			 uint32_t spec_count, uint32_t samples_max);
void naive_windows_end(struct naive_windows *naive);
void naive_windows_push(struct naive_windows *naive, int64_t time_ms, double value);
void naive_windows_shed(struct naive_windows *naive);
uint32_t naive_windows_kept(const struct naive_windows *naive);
const struct naive_sample *naive_windows_sample(const struct naive_windows *naive, uint32_t back);
struct naive_result naive_windows_result(const struct naive_windows *naive, uint32_t spec);
uint32_t naive_windows_reach(const struct naive_windows *naive, uint32_t spec);
bool naive_result_matches(const struct naive_result *expected, double found);

#endif
