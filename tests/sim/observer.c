/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold (reliability.md 1), looked at after everything that happens:
 *
 *	I1	what is answered is flushed on every member of the register's ISR, on at least
 *		min_insync_replicas hosts
 *	I2	what was answered is in the log at the end, whatever crashed
 *	I3	offset and leader epoch name one batch for ever, on every host
 *	I4	what a host shows below its high watermark is what every host ever showed there; it
 *		never goes back while the host lives
 *	I5	a leader epoch has one leader
 *	I6	no record is twice in what is committed
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

/* A batch that was appended somewhere, by base offset and epoch. */
struct named {
	uint64_t base_offset;
	int32_t leader_epoch;
	struct mr_batch_header header;
	uint64_t holders; /* bit i: host i had it on stable storage, once */
};

struct epoch_leader {
	int32_t leader_epoch;
	uint32_t node;
};

struct sim_observer {
	struct named *names; /* open addressing; leader_epoch 0: free */
	size_t name_count, name_room;
	struct mr_batch_header *committed; /* in order */
	size_t committed_count, committed_room;
	uint64_t committed_end;
	int32_t committed_next[SIM_CLIENTS]; /* I6: the sequence due next */
	int32_t answered[SIM_CLIENTS];	     /* sequences below it were answered */
	struct epoch_leader *leaders;
	size_t leader_count, leader_room;
};

struct sim_observer *sim_observer_new(void)
{
	struct sim_observer *observer = calloc(1, sizeof(*observer));

	mr_assert(observer);
	return observer;
}

void sim_observer_free(struct sim_observer *observer)
{
	free(observer->names);
	free(observer->committed);
	free(observer->leaders);
	free(observer);
}

static bool same_batch(const struct mr_batch_header *a, const struct mr_batch_header *b)
{
	return a->base_offset == b->base_offset && a->leader_epoch == b->leader_epoch &&
	       a->crc == b->crc && a->record_count == b->record_count &&
	       a->producer_id == b->producer_id && a->base_sequence == b->base_sequence;
}

/* ---- I3
 * ------------------------------------------------------------------------------------------ */

static struct named *place_of(struct named *names, size_t room, uint64_t base_offset,
			      int32_t leader_epoch)
{
	uint64_t hash = (base_offset * 1024 + (uint64_t)leader_epoch) * 0x9e3779b97f4a7c15u;
	size_t at = (size_t)(hash >> 32) & (room - 1);

	while (names[at].leader_epoch &&
	       (names[at].base_offset != base_offset || names[at].leader_epoch != leader_epoch))
		at = (at + 1) & (room - 1);
	return &names[at];
}

static void grow_names(struct sim_observer *observer)
{
	size_t room = observer->name_room ? 2 * observer->name_room : 1024;
	struct named *names = calloc(room, sizeof(*names));

	mr_assert(names);
	for (size_t i = 0; i < observer->name_room; i++) {
		const struct named *old = &observer->names[i];

		if (old->leader_epoch)
			*place_of(names, room, old->base_offset, old->leader_epoch) = *old;
	}
	free(observer->names);
	observer->names = names;
	observer->name_room = room;
}

void sim_observer_appended(struct sim *sim, uint32_t node, const struct mr_batch_header *header)
{
	struct sim_observer *observer = sim->observer;
	struct named *name;

	if (2 * observer->name_count >= observer->name_room)
		grow_names(observer);
	name = place_of(observer->names, observer->name_room, header->base_offset,
			header->leader_epoch);
	if (!name->leader_epoch) {
		name->base_offset = header->base_offset;
		name->leader_epoch = header->leader_epoch;
		name->header = *header;
		observer->name_count++;
	}
	if (!same_batch(&name->header, header))
		sim_broken(sim, "I3: host %u has another batch at offset %llu of epoch %d", node,
			   (unsigned long long)header->base_offset, header->leader_epoch);
}

/* ---- I4, I6
 * --------------------------------------------------------------------------------------- */

static void commit(struct sim *sim, const struct mr_batch_header *header)
{
	struct sim_observer *observer = sim->observer;
	int32_t *next = &observer->committed_next[header->producer_id - 1];

	if (header->base_offset != observer->committed_end)
		sim_broken(sim, "I4: offset %llu is shown where %llu is due",
			   (unsigned long long)header->base_offset,
			   (unsigned long long)observer->committed_end);
	if (header->base_sequence != *next)
		sim_broken(sim, "I6: record %d of producer %lld is committed where %d is due",
			   header->base_sequence, (long long)header->producer_id, *next);
	*next += header->record_count;
	if (observer->committed_count == observer->committed_room) {
		observer->committed_room =
			observer->committed_room ? 2 * observer->committed_room : 256;
		observer->committed =
			realloc(observer->committed,
				observer->committed_room * sizeof(*observer->committed));
		mr_assert(observer->committed);
	}
	observer->committed[observer->committed_count++] = *header;
	observer->committed_end += (uint64_t)header->record_count;
}

/* Batches that a host shows now and did not before. */
static void look_at_shown(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	uint64_t shown = host->rig.partition.high_watermark, from = host->shown;
	size_t i;

	if (shown < host->shown)
		sim_broken(sim, "I4: host %u's high watermark goes back from %llu to %llu", node,
			   (unsigned long long)host->shown, (unsigned long long)shown);
	if (shown == host->shown)
		return;
	if (mr_replica_leads(&host->replica) && shown < host->epoch_start)
		sim_broken(sim,
			   "I4: host %u leads from offset %llu on and shows %llu, not committed in "
			   "its epoch",
			   node, (unsigned long long)host->epoch_start, (unsigned long long)shown);
	/* what is not kept any more is not shown either */
	if (from < host->rig.partition.log_start)
		from = host->rig.partition.log_start;
	i = sim_log_find(&host->log, from);
	if (i == host->log.count && from < shown)
		sim_broken(sim, "host %u shows %llu of a log without a batch at %llu", node,
			   (unsigned long long)shown, (unsigned long long)from);
	for (; i < host->log.count; i++) {
		const struct mr_batch_header *header = &host->log.batches[i].header;
		uint64_t end = header->base_offset + (uint64_t)header->record_count;
		size_t at = 0, high = sim->observer->committed_count;

		if (end > shown)
			break;
		if (header->base_offset >= sim->observer->committed_end) {
			commit(sim, header);
			continue;
		}
		while (at < high) {
			size_t middle = at + (high - at) / 2;

			if (sim->observer->committed[middle].base_offset < header->base_offset)
				at = middle + 1;
			else
				high = middle;
		}
		if (!same_batch(&sim->observer->committed[at], header))
			sim_broken(sim,
				   "I4: host %u shows epoch %d at offset %llu, where epoch %d was "
				   "committed",
				   node, header->leader_epoch,
				   (unsigned long long)header->base_offset,
				   sim->observer->committed[at].leader_epoch);
	}
	host->shown = shown;
}

/* ---- I5
 * ------------------------------------------------------------------------------------------ */

static void look_at_leader(struct sim *sim, uint32_t node)
{
	struct sim_observer *observer = sim->observer;
	struct sim_host *host = &sim->hosts[node];
	int32_t leader_epoch = host->rig.partition.leader_epoch;

	if (!mr_replica_leads(&host->replica))
		return;
	if (host->led_epoch != leader_epoch) {
		host->led_epoch = leader_epoch;
		host->epoch_start = host->rig.partition.log_end;
	}
	for (size_t i = 0; i < observer->leader_count; i++) {
		if (observer->leaders[i].leader_epoch != leader_epoch)
			continue;
		if (observer->leaders[i].node != node)
			sim_broken(sim, "I5: hosts %u and %u both lead epoch %d",
				   observer->leaders[i].node, node, leader_epoch);
		return;
	}
	if (observer->leader_count == observer->leader_room) {
		observer->leader_room = observer->leader_room ? 2 * observer->leader_room : 64;
		observer->leaders = realloc(observer->leaders,
					    observer->leader_room * sizeof(*observer->leaders));
		mr_assert(observer->leaders);
	}
	observer->leaders[observer->leader_count++] = (struct epoch_leader){leader_epoch, node};
}

static void look_at_durable(struct sim *sim, uint32_t node)
{
	struct sim_host *host = &sim->hosts[node];
	struct sim_observer *observer = sim->observer;

	for (; host->noted < host->log.count; host->noted++) {
		const struct mr_batch_header *header = &host->log.batches[host->noted].header;

		if (header->base_offset + (uint64_t)header->record_count > host->durable)
			return;
		place_of(observer->names, observer->name_room, header->base_offset,
			 header->leader_epoch)
			->holders |= UINT64_C(1) << node;
	}
}

void sim_observer_look(struct sim *sim, uint32_t node)
{
	if (!sim->hosts[node].alive)
		return;
	if (sim->hosts[node].log_start < sim->hosts[node].rig.partition.log_start)
		sim->hosts[node].log_start = sim->hosts[node].rig.partition.log_start;
	look_at_durable(sim, node);
	look_at_leader(sim, node);
	look_at_shown(sim, node);
}

/* R3: on the disk of each is all that anybody ever showed. */
void sim_observer_joined(struct sim *sim, uint64_t nodes)
{
	for (; nodes; nodes &= nodes - 1) {
		uint32_t node = (uint32_t)__builtin_ctzll(nodes);

		if (sim->hosts[node].durable < sim->observer->committed_end)
			sim_broken(sim, "R3: host %u is in sync from now on with %llu of %llu",
				   node, (unsigned long long)sim->hosts[node].durable,
				   (unsigned long long)sim->observer->committed_end);
	}
}

/* ---- I1, I2
 * --------------------------------------------------------------------------------------- */

static uint64_t holders_of_batch(const struct sim *sim, const struct mr_batch_header *header)
{
	const struct sim_observer *observer = sim->observer;
	uint64_t holders = place_of(observer->names, observer->name_room, header->base_offset,
				    header->leader_epoch)
				   ->holders;

	for (uint32_t i = 0; i < sim->hosts_count; i++)
		if (header->base_offset < sim->hosts[i].log_start)
			holders |= UINT64_C(1) << i;
	return holders;
}

/*
 * Which hosts ever had the batch that this record lies in on stable storage: what is answered is
 * committed, and retention may have let go of it since; or they began anew where it was gone. What
 * a disk held that is lost since was held: a client may hear late what was committed before.
 */
static uint64_t holders_of(const struct sim *sim, int64_t producer, int32_t sequence)
{
	const struct sim_observer *observer = sim->observer;

	for (size_t i = observer->committed_count; i > 0; i--) {
		const struct mr_batch_header *header = &observer->committed[i - 1];

		if (header->producer_id == producer && header->base_sequence <= sequence &&
		    sequence < header->base_sequence + header->record_count)
			return holders_of_batch(sim, header);
	}
	return 0;
}

void sim_observer_answered(struct sim *sim, uint32_t node, int64_t producer, int32_t sequence,
			   uint32_t count)
{
	int32_t *answered = &sim->observer->answered[producer - 1];
	uint64_t isr = sim->hosts[node].replica.known.isr;
	uint64_t holders = holders_of(sim, producer, sequence) &
			   holders_of(sim, producer, sequence + (int32_t)count - 1);

	if (sequence > *answered)
		sim_broken(sim, "producer %lld was answered %d before %d", (long long)producer,
			   sequence, *answered);
	if (sequence + (int32_t)count > *answered)
		*answered = sequence + (int32_t)count;
	if ((holders & isr) != isr)
		sim_broken(
			sim,
			"I1: record %d of producer %lld is answered by host %u; in sync are %llx, "
			"flushed it have %llx",
			sequence, (long long)producer, node, (unsigned long long)isr,
			(unsigned long long)holders);
	if ((uint32_t)__builtin_popcountll(holders) < sim->min_insync_replicas)
		sim_broken(sim, "I1: record %d of producer %lld is answered and on hosts %llx only",
			   sequence, (long long)producer, (unsigned long long)holders);
}

/* Everybody is alive, in sync, and at the same place. */
bool sim_observer_settled(const struct sim *sim)
{
	struct mr_coord_state state = sim_coordinator_state(sim);
	uint64_t end = sim->hosts[0].alive ? sim->hosts[0].rig.partition.log_end : 0;

	if (state.isr != (UINT64_C(1) << sim->hosts_count) - 1)
		return false;
	for (uint32_t i = 0; i < sim->hosts_count; i++) {
		const struct sim_host *host = &sim->hosts[i];

		if (!host->alive || host->rig.partition.log_end != end ||
		    host->rig.partition.high_watermark != end)
			return false;
	}
	return sim_clients_done(sim);
}

void sim_observer_finish(struct sim *sim)
{
	const struct sim_observer *observer = sim->observer;

	for (int i = 0; i < SIM_CLIENTS; i++)
		if (observer->committed_next[i] < observer->answered[i])
			sim_broken(sim, "I2: record %d of producer %d was answered and is lost",
				   observer->committed_next[i], i + 1);
	for (uint32_t i = 0; i < sim->hosts_count; i++) {
		const struct sim_log *log = &sim->hosts[i].log;
		size_t gone = observer->committed_count - log->count; /* by retention */

		if (log->count > observer->committed_count)
			sim_broken(sim, "I3: host %u holds %zu batches, %zu are committed", i,
				   log->count, observer->committed_count);
		for (size_t k = 0; k < log->count; k++)
			if (!same_batch(&log->batches[k].header, &observer->committed[gone + k]))
				sim_broken(sim, "I3: host %u differs at offset %llu", i,
					   (unsigned long long)log->batches[k].header.base_offset);
	}
}
