/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Producers and consumers on this host: the listening Unix socket, who may come in (SO_PEERCRED,
 * limits per user), and the conversation of format.h. Runs on the control thread; never blocks; a
 * client that misbehaves is told why and hung up on.
 *
 * It makes and seals the shared memory of lanes and wait pages; what stands behind them (topics,
 * workers, logs) it reaches through struct mr_local_host only. A session ends by hang-up or when
 * its process is gone; its lanes are then closed: what was published is taken, and their memory is
 * let go when the worker has returned them.
 */
#ifndef MR_LOCAL_H
#define MR_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/secret.h"
#include "error.h"
#include "lane.h"
#include "millrace/format.h"
#include "tail.h"

struct mr_local;
struct mr_local_lane;
struct mr_local_watch;
struct mr_local_ticket; /* a request that is answered later */
struct mr_own_lane;

/* A partition as the conversation needs to know it. */
struct mr_local_partition {
	const struct mr_tail *tail;
	int bells;    /* the worker's set of doorbells */
	int32_t node; /* the worker's NUMA node */
	int32_t leader_epoch;
	uint32_t record_bytes_max;
	const char *topic; /* its name, for the call */
	bool in_memory;	   /* no log: acks memory only */
};

/* A lane that is ready for a worker. */
struct mr_local_lane_offer {
	struct mr_lane_identity identity;
	struct mr_lane_reader reader; /* taken on success */
	int bell_to_client;	      /* borrowed until mr_local_lane_closed() */
	bool resumed;
	struct mr_local_lane *lane; /* whom to name in mr_local_lane_*() */
	struct mr_own_lane *own;    /* instead of that: the engine's own, of no client */
};

/* What the engine offers. All calls come on the control thread; errors have their sentence. */
struct mr_local_host {
	void *engine;
	int (*open_topic)(void *engine, const char *name, bool create, bool producer,
			  struct mr_topic_reply *reply, struct mr_error *err);
	int (*find_partition)(void *engine, const uint8_t topic_id[16], int32_t partition,
			      struct mr_local_partition *out, struct mr_error *err);
	int (*add_lane)(void *engine, struct mr_local_lane_offer *offer, void **handle,
			struct mr_error *err);
	void (*close_lane)(void *engine, void *handle); /* ends in mr_local_lane_closed() */
	int (*add_watch)(void *engine, const uint8_t topic_id[16], int32_t partition,
			 const _Atomic uint32_t *waiting, int bell, struct mr_local_watch *watch,
			 void **handle, struct mr_error *err);
	void (*remove_watch)(void *engine, void *handle); /* ends in mr_local_watch_removed() */
	/* *fd is the caller's. */
	int (*find_segment)(void *engine, const struct mr_find_segment *request,
			    struct mr_segment_reply *reply, int *fd, struct mr_error *err);
	int (*find_offset)(void *engine, const struct mr_find_offset *request, uint64_t *offset,
			   struct mr_error *err);
	/* Answered by mr_local_answer() when durable; or fails at once. */
	int (*commit)(void *engine, const struct mr_commit *request, struct mr_local_ticket *ticket,
		      struct mr_error *err);
	int (*committed)(void *engine, const struct mr_commit *request, uint64_t *offset,
			 struct mr_error *err);
	/* JSON in, JSON out (the caller frees), or answered later: *reply stays NULL. */
	int (*admin)(void *engine, const char *request, struct mr_local_ticket *ticket,
		     char **reply, struct mr_error *err);
};

struct mr_local_options {
	const char *socket_path;
	const struct mr_local_host *host;
	const struct mr_secret *secret;
	const struct mr_clock *clock;
	uint8_t log_id[16];
	uint64_t engine_start;
	uint64_t lane_bytes; /* default */
	uint64_t lane_bytes_max;
	uint32_t lanes_per_user;
	uint32_t connections_per_user;
	pid_t engine_pid; /* its own threads are no user's; 0: none of them connects */
	int epoll_fd; /* the control thread's; events carry a pointer to struct mr_local_source */
};

/* What an epoll event of ours points to: its first member says whose it is. */
struct mr_local_source {
	void (*ready)(struct mr_local_source *source, uint32_t events);
};

/* Binds and listens. -EADDRINUSE: another engine answers there. A stale socket file is replaced. */
int mr_local_open(const struct mr_local_options *options, struct mr_local **out,
		  struct mr_error *err);
/* Takes no new clients, hangs up on all; lanes are closed. mr_local_close() when mr_local_idle().
 */
void mr_local_end(struct mr_local *local);
bool mr_local_idle(const struct mr_local *local);
void mr_local_close(struct mr_local *local); /* takes NULL */
/* Frees what ended; call it after a round of epoll events, when no event can name it any more. */
void mr_local_sweep(struct mr_local *local);

/* From the engine's side. */
void mr_local_lane_closed(struct mr_local_lane *lane); /* the worker let go of it */
void mr_local_lane_poisoned(
	struct mr_local_lane *lane); /* it takes no more: the client reads why on its page */
void mr_local_watch_removed(struct mr_local_watch *watch);
uint32_t mr_local_ticket_uid(const struct mr_local_ticket *ticket); /* while it is being asked */
void mr_local_answer(struct mr_local_ticket *ticket, int status, const struct mr_error *err,
		     const char *json);
/*
 * Tells all clients that the engine is at work, so that whoever waits for an answer goes on
 * waiting. Who has just come is greeted first.
 */
void mr_local_at_work(struct mr_local *local);
/*
 * Once a second: the same to who waits for what takes its time, as files that go and other hosts'
 * answers do.
 */
void mr_local_second(struct mr_local *local);
uint32_t mr_local_session_count(const struct mr_local *local);
uint32_t mr_local_lane_count(const struct mr_local *local);

#endif
