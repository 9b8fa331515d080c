/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: the demo shows the last value of each metric, and latencies that were measured.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "demo_view.h"

static struct mr_demo_view view; /* large */

static void record(const char *key, const char *value)
{
	struct mr_message message = {
		.key = key,
		.key_bytes = key ? (int32_t)strlen(key) : MR_NULL_BYTES,
		.value = value,
		.value_bytes = value ? (int32_t)strlen(value) : MR_NULL_BYTES,
	};

	mr_demo_view_record(&view, &message);
}

static char *text_of(uint32_t rows, uint32_t *lines)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	*lines = mr_demo_view_print(&view, rows, out);
	fclose(out);
	return text;
}

static uint32_t count_lines(const char *text)
{
	uint32_t lines = 0;

	while ((text = strchr(text, '\n'))) {
		lines++;
		text++;
	}
	return lines;
}

Test(demo_view, keeps_the_last_value_of_each_metric_sorted)
{
	record("b", "{\"value\":1,\"unit\":\"%\"}");
	record("c", "{\"value\":2,\"unit\":\"%\"}");
	record("a", "{\"value\":3.5,\"unit\":\"tasks\"}");
	record("b", "{\"value\":4,\"unit\":\"%\"}");
	cr_assert_eq(view.records, 4);
	cr_assert_eq(view.metric_count, 3);
	cr_assert_str_eq(view.metrics[0].name, "a");
	cr_assert_eq(view.metrics[0].value, 3.5);
	cr_assert_str_eq(view.metrics[0].unit, "tasks");
	cr_assert_str_eq(view.metrics[1].name, "b");
	cr_assert_eq(view.metrics[1].value, 4);
	cr_assert_eq(view.not_shown, 0);
}

Test(demo_view, counts_what_it_does_not_understand)
{
	char long_key[100];

	memset(long_key, 'k', sizeof(long_key));
	long_key[99] = '\0';
	record(NULL, "{\"value\":1,\"unit\":\"%\"}");
	record("", "{\"value\":1,\"unit\":\"%\"}");
	record(long_key, "{\"value\":1,\"unit\":\"%\"}");
	record("k", NULL);
	record("k", "");
	record("k", "no json");
	record("k", "[1]");
	record("k", "{\"value\":\"1\",\"unit\":\"%\"}");
	record("k", "{\"value\":1}");
	cr_assert_eq(view.records, 9);
	cr_assert_eq(view.not_shown, 9);
	cr_assert_eq(view.metric_count, 0);
}

Test(demo_view, has_room_for_so_many_and_no_more)
{
	char key[16];

	for (int i = 0; i < MR_DEMO_METRICS_MAX + 10; i++) {
		snprintf(key, sizeof(key), "m%d", i);
		record(key, "{\"value\":1,\"unit\":\"%\"}");
	}
	cr_assert_eq(view.metric_count, MR_DEMO_METRICS_MAX);
	cr_assert_eq(view.not_shown, 10);
	record("m5", "{\"value\":9,\"unit\":\"%\"}");
	cr_assert_eq(view.not_shown, 10, "a known one still has its row");
}

Test(demo_view, percentiles_are_measured_values)
{
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 50), 0, "nothing was measured");
	mr_demo_view_heartbeat(&view, 7);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 1), 7);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 100), 7);
	view.heartbeats = 0;
	for (uint64_t i = 100; i >= 1; i--)
		mr_demo_view_heartbeat(&view, i);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 50), 50);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 99), 99);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 100), 100);
}

Test(demo_view, percentiles_are_of_the_newest)
{
	for (int i = 0; i < MR_DEMO_LATENCIES_MAX; i++)
		mr_demo_view_heartbeat(&view, 1000);
	for (int i = 0; i < MR_DEMO_LATENCIES_MAX; i++)
		mr_demo_view_heartbeat(&view, 1);
	cr_assert_eq(mr_demo_view_percentile_ns(&view, 100), 1);
	cr_assert_eq(view.heartbeats, 2 * MR_DEMO_LATENCIES_MAX);
}

Test(demo_view, the_rate_is_that_of_the_last_second)
{
	mr_demo_view_tick(&view, 1000000000);
	cr_assert_eq(view.rate, 0);
	view.records = 50;
	view.heartbeats = 50;
	mr_demo_view_tick(&view, 1500000000);
	cr_assert_eq(view.rate, 0, "not a second yet");
	mr_demo_view_tick(&view, 3000000000);
	cr_assert_eq(view.rate, 50);
	mr_demo_view_tick(&view, 4000000000);
	cr_assert_eq(view.rate, 0);
}

Test(demo_view, the_table_fits_its_rows_and_80_columns)
{
	char key[80];

	for (int i = 0; i < 41; i++) {
		snprintf(key, sizeof(key), "a.metric.with.a.name.that.is.long.%d", i);
		record(key, "{\"value\":123456789012345,\"unit\":\"bytes/s\"}");
	}
	for (uint32_t rows = 0; rows < 40; rows++) {
		uint32_t lines;
		char *text = text_of(rows, &lines);

		cr_assert_eq(count_lines(text), lines);
		cr_assert(lines <= rows || lines == 3, "%u lines in %u rows", lines, rows);
		for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
			cr_assert_leq(strcspn(line, "\n"), 80, "%s", line);
		free(text);
	}
}

Test(demo_view, sizes_are_shown_in_powers_of_1024)
{
	uint32_t lines;
	char *text;

	record("m", "{\"value\":1536,\"unit\":\"bytes\"}");
	record("n", "{\"value\":3221225472,\"unit\":\"bytes/s\"}");
	record("o", "{\"value\":12.345,\"unit\":\"%\"}");
	text = text_of(30, &lines);
	cr_assert(strstr(text, "1.5 KiB"), "%s", text);
	cr_assert(strstr(text, "3.0 GiB/s"), "%s", text);
	cr_assert(strstr(text, "12.3"), "%s", text);
	cr_assert_eq(lines, 5);
	free(text);
}
