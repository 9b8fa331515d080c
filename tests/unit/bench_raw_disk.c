/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of raw writes: every one is counted once and is where it should be, a log's files
 * never pile up and are gone in the end, and what cannot be measured is refused with a sentence. On
 * small files in a directory of the test's own; no time is asserted.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jitter.h"
#include "now.h"
#include "raw_disk.h"
#include "run.h"

#define WRITE_BYTES 4096u
#define FILE_BYTES  (64u << 10)

static char directory[64];
static struct mr_histogram *latencies;
static struct mr_error err;

static void begin(void)
{
	char probe[96];
	int fd;

	snprintf(directory, sizeof(directory), "raw-disk-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	latencies = mr_histogram_new();
	snprintf(probe, sizeof(probe), "%s/probe", directory);
	fd = open(probe, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0) {
		rmdir(directory);
		cr_skip("this file system has no direct writes");
	}
	close(fd);
	unlink(probe);
}

static uint32_t count_files(const char *end)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;
	uint32_t count = 0;

	cr_assert_not_null(stream);
	while ((entry = readdir(stream)) != NULL)
		count += strlen(entry->d_name) > strlen(end) &&
			 !strcmp(entry->d_name + strlen(entry->d_name) - strlen(end), end);
	closedir(stream);
	return count;
}

static void end(void)
{
	const char *names[] = {"raw-written.dat", "raw-allocated.dat", "whole"};
	char path[96];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	cr_assert_eq(rmdir(directory), 0, "nothing else may be left there");
	mr_histogram_free(latencies);
}

static struct mr_raw_writes writes(enum mr_raw_filling filling)
{
	return (struct mr_raw_writes){
		.directory = directory,
		.bytes = WRITE_BYTES,
		.in_flight = 4,
		.durable = true,
		.filling = filling,
		.file_bytes = FILE_BYTES,
		.keep_bytes = 3 * FILE_BYTES,
		.seconds = 0.05,
		.core = -1,
	};
}

static uint64_t size_of(const char *name)
{
	struct stat found;
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	cr_assert_eq(stat(path, &found), 0);
	return (uint64_t)found.st_size;
}

Test(bench_raw_disk, goes_round_in_a_file_that_was_written_before)
{
	struct mr_raw_writes what = writes(MR_RAW_WRITTEN);
	struct mr_raw_result result = {0};

	begin();
	what.seconds = 0.2;
	cr_assert_eq(mr_raw_writes(NULL, &what, latencies, &result, &err), 0, "%s", err.what);
	cr_assert_eq(size_of("raw-written.dat"), FILE_BYTES);
	cr_assert_gt(mr_histogram_count(latencies), 0);
	cr_assert_gt(result.requests_per_second, 0);
	cr_assert_float_eq(result.bytes_per_second, result.requests_per_second * WRITE_BYTES, 1);
	cr_assert_eq(result.disturbed, 0, "nobody says that it was");
	end();
}

/* Gaps as a probe would have noted them: before, in the middle, all the time. */
static struct mr_bench_run run;

static struct mr_raw_result write_with_gap(uint64_t from_ns, uint64_t to_ns)
{
	struct mr_raw_writes what = writes(MR_RAW_WRITTEN);
	struct mr_raw_result result;

	what.seconds = 0.2;
	mr_histogram_reset(latencies);
	mr_jitter_note(run.jitter, 0, from_ns, to_ns);
	cr_assert_eq(mr_raw_writes(&run, &what, latencies, &result, &err), 0, "%s", err.what);
	cr_assert_gt(mr_histogram_count(latencies), 0);
	return result;
}

Test(bench_raw_disk, what_came_in_disturbed_windows_does_not_count)
{
	const uint32_t cores[] = {0};
	struct mr_raw_result result = {0};
	uint64_t now_ns = mr_bench_now_ns();

	begin();
	run.jitter = mr_jitter_new(cores, 1);
	cr_assert_eq(write_with_gap(now_ns - 9000000, now_ns).disturbed, 0, "that was before");
	/* a machine that stops for so long is asked again */
	for (int i = 0; i < 9 && (result.disturbed == 0 || result.disturbed == 1); i++) {
		now_ns = mr_bench_now_ns();
		result = write_with_gap(now_ns + 60000000, now_ns + 120000000);
	}
	cr_assert_gt(result.disturbed, 0);
	cr_assert_lt(result.disturbed, 1);
	/* of the rate in the time that was left, and not more than that */
	cr_assert_leq((double)mr_histogram_count(latencies),
		      result.requests_per_second * (double)(mr_bench_now_ns() - now_ns) / 1e9 *
			      (1 - result.disturbed));
	now_ns = mr_bench_now_ns();
	result = write_with_gap(now_ns, now_ns + 60000000000u);
	cr_assert_eq(result.disturbed, 1, "then all count");
	mr_jitter_free(run.jitter);
	end();
}

Test(bench_raw_disk, ends_when_what_was_allocated_is_used_up)
{
	struct mr_raw_writes what = writes(MR_RAW_ALLOCATED);
	struct mr_raw_result result;

	begin();
	what.seconds = 60;
	cr_assert_eq(mr_raw_writes(NULL, &what, latencies, &result, &err), 0, "%s", err.what);
	cr_assert_eq(mr_histogram_count(latencies), FILE_BYTES / WRITE_BYTES);
	end();
}

Test(bench_raw_disk, writes_each_block_once_with_bytes_that_are_no_hole)
{
	struct mr_raw_writes what = writes(MR_RAW_ALLOCATED);
	static uint8_t bytes[FILE_BYTES], zeros[WRITE_BYTES];
	struct mr_raw_result result;
	char path[96];
	int fd;

	begin();
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), 0, "%s", err.what);
	snprintf(path, sizeof(path), "%s/raw-allocated.dat", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(read(fd, bytes, sizeof(bytes)), FILE_BYTES);
	for (uint32_t at = 0; at < FILE_BYTES; at += WRITE_BYTES)
		cr_assert_neq(memcmp(bytes + at, zeros, WRITE_BYTES), 0, "block at %u", at);
	close(fd);
	end();
}

struct watch {
	pthread_t thread;
	_Atomic bool stop;
	uint32_t most;
};

static void *count_segments(void *arg)
{
	struct watch *watch = arg;

	while (!atomic_load(&watch->stop)) {
		uint32_t count = count_files(".segment");

		watch->most = count > watch->most ? count : watch->most;
	}
	return NULL;
}

Test(bench_raw_disk, a_log_s_files_come_and_go)
{
	struct mr_raw_writes what = writes(MR_RAW_SEGMENTS);
	struct mr_raw_result result;
	struct watch watch = {0};

	begin();
	what.seconds = 0.3;
	pthread_create(&watch.thread, NULL, count_segments, &watch);
	cr_assert_eq(mr_raw_writes(NULL, &what, latencies, &result, &err), 0, "%s", err.what);
	atomic_store(&watch.stop, true);
	pthread_join(watch.thread, NULL);
	cr_assert_gt(mr_histogram_count(latencies), FILE_BYTES / WRITE_BYTES, "one file or more");
	cr_assert_gt(watch.most, 1, "one is written, one is made ahead");
	/* kept, active, ahead; and what waits for the thread that removes: never many */
	cr_assert_leq(watch.most, 3 + 2 + 8);
	cr_assert_eq(count_files(".segment"), 0, "all are removed in the end");
	end();
}

Test(bench_raw_disk, keeps_to_its_rate)
{
	struct mr_raw_writes what = writes(MR_RAW_WRITTEN);
	struct mr_raw_result result;

	begin();
	what.rate = 100;
	what.seconds = 0.2;
	cr_assert_eq(mr_raw_writes(NULL, &what, latencies, &result, &err), 0, "%s", err.what);
	cr_assert_gt(mr_histogram_count(latencies), 0);
	cr_assert_leq(mr_histogram_count(latencies), 21, "at most 100 a second, and the first");
	end();
}

Test(bench_raw_disk, leaves_the_thread_where_it_was)
{
	struct mr_raw_writes what = writes(MR_RAW_WRITTEN);
	struct mr_raw_result result;
	cpu_set_t before, after;

	begin();
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (what.core = 0; !CPU_ISSET((size_t)what.core, &before); what.core++)
		;
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), 0, "%s", err.what);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
	end();
}

Test(bench_raw_disk, refuses_what_direct_writes_cannot_do)
{
	struct mr_raw_writes what = writes(MR_RAW_WRITTEN);
	struct mr_raw_result result;

	begin();
	what.bytes = 1000;
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), -EINVAL);
	cr_assert_neq(err.what[0], '\0');
	what = writes(MR_RAW_WRITTEN);
	what.file_bytes = WRITE_BYTES / 2;
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), -EINVAL);
	what = writes(MR_RAW_SEGMENTS);
	what.in_flight = 100000;
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), -EINVAL);
	what = writes(MR_RAW_SEGMENTS);
	what.directory = "no/such/directory";
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), -ENOENT);
	what.filling = MR_RAW_WRITTEN;
	cr_assert_eq(mr_raw_writes(NULL, &what, NULL, &result, &err), -ENOENT);
	end();
}

Test(bench_raw_disk, reads_a_file_to_its_end)
{
	char path[96];
	struct mr_raw_reads reads = {
		.path = path, .bytes = WRITE_BYTES, .in_flight = 4, .core = -1};
	struct mr_raw_result result;
	int fd;

	begin();
	snprintf(path, sizeof(path), "%s/whole", directory);
	cr_assert_eq(mr_raw_reads(NULL, &reads, &result, &err), -ENOENT);
	cr_assert_neq(err.what[0], '\0');
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(mr_raw_reads(NULL, &reads, &result, &err), -EINVAL, "empty");
	cr_assert_eq(ftruncate(fd, FILE_BYTES + 100), 0);
	close(fd);
	cr_assert_eq(mr_raw_reads(NULL, &reads, &result, &err), 0, "%s", err.what);
	cr_assert_gt(result.bytes_per_second, 0);
	reads.huge_pages = true;
	cr_assert_eq(mr_raw_reads(NULL, &reads, &result, &err), 0, "%s", err.what);
	cr_assert_gt(result.bytes_per_second, 0);
	end();
}
