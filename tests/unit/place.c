/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: on every shape of machine each worker has a core of its own while there are
 * enough, the first one the core of the disk's interrupts unless workers always spin, the
 * memory's node is the core's, and the plan says why.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "place.h"
#include "place_cores.h"

static struct mr_place_plan plan;

static struct mr_place_disk disk;
static bool workers_spin;
static uint32_t cpu_percent;

/* 'disk_cpus' as a list, or NULL. Where the disk is, 'disk' says before. */
static void plan_for(const char *machine, enum mr_place_policy policy, uint32_t workers,
		     const char *disk_cpus)
{
	struct mr_place_request request = {
		.policy = policy,
		.workers = workers,
		.workers_spin = workers_spin,
		.cpu_percent = cpu_percent,
	};
	struct mr_error err = {.what = ""};

	mr_place_plan_deinit(&plan); /* of the machine before */
	setenv("HWLOC_SYNTHETIC", machine, 1);
	CPU_ZERO(&disk.cpus);
	if (disk_cpus) {
		mr_place_parse_list(disk_cpus, &disk.cpus);
		request.disk = &disk;
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

/* ---- the disk's interrupts -------------------------------------------------------------------
 */

/* A worker sleeps while its write is out, and the interrupt then wakes it where it is. */
Test(place, the_first_worker_gets_the_core_of_the_disk)
{
	plan_for(TWO_PACKAGES, MR_PLACE_COMPACT, 0, "3"); /* cpu 3 is the second thread of core 1 */
	EXPECT_CORES(1, 0, 2, 3, 4);
	cr_assert_eq(control()->core, 5);
	cr_assert(plan.entries[0].disk);
	cr_assert(!plan.entries[0].may_spin);
	cr_assert_str_eq(plan.entries[0].reason, "own core, where the disk's interrupts go");
	cr_assert_not_null(strstr(plan.entries[0].cost, "0.30 ms, here 0.23"));
	for (int i = 1; i < 5; i++) {
		cr_assert(plan.entries[i].may_spin);
		cr_assert(!plan.entries[i].disk);
		cr_assert_str_eq(plan.entries[i].reason, "own core");
	}
}

Test(place, spread_begins_on_the_core_of_the_disk_and_goes_on_elsewhere)
{
	plan_for("package:2 [numa] core:4 pu:1", MR_PLACE_SPREAD, 0, "6");
	EXPECT_CORES(6, 0, 4, 1, 5);
}

/* One node full before the next: the node with the disk's core is the one to begin with. */
Test(place, compact_begins_with_the_node_of_the_disk)
{
	plan_for("package:2 [numa] core:4 pu:1", MR_PLACE_COMPACT, 0, "6");
	EXPECT_CORES(6, 4, 5, 7, 0);
}

/* Four queues on eight cores: half of the cores are good, and are taken first on every node. */
Test(place, cores_of_several_queues_come_first)
{
	plan_for("package:2 [numa] core:4 pu:1", MR_PLACE_SPREAD, 0, "1,3,5,7");
	EXPECT_CORES(1, 5, 3, 7, 0);
	plan_for("core:8 pu:1", MR_PLACE_COMPACT, 0, "1,3,5,7");
	EXPECT_CORES(1, 3, 5, 7, 0);
}

/* What the kernel does after an interrupt would wait behind a worker that never sleeps. */
Test(place, workers_that_spin_stay_off_the_core_of_the_disk)
{
	workers_spin = true;
	plan_for(TWO_PACKAGES, MR_PLACE_COMPACT, 0, "3");
	EXPECT_CORES(0, 2, 3, 4, 5);
	cr_assert_eq(control()->core, 1);
	cr_assert_str_eq(control()->reason, "with chores, on the core of the disk interrupts");
	for (int i = 0; i < 5; i++)
		cr_assert(plan.entries[i].may_spin);
	plan_for("core:4 pu:1", MR_PLACE_SPREAD, 4, "0");
	EXPECT_CORES(1, 2, 3, 0);
	cr_assert(plan.entries[2].may_spin);
	cr_assert(!plan.entries[3].may_spin);
	cr_assert_not_null(strstr(plan.entries[3].reason, "no spin"));
	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 0, "0");
	EXPECT_CORES(1);
}

/* Then none is better than another. */
Test(place, interrupts_everywhere_leave_the_order_alone)
{
	for (int spin = 0; spin < 2; spin++) {
		workers_spin = spin;
		plan_for("core:4 pu:1", MR_PLACE_COMPACT, 0, "0-3");
		EXPECT_CORES(0, 1);
		cr_assert_eq(control()->core, 2);
		cr_assert(!plan.entries[0].may_spin, "one queue: the interrupts are others' too");
		cr_assert_str_eq(plan.entries[0].reason,
				 "own core; the disk's interrupts go to each");
	}
}

/* NVMe: a core's interrupts are those of its own writes, and no write is out when it spins. */
Test(place, a_queue_for_each_core_lets_workers_spin)
{
	disk.queues = 4;
	plan_for("core:4 pu:1", MR_PLACE_COMPACT, 0, "0-3");
	cr_assert(plan.entries[0].may_spin);
	disk.queues = 2;
	plan_for("core:4 pu:1", MR_PLACE_COMPACT, 0, "0-3");
	cr_assert(!plan.entries[0].may_spin);
}

/* One core for the worker, the other for clients: the worker's is the disk's. */
Test(place, two_cores_pin_the_worker_only)
{
	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 0, "1");
	EXPECT_CORES(1);
	cr_assert_eq(control()->cpu, MR_PLACE_ANY);
	cr_assert_eq(chores()->core, MR_PLACE_ANY);
	cr_assert_str_eq(control()->reason, "not pinned: with 2 cores none is to spare");
	cr_assert_eq(CPU_COUNT(&plan.beside), 1);
	cr_assert(CPU_ISSET(0, &plan.beside));
}

Test(place, two_workers_on_two_cores_are_apart)
{
	plan_for("core:2 pu:2", MR_PLACE_SPREAD, 2, "2");
	EXPECT_CORES(1, 0);
	cr_assert(!plan.entries[0].may_spin);
	cr_assert(plan.entries[1].may_spin);
}

/* ---- nodes, caches, siblings, limits ---------------------------------------------------------
 */

/* Without interrupts known, the order of nodes is that of their distance from the disk. */
Test(place, nodes_near_the_disk_come_first)
{
	disk.node = 2;
	disk.distance[0] = 32;
	disk.distance[1] = 21;
	disk.distance[2] = 10;
	plan_for("numa:3 core:2 pu:1", MR_PLACE_COMPACT, 5, "");
	EXPECT_CORES(4, 5, 2, 3, 0);
	cr_assert_eq(plan.entries[0].disk_distance, 10);
	cr_assert_eq(plan.entries[4].disk_distance, 32);
	cr_assert_not_null(strstr(plan.entries[0].cost, "Its memory is on node 2. So is the disk"));
	cr_assert_not_null(strstr(plan.entries[4].cost, "The disk is on node 2, 3.2 times as far"));
	plan_for("numa:3 core:2 pu:1", MR_PLACE_SPREAD, 4, "");
	EXPECT_CORES(4, 2, 0, 5);
}

Test(place, a_disk_of_unknown_node_is_not_spoken_of)
{
	disk.node = MR_PLACE_ANY;
	plan_for("numa:2 core:2 pu:1", MR_PLACE_SPREAD, 2, "3");
	EXPECT_CORES(3, 0);
	cr_assert_eq(plan.entries[0].disk_distance, 0);
	cr_assert_null(strstr(plan.entries[0].cost, "So is the disk"));
	cr_assert_null(strstr(plan.entries[1].cost, "times as far"));
}

/* Two caches: workers are shared out over both, and clients are left under both. */
Test(place, spreads_over_caches)
{
	plan_for("package:1 l3:2 core:4 pu:1", MR_PLACE_SPREAD, 0, NULL);
	EXPECT_CORES(0, 4, 1, 5, 2);
	cr_assert_eq(plan.host.l3_cores, 4);
	cr_assert_eq(plan.host.l2_cores, 0);
	cr_assert_eq(plan.entries[1].l3, 1);
	cr_assert_eq(CPU_COUNT(&plan.entries[0].close), 1);
	cr_assert(CPU_ISSET(3, &plan.entries[0].close));
	cr_assert(CPU_ISSET(7, &plan.entries[1].close));
	cr_assert_not_null(strstr(plan.entries[1].cost, "Clients on cpu 7 share its L3 cache."));
}

Test(place, one_cache_for_all_is_not_spoken_of)
{
	plan_for("package:1 l3:1 l2:4 core:1 pu:2", MR_PLACE_SPREAD, 0, NULL);
	cr_assert_eq(plan.host.l3_cores, 4);
	cr_assert_eq(plan.host.l2_cores, 1);
	cr_assert_eq(plan.entries[1].l2, 1);
	cr_assert_eq(CPU_COUNT(&plan.entries[0].close), 0);
}

/* What no thread of ours is on is for clients; the sibling of a worker is for nobody. */
Test(place, says_what_is_left)
{
	plan_for("package:2 core:4 pu:2", MR_PLACE_COMPACT, 0, NULL);
	cr_assert_eq(CPU_COUNT(&plan.beside), 4);
	for (int cpu = 12; cpu < 16; cpu++)
		cr_assert(CPU_ISSET(cpu, &plan.beside));
	cr_assert_eq(CPU_COUNT(&plan.idle), 5);
	for (int i = 0; i < 5; i++) {
		cr_assert(CPU_ISSET(2 * i + 1, &plan.idle));
		cr_assert(CPU_ISSET(2 * i + 1, &plan.entries[i].siblings));
		cr_assert_eq(CPU_COUNT(&plan.entries[i].siblings), 1);
	}
	cr_assert_not_null(strstr(plan.entries[0].cost, "Keep cpu 1 idle: the same core."));
}

/* A quota of two and a half CPUs pays for no more workers than two cores, and for no spinning. */
Test(place, a_quota_counts_as_so_many_cores)
{
	static const struct {
		uint32_t percent, workers;
		bool may_spin;
	} cases[] = {{0, 5, true},    {800, 5, true},  {799, 5, false},
		     {600, 4, false}, {250, 1, false}, {1, 1, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cpu_percent = cases[i].percent;
		plan_for("core:8 pu:1", MR_PLACE_SPREAD, 0, NULL);
		cr_assert_eq(plan.worker_count, cases[i].workers, "%u percent: %u workers",
			     cases[i].percent, plan.worker_count);
		cr_assert_eq(plan.entries[0].may_spin, cases[i].may_spin, "%u percent",
			     cases[i].percent);
	}
	plan_for("core:8 pu:1", MR_PLACE_SPREAD, 3, NULL);
	cr_assert_eq(plan.worker_count, 3, "who asks for more gets it");
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

/* What must hold of each worker of the plan. */
static void expect_good_worker(const char *machine, const struct mr_place_entry *worker)
{
	uint32_t seen = 0;

	for (uint32_t i = 0; i < plan.entry_count; i++)
		seen += plan.entries[i].core == worker->core;
	cr_assert_geq(worker->core, 0);
	if (plan.worker_count <= plan.host.cores)
		cr_assert_eq(seen, 1, "%s, %u workers", machine, plan.worker_count);
	if (seen > 1)
		cr_assert(!worker->may_spin);
	for (int cpu = 0; cpu < 64; cpu++)
		cr_assert(!CPU_ISSET(cpu, &plan.beside) || !CPU_ISSET(cpu, &plan.idle));
	cr_assert(!CPU_ISSET(worker->cpu, &plan.beside));
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
			for (uint32_t i = 0; i < plan.worker_count; i++)
				expect_good_worker(machines[m], &plan.entries[i]);
			if (workers % 3 && plan.worker_count > 0)
				cr_assert(plan.entries[0].disk, "%s, %u workers", machines[m],
					  workers);
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

static int policy_of_this_thread(unsigned long *nodes)
{
	int mode = -1;

	memset(nodes, 0, 128);
	cr_assert_eq(syscall(SYS_get_mempolicy, &mode, nodes, 1025ul, NULL, 0ul), 0);
	return mode;
}

/* With one node there is nothing to prefer; a node that is not there is never asked for. */
Test(place, a_thread_prefers_a_node_and_forgets_it)
{
	unsigned long nodes[16];
	struct mr_place_host host;

	unsetenv("HWLOC_SYNTHETIC");
	cr_assert_eq(mr_place_describe_host(&host, NULL), 0);
	mr_place_prefer_node(0);
	cr_assert_eq(policy_of_this_thread(nodes), host.nodes > 1 ? MPOL_PREFERRED : MPOL_DEFAULT);
	cr_assert_eq(nodes[0], host.nodes > 1);
	mr_place_prefer_node(MR_PLACE_ANY);
	cr_assert_eq(policy_of_this_thread(nodes), MPOL_DEFAULT);
	mr_place_prefer_node(1023);
	cr_assert_eq(policy_of_this_thread(nodes), MPOL_DEFAULT);
	cr_assert_eq(mr_place_bind_memory(nodes, sizeof(nodes), 1023, NULL), 0);
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

	disk.queues = 1;
	plan_for("core:2 pu:1", MR_PLACE_SPREAD, 1, "1");
	plan.host.memory_bytes = 1 << 30;
	text = printed();
	cr_assert_str_eq(
		text,
		"2 cores, 2 hardware threads, 1 NUMA node, 1 package, 1.0 GiB\n"
		"a synthetic machine, not this one: nothing is pinned\n"
		"disk        1 queue, interrupts on cpu 1\n"
		"policy      spread\n"
		"\n"
		"thread      cpu core node  pkg  why\n"
		"worker 0      1    1    0    -  own core, where the disk's interrupts go\n"
		"            Elsewhere a durable write is waited for longer: 0.30 ms, here 0.23\n"
		"            (reference machine).\n"
		"control       -    -    -    -  not pinned: with 2 cores none is to spare\n"
		"chores        -    -    -    -  not pinned: with 2 cores none is to spare\n"
		"clients     cpu 0\n"
		"pipelines   cpu of the clients', one each in turn\n");
	free(text);
}

Test(place, prints_all_that_is_known)
{
	static const char *const said[] = {
		"caches      one L2 for 1 core, one L3 for 2 cores\n",
		"disk        4 queues, interrupts on cpu 4, on node 1\n",
		"quota       6.50 CPUs, by cgroup: workers do not spin it away\n",
		"policy      compact, for workers that always spin\n",
		"clients     cpu 0-3\n",
		"idle        cpu 7, on workers' cores\n",
	};
	char *text;

	disk.queues = 4;
	disk.node = 1;
	disk.distance[0] = 20;
	disk.distance[1] = 10;
	cpu_percent = 650;
	workers_spin = true;
	plan_for("package:2 [numa] l3:1 l2:2 core:1 pu:2", MR_PLACE_COMPACT, 1, "4");
	text = printed();
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		cr_expect_not_null(strstr(text, said[i]), "no '%s' in\n%s", said[i], text);
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
	cr_assert_eq(json_integer_value(json_object_get(first, "cpu")), 1);
	cr_assert(json_is_false(json_object_get(first, "may_spin")));
	cr_assert(json_is_true(json_object_get(first, "disk_interrupts")));
	cr_assert_str_not_empty(json_string_value(json_object_get(first, "cost")));
	cr_assert_eq(json_array_size(json_object_get(root, "client_cpus")), 1);
	cr_assert_eq(json_array_size(json_object_get(root, "idle_cpus")), 0);
	cr_assert_eq(json_integer_value(json_array_get(json_object_get(root, "disk_cpus"), 0)), 1);
	cr_assert(json_is_null(json_object_get(last, "cpu")));
	cr_assert(json_is_null(json_object_get(last, "worker")));
	json_decref(root);
	free(text);
}

Test(place, reads_lists_of_cpus)
{
	static const char *const wrong[] = {"", "x", "7-", "0-2,", "1;2", "1 2"};
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	cr_assert(mr_place_parse_list("0-2,5\n", &cpus));
	cr_assert_eq(CPU_COUNT(&cpus), 4);
	cr_assert(CPU_ISSET(5, &cpus));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert(!mr_place_parse_list(wrong[i], &cpus), "'%s'", wrong[i]);
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

/* ---- queues and nodes of disks, limits of cgroups --------------------------------------------
 */

static void read_disk(unsigned int major_number, unsigned int minor_number)
{
	memset(&disk, 0xff, sizeof(disk));
	(void)mr_place_disk_read(root, makedev(major_number, minor_number), &disk, NULL);
}

static void make_nodes(void)
{
	make_host();
	make_file("sys/devices/system/node/online", "0,2\n");
	make_file("sys/devices/system/node/node0/distance", "10 21\n");
	make_file("sys/devices/system/node/node2/distance", "17 10\n");
	make_file("sys/devices/pci0000:00/0000:01:00.0/numa_node", "2\n");
	make_file("sys/devices/pci0000:00/0000:00:02.0/numa_node", "-1\n");
	make_file("sys/devices/pci0000:00/0000:00:1f.2/numa_node", "0\n");
	make_file("sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/mq/0/cpu_list", "0, 1\n");
	make_file("sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/mq/1/cpu_list", "2, 3\n");
}

Test(place, knows_queues_and_node_of_a_disk, .init = make_nodes, .fini = remove_host)
{
	read_disk(259, 0);
	cr_assert_eq(disk.queues, 2);
	cr_assert_eq(disk.node, 2);
	cr_assert_eq(disk.distance[0], 17);
	cr_assert_eq(disk.distance[1], 0, "there is no node 1");
	cr_assert_eq(disk.distance[2], 10);
	cr_assert_eq(CPU_COUNT(&disk.cpus), 2);
	read_disk(8, 0);
	cr_assert_eq(disk.queues, 0);
	cr_assert_eq(disk.node, 0);
	cr_assert_eq(disk.distance[2], 21);
}

/* The kernel says -1 where the firmware says nothing. */
Test(place, a_disk_may_be_on_no_node, .init = make_nodes, .fini = remove_host)
{
	read_disk(254, 1);
	cr_assert_eq(disk.node, MR_PLACE_ANY);
	cr_assert_eq(disk.distance[0], 0);
	cr_assert_eq(CPU_COUNT(&disk.cpus), 1);
	read_disk(7, 0);
	cr_assert_eq(disk.node, MR_PLACE_ANY);
	cr_assert_eq(CPU_COUNT(&disk.cpus), 0);
}

/* Two disks under one volume: on one node only if both say so. */
Test(place, disks_of_a_volume_agree_or_are_nowhere, .init = make_nodes, .fini = remove_host)
{
	make_link("sys/devices/virtual/block/md0/slaves/nvme0n1",
		  "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1");
	make_link("sys/dev/block/9:0", "sys/devices/virtual/block/md0");
	read_disk(9, 0);
	cr_assert_eq(disk.node, 2);
	make_link("sys/devices/virtual/block/md0/slaves/sda",
		  "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/block/sda");
	read_disk(9, 0);
	cr_assert_eq(disk.node, MR_PLACE_ANY);
	cr_assert_eq(disk.queues, 2);
	cr_assert_eq(disk.distance[0], 0);
}

Test(place, survives_distances_that_are_none, .init = make_nodes, .fini = remove_host)
{
	make_file("sys/devices/system/node/node2/distance", "x\n");
	read_disk(259, 0);
	cr_assert_eq(disk.distance[0], 0);
	make_file("sys/devices/pci0000:00/0000:01:00.0/numa_node", "4711\n");
	read_disk(259, 0);
	cr_assert_eq(disk.node, MR_PLACE_ANY);
}

/* The smallest on the way up holds, whatever version says it. */
Test(place, knows_the_quota_of_its_cgroups, .init = make_host, .fini = remove_host)
{
	cr_assert_eq(mr_place_cpu_percent(root), 0);
	make_file("proc/self/cgroup", "0::/a/b\n");
	cr_assert_eq(mr_place_cpu_percent(root), 0);
	make_file("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 0);
	make_file("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 150);
	make_file("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 50);
	make_file("sys/fs/cgroup/cpu.max", "1 100000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 1, "less than one hundredth is not no limit");
	make_file("proc/self/cgroup", "9:cpuacct:/a\n4:cpu,cpuacct:/c\n0::/\n");
	make_file("sys/fs/cgroup/cpu.max", "garbage\n");
	make_file("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
	make_file("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 0);
	make_file("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "220000\n");
	cr_assert_eq(mr_place_cpu_percent(root), 220);
	make_file("proc/self/cgroup", "garbage\n:::\n0::\n4:cpu:nowhere\n");
	cr_assert_eq(mr_place_cpu_percent(root), 0);
}

/* What the host has, or what the closest limit leaves, whatever version says it. */
Test(place, knows_how_much_memory_may_be_taken, .init = make_host, .fini = remove_host)
{
	cr_assert_eq(mr_place_memory_free(root), UINT64_MAX, "nobody says");
	make_file("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n");
	cr_assert_eq(mr_place_memory_free(root), 8000 * 1024);
	make_file("proc/self/cgroup", "0::/a/b\n");
	make_file("sys/fs/cgroup/a/b/memory.max", "max\n");
	make_file("sys/fs/cgroup/a/b/memory.current", "100\n");
	cr_assert_eq(mr_place_memory_free(root), 8000 * 1024);
	make_file("sys/fs/cgroup/a/memory.max", "1000000\n");
	make_file("sys/fs/cgroup/a/memory.current", "700000\n");
	cr_assert_eq(mr_place_memory_free(root), 300000);
	make_file("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 200000\n");
	cr_assert_eq(mr_place_memory_free(root), 500000, "cached files give way");
	make_file("sys/fs/cgroup/a/memory.current", "2000000\n");
	cr_assert_eq(mr_place_memory_free(root), 0);
	make_file("proc/self/cgroup", "7:memory:/c\n0::/\n");
	make_file("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "9223372036854771712\n");
	make_file("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "50\n");
	cr_assert_eq(mr_place_memory_free(root), 8000 * 1024);
	make_file("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "4000\n");
	make_file("sys/fs/cgroup/memory/c/memory.stat", "total_inactive_file 30\n");
	cr_assert_eq(mr_place_memory_free(root), 3980);
}
