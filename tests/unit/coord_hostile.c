/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: bytes from a disk or a peer are refused with a sentence, or taken as a whole.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coord_static.h"

static struct mr_coord *coord;
static struct mr_error err;
static uint8_t *saved;
static size_t saved_bytes;
static const struct mr_coord_key key = {.topic_id = {0xab, 1, 2, 3}, .partition = 7};

static int save(void *arg, const void *bytes, size_t count)
{
	free(saved);
	saved = malloc(count);
	memcpy(saved, bytes, count);
	saved_bytes = count;
	return 0;
}

static void notify(void *arg, uint32_t node, const char *text, size_t bytes)
{
}

static int open_with(const void *bytes, size_t count)
{
	struct mr_coord_static_options options = {.self = 0,
						  .incarnation = 1,
						  .save = save,
						  .notify = notify,
						  .clock = &mr_clock_system};

	err = (struct mr_error){0};
	return mr_coord_static_open(&options, bytes, count, &coord, &err);
}

static void promoted(void *arg, int status, const struct mr_error *why)
{
	cr_expect_eq(status, 0);
}

/* One register, one promotion. */
static void setup(void)
{
	struct mr_coord_promotion promotion = {.key = key,
					       .to = 0,
					       .accept_loss = true,
					       .min_insync_replicas = 1,
					       .done = promoted};

	cr_assert_eq(open_with(NULL, 0), 0);
	cr_assert_eq(mr_coord_static_create(coord, &key, 7, 0, &err), 0);
	mr_coord_static_saved(coord, 0);
	cr_assert_eq(mr_coord_static_promote(coord, &promotion, &err), 0, "%s", err.what);
	mr_coord_static_saved(coord, 0);
	mr_coord_static_connected(coord, 1, 5);
}

static void teardown(void)
{
	coord->operations->close(coord);
	free(saved);
}

static void unchanged(void)
{
	struct mr_coord_state state;
	uint64_t not_heard_of;

	cr_assert_eq(mr_coord_static_known(coord, &key, &state, &not_heard_of), 0);
	cr_expect_eq(state.version, 1 + MR_COORD_TAKEOVER);
}

Test(coord_hostile, refuses_a_damaged_file, .init = setup, .fini = teardown)
{
	uint8_t *bytes;

	coord->operations->close(coord);
	cr_assert_eq(saved_bytes, 16 + 64 + 64 + 4);
	for (size_t cut = 0; cut < saved_bytes; cut++) {
		bytes = malloc(cut + 1); /* hardly longer: reading on is seen */
		memcpy(bytes, saved, cut);
		cr_assert_eq(open_with(bytes, cut), -EBADMSG, "%zu bytes", cut);
		cr_assert(err.what[0]);
		free(bytes);
	}
	bytes = malloc(saved_bytes);
	for (size_t at = 0; at < saved_bytes * 8; at++) {
		memcpy(bytes, saved, saved_bytes);
		bytes[at / 8] ^= (uint8_t)(1 << at % 8);
		cr_assert_eq(open_with(bytes, saved_bytes), -EBADMSG, "bit %zu", at);
	}
	free(bytes);
	cr_assert_eq(open_with(saved, saved_bytes), 0);
	unchanged();
}

#define TOPIC	 "ab010203000000000000000000000000"
#define ROW(row) "{\"coord\": [\"" row "\"]}"
#define S(rest)	 ROW("s " TOPIC rest)

Test(coord_hostile, refuses_nonsense_from_a_peer, .init = setup, .fini = teardown)
{
	static const char *const nonsense[] = {"",
					       "{}",
					       "{\"coord\": [], \"coord\": []}",
					       "{\"coord\": [], \"more\": 1}",
					       "{\"coord\": [\"s \"]}",
					       ROW("x " TOPIC " 7 1"),
					       "{\"coord\": [\"s ab 7 9 1 1 1 40 7 7 0\"]}",
					       S(" 7 9 1 1 1 40 7 7"),
					       S(" 7  9 1 1 1 40 7 7 0 0"),
					       S(" 7 0 1 1 1 40 7 7 0 0"),
					       S(" 7 9 1 0 1 40 7 7 0 0"),
					       S(" 7 9 1 2 1 40 7 7 0 0"),
					       S(" 7 9 1 1 1 40 8 7 0 0"),
					       S(" 8 9 1 1 1 40 5 5 0 0"),
					       ROW("h " TOPIC " 7 1 0"),
					       ROW("o " TOPIC " 7 1 2 2 1 1 1 40 7"),
					       ROW("m " TOPIC " 7 1 0 5"),
					       ROW("d " TOPIC " 7 1 5000 x")};

	static const char harmless[] =
		"{\"coord\": [\"h " TOPIC " 9 1 0 1\", \"o " TOPIC " 7 77 1 1 1 1 1 0 7\"]}";

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		cr_expect_eq(
			mr_coord_static_heard(coord, 1, nonsense[i], strlen(nonsense[i]), &err),
			-EBADMSG, "%s", nonsense[i]);
		cr_expect(err.what[0]);
	}
	unchanged();
	/* what makes sense and concerns nothing here */
	cr_expect_eq(mr_coord_static_heard(coord, 1, harmless, strlen(harmless), &err), 0, "%s",
		     err.what);
	unchanged();
}
