/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One register with compare-and-set, and a session for each host. It is linearizable; what is not
 * is hearing from it: requests and answers are delayed and lost, and a request whose answer was
 * given up may be carried out later. A host that is cut off gives up leading before its session
 * ends.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

#define SESSION_NS MS(150)

struct request {
	uint64_t due_ns;
	uint32_t node;
	uint64_t incarnation;
	bool read;
	bool unheard; /* the answer was given up already */
	struct mr_coord_proposal proposal;
};

struct answer {
	uint64_t due_ns;
	uint32_t node;
	uint64_t incarnation;
	struct mr_coord_event event;
};

struct session {
	bool alive;    /* the engine behind it */
	bool cut;      /* it hears and says nothing */
	bool ended;    /* to the others */
	bool resigned; /* it was told */
	bool missed;   /* something was told while it was cut off */
	uint64_t heard_ns;
	uint64_t incarnation;
};

struct sim_coordinator {
	struct mr_coord_state state;
	struct request *requests;
	struct answer *answers;
	size_t request_count, request_room, answer_count, answer_room;
	struct session sessions[SIM_HOSTS_MAX];
	bool gone_told; /* that the leader of this version's session ended */
};

struct sim_coordinator *sim_coordinator_new(struct sim *sim)
{
	struct sim_coordinator *coordinator = calloc(1, sizeof(*coordinator));

	mr_assert(coordinator);
	/* as a topic is made: everybody is empty and in sync, nobody leads */
	coordinator->state = (struct mr_coord_state){
		.version = 1,
		.isr = (UINT64_C(1) << sim->hosts_count) - 1,
		.leader = MR_NODE_NONE,
	};
	return coordinator;
}

void sim_coordinator_free(struct sim_coordinator *coordinator)
{
	free(coordinator->requests);
	free(coordinator->answers);
	free(coordinator);
}

struct mr_coord_state sim_coordinator_state(const struct sim *sim)
{
	return sim->coordinator->state;
}

static uint64_t delay(struct sim *sim)
{
	if (sim->faults && sim_chance(sim, 10))
		return sim_random(sim, MS(100));
	return sim_random(sim, MS(5));
}

static void answer(struct sim *sim, uint32_t node, enum mr_coord_event_kind kind)
{
	struct sim_coordinator *coordinator = sim->coordinator;

	if (coordinator->answer_count == coordinator->answer_room) {
		coordinator->answer_room =
			coordinator->answer_room ? 2 * coordinator->answer_room : 64;
		coordinator->answers =
			realloc(coordinator->answers,
				coordinator->answer_room * sizeof(*coordinator->answers));
		mr_assert(coordinator->answers);
	}
	coordinator->answers[coordinator->answer_count++] = (struct answer){
		.due_ns = sim->now_ns + delay(sim),
		.node = node,
		.incarnation = sim->hosts[node].incarnation,
		.event = {.kind = kind, .state = coordinator->state},
	};
}

static struct request *request(struct sim *sim, uint32_t node)
{
	struct sim_coordinator *coordinator = sim->coordinator;
	struct request *made;

	if (coordinator->request_count == coordinator->request_room) {
		coordinator->request_room =
			coordinator->request_room ? 2 * coordinator->request_room : 64;
		coordinator->requests =
			realloc(coordinator->requests,
				coordinator->request_room * sizeof(*coordinator->requests));
		mr_assert(coordinator->requests);
	}
	made = &coordinator->requests[coordinator->request_count++];
	*made = (struct request){
		.due_ns = sim->now_ns + delay(sim),
		.node = node,
		.incarnation = sim->hosts[node].incarnation,
	};
	return made;
}

void sim_coordinator_read(struct sim *sim, uint32_t node)
{
	if (!sim->coordinator->sessions[node].cut)
		request(sim, node)->read = true; /* a read that is lost is made again */
}

void sim_coordinator_propose(struct sim *sim, uint32_t node,
			     const struct mr_coord_proposal *proposal)
{
	struct request *made;

	if (sim->coordinator->sessions[node].cut || (sim->faults && sim_chance(sim, 3))) {
		sim->coverage->unknown++;
		answer(sim, node,
		       MR_COORD_UNKNOWN); /* it never got there; who proposed cannot know */
		return;
	}
	made = request(sim, node);
	made->proposal = *proposal;
	if (sim->faults && sim_chance(sim, 5)) { /* given up before it is carried out */
		made->unheard = true;
		made->due_ns += sim_random(sim, MS(100));
		sim->coverage->unknown++;
		answer(sim, node, MR_COORD_UNKNOWN);
	}
}

static bool may(const struct sim_coordinator *coordinator, const struct mr_coord_proposal *proposal)
{
	if (proposal->wanted.version != coordinator->state.version + 1)
		return false;
	return proposal->guard == MR_NODE_NONE ||
	       coordinator->sessions[proposal->guard].incarnation == proposal->guard_incarnation;
}

static void tell_all(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (sim->coordinator->sessions[i].alive)
			answer(sim, i, MR_COORD_STATE);
}

/* R2: only who lost its data makes it smaller than the minimum, and only by itself (R7). */
static void check_isr(const struct sim *sim, uint32_t node, uint64_t isr)
{
	uint64_t before = sim->coordinator->state.isr;

	if ((uint32_t)__builtin_popcountll(isr) >= sim->min_insync_replicas || isr == before)
		return;
	if (isr != (before & ~(UINT64_C(1) << node)) && (isr & before) != before)
		sim_broken(sim, "R2: host %u makes the ISR %llx, fewer than %u", node,
			   (unsigned long long)isr, sim->min_insync_replicas);
}

/* Of those who join: who is still what the register takes it for. Whose disk was lost since leaves
 * by itself, once it is heard of (R7). */
static uint64_t joining(const struct sim *sim, uint64_t isr)
{
	const struct sim_coordinator *coordinator = sim->coordinator;
	uint64_t nodes = isr & ~coordinator->state.isr;

	for (uint32_t i = 0; i < sim->hosts_count; i++) {
		const struct sim_host *host = &sim->hosts[i];

		if (coordinator->sessions[i].incarnation != host->incarnation ||
		    (!host->alive && host->lost_data))
			nodes &= ~(UINT64_C(1) << i);
	}
	return nodes;
}

static void carry_out(struct sim *sim, const struct request *made)
{
	struct sim_coordinator *coordinator = sim->coordinator;
	bool done;

	if (made->read) {
		answer(sim, made->node, MR_COORD_STATE);
		return;
	}
	done = may(coordinator, &made->proposal);
	if (done) {
		check_isr(sim, made->node, made->proposal.wanted.isr);
		sim_observer_joined(sim, joining(sim, made->proposal.wanted.isr));
		coordinator->state = made->proposal.wanted;
		coordinator->gone_told = false;
	}
	if (!made->unheard && sim->faults && sim_chance(sim, 5)) {
		sim->coverage->unknown++;
		answer(sim, made->node, MR_COORD_UNKNOWN);
	} else if (!made->unheard) {
		answer(sim, made->node, done ? MR_COORD_ACCEPTED : MR_COORD_REFUSED);
	}
	if (done)
		tell_all(sim);
}

void sim_coordinator_begin(struct sim *sim, uint32_t node, uint64_t incarnation)
{
	struct session *session = &sim->coordinator->sessions[node];

	session->alive = true;
	session->ended = session->cut;
	session->resigned = session->cut;
	session->heard_ns = sim->now_ns;
	/* the new life's session ends the old one's; while cut off it is not known yet */
	if (!session->cut) {
		session->incarnation = incarnation;
		sim->coordinator->gone_told = false;
	}
}

void sim_coordinator_end(struct sim *sim, uint32_t node)
{
	sim->coordinator->sessions[node].alive = false;
}

/* It keeps its own, and is spoken to on other ways than the hosts. */
void sim_coordinator_new_disk(struct sim *sim, uint32_t node)
{
}

void sim_coordinator_connected(struct sim *sim, uint32_t a, uint32_t b)
{
}

void sim_coordinator_disconnected(struct sim *sim, uint32_t a, uint32_t b)
{
}

void sim_coordinator_cut(struct sim *sim, uint32_t node, bool cut)
{
	sim->coordinator->sessions[node].cut = cut;
}

void sim_coordinator_heal(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		sim->coordinator->sessions[i].cut = false;
}

/* The engine's own clock decides when it gives up, well before the coordinator does. */
static void keep_session(struct sim *sim, uint32_t node)
{
	struct session *session = &sim->coordinator->sessions[node];
	struct mr_coord_event resign = {.kind = MR_COORD_RESIGN};

	if (session->alive && !session->cut) {
		bool again = session->ended || session->resigned || session->missed ||
			     session->incarnation != sim->hosts[node].incarnation;

		session->heard_ns = sim->now_ns;
		session->ended = false;
		session->resigned = false;
		sim->coordinator->gone_told &= !session->missed;
		session->missed = false;
		session->incarnation = sim->hosts[node].incarnation;
		if (again)
			answer(sim, node, MR_COORD_STATE);
		return;
	}
	if (session->alive && !session->resigned &&
	    sim->now_ns - session->heard_ns > SESSION_NS * 2 / 3) {
		session->resigned = true;
		mr_replica_coordinated(&sim->hosts[node].replica, &resign);
	}
	if (sim->now_ns - session->heard_ns > SESSION_NS)
		session->ended = true;
}

static bool leader_is_gone(const struct sim *sim)
{
	const struct sim_coordinator *coordinator = sim->coordinator;
	const struct session *session;

	if (coordinator->state.leader == MR_NODE_NONE)
		return false; /* everybody sees that in the state */
	session = &coordinator->sessions[coordinator->state.leader];
	return session->ended || session->incarnation != coordinator->state.leader_incarnation;
}

void sim_coordinator_step(struct sim *sim)
{
	struct sim_coordinator *coordinator = sim->coordinator;
	size_t i;

	for (uint32_t node = 0; node < sim->hosts_count; node++)
		keep_session(sim, node);
	for (i = 0; i < coordinator->request_count;) {
		struct request made = coordinator->requests[i];

		if (made.due_ns > sim->now_ns) {
			i++;
			continue;
		}
		coordinator->requests[i] = coordinator->requests[--coordinator->request_count];
		carry_out(sim, &made);
	}
	if (!coordinator->gone_told && leader_is_gone(sim)) {
		coordinator->gone_told = true;
		for (uint32_t node = 0; node < sim->hosts_count; node++)
			if (coordinator->sessions[node].alive)
				answer(sim, node, MR_COORD_LEADER_GONE);
	}
	for (i = 0; i < coordinator->answer_count;) {
		struct answer given = coordinator->answers[i];
		struct session *session = &coordinator->sessions[given.node];

		if (given.due_ns > sim->now_ns) {
			i++;
			continue;
		}
		coordinator->answers[i] = coordinator->answers[--coordinator->answer_count];
		if (!session->alive || sim->hosts[given.node].incarnation != given.incarnation)
			continue; /* to an engine that is no more */
		if (session->cut && (given.event.kind == MR_COORD_ACCEPTED ||
				     given.event.kind == MR_COORD_REFUSED)) {
			given.event.kind = MR_COORD_UNKNOWN;
		} else if (session->cut && given.event.kind != MR_COORD_UNKNOWN) {
			session->missed = true;
			continue;
		}
		mr_replica_coordinated(&sim->hosts[given.node].replica, &given.event);
		sim_observer_look(sim, given.node);
	}
}
