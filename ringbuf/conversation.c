/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and replies over the engine's socket, for the library's threads. Owns nothing. Promises
 * that no call outlasts its deadline by more than a millisecond, but where the request asks for
 * patience with an engine that is at work, and that a reply which comes too late is never taken for
 * another's.
 */
#include "conversation.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "deadline.h"
#include "error.h"

#define POLL_MS_MAX 1000000u

int mr_conversation_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		(void)close(fd); /* nothing was said on it */
		return r;
	}
	return fd;
}

/* 0: ready, or hung up, which the next call on the socket tells. */
static int wait_for(const struct mr_conversation *conversation, short events, uint64_t deadline)
{
	struct pollfd fds[2] = {
		{.fd = conversation->socket, .events = events},
		{.fd = conversation->wake, .events = POLLIN},
	};

	for (;;) {
		uint32_t left_ms = mr_deadline_left_ms(deadline, POLL_MS_MAX);
		int r = poll(fds, 2, (int)left_ms);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && fds[1].revents)
			return -ECANCELED;
		if (r > 0)
			return 0;
		if (mr_deadline_over(deadline))
			return -ETIMEDOUT;
	}
}

/* To no request: the engine turns this client away, and says why. */
static bool is_farewell(const struct mr_packet *packet)
{
	return (packet->head.flags & MR_MESSAGE_REPLY) && !packet->head.request_id &&
	       packet->head.status < 0;
}

/* What it said before it hung up can still be read; once more where the hang-up comes first. */
static int hear_farewell(struct mr_conversation *conversation, struct mr_packet *reply)
{
	for (int i = 0; i < 2; i++) {
		if (mr_packet_receive(conversation->socket, reply) < 0)
			continue;
		if (is_farewell(reply))
			return 0;
		mr_packet_close_fds(reply);
	}
	return -EPIPE;
}

static int receive(struct mr_conversation *conversation, uint64_t deadline, uint32_t patience_ms,
		   struct mr_packet *reply)
{
	for (;;) {
		int r = mr_packet_receive(conversation->socket, reply);

		if (r == 0) {
			if ((reply->head.flags & MR_MESSAGE_REPLY) &&
			    reply->head.request_id == conversation->request_id)
				return 0;
			if (is_farewell(reply))
				return 0;
			if ((reply->head.flags & MR_MESSAGE_AT_WORK) && patience_ms)
				deadline = mr_deadline_after(patience_ms);
			mr_packet_close_fds(
				reply); /* of a request that nobody waits for any more */
			continue;
		}
		if (r != -EAGAIN)
			return r;
		r = wait_for(conversation, POLLIN, deadline);
		if (r < 0)
			return r;
	}
}

int mr_conversation_ask(struct mr_conversation *conversation, const struct mr_request *request,
			uint64_t deadline, struct mr_packet *reply)
{
	struct mr_message_header head = {
		.type = (uint16_t)request->type,
		.request_id = ++conversation->request_id,
	};
	int r;

	for (;;) {
		r = mr_packet_send(conversation->socket, &head, request->body, request->body_bytes,
				   request->fds, request->fd_count);
		if (r != -EAGAIN)
			break;
		r = wait_for(conversation, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	if (r == 0)
		r = receive(conversation, deadline, request->patience_ms, reply);
	return r == -EPIPE ? hear_farewell(conversation, reply) : r;
}

int mr_conversation_more(struct mr_conversation *conversation, uint64_t deadline,
			 struct mr_packet *reply)
{
	return receive(conversation, deadline, 0, reply);
}

static int refused(const struct mr_packet *reply, struct mr_error *err)
{
	struct mr_error_reply text = {{0}, {0}, {0}};
	int code = reply->head.status;

	if (reply->body_bytes == sizeof(text))
		memcpy(&text, reply->body, sizeof(text));
	text.what[sizeof(text.what) - 1] = '\0';
	text.why[sizeof(text.why) - 1] = '\0';
	text.hint[sizeof(text.hint) - 1] = '\0';
	if (code < -4095)
		code = -EPROTO;
	if (text.what[0] == '\0')
		return mr_error_set(err, code, "the engine refused a request of type %u: %s",
				    reply->head.type, strerror(-code));
	mr_error_set(err, code, "%s", text.what);
	mr_error_why(err, "%s", text.why);
	mr_error_hint(err, "%s", text.hint);
	return code;
}

int mr_conversation_check(struct mr_packet *reply, size_t body_bytes, uint32_t fd_count,
			  struct mr_error *err)
{
	int r;

	if (reply->head.status < 0)
		r = refused(reply, err);
	else if (reply->body_bytes == body_bytes && reply->head.fd_count == fd_count)
		return 0;
	else
		r = mr_error_set(err, -EPROTO,
				 "the engine's answer to a request of type %u has %u bytes and %u "
				 "descriptors, expected %zu and %u",
				 reply->head.type, reply->body_bytes, reply->head.fd_count,
				 body_bytes, fd_count);
	mr_packet_close_fds(reply);
	return r;
}
