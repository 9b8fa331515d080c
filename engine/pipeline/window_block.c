/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block of a key: samples in the order of their time in one ring for all windows, and what the
 * windows keep beside. Pure; one thread a block.
 *
 * A sample that is not older than the newest goes to the ring's head. Each window is first told
 * what comes and what leaves it, while the ring still has both. What no window reaches any more is
 * gone. An older sample goes to its place, those that are newer move on by one, and sums, spreads,
 * lines and ewmas are made anew: that takes as long as their windows are. One that no window
 * reaches changes nothing.
 *
 * Nothing here depends on where the block is, on the machine, or on anything but the calls made.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "window_plan.h"

/* ---- time ---------------------------------------------------------------------------------------
 */

static uint64_t apart(int64_t later, int64_t earlier)
{
	return (uint64_t)later - (uint64_t)earlier;
}

/* The number of the tumbling window that a time is in: rounded down, also before 1970. */
static int64_t pane(int64_t time_ms, int64_t span_ms)
{
	return time_ms / span_ms - (time_ms % span_ms < 0);
}

static int64_t newest_time(const struct mr_window_view *view)
{
	return mr_window_time(&view->ring, 0);
}

/* ---- a new block --------------------------------------------------------------------------------
 */

static uint32_t anew_interval(uint32_t capacity)
{
	return capacity > MR_WINDOW_ANEW_PUSHES ? capacity : MR_WINDOW_ANEW_PUSHES;
}

/* A part begins with no samples: with what it is made anew from none. */
static void make_parts(struct mr_window_view *view, uint64_t which)
{
	for (uint32_t i = 0; i < view->plan->part_count; i++) {
		const struct mr_window_part_place *place = &view->plan->parts[i];

		if (which >> i & 1)
			mr_window_part_kinds[place->kind].anew(
				mr_window_view_at(view, place->at), &view->ring,
				mr_window_view_count(view, place->reach), place->parameter);
	}
}

void mr_window_block_init(const struct mr_window_plan *plan, void *block, uint32_t capacity)
{
	struct mr_window_block *b = block;
	struct mr_window_view view;

	mr_assert(capacity >= plan->count_max);
	mr_assert(capacity <= MR_WINDOW_CAPACITY_MAX);
	memset(b, 0, mr_window_block_bytes(plan, capacity));
	b->capacity = capacity;
	b->anew_in = anew_interval(capacity);
	mr_window_view_open(&view, plan, b);
	make_parts(&view, UINT64_MAX);
	for (uint32_t i = 0; i < plan->spec_count; i++)
		if (plan->specs[i].spec.extent == MR_WINDOW_TUMBLING)
			*(double *)mr_window_view_at(&view, plan->specs[i].at) = NAN;
}

/* ---- a sample in order --------------------------------------------------------------------------
 */

static uint32_t samples_after(const struct mr_window_view *view,
			      const struct mr_window_reach *reach, uint32_t before, int64_t time_ms)
{
	uint32_t after = before + 1;

	if (before == 0)
		return 1;
	if (reach->extent == MR_WINDOW_BY_COUNT)
		return after < reach->count ? after : reach->count;
	if (reach->extent == MR_WINDOW_TUMBLING)
		return pane(time_ms, reach->span_ms) == pane(newest_time(view), reach->span_ms)
			       ? after
			       : 1;
	while (after > 1 &&
	       apart(time_ms, mr_window_time(&view->ring, after - 2)) >= (uint64_t)reach->span_ms)
		after--;
	return after;
}

/* Returns how many samples any reach has then. */
static uint32_t take_steps(const struct mr_window_view *view, int64_t time_ms, double value,
			   struct mr_window_step *steps)
{
	uint32_t most = 1;

	for (uint32_t i = 0; i < view->plan->reach_count; i++) {
		uint32_t before = mr_window_view_count(view, i);
		uint32_t after = samples_after(view, &view->plan->reaches[i], before, time_ms);

		steps[i] = (struct mr_window_step){before, before + 1 - after, after, true, time_ms,
						   value};
		if (after > most)
			most = after;
	}
	return most;
}

/* Tumbling windows that this time completes get their results. */
static void complete(struct mr_window_view *view, int64_t time_ms)
{
	if (view->block->samples == 0)
		return;
	for (uint32_t i = 0; i < view->plan->spec_count; i++) {
		const struct mr_window_planned *planned = &view->plan->specs[i];
		int64_t span_ms = planned->spec.span_ms;
		int64_t here, there;
		uint32_t count;

		if (planned->spec.extent != MR_WINDOW_TUMBLING)
			continue;
		here = pane(newest_time(view), span_ms);
		there = pane(time_ms, span_ms);
		if (here == there)
			continue;
		/* The newest complete one is the one before: with a gap it has no sample. */
		count = here == there - 1 ? mr_window_view_count(view, planned->reach) : 0;
		*(double *)mr_window_view_at(view, planned->at) =
			mr_window_result_anew(view, planned, count);
	}
}

/* Returns which parts have to be made anew. */
static uint64_t step_parts(struct mr_window_view *view, const struct mr_window_step *steps)
{
	uint64_t stale = 0;

	for (uint32_t i = 0; i < view->plan->part_count; i++) {
		const struct mr_window_part_place *place = &view->plan->parts[i];

		if (mr_window_part_kinds[place->kind].step(mr_window_view_at(view, place->at),
							   &view->ring, &steps[place->reach],
							   place->parameter))
			stale |= UINT64_C(1) << i;
	}
	return stale;
}

static inline void
step_queues(const struct mr_window_view *view, const struct mr_window_step *steps,
	    void (*step)(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			 const struct mr_window_step *steps))
{
	for (uint32_t i = 0; i < 2; i++) {
		struct mr_window_queue queue;

		if (view->plan->queues[i].count == 0)
			continue;
		queue = mr_window_view_queue(view, i);
		step(&queue, &view->ring, steps);
	}
}

static void step_orders(struct mr_window_view *view, const struct mr_window_step *steps)
{
	for (uint32_t i = 0; i < view->plan->order_count; i++)
		mr_window_order_step(mr_window_view_order(view, i), &view->ring,
				     &steps[view->plan->orders[i].reach]);
}

static void store_counts(struct mr_window_view *view, const struct mr_window_step *steps)
{
	for (uint32_t i = 0; i < view->plan->reach_count; i++)
		if (view->plan->reaches[i].extent != MR_WINDOW_BY_COUNT)
			*(uint32_t *)mr_window_view_at(view, view->plan->reaches[i].at) =
				steps[i].after;
}

static void put_newest(struct mr_window_view *view, int64_t time_ms, double value)
{
	struct mr_window_block *b = view->block;

	view->values[b->head] = value;
	view->times[b->head] = time_ms;
	b->head = b->head + 1 == b->capacity ? 0 : b->head + 1;
	view->ring.head = b->head;
}

static int push_newest(struct mr_window_view *view, int64_t time_ms, double value)
{
	const struct mr_window_plan *plan = view->plan;
	struct mr_window_block *b = view->block;
	struct mr_window_step steps[MR_WINDOWS_MAX];
	uint32_t samples = take_steps(view, time_ms, value, steps);
	uint64_t stale;

	if (samples > b->capacity)
		return -ENOSPC;
	if (plan->tumbling)
		complete(view, time_ms);
	stale = step_parts(view, steps);
	step_queues(view, steps, mr_window_queue_step);
	step_orders(view, steps);
	put_newest(view, time_ms, value);
	b->samples = samples;
	if (plan->by_time)
		store_counts(view, steps);
	if (--b->anew_in == 0) {
		b->anew_in = anew_interval(b->capacity);
		stale = UINT64_MAX;
	}
	if (stale)
		make_parts(view, stale);
	return 0;
}

/* ---- all anew -----------------------------------------------------------------------------------
 */

/* A sample of that age and time: does the reach take it in? */
static bool reaches(const struct mr_window_view *view, const struct mr_window_reach *reach,
		    uint32_t age, int64_t time_ms)
{
	int64_t newest = newest_time(view);

	if (reach->extent == MR_WINDOW_BY_COUNT)
		return age < reach->count;
	if (reach->extent == MR_WINDOW_BY_TIME)
		return apart(newest, time_ms) < (uint64_t)reach->span_ms;
	return pane(time_ms, reach->span_ms) == pane(newest, reach->span_ms);
}

/* By halves: the newest are in it, up to one that is not. */
static uint32_t count_reach(const struct mr_window_view *view, const struct mr_window_reach *reach)
{
	uint32_t low = 0;
	uint32_t high = view->block->samples;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (reaches(view, reach, middle, mr_window_time(&view->ring, middle)))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Returns the most samples that any reach has. */
static uint32_t count_reaches(const struct mr_window_view *view, uint32_t *counts)
{
	uint32_t most = view->block->samples > 0;

	for (uint32_t i = 0; i < view->plan->reach_count; i++) {
		counts[i] = count_reach(view, &view->plan->reaches[i]);
		if (counts[i] > most)
			most = counts[i];
	}
	return most;
}

/* Counts and queues; what is not reached goes. */
static void make_counts(struct mr_window_view *view)
{
	const struct mr_window_plan *plan = view->plan;
	uint32_t counts[MR_WINDOWS_MAX];

	view->block->samples = count_reaches(view, counts);
	for (uint32_t i = 0; i < plan->reach_count; i++)
		if (plan->reaches[i].extent != MR_WINDOW_BY_COUNT)
			*(uint32_t *)mr_window_view_at(view, plan->reaches[i].at) = counts[i];
	for (uint32_t i = 0; i < 2; i++) {
		struct mr_window_queue queue = mr_window_view_queue(view, i);

		if (queue.reaches)
			mr_window_queue_anew(&queue, &view->ring, counts);
	}
}

/* ---- a late sample ------------------------------------------------------------------------------
 */

/* How many samples are newer than a time. */
static uint32_t age_of(const struct mr_window_view *view, int64_t time_ms)
{
	uint32_t low = 0;
	uint32_t high = view->block->samples;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (mr_window_time(&view->ring, middle) > time_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What a late sample does to each reach. Returns how many samples are needed then; 0: no reach
 * wants it. */
static uint32_t take_late_steps(const struct mr_window_view *view, uint32_t age, int64_t time_ms,
				double value, struct mr_window_step *steps)
{
	uint32_t most = 0;
	bool wanted = false;

	for (uint32_t i = 0; i < view->plan->reach_count; i++) {
		const struct mr_window_reach *reach = &view->plan->reaches[i];
		struct mr_window_step *step = &steps[i];

		*step = (struct mr_window_step){.before = mr_window_view_count(view, i),
						.time_ms = time_ms,
						.value = value};
		step->joins = reaches(view, reach, age, time_ms);
		step->leave = step->joins && reach->extent == MR_WINDOW_BY_COUNT &&
			      step->before == reach->count;
		step->after = step->before + step->joins - step->leave;
		wanted |= step->joins;
		if (step->after > most)
			most = step->after;
	}
	return wanted ? most : 0;
}

/* Samples with an age below 'age' move on by one slot, over the oldest if the ring is full. */
static void put_at(struct mr_window_view *view, uint32_t age, int64_t time_ms, double value)
{
	uint32_t to;

	put_newest(view, time_ms, value);
	for (uint32_t i = 0; i < age; i++) {
		uint32_t from = mr_window_slot(&view->ring, i + 1);

		to = mr_window_slot(&view->ring, i);
		view->values[to] = view->values[from];
		view->times[to] = view->times[from];
	}
	to = mr_window_slot(&view->ring, age);
	view->values[to] = value;
	view->times[to] = time_ms;
}

static void insert_late(const struct mr_window_view *view, const struct mr_window_step *steps,
			uint32_t age)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct mr_window_queue queue = mr_window_view_queue(view, i);

		if (queue.reaches)
			mr_window_queue_insert(&queue, &view->ring, steps, age);
	}
}

static int push_late(struct mr_window_view *view, int64_t time_ms, double value)
{
	struct mr_window_step steps[MR_WINDOWS_MAX];
	uint32_t age = age_of(view, time_ms);
	uint32_t needed = take_late_steps(view, age, time_ms, value, steps);

	if (needed == 0)
		return 0;
	if (needed > view->block->capacity)
		return -ENOSPC;
	step_orders(view, steps);
	step_queues(view, steps, mr_window_queue_leave);
	put_at(view, age, time_ms, value);
	view->block->samples = needed;
	store_counts(view, steps);
	insert_late(view, steps, age);
	make_parts(view, UINT64_MAX);
	return 0;
}

/* Where nothing but samples is kept: what push_newest() would do. False: it is late. */
static bool push_bare(const struct mr_window_plan *plan, struct mr_window_block *b, int64_t time_ms,
		      double value)
{
	double *values = (double *)((uint8_t *)b + plan->layout.values);
	int64_t *times = (int64_t *)((uint8_t *)b + plan->layout.times);
	uint32_t head = b->head;
	uint32_t newest = (head == 0 ? b->capacity : head) - 1;

	if (b->samples > 0 && time_ms < times[newest])
		return false;
	values[head] = value;
	times[head] = time_ms;
	b->head = head + 1 == b->capacity ? 0 : head + 1;
	b->samples += b->samples < plan->count_max;
	if (__builtin_expect(--b->anew_in == 0, 0))
		b->anew_in = anew_interval(b->capacity);
	return true;
}

/* Apart, so that a bare push needs none of its room. */
static __attribute__((noinline)) int push_any(const struct mr_window_plan *plan, void *block,
					      int64_t time_ms, double value)
{
	struct mr_window_view view;

	mr_window_view_open(&view, plan, block);
	if (view.block->samples > 0 && time_ms < newest_time(&view))
		return push_late(&view, time_ms, value);
	return push_newest(&view, time_ms, value);
}

int mr_window_block_push(const struct mr_window_plan *plan, void *block, int64_t time_ms,
			 double value)
{
	struct mr_window_block *b = block;

	value += 0.0; /* so that zero has one sign */
	if (plan->bare && b->capacity == plan->layout.capacity &&
	    push_bare(plan, b, time_ms, value))
		return 0;
	return push_any(plan, block, time_ms, value);
}

/* ---- more room, less samples --------------------------------------------------------------------
 */

void mr_window_block_grow(const struct mr_window_plan *plan, const void *from, void *to,
			  uint32_t capacity)
{
	const struct mr_window_block *old = from;
	struct mr_window_view source;
	struct mr_window_view view;

	mr_assert(capacity >= old->samples);
	mr_window_block_init(plan, to, capacity);
	mr_window_view_open(&source, plan, old);
	mr_window_view_open(&view, plan, to);
	for (uint32_t age = old->samples; age > 0; age--)
		put_newest(&view, mr_window_time(&source.ring, age - 1),
			   mr_window_value(&source.ring, age - 1));
	/* Counts, parts and results of tumbling windows mean the same wherever samples are. */
	memcpy(view.block + 1, source.block + 1, plan->fixed_bytes - sizeof(*old));
	view.block->samples = old->samples;
	view.block->anew_in = old->anew_in;
	make_counts(&view);
	for (uint32_t i = 0; i < plan->order_count; i++)
		memcpy(mr_window_view_order(&view, i), mr_window_view_order(&source, i),
		       mr_window_view_count(&source, plan->orders[i].reach) * sizeof(double));
}

void mr_window_block_shed(const struct mr_window_plan *plan, void *block)
{
	struct mr_window_step steps[MR_WINDOWS_MAX];
	struct mr_window_view view;
	uint32_t samples;
	uint64_t stale;

	mr_window_view_open(&view, plan, block);
	samples = view.block->samples;
	if (samples == 0)
		return;
	for (uint32_t i = 0; i < plan->reach_count; i++) {
		uint32_t before = mr_window_view_count(&view, i);
		bool leaves = before == samples;

		steps[i] = (struct mr_window_step){
			.before = before, .leave = leaves, .after = before - leaves};
	}
	stale = step_parts(&view, steps);
	step_queues(&view, steps, mr_window_queue_leave);
	step_orders(&view, steps);
	view.block->samples--;
	store_counts(&view, steps);
	make_parts(&view, stale);
}

/* ---- looking at it ------------------------------------------------------------------------------
 */

uint32_t mr_window_block_samples(const void *block)
{
	return ((const struct mr_window_block *)block)->samples;
}

uint32_t mr_window_block_capacity(const void *block)
{
	return ((const struct mr_window_block *)block)->capacity;
}

bool mr_window_block_sample(const struct mr_window_plan *plan, const void *block, uint32_t back,
			    int64_t *time_ms, double *value)
{
	struct mr_window_view view;

	mr_window_view_open(&view, plan, block);
	if (back >= view.block->samples)
		return false;
	*time_ms = mr_window_time(&view.ring, back);
	*value = mr_window_value(&view.ring, back);
	return true;
}

uint32_t mr_window_block_reach(const struct mr_window_plan *plan, const void *block, uint32_t spec)
{
	struct mr_window_view view;

	if (plan->specs[spec].spec.extent == MR_WINDOW_TUMBLING)
		return 0;
	mr_window_view_open(&view, plan, block);
	return mr_window_view_count(&view, plan->specs[spec].reach);
}

static bool samples_valid(const struct mr_window_view *view)
{
	for (uint32_t age = 0; age < view->block->samples; age++) {
		if (!isfinite(mr_window_value(&view->ring, age)))
			return false;
		if (age > 0 &&
		    mr_window_time(&view->ring, age) > mr_window_time(&view->ring, age - 1))
			return false;
	}
	return true;
}

bool mr_window_block_check(const struct mr_window_plan *plan, const void *block, size_t bytes)
{
	const struct mr_window_block *b = block;
	uint32_t counts[MR_WINDOWS_MAX];
	struct mr_window_view view;

	if (bytes < plan->fixed_bytes || b->capacity < plan->count_max ||
	    b->capacity > MR_WINDOW_CAPACITY_MAX ||
	    mr_window_block_bytes(plan, b->capacity) != bytes)
		return false;
	if (b->head >= b->capacity || b->samples > b->capacity || b->anew_in == 0 ||
	    b->anew_in > anew_interval(b->capacity))
		return false;
	mr_window_view_open(&view, plan, b);
	if (!samples_valid(&view) || count_reaches(&view, counts) != b->samples)
		return false;
	for (uint32_t i = 0; i < plan->reach_count; i++)
		if (mr_window_view_count(&view, i) != counts[i])
			return false;
	for (uint32_t i = 0; i < 2; i++) {
		struct mr_window_queue queue = mr_window_view_queue(&view, i);

		if (queue.reaches && !mr_window_queue_valid(&queue, &view.ring, counts))
			return false;
	}
	for (uint32_t i = 0; i < plan->order_count; i++)
		if (!mr_window_order_valid(mr_window_view_order(&view, i), &view.ring,
					   counts[plan->orders[i].reach]))
			return false;
	return true;
}
