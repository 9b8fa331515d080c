/* SPDX-License-Identifier: Apache-2.0 */
/*
 * millrace topology: the placement plan that an engine would start with on this machine, or on the
 * one that HWLOC_SYNTHETIC describes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "cli.h"
#include "place.h"

enum {
	OPTION_WORKERS = MR_CLI_FIRST_OWN,
	OPTION_PLACEMENT,
	OPTION_IDLE,
	OPTION_INTERRUPTS,
};

struct arguments {
	struct mr_place_request request;
	struct mr_place_disk disk;
	const char *data;
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t number;

	switch (key) {
	case MR_CLI_JSON:
		arguments->json = true;
		return 0;
	case MR_CLI_DATA:
		arguments->data = arg;
		return 0;
	case OPTION_WORKERS:
		if (mr_argument_number(arg, 1, MR_PLACE_WORKERS_MAX, &number) < 0)
			argp_error(state, "--workers: '%s' is no number from 1 to %d", arg,
				   MR_PLACE_WORKERS_MAX);
		arguments->request.workers = (uint32_t)number;
		return 0;
	case OPTION_PLACEMENT:
		if (strcmp(arg, "spread") != 0 && strcmp(arg, "compact") != 0)
			argp_error(state, "--placement: '%s' is neither spread nor compact", arg);
		arguments->request.policy =
			strcmp(arg, "compact") == 0 ? MR_PLACE_COMPACT : MR_PLACE_SPREAD;
		return 0;
	case OPTION_IDLE:
		if (strcmp(arg, "spin") != 0 && strcmp(arg, "adaptive") != 0 &&
		    strcmp(arg, "park") != 0)
			argp_error(state, "--idle: '%s' is none of spin, adaptive, park", arg);
		arguments->request.workers_spin = strcmp(arg, "spin") == 0;
		return 0;
	case OPTION_INTERRUPTS:
		arguments->disk.node = MR_PLACE_ANY;
		if (!mr_place_parse_list(arg, &arguments->disk.cpus) ||
		    CPU_COUNT(&arguments->disk.cpus) == 0)
			argp_error(state, "--interrupts: '%s' is no list of CPUs, as 1 or 0-3,8",
				   arg);
		arguments->request.disk = &arguments->disk;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"workers", OPTION_WORKERS, "N", 0, "plan for N workers, not for as many as fit", 0},
	{"placement", OPTION_PLACEMENT, "POLICY", 0,
	 "spread: over packages and nodes in turn (the default); compact: one node full first", 0},
	{"data", MR_CLI_DATA, "DIR", 0,
	 "the data directory, whose disk's interrupts the first worker goes to (default .)", 0},
	{"idle", OPTION_IDLE, "MODE", 0,
	 "spin, adaptive or park, as the option idle: who always spins stays off those interrupts",
	 0},
	{"interrupts", OPTION_INTERRUPTS, "CPUS", 0,
	 "plan as if the disk's interrupts went to these, a list as 0-3,8", 0},
	MR_CLI_OPTION_JSON,
	{0},
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Print the placement plan: each thread's core and NUMA node, and why."
	       "\vExamples:\n"
	       "  millrace topology\n"
	       "  millrace topology --workers 4 --placement compact --json\n"
	       "  HWLOC_SYNTHETIC='node:2 core:8 pu:2' millrace topology --interrupts 4",
};

/*
 * What is known of this machine: its disk, unless told, and its limits. None of it is another
 * machine's, and none a reason to fail, but what was told and is not there.
 */
static int ask_host(struct arguments *arguments, struct mr_error *err)
{
	const char *synthetic = getenv("HWLOC_SYNTHETIC");
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct stat status;

	if (synthetic && synthetic[0])
		return 0;
	arguments->request.cpu_percent = mr_place_cpu_percent("");
	for (long cpu = cpus; cpu > 0 && cpu < CPU_SETSIZE; cpu++)
		if (arguments->request.disk && CPU_ISSET((size_t)cpu, &arguments->disk.cpus))
			return mr_error_set(err, -EINVAL,
					    "--interrupts: there is no CPU %ld here, expected 0 to "
					    "%ld",
					    cpu, cpus - 1);
	if (arguments->request.disk)
		return 0;
	if (stat(arguments->data, &status) < 0)
		return mr_error_set(err, -errno, "cannot look at the data directory '%s'",
				    arguments->data);
	(void)mr_place_disk_read("", status.st_dev, &arguments->disk, NULL);
	arguments->request.disk = &arguments->disk;
	return 0;
}

int mr_command_topology(int argc, char **argv)
{
	struct arguments arguments = {.data = "."};
	struct mr_place_plan plan = {0};
	struct mr_error err;
	char *json;

	mr_cli_parse(&argp, argc, argv, &arguments);
	if (ask_host(&arguments, &err) < 0 || mr_place_plan(&arguments.request, &plan, &err) < 0)
		return mr_cli_fail(&err);
	if (arguments.json) {
		json = mr_place_json(&plan);
		if (json)
			printf("%s\n", json);
		free(json);
	} else {
		mr_place_print(&plan, stdout);
	}
	mr_place_plan_deinit(&plan);
	return mr_cli_finish_output(MR_EXIT_DONE);
}
