/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a record ends in exactly the outputs that the rule says, numbered without a gap;
 * bounds push out who was quiet, never a record; nothing depends on how records are handed over.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipe_rig.h"

static const char plant[] = "pipeline: plant\n"
			    "input: sensors\n"
			    "parse: json\n"
			    "key: $.machine\n"
			    "time: {path: $.ts, unit: ms}\n"
			    "value: $.temp\n"
			    "clean: {range: [-40, 200], drop: [missing, duplicate, unchanged]}\n"
			    "windows:\n"
			    "  avg: {fn: mean, last: 4}\n"
			    "  peak: {fn: max, last: 3}\n"
			    "alert:\n"
			    "  - {name: hot, when: \"avg > 90 for 2\", clear: \"avg < 80\", "
			    "severity: critical}\n"
			    "output: sensors.knowledge\n";

static struct mr_pipe_rig rig;

static void put(const char *machine, int64_t ts, const char *temp)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"machine\":\"%s\",\"ts\":%" PRId64 ",\"temp\":%s}", machine,
		 ts, temp);
	mr_pipe_rig_put(&rig, "own", 5, text);
}

static void expect(const char *text)
{
	const char *out = mr_pipe_rig_take(&rig);

	cr_assert_str_eq(out, text, "\n%s\nwanted\n%s", out, text);
}

Test(pipeline, answers_a_kept_record_with_its_windows)
{
	mr_pipe_rig_open(&rig, plant);
	put("p9", 1000, "80");
	expect("O 0 p9 {\"key\":\"p9\",\"offset\":0,\"time\":1000,\"value\":80,\"avg\":80,"
	       "\"peak\":80}\n");
	put("p9", 2000, "81.5");
	expect("O 1 p9 {\"key\":\"p9\",\"offset\":1,\"time\":2000,\"value\":81.5,\"avg\":80.75,"
	       "\"peak\":81.5}\n");
	put("p8", 2000, "1");
	expect("O 2 p8 {\"key\":\"p8\",\"offset\":2,\"time\":2000,\"value\":1,\"avg\":1,"
	       "\"peak\":1}\n");
	mr_pipe_rig_close(&rig);
}

Test(pipeline, drops_without_an_answer_and_counts_why)
{
	const struct mr_pipeline_counters *counters;

	mr_pipe_rig_open(&rig, plant);
	put("p9", 1000, "80");
	mr_pipe_rig_take(&rig);
	put("p9", 2000, "80");	 /* unchanged */
	put("p9", 1000, "80");	 /* duplicate */
	put("p9", 3000, "null"); /* missing */
	put("p9", 3000, "201");	 /* out of range */
	expect("");
	counters = mr_pipeline_counters(rig.pipeline);
	cr_assert_eq(counters->records, 5);
	cr_assert_eq(counters->kept, 1);
	cr_assert_eq(counters->dropped[MR_CLEAN_UNCHANGED], 1);
	cr_assert_eq(counters->dropped[MR_CLEAN_DUPLICATE], 1);
	cr_assert_eq(counters->dropped[MR_CLEAN_MISSING], 1);
	cr_assert_eq(counters->dropped[MR_CLEAN_RANGE], 1);
	cr_assert_eq(counters->outputs[MR_PIPELINE_OUTPUT], 1);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, rejects_what_is_no_input_with_the_reason_and_goes_on)
{
	const char *out;

	mr_pipe_rig_open(&rig, plant);
	mr_pipe_rig_put(&rig, "own", 5, "{\"machine\":\"a\x01\"b\\}");
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "R 0 own {\"reason\":\"malformed\""), "%s", out);
	cr_assert(strstr(out, "\"record\":\"{\\\"machine\\\":\\\"a\\u0001\\\"b\\\\}\"}"), "%s",
		  out);
	mr_pipe_rig_put(&rig, NULL, 5, NULL);
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "R 1 - {\"reason\":\"null\""), "%s", out);
	cr_assert(strstr(out, "\"offset\":1,\"bytes\":0,\"record\":null}"), "%s", out);
	put("p9", 1000, "\"warm\"");
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "R 2 own"), "%s", out);
	put("p9", INT64_C(9000000000000000), "1"); /* the year 287,168 */
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "R 3 own"), "%s", out);
	put("p9", 1000, "7");
	out = mr_pipe_rig_take(&rig);
	cr_assert_eq(strncmp(out, "O 0 p9 ", 7), 0, "%s", out);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, raises_after_so_many_and_clears_by_its_own_condition)
{
	const char *out;

	mr_pipe_rig_open(&rig, plant);
	put("p9", 1000, "95"); /* avg 95: once */
	out = mr_pipe_rig_take(&rig);
	cr_assert(!strstr(out, "hot"), "%s", out);
	put("p9", 2000, "97"); /* twice in a row */
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "\"alerts\":[\"hot\"]}\nA 0 p9 {\"alert\":\"hot\",\"state\":"
			      "\"raised\",\"severity\":\"critical\",\"pipeline\":\"plant\","
			      "\"key\":\"p9\",\"partition\":0,\"offset\":1,\"time\":2000,"
			      "\"value\":97,\"avg\":96,\"peak\":97,\"condition\":"
			      "\"avg > 90 for 2\"}\n"),
		  "%s", out);
	put("p9", 3000, "60"); /* avg 84: below 90, not below 80: it stays */
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "\"alerts\":[\"hot\"]}\n"), "%s", out);
	cr_assert(!strstr(out, "A 1"), "%s", out);
	put("p9", 4000, "10"); /* avg 65.5 */
	out = mr_pipe_rig_take(&rig);
	cr_assert(!strstr(out, "\"alerts\""), "%s", out);
	cr_assert(strstr(out, "A 1 p9 {\"alert\":\"hot\",\"state\":\"cleared\""), "%s", out);
	cr_assert(strstr(out, "\"raised\":2000,\"condition\":\"avg < 80\"}"), "%s", out);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, an_alert_without_clear_clears_when_it_does_not_hold)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "alert: [{name: high, when: \"value > 10 for 2\"}]\n"
				   "output: o\n";
	const char *out;

	mr_pipe_rig_open(&rig, rule);
	mr_pipe_rig_put(&rig, "k", 1, "11");
	mr_pipe_rig_put(&rig, "k", 2, "9"); /* interrupted */
	mr_pipe_rig_put(&rig, "k", 3, "11");
	out = mr_pipe_rig_take(&rig);
	cr_assert(!strstr(out, "\nA "), "%s", out);
	mr_pipe_rig_put(&rig, "k", 4, "12");
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "\"state\":\"raised\""), "%s", out);
	mr_pipe_rig_put(&rig, "k", 5, "9");
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "\"state\":\"cleared\""), "%s", out);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, looks_at_the_record_before)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {m: {fn: mean, last: 2}}\n"
				   "alert: [{name: jump, when: \"value > previous(m) + 10\"}]\n"
				   "output: o\n";
	const char *out;

	mr_pipe_rig_open(&rig, rule);
	mr_pipe_rig_put(&rig, "k", 1, "50"); /* nothing before: unknown */
	out = mr_pipe_rig_take(&rig);
	cr_assert(!strstr(out, "jump"), "%s", out);
	mr_pipe_rig_put(&rig, "k", 2, "55"); /* m was 50 */
	out = mr_pipe_rig_take(&rig);
	cr_assert(!strstr(out, "jump"), "%s", out);
	mr_pipe_rig_put(&rig, "k", 3, "63"); /* m was 52.5: 10.5 above */
	out = mr_pipe_rig_take(&rig);
	cr_assert(strstr(out, "jump"), "%s", out);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, puts_out_packed_numbers)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {s: {fn: sum, last: 2}, x: {fn: stddev, last: 2}}\n"
				   "output: {topic: o, format: packed}\n";
	struct {
		uint64_t offset;
		int64_t time_ms;
		double value;
		uint32_t raised, windows;
		double results[2];
	} packed;
	const char *out;

	mr_pipe_rig_open(&rig, rule);
	rig.offset = 77;
	mr_pipe_rig_put(&rig, "k", 12, "2.5");
	out = mr_pipe_rig_take(&rig);
	cr_assert_eq(rig.taken_bytes, strlen("O 0 k ") + MR_PIPELINE_PACKED_BYTES(2) + 1);
	memcpy(&packed, out + strlen("O 0 k "), sizeof(packed));
	cr_assert_eq(sizeof(packed), MR_PIPELINE_PACKED_BYTES(2));
	cr_assert_eq(packed.offset, 77);
	cr_assert_eq(packed.time_ms, 12);
	cr_assert_eq(packed.windows, 2);
	cr_assert_eq(packed.raised, 0);
	cr_assert_eq(packed.value, 2.5);
	cr_assert_eq(packed.results[0], 2.5);
	cr_assert(packed.results[1] != packed.results[1], "one value has no deviation");
	mr_pipe_rig_close(&rig);
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

Test(pipeline, a_key_too_many_pushes_out_one_that_was_quiet)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {n: {fn: count, last: 100}}\n"
				   "output: o\nlimits: {keys: 3}\n";
	struct mr_pipeline_key key;

	mr_pipe_rig_open(&rig, rule);
	mr_pipe_rig_put(&rig, "a", 1, "1");
	mr_pipe_rig_put(&rig, "b", 1, "1");
	mr_pipe_rig_put(&rig, "c", 1, "1");
	mr_pipe_rig_put(&rig, "d", 1, "1"); /* every mark goes, then a */
	mr_pipe_rig_put(&rig, "b", 1, "1"); /* marked again */
	mr_pipe_rig_put(&rig, "e", 1, "1");
	cr_assert_eq(mr_pipeline_counters(rig.pipeline)->keys, 3);
	cr_assert_eq(mr_pipeline_counters(rig.pipeline)->evicted, 2);
	cr_assert(!mr_pipeline_find(rig.pipeline, "a", 1, &key));
	cr_assert(mr_pipeline_find(rig.pipeline, "b", 1, &key), "it was used since");
	cr_assert_eq(key.results[0], 2);
	cr_assert(mr_pipeline_find(rig.pipeline, "e", 1, &key));
	mr_pipe_rig_close(&rig);
}

Test(pipeline, bytes_are_a_bound_and_one_key_may_always_stay)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {n: {fn: median, last: 512}}\n"
				   "output: o\nlimits: {bytes: 64KiB}\n";
	char key[16];

	mr_pipe_rig_open(&rig, rule);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		mr_pipe_rig_put(&rig, key, i, "1");
		cr_assert_leq(mr_pipeline_counters(rig.pipeline)->bytes, 64 << 10);
	}
	cr_assert_geq(mr_pipeline_counters(rig.pipeline)->keys, 1);
	cr_assert_eq(mr_pipeline_counters(rig.pipeline)->keys +
			     mr_pipeline_counters(rig.pipeline)->evicted,
		     1000);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, windows_by_time_grow_and_then_shed)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {n: {fn: count, last: 1h}}\n"
				   "output: o\nlimits: {samples: 500}\n";
	struct mr_pipeline_key key;

	mr_pipe_rig_open(&rig, rule);
	for (int i = 0; i < 1200; i++) {
		mr_pipe_rig_put(&rig, "k", i, "1");
		cr_assert(mr_pipeline_find(rig.pipeline, "k", 1, &key));
		cr_assert_eq(key.results[0], i < 500 ? i + 1 : 500, "%d: %f", i, key.results[0]);
	}
	cr_assert_eq(mr_pipeline_counters(rig.pipeline)->shed, 700);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, idle_keys_leave_by_event_time_and_one_bad_time_ages_nobody)
{
	static const char rule[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {n: {fn: count, last: 2}}\n"
				   "output: o\nlimits: {idle: 10s}\n";
	struct mr_pipeline_key key;

	mr_pipe_rig_open(&rig, rule);
	mr_pipe_rig_put(&rig, "quiet", 0, "1");
	mr_pipe_rig_put(&rig, "mad", INT64_C(4000000000000), "1");
	for (int i = 0; i < 200; i++)
		mr_pipe_rig_put(&rig, "busy", i, "1");
	cr_assert(mr_pipeline_find(rig.pipeline, "quiet", 5, &key));
	for (int i = 0; i < 30000; i++)
		mr_pipe_rig_put(&rig, "busy", 200 + i, "1");
	cr_assert(!mr_pipeline_find(rig.pipeline, "quiet", 5, &key));
	cr_assert(mr_pipeline_find(rig.pipeline, "busy", 4, &key));
	cr_assert_eq(mr_pipeline_counters(rig.pipeline)->evicted, 1);
	mr_pipe_rig_close(&rig);
}

/* ---- a pure function of the records ------------------------------------------------------------
 */

struct random_records {
	uint64_t state;
	char keys[64][32];
	char values[64][128];
	struct mr_message messages[64];
	uint64_t offset;
};

static uint32_t next(struct random_records *records, uint32_t below)
{
	records->state = records->state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((records->state >> 33) % below);
}

/* Keys that escape, late times, gaps, garbage, nulls, what is out of range. */
static void make_records(struct random_records *records)
{
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t what = next(records, 100);
		int64_t time_ms = (int64_t)records->offset * 100 - (next(records, 10) ? 0 : 5000);
		char *value = records->values[i];
		size_t room = sizeof(records->values[i]);

		if (what < 3)
			snprintf(value, room, "{\"machine\":\"x\",\"temp\":");
		else if (what < 6)
			snprintf(value, room, "{\"machine\":\"m%u\",\"ts\":%" PRId64 "}",
				 next(records, 20), time_ms);
		else
			snprintf(value, room,
				 "{\"machine\":\"m\\u00e4%u\",\"ts\":%" PRId64 ",\"temp\":%u.%u}",
				 next(records, 20), time_ms, next(records, 220), next(records, 10));
		records->messages[i] = (struct mr_message){
			.offset = records->offset++,
			.timestamp_ms = 5,
			.key_bytes = MR_NULL_BYTES,
			.value = value,
			.value_bytes = (int32_t)strlen(value),
		};
	}
}

static const char everything[] =
	"pipeline: all\n"
	"input: sensors\n"
	"parse: json\n"
	"key: $.machine\n"
	"time: {path: $.ts, unit: ms}\n"
	"value: $.temp\n"
	"clean: {range: [0, 200], drop: [duplicate, unchanged], max_late: 400ms, spike: 6mad}\n"
	"windows:\n"
	"  avg: {fn: weighted_average, last: 8, weights: linear}\n"
	"  peak: {fn: max, last: 600s}\n"
	"  mid: {fn: median, last: 9}\n"
	"  next: {fn: interpolate, last: 4}\n"
	"  each: {fn: mean, each: 2s}\n"
	"alert:\n"
	"  - {name: hot, when: \"avg > 110 for 2\", clear: \"avg < 100\"}\n"
	"  - {name: drifting, when: \"abs(value - previous(next)) > 2 * stddev(16)\"}\n"
	"output: sensors.knowledge\n"
	"limits: {keys: 19, samples: 24, idle: 300s}\n";

Test(pipeline, nothing_depends_on_how_many_come_at_once)
{
	struct mr_pipe_rig one;
	struct random_records records = {.state = 7};

	mr_pipe_rig_open(&rig, everything);
	mr_pipe_rig_open(&one, everything);
	for (int round = 0; round < 200; round++) {
		uint32_t done = 0;

		make_records(&records);
		for (uint32_t i = 0; i < 64; i++)
			cr_assert_eq(mr_pipe_rig_feed(&one, &records.messages[i], 1), 0);
		while (done < 64) {
			uint32_t count = 1 + next(&records, 64 - done);

			cr_assert_eq(mr_pipe_rig_feed(&rig, &records.messages[done], count), 0);
			done += count;
		}
	}
	cr_assert_str_eq(rig.out, one.out);
	cr_assert(strstr(rig.out, "\nA "));
	cr_assert(strstr(rig.out, "\nR "));
	cr_assert_gt(mr_pipeline_counters(rig.pipeline)->evicted, 0);
	cr_assert_gt(mr_pipeline_counters(rig.pipeline)->dropped[MR_CLEAN_LATE], 0);
	cr_assert_gt(mr_pipeline_counters(rig.pipeline)->shed, 0);
	mr_pipe_rig_close(&one);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, saved_and_read_back_it_goes_on_byte_for_byte)
{
	struct mr_pipe_rig broken;
	struct random_records records = {.state = 99};
	struct mr_error err = {0};

	mr_pipe_rig_open(&rig, everything);
	mr_pipe_rig_open(&broken, everything);
	for (int round = 0; round < 300; round++) {
		size_t bytes;
		uint8_t *state;

		make_records(&records);
		cr_assert_eq(mr_pipe_rig_feed(&rig, records.messages, 64), 0);
		cr_assert_eq(mr_pipe_rig_feed(&broken, records.messages, 64), 0);
		state = mr_pipe_rig_save(&broken, &bytes);
		cr_assert_eq(mr_pipe_rig_load(&broken, state, bytes, &err), 0, "%s", err.what);
		free(state);
		cr_assert_str_eq(rig.out, broken.out, "round %d", round);
	}
	cr_assert_eq(memcmp(mr_pipeline_counters(rig.pipeline),
			    mr_pipeline_counters(broken.pipeline),
			    sizeof(struct mr_pipeline_counters)),
		     0);
	mr_pipe_rig_close(&broken);
	mr_pipe_rig_close(&rig);
}

/* Keys come, are idle and leave at any place of a sweep, and it may end there. */
Test(pipeline, read_back_anywhere_keys_leave_as_if_nothing_had_been)
{
	static const char text[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {a: {fn: mean, last: 8}, n: {fn: count, last: 40ms}}\n"
				   "output: o\nlimits: {keys: %u, idle: 50ms, samples: 16}\n";
	struct random_records random = {.state = 41};
	struct mr_error err = {0};
	uint64_t evicted = 0;

	for (int stream = 0; stream < 400; stream++) {
		struct mr_pipe_rig broken;
		char rule[300];
		uint32_t names = 2 + next(&random, 40);

		snprintf(rule, sizeof(rule), text, 2 + next(&random, 60));
		mr_pipe_rig_open(&rig, rule);
		mr_pipe_rig_open(&broken, rule);
		for (int i = 0; i < 600; i++) {
			char key[16], value[16];
			int64_t time_ms = i - (next(&random, 20) ? 0 : 30);

			/* two all the time, others come back before they are idle or just after */
			snprintf(key, sizeof(key), "k%u",
				 next(&random, next(&random, 2) ? names : 2));
			snprintf(value, sizeof(value), "%u", next(&random, 1000));
			mr_pipe_rig_put(&rig, key, time_ms, value);
			mr_pipe_rig_put(&broken, key, time_ms, value);
			if (next(&random, 8) == 0) {
				size_t bytes;
				uint8_t *state = mr_pipe_rig_save(&broken, &bytes);

				cr_assert_eq(mr_pipe_rig_load(&broken, state, bytes, &err), 0, "%s",
					     err.what);
				free(state);
			}
		}
		cr_assert_str_eq(rig.out, broken.out, "stream %d", stream);
		cr_assert_eq(memcmp(mr_pipeline_counters(rig.pipeline),
				    mr_pipeline_counters(broken.pipeline),
				    sizeof(struct mr_pipeline_counters)),
			     0, "stream %d", stream);
		evicted += mr_pipeline_counters(rig.pipeline)->evicted;
		mr_pipe_rig_close(&broken);
		mr_pipe_rig_close(&rig);
	}
	cr_assert_gt(evicted, 1000);
}

/* ---- another version ---------------------------------------------------------------------------
 */

static void replace(struct mr_pipe_rig *to, const char *text)
{
	struct mr_pipe_rig other;
	struct mr_error err = {0};

	mr_pipe_rig_open(&other, text);
	cr_assert_eq(mr_pipeline_replace(to->pipeline, other.program, &err), 0, "%s", err.what);
	mr_program_free(to->program);
	mr_rule_free(to->rule);
	to->program = other.program;
	to->rule = other.rule;
	other.program = NULL;
	other.rule = NULL;
	mr_pipe_rig_close(&other);
}

Test(pipeline, another_version_keeps_numbers_and_what_means_the_same)
{
	static const char first[] = "pipeline: p\ninput: i\nparse: number\n"
				    "windows: {s: {fn: sum, last: 8}}\noutput: o\n";
	static const char packed[] = "pipeline: p\ninput: i\nparse: number\n"
				     "windows: {s: {fn: sum, last: 8}}\n"
				     "output: o\nlimits: {keys: 5}\n";
	static const char longer[] = "pipeline: p\ninput: i\nparse: number\n"
				     "windows: {s: {fn: sum, last: 9}}\noutput: o\n";

	mr_pipe_rig_open(&rig, first);
	mr_pipe_rig_put(&rig, "k", 1, "2");
	mr_pipe_rig_take(&rig);
	replace(&rig, packed);
	mr_pipe_rig_put(&rig, "k", 2, "3");
	expect("O 1 k {\"key\":\"k\",\"offset\":1,\"time\":2,\"value\":3,\"s\":5}\n");
	replace(&rig, longer);
	mr_pipe_rig_put(&rig, "k", 3, "4");
	expect("O 2 k {\"key\":\"k\",\"offset\":2,\"time\":3,\"value\":4,\"s\":4}\n");
	mr_pipe_rig_close(&rig);
}

/* What an earlier version gave a key stays, and is read back. */
Test(pipeline, a_version_with_lower_limits_is_read_back_with_what_there_is)
{
	static const char wide[] = "pipeline: p\ninput: i\nparse: number\n"
				   "windows: {n: {fn: count, last: 1h}}\noutput: o\n";
	static const char narrow[] = "pipeline: p\ninput: i\nparse: number\n"
				     "windows: {n: {fn: count, last: 1h}}\noutput: o\n"
				     "limits: {samples: 100, keys: 2, bytes: 4KiB}\n";
	struct mr_pipe_rig broken;
	struct mr_error err = {0};
	char key[8];

	mr_pipe_rig_open(&rig, wide);
	mr_pipe_rig_open(&broken, wide);
	for (int i = 0; i < 3000; i++) {
		size_t bytes;
		uint8_t *state;

		snprintf(key, sizeof(key), "k%d", i % 3);
		mr_pipe_rig_put(&rig, key, i, "1");
		mr_pipe_rig_put(&broken, key, i, "1");
		if (i == 2000) {
			replace(&rig, narrow);
			replace(&broken, narrow);
		}
		if (i % 50)
			continue;
		state = mr_pipe_rig_save(&broken, &bytes);
		cr_assert_eq(mr_pipe_rig_load(&broken, state, bytes, &err), 0, "%d: %s", i,
			     err.what);
		free(state);
	}
	cr_assert_str_eq(rig.out, broken.out);
	mr_pipe_rig_close(&broken);
	mr_pipe_rig_close(&rig);
}

/* ---- looking at it -----------------------------------------------------------------------------
 */

static struct mr_pipeline_trace last;
static int traced;

static void trace(void *arg, const struct mr_pipeline_trace *row)
{
	last = *row;
	traced++;
}

Test(pipeline, tells_what_became_of_each_record)
{
	mr_pipe_rig_open(&rig, plant);
	mr_pipeline_set_trace(rig.pipeline, trace, NULL);
	put("p9", 1000, "95");
	cr_assert_eq(traced, 1);
	cr_assert_eq(last.verdict, MR_CLEAN_KEEP);
	put("p9", 2000, "96");
	cr_assert_eq(last.raised, 1);
	put("p9", 3000, "400");
	cr_assert_eq(last.verdict, MR_CLEAN_RANGE);
	cr_assert_eq(last.raised, 0);
	put("p9", 3000, "nonsense");
	cr_assert_eq(traced, 4);
	cr_assert_neq(last.reason, MR_PARSE_OK);
	cr_assert_null(last.key);
	mr_pipe_rig_close(&rig);
}

Test(pipeline, shows_a_key_from_its_state)
{
	struct mr_pipeline_key key;
	int64_t time_ms;
	double value;

	mr_pipe_rig_open(&rig, plant);
	put("p9", 1000, "80");
	put("p9", 2000, "82");
	put("p9", 2500, "300");
	cr_assert(!mr_pipeline_find(rig.pipeline, "p", 1, &key));
	cr_assert(mr_pipeline_find(rig.pipeline, "p9", 2, &key));
	cr_assert_eq(key.time_ms, 2000);
	cr_assert_eq(key.value, 82);
	cr_assert_eq(key.offset, 1);
	cr_assert_eq(key.results[0], 81);
	cr_assert_eq(key.dropped[MR_CLEAN_RANGE], 1);
	cr_assert(mr_window_block_sample(mr_program_plan(rig.program), key.windows, 1, &time_ms,
					 &value));
	cr_assert_eq(value, 80);
	mr_pipe_rig_close(&rig);
}
