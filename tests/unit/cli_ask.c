/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of an answer in words: a number keeps its meaning whatever its unit, what is not
 * there is nothing, and no list of names is longer than its room.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "ask.h"

Test(cli_ask, an_amount_has_the_unit_that_fits)
{
	static const struct {
		json_int_t value;
		const char *text;
	} rows[] = {
		{0, "0"},	    {999, "999"},
		{1000, "1.0 k"},    {1500, "1.5 k"},
		{99900, "99.9 k"},  {150000, "150 k"},
		{1000000, "1.0 M"}, {INT64_C(3200000000), "3.2 G"},
	};
	char room[24], ratio[48];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_str_eq(mr_ask_amount(rows[i].value, room), rows[i].text);
	cr_expect_lt(strlen(mr_ask_amount(INT64_MAX, room)), sizeof(room));
	cr_expect_str_eq(mr_ask_bytes(999, room), "999 B");
	cr_expect_str_eq(mr_ask_bytes(4096, room), "4.1 kB");
	cr_expect_str_eq(mr_ask_ratio(1024, 4096, ratio), "0.25 of 4.1 kB");
	cr_expect_str_eq(mr_ask_ratio(0, 0, ratio), "nothing yet");
	cr_expect_lt(strlen(mr_ask_ratio(INT64_MAX, 1, ratio)), sizeof(ratio));
	cr_expect_lt(strlen(mr_ask_ratio(INT64_MAX, INT64_MAX, ratio)), sizeof(ratio));
}

Test(cli_ask, a_span_has_the_unit_that_fits)
{
	static const struct {
		json_int_t ms;
		const char *text;
	} rows[] = {
		{0, "0 ms"},	    {999, "999 ms"},	{3200, "3.2 s"},
		{90000, "1.5 min"}, {7200000, "2.0 h"}, {INT64_C(86400000) * 30, "30.0 d"},
	};
	char room[24];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_str_eq(mr_ask_span(rows[i].ms, room), rows[i].text);
	cr_expect_lt(strlen(mr_ask_span(INT64_MAX, room)), sizeof(room));
}

Test(cli_ask, words_stand_in_a_row_and_keep_to_their_room)
{
	json_t *list = json_pack("[s, s, s]", "a", "node-b", "c");
	char room[16], small[6];

	cr_expect_str_eq(mr_ask_words(list, room, sizeof(room)), "a, node-b, c");
	cr_expect_eq(strlen(mr_ask_words(list, small, sizeof(small))), 5);
	cr_expect_str_eq(mr_ask_words(NULL, room, sizeof(room)), "none");
	json_array_clear(list);
	cr_expect_str_eq(mr_ask_words(list, room, sizeof(room)), "none");
	json_decref(list);
}

Test(cli_ask, what_is_not_there_is_nothing)
{
	json_t *object = json_pack("{s:i, s:s, s:n}", "number", 7, "word", "w", "null");

	cr_expect_eq(mr_ask_number(object, "number"), 7);
	cr_expect_eq(mr_ask_number(object, "word"), 0);
	cr_expect_eq(mr_ask_number(object, "other"), 0);
	cr_expect_str_eq(mr_ask_word(object, "word"), "w");
	cr_expect_str_eq(mr_ask_word(object, "null"), "");
	cr_expect_str_eq(mr_ask_word(object, "other"), "");
	json_decref(object);
}
