/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's main: one run for each seed, until the time is over. A run is some thousand steps
 * with faults, then everything heals and must come to rest, with all logs equal. A broken promise
 * prints the seed; the same seed does the same again, byte for byte.
 *
 *	sim --seed 42			one run, again
 *	sim --from 1 --count 1000	those
 *	sim --seconds 60 --new		as many as fit, from a seed nobody knows
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "check.h"
#include "world.h"

#define STEPS	   1500
#define STEPS_REST 60000 /* after all has healed, to come to rest */
#define STEP_NS	   MS(2)

uint64_t sim_random(struct sim *sim, uint64_t below)
{
	return mr_io_fake_random(&sim->random) % below;
}

bool sim_chance(struct sim *sim, uint32_t percent)
{
	return sim_random(sim, 100) < percent;
}

/* Where everybody stands. */
static void tell_hosts(const struct sim *sim)
{
	struct mr_coord_state state = sim_coordinator_state(sim);

	fprintf(stderr, "version %" PRIu64 ", leader %d, epoch %d, isr %" PRIx64 "\n",
		state.version, state.leader, state.leader_epoch, state.isr);
	for (uint32_t i = 0; i < sim->hosts_count; i++) {
		const struct mr_replica *replica = &sim->hosts[i].replica;

		if (!sim->hosts[i].alive) {
			fprintf(stderr, "host %u is dead\n", i);
			continue;
		}

		fprintf(stderr,
			"host %u: role %d, step %d, version %" PRIu64 ", epoch %d, log end %" PRIu64
			", flushed %" PRIu64 ", high watermark %" PRIu64 ", proposing %d\n",
			i, replica->role, replica->step, replica->known.version,
			replica->known.leader_epoch, replica->partition->log_end,
			replica->partition->flushed, replica->partition->high_watermark,
			replica->proposing);
	}
}

void sim_broken(const struct sim *sim, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "seed %" PRIu64 ", %.3f s: ", sim->seed, (double)sim->now_ns / 1e9);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	tell_hosts(sim);
	fprintf(stderr, "see it again: sim --seed %" PRIu64 "\n", sim->seed);
	exit(1);
}

/* ---- faults
 * --------------------------------------------------------------------------------------- */

static uint32_t alive_count(const struct sim *sim)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < sim->hosts_count; i++)
		count += sim->hosts[i].alive;
	return count;
}

/*
 * A disk may go for good where the promise is kept without it: of those in sync,
 * min_insync_replicas
 * - 1 at a time, and the next when the last is back in sync. One that begins anew leaves the ISR,
 * too, and a proposal of its earlier life may still be under way.
 */
static bool may_lose_disk(const struct sim *sim, uint32_t node)
{
	struct mr_coord_state state = sim_coordinator_state(sim);
	uint64_t all = (UINT64_C(1) << sim->hosts_count) - 1;

	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (sim->hosts[i].lost_data || sim->hosts[i].leaves_until_ns > sim->now_ns)
			return false;
	if (!(state.isr >> node & 1))
		return true;
	return sim->min_insync_replicas > 1 && state.isr == all;
}

static void kill_or_start(struct sim *sim, uint32_t node)
{
	if (sim->hosts[node].alive) {
		sim->coverage->crashes++;
		sim_host_crash(sim, node);
	} else if (sim_chance(sim, 20) && may_lose_disk(sim, node)) {
		sim->coverage->disks_lost++;
		if (sim_chance(sim, 70))
			sim_host_new_disk(sim, node);
		else
			sim_host_lose_checkpoint(sim, node);
		sim_host_start(sim, node);
	} else {
		sim_host_start(sim, node);
	}
}

static void cut_or_heal(struct sim *sim)
{
	uint32_t a = (uint32_t)sim_random(sim, sim->hosts_count);
	uint32_t b = (uint32_t)sim_random(sim, sim->hosts_count);
	bool cut = sim_chance(sim, 30);

	sim->coverage->cuts += cut;
	if (a == b) {
		sim_coordinator_cut(sim, a, cut);
		return;
	}
	sim_network_cut(sim, a, b, cut);
	if (sim_chance(sim, 50))
		sim_network_cut(sim, b, a, cut);
	if (cut && sim_chance(sim, 30))
		sim_network_reset(sim, a, b);
}

static void fault(struct sim *sim)
{
	uint32_t node = (uint32_t)sim_random(sim, sim->hosts_count);

	if (sim_random(sim, 1000) < 8)
		kill_or_start(sim, node);
	else if (!sim->hosts[node].alive && sim_chance(sim, 2))
		kill_or_start(sim, node);
	if (sim_random(sim, 1000) < 15)
		cut_or_heal(sim);
	if (sim_random(sim, 1000) < 5)
		sim_network_reset(sim, node, (node + 1) % sim->hosts_count);
	/* power for all at once */
	if (sim_random(sim, 10000) < 4)
		for (uint32_t i = 0; i < sim->hosts_count; i++)
			if (sim->hosts[i].alive)
				kill_or_start(sim, i);
}

/* ---- a run
 * ---------------------------------------------------------------------------------------- */

static void step(struct sim *sim)
{
	sim->now_ns += sim_random(sim, STEP_NS);
	if (sim->faults)
		fault(sim);
	sim_network_step(sim);
	sim_coordinator_step(sim);
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		/* one that is not looked at for a while is one that the machine has stopped */
		if (sim->hosts[i].alive && (!sim->faults || sim_chance(sim, 70)))
			sim_host_turn(sim, i);
	sim_clients_step(sim);
	sim->coverage->steps++;
}

static void heal(struct sim *sim)
{
	sim->faults = false;
	sim_network_heal(sim);
	sim_coordinator_heal(sim);
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (!sim->hosts[i].alive)
			sim_host_start(sim, i);
}

static void run(struct sim_coverage *coverage, uint64_t seed)
{
	struct sim sim = {.seed = seed, .random = seed, .coverage = coverage, .faults = true};
	int i;

	sim.hosts_count = (uint32_t[]){2, 3, 3, 5}[sim_random(&sim, 4)];
	sim.min_insync_replicas = 1 + (uint32_t)sim_random(&sim, sim.hosts_count > 2 ? 2 : 2);
	sim.now_ns = MS(1000);
	sim.network = sim_network_new();
	sim.coordinator = sim_coordinator_new(&sim);
	sim.clients = sim_clients_new();
	sim.observer = sim_observer_new();
	for (uint32_t node = 0; node < sim.hosts_count; node++) {
		sim.hosts[node].disk = mr_io_fake_new(sim_random(&sim, UINT64_MAX));
		sim_host_start(&sim, node);
	}
	for (i = 0; i < STEPS; i++)
		step(&sim);
	heal(&sim);
	for (i = 0; i < STEPS_REST && !sim_observer_settled(&sim); i++)
		step(&sim);
	if (i == STEPS_REST) {
		sim_broken(&sim, "all has healed and it does not come to rest (%u hosts alive)",
			   alive_count(&sim));
	}
	sim_observer_finish(&sim);
	for (uint32_t node = 0; node < sim.hosts_count; node++)
		sim_host_free(&sim, &sim.hosts[node]);
	sim_network_free(sim.network);
	sim_coordinator_free(sim.coordinator);
	sim_clients_free(sim.clients);
	sim_observer_free(sim.observer);
	coverage->runs++;
}

/* ---- the program
 * ---------------------------------------------------------------------------------- */

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void tell(const struct sim_coverage *coverage)
{
	double thousands = (double)coverage->runs / 1000;

	printf("%" PRIu64 " seeds, %" PRIu64 " steps, %" PRIu64 " messages delivered, %" PRIu64
	       " writes completed, %" PRIu64 " records answered\n",
	       coverage->runs, coverage->steps, coverage->delivered, coverage->completions,
	       coverage->answered);
	if (!coverage->runs)
		return;
	printf("for 1,000 seeds: %.0f elections, %.0f truncations, %.0f torn tails, %.0f shrinks "
	       "and %.0f expansions of the ISR, %.0f crashes, %.0f disks lost, %.0f cuts, %.0f "
	       "answers of the coordinator lost, %.0f producers that sent again, %.0f segments "
	       "dropped, %.0f turns that left the high watermark to the next batches, %.0f logs "
	       "begun anew, %.0f checkpoints\n",
	       (double)coverage->elections / thousands, (double)coverage->truncations / thousands,
	       (double)coverage->torn / thousands, (double)coverage->shrinks / thousands,
	       (double)coverage->expansions / thousands, (double)coverage->crashes / thousands,
	       (double)coverage->disks_lost / thousands, (double)coverage->cuts / thousands,
	       (double)coverage->unknown / thousands, (double)coverage->resent / thousands,
	       (double)coverage->dropped / thousands, (double)coverage->put_off / thousands,
	       (double)coverage->begun_anew / thousands, (double)coverage->checkpoints / thousands);
	if (coverage->promotions)
		printf("for 1,000 seeds: %.0f promotions, %.0f attempts to take over\n",
		       (double)coverage->promotions / thousands,
		       (double)coverage->takeovers / thousands);
}

static int usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [--seed N | --from N] [--count N] [--seconds S] [--new]\n"
		"  --seed N     that run only\n"
		"  --from N     the first seed (1); --count N: how many (100)\n"
		"  --seconds S  as many as fit in S seconds, at most count\n"
		"  --new        the first seed is drawn, and told\n",
		name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},	 {"from", required_argument, NULL, 'f'},
		{"count", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 't'},
		{"new", no_argument, NULL, 'n'},	 {0}};
	struct sim_coverage coverage = {0};
	uint64_t from = 1, count = 100;
	double seconds = 0, began = now_seconds();
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 's':
			count = 1;
			from = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			from = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			count = strtoull(optarg, NULL, 10);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 'n':
			mr_assert(getrandom(&from, sizeof(from), 0) == (ssize_t)sizeof(from));
			from >>= 16;
			break;
		default:
			return usage(argv[0]);
		}
	}
	printf("seeds from %" PRIu64 " on\n", from);
	for (uint64_t i = 0; i < count && (seconds <= 0 || now_seconds() - began < seconds); i++)
		run(&coverage, from + i);
	tell(&coverage);
	return 0;
}
