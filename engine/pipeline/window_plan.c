/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the windows that are wanted to what a block must hold: each distinct extent once, each part
 * once for all functions of that extent, one queue for all maxima and one for all minima. Made once
 * by whoever reads rules; constant from then on, for any number of threads.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "window_plan.h"

/* Samples that a new block has room for if it has windows by time. */
#define CAPACITY_BY_TIME 8

/* ---- what makes no sense ------------------------------------------------------------------------
 */

static uint32_t samples_needed(enum mr_window_fn fn)
{
	switch (fn) {
	case MR_WINDOW_INTERPOLATE:
	case MR_WINDOW_EXTRAPOLATE:
	case MR_WINDOW_STDDEV:
	case MR_WINDOW_DELTA:
	case MR_WINDOW_RATE:
	case MR_WINDOW_SLOPE:
	case MR_WINDOW_ZSCORE:
		return 2;
	default:
		return 1;
	}
}

static int check_extent(const struct mr_window_spec *spec, struct mr_error *err)
{
	const struct mr_window_function *fn = &mr_window_functions[spec->fn];

	if (spec->extent == MR_WINDOW_BY_COUNT) {
		if (spec->count >= samples_needed(spec->fn) && spec->count <= MR_WINDOW_COUNT_MAX)
			return 0;
		return mr_error_set(err, -EINVAL, "%s over %u samples: it takes %u ... %u",
				    fn->name, spec->count, samples_needed(spec->fn),
				    MR_WINDOW_COUNT_MAX);
	}
	if (spec->extent != MR_WINDOW_BY_TIME && spec->extent != MR_WINDOW_TUMBLING)
		return mr_error_set(err, -EINVAL, "%s has extent %d, unknown", fn->name,
				    (int)spec->extent);
	if (!fn->by_time)
		return mr_error_set(err, -EINVAL, "%s is by time: it takes a number of samples",
				    fn->name);
	if (spec->span_ms < 1)
		return mr_error_set(err, -EINVAL, "%s spans %lld ms: it takes 1 or more", fn->name,
				    (long long)spec->span_ms);
	return 0;
}

static int check_parameter(const struct mr_window_spec *spec, struct mr_error *err)
{
	const struct mr_window_function *fn = &mr_window_functions[spec->fn];
	double parameter = spec->parameter;
	bool good = true;

	if (spec->fn == MR_WINDOW_QUANTILE)
		good = parameter >= 0 && parameter <= 1;
	else if (spec->fn == MR_WINDOW_EWMA)
		good = parameter > 0 && parameter <= 1;
	else if (spec->fn == MR_WINDOW_INTERPOLATE || spec->fn == MR_WINDOW_EXTRAPOLATE)
		good = isnan(parameter) || isfinite(parameter);
	if (good)
		return 0;
	return mr_error_set(err, -EINVAL, "%s: '%s' is %g, expected %s", fn->name, fn->parameter,
			    parameter,
			    spec->fn == MR_WINDOW_QUANTILE ? "0 to 1"
			    : spec->fn == MR_WINDOW_EWMA   ? "more than 0, up to 1"
							   : "a number of milliseconds");
}

/* What a window that is not full divides by. -ENOMEM. */
static int sum_weights(const struct mr_window_spec *spec, struct mr_window_weights *weights,
		       struct mr_error *err)
{
	bool negative = false;

	weights->sums = calloc(spec->weight_count + 1u, sizeof(*weights->sums));
	if (!weights->sums)
		return mr_error_set(err, -ENOMEM, "no memory for a plan of windows");
	for (uint32_t i = 0; i < spec->weight_count; i++)
		negative |= spec->weights[i] < 0;
	for (uint32_t i = 0; i < spec->weight_count && !negative; i++)
		weights->sums[i + 1] = weights->sums[i] + spec->weights[i];
	return 0;
}

/* Sets what the plan keeps of the weights. */
static int check_weights(struct mr_window_planned *planned, struct mr_error *err)
{
	const struct mr_window_spec *spec = &planned->spec;
	double sum = 0;

	if (spec->fn != MR_WINDOW_WEIGHTED_AVERAGE || !spec->weights)
		return 0;
	if (spec->weight_count < 1 || spec->weight_count > spec->count ||
	    spec->weight_count > MR_WINDOW_WEIGHTS_MAX)
		return mr_error_set(err, -EINVAL,
				    "weighted_average has %u weights for %u samples: it takes "
				    "1 ... %u",
				    spec->weight_count, spec->count,
				    spec->count < MR_WINDOW_WEIGHTS_MAX ? spec->count
									: MR_WINDOW_WEIGHTS_MAX);
	for (uint32_t i = 0; i < spec->weight_count; i++)
		sum += spec->weights[i];
	if (!isfinite(sum) || sum == 0)
		return mr_error_set(err, -EINVAL,
				    "weighted_average: its weights sum to %g: expected what can be "
				    "divided by",
				    sum);
	planned->weights = (struct mr_window_weights){
		.list = spec->weights, .count = spec->weight_count, .sum = sum};
	return sum_weights(spec, &planned->weights, err);
}

static int check_spec(struct mr_window_planned *planned, struct mr_error *err)
{
	int r;

	if ((uint32_t)planned->spec.fn >= MR_WINDOW_FUNCTIONS)
		return mr_error_set(err, -EINVAL, "there is no function %d", (int)planned->spec.fn);
	r = check_extent(&planned->spec, err);
	if (r < 0)
		return r;
	r = check_parameter(&planned->spec, err);
	return r < 0 ? r : check_weights(planned, err);
}

/* ---- what a block holds -------------------------------------------------------------------------
 */

static uint32_t find_reach(struct mr_window_plan *plan, const struct mr_window_spec *spec)
{
	struct mr_window_reach reach = {.extent = spec->extent};

	if (spec->extent == MR_WINDOW_BY_COUNT)
		reach.count = spec->count;
	else
		reach.span_ms = spec->span_ms;
	if (spec->fn == MR_WINDOW_WEIGHTED_AVERAGE && spec->weights)
		reach.count = spec->weight_count; /* the rest weighs nothing */
	for (uint32_t i = 0; i < plan->reach_count; i++)
		if (plan->reaches[i].extent == reach.extent &&
		    plan->reaches[i].count == reach.count &&
		    plan->reaches[i].span_ms == reach.span_ms)
			return i;
	plan->reaches[plan->reach_count] = reach;
	return plan->reach_count++;
}

static void note_reach(struct mr_window_plan *plan, const struct mr_window_reach *reach)
{
	if (reach->extent == MR_WINDOW_BY_COUNT && reach->count > plan->count_max)
		plan->count_max = reach->count;
	if (reach->extent != MR_WINDOW_BY_COUNT)
		plan->by_time = true;
	if (reach->extent == MR_WINDOW_TUMBLING)
		plan->tumbling = true;
}

/* The index of the reach in the queue. */
static uint32_t join_queue(struct mr_window_plan *plan, struct mr_window_queue_place *queue,
			   uint32_t reach)
{
	const struct mr_window_reach *r = &plan->reaches[reach];
	uint32_t slots = r->extent == MR_WINDOW_BY_COUNT ? r->count : UINT32_MAX;

	if (slots > queue->slots)
		queue->slots = slots;
	for (uint32_t i = 0; i < queue->count; i++)
		if (queue->reaches[i] == reach)
			return i;
	queue->reaches[queue->count] = reach;
	return queue->count++;
}

/* The index of the part. */
static uint32_t find_part(struct mr_window_plan *plan, enum mr_window_part kind, uint32_t reach,
			  double parameter)
{
	for (uint32_t i = 0; i < plan->part_count; i++)
		if (plan->parts[i].kind == kind && plan->parts[i].reach == reach &&
		    plan->parts[i].parameter == parameter)
			return i;
	plan->parts[plan->part_count] =
		(struct mr_window_part_place){.kind = kind, .reach = reach, .parameter = parameter};
	return plan->part_count++;
}

/* The index of the order. */
static uint32_t find_order(struct mr_window_plan *plan, uint32_t reach)
{
	const struct mr_window_reach *r = &plan->reaches[reach];
	struct mr_window_order_place *place = &plan->orders[plan->order_count];

	for (uint32_t i = 0; i < plan->order_count; i++)
		if (plan->orders[i].reach == reach)
			return i;
	place->reach = reach;
	place[1] = place[0];
	if (r->extent == MR_WINDOW_BY_COUNT)
		place[1].fixed += r->count;
	else
		place[1].by_capacity++;
	return plan->order_count++;
}

/* 'at' is an index where it will be a byte; lay_out() makes it one. */
static void plan_spec(struct mr_window_plan *plan, struct mr_window_planned *planned)
{
	const struct mr_window_spec *spec = &planned->spec;
	enum mr_window_part kind = mr_window_part_of(spec->fn);

	planned->reach = find_reach(plan, spec);
	planned->most = spec->extent == MR_WINDOW_BY_COUNT ? spec->count : 0;
	note_reach(plan, &plan->reaches[planned->reach]);
	if (mr_window_needs_order(spec->fn))
		planned->order = find_order(plan, planned->reach);
	if (spec->extent == MR_WINDOW_TUMBLING)
		return;
	planned->queued = mr_window_needs_queue(spec);
	if (planned->queued)
		planned->at =
			join_queue(plan, &plan->queues[spec->fn == MR_WINDOW_MIN], planned->reach);
	else if (kind != MR_WINDOW_PARTS)
		planned->at = find_part(plan, kind, planned->reach,
					spec->fn == MR_WINDOW_EWMA ? spec->parameter : 0);
}

/* A power of two, 4 or more, so that its bytes are a multiple of 8. */
static uint32_t queue_slots(const struct mr_window_queue_place *queue, uint32_t capacity)
{
	uint32_t slots = queue->slots < capacity ? queue->slots : capacity;

	return slots <= 4 ? 4 : 1u << (32 - __builtin_clz(slots - 1));
}

static size_t queue_bytes(const struct mr_window_queue_place *queue, uint32_t capacity)
{
	if (queue->count == 0)
		return 0;
	return (size_t)queue_slots(queue, capacity) *
	       (capacity > UINT16_MAX + 1u ? sizeof(uint32_t) : sizeof(uint16_t));
}

void mr_window_plan_layout(const struct mr_window_plan *plan, uint32_t capacity,
			   struct mr_window_layout *layout)
{
	const struct mr_window_order_place *end = &plan->orders[plan->order_count];
	size_t at = plan->fixed_bytes;

	layout->capacity = capacity;
	for (uint32_t i = 0; i < 2; i++) {
		layout->queues[i] = at;
		layout->queue_masks[i] = queue_slots(&plan->queues[i], capacity) - 1;
		at += queue_bytes(&plan->queues[i], capacity);
	}
	layout->values = at;
	layout->times = layout->values + (size_t)capacity * sizeof(double);
	layout->orders = layout->times + (size_t)capacity * sizeof(int64_t);
	layout->bytes = layout->orders +
			(end->fixed + (size_t)end->by_capacity * capacity) * sizeof(double);
}

static void lay_out(struct mr_window_plan *plan)
{
	uint32_t at = sizeof(struct mr_window_block);

	for (uint32_t i = 0; i < plan->reach_count; i++) {
		plan->reaches[i].at = at;
		if (plan->reaches[i].extent != MR_WINDOW_BY_COUNT)
			at += sizeof(uint32_t);
	}
	for (uint32_t i = 0; i < 2; i++) {
		plan->queues[i].at = at;
		if (plan->queues[i].count)
			at += (1 + plan->queues[i].count) * (uint32_t)sizeof(uint32_t);
	}
	at = (at + 7) & ~7u;
	for (uint32_t i = 0; i < plan->part_count; i++) {
		plan->parts[i].at = at;
		at += mr_window_part_kinds[plan->parts[i].kind].bytes;
	}
	for (uint32_t i = 0; i < plan->spec_count; i++) {
		struct mr_window_planned *planned = &plan->specs[i];

		if (planned->spec.extent == MR_WINDOW_TUMBLING) {
			planned->at = at;
			at += sizeof(double);
		} else if (mr_window_part_of(planned->spec.fn) != MR_WINDOW_PARTS) {
			planned->at = plan->parts[planned->at].at;
		}
	}
	plan->fixed_bytes = at;
	mr_window_plan_layout(plan, mr_window_plan_capacity(plan), &plan->layout);
}

int mr_window_plan_new(const struct mr_window_spec *specs, uint32_t count,
		       struct mr_window_plan **out, struct mr_error *err)
{
	struct mr_window_plan *plan;
	int r = 0;

	if (count > MR_WINDOWS_MAX)
		return mr_error_set(err, -EINVAL, "%u windows: at most %d", count, MR_WINDOWS_MAX);
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return mr_error_set(err, -ENOMEM, "no memory for a plan of windows");
	plan->spec_count = count;
	plan->count_max = 1; /* a plan without windows keeps the newest */
	for (uint32_t i = 0; i < count && r == 0; i++) {
		plan->specs[i].spec = specs[i];
		r = check_spec(&plan->specs[i], err);
		if (r < 0 && count > 1)
			mr_error_prefix(err, "window %u: ", i);
		if (r == 0)
			plan_spec(plan, &plan->specs[i]);
	}
	if (r < 0) {
		mr_window_plan_free(plan);
		return r;
	}
	plan->bare = !plan->by_time && plan->part_count == 0 && plan->order_count == 0 &&
		     plan->queues[0].count == 0 && plan->queues[1].count == 0;
	lay_out(plan);
	*out = plan;
	return 0;
}

void mr_window_plan_free(struct mr_window_plan *plan)
{
	for (uint32_t i = 0; plan && i < plan->spec_count; i++)
		free(plan->specs[i].weights.sums);
	free(plan);
}

/* ---- blocks -------------------------------------------------------------------------------------
 */

uint32_t mr_window_plan_capacity(const struct mr_window_plan *plan)
{
	if (plan->by_time && plan->count_max < CAPACITY_BY_TIME)
		return CAPACITY_BY_TIME;
	return plan->count_max;
}

size_t mr_window_block_bytes(const struct mr_window_plan *plan, uint32_t capacity)
{
	struct mr_window_layout layout;

	mr_window_plan_layout(plan, capacity, &layout);
	return layout.bytes;
}
