/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection with another host. Runs on the feed's thread; owns the socket.
 *
 * It goes through its stages in mr_link_step(): the name's look-up, one address after the other
 * until one takes the connection, and under TLS the handshake (link_tls.c). Nothing here waits, and
 * nothing here has a clock: how long a stage may take is for the feed to say, by mr_link_close().
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "link_state.h"

#define MR_TCP_RTO_MAX_MS 44 /* Linux 6.15; Debian's headers are older */

#define DRAIN_PARTS 64 /* of 16 KiB, thrown away at a close */

int mr_link_failed(struct mr_error *err, int code, const char *words, const char *address)
{
	return mr_error_set(err, code, "%s %s: %s", words, address, strerrordesc_np(-code));
}

static int ended(struct mr_link *link, int code, struct mr_error *err)
{
	if (code == -ETIMEDOUT)
		return mr_error_set(err, code, "the connection with %s ended: silent for %d s",
				    link->address, MR_LINK_SILENCE_MS / 1000);
	return mr_link_failed(err, code, "the connection ended with", link->address);
}

/* ---- making one ---------------------------------------------------------------------------------
 */

/*
 * A dead peer is found out by what we sent and nobody acknowledged, and while nothing is sent by
 * probes; in both cases within MR_LINK_SILENCE_MS, or a little more.
 */
static int set_options(int fd)
{
	static const int again_ms = 1000;
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 4},
		{IPPROTO_TCP, TCP_KEEPINTVL, 2},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
		{IPPROTO_TCP, TCP_SYNCNT, 1}, /* 3 s for an address that does not answer */
		{IPPROTO_TCP, TCP_USER_TIMEOUT, MR_LINK_SILENCE_MS},
	};

	for (size_t i = 0; i < mr_array_count(options); i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(options[i].value)) < 0)
			return -errno;
	/*
	 * What is lost is sent again within a second: TCP's own pauses double, so that after a cut
	 * of ten seconds a host would be silent for as long again. A kernel before 6.15 cannot.
	 */
	(void)setsockopt(fd, IPPROTO_TCP, MR_TCP_RTO_MAX_MS, &again_ms, sizeof(again_ms));
	return 0;
}

static int connect_to(const struct addrinfo *where)
{
	int fd = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = set_options(fd);
	if (r == 0 && connect(fd, where->ai_addr, where->ai_addrlen) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (r == 0)
		return fd;
	(void)close(fd); /* nothing was sent */
	return r;
}

/*
 * Begins with the next address that does not fail at once. The descriptor before is closed only
 * when there is a new one, so that their numbers differ: epoll's owner sees that it changed.
 */
static int connect_next(struct mr_link *link, int code, struct mr_error *err)
{
	while (link->next) {
		const struct addrinfo *where = link->next;

		link->next = where->ai_next;
		mr_link_address_text(where->ai_addr, where->ai_addrlen, link->address);
		code = connect_to(where);
		if (code < 0)
			continue;
		if (link->fd_is_socket)
			(void)close(link->fd); /* it never got a connection */
		mr_link_lookup_drop(link->lookup);
		link->lookup = NULL;
		link->fd = code;
		link->fd_is_socket = true;
		link->stage = MR_LINK_CONNECTING;
		return 0;
	}
	return mr_link_failed(err, code, "cannot connect to", link->address);
}

static struct mr_link *link_new(void)
{
	struct mr_link *link = calloc(1, sizeof(*link));

	if (link)
		link->fd = -1;
	return link;
}

static int no_memory(struct mr_error *err)
{
	return mr_error_set(err, -ENOMEM, "no memory for a connection");
}

/* There is a connection: under TLS it is only the beginning. */
static int have_socket(struct mr_link *link, struct mr_error *err)
{
	link->stage = link->tls ? MR_LINK_SHAKING_HANDS : MR_LINK_READY;
	link->hand_wants = link->accepted ? EPOLLIN : EPOLLOUT;
	return link->tls ? mr_link_tls_begin(link->tls, link->fd, err) : 0;
}

int mr_link_connect(const char *address, struct mr_link_trust *trust, const char *name,
		    struct mr_link **out, struct mr_error *err)
{
	struct mr_link_place place;
	struct mr_link *link;
	int r = mr_link_split(address, &place, err);

	mr_assert(!trust || name);
	if (r < 0)
		return r;
	link = link_new();
	if (!link)
		return no_memory(err);
	snprintf(link->address, sizeof(link->address), "%s", address);
	if (trust)
		r = mr_link_tls_open(trust, name, link->address, &link->tls, err);
	if (r == 0)
		r = mr_link_lookup_start(&place, &link->lookup, err);
	if (r < 0)
		goto fail;
	link->fd = mr_link_lookup_fd(link->lookup);
	link->stage = MR_LINK_LOOKING_UP;
	*out = link;
	return 0;
fail:
	mr_link_close(link);
	return r;
}

int mr_link_accept(int fd, struct mr_link_trust *trust, struct mr_link **out, struct mr_error *err)
{
	struct sockaddr_storage peer;
	socklen_t bytes = sizeof(peer);
	struct mr_link *link = link_new();
	int r;

	if (!link) {
		(void)close(fd); /* nothing was said yet */
		return no_memory(err);
	}
	link->fd = fd;
	link->fd_is_socket = true;
	link->accepted = true;
	if (getpeername(fd, (struct sockaddr *)&peer, &bytes) < 0) {
		r = mr_error_set(err, -errno, "a connection was gone before it was taken");
		goto fail;
	}
	mr_link_address_text((struct sockaddr *)&peer, bytes, link->address);
	r = set_options(fd);
	if (r < 0) {
		mr_link_failed(err, r, "cannot set up the connection with", link->address);
		goto fail;
	}
	if (trust)
		r = mr_link_tls_open(trust, NULL, link->address, &link->tls, err);
	if (r == 0)
		r = have_socket(link, err);
	if (r < 0)
		goto fail;
	*out = link;
	return 0;
fail:
	mr_link_close(link);
	return r;
}

/*
 * A socket that is closed with unread bytes resets the connection, and the other may then lose what
 * we said last, which is why we close. So what has come is thrown away first; not more than that.
 */
static void close_socket(struct mr_link *link)
{
	uint8_t thrown_away[16384];
	int parts = link->stage >= MR_LINK_SHAKING_HANDS ? DRAIN_PARTS : 0;

	if (parts > 0)
		(void)shutdown(link->fd, SHUT_WR); /* it may be gone already */
	while (parts > 0 && recv(link->fd, thrown_away, sizeof(thrown_away), MSG_DONTWAIT) > 0)
		parts--;
	(void)close(link->fd); /* TCP goes on to deliver what it has */
}

void mr_link_close(struct mr_link *link)
{
	if (!link)
		return;
	mr_link_tls_close(link->tls);
	if (link->fd_is_socket)
		close_socket(link);
	mr_link_lookup_drop(link->lookup);
	if (link->found)
		freeaddrinfo(link->found);
	free(link);
}

/* ---- its stages ---------------------------------------------------------------------------------
 */

static int look_up(struct mr_link *link, struct mr_error *err)
{
	int r = mr_link_lookup_take(link->lookup, &link->found, err);

	if (r < 0)
		return r;
	link->next = link->found;
	r = connect_next(link, -EHOSTUNREACH, err);
	return r < 0 ? r : -EAGAIN;
}

/*
 * A socket that connects to a port of its own host where nobody listens may get that very port as
 * its own, and is then connected with itself.
 */
static bool is_itself(int fd, const struct sockaddr_storage *peer, socklen_t peer_bytes)
{
	struct sockaddr_storage own = {0};
	socklen_t bytes = sizeof(own);

	return getsockname(fd, (struct sockaddr *)&own, &bytes) == 0 && bytes == peer_bytes &&
	       memcmp(&own, peer, bytes) == 0;
}

/* 0: connected; -EAGAIN: not yet. */
static int connection_state(struct mr_link *link)
{
	struct pollfd ready = {.fd = link->fd, .events = POLLOUT};
	struct sockaddr_storage peer = {0};
	socklen_t bytes = sizeof(int);
	int problem = 0;

	if (poll(&ready, 1, 0) <= 0)
		return -EAGAIN;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &problem, &bytes) < 0)
		return -errno;
	if (problem)
		return -problem;
	bytes = sizeof(peer);
	if (getpeername(link->fd, (struct sockaddr *)&peer, &bytes) < 0)
		return errno == ENOTCONN ? -EAGAIN : -errno;
	return is_itself(link->fd, &peer, bytes) ? -ECONNREFUSED : 0;
}

static int finish_connecting(struct mr_link *link, struct mr_error *err)
{
	int r = connection_state(link);

	if (r == -EAGAIN)
		return r;
	if (r < 0) {
		r = connect_next(link, r, err);
		return r < 0 ? r : -EAGAIN;
	}
	freeaddrinfo(link->found);
	link->found = NULL;
	link->next = NULL;
	return have_socket(link, err);
}

static int shake_hands(struct mr_link *link, struct mr_error *err)
{
	int r = mr_link_tls_step(link->tls, &link->hand_wants, err);

	if (r < 0)
		return r;
	mr_link_tls_ready(link->tls);
	link->stage = MR_LINK_READY;
	return 0;
}

int mr_link_step(struct mr_link *link, struct mr_error *err)
{
	int r = 0;

	if (link->stage == MR_LINK_LOOKING_UP)
		return look_up(link, err);
	if (link->stage == MR_LINK_CONNECTING)
		r = finish_connecting(link, err);
	if (r == 0 && link->stage == MR_LINK_SHAKING_HANDS)
		r = shake_hands(link, err);
	return r;
}

int mr_link_fd(const struct mr_link *link)
{
	return link->fd;
}

uint32_t mr_link_wants(const struct mr_link *link)
{
	switch (link->stage) {
	case MR_LINK_LOOKING_UP:
		return EPOLLIN;
	case MR_LINK_CONNECTING:
		return EPOLLOUT;
	case MR_LINK_SHAKING_HANDS:
		return link->hand_wants;
	case MR_LINK_READY:
		break;
	}
	return EPOLLIN | (link->send_waits ? (uint32_t)EPOLLOUT : 0);
}

const char *mr_link_peer(const struct mr_link *link)
{
	return link->tls ? mr_link_tls_peer(link->tls) : NULL;
}

const char *mr_link_address(const struct mr_link *link)
{
	return link->address;
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

static bool would_block(int problem)
{
	return problem == EAGAIN || problem == EWOULDBLOCK || problem == EINTR;
}

ssize_t mr_link_send(struct mr_link *link, const struct iovec *pieces, int count,
		     struct mr_error *err)
{
	struct msghdr message = {
		.msg_iov = (struct iovec *)pieces, /* sendmsg() only reads it */
		.msg_iovlen = (size_t)(count < MR_LINK_PIECES_MAX ? count : MR_LINK_PIECES_MAX),
	};
	size_t offered = 0;
	ssize_t sent;

	mr_assert(link->stage == MR_LINK_READY);
	mr_assert(count > 0);
	if (link->tls)
		return mr_link_tls_send(link->tls, pieces, count, &link->send_waits, err);
	for (size_t i = 0; i < message.msg_iovlen; i++)
		offered += pieces[i].iov_len;
	sent = sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	link->send_waits = sent < 0 ? would_block(errno) : (size_t)sent < offered;
	if (sent >= 0)
		return sent;
	return link->send_waits ? -EAGAIN : ended(link, -errno, err);
}

/* The first bytes of a TLS handshake, which no message of ours begins with. */
static bool is_tls(const uint8_t *bytes, size_t count)
{
	return count >= 2 && bytes[0] == 22 && bytes[1] == 3;
}

ssize_t mr_link_receive(struct mr_link *link, void *bytes, size_t count, struct mr_error *err)
{
	ssize_t got;

	mr_assert(link->stage == MR_LINK_READY);
	mr_assert(count > 0);
	if (link->tls)
		return mr_link_tls_receive(link->tls, bytes, count, &link->send_waits, err);
	got = recv(link->fd, bytes, count, MSG_DONTWAIT);
	if (got < 0)
		return would_block(errno) ? -EAGAIN : ended(link, -errno, err);
	if (!link->began && got > 0) {
		link->began = true;
		if (is_tls(bytes, (size_t)got)) {
			mr_error_set(err, -EPROTO, "%s speaks TLS, and this host is set to plain",
				     link->address);
			mr_error_hint(err, "give both hosts certificates (millrace cert init), or "
					   "neither");
			return -EPROTO;
		}
	}
	return got;
}

bool mr_link_has_more(const struct mr_link *link)
{
	return link->tls && mr_link_tls_has_more(link->tls);
}

uint32_t mr_link_rtt_us(const struct mr_link *link)
{
	struct tcp_info info = {0};
	socklen_t bytes = sizeof(info);

	if (link->stage < MR_LINK_SHAKING_HANDS ||
	    getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0)
		return 0;
	return info.tcpi_rtt;
}

const char *mr_link_security(const struct mr_link *link)
{
	return link->tls ? mr_link_tls_security(link->tls) : "plain";
}
