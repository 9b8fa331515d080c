/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan for people (a table of 80 columns) and for programs (JSON). Runs on any
 * thread, owns nothing.
 */
#include <jansson.h>
#include <string.h>

#include "check.h"
#include "place.h"

const char *mr_place_role_word(enum mr_place_role role)
{
	static const char *const words[] = {
		[MR_PLACE_WORKER] = "worker",
		[MR_PLACE_CONTROL] = "control",
		[MR_PLACE_CHORES] = "chores",
	};

	mr_assert((size_t)role < mr_array_count(words));
	return words[role];
}

const char *mr_place_policy_word(enum mr_place_policy policy)
{
	static const char *const words[] = {
		[MR_PLACE_SPREAD] = "spread",
		[MR_PLACE_COMPACT] = "compact",
	};

	mr_assert((size_t)policy < mr_array_count(words));
	return words[policy];
}

static const char *plural(uint32_t count)
{
	return count == 1 ? "" : "s";
}

static void print_host(const struct mr_place_host *host, FILE *out)
{
	fprintf(out, "%u core%s, %u hardware thread%s, %u NUMA node%s, %u package%s", host->cores,
		plural(host->cores), host->cpus, plural(host->cpus), host->nodes,
		plural(host->nodes), host->packages, plural(host->packages));
	if (host->memory_bytes > 0)
		fprintf(out, ", %.1f GiB", (double)host->memory_bytes / (1 << 30));
	if (host->synthetic)
		fprintf(out, "\na synthetic machine, not this one: nothing is pinned\n");
	else
		fprintf(out, "\n%s%shypervisor: %s\n", host->model, host->model[0] ? "; " : "",
			host->hypervisor);
}

/* Runs of CPUs, as "0-3,5"; what has no room is shown as "...". */
static void format_list(const cpu_set_t *cpus, char *text, size_t room)
{
	size_t used = 0;

	text[0] = '\0';
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		const char *comma = used ? "," : "";
		int first = cpu;

		if (!CPU_ISSET(cpu, cpus))
			continue;
		while (cpu + 1 < CPU_SETSIZE && CPU_ISSET(cpu + 1, cpus))
			cpu++;
		if (used + 20 > room) {
			snprintf(text + used, room - used, ",...");
			return;
		}
		if (cpu > first)
			used += (size_t)snprintf(text + used, room - used, "%s%d-%d", comma, first,
						 cpu);
		else
			used += (size_t)snprintf(text + used, room - used, "%s%d", comma, cpu);
	}
}

static void print_index(int32_t index, int width, FILE *out)
{
	if (index == MR_PLACE_ANY)
		fprintf(out, " %*s", width, "-");
	else
		fprintf(out, " %*d", width, index);
}

static void print_entry(const struct mr_place_entry *entry, FILE *out)
{
	if (entry->role == MR_PLACE_WORKER)
		fprintf(out, "worker %-3u", entry->worker);
	else
		fprintf(out, "%-10s", mr_place_role_word(entry->role));
	print_index(entry->cpu, 4, out);
	print_index(entry->core, 4, out);
	print_index(entry->node, 4, out);
	print_index(entry->package, 4, out);
	fprintf(out, "  %s\n", entry->reason);
}

void mr_place_print(const struct mr_place_plan *plan, FILE *out)
{
	char list[40];

	print_host(&plan->host, out);
	format_list(&plan->disk_cpus, list, sizeof(list));
	fprintf(out, "policy %s; disk interrupts on cpu %s\n\n", mr_place_policy_word(plan->policy),
		list[0] ? list : "unknown");
	fprintf(out, "%-10s %4s %4s %4s %4s  %s\n", "thread", "cpu", "core", "node", "pkg", "why");
	for (uint32_t i = 0; i < plan->entry_count; i++)
		print_entry(&plan->entries[i], out);
}

static json_t *index_json(int32_t index)
{
	return index == MR_PLACE_ANY ? json_null() : json_integer(index);
}

static json_t *cpus_json(const cpu_set_t *cpus)
{
	json_t *list = json_array();

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, cpus))
			json_array_append_new(list, json_integer(cpu));
	}
	return list;
}

static json_t *host_json(const struct mr_place_host *host)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:I, s:b, s:s, s:s}", "packages", host->packages,
			 "nodes", host->nodes, "cores", host->cores, "cpus", host->cpus,
			 "memory_bytes", (json_int_t)host->memory_bytes, "synthetic",
			 (int)host->synthetic, "model", host->model, "hypervisor",
			 host->hypervisor);
}

static json_t *entry_json(const struct mr_place_entry *entry)
{
	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:s}", "role", mr_place_role_word(entry->role),
		"worker",
		index_json(entry->role == MR_PLACE_WORKER ? (int32_t)entry->worker : MR_PLACE_ANY),
		"cpu", index_json(entry->cpu), "core", index_json(entry->core), "node",
		index_json(entry->node), "package", index_json(entry->package), "may_spin",
		(int)entry->may_spin, "reason", entry->reason);
}

char *mr_place_json(const struct mr_place_plan *plan)
{
	json_t *entries = json_array();
	json_t *root;
	char *text;

	for (uint32_t i = 0; i < plan->entry_count; i++)
		json_array_append_new(entries, entry_json(&plan->entries[i]));
	root = json_pack("{s:o, s:s, s:o, s:o}", "host", host_json(&plan->host), "policy",
			 mr_place_policy_word(plan->policy), "disk_cpus",
			 cpus_json(&plan->disk_cpus), "threads", entries);
	if (!root)
		return NULL;
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return text;
}
