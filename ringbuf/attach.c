/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets on the engine's socket: runs on the engine's control thread and on the library's threads,
 * owns nothing but the descriptors of a packet while it is being checked. What arrives is copied by
 * the kernel into the receiver's own memory first, so it is checked once and cannot change
 * afterwards.
 */
#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

union packet_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * MR_MESSAGE_FDS_MAX)];
};

/* All the ways of saying that nobody is there any more are one to our callers. */
static int socket_error(int error)
{
	switch (error) {
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return -EPIPE;
	case EWOULDBLOCK:
		return -EAGAIN;
	default:
		return -error;
	}
}

static void put_fds(struct msghdr *message, union packet_control *control, const int *fds,
		    uint32_t fd_count)
{
	struct cmsghdr *cmsg;

	if (fd_count == 0)
		return;
	memset(control, 0, sizeof(*control));
	message->msg_control = control->bytes;
	message->msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	cmsg = CMSG_FIRSTHDR(message);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
}

int mr_packet_send(int socket, struct mr_message_header *head, const void *body, size_t body_bytes,
		   const int *fds, uint32_t fd_count)
{
	struct iovec parts[2] = {
		{.iov_base = head, .iov_len = sizeof(*head)},
		{.iov_base = (void *)body, .iov_len = body_bytes},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = body_bytes > 0 ? 2 : 1};
	union packet_control control;
	ssize_t sent;

	mr_assert(body_bytes <= MR_PACKET_BODY_MAX);
	mr_assert(fd_count <= MR_MESSAGE_FDS_MAX);
	head->magic = MR_MESSAGE_MAGIC;
	head->version = MR_PROTOCOL_VERSION;
	head->bytes = (uint32_t)(sizeof(*head) + body_bytes);
	head->fd_count = (uint16_t)fd_count;
	put_fds(&message, &control, fds, fd_count);
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return socket_error(errno);
	return (size_t)sent == head->bytes
		       ? 0
		       : -EPIPE; /* packets go whole; else it is no such socket */
}

void mr_packet_close_fds(struct mr_packet *packet)
{
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++) {
		if (packet->fds[i] >= 0)
			(void)close(packet->fds[i]); /* theirs was borrowed: nothing to lose */
		packet->fds[i] = -1;
	}
}

/* Keeps up to MR_MESSAGE_FDS_MAX descriptors, closes more, and returns how many there were. */
static uint32_t take_fds(struct msghdr *message, struct mr_packet *packet)
{
	uint32_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		const unsigned char *data = CMSG_DATA(c);
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++, count++) {
			int fd;

			memcpy(&fd, data + i * sizeof(int), sizeof(fd));
			if (count < MR_MESSAGE_FDS_MAX)
				packet->fds[count] = fd;
			else
				(void)close(fd); /* nobody asked for it */
		}
	}
	return count;
}

static int check_packet(const struct mr_packet *packet, size_t received, uint32_t fd_count,
			int flags)
{
	const struct mr_message_header *head = &packet->head;

	if (received < sizeof(*head) || head->magic != MR_MESSAGE_MAGIC)
		return -EBADMSG;
	if (head->version != MR_PROTOCOL_VERSION)
		return -EPROTO;
	if (flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EBADMSG;
	if (head->bytes != received || head->fd_count != fd_count)
		return -EBADMSG;
	return 0;
}

int mr_packet_receive(int socket, struct mr_packet *packet)
{
	struct iovec parts[2] = {
		{.iov_base = &packet->head, .iov_len = sizeof(packet->head)},
		{.iov_base = packet->body, .iov_len = sizeof(packet->body)},
	};
	union packet_control control;
	struct msghdr message = {
		.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t received;
	uint32_t fd_count;
	int r;

	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		packet->fds[i] = -1;
	packet->body_bytes = 0;
	do
		received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return socket_error(errno);
	fd_count = take_fds(&message, packet);
	if (received == 0 && fd_count == 0)
		return -EPIPE;
	r = check_packet(packet, (size_t)received, fd_count, message.msg_flags);
	if (r < 0) {
		mr_packet_close_fds(packet);
		return r;
	}
	packet->body_bytes = (uint32_t)((size_t)received - sizeof(packet->head));
	return 0;
}

static int copy_path(char *path, size_t bytes, const char *directory, const char *name)
{
	int length = snprintf(path, bytes, "%s%s", directory, name);

	if (length < 0 || (size_t)length >= bytes ||
	    (size_t)length >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

int mr_socket_default_path(char *path, size_t bytes)
{
	const char *named = getenv("MILLRACE_SOCKET");
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat stat_of;

	if (named && named[0] != '\0')
		return copy_path(path, bytes, named, "");
	if (runtime && runtime[0] != '\0') {
		int r = copy_path(path, bytes, runtime, "/millrace.sock");

		if (r < 0)
			return r;
		if (stat(path, &stat_of) == 0)
			return 0;
	}
	return copy_path(path, bytes, "./millrace-data", "/millrace.sock");
}
