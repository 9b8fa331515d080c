/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window functions' names and what they mean, for the language and its help. In the formulas
 * v[0] is the newest value of the window, v[n - 1] its oldest, t the times; docs/FUNCTIONS.md says
 * more of each.
 */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "window.h"

const struct mr_window_function mr_window_functions[MR_WINDOW_FUNCTIONS] = {
	[MR_WINDOW_WEIGHTED_AVERAGE] = {"weighted_average", NULL,
					"sum(w[k] v[k]) / sum(w[k]), newest first", false},
	[MR_WINDOW_INTERPOLATE] =
		{"interpolate", "at",
		 "on the straight line between the two samples around a time; after "
		 "the newest: through the last two",
		 true},
	[MR_WINDOW_EXTRAPOLATE] =
		{"extrapolate", "at",
		 "mean(v) + slope (t - mean(t)): the least-squares line at a time", true},
	[MR_WINDOW_MAX] = {"max", NULL, "the greatest value", true},
	[MR_WINDOW_MIN] = {"min", NULL, "the least value", true},
	[MR_WINDOW_MEAN] = {"mean", NULL, "sum(v) / n", true},
	[MR_WINDOW_SUM] = {"sum", NULL, "sum(v)", true},
	[MR_WINDOW_COUNT] = {"count", NULL, "n", true},
	[MR_WINDOW_STDDEV] = {"stddev", NULL, "sqrt(sum((v - mean)^2) / (n - 1))", true},
	[MR_WINDOW_MEDIAN] = {"median", NULL, "the middle value, or the mean of the two", true},
	[MR_WINDOW_QUANTILE] =
		{"quantile", "quantile",
		 "the value at place q (n - 1) of the sorted ones, linear between two", true},
	[MR_WINDOW_FIRST] = {"first", NULL, "the oldest value, v[n - 1]", true},
	[MR_WINDOW_LAST] = {"last", NULL, "the newest value, v[0]", true},
	[MR_WINDOW_DELTA] = {"delta", NULL, "v[0] - v[n - 1]", true},
	[MR_WINDOW_RATE] = {"rate", NULL, "(v[0] - v[n - 1]) / (t[0] - t[n - 1]), a second", true},
	[MR_WINDOW_EWMA] = {"ewma", "alpha",
			    "sum((1 - alpha)^k v[k]) / sum((1 - alpha)^k), newest first", true},
	[MR_WINDOW_SLOPE] = {"slope", NULL,
			     "sum((t - mean(t)) (v - mean(v))) / sum((t - mean(t))^2), a second",
			     true},
	[MR_WINDOW_ZSCORE] = {"zscore", NULL, "(v[0] - mean) / stddev", true},
	[MR_WINDOW_MAD] = {"mad", NULL, "median(|v - median(v)|)", true},
};

int mr_window_function_find(const char *name, size_t name_bytes, enum mr_window_fn *out)
{
	for (size_t i = 0; i < mr_array_count(mr_window_functions); i++) {
		const char *known = mr_window_functions[i].name;

		if (strlen(known) == name_bytes && memcmp(known, name, name_bytes) == 0) {
			*out = (enum mr_window_fn)i;
			return 0;
		}
	}
	return -ENOENT;
}
