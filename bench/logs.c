/* SPDX-License-Identifier: Apache-2.0 */
/* A data directory's segments, as files (logs.h). One thread; owns nothing. */
#include "logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raw_disk.h"

#define READ_BYTES  (1u << 20)
#define IN_FLIGHT   4
#define NAME_DIGITS 20
#define DEPTH_MAX   16

static int by_base(const void *a, const void *b)
{
	const struct mr_bench_log_file *x = a, *y = b;

	return (x->base_offset > y->base_offset) - (x->base_offset < y->base_offset);
}

static bool is_segment(const char *name)
{
	return strspn(name, "0123456789") == NAME_DIGITS && !strcmp(name + NAME_DIGITS, ".log");
}

static int add_file(struct mr_bench_logs *logs, const char *folder, const char *name,
		    struct mr_error *err)
{
	struct mr_bench_log_file *file = &logs->files[logs->count];
	struct stat found;
	int n;

	if (logs->count == MR_BENCH_LOGS_MAX)
		return mr_error_set(err, -E2BIG, "'%s' has more than %d segments", folder,
				    MR_BENCH_LOGS_MAX);
	n = snprintf(file->path, sizeof(file->path), "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(file->path))
		return mr_error_set(err, -ENAMETOOLONG, "'%s/%s' is too long", folder, name);
	if (stat(file->path, &found) < 0)
		return mr_error_set(err, -errno, "cannot look at '%s'", file->path);
	file->base_offset = strtoull(name, NULL, 10);
	file->bytes = (uint64_t)found.st_size;
	logs->count++;
	return 0;
}

static int list_folder(struct mr_bench_logs *logs, const char *folder, struct mr_error *err)
{
	DIR *list = opendir(folder);
	struct dirent *entry;
	int r = 0;

	if (!list)
		return 0; /* no topic's */
	while (r == 0 && (entry = readdir(list)))
		if (is_segment(entry->d_name))
			r = add_file(logs, folder, entry->d_name, err);
	closedir(list);
	return r;
}

int mr_bench_logs_find(const char *directory, struct mr_bench_logs *logs, struct mr_error *err)
{
	char topics[PATH_MAX], folder[2 * PATH_MAX];
	struct dirent *entry;
	DIR *list;
	int r = 0;

	logs->count = 0;
	snprintf(topics, sizeof(topics), "%s/topics", directory);
	list = opendir(topics);
	if (!list)
		return mr_error_set(err, -errno, "cannot look into '%s'", topics);
	while (r == 0 && (entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(folder, sizeof(folder), "%s/%s/0", topics, entry->d_name);
		r = list_folder(logs, folder, err);
	}
	closedir(list);
	if (r < 0)
		return r;
	if (!logs->count)
		return mr_error_set(err, -ENOENT, "'%s' has no segments", directory);
	qsort(logs->files, logs->count, sizeof(logs->files[0]), by_base);
	return 0;
}

uint64_t mr_bench_logs_bytes(const struct mr_bench_logs *logs, uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += logs->files[i].bytes;
	return sum;
}

static int read_files(struct mr_bench_run *run, const struct mr_bench_logs *logs, uint32_t count,
		      struct mr_raw_reads *reads, double *rate, double *disturbed,
		      struct mr_error *err)
{
	double seconds = 0, lost = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct mr_raw_result result;
		double took;
		int r;

		reads->path = logs->files[i].path;
		r = mr_raw_reads(run, reads, &result, err);
		if (r < 0)
			return r;
		if (result.bytes_per_second <= 0)
			return mr_error_set(err, -EIO, "'%s' gave nothing", reads->path);
		took = (double)logs->files[i].bytes / result.bytes_per_second;
		seconds += took;
		lost += took * result.disturbed;
	}
	*rate = seconds > 0 ? (double)mr_bench_logs_bytes(logs, count) / seconds : 0;
	*disturbed = seconds > 0 ? lost / seconds : 0;
	return 0;
}

int mr_bench_logs_read(struct mr_bench_run *run, const struct mr_bench_logs *logs, uint32_t count,
		       int core, struct mr_bench_sample *sample, struct mr_error *err)
{
	struct mr_raw_reads reads = {.bytes = READ_BYTES, .in_flight = IN_FLIGHT, .core = core};
	double disturbed[2];
	int r = 0;

	for (int huge = 0; r == 0 && huge < 2; huge++) {
		reads.huge_pages = huge;
		r = read_files(run, logs, count, &reads, &sample->values[huge], &disturbed[huge],
			       err);
	}
	if (r == 0)
		sample->disturbed = (disturbed[0] + disturbed[1]) / 2;
	return r;
}

void mr_bench_logs_drop(const struct mr_bench_logs *logs)
{
	for (uint32_t i = 0; i < logs->count; i++) {
		int fd = open(logs->files[i].path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* the engine writes past it */
		(void)close(fd);				    /* was not even read */
	}
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where)
{
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int mr_bench_remove(const char *directory, struct mr_error *err)
{
	if (nftw(directory, remove_one, DEPTH_MAX, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
		return 0;
	return mr_error_set(err, -errno, "cannot remove '%s'", directory);
}

int mr_bench_pin(const struct mr_bench_run *run, int core, struct mr_error *err)
{
	uint32_t cores[64], count = mr_bench_cores(run, cores, 64);
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (uint32_t i = 0; i < count && i < 64; i++)
		if (core < 0 || cores[i] == (uint32_t)core)
			CPU_SET(cores[i], &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return mr_error_set(err, -errno, "cannot run on core %d", core);
	return 0;
}

int mr_bench_free_core(const struct mr_bench_run *run, uint64_t workers)
{
	uint32_t cores[64], count = mr_bench_cores(run, cores, 64);

	for (uint32_t i = 0; i < count && i < 64; i++)
		if (cores[i] >= 64 || !(workers & UINT64_C(1) << cores[i]))
			return (int)cores[i];
	return -1;
}
