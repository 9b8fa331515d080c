/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the feed's table of partitions: it has what was added and not removed, however
 * keys crowd, and to take all of it out costs as much as stands in it, not the square of that: a
 * peer with many partitions that goes away would stop the feed for all others meanwhile.
 */
#include "feed_inside.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define CROWD	   300
#define STEPS	   200000
#define MANY	   1000000
#define PATIENCE_S 60 /* one look a slot and entry is over in far less; the square takes minutes   \
		       */

static uint64_t seed = 0x5eed;

static uint32_t chance(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static struct feed_key numbered(uint32_t i)
{
	/* few topics, so that keys differ by their partitions only, and one that differs late */
	uint8_t id[16] = {[0] = (uint8_t)(i % 3), [15] = (uint8_t)(i % 2)};

	return feed_key(id, (int32_t)(i / 6));
}

/* Each key is found if, and only if, it is in. */
Test(feed_table, has_what_was_added_and_not_removed)
{
	static struct feed_key keys[CROWD];
	static bool in[CROWD];
	struct feed_table table = {0};
	uint32_t count = 0;

	for (uint32_t i = 0; i < CROWD; i++)
		keys[i] = numbered(i);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t i = chance(CROWD), j = chance(CROWD);

		if (in[i])
			cr_assert_eq(feed_table_remove(&table, &keys[i]), &keys[i]);
		else
			cr_assert_eq(feed_table_add(&table, &keys[i]), 0);
		in[i] = !in[i];
		count += in[i] ? 1 : UINT32_MAX;
		cr_assert_eq(table.count, count);
		cr_assert_eq(feed_table_find(&table, &keys[j]), in[j] ? &keys[j] : NULL);
	}
	feed_table_deinit(&table);
}

/* Any of it, until there is nothing, also if some are added meanwhile. */
Test(feed_table, any_is_one_of_those_that_are_in)
{
	static struct feed_key keys[CROWD];
	struct feed_table table = {0};
	uint32_t added = 0, taken = 0;
	struct feed_key *any;

	cr_assert_null(feed_table_any(&table));
	for (; added < CROWD / 2; added++) {
		keys[added] = numbered(added);
		cr_assert_eq(feed_table_add(&table, &keys[added]), 0);
	}
	while ((any = feed_table_any(&table))) {
		cr_assert_eq(feed_table_remove(&table, any), any);
		taken++;
		if (added == CROWD || chance(2))
			continue;
		keys[added] = numbered(added);
		cr_assert_eq(feed_table_add(&table, &keys[added++]), 0);
	}
	cr_assert_eq(taken, added);
	cr_assert_eq(table.count, 0);
	feed_table_deinit(&table);
}

/* Each look began at the first slot: a million partitions took minutes. */
Test(feed_table, all_of_it_is_taken_out_in_one_pass, .timeout = PATIENCE_S)
{
	struct feed_key *keys = calloc(MANY, sizeof(*keys)), *any;
	struct feed_table table = {0};
	uint32_t taken = 0;

	cr_assert_not_null(keys);
	for (uint32_t i = 0; i < MANY; i++) {
		keys[i] = numbered(i);
		cr_assert_eq(feed_table_add(&table, &keys[i]), 0);
	}
	while ((any = feed_table_any(&table))) {
		feed_table_remove(&table, any);
		taken++;
	}
	cr_assert_eq(taken, MANY);
	feed_table_deinit(&table);
	free(keys);
}
