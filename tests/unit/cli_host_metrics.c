/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold: metrics are what /proc counts, and nothing that it does not say. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host_metrics.h"

/* Large: not on the stack. */
static struct mr_host_sample before;
static struct mr_host_sample now;
static struct mr_host_metrics out;

static void begin(void)
{
	mr_host_sample_clear(&before);
	mr_host_sample_clear(&now);
	before.at_ns = 1000000000;
	now.at_ns = 3000000000; /* two seconds */
}

/* NAN: there is no such metric. */
static double value_of(const char *name)
{
	for (uint32_t i = 0; i < out.count; i++) {
		if (strcmp(out.metrics[i].name, name) == 0)
			return out.metrics[i].value;
	}
	return NAN;
}

static void expect(const char *name, double value)
{
	double found = value_of(name);

	cr_assert(fabs(found - value) < 1e-9, "%s is %f, expected %f", name, found, value);
}

static void expect_none(const char *name)
{
	cr_assert(isnan(value_of(name)), "%s is there", name);
}

TestSuite(host_metrics, .init = begin);

Test(host_metrics, cpu_is_what_was_neither_idle_nor_waiting)
{
	mr_host_read_stat("cpu  100 0 100 700 50 0 0 50 0 0\n"
			  "cpu0 50 0 50 350 25 0 0 25 0 0\n"
			  "cpu7 50 0 50 350 25 0 0 25 0 0\n"
			  "intr 12345 0\nctxt 99\n",
			  &before);
	mr_host_read_stat("cpu  200 0 200 1300 150 0 0 150 0 0\n"
			  "cpu0 150 0 50 350 25 0 0 25 0 0\n"
			  "cpu7 50 0 50 450 25 0 0 25 0 0\n",
			  &now);
	mr_host_metrics_make(&before, &now, &out);
	expect("cpu.total.busy", 30); /* of 1,000 ticks 600 idle, 100 waiting */
	expect("cpu.total.iowait", 10);
	expect("cpu.total.steal", 10);
	expect("cpu.0.busy", 100);
	expect("cpu.7.busy", 0);
	expect_none("cpu.1.busy");
}

Test(host_metrics, a_cpu_that_came_or_went_or_stood_still_is_left_out)
{
	mr_host_read_stat("cpu 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1\ncpu1 5 5 5 5 5 5 5 5\n", &before);
	mr_host_read_stat("cpu 1 1 1 1\ncpu1 4 5 5 5 5 5 5 5\ncpu2 9 9 9 9 9 9 9 9\n", &now);
	mr_host_metrics_make(&before, &now, &out);
	expect_none("cpu.total.busy");
	expect_none("cpu.0.busy");
	expect_none("cpu.1.busy");
	expect_none("cpu.2.busy");
}

/* The kernel's idle time may run a tick back: never a share below zero or above a hundred. */
Test(host_metrics, shares_stay_between_none_and_all)
{
	mr_host_read_stat("cpu0 100 0 0 100 0 0 0 0\n", &before);
	mr_host_read_stat("cpu0 100 0 0 110 0 0 0 0\n", &now);
	mr_host_metrics_make(&before, &now, &out);
	expect("cpu.0.busy", 0);
}

Test(host_metrics, memory_is_known_from_the_first_sample)
{
	mr_host_read_meminfo("MemTotal:       1000 kB\nMemFree:         100 kB\n"
			     "MemAvailable:    250 kB\nBuffers: 1 kB\n"
			     "SwapTotal:       400 kB\nSwapFree:        300 kB\n",
			     &now);
	mr_host_metrics_make(NULL, &now, &out);
	expect("memory.used", 750 * 1024);
	expect("memory.available", 250 * 1024);
	expect("memory.used_share", 75);
	expect("memory.swap_used", 100 * 1024);
}

Test(host_metrics, memory_that_makes_no_sense_is_left_out)
{
	mr_host_read_meminfo("MemTotal: 10 kB\nMemAvailable: 20 kB\n", &now);
	mr_host_metrics_make(NULL, &now, &out);
	expect_none("memory.used");
	mr_host_sample_clear(&now);
	mr_host_read_meminfo("", &now);
	mr_host_metrics_make(NULL, &now, &out);
	cr_assert_eq(out.count, 0);
}

Test(host_metrics, disks_are_whole_ones_that_were_used)
{
	static const char text[] = " 254       0 vda %u 5 %u 7 %u 9 %u 11 0 %u 13 0 0 0 0 0 0\n"
				   " 254       1 vda1 100 5 600 7 800 9 1000 11 0 12 13 0 0 0 0\n"
				   " 259       0 nvme0n1 10 0 10 0 10 0 10 0 0 10 0\n"
				   " 259       1 nvme0n1p1 10 0 10 0 10 0 10 0 0 10 0\n"
				   " 253       0 dm-0 10 0 10 0 10 0 10 0 0 10 0\n"
				   "   7       0 loop0 10 0 10 0 10 0 10 0 0 10 0\n"
				   "   8       0 sda 0 0 0 0 0 0 0 0 0 0 0\n"
				   "   8       1 short 1 2 3\n";
	char one[1024];
	char two[1024];

	snprintf(one, sizeof(one), text, 100u, 600u, 800u, 1000u, 1000u);
	snprintf(two, sizeof(two), text, 120u, 640u, 810u, 1400u, 2000u);
	mr_host_read_diskstats(one, &before);
	mr_host_read_diskstats(two, &now);
	mr_host_metrics_make(&before, &now, &out);
	expect("disk.vda.reads", 10);
	expect("disk.vda.read", 20 * 512);
	expect("disk.vda.writes", 5);
	expect("disk.vda.written", 200 * 512);
	expect("disk.vda.busy", 50); /* one second of two */
	expect("disk.nvme0n1.reads", 0);
	expect("disk.dm-0.reads", 0);
	expect_none("disk.vda1.reads");
	expect_none("disk.nvme0n1p1.reads");
	expect_none("disk.loop0.reads");
	expect_none("disk.sda.reads");
	expect_none("disk.short.reads");
}

Test(host_metrics, interfaces_count_both_ways)
{
	mr_host_read_net_dev("Inter-|   Receive                |  Transmit\n"
			     " face |bytes    packets errs drop\n"
			     "    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0\n"
			     "  eth0:5000 1 2 3 0 0 0 0 7000 1 4 5 0 0 0 0\n",
			     &before);
	mr_host_read_net_dev("    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0\n"
			     "  eth0: 9000 1 3 4 0 0 0 0 7000 1 5 6 0 0 0 0\n"
			     "  eth1: 9000 1 3 4 0 0 0 0 7000 1 5 6 0 0 0 0\n",
			     &now);
	mr_host_metrics_make(&before, &now, &out);
	expect("net.eth0.received", 2000);
	expect("net.eth0.sent", 0);
	expect("net.eth0.errors", 2);
	expect("net.lo.received", 0);
	expect_none("net.eth1.received");
	expect_none("net.face .received");
}

Test(host_metrics, a_counter_that_began_anew_is_left_out_once)
{
	mr_host_read_net_dev("eth0: 9000 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n", &before);
	mr_host_read_net_dev("eth0: 10 1 0 0 0 0 0 0 300 1 0 0 0 0 0 0\n", &now);
	mr_host_metrics_make(&before, &now, &out);
	expect_none("net.eth0.received");
	expect("net.eth0.sent", 100);
}

Test(host_metrics, pressure_may_have_one_line_or_two)
{
	mr_host_read_pressure("some avg10=1.50 avg60=2.00 avg300=3.00 total=4\n",
			      MR_HOST_PRESSURE_CPU, &now);
	mr_host_read_pressure("some avg10=4.00 avg60=0.00 avg300=0.00 total=4\n"
			      "full avg10=2.25 avg60=0.00 avg300=0.00 total=4\n",
			      MR_HOST_PRESSURE_IO, &now);
	mr_host_read_pressure("garbage", MR_HOST_PRESSURE_MEMORY, &now);
	mr_host_metrics_make(NULL, &now, &out);
	expect("pressure.cpu.some", 1.5);
	expect_none("pressure.cpu.full");
	expect("pressure.io.some", 4);
	expect("pressure.io.full", 2.25);
	expect_none("pressure.memory.some");
}

Test(host_metrics, load_has_three_numbers_or_none)
{
	mr_host_read_loadavg("0.50 1.25 2.00 3/456 7890\n", &now);
	mr_host_metrics_make(NULL, &now, &out);
	expect("load.1min", 0.5);
	expect("load.5min", 1.25);
	expect("load.15min", 2);
	mr_host_read_loadavg("0.50 x", &now);
	mr_host_metrics_make(NULL, &now, &out);
	expect_none("load.1min");
}

Test(host_metrics, no_time_between_samples_gives_no_rates)
{
	now.at_ns = before.at_ns;
	mr_host_read_net_dev("eth0: 1 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n", &before);
	mr_host_read_net_dev("eth0: 9 1 0 0 0 0 0 0 300 1 0 0 0 0 0 0\n", &now);
	mr_host_metrics_make(&before, &now, &out);
	cr_assert_eq(out.count, 0);
}

Test(host_metrics, too_many_are_cut_off)
{
	size_t bytes = 4u << 20;
	char *text = malloc(bytes);
	size_t used = 0;

	for (int i = 0; i < 5000; i++)
		used += (size_t)snprintf(text + used, bytes - used, "cpu%d 1 1 1 1 1 1 1 1\n", i);
	mr_host_read_stat(text, &before);
	cr_assert_leq(before.cpu_count, MR_HOST_CPUS_MAX + 1);
	used = 0;
	for (int i = 0; i < 500; i++)
		used += (size_t)snprintf(text + used, bytes - used,
					 "e%d: 1 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0\n", i);
	mr_host_read_net_dev(text, &before);
	cr_assert_eq(before.interface_count, MR_HOST_INTERFACES_MAX);
	used = 0;
	for (int i = 0; i < 500; i++)
		used += (size_t)snprintf(text + used, bytes - used,
					 "1 1 dm-%d 10 0 10 0 10 0 10 0 0 10 0\n", i);
	mr_host_read_diskstats(text, &before);
	cr_assert_eq(before.disk_count, MR_HOST_DISKS_MAX);
	free(text);
}

/* No text may make it read or write where it must not (this runs under AddressSanitizer). */
Test(host_metrics, any_text_is_survived)
{
	unsigned seed = 42;
	char text[300];

	for (int round = 0; round < 20000; round++) {
		static const char alphabet[] = "cpu0123456789 :\n.vdaethMmTotal=avg1fs";
		size_t bytes = round % sizeof(text);

		for (size_t i = 0; i < bytes; i++) {
			seed = seed * 1103515245u + 12345u;
			text[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		text[bytes] = '\0';
		mr_host_sample_clear(&now);
		mr_host_read_stat(text, &now);
		mr_host_read_meminfo(text, &now);
		mr_host_read_loadavg(text, &now);
		mr_host_read_diskstats(text, &now);
		mr_host_read_net_dev(text, &now);
		mr_host_read_pressure(text, MR_HOST_PRESSURE_IO, &now);
		mr_host_metrics_make(&before, &now, &out);
	}
}

Test(host_metrics, values_are_short_json)
{
	struct mr_host_metric metric = {.unit = "%", .value = 12.34567};
	char text[96];

	mr_host_metric_text(&metric, text, sizeof(text));
	cr_assert_str_eq(text, "{\"value\":12.346,\"unit\":\"%\"}");
	metric = (struct mr_host_metric){.unit = "bytes", .value = 25769803776.0};
	mr_host_metric_text(&metric, text, sizeof(text));
	cr_assert_str_eq(text, "{\"value\":25769803776,\"unit\":\"bytes\"}");
	metric = (struct mr_host_metric){.unit = "1/s", .value = 0};
	cr_assert_eq(mr_host_metric_text(&metric, text, sizeof(text)), (int)strlen(text));
	cr_assert_str_eq(text, "{\"value\":0,\"unit\":\"1/s\"}");
}
