/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static coordinator in the place of the fake one: one on each host, what they say to each
 * other delayed and lost, what they save lost in a crash before it is done. And a person who
 * promotes: by the owner's hand where it is up; taken over only where the leader is stopped, and to
 * a host that has all that was committed, which the simulator knows and a person is told to make
 * sure of.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check.h"
#include "coord_static.h"
#include "world.h"

#define TIME_FACTOR 20 /* its time-outs are a person's; here all is faster */
#define FIRST	    0  /* leads by configuration */

struct notice {
	uint64_t due_ns;
	uint32_t from, to;
	uint64_t connection;
	char *text;
};

struct place {
	struct sim *sim;
	uint32_t node;
	struct mr_coord *coord; /* NULL: the host is dead */
	uint8_t *disk, *saving;
	size_t disk_bytes, saving_bytes;
	uint64_t saved_ns; /* when it is done */
	struct mr_coord_state durable;
};

struct sim_coordinator {
	struct mr_clock clock; /* first: monotonic_ns() finds the rest by it */
	const struct sim *sim;
	struct place places[SIM_HOSTS_MAX];
	uint64_t connections[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* 0: none */
	uint64_t connection_count;
	struct notice *notices;
	size_t count, room;
	struct mr_coord_state newest;	/* durable anywhere */
	struct mr_coord_state accepted; /* durable with all that are in sync by it */
	bool promoting;			/* one person does one thing at a time */
};

static const struct mr_coord_key key = {.topic_id = {1}, .partition = 0};

static uint64_t monotonic_ns(const struct mr_clock *clock)
{
	return ((const struct sim_coordinator *)clock)->sim->now_ns * TIME_FACTOR;
}

struct sim_coordinator *sim_coordinator_new(struct sim *sim)
{
	struct sim_coordinator *coordinator = calloc(1, sizeof(*coordinator));

	mr_assert(coordinator);
	coordinator->clock.monotonic_ns = monotonic_ns;
	coordinator->sim = sim;
	for (uint32_t i = 0; i < SIM_HOSTS_MAX; i++)
		coordinator->places[i] = (struct place){.sim = sim, .node = i};
	coordinator->newest = (struct mr_coord_state){
		.version = 1, .isr = (UINT64_C(1) << sim->hosts_count) - 1, .leader = FIRST};
	coordinator->accepted = coordinator->newest;
	return coordinator;
}

static void close_place(struct place *place)
{
	if (place->coord)
		place->coord->operations->close(place->coord);
	place->coord = NULL;
	free(place->saving);
	place->saving = NULL;
}

void sim_coordinator_free(struct sim_coordinator *coordinator)
{
	for (uint32_t i = 0; i < SIM_HOSTS_MAX; i++) {
		close_place(&coordinator->places[i]);
		free(coordinator->places[i].disk);
	}
	for (size_t i = 0; i < coordinator->count; i++)
		free(coordinator->notices[i].text);
	free(coordinator->notices);
	free(coordinator);
}

struct mr_coord_state sim_coordinator_state(const struct sim *sim)
{
	return sim->coordinator->accepted;
}

/* ---- what it is given ------------------------------------------------------------------------ */

static int save(void *arg, const void *bytes, size_t count)
{
	struct place *place = arg;
	struct sim *sim = place->sim;

	mr_assert(!place->saving);
	place->saving = malloc(count);
	mr_assert(place->saving);
	memcpy(place->saving, bytes, count);
	place->saving_bytes = count;
	place->saved_ns = sim->now_ns + sim_random(sim, MS(4));
	if (sim->faults && sim_chance(sim, 10)) /* a disk that stalls */
		place->saved_ns += sim_random(sim, MS(100));
	return 0;
}

static void notify(void *arg, uint32_t node, const char *text, size_t bytes)
{
	struct place *place = arg;
	struct sim *sim = place->sim;
	struct sim_coordinator *coordinator = sim->coordinator;

	if (sim->faults && sim_chance(sim, 3)) {
		sim->coverage->unknown++;
		return;
	}
	if (coordinator->count == coordinator->room) {
		coordinator->room = coordinator->room ? 2 * coordinator->room : 64;
		coordinator->notices = realloc(coordinator->notices,
					       coordinator->room * sizeof(*coordinator->notices));
		mr_assert(coordinator->notices);
	}
	coordinator->notices[coordinator->count++] = (struct notice){
		.due_ns = sim->now_ns +
			  sim_random(sim, MS(sim->faults && sim_chance(sim, 10) ? 60 : 3)),
		.from = place->node,
		.to = node,
		.connection = coordinator->connections[place->node][node],
		.text = strndup(text, bytes),
	};
}

void sim_coordinator_begin(struct sim *sim, uint32_t node, uint64_t incarnation)
{
	struct place *place = &sim->coordinator->places[node];
	struct mr_coord_static_options options = {
		.self = node,
		.incarnation = incarnation,
		.save = save,
		.notify = notify,
		.arg = place,
		.clock = &sim->coordinator->clock,
	};
	struct mr_error err = {0};

	if (mr_coord_static_open(&options, place->disk, place->disk_bytes, &place->coord, &err) < 0)
		sim_broken(sim, "host %u cannot read its registers: %s", node, err.what);
	if (mr_coord_static_create(place->coord, &key, (UINT64_C(1) << sim->hosts_count) - 1, FIRST,
				   &err) < 0)
		sim_broken(sim, "host %u has no register: %s", node, err.what);
	if (sim->hosts[node].lost_data)
		mr_coord_static_doubt(place->coord, &key);
	if (place->coord->operations->watch(place->coord, &key, &err) < 0)
		sim_broken(sim, "host %u has no register: %s", node, err.what);
}

void sim_coordinator_end(struct sim *sim, uint32_t node)
{
	close_place(&sim->coordinator->places[node]);
}

void sim_coordinator_new_disk(struct sim *sim, uint32_t node)
{
	struct place *place = &sim->coordinator->places[node];
	struct mr_coord_state *newest = &sim->coordinator->newest;

	free(place->disk);
	place->disk = NULL;
	place->disk_bytes = 0;
	place->durable = (struct mr_coord_state){0};
	/* what was with this host alone never was */
	*newest = (struct mr_coord_state){0};
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (sim->coordinator->places[i].durable.version > newest->version)
			*newest = sim->coordinator->places[i].durable;
}

void sim_coordinator_connected(struct sim *sim, uint32_t a, uint32_t b)
{
	struct sim_coordinator *coordinator = sim->coordinator;

	coordinator->connections[a][b] = ++coordinator->connection_count;
	coordinator->connections[b][a] = coordinator->connection_count;
	mr_coord_static_connected(coordinator->places[a].coord, b, sim->hosts[b].incarnation);
	mr_coord_static_connected(coordinator->places[b].coord, a, sim->hosts[a].incarnation);
}

void sim_coordinator_disconnected(struct sim *sim, uint32_t a, uint32_t b)
{
	struct sim_coordinator *coordinator = sim->coordinator;

	coordinator->connections[a][b] = coordinator->connections[b][a] = 0;
	if (coordinator->places[a].coord)
		mr_coord_static_disconnected(coordinator->places[a].coord, b);
	if (coordinator->places[b].coord)
		mr_coord_static_disconnected(coordinator->places[b].coord, a);
}

/* ---- what a host asks ------------------------------------------------------------------------ */

void sim_coordinator_read(struct sim *sim, uint32_t node)
{
	struct mr_coord *coord = sim->coordinator->places[node].coord;

	if (coord->operations->read(coord, &key, NULL) < 0)
		sim_broken(sim, "host %u has no register", node);
}

void sim_coordinator_propose(struct sim *sim, uint32_t node,
			     const struct mr_coord_proposal *proposal)
{
	struct mr_coord *coord = sim->coordinator->places[node].coord;

	if (coord->operations->propose(coord, &key, proposal, NULL) < 0)
		sim_broken(sim, "host %u has no register", node);
}

/* It speaks on the hosts' own connections. */
void sim_coordinator_cut(struct sim *sim, uint32_t node, bool cut)
{
}

void sim_coordinator_heal(struct sim *sim)
{
}

/* ---- a person -------------------------------------------------------------------------------- */

static void promoted(void *arg, int status, const struct mr_error *err)
{
	struct place *place = arg;

	place->sim->coverage->promotions += status == 0;
	place->sim->coordinator->promoting = false;
}

/* The host it names, or the one before that gave up. */
static bool leader_is_stopped(const struct sim *sim)
{
	const struct mr_coord_state *newest = &sim->coordinator->newest;

	return newest->leader != MR_NODE_NONE && !sim->hosts[newest->leader].alive;
}

static void promote(struct sim *sim)
{
	struct sim_coordinator *coordinator = sim->coordinator;
	uint32_t node = (uint32_t)sim_random(sim, sim->hosts_count);
	struct mr_coord_promotion promotion = {
		.key = key,
		.to = (uint32_t)sim_random(sim, sim->hosts_count),
		.min_insync_replicas = sim->min_insync_replicas,
		.done = promoted,
		.arg = &coordinator->places[node],
	};
	struct mr_error err = {0};
	uint64_t members;

	if (!coordinator->places[node].coord || coordinator->promoting)
		return;
	if (leader_is_stopped(sim)) {
		members = coordinator->newest.isr & ~(UINT64_C(1) << coordinator->newest.leader);
		promotion.to = node;
		promotion.accept_loss = (members >> node & 1) && !sim->hosts[node].lost_data;
		sim->coverage->takeovers += promotion.accept_loss;
	}
	coordinator->promoting =
		mr_coord_static_promote(coordinator->places[node].coord, &promotion, &err) == 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

/*
 * Of those who join: who has a disk to join with. One that was lost since leaves by itself (R7),
 * and has left where a newer version says so on its disk: it may hold the next beginning already.
 */
static uint64_t joining(const struct sim *sim, const struct mr_coord_state *state)
{
	const struct sim_coordinator *coordinator = sim->coordinator;
	uint64_t nodes = state->isr & ~coordinator->accepted.isr;

	for (uint32_t i = 0; i < sim->hosts_count; i++) {
		const struct mr_coord_state *durable = &coordinator->places[i].durable;
		bool left = durable->version > state->version && !(durable->isr >> i & 1);

		if (sim->hosts[i].lost_data || left)
			nodes &= ~(UINT64_C(1) << i);
	}
	return nodes;
}

/* By what lies on the disks, not by what the coordinators think. */
static void note_accepted(struct sim *sim, const struct mr_coord_state *state)
{
	struct sim_coordinator *coordinator = sim->coordinator;

	if (state->version <= coordinator->accepted.version)
		return;
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (state->isr >> i & 1 && coordinator->places[i].durable.version < state->version)
			return;
	sim_observer_joined(sim, joining(sim, state));
	coordinator->accepted = *state;
}

static void note_durable(struct sim *sim, struct place *place)
{
	struct mr_coord_state *newest = &sim->coordinator->newest;
	uint64_t not_heard_of;

	if (mr_coord_static_known(place->coord, &key, &place->durable, &not_heard_of) == 0 &&
	    place->durable.version > newest->version)
		*newest = place->durable;
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		note_accepted(sim, &sim->coordinator->places[i].durable);
}

static void turn(struct sim *sim, struct place *place)
{
	struct mr_coord_event event;

	mr_coord_static_time(place->coord);
	if (place->saving && place->saved_ns <= sim->now_ns) {
		free(place->disk);
		place->disk = place->saving;
		place->disk_bytes = place->saving_bytes;
		place->saving = NULL;
		mr_coord_static_saved(place->coord, 0);
	}
	note_durable(sim, place);
	do {
		event = place->coord->operations->next(place->coord);
		mr_replica_coordinated(&sim->hosts[place->node].replica, &event);
		sim_observer_look(sim, place->node);
	} while (event.kind != MR_COORD_NOTHING);
}

static void deliver(struct sim *sim, const struct notice *notice)
{
	struct sim_coordinator *coordinator = sim->coordinator;
	struct mr_coord *coord = coordinator->places[notice->to].coord;
	struct mr_error err = {0};

	if (!coord || coordinator->connections[notice->from][notice->to] != notice->connection ||
	    sim_network_is_cut(sim, notice->from, notice->to))
		return;
	if (mr_coord_static_heard(coord, notice->from, notice->text, strlen(notice->text), &err) <
	    0)
		sim_broken(sim, "%s", err.what);
}

void sim_coordinator_step(struct sim *sim)
{
	struct sim_coordinator *coordinator = sim->coordinator;

	/* what is lost and late may come out of order as well: nothing may lean on it */
	for (size_t i = 0; i < coordinator->count;) {
		struct notice notice = coordinator->notices[i];

		if (notice.due_ns > sim->now_ns) {
			i++;
			continue;
		}
		coordinator->notices[i] = coordinator->notices[--coordinator->count];
		deliver(sim, &notice);
		free(notice.text);
	}
	for (uint32_t node = 0; node < sim->hosts_count; node++)
		if (coordinator->places[node].coord)
			turn(sim, &coordinator->places[node]);
	if (sim->faults && sim_random(sim, 1000) < (leader_is_stopped(sim) ? 60 : 6))
		promote(sim);
}
