/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan: which core and which NUMA node each thread of the engine gets, and why.
 *
 * A worker gets a physical core of its own (not a hyperthread), its memory lies on its core's
 * node, and the core that finishes the disk's interrupts is given to workers last, since a
 * worker that spins there makes the kernel wait for its own completions. Only cores that the
 * process may use are looked at (cpusets). Control and chores share one more core where there
 * are three or more; with one or two cores they are not pinned, and the plan says so.
 *
 * Made once at start by one thread, then only read. HWLOC_SYNTHETIC in the environment puts
 * another machine in the place of this one: such a plan can be printed, its entries pin
 * nothing.
 */
#ifndef MR_PLACE_H
#define MR_PLACE_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "error.h"

#define MR_PLACE_ANY	     (-1) /* of a core or a node: not fixed */
#define MR_PLACE_WORKERS_MAX 256

enum mr_place_policy {
	MR_PLACE_SPREAD,  /* over packages and nodes in turn */
	MR_PLACE_COMPACT, /* one node full before the next */
};

enum mr_place_role {
	MR_PLACE_WORKER,
	MR_PLACE_CONTROL,
	MR_PLACE_CHORES,
};

struct mr_place_request {
	enum mr_place_policy policy;
	uint32_t workers;	    /* 0: leaves room for programs beside the engine */
	const cpu_set_t *disk_cpus; /* that finish the disk's interrupts; NULL: not known */
};

/* One thread's place. */
struct mr_place_entry {
	enum mr_place_role role;
	uint32_t worker; /* number of the worker, from 0; 0 for the others */
	int32_t cpu;	 /* operating system's index, or MR_PLACE_ANY */
	int32_t core;	 /* logical index, or MR_PLACE_ANY */
	int32_t node;	 /* NUMA node, operating system's index, or MR_PLACE_ANY */
	int32_t package; /* logical index, or MR_PLACE_ANY */
	bool may_spin;	 /* no other thread of ours and no disk interrupt needs this core */
	cpu_set_t cpus;	 /* where the thread may run; empty: pins nothing (synthetic) */
	char reason[160];
};

/* What the plan was made for, and the start-up block's first lines. */
struct mr_place_host {
	uint32_t packages;
	uint32_t nodes; /* NUMA nodes, at least 1 */
	uint32_t cores; /* physical, that this process may use */
	uint32_t cpus;	/* hardware threads, that this process may use */
	uint64_t memory_bytes;
	bool synthetic;	     /* a machine from HWLOC_SYNTHETIC, not this one */
	char model[64];	     /* processor's name, or empty */
	char hypervisor[32]; /* "KVM", "VMware", ..., "none", or "unknown" */
};

/* entries[0 .. worker_count - 1] are the workers by number; control and chores follow. */
struct mr_place_plan {
	struct mr_place_host host;
	enum mr_place_policy policy;
	cpu_set_t disk_cpus; /* take the disk's interrupts; empty: not known */
	uint32_t worker_count;
	uint32_t entry_count;
	struct mr_place_entry *entries; /* owned */
};

/*
 * Plans. On success the caller owns what *out holds (mr_place_plan_deinit). More workers than
 * cores share cores by turns, and their reason says so. -EINVAL: more than
 * MR_PLACE_WORKERS_MAX workers.
 */
int mr_place_plan(const struct mr_place_request *request, struct mr_place_plan *out,
		  struct mr_error *err);
void mr_place_plan_deinit(struct mr_place_plan *plan); /* takes one of zeros */

/* The first entry of that role; NULL if there is none. */
const struct mr_place_entry *mr_place_find(const struct mr_place_plan *plan,
					   enum mr_place_role role);

/*
 * Pins the calling thread, or lets it run on all the process's CPUs where the entry is not
 * pinned.
 */
int mr_place_bind_thread(const struct mr_place_entry *entry, struct mr_error *err);

/*
 * Asks for the pages of 'bytes' bytes at 'at' (page-aligned) on NUMA node 'node', else on the
 * nearest with room. Before their first touch. Does nothing for MR_PLACE_ANY and on a host of
 * one node.
 */
int mr_place_bind_memory(void *at, size_t bytes, int32_t node, struct mr_error *err);

/* What this host is; part of a plan, or by itself. */
int mr_place_describe_host(struct mr_place_host *out, struct mr_error *err);

/* The plan as a table of at most 80 columns, and as JSON (the caller frees; NULL: no memory). */
void mr_place_print(const struct mr_place_plan *plan, FILE *out);
char *mr_place_json(const struct mr_place_plan *plan);

/* "worker", "control", "chores"; "spread", "compact". */
const char *mr_place_role_word(enum mr_place_role role);
const char *mr_place_policy_word(enum mr_place_policy policy);

/*
 * The CPUs that take the interrupts of the disk under device number 'device' (st_dev of the
 * data directory). 0 and a set that is not empty, or -ENODATA with the reason: not every disk
 * can be asked. 'root' is "/" but for tests: where proc/ and sys/ are.
 */
int mr_place_disk_interrupt_cpus(const char *root, dev_t device, cpu_set_t *cpus,
				 struct mr_error *err);

#endif
