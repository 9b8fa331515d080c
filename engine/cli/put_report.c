/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `millrace put` tells. Owned by one thread. Progress and bad lines go to standard error, the
 * summary where the caller says.
 */
#include "put_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"

#define PROGRESS_NS UINT64_C(500000000)

void mr_put_report_init(struct mr_put_report *report, const char *topic, enum mr_acks acks,
			bool terminal)
{
	*report = (struct mr_put_report){.topic = topic, .acks = acks, .terminal = terminal};
}

void mr_put_report_deinit(struct mr_put_report *report)
{
	free(report->partitions);
	report->partitions = NULL;
	report->partition_count = 0;
}

static struct mr_put_partition *partition_at(struct mr_put_report *report, int32_t number)
{
	uint32_t count = (uint32_t)number + 1;
	struct mr_put_partition *larger;

	if (number < 0)
		return NULL;
	if (count <= report->partition_count)
		return &report->partitions[number];
	larger = realloc(report->partitions, count * sizeof(*larger));
	if (!larger)
		return NULL;
	for (uint32_t i = report->partition_count; i < count; i++)
		larger[i] = (struct mr_put_partition){.first_offset = MR_OFFSET_UNKNOWN,
						      .last_offset = MR_OFFSET_UNKNOWN};
	report->partitions = larger;
	report->partition_count = count;
	return &report->partitions[number];
}

void mr_put_report_receipt(struct mr_put_report *report, const struct mr_receipt *receipt)
{
	struct mr_put_partition *partition = partition_at(report, receipt->partition);

	if (!partition || receipt->count == 0)
		return; /* the sums do not depend on it */
	partition->records += receipt->count;
	if (receipt->base_offset == MR_OFFSET_UNKNOWN) {
		partition->unknown += receipt->count;
		return;
	}
	if (partition->first_offset == MR_OFFSET_UNKNOWN)
		partition->first_offset = receipt->base_offset;
	partition->last_offset = receipt->base_offset + receipt->count - 1;
}

void mr_put_report_bad(struct mr_put_report *report, const struct mr_error *err)
{
	report->bad++;
	if (report->bad > MR_PUT_BAD_LINES_SHOWN)
		return;
	mr_put_report_end_progress(report);
	fprintf(stderr, "left out: %s\n", err->what);
	if (report->bad == MR_PUT_BAD_LINES_SHOWN)
		fprintf(stderr, "left out: further bad lines are only counted\n");
}

static double rate(const struct mr_put_report *report)
{
	return report->elapsed_ns == 0
		       ? 0
		       : (double)report->published * 1e9 / (double)report->elapsed_ns;
}

void mr_put_report_progress(struct mr_put_report *report, uint64_t now_ns)
{
	if (!report->terminal || now_ns < report->due_ns)
		return;
	report->due_ns = now_ns + PROGRESS_NS;
	report->shown = true;
	fprintf(stderr, "\r\033[K%" PRIu64 " records, %.0f/s, %" PRIu64 " acknowledged",
		report->published, rate(report), report->acknowledged);
	if (report->bad > 0)
		fprintf(stderr, ", %" PRIu64 " left out", report->bad);
	fflush(stderr);
}

void mr_put_report_end_progress(struct mr_put_report *report)
{
	if (report->shown)
		fprintf(stderr, "\r\033[K");
	report->shown = false;
}

static void print_partition(const struct mr_put_partition *partition, uint32_t number, FILE *out)
{
	fprintf(out, "partition %" PRIu32 ": ", number);
	if (partition->first_offset != MR_OFFSET_UNKNOWN)
		fprintf(out, "%" PRIu64 " records, offsets %" PRIu64 " to %" PRIu64,
			partition->records, partition->first_offset, partition->last_offset);
	else
		fprintf(out, "%" PRIu64 " records", partition->records);
	if (partition->unknown > 0)
		fprintf(out, " (offsets of %" PRIu64 " not known)", partition->unknown);
	putc('\n', out);
}

void mr_put_report_print(const struct mr_put_report *report, FILE *out)
{
	fprintf(out, "%" PRIu64 " records published into '%s' in %.3f s, %.0f/s%s\n",
		report->published, report->topic, (double)report->elapsed_ns / 1e9, rate(report),
		report->stopped ? "; stopped before the end" : "");
	fprintf(out, "%" PRIu64 " acknowledged as %s\n", report->acknowledged,
		mr_acks_words(report->acks));
	for (uint32_t i = 0; i < report->partition_count; i++) {
		if (report->partitions[i].records > 0)
			print_partition(&report->partitions[i], i, out);
	}
	if (report->published > report->acknowledged)
		fprintf(out, "%" PRIu64 " not acknowledged: they may or may not be in the log\n",
			report->published - report->acknowledged);
	if (report->lost > 0)
		fprintf(out, "%" PRIu64 " of them were lost with the engine afterwards\n",
			report->lost);
	if (report->bad > 0)
		fprintf(out, "%" PRIu64 " bad lines left out\n", report->bad);
}

static json_t *offset_json(uint64_t offset)
{
	return offset == MR_OFFSET_UNKNOWN ? json_null() : json_integer((json_int_t)offset);
}

void mr_put_report_json(const struct mr_put_report *report, FILE *out)
{
	static const char *const levels[] = {[MR_ACKS_COMMITTED] = "committed",
					     [MR_ACKS_DISK] = "disk",
					     [MR_ACKS_MEMORY] = "memory"};
	json_t *partitions = json_array();
	json_t *object;

	for (uint32_t i = 0; i < report->partition_count; i++) {
		const struct mr_put_partition *one = &report->partitions[i];

		if (one->records > 0)
			json_array_append_new(
				partitions,
				json_pack("{s:I, s:I, s:I, s:o, s:o}", "partition", (json_int_t)i,
					  "records", (json_int_t)one->records, "offsets_unknown",
					  (json_int_t)one->unknown, "first_offset",
					  offset_json(one->first_offset), "last_offset",
					  offset_json(one->last_offset)));
	}
	object =
		json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:b, s:o}", "topic",
			  report->topic, "published", (json_int_t)report->published, "acknowledged",
			  (json_int_t)report->acknowledged, "lost", (json_int_t)report->lost,
			  "bad_lines", (json_int_t)report->bad, "acks", levels[report->acks],
			  "seconds", (double)report->elapsed_ns / 1e9, "records_per_second",
			  rate(report), "stopped", (int)report->stopped, "partitions", partitions);
	if (object && json_dumpf(object, out, JSON_REAL_PRECISION(6)) == 0)
		putc('\n', out);
	json_decref(object);
}
