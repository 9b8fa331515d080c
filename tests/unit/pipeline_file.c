/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a pipeline's checkpoint: what was named is read back whatever happens to the
 * power; what was only written is not; no bit of it may differ.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_fake.h"
#include "pipeline_file.h"
#include "pipelines.h"

#define FOLDER "pipelines"
#define PATH   "pipelines/0"
#define RULE                                                                                       \
	"pipeline: hot\ninput: in\nparse: number\nwindows:\n  avg: {fn: mean, last: 4}\n"          \
	"output: out\n"

static struct mr_error err;
static struct mr_io *io;
static struct mr_rule *rule;
static struct mr_program *program;

static void begin(uint64_t seed)
{
	io = mr_io_fake_new(seed);
	cr_assert_eq(mr_io_make_directory(io, FOLDER, &err), 0);
	cr_assert_eq(mr_io_sync_directory(io, ".", &err), 0);
	if (!program)
		cr_assert_eq(mr_pipelines_compile(RULE, NULL, "rule", &rule, &program, &err), 0,
			     "%s", err.what);
}

static void end(void)
{
	mr_io_close(io);
	mr_program_free(program);
	mr_rule_free(rule);
	program = NULL;
}

static void drop(void *arg, const struct mr_pipeline_record *record)
{
}

static struct mr_pipeline *fed(uint64_t from, uint64_t to)
{
	struct mr_pipeline_sink sink = {.put = drop};
	struct mr_pipeline *pipeline;

	cr_assert_eq(mr_pipeline_new(program, 0, &pipeline, &err), 0);
	for (; from < to; from++) {
		char key[8], value[16];
		struct mr_message message = {.offset = from, .key = key, .value = value};

		message.timestamp_ms = 1000 + (int64_t)from;
		message.key_bytes = snprintf(key, sizeof(key), "k%lu", (unsigned long)from % 9);
		message.value_bytes = snprintf(value, sizeof(value), "%lu", (unsigned long)from);
		cr_assert_eq(mr_pipeline_feed(pipeline, &message, 1, &sink), 0);
	}
	return pipeline;
}

static int append(void *arg, const void *bytes, size_t count)
{
	FILE *file = arg;

	return fwrite(bytes, 1, count, file) == count ? 0 : -EIO;
}

static char *state_of(const struct mr_pipeline *pipeline, size_t *bytes)
{
	char *state = NULL;
	FILE *file = open_memstream(&state, bytes);

	cr_assert_eq(mr_pipeline_save(pipeline, append, file), 0);
	fclose(file);
	return state;
}

static void expect_same(const struct mr_pipeline *a, const struct mr_pipeline *b)
{
	size_t bytes, other_bytes;
	char *state = state_of(a, &bytes), *other = state_of(b, &other_bytes);

	cr_assert_eq(bytes, other_bytes);
	cr_assert_eq(memcmp(state, other, bytes), 0);
	free(state);
	free(other);
}

static int load(struct mr_pipeline_file *head, struct mr_pipeline **out)
{
	int r = mr_pipeline_file_head(io, PATH, head, &err);

	*out = NULL;
	if (r < 0)
		return r;
	cr_assert_eq(mr_pipeline_new(program, 0, out, &err), 0);
	r = mr_pipeline_file_load(io, PATH, head, *out, &err);
	if (r < 0) {
		mr_pipeline_free(*out);
		*out = NULL;
	}
	return r;
}

static void save(const struct mr_pipeline *pipeline, uint64_t offset, bool name)
{
	struct mr_pipeline_file head = {.partition = 3, .rule_version = 2, .offset = offset};

	cr_assert_eq(mr_pipeline_file_write(io, PATH, &head, pipeline, &err), 0, "%s", err.what);
	if (name)
		cr_assert_eq(mr_pipeline_file_name(io, PATH, &err), 0, "%s", err.what);
}

/* Written and named, then the next one written only: the power decides nothing. */
Test(pipeline_file, only_what_was_named_counts_and_it_always_does)
{
	for (uint64_t seed = 1; seed < 30; seed++) {
		struct mr_pipeline *before, *after, *found;
		struct mr_pipeline_file head;

		begin(seed);
		before = fed(0, 100);
		after = fed(0, 130);
		cr_assert_eq(load(&head, &found), -ENOENT);
		save(before, 100, true);
		save(after, 130, false);
		mr_io_fake_crash(io, seed);
		cr_assert_eq(load(&head, &found), 0, "%s", err.what);
		cr_assert_eq(head.offset, 100);
		cr_assert_eq(head.partition, 3);
		cr_assert_eq(head.rule_version, 2);
		expect_same(found, before);
		mr_pipeline_free(found);
		save(after, 130, true); /* over what a crash left */
		mr_io_fake_crash(io, seed + 1000);
		cr_assert_eq(load(&head, &found), 0, "%s", err.what);
		cr_assert_eq(head.offset, 130);
		expect_same(found, after);
		mr_pipeline_free(found);
		mr_pipeline_free(before);
		mr_pipeline_free(after);
		end();
	}
}

/* The head says how long the state is, and both have their sum; zeros between them mean nothing. */
Test(pipeline_file, no_bit_of_head_and_state_may_differ)
{
	struct mr_pipeline *pipeline, *found;
	struct mr_pipeline_file head;
	size_t bytes;

	begin(1);
	pipeline = fed(0, 20);
	save(pipeline, 20, true);
	free(mr_io_fake_bytes(io, PATH, &bytes));
	cr_assert_eq(load(&head, &found), 0);
	mr_pipeline_free(found);
	cr_assert_leq(MR_PIPELINE_FILE_STATE + head.state_bytes, bytes);
	for (uint64_t at = 0; at < MR_PIPELINE_FILE_STATE + head.state_bytes; at++) {
		uint64_t bit = 8 * at + at % 8;

		if (at == sizeof(head))
			at = MR_PIPELINE_FILE_STATE - 1;
		if (at + 1 == MR_PIPELINE_FILE_STATE)
			continue;
		mr_io_fake_flip_bit(io, PATH, bit);
		cr_assert_eq(load(&head, &found), -EBADMSG, "byte %lu", (unsigned long)at);
		mr_io_fake_flip_bit(io, PATH, bit);
	}
	for (uint64_t cut = MR_PIPELINE_FILE_STATE + head.state_bytes; cut > 0;
	     cut -= cut % 97 + 1) {
		mr_io_fake_cut(io, PATH, cut - 1);
		cr_assert_eq(load(&head, &found), -EBADMSG, "cut to %lu", (unsigned long)cut - 1);
		if (cut < 100)
			break;
	}
	mr_pipeline_free(pipeline);
	end();
}

Test(pipeline_file, a_disk_without_room_leaves_the_old_one)
{
	struct mr_pipeline *pipeline, *found;
	struct mr_pipeline_file head = {0};

	begin(1);
	pipeline = fed(0, 50);
	save(pipeline, 50, true);
	mr_io_fake_set_free(io, 0);
	cr_assert_lt(mr_pipeline_file_write(io, PATH, &head, pipeline, &err), 0);
	cr_assert_eq(load(&head, &found), 0, "%s", err.what);
	cr_assert_eq(head.offset, 50);
	mr_pipeline_free(found);
	mr_io_fake_set_free(io, UINT64_C(1) << 30);
	save(pipeline, 51, true);
	cr_assert_eq(load(&head, &found), 0, "%s", err.what);
	cr_assert_eq(head.offset, 51);
	mr_pipeline_free(found);
	mr_pipeline_free(pipeline);
	end();
}
