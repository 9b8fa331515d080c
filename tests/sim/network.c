/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between hosts. Between two hosts there is at most one connection; both see it come and
 * go. While faults are on, messages are lost, doubled and reordered inside a connection as well,
 * which TCP would never do: the protocol does not lean on it. A message of a connection that is
 * gone never arrives.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

struct message {
	uint64_t due_ns;
	uint64_t connection;
	uint32_t from, to;
	struct mr_feed_entry entry;
	uint8_t *bytes;
};

struct link {
	uint64_t connection; /* 0: none */
	uint64_t retry_ns;   /* not again before */
};

struct sim_network {
	struct message *messages;
	size_t count, room;
	uint64_t connections;
	struct link links[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* [lower][higher] */
	bool cut[SIM_HOSTS_MAX][SIM_HOSTS_MAX];		 /* [from][to] */
};

struct sim_network *sim_network_new(void)
{
	struct sim_network *network = calloc(1, sizeof(*network));

	mr_assert(network);
	return network;
}

void sim_network_free(struct sim_network *network)
{
	for (size_t i = 0; i < network->count; i++)
		free(network->messages[i].bytes);
	free(network->messages);
	free(network);
}

static struct link *link_of(const struct sim *sim, uint32_t a, uint32_t b)
{
	return &sim->network->links[a < b ? a : b][a < b ? b : a];
}

bool sim_network_linked(const struct sim *sim, uint32_t from, uint32_t to)
{
	return from != to && link_of(sim, from, to)->connection != 0;
}

static void add(struct sim *sim, uint32_t from, uint32_t to, const struct mr_feed_entry *entry,
		const uint8_t *bytes)
{
	struct sim_network *network = sim->network;
	uint64_t delay_ns = sim_random(sim, MS(2));

	if (sim->faults && sim_chance(sim, 5))
		delay_ns += sim_random(sim, MS(80));
	if (network->count == network->room) {
		network->room = network->room ? 2 * network->room : 256;
		network->messages =
			realloc(network->messages, network->room * sizeof(*network->messages));
		mr_assert(network->messages);
	}
	network->messages[network->count] = (struct message){
		.due_ns = sim->now_ns + delay_ns,
		.connection = link_of(sim, from, to)->connection,
		.from = from,
		.to = to,
		.entry = *entry,
	};
	if (entry->bytes) {
		uint8_t *copy = malloc(entry->bytes);

		mr_assert(copy);
		memcpy(copy, bytes, entry->bytes);
		network->messages[network->count].bytes = copy;
	}
	network->count++;
}

void sim_network_send(struct sim *sim, uint32_t from, uint32_t to,
		      const struct mr_feed_entry *entry, const uint8_t *bytes)
{
	mr_assert(sim_network_linked(sim, from, to));
	if (sim->faults && sim_chance(sim, 2))
		return;
	if (sim->network->cut[from][to])
		return;
	add(sim, from, to, entry, bytes);
	if (sim->faults && sim_chance(sim, 2))
		add(sim, from, to, entry, bytes);
}

static void deliver(struct sim *sim, const struct message *message)
{
	if (!sim->hosts[message->to].alive ||
	    link_of(sim, message->from, message->to)->connection != message->connection)
		return;
	sim->coverage->delivered++;
	sim_host_receive(sim, message->to, message->from, &message->entry, message->bytes);
}

static void unlink_hosts(struct sim *sim, uint32_t a, uint32_t b)
{
	struct link *link = link_of(sim, a, b);

	if (!link->connection)
		return;
	link->connection = 0;
	link->retry_ns = sim->now_ns + sim_random(sim, sim->faults ? MS(60) : MS(10));
	sim_coordinator_disconnected(sim, a, b);
	if (sim->hosts[a].alive)
		mr_replica_disconnected(&sim->hosts[a].replica, b);
	if (sim->hosts[b].alive)
		mr_replica_disconnected(&sim->hosts[b].replica, a);
}

static void connect_hosts(struct sim *sim, uint32_t a, uint32_t b)
{
	struct sim_network *network = sim->network;
	struct link *link = link_of(sim, a, b);
	bool watched = (sim->seed / 2 + a + b) % 4 > 0; /* one of them may be of an older version */

	if (link->connection || link->retry_ns > sim->now_ns || !sim->hosts[a].alive ||
	    !sim->hosts[b].alive || network->cut[a][b] || network->cut[b][a])
		return;
	link->connection = ++network->connections;
	mr_replica_connected(&sim->hosts[a].replica, b, sim->hosts[b].incarnation, watched);
	mr_replica_connected(&sim->hosts[b].replica, a, sim->hosts[a].incarnation, watched);
	sim_coordinator_connected(sim, a, b);
}

void sim_network_step(struct sim *sim)
{
	struct sim_network *network = sim->network;
	size_t i = 0;

	for (uint32_t a = 0; a < sim->hosts_count; a++)
		for (uint32_t b = a + 1; b < sim->hosts_count; b++)
			connect_hosts(sim, a, b);
	while (i < network->count) {
		struct message message = network->messages[i];

		if (message.due_ns > sim->now_ns) {
			i++;
			continue;
		}
		network->messages[i] = network->messages[--network->count]; /* out of order, too */
		deliver(sim, &message);
		free(message.bytes);
	}
}

void sim_network_lose(struct sim *sim, uint32_t node)
{
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (i != node)
			unlink_hosts(sim, node, i);
}

void sim_network_reset(struct sim *sim, uint32_t a, uint32_t b)
{
	unlink_hosts(sim, a, b);
}

void sim_network_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut)
{
	sim->network->cut[from][to] = cut;
}

bool sim_network_is_cut(const struct sim *sim, uint32_t from, uint32_t to)
{
	return sim->network->cut[from][to];
}

void sim_network_heal(struct sim *sim)
{
	memset(sim->network->cut, 0, sizeof(sim->network->cut));
}
