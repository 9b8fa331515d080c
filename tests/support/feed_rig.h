/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds in a test's own process, and a test that is their workers and their control threads: on its
 * own thread it takes what comes, writes it down, and gives it back. Node 0 is 'a', 1 is 'b', 2 is
 * 'c'; who has the higher number is started first, since the others must know its port. Whatever
 * takes longer than RIG_SECONDS fails the test.
 */
#ifndef MR_TEST_FEED_RIG_H
#define MR_TEST_FEED_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "replica/feed.h"

#define RIG_NODES   3u
#define RIG_SECONDS 20
#define RIG_SESSION 77u
#define RIG_WORKERS 4u

/* Zero: as usual. */
struct rig_tuning {
	uint32_t workers; /* 0: one */
	uint64_t incarnation;
	uint8_t cluster, log;
	const char *name;
	uint16_t ports[RIG_NODES]; /* of peers, where they are not their own */
	uint32_t strangers;	   /* bit i: node i is no peer */
	uint64_t bytes_per_second;
	uint32_t version_max;
	uint64_t patience_ms;
	struct mr_io *io;
	const char *address; /* to listen at; else 127.0.0.1:0 */
	struct mr_link_trust *trust;
};

struct rig_arrival {
	uint32_t node, worker;
	uint64_t connection;
	void *owner;
	struct mr_feed_item item; /* with batches of its own */
};

struct rig_news {
	enum mr_feed_delivery_kind what;
	uint32_t node;
	uint64_t connection, incarnation, capabilities;
	uint32_t arrivals; /* that came before it */
};

struct rig {
	uint32_t node;
	uint32_t workers;
	struct mr_feed *feed;
	uint64_t connection[RIG_NODES]; /* 0: none, as worker 0 heard */
	struct rig_arrival *arrivals;
	uint32_t arrival_count, arrival_room;
	uint32_t expected; /* those that rig_expect() gave */
	struct rig_news news[RIG_WORKERS][256];
	uint32_t news_count[RIG_WORKERS];
	struct mr_feed_event *events;
	uint32_t event_count, event_room, event_looked;
	uint32_t met[RIG_NODES]; /* CONNECTED that rig_meet() saw */
	uint32_t deliveries;	 /* ARRIVALS */
	bool keeps;		 /* deliveries are not given back */
	bool deaf;		 /* events are not taken */
	struct mr_feed_mail *kept;
	uint32_t kept_count;
	struct rig_parcel *parcels; /* all, newest first */
	uint32_t out, back, failed; /* parcels */
	int last_status;
	struct mr_feed_entry last_entry; /* of the last that came back */
};

struct rig *rig_start(uint32_t node, const struct rig_tuning *tuning);
/* mr_feed_start()'s result with these, for what must fail. */
int rig_try(uint32_t node, const struct rig_tuning *tuning, struct mr_error *err);
void rig_stop(struct rig *rig);
uint16_t rig_port(const struct rig *rig);

/* Once round all feeds; then a millisecond, so that a loop around it ends. */
void rig_turn(void);
uint64_t rig_now_ms(void);

#define rig_wait(condition)                                                                        \
	do {                                                                                       \
		uint64_t until_ms = rig_now_ms() + RIG_SECONDS * 1000;                             \
		while (!(condition) && rig_now_ms() < until_ms)                                    \
			rig_turn();                                                                \
		cr_assert(condition, "not within %d s: %s", RIG_SECONDS, #condition);              \
	} while (0)

/* Both have heard of each other, workers and control. */
void rig_meet(struct rig *a, struct rig *b);

/* Partitions are called by a number: the first byte of the topic id, and the partition. */
void rig_topic_id(uint8_t topic, uint8_t id[16]);
void rig_route(struct rig *rig, uint8_t topic, int32_t partition);
void rig_route_to(struct rig *rig, uint8_t topic, int32_t partition, uint32_t worker);
void rig_unroute(struct rig *rig, uint8_t topic, int32_t partition); /* and waits */
void *rig_owner(uint8_t topic, int32_t partition);

void rig_send_flushed(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		      uint64_t offset);
/* 'batches' of one record, 'value_bytes' each, from offset 'base' on, in as many pieces. */
void rig_send_batches(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		      uint64_t base, uint32_t batches, uint32_t value_bytes);
void rig_send_catch_up(struct rig *rig, uint32_t node, uint8_t topic, int32_t partition,
		       uint64_t from, uint32_t bytes, uint64_t limit);
/* One of those batches. */
uint32_t rig_encode_batch(uint64_t offset, uint32_t value_bytes, uint8_t *bytes, size_t room);
/* So many are back in all, none is out, and the last had that status. */
void rig_parcels_back(struct rig *rig, uint32_t count, int status);

/* The next arrival; lies in the rig. */
const struct rig_arrival *rig_expect(struct rig *rig);
/* They are as rig_send_batches() made them. */
void rig_check_batches(const struct mr_feed_item *item);
void rig_give_back(struct rig *rig, uint32_t count); /* of what was kept */

/* The next event of that kind, in order; what comes between is passed over. */
const struct mr_feed_event *rig_event(struct rig *rig, enum mr_feed_event_kind kind);
struct mr_feed_peer_status rig_status(struct rig *rig, uint32_t node);

#endif
