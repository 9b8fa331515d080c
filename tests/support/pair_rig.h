/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two real workers that keep the same partition, over real lanes, tails and logs and the disk in
 * memory. The test's thread is everything else: both control threads, the feed between them, which
 * is a list of messages here that can be held back, and the coordinator, which is one register.
 */
#ifndef MR_PAIR_RIG_H
#define MR_PAIR_RIG_H

#include <criterion/criterion.h>
#include <poll.h>

#include "log/checkpoint.h"
#include "log/truncate.h"
#include "worker_replica.h"

#define PAIR_PATIENCE_MS  20000
#define PAIR_MESSAGES_MAX 4096
#define PAIR_BOTH	  3u
#define PAIR_NEVER	  UINT64_MAX
#define PAIR_MS(n)	  ((uint64_t)(n)*1000000u)

/* One worker's end of the feed. */
struct mr_feed_port {
	struct mr_mailbox *to_worker, *to_feed;
};

struct pair_host {
	uint32_t node;
	struct mr_io *io;
	struct mr_worker *worker;
	struct mr_worker_partition *part, *old;
	struct mr_feed_port port;
	struct mr_log_files *files;
	struct mr_segment *active;
	_Atomic uint64_t counters[MR_PARTITION_COUNTERS];
	_Atomic uint64_t worker_counters[MR_WORKER_COUNTERS];
	struct mr_worker_message add, remove;
	struct mr_truncation cut;
	bool cutting;				  /* from TRUNCATE until the new one is added */
	uint32_t events_out;			  /* of the coordinator, with the worker */
	struct mr_checkpoint_partition cut_entry; /* what the log begins anew with; or none */
	bool cut_has_entry;
	/* as a snapshot said: what stands in its checkpoint */
	struct mr_checkpoint_partition entry;
	bool has_entry;
	struct mr_worker_message snapshot_message, log_start;
	struct mr_worker_snapshot snapshot;
	uint32_t states_kept, states_dropped, rooms;
	uint32_t poisoned, removed, cuts;
	uint64_t catch_ups;
	uint32_t parcels_held, deliveries_out;
	struct mr_feed_parcel *held[PAIR_MESSAGES_MAX]; /* parcels that are not given back yet */
};

/* A message on its way. */
struct pair_message {
	uint32_t from;
	uint64_t connection;
	struct mr_feed_entry entry;
	uint8_t *batches;
};

struct pair {
	struct pair_host hosts[2];
	struct mr_coord_state reg;
	uint32_t may_lead;  /* bit i: node i's claims are heard */
	uint32_t lost_data; /* bit i: so node i begins */
	uint64_t connection, connections;
	struct pair_message messages[PAIR_MESSAGES_MAX];
	uint32_t message_count;
	bool hold_flushed;	/* FLUSHED does not arrive */
	bool hold_forward;	/* nor does FORWARD */
	bool hold_parcels;	/* with batches: not given back */
	uint64_t batches_below; /* batches that end above it do not arrive */
	/* how the hosts are made */
	uint64_t tail_bytes, lag_max_ns, heartbeat_ns;
	uint32_t window_bytes, min_insync;
	uint32_t state_padding;	 /* behind a state, so that it has more pieces */
	uint32_t damaged_states; /* of first pieces, so many */
	enum mr_config_idle idle;
	enum mr_config_compression compression;
	uint64_t capabilities; /* that both have */
	/* how lanes are opened */
	uint32_t published_before; /* records of 100 bytes that are in one that is handed back */
	bool repeats;		   /* it stands in for one before */
};
extern struct pair pair;
extern enum mr_config_compression pair_compression; /* that pair_defaults() takes */
#ifdef MR_COMPRESSION
/* All of a test's file once more, of a topic with compression: tests/unit/meson.build. */
__attribute__((constructor)) static void pair_compress(void)
{
	pair_compression = MR_COMPRESSION;
}
#endif

/* A batch in a tail, by its number. */
struct pair_batch {
	const uint8_t *bytes;
	uint64_t end_position;
	struct mr_batch_header header;
};

struct pair_client {
	struct pair_host *host;
	struct mr_lane_writer writer;
	struct mr_worker_lane *lane;
	struct mr_worker_message add, close;
	int client_fd, engine_fd, bell_to_client, bell_to_worker;
};

/* Until 'condition' holds. */
#define pair_await(condition)                                                                      \
	do {                                                                                       \
		int ms_ = 0;                                                                       \
		for (; ms_ < PAIR_PATIENCE_MS && !(condition); ms_++) {                            \
			pair_pump();                                                               \
			(void)poll(NULL, 0, 1);                                                    \
		}                                                                                  \
		cr_assert(condition, "never: " #condition);                                        \
	} while (0)

void pair_defaults(void);
void pair_coordinated(struct pair_host *host, enum mr_coord_event_kind kind);
void pair_ask_removal(struct pair_host *host, int why);
void pair_give_parcels_back(struct pair_host *host);
void pair_pump(void);
void pair_pass_ms(int ms);
void pair_link_up(void);
void pair_link_down(void);
const struct mr_tail_page *pair_page(uint32_t node);
const struct mr_worker_replica_view *pair_view(uint32_t node);
bool pair_leads(uint32_t node);
void pair_begin_apart(void); /* both, and no link yet */
void pair_begin(void);
void pair_begin_as_usual(void);
uint32_t pair_batches_of(uint32_t node, struct pair_batch *batches, uint32_t max);
void pair_check_equal(void);
/* Its records; what was compressed is expanded, until the next one is. */
void pair_read_batch(struct mr_batch_reader *reader, const struct pair_batch *batch);
void pair_end(void);
/* A lane whose first record is 'number'; 'resumed': as one that was handed back. */
void pair_open_client_at(struct pair_client *client, uint32_t node, int64_t producer_id,
			 enum mr_acks acks, uint64_t number, bool resumed);
void pair_open_client(struct pair_client *client, uint32_t node, int64_t producer_id,
		      enum mr_acks acks);
void pair_close_client(struct pair_client *client);
void pair_publish(struct pair_client *client, uint32_t records, uint32_t value_bytes);
uint64_t pair_acknowledged(struct pair_client *client);
enum mr_lane_reason pair_reason(struct pair_client *client);
void pair_elect(uint32_t node);
/* Into host->entry, once all of it is durable. */
void pair_take_snapshot(uint32_t node);
int pair_ask_snapshot(uint32_t node); /* its status */
void pair_raise_log_start(uint32_t node, uint64_t offset);
bool pair_entry_has(uint32_t node, int64_t producer_id, int32_t last_sequence);

#endif
