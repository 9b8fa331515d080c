/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold when the disk fails: every operation of recovery, of making, naming and removing
 * segments, of the checkpoint and of accepting a loss is made to fail, one after the other, before
 * it, after it and half-way. Each time the error is told, nothing is called damaged that is not,
 * nothing leaks, and without the fault it works again and comes to the same.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io_fault.h"
#include "log_rig.h"

static struct mr_test_rig rig;
static struct mr_test_rig_options options;
static struct mr_io *disk;
static struct mr_error err;

/* 70 groups over three segments, three more half-way to the disk, and a power cut. */
static void make_log(struct mr_checkpoint_partition *checkpoint)
{
	struct mr_test_batch batch = {.producer_id = 3, .records = 1, .value_bytes = 100};

	disk = mr_io_fake_new(1);
	mr_io_fake_allow(disk, MR_IO_FAKE_ALL);
	options = mr_test_rig_defaults();
	mr_test_rig_open(&rig, &options, disk, NULL);
	for (int i = 0; i < 70; i++) {
		mr_test_rig_put(&rig, 1, 100);
		if (i == 40)
			mr_test_rig_checkpoint(&rig, checkpoint);
	}
	mr_io_fake_allow(disk, 0);
	for (int i = 0; i < 3; i++) {
		batch.sequence = i;
		cr_assert_eq(mr_test_rig_append(&rig, &batch), MR_LOG_ROOM);
		mr_test_rig_turn(&rig, true);
	}
	mr_io_fake_crash(disk, 5);
	mr_test_rig_close(&rig);
	mr_io_fake_allow(disk, MR_IO_FAKE_ALL);
}

static int look(struct mr_io *io, const struct mr_checkpoint_partition *checkpoint,
		struct mr_recovered *found)
{
	struct mr_recover_options recover = {.window_bytes = mr_log_window_bytes(&options.log)};
	struct mr_partition partition;
	int r;

	cr_assert_eq(mr_partition_init(&partition, 8, 1, &err), 0);
	r = mr_recover(io, RIG_DIRECTORY, mr_test_topic_id, 0, checkpoint, &recover, &partition,
		       found, &err);
	mr_partition_deinit(&partition);
	return r;
}

/*
 * One step with the Nth operation failing: what the step does, and what must hold behind it,
 * without the fault.
 */
struct sweep {
	int (*step)(struct mr_io *io, void *arg);
	void (*check)(struct mr_io *io, int result, void *arg);
	void *arg;
};

/* Returns how many operations there were. */
static uint64_t sweep_how(const struct sweep *sweep, enum mr_io_fault_how how)
{
	for (uint64_t nth = 1; nth < 10000; nth++) {
		struct mr_io *copy = mr_io_fake_clone(disk, nth);
		struct mr_io *io = mr_io_fault_new(copy);
		struct mr_io_fault_plan plan = {
			.kind = MR_IO_FAULT_ANY, .nth = nth, .error = -EIO, .how = how};
		uint64_t hits;
		int r;

		mr_io_fake_allow(copy, MR_IO_FAKE_ALL);
		mr_io_fault_set(io, &plan);
		r = sweep->step(io, sweep->arg);
		hits = mr_io_fault_hits(io);
		if (hits == 0)
			cr_assert_eq(r, 0, "without a fault: %s", err.what);
		mr_io_fault_set(io, &(struct mr_io_fault_plan){0});
		sweep->check(io, r, sweep->arg);
		mr_io_close(io);
		mr_io_close(copy);
		if (hits == 0)
			return nth - 1;
	}
	cr_assert_fail("it never ends");
	return 0;
}

static void sweep_all(const struct sweep *sweep, uint64_t operations_min)
{
	cr_assert_geq(sweep_how(sweep, MR_IO_FAULT_BEFORE), operations_min);
	cr_assert_geq(sweep_how(sweep, MR_IO_FAULT_AFTER), operations_min);
	cr_assert_geq(sweep_how(sweep, MR_IO_FAULT_SHORT), operations_min);
}

/* ---- recovery ------------------------------------------------------------ */

static int recover_step(struct mr_io *io, void *arg)
{
	struct mr_recovered found;
	int r = look(io, arg, &found);

	if (r < 0)
		return r;
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_geq(found.start.offset, 70);
	mr_recovered_deinit(&found);
	return 0;
}

static void recover_check(struct mr_io *io, int result, void *arg)
{
	struct mr_recovered found;

	(void)result; /* an index that cannot be saved costs nothing */
	cr_assert_eq(look(io, arg, &found), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_geq(found.start.offset, 70);
	cr_assert_eq(found.segment_count, 3);
	mr_recovered_deinit(&found);
}

Test(log_faults, recovery_is_cut_off_anywhere)
{
	struct mr_checkpoint_partition checkpoint;
	struct sweep sweep = {recover_step, recover_check, NULL};

	make_log(&checkpoint);
	sweep_all(&sweep, 10);
	sweep.arg = &checkpoint;
	sweep_all(&sweep, 10);
	mr_io_fake_delete(disk, RIG_DIRECTORY "/00000000000000000000.index");
	sweep_all(&sweep, 10);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_io_close(disk);
}

/* ---- making -------------------------------------------------------------- */

static int create_step(struct mr_io *io, void *arg)
{
	struct mr_recovered made;
	int r = mr_log_create(io, RIG_DIRECTORY, mr_test_topic_id, 0, mr_test_log_id, 1 << 17,
			      &made, &err);

	mr_recovered_deinit(&made);
	return r;
}

static void create_check(struct mr_io *io, int result, void *arg)
{
	struct mr_recovered found;
	int r = create_step(io, arg);

	cr_assert(r == 0 || r == -EEXIST, "%s", err.what);
	if (result == 0)
		cr_assert_eq(r, -EEXIST);
	cr_assert_eq(look(io, NULL, &found), 0, "%s", err.what);
	cr_assert_not(found.corrupt);
	mr_recovered_deinit(&found);
}

Test(log_faults, a_new_log_is_there_or_can_be_made)
{
	const struct sweep sweep = {create_step, create_check, NULL};

	disk = mr_io_fake_new(1);
	sweep_all(&sweep, 10);
	mr_io_close(disk);
}

static int spare_step(struct mr_io *io, void *arg)
{
	struct mr_segment *spare;
	int r = mr_segment_make_spare(io, RIG_DIRECTORY, 1 << 17, &spare, &err);

	if (r == 0)
		mr_segment_close(spare);
	return r;
}

static void spare_check(struct mr_io *io, int result, void *arg)
{
	struct mr_recovered found;

	(void)result;
	cr_assert_eq(look(io, NULL, &found), 0); /* takes what could not be removed */
	mr_recovered_deinit(&found);
	cr_assert_eq(spare_step(io, arg), 0, "%s", err.what);
}

Test(log_faults, a_spare_is_made_or_not)
{
	struct mr_checkpoint_partition checkpoint;
	const struct sweep sweep = {spare_step, spare_check, NULL};
	struct mr_recovered found;

	make_log(&checkpoint);
	cr_assert_eq(look(disk, NULL, &found), 0); /* takes the spare that the crash left */
	mr_recovered_deinit(&found);
	sweep_all(&sweep, 5);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_io_close(disk);
}

/* ---- removing and accepting a loss --------------------------------------- */

static int remove_step(struct mr_io *io, void *arg)
{
	struct mr_segment oldest = {.io = io, .directory = RIG_DIRECTORY};

	return mr_segment_remove(&oldest, &err);
}

static void remove_check(struct mr_io *io, int result, void *arg)
{
	struct mr_recovered found;

	cr_assert_eq(look(io, NULL, &found), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	if (result == 0)
		cr_assert_eq(found.log_start, 31);
	mr_recovered_deinit(&found);
	cr_assert_eq(remove_step(io, arg), 0, "%s", err.what);
}

Test(log_faults, a_segment_is_removed_or_still_there)
{
	struct mr_checkpoint_partition checkpoint;
	const struct sweep sweep = {remove_step, remove_check, NULL};

	make_log(&checkpoint);
	sweep_all(&sweep, 3);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_io_close(disk);
}

static int accept_step(struct mr_io *io, void *arg)
{
	struct mr_recovered found;
	uint64_t lost;
	int r = look(io, NULL, &found);

	if (r < 0)
		return r;
	r = found.corrupt ? mr_recover_accept_loss(io, RIG_DIRECTORY, &found, &lost, &err) : 0;
	mr_recovered_deinit(&found);
	return r;
}

static void accept_check(struct mr_io *io, int result, void *arg)
{
	struct mr_recovered found;

	(void)result;
	cr_assert_eq(accept_step(io, arg), 0, "%s", err.what);
	cr_assert_eq(look(io, NULL, &found), 0, "%s", err.what);
	cr_assert_not(found.corrupt, "%s", found.damage.what);
	cr_assert_eq(found.start.offset, *(uint64_t *)arg);
	mr_recovered_deinit(&found);
}

Test(log_faults, a_loss_is_accepted_in_the_end)
{
	struct mr_checkpoint_partition checkpoint;
	uint64_t end = 5;
	const struct sweep sweep = {accept_step, accept_check, &end};

	make_log(&checkpoint);
	mr_io_fake_flip_bit(disk, RIG_DIRECTORY "/00000000000000000000.log",
			    (6 * 4096 + 70) * 8ull);
	sweep_all(&sweep, 10);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_io_close(disk);
}

Test(log_faults, a_loss_of_everything_is_accepted_in_the_end)
{
	struct mr_checkpoint_partition checkpoint;
	uint64_t end = 0;
	const struct sweep sweep = {accept_step, accept_check, &end};

	make_log(&checkpoint);
	mr_io_fake_flip_bit(disk, RIG_DIRECTORY "/00000000000000000000.log", 77);
	sweep_all(&sweep, 10);
	mr_checkpoint_partition_deinit(&checkpoint);
	mr_io_close(disk);
}

/* ---- the checkpoint ------------------------------------------------------ */

static int save_step(struct mr_io *io, void *arg)
{
	struct mr_checkpoint checkpoint = {.generation = *(uint64_t *)arg, .next_producer_id = 9};

	return mr_checkpoint_save(io, &checkpoint, &err);
}

static void save_check(struct mr_io *io, int result, void *arg)
{
	uint64_t before = *(uint64_t *)arg;
	struct mr_checkpoint checkpoint;
	int r = mr_checkpoint_load(io, &checkpoint, &err);

	if (before == 0 && result < 0 && r == -ENOENT)
		return;
	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert(checkpoint.generation == before + 1 ||
		  (result < 0 && checkpoint.generation == before));
	mr_checkpoint_deinit(&checkpoint);
}

Test(log_faults, a_checkpoint_is_the_old_or_the_new)
{
	for (uint64_t before = 0; before < 4; before++) {
		const struct sweep sweep = {save_step, save_check, &before};

		disk = mr_io_fake_new(1);
		for (uint64_t g = 0; g < before; g++)
			cr_assert_eq(save_step(disk, &g), 0, "%s", err.what);
		sweep_all(&sweep, 3);
		mr_io_close(disk);
	}
}

static int load_step(struct mr_io *io, void *arg)
{
	struct mr_checkpoint checkpoint;
	int r = mr_checkpoint_load(io, &checkpoint, &err);

	if (r == 0) {
		cr_assert_eq(checkpoint.generation, 2, "never an older one for want of a read");
		mr_checkpoint_deinit(&checkpoint);
	}
	return r;
}

static void load_check(struct mr_io *io, int result, void *arg)
{
	cr_assert(result == 0 || result == -EIO);
	cr_assert_eq(load_step(io, arg), 0);
}

Test(log_faults, an_unreadable_checkpoint_is_no_older_checkpoint)
{
	const struct sweep sweep = {load_step, load_check, NULL};

	disk = mr_io_fake_new(1);
	for (uint64_t g = 0; g < 2; g++)
		cr_assert_eq(save_step(disk, &g), 0);
	sweep_all(&sweep, 4);
	mr_io_close(disk);
}
