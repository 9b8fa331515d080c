/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a question found, for people: a row a figure, at most 100 columns. A name that is too long
 * for its column has a line of its own; limit, disturbance and note follow indented.
 */
#include "run.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "jitter.h"

#define NAME_COLUMNS   34
#define VALUE_COLUMNS  11
#define LIMIT_COLUMNS  10
#define BAR_COLUMNS    10
#define WIDTH	       98
#define TEXT_BYTES     48
#define DISTURBED_SAID 0.005 /* less than that rounds to nothing */

struct step {
	double factor;
	const char *unit;
};

static void scaled(char *out, double value, const struct step *steps, size_t count)
{
	size_t i = 0;

	while (i + 1 < count && fabs(value) < steps[i].factor)
		i++;
	value /= steps[i].factor;
	if (fabs(value) >= 1e5)
		snprintf(out, TEXT_BYTES, "%.3g %s", value, steps[i].unit);
	else
		snprintf(out, TEXT_BYTES, "%.*f %s",
			 fabs(value) < 10    ? 2
			 : fabs(value) < 100 ? 1
					     : 0,
			 value, steps[i].unit);
}

static bool ends_with(const char *text, const char *end)
{
	size_t all = strlen(text), part = strlen(end);

	return all >= part && strcmp(text + all - part, end) == 0;
}

/* A unit as it is, where it fits whole: half of one is worse than none. */
static void plain_text(char *out, double value, const char *unit, int columns)
{
	bool bare = !*unit || strcmp(unit, "ratio") == 0;

	if (bare || snprintf(out, TEXT_BYTES, "%.4g %s", value, unit) > columns)
		snprintf(out, TEXT_BYTES, "%.4g", value);
}

/* A number with its unit, three digits or four. */
static void value_text(char *out, double value, const char *unit, int columns)
{
	static const struct step rates[] = {{1e9, "G/s"}, {1e6, "M/s"}, {1e3, "k/s"}, {1, "/s"}};
	static const struct step speeds[] = {
		{1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}, {1, "B/s"}};
	static const struct step times[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
	static const struct step sizes[] = {
		{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}};

	if (!isfinite(value))
		snprintf(out, TEXT_BYTES, "-");
	else if (strcmp(unit, "ns") == 0)
		scaled(out, value, times, mr_array_count(times));
	else if (strcmp(unit, "us") == 0)
		scaled(out, value * 1e3, times, mr_array_count(times));
	else if (strcmp(unit, "ms") == 0)
		scaled(out, value * 1e6, times, mr_array_count(times));
	else if (strcmp(unit, "s") == 0)
		scaled(out, value * 1e9, times, mr_array_count(times));
	else if (strcmp(unit, "bytes") == 0)
		scaled(out, value, sizes, mr_array_count(sizes));
	else if (strcmp(unit, "bytes/s") == 0)
		scaled(out, value, speeds, mr_array_count(speeds));
	else if (ends_with(unit, "/s"))
		scaled(out, value, rates, mr_array_count(rates));
	else if (strcmp(unit, "cores") == 0) /* of a core */
		snprintf(out, TEXT_BYTES, "%.3g %%", value * 100);
	else
		plain_text(out, value, unit, columns);
}

static void ratio_text(char *out, double ratio)
{
	if (!isfinite(ratio))
		snprintf(out, TEXT_BYTES, "-");
	else if (ratio >= 1000)
		snprintf(out, TEXT_BYTES, "%.0e", ratio);
	else
		snprintf(out, TEXT_BYTES, "%.*f", ratio < 10 ? 2 : ratio < 100 ? 1 : 0, ratio);
}

/* Of a value it has the value's unit, of a ratio none. */
static void bar_text(char *out, const struct mr_bench_row *row)
{
	char bar[TEXT_BYTES];

	if (row->limit_name[0])
		snprintf(bar, sizeof(bar), "%.4g", row->bar);
	else
		value_text(bar, row->bar, row->unit, BAR_COLUMNS - 2);
	if (row->sense == MR_BENCH_REPORT)
		snprintf(out, TEXT_BYTES, "-");
	else
		snprintf(out, TEXT_BYTES, "%s%.40s",
			 row->sense == MR_BENCH_AT_LEAST ? ">=" : "<=", bar);
}

/* Breaks between words. */
static void print_wrapped(FILE *out, const char *indent, const char *words)
{
	size_t room = WIDTH - strlen(indent);

	while (*words) {
		size_t bytes = strlen(words);

		if (bytes > room) {
			bytes = room;
			while (bytes > 0 && words[bytes] != ' ')
				bytes--;
			if (bytes == 0)
				bytes = room;
		}
		fprintf(out, "%s%.*s\n", indent, (int)bytes, words);
		words += bytes;
		words += strspn(words, " ");
	}
}

static void print_row(const struct mr_bench_row *row, FILE *out)
{
	static const char *const verdicts[] = {"reported", "met", "NOT MET"};
	char value[TEXT_BYTES], limit[TEXT_BYTES], ratio[TEXT_BYTES], bar[TEXT_BYTES];
	char low[TEXT_BYTES], high[TEXT_BYTES], spread[TEXT_BYTES * 3] = "-";
	char more[MR_BENCH_NAME_BYTES + 64];

	value_text(value, row->value, row->unit, VALUE_COLUMNS);
	value_text(limit, row->limit, row->unit, LIMIT_COLUMNS);
	ratio_text(ratio, row->ratio);
	ratio_text(low, row->ratio_min);
	ratio_text(high, row->ratio_max);
	bar_text(bar, row);
	if (isfinite(row->ratio))
		snprintf(spread, sizeof(spread), "%s..%s", low, high);
	if (strlen(row->name) > NAME_COLUMNS)
		fprintf(out, "%s\n%-*s", row->name, NAME_COLUMNS, "");
	else
		fprintf(out, "%-*s", NAME_COLUMNS, row->name);
	fprintf(out, " %*.*s %*.*s %6s %12s %*.*s  %s\n", VALUE_COLUMNS, VALUE_COLUMNS, value,
		LIMIT_COLUMNS, LIMIT_COLUMNS, limit, ratio, spread, BAR_COLUMNS, BAR_COLUMNS, bar,
		verdicts[mr_bench_judge(row)]);
	if (row->limit_name[0]) {
		snprintf(more, sizeof(more), "limit: %s", row->limit_name);
		print_wrapped(out, "    ", more);
	}
	if (row->disturbed >= DISTURBED_SAID)
		fprintf(out, "    disturbed %.0f %%\n", row->disturbed * 100);
	print_wrapped(out, "    ", row->note);
}

static void print_jitter(const struct mr_bench_run *run, FILE *out)
{
	uint64_t longest_ns;
	double lost;

	if (!run->jitter)
		return;
	mr_jitter_worst(run->jitter, &lost, &longest_ns);
	fprintf(out, "    jitter: up to %.1f %% of a core's time lost, longest gap %.1f ms\n",
		lost * 100, (double)longest_ns / 1e6);
	if (!mr_jitter_has_priority(run->jitter))
		print_wrapped(out, "    ",
			      "the probe had no real-time priority, so what it missed is also what "
			      "the measured programs used: run this as root, or allow it by "
			      "'ulimit -r 10'");
}

void mr_bench_table(const struct mr_bench_run *run, FILE *out)
{
	fprintf(out, "\n%-*s %*s %*s %6s %12s %*s\n", NAME_COLUMNS, run->question, VALUE_COLUMNS,
		"value", LIMIT_COLUMNS, "limit", "ratio", "spread", BAR_COLUMNS, "bar");
	for (uint32_t i = 0; i < run->row_count; i++)
		print_row(&run->rows[i], out);
	print_jitter(run, out);
}
