/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: the summary says no more than receipts and the producer's state told. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "put_report.h"

static char *text_of(void (*print)(const struct mr_put_report *, FILE *),
		     const struct mr_put_report *report)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	print(report, out);
	fclose(out);
	return text;
}

static void receive(struct mr_put_report *report, int32_t partition, uint64_t base, uint64_t count)
{
	struct mr_receipt receipt = {.partition = partition, .base_offset = base, .count = count};

	mr_put_report_receipt(report, &receipt);
}

Test(put_report, tells_offsets_per_partition)
{
	struct mr_put_report report;
	char *text;

	mr_put_report_init(&report, "trades", MR_ACKS_COMMITTED, false);
	receive(&report, 2, 100, 10);
	receive(&report, 0, 7, 1);
	receive(&report, 2, 120, 5);
	report.published = 16;
	report.acknowledged = 16;
	report.elapsed_ns = 2000000000;
	text = text_of(mr_put_report_print, &report);
	cr_assert(strstr(text, "16 records published into 'trades' in 2.000 s, 8/s\n"), "%s", text);
	cr_assert(strstr(text, "16 acknowledged as committed: durable"), "%s", text);
	cr_assert(strstr(text, "partition 0: 1 records, offsets 7 to 7\n"), "%s", text);
	cr_assert(strstr(text, "partition 2: 15 records, offsets 100 to 124\n"), "%s", text);
	cr_assert_null(strstr(text, "partition 1"));
	cr_assert_null(strstr(text, "bad"));
	cr_assert_null(strstr(text, "lost"));
	free(text);
	mr_put_report_deinit(&report);
}

Test(put_report, never_makes_up_an_offset)
{
	struct mr_put_report report;
	char *text;

	mr_put_report_init(&report, "t", MR_ACKS_MEMORY, false);
	receive(&report, 0, MR_OFFSET_UNKNOWN, 10);
	text = text_of(mr_put_report_print, &report);
	cr_assert(strstr(text, "partition 0: 10 records (offsets of 10 not known)\n"), "%s", text);
	free(text);
	receive(&report, 0, 50, 2);
	text = text_of(mr_put_report_print, &report);
	cr_assert(strstr(text, "partition 0: 12 records, offsets 50 to 51 (offsets of 10 not "
			       "known)\n"),
		  "%s", text);
	free(text);
	mr_put_report_deinit(&report);
}

Test(put_report, tells_losses_bad_lines_and_an_early_end)
{
	struct mr_put_report report;
	char *text;

	mr_put_report_init(&report, "t", MR_ACKS_MEMORY, false);
	report.lost = 3;
	report.bad = 2;
	report.stopped = true;
	text = text_of(mr_put_report_print, &report);
	cr_assert(strstr(text, "3 of them were lost"), "%s", text);
	cr_assert(strstr(text, "2 bad lines left out"), "%s", text);
	cr_assert(strstr(text, "stopped before the end"), "%s", text);
	cr_assert(strstr(text, "memory: lost if"), "%s", text);
	free(text);
	mr_put_report_deinit(&report);
}

Test(put_report, json_says_the_same)
{
	struct mr_put_report report;
	const json_t *partition;
	json_t *json;
	char *text;

	mr_put_report_init(&report, "t\"x", MR_ACKS_DISK, false);
	receive(&report, 1, 9, 3);
	receive(&report, 3, MR_OFFSET_UNKNOWN, 4);
	report.published = 7;
	report.acknowledged = 6;
	report.elapsed_ns = 500000000;
	text = text_of(mr_put_report_json, &report);
	json = json_loads(text, 0, NULL);
	cr_assert_not_null(json, "%s", text);
	cr_assert_str_eq(json_string_value(json_object_get(json, "topic")), "t\"x");
	cr_assert_str_eq(json_string_value(json_object_get(json, "acks")), "disk");
	cr_assert_eq(json_integer_value(json_object_get(json, "published")), 7);
	cr_assert_eq(json_integer_value(json_object_get(json, "acknowledged")), 6);
	cr_assert_eq(json_real_value(json_object_get(json, "records_per_second")), 14);
	cr_assert(json_is_false(json_object_get(json, "stopped")));
	cr_assert_eq(json_array_size(json_object_get(json, "partitions")), 2);
	partition = json_array_get(json_object_get(json, "partitions"), 0);
	cr_assert_eq(json_integer_value(json_object_get(partition, "first_offset")), 9);
	cr_assert_eq(json_integer_value(json_object_get(partition, "last_offset")), 11);
	partition = json_array_get(json_object_get(json, "partitions"), 1);
	cr_assert(json_is_null(json_object_get(partition, "first_offset")));
	cr_assert_eq(json_integer_value(json_object_get(partition, "offsets_unknown")), 4);
	json_decref(json);
	free(text);
	mr_put_report_deinit(&report);
}

Test(put_report, nothing_at_all_is_said_too)
{
	struct mr_put_report report;
	char *text;

	mr_put_report_init(&report, "t", MR_ACKS_COMMITTED, false);
	text = text_of(mr_put_report_print, &report);
	cr_assert(strstr(text, "0 records published into 't' in 0.000 s, 0/s\n"), "%s", text);
	free(text);
	text = text_of(mr_put_report_json, &report);
	cr_assert(strstr(text, "\"partitions\": []"), "%s", text);
	free(text);
	mr_put_report_deinit(&report);
}

Test(put_report, receipts_without_sense_do_no_harm)
{
	struct mr_put_report report;

	mr_put_report_init(&report, "t", MR_ACKS_COMMITTED, false);
	receive(&report, -1, 0, 5);
	receive(&report, 0, 0, 0);
	cr_assert_eq(report.partition_count, 1);
	cr_assert_eq(report.partitions[0].records, 0);
	mr_put_report_deinit(&report);
}
