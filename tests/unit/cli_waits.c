/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of partitions that wait, in words: those with one reason stand together, however
 * many there are; no line is longer than 80 columns; one partition is named in what to do.
 */
#include "waits.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *shown;
static size_t shown_bytes;

static size_t show(const char *rows, int32_t partition)
{
	json_t *json = json_loads(rows, 0, NULL);
	FILE *out = open_memstream(&shown, &shown_bytes);
	size_t count;

	cr_assert_not_null(json);
	count = mr_waits_print(out, json, partition);
	fclose(out);
	json_decref(json);
	return count;
}

#define ROW(topic, number, why, ms)                                                                \
	"{\"topic\":\"" topic "\",\"partition\":" number ",\"why\":\"" why                         \
	"\",\"do\":\"say TOPIC/PARTITION\",\"for_ms\":" ms "}"

Test(cli_waits, one_is_named_in_what_to_do)
{
	cr_expect_eq(show("[" ROW("t", "3", "because", "1500") "]", -1), 1);
	cr_expect_str_eq(shown, "  t/3 for 1.5 s\n    why: because\n    do:  say t/3\n");
}

Test(cli_waits, those_alike_stand_together)
{
	const char *rows = "[" ROW("t", "0", "a", "10") "," ROW("t", "1", "a", "2000") "," ROW(
		"t", "2", "b", "10") "," ROW("u", "0", "a", "10") "]";

	cr_expect_eq(show(rows, -1), 4);
	cr_expect_str_eq(shown, "  t/0-1, u/0 (3 partitions) for 2.0 s\n    why: a\n"
				"    do:  say TOPIC/PARTITION\n"
				"  t/2 for 10 ms\n    why: b\n    do:  say t/2\n");
	free(shown);
	cr_expect_eq(show(rows, 2), 1);
	cr_expect_null(strstr(shown, "why: a"));
	free(shown);
	cr_expect_eq(show("[]", -1), 0);
	cr_expect_str_eq(shown, "");
}

Test(cli_waits, a_thousand_fit_on_a_screen)
{
	json_t *rows = json_array();
	char *text;
	int lines = 0;

	for (int i = 0; i < 1000; i++)
		json_array_append_new(rows,
				      json_pack("{s:s, s:i, s:s, s:s, s:i}", "topic", "t",
						"partition", 2 * i, "why",
						"words and more words and more words and more "
						"words and more words and more words",
						"do", "x", "for_ms", 1));
	text = json_dumps(rows, 0);
	json_decref(rows);
	cr_expect_eq(show(text, -1), 1000);
	free(text);
	for (char *line, *at = shown; (line = strsep(&at, "\n")) != NULL;) {
		cr_expect_leq(strlen(line), 80, "%s", line);
		lines++;
	}
	cr_expect_leq(lines, 10);
}
