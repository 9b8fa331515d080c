/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement plan: which core and which NUMA node each thread of the engine gets, and why.
 *
 * A worker gets a physical core of its own (not a hyperthread), its memory lies on its core's
 * node, and the first worker gets the core that takes the disk's interrupts: a durable write is
 * waited for there without a wake-up from another core (docs/decisions/0008-placement.md). Only
 * cores that the process may use are looked at (cpusets), and no more than its quota pays for.
 * Control and chores share one more core where there are three or more; with one or two cores
 * they are not pinned, and the plan says so. What then is left is for the programs beside.
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
#define MR_PLACE_NODES_MAX   64 /* whose distance to the disk is asked for */

enum mr_place_policy {
	MR_PLACE_SPREAD,  /* over packages and nodes in turn */
	MR_PLACE_COMPACT, /* one node full before the next */
};

enum mr_place_role {
	MR_PLACE_WORKER,
	MR_PLACE_CONTROL,
	MR_PLACE_CHORES,
	MR_PLACE_PIPELINE, /* never in the plan: mr_place_pipeline() */
};

/* What the system tells of the disk under the data. Layers of disks (md, dm) are taken together. */
struct mr_place_disk {
	cpu_set_t cpus;			      /* take its interrupts now; empty: not known */
	uint32_t queues;		      /* that the kernel fills; 0: not known */
	int32_t node;			      /* of its controller, or MR_PLACE_ANY: not told */
	uint8_t distance[MR_PLACE_NODES_MAX]; /* from it to each node; 10 is near, 0 not known */
};

struct mr_place_request {
	enum mr_place_policy policy;
	uint32_t workers;		  /* 0: leaves room for programs beside the engine */
	bool workers_spin;		  /* without work they never give their core away */
	uint32_t cpu_percent;		  /* a cgroup's quota, 150: one and a half CPUs; 0: none */
	const struct mr_place_disk *disk; /* borrowed; NULL: not known */
};

/* One thread's place. */
struct mr_place_entry {
	enum mr_place_role role;
	uint32_t worker; /* number of the worker, from 0; 0 for the others */
	int32_t cpu;	 /* operating system's index, or MR_PLACE_ANY */
	int32_t core;	 /* logical index, or MR_PLACE_ANY */
	int32_t node;	 /* NUMA node, operating system's index, or MR_PLACE_ANY */
	int32_t package; /* logical index, or MR_PLACE_ANY */
	int32_t l2, l3;	 /* its caches, logical indexes of the whole machine, or MR_PLACE_ANY */
	bool disk;	 /* the disk's interrupts come to this core */
	bool may_spin;	 /* no other thread of ours and no disk interrupt needs this core */
	uint32_t disk_distance; /* of the core's node from the disk's; 0: not known, or one node */
	cpu_set_t cpus;		/* where the thread may run; empty: pins nothing (synthetic) */
	cpu_set_t siblings;	/* a worker's: the other hardware threads of its core, left idle */
	cpu_set_t close;	/* left for clients under the same of several L3 caches */
	char reason[64];
	char cost[240]; /* of another place, in sentences; empty: none known */
};

/* What the plan was made for, and the start-up block's first lines. */
struct mr_place_host {
	uint32_t packages;
	uint32_t nodes;		     /* NUMA nodes, at least 1 */
	uint32_t cores;		     /* physical, that this process may use */
	uint32_t cpus;		     /* hardware threads, that this process may use */
	uint32_t l2_cores, l3_cores; /* that share one, of those cores; 0: there is none */
	uint64_t memory_bytes;
	bool synthetic;	     /* a machine from HWLOC_SYNTHETIC, not this one */
	char model[64];	     /* processor's name, or empty */
	char hypervisor[32]; /* "KVM", "VMware", ..., "none", or "unknown" */
};

/* entries[0 .. worker_count - 1] are the workers by number; control and chores follow. */
struct mr_place_plan {
	struct mr_place_host host;
	enum mr_place_policy policy;
	bool workers_spin;    /* as asked for */
	uint32_t cpu_percent; /* as asked for */
	uint32_t disk_cores;  /* that take the disk's interrupts */
	struct mr_place_disk disk;
	cpu_set_t beside; /* hardware threads of cores without a thread of ours: for clients */
	cpu_set_t idle;	  /* the other hardware threads of workers' cores */
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
 * Where the thread of the n-th pipeline runs, which may come at any time: on the cores left for
 * clients, in turn; where none is left, wherever control and chores may.
 */
void mr_place_pipeline(const struct mr_place_plan *plan, uint32_t n, struct mr_place_entry *out);

/*
 * Pins the calling thread, or lets it run on all the process's CPUs where the entry is not
 * pinned.
 */
int mr_place_bind_thread(const struct mr_place_entry *entry, struct mr_error *err);

/*
 * Asks for the pages of 'bytes' bytes at 'at' (page-aligned) on NUMA node 'node', else on the
 * nearest with room. Before their first touch; a region's pages keep to it whoever touches them.
 * Does nothing for MR_PLACE_ANY, on a host of one node, and where the process may not use the
 * node's memory (cpusets).
 */
int mr_place_bind_memory(void *at, size_t bytes, int32_t node, struct mr_error *err);

/*
 * What the calling thread touches first from here on comes from 'node', until it asks for
 * MR_PLACE_ANY: memory made by one thread for another. A wish: where it cannot be had, the kernel
 * chooses.
 */
void mr_place_prefer_node(int32_t node);

/* What this host is; part of a plan, or by itself. */
int mr_place_describe_host(struct mr_place_host *out, struct mr_error *err);

/* The plan as a table of at most 80 columns, and as JSON (the caller frees; NULL: no memory). */
void mr_place_print(const struct mr_place_plan *plan, FILE *out);
char *mr_place_json(const struct mr_place_plan *plan);

/* "0-3,5" added to 'out'. False if the text is no such list: then what stood before the mistake. */
bool mr_place_parse_list(const char *text, cpu_set_t *out);

/* Runs of CPUs, as "0-3,5"; what has no room is shown as "...". Empty: "". */
void mr_place_format_list(const cpu_set_t *cpus, char *text, size_t room);

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

/* All that is told of that disk. -ENODATA, with the reason: its interrupts are not known. */
int mr_place_disk_read(const char *root, dev_t device, struct mr_place_disk *out,
		       struct mr_error *err);

/* The smallest quota of this process's cgroups in hundredths of a CPU, at least 1; 0: none. */
uint32_t mr_place_cpu_percent(const char *root);

/*
 * Bytes of memory that this process may still take, by the host and by its cgroups, without what
 * only swapping would give; UINT64_MAX: nobody says. 'root' as above.
 */
uint64_t mr_place_memory_free(const char *root);

#endif
