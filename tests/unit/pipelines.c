/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the catalogue of pipelines: what was saved is read back, also after a power
 * cut; a damaged file is refused, never half believed; each offset has one version; loops are seen.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "io_fake.h"
#include "log/partition.h"
#include "pipelines.h"

#define FILE_NAME "pipelines.json"

static struct mr_error err;

static struct mr_definition *definition_of(const char *name, const char *input, const char *output)
{
	static const uint64_t first[] = {7, 0}, second[] = {7, 20}, third[] = {30, 20};
	struct mr_definition *definition = calloc(1, sizeof(*definition));
	json_t *weights = json_pack("{s:[f, f]}", "avg", 0.75, 0.1);

	snprintf(definition->name, sizeof(definition->name), "%s", name);
	snprintf(definition->input, sizeof(definition->input), "%s", input);
	snprintf(definition->topics[MR_PIPELINE_OUTPUT], MR_TOPIC_NAME_MAX + 1, "%s", output);
	snprintf(definition->topics[MR_PIPELINE_REJECTED], MR_TOPIC_NAME_MAX + 1, "%s.rejected",
		 output);
	memset(definition->id, name[0], 16);
	memset(definition->input_id, input[0], 16);
	definition->partition_count = 2;
	definition->producer_id = MR_PRODUCER_ID_FIXED | 12;
	definition->created_ms = 5;
	cr_assert_eq(mr_definition_add_version(definition, "one: \"x\"\n", NULL, first, &err), 0);
	cr_assert_eq(mr_definition_add_version(definition, "two: ü\n", weights, second, &err), 0);
	cr_assert_eq(mr_definition_add_version(definition, "three", NULL, third, &err), 0);
	json_decref(weights);
	return definition;
}

static void add(struct mr_pipelines *pipelines, const char *name, const char *input,
		const char *output)
{
	cr_assert_eq(mr_pipelines_add(pipelines, definition_of(name, input, output), &err), 0, "%s",
		     err.what);
}

static void expect_equal(const struct mr_definition *a, const struct mr_definition *b)
{
	json_t *one = mr_definition_to_json(a), *other = mr_definition_to_json(b);

	cr_assert(one && json_equal(one, other));
	json_decref(one);
	json_decref(other);
}

Test(pipelines, what_was_saved_is_read_back_after_a_power_cut)
{
	for (uint64_t seed = 1; seed < 20; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);
		struct mr_pipelines pipelines = {0}, found;

		add(&pipelines, "m", "in", "out");
		add(&pipelines, "a", "in", "else");
		cr_assert_eq(mr_pipelines_save(io, &pipelines, &err), 0, "%s", err.what);
		mr_io_fake_crash(io, seed);
		cr_assert_eq(mr_pipelines_load(io, &found, &err), 0, "%s", err.what);
		cr_assert_eq(found.count, 2);
		cr_assert_str_eq(found.rows[0]->name, "a");
		for (size_t i = 0; i < 2; i++)
			expect_equal(found.rows[i], pipelines.rows[i]);
		mr_pipelines_deinit(&found);
		mr_pipelines_deinit(&pipelines);
		mr_io_close(io);
	}
}

Test(pipelines, no_file_is_none)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_pipelines found;

	cr_assert_eq(mr_pipelines_load(io, &found, &err), 0);
	cr_assert_eq(found.count, 0);
	mr_io_close(io);
}

Test(pipelines, no_bit_and_no_byte_of_the_file_may_differ)
{
	struct mr_io *io = mr_io_fake_new(1);
	struct mr_pipelines pipelines = {0}, found;
	size_t bytes;
	void *file;

	add(&pipelines, "a", "in", "out");
	cr_assert_eq(mr_pipelines_save(io, &pipelines, &err), 0);
	file = mr_io_fake_bytes(io, FILE_NAME, &bytes);
	for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
		mr_io_fake_flip_bit(io, FILE_NAME, bit);
		cr_assert_eq(mr_pipelines_load(io, &found, &err), -EBADMSG, "bit %lu",
			     (unsigned long)bit);
		cr_assert_eq(found.count, 0);
		mr_io_fake_flip_bit(io, FILE_NAME, bit);
	}
	for (size_t cut = bytes; cut-- > 0;) {
		mr_io_fake_cut(io, FILE_NAME, cut);
		cr_assert_eq(mr_pipelines_load(io, &found, &err), -EBADMSG, "cut to %zu", cut);
	}
	free(file);
	mr_pipelines_deinit(&pipelines);
	mr_io_close(io);
}

/* A definition with one value changed, as JSON that checks out otherwise. */
static int read_changed(const char *name, json_t *value)
{
	struct mr_definition *definition = definition_of("a", "in", "out"), *found = NULL;
	json_t *row = mr_definition_to_json(definition);
	int r;

	if (value)
		json_object_set_new(row, name, value);
	else
		json_object_del(row, name);
	r = mr_definition_from_json(row, &found, &err);
	cr_assert((r == 0) == (found != NULL));
	mr_definition_free(found);
	mr_definition_free(definition);
	json_decref(row);
	return r;
}

Test(pipelines, values_out_of_bounds_are_refused)
{
	static const char *const needed[] = {"name",	 "id",	      "input",	     "input_id",
					     "topics",	 "in_memory", "producer_id", "created_ms",
					     "versions", "partitions"};

	cr_assert_eq(read_changed("name", json_string("b")), 0);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		cr_assert_eq(read_changed(needed[i], NULL), -EBADMSG, "%s", needed[i]);
	cr_assert_eq(read_changed("name", json_string("")), -EBADMSG);
	cr_assert_eq(read_changed("id", json_string("12")), -EBADMSG);
	cr_assert_eq(read_changed("partitions", json_integer(0)), -EBADMSG);
	cr_assert_eq(read_changed("partitions", json_integer(3)), -EBADMSG);
	cr_assert_eq(read_changed("producer_id", json_integer(12)), -EBADMSG,
		     "another producer may have it");
	cr_assert_eq(read_changed("versions", json_array()), -EBADMSG);
	cr_assert_eq(read_changed("topics", json_pack("[s,s,s]", "", "", "r")), -EBADMSG);
	/* a version never begins before the one that it follows */
	cr_assert_eq(read_changed("versions", json_pack("[{s:s,s:[i,i]},{s:s,s:[i,i]}]", "text",
							"a", "at", 5, 5, "text", "b", "at", 6, 4)),
		     -EBADMSG);
	cr_assert_eq(
		read_changed("versions", json_pack("[{s:s,s:[i,i]}]", "text", "a", "at", -1, 5)),
		-EBADMSG);
}

Test(pipelines, each_offset_has_one_version)
{
	struct mr_definition *definition = definition_of("a", "in", "out");

	cr_assert_eq(mr_definition_version_at(definition, 0, 0), 0);
	cr_assert_eq(mr_definition_version_at(definition, 0, 7), 1, "of two the younger");
	cr_assert_eq(mr_definition_version_at(definition, 0, 29), 1);
	cr_assert_eq(mr_definition_version_at(definition, 0, 30), 2);
	cr_assert_eq(mr_definition_version_at(definition, 1, 19), 0);
	cr_assert_eq(mr_definition_version_at(definition, 1, 20), 2);
	mr_definition_drop_version(definition);
	cr_assert_eq(mr_definition_version_at(definition, 0, UINT64_MAX), 1);
	mr_definition_free(definition);
}

/* Three versions, of which the first begins at 10 in both partitions. */
static struct mr_definition *growing(void)
{
	static const uint64_t first[] = {10, 10};
	struct mr_definition *definition = definition_of("a", "in", "out");

	while (definition->version_count)
		mr_definition_drop_version(definition);
	cr_assert_eq(mr_definition_add_version(definition, "one", NULL, first, &err), 0);
	cr_assert_eq(mr_definition_add_version(definition, "two", NULL, NULL, &err), 0);
	cr_assert_eq(mr_definition_add_version(definition, "three", NULL, NULL, &err), 0);
	return definition;
}

Test(pipelines, a_version_holds_from_its_first_mark_on)
{
	struct mr_definition *definition = growing();

	cr_assert_eq(mr_definition_version_at(definition, 0, UINT64_MAX - 1), 0, "none is known");
	cr_assert_eq(mr_definition_pending(definition, 0), 1);
	cr_assert(mr_definition_begins(definition, 1, 0, 50));
	cr_assert_eq(mr_definition_version_at(definition, 0, 49), 0);
	cr_assert_eq(mr_definition_version_at(definition, 0, 50), 1);
	cr_assert_eq(mr_definition_version_at(definition, 1, 50), 0, "each partition by itself");
	cr_assert_eq(mr_definition_pending(definition, 0), 2);
	cr_assert_not(mr_definition_begins(definition, 1, 0, 60), "a second mark does nothing");
	cr_assert_eq(definition->versions[1].at[0], 50);
	cr_assert(mr_definition_begins(definition, 1, 0, 40), "the first one was not known");
	cr_assert_eq(definition->versions[1].at[0], 40);
	/* whose marks nobody saw began by then at the latest */
	cr_assert(mr_definition_begins(definition, 2, 1, 70));
	cr_assert_eq(definition->versions[1].at[1], 70);
	cr_assert_eq(mr_definition_version_at(definition, 1, 70), 2);
	cr_assert_eq(mr_definition_pending(definition, 1), 3, "all are known there");
	cr_assert(mr_definition_begins(definition, 2, 0, 3));
	cr_assert_eq(definition->versions[2].at[0], 10, "none begins before the pipeline does");
	mr_definition_free(definition);
}

Test(pipelines, what_is_not_known_yet_is_read_back_as_that)
{
	struct mr_definition *definition = growing(), *found;
	json_t *row;

	cr_assert(mr_definition_begins(definition, 1, 1, 33));
	row = mr_definition_to_json(definition);
	cr_assert_eq(mr_definition_from_json(row, &found, &err), 0, "%s", err.what);
	expect_equal(definition, found);
	cr_assert_eq(found->versions[1].at[0], MR_OFFSET_UNKNOWN);
	cr_assert_eq(found->versions[1].at[1], 33);
	json_decref(row);
	mr_definition_free(definition);
	mr_definition_free(found);
	cr_assert_eq(
		read_changed("versions", json_pack("[{s:s,s:[i,i]}]", "text", "a", "at", 5, -1)),
		-EBADMSG, "the first one begins somewhere");
	cr_assert_eq(read_changed("versions", json_pack("[{s:s,s:[i,i]},{s:s,s:[i,i]}]", "text",
							"a", "at", 5, 5, "text", "b", "at", -2, 6)),
		     -EBADMSG);
}

Test(pipelines, two_hosts_know_together_what_each_of_them_knows)
{
	struct mr_definition *a = growing(), *b = growing();

	mr_definition_drop_version(a);
	cr_assert(mr_definition_begins(a, 1, 0, 50));
	cr_assert(mr_definition_begins(b, 2, 1, 70));
	snprintf(b->topics[MR_PIPELINE_ALERTS], MR_TOPIC_NAME_MAX + 1, "out.alerts");
	cr_assert_eq(mr_definition_merge(a, b, &err), 1);
	cr_assert_eq(a->version_count, 3);
	cr_assert_str_eq(a->versions[2].text, "three");
	cr_assert_str_eq(a->topics[MR_PIPELINE_ALERTS], "out.alerts");
	cr_assert_eq(mr_definition_merge(b, a, &err), 1);
	expect_equal(a, b);
	cr_assert_eq(mr_definition_merge(a, b, &err), 0, "nothing is new twice");
	mr_definition_free(a);
	mr_definition_free(b);
}

Test(pipelines, what_a_log_loses_is_forgotten)
{
	struct mr_definition *definition = growing();

	cr_assert(mr_definition_begins(definition, 1, 0, 50));
	cr_assert(mr_definition_begins(definition, 1, 1, 20));
	cr_assert(mr_definition_begins(definition, 2, 0, 60));
	cr_assert_not(mr_definition_unlearn(definition, 0, 61, 90));
	cr_assert_not(mr_definition_unlearn(definition, 0, 20, 50), "it had no mark there");
	cr_assert(mr_definition_unlearn(definition, 0, 50, 55));
	cr_assert_eq(definition->versions[1].at[0], MR_OFFSET_UNKNOWN);
	cr_assert_eq(definition->versions[1].at[1], 20, "of another partition nothing is lost");
	cr_assert_eq(definition->version_count, 2, "what follows begins no sooner, so nowhere");
	cr_assert(mr_definition_unlearn(definition, 1, 0, 90));
	cr_assert_eq(definition->version_count, 1);
	cr_assert_eq(definition->versions[0].at[1], 10, "the first one needs no mark");
	mr_definition_free(definition);
}

Test(pipelines, of_another_rule_with_that_number_nothing_is_taken)
{
	struct mr_definition *a = growing(), *b = growing();

	mr_definition_drop_version(a);
	mr_definition_drop_version(a);
	cr_assert_eq(mr_definition_add_version(a, "another", NULL, NULL, &err), 0);
	cr_assert(mr_definition_begins(b, 2, 0, 30));
	cr_assert_eq(mr_definition_merge(a, b, &err), 0);
	cr_assert_eq(a->version_count, 2);
	cr_assert_eq(a->versions[1].at[0], MR_OFFSET_UNKNOWN);
	mr_definition_free(a);
	mr_definition_free(b);
}

Test(pipelines, what_is_no_text_is_no_rule)
{
	static const uint64_t at[] = {1, 1};
	struct mr_definition *definition = definition_of("a", "in", "out");

	cr_assert_eq(mr_definition_add_version(definition, "\xff\xfe", NULL, at, &err), -EBADMSG);
	cr_assert_eq(definition->version_count, 3);
	mr_definition_free(definition);
}

Test(pipelines, a_name_is_there_once_and_gone_when_taken)
{
	struct mr_pipelines pipelines = {0};
	struct mr_definition *again = definition_of("a", "in", "out"), *found;

	add(&pipelines, "a", "in", "out");
	cr_assert_eq(mr_pipelines_add(&pipelines, again, &err), -EEXIST);
	mr_definition_free(again);
	found = mr_pipelines_find(&pipelines, "a");
	cr_assert_not_null(found);
	cr_assert_eq(mr_pipelines_using(&pipelines, "in"), found);
	cr_assert_eq(mr_pipelines_using(&pipelines, "out.rejected"), found);
	cr_assert_null(mr_pipelines_using(&pipelines, "others"));
	mr_pipelines_take(&pipelines, found);
	mr_definition_free(found);
	cr_assert_null(mr_pipelines_find(&pipelines, "a"));
	cr_assert_null(mr_pipelines_using(&pipelines, "in"));
	mr_pipelines_deinit(&pipelines);
}

Test(pipelines, there_is_a_bound)
{
	struct mr_pipelines pipelines = {0};
	struct mr_definition *one;
	char name[16];

	for (int i = 0; i < MR_PIPELINES_MAX; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		add(&pipelines, name, "in", name);
	}
	one = definition_of("more", "in", "more");
	cr_assert_eq(mr_pipelines_add(&pipelines, one, &err), -ENOSPC);
	mr_definition_free(one);
	mr_pipelines_deinit(&pipelines);
}

Test(pipelines, a_loop_is_seen_over_any_number_of_pipelines)
{
	struct mr_pipelines pipelines = {0};

	cr_assert(mr_pipelines_lead_to(&pipelines, "x", "x"));
	cr_assert_not(mr_pipelines_lead_to(&pipelines, "x", "y"));
	/* c comes first by name, and last on the way */
	add(&pipelines, "3", "a", "b");
	add(&pipelines, "2", "b", "c");
	add(&pipelines, "1", "c", "d");
	cr_assert(mr_pipelines_lead_to(&pipelines, "a", "d"));
	cr_assert(mr_pipelines_lead_to(&pipelines, "b", "d.rejected"));
	cr_assert_not(mr_pipelines_lead_to(&pipelines, "d", "a"));
	cr_assert_not(mr_pipelines_lead_to(&pipelines, "c", "b"));
	mr_pipelines_deinit(&pipelines);
}
