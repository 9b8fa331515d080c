/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: on every shape of machine each worker has a core of its own while there are
 * enough, the disk's core comes last, the memory's node is the core's, and the plan says why.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "place.h"
#include "place_cores.h"

static struct mr_place_plan plan;

/* 'disk_cpus' as a list, or NULL. */
static void plan_for(const char *machine, enum mr_place_policy policy, uint32_t workers,
		     const char *disk_cpus)
{
	struct mr_place_request request = {.policy = policy, .workers = workers};
	struct mr_error err = {.what = ""};
	cpu_set_t disk;

	setenv("HWLOC_SYNTHETIC", machine, 1);
	CPU_ZERO(&disk);
	if (disk_cpus) {
		mr_place_parse_list(disk_cpus, &disk);
		request.disk_cpus = &disk;
	}
	cr_assert_eq(mr_place_plan(&request, &plan, &err), 0, "%s", err.what);
	cr_assert(plan.host.synthetic);
	cr_assert_eq(plan.entry_count, plan.worker_count + 2);
}

static const struct mr_place_entry *control(void)
{
	return mr_place_find(&plan, MR_PLACE_CONTROL);
}

static const struct mr_place_entry *chores(void)
{
	return mr_place_find(&plan, MR_PLACE_CHORES);
}

static void expect_cores(const int32_t *cores, uint32_t count)
{
	cr_assert_eq(plan.worker_count, count, "%u workers", plan.worker_count);
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(plan.entries[i].role, MR_PLACE_WORKER);
		cr_assert_eq(plan.entries[i].worker, i);
		cr_assert_eq(plan.entries[i].core, cores[i], "worker %u is on core %d", i,
			     plan.entries[i].core);
	}
}

#define EXPECT_CORES(...)                                                                          \
	expect_cores((const int32_t[]){__VA_ARGS__},                                               \
		     sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#define TWO_PACKAGES "package:2 core:4 pu:2"

Test(place, describes_a_machine_of_two_packages)
{
	plan_for("package:2 [numa] core:4 pu:2", MR_PLACE_SPREAD, 0, NULL);
	cr_assert_eq(plan.host.packages, 2);
	cr_assert_eq(plan.host.nodes, 2);
	cr_assert_eq(plan.host.cores, 8);
	cr_assert_eq(plan.host.cpus, 16);
}

/* Eight cores: one for control and chores, two for the programs beside, five for workers. */
Test(place, leaves_room_beside_the_workers)
{
	plan_for(TWO_PACKAGES, MR_PLACE_COMPACT, 0, NULL);
	EXPECT_CORES(0, 1, 2, 3, 4);
	cr_assert_eq(control()->core, 5);
	cr_assert_eq(chores()->core, 5);
}

Test(place, spreads_over_packages_in_turn)
{
	plan_for("package:2 [numa] core:4 pu:2", MR_PLACE_SPREAD, 0, NULL);
	EXPECT_CORES(0, 4, 1, 5, 2);
	cr_assert_eq(control()->core, 6);
}

/* Nodes 0 and 1 are of the first package: the second worker goes to the other package, not to
 * node 1. */
Test(place, spreads_over_packages_before_their_nodes)
{
	static const int32_t nodes[] = {0, 2, 1, 3, 0, 2};

	plan_for("package:2 [numa] group:2 [numa] core:2 pu:1", MR_PLACE_SPREAD, 6, NULL);
	mr_place_plan_deinit(&plan);
	plan_for("package:2 numa:2 core:2 pu:1", MR_PLACE_SPREAD, 6, NULL);
	for (int i = 0; i < 6; i++)
		cr_assert_eq(plan.entries[i].node, nodes[i], "worker %d is on node %d", i,
			     plan.entries[i].node);
}

Test(place, compact_fills_a_node_first)
{
	plan_for("package:2 [numa] core:4 pu:2", MR_PLACE_COMPACT, 5, NULL);
	EXPECT_CORES(0, 1, 2, 3, 4);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(plan.entries[i].node, i < 4 ? 0 : 1);
}

/* A hyperthread is not a core: its sibling would take half of it away. */
Test(place, gives_one_thread_of_each_core)
{
	plan_for("package:1 core:4 pu:2", MR_PLACE_COMPACT, 4, NULL);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(plan.entries[i].cpu, 2 * i);
}

Test(place, keeps_workers_off_the_core_of_the_disk)
{
	plan_for(TWO_PACKAGES, MR_PLACE_COMPACT, 0, "3"); /* cpu 3 is the second thread of core 1 */
	EXPECT_CORES(0, 2, 3, 4, 5);
	cr_assert_eq(control()->core, 1);
	cr_assert_not_null(strstr(control()->reason, "disk interrupts"));
	for (int i = 0; i < 5; i++)
		cr_assert(plan.entries[i].may_spin);
}

Test(place, a_worker_on_the_core_of_the_disk_may_not_spin)
{
	plan_for("core:4 pu:1", MR_PLACE_SPREAD, 4, "0");
	EXPECT_CORES(1, 2, 3, 0);
	cr_assert(plan.entries[2].may_spin);
	cr_assert(!plan.entries[3].may_spin);
	cr_assert_not_null(strstr(plan.entries[3].reason, "no spin"));
}

/* NVMe has a queue on every core: then none is better than another, and nobody spins. */
Test(place, interrupts_everywhere_leave_the_order_alone)
{
	plan_for("core:4 pu:1", MR_PLACE_COMPACT, 0, "0-3");
	EXPECT_CORES(0, 1);
	cr_assert_eq(control()->core, 2);
	cr_assert(!plan.entries[0].may_spin);
}

Test(place, two_cores_pin_the_worker_only)
{
	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 0, "1");
	EXPECT_CORES(0);
	cr_assert(plan.entries[0].may_spin);
	cr_assert_eq(control()->cpu, MR_PLACE_ANY);
	cr_assert_eq(chores()->core, MR_PLACE_ANY);
	cr_assert_str_eq(control()->reason, "not pinned: with 2 cores none is to spare");
}

Test(place, two_workers_on_two_cores_are_apart)
{
	plan_for("core:2 pu:2", MR_PLACE_SPREAD, 2, "2");
	EXPECT_CORES(0, 1);
	cr_assert(!plan.entries[1].may_spin);
}

Test(place, one_core_is_shared_by_all)
{
	plan_for("core:1 pu:1", MR_PLACE_SPREAD, 0, NULL);
	EXPECT_CORES(0);
	cr_assert(!plan.entries[0].may_spin);
	cr_assert_str_eq(control()->reason, "not pinned: with 1 core none is to spare");
}

Test(place, three_cores_are_one_for_each)
{
	plan_for("core:3 pu:1", MR_PLACE_COMPACT, 0, NULL);
	EXPECT_CORES(0);
	cr_assert_eq(control()->core, 1);
}

Test(place, more_workers_than_cores_share_and_say_so)
{
	plan_for("core:3 pu:1", MR_PLACE_COMPACT, 5, NULL);
	EXPECT_CORES(0, 1, 2, 0, 1);
	for (int i = 0; i < 5; i++) {
		bool shares = i != 2;

		cr_assert_eq(plan.entries[i].may_spin, !shares, "worker %d", i);
		cr_assert_eq(strstr(plan.entries[i].reason, "shares") != NULL, shares);
	}
	cr_assert_str_eq(control()->reason, "not pinned: every core has a worker");
}

Test(place, refuses_more_workers_than_there_can_be)
{
	struct mr_place_request request = {.workers = MR_PLACE_WORKERS_MAX + 1};
	struct mr_error err;

	cr_assert_eq(mr_place_plan(&request, &plan, &err), -EINVAL);
	cr_assert_str_eq(err.what, "257 workers were asked for, at most 256 are possible");
}

/* Workers by choice of the plan have a bound as well. */
Test(place, a_huge_machine_is_taken)
{
	plan_for("package:8 [numa] core:64 pu:2", MR_PLACE_SPREAD, 0, NULL);
	cr_assert_eq(plan.worker_count, MR_PLACE_WORKERS_MAX);
	cr_assert_eq(plan.host.cores, 512);
}

/* Odd machines: no cores known, no packages known. Threads are then taken for cores. */
Test(place, a_machine_without_cores_is_taken)
{
	plan_for("pu:4", MR_PLACE_SPREAD, 0, NULL);
	EXPECT_CORES(0, 1);
	cr_assert_eq(plan.host.cores, 4);
	cr_assert_eq(plan.host.packages, 1);
	cr_assert_eq(plan.entries[0].package, MR_PLACE_ANY);
}

/* On every shape and for every count: own cores while they last, none with a helper on it. */
Test(place, holds_on_many_shapes)
{
	static const char *const machines[] = {
		"core:1 pu:1",
		"core:2 pu:2",
		"core:3 pu:1",
		"package:2 [numa] core:4 pu:2",
		"package:4 [numa] core:2 pu:1",
		"numa:2 core:3 pu:2",
		"pu:5",
		"package:1 numa:4 core:4 pu:2",
	};

	for (size_t m = 0; m < sizeof(machines) / sizeof(machines[0]); m++) {
		for (uint32_t workers = 0; workers <= 20; workers++) {
			plan_for(machines[m], workers % 2, workers, workers % 3 ? "0" : NULL);
			for (uint32_t i = 0; i < plan.worker_count; i++) {
				uint32_t seen = 0;

				for (uint32_t k = 0; k < plan.entry_count; k++)
					seen += plan.entries[k].core == plan.entries[i].core;
				cr_assert_geq(plan.entries[i].core, 0);
				if (plan.worker_count <= plan.host.cores)
					cr_assert_eq(seen, 1, "%s, %u workers", machines[m],
						     workers);
				if (seen > 1)
					cr_assert(!plan.entries[i].may_spin);
			}
			mr_place_plan_deinit(&plan);
		}
	}
}

/* A plan for another machine must never move this one's threads. */
Test(place, a_synthetic_plan_pins_nothing)
{
	cpu_set_t before, after;

	plan_for(TWO_PACKAGES, MR_PLACE_SPREAD, 0, NULL);
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (uint32_t i = 0; i < plan.entry_count; i++)
		cr_assert_eq(mr_place_bind_thread(&plan.entries[i], NULL), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
}

static void plan_here(uint32_t workers)
{
	struct mr_place_request request = {.workers = workers};
	struct mr_error err = {.what = ""};

	unsetenv("HWLOC_SYNTHETIC");
	cr_assert_eq(mr_place_plan(&request, &plan, &err), 0, "%s", err.what);
	cr_assert(!plan.host.synthetic);
}

Test(place, pins_a_worker_and_releases_a_helper)
{
	cpu_set_t before, after;

	plan_here(0);
	sched_getaffinity(0, sizeof(before), &before);
	cr_assert_eq(mr_place_bind_thread(&plan.entries[0], NULL), 0);
	sched_getaffinity(0, sizeof(after), &after);
	cr_assert_eq(CPU_COUNT(&after), 1);
	cr_assert(CPU_ISSET(plan.entries[0].cpu, &after));
	cr_assert_eq(mr_place_bind_thread(control(), NULL), 0);
	sched_getaffinity(0, sizeof(after), &after);
	if (control()->cpu == MR_PLACE_ANY)
		cr_assert(CPU_EQUAL(&before, &after));
	else
		cr_assert(CPU_EQUAL(&control()->cpus, &after));
}

/* What taskset or a cpuset took away is not in the plan. */
Test(place, keeps_to_the_cpus_that_the_process_has)
{
	cpu_set_t one;
	int cpu;

	plan_here(0);
	cpu = plan.entries[0].cpu;
	mr_place_plan_deinit(&plan);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	plan_here(0);
	cr_assert_eq(plan.host.cores, 1);
	cr_assert_eq(plan.host.cpus, 1);
	cr_assert_eq(plan.worker_count, 1);
	cr_assert_eq(plan.entries[0].cpu, cpu);
	cr_assert(CPU_EQUAL(&control()->cpus, &one));
}

Test(place, says_when_a_thread_cannot_be_pinned)
{
	struct mr_place_entry entry = {.role = MR_PLACE_WORKER, .worker = 3, .cpu = 1023};
	struct mr_error err;

	CPU_SET(1023, &entry.cpus);
	cr_assert_eq(mr_place_bind_thread(&entry, &err), -EINVAL);
	cr_assert_str_eq(err.what, "cannot put worker 3 on cpu 1023");
}

Test(place, memory_of_any_node_and_of_this_one_can_be_asked_for)
{
	struct mr_place_host host;
	void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	unsetenv("HWLOC_SYNTHETIC");
	cr_assert_neq(at, MAP_FAILED);
	cr_assert_eq(mr_place_describe_host(&host, NULL), 0);
	cr_assert_eq(mr_place_bind_memory(at, 1 << 20, MR_PLACE_ANY, NULL), 0);
	cr_assert_eq(mr_place_bind_memory(at, 1 << 20, 0, NULL), 0);
	memset(at, 1, 1 << 20);
}

Test(place, describes_this_host)
{
	struct mr_place_host host;

	unsetenv("HWLOC_SYNTHETIC");
	cr_assert_eq(mr_place_describe_host(&host, NULL), 0);
	cr_assert_geq(host.cores, 1);
	cr_assert_geq(host.cpus, host.cores);
	cr_assert_geq(host.nodes, 1);
	cr_assert_gt(host.memory_bytes, 0);
	cr_assert_str_not_empty(host.hypervisor);
}

static char *printed(void)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	mr_place_print(&plan, out);
	fclose(out);
	return text;
}

Test(place, prints_a_table)
{
	char *text;

	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 1, "1");
	plan.host.memory_bytes = 1 << 30;
	text = printed();
	cr_assert_str_eq(
		text,
		"2 cores, 2 hardware threads, 1 NUMA node, 1 package, 1.0 GiB\n"
		"a synthetic machine, not this one: nothing is pinned\n"
		"policy spread; disk interrupts on cpu 1\n"
		"\n"
		"thread      cpu core node  pkg  why\n"
		"worker 0      0    0    0    -  own core\n"
		"control       -    -    -    -  not pinned: with 2 cores none is to spare\n"
		"chores        -    -    -    -  not pinned: with 2 cores none is to spare\n");
	free(text);
}

Test(place, refuses_a_synthetic_machine_that_is_none)
{
	struct mr_place_request request = {.workers = 0};
	struct mr_error err;

	setenv("HWLOC_SYNTHETIC", "nonsense", 1);
	cr_assert_eq(mr_place_plan(&request, &plan, &err), -EINVAL);
	cr_assert_str_eq(err.what, "HWLOC_SYNTHETIC describes no machine: 'nonsense'");
}

Test(place, a_table_fits_a_terminal)
{
	static const char *const disks[] = {NULL, "0", "1,3,5,7,9-11,40-1000", "0-1023",
					    "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35"};

	for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
		for (uint32_t workers = 0; workers < 20; workers++) {
			char *text, *line, *rest;

			plan_for("package:2 [numa] core:4 pu:2", workers % 2, workers, disks[i]);
			text = rest = printed();
			while ((line = strsep(&rest, "\n")))
				cr_assert_leq(strlen(line), 80, "%s", line);
			free(text);
			mr_place_plan_deinit(&plan);
		}
	}
}

Test(place, tells_programs_the_same)
{
	json_t *root, *threads, *first, *last;
	char *text;

	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 1, "1");
	text = mr_place_json(&plan);
	cr_assert_not_null(text);
	root = json_loads(text, 0, NULL);
	cr_assert_not_null(root);
	cr_assert_str_eq(json_string_value(json_object_get(root, "policy")), "spread");
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(root, "host"), "cores")),
		     2);
	threads = json_object_get(root, "threads");
	cr_assert_eq(json_array_size(threads), 3);
	first = json_array_get(threads, 0);
	last = json_array_get(threads, 2);
	cr_assert_str_eq(json_string_value(json_object_get(first, "role")), "worker");
	cr_assert_eq(json_integer_value(json_object_get(first, "cpu")), 0);
	cr_assert(json_is_true(json_object_get(first, "may_spin")));
	cr_assert(json_is_null(json_object_get(last, "cpu")));
	cr_assert(json_is_null(json_object_get(last, "worker")));
	json_decref(root);
	free(text);
}

Test(place, reads_lists_of_cpus)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	mr_place_parse_list("0-2,5\n", &cpus);
	cr_assert_eq(CPU_COUNT(&cpus), 4);
	cr_assert(CPU_ISSET(5, &cpus));
	mr_place_parse_list("", &cpus);
	mr_place_parse_list("x", &cpus);
	mr_place_parse_list("7-", &cpus);
	mr_place_parse_list("9-3", &cpus);
	mr_place_parse_list("99999999999999999999-999999999999999999999", &cpus);
	cr_assert_eq(CPU_COUNT(&cpus), 4);
	mr_place_parse_list("1000-99999999", &cpus);
	cr_assert_eq(CPU_COUNT(&cpus), 4 + 24);
}

/* ---- the disk's interrupts, in a made-up /proc and /sys ---------------------------------------
 */

static char root[] = "/tmp/millrace-place-XXXXXX";

static void make_file(const char *path, const char *text)
{
	char whole[600];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (char *slash = whole + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(whole, 0700);
		*slash = '/';
	}
	file = fopen(whole, "w");
	cr_assert_not_null(file, "%s", whole);
	fputs(text, file);
	fclose(file);
}

static void make_link(const char *path, const char *target)
{
	char whole[600], there[600];

	make_file(path, "");
	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	snprintf(there, sizeof(there), "%s/%s", root, target);
	unlink(whole);
	cr_assert_eq(symlink(there, whole), 0);
}

static void make_host(void)
{
	cr_assert_not_null(mkdtemp(root));
	make_file("proc/interrupts",
		  "           CPU0       CPU1\n"
		  " 11:          5          0   IO-APIC   11-fasteoi   ahci[0000:00:1f.2], ehci\n"
		  " 30:          0          0 PCI-MSIX-0000:00:02.0   0-edge      virtio1-config\n"
		  " 31:          0      84261 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n"
		  " 32:          0        261 PCI-MSIX-0000:00:03.0   1-edge      virtio11-req.0\n"
		  " 40:          9          0 PCI-MSIX-0000:01:00.0   0-edge      nvme0q0\n"
		  " 41:          9          0 PCI-MSIX-0000:01:00.0   1-edge      nvme0q1\n"
		  " 42:          9          0 PCI-MSIX-0000:01:00.0   2-edge      nvme0q2\n"
		  "NMI:          0          0   Non-maskable interrupts\n"
		  "garbage\n\n:\n99");
	make_file("proc/irq/11/smp_affinity_list", "0-1\n");
	make_file("proc/irq/30/effective_affinity_list", "7\n");
	make_file("proc/irq/31/effective_affinity_list", "1\n");
	make_file("proc/irq/31/smp_affinity_list", "0-3\n");
	make_file("proc/irq/32/effective_affinity_list", "6\n");
	make_file("proc/irq/40/effective_affinity_list", "8\n");
	make_file("proc/irq/41/effective_affinity_list", "4\n");
	make_file("proc/irq/42/effective_affinity_list", "5\n");
	make_file("sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/size", "1");
	make_file("sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/vda1/partition", "1");
	make_file("sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/size", "1");
	make_file("sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/block/sda/size", "1");
	make_file("sys/devices/virtual/block/loop0/size", "1");
	make_link("sys/dev/block/254:0", "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda");
	make_link("sys/dev/block/254:1",
		  "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/vda1");
	make_link("sys/dev/block/259:0", "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1");
	make_link("sys/dev/block/8:0", "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/block/sda");
	make_link("sys/dev/block/7:0", "sys/devices/virtual/block/loop0");
}

static void remove_host(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", root);
	cr_assert_eq(system(command), 0);
}

static void expect_cpus(unsigned int major_number, unsigned int minor_number, const char *list)
{
	struct mr_error err = {.what = ""};
	cpu_set_t cpus, expected;

	CPU_ZERO(&expected);
	mr_place_parse_list(list, &expected);
	cr_assert_eq(mr_place_disk_interrupt_cpus(root, makedev(major_number, minor_number), &cpus,
						  &err),
		     0, "%s", err.what);
	cr_assert(CPU_EQUAL(&cpus, &expected), "%u:%u", major_number, minor_number);
}

Test(place, knows_the_interrupts_of_disks, .init = make_host, .fini = remove_host)
{
	expect_cpus(254, 0, "1");   /* virtio: not its configuration, not virtio11 */
	expect_cpus(254, 1, "1");   /* a partition */
	expect_cpus(259, 0, "4,5"); /* nvme: not its control queue */
	expect_cpus(8, 0, "0-1");   /* by the controller's address, shared line */
}

Test(place, looks_under_devices_made_of_others, .init = make_host, .fini = remove_host)
{
	make_link("sys/devices/virtual/block/dm-0/slaves/vda1",
		  "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/vda1");
	make_link("sys/devices/virtual/block/dm-1/slaves/dm-0", "sys/devices/virtual/block/dm-0");
	make_link("sys/devices/virtual/block/dm-1/slaves/nvme0n1",
		  "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1");
	make_link("sys/dev/block/252:1", "sys/devices/virtual/block/dm-1");
	expect_cpus(252, 1, "1,4,5");
}

/* Nothing that sysfs says may send it round for ever. */
Test(place, survives_a_device_that_lies_on_itself, .init = make_host, .fini = remove_host)
{
	cpu_set_t cpus;

	make_link("sys/devices/virtual/block/dm-0/slaves/dm-0", "sys/devices/virtual/block/dm-0");
	make_link("sys/dev/block/252:0", "sys/devices/virtual/block/dm-0");
	cr_assert_eq(mr_place_disk_interrupt_cpus(root, makedev(252, 0), &cpus, NULL), -ENODATA);
}

Test(place, says_politely_that_it_does_not_know, .init = make_host, .fini = remove_host)
{
	struct mr_error err;
	cpu_set_t cpus;

	cr_assert_eq(mr_place_disk_interrupt_cpus(root, makedev(7, 0), &cpus, &err), -ENODATA);
	cr_assert_str_eq(err.what, "the CPUs that take the interrupts of disk 7:0 are not known");
	cr_assert_str_eq(err.why, "it is no disk of this host's own");
	cr_assert_eq(mr_place_disk_interrupt_cpus(root, makedev(0, 99), &cpus, &err), -ENODATA);
	make_file("proc/interrupts", "");
	cr_assert_eq(mr_place_disk_interrupt_cpus(root, makedev(254, 0), &cpus, &err), -ENODATA);
	cr_assert_str_eq(err.why, "/proc/interrupts does not name it");
}

Test(place, a_host_without_proc_is_survived)
{
	cpu_set_t cpus;

	cr_assert_eq(mr_place_disk_interrupt_cpus("/nowhere", makedev(8, 0), &cpus, NULL),
		     -ENODATA);
}
