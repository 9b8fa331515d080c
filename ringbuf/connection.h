/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library's parts and the program's own commands need of a connection beyond millrace.h.
 */
#ifndef MR_CONNECTION_H
#define MR_CONNECTION_H

#include <errno.h>
#include <stdbool.h>

#include "attach.h"
#include "client_lane.h"

/*
 * One request and its reply: sends 'type' with 'body', waits up to the connection's time-out, and
 * gives the reply's packet (with its descriptors, which the caller takes). A reply with a negative
 * status becomes the returned error. Serialised among threads. -ETIMEDOUT: no answer; -EPIPE: no
 * engine at the moment.
 */
int mr_connection_call(struct mr_connection *connection, enum mr_message_type type,
		       const void *body, size_t body_bytes, const int *fds, uint32_t fd_count,
		       struct mr_packet *reply, struct mr_error *err);

/* The same without descriptors to send, up to 'deadline' (deadline.h) or the connection's time-out;
 * the reply must have this shape. */
int mr_connection_ask(struct mr_connection *connection, enum mr_message_type type, const void *body,
		      size_t body_bytes, size_t reply_bytes, uint32_t reply_fds, uint64_t deadline,
		      struct mr_packet *reply, struct mr_error *err);

/* An administrator's request as JSON text, and the whole reply as JSON text that the caller frees.
 */
int mr_connection_admin(struct mr_connection *connection, const char *request, char **reply,
			struct mr_error *err);

/* What the engine said at hello. */
void mr_connection_engine(struct mr_connection *connection, struct mr_hello_reply *hello);

/* When a conversation that begins now must be over. */
uint64_t mr_connection_deadline(const struct mr_connection *connection);
/*
 * Counts the engines that this connection has lost: what was attached under another number is
 * stale. It rises at the hang-up; until the next engine is there, mr_connection_is_up() is false.
 */
uint64_t mr_connection_generation(const struct mr_connection *connection);
bool mr_connection_is_up(struct mr_connection *connection);
/* Sleeps until there is an engine, or the deadline. True if there is. */
bool mr_connection_wait_up(struct mr_connection *connection, uint64_t deadline);
/*
 * True if 'r', what came of several calls that began with the engine of 'generation', may have come
 * of its end: another engine knows nothing of what the first had answered.
 */
static inline bool mr_connection_was_lost(const struct mr_connection *connection,
					  uint64_t generation, int r)
{
	return r == -EPIPE || (r < 0 && generation != mr_connection_generation(connection));
}
/*
 * After a call said -EPIPE: sleeps until there is another engine than that of 'generation', or the
 * deadline. False also when that engine is still there: then the word was its own.
 */
bool mr_connection_wait_next(struct mr_connection *connection, uint64_t generation,
			     uint64_t deadline);

/*
 * From now on the connection's thread hands 'lane' back to the engine's successors; takes a
 * reference. -EPIPE: that engine, of 'generation', is gone already.
 */
int mr_connection_add_lane(struct mr_connection *connection, struct mr_client_lane *lane,
			   uint64_t generation, struct mr_error *err);
/* Tells the engine that the lane is closed, as far as 'deadline' allows, and frees 'lane'. */
void mr_connection_drop_lane(struct mr_connection *connection, struct mr_client_lane *lane,
			     uint64_t deadline);

#endif
