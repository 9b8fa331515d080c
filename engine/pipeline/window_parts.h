/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the windows: the samples of a block as the parts see them, and the parts, each of which
 * keeps for one reach (so many of the newest samples) what makes its results cheap. A part is told
 * of each sample that comes and of those that leave before the ring changes; where that would cost
 * it its accuracy it says so, and is made anew from the samples after the ring has changed. How
 * often that can be is bounded: see each file.
 *
 *	window_sums.c		sum, mean
 *	window_spread.c		stddev, zscore; slope and the least-squares line
 *	window_weigh.c		weighted average, ewma
 *	window_extreme.c	max, min
 *	window_order.c		median, quantile, mad
 *	window_line.c		the value between samples, delta, rate
 */
#ifndef MR_WINDOW_PARTS_H
#define MR_WINDOW_PARTS_H

#include <stdbool.h>
#include <stdint.h>

/* A sample's age is the number of samples that are newer: 0 is the newest. */
struct mr_window_ring {
	const double *values;
	const int64_t *times;
	uint32_t capacity; /* below 2^31 */
	uint32_t head;	   /* slot of the next sample, < capacity */
};

static inline uint32_t mr_window_slot(const struct mr_window_ring *ring, uint32_t age)
{
	uint32_t slot = ring->head - 1 - age;

	return slot + (ring->capacity & (0u - (slot >> 31)));
}

static inline double mr_window_value(const struct mr_window_ring *ring, uint32_t age)
{
	return ring->values[mr_window_slot(ring, age)];
}

static inline int64_t mr_window_time(const struct mr_window_ring *ring, uint32_t age)
{
	return ring->times[mr_window_slot(ring, age)];
}

/* later - earlier, of any two times; exact below 2^53. */
static inline double mr_window_apart(int64_t later, int64_t earlier)
{
	return later >= earlier ? (double)((uint64_t)later - (uint64_t)earlier)
				: -(double)((uint64_t)earlier - (uint64_t)later);
}

/* What happens to a reach: of 'before' samples the oldest 'leave', and a new one joins, or not. */
struct mr_window_step {
	uint32_t before, leave, after;
	bool joins;
	int64_t time_ms;
	double value;
};

/* A sum whose roundings are kept: high + low. */
struct mr_window_pair {
	double high, low;
};

/* Neumaier's form of Kahan's sum: the rounding of each addition is exact (Knuth's two-sum). */
static inline void mr_window_pair_add(struct mr_window_pair *pair, double x)
{
	double high = pair->high + x;
	double back = high - pair->high;

	pair->low += (pair->high - (high - back)) + (x - back);
	pair->high = high;
}

static inline double mr_window_pair_total(const struct mr_window_pair *pair)
{
	return pair->high + pair->low;
}

/* ---- sums ---------------------------------------------------------------------------------------
 */

struct mr_window_sum {
	struct mr_window_pair sum; /* of scale x value */
	double absolute;	   /* of |scale x value| */
	double peak;		   /* the greatest 'absolute' since it was made anew */
	double scale;		   /* 1, or less where the sum would leave the range of doubles */
};

/* True: make it anew once the ring holds the new sample. */
bool mr_window_sum_step(struct mr_window_sum *sum, const struct mr_window_ring *ring,
			const struct mr_window_step *step);
void mr_window_sum_anew(struct mr_window_sum *sum, const struct mr_window_ring *ring,
			uint32_t count);
double mr_window_sum_total(const struct mr_window_sum *sum);
double mr_window_sum_mean(const struct mr_window_sum *sum, uint32_t count);

/* ---- weights ------------------------------------------------------------------------------------
 */

struct mr_window_weights {
	const double *list; /* newest first; NULL: not known yet */
	uint32_t count;
	double sum;
};

double mr_window_weigh(const struct mr_window_ring *ring, uint32_t count,
		       const struct mr_window_weights *weights);

/* ---- extremes -----------------------------------------------------------------------------------
 */

/*
 * The slots of those samples after which none is as great (or as small), oldest first: one queue
 * for all reaches, as that of a shorter one is the end of that of a longer one. state[0] is the
 * index one behind the newest, state[1 ...] those of the first entry of each reach; indices are
 * free-running.
 */
struct mr_window_queue {
	uint32_t *state;
	void *slots; /* mask + 1 of them, of 4 bytes if the ring has more than 2^16 slots, else 2 */
	uint32_t mask;
	uint32_t reaches;
	const uint32_t *reach; /* which, of each */
	bool least;
};

/* Before the ring holds the new sample; steps[] are those of all reaches of the plan. */
void mr_window_queue_step(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			  const struct mr_window_step *steps);
/* The same where samples only leave, one each at most. */
void mr_window_queue_leave(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			   const struct mr_window_step *steps);
/* counts[] are the samples of all reaches of the plan. */
void mr_window_queue_anew(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			  const uint32_t *counts);
/* Of the reach that is number 'index' of the queue's, which has a sample. */
double mr_window_queue_first(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			     uint32_t index);
/* One made by these calls for these counts, or one that is as good? */
bool mr_window_queue_valid(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			   const uint32_t *counts);
/* Of the newest 'count' samples, by looking at all. */
double mr_window_extreme(const struct mr_window_ring *ring, uint32_t count, bool least);

#endif
