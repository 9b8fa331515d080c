/* SPDX-License-Identifier: Apache-2.0 */
/*
 * max and min, in time that does not grow with the reach. Pure.
 *
 *	max = the greatest of v[0] ... v[n - 1], min = the least	unit of the value
 *
 * Values are finite; of no samples: NaN. Zero has no sign.
 *
 * A sample can only ever be the greatest if none that came after it is as great. Those that can
 *form a queue of falling values: a new sample takes away from its end all that are not greater and
 *joins it; its front is the maximum, until it leaves (the ascending minima of R. Harter, 2001; D.
 *Lemire, Streaming maximum-minimum filter using no more than three comparisons per element, 2006).
 *Each sample joins once and leaves once. For a shorter reach the queue is the end of the same
 *queue, so there is one for all and each has an index into it.
 */
#include <math.h>

#include "window_parts.h"

static inline uint32_t get(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			   uint32_t index)
{
	uint32_t at = index & queue->mask;

	if (__builtin_expect(ring->capacity > UINT16_MAX + 1u, 0))
		return ((const uint32_t *)queue->slots)[at];
	return ((const uint16_t *)queue->slots)[at];
}

static void put(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
		uint32_t index, uint32_t slot)
{
	uint32_t at = index & queue->mask;

	if (ring->capacity > UINT16_MAX + 1u)
		((uint32_t *)queue->slots)[at] = slot;
	else
		((uint16_t *)queue->slots)[at] = (uint16_t)slot;
}

/* How many samples are newer once slot 'head' has the newest; what was in that slot is too old. */
static uint32_t age_at(const struct mr_window_ring *ring, uint32_t slot, uint32_t head)
{
	return head > slot ? head - slot : head - slot + ring->capacity;
}

static bool beaten(const struct mr_window_queue *queue, double value, double by)
{
	return queue->least ? by <= value : by >= value;
}

/* The new sample joins; returns its index. At least 'first' stays below it. */
static uint32_t join(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
		     uint32_t first, uint32_t slot, double value)
{
	uint32_t back = queue->state[0];

	while (back != first && beaten(queue, ring->values[get(queue, ring, back - 1)], value))
		back--;
	put(queue, ring, back, slot);
	queue->state[0] = back + 1;
	return back;
}

void mr_window_queue_step(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			  const struct mr_window_step *steps)
{
	uint32_t back = queue->state[0];
	uint32_t longest = 0;
	uint32_t joined;

	for (uint32_t i = 0; i < queue->reaches; i++) {
		uint32_t first = queue->state[1 + i];
		uint32_t after = steps[queue->reach[i]].after;

		while (first != back && age_at(ring, get(queue, ring, first), ring->head) >= after)
			first++;
		queue->state[1 + i] = first;
		if (back - first > longest)
			longest = back - first;
	}
	joined = join(queue, ring, back - longest, ring->head, steps[queue->reach[0]].value);
	for (uint32_t i = 0; i < queue->reaches; i++)
		if ((int32_t)(joined - queue->state[1 + i]) < 0)
			queue->state[1 + i] = joined;
}

void mr_window_queue_anew(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			  const uint32_t *counts)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i < queue->reaches; i++)
		if (counts[queue->reach[i]] > longest)
			longest = counts[queue->reach[i]];
	queue->state[0] = 0;
	for (uint32_t age = longest; age > 0; age--) {
		uint32_t slot = mr_window_slot(ring, age - 1);

		(void)join(queue, ring, 0, slot, ring->values[slot]); /* the index is not needed */
	}
	for (uint32_t i = 0; i < queue->reaches; i++) {
		uint32_t first = 0;

		while (first != queue->state[0] &&
		       age_at(ring, get(queue, ring, first), ring->head) > counts[queue->reach[i]])
			first++;
		queue->state[1 + i] = first;
	}
}

void mr_window_queue_leave(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			   const struct mr_window_step *steps)
{
	for (uint32_t i = 0; i < queue->reaches; i++) {
		uint32_t first = queue->state[1 + i];
		const struct mr_window_step *step = &steps[queue->reach[i]];

		if (first != queue->state[0] &&
		    age_at(ring, get(queue, ring, first), ring->head) > step->before - step->leave)
			queue->state[1 + i] = first + 1;
	}
}

static uint32_t oldest_first(const struct mr_window_queue *queue)
{
	uint32_t back = queue->state[0];
	uint32_t longest = 0;

	for (uint32_t i = 0; i < queue->reaches; i++)
		if (back - queue->state[1 + i] > longest)
			longest = back - queue->state[1 + i];
	return back - longest;
}

/* Entries of samples newer than that of 'age', which have moved on by one slot, are told so.
 * Returns the index of the first of them. */
static uint32_t follow_newer(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			     uint32_t first, uint32_t age)
{
	uint32_t index = queue->state[0];

	while (index != first) {
		uint32_t slot = get(queue, ring, index - 1);

		if (age_at(ring, slot, ring->head) > age + 1)
			break;
		put(queue, ring, --index, slot + 1 == ring->capacity ? 0 : slot + 1);
	}
	return index;
}

/* Entries from 'from' on move to 'to' on, one further back at most. */
static void move_entries(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			 uint32_t from, uint32_t to)
{
	uint32_t count = queue->state[0] - from;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = to > from ? count - 1 - i : i;

		put(queue, ring, to + at, get(queue, ring, from + at));
	}
	queue->state[0] = to + count;
}

void mr_window_queue_insert(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			    const struct mr_window_step *steps, uint32_t age)
{
	uint32_t first = oldest_first(queue);
	uint32_t newer = follow_newer(queue, ring, first, age);
	uint32_t slot = mr_window_slot(ring, age);
	double value = ring->values[slot];
	uint32_t at = newer;

	if (newer != queue->state[0] && beaten(queue, value, ring->values[get(queue, ring, newer)]))
		return;
	while (at != first && beaten(queue, ring->values[get(queue, ring, at - 1)], value))
		at--;
	move_entries(queue, ring, newer, at + 1);
	put(queue, ring, at, slot);
	for (uint32_t i = 0; i < queue->reaches; i++) {
		uint32_t *begin = &queue->state[1 + i];

		if (!steps[queue->reach[i]].joins)
			*begin += at + 1 - newer; /* what is newer alone */
		else if ((int32_t)(*begin - at) > 0)
			*begin = at;
	}
}

double mr_window_queue_first(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			     uint32_t index)
{
	return ring->values[get(queue, ring, queue->state[1 + index])];
}

/* From its first entry on: slots of ever newer samples of ever smaller values, up to the newest. */
static bool reach_valid(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			uint32_t first, uint32_t count)
{
	uint32_t back = queue->state[0];
	uint32_t older = count + 1;
	double value = 0;

	if (count == 0)
		return first == back;
	if (back - first == 0 || back - first - 1 > queue->mask)
		return false;
	for (uint32_t index = first; index != back; index++) {
		uint32_t slot = get(queue, ring, index);
		uint32_t age;

		if (slot >= ring->capacity)
			return false;
		age = age_at(ring, slot, ring->head);
		if (age >= older || (index != first && beaten(queue, value, ring->values[slot])))
			return false;
		older = age;
		value = ring->values[slot];
	}
	return older == 1 && value == value;
}

bool mr_window_queue_valid(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			   const uint32_t *counts)
{
	for (uint32_t i = 0; i < queue->reaches; i++)
		if (!reach_valid(queue, ring, queue->state[1 + i], counts[queue->reach[i]]))
			return false;
	return true;
}

/* In four chains, as none of these depends on another; each step is one instruction of x86. */
static double greatest(const double *values, uint32_t count)
{
	double a = values[0], b = a, c = a, d = a;
	uint32_t i = 0;

	for (; i + 4 <= count; i += 4) {
		a = a > values[i] ? a : values[i];
		b = b > values[i + 1] ? b : values[i + 1];
		c = c > values[i + 2] ? c : values[i + 2];
		d = d > values[i + 3] ? d : values[i + 3];
	}
	for (; i < count; i++)
		a = a > values[i] ? a : values[i];
	a = b > a ? b : a;
	c = d > c ? d : c;
	return c > a ? c : a;
}

static double least_of(const double *values, uint32_t count)
{
	double a = values[0], b = a, c = a, d = a;
	uint32_t i = 0;

	for (; i + 4 <= count; i += 4) {
		a = a < values[i] ? a : values[i];
		b = b < values[i + 1] ? b : values[i + 1];
		c = c < values[i + 2] ? c : values[i + 2];
		d = d < values[i + 3] ? d : values[i + 3];
	}
	for (; i < count; i++)
		a = a < values[i] ? a : values[i];
	a = b < a ? b : a;
	c = d < c ? d : c;
	return c < a ? c : a;
}

double mr_window_extreme(const struct mr_window_ring *ring, uint32_t count, bool least)
{
	uint32_t newest = mr_window_slot(ring, 0);
	uint32_t below = newest + 1 < count ? newest + 1 : count; /* slots down from the newest */
	double one, other;

	if (count == 0)
		return NAN;
	if (count == ring->capacity) /* all of it, wherever the newest is */
		return least ? least_of(ring->values, count) : greatest(ring->values, count);
	one = least ? least_of(ring->values + newest + 1 - below, below)
		    : greatest(ring->values + newest + 1 - below, below);
	if (below == count)
		return one;
	other = least ? least_of(ring->values + ring->capacity - (count - below), count - below)
		      : greatest(ring->values + ring->capacity - (count - below), count - below);
	return (least ? other < one : other > one) ? other : one;
}
