/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: whatever is wrong in a rule's file is refused with file and line, what was found,
 * what was expected, and the nearest word.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rule.h"

static struct mr_error err;

static int read_bytes(const char *text, size_t count)
{
	struct mr_rule *rule = NULL;
	int r;

	err = (struct mr_error){.code = 0};
	r = mr_rule_read(text, count, "r.yaml", &rule, &err);
	mr_rule_free(rule);
	return r;
}

struct row {
	const char *text;
	const char *what;
	const char *hint; /* "": none */
};

/* Each text behind what makes it whole but for the mistake. */
static void refuse_all(const char *before, const struct row *rows, size_t count)
{
	char text[4096];

	for (size_t i = 0; i < count; i++) {
		int n = snprintf(text, sizeof(text), "%s%s", before, rows[i].text);

		cr_assert_eq(read_bytes(text, (size_t)n), -EINVAL, "taken: %s", rows[i].text);
		cr_assert_eq(err.code, -EINVAL);
		cr_assert_str_eq(err.what, rows[i].what, "%s\n  what: %s", rows[i].text, err.what);
		cr_assert_str_eq(err.hint, rows[i].hint, "%s\n  hint: %s", rows[i].text, err.hint);
	}
}

#define HEAD "pipeline: p\ninput: in\nparse: number\n"
#define BODY HEAD "output: o\n"

Test(rule_refusals, of_the_size_and_the_depth)
{
	size_t count = MR_RULE_FILE_MAX + 1;
	char *text = malloc(count);

	memset(text, ' ', count);
	cr_assert_eq(read_bytes(text, count), -EINVAL);
	cr_assert_str_eq(err.what, "r.yaml: a rule has at most 49152 bytes");
	memset(text, '[', count - 1);
	cr_assert_eq(read_bytes(text, count - 1), -EINVAL);
	memset(text, '-', count - 1);
	cr_assert_eq(read_bytes(text, count - 1), -EINVAL);
	for (size_t i = 0; i + 1 < count; i++)
		text[i] = i % 2 ? ' ' : '-';
	cr_assert_eq(read_bytes(text, count - 1), -EINVAL);
	memset(text, 0xff, count - 1);
	cr_assert_eq(read_bytes(text, count - 1), -EINVAL);
	free(text);
}

Test(rule_refusals, of_the_file)
{
	static const struct row rows[] = {
		{"", "r.yaml: it is empty; expected 'pipeline: NAME' and what follows", ""},
		{"# nothing\n", "r.yaml: it is empty; expected 'pipeline: NAME' and what follows",
		 ""},
		{"pipeline", "r.yaml: it is no map; expected 'pipeline: NAME' and what follows",
		 ""},
		{"- a\n", "r.yaml: it is no map; expected 'pipeline: NAME' and what follows", ""},
		{"pipeline: [\n", "r.yaml:2: this is not YAML: did not find expected node content",
		 ""},
		{"pipeline: p\ninput: &x in\noutput: *x\n",
		 "r.yaml:2: anchors and aliases are not taken here", ""},
		{"pipeline: p\n---\npipeline: q\n",
		 "r.yaml: a file holds one pipeline: '---' begins a second", ""},
		{"pipeline: \"a\\0b\"\n", "r.yaml:1: pipeline: it has a zero byte", ""},
		{"{[a]: b}\n", "r.yaml:1: a rule: found a list, expected one value", ""},
	};

	refuse_all("", rows, mr_array_count(rows));
}

Test(rule_refusals, of_general_keys)
{
	static const struct row rows[] = {
		{"input: in\nparse: number\noutput: o\n", "r.yaml:1: a rule needs 'pipeline'", ""},
		{"pipeline: p\nparse: number\noutput: o\n", "r.yaml:1: a rule needs 'input'", ""},
		{"pipeline: p\ninput: in\noutput: o\n", "r.yaml:1: a rule needs 'parse'", ""},
		{"pipeline: p\ninput: in\nparse: number\n", "r.yaml:1: a rule needs 'output'", ""},
		{"pipeline: p\ninput: in\nparse: json\noutput: o\n",
		 "r.yaml:3: where is the value in a record? a rule needs 'value'", ""},
		{"pipeline: p\ninput: in\nparse: json\nvalue: temp\noutput: o\n",
		 "r.yaml:4: value: 'temp' is no path into JSON",
		 "write $.name, $.name.inner, $.list[0] or $[\"a name\"]"},
		{"pipeline: p\ninput: in\nparse: json\nvalue: $.v\noutput: o\ntime: ts\n",
		 "r.yaml:6: time: 'ts' is no path into JSON",
		 "write $.name, $.name.inner, $.list[0] or $[\"a name\"]"},
		{"pipeline: p\ninput: in\nparse: {format: csv, columns: [id, temp]}\n"
		 "key: if\nvalue: temp\noutput: o\n",
		 "r.yaml:4: key: there is no column 'if'",
		 "write the name of a column, or its number from 1 on"},
		{"pipeline: p\noutput: o\nparse: number\nvalue: x\ninput: in\n",
		 "r.yaml:3: a record that is one number has no 'x': key and time are its own", ""},
		{"pipeline: p\ninptu: in\n", "r.yaml:2: a rule has no 'inptu'",
		 "did you mean 'input'?"},
		{"pipeline: p\nvelocity: in\n", "r.yaml:2: a rule has no 'velocity'",
		 "it may have: pipeline, input, parse, key, time, value, clean, windows, alert, "
		 "output, limits"},
		{"pipeline: p\ninput: a\ninput: b\n", "r.yaml:3: 'input' is given twice in a rule",
		 ""},
		{"pipeline: a b\n",
		 "r.yaml:1: pipeline 'a b': a name has letters, digits, '.', '_' and '-'", ""},
		{"pipeline:\n", "r.yaml:1: pipeline: it has no value", ""},
		{"pipeline: p\ninput: a/b\n",
		 "r.yaml:2: topic name 'a/b' has byte 0x2f at place 1: letters, digits, '.', '_' "
		 "and '-' are allowed",
		 ""},
		{"input: [a]\n", "r.yaml:1: input: found a list, expected one value", ""},
		{"value: {a: b}\n", "r.yaml:1: value: found a map, expected one value", ""},
		{"value: ''\n", "r.yaml:1: value: it has no value", ""},
		{"value: \"a\\nb\"\n", "r.yaml:1: value: it has control byte 0x0a", ""},
	};

	refuse_all("", rows, mr_array_count(rows));
}

Test(rule_refusals, of_topics)
{
	static const struct row rows[] = {
		{"output: in\n",
		 "r.yaml:4: input and output are one topic, 'in': each needs its own", ""},
		{"output: {topic: o, alerts: in}\n",
		 "r.yaml:4: input and alerts are one topic, 'in': each needs its own", ""},
		{"output: {topic: o, rejected: in}\n",
		 "r.yaml:4: input and rejected are one topic, 'in': each needs its own", ""},
		{"output: {topic: o, alerts: o}\n",
		 "r.yaml:4: output and alerts are one topic, 'o': each needs its own", ""},
		{"output: {topic: o, alerts: a, rejected: a}\n",
		 "r.yaml:4: alerts and rejected are one topic, 'a': each needs its own", ""},
		{"output:\n  topic: o\n  rejected: in\n",
		 "r.yaml:6: input and rejected are one topic, 'in': each needs its own", ""},
		{"output:\n  format: json\n  topic: in\n",
		 "r.yaml:6: input and output are one topic, 'in': each needs its own", ""},
		{"output: [o]\n", "r.yaml:4: output: found a list, expected one value", ""},
		{"output: {format: json}\n", "r.yaml:4: output needs 'topic'", ""},
		{"output: {topic: o, format: jsno}\n",
		 "r.yaml:4: format: 'jsno' is none of json, packed", "did you mean 'json'?"},
		{"output: {topic: o, storage: disk}\n",
		 "r.yaml:4: storage: 'disk' is none of log, memory", ""},
		{"output: a b\n",
		 "r.yaml:4: topic name 'a b' has byte 0x20 at place 1: letters, digits, '.', '_' "
		 "and '-' are allowed",
		 ""},
		{"output: {tpoic: o}\n", "r.yaml:4: output has no 'tpoic'",
		 "did you mean 'topic'?"},
		{"output: __own\n",
		 "r.yaml:4: output: topics that begin with '__' are the engine's own", ""},
	};

	refuse_all(HEAD, rows, mr_array_count(rows));
}

Test(rule_refusals, of_limits)
{
	static const struct row rows[] = {
		{"limits: 5\n", "r.yaml:5: limits: found a value, expected a map", ""},
		{"limits:\n  keys: 0\n",
		 "r.yaml:6: keys: found '0', expected a whole number from 1 to 1073741823", ""},
		{"limits: {bytes: 1 GB}\n",
		 "r.yaml:5: bytes: found '1 GB', expected bytes: 65536, 64KiB, 1GiB", ""},
		{"limits: {idle: 5}\n",
		 "r.yaml:5: idle: found '5', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
		{"limits: {key: 10}\n", "r.yaml:5: limits has no 'key'", "did you mean 'keys'?"},
	};

	refuse_all(BODY, rows, mr_array_count(rows));
}

Test(rule_refusals, of_parse)
{
	static const struct row rows[] = {
		{"parse: jsno\n",
		 "r.yaml:4: parse: 'jsno' is none of json, csv, line-protocol, number, raw",
		 "did you mean 'json'?"},
		{"parse: [json]\n", "r.yaml:4: parse: found a list, expected one value", ""},
		{"parse: {columns: [a]}\n", "r.yaml:4: parse needs 'format'", ""},
		{"parse: {format: json, columns: [a]}\n",
		 "r.yaml:4: columns and delimiter are for csv", ""},
		{"parse: {format: csv, endian: big}\n", "r.yaml:4: fields and endian are for raw",
		 ""},
		{"parse: raw\n",
		 "r.yaml:4: raw records need their layout: {format: raw, fields: [\"temp: f64 @ "
		 "8\"]}",
		 ""},
		{"parse: {format: csv, delimiter: ';;'}\n",
		 "r.yaml:4: delimiter: 2 bytes are more than 1", ""},
		{"parse: {format: csv, columns: a}\n",
		 "r.yaml:4: columns: expected a list of names", ""},
		{"parse: {format: csv, columns: [a, [b]]}\n",
		 "r.yaml:4: columns: found a list, expected one value", ""},
		{"parse: {format: csv, columns: ['']}\n", "r.yaml:4: columns: it has no value", ""},
		{"parse: {format: raw, fields: [temp]}\n",
		 "r.yaml:4: fields: 'temp' is not like \"temp: f64 @ 8\": types are i8 to i64, u8 "
		 "to u64, f32, f64, text:N",
		 ""},
		{"parse: {format: raw, fields: [{temp: f64 @ 8}]}\n",
		 "r.yaml:4: fields: found a map, expected one value", ""},
		{"parse: {format: raw, fields: ['t: f65 @ 8']}\n",
		 "r.yaml:4: fields: 't: f65 @ 8' is not like \"temp: f64 @ 8\": types are i8 to "
		 "i64, u8 to u64, f32, f64, text:N",
		 ""},
		{"parse: {format: raw, fields: ['t: f64 @ -8']}\n",
		 "r.yaml:4: fields: 't: f64 @ -8' is not like \"temp: f64 @ 8\": types are i8 to "
		 "i64, u8 to u64, f32, f64, text:N",
		 ""},
		{"parse: {format: raw, fields: ['t: text:0 @ 8']}\n",
		 "r.yaml:4: fields: 't: text:0 @ 8' is not like \"temp: f64 @ 8\": types are i8 to "
		 "i64, u8 to u64, f32, f64, text:N",
		 ""},
		{"parse: json\ntime: [a]\nvalue: $.a\n",
		 "r.yaml:5: time: found a list, expected one value", ""},
		{"parse: json\ntime: {unit: s}\nvalue: $.a\n", "r.yaml:5: time needs 'path'", ""},
		{"parse: json\ntime: {path: $.t, unit: sec}\nvalue: $.a\n",
		 "r.yaml:5: unit: 'sec' is none of auto, s, ms, us, ns", ""},
	};

	refuse_all("pipeline: p\ninput: in\noutput: o\n", rows, mr_array_count(rows));
}

Test(rule_refusals, of_clean)
{
	static const struct row rows[] = {
		{"clean: yes\n", "r.yaml:5: clean: found a value, expected a map", ""},
		{"clean: {rnage: [1, 2]}\n", "r.yaml:5: clean has no 'rnage'",
		 "did you mean 'range'?"},
		{"clean: {range: 5}\n",
		 "r.yaml:5: range: expected [LEAST, MOST], null for no bound", ""},
		{"clean: {range: [5]}\n",
		 "r.yaml:5: range: expected [LEAST, MOST], null for no bound", ""},
		{"clean: {range: [5, low]}\n", "r.yaml:5: range: 'low' is no number", ""},
		{"clean: {range: [5, 1e999]}\n", "r.yaml:5: range: '1e999' is no number", ""},
		{"clean: {range: [5, 4]}\n",
		 "r.yaml:5: range: 5 is greater than 4: nothing would be kept", ""},
		{"clean: {drop: missing}\n",
		 "r.yaml:5: drop: expected a list of missing, duplicate, unchanged", ""},
		{"clean: {drop: [dupilcate]}\n",
		 "r.yaml:5: drop: 'dupilcate' is none of missing, duplicate, unchanged",
		 "did you mean 'duplicate'?"},
		{"clean: {max_late: 5}\n",
		 "r.yaml:5: max_late: found '5', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
		{"clean: {spike: 6}\n",
		 "r.yaml:5: spike: found '6', expected a number of median absolute deviations: "
		 "6mad",
		 ""},
		{"clean: {spike: 0mad}\n",
		 "r.yaml:5: spike: found '0mad', expected a number of median absolute deviations: "
		 "6mad",
		 ""},
		{"clean: {spike: {floor: 1}}\n", "r.yaml:5: spike needs 'beyond'", ""},
		{"clean: {spike: {beyond: 6mad, floor: -1}}\n", "r.yaml:5: floor: -1 is below 0",
		 ""},
		{"clean: {max_late: soon}\n",
		 "r.yaml:5: max_late: found 'soon', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
	};

	refuse_all(BODY, rows, mr_array_count(rows));
}

static const struct row window_rows[] = {
	{"windows: [a]\n", "r.yaml:5: windows: found a list, expected a map by name", ""},
	{"windows:\n  a: mean\n", "r.yaml:6: a window: found a value, expected a map", ""},
	{"windows:\n  {[a]: b}\n", "r.yaml:6: windows: found a list, expected one value", ""},
	{"windows:\n  a: {last: 3}\n", "r.yaml:6: a window needs 'fn'", ""},
	{"windows:\n  a: {fn: maen, last: 3}\n",
	 "r.yaml:6: fn: 'maen' is none of weighted_average, interpolate, extrapolate, max, "
	 "min, mean, sum, count, stddev, median, quantile, first, last, delta, rate, ewma, "
	 "slope, zscore, mad",
	 "did you mean 'mean'?"},
	{"windows:\n  a: {fn: velocity, last: 3}\n",
	 "r.yaml:6: fn: 'velocity' is none of weighted_average, interpolate, extrapolate, "
	 "max, min, mean, sum, count, stddev, median, quantile, first, last, delta, rate, "
	 "ewma, slope, zscore, mad",
	 ""},
	{"windows:\n  a: {fn: mean}\n",
	 "r.yaml:6: window 'a' needs one of last (16, 60s) and each (5m)", ""},
	{"windows:\n  a: {fn: weighted_average, weights: linear}\n",
	 "r.yaml:6: window 'a' needs one of last (16, 60s) and each (5m)", ""},
	{"windows:\n  a: {fn: mean, last: 3, each: 5s}\n",
	 "r.yaml:6: window 'a' needs one of last (16, 60s) and each (5m)", ""},
	{"windows:\n  a: {fn: mean, last: 0}\n",
	 "r.yaml:6: last: found '0', expected a whole number from 1 to 65536",
	 "a time has a unit: last: 60s"},
	{"windows:\n  a: {fn: mean, last: 65537}\n",
	 "r.yaml:6: last: found '65537', expected a whole number from 1 to 65536",
	 "a time has a unit: last: 60s"},
	{"windows:\n  a: {fn: mean, last: 5 parsecs}\n",
	 "r.yaml:6: last: found '5 parsecs', expected a whole number from 1 to 65536",
	 "a time has a unit: last: 60s"},
	{"windows:\n  a: {fn: mean, each: 5}\n",
	 "r.yaml:6: each: found '5', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
	{"windows:\n  a: {fn: weighted_average, last: 60s, weights: linear}\n",
	 "r.yaml:6: window 'a': weighted_average is for the last N values, not by time", ""},
	{"windows:\n  value: {fn: mean, last: 3}\n",
	 "r.yaml:6: window: 'value' means something in conditions already",
	 "take another name, as my_value"},
	{"windows:\n  max: {fn: mean, last: 3}\n",
	 "r.yaml:6: window: 'max' means something in conditions already",
	 "take another name, as my_max"},
	{"windows:\n  a-b: {fn: mean, last: 3}\n",
	 "r.yaml:6: window: 'a-b' is no name, expected 1 to 31 of a-z A-Z 0-9 _",
	 "begin it with a letter; conditions speak of it"},
	{"windows:\n  a: {fn: mean, last: 3}\n  a: {fn: max, last: 3}\n",
	 "r.yaml:7: window 'a' is there twice", ""},
	{"windows:\n  a: {fn: mean, lsat: 3}\n", "r.yaml:6: a window has no 'lsat'",
	 "did you mean 'last'?"},
	{"windows:\n  a: {fn: quantile, last: 3}\n",
	 "r.yaml:6: quantile needs 'quantile', a number from 0 to 1", ""},
	{"windows:\n  a: {fn: ewma, last: 3}\n",
	 "r.yaml:6: ewma needs 'alpha', a number from 0 to 1", ""},
	{"windows:\n  a: {fn: quantile, quantile: 90, last: 3}\n",
	 "r.yaml:6: window 'a': quantile: 'quantile' is 90, expected 0 to 1", ""},
	{"windows:\n  a: {fn: quantile, quantile: p90, last: 3}\n",
	 "r.yaml:6: quantile: 'p90' is no number", ""},
	{"windows:\n  a: {fn: mean, alpha: 0.5, last: 3}\n", "r.yaml:6: mean has no 'alpha'", ""},
	{"windows:\n  a: {fn: interpolate, at: 5, last: 3}\n",
	 "r.yaml:6: at: found '5', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
	{"windows:\n  a: {fn: mean, weights: linear, last: 3}\n", "r.yaml:6: mean has no weights",
	 ""},
	{"windows:\n  a: {fn: weighted_average, last: 3}\n",
	 "r.yaml:6: window 'a' needs weights: linear, exponential, fitted, or a list, the "
	 "newest value's first",
	 ""},
	{"windows:\n  a: {fn: weighted_average, last: 3, weights: lienar}\n",
	 "r.yaml:6: weights: 'lienar' is none of linear, exponential, fitted",
	 "did you mean 'linear'?"},
	{"windows:\n  a: {fn: weighted_average, last: 3, weights: {a: b}}\n",
	 "r.yaml:6: weights: found a map, expected one value", ""},
	{"windows:\n  a: {fn: weighted_average, last: 3, weights: [1, 2]}\n",
	 "r.yaml:6: window 'a': 2 weights for the last 3 values: expected as many, the "
	 "newest value's first",
	 ""},
	{"windows:\n  a: {fn: weighted_average, last: 2, weights: [1, x]}\n",
	 "r.yaml:6: a weight: 'x' is no number", ""},
	{"windows:\n  a: {fn: weighted_average, last: 2, weights: [1, -1]}\n",
	 "r.yaml:6: window 'a': weighted_average: its weights sum to 0: expected what can be "
	 "divided by",
	 ""},
	{"windows:\n  a: {fn: weighted_average, last: 5000, weights: linear}\n",
	 "r.yaml:6: window 'a': weights are for the last 1 to 4096 values", ""},
	{"windows:\n  a: {fn: interpolate, last: 3, at: -5}\n",
	 "r.yaml:6: at: found '-5', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
	{"windows:\n  a: {fn: weighted_average, last: 3, weights: none}\n",
	 "r.yaml:6: weights: 'none' is none of linear, exponential, fitted", ""},
};

Test(rule_refusals, of_windows)
{
	refuse_all(BODY, window_rows, mr_array_count(window_rows));
}

Test(rule_refusals, of_alerts)
{
	static const struct row rows[] = {
		{"alert: {name: a}\n",
		 "r.yaml:5: alert: expected a list: - {name: hot, when: \"avg > 90\"}", ""},
		{"alert:\n  - a\n", "r.yaml:6: an alert: found a value, expected a map", ""},
		{"alert:\n  - {when: value > 1}\n", "r.yaml:6: an alert needs 'name'", ""},
		{"alert:\n  - {name: a}\n", "r.yaml:6: an alert needs 'when'", ""},
		{"alert:\n  - {name: a, wehn: b}\n", "r.yaml:6: an alert has no 'wehn'",
		 "did you mean 'when'?"},
		{"alert:\n  - {name: a, when: value > 1}\n  - {name: a, when: value > 2}\n",
		 "r.yaml:7: alert 'a' is there twice", ""},
		{"alert:\n  - {name: a, when: value > 1, severity: critcal}\n",
		 "r.yaml:6: severity: 'critcal' is none of info, warning, critical",
		 "did you mean 'critical'?"},
		{"alert:\n  - {name: a, when: value > 1, exec: /bin/a 'b}\n",
		 "r.yaml:6: a quote is open in the command", ""},
		{"alert:\n  - {name: a, when: value > 1, webhook: ftp://x}\n",
		 "r.yaml:6: webhook: 'ftp://x' begins neither with https:// nor with http://", ""},
		{"alert:\n  - {name: a, when: value > 1, every: 0, exec: /bin/a}\n",
		 "r.yaml:6: every: found '0', expected a time: 250ms, 5s, 1min, 1h, 7d", ""},
		{"alert:\n  - {name: a, when: valeu > 1}\n",
		 "r.yaml:6: alert 'a', when: column 1: there is no name 'valeu'",
		 "did you mean 'value'?"},
		{"alert:\n  - {name: a, when: value > 1, clear: value}\n",
		 "r.yaml:6: alert 'a', clear: column 1: found a number, expected a condition",
		 "compare it, as in '... > 0'"},
		{"alert:\n  - {name: a, when: 2 > 1}\n",
		 "r.yaml:6: alert 'a', when: it is always the same, expected a condition on value, "
		 "time or a window",
		 ""},
		{"alert:\n  - {name: a, when: value > 1, clear: 1 > 2}\n",
		 "r.yaml:6: alert 'a', clear: it is always the same, expected a condition on "
		 "value, time or a window",
		 ""},
		{"alert:\n  - {name: a, when: value > 90, clear: value > 85}\n",
		 "r.yaml:6: alert 'a', clear: it holds whenever when does, so the alert would be "
		 "cleared at once",
		 "let there be room between: when: \"avg > 90\", clear: \"avg < 85\""},
		{"alert:\n  - {name: a, when: value > 90, clear: value > 95}\n",
		 "r.yaml:6: alert 'a', clear: it holds only while when does, so the alert would be "
		 "raised again at once",
		 "let there be room between: when: \"avg > 90\", clear: \"avg < 85\""},
		{"alert:\n  - {name: a, when: value > 90 for 3, clear: value > 90}\n",
		 "r.yaml:6: alert 'a', clear: it holds whenever when does, so the alert would be "
		 "cleared at once",
		 "let there be room between: when: \"avg > 90\", clear: \"avg < 85\""},
		{"alert:\n  - {name: a, when: \"ewma(0, 8) > 1\"}\n",
		 "r.yaml:6: ewma(0, 8): ewma: 'alpha' is 0, expected more than 0, up to 1", ""},
		{"alert:\n  - {name: value, when: value > 1}\n",
		 "r.yaml:6: alert: 'value' means something in conditions already",
		 "take another name, as my_value"},
		{"alert:\n  - {name: key, when: value > 1}\n",
		 "r.yaml:6: alert: 'key' means something in outputs already", ""},
		{"alert:\n  - {name: a, when: value > 1, exec: \"a\\nb\"}\n",
		 "r.yaml:6: exec: it has control byte 0x0a", ""},
	};

	refuse_all(BODY, rows, mr_array_count(rows));
}

/* What stands in the file and could never do anything. */
Test(rule_refusals, of_what_does_nothing)
{
	static const struct row rows[] = {
		{"windows: {a: {fn: max, last: 100}}\nlimits: {keys: 5,\n  samples: 99}\n",
		 "r.yaml:7: samples: 99 of a key are kept, window 'a' looks at 100",
		 "let samples be 100 or more"},
		{"limits: {samples: 31}\nalert: [{name: a, when: value > stddev(32)}]\n",
		 "r.yaml:5: samples: 31 of a key are kept, window 'stddev(32)' looks at 32",
		 "let samples be 32 or more"},
		{"alert:\n  - name: a\n    when: value > 1\n    every: 5s\n",
		 "r.yaml:8: alert 'a', every: it has no action that this could hold back: expected "
		 "exec or webhook beside it",
		 ""},
		{"alert:\n  - name: a\n    when: value > 1\n    webhook: https://\n",
		 "r.yaml:8: webhook: 'https://' names no host, expected https://example.com/hook",
		 ""},
		{"alert: [{name: a, when: value > 1, webhook: \"http:///hook\"}]\n",
		 "r.yaml:5: webhook: 'http:///hook' names no host, expected "
		 "https://example.com/hook",
		 ""},
		{"alert: [{name: a, when: value > 1, webhook: \"http://:80\"}]\n",
		 "r.yaml:5: webhook: 'http://:80' names no host, expected https://example.com/hook",
		 ""},
		{"alert: [{name: a, when: value > 1, webhook: \"http://a/b c\"}]\n",
		 "r.yaml:5: webhook: 'http://a/b c' has a blank: write %20", ""},
		{"alert: [{name: a, when: value > 1, webhook: \"http://a:99999/\"}]\n",
		 "r.yaml:5: webhook: 'http://a:99999/' is no address, expected "
		 "https://example.com/hook or https://example.com:8443/hook, with a port up to "
		 "65535",
		 ""},
		{"alert: [{name: a, when: value > 1, webhook: \"http://a:0/\"}]\n",
		 "r.yaml:5: webhook: 'http://a:0/' is no address, expected "
		 "https://example.com/hook or https://example.com:8443/hook, with a port up to "
		 "65535",
		 ""},
	};
	static const char taken[] =
		BODY "windows: {a: {fn: max, last: 100}, b: {fn: max, last: 1h}}\n"
		     "limits: {samples: 100}\n"
		     "alert: [{name: a, when: value > 1, webhook: \"http://[::1]:80/\", every: 1s},"
		     " {name: b, when: value > 1, exec: a, every: 1s}]\n";

	refuse_all(BODY, rows, mr_array_count(rows));
	cr_assert_eq(read_bytes(taken, strlen(taken)), 0, "%s", err.what);
}

Test(rule_refusals, need_no_error_to_fill)
{
	static const char *const texts[] = {
		"",
		"a",
		"pipeline: [",
		BODY "windows: {a: {fn: maen}}",
		BODY "clean: {spike: 1}",
		BODY "alert: [{name: a, when: valu}]",
		HEAD "output: in",
		BODY "windows: {a: {fn: weighted_average, last: 2, weights: [1]}}"};
	struct mr_rule *rule = NULL;

	for (size_t i = 0; i < mr_array_count(texts); i++)
		cr_assert_eq(mr_rule_read(texts[i], strlen(texts[i]), "r", &rule, NULL), -EINVAL,
			     "%s", texts[i]);
	cr_assert_null(rule);
}

/* Every beginning of a good file is refused or taken, nothing else. */
Test(rule_refusals, of_every_beginning)
{
	static const char text[] =
		BODY "clean: {range: [1, 2], drop: [missing], spike: 6mad}\n"
		     "windows:\n  a: {fn: weighted_average, last: 2, weights: [1, 2]}\n"
		     "alert:\n  - {name: a, when: \"a > 1 for 3\", exec: \"/bin/a 'b c'\"}\n";

	for (size_t count = 0; count <= sizeof(text) - 1; count++) {
		int r = read_bytes(text, count);

		cr_assert(r == 0 || r == -EINVAL);
		if (r < 0)
			cr_assert_eq(strncmp(err.what, "r.yaml:", 7), 0, "%zu: %s", count,
				     err.what);
	}
	cr_assert_eq(read_bytes(text, sizeof(text) - 1), 0, "%s", err.what);
}
