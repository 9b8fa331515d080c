/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On what it was measured (machine.h). Reads /proc, /sys and the kernel's word; one thread.
 */
#include "machine.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/io.h"
#include "base/place.h"

/* "vda1": the last part of where sysfs keeps the device. */
static void learn_disk(dev_t device, char *out, size_t room)
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(device), minor(device));
	if (realpath(link, path))
		snprintf(out, room, "%s", strrchr(path, '/') + 1);
}

static int learn_io(const char *directory, struct mr_bench_machine *out, struct mr_error *err)
{
	struct mr_io *io;
	int r = mr_io_open_directory(directory, "auto", &io, err);

	if (r < 0)
		return r;
	snprintf(out->file_system, sizeof(out->file_system), "%s", io->facts.file_system);
	snprintf(out->io, sizeof(out->io), "%s%s%s", io->facts.backend,
		 io->facts.fallback_reason[0] ? ", because " : "", io->facts.fallback_reason);
	mr_io_close(io);
	return 0;
}

static int first_of(const cpu_set_t *cpus)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, cpus))
			return i;
	return -1;
}

int mr_bench_machine_learn(const char *directory, struct mr_bench_machine *out,
			   struct mr_error *err)
{
	struct mr_place_host host;
	time_t now = time(NULL);
	struct utsname kernel;
	struct stat status;
	cpu_set_t cpus;
	struct tm utc;
	int r = mr_place_describe_host(&host, err);

	memset(out, 0, sizeof(*out));
	out->interrupt_core = -1;
	if (r == 0)
		r = learn_io(directory, out, err);
	if (r < 0)
		return r;
	memcpy(out->model, host.model, sizeof(out->model));
	memcpy(out->hypervisor, host.hypervisor, sizeof(out->hypervisor));
	out->cores = host.cores;
	out->cpus = host.cpus;
	out->nodes = host.nodes;
	out->memory_bytes = host.memory_bytes;
	if (uname(&kernel) == 0)
		snprintf(out->kernel, sizeof(out->kernel), "%s %s", kernel.release, kernel.version);
	if (stat(directory, &status) == 0) {
		learn_disk(status.st_dev, out->disk, sizeof(out->disk));
		if (mr_place_disk_interrupt_cpus("/", status.st_dev, &cpus, NULL) == 0)
			out->interrupt_core = first_of(&cpus);
	}
	if (gmtime_r(&now, &utc))
		strftime(out->date, sizeof(out->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return 0;
}

json_t *mr_bench_machine_json(const struct mr_bench_machine *machine)
{
	return json_pack(
		"{s:s, s:s, s:i, s:i, s:i, s:I, s:s, s:s, s:s, s:s, s:o, s:s, s:s}", "cpu",
		machine->model, "hypervisor", machine->hypervisor, "cores", (int)machine->cores,
		"cpus", (int)machine->cpus, "nodes", (int)machine->nodes, "memory_bytes",
		(json_int_t)machine->memory_bytes, "kernel", machine->kernel, "file_system",
		machine->file_system, "disk", machine->disk, "io", machine->io, "interrupt_core",
		machine->interrupt_core < 0 ? json_null() : json_integer(machine->interrupt_core),
		"date", machine->date, "version", mr_version());
}
