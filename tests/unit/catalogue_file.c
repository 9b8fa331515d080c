/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of a catalogue's file: it is read back as it was saved; after a power cut it is
 * the old one or the new one; what is torn, damaged, no JSON or of another version is refused with
 * a sentence that names the file, and nothing of it is handed out.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_file.h"
#include "crc32c.h"
#include "io_fake.h"
#include "io_fault.h"

#define PATH	  "things.json"
#define BYTES_MAX 4096

static const struct mr_catalogue_file things = {
	.path = PATH, .rows = "things", .bytes_max = BYTES_MAX, .version_oldest = 2, .version = 3};
static struct mr_error err;

static json_t *root_of(int version, const char *thing)
{
	return json_pack("{s:i, s:[s]}", "version", version, "things", thing);
}

static int save(struct mr_io *io, const char *thing)
{
	return mr_catalogue_file_save(&things, io, root_of(3, thing), &err);
}

/* The one thing that the file lists; "" where there is no file. */
static void expect_thing(struct mr_io *io, const char *thing)
{
	json_t *root;

	cr_assert_eq(mr_catalogue_file_load(&things, io, &root, &err), 0, "%s", err.what);
	cr_assert_str_eq(
		root ? json_string_value(json_array_get(json_object_get(root, "things"), 0)) : "",
		thing);
	json_decref(root);
}

static void expect_refused(struct mr_io *io, const char *sentence)
{
	json_t *root = json_null();

	cr_assert_eq(mr_catalogue_file_load(&things, io, &root, &err), -EBADMSG, "%s", sentence);
	cr_assert_null(root);
	cr_assert_str_eq(err.what, sentence);
}

/* A file whose crc is right, whatever it says. */
static void write_whole(struct mr_io *io, const char *json)
{
	char text[BYTES_MAX];
	int n = snprintf(text, sizeof(text), "%s\n%08x\n", json, mr_crc32c(0, json, strlen(json)));

	cr_assert_eq(mr_io_replace(io, PATH, text, (size_t)n, &err), 0);
}

Test(catalogue_file, no_file_is_no_root)
{
	struct mr_io *io = mr_io_fake_new(1);

	expect_thing(io, "");
	mr_io_close(io);
}

Test(catalogue_file, is_one_line_of_json_and_one_of_its_crc)
{
	static const char json[] = "{\"version\":3,\"things\":[\"a\"]}";
	struct mr_io *io = mr_io_fake_new(1);
	char expected[128];
	size_t bytes;
	char *text;
	int n = snprintf(expected, sizeof(expected), "%s\n%08x\n", json,
			 mr_crc32c(0, json, strlen(json)));

	cr_assert_eq(save(io, "a"), 0);
	text = mr_io_fake_bytes(io, PATH, &bytes);
	cr_assert_eq(bytes, (size_t)n);
	cr_assert_eq(memcmp(text, expected, bytes), 0);
	free(text);
	mr_io_close(io);
}

Test(catalogue_file, what_was_saved_survives_a_power_cut)
{
	for (uint64_t seed = 1; seed < 50; seed++) {
		struct mr_io *io = mr_io_fake_new(seed);

		cr_assert_eq(save(io, "old"), 0, "%s", err.what);
		cr_assert_eq(save(io, "new"), 0, "%s", err.what);
		mr_io_fake_crash(io, seed);
		expect_thing(io, "new");
		mr_io_close(io);
	}
}

/* Whichever operation of the disk fails, and whatever the power cut then leaves. */
Test(catalogue_file, a_save_that_fails_leaves_the_old_one_or_the_new_one)
{
	uint32_t failed = 0;

	for (int kind = 0; kind < MR_IO_FAULT_KIND_COUNT; kind++) {
		struct mr_io *disk = mr_io_fake_new(7), *io = mr_io_fault_new(disk);
		struct mr_io_fault_plan plan = {
			.kind = (enum mr_io_fault_kind)kind, .nth = 1, .error = -EIO};
		json_t *root;

		cr_assert_eq(save(io, "old"), 0);
		mr_io_fault_set(io, &plan);
		failed += save(io, "new") < 0;
		mr_io_fake_crash(disk, (uint64_t)kind);
		cr_assert_eq(mr_catalogue_file_load(&things, disk, &root, &err), 0, "%s", err.what);
		cr_assert_not_null(root);
		json_decref(root);
		mr_io_close(io);
		mr_io_close(disk);
	}
	cr_assert_geq(failed, 3); /* a write, a sync, a rename at least */
}

Test(catalogue_file, no_bit_may_differ)
{
	struct mr_io *io = mr_io_fake_new(1);
	json_t *root;
	size_t bytes;

	cr_assert_eq(save(io, "a"), 0);
	free(mr_io_fake_bytes(io, PATH, &bytes));
	for (uint64_t bit = 0; bit < 8 * bytes; bit++) {
		mr_io_fake_flip_bit(io, PATH, bit);
		cr_assert_eq(mr_catalogue_file_load(&things, io, &root, &err), -EBADMSG, "bit %lu",
			     (unsigned long)bit);
		cr_assert_null(root);
		mr_io_fake_flip_bit(io, PATH, bit);
	}
	expect_thing(io, "a");
	mr_io_close(io);
}

Test(catalogue_file, torn_anywhere_it_is_refused)
{
	struct mr_io *io = mr_io_fake_new(1);
	char sentence[128];
	size_t bytes;

	cr_assert_eq(save(io, "a"), 0);
	free(mr_io_fake_bytes(io, PATH, &bytes));
	while (bytes-- > 0) {
		mr_io_fake_cut(io, PATH, bytes);
		snprintf(sentence, sizeof(sentence), "file '" PATH "' is cut: %zu bytes", bytes);
		expect_refused(io, sentence);
	}
	mr_io_close(io);
}

Test(catalogue_file, what_follows_the_crc_is_refused)
{
	static const char more[] = "{\"version\":3,\"things\":[]}\n00000000\n\n";
	struct mr_io *io = mr_io_fake_new(1);

	cr_assert_eq(mr_io_replace(io, PATH, more, sizeof(more) - 1, &err), 0);
	expect_refused(io, "file '" PATH "' is cut: 36 bytes");
	mr_io_close(io);
}

Test(catalogue_file, a_wrong_crc_is_told_beside_the_right_one)
{
	static const char json[] = "{\"version\":3,\"things\":[]}", zero[] = "\n00000000\n";
	struct mr_io *io = mr_io_fake_new(1);
	char text[64], sentence[128];

	snprintf(text, sizeof(text), "%s%s", json, zero);
	cr_assert_eq(mr_io_replace(io, PATH, text, strlen(text), &err), 0);
	snprintf(sentence, sizeof(sentence), "file '" PATH "' has crc 00000000, computed %08x",
		 mr_crc32c(0, json, strlen(json)));
	expect_refused(io, sentence);
	mr_io_close(io);
}

Test(catalogue_file, versions_from_the_oldest_known_to_todays_are_read)
{
	static const struct mr_catalogue_file one = {.path = PATH,
						     .rows = "things",
						     .bytes_max = BYTES_MAX,
						     .version_oldest = 3,
						     .version = 3};
	struct mr_io *io = mr_io_fake_new(1);
	json_t *root;

	write_whole(io, "{\"version\":1,\"things\":[]}");
	expect_refused(io, "file '" PATH "': version 1, expected 2 to 3");
	write_whole(io, "{\"version\":2,\"things\":[\"b\"]}");
	expect_thing(io, "b");
	write_whole(io, "{\"version\":4,\"things\":[]}");
	expect_refused(io, "file '" PATH "': version 4, expected 2 to 3");
	cr_assert_eq(mr_catalogue_file_load(&one, io, &root, &err), -EBADMSG);
	cr_assert_str_eq(err.what, "file '" PATH "': version 4, expected 3");
	mr_io_close(io);
}

Test(catalogue_file, a_right_crc_does_not_make_sense_of_it)
{
	static const char *const senseless[] = {"",
						"{",
						"[]",
						"3",
						"{\"things\":[]}",
						"{\"version\":3}",
						"{\"version\":3,\"things\":{}}",
						"{\"version\":\"3\",\"things\":[]}",
						"{\"version\":3,\"version\":3,\"things\":[]}"};
	struct mr_io *io = mr_io_fake_new(1);
	json_t *root;

	for (size_t i = 0; i < sizeof(senseless) / sizeof(senseless[0]); i++) {
		write_whole(io, senseless[i]);
		cr_assert_eq(mr_catalogue_file_load(&things, io, &root, &err), -EBADMSG, "%s",
			     senseless[i]);
		cr_assert_null(root);
		cr_assert_eq(strncmp(err.what, "file '" PATH "'", strlen("file '" PATH "'")), 0);
	}
	mr_io_close(io);
}

Test(catalogue_file, a_longer_one_than_there_may_be_is_not_read)
{
	struct mr_io *io = mr_io_fake_new(1);
	char *text = calloc(1, BYTES_MAX + 1);
	json_t *root;

	cr_assert_eq(mr_io_replace(io, PATH, text, BYTES_MAX + 1, &err), 0);
	cr_assert_lt(mr_catalogue_file_load(&things, io, &root, &err), 0);
	cr_assert_null(root);
	free(text);
	mr_io_close(io);
}

Test(catalogue_file, without_memory_for_its_root_nothing_is_written)
{
	struct mr_io *io = mr_io_fake_new(1);

	cr_assert_eq(save(io, "a"), 0);
	cr_assert_eq(mr_catalogue_file_save(&things, io, NULL, &err), -ENOMEM);
	cr_assert_str_eq(err.what, "no memory for the catalogue of things");
	expect_thing(io, "a");
	mr_io_close(io);
}
