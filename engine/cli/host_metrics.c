/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host does, out of the text of /proc. Pure; owned by one thread; allocates nothing.
 */
#include "host_metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512
#define FIELDS_MAX   20

/* ---- reading ------------------------------------------------------------------------------- */

void mr_host_sample_clear(struct mr_host_sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	for (int i = 0; i < MR_HOST_PRESSURES; i++)
		sample->pressure[i] = (struct mr_host_pressure){NAN, NAN};
}

/* Calls 'each' with every line, without its break. */
static void for_each_line(const char *text, struct mr_host_sample *sample,
			  void (*each)(const char *line, struct mr_host_sample *sample))
{
	char line[1024];

	while (*text) {
		size_t bytes = strcspn(text, "\n");

		if (bytes < sizeof(line)) {
			memcpy(line, text, bytes);
			line[bytes] = '\0';
			each(line, sample);
		}
		text += bytes + (text[bytes] == '\n');
	}
}

/* Up to 'max' numbers, blanks between them; returns how many there were before anything else. */
static int read_numbers(const char *text, uint64_t *numbers, int max)
{
	int count = 0;

	while (count < max) {
		char *end;

		text += strspn(text, " \t");
		if (!isdigit((unsigned char)*text))
			break;
		numbers[count++] = strtoull(text, &end, 10);
		text = end;
	}
	return count;
}

/* A name of 'bytes' bytes, if it has room. */
static bool take_name(const char *text, size_t bytes, char name[MR_HOST_NAME_BYTES])
{
	if (bytes == 0 || bytes >= MR_HOST_NAME_BYTES)
		return false;
	memcpy(name, text, bytes);
	name[bytes] = '\0';
	return true;
}

/* "cpu0 user nice system idle iowait irq softirq steal ..." */
static void read_stat_line(const char *line, struct mr_host_sample *sample)
{
	struct mr_host_cpu cpu = {.cpu = -1};
	uint64_t ticks[8] = {0};
	const char *at = line + 3;
	int count;

	if (strncmp(line, "cpu", 3) != 0 || sample->cpu_count > MR_HOST_CPUS_MAX)
		return;
	if (isdigit((unsigned char)*at)) {
		char *end;

		cpu.cpu = (int32_t)strtoul(at, &end, 10);
		at = end;
	}
	count = read_numbers(at, ticks, 8);
	if (count < 4)
		return;
	for (int i = 0; i < count; i++)
		cpu.total += ticks[i];
	cpu.idle = ticks[3];
	cpu.iowait = ticks[4];
	cpu.steal = ticks[7];
	sample->cpus[sample->cpu_count++] = cpu;
}

void mr_host_read_stat(const char *text, struct mr_host_sample *sample)
{
	for_each_line(text, sample, read_stat_line);
}

/* "MemTotal:       16315180 kB" */
static void read_meminfo_line(const char *line, struct mr_host_sample *sample)
{
	const struct {
		const char *name;
		uint64_t *bytes;
	} rows[] = {
		{"MemTotal:", &sample->memory_total_bytes},
		{"MemAvailable:", &sample->memory_available_bytes},
		{"SwapTotal:", &sample->swap_total_bytes},
		{"SwapFree:", &sample->swap_free_bytes},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t bytes = strlen(rows[i].name);
		uint64_t kib;

		if (strncmp(line, rows[i].name, bytes) == 0 &&
		    read_numbers(line + bytes, &kib, 1) == 1)
			*rows[i].bytes = kib * 1024;
	}
}

void mr_host_read_meminfo(const char *text, struct mr_host_sample *sample)
{
	for_each_line(text, sample, read_meminfo_line);
	sample->memory_known = sample->memory_total_bytes > 0 &&
			       sample->memory_available_bytes <= sample->memory_total_bytes;
}

void mr_host_read_loadavg(const char *text, struct mr_host_sample *sample)
{
	sample->load_known = sscanf(text, "%lf %lf %lf", &sample->load[0], &sample->load[1],
				    &sample->load[2]) == 3;
}

static bool ends_in_digit(const char *name)
{
	size_t bytes = strlen(name);

	return bytes > 0 && isdigit((unsigned char)name[bytes - 1]);
}

/* vda1 and nvme0n1p2 are parts of a disk that is counted itself; loop and ram are none. */
static bool is_whole_disk(const char *name)
{
	static const char *const never[] = {"loop", "ram", "zram", "fd", "sr"};
	static const char *const by_letter[] = {"sd", "vd", "hd", "xvd"};

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		if (strncmp(name, never[i], strlen(never[i])) == 0)
			return false;
	}
	for (size_t i = 0; i < sizeof(by_letter) / sizeof(by_letter[0]); i++) {
		if (strncmp(name, by_letter[i], strlen(by_letter[i])) == 0)
			return !ends_in_digit(name);
	}
	if (strncmp(name, "nvme", 4) == 0 || strncmp(name, "mmcblk", 6) == 0)
		return !strchr(name + 4, 'p');
	return true;
}

/* "254 0 vda reads merged sectors ms writes merged sectors ms in_flight busy_ms ..." */
static void read_disk_line(const char *line, struct mr_host_sample *sample)
{
	struct mr_host_disk disk;
	uint64_t numbers[FIELDS_MAX];
	int skipped = 0;

	if (sscanf(line, " %*u %*u %n", &skipped) < 0 || skipped == 0)
		return;
	line += skipped;
	if (!take_name(line, strcspn(line, " "), disk.name) || !is_whole_disk(disk.name))
		return;
	if (read_numbers(line + strlen(disk.name), numbers, 10) < 10)
		return;
	disk.reads = numbers[0];
	disk.read_sectors = numbers[2];
	disk.writes = numbers[4];
	disk.written_sectors = numbers[6];
	disk.busy_ms = numbers[9];
	if (sample->disk_count < MR_HOST_DISKS_MAX && disk.reads + disk.writes > 0)
		sample->disks[sample->disk_count++] = disk;
}

void mr_host_read_diskstats(const char *text, struct mr_host_sample *sample)
{
	for_each_line(text, sample, read_disk_line);
}

/* "  eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop ..." */
static void read_interface_line(const char *line, struct mr_host_sample *sample)
{
	struct mr_host_interface interface;
	uint64_t numbers[16];
	const char *colon = strrchr(line, ':');

	line += strspn(line, " ");
	if (!colon || colon < line || !take_name(line, (size_t)(colon - line), interface.name))
		return;
	if (read_numbers(colon + 1, numbers, 16) < 12)
		return;
	interface.received_bytes = numbers[0];
	interface.sent_bytes = numbers[8];
	interface.errors = numbers[2] + numbers[3] + numbers[10] + numbers[11];
	if (sample->interface_count < MR_HOST_INTERFACES_MAX)
		sample->interfaces[sample->interface_count++] = interface;
}

void mr_host_read_net_dev(const char *text, struct mr_host_sample *sample)
{
	for_each_line(text, sample, read_interface_line);
}

void mr_host_read_pressure(const char *text, enum mr_host_pressure_kind kind,
			   struct mr_host_sample *sample)
{
	struct mr_host_pressure *pressure = &sample->pressure[kind];
	const char *full = strstr(text, "full avg10=");

	if (sscanf(text, "some avg10=%lf", &pressure->some_percent) != 1)
		pressure->some_percent = NAN;
	if (!full || sscanf(full, "full avg10=%lf", &pressure->full_percent) != 1)
		pressure->full_percent = NAN;
}

/* ---- metrics ------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void add(struct mr_host_metrics *out, double value,
						      const char *unit, const char *format, ...)
{
	struct mr_host_metric *metric = &out->metrics[out->count];
	va_list args;

	if (out->count == MR_HOST_METRICS_MAX || !isfinite(value))
		return;
	va_start(args, format);
	vsnprintf(metric->name, sizeof(metric->name), format, args);
	va_end(args);
	metric->unit = unit;
	metric->value = value;
	out->count++;
}

/* The rise of a counter by 'per'; NAN where it went back or there is no time between. */
static double rise(uint64_t before, uint64_t now, double per)
{
	return now < before || per <= 0 ? NAN : (double)(now - before) / per;
}

static void add_cpu(const struct mr_host_cpu *before, const struct mr_host_cpu *now,
		    struct mr_host_metrics *out)
{
	double ticks = rise(before->total, now->total, 1);
	double idle = rise(before->idle, now->idle, ticks / 100);
	double iowait = rise(before->iowait, now->iowait, ticks / 100);
	double steal = rise(before->steal, now->steal, ticks / 100);
	double busy = 100 - idle - iowait;

	if (busy < 0) /* the kernel's idle counts may run ahead a little */
		busy = 0;
	if (now->cpu >= 0) {
		add(out, busy, "%", "cpu.%" PRId32 ".busy", now->cpu);
		return;
	}
	add(out, busy, "%", "cpu.total.busy");
	add(out, iowait, "%", "cpu.total.iowait");
	add(out, steal, "%", "cpu.total.steal");
}

static void add_cpus(const struct mr_host_sample *before, const struct mr_host_sample *now,
		     struct mr_host_metrics *out)
{
	for (uint32_t i = 0; i < now->cpu_count; i++) {
		for (uint32_t k = 0; k < before->cpu_count; k++) {
			if (before->cpus[k].cpu == now->cpus[i].cpu)
				add_cpu(&before->cpus[k], &now->cpus[i], out);
		}
	}
}

static void add_disk(const struct mr_host_disk *before, const struct mr_host_disk *now,
		     double seconds, struct mr_host_metrics *out)
{
	add(out, rise(before->read_sectors, now->read_sectors, seconds / SECTOR_BYTES), "bytes/s",
	    "disk.%s.read", now->name);
	add(out, rise(before->written_sectors, now->written_sectors, seconds / SECTOR_BYTES),
	    "bytes/s", "disk.%s.written", now->name);
	add(out, rise(before->reads, now->reads, seconds), "1/s", "disk.%s.reads", now->name);
	add(out, rise(before->writes, now->writes, seconds), "1/s", "disk.%s.writes", now->name);
	add(out, rise(before->busy_ms, now->busy_ms, seconds * 10), "%", "disk.%s.busy", now->name);
}

static void add_disks(const struct mr_host_sample *before, const struct mr_host_sample *now,
		      double seconds, struct mr_host_metrics *out)
{
	for (uint32_t i = 0; i < now->disk_count; i++) {
		for (uint32_t k = 0; k < before->disk_count; k++) {
			if (strcmp(before->disks[k].name, now->disks[i].name) == 0)
				add_disk(&before->disks[k], &now->disks[i], seconds, out);
		}
	}
}

static void add_interfaces(const struct mr_host_sample *before, const struct mr_host_sample *now,
			   double seconds, struct mr_host_metrics *out)
{
	for (uint32_t i = 0; i < now->interface_count; i++) {
		const struct mr_host_interface *one = &now->interfaces[i];

		for (uint32_t k = 0; k < before->interface_count; k++) {
			const struct mr_host_interface *old = &before->interfaces[k];

			if (strcmp(old->name, one->name) != 0)
				continue;
			add(out, rise(old->received_bytes, one->received_bytes, seconds), "bytes/s",
			    "net.%s.received", one->name);
			add(out, rise(old->sent_bytes, one->sent_bytes, seconds), "bytes/s",
			    "net.%s.sent", one->name);
			add(out, rise(old->errors, one->errors, seconds), "1/s", "net.%s.errors",
			    one->name);
		}
	}
}

static void add_levels(const struct mr_host_sample *now, struct mr_host_metrics *out)
{
	static const char *const names[] = {"cpu", "memory", "io"};

	if (now->memory_known) {
		uint64_t used = now->memory_total_bytes - now->memory_available_bytes;

		add(out, (double)used, "bytes", "memory.used");
		add(out, (double)now->memory_available_bytes, "bytes", "memory.available");
		add(out, 100.0 * (double)used / (double)now->memory_total_bytes, "%",
		    "memory.used_share");
	}
	if (now->memory_known && now->swap_total_bytes >= now->swap_free_bytes)
		add(out, (double)(now->swap_total_bytes - now->swap_free_bytes), "bytes",
		    "memory.swap_used");
	for (int i = 0; i < MR_HOST_PRESSURES; i++) {
		add(out, now->pressure[i].some_percent, "%", "pressure.%s.some", names[i]);
		add(out, now->pressure[i].full_percent, "%", "pressure.%s.full", names[i]);
	}
	if (now->load_known) {
		add(out, now->load[0], "tasks", "load.1min");
		add(out, now->load[1], "tasks", "load.5min");
		add(out, now->load[2], "tasks", "load.15min");
	}
}

void mr_host_metrics_make(const struct mr_host_sample *before, const struct mr_host_sample *now,
			  struct mr_host_metrics *out)
{
	double seconds;

	out->count = 0;
	if (before && now->at_ns > before->at_ns) {
		seconds = (double)(now->at_ns - before->at_ns) / 1e9;
		add_cpus(before, now, out);
		add_disks(before, now, seconds, out);
		add_interfaces(before, now, seconds, out);
	}
	add_levels(now, out);
}

int mr_host_metric_text(const struct mr_host_metric *metric, char *text, uint32_t bytes)
{
	return snprintf(text, bytes, "{\"value\":%.15g,\"unit\":\"%s\"}",
			round(metric->value * 1000) / 1000, metric->unit);
}
