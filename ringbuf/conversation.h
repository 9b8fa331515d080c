/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the engine's socket as a client uses it: a request, then its reply, one at a time.
 * Owned by whoever holds the right to talk on the connection, or by the connection's thread alone
 * while it connects anew.
 */
#ifndef MR_CONVERSATION_H
#define MR_CONVERSATION_H

#include "attach.h"

struct mr_conversation {
	int socket;	     /* non-blocking; -1: nobody to talk to */
	int wake;	     /* readable: give up at once; -1: nothing interrupts */
	uint32_t request_id; /* of the last request */
};

struct mr_request {
	enum mr_message_type type;
	const void *body;
	size_t body_bytes;
	const int *fds;
	uint32_t fd_count;
	uint32_t
		patience_ms; /* after each sign that the engine is at work; 0: the deadline holds */
};

/* Connects to the engine's socket at 'path'. Returns the socket or a negative errno. */
int mr_conversation_connect(const char *path);

/*
 * Sends a request and waits for its reply; late replies to older requests are dropped. An engine
 * that says it is at work is waited for request->patience_ms from then on. 0: *reply is it,
 * whatever its status. -ETIMEDOUT; -EPIPE: the engine hung up; -ECANCELED: woken; -EBADMSG,
 * -EPROTO: nonsense came: the conversation is over.
 */
int mr_conversation_ask(struct mr_conversation *conversation, const struct mr_request *request,
			uint64_t deadline, struct mr_packet *reply);
/* The next packet of the same reply (MR_MESSAGE_MORE). */
int mr_conversation_more(struct mr_conversation *conversation, uint64_t deadline,
			 struct mr_packet *reply);

/*
 * 0 if the reply says that all went well, with a body of 'body_bytes' and 'fd_count' descriptors;
 * else the engine's error, or -EPROTO for another shape; descriptors are closed then.
 */
int mr_conversation_check(struct mr_packet *reply, size_t body_bytes, uint32_t fd_count,
			  struct mr_error *err);

#endif
