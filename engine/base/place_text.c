/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan for people (a table of 80 columns) and for programs (JSON). Runs on any
 * thread, owns nothing.
 */
#include <jansson.h>
#include <string.h>

#include "check.h"
#include "place.h"

#define WIDTH  80
#define INDENT 12

const char *mr_place_role_word(enum mr_place_role role)
{
	static const char *const words[] = {
		[MR_PLACE_WORKER] = "worker",
		[MR_PLACE_CONTROL] = "control",
		[MR_PLACE_CHORES] = "chores",
		[MR_PLACE_PIPELINE] = "pipeline",
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

void mr_place_format_list(const cpu_set_t *cpus, char *text, size_t room)
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

/* Sentences under a thread's line, broken between words. */
static void print_wrapped(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t bytes = strcspn(text, " ");

		if (column > 0 && column + 1 + bytes > WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		fprintf(out, "%*s%.*s", column ? 1 : INDENT, "", (int)bytes, text);
		column += (column ? 1 : INDENT) + bytes;
		text += bytes;
		text += strspn(text, " ");
	}
	if (column > 0)
		fputc('\n', out);
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
	print_wrapped(entry->cost, out);
}

static void print_caches(const struct mr_place_host *host, FILE *out)
{
	const char *between = "";

	if (host->l2_cores == 0 && host->l3_cores == 0)
		return;
	fprintf(out, "caches      ");
	if (host->l2_cores > 0)
		fprintf(out, "one L2 for %u core%s", host->l2_cores, plural(host->l2_cores));
	between = host->l2_cores > 0 ? ", " : "";
	if (host->l3_cores > 0)
		fprintf(out, "%sone L3 for %u core%s", between, host->l3_cores,
			plural(host->l3_cores));
	fputc('\n', out);
}

static void print_disk(const struct mr_place_plan *plan, FILE *out)
{
	const struct mr_place_disk *disk = &plan->disk;
	char list[40];

	mr_place_format_list(&disk->cpus, list, sizeof(list));
	fprintf(out, "disk        ");
	if (disk->queues > 0)
		fprintf(out, "%u queue%s, ", disk->queues, plural(disk->queues));
	fprintf(out, "interrupts on cpu %s", list[0] ? list : "unknown");
	if (plan->host.nodes > 1 && disk->node != MR_PLACE_ANY)
		fprintf(out, ", on node %d", disk->node);
	else if (plan->host.nodes > 1)
		fprintf(out, ", node unknown");
	fputc('\n', out);
}

static void print_rest(const struct mr_place_plan *plan, FILE *out)
{
	char list[40];

	mr_place_format_list(&plan->beside, list, sizeof(list));
	fprintf(out, "clients     cpu %s\n", list[0] ? list : "- (no core is left)");
	fprintf(out, "pipelines   cpu %s\n",
		list[0] ? "of the clients', one each in turn" : "any: none is left for them");
	mr_place_format_list(&plan->idle, list, sizeof(list));
	if (list[0])
		fprintf(out, "idle        cpu %s, on workers' cores\n", list);
}

void mr_place_print(const struct mr_place_plan *plan, FILE *out)
{
	print_host(&plan->host, out);
	print_caches(&plan->host, out);
	print_disk(plan, out);
	if (plan->cpu_percent > 0)
		fprintf(out, "quota       %u.%02u CPUs, by cgroup: workers do not spin it away\n",
			plan->cpu_percent / 100, plan->cpu_percent % 100);
	fprintf(out, "policy      %s%s\n\n", mr_place_policy_word(plan->policy),
		plan->workers_spin ? ", for workers that always spin" : "");
	fprintf(out, "%-10s %4s %4s %4s %4s  %s\n", "thread", "cpu", "core", "node", "pkg", "why");
	for (uint32_t i = 0; i < plan->entry_count; i++)
		print_entry(&plan->entries[i], out);
	print_rest(plan, out);
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
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:b, s:s, s:s}", "packages",
			 host->packages, "nodes", host->nodes, "cores", host->cores, "cpus",
			 host->cpus, "l2_cores", host->l2_cores, "l3_cores", host->l3_cores,
			 "memory_bytes", (json_int_t)host->memory_bytes, "synthetic",
			 (int)host->synthetic, "model", host->model, "hypervisor",
			 host->hypervisor);
}

static json_t *disk_json(const struct mr_place_disk *disk)
{
	return json_pack("{s:i, s:o}", "queues", disk->queues, "node", index_json(disk->node));
}

static json_t *entry_json(const struct mr_place_entry *entry)
{
	int32_t worker = entry->role == MR_PLACE_WORKER ? (int32_t)entry->worker : MR_PLACE_ANY;

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:i, s:o, s:o, s:s, "
			 "s:s}",
			 "role", mr_place_role_word(entry->role), "worker", index_json(worker),
			 "cpu", index_json(entry->cpu), "core", index_json(entry->core), "node",
			 index_json(entry->node), "package", index_json(entry->package), "l2",
			 index_json(entry->l2), "l3", index_json(entry->l3), "disk_interrupts",
			 (int)entry->disk, "may_spin", (int)entry->may_spin, "disk_distance",
			 (int)entry->disk_distance, "siblings", cpus_json(&entry->siblings),
			 "clients_under_l3", cpus_json(&entry->close), "reason", entry->reason,
			 "cost", entry->cost);
}

char *mr_place_json(const struct mr_place_plan *plan)
{
	json_t *entries = json_array();
	json_t *root;
	char *text;

	for (uint32_t i = 0; i < plan->entry_count; i++)
		json_array_append_new(entries, entry_json(&plan->entries[i]));
	root = json_pack("{s:o, s:s, s:b, s:i, s:o, s:o, s:o, s:o, s:o}", "host",
			 host_json(&plan->host), "policy", mr_place_policy_word(plan->policy),
			 "workers_spin", (int)plan->workers_spin, "cpu_percent",
			 (int)plan->cpu_percent, "disk", disk_json(&plan->disk), "disk_cpus",
			 cpus_json(&plan->disk.cpus), "client_cpus", cpus_json(&plan->beside),
			 "idle_cpus", cpus_json(&plan->idle), "threads", entries);
	if (!root)
		return NULL;
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	return text;
}
