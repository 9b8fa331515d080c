/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plan says, done: threads to cores and memory to nodes. Runs on the thread that is
 * bound, or that makes the memory. Owns nothing.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "place_cores.h"

#define MASK_BITS (8 * sizeof(unsigned long))

struct node_mask {
	unsigned long bits[CPU_SETSIZE / MASK_BITS];
};

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

/* The nodes this process may take memory from, by its own status; empty where that is not known. */
static void read_allowed_nodes(cpu_set_t *nodes)
{
	static const char key[] = "Mems_allowed_list:";
	FILE *status = fopen("/proc/self/status", "re");
	char line[4096];

	CPU_ZERO(nodes);
	while (status && fgets(line, sizeof(line), status)) {
		if (strncmp(line, key, strlen(key)) == 0)
			mr_place_parse_list(line + strlen(key), nodes);
	}
	if (status)
		fclose(status);
}

/* Is there a choice of nodes, and is this one of them? The kernel refuses one that is not. */
static bool may_choose(int32_t node)
{
	cpu_set_t allowed;

	if (node == MR_PLACE_ANY)
		return false;
	mr_assert(node >= 0);
	mr_assert(node < CPU_SETSIZE);
	read_allowed_nodes(&allowed);
	return CPU_COUNT(&allowed) > 1 && CPU_ISSET(node, &allowed);
}

static struct node_mask mask_of(int32_t node)
{
	struct node_mask mask = {{0}};

	mask.bits[(unsigned long)node / MASK_BITS] = 1ul << ((unsigned long)node % MASK_BITS);
	return mask;
}

int mr_place_bind_memory(void *at, size_t bytes, int32_t node, struct mr_error *err)
{
	struct node_mask mask;

	if (!may_choose(node))
		return 0;
	mask = mask_of(node);
	if (syscall(SYS_mbind, at, bytes, MPOL_PREFERRED, mask.bits, (unsigned long)CPU_SETSIZE + 1,
		    0) == 0)
		return 0;
	return mr_error_set(err, -errno, "cannot put %zu bytes of memory on NUMA node %d", bytes,
			    node);
}

void mr_place_prefer_node(int32_t node)
{
	struct node_mask mask;

	if (node == MR_PLACE_ANY) {
		/* a wish both ways: what is refused leaves the kernel's own choice */
		(void)syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0ul);
		return;
	}
	if (!may_choose(node))
		return;
	mask = mask_of(node);
	(void)syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.bits, (unsigned long)CPU_SETSIZE + 1);
}
