/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of reading a log back from its files: it gives what was asked for, in order, and
 * has no look at what lies behind.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "log_rig.h"
#include "replay.h"

#define RECORDS 3

static struct mr_io *io;
static struct mr_test_rig rig;
static struct mr_error err;

/* Three groups; where in their file the last one begins. */
static uint64_t begin(void)
{
	struct mr_test_rig_options options = mr_test_rig_defaults();
	uint64_t position;

	io = mr_io_fake_new(1);
	mr_io_fake_allow(io, MR_IO_FAKE_ALL);
	mr_test_rig_open(&rig, &options, io, NULL);
	mr_test_rig_put(&rig, RECORDS, 100);
	mr_test_rig_put(&rig, RECORDS, 100);
	position = mr_log_flushed_position(rig.log);
	mr_test_rig_put(&rig, RECORDS, 100);
	return position;
}

static void end(void)
{
	mr_test_rig_close(&rig);
	mr_io_close(io);
}

static int count_records(const uint8_t *bytes, const struct mr_batch_header *header, void *arg)
{
	uint64_t *next = arg;

	cr_assert_eq(header->base_offset, *next);
	*next += (uint64_t)header->record_count;
	return 0;
}

static int replay(uint64_t from, uint64_t to, uint64_t *next)
{
	struct mr_replay_options options = {
		.from_offset = from, .end_offset = to, .batch = count_records, .arg = next};

	*next = from;
	err = (struct mr_error){0};
	return mr_log_replay(rig.files, &options, &err);
}

Test(replay, gives_what_was_asked_for)
{
	uint64_t next;

	(void)begin();
	cr_assert_eq(replay(0, 3 * RECORDS, &next), 0, "%s", err.what);
	cr_expect_eq(next, 3 * RECORDS);
	cr_assert_eq(replay(RECORDS, 2 * RECORDS, &next), 0, "%s", err.what);
	cr_expect_eq(next, 2 * RECORDS);
	cr_assert_eq(replay(RECORDS, RECORDS, &next), 0);
	cr_expect_eq(next, RECORDS);
	end();
}

/*
 * On a log that is being written a group behind the end may be half there: it was read and checked
 * first, and told as damage.
 */
Test(replay, has_no_look_at_the_group_behind_the_end)
{
	uint64_t position = begin(), next;
	uint8_t half[64];

	memset(half, 0xa5, sizeof(half));
	mr_test_scribble(io, RIG_DIRECTORY "/00000000000000000000.log", position + 128, half,
			 sizeof(half));
	cr_expect_eq(replay(0, 2 * RECORDS, &next), 0, "%s", err.what);
	cr_expect_eq(next, 2 * RECORDS);
	cr_expect_eq(replay(RECORDS, 2 * RECORDS, &next), 0, "%s", err.what);
	cr_expect_eq(replay(0, 2 * RECORDS + 1, &next), -EBADMSG);
	cr_expect(strstr(err.what, "segment '") != NULL, "%s", err.what);
	cr_expect_eq(next, 2 * RECORDS);
	end();
}
