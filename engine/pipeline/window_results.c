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

const struct mr_window_part_kind mr_window_part_kinds[MR_WINDOW_PARTS] = {
	[MR_WINDOW_PART_SUM] = {sizeof(struct mr_window_sum), step_sum, anew_sum},
};

enum mr_window_part mr_window_part_of(enum mr_window_fn fn)
{
	switch (fn) {
	case MR_WINDOW_MEAN:
	case MR_WINDOW_SUM:
		return MR_WINDOW_PART_SUM;
	default:
		return MR_WINDOW_PARTS;
	}
}

double mr_window_result(const struct mr_window_planned *planned, const struct mr_window_ring *ring,
			uint32_t count, const void *part)
{
	if (planned->spec.fn == MR_WINDOW_COUNT)
		return count;
	if (count == 0)
		return NAN;
	switch (planned->spec.fn) {
	case MR_WINDOW_WEIGHTED_AVERAGE:
		return mr_window_weigh(ring, count, &planned->weights);
	case MR_WINDOW_MEAN:
		return mr_window_sum_mean(part, count);
	case MR_WINDOW_SUM:
		return mr_window_sum_total(part);
	case MR_WINDOW_MAX:
		return mr_window_extreme(ring, count, false);
	case MR_WINDOW_MIN:
		return mr_window_extreme(ring, count, true);
	case MR_WINDOW_FIRST:
		return mr_window_value(ring, count - 1);
	case MR_WINDOW_LAST:
		return mr_window_value(ring, 0);
	default:
		return NAN;
	}
}

double mr_window_result_anew(const struct mr_window_planned *planned,
			     const struct mr_window_ring *ring, uint32_t count)
{
	enum mr_window_part kind = mr_window_part_of(planned->spec.fn);
	union {
		struct mr_window_sum sum;
	} part;

	if (kind != MR_WINDOW_PARTS)
		mr_window_part_kinds[kind].anew(&part, ring, count, planned->spec.parameter);
	return mr_window_result(planned, ring, count, &part);
}

static double result_now(const struct mr_window_view *view, const struct mr_window_planned *planned)
{
	uint32_t count = mr_window_view_count(view, planned->reach);

	if (planned->spec.extent == MR_WINDOW_TUMBLING)
		return *(const double *)mr_window_view_at(view, planned->at);
	if (count > 0 && planned->spec.fn == MR_WINDOW_MAX)
		return mr_window_queue_first(&view->queues[0], &view->ring, planned->at);
	if (count > 0 && planned->spec.fn == MR_WINDOW_MIN)
		return mr_window_queue_first(&view->queues[1], &view->ring, planned->at);
	return mr_window_result(planned, &view->ring, count, mr_window_view_at(view, planned->at));
}

void mr_window_block_results(const struct mr_window_plan *plan, const void *block, double *results)
{
	struct mr_window_view view;

	mr_window_view_open(&view, plan, block);
	for (uint32_t i = 0; i < plan->spec_count; i++)
		results[i] = result_now(&view, &plan->specs[i]);
}
