/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the parts of a block to the results of its windows, and which function needs which part.
 * Pure.
 */
#include <math.h>

#include "window_plan.h"

static bool step_sum(void *part, const struct mr_window_ring *ring,
		     const struct mr_window_step *step, double parameter)
{
	return mr_window_sum_step(part, ring, step);
}

static void anew_sum(void *part, const struct mr_window_ring *ring, uint32_t count,
		     double parameter)
{
	mr_window_sum_anew(part, ring, count);
}

static bool step_spread(void *part, const struct mr_window_ring *ring,
			const struct mr_window_step *step, double parameter)
{
	return mr_window_spread_step(part, ring, step);
}

static void anew_spread(void *part, const struct mr_window_ring *ring, uint32_t count,
			double parameter)
{
	mr_window_spread_anew(part, ring, count);
}

static bool step_fit(void *part, const struct mr_window_ring *ring,
		     const struct mr_window_step *step, double parameter)
{
	return mr_window_fit_step(part, ring, step);
}

static void anew_fit(void *part, const struct mr_window_ring *ring, uint32_t count,
		     double parameter)
{
	mr_window_fit_anew(part, ring, count);
}

static bool step_ewma(void *part, const struct mr_window_ring *ring,
		      const struct mr_window_step *step, double parameter)
{
	return mr_window_ewma_step(part, ring, step, parameter);
}

static void anew_ewma(void *part, const struct mr_window_ring *ring, uint32_t count,
		      double parameter)
{
	mr_window_ewma_anew(part, ring, count, parameter);
}

const struct mr_window_part_kind mr_window_part_kinds[MR_WINDOW_PARTS] = {
	[MR_WINDOW_PART_SUM] = {sizeof(struct mr_window_sum), step_sum, anew_sum},
	[MR_WINDOW_PART_SPREAD] = {sizeof(struct mr_window_spread), step_spread, anew_spread},
	[MR_WINDOW_PART_FIT] = {sizeof(struct mr_window_fit), step_fit, anew_fit},
	[MR_WINDOW_PART_EWMA] = {sizeof(struct mr_window_ewma), step_ewma, anew_ewma},
};

enum mr_window_part mr_window_part_of(enum mr_window_fn fn)
{
	switch (fn) {
	case MR_WINDOW_MEAN:
	case MR_WINDOW_SUM:
		return MR_WINDOW_PART_SUM;
	case MR_WINDOW_STDDEV:
	case MR_WINDOW_ZSCORE:
		return MR_WINDOW_PART_SPREAD;
	case MR_WINDOW_SLOPE:
	case MR_WINDOW_EXTRAPOLATE:
		return MR_WINDOW_PART_FIT;
	case MR_WINDOW_EWMA:
		return MR_WINDOW_PART_EWMA;
	default:
		return MR_WINDOW_PARTS;
	}
}

bool mr_window_needs_order(enum mr_window_fn fn)
{
	return fn == MR_WINDOW_MEDIAN || fn == MR_WINDOW_QUANTILE || fn == MR_WINDOW_MAD;
}

/* With its part, and what is sorted for it, for just these samples, of which there is one. */
static inline double result_of(const struct mr_window_view *view,
			       const struct mr_window_planned *planned, uint32_t count,
			       const void *part)
{
	const struct mr_window_ring *ring = &view->ring;
	double parameter = planned->spec.parameter;

	switch (planned->spec.fn) {
	case MR_WINDOW_WEIGHTED_AVERAGE:
		return mr_window_weigh(ring, count, &planned->weights);
	case MR_WINDOW_INTERPOLATE:
		return mr_window_line_at(ring, count, parameter);
	case MR_WINDOW_EXTRAPOLATE:
		return mr_window_fit_at(part, ring, count, parameter);
	case MR_WINDOW_MAX:
		return mr_window_extreme(ring, count, false);
	case MR_WINDOW_MIN:
		return mr_window_extreme(ring, count, true);
	case MR_WINDOW_MEAN:
		return mr_window_sum_mean(part, count);
	case MR_WINDOW_SUM:
		return mr_window_sum_total(part);
	case MR_WINDOW_STDDEV:
		return mr_window_spread_stddev(part, count);
	case MR_WINDOW_COUNT:
		return count;
	case MR_WINDOW_MEDIAN:
		return mr_window_order_quantile(mr_window_view_order(view, planned->order), count,
						0.5);
	case MR_WINDOW_QUANTILE:
		return mr_window_order_quantile(mr_window_view_order(view, planned->order), count,
						parameter);
	case MR_WINDOW_FIRST:
		return mr_window_value(ring, count - 1);
	case MR_WINDOW_LAST:
		return mr_window_value(ring, 0);
	case MR_WINDOW_DELTA:
		return mr_window_delta(ring, count);
	case MR_WINDOW_RATE:
		return mr_window_rate(ring, count);
	case MR_WINDOW_EWMA:
		return mr_window_ewma_value(part);
	case MR_WINDOW_SLOPE:
		return mr_window_fit_slope(part, ring, count);
	case MR_WINDOW_ZSCORE:
		return mr_window_spread_zscore(part, count, mr_window_value(ring, 0));
	case MR_WINDOW_MAD:
		return mr_window_order_mad(mr_window_view_order(view, planned->order), count);
	default:
		return NAN; /* no plan has another */
	}
}

static double result_of_none(const struct mr_window_planned *planned)
{
	return planned->spec.fn == MR_WINDOW_COUNT ? 0 : (double)NAN;
}

double mr_window_result_anew(const struct mr_window_view *view,
			     const struct mr_window_planned *planned, uint32_t count)
{
	enum mr_window_part kind = mr_window_part_of(planned->spec.fn);
	union {
		struct mr_window_sum sum;
		struct mr_window_spread spread;
		struct mr_window_fit fit;
		struct mr_window_ewma ewma;
	} part;

	if (count == 0)
		return result_of_none(planned);
	if (kind != MR_WINDOW_PARTS)
		mr_window_part_kinds[kind].anew(&part, &view->ring, count, planned->spec.parameter);
	return result_of(view, planned, count, &part);
}

static double first_of_queue(const struct mr_window_view *view, uint32_t which, uint32_t index)
{
	struct mr_window_queue queue = mr_window_view_queue(view, which);

	return mr_window_queue_first(&queue, &view->ring, index);
}

static double result_now(const struct mr_window_view *view, const struct mr_window_planned *planned)
{
	uint32_t samples = view->block->samples;
	uint32_t count = planned->most < samples ? planned->most : samples;

	if (planned->most == 0) {
		if (planned->spec.extent == MR_WINDOW_TUMBLING)
			return *(const double *)mr_window_view_at(view, planned->at);
		count = mr_window_view_count(view, planned->reach);
	}
	if (count == 0)
		return result_of_none(planned);
	if (planned->queued)
		return first_of_queue(view, planned->spec.fn == MR_WINDOW_MIN, planned->at);
	return result_of(view, planned, count, mr_window_view_at(view, planned->at));
}

void mr_window_block_results(const struct mr_window_plan *plan, const void *block, double *results)
{
	const struct mr_window_planned *end = plan->specs + plan->spec_count;
	struct mr_window_view view;

	mr_window_view_open(&view, plan, block);
	for (const struct mr_window_planned *planned = plan->specs; planned < end; planned++)
		*results++ = result_now(&view, planned);
}
