/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster in one thread, from one seed: hosts with the real protocol, partition, log and recovery
 * code over fake disks; a network that loses, doubles, reorders, delays and cuts; a coordinator
 *whose answers get lost; producers that resend; and an observer that knows what was answered and
 *looks at everything after each step. One partition: partitions share nothing but their hosts.
 *
 *	host.c		a host: one worker's turn around the protocol, power cuts, new disks
 *	disk.c		what it does with its disk: log, checkpoint, retention, truncation
 *	network.c	messages on their way
 *	coordinator.c	the register, sessions, incarnations; or in its place
 *	coordinator_static.c	the engine's static coordinator on each host, and a person
 *	clients.c	producers
 *	observer.c	the promises I1 to I6 (reliability.md 1)
 *	sim.c		what happens when: faults, seeds, the report
 */
#ifndef MR_SIM_WORLD_H
#define MR_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "log_rig.h"
#include "protocol.h"

#define SIM_HOSTS_MAX	  5
#define SIM_CLIENTS	  2
#define SIM_BATCH_RECORDS 4
/* Time-outs are short, so that much happens in few steps. */
#define MS(n) ((uint64_t)(n)*1000000u)

struct sim;

/* A batch as it lies in a log; the bytes are owned. */
struct sim_batch {
	struct mr_batch_header header;
	uint8_t *bytes;
};

/* What a host's log holds, by what was appended, and after a start by what was read back. */
struct sim_log {
	struct sim_batch *batches;
	size_t count, room;
};

struct sim_host {
	struct mr_io *disk;
	struct mr_test_rig rig;
	struct mr_replica replica;
	struct mr_checkpoint checkpoint;	/* as its disk has it */
	struct mr_checkpoint_partition pending; /* to be in it when it is final */
	bool is_pending;
	uint8_t *kept, *coming; /* states (protocol.h) */
	size_t kept_bytes, coming_bytes;
	struct sim_log log;
	uint64_t incarnation;	   /* of its engine */
	uint8_t log_id[16];	   /* of its disk ... */
	uint64_t starts;	   /* ... and of the engine from it */
	uint64_t skew_ns;	   /* its clock's */
	uint64_t durable;	   /* flushed when it was last looked at, and through a crash */
	uint64_t shown;		   /* high watermark in this life */
	uint64_t stalled_until_ns; /* its disk */
	uint32_t put_off;     /* turns in which batches are waited for to tell what is committed */
	uint64_t epoch_start; /* observer: its log's end when it began to lead ... */
	int32_t led_epoch;    /* ... this epoch */
	size_t noted;	      /* batches of its log that the observer knows to be durable */
	uint64_t log_start;   /* the highest that the observer saw, of any life and disk */
	bool alive;
	uint64_t leaves_until_ns; /* what it proposed to leave the ISR may be carried out so late */
	bool lost_data;		  /* it lost what it had, and holds nothing yet that counts */
};

struct sim_coverage {
	uint64_t runs, steps, delivered, completions, answered;
	uint64_t elections, truncations, torn, shrinks, expansions, crashes, cuts, disks_lost,
		unknown, resent, dropped, put_off, begun_anew, checkpoints, promotions, takeovers;
};

struct sim {
	uint64_t random; /* state of the generator */
	uint64_t seed;
	uint64_t now_ns;
	uint32_t hosts_count;
	uint32_t min_insync_replicas;
	bool faults; /* false: all heals, and must come to rest */
	struct sim_host hosts[SIM_HOSTS_MAX];
	struct sim_network *network;
	struct sim_coordinator *coordinator;
	struct sim_clients *clients;
	struct sim_observer *observer;
	struct sim_coverage *coverage;
};

/* ---- the generator -----------------------------------------------------------------------------
 */

uint64_t sim_random(struct sim *sim, uint64_t below); /* 0 .. below - 1 */
bool sim_chance(struct sim *sim, uint32_t percent);

/* A promise is broken: prints what, the seed and how to see it again, and ends the program. */
__attribute__((noreturn, format(printf, 2, 3))) void sim_broken(const struct sim *sim,
								const char *format, ...);

/* ---- host.c -------------------------------------------------------------------------------------
 */

void sim_host_start(struct sim *sim, uint32_t node);
void sim_host_crash(struct sim *sim, uint32_t node);	/* power cut */
void sim_host_new_disk(struct sim *sim, uint32_t node); /* of a dead one: all it had is gone */
/* Of a dead one: its checkpoint is gone, and with it what vouches for its log. */
void sim_host_lose_checkpoint(struct sim *sim, uint32_t node);
void sim_host_turn(struct sim *sim, uint32_t node);
void sim_host_free(struct sim *sim, struct sim_host *host);
uint64_t sim_host_now(const struct sim *sim, uint32_t node);
/* As its leader: false if there is no room now. */
bool sim_host_append(struct sim *sim, uint32_t node, struct mr_test_batch *batch);
/* A message came in: 'bytes' are those of BATCHES. */
void sim_host_receive(struct sim *sim, uint32_t node, uint32_t from,
		      const struct mr_feed_entry *entry, const uint8_t *bytes);
void sim_log_add(struct sim_log *log, const uint8_t *bytes, const struct mr_batch_header *header);
void sim_log_clear(struct sim_log *log);
/* What is below 'offset'; how many batches. Not all of them may be known to be durable yet. */
size_t sim_log_drop(struct sim_log *log, uint64_t offset);
/* The batch that begins at 'offset'; count if there is none. */
size_t sim_log_find(const struct sim_log *log, uint64_t offset);

/* ---- disk.c -------------------------------------------------------------------------------------
 */

/* Recovers what is on the disk, and reads back what it holds; says whether that counts. */
void sim_disk_open(struct sim *sim, uint32_t node);
void sim_disk_close(struct sim_host *host); /* the disk stays */
void sim_disk_free(struct sim_host *host);
/* Checkpoint and retention, now and then. */
void sim_disk_turn(struct sim *sim, uint32_t node);
/* MR_ACTION_TRUNCATE; false: the power went in the midst of it. */
bool sim_disk_truncate(struct sim *sim, uint32_t node, const struct mr_replica_action *action);
void sim_disk_keep_state(struct sim *sim, uint32_t node);
void sim_disk_drop_state(struct sim *sim, uint32_t node);
void sim_disk_take_state(struct sim *sim, uint32_t node, const struct mr_feed_entry *entry,
			 const uint8_t *bytes);

/* ---- network.c ----------------------------------------------------------------------------------
 */

struct sim_network *sim_network_new(void);
void sim_network_free(struct sim_network *network);
void sim_network_send(struct sim *sim, uint32_t from, uint32_t to,
		      const struct mr_feed_entry *entry, const uint8_t *bytes);
bool sim_network_linked(const struct sim *sim, uint32_t from, uint32_t to);
/* Delivers what is due; makes and breaks connections. */
void sim_network_step(struct sim *sim);
void sim_network_lose(struct sim *sim, uint32_t node); /* a host died: its connections are gone */
void sim_network_reset(struct sim *sim, uint32_t a, uint32_t b);
void sim_network_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut); /* one way */
bool sim_network_is_cut(const struct sim *sim, uint32_t from, uint32_t to);
void sim_network_heal(struct sim *sim);

/* ---- coordinator.c ------------------------------------------------------------------------------
 */

struct sim_coordinator *sim_coordinator_new(struct sim *sim);
void sim_coordinator_free(struct sim_coordinator *coordinator);
void sim_coordinator_begin(struct sim *sim, uint32_t node, uint64_t incarnation);
void sim_coordinator_end(struct sim *sim, uint32_t node); /* the host died */
void sim_coordinator_read(struct sim *sim, uint32_t node);
void sim_coordinator_propose(struct sim *sim, uint32_t node,
			     const struct mr_coord_proposal *proposal);
void sim_coordinator_step(struct sim *sim);
void sim_coordinator_cut(struct sim *sim, uint32_t node, bool cut);
void sim_coordinator_heal(struct sim *sim);
void sim_coordinator_new_disk(struct sim *sim, uint32_t node);
/* Two hosts are, of which both are alive; were, of which one may be dead. */
void sim_coordinator_connected(struct sim *sim, uint32_t a, uint32_t b);
void sim_coordinator_disconnected(struct sim *sim, uint32_t a, uint32_t b);
struct mr_coord_state sim_coordinator_state(const struct sim *sim);

/* ---- clients.c ----------------------------------------------------------------------------------
 */

struct sim_clients *sim_clients_new(void);
void sim_clients_free(struct sim_clients *clients);
void sim_clients_step(struct sim *sim);
/* All that was sent is answered. */
bool sim_clients_done(const struct sim *sim);

/* ---- observer.c ---------------------------------------------------------------------------------
 */

struct sim_observer *sim_observer_new(void);
void sim_observer_free(struct sim_observer *observer);
void sim_observer_appended(struct sim *sim, uint32_t node, const struct mr_batch_header *header);
/* Before a client hears of it: 'count' records of 'producer' from 'sequence' on are committed. */
void sim_observer_answered(struct sim *sim, uint32_t node, int64_t producer, int32_t sequence,
			   uint32_t count);
void sim_observer_look(struct sim *sim, uint32_t node);
/* The register is about to say that 'nodes' are in sync, which were not. */
void sim_observer_joined(struct sim *sim, uint64_t nodes);
/* All is healed and quiet: the logs are equal and hold each answered record once. */
void sim_observer_finish(struct sim *sim);
bool sim_observer_settled(const struct sim *sim);

#endif
