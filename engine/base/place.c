/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan: sorts the cores by policy, gives workers the first ones, control and
 * chores the next, and leaves the rest to the programs beside. Runs at start on one thread.
 * Owns nothing but the plans it hands out.
 *
 * The order of cores. Of one node's cores the one that takes the disk's interrupts comes first,
 * then the first core under each cache, then the second of each. Compact takes the disk's node
 * whole, then the next nearest to it; spread takes the first core of every node, packages in
 * turn, then the second of every node, and so on.
 */
#include "place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "place_cores.h"

/* ---- the policy on the disk's interrupts ----------------------------------------------------
 */

/*
 * Is a core that takes the disk's interrupts good for a worker? Yes: a worker whose write is out
 * sleeps, so it holds up nobody there, and the interrupt wakes it without a message to another
 * core. A durable 4 KiB write waited for on that core took 0.19 to 0.23 ms on the reference
 * machine, on the other one 0.30 ms. No for workers that never give their core away (idle=spin):
 * what the kernel has to do after an interrupt would wait behind them for the scheduler's tick.
 * Where all cores take interrupts, or none is known to, there is nothing to choose.
 */
static void judge_disk_cores(struct mr_place_cores *cores, const struct mr_place_request *request)
{
	uint32_t disks = 0;

	for (uint32_t i = 0; request->disk && i < cores->count; i++) {
		cpu_set_t both;

		CPU_AND(&both, &cores->rows[i].cpus, &request->disk->cpus);
		cores->rows[i].disk = CPU_COUNT(&both) > 0;
		disks += cores->rows[i].disk;
	}
	for (uint32_t i = 0; disks < cores->count && i < cores->count; i++) {
		struct mr_place_core *row = &cores->rows[i];

		row->wanted = row->disk && !request->workers_spin;
		row->avoided = row->disk && request->workers_spin;
	}
	cores->disks = disks;
}

/*
 * May a worker spin on its core? Not where another thread of ours runs, not under a quota that
 * spinning would use up, and not where interrupts of other threads' writes come to: the disk's
 * core, unless each core has a queue of its own and takes its own interrupts.
 */
static bool may_spin(const struct mr_place_core *row, const struct mr_place_cores *cores,
		     const struct mr_place_request *request, bool shared)
{
	bool own_queue = cores->disks == cores->count && request->disk &&
			 request->disk->queues >= cores->host.cpus;

	if (shared || cores->count == 1)
		return false;
	if (request->cpu_percent > 0 && request->cpu_percent < 100 * cores->host.cpus)
		return false;
	return !row->disk || own_queue;
}

/* ---- the order of cores ----------------------------------------------------------------------
 */

static bool same_node(const struct mr_place_core *a, const struct mr_place_core *b)
{
	return a->node == b->node && a->package == b->package;
}

/* Which of two cores of one node comes first. */
static bool is_before(const struct mr_place_core *a, const struct mr_place_core *b)
{
	if (a->wanted != b->wanted)
		return a->wanted;
	if (a->layer != b->layer)
		return a->layer < b->layer;
	return a->core < b->core;
}

static void rank_among_caches(struct mr_place_cores *cores, struct mr_place_core *row)
{
	row->node_at = (uint32_t)row->core;
	for (uint32_t k = 0; k < cores->count; k++) {
		const struct mr_place_core *other = &cores->rows[k];

		if (!same_node(other, row))
			continue;
		if ((uint32_t)other->core < row->node_at)
			row->node_at = (uint32_t)other->core;
		if (other->l3 != row->l3 || other == row)
			continue;
		row->layer +=
			other->wanted != row->wanted ? other->wanted : other->core < row->core;
	}
}

static int compare(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/* The node with the disk's core first, then by distance, then the machine's order. */
static int compare_nodes(const struct mr_place_core *a, const struct mr_place_core *b)
{
	int by;

	by = compare(b->node_wanted, a->node_wanted);
	by = by ? by : compare(a->near, b->near);
	return by ? by : compare(a->node_at, b->node_at);
}

static void rank_among_nodes(struct mr_place_cores *cores, struct mr_place_core *row)
{
	for (uint32_t k = 0; k < cores->count; k++) {
		const struct mr_place_core *other = &cores->rows[k];

		if (same_node(other, row))
			row->round += is_before(other, row);
		else if (other->package == row->package && (uint32_t)other->core == other->node_at)
			row->sibling += compare_nodes(other, row) < 0;
	}
}

static int compare_compact(const void *left, const void *right)
{
	const struct mr_place_core *a = left, *b = right;
	int by;

	by = compare(a->avoided, b->avoided);
	by = by ? by : compare_nodes(a, b);
	return by ? by : compare(a->round, b->round);
}

static int compare_spread(const void *left, const void *right)
{
	const struct mr_place_core *a = left, *b = right;
	int by;

	by = compare(a->avoided, b->avoided);
	by = by ? by : compare(a->round, b->round);
	by = by ? by : compare(b->wanted, a->wanted);
	by = by ? by : compare(a->sibling, b->sibling);
	return by ? by : compare_nodes(a, b);
}

static uint32_t distance_of(const struct mr_place_disk *disk, int32_t node)
{
	return disk && node >= 0 && node < MR_PLACE_NODES_MAX ? disk->distance[node] : 0;
}

static void sort_cores(struct mr_place_cores *cores, const struct mr_place_request *request)
{
	judge_disk_cores(cores, request);
	for (uint32_t i = 0; i < cores->count; i++) {
		struct mr_place_core *row = &cores->rows[i];

		row->near = distance_of(request->disk, row->node);
		for (uint32_t k = 0; k < cores->count; k++)
			row->node_wanted |=
				same_node(row, &cores->rows[k]) && cores->rows[k].wanted;
		rank_among_caches(cores, row);
	}
	for (uint32_t i = 0; i < cores->count; i++)
		rank_among_nodes(cores, &cores->rows[i]);
	qsort(cores->rows, cores->count, sizeof(*cores->rows),
	      request->policy == MR_PLACE_SPREAD ? compare_spread : compare_compact);
}

/* ---- sharing out -----------------------------------------------------------------------------
 */

/*
 * One core for control and chores, a quarter of the cores (at least one) for the producers and
 * consumers that run beside the engine, the rest for workers. A quota counts as so many cores.
 */
static uint32_t worker_count_for(uint32_t cores, uint32_t cpu_percent)
{
	uint32_t beside;

	if (cpu_percent > 0 && cpu_percent / 100 < cores)
		cores = cpu_percent / 100;
	beside = cores / 4 > 1 ? cores / 4 : 1;
	return cores < MR_PLACE_CORES_TO_SHARE_OUT ? 1 : cores - 1 - beside;
}

static void place_worker(struct mr_place_plan *plan, const struct mr_place_cores *cores,
			 const struct mr_place_request *request, uint32_t worker)
{
	const struct mr_place_core *row = &cores->rows[worker % cores->count];
	bool shared = worker >= cores->count || worker + cores->count < plan->worker_count;
	struct mr_place_entry *entry = &plan->entries[worker];

	*entry = (struct mr_place_entry){
		.role = MR_PLACE_WORKER,
		.worker = worker,
		.cpu = row->cpu,
		.core = row->core,
		.node = row->node,
		.package = row->package,
		.l2 = row->l2,
		.l3 = row->l3,
		.disk = row->disk,
		.may_spin = may_spin(row, cores, request, shared),
		.disk_distance = cores->host.nodes > 1 ? row->near : 0,
		.siblings = row->cpus,
	};
	CPU_CLR(row->cpu, &entry->siblings);
	if (!cores->host.synthetic)
		CPU_SET(row->cpu, &entry->cpus);
}

/* The core for control and chores: the next one behind the workers'. */
static const struct mr_place_core *helper_core(const struct mr_place_cores *cores,
					       uint32_t worker_count)
{
	if (cores->count < MR_PLACE_CORES_TO_SHARE_OUT || worker_count >= cores->count)
		return NULL;
	if (cores->rows[cores->count - 1].avoided)
		return &cores->rows[cores->count - 1]; /* they do not spin */
	return &cores->rows[worker_count];
}

static void place_helper(struct mr_place_entry *entry, enum mr_place_role role,
			 const struct mr_place_cores *cores, const struct mr_place_core *row)
{
	*entry = (struct mr_place_entry){
		.role = role,
		.cpu = row ? row->cpu : MR_PLACE_ANY,
		.core = row ? row->core : MR_PLACE_ANY,
		.node = row ? row->node : MR_PLACE_ANY,
		.package = row ? row->package : MR_PLACE_ANY,
		.l2 = row ? row->l2 : MR_PLACE_ANY,
		.l3 = row ? row->l3 : MR_PLACE_ANY,
		.disk = row && row->disk,
		.disk_distance = row && cores->host.nodes > 1 ? row->near : 0,
	};
	if (!cores->host.synthetic)
		entry->cpus = row ? row->cpus : cores->allowed;
}

/* Cores without a thread of ours are for clients; the other threads of a worker's stay idle. */
static void share_the_rest(struct mr_place_plan *plan, const struct mr_place_cores *cores)
{
	bool one_cache = cores->host.l3_cores == cores->host.cores;

	for (uint32_t i = 0; i < cores->count; i++) {
		const struct mr_place_core *row = &cores->rows[i];
		bool taken = false;

		for (uint32_t k = 0; k < plan->entry_count; k++)
			taken |= plan->entries[k].core == row->core;
		if (taken)
			continue;
		CPU_OR(&plan->beside, &plan->beside, &row->cpus);
		for (uint32_t k = 0; k < plan->worker_count && !one_cache; k++) {
			struct mr_place_entry *entry = &plan->entries[k];

			if (row->l3 != MR_PLACE_ANY && entry->l3 == row->l3)
				CPU_OR(&entry->close, &entry->close, &row->cpus);
		}
	}
	for (uint32_t k = 0; k < plan->worker_count; k++)
		CPU_OR(&plan->idle, &plan->idle, &plan->entries[k].siblings);
}

static bool is_shared(const struct mr_place_plan *plan, const struct mr_place_entry *entry)
{
	for (uint32_t i = 0; i < plan->worker_count; i++) {
		if (&plan->entries[i] != entry && plan->entries[i].core == entry->core)
			return true;
	}
	return false;
}

static int make_plan(struct mr_place_cores *cores, const struct mr_place_request *request,
		     struct mr_place_plan *plan, struct mr_error *err)
{
	uint32_t workers = request->workers;
	const struct mr_place_core *helper;

	if (workers == 0)
		workers = worker_count_for(cores->count, request->cpu_percent);
	if (workers > MR_PLACE_WORKERS_MAX)
		workers = MR_PLACE_WORKERS_MAX; /* only when it was ours to choose */
	plan->entries = calloc(workers + 2, sizeof(*plan->entries));
	if (!plan->entries)
		return mr_error_set(err, -ENOMEM, "no memory for the placement plan");
	sort_cores(cores, request);
	plan->host = cores->host;
	plan->policy = request->policy;
	plan->workers_spin = request->workers_spin;
	plan->cpu_percent = request->cpu_percent;
	plan->disk_cores = cores->disks;
	plan->disk.node = MR_PLACE_ANY;
	if (request->disk)
		plan->disk = *request->disk;
	plan->worker_count = workers;
	plan->entry_count = workers + 2;
	for (uint32_t i = 0; i < workers; i++)
		place_worker(plan, cores, request, i);
	helper = helper_core(cores, workers);
	place_helper(&plan->entries[workers], MR_PLACE_CONTROL, cores, helper);
	place_helper(&plan->entries[workers + 1], MR_PLACE_CHORES, cores, helper);
	share_the_rest(plan, cores);
	for (uint32_t i = 0; i < plan->entry_count; i++)
		mr_place_explain(&plan->entries[i], plan, is_shared(plan, &plan->entries[i]));
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

void mr_place_pipeline(const struct mr_place_plan *plan, uint32_t n, struct mr_place_entry *out)
{
	const struct mr_place_entry *chores = mr_place_find(plan, MR_PLACE_CHORES);
	int count = CPU_COUNT(&plan->beside), left;
	int cpu = -1;

	*out = *chores;
	out->role = MR_PLACE_PIPELINE;
	out->cost[0] = '\0';
	snprintf(out->reason, sizeof(out->reason), "no core is left for it alone");
	if (count == 0)
		return;
	for (left = (int)(n % (uint32_t)count); left >= 0; left--) {
		cpu++;
		while (!CPU_ISSET(cpu, &plan->beside))
			cpu++;
	}
	out->cpu = cpu;
	out->core = out->node = out->package = out->l2 = out->l3 = MR_PLACE_ANY;
	snprintf(out->reason, sizeof(out->reason), "a core that is left for clients");
	if (plan->host.synthetic)
		return;
	CPU_ZERO(&out->cpus);
	CPU_SET(cpu, &out->cpus);
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
