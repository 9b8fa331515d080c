/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold: a packet arrives whole, with exactly the descriptors it names, or it is refused
 * and leaves no descriptor behind; whoever sends nonsense is told apart from whoever is gone.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"

static struct mr_packet packet;

struct pair {
	int a, b;
};

static struct pair pair_open(void)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	return (struct pair){fds[0], fds[1]};
}

/* How many descriptors below 256 are open: what a refused packet must not change. */
static int open_count(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Sends raw bytes and descriptors, past every check of our own. */
static void send_raw(int socket, const void *bytes, size_t count, const int *fds, uint32_t fd_count)
{
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	_Alignas(8) char control[CMSG_SPACE(sizeof(int) * 64)] = {0};

	if (fd_count > 0) {
		struct cmsghdr *cmsg;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	cr_assert_eq(sendmsg(socket, &message, MSG_NOSIGNAL), (ssize_t)count);
}

static struct mr_message_header good_head(uint32_t bytes, uint16_t fd_count)
{
	return (struct mr_message_header){
		.magic = MR_MESSAGE_MAGIC,
		.version = MR_PROTOCOL_VERSION,
		.type = MR_MESSAGE_HELLO,
		.bytes = bytes,
		.request_id = 7,
		.fd_count = fd_count,
	};
}

Test(attach, a_packet_arrives_as_it_was_sent)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_OPEN_TOPIC,
					 .request_id = 42,
					 .status = -5,
					 .flags = MR_MESSAGE_REPLY};

	cr_assert_eq(mr_packet_send(s.a, &head, "hello", 5, NULL, 0), 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	cr_assert_eq(packet.body_bytes, 5);
	cr_assert_arr_eq(packet.body, "hello", 5);
	cr_assert_eq(packet.head.type, MR_MESSAGE_OPEN_TOPIC);
	cr_assert_eq(packet.head.request_id, 42);
	cr_assert_eq(packet.head.status, -5);
	cr_assert_eq(packet.head.flags, MR_MESSAGE_REPLY);
	cr_assert_eq(packet.head.magic, MR_MESSAGE_MAGIC);
	cr_assert_eq(packet.head.version, MR_PROTOCOL_VERSION);
	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++)
		cr_assert_eq(packet.fds[i], -1);
}

Test(attach, empty_and_largest_bodies_pass)
{
	static uint8_t body[MR_PACKET_BODY_MAX];
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_ADMIN};

	cr_assert_eq(mr_packet_send(s.a, &head, NULL, 0, NULL, 0), 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	cr_assert_eq(packet.body_bytes, 0);
	memset(body, 0xa5, sizeof(body));
	cr_assert_eq(mr_packet_send(s.a, &head, body, sizeof(body), NULL, 0), 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	cr_assert_eq(packet.body_bytes, sizeof(body));
	cr_assert_arr_eq(packet.body, body, sizeof(body));
}

Test(attach, descriptors_arrive_in_order_close_on_exec)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_OPEN_LANE};
	int fds[MR_MESSAGE_FDS_MAX];
	struct stat sent, got;

	for (int i = 0; i < MR_MESSAGE_FDS_MAX; i++) {
		char path[] = "/tmp/mr-attach-XXXXXX";

		fds[i] = mkstemp(path);
		cr_assert_geq(fds[i], 0);
		unlink(path);
	}
	for (uint32_t count = 1; count <= MR_MESSAGE_FDS_MAX; count++) {
		int before = open_count();

		cr_assert_eq(mr_packet_send(s.a, &head, "x", 1, fds, count), 0);
		cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
		cr_assert_eq(packet.head.fd_count, count);
		for (uint32_t i = 0; i < count; i++) {
			cr_assert_eq(fstat(fds[i], &sent), 0);
			cr_assert_eq(fstat(packet.fds[i], &got), 0);
			cr_assert_eq(sent.st_ino, got.st_ino);
			cr_assert(fcntl(packet.fds[i], F_GETFD) & FD_CLOEXEC);
		}
		for (int i = (int)count; i < MR_MESSAGE_FDS_MAX; i++)
			cr_assert_eq(packet.fds[i], -1);
		mr_packet_close_fds(&packet);
		cr_assert_eq(open_count(), before);
	}
}

Test(attach, a_descriptor_taken_is_not_closed)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_OPEN_LANE};
	int taken;

	cr_assert_eq(mr_packet_send(s.a, &head, "x", 1, (int[]){0, 1}, 2), 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	taken = packet.fds[1];
	packet.fds[1] = -1;
	mr_packet_close_fds(&packet);
	cr_assert_geq(fcntl(taken, F_GETFD), 0);
	mr_packet_close_fds(&packet); /* twice does nothing */
	cr_assert_geq(fcntl(taken, F_GETFD), 0);
}

Test(attach, another_count_of_descriptors_is_refused_and_closed)
{
	struct pair s = pair_open();
	struct mr_message_header head;
	int fds[64] = {0};
	int before = open_count();

	for (uint32_t said = 0; said <= 5; said++) {
		for (uint32_t sent = 0; sent <= 64; sent += sent < 6 ? 1 : 29) {
			int r;

			head = good_head(sizeof(head), (uint16_t)said);
			send_raw(s.a, &head, sizeof(head), fds, sent);
			r = mr_packet_receive(s.b, &packet);
			if (said == sent && said <= MR_MESSAGE_FDS_MAX) {
				cr_assert_eq(r, 0);
				mr_packet_close_fds(&packet);
			} else {
				cr_assert_eq(r, -EBADMSG, "said %u, sent %u", said, sent);
			}
			cr_assert_eq(open_count(), before, "said %u, sent %u", said, sent);
		}
	}
}

Test(attach, truncated_packets_are_refused)
{
	struct pair s = pair_open();
	struct mr_message_header head = good_head(sizeof(head), 0);

	for (size_t bytes = 1; bytes < sizeof(head); bytes++) {
		send_raw(s.a, &head, bytes, NULL, 0);
		cr_assert_eq(mr_packet_receive(s.b, &packet), -EBADMSG);
	}
}

Test(attach, a_packet_above_the_bound_is_refused)
{
	static uint8_t bytes[MR_MESSAGE_BYTES_MAX + 1];
	struct pair s = pair_open();
	struct mr_message_header head = good_head(sizeof(bytes), 1);
	int before = open_count();

	memcpy(bytes, &head, sizeof(head));
	send_raw(s.a, bytes, sizeof(bytes), (int[]){0}, 1);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EBADMSG);
	cr_assert_eq(open_count(), before);
}

Test(attach, a_wrong_size_magic_or_version_is_told_apart)
{
	struct pair s = pair_open();
	struct mr_message_header head;
	int before = open_count();

	for (uint32_t said = 0; said < 64; said++) {
		head = good_head(said, 0);
		send_raw(s.a, &head, sizeof(head), NULL, 0);
		cr_assert_eq(mr_packet_receive(s.b, &packet), said == sizeof(head) ? 0 : -EBADMSG);
	}
	head = good_head(sizeof(head), 1);
	head.magic ^= 1;
	send_raw(s.a, &head, sizeof(head), (int[]){0}, 1);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EBADMSG);
	head = good_head(sizeof(head), 1);
	head.version = MR_PROTOCOL_VERSION + 1;
	send_raw(s.a, &head, sizeof(head), (int[]){0}, 1);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EPROTO);
	cr_assert_eq(open_count(), before);
}

/* Another version may have another header behind the first fields: its sizes say nothing to us. */
Test(attach, another_version_is_named_even_where_its_sizes_differ)
{
	struct pair s = pair_open();
	struct mr_message_header head = good_head(9999, 3);

	head.version = MR_PROTOCOL_VERSION + 7;
	send_raw(s.a, &head, sizeof(head), NULL, 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EPROTO);
}

Test(attach, the_socket_goes_on_after_a_refused_packet)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_HELLO};

	send_raw(s.a, "nonsense", 8, NULL, 0);
	cr_assert_eq(mr_packet_send(s.a, &head, "ok", 2, NULL, 0), 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EBADMSG);
	cr_assert_eq(packet.body_bytes, 0);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	cr_assert_eq(packet.body_bytes, 2);
}

Test(attach, nothing_there_is_eagain_and_hung_up_is_epipe)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_HELLO};

	cr_assert_eq(mr_packet_receive(s.b, &packet), -EAGAIN);
	cr_assert_eq(mr_packet_send(s.a, &head, "last", 4, NULL, 0), 0);
	close(s.a);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0, "what was sent before is still read");
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EPIPE);
	/* no SIGPIPE: the test would have died */
	cr_assert_eq(mr_packet_send(s.b, &head, "x", 1, NULL, 0), -EPIPE);
	cr_assert_eq(mr_packet_send(s.b, &head, "x", 1, (int[]){0}, 1), -EPIPE);
}

Test(attach, a_full_socket_is_eagain)
{
	static uint8_t body[MR_PACKET_BODY_MAX];
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_ADMIN};
	int r = 0;

	for (int i = 0; i < 10000 && r == 0; i++)
		r = mr_packet_send(s.a, &head, body, sizeof(body), NULL, 0);
	cr_assert_eq(r, -EAGAIN);
	cr_assert_eq(mr_packet_receive(s.b, &packet), 0);
	cr_assert_eq(mr_packet_send(s.a, &head, body, sizeof(body), NULL, 0), 0);
}

Test(attach, a_descriptor_that_is_none_is_an_error_at_the_sender)
{
	struct pair s = pair_open();
	struct mr_message_header head = {.type = MR_MESSAGE_HELLO};

	cr_assert_eq(mr_packet_send(s.a, &head, "x", 1, (int[]){-1}, 1), -EBADF);
	cr_assert_eq(mr_packet_receive(s.b, &packet), -EAGAIN);
}

Test(attach, the_path_is_named_or_in_the_runtime_directory_or_beside_the_data)
{
	char path[108], directory[] = "/tmp/mr-attach-XXXXXX", there[64];
	int fd;

	setenv("MILLRACE_SOCKET", "/tmp/named.sock", 1);
	setenv("XDG_RUNTIME_DIR", mkdtemp(directory), 1);
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), 0);
	cr_assert_str_eq(path, "/tmp/named.sock");
	setenv("MILLRACE_SOCKET", "", 1);
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), 0);
	cr_assert_str_eq(path, "./millrace-data/millrace.sock");
	snprintf(there, sizeof(there), "%s/millrace.sock", directory);
	fd = open(there, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), 0);
	cr_assert_str_eq(path, there);
	close(fd);
	unlink(there);
	rmdir(directory);
	unsetenv("XDG_RUNTIME_DIR");
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), 0);
	cr_assert_str_eq(path, "./millrace-data/millrace.sock");
}

Test(attach, a_path_that_does_not_fit_is_refused)
{
	char path[4096], name[400];

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	setenv("MILLRACE_SOCKET", name, 1);
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), -ENAMETOOLONG);
	name[107] = '\0'; /* the longest that a socket's address takes */
	setenv("MILLRACE_SOCKET", name, 1);
	cr_assert_eq(mr_socket_default_path(path, sizeof(path)), 0);
	cr_assert_eq(mr_socket_default_path(path, 107), -ENAMETOOLONG);
	unsetenv("MILLRACE_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	cr_assert_eq(mr_socket_default_path(path, 10), -ENAMETOOLONG);
}
