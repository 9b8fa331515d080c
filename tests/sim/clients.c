/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Producers. Each numbers its records, sends them in order to whichever host says that it leads,
 * and sends again, from the first that is not answered, when that host is no more or leads no
 * longer. A record is answered when the host that took it, still in the same life and epoch, shows
 * a high watermark beyond it (acks = committed).
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

#define UNANSWERED_MAX 32

struct sent {
	int32_t sequence;
	uint32_t count;
	uint64_t end_offset; /* answered when this much is committed */
};

struct client {
	int64_t id;
	int32_t next;	  /* sequence of the next new record */
	int32_t answered; /* all before it are */
	int32_t resend;	  /* where sending goes on */
	bool attached;
	uint32_t host;
	uint64_t incarnation;
	int32_t leader_epoch;
	uint64_t quiet_until_ns; /* it does nothing meanwhile: retention may take all it wrote */
	struct sent sent[UNANSWERED_MAX]; /* to that host in this epoch, oldest first */
	uint32_t sent_count;
};

struct sim_clients {
	struct client clients[SIM_CLIENTS];
};

struct sim_clients *sim_clients_new(void)
{
	struct sim_clients *clients = calloc(1, sizeof(*clients));

	mr_assert(clients);
	for (int i = 0; i < SIM_CLIENTS; i++)
		clients->clients[i].id = i + 1;
	return clients;
}

void sim_clients_free(struct sim_clients *clients)
{
	free(clients);
}

static bool still_there(const struct sim *sim, const struct client *client)
{
	const struct sim_host *host = &sim->hosts[client->host];

	return host->alive && host->incarnation == client->incarnation &&
	       mr_replica_leads(&host->replica) &&
	       host->rig.partition.leader_epoch == client->leader_epoch;
}

/* Any host that thinks that it leads: perhaps two do, and one of them wrongly. */
static void attach(struct sim *sim, struct client *client)
{
	uint32_t first = (uint32_t)sim_random(sim, sim->hosts_count);

	client->attached = false;
	for (uint32_t i = 0; i < sim->hosts_count && !client->attached; i++) {
		uint32_t node = (first + i) % sim->hosts_count;
		const struct sim_host *host = &sim->hosts[node];

		if (!host->alive || !mr_replica_leads(&host->replica))
			continue;
		client->attached = true;
		client->host = node;
		client->incarnation = host->incarnation;
		client->leader_epoch = host->rig.partition.leader_epoch;
		client->sent_count = 0;
		sim->coverage->resent += client->resend > client->answered;
		client->resend = client->answered;
	}
}

static void hear_answers(struct sim *sim, struct client *client)
{
	uint64_t committed = sim->hosts[client->host].rig.partition.high_watermark;
	uint32_t done = 0;

	while (done < client->sent_count && client->sent[done].end_offset <= committed) {
		const struct sent *sent = &client->sent[done++];

		sim_observer_answered(sim, client->host, client->id, sent->sequence, sent->count);
		sim->coverage->answered += sent->count;
		client->answered = sent->sequence + (int32_t)sent->count;
	}
	client->sent_count -= done;
	memmove(client->sent, client->sent + done, client->sent_count * sizeof(client->sent[0]));
}

/* As the worker does with a lane: what the log has is not appended again (I6). */
static void send(struct sim *sim, struct client *client)
{
	struct sim_host *host = &sim->hosts[client->host];
	struct mr_test_batch batch = {
		.producer_id = client->id,
		.sequence = client->resend,
		.records = 1 + (int32_t)sim_random(sim, SIM_BATCH_RECORDS),
		.value_bytes = 8 + (uint32_t)sim_random(sim, 100),
		.timestamp_ms = 1000000,
	};
	uint32_t duplicates;
	int32_t expected;

	if (client->resend < client->next && client->next - client->resend < batch.records)
		batch.records = client->next - client->resend; /* first what was sent before */
	switch (mr_partition_check(&host->rig.partition, client->id, 0, batch.sequence,
				   (uint32_t)batch.records, &duplicates, &expected)) {
	case MR_SEQUENCE_NEXT:
	case MR_SEQUENCE_BASE:
		if (!sim_host_append(sim, client->host, &batch))
			return;
		break;
	case MR_SEQUENCE_DUPLICATE:
		batch.records = (int32_t)duplicates;
		break;
	case MR_SEQUENCE_GAP:
	case MR_SEQUENCE_FENCED:
		sim_broken(sim,
			   "I6: producer %lld sends %d, host %u expects %d: answered records are "
			   "not in its log",
			   (long long)client->id, batch.sequence, client->host, expected);
	}
	client->resend = batch.sequence + batch.records;
	if (client->next < client->resend)
		client->next = client->resend;
	client->sent[client->sent_count++] = (struct sent){
		.sequence = batch.sequence,
		.count = (uint32_t)batch.records,
		.end_offset = host->rig.partition.log_end,
	};
}

void sim_clients_step(struct sim *sim)
{
	for (int i = 0; i < SIM_CLIENTS; i++) {
		struct client *client = &sim->clients->clients[i];

		if (sim->faults && sim_random(sim, 1000) < 2)
			client->quiet_until_ns = sim->now_ns + sim_random(sim, MS(600));
		if (sim->faults && sim->now_ns < client->quiet_until_ns)
			continue;
		if (!client->attached || !still_there(sim, client))
			attach(sim, client);
		if (!client->attached)
			continue;
		hear_answers(sim, client);
		if (client->sent_count < UNANSWERED_MAX &&
		    (sim->faults ? sim_chance(sim, 40) : client->resend < client->next))
			send(sim, client);
	}
}

bool sim_clients_done(const struct sim *sim)
{
	for (int i = 0; i < SIM_CLIENTS; i++)
		if (sim->clients->clients[i].answered < sim->clients->clients[i].next)
			return false;
	return true;
}
