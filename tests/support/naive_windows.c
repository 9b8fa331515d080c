/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows by the plainest means (naive_windows.h): every value is kept, and each result is computed
 * from all of them anew.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "naive_windows.h"

static const struct naive_result none = {NAN, 0};

void naive_windows_begin(struct naive_windows *naive, const struct mr_window_spec *specs,
			 uint32_t spec_count, uint32_t samples_max)
{
	*naive = (struct naive_windows){
		.specs = specs, .spec_count = spec_count, .max = samples_max};
	naive->samples = calloc(samples_max, sizeof(*naive->samples));
	naive->tumbled = calloc(spec_count + 1, sizeof(*naive->tumbled));
	for (uint32_t i = 0; i < spec_count; i++)
		naive->tumbled[i] = none;
}

void naive_windows_end(struct naive_windows *naive)
{
	free(naive->samples);
	free(naive->tumbled);
}

/* ---- which samples ------------------------------------------------------------------------------
 */

const struct naive_sample *naive_windows_sample(const struct naive_windows *naive, uint32_t back)
{
	return &naive->samples[naive->count - 1 - back];
}

static int64_t pane(int64_t time_ms, int64_t span_ms)
{
	int64_t number = time_ms / span_ms;

	return number * span_ms > time_ms ? number - 1 : number;
}

/* How many of the newest are in the window, in the one that is not complete yet if tumbling. */
static uint32_t reach(const struct naive_windows *naive, const struct mr_window_spec *spec)
{
	int64_t newest;
	uint32_t count = 0;

	if (naive->count == 0)
		return 0;
	newest = naive_windows_sample(naive, 0)->time_ms;
	for (; count < naive->count; count++) {
		int64_t time_ms = naive_windows_sample(naive, count)->time_ms;

		if (spec->extent == MR_WINDOW_BY_COUNT &&
		    count == (spec->weights ? spec->weight_count : spec->count))
			break;
		if (spec->extent == MR_WINDOW_BY_TIME &&
		    (__int128)time_ms <= (__int128)newest - spec->span_ms)
			break;
		if (spec->extent == MR_WINDOW_TUMBLING &&
		    pane(time_ms, spec->span_ms) != pane(newest, spec->span_ms))
			break;
	}
	return count;
}

uint32_t naive_windows_reach(const struct naive_windows *naive, uint32_t spec)
{
	if (naive->specs[spec].extent == MR_WINDOW_TUMBLING)
		return 0;
	return reach(naive, &naive->specs[spec]);
}

uint32_t naive_windows_kept(const struct naive_windows *naive)
{
	uint32_t most = naive->count > 0;

	for (uint32_t i = 0; i < naive->spec_count; i++) {
		uint32_t count = reach(naive, &naive->specs[i]);

		if (count > most)
			most = count;
	}
	return most;
}

/* ---- functions, over n samples, newest first ----------------------------------------------------
 */

struct list {
	const struct naive_sample *newest; /* of age 0; age 1 is one before it in memory */
	uint32_t n;
};

static long double v(const struct list *list, uint32_t age)
{
	return (list->newest - age)->value;
}

/* Since the newest. */
static long double t(const struct list *list, uint32_t age)
{
	return (__int128)(list->newest - age)->time_ms - list->newest->time_ms;
}

/* How far the mean is above the newest: so that what is near a great number keeps its digits. */
static long double mean_of(const struct list *list,
			   long double (*of)(const struct list *, uint32_t))
{
	long double sum = 0;

	for (uint32_t i = 0; i < list->n; i++)
		sum += of(list, i) - of(list, 0);
	return sum / list->n;
}

static long double absolute(const struct list *list)
{
	long double sum = 0;

	for (uint32_t i = 0; i < list->n; i++)
		sum += fabsl(v(list, i));
	return sum;
}

/* sum((a - mean a) (b - mean b)) */
static long double moment(const struct list *list, long double (*a)(const struct list *, uint32_t),
			  long double (*b)(const struct list *, uint32_t))
{
	long double mean_a = mean_of(list, a);
	long double mean_b = mean_of(list, b);
	long double sum = 0;

	for (uint32_t i = 0; i < list->n; i++)
		sum += (a(list, i) - a(list, 0) - mean_a) * (b(list, i) - b(list, 0) - mean_b);
	return sum;
}

static struct naive_result weighted(const struct list *list, const struct mr_window_spec *spec)
{
	struct naive_result result = {0, 0};
	long double weights = 0;

	if (!spec->weights)
		return none;
	for (uint32_t k = 0; k < spec->weight_count; k++) {
		if (list->n < spec->weight_count && spec->weights[k] < 0)
			return none;
		if (k >= list->n)
			continue;
		weights += spec->weights[k];
		result.value += spec->weights[k] * v(list, k);
		result.tolerance += 1e-14L * fabsl(spec->weights[k] * v(list, k));
	}
	if (weights == 0)
		return none;
	result.value /= weights;
	result.tolerance /= fabsl(weights);
	return result;
}

static long double interval(const struct list *list)
{
	return (t(list, 0) - t(list, list->n - 1)) / (list->n - 1);
}

static struct naive_result on_line(const struct list *list, uint32_t a, uint32_t b, long double x)
{
	long double part = (x - t(list, a)) / (t(list, b) - t(list, a));
	long double rise = part * (v(list, b) - v(list, a));

	return (struct naive_result){v(list, a) + rise,
				     1e-13L * (fabsl(v(list, a)) + fabsl(v(list, b))) *
					     (1 + fabsl(part))};
}

static struct naive_result interpolated(const struct list *list, double at)
{
	long double x;
	uint32_t older = 1;

	if (isnan(at) && list->n < 2)
		return none;
	x = t(list, 0) + (isnan(at) ? interval(list) : at);
	if (x > t(list, 0)) {
		while (older < list->n && t(list, older) == t(list, 0))
			older++;
		return older < list->n ? on_line(list, older, 0, x) : none;
	}
	for (older = 0; older < list->n && t(list, older) > x; older++)
		;
	if (older == list->n || (isnan(at) && interval(list) == 0))
		return none;
	if (older == 0 || t(list, older) == x)
		return (struct naive_result){v(list, older), 0};
	return on_line(list, older, older - 1, x);
}

static struct naive_result line(const struct list *list, const struct mr_window_spec *spec)
{
	long double xx = moment(list, t, t);
	long double slope = moment(list, t, v) / xx;
	long double steep = sqrtl(moment(list, v, v) / xx);
	long double away;

	if (list->n < 2 || t(list, 0) == t(list, list->n - 1))
		return none;
	if (spec->fn == MR_WINDOW_SLOPE)
		return (struct naive_result){slope * 1000, 1e-10L * steep * 1000};
	away = (isnan(spec->parameter) ? interval(list) : spec->parameter) - mean_of(list, t);
	return (struct naive_result){v(list, 0) + mean_of(list, v) + slope * away,
				     1e-10L * steep * fabsl(away) + 1e-13L * absolute(list)};
}

static int compare(const void *a, const void *b)
{
	const long double *one = a;
	const long double *other = b;

	return (*one > *other) - (*one < *other);
}

static struct naive_result quantile(const struct list *list, double q, bool deviations,
				    long double from)
{
	long double *sorted = calloc(list->n, sizeof(*sorted));
	struct naive_result result;
	long double place = (long double)(q * (list->n - 1));
	uint32_t low = (uint32_t)place;
	uint32_t high = low + 1 < list->n ? low + 1 : low;

	for (uint32_t i = 0; i < list->n; i++)
		sorted[i] = deviations ? fabsl(v(list, i) - from) : v(list, i);
	qsort(sorted, list->n, sizeof(*sorted), compare);
	result.value = sorted[low] + (place - low) * (sorted[high] - sorted[low]);
	result.tolerance = 1e-15L * (fabsl(sorted[low]) + fabsl(sorted[high]));
	free(sorted);
	return result;
}

static struct naive_result averaged(const struct list *list, double alpha)
{
	struct naive_result result = {0, 0};
	long double weights = 0;
	long double weight = 1;

	for (uint32_t k = 0; k < list->n; k++) {
		weights += weight;
		result.value += weight * v(list, k);
		result.tolerance += 1e-11L * weight * fabsl(v(list, k));
		weight *= 1 - (long double)(alpha);
	}
	result.value /= weights;
	result.tolerance /= weights;
	return result;
}

static struct naive_result spread(const struct list *list, enum mr_window_fn fn)
{
	long double deviation = sqrtl(moment(list, v, v) / (list->n - 1));
	long double score = -mean_of(list, v) / deviation;

	if (list->n < 2)
		return none;
	if (fn == MR_WINDOW_STDDEV)
		return (struct naive_result){deviation, 1e-10L * deviation};
	if (deviation == 0)
		return none;
	return (struct naive_result){score, 1e-10L * (1 + fabsl(score))};
}

static struct naive_result extreme(const struct list *list, bool least)
{
	struct naive_result result = {v(list, 0), 0};

	for (uint32_t i = 1; i < list->n; i++)
		if (least ? v(list, i) < result.value : v(list, i) > result.value)
			result.value = v(list, i);
	return result;
}

static struct naive_result change(const struct list *list, enum mr_window_fn fn)
{
	long double first = v(list, list->n - 1);
	long double seconds = (t(list, 0) - t(list, list->n - 1)) / 1000;
	struct naive_result result = {v(list, 0) - first,
				      1e-15L * (fabsl(v(list, 0)) + fabsl(first))};

	if (list->n < 2 || (fn == MR_WINDOW_RATE && seconds == 0))
		return none;
	if (fn == MR_WINDOW_RATE) {
		result.value /= seconds;
		result.tolerance /= seconds;
	}
	return result;
}

static struct naive_result total(const struct list *list)
{
	long double sum = 0;

	for (uint32_t i = 0; i < list->n; i++)
		sum += v(list, i);
	return (struct naive_result){sum, 1e-13L * absolute(list)};
}

static struct naive_result over(const struct list *list, const struct mr_window_spec *spec)
{
	struct naive_result result;

	if (spec->fn == MR_WINDOW_COUNT)
		return (struct naive_result){list->n, 0};
	if (list->n == 0)
		return none;
	switch (spec->fn) {
	case MR_WINDOW_WEIGHTED_AVERAGE:
		return weighted(list, spec);
	case MR_WINDOW_INTERPOLATE:
		return interpolated(list, spec->parameter);
	case MR_WINDOW_EXTRAPOLATE:
	case MR_WINDOW_SLOPE:
		return line(list, spec);
	case MR_WINDOW_MAX:
	case MR_WINDOW_MIN:
		return extreme(list, spec->fn == MR_WINDOW_MIN);
	case MR_WINDOW_SUM:
		return total(list);
	case MR_WINDOW_MEAN:
		result = total(list);
		result.value /= list->n;
		result.tolerance /= list->n;
		return result;
	case MR_WINDOW_STDDEV:
	case MR_WINDOW_ZSCORE:
		return spread(list, spec->fn);
	case MR_WINDOW_MEDIAN:
		return quantile(list, 0.5, false, 0);
	case MR_WINDOW_QUANTILE:
		return quantile(list, spec->parameter, false, 0);
	case MR_WINDOW_MAD:
		result = quantile(list, 0.5, false, 0);
		result = quantile(list, 0.5, true, result.value);
		result.tolerance += 1e-15L * absolute(list);
		return result;
	case MR_WINDOW_FIRST:
		return (struct naive_result){v(list, list->n - 1), 0};
	case MR_WINDOW_LAST:
		return (struct naive_result){v(list, 0), 0};
	case MR_WINDOW_EWMA:
		return averaged(list, spec->parameter);
	default:
		return change(list, spec->fn);
	}
}

/* ---- streams ------------------------------------------------------------------------------------
 */

/* The windows that end before this time, if the one of the newest sample is among them. */
static void tumble(struct naive_windows *naive, int64_t time_ms)
{
	for (uint32_t i = 0; i < naive->spec_count; i++) {
		const struct mr_window_spec *spec = &naive->specs[i];
		struct list list = {naive_windows_sample(naive, 0), 0};
		int64_t here, there;

		if (spec->extent != MR_WINDOW_TUMBLING)
			continue;
		here = pane(list.newest->time_ms, spec->span_ms);
		there = pane(time_ms, spec->span_ms);
		if (here == there)
			continue;
		list.n = here + 1 == there ? reach(naive, spec) : 0;
		naive->tumbled[i] = over(&list, spec);
	}
}

void naive_windows_push(struct naive_windows *naive, int64_t time_ms, double value)
{
	uint32_t at = naive->count;

	mr_assert(naive->count < naive->max);
	if (at > 0 && time_ms > naive->samples[at - 1].time_ms)
		tumble(naive, time_ms);
	while (at > 0 && naive->samples[at - 1].time_ms > time_ms)
		at--;
	memmove(&naive->samples[at + 1], &naive->samples[at],
		(naive->count - at) * sizeof(*naive->samples));
	naive->samples[at] = (struct naive_sample){time_ms, value};
	naive->count++;
	naive->pushes++;
}

void naive_windows_shed(struct naive_windows *naive)
{
	uint32_t kept = naive_windows_kept(naive);

	if (kept == 0)
		return;
	memmove(naive->samples, &naive->samples[naive->count - kept + 1],
		(kept - 1) * sizeof(*naive->samples));
	naive->count = kept - 1;
}

struct naive_result naive_windows_result(const struct naive_windows *naive, uint32_t spec)
{
	struct list list = {naive->samples, 0};

	if (naive->specs[spec].extent == MR_WINDOW_TUMBLING)
		return naive->tumbled[spec];
	if (naive->count > 0)
		list = (struct list){naive_windows_sample(naive, 0),
				     reach(naive, &naive->specs[spec])};
	return over(&list, &naive->specs[spec]);
}

bool naive_result_matches(const struct naive_result *expected, double found)
{
	if (isnan(expected->value) || isnan(found))
		return isnan(expected->value) && isnan(found);
	if (fabsl(expected->value) > DBL_MAX)
		return (double)expected->value == found;
	/* Besides: half a unit of the last place, that of the least number at least. */
	return fabsl(expected->value - found) <=
	       expected->tolerance + 0x1p-53L * fabsl(expected->value) + 0x1p-1074L;
}
