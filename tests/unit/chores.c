/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of the chores thread: what it is sent is done in order, and the space of removed
 * files comes back in pieces, oldest file first, whole in the end, whatever else there is to do.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>

#include "base/io.h"
#include "chores.h"

#define PIECE	 (256u << 10)
#define STEP_MS	 20
#define PATIENCE 500 /* steps */

/* Files of which only the size counts. The chores thread writes, the test reads. */
struct held {
	struct mr_io_file file;
	_Atomic uint64_t bytes, cuts, largest;
	_Atomic bool closed;
};

static _Atomic int cut_result;

static int64_t held_size(struct mr_io_file *file, struct mr_error *err)
{
	return (int64_t)atomic_load(&((struct held *)file)->bytes);
}

static int held_shrink(struct mr_io_file *file, uint64_t bytes, struct mr_error *err)
{
	struct held *held = (struct held *)file;
	uint64_t cut = atomic_load(&held->bytes) - bytes;

	if (atomic_load(&cut_result) < 0)
		return atomic_load(&cut_result);
	atomic_store(&held->bytes, bytes);
	atomic_fetch_add(&held->cuts, 1);
	if (cut > atomic_load(&held->largest))
		atomic_store(&held->largest, cut);
	return 0;
}

static void held_close(struct mr_io_file *file)
{
	atomic_store(&((struct held *)file)->closed, true);
}

static const struct mr_io_operations operations = {
	.size = held_size,
	.shrink = held_shrink,
	.file_close = held_close,
};
static struct mr_io io = {.operations = &operations};
static struct mr_chores *chores;
static struct mr_error err;

/* Gives a file back, if it has one, and notes when it ran. */
struct errand {
	struct mr_chore chore;
	struct mr_io_file *file;
	int number;
	_Atomic bool slow;
	struct held *_Atomic looks_at;
	bool seen_closed;
};

static _Atomic int ran, done_count;

static int run_errand(struct mr_chore *chore, struct mr_error *e)
{
	struct errand *errand = (struct errand *)chore;

	if (errand->file)
		mr_chores_give_back(chores, errand->file);
	if (atomic_load(&errand->slow))
		poll(NULL, 0, 3);
	if (atomic_load(&errand->looks_at))
		errand->seen_closed = atomic_load(&atomic_load(&errand->looks_at)->closed);
	return atomic_fetch_add(&ran, 1) == errand->number ? 0 : -EINVAL;
}

static void finish_errand(struct mr_chore *chore)
{
	cr_assert_eq(chore->status, 0, "in order");
	atomic_fetch_add(&done_count, 1);
}

static void begin(void)
{
	static struct mr_place_entry place = {.cpu = MR_PLACE_ANY, .core = MR_PLACE_ANY};

	CPU_ZERO(&place.cpus);
	cr_assert_eq(mr_chores_start(&place, &chores, &err), 0, "%s", err.what);
}

static void send(struct errand *errand, int number, struct held *held)
{
	*errand = (struct errand){
		.chore = {.run = run_errand, .done = finish_errand},
		.file = held ? &held->file : NULL,
		.number = number,
	};
	mr_chores_send(chores, &errand->chore);
}

static void finish(void)
{
	for (int i = 0; mr_chores_pending(chores) && i < PATIENCE; i++) {
		struct pollfd poll_fd = {.fd = mr_chores_fd(chores), .events = POLLIN};

		poll(&poll_fd, 1, STEP_MS);
		mr_chores_finish(chores);
	}
	cr_assert_eq(mr_chores_pending(chores), 0);
}

static void await_closed(const struct held *held)
{
	for (int i = 0; !atomic_load(&held->closed) && i < PATIENCE; i++)
		poll(NULL, 0, STEP_MS);
	cr_assert(atomic_load(&held->closed));
}

Test(chores, what_is_left_comes_back_in_pieces_oldest_first)
{
	struct held first = {.file = {&io}, .bytes = 16 * PIECE};
	struct held second = {.file = {&io}, .bytes = 8 * PIECE + 4096};
	struct errand errands[2];

	begin();
	send(&errands[0], 0, &first);
	send(&errands[1], 1, &second);
	finish();
	await_closed(&first);
	cr_assert_leq(atomic_load(&first.bytes), PIECE, "all but the last piece was cut");
	cr_assert_eq(atomic_load(&first.cuts), 15);
	cr_assert_eq(atomic_load(&first.largest), PIECE);
	await_closed(&second);
	cr_assert_eq(atomic_load(&second.cuts), 8);
	mr_chores_stop(chores);
}

Test(chores, a_piece_is_larger_where_much_is_left)
{
	struct held held = {.file = {&io}, .bytes = 4096ull * PIECE};
	struct errand errand;

	begin();
	send(&errand, 0, &held);
	finish();
	await_closed(&held);
	cr_assert_geq(atomic_load(&held.largest), 16 * PIECE);
	cr_assert_leq(atomic_load(&held.cuts), 1500, "and it does not take long");
	mr_chores_stop(chores);
}

Test(chores, a_file_that_cannot_be_cut_goes_at_once)
{
	struct held held = {.file = {&io}, .bytes = 64 * PIECE};
	struct errand errand;

	atomic_store(&cut_result, -EBUSY);
	begin();
	send(&errand, 0, &held);
	finish();
	await_closed(&held);
	cr_assert_eq(atomic_load(&held.bytes), 64 * PIECE, "as its readers have it");
	mr_chores_stop(chores);
}

Test(chores, chores_without_end_do_not_keep_it)
{
	struct held held = {.file = {&io}, .bytes = 4 * PIECE};
	static struct errand errands[200];

	begin();
	for (int i = 0; i < 200; i++) { /* sent faster than they run: the thread never waits */
		send(&errands[i], i, i ? NULL : &held);
		errands[i].slow = true;
	}
	errands[199].looks_at = &held;
	finish();
	cr_assert(errands[199].seen_closed, "a piece now and then between them");
	mr_chores_stop(chores);
}

Test(chores, a_stop_closes_what_is_left)
{
	static struct held many[300];
	static struct errand errands[300];
	uint32_t i;

	begin();
	for (i = 0; i < 300; i++) {
		many[i] = (struct held){.file = {&io}, .bytes = 64 * PIECE};
		send(&errands[i], (int)i, &many[i]);
	}
	finish();
	cr_assert(atomic_load(&many[299].closed), "more than there are places for go at once");
	cr_assert_not(atomic_load(&many[200].closed));
	mr_chores_stop(chores);
	for (i = 0; i < 300; i++)
		cr_assert(atomic_load(&many[i].closed));
}
