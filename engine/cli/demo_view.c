/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the demo shows. Pure but for the FILE it prints into; owned by one thread.
 */
#include "demo_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#define RATE_NS	     UINT64_C(1000000000)
#define HEADER_LINES 3u
#define COLUMNS	     2u /* of metrics */

/* Where 'name' stands, or would. */
static uint32_t place_of(const struct mr_demo_view *view, const char *name)
{
	uint32_t low = 0;
	uint32_t high = view->metric_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(view->metrics[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The row of 'name', made if need be; NULL: no room. */
static struct mr_demo_metric *row_of(struct mr_demo_view *view, const char *name)
{
	uint32_t place = place_of(view, name);
	struct mr_demo_metric *row = &view->metrics[place];

	if (place < view->metric_count && strcmp(row->name, name) == 0)
		return row;
	if (view->metric_count == MR_DEMO_METRICS_MAX)
		return NULL;
	memmove(row + 1, row, (view->metric_count - place) * sizeof(*row));
	view->metric_count++;
	*row = (struct mr_demo_metric){0};
	snprintf(row->name, sizeof(row->name), "%s", name);
	return row;
}

static void set_row(struct mr_demo_view *view, const char *name, const json_t *json)
{
	const json_t *value = json_object_get(json, "value");
	const char *unit = json_string_value(json_object_get(json, "unit"));
	struct mr_demo_metric *row = NULL;

	if (json_is_number(value) && unit)
		row = row_of(view, name);
	if (!row) {
		view->not_shown++;
		return;
	}
	row->value = json_number_value(value);
	snprintf(row->unit, sizeof(row->unit), "%s", unit);
}

void mr_demo_view_record(struct mr_demo_view *view, const struct mr_message *message)
{
	char name[sizeof(view->metrics[0].name)];
	json_t *json = NULL;

	view->records++;
	if (message->key_bytes <= 0 || message->key_bytes >= (int32_t)sizeof(name) ||
	    message->value_bytes <= 0) {
		view->not_shown++;
		return;
	}
	memcpy(name, message->key, (size_t)message->key_bytes);
	name[message->key_bytes] = '\0';
	json = json_loadb(message->value, (size_t)message->value_bytes, 0, NULL);
	set_row(view, name, json);
	json_decref(json);
}

void mr_demo_view_heartbeat(struct mr_demo_view *view, uint64_t latency_ns)
{
	view->latencies_ns[view->heartbeats++ % MR_DEMO_LATENCIES_MAX] = latency_ns;
}

void mr_demo_view_tick(struct mr_demo_view *view, uint64_t now_ns)
{
	uint64_t records = view->records + view->heartbeats;

	if (view->rate_ns && now_ns - view->rate_ns < RATE_NS)
		return;
	if (view->rate_ns)
		view->rate = (double)(records - view->rate_records) * 1e9 /
			     (double)(now_ns - view->rate_ns);
	view->rate_ns = now_ns;
	view->rate_records = records;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t mr_demo_view_percentile_ns(const struct mr_demo_view *view, uint32_t percent)
{
	uint64_t sorted[MR_DEMO_LATENCIES_MAX];
	uint64_t count =
		view->heartbeats < MR_DEMO_LATENCIES_MAX ? view->heartbeats : MR_DEMO_LATENCIES_MAX;
	uint64_t rank = (count * percent + 99) / 100;

	mr_assert(percent >= 1);
	mr_assert(percent <= 100);
	if (count == 0)
		return 0;
	memcpy(sorted, view->latencies_ns, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), by_size);
	return sorted[rank - 1];
}

/* "1.4 GiB/s", "12.3 %" */
static void value_text(const struct mr_demo_metric *metric, char *text, size_t bytes)
{
	static const char *const sizes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
	double value = metric->value;
	size_t size = 0;

	if (strncmp(metric->unit, "bytes", 5) != 0) {
		snprintf(text, bytes, "%.2f %s", value, metric->unit);
		return;
	}
	while (value >= 1024 && size + 1 < mr_array_count(sizes)) {
		value /= 1024;
		size++;
	}
	snprintf(text, bytes, "%.1f %sB%s", value, sizes[size], metric->unit + 5);
}

static void print_metric(const struct mr_demo_metric *metric, FILE *out)
{
	char text[48];

	value_text(metric, text, sizeof(text));
	fprintf(out, "  %-21.21s %14.14s", metric->name, text);
}

uint32_t mr_demo_view_print(const struct mr_demo_view *view, uint32_t rows, FILE *out)
{
	uint32_t lines = (view->metric_count + COLUMNS - 1) / COLUMNS;

	uint32_t room = rows > HEADER_LINES ? rows - HEADER_LINES : 0;

	if (lines > room)
		lines = room;
	fprintf(out,
		"records   %" PRIu64 " of topic 'host', %" PRIu64 " heartbeats, %.0f/s together\n",
		view->records, view->heartbeats, view->rate);
	fprintf(out, "latency   publish to acknowledged, durable: p50 %.3f ms, p99 %.3f ms\n",
		(double)mr_demo_view_percentile_ns(view, 50) / 1e6,
		(double)mr_demo_view_percentile_ns(view, 99) / 1e6);
	fprintf(out, "values    %" PRIu32 " metrics of this host, the last of each\n",
		view->metric_count);
	for (uint32_t line = 0; line < lines; line++) {
		/* down the first column, then down the next */
		for (uint32_t at = line; at < view->metric_count && at < lines * COLUMNS;
		     at += lines)
			print_metric(&view->metrics[at], out);
		putc('\n', out);
	}
	return lines + HEADER_LINES;
}
