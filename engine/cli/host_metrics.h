/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host does, out of the text of /proc: `millrace collect host`. Pure: text in, numbers
 * out; reading the files is collect.c's. Owned by one thread.
 *
 * A sample is what the files count at one moment. Metrics are made of two samples and the time
 * between them; the first sample gives those that need no difference.
 */
#ifndef MR_HOST_METRICS_H
#define MR_HOST_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#define MR_HOST_CPUS_MAX       1024
#define MR_HOST_DISKS_MAX      64
#define MR_HOST_INTERFACES_MAX 64
#define MR_HOST_NAME_BYTES     32
#define MR_HOST_METRICS_MAX    2048
#define MR_HOST_METRIC_BYTES   64

/* In the kernel's ticks since it started. */
struct mr_host_cpu {
	int32_t cpu; /* its number; -1: all together */
	uint64_t total;
	uint64_t idle; /* iowait not included */
	uint64_t iowait;
	uint64_t steal;
};

struct mr_host_disk {
	char name[MR_HOST_NAME_BYTES];
	uint64_t reads;
	uint64_t read_sectors; /* of 512 bytes */
	uint64_t writes;
	uint64_t written_sectors;
	uint64_t busy_ms;
};

struct mr_host_interface {
	char name[MR_HOST_NAME_BYTES];
	uint64_t received_bytes;
	uint64_t sent_bytes;
	uint64_t errors; /* and drops, both ways */
};

enum mr_host_pressure_kind {
	MR_HOST_PRESSURE_CPU,
	MR_HOST_PRESSURE_MEMORY,
	MR_HOST_PRESSURE_IO,
	MR_HOST_PRESSURES,
};

/* Share of the last 10 s in which some, or all, tasks waited; NAN: not known. */
struct mr_host_pressure {
	double some_percent;
	double full_percent;
};

struct mr_host_sample {
	uint64_t at_ns; /* monotonic */
	uint32_t cpu_count;
	uint32_t disk_count;
	uint32_t interface_count;
	bool memory_known;
	bool load_known;
	struct mr_host_cpu cpus[MR_HOST_CPUS_MAX + 1];
	struct mr_host_disk disks[MR_HOST_DISKS_MAX];
	struct mr_host_interface interfaces[MR_HOST_INTERFACES_MAX];
	struct mr_host_pressure pressure[MR_HOST_PRESSURES];
	uint64_t memory_total_bytes;
	uint64_t memory_available_bytes;
	uint64_t swap_total_bytes;
	uint64_t swap_free_bytes;
	double load[3]; /* over 1, 5, 15 minutes */
};

struct mr_host_metric {
	char name[MR_HOST_METRIC_BYTES]; /* "cpu.0.busy", "disk.vda.read", ... */
	const char *unit;		 /* static: "%", "bytes", "bytes/s", "1/s", "tasks" */
	double value;
};

struct mr_host_metrics {
	uint32_t count;
	struct mr_host_metric metrics[MR_HOST_METRICS_MAX];
};

/* An empty sample: nothing known. */
void mr_host_sample_clear(struct mr_host_sample *sample);

/* Each reads the terminated text of one file; lines that it does not understand are passed over. */
void mr_host_read_stat(const char *text, struct mr_host_sample *sample);      /* /proc/stat */
void mr_host_read_meminfo(const char *text, struct mr_host_sample *sample);   /* /proc/meminfo */
void mr_host_read_loadavg(const char *text, struct mr_host_sample *sample);   /* /proc/loadavg */
void mr_host_read_diskstats(const char *text, struct mr_host_sample *sample); /* whole disks */
void mr_host_read_net_dev(const char *text, struct mr_host_sample *sample);   /* /proc/net/dev */
void mr_host_read_pressure(const char *text, enum mr_host_pressure_kind kind,
			   struct mr_host_sample *sample);

/* Everything that two samples tell; 'before' may be NULL. What went back (a counter that began
   anew) is left out once. */
void mr_host_metrics_make(const struct mr_host_sample *before, const struct mr_host_sample *now,
			  struct mr_host_metrics *out);

/* The record's value: {"value":12.3,"unit":"%"}; rounded to a thousandth. */
int mr_host_metric_text(const struct mr_host_metric *metric, char *text, uint32_t bytes);

#endif
