/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a thread is where it is, and what another place would cost: one line and a few sentences
 * for each entry of the plan. Figures are those of docs/decisions/0008-placement.md. Runs where
 * the plan is made, owns nothing.
 */
#include <stdarg.h>
#include <string.h>

#include "place_cores.h"

static void give_reason(struct mr_place_entry *entry, const char *reason)
{
	snprintf(entry->reason, sizeof(entry->reason), "%s", reason);
}

__attribute__((format(printf, 2, 3))) static void add_cost(struct mr_place_entry *entry,
							   const char *format, ...)
{
	size_t used = strlen(entry->cost);
	va_list args;

	if (used > 0 && used + 1 < sizeof(entry->cost))
		entry->cost[used++] = ' ';
	va_start(args, format);
	(void)vsnprintf(entry->cost + used, sizeof(entry->cost) - used, format, args);
	va_end(args);
}

static bool disk_is_a_choice(const struct mr_place_plan *plan)
{
	return plan->disk_cores > 0 && plan->disk_cores < plan->host.cores;
}

static void explain_disk(struct mr_place_entry *entry, const struct mr_place_plan *plan)
{
	if (!disk_is_a_choice(plan))
		return;
	if (plan->workers_spin)
		add_cost(entry, "Spinning on a core of the disk's interrupts holds up the kernel's "
				"work after them.");
	else if (entry->disk)
		add_cost(entry, "Elsewhere a durable write is waited for longer: 0.30 ms, here "
				"0.23 (reference machine).");
	else
		add_cost(entry, "A durable write is waited for longer than on the disk's core: by "
				"0.07 ms (reference machine).");
}

static void explain_memory(struct mr_place_entry *entry, const struct mr_place_plan *plan)
{
	if (plan->host.nodes < 2 || entry->node == MR_PLACE_ANY)
		return;
	add_cost(entry, "Its memory is on node %d.", entry->node);
	if (entry->disk_distance > 0 && entry->node == plan->disk.node)
		add_cost(entry, "So is the disk.");
	else if (entry->disk_distance > 0)
		add_cost(entry, "The disk is on node %d, %u.%u times as far.", plan->disk.node,
			 entry->disk_distance / 10, entry->disk_distance % 10);
}

static void explain_worker(struct mr_place_entry *entry, const struct mr_place_plan *plan,
			   bool shared)
{
	char list[40];

	if (plan->host.cores == 1)
		give_reason(entry, "the only core, shared with all others: no spin");
	else if (shared)
		give_reason(entry, "shares its core: more workers than cores");
	else if (!entry->disk)
		give_reason(entry, "own core");
	else if (!disk_is_a_choice(plan))
		give_reason(entry, "own core; the disk's interrupts go to each");
	else if (plan->workers_spin)
		give_reason(entry, "own core; disk interrupts end there: no spin");
	else
		give_reason(entry, "own core, where the disk's interrupts go");
	if (shared)
		add_cost(entry,
			 "One waits while the other runs, for milliseconds: give it a core.");
	else
		explain_disk(entry, plan);
	explain_memory(entry, plan);
	mr_place_format_list(&entry->siblings, list, sizeof(list));
	if (list[0])
		add_cost(entry, "Keep cpu %s idle: the same core.", list);
	mr_place_format_list(&entry->close, list, sizeof(list));
	if (list[0])
		add_cost(entry, "Clients on cpu %s share its L3 cache.", list);
}

static void explain_helper(struct mr_place_entry *entry, const struct mr_place_plan *plan)
{
	const char *other = entry->role == MR_PLACE_CONTROL ? "chores" : "control";

	if (entry->cpu != MR_PLACE_ANY)
		snprintf(entry->reason, sizeof(entry->reason), "with %s, %s", other,
			 entry->disk && disk_is_a_choice(plan)
				 ? "on the core of the disk interrupts"
				 : "on a core without workers");
	else if (plan->host.cores < MR_PLACE_CORES_TO_SHARE_OUT)
		snprintf(entry->reason, sizeof(entry->reason),
			 "not pinned: with %u core%s none is to spare", plan->host.cores,
			 plan->host.cores == 1 ? "" : "s");
	else
		give_reason(entry, "not pinned: every core has a worker");
}

void mr_place_explain(struct mr_place_entry *entry, const struct mr_place_plan *plan, bool shared)
{
	entry->reason[0] = '\0';
	entry->cost[0] = '\0';
	if (entry->role == MR_PLACE_WORKER)
		explain_worker(entry, plan, shared);
	else
		explain_helper(entry, plan);
}
