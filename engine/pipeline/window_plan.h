/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the windows: what a plan knows, and where everything is in a block.
 *
 *	header		struct mr_window_block
 *	u32		one for each reach by time or tumbling: its samples now
 *	u32		indices of the two queues
 *	parts		sums, spreads, lines, ewmas, results of tumbling windows
 *	queues		slots, oldest first
 *	values		double, a ring
 *	times		int64, the same ring
 *	orders		double, sorted values, for each reach that needs them
 *
 * The first five have the same size in all blocks of a plan, but for queues of reaches by time. So
 * what a push of a short window by count touches lies together.
 */
#ifndef MR_WINDOW_PLAN_H
#define MR_WINDOW_PLAN_H

#include "window.h"
#include "window_parts.h"

#define MR_WINDOW_CAPACITY_MAX (1u << 30)
/* Parts are made anew after so many pushes, or as many as the block has room for. */
#define MR_WINDOW_ANEW_PUSHES (1u << 16)

/* A maximum of so few samples is looked for among them. */
#define MR_WINDOW_SCANNED 16

struct mr_window_block {
	uint32_t capacity;
	uint32_t samples;
	uint32_t head;	  /* slot of the next sample */
	uint32_t anew_in; /* pushes until parts are made anew */
};

/* What keeps a reach's results cheap; a queue and an order are not among them. */
enum mr_window_part {
	MR_WINDOW_PART_SUM,
	MR_WINDOW_PART_SPREAD,
	MR_WINDOW_PART_FIT,
	MR_WINDOW_PART_EWMA,
	MR_WINDOW_PARTS,
};

struct mr_window_part_kind {
	uint32_t bytes; /* a multiple of 8 */
	bool (*step)(void *part, const struct mr_window_ring *ring,
		     const struct mr_window_step *step, double parameter);
	void (*anew)(void *part, const struct mr_window_ring *ring, uint32_t count,
		     double parameter);
};
extern const struct mr_window_part_kind mr_window_part_kinds[MR_WINDOW_PARTS];
/* The kind that a function needs, or MR_WINDOW_PARTS. */
enum mr_window_part mr_window_part_of(enum mr_window_fn fn);
bool mr_window_needs_order(enum mr_window_fn fn);
static inline bool mr_window_needs_queue(const struct mr_window_spec *spec)
{
	return (spec->fn == MR_WINDOW_MAX || spec->fn == MR_WINDOW_MIN) &&
	       (spec->extent == MR_WINDOW_BY_TIME ||
		(spec->extent == MR_WINDOW_BY_COUNT && spec->count > MR_WINDOW_SCANNED));
}

struct mr_window_part_place {
	enum mr_window_part kind;
	uint32_t reach;
	uint32_t at; /* byte of the block */
	double parameter;
};

/* A distinct extent of the plan. */
struct mr_window_reach {
	enum mr_window_extent extent;
	uint32_t count;
	int64_t span_ms;
	uint32_t at; /* byte of the block: its samples now; unless by count */
};

struct mr_window_queue_place {
	uint32_t at;	/* byte of the block: its indices */
	uint32_t slots; /* 0: there is none; UINT32_MAX: as many as the block has room for */
	uint32_t count; /* reaches */
	uint32_t reaches[MR_WINDOWS_MAX];
};

/* Sorted values; where they begin, in doubles: fixed + by_capacity x the block's capacity. */
struct mr_window_order_place {
	uint32_t reach;
	uint32_t fixed, by_capacity;
};

struct mr_window_planned {
	struct mr_window_spec spec;
	uint32_t reach;
	uint32_t at; /* byte of its part; of its result if TUMBLING; else index in the queue */
	uint32_t order;
	uint32_t most; /* samples, BY_COUNT; else 0 */
	bool queued; /* the result is the first of a queue */
	struct mr_window_weights weights;
};

/* Where things are in a block with room for so many samples, in bytes from its start. */
struct mr_window_layout {
	uint32_t capacity;
	uint32_t queue_masks[2]; /* slots less one */
	size_t queues[2];
	size_t values, times, orders;
	size_t bytes;
};

struct mr_window_plan {
	struct mr_window_layout layout; /* of a new block, which most stay */
	uint32_t spec_count;
	uint32_t reach_count;
	uint32_t part_count; /* of sliding windows */
	uint32_t order_count;
	uint32_t count_max; /* of reaches by count */
	uint32_t fixed_bytes;
	bool by_time; /* some reach is by time or tumbling */
	bool tumbling;
	bool bare; /* samples are all that is kept: reaches by count, and nothing beside */
	struct mr_window_queue_place queues[2]; /* of max, of min */
	struct mr_window_reach reaches[MR_WINDOWS_MAX];
	struct mr_window_part_place parts[MR_WINDOWS_MAX];
	struct mr_window_order_place orders[MR_WINDOWS_MAX + 1]; /* the last says where they end */
	struct mr_window_planned specs[MR_WINDOWS_MAX];
};

void mr_window_plan_layout(const struct mr_window_plan *plan, uint32_t capacity,
			   struct mr_window_layout *layout);

/* What a block's bytes mean, for the time of a call. */
struct mr_window_view {
	const struct mr_window_plan *plan;
	struct mr_window_block *block;
	const struct mr_window_layout *layout;
	double *values;
	int64_t *times;
	struct mr_window_ring ring;
	struct mr_window_layout other; /* than the plan's */
};

static inline void *mr_window_view_at(const struct mr_window_view *view, size_t at)
{
	return (uint8_t *)view->block + at;
}

static inline void mr_window_view_open(struct mr_window_view *view,
				       const struct mr_window_plan *plan, const void *block)
{
	view->plan = plan;
	view->block = (struct mr_window_block *)block;
	view->layout = &plan->layout;
	if (view->block->capacity != plan->layout.capacity) {
		mr_window_plan_layout(plan, view->block->capacity, &view->other);
		view->layout = &view->other;
	}
	view->values = mr_window_view_at(view, view->layout->values);
	view->times = mr_window_view_at(view, view->layout->times);
	view->ring = (struct mr_window_ring){view->values, view->times, view->block->capacity,
					     view->block->head};
}

/* 0: of max, 1: of min; the plan has it. */
static inline struct mr_window_queue mr_window_view_queue(const struct mr_window_view *view,
							  uint32_t which)
{
	const struct mr_window_queue_place *place = &view->plan->queues[which];

	return (struct mr_window_queue){
		.state = mr_window_view_at(view, place->at),
		.slots = mr_window_view_at(view, view->layout->queues[which]),
		.mask = view->layout->queue_masks[which],
		.reaches = place->count,
		.reach = place->reaches,
		.least = which == 1,
	};
}

/* Result of one window over the newest 'count' samples, by a part made for the call; what is sorted
 * for it are just these. */
double mr_window_result_anew(const struct mr_window_view *view,
			     const struct mr_window_planned *planned, uint32_t count);

static inline double *mr_window_view_order(const struct mr_window_view *view, uint32_t order)
{
	const struct mr_window_order_place *place = &view->plan->orders[order];

	return (double *)mr_window_view_at(view, view->layout->orders) + place->fixed +
	       (size_t)place->by_capacity * view->ring.capacity;
}

static inline uint32_t mr_window_view_count(const struct mr_window_view *view, uint32_t reach)
{
	const struct mr_window_reach *r = &view->plan->reaches[reach];
	uint32_t samples = view->block->samples;

	if (r->extent == MR_WINDOW_BY_COUNT)
		return r->count < samples ? r->count : samples;
	return *(const uint32_t *)mr_window_view_at(view, r->at);
}

#endif
