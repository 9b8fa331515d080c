/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows a turn of a worker, on its thread, when all that the turn did can be seen: a rest
 * after a small take, or, where there was nothing to do, spinning, yielding, sleeping. While a
 * write is out the thread sleeps in the queue instead of spinning: the kernel finishes writes on
 * this very core.
 *
 * A lane's producer rings the worker's bell while the lane says 'asleep'. It is said when the
 * worker is about to park, and taken back not when it wakes but when it finds something in that
 * lane: so a wake-up costs nothing for lanes that stay empty, and neither does the next sleep.
 * Whoever was told rings whatever this thread does meanwhile, and every sleep is followed by a
 * turn, which looks at all lanes.
 */
#include <sched.h>

#include "base/mailbox.h"
#include "doorbell.h"
#include "worker_replica.h"

#define SPIN_TURNS     200 /* nothing to do: look this often before yielding */
#define YIELD_TURNS    20  /* then give the core away this often before parking */
#define FEW_PARTITIONS 16  /* a turn over so many is still short */
#define PARK_MS	       250
/* A write is out: its completion ends the sleep earlier. What lanes bring meanwhile could not be
 * written before it, so the looks at them get rarer; but who is answered from memory waits less. */
#define IN_FLIGHT_WAIT_NS	 200000u
#define IN_FLIGHT_DOUBLINGS	 2
#define IN_FLIGHT_WAIT_PROMPT_NS 50000u
#define SMALL_TAKE_BYTES	 4096u
#define REST_PAUSES		 16

static bool waiting_for_room(const struct mr_worker *worker)
{
	uint32_t i;

	for (i = 0; i < worker->partition_count; i++)
		if (worker->partitions[i]->waiting_for_room)
			return true;
	return false;
}

/* Says 'asleep' in a lane and looks once more. False: there is something in it. */
static bool tell_to_ring(struct mr_worker_lane *lane)
{
	const struct mr_worker_replica *replica = lane->partition->replica;

	lane->asleep = true;
	/* the flag before the look: Dekker with the producer, see doorbell.h */
	mr_lane_set_asleep(&lane->reader, true);
	if (replica && !mr_worker_replica_drains(replica) && !replica->forwarder.may)
		return true; /* whatever is in it, nothing is done about it here */
	return lane->reason != MR_LANE_OPEN || lane->stopped ||
	       mr_lane_reader_poll(&lane->reader, NULL) == 0;
}

/* False: a lane that has been told only now has something. */
static bool tell_lanes(struct mr_worker *worker)
{
	bool empty = true;
	uint32_t i, j;

	for (i = 0; i < worker->partition_count; i++)
		for (j = 0; j < worker->partitions[i]->lane_count; j++) {
			struct mr_worker_lane *lane = worker->partitions[i]->lanes[j];

			if (!lane->asleep)
				empty &= tell_to_ring(lane);
		}
	return empty;
}

/* Who brings something from now on rings. False: something is there. */
static bool tell_others(struct mr_worker *worker)
{
	struct mr_feed_port *port = worker->options.port;
	bool quiet = mr_mailbox_sleep(worker->requests);

	return (!port || mr_feed_port_sleep(port, mr_worker_parcels_awaited(worker))) && quiet;
}

static void tell_awake(struct mr_worker *worker)
{
	mr_mailbox_wake(worker->requests);
	if (worker->options.port)
		mr_feed_port_wake(worker->options.port);
}

/* Nothing is out, so no write can end the sleep: it is the bells' alone, not the queue's. */
static void park(struct mr_worker *worker)
{
	bool quiet = tell_others(worker);

	if (tell_lanes(worker) && quiet) {
		mr_counter_add(worker->options.counters[MR_COUNT_PARKS], 1);
		worker->rung = mr_doorbell_set_wait(worker->bells,
						    mr_worker_replica_park_ms(worker, PARK_MS));
	} else {
		mr_doorbell_set_clear(worker->bells);
	}
	tell_awake(worker);
}

static uint64_t in_flight_wait_ns(const struct mr_worker *worker, uint32_t idle)
{
	if (worker->prompt_lanes)
		return IN_FLIGHT_WAIT_PROMPT_NS;
	if (idle > IN_FLIGHT_DOUBLINGS || waiting_for_room(worker))
		idle = IN_FLIGHT_DOUBLINGS + 1; /* only the completion makes room */
	return (uint64_t)IN_FLIGHT_WAIT_NS << (idle - 1);
}

/*
 * A look at a lane takes the index's line from the producer's cache, so one who publishes record by
 * record is slowed down by looks that come too soon. A take that was small, but more than one
 * record from each lane, is followed by a rest, which doubles while they go on. After lone records
 * there is none: somebody may be waiting for each before the next one is published.
 */
uint32_t mr_worker_pauses(uint32_t before, const struct mr_worker_taken *taken)
{
	if (taken->frames <= taken->lanes || taken->bytes >= SMALL_TAKE_BYTES)
		return 0;
	if (before == 0)
		return 1;
	return before < REST_PAUSES / 2 ? 2 * before : REST_PAUSES;
}

static void rest(struct mr_worker *worker)
{
	uint32_t i;

	worker->pauses = mr_worker_pauses(worker->pauses, &worker->taken);
	if (worker->pauses)
		mr_counter_add(worker->options.counters[MR_COUNT_RESTS], 1);
	for (i = 0; i < worker->pauses; i++)
		__builtin_ia32_pause();
}

/* A write is out, or room is waited for: its completion ends it, or what another host sends. */
static void wait_for_write(struct mr_worker *worker, uint32_t idle)
{
	struct mr_feed_port *port = worker->options.port;

	if (!port) {
		(void)mr_io_queue_wait(worker->queue, in_flight_wait_ns(worker, idle)); /* 0 */
		return;
	}
	if (mr_feed_port_sleep(port, mr_worker_parcels_awaited(worker)))
		(void)mr_io_queue_wait(worker->queue, in_flight_wait_ns(worker, idle)); /* 0 */
	mr_feed_port_wake(port);
}

/* A turn looks at each partition: with many of them there are fewer turns in the same time. */
uint32_t mr_worker_turns_within(const struct mr_worker *worker, uint32_t turns)
{
	return worker->partition_count <= FEW_PARTITIONS
		       ? turns
		       : turns * FEW_PARTITIONS / worker->partition_count;
}

/* Turns in a row without work after which it yields. */
static uint32_t spin_turns(const struct mr_worker *worker)
{
	/* where the kernel needs the core for the disk, spinning is not had for the asking */
	if (!worker->place.may_spin)
		return mr_worker_turns_within(worker, SPIN_TURNS / 10);
	if (worker->options.idle == MR_CONFIG_IDLE_SPIN)
		return UINT32_MAX / 2;
	return mr_worker_turns_within(worker, SPIN_TURNS);
}

/* Whether it looks again without sleeping; the core may be given away meanwhile. */
static bool stays_awake(const struct mr_worker *worker, uint32_t idle, uint32_t spins)
{
	return worker->options.idle != MR_CONFIG_IDLE_PARK && !worker->in_flight &&
	       idle <= spins + mr_worker_turns_within(worker, YIELD_TURNS) &&
	       !waiting_for_room(worker);
}

bool mr_worker_wait(struct mr_worker *worker, uint32_t idle)
{
	uint32_t spins = spin_turns(worker);

	if (!idle) {
		rest(worker);
		return false;
	}
	worker->pauses = 0;
	if (stays_awake(worker, idle, spins)) {
		if (idle > spins)
			sched_yield();
		else
			__builtin_ia32_pause();
		return idle > spins;
	}
	if (mr_worker_replica_tell(worker))
		return true; /* and there is one more turn before it sleeps */
	if (worker->in_flight || waiting_for_room(worker))
		wait_for_write(worker, idle);
	else
		park(worker);
	return true;
}
