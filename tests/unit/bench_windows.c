/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of windows and of two processes side by side: a rate is what was counted in the
 * time that it took, percentiles are of windows, memory has room for no more than was asked; both
 * sides see the same memory, the other side's failure is told, and it is never left behind.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jitter.h"
#include "run.h"
#include "sides.h"
#include "windows.h"

static struct mr_error err;

Test(bench_windows, rates_are_per_second_of_each_window)
{
	struct mr_windows windows;
	double median, p90, disturbed;

	cr_assert_eq(mr_windows_init(&windows, 1, &err), 0);
	mr_windows_begin(&windows, 1000, 50);
	mr_windows_look(&windows, 1000 + MR_WINDOW_NS - 1, 60);
	cr_assert_eq(windows.count, 0, "not over yet");
	for (uint32_t i = 1; i <= 10; i++) /* i records more in the i-th */
		mr_windows_look(&windows, 1000 + (uint64_t)i * MR_WINDOW_NS, 50 + i * (i + 1) / 2);
	cr_assert_eq(windows.count, 10);
	cr_assert_eq(mr_windows_judge(&windows, NULL, 0, &median, &p90, &disturbed, &err), 0);
	cr_assert_float_eq(median, 6 * 1e9 / MR_WINDOW_NS, 1);
	cr_assert_float_eq(p90, 9 * 1e9 / MR_WINDOW_NS, 1);
	cr_assert_eq(disturbed, 0);
	mr_windows_deinit(&windows);
}

/* As where the machine was so busy that hardly a window came to its end. */
Test(bench_windows, a_few_have_no_median_above_the_p90)
{
	for (uint32_t count = 1; count <= 12; count++) {
		struct mr_windows windows;
		double median, p90, disturbed;

		cr_assert_eq(mr_windows_init(&windows, 1, &err), 0);
		mr_windows_begin(&windows, 0, 0);
		for (uint64_t i = 1; i <= count; i++)
			mr_windows_look(&windows, i * MR_WINDOW_NS, i * i);
		cr_assert_eq(mr_windows_judge(&windows, NULL, 0, &median, &p90, &disturbed, &err),
			     0);
		cr_assert_geq(p90, median, "%u windows", count);
		mr_windows_deinit(&windows);
	}
}

Test(bench_windows, more_than_there_is_room_for_is_dropped)
{
	struct mr_windows windows;
	double median, p90, disturbed;

	cr_assert_eq(mr_windows_init(&windows, 0, &err), 0);
	mr_windows_begin(&windows, 0, 0);
	cr_assert_eq(mr_windows_judge(&windows, NULL, 0, &median, &p90, &disturbed, &err), -ETIME);
	for (uint64_t i = 1; i < 1000; i++)
		mr_windows_cut(&windows, i * MR_WINDOW_NS, i);
	cr_assert_eq(windows.count, windows.max);
	mr_windows_deinit(&windows);
}

/* ---- what was disturbed -------------------------------------------------------------------- */

static struct mr_bench_run run;

/* Ten windows from 0 on: i records in the i-th, but for the last, a thousand. */
static struct mr_windows ten_windows(void)
{
	const uint32_t cores[] = {0, 1};
	struct mr_windows windows;
	uint64_t amount = 0;

	run.jitter = mr_jitter_new(cores, 2);
	cr_assert_eq(mr_windows_init(&windows, 1, &err), 0);
	mr_windows_begin(&windows, 0, 0);
	for (uint64_t i = 1; i <= 10; i++) {
		amount += i < 10 ? i : 1000;
		mr_windows_look(&windows, i * MR_WINDOW_NS, amount);
	}
	return windows;
}

/* A gap on a core, within the 'number'th window, from 1 on. */
static void gap_in(uint32_t core, uint64_t number)
{
	mr_jitter_note(run.jitter, core, (number - 1) * MR_WINDOW_NS + 1,
		       (number - 1) * MR_WINDOW_NS + 1 + MR_BENCH_GAP_NS);
}

static void drop(struct mr_windows *windows)
{
	mr_windows_deinit(windows);
	mr_jitter_free(run.jitter);
}

Test(bench_windows, disturbed_ones_are_left_out_and_their_share_is_said)
{
	struct mr_windows windows = ten_windows();
	double median, p90, disturbed;

	gap_in(0, 1);
	gap_in(1, 2);
	gap_in(0, 10);
	cr_assert_eq(mr_windows_judge(&windows, &run, 3, &median, &p90, &disturbed, &err), 0);
	cr_assert_float_eq(disturbed, 0.3, 1e-9);
	cr_assert_float_eq(median, 6 * 1e9 / MR_WINDOW_NS, 1, "3 to 9 are left");
	cr_assert_float_eq(p90, 8 * 1e9 / MR_WINDOW_NS, 1);
	drop(&windows);
}

Test(bench_windows, only_the_cores_asked_about_disturb)
{
	struct mr_windows windows = ten_windows();
	double median, p90, disturbed, total;

	gap_in(1, 10);
	cr_assert_eq(mr_windows_judge(&windows, &run, 1, &median, &p90, &disturbed, &err), 0);
	cr_assert_eq(disturbed, 0);
	cr_assert_eq(mr_windows_total(&windows, &run, 1, &total, &disturbed, &err), 0);
	cr_assert_eq(disturbed, 0);
	cr_assert_float_eq(total, 1045 * 1e9 / (10.0 * MR_WINDOW_NS), 1);
	drop(&windows);
}

Test(bench_windows, a_total_is_of_the_undisturbed_by_their_time)
{
	struct mr_windows windows = ten_windows();
	double total, disturbed;

	gap_in(0, 10);
	cr_assert_eq(mr_windows_total(&windows, &run, 3, &total, &disturbed, &err), 0);
	cr_assert_float_eq(disturbed, 0.1, 1e-9);
	cr_assert_float_eq(total, 45 * 1e9 / (9.0 * MR_WINDOW_NS), 1);
	drop(&windows);
}

Test(bench_windows, with_all_disturbed_all_count)
{
	struct mr_windows windows = ten_windows();
	double median, p90, disturbed, total;

	mr_jitter_note(run.jitter, 0, 0, 10 * (uint64_t)MR_WINDOW_NS);
	cr_assert_eq(mr_windows_total(&windows, &run, 0, &total, &disturbed, &err), 0);
	cr_assert_eq(disturbed, 1);
	cr_assert_float_eq(total, 1045 * 1e9 / (10.0 * MR_WINDOW_NS), 1);
	cr_assert_eq(mr_windows_judge(&windows, &run, 0, &median, &p90, &disturbed, &err), 0);
	cr_assert_eq(disturbed, 1);
	cr_assert_float_eq(median, 6 * 1e9 / MR_WINDOW_NS, 1);
	windows.count = 0;
	cr_assert_eq(mr_windows_total(&windows, &run, 0, &total, &disturbed, &err), -ETIME);
	drop(&windows);
}

Test(bench_windows, the_share_of_a_stretch_is_that_of_its_windows)
{
	struct mr_windows windows = ten_windows();

	gap_in(0, 3);
	gap_in(0, 7);
	cr_assert_float_eq(mr_windows_disturbed(&run, 1, 0, 10 * (uint64_t)MR_WINDOW_NS), 0.2,
			   1e-9);
	cr_assert_eq(mr_windows_disturbed(&run, 2, 0, 10 * (uint64_t)MR_WINDOW_NS), 0);
	cr_assert_eq(mr_windows_disturbed(NULL, 1, 0, 10 * (uint64_t)MR_WINDOW_NS), 0);
	cr_assert_eq(mr_windows_disturbed(&run, 1, 5, 5), 0, "no time at all");
	drop(&windows);
}

/* ---- two processes ------------------------------------------------------------------------- */

struct shared {
	struct mr_sides_page page;
	_Atomic uint32_t value;
};

static int some_core(void)
{
	cpu_set_t cpus;
	int core = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET((size_t)core, &cpus))
		core++;
	return core;
}

static int answer(void *arg_shared, void *arg)
{
	struct shared *shared = arg_shared;

	mr_sides_say_ready(&shared->page);
	while (!atomic_load(&shared->page.stop))
		if (atomic_load(&shared->value) == 1)
			atomic_store(&shared->value, 2);
		else
			sched_yield();
	return 0;
}

static int ask(void *arg_shared, void *arg, struct mr_error *error)
{
	struct shared *shared = arg_shared;
	int r = mr_sides_wait_ready(&shared->page, error);

	atomic_store(&shared->value, 1);
	while (r == 0 && atomic_load(&shared->value) != 2)
		sched_yield();
	*(uint32_t *)arg = 7;
	return r;
}

static struct mr_sides sides_of(int (*here)(void *, void *, struct mr_error *),
				int (*there)(void *, void *), void *arg)
{
	return (struct mr_sides){
		.shared_bytes = sizeof(struct shared),
		.here_core = some_core(),
		.there_core = some_core(),
		.here = here,
		.there = there,
		.arg = arg,
	};
}

Test(bench_sides, share_memory_and_leave_the_thread_where_it_was)
{
	uint32_t seen = 0;
	struct mr_sides sides = sides_of(ask, answer, &seen);
	cpu_set_t before, after;

	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cr_assert_eq(mr_sides_run(&sides, &err), 0, "%s", err.what);
	cr_assert_eq(seen, 7);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
}

static int fail_there(void *shared, void *arg)
{
	mr_sides_say_ready(shared);
	return -ENOSPC;
}

static int only_wait(void *shared, void *arg, struct mr_error *error)
{
	return mr_sides_wait_ready(shared, error);
}

Test(bench_sides, tell_that_the_other_side_failed)
{
	struct mr_sides sides = sides_of(only_wait, fail_there, NULL);

	cr_assert_eq(mr_sides_run(&sides, &err), -ENOSPC);
	cr_assert_neq(err.what[0], '\0');
}

static int die_there(void *shared, void *arg)
{
	mr_sides_say_ready(shared);
	abort();
}

Test(bench_sides, tell_that_the_other_side_died)
{
	struct mr_sides sides = sides_of(only_wait, die_there, NULL);

	cr_assert_eq(mr_sides_run(&sides, &err), -EIO);
}

static int fail_here(void *shared, void *arg, struct mr_error *error)
{
	return mr_sides_wait_ready(shared, error) < 0 ? -1 : -EBADMSG;
}

Test(bench_sides, end_the_other_side_when_this_one_fails)
{
	uint32_t seen = 0;
	struct mr_sides sides = sides_of(fail_here, answer, &seen);

	cr_assert_eq(mr_sides_run(&sides, &err), -EBADMSG);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
}

Test(bench_sides, need_two_cores)
{
	struct mr_sides sides = sides_of(only_wait, fail_there, NULL);

	sides.there_core = -1;
	cr_assert_eq(mr_sides_run(&sides, &err), -ENOTSUP);
}
