/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See waits.h.
 */
#include "waits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "connection.h"
#include "error.h"

#define SECOND_NS UINT64_C(1000000000)
#define QUIET_NS  SECOND_NS
#define AGAIN_NS  (2 * SECOND_NS)
#define COLUMNS	  80
#define LINES	  3 /* of partitions' names */

/* ---- showing --------------------------------------------------------------------------------- */

static bool is_one(const json_t *row, int32_t partition)
{
	return partition < 0 || mr_ask_number(row, "partition") == partition;
}

static bool is_like(const json_t *row, const json_t *other)
{
	return !strcmp(mr_ask_word(row, "why"), mr_ask_word(other, "why")) &&
	       !strcmp(mr_ask_word(row, "do"), mr_ask_word(other, "do"));
}

/* It was shown with one before it. */
static bool is_shown(const json_t *rows, size_t at, int32_t partition)
{
	for (size_t i = 0; i < at; i++)
		if (is_one(json_array_get(rows, i), partition) &&
		    is_like(json_array_get(rows, i), json_array_get(rows, at)))
			return true;
	return false;
}

/* Words that are put into lines. */
struct lines {
	FILE *out;
	const char *margin; /* of each line after the first */
	int column;
	int count;
};

static void add(struct lines *lines, const char *text, size_t bytes)
{
	if (lines->column + 1 + (int)bytes > COLUMNS) {
		fprintf(lines->out, "\n%s", lines->margin);
		lines->column = (int)strlen(lines->margin);
		lines->count++;
	} else {
		fputc(' ', lines->out);
		lines->column++;
	}
	fprintf(lines->out, "%.*s", (int)bytes, text);
	lines->column += (int)bytes;
}

/* "why: " and words, which may say TOPIC/PARTITION where 'name' is meant. */
static void print_words(FILE *out, const char *head, const char *text, const char *name)
{
	struct lines lines = {.out = out, .margin = "         ", .column = (int)strlen(head)};
	static const char place[] = "TOPIC/PARTITION";

	fputs(head, out);
	while (*text) {
		size_t bytes = strcspn(text, " ");

		if (name && bytes == strlen(place) && strncmp(text, place, bytes) == 0)
			add(&lines, name, strlen(name));
		else
			add(&lines, text, bytes);
		text += bytes + strspn(text + bytes, " ");
	}
	fputc('\n', out);
}

/* From 'at' on: as many rows as are one topic's, one number after the other, and alike. */
static size_t run_of(const json_t *rows, size_t at, int32_t partition)
{
	const json_t *first = json_array_get(rows, at);
	size_t count = 1;

	while (partition < 0 && at + count < json_array_size(rows)) {
		const json_t *next = json_array_get(rows, at + count);

		if (!is_like(first, next) ||
		    strcmp(mr_ask_word(first, "topic"), mr_ask_word(next, "topic")) != 0 ||
		    mr_ask_number(next, "partition") !=
			    mr_ask_number(first, "partition") + (json_int_t)count)
			break;
		count++;
	}
	return count;
}

static void print_run(struct lines *lines, const json_t *first, size_t count, bool more)
{
	char text[400];
	int used = snprintf(text, sizeof(text), "%s/%" JSON_INTEGER_FORMAT,
			    mr_ask_word(first, "topic"), mr_ask_number(first, "partition"));

	if (count > 1)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "-%" JSON_INTEGER_FORMAT,
				 mr_ask_number(first, "partition") + (json_int_t)count - 1);
	if (more)
		used += snprintf(text + used, sizeof(text) - (size_t)used, ",");
	add(lines, text, (size_t)used);
}

/* What all rows like that at 'at' come to. */
struct alike {
	size_t count;
	size_t runs;
	json_int_t for_ms; /* of that which waits longest */
};

static struct alike sum_up(const json_t *rows, size_t at, int32_t partition)
{
	const json_t *first = json_array_get(rows, at);
	struct alike sum = {0};
	size_t run_ends = at;
	size_t i;

	for (i = at; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);

		if (!is_one(row, partition) || !is_like(first, row))
			continue;
		sum.count++;
		if (mr_ask_number(row, "for_ms") > sum.for_ms)
			sum.for_ms = mr_ask_number(row, "for_ms");
		if (i < run_ends)
			continue;
		sum.runs++;
		run_ends = i + run_of(rows, i, partition);
	}
	return sum;
}

static void print_names(FILE *out, const json_t *rows, size_t at, int32_t partition,
			const struct alike *sum)
{
	struct lines lines = {.out = out, .margin = "   ", .column = 1};
	const json_t *first = json_array_get(rows, at);
	size_t shown = 0;
	size_t i = at;
	char span[24];
	char text[64];

	fputc(' ', out);
	while (i < json_array_size(rows) && lines.count < LINES) {
		const json_t *row = json_array_get(rows, i);
		size_t count = run_of(rows, i, partition);

		if (is_one(row, partition) && is_like(first, row))
			print_run(&lines, row, count, ++shown < sum->runs);
		i += count;
	}
	if (shown < sum->runs)
		add(&lines, "...", 3);
	if (sum->count > 1) {
		snprintf(text, sizeof(text), "(%zu partitions)", sum->count);
		add(&lines, text, strlen(text));
	}
	snprintf(text, sizeof(text), "for %s", mr_ask_span(sum->for_ms, span));
	add(&lines, text, strlen(text));
	fputc('\n', out);
}

size_t mr_waits_print(FILE *out, const json_t *rows, int32_t partition)
{
	size_t total = 0;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
	{
		struct alike sum;
		char name[300];

		if (!is_one(row, partition) || is_shown(rows, i, partition))
			continue;
		sum = sum_up(rows, i, partition);
		total += sum.count;
		print_names(out, rows, i, partition, &sum);
		snprintf(name, sizeof(name), "%s/%" JSON_INTEGER_FORMAT, mr_ask_word(row, "topic"),
			 mr_ask_number(row, "partition"));
		print_words(out, "    why:", mr_ask_word(row, "why"), NULL);
		print_words(out, "    do: ", mr_ask_word(row, "do"), sum.count == 1 ? name : NULL);
	}
	return total;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* NULL: nobody answers. */
static json_t *ask(struct mr_waits *waits)
{
	json_t *request = json_pack("{s:s, s:s}", "do", "topic.waits", "name", waits->topic);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	char *reply = NULL;
	json_t *json = NULL;

	if (text && mr_connection_is_up(waits->connection) &&
	    mr_connection_admin(waits->connection, text, &reply, NULL) == 0)
		json = json_loads(reply, 0, NULL);
	json_decref(request);
	free(text);
	free(reply);
	return json;
}

static size_t count_rows(const json_t *rows, int32_t partition)
{
	size_t count = 0;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) count += is_one(row, partition);
	return count;
}

/* As mr_waits_say(); -1: nobody answers. */
static int look(struct mr_waits *waits, bool silent)
{
	json_t *reply = ask(waits);
	const json_t *rows = json_object_get(reply, "waits");
	size_t count = count_rows(rows, waits->partition);
	bool known = reply != NULL;

	if (count && !silent) {
		fprintf(stderr, "waiting:\n");
		mr_waits_print(stderr, rows, waits->partition);
		fflush(stderr);
	}
	json_decref(reply);
	return known ? (int)count : -1;
}

size_t mr_waits_say(struct mr_waits *waits)
{
	int count = look(waits, false);

	return count > 0 ? (size_t)count : 0;
}

void mr_waits_begin(struct mr_waits *waits, uint64_t now_ns)
{
	waits->quiet_since_ns = now_ns;
	waits->ask_ns = now_ns + QUIET_NS;
}

static void say_over(struct mr_waits *waits, uint64_t now_ns)
{
	char span[24];

	if (waits->said_ns)
		fprintf(stderr, "going on, after %s\n",
			mr_ask_span((json_int_t)((now_ns - waits->said_ns) / 1000000), span));
	waits->said_ns = 0;
}

void mr_waits_turn(struct mr_waits *waits, bool moved, uint64_t now_ns)
{
	int count;

	if (moved)
		waits->quiet_since_ns = now_ns;
	if (now_ns < waits->ask_ns ||
	    (waits->asked && !waits->said_ns && now_ns - waits->quiet_since_ns < QUIET_NS))
		return;
	count = look(waits, waits->said_ns != 0);
	waits->asked = true;
	waits->ask_ns = now_ns + (waits->said_ns || count > 0 ? QUIET_NS : AGAIN_NS);
	if (count > 0 && !waits->said_ns)
		waits->said_ns = now_ns;
	else if (count == 0)
		say_over(waits, now_ns);
}

bool mr_waits_why(struct mr_waits *waits, struct mr_error *err)
{
	json_t *reply = ask(waits);
	const json_t *rows = json_object_get(reply, "waits");
	const json_t *found = NULL;
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) if (!found && is_one(row, waits->partition)) found = row;
	if (found)
		mr_error_why(err, "%s/%" JSON_INTEGER_FORMAT ": %s", mr_ask_word(found, "topic"),
			     mr_ask_number(found, "partition"), mr_ask_word(found, "why"));
	json_decref(reply);
	return found != NULL;
}
