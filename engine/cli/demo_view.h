/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the demo shows: the last value of each metric, how many records came, how long heartbeats
 * took to be acknowledged. Pure but for the FILE it prints into; owned by one thread.
 */
#ifndef MR_DEMO_VIEW_H
#define MR_DEMO_VIEW_H

#include <stdint.h>
#include <stdio.h>

#include "millrace.h"

#define MR_DEMO_METRICS_MAX   512
#define MR_DEMO_LATENCIES_MAX 4096

struct mr_demo_metric {
	char name[64];
	char unit[16];
	double value;
};

struct mr_demo_view {
	struct mr_demo_metric metrics[MR_DEMO_METRICS_MAX]; /* sorted by name */
	uint32_t metric_count;
	uint64_t records;			      /* of the topic of metrics */
	uint64_t not_shown;			      /* of those: not understood, or no room */
	uint64_t heartbeats;			      /* acknowledged */
	uint64_t latencies_ns[MR_DEMO_LATENCIES_MAX]; /* of the newest heartbeats, a ring */
	uint64_t rate_records;			      /* at rate_ns */
	uint64_t rate_ns;
	double rate; /* records a second, heartbeats too, over the last second or so */
};

/* A record of the topic of metrics: key is the name, value {"value":12.3,"unit":"%"}. */
void mr_demo_view_record(struct mr_demo_view *view, const struct mr_message *message);

/* A heartbeat was acknowledged that long after it was published. */
void mr_demo_view_heartbeat(struct mr_demo_view *view, uint64_t latency_ns);

/* Reckons the rate anew when a second has gone by. Times are monotonic. */
void mr_demo_view_tick(struct mr_demo_view *view, uint64_t now_ns);

/* The latency that 'percent' of the newest heartbeats do not exceed; 0 where there were none. */
uint64_t mr_demo_view_percentile_ns(const struct mr_demo_view *view, uint32_t percent);

/* The table, at most 'rows' lines and 80 columns; returns how many lines. */
uint32_t mr_demo_view_print(const struct mr_demo_view *view, uint32_t rows, FILE *out);

#endif
