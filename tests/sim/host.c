/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host of the simulated cluster: what a worker does with the protocol, in the same order, over
 * the rig that tests use for a log (tests/support/log_rig.h).
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

#define ACTIONS_A_TURN 32
#define WINDOW_BYTES   4096u
#define PUT_OFF_TURNS  4

/* ---- starting and ending
 * ---------------------------------------------------------------------------- */

uint64_t sim_host_now(const struct sim *sim, uint32_t node)
{
	return sim->now_ns + sim->hosts[node].skew_ns;
}

void sim_host_start(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	struct mr_replica_options options = {
		.self = node,
		.incarnation = mr_incarnation(host->log_id, ++host->starts),
		.replicas = (UINT64_C(1) << sim->hosts_count) - 1,
		.min_insync_replicas = sim->min_insync_replicas,
		.window_bytes = WINDOW_BYTES,
		.lag_max_ns = MS(120),
		.ask_again_ns = MS(50),
		.heartbeat_ns = MS(12),
		.quiet_ns = MS(40),
	};

	mr_assert(!host->alive);
	host->incarnation = options.incarnation;
	host->skew_ns = sim_random(sim, MS(100000)); /* no two clocks agree */
	sim_disk_open(sim, node);
	options.lost_data = host->lost_data;
	mr_replica_init(&host->replica, &options, &host->rig.partition,
			host->rig.recovered.log_start, host->rig.recovered.start.offset,
			sim_host_now(sim, node));
	host->alive = true;
	host->put_off = 0;
	host->shown = host->rig.partition.high_watermark;
	sim_coordinator_begin(sim, node, host->incarnation);
}

static void note_life(struct sim *sim, const struct sim_host *host)
{
	sim->coverage->elections += host->replica.elections;
	sim->coverage->truncations += host->replica.truncations;
	sim->coverage->shrinks += host->replica.shrinks;
	sim->coverage->expansions += host->replica.expansions;
}

void sim_host_crash(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];

	mr_assert(host->alive);
	note_life(sim, host);
	sim->coverage->torn += host->rig.partition.flushed < host->rig.partition.log_end;
	mr_io_fake_crash(host->disk, sim_random(sim, UINT64_MAX));
	sim_disk_close(host);
	host->alive = false;
	sim_network_lose(sim, node);
	sim_coordinator_end(sim, node);
}

/* As the engine does that finds no checkpoint. */
static void begin_directory(struct sim *sim, struct sim_host *host)
{
	host->starts = 0;
	for (size_t i = 0; i < sizeof(host->log_id); i++)
		host->log_id[i] = (uint8_t)sim_random(sim, 256);
}

void sim_host_new_disk(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];

	mr_assert(!host->alive);
	mr_io_close(host->disk);
	sim_coordinator_new_disk(sim, node);
	begin_directory(sim, host);
	host->disk = mr_io_fake_new(sim_random(sim, UINT64_MAX));
	host->durable = 0;
	host->lost_data = true;
	sim_log_clear(&host->log);
}

void sim_host_lose_checkpoint(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];

	mr_assert(!host->alive);
	(void)mr_io_remove(host->disk, "checkpoint.0", NULL); /* perhaps there is none */
	(void)mr_io_remove(host->disk, "checkpoint.1", NULL);
	(void)mr_io_sync_directory(host->disk, ".", NULL);
	begin_directory(sim, host);
	host->durable = 0;
	host->lost_data = true;
	sim_log_clear(&host->log);
}

void sim_host_free(struct sim *sim, struct sim_host *host)
{
	if (host->alive)
		note_life(sim, host);
	sim_disk_free(host);
}

/* ---- appending
 * ------------------------------------------------------------------------------------- */

static void appended(struct sim *sim, uint32_t node, const uint8_t *bytes,
		     const struct mr_batch_header *header)
{
	sim_log_add(&sim->hosts[node].log, bytes, header);
	sim_observer_appended(sim, node, header);
}

bool sim_host_append(struct sim *sim, uint32_t node, struct mr_test_batch *batch)
{
	struct sim_host *host = &sim->hosts[node];
	struct mr_batch_header header;
	uint8_t bytes[2048];
	uint32_t count;

	mr_assert(mr_replica_leads(&host->replica));
	host->rig.leader_epoch = host->rig.partition.leader_epoch;
	if (mr_test_rig_append(&host->rig, batch) != MR_LOG_ROOM)
		return false;
	count = mr_test_batch_encode(batch, bytes, sizeof(bytes)); /* the same again */
	mr_assert(mr_batch_decode_header(bytes, count, &header) == 0);
	appended(sim, node, bytes, &header);
	return true;
}

/* What the feed will do as well: a batch from a peer is checked before it is anything. */
static void take_batches(struct sim *sim, uint32_t node, const struct mr_feed_entry *entry,
			 const uint8_t *bytes)
{
	struct sim_host *host = &sim->hosts[node];
	struct mr_feed_entry taken = *entry;
	uint32_t at = 0;

	while (at < entry->bytes) {
		struct mr_batch_header header;

		if (mr_batch_decode_header(bytes + at, entry->bytes - at, &header) < 0)
			sim_broken(sim, "host %u was sent what is no batch", node);
		if (mr_test_rig_append_bytes(&host->rig, bytes + at, &header) != MR_LOG_ROOM)
			break; /* as if the rest was lost: it is asked for again */
		appended(sim, node, bytes + at, &header);
		at += header.total_bytes;
	}
	taken.bytes = at;
	taken.end_offset = host->rig.partition.log_end;
	if (at > 0)
		mr_replica_took(&host->replica, &taken);
}

void sim_host_receive(struct sim *sim, uint32_t node, uint32_t from,
		      const struct mr_feed_entry *entry, const uint8_t *bytes)
{
	struct sim_host *host = &sim->hosts[node];

	mr_replica_time(&host->replica, sim_host_now(sim, node));
	if (entry->kind == MR_FEED_STATE) {
		if (mr_replica_take_state(&host->replica, from, entry) == MR_TAKE_APPEND)
			sim_disk_take_state(sim, node, entry, bytes);
	} else if (entry->kind != MR_FEED_BATCHES) {
		mr_replica_received(&host->replica, from, entry);
	} else if (mr_replica_take(&host->replica, from, entry) == MR_TAKE_APPEND) {
		take_batches(sim, node, entry, bytes);
	}
	sim_observer_look(sim, node);
}

/* ---- a turn
 * ---------------------------------------------------------------------------------------- */

static void send_batches(struct sim *sim, uint32_t node, uint32_t to)
{
	struct sim_host *host = &sim->hosts[node];
	uint64_t offset, limit = mr_replica_sendable(&host->replica, to, &offset);
	struct mr_feed_entry entry;
	uint8_t bytes[8192];
	size_t i;

	if (!limit)
		return;
	i = sim_log_find(&host->log, offset);
	if (i == host->log.count)
		sim_broken(sim, "host %u is to send from offset %llu, where no batch begins", node,
			   (unsigned long long)offset);
	mr_replica_describe(&host->replica, to, &entry);
	entry.offset = offset;
	for (; i < host->log.count; i++) {
		const struct sim_batch *batch = &host->log.batches[i];

		if (entry.bytes + batch->header.total_bytes > limit ||
		    entry.bytes + batch->header.total_bytes > sizeof(bytes))
			break;
		memcpy(bytes + entry.bytes, batch->bytes, batch->header.total_bytes);
		entry.bytes += batch->header.total_bytes;
		entry.end_offset = batch->header.base_offset + (uint64_t)batch->header.record_count;
		if (sim_chance(sim, 30))
			break; /* more goes into the next message */
	}
	if (!entry.bytes)
		return;
	sim_network_send(sim, node, to, &entry, bytes);
	mr_replica_sent(&host->replica, to, &entry);
}

static uint64_t sendable(const struct sim *sim, uint32_t node)
{
	uint64_t nodes = 0;

	for (uint32_t i = 0; i < sim->hosts_count; i++)
		nodes |= (uint64_t)sim_network_linked(sim, node, i) << i;
	return nodes;
}

static void send_entry(struct sim *sim, uint32_t node, const struct mr_replica_action *action)
{
	const uint8_t *bytes = NULL;

	if (action->entry.kind == MR_FEED_STATE)
		bytes = sim->hosts[node].kept + action->entry.at;
	sim_network_send(sim, node, action->node, &action->entry, bytes);
}

/* False: there is nothing more to do, or nobody any more to do it. */
static bool act(struct sim *sim, uint32_t node)
{
	struct mr_replica_action action =
		mr_replica_next(&sim->hosts[node].replica, sendable(sim, node));

	switch (action.kind) {
	case MR_ACTION_NOTHING:
		return false;
	case MR_ACTION_READ:
		sim_coordinator_read(sim, node);
		return true;
	case MR_ACTION_PROPOSE:
		if (!(action.proposal.wanted.isr >> node & 1))
			sim->hosts[node].leaves_until_ns = sim->now_ns + MS(400);
		sim_coordinator_propose(sim, node, &action.proposal);
		return true;
	case MR_ACTION_TRUNCATE:
		return sim_disk_truncate(sim, node, &action);
	case MR_ACTION_SEND:
		send_entry(sim, node, &action);
		return true;
	case MR_ACTION_KEEP_STATE:
		sim_disk_keep_state(sim, node);
		return true;
	case MR_ACTION_DROP_STATE:
		sim_disk_drop_state(sim, node);
		return true;
	}
	return false;
}

static void turn_log(struct sim *sim, struct sim_host *host)
{
	uint64_t before = host->rig.partition.flushed;
	struct mr_error err = {0};

	host->rig.leader_epoch = host->rig.partition.leader_epoch;
	/* a disk may do nothing for a while, and then all of it */
	if (sim->faults && sim_random(sim, 1000) < 5)
		host->stalled_until_ns = sim->now_ns + sim_random(sim, MS(200));
	mr_io_fake_allow(host->disk,
			 host->stalled_until_ns > sim->now_ns ? 0 : (uint32_t)sim_random(sim, 3));
	sim->coverage->completions += (uint64_t)mr_test_rig_turn(&host->rig, sim_chance(sim, 20));
	if (sim_chance(sim, 50) && !mr_test_rig_chore(&host->rig, &err))
		sim_broken(sim, "a chore failed: %s", err.what);
	if (sim_chance(sim, 50) && !mr_test_rig_spare(&host->rig, &err))
		sim_broken(sim, "no spare could be made: %s", err.what);
	if (host->rig.partition.flushed > before)
		(void)mr_replica_flushed(&host->replica); /* the observer looks at it */
	host->durable = host->rig.partition.flushed;
}

/* A worker that answered its producers may wait some turns for their next records. */
static void put_off(struct sim *sim, struct sim_host *host)
{
	if (host->put_off)
		host->put_off--;
	else if (mr_replica_untold(&host->replica) && sim_chance(sim, 50))
		host->put_off = 1 + (uint32_t)sim_random(sim, PUT_OFF_TURNS);
	if (!mr_replica_untold(&host->replica))
		host->put_off = 0;
	sim->coverage->put_off += host->put_off > 0;
	mr_replica_put_off(&host->replica, host->put_off > 0);
}

void sim_host_turn(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];

	mr_replica_time(&host->replica, sim_host_now(sim, node));
	turn_log(sim, host);
	sim_disk_turn(sim, node);
	put_off(sim, host);
	for (int i = 0; i < ACTIONS_A_TURN && act(sim, node); i++)
		;
	if (!host->alive)
		return;
	host->lost_data = host->replica.void_log || host->replica.options.lost_data;
	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (sim_network_linked(sim, node, i))
			send_batches(sim, node, i);
	sim_observer_look(sim, node);
}
