/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state by which one key's values are judged, and the judgement (clean.h has the rules). Pure;
 * any thread; what is not asked for has no room in the block.
 *
 *	block = head | recent values with their times, a ring | values for the spike, a ring, and
 *		the order of its slots by value
 *
 * The order is kept rather than found: a new value takes one slot's place in it. So the median is
 * read off, and the median of the deviations is found from the middle outward.
 */
#include "clean.h"

#include <string.h>

#include "check.h"

#define RECENT	   8u
#define SPREAD	   32u
#define SPREAD_MIN 8u

const char *const mr_clean_verdict_names[MR_CLEAN_VERDICTS] = {
	"keep", "missing", "range", "late", "duplicate", "spike", "unchanged"};

struct head {
	int64_t newest_ms; /* of what was not late */
	double last;	   /* the last kept value */
	uint8_t has_newest;
	uint8_t has_last;
	uint8_t recent_count;
	uint8_t recent_next; /* the slot that is written next: the oldest, once all are full */
	uint8_t spread_count;
	uint8_t spread_next;
	uint8_t reserved[2]; /* zero */
};

struct recent {
	int64_t time_ms;
	double value;
};

struct spread {
	double values[SPREAD];
	uint8_t order[SPREAD]; /* slots by value, 'spread_count' of them; zero behind */
};

/* ---- the block ----------------------------------------------------------------------------- */

static size_t recent_bytes(const struct mr_clean_spec *spec)
{
	return spec->drop_duplicate ? RECENT * sizeof(struct recent) : 0;
}

static bool wants_spread(const struct mr_clean_spec *spec)
{
	return spec->spike_mads > 0;
}

size_t mr_clean_block_bytes(const struct mr_clean_spec *spec)
{
	return sizeof(struct head) + recent_bytes(spec) +
	       (wants_spread(spec) ? sizeof(struct spread) : 0);
}

void mr_clean_block_init(const struct mr_clean_spec *spec, void *block)
{
	memset(block, 0, mr_clean_block_bytes(spec));
}

static struct recent *recent_of(void *block)
{
	return (struct recent *)((struct head *)block + 1);
}

static struct spread *spread_of(const struct mr_clean_spec *spec, void *block)
{
	return (struct spread *)((char *)((struct head *)block + 1) + recent_bytes(spec));
}

static bool recent_valid(const struct head *head)
{
	if (head->recent_count > RECENT || head->recent_next >= RECENT)
		return false;
	return head->recent_count == RECENT || head->recent_next == head->recent_count;
}

/* Every slot once, in the order of the values, none of which is NaN. */
static bool spread_valid(const struct head *head, const struct spread *spread)
{
	uint32_t seen = 0;

	if (head->spread_count > SPREAD || head->spread_next >= SPREAD ||
	    (head->spread_count < SPREAD && head->spread_next != head->spread_count))
		return false;
	for (uint32_t i = 0; i < head->spread_count; i++) {
		uint8_t slot = spread->order[i];

		if (slot >= head->spread_count || seen & UINT32_C(1) << slot ||
		    !isfinite(spread->values[slot]))
			return false;
		if (i > 0 && spread->values[spread->order[i - 1]] > spread->values[slot])
			return false;
		seen |= UINT32_C(1) << slot;
	}
	return true;
}

bool mr_clean_block_valid(const struct mr_clean_spec *spec, const void *block)
{
	const struct head *head = block;
	const char *behind = (const char *)(head + 1) + recent_bytes(spec);

	if (head->has_newest > 1 || head->has_last > 1)
		return false;
	if (spec->drop_duplicate ? !recent_valid(head) : head->recent_count || head->recent_next)
		return false;
	if (!wants_spread(spec))
		return !head->spread_count && !head->spread_next;
	return spread_valid(head, (const struct spread *)behind);
}

/* ---- the checks ------------------------------------------------------------------------------ */

static bool is_late(const struct mr_clean_spec *spec, const struct head *head, int64_t time_ms)
{
	int64_t behind;

	if (!head->has_newest || spec->max_late_ms == INT64_MAX || time_ms >= head->newest_ms)
		return false;
	/* A distance that is no int64_t is greater than any bound. */
	return __builtin_sub_overflow(head->newest_ms, time_ms, &behind) ||
	       behind > spec->max_late_ms;
}

static void note_time(struct head *head, int64_t time_ms)
{
	if (!head->has_newest || time_ms > head->newest_ms)
		head->newest_ms = time_ms;
	head->has_newest = 1;
}

/* Whether it was said before; if not, it is remembered. */
static bool is_duplicate(struct head *head, struct recent *recent, int64_t time_ms, double value)
{
	for (uint32_t i = 0; i < head->recent_count; i++) {
		if (recent[i].time_ms == time_ms && recent[i].value == value)
			return true;
	}
	recent[head->recent_next] = (struct recent){time_ms, value};
	head->recent_next = (uint8_t)((head->recent_next + 1) % RECENT);
	if (head->recent_count < RECENT)
		head->recent_count++;
	return false;
}

static inline double ranked(const struct spread *spread, uint32_t rank)
{
	return spread->values[spread->order[rank]];
}

static inline double middle(double a, double b)
{
	return a / 2 + b / 2; /* their sum may be too great */
}

static double median(const struct spread *spread, uint32_t count)
{
	if (count % 2)
		return ranked(spread, count / 2);
	return middle(ranked(spread, count / 2 - 1), ranked(spread, count / 2));
}

/* Deviations grow in both directions from the median: the two ends are merged. */
static double median_deviation(const struct spread *spread, uint32_t count, double centre)
{
	uint32_t above = (count + 1) / 2; /* the next one on each side */
	uint32_t below = above;		  /* + 1 */
	double before = 0, now = 0;

	for (uint32_t i = 0; i <= count / 2; i++) {
		double up = above < count ? ranked(spread, above) - centre : (double)INFINITY;
		double down = below > 0 ? centre - ranked(spread, below - 1) : (double)INFINITY;

		before = now;
		if (below > 0 && (down <= up || above == count)) {
			now = down;
			below--;
		} else {
			now = up;
			above++;
		}
	}
	return count % 2 ? now : middle(before, now);
}

static bool is_spike(const struct mr_clean_spec *spec, const struct head *head,
		     const struct spread *spread, double value)
{
	double centre, mad;

	if (head->spread_count < SPREAD_MIN)
		return false;
	centre = median(spread, head->spread_count);
	mad = median_deviation(spread, head->spread_count, centre);
	return fabs(value - centre) > spec->spike_mads * fmax(mad, spec->spike_floor);
}

/* In the place of the oldest, once there are enough. */
static void note_value(struct head *head, struct spread *spread, double value)
{
	uint32_t slot = head->spread_next;
	uint32_t count = head->spread_count;
	uint32_t rank = 0;

	if (count == SPREAD) {
		while (spread->order[rank] != slot)
			rank++;
		count--;
		memmove(spread->order + rank, spread->order + rank + 1, count - rank);
	}
	for (rank = count; rank > 0 && ranked(spread, rank - 1) > value; rank--)
		spread->order[rank] = spread->order[rank - 1];
	spread->order[rank] = (uint8_t)slot;
	spread->values[slot] = value;
	head->spread_count = (uint8_t)(count + 1);
	head->spread_next = (uint8_t)((slot + 1) % SPREAD);
}

bool mr_clean_asks(const struct mr_clean_spec *spec)
{
	return !isnan(spec->low) || !isnan(spec->high) || spec->max_late_ms != INT64_MAX ||
	       spec->drop_duplicate || spec->drop_unchanged || wants_spread(spec);
}

/* Of a value that came as far as the spikes. */
static enum mr_clean_verdict judge(const struct mr_clean_spec *spec, struct head *head,
				   const struct spread *spread, double value)
{
	if (wants_spread(spec) && is_spike(spec, head, spread, value))
		return MR_CLEAN_SPIKE;
	if (spec->drop_unchanged && head->has_last && head->last == value)
		return MR_CLEAN_UNCHANGED;
	return MR_CLEAN_KEEP;
}

enum mr_clean_verdict mr_clean_check(const struct mr_clean_spec *spec, void *block, int64_t time_ms,
				     double value)
{
	struct spread *spread = spread_of(spec, block);
	struct head *head = block;
	enum mr_clean_verdict verdict;

	if (mr_clean_missing(value) != MR_CLEAN_KEEP)
		return MR_CLEAN_MISSING;
	if (value < spec->low || value > spec->high)
		return MR_CLEAN_RANGE;
	if (is_late(spec, head, time_ms))
		return MR_CLEAN_LATE;
	note_time(head, time_ms);
	if (spec->drop_duplicate && is_duplicate(head, recent_of(block), time_ms, value))
		return MR_CLEAN_DUPLICATE;
	verdict = judge(spec, head, spread, value);
	if (wants_spread(spec) && verdict != MR_CLEAN_UNCHANGED)
		note_value(head, spread, value);
	if (verdict == MR_CLEAN_KEEP) {
		head->last = value;
		head->has_last = 1;
	}
	return verdict;
}
