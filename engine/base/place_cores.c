/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the machine: hwloc's tree into rows of cores, and the words about processor and
 * hypervisor. Runs at start on one thread; the topology is gone when it returns.
 */
#include "place_cores.h"

#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "check.h"

bool mr_place_parse_list(const char *text, cpu_set_t *out)
{
	for (;;) {
		char *end;
		unsigned long first = strtoul(text, &end, 10);
		unsigned long last = first;

		if (end == text)
			return false;
		if (*end == '-') {
			text = end + 1;
			last = strtoul(text, &end, 10);
			if (end == text)
				return false;
		}
		for (; first <= last && first < CPU_SETSIZE; first++)
			CPU_SET(first, out);
		if (*end != ',')
			return *end == '\0' || *end == '\n';
		text = end + 1;
	}
}

#if defined(__x86_64__) || defined(__i386__)

/* The name that a hypervisor gives itself in leaf 0x40000000, and the word that people use. */
static const struct {
	char signature[13];
	const char *word;
} hypervisors[] = {
	{"KVMKVMKVM", "KVM"},	     {"TCGTCGTCGTCG", "QEMU"}, {"VMwareVMware", "VMware"},
	{"Microsoft Hv", "Hyper-V"}, {"XenVMMXenVMM", "Xen"},  {"bhyve bhyve ", "bhyve"},
};

static const char *hypervisor_word(void)
{
	unsigned int eax, ebx, ecx, edx;
	char signature[13] = "";

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		return "unknown";
	if (!(ecx & (1u << 31)))
		return "none";
	__cpuid(0x40000000, eax, ebx, ecx, edx);
	memcpy(signature, &ebx, 4);
	memcpy(signature + 4, &ecx, 4);
	memcpy(signature + 8, &edx, 4);
	for (size_t i = 0; i < mr_array_count(hypervisors); i++) {
		if (strcmp(signature, hypervisors[i].signature) == 0)
			return hypervisors[i].word;
	}
	return "unknown";
}

#else

static const char *hypervisor_word(void)
{
	return "unknown";
}

#endif

/*
 * A machine without a core level (an odd virtual or synthetic one) has its threads taken for
 * cores.
 */
static hwloc_obj_type_t core_type(hwloc_topology_t topology)
{
	return hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE
								      : HWLOC_OBJ_PU;
}

/*
 * Which of the machine's threads may be used. hwloc has left out what a cpuset forbids; what
 * the process was started with (taskset) is asked here, unless the machine is not this one.
 */
static void allowed_cpus(bool synthetic, cpu_set_t *out)
{
	CPU_ZERO(out);
	if (!synthetic && sched_getaffinity(0, sizeof(*out), out) == 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, out);
}

static int32_t cache_of(hwloc_topology_t topology, hwloc_obj_t core, hwloc_obj_type_t level)
{
	hwloc_obj_t cache = hwloc_get_ancestor_obj_by_type(topology, level, core);

	return cache ? (int32_t)cache->logical_index : MR_PLACE_ANY;
}

/* False if no thread of the core may be used. */
static bool read_core(hwloc_topology_t topology, hwloc_obj_t object, const cpu_set_t *allowed,
		      struct mr_place_core *row)
{
	hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, object);
	int cpu;

	memset(row, 0, sizeof(*row));
	row->core = (int32_t)object->logical_index;
	row->package = package ? (int32_t)package->logical_index : MR_PLACE_ANY;
	row->node = object->nodeset ? hwloc_bitmap_first(object->nodeset) : MR_PLACE_ANY;
	row->l2 = cache_of(topology, object, HWLOC_OBJ_L2CACHE);
	row->l3 = cache_of(topology, object, HWLOC_OBJ_L3CACHE);
	row->cpu = MR_PLACE_ANY;
	hwloc_bitmap_foreach_begin(cpu, object->cpuset)
	{
		if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, allowed))
			continue;
		if (row->cpu == MR_PLACE_ANY)
			row->cpu = cpu;
		CPU_SET(cpu, &row->cpus);
	}
	hwloc_bitmap_foreach_end();
	return row->cpu != MR_PLACE_ANY;
}

/* The most cores of ours that lie under one cache of that level; 0: the machine has none. */
static uint32_t cores_under(const struct mr_place_cores *cores, int level)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < cores->count; i++) {
		int32_t cache = level == 2 ? cores->rows[i].l2 : cores->rows[i].l3;
		uint32_t count = 0;

		for (uint32_t k = i; cache != MR_PLACE_ANY && k < cores->count; k++)
			count += (level == 2 ? cores->rows[k].l2 : cores->rows[k].l3) == cache;
		most = count > most ? count : most;
	}
	return most;
}

static void describe(hwloc_topology_t topology, struct mr_place_cores *cores)
{
	hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
	const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
	int packages = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PACKAGE);
	int nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
	struct mr_place_host *host = &cores->host;

	host->packages = packages > 0 ? (uint32_t)packages : 1;
	host->nodes = nodes > 0 ? (uint32_t)nodes : 1;
	host->cores = cores->count;
	host->l2_cores = cores_under(cores, 2);
	host->l3_cores = cores_under(cores, 3);
	host->memory_bytes = hwloc_get_root_obj(topology)->total_memory;
	snprintf(host->model, sizeof(host->model), "%s", model ? model : "");
	snprintf(host->hypervisor, sizeof(host->hypervisor), "%s",
		 host->synthetic ? "unknown" : hypervisor_word());
	for (uint32_t i = 0; i < cores->count; i++)
		host->cpus += (uint32_t)CPU_COUNT(&cores->rows[i].cpus);
}

static int read_rows(hwloc_topology_t topology, struct mr_place_cores *cores, struct mr_error *err)
{
	hwloc_obj_type_t type = core_type(topology);
	const char *synthetic = getenv("HWLOC_SYNTHETIC");
	hwloc_obj_t object = NULL;
	cpu_set_t allowed;

	cores->host.synthetic = !hwloc_topology_is_thissystem(topology);
	if (synthetic && synthetic[0] && !cores->host.synthetic)
		return mr_error_set(err, -EINVAL, "HWLOC_SYNTHETIC describes no machine: '%s'",
				    synthetic);
	allowed_cpus(cores->host.synthetic, &allowed);
	cores->rows =
		calloc((size_t)hwloc_get_nbobjs_by_type(topology, type), sizeof(*cores->rows));
	if (!cores->rows)
		return mr_error_set(err, -ENOMEM, "no memory for the placement plan");
	while ((object = hwloc_get_next_obj_by_type(topology, type, object))) {
		if (!read_core(topology, object, &allowed, &cores->rows[cores->count]))
			continue;
		if (!cores->host.synthetic)
			CPU_OR(&cores->allowed, &cores->allowed, &cores->rows[cores->count].cpus);
		cores->count++;
	}
	if (cores->count == 0)
		return mr_error_set(err, -ENODEV, "no core that this process may use was found");
	describe(topology, cores);
	return 0;
}

int mr_place_cores_read(struct mr_place_cores *out, struct mr_error *err)
{
	struct mr_place_cores cores = {.rows = NULL};
	hwloc_topology_t topology;
	int r;

	if (hwloc_topology_init(&topology) < 0)
		return mr_error_set(err, -ENOMEM, "no memory to look at the machine");
	if (hwloc_topology_load(topology) < 0)
		r = mr_error_set(err, -errno, "hwloc cannot tell what cores this machine has");
	else
		r = read_rows(topology, &cores, err);
	hwloc_topology_destroy(topology);
	if (r < 0) {
		free(cores.rows);
		return r;
	}
	*out = cores;
	return 0;
}
