/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket, sessions, and the dispatch of requests (local.h). Runs on the control
 * thread. Lanes are in local_lane.c, consumers in local_read.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/diag.h"
#include "check.h"
#include "local_state.h"

#define PACKETS_A_TURN 16 /* of one session, so that a flood does not starve the others */
#define ACCEPTS_A_TURN 16
#define BACKLOG	       128
#define UNSENT_NS      UINT64_C(5000000000) /* who reads nothing for so long is hung up on */

/* ---- answers
 * ----------------------------------------------------------------------------------------- */

static void send_or_hang_up(struct mr_local_session *session, struct mr_message_header *head,
			    const void *body, size_t bytes, const int *fds, uint32_t fd_count)
{
	if (session->ended)
		return;
	/* a client that does not read its answers is not waited for, but for a long text (below) */
	if (session->unsent ||
	    mr_packet_send(session->socket, head, body, bytes, fds, fd_count) < 0)
		mr_local_hang_up(session);
}

void mr_local_reply(struct mr_local_session *session, const struct mr_message_header *request,
		    const void *body, size_t bytes, const int *fds, uint32_t fd_count)
{
	struct mr_message_header head = {
		.type = request->type,
		.request_id = request->request_id,
		.flags = MR_MESSAGE_REPLY,
	};

	send_or_hang_up(session, &head, body, bytes, fds, fd_count);
}

void mr_local_refuse(struct mr_local_session *session, const struct mr_message_header *request,
		     const struct mr_error *err)
{
	struct mr_message_header head = {
		.type = request->type,
		.request_id = request->request_id,
		.flags = MR_MESSAGE_REPLY,
		.status = err->code,
	};
	struct mr_error_reply body = {0};

	snprintf(body.what, sizeof(body.what), "%s", err->what);
	snprintf(body.why, sizeof(body.why), "%s", err->why);
	snprintf(body.hint, sizeof(body.hint), "%s", err->hint);
	send_or_hang_up(session, &head, &body, sizeof(body), NULL, 0);
}

/*
 * Text in as many packets as it needs; all but the last say that more follows. 0; -EAGAIN: the
 * socket took the first *sent bytes and is full; or another error.
 */
static int send_text(struct mr_local_session *session, struct mr_message_header head,
		     const char *text, size_t *sent)
{
	size_t bytes = strlen(text);

	*sent = 0;
	do {
		size_t part = bytes - *sent;
		int r;

		head.flags = MR_MESSAGE_REPLY;
		if (part > MR_PACKET_BODY_MAX) {
			part = MR_PACKET_BODY_MAX;
			head.flags |= MR_MESSAGE_MORE;
		}
		r = mr_packet_send(session->socket, &head, text + *sent, part, NULL, 0);
		if (r < 0)
			return r;
		*sent += part;
	} while (*sent < bytes);
	return 0;
}

static int watch(struct mr_local_session *session, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = session};

	return epoll_ctl(session->local->options.epoll_fd, EPOLL_CTL_MOD, session->socket, &event);
}

/*
 * A text may be longer than a socket takes at once, and the client no faster than it is: the rest
 * goes when there is room. Until then nothing else is taken from it, nor told; and it is hung up on
 * when it takes nothing of it for a while (mr_local_sweep()).
 */
static void reply_text(struct mr_local_session *session, const struct mr_message_header *request,
		       const char *text)
{
	struct mr_message_header head = {.type = request->type, .request_id = request->request_id};
	size_t sent;
	int r;

	if (session->ended)
		return;
	r = session->unsent ? -EPROTO : send_text(session, head, text, &sent);
	if (r == -EAGAIN) {
		session->unsent = strdup(text + sent);
		session->unsent_at = 0;
		session->unsent_ns = mr_clock_monotonic_ns(session->local->options.clock);
		session->unsent_head = head;
		r = session->unsent ? watch(session, EPOLLOUT) : -ENOMEM;
	}
	if (r < 0)
		mr_local_hang_up(session);
}

static void send_rest(struct mr_local_session *session)
{
	size_t sent;
	int r = send_text(session, session->unsent_head, session->unsent + session->unsent_at,
			  &sent);

	session->unsent_at += sent;
	if (sent > 0)
		session->unsent_ns = mr_clock_monotonic_ns(session->local->options.clock);
	if (r == 0) {
		free(session->unsent);
		session->unsent = NULL;
		r = watch(session, EPOLLIN);
	}
	if (r < 0 && r != -EAGAIN)
		mr_local_hang_up(session);
}

struct mr_local_ticket *mr_local_ticket_new(struct mr_local_session *session,
					    const struct mr_message_header *request)
{
	struct mr_local_ticket *ticket = calloc(1, sizeof(*ticket));

	if (!ticket)
		return NULL;
	ticket->local = session->local;
	ticket->session = session;
	ticket->request_id = request->request_id;
	ticket->type = request->type;
	ticket->next = session->local->tickets;
	session->local->tickets = ticket;
	return ticket;
}

void mr_local_ticket_free(struct mr_local_ticket *ticket)
{
	struct mr_local_ticket **at = &ticket->local->tickets;

	while (*at != ticket)
		at = &(*at)->next;
	*at = ticket->next;
	free(ticket);
}

uint32_t mr_local_ticket_uid(const struct mr_local_ticket *ticket)
{
	return ticket->session->uid;
}

void mr_local_answer(struct mr_local_ticket *ticket, int status, const struct mr_error *err,
		     const char *json)
{
	struct mr_message_header request = {
		.type = ticket->type,
		.request_id = ticket->request_id,
	};

	if (ticket->session) {
		if (status < 0)
			mr_local_refuse(ticket->session, &request, err);
		else if (json)
			reply_text(ticket->session, &request, json);
		else
			mr_local_reply(ticket->session, &request, NULL, 0, NULL, 0);
	}
	mr_local_ticket_free(ticket);
}

/* ---- requests
 * ---------------------------------------------------------------------------------------- */

static int hello(struct mr_local_session *session, const struct mr_packet *packet,
		 struct mr_error *err)
{
	const struct mr_local_options *options = &session->local->options;
	struct mr_hello_reply reply = {
		.format = MR_FORMAT_VERSION,
		.pid = (uint32_t)getpid(),
		.engine_start = options->engine_start,
		.engine_version = MR_VERSION,
	};
	struct mr_hello request;

	memcpy(&request, packet->body, sizeof(request));
	if (request.format != MR_FORMAT_VERSION) {
		mr_error_set(err, -EPROTO,
			     "the client writes lanes of format %u, the engine reads %u",
			     request.format, MR_FORMAT_VERSION);
		return mr_error_hint(err, "use libmillrace and engine of the same release");
	}
	request.client_name[sizeof(request.client_name) - 1] = '\0';
	snprintf(session->name, sizeof(session->name), "%s", request.client_name);
	session->greeted = true;
	memcpy(reply.log_id, options->log_id, sizeof(reply.log_id));
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), NULL, 0);
	return 0;
}

static int open_topic(struct mr_local_session *session, const struct mr_packet *packet,
		      struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_topic_reply reply = {.producer_id = -1};
	struct mr_open_topic request;
	int r;

	memcpy(&request, packet->body, sizeof(request));
	request.name[sizeof(request.name) - 1] = '\0';
	r = host->open_topic(host->engine, request.name, request.create == 1, request.producer == 1,
			     &reply, err);
	if (r < 0)
		return r;
	mr_local_reply(session, &packet->head, &reply, sizeof(reply), NULL, 0);
	return 0;
}

static int admin(struct mr_local_session *session, const struct mr_packet *packet,
		 struct mr_error *err)
{
	const struct mr_local_host *host = session->local->options.host;
	struct mr_local_ticket *ticket;
	char *text, *reply = NULL;
	int r;

	text = strndup((const char *)packet->body, packet->body_bytes);
	ticket = mr_local_ticket_new(session, &packet->head);
	if (!text || !ticket) {
		free(text);
		return mr_error_set(err, -ENOMEM, "no memory for a request");
	}
	r = host->admin(host->engine, text, ticket, &reply, err);
	free(text);
	if (r < 0)
		mr_local_ticket_free(ticket);
	else if (reply)
		mr_local_answer(ticket, 0, NULL, reply);
	free(reply);
	return r;
}

/* Each request: how long its body must be, and who answers it. */
static int dispatch(struct mr_local_session *session, struct mr_packet *packet,
		    struct mr_error *err)
{
	static const struct {
		uint32_t body_bytes;
		uint32_t fd_count;
	} expected[MR_MESSAGE_TYPE_COUNT] = {
		[MR_MESSAGE_HELLO] = {sizeof(struct mr_hello), 0},
		[MR_MESSAGE_OPEN_TOPIC] = {sizeof(struct mr_open_topic), 0},
		[MR_MESSAGE_OPEN_LANE] = {sizeof(struct mr_open_lane), 0},
		[MR_MESSAGE_LANE_MAPPED] = {sizeof(struct mr_lane_id), 0},
		[MR_MESSAGE_HAND_BACK] = {sizeof(struct mr_hand_back), 2},
		[MR_MESSAGE_CLOSE_LANE] = {sizeof(struct mr_lane_id), 0},
		[MR_MESSAGE_OPEN_WAIT] = {0, 0},
		[MR_MESSAGE_WAIT_MAPPED] = {sizeof(struct mr_wait_id), 0},
		[MR_MESSAGE_ATTACH_TAIL] = {sizeof(struct mr_attach_tail), 0},
		[MR_MESSAGE_DETACH_TAIL] = {sizeof(struct mr_attach_tail), 0},
		[MR_MESSAGE_FIND_SEGMENT] = {sizeof(struct mr_find_segment), 0},
		[MR_MESSAGE_FIND_OFFSET] = {sizeof(struct mr_find_offset), 0},
		[MR_MESSAGE_COMMIT] = {sizeof(struct mr_commit), 0},
		[MR_MESSAGE_COMMITTED] = {sizeof(struct mr_commit), 0},
	};
	uint16_t type = packet->head.type;

	if (type == 0 || type >= MR_MESSAGE_TYPE_COUNT)
		return mr_error_set(err, -EPROTO, "request of type %u: there is none", type);
	if (type != MR_MESSAGE_ADMIN && packet->body_bytes != expected[type].body_bytes)
		return mr_error_set(err, -EPROTO, "request of type %u has %u bytes, expected %u",
				    type, packet->body_bytes, expected[type].body_bytes);
	if (packet->head.fd_count != expected[type].fd_count)
		return mr_error_set(err, -EPROTO,
				    "request of type %u carries %u descriptors, expected %u", type,
				    packet->head.fd_count, expected[type].fd_count);
	if (!session->greeted && type != MR_MESSAGE_HELLO)
		return mr_error_set(err, -EPROTO, "request of type %u before hello", type);
	switch ((enum mr_message_type)type) {
	case MR_MESSAGE_HELLO:
		return hello(session, packet, err);
	case MR_MESSAGE_OPEN_TOPIC:
		return open_topic(session, packet, err);
	case MR_MESSAGE_OPEN_LANE:
		return mr_local_open_lane(session, packet, err);
	case MR_MESSAGE_LANE_MAPPED:
		return mr_local_lane_mapped(session, packet, err);
	case MR_MESSAGE_HAND_BACK:
		return mr_local_hand_back(session, packet, err);
	case MR_MESSAGE_CLOSE_LANE:
		return mr_local_close_lane(session, packet, err);
	case MR_MESSAGE_OPEN_WAIT:
		return mr_local_open_wait(session, packet, err);
	case MR_MESSAGE_WAIT_MAPPED:
		return mr_local_wait_mapped(session, packet, err);
	case MR_MESSAGE_ATTACH_TAIL:
		return mr_local_attach_tail(session, packet, err);
	case MR_MESSAGE_DETACH_TAIL:
		return mr_local_detach_tail(session, packet, err);
	case MR_MESSAGE_FIND_SEGMENT:
		return mr_local_find_segment(session, packet, err);
	case MR_MESSAGE_FIND_OFFSET:
		return mr_local_find_offset(session, packet, err);
	case MR_MESSAGE_COMMIT:
		return mr_local_commit(session, packet, err);
	case MR_MESSAGE_COMMITTED:
		return mr_local_committed(session, packet, err);
	case MR_MESSAGE_ADMIN:
		return admin(session, packet, err);
	case MR_MESSAGE_TYPE_COUNT:
		break;
	}
	return 0;
}

static void serve_packet(struct mr_local_session *session, struct mr_packet *packet)
{
	struct mr_error err = {0};
	int r = dispatch(session, packet, &err);

	mr_packet_close_fds(packet); /* those that nobody took */
	if (r == 0)
		return;
	mr_local_refuse(session, &packet->head, &err);
	if (r == -EPROTO)
		mr_local_hang_up(session);
}

/* ---- sessions
 * ---------------------------------------------------------------------------------------- */

void mr_local_hang_up(struct mr_local_session *session)
{
	struct mr_local *local = session->local;
	struct mr_local_ticket *ticket;

	if (session->ended)
		return;
	session->ended = true;
	(void)epoll_ctl(local->options.epoll_fd, EPOLL_CTL_DEL, session->socket, NULL);
	(void)close(session->socket); /* gone either way */
	session->socket = -1;
	free(session->unsent);
	session->unsent = NULL;
	for (ticket = local->tickets; ticket; ticket = ticket->next)
		if (ticket->session == session)
			ticket->session = NULL;
	mr_local_end_lanes(session);
	mr_local_end_waits(session);
	local->session_count--;
}

/* False: there is none now, or no more. */
static bool take_packet(struct mr_local_session *session, struct mr_packet *packet)
{
	int r = mr_packet_receive(session->socket, packet);

	if (r == -EAGAIN)
		return false;
	if (r == -EPROTO || r == -EBADMSG) {
		struct mr_message_header request = {0};
		struct mr_error err;

		mr_error_set(&err, r,
			     r == -EPROTO ? "the engine speaks protocol version %d"
					  : "this is no message of protocol version %d",
			     MR_PROTOCOL_VERSION);
		mr_local_refuse(session, &request, &err);
	}
	if (r < 0) {
		mr_local_hang_up(session);
		return false;
	}
	serve_packet(session, packet);
	return true;
}

static void session_ready(struct mr_local_source *source, uint32_t events)
{
	struct mr_local_session *session = (struct mr_local_session *)source;
	int i;

	if (session->unsent) {
		if (events & (EPOLLHUP | EPOLLERR))
			mr_local_hang_up(session);
		else
			send_rest(session);
		return;
	}
	for (i = 0; i < PACKETS_A_TURN && !session->ended && !session->unsent; i++)
		if (!take_packet(session, &session->local->packet))
			break;
	if (!session->ended && (events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN))
		mr_local_hang_up(session);
}

static uint32_t sessions_of(const struct mr_local *local, uint32_t uid)
{
	const struct mr_local_session *session;
	uint32_t count = 0;

	for (session = local->sessions; session; session = session->next)
		count += !session->ended && session->uid == uid &&
			 session->pid != local->options.engine_pid;
	return count;
}

/* Pipelines are as many as they are; who made them must be able to end them. */
static bool is_above_share(const struct mr_local *local, const struct ucred *who)
{
	return who->pid != local->options.engine_pid &&
	       sessions_of(local, who->uid) >= local->options.connections_per_user;
}

/* A client above its share learns why before it is hung up on. */
static void turn_away(int socket, uint32_t uid, uint32_t share)
{
	struct mr_message_header head = {.flags = MR_MESSAGE_REPLY, .status = -EMFILE};
	struct mr_error_reply body = {0};

	snprintf(body.what, sizeof(body.what), "user %u has %u connections to the engine already",
		 uid, share);
	snprintf(body.hint, sizeof(body.hint),
		 "close some, or raise connections_per_user in the engine's configuration");
	mr_diag_warn("a client is turned away: its user has connections_per_user of them",
		     "user=%u connections=%u", uid, share);
	(void)mr_packet_send(socket, &head, &body, sizeof(body), NULL, 0); /* a courtesy */
	(void)close(socket);
}

static int admit_session(struct mr_local *local, int socket)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct mr_local_session *session;
	struct ucred who;
	socklen_t bytes = sizeof(who);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) < 0)
		return -errno;
	if (is_above_share(local, &who)) {
		turn_away(socket, who.uid, local->options.connections_per_user);
		return 0;
	}
	session = calloc(1, sizeof(*session));
	if (!session)
		return -ENOMEM;
	session->source.ready = session_ready;
	session->local = local;
	session->socket = socket;
	session->uid = who.uid;
	session->pid = who.pid;
	session->next_id = 1;
	event.data.ptr = session;
	if (epoll_ctl(local->options.epoll_fd, EPOLL_CTL_ADD, socket, &event) < 0) {
		free(session);
		return -errno;
	}
	session->next = local->sessions;
	local->sessions = session;
	local->session_count++;
	return 0;
}

/*
 * No descriptor is left: one that was kept for this moment takes a client in, to hang up on it.
 * Else it would stay in the queue, and the loop would spin on it.
 */
static void turn_one_away(struct mr_local *local)
{
	int socket;

	if (local->spare_fd >= 0)
		(void)close(local->spare_fd); /* holds nothing */
	socket = accept4(local->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (socket >= 0)
		(void)close(socket); /* the client sees a hang-up, and comes again */
	local->spare_fd = eventfd(0, EFD_CLOEXEC);
}

static void listener_ready(struct mr_local_source *source, uint32_t events)
{
	struct mr_local *local = (struct mr_local *)source;
	int i;

	for (i = 0; i < ACCEPTS_A_TURN; i++) {
		int socket = accept4(local->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (socket < 0 && (errno == EMFILE || errno == ENFILE))
			turn_one_away(local);
		if (socket < 0)
			return;
		if (admit_session(local, socket) < 0)
			(void)close(socket); /* out of memory or descriptors: the client sees a
						hang-up */
	}
}

/*
 * Whoever comes while a request is carried out says hello, and is answered: from then on it has
 * patience. Nothing else is taken before hello, so the engine's state is left alone.
 */
void mr_local_at_work(struct mr_local *local)
{
	struct mr_local_session *session;

	if (local->ending)
		return;
	listener_ready(&local->source, EPOLLIN);
	for (session = local->sessions; session; session = session->next) {
		struct mr_message_header head = {.flags = MR_MESSAGE_AT_WORK};

		if (!session->greeted && !session->ended)
			(void)take_packet(session, &local->early);
		/* whose socket is full has signs enough, or does not read: the next answer tells */
		else if (!session->ended && !session->unsent)
			(void)mr_packet_send(session->socket, &head, NULL, 0, NULL, 0);
	}
}

void mr_local_second(struct mr_local *local)
{
	struct mr_local_ticket *ticket;

	if (local->ending)
		return;
	for (ticket = local->tickets; ticket; ticket = ticket->next) {
		struct mr_local_session *session = ticket->session;
		struct mr_message_header head = {.flags = MR_MESSAGE_AT_WORK};

		if (ticket->type == MR_MESSAGE_ADMIN && session && !session->ended &&
		    !session->unsent)
			(void)mr_packet_send(session->socket, &head, NULL, 0, NULL,
					     0); /* as above */
	}
}

/* Whoever could take the rest of a text, had it read at all, did so in this round's events. */
static bool does_not_read(const struct mr_local_session *session)
{
	const struct mr_clock *clock = session->local->options.clock;

	return session->unsent && mr_clock_monotonic_ns(clock) - session->unsent_ns >= UNSENT_NS;
}

void mr_local_sweep(struct mr_local *local)
{
	struct mr_local_session **at = &local->sessions;

	while (*at) {
		struct mr_local_session *session = *at;

		if (does_not_read(session))
			mr_local_hang_up(session);
		if (session->ended && !session->waits) {
			*at = session->next;
			free(session);
		} else {
			at = &session->next;
		}
	}
}

/* ---- opening and closing
 * ----------------------------------------------------------------------------- */

/* True if somebody answers at the address: then it is not ours to replace. */
static bool somebody_answers(const struct sockaddr_un *address)
{
	int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answers = probe >= 0 &&
		       (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			errno == EAGAIN);

	if (probe >= 0)
		(void)close(probe); /* was for asking only */
	return answers;
}

/* What an engine before left there goes; what is no socket is somebody's, named by mistake. */
static int clear_place(const char *path, struct mr_error *err)
{
	struct stat found;

	if (lstat(path, &found) < 0)
		return errno == ENOENT ? 0 : mr_error_set(err, -errno, "cannot look at '%s'", path);
	if (!S_ISSOCK(found.st_mode)) {
		mr_error_set(err, -ENOTSOCK, "'%s' is there, and is no socket", path);
		return mr_error_hint(err, "name another place with --socket, or remove it");
	}
	if (unlink(path) < 0)
		return mr_error_set(err, -errno, "cannot remove the old socket '%s'", path);
	return 0;
}

static int listen_at(struct mr_local *local, struct mr_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = local};
	int r;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", local->socket_path);
	if (somebody_answers(&address)) {
		mr_error_set(err, -EADDRINUSE, "another engine answers at socket '%s'",
			     local->socket_path);
		return mr_error_hint(err, "stop it, or give this one its own with --socket");
	}
	r = clear_place(local->socket_path, err);
	if (r < 0)
		return r;
	local->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (local->listener < 0)
		return mr_error_set(err, -errno, "cannot make a socket");
	if (bind(local->listener, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return mr_error_set(err, -errno, "cannot bind socket '%s'", local->socket_path);
	if (chmod(local->socket_path, 0666) < 0 || listen(local->listener, BACKLOG) < 0)
		return mr_error_set(err, -errno, "cannot listen at socket '%s'",
				    local->socket_path);
	if (epoll_ctl(local->options.epoll_fd, EPOLL_CTL_ADD, local->listener, &event) < 0)
		return mr_error_set(err, -errno, "cannot watch socket '%s'", local->socket_path);
	return 0;
}

int mr_local_open(const struct mr_local_options *options, struct mr_local **out,
		  struct mr_error *err)
{
	struct mr_local *local;
	int r;

	if (strlen(options->socket_path) >= sizeof(local->socket_path))
		return mr_error_set(err, -ENAMETOOLONG, "socket path '%s' is longer than %zu bytes",
				    options->socket_path, sizeof(local->socket_path) - 1);
	local = calloc(1, sizeof(*local));
	if (!local)
		return mr_error_set(err, -ENOMEM, "no memory for the local listener");
	local->source.ready = listener_ready;
	local->options = *options;
	local->listener = -1;
	local->spare_fd = eventfd(0, EFD_CLOEXEC);
	snprintf(local->socket_path, sizeof(local->socket_path), "%s", options->socket_path);
	local->options.socket_path = local->socket_path;
	r = listen_at(local, err);
	if (r < 0) {
		if (local->listener >= 0)
			(void)close(local->listener); /* never served */
		if (local->spare_fd >= 0)
			(void)close(local->spare_fd); /* holds nothing */
		free(local);
		return r;
	}
	*out = local;
	return 0;
}

void mr_local_end(struct mr_local *local)
{
	struct mr_local_session *session;

	if (local->ending)
		return;
	local->ending = true;
	(void)epoll_ctl(local->options.epoll_fd, EPOLL_CTL_DEL, local->listener, NULL);
	(void)close(local->listener);	  /* no new clients */
	(void)unlink(local->socket_path); /* who comes now sees that nobody listens */
	for (session = local->sessions; session; session = session->next)
		mr_local_hang_up(session);
}

bool mr_local_idle(const struct mr_local *local)
{
	return local->lane_count == 0 && local->watches_out == 0;
}

void mr_local_close(struct mr_local *local)
{
	if (!local)
		return;
	mr_local_end(local);
	mr_assert(mr_local_idle(local));
	while (local->tickets)
		mr_local_ticket_free(local->tickets);
	mr_local_sweep(local);
	mr_assert(local->sessions == NULL);
	if (local->spare_fd >= 0)
		(void)close(local->spare_fd); /* holds nothing */
	free(local);
}

uint32_t mr_local_session_count(const struct mr_local *local)
{
	return local->session_count;
}

uint32_t mr_local_lane_count(const struct mr_local *local)
{
	return local->lane_count;
}
