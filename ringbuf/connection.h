/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library's parts and the program's own commands need of a connection beyond millrace.h.
 */
#ifndef MR_CONNECTION_H
#define MR_CONNECTION_H

#include "attach.h"

/*
 * One request and its reply: sends 'type' with 'body', waits up to the connection's time-out, and
 * gives the reply's packet (with its descriptors, which the caller takes). A reply with a negative
 * status becomes the returned error. Serialised among threads. -ETIMEDOUT: no answer; -EPIPE: no
 * engine at the moment.
 */
int mr_connection_call(struct mr_connection *connection, enum mr_message_type type,
		       const void *body, size_t body_bytes, const int *fds, uint32_t fd_count,
		       struct mr_packet *reply, struct mr_error *err);

/*
 * An administrator's request as JSON text, and the whole reply as JSON text that the caller frees.
 */
int mr_connection_admin(struct mr_connection *connection, const char *request, char **reply,
			struct mr_error *err);

/* What the engine said at hello. */
void mr_connection_engine(struct mr_connection *connection, struct mr_hello_reply *hello);

#endif
