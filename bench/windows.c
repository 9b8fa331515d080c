/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of a measurement (windows.h). Pure but for the allocation at the start. */
#include "windows.h"

#include <errno.h>
#include <stdlib.h>

int mr_windows_init(struct mr_windows *windows, double seconds, struct mr_error *err)
{
	uint32_t max = (uint32_t)(seconds * 1e9 / MR_WINDOW_NS) + 16;

	*windows = (struct mr_windows){.max = max, .rows = calloc(max, sizeof(*windows->rows))};
	if (!windows->rows)
		return mr_error_set(err, -ENOMEM, "no memory for %u windows", max);
	return 0;
}

void mr_windows_deinit(struct mr_windows *windows)
{
	free(windows->rows);
	windows->rows = NULL;
}

void mr_windows_begin(struct mr_windows *windows, uint64_t now_ns, uint64_t amount)
{
	windows->count = 0;
	windows->from_ns = now_ns;
	windows->from_amount = amount;
}

static int compare(const void *a, const void *b)
{
	double x = ((const struct mr_window *)a)->rate, y = ((const struct mr_window *)b)->rate;

	return (x > y) - (x < y);
}

int mr_windows_judge(struct mr_windows *windows, const struct mr_bench_run *run, uint64_t mask,
		     double *median, double *p90, double *disturbed, struct mr_error *err)
{
	struct mr_window *rows = windows->rows;
	uint32_t good = 0, high, i;

	if (!windows->count)
		return mr_error_set(err, -ETIME, "the measurement was too short for one window");
	for (i = 0; i < windows->count; i++) {
		struct mr_window row = rows[i];

		if (run && mr_bench_disturbed(run, mask, row.from_ns, row.to_ns))
			continue;
		rows[i] = rows[good]; /* the good ones to the front */
		rows[good++] = row;
	}
	*disturbed = 1 - (double)good / windows->count;
	if (!good)
		good = windows->count;
	qsort(rows, good, sizeof(*rows), compare);
	*median = rows[good / 2].rate;
	high = (uint32_t)((double)(good - 1) * 0.9);
	*p90 = rows[high < good / 2 ? good / 2 : high].rate; /* of two, both are the higher one */
	return 0;
}

int mr_windows_total(const struct mr_windows *windows, const struct mr_bench_run *run,
		     uint64_t mask, double *rate, double *disturbed, struct mr_error *err)
{
	double counted = 0, good_ns = 0, all_counted = 0, all_ns = 0;

	if (!windows->count)
		return mr_error_set(err, -ETIME, "the measurement was too short for one window");
	for (uint32_t i = 0; i < windows->count; i++) {
		const struct mr_window *row = &windows->rows[i];
		double ns = (double)(row->to_ns - row->from_ns);

		all_ns += ns;
		all_counted += row->rate * ns;
		if (run && mr_bench_disturbed(run, mask, row->from_ns, row->to_ns))
			continue;
		good_ns += ns;
		counted += row->rate * ns;
	}
	*rate = good_ns > 0 ? counted / good_ns : all_counted / all_ns;
	*disturbed = 1 - good_ns / all_ns;
	return 0;
}

double mr_windows_disturbed(const struct mr_bench_run *run, uint64_t mask, uint64_t from_ns,
			    uint64_t to_ns)
{
	uint32_t bad = 0, all = 0;
	uint64_t at_ns;

	for (at_ns = from_ns; run && at_ns < to_ns; at_ns += MR_WINDOW_NS) {
		bad += mr_bench_disturbed(run, mask, at_ns, at_ns + MR_WINDOW_NS);
		all++;
	}
	return all ? (double)bad / all : 0;
}
