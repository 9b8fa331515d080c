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

/* ---- spreads and lines --------------------------------------------------------------------------
 */

/* Of y = scale x value - centre. */
struct mr_window_spread {
	struct mr_window_pair y, yy;
	double centre; /* near the mean of scale x value when it was made anew */
	double scale;  /* a power of two, that 'yy' neither overflows nor vanishes */
	double peak;   /* the greatest 'yy' since it was made anew */
};

/* The same, and x = time - origin, in milliseconds. */
struct mr_window_fit {
	struct mr_window_spread spread;
	struct mr_window_pair x, xx, xy;
	double peak; /* the greatest 'xx' */
	int64_t origin;
};

bool mr_window_spread_step(struct mr_window_spread *spread, const struct mr_window_ring *ring,
			   const struct mr_window_step *step);
void mr_window_spread_anew(struct mr_window_spread *spread, const struct mr_window_ring *ring,
			   uint32_t count);
double mr_window_spread_stddev(const struct mr_window_spread *spread, uint32_t count);
double mr_window_spread_zscore(const struct mr_window_spread *spread, uint32_t count, double value);

bool mr_window_fit_step(struct mr_window_fit *fit, const struct mr_window_ring *ring,
			const struct mr_window_step *step);
void mr_window_fit_anew(struct mr_window_fit *fit, const struct mr_window_ring *ring,
			uint32_t count);
double mr_window_fit_slope(const struct mr_window_fit *fit, const struct mr_window_ring *ring,
			   uint32_t count);
/* 'ahead_ms' after the newest; NaN: one mean interval. */
double mr_window_fit_at(const struct mr_window_fit *fit, const struct mr_window_ring *ring,
			uint32_t count, double ahead_ms);

/* ---- weights ------------------------------------------------------------------------------------
 */

struct mr_window_weights {
	const double *list; /* newest first; NULL: not known yet */
	uint32_t count;
	double sum;
	double *sums; /* [n]: of the first n; 0 where one of all is negative */
};

double mr_window_weigh(const struct mr_window_ring *ring, uint32_t count,
		       const struct mr_window_weights *weights);

/* All with weights 1, k, k^2 ... from the newest on. */
struct mr_window_ewma {
	double sum; /* of scale x value */
	double weights;
	double absolute; /* of |scale x value| */
	double peak;	 /* the greatest 'absolute', decaying as it does */
	double scale;	 /* as of a sum */
};

bool mr_window_ewma_step(struct mr_window_ewma *ewma, const struct mr_window_ring *ring,
			 const struct mr_window_step *step, double alpha);
void mr_window_ewma_anew(struct mr_window_ewma *ewma, const struct mr_window_ring *ring,
			 uint32_t count, double alpha);
double mr_window_ewma_value(const struct mr_window_ewma *ewma);

/* ---- order --------------------------------------------------------------------------------------
 */

/* 'sorted' are the values of a reach, ascending. */
void mr_window_order_step(double *sorted, const struct mr_window_ring *ring,
			  const struct mr_window_step *step);
double mr_window_order_quantile(const double *sorted, uint32_t count, double quantile);
double mr_window_order_mad(const double *sorted, uint32_t count);
/* The values of the newest 'count' samples, ascending? */
bool mr_window_order_valid(const double *sorted, const struct mr_window_ring *ring, uint32_t count);

/* ---- between two samples ------------------------------------------------------------------------
 */

/* a + part x (b - a), without leaving the range of doubles on the way. */
static inline double mr_window_between(double a, double b, double part)
{
	return (a < 0) == (b < 0) ? a + part * (b - a) : a * (1 - part) + b * part;
}

/* Mean milliseconds from a sample to the next; NaN below two samples or if no time passes. */
double mr_window_interval(const struct mr_window_ring *ring, uint32_t count);
/* 'ahead_ms' after the newest; NaN: one mean interval. */
double mr_window_line_at(const struct mr_window_ring *ring, uint32_t count, double ahead_ms);
double mr_window_delta(const struct mr_window_ring *ring, uint32_t count);
double mr_window_rate(const struct mr_window_ring *ring, uint32_t count);

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
/* The ring has a late sample of that age, since which those that are newer are one slot further;
 * what it pushed out of a reach has left already. As many steps as samples are newer. */
void mr_window_queue_insert(const struct mr_window_queue *queue, const struct mr_window_ring *ring,
			    const struct mr_window_step *steps, uint32_t age);
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
