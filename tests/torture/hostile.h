/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the attackers' own, which keeps to no rule: it speaks the socket's protocol packet by
 * packet and writes into lanes what it likes. Each attack is a process; it ends with exit code 0 if
 * the engine answered as it must: with a reason that the attacker can read, and no more than its
 * lane or its connection lost.
 */
#ifndef MR_HOSTILE_H
#define MR_HOSTILE_H

#include "attach.h"
#include "conversation.h"
#include "deadline.h"
#include "torture.h"

#define HOSTILE_TOPIC	     "hostile"
#define HOSTILE_MEMORY_TOPIC "hostile-memory" /* storage: memory; made before the attacks */
#define HOSTILE_MS	     10000	      /* any answer must come within that time */

struct hostile {
	struct mr_conversation conversation;
	struct torture_random random;
	const char *path;
	struct mr_packet reply;
};

struct hostile_lane {
	uint64_t id;
	int64_t producer_id;
	uint32_t lane_bytes;
	uint32_t index; /* of the next slot to write */
	uint64_t number;
	int client_fd, engine_fd, bell_to_worker, bell_to_client;
	struct mr_lane_client_page *client; /* slots behind it */
	const struct mr_lane_engine_page *engine;
};

/* An attack; dies with a sentence when the engine did not do what it must. */
struct hostile_attack {
	const char *name;
	void (*run)(struct hostile *hostile);
};

extern const struct hostile_attack hostile_socket_attacks[]; /* ends with a NULL name */
extern const struct hostile_attack hostile_lane_attacks[];

/* ---- hostile_client.c ------------------------------------------------------------------------ */

void hostile_connect(struct hostile *self); /* without a word; closes the old one */
void hostile_hello(struct hostile *self);   /* connects and says hello */
/* 0: an answer came, in self->reply; -EPIPE: hung up; dies when nothing comes in time. */
int hostile_ask(struct hostile *self, uint32_t type, const void *body, size_t bytes, const int *fds,
		uint32_t fd_count);
/* Any bytes as one packet. False: the engine has hung up. */
bool hostile_send(struct hostile *self, const void *bytes, size_t count, const int *fds,
		  uint32_t fd_count);
/* Whatever comes next, as hostile_ask(). */
int hostile_receive(struct hostile *self);
/* Dies unless the last answer is a refusal with a sentence, with this code (0: any). */
void hostile_refused(struct hostile *self, int code, const char *of_what);
void hostile_hung_up(struct hostile *self, const char *after_what);
void hostile_fill(struct hostile *self, void *at, size_t bytes); /* with random bytes */

void hostile_open_topic(struct hostile *self, const char *name, struct mr_topic_reply *reply);
/*
 * Opens a lane of a producer of its own; 'mapped': says so, and the engine seals. Of HOSTILE_TOPIC
 * those with acks memory are into the topic in memory instead.
 */
void hostile_open_lane(struct hostile *self, const char *topic, uint32_t acks, bool mapped,
		       struct hostile_lane *lane);
int hostile_say_mapped(struct hostile *self, const struct hostile_lane *lane);
void hostile_close_lane(struct hostile_lane *lane); /* the attacker's own side only */
/* Writes a frame with these bytes behind it and makes it visible. */
void hostile_put(struct hostile_lane *lane, const struct mr_frame *frame, const void *payload,
		 uint32_t payload_bytes);
struct mr_frame hostile_good_frame(const struct hostile_lane *lane, uint32_t value_bytes);
void hostile_publish(struct hostile_lane *lane, uint32_t index);
/* Waits until the engine closed the lane; dies if it does not, or gives no sentence. */
void hostile_poisoned(struct hostile_lane *lane, const char *by_what);
bool hostile_is_poisoned(const struct hostile_lane *lane);

#endif
