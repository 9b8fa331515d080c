/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan: sorts the cores by policy, gives workers the first ones, control and
 * chores one of the others, and writes down why. Runs at start on one thread; binding runs on
 * the thread that is bound. Owns nothing but the plans it hands out.
 *
 * The order of cores. Those that take the disk's interrupts come last. Before them, compact
 * keeps the machine's own order, in which cores of a node are neighbours; spread takes the
 * first core of every node, packages in turn, then the second of every node, and so on.
 */
#include "place.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "place_cores.h"

/* From here on one core is kept for control and chores, and they are pinned. */
#define CORES_TO_SHARE_OUT 3

static int compare_tail(const struct mr_place_core *a, const struct mr_place_core *b)
{
	return (a->core > b->core) - (a->core < b->core);
}

static int compare_compact(const void *left, const void *right)
{
	const struct mr_place_core *a = left, *b = right;

	if (a->disk != b->disk)
		return a->disk ? 1 : -1;
	return compare_tail(a, b);
}

static int compare_spread(const void *left, const void *right)
{
	const struct mr_place_core *a = left, *b = right;

	if (a->disk != b->disk)
		return a->disk ? 1 : -1;
	if (a->round != b->round)
		return a->round < b->round ? -1 : 1;
	if (a->sibling != b->sibling)
		return a->sibling < b->sibling ? -1 : 1;
	return compare_tail(a, b);
}

/* Returns how many cores take the disk's interrupts; they end up behind the others. */
static uint32_t sort_cores(struct mr_place_cores *cores, const struct mr_place_request *request)
{
	uint32_t disks = 0;

	for (uint32_t i = 0; request->disk_cpus && i < cores->count; i++) {
		cpu_set_t both;

		CPU_AND(&both, &cores->rows[i].cpus, request->disk_cpus);
		cores->rows[i].disk = CPU_COUNT(&both) > 0;
		disks += cores->rows[i].disk;
	}
	qsort(cores->rows, cores->count, sizeof(*cores->rows),
	      request->policy == MR_PLACE_SPREAD ? compare_spread : compare_compact);
	return disks;
}

/*
 * One core for control and chores, a quarter of the cores (at least one) for the producers and
 * consumers that run beside the engine, the rest for workers.
 */
static uint32_t worker_count_for(uint32_t cores)
{
	uint32_t beside = cores / 4 > 1 ? cores / 4 : 1;

	return cores < CORES_TO_SHARE_OUT ? 1 : cores - 1 - beside;
}

static void give_reason(struct mr_place_entry *entry, const char *reason)
{
	snprintf(entry->reason, sizeof(entry->reason), "%s", reason);
}

static void place_worker(struct mr_place_entry *entry, const struct mr_place_cores *cores,
			 uint32_t worker, uint32_t worker_count)
{
	const struct mr_place_core *row = &cores->rows[worker % cores->count];
	bool shared = worker >= cores->count || worker + cores->count < worker_count;

	*entry = (struct mr_place_entry){
		.role = MR_PLACE_WORKER,
		.worker = worker,
		.cpu = row->cpu,
		.core = row->core,
		.node = row->node,
		.package = row->package,
		.may_spin = !row->disk && !shared && cores->count > 1,
	};
	if (!cores->host.synthetic)
		CPU_SET(row->cpu, &entry->cpus);
	if (shared)
		give_reason(entry, "shares its core: more workers than cores");
	else if (cores->count == 1)
		give_reason(entry, "the only core, shared with all others: no spin");
	else if (row->disk)
		give_reason(entry, "own core; disk interrupts end there: no spin");
	else
		give_reason(entry, "own core");
}

/*
 * The core for control and chores: the disk's, which no worker should spin on, or the next
 * free one.
 */
static const struct mr_place_core *helper_core(const struct mr_place_cores *cores, uint32_t disks,
					       uint32_t worker_count)
{
	if (cores->count < CORES_TO_SHARE_OUT || worker_count >= cores->count)
		return NULL;
	if (disks > 0 && disks < cores->count)
		return &cores->rows[cores->count - 1];
	return &cores->rows[worker_count];
}

static void place_helper(struct mr_place_entry *entry, enum mr_place_role role,
			 const struct mr_place_cores *cores, const struct mr_place_core *row)
{
	const char *other = role == MR_PLACE_CONTROL ? "chores" : "control";

	*entry = (struct mr_place_entry){
		.role = role,
		.cpu = row ? row->cpu : MR_PLACE_ANY,
		.core = row ? row->core : MR_PLACE_ANY,
		.node = row ? row->node : MR_PLACE_ANY,
		.package = row ? row->package : MR_PLACE_ANY,
	};
	if (!cores->host.synthetic)
		entry->cpus = row ? row->cpus : cores->allowed;
	if (row)
		snprintf(entry->reason, sizeof(entry->reason), "with %s, %s", other,
			 row->disk ? "on the core of the disk interrupts"
				   : "on a core without workers");
	else if (cores->count < CORES_TO_SHARE_OUT)
		snprintf(entry->reason, sizeof(entry->reason),
			 "not pinned: with %u core%s none is to spare", cores->count,
			 cores->count == 1 ? "" : "s");
	else
		give_reason(entry, "not pinned: every core has a worker");
}

static int make_plan(struct mr_place_cores *cores, const struct mr_place_request *request,
		     struct mr_place_plan *plan, struct mr_error *err)
{
	uint32_t disks = sort_cores(cores, request);
	const struct mr_place_core *helper;
	uint32_t workers = request->workers ? request->workers : worker_count_for(cores->count);

	if (workers > MR_PLACE_WORKERS_MAX)
		workers = MR_PLACE_WORKERS_MAX; /* only when it was ours to choose */
	plan->entries = calloc(workers + 2, sizeof(*plan->entries));
	if (!plan->entries)
		return mr_error_set(err, -ENOMEM, "no memory for the placement plan");
	plan->host = cores->host;
	plan->policy = request->policy;
	if (request->disk_cpus)
		plan->disk_cpus = *request->disk_cpus;
	plan->worker_count = workers;
	plan->entry_count = workers + 2;
	for (uint32_t i = 0; i < workers; i++)
		place_worker(&plan->entries[i], cores, i, workers);
	helper = helper_core(cores, disks, workers);
	place_helper(&plan->entries[workers], MR_PLACE_CONTROL, cores, helper);
	place_helper(&plan->entries[workers + 1], MR_PLACE_CHORES, cores, helper);
	return 0;
}

int mr_place_plan(const struct mr_place_request *request, struct mr_place_plan *out,
		  struct mr_error *err)
{
	struct mr_place_cores cores;
	struct mr_place_plan plan = {.entries = NULL};
	int r;

	if (request->workers > MR_PLACE_WORKERS_MAX)
		return mr_error_set(err, -EINVAL,
				    "%u workers were asked for, at most %d are possible",
				    request->workers, MR_PLACE_WORKERS_MAX);
	r = mr_place_cores_read(&cores, err);
	if (r < 0)
		return r;
	r = make_plan(&cores, request, &plan, err);
	free(cores.rows);
	if (r == 0)
		*out = plan;
	return r;
}

void mr_place_plan_deinit(struct mr_place_plan *plan)
{
	free(plan->entries);
	memset(plan, 0, sizeof(*plan));
}

const struct mr_place_entry *mr_place_find(const struct mr_place_plan *plan,
					   enum mr_place_role role)
{
	for (uint32_t i = 0; i < plan->entry_count; i++) {
		if (plan->entries[i].role == role)
			return &plan->entries[i];
	}
	return NULL;
}

int mr_place_describe_host(struct mr_place_host *out, struct mr_error *err)
{
	struct mr_place_cores cores;
	int r = mr_place_cores_read(&cores, err);

	if (r < 0)
		return r;
	*out = cores.host;
	free(cores.rows);
	return 0;
}

int mr_place_bind_thread(const struct mr_place_entry *entry, struct mr_error *err)
{
	int r;

	if (CPU_COUNT(&entry->cpus) == 0)
		return 0;
	if (sched_setaffinity(0, sizeof(entry->cpus), &entry->cpus) == 0)
		return 0;
	r = mr_error_set(err, -errno, "cannot put %s %u on cpu %d", mr_place_role_word(entry->role),
			 entry->worker, entry->cpu);
	mr_error_why(err, "the process may not use that cpu any more");
	mr_error_hint(err, "start the engine again after changing its cpuset");
	return r;
}

/*
 * How many nodes this process may take memory from, by its own status; 1 where that is not
 * known.
 */
static int allowed_node_count(void)
{
	static const char key[] = "Mems_allowed_list:";
	FILE *status = fopen("/proc/self/status", "re");
	char line[4096];
	cpu_set_t nodes;

	CPU_ZERO(&nodes);
	while (status && fgets(line, sizeof(line), status)) {
		if (strncmp(line, key, strlen(key)) == 0)
			mr_place_parse_list(line + strlen(key), &nodes);
	}
	if (status)
		fclose(status);
	return CPU_COUNT(&nodes) > 0 ? CPU_COUNT(&nodes) : 1;
}

int mr_place_bind_memory(void *at, size_t bytes, int32_t node, struct mr_error *err)
{
	unsigned long mask[CPU_SETSIZE / (8 * sizeof(unsigned long))] = {0};
	const unsigned long mask_bits = 8 * sizeof(unsigned long);

	if (node == MR_PLACE_ANY || allowed_node_count() == 1)
		return 0;
	mr_assert(node >= 0);
	mr_assert(node < CPU_SETSIZE);
	mask[(unsigned long)node / mask_bits] = 1ul << ((unsigned long)node % mask_bits);
	if (syscall(SYS_mbind, at, bytes, MPOL_PREFERRED, mask, (unsigned long)CPU_SETSIZE + 1,
		    0) == 0)
		return 0;
	return mr_error_set(err, -errno, "cannot put %zu bytes of memory on NUMA node %d", bytes,
			    node);
}
